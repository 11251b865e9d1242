//! The accepting side at a monitor: logins (0x0100), ticket renewal (0x0200) and rotating secrets (0x0400).
//!
//! [`MonAuthenticator`] is shared by all sessions of a monitor; [`MonServerAuth`] serves one v2 connection, [`V1MonLogin`]
//! one v1 session that logs in by messages. Mirrors stock's `CephxServiceHandler` and the auth half of `Monitor`.
//!
//! Invariants:
//! - A global id is kept only with a valid AUTH ticket for the same principal and the same id; else EACCES
//!   (CVE-2021-20288: there is no insecure reclaim here, also not for clients that cannot present a ticket).
//! - AUTH tickets are sealed with authenticated encryption (`keyserver`). So a ticket that opens is one we made.
//! - Every refusal on a connection looks the same: EACCES. Which of name, key or ticket was wrong stays inside.

use crate::caps::MonCap;
use crate::crypto::{CephxError, CryptoKey, KeyType, usage};
use crate::env::{Env, random_u64};
use crate::keyserver::{AuthConfig, EntityAuth, MonAuthDb};
use crate::proto::{
    AuthName, AuthTicket, CephXAuthenticate, CephXResponseHeader, CephXServerChallenge, CephXServiceTicket,
    CephXServiceTicketInfo, CephXServiceTicketRequest, CephXTicketBlob, MODE_MON, SessionAuthInfo, request,
};
use crate::service::{MonSecrets, ServiceServerAuth, connection_secret, open_authorizer, refuse};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use msgr::auth::{AuthedPeer, METHOD_CEPHX, METHOD_NONE, MODE_CRC, ServerAuth, ServerStep, SessionKeys};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use types::{EntityType, Errno, Utime};

/// Sessions whose challenge is remembered for a re-login by message (the AUTH ticket's renewal, after 54 h).
const MAX_CHALLENGES: usize = 200_000;

/// Bits of service types that a client may ask tickets for.
const SERVICE_BITS: [EntityType; 4] = [EntityType::MON, EntityType::MDS, EntityType::OSD, EntityType::MGR];

fn span(d: Duration) -> Utime {
    Utime::ZERO + d
}

/// Appends a list of sealed tickets (`cephx_build_service_ticket_reply`).
fn put_tickets(
    e: &mut Encoder,
    principal_key: &CryptoKey,
    infos: &[SessionAuthInfo],
    wrap_with: Option<&CryptoKey>,
    env: &dyn Env,
) -> Result<(), CephxError> {
    e.u8(1);
    e.count(infos.len());
    for info in infos {
        e.u32(info.service_id);
        e.u8(1);
        let a = CephXServiceTicket { session_key: info.session_key.clone(), validity: info.validity };
        principal_key.put_sealed(e, usage::TICKET_SESSION_KEY, &a, env)?;
        let b = CephXServiceTicketInfo { ticket: info.ticket.clone(), session_key: info.session_key.clone() };
        let blob = CephXTicketBlob {
            secret_id: info.secret_id,
            blob: info.service_secret.seal(usage::TICKET_INFO, &b, env)?,
        };
        let blob = denc::to_bytes(&blob, Features::default());
        e.bool(wrap_with.is_some());
        match wrap_with {
            Some(old) => old.put_sealed(e, usage::TICKET_BLOB, &blob, env)?,
            None => e.blob(&blob),
        }
    }
    Ok(())
}

/// Who is logging in on a session.
#[derive(Clone, Debug)]
struct Login {
    name: AuthName,
    global_id: u64,
    /// The id was named by the client (or is this session's since an earlier login): it takes an old ticket.
    reclaim: bool,
    challenge: u64,
}

/// A successful login.
struct Granted {
    reply: Bytes,
    peer: AuthedPeer,
    session_key: CryptoKey,
    connection_secret: Bytes,
}

