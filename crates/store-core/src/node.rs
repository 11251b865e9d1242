//! An object in memory: its record ([`Rec`]), its extent chunks ([`Chunk`]) and its omap changes ([`OmapLayer`]).
//!
//! All three sit behind `Rc`, so that a checkpoint freezes them by taking a reference and the first change behind the
//! freeze copies one chunk or one record, not the object.

use crate::device::UNIT_BYTES;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use objstore::CollId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use types::HObject;

/// Units of one extent chunk.
pub const CHUNK_UNITS: usize = 64;
/// Bytes of one extent chunk.
pub const CHUNK_BYTES: u64 = CHUNK_UNITS as u64 * UNIT_BYTES;

/// Where a unit of an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it reads as zeros.
    Hole,
    /// Lost: a part of it was overwritten while the rest could not be read. Reads fail until all of it is written.
    Bad,
    /// In this unit of the data device, with this CRC32C.
    Disk(u64, u32),
}

/// [`Place`] in 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    lo: u32,
    hi: u32,
    crc: u32,
}
const HOLE: Unit = Unit { lo: 0, hi: 0, crc: 0 };
const BAD: Unit = Unit { lo: u32::MAX, hi: u32::MAX, crc: 0 };

/// 64 neighbouring units of an object. A unit's newest bytes are in `mem` when they have not been written home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    units: [Unit; CHUNK_UNITS],
    mem: Vec<(u8, Bytes)>,
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk { units: [HOLE; CHUNK_UNITS], mem: Vec::new() }
    }
}

impl Chunk {
    /// The unit's home; what [`Chunk::mem`] has is newer.
    pub fn place(&self, i: usize) -> Place {
        match self.units[i] {
            HOLE => Place::Hole,
            BAD => Place::Bad,
            u => Place::Disk(u64::from(u.hi) << 32 | u64::from(u.lo), u.crc),
        }
    }
    /// Sets the unit's home; answers the old one.
    pub fn set_place(&mut self, i: usize, place: Place) -> Place {
        let old = self.place(i);
        self.units[i] = match place {
            Place::Hole => HOLE,
            Place::Bad => BAD,
            Place::Disk(unit, crc) => Unit { lo: unit as u32, hi: (unit >> 32) as u32, crc },
        };
        old
    }
    /// The unit's bytes when they are not home yet.
    pub fn mem(&self, i: usize) -> Option<&Bytes> {
        let at = self.mem.binary_search_by_key(&(i as u8), |m| m.0).ok()?;
        Some(&self.mem[at].1)
    }
    /// Sets or takes away the unit's bytes in memory; answers the old ones.
    pub fn set_mem(&mut self, i: usize, data: Option<Bytes>) -> Option<Bytes> {
        match (self.mem.binary_search_by_key(&(i as u8), |m| m.0), data) {
            (Ok(at), Some(new)) => Some(std::mem::replace(&mut self.mem[at].1, new)),
            (Ok(at), None) => Some(self.mem.remove(at).1),
            (Err(at), Some(new)) => {
                self.mem.insert(at, (i as u8, new));
                None
            }
            (Err(_), None) => None,
        }
    }
    /// Units in memory, ascending.
    pub fn mem_units(&self) -> &[(u8, Bytes)] {
        &self.mem
    }
    /// True when the unit has bytes or is bad.
    pub fn is_allocated(&self, i: usize) -> bool {
        self.units[i] != HOLE || self.mem(i).is_some()
    }
    /// Number of units that are not holes.
    pub fn allocated(&self) -> u64 {
        (0..CHUNK_UNITS).filter(|i| self.is_allocated(*i)).count() as u64
    }
    /// True when all is hole.
    pub fn is_empty(&self) -> bool {
        self.mem.is_empty() && self.units.iter().all(|u| *u == HOLE)
    }
}

impl Encode for Chunk {
    /// Runs of units: `start u8, count u8, kind u8` (1 = disk: `first unit u64, crc u32 * count`; 2 = bad). What is in
    /// memory must be home by now.
    fn encode(&self, e: &mut Encoder) {
        assert!(self.mem.is_empty(), "a chunk goes to the index when all of it is home");
        e.u8(1);
        let mut i = 0;
        while i < CHUNK_UNITS {
            let start = i;
            i += 1;
            match self.place(start) {
                Place::Hole => {}
                Place::Bad => {
                    while i < CHUNK_UNITS && self.place(i) == Place::Bad {
                        i += 1;
                    }
                    e.raw(&[start as u8, (i - start) as u8, 2]);
                }
                Place::Disk(unit, _) => {
                    let next = |i: usize| matches!(self.place(i), Place::Disk(u, _) if u == unit + (i - start) as u64);
                    while i < CHUNK_UNITS && next(i) {
                        i += 1;
                    }
                    e.raw(&[start as u8, (i - start) as u8, 1]);
                    e.u64(unit);
                    for k in start..i {
                        e.u32(self.units[k].crc);
                    }
                }
            }
        }
    }
}

