//! The superblock: which checkpoint is the newest, and where the journal goes on behind it.
//!
//! Units 0 and 1 of the data device hold two of them; generation `g` is written to unit `g % 2`, when all that it refers to
//! is durable. Mount takes the newest that is whole, so a torn one costs nothing.

use crate::device::UNIT_BYTES;
use crate::page::PageRef;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encoder, Features};
use types::Fsid;

/// Units at the start of the data device that are not allocated.
pub const FIXED_UNITS: u64 = 8;
const MAGIC: u64 = 0x6b6c_626f_6769_6c6f; // "oligoblk"
/// Format of everything in a store.
pub const FORMAT_VERSION: u16 = 1;
const BODY_MAX: usize = UNIT_BYTES as usize - 4;

/// The superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Name of the store; the journal's records bear it too.
    pub uuid: Fsid,
    /// Counts checkpoints.
    pub generation: u64,
    /// Units of the data device.
    pub data_units: u64,
    /// Bytes of the journal ring.
    pub journal_bytes: u64,
    /// Where the first record behind this checkpoint is, or will be.
    pub journal_pos: u64,
    /// That record's sequence number.
    pub journal_seq: u64,
    /// First object number not given out.
    pub next_nid: u64,
    /// Bytes of omap keys and values.
    pub omap_bytes: u64,
    /// Units of the index.
    pub index_units: u64,
    /// Root of the index.
    pub root: Option<PageRef>,
}

impl Superblock {
    /// Unit it is written to.
    pub fn unit(&self) -> u64 {
        self.generation % 2
    }
    /// One unit of bytes, its checksum last.
    ///
    /// # Panics
    /// When the root page is in more than 200 runs.
    pub fn to_unit(&self) -> Bytes {
        let mut e = Encoder::with_capacity(Features::ALL, UNIT_BYTES as usize);
        e.u64(MAGIC);
        e.u16(FORMAT_VERSION);
        e.put(&self.uuid);
        for v in [
            self.generation,
            self.data_units,
            self.journal_bytes,
            self.journal_pos,
            self.journal_seq,
            self.next_nid,
            self.omap_bytes,
            self.index_units,
        ] {
            e.u64(v);
        }
        e.bool(self.root.is_some());
        if let Some(root) = &self.root {
            e.put(root);
        }
        assert!(e.len() <= BODY_MAX, "the root page is in too many pieces");
        let mut bytes = Vec::from(e.finish());
        bytes.resize(BODY_MAX, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.into()
    }
    /// Reads one unit.
    pub fn parse(bytes: &Bytes) -> Result<Superblock, DencError> {
        let bad = |what: &'static str, value: u64| DencError::Invalid { what, value };
        if bytes.len() != UNIT_BYTES as usize {
            return Err(DencError::Short {
                what: "superblock",
                need: UNIT_BYTES as usize,
                have: bytes.len(),
            });
        }
        let found = crc32c::crc32c(&bytes[..BODY_MAX]);
        let mut tail = [0; 4];
        tail.copy_from_slice(&bytes[BODY_MAX..]);
        let mut d = Decoder::new(bytes);
        let magic = d.u64()?;
        if magic != MAGIC {
            return Err(bad("superblock magic", magic));
        }
        let version = d.u16()?;
        if version != FORMAT_VERSION {
            return Err(bad("store format version", version.into()));
        }
        let expected = u32::from_le_bytes(tail);
        if found != expected {
            return Err(DencError::Crc { what: "superblock", expected, found });
        }
        let uuid = Fsid::decode(&mut d)?;
        let mut v = [0u64; 8];
        for x in &mut v {
            *x = d.u64()?;
        }
        let root = if d.bool()? { Some(PageRef::decode(&mut d)?) } else { None };
        Ok(Superblock {
            uuid,
            generation: v[0],
            data_units: v[1],
            journal_bytes: v[2],
            journal_pos: v[3],
            journal_seq: v[4],
            next_nid: v[5],
            omap_bytes: v[6],
            index_units: v[7],
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_every_flipped_byte_is_seen() {
        let s = Superblock {
            uuid: Fsid([7; 16]),
            generation: 3,
            data_units: 1000,
            journal_bytes: 1 << 20,
            journal_pos: 4096,
            journal_seq: 77,
            next_nid: 5,
            omap_bytes: 6,
            index_units: 7,
            root: Some(PageRef { crc: 1, runs: vec![(9, 1), (20, 2)] }),
        };
        let b = s.to_unit();
        assert_eq!(Superblock::parse(&b).unwrap(), s);
        for i in 0..b.len() {
            let mut x = b.to_vec();
            x[i] ^= 0x10;
            assert!(Superblock::parse(&x.into()).is_err(), "byte {i}");
        }
    }
}
