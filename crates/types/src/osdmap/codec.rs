//! The full map's encoding: a wrapper (8/7) around a part for everyone (9/1), a part for OSDs (9/1; 10 and 11 when
//! stretch mode or range blocklists are in use), and a crc over all of it.

use super::*;
use crate::features;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::BTreeSet;

/// Newest client part that is understood.
const CLIENT_V: u8 = 9;
const OSD_V: u8 = 11;

impl OsdMap {
    /// The bytes for a reader with `features`, with crc. Stock's stored map of an epoch is this with the features of
    /// the incremental that made it.
    pub fn to_bytes(&self, features: Features) -> bytes::Bytes {
        denc::to_bytes(self, features)
    }

    /// Crc of [`OsdMap::to_bytes`]: what the incremental's `full_crc` holds.
    pub fn crc_for(&self, features: Features) -> u32 {
        let bytes = self.to_bytes(features);
        let tail = bytes.len() - 4;
        u32::from_le_bytes([bytes[tail], bytes[tail + 1], bytes[tail + 2], bytes[tail + 3]])
    }

    fn encode_client(&self, e: &mut Encoder, v: u8) {
        e.put(&self.fsid);
        e.put(&self.epoch);
        e.put(&self.created);
        e.put(&self.modified);
        e.put(&self.pools);
        e.put(&self.pool_names);
        e.i32(self.pool_max);
        e.u32(self.flags);
        e.i32(self.max_osd);
        e.put(&self.osd_state);
        e.put(&self.osd_weight);
        put_addrs(e, &self.client_addrs, v >= 8);
        e.put(&self.pg_temp);
        e.put(&self.primary_temp);
        match &self.osd_primary_affinity {
            Some(a) => e.put(a),
            None => e.u32(0),
        }
        e.length_prefixed(|e| e.put(&*self.crush));
        e.put(&self.erasure_code_profiles);
        e.put(&self.pg_upmap);
        e.put(&self.pg_upmap_items);
        e.u32(self.crush_version);
        if v >= 7 {
            e.put(&self.new_removed_snaps);
            e.put(&self.new_purged_snaps);
        }
        if v >= 9 {
            e.put(&self.last_up_change);
            e.put(&self.last_in_change);
        }
    }

    fn encode_osd(&self, e: &mut Encoder, v: u8) {
        put_addrs(e, &self.hb_back_addrs, v >= 7);
        e.put(&self.osd_info);
        e.put(&self.blocklist);
        put_addrs(e, &self.cluster_addrs, v >= 7);
        e.put(&self.cluster_snapshot_epoch);
        e.put(&self.cluster_snapshot);
        e.put(&self.osd_uuid);
        e.put(&self.osd_xinfo);
        put_addrs(e, &self.hb_front_addrs, v >= 7);
        e.put(&self.nearfull_ratio);
        e.put(&self.full_ratio);
        e.put(&self.backfillfull_ratio);
        e.u8(self.require_min_compat_client);
        e.u8(self.require_osd_release);
        if v >= 6 {
            e.put(&self.removed_snaps_queue);
        }
        if v >= 8 {
            e.put(&self.crush_node_flags);
        }
        if v >= 9 {
            e.put(&self.device_class_flags);
        }
        if v >= 10 {
            e.bool(self.stretch.enabled);
            e.u32(self.stretch.bucket_count);
            e.u32(self.stretch.degraded);
            e.u32(self.stretch.recovering);
            e.i32(self.stretch.bucket);
        }
        if v >= 11 {
            e.put(&self.range_blocklist);
        }
    }
}

/// Addresses by OSD: vectors of addresses for readers since nautilus, else the v1 address of each.
fn put_addrs(e: &mut Encoder, addrs: &[AddrVec], vectors: bool) {
    e.count(addrs.len());
    for a in addrs {
        if vectors { e.put(a) } else { e.put(&a.legacy_or_front()) }
    }
}

impl Encode for OsdMap {
    fn encode(&self, e: &mut Encoder) {
        let (client_v, mut osd_v) = if !e.has(features::SERVER_MIMIC) {
            (6, 5)
        } else if !e.has(features::SERVER_NAUTILUS) {
            (7, 6)
        } else {
            (9, 9)
        };
        if self.stretch.enabled {
            osd_v = osd_v.max(10);
        }
        if !self.range_blocklist.is_empty() {
            osd_v = osd_v.max(11);
        }
        let start = e.len();
        let mut crc_at = 0;
        e.versioned(8, 7, |e| {
            e.versioned(client_v, 1, |e| self.encode_client(e, client_v));
            e.versioned(osd_v, 1, |e| self.encode_osd(e, osd_v));
            crc_at = e.reserve_u32();
        });
        let crc = ceph_crc(&e.as_slice()[start..crc_at]);
        e.patch_u32(crc_at, crc);
    }
}

/// Crc32c with Ceph's seed of all ones and without the final inversion.
pub(super) fn ceph_crc(bytes: &[u8]) -> u32 {
    !crc32c::crc32c(bytes)
}

fn padded<T: Clone + Default>(v: &mut Vec<T>, n: usize) {
    v.resize(n, T::default());
}

