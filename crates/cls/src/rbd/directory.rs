//! `rbd_directory` (images by name and by id) and `rbd_namespace`.

use super::util::{
    Listing, bytes_of, each_with_prefix, has_key, is_valid_id, read_key, read_opt, remove_key, start_and_max,
    write_key,
};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::Decoder;
use types::Errno;

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();
const STATE_READY: u8 = 0;
const STATE_ADD_DISABLED: u8 = 1;

fn name_key(name: &str) -> String {
    format!("name_{name}")
}
fn id_key(id: &str) -> String {
    format!("id_{id}")
}

/// string name -> string id.
pub fn dir_get_id(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let name = Decoder::new(input).string()?;
    let id: String = read_key(ctx, &name_key(&name))?;
    Ok(bytes_of(&id))
}

/// string id -> string name.
pub fn dir_get_name(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let name: String = read_key(ctx, &id_key(&id))?;
    Ok(bytes_of(&name))
}

/// string start, u64 max -> map of name to id.
pub fn dir_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    Ok(Listing::gather(ctx, "name_", &start, max)?.raw_map())
}

fn add(ctx: &mut dyn ClsContext, name: &str, id: &str, check_id: bool) -> Result<(), ClsError> {
    if name.is_empty() || !is_valid_id(id) {
        return Err(Errno::EINVAL.into());
    }
    if has_key(ctx, &name_key(name))? {
        return Err(Errno::EEXIST.into());
    }
    if check_id && has_key(ctx, &id_key(id))? {
        return Err(Errno::EBADF.into());
    }
    write_key(ctx, &name_key(name), id)?;
    write_key(ctx, &id_key(id), name)
}

fn remove(ctx: &mut dyn ClsContext, name: &str, id: &str) -> Result<(), ClsError> {
    let stored_id: String = read_key(ctx, &name_key(name))?;
    let stored_name: String = read_key(ctx, &id_key(id))?;
    if stored_id != id || stored_name != name {
        return Err(Errno::ESTALE.into());
    }
    remove_key(ctx, &name_key(name))?;
    remove_key(ctx, &id_key(id))
}

fn state(ctx: &mut dyn ClsContext) -> Result<u8, ClsError> {
    Ok(read_opt(ctx, "state")?.unwrap_or(STATE_READY))
}

/// string name, string id.
pub fn dir_add_image(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (name, id) = (d.string()?, d.string()?);
    if state(ctx)? == STATE_ADD_DISABLED {
        return Err(Errno::EBUSY.into());
    }
    add(ctx, &name, &id, true)?;
    Ok(DONE)
}

/// string name, string id.
pub fn dir_remove_image(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (name, id) = (d.string()?, d.string()?);
    remove(ctx, &name, &id)?;
    Ok(DONE)
}

/// string from, string to, string id.
pub fn dir_rename_image(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (from, to, id) = (d.string()?, d.string()?, d.string()?);
    remove(ctx, &from, &id)?;
    add(ctx, &to, &id, false)?;
    Ok(DONE)
}

/// u8: the state that the caller counts on.
pub fn dir_state_assert(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let wanted = Decoder::new(input).u8()?;
    if state(ctx)? != wanted {
        return Err(Errno::EINVAL.into());
    }
    Ok(DONE)
}

/// u8: ready, or closed to new images (only while there are none).
pub fn dir_state_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    match Decoder::new(input).u8()? {
        STATE_READY => {
            // The namespace's directory object must come to be.
            ctx.create(false)?;
            remove_key(ctx, "state")?;
        }
        STATE_ADD_DISABLED => {
            if state(ctx)? == STATE_ADD_DISABLED {
                return Ok(DONE);
            }
            for prefix in ["name_", "id_"] {
                let mut any = false;
                each_with_prefix(ctx, prefix, "", |_, _, _| {
                    any = true;
                    Ok(false)
                })?;
                if any {
                    return Err(Errno::EBUSY.into());
                }
            }
            write_key(ctx, "state", &STATE_ADD_DISABLED)?;
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(DONE)
}

/// string.
pub fn namespace_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let key = name_key(&Decoder::new(input).string()?);
    if has_key(ctx, &key)? {
        return Err(Errno::EEXIST.into());
    }
    ctx.omap_set_val(key.as_bytes(), Bytes::new())?;
    Ok(DONE)
}

/// string.
pub fn namespace_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let key = name_key(&Decoder::new(input).string()?);
    if !has_key(ctx, &key)? {
        return Err(Errno::ENOENT.into());
    }
    remove_key(ctx, &key)?;
    Ok(DONE)
}

/// string start, u64 max -> list of strings.
pub fn namespace_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    Ok(Listing::gather(ctx, "name_", &start, max)?.keys())
}
