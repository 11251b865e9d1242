//! `osd_op` (42) and `osd_op_reply` (43): the hot path.
//!
//! Mirrors `messages/MOSDOp.h` (v8) and `messages/MOSDOpReply.h` (v8), the layouts that every client since luminous
//! uses. Decoding is one pass; names and data are slices that share the message's buffers.

use crate::{Message, OpCode, OsdFlags, OsdOp, Payload};
use bytes::{Bytes, BytesMut};
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::fmt;
use types::{
    EVersion, EntityName, Epoch, HObject, ObjectLocator, PgId, ReqId, SnapContext, SnapId, SpgId, Utime,
};

/// Three u64 of trace ids that nobody fills (`encode_trace`).
const TRACE_LEN: usize = 24;

/// A request on one object, or on one PG.
#[derive(Clone, PartialEq)]
pub struct MOsdOp {
    /// The PG, as the client computed it from its map.
    pub pgid: SpgId,
    /// The object's whole hash.
    pub hash: u32,
    /// The client's map epoch.
    pub epoch: Epoch,
    /// Flags.
    pub flags: OsdFlags,
    /// Identity of the request when it was sent on behalf of another; else only `inc` is set. Use
    /// [`MOsdOp::request_id`].
    pub reqid: ReqId,
    /// The client's incarnation.
    pub client_inc: u32,
    /// Modification time to store.
    pub mtime: Utime,
    /// Pool, namespace, and key.
    pub locator: ObjectLocator,
    /// Object name; empty for operations on the PG.
    pub oid: Bytes,
    /// The operations, in order; they succeed or fail as one.
    pub ops: Vec<OsdOp>,
    /// Snapshot to read; head for writes.
    pub snapid: SnapId,
    /// Snapshot context for writes.
    pub snapc: SnapContext,
    /// 0 the first time, then counting; -1 unknown.
    pub retry_attempt: i32,
    /// The client's feature bits.
    pub features: u64,
}

impl MOsdOp {
    /// A first attempt at `ops` on an object. The caller sets flags and what else differs from the defaults.
    pub fn new(
        pgid: SpgId,
        hash: u32,
        epoch: Epoch,
        locator: ObjectLocator,
        oid: Bytes,
        ops: Vec<OsdOp>,
    ) -> MOsdOp {
        MOsdOp {
            pgid,
            hash,
            epoch,
            flags: OsdFlags::ONDISK | OsdFlags::KNOWN_REDIR,
            reqid: ReqId::default(),
            client_inc: 0,
            mtime: Utime::ZERO,
            locator,
            oid,
            ops,
            snapid: SnapId::HEAD,
            snapc: SnapContext::default(),
            retry_attempt: 0,
            features: types::features::SUPPORTED,
        }
    }

    /// The request's identity: explicit, or made of the connection's entity and the message's tid.
    pub fn request_id(&self, src: EntityName, tid: u64) -> ReqId {
        if self.reqid.name != EntityName::default() || self.reqid.tid != 0 {
            self.reqid
        } else {
            ReqId { name: src, tid, inc: self.client_inc as i32 }
        }
    }

    /// The object with the snapshot that is asked for.
    pub fn hobject(&self) -> HObject {
        // A locator key that equals the name says nothing: hobject_t::set_key drops it, and so must we, or the same
        // object would have two names.
        let key = if self.locator.key == self.oid { Bytes::new() } else { self.locator.key.clone() };
        HObject {
            key,
            name: self.oid.clone(),
            snap: self.snapid,
            hash: self.hash,
            max: false,
            nspace: self.locator.nspace.clone(),
            pool: self.pgid.pg.pool,
        }
    }

    /// The PG id with the object's whole hash as seed.
    pub fn raw_pg(&self) -> PgId {
        PgId { pool: self.pgid.pg.pool, seed: self.hash }
    }

    /// True when an operation's code or the message's flags say that it writes. A class call may write without it.
    pub fn may_write(&self) -> bool {
        self.flags.has(OsdFlags::WRITE) || self.ops.iter().any(|op| op.code.is_write())
    }

    /// True when it is about a PG instead of an object.
    pub fn is_pg_op(&self) -> bool {
        self.ops.iter().any(|op| op.code.is_pg())
    }

    /// True when some operation is a class call.
    pub fn has_class_call(&self) -> bool {
        self.ops.iter().any(|op| op.code == OpCode::CALL)
    }
}

