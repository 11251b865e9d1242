//! Header of an image (`rbd_header.<id>`): size, features, timestamps, metadata; and its id object (`rbd_id.<name>`).

use super::snapshot;
use super::state::Parent;
use super::util::{
    Listing, bytes_of, check_exists, feature, features, has_key, is_valid_id, op_feature, read_key, read_opt,
    require_feature, set_op_features, start_and_max, write_key,
};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::Decoder;
use types::{Errno, SnapId, Utime};

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();

fn invalid<T>() -> Result<T, ClsError> {
    Err(Errno::EINVAL.into())
}

/// u64 size, u8 order, u64 features, string object prefix, s64 data pool (optional, -1 for none).
pub fn create(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (size, order, bits, prefix) = (d.u64()?, d.u8()?, d.u64()?, d.string()?);
    let data_pool = if d.is_empty() { -1 } else { d.i64()? };
    if bits & !feature::ALL != 0 {
        return Err(Errno::ENOSYS.into());
    }
    if prefix.is_empty() {
        return invalid();
    }
    if has_key(ctx, "object_prefix")? {
        return Err(Errno::EEXIST.into());
    }
    if bits & feature::OPERATIONS != 0 {
        return invalid();
    }
    let wants_pool = bits & feature::DATA_POOL != 0;
    if wants_pool != (data_pool != -1) {
        return invalid();
    }
    let now = ctx.now();
    let mut pairs = vec![
        ("size", bytes_of(&size)),
        ("order", bytes_of(&order)),
        ("features", bytes_of(&bits)),
        ("object_prefix", bytes_of(&prefix)),
        ("snap_seq", bytes_of(&0u64)),
        ("create_timestamp", bytes_of(&now)),
        ("access_timestamp", bytes_of(&now)),
        ("modify_timestamp", bytes_of(&now)),
    ];
    if wants_pool {
        pairs.push(("data_pool_id", bytes_of(&data_pool)));
    }
    ctx.omap_set(pairs.into_iter().map(|(k, v)| (Bytes::from_static(k.as_bytes()), v)).collect())?;
    Ok(DONE)
}

/// u64 snap (not looked at), u8 read-only -> u64 features, u64 bits that the opener must know.
pub fn get_features(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    d.u64()?;
    let read_only = !d.is_empty() && d.bool()?;
    let bits = features(ctx)?;
    let mask = if read_only { feature::INCOMPATIBLE } else { feature::RW_INCOMPATIBLE };
    Ok(bytes_of(&(bits, bits & mask)))
}

/// u64 features, u64 mask.
pub fn set_features(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (wanted, mask) = (d.u64()?, d.u64()?);
    let orig: u64 = read_opt(ctx, "features")?.unwrap_or(0);
    if mask & feature::INTERNAL != 0 {
        return invalid();
    }
    // Newer clients may turn off what we do not know.
    let mask = mask & feature::ALL;
    let (on, off) = (wanted & mask, !wanted & mask);
    if on & !feature::MUTABLE != 0 || off & !(feature::MUTABLE | feature::DISABLE_ONLY) != 0 {
        return invalid();
    }
    let new = (orig & !mask) | on;
    write_key(ctx, "features", &new)?;
    Ok(DONE)
}

/// u64 snap -> u8 order, u64 size.
pub fn get_size(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: SnapId = Decoder::new(input).get()?;
    let order: u8 = read_key(ctx, "order")?;
    let size: u64 =
        if snap == SnapId::HEAD { read_key(ctx, "size")? } else { snapshot::load(ctx, snap)?.image_size };
    Ok(bytes_of(&(order, size)))
}

/// u64 size. A smaller one shrinks the overlap with the parent.
pub fn set_size(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let size: u64 = Decoder::new(input).get()?;
    let orig: u64 = read_key(ctx, "size")?;
    write_key(ctx, "size", &size)?;
    if size < orig
        && let Some(mut parent) = read_opt::<Parent>(ctx, "parent")?
        && parent.exists()
        && parent.head_overlap.unwrap_or(0) > size
    {
        parent.head_overlap = Some(size);
        write_key(ctx, "parent", &parent)?;
    }
    Ok(DONE)
}

/// -> string.
pub fn get_object_prefix(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let prefix: String = read_key(ctx, "object_prefix")?;
    Ok(bytes_of(&prefix))
}

/// -> s64, -1 for none.
pub fn get_data_pool(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let pool: i64 = read_opt(ctx, "data_pool_id")?.unwrap_or(-1);
    Ok(bytes_of(&pool))
}

/// u64 snap -> u64 flags.
pub fn get_flags(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let snap: SnapId = Decoder::new(input).get()?;
    let flags: u64 = if snap == SnapId::HEAD {
        read_opt(ctx, "flags")?.unwrap_or(0)
    } else {
        snapshot::load(ctx, snap)?.flags
    };
    Ok(bytes_of(&flags))
}

