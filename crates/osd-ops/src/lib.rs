//! What the ops of an `MOSDOp` do to an object (`PrimaryLogPG` of Ceph, its op half).
//!
//! Ring 2, pure: op vector + object state in, transaction + replies + effects out. Nothing here waits, sends or stores;
//! the PG does.
//!
//! Invariants:
//! - A vector runs as a whole or not at all; an op sees what the ops before it did.
//! - Whether a class call reads or writes comes from the class table, not from the client's flags.
//! - The object's info and snap set in the store always equal those of the last [`ObjectContext`] handed out.
//!
//! Deliberately absent: cache tiering, manifests (dedup), hit sets, tmap beyond "no such key", EC pools.

pub mod api;
pub mod cache;
pub mod copy;
pub mod fuzz;
pub mod info;
pub mod interval;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod watch;

mod classify;
mod cls_ctx;
mod context;
mod exec;
mod execute;
mod ops;
pub mod pgls;
pub mod snap;
mod work;

pub use api::*;
pub use classify::{check_names, classify};
pub use context::{filter_snapc, load_object_context, resolve_snap};
pub use exec::rollback_target;
pub use execute::{execute, needs_copy, remove_watches};
pub use info::{ObjectInfo, SnapSet, WatchInfo, WatchKey};
pub use messages::{OpCode, OpFlags, OsdFlags, OsdOp};

#[cfg(test)]
mod tests;
