//! Snapshots of an image: keys `snapshot_%016x`, and `snap_seq`, the newest id ever taken.

use super::state::{Parent, Snap, SnapNamespace, protection, snap_ns};
use super::util::{
    bytes_of, check_exists, each_with_prefix, feature, op_feature, read_key, read_opt, remove_key,
    require_feature, set_op_features, write_key,
};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use types::{Errno, SnapId};

type Out = Result<Bytes, ClsError>;

const PREFIX: &str = "snapshot_";
/// CEPH_MAXSNAP.
const SNAP_MAX: u64 = u64::MAX - 2;
const DONE: Bytes = Bytes::new();

fn key(id: SnapId) -> String {
    format!("{PREFIX}{:016x}", id.0)
}

/// One snapshot; `ENOENT` when it is not there.
pub fn load(ctx: &mut dyn ClsContext, id: SnapId) -> Result<Snap, ClsError> {
    read_key(ctx, &key(id))
}

/// Writes one snapshot. A parent in the old form becomes the image's, unless that has one.
pub fn store(ctx: &mut dyn ClsContext, mut snap: Snap) -> Result<(), ClsError> {
    if snap.legacy_parent.exists() {
        let of_image: Parent = read_opt(ctx, "parent")?.unwrap_or_default();
        let moved = std::mem::take(&mut snap.legacy_parent);
        snap.parent_overlap = moved.head_overlap;
        if !of_image.exists() {
            write_key(ctx, "parent", &Parent { head_overlap: None, ..moved })?;
        }
    }
    write_key(ctx, &key(snap.id), &snap)
}

/// All snapshots, ascending by id.
pub fn all(ctx: &mut dyn ClsContext) -> Result<Vec<Snap>, ClsError> {
    let mut snaps = Vec::new();
    each_with_prefix(ctx, PREFIX, "", |_, _, v| {
        snaps.push(denc::from_bytes(&v).map_err(|_| ClsError::from(Errno::EIO))?);
        Ok(true)
    })?;
    Ok(snaps)
}

/// -> u64 seq, vector of ids, descending.
pub fn get_snapcontext(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let seq: u64 = read_key(ctx, "snap_seq")?;
    let mut ids = Vec::new();
    each_with_prefix(ctx, PREFIX, "", |_, k, _| {
        let hex = std::str::from_utf8(&k[PREFIX.len()..]).map_err(|_| ClsError::from(Errno::EIO))?;
        ids.push(u64::from_str_radix(hex, 16).map_err(|_| ClsError::from(Errno::EIO))?);
        Ok(true)
    })?;
    ids.reverse();
    Ok(bytes_of(&(seq, ids)))
}

fn snap_arg(input: &Bytes) -> Result<SnapId, ClsError> {
    Ok(Decoder::new(input).get()?)
}

fn load_not_head(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Snap, ClsError> {
    let id = snap_arg(input)?;
    if id == SnapId::HEAD {
        return Err(Errno::EINVAL.into());
    }
    load(ctx, id)
}

/// u64 -> SnapshotInfo.
pub fn snapshot_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap = load_not_head(ctx, input)?;
    let mut e = Encoder::new(Features::ALL);
    snap.encode_info(&mut e);
    Ok(e.finish())
}

/// u64 -> string (before 13.x).
pub fn get_snapshot_name(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap = load_not_head(ctx, input)?;
    Ok(bytes_of(&snap.name))
}

/// u64 -> utime (before 13.x).
pub fn get_snapshot_timestamp(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap = load_not_head(ctx, input)?;
    Ok(bytes_of(&snap.timestamp))
}

/// string name, u64 id, namespace (optional).
pub fn snapshot_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (name, id): (String, SnapId) = (d.string()?, d.get()?);
    let namespace = if d.is_empty() { SnapNamespace::default() } else { d.get()? };
    if id.0 > SNAP_MAX || namespace.kind == snap_ns::UNKNOWN {
        return Err(Errno::EINVAL.into());
    }
    let seq: u64 = read_key(ctx, "snap_seq")?;
    // The client lost a race to create a snapshot.
    if id.0 < seq {
        return Err(Errno::ESTALE.into());
    }
    let image_size = read_key(ctx, "size")?;
    let flags = read_opt(ctx, "flags")?.unwrap_or(0);
    let limit: u64 = read_opt(ctx, "snap_limit")?.unwrap_or(u64::MAX);
    for (before, s) in all(ctx)?.iter().enumerate() {
        // As in stock, the limit is looked at once for each snapshot that is there: a first one always may be.
        if before as u64 + 1 >= limit {
            return Err(Errno::EDQUOT.into());
        }
        if s.id == id || (s.name == name && s.namespace == namespace) {
            return Err(Errno::EEXIST.into());
        }
    }
    // Stock's snapshots inherit the parent in the old form, which the writing then moves.
    let legacy_parent: Parent = read_opt(ctx, "parent")?.unwrap_or_default();
    if namespace.kind == snap_ns::TRASH {
        set_op_features(ctx, op_feature::SNAP_TRASH, op_feature::SNAP_TRASH)?;
    }
    let timestamp = ctx.now();
    write_key(ctx, "snap_seq", &id.0)?;
    store(ctx, Snap { id, name, image_size, flags, namespace, timestamp, legacy_parent, ..Snap::default() })?;
    Ok(DONE)
}

