//! `rbd_trash`: images on their way out.

use super::state::TrashImage;
use super::util::{Listing, has_key, is_valid_id, read_key, read_opt, remove_key, start_and_max, write_key};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::Decoder;
use types::Errno;

type Out = Result<Bytes, ClsError>;

fn key(id: &str) -> String {
    format!("id_{id}")
}

/// string id, TrashImageSpec.
pub fn trash_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, spec): (String, TrashImage) = (d.string()?, d.get()?);
    if !is_valid_id(&id) {
        return Err(Errno::EINVAL.into());
    }
    if read_opt::<TrashImage>(ctx, &key(&id))?.is_some() {
        return Err(Errno::EEXIST.into());
    }
    write_key(ctx, &key(&id), &spec)?;
    Ok(Bytes::new())
}

/// string id.
pub fn trash_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    if !has_key(ctx, &key(&id))? {
        return Err(Errno::ENOENT.into());
    }
    remove_key(ctx, &key(&id))?;
    Ok(Bytes::new())
}

/// string start, u64 max -> map of id to TrashImageSpec.
pub fn trash_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    Listing::gather(ctx, "id_", &start, max)?.map::<TrashImage>()
}

/// string id -> TrashImageSpec.
pub fn trash_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    Ok(ctx.omap_get_val(key(&id).as_bytes())?)
}

/// string id, u8 new state, u8 expected state.
pub fn trash_state_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, new, expected) = (d.string()?, d.u8()?, d.u8()?);
    let mut spec: TrashImage = read_key(ctx, &key(&id))?;
    if spec.state == expected {
        spec.state = new;
        write_key(ctx, &key(&id), &spec)?;
    } else if spec.state != new {
        return Err(Errno::ESTALE.into());
    }
    Ok(Bytes::new())
}
