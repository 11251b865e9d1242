//! [`Session`] and [`Policy`]: what outlives a transport. Sequence numbers, cookies, messages not yet acknowledged.
//!
//! Mirrors the session half of `AsyncConnection`/`ProtocolV2` and `Messenger::Policy`. Invariants: `queue` holds what must still be
//! sent, requeued messages (with their old number) before new ones (number 0); `sent` holds, in order, what was
//! written on a stateful session and is not acknowledged; a message is delivered only if its number is above `in_seq`.

use crate::auth::{AuthedPeer, SessionKeys};
use core::net::SocketAddr;
use messages::Message;
use std::collections::VecDeque;
use std::time::Duration;
use types::{AddrVec, EntityAddr, EntityName, Utime};

/// How sessions with one type of peer behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A broken transport ends the session: nothing is resent, the owner hears of a reset.
    pub lossy: bool,
    /// We only accept; the peer reconnects, we never do.
    pub server: bool,
    /// Do not reconnect while there is nothing to send.
    pub standby: bool,
    /// Find out whether the peer lost the session's state.
    pub resetcheck: bool,
    /// A lossy session that we accepted is known by its peer's address, and a new one from there ends it (OSD). Without it a client
    /// may have several at once: `ceph tell mon.X` talks to the monitor that it already has a session with on a second one.
    pub registered: bool,
    /// Messages received under this policy count against the messenger's throttle.
    pub throttled: bool,
    /// Feature bits that the peer must have, in addition to the messenger's.
    pub features_required: u64,
}

