//! `rbd_object_map.<id>`: two bits for each of an image's objects, with checksums, as raw object data.
//!
//! The bytes are stock's `BitVector<2>`, because librbd reads and writes them whole as well: {u32 length, versioned header
//! with the count}, the packed elements (first in the high bits), {u32 length, u32 header crc, vector of a crc for each 4 KiB}.

use super::util::check_exists;
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decoder, DencError, Encoder, Features};
use types::Errno;

type Out = Result<Bytes, ClsError>;

const EXISTS: u8 = 1;
const EXISTS_CLEAN: u8 = 3;

const BLOCK: usize = 4096;
/// `cls::rbd::MAX_OBJECT_MAP_OBJECT_COUNT`.
const COUNT_MAX: u64 = 256_000_000;

/// Bytes in front of the elements: u32 length, version header, u64 count.
const HEADER_LEN: u64 = 4 + 6 + 8;

/// The vector in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BitVector {
    count: u64,
    data: Vec<u8>,
    /// What came without checksums is stored without, as in stock.
    with_crc: bool,
}
impl Default for BitVector {
    fn default() -> Self {
        BitVector { count: 0, data: Vec::new(), with_crc: true }
    }
}

fn data_len(count: u64) -> usize {
    count.div_ceil(4) as usize
}

fn shift(i: u64) -> u32 {
    (3 - (i % 4) as u32) * 2
}

/// Ceph's crc32c with seed 0 and no final inversion.
fn crc(bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!0, bytes)
}

impl BitVector {
    fn get(&self, i: u64) -> u8 {
        self.data[(i / 4) as usize] >> shift(i) & 3
    }
    fn set(&mut self, i: u64, v: u8) {
        let b = &mut self.data[(i / 4) as usize];
        *b = *b & !(3 << shift(i)) | (v & 3) << shift(i);
    }
    /// Cuts off, or appends elements with `fill`. As in stock, bits behind the last element keep what they had.
    fn resize(&mut self, count: u64, fill: u8) {
        let old = self.count;
        self.data.resize(data_len(count), 0);
        self.count = count;
        // Whole bytes at once: a map has up to 256 million elements.
        let whole = old.next_multiple_of(4).min(count)..(count & !3).max(old.next_multiple_of(4).min(count));
        self.data[data_len(whole.start)..data_len(whole.end)].fill((fill & 3) * 0x55);
        for i in (old..whole.start).chain(whole.end..count) {
            self.set(i, fill);
        }
    }
    fn header(&self) -> Bytes {
        let mut e = Encoder::new(Features::ALL);
        e.versioned(1, 1, |e| e.u64(self.count));
        e.finish()
    }
    fn encode(&self, with_crc: bool) -> Bytes {
        let header = self.header();
        let mut e = Encoder::with_capacity(Features::ALL, self.data.len() + 64);
        e.blob(&header);
        e.raw(&self.data);
        e.length_prefixed(|e| {
            if with_crc {
                e.u32(crc(&header));
                let crcs: Vec<u32> = self.data.chunks(BLOCK).map(crc).collect();
                e.put(&crcs);
            }
        });
        e.finish()
    }
    fn decode_header(d: &mut Decoder<'_>) -> Result<(Bytes, u64), DencError> {
        let header = d.blob()?;
        let count = {
            let mut h = Decoder::new(&header);
            let (_, mut h) = h.open("BitVector", 1)?;
            h.u64()?
        };
        if count > COUNT_MAX {
            return Err(DencError::Invalid { what: "BitVector count", value: count });
        }
        Ok((header, count))
    }
    fn decode(bytes: &Bytes) -> Result<BitVector, DencError> {
        let mut d = Decoder::new(bytes);
        let (header, count) = Self::decode_header(&mut d)?;
        let data = d.raw(data_len(count))?.to_vec();
        let footer = d.blob()?;
        if !footer.is_empty() {
            let mut f = Decoder::new(&footer);
            check_crc(f.u32()?, &header)?;
            // The count of checksums follows from the elements; what is stored is not looked at.
            f.u32()?;
            for block in data.chunks(BLOCK) {
                check_crc(f.u32()?, block)?;
            }
        }
        Ok(BitVector { count, data, with_crc: !footer.is_empty() })
    }
}

fn check_crc(expected: u32, bytes: &[u8]) -> Result<(), DencError> {
    let found = crc(bytes);
    if expected == found { Ok(()) } else { Err(DencError::Crc { what: "BitVector", expected, found }) }
}

fn load(ctx: &mut dyn ClsContext) -> Result<BitVector, ClsError> {
    let (size, _) = ctx.stat()?;
    if size == 0 {
        return Err(Errno::ENOENT.into());
    }
    let bytes = ctx.read(0, size)?;
    BitVector::decode(&bytes).map_err(|_| Errno::EINVAL.into())
}

fn store(ctx: &mut dyn ClsContext, map: &BitVector) -> Out {
    ctx.write_full(map.encode(map.with_crc))?;
    Ok(Bytes::new())
}

