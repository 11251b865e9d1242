//! Logs in at a stock monitor with cephx and sends a command to a stock OSD, in the modes and on the transports given:
//! `stockcephx KEY FSID MON_ADDR OSD_ADDR crc|secure` with addresses as `v2:127.0.0.1:22101/NONCE` or `v1:...`.
//!
//! Over v1 the OSD answers only if our authorizer, its challenge and our signatures are right, and we take its answer only if
//! its signature is.

use cephx::{AuthName, CryptoKey, Env, MonClientAuth, ServiceClientAuth, TicketStore};
use messages::{Message, MsgHeader};
use msgr::auth::{ClientAuth, MODE_CRC, MODE_SECURE, ServerAuth};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Utime};

struct Real;
impl Env for Real {
    fn now(&self) -> Utime {
        Utime::ZERO + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
    }
    fn random(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("random");
    }
}

struct Talk {
    store: Rc<RefCell<TicketStore>>,
    modes: Vec<u32>,
    connected: Cell<u32>,
    replies: Cell<u32>,
}

impl Dispatcher for Talk {
    fn server_auth(&self, _: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, peer_type: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        if peer_type == EntityType::MON {
            return Some(Box::new(MonClientAuth::new(self.store.clone(), Rc::new(Real), &self.modes)));
        }
        match ServiceClientAuth::new(&self.store, peer_type, Rc::new(Real), &self.modes) {
            Ok(a) => Some(Box::new(a)),
            Err(e) => {
                println!("no authorizer: {e}");
                None
            }
        }
    }
    fn on_connect(&self, c: &Connection) {
        println!("connected {c:?} v1={} keys={}", c.is_v1(), c.session_keys().session_key.len());
        self.connected.set(self.connected.get() + 1);
        c.keepalive();
    }
    fn on_message(&self, c: &Connection, msg: Message, _: MsgHold) {
        let text: String =
            msg.data.iter().map(|&b| b as char).filter(|c| !c.is_control()).take(120).collect();
        println!(
            "{:?}: type {} front {} data {} {text}",
            c.peer_name(),
            msg.header.kind,
            msg.front.len(),
            msg.data.len()
        );
        self.replies.set(self.replies.get() + 1);
    }
    fn on_reset(&self, c: &Connection) {
        println!("reset {c:?}");
    }
}

fn parse(s: &str) -> EntityAddr {
    let (kind, rest) = s.split_once(':').expect("v1: or v2:");
    let (sock, nonce) = rest.split_once('/').unwrap_or((rest, "0"));
    let kind = if kind == "v1" { AddrType::Legacy } else { AddrType::Msgr2 };
    EntityAddr::new(kind, sock.parse().expect("ip:port"), nonce.parse().expect("nonce"))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [key, fsid, mon, osd, mode] = &args[..] else { panic!("see the source") };
    let key = CryptoKey::from_base64(key).expect("key");
    let fsid: Vec<u8> = fsid
        .replace('-', "")
        .as_bytes()
        .chunks(2)
        .map(|c| u8::from_str_radix(std::str::from_utf8(c).expect("hex"), 16).expect("hex"))
        .collect();
    let services = [EntityType::MON, EntityType::OSD, EntityType::MGR];
    let store =
        TicketStore::new(AuthName { kind: EntityType::CLIENT, id: "admin".into() }, key, &services).shared();
    let modes = if mode == "secure" { vec![MODE_SECURE] } else { vec![MODE_CRC] };
    let talk = Rc::new(Talk { store, modes, connected: Cell::new(0), replies: Cell::new(0) });
    let (mon, osd) = (AddrVec(vec![parse(mon)]), AddrVec(vec![parse(osd)]));
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    tokio::task::LocalSet::new().block_on(&rt, async move {
        let m =
            Messenger::new(MessengerConfig::new(EntityName::new(EntityType::CLIENT, -1), 1234), talk.clone());
        m.connect(EntityType::MON, &mon).send(Message {
            header: MsgHeader { kind: 5, priority: 127, version: 1, compat: 1, ..MsgHeader::default() },
            ..Message::default()
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        let c = m.connect(EntityType::OSD, &osd);
        let mut e = denc::Encoder::new(denc::Features::ALL);
        e.raw(&fsid);
        e.count(1);
        e.blob(br#"{"prefix":"version"}"#);
        let header =
            MsgHeader { tid: 1, kind: 97, priority: 127, version: 1, compat: 1, ..MsgHeader::default() };
        c.send(Message { header, front: e.finish(), ..Message::default() });
        tokio::time::sleep(Duration::from_millis(900)).await;
        println!("keepalive ack {:?} {:?}", c.last_keepalive_ack(), m.stats());
        m.shutdown();
    });
}
