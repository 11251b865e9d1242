//! What monitors say to each other: private messages `0x4100` to `0x41ff` on ordinary messenger sessions between holders of the key `mon.`.
//!
//! Each monitor dials every other one and speaks only on the session that it opened, [`Hello`] first; what it hears comes on the sessions
//! that the others opened. Messages may be lost with a session. Invariants: decoding is bounded and never panics; nothing of it is believed on a
//! session that did not prove the key (the shell sees to that).

use crate::event::{MemberNews, Peer, Role, StoreState};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use messages::{Message, MsgHeader, Payload};
use std::collections::BTreeMap;
use types::{AddrVec, EntityName, Fsid, Utime};

/// Longest name, text or caps string taken from a peer.
const TEXT_MAX: usize = 64 << 10;
/// Log lines in one message.
const LOG_MAX: usize = 1000;

/// The first message on a session: who dials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Name in the monitor map.
    pub name: String,
    /// Identity in the log.
    pub node: u64,
    /// The cluster.
    pub fsid: Fsid,
    /// It has (or had) a place in a quorum: a seed must not found another one.
    pub belongs: bool,
    /// Where it listens.
    pub addrs: AddrVec,
}

/// An envelope of the quorum's machine, opaque here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumBytes(pub Bytes);

/// A session's message on its way to the leader, as stock's `MForward`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The session's number at the monitor that holds it.
    pub token: u64,
    /// Who is at its other end, as that monitor saw it proven.
    pub peer: Peer,
    /// The message.
    pub msg: Message,
}

/// The leader's answer for a session, as stock's `MRoute`; without a message the session shall end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// From [`Forward`].
    pub token: u64,
    /// What is sent to the session's peer.
    pub msg: Option<Message>,
}

/// A session that was forwarded for has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// From [`Forward`].
    pub token: u64,
}

/// The sender leaves the quorum for a while, or comes back (`quorum exit`, `quorum enter`). The machines do not need it: they would find out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It takes no part.
    pub out: bool,
}

/// A piece of an envelope that is too large for one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Which envelope; grows.
    pub id: u64,
    /// Where the piece belongs.
    pub offset: u64,
    /// Bytes of the whole envelope.
    pub total: u64,
    /// The piece.
    pub data: Bytes,
}

/// A monitor outside of the quorum asks the leader to let it in; asked again until it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// Its name.
    pub name: String,
    /// Its identity in the log.
    pub node: u64,
    /// Where it listens.
    pub addrs: AddrVec,
}

/// The leader looks at a member, which answers with [`Seen`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Grows with each look.
    pub number: u64,
    /// The newest change that the leader has.
    pub version: u64,
}

/// What a member shows to a leader that looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// From [`Look`].
    pub number: u64,
    /// Its clock.
    pub clock: Utime,
    /// The newest change that it has.
    pub version: u64,
    /// Its store.
    pub store: StoreState,
}

fn text(d: &mut Decoder<'_>, what: &'static str) -> Result<String, DencError> {
    let s = d.string()?;
    if s.len() > TEXT_MAX {
        return Err(DencError::Invalid { what, value: s.len() as u64 });
    }
    Ok(s)
}

fn node(d: &mut Decoder<'_>) -> Result<u64, DencError> {
    match d.u64()? {
        0 => Err(DencError::Invalid { what: "monitor identity", value: 0 }),
        n => Ok(n),
    }
}

impl Encode for Hello {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.name);
            e.u64(self.node);
            e.put(&self.fsid);
            e.bool(self.belongs);
            e.put(&self.addrs);
        });
    }
}
impl Decode for Hello {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("monitor hello", 1)?;
        Ok(Hello {
            name: text(&mut d, "monitor name")?,
            node: node(&mut d)?,
            fsid: d.get()?,
            belongs: d.bool()?,
            addrs: d.get()?,
        })
    }
}

