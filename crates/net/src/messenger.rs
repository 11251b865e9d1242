//! [`Messenger`]: listeners and sessions of one daemon.

use crate::connection::ConnInner;
use crate::{Connection, ConnectionStats, Dispatcher, MessengerConfig, Policy, Throttle};
use msgr::auth::SessionKeys;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use types::{AddrVec, EntityAddr, EntityName, EntityType, Utime};

/// Counters of a messenger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessengerStats {
    /// Times a reading task woke and read.
    pub wakeups: u64,
    /// read system calls.
    pub reads: u64,
    /// write system calls.
    pub writes: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Handshakes that failed.
    pub handshakes_failed: u64,
    /// Sessions now.
    pub sessions: u64,
}

/// One daemon's messenger. Cloning clones the handle.
#[derive(Clone)]
pub struct Messenger(Rc<MsgrInner>);

#[allow(dead_code)]
struct MsgrInner {
    cfg: RefCell<MessengerConfig>,
    dispatcher: Rc<dyn Dispatcher>,
    my_addrs: RefCell<AddrVec>,
    throttle: Rc<Throttle>,
    next_id: Cell<u64>,
    stats: Cell<MessengerStats>,
}

impl Messenger {
    /// Makes a messenger that calls `dispatcher`. Nothing is opened yet. A dispatcher that needs the messenger holds it in a
    /// `OnceCell` filled after this call; [`Messenger::shutdown`] breaks the cycle.
    pub fn new(cfg: MessengerConfig, dispatcher: Rc<dyn Dispatcher>) -> Messenger {
        let throttle = Throttle::new(cfg.throttle_bytes_max, cfg.throttle_messages_max);
        Messenger(Rc::new(MsgrInner {
            cfg: RefCell::new(cfg),
            dispatcher,
            my_addrs: RefCell::new(AddrVec::default()),
            throttle,
            next_id: Cell::new(1),
            stats: Cell::new(MessengerStats::default()),
        }))
    }
    /// Opens listeners: one for each address, v1 or v2 by its kind; port 0 lets the system choose. Answers the addresses
    /// as they are announced (with the real ports and our nonce), which become [`Messenger::my_addrs`].
    /// Must be called inside the `LocalSet`.
    pub fn bind(&self, _addrs: &[EntityAddr]) -> io::Result<AddrVec> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Addresses that we announce.
    pub fn my_addrs(&self) -> AddrVec {
        self.0.my_addrs.borrow().clone()
    }
    /// Changes the addresses that we announce.
    pub fn set_my_addrs(&self, addrs: AddrVec) {
        *self.0.my_addrs.borrow_mut() = addrs;
    }
    /// Our name.
    pub fn my_name(&self) -> EntityName {
        self.0.cfg.borrow().name
    }
    /// Changes our name (a client learns its number when it authenticates).
    pub fn set_my_name(&self, name: EntityName) {
        self.0.cfg.borrow_mut().name = name;
    }
    /// Sets the policy for a type of peer; sessions that exist keep theirs.
    pub fn set_policy(&self, peer: EntityType, policy: Policy) {
        self.0.cfg.borrow_mut().policies.insert(peer, policy);
    }
    /// Sets the features that every peer must have, from the next handshake on.
    pub fn set_features_required(&self, bits: u64) {
        self.0.cfg.borrow_mut().features_required = bits;
    }
    /// A session with the peer at `addrs`, by the policy for its type. On a stateful policy the session that exists is
    /// found again by address; on a lossy one each call makes a new one. v2 is used when `addrs` has such an address.
    /// Answers at once; messages may be queued. Must be called inside the `LocalSet`.
    pub fn connect(&self, peer_type: EntityType, addrs: &AddrVec) -> Connection {
        let policy = self.0.cfg.borrow().policy(peer_type);
        self.connect_with(peer_type, addrs, policy)
    }
    /// [`Messenger::connect`] with a policy of its own.
    pub fn connect_with(&self, peer_type: EntityType, addrs: &AddrVec, _policy: Policy) -> Connection {
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        Connection(Rc::new(ConnInner {
            id,
            is_v1: Cell::new(false),
            authed: RefCell::new(None),
            keys: RefCell::new(SessionKeys::default()),
            peer_name: Cell::new(EntityName { kind: peer_type, num: -1 }),
            peer_addrs: RefCell::new(addrs.clone()),
            sock_addr: Cell::new(None),
            features: Cell::new(0),
            last_keepalive_ack: Cell::new(Utime::ZERO),
            user: RefCell::new(None),
            stats: Cell::new(ConnectionStats::default()),
            up: Cell::new(false),
            closed: Cell::new(false),
            disposable: Cell::new(false),
            out: RefCell::new(Vec::new()),
        }))
    }
    /// Every session that is not closed.
    pub fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }
    /// Ends every session with a peer at one of these addresses (a peer that the map marked down).
    pub fn mark_down_addrs(&self, _addrs: &AddrVec) {}
    /// Ends every session; listeners stay.
    pub fn mark_down_all(&self) {}
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
    }
}
