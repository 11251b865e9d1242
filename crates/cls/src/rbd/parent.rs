//! An image's parent: the snapshot that it is a clone of.

use super::snapshot;
use super::state::Parent;
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
    let parent: Parent = read_opt(ctx, "parent")?.unwrap_or_default();
    let mut e = Encoder::new(Features::ALL);
    parent.encode_spec(&mut e);
    Ok(e.finish())
}

/// u64 snap -> optional u64.
pub fn parent_overlap_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: SnapId = Decoder::new(input).get()?;
    check_exists(ctx)?;
    let overlap: Option<u64> = if snap == SnapId::HEAD {
        read_opt::<Parent>(ctx, "parent")?.filter(Parent::exists).and_then(|p| p.head_overlap)
    } else {
        snapshot::load(ctx, snap)?.parent_overlap
    };
    Ok(bytes_of(&overlap))
}

/// The form before namespaces: u64 snap -> s64 pool, string image, u64 snap, u64 overlap.
pub fn get_parent(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: SnapId = Decoder::new(input).get()?;
    check_exists(ctx)?;
    let mut parent = Parent::default();
    let mut overlap = 0;
    if super::util::features(ctx)? & feature::LAYERING != 0
        && let Some(p) = read_opt::<Parent>(ctx, "parent")?
    {
        if !p.namespace.is_empty() {
            return Err(Errno::EXDEV.into());
        }
        let at =
            if snap == SnapId::HEAD { p.head_overlap } else { snapshot::load(ctx, snap)?.parent_overlap };
        if let Some(at) = at {
            (parent, overlap) = (p, at);
        }
    }
    let mut e = Encoder::new(Features::ALL);
    e.i64(parent.pool);
    e.put(&parent.image_id);
    e.put(&parent.snap);
    e.u64(overlap);
    Ok(e.finish())
}

/// ParentImageSpec, u64 overlap, u8 reattach.
pub fn parent_attach(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let mut parent = Parent::decode_spec(&mut d)?;
    let overlap = d.u64()?;
    let reattach = !d.is_empty() && d.bool()?;
    check_exists(ctx)?;
    require_feature(ctx, feature::LAYERING)?;
    if !parent.exists() || overlap == 0 {
        return Err(Errno::EINVAL.into());
    }
    if let Some(there) = read_opt::<Parent>(ctx, "parent")?
        && there.exists()
        && (!reattach || !there.same_spec(&parent) || there.head_overlap.is_some())
    {
        return Err(Errno::EEXIST.into());
    }
    let size: u64 = read_key(ctx, "size")?;
    parent.head_overlap = Some(overlap.min(size));
    write_key(ctx, "parent", &parent)?;
    Ok(Bytes::new())
}

/// The head has no parent any more. While snapshots still have, its spec is kept for them.
pub fn parent_detach(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    check_exists(ctx)?;
    let bits = require_feature(ctx, feature::LAYERING)?;
    let mut parent: Parent = read_key(ctx, "parent")?;
    if parent.head_overlap.is_none() {
        return Err(Errno::ENOENT.into());
    }
    let mut kept_for_snaps = false;
    for mut snap in snapshot::all(ctx)? {
        if snap.parent_overlap.is_none() {
            continue;
        }
        if bits & feature::DEEP_FLATTEN != 0 {
            snap.parent_overlap = None;
            snapshot::store(ctx, &snap)?;
        } else {
            kept_for_snaps = true;
        }
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