impl fmt::Debug for MOsdOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "osd_op({} {} {:?} snapc {}={:?} {} e{})",
            self.pgid,
            self.hobject(),
            self.ops,
            self.snapc.seq,
            self.snapc.snaps,
            self.flags,
            self.epoch
        )
    }
}

/// Cuts `data` into the pieces that the ops' lengths name. A length beyond the end is an error.
fn split_data(ops: &mut [(OsdOp, u32)], data: &Bytes) -> Result<(), DencError> {
    let mut at = 0usize;
    for (op, len) in ops {
        let len = *len as usize;
        if len > data.len() - at {
            return Err(DencError::Short { what: "osd_op data", need: len, have: data.len() - at });
        }
        if len > 0 {
            op.data = data.slice(at..at + len);
            at += len;
        }
    }
    Ok(())
}

/// Joins the ops' data; the usual case, where only one has any, does not copy.
fn join_data<'a>(ops: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut filled = ops.clone().filter(|d| !d.is_empty());
    match (filled.next(), filled.next()) {
        (None, _) => Bytes::new(),
        (Some(one), None) => one.clone(),
        _ => {
            let mut all = BytesMut::with_capacity(ops.clone().map(Bytes::len).sum());
            for d in ops {
                all.extend_from_slice(d);
            }
            all.freeze()
        }
    }
}

fn decode_heads(d: &mut Decoder<'_>, n: usize) -> Result<Vec<(OsdOp, u32)>, DencError> {
    let need = n.saturating_mul(OsdOp::WIRE_SIZE);
    if need > d.remaining() {
        return Err(DencError::Short { what: "osd_op ops", need, have: d.remaining() });
    }
    (0..n).map(|_| OsdOp::decode_head(d)).collect()
}

impl Payload for MOsdOp {
    const KIND: u16 = crate::kinds::OSD_OP;
    const NAME: &'static str = "osd_op";
    const VERSION: u16 = 8;
    const COMPAT: u16 = 3;

    fn encode_parts(&self, features: Features) -> (Bytes, Bytes, Bytes) {
        let size = 240 + self.ops.len() * OsdOp::WIRE_SIZE + self.oid.len() + self.snapc.snaps.len() * 8;
        let mut e = Encoder::with_capacity(features, size);
        e.put(&self.pgid);
        e.u32(self.hash);
        e.put(&self.epoch);
        e.u32(self.flags.0);
        e.put(&self.reqid);
        e.raw(&[0; TRACE_LEN]);
        e.u32(self.client_inc);
        e.put(&self.mtime);
        e.put(&self.locator);
        e.blob(&self.oid);
        e.u16(u16::try_from(self.ops.len()).expect("a request has fewer than 65536 operations"));
        for op in &self.ops {
            op.encode_head(&mut e);
        }
        e.put(&self.snapid);
        e.put(&self.snapc);
        e.i32(self.retry_attempt);
        e.u64(self.features);
        (e.finish(), Bytes::new(), join_data(self.ops.iter().map(|op| &op.data)))
    }

    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        if msg.header.version < 8 {
            return Err(DencError::TooOld { what: "osd_op", version: msg.header.version as u8, oldest: 8 });
        }
        let d = &mut Decoder::new(&msg.front);
        let pgid = d.get()?;
        let hash = d.u32()?;
        let epoch = d.get()?;
        let flags = OsdFlags(d.u32()?);
        let reqid = d.get()?;
        d.skip(TRACE_LEN)?;
        let client_inc = d.u32()?;
        let mtime = d.get()?;
        let locator = d.get()?;
        let oid = d.blob()?;
        let n = usize::from(d.u16()?);
        let need = n * OsdOp::WIRE_SIZE;
        if need > d.remaining() {
            return Err(DencError::Short { what: "osd_op ops", need, have: d.remaining() });
        }
        let mut ops = Vec::with_capacity(n);
        let mut at = 0usize;
        for _ in 0..n {
            let (mut op, len) = OsdOp::decode_head(d)?;
            let (len, have) = (len as usize, msg.data.len() - at);
            if len > have {
                return Err(DencError::Short { what: "osd_op data", need: len, have });
            }
            if len > 0 {
                op.data = msg.data.slice(at..at + len);
                at += len;
            }
            ops.push(op);
        }
        Ok(MOsdOp {
            pgid,
            hash,
            epoch,
            flags,
            reqid,
            client_inc,
            mtime,
            locator,
            oid,
            ops,
            snapid: d.get()?,
            snapc: d.get()?,
            retry_attempt: d.i32()?,
            features: d.u64()?,
        })
    }
}

