//! What happens to an OSD ([`OsdEvent`]) and what it wants done ([`OsdEffect`]).
//!
//! The shell (program `osd`, or `sim`) owns sockets, tickets, the store's device and the clock; the core owns every
//! decision.

use bytes::Bytes;
use messages::Message;
use objstore::CommitToken;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{AddrVec, EntityAddr, EntityName, OsdId};

pub use pg::SessionId;

/// The networks that an OSD serves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Net {
    /// Clients, monitors, managers.
    Public,
    /// Other OSDs: replication and peering.
    Cluster,
    /// Heartbeats, cluster side.
    HbBack,
    /// Heartbeats, public side.
    HbFront,
}

/// Who is at the other end of a session, proven by the shell's handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Type and number.
    pub name: EntityName,
    /// Entity as keyrings have it.
    pub entity: String,
    /// Its address (blocklist, watchers).
    pub addr: EntityAddr,
    /// Feature bits that both sides have.
    pub features: u64,
    /// The ticket allows everything.
    pub allow_all: bool,
    /// Capability text for OSDs.
    pub caps: String,
}

/// What happens to an OSD.
#[derive(Debug)]
pub enum OsdEvent {
    /// A session is ready.
    Opened {
        /// Its number, unique in this process.
        session: SessionId,
        /// Where it came in.
        net: Net,
        /// Who it is.
        peer: Box<Peer>,
    },
    /// A message on a ready session.
    Message {
        /// The session.
        session: SessionId,
        /// Where it came in.
        net: Net,
        /// The message; `src` is proven.
        msg: Message,
    },
    /// A session ended, or its peer lost its side.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// The session with a monitor is ready (again).
    MonOpened,
    /// A monitor speaks.
    MonMessage(Message),
    /// The session with the monitor broke; the shell hunts.
    MonClosed,
    /// The session with the active manager is ready.
    MgrOpened,
    /// The manager speaks.
    MgrMessage(Message),
    /// The session with the manager broke.
    MgrClosed,
    /// The answer to [`OsdEffect::Rebind`]: the new address on the cluster network.
    Rebound(AddrVec),
    /// Nobody listens at another OSD's heartbeat address.
    Refused {
        /// Which OSD.
        osd: OsdId,
    },
    /// Transactions are durable, in queue order: all that one sync of the journal made so.
    Committed(Vec<CommitToken>),
    /// The store's device failed.
    StoreFailed(String),
    /// Time passed; about every 100 ms while there is work, at least once a second.
    Tick,
    /// A command of the admin socket.
    Command {
        /// Names the answer.
        id: u64,
        /// The JSON of the command.
        cmd: Box<serde_json::Value>,
    },
    /// The process's options that are not at their defaults, as the manager wants them told (`config show`).
    Configured(Bytes),
    /// SIGTERM: say goodbye to the monitors, then stop.
    Shutdown,
}

/// What an OSD wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum OsdEffect {
    /// Send on a session; dropped when it is gone.
    Send {
        /// The session.
        session: SessionId,
        /// The message.
        msg: Message,
    },
    /// Send to another OSD, opening a session when there is none.
    SendOsd {
        /// Which.
        osd: OsdId,
        /// On which network.
        net: Net,
        /// Its address there.
        addrs: AddrVec,
        /// The message.
        msg: Message,
    },
    /// A request will not be answered: what was kept for it (its share of the throttle) may go.
    Dropped {
        /// The session.
        session: SessionId,
        /// The request.
        tid: u64,
    },
    /// The map says that these addresses are dead: end sessions with them.
    MarkDown {
        /// On which network.
        net: Net,
        /// The addresses.
        addrs: AddrVec,
    },
    /// The map took us down while we live: end every session on the cluster network and take a new address there (another
    /// nonce will do), then report it with [`OsdEvent::Rebound`]. Peers drop sessions with the old address whenever they get
    /// to that map, so what is said on one that crosses this moment may be lost.
    Rebind,
    /// Send to the monitor; dropped when there is no session (the core repeats what matters on `MonOpened`).
    SendMon(Message),
    /// Keep a session with the active manager at this address; `None` ends it.
    ConnectMgr(Option<AddrVec>),
    /// Send to the manager.
    SendMgr(Message),
    /// End a session.
    Close {
        /// The session.
        session: SessionId,
    },
    /// Peers must have these feature bits from now on.
    RequireFeatures(u64),
    /// Call `Tick` again after at most this long.
    WakeIn(Duration),
    /// Answer to [`OsdEvent::Command`].
    CommandReply {
        /// The command.
        id: u64,
        /// 0 or a negated errno.
        code: i32,
        /// Text for the user.
        outs: String,
        /// Output.
        outbl: Bytes,
    },
    /// The monitors' configuration for this daemon.
    Config(BTreeMap<String, String>),
    /// A run-time override that was taken over; the process keeps account of it.
    Overridden {
        /// Option.
        name: String,
        /// Value.
        value: String,
    },
    /// A `tell` that the process itself answers (its asker may).
    Tell {
        /// The session.
        session: SessionId,
        /// The request's transaction.
        tid: u64,
        /// JSON.
        command: String,
    },
    /// A line for the daemon's log.
    Log {
        /// How important.
        level: LogLevel,
        /// The text.
        text: String,
    },
    /// The OSD must end.
    Stop {
        /// Why.
        reason: String,
        /// It is an error.
        failed: bool,
    },
}

/// Log levels that the core uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Data or service is at risk.
    Error,
    /// Something is wrong, service goes on.
    Warn,
    /// A change of state.
    Info,
    /// For those who look for a fault.
    Debug,
}
