//! [`OsdMapIncremental`] (`OSDMap::Incremental`): what changes from one epoch to the next, and its encoding.
//!
//! Encoded as wrapper 8/7, client part 8/1, OSD part 9/1 (10, 11 with stretch mode or range blocklists), then two crcs:
//! `inc_crc` over all other bytes, and `full_crc`, the crc of the full map that applying this gives. The encoder
//! computes `inc_crc`; the caller must have set `full_crc` (see [`OsdMap::apply_incremental`]).

use super::*;
use crate::features;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeSet;

/// Changes to a map. `Default` changes nothing. Fields whose "no change" is a number on the wire are `Option` here.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct OsdMapIncremental {
    pub fsid: Fsid,
    /// The epoch that applying this leads to.
    pub epoch: Epoch,
    pub modified: Utime,
    pub new_pool_max: Option<i64>,
    pub new_flags: Option<u32>,
    /// A whole map to use instead of all changes; empty if none.
    pub fullmap: Bytes,
    /// A new CRUSH map, encoded; empty if none.
    pub crush: Bytes,
    pub new_max_osd: Option<i32>,
    pub new_pools: BTreeMap<PoolId, PgPool>,
    pub new_pool_names: BTreeMap<PoolId, String>,
    pub old_pools: BTreeSet<PoolId>,
    pub new_up_client: BTreeMap<OsdId, AddrVec>,
    /// Bits to flip; 0 means UP.
    pub new_state: BTreeMap<OsdId, u32>,
    pub new_weight: BTreeMap<OsdId, u32>,
    /// An empty list removes the entry.
    pub new_pg_temp: BTreeMap<PgId, Vec<OsdId>>,
    /// -1 removes the entry.
    pub new_primary_temp: BTreeMap<PgId, OsdId>,
    pub new_primary_affinity: BTreeMap<OsdId, u32>,
    pub new_erasure_code_profiles: EcProfiles,
    pub old_erasure_code_profiles: Vec<String>,
    pub new_pg_upmap: BTreeMap<PgId, Vec<OsdId>>,
    pub old_pg_upmap: BTreeSet<PgId>,
    pub new_pg_upmap_items: BTreeMap<PgId, Vec<(OsdId, OsdId)>>,
    pub old_pg_upmap_items: BTreeSet<PgId>,
    pub new_removed_snaps: PoolSnaps,
    pub new_purged_snaps: PoolSnaps,
    /// Zero means no change.
    pub new_last_up_change: Utime,
    /// Zero means no change.
    pub new_last_in_change: Utime,

    pub new_hb_back_up: BTreeMap<OsdId, AddrVec>,
    pub new_up_thru: BTreeMap<OsdId, Epoch>,
    pub new_last_clean_interval: BTreeMap<OsdId, (Epoch, Epoch)>,
    pub new_lost: BTreeMap<OsdId, Epoch>,
    pub new_blocklist: BTreeMap<EntityAddr, Utime>,
    pub old_blocklist: Vec<EntityAddr>,
    pub new_up_cluster: BTreeMap<OsdId, AddrVec>,
    pub cluster_snapshot: String,
    pub new_uuid: BTreeMap<OsdId, Fsid>,
    pub new_xinfo: BTreeMap<OsdId, OsdXInfo>,
    pub new_hb_front_up: BTreeMap<OsdId, AddrVec>,
    /// Features that this was encoded with (decoded only; the encoder writes its reader's).
    pub encode_features: u64,
    pub new_nearfull_ratio: Option<f32>,
    pub new_full_ratio: Option<f32>,
    pub new_backfillfull_ratio: Option<f32>,
    pub new_require_min_compat_client: Option<u8>,
    pub new_require_osd_release: Option<u8>,
    pub new_crush_node_flags: BTreeMap<i32, u32>,
    pub new_device_class_flags: BTreeMap<i32, u32>,
    pub change_stretch_mode: Option<StretchMode>,
    pub new_range_blocklist: BTreeMap<EntityAddr, Utime>,
    pub old_range_blocklist: Vec<EntityAddr>,
    /// Crc of the full map that this leads to.
    pub full_crc: u32,
}

impl OsdMapIncremental {
    /// The empty change to `map`'s successor.
    pub fn after(map: &OsdMap, modified: Utime) -> Self {
        OsdMapIncremental { fsid: map.fsid, epoch: map.epoch.next(), modified, ..Self::default() }
    }