fn put_message(e: &mut Encoder, m: &Message) {
    let h = &m.header;
    e.u64(h.tid);
    e.u16(h.kind);
    e.u16(h.priority);
    e.u16(h.version);
    e.u16(h.compat);
    e.u16(h.data_off);
    e.put(&m.src);
    e.put(&m.front);
    e.put(&m.middle);
    e.put(&m.data);
}
fn get_message(d: &mut Decoder<'_>) -> Result<Message, DencError> {
    let header = MsgHeader {
        tid: d.u64()?,
        kind: d.u16()?,
        priority: d.u16()?,
        version: d.u16()?,
        compat: d.u16()?,
        data_off: d.u16()?,
        seq: 0,
    };
    let src: EntityName = d.get()?;
    Ok(Message { header, src, front: d.get()?, middle: d.get()?, data: d.get()?, data_crc: None })
}

impl Encode for Forward {
    fn encode(&self, e: &mut Encoder) {
        let p = &self.peer;
        e.versioned(1, 1, |e| {
            e.u64(self.token);
            e.bool(p.role == Role::Mgr);
            e.put(&p.entity);
            e.u64(p.global_id);
            e.put(&p.name);
            e.put(&p.addrs);
            e.u64(p.features);
            e.put(&p.caps);
            e.bool(p.allow_all);
            put_message(e, &self.msg);
        });
    }
}
impl Decode for Forward {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("forwarded message", 1)?;
        let token = d.u64()?;
        let role = if d.bool()? { Role::Mgr } else { Role::Mon };
        let peer = Peer {
            role,
            entity: text(&mut d, "entity")?,
            global_id: d.u64()?,
            name: d.get()?,
            addrs: d.get()?,
            features: d.u64()?,
            caps: text(&mut d, "caps")?,
            allow_all: d.bool()?,
            authenticated: true,
        };
        Ok(Forward { token, peer, msg: get_message(&mut d)? })
    }
}

impl Encode for Route {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.token);
            e.bool(self.msg.is_some());
            if let Some(m) = &self.msg {
                put_message(e, m);
            }
        });
    }
}
impl Decode for Route {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("routed message", 1)?;
        let token = d.u64()?;
        let msg = if d.bool()? { Some(get_message(&mut d)?) } else { None };
        Ok(Route { token, msg })
    }
}

impl Encode for Gone {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.u64(self.token));
    }
}
impl Decode for Gone {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("session gone", 1)?;
        Ok(Gone { token: d.u64()? })
    }
}

impl Encode for Standing {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.bool(self.out));
    }
}
impl Decode for Standing {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("standing", 1)?;
        Ok(Standing { out: d.bool()? })
    }
}

impl Encode for Piece {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.id);
            e.u64(self.offset);
            e.u64(self.total);
        });
    }
}

impl Encode for Join {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.name);
            e.u64(self.node);
            e.put(&self.addrs);
        });
    }
}
impl Decode for Join {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("monitor join", 1)?;
        Ok(Join { name: text(&mut d, "monitor name")?, node: node(&mut d)?, addrs: d.get()? })
    }
}

impl Encode for MemberNews {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(3, 1, |e| {
            e.put(&self.name);
            e.put(&self.metadata);
            e.put(&self.mgr_addrs);
            e.put(&self.log);
            e.bool(self.wants_global_ids.is_some());
            e.bool(self.used_pending.is_some());
            if let Some((name, proof)) = &self.used_pending {
                e.put(name);
                e.raw(proof);
            }
            e.u64(self.wants_global_ids.unwrap_or(0));
        });
    }
}
impl Decode for MemberNews {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("monitor news", 3)?;
        let name = text(&mut d, "monitor name")?;
        let metadata: BTreeMap<String, String> = d.get()?;
        let mgr_addrs = d.get()?;
        let log: Vec<types::logentry::LogEntry> = d.get()?;
        if log.len() > LOG_MAX {
            return Err(DencError::Invalid { what: "monitor news: log", value: log.len() as u64 });
        }
        let wants = d.bool()?;
        let used_pending = match v >= 2 && d.bool()? {
            true => {
                let name = text(&mut d, "principal")?;
                let mut proof = [0; 32];
                proof.copy_from_slice(d.raw(32)?);
                Some((name, proof))
            }
            false => None,
        };
        let life = if v >= 3 { d.u64()? } else { 0 };
        let wants_global_ids = wants.then_some(life);
        Ok(MemberNews { name, metadata, mgr_addrs, log, wants_global_ids, used_pending })
    }
}

