//! Who may go on under a global id (CVE-2021-20288), seen from the wire: a client logs in at a running monitor, over v2 and v1, and
//! claims ids that it was not given or cannot prove; the stock client keeps its own over a restart of the monitor.
//!
//! `global_id against CONF` runs the same attempts on any cluster, so on stock monitors too (they need
//! `auth_allow_insecure_global_id_reclaim = false`, which is how loligo always is; CONF's keyring must hold `client.admin`).

mod common;

use bytes::Bytes;
use cephx::proto::{CephXAuthenticate, CephXTicketBlob};
use cephx::{AuthName, CryptoKey, Env, Keyring, MonClientAuth, TicketStore};
use common::{Cluster, ok};
use denc::{Decoder, Encoder, Features};
use messages::{MAuth, MAuthReply, Message, Payload};
use msgr::auth::{AuthError, AuthRequest, ClientAuth, MODE_CRC, MODE_SECURE, ServerAuth, SessionKeys};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use runtime::System;
use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};

const EACCES: i32 = -13;

type Store = Rc<RefCell<TicketStore>>;

/// What a login says besides its name and key.
#[derive(Clone)]
enum Claim {
    /// What the ticket store has: nothing at first, its id and ticket later.
    Own,
    /// This id, with this "old ticket".
    This(u64, CephXTicketBlob),
}

impl Claim {
    /// The id is the last thing in the first payload of v2 and of v1.
    fn on_start(&self, payload: Bytes) -> Bytes {
        let Claim::This(id, _) = self else { return payload };
        let mut b = payload.to_vec();
        let at = b.len() - 8;
        b[at..].copy_from_slice(&id.to_le_bytes());
        b.into()
    }
    fn on_proof(&self, payload: Bytes) -> Bytes {
        let Claim::This(_, ticket) = self else { return payload };
        let mut d = Decoder::new(&payload);
        let kind = d.u16().expect("the request's type");
        let mut a: CephXAuthenticate = d.get().expect("the request");
        a.old_ticket = ticket.clone();
        let mut e = Encoder::new(Features::default());
        e.u16(kind);
        e.put(&a);
        e.finish()
    }
}

/// How a login ended: the session's global id, or the monitor's errno.
type Outcome = Result<u64, i32>;

struct Attempt {
    store: Store,
    claim: Claim,
    outcome: Cell<Option<Outcome>>,
    ended: tokio::sync::Notify,
}

impl Attempt {
    fn end(&self, outcome: Outcome) {
        if self.outcome.get().is_none() {
            self.outcome.set(Some(outcome));
        }
        self.ended.notify_one();
    }
}

/// The v2 login of an attempt.
struct Login {
    attempt: Rc<Attempt>,
    inner: MonClientAuth,
}

impl ClientAuth for Login {
    fn start(&mut self) -> Result<AuthRequest, AuthError> {
        let r = self.inner.start()?;
        Ok(AuthRequest { payload: self.attempt.claim.on_start(r.payload), ..r })
    }
    fn handle_bad_method(
        &mut self,
        _: u32,
        result: i32,
        _: &[u32],
        _: &[u32],
    ) -> Result<AuthRequest, AuthError> {
        self.attempt.end(Err(result));
        Err(AuthError { reason: "refused" })
    }
    fn handle_reply_more(&mut self, payload: Bytes) -> Result<Bytes, AuthError> {
        Ok(self.attempt.claim.on_proof(self.inner.handle_reply_more(payload)?))
    }
    fn handle_done(&mut self, global_id: u64, mode: u32, payload: Bytes) -> Result<SessionKeys, AuthError> {
        let keys = self.inner.handle_done(global_id, mode, payload);
        if keys.is_err() {
            // Let in, though with tickets that only the id's owner can open.
            self.attempt.end(Ok(global_id));
        }
        keys
    }
}

struct Client(Rc<Attempt>);

fn auth(conn: &Connection, protocol: u32, payload: Bytes) {
    conn.send(Message::new(&MAuth { protocol, payload, ..MAuth::default() }, conn.features()));
}