/// The answer to an `auth` message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReply {
    /// 0 or a negative errno, for the reply's `result`.
    pub result: i32,
    /// The reply's payload.
    pub payload: Bytes,
}

/// What all logins of one monitor share.
pub struct MonAuthenticator {
    db: Rc<dyn MonAuthDb>,
    env: Rc<dyn Env>,
    config: Rc<AuthConfig>,
    challenges: RefCell<BTreeMap<u64, u64>>,
}

impl MonAuthenticator {
    /// Over a monitor's database.
    pub fn new(db: Rc<dyn MonAuthDb>, env: Rc<dyn Env>, config: Rc<AuthConfig>) -> Rc<MonAuthenticator> {
        Rc::new(MonAuthenticator { db, env, config, challenges: RefCell::default() })
    }

    /// The accepting side for one new v2 connection.
    pub fn server_auth(self: &Rc<Self>) -> MonServerAuth {
        MonServerAuth {
            shared: self.clone(),
            mode: MODE_CRC,
            peer_type: EntityType::default(),
            state: State::Start,
        }
    }

    /// A v1 session that logs in by messages.
    pub fn v1_login(self: &Rc<Self>) -> V1MonLogin {
        V1MonLogin { shared: self.clone(), method: 0, login: None, peer: None }
    }

    /// An `auth` message inside an authenticated session: renewal, rotating secrets, or a new AUTH ticket.
    pub fn handle_message(&self, peer: &AuthedPeer, payload: &Bytes) -> SessionReply {
        let Some(name) = AuthName::parse(&peer.entity) else {
            return SessionReply { result: Errno::EINVAL.negated(), payload: Bytes::new() };
        };
        let challenge = self.challenges.borrow().get(&peer.global_id).copied().unwrap_or(0);
        let login = Login { name, global_id: peer.global_id, reclaim: true, challenge };
        self.handle_request(&login, payload, None).0
    }

    fn remember(&self, global_id: u64, challenge: u64) {
        let mut c = self.challenges.borrow_mut();
        c.insert(global_id, challenge);
        while c.len() > MAX_CHALLENGES {
            c.pop_first();
        }
    }

    fn new_challenge(&self) -> u64 {
        loop {
            let c = random_u64(&*self.env);
            if c != 0 {
                return c;
            }
        }
    }

    fn begin(&self, name: AuthName, claimed: u64) -> Result<Login, i32> {
        let global_id = match claimed {
            0 => self.db.new_global_id().ok_or(Errno::EAGAIN.negated())?,
            id => id,
        };
        Ok(Login { name, global_id, reclaim: claimed != 0, challenge: self.new_challenge() })
    }

    /// One request of a session; the second part is there after a login.
    fn handle_request(
        &self,
        login: &Login,
        payload: &Bytes,
        mode: Option<u32>,
    ) -> (SessionReply, Option<Granted>) {
        let fail = |e: Errno| (SessionReply { result: e.negated(), payload: Bytes::new() }, None);
        let mut d = Decoder::new(payload);
        let Ok(kind) = d.u16() else { return fail(Errno::EPERM) };
        match kind {
            request::AUTH_SESSION_KEY => match self.login(login, &mut d, mode) {
                Ok(g) => (SessionReply { result: 0, payload: g.reply.clone() }, Some(g)),
                Err(e) => fail(e),
            },
            request::PRINCIPAL_SESSION_KEY => match self.renew(login, &mut d) {
                Ok(payload) => (SessionReply { result: 0, payload }, None),
                Err(e) => fail(e),
            },
            request::ROTATING_KEY => match self.rotating(login) {
                Ok(payload) => (SessionReply { result: 0, payload }, None),
                Err(e) => fail(e),
            },
            _ => fail(Errno::EINVAL),
        }
    }

