//! One v1 transport: banners and addresses, connect with authorizer and challenge, then tagged messages (`ProtocolV1`).
//!
//! Sessions over v1 are always lossy here: stock's stateful v1 peers are other stock daemons, never us. A monitor takes connections
//! without authorizer, because clients log in by messages 17/18 there; everybody else wants an authorizer, and the
//! `ServerAuth` behind it challenges each one (CVE-2018-1128). With cephx the new signatures (CEPHX_V2) are required of both sides, so
//! a message cannot be replayed or cut (CVE-2018-1129).

use crate::MsgrError;
use crate::auth::{AuthedPeer, ClientAuth, METHOD_CEPHX, MODE_CRC, ServerAuth, ServerStep, SessionKeys};
use crate::crc::crc32c;
use crate::frame::{CONTROL_BYTES_MAX, FrameLimits};
use crate::outbuf::OutBuf;
use aes::cipher::{BlockEncrypt, KeyInit};
use bytes::{Buf, Bytes, BytesMut};
use core::net::SocketAddr;
use denc::{Decoder, Encoder, Features};
use messages::{Message, MsgHeader};
use types::{AddrType, EntityAddr, EntityName, EntityType, Utime};

const BANNER: &[u8; 9] = b"ceph v027";
const ADDR_LEN: usize = 136;
const CONNECT_LEN: usize = 33;
const REPLY_LEN: usize = 26;
const HEADER_LEN: usize = 53;
const FOOTER_LEN: usize = 21;
/// Connects that one transport may try (challenge, retries).
const ROUNDS_MAX: u32 = 8;

const TAG_READY: u8 = 1;
const TAG_BADPROTOVER: u8 = 10;
const TAG_BADAUTHORIZER: u8 = 11;
const TAG_FEATURES: u8 = 12;
const TAG_CLOSE: u8 = 6;
const TAG_MSG: u8 = 7;
const TAG_ACK: u8 = 8;
const TAG_KEEPALIVE: u8 = 9;
const TAG_SEQ: u8 = 13;
const TAG_KEEPALIVE2: u8 = 14;
const TAG_KEEPALIVE2_ACK: u8 = 15;
const TAG_CHALLENGE: u8 = 16;

const FLAG_LOSSY: u8 = 1;
const FOOTER_COMPLETE: u8 = 1;
const FOOTER_NOCRC: u8 = 2;
const FOOTER_SIGNED: u8 = 4;

/// NOSRCADDR, RECONNECT_SEQ and MSG_AUTH: without them header, footer or handshake look different, and nobody lacks them.
const ALWAYS_REQUIRED: u64 = 1 << 1 | 1 << 6 | 1 << 23;
/// CEPHX_V2 (bit 32, second incarnation).
const CEPHX_V2: u64 = 1 << 32 | 1 << 57;

/// What a transport tells its endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum V1Event {
    /// Give an authentication before more is read.
    NeedAuth,
    /// Server side: an authorized peer wants a session; [`V1::answer`] it.
    Connect(Connect),
    /// Client side: the session is open.
    Ready {
        /// Features of both sides.
        features: u64,
    },
    /// A message, `src` as its header claims.
    Message(Message),
    /// Answered already where an answer is due.
    Keepalive,
    /// Our time stamp came back.
    KeepaliveAck(Utime),
}

/// A peer's connect request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// Its address, completed from the socket where it did not know its IP.
    pub addr: EntityAddr,
    /// Its type.
    pub peer_type: EntityType,
    /// Its features.
    pub features: u64,
}

/// The endpoint's answer to a [`Connect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Welcome.
    Ready,
    /// It lacks required features.
    MissingFeatures,
    /// No or a bad authorizer.
    BadAuthorizer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    ServerBanner,
    ServerConnect,
    ServerAuth,
    ServerVerdict,
    ServerSeq,
    ClientBanner,
    ClientAuth,
    ClientReply,
    Open,
}

#[derive(Clone, Copy, Debug, Default)]
struct ConnectMsg {
    features: u64,
    protocol: u32,
    auth_protocol: u32,
    connect_seq: u32,
}

