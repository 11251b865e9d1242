//! Two messengers over real sockets: echo on both transports, large data, reconnect, throttle, few system calls.

use bytes::Bytes;
use messages::{Message, MsgHeader};
use msgr::auth::{ClientAuth, ServerAuth};
use msgr::auth_none::{NoneClient, NoneServer};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};

struct Node {
    name: EntityName,
    echo: bool,
    got: RefCell<Vec<Message>>,
    held: RefCell<Vec<MsgHold>>,
    hold: Cell<bool>,
    log: RefCell<Vec<&'static str>>,
    conns: RefCell<Vec<Connection>>,
    seen: tokio::sync::Notify,
}

impl Node {
    fn new(name: EntityName, echo: bool) -> Rc<Node> {
        Rc::new(Node {
            name,
            echo,
            got: RefCell::default(),
            held: RefCell::default(),
            hold: Cell::new(false),
            log: RefCell::default(),
            conns: RefCell::default(),
            seen: tokio::sync::Notify::new(),
        })
    }
    fn note(&self, what: &'static str) {
        self.log.borrow_mut().push(what);
        self.seen.notify_waiters();
    }
    async fn until(&self, what: impl Fn(&Node) -> bool) {
        let wait = async {
            while !what(self) {
                self.seen.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it happens in time");
    }
}

impl Dispatcher for Node {
    fn server_auth(&self, _: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        Some(Box::new(NoneServer { next_global_id: 4242 }))
    }
    fn client_auth(&self, peer_type: EntityType, _: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        Some(Box::new(NoneClient {
            kind: self.name.kind,
            id: "x".into(),
            global_id: 0,
            to_mon: peer_type == EntityType::MON,
        }))
    }
    fn on_connect(&self, _: &Connection) {
        self.note("connect");
    }
    fn on_accept(&self, c: &Connection) {
        self.conns.borrow_mut().push(c.clone());
        self.note("accept");
    }
    fn on_message(&self, conn: &Connection, msg: Message, hold: MsgHold) {
        if self.echo {
            conn.send(Message { src: EntityName::default(), ..msg.clone() });
        }
        if self.hold.get() {
            self.held.borrow_mut().push(hold);
        }
        self.got.borrow_mut().push(msg);
        self.seen.notify_waiters();
    }
    fn on_reset(&self, _: &Connection) {
        self.note("reset");
    }
    fn on_refused(&self, _: &Connection) {
        self.note("refused");
    }
}

fn run<F: Future<Output = ()>>(f: F) {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&rt, f);
}

fn any(kind: AddrType) -> EntityAddr {
    EntityAddr::new(kind, SocketAddr::from(([127, 0, 0, 1], 0)), 0)
}

fn msg(n: u64, data: usize) -> Message {
    let header =
        MsgHeader { tid: n, kind: 1000, priority: 127, version: 1, compat: 1, ..MsgHeader::default() };
    Message {
        header,
        front: Bytes::from(vec![1; 200]),
        data: Bytes::from(vec![n as u8; data]),
        ..Message::default()
    }
}

fn server(kind: EntityType) -> (Rc<Node>, Messenger, AddrVec) {
    let node = Node::new(EntityName::new(kind, 1), true);
    let m = Messenger::new(MessengerConfig::new(node.name, 99), node.clone());
    let addrs = m.bind(&[any(AddrType::Msgr2), any(AddrType::Legacy)]).unwrap();
    (node, m, addrs)
}

fn client() -> (Rc<Node>, Messenger) {
    let node = Node::new(EntityName::new(EntityType::CLIENT, -1), false);
    (node.clone(), Messenger::new(MessengerConfig::new(node.name, 7), node))
}

#[test]
fn echoes_over_both_transports_up_to_large_data() {
    run(async {
        let (_s, sm, addrs) = server(EntityType::OSD);
        for only in [AddrType::Msgr2, AddrType::Legacy] {
            let (c, cm) = client();
            let to = AddrVec(addrs.0.iter().filter(|a| a.kind == only).copied().collect());
            // The server announces both; a v2 client checks that the one it used is among them.
            let conn = cm.connect(EntityType::OSD, &to);
            let sizes = [0, 1, 4096, 65536, 1 << 20, 20 << 20, 3];
            for (n, &len) in sizes.iter().enumerate() {
                conn.send(msg(n as u64, len));
            }
            c.until(|c| c.got.borrow().len() == sizes.len()).await;
            for (n, m) in c.got.borrow().iter().enumerate() {
                assert_eq!(m.header.tid, n as u64);
                assert_eq!(m.data, msg(n as u64, sizes[n]).data);
                assert_eq!(m.data_crc.is_some(), only == AddrType::Msgr2 && sizes[n] > 0);
            }
            assert_eq!(conn.is_v1(), only == AddrType::Legacy);
            assert_eq!(conn.features().0, types::features::SUPPORTED);
            cm.shutdown();
        }
        sm.shutdown();
    });
}

#[test]
fn the_server_knows_its_clients_and_hears_of_their_end() {
    run(async {
        let (s, sm, addrs) = server(EntityType::OSD);
        let (c, cm) = client();
        let conn = cm.connect(EntityType::OSD, &addrs);
        conn.send(msg(1, 0));
        c.until(|c| c.got.borrow().len() == 1).await;
        let seen = s.conns.borrow()[0].clone();
        assert_eq!(seen.peer_name(), EntityName::client(4242));
        assert_eq!(seen.peer().unwrap().entity, "client.x");
        assert_eq!(s.got.borrow()[0].src, EntityName::client(4242));
        cm.shutdown();
        s.until(|s| s.log.borrow().contains(&"reset")).await;
        assert!(seen.is_closed());
        sm.shutdown();
    });
}

#[test]
fn refused_connections_are_told() {
    run(async {
        let (c, cm) = client();
        let nobody =
            AddrVec(vec![EntityAddr::new(AddrType::Msgr2, SocketAddr::from(([127, 0, 0, 1], 1)), 0)]);
        cm.connect(EntityType::OSD, &nobody);
        c.until(|c| c.log.borrow().len() == 2).await;
        assert_eq!(*c.log.borrow(), ["refused", "reset"]);
        cm.connect(EntityType::OSD, &AddrVec::default());
        c.until(|c| c.log.borrow().len() == 3).await;
        cm.shutdown();
    });
}

#[test]
fn stateful_peers_find_each_other_again() {
    run(async {
        let (a, am, aaddr) = server(EntityType::OSD);
        let node = Node::new(EntityName::new(EntityType::OSD, 2), false);
        let bm = Messenger::new(MessengerConfig::new(node.name, 5), node.clone());
        bm.bind(&[any(AddrType::Msgr2)]).unwrap();
        let conn = bm.connect(EntityType::OSD, &aaddr);
        assert_eq!(conn, bm.connect(EntityType::OSD, &aaddr));
        for n in 0..100 {
            conn.send(msg(n, 1000));
        }
        node.until(|n| n.got.borrow().len() == 100).await;
        assert_eq!(a.got.borrow().len(), 100);
        assert_eq!(a.conns.borrow().len(), 1);
        bm.shutdown();
        am.shutdown();
    });
}

#[test]
fn the_throttle_stops_reading_and_releases_start_it_again() {
    run(async {
        let (s, sm, addrs) = server(EntityType::OSD);
        s.hold.set(true);
        sm.throttle().set_limits(1 << 20, 5);
        let (_c, cm) = client();
        let conn = cm.connect(EntityType::OSD, &addrs);
        for n in 0..400 {
            conn.send(msg(n, 60_000));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let stopped = s.got.borrow().len();
        assert!(stopped < 60, "{stopped}");
        s.hold.set(false);
        s.held.borrow_mut().clear();
        s.until(|s| s.got.borrow().len() == 400).await;
        assert!(sm.throttle().waits() > 0);
        assert_eq!((sm.throttle().bytes(), sm.throttle().messages()), (0, 0));
        cm.shutdown();
        sm.shutdown();
    });
}

#[test]
fn a_batch_costs_one_write() {
    run(async {
        let (_s, sm, addrs) = server(EntityType::OSD);
        let (c, cm) = client();
        let conn = cm.connect(EntityType::OSD, &addrs);
        conn.send(msg(0, 0));
        c.until(|c| c.got.borrow().len() == 1).await;
        let (before_c, before_s) = (cm.stats(), sm.stats());
        for n in 0..20 {
            conn.send(msg(n, 100));
        }
        cm.flush();
        c.until(|c| c.got.borrow().len() == 21).await;
        assert_eq!(cm.stats().writes - before_c.writes, 1);
        assert!(sm.stats().writes - before_s.writes <= 2);
        assert!(sm.stats().reads - before_s.reads <= 2);
        cm.shutdown();
        sm.shutdown();
    });
}
