//! Applying transactions to the state: for `queue`, which also writes them down for the journal, and for replay.
//!
//! Both run the same code on the same kind of state (a checkpoint plus all transactions behind it), so replay needs no more
//! than the ops: nothing that a checkpoint refers to is overwritten before the next one is durable, and a partial unit
//! reads at replay what it read then.

use crate::alloc::Run;
use crate::device::UNIT_BYTES;
use crate::journal::{JournalOp, Seg, TxnWriter};
use crate::keys;
use crate::node::{Node, Place, Slot};
use crate::state::{Name, State, UnitData, UnitWrite, Waiting, chunk_of, split_unit};
use bytes::{Bytes, BytesMut};
use objstore::{CollId, CommitToken, StoreError, Transaction, TxnOp};
use std::rc::Rc;
use types::HObject;

/// A copy in memory of its own: transactions share the buffers of the messages that brought them, and what the state keeps
/// must not keep those.
fn own(b: &Bytes) -> Bytes {
    if b.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(b) }
}

impl State {
    /// Admits, applies and queues a transaction.
    pub fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError> {
        self.check_alive()?;
        self.admit(&txn)?;
        let mut w = TxnWriter::default();
        let mut data = Vec::new();
        let read_soon = txn.read_here;
        for op in txn.ops {
            match op {
                TxnOp::Write { coll, oid, off, data: bytes } => {
                    let segs = self.place_write(off, &bytes, read_soon, &mut data);
                    w.write(coll, &oid, off, &segs);
                    self.write(coll, &oid, off, segs, read_soon)?;
                }
                op => {
                    w.op(&op);
                    self.apply(op)?;
                }
            }
        }
        let bytes = w.finish();
        self.waiting_bytes += bytes.len() as u64 + data.iter().map(|d| d.bytes.len() as u64).sum::<u64>();
        self.waiting.push_back(Waiting { token, bytes, data });
        self.evict();
        Ok(())
    }
    /// Applies a transaction of the journal.
    pub fn replay(&mut self, ops: Vec<JournalOp>) -> Result<(), StoreError> {
        for op in ops {
            match op {
                JournalOp::Op(op) => self.apply(op)?,
                JournalOp::Write { coll, oid, off, segs } => self.write(coll, &oid, off, segs, false)?,
            }
        }
        Ok(())
    }

    /// Refuses growth that the reserve is not for.
    fn admit(&mut self, txn: &Transaction) -> Result<(), StoreError> {
        let (mut units, mut meta, mut frees, mut own) = (0u64, 0u64, false, true);
        for op in &txn.ops {
            match op {
                TxnOp::Write { coll, off, data, .. } => {
                    own &= *coll == CollId::Meta;
                    units += (off + data.len() as u64).div_ceil(UNIT_BYTES) - off / UNIT_BYTES;
                }
                TxnOp::CloneRange { len, .. } => {
                    own = false;
                    // Shared units cost nothing; unaligned ranges are copied.
                    units += len.div_ceil(UNIT_BYTES).min(64) + 1;
                }
                TxnOp::Clone { .. } => (own, units) = (false, units + 1),
                TxnOp::OmapSet { coll, pairs, .. } => {
                    own &= *coll == CollId::Meta;
                    meta += pairs.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>();
                }
                TxnOp::SetAttr { coll, value, .. } => {
                    own &= *coll == CollId::Meta;
                    meta += value.len() as u64;
                }
                TxnOp::Remove { .. }
                | TxnOp::Truncate { .. }
                | TxnOp::OmapRm { .. }
                | TxnOp::OmapClear { .. }
                | TxnOp::OmapRmRange { .. }
                | TxnOp::RmAttr { .. }
                | TxnOp::RemoveColl { .. } => frees = true,
                TxnOp::OmapSetHeader { .. }
                | TxnOp::CreateColl { .. }
                | TxnOp::Touch { .. }
                | TxnOp::Zero { .. }
                | TxnOp::Rename { .. } => {}
            }
        }
        let reserve = self.reserve_units();
        let need = units + meta.div_ceil(UNIT_BYTES);
        let used = self.deferred_units + need;
        let soon = self.space.free_soon();
        // Data needs the whole reserve left over; metadata alone (PG logs, peering, the OSD's own) half of it; what
        // frees space may go down to a quarter, which is for the checkpoint itself.
        let keep = match (units, frees || own) {
            (0, true) => return Ok(()),
            (_, true) if own => reserve / 4,
            (0, false) => reserve / 2,
            _ => reserve,
        };
        if soon < used + keep {
            return Err(StoreError::Full);
        }
        let short = |s: &State| s.space.free_now() < used + keep.min(reserve / 2);
        if short(self) && self.checkpoint.is_none() {
            self.retire(usize::MAX);
        }
        if short(self) {
            self.want_checkpoint = true;
            return Err(StoreError::Full);
        }
        Ok(())
    }
    /// Units that are never given to data.
    pub fn reserve_units(&self) -> u64 {
        (self.space.units() / 32).clamp(256, 262_144).min(self.space.units() / 4)
    }

