//! The cluster in numbers, for the group `cluster` of a monitor's `perf dump`, with stock's names.

use crate::core::MonCore;
use types::pgstat::pg_state;

/// Name, what it is, value.
pub type Number = (&'static str, &'static str, u64);

impl MonCore {
    /// What this monitor knows of the cluster. What daemons report only the leader knows, so that others leave it out.
    pub fn cluster_numbers(&self) -> Vec<Number> {
        let m = &self.osd.map;
        let mut all = vec![
            ("num_mon", "Monitors", self.monmap().mons.len() as u64),
            ("num_mon_quorum", "Monitors in quorum", self.quorum.quorum.len() as u64),
            ("num_osd", "OSDs", m.num_osds() as u64),
            ("num_osd_up", "OSDs that are up", m.num_up() as u64),
            ("num_osd_in", "OSD in state \"in\" (they are in cluster)", m.num_in() as u64),
            ("osd_epoch", "Current epoch of OSD map", m.epoch.0.into()),
            ("num_pool", "Pools", m.pools.len() as u64),
        ];
        if !self.quorum.leads {
            return all;
        }
        let by_state = self.pgmap.by_state();
        let pgs = |all_of: u64, none_of: u64| {
            let is = |s: u64| s & all_of == all_of && s & none_of == 0;
            by_state.iter().filter(|(s, _)| is(**s)).map(|(_, n)| *n as u64).sum()
        };
        let (space, sum) = (self.pgmap.osd_sum(), self.pgmap.total());
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        all.extend([
            ("osd_bytes", "Total capacity of cluster", space.total),
            ("osd_bytes_used", "Used space", space.used_raw()),
            ("osd_bytes_avail", "Available space", space.available),
            ("num_pg", "Placement groups", self.pgmap.num_pgs() as u64),
            (
                "num_pg_active_clean",
                "Placement groups in active+clean state",
                pgs(pg_state::ACTIVE | pg_state::CLEAN, 0),
            ),
            ("num_pg_active", "Placement groups in active state", pgs(pg_state::ACTIVE, 0)),
            ("num_pg_peering", "Placement groups in peering state", pgs(pg_state::PEERING, pg_state::ACTIVE)),
            ("num_object", "Objects", count(sum.num_objects)),
            ("num_object_degraded", "Degraded (missing replicas) objects", count(sum.num_objects_degraded)),
            (
                "num_object_misplaced",
                "Misplaced (wrong location in the cluster) objects",
                count(sum.num_objects_misplaced),
            ),
            ("num_object_unfound", "Unfound objects", count(sum.num_objects_unfound)),
            ("num_bytes", "Size of all objects", count(sum.num_bytes)),
        ]);
        all
    }
}