    fn encode_client(&self, e: &mut Encoder, v: u8) {
        e.put(&self.fsid);
        e.put(&self.epoch);
        e.put(&self.modified);
        e.i64(self.new_pool_max.unwrap_or(-1));
        e.i32(self.new_flags.map_or(-1, |f| f as i32));
        e.put(&self.fullmap);
        e.put(&self.crush);
        e.i32(self.new_max_osd.unwrap_or(-1));
        e.put(&self.new_pools);
        e.put(&self.new_pool_names);
        e.put(&self.old_pools);
        put_addr_map(e, &self.new_up_client, v >= 7);
        e.put(&self.new_state);
        e.put(&self.new_weight);
        e.put(&self.new_pg_temp);
        e.put(&self.new_primary_temp);
        e.put(&self.new_primary_affinity);
        e.put(&self.new_erasure_code_profiles);
        e.put(&self.old_erasure_code_profiles);
        e.put(&self.new_pg_upmap);
        e.put(&self.old_pg_upmap);
        e.put(&self.new_pg_upmap_items);
        e.put(&self.old_pg_upmap_items);
        if v >= 6 {
            e.put(&self.new_removed_snaps);
            e.put(&self.new_purged_snaps);
        }
        if v >= 8 {
            e.put(&self.new_last_up_change);
            e.put(&self.new_last_in_change);
        }
    }

    fn encode_osd(&self, e: &mut Encoder, v: u8) {
        put_addr_map(e, &self.new_hb_back_up, v >= 7);
        e.put(&self.new_up_thru);
        e.put(&self.new_last_clean_interval);
        e.put(&self.new_lost);
        e.put(&self.new_blocklist);
        e.put(&self.old_blocklist);
        put_addr_map(e, &self.new_up_cluster, v >= 7);
        e.put(&self.cluster_snapshot);
        e.put(&self.new_uuid);
        e.put(&self.new_xinfo);
        put_addr_map(e, &self.new_hb_front_up, v >= 7);
        e.u64(e.features().0);
        e.put(&self.new_nearfull_ratio.unwrap_or(-1.0));
        e.put(&self.new_full_ratio.unwrap_or(-1.0));
        e.put(&self.new_backfillfull_ratio.unwrap_or(-1.0));
        // "No change" is 0xff in both.
        e.u8(self.new_require_min_compat_client.unwrap_or(0xff));
        e.u8(self.new_require_osd_release.unwrap_or(0xff));
        if v >= 8 {
            e.put(&self.new_crush_node_flags);
        }
        if v >= 9 {
            e.put(&self.new_device_class_flags);
        }
        if v >= 10 {
            let s = self.change_stretch_mode.unwrap_or_default();
            e.bool(self.change_stretch_mode.is_some());
            e.u32(s.bucket_count);
            e.u32(s.degraded);
            e.u32(s.recovering);
            e.i32(s.bucket);
            e.bool(s.enabled);
        }
        if v >= 11 {
            e.put(&self.new_range_blocklist);
            e.put(&self.old_range_blocklist);
        }
    }
}

fn put_addr_map(e: &mut Encoder, addrs: &BTreeMap<OsdId, AddrVec>, vectors: bool) {
    e.count(addrs.len());
    for (osd, a) in addrs {
        e.put(osd);
        if vectors { e.put(a) } else { e.put(&a.legacy_or_front()) }
    }
}

impl Encode for OsdMapIncremental {
    fn encode(&self, e: &mut Encoder) {
        let (client_v, mut osd_v) = if !e.has(features::SERVER_MIMIC) {
            (5, 6)
        } else if !e.has(features::SERVER_NAUTILUS) {
            (6, 6)
        } else {
            (8, 9)
        };
        if self.change_stretch_mode.is_some() {
            osd_v = osd_v.max(10);
        }
        if !self.new_range_blocklist.is_empty() || !self.old_range_blocklist.is_empty() {
            osd_v = osd_v.max(11);
        }
        let start = e.len();
        let mut crc_at = 0;
        e.versioned(8, 7, |e| {
            e.versioned(client_v, 1, |e| self.encode_client(e, client_v));
            e.versioned(osd_v, 1, |e| self.encode_osd(e, osd_v));
            crc_at = e.reserve_u32();
            e.u32(self.full_crc);
        });
        let front = crc32c::crc32c(&e.as_slice()[start..crc_at]);
        let crc = !crc32c::crc32c_append(front, &e.as_slice()[crc_at + 4..]);
        e.patch_u32(crc_at, crc);
    }
}

