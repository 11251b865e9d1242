//! The content of an object in transit between primaries: [`CopyData`] (`object_copy_data_t`), what `copy-get` answers
//! and `copy-from` takes.

use crate::api::{CopyRequest, CopyResult};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use messages::{OpCode, OsdOp};
use std::collections::BTreeMap;
use types::{Errno, ReqId, SnapId, Utime};

/// Where a copy goes on (`object_copy_cursor_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CopyCursor {
    /// Data offset.
    pub data_offset: u64,
    /// Last omap key.
    pub omap_offset: Bytes,
    /// Xattrs done.
    pub attr_complete: bool,
    /// Data done.
    pub data_complete: bool,
    /// Omap done.
    pub omap_complete: bool,
}
impl CopyCursor {
    /// At the start.
    pub fn is_initial(&self) -> bool {
        !self.attr_complete && self.data_offset == 0 && self.omap_offset.is_empty()
    }
    /// All parts done.
    pub fn is_complete(&self) -> bool {
        self.attr_complete && self.data_complete && self.omap_complete
    }
}
impl Encode for CopyCursor {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.bool(self.attr_complete);
            e.u64(self.data_offset);
            e.bool(self.data_complete);
            e.blob(&self.omap_offset);
            e.bool(self.omap_complete);
        });
    }
}
impl Decode for CopyCursor {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("object_copy_cursor_t", 1)?;
        let attr_complete = d.bool()?;
        let data_offset = d.u64()?;
        let data_complete = d.bool()?;
        let omap_offset = d.blob()?;
        let omap_complete = d.bool()?;
        Ok(CopyCursor { data_offset, omap_offset, attr_complete, data_complete, omap_complete })
    }
}

/// A piece (or all) of an object's content (`object_copy_data_t` v8).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CopyData {
    /// Where the next piece starts.
    pub cursor: CopyCursor,
    /// Size of the whole object.
    pub size: u64,
    /// Its mtime.
    pub mtime: Utime,
    /// User xattrs.
    pub attrs: BTreeMap<Bytes, Bytes>,
    /// Data from the cursor that was asked for.
    pub data: Bytes,
    /// Omap header.
    pub omap_header: Bytes,
    /// Encoded `map<string, bufferlist>` of omap pairs.
    pub omap_data: Bytes,
    /// Snaps of the clone that was copied.
    pub snaps: Vec<SnapId>,
    /// Snap seq of a head.
    pub snap_seq: SnapId,
    /// Object flags (`object_copy_data_t::FLAG_*`).
    pub flags: u32,
    /// CRC32C of the data, with flag 1.
    pub data_digest: u32,
    /// CRC32C of the omap, with flag 2.
    pub omap_digest: u32,
    /// Recent requests on the object.
    pub reqids: Vec<(ReqId, u64)>,
    /// Their return codes.
    pub reqid_return_codes: BTreeMap<u32, i32>,
    /// Truncate sequence.
    pub truncate_seq: u32,
    /// Truncate size.
    pub truncate_size: u64,
    /// The source's user version; not on the wire (it is the reply's).
    pub user_version: u64,
}
impl Encode for CopyData {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(8, 5, |e| {
            e.u64(self.size);
            e.put(&self.mtime);
            e.put(&self.attrs);
            e.blob(&self.data);
            e.blob(&self.omap_data);
            e.put(&self.cursor);
            e.blob(&self.omap_header);
            e.put(&self.snaps);
            e.put(&self.snap_seq);
            e.u32(self.flags);
            e.u32(self.data_digest);
            e.u32(self.omap_digest);
            e.put(&self.reqids);
            e.u64(self.truncate_seq.into());
            e.u64(self.truncate_size);
            e.put(&self.reqid_return_codes);
        });
    }
}
impl Decode for CopyData {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("object_copy_data_t", 8)?;
        if v < 8 {
            return Err(DencError::TooOld { what: "object_copy_data_t", version: v, oldest: 8 });
        }
        let (size, mtime, attrs) = (d.u64()?, d.get()?, d.get()?);
        let (data, omap_data, cursor, omap_header) = (d.blob()?, d.blob()?, d.get()?, d.blob()?);
        let (snaps, snap_seq, flags) = (d.get()?, d.get()?, d.u32()?);
        let (data_digest, omap_digest, reqids) = (d.u32()?, d.u32()?, d.get()?);
        // As in `object_info_t`: 64 bits on the wire, of which 32 are in use.
        let (seq, truncate_size, reqid_return_codes) = (d.u64()?, d.u64()?, d.get()?);
        let truncate_seq = u32::try_from(seq)
            .map_err(|_| DencError::Invalid { what: "object_copy_data_t truncate_seq", value: seq })?;
        Ok(CopyData {
            cursor,
            size,
            mtime,
            attrs,
            data,
            omap_header,
            omap_data,
            snaps,
            snap_seq,
            flags,
            data_digest,
            omap_digest,
            reqids,
            reqid_return_codes,
            truncate_seq,
            truncate_size,
            user_version: 0,
        })
    }
}

