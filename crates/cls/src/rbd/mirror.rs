//! `rbd_mirroring`: mode, uuid, peers and mirrored images; and what mirroring keeps in an image's snapshots. What
//! mirror daemons report is in `mirror_status`.

use super::snapshot;
use super::state::{MirrorNamespace, snap_ns};
use super::util::{Listing, bytes_of, read_key, read_opt, remove_key, start_and_max, write_key};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use types::{Errno, SnapId, Utime};

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();
const MODE: &str = "mirror_mode";
const UUID: &str = "mirror_uuid";
const PEER: &str = "mirror_peer_";
/// Prefix of mirrored images.
pub const IMAGE: &str = "image_";

const MODE_OFF: u32 = 0;
const MODE_LAST: u32 = 2;

/// MIRROR_IMAGE_STATE_*.
pub mod image_state {
    #![allow(missing_docs)]
    pub const DISABLING: u8 = 0;
    pub const ENABLED: u8 = 1;
}
/// MIRROR_PEER_DIRECTION_*.
pub mod direction {
    #![allow(missing_docs)]
    pub const RX: u8 = 0;
    pub const TX: u8 = 1;
    pub const RX_TX: u8 = 2;
}

fn image_key(id: &str) -> String {
    format!("{IMAGE}{id}")
}
fn global_key(id: &str) -> String {
    format!("global_{id}")
}
fn peer_key(uuid: &str) -> String {
    format!("{PEER}{uuid}")
}
fn invalid<T>() -> Result<T, ClsError> {
    Err(Errno::EINVAL.into())
}

/// A cluster that we mirror with (`cls::rbd::MirrorPeer`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    pub uuid: String,
    pub site: String,
    pub client: String,
    pub pool: i64,
    pub direction: u8,
    pub mirror_uuid: String,
    pub last_seen: Utime,
}
impl Encode for Peer {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.put(&self.uuid);
            e.put(&self.site);
            e.put(&self.client);
            e.i64(self.pool);
            e.u8(self.direction);
            e.put(&self.mirror_uuid);
            e.put(&self.last_seen);
        });
    }
}
impl Decode for Peer {
    const MIN_SIZE: usize = 26;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MirrorPeer", 2)?;
        let mut p = Peer {
            uuid: d.string()?,
            site: d.string()?,
            client: d.string()?,
            // Stored and sent as none since 15.x.
            pool: d.i64().map(|_| -1)?,
            direction: direction::RX_TX,
            mirror_uuid: String::new(),
            last_seen: Utime::ZERO,
        };
        if v >= 2 {
            (p.direction, p.mirror_uuid, p.last_seen) = (d.u8()?, d.string()?, d.get()?);
        }
        Ok(p)
    }
}
impl Peer {
    fn is_valid(&self) -> bool {
        let may_be_named = match self.direction {
            direction::TX => true,
            direction::RX | direction::RX_TX => !self.client.is_empty(),
            _ => false,
        };
        may_be_named && !self.uuid.is_empty() && !self.site.is_empty()
    }
}

/// A mirrored image (`cls::rbd::MirrorImage`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorImage {
    pub mode: u8,
    pub global_image_id: String,
    pub state: u8,
}
impl Encode for MirrorImage {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.put(&self.global_image_id);
            e.u8(self.state);
            e.u8(self.mode);
        });
    }
}
impl Decode for MirrorImage {
    const MIN_SIZE: usize = 11;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MirrorImage", 2)?;
        let (global_image_id, state) = (d.string()?, d.u8()?);
        let mode = if v >= 2 { d.u8()? } else { 0 };
        Ok(MirrorImage { mode, global_image_id, state })
    }
}

/// -> u32.
pub fn mirror_mode_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    let mode: u32 = read_key(ctx, MODE)?;
    Ok(bytes_of(&mode))
}

/// u32: 0 off (no peers may be left), 1 image, 2 pool (a uuid must be set).
pub fn mirror_mode_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mode = Decoder::new(input).u32()?;
    if mode > MODE_LAST {
        return invalid();
    }
    if mode == MODE_OFF {
        if !peers(ctx)?.is_empty() {
            return Err(Errno::EBUSY.into());
        }
        remove_key(ctx, MODE)?;
        remove_key(ctx, UUID)?;
    } else {
        if !super::util::has_key(ctx, UUID)? {
            return invalid();
        }
        write_key(ctx, MODE, &mode)?;
    }
    Ok(DONE)
}

