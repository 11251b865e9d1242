//! The connecting side: a [`TicketStore`] per process, and [`ClientAuth`] for monitors and services.
//!
//! Mirrors stock's `CephxClientHandler` and `CephXTicketManager`. Tickets are renewed when a quarter of their time is left.

use crate::crypto::{CephxError, CryptoKey, usage};
use crate::env::{Env, random_u64};
use crate::keyserver::RotatingSecrets;
use crate::proto::{
    AuthName, AuthTicket, CephXAuthenticate, CephXAuthorize, CephXAuthorizeChallenge, CephXAuthorizeReply,
    CephXResponseHeader, CephXServerChallenge, CephXServiceTicket, CephXServiceTicketInfo,
    CephXServiceTicketRequest, CephXTicketBlob, MODE_AUTHORIZER, MODE_MON, SECRET_ID_MON_KEY, request,
};
use crate::service::ServiceSecrets;
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use msgr::auth::{
    AuthError, AuthRequest, ClientAuth, METHOD_CEPHX, METHOD_NONE, MODE_CRC, MODE_SECURE, SessionKeys,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::{EntityType, Utime};

/// A ticket as its holder sees it.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Shared with the service.
    pub session_key: CryptoKey,
    /// The sealed ticket.
    pub blob: CephXTicketBlob,
    /// End of validity; zero for never.
    pub expires: Utime,
    /// From when on a new one should be asked for.
    pub renew_after: Utime,
}

/// A process's identity and tickets.
#[derive(Debug)]
pub struct TicketStore {
    name: AuthName,
    key: CryptoKey,
    method: u32,
    want: u32,
    global_id: u64,
    tickets: BTreeMap<u32, Ticket>,
    rotating: Option<RotatingSecrets>,
    server_challenge: u64,
}

const AUTH: u32 = EntityType::AUTH.0 as u32;

impl TicketStore {
    /// For a principal that logs in with cephx and wants tickets for `services`.
    pub fn new(name: AuthName, key: CryptoKey, services: &[EntityType]) -> TicketStore {
        TicketStore {
            name,
            key,
            method: METHOD_CEPHX,
            want: services.iter().fold(AUTH, |w, s| w | u32::from(s.0)),
            global_id: 0,
            tickets: BTreeMap::new(),
            rotating: None,
            server_challenge: 0,
        }
    }
    /// For a cluster without authentication.
    pub fn none(name: AuthName) -> TicketStore {
        let mut s = TicketStore::new(name, CryptoKey::default(), &[]);
        s.method = METHOD_NONE;
        s
    }
    /// A shared handle.
    pub fn shared(self) -> Rc<RefCell<TicketStore>> {
        Rc::new(RefCell::new(self))
    }

    /// The principal.
    pub fn name(&self) -> &AuthName {
        &self.name
    }
    /// METHOD_* in use.
    pub fn method(&self) -> u32 {
        self.method
    }
    /// Session identity given by the monitors; 0 before the first login.
    pub fn global_id(&self) -> u64 {
        self.global_id
    }
    /// Forgets identity and tickets: the next login is a new one.
    pub fn forget(&mut self) {
        self.global_id = 0;
        self.tickets.clear();
        self.server_challenge = 0;
    }
    /// The ticket for a service, if it still holds at `now`.
    pub fn ticket(&self, service: EntityType, now: Utime) -> Option<&Ticket> {
        self.tickets.get(&u32::from(service.0)).filter(|t| t.expires.is_zero() || now < t.expires)
    }
    /// Bits of the wanted tickets that are missing, or due for renewal.
    pub fn need(&self, now: Utime) -> u32 {
        if self.method == METHOD_NONE {
            return 0;
        }
        let mut need = 0;
        for bit in (0..32).map(|i| 1u32 << i).filter(|b| self.want & b != 0) {
            let fresh = self.tickets.get(&bit).is_some_and(|t| t.expires.is_zero() || now < t.renew_after);
            if !fresh {
                need |= bit;
            }
        }
        need
    }
    /// The next moment at which [`TicketStore::need`] will name something; `None` without tickets.
    pub fn next_renewal(&self) -> Option<Utime> {
        self.tickets.values().filter(|t| !t.expires.is_zero()).map(|t| t.renew_after).min()
    }
    /// A daemon's rotating secrets, once fetched.
    pub fn rotating(&self) -> Option<&RotatingSecrets> {
        self.rotating.as_ref()
    }
    /// True when a daemon should ask for rotating secrets (again).
    pub fn need_rotating(&self, now: Utime) -> bool {
        self.method != METHOD_NONE && self.rotating.as_ref().is_none_or(|r| now >= r.renew_at())
    }

