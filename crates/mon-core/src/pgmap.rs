//! [`PgMap`]: what OSDs report of PGs and space, and the sums and rates over it (the manager's role; not replicated).
//!
//! Lives in memory only: after a restart the OSDs report again within seconds, and until then PGs are `unknown`, as with stock.
//!
//! Where an external manager is in charge, OSDs report to it, and what is known here is the digest that it sends ([`PgMap::digest`]):
//! the sums come from there then, and single PGs are unknown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use types::pgdigest::PgMapDigest;
use types::pgstat::{ObjectStatSum, OsdStat, PgStat, PoolStat, StoreStatfs, pg_state};
use types::{OsdId, PgId, PoolId, Utime};

/// Over how long rates are taken.
const RATE_WINDOW_SECS: f64 = 10.0;

/// Sums at one moment, to take rates from.
#[derive(Clone, Debug, Default)]
struct Sample {
    at: Utime,
    total: ObjectStatSum,
    pools: BTreeMap<PoolId, ObjectStatSum>,
}

/// Client and recovery traffic, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Bytes read.
    pub rd_bytes: u64,
    /// Bytes written.
    pub wr_bytes: u64,
    /// Read operations.
    pub rd_ops: u64,
    /// Write operations.
    pub wr_ops: u64,
    /// Bytes recovered.
    pub rec_bytes: u64,
    /// Objects recovered.
    pub rec_objects: u64,
    /// Keys recovered.
    pub rec_keys: u64,
}

impl Rates {
    /// True when clients do something.
    pub fn client_active(&self) -> bool {
        [self.rd_bytes, self.wr_bytes, self.rd_ops, self.wr_ops].iter().any(|n| *n > 0)
    }
    /// True when recovery does something.
    pub fn recovery_active(&self) -> bool {
        [self.rec_bytes, self.rec_objects, self.rec_keys].iter().any(|n| *n > 0)
    }
}

/// The reports of all OSDs.
#[derive(Clone, Debug, Default)]
pub struct PgMap {
    /// Counts changes.
    pub version: u64,
    /// Time of the last change.
    pub stamp: Utime,
    /// By PG. (Boxed: a node of the map has room for eleven, and they are large.)
    pub pgs: BTreeMap<PgId, Box<PgStat>>,
    /// By OSD.
    pub osds: BTreeMap<OsdId, OsdStat>,
    /// Space of one pool on one OSD.
    pub pool_statfs: BTreeMap<(PoolId, OsdId), StoreStatfs>,
    /// PGs that the OSDMap has; kept in step by [`PgMap::sync_pools`].
    known: BTreeMap<PoolId, u32>,
    /// Sums over the PGs of each pool, kept with every report.
    sums: BTreeMap<PoolId, ObjectStatSum>,
    /// OSDs that were up when stale PGs were looked for last.
    up: Option<BTreeSet<OsdId>>,
    samples: VecDeque<Sample>,
    /// What an external manager says, while one is in charge: it goes before what is counted here.
    pub digest: Option<Rc<PgMapDigest>>,
}

