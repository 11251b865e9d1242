//! [`Endpoint`]: all sessions and transports of one messenger, as a pure machine.
//!
//! The shell feeds it sockets' events and bytes, drains [`Event`]s, writes what [`Endpoint::out`] holds, and calls
//! [`Endpoint::handle_timeout`] when [`Endpoint::next_timeout`] has come. A *transport* is one socket; a *session* is what the
//! owner sees as a connection and, on stateful policies, outlives transports. How an incoming transport meets sessions
//! that exist (races, reconnects, resets) is in `accept`.

use crate::MsgrError;
use crate::auth::{ClientAuth, ServerAuth};
use crate::control::payload;
use crate::frame::{FrameLimits, tag};
use crate::outbuf::OutBuf;
pub use crate::session::{Policy, Session, State};
use crate::v1::V1;
use crate::v2::{V2, V2Event};
use bytes::{Bytes, BytesMut};
use core::net::{IpAddr, SocketAddr};
use messages::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Utime, features};

/// A session's number; never reused.
pub type SessionId = u64;
/// A transport's number, from the same series.
pub type TransportId = u64;

/// What every peer must have to understand our identification.
pub(crate) const MSGR2_REQUIRED: u64 = features::MSG_ADDR2;

/// What an endpoint is told.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Our name.
    pub name: EntityName,
    /// Our nonce, for addresses that we learn.
    pub nonce: u32,
    /// Feature bits we advertise.
    pub features_supported: u64,
    /// Feature bits we require of everybody.
    pub features_required: u64,
    /// Policy where `policies` has no entry.
    pub default_policy: Policy,
    /// Policy by type of peer.
    pub policies: BTreeMap<EntityType, Policy>,
    /// v1: refuse peers without an authorizer.
    pub require_authorizer: bool,
    /// Largest front or middle.
    pub front_bytes_max: u32,
    /// Largest data part.
    pub data_bytes_max: u32,
    /// Bytes held for one peer before the session is ended.
    pub out_bytes_max: u64,
    /// From accept or connect to a ready session.
    pub handshake_max: Duration,
    /// First delay before reconnecting.
    pub backoff_min: Duration,
    /// Largest delay before reconnecting.
    pub backoff_max: Duration,
    /// A ready transport that was silent this long is broken; zero for never.
    pub idle_max: Duration,
    /// How long an accepted stateful session waits for its peer to come back.
    pub session_keep: Duration,
}

impl EndpointConfig {
    /// The policy for a type of peer.
    pub fn policy(&self, peer: EntityType) -> Policy {
        self.policies.get(&peer).copied().unwrap_or(self.default_policy)
    }
}

/// What the shell must do or tell the owner.
#[derive(Debug)]
pub enum Event {
    /// Open a socket to this address; then [`Endpoint::connected`] or [`Endpoint::connect_failed`].
    Open {
        /// For this transport.
        transport: TransportId,
        /// To there.
        addr: EntityAddr,
    },
    /// Write what is left if that goes at once, and close the socket.
    Close {
        /// This one.
        transport: TransportId,
        /// What was left to write.
        rest: OutBuf,
        /// Why.
        why: MsgrError,
    },
    /// Ask the owner, then [`Endpoint::provide_server_auth`] and [`Endpoint::received`] again.
    NeedServerAuth {
        /// The transport that waits.
        transport: TransportId,
        /// Type that the peer claims.
        peer_type: EntityType,
        /// Its socket.
        from: SocketAddr,
        /// A v1 authorizer.
        is_v1: bool,
    },
    /// Ask the owner, then [`Endpoint::provide_client_auth`] and [`Endpoint::received`] again.
    NeedClientAuth {
        /// The transport that waits.
        transport: TransportId,
        /// Whom we connect to.
        peer_type: EntityType,
        /// Where.
        peer: AddrVec,
    },
    /// A session that we opened got a transport.
    Connected(SessionId),
    /// A session that the peer opened is ready.
    Accepted(SessionId),
    /// A session that the peer opened got another transport.
    Resumed(SessionId),
    /// A message.
    Message(SessionId, Message),
    /// A session is gone.
    Reset(SessionId, MsgrError),
    /// The peer lost its side of the session, which goes on anew.
    RemoteReset(SessionId),
    /// Nobody listens there.
    Refused(SessionId),
    /// A keepalive came back.
    KeepaliveAck(SessionId, Utime),
}

