//! [`MapView`]: an OSDMap as PGs ask it (`pg::ClusterMap`).

use pg::{ClusterMap, Placement, PoolView};
use std::collections::BTreeSet;
use std::sync::Arc;
use types::osdmap::{OsdMap, flag};
use types::pool::{PoolType, flag as pool_flag};
use types::{Epoch, OsdId, PgId, PoolId, SnapId};

/// A shared map.
#[derive(Clone, Debug)]
pub struct MapView(pub Arc<OsdMap>);

impl MapView {
    /// As the trait object that PGs hold.
    pub fn shared(map: &Arc<OsdMap>) -> Arc<dyn ClusterMap> {
        Arc::new(MapView(map.clone()))
    }
}

fn real(osds: &[OsdId]) -> Vec<OsdId> {
    osds.iter().copied().filter(|o| *o != OsdId::NONE && o.0 >= 0).collect()
}

impl ClusterMap for MapView {
    fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    fn pool(&self, pool: PoolId) -> Option<PoolView> {
        let p = self.0.pool(pool)?;
        // A pool snapshot exists until it is removed; ids descend, as a snap context wants them.
        let pool_snaps =
            if p.is_pool_snaps_mode() { p.snaps.keys().rev().copied().collect() } else { Vec::new() };
        Some(PoolView {
            size: p.size.into(),
            min_size: p.min_size.into(),
            pg_num: p.pg_num,
            full: p.has_flag(pool_flag::FULL) || p.has_flag(pool_flag::FULL_QUOTA),
            full_quota: p.has_flag(pool_flag::FULL_QUOTA),
            flags: p.flags,
            snap_seq: p.snap_seq,
            pool_snaps,
            replicated: p.kind == PoolType::Replicated,
            last_force_op_resend: p.last_force_op_resend,
        })
    }

    fn placement(&self, pg: PgId) -> Placement {
        let Some(ua) = self.0.pg_to_up_acting_osds(pg) else { return Placement::default() };
        Placement {
            up: real(&ua.up),
            up_primary: ua.up_primary,
            acting: real(&ua.acting),
            acting_primary: ua.acting_primary,
        }
    }

    fn exists(&self, osd: OsdId) -> bool {
        self.0.exists(osd)
    }
    fn is_up(&self, osd: OsdId) -> bool {
        self.0.is_up(osd)
    }
    fn up_from(&self, osd: OsdId) -> Epoch {
        self.0.info(osd).map_or(Epoch(0), |i| i.up_from)
    }
    fn up_thru(&self, osd: OsdId) -> Epoch {
        self.0.info(osd).map_or(Epoch(0), |i| i.up_thru)
    }
    fn dead_epoch(&self, osd: OsdId) -> Epoch {
        self.0.xinfo(osd).map_or(Epoch(0), |x| x.dead_epoch)
    }
    fn lost_at(&self, osd: OsdId) -> Epoch {
        self.0.info(osd).map_or(Epoch(0), |i| i.lost_at)
    }
    fn cluster_full(&self) -> bool {
        self.0.has_flag(flag::FULL)
    }
    fn removed_snaps(&self, pool: PoolId) -> BTreeSet<SnapId> {
        snaps(self.0.removed_snaps_queue.get(&pool))
    }
    fn new_purged_snaps(&self, pool: PoolId) -> BTreeSet<SnapId> {
        snaps(self.0.new_purged_snaps.get(&pool))
    }
    fn no_recover(&self) -> bool {
        self.0.has_flag(flag::NORECOVER)
    }
    fn no_backfill(&self) -> bool {
        self.0.has_flag(flag::NOBACKFILL)
    }
    fn no_snaptrim(&self) -> bool {
        self.0.has_flag(flag::NOSNAPTRIM)
    }
    fn paused_writes(&self) -> bool {
        self.0.has_flag(flag::PAUSEWR)
    }
}

fn snaps(set: Option<&types::interval_set::IntervalSet>) -> BTreeSet<SnapId> {
    /// Snapshots of one pool that are looked at together; the rest comes with later maps.
    const AT_ONCE_MAX: usize = 10_000;
    set.into_iter()
        .flat_map(|s| s.iter())
        .flat_map(|(start, len)| start..start + len)
        .take(AT_ONCE_MAX)
        .map(SnapId)
        .collect()
}