impl Decode for Chunk {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let bad = |value: u64| DencError::Invalid { what: "extent chunk", value };
        let version = d.u8()?;
        if version != 1 {
            return Err(bad(version.into()));
        }
        let mut c = Chunk::default();
        let mut at = 0;
        while !d.is_empty() {
            let (start, n, kind) = (d.u8()? as usize, d.u8()? as usize, d.u8()?);
            if start < at || n == 0 || start + n > CHUNK_UNITS {
                return Err(bad(start as u64));
            }
            at = start + n;
            match kind {
                1 => {
                    let unit = d.u64()?;
                    if unit == 0 || unit.checked_add(n as u64).is_none_or(|end| end >= u64::MAX >> 1) {
                        return Err(bad(unit));
                    }
                    for k in 0..n {
                        c.set_place(start + k, Place::Disk(unit + k as u64, d.u32()?));
                    }
                }
                2 => (start..at).for_each(|k| {
                    c.set_place(k, Place::Bad);
                }),
                other => return Err(bad(other.into())),
            }
        }
        Ok(c)
    }
}

/// The record of an object: all but its extents and omap pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rec {
    /// The object's number.
    pub nid: u64,
    /// Length in bytes.
    pub size: u64,
    /// Omap header.
    pub header: Bytes,
    /// Xattrs, ascending by name.
    pub attrs: Vec<(Bytes, Bytes)>,
}

impl Rec {
    /// One xattr.
    pub fn attr(&self, name: &[u8]) -> Option<&Bytes> {
        let at = self.attrs.binary_search_by(|a| a.0[..].cmp(name)).ok()?;
        Some(&self.attrs[at].1)
    }
    /// Sets one xattr.
    pub fn set_attr(&mut self, name: Bytes, value: Bytes) {
        match self.attrs.binary_search_by(|a| a.0.cmp(&name)) {
            Ok(at) => self.attrs[at].1 = value,
            Err(at) => self.attrs.insert(at, (name, value)),
        }
    }
    /// Removes one xattr.
    pub fn rm_attr(&mut self, name: &[u8]) {
        if let Ok(at) = self.attrs.binary_search_by(|a| a.0[..].cmp(name)) {
            self.attrs.remove(at);
        }
    }
}
impl Encode for Rec {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.nid);
            e.u64(self.size);
            e.blob(&self.header);
            e.count(self.attrs.len());
            for (name, value) in &self.attrs {
                e.blob(name);
                e.blob(value);
            }
        });
    }
}
impl Decode for Rec {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("object record", 1)?;
        let (nid, size, header) = (d.u64()?, d.u64()?, d.blob()?);
        let n = d.count("xattrs", 8)?;
        let mut attrs: Vec<(Bytes, Bytes)> = Vec::with_capacity(n);
        for _ in 0..n {
            let pair = (d.blob()?, d.blob()?);
            if attrs.last().is_some_and(|last| last.0 >= pair.0) {
                return Err(DencError::Invalid { what: "order of xattrs", value: attrs.len() as u64 });
            }
            attrs.push(pair);
        }
        Ok(Rec { nid, size, header, attrs })
    }
}
impl Rec {
    /// The record's bytes.
    pub fn to_bytes(&self) -> Bytes {
        denc::to_bytes(self, Features::ALL)
    }
}

