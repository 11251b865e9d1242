//! Groups of images: `rbd_group_directory`, the group's header (`rbd_group_header.<id>`: images and snapshots), and the
//! reference that an image's header has.

use super::directory;
use super::util::{Listing, bytes_of, each_with_prefix, op_feature, set_op_features, write_key};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use types::Errno;

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();
const IMAGE: &str = "image_";
const SNAP: &str = "snapshot_";
const REF: &str = "rbd_group_ref";
/// GROUP_SNAPSHOT_STATE_INCOMPLETE.
const INCOMPLETE: u8 = 0;

/// An image in a group (`cls::rbd::GroupImageSpec`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct ImageSpec {
    id: String,
    pool: i64,
}
impl Encode for ImageSpec {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.id);
            e.i64(self.pool);
        });
    }
}
impl Decode for ImageSpec {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("GroupImageSpec", 1)?;
        Ok(ImageSpec { id: d.string()?, pool: d.i64()? })
    }
}
impl ImageSpec {
    /// Pool -1 is "none": the empty key.
    fn key(&self) -> String {
        if self.pool == -1 { String::new() } else { format!("{IMAGE}{:016x}_{}", self.pool, self.id) }
    }
    /// From what is behind the prefix. Stock reads two words, so an id ends at the first blank.
    fn from_key(rest: &[u8]) -> Result<ImageSpec, ClsError> {
        let text = std::str::from_utf8(rest).map_err(|_| ClsError::from(Errno::EIO))?;
        let (pool, id) = text.split_once('_').ok_or(ClsError::from(Errno::EIO))?;
        match u64::from_str_radix(pool, 16) {
            Ok(pool) => {
                let id = id.split_whitespace().next().unwrap_or("").to_owned();
                Ok(ImageSpec { id, pool: pool as i64 })
            }
            Err(_) => Ok(ImageSpec { id: String::new(), pool: 0 }),
        }
    }
}

/// A snapshot of a group (`cls::rbd::GroupSnapshot`), version 1.
#[derive(Clone, PartialEq, Eq, Debug)]
struct GroupSnap {
    id: String,
    name: String,
    state: u8,
    images: Vec<ImageSnap>,
}
/// One image's part of it (`cls::rbd::ImageSnapshotSpec`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct ImageSnap {
    pool: i64,
    id: String,
    snap: u64,
}
impl Encode for ImageSnap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.i64(self.pool);
            e.put(&self.id);
            e.u64(self.snap);
        });
    }
}
impl Decode for ImageSnap {
    const MIN_SIZE: usize = 26;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("ImageSnapshotSpec", 1)?;
        Ok(ImageSnap { pool: d.i64()?, id: d.string()?, snap: d.u64()? })
    }
}
impl Encode for GroupSnap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.id);
            e.put(&self.name);
            e.u8(self.state);
            e.put(&self.images);
        });
    }
}
impl Decode for GroupSnap {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("GroupSnapshot", 1)?;
        Ok(GroupSnap { id: d.string()?, name: d.string()?, state: d.u8()?, images: d.get()? })
    }
}

/// The group that an image is in (`cls::rbd::GroupSpec`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct GroupSpec {
    pool: i64,
    id: String,
}
impl Encode for GroupSpec {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.i64(self.pool);
            e.put(&self.id);
        });
    }
}
impl Decode for GroupSpec {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("GroupSpec", 1)?;
        Ok(GroupSpec { pool: d.i64()?, id: d.string()? })
    }
}

/// string start, u64 max -> map of name to id.
pub fn group_dir_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    directory::dir_list(ctx, input)
}
/// string name, string id.
pub fn group_dir_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    directory::dir_add_image(ctx, input)
}
/// string name, string id.
pub fn group_dir_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    directory::dir_remove_image(ctx, input)
}
/// string from, string to, string id.
pub fn group_dir_rename(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    directory::dir_rename_image(ctx, input)
}

/// GroupImageStatus: image and u8 state.
pub fn group_image_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("GroupImageStatus", 1)?;
    let (image, state): (ImageSpec, u8) = (d.get()?, d.u8()?);
    write_key(ctx, &image.key(), &state)?;
    Ok(DONE)
}

