//! Between the core and the world: sessions to events, effects to messages, logins over the core's auth database.
//!
//! Everything that happens goes through one queue ([`Work`]), in order, so that no machine is entered while it works.

use crate::counters::Counters;
use crate::ensemble::{Ensemble, World};
use crate::peers::Peers;
use crate::store::{Job, Writer, Written};
use cephx::crypto::CryptoKey;
use cephx::keyserver::{AuthConfig, EntityAuth, MonAuthDb, RotatingSecrets};
use cephx::proto::AuthName;
use cephx::{Env, MonAuthenticator, MonSecrets, ServiceClientAuth, ServiceServerAuth, V1MonLogin};
use messages::{MAuth, MAuthReply, MCommandReply, Message, kinds};
use mon_core::{LogLevel, MonCore, MonEffect, MonEvent, Peer, Role, SessionId};
use msgr::auth::{AuthedPeer, ClientAuth, MODE_CRC, MODE_SECURE, ServerAuth, SessionKeys};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MsgHold};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Instant;
use tokio::sync::Notify;
use types::{AddrVec, EntityType, Utime};

/// So much is gathered for the end of a batch of callbacks; more is written at once.
const UNWRITTEN_MAX: usize = 1 << 20;

/// An answer of a local command: code, status text, output.
pub type LocalAnswer = (i32, String, bytes::Bytes);

/// One thing that happened.
enum Work {
    Core(MonEvent),
    Quorum(quorum::Event),
    PeerMessage(Connection, Message),
    PeerUp(String),
    PeerDown(String),
    PeerGone(quorum::NodeId),
    Snapshot(u64),
    CloseSession(SessionId),
    Start,
    Tick,
}

/// The shell. Callbacks of the messengers come in through [`Side`].
pub struct Shell {
    core: RefCell<MonCore>,
    ensemble: RefCell<Ensemble>,
    peers: Peers,
    work: RefCell<VecDeque<Work>>,
    busy: Cell<bool>,
    /// A login found no global id left; asking for more is due.
    asks_for_ids: Cell<bool>,
    /// The loop sleeps until [`Shell::deadline`]; told when that comes earlier.
    pub wake: Notify,
    armed: Cell<Option<Instant>>,
    env: Rc<dyn Env>,
    auth_config: Rc<AuthConfig>,
    authenticator: OnceCell<Rc<MonAuthenticator>>,
    mon: OnceCell<Messenger>,
    conns: RefCell<BTreeMap<SessionId, Connection>>,
    v1_logins: RefCell<BTreeMap<SessionId, V1MonLogin>>,
    writer: RefCell<Option<Writer>>,
    answers: RefCell<BTreeMap<u64, LocalAnswer>>,
    /// Commands by `tell` that the process answers, and who does.
    told: RefCell<VecDeque<(SessionId, u64, String)>>,
    admin: OnceCell<runtime::AdminSocket>,
    config: OnceCell<(Rc<RefCell<runtime::Config>>, runtime::Log)>,
    next_token: Cell<u64>,
    counters: Counters,
    /// Bytes sent since the messenger was last asked to write.
    unwritten: Cell<usize>,
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
        if id.is_none() && !shell.asks_for_ids.replace(true) {
            // The messenger is in the middle of the login that wants one: what asking sends has to wait until it is not.
            let shell = self.0.clone();
            tokio::task::spawn_local(async move {
                if let Some(shell) = shell.upgrade() {
                    shell.asks_for_ids.set(false);
                    shell.event(MonEvent::NeedGlobalIds);
                }
            });
        }
        id
    }
    fn pending_key_used(&self, name: &AuthName, key: &CryptoKey) {
        let used = (name.to_string(), EntityAuth::proof_of_use(key));
        // (As above.)
        let shell = self.0.clone();
        tokio::task::spawn_local(async move {
            if let Some(shell) = shell.upgrade() {
                shell.event(MonEvent::PendingKeyUsed(used));
            }
        });
    }
}