impl Decode for OsdMapIncremental {
    const MIN_SIZE: usize = 100;

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let from = d.position();
        let (v, mut body) = d.open("OSDMap::Incremental", 8)?;
        if v < 8 {
            return Err(DencError::TooOld { what: "OSDMap::Incremental", version: v, oldest: 8 });
        }
        let mut seen = body.clone();
        let mut inc = OsdMapIncremental::default();
        let (v, mut part) = body.open("OSDMap::Incremental client part", 8)?;
        if v < 5 {
            return Err(DencError::TooOld { what: "OSDMap::Incremental client part", version: v, oldest: 5 });
        }
        inc.decode_client(&mut part, v)?;
        let (v, mut part) = body.open("OSDMap::Incremental OSD part", 11)?;
        if v < 6 {
            return Err(DencError::TooOld { what: "OSDMap::Incremental OSD part", version: v, oldest: 6 });
        }
        inc.decode_osd(&mut part, v)?;
        seen.skip(body.position() - seen.position())?;
        let front = crc32c::crc32c(seen.consumed_since(from));
        let expected = body.u32()?;
        let tail = body.peek_rest();
        let found = !crc32c::crc32c_append(front, tail);
        if found != expected {
            return Err(DencError::Crc { what: "OSDMap::Incremental", expected, found });
        }
        inc.full_crc = body.u32()?;
        Ok(inc)
    }
}

fn some_unless<T: PartialEq>(v: T, none: T) -> Option<T> {
    if v == none { None } else { Some(v) }
}

impl OsdMapIncremental {
    fn decode_client(&mut self, d: &mut Decoder<'_>, v: u8) -> Result<(), DencError> {
        self.fsid = d.get()?;
        self.epoch = d.get()?;
        self.modified = d.get()?;
        self.new_pool_max = some_unless(d.i64()?, -1);
        self.new_flags = Some(d.i32()?).filter(|f| *f >= 0).map(|f| f as u32);
        self.fullmap = d.blob()?;
        self.crush = d.blob()?;
        self.new_max_osd = Some(d.i32()?).filter(|m| *m >= 0);
        self.new_pools = d.get()?;
        self.new_pool_names = d.get()?;
        self.old_pools = d.get()?;
        self.new_up_client = d.get()?;
        self.new_state = d.get()?;
        self.new_weight = d.get()?;
        self.new_pg_temp = d.get()?;
        self.new_primary_temp = d.get()?;
        self.new_primary_affinity = d.get()?;
        self.new_erasure_code_profiles = d.get()?;
        self.old_erasure_code_profiles = d.get()?;
        self.new_pg_upmap = d.get()?;
        self.old_pg_upmap = d.get()?;
        self.new_pg_upmap_items = d.get()?;
        self.old_pg_upmap_items = d.get()?;
        if v >= 6 {
            self.new_removed_snaps = d.get()?;
            self.new_purged_snaps = d.get()?;
        }
        if v >= 8 {
            self.new_last_up_change = d.get()?;
            self.new_last_in_change = d.get()?;
        }
        Ok(())
    }

    fn decode_osd(&mut self, d: &mut Decoder<'_>, v: u8) -> Result<(), DencError> {
        self.new_hb_back_up = d.get()?;
        self.new_up_thru = d.get()?;
        self.new_last_clean_interval = d.get()?;
        self.new_lost = d.get()?;
        self.new_blocklist = d.get()?;
        self.old_blocklist = d.get()?;
        self.new_up_cluster = d.get()?;
        self.cluster_snapshot = d.get()?;
        self.new_uuid = d.get()?;
        self.new_xinfo = d.get()?;
        self.new_hb_front_up = d.get()?;
        self.encode_features = d.u64()?;
        self.new_nearfull_ratio = Some(d.get::<f32>()?).filter(|r| *r >= 0.0);
        self.new_full_ratio = Some(d.get::<f32>()?).filter(|r| *r >= 0.0);
        self.new_backfillfull_ratio = Some(d.get::<f32>()?).filter(|r| *r >= 0.0);
        self.new_require_min_compat_client = some_unless(d.u8()?, 0xff);
        self.new_require_osd_release = some_unless(d.u8()?, 0xff);
        if v >= 8 {
            self.new_crush_node_flags = d.get()?;
        }
        if v >= 9 {
            self.new_device_class_flags = d.get()?;
        }
        if v >= 10 {
            let change = d.bool()?;
            let mut s = StretchMode {
                bucket_count: d.u32()?,
                degraded: d.u32()?,
                recovering: d.u32()?,
                bucket: d.i32()?,
                ..StretchMode::default()
            };
            s.enabled = d.bool()?;
            self.change_stretch_mode = Some(s).filter(|_| change);
        }
        if v >= 11 {
            self.new_range_blocklist = d.get()?;
            self.old_range_blocklist = d.get()?;
        }
        Ok(())
    }
}