/// Where a client shall ask instead (`request_redirect_t`). We never send one; stock OSDs with cache tiers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// New place.
    pub locator: ObjectLocator,
    /// New object name.
    pub object: Bytes,
    /// Was a list of operations; empty.
    pub legacy: Bytes,
}
impl Encode for Redirect {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.locator);
            e.blob(&self.object);
            e.blob(&self.legacy);
        });
    }
}
impl Decode for Redirect {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("request_redirect_t", 1)?;
        Ok(Redirect { locator: d.get()?, object: d.blob()?, legacy: d.blob()? })
    }
}

/// One operation's outcome: the operation as it was asked with its output as `data`, and its own result.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OpReply {
    /// The operation; `data` is the output.
    pub op: OsdOp,
    /// 0 or a positive count, or a negative errno.
    pub rval: i32,
}

/// The answer to a [`MOsdOp`].
#[derive(Clone, PartialEq)]
pub struct MOsdOpReply {
    /// The request's object name.
    pub oid: Bytes,
    /// The request's PG.
    pub pgid: PgId,
    /// The request's flags with the kind of acknowledgement.
    pub flags: OsdFlags,
    /// 0 or a positive count, or a negative errno, for all of the operations.
    pub result: i32,
    /// See [`MOsdOpReply::set_versions`].
    pub bad_replay_version: EVersion,
    /// The OSD's map epoch.
    pub epoch: Epoch,
    /// The operations with their outputs.
    pub ops: Vec<OpReply>,
    /// The request's attempt.
    pub retry_attempt: i32,
    /// The PG version that the write got.
    pub replay_version: EVersion,
    /// The object's user version.
    pub user_version: u64,
    /// Where to ask instead.
    pub redirect: Option<Redirect>,
}

impl MOsdOpReply {
    /// An answer to `req` without outputs.
    pub fn to(req: &MOsdOp, result: i32, epoch: Epoch) -> MOsdOpReply {
        let empty = |op: &OsdOp| OpReply { op: OsdOp { data: Bytes::new(), ..op.clone() }, rval: 0 };
        MOsdOpReply {
            oid: req.oid.clone(),
            pgid: req.pgid.pg,
            flags: req.flags.without(OsdFlags::ONDISK | OsdFlags::ONNVRAM | OsdFlags::ACK) | OsdFlags::ONDISK,
            result,
            bad_replay_version: EVersion::ZERO,
            epoch,
            ops: req.ops.iter().map(empty).collect(),
            retry_attempt: req.retry_attempt,
            replay_version: EVersion::ZERO,
            user_version: 0,
            redirect: None,
        }
    }

    /// Sets the versions of a request that succeeded. Old clients take what is now called `bad_replay_version` for the
    /// object's version, so it carries the user version when there is one (as stock does).
    pub fn set_versions(&mut self, version: EVersion, user_version: u64) {
        self.replay_version = version;
        self.user_version = user_version;
        self.bad_replay_version = version;
        if user_version != 0 {
            self.bad_replay_version.version = user_version;
        }
    }

    /// Sets the versions of a request that found no object: `replay_version` stays zero.
    pub fn set_enoent_versions(&mut self, version: EVersion, user_version: u64) {
        self.user_version = user_version;
        self.bad_replay_version = version;
    }
}

impl fmt::Debug for MOsdOpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "osd_op_reply({} {:?} v{} uv{} {} = {} e{})",
            String::from_utf8_lossy(&self.oid),
            self.ops,
            self.replay_version,
            self.user_version,
            self.flags,
            self.result,
            self.epoch
        )
    }
}

impl Payload for MOsdOpReply {
    const KIND: u16 = crate::kinds::OSD_OP_REPLY;
    const NAME: &'static str = "osd_op_reply";
    const VERSION: u16 = 8;
    const COMPAT: u16 = 2;

