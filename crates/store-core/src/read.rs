//! Reading: objects, xattrs, omap, lists. Every answer is the durable index with the newer layers in memory over it.

use crate::crc::RunCrc;
use crate::device::{Dev, UNIT_BYTES};
use crate::keys;
use crate::node::{CHUNK_UNITS, Chunk, Place};
use crate::state::{Name, State, chunk_of, split_unit};
use bytes::Bytes;
use objstore::{CollId, StoreError, StoreStatfs};
use std::collections::VecDeque;
use std::ops::Bound;
use std::rc::Rc;
use types::HObject;

/// Pairs read from the index at a time while layers are merged.
const BATCH: usize = 128;

/// Shorter reads are checksummed again by whoever needs that: it takes less than to put the sum together and to hand it on.
const KNOWN_CRC_BYTES_MIN: usize = 64 << 10;

/// A read that is not empty, in units.
struct Range {
    first: u64,
    last: u64,
    /// Bytes of the first unit that are not wanted.
    skip: usize,
    want: usize,
}
impl Range {
    fn unit_bytes(&self) -> usize {
        ((self.last + 1 - self.first) * UNIT_BYTES) as usize
    }
}

/// A piece of a read.
enum Piece {
    Zeros(u64),
    Mem(Bytes),
    /// Neighbouring units of the device: first one, checksums.
    Disk(u64, Vec<u32>),
}

impl State {
    /// Bytes of an object, checked.
    pub fn read(&mut self, nid: u64, off: u64, len: u64) -> Result<Bytes, StoreError> {
        let Some(range) = self.clip(nid, off, len) else { return Ok(Bytes::new()) };
        let pieces = self.pieces(nid, &range)?;
        let keep = range.skip..range.skip + range.want;
        if let [Piece::Mem(b)] = &pieces[..] {
            return Ok(b.slice(keep));
        }
        let mut out = Vec::with_capacity(range.unit_bytes());
        self.gather(nid, &range, pieces, &mut out, None)?;
        Ok(Bytes::from(out).slice(keep))
    }
    /// The same behind what `out` has; answers the checksum of a long piece of whole units.
    pub fn read_into(
        &mut self,
        nid: u64,
        off: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>, StoreError> {
        let Some(range) = self.clip(nid, off, len) else { return Ok(None) };
        let pieces = self.pieces(nid, &range)?;
        let start = out.len();
        out.reserve_exact(range.unit_bytes());
        let whole = range.skip == 0 && range.want == range.unit_bytes();
        let mut crc = (whole && range.want >= KNOWN_CRC_BYTES_MIN).then(RunCrc::default);
        self.gather(nid, &range, pieces, out, crc.as_mut())?;
        if range.skip > 0 {
            out.drain(start..start + range.skip);
        }
        out.truncate(start + range.want);
        Ok(crc.map(RunCrc::get))
    }
    /// The units that a read touches; `None` when it is empty.
    fn clip(&mut self, nid: u64, off: u64, len: u64) -> Option<Range> {
        let end = off.saturating_add(len).min(self.node(nid).rec.size);
        (off < end).then(|| Range {
            first: off / UNIT_BYTES,
            last: (end - 1) / UNIT_BYTES,
            skip: (off % UNIT_BYTES) as usize,
            want: (end - off) as usize,
        })
    }
    /// Where the units are.
    fn pieces(&mut self, nid: u64, range: &Range) -> Result<Vec<Piece>, StoreError> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut chunk: Option<(u32, Option<Rc<Chunk>>)> = None;
        for unit in range.first..=range.last {
            let (idx, i) = split_unit(unit);
            if chunk.as_ref().is_none_or(|c| c.0 != idx) {
                chunk = Some((idx, self.chunk(nid, idx)?));
            }
            let c = chunk.as_ref().and_then(|c| c.1.as_ref());
            if let Some(b) = c.and_then(|c| c.mem(i)) {
                pieces.push(Piece::Mem(b.clone()));
                continue;
            }
            let place = c.map_or(Place::Hole, |c| c.place(i));
            if let Place::Disk(at, _) = place
                && let Some(b) = self.unwritten_unit(at)
            {
                pieces.push(Piece::Mem(b));
                continue;
            }
            match (place, pieces.last_mut()) {
                (Place::Bad, _) => return Err(self.corrupt(nid, unit)),
                (Place::Hole, Some(Piece::Zeros(n))) => *n += 1,
                (Place::Hole, _) => pieces.push(Piece::Zeros(1)),
                (Place::Disk(at, crc), Some(Piece::Disk(start, crcs)))
                    if *start + crcs.len() as u64 == at =>
                {
                    crcs.push(crc);
                }
                (Place::Disk(at, crc), _) => pieces.push(Piece::Disk(at, vec![crc])),
            }
        }
        Ok(pieces)
    }
    /// Appends the units and adds their checksums up.
    fn gather(
        &mut self,
        nid: u64,
        range: &Range,
        pieces: Vec<Piece>,
        out: &mut Vec<u8>,
        mut crc: Option<&mut RunCrc>,
    ) -> Result<(), StoreError> {
        let start = out.len();
        for piece in pieces {
            let unit = range.first + (out.len() - start) as u64 / UNIT_BYTES;
            match piece {
                Piece::Zeros(n) => {
                    let from = out.len();
                    out.resize(from + (n * UNIT_BYTES) as usize, 0);
                    if let Some(sum) = &mut crc {
                        let zeros = crc32c::crc32c(&out[from..from + UNIT_BYTES as usize]);
                        (0..n).for_each(|_| sum.push(zeros));
                    }
                }
                Piece::Mem(b) => {
                    if let Some(sum) = &mut crc {
                        sum.push(crc32c::crc32c(&b));
                    }
                    out.extend_from_slice(&b);
                }
                Piece::Disk(at, crcs) => {
                    self.read_units(nid, unit, at, &crcs, out)?;
                    if let Some(sum) = &mut crc {
                        crcs.iter().for_each(|c| sum.push(*c));
                    }
                }
            }
        }
        Ok(())
    }
    fn read_units(
        &mut self,
        nid: u64,
        unit: u64,
        at: u64,
        crcs: &[u32],
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let len = crcs.len() * UNIT_BYTES as usize;
        let mut done = 0;
        let mut check = |bytes: &[u8]| {
            let units = bytes.chunks_exact(UNIT_BYTES as usize).zip(&crcs[done..]);
            let good = units.take_while(|(data, crc)| crc32c::crc32c(data) == **crc).count();
            done += good;
            good * UNIT_BYTES as usize == bytes.len()
        };
        match self.dev.read_checked(Dev::Data, at * UNIT_BYTES, len, out, &mut check) {
            Ok(true) if done == crcs.len() => Ok(()),
            Ok(_) => Err(self.corrupt(nid, unit + done as u64)),
            Err(_) => Err(self.corrupt(nid, unit)),
        }
    }
    fn corrupt(&mut self, nid: u64, unit: u64) -> StoreError {
        StoreError::Corrupt { oid: self.node(nid).oid.clone(), offset: unit * UNIT_BYTES }
    }

