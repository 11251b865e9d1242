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
//! In the redb store of the monitor, beside the keys of the state machine:
//!
//! | key | value | written by |
//! |---|---|---|
//! | `quorum/meta` | [`Persist::meta`] | every [`Effect::Persist`] |
//! | `quorum/log/<index, 8 bytes big-endian>` | one entry of [`Persist::put`] | `put`, `delete_from`, `delete_to` |
//! | `quorum/applied` | index of the last entry in the state | **the same transaction that applies the entry's batch** |
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
//! # How it will be wired (issue 3, point 1)
//!
//! *Start.* `loligo mon --mkfs` draws a [`NodeId`]. The **seed** (the only monitor of the monmap, or the first of `mon_initial_members`)
//! stores [`seed_meta`] with itself as the only member, and applied index 1: its mkfs keys are the state at index 1. Every other one stores
//! [`joiner_meta`] and applied 0; its keys will be replaced. A seed whose store was lost must not found a second cluster: with more
//! than one name in the monmap it starts only when *every* other initial member has answered a hello with "no quorum either";
//! otherwise it starts as a joiner.
//!
//! *Messages between monitors.* Private types on ordinary msgr sessions (entity `mon.`, cephx with the `mon.` key, secure mode as
//! configured): `0x4100` hello {name, [`NodeId`], fsid, belongs to a quorum?, leader's name}, the first message on a session and the only source of
//! [`Event::Message`]'s `from`; `0x4101` the envelope, opaque; `0x4102` a forwarded client message {session token, peer's entity, caps,
//! global id, features, message} and `0x4103` its reply {session token, messages}, as stock's `MForward` and `MRoute`. A snapshot is one envelope
//! of at most [`SNAPSHOT_BYTES_MAX`] and travels in pieces as `0x4104` {id, offset, total, bytes}, which the shell puts together before it
//! reports one [`Event::Message`]; it must not delay heartbeats, so pieces interleave with other messages.
//! Lost sessions are reported by [`Event::PeerDown`]; messages are not repeated by the shell.
//!
//! *Joining.* A joiner dials every address of `mon_host` or its monmap, and after each hello asks for the leader with `0x4105`
//! {name, [`NodeId`], addresses} once a second until it is a voter. The leader's shell authorizes (the name is in the monmap, or the operator said
//! `mon add`), puts name and addresses into the monmap by an ordinary proposal, and gives [`Event::Add`]. `mon rm` gives
//! [`Event::Remove`] first and changes the monmap when [`Payload::Members`] without it is committed. The monitor that was removed keeps its process
//! until the others have a leader.
//!
//! *Clients.* Reads and subscriptions are answered by any member while `readable(now)`; otherwise they wait for the next tick or commit. What
//! writes goes to the leader by `0x4102`, after the receiving member has authorized it; the leader runs it as a session of its own, marked with the
//! member it came through, and trusts the entity and caps in it because the sender proved the `mon.` key. When the leader changes, forwarded
//! requests that have no reply are sent to the new one, as stock does.
//!
//! *`mon-core`.* Today [`Propose`](Event::Propose) and `Committed(version)` are one member's. What must change there:
//! 1. `MonEvent::Committed(version)` becomes `Committed { version, batch, own: bool }`: members apply batches that they did not
//!    propose. `own` releases the replies that wait; a foreign batch while one is in flight cannot happen to a leader (it proposes only
//!    after [`Effect::BecameLeader`], when all before is applied).
//! 2. `MonEvent::Lead(term)` and `MonEvent::Follow`: only a leader ticks its services (failure handling, beacons, auth rotation, log
//!    trimming), stages and proposes. On `Follow` staged changes, the proposal in flight and what waits for it are dropped, `deferred` is
//!    forwarded, and the services are loaded again from the committed keys, because staging has run ahead of them.
//! 3. `MonEvent::Installed(keys)`: as `MonCore::new`, keeping sessions and subscriptions; then everything is published.
//! 4. Sessions stay with the member that holds them; `pgmap` and statistics are the leader's, so PG reports, beacons and `MgrMap` go to it (the mgr role is
//!    active where the leader is: `MgrMap.active` is proposed by each new leader).
//! 5. Global ids are reserved by the leader in batches per member; `mon_status`, `quorum_status`, `mon stat` and `ceph -s` take their
//!    quorum from [`QuorumView`].
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
pub use view::{MonState, QuorumView};
