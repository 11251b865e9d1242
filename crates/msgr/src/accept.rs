//! How an incoming transport meets the sessions that exist: identification, reconnect, replacement, races, resets.
//!
//! The rules are those of `ProtocolV2::handle_client_ident`, `handle_reconnect` and `handle_existing_connection`; on one thread the
//! "replacing" states in between do not exist. One rule is ours: a transport may take over a session only when it
//! authenticated as the same entity.

use crate::MsgrError;
use crate::control::{FLAG_LOSSY, Ident, Reconnect, payload};
use crate::endpoint::{Endpoint, Event, Proto, SessionId, State, TransportId};
use crate::frame::tag;
use crate::session::{Policy, Session};
use crate::v1::{Connect, Verdict};
use types::{AddrVec, EntityAddr, EntityName, EntityType, Utime, features};

impl Endpoint {
    fn claims(&self, t: TransportId) -> (EntityType, Option<String>) {
        match self.transports.get(&t).map(|tr| &tr.proto) {
            Some(Proto::V2(v)) => {
                (v.peer_type.unwrap_or_default(), v.peer.as_ref().map(|p| p.entity.clone()))
            }
            Some(Proto::V1(v)) => (v.peer_type, v.peer.as_ref().map(|p| p.entity.clone())),
            _ => (EntityType::default(), None),
        }
    }
    fn required(&self, policy: &Policy) -> u64 {
        self.cfg.features_required | policy.features_required | features::MSG_ADDR2
    }
    /// The session registered under the peer's addresses; a v1 one makes room for v2 and the other way round.
    fn existing(&mut self, addrs: &AddrVec, is_v1: bool) -> Option<SessionId> {
        let sid = *self.by_addr.get(addrs)?;
        if self.sessions.get(&sid)?.is_v1 != is_v1 {
            self.end_session(sid, MsgrError::Replaced, true);
            return None;
        }
        Some(sid)
    }
    fn same_entity(&self, sid: SessionId, entity: &Option<String>) -> bool {
        let known = self.sessions.get(&sid).and_then(|s| s.authed.as_ref());
        match (known, entity) {
            (Some(a), Some(b)) => a.entity == *b,
            _ => true,
        }
    }

    pub(crate) fn client_ident(&mut self, now: Utime, t: TransportId, i: Ident) -> Result<(), MsgrError> {
        if i.addrs.0.first().is_none_or(|a| a.is_blank()) {
            return Err(MsgrError::NoAddress);
        }
        if !self.my_addrs.0.contains(&i.target) {
            return Err(MsgrError::WrongPeer);
        }
        let (peer_type, entity) = self.claims(t);
        let policy = self.cfg.policy(peer_type);
        let missing = self.required(&policy) & !i.supported;
        if missing != 0 {
            return self.v2_control(t, tag::IDENT_MISSING_FEATURES, payload(|e| e.u64(missing)));
        }
        let lacking = i.required & !self.cfg.features_supported;
        if lacking != 0 {
            return Err(MsgrError::MissingFeatures(lacking));
        }
        let known = if policy.registered { self.existing(&i.addrs, false) } else { None };
        let Some(sid) = known else {
            return self.new_session(now, t, peer_type, policy, i);
        };
        if !self.same_entity(sid, &entity) {
            return Err(MsgrError::Stale);
        }
        let me = self.my_addrs.msgr2().copied().unwrap_or_default();
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        if s.peer_global_seq > i.global_seq {
            return Err(MsgrError::Stale);
        }
        if s.policy.lossy {
            self.end_session(sid, MsgrError::Replaced, true);
            return self.new_session(now, t, peer_type, policy, i);
        }
        if s.server_cookie != 0 && s.client_cookie != 0 && s.client_cookie != i.cookie {
            // The peer started anew.
            if policy.resetcheck {
                s.reset();
                self.events.push_back(Event::RemoteReset(sid));
            }
            return self.take_over(now, t, sid, i);
        }
        let peer = i.addrs.msgr2().copied().unwrap_or_default();
        let establishing_again = s.client_cookie == i.cookie;
        let settled = matches!(s.state, State::Ready | State::Standby);
        if establishing_again || settled || order(&peer) < order(&me) || s.policy.server {
            return self.take_over(now, t, sid, i);
        }
        // Both sides are connecting and ours goes first; see that it really happens.
        s.keepalive_wanted = true;
        self.v2_control(t, tag::WAIT, bytes::Bytes::new())
    }

