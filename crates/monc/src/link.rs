//! [`MonLink`]: keeps one session with some monitor, and the process's tickets fresh.
//!
//! The owner's `Dispatcher` passes its callbacks on: `client_auth`, `on_connect`, `on_message`, `on_reset`; its loop calls
//! [`MonLink::tick`] about once a second. Nothing here knows what the other messages mean.

use bytes::Bytes;
use cephx::{Env, MonClientAuth, ServiceClientAuth, TicketStore};
use denc::Features;
use messages::{MAuth, MAuthReply, MMonMap, Message, Payload};
use msgr::auth::{ClientAuth, MODE_CRC, MODE_SECURE};
use net::{Connection, Messenger};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use types::monmap::MonMap;
use types::{AddrVec, EntityType, Utime};

/// Between two attempts to reach a monitor, at first and at most; doubles.
const HUNT_MIN: Duration = Duration::from_millis(50);
const HUNT_MAX: Duration = Duration::from_secs(3);
/// A monitor that has not answered for this long is given up (`mon_client_ping_timeout`).
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// `mon_client_ping_interval`.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Protocol number of cephx in `auth` messages.
const CEPHX: u32 = 2;

/// What the owner hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// The session is ready: (re)subscribe. For daemons, the rotating keys are there.
    Opened,
    /// Nothing that concerns the owner.
    Nothing,
    /// The session broke; another monitor is being tried.
    Closed,
    /// The message was not for us: the owner handles it.
    Pass,
}

/// See the module's documentation.
pub struct MonLink {
    messenger: Messenger,
    tickets: Rc<RefCell<TicketStore>>,
    env: Rc<dyn Env>,
    mons: RefCell<Vec<AddrVec>>,
    next_mon: Cell<usize>,
    conn: RefCell<Option<Connection>>,
    ready: Cell<bool>,
    wants_rotating: bool,
    retry_at: Cell<Utime>,
    backoff: Cell<Duration>,
    pinged_at: Cell<Utime>,
    opened_at: Cell<Utime>,
    renewal_sent: Cell<Utime>,
}

impl MonLink {
    /// Over `messenger`, to one of `mons`. `wants_rotating`: a daemon that must open its clients' tickets.
    pub fn new(
        messenger: Messenger,
        tickets: Rc<RefCell<TicketStore>>,
        env: Rc<dyn Env>,
        mons: Vec<AddrVec>,
        wants_rotating: bool,
    ) -> MonLink {
        let mut b = [0u8; 4];
        env.random(&mut b);
        MonLink {
            messenger,
            tickets,
            mons: RefCell::new(mons),
            next_mon: Cell::new(u32::from_le_bytes(b) as usize),
            conn: RefCell::new(None),
            ready: Cell::new(false),
            wants_rotating,
            retry_at: Cell::new(Utime::ZERO),
            backoff: Cell::new(HUNT_MIN),
            pinged_at: Cell::new(Utime::ZERO),
            opened_at: Cell::new(Utime::ZERO),
            renewal_sent: Cell::new(Utime::ZERO),
            env,
        }
    }

    /// The process's tickets.
    pub fn tickets(&self) -> &Rc<RefCell<TicketStore>> {
        &self.tickets
    }

    /// True when the session is ready.
    pub fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// Sends to the monitor; dropped while there is no ready session.
    pub fn send(&self, msg: Message) {
        if self.ready.get()
            && let Some(c) = &*self.conn.borrow()
        {
            c.send(msg);
        }
    }

    /// Features shared with the monitor; all of ours while there is no session.
    pub fn features(&self) -> Features {
        self.conn.borrow().as_ref().map_or(Features(types::features::SUPPORTED), Connection::features)
    }

    /// Addresses of the monitor of the ready session.
    pub fn monitor(&self) -> Option<AddrVec> {
        self.conn.borrow().as_ref().filter(|_| self.ready.get()).map(Connection::peer_addrs)
    }

    /// For the dispatcher: authentication towards a monitor or a service.
    pub fn client_auth(&self, peer: EntityType) -> Option<Box<dyn ClientAuth>> {
        match peer {
            EntityType::MON => {
                let modes = [MODE_SECURE, MODE_CRC];
                Some(Box::new(MonClientAuth::new(self.tickets.clone(), self.env.clone(), &modes)))
            }
            // Stock prefers secure mode towards the manager and crc between OSDs.
            EntityType::MGR => self.service_auth(peer, &[MODE_SECURE, MODE_CRC]),
            _ => self.service_auth(peer, &[MODE_CRC, MODE_SECURE]),
        }
    }

    fn service_auth(&self, peer: EntityType, modes: &[u32]) -> Option<Box<dyn ClientAuth>> {
        match ServiceClientAuth::new(&self.tickets, peer, self.env.clone(), modes) {
            Ok(auth) => Some(Box::new(auth)),
            Err(e) => {
                tracing::debug!(%peer, error = %e, "no authorizer yet");
                None
            }
        }
    }

    fn is_ours(&self, conn: &Connection) -> bool {
        self.conn.borrow().as_ref() == Some(conn)
    }

    fn hunt(&self) {
        let mons = self.mons.borrow();
        if mons.is_empty() {
            return;
        }
        let n = self.next_mon.get();
        self.next_mon.set(n.wrapping_add(1));
        let addrs = &mons[n % mons.len()];
        self.opened_at.set(self.env.now());
        *self.conn.borrow_mut() = Some(self.messenger.connect(EntityType::MON, addrs));
    }

