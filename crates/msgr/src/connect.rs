//! The connecting side of sessions: opening, identifying, reconnecting, and what a lost transport means.
//!
//! Mirrors the client half of `ProtocolV2` and its `_fault`. Invariant: a session has at most one transport, and a
//! transport that is not its session's any more changes nothing.

use crate::MsgrError;
use crate::control::{FLAG_LOSSY, Ident, Reconnect};
use crate::endpoint::{Endpoint, Event, MSGR2_REQUIRED, Proto, SessionId, State, Timer, TransportId};
use crate::frame::tag;
use crate::outbuf::OutBuf;
use crate::v1::V1Event;
use crate::v2::V2Event;
use std::time::Duration;
use types::Utime;

impl Endpoint {
    pub(crate) fn start_connect(&mut self, now: Utime, sid: SessionId) {
        let global_seq = self.next_global_seq(0);
        let t = self.new_id();
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        let target = s.peer_addrs.msgr2().or(s.peer_addrs.legacy()).or(s.peer_addrs.0.first()).copied();
        s.target = target.unwrap_or_default();
        s.state = State::Connecting;
        s.global_seq = global_seq;
        s.next_attempt = None;
        s.transport = Some(t);
        let (addr, sock) = (s.target, s.target.sock);
        self.add_transport(now, t, Proto::Opening, Some(sid), OutBuf::default(), sock);
        if sock.is_none_or(|a| a.port() == 0) {
            return self.fault(now, t, MsgrError::NoAddress);
        }
        self.events.push_back(Event::Open { transport: t, addr });
    }

    pub(crate) fn resume_from_standby(&mut self, now: Utime, sid: SessionId) {
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        if s.server_cookie != 0 {
            s.connect_seq += 1;
        }
        self.start_connect(now, sid);
    }

    /// A transport is of no more use: what that means for its session (`ProtocolV2::_fault`).
    pub(crate) fn fault(&mut self, now: Utime, t: TransportId, why: MsgrError) {
        let Some(sid) = self.transports.get(&t).map(|tr| tr.session) else { return };
        self.close_transport(t, why.clone());
        let Some(sid) = sid else { return };
        let (keep, backoff_min, backoff_max) =
            (self.cfg.session_keep, self.cfg.backoff_min, self.cfg.backoff_max);
        let Some(s) = self.sessions.get_mut(&sid) else { return };
        if s.transport != Some(t) {
            return;
        }
        s.transport = None;
        if s.policy.lossy {
            return self.end_session(sid, why, true);
        }
        let was_ready = s.state == State::Ready;
        (s.ack_left, s.ack_bytes) = (0, 0);
        s.requeue_sent();
        let idle = s.queue.is_empty() && !s.keepalive_wanted && why != MsgrError::Wait;
        if s.policy.server || (s.policy.standby && idle) {
            s.state = State::Standby;
            if s.policy.server {
                let at = now + keep;
                s.expires = Some(at);
                self.timers.insert((at, Timer::Session(sid)));
            }
            return;
        }
        if was_ready || s.server_cookie != 0 {
            s.connect_seq += 1;
        }
        // A peer that lets us in and drops us at once is not hammered.
        if was_ready && now.since(s.ready_since) > Duration::from_secs(1) {
            s.backoff = Duration::ZERO;
            return self.start_connect(now, sid);
        }
        s.backoff = match why {
            MsgrError::Wait => backoff_max,
            _ if s.backoff.is_zero() => backoff_min,
            _ => (s.backoff * 2).min(backoff_max),
        };
        s.state = State::Backoff;
        let at = now + s.backoff;
        s.next_attempt = Some(at);
        self.timers.insert((at, Timer::Session(sid)));
    }

    pub(crate) fn on_v2_client(
        &mut self,
        now: Utime,
        t: TransportId,
        sid: SessionId,
        ev: V2Event,
    ) -> Result<(), MsgrError> {
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        match ev {
            V2Event::Ack(seq) => s.acked(seq),
            V2Event::KeepaliveAck(stamp) => {
                s.last_keepalive_ack = stamp;
                self.events.push_back(Event::KeepaliveAck(sid, stamp));
            }
            V2Event::Authenticated if s.server_cookie == 0 => return self.send_client_ident(t, sid),
            V2Event::Authenticated => return self.send_reconnect(t, sid),
            V2Event::ServerIdent(i) => return self.server_ident(now, t, sid, i),
            V2Event::ReconnectOk(seq) => {
                s.discard_requeued_up_to(seq);
                s.backoff = Duration::ZERO;
                self.ready(now, sid, t)?;
                self.events.push_back(Event::Connected(sid));
            }
            V2Event::Reset(full) => {
                if full {
                    s.reset();
                    self.events.push_back(Event::RemoteReset(sid));
                } else {
                    s.server_cookie = 0;
                    s.connect_seq = 0;
                    s.in_seq = 0;
                }
                return self.send_client_ident(t, sid);
            }
            V2Event::Retry(cs) => {
                s.connect_seq = cs.saturating_add(1);
                return self.send_reconnect(t, sid);
            }
            V2Event::RetryGlobal(gs) => {
                let gs = self.next_global_seq(gs);
                if let Some(s) = self.sessions.get_mut(&sid) {
                    s.global_seq = gs;
                }
                return self.send_reconnect(t, sid);
            }
            V2Event::Wait => return Err(MsgrError::Wait),
            V2Event::MissingFeatures(bits) => return Err(MsgrError::MissingFeatures(bits)),
            _ => {}
        }
        Ok(())
    }