/// Omap changes of one generation over those below it: removed ranges first, then single keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OmapLayer {
    /// `None` removes the key from what is below.
    pub map: BTreeMap<Bytes, Option<Bytes>>,
    /// Ranges of keys (no end: all behind) removed from what is below; ascending, apart from each other.
    pub dels: Vec<(Bytes, Option<Bytes>)>,
}
impl OmapLayer {
    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty() && self.dels.is_empty()
    }
    /// True when what is below must not be seen for `key`.
    pub fn hides(&self, key: &[u8]) -> bool {
        let at = self.dels.partition_point(|d| &d.0[..] <= key);
        at > 0 && self.dels[at - 1].1.as_ref().is_none_or(|end| key < &end[..])
    }
    /// Removes `first..last` (no end: all behind).
    pub fn rm_range(&mut self, first: Bytes, last: Option<Bytes>) {
        if last.as_ref().is_some_and(|l| *l <= first) {
            return;
        }
        let end = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        while let Some(k) =
            self.map.range::<Bytes, _>((Bound::Included(&first), end)).next().map(|(k, _)| k.clone())
        {
            self.map.remove(&k);
        }
        // Joins with every range that overlaps or touches.
        let from = self.dels.partition_point(|d| d.1.as_ref().is_some_and(|e| *e < first));
        let to = match &last {
            Some(l) => self.dels.partition_point(|d| d.0 <= *l),
            None => self.dels.len(),
        };
        let (mut first, mut last) = (first, last);
        for (a, b) in self.dels.drain(from..to.max(from)) {
            first = first.min(a);
            last = match (last, b) {
                (Some(x), Some(y)) => Some(x.max(y)),
                _ => None,
            };
        }
        self.dels.insert(from, (first, last));
    }
}

/// An extent chunk in the cache.
#[derive(Debug, Clone)]
pub struct Slot {
    /// `None`: all hole.
    pub chunk: Option<Rc<Chunk>>,
    /// Generation of the last change.
    pub generation: u64,
}

/// An object in the cache.
#[derive(Debug)]
pub struct Node {
    /// Its collection.
    pub coll: CollId,
    /// Its name.
    pub oid: HObject,
    /// Its record.
    pub rec: Rc<Rec>,
    /// Generation of the record's last change.
    pub rec_gen: u64,
    /// Chunks that are known.
    pub chunks: BTreeMap<u32, Slot>,
    /// Omap changes of this generation.
    pub active: OmapLayer,
    /// Omap changes that the running checkpoint writes.
    pub frozen: Option<Rc<OmapLayer>>,
    /// Generation of the last change of anything.
    pub generation: u64,
    /// The index may have chunks or omap pairs of it.
    pub in_tree: bool,
    /// Used since the cache's hand went by.
    pub touched: bool,
    /// What was written last is likely to be read here.
    pub read_here: bool,
}

impl Node {
    /// An object that was just created.
    pub fn new(coll: CollId, oid: HObject, nid: u64) -> Self {
        let rec = Rc::new(Rec { nid, ..Rec::default() });
        Node::loaded(coll, oid, rec, false)
    }
    /// An object with a record.
    pub fn loaded(coll: CollId, oid: HObject, rec: Rc<Rec>, in_tree: bool) -> Self {
        Node {
            coll,
            oid,
            rec,
            rec_gen: 0,
            chunks: BTreeMap::new(),
            active: OmapLayer::default(),
            frozen: None,
            generation: 0,
            in_tree,
            touched: true,
            read_here: false,
        }
    }
    /// The record, to be changed in generation `cur`.
    pub fn rec_mut(&mut self, cur: u64) -> &mut Rec {
        self.rec_gen = cur;
        Rc::make_mut(&mut self.rec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_from_its_bytes() {
        let mut c = Chunk::default();
        for i in [0, 1, 2, 5, 9, 10, 63] {
            c.set_place(i, Place::Disk(1000 + i as u64, i as u32 * 7));
        }
        c.set_place(20, Place::Bad);
        c.set_place(21, Place::Disk(1 << 40, 3));
        let b = denc::to_bytes(&c, Features::ALL);
        assert_eq!(denc::from_bytes_exact::<Chunk>(&b).unwrap(), c);
        for n in 1..b.len() {
            let _ = denc::from_bytes_exact::<Chunk>(&b.slice(..n));
        }
    }

    #[test]
    fn removed_ranges_join_and_hide() {
        let k = |n: u32| Bytes::from(format!("{n:04}"));
        let mut l = OmapLayer::default();
        for i in 0..50 {
            l.map.insert(k(i), Some(k(i)));
        }
        l.rm_range(k(0), Some(k(10)));
        l.rm_range(k(10), Some(k(20)));
        l.rm_range(k(30), Some(k(35)));
        assert_eq!(l.dels.len(), 2);
        assert!(l.hides(&k(0)) && l.hides(&k(19)) && !l.hides(&k(20)) && l.hides(&k(30)) && !l.hides(&k(35)));
        l.rm_range(k(5), Some(k(33)));
        assert_eq!(l.dels, vec![(k(0), Some(k(35)))]);
        l.rm_range(k(40), None);
        l.rm_range(k(20), Some(k(40)));
        assert_eq!(l.dels, vec![(k(0), None)]);
        assert!(l.map.is_empty());
    }
}