    fn login_payload(&self) -> Bytes {
        let mut e = Encoder::new(Features::default());
        e.u8(MODE_MON);
        e.put(&self.name);
        e.u64(self.global_id);
        e.finish()
    }

    fn login_request(&mut self, env: &dyn Env) -> Result<Bytes, CephxError> {
        let client_challenge = random_u64(env);
        let old = if self.global_id == 0 { None } else { self.tickets.get(&AUTH) };
        let req = CephXAuthenticate {
            version: 3,
            client_challenge,
            key: self.key.challenge_proof(self.server_challenge, client_challenge)?,
            old_ticket: old.map(|t| t.blob.clone()).unwrap_or_default(),
            other_keys: self.want,
        };
        let mut e = Encoder::new(Features::default());
        e.u16(request::AUTH_SESSION_KEY);
        e.put(&req);
        Ok(e.finish())
    }

    fn take_tickets(&mut self, key: &CryptoKey, d: &mut Decoder<'_>, now: Utime) -> Result<(), CephxError> {
        let _v = d.u8()?;
        let n = d.count("tickets", 14)?;
        for _ in 0..n {
            let service = d.u32()?;
            let _v = d.u8()?;
            let a: CephXServiceTicket = key.get_sealed(d, usage::TICKET_SESSION_KEY)?;
            let blob: Bytes = if d.bool()? {
                let old = self.tickets.get(&service).ok_or(CephxError::Refused("no old session key"))?;
                old.session_key.get_sealed(d, usage::TICKET_BLOB)?
            } else {
                d.blob()?
            };
            let validity = Duration::from_nanos(a.validity.as_nanos());
            let (mut expires, mut renew_after) = (Utime::ZERO, Utime::ZERO);
            if !a.validity.is_zero() {
                expires = now + validity;
                renew_after = now + validity.mul_f64(0.75);
            }
            let ticket =
                Ticket { session_key: a.session_key, blob: denc::from_bytes(&blob)?, expires, renew_after };
            self.tickets.insert(service, ticket);
        }
        Ok(())
    }

    /// Reads the answer to a login; answers the session key and the connection secret.
    fn login_reply(&mut self, payload: &Bytes, now: Utime) -> Result<SessionKeys, CephxError> {
        let mut d = Decoder::new(payload);
        let header: CephXResponseHeader = d.get()?;
        if header.request_type != request::AUTH_SESSION_KEY || header.status != 0 {
            return Err(CephxError::Refused("login refused"));
        }
        let key = self.key.clone();
        self.take_tickets(&key, &mut d, now)?;
        let session_key =
            self.tickets.get(&AUTH).ok_or(CephxError::Refused("no AUTH ticket"))?.session_key.clone();
        let mut connection_secret = Bytes::new();
        if !d.is_empty() {
            let sealed = d.blob()?;
            let extra = d.blob()?;
            if !sealed.is_empty() {
                connection_secret =
                    session_key.get_sealed(&mut Decoder::new(&sealed), usage::CONNECTION_SECRET)?;
            }
            if !extra.is_empty() {
                self.take_tickets(&session_key, &mut Decoder::new(&extra), now)?;
            }
        }
        Ok(SessionKeys { session_key: Bytes::copy_from_slice(session_key.secret()), connection_secret })
    }