/// u64. Protected ones and those with clones stay.
pub fn snapshot_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = snap_arg(input)?;
    let snap = load(ctx, id)?;
    if snap.protection_status != protection::UNPROTECTED || snap.child_count > 0 {
        return Err(Errno::EBUSY.into());
    }
    remove_key(ctx, &key(id))?;
    let rest: Vec<Snap> = all(ctx)?.into_iter().filter(|s| s.id != id).collect();
    let of_image = read_opt::<Parent>(ctx, "parent")?.filter(Parent::exists);
    let head_is_child = of_image.as_ref().is_some_and(|p| p.head_overlap.is_some());
    let mut gone = 0;
    if !head_is_child && !rest.iter().any(Snap::has_parent) {
        gone |= op_feature::CLONE_CHILD;
        // The parent's spec was kept for snapshots only, and the last one is gone.
        if of_image.is_some() {
            remove_key(ctx, "parent")?;
        }
    }
    if !rest.iter().any(|s| s.namespace.kind == snap_ns::TRASH) {
        gone |= op_feature::SNAP_TRASH;
    }
    if gone != 0 {
        set_op_features(ctx, 0, gone)?;
    }
    Ok(DONE)
}

/// u64 id, string new name.
pub fn snapshot_rename(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, name): (SnapId, String) = (d.get()?, d.string()?);
    if all(ctx)?.iter().any(|s| s.name == name && s.namespace.kind == snap_ns::USER) {
        return Err(Errno::EEXIST.into());
    }
    let mut snap = load(ctx, id)?;
    if snap.namespace.kind != snap_ns::USER {
        return Err(Errno::EINVAL.into());
    }
    snap.name = name;
    store(ctx, snap)?;
    Ok(DONE)
}

/// u64: the snapshot stays for its clones, out of sight.
pub fn snapshot_trash_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut snap = load(ctx, snap_arg(input)?)?;
    if snap.protection_status != protection::UNPROTECTED {
        return Err(Errno::EBUSY.into());
    }
    if snap.namespace.kind == snap_ns::TRASH {
        return Err(Errno::EEXIST.into());
    }
    snap.namespace = SnapNamespace::trash(snap.namespace.kind, &snap.name);
    let mut uuid = [0u8; 16];
    ctx.random_bytes(&mut uuid);
    snap.name = types::Fsid::from_random(uuid).to_string();
    set_op_features(ctx, op_feature::SNAP_TRASH, op_feature::SNAP_TRASH)?;
    store(ctx, snap)?;
    Ok(DONE)
}

/// -> u64, all ones for none.
pub fn snapshot_get_limit(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let limit: u64 = read_opt(ctx, "snap_limit")?.unwrap_or(u64::MAX);
    Ok(bytes_of(&limit))
}

/// u64.
pub fn snapshot_set_limit(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let limit: u64 = Decoder::new(input).get()?;
    if limit == u64::MAX {
        ctx.omap_rm_key(b"snap_limit")?;
    } else if (all(ctx)?.len() as u64) > limit {
        return Err(Errno::ERANGE.into());
    } else {
        write_key(ctx, "snap_limit", &limit)?;
    }
    Ok(DONE)
}

/// u64 -> u8.
pub fn get_protection_status(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap = load_not_head(ctx, input)?;
    if snap.protection_status >= protection::LAST {
        return Err(Errno::EIO.into());
    }
    Ok(bytes_of(&snap.protection_status))
}

/// u64, u8.
pub fn set_protection_status(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, status): (SnapId, u8) = (d.get()?, d.u8()?);
    check_exists(ctx)?;
    require_feature(ctx, feature::LAYERING)?;
    if id == SnapId::HEAD || status >= protection::LAST {
        return Err(Errno::EINVAL.into());
    }
    let mut snap = load(ctx, id)?;
    snap.protection_status = status;
    store(ctx, snap)?;
    Ok(DONE)
}
