//! What goes into [`crate::Quorum`] and what comes out.

use crate::config::NodeId;
use bytes::Bytes;

/// A member as its peers know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Monitor's name, without `mon.`.
    pub name: String,
    /// Identity in the log.
    pub id: NodeId,
    /// Votes; a learner only follows until it has caught up.
    pub voter: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Some time passed. Wanted at [`crate::Quorum::deadline`], harmless at any other time.
    Tick,
    /// Put `data` into the log. Answered by [`Effect::Committed`] with this tag, [`Effect::Refused`] or [`Effect::Orphaned`].
    Propose {
        /// Given back.
        tag: u64,
        /// The entry.
        data: Bytes,
    },
    /// Bytes came from a peer.
    Message {
        /// The identity that the session belongs to (shown at its opening, by a peer whose `mon.` key was proven).
        from: NodeId,
        /// What [`Effect::Send`] held at the other end.
        data: Bytes,
    },
    /// The transaction of [`Persist`] with this token, and all before it, are on disk and synced.
    Persisted(u64),
    /// The state machine's own transaction for this index is on disk and synced.
    Applied(u64),
    /// A session with a peer is there.
    PeerUp(NodeId),
    /// A session with a peer ended; what was sent last may be lost.
    PeerDown(NodeId),
    /// The answer to [`Effect::NeedSnapshot`]: the whole state as of `index`.
    Snapshot {
        /// Last index that the state holds.
        index: u64,
        /// The state.
        data: Bytes,
    },
    /// Let a monitor in (or in again, after it lost its store). Repeats are harmless; the leader only.
    Add {
        /// Its identity.
        id: NodeId,
        /// Its name.
        name: String,
    },
    /// Remove a monitor by name; the leader only.
    Remove {
        /// Its name.
        name: String,
    },
}

/// One transaction of the shell. Everything in it becomes durable together, and transactions become durable in the
/// order in which they were given; then [`Event::Persisted`]. Order inside: `snapshot`, `delete_from`, `put`, `delete_to`, `meta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Given back by [`Event::Persisted`].
    pub token: u64,
    /// Replace the state machine's whole state and its applied index by this, and delete every entry.
    pub snapshot: Option<InstalledState>,
    /// Delete entries with this index and all above.
    pub delete_from: Option<u64>,
    /// Entries to store under their index.
    pub put: Vec<(u64, Bytes)>,
    /// Delete entries up to and including this index.
    pub delete_to: Option<u64>,
    /// The record beside the entries (term, vote, members, where the log starts).
    pub meta: Bytes,
}

/// A state that replaces what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledState {
    /// The new applied index.
    pub index: u64,
    /// As [`Event::Snapshot`] gave it at the leader.
    pub data: Bytes,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A proposal.
    Data(Bytes),
    /// From here on these are the members.
    Members(Vec<Member>),
    /// Nothing: the first entry of a leader.
    Empty,
}

/// One entry of the one history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Place; the shell stores it with the state that the entry leads to.
    pub index: u64,
    /// The leader's term.
    pub term: u64,
    /// What it holds.
    pub payload: Payload,
    /// The proposal's tag, at the member that proposed it.
    pub tag: Option<u64>,
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Only the leader can, and this member is not (or not yet) it.
    NotLeader,
    /// Larger than [`crate::ENTRY_BYTES_MAX`].
    TooLarge,
    /// Too many proposals wait for a quorum.
    Busy,
    /// A living member has this name under another identity.
    NameInUse,
    /// Without this member, those who answer now would be no majority of the rest.
    WouldStall,
    /// The last voter cannot be removed.
    LastVoter,
    /// No more members are possible, or the name or identity is not a valid one.
    BadMember,
}

/// What must be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write, sync, then report [`Event::Persisted`].
    Persist(Persist),
    /// Send to a peer; may be lost, late or doubled.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        data: Bytes,
    },
    /// Apply to the state machine now; report [`Event::Applied`] when that is durable.
    Committed(Commit),
    /// Replace the state machine's memory (the disk already holds it: [`Persist::snapshot`]).
    InstallSnapshot {
        /// The new applied index.
        index: u64,
        /// The state.
        data: Bytes,
        /// The members as of that index.
        members: Vec<Member>,
    },
    /// Someone needs the whole state: answer with [`Event::Snapshot`] of any applied index at or above this.
    NeedSnapshot {
        /// Smallest index that helps.
        at_least: u64,
    },
    /// This member leads and has applied all that was committed before: it may propose and tick.
    BecameLeader {
        /// Its term.
        term: u64,
    },
    /// This member does not lead (any more).
    BecameFollower {
        /// The term.
        term: u64,
        /// Who leads, when known.
        leader: Option<NodeId>,
    },
    /// The proposal is in no log and never will be.
    Refused {
        /// From the proposal.
        tag: u64,
        /// Why.
        why: Refusal,
        /// Where to go instead, when known.
        leader: Option<NodeId>,
    },
    /// This member stopped leading with these proposals open: each may or may not become part of the history.
    Orphaned {
        /// From the proposals.
        tags: Vec<u64>,
    },
    /// A change of members was not taken.
    MemberRefused {
        /// The monitor's name.
        name: String,
        /// Why.
        why: Refusal,
    },
    /// Something that needs a line in the log.
    Fault(crate::Fault),
}
