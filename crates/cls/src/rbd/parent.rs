//! An image's parent: the snapshot that it is a clone of.

use super::snapshot;
use super::state::{Parent, Snap};
use super::util::{
    bytes_of, check_exists, feature, op_feature, read_key, read_opt, remove_key, require_feature,
    set_op_features, write_key,
};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use types::{Errno, SnapId};

type Out = Result<Bytes, ClsError>;

/// -> ParentImageSpec; without a parent: pool -1, snap head.
pub fn parent_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    check_exists(ctx)?;
    let mut parent = Parent::default();
    if require_feature(ctx, feature::LAYERING).is_ok() {
        match read_opt::<Parent>(ctx, "parent")? {
            Some(p) => parent = p,
            // Only the snapshots may know, in the old form; the last one that does counts.
            None => {
                for s in snapshot::all(ctx)? {
                    if s.legacy_parent.exists() {
                        parent = s.legacy_parent;
                    }
                }
            }
        }
    }
    let mut e = Encoder::new(Features::ALL);
    parent.encode_spec(&mut e);
    Ok(e.finish())
}

/// u64 snap -> optional u64.
pub fn parent_overlap_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: SnapId = Decoder::new(input).get()?;
    let mut overlap = None;
    if require_feature(ctx, feature::LAYERING).is_ok() {
        if snap == SnapId::HEAD {
            overlap = read_opt::<Parent>(ctx, "parent")?.and_then(|p| p.head_overlap);
        } else {
            let s = snapshot::load(ctx, snap)?;
            let legacy = if s.legacy_parent.exists() { s.legacy_parent.head_overlap } else { None };
            overlap = s.parent_overlap.or(legacy);
        }
    }
    Ok(bytes_of(&overlap))
}

/// The form before namespaces: u64 snap -> s64 pool, string image, u64 snap, u64 overlap.
pub fn get_parent(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: SnapId = Decoder::new(input).get()?;
    check_exists(ctx)?;
    let mut parent = Parent::default();
    if require_feature(ctx, feature::LAYERING).is_ok() {
        parent = read_opt(ctx, "parent")?.unwrap_or_default();
        if !parent.namespace.is_empty() {
            return Err(Errno::EXDEV.into());
        }
        if snap != SnapId::HEAD {
            let s = match snapshot::load(ctx, snap) {
                Err(e) if e.errno == Errno::ENOENT => Snap::default(),
                other => other?,
            };
            if s.legacy_parent.exists() {
                parent = s.legacy_parent;
            } else if s.parent_overlap.is_none() {
                parent = Parent::default();
            } else if !parent.exists() {
                return Err(Errno::EINVAL.into());
            } else {
                parent.head_overlap = s.parent_overlap;
            }
        }
    }
    let mut e = Encoder::new(Features::ALL);
    e.i64(parent.pool);
    e.put(&parent.image_id);
    e.put(&parent.snap);
    e.u64(parent.head_overlap.unwrap_or(0));
    Ok(e.finish())
}

fn attach(ctx: &mut dyn ClsContext, mut parent: Parent, overlap: u64, reattach: bool) -> Out {
    check_exists(ctx)?;
    require_feature(ctx, feature::LAYERING)?;
    if !parent.exists() || overlap == 0 {
        return Err(Errno::EINVAL.into());
    }
    if let Some(there) = read_opt::<Parent>(ctx, "parent")?
        && (there.head_overlap.is_some() || !there.same_spec(&parent))
        && !reattach
    {
        return Err(Errno::EEXIST.into());
    }
    let size: u64 = read_key(ctx, "size")?;
    parent.head_overlap = Some(overlap.min(size));
    write_key(ctx, "parent", &parent)?;
    Ok(Bytes::new())
}

/// ParentImageSpec, u64 overlap, u8 reattach (optional).
pub fn parent_attach(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (parent, overlap) = (Parent::decode_spec(&mut d)?, d.u64()?);
    let reattach = !d.is_empty() && d.bool()?;
    attach(ctx, parent, overlap, reattach)
}

/// The form before namespaces: s64 pool, string image, u64 snap, u64 overlap.
pub fn set_parent(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let parent = Parent { pool: d.i64()?, image_id: d.string()?, snap: d.get()?, ..Parent::default() };
    let overlap = d.u64()?;
    attach(ctx, parent, overlap, false)
}

fn detach(ctx: &mut dyn ClsContext, before_namespaces: bool) -> Out {
    check_exists(ctx)?;
    let bits = require_feature(ctx, feature::LAYERING)?;
    let mut parent: Parent = read_key(ctx, "parent")?;
    if before_namespaces && !parent.namespace.is_empty() {
        return Err(Errno::EXDEV.into());
    }
    if parent.head_overlap.is_none() {
        return Err(Errno::ENOENT.into());
    }
    let mut kept_for_snaps = false;
    for snap in snapshot::all(ctx)? {
        if !snap.has_parent() {
            continue;
        }
        if bits & feature::DEEP_FLATTEN == 0 {
            kept_for_snaps = true;
            break;
        }
        snapshot::store(ctx, Snap { parent_overlap: None, legacy_parent: Parent::default(), ..snap })?;
    }
    if kept_for_snaps {
        parent.head_overlap = None;
        write_key(ctx, "parent", &parent)?;
    } else {
        remove_key(ctx, "parent")?;
        set_op_features(ctx, 0, op_feature::CLONE_CHILD)?;
    }
    Ok(Bytes::new())
}

/// The head has no parent any more. While snapshots still have, its spec is kept for them.
pub fn parent_detach(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    detach(ctx, false)
}

/// The form before namespaces.
pub fn remove_parent(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    detach(ctx, true)
}