    /// Cuts a write in pieces: the whole units of a big one go to fresh extents.
    fn place_write(&mut self, off: u64, data: &Bytes, read_soon: bool, out: &mut Vec<UnitWrite>) -> Vec<Seg> {
        let end = off + data.len() as u64;
        let (first, last) = (off.next_multiple_of(UNIT_BYTES), end - end % UNIT_BYTES);
        if last < first || last - first < self.config.big_write_bytes {
            return vec![Seg::Inline(data.clone())];
        }
        let Some(runs) = self.space.take(((last - first) / UNIT_BYTES) as u32) else {
            return vec![Seg::Inline(data.clone())];
        };
        let (a, b) = ((first - off) as usize, (last - off) as usize);
        let body = data.slice(a..b);
        let crcs = body.chunks_exact(UNIT_BYTES as usize).map(crc32c::crc32c).collect();
        let mut at = 0;
        for (start, n) in &runs {
            let len = *n as usize * UNIT_BYTES as usize;
            out.push(UnitWrite { unit: *start, bytes: body.slice(at..at + len), read_soon });
            self.unwritten.insert(*start, body.slice(at..at + len));
            at += len;
        }
        let mut segs = Vec::with_capacity(3);
        if a > 0 {
            segs.push(Seg::Inline(data.slice(..a)));
        }
        segs.push(Seg::Extent { runs, crcs });
        if b < data.len() {
            segs.push(Seg::Inline(data.slice(b..)));
        }
        segs
    }