/// u64 flags, u64 mask, u64 snap (optional).
pub fn set_flags(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (flags, mask) = (d.u64()?, d.u64()?);
    let snap = if d.is_empty() { SnapId::HEAD } else { d.get()? };
    if snap == SnapId::HEAD {
        let orig: u64 = read_opt(ctx, "flags")?.unwrap_or(0);
        write_key(ctx, "flags", &((orig & !mask) | (flags & mask)))?;
    } else {
        let mut s = snapshot::load(ctx, snap)?;
        s.flags = (s.flags & !mask) | (flags & mask);
        snapshot::store(ctx, s)?;
    }
    Ok(DONE)
}

/// -> u64.
pub fn op_features_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let bits: u64 = read_opt(ctx, "op_features")?.unwrap_or(0);
    Ok(bytes_of(&bits))
}

/// u64 value, u64 mask.
pub fn op_features_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (value, mask) = (d.u64()?, d.u64()?);
    if mask & !op_feature::ALL != 0 {
        return invalid();
    }
    set_op_features(ctx, value, mask)?;
    Ok(DONE)
}

/// -> u64 stripe unit, u64 stripe count.
pub fn get_stripe_unit_count(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    check_exists(ctx)?;
    require_feature(ctx, feature::STRIPINGV2)?;
    let unit: u64 = match read_opt(ctx, "stripe_unit")? {
        Some(u) => u,
        None => {
            let order: u8 = read_key(ctx, "order").map_err(|_| ClsError::from(Errno::EIO))?;
            1u64.checked_shl(order.into()).unwrap_or(0)
        }
    };
    let count: u64 = read_opt(ctx, "stripe_count")?.unwrap_or(1);
    Ok(bytes_of(&(unit, count)))
}

/// u64 stripe unit, u64 stripe count.
pub fn set_stripe_unit_count(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (unit, count) = (d.u64()?, d.u64()?);
    if unit == 0 || count == 0 {
        return invalid();
    }
    check_exists(ctx)?;
    require_feature(ctx, feature::STRIPINGV2)?;
    let order: u8 = read_key(ctx, "order")?;
    let object = 1u64.checked_shl(order.into()).unwrap_or(0);
    if unit > object || object % unit != 0 {
        return invalid();
    }
    write_key(ctx, "stripe_unit", &unit)?;
    write_key(ctx, "stripe_count", &count)?;
    Ok(DONE)
}

fn timestamp(ctx: &mut dyn ClsContext, key: &str) -> Out {
    check_exists(ctx)?;
    let t: Utime = read_opt(ctx, key)?.unwrap_or_default();
    Ok(bytes_of(&t))
}
fn touch(ctx: &mut dyn ClsContext, key: &str) -> Out {
    check_exists(ctx)?;
    let now = ctx.now();
    write_key(ctx, key, &now)?;
    Ok(DONE)
}
/// -> utime.
pub fn get_create_timestamp(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    timestamp(ctx, "create_timestamp")
}
/// -> utime.
pub fn get_access_timestamp(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    timestamp(ctx, "access_timestamp")
}
/// -> utime.
pub fn get_modify_timestamp(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    timestamp(ctx, "modify_timestamp")
}
/// Sets it to now.
pub fn set_access_timestamp(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    touch(ctx, "access_timestamp")
}
/// Sets it to now.
pub fn set_modify_timestamp(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    touch(ctx, "modify_timestamp")
}

/// -> u64: what this server knows.
pub fn get_all_features(_ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    Ok(bytes_of(&feature::ALL))
}

/// On `rbd_id.<name>` -> string.
pub fn get_id(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let (size, _) = ctx.stat()?;
    if size == 0 {
        return Err(Errno::ENOENT.into());
    }
    let data = ctx.read(0, size)?;
    let id: String = denc::from_bytes(&data).map_err(|_| ClsError::from(Errno::EIO))?;
    Ok(bytes_of(&id))
}

/// On `rbd_id.<name>`: string. The object must be there and empty.
pub fn set_id(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    check_exists(ctx)?;
    let id = Decoder::new(input).string()?;
    if !is_valid_id(&id) {
        return invalid();
    }
    let (size, _) = ctx.stat()?;
    if size != 0 {
        return Err(Errno::EEXIST.into());
    }
    ctx.write(0, bytes_of(&id))?;
    Ok(DONE)
}

const META: &str = "metadata_";

/// string start, u64 max -> map of string to blob.
pub fn metadata_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    // Stock takes 0 for its page size.
    let max = if max == 0 { 64 } else { max };
    Ok(Listing::gather(ctx, META, &start, max)?.blob_map())
}

/// map of string to blob.
pub fn metadata_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let data: std::collections::BTreeMap<String, Bytes> = Decoder::new(input).get()?;
    ctx.omap_set(data.into_iter().map(|(k, v)| (format!("{META}{k}").into(), v)).collect())?;
    Ok(DONE)
}

/// string.
pub fn metadata_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let key = Decoder::new(input).string()?;
    ctx.omap_rm_key(format!("{META}{key}").as_bytes())?;
    Ok(DONE)
}

/// string -> blob.
pub fn metadata_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let key = Decoder::new(input).string()?;
    let value = ctx.omap_get_val(format!("{META}{key}").as_bytes())?;
    Ok(bytes_of(&value))
}
