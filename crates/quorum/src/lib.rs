//! The monitors' quorum: one replicated log among 1, 3 or 5 monitors, and leases under which each of them may answer reads.
//!
//! A pure machine ([`Quorum`]): `handle(now, event)` gives effects. It wraps the `raft` crate and adds what a monitor needs round it:
//! an encoding of its own ([`decode_envelope`]), checks that keep a peer's nonsense from the library, promises and leases on
//! clocks that are never compared, membership one change at a time, and stock's view of it all ([`QuorumView`]).
//!
//! What the log holds is opaque: `mon-core`'s encoded `Batch` with its version in front. Deliberately absent: sockets, disks, ranks,
//! addresses, authorization, forwarding of clients' requests, and what stock's Paxos has and Raft does not need (collect,
//! accept timeouts, `paxos` trimming by version).
//!
//! # Guarantees
//!
//! 1. *One history.* Every member gives out the same entries in the same order ([`Effect::Committed`]), each once per life.
//! 2. *Nothing acknowledged is lost* while a majority of the voters' disks survive. A message that promises something
//!    durable leaves after [`Event::Persisted`].
//! 3. *A tagged [`Effect::Committed`] is the acknowledgement*: the proposal is in the history, once. [`Effect::Refused`]: it is not and never
//!    will be. [`Effect::Orphaned`]: unknown, the member lost its office meanwhile; the client asks again.
//! 4. *Reads are never stale.* While [`Quorum::readable`] says yes, the state machine holds everything that any member has given out by
//!    then. See `lease.rs` for the argument.
//! 5. *It goes on* when a majority can talk. With the default timing, in simulation: writes pause for a lease (0.85 s) when a
//!    follower dies, for one and a half seconds (two at most) when the leader does.
//!
//! # Why `NodeId`s are random
//!
//! A member is known by a random number that is drawn with its store ([`joiner_meta`], [`seed_meta`]). Ranks shift when a monitor is
//! removed; names come back after a wipe, when the monitor has forgotten its votes and what it stored. A wiped monitor comes as a
//! stranger; the leader removes its former identity (which it must not hear from any more) and lets the new one in. If someone restores
//! an old copy of a store under its old identity, [`Fault::LogLost`] tells, as soon as the leader counts on an entry that is
//! missing; the member takes no part from then on.
//!
//! # How a shell keeps it
//!
//! A meta record ([`Persist::meta`]), one record per entry under its index ([`Persist::put`], `delete_from`, `delete_to`), and the index of the last entry
//! in the state, in **the same transaction that applies the entry's batch**. (The monitor's: `docs/format/mon-store.md`.)
//!
//! Contract:
//! - One [`Effect::Persist`] is one transaction; it, and the transactions that apply entries, become durable in the order of the
//!   effects. Several may share one sync. Then [`Event::Persisted`] with the last token, and [`Event::Applied`] with the last index.
//! - The applied index is never durable without the state, nor the state without it: after a crash, entries above it are given
//!   out again, and must not be applied twice.
//! - A [`Persist::snapshot`] replaces all keys of the state machine in that same transaction; the keys above stay.
//! - [`Effect::Committed`] is applied in memory before anything else is asked of the machine: `readable` counts on it.
//! - After a failed write or sync the process ends.
//!
//! How the monitor keeps it, speaks to the others, lets joiners in and forwards to the leader: crate `mon` (`ensemble.rs`, `peers.rs`, `store.rs`), `mon-core`
//! (`leader.rs`, `wire.rs`), and `docs/decisions/2026-11-28-monitors.md`.
//!
//! # Tests
//!
//! `tests/sim.rs` (properties in `tests/sim/check.rs`): seeds with every fault, five planted bugs that they find, failover times.
//! `tests/member.rs`: single steps. `tests/hostile.rs`: a peer that says anything.

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
pub use view::QuorumView;