impl World for &Shell {
    fn core_event(&mut self, event: MonEvent) {
        self.work.borrow_mut().push_back(Work::Core(event));
    }
    fn write(&mut self, job: Job) {
        if let Some(w) = &*self.writer.borrow() {
            w.write(job);
        }
    }
    fn peers(&self) -> &Peers {
        &self.peers
    }
    fn want_snapshot(&mut self, index: u64) {
        self.work.borrow_mut().push_back(Work::Snapshot(index));
    }
    fn monmap(&self) -> types::monmap::MonMap {
        self.core.borrow().monmap().clone()
    }
    fn close_session(&mut self, id: SessionId) {
        self.work.borrow_mut().push_back(Work::CloseSession(id));
    }
    fn now(&self) -> Utime {
        self.env.now()
    }
}

impl Shell {
    /// Around a core and its part in the quorum that were loaded.
    pub fn new(
        core: MonCore,
        ensemble: Ensemble,
        env: Rc<dyn Env>,
        auth: AuthConfig,
        writer: Writer,
    ) -> Rc<Shell> {
        let hello = ensemble.hello(&core);
        let shell = Rc::new(Shell {
            core: RefCell::new(core),
            ensemble: RefCell::new(ensemble),
            peers: Peers::new(hello),
            work: RefCell::default(),
            busy: Cell::new(false),
            asks_for_ids: Cell::new(false),
            wake: Notify::new(),
            armed: Cell::new(None),
            env: env.clone(),
            auth_config: Rc::new(auth),
            authenticator: OnceCell::new(),
            mon: OnceCell::new(),
            conns: RefCell::default(),
            v1_logins: RefCell::default(),
            writer: RefCell::new(Some(writer)),
            answers: RefCell::default(),
            told: RefCell::default(),
            admin: OnceCell::new(),
            config: OnceCell::new(),
            next_token: Cell::new(1),
            counters: Counters::new(),
            unwritten: Cell::new(0),
        });
        let db: Rc<dyn MonAuthDb> = Rc::new(Db(Rc::downgrade(&shell)));
        let a = MonAuthenticator::new(db, env, shell.auth_config.clone());
        let _ = shell.authenticator.set(a);
        shell
    }

    /// Tells which messenger serves as the monitor's.
    pub fn set_messenger(&self, m: Messenger) {
        m.set_features_required(self.core.borrow().required_features());
        self.peers.set_messenger(m.clone());
        let _ = self.mon.set(m);
        self.monmap_changed();
    }

    /// Everything is there: the part in the quorum begins.
    pub fn start(&self) {
        self.push(Work::Start);
    }

    /// Dials the monitors at these addresses too, which the map may not know.
    pub fn also_dial(&self, hosts: Vec<AddrVec>) {
        let known = self.core.borrow().monmap().addrs();
        let new = hosts
            .into_iter()
            .filter(|h| !known.iter().any(|k| k.0.iter().any(|a| h.0.iter().any(|b| a.sock == b.sock))));
        let by_address = new.map(|h| (format!("@{h}"), h));
        self.peers.set_map(self.mon_addrs().into_iter().chain(by_address), |_| true);
    }

    fn mon_addrs(&self) -> Vec<(String, AddrVec)> {
        let core = self.core.borrow();
        core.monmap().mons.iter().map(|(n, i)| (n.clone(), i.public_addrs.clone())).collect()
    }

    fn monmap_changed(&self) {
        let serves = self.core.borrow().quorum().leader.is_some();
        // Before it has joined, a monitor keeps whomever it found.
        self.peers.set_map(self.mon_addrs(), |_| !serves);
        if let Some(m) = self.mon.get() {
            m.set_my_name(types::EntityName::mon(self.core.borrow().rank() as i64));
        }
    }

    /// When [`Shell::tick`] is wanted; remembered, so that an earlier deadline wakes the loop.
    pub fn deadline(&self) -> Instant {
        let at = self.ensemble.borrow().deadline();
        self.armed.set(Some(at));
        at
    }