impl Policy {
    const fn new(lossy: bool, server: bool, standby: bool, resetcheck: bool) -> Policy {
        Policy {
            lossy,
            server,
            standby,
            resetcheck,
            registered: !lossy,
            throttled: false,
            features_required: 0,
        }
    }
    /// We connect; a break ends the session (client to anything, OSD to monitor, heartbeats).
    pub const fn lossy_client() -> Policy {
        Policy::new(true, false, false, false)
    }
    /// We connect; a break is healed by reconnecting to the same session.
    pub const fn lossless_client() -> Policy {
        Policy::new(false, false, false, true)
    }
    /// Both may connect; the session outlives its transports (OSD to OSD).
    pub const fn lossless_peer() -> Policy {
        Policy::new(false, false, true, false)
    }
    /// The same with reset detection (monitor to monitor).
    pub const fn lossless_peer_reuse() -> Policy {
        Policy::new(false, false, true, true)
    }
    /// We accept; a break ends the session, and a peer may have several (monitor and mgr for all of theirs).
    pub const fn stateless_server() -> Policy {
        Policy::new(true, true, false, false)
    }
    /// We accept; a break ends the session, and so does a new one of the same peer (OSD for its clients).
    pub const fn stateless_registered_server() -> Policy {
        Policy { registered: true, ..Policy::stateless_server() }
    }
    /// We accept; the peer may come back to the session (MDS to client).
    pub const fn stateful_server() -> Policy {
        Policy::new(false, true, true, true)
    }
    /// The same policy, counted against the messenger's throttle.
    pub const fn with_throttle(mut self) -> Policy {
        self.throttled = true;
        self
    }
    /// The same policy with required features.
    pub const fn with_required(mut self, bits: u64) -> Policy {
        self.features_required = bits;
        self
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A transport of ours is being opened.
    Connecting,
    /// Messages flow.
    Ready,
    /// No transport and none wanted before there is something to send, or the peer comes.
    Standby,
    /// No transport; the next attempt is at `next_attempt`.
    Backoff,
}

/// One session with a peer.
#[derive(Debug)]
pub struct Session {
    /// How it behaves.
    pub policy: Policy,
    /// Peer's type and number.
    pub peer_name: EntityName,
    /// Peer's addresses, as announced or as we were told to connect.
    pub peer_addrs: AddrVec,
    /// Features that both sides have; 0 before the first handshake.
    pub features: u64,
    /// Over messenger v1.
    pub is_v1: bool,
    /// Who the peer proved to be (accepting side).
    pub authed: Option<AuthedPeer>,
    /// Global id that the server gave us (connecting side).
    pub global_id: u64,
    /// Keys of the current or last transport.
    pub keys: SessionKeys,
    /// The peer's end of the current or last socket.
    pub sock: Option<SocketAddr>,
    /// Our time stamp of the newest acknowledged keepalive.
    pub last_keepalive_ack: Utime,
    /// Where it stands.
    pub state: State,
    pub(crate) transport: Option<u64>,
    pub(crate) target: EntityAddr,
    pub(crate) client_cookie: u64,
    pub(crate) server_cookie: u64,
    pub(crate) connect_seq: u64,
    pub(crate) peer_global_seq: u64,
    pub(crate) global_seq: u64,
    pub(crate) out_seq: u64,
    pub(crate) in_seq: u64,
    pub(crate) ack_left: u64,
    /// Bytes of the messages in `ack_left`.
    pub(crate) ack_bytes: u64,
    /// When an acknowledgement leaves by itself, if nothing carries it before.
    pub(crate) ack_due: Option<Utime>,
    pub(crate) queue: VecDeque<Message>,
    pub(crate) sent: VecDeque<Message>,
    pub(crate) held_bytes: u64,
    pub(crate) backoff: Duration,
    pub(crate) next_attempt: Option<Utime>,
    pub(crate) expires: Option<Utime>,
    pub(crate) ready_since: Utime,
    pub(crate) registered: bool,
    pub(crate) keepalive_wanted: bool,
}

impl Session {
    pub(crate) fn new(policy: Policy, peer_name: EntityName, peer_addrs: AddrVec) -> Session {
        Session {
            policy,
            peer_name,
            peer_addrs,
            features: 0,
            is_v1: false,
            authed: None,
            global_id: 0,
            keys: SessionKeys::default(),
            sock: None,
            last_keepalive_ack: Utime::ZERO,
            state: State::Standby,
            transport: None,
            target: EntityAddr::default(),
            client_cookie: 0,
            server_cookie: 0,
            connect_seq: 0,
            peer_global_seq: 0,
            global_seq: 0,
            out_seq: 0,
            in_seq: 0,
            ack_left: 0,
            ack_bytes: 0,
            ack_due: None,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            held_bytes: 0,
            backoff: Duration::ZERO,
            next_attempt: None,
            expires: None,
            ready_since: Utime::ZERO,
            registered: false,
            keepalive_wanted: false,
        }
    }
    /// Messages sent and not acknowledged, or waiting for a transport.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.sent.len()
    }
    pub(crate) fn enqueue(&mut self, mut m: Message) {
        m.header.seq = 0;
        self.held_bytes += m.len() as u64;
        self.queue.push_back(m);
    }
    /// Puts what was written but not acknowledged back in front, to be sent again under the same numbers.
    pub(crate) fn requeue_sent(&mut self) {
        self.out_seq -= self.sent.len() as u64;
        while let Some(m) = self.sent.pop_back() {
            self.queue.push_front(m);
        }
    }
    /// Forgets requeued messages that the peer has.
    pub(crate) fn discard_requeued_up_to(&mut self, seq: u64) {
        while self.queue.front().is_some_and(|m| m.header.seq != 0 && m.header.seq <= seq) {
            if let Some(m) = self.queue.pop_front() {
                self.held_bytes -= m.len() as u64;
            }
            self.out_seq += 1;
        }
    }
    pub(crate) fn acked(&mut self, seq: u64) {
        while self.sent.front().is_some_and(|m| m.header.seq <= seq) {
            if let Some(m) = self.sent.pop_front() {
                self.held_bytes -= m.len() as u64;
            }
        }
    }
    /// The peer lost its side: so do we.
    pub(crate) fn reset(&mut self) {
        self.queue.clear();
        self.sent.clear();
        self.held_bytes = 0;
        self.out_seq = 0;
        self.in_seq = 0;
        self.client_cookie = 0;
        self.server_cookie = 0;
        self.connect_seq = 0;
        self.peer_global_seq = 0;
        self.ack_left = 0;
        self.ack_bytes = 0;
    }
    /// True when a message with this number is new.
    pub(crate) fn take_in(&mut self, seq: u64, bytes: u64) -> bool {
        if seq <= self.in_seq {
            return false;
        }
        self.in_seq = seq;
        if !self.policy.lossy {
            self.ack_left += 1;
            self.ack_bytes += bytes;
        }
        true
    }
}
