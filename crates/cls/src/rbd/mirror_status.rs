//! `rbd_mirroring` and its neighbours, the daemons' part: statuses of mirrored images (ours, and those that remote
//! sites left here), instances of daemons, and which of them has which image.

use super::mirror::{self, Peer, direction, image_state};
use super::util::{Listing, bytes_of, each_with_prefix, read_opt, remove_key, start_and_max};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::{BTreeMap, BTreeSet};
use types::{AddrType, EntityAddr, EntityName, Errno, Utime};

type Out = Result<Bytes, ClsError>;
type Instance = (EntityName, EntityAddr);

const DONE: Bytes = Bytes::new();
const LOCAL: &str = "status_global_";
const REMOTE: &str = "remote_status_global_";
const INSTANCE: &str = "instance_";
const MAP: &str = "image_map_";

const STATE_UNKNOWN: u8 = 0;
const STATE_ERROR: u8 = 1;

/// One site's view of an image (`cls::rbd::MirrorImageSiteStatus`). An empty uuid is this site.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct SiteStatus {
    mirror_uuid: String,
    state: u8,
    description: String,
    last_update: Utime,
    up: bool,
}
impl SiteStatus {
    fn encode_meta(&self, e: &mut Encoder, with_uuid: bool) {
        if with_uuid {
            e.put(&self.mirror_uuid);
        }
        e.u8(self.state);
        e.put(&self.description);
        e.put(&self.last_update);
        e.bool(self.up);
    }
}
impl Encode for SiteStatus {
    fn encode(&self, e: &mut Encoder) {
        // Another site's is not for decoders that know of one site only.
        let v = if self.mirror_uuid.is_empty() { 1 } else { 2 };
        e.versioned(v, v, |e| self.encode_meta(e, v >= 2));
    }
}
impl Decode for SiteStatus {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MirrorImageSiteStatus", 2)?;
        Ok(SiteStatus {
            mirror_uuid: if v >= 2 { d.string()? } else { String::new() },
            state: d.u8()?,
            description: d.string()?,
            last_update: d.get()?,
            up: d.bool()?,
        })
    }
}

/// The stored form: who said so, and what (`MirrorImageSiteStatusOnDisk`): two structs in a row, without one around.
struct Stored {
    origin: Instance,
    status: SiteStatus,
}

/// Addresses of clients are compared whatever protocol they came by.
fn sanitized((name, addr): Instance) -> Instance {
    (name, EntityAddr { kind: AddrType::Any, ..addr })
}

fn decode_origin(d: &mut Decoder<'_>) -> Result<Instance, DencError> {
    let (_, mut d) = d.open("MirrorImageSiteStatusOnDisk meta", 1)?;
    Ok(sanitized((d.get()?, d.get()?)))
}
impl Encode for Stored {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            let (name, addr) = sanitized(self.origin);
            e.put(&name);
            e.put(&addr);
        });
        e.put(&self.status);
    }
}
impl Decode for Stored {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Stored { origin: decode_origin(d)?, status: d.get()? })
    }
}

/// All sites' views (`cls::rbd::MirrorImageStatus`), ours first if there.
#[derive(Default)]
struct Status {
    sites: Vec<SiteStatus>,
}
impl Status {
    fn local(&self) -> Option<&SiteStatus> {
        self.sites.iter().find(|s| s.mirror_uuid.is_empty())
    }
    fn remote(&self) -> impl Iterator<Item = &SiteStatus> {
        self.sites.iter().filter(|s| !s.mirror_uuid.is_empty())
    }
}
impl Encode for Status {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            self.local().cloned().unwrap_or_default().encode_meta(e, false);
            e.bool(self.local().is_some());
            e.count(self.remote().count());
            self.remote().for_each(|s| s.encode_meta(e, true));
        });
    }
}

fn local_key(global_id: &str) -> String {
    format!("{LOCAL}{global_id}")
}
fn remote_key(global_id: &str, uuid: &str) -> String {
    format!("{REMOTE}{global_id}_{uuid}")
}

fn watchers(ctx: &mut dyn ClsContext) -> Result<BTreeSet<Instance>, ClsError> {
    match ctx.watchers() {
        Ok(w) => Ok(w.into_iter().map(sanitized).collect()),
        Err(Errno::ENOENT) => Ok(BTreeSet::new()),
        Err(e) => Err(e.into()),
    }
}

