//! [`Commander`]: a tool's connection to the monitors for sending commands, as `ceph` does.

use crate::{LinkEvent, MonLink};
use bytes::Bytes;
use cephx::{AuthName, CryptoKey, Env, TicketStore};
use messages::{MMonCommand, MMonCommandAck, Message, Payload};
use msgr::auth::{ClientAuth, ServerAuth};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use types::{AddrVec, EntityName, EntityType};

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

/// A command that has no answer yet.
struct Waiting {
    cmd: MMonCommand,
    to: oneshot::Sender<Answer>,
}

struct State {
    link: OnceCell<MonLink>,
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    opened: tokio::sync::Notify,
    refused: Cell<bool>,
}

impl State {
    /// Sends it if there is a session; else `on_connect` will.
    fn send(&self, tid: u64, cmd: &MMonCommand) {
        let Some(link) = self.link.get() else { return };
        link.send(Message::new(cmd, link.features()).with_tid(tid));
    }
}

impl Dispatcher for State {
    fn server_auth(&self, _info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, peer: EntityType, _addrs: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        self.link.get()?.client_auth(peer)
    }
    fn on_connect(&self, conn: &Connection) {
        if self.link.get().is_some_and(|l| l.on_connect(conn) == LinkEvent::Opened) {
            self.opened.notify_one();
            // What a session took with it is asked again under its number: the monitors answer it once (`mon-core`'s `done`).
            for (tid, w) in &*self.waiting.borrow() {
                self.send(*tid, &w.cmd);
            }
        }
    }
    fn on_message(&self, conn: &Connection, msg: Message, _hold: MsgHold) {
        let Some(link) = self.link.get() else { return };
        if link.on_message(conn, &msg) != LinkEvent::Pass || msg.header.kind != MMonCommandAck::KIND {
            return;
        }
        let Ok(ack) = msg.decode::<MMonCommandAck>() else { return };
        if let Some(w) = self.waiting.borrow_mut().remove(&msg.header.tid) {
            // The asker may have given up; then nobody wants the answer.
            let _ = w.to.send(Answer { code: ack.r, outs: ack.rs, outbl: msg.data.clone() });
        }
    }
    fn on_reset(&self, conn: &Connection) {
        if let Some(link) = self.link.get() {
            link.on_reset(conn);
        }
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
        let mut nonce = [0u8; 4];
        env.random(&mut nonce);
        let state = Rc::new(State {
            link: OnceCell::new(),
            waiting: RefCell::new(BTreeMap::new()),
            opened: tokio::sync::Notify::new(),
            refused: Cell::new(false),
        });
        let config = MessengerConfig::new(EntityName::new(name.kind, -1), u32::from_le_bytes(nonce));
        let messenger = Messenger::new(config, state.clone());
        let tickets = TicketStore::new(name, key, &[EntityType::MON]).shared();
        let link = MonLink::new(messenger.clone(), tickets, env, mons, false);
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
        let opened = tokio::time::timeout(timeout, commander.state.opened.notified()).await;
        match opened {
            Ok(()) => Ok(commander),
            Err(_) => Err(CommanderError::NoMonitor {
                secs: timeout.as_secs(),
                refused: commander.state.refused.get(),
            }),
        }
    }

    /// Sends one command with its input data and waits for the answer, through as many sessions as it takes.
    pub async fn command(&self, cmd: serde_json::Value, input: Bytes) -> Result<Answer, CommanderError> {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let prefix = cmd["prefix"].as_str().unwrap_or_default().to_owned();
        let no_answer = CommanderError::NoAnswer { prefix, secs: TIMEOUT.as_secs() };
        let tid = self.next_tid.get();
        self.next_tid.set(tid + 1);
        let (to, from) = oneshot::channel();
        let cmd = MMonCommand { cmd: vec![cmd.to_string()], data: input, ..MMonCommand::default() };
        self.state.send(tid, &cmd);
        self.state.waiting.borrow_mut().insert(tid, Waiting { cmd, to });
        match tokio::time::timeout(TIMEOUT, from).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => {
                self.state.waiting.borrow_mut().remove(&tid);
                Err(no_answer)
            }
        }
    }
}

impl Drop for Commander {
    fn drop(&mut self) {
        self.ticker.abort();
        self.messenger.shutdown();
    }
}
