//! One v2.1 transport: banner, hello, authentication, signatures, then frames (`ProtocolV2`, without its sessions).
//!
//! Pure: bytes in, [`V2Event`]s and bytes out. What a transport means for a session (cookies, sequence numbers, races) is
//! `endpoint`'s business. Invariants: nothing but the frames of the current stage is accepted; the signature covers every byte
//! before it, so neither banner, hello nor the list of methods can be changed on the way; keys of one transport never serve another.

use crate::MsgrError;
use crate::auth::{
    AuthRequest, AuthedPeer, ClientAuth, MODE_CRC, MODE_SECURE, ServerAuth, ServerStep, SessionKeys,
};
use crate::control::{self, BadMethod, Hello, Ident, Reconnect, payload};
use crate::frame::{Frame, FrameLimits, FrameReader, FrameWriter, tag};
use crate::onwire;
use crate::outbuf::OutBuf;
use aws_lc_rs::hmac;
use bytes::{Buf, Bytes, BytesMut};
use messages::Message;
use types::{EntityAddr, EntityType, Utime};

/// First bytes of both sides.
pub const BANNER_PREFIX: &[u8; 8] = b"ceph v2\n";
const V1_BANNER_PREFIX: &[u8; 5] = b"ceph ";
/// CEPH_MSGR2_FEATURE_REVISION_1.
const REVISION_1: u64 = 1;
/// Largest banner payload; ours is 16 bytes, newer peers may add fields.
const BANNER_PAYLOAD_MAX: usize = 256;
/// Frames that authentication may take, both directions.
const AUTH_ROUNDS_MAX: u32 = 16;

/// What a transport tells its session.
#[derive(Debug, Clone, PartialEq)]
pub enum V2Event {
    /// Give an authentication ([`V2::set_server_auth`], [`V2::set_client_auth`]) before more is read.
    NeedAuth,
    /// Both signatures passed: a client sends its ident or reconnect now.
    Authenticated,
    /// Server side.
    ClientIdent(Ident),
    /// Server side.
    Reconnect(Reconnect),
    /// Client side.
    ServerIdent(Ident),
    /// Client side: the features that we lack.
    MissingFeatures(u64),
    /// Client side: the peer's last received message.
    ReconnectOk(u64),
    /// Client side: the session is unknown; true when it was really lost.
    Reset(bool),
    /// Client side: the peer's connect_seq.
    Retry(u64),
    /// Client side: the peer's idea of our global_seq.
    RetryGlobal(u64),
    /// Client side: the peer's own attempt goes first.
    Wait,
    /// A message with the piggybacked ack.
    Message(Message, u64),
    /// Messages up to this one arrived.
    Ack(u64),
    /// Answered already.
    Keepalive(Utime),
    /// Our time stamp came back.
    KeepaliveAck(Utime),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Banner,
    BannerPayload(usize),
    Hello,
    NeedAuth,
    Auth,
    AuthMore,
    Sign,
    Session,
    Ready,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Banner | Stage::BannerPayload(_) => "reading the banner",
            Stage::Hello => "waiting for hello",
            Stage::NeedAuth | Stage::Auth | Stage::AuthMore => "authenticating",
            Stage::Sign => "waiting for the signature",
            Stage::Session => "opening the session",
            Stage::Ready => "ready",
        }
    }
}

enum Auth {
    None,
    Client(Box<dyn ClientAuth>),
    Server(Box<dyn ServerAuth>),
}

/// One transport.
pub struct V2 {
    is_client: bool,
    stage: Stage,
    my_type: EntityType,
    target: EntityAddr,
    reader: FrameReader,
    writer: FrameWriter,
    sent: Option<Vec<u8>>,
    auth: Auth,
    request: Option<AuthRequest>,
    rounds: u32,
    /// The peer's type: set from the start on the client side, from hello on the server side.
    pub peer_type: Option<EntityType>,
    /// Our address as the peer sees it.
    pub seen_as: EntityAddr,
    /// Keys of this transport.
    pub keys: SessionKeys,
    /// MODE_*.
    pub mode: u32,
    /// Server side: who the client is.
    pub peer: Option<AuthedPeer>,
    /// Client side: the global id that the server gave us.
    pub global_id: u64,
}