/// string global image id, MirrorImageSiteStatus.
pub fn mirror_image_status_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (global_id, said): (String, SiteStatus) = (d.string()?, d.get()?);
    // Not an error: the image may have gone while the daemon looked at it.
    match mirror::image_of_global(ctx, &global_id) {
        Ok(image) if image.state == image_state::ENABLED => {}
        _ => return Ok(DONE),
    }
    let key = match &*said.mirror_uuid {
        "" => local_key(&global_id),
        uuid => remote_key(&global_id, uuid),
    };
    let status = SiteStatus { mirror_uuid: String::new(), up: false, last_update: ctx.now(), ..said };
    let stored = Stored { origin: ctx.origin(), status };
    super::util::write_key(ctx, &key, &stored)?;
    Ok(DONE)
}

/// Removes what all sites said of an image.
pub fn remove_statuses(ctx: &mut dyn ClsContext, global_id: &str) -> Result<(), ClsError> {
    let mut keys = vec![Bytes::from(local_key(global_id))];
    each_with_prefix(ctx, &remote_key(global_id, ""), "", |_, k, _| {
        keys.push(k);
        Ok(true)
    })?;
    match ctx.omap_rm_keys(keys) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// string global image id.
pub fn mirror_image_status_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let global_id = Decoder::new(input).string()?;
    remove_statuses(ctx, &global_id)?;
    Ok(DONE)
}

/// `ENOENT` when no site said anything.
fn status(ctx: &mut dyn ClsContext, global_id: &str, up: &BTreeSet<Instance>) -> Result<Status, ClsError> {
    let mut all = Status::default();
    if let Some(s) = read_opt::<Stored>(ctx, &local_key(global_id))? {
        all.sites.push(SiteStatus { up: up.contains(&s.origin), mirror_uuid: String::new(), ..s.status });
    }
    let filter = remote_key(global_id, "");
    each_with_prefix(ctx, &filter, &filter, |_, k, v| {
        let s: Stored = denc::from_bytes(&v).map_err(|_| ClsError::from(Errno::EIO))?;
        let mirror_uuid = String::from_utf8_lossy(&k[filter.len()..]).into_owned();
        all.sites.push(SiteStatus { up: up.contains(&s.origin), mirror_uuid, ..s.status });
        Ok(true)
    })?;
    if all.sites.is_empty() { Err(Errno::ENOENT.into()) } else { Ok(all) }
}

/// string global image id -> MirrorImageStatus.
pub fn mirror_image_status_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let global_id = Decoder::new(input).string()?;
    let up = watchers(ctx)?;
    Ok(bytes_of(&status(ctx, &global_id, &up)?))
}

/// string start, u64 max -> map of image id to MirrorImage, map of image id to MirrorImageStatus.
pub fn mirror_image_status_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    let up = watchers(ctx)?;
    let images = mirror::images(ctx, &start, max)?;
    let mut statuses = BTreeMap::new();
    for (id, image) in &images {
        if let Ok(s) = status(ctx, &image.global_image_id, &up) {
            statuses.insert(id.clone(), s);
        }
    }
    Ok(bytes_of(&(images, statuses)))
}

/// What one word says of all sites.
fn summary(dir: u8, tx_uuids: &BTreeSet<String>, s: &Status) -> u8 {
    let mut state = match dir {
        direction::RX | direction::RX_TX => s.local().filter(|l| l.up).map(|l| l.state),
        _ => None,
    };
    let mut unmatched = 0;
    if matches!(dir, direction::TX | direction::RX_TX) {
        unmatched = tx_uuids.len();
        for r in s.remote() {
            if tx_uuids.contains(&r.mirror_uuid) {
                unmatched = unmatched.saturating_sub(1);
            }
            let remote = if r.up { r.state } else { STATE_UNKNOWN };
            state = Some(match state {
                _ if r.state == STATE_ERROR => STATE_ERROR,
                None => remote,
                Some(STATE_ERROR) => STATE_ERROR,
                Some(other) => other.min(remote),
            });
        }
    }
    if unmatched > 0 { STATE_UNKNOWN } else { state.unwrap_or(STATE_UNKNOWN) }
}

