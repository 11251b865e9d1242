//! Checkpoints: the index made durable, so that the journal behind can be used again.
//!
//! 1. *Freeze*: all that changed is noted by reference (a few ms at most), at the boundary of a journal record.
//! 2. *Slices*: bytes in memory are written to fresh units, records go into the tree, finished pages are written; a slice is
//!    small, and the next one starts when it is written. Meanwhile transactions go on, copying what they change.
//! 3. All is synced, the journal is durable up to the boundary: the superblock is written and synced.
//! 4. *Install*: the new tree is the durable one, what was freed before the freeze is free, the journal is trimmed.
//!
//! A crash before the superblock is whole leaves the old checkpoint with its journal: nothing of either was overwritten.

use crate::device::{Dev, IoBatch, IoStep, Lane, UNIT_BYTES};
use crate::keys;
use crate::node::{CHUNK_UNITS, Chunk, OmapLayer, Place, Rec};
use crate::state::{Name, State, UnitWrite};
use crate::superblock::Superblock;
use crate::tree_write::{Ctx, TreeWriter, WriteError};
use bytes::Bytes;
use denc::Features;
use objstore::{CollId, CommitToken};
use std::collections::VecDeque;
use std::ops::Bound;
use std::rc::Rc;
use types::HObject;

/// Index entries of one slice.
const SLICE_ITEMS: usize = 256;
/// Bytes of objects of one slice.
const SLICE_BYTES: usize = 1 << 20;
/// Freed units (256 MiB) that are worth a checkpoint: new data then goes where old data was.
const FREED_UNITS_MAX: u64 = 65_536;
/// Bytes written between syncs, so that the last sync is short.
const SYNC_BYTES: usize = 8 << 20;

enum Item {
    Coll(CollId, bool),
    OmapGone(u64),
    Omap {
        nid: u64,
        layer: Rc<OmapLayer>,
        dels: bool,
        after: Option<Bytes>,
    },
    Object(CollId, HObject, Option<Rc<Rec>>),
    ChunksGone(u64),
    /// The last tells whether its bytes are likely to be read here.
    Chunk(u64, u32, Option<Rc<Chunk>>, bool),
}

/// A unit that a slice wrote home.
struct Homed {
    nid: u64,
    idx: u32,
    i: usize,
    /// The bytes that were written; still the newest if the live chunk has the same buffer.
    bytes: Bytes,
    unit: u64,
    crc: u32,
}

/// What a durable checkpoint left to be let go.
#[derive(Default)]
pub struct Retired {
    nids: Vec<u64>,
    gone: Vec<(CollId, HObject)>,
    layers: Vec<OmapLayer>,
}

/// A checkpoint under way.
pub struct Checkpoint {
    generation: u64,
    journal_pos: u64,
    journal_seq: u64,
    journal_head: u64,
    next_nid: u64,
    writer: TreeWriter,
    items: VecDeque<Item>,
    nids: Vec<u64>,
    gone: Vec<(CollId, HObject)>,
    homed: Vec<Homed>,
    unsynced: usize,
    /// Transactions that become durable by this checkpoint instead of by the journal, and their data.
    absorbed: Vec<CommitToken>,
    absorbed_data: Vec<UnitWrite>,
    /// First units of the runs that the slice in flight writes for them.
    absorbed_runs: Vec<u64>,
    /// The new root, when the tree is finished and written.
    done: Option<Superblock>,
    superblock_written: bool,
}

impl Checkpoint {
    /// True when the journal must wait for it.
    pub fn holds_commits(&self) -> bool {
        !self.absorbed.is_empty()
    }
}