/// Fetches the source of a `copy-from`, piece by piece, as a client of its primary. Pure: the owner sends
/// [`CopyFetch::ops`] to the source object (at the request's snapshot, as a read) and hands the answers in.
#[derive(Debug)]
pub struct CopyFetch {
    request: CopyRequest,
    got: CopyData,
}

/// How a [`CopyFetch`] goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum CopyProgress {
    /// Send [`CopyFetch::ops`] again.
    More,
    /// Execute the vector again with this result.
    Done(Box<CopyResult>),
}

/// Bytes of one piece (`osd_copyfrom_max_chunk`).
const CHUNK_BYTES_MAX: u64 = 8 << 20;

impl CopyFetch {
    /// A fetch that has not begun.
    pub fn new(request: CopyRequest) -> Self {
        CopyFetch { request, got: CopyData::default() }
    }
    /// What is fetched.
    pub fn request(&self) -> &CopyRequest {
        &self.request
    }
    /// The next vector to send: a guard on the version and the next piece.
    pub fn ops(&self) -> Vec<OsdOp> {
        let mut ops = Vec::new();
        let first = self.got.cursor.is_initial();
        let version = if first { self.request.src_version } else { self.got.user_version };
        if version != 0 {
            let mut guard = OsdOp::new(OpCode::ASSERT_VER);
            guard.set_assert_ver(version);
            ops.push(guard);
        }
        let mut e = Encoder::new(Features::ALL);
        e.put(&self.got.cursor);
        e.u64(CHUNK_BYTES_MAX);
        ops.push(OsdOp::new(OpCode::COPY_GET).with_data(e.finish()));
        ops
    }
    /// Takes the answer: the message's result, the last op's output, and the reply's user version.
    pub fn on_reply(&mut self, result: i32, out: &Bytes, user_version: u64) -> CopyProgress {
        let step = if result < 0 {
            Err(Errno::new(-result))
        } else {
            denc::from_bytes::<CopyData>(out)
                .map_err(|_| Errno::EIO)
                .and_then(|piece| self.got.absorb(piece, user_version))
        };
        match step {
            Ok(()) if !self.got.cursor.is_complete() => CopyProgress::More,
            // The source changed under the copy: from the start.
            Err(Errno::EAGAIN) => {
                self.got = CopyData::default();
                CopyProgress::More
            }
            other => CopyProgress::Done(Box::new(CopyResult {
                op_index: self.request.op_index,
                result: other.map(|()| std::mem::take(&mut self.got)),
            })),
        }
    }
}

impl CopyData {
    /// Adds the next piece, as `copy-get` answered it for our cursor; `user_version` is that reply's. Asks go on while
    /// [`CopyCursor::is_complete`] is false.
    ///
    /// Errors: when the pieces do not fit together (the source changed: start again) or omap does not decode.
    pub fn absorb(&mut self, piece: CopyData, user_version: u64) -> Result<(), Errno> {
        let first = self.cursor.is_initial();
        if !first && (self.size != piece.size || self.user_version != user_version) {
            return Err(Errno::EAGAIN);
        }
        // A piece that brings nothing new would have us ask forever.
        if piece.cursor == self.cursor
            || self.cursor.data_offset + piece.data.len() as u64 != piece.cursor.data_offset
        {
            return Err(Errno::EIO);
        }
        let data = join(std::mem::take(&mut self.data), piece.data);
        let mut attrs = std::mem::take(&mut self.attrs);
        attrs.extend(piece.attrs);
        let omap_data = join_maps(std::mem::take(&mut self.omap_data), piece.omap_data)?;
        let old_header = std::mem::take(&mut self.omap_header);
        let omap_header = if piece.omap_header.is_empty() { old_header } else { piece.omap_header };
        *self = CopyData { data, attrs, omap_data, omap_header, user_version, ..piece };
        Ok(())
    }
}

fn join(a: Bytes, b: Bytes) -> Bytes {
    if a.is_empty() {
        b
    } else if b.is_empty() {
        a
    } else {
        [&a[..], &b[..]].concat().into()
    }
}

/// Joins two encoded maps whose keys follow each other.
fn join_maps(a: Bytes, b: Bytes) -> Result<Bytes, Errno> {
    if a.is_empty() || b.is_empty() {
        return Ok(join(a, b));
    }
    let (mut da, mut db) = (Decoder::new(&a), Decoder::new(&b));
    let n = da.u32().ok().zip(db.u32().ok()).and_then(|(x, y)| x.checked_add(y));
    let n = n.ok_or(Errno::EIO)?;
    Ok([&n.to_le_bytes()[..], da.peek_rest(), db.peek_rest()].concat().into())
}