    fn new_session(
        &mut self,
        now: Utime,
        t: TransportId,
        peer_type: EntityType,
        policy: Policy,
        i: Ident,
    ) -> Result<(), MsgrError> {
        let mut s = Session::new(policy, EntityName::new(peer_type, i.gid), i.addrs.clone());
        s.registered = policy.registered;
        // The transport's number becomes the session's, as AcceptInfo promised.
        if s.registered {
            self.by_addr.insert(i.addrs.clone(), t);
        }
        self.sessions.insert(t, s);
        self.open(now, t, t, i)?;
        self.events.push_back(Event::Accepted(t));
        Ok(())
    }

    /// Gives an existing session this transport and identifies anew.
    fn take_over(&mut self, now: Utime, t: TransportId, sid: SessionId, i: Ident) -> Result<(), MsgrError> {
        self.detach(sid);
        let known = self.sessions.get(&sid).is_some_and(|s| s.features != 0);
        self.open(now, t, sid, i)?;
        self.events.push_back(if known { Event::Resumed(sid) } else { Event::Accepted(sid) });
        Ok(())
    }
    fn detach(&mut self, sid: SessionId) {
        let old = self.sessions.get_mut(&sid).and_then(|s| s.transport.take());
        if let Some(old) = old {
            self.close_transport(old, MsgrError::Replaced);
        }
        if let Some(s) = self.sessions.get_mut(&sid) {
            s.requeue_sent();
            s.next_attempt = None;
        }
    }
    /// Sends our identification: the session is ready.
    fn open(&mut self, now: Utime, t: TransportId, sid: SessionId, i: Ident) -> Result<(), MsgrError> {
        let cookie = self.cookie();
        let global_seq = self.next_global_seq(0);
        let (addrs, gid, supported) = (self.my_addrs.clone(), self.cfg.name.num, self.cfg.features_supported);
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        let policy = s.policy;
        s.discard_requeued_up_to(0);
        s.in_seq = 0;
        s.client_cookie = i.cookie;
        s.server_cookie = if policy.lossy { 0 } else { cookie };
        s.peer_global_seq = i.global_seq;
        s.peer_name.num = i.gid;
        s.features = i.supported & supported;
        let ident = Ident {
            addrs,
            target: EntityAddr::default(),
            gid,
            global_seq,
            supported,
            required: 0,
            flags: if policy.lossy { FLAG_LOSSY } else { 0 },
            cookie: s.server_cookie,
        };
        let ident = Ident { required: self.required(&policy), ..ident };
        self.v2_control(t, tag::SERVER_IDENT, ident.encode(false))?;
        if let Some(tr) = self.transports.get_mut(&t) {
            tr.session = Some(sid);
        }
        self.ready(now, sid, t)
    }

    pub(crate) fn reconnect(&mut self, now: Utime, t: TransportId, r: Reconnect) -> Result<(), MsgrError> {
        let (peer_type, entity) = self.claims(t);
        let resetcheck = self.cfg.policy(peer_type).resetcheck;
        let reset = |full: bool| payload(|e| e.bool(full));
        let Some(sid) = self.existing(&r.addrs, false) else {
            return self.v2_control(t, tag::SESSION_RESET, reset(true));
        };
        if !self.same_entity(sid, &entity) {
            return Err(MsgrError::Stale);
        }
        let me = self.my_addrs.msgr2().copied().unwrap_or_default();
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        if s.client_cookie != r.client_cookie {
            return self.v2_control(t, tag::SESSION_RESET, reset(resetcheck));
        }
        if s.server_cookie == 0 {
            // We were the client and never saw the identification that the peer sent: establish again.
            return self.v2_control(t, tag::SESSION_RESET, reset(false));
        }
        if s.peer_global_seq > r.global_seq {
            let gs = s.peer_global_seq;
            return self.v2_control(t, tag::SESSION_RETRY_GLOBAL, payload(|e| e.u64(gs)));
        }
        if s.connect_seq > r.connect_seq {
            let cs = s.connect_seq;
            return self.v2_control(t, tag::SESSION_RETRY, payload(|e| e.u64(cs)));
        }
        let peer = s.peer_addrs.msgr2().copied().unwrap_or_default();
        let racing = matches!(s.state, State::Connecting | State::Backoff);
        if s.connect_seq == r.connect_seq && racing && order(&peer) > order(&me) && !s.policy.server {
            return self.v2_control(t, tag::WAIT, bytes::Bytes::new());
        }
        self.detach(sid);
        let Some(s) = self.sessions.get_mut(&sid) else { return Ok(()) };
        s.connect_seq = r.connect_seq;
        s.peer_global_seq = r.global_seq;
        s.discard_requeued_up_to(r.msg_seq);
        let seq = s.in_seq;
        self.v2_control(t, tag::SESSION_RECONNECT_OK, payload(|e| e.u64(seq)))?;
        if let Some(tr) = self.transports.get_mut(&t) {
            tr.session = Some(sid);
        }
        self.ready(now, sid, t)?;
        self.events.push_back(Event::Resumed(sid));
        Ok(())
    }