    /// Feeds one event to the core and does what follows from it.
    pub fn event(&self, event: MonEvent) {
        self.push(Work::Core(event));
    }
    /// Something became durable.
    pub fn written(&self, w: Written) {
        self.push(Work::Quorum(match w {
            Written::Persisted(token) => quorum::Event::Persisted(token),
            Written::Applied(index) => quorum::Event::Applied(index),
        }));
    }
    /// The quorum's clock.
    pub fn tick(&self) {
        self.push(Work::Tick);
    }
    /// The sessions with other monitors, wanted every [`crate::peers::TICK`].
    pub fn peers_tick(&self) {
        for name in self.peers.tick(self.env.now()) {
            self.push(Work::PeerDown(name));
        }
    }
    /// The next pieces of what is large; true while there are more.
    pub fn send_pieces(&self) -> bool {
        self.peers.send_pieces()
    }
    /// The page for Prometheus.
    pub fn metrics(&self) -> String {
        self.core.borrow().metrics()
    }
    /// Where the page for Prometheus is to be had, by the central configuration; nowhere while this monitor does not lead.
    pub fn metrics_at(&self) -> Option<std::net::SocketAddr> {
        self.core.borrow().metrics_at()
    }
    /// What is counted, as of now.
    pub fn counters(&self) -> runtime::PerfCounters {
        self.counters.look(&self.core.borrow());
        self.counters.registry.clone()
    }
    /// Why this monitor must stop.
    pub fn broken(&self) -> Option<String> {
        self.ensemble.borrow().broken.clone()
    }

    fn push(&self, w: Work) {
        self.work.borrow_mut().push_back(w);
        if self.busy.replace(true) {
            return;
        }
        loop {
            let Some(w) = self.work.borrow_mut().pop_front() else { break };
            self.work_on(w);
        }
        self.busy.set(false);
        // They may change something here themselves.
        while let Some((id, tid, command)) = self.next_told() {
            self.answer_told(id, tid, &command);
        }
        let at = self.ensemble.borrow().deadline();
        if self.armed.get().is_some_and(|armed| at < armed) {
            self.wake.notify_one();
        }
    }

    fn next_told(&self) -> Option<(SessionId, u64, String)> {
        self.told.borrow_mut().pop_front()
    }

    /// Who answers what is told to this process.
    pub fn set_admin(&self, admin: runtime::AdminSocket) {
        let _ = self.admin.set(admin);
    }

    /// Where this process keeps its options: from now on with what the central configuration says to it.
    pub fn set_config(&self, config: Rc<RefCell<runtime::Config>>, log: runtime::Log) {
        let _ = self.config.set((config, log));
        let central = self.core.borrow().central().clone();
        self.apply(MonEffect::Central(central));
    }

    fn answer_told(&self, id: SessionId, tid: u64, command: &str) {
        let Some(conn) = self.conns.borrow().get(&id).cloned() else { return };
        let (errno, text) = match self.admin.get() {
            Some(a) => a.answer(command),
            None => (11, "not ready yet".to_owned()),
        };
        let m = match errno {
            0 => MCommandReply { r: 0, rs: String::new(), data: text.into() },
            e => MCommandReply { r: -e, rs: text, data: bytes::Bytes::new() },
        };
        conn.send(Message::new(&m, conn.features()).with_tid(tid));
    }

