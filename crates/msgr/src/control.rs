//! Payloads of the control frames: identities, reconnects, auth lists. All little endian, addresses in the new form.

use crate::MsgrError;
use bytes::Bytes;
use denc::{Decoder, DencError, Encoder, Features};
use messages::{Message, MsgHeader};
use types::{AddrVec, EntityAddr, EntityType, Utime};

/// Elements of a list of methods or modes that we are willing to read.
const LIST_MAX: usize = 64;
/// CEPH_MSG_CONNECT_LOSSY.
pub const FLAG_LOSSY: u64 = 1;

/// Encodes one payload.
pub fn payload(f: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new(Features::ALL);
    f(&mut e);
    e.finish()
}

fn list(d: &mut Decoder<'_>) -> Result<Vec<u32>, DencError> {
    let n = d.count("auth list", 4)?;
    if n > LIST_MAX {
        return Err(DencError::Invalid { what: "auth list", value: n as u64 });
    }
    (0..n).map(|_| d.u32()).collect()
}

fn put_list(e: &mut Encoder, l: &[u32]) {
    e.count(l.len());
    l.iter().for_each(|&v| e.u32(v));
}

/// HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Sender's type.
    pub kind: EntityType,
    /// The receiver's address as the sender sees it.
    pub peer_addr: EntityAddr,
}
impl Hello {
    pub(crate) fn encode(&self) -> Bytes {
        payload(|e| {
            e.u8(self.kind.0);
            e.put(&self.peer_addr);
        })
    }
    pub(crate) fn decode(b: &Bytes) -> Result<Hello, DencError> {
        let mut d = Decoder::new(b);
        Ok(Hello { kind: EntityType(d.u8()?), peer_addr: d.get()? })
    }
}

/// AUTH_REQUEST.
pub(crate) fn encode_auth_request(r: &crate::auth::AuthRequest) -> Bytes {
    payload(|e| {
        e.u32(r.method);
        put_list(e, &r.modes);
        e.blob(&r.payload);
    })
}
pub(crate) fn decode_auth_request(b: &Bytes) -> Result<crate::auth::AuthRequest, DencError> {
    let mut d = Decoder::new(b);
    Ok(crate::auth::AuthRequest { method: d.u32()?, modes: list(&mut d)?, payload: d.blob()? })
}

/// AUTH_BAD_METHOD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMethod {
    /// The refused method.
    pub method: u32,
    /// Negative errno.
    pub result: i32,
    /// Methods that would do.
    pub methods: Vec<u32>,
    /// Modes that would do.
    pub modes: Vec<u32>,
}
impl BadMethod {
    pub(crate) fn encode(&self) -> Bytes {
        payload(|e| {
            e.u32(self.method);
            e.i32(self.result);
            put_list(e, &self.methods);
            put_list(e, &self.modes);
        })
    }
    pub(crate) fn decode(b: &Bytes) -> Result<BadMethod, DencError> {
        let mut d = Decoder::new(b);
        Ok(BadMethod { method: d.u32()?, result: d.i32()?, methods: list(&mut d)?, modes: list(&mut d)? })
    }
}

pub(crate) fn encode_auth_done(global_id: u64, mode: u32, blob: &[u8]) -> Bytes {
    payload(|e| {
        e.u64(global_id);
        e.u32(mode);
        e.blob(blob);
    })
}
pub(crate) fn decode_auth_done(b: &Bytes) -> Result<(u64, u32, Bytes), DencError> {
    let mut d = Decoder::new(b);
    Ok((d.u64()?, d.u32()?, d.blob()?))
}