/// The digest's numbers are signed; none that is shown is below nothing.
fn count(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

impl PgMap {
    /// Takes the pools and their PG counts from the OSDMap: new PGs are `unknown`, PGs of removed pools go.
    pub fn sync_pools(&mut self, pools: &BTreeMap<PoolId, u32>, now: Utime) {
        if &self.known == pools {
            return;
        }
        self.pgs.retain(|pg, _| pools.get(&pg.pool).is_some_and(|n| pg.seed < *n));
        self.pool_statfs.retain(|(pool, _), _| pools.contains_key(pool));
        for (pool, n) in pools {
            for seed in 0..*n {
                self.pgs.entry(PgId { pool: *pool, seed }).or_insert_with(|| {
                    Box::new(PgStat {
                        last_change: now,
                        last_active: now,
                        last_clean: now,
                        last_fresh: now,
                        last_fullsized: now,
                        last_undegraded: now,
                        last_unstale: now,
                        ..PgStat::default()
                    })
                });
            }
        }
        self.known = pools.clone();
        let sum_of = |pool: &PoolId| {
            let mut sum = ObjectStatSum::default();
            self.pool_pgs(*pool).for_each(|(_, s)| sum.add(&s.stats.sum));
            (*pool, sum)
        };
        self.sums = pools.keys().map(sum_of).collect();
    }

    /// A primary's report on one PG.
    pub fn apply_pg(&mut self, pg: PgId, stat: PgStat, now: Utime) {
        let Some(old) = self.pgs.get_mut(&pg) else { return };
        // A report that was overtaken by a newer primary's is dropped.
        if (stat.reported_epoch, stat.reported_seq) < (old.reported_epoch, old.reported_seq) {
            return;
        }
        let sum = self.sums.entry(pg.pool).or_default();
        sum.sub(&old.stats.sum);
        sum.add(&stat.stats.sum);
        **old = stat;
        self.version += 1;
        self.stamp = now;
    }

    /// An OSD's report on itself.
    pub fn apply_osd(&mut self, osd: OsdId, stat: OsdStat, now: Utime) {
        self.osds.insert(osd, stat);
        self.version += 1;
        self.stamp = now;
    }

    /// An OSD is gone.
    pub fn remove_osd(&mut self, osd: OsdId) {
        self.osds.remove(&osd);
        self.pool_statfs.retain(|(_, o), _| *o != osd);
    }

    /// PGs whose acting primary is not up any more are stale.
    pub fn mark_stale(&mut self, up: &BTreeSet<OsdId>) {
        // Only those who are up report, so between two changes nothing can become stale.
        if self.up.as_ref() == Some(up) {
            return;
        }
        self.up = Some(up.clone());
        for s in self.pgs.values_mut() {
            if s.state != 0 && s.state & pg_state::STALE == 0 && !up.contains(&s.acting_primary) {
                s.state |= pg_state::STALE;
            }
        }
    }

    /// Sum over all PGs.
    pub fn total(&self) -> ObjectStatSum {
        if let Some(d) = &self.digest {
            return d.pg_sum.stats.sum.clone();
        }
        let mut sum = ObjectStatSum::default();
        for s in self.sums.values() {
            sum.add(s);
        }
        sum
    }

    /// Sum over a pool's PGs.
    pub fn pool_sum(&self, pool: PoolId) -> ObjectStatSum {
        if self.digest.is_some() {
            return self.pool_stat(pool).stats.sum;
        }
        self.sums.get(&pool).cloned().unwrap_or_default()
    }

    /// PGs of a pool.
    pub fn pool_pgs(&self, pool: PoolId) -> impl Iterator<Item = (&PgId, &PgStat)> {
        self.pgs.range(PgId { pool, seed: 0 }..=PgId { pool, seed: u32::MAX }).map(|(pg, s)| (pg, &**s))
    }

    /// A pool's statistics, as clients are told.
    pub fn pool_stat(&self, pool: PoolId) -> PoolStat {
        if let Some(d) = &self.digest {
            let id = i32::try_from(pool.0).ok();
            return id.and_then(|id| d.pg_pool_sum.get(&id)).cloned().unwrap_or_default();
        }
        let mut p = PoolStat::default();
        for (_, s) in self.pool_pgs(pool) {
            p.stats.sum.add(&s.stats.sum);
            p.log_size += s.log_size;
            p.ondisk_log_size += s.ondisk_log_size;
            p.up += s.up.len() as i32;
            p.acting += s.acting.len() as i32;
        }
        for ((_, _), s) in self.pool_statfs.range((pool, OsdId(i32::MIN))..=(pool, OsdId(i32::MAX))) {
            p.store_stats.add(s);
            p.num_store_stats += 1;
        }
        p
    }

    /// Sum of the OSDs' space.
    pub fn osd_sum(&self) -> StoreStatfs {
        if let Some(d) = &self.digest {
            return d.osd_sum.statfs.clone();
        }
        let mut sum = StoreStatfs::default();
        for s in self.osds.values() {
            sum.add(&s.statfs);
        }
        sum
    }

    /// Number of PGs by state.
    pub fn by_state(&self) -> BTreeMap<u64, usize> {
        if let Some(d) = &self.digest {
            return d.num_pg_by_state.iter().map(|(s, n)| (*s, count((*n).into()))).collect();
        }
        let mut m = BTreeMap::new();
        for s in self.pgs.values() {
            *m.entry(s.state).or_insert(0) += 1;
        }
        m
    }

    /// PGs by count, most frequent first, as the status shows them.
    pub fn states_by_count(&self) -> Vec<(usize, String)> {
        let mut v: Vec<(usize, u64)> = self.by_state().into_iter().map(|(s, n)| (n, s)).collect();
        v.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        v.into_iter().map(|(n, s)| (n, pg_state::name(s))).collect()
    }

    /// Number of PGs.
    pub fn num_pgs(&self) -> usize {
        self.digest.as_ref().map_or(self.pgs.len(), |d| count(d.num_pg))
    }

    /// Number of a pool's PGs.
    pub fn num_pool_pgs(&self, pool: PoolId) -> usize {
        match &self.digest {
            Some(d) => d.num_pg_by_pool.get(&pool).map_or(0, |n| count(*n)),
            None => self.pool_pgs(pool).count(),
        }
    }

    /// PGs that nobody has reported, and those that are active.
    pub fn unknown_and_active(&self) -> (usize, usize) {
        if let Some(d) = &self.digest {
            return (count(d.num_pg_unknown), count(d.num_pg_active));
        }
        let having = |f: &dyn Fn(u64) -> bool| self.pgs.values().filter(|s| f(s.state)).count();
        (having(&|s| s == 0), having(&|s| s & pg_state::ACTIVE != 0))
    }

    /// OSDs that have reported; of them those that tell the space of each pool, and of each pool's omap.
    pub fn num_osds(&self) -> [usize; 3] {
        match &self.digest {
            Some(d) => {
                let s = &d.osd_sum;
                [s.num_osds, s.num_per_pool_osds, s.num_per_pool_omap_osds].map(|n| n as usize)
            }
            None => [self.osds.len(); 3],
        }
    }

    /// Number of an OSD's newest report.
    pub fn last_seq(&self, osd: OsdId) -> u64 {
        match &self.digest {
            Some(d) => usize::try_from(osd.0).ok().and_then(|o| d.osd_last_seq.get(o)).copied().unwrap_or(0),
            None => self.osds.get(&osd).map_or(0, |s| s.seq),
        }
    }

    /// Raw space that can be filled under a rule, where an external manager says so.
    pub fn digest_rule_avail(&self, rule: i32) -> Option<u64> {
        let d = self.digest.as_ref()?;
        Some(d.avail_space_by_rule.get(&rule).map_or(0, |n| (*n).max(0) as u64))
    }

    /// True when all PGs of a pool, which has `pg_num` of them, have purged a snapshot.
    pub fn purged_everywhere(&self, pool: PoolId, pg_num: u32, snap: u64) -> bool {
        match &self.digest {
            Some(d) => d.purged_snaps.get(&pool).is_some_and(|s| s.contains(snap)),
            None => {
                let all = self.pool_pgs(pool).filter(|(_, s)| s.purged_snaps.contains(snap));
                all.count() as u32 == pg_num
            }
        }
    }

    /// PGs (all, and as primary) on each OSD, by acting set.
    pub fn pgs_by_osd(&self) -> BTreeMap<OsdId, (usize, usize)> {
        let mut m: BTreeMap<OsdId, (usize, usize)> = BTreeMap::new();
        for s in self.pgs.values() {
            for o in s.acting.iter().chain(s.up.iter().filter(|o| !s.acting.contains(o))) {
                m.entry(*o).or_default().0 += 1;
            }
            m.entry(s.acting_primary).or_default().1 += usize::from(!s.acting.is_empty());
        }
        m
    }

    /// Takes a sample for the rates; called every few seconds.
    pub fn sample(&mut self, now: Utime) {
        if self.samples.back().is_some_and(|s| now.since(s.at).as_secs_f64() < 1.0) {
            return;
        }
        let pools = self.known.keys().map(|p| (*p, self.pool_sum(*p))).collect();
        self.samples.push_back(Sample { at: now, total: self.total(), pools });
        while self.samples.len() > 2
            && self.samples.front().is_some_and(|s| now.since(s.at).as_secs_f64() > RATE_WINDOW_SECS)
        {
            self.samples.pop_front();
        }
    }

    fn rate(&self, of: impl Fn(&Sample) -> Option<&ObjectStatSum>) -> Rates {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return Rates::default();
        };
        let secs = last.at.since(first.at).as_secs_f64();
        let (Some(a), Some(b)) = (of(first), of(last)) else { return Rates::default() };
        if secs <= 0.0 {
            return Rates::default();
        }
        let per = |x: i64, y: i64| (y.saturating_sub(x).max(0) as f64 / secs).round() as u64;
        Rates {
            rd_bytes: per(a.num_rd_kb, b.num_rd_kb).saturating_mul(1024),
            wr_bytes: per(a.num_wr_kb, b.num_wr_kb).saturating_mul(1024),
            rd_ops: per(a.num_rd, b.num_rd),
            wr_ops: per(a.num_wr, b.num_wr),
            rec_bytes: per(a.num_bytes_recovered, b.num_bytes_recovered),
            rec_objects: per(a.num_objects_recovered, b.num_objects_recovered),
            rec_keys: per(a.num_keys_recovered, b.num_keys_recovered),
        }
    }

    /// What the samples that rates come from differ by, and over what time.
    pub fn delta(&self) -> (ObjectStatSum, Duration) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return Default::default();
        };
        let mut sum = last.total.clone();
        sum.sub(&first.total);
        (sum, last.at.since(first.at))
    }

    /// Rates from what a digest says has been added within `over`.
    fn growth(delta: &PoolStat, over: Utime) -> Rates {
        let secs = f64::from(over.sec) + f64::from(over.nsec) / 1e9;
        if secs <= 0.0 {
            return Rates::default();
        }
        let s = &delta.stats.sum;
        let per = |n: i64| (n.max(0) as f64 / secs) as u64;
        Rates {
            rd_bytes: per(s.num_rd_kb.saturating_mul(1024)),
            wr_bytes: per(s.num_wr_kb.saturating_mul(1024)),
            rd_ops: per(s.num_rd),
            wr_ops: per(s.num_wr),
            rec_bytes: per(s.num_bytes_recovered),
            rec_objects: per(s.num_objects_recovered),
            rec_keys: per(s.num_keys_recovered),
        }
    }

    /// Rates of the whole cluster.
    pub fn rates(&self) -> Rates {
        if let Some(d) = &self.digest {
            return PgMap::growth(&d.pg_sum_delta, d.stamp_delta);
        }
        self.rate(|s| Some(&s.total))
    }

    /// Rates of a pool.
    pub fn pool_rates(&self, pool: PoolId) -> Rates {
        if let Some(d) = &self.digest {
            let (delta, stamp) = (d.per_pool_sum_delta.get(&pool), d.per_pool_sum_deltas_stamps.get(&pool));
            return delta.zip(stamp).map_or_else(Rates::default, |((p, _), over)| PgMap::growth(p, *over));
        }
        self.rate(|s| s.pools.get(&pool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pg(seed: u32) -> PgId {
        PgId::new(1, seed)
    }

    #[test]
    fn pgs_are_unknown_until_reported_and_go_with_their_pool() {
        let mut m = PgMap::default();
        m.sync_pools(&BTreeMap::from([(PoolId(1), 4)]), Utime::ZERO);
        assert_eq!(m.states_by_count(), [(4, "unknown".to_owned())]);
        let s = PgStat { state: pg_state::ACTIVE | pg_state::CLEAN, ..PgStat::default() };
        m.apply_pg(pg(0), s, Utime::from_secs(5));
        assert_eq!(m.states_by_count(), [(3, "unknown".to_owned()), (1, "active+clean".to_owned())]);
        m.sync_pools(&BTreeMap::new(), Utime::ZERO);
        assert!(m.pgs.is_empty());
    }

    #[test]
    fn a_digest_goes_before_what_was_counted_here() {
        let mut m = PgMap::default();
        m.sync_pools(&BTreeMap::from([(PoolId(1), 4)]), Utime::ZERO);
        let mut sum = PoolStat::default();
        sum.stats.sum.num_objects = 7;
        let mut delta = PoolStat::default();
        (delta.stats.sum.num_wr, delta.stats.sum.num_wr_kb) = (40, 160);
        delta.stats.sum.num_rd = -3;
        let d = PgMapDigest {
            num_pg: 4,
            num_pg_active: 3,
            num_pg_by_state: BTreeMap::from([
                (pg_state::ACTIVE | pg_state::CLEAN, 3),
                (pg_state::PEERING, 1),
            ]),
            num_pg_by_pool: BTreeMap::from([(PoolId(1), 4)]),
            pg_pool_sum: BTreeMap::from([(1, sum.clone())]),
            pg_sum: sum,
            pg_sum_delta: delta,
            stamp_delta: Utime::from_secs(4),
            osd_last_seq: vec![5, 6],
            avail_space_by_rule: BTreeMap::from([(0, 100), (1, -5)]),
            purged_snaps: BTreeMap::from([(PoolId(1), [(3u64, 1u64)].into_iter().collect())]),
            ..PgMapDigest::default()
        };
        m.digest = Some(Rc::new(d));
        assert_eq!(m.states_by_count(), [(3, "active+clean".to_owned()), (1, "peering".to_owned())]);
        assert_eq!((m.num_pgs(), m.num_pool_pgs(PoolId(1)), m.num_pool_pgs(PoolId(2))), (4, 4, 0));
        assert_eq!((m.total().num_objects, m.pool_sum(PoolId(1)).num_objects), (7, 7));
        assert_eq!((m.rates().wr_ops, m.rates().wr_bytes, m.rates().rd_ops), (10, 40 * 1024, 0));
        assert_eq!((m.last_seq(OsdId(1)), m.last_seq(OsdId(2)), m.last_seq(OsdId(-1))), (6, 0, 0));
        assert_eq!((m.digest_rule_avail(0), m.digest_rule_avail(1)), (Some(100), Some(0)));
        assert!(m.purged_everywhere(PoolId(1), 4, 3) && !m.purged_everywhere(PoolId(1), 4, 4));
        assert_eq!(m.unknown_and_active(), (0, 3));
    }

    #[test]
    fn rates_are_taken_over_samples() {
        let mut m = PgMap::default();
        m.sync_pools(&BTreeMap::from([(PoolId(1), 1)]), Utime::ZERO);
        m.sample(Utime::from_secs(100));
        let mut s = PgStat::default();
        s.stats.sum.num_wr = 50;
        s.stats.sum.num_wr_kb = 10;
        m.apply_pg(pg(0), s, Utime::from_secs(105));
        m.sample(Utime::from_secs(105));
        assert_eq!(m.rates().wr_ops, 10);
        assert_eq!(m.pool_rates(PoolId(1)).wr_bytes, 2048);
    }

    #[test]
    fn sums_follow_reports_and_pools() {
        let mut m = PgMap::default();
        m.sync_pools(&BTreeMap::from([(PoolId(1), 2)]), Utime::ZERO);
        let mut s = PgStat { reported_seq: 1, ..PgStat::default() };
        for (seed, objects) in [(0, 5), (1, 7), (1, 8)] {
            s.stats.sum.num_objects = objects;
            m.apply_pg(pg(seed), s.clone(), Utime::ZERO);
        }
        assert_eq!((m.total().num_objects, m.pool_sum(PoolId(1)).num_objects), (13, 13));
        m.sync_pools(&BTreeMap::from([(PoolId(1), 1)]), Utime::ZERO);
        assert_eq!(m.total().num_objects, 5);
        m.sync_pools(&BTreeMap::new(), Utime::ZERO);
        assert_eq!((m.total().num_objects, m.pool_sum(PoolId(1)).num_objects), (0, 0));
    }
}