impl State {
    /// True when memory or the journal ask for a checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.want_checkpoint
            || (self.ring.head - self.ring.tail) > self.ring.size / 2
            || self.deferred_units * UNIT_BYTES > self.config.deferred_bytes_max
            || self.dirty_cost > self.config.dirty_bytes_max
            || self.space.pending_units() > FREED_UNITS_MAX
    }

    /// True when changes in memory are twice what starts a checkpoint.
    pub fn congested(&self) -> bool {
        self.deferred_units * UNIT_BYTES > 2 * self.config.deferred_bytes_max
            || self.dirty_cost > 2 * self.config.dirty_bytes_max
    }

    /// Starts a checkpoint of all that was queued. The journal's record in flight may be a part of it; transactions
    /// that still wait become durable by the checkpoint.
    pub fn freeze(&mut self) {
        assert!(self.checkpoint.is_none());
        self.retire(usize::MAX);
        let generation = self.cur;
        self.cur += 1;
        self.want_checkpoint = false;
        self.dirty_cost = 0;
        self.space.freeze();
        let (mut absorbed, mut absorbed_data) = (Vec::new(), Vec::new());
        for w in self.waiting.drain(..) {
            absorbed.push(w.token);
            absorbed_data.extend(w.data);
        }
        self.waiting_bytes = 0;
        let mut nids = std::mem::take(&mut self.dirty_nids);
        nids.sort_unstable();
        let mut killed = std::mem::take(&mut self.killed);
        killed.sort_unstable();
        let mut gone = std::mem::take(&mut self.dirty_names);
        gone.sort();
        gone.dedup();

        let colls = std::mem::take(&mut self.dirty_colls);
        let mut items: VecDeque<Item> =
            colls.into_iter().map(|c| Item::Coll(c, self.colls.contains(&c))).collect();
        let mut objects: Vec<(CollId, HObject, Option<Rc<Rec>>)> = Vec::new();
        let mut chunks = Vec::new();
        let mut omap: Vec<(u64, Item)> = killed.iter().map(|n| (*n, Item::OmapGone(*n))).collect();
        nids.retain(|nid| {
            let Some(node) = self.nodes.get_mut(nid) else { return false };
            if node.rec_gen == generation {
                objects.push((node.coll, node.oid.clone(), Some(node.rec.clone())));
            }
            for (idx, slot) in node.chunks.iter().filter(|(_, s)| s.generation == generation) {
                chunks.push((*nid, *idx, slot.chunk.clone(), node.read_here));
            }
            if !node.active.is_empty() {
                let layer = Rc::new(std::mem::take(&mut node.active));
                node.frozen = Some(layer.clone());
                omap.push((*nid, Item::Omap { nid: *nid, layer, dels: false, after: None }));
            }
            node.in_tree = true;
            true
        });
        omap.sort_by_key(|(nid, _)| *nid);
        items.extend(omap.into_iter().map(|(_, item)| item));
        for (coll, oid) in &gone {
            let now = self.names.get(coll).and_then(|c| c.get(oid));
            if matches!(now, Some(Name::Gone(_))) {
                objects.push((*coll, oid.clone(), None));
            }
        }
        objects.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        items.extend(objects.into_iter().map(|(c, o, r)| Item::Object(c, o, r)));
        let mut extents: Vec<(u64, u32, Item)> =
            killed.into_iter().map(|nid| (nid, 0, Item::ChunksGone(nid))).collect();
        extents
            .extend(chunks.into_iter().map(|(nid, idx, c, soon)| (nid, idx, Item::Chunk(nid, idx, c, soon))));
        extents.sort_by_key(|(nid, idx, _)| (*nid, *idx));
        items.extend(extents.into_iter().map(|(_, _, item)| item));

        self.checkpoint = Some(Box::new(Checkpoint {
            generation,
            journal_pos: self.ring.pos,
            journal_seq: self.ring.seq,
            journal_head: self.ring.head,
            next_nid: self.next_nid,
            writer: TreeWriter::new(self.tree.root.clone()),
            items,
            nids,
            gone,
            homed: Vec::new(),
            unsynced: 0,
            absorbed,
            absorbed_data,
            absorbed_runs: Vec::new(),
            done: None,
            superblock_written: false,
        }));
    }

    /// The next slice of the checkpoint under way; `None` when there is none or it waits for the journal.
    pub fn checkpoint_slice(&mut self) -> Option<IoBatch> {
        if self.background.is_some() {
            return None;
        }
        let mut c = self.checkpoint.take()?;
        let steps = self.slice_steps(&mut c);
        self.checkpoint = Some(c);
        match steps {
            Ok(Some(steps)) => {
                let id = self.next_id;
                self.next_id += 1;
                self.background = Some(id);
                Some(IoBatch { id, lane: Lane::Background, steps })
            }
            Ok(None) => None,
            Err(e) => {
                self.fail(e);
                None
            }
        }
    }

    fn slice_steps(&mut self, c: &mut Checkpoint) -> Result<Option<Vec<IoStep>>, WriteError> {
        if let Some(superblock) = &c.done {
            // The superblock says what the journal need not have any more: the journal must have had it.
            if c.journal_seq > self.durable_seq + 1 {
                return Ok(None);
            }
            c.superblock_written = true;
            let (off, bufs) = (superblock.unit() * UNIT_BYTES, vec![superblock.to_unit()]);
            return Ok(Some(vec![
                IoStep::Write { dev: Dev::Data, off, bufs, read_soon: false },
                IoStep::Sync { dev: Dev::Data },
            ]));
        }
        let mut writes = std::mem::take(&mut c.absorbed_data);
        c.absorbed_runs = writes.iter().map(|w| w.unit).collect();
        let (mut items, mut bytes) = (0, 0);
        let mut keep = Bytes::new();
        while items < SLICE_ITEMS && bytes < SLICE_BYTES {
            let Some(item) = c.items.pop_front() else { break };
            items += 1;
            let mut cx = Ctx { dev: &*self.dev, cache: &mut self.tree.cache, space: &mut self.space };
            match item {
                Item::Coll(coll, there) => {
                    keep = keys::coll(coll);
                    c.writer.put(&mut cx, keep.clone(), there.then(Bytes::new))?;
                }
                Item::OmapGone(nid) => {
                    let (first, end) = keys::nid_range(keys::OMAP, nid);
                    c.writer.del_range(&mut cx, &first, &end)?;
                    keep = first;
                }
                Item::Omap { nid, layer, dels, after } => {
                    let (start, nid_end) = keys::nid_range(keys::OMAP, nid);
                    if !dels {
                        for (first, last) in &layer.dels {
                            let end = last.as_ref().map_or(nid_end.clone(), |l| keys::omap(nid, l));
                            c.writer.del_range(&mut cx, &keys::omap(nid, first), &end)?;
                        }
                    }
                    keep = start;
                    let bound = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                    let mut last = None;
                    let mut more = false;
                    for (k, v) in layer.map.range::<Bytes, _>((bound, Bound::Unbounded)) {
                        if items >= SLICE_ITEMS || bytes >= SLICE_BYTES {
                            more = true;
                            break;
                        }
                        items += 1;
                        bytes += k.len() + v.as_ref().map_or(0, |v| v.len());
                        keep = keys::omap(nid, k);
                        c.writer.put(&mut cx, keep.clone(), v.clone())?;
                        last = Some(k.clone());
                    }
                    if more {
                        let after = last.or(after);
                        c.items.push_front(Item::Omap { nid, layer, dels: true, after });
                    }
                }
                Item::Object(coll, oid, rec) => {
                    keep = keys::object(coll, &oid);
                    let value = rec.map(|r| r.to_bytes());
                    bytes += value.as_ref().map_or(0, |v| v.len());
                    c.writer.put(&mut cx, keep.clone(), value)?;
                }
                Item::ChunksGone(nid) => {
                    let (first, end) = keys::nid_range(keys::CHUNK, nid);
                    c.writer.del_range(&mut cx, &first, &end)?;
                    keep = first;
                }
                Item::Chunk(nid, idx, chunk, read_soon) => {
                    keep = keys::chunk(nid, idx);
                    let value = match chunk {
                        Some(chunk) if !chunk.is_empty() => {
                            let before = c.homed.len();
                            let own = home(&chunk, nid, idx, &mut cx, &mut c.homed)?;
                            for h in &c.homed[before..] {
                                bytes += h.bytes.len();
                                writes.push(UnitWrite { unit: h.unit, bytes: h.bytes.clone(), read_soon });
                            }
                            Some(denc::to_bytes(own.as_ref().unwrap_or(&*chunk), Features::ALL))
                        }
                        _ => None,
                    };
                    c.writer.put(&mut cx, keep.clone(), value)?;
                }
            }
        }
        let mut cx = Ctx { dev: &*self.dev, cache: &mut self.tree.cache, space: &mut self.space };
        if c.items.is_empty() {
            let root = c.writer.finish(&mut cx)?;
            c.done = Some(Superblock {
                uuid: self.uuid,
                generation: c.generation,
                data_units: self.space.units(),
                journal_bytes: self.ring.size,
                journal_pos: c.journal_pos,
                journal_seq: c.journal_seq,
                next_nid: c.next_nid,
                omap_bytes: self.omap_bytes.saturating_add_signed(c.writer.omap_delta),
                index_units: self.index_units.saturating_add_signed(c.writer.units_delta),
                root,
            });
        } else {
            c.writer.settle(&mut cx, &keep)?;
        }
        let pages = c.writer.out.drain(..);
        writes.extend(pages.map(|(unit, bytes)| UnitWrite { unit, bytes, read_soon: true }));
        c.unsynced += writes.iter().map(|w| w.bytes.len()).sum::<usize>();
        let mut steps = write_steps(writes);
        if c.unsynced >= SYNC_BYTES || c.done.is_some() {
            c.unsynced = 0;
            steps.push(IoStep::Sync { dev: Dev::Data });
        }
        Ok(Some(steps))
    }

    /// A slice has been written.
    pub fn slice_done(&mut self) {
        let Some(mut c) = self.checkpoint.take() else { return };
        for run in c.absorbed_runs.drain(..) {
            self.unwritten.remove(&run);
        }
        for page in c.writer.pinned.drain(..) {
            self.tree.cache.unpin(page);
        }
        for h in c.homed.drain(..) {
            let live = self.nodes.get_mut(&h.nid).and_then(|n| n.chunks.get_mut(&h.idx));
            let same = |b: &Bytes| b.as_ptr() == h.bytes.as_ptr() && b.len() == h.bytes.len();
            match live.and_then(|s| s.chunk.as_mut()) {
                Some(chunk) if chunk.mem(h.i).is_some_and(same) => {
                    let chunk = Rc::make_mut(chunk);
                    chunk.set_mem(h.i, None);
                    chunk.set_place(h.i, Place::Disk(h.unit, h.crc));
                    self.deferred_units -= 1;
                }
                // Changed or gone since: only this checkpoint knows the unit.
                _ => self.space.drop_ref(h.unit),
            }
        }
        if c.superblock_written {
            self.install(*c);
        } else {
            self.checkpoint = Some(c);
        }
    }

    fn install(&mut self, c: Checkpoint) {
        let superblock = c.done.expect("the superblock was written");
        self.tree.root = superblock.root;
        self.installed = c.generation;
        self.omap_bytes = superblock.omap_bytes;
        self.index_units = superblock.index_units;
        self.ring.tail = c.journal_head;
        self.space.install();
        self.retired = Retired { nids: c.nids, gone: c.gone, layers: Vec::new() };
        self.commits.extend(c.absorbed);
    }

    /// Lets go of some of what the last checkpoint made superfluous; all at once would take milliseconds. False when
    /// nothing is left.
    pub fn retire(&mut self, mut steps: usize) -> bool {
        while steps > 0 {
            steps -= 1;
            if let Some((start, n)) = self.space.release_one() {
                self.tree.cache.remove_range(start, start + u64::from(n));
            } else if let Some(nid) = self.retired.nids.pop() {
                let layer = self.nodes.get_mut(&nid).and_then(|node| node.frozen.take());
                self.retired.layers.extend(layer.and_then(|l| Rc::try_unwrap(l).ok()));
            } else if let Some((coll, oid)) = self.retired.gone.pop() {
                let Some(names) = self.names.get_mut(&coll) else { continue };
                if matches!(names.get(&oid), Some(Name::Gone(g)) if *g <= self.installed) {
                    names.remove(&oid);
                }
                if names.is_empty() {
                    self.names.remove(&coll);
                }
            } else if let Some(layer) = self.retired.layers.last_mut() {
                if layer.map.pop_first().is_none() {
                    self.retired.layers.pop();
                }
            } else {
                return false;
            }
        }
        true
    }
}

