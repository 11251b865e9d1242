//! Clones of snapshots: in the parent's header (clone v2), and in `rbd_children` (clone v1).

use super::snapshot;
use super::state::{Child, snap_ns};
use super::util::{bytes_of, op_feature, read_key, read_opt, remove_key, set_op_features, write_key};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::Decoder;
use std::collections::BTreeSet;
use types::{Errno, SnapId};

type Out = Result<Bytes, ClsError>;

const PREFIX: &str = "snap_children_";

fn key(snap: SnapId) -> String {
    format!("{PREFIX}{:016x}", snap.0)
}

fn args(input: &Bytes) -> Result<(SnapId, Child), ClsError> {
    let mut d = Decoder::new(input);
    Ok((d.get()?, d.get()?))
}

/// u64 snap, ChildImageSpec.
pub fn child_attach(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (id, child) = args(input)?;
    let mut snap = snapshot::load(ctx, id)?;
    if snap.namespace.kind == snap_ns::TRASH {
        return Err(Errno::ENOENT.into());
    }
    let mut children: BTreeSet<Child> = read_opt(ctx, &key(id))?.unwrap_or_default();
    if !children.insert(child) {
        return Err(Errno::EEXIST.into());
    }
    write_key(ctx, &key(id), &children)?;
    snap.child_count = snap.child_count.saturating_add(1);
    snapshot::store(ctx, snap)?;
    set_op_features(ctx, op_feature::CLONE_PARENT, op_feature::CLONE_PARENT)?;
    Ok(Bytes::new())
}

/// u64 snap, ChildImageSpec.
pub fn child_detach(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (id, child) = args(input)?;
    let mut snap = snapshot::load(ctx, id)?;
    let mut children: BTreeSet<Child> = read_opt(ctx, &key(id))?.unwrap_or_default();
    if snap.child_count as usize != children.len() {
        return Err(Errno::EINVAL.into());
    }
    if !children.remove(&child) {
        return Err(Errno::ENOENT.into());
    }
    snap.child_count -= 1;
    snapshot::store(ctx, snap)?;
    if !children.is_empty() {
        write_key(ctx, &key(id), &children)?;
        return Ok(Bytes::new());
    }
    remove_key(ctx, &key(id))?;
    if !snapshot::all(ctx)?.iter().any(|s| s.id != id && s.child_count > 0) {
        set_op_features(ctx, 0, op_feature::CLONE_PARENT)?;
    }
    Ok(Bytes::new())
}

/// u64 snap -> list of ChildImageSpec; `ENOENT` when there is none.
pub fn children_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id: SnapId = Decoder::new(input).get()?;
    snapshot::load(ctx, id)?;
    let children: BTreeSet<Child> = read_key(ctx, &key(id))?;
    Ok(bytes_of(&children))
}

/// The key of a parent in `rbd_children` is the encoding of (s64 pool, string image, u64 snap) itself.
fn v1_key(d: &mut Decoder<'_>, input: &Bytes) -> Result<Bytes, ClsError> {
    let from = d.position();
    d.i64()?;
    d.string()?;
    d.u64()?;
    Ok(input.slice(from..d.position()))
}

fn v1_children(ctx: &mut dyn ClsContext, key: &Bytes) -> Result<BTreeSet<String>, ClsError> {
    let stored = ctx.omap_get_val(key)?;
    denc::from_bytes(&stored).map_err(|_| Errno::EIO.into())
}

/// Parent, string child.
pub fn add_child(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let key = v1_key(&mut d, input)?;
    let child = d.string()?;
    let mut children = match v1_children(ctx, &key) {
        Err(e) if e.errno == Errno::ENOENT => BTreeSet::new(),
        other => other?,
    };
    if !children.insert(child) {
        return Err(Errno::EEXIST.into());
    }
    ctx.omap_set_val(&key, bytes_of(&children))?;
    Ok(Bytes::new())
}

/// Parent, string child.
pub fn remove_child(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let key = v1_key(&mut d, input)?;
    let child = d.string()?;
    let mut children = v1_children(ctx, &key)?;
    if !children.remove(&child) {
        return Err(Errno::ENOENT.into());
    }
    if children.is_empty() {
        ctx.omap_rm_key(&key)?;
    } else {
        ctx.omap_set_val(&key, bytes_of(&children))?;
    }
    Ok(Bytes::new())
}

/// Parent -> set of strings.
pub fn get_children(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let key = v1_key(&mut Decoder::new(input), input)?;
    Ok(bytes_of(&v1_children(ctx, &key)?))
}
