//! [`Commander`]: a tool's connection to the monitors for sending commands, as `ceph` does; and to the daemons that it names.

use crate::{LinkEvent, Maps, MonLink};
use bytes::Bytes;
use cephx::{AuthName, CryptoKey, Env, TicketStore};
use denc::Features;
use messages::{
    MCommand, MCommandReply, MMgrCommand, MMgrCommandReply, MMonCommand, MMonCommandAck, MPing, Message,
    Payload,
};
use msgr::auth::{AuthError, AuthRequest, ClientAuth, ServerAuth, SessionKeys};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use types::{AddrVec, EntityName, EntityType, Fsid};

/// Why a command could not be sent or answered.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CommanderError {
    /// No monitor let us in.
    #[error("no monitor answered within {secs} s{}", if *.refused { " (connection refused)" } else { "" })]
    NoMonitor {
        /// How long we tried.
        secs: u64,
        /// Nobody listened.
        refused: bool,
    },
    /// A monitor says that there is no such user, or that the key is another one.
    #[error("permission denied")]
    Denied,
    /// The answer did not come.
    #[error("the monitor did not answer {prefix:?} within {secs} s")]
    NoAnswer {
        /// The command's prefix.
        prefix: String,
        /// How long we waited.
        secs: u64,
    },
}

/// A command's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 or a negated errno.
    pub code: i32,
    /// Text for the user (stderr of `ceph`).
    pub outs: String,
    /// Output (stdout of `ceph`).
    pub outbl: Bytes,
}

