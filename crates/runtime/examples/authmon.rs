//! A listener that is no monitor but logs peers in like one: proof that stock programs accept our side of cephx.
//! `authmon KEYRING v2:127.0.0.1:PORT [v1:127.0.0.1:PORT] [crc|secure]`; then e.g. `ceph -m v2:127.0.0.1:PORT -s`, which gets through the login
//! and waits for a map.
//!
//! Also `authmon ask KEYRING NAME v2:MON`: logs in at a stock monitor as NAME; a daemon then fetches its rotating secrets, and
//! everybody renews in the session.
//!
//! And `authmon osd KEYRING v2:MON v2:OSD/NONCE`: fetches osd.0's rotating secrets from a stock monitor, gives a client tickets made by *our*
//! monitor side with them, and opens a session with the stock OSD on such a ticket, in both modes.

use cephx::{
    AuthConfig, AuthName, CryptoKey, EntityAuth, KeyServer, KeyType, Keyring, MonAuthenticator,
    MonClientAuth, RotatingSecrets, ServiceClientAuth, TicketStore, V1MonLogin,
};
use denc::Features;
use messages::{MAuth, MAuthReply, Message, Payload};
use msgr::auth::{ClientAuth, METHOD_CEPHX, MODE_CRC, MODE_SECURE, ServerAuth, ServerStep, SessionKeys};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use runtime::System;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};

struct Mon {
    auth: Rc<MonAuthenticator>,
    v1: RefCell<BTreeMap<u64, V1MonLogin>>,
}

impl Dispatcher for Mon {
    fn server_auth(&self, info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        println!("login begins: {:?} from {} v1={}", info.peer_type, info.from, info.is_v1);
        Some(Box::new(self.auth.server_auth()))
    }
    fn client_auth(&self, _: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        None
    }
    fn on_accept(&self, c: &Connection) {
        println!(
            "accepted {:?} v1={} secret={}",
            c.peer(),
            c.is_v1(),
            c.session_keys().connection_secret.len()
        );
    }
    fn on_message(&self, c: &Connection, msg: Message, _: MsgHold) {
        println!("message {} from {:?}", msg.header.kind, c.peer_name());
        if msg.header.kind != MAuth::KIND {
            return;
        }
        let Ok(m) = msg.decode::<MAuth>() else { return };
        let mut reply = MAuthReply { protocol: METHOD_CEPHX, ..MAuthReply::default() };
        if let Some(peer) = c.peer() {
            let r = self.auth.handle_message(&peer, &m.payload);
            (reply.result, reply.payload, reply.global_id) = (r.result, r.payload, peer.global_id);
        } else {
            let mut v1 = self.v1.borrow_mut();
            let login = v1.entry(c.id()).or_insert_with(|| self.auth.v1_login());
            let r = login.handle(m.protocol, &m.payload);
            (reply.protocol, reply.result, reply.global_id, reply.payload) =
                (r.protocol, r.result, r.global_id, r.payload);
            if let Some(peer) = r.authenticated {
                println!("logged in by messages: {peer:?}");
                c.set_authed(peer, SessionKeys::default());
            }
        }
        println!("auth reply {} with {} bytes", reply.result, reply.payload.len());
        c.send(Message::new(&reply, Features::ALL));
    }
    fn on_reset(&self, c: &Connection) {
        println!("gone: {:?}", c.peer_name());
    }
}

struct Asker {
    store: Rc<RefCell<TicketStore>>,
}

impl Dispatcher for Asker {
    fn server_auth(&self, _: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, _: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        let env = Rc::new(System);
        Some(Box::new(MonClientAuth::new(self.store.clone(), env, &[MODE_SECURE, MODE_CRC])))
    }
    fn on_connect(&self, c: &Connection) {
        let s = self.store.borrow();
        println!("logged in: id {} need {:#x}", s.global_id(), s.need(System::now()));
        let mut payloads = vec![];
        if s.name().is_daemon() {
            payloads.push(s.rotating_request());
        }
        drop(s);
        // As if three quarters of an hour had gone by.
        struct Later;
        impl cephx::Env for Later {
            fn now(&self) -> types::Utime {
                System::now() + Duration::from_secs(2800)
            }
            fn random(&self, buf: &mut [u8]) {
                System::random(buf);
            }
        }
        payloads.extend(self.store.borrow_mut().renewal_request(&Later).expect("renewal"));
        for payload in payloads {
            let m = MAuth { protocol: METHOD_CEPHX, payload, ..MAuth::default() };
            c.send(Message::new(&m, Features::ALL));
        }
    }
    fn on_message(&self, _: &Connection, msg: Message, _: MsgHold) {
        if msg.header.kind != MAuthReply::KIND {
            println!("message {}", msg.header.kind);
            return;
        }
        let Ok(r) = msg.decode::<MAuthReply>() else { return };
        let mut s = self.store.borrow_mut();
        let taken = s.handle_reply(&r.payload, System::now());
        println!("auth reply {} taken {taken:?}, rotating {:?}", r.result, s.rotating());
        println!("next renewal {:?}", s.next_renewal());
    }
    fn on_reset(&self, _: &Connection) {
        println!("refused or lost");
    }
}

fn parse(s: &str) -> EntityAddr {
    let (kind, rest) = s.split_once(':').expect("v1: or v2:");
    let (sock, nonce) = rest.split_once('/').unwrap_or((rest, "0"));
    let kind = if kind == "v1" { AddrType::Legacy } else { AddrType::Msgr2 };
    EntityAddr::new(kind, sock.parse().expect("ip:port"), nonce.parse().expect("nonce"))
}

