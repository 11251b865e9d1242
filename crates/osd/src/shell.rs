//! [`Shell`]: the boring loop round the OSD core: sockets, store and clock in, effects out.
//!
//! One thread. Messages arrive through the messengers' callbacks, durable transactions through the store's wake hook,
//! time through a timer. Events that come while another is being handled wait in a queue: the core is never re-entered.

use bytes::Bytes;
use cephx::{AuthConfig, Env, ServiceServerAuth, TicketStore};
use disk::DiskStore;
use messages::{MCommandReply, Message};
use monc::{LinkEvent, MonLink};
use msgr::auth::{ClientAuth, ServerAuth};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MsgHold};
use osd_core::{LogLevel, Net, OsdCore, OsdEffect, OsdEvent, Peer, SessionId};
use runtime::config::Source;
use runtime::idle::IdleMemory;
use runtime::{AdminSocket, Config, System};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use types::{AddrVec, EntityAddr, EntityType, OsdId};

/// An answer to an admin command: code, text, output.
pub type CommandReply = (i32, String, Bytes);

/// What the loop's owner waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub reason: String,
    /// It is an error.
    pub failed: bool,
}

/// The messengers, one for each network.
pub struct Messengers {
    /// Clients, monitors, managers.
    pub public: Messenger,
    /// Replication.
    pub cluster: Messenger,
    /// Heartbeats, cluster side.
    pub hb_back: Messenger,
    /// Heartbeats, public side.
    pub hb_front: Messenger,
}

/// What of the process the core has to do with: its options, and who answers what is told to it.
pub struct Process {
    /// Options.
    pub config: Rc<RefCell<Config>>,
    /// The admin socket's commands.
    pub admin: AdminSocket,
    /// Its log.
    pub log: runtime::Log,
}

impl Messengers {
    fn of(&self, net: Net) -> &Messenger {
        match net {
            Net::Public => &self.public,
            Net::Cluster => &self.cluster,
            Net::HbBack => &self.hb_back,
            Net::HbFront => &self.hb_front,
        }
    }
    /// All of them.
    pub fn all(&self) -> [&Messenger; 4] {
        [&self.public, &self.cluster, &self.hb_back, &self.hb_front]
    }
}

/// A session with another OSD that we opened.
struct OsdConn {
    addrs: AddrVec,
    conn: Connection,
}

/// See the module's documentation.
pub struct Shell {
    nets: OnceCell<Messengers>,
    link: OnceCell<MonLink>,
    tickets: Rc<RefCell<TicketStore>>,
    env: Rc<dyn Env>,
    auth_config: Rc<AuthConfig>,
    core: OnceCell<RefCell<OsdCore>>,
    store: RefCell<DiskStore>,
    queue: RefCell<VecDeque<OsdEvent>>,
    busy: Cell<bool>,
    effects: RefCell<Vec<OsdEffect>>,
    sessions: RefCell<BTreeMap<SessionId, Connection>>,
    osd_conns: RefCell<BTreeMap<(OsdId, Net), OsdConn>>,
    mgr: RefCell<Option<(AddrVec, Connection)>>,
    holds: RefCell<BTreeMap<(SessionId, u64), MsgHold>>,
    replies: RefCell<BTreeMap<u64, oneshot::Sender<CommandReply>>>,
    next_command: Cell<u64>,
    wake_in: Cell<Duration>,
    stopped: RefCell<Option<Stopped>>,
    process: OnceCell<Process>,
    told: RefCell<VecDeque<(SessionId, u64, String)>>,
    /// Wakes the loop when it has to stop or to tick sooner.
    pub changed: Notify,
    /// Wakes [`Shell::flush_turns`].
    turn_end: Rc<Notify>,
    flush_wanted: Cell<bool>,
    idle: RefCell<IdleMemory>,
}

fn session_id(net: Net, conn: &Connection) -> SessionId {
    // Connection numbers are unique within a messenger only.
    SessionId(conn.id() << 2 | net as u64)
}