impl Decode for OsdMap {
    const MIN_SIZE: usize = 100;

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let from = d.position();
        let (v, mut body) = d.open("OSDMap", 8)?;
        if v < 8 {
            return Err(DencError::TooOld { what: "OSDMap", version: v, oldest: 8 });
        }
        let mut m = OsdMap::default();
        let mut seen = body.clone();
        let (v, mut part) = body.open("OSDMap client part", CLIENT_V)?;
        if v < 6 {
            return Err(DencError::TooOld { what: "OSDMap client part", version: v, oldest: 6 });
        }
        m.decode_client(&mut part, v)?;
        let (v, mut part) = body.open("OSDMap OSD part", OSD_V)?;
        if v < 5 {
            return Err(DencError::TooOld { what: "OSDMap OSD part", version: v, oldest: 5 });
        }
        m.decode_osd(&mut part, v)?;
        seen.skip(body.position() - seen.position())?;
        let found = ceph_crc(seen.consumed_since(from));
        let expected = body.u32()?;
        if found != expected {
            return Err(DencError::Crc { what: "OSDMap", expected, found });
        }
        m.crc = Some(expected);
        m.check_sizes()?;
        Ok(m)
    }
}

impl OsdMap {
    fn decode_client(&mut self, d: &mut Decoder<'_>, v: u8) -> Result<(), DencError> {
        self.fsid = d.get()?;
        self.epoch = d.get()?;
        self.created = d.get()?;
        self.modified = d.get()?;
        self.pools = d.get()?;
        self.pool_names = d.get()?;
        self.pool_max = d.i32()?;
        self.flags = d.u32()?;
        self.max_osd = d.i32()?;
        self.osd_state = d.get()?;
        self.osd_weight = d.get()?;
        self.client_addrs = d.get()?;
        self.pg_temp = d.get()?;
        self.primary_temp = d.get()?;
        let affinity: Arc<Vec<u32>> = d.get()?;
        self.osd_primary_affinity = Some(affinity).filter(|a| !a.is_empty());
        self.crush = crush_blob(d)?;
        self.erasure_code_profiles = d.get()?;
        self.pg_upmap = d.get()?;
        self.pg_upmap_items = d.get()?;
        self.crush_version = d.u32()?;
        if v >= 7 {
            self.new_removed_snaps = d.get()?;
            self.new_purged_snaps = d.get()?;
        }
        if v >= 9 {
            self.last_up_change = d.get()?;
            self.last_in_change = d.get()?;
        }
        Ok(())
    }

    fn decode_osd(&mut self, d: &mut Decoder<'_>, v: u8) -> Result<(), DencError> {
        self.hb_back_addrs = d.get()?;
        self.osd_info = d.get()?;
        self.blocklist = d.get()?;
        self.cluster_addrs = d.get()?;
        self.cluster_snapshot_epoch = d.get()?;
        self.cluster_snapshot = d.get()?;
        self.osd_uuid = d.get()?;
        self.osd_xinfo = d.get()?;
        self.hb_front_addrs = d.get()?;
        self.nearfull_ratio = d.get()?;
        self.full_ratio = d.get()?;
        self.backfillfull_ratio = d.get()?;
        self.require_min_compat_client = d.u8()?;
        self.require_osd_release = d.u8()?;
        if v >= 6 {
            self.removed_snaps_queue = d.get()?;
        }
        if v >= 8 {
            self.crush_node_flags = d.get()?;
        }
        if v >= 9 {
            self.device_class_flags = d.get()?;
        }
        if v >= 10 {
            self.stretch = StretchMode {
                enabled: d.bool()?,
                bucket_count: d.u32()?,
                degraded: d.u32()?,
                recovering: d.u32()?,
                bucket: d.i32()?,
            };
        }
        if v >= 11 {
            self.range_blocklist = d.get()?;
        }
        Ok(())
    }

    /// Every per-OSD vector must be `max_osd` long; lookups rely on it. Uuids and xinfo may be shorter in maps that were
    /// never touched, stock pads them too.
    fn check_sizes(&mut self) -> Result<(), DencError> {
        let bad = |what| Err(DencError::Invalid { what, value: 0 });
        if self.max_osd < 0 || self.max_osd > OSDS_MAX {
            return Err(DencError::Invalid { what: "OSDMap max_osd", value: self.max_osd as u64 });
        }
        let n = self.max_osd as usize;
        let same = [
            self.osd_state.len(),
            self.osd_weight.len(),
            self.client_addrs.len(),
            self.hb_back_addrs.len(),
            self.osd_info.len(),
            self.cluster_addrs.len(),
            self.hb_front_addrs.len(),
        ];
        if same.iter().any(|len| *len != n) {
            return bad("OSDMap vector length");
        }
        if self.osd_primary_affinity.as_ref().is_some_and(|a| a.len() != n) {
            return bad("OSDMap primary affinity length");
        }
        if self.osd_uuid.len() > n || self.osd_xinfo.len() > n {
            return bad("OSDMap vector length");
        }
        if self.osd_uuid.len() < n {
            padded(Arc::make_mut(&mut self.osd_uuid), n);
        }
        if self.osd_xinfo.len() < n {
            padded(Arc::make_mut(&mut self.osd_xinfo), n);
        }
        if self.pools.values().any(|p| p.pg_num == 0) {
            return bad("pool without PGs");
        }
        let named: BTreeSet<_> = self.pool_names.values().collect();
        if named.len() != self.pool_names.len() {
            return bad("OSDMap pool names");
        }
        Ok(())
    }
}

/// A CRUSH map in its blob.
pub(super) fn crush_blob(d: &mut Decoder<'_>) -> Result<Arc<CrushMap>, DencError> {
    let mut blob = d.sub("crush map")?;
    Ok(Arc::new(blob.get()?))
}