/// -> the vector, without checksums.
pub fn object_map_load(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    Ok(load(ctx)?.encode(false))
}

/// The vector.
pub fn object_map_save(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let map = BitVector { with_crc: true, ..BitVector::decode(input)? };
    store(ctx, &map)
}

/// u64 count, u8 state of new elements; only elements in that state may be cut off.
pub fn object_map_resize(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (count, fill) = (d.u64()?, d.u8()?);
    if count > COUNT_MAX {
        return Err(Errno::EINVAL.into());
    }
    let mut map = match load(ctx) {
        Err(e) if e.errno == Errno::ENOENT => BitVector::default(),
        other => other?,
    };
    if (count..map.count).any(|i| map.get(i) != fill) {
        return Err(Errno::ESTALE.into());
    }
    map.resize(count, fill);
    store(ctx, &map)
}

/// u64 first, u64 end, u8 new state, optional u8 state that is changed only.
pub fn object_map_update(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (first, end, new, old): (u64, u64, u8, Option<u8>) = (d.u64()?, d.u64()?, d.u8()?, d.get()?);
    ctx.stat()?;
    let header = ctx.read(0, HEADER_LEN)?;
    let (_, count) = BitVector::decode_header(&mut Decoder::new(&header))?;
    if first >= end || end > count {
        return Err(Errno::ERANGE.into());
    }
    // Only the blocks of the range are read and written: a map has up to 64 MB. The header's checksum is not looked at.
    let from_block = (first / 4) as usize / BLOCK;
    let data_from = from_block * BLOCK;
    let data_to = (((end - 1) / 4) as usize / BLOCK * BLOCK + BLOCK).min(data_len(count));
    let crcs_at = HEADER_LEN + data_len(count) as u64 + 12 + 4 * from_block as u64;
    let blocks = (data_to - data_from).div_ceil(BLOCK);
    let data = ctx.read(HEADER_LEN + data_from as u64, (data_to - data_from) as u64)?;
    let stored = ctx.read(crcs_at, 4 * blocks as u64)?;
    if data.len() != data_to - data_from {
        return Err(Errno::EINVAL.into());
    }
    // Checksums that are not there are zero, which only zeros have.
    let mut crcs = stored.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
    for block in data.chunks(BLOCK) {
        check_crc(crcs.next().unwrap_or(0), block)?;
    }
    let base = 4 * data_from as u64;
    let mut part = BitVector { count: 4 * data.len() as u64, data: data.to_vec(), with_crc: true };
    let mut changed = false;
    for i in first - base..end - base {
        let state = part.get(i);
        let matches = old.is_none_or(|o| state == o || (o == EXISTS && state == EXISTS_CLEAN));
        if matches && state != new {
            part.set(i, new);
            changed = true;
        }
    }
    if changed {
        let mut e = Encoder::with_capacity(Features::ALL, 4 * blocks);
        part.data.chunks(BLOCK).for_each(|b| e.u32(crc(b)));
        ctx.write(HEADER_LEN + data_from as u64, part.data.into())?;
        ctx.write(crcs_at, e.finish())?;
    }
    Ok(Bytes::new())
}

/// A snapshot was taken: what exists is clean since then.
pub fn object_map_snap_add(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    check_exists(ctx)?;
    let mut map = load(ctx)?;
    let mut changed = false;
    for i in 0..map.count {
        if map.get(i) == EXISTS {
            map.set(i, EXISTS_CLEAN);
            changed = true;
        }
    }
    if changed { store(ctx, &map) } else { Ok(Bytes::new()) }
}

/// The removed snapshot's vector: what was changed in it is no longer clean here.
pub fn object_map_snap_remove(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let of_snap = BitVector::decode(input)?;
    let mut map = load(ctx)?;
    let mut changed = false;
    for i in 0..map.count {
        if map.get(i) == EXISTS_CLEAN && (i >= of_snap.count || of_snap.get(i) == EXISTS) {
            map.set(i, EXISTS);
            changed = true;
        }
    }
    if changed { store(ctx, &map) } else { Ok(Bytes::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_comes_back_and_a_flipped_bit_is_seen() {
        let mut v = BitVector::default();
        v.resize(10, EXISTS);
        v.set(3, EXISTS_CLEAN);
        let bytes = v.encode(true);
        assert_eq!(BitVector::decode(&bytes).unwrap(), v);
        let mut bad = bytes.to_vec();
        bad[18] ^= 0x10;
        assert!(BitVector::decode(&bad.into()).is_err());
        for n in 0..bytes.len() {
            assert!(BitVector::decode(&bytes.slice(..n)).is_err());
        }
    }

    #[test]
    fn elements_are_packed_from_the_high_end() {
        let mut v = BitVector::default();
        v.resize(2, 0);
        v.set(0, EXISTS);
        assert_eq!(v.data, [0x40]);
        v.resize(5, EXISTS);
        assert_eq!(v.data, [0x45, 0x40]);
    }
}
