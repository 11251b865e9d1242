//! [`Connection`]: the handle of one session with a peer, whatever transports carry it over time.

use crate::messenger::MsgrInner;
use messages::Message;
use msgr::Session;
use msgr::auth::{AuthedPeer, SessionKeys};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use types::{AddrVec, EntityName, EntityType, Utime};

/// Counters of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Messages sent (first time).
    pub messages_out: u64,
    /// Messages delivered to the dispatcher.
    pub messages_in: u64,
    /// Transports this session has had.
    pub transports: u64,
}

/// A session with a peer. Cloning clones the handle; equality is identity.
#[derive(Clone)]
pub struct Connection(pub(crate) Rc<ConnInner>);

pub(crate) struct ConnInner {
    id: u64,
    msgr: Weak<MsgrInner>,
    is_v1: Cell<bool>,
    authed: RefCell<Option<AuthedPeer>>,
    keys: RefCell<SessionKeys>,
    peer_name: Cell<EntityName>,
    peer_addrs: RefCell<AddrVec>,
    sock_addr: Cell<Option<SocketAddr>>,
    features: Cell<u64>,
    pub(crate) last_keepalive_ack: Cell<Utime>,
    user: RefCell<Option<Rc<dyn Any>>>,
    stats: Cell<ConnectionStats>,
    pub(crate) closed: Cell<bool>,
    pub(crate) throttled: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(id: u64, msgr: Weak<MsgrInner>, s: &Session) -> Connection {
        Connection(Rc::new(ConnInner {
            id,
            msgr,
            is_v1: Cell::new(s.is_v1),
            authed: RefCell::new(None),
            keys: RefCell::new(SessionKeys::default()),
            peer_name: Cell::new(s.peer_name),
            peer_addrs: RefCell::new(s.peer_addrs.clone()),
            sock_addr: Cell::new(s.sock),
            features: Cell::new(0),
            last_keepalive_ack: Cell::new(Utime::ZERO),
            user: RefCell::new(None),
            stats: Cell::new(ConnectionStats::default()),
            closed: Cell::new(false),
            throttled: Cell::new(s.policy.throttled),
        }))
    }
    /// Takes over what a handshake taught.
    pub(crate) fn refresh(&self, s: &Session) {
        let c = &self.0;
        c.is_v1.set(s.is_v1);
        if s.authed.is_some() {
            c.authed.borrow_mut().clone_from(&s.authed);
        }
        c.keys.borrow_mut().clone_from(&s.keys);
        c.peer_name.set(s.peer_name);
        c.peer_addrs.borrow_mut().clone_from(&s.peer_addrs);
        c.sock_addr.set(s.sock);
        c.features.set(s.features);
        c.throttled.set(s.policy.throttled);
        self.count(|n| n.transports += 1);
    }
    pub(crate) fn assume_features(&self, supported: u64) {
        if self.0.features.get() == 0 {
            self.0.features.set(supported);
        }
    }
    /// A v1 peer's number comes with its first message.
    pub(crate) fn learn_name(&self, src: EntityName) {
        if self.0.peer_name.get().num < 0 {
            self.0.peer_name.set(src);
        }
    }
    pub(crate) fn count(&self, f: impl FnOnce(&mut ConnectionStats)) {
        let mut n = self.0.stats.get();
        f(&mut n);
        self.0.stats.set(n);
    }
    /// Unique in this process; never reused by this messenger.
    pub fn id(&self) -> u64 {
        self.0.id
    }
    /// Queues a message. It is written at the end of the current batch of callbacks, or at the next turn of the runtime when
    /// called from elsewhere (or by [`crate::Messenger::flush`]). On a closed session it is dropped.
    pub fn send(&self, msg: Message) {
        let Some(m) = self.0.msgr.upgrade() else { return };
        if self.0.closed.get() {
            return;
        }
        self.count(|n| n.messages_out += 1);
        m.ep.borrow_mut().send(m.now(), self.0.id, msg);
        m.kick_unless_held();
    }
    /// Queues several messages in order.
    pub fn send_many(&self, msgs: impl IntoIterator<Item = Message>) {
        for m in msgs {
            self.send(m);
        }
    }
    /// Who the peer proved to be. `None` before authentication, on sessions that we opened, and on v1 monitor sessions until
    /// [`Connection::set_authed`].
    pub fn peer(&self) -> Option<AuthedPeer> {
        self.0.authed.borrow().clone()
    }
    /// Runs `f` on the authenticated peer without cloning it.
    pub fn with_peer<R>(&self, f: impl FnOnce(Option<&AuthedPeer>) -> R) -> R {
        f(self.0.authed.borrow().as_ref())
    }
    /// Records the outcome of a login by messages (v1 monitor sessions; renewals on any session).
    pub fn set_authed(&self, peer: AuthedPeer, keys: SessionKeys) {
        let name = self.0.peer_name.get();
        if name.kind == EntityType::CLIENT && name.num < 0 {
            let name = EntityName::client(peer.global_id);
            self.0.peer_name.set(name);
            if let Some(m) = self.0.msgr.upgrade() {
                m.ep.borrow_mut().set_peer_name(self.0.id, name);
            }
        }
        *self.0.authed.borrow_mut() = Some(peer);
        *self.0.keys.borrow_mut() = keys;
    }
    /// The keys of the session.
    pub fn session_keys(&self) -> SessionKeys {
        self.0.keys.borrow().clone()
    }
    /// The name that the peer goes by: its type and number (a client's number is its global id).
    pub fn peer_name(&self) -> EntityName {
        self.0.peer_name.get()
    }
    /// The peer's type.
    pub fn peer_type(&self) -> EntityType {
        self.0.peer_name.get().kind
    }
    /// Addresses that the peer announced (or that we connect to).
    pub fn peer_addrs(&self) -> AddrVec {
        self.0.peer_addrs.borrow().clone()
    }
    /// The peer's end of the current or last socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.0.sock_addr.get()
    }
    /// True when the session runs over messenger v1.
    pub fn is_v1(&self) -> bool {
        self.0.is_v1.get()
    }
    /// Features that both sides have; what messages to this peer are encoded with. Before the first handshake: what we support.
    pub fn features(&self) -> denc::Features {
        denc::Features(self.0.features.get())
    }
    /// True while a transport carries the session.
    pub fn is_connected(&self) -> bool {
        let Some(m) = self.0.msgr.upgrade() else { return false };
        let ep = m.ep.borrow();
        ep.session(self.0.id).is_some_and(|s| s.state == msgr::State::Ready)
    }
    /// True after `mark_down`, or when the session ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }
    /// Messages sent and not acknowledged yet, or waiting for a transport. Lossy sessions do not wait for acks.
    pub fn pending(&self) -> usize {
        let Some(m) = self.0.msgr.upgrade() else { return 0 };
        m.ep.borrow().session(self.0.id).map_or(0, Session::pending)
    }
    /// Ends the session now: what is written already still leaves, queued messages are dropped, no callback follows.
    pub fn mark_down(&self) {
        self.0.closed.set(true);
        if let Some(m) = self.0.msgr.upgrade() {
            m.conns.borrow_mut().remove(&self.0.id);
            m.ep.borrow_mut().mark_down(self.0.id);
            m.kick();
        }
    }
    /// From now on a break ends the session, as on a lossy one.
    pub fn mark_disposable(&self) {
        if let Some(m) = self.0.msgr.upgrade() {
            m.ep.borrow_mut().mark_disposable(self.0.id);
        }
    }
    /// Sends a keepalive; the answer moves [`Connection::last_keepalive_ack`].
    pub fn keepalive(&self) {
        if let Some(m) = self.0.msgr.upgrade() {
            m.ep.borrow_mut().keepalive(m.now(), self.0.id);
            m.kick();
        }
    }
    /// Time stamp (ours) of the newest keepalive that the peer acknowledged.
    pub fn last_keepalive_ack(&self) -> Utime {
        self.0.last_keepalive_ack.get()
    }
    /// Attaches the owner's state to the session.
    pub fn set_user(&self, user: Option<Rc<dyn Any>>) {
        *self.0.user.borrow_mut() = user;
    }
    /// The owner's state, if it is a `T`.
    pub fn user<T: 'static>(&self) -> Option<Rc<T>> {
        self.0.user.borrow().clone().and_then(|u| u.downcast::<T>().ok())
    }
    /// Counters.
    pub fn stats(&self) -> ConnectionStats {
        self.0.stats.get()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Connection {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection(#{} {:?} {})", self.0.id, self.peer_name(), self.0.peer_addrs.borrow())
    }
}
