//! One placement group of a replicated pool as a pure state machine: peering, log, replication, recovery, ordering.
//!
//! Ring 2. [`Pg::handle`] takes a [`PgEvent`] and borrows what it needs in a [`PgCtx`]; what must happen outside comes
//! out as [`PgEffect`]s. The semantics are Ceph's (`PeeringState`, `PGLog`, `PrimaryLogPG`), the OSD-to-OSD messages are ours.
//!
//! Invariants:
//! - A client write is answered only when every member of the acting set has it durably; a read is answered only when
//!   every write that it saw is so, too.
//! - A copy speaks of its log to others only when what it says is durable.
//! - A primary answers clients only while all other acting members have promised to wait for it, and not before every older
//!   primary has stopped ([`lease`]).
//! - At most one interval is live: what belongs to an older one is dropped, clients send again.
//!
//! Deliberately absent: sockets, maps as bytes, caps (osd-core), what ops mean (osd-ops), scrub, EC pools.

/// True when the named bug is planted (tests only; nothing in any other build).
macro_rules! planted {
    ($cfg:expr, $bug:ident) => {{
        #[cfg(feature = "planted")]
        {
            $cfg.planted == Some(crate::api::Planted::$bug)
        }
        #[cfg(not(feature = "planted"))]
        {
            false
        }
    }};
}

pub mod absent;
mod acks;
pub mod api;
mod backfill;
pub mod engine;
pub mod fuzz;
pub mod info;
pub mod lease;
pub mod log;
pub mod map;
pub mod merge;
pub mod missing;
pub mod msg;
pub mod ops;
mod peering;
mod persist;
mod pg;
mod primary;
mod recovery;
mod replica;
mod report;
mod serve;
pub mod status;

pub use acks::{MSG_LOLIGO_ACKS, PgAck, PgAcks};
pub use api::*;
pub use engine::{ExecCtx, OpClass, OpEngine, Outcome};
pub use info::{PastInterval, PgCounters, PgHistory, PgInfo};
pub use lease::Leases;
pub use log::{EntryKind, LogEntry, PgLog};
pub use map::{ClusterMap, Placement, PoolView};
pub use msg::{MSG_LOLIGO_PG, PgMessage, PgMsg};
pub use ops::OsdOpsEngine;
pub use persist::{meta_object, stored_epoch, stored_pgs};
pub use pg::{Pg, PgError, PgInit, PgState};
pub use status::{PgStatus, state};