    /// Allocated ranges.
    pub fn extents(&mut self, nid: u64, off: u64, len: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let size = self.node(nid).rec.size;
        let end = off.saturating_add(len).min(size);
        let mut out: Vec<(u64, u64)> = Vec::new();
        if off >= end {
            return Ok(out);
        }
        self.load_chunks(nid, chunk_of(off), chunk_of(end - 1))?;
        let range = chunk_of(off)..=chunk_of(end - 1);
        for (idx, slot) in self.node(nid).chunks.range(range) {
            let Some(chunk) = &slot.chunk else { continue };
            for i in (0..CHUNK_UNITS).filter(|i| chunk.is_allocated(*i)) {
                let start = (u64::from(*idx) * CHUNK_UNITS as u64 + i as u64) * UNIT_BYTES;
                let (a, b) = (start.max(off), (start + UNIT_BYTES).min(end));
                match out.last_mut() {
                    _ if a >= b => {}
                    Some(last) if last.0 + last.1 == a => last.1 += b - a,
                    _ => out.push((a, b - a)),
                }
            }
        }
        Ok(out)
    }

    /// One omap value.
    pub fn omap_get(&mut self, nid: u64, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let node = self.node(nid);
        for layer in [Some(&node.active), node.frozen.as_deref()].into_iter().flatten() {
            if let Some(v) = layer.map.get(key) {
                return Ok(v.clone());
            }
            if layer.hides(key) {
                return Ok(None);
            }
        }
        if !node.in_tree {
            return Ok(None);
        }
        self.index_get(&keys::omap(nid, key))
    }