/// GroupImageSpec.
pub fn group_image_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let image: ImageSpec = Decoder::new(input).get()?;
    ctx.omap_rm_key(image.key().as_bytes())?;
    Ok(DONE)
}

/// GroupImageSpec start, u64 max -> vector of GroupImageStatus.
pub fn group_image_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (start, max): (ImageSpec, u64) = (d.get()?, d.u64()?);
    let mut found: Vec<(ImageSpec, u8)> = Vec::new();
    let max = max.min(super::util::LIST_MAX) as usize;
    if max > 0 {
        each_with_prefix(ctx, IMAGE, &start.key(), |_, k, v| {
            let state: u8 = denc::from_bytes(&v).map_err(|_| ClsError::from(Errno::EIO))?;
            found.push((ImageSpec::from_key(&k[IMAGE.len()..])?, state));
            Ok(found.len() < max)
        })?;
    }
    let mut e = Encoder::new(denc::Features::ALL);
    e.count(found.len());
    for (image, state) in &found {
        e.versioned(1, 1, |e| {
            e.put(image);
            e.u8(*state);
        });
    }
    Ok(e.finish())
}

fn reference(ctx: &mut dyn ClsContext) -> Result<Option<GroupSpec>, ClsError> {
    match ctx.omap_get_val(REF.as_bytes()) {
        Ok(stored) => Ok(Some(denc::from_bytes(&stored)?)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// GroupSpec: an image is in one group at most.
pub fn image_group_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let group: GroupSpec = Decoder::new(input).get()?;
    match reference(ctx)? {
        Some(there) if there == group => return Ok(DONE),
        Some(_) => return Err(Errno::EEXIST.into()),
        None => {}
    }
    set_op_features(ctx, op_feature::GROUP, op_feature::GROUP)?;
    write_key(ctx, REF, &group)?;
    Ok(DONE)
}

/// GroupSpec.
pub fn image_group_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let group: GroupSpec = Decoder::new(input).get()?;
    let there = reference(ctx)?.ok_or(ClsError::from(Errno::ENOENT))?;
    if there != group {
        return Err(Errno::EBADF.into());
    }
    ctx.omap_rm_key(REF.as_bytes())?;
    set_op_features(ctx, 0, op_feature::GROUP)?;
    Ok(DONE)
}

/// -> GroupSpec; pool -1 and an empty id for none.
pub fn image_group_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let none = GroupSpec { pool: -1, id: String::new() };
    Ok(bytes_of(&reference(ctx)?.unwrap_or(none)))
}

fn snap_key(id: &str) -> String {
    format!("{SNAP}{id}")
}

/// GroupSnapshot.
pub fn group_snap_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: GroupSnap = Decoder::new(input).get()?;
    if snap.name.is_empty() || snap.id.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    let there: Vec<(Bytes, GroupSnap)> = Listing::gather(ctx, SNAP, "", u64::MAX)?.typed()?;
    if there.iter().any(|(_, s)| s.name == snap.name && s.id != snap.id) {
        return Err(Errno::EEXIST.into());
    }
    if snap.state == INCOMPLETE && super::util::has_key(ctx, &snap_key(&snap.id))? {
        return Err(Errno::EEXIST.into());
    }
    write_key(ctx, &snap_key(&snap.id), &snap)?;
    Ok(DONE)
}

/// string id.
pub fn group_snap_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    ctx.omap_rm_key(snap_key(&id).as_bytes())?;
    Ok(DONE)
}

/// string id -> GroupSnapshot.
pub fn group_snap_get_by_id(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let snap: GroupSnap = super::util::read_key(ctx, &snap_key(&id))?;
    Ok(bytes_of(&snap))
}

/// GroupSnapshot start (its id counts), u64 max -> vector of GroupSnapshot.
pub fn group_snap_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (start, max): (GroupSnap, u64) = (d.get()?, d.u64()?);
    let listing = Listing::gather(ctx, SNAP, &start.id, max.min(super::util::LIST_MAX))?;
    // Stock forgets to look at the error of a damaged one: the list ends there.
    let snaps: Vec<GroupSnap> = listing.items().iter().map_while(|(_, v)| denc::from_bytes(v).ok()).collect();
    Ok(bytes_of(&snaps))
}