    /// Payload of an `auth` message that renews what [`TicketStore::need`] names; `None` when nothing is due.
    pub fn renewal_request(&mut self, env: &dyn Env) -> Result<Option<Bytes>, CephxError> {
        let need = self.need(env.now());
        if need == 0 {
            return Ok(None);
        }
        if need & AUTH != 0 {
            return self.login_request(env).map(Some);
        }
        let auth = self.tickets.get(&AUTH).ok_or(CephxError::Refused("no AUTH ticket"))?;
        let mut e = Encoder::new(Features::default());
        e.u16(request::PRINCIPAL_SESSION_KEY);
        let a = CephXAuthorize { nonce: random_u64(env), server_challenge_plus_one: None };
        put_authorizer(&mut e, self.global_id, AUTH, auth, &a, env)?;
        e.put(&CephXServiceTicketRequest { keys: need });
        Ok(Some(e.finish()))
    }

    /// Payload of an `auth` message that asks for the daemon's rotating secrets.
    pub fn rotating_request(&self) -> Bytes {
        Bytes::copy_from_slice(&request::ROTATING_KEY.to_le_bytes())
    }

    /// Takes the payload of any `auth_reply` inside a session.
    pub fn handle_reply(&mut self, payload: &Bytes, now: Utime) -> Result<(), CephxError> {
        let mut d = Decoder::new(payload);
        let header: CephXResponseHeader = d.get()?;
        match header.request_type {
            request::AUTH_SESSION_KEY => self.login_reply(payload, now).map(drop),
            request::PRINCIPAL_SESSION_KEY => {
                let auth = self.tickets.get(&AUTH).ok_or(CephxError::Refused("no AUTH ticket"))?;
                let key = auth.session_key.clone();
                self.take_tickets(&key, &mut d, now)
            }
            request::ROTATING_KEY => {
                self.rotating = Some(self.key.get_sealed(&mut d, usage::ROTATING_SECRET)?);
                Ok(())
            }
            _ => Err(CephxError::Refused("unknown answer")),
        }
    }

    /// First `auth` message of a v1 session (protocol 0).
    pub fn v1_start(&self) -> Bytes {
        let mut e = Encoder::new(Features::default());
        e.u8(1);
        e.put(&vec![self.method]);
        e.put(&self.name);
        e.u64(self.global_id);
        e.finish()
    }

    /// Answer to the monitor's challenge in a v1 session (protocol 2): the second `auth` message.
    pub fn v1_challenge(
        &mut self,
        global_id: u64,
        payload: &Bytes,
        env: &dyn Env,
    ) -> Result<Bytes, CephxError> {
        let ch: CephXServerChallenge = denc::from_bytes(payload)?;
        self.server_challenge = ch.server_challenge;
        let request = self.login_request(env)?;
        self.global_id = global_id;
        Ok(request)
    }
}

/// A daemon opens its clients' tickets with the rotating secrets that it fetched.
impl ServiceSecrets for RefCell<TicketStore> {
    fn service_secret(&self, service: u32, secret_id: u64) -> Option<CryptoKey> {
        let s = self.borrow();
        if service != u32::from(s.name.kind.0) {
            return None;
        }
        s.rotating.as_ref()?.get(secret_id).cloned()
    }
}

fn put_authorizer(
    e: &mut Encoder,
    global_id: u64,
    service: u32,
    ticket: &Ticket,
    msg: &CephXAuthorize,
    env: &dyn Env,
) -> Result<(), CephxError> {
    e.u8(MODE_AUTHORIZER);
    e.u64(global_id);
    e.u32(service);
    e.put(&ticket.blob);
    ticket.session_key.put_sealed(e, usage::AUTHORIZE, msg, env)
}

fn fail(reason: &'static str) -> AuthError {
    AuthError { reason }
}
fn fail_with(e: &CephxError) -> AuthError {
    fail(match e {
        CephxError::Sealed => "the other side does not have our key, or its answer is damaged",
        CephxError::Key => "unusable key",
        CephxError::Decode(_) => "malformed answer",
        CephxError::Refused(r) => r,
    })
}

