//! The journal: a ring of records, one for each group of transactions that was made durable together.
//!
//! A record starts at a multiple of 4 KiB: header (64 bytes: magic, version, store uuid, sequence, lengths, CRC32C over
//! header and body), the transactions' metadata, their small payloads, zeros up to the next multiple. A record never wraps:
//! when it does not fit behind the last one it starts at 0.
//!
//! The writer has one record in flight: record `n + 1` is written only when `n` is durable. So at replay a record that is
//! not whole ends the journal, *unless* a whole one of a higher sequence follows: then the device has lost what it had
//! promised to keep, and that is an error. Records carry the store's uuid, which clients do not know: no payload can pose
//! as a record.

use crate::alloc::Run;
use crate::device::{Dev, DeviceError, ReadDevice, UNIT_BYTES};
use bytes::{Bytes, BytesMut};
use denc::{Decode, Decoder, DencError, Encoder, Features};
use objstore::{CollId, TxnOp};
use thiserror::Error;
use types::{Fsid, HObject};

const MAGIC: u64 = 0x6c61_6e72_756f_6a6c; // "ljournal"
const VERSION: u16 = 1;
/// Room for the metadata of a usual write: object, attributes, log entry, the PG's info.
const TXN_BYTES: usize = 2048;
/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 64;
/// A group is closed when it has this many bytes; one transaction alone may have more.
pub const GROUP_BYTES_MAX: usize = 2 << 20;
/// How far behind a record that is not whole replay looks for a later one.
const LOOK_AHEAD_BYTES: u64 = 8 << 20;
/// Tag of a write whose bytes are not in the metadata; never a [`TxnOp`] tag.
const SPLIT_WRITE: u8 = 0xfe;

/// Why a journal could not be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum JournalError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A record is broken although later ones are whole.
    #[error(
        "journal record {seq} at {pos} is broken, but record {later} behind it is whole: the device lost data"
    )]
    Lost {
        /// Sequence that was expected.
        seq: u64,
        /// Where.
        pos: u64,
        /// The later record.
        later: u64,
    },
    /// A whole record does not make sense.
    #[error("journal record {seq}")]
    Format {
        /// Its sequence.
        seq: u64,
        /// What is wrong.
        #[source]
        source: DencError,
    },
}

/// One piece of a write, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seg {
    /// Bytes that ride in the record.
    Inline(Bytes),
    /// Whole units that were written to the data device before the record.
    Extent {
        /// Where they are.
        runs: Vec<Run>,
        /// CRC32C of each.
        crcs: Vec<u32>,
    },
}
impl Seg {
    /// Bytes of the object that the piece covers.
    pub fn len(&self) -> u64 {
        match self {
            Seg::Inline(b) => b.len() as u64,
            Seg::Extent { crcs, .. } => crcs.len() as u64 * UNIT_BYTES,
        }
    }
}

/// An op as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalOp {
    /// Anything but a write.
    Op(TxnOp),
    /// A write, cut in pieces.
    Write {
        /// Collection.
        coll: CollId,
        /// Object.
        oid: HObject,
        /// Offset.
        off: u64,
        /// Its pieces.
        segs: Vec<Seg>,
    },
}

/// Encoder of one transaction's part of a record.
pub struct TxnWriter {
    e: Encoder,
    at: usize,
    count: u32,
    payload: Vec<Bytes>,
    payload_bytes: usize,
}
impl Default for TxnWriter {
    fn default() -> Self {
        let mut e = Encoder::with_capacity(Features::ALL, TXN_BYTES);
        let at = e.reserve_u32();
        TxnWriter { e, at, count: 0, payload: Vec::new(), payload_bytes: 0 }
    }
}
impl TxnWriter {
    /// Adds an op that is not a write.
    pub fn op(&mut self, op: &TxnOp) {
        debug_assert!(!matches!(op, TxnOp::Write { .. }));
        self.count += 1;
        self.e.put(op);
    }
    /// Adds a write.
    pub fn write(&mut self, coll: CollId, oid: &HObject, off: u64, segs: &[Seg]) {
        self.count += 1;
        let e = &mut self.e;
        e.u8(SPLIT_WRITE);
        e.put(&coll);
        e.put(oid);
        e.u64(off);
        e.count(segs.len());
        for seg in segs {
            match seg {
                Seg::Inline(b) => {
                    e.u8(0);
                    e.count(b.len());
                    self.payload_bytes += b.len();
                    self.payload.push(b.clone());
                }
                Seg::Extent { runs, crcs } => {
                    e.u8(1);
                    e.count(runs.len());
                    for (start, n) in runs {
                        e.u64(*start);
                        e.u32(*n);
                    }
                    for crc in crcs {
                        e.u32(*crc);
                    }
                }
            }
        }
    }
    /// Metadata and payloads.
    pub fn finish(mut self) -> TxnBytes {
        self.e.patch_u32(self.at, self.count);
        TxnBytes { meta: self.e.finish(), payload: self.payload, payload_bytes: self.payload_bytes }
    }
}