pub(crate) enum Proto {
    Opening,
    V2(Box<V2>),
    V1(Box<V1>),
}

pub(crate) struct Transport {
    pub(crate) proto: Proto,
    pub(crate) session: Option<SessionId>,
    pub(crate) out: OutBuf,
    pub(crate) sock: Option<SocketAddr>,
    pub(crate) deadline: Option<Utime>,
    pub(crate) last_rx: Utime,
    pub(crate) dirty: bool,
}

/// How long an acknowledgement waits for a message that carries it.
const ACK_DELAY: Duration = Duration::from_millis(100);
/// Messages after which it waits no longer.
const ACK_MESSAGES_MAX: u64 = 64;
/// Bytes after which it waits no longer: the peer holds them.
const ACK_BYTES_MAX: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Transport(TransportId),
    Session(SessionId),
}

/// All sessions of one messenger.
pub struct Endpoint {
    /// May be changed between calls; handshakes under way keep what they began with.
    pub cfg: EndpointConfig,
    /// Addresses that we announce.
    pub my_addrs: AddrVec,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) transports: BTreeMap<TransportId, Transport>,
    pub(crate) by_addr: BTreeMap<AddrVec, SessionId>,
    pub(crate) events: VecDeque<Event>,
    dirty: Vec<TransportId>,
    pub(crate) timers: BTreeSet<(Utime, Timer)>,
    random: Box<dyn FnMut() -> u64>,
    next_id: u64,
    pub(crate) global_seq: u64,
}

impl Endpoint {
    /// An endpoint without sessions. `random` gives cookies.
    pub fn new(cfg: EndpointConfig, random: Box<dyn FnMut() -> u64>) -> Endpoint {
        Endpoint {
            cfg,
            my_addrs: AddrVec::default(),
            sessions: BTreeMap::new(),
            transports: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            events: VecDeque::new(),
            dirty: Vec::new(),
            timers: BTreeSet::new(),
            random,
            next_id: 1,
            global_seq: 0,
        }
    }

    // ---- what the owner asks for ----