/// Secure mode without a whole secret would be no encryption at all.
fn check_mode(offered: &[u32], mode: u32, secret: &[u8]) -> Result<(), AuthError> {
    if !offered.contains(&mode) {
        return Err(fail("server chose a mode that was not offered"));
    }
    if mode == MODE_SECURE && secret.len() < crate::service::CONNECTION_SECRET_LEN {
        return Err(fail("no connection secret for secure mode"));
    }
    Ok(())
}

/// The connecting side towards a monitor.
pub struct MonClientAuth {
    store: Rc<RefCell<TicketStore>>,
    env: Rc<dyn Env>,
    modes: Vec<u32>,
}

impl MonClientAuth {
    /// For one connection; `modes` in order of preference (stock: secure, crc).
    pub fn new(store: Rc<RefCell<TicketStore>>, env: Rc<dyn Env>, modes: &[u32]) -> MonClientAuth {
        MonClientAuth { store, env, modes: modes.to_vec() }
    }
}

impl ClientAuth for MonClientAuth {
    fn start(&mut self) -> Result<AuthRequest, AuthError> {
        let s = self.store.borrow();
        let modes = if s.method == METHOD_NONE { vec![MODE_CRC] } else { self.modes.clone() };
        Ok(AuthRequest { method: s.method, modes, payload: s.login_payload() })
    }

    fn handle_bad_method(
        &mut self,
        _method: u32,
        _result: i32,
        allowed_methods: &[u32],
        _allowed_modes: &[u32],
    ) -> Result<AuthRequest, AuthError> {
        let mut s = self.store.borrow_mut();
        if !allowed_methods.contains(&s.method) {
            return Err(fail("server does not allow our method"));
        }
        // Perhaps only our old identity is not accepted any more; the next connection tries as a new one.
        if s.global_id != 0 {
            s.forget();
            return Err(fail("old global id refused; identity forgotten"));
        }
        Err(fail("access denied: wrong key or unknown entity"))
    }

    fn handle_reply_more(&mut self, payload: Bytes) -> Result<Bytes, AuthError> {
        let ch: CephXServerChallenge = denc::from_bytes(&payload).map_err(|_| fail("malformed challenge"))?;
        let mut s = self.store.borrow_mut();
        s.server_challenge = ch.server_challenge;
        s.login_request(&*self.env).map_err(|e| fail_with(&e))
    }

    fn handle_done(&mut self, global_id: u64, mode: u32, payload: Bytes) -> Result<SessionKeys, AuthError> {
        let mut s = self.store.borrow_mut();
        if s.method == METHOD_NONE {
            s.global_id = global_id;
            return Ok(SessionKeys::default());
        }
        let keys = s.login_reply(&payload, self.env.now()).map_err(|e| fail_with(&e))?;
        check_mode(&self.modes, mode, &keys.connection_secret)?;
        s.global_id = global_id;
        Ok(keys)
    }
}

/// The connecting side towards a service.
pub struct ServiceClientAuth {
    env: Rc<dyn Env>,
    modes: Vec<u32>,
    service: u32,
    name: AuthName,
    method: u32,
    global_id: u64,
    ticket: Option<Ticket>,
    nonce: u64,
}

impl ServiceClientAuth {
    /// With the store's ticket for `service`; fails when there is none that holds.
    pub fn new(
        store: &RefCell<TicketStore>,
        service: EntityType,
        env: Rc<dyn Env>,
        modes: &[u32],
    ) -> Result<ServiceClientAuth, CephxError> {
        let s = store.borrow();
        let ticket = s.ticket(service, env.now()).cloned();
        if ticket.is_none() && s.method != METHOD_NONE {
            return Err(CephxError::Refused("no ticket for the service"));
        }
        let nonce = random_u64(&*env);
        Ok(ServiceClientAuth {
            env,
            modes: if s.method == METHOD_NONE { vec![MODE_CRC] } else { modes.to_vec() },
            service: u32::from(service.0),
            name: s.name.clone(),
            method: s.method,
            global_id: s.global_id,
            ticket,
            nonce,
        })
    }

