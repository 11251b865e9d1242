//! What goes into [`crate::MonCore`] and what comes out.

use crate::kv::Proposal;
use crate::wire::{Look, Seen};
use bytes::Bytes;
use messages::Message;
use std::collections::BTreeMap;
use types::logentry::LogEntry;
use types::{AddrVec, EntityName, MonState, Utime};

/// A session's number; unique over both listeners of the process.
pub type SessionId = u64;

/// Which listener a session came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The monitor's.
    Mon,
    /// The manager's.
    Mgr,
    /// Admin socket: everything allowed, no session.
    Local,
}

/// Who is at the other end of a session; all of it proven or seen, nothing claimed.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Which listener.
    pub role: Role,
    /// `client.admin`; empty on a v1 session before its login.
    pub entity: String,
    /// Global id.
    pub global_id: u64,
    /// Session name (`client.4123`, `osd.3`).
    pub name: EntityName,
    /// Addresses that the peer announced.
    pub addrs: AddrVec,
    /// Feature bits.
    pub features: u64,
    /// Caps for this service as granted.
    pub caps: String,
    /// Everything is allowed.
    pub allow_all: bool,
    /// The session is logged in (v1 sessions with the monitor log in by messages).
    pub authenticated: bool,
}

/// The quorum as this monitor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumInfo {
    /// What this monitor does.
    pub state: MonState,
    /// This monitor leads and holds all that was committed before: it may propose.
    pub leads: bool,
    /// The leader's name.
    pub leader: Option<String>,
    /// Names of those who are in the quorum; empty without a leader.
    pub quorum: Vec<String>,
    /// Grows with each election.
    pub election_epoch: u64,
    /// Since when this leader and this quorum are what they are.
    pub since: Utime,
}

impl QuorumInfo {
    /// A monitor that is alone and leads.
    pub fn alone(name: &str, election_epoch: u64, since: Utime) -> QuorumInfo {
        QuorumInfo {
            state: MonState::Leader,
            leads: true,
            leader: Some(name.to_owned()),
            quorum: vec![name.to_owned()],
            election_epoch,
            since,
        }
    }
}

/// What a monitor tells the leader about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberNews {
    /// Its name.
    pub name: String,
    /// What it knows of its host (`mon metadata`); empty when nothing changed.
    pub metadata: BTreeMap<String, String>,
    /// Where its manager's role listens.
    pub mgr_addrs: AddrVec,
    /// Lines for the cluster log.
    pub log: Vec<LogEntry>,
    /// It runs out of global ids: its life (a random number since its start), for which it wants more.
    pub wants_global_ids: Option<u64>,
    /// A principal that logged in there with its pending key.
    pub used_pending: Option<UsedPending>,
}

/// A principal (`osd.3`) and [`cephx::keyserver::EntityAuth::proof_of_use`] of the pending key that it logged in with.
pub type UsedPending = (String, [u8; 32]);

/// A monitor's store and the file system that it is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreState {
    /// Size of the file system; 0 when nothing is known.
    pub total_bytes: u64,
    /// What of it may still be used.
    pub avail_bytes: u64,
    /// Size of the store.
    pub store_bytes: u64,
    /// Longest write since the last report, one that goes on included, in microseconds.
    pub slowest_write_us: u64,
}