    fn work_on(&self, w: Work) {
        let mut world = self;
        match w {
            Work::Core(event) => {
                if matches!(event, MonEvent::Message(..)) {
                    // (Changes nothing but when the lease ran out just now; then the core hears it first.)
                    self.ensemble.borrow_mut().check_lease(&mut world);
                    if let Some(Work::Core(MonEvent::Readable(r))) = self.take_readable() {
                        self.core_event_now(MonEvent::Readable(r));
                    }
                }
                self.core_event_now(event);
            }
            Work::Quorum(e) => self.ensemble.borrow_mut().event(&mut world, e),
            Work::PeerMessage(conn, msg) => {
                let goes_on = self.ensemble.borrow_mut().peer_message(&mut world, &conn, &msg);
                if !goes_on {
                    let hello = self.peers.hello_of(&conn);
                    conn.mark_down();
                    self.peers.reset(&conn);
                    if let Some(h) = hello {
                        self.ensemble.borrow_mut().drop_proxies_of(&mut world, quorum::NodeId(h.node));
                    }
                }
            }
            Work::PeerUp(name) => self.ensemble.borrow_mut().peer_up(&mut world, &name),
            Work::PeerDown(name) => self.ensemble.borrow_mut().peer_down(&mut world, &name),
            Work::PeerGone(node) => self.ensemble.borrow_mut().drop_proxies_of(&mut world, node),
            Work::Snapshot(index) => {
                let data = self.core.borrow().snapshot();
                let event = quorum::Event::Snapshot { index, data };
                self.ensemble.borrow_mut().event(&mut world, event);
            }
            Work::CloseSession(id) => self.apply(MonEffect::Close(id)),
            Work::Start => self.ensemble.borrow_mut().start(&mut world),
            Work::Tick => self.ensemble.borrow_mut().tick(&mut world),
        }
    }

    /// A change of the lease that was queued last, taken to the front.
    fn take_readable(&self) -> Option<Work> {
        let mut q = self.work.borrow_mut();
        match q.back() {
            Some(Work::Core(MonEvent::Readable(_))) => q.pop_back(),
            _ => None,
        }
    }

    fn core_event_now(&self, event: MonEvent) {
        if let MonEvent::Quorum(info) = &event {
            self.counters.quorum(info);
        }
        let effects = self.core.borrow_mut().handle(self.env.now(), event);
        for e in effects {
            let mut world = self;
            let left = self.ensemble.borrow_mut().core_effect(&mut world, e);
            if let Some(e) = left {
                self.apply(e);
            }
        }
    }