impl V2 {
    /// A transport of the connecting side; writes the banner.
    pub fn client(
        my_type: EntityType,
        want: EntityType,
        target: EntityAddr,
        limits: FrameLimits,
        out: &mut OutBuf,
    ) -> V2 {
        Self::new(true, my_type, Some(want), target, limits, out)
    }
    /// A transport of the accepting side; writes the banner.
    pub fn server(my_type: EntityType, from: EntityAddr, limits: FrameLimits, out: &mut OutBuf) -> V2 {
        Self::new(false, my_type, None, from, limits, out)
    }
    fn new(
        is_client: bool,
        my_type: EntityType,
        peer_type: Option<EntityType>,
        target: EntityAddr,
        limits: FrameLimits,
        out: &mut OutBuf,
    ) -> V2 {
        let banner = payload(|e| {
            e.raw(BANNER_PREFIX);
            e.u16(16);
            e.u64(REVISION_1);
            e.u64(0);
        });
        out.put(&banner);
        V2 {
            is_client,
            stage: Stage::Banner,
            my_type,
            target,
            reader: FrameReader::new(FrameLimits { ready: false, ..limits }),
            writer: FrameWriter::default(),
            sent: Some(banner.to_vec()),
            auth: Auth::None,
            request: None,
            rounds: 0,
            peer_type,
            seen_as: EntityAddr::default(),
            keys: SessionKeys::default(),
            mode: MODE_CRC,
            peer: None,
            global_id: 0,
        }
    }
    /// How many bytes the next step needs in the buffer.
    pub fn need(&self) -> usize {
        match self.stage {
            Stage::Banner => BANNER_PREFIX.len() + 2,
            Stage::BannerPayload(n) => n,
            _ => self.reader.need(),
        }
    }
    /// Where in the buffer the data of the frame under way begins.
    pub fn data_at(&self) -> Option<usize> {
        self.reader.data_at()
    }
    /// True once messages may flow.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }
    /// The session is open: messages may flow.
    pub fn set_ready(&mut self) {
        assert_eq!(self.stage, Stage::Session, "only an authenticated transport gets ready");
        self.stage = Stage::Ready;
        self.reader.set_ready();
    }
    /// Writes a control frame.
    pub fn control(&mut self, out: &mut OutBuf, tag: u8, payload: Bytes) -> Result<(), MsgrError> {
        let segs = [payload, Bytes::new(), Bytes::new(), Bytes::new()];
        let Some(sent) = &mut self.sent else {
            return self.writer.write(out, tag, segs, None);
        };
        let mut frame = OutBuf::default();
        self.writer.write(&mut frame, tag, segs, None)?;
        let frame = frame.take_all();
        sent.extend_from_slice(&frame);
        out.put(&frame);
        Ok(())
    }
    /// Writes a message; its header carries the sequence number already.
    pub fn message(&mut self, out: &mut OutBuf, msg: &Message, ack: u64) -> Result<(), MsgrError> {
        assert!(self.is_ready(), "messages only on a ready transport");
        let head = control::encode_msg_header(&msg.header, ack);
        let segs = [head, msg.front.clone(), msg.middle.clone(), msg.data.clone()];
        self.writer.write(out, tag::MESSAGE, segs, msg.data_crc)
    }
    /// Answers a `NeedAuth` of the accepting side.
    pub fn set_server_auth(&mut self, auth: Box<dyn ServerAuth>) {
        assert!(!self.is_client && self.stage == Stage::NeedAuth);
        self.auth = Auth::Server(auth);
        self.stage = Stage::Auth;
    }
    /// Answers a `NeedAuth` of the connecting side; sends the first request.
    pub fn set_client_auth(
        &mut self,
        mut auth: Box<dyn ClientAuth>,
        out: &mut OutBuf,
    ) -> Result<(), MsgrError> {
        assert!(self.is_client && self.stage == Stage::NeedAuth);
        let request = auth.start()?;
        self.auth = Auth::Client(auth);
        self.send_request(request, out)
    }
    fn send_request(&mut self, request: AuthRequest, out: &mut OutBuf) -> Result<(), MsgrError> {
        self.rounds += 1;
        if self.rounds > AUTH_ROUNDS_MAX {
            return Err(MsgrError::TooManyRounds);
        }
        let payload = control::encode_auth_request(&request);
        self.request = Some(request);
        self.stage = Stage::Auth;
        self.control(out, tag::AUTH_REQUEST, payload)
    }

