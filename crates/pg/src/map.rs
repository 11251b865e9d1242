//! [`ClusterMap`]: what a PG asks of an OSDMap, so that the PG core can be driven by the real map or by a test's.
//!
//! Mirrors the questions that Ceph's `PeeringState` and `PrimaryLogPG` put to `OSDMap`; nothing here decides.

use std::collections::BTreeSet;
use types::{Epoch, OsdId, PgId, PoolId, SnapId};

/// Where a PG belongs under one map (`pg_to_up_acting_osds`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placement {
    /// The OSDs that CRUSH (and upmap) choose, in order.
    pub up: Vec<OsdId>,
    /// First of `up`, after primary affinity.
    pub up_primary: Option<OsdId>,
    /// The OSDs that serve: `up` unless a pg_temp says otherwise.
    pub acting: Vec<OsdId>,
    /// Who leads.
    pub acting_primary: Option<OsdId>,
}

/// The part of `pg_pool_t` that a PG needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolView {
    /// Copies wanted.
    pub size: u32,
    /// Copies needed to serve.
    pub min_size: u32,
    /// Current number of PGs.
    pub pg_num: u32,
    /// The pool is over its quota or marked full: writes get ENOSPC or wait.
    pub full: bool,
    /// The pool's quota is what made it full (`FLAG_FULL_QUOTA`): EDQUOT instead of ENOSPC.
    pub full_quota: bool,
    /// Raw `pg_pool_t::flags`.
    pub flags: u64,
    /// Newest snapshot id handed out.
    pub snap_seq: SnapId,
    /// Pool snapshots, descending (empty with self-managed snaps): the snap context of ops without one.
    pub pool_snaps: Vec<SnapId>,
    /// EC or other pools that this crate does not serve have `false`.
    pub replicated: bool,
    /// `last_force_op_resend` (newest form): ops from older maps are resent by clients.
    pub last_force_op_resend: Epoch,
}

/// One OSDMap, as a PG sees it.
pub trait ClusterMap {
    /// Its epoch.
    fn epoch(&self) -> Epoch;
    /// The pool, while it exists.
    fn pool(&self, pool: PoolId) -> Option<PoolView>;
    /// Up and acting sets of a PG; empty when the pool is gone. Holes are left out (replicated pools).
    fn placement(&self, pg: PgId) -> Placement;
    /// The OSD exists (was not destroyed or removed).
    fn exists(&self, osd: OsdId) -> bool;
    /// The OSD is up.
    fn is_up(&self, osd: OsdId) -> bool;
    /// Epoch at which it came up last.
    fn up_from(&self, osd: OsdId) -> Epoch;
    /// Last epoch in which it is known to have been alive by its own word.
    fn up_thru(&self, osd: OsdId) -> Epoch;
    /// Newest epoch in which it was known to be dead, and not only silent (`osd_xinfo_t::dead_epoch`).
    fn dead_epoch(&self, _osd: OsdId) -> Epoch {
        Epoch(0)
    }
    /// Epoch in which an operator declared its data lost (0: never).
    fn lost_at(&self, osd: OsdId) -> Epoch;
    /// The cluster-wide FULL flag.
    fn cluster_full(&self) -> bool;
    /// Snapshots of a pool to be trimmed (`removed_snaps_queue`).
    fn removed_snaps(&self, pool: PoolId) -> BTreeSet<SnapId>;
    /// Snapshots that this very map newly declares purged (`new_purged_snaps`): they may be forgotten.
    fn new_purged_snaps(&self, _pool: PoolId) -> BTreeSet<SnapId> {
        BTreeSet::new()
    }
    /// `norecover` flag.
    fn no_recover(&self) -> bool {
        false
    }
    /// `nobackfill` flag.
    fn no_backfill(&self) -> bool {
        false
    }
    /// `nosnaptrim` flag.
    fn no_snaptrim(&self) -> bool {
        false
    }
    /// `pause`d reads or writes are held by clients; here only for completeness.
    fn paused_writes(&self) -> bool {
        false
    }
}