/// -> string.
pub fn mirror_uuid_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    // Stored raw, answered as a string.
    let raw = ctx.omap_get_val(UUID.as_bytes())?;
    Ok(bytes_of(&raw))
}

/// string; only while mirroring is off.
pub fn mirror_uuid_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let uuid = Decoder::new(input).blob()?;
    if uuid.is_empty() || read_opt::<u32>(ctx, MODE)?.is_some_and(|m| m != MODE_OFF) {
        return invalid();
    }
    ctx.omap_set_val(UUID.as_bytes(), uuid)?;
    Ok(DONE)
}

fn peers(ctx: &mut dyn ClsContext) -> Result<Vec<Peer>, ClsError> {
    let listing = Listing::gather(ctx, PEER, "", u64::MAX)?;
    Ok(listing.typed()?.into_iter().map(|(_, p)| p).collect())
}

/// -> vector of MirrorPeer.
pub fn mirror_peer_list(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    Ok(bytes_of(&peers(ctx)?))
}

fn must_be_enabled(ctx: &mut dyn ClsContext) -> Result<(), ClsError> {
    if read_opt::<u32>(ctx, MODE)?.unwrap_or(MODE_OFF) == MODE_OFF { invalid() } else { Ok(()) }
}

/// MirrorPeer.
pub fn mirror_peer_add(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let peer: Peer = Decoder::new(input).get()?;
    must_be_enabled(ctx)?;
    if !peer.is_valid() {
        return invalid();
    }
    let ours = ctx.omap_get_val(UUID.as_bytes())?;
    if peer.uuid.as_bytes() == ours || peer.direction == direction::TX {
        return invalid();
    }
    for p in peers(ctx)? {
        if p.uuid == peer.uuid {
            return Err(Errno::ESTALE.into());
        }
        let same_cluster = !peer.mirror_uuid.is_empty() && p.mirror_uuid == peer.mirror_uuid;
        if p.site == peer.site || same_cluster {
            return Err(Errno::EEXIST.into());
        }
    }
    write_key(ctx, &peer_key(&peer.uuid), &peer)?;
    Ok(DONE)
}

/// string uuid.
pub fn mirror_peer_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let uuid = Decoder::new(input).string()?;
    remove_key(ctx, &peer_key(&uuid))?;
    Ok(DONE)
}

/// string site, string mirror uuid, u8 direction (TX only): a mirror daemon of that site was here.
pub fn mirror_peer_ping(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (site, mirror_uuid, dir) = (d.string()?, d.string()?, d.u8()?);
    if dir != direction::TX {
        return invalid();
    }
    must_be_enabled(ctx)?;
    if site.is_empty() || mirror_uuid.is_empty() {
        return invalid();
    }
    let all = peers(ctx)?;
    let by_site = all.iter().find(|p| p.site == site);
    let by_uuid = match by_site {
        Some(p) if p.mirror_uuid.is_empty() || p.mirror_uuid == mirror_uuid => None,
        _ => all.iter().find(|p| p.mirror_uuid == mirror_uuid),
    };
    let mut peer = match (by_site, by_uuid) {
        (Some(_), Some(p)) => p.clone(),
        (None, Some(p)) => Peer { site, ..p.clone() },
        (Some(p), None) => Peer { mirror_uuid, ..p.clone() },
        (None, None) => {
            let mut uuid = [0u8; 16];
            ctx.random_bytes(&mut uuid);
            Peer {
                uuid: types::Fsid::from_random(uuid).to_string(),
                site,
                client: String::new(),
                pool: -1,
                direction: direction::TX,
                mirror_uuid,
                last_seen: Utime::ZERO,
            }
        }
    };
    if peer.direction == direction::RX {
        peer.direction = direction::RX_TX;
    }
    peer.last_seen = ctx.now();
    if !peer.is_valid() {
        return invalid();
    }
    write_key(ctx, &peer_key(&peer.uuid), &peer)?;
    Ok(DONE)
}

fn change_peer(ctx: &mut dyn ClsContext, uuid: &str, change: impl FnOnce(&mut Peer)) -> Out {
    let mut peer: Peer = read_key(ctx, &peer_key(uuid))?;
    change(&mut peer);
    write_key(ctx, &peer_key(&peer.uuid), &peer)?;
    Ok(DONE)
}

/// string uuid, string client.
pub fn mirror_peer_set_client(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (uuid, client) = (d.string()?, d.string()?);
    change_peer(ctx, &uuid, |p| p.client = client)
}