    /// Reads on; call again until it answers `None`. After an error the transport is unusable.
    pub fn handle(&mut self, buf: &mut BytesMut, out: &mut OutBuf) -> Result<Option<V2Event>, MsgrError> {
        loop {
            match self.stage {
                Stage::Banner => {
                    if !self.banner_prefix(buf)? {
                        return Ok(None);
                    }
                }
                Stage::BannerPayload(len) => {
                    if buf.len() < len {
                        return Ok(None);
                    }
                    self.banner_payload(buf.split_to(len).freeze(), out)?;
                }
                Stage::NeedAuth => return Ok(None),
                _ => {
                    let Some(frame) = self.reader.next(buf)? else { return Ok(None) };
                    if let Some(event) = self.frame(frame, out)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn banner_prefix(&mut self, buf: &mut BytesMut) -> Result<bool, MsgrError> {
        let n = buf.len().min(BANNER_PREFIX.len());
        if buf[..n] != BANNER_PREFIX[..n] {
            let v1 = buf.len() >= 6
                && &buf[..5] == V1_BANNER_PREFIX
                && buf[5] == b'v'
                && buf.get(6) == Some(&b'0');
            return Err(if v1 { MsgrError::PeerIsV1 } else { MsgrError::BadBanner });
        }
        if buf.len() < BANNER_PREFIX.len() + 2 {
            return Ok(false);
        }
        let len = u16::from_le_bytes([buf[8], buf[9]]) as usize;
        if !(16..=BANNER_PAYLOAD_MAX).contains(&len) {
            return Err(MsgrError::TooLarge {
                what: "banner payload",
                len: len as u64,
                max: BANNER_PAYLOAD_MAX as u64,
            });
        }
        self.reader.capture(&buf[..BANNER_PREFIX.len() + 2]);
        buf.advance(BANNER_PREFIX.len() + 2);
        self.stage = Stage::BannerPayload(len);
        Ok(true)
    }

    fn banner_payload(&mut self, b: Bytes, out: &mut OutBuf) -> Result<(), MsgrError> {
        self.reader.capture(&b);
        let mut d = denc::Decoder::new(&b);
        let (supported, required) = (d.u64()?, d.u64()?);
        if required & !REVISION_1 != 0 || supported & REVISION_1 == 0 {
            return Err(MsgrError::BannerFeatures { supported, required });
        }
        self.stage = Stage::Hello;
        let hello = Hello { kind: self.my_type, peer_addr: self.target };
        self.control(out, tag::HELLO, hello.encode())
    }

    fn frame(&mut self, f: Frame, out: &mut OutBuf) -> Result<Option<V2Event>, MsgrError> {
        let unexpected = MsgrError::Unexpected { tag: f.tag, during: self.stage.name() };
        let p = &f.segs[0];
        match (self.stage, f.tag) {
            (Stage::Ready, tag::MESSAGE) => {
                let (m, ack) = control::decode_message(f)?;
                return Ok(Some(V2Event::Message(m, ack)));
            }
            (Stage::Ready, tag::ACK) => return Ok(Some(V2Event::Ack(control::decode_u64(p)?))),
            (Stage::Ready, tag::KEEPALIVE2) => {
                let stamp = control::decode_time(p)?;
                self.control(out, tag::KEEPALIVE2_ACK, payload(|e| e.put(&stamp)))?;
                return Ok(Some(V2Event::Keepalive(stamp)));
            }
            (Stage::Ready, tag::KEEPALIVE2_ACK) => {
                return Ok(Some(V2Event::KeepaliveAck(control::decode_time(p)?)));
            }
            (Stage::Hello, tag::HELLO) => return self.hello(p).map(Some),
            (Stage::Sign, tag::AUTH_SIGNATURE) => {
                let sent = self.sent.take().unwrap_or_default();
                check_signature(&self.keys.session_key, &sent, p)?;
                self.stage = Stage::Session;
                if self.is_client {
                    return Ok(Some(V2Event::Authenticated));
                }
            }
            _ if self.is_client => return self.client_frame(&f, unexpected, out),
            _ => return self.server_frame(&f, unexpected, out),
        }
        Ok(None)
    }

    fn hello(&mut self, p: &Bytes) -> Result<V2Event, MsgrError> {
        let hello = Hello::decode(p)?;
        self.seen_as = hello.peer_addr;
        match self.peer_type {
            Some(want) if want != hello.kind => {
                return Err(MsgrError::PeerType { got: hello.kind, want });
            }
            _ => self.peer_type = Some(hello.kind),
        }
        self.stage = Stage::NeedAuth;
        Ok(V2Event::NeedAuth)
    }

    fn client_frame(
        &mut self,
        f: &Frame,
        unexpected: MsgrError,
        out: &mut OutBuf,
    ) -> Result<Option<V2Event>, MsgrError> {
        let p = &f.segs[0];
        let event = match (self.stage, f.tag) {
            (Stage::Auth, tag::AUTH_BAD_METHOD) => {
                let Auth::Client(auth) = &mut self.auth else { return Err(unexpected) };
                let bad = BadMethod::decode(p)?;
                let next = auth
                    .handle_bad_method(bad.method, bad.result, &bad.methods, &bad.modes)
                    .map_err(|_| MsgrError::AuthRefused { result: bad.result })?;
                self.send_request(next, out)?;
                return Ok(None);
            }
            (Stage::Auth, tag::AUTH_REPLY_MORE) => {
                let Auth::Client(auth) = &mut self.auth else { return Err(unexpected) };
                self.rounds += 1;
                if self.rounds > AUTH_ROUNDS_MAX {
                    return Err(MsgrError::TooManyRounds);
                }
                let reply = auth.handle_reply_more(control::decode_blob(p)?)?;
                self.control(out, tag::AUTH_REQUEST_MORE, payload(|e| e.blob(&reply)))?;
                return Ok(None);
            }
            (Stage::Auth, tag::AUTH_DONE) => {
                let Auth::Client(auth) = &mut self.auth else { return Err(unexpected) };
                let (global_id, mode, blob) = control::decode_auth_done(p)?;
                // A server may only choose among what we offered, or an attacker could talk us down to crc.
                if !self.request.as_ref().is_some_and(|r| r.modes.contains(&mode)) {
                    return Err(MsgrError::BadMode(mode));
                }
                self.keys = auth.handle_done(global_id, mode, blob)?;
                self.global_id = global_id;
                self.mode = mode;
                self.sign(out)?;
                return Ok(None);
            }
            (Stage::Session, tag::SERVER_IDENT) => V2Event::ServerIdent(Ident::decode(p, false)?),
            (Stage::Session, tag::IDENT_MISSING_FEATURES) => {
                V2Event::MissingFeatures(control::decode_u64(p)?)
            }
            (Stage::Session, tag::SESSION_RECONNECT_OK) => V2Event::ReconnectOk(control::decode_u64(p)?),
            (Stage::Session, tag::SESSION_RESET) => V2Event::Reset(control::decode_bool(p)?),
            (Stage::Session, tag::SESSION_RETRY) => V2Event::Retry(control::decode_u64(p)?),
            (Stage::Session, tag::SESSION_RETRY_GLOBAL) => V2Event::RetryGlobal(control::decode_u64(p)?),
            (Stage::Session, tag::WAIT) => V2Event::Wait,
            _ => return Err(unexpected),
        };
        self.rounds += 1;
        if self.rounds > 2 * AUTH_ROUNDS_MAX {
            return Err(MsgrError::TooManyRounds);
        }
        Ok(Some(event))
    }

    fn server_frame(
        &mut self,
        f: &Frame,
        unexpected: MsgrError,
        out: &mut OutBuf,
    ) -> Result<Option<V2Event>, MsgrError> {
        let p = &f.segs[0];
        self.rounds += 1;
        if self.rounds > AUTH_ROUNDS_MAX {
            return Err(MsgrError::TooManyRounds);
        }
        match (self.stage, f.tag) {
            (Stage::Auth, tag::AUTH_REQUEST) => {
                let Auth::Server(auth) = &mut self.auth else { return Err(unexpected) };
                let r = control::decode_auth_request(p)?;
                let peer_type = self.peer_type.unwrap_or_default();
                let step = auth.handle_request(peer_type, r.method, &r.modes, r.payload.clone());
                self.request = Some(r);
                self.step(step, out)?;
                Ok(None)
            }
            (Stage::AuthMore, tag::AUTH_REQUEST_MORE) => {
                let Auth::Server(auth) = &mut self.auth else { return Err(unexpected) };
                let step = auth.handle_more(control::decode_blob(p)?);
                self.step(step, out)?;
                Ok(None)
            }
            (Stage::Session, tag::CLIENT_IDENT) => Ok(Some(V2Event::ClientIdent(Ident::decode(p, true)?))),
            (Stage::Session, tag::SESSION_RECONNECT) => Ok(Some(V2Event::Reconnect(Reconnect::decode(p)?))),
            _ => Err(unexpected),
        }
    }

    fn step(&mut self, step: ServerStep, out: &mut OutBuf) -> Result<(), MsgrError> {
        match step {
            ServerStep::More(blob) => {
                self.stage = Stage::AuthMore;
                self.control(out, tag::AUTH_REPLY_MORE, payload(|e| e.blob(&blob)))
            }
            ServerStep::Bad { result, allowed_methods, allowed_modes } => {
                self.stage = Stage::Auth;
                let method = self.request.as_ref().map_or(0, |r| r.method);
                let bad = BadMethod { method, result, methods: allowed_methods, modes: allowed_modes };
                self.control(out, tag::AUTH_BAD_METHOD, bad.encode())
            }
            ServerStep::Done { mode, payload, keys, peer } => {
                self.control(out, tag::AUTH_DONE, control::encode_auth_done(peer.global_id, mode, &payload))?;
                self.keys = keys;
                self.peer = Some(peer);
                self.mode = mode;
                self.sign(out)
            }
        }
    }

    /// Switches to the agreed mode and sends our signature over everything received so far.
    fn sign(&mut self, out: &mut OutBuf) -> Result<(), MsgrError> {
        match self.mode {
            MODE_CRC => {}
            MODE_SECURE => {
                let (sealer, opener) = onwire::pair(&self.keys.connection_secret, self.is_client)?;
                self.writer.set_secure(sealer);
                self.reader.set_secure(opener);
            }
            other => return Err(MsgrError::BadMode(other)),
        }
        let signature = signature(&self.keys.session_key, &self.reader.take_capture());
        self.stage = Stage::Sign;
        self.auth = Auth::None;
        let segs = [Bytes::copy_from_slice(&signature), Bytes::new(), Bytes::new(), Bytes::new()];
        // Not through `control`: our signature is not part of what the peer's covers.
        self.writer.write(out, tag::AUTH_SIGNATURE, segs, None)
    }
}

fn signature(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut s = [0; 32];
    if !key.is_empty() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        s.copy_from_slice(hmac::sign(&key, bytes).as_ref());
    }
    s
}

fn check_signature(key: &[u8], bytes: &[u8], got: &[u8]) -> Result<(), MsgrError> {
    let want = signature(key, bytes);
    aws_lc_rs::constant_time::verify_slices_are_equal(&want, got).map_err(|_| MsgrError::BadSignature)
}
