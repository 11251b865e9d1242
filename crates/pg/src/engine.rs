//! [`OpEngine`]: how a PG has client ops interpreted, without knowing what they mean.
//!
//! The PG orders ops, replicates their transactions, remembers their answers; the engine (crate `osd-ops` in
//! production, see [`crate::ops`]) turns one op into a transaction and answers.

use crate::api::{ClientOp, PgEffect, SessionId};
use crate::info::PgCounters;
use crate::log::LogEntry;
use crate::missing::Missing;
use bytes::Bytes;
use objstore::{CollId, ObjectStore, Transaction};
use osd_ops::{CopyRequest, CopyResult};
use std::collections::BTreeSet;
use types::{EVersion, Epoch, Errno, HObject, SnapId, SpgId, Utime};

/// How an op must be ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpClass {
    /// Needs a transaction, full checks, a log entry.
    pub writes: bool,
    /// Reads the object.
    pub reads: bool,
    /// Names no object: lists the PG.
    pub pg_op: bool,
    /// Frees space (only deletes): allowed when full.
    pub frees_space: bool,
}

/// What the engine may look at while it interprets an op.
pub struct ExecCtx<'a> {
    /// The PG.
    pub pgid: SpgId,
    /// Its collection.
    pub coll: CollId,
    /// The store.
    pub store: &'a dyn ObjectStore,
    /// The time.
    pub now: Utime,
    /// Map epoch.
    pub epoch: Epoch,
    /// The version that the op's first log entry will have; further ones count up.
    pub at_version: EVersion,
    /// The PG's newest user version.
    pub last_user_version: u64,
    /// Objects that are not here (yet): listings name them all the same.
    pub missing: &'a Missing,
    /// Snapshots that the map says are removed: not cloned for.
    pub removed_snaps: &'a BTreeSet<SnapId>,
    /// The pool's own snapshots, descending (for ops without a snap context).
    pub pool_snaps: &'a [SnapId],
    /// The pool's snap_seq.
    pub pool_snap_seq: SnapId,
    /// Number of PGs of the pool (listing cursors).
    pub pg_num: u32,
    /// Random bits.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Largest object.
    pub max_object_bytes: u64,
    /// Why growth is refused, if it is: ENOSPC or EDQUOT.
    pub full: Option<Errno>,
    /// Contents of other objects that an earlier execution of the op asked for.
    pub copies: Vec<CopyResult>,
}

/// What an op came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// 0 or more, or a negated errno.
    pub result: i32,
    /// Per-op results and outputs.
    pub outputs: Vec<(i32, Bytes)>,
    /// User version for the reply (of the object that was read, or the new one).
    pub user_version: u64,
    /// Object changes. Empty with an error.
    pub txn: Transaction,
    /// One entry per object changed, versions ascending from `at_version`; reqid, return code are filled in by the PG.
    pub entries: Vec<LogEntry>,
    /// Counters to add.
    pub delta: PgCounters,
    /// To be passed to [`OpEngine::committed`] when all copies have the change (watches, notifies). For an op without a
    /// transaction: at once.
    pub after_commit: Option<u64>,
    /// The local copy of this object is damaged: repair it, then try again.
    pub corrupt: Option<HObject>,
    /// A write that failed or changed nothing: its answer is to be remembered in the log all the same, or a resent one
    /// could do what the first did not.
    pub log_answer: bool,
    /// Contents to fetch before the op can run; when not empty nothing else here is valid.
    pub copy_from: Vec<CopyRequest>,
    /// The cluster is full and the client can wait for the next map: no answer.
    pub drop_silently: bool,
}

/// Turns ops into transactions. One per PG: it owns the PG's watches.
pub trait OpEngine {
    /// How to order an op, or the errno that answers it. Looks at the codes and class method flags only.
    fn classify(&self, op: &ClientOp) -> Result<OpClass, Errno>;
    /// Interprets an op. Must not change anything but its own (watch) state.
    fn execute(&mut self, op: &ClientOp, ctx: &mut ExecCtx<'_>) -> Outcome;
    /// The change of an [`Outcome`] with this `after_commit` is durable everywhere.
    fn committed(&mut self, after_commit: u64, now: Utime, out: &mut Vec<PgEffect>);
    /// All changes that were not committed are dropped (a new interval).
    fn dropped_all(&mut self);
    /// The PG became active as primary (true), or is so no more (false): load or drop watch state.
    fn set_active(&mut self, active: bool, ctx: &mut ExecCtx<'_>);
    /// A session ended.
    fn session_reset(&mut self, session: SessionId, now: Utime);
    /// Time passes: watch and notify timeouts. Objects whose watches expired are returned for
    /// [`OpEngine::expire_watches`].
    fn tick(&mut self, now: Utime, out: &mut Vec<PgEffect>) -> Vec<HObject>;
    /// Takes expired watches off an object; `None` when there is nothing to do.
    fn expire_watches(&mut self, oid: &HObject, ctx: &mut ExecCtx<'_>) -> Option<Outcome>;
    /// Version of a stored object, from its attributes (`None`: absent or unreadable).
    fn object_version(&self, store: &dyn ObjectStore, coll: CollId, oid: &HObject) -> Option<EVersion>;
    /// Further changes when a recovered object replaces what is there, or it is removed (index entries of clones):
    /// `snaps` are those that the clone is held by, empty when it goes.
    fn recovered(
        &self,
        store: &dyn ObjectStore,
        coll: CollId,
        oid: &HObject,
        snaps: &[SnapId],
        txn: &mut Transaction,
    );
    /// The snapshots that hold a stored clone, for [`OpEngine::recovered`] at another copy.
    fn clone_snaps(&self, store: &dyn ObjectStore, coll: CollId, oid: &HObject) -> Vec<SnapId>;
    /// Trims one clone for a removed snapshot; `None` when there is nothing to do for it.
    fn trim_snap(&mut self, clone: &HObject, ctx: &mut ExecCtx<'_>) -> Option<Outcome>;
    /// Clones that mention `snap`, a few at a time.
    fn clones_of(&self, snap: SnapId, max: usize, store: &dyn ObjectStore, coll: CollId) -> Vec<HObject>;
}