/// Why the quorum did not take a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproposed {
    /// For a reason (for the log) that passes: who wanted it asks again.
    NotNow(&'static str),
    /// It is larger than an entry of the log may be (in bytes), and always will be.
    TooLarge {
        /// The bound.
        max: usize,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum MonEvent {
    /// A session is ready.
    Opened(SessionId, Peer),
    /// A v1 session finished its login.
    LoggedIn(SessionId, Peer),
    /// A session ended.
    Closed(SessionId),
    /// A message came.
    Message(SessionId, Message),
    /// A proposal is in the one history (own or another leader's): it is applied.
    Committed(Proposal),
    /// What was proposed is not and never will be in the history.
    Refused {
        /// Version of the proposal.
        version: u64,
        /// Why.
        why: Unproposed,
    },
    /// The quorum changed, or our part in it.
    Quorum(QuorumInfo),
    /// Reads may (or may not) be answered from what is here.
    Readable(bool),
    /// The way to the leader broke: what it was asked may be lost.
    LeaderLost,
    /// Our whole state was replaced by the quorum's.
    Installed(BTreeMap<String, Bytes>),
    /// A monitor (we too) told the leader something about itself.
    News(MemberNews),
    /// A monitor that leads (by name) looks at us.
    Look(String, Look),
    /// A monitor (by name) answered our look.
    Seen(String, Seen),
    /// The shell looked at our store.
    Store(StoreState),
    /// The leader answered a message that was handed to it.
    Routed(SessionId, Message),
    /// A monitor outside of the quorum asks to be let in, and proved the key of `mon.`.
    JoinAsked {
        /// Its name.
        name: String,
        /// Its identity in the log.
        node: u64,
        /// Where it listens.
        addrs: AddrVec,
    },
    /// The members of the quorum, voters and learners, as committed.
    Members(Vec<String>),
    /// This monitor is no member any more.
    Expelled,
    /// The quorum did not take a change of its members.
    MemberRefused {
        /// The monitor.
        name: String,
        /// Why.
        why: String,
    },
    /// Some time passed; wanted every second or so.
    Tick,
    /// A command of the admin socket; answered by [`MonEffect::LocalReply`].
    LocalCommand {
        /// Given back with the answer.
        token: u64,
        /// JSON.
        command: String,
    },
    /// Someone ran out of global ids: the next batch must be reserved.
    NeedGlobalIds,
    /// A login used a pending key.
    PendingKeyUsed(UsedPending),
    /// An option of this process has another value now.
    OptionChanged {
        /// Its name.
        name: String,
        /// The value, but for what the central configuration says.
        value: String,
        /// Where it comes from, if it goes before the central configuration (see [`crate::MonConfig::layers`]).
        layers: BTreeMap<i32, String>,
    },
}

/// What must be done.
#[derive(Clone, Debug)]
pub enum MonEffect {
    /// Send on a session.
    Send(SessionId, Message),
    /// Make durable, then report [`MonEvent::Committed`]. One at a time.
    Propose(Proposal),
    /// End a session.
    Close(SessionId),
    /// Hand a session's message to the leader, which answers by [`MonEvent::Routed`].
    Forward(SessionId, Peer, Message),
    /// Tell the leader.
    TellLeader(MemberNews),
    /// Look at this member.
    Look(String, Look),
    /// Answer this monitor's look.
    Seen(String, Seen),
    /// Let this monitor into the quorum.
    Admit {
        /// Its name.
        name: String,
        /// Its identity in the log.
        node: u64,
    },
    /// Remove this monitor from the quorum.
    Expel(String),
    /// The monitor map changed: addresses and ranks.
    MonmapChanged,
    /// The central configuration says this to us now.
    Central(BTreeMap<String, String>),
    /// A line for the log file.
    Log(LogLevel, String),
    /// The answer of a local command.
    LocalReply {
        /// From the command.
        token: u64,
        /// Return code.
        ret: i32,
        /// Status text.
        outs: String,
        /// Output.
        data: Bytes,
    },
    /// Entities, keys or rotating keys changed: whoever caches them looks again.
    AuthChanged,
    /// A `tell` that the process itself answers, on this session (its asker has been found to be allowed to).
    Tell {
        /// The session.
        session: SessionId,
        /// The request's transaction.
        tid: u64,
        /// JSON.
        command: String,
    },
    /// Take part in the quorum, or be silent to the other monitors.
    TakePart(bool),
    /// The feature bits that peers of the monitor must have changed (they follow from the OSDMap).
    RequireFeatures(u64),
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Needs attention.
    Error,
    /// Worth knowing.
    Info,
    /// For developers.
    Debug,
}