    /// Omap pairs behind `after`, ascending: a merge of both layers and the index.
    pub fn omap_list(
        &mut self,
        nid: u64,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let node = &self.nodes[&nid];
        let frozen = node.frozen.clone();
        let end = keys::nid_range(keys::OMAP, nid).1;
        let mut from = match after {
            None => keys::nid_range(keys::OMAP, nid).0,
            Some(k) => successor(keys::omap(nid, k)),
        };
        let mut tree: VecDeque<(Bytes, Bytes)> = VecDeque::new();
        let mut tree_ended = !node.in_tree;
        let bound = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut a = node.active.map.range::<[u8], _>((bound, Bound::Unbounded)).peekable();
        let mut f = frozen.iter().flat_map(|l| l.map.range::<[u8], _>((bound, Bound::Unbounded))).peekable();
        let mut out = Vec::new();
        while out.len() < max {
            if tree.is_empty() && !tree_ended {
                let some = match self.tree.scan(&*self.dev, &from, &end, BATCH) {
                    Ok(some) => some,
                    Err(e) => {
                        drop((a, f));
                        return Err(self.fail(e));
                    }
                };
                tree_ended = some.len() < BATCH;
                if let Some((k, _)) = some.last() {
                    from = successor(k.clone());
                }
                tree.extend(some.into_iter().map(|(k, v)| (k.slice(9..), v)));
            }
            let heads = [a.peek().map(|x| x.0), f.peek().map(|x| x.0), tree.front().map(|x| &x.0)];
            let Some(key) = heads.into_iter().flatten().min().cloned() else { break };
            let of_tree = if tree.front().is_some_and(|x| x.0 == key) { tree.pop_front() } else { None };
            let of_tree = of_tree.map(|x| x.1);
            let of_frozen = f.next_if(|x| *x.0 == key).map(|x| x.1.clone());
            let of_active = a.next_if(|x| *x.0 == key).map(|x| x.1.clone());
            let value = match of_active {
                Some(v) => v,
                None if node.active.hides(&key) => None,
                None => match of_frozen {
                    Some(v) => v,
                    None if frozen.as_ref().is_some_and(|l| l.hides(&key)) => None,
                    None => of_tree,
                },
            };
            if let Some(v) = value {
                out.push((key, v));
            }
        }
        Ok(out)
    }

    /// Objects of a collection from `start` on, ascending.
    pub fn list(&mut self, coll: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError> {
        self.check_alive()?;
        if !self.colls.contains(&coll) {
            return Err(StoreError::NoColl(coll));
        }
        if start.max {
            return Ok(Vec::new());
        }
        let (mut from, end) = State::object_range(coll, start);
        let mut tree: VecDeque<HObject> = VecDeque::new();
        let mut tree_ended = false;
        let empty = Default::default();
        let names = self.names.get(&coll).unwrap_or(&empty);
        let mut cached = names.range(start..).peekable();
        let mut out = Vec::new();
        while out.len() < max {
            if tree.is_empty() && !tree_ended {
                let some = match self.tree.scan(&*self.dev, &from, &end, BATCH) {
                    Ok(some) => some,
                    Err(e) => {
                        drop(cached);
                        return Err(self.fail(e));
                    }
                };
                tree_ended = some.len() < BATCH;
                for (k, _) in &some {
                    let Some((_, oid)) = keys::parse_object(k) else {
                        drop(cached);
                        return Err(self.fail("index: object key"));
                    };
                    tree.push_back(oid);
                }
                if let Some((k, _)) = some.last() {
                    from = successor(k.clone());
                }
            }
            let next = match (cached.peek(), tree.front()) {
                (Some((c, _)), Some(t)) => (*c).min(t).clone(),
                (Some((c, _)), None) => (*c).clone(),
                (None, Some(t)) => t.clone(),
                (None, None) => break,
            };
            if tree.front() == Some(&next) {
                tree.pop_front();
            }
            let known = cached.next_if(|c| *c.0 == next).map(|c| *c.1);
            if !matches!(known, Some(Name::Gone(_))) {
                out.push(next);
            }
        }
        Ok(out)
    }

    /// Space and usage.
    pub fn statfs(&self) -> StoreStatfs {
        let free = self.space.free_soon().saturating_sub(self.deferred_units);
        StoreStatfs {
            total: self.space.units() * UNIT_BYTES,
            available: free.saturating_sub(self.reserve_units()) * UNIT_BYTES,
            allocated: (self.space.units() - self.space.free_soon())
                .saturating_sub(self.index_units + crate::superblock::FIXED_UNITS)
                .saturating_add(self.deferred_units)
                * UNIT_BYTES,
            data_stored: self.data_units * UNIT_BYTES,
            omap_allocated: self.omap_bytes,
            internal_metadata: (self.index_units * UNIT_BYTES).saturating_sub(self.omap_bytes)
                + self.ring.size,
        }
    }
}

/// The least key behind `key`.
fn successor(key: Bytes) -> Bytes {
    let mut k = Vec::from(key);
    k.push(0);
    k.into()
}
