//! Per-object metadata as it rests in xattrs: [`ObjectInfo`] (`object_info_t` v17, xattr `_`) and [`SnapSet`]
//! (`SnapSet` v3, xattr `snapset` of the head), with [`WatchInfo`] (`watch_info_t`).
//!
//! Encodings are stock's own, byte for byte, so that a stock tool reads them.

use crate::interval::IntervalSet;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::BTreeMap;
use types::{EVersion, EntityAddr, EntityName, HObject, ObjectLocator, ReqId, SnapId, Utime};

/// Xattr that holds the [`ObjectInfo`].
pub const OI_ATTR: &[u8] = b"_";
/// Xattr of a head that holds the [`SnapSet`].
pub const SS_ATTR: &[u8] = b"snapset";

/// Bits of `object_info_t::flags`.
pub mod oi_flag {
    #![allow(missing_docs)]
    pub const LOST: u32 = 1 << 0;
    pub const WHITEOUT: u32 = 1 << 1;
    pub const DIRTY: u32 = 1 << 2;
    pub const OMAP: u32 = 1 << 3;
    pub const DATA_DIGEST: u32 = 1 << 4;
    pub const OMAP_DIGEST: u32 = 1 << 5;
    pub const CACHE_PIN: u32 = 1 << 6;
    pub const MANIFEST: u32 = 1 << 7;
    pub const USES_TMAP: u32 = 1 << 8;
    pub const REDIRECT_HAS_REFERENCE: u32 = 1 << 9;
}

/// A registered watch as the object remembers it (`watch_info_t`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchInfo {
    /// The client's cookie.
    pub cookie: u64,
    /// Seconds without a ping before the watch dies.
    pub timeout_secs: u32,
    /// Where the client was when it registered.
    pub addr: EntityAddr,
}
impl Encode for WatchInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(4, 3, |e| {
            e.u64(self.cookie);
            e.u32(self.timeout_secs);
            e.put(&self.addr);
        });
    }
}
impl Decode for WatchInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("watch_info_t", 4)?;
        let cookie = d.u64()?;
        if v < 2 {
            d.u64()?;
        }
        let timeout_secs = d.u32()?;
        let addr = if v >= 4 { d.get()? } else { EntityAddr::default() };
        Ok(WatchInfo { cookie, timeout_secs, addr })
    }
}

/// Key of a watch: cookie and client.
pub type WatchKey = (u64, EntityName);

/// What a PG remembers of one object (`object_info_t`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// The object.
    pub soid: HObject,
    /// Version of the last change.
    pub version: EVersion,
    /// Version before that.
    pub prior_version: EVersion,
    /// Request of the last change.
    pub last_reqid: ReqId,
    /// Size that clients see.
    pub size: u64,
    /// Modification time as the client said.
    pub mtime: Utime,
    /// Modification time of the primary's clock.
    pub local_mtime: Utime,
    /// [`oi_flag`] bits.
    pub flags: u32,
    /// Version that clients see.
    pub user_version: u64,
    /// Registered watches.
    pub watchers: BTreeMap<WatchKey, WatchInfo>,
    /// Newest truncation seen (CephFS).
    pub truncate_seq: u32,
    /// Its size.
    pub truncate_size: u64,
    /// CRC32C of the data when [`oi_flag::DATA_DIGEST`] is set.
    pub data_digest: u32,
    /// CRC32C of the omap when [`oi_flag::OMAP_DIGEST`] is set.
    pub omap_digest: u32,
    /// Hint: final size.
    pub expected_object_size: u64,
    /// Hint: write size.
    pub expected_write_size: u64,
    /// Hint: flags.
    pub alloc_hint_flags: u32,
}

impl ObjectInfo {
    /// The info of an object that does not exist yet.
    pub fn new(soid: HObject) -> Self {
        ObjectInfo {
            soid,
            version: EVersion::ZERO,
            prior_version: EVersion::ZERO,
            last_reqid: ReqId::default(),
            size: 0,
            mtime: Utime::ZERO,
            local_mtime: Utime::ZERO,
            flags: 0,
            user_version: 0,
            watchers: BTreeMap::new(),
            truncate_seq: 0,
            truncate_size: 0,
            data_digest: u32::MAX,
            omap_digest: u32::MAX,
            expected_object_size: 0,
            expected_write_size: 0,
            alloc_hint_flags: 0,
        }
    }
    /// True when all these [`oi_flag`] bits are set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
    /// Sets or clears flag bits.
    pub fn set(&mut self, flag: u32, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
    /// A head that stands for a deleted object whose clones live on.
    pub fn is_whiteout(&self) -> bool {
        self.has(oi_flag::WHITEOUT)
    }
    /// Forgets the digests: the content changed.
    pub fn clear_data_digest(&mut self) {
        self.set(oi_flag::DATA_DIGEST, false);
        self.data_digest = u32::MAX;
    }
    /// Forgets the omap digest.
    pub fn clear_omap_digest(&mut self) {
        self.set(oi_flag::OMAP_DIGEST, false);
        self.omap_digest = u32::MAX;
    }
    /// The bytes for [`OI_ATTR`].
    pub fn to_attr(&self) -> Bytes {
        let mut e = Encoder::with_capacity(Features::ALL, 320 + self.watchers.len() * 96);
        self.encode(&mut e);
        e.finish()
    }
}

impl Encode for ObjectInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(17, 8, |e| {
            e.put(&self.soid);
            // object_locator_t(soid): kept by stock for old readers.
            let hash = if self.soid.max { 0 } else { -1 };
            e.put(&ObjectLocator {
                pool: self.soid.pool,
                key: self.soid.key.clone(),
                nspace: self.soid.nspace.clone(),
                hash,
            });
            e.u32(0); // was category
            e.put(&self.version);
            e.put(&self.prior_version);
            e.put(&self.last_reqid);
            e.u64(self.size);
            e.put(&self.mtime);
            if self.soid.is_head() {
                // was wrlock_by: a default osd_reqid_t (its entity has type 0, number 0)
                e.put(&ReqId::default());
            } else {
                e.u32(0); // was snaps
            }
            e.u64(self.truncate_seq.into());
            e.u64(self.truncate_size);
            e.bool(self.has(oi_flag::LOST));
            let old: BTreeMap<EntityName, &WatchInfo> =
                self.watchers.iter().map(|((_, who), w)| (*who, w)).collect();
            e.count(old.len());
            for (who, w) in old {
                e.put(&who);
                e.put(w);
            }
            e.put(&EVersion::new(0, self.user_version));
            e.bool(self.has(oi_flag::USES_TMAP));
            e.put(&self.watchers);
            e.u32(self.flags);
            e.put(&self.local_mtime);
            e.u32(self.data_digest);
            e.u32(self.omap_digest);
            e.u64(self.expected_object_size);
            e.u64(self.expected_write_size);
            e.u32(self.alloc_hint_flags);
        });
    }
}