impl Encode for Look {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.number);
            e.u64(self.version);
        });
    }
}
impl Decode for Look {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("monitor look", 1)?;
        Ok(Look { number: d.u64()?, version: d.u64()? })
    }
}

impl Encode for Seen {
    fn encode(&self, e: &mut Encoder) {
        let s = &self.store;
        e.versioned(1, 1, |e| {
            e.u64(self.number);
            e.put(&self.clock);
            e.u64(self.version);
            e.u64(s.total_bytes);
            e.u64(s.avail_bytes);
            e.u64(s.store_bytes);
            e.u64(s.slowest_write_us);
        });
    }
}
impl Decode for Seen {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("monitor seen", 1)?;
        let (number, clock, version) = (d.u64()?, d.get()?, d.u64()?);
        let store = StoreState {
            total_bytes: d.u64()?,
            avail_bytes: d.u64()?,
            store_bytes: d.u64()?,
            slowest_write_us: d.u64()?,
        };
        Ok(Seen { number, clock, version, store })
    }
}

/// A payload whose front is one versioned structure.
macro_rules! front {
    ($type:ty, $kind:literal, $name:literal) => {
        impl Payload for $type {
            const KIND: u16 = $kind;
            const NAME: &'static str = $name;
            const VERSION: u16 = 1;
            const COMPAT: u16 = 1;
            fn encode_parts(&self, f: Features) -> (Bytes, Bytes, Bytes) {
                (denc::to_bytes(self, f), Bytes::new(), Bytes::new())
            }
            fn decode_parts(msg: &Message) -> Result<Self, DencError> {
                denc::from_bytes_exact(&msg.front)
            }
        }
    };
}
front!(Hello, 0x4100, "loligo_mon_hello");
front!(Forward, 0x4102, "loligo_mon_forward");
front!(Route, 0x4103, "loligo_mon_route");
front!(Join, 0x4105, "loligo_mon_join");
front!(MemberNews, 0x4106, "loligo_mon_news");
front!(Gone, 0x4107, "loligo_mon_gone");
front!(Standing, 0x410a, "loligo_mon_standing");
front!(Look, 0x4108, "loligo_mon_look");
front!(Seen, 0x4109, "loligo_mon_seen");

impl Payload for QuorumBytes {
    const KIND: u16 = 0x4101;
    const NAME: &'static str = "loligo_mon_quorum";
    const VERSION: u16 = 1;
    const COMPAT: u16 = 1;
    fn encode_parts(&self, _: Features) -> (Bytes, Bytes, Bytes) {
        (Bytes::new(), Bytes::new(), self.0.clone())
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        Ok(QuorumBytes(msg.data.clone()))
    }
}

impl Payload for Piece {
    const KIND: u16 = 0x4104;
    const NAME: &'static str = "loligo_mon_piece";
    const VERSION: u16 = 1;
    const COMPAT: u16 = 1;
    fn encode_parts(&self, f: Features) -> (Bytes, Bytes, Bytes) {
        (denc::to_bytes(self, f), Bytes::new(), self.data.clone())
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        let mut d = Decoder::new(&msg.front);
        let (_, mut d) = d.open("piece", 1)?;
        Ok(Piece { id: d.u64()?, offset: d.u64()?, total: d.u64()?, data: msg.data.clone() })
    }
}

/// Decodes a monitor's message of any kind, for the fuzzer: what it says of the bytes does not matter, only that it says it.
pub fn fuzz(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    let mut m = Message { front: bytes.clone(), data: bytes, ..Message::default() };
    m.header.kind = 0x4100 + u16::from(kind % 11);
    m.header.version = 1;
    m.header.compat = 1;
    let _ = m.decode::<Hello>();
    let _ = m.decode::<Join>();
    let _ = m.decode::<MemberNews>();
    let _ = m.decode::<Gone>();
    let _ = m.decode::<Standing>();
    let _ = m.decode::<Look>();
    let _ = m.decode::<Seen>();
    let _ = m.decode::<Piece>();
    if let Ok(f) = m.decode::<Forward>() {
        let again = Message::new(&f, Features::ALL).decode::<Forward>().expect("what was encoded decodes");
        assert_eq!((again.token, &again.msg), (f.token, &f.msg));
    }
    if let Ok(r) = m.decode::<Route>() {
        let again = Message::new(&r, Features::ALL).decode::<Route>().expect("what was encoded decodes");
        assert_eq!(again, r);
    }
}