    fn encode_parts(&self, features: Features) -> (Bytes, Bytes, Bytes) {
        let size = 128 + self.ops.len() * (OsdOp::WIRE_SIZE + 4) + self.oid.len();
        let mut e = Encoder::with_capacity(features, size);
        e.blob(&self.oid);
        e.put(&self.pgid);
        e.u64(u64::from(self.flags.0));
        e.i32(self.result);
        e.put(&self.bad_replay_version);
        e.put(&self.epoch);
        e.count(self.ops.len());
        for r in &self.ops {
            r.op.encode_head(&mut e);
        }
        e.i32(self.retry_attempt);
        for r in &self.ops {
            e.i32(r.rval);
        }
        e.put(&self.replay_version);
        e.u64(self.user_version);
        e.put(&self.redirect);
        e.raw(&[0; TRACE_LEN]);
        (e.finish(), Bytes::new(), join_data(self.ops.iter().map(|r| &r.op.data)))
    }

    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        if msg.header.version < 7 {
            return Err(DencError::TooOld {
                what: "osd_op_reply",
                version: msg.header.version as u8,
                oldest: 7,
            });
        }
        let d = &mut Decoder::new(&msg.front);
        let oid = d.blob()?;
        let pgid = d.get()?;
        let flags = OsdFlags(d.u64()? as u32);
        let result = d.i32()?;
        let bad_replay_version = d.get()?;
        let epoch = d.get()?;
        let n = d.count("osd_op_reply ops", OsdOp::WIRE_SIZE)?;
        let mut heads = decode_heads(d, n)?;
        let retry_attempt = d.i32()?;
        split_data(&mut heads, &msg.data)?;
        let mut ops = Vec::with_capacity(n);
        for (op, _) in heads {
            ops.push(OpReply { op, rval: d.i32()? });
        }
        Ok(MOsdOpReply {
            oid,
            pgid,
            flags,
            result,
            bad_replay_version,
            epoch,
            ops,
            retry_attempt,
            replay_version: d.get()?,
            user_version: d.u64()?,
            redirect: d.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(ops: Vec<OsdOp>) -> MOsdOp {
        let pg = SpgId::replicated(PgId::new(3, 5));
        MOsdOp::new(
            pg,
            0x1234_5675,
            Epoch(9),
            ObjectLocator::pool(types::PoolId(3)),
            Bytes::from_static(b"obj"),
            ops,
        )
    }

    #[test]
    fn a_request_and_its_reply_survive_the_wire() {
        let ops = vec![
            OsdOp::new(OpCode::SET_ALLOC_HINT),
            OsdOp::write(4096, Bytes::from_static(b"data")),
            OsdOp::call("lock", "assert_locked", b"x"),
        ];
        let req = request(ops);
        let msg = Message::new(&req, Features(types::features::SUPPORTED));
        assert_eq!(msg.data.len(), 4 + 4 + 13 + 1);
        let got: MOsdOp = msg.decode().unwrap();
        assert_eq!(got, req);
        let mut reply = MOsdOpReply::to(&got, -5, Epoch(10));
        reply.ops[2].op.data = Bytes::from_static(b"out");
        reply.ops[2].rval = -5;
        reply.set_versions(EVersion::new(10, 77), 70);
        let back: MOsdOpReply = Message::new(&reply, Features::ALL).decode().unwrap();
        assert_eq!(back, reply);
        assert_eq!(back.bad_replay_version, EVersion::new(10, 70));
        assert!(back.flags.has(OsdFlags::ONDISK));
    }

    #[test]
    fn the_data_of_a_single_write_is_not_copied() {
        let data = Bytes::from(vec![7u8; 4096]);
        let msg = Message::new(
            &request(vec![OsdOp::new(OpCode::STAT), OsdOp::write(0, data.clone())]),
            Features::ALL,
        );
        assert_eq!(msg.data.as_ptr(), data.as_ptr());
        let got: MOsdOp = msg.decode().unwrap();
        assert_eq!(got.ops[1].data.as_ptr(), data.as_ptr());
    }

    #[test]
    fn data_shorter_than_the_operations_say_is_an_error() {
        let mut msg =
            Message::new(&request(vec![OsdOp::write(0, Bytes::from_static(b"data"))]), Features::ALL);
        msg.data.truncate(3);
        assert!(matches!(msg.decode::<MOsdOp>(), Err(DencError::Short { .. })));
    }

    #[test]
    fn a_locator_key_equal_to_the_name_gives_the_same_object() {
        let mut req = request(vec![]);
        let plain = req.hobject();
        req.locator.key = req.oid.clone();
        assert_eq!(req.hobject(), plain);
        req.locator.key = Bytes::from_static(b"other");
        assert_ne!(req.hobject(), plain);
    }

    #[test]
    fn the_session_names_the_request_unless_it_names_itself() {
        let mut req = request(vec![]);
        req.client_inc = 2;
        let src = EntityName::client(4100);
        assert_eq!(req.request_id(src, 7), ReqId { name: src, tid: 7, inc: 2 });
        req.reqid = ReqId { name: EntityName::client(1), tid: 3, inc: 0 };
        assert_eq!(req.request_id(src, 7), req.reqid);
    }
}