    /// The old AUTH ticket that allows to keep a global id.
    fn verify_old_ticket(&self, login: &Login, ticket: &CephXTicketBlob) -> Result<Option<CryptoKey>, Errno> {
        if !login.reclaim {
            return if ticket.blob.is_empty() { Ok(None) } else { Err(Errno::EINVAL) };
        }
        let secret = self
            .db
            .rotating(u32::from(EntityType::AUTH.0))
            .and_then(|r| r.get(ticket.secret_id).cloned())
            .ok_or(Errno::EACCES)?;
        let info: CephXServiceTicketInfo =
            secret.open(usage::TICKET_INFO, &ticket.blob).map_err(|_| Errno::EACCES)?;
        if info.ticket.global_id != login.global_id || info.ticket.name != login.name {
            return Err(Errno::EACCES);
        }
        Ok(Some(info.session_key))
    }

    fn check_proof(
        &self,
        login: &Login,
        entity: &EntityAuth,
        req: &CephXAuthenticate,
    ) -> Result<CryptoKey, Errno> {
        for key in [&entity.key, &entity.pending_key] {
            if let Ok(expected) = key.challenge_proof(login.challenge, req.client_challenge)
                && bool::from(expected.to_le_bytes().ct_eq(&req.key.to_le_bytes()))
            {
                return Ok(key.clone());
            }
        }
        Err(Errno::EPERM)
    }

    fn login(&self, login: &Login, d: &mut Decoder<'_>, mode: Option<u32>) -> Result<Granted, Errno> {
        let env = &*self.env;
        let req: CephXAuthenticate = d.get().map_err(|_| Errno::EPERM)?;
        if login.challenge == 0 {
            return Err(Errno::EPERM);
        }
        let entity = self.db.entity(&login.name).ok_or(Errno::EPERM)?;
        let key = self.check_proof(login, &entity, &req)?;
        let old_session_key = self.verify_old_ticket(login, &req.old_ticket)?;

        let caps = entity.caps_info("mon");
        // Caps that cannot be read (an empty text among them) let nobody in.
        if caps.caps.is_empty() || (!caps.allow_all && MonCap::parse(&caps.text()).is_err()) {
            return Err(Errno::EACCES);
        }
        let ticket = AuthTicket {
            name: login.name.clone(),
            global_id: login.global_id,
            created: env.now(),
            expires: env.now() + self.config.mon_ticket_ttl,
            ..AuthTicket::default()
        };
        let rotating = self.db.rotating(u32::from(EntityType::AUTH.0)).ok_or(Errno::EIO)?;
        let (secret_id, service_secret) = rotating.current(env.now()).ok_or(Errno::EIO)?;
        // Only this principal and monitors use the session key, so it is as strong as the principal's own.
        let session_key = CryptoKey::generate(key.kind(), env);
        let info = SessionAuthInfo {
            service_id: u32::from(EntityType::AUTH.0),
            secret_id,
            service_secret: service_secret.clone(),
            ticket: ticket.clone(),
            session_key: session_key.clone(),
            validity: span(self.config.mon_ticket_ttl),
        };

        let mut e = Encoder::new(Features::default());
        e.put(&CephXResponseHeader { request_type: request::AUTH_SESSION_KEY, status: 0 });
        put_tickets(&mut e, &key, &[info], old_session_key.as_ref(), env).map_err(|_| Errno::EIO)?;
        let mut secret = Bytes::new();
        if req.other_keys != 0 {
            let mut sealed = Encoder::new(Features::default());
            if let Some(mode) = mode {
                secret = Bytes::copy_from_slice(&connection_secret(mode, env));
                session_key
                    .put_sealed(&mut sealed, usage::CONNECTION_SECRET, &secret, env)
                    .map_err(|_| Errno::EIO)?;
            }
            e.blob(sealed.as_slice());
            let infos = self.service_tickets(req.other_keys, &ticket, &entity);
            let mut extra = Encoder::new(Features::default());
            if !infos.is_empty() {
                put_tickets(&mut extra, &session_key, &infos, None, env).map_err(|_| Errno::EIO)?;
            }
            e.blob(extra.as_slice());
        }
        self.remember(login.global_id, login.challenge);
        if !key.same_secret(&entity.key) {
            self.db.pending_key_used(&login.name, &key);
        }
        Ok(Granted {
            reply: e.finish(),
            peer: AuthedPeer {
                entity: login.name.to_string(),
                global_id: login.global_id,
                allow_all: false,
                caps: caps.text(),
                expires: Utime::ZERO,
            },
            session_key,
            connection_secret: secret,
        })
    }