/// CLIENT_IDENT and, without `target`, SERVER_IDENT.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ident {
    /// Sender's addresses.
    pub addrs: AddrVec,
    /// Whom the client means to reach (blank in a server's).
    pub target: EntityAddr,
    /// Number in the sender's name; -1 when not known.
    pub gid: i64,
    /// Counts the sender's connection attempts.
    pub global_seq: u64,
    /// Features it has.
    pub supported: u64,
    /// Features it needs.
    pub required: u64,
    /// FLAG_LOSSY.
    pub flags: u64,
    /// Sender's cookie; 0 on lossy sessions.
    pub cookie: u64,
}
impl Ident {
    pub(crate) fn encode(&self, is_client: bool) -> Bytes {
        payload(|e| {
            e.put(&self.addrs);
            if is_client {
                e.put(&self.target);
            }
            e.i64(self.gid);
            for v in [self.global_seq, self.supported, self.required, self.flags, self.cookie] {
                e.u64(v);
            }
        })
    }
    pub(crate) fn decode(b: &Bytes, is_client: bool) -> Result<Ident, DencError> {
        let mut d = Decoder::new(b);
        Ok(Ident {
            addrs: d.get()?,
            target: if is_client { d.get()? } else { EntityAddr::default() },
            gid: d.i64()?,
            global_seq: d.u64()?,
            supported: d.u64()?,
            required: d.u64()?,
            flags: d.u64()?,
            cookie: d.u64()?,
        })
    }
}

/// SESSION_RECONNECT.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reconnect {
    /// Sender's addresses.
    pub addrs: AddrVec,
    /// Cookie of the side that opened the session.
    pub client_cookie: u64,
    /// Cookie of the side that accepted it.
    pub server_cookie: u64,
    /// Counts the sender's connection attempts.
    pub global_seq: u64,
    /// Counts this session's reconnects.
    pub connect_seq: u64,
    /// Last message that the sender received.
    pub msg_seq: u64,
}
impl Reconnect {
    pub(crate) fn encode(&self) -> Bytes {
        payload(|e| {
            e.put(&self.addrs);
            for v in [self.client_cookie, self.server_cookie, self.global_seq, self.connect_seq, self.msg_seq]
            {
                e.u64(v);
            }
        })
    }
    pub(crate) fn decode(b: &Bytes) -> Result<Reconnect, DencError> {
        let mut d = Decoder::new(b);
        Ok(Reconnect {
            addrs: d.get()?,
            client_cookie: d.u64()?,
            server_cookie: d.u64()?,
            global_seq: d.u64()?,
            connect_seq: d.u64()?,
            msg_seq: d.u64()?,
        })
    }
}

pub(crate) fn decode_u64(b: &Bytes) -> Result<u64, DencError> {
    Decoder::new(b).u64()
}
pub(crate) fn decode_bool(b: &Bytes) -> Result<bool, DencError> {
    Decoder::new(b).bool()
}
pub(crate) fn decode_time(b: &Bytes) -> Result<Utime, DencError> {
    Decoder::new(b).get()
}
pub(crate) fn decode_blob(b: &Bytes) -> Result<Bytes, DencError> {
    Decoder::new(b).blob()
}

/// `ceph_msg_header2`.
pub(crate) fn encode_msg_header(h: &MsgHeader, ack_seq: u64) -> Bytes {
    /// CEPH_MSG_FOOTER_COMPLETE | CEPH_MSG_FOOTER_NOCRC, as stock sends over v2.
    const FLAGS: u8 = 3;
    let mut e = Encoder::with_capacity(Features::ALL, crate::frame::MSG_HEADER_LEN as usize);
    e.u64(h.seq);
    e.u64(h.tid);
    e.u16(h.kind);
    e.u16(h.priority);
    e.u16(h.version);
    e.u32(0);
    e.u16(h.data_off);
    e.u64(ack_seq);
    e.u8(FLAGS);
    e.u16(h.compat);
    e.u16(0);
    e.finish()
}

/// Makes a message of a MESSAGE frame; also answers the piggybacked ack.
pub(crate) fn decode_message(f: crate::frame::Frame) -> Result<(Message, u64), MsgrError> {
    let [head, front, middle, data] = f.segs;
    let mut d = Decoder::new(&head);
    let mut h = MsgHeader {
        seq: d.u64()?,
        tid: d.u64()?,
        kind: d.u16()?,
        priority: d.u16()?,
        version: d.u16()?,
        ..MsgHeader::default()
    };
    let pre_padding = d.u32()?;
    if pre_padding != 0 {
        return Err(DencError::Invalid { what: "data pre-padding", value: pre_padding.into() }.into());
    }
    h.data_off = d.u16()?;
    let ack = d.u64()?;
    d.u8()?;
    h.compat = d.u16()?;
    let data_crc = if data.is_empty() { None } else { f.data_crc };
    Ok((Message { header: h, front, middle, data, data_crc, ..Message::default() }, ack))
}