impl Shell {
    /// Round a mounted store; [`Shell::start`] completes it.
    pub fn new(
        store: DiskStore,
        tickets: Rc<RefCell<TicketStore>>,
        env: Rc<dyn Env>,
        auth_config: Rc<AuthConfig>,
    ) -> Rc<Shell> {
        Rc::new(Shell {
            nets: OnceCell::new(),
            link: OnceCell::new(),
            tickets,
            env,
            auth_config,
            core: OnceCell::new(),
            store: RefCell::new(store),
            queue: RefCell::new(VecDeque::new()),
            busy: Cell::new(false),
            effects: RefCell::new(Vec::new()),
            sessions: RefCell::new(BTreeMap::new()),
            osd_conns: RefCell::new(BTreeMap::new()),
            mgr: RefCell::new(None),
            holds: RefCell::new(BTreeMap::new()),
            replies: RefCell::new(BTreeMap::new()),
            next_command: Cell::new(1),
            wake_in: Cell::new(Duration::ZERO),
            stopped: RefCell::new(None),
            process: OnceCell::new(),
            told: RefCell::default(),
            changed: Notify::new(),
            turn_end: Rc::new(Notify::new()),
            flush_wanted: Cell::new(false),
            idle: RefCell::default(),
        })
    }

    /// Gives the shell what needs the shell to be made: its messengers call it back.
    pub fn start(&self, core: OsdCore, nets: Messengers, link: MonLink) {
        let set = self.nets.set(nets).is_ok()
            && self.link.set(link).is_ok()
            && self.core.set(RefCell::new(core)).is_ok();
        assert!(set, "a shell is started once");
    }

    /// How soon the core wants its next tick.
    pub fn wake_in(&self) -> Duration {
        self.wake_in.get()
    }

