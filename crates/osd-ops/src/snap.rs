//! Snapshots beyond single ops: the index from snapshots to clones ([`SnapMapper`]) and the trimming of clones
//! ([`trim_object`]).

use crate::api::{LogEntry, ObjectContext, StatsDelta};
use objstore::{CollId, ObjectStore, Transaction};
use types::{EVersion, Errno, HObject, SnapId, SpgId, Utime};

/// Changes of a trim step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrimOutcome {
    /// Changes.
    pub txn: Transaction,
    /// Log entries: the clone's delete or modify, then the head's modify or delete.
    pub log: Vec<LogEntry>,
    /// Change of statistics.
    pub stats: StatsDelta,
    /// New head state for the cache; `exists` is false when the head (a whiteout) went with its last clone.
    pub head: Option<ObjectContext>,
    /// The clone is gone (else it stays with fewer snaps).
    pub clone_removed: bool,
}

/// The index from snapshots to the clones that hold them: omap of one object per PG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapMapper {
    /// The PG's collection.
    pub coll: CollId,
}

impl SnapMapper {
    /// The index of a PG.
    pub fn new(coll: CollId) -> Self {
        SnapMapper { coll }
    }
    /// The index object of a PG, inside the PG's own collection: its pool is negative, so listings of the pool's objects never meet it.
    pub fn object(_pg: SpgId) -> HObject {
        HObject::MIN
    }
    /// Up to `max` clones that hold `snap`.
    pub fn next_objects_to_trim(
        &self,
        _store: &dyn ObjectStore,
        _snap: SnapId,
        _max: usize,
    ) -> Result<Vec<HObject>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// Takes `snap` (and every snap that `removed` knows) off the clone `oid`; removes the clone when nothing is left.
/// `at_version` is the first log version to use.
///
/// Errors: `ENOENT` when head or clone is absent.
pub fn trim_object(
    _store: &dyn ObjectStore,
    _coll: CollId,
    _oid: &HObject,
    _removed: &dyn Fn(SnapId) -> bool,
    _at_version: EVersion,
    _now: Utime,
) -> Result<TrimOutcome, Errno> {
    Err(Errno::EOPNOTSUPP)
}

/// Index changes for a clone that arrives by recovery (`snaps`), or leaves (`snaps` empty).
pub fn update_mapping(
    _store: &dyn ObjectStore,
    _coll: CollId,
    _clone: &HObject,
    _snaps: &[SnapId],
    _txn: &mut Transaction,
) -> Result<(), Errno> {
    Err(Errno::EOPNOTSUPP)
}