    /// A session with the peer at `addrs`. Stateful ones are found again.
    pub fn connect(&mut self, now: Utime, peer: EntityType, addrs: &AddrVec, policy: Policy) -> SessionId {
        if !policy.lossy
            && let Some(&sid) = self.by_addr.get(addrs)
        {
            return sid;
        }
        let sid = self.new_id();
        let mut s = Session::new(policy, EntityName::new(peer, -1), addrs.clone());
        if addrs.msgr2().is_none() && addrs.legacy().is_some() {
            // Sessions over v1 are lossy here: its stateful peers (stock OSDs among themselves) are never ours.
            s.policy.lossy = true;
        }
        s.registered = !s.policy.lossy;
        if s.registered {
            self.by_addr.insert(addrs.clone(), sid);
        }
        self.sessions.insert(sid, s);
        self.start_connect(now, sid);
        sid
    }
    /// Sends, or keeps until there is a transport. False when the session is gone.
    pub fn send(&mut self, now: Utime, sid: SessionId, mut msg: Message) -> bool {
        let max = self.cfg.out_bytes_max;
        let Some(s) = self.sessions.get_mut(&sid) else { return false };
        if s.state != State::Ready {
            s.enqueue(msg);
            if s.held_bytes > max {
                self.end_session(sid, MsgrError::QueueFull, true);
            } else if s.state == State::Standby && !s.policy.server {
                self.resume_from_standby(now, sid);
            }
            return true;
        }
        let t = s.transport;
        s.out_seq += 1;
        msg.header.seq = s.out_seq;
        let Some(tr) = t.and_then(|t| self.transports.get_mut(&t)) else { return false };
        let ack = s.in_seq;
        (s.ack_left, s.ack_bytes) = (0, 0);
        let r = match &mut tr.proto {
            Proto::V2(v) => v.message(&mut tr.out, &msg, ack),
            Proto::V1(v) => v.message(&mut tr.out, &msg),
            Proto::Opening => Ok(()),
        };
        let mut full = tr.out.len() as u64 > max;
        if !s.policy.lossy {
            s.held_bytes += msg.len() as u64;
            full |= s.held_bytes > max;
            s.sent.push_back(msg);
        }
        if full {
            self.end_session(sid, MsgrError::QueueFull, true);
            return true;
        }
        if let Some(t) = t {
            match r {
                Ok(()) => self.mark_dirty(t),
                Err(e) => self.fault(now, t, e),
            }
        }
        true
    }
    /// Sends a keepalive.
    pub fn keepalive(&mut self, now: Utime, sid: SessionId) {
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        let Some(t) = s.transport.filter(|_| s.state == State::Ready) else {
            s.keepalive_wanted = true;
            if s.state == State::Standby && !s.policy.server {
                self.resume_from_standby(now, sid);
            }
            return;
        };
        let Some(tr) = self.transports.get_mut(&t) else { return };
        let r = match &mut tr.proto {
            Proto::V2(v) => v.control(&mut tr.out, tag::KEEPALIVE2, payload(|e| e.put(&now))),
            Proto::V1(v) => {
                v.keepalive(&mut tr.out, now);
                Ok(())
            }
            Proto::Opening => Ok(()),
        };
        match r {
            Ok(()) => self.mark_dirty(t),
            Err(e) => self.fault(now, t, e),
        }
    }
    /// Ends a session without an event to its owner.
    pub fn mark_down(&mut self, sid: SessionId) {
        self.end_session(sid, MsgrError::PeerClosed, false);
    }
    /// From now on a break ends the session.
    pub fn mark_disposable(&mut self, sid: SessionId) {
        if let Some(s) = self.sessions.get_mut(&sid) {
            s.policy.lossy = true;
        }
    }
    /// A session, if it still exists.
    pub fn session(&self, sid: SessionId) -> Option<&Session> {
        self.sessions.get(&sid)
    }
    /// A session that never was: for handles of attempts that failed on the spot.
    pub fn dead_session(policy: Policy, peer: EntityName, addrs: AddrVec) -> Session {
        Session::new(policy, peer, addrs)
    }
    /// Completes the peer's name (v1 monitor sessions learn it from the login above them).
    pub fn set_peer_name(&mut self, sid: SessionId, name: EntityName) {
        if let Some(s) = self.sessions.get_mut(&sid) {
            s.peer_name = name;
        }
    }
    /// All sessions.
    pub fn session_ids(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }
    /// Number of transports.
    pub fn transport_count(&self) -> usize {
        self.transports.len()
    }
    /// Sessions with a peer that announced (or is known under) one of `addrs`.
    pub fn sessions_at(&self, addrs: &AddrVec) -> Vec<SessionId> {
        let hit = |s: &Session| s.peer_addrs.0.iter().any(|a| addrs.0.contains(a));
        self.sessions.iter().filter(|(_, s)| hit(s)).map(|(&id, _)| id).collect()
    }

    // ---- what sockets report ----

