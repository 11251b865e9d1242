//! The monitors' quorum: Raft as a pure machine.

mod codec;
mod config;
mod disk;
mod event;
mod guard;
mod lease;
mod log;
mod machine;
mod members;
mod view;

pub use codec::{
    ENTRY_BYTES_MAX, Echo, Envelope, MEMBERS_MAX, NAME_BYTES_MAX, SNAPSHOT_BYTES_MAX, decode_entry,
    decode_envelope,
};
#[cfg(any(test, feature = "planted"))]
pub use config::Planted;
pub use config::{Config, Limits, Moment, NodeId, Timing, TimingError};
pub use disk::{LoadError, Loaded, joiner_meta, meta_id, seed_meta};
pub use event::{Commit, Effect, Event, InstalledState, Member, Payload, Persist, Refusal};
pub use guard::Fault;
pub use machine::Quorum;
pub use view::{MonState, QuorumView};
