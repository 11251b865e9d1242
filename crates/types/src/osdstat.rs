//! What an OSD reports about itself: [`OsdStat`] (`osd_stat_t` 14/2 of `osd/osd_types.h`).

use crate::pgstat::StoreStatfs;
use crate::{Epoch, OsdId};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// Round trip times of heartbeats to one OSD on one network, in microseconds: over 1, 5 and 15 minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PingTimes {
    /// Averages.
    pub average: [u32; 3],
    /// Smallest.
    pub min: [u32; 3],
    /// Largest.
    pub max: [u32; 3],
    /// Last one.
    pub last: u32,
}
impl Encode for PingTimes {
    fn encode(&self, e: &mut Encoder) {
        for n in self.average.iter().chain(&self.min).chain(&self.max) {
            e.u32(*n);
        }
        e.u32(self.last);
    }
}
impl Decode for PingTimes {
    const MIN_SIZE: usize = 40;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let mut three = || Ok::<[u32; 3], DencError>([d.u32()?, d.u32()?, d.u32()?]);
        let (average, min, max) = (three()?, three()?, three()?);
        Ok(PingTimes { average, min, max, last: d.u32()? })
    }
}
/// Heartbeats to one OSD (`osd_stat_t::Interfaces`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HbPingTime {
    /// Seconds since the epoch.
    pub last_update: u32,
    /// Cluster network.
    pub back: PingTimes,
    /// Public network.
    pub front: PingTimes,
}
impl Encode for HbPingTime {
    fn encode(&self, e: &mut Encoder) {
        e.u32(self.last_update);
        e.put(&self.back);
        e.put(&self.front);
    }
}
impl Decode for HbPingTime {
    const MIN_SIZE: usize = 84;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(HbPingTime { last_update: d.u32()?, back: d.get()?, front: d.get()? })
    }
}