    /// A peer connected to a listener of ours.
    pub fn accept(&mut self, now: Utime, is_v1: bool, from: SocketAddr) -> TransportId {
        let t = self.new_id();
        let mut out = OutBuf::default();
        let limits = self.limits();
        let proto = if is_v1 {
            let me = self.my_addrs.legacy().copied().unwrap_or_default();
            Proto::V1(Box::new(V1::server(self.cfg.name.kind, me, from, limits, &mut out)))
        } else {
            let addr = EntityAddr::new(AddrType::Msgr2, from, 0);
            Proto::V2(Box::new(V2::server(self.cfg.name.kind, addr, limits, &mut out)))
        };
        self.add_transport(now, t, proto, None, out, Some(from));
        self.mark_dirty(t);
        t
    }
    /// A socket that [`Event::Open`] asked for is open; `local` is our end.
    pub fn connected(&mut self, now: Utime, t: TransportId, local: SocketAddr) {
        let limits = self.limits();
        let my_type = self.cfg.name.kind;
        if self.my_addrs.is_empty() {
            self.my_addrs.0.push(EntityAddr::new(
                AddrType::Msgr2,
                SocketAddr::new(local.ip(), 0),
                self.cfg.nonce,
            ));
        }
        let Some(tr) = self.transports.get_mut(&t) else { return };
        let Some(s) = tr.session.and_then(|s| self.sessions.get_mut(&s)) else { return };
        tr.last_rx = now;
        s.sock = s.target.sock;
        let want = s.peer_name.kind;
        tr.proto = if s.target.kind == AddrType::Legacy {
            s.is_v1 = true;
            let mut me = self.my_addrs.legacy().copied().unwrap_or_default();
            if me.sock.is_none() {
                me = EntityAddr::new(AddrType::Legacy, SocketAddr::new(local.ip(), 0), self.cfg.nonce);
            }
            let v1 = V1::client(self.cfg.name, want, me, s.target, limits, s.global_seq);
            Proto::V1(Box::new(v1))
        } else {
            s.is_v1 = false;
            Proto::V2(Box::new(V2::client(my_type, want, s.target, limits, &mut tr.out)))
        };
        self.mark_dirty(t);
    }
    /// A socket could not be opened.
    pub fn connect_failed(&mut self, now: Utime, t: TransportId, refused: bool) {
        if refused && let Some(sid) = self.transports.get(&t).and_then(|tr| tr.session) {
            self.events.push_back(Event::Refused(sid));
        }
        self.fault(now, t, MsgrError::Lost);
    }
    /// A socket ended or broke.
    pub fn lost(&mut self, now: Utime, t: TransportId) {
        self.fault(now, t, MsgrError::Lost);
    }
    /// Bytes arrived: takes from `buf` what is complete.
    pub fn received(&mut self, now: Utime, t: TransportId, buf: &mut BytesMut) {
        loop {
            let Some(tr) = self.transports.get_mut(&t) else { return };
            tr.last_rx = now;
            let step = match &mut tr.proto {
                Proto::Opening => return,
                Proto::V2(v) => v.handle(buf, &mut tr.out).map(|e| e.map(Ok)),
                Proto::V1(v) => v.handle(buf, &mut tr.out).map(|e| e.map(Err)),
            };
            let done = match step {
                Ok(None) => break,
                Ok(Some(Ok(event))) => self.on_v2(now, t, event),
                Ok(Some(Err(event))) => self.on_v1(now, t, event),
                Err(e) => Err(e),
            };
            if let Err(e) = done {
                return self.fault(now, t, e);
            }
        }
        let Some(tr) = self.transports.get(&t) else { return };
        let unsent = !tr.out.is_empty();
        let session = tr.session;
        if self.wants_ack(now, session) || unsent {
            self.mark_dirty(t);
        }
    }
    /// True when an acknowledgement has to leave now. Else one is due soon, unless a message carries it before: answers
    /// mostly do, and an extra frame costs both sides a system call and the peer a wake-up.
    fn wants_ack(&mut self, now: Utime, sid: Option<SessionId>) -> bool {
        let Some((sid, s)) = sid.and_then(|sid| Some((sid, self.sessions.get_mut(&sid)?))) else {
            return false;
        };
        if s.ack_left == 0 {
            return false;
        }
        if s.ack_left >= ACK_MESSAGES_MAX || s.ack_bytes >= ACK_BYTES_MAX {
            return true;
        }
        if s.ack_due.is_none() {
            let at = now + ACK_DELAY;
            s.ack_due = Some(at);
            self.timers.insert((at, Timer::Session(sid)));
        }
        false
    }
    /// How many bytes a transport needs in its buffer before it can go on.
    pub fn need(&self, t: TransportId) -> usize {
        match self.transports.get(&t).map(|tr| &tr.proto) {
            Some(Proto::V2(v)) => v.need(),
            Some(Proto::V1(v)) => v.need(),
            _ => 0,
        }
    }
    /// Where in its buffer the data of a frame under way begins, for one whose sizes are known and that is not encrypted.
    pub fn data_at(&self, t: TransportId) -> Option<usize> {
        match self.transports.get(&t).map(|tr| &tr.proto) {
            Some(Proto::V2(v)) => v.data_at(),
            _ => None,
        }
    }
    /// The owner's answer to [`Event::NeedServerAuth`].
    pub fn provide_server_auth(&mut self, now: Utime, t: TransportId, auth: Option<Box<dyn ServerAuth>>) {
        let Some(tr) = self.transports.get_mut(&t) else { return };
        match (auth, &mut tr.proto) {
            (Some(a), Proto::V2(v)) => v.set_server_auth(a),
            (Some(a), Proto::V1(v)) => v.set_server_auth(a),
            _ => self.fault(now, t, MsgrError::NoAuth),
        }
    }
    /// The owner's answer to [`Event::NeedClientAuth`].
    pub fn provide_client_auth(&mut self, now: Utime, t: TransportId, auth: Option<Box<dyn ClientAuth>>) {
        let Some(tr) = self.transports.get_mut(&t) else { return };
        let r = match (auth, &mut tr.proto) {
            (Some(a), Proto::V2(v)) => v.set_client_auth(a, &mut tr.out),
            (auth, Proto::V1(v)) => v.set_client_auth(auth, &mut tr.out),
            _ => Err(MsgrError::NoAuth),
        };
        match r {
            Ok(()) => self.mark_dirty(t),
            Err(e) => self.fault(now, t, e),
        }
    }