/// News with something in every field that has no codec of its own.
fn news() -> MemberNews {
    MemberNews {
        name: "a".into(),
        wants_global_ids: Some(77),
        used_pending: Some(("osd.3".into(), [7; 32])),
        ..MemberNews::default()
    }
}

/// Inputs for the fuzzer to start from.
pub fn samples() -> Vec<Vec<u8>> {
    let msg = Message { front: Bytes::from_static(b"front"), ..Message::default() };
    let peer = Peer {
        role: Role::Mon,
        entity: "client.a".into(),
        global_id: 4100,
        name: EntityName::client(4100),
        addrs: AddrVec::default(),
        features: 1,
        caps: "allow r".into(),
        allow_all: false,
        authenticated: true,
    };
    let mut batch = crate::kv::Batch::default();
    batch.put("service/key", Bytes::from_static(b"value"));
    batch.delete("service/gone");
    let fronts = [
        denc::to_bytes(&Hello { name: "a".into(), node: 9, ..Hello::default() }, Features::ALL),
        denc::to_bytes(&Forward { token: 3, peer, msg: msg.clone() }, Features::ALL),
        denc::to_bytes(&Route { token: 3, msg: Some(msg) }, Features::ALL),
        denc::to_bytes(&Join { name: "a".into(), node: 9, addrs: AddrVec::default() }, Features::ALL),
        denc::to_bytes(&news(), Features::ALL),
        denc::to_bytes(&Look { number: 4, version: 9 }, Features::ALL),
        denc::to_bytes(&Seen { number: 4, clock: Utime::from_secs(9), ..Seen::default() }, Features::ALL),
        crate::kv::Proposal { version: 7, batch }.to_bytes(),
    ];
    let with_kind = fronts.iter().map(|f| [&[0u8][..], f].concat());
    fronts.iter().map(|f| f.to_vec()).chain(with_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::EntityType;

    fn whole_or_nothing<P: Payload + core::fmt::Debug>(p: &P) {
        let m = Message::new(p, Features::ALL);
        assert!(m.decode::<P>().is_ok(), "{p:?}");
        for n in 0..m.front.len() {
            let cut = Message { front: m.front.slice(..n), ..m.clone() };
            assert!(cut.decode::<P>().is_err(), "{n} bytes of {p:?}");
        }
    }

    #[test]
    fn each_message_survives_and_no_cut_of_it_does() {
        let msg = Message {
            header: MsgHeader { tid: 7, kind: 50, version: 1, compat: 1, ..MsgHeader::default() },
            front: Bytes::from_static(b"front"),
            data: Bytes::from_static(b"data"),
            ..Message::default()
        };
        let peer = Peer {
            role: Role::Mon,
            entity: "client.a".into(),
            global_id: 4100,
            name: EntityName::new(EntityType::CLIENT, 4100),
            addrs: AddrVec::default(),
            features: 1,
            caps: "allow r".into(),
            allow_all: false,
            authenticated: true,
        };
        whole_or_nothing(&Forward { token: 3, peer, msg: msg.clone() });
        whole_or_nothing(&Route { token: 3, msg: Some(msg) });
        whole_or_nothing(&Gone { token: 3 });
        whole_or_nothing(&Standing { out: true });
        whole_or_nothing(&Look { number: 1, version: 2 });
        whole_or_nothing(&Seen { number: 1, ..Seen::default() });
        whole_or_nothing(&Hello { name: "a".into(), node: 9, ..Hello::default() });
        whole_or_nothing(&Join { name: "a".into(), node: 9, addrs: AddrVec::default() });
        whole_or_nothing(&news());
        whole_or_nothing(&Piece { id: 1, offset: 2, total: 3, data: Bytes::from_static(b"x") });
    }
}