/// Goes to a service with the tickets it has.
struct Visitor {
    store: Rc<RefCell<TicketStore>>,
    mode: u32,
}

impl Dispatcher for Visitor {
    fn server_auth(&self, _: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, peer: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        let a = ServiceClientAuth::new(&self.store, peer, Rc::new(System), &[self.mode]).expect("ticket");
        Some(Box::new(a))
    }
    fn on_connect(&self, c: &Connection) {
        let secret = c.session_keys().connection_secret.len();
        println!("the stock service opened our ticket: mode {} v1={} secret {secret}", self.mode, c.is_v1());
    }
    fn on_message(&self, _: &Connection, _: Message, _: MsgHold) {}
    fn on_reset(&self, _: &Connection) {
        println!("the stock service refused our ticket");
    }
}

/// A client's tickets, made by our monitor side with a stock cluster's OSD secrets.
fn our_tickets(secrets: RotatingSecrets) -> Rc<RefCell<TicketStore>> {
    let config = AuthConfig::default();
    let name = AuthName::new(EntityType::CLIENT, "admin");
    let key = CryptoKey::generate(KeyType::Aes256k, &System);
    let mut ks = KeyServer { last_global_id: 9_000_000, ..KeyServer::default() };
    ks.data.rotate(&config, &System);
    ks.data.rotating_secrets.insert(u32::from(EntityType::OSD.0), secrets);
    ks.data
        .secrets
        .insert(name.clone(), EntityAuth::new(key.clone(), &[("mon", "allow *"), ("osd", "allow *")]));
    let auth = MonAuthenticator::new(Rc::new(RefCell::new(ks)), Rc::new(System), Rc::new(config));
    let store = TicketStore::new(name, key, &[EntityType::OSD]).shared();
    let mut client = MonClientAuth::new(store.clone(), Rc::new(System), &[MODE_SECURE]);
    let mut server = auth.server_auth();
    let r = client.start().expect("start");
    let mut step = server.handle_request(EntityType::CLIENT, r.method, &r.modes, r.payload);
    while let ServerStep::More(p) = step {
        step = server.handle_more(client.handle_reply_more(p).expect("more"));
    }
    let ServerStep::Done { mode, payload, peer, .. } = step else { panic!("refused") };
    client.handle_done(peer.global_id, mode, payload).expect("done");
    store
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let local = tokio::task::LocalSet::new();
    if args[0] == "osd" {
        let ring = Keyring::parse(&std::fs::read_to_string(&args[1]).expect("keyring")).expect("keyring");
        let name = AuthName::new(EntityType::OSD, "0");
        let key = ring.get(&name).expect("osd.0").key.clone();
        let store = TicketStore::new(name, key, &[EntityType::OSD]).shared();
        local.block_on(&rt, async move {
            let config = MessengerConfig::new(EntityName::new(EntityType::OSD, 0), 77);
            let m = Messenger::new(config, Rc::new(Asker { store: store.clone() }));
            m.connect(EntityType::MON, &AddrVec(vec![parse(&args[2])]));
            tokio::time::sleep(Duration::from_secs(1)).await;
            m.shutdown();
            let store = our_tickets(store.borrow().rotating().expect("rotating secrets").clone());
            for mode in [MODE_CRC, MODE_SECURE] {
                let config = MessengerConfig::new(EntityName::new(EntityType::CLIENT, -1), 78);
                let m = Messenger::new(config, Rc::new(Visitor { store: store.clone(), mode }));
                m.connect(EntityType::OSD, &AddrVec(vec![parse(&args[3])]));
                tokio::time::sleep(Duration::from_secs(1)).await;
                m.shutdown();
            }
        });
        return;
    }
    if args[0] == "ask" {
        let ring = Keyring::parse(&std::fs::read_to_string(&args[1]).expect("keyring")).expect("keyring");
        let name = AuthName::parse(&args[2]).expect("name");
        let key = ring.get(&name).map_or_else(Default::default, |e: &EntityAuth| e.key.clone());
        let services = [EntityType::MON, EntityType::OSD, EntityType::MGR];
        let kind = name.kind;
        let store = TicketStore::new(name, key, &services).shared();
        local.block_on(&rt, async move {
            let m =
                Messenger::new(MessengerConfig::new(EntityName::new(kind, -1), 77), Rc::new(Asker { store }));
            m.connect(EntityType::MON, &AddrVec(vec![parse(&args[3])]));
            tokio::time::sleep(Duration::from_secs(1)).await;
            m.shutdown();
        });
        return;
    }
    let ring = Keyring::parse(&std::fs::read_to_string(&args[0]).expect("keyring")).expect("keyring");
    let mut config = AuthConfig::default();
    match args.last().map(String::as_str) {
        Some("crc") => config.modes = vec![MODE_CRC],
        Some("secure") => config.modes = vec![MODE_SECURE],
        _ => {}
    }
    let mut ks = KeyServer { last_global_id: 4100, ..KeyServer::default() };
    ks.data.secrets = ring.entries;
    ks.data.rotate(&config, &System);
    let auth = MonAuthenticator::new(Rc::new(RefCell::new(ks)), Rc::new(System), Rc::new(config));
    let addrs: Vec<EntityAddr> = args[1..].iter().filter(|a| a.contains(':')).map(|a| parse(a)).collect();
    local.block_on(&rt, async move {
        let mon = Rc::new(Mon { auth, v1: RefCell::default() });
        let m = Messenger::new(MessengerConfig::new(EntityName::new(EntityType::MON, 0), 0), mon);
        m.bind(&addrs).expect("bind");
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}
