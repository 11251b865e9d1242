//! Talks to a stock monitor that allows method none: `stockmon v2:127.0.0.1:22001` (or `v1:`), asks for the monitor map.
//!
//! The handshake is proof that stock accepts our bytes; see also `listen` below: `stockmon listen v2:127.0.0.1:PORT` is a
//! listener that prints what stock clients say (they get through the handshake and then wait for maps).

use bytes::Bytes;
use messages::{Message, MsgHeader};
use msgr::auth::{ClientAuth, ServerAuth};
use msgr::auth_none::{NoneClient, NoneServer};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use std::rc::Rc;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};

struct Talk;

impl Dispatcher for Talk {
    fn server_auth(&self, info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        println!("auth wanted by {info:?}");
        Some(Box::new(NoneServer { next_global_id: 4242 }))
    }
    fn client_auth(&self, peer_type: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        let to_mon = peer_type == EntityType::MON;
        Some(Box::new(NoneClient { kind: EntityType::CLIENT, id: "admin".into(), global_id: 0, to_mon }))
    }
    fn on_connect(&self, c: &Connection) {
        println!("connected {c:?} v1={} features={:#x}", c.is_v1(), c.features().0);
        let header = MsgHeader { kind: 5, priority: 127, version: 1, compat: 1, ..MsgHeader::default() };
        if c.is_v1() {
            // auth, protocol 0: the supported methods, who we are.
            let mut e = denc::Encoder::new(denc::Features::ALL);
            e.u64(0);
            e.u16(u16::MAX);
            e.u64(0);
            e.u32(0);
            let mut b = denc::Encoder::new(denc::Features::ALL);
            b.u8(1);
            b.u32(1);
            b.u32(1);
            b.u32(8);
            b.blob(b"admin");
            b.u64(0);
            e.blob(&b.finish());
            e.u32(0);
            let header = MsgHeader { kind: 17, ..header };
            c.send(Message { header, front: e.finish(), ..Message::default() });
        }
        c.send(Message { header, ..Message::default() });
        c.keepalive();
    }
    fn on_accept(&self, c: &Connection) {
        println!("accepted {c:?} v1={} peer={:?}", c.is_v1(), c.peer());
    }
    fn on_message(&self, c: &Connection, msg: Message, _: MsgHold) {
        println!(
            "message {:?} from {:?}: {} front, {} data",
            msg.header,
            msg.src,
            msg.front.len(),
            msg.data.len()
        );
        if msg.header.kind == 17 && c.is_v1() {
            println!("  {:02x?}", &msg.front[..msg.front.len().min(64)]);
        }
        let _: Bytes = msg.data;
    }
    fn on_reset(&self, c: &Connection) {
        println!("reset {c:?}");
    }
    fn on_refused(&self, c: &Connection) {
        println!("refused {c:?}");
    }
}

fn parse(s: &str) -> EntityAddr {
    let (kind, rest) = s.split_once(':').expect("v1: or v2:");
    let kind = if kind == "v1" { AddrType::Legacy } else { AddrType::Msgr2 };
    EntityAddr::new(kind, rest.parse().expect("ip:port"), 0)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    tokio::task::LocalSet::new().block_on(&rt, async move {
        if args.first().is_some_and(|a| a == "listen") {
            let addrs: Vec<_> = args[1..].iter().map(|a| parse(a)).collect();
            let cfg = MessengerConfig::new(EntityName::mon(0), 0);
            let m = Messenger::new(cfg, Rc::new(Talk));
            println!("listening on {:?}", m.bind(&addrs).expect("bind"));
            tokio::time::sleep(Duration::from_secs(8)).await;
            println!("{:?}", m.stats());
            m.shutdown();
            return;
        }
        let cfg = MessengerConfig::new(EntityName::new(EntityType::CLIENT, -1), 1234);
        let m = Messenger::new(cfg, Rc::new(Talk));
        let c = m.connect(EntityType::MON, &AddrVec(args.iter().map(|a| parse(a)).collect()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("last keepalive ack {:?}, {:?}", c.last_keepalive_ack(), m.stats());
        m.shutdown();
    });
}