impl Dispatcher for Client {
    fn server_auth(&self, _: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, _: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        let inner = MonClientAuth::new(self.0.store.clone(), Rc::new(System), &[MODE_SECURE, MODE_CRC]);
        Some(Box::new(Login { attempt: self.0.clone(), inner }))
    }
    fn on_connect(&self, conn: &Connection) {
        if conn.is_v1() {
            // A v1 session logs in by messages.
            let start = self.0.claim.on_start(self.0.store.borrow().v1_start());
            return auth(conn, 0, start);
        }
        self.0.end(Ok(self.0.store.borrow().global_id()));
    }
    fn on_message(&self, conn: &Connection, msg: Message, _: MsgHold) {
        if msg.header.kind != MAuthReply::KIND || !conn.is_v1() {
            return;
        }
        let reply: MAuthReply = msg.decode().expect("an auth_reply");
        if reply.result != 0 {
            return self.0.end(Err(reply.result));
        }
        let challenged = conn.user::<()>().is_some();
        if !challenged {
            conn.set_user(Some(Rc::new(())));
            let proof = self.0.store.borrow_mut().v1_challenge(reply.global_id, &reply.payload, &System);
            return auth(conn, 2, self.0.claim.on_proof(proof.expect("a challenge")));
        }
        self.0.store.borrow_mut().handle_reply(&reply.payload, System.now()).expect("tickets");
        self.0.end(Ok(reply.global_id));
    }
}

/// The monitor under attack, at one of its addresses.
struct Target {
    addrs: AddrVec,
    keys: Keyring,
    /// Stock lets a stolen ticket count, with an answer that only the ticket's owner can read; loligo wants the same name in it.
    stock: bool,
}

impl Target {
    fn store(&self, name: &str) -> Store {
        let name = AuthName::parse(name).expect("a name");
        let key: CryptoKey = self.keys.get(&name).expect("its key").key.clone();
        TicketStore::new(name, key, &[EntityType::MON]).shared()
    }

    async fn login(&self, store: &Store, claim: Claim) -> Outcome {
        let attempt = Rc::new(Attempt {
            store: store.clone(),
            claim,
            outcome: Cell::new(None),
            ended: tokio::sync::Notify::new(),
        });
        let nonce = System::random_u64() as u32;
        let config = MessengerConfig::new(EntityName::new(EntityType::CLIENT, -1), nonce);
        let messenger = Messenger::new(config, Rc::new(Client(attempt.clone())));
        let _conn = messenger.connect(EntityType::MON, &self.addrs);
        // Not a measurement: a monitor that never answers must not hang the test.
        let _ = tokio::time::timeout(Duration::from_secs(30), attempt.ended.notified()).await;
        messenger.shutdown();
        attempt.outcome.get().expect("the monitor lets in or refuses")
    }

    fn ticket(store: &Store) -> CephXTicketBlob {
        store.borrow().ticket(EntityType::AUTH, System.now()).expect("an AUTH ticket").blob.clone()
    }

    /// Logs both principals in and tries every wrong claim. Answers admin's store and id, for what comes after a restart.
    async fn attack(&self) -> (Store, u64) {
        let (admin, other) = (self.store("client.admin"), self.store("client.other"));
        let id = self.login(&admin, Claim::Own).await.expect("admin logs in");
        let other_id = self.login(&other, Claim::Own).await.expect("other logs in");
        assert_ne!(id, other_id, "every login has an id of its own");
        assert_eq!(self.login(&admin, Claim::Own).await, Ok(id), "with its ticket a client keeps its id");

        let (own, stolen) = (Self::ticket(&other), Self::ticket(&admin));
        // Sealed with a secret that is no more. (Stock drops the connection at a damaged one; see `cephx`'s tests for those.)
        let mut old = stolen.clone();
        old.secret_id += 1000;
        let none = CephXTicketBlob::default();
        for (what, name, id, ticket) in [
            ("an old id of its own, no ticket", "client.admin", id, &none),
            ("an old id of its own, a ticket from long ago", "client.admin", id, &old),
            ("an old id of its own, someone else's ticket", "client.admin", id, &own),
            ("an id that nobody had, no ticket", "client.admin", id + 1_000_000, &none),
            ("an id that nobody had, a ticket for another", "client.admin", id + 1_000_000, &stolen),
            ("someone else's id, no ticket", "client.other", id, &none),
            ("someone else's id, an own ticket", "client.other", id, &own),
            ("someone else's id, the stolen ticket", "client.other", id, &stolen),
        ] {
            if self.stock && name == "client.other" && *ticket == stolen {
                continue;
            }
            let outcome = self.login(&self.store(name), Claim::This(id, ticket.clone())).await;
            assert_eq!(outcome, Err(EACCES), "{name}: {what}");
        }
        // None of this cost the owner its id.
        assert_eq!(self.login(&admin, Claim::Own).await, Ok(id), "the owner keeps its id");
        (admin, id)
    }
}