/// Where and as whom to log in.
#[derive(Clone)]
pub struct Login {
    /// Monitors.
    pub mons: Vec<AddrVec>,
    /// The user.
    pub name: AuthName,
    /// Its key; `None` for a cluster without authentication.
    pub key: Option<CryptoKey>,
    /// Services besides the monitors to get tickets for.
    pub services: Vec<EntityType>,
    /// Give up after this long.
    pub timeout: Duration,
    /// Give up after so many broken attempts.
    pub attempts_max: Option<u32>,
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Request {
    /// To the monitors as a service.
    Mon(MMonCommand),
    /// To the manager as a service.
    Mgr(MMgrCommand),
    /// To one daemon.
    Tell(MCommand),
    /// Sign of life.
    Ping,
}

impl Request {
    /// A command for the monitors. Stock's refuse one without their cluster's id, ours do not.
    pub fn mon(fsid: Fsid, cmd: String, data: Bytes) -> Request {
        Request::Mon(MMonCommand { fsid, cmd: vec![cmd], data, ..MMonCommand::default() })
    }
    /// A command for the manager.
    pub fn mgr(fsid: Fsid, cmd: String, data: Bytes) -> Request {
        Request::Mgr(MMgrCommand { fsid, cmd: vec![cmd], data })
    }
    /// A command for one daemon.
    pub fn tell(fsid: Fsid, cmd: String, data: Bytes) -> Request {
        Request::Tell(MCommand { fsid, cmd: vec![cmd], data })
    }
    fn message(&self, tid: u64, features: Features) -> Message {
        let m = match self {
            Request::Mon(m) => Message::new(m, features),
            Request::Mgr(m) => Message::new(m, features),
            Request::Tell(m) => Message::new(m, features),
            Request::Ping => Message::new(&MPing::default(), features),
        };
        m.with_tid(tid)
    }
}

/// A request that has no answer yet. Over a daemon's own session it ends with that.
struct Waiting {
    request: Request,
    via: Option<Connection>,
    to: oneshot::Sender<Answer>,
}

struct State {
    link: OnceCell<MonLink>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    maps: RefCell<Maps>,
    /// A session is there, or it is known that none will be.
    settled: tokio::sync::Notify,
    /// A map or a log entry came.
    arrived: tokio::sync::Notify,
    open: Cell<bool>,
    refused: Cell<bool>,
    denied: Rc<Cell<bool>>,
    broken: Cell<u32>,
    attempts_max: Option<u32>,
}

impl State {
    /// Sends it if there is a session; else `on_connect` will.
    fn send(&self, tid: u64, request: &Request) {
        let Some(link) = self.link.get() else { return };
        link.send(request.message(tid, link.features()));
    }
    fn subscribe(&self) {
        let (Some(link), Some(m)) = (self.link.get(), self.maps.borrow().subscription()) else { return };
        link.send(Message::new(&m, link.features()));
    }
    fn answer(&self, tid: u64, answer: Answer) {
        if let Some(w) = self.waiting.borrow_mut().remove(&tid) {
            // The asker may have given up; then nobody wants the answer.
            let _ = w.to.send(answer);
        }
    }
}

fn answer_of(msg: &Message) -> Option<Answer> {
    let (code, outs) = match msg.header.kind {
        MMonCommandAck::KIND => msg.decode::<MMonCommandAck>().ok().map(|m| (m.r, m.rs))?,
        MCommandReply::KIND => msg.decode::<MCommandReply>().ok().map(|m| (m.r, m.rs))?,
        MMgrCommandReply::KIND => msg.decode::<MMgrCommandReply>().ok().map(|m| (m.r, m.rs))?,
        _ => return None,
    };
    Some(Answer { code, outs, outbl: msg.data.clone() })
}

/// Remembers that the monitor refused us, which its session only shows as an end.
struct Noting {
    inner: Box<dyn ClientAuth>,
    denied: Rc<Cell<bool>>,
}

impl ClientAuth for Noting {
    fn start(&mut self) -> Result<AuthRequest, AuthError> {
        self.inner.start()
    }
    fn handle_bad_method(
        &mut self,
        method: u32,
        result: i32,
        allowed_methods: &[u32],
        allowed_modes: &[u32],
    ) -> Result<AuthRequest, AuthError> {
        let next = self.inner.handle_bad_method(method, result, allowed_methods, allowed_modes);
        self.denied.set(next.is_err());
        next
    }
    fn handle_reply_more(&mut self, payload: Bytes) -> Result<Bytes, AuthError> {
        self.inner.handle_reply_more(payload)
    }
    fn handle_done(&mut self, global_id: u64, mode: u32, payload: Bytes) -> Result<SessionKeys, AuthError> {
        self.inner.handle_done(global_id, mode, payload)
    }
}

impl Dispatcher for State {
    fn server_auth(&self, _info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, peer: EntityType, _addrs: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        let inner = self.link.get()?.client_auth(peer)?;
        if peer != EntityType::MON {
            return Some(inner);
        }
        Some(Box::new(Noting { inner, denied: self.denied.clone() }))
    }
    fn on_connect(&self, conn: &Connection) {
        if self.link.get().is_some_and(|l| l.on_connect(conn) == LinkEvent::Opened) {
            self.open.set(true);
            self.settled.notify_one();
            self.subscribe();
            // What a session took with it is asked again under its number: the monitors answer it once (`mon-core`'s `done`).
            for (tid, w) in self.waiting.borrow().iter().filter(|(_, w)| w.via.is_none()) {
                self.send(*tid, &w.request);
            }
        }
    }
    fn on_message(&self, conn: &Connection, msg: Message, _hold: MsgHold) {
        let Some(link) = self.link.get() else { return };
        if link.on_message(conn, &msg) != LinkEvent::Pass {
            return;
        }
        if let Some(answer) = answer_of(&msg) {
            return self.answer(msg.header.tid, answer);
        }
        if msg.header.kind == MPing::KIND {
            // Its answer has no number.
            let asked = self
                .waiting
                .borrow()
                .iter()
                .find(|(_, w)| matches!(w.request, Request::Ping))
                .map(|(tid, _)| *tid);
            if let (Some(tid), Ok(outs)) = (asked, denc::from_bytes::<String>(&msg.front)) {
                self.answer(tid, Answer { code: 0, outs, outbl: Bytes::new() });
            }
            return;
        }
        if self.maps.borrow_mut().take(&msg) {
            self.arrived.notify_one();
        }
    }
    fn on_reset(&self, conn: &Connection) {
        if self.link.get().is_some_and(|l| l.on_reset(conn) != LinkEvent::Pass) {
            self.broken.set(self.broken.get() + 1);
            if self.denied.get() || self.attempts_max.is_some_and(|max| self.broken.get() >= max) {
                self.settled.notify_one();
            }
            return;
        }
        // The askers hear it by the loss of their sender.
        self.waiting.borrow_mut().retain(|_, w| w.via.as_ref() != Some(conn));
    }
    fn on_refused(&self, _conn: &Connection) {
        self.refused.set(true);
    }
}

/// See the module's documentation. Must live inside a `LocalSet`.
pub struct Commander {
    state: Rc<State>,
    messenger: Messenger,
    next_tid: Cell<u64>,
    ticker: tokio::task::JoinHandle<()>,
}

impl Commander {
    /// Logs in at one of `mons` as `name`; gives up after `timeout`.
    pub async fn connect(
        mons: Vec<AddrVec>,
        name: AuthName,
        key: CryptoKey,
        env: Rc<dyn Env>,
        timeout: Duration,
    ) -> Result<Commander, CommanderError> {
        let login = Login { mons, name, key: Some(key), services: Vec::new(), timeout, attempts_max: None };
        Commander::login(login, env).await
    }

