//! Between the core and the world: sessions to events, effects to messages, logins over the core's auth database.

use crate::store::Writer;
use cephx::keyserver::{AuthConfig, EntityAuth, MonAuthDb, RotatingSecrets};
use cephx::proto::AuthName;
use cephx::{Env, MonAuthenticator, MonSecrets, ServiceServerAuth, V1MonLogin};
use messages::{MAuth, MAuthReply, Message, kinds};
use mon_core::{LogLevel, MonCore, MonEffect, MonEvent, Peer, Role, SessionId};
use msgr::auth::{AuthedPeer, ClientAuth, ServerAuth, SessionKeys};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MsgHold};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use types::{AddrVec, EntityType};

/// An answer of a local command: code, status text, output.
pub type LocalAnswer = (i32, String, bytes::Bytes);

/// The shell. Callbacks of the messengers come in through [`Side`].
pub struct Shell {
    core: RefCell<MonCore>,
    env: Rc<dyn Env>,
    auth_config: Rc<AuthConfig>,
    authenticator: OnceCell<Rc<MonAuthenticator>>,
    mon: OnceCell<Messenger>,
    conns: RefCell<BTreeMap<SessionId, Connection>>,
    v1_logins: RefCell<BTreeMap<SessionId, V1MonLogin>>,
    writer: RefCell<Option<Writer>>,
    answers: RefCell<BTreeMap<u64, LocalAnswer>>,
    next_token: Cell<u64>,
}

/// The core's auth database, for logins. They happen outside of the core's handling of an event.
struct Db(Weak<Shell>);

impl MonAuthDb for Db {
    fn entity(&self, name: &AuthName) -> Option<EntityAuth> {
        self.0.upgrade()?.core.borrow().auth().entity(name)
    }
    fn rotating(&self, service: u32) -> Option<RotatingSecrets> {
        self.0.upgrade()?.core.borrow().auth().rotating(service)
    }
    fn new_global_id(&self) -> Option<u64> {
        let shell = self.0.upgrade()?;
        let id = shell.core.borrow_mut().auth_mut().new_global_id();
        if id.is_none() {
            shell.event(MonEvent::NeedGlobalIds);
        }
        id
    }
}

impl Shell {
    /// Around a core that was loaded.
    pub fn new(core: MonCore, env: Rc<dyn Env>, auth: AuthConfig, writer: Writer) -> Rc<Shell> {
        let shell = Rc::new(Shell {
            core: RefCell::new(core),
            env: env.clone(),
            auth_config: Rc::new(auth),
            authenticator: OnceCell::new(),
            mon: OnceCell::new(),
            conns: RefCell::default(),
            v1_logins: RefCell::default(),
            writer: RefCell::new(Some(writer)),
            answers: RefCell::default(),
            next_token: Cell::new(1),
        });
        let db: Rc<dyn MonAuthDb> = Rc::new(Db(Rc::downgrade(&shell)));
        let a = MonAuthenticator::new(db, env, shell.auth_config.clone());
        let _ = shell.authenticator.set(a);
        shell
    }

    /// Tells which messenger serves as the monitor's.
    pub fn set_messenger(&self, m: Messenger) {
        m.set_features_required(self.core.borrow().required_features());
        let _ = self.mon.set(m);
    }

    /// Feeds one event to the core and does what it wants done.
    pub fn event(&self, event: MonEvent) {
        let effects = self.core.borrow_mut().handle(self.env.now(), event);
        for e in effects {
            self.apply(e);
        }
    }

    fn apply(&self, effect: MonEffect) {
        match effect {
            MonEffect::Send(id, msg) => {
                if let Some(c) = self.conns.borrow().get(&id) {
                    c.send(msg);
                }
            }
            MonEffect::Propose(p) => {
                if let Some(w) = &*self.writer.borrow() {
                    w.write(p);
                }
            }
            MonEffect::Close(id) => {
                let conn = self.conns.borrow_mut().remove(&id);
                if let Some(c) = conn {
                    c.mark_down();
                }
                self.v1_logins.borrow_mut().remove(&id);
                self.event(MonEvent::Closed(id));
            }
            MonEffect::Log(LogLevel::Error, t) => tracing::warn!("{t}"),
            MonEffect::Log(LogLevel::Info, t) => tracing::info!("{t}"),
            MonEffect::Log(LogLevel::Debug, t) => tracing::debug!("{t}"),
            MonEffect::LocalReply { token, ret, outs, data } => {
                self.answers.borrow_mut().insert(token, (ret, outs, data));
            }
            // Logins read the core's tables each time: nothing is cached.
            MonEffect::AuthChanged => {}
            MonEffect::RequireFeatures(bits) => {
                if let Some(m) = self.mon.get() {
                    m.set_features_required(bits);
                }
            }
        }
    }