    fn send_client_ident(&mut self, t: TransportId, sid: SessionId) -> Result<(), MsgrError> {
        let cookie = self.cookie();
        let (addrs, gid) = (self.my_addrs.clone(), self.cfg.name.num);
        let (supported, required) = (self.cfg.features_supported, self.cfg.features_required);
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        if !s.policy.lossy && s.client_cookie == 0 {
            s.client_cookie = cookie;
        }
        let ident = Ident {
            addrs,
            target: s.target,
            gid,
            global_seq: s.global_seq,
            supported,
            required: required | s.policy.features_required | MSGR2_REQUIRED,
            flags: if s.policy.lossy { FLAG_LOSSY } else { 0 },
            cookie: s.client_cookie,
        };
        self.v2_control(t, tag::CLIENT_IDENT, ident.encode(true))
    }

    fn send_reconnect(&mut self, t: TransportId, sid: SessionId) -> Result<(), MsgrError> {
        let addrs = self.my_addrs.clone();
        let Some(s) = self.sessions.get(&sid) else { return Ok(()) };
        let r = Reconnect {
            addrs,
            client_cookie: s.client_cookie,
            server_cookie: s.server_cookie,
            global_seq: s.global_seq,
            connect_seq: s.connect_seq,
            msg_seq: s.in_seq,
        };
        self.v2_control(t, tag::SESSION_RECONNECT, r.encode())
    }

    fn server_ident(
        &mut self,
        now: Utime,
        t: TransportId,
        sid: SessionId,
        i: Ident,
    ) -> Result<(), MsgrError> {
        let (supported, required) = (self.cfg.features_supported, self.cfg.features_required);
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        if !i.addrs.0.contains(&s.target) {
            return Err(MsgrError::WrongPeer);
        }
        let missing = (required | s.policy.features_required | MSGR2_REQUIRED) & !i.supported;
        if missing != 0 {
            return Err(MsgrError::MissingFeatures(missing));
        }
        if s.registered && s.peer_addrs != i.addrs {
            if self.by_addr.get(&s.peer_addrs) == Some(&sid) {
                self.by_addr.remove(&s.peer_addrs);
            }
            self.by_addr.entry(i.addrs.clone()).or_insert(sid);
        }
        s.server_cookie = i.cookie;
        s.peer_addrs = i.addrs;
        s.peer_name.num = i.gid;
        s.features = i.supported & supported;
        s.peer_global_seq = i.global_seq;
        s.policy.lossy = i.flags & FLAG_LOSSY != 0;
        s.backoff = Duration::ZERO;
        self.ready(now, sid, t)?;
        self.events.push_back(Event::Connected(sid));
        Ok(())
    }

    pub(crate) fn on_v1(&mut self, now: Utime, t: TransportId, event: V1Event) -> Result<(), MsgrError> {
        match event {
            V1Event::Message(m) => {
                // A v1 server says its number in its messages only; of clients we believe what they authenticated.
                if let Some(s) = self.session_of(t).and_then(|s| self.sessions.get_mut(&s))
                    && s.peer_name.num < 0
                    && s.target.sock.is_some()
                    && s.peer_name.kind == m.src.kind
                {
                    s.peer_name = m.src;
                }
                self.message_in(t, m, 0);
            }
            V1Event::NeedAuth => self.need_auth(t),
            V1Event::Connect(c) => return self.v1_connect(now, t, c),
            V1Event::Ready { features } => {
                let Some(sid) = self.session_of(t) else { return Ok(()) };
                if let Some(s) = self.sessions.get_mut(&sid) {
                    s.features = features;
                    s.policy.lossy = true;
                }
                self.ready(now, sid, t)?;
                self.events.push_back(Event::Connected(sid));
            }
            V1Event::Keepalive => {}
            V1Event::KeepaliveAck(stamp) => {
                let Some(sid) = self.session_of(t) else { return Ok(()) };
                if let Some(s) = self.sessions.get_mut(&sid) {
                    s.last_keepalive_ack = stamp;
                    self.events.push_back(Event::KeepaliveAck(sid, stamp));
                }
            }
        }
        Ok(())
    }
}