enum Auth {
    None,
    Client(Box<dyn ClientAuth>),
    Server(Box<dyn ServerAuth>),
}

/// One transport.
pub struct V1 {
    stage: Stage,
    my_name: EntityName,
    my_addr: EntityAddr,
    peer_addr: EntityAddr,
    limits: FrameLimits,
    auth: Auth,
    challenged: bool,
    rounds: u32,
    connect: ConnectMsg,
    authorizer: Bytes,
    method: u32,
    reply_blob: Bytes,
    global_seq: u64,
    features: u64,
    signer: Option<aes::Aes128>,
    out_seq_acked: u64,
    /// Peer's type.
    pub peer_type: EntityType,
    /// Server side: who the client is; none without authorizer.
    pub peer: Option<AuthedPeer>,
    /// Keys of the transport.
    pub keys: SessionKeys,
}

fn protocol(me: EntityType, peer: EntityType, server: EntityType) -> u32 {
    if me == peer {
        return if me == EntityType::OSD { 10 } else { 0 };
    }
    match server {
        EntityType::OSD => 24,
        EntityType::MDS => 32,
        EntityType::MON => 15,
        _ => 0,
    }
}

fn put_addr(out: &mut OutBuf, a: &EntityAddr) {
    let mut e = Encoder::with_capacity(Features(0), ADDR_LEN);
    e.put(a);
    out.put(&e.finish());
}

