//! Runs an op vector: [`execute`].

use crate::api::{ObjectContext, OpClass, OpEnv, OpOutcome, OpResult};
use crate::info::WatchKey;
use messages::OsdOp;
use types::Errno;

/// Runs the vector `ops` of one message on the object of `obc` (already resolved for the snapshot it reads).
pub fn execute(_env: &mut OpEnv<'_>, _obc: &ObjectContext, _class: &OpClass, ops: &[OsdOp]) -> OpOutcome {
    OpOutcome {
        result: Errno::EOPNOTSUPP.negated(),
        ops: vec![OpResult::default(); ops.len()],
        ..OpOutcome::default()
    }
}

/// Removes expired watches from an object's info: a write without a client. `reqid` and `addr` of `env` are the OSD's own.
pub fn remove_watches(_env: &mut OpEnv<'_>, _obc: &ObjectContext, _keys: &[WatchKey]) -> OpOutcome {
    OpOutcome { result: Errno::EOPNOTSUPP.negated(), ..OpOutcome::default() }
}