    /// Service tickets for the bits of `keys`; services without secrets are left out, as stock does.
    fn service_tickets(&self, keys: u32, parent: &AuthTicket, entity: &EntityAuth) -> Vec<SessionAuthInfo> {
        let env = &*self.env;
        let mut out = Vec::new();
        for service in SERVICE_BITS {
            let bit = u32::from(service.0);
            if keys & bit == 0 {
                continue;
            }
            let Some(rotating) = self.db.rotating(bit) else { continue };
            let Some((secret_id, secret)) = rotating.current(env.now()) else { continue };
            // The service must be able to use the session key too: never stronger than its own secret's type.
            let kind = if secret.kind() == KeyType::Aes256k { entity.key.kind() } else { KeyType::Aes };
            out.push(SessionAuthInfo {
                service_id: bit,
                secret_id,
                service_secret: secret.clone(),
                ticket: AuthTicket {
                    name: parent.name.clone(),
                    global_id: parent.global_id,
                    created: env.now(),
                    expires: env.now() + self.config.service_ticket_ttl,
                    caps: entity.caps_info(service.name()),
                    flags: 0,
                },
                session_key: CryptoKey::generate(kind, env),
                validity: span(self.config.service_ticket_ttl),
            });
        }
        out
    }

    fn renew(&self, login: &Login, d: &mut Decoder<'_>) -> Result<Bytes, Errno> {
        let env = &*self.env;
        // No challenge here: the session is authenticated, and the answer is useless without the session key.
        let a = open_authorizer(&MonSecrets(self.db.clone()), EntityType::AUTH, env.now(), d)
            .map_err(|_| Errno::EPERM)?;
        if a.info.ticket.name != login.name || a.info.ticket.global_id != login.global_id {
            return Err(Errno::EPERM);
        }
        let req: CephXServiceTicketRequest = d.get().map_err(|_| Errno::EPERM)?;
        // A principal that was removed meanwhile gets nothing more.
        let entity = self.db.entity(&a.info.ticket.name).ok_or(Errno::EPERM)?;
        let infos = self.service_tickets(req.keys, &a.info.ticket, &entity);
        let mut e = Encoder::new(Features::default());
        e.put(&CephXResponseHeader { request_type: request::PRINCIPAL_SESSION_KEY, status: 0 });
        put_tickets(&mut e, &a.info.session_key, &infos, None, env).map_err(|_| Errno::EIO)?;
        Ok(e.finish())
    }

    fn rotating(&self, login: &Login) -> Result<Bytes, Errno> {
        // A daemon gets the secrets of its own service and of no other; AUTH's never leave the monitors.
        if !matches!(login.name.kind, EntityType::OSD | EntityType::MDS | EntityType::MGR | EntityType::MON) {
            return Err(Errno::EPERM);
        }
        let entity = self.db.entity(&login.name).ok_or(Errno::EPERM)?;
        let secrets = self.db.rotating(u32::from(login.name.kind.0)).ok_or(Errno::EPERM)?;
        let mut e = Encoder::new(Features::default());
        e.put(&CephXResponseHeader { request_type: request::ROTATING_KEY, status: 0 });
        entity
            .key
            .put_sealed(&mut e, usage::ROTATING_SECRET, &secrets, &*self.env)
            .map_err(|_| Errno::EPERM)?;
        Ok(e.finish())
    }
}

