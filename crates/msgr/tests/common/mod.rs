//! `Pair`: two endpoints, a virtual clock, and links that can be cut at any byte.
#![allow(dead_code, missing_docs)]

use bytes::{Bytes, BytesMut};
use messages::{Message, MsgHeader};
use msgr::auth::{
    AuthError, AuthRequest, AuthedPeer, ClientAuth, METHOD_CEPHX, MODE_CRC, MODE_SECURE, ServerAuth,
    ServerStep, SessionKeys,
};
use msgr::auth_none::{NoneClient, NoneServer};
use msgr::{Endpoint, EndpointConfig, Event, MsgrError, Policy, SessionId, TransportId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Utime, features};

/// An auth with a challenge and keys, so that signatures and secure mode are exercised without cephx.
pub struct KeyedClient {
    pub modes: Vec<u32>,
    pub secret_seed: u8,
}
fn keys(seed: u8) -> SessionKeys {
    let session_key = Bytes::from(vec![seed; 16]);
    let connection_secret = Bytes::from((0..64u8).map(|i| i.wrapping_mul(7) ^ seed).collect::<Vec<_>>());
    SessionKeys { session_key, connection_secret }
}
impl ClientAuth for KeyedClient {
    fn start(&mut self) -> Result<AuthRequest, AuthError> {
        Ok(AuthRequest {
            method: METHOD_CEPHX,
            modes: self.modes.clone(),
            payload: Bytes::from_static(b"start"),
        })
    }
    fn handle_bad_method(&mut self, _: u32, _: i32, _: &[u32], _: &[u32]) -> Result<AuthRequest, AuthError> {
        Err(AuthError { reason: "no" })
    }
    fn handle_reply_more(&mut self, payload: Bytes) -> Result<Bytes, AuthError> {
        assert_eq!(&payload[..], b"challenge");
        Ok(Bytes::from_static(b"response"))
    }
    fn handle_done(&mut self, _: u64, _: u32, payload: Bytes) -> Result<SessionKeys, AuthError> {
        Ok(keys(payload[0]))
    }
}
pub struct KeyedServer {
    pub seed: u8,
    pub mode: u32,
    pub entity: String,
}
impl ServerAuth for KeyedServer {
    fn handle_request(&mut self, _: EntityType, method: u32, modes: &[u32], payload: Bytes) -> ServerStep {
        assert_eq!((method, &payload[..]), (METHOD_CEPHX, &b"start"[..]));
        if let Some(&m) = modes.first() {
            self.mode = m;
        }
        ServerStep::More(Bytes::from_static(b"challenge"))
    }
    fn handle_more(&mut self, payload: Bytes) -> ServerStep {
        assert_eq!(&payload[..], b"response");
        ServerStep::Done {
            mode: self.mode,
            payload: Bytes::from(vec![self.seed]),
            keys: keys(self.seed),
            peer: AuthedPeer {
                entity: self.entity.clone(),
                global_id: 77,
                allow_all: true,
                caps: String::new(),
                expires: Utime::ZERO,
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthKind {
    None,
    Crc,
    Secure,
}

pub struct Side {
    pub ep: Endpoint,
    pub got: Vec<(SessionId, u64)>,
    pub msgs: Vec<Message>,
    pub log: Vec<String>,
    bufs: BTreeMap<TransportId, BytesMut>,
    pub name: EntityName,
}

pub struct Link {
    pub from: usize,
    pub a: TransportId,
    pub b: TransportId,
    /// Bytes under way: from opener to acceptor, and back.
    pub fly: [Vec<u8>; 2],
    pub all: [Vec<u8>; 2],
    pub up: bool,
}

pub struct Pair {
    pub now: Utime,
    pub sides: [Side; 2],
    pub links: Vec<Link>,
    /// Cut the current link when this many more bytes were delivered (both directions counted).
    pub cut_after: Option<usize>,
    pub cuts: usize,
    pub auth: AuthKind,
    pub delivered: usize,
    seed: u8,
    /// Deliver at most this many bytes at a time.
    pub chunk: usize,
    pub refuse_open: bool,
    /// Connect without authentication (v1 only).
    pub no_client_auth: bool,
    /// Change this byte of this direction of the first link.
    pub flip: Option<(usize, usize)>,
}

pub fn addr(port: u16, nonce: u32) -> AddrVec {
    let sock: SocketAddr = SocketAddr::from(([127, 0, 0, 1], port));
    AddrVec(vec![EntityAddr::new(AddrType::Msgr2, sock, nonce)])
}

pub fn config(name: EntityName) -> EndpointConfig {
    let mut policies = BTreeMap::new();
    let default_policy = match name.kind {
        EntityType::OSD => {
            policies.insert(EntityType::OSD, Policy::lossless_peer());
            Policy::stateless_registered_server()
        }
        _ => Policy::lossy_client(),
    };
    EndpointConfig {
        name,
        nonce: 1,
        features_supported: features::SUPPORTED,
        features_required: 0,
        default_policy,
        policies,
        require_authorizer: true,
        front_bytes_max: 1 << 20,
        data_bytes_max: 8 << 20,
        out_bytes_max: 64 << 20,
        handshake_max: Duration::from_secs(10),
        backoff_min: Duration::from_millis(200),
        backoff_max: Duration::from_secs(15),
        idle_max: Duration::from_secs(900),
        session_keep: Duration::from_secs(900),
    }
}

pub fn msg(n: u64) -> Message {
    let header =
        MsgHeader { tid: n, kind: 1000, priority: 127, version: 1, compat: 1, ..MsgHeader::default() };
    Message {
        header,
        front: Bytes::from(format!("front {n}")),
        data: Bytes::from(vec![n as u8; (n as usize % 5) * 50]),
        ..Message::default()
    }
}

impl Pair {
    pub fn osds(auth: AuthKind) -> Pair {
        Pair::new(EntityName::new(EntityType::OSD, 0), EntityName::new(EntityType::OSD, 1), auth)
    }
    pub fn new(a: EntityName, b: EntityName, auth: AuthKind) -> Pair {
        let side = |name: EntityName, port: u16| {
            let mut r = u64::from(port);
            let random = move || {
                r = r.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                r
            };
            let mut ep = Endpoint::new(config(name), Box::new(random));
            ep.my_addrs = addr(port, u32::from(port));
            Side { ep, got: Vec::new(), msgs: Vec::new(), log: Vec::new(), bufs: BTreeMap::new(), name }
        };
        Pair {
            now: Utime::from_secs(1_000_000),
            sides: [side(a, 7001), side(b, 7002)],
            links: Vec::new(),
            cut_after: None,
            cuts: 0,
            auth,
            delivered: 0,
            seed: 1,
            chunk: 1 << 20,
            refuse_open: false,
            no_client_auth: false,
            flip: None,
        }
    }
    pub fn connect(&mut self, from: usize) -> SessionId {
        let to = &self.sides[1 - from];
        let (addrs, kind) = (to.ep.my_addrs.clone(), to.name.kind);
        let s = &mut self.sides[from];
        let policy = s.ep.cfg.policy(kind);
        s.ep.connect(self.now, kind, &addrs, policy)
    }
    /// Opens a v1 session from side 0 to side 1, each of which gets a v1 address.
    pub fn connect_v1(&mut self) -> SessionId {
        for (i, s) in self.sides.iter_mut().enumerate() {
            let sock = SocketAddr::from(([127, 0, 0, 1], 7101 + i as u16));
            s.ep.my_addrs.0.push(EntityAddr::new(AddrType::Legacy, sock, 3));
        }
        let to = &self.sides[1];
        let addrs = AddrVec(vec![*to.ep.my_addrs.legacy().unwrap()]);
        let kind = to.name.kind;
        self.sides[0].ep.connect(self.now, kind, &addrs, Policy::lossy_client())
    }
    pub fn send(&mut self, from: usize, sid: SessionId, m: Message) {
        self.sides[from].ep.send(self.now, sid, m);
    }
    fn client_auth(&mut self, of: usize, kind: EntityType) -> Box<dyn ClientAuth> {
        let name = self.sides[of].name;
        match self.auth {
            AuthKind::None => Box::new(NoneClient {
                kind: name.kind,
                id: name.num.to_string(),
                global_id: 0,
                to_mon: kind == EntityType::MON,
            }),
            AuthKind::Crc => Box::new(KeyedClient { modes: vec![MODE_CRC], secret_seed: 0 }),
            AuthKind::Secure => Box::new(KeyedClient { modes: vec![MODE_SECURE, MODE_CRC], secret_seed: 0 }),
        }
    }
    fn server_auth(&mut self, peer: usize) -> Box<dyn ServerAuth> {
        self.seed = self.seed.wrapping_add(1);
        let name = self.sides[peer].name;
        match self.auth {
            AuthKind::None => Box::new(NoneServer { next_global_id: 4100 }),
            _ => Box::new(KeyedServer { seed: self.seed, mode: MODE_CRC, entity: name.to_string() }),
        }
    }
    fn events(&mut self, i: usize) -> bool {
        let mut any = false;
        while let Some(e) = self.sides[i].ep.poll_event() {
            any = true;
            let now = self.now;
            match e {
                Event::Open { transport, addr } => {
                    if self.refuse_open {
                        self.sides[i].ep.connect_failed(now, transport, true);
                        continue;
                    }
                    let peer: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 50000));
                    let b = self.sides[1 - i].ep.accept(now, addr.kind == AddrType::Legacy, peer);
                    self.sides[i].ep.connected(now, transport, peer);
                    self.links.push(Link {
                        from: i,
                        a: transport,
                        b,
                        fly: Default::default(),
                        all: Default::default(),
                        up: true,
                    });
                }
                Event::Close { transport, rest: _, why } => {
                    if !matches!(why, MsgrError::Lost) {
                        self.sides[i].log.push(format!("close {why}"));
                    }
                    self.sides[i].bufs.remove(&transport);
                    let link = self.links.iter_mut().position(|l| l.up && l.end(i) == transport);
                    if let Some(l) = link {
                        self.cut(l);
                    }
                }
                Event::NeedServerAuth { transport, .. } => {
                    let a = self.server_auth(1 - i);
                    self.sides[i].ep.provide_server_auth(now, transport, Some(a));
                    let s = &mut self.sides[i];
                    s.ep.received(now, transport, s.bufs.entry(transport).or_default());
                }
                Event::NeedClientAuth { transport, peer_type, .. } => {
                    let a = (!self.no_client_auth).then(|| self.client_auth(i, peer_type));
                    self.sides[i].ep.provide_client_auth(now, transport, a);
                    let s = &mut self.sides[i];
                    s.ep.received(now, transport, s.bufs.entry(transport).or_default());
                }
                Event::Message(sid, m) => {
                    self.sides[i].got.push((sid, m.header.tid));
                    self.sides[i].msgs.push(m);
                }
                other => self.sides[i].log.push(short(&other)),
            }
        }
        any
    }
    /// Breaks a link: both ends hear of it, bytes under way are lost.
    pub fn cut(&mut self, l: usize) {
        let now = self.now;
        let link = &mut self.links[l];
        if !std::mem::replace(&mut link.up, false) {
            return;
        }
        link.fly = Default::default();
        let (from, a, b) = (link.from, link.a, link.b);
        self.sides[from].ep.lost(now, a);
        self.sides[1 - from].ep.lost(now, b);
    }
    /// One round; false when nothing moved.
    pub fn step(&mut self) -> bool {
        let mut any = false;
        for i in 0..2 {
            any |= self.events(i);
            for t in self.sides[i].ep.take_dirty() {
                let Some(out) = self.sides[i].ep.out(t) else { continue };
                let bytes = out.take_all();
                any |= !bytes.is_empty();
                if let Some(l) = self.links.iter_mut().find(|l| l.up && l.end(i) == t) {
                    let dir = usize::from(l.from != i);
                    l.fly[dir].extend_from_slice(&bytes);
                }
            }
        }
        for l in 0..self.links.len() {
            for dir in 0..2 {
                let link = &mut self.links[l];
                if !link.up || link.fly[dir].is_empty() {
                    continue;
                }
                let mut n = link.fly[dir].len().min(self.chunk);
                if let Some(c) = self.cut_after {
                    n = n.min(c);
                }
                let mut bytes: Vec<u8> = link.fly[dir].drain(..n).collect();
                let begin = link.all[dir].len();
                if let Some((d, at)) = self.flip
                    && (l, d) == (0, dir)
                    && (begin..begin + n).contains(&at)
                {
                    bytes[at - begin] ^= 0x10;
                }
                link.all[dir].extend_from_slice(&bytes);
                let (i, t) = if dir == 0 { (1 - link.from, link.b) } else { (link.from, link.a) };
                self.delivered += n;
                any = true;
                if n > 0 {
                    let s = &mut self.sides[i];
                    let buf = s.bufs.entry(t).or_default();
                    buf.extend_from_slice(&bytes);
                    s.ep.received(self.now, t, buf);
                }
                if let Some(c) = &mut self.cut_after {
                    *c -= n;
                    if *c == 0 {
                        self.cut_after = None;
                        self.cuts += 1;
                        self.cut(l);
                    }
                }
                self.events(i);
            }
        }
        any
    }
    /// Runs until nothing moves and no timer is due within `horizon`.
    pub fn settle(&mut self, horizon: Duration) {
        let end = self.now + horizon;
        for _ in 0..100_000 {
            if self.step() {
                continue;
            }
            let next = self.sides.iter().filter_map(|s| s.ep.next_timeout()).min();
            match next {
                Some(t) if t <= end => {
                    self.now = self.now.max(t);
                    let now = self.now;
                    self.sides.iter_mut().for_each(|s| s.ep.handle_timeout(now));
                }
                _ => return,
            }
        }
        panic!("does not settle: {:?} / {:?}", self.sides[0].log, self.sides[1].log);
    }
    pub fn tids(&self, side: usize) -> Vec<u64> {
        self.sides[side].got.iter().map(|&(_, t)| t).collect()
    }
}

impl Link {
    pub fn end(&self, side: usize) -> TransportId {
        if side == self.from { self.a } else { self.b }
    }
}

fn short(e: &Event) -> String {
    match e {
        Event::Connected(_) => "connected".into(),
        Event::Accepted(_) => "accepted".into(),
        Event::Resumed(_) => "resumed".into(),
        Event::Reset(_, why) => format!("reset {why}"),
        Event::RemoteReset(_) => "remote reset".into(),
        Event::Refused(_) => "refused".into(),
        Event::KeepaliveAck(..) => "keepalive ack".into(),
        other => format!("{other:?}"),
    }
}