impl Decode for ObjectInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("object_info_t", 17)?;
        if v < 15 {
            // Everything since Jewel writes 15 or newer.
            return Err(DencError::TooOld { what: "object_info_t", version: v, oldest: 15 });
        }
        let mut o = ObjectInfo::new(d.get()?);
        let _: ObjectLocator = d.get()?;
        let _category = d.blob()?;
        o.version = d.get()?;
        o.prior_version = d.get()?;
        o.last_reqid = d.get()?;
        o.size = d.u64()?;
        o.mtime = d.get()?;
        if o.soid.is_head() {
            let _: ReqId = d.get()?;
        } else {
            let _: Vec<SnapId> = d.get()?;
        }
        let seq = d.u64()?;
        o.truncate_seq = u32::try_from(seq)
            .map_err(|_| DencError::Invalid { what: "object_info_t truncate_seq", value: seq })?;
        o.truncate_size = d.u64()?;
        let lost = d.bool()?;
        let _: BTreeMap<EntityName, WatchInfo> = d.get()?;
        let user: EVersion = d.get()?;
        o.user_version = user.version;
        let tmap = d.bool()?;
        o.watchers = d.get()?;
        o.flags = d.u32()?;
        o.set(oi_flag::LOST, lost);
        o.set(oi_flag::USES_TMAP, tmap);
        o.local_mtime = d.get()?;
        o.data_digest = d.u32()?;
        o.omap_digest = d.u32()?;
        if v >= 16 {
            o.expected_object_size = d.u64()?;
            o.expected_write_size = d.u64()?;
            o.alloc_hint_flags = d.u32()?;
        }
        if o.has(oi_flag::MANIFEST) {
            // Chunked and redirected objects (dedup, tiering) are not ours to read.
            return Err(DencError::Invalid { what: "object_info_t manifest", value: o.flags.into() });
        }
        Ok(o)
    }
}

/// The clones of an object (`SnapSet`); rests with the head.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapSet {
    /// Newest snapshot id that a write to the object came with.
    pub seq: SnapId,
    /// Legacy list of snaps, descending; empty since octopus.
    pub snaps: Vec<SnapId>,
    /// Ids of the clones, ascending.
    pub clones: Vec<SnapId>,
    /// What each clone shares with the next newer one (the newest: with the head).
    pub clone_overlap: BTreeMap<SnapId, IntervalSet>,
    /// Size of each clone.
    pub clone_size: BTreeMap<SnapId, u64>,
    /// Snapshots that each clone stands for, descending.
    pub clone_snaps: BTreeMap<SnapId, Vec<SnapId>>,
}
impl SnapSet {
    /// Bytes that only this clone holds (`SnapSet::get_clone_bytes`).
    pub fn clone_bytes(&self, clone: SnapId) -> u64 {
        let size = self.clone_size.get(&clone).copied().unwrap_or(0);
        size.saturating_sub(self.clone_overlap.get(&clone).map_or(0, IntervalSet::size))
    }
    /// The bytes for [`SS_ATTR`].
    pub fn to_attr(&self) -> Bytes {
        denc::to_bytes(self, Features::ALL)
    }
}
impl Encode for SnapSet {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(3, 2, |e| {
            e.put(&self.seq);
            e.bool(true); // was head_exists
            e.put(&self.snaps);
            e.put(&self.clones);
            e.put(&self.clone_overlap);
            e.put(&self.clone_size);
            e.put(&self.clone_snaps);
        });
    }
}
impl Decode for SnapSet {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("SnapSet", 3)?;
        let seq = d.get()?;
        d.bool()?;
        let (snaps, clones, clone_overlap, clone_size) = (d.get()?, d.get()?, d.get()?, d.get()?);
        let clone_snaps = if v >= 3 { d.get()? } else { BTreeMap::new() };
        Ok(SnapSet { seq, snaps, clones, clone_overlap, clone_size, clone_snaps })
    }
}