enum State {
    Start,
    Challenged(Login),
    Peer(Box<ServiceServerAuth>),
    Over,
}

/// The accepting side of one v2 connection to a monitor: principals (mode 10) and other monitors (authorizer).
pub struct MonServerAuth {
    shared: Rc<MonAuthenticator>,
    mode: u32,
    peer_type: EntityType,
    state: State,
}

impl MonServerAuth {
    fn bad(&mut self) -> ServerStep {
        self.state = State::Over;
        refuse(&self.shared.config, self.peer_type)
    }

    fn start(&mut self, method: u32, payload: &Bytes) -> Option<ServerStep> {
        let mut d = Decoder::new(payload);
        if d.u8().ok()? != MODE_MON {
            return None;
        }
        let name: AuthName = d.get().ok()?;
        let claimed = d.u64().ok()?;
        // What the principal calls itself decides too, so that a daemon's name cannot use the clients' methods.
        if !self.shared.config.methods_for(name.kind).contains(&method) {
            return None;
        }
        let login = match self.shared.begin(name, claimed) {
            Ok(l) => l,
            Err(result) => {
                self.state = State::Over;
                let ServerStep::Bad { allowed_methods, allowed_modes, .. } =
                    refuse(&self.shared.config, self.peer_type)
                else {
                    return None;
                };
                return Some(ServerStep::Bad { result, allowed_methods, allowed_modes });
            }
        };
        if method == METHOD_NONE {
            self.state = State::Over;
            if self.mode != MODE_CRC {
                return None;
            }
            return Some(ServerStep::Done {
                mode: self.mode,
                payload: Bytes::new(),
                keys: SessionKeys::default(),
                peer: AuthedPeer {
                    entity: login.name.to_string(),
                    global_id: login.global_id,
                    allow_all: true,
                    caps: String::new(),
                    expires: Utime::ZERO,
                },
            });
        }
        let mut e = Encoder::new(Features::default());
        e.put(&CephXServerChallenge { server_challenge: login.challenge });
        self.state = State::Challenged(login);
        Some(ServerStep::More(e.finish()))
    }
}

impl ServerAuth for MonServerAuth {
    fn handle_request(
        &mut self,
        peer_type: EntityType,
        method: u32,
        modes: &[u32],
        payload: Bytes,
    ) -> ServerStep {
        self.peer_type = peer_type;
        if !self.shared.config.methods_for(peer_type).contains(&method) {
            return self.bad();
        }
        let Some(mode) = self.shared.config.pick_mode(modes) else { return self.bad() };
        self.mode = mode;
        if peer_type == EntityType::MON && payload.first().is_some_and(|b| *b < MODE_MON) {
            let mut inner = Box::new(ServiceServerAuth::new(
                EntityType::MON,
                Rc::new(MonSecrets(self.shared.db.clone())),
                self.shared.env.clone(),
                self.shared.config.clone(),
            ));
            let step = inner.handle_request(peer_type, method, modes, payload);
            self.state = State::Peer(inner);
            return step;
        }
        if !matches!(method, METHOD_NONE | METHOD_CEPHX) {
            return self.bad();
        }
        self.start(method, &payload).unwrap_or_else(|| self.bad())
    }

    fn handle_more(&mut self, payload: Bytes) -> ServerStep {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Challenged(login) => {
                let (_, granted) = self.shared.handle_request(&login, &payload, Some(self.mode));
                let Some(g) = granted else { return self.bad() };
                // A client too old to ask for other keys gets no connection secret and cannot be in secure mode.
                if self.mode != MODE_CRC && g.connection_secret.is_empty() {
                    return self.bad();
                }
                ServerStep::Done {
                    mode: self.mode,
                    payload: g.reply,
                    keys: SessionKeys {
                        session_key: Bytes::copy_from_slice(g.session_key.secret()),
                        connection_secret: g.connection_secret,
                    },
                    peer: g.peer,
                }
            }
            State::Peer(mut inner) => {
                let step = inner.handle_more(payload);
                self.state = State::Peer(inner);
                step
            }
            State::Start | State::Over => self.bad(),
        }
    }
}

