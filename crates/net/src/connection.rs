//! [`Connection`]: the handle of one session with a peer, whatever transports carry it over time.

use messages::Message;
use msgr::auth::{AuthedPeer, SessionKeys};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use types::{AddrVec, EntityName, EntityType, Utime};

/// Counters of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Messages sent (first time).
    pub messages_out: u64,
    /// Messages delivered to the dispatcher.
    pub messages_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// write calls.
    pub writes: u64,
    /// read calls.
    pub reads: u64,
    /// Transports this session has had.
    pub transports: u64,
}

/// A session with a peer. Cloning clones the handle; equality is identity.
#[derive(Clone)]
pub struct Connection(pub(crate) Rc<ConnInner>);

pub(crate) struct ConnInner {
    pub(crate) id: u64,
    pub(crate) is_v1: Cell<bool>,
    pub(crate) authed: RefCell<Option<AuthedPeer>>,
    pub(crate) keys: RefCell<SessionKeys>,
    pub(crate) peer_name: Cell<EntityName>,
    pub(crate) peer_addrs: RefCell<AddrVec>,
    pub(crate) sock_addr: Cell<Option<SocketAddr>>,
    pub(crate) features: Cell<u64>,
    pub(crate) last_keepalive_ack: Cell<Utime>,
    pub(crate) user: RefCell<Option<Rc<dyn Any>>>,
    pub(crate) stats: Cell<ConnectionStats>,
    pub(crate) up: Cell<bool>,
    pub(crate) closed: Cell<bool>,
    pub(crate) disposable: Cell<bool>,
    pub(crate) out: RefCell<Vec<Message>>,
}

impl Connection {
    /// Unique in this process; never reused.
    pub fn id(&self) -> u64 {
        self.0.id
    }
    /// Queues a message. It is written at the end of the current batch of callbacks, or at the next turn of the runtime when
    /// called from elsewhere. On a closed session it is dropped.
    pub fn send(&self, msg: Message) {
        self.0.out.borrow_mut().push(msg);
    }
    /// Queues several messages in order.
    pub fn send_many(&self, msgs: impl IntoIterator<Item = Message>) {
        for m in msgs {
            self.send(m);
        }
    }
    /// Who the peer proved to be. `None` before authentication, and on v1 monitor sessions until [`Connection::set_authed`].
    pub fn peer(&self) -> Option<AuthedPeer> {
        self.0.authed.borrow().clone()
    }
    /// Runs `f` on the authenticated peer without cloning it.
    pub fn with_peer<R>(&self, f: impl FnOnce(Option<&AuthedPeer>) -> R) -> R {
        f(self.0.authed.borrow().as_ref())
    }
    /// Records the outcome of a login by messages (v1 monitor sessions; renewals on any session).
    pub fn set_authed(&self, peer: AuthedPeer, keys: SessionKeys) {
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
    /// Features that both sides have; what messages to this peer are encoded with. Zero before the first handshake.
    pub fn features(&self) -> denc::Features {
        denc::Features(self.0.features.get())
    }
    /// True while a transport carries the session.
    pub fn is_connected(&self) -> bool {
        self.0.up.get()
    }
    /// True after `mark_down`, or when the session ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }
    /// Ends the session now: queued messages are dropped, no callback follows.
    pub fn mark_down(&self) {
        self.0.closed.set(true);
        self.0.out.borrow_mut().clear();
    }
    /// From now on a break ends the session, as on a lossy one.
    pub fn mark_disposable(&self) {
        self.0.disposable.set(true);
    }
    /// Sends a keepalive; the answer moves [`Connection::last_keepalive_ack`].
    pub fn keepalive(&self) {}
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
