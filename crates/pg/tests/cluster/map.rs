//! The cluster map of the tests: one pool, one PG, `up` by decree.

use pg::{ClusterMap, Placement, PoolView};
use std::collections::BTreeSet;
use types::{Epoch, OsdId, PgId, PoolId, SnapId};

#[derive(Clone, Debug, PartialEq)]
pub struct Osd {
    pub up: bool,
    pub up_from: Epoch,
    pub up_thru: Epoch,
    pub lost_at: Epoch,
}
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    pub epoch: Epoch,
    pub osds: Vec<Osd>,
    /// Where CRUSH would put the PG if all were up.
    pub crush: Vec<OsdId>,
    pub temp: Vec<OsdId>,
    pub size: u32,
    pub min_size: u32,
    pub removed: BTreeSet<SnapId>,
}
impl ClusterMap for Map {
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn pool(&self, _: PoolId) -> Option<PoolView> {
        Some(PoolView {
            size: self.size,
            min_size: self.min_size,
            pg_num: 1,
            replicated: true,
            ..PoolView::default()
        })
    }
    fn placement(&self, _: PgId) -> Placement {
        // Like CRUSH: takes the first `size` that are up.
        let up: Vec<OsdId> =
            self.crush.iter().copied().filter(|o| self.is_up(*o)).take(self.size as usize).collect();
        let temp: Vec<OsdId> = self.temp.iter().copied().filter(|o| self.is_up(*o)).collect();
        let acting = if temp.is_empty() { up.clone() } else { temp };
        Placement { up_primary: up.first().copied(), up, acting_primary: acting.first().copied(), acting }
    }
    fn exists(&self, _: OsdId) -> bool {
        true
    }
    fn is_up(&self, o: OsdId) -> bool {
        self.osds[o.0 as usize].up
    }
    fn up_from(&self, o: OsdId) -> Epoch {
        self.osds[o.0 as usize].up_from
    }
    fn up_thru(&self, o: OsdId) -> Epoch {
        self.osds[o.0 as usize].up_thru
    }
    fn lost_at(&self, o: OsdId) -> Epoch {
        self.osds[o.0 as usize].lost_at
    }
    fn cluster_full(&self) -> bool {
        false
    }
    fn removed_snaps(&self, _: PoolId) -> BTreeSet<SnapId> {
        self.removed.clone()
    }
}
