//! `rbd_mirroring`: what `rbd` looks up and takes away for any image. Setting mirroring up is not here yet.

use super::state::MirrorImage;
use super::util::{Listing, bytes_of, read_key, remove_key, start_and_max};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use types::Errno;

type Out = Result<Bytes, ClsError>;

/// MIRROR_IMAGE_STATE_DISABLING.
const DISABLING: u8 = 0;

fn image_key(id: &str) -> String {
    format!("image_{id}")
}
fn global_key(id: &str) -> String {
    format!("global_{id}")
}

/// -> u32.
pub fn mirror_mode_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let mode: u32 = read_key(ctx, "mirror_mode")?;
    Ok(bytes_of(&mode))
}

/// -> string.
pub fn mirror_uuid_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    // Stored raw, answered as a string.
    let raw = ctx.omap_get_val(b"mirror_uuid")?;
    Ok(bytes_of(&raw))
}

/// string image id -> MirrorImage.
pub fn mirror_image_get(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let image: MirrorImage = read_key(ctx, &image_key(&id))?;
    Ok(bytes_of(&image))
}

/// string global id -> string image id.
pub fn mirror_image_get_image_id(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let image_id: String = read_key(ctx, &global_key(&id))?;
    Ok(bytes_of(&image_id))
}

/// string image id; it must be in state "disabling".
pub fn mirror_image_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let image: MirrorImage = read_key(ctx, &image_key(&id))?;
    if image.state != DISABLING {
        return Err(Errno::EBUSY.into());
    }
    remove_key(ctx, &image_key(&id))?;
    remove_key(ctx, &global_key(&image.global_image_id))?;
    remove_key(ctx, &format!("status_global_{}", image.global_image_id))?;
    Ok(Bytes::new())
}

/// string start, u64 max -> map of image id to global id.
pub fn mirror_image_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    let listing = Listing::gather(ctx, "image_", &start, max)?;
    let mut e = Encoder::new(Features::ALL);
    e.count(listing.items().len());
    for (id, stored) in listing.items() {
        let image: MirrorImage = denc::from_bytes(stored).map_err(|_| ClsError::from(Errno::EIO))?;
        e.blob(id);
        e.put(&image.global_image_id);
    }
    Ok(e.finish())
}

/// -> list of MirrorPeer, as they are stored.
pub fn mirror_peer_list(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let listing = Listing::gather(ctx, "mirror_peer_", "", u64::MAX)?;
    let mut e = Encoder::new(Features::ALL);
    e.count(listing.items().len());
    for (_, stored) in listing.items() {
        e.raw(stored);
    }
    Ok(e.finish())
}
