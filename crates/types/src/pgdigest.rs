//! What a manager tells the monitors of PGs and space: [`PgMapDigest`] 4/1 (`mon/PGMap.h`), and [`ProgressEvent`] 2/1 (`mon/mon_types.h`).

use crate::pgstat::{OsdStat, PoolStat};
use crate::{IntervalSet, OsdId, PoolId, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// PGs on one OSD (`PGMapDigest::pg_count`; on the wire without a version).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PgCount {
    /// In acting sets.
    pub acting: i32,
    /// In up sets, and not in the acting set.
    pub up_not_acting: i32,
    /// As acting primary.
    pub primary: i32,
}
impl Encode for PgCount {
    fn encode(&self, e: &mut Encoder) {
        e.i32(self.acting);
        e.i32(self.up_not_acting);
        e.i32(self.primary);
    }
}
impl Decode for PgCount {
    const MIN_SIZE: usize = 12;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(PgCount { acting: d.get()?, up_not_acting: d.get()?, primary: d.get()? })
    }
}

/// Sums over all PGs and OSDs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PgMapDigest {
    /// PGs.
    pub num_pg: i64,
    /// Active ones.
    pub num_pg_active: i64,
    /// Those that nobody has reported.
    pub num_pg_unknown: i64,
    /// OSDs that reported.
    pub num_osd: i64,
    /// By pool.
    pub pg_pool_sum: BTreeMap<i32, PoolStat>,
    /// Over all pools.
    pub pg_sum: PoolStat,
    /// Over all OSDs.
    pub osd_sum: OsdStat,
    /// PGs by state.
    pub num_pg_by_state: BTreeMap<u64, i32>,
    /// PGs by OSD.
    pub num_pg_by_osd: BTreeMap<OsdId, PgCount>,
    /// PGs by pool.
    pub num_pg_by_pool: BTreeMap<PoolId, i64>,
    /// Newest report of each OSD, by number.
    pub osd_last_seq: Vec<u64>,
    /// What a pool's sums grew by of late, and when that was.
    pub per_pool_sum_delta: BTreeMap<PoolId, (PoolStat, Utime)>,
    /// Over how long they grew so.
    pub per_pool_sum_deltas_stamps: BTreeMap<PoolId, Utime>,
    /// What the sum over all pools grew by.
    pub pg_sum_delta: PoolStat,
    /// Over how long.
    pub stamp_delta: Utime,
    /// Raw space that can still be filled, by CRUSH rule.
    pub avail_space_by_rule: BTreeMap<i32, i64>,
    /// Snapshots that every PG of a pool has purged.
    pub purged_snaps: BTreeMap<PoolId, IntervalSet>,
    /// Over the OSDs of a device class.
    pub osd_sum_by_class: BTreeMap<String, OsdStat>,
}
impl Encode for PgMapDigest {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(4, 1, |e| {
            e.i64(self.num_pg);
            e.i64(self.num_pg_active);
            e.i64(self.num_pg_unknown);
            e.i64(self.num_osd);
            e.put(&self.pg_pool_sum);
            e.put(&self.pg_sum);
            e.put(&self.osd_sum);
            e.put(&self.num_pg_by_state);
            e.put(&self.num_pg_by_osd);
            e.put(&self.num_pg_by_pool);
            e.put(&self.osd_last_seq);
            e.put(&self.per_pool_sum_delta);
            e.put(&self.per_pool_sum_deltas_stamps);
            e.put(&self.pg_sum_delta);
            e.put(&self.stamp_delta);
            e.put(&self.avail_space_by_rule);
            e.put(&self.purged_snaps);
            e.put(&self.osd_sum_by_class);
        });
    }
}
impl Decode for PgMapDigest {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("PGMapDigest", 4)?;
        // Before 3 the states were narrower; such a manager is of luminous.
        if v < 3 {
            return Err(DencError::TooOld { what: "PGMapDigest", version: v, oldest: 3 });
        }
        Ok(PgMapDigest {
            num_pg: d.get()?,
            num_pg_active: d.get()?,
            num_pg_unknown: d.get()?,
            num_osd: d.get()?,
            pg_pool_sum: d.get()?,
            pg_sum: d.get()?,
            osd_sum: d.get()?,
            num_pg_by_state: d.get()?,
            num_pg_by_osd: d.get()?,
            num_pg_by_pool: d.get()?,
            osd_last_seq: d.get()?,
            per_pool_sum_delta: d.get()?,
            per_pool_sum_deltas_stamps: d.get()?,
            pg_sum_delta: d.get()?,
            stamp_delta: d.get()?,
            avail_space_by_rule: d.get()?,
            purged_snaps: d.get()?,
            osd_sum_by_class: if v >= 4 { d.get()? } else { BTreeMap::new() },
        })
    }
}

/// Something long that goes on, as a manager's modules tell of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProgressEvent {
    /// Lines for people.
    pub message: String,
    /// From 0 to 1.
    pub progress: f32,
    /// The status shows it.
    pub add_to_ceph_s: bool,
}
impl Encode for ProgressEvent {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.put(&self.message);
            e.put(&self.progress);
            e.bool(self.add_to_ceph_s);
        });
    }
}
impl Decode for ProgressEvent {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("ProgressEvent", 2)?;
        let (message, progress): (String, f32) = (d.get()?, d.get()?);
        let add_to_ceph_s = if v >= 2 { d.bool()? } else { !message.is_empty() };
        Ok(ProgressEvent { message, progress, add_to_ceph_s })
    }
}