impl V1 {
    fn new(
        stage: Stage,
        my_name: EntityName,
        my_addr: EntityAddr,
        peer_addr: EntityAddr,
        limits: FrameLimits,
    ) -> V1 {
        V1 {
            stage,
            my_name,
            my_addr,
            peer_addr,
            limits,
            auth: Auth::None,
            challenged: false,
            rounds: 0,
            connect: ConnectMsg::default(),
            authorizer: Bytes::new(),
            method: 0,
            reply_blob: Bytes::new(),
            global_seq: 0,
            features: 0,
            signer: None,
            out_seq_acked: 0,
            peer_type: EntityType::default(),
            peer: None,
            keys: SessionKeys::default(),
        }
    }
    /// The accepting side; writes banner and addresses.
    pub fn server(
        kind: EntityType,
        me: EntityAddr,
        from: SocketAddr,
        limits: FrameLimits,
        out: &mut OutBuf,
    ) -> V1 {
        let peer = EntityAddr::new(AddrType::Legacy, from, 0);
        out.put(BANNER);
        put_addr(out, &me);
        put_addr(out, &peer);
        V1::new(Stage::ServerBanner, EntityName::new(kind, -1), me, peer, limits)
    }
    /// The connecting side; waits for the server's banner.
    pub fn client(
        me: EntityName,
        want: EntityType,
        my_addr: EntityAddr,
        target: EntityAddr,
        limits: FrameLimits,
        global_seq: u64,
    ) -> V1 {
        let mut v = V1::new(Stage::ClientBanner, me, my_addr, target, limits);
        v.peer_type = want;
        v.global_seq = global_seq;
        v
    }
    /// How many bytes the next step needs.
    pub fn need(&self) -> usize {
        match self.stage {
            Stage::ServerBanner => BANNER.len() + ADDR_LEN,
            Stage::ServerConnect => CONNECT_LEN,
            Stage::ServerSeq => 8,
            Stage::ClientBanner => BANNER.len() + 2 * ADDR_LEN,
            Stage::ClientReply => REPLY_LEN,
            Stage::ServerAuth | Stage::ServerVerdict | Stage::ClientAuth => 0,
            Stage::Open => 1 + HEADER_LEN,
        }
    }
    /// The owner's answer to `NeedAuth` on the accepting side.
    pub fn set_server_auth(&mut self, auth: Box<dyn ServerAuth>) {
        self.auth = Auth::Server(auth);
    }
    /// The owner's answer to `NeedAuth` on the connecting side; `None` connects without authorizer.
    pub fn set_client_auth(
        &mut self,
        auth: Option<Box<dyn ClientAuth>>,
        out: &mut OutBuf,
    ) -> Result<(), MsgrError> {
        if let Some(mut a) = auth {
            let r = a.start()?;
            // v1 has no secure mode: an owner that insists on it does not talk v1.
            if !r.modes.contains(&MODE_CRC) {
                return Err(MsgrError::BadMode(MODE_CRC));
            }
            self.method = r.method;
            self.authorizer = r.payload;
            self.auth = Auth::Client(a);
        }
        self.send_connect(out)
    }
    fn send_connect(&mut self, out: &mut OutBuf) -> Result<(), MsgrError> {
        self.round()?;
        let mut e = Encoder::new(Features(0));
        e.u64(types::features::SUPPORTED);
        e.u32(self.my_name.kind.0.into());
        e.u32(self.global_seq as u32);
        e.u32(0);
        e.u32(protocol(self.my_name.kind, self.peer_type, self.peer_type));
        e.u32(self.method);
        e.count(self.authorizer.len());
        e.u8(FLAG_LOSSY);
        e.raw(&self.authorizer);
        out.put(&e.finish());
        self.stage = Stage::ClientReply;
        Ok(())
    }
    fn round(&mut self) -> Result<(), MsgrError> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX { Err(MsgrError::TooManyRounds) } else { Ok(()) }
    }

    /// Reads on; call again until it answers `None`.
    pub fn handle(&mut self, buf: &mut BytesMut, out: &mut OutBuf) -> Result<Option<V1Event>, MsgrError> {
        loop {
            if buf.len() < self.need() && self.stage != Stage::Open {
                if matches!(self.stage, Stage::ServerBanner | Stage::ClientBanner) {
                    check_banner(buf)?;
                }
                return Ok(None);
            }
            match self.stage {
                Stage::ServerBanner => {
                    check_banner(buf)?;
                    buf.advance(BANNER.len());
                    let mut a = take_addr(buf)?;
                    if a.sock.is_none_or(|s| s.ip().is_unspecified()) {
                        let port = a.sock.map_or(0, |s| s.port());
                        let ip = self.peer_addr.sock.map(|s| s.ip());
                        a.sock = ip.map(|ip| SocketAddr::new(ip, port));
                        a.kind = AddrType::Legacy;
                    }
                    self.peer_addr = a;
                    self.stage = Stage::ServerConnect;
                }
                Stage::ServerConnect => {
                    let Some(event) = self.server_connect(buf, out)? else { return Ok(None) };
                    if let Some(event) = event {
                        return Ok(Some(event));
                    }
                }
                Stage::ServerAuth => {
                    if matches!(self.auth, Auth::None) {
                        return Ok(None);
                    }
                    if let Some(event) = self.server_authorize(out)? {
                        return Ok(Some(event));
                    }
                }
                Stage::ServerVerdict | Stage::ClientAuth => return Ok(None),
                Stage::ServerSeq => {
                    buf.advance(8);
                    self.stage = Stage::Open;
                }
                Stage::ClientBanner => {
                    check_banner(buf)?;
                    buf.advance(BANNER.len());
                    let peer = take_addr(buf)?;
                    let seen = take_addr(buf)?;
                    if let (Some(a), Some(b)) = (peer.sock, self.peer_addr.sock)
                        && !a.ip().is_unspecified()
                        && (a != b || peer.nonce != self.peer_addr.nonce)
                    {
                        return Err(MsgrError::WrongPeer);
                    }
                    if self.my_addr.is_blank() {
                        self.my_addr = seen;
                    }
                    out.put(BANNER);
                    put_addr(out, &self.my_addr);
                    if self.peer_type == EntityType::MON && self.my_name.kind != EntityType::MON {
                        self.send_connect(out)?;
                    } else {
                        self.stage = Stage::ClientAuth;
                        return Ok(Some(V1Event::NeedAuth));
                    }
                }
                Stage::ClientReply => match self.client_reply(buf, out)? {
                    None => return Ok(None),
                    Some(None) => {}
                    Some(Some(e)) => return Ok(Some(e)),
                },
                Stage::Open => return self.open(buf, out),
            }
        }
    }

    /// `None`: more bytes needed. `Some(None)`: go on.
    fn server_connect(
        &mut self,
        buf: &mut BytesMut,
        out: &mut OutBuf,
    ) -> Result<Option<Option<V1Event>>, MsgrError> {
        let head = Bytes::copy_from_slice(&buf[..CONNECT_LEN]);
        let mut d = Decoder::new(&head);
        let features = d.u64()?;
        let host_type = d.u32()?;
        d.u32()?;
        let connect_seq = d.u32()?;
        let (protocol_version, auth_protocol, auth_len) = (d.u32()?, d.u32()?, d.u32()?);
        too_large("authorizer", auth_len, CONTROL_BYTES_MAX)?;
        if buf.len() < CONNECT_LEN + auth_len as usize {
            return Ok(None);
        }
        self.round()?;
        buf.advance(CONNECT_LEN);
        self.authorizer = buf.split_to(auth_len as usize).freeze();
        self.connect = ConnectMsg { features, protocol: protocol_version, auth_protocol, connect_seq };
        let kind = u8::try_from(host_type)
            .map_err(|_| denc::DencError::Invalid { what: "host type", value: host_type.into() })?;
        self.peer_type = EntityType(kind);
        let want = protocol(self.my_name.kind, self.peer_type, self.my_name.kind);
        if self.connect.protocol != want {
            self.reply(out, TAG_BADPROTOVER, 0, 0, 0);
            return Ok(Some(None));
        }
        let mut required = ALWAYS_REQUIRED;
        if auth_protocol == METHOD_CEPHX {
            required |= CEPHX_V2;
        }
        if required & !features != 0 {
            self.reply(out, TAG_FEATURES, types::features::SUPPORTED & features | required, 0, 0);
            return Ok(Some(None));
        }
        if self.authorizer.is_empty() && auth_protocol == 0 {
            self.stage = Stage::ServerVerdict;
            return Ok(Some(Some(self.connect_event())));
        }
        self.stage = Stage::ServerAuth;
        Ok(Some(matches!(self.auth, Auth::None).then_some(V1Event::NeedAuth)))
    }
    fn connect_event(&self) -> V1Event {
        V1Event::Connect(Connect {
            addr: self.peer_addr,
            peer_type: self.peer_type,
            features: self.connect.features,
        })
    }
    fn server_authorize(&mut self, out: &mut OutBuf) -> Result<Option<V1Event>, MsgrError> {
        let Auth::Server(auth) = &mut self.auth else { return Err(MsgrError::NoAuth) };
        let payload = std::mem::take(&mut self.authorizer);
        let step = if self.challenged {
            auth.handle_more(payload)
        } else {
            auth.handle_request(self.peer_type, self.connect.auth_protocol, &[], payload)
        };
        match step {
            ServerStep::More(challenge) => {
                self.challenged = true;
                self.reply_blob = challenge;
                self.reply(out, TAG_CHALLENGE, types::features::SUPPORTED & self.connect.features, 0, 0);
                Ok(None)
            }
            ServerStep::Bad { .. } => {
                self.auth = Auth::None;
                self.challenged = false;
                self.reply(out, TAG_BADAUTHORIZER, 0, 0, 0);
                Ok(None)
            }
            ServerStep::Done { payload, keys, peer, .. } => {
                self.auth = Auth::None;
                self.reply_blob = payload;
                self.set_keys(keys)?;
                self.peer = Some(peer);
                self.stage = Stage::ServerVerdict;
                Ok(Some(self.connect_event()))
            }
        }
    }
    fn set_keys(&mut self, keys: SessionKeys) -> Result<(), MsgrError> {
        if !keys.session_key.is_empty() {
            let key = aes::Aes128::new_from_slice(&keys.session_key).map_err(|_| MsgrError::BadSignature)?;
            self.signer = Some(key);
        }
        self.keys = keys;
        Ok(())
    }
    /// Answers a [`V1Event::Connect`].
    pub fn answer(
        &mut self,
        out: &mut OutBuf,
        verdict: Verdict,
        supported: u64,
        required: u64,
        global_seq: u64,
    ) -> Result<(), MsgrError> {
        match verdict {
            Verdict::MissingFeatures => {
                self.reply_blob = Bytes::new();
                self.reply(out, TAG_FEATURES, self.connect.features & supported | required, 0, 0);
            }
            Verdict::BadAuthorizer => {
                self.reply_blob = Bytes::new();
                self.reply(out, TAG_BADAUTHORIZER, 0, 0, 0);
            }
            Verdict::Ready => {
                self.features = supported & self.connect.features;
                self.reply(
                    out,
                    TAG_SEQ,
                    supported,
                    global_seq as u32,
                    self.connect.connect_seq.wrapping_add(1),
                );
                out.put(&0u64.to_le_bytes());
                self.stage = Stage::ServerSeq;
            }
        }
        Ok(())
    }
    fn reply(&mut self, out: &mut OutBuf, tag: u8, features: u64, global_seq: u32, connect_seq: u32) {
        let blob = std::mem::take(&mut self.reply_blob);
        let mut e = Encoder::new(Features(0));
        e.u8(tag);
        e.u64(features);
        e.u32(global_seq);
        e.u32(connect_seq);
        e.u32(protocol(self.my_name.kind, self.peer_type, self.my_name.kind));
        e.count(blob.len());
        e.u8(FLAG_LOSSY);
        e.raw(&blob);
        out.put(&e.finish());
        self.stage = Stage::ServerConnect;
    }

    fn client_reply(
        &mut self,
        buf: &mut BytesMut,
        out: &mut OutBuf,
    ) -> Result<Option<Option<V1Event>>, MsgrError> {
        let head = Bytes::copy_from_slice(&buf[..REPLY_LEN]);
        let mut d = Decoder::new(&head);
        let (tag, features) = (d.u8()?, d.u64()?);
        d.skip(8)?;
        let (version, len) = (d.u32()?, d.u32()?);
        too_large("authorizer reply", len, CONTROL_BYTES_MAX)?;
        let whole = REPLY_LEN + len as usize + if tag == TAG_SEQ { 8 } else { 0 };
        if buf.len() < whole {
            return Ok(None);
        }
        buf.advance(REPLY_LEN);
        let blob = buf.split_to(len as usize).freeze();
        match tag {
            TAG_CHALLENGE => {
                let Auth::Client(a) = &mut self.auth else {
                    return Err(MsgrError::Unexpected { tag, during: "connecting without authorizer" });
                };
                self.authorizer = a.handle_reply_more(blob)?;
                self.challenged = true;
                self.send_connect(out)?;
                Ok(Some(None))
            }
            TAG_SEQ | TAG_READY => {
                if let Auth::Client(a) = &mut self.auth {
                    let keys = a.handle_done(0, MODE_CRC, blob)?;
                    self.set_keys(keys)?;
                }
                self.auth = Auth::None;
                let mut required = ALWAYS_REQUIRED;
                if self.signer.is_some() {
                    required |= CEPHX_V2;
                }
                let missing = required & !features;
                if missing != 0 {
                    return Err(MsgrError::MissingFeatures(missing));
                }
                if tag == TAG_SEQ {
                    buf.advance(8);
                    out.put(&0u64.to_le_bytes());
                }
                self.features = features & types::features::SUPPORTED;
                self.stage = Stage::Open;
                Ok(Some(Some(V1Event::Ready { features: self.features })))
            }
            TAG_FEATURES => Err(MsgrError::MissingFeatures(features & !types::features::SUPPORTED)),
            TAG_BADPROTOVER => Err(MsgrError::BadProtocol(version)),
            TAG_BADAUTHORIZER => Err(MsgrError::AuthRefused { result: -13 }),
            _ => Err(MsgrError::Unexpected { tag, during: "connecting" }),
        }
    }

    fn open(&mut self, buf: &mut BytesMut, out: &mut OutBuf) -> Result<Option<V1Event>, MsgrError> {
        while let Some(&tag) = buf.first() {
            match tag {
                TAG_MSG => return Ok(self.message_in(buf)?.map(V1Event::Message)),
                TAG_KEEPALIVE => {
                    buf.advance(1);
                    return Ok(Some(V1Event::Keepalive));
                }
                TAG_CLOSE => return Err(MsgrError::PeerClosed),
                TAG_ACK | TAG_KEEPALIVE2 | TAG_KEEPALIVE2_ACK => {
                    if buf.len() < 9 {
                        return Ok(None);
                    }
                    let mut word = [0; 8];
                    word.copy_from_slice(&buf[1..9]);
                    buf.advance(9);
                    match tag {
                        TAG_ACK => self.out_seq_acked = u64::from_le_bytes(word),
                        TAG_KEEPALIVE2 => {
                            out.put(&[TAG_KEEPALIVE2_ACK]);
                            out.put(&word);
                            return Ok(Some(V1Event::Keepalive));
                        }
                        _ => {
                            let n = u64::from_le_bytes(word);
                            let stamp = Utime { sec: n as u32, nsec: (n >> 32) as u32 };
                            return Ok(Some(V1Event::KeepaliveAck(stamp)));
                        }
                    }
                }
                _ => return Err(MsgrError::Unexpected { tag, during: "open" }),
            }
        }
        Ok(None)
    }

    fn message_in(&mut self, buf: &mut BytesMut) -> Result<Option<Message>, MsgrError> {
        if buf.len() < 1 + HEADER_LEN {
            return Ok(None);
        }
        let head = Bytes::copy_from_slice(&buf[1..1 + HEADER_LEN]);
        let mut d = Decoder::new(&head);
        let mut h = MsgHeader {
            seq: d.u64()?,
            tid: d.u64()?,
            kind: d.u16()?,
            priority: d.u16()?,
            version: d.u16()?,
            ..MsgHeader::default()
        };
        let (front, middle, data) = (d.u32()?, d.u32()?, d.u32()?);
        h.data_off = d.u16()?;
        let src = d.get::<EntityName>()?;
        h.compat = d.u16()?;
        d.u16()?;
        let header_crc = d.u32()?;
        if crc32c(0, &head[..HEADER_LEN - 4]) != header_crc {
            return Err(MsgrError::Crc("header"));
        }
        too_large("front", front, self.limits.front_bytes_max)?;
        too_large("middle", middle, self.limits.front_bytes_max)?;
        too_large("data", data, self.limits.data_bytes_max)?;
        let (f, m, l) = (front as usize, middle as usize, data as usize);
        let body = 1 + HEADER_LEN + f + m + l;
        if buf.len() < body + FOOTER_LEN {
            // Make room for the whole message at once, so that its data ends up contiguous without copies.
            buf.reserve(body + FOOTER_LEN - buf.len());
            return Ok(None);
        }
        let all = buf.split_to(body + FOOTER_LEN).freeze();
        let mut d = Decoder::new(&all);
        d.skip(1 + HEADER_LEN)?;
        let (front, middle, data) = (d.take(f)?, d.take(m)?, d.take(l)?);
        let crcs = [d.u32()?, d.u32()?, d.u32()?];
        let (sig, flags) = (d.u64()?, d.u8()?);
        if crc32c(0, &front) != crcs[0] {
            return Err(MsgrError::Crc("front"));
        }
        if crc32c(0, &middle) != crcs[1] {
            return Err(MsgrError::Crc("middle"));
        }
        if flags & FOOTER_NOCRC == 0 && crc32c(0, &data) != crcs[2] {
            return Err(MsgrError::Crc("data"));
        }
        if let Some(k) = &self.signer
            && signature(k, header_crc, crcs, [f as u32, m as u32, l as u32], h.seq) != sig
        {
            return Err(MsgrError::BadSignature);
        }
        if flags & FOOTER_COMPLETE == 0 {
            // The sender gave up in the middle of it; its bytes mean nothing.
            return Err(MsgrError::LateStatus(flags));
        }
        Ok(Some(Message { header: h, src, front, middle, data, data_crc: None }))
    }

    /// Writes a message; its header carries the sequence number already.
    pub fn message(&mut self, out: &mut OutBuf, msg: &Message) -> Result<(), MsgrError> {
        let h = &msg.header;
        let len = |what, b: &Bytes| {
            let max = u32::MAX.into();
            u32::try_from(b.len()).map_err(|_| MsgrError::TooLarge { what, len: b.len() as u64, max })
        };
        let lens = [len("front", &msg.front)?, len("middle", &msg.middle)?, len("data", &msg.data)?];
        let mut e = Encoder::with_capacity(Features(0), HEADER_LEN);
        e.u64(h.seq);
        e.u64(h.tid);
        e.u16(h.kind);
        e.u16(h.priority);
        e.u16(h.version);
        lens.iter().for_each(|&l| e.u32(l));
        e.u16(h.data_off);
        e.put(&self.my_name);
        e.u16(h.compat);
        e.u16(0);
        let header_crc = crc32c(0, e.as_slice());
        e.u32(header_crc);
        out.put(&[TAG_MSG]);
        out.put(&e.finish());
        let crcs = [crc32c(0, &msg.front), crc32c(0, &msg.middle), crc32c(0, &msg.data)];
        out.push(msg.front.clone());
        out.push(msg.middle.clone());
        out.push(msg.data.clone());
        let mut e = Encoder::with_capacity(Features(0), FOOTER_LEN);
        crcs.iter().for_each(|&c| e.u32(c));
        match &self.signer {
            Some(k) => {
                e.u64(signature(k, header_crc, crcs, lens, h.seq));
                e.u8(FOOTER_COMPLETE | FOOTER_SIGNED);
            }
            None => {
                e.u64(0);
                e.u8(FOOTER_COMPLETE);
            }
        }
        out.put(&e.finish());
        Ok(())
    }
    /// Writes a keepalive.
    pub fn keepalive(&mut self, out: &mut OutBuf, now: Utime) {
        out.put(&[TAG_KEEPALIVE2]);
        out.put(&now.sec.to_le_bytes());
        out.put(&now.nsec.to_le_bytes());
    }
    /// Writes an ack.
    pub fn ack(&mut self, out: &mut OutBuf, seq: u64) {
        out.put(&[TAG_ACK]);
        out.put(&seq.to_le_bytes());
    }
    /// Sets our name's number in messages to come.
    pub fn set_name(&mut self, name: EntityName) {
        self.my_name = name;
    }
}