/// The answer to one `auth` message of a v1 session (the fields of `MAuthReply`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Reply {
    /// Chosen METHOD_*.
    pub protocol: u32,
    /// 0 or a negative errno.
    pub result: i32,
    /// The session's global id.
    pub global_id: u64,
    /// Method's payload.
    pub payload: Bytes,
    /// There when this message completed the login: the monitor then sends its map unasked.
    pub authenticated: Option<AuthedPeer>,
}

/// The login of one v1 session, by messages; serves renewals afterwards too.
pub struct V1MonLogin {
    shared: Rc<MonAuthenticator>,
    method: u32,
    login: Option<Login>,
    peer: Option<AuthedPeer>,
}

impl V1MonLogin {
    /// Who logged in, once someone has.
    pub fn peer(&self) -> Option<&AuthedPeer> {
        self.peer.as_ref()
    }

    fn reply(&self, result: i32, payload: Bytes) -> V1Reply {
        V1Reply {
            protocol: self.method,
            result,
            global_id: self.login.as_ref().map_or(0, |l| l.global_id),
            payload,
            authenticated: None,
        }
    }

    fn start(&mut self, payload: &Bytes) -> Result<V1Reply, i32> {
        let einval = Errno::EINVAL.negated();
        let mut d = Decoder::new(payload);
        let _v = d.u8().map_err(|_| einval)?;
        let supported: Vec<u32> = d.get().map_err(|_| einval)?;
        let name: AuthName = d.get().map_err(|_| einval)?;
        let claimed = d.u64().map_err(|_| einval)?;
        let allowed = self.shared.config.methods_for(name.kind);
        let Some(method) = allowed.iter().copied().find(|m| supported.contains(m)) else {
            return Err(Errno::EOPNOTSUPP.negated());
        };
        let login = self.shared.begin(name, claimed)?;
        self.method = method;
        let challenge = login.challenge;
        let peer = AuthedPeer {
            entity: login.name.to_string(),
            global_id: login.global_id,
            allow_all: true,
            caps: String::new(),
            expires: Utime::ZERO,
        };
        self.login = Some(login);
        if method == METHOD_NONE {
            self.peer = Some(peer.clone());
            let mut r = self.reply(0, Bytes::new());
            r.authenticated = Some(peer);
            return Ok(r);
        }
        let mut e = Encoder::new(Features::default());
        e.put(&CephXServerChallenge { server_challenge: challenge });
        Ok(self.reply(0, e.finish()))
    }

    /// One `auth` message: its protocol and payload.
    pub fn handle(&mut self, protocol: u32, payload: &Bytes) -> V1Reply {
        let Some(login) = self.login.as_mut() else {
            if protocol != 0 {
                return self.reply(Errno::EINVAL.negated(), Bytes::new());
            }
            return self.start(payload).unwrap_or_else(|result| self.reply(result, Bytes::new()));
        };
        if self.method != METHOD_CEPHX || protocol == 0 {
            return self.reply(Errno::EINVAL.negated(), Bytes::new());
        }
        let first = self.peer.is_none();
        let is_login = payload.get(..2) == Some(&request::AUTH_SESSION_KEY.to_le_bytes());
        if first && !is_login {
            return self.reply(Errno::EPERM.negated(), Bytes::new());
        }
        let (r, granted) = self.shared.handle_request(login, payload, None);
        if granted.is_some() {
            login.reclaim = true;
        }
        let mut reply = self.reply(r.result, r.payload);
        if let Some(g) = granted
            && first
        {
            self.peer = Some(g.peer.clone());
            reply.authenticated = Some(g.peer);
        }
        reply
    }
}