/// One transaction, ready for a record.
#[derive(Debug, Clone)]
pub struct TxnBytes {
    meta: Bytes,
    payload: Vec<Bytes>,
    payload_bytes: usize,
}
impl TxnBytes {
    /// Bytes it adds to a record.
    pub fn len(&self) -> usize {
        4 + self.meta.len() + self.payload_bytes
    }
}

/// Bytes of a record with these many bytes of transactions.
pub fn record_len(body: usize) -> u64 {
    ((HEADER_BYTES + body) as u64).next_multiple_of(UNIT_BYTES)
}

/// Builds a record: its buffers, and their whole length (a multiple of 4 KiB).
pub fn encode_record(uuid: Fsid, seq: u64, txns: &[TxnBytes]) -> (Vec<Bytes>, u64) {
    let meta_len: usize = txns.iter().map(|t| 4 + t.meta.len()).sum();
    let payload_len: usize = txns.iter().map(|t| t.payload_bytes).sum();
    let len = record_len(meta_len + payload_len);
    let mut e = Encoder::with_capacity(Features::ALL, HEADER_BYTES + meta_len);
    e.u64(MAGIC);
    e.u16(VERSION);
    e.u16(0);
    let crc_at = e.reserve_u32();
    e.put(&uuid);
    e.u64(seq);
    e.u64(len);
    e.count(txns.len());
    e.count(meta_len);
    e.count(payload_len);
    e.u32(0);
    debug_assert_eq!(e.len(), HEADER_BYTES);
    for t in txns {
        e.blob(&t.meta);
    }
    let mut crc = crc32c::crc32c(e.as_slice());
    let mut bufs = Vec::with_capacity(2 + txns.iter().map(|t| t.payload.len()).sum::<usize>());
    for p in txns.iter().flat_map(|t| &t.payload) {
        crc = crc32c::crc32c_append(crc, p);
        bufs.push(p.clone());
    }
    e.patch_u32(crc_at, crc);
    bufs.insert(0, e.finish());
    let pad = len as usize - HEADER_BYTES - meta_len - payload_len;
    static ZEROS: [u8; UNIT_BYTES as usize] = [0; UNIT_BYTES as usize];
    if pad > 0 {
        bufs.push(Bytes::from_static(&ZEROS[..pad]));
    }
    (bufs, len)
}

/// A record's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    crc: u32,
    uuid: Fsid,
    /// Sequence.
    pub seq: u64,
    /// Whole length.
    pub len: u64,
    txns: u32,
    meta_len: u32,
    payload_len: u32,
}
impl Header {
    /// Reads a header; `None` when these bytes are none.
    pub fn parse(bytes: &Bytes) -> Option<Header> {
        let mut d = Decoder::new(bytes);
        if d.u64().ok()? != MAGIC || d.u16().ok()? != VERSION {
            return None;
        }
        d.u16().ok()?;
        let crc = d.u32().ok()?;
        let uuid = Fsid::decode(&mut d).ok()?;
        let (seq, len) = (d.u64().ok()?, d.u64().ok()?);
        let (txns, meta_len, payload_len) = (d.u32().ok()?, d.u32().ok()?, d.u32().ok()?);
        d.u32().ok()?;
        let body = meta_len as usize + payload_len as usize;
        (len == record_len(body)).then_some(Header { crc, uuid, seq, len, txns, meta_len, payload_len })
    }
}