    /// Why the OSD has to end, once it has.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped.borrow().clone()
    }

    /// [`Shell::gather`] and [`Shell::flush`]: for events from outside the messengers.
    pub fn event(&self, event: OsdEvent) {
        self.gather(event);
        self.flush();
    }

    /// Asks for a flush behind all tasks that are ready now: what several sockets brought then leaves together.
    fn end_turn(&self) {
        if !self.flush_wanted.replace(true) {
            self.turn_end.notify_one();
        }
    }

    /// The task that flushes at the end of each turn.
    pub async fn flush_turns(shell: Weak<Shell>) {
        let Some(turn_end) = shell.upgrade().map(|s| s.turn_end.clone()) else { return };
        loop {
            turn_end.notified().await;
            let Some(shell) = shell.upgrade() else { return };
            shell.flush();
        }
    }

    /// Writes what a batch of events sent and starts the journal on what it queued: one system call for each socket, one
    /// group commit.
    pub fn flush(&self) {
        let Some(nets) = self.nets.get() else { return };
        self.flush_wanted.set(false);
        self.store.borrow_mut().kick();
        for m in nets.all() {
            m.flush();
        }
        // Behind the sends: what this waits for, replicas do meanwhile.
        self.store.borrow_mut().write_due();
    }

    /// Gives the core an event and carries out what it answers; events caused meanwhile follow. [`Shell::flush`] has to
    /// follow in the same turn.
    fn gather(&self, event: OsdEvent) {
        let Some(core) = self.core.get() else { return };
        self.idle.borrow_mut().event();
        self.queue.borrow_mut().push_back(event);
        if self.busy.replace(true) {
            return;
        }
        for m in self.nets().all() {
            m.hold();
        }
        loop {
            let Some(event) = self.queue.borrow_mut().pop_front() else { break };
            let mut effects = self.effects.take();
            {
                let mut store = self.store.borrow_mut();
                let mut core = core.borrow_mut();
                core.handle((self.env.now(), System::mono()), event, &mut *store, &mut effects);
                if core.wants_end() {
                    core.handled(self.env.now());
                }
            }
            for e in effects.drain(..) {
                self.perform(e);
            }
            self.effects.replace(effects);
        }
        self.busy.set(false);
        while let Some((session, tid, command)) = self.next_told() {
            self.answer_told(session, tid, &command);
        }
    }

    fn next_told(&self) -> Option<(SessionId, u64, String)> {
        self.told.borrow_mut().pop_front()
    }

    /// Names the process; what it is configured to is told to the manager from now on.
    pub fn set_process(&self, process: Process) {
        let _ = self.process.set(process);
        self.tell_config();
    }

    /// Tells the core what the process is configured to.
    pub fn tell_config(&self) {
        let Some(p) = self.process.get() else { return };
        let mut e = denc::Encoder::new(denc::Features::ALL);
        e.put(&p.config.borrow().layers());
        // Nothing of the central configuration is ignored.
        e.put(&BTreeMap::<String, String>::new());
        self.gather(OsdEvent::Configured(e.finish()));
    }

    fn answer_told(&self, session: SessionId, tid: u64, command: &str) {
        let Some(conn) = self.sessions.borrow().get(&session).cloned() else { return };
        let (errno, text) = match self.process.get() {
            Some(p) => p.admin.answer(command),
            None => (11, "not ready yet".to_owned()),
        };
        let m = match errno {
            0 => MCommandReply { r: 0, rs: String::new(), data: text.into() },
            e => MCommandReply { r: -e, rs: text, data: Bytes::new() },
        };
        self.holds.borrow_mut().remove(&(session, tid));
        conn.send(Message::new(&m, conn.features()).with_tid(tid));
    }

    fn perform(&self, effect: OsdEffect) {
        match effect {
            OsdEffect::Send { session, msg } => {
                self.holds.borrow_mut().remove(&(session, msg.header.tid));
                if let Some(c) = self.sessions.borrow().get(&session) {
                    c.send(msg);
                }
            }
            OsdEffect::Dropped { session, tid } => {
                self.holds.borrow_mut().remove(&(session, tid));
            }
            OsdEffect::SendOsd { osd, net, addrs, msg } => self.send_osd(osd, net, addrs, msg),
            OsdEffect::MarkDown { net, addrs } => {
                self.nets().of(net).mark_down_addrs(&addrs);
                self.osd_conns.borrow_mut().retain(|(_, n), c| *n != net || c.addrs != addrs);
            }
            OsdEffect::Rebind => self.rebind(),
            OsdEffect::SendMon(msg) => {
                if let Some(link) = self.link.get() {
                    link.send(msg);
                }
            }
            OsdEffect::ConnectMgr(addrs) => self.connect_mgr(addrs),
            OsdEffect::SendMgr(msg) => {
                if let Some((_, c)) = &*self.mgr.borrow() {
                    c.send(msg);
                }
            }
            OsdEffect::Close { session } => {
                if let Some(c) = self.sessions.borrow_mut().remove(&session) {
                    c.mark_down();
                }
            }
            OsdEffect::RequireFeatures(bits) => self.nets().public.set_features_required(bits),
            OsdEffect::WakeIn(after) => {
                if after < self.wake_in.get() {
                    self.changed.notify_one();
                }
                self.wake_in.set(after);
            }
            OsdEffect::CommandReply { id, code, outs, outbl } => {
                if let Some(to) = self.replies.borrow_mut().remove(&id) {
                    // The asker may have gone.
                    let _ = to.send((code, outs, outbl));
                }
            }
            OsdEffect::Tell { session, tid, command } => {
                self.told.borrow_mut().push_back((session, tid, command));
            }
            OsdEffect::Config(values) => {
                if let Some(p) = self.process.get() {
                    p.log.follow(&p.config, &values);
                    self.tell_config();
                }
            }
            OsdEffect::Overridden { name, value } => {
                if let Some(p) = self.process.get() {
                    // (The core has checked it.)
                    let _ = p.config.borrow_mut().set(Source::Override, &name, &value);
                    self.tell_config();
                }
            }
            OsdEffect::Log { level, text } => match level {
                LogLevel::Error => tracing::error!("{text}"),
                LogLevel::Warn => tracing::warn!("{text}"),
                LogLevel::Info => tracing::info!("{text}"),
                LogLevel::Debug => tracing::debug!("{text}"),
            },
            OsdEffect::Stop { reason, failed } => {
                self.stopped.borrow_mut().get_or_insert(Stopped { reason, failed });
                self.changed.notify_one();
            }
        }
    }

    fn nets(&self) -> &Messengers {
        self.nets.get().expect("set before any event")
    }

    /// A new nonce on the cluster network: peers take us for another process there, and refuse what the old sessions say.
    fn rebind(&self) {
        let m = &self.nets().cluster;
        m.mark_down_all();
        self.osd_conns.borrow_mut().retain(|(_, net), _| *net != Net::Cluster);
        let mut addrs = m.my_addrs();
        for a in &mut addrs.0 {
            a.nonce = a.nonce.wrapping_add(1);
        }
        m.set_my_addrs(addrs.clone());
        self.event(OsdEvent::Rebound(addrs));
    }

    fn send_osd(&self, osd: OsdId, net: Net, addrs: AddrVec, msg: Message) {
        let mut conns = self.osd_conns.borrow_mut();
        let known = conns.get(&(osd, net)).filter(|c| c.addrs == addrs && !c.conn.is_closed());
        if let Some(c) = known {
            return c.conn.send(msg);
        }
        let conn = self.nets().of(net).connect(EntityType::OSD, &addrs);
        conn.send(msg);
        conns.insert((osd, net), OsdConn { addrs, conn });
    }

    fn connect_mgr(&self, addrs: Option<AddrVec>) {
        if let Some((_, old)) = self.mgr.borrow_mut().take() {
            old.mark_down();
        }
        if let Some(addrs) = addrs {
            let conn = self.nets().public.connect(EntityType::MGR, &addrs);
            *self.mgr.borrow_mut() = Some((addrs, conn));
        }
    }

    /// Tells the core of transactions that became durable.
    pub fn poll_store(&self) {
        let mut tokens = Vec::new();
        let failure = {
            let mut store = self.store.borrow_mut();
            store.poll_commits(&mut tokens);
            store.failure()
        };
        if !tokens.is_empty() {
            self.gather(OsdEvent::Committed(tokens));
        }
        if let Some(why) = failure {
            self.gather(OsdEvent::StoreFailed(why));
        }
        self.end_turn();
    }

    /// Time passes; answers how long the loop may sleep.
    pub fn tick(&self) -> Duration {
        self.wake_in.set(Duration::from_secs(1));
        if let Some(link) = self.link.get()
            && link.tick() == LinkEvent::Closed
        {
            self.gather(OsdEvent::MonClosed);
        }
        self.retry_mgr();
        self.gather(OsdEvent::Tick);
        self.flush();
        self.idle.borrow_mut().tick();
        self.wake_in.get()
    }

    /// The manager's session is lossy: open it again when it broke.
    fn retry_mgr(&self) {
        let again = self.mgr.borrow().as_ref().filter(|(_, c)| c.is_closed()).map(|(a, _)| a.clone());
        if let Some(addrs) = again {
            self.connect_mgr(Some(addrs));
        }
    }

    /// Runs an admin command.
    pub fn command(&self, cmd: serde_json::Value) -> oneshot::Receiver<CommandReply> {
        let id = self.next_command.get();
        self.next_command.set(id + 1);
        let (to, from) = oneshot::channel();
        self.replies.borrow_mut().insert(id, to);
        self.event(OsdEvent::Command { id, cmd: Box::new(cmd) });
        from
    }

    /// Closes the store; what was queued becomes durable first.
    pub fn close(self: Rc<Self>, at_most: Duration) {
        for m in self.nets().all() {
            m.shutdown();
        }
        match Rc::try_unwrap(self) {
            Ok(shell) => drop(shell.store.into_inner().close(at_most)),
            // Some task still holds the shell: the next mount replays the journal.
            Err(_) => tracing::debug!("left without a checkpoint"),
        }
    }

    fn is_mgr(&self, conn: &Connection) -> bool {
        self.mgr.borrow().as_ref().is_some_and(|(_, c)| c == conn)
    }

    fn link_event(&self, e: LinkEvent) -> bool {
        match e {
            LinkEvent::Opened => self.gather(OsdEvent::MonOpened),
            LinkEvent::Closed => self.gather(OsdEvent::MonClosed),
            LinkEvent::Nothing => {}
            LinkEvent::Pass => return false,
        }
        true
    }

    fn opened(&self, net: Net, conn: &Connection) {
        let session = session_id(net, conn);
        let Some(authed) = conn.peer() else {
            // We opened it: the ticket proved who we are, the address names the other side.
            self.sessions.borrow_mut().insert(session, conn.clone());
            return;
        };
        let peer = Peer {
            name: conn.peer_name(),
            entity: authed.entity,
            addr: client_addr(conn),
            features: conn.features().0,
            allow_all: authed.allow_all,
            caps: authed.caps,
        };
        self.sessions.borrow_mut().insert(session, conn.clone());
        self.gather(OsdEvent::Opened { session, net, peer: Box::new(peer) });
    }

    fn closed(&self, net: Net, conn: &Connection) {
        let session = session_id(net, conn);
        self.sessions.borrow_mut().remove(&session);
        self.holds.borrow_mut().retain(|(s, _), _| *s != session);
        self.gather(OsdEvent::Closed { session });
    }
}