/// string uuid, string site.
pub fn mirror_peer_set_cluster(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (uuid, site) = (d.string()?, d.string()?);
    if peers(ctx)?.iter().any(|p| p.uuid != uuid && p.site == site) {
        return Err(Errno::EEXIST.into());
    }
    change_peer(ctx, &uuid, |p| p.site = site)
}

/// string uuid, u8 direction.
pub fn mirror_peer_set_direction(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (uuid, dir) = (d.string()?, d.u8()?);
    change_peer(ctx, &uuid, |p| p.direction = dir)
}

/// string start, u64 max -> map of image id to global id.
pub fn mirror_image_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    let listing = Listing::gather(ctx, IMAGE, &start, max)?;
    let ids: Vec<(Bytes, String)> =
        listing.typed::<MirrorImage>()?.into_iter().map(|(k, i)| (k, i.global_image_id)).collect();
    Ok(bytes_of(&ids))
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

/// The mirrored image of a global id.
pub fn image_of_global(ctx: &mut dyn ClsContext, global_id: &str) -> Result<MirrorImage, ClsError> {
    let id: String = read_key(ctx, &global_key(global_id))?;
    read_key(ctx, &image_key(&id))
}

/// string image id, MirrorImage. A global id is one image's for good.
pub fn mirror_image_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, image): (String, MirrorImage) = (d.string()?, d.get()?);
    let global = global_key(&image.global_image_id);
    match read_opt::<MirrorImage>(ctx, &image_key(&id))? {
        Some(there) if there.global_image_id != image.global_image_id => return invalid(),
        Some(_) => {}
        None => {
            if read_opt::<String>(ctx, &global)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            // It was disabled before this came.
            if image.state == image_state::DISABLING {
                return Err(Errno::ENOENT.into());
            }
        }
    }
    write_key(ctx, &image_key(&id), &image)?;
    write_key(ctx, &global, &id)?;
    Ok(DONE)
}

/// string image id; it must be in state "disabling".
pub fn mirror_image_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let image: MirrorImage = read_key(ctx, &image_key(&id))?;
    if image.state != image_state::DISABLING {
        return Err(Errno::EBUSY.into());
    }
    remove_key(ctx, &image_key(&id))?;
    remove_key(ctx, &global_key(&image.global_image_id))?;
    super::mirror_status::remove_statuses(ctx, &image.global_image_id)?;
    Ok(DONE)
}

/// Changes the mirror namespace of a snapshot; `EINVAL` when it has another.
fn change_snapshot(
    ctx: &mut dyn ClsContext,
    id: SnapId,
    change: impl FnOnce(&mut MirrorNamespace) -> Result<(), ClsError>,
) -> Out {
    let mut snap = snapshot::load(ctx, id)?;
    if snap.namespace.kind != snap_ns::MIRROR {
        return invalid();
    }
    let mut ns: MirrorNamespace = denc::from_bytes(&snap.namespace.rest)?;
    change(&mut ns)?;
    snap.namespace.rest = bytes_of(&ns);
    snapshot::store(ctx, snap)?;
    Ok(DONE)
}

/// u64 snap, string peer uuid: that peer has the snapshot and needs it no more.
pub fn mirror_image_snapshot_unlink_peer(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, uuid): (SnapId, String) = (d.get()?, d.string()?);
    change_snapshot(ctx, id, |ns| if ns.peers.remove(&uuid) { Ok(()) } else { Err(Errno::ENOENT.into()) })
}

/// u64 snap, u8 complete, u64 last copied object (kept for non-primary snapshots only).
pub fn mirror_image_snapshot_set_copy_progress(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    const NON_PRIMARY: u8 = 2;
    const NON_PRIMARY_DEMOTED: u8 = 3;
    let mut d = Decoder::new(input);
    let (id, complete, object): (SnapId, bool, u64) = (d.get()?, d.bool()?, d.u64()?);
    change_snapshot(ctx, id, |ns| {
        ns.complete = complete;
        if matches!(ns.state, NON_PRIMARY | NON_PRIMARY_DEMOTED) {
            ns.last_copied_object = object;
        }
        Ok(())
    })
}

/// Mirrored images by local id, from `start`, at most `max`.
pub fn images(
    ctx: &mut dyn ClsContext,
    start: &str,
    max: u64,
) -> Result<BTreeMap<Bytes, MirrorImage>, ClsError> {
    Ok(Listing::gather(ctx, IMAGE, start, max)?.typed()?.into_iter().collect())
}