    /// A monitor towards another one: a ticket that it seals itself with the shared key `mon.`.
    pub fn mon_peer(
        mon_key: &CryptoKey,
        env: Rc<dyn Env>,
        modes: &[u32],
    ) -> Result<ServiceClientAuth, CephxError> {
        let name = AuthName::new(EntityType::MON, "");
        let session_key = CryptoKey::generate(mon_key.kind(), &*env);
        let expires = env.now() + Duration::from_secs(3600);
        let mut ticket =
            AuthTicket { name: name.clone(), created: env.now(), expires, ..AuthTicket::default() };
        ticket.caps.allow_all = true;
        let info = CephXServiceTicketInfo { ticket, session_key: session_key.clone() };
        let blob = CephXTicketBlob {
            secret_id: SECRET_ID_MON_KEY,
            blob: mon_key.seal(usage::TICKET_INFO, &info, &*env)?,
        };
        let nonce = random_u64(&*env);
        Ok(ServiceClientAuth {
            env,
            modes: modes.to_vec(),
            service: u32::from(EntityType::MON.0),
            name,
            method: METHOD_CEPHX,
            global_id: 0,
            ticket: Some(Ticket { session_key, blob, expires, renew_after: expires }),
            nonce,
        })
    }

    fn authorizer(&self, answer: Option<u64>) -> Result<Bytes, AuthError> {
        let mut e = Encoder::new(Features::default());
        match &self.ticket {
            Some(t) => {
                let msg = CephXAuthorize { nonce: self.nonce, server_challenge_plus_one: answer };
                put_authorizer(&mut e, self.global_id, self.service, t, &msg, &*self.env)
                    .map_err(|e| fail_with(&e))?;
            }
            None => {
                e.u8(MODE_AUTHORIZER);
                e.put(&self.name);
                e.u64(self.global_id);
            }
        }
        Ok(e.finish())
    }
}

impl ClientAuth for ServiceClientAuth {
    fn start(&mut self) -> Result<AuthRequest, AuthError> {
        Ok(AuthRequest { method: self.method, modes: self.modes.clone(), payload: self.authorizer(None)? })
    }

    fn handle_bad_method(
        &mut self,
        _method: u32,
        _result: i32,
        _allowed_methods: &[u32],
        _allowed_modes: &[u32],
    ) -> Result<AuthRequest, AuthError> {
        Err(fail("authorizer refused"))
    }

    fn handle_reply_more(&mut self, payload: Bytes) -> Result<Bytes, AuthError> {
        let t = self.ticket.as_ref().ok_or(fail("challenge without a ticket"))?;
        let ch: CephXAuthorizeChallenge =
            t.session_key.open(usage::AUTHORIZE_CHALLENGE, &payload).map_err(|e| fail_with(&e))?;
        self.authorizer(Some(ch.server_challenge.wrapping_add(1)))
    }

    fn handle_done(&mut self, _global_id: u64, mode: u32, payload: Bytes) -> Result<SessionKeys, AuthError> {
        let Some(t) = &self.ticket else { return Ok(SessionKeys::default()) };
        let reply: CephXAuthorizeReply = t
            .session_key
            .get_sealed(&mut Decoder::new(&payload), usage::AUTHORIZE_REPLY)
            .map_err(|e| fail_with(&e))?;
        if reply.nonce_plus_one != self.nonce.wrapping_add(1) {
            return Err(fail("service did not open our nonce"));
        }
        check_mode(&self.modes, mode, &reply.connection_secret)?;
        Ok(SessionKeys {
            session_key: Bytes::copy_from_slice(t.session_key.secret()),
            connection_secret: reply.connection_secret,
        })
    }
}