/// vector of MirrorPeer (optional) -> map of u8 state to s32 count.
pub fn mirror_image_status_get_summary(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let peers: Vec<Peer> = if d.is_empty() { Vec::new() } else { d.get()? };
    let mut dir = peers.first().map_or(direction::RX, |p| p.direction);
    let mut tx_uuids = BTreeSet::new();
    for p in peers.iter().filter(|p| p.direction != direction::RX) {
        tx_uuids.insert(p.mirror_uuid.clone());
        if dir != p.direction {
            dir = direction::RX_TX;
        }
    }
    let up = watchers(ctx)?;
    let mut counts: BTreeMap<u8, i32> = BTreeMap::new();
    for image in mirror::images(ctx, "", u64::MAX)?.values() {
        let s = match status(ctx, &image.global_image_id, &up) {
            Err(e) if e.errno == Errno::ENOENT => Status::default(),
            other => other?,
        };
        *counts.entry(summary(dir, &tx_uuids, &s)).or_default() += 1;
    }
    Ok(bytes_of(&counts))
}

/// Removes statuses whose daemons watch no more.
pub fn mirror_image_status_remove_down(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let up = watchers(ctx)?;
    let mut gone = Vec::new();
    for prefix in [LOCAL, REMOTE] {
        each_with_prefix(ctx, prefix, prefix, |_, k, v| {
            let origin = decode_origin(&mut Decoder::new(&v));
            if !up.contains(&origin.map_err(|_| ClsError::from(Errno::EIO))?) {
                gone.push(k);
            }
            Ok(true)
        })?;
    }
    if !gone.is_empty() {
        ctx.omap_rm_keys(gone)?;
    }
    Ok(DONE)
}

/// Who mirrors an image here: `ENOENT` nobody said, `ESTALE` who said is gone.
fn instance(
    ctx: &mut dyn ClsContext,
    global_id: &str,
    up: &BTreeSet<Instance>,
) -> Result<Instance, ClsError> {
    let stored: Stored = super::util::read_key(ctx, &local_key(global_id))?;
    if up.contains(&stored.origin) { Ok(stored.origin) } else { Err(Errno::ESTALE.into()) }
}

/// string global image id -> entity_inst_t.
pub fn mirror_image_instance_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let global_id = Decoder::new(input).string()?;
    let up = watchers(ctx)?;
    let found = instance(ctx, &global_id, &up)?;
    Ok(denc::to_bytes(&found, Features(ctx.client_features())))
}

/// string start, u64 max -> map of image id to entity_inst_t.
pub fn mirror_image_instance_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    let up = watchers(ctx)?;
    let mut found: BTreeMap<Bytes, Instance> = BTreeMap::new();
    if max > 0 {
        for (id, image) in mirror::images(ctx, &start, u64::MAX)? {
            if let Ok(i) = instance(ctx, &image.global_image_id, &up) {
                found.insert(id, i);
            }
            if found.len() as u64 >= max {
                break;
            }
        }
    }
    Ok(denc::to_bytes(&found, Features(ctx.client_features())))
}

fn instance_key(input: &Bytes) -> Result<String, ClsError> {
    Ok(format!("{INSTANCE}{}", Decoder::new(input).string()?))
}

/// -> vector of strings.
pub fn mirror_instances_list(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    Ok(Listing::gather(ctx, INSTANCE, "", u64::MAX)?.keys())
}

/// string.
pub fn mirror_instances_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    ctx.omap_set_val(instance_key(input)?.as_bytes(), Bytes::new())?;
    Ok(DONE)
}

/// string.
pub fn mirror_instances_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    ctx.omap_rm_key(instance_key(input)?.as_bytes())?;
    Ok(DONE)
}

/// Which daemon has an image (`cls::rbd::MirrorImageMap`).
struct ImageMap {
    instance: String,
    mapped_time: Utime,
    data: Bytes,
}
impl Encode for ImageMap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.instance);
            e.put(&self.mapped_time);
            e.put(&self.data);
        });
    }
}
impl Decode for ImageMap {
    const MIN_SIZE: usize = 22;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("MirrorImageMap", 1)?;
        Ok(ImageMap { instance: d.string()?, mapped_time: d.get()?, data: d.blob()? })
    }
}

/// string start, u64 max -> map of global image id to MirrorImageMap.
pub fn mirror_image_map_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    let listing = Listing::gather(ctx, MAP, &start, max)?;
    listing.map::<ImageMap>().map_err(|_| Errno::EINVAL.into())
}

/// string global image id, MirrorImageMap.
pub fn mirror_image_map_update(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (global_id, map): (String, ImageMap) = (d.string()?, d.get()?);
    super::util::write_key(ctx, &format!("{MAP}{global_id}"), &map)?;
    Ok(DONE)
}

/// string global image id.
pub fn mirror_image_map_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let global_id = Decoder::new(input).string()?;
    remove_key(ctx, &format!("{MAP}{global_id}"))?;
    Ok(DONE)
}