/// Gives the units in memory of a frozen chunk a home; answers the chunk as the index will have it.
fn home(
    chunk: &Chunk,
    nid: u64,
    idx: u32,
    cx: &mut Ctx<'_>,
    homed: &mut Vec<Homed>,
) -> Result<Option<Chunk>, WriteError> {
    let n = chunk.mem_units().len();
    if n == 0 {
        return Ok(None);
    }
    debug_assert!(n <= CHUNK_UNITS);
    let runs = cx.space.take(n as u32).ok_or(WriteError::NoSpace)?;
    let mut units = runs.iter().flat_map(|(start, n)| *start..*start + u64::from(*n));
    let mut own = chunk.clone();
    for (i, bytes) in chunk.mem_units() {
        let unit = units.next().expect("as many as were asked for");
        let crc = crc32c::crc32c(bytes);
        own.set_mem(*i as usize, None);
        own.set_place(*i as usize, Place::Disk(unit, crc));
        homed.push(Homed { nid, idx, i: *i as usize, bytes: bytes.clone(), unit, crc });
    }
    Ok(Some(own))
}

/// Writes of units, neighbours of a kind joined into one step.
pub fn write_steps(mut writes: Vec<UnitWrite>) -> Vec<IoStep> {
    writes.sort_by_key(|w| w.unit);
    let mut steps: Vec<IoStep> = Vec::new();
    let mut next = 0;
    for UnitWrite { unit, bytes, read_soon } in writes {
        let units = bytes.len() as u64 / UNIT_BYTES;
        match steps.last_mut() {
            Some(IoStep::Write { bufs, read_soon: kind, .. }) if next == unit && *kind == read_soon => {
                bufs.push(bytes);
            }
            _ => steps.push(IoStep::Write {
                dev: Dev::Data,
                off: unit * UNIT_BYTES,
                bufs: vec![bytes],
                read_soon,
            }),
        }
        next = unit + units;
    }
    steps
}
