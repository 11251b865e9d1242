//! What goes into [`crate::MonCore`] and what comes out.

use crate::kv::Proposal;
use bytes::Bytes;
use messages::Message;
use types::{AddrVec, EntityName};

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
    /// A proposal is durable.
    Committed(u64),
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
    /// The addresses at which the manager's listener is reachable.
    MgrAddrs(AddrVec),
    /// What this monitor knows of its host (`mon metadata`).
    Metadata(Vec<(String, String)>),
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