    // ---- what the shell polls ----

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let e = self.events.pop_front()?;
            match &e {
                // The owner marked the session down while these were waiting.
                Event::Message(s, _)
                | Event::Connected(s)
                | Event::Accepted(s)
                | Event::Resumed(s)
                | Event::RemoteReset(s)
                | Event::KeepaliveAck(s, _)
                    if !self.sessions.contains_key(s) && !self.ended_later(*s) => {}
                _ => return Some(e),
            }
        }
    }
    /// A session that ended by itself still delivers what came before its end.
    fn ended_later(&self, sid: SessionId) -> bool {
        self.events.iter().any(|e| matches!(e, Event::Reset(s, _) if *s == sid))
    }
    /// Transports that have something to write.
    pub fn take_dirty(&mut self) -> Vec<TransportId> {
        for t in &self.dirty {
            if let Some(tr) = self.transports.get_mut(t) {
                tr.dirty = false;
            }
        }
        std::mem::take(&mut self.dirty)
    }
    /// True when [`Endpoint::poll_event`] has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }
    /// True when a transport has something to write.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
    /// What a transport has to write, with acks that nothing else carried.
    pub fn out(&mut self, t: TransportId) -> Option<&mut OutBuf> {
        let tr = self.transports.get_mut(&t)?;
        if let Some(s) = tr.session.and_then(|s| self.sessions.get_mut(&s))
            && s.ack_left > 0
            && s.transport == Some(t)
            && s.state == State::Ready
        {
            (s.ack_left, s.ack_bytes) = (0, 0);
            let seq = s.in_seq;
            match &mut tr.proto {
                // A sealer that has no nonces left fails the next message as well.
                Proto::V2(v) => drop(v.control(&mut tr.out, tag::ACK, payload(|e| e.u64(seq)))),
                Proto::V1(v) => v.ack(&mut tr.out, seq),
                Proto::Opening => {}
            }
        }
        Some(&mut tr.out)
    }
    /// True when messages received on this transport count against the throttle.
    pub fn is_throttled(&self, t: TransportId) -> bool {
        let sid = self.transports.get(&t).and_then(|tr| tr.session);
        sid.and_then(|s| self.sessions.get(&s)).is_some_and(|s| s.policy.throttled)
    }
    /// The session that a transport carries.
    pub fn session_of(&self, t: TransportId) -> Option<SessionId> {
        self.transports.get(&t).and_then(|tr| tr.session)
    }
    /// When [`Endpoint::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Utime> {
        self.timers.first().map(|(at, _)| *at)
    }
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Utime) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Transport(t) => self.transport_timeout(now, t, at),
                Timer::Session(sid) => self.session_timeout(now, sid, at),
            }
        }
    }

    fn transport_timeout(&mut self, now: Utime, t: TransportId, at: Utime) {
        let idle = self.cfg.idle_max;
        let Some(tr) = self.transports.get_mut(&t) else { return };
        if tr.deadline != Some(at) {
            return;
        }
        let ready = tr.session.and_then(|s| self.sessions.get(&s)).is_some_and(|s| s.state == State::Ready);
        if !ready || now.since(tr.last_rx) >= idle {
            return self.fault(now, t, MsgrError::Timeout);
        }
        let next = tr.last_rx + idle;
        tr.deadline = Some(next);
        self.timers.insert((next, Timer::Transport(t)));
    }

    fn session_timeout(&mut self, now: Utime, sid: SessionId, at: Utime) {
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        if s.ack_due.is_some_and(|due| due <= at) {
            s.ack_due = None;
            if s.ack_left > 0
                && let Some(t) = s.transport
            {
                self.mark_dirty(t);
            }
        }
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        if s.next_attempt == Some(at) && s.state == State::Backoff {
            s.next_attempt = None;
            self.start_connect(now, sid);
        } else if s.expires == Some(at) && s.transport.is_none() {
            self.end_session(sid, MsgrError::Timeout, true);
        }
    }

    // ---- inside ----

    pub(crate) fn limits(&self) -> FrameLimits {
        FrameLimits {
            ready: false,
            front_bytes_max: self.cfg.front_bytes_max,
            data_bytes_max: self.cfg.data_bytes_max,
        }
    }
    pub(crate) fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
    pub(crate) fn cookie(&mut self) -> u64 {
        (self.random)().max(1)
    }
    pub(crate) fn next_global_seq(&mut self, above: u64) -> u64 {
        self.global_seq = self.global_seq.max(above) + 1;
        self.global_seq
    }
    pub(crate) fn mark_dirty(&mut self, t: TransportId) {
        if let Some(tr) = self.transports.get_mut(&t)
            && !tr.dirty
        {
            tr.dirty = true;
            self.dirty.push(t);
        }
    }
    pub(crate) fn add_transport(
        &mut self,
        now: Utime,
        t: TransportId,
        proto: Proto,
        session: Option<SessionId>,
        out: OutBuf,
        sock: Option<SocketAddr>,
    ) {
        let deadline = now + self.cfg.handshake_max;
        self.timers.insert((deadline, Timer::Transport(t)));
        let deadline = Some(deadline);
        self.transports
            .insert(t, Transport { proto, session, out, sock, deadline, last_rx: now, dirty: false });
    }
    /// Removes a session and its transport.
    pub(crate) fn end_session(&mut self, sid: SessionId, why: MsgrError, tell: bool) {
        let Some(s) = self.sessions.remove(&sid) else { return };
        if s.registered && self.by_addr.get(&s.peer_addrs) == Some(&sid) {
            self.by_addr.remove(&s.peer_addrs);
        }
        if let Some(t) = s.transport {
            self.close_transport(t, why.clone());
        }
        if tell {
            self.events.push_back(Event::Reset(sid, why));
        }
    }
    pub(crate) fn close_transport(&mut self, t: TransportId, why: MsgrError) {
        if let Some(tr) = self.transports.remove(&t) {
            self.events.push_back(Event::Close { transport: t, rest: tr.out, why });
        }
    }

    /// Attaches a transport to its session for good and sends what waits.
    pub(crate) fn ready(&mut self, now: Utime, sid: SessionId, t: TransportId) -> Result<(), MsgrError> {
        let idle = self.cfg.idle_max;
        let Some(tr) = self.transports.get_mut(&t) else { return Ok(()) };
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        match &mut tr.proto {
            Proto::V2(v) => {
                v.set_ready();
                s.keys = std::mem::take(&mut v.keys);
                if let Some(p) = v.peer.take() {
                    s.authed = Some(p);
                }
                if v.global_id != 0 {
                    s.global_id = v.global_id;
                }
            }
            Proto::V1(v) => {
                s.keys = v.keys.clone();
                if let Some(p) = v.peer.take() {
                    s.authed = Some(p);
                }
            }
            Proto::Opening => {}
        }
        if s.peer_name.num < 0
            && s.peer_name.kind == EntityType::CLIENT
            && let Some(p) = &s.authed
        {
            // A client that logs in at a monitor does not know its number when it identifies.
            s.peer_name.num = p.global_id as i64;
        }
        tr.session = Some(sid);
        if tr.sock.is_some() {
            s.sock = tr.sock;
        }
        s.transport = Some(t);
        s.state = State::Ready;
        s.ready_since = now;
        s.expires = None;
        s.next_attempt = None;
        (s.ack_left, s.ack_bytes) = (0, 0);
        let wanted = std::mem::take(&mut s.keepalive_wanted);
        if idle.is_zero() {
            tr.deadline = None;
        } else {
            let at = now + idle;
            tr.deadline = Some(at);
            self.timers.insert((at, Timer::Transport(t)));
        }
        let waiting = std::mem::take(&mut s.queue);
        for m in waiting {
            let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
            if s.state == State::Ready {
                s.held_bytes -= m.len() as u64;
                self.send(now, sid, m);
            } else {
                // Writing failed half way: what is left waits for the next transport.
                s.queue.push_back(m);
            }
        }
        if wanted {
            self.keepalive(now, sid);
        }
        self.mark_dirty(t);
        Ok(())
    }

    pub(crate) fn message_in(&mut self, t: TransportId, mut msg: Message, ack: u64) {
        let Some(sid) = self.session_of(t) else { return };
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        if !s.policy.lossy {
            s.acked(ack);
        }
        if s.take_in(msg.header.seq, msg.len() as u64) {
            msg.src = s.peer_name;
            self.events.push_back(Event::Message(sid, msg));
        }
    }

    fn on_v2(&mut self, now: Utime, t: TransportId, event: V2Event) -> Result<(), MsgrError> {
        match event {
            V2Event::Message(m, ack) => self.message_in(t, m, ack),
            V2Event::NeedAuth => self.need_auth(t),
            V2Event::ClientIdent(i) => return self.client_ident(now, t, i),
            V2Event::Reconnect(r) => return self.reconnect(now, t, r),
            V2Event::Keepalive(_) => {}
            other => {
                let Some(sid) = self.session_of(t) else { return Ok(()) };
                return self.on_v2_client(now, t, sid, other);
            }
        }
        Ok(())
    }

    pub(crate) fn need_auth(&mut self, t: TransportId) {
        let Some(tr) = self.transports.get(&t) else { return };
        let session = tr.session.and_then(|s| self.sessions.get(&s));
        self.events.push_back(match (session, &tr.proto, tr.sock) {
            (Some(s), ..) => Event::NeedClientAuth {
                transport: t,
                peer_type: s.peer_name.kind,
                peer: s.peer_addrs.clone(),
            },
            (None, proto, from) => Event::NeedServerAuth {
                transport: t,
                peer_type: match proto {
                    Proto::V2(v) => v.peer_type.unwrap_or_default(),
                    Proto::V1(v) => v.peer_type,
                    Proto::Opening => EntityType::default(),
                },
                from: from.unwrap_or(SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0)),
                is_v1: matches!(proto, Proto::V1(_)),
            },
        });
    }

    pub(crate) fn v2_control(&mut self, t: TransportId, tag: u8, payload: Bytes) -> Result<(), MsgrError> {
        let Some(tr) = self.transports.get_mut(&t) else { return Ok(()) };
        let Proto::V2(v) = &mut tr.proto else { return Ok(()) };
        v.control(&mut tr.out, tag, payload)?;
        self.mark_dirty(t);
        Ok(())
    }
}