fn check_banner(buf: &[u8]) -> Result<(), MsgrError> {
    let n = buf.len().min(BANNER.len());
    if buf[..n] == BANNER[..n] {
        return Ok(());
    }
    Err(if buf.starts_with(b"ceph v2") { MsgrError::PeerIsV2 } else { MsgrError::BadBanner })
}

fn take_addr(buf: &mut BytesMut) -> Result<EntityAddr, MsgrError> {
    let b = buf.split_to(ADDR_LEN).freeze();
    // The first word is the marker of the legacy form; a peer may leave the old type field in it.
    if b[0] != 0 {
        return Err(denc::DencError::Invalid { what: "legacy address", value: b[0].into() }.into());
    }
    Ok(denc::from_bytes(&b)?)
}

fn too_large(what: &'static str, len: u32, max: u32) -> Result<(), MsgrError> {
    if len > max {
        return Err(MsgrError::TooLarge { what, len: len.into(), max: max.into() });
    }
    Ok(())
}

/// `CephxSessionHandler::_calc_signature`, the form since mimic: two CBC blocks over checksums, lengths and the number, folded.
fn signature(key: &aes::Aes128, header_crc: u32, crcs: [u32; 3], lens: [u32; 3], seq: u64) -> u64 {
    const IV: &[u8; 16] = b"cephsageyudagreg";
    let words = [header_crc, crcs[0], lens[0], crcs[1], lens[1], crcs[2], lens[2], seq as u32];
    let mut plain = [0u8; 32];
    for (i, w) in words.iter().enumerate() {
        plain[4 * i..4 * i + 4].copy_from_slice(&w.to_le_bytes());
    }
    let mut sig = 0;
    let mut prev = *IV;
    for chunk in plain.chunks_exact(16) {
        let mut block = prev;
        block.iter_mut().zip(chunk).for_each(|(b, p)| *b ^= p);
        let mut b = aes::Block::from(block);
        key.encrypt_block(&mut b);
        prev.copy_from_slice(&b);
        for half in prev.chunks_exact(8) {
            let mut w = [0; 8];
            w.copy_from_slice(half);
            sig ^= u64::from_le_bytes(w);
        }
    }
    sig
}
