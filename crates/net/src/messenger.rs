//! [`Messenger`]: listeners and sessions of one daemon.

use crate::driver::{self, Sock};
use crate::{Connection, Dispatcher, MessengerConfig, Policy, Throttle};
use msgr::{Endpoint, SessionId, TransportId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Utime};

/// Connections that the kernel may hold for us before we accept them.
const BACKLOG: i32 = 1024;

/// Counters of a messenger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessengerStats {
    /// Times a reading task woke and read.
    pub reads: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// write system calls.
    pub writes: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// write system calls that found the socket full.
    pub writes_blocked: u64,
    /// Messages delivered.
    pub messages_in: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed on accept because there were too many.
    pub accepts_refused: u64,
    /// Transports that ended before their session was ready, or by a protocol error.
    pub transports_failed: u64,
}

/// One daemon's messenger. Cloning clones the handle.
#[derive(Clone)]
pub struct Messenger(pub(crate) Rc<MsgrInner>);

pub(crate) struct MsgrInner {
    pub(crate) ep: RefCell<Endpoint>,
    pub(crate) dispatcher: Rc<dyn Dispatcher>,
    pub(crate) conns: RefCell<BTreeMap<SessionId, Connection>>,
    pub(crate) socks: RefCell<BTreeMap<TransportId, Sock>>,
    pub(crate) throttle: Rc<Throttle>,
    pub(crate) stats: Cell<MessengerStats>,
    pub(crate) connections_max: usize,
    pub(crate) lean: bool,
    pub(crate) pumping: Cell<bool>,
    pub(crate) resumed: Cell<bool>,
    pub(crate) down: Cell<bool>,
    kicked: Cell<bool>,
    /// The owner gathers sends and flushes them itself.
    held: Cell<bool>,
    /// What the background task sleeps until; `None` while it is busy.
    pub(crate) armed: Cell<Option<Utime>>,
    pub(crate) work: Notify,
    nonce: u32,
    tasks: RefCell<Vec<AbortHandle>>,
    background: Cell<bool>,
    started: tokio::time::Instant,
    started_wall: Utime,
}

impl MsgrInner {
    /// Wall clock at the start plus time passed since: never goes back.
    pub(crate) fn now(&self) -> Utime {
        self.started_wall + self.started.elapsed()
    }
    pub(crate) fn count(&self, f: impl FnOnce(&mut MessengerStats)) {
        let mut n = self.stats.get();
        f(&mut n);
        self.stats.set(n);
    }
    /// Something may be waiting to be written or told; inside a batch its end sees to that.
    pub(crate) fn kick(&self) {
        if !self.pumping.get() && !self.kicked.replace(true) {
            self.work.notify_one();
        }
    }
    /// True while the owner flushes itself.
    pub(crate) fn is_held(&self) -> bool {
        self.held.get()
    }
    /// The same after a send: who holds the messenger flushes it.
    pub(crate) fn kick_unless_held(&self) {
        if !self.held.get() {
            self.kick();
        }
    }
    pub(crate) fn unkick(&self) {
        self.kicked.set(false);
    }
}

