//! `rbd_directory` (images by name and by id) and `rbd_namespace`.

use super::util::{
    Listing, bytes_of, check_exists, has_key, is_valid_id, read_key, remove_key, start_and_max, write_key,
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
    Listing::gather(ctx, "name_", &start, max)?.map::<String>()
}

pub(super) fn add(ctx: &mut dyn ClsContext, name: &str, id: &str, check_id: bool) -> Result<(), ClsError> {
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

pub(super) fn remove(ctx: &mut dyn ClsContext, name: &str, id: &str) -> Result<(), ClsError> {
    let stored_id: String = read_key(ctx, &name_key(name))?;
    let stored_name: String = read_key(ctx, &id_key(id))?;
    if stored_id != id || stored_name != name {
        return Err(Errno::ESTALE.into());
    }
    remove_key(ctx, &name_key(name))?;
    remove_key(ctx, &id_key(id))
}

/// string name, string id.
pub fn dir_add_image(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (name, id) = (d.string()?, d.string()?);
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
    // Stock's later steps do not see its removal: an entry cannot be renamed to itself.
    let onto_itself = from == to;
    remove(ctx, &from, &id)?;
    if onto_itself {
        return Err(Errno::EEXIST.into());
    }
    add(ctx, &to, &id, false)?;
    Ok(DONE)
}

/// u8: the state that the caller counts on; `ENOENT` when it is another, or none was ever set.
pub fn dir_state_assert(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let wanted = Decoder::new(input).u8()?;
    let stored: u8 = read_key(ctx, "state")?;
    if stored != wanted {
        return Err(Errno::ENOENT.into());
    }
    Ok(DONE)
}

/// u8: ready, or closed to new images (only while there are none).
pub fn dir_state_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let state = Decoder::new(input).u8()?;
    match state {
        STATE_READY => {}
        STATE_ADD_DISABLED => {
            check_exists(ctx)?;
            let (page, _) = ctx.omap_get_vals(b"name_", b"name_", 1)?;
            if !page.is_empty() {
                return Err(Errno::EBUSY.into());
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    write_key(ctx, "state", &state)?;
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