    /// From the dispatcher's `on_connect`.
    pub fn on_connect(&self, conn: &Connection) -> LinkEvent {
        if !self.is_ours(conn) {
            return LinkEvent::Pass;
        }
        self.backoff.set(HUNT_MIN);
        self.pinged_at.set(self.env.now());
        if self.wants_rotating && self.tickets.borrow().need_rotating(self.env.now()) {
            let payload = self.tickets.borrow().rotating_request();
            conn.send(auth_message(payload, conn.features()));
            return LinkEvent::Nothing;
        }
        self.ready.set(true);
        LinkEvent::Opened
    }

    /// From the dispatcher's `on_message`: takes `auth_reply`, looks into `mon_map`, passes the rest.
    pub fn on_message(&self, conn: &Connection, msg: &Message) -> LinkEvent {
        if !self.is_ours(conn) {
            return LinkEvent::Pass;
        }
        match msg.header.kind {
            MAuthReply::KIND => self.on_auth_reply(msg),
            MMonMap::KIND => {
                let map = msg.decode::<MMonMap>().and_then(|m| denc::from_bytes::<MonMap>(&m.monmap));
                match map {
                    Ok(map) => {
                        let addrs: Vec<AddrVec> = map.mons.values().map(|m| m.public_addrs.clone()).collect();
                        if !addrs.is_empty() {
                            *self.mons.borrow_mut() = addrs;
                        }
                    }
                    Err(e) => tracing::warn!(error = %e, "malformed monmap from {:?}", msg.src),
                }
                LinkEvent::Pass
            }
            _ => LinkEvent::Pass,
        }
    }

    fn on_auth_reply(&self, msg: &Message) -> LinkEvent {
        let reply = match msg.decode::<MAuthReply>() {
            Ok(r) => r,
            Err(e) => {
                tracing::warn!(error = %e, "malformed auth_reply");
                return LinkEvent::Nothing;
            }
        };
        if reply.result != 0 {
            tracing::warn!(result = reply.result, message = reply.message, "the monitor refuses tickets");
            self.drop_session();
            return LinkEvent::Closed;
        }
        if let Err(e) = self.tickets.borrow_mut().handle_reply(&reply.payload, self.env.now()) {
            tracing::warn!(error = %e, "unusable auth_reply");
            return LinkEvent::Nothing;
        }
        if !self.ready.get() {
            self.ready.set(true);
            return LinkEvent::Opened;
        }
        LinkEvent::Nothing
    }

    fn drop_session(&self) {
        if let Some(c) = self.conn.borrow_mut().take() {
            c.mark_down();
        }
        self.ready.set(false);
        let wait = self.backoff.get();
        self.retry_at.set(self.env.now() + wait);
        self.backoff.set((wait * 2).min(HUNT_MAX));
    }

    /// From the dispatcher's `on_reset`.
    pub fn on_reset(&self, conn: &Connection) -> LinkEvent {
        if !self.is_ours(conn) {
            return LinkEvent::Pass;
        }
        let was_ready = self.ready.get();
        self.drop_session();
        if was_ready { LinkEvent::Closed } else { LinkEvent::Nothing }
    }

    /// Time passes: opens, pings, gives up, renews. Answers `Closed` when a silent monitor was given up.
    pub fn tick(&self) -> LinkEvent {
        let now = self.env.now();
        let conn = self.conn.borrow().clone();
        let Some(conn) = conn else {
            if now >= self.retry_at.get() {
                self.hunt();
            }
            return LinkEvent::Nothing;
        };
        if !self.ready.get() {
            // Neither refused nor answered: try the next one.
            if now.since(self.opened_at.get()) > Duration::from_secs(10) {
                self.drop_session();
            }
            return LinkEvent::Nothing;
        }
        if now.since(self.pinged_at.get()) >= PING_INTERVAL {
            let heard = conn.last_keepalive_ack().max(self.opened_at.get());
            if now.since(heard) > SILENCE_MAX {
                self.drop_session();
                return LinkEvent::Closed;
            }
            self.pinged_at.set(now);
            conn.keepalive();
        }
        self.renew(&conn, now);
        LinkEvent::Nothing
    }

    fn renew(&self, conn: &Connection, now: Utime) {
        if now.since(self.renewal_sent.get()) < Duration::from_secs(2) {
            return;
        }
        let request = self.tickets.borrow_mut().renewal_request(&*self.env);
        match request {
            Ok(Some(payload)) => {
                self.renewal_sent.set(now);
                conn.send(auth_message(payload, conn.features()));
            }
            Ok(None) => {}
            Err(e) => {
                // Only a new login helps.
                tracing::warn!(error = %e, "tickets cannot be renewed");
                self.tickets.borrow_mut().forget();
                self.drop_session();
                return;
            }
        }
        if self.wants_rotating && self.tickets.borrow().need_rotating(now) {
            self.renewal_sent.set(now);
            let payload = self.tickets.borrow().rotating_request();
            conn.send(auth_message(payload, conn.features()));
        }
    }
}

fn auth_message(payload: Bytes, features: Features) -> Message {
    Message::new(&MAuth { protocol: CEPHX, payload, ..MAuth::default() }, features)
}