impl Messenger {
    /// Makes a messenger that calls `dispatcher`. Nothing is opened yet. A dispatcher that needs the messenger holds it in a
    /// `OnceCell` filled after this call; [`Messenger::shutdown`] breaks the cycle.
    pub fn new(cfg: MessengerConfig, dispatcher: Rc<dyn Dispatcher>) -> Messenger {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let random = || getrandom::u64().expect("the system has random numbers");
        Messenger(Rc::new(MsgrInner {
            ep: RefCell::new(Endpoint::new(cfg.endpoint(), Box::new(random))),
            dispatcher,
            conns: RefCell::new(BTreeMap::new()),
            socks: RefCell::new(BTreeMap::new()),
            throttle: Throttle::new(cfg.throttle_bytes_max, cfg.throttle_messages_max),
            stats: Cell::new(MessengerStats::default()),
            connections_max: cfg.connections_max,
            lean: cfg.lean,
            pumping: Cell::new(false),
            resumed: Cell::new(false),
            down: Cell::new(false),
            kicked: Cell::new(false),
            held: Cell::new(false),
            armed: Cell::new(None),
            work: Notify::new(),
            nonce: cfg.nonce,
            tasks: RefCell::new(Vec::new()),
            background: Cell::new(false),
            started: tokio::time::Instant::now(),
            started_wall: Utime::ZERO + since,
        }))
    }
    /// The task that does what happens outside of reading: timers, and sends from elsewhere.
    fn start(&self) {
        if !self.0.background.replace(true) {
            let task = tokio::task::spawn_local(driver::background(self.0.clone()));
            self.0.tasks.borrow_mut().push(task.abort_handle());
        }
    }
    /// Opens listeners: one for each address, v1 or v2 by its kind (v2 unless `Legacy`); port 0 lets the system choose. Answers
    /// the addresses as they are announced (with the real ports and our nonce), which become [`Messenger::my_addrs`].
    /// Must be called inside the `LocalSet`.
    pub fn bind(&self, addrs: &[EntityAddr]) -> io::Result<AddrVec> {
        self.start();
        let mut bound = AddrVec::default();
        for a in addrs {
            let Some(sock) = a.sock else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
            let listener = listen(sock)?;
            let is_v1 = a.kind == AddrType::Legacy;
            let kind = if is_v1 { AddrType::Legacy } else { AddrType::Msgr2 };
            bound.0.push(EntityAddr::new(kind, listener.local_addr()?, self.0.nonce));
            let task = tokio::task::spawn_local(driver::accept_loop(self.0.clone(), listener, is_v1));
            self.0.tasks.borrow_mut().push(task.abort_handle());
        }
        self.set_my_addrs(bound.clone());
        Ok(bound)
    }
    /// Addresses that we announce.
    pub fn my_addrs(&self) -> AddrVec {
        self.0.ep.borrow().my_addrs.clone()
    }
    /// Changes the addresses that we announce.
    pub fn set_my_addrs(&self, addrs: AddrVec) {
        self.0.ep.borrow_mut().my_addrs = addrs;
    }
    /// Our name.
    pub fn my_name(&self) -> EntityName {
        self.0.ep.borrow().cfg.name
    }
    /// Changes our name (a client learns its number when it authenticates).
    pub fn set_my_name(&self, name: EntityName) {
        self.0.ep.borrow_mut().cfg.name = name;
    }
    /// Sets the policy for a type of peer; sessions that exist keep theirs.
    pub fn set_policy(&self, peer: EntityType, policy: Policy) {
        self.0.ep.borrow_mut().cfg.policies.insert(peer, policy);
    }
    /// Sets the features that every peer must have, from the next handshake on.
    pub fn set_features_required(&self, bits: u64) {
        self.0.ep.borrow_mut().cfg.features_required = bits;
    }
    /// A session with the peer at `addrs`, by the policy for its type. On a stateful policy the session that exists is
    /// found again by address; on a lossy one each call makes a new one. v2 is used when `addrs` has such an address.
    /// Answers at once; messages may be queued. Must be called inside the `LocalSet`.
    pub fn connect(&self, peer_type: EntityType, addrs: &AddrVec) -> Connection {
        let policy = self.0.ep.borrow().cfg.policy(peer_type);
        self.connect_with(peer_type, addrs, policy)
    }
    /// [`Messenger::connect`] with a policy of its own.
    pub fn connect_with(&self, peer_type: EntityType, addrs: &AddrVec, policy: Policy) -> Connection {
        self.start();
        let now = self.0.now();
        let mut ep = self.0.ep.borrow_mut();
        let supported = ep.cfg.features_supported;
        let id = ep.connect(now, peer_type, addrs, policy);
        let weak = Rc::downgrade(&self.0);
        let mut conns = self.0.conns.borrow_mut();
        let conn = conns.entry(id).or_insert_with(|| match ep.session(id) {
            Some(s) => Connection::new(id, weak, s),
            // It failed on the spot (no usable address); its reset is on the way.
            None => {
                let name = EntityName::new(peer_type, -1);
                Connection::new(id, weak, &Endpoint::dead_session(policy, name, addrs.clone()))
            }
        });
        conn.assume_features(supported);
        self.0.kick();
        conn.clone()
    }
    /// Every session that is not closed.
    pub fn connections(&self) -> Vec<Connection> {
        self.0.conns.borrow().values().cloned().collect()
    }
    /// Ends every session with a peer at one of these addresses (a peer that the map marked down).
    pub fn mark_down_addrs(&self, addrs: &AddrVec) {
        let ids = self.0.ep.borrow().sessions_at(addrs);
        for id in ids {
            let conn = self.0.conns.borrow().get(&id).cloned();
            if let Some(c) = conn {
                c.mark_down();
            }
        }
    }
    /// Ends every session; listeners stay.
    pub fn mark_down_all(&self) {
        for c in self.connections() {
            c.mark_down();
        }
    }
    /// From now to [`Messenger::flush`], which must follow soon, sends wake nobody, and ends of batches write nothing.
    pub fn hold(&self) {
        self.0.held.set(true);
    }
    /// Writes what is queued now, without waiting for the end of a batch or the next turn. Calls nothing back.
    pub fn flush(&self) {
        self.0.held.set(false);
        driver::flush(&self.0);
        // A send may have opened a transport, or failed: that is for the background task.
        if self.0.ep.borrow().has_events() {
            self.0.kick();
        }
    }
    /// The throttle of received messages.
    pub fn throttle(&self) -> Rc<Throttle> {
        self.0.throttle.clone()
    }
    /// Counters.
    pub fn stats(&self) -> MessengerStats {
        self.0.stats.get()
    }
    /// Ends sessions, closes listeners and stops all tasks; no callback follows.
    pub fn shutdown(&self) {
        self.mark_down_all();
        driver::close_all(&self.0);
        self.0.down.set(true);
        for t in self.0.tasks.borrow_mut().drain(..) {
            t.abort();
        }
        for (_, s) in std::mem::take(&mut *self.0.socks.borrow_mut()) {
            s.task.abort();
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let s = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    s.set_reuse_address(true)?;
    s.set_nonblocking(true)?;
    s.bind(&addr.into())?;
    s.listen(BACKLOG)?;
    TcpListener::from_std(s.into())
}