fn in_runtime<T>(f: impl Future<Output = T>) -> T {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&rt, f)
}

/// Keys of `client.admin` and a new user.
fn keys(ceph: &dyn Fn(&[&str]) -> String) -> Keyring {
    let mut text = ceph(&["auth", "get-or-create", "client.other", "mon", "allow r"]);
    text.push_str(&ceph(&["auth", "get", "client.admin"]));
    Keyring::parse(&text).expect("keyrings")
}

fn targets(addrs: &[EntityAddr], keys: &Keyring, stock: bool) -> Vec<Target> {
    let one = |a: &EntityAddr| Target { addrs: AddrVec(vec![*a]), keys: keys.clone(), stock };
    addrs.iter().map(one).collect()
}

/// The stock client holds a session while the monitor is killed and comes back: the same session id before and after.
fn stock_keeps_its_id(c: &mut Cluster) {
    const SCRIPT: &str = "
import json, rados, sys
c = rados.Rados(conffile=sys.argv[1], rados_id='admin'); c.connect()
print(c.get_instance_id(), flush=True)
sys.stdin.readline()
r = c.mon_command(json.dumps({'prefix': 'fsid'}), b'')
print(r[0], flush=True)
sys.stdin.readline()
";
    let mut client = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .arg(c.dir.join("ceph.conf"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 with rados");
    let mut input = client.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text").trim().to_owned();
    let id: u64 = line().parse().expect("its id");
    assert_eq!(sessions_with(c, id), 1, "the id that the client knows is its session's");
    c.kill();
    c.start();
    writeln!(input).expect("the client lives");
    assert_eq!(line(), "0", "its command is answered by the new monitor");
    assert_eq!(sessions_with(c, id), 1, "the client came back under its old id {id}");
    writeln!(input).expect("the client lives");
    assert!(client.wait().expect("it ends").success());
}

fn sessions_with(c: &Cluster, id: u64) -> usize {
    let asok = c.dir.join("mon.a.asok").display().to_string();
    let text = ok(&mut c.ceph(&["daemon", &asok, "sessions"]));
    let list: serde_json::Value = serde_json::from_str(&text).expect("json");
    list.as_array().expect("a list").iter().filter(|s| s["global_id"] == id).count()
}

fn against(conf: &Path) {
    let ceph = |args: &[&str]| ok(Command::new("ceph").arg("-c").arg(conf).args(args));
    let keys = keys(&ceph);
    let map: serde_json::Value = serde_json::from_str(&ceph(&["mon", "dump", "-f", "json"])).expect("json");
    let list = map["mons"][0]["public_addrs"]["addrvec"].as_array().expect("addresses").clone();
    let parse = |a: &serde_json::Value| {
        let kind = if a["type"] == "v1" { AddrType::Legacy } else { AddrType::Msgr2 };
        EntityAddr::new(kind, a["addr"].as_str().expect("text").parse().expect("ip:port"), 0)
    };
    let addrs: Vec<EntityAddr> = list.iter().map(parse).collect();
    for t in targets(&addrs, &keys, true) {
        let (_, id) = in_runtime(t.attack());
        println!("{}: every wrong claim refused; id {id} kept by its owner", t.addrs);
    }
    ceph(&["auth", "rm", "client.other"]);
}

fn test(args: &[String]) {
    if let [mode, conf] = args
        && mode == "against"
    {
        return against(Path::new(conf));
    }
    let mut c = Cluster::new();
    c.start();
    assert_eq!(c.out(&["config", "get", "mon", "auth_allow_insecure_global_id_reclaim"]).trim(), "false");
    let keys = keys(&|args| c.out(args));
    let at = |kind, port| EntityAddr::new(kind, ([127, 0, 0, 1], port).into(), 0);
    let targets = targets(&[at(AddrType::Msgr2, c.v2_port), at(AddrType::Legacy, c.v1_port)], &keys, false);
    let owners: Vec<(Store, u64)> = targets.iter().map(|t| in_runtime(t.attack())).collect();
    stock_keeps_its_id(&mut c);
    for (t, (owner, id)) in targets.iter().zip(&owners) {
        assert_eq!(in_runtime(t.login(owner, Claim::Own)), Ok(*id), "kept over a restart: {}", t.addrs);
        let outcome =
            in_runtime(t.login(&t.store("client.admin"), Claim::This(*id, CephXTicketBlob::default())));
        assert_eq!(outcome, Err(EACCES), "an id from before the restart, no ticket: {}", t.addrs);
    }
}

fn main() {
    common::main("global_id", test);
}