    fn write(
        &mut self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        segs: Vec<Seg>,
        read_here: bool,
    ) -> Result<(), StoreError> {
        let nid = self.lookup_or_create(coll, oid)?;
        let mut at = off;
        for seg in segs {
            let len = seg.len();
            match seg {
                Seg::Inline(bytes) => self.write_bytes(nid, at, bytes)?,
                Seg::Extent { runs, crcs } => self.write_units(nid, at / UNIT_BYTES, &runs, &crcs)?,
            }
            at += len;
        }
        // Whoever writes parts of units reads the rest.
        self.node(nid).read_here = read_here || !(off | at).is_multiple_of(UNIT_BYTES);
        self.grow(nid, at);
        Ok(())
    }
    fn grow(&mut self, nid: u64, size: u64) {
        let cur = self.cur;
        if self.node(nid).rec.size < size {
            self.node_mut(nid).rec_mut(cur).size = size;
        }
    }
    fn write_units(&mut self, nid: u64, first: u64, runs: &[Run], crcs: &[u32]) -> Result<(), StoreError> {
        let places = runs.iter().flat_map(|(start, n)| *start..*start + u64::from(*n));
        for (i, (at, crc)) in places.zip(crcs).enumerate() {
            self.set_unit(nid, first + i as u64, Place::Disk(at, *crc), None)?;
        }
        Ok(())
    }
    fn write_bytes(&mut self, nid: u64, off: u64, data: Bytes) -> Result<(), StoreError> {
        let mut done = 0;
        while done < data.len() {
            let at = off + done as u64;
            let (unit, skip) = (at / UNIT_BYTES, (at % UNIT_BYTES) as usize);
            let n = (UNIT_BYTES as usize - skip).min(data.len() - done);
            // What stays in memory must not keep a whole receive buffer alive.
            let piece = Bytes::copy_from_slice(&data[done..done + n]);
            if n == UNIT_BYTES as usize {
                self.set_unit(nid, unit, Place::Hole, Some(piece))?;
            } else {
                self.patch_unit(nid, unit, skip, &piece)?;
            }
            done += n;
        }
        Ok(())
    }
    /// Overwrites a part of a unit. One that cannot be read stays bad until all of it is written.
    fn patch_unit(&mut self, nid: u64, unit: u64, skip: usize, piece: &[u8]) -> Result<(), StoreError> {
        let size = self.node(nid).rec.size;
        let unit_end = unit * UNIT_BYTES + (skip + piece.len()) as u64;
        let all_of_it = skip == 0 && unit_end >= size;
        let base = if all_of_it { UnitData::Hole } else { self.unit_data(nid, unit)? };
        let mut new = match base {
            UnitData::Bad => return self.set_unit(nid, unit, Place::Bad, None),
            UnitData::Hole => BytesMut::zeroed(UNIT_BYTES as usize),
            UnitData::Bytes(b) => BytesMut::from(&b[..]),
        };
        new[skip..skip + piece.len()].copy_from_slice(piece);
        self.set_unit(nid, unit, Place::Hole, Some(new.freeze()))
    }
    /// Makes a range a hole; the object's size stays.
    fn punch(&mut self, nid: u64, off: u64, end: u64) -> Result<(), StoreError> {
        static ZEROS: [u8; UNIT_BYTES as usize] = [0; UNIT_BYTES as usize];
        let end = end.min(self.node(nid).rec.size);
        if off >= end {
            return Ok(());
        }
        self.load_chunks(nid, chunk_of(off), chunk_of(end - 1))?;
        let indices: Vec<u32> =
            self.node(nid).chunks.range(chunk_of(off)..=chunk_of(end - 1)).map(|(i, _)| *i).collect();
        let size = self.node(nid).rec.size;
        for idx in indices {
            let Some(chunk) = self.chunk(nid, idx)? else { continue };
            let first = u64::from(idx) * crate::node::CHUNK_UNITS as u64;
            for i in 0..crate::node::CHUNK_UNITS {
                if !chunk.is_allocated(i) {
                    continue;
                }
                let start = (first + i as u64) * UNIT_BYTES;
                let stop = start + UNIT_BYTES;
                if stop <= off || start >= end {
                    continue;
                }
                // Behind the object's end a unit is zeros, so the last one goes as a whole too.
                if off <= start && (stop <= end || end == size) {
                    self.set_unit(nid, first + i as u64, Place::Hole, None)?;
                } else {
                    let (a, b) = (off.max(start) - start, end.min(stop) - start);
                    self.patch_unit(nid, first + i as u64, a as usize, &ZEROS[..(b - a) as usize])?;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, op: TxnOp) -> Result<(), StoreError> {
        let cur = self.cur;
        match op {
            TxnOp::CreateColl { coll } => {
                assert!(self.colls.insert(coll), "collection {coll:?} exists");
                self.dirty_colls.insert(coll);
            }
            TxnOp::RemoveColl { coll } => self.remove_coll(coll)?,
            TxnOp::Touch { coll, oid } => {
                self.lookup_or_create(coll, &oid)?;
            }
            TxnOp::Write { coll, oid, off, data } => {
                self.write(coll, &oid, off, vec![Seg::Inline(data)], false)?;
            }
            TxnOp::Zero { coll, oid, off, len } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                let end = off.checked_add(len).expect("a range ends below 2^64");
                self.punch(nid, off, end)?;
                self.grow(nid, end);
            }
            TxnOp::Truncate { coll, oid, size } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.punch(nid, size, u64::MAX)?;
                self.node_mut(nid).rec_mut(cur).size = size;
            }
            TxnOp::Remove { coll, oid } => self.remove(coll, &oid)?,
            TxnOp::SetAttr { coll, oid, name, value } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.dirty_cost += value.len() as u64;
                self.node_mut(nid).rec_mut(cur).set_attr(own(&name), own(&value));
            }
            TxnOp::RmAttr { coll, oid, name } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.node_mut(nid).rec_mut(cur).rm_attr(&name);
            }
            TxnOp::Clone { coll, src, dst } => self.clone_object(coll, &src, &dst)?,
            TxnOp::CloneRange { coll, src, dst, src_off, len, dst_off } => {
                self.clone_range(coll, &src, &dst, src_off, len, dst_off)?;
            }
            TxnOp::OmapSet { coll, oid, pairs } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.dirty_cost += pairs.iter().map(|(k, v)| (k.len() + v.len() + 96) as u64).sum::<u64>();
                let node = self.node_mut(nid);
                node.active.map.extend(pairs.iter().map(|(k, v)| (own(k), Some(own(v)))));
            }
            TxnOp::OmapRm { coll, oid, keys } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.dirty_cost += keys.iter().map(|k| k.len() as u64 + 96).sum::<u64>();
                let node = self.node_mut(nid);
                // Below this layer there is nothing to hide when the object is new and nothing is frozen.
                let hide = node.in_tree || node.frozen.is_some();
                for k in keys {
                    if hide && !node.active.hides(&k) {
                        node.active.map.insert(own(&k), None);
                    } else {
                        node.active.map.remove(&k);
                    }
                }
            }
            TxnOp::OmapRmRange { coll, oid, first, last } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.dirty_cost += 128;
                self.node_mut(nid).active.rm_range(first, Some(last));
            }
            TxnOp::OmapClear { coll, oid } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                let node = self.node_mut(nid);
                node.active.rm_range(Bytes::new(), None);
                node.rec_mut(cur).header = Bytes::new();
            }
            TxnOp::OmapSetHeader { coll, oid, header } => {
                let nid = self.lookup_or_create(coll, &oid)?;
                self.node_mut(nid).rec_mut(cur).header = own(&header);
            }
            TxnOp::Rename { coll, src, dst } => self.rename(coll, &src, &dst)?,
        }
        Ok(())
    }

    fn forget_name(&mut self, coll: CollId, oid: &HObject) {
        let oid = oid.owned();
        self.names.entry(coll).or_default().insert(oid.clone(), Name::Gone(self.cur));
        self.dirty_names.push((coll, oid));
        self.dirty_cost += 256;
        self.last = None;
    }
    fn remove(&mut self, coll: CollId, oid: &HObject) -> Result<(), StoreError> {
        let Some(nid) = self.lookup(coll, oid)? else { return Ok(()) };
        self.load_chunks(nid, 0, u32::MAX)?;
        let node = self.nodes.remove(&nid).expect("looked up");
        self.slots -= node.chunks.len() as u64;
        for slot in node.chunks.values() {
            let Some(chunk) = &slot.chunk else { continue };
            self.deferred_units -= chunk.mem_units().len() as u64;
            self.data_units -= chunk.allocated();
            for i in 0..crate::node::CHUNK_UNITS {
                if let Place::Disk(at, _) = chunk.place(i) {
                    self.space.drop_ref(at);
                }
            }
        }
        if node.in_tree {
            self.killed.push(nid);
        }
        self.forget_name(coll, oid);
        Ok(())
    }
    fn remove_coll(&mut self, coll: CollId) -> Result<(), StoreError> {
        assert!(self.colls.contains(&coll), "collection {coll:?} is absent");
        let mut start = HObject::MIN;
        loop {
            let some = self.list(coll, &start, 256)?;
            for oid in &some {
                self.remove(coll, oid)?;
            }
            match some.into_iter().next_back() {
                Some(oid) => start = oid,
                None => break,
            }
        }
        self.colls.remove(&coll);
        self.dirty_colls.insert(coll);
        Ok(())
    }
    fn rename(&mut self, coll: CollId, src: &HObject, dst: &HObject) -> Result<(), StoreError> {
        let nid = self.lookup(coll, src)?;
        let nid = nid.unwrap_or_else(|| panic!("rename of absent object {src}"));
        if src == dst {
            return Ok(());
        }
        self.remove(coll, dst)?;
        self.forget_name(coll, src);
        let dst = &dst.owned();
        self.names.entry(coll).or_default().insert(dst.clone(), Name::Node(nid));
        let cur = self.cur;
        let node = self.node_mut(nid);
        node.oid = dst.clone();
        node.rec_gen = cur;
        Ok(())
    }

    fn clone_object(&mut self, coll: CollId, src: &HObject, dst: &HObject) -> Result<(), StoreError> {
        let from = self.lookup(coll, src)?;
        let from = from.unwrap_or_else(|| panic!("clone of absent object {src}"));
        if src == dst {
            return Ok(());
        }
        self.load_chunks(from, 0, u32::MAX)?;
        let pairs = self.omap_list(from, None, usize::MAX)?;
        self.remove(coll, dst)?;
        let to = self.lookup_or_create(coll, dst)?;
        let cur = self.cur;
        let source = self.node(from);
        let (rec, chunks) = (source.rec.clone(), source.chunks.clone());
        for slot in chunks.values() {
            let Some(chunk) = &slot.chunk else { continue };
            self.deferred_units += chunk.mem_units().len() as u64;
            self.data_units += chunk.allocated();
            for i in 0..crate::node::CHUNK_UNITS {
                if let Place::Disk(at, _) = chunk.place(i) {
                    self.space.share(at);
                }
            }
        }
        self.slots += chunks.len() as u64;
        self.dirty_cost += chunks.len() as u64 * 1024;
        let node: &mut Node = self.node_mut(to);
        let mut own = (*rec).clone();
        own.nid = to;
        node.rec = Rc::new(own);
        node.rec_gen = cur;
        node.chunks =
            chunks.into_iter().map(|(i, s)| (i, Slot { chunk: s.chunk, generation: cur })).collect();
        node.active.map.extend(pairs.into_iter().map(|(k, v)| (k, Some(v))));
        Ok(())
    }

    fn clone_range(
        &mut self,
        coll: CollId,
        src: &HObject,
        dst: &HObject,
        src_off: u64,
        len: u64,
        dst_off: u64,
    ) -> Result<(), StoreError> {
        let from = self.lookup(coll, src)?;
        let from = from.unwrap_or_else(|| panic!("clone of a range of absent object {src}"));
        let to = self.lookup_or_create(coll, dst)?;
        // What is read must be in memory before anything of an overlapping target changes.
        let end = (src_off.saturating_add(len)).min(self.node(from).rec.size);
        let len = end.saturating_sub(src_off);
        let mut at = 0;
        let mut parts: Vec<(u64, Part)> = Vec::new();
        while at < len {
            let (s, d) = (src_off + at, dst_off + at);
            let aligned = s % UNIT_BYTES == 0 && d % UNIT_BYTES == 0 && len - at >= UNIT_BYTES;
            // Never beyond one unit of either side.
            let n = (UNIT_BYTES - s % UNIT_BYTES).min(UNIT_BYTES - d % UNIT_BYTES).min(len - at);
            let part =
                if aligned { self.share_unit(from, s / UNIT_BYTES)? } else { self.copy_part(from, s, n)? };
            parts.push((d, part));
            at += n;
        }
        for (d, part) in parts {
            match part {
                Part::Unit(place, mem) => self.set_unit(to, d / UNIT_BYTES, place, mem)?,
                Part::Bytes(b) => {
                    self.patch_unit(to, d / UNIT_BYTES, (d % UNIT_BYTES) as usize, &b)?;
                }
                Part::Bad => self.set_unit(to, d / UNIT_BYTES, Place::Bad, None)?,
            }
        }
        self.grow(to, dst_off + len);
        Ok(())
    }
    /// A whole unit with one more reference to it.
    fn share_unit(&mut self, nid: u64, unit: u64) -> Result<Part, StoreError> {
        let (idx, i) = split_unit(unit);
        let Some(chunk) = self.chunk(nid, idx)? else { return Ok(Part::Unit(Place::Hole, None)) };
        let place = chunk.place(i);
        if let Place::Disk(at, _) = place {
            self.space.share(at);
        }
        Ok(Part::Unit(place, chunk.mem(i).cloned()))
    }
    fn copy_part(&mut self, nid: u64, off: u64, n: u64) -> Result<Part, StoreError> {
        let skip = (off % UNIT_BYTES) as usize;
        Ok(match self.unit_data(nid, off / UNIT_BYTES)? {
            UnitData::Hole => Part::Bytes(Bytes::from(vec![0; n as usize])),
            UnitData::Bad => Part::Bad,
            UnitData::Bytes(b) => Part::Bytes(b.slice(skip..skip + n as usize)),
        })
    }

    /// Key range of a collection's objects from `start` on.
    pub fn object_range(coll: CollId, start: &HObject) -> (Bytes, Bytes) {
        (keys::object(coll, start), keys::behind(&keys::object_prefix(coll)))
    }
}

enum Part {
    Unit(Place, Option<Bytes>),
    Bytes(Bytes),
    Bad,
}