/// Checks a whole record's checksum and reads its transactions.
pub fn decode_record(h: &Header, bytes: &Bytes) -> Result<Vec<Vec<JournalOp>>, DencError> {
    let (meta, payload) = (h.meta_len as usize, h.payload_len as usize);
    let end = HEADER_BYTES + meta + payload;
    if bytes.len() < end {
        return Err(DencError::Short { what: "journal record", need: end, have: bytes.len() });
    }
    let found = checksum(&bytes[..end]);
    if found != h.crc {
        return Err(DencError::Crc { what: "journal record", expected: h.crc, found });
    }
    let meta_bytes = bytes.slice(HEADER_BYTES..HEADER_BYTES + meta);
    let payload_bytes = bytes.slice(HEADER_BYTES + meta..end);
    let (mut d, mut p) = (Decoder::new(&meta_bytes), Decoder::new(&payload_bytes));
    let mut txns = Vec::new();
    for _ in 0..h.txns {
        let mut t = d.sub("journal transaction")?;
        txns.push(decode_txn(&mut t, &mut p)?);
        t.expect_end("journal transaction")?;
    }
    d.expect_end("journal record")?;
    p.expect_end("journal payload")?;
    Ok(txns)
}
fn checksum(record: &[u8]) -> u32 {
    // The checksum's own field counts as zeros.
    let crc = crc32c::crc32c(&record[..12]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &record[16..])
}
fn decode_txn(d: &mut Decoder<'_>, payload: &mut Decoder<'_>) -> Result<Vec<JournalOp>, DencError> {
    let n = d.count("journal ops", 2)?;
    let mut ops = Vec::with_capacity(n.min(1024));
    for _ in 0..n {
        if d.peek_rest().first() != Some(&SPLIT_WRITE) {
            let op: TxnOp = d.get()?;
            if matches!(op, TxnOp::Write { .. }) {
                return Err(DencError::Invalid { what: "unsplit write in the journal", value: 0 });
            }
            ops.push(JournalOp::Op(op));
            continue;
        }
        d.skip(1)?;
        let (coll, oid, off) = (d.get()?, d.get()?, d.u64()?);
        let mut segs = Vec::new();
        for _ in 0..d.count("pieces of a write", 5)? {
            segs.push(match d.u8()? {
                0 => {
                    let len = d.u32()? as usize;
                    Seg::Inline(payload.take(len)?)
                }
                1 => {
                    let n = d.count("runs", 12)?;
                    let (mut runs, mut units) = (Vec::with_capacity(n), 0u64);
                    for _ in 0..n {
                        let run: Run = (d.u64()?, d.u32()?);
                        units += u64::from(run.1);
                        runs.push(run);
                    }
                    let need = usize::try_from(units).unwrap_or(usize::MAX).saturating_mul(4);
                    if need > d.remaining() {
                        return Err(DencError::Short { what: "checksums", need, have: d.remaining() });
                    }
                    let crcs = (0..units).map(|_| d.u32()).collect::<Result<_, _>>()?;
                    Seg::Extent { runs, crcs }
                }
                other => return Err(DencError::Invalid { what: "piece of a write", value: other.into() }),
            });
        }
        ops.push(JournalOp::Write { coll, oid, off, segs });
    }
    Ok(ops)
}

/// Reads records in order from a position and sequence.
pub struct Replay<'a> {
    dev: &'a dyn ReadDevice,
    uuid: Fsid,
    size: u64,
    /// Where the next record is or will be.
    pub pos: u64,
    /// Its sequence.
    pub seq: u64,
    /// Bytes of ring between the start and `pos`, skipped ends included.
    pub used: u64,
}
impl<'a> Replay<'a> {
    /// Starts where the superblock says.
    pub fn new(dev: &'a dyn ReadDevice, uuid: Fsid, size: u64, pos: u64, seq: u64) -> Self {
        Replay { dev, uuid, size, pos, seq, used: 0 }
    }
    /// The next record's transactions; `None` at the end of the journal.
    pub fn next_record(&mut self) -> Result<Option<Vec<Vec<JournalOp>>>, JournalError> {
        for (at, skipped) in [(self.pos, 0), (0, self.size - self.pos)] {
            let Some((h, bytes)) = self.whole_record(at)? else { continue };
            if h.seq != self.seq {
                continue;
            }
            let txns =
                decode_record(&h, &bytes).map_err(|source| JournalError::Format { seq: self.seq, source })?;
            self.used += skipped + h.len;
            self.pos = at + h.len;
            self.seq += 1;
            return Ok(Some(txns));
        }
        match self.later_record()? {
            Some(later) => Err(JournalError::Lost { seq: self.seq, pos: self.pos, later }),
            None => Ok(None),
        }
    }
    fn whole_record(&self, at: u64) -> Result<Option<(Header, Bytes)>, JournalError> {
        if at + UNIT_BYTES > self.size {
            return Ok(None);
        }
        let first = self.dev.read_at(Dev::Journal, at, UNIT_BYTES as usize)?;
        let Some(h) = Header::parse(&first) else { return Ok(None) };
        if h.uuid != self.uuid || h.seq < self.seq || h.len > self.size - at {
            return Ok(None);
        }
        let bytes = if h.len == UNIT_BYTES {
            first
        } else {
            let mut all = BytesMut::with_capacity(h.len as usize);
            all.extend_from_slice(&first);
            let rest = (h.len - UNIT_BYTES) as usize;
            all.extend_from_slice(&self.dev.read_at(Dev::Journal, at + UNIT_BYTES, rest)?);
            all.freeze()
        };
        let end = HEADER_BYTES + h.meta_len as usize + h.payload_len as usize;
        Ok((checksum(&bytes[..end]) == h.crc).then_some((h, bytes)))
    }
    /// Looks behind the end for a whole record of a higher sequence.
    fn later_record(&self) -> Result<Option<u64>, JournalError> {
        let units = self.size.min(LOOK_AHEAD_BYTES) / UNIT_BYTES;
        for n in 0..units {
            let at = (self.pos + n * UNIT_BYTES) % self.size;
            if let Some((h, _)) = self.whole_record(at)?
                && h.seq > self.seq
            {
                return Ok(Some(h.seq));
            }
        }
        Ok(None)
    }
}