/// What an OSD reports about itself (`osd_stat_t`).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OsdStat {
    /// Snapshots waiting to be trimmed.
    pub snap_trim_queue_len: i32,
    /// Snapshots being trimmed.
    pub num_snap_trimming: i32,
    /// OSDs that it exchanges heartbeats with.
    pub hb_peers: Vec<OsdId>,
    /// Histogram of the age of queued requests, by powers of two.
    pub op_queue_age_hist: Vec<i32>,
    /// Commit latency in nanoseconds.
    pub commit_latency_ns: u64,
    /// Apply latency in nanoseconds.
    pub apply_latency_ns: u64,
    /// Epoch from which it is up.
    pub up_from: Epoch,
    /// Orders reports.
    pub seq: u64,
    /// PGs that it holds.
    pub num_pgs: u32,
    /// Space.
    pub statfs: StoreStatfs,
    /// Alerts of the store, by OSD and name.
    pub os_alerts: BTreeMap<OsdId, BTreeMap<String, String>>,
    /// Shards repaired.
    pub num_shards_repaired: i64,
    /// OSDs in a sum.
    pub num_osds: u32,
    /// OSDs in a sum that account space by pool.
    pub num_per_pool_osds: u32,
    /// OSDs in a sum that account omap space by pool.
    pub num_per_pool_omap_osds: u32,
    /// Heartbeat times by OSD.
    pub hb_pingtime: BTreeMap<OsdId, HbPingTime>,
}
impl OsdStat {
    fn kb(&self) -> [u64; 3] {
        [self.statfs.total >> 10, self.statfs.used_raw() >> 10, self.statfs.available >> 10]
    }
    /// Adds another report, as stock sums them up. (Numbers are the reporters': sums that do not fit wrap.)
    pub fn add(&mut self, o: &OsdStat) {
        self.statfs.add(&o.statfs);
        self.snap_trim_queue_len = self.snap_trim_queue_len.wrapping_add(o.snap_trim_queue_len);
        self.num_snap_trimming = self.num_snap_trimming.wrapping_add(o.num_snap_trimming);
        self.num_shards_repaired = self.num_shards_repaired.wrapping_add(o.num_shards_repaired);
        self.commit_latency_ns = self.commit_latency_ns.wrapping_add(o.commit_latency_ns);
        self.apply_latency_ns = self.apply_latency_ns.wrapping_add(o.apply_latency_ns);
        self.num_pgs = self.num_pgs.wrapping_add(o.num_pgs);
        self.num_osds = self.num_osds.wrapping_add(o.num_osds);
        self.num_per_pool_osds = self.num_per_pool_osds.wrapping_add(o.num_per_pool_osds);
        self.num_per_pool_omap_osds = self.num_per_pool_omap_osds.wrapping_add(o.num_per_pool_omap_osds);
        if self.op_queue_age_hist.len() < o.op_queue_age_hist.len() {
            self.op_queue_age_hist.resize(o.op_queue_age_hist.len(), 0);
        }
        for (sum, n) in self.op_queue_age_hist.iter_mut().zip(&o.op_queue_age_hist) {
            *sum = sum.wrapping_add(*n);
        }
        for (osd, alerts) in &o.os_alerts {
            self.os_alerts.entry(*osd).or_default().extend(alerts.clone());
        }
    }
}
impl Encode for OsdStat {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(14, 2, |e| {
            // Kibibytes that `statfs` says again below.
            self.kb().iter().for_each(|n| e.u64(*n));
            e.i32(self.snap_trim_queue_len);
            e.i32(self.num_snap_trimming);
            e.put(&self.hb_peers);
            e.u32(0);
            e.versioned(1, 1, |e| e.put(&self.op_queue_age_hist));
            if e.has(crate::features::OS_PERF_STAT_NS) {
                e.versioned(2, 2, |e| {
                    e.u64(self.commit_latency_ns);
                    e.u64(self.apply_latency_ns);
                });
            } else {
                e.versioned(1, 1, |e| {
                    e.u32((self.commit_latency_ns / 1_000_000) as u32);
                    e.u32((self.apply_latency_ns / 1_000_000) as u32);
                });
            }
            e.put(&self.up_from);
            e.u64(self.seq);
            e.u32(self.num_pgs);
            e.i64(self.statfs.allocated >> 10);
            e.i64(self.statfs.omap_allocated >> 10);
            e.i64(self.statfs.internal_metadata >> 10);
            e.put(&self.statfs);
            e.put(&self.os_alerts);
            e.i64(self.num_shards_repaired);
            e.u32(self.num_osds);
            e.u32(self.num_per_pool_osds);
            e.u32(self.num_per_pool_omap_osds);
            e.put(&self.hb_pingtime);
        });
    }
}
impl Decode for OsdStat {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("osd_stat_t", 14)?;
        if v < 9 {
            return Err(DencError::TooOld { what: "osd_stat_t", version: v, oldest: 9 });
        }
        d.skip(24)?;
        let mut s = OsdStat {
            snap_trim_queue_len: d.get()?,
            num_snap_trimming: d.get()?,
            hb_peers: d.get()?,
            ..OsdStat::default()
        };
        d.get::<Vec<i32>>()?;
        s.op_queue_age_hist = d.open("pow2_hist_t", 1)?.1.get()?;
        let (perf_v, mut perf) = d.open("objectstore_perf_stat_t", 2)?;
        if perf_v >= 2 {
            (s.commit_latency_ns, s.apply_latency_ns) = (perf.u64()?, perf.u64()?);
        } else {
            s.commit_latency_ns = u64::from(perf.u32()?) * 1_000_000;
            s.apply_latency_ns = u64::from(perf.u32()?) * 1_000_000;
        }
        s.up_from = d.get()?;
        s.seq = d.get()?;
        s.num_pgs = d.get()?;
        d.skip(24)?;
        s.statfs = d.get()?;
        if v >= 10 {
            s.os_alerts = d.get()?;
        }
        if v >= 11 {
            s.num_shards_repaired = d.get()?;
        }
        if v >= 12 {
            s.num_osds = d.get()?;
            s.num_per_pool_osds = d.get()?;
        }
        if v >= 13 {
            s.num_per_pool_omap_osds = d.get()?;
        }
        if v >= 14 {
            s.hb_pingtime = d.get()?;
        }
        Ok(s)
    }
}
