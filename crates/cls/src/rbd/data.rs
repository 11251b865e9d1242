//! Methods on data objects: copy-up from a parent, and its guards.

use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::Decoder;
use std::collections::BTreeMap;
use types::Errno;

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();

fn exists(ctx: &mut dyn ClsContext) -> Result<bool, ClsError> {
    match ctx.stat() {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The parent's data, raw; nothing happens when the object is there.
pub fn copyup(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    if !exists(ctx)? {
        ctx.write(0, input.clone())?;
    }
    Ok(DONE)
}

/// map of u64 offset to u64 length, blob with the ranges back to back; nothing happens when the object is there.
pub fn sparse_copyup(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let extents: BTreeMap<u64, u64> = d.get()?;
    let data = d.blob()?;
    if exists(ctx)? {
        return Ok(DONE);
    }
    if extents.is_empty() {
        ctx.create(true)?;
        return Ok(DONE);
    }
    let mut at = 0usize;
    for (off, len) in extents {
        let end = usize::try_from(len).ok().and_then(|l| at.checked_add(l)).filter(|end| *end <= data.len());
        let Some(end) = end else { return Err(Errno::EINVAL.into()) };
        ctx.write(off, data.slice(at..end))?;
        at = end;
    }
    Ok(DONE)
}

/// u64 seq of a snap context, u8: 0 it must be above the object's, 1 at most the object's.
pub fn assert_snapc_seq(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (seq, mode) = (d.u64()?, d.u8()?);
    let of_object = if exists(ctx)? { Some(ctx.snapset_seq()?) } else { None };
    let holds = match (mode, of_object) {
        (0, None) => true,
        (0, Some(s)) => seq > s,
        (1, None) => false,
        (1, Some(s)) => seq <= s,
        _ => return Err(Errno::EOPNOTSUPP.into()),
    };
    if holds { Ok(DONE) } else { Err(Errno::ERANGE.into()) }
}

/// Holes smaller than this gain nothing on any store.
const HOLE_MIN: u64 = 4096;

/// u64 granularity, u8 remove an object without data: makes zeros holes, and cuts them off at the end.
pub fn sparsify(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (granularity, remove_empty) = (d.u64()?, d.bool()?);
    let (size, _) = ctx.stat()?;
    let data = ctx.read(0, 0)?;
    // Stock never comes back from 0 when there is data.
    let piece = usize::try_from(granularity).unwrap_or(usize::MAX).max(1);
    let (mut off, mut data_end) = (0u64, 0u64);
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for p in data.chunks(piece) {
        let end = off + p.len() as u64;
        if p.iter().any(|b| *b != 0) {
            data_end = end;
        } else {
            match holes.last_mut() {
                Some((_, to)) if *to == off => *to = end,
                _ => holes.push((off, end)),
            }
        }
        off = end;
    }
    if data_end == 0 && remove_empty {
        ctx.remove()?;
        return Ok(DONE);
    }
    for (from, to) in holes {
        if to <= data_end && to - from >= HOLE_MIN {
            ctx.zero(from, to - from)?;
        }
    }
    if data_end < size {
        ctx.truncate(data_end)?;
    }
    Ok(DONE)
}