    fn apply(&self, effect: MonEffect) {
        match effect {
            MonEffect::Send(id, msg) => {
                let bytes = self.unwritten.get() + msg.len();
                if let Some(c) = self.conns.borrow().get(&id) {
                    c.send(msg);
                }
                // A new map for a thousand OSDs need not lie encrypted in our memory for all of them at once.
                let write = bytes > UNWRITTEN_MAX;
                self.unwritten.set(if write { 0 } else { bytes });
                if let Some(m) = self.mon.get().filter(|_| write) {
                    m.flush();
                }
            }
            MonEffect::Close(id) => {
                let conn = self.conns.borrow_mut().remove(&id);
                if let Some(c) = conn {
                    self.counters.closed(self.conns.borrow().len(), true);
                    c.mark_down();
                }
                self.v1_logins.borrow_mut().remove(&id);
                self.closed(id);
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
            MonEffect::MonmapChanged => self.monmap_changed(),
            // (The core obeys by itself.)
            MonEffect::Central(values) => {
                if let Some((c, log)) = self.config.get() {
                    log.follow(c, &values);
                }
            }
            MonEffect::Tell { session, tid, command } => {
                self.told.borrow_mut().push_back((session, tid, command));
            }
            MonEffect::Propose(_)
            | MonEffect::Forward(..)
            | MonEffect::TellLeader(_)
            | MonEffect::Look(..)
            | MonEffect::Seen(..)
            | MonEffect::Admit { .. }
            | MonEffect::TakePart(_)
            | MonEffect::Expel(_) => unreachable!("the ensemble takes these"),
        }
    }

    fn closed(&self, id: SessionId) {
        self.ensemble.borrow_mut().session_closed(&self, id);
        self.event(MonEvent::Closed(id));
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

    /// Looks at the store and its file system, and tells the core.
    pub fn look_at_store(&self, mon_data: &std::path::Path) {
        let state = self.writer.borrow().as_ref().map(|w| w.state(mon_data));
        if let Some(s) = state {
            self.event(MonEvent::Store(s));
        }
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

    fn is_serving(&self) -> bool {
        self.core.borrow().is_serving(self.env.now())
    }

    /// An `auth` message: the login of a v1 session, or a renewal inside any session.
    fn auth_message(&self, id: SessionId, conn: &Connection, msg: &Message) {
        let Ok(m) = msg.decode::<MAuth>() else { return conn.mark_down() };
        let Some(a) = self.authenticator.get() else { return };
        if !self.is_serving() {
            // Another monitor may know better who may log in.
            return self.apply(MonEffect::Close(id));
        }
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
    /// A monitor that proved the shared key. (A client that logs in as `mon.` has no such ticket.)
    fn is_monitor(&self, conn: &Connection) -> bool {
        self.role == Role::Mon
            && conn.peer_type() == EntityType::MON
            && conn.with_peer(|p| p.is_some_and(|p| p.allow_all && p.entity == "mon."))
    }
}

impl Dispatcher for Side {
    fn server_auth(&self, info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        let a = self.shell.authenticator.get()?;
        if info.peer_type != EntityType::MON && !self.shell.is_serving() {
            return None;
        }
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
    fn client_auth(&self, peer_type: EntityType, _peer: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        if peer_type != EntityType::MON {
            return None;
        }
        let env = self.shell.env.clone();
        if self.shell.auth_config.cluster_methods.contains(&msgr::auth::METHOD_CEPHX) {
            let key = self.shell.core.borrow().auth().entity(&AuthName::new(EntityType::MON, ""))?.key;
            let modes = [MODE_SECURE, MODE_CRC];
            return match ServiceClientAuth::mon_peer(&key, env, &modes) {
                Ok(auth) => Some(Box::new(auth)),
                Err(e) => {
                    tracing::warn!("no ticket for another monitor: {e}");
                    None
                }
            };
        }
        let store = cephx::TicketStore::none(AuthName::new(EntityType::MON, "")).shared();
        ServiceClientAuth::new(&store, EntityType::MON, env, &[MODE_CRC])
            .ok()
            .map(|a| Box::new(a) as Box<dyn ClientAuth>)
    }
    fn on_connect(&self, conn: &Connection) {
        if let Some(name) = self.shell.peers.connected(conn) {
            tracing::debug!("session with mon.{name} is ready");
            self.shell.push(Work::PeerUp(name));
        }
    }
    fn on_accept(&self, conn: &Connection) {
        if self.is_monitor(conn) {
            return self.shell.peers.accepted(conn);
        }
        let id = self.id(conn);
        let peer = Shell::peer_of(self.role, conn, conn.peer().as_ref());
        tracing::debug!("session {id} with {} ({}) {}", peer.entity, peer.name, peer.addrs);
        self.shell.conns.borrow_mut().insert(id, conn.clone());
        self.shell.counters.opened(self.shell.conns.borrow().len());
        self.shell.event(MonEvent::Opened(id, peer));
    }
    fn on_message(&self, conn: &Connection, msg: Message, _hold: MsgHold) {
        if self.role == Role::Mon && self.shell.peers.is_peer(conn) {
            return self.shell.push(Work::PeerMessage(conn.clone(), msg));
        }
        let id = self.id(conn);
        tracing::debug!("session {id}: {} tid {}", kinds::name(msg.header.kind), msg.header.tid);
        if msg.header.kind == kinds::AUTH && self.role == Role::Mon {
            return self.shell.auth_message(id, conn, &msg);
        }
        self.shell.event(MonEvent::Message(id, msg));
    }
    fn on_reset(&self, conn: &Connection) {
        if self.role == Role::Mon {
            let hello = self.shell.peers.hello_of(conn);
            let was_peer = self.shell.peers.is_peer(conn);
            if let Some(name) = self.shell.peers.reset(conn) {
                return self.shell.push(Work::PeerDown(name));
            }
            if let Some(h) = hello {
                self.shell.push(Work::PeerGone(quorum::NodeId(h.node)));
            }
            if was_peer {
                return;
            }
        }
        let id = self.id(conn);
        if self.shell.conns.borrow_mut().remove(&id).is_none() {
            return;
        }
        self.shell.counters.closed(self.shell.conns.borrow().len(), false);
        self.shell.v1_logins.borrow_mut().remove(&id);
        self.shell.closed(id);
    }
}

#[cfg(test)]
mod tests;
