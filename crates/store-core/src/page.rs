//! Pages of the index: their bytes, and the references by which a page knows its children.
//!
//! A reference carries the child's CRC32C, so a torn, lost, stale or misdirected page write is seen by whoever follows it: a
//! tree whose root reference is right is right as a whole. A page takes as many units as its entries need (one, mostly), in
//! one or more runs, so no key or value is too long.

use crate::alloc::Run;
use crate::device::UNIT_BYTES;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};

const MAGIC: u32 = 0x6750_674c; // "LgPg"
const HEADER_BYTES: usize = 12;
/// Bytes a page aims at; only a single entry larger than this makes a larger page.
pub const PAGE_TARGET: usize = 4096;

/// Where a page is and what it must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// CRC32C of all its units.
    pub crc: u32,
    /// Its units.
    pub runs: Vec<Run>,
}
impl PageRef {
    /// The page's name in caches: its first unit.
    pub fn id(&self) -> u64 {
        self.runs[0].0
    }
    /// Units in all runs.
    pub fn units(&self) -> u64 {
        self.runs.iter().map(|r| u64::from(r.1)).sum()
    }
    fn encoded_len(&self) -> usize {
        6 + 12 * self.runs.len()
    }
}
impl Encode for PageRef {
    fn encode(&self, e: &mut Encoder) {
        e.u32(self.crc);
        e.u16(u16::try_from(self.runs.len()).expect("a page has few runs"));
        for (start, n) in &self.runs {
            e.u64(*start);
            e.u32(*n);
        }
    }
}
impl Decode for PageRef {
    const MIN_SIZE: usize = 18;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let bad = |value: u64| DencError::Invalid { what: "page reference", value };
        let crc = d.u32()?;
        let n = d.u16()? as usize;
        if n == 0 || n * 12 > d.remaining() {
            return Err(bad(n as u64));
        }
        let mut runs = Vec::with_capacity(n);
        for _ in 0..n {
            let run = (d.u64()?, d.u32()?);
            if run.1 == 0 || run.0 == 0 || run.0 >= u64::MAX >> 13 {
                return Err(bad(run.0));
            }
            runs.push(run);
        }
        Ok(PageRef { crc, runs })
    }
}

/// A page in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Keys and values, ascending.
    Leaf(Vec<(Bytes, Bytes)>),
    /// First keys and children, ascending, and the height over the leaves.
    Inner(u8, Vec<(Bytes, PageRef)>),
}

/// Bytes of a leaf's entry.
pub fn leaf_entry_len(key: &[u8], value: &[u8]) -> usize {
    8 + key.len() + value.len()
}
/// Bytes of an inner page's entry.
pub fn inner_entry_len(key: &[u8], child: &PageRef) -> usize {
    4 + key.len() + child.encoded_len()
}
/// Bytes that entries have in a page of the usual size.
pub const PAGE_ROOM: usize = PAGE_TARGET - HEADER_BYTES;

impl Page {
    /// Height: 0 for a leaf.
    pub fn level(&self) -> u8 {
        match self {
            Page::Leaf(_) => 0,
            Page::Inner(level, _) => *level,
        }
    }
    /// The page's bytes, padded to whole units.
    pub fn to_bytes(&self) -> Bytes {
        let mut e = Encoder::with_capacity(Features::ALL, PAGE_TARGET);
        e.u32(MAGIC);
        e.u8(1);
        e.u8(self.level());
        e.u16(0);
        match self {
            Page::Leaf(entries) => {
                e.count(entries.len());
                for (k, v) in entries {
                    e.blob(k);
                    e.blob(v);
                }
            }
            Page::Inner(_, entries) => {
                e.count(entries.len());
                for (k, child) in entries {
                    e.blob(k);
                    e.put(child);
                }
            }
        }
        let len = e.len().next_multiple_of(UNIT_BYTES as usize);
        let mut bytes: Vec<u8> = Vec::from(e.finish());
        bytes.resize(len, 0);
        bytes.into()
    }
    /// Reads a page; keys must ascend strictly.
    pub fn parse(bytes: &Bytes) -> Result<Page, DencError> {
        let bad = |what: &'static str, value: u64| DencError::Invalid { what, value };
        let mut d = Decoder::new(bytes);
        let magic = d.u32()?;
        if magic != MAGIC {
            return Err(bad("page magic", magic.into()));
        }
        let (version, level, _) = (d.u8()?, d.u8()?, d.u16()?);
        if version != 1 {
            return Err(bad("page version", version.into()));
        }
        fn check<T>(entries: &[(Bytes, T)], key: &Bytes) -> Result<(), DencError> {
            if entries.last().is_some_and(|last| last.0 >= *key) {
                return Err(DencError::Invalid { what: "order of keys", value: entries.len() as u64 });
            }
            Ok(())
        }
        if level == 0 {
            let n = d.count("leaf entries", 8)?;
            let mut entries = Vec::with_capacity(n);
            for _ in 0..n {
                let (k, v) = (d.blob()?, d.blob()?);
                check(&entries, &k)?;
                entries.push((k, v));
            }
            Ok(Page::Leaf(entries))
        } else {
            let n = d.count("inner entries", 4 + PageRef::MIN_SIZE)?;
            if n == 0 {
                return Err(bad("inner entries", 0));
            }
            let mut entries = Vec::with_capacity(n);
            for _ in 0..n {
                let (k, child) = (d.blob()?, d.get()?);
                check(&entries, &k)?;
                entries.push((k, child));
            }
            Ok(Page::Inner(level, entries))
        }
    }
    /// Memory it takes, about.
    pub fn cost(&self) -> usize {
        match self {
            Page::Leaf(e) => PAGE_TARGET + e.len() * 64,
            Page::Inner(_, e) => PAGE_TARGET + e.len() * 80,
        }
    }
}

/// Which child of an inner page a key belongs to.
pub fn child_index<T>(entries: &[(Bytes, T)], key: &[u8]) -> usize {
    entries.partition_point(|e| &e.0[..] <= key).saturating_sub(1)
}
