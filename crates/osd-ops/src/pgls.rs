//! Ops on a PG instead of an object: listing (`PrimaryLogPG::do_pg_op`).

use crate::api::{Limits, OpResult};
use bytes::Bytes;
use messages::OsdOp;
use objstore::{CollId, ObjectStore};
use types::{Errno, HObject, SnapId};

/// What PG-level ops need.
pub struct PgOpEnv<'a> {
    /// Local store.
    pub store: &'a dyn ObjectStore,
    /// The PG's collection.
    pub coll: CollId,
    /// First object of the PG ([`HObject`] with the pool and the smallest hash); where a listing starts.
    pub pg_begin: HObject,
    /// First object behind the PG: the cursor that a finished listing returns.
    pub pg_end: HObject,
    /// Namespace of the message's locator; the one byte 0x01 means all.
    pub nspace: Bytes,
    /// Snapshot to list (HEAD or a snap id).
    pub snapid: SnapId,
    /// Limits.
    pub limits: &'a Limits,
    /// First object `>=` the given one that the log knows but the store lacks (recovery), or `None`.
    pub missing_from: &'a dyn Fn(&HObject) -> Option<HObject>,
    /// Objects in the store that are to be deleted by recovery: not listed.
    pub deleted: &'a dyn Fn(&HObject) -> bool,
    /// What the last scrub of this PG found: its interval and the encoded entries; `None` before the first.
    pub scrub: Option<(u32, &'a [Bytes])>,
}

/// Runs the PG-level ops of a message. Returns the message's result (1 at the end of a listing) and the ops' outputs.
pub fn execute_pg_ops(_env: &PgOpEnv<'_>, ops: &[OsdOp]) -> (i32, Vec<OpResult>) {
    (Errno::EOPNOTSUPP.negated(), vec![OpResult::default(); ops.len()])
}