    /// A v1 client asks for a session; always a lossy one.
    pub(crate) fn v1_connect(&mut self, now: Utime, t: TransportId, c: Connect) -> Result<(), MsgrError> {
        let policy = Policy { lossy: true, server: true, ..self.cfg.policy(c.peer_type) };
        let required = self.cfg.features_required | policy.features_required;
        // MSG_ADDR2 is a v2 matter; v1 peers may lack it.
        let missing = required & !features::MSG_ADDR2 & !c.features;
        let supported = self.cfg.features_supported;
        let (name_type, needs_authorizer) = (self.cfg.name.kind, self.cfg.require_authorizer);
        let global_seq = self.next_global_seq(0);
        let Some(tr) = self.transports.get_mut(&t) else { return Ok(()) };
        let Proto::V1(v) = &mut tr.proto else { return Ok(()) };
        if missing != 0 {
            return v.answer(&mut tr.out, Verdict::MissingFeatures, supported, required, global_seq);
        }
        if v.peer.is_none() && (needs_authorizer && name_type != EntityType::MON) {
            return v.answer(&mut tr.out, Verdict::BadAuthorizer, supported, required, global_seq);
        }
        let entity = v.peer.as_ref().map(|p| p.entity.clone());
        let addrs = AddrVec(vec![c.addr]);
        if policy.registered
            && let Some(sid) = self.existing(&addrs, true)
        {
            if !self.same_entity(sid, &entity) {
                return Err(MsgrError::Stale);
            }
            self.end_session(sid, MsgrError::Replaced, true);
        }
        let Some(tr) = self.transports.get_mut(&t) else { return Ok(()) };
        let Proto::V1(v) = &mut tr.proto else { return Ok(()) };
        let mut s = Session::new(policy, EntityName::new(c.peer_type, -1), addrs.clone());
        if let Some(p) = &v.peer {
            s.peer_name.num = p.global_id as i64;
        }
        s.is_v1 = true;
        s.registered = policy.registered && !c.addr.is_blank();
        s.features = c.features & supported;
        v.answer(&mut tr.out, Verdict::Ready, supported, required, global_seq)?;
        tr.session = Some(t);
        if s.registered {
            self.by_addr.insert(addrs, t);
        }
        self.sessions.insert(t, s);
        self.ready(now, t, t)?;
        self.events.push_back(Event::Accepted(t));
        Ok(())
    }
}

/// How addresses compare in a race: any total order that both sides agree on would do among ours, but stock's peers compare type,
/// nonce, then the bytes of the socket address.
fn order(a: &EntityAddr) -> (u32, u32, Vec<u8>) {
    let mut b = Vec::new();
    match a.sock {
        None => {}
        Some(core::net::SocketAddr::V4(s)) => {
            b.extend_from_slice(&2u16.to_le_bytes());
            b.extend_from_slice(&s.port().to_be_bytes());
            b.extend_from_slice(&s.ip().octets());
        }
        Some(core::net::SocketAddr::V6(s)) => {
            b.extend_from_slice(&10u16.to_le_bytes());
            b.extend_from_slice(&s.port().to_be_bytes());
            b.extend_from_slice(&s.flowinfo().to_be_bytes());
            b.extend_from_slice(&s.ip().octets());
        }
    }
    (a.kind as u32, a.nonce, b)
}
