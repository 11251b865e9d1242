//! The store's state and the cache of objects: looking up, loading, marking as changed, forgetting.
//!
//! Invariants:
//! - `nodes` and `names` shadow the durable index: what changed since the last durable checkpoint is in them, and only what
//!   did not change may be forgotten.
//! - A unit of a chunk has a home or bytes in memory, never both.
//! - Once `failed` is set nothing is answered and nothing is written any more.

use crate::StoreConfig;
use crate::alloc::Space;
use crate::checkpoint::{Checkpoint, Retired};
use crate::device::{Dev, ReadDevice, UNIT_BYTES};
use crate::journal::TxnBytes;
use crate::keys;
use crate::node::{CHUNK_BYTES, CHUNK_UNITS, Chunk, Node, Place, Rec, Slot};
use crate::tree::{Tree, TreeError};
use bytes::Bytes;
use denc::DencError;
use objstore::{CollId, CommitToken, StoreError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use types::{Fsid, HObject};

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// An object that is in `nodes`.
    Node(u64),
    /// Removed in this generation; the durable index may still have it.
    Gone(u64),
}

/// A transaction on its way to the journal.
#[derive(Debug)]
pub struct Waiting {
    pub token: CommitToken,
    pub bytes: TxnBytes,
    /// To be written before the record.
    pub data: Vec<UnitWrite>,
}

/// Bytes of whole units on their way to the data device.
#[derive(Debug)]
pub struct UnitWrite {
    /// The first unit.
    pub unit: u64,
    pub bytes: Bytes,
    /// See [`crate::IoStep::Write`].
    pub read_soon: bool,
}

/// Ring of the journal.
#[derive(Debug)]
pub struct Ring {
    pub size: u64,
    /// Where the next record goes.
    pub pos: u64,
    /// Its sequence.
    pub seq: u64,
    /// Bytes ever written or skipped, and the same at the start of what must be kept.
    pub head: u64,
    pub tail: u64,
}

/// A group on the commit lane.
#[derive(Debug)]
pub struct InFlight {
    pub id: u64,
    pub seq: u64,
    pub tokens: Vec<CommitToken>,
    /// First units of the runs in [`State::unwritten`] that it writes.
    pub runs: Vec<u64>,
}

/// All of the store.
pub struct State {
    pub dev: Box<dyn ReadDevice>,
    pub config: StoreConfig,
    pub uuid: Fsid,
    pub space: Space,
    pub tree: Tree,
    pub colls: BTreeSet<CollId>,
    pub names: BTreeMap<CollId, BTreeMap<HObject, Name>>,
    pub nodes: BTreeMap<u64, Box<Node>>,
    pub next_nid: u64,
    /// Object looked up last.
    pub last: Option<(CollId, HObject, u64)>,

    /// Generation that changes belong to; the newest durable one is below it.
    pub cur: u64,
    pub installed: u64,
    pub dirty_nids: Vec<u64>,
    pub dirty_names: Vec<(CollId, HObject)>,
    pub dirty_colls: BTreeSet<CollId>,
    pub killed: Vec<u64>,
    pub dirty_cost: u64,

    /// Units in memory, not home.
    pub deferred_units: u64,
    /// Units of objects, home or not.
    pub data_units: u64,
    pub omap_bytes: u64,
    pub index_units: u64,
    /// Extents of transactions that are queued but not written yet, by first unit: reads must see them.
    pub unwritten: BTreeMap<u64, Bytes>,
    pub slots: u64,
    pub evict_hand: u64,

    pub ring: Ring,
    pub waiting: VecDeque<Waiting>,
    pub waiting_bytes: u64,
    pub commit: Option<InFlight>,
    /// Highest sequence that is durable in the journal.
    pub durable_seq: u64,
    pub commits: VecDeque<CommitToken>,
    pub checkpoint: Option<Box<Checkpoint>>,
    pub retired: Retired,
    pub background: Option<u64>,
    pub want_checkpoint: bool,
    pub next_id: u64,
    pub failed: Option<String>,
}

/// A unit's bytes.
pub enum UnitData {
    Hole,
    Bad,
    Bytes(Bytes),
}