/// The address that a client is known by: what it announced, as stock's OSDs take it.
fn client_addr(conn: &Connection) -> EntityAddr {
    conn.peer_addrs().0.first().copied().unwrap_or_default()
}

/// One network's view of the shell: what its messenger calls.
pub struct Side {
    /// The shell.
    pub shell: Rc<Shell>,
    /// Which network.
    pub net: Net,
}

impl Dispatcher for Side {
    fn server_auth(&self, _info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        let s = &self.shell;
        let (secrets, config) = (s.tickets.clone(), s.auth_config.clone());
        Some(Box::new(ServiceServerAuth::new(EntityType::OSD, secrets, s.env.clone(), config)))
    }
    fn client_auth(&self, peer_type: EntityType, _peer: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        self.shell.link.get()?.client_auth(peer_type)
    }
    fn on_connect(&self, conn: &Connection) {
        let s = &self.shell;
        if self.net == Net::Public {
            if s.link.get().is_some_and(|l| s.link_event(l.on_connect(conn))) {
                return;
            }
            if s.is_mgr(conn) {
                return s.gather(OsdEvent::MgrOpened);
            }
        }
        s.opened(self.net, conn);
    }
    fn on_accept(&self, conn: &Connection) {
        self.shell.opened(self.net, conn);
    }
    fn on_message(&self, conn: &Connection, msg: Message, hold: MsgHold) {
        let s = &self.shell;
        if self.net == Net::Public && conn.peer_type() == EntityType::MON {
            let taken = s.link.get().is_some_and(|l| s.link_event(l.on_message(conn, &msg)));
            if !taken {
                s.gather(OsdEvent::MonMessage(msg));
            }
            return;
        }
        if self.net == Net::Public && s.is_mgr(conn) {
            return s.gather(OsdEvent::MgrMessage(msg));
        }
        let session = session_id(self.net, conn);
        if self.net == Net::Public && conn.peer().is_some() {
            // Until the op with this tid is answered, or sent again, or its session ends.
            s.holds.borrow_mut().insert((session, msg.header.tid), hold);
        }
        s.gather(OsdEvent::Message { session, net: self.net, msg });
    }
    fn on_batch_end(&self) {
        self.shell.end_turn();
    }
    fn on_reset(&self, conn: &Connection) {
        let s = &self.shell;
        if self.net == Net::Public {
            if s.link.get().is_some_and(|l| s.link_event(l.on_reset(conn))) {
                return;
            }
            if s.is_mgr(conn) {
                return s.gather(OsdEvent::MgrClosed);
            }
        }
        s.closed(self.net, conn);
    }
    fn on_remote_reset(&self, conn: &Connection) {
        // Messages may be lost in both directions. Between PGs that is healed by the next interval only, so make one:
        // the peer restarted, and its boot makes the monitors publish a map.
        self.shell.closed(self.net, conn);
        self.shell.opened(self.net, conn);
    }
    fn on_refused(&self, conn: &Connection) {
        if self.net == Net::Public {
            return;
        }
        let opened = self.shell.osd_conns.borrow();
        let opened = opened.iter().find(|((_, net), c)| *net == self.net && c.conn == *conn);
        let (osd, addrs) = match opened {
            Some(((osd, _), c)) => (*osd, c.addrs.clone()),
            // It was the other side that opened the session.
            None if conn.peer_type() == EntityType::OSD => {
                (OsdId(conn.peer_name().num as i32), conn.peer_addrs())
            }
            None => return,
        };
        let there = self
            .shell
            .core
            .get()
            .and_then(|c| c.try_borrow().ok()?.is_at(osd, self.net, &addrs).then_some(()));
        if there.is_some() {
            self.shell.gather(OsdEvent::Refused { osd });
        }
    }
}