    /// Logs in.
    pub async fn login(login: Login, env: Rc<dyn Env>) -> Result<Commander, CommanderError> {
        let mut nonce = [0u8; 4];
        env.random(&mut nonce);
        let state = Rc::new(State {
            link: OnceCell::new(),
            waiting: RefCell::default(),
            maps: RefCell::default(),
            settled: tokio::sync::Notify::new(),
            arrived: tokio::sync::Notify::new(),
            open: Cell::new(false),
            refused: Cell::new(false),
            denied: Rc::default(),
            broken: Cell::new(0),
            attempts_max: login.attempts_max,
        });
        let config = MessengerConfig::new(EntityName::new(login.name.kind, -1), u32::from_le_bytes(nonce));
        let messenger = Messenger::new(config, state.clone());
        let services: Vec<EntityType> = [EntityType::MON].into_iter().chain(login.services).collect();
        let tickets = match login.key {
            Some(key) => TicketStore::new(login.name, key, &services),
            None => TicketStore::none(login.name),
        };
        let link = MonLink::new(messenger.clone(), tickets.shared(), env, login.mons, false);
        assert!(state.link.set(link).is_ok(), "the link is set once");
        let ticking = state.clone();
        let ticker = tokio::task::spawn_local(async move {
            loop {
                if let Some(link) = ticking.link.get() {
                    link.tick();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let commander = Commander { state, messenger, next_tid: Cell::new(1), ticker };
        let _ = tokio::time::timeout(login.timeout, commander.state.settled.notified()).await;
        let s = &commander.state;
        match (s.open.get(), s.denied.get()) {
            (true, _) => Ok(commander),
            (_, true) => Err(CommanderError::Denied),
            _ => Err(CommanderError::NoMonitor { secs: login.timeout.as_secs(), refused: s.refused.get() }),
        }
    }

    fn enqueue(&self, request: Request, via: Option<Connection>) -> (u64, oneshot::Receiver<Answer>) {
        let tid = self.next_tid.get();
        self.next_tid.set(tid + 1);
        let (to, from) = oneshot::channel();
        match &via {
            None => self.state.send(tid, &request),
            Some(conn) => conn.send(request.message(tid, conn.features())),
        }
        self.state.waiting.borrow_mut().insert(tid, Waiting { request, via, to });
        (tid, from)
    }

    /// Sends one command with its input data and waits for the answer, through as many sessions as it takes.
    pub async fn command(&self, cmd: serde_json::Value, input: Bytes) -> Result<Answer, CommanderError> {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let prefix = cmd["prefix"].as_str().unwrap_or_default().to_owned();
        let (tid, from) = self.enqueue(Request::mon(Fsid::default(), cmd.to_string(), input), None);
        match tokio::time::timeout(TIMEOUT, from).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => {
                self.state.waiting.borrow_mut().remove(&tid);
                Err(CommanderError::NoAnswer { prefix, secs: TIMEOUT.as_secs() })
            }
        }
    }

    /// Asks over the session with the monitor, or the next one, and waits for as long as it takes.
    pub async fn ask(&self, request: Request) -> Answer {
        self.enqueue(request, None).1.await.expect("what was not answered is still waiting")
    }

    /// Asks a daemon over a session of its own. `None` when that broke before the answer, or there is no ticket for it.
    pub async fn ask_daemon(&self, kind: EntityType, addrs: &AddrVec, request: Request) -> Option<Answer> {
        let conn = self.messenger.connect(kind, addrs);
        let answer = self.enqueue(request, Some(conn.clone())).1.await.ok();
        conn.mark_down();
        answer
    }

    /// Gets a map that the monitors have (`monmap`, `mgrmap`, `osdmap`, `fsmap`), anew, and waits until `read` finds what it looks for.
    pub async fn map<T>(&self, what: &str, read: impl Fn(&Maps) -> Option<T>) -> T {
        self.state.maps.borrow_mut().want(what, true);
        self.state.subscribe();
        self.read_maps(|m| read(m)).await
    }

    /// Subscribes for good.
    pub fn subscribe(&self, what: &str) {
        self.state.maps.borrow_mut().want(what, false);
        self.state.subscribe();
    }

    /// Waits until what came has what `read` looks for.
    pub async fn read_maps<T>(&self, mut read: impl FnMut(&mut Maps) -> Option<T>) -> T {
        loop {
            if let Some(found) = read(&mut self.state.maps.borrow_mut()) {
                return found;
            }
            self.state.arrived.notified().await;
        }
    }

    /// Addresses of the monitor of the session that there is.
    pub fn monitor(&self) -> Option<AddrVec> {
        self.state.link.get()?.monitor()
    }
}

impl Drop for Commander {
    fn drop(&mut self) {
        self.ticker.abort();
        self.messenger.shutdown();
    }
}