impl State {
    /// Stops the store.
    pub fn fail(&mut self, why: impl std::fmt::Display) -> StoreError {
        let text = self.failed.get_or_insert_with(|| why.to_string());
        StoreError::Device(text.clone())
    }
    pub fn check_alive(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some(text) => Err(StoreError::Device(text.clone())),
            None => Ok(()),
        }
    }
    pub fn index_get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let got = self.tree.get(&*self.dev, key);
        got.map_err(|e| self.fail(e))
    }
    pub fn index_scan(
        &mut self,
        from: &[u8],
        end: &[u8],
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let got = self.tree.scan(&*self.dev, from, end, max);
        got.map_err(|e| self.fail(e))
    }
    fn decode<T: denc::Decode>(&mut self, bytes: &Bytes) -> Result<T, StoreError> {
        let got: Result<T, DencError> = denc::from_bytes_exact(bytes);
        got.map_err(|source| self.fail(TreeError::Format { unit: 0, source }))
    }

    /// The object's number, when it exists. Loads its record.
    pub fn lookup(&mut self, coll: CollId, oid: &HObject) -> Result<Option<u64>, StoreError> {
        if let Some((c, o, nid)) = &self.last
            && *c == coll
            && o == oid
        {
            return Ok(Some(*nid));
        }
        let nid = match self.names.get(&coll).and_then(|c| c.get(oid)) {
            Some(Name::Node(nid)) => *nid,
            Some(Name::Gone(_)) => return Ok(None),
            None => {
                let Some(bytes) = self.index_get(&keys::object(coll, oid))? else { return Ok(None) };
                let rec: Rec = self.decode(&bytes)?;
                let nid = rec.nid;
                let oid = oid.owned();
                let node = Node::loaded(coll, oid.clone(), Rc::new(rec), true);
                self.nodes.insert(nid, Box::new(node));
                self.names.entry(coll).or_default().insert(oid, Name::Node(nid));
                nid
            }
        };
        self.last = Some((coll, self.node(nid).oid.clone(), nid));
        self.node(nid).touched = true;
        Ok(Some(nid))
    }
    /// As [`State::lookup`], for readers.
    pub fn find(&mut self, coll: CollId, oid: &HObject) -> Result<u64, StoreError> {
        self.check_alive()?;
        if let Some(nid) = self.lookup(coll, oid)? {
            return Ok(nid);
        }
        if !self.colls.contains(&coll) {
            return Err(StoreError::NoColl(coll));
        }
        Err(StoreError::NoObject(oid.clone()))
    }
    /// An object that is in memory.
    pub fn node(&mut self, nid: u64) -> &mut Node {
        self.nodes.get_mut(&nid).expect("looked up")
    }
    /// The same, about to be changed.
    pub fn node_mut(&mut self, nid: u64) -> &mut Node {
        let cur = self.cur;
        let node = self.nodes.get_mut(&nid).expect("looked up");
        if node.generation != cur {
            node.generation = cur;
            self.dirty_nids.push(nid);
            self.dirty_cost += 512;
        }
        node
    }
    /// The object's number; creates the object when it is absent.
    pub fn lookup_or_create(&mut self, coll: CollId, oid: &HObject) -> Result<u64, StoreError> {
        if let Some(nid) = self.lookup(coll, oid)? {
            return Ok(nid);
        }
        assert!(!oid.max, "HObject::MAX is no object");
        assert!(self.colls.contains(&coll), "transaction on absent collection {coll:?}");
        let nid = self.next_nid;
        self.next_nid += 1;
        let oid = oid.owned();
        self.nodes.insert(nid, Box::new(Node::new(coll, oid.clone(), nid)));
        self.names.entry(coll).or_default().insert(oid.clone(), Name::Node(nid));
        self.last = Some((coll, oid, nid));
        let cur = self.cur;
        self.node_mut(nid).rec_gen = cur;
        Ok(nid)
    }

    /// Makes sure that the chunk's slot is known.
    fn load_slot(&mut self, nid: u64, idx: u32) -> Result<(), StoreError> {
        let node = self.node(nid);
        if node.chunks.contains_key(&idx) {
            return Ok(());
        }
        let bytes = if node.in_tree { self.index_get(&keys::chunk(nid, idx))? } else { None };
        self.add_slot(nid, idx, bytes)
    }
    fn add_slot(&mut self, nid: u64, idx: u32, bytes: Option<Bytes>) -> Result<(), StoreError> {
        let chunk = match bytes {
            Some(b) => Some(Rc::new(self.decode::<Chunk>(&b)?)),
            None => None,
        };
        self.slots += 1;
        self.node(nid).chunks.insert(idx, Slot { chunk, generation: 0 });
        Ok(())
    }
    /// A chunk for reading; `None` is all hole.
    pub fn chunk(&mut self, nid: u64, idx: u32) -> Result<Option<Rc<Chunk>>, StoreError> {
        self.load_slot(nid, idx)?;
        Ok(self.node(nid).chunks[&idx].chunk.clone())
    }
    /// A chunk for changing.
    pub fn chunk_mut(&mut self, nid: u64, idx: u32) -> Result<&mut Chunk, StoreError> {
        self.load_slot(nid, idx)?;
        let cur = self.cur;
        self.node_mut(nid);
        let slot =
            self.nodes.get_mut(&nid).and_then(|n| n.chunks.get_mut(&idx)).expect("slot was just loaded");
        if slot.generation != cur {
            slot.generation = cur;
            self.dirty_cost += 1024;
        }
        Ok(Rc::make_mut(slot.chunk.get_or_insert_with(Rc::default)))
    }
    /// Loads all chunks of `first..=last` that the index has.
    pub fn load_chunks(&mut self, nid: u64, first: u32, last: u32) -> Result<(), StoreError> {
        if !self.node(nid).in_tree {
            return Ok(());
        }
        let (from, end) = (keys::chunk(nid, first), keys::behind(&keys::chunk(nid, last)));
        for (key, value) in self.index_scan(&from, &end, usize::MAX)? {
            let idx = keys::parse_nid(keys::CHUNK, &key).and_then(|(_, rest)| rest.try_into().ok());
            let Some(idx) = idx.map(u32::from_be_bytes) else {
                return Err(self.fail("index: extent chunk key"));
            };
            if !self.node(nid).chunks.contains_key(&idx) {
                self.add_slot(nid, idx, Some(value))?;
            }
        }
        Ok(())
    }

    /// Reads one unit, checked.
    pub fn unit_data(&mut self, nid: u64, unit: u64) -> Result<UnitData, StoreError> {
        let (idx, i) = split_unit(unit);
        let Some(chunk) = self.chunk(nid, idx)? else { return Ok(UnitData::Hole) };
        if let Some(b) = chunk.mem(i) {
            return Ok(UnitData::Bytes(b.clone()));
        }
        Ok(match chunk.place(i) {
            Place::Hole => UnitData::Hole,
            Place::Bad => UnitData::Bad,
            Place::Disk(at, crc) => {
                if let Some(b) = self.unwritten_unit(at) {
                    return Ok(UnitData::Bytes(b));
                }
                match self.dev.read_at(Dev::Data, at * UNIT_BYTES, UNIT_BYTES as usize) {
                    Ok(b) if crc32c::crc32c(&b) == crc => UnitData::Bytes(b),
                    // A unit that cannot be read is as bad as one that reads wrong: a replica has it.
                    _ => UnitData::Bad,
                }
            }
        })
    }
    /// A unit of the device whose write has not ended yet.
    pub fn unwritten_unit(&self, unit: u64) -> Option<Bytes> {
        let (start, bytes) = self.unwritten.range(..=unit).next_back()?;
        let at = usize::try_from((unit - start) * UNIT_BYTES).ok()?;
        (at < bytes.len()).then(|| bytes.slice(at..at + UNIT_BYTES as usize))
    }
    /// Replaces a unit: gives up its old home or bytes.
    pub fn set_unit(
        &mut self,
        nid: u64,
        unit: u64,
        place: Place,
        mem: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let (idx, i) = split_unit(unit);
        let now = mem.is_some() || place != Place::Hole;
        let chunk = self.chunk_mut(nid, idx)?;
        let new_mem = mem.is_some();
        let old_mem = chunk.set_mem(i, mem).is_some();
        let old = chunk.set_place(i, place);
        if let Place::Disk(at, _) = old {
            self.space.drop_ref(at);
        }
        self.deferred_units = self.deferred_units + u64::from(new_mem) - u64::from(old_mem);
        let before = old_mem || old != Place::Hole;
        self.data_units = self.data_units + u64::from(now) - u64::from(before);
        Ok(())
    }

    /// Forgets some unchanged objects when the cache is over its budget. Only between operations: inside one, numbers
    /// that were looked up must stay.
    pub fn evict(&mut self) {
        let mut steps = 64;
        while steps > 0 && self.nodes.len() as u64 * 768 + self.slots * 900 > self.config.object_cache_bytes {
            steps -= 1;
            let Some((&nid, node)) = self.nodes.range_mut(self.evict_hand..).next() else {
                if self.evict_hand == 0 {
                    return;
                }
                self.evict_hand = 0;
                continue;
            };
            self.evict_hand = nid + 1;
            if node.generation > self.installed || std::mem::take(&mut node.touched) {
                continue;
            }
            debug_assert!(node.active.is_empty());
            let node = self.nodes.remove(&nid).expect("found");
            self.slots -= node.chunks.len() as u64;
            if let Some(names) = self.names.get_mut(&node.coll) {
                names.remove(&node.oid);
                if names.is_empty() {
                    self.names.remove(&node.coll);
                }
            }
            if self.last.as_ref().is_some_and(|l| l.2 == nid) {
                self.last = None;
            }
        }
    }
}

/// Chunk and place in it of an object's unit.
pub fn split_unit(unit: u64) -> (u32, usize) {
    let idx = u32::try_from(unit / CHUNK_UNITS as u64).expect("objects are shorter than 1 PiB");
    (idx, (unit % CHUNK_UNITS as u64) as usize)
}
/// Index of the chunk that holds a byte.
pub fn chunk_of(off: u64) -> u32 {
    u32::try_from(off / CHUNK_BYTES).expect("objects are shorter than 1 PiB")
}