    /// A command of the admin socket. One that changes something is not durable when this returns: that is no success.
    pub fn local(&self, command: String) -> LocalAnswer {
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        self.event(MonEvent::LocalCommand { token, command });
        let not_durable =
            || (types::Errno::EAGAIN.negated(), "not durable yet".to_owned(), bytes::Bytes::new());
        self.answers.borrow_mut().remove(&token).unwrap_or_else(not_durable)
    }

    /// Lets the writer finish.
    pub fn close(&self) {
        self.writer.borrow_mut().take();
    }

    fn peer_of(role: Role, conn: &Connection, who: Option<&AuthedPeer>) -> Peer {
        Peer {
            role,
            entity: who.map_or_else(String::new, |p| p.entity.clone()),
            global_id: who.map_or(0, |p| p.global_id),
            name: conn.peer_name(),
            addrs: conn.peer_addrs(),
            features: conn.features().0,
            caps: who.map_or_else(String::new, |p| p.caps.clone()),
            allow_all: who.is_some_and(|p| p.allow_all),
            authenticated: who.is_some(),
        }
    }

    /// An `auth` message: the login of a v1 session, or a renewal inside any session.
    fn auth_message(&self, id: SessionId, conn: &Connection, msg: &Message) {
        let Ok(m) = msg.decode::<MAuth>() else { return conn.mark_down() };
        let Some(a) = self.authenticator.get() else { return };
        let mut reply = MAuthReply::default();
        let mut logged_in = None;
        if conn.is_v1() {
            let mut logins = self.v1_logins.borrow_mut();
            let login = logins.entry(id).or_insert_with(|| a.v1_login());
            let r = login.handle(m.protocol, &m.payload);
            reply.protocol = r.protocol;
            reply.result = r.result;
            reply.global_id = r.global_id;
            reply.payload = r.payload;
            logged_in = r.authenticated;
        } else if let Some(peer) = conn.peer() {
            let r = a.handle_message(&peer, &m.payload);
            reply.protocol = msgr::auth::METHOD_CEPHX;
            reply.result = r.result;
            reply.global_id = peer.global_id;
            reply.payload = r.payload;
        } else {
            return;
        }
        conn.send(Message::new(&reply, conn.features()).with_tid(msg.header.tid));
        if let Some(peer) = logged_in {
            conn.set_authed(peer.clone(), SessionKeys::default());
            self.event(MonEvent::LoggedIn(id, Self::peer_of(Role::Mon, conn, Some(&peer))));
        }
    }
}

/// One listener's callbacks.
pub struct Side {
    /// The shell.
    pub shell: Rc<Shell>,
    /// Which listener.
    pub role: Role,
}

impl Side {
    fn id(&self, conn: &Connection) -> SessionId {
        conn.id() * 2 + u64::from(self.role == Role::Mgr)
    }
}

impl Dispatcher for Side {
    fn server_auth(&self, _info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        let a = self.shell.authenticator.get()?;
        Some(match self.role {
            Role::Mgr => {
                let db: Rc<dyn MonAuthDb> = Rc::new(Db(Rc::downgrade(&self.shell)));
                let secrets = Rc::new(MonSecrets(db));
                let (env, cfg) = (self.shell.env.clone(), self.shell.auth_config.clone());
                Box::new(ServiceServerAuth::new(EntityType::MGR, secrets, env, cfg))
            }
            _ => Box::new(a.server_auth()),
        })
    }
    fn client_auth(&self, _peer_type: EntityType, _peer: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        // A single monitor connects to nobody.
        None
    }
    fn on_accept(&self, conn: &Connection) {
        let id = self.id(conn);
        let peer = Shell::peer_of(self.role, conn, conn.peer().as_ref());
        tracing::debug!("session {id} with {} ({}) {}", peer.entity, peer.name, peer.addrs);
        self.shell.conns.borrow_mut().insert(id, conn.clone());
        self.shell.event(MonEvent::Opened(id, peer));
    }
    fn on_message(&self, conn: &Connection, msg: Message, _hold: MsgHold) {
        let id = self.id(conn);
        tracing::debug!("session {id}: {} tid {}", kinds::name(msg.header.kind), msg.header.tid);
        if msg.header.kind == kinds::AUTH && self.role == Role::Mon {
            return self.shell.auth_message(id, conn, &msg);
        }
        self.shell.event(MonEvent::Message(id, msg));
    }
    fn on_reset(&self, conn: &Connection) {
        let id = self.id(conn);
        self.shell.conns.borrow_mut().remove(&id);
        self.shell.v1_logins.borrow_mut().remove(&id);
        self.shell.event(MonEvent::Closed(id));
    }
}
