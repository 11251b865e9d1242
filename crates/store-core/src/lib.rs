//! The OSD's object store, as a machine without I/O: journal, extents and index over a device seam.
//!
//! [`Store`] implements [`objstore::ObjectStore`]. A shell runs the [`IoBatch`]es of [`Store::poll_io`] (each lane in order),
//! reports them with [`Store::handle_io_done`], and hears of durable transactions from [`Store::poll_commit`]. Reads go
//! through [`ReadDevice`], synchronously. The same code runs in `sim` on [`simdev::SimDevice`], which forgets and tears what
//! was not synced. The format and why a crash between any two writes is safe: `docs/format/store.md`.
//!
//! Invariants:
//! - Nothing that the last durable checkpoint, or a journal record behind it, refers to is ever overwritten.
//! - Transactions become durable in the order in which they were queued, each as a whole.
//! - After a failed write or sync the store answers [`StoreError::Device`] to everything.
//!
//! Deliberately absent: clocks (a checkpoint starts by journal use or memory, or when the shell asks), threads, and
//! in-place overwrites.

mod alloc;
mod apply;
mod checkpoint;
mod crc;
mod device;
pub mod fuzz;
mod journal;
mod keys;
mod node;
mod open;
mod page;
mod read;
pub mod simdev;
mod state;
mod superblock;
mod tree;
mod tree_write;

pub use device::{Dev, DeviceError, IoBatch, IoDone, IoStep, Lane, ReadDevice, UNIT_BYTES};
pub use journal::JournalError;
pub use open::{DATA_BYTES_MIN, JOURNAL_BYTES_MIN, OpenError, mkfs};
pub use tree::TreeError;

use bytes::Bytes;
use device::Dev::Journal;
use journal::{GROUP_BYTES_MAX, encode_record, record_len};
use objstore::{
    CollId, CommitToken, ObjectStat, ObjectStore, OmapEntry, StoreError, StoreStatfs, Transaction,
};
use state::{InFlight, State};
use std::cell::RefCell;
use types::{Fsid, HObject};

/// Leftovers of a checkpoint that one [`Store::poll_io`] lets go.
const RETIRE_STEPS: usize = 512;

/// Bounds of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Writes with at least this many bytes of whole units bypass the journal (`bluestore_prefer_deferred_size` + 1).
    pub big_write_bytes: u64,
    /// Bytes of small writes in memory that start a checkpoint.
    pub deferred_bytes_max: u64,
    /// Estimated bytes of changed metadata in memory that start a checkpoint.
    pub dirty_bytes_max: u64,
    /// Object records and extent maps that are kept when nothing changed in them.
    pub object_cache_bytes: u64,
    /// Pages of the index that are kept.
    pub page_cache_bytes: usize,
}
impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig::with_memory(256 << 20)
    }
}
impl StoreConfig {
    /// Bounds that together stay within a budget (a share of `osd_memory_target`). Twice the amounts of changes count: those
    /// of a running checkpoint and those behind it.
    pub fn with_memory(bytes: u64) -> Self {
        StoreConfig {
            big_write_bytes: 64 << 10,
            deferred_bytes_max: (bytes / 8).clamp(1 << 20, 64 << 20),
            dirty_bytes_max: (bytes / 8).clamp(512 << 10, 64 << 20),
            object_cache_bytes: (bytes / 4).max(256 << 10),
            page_cache_bytes: (bytes / 8).max(256 << 10) as usize,
        }
    }
}

/// What a shell shows of a store's inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounters {
    /// Bytes of transactions that wait for the journal.
    pub waiting_bytes: u64,
    /// Bytes of small writes in memory.
    pub deferred_bytes: u64,
    /// Bytes of the journal in use.
    pub journal_used_bytes: u64,
    /// Durable checkpoints since `mkfs`.
    pub checkpoints: u64,
    /// Objects in memory.
    pub cached_objects: u64,
    /// Bytes of index pages in memory.
    pub page_cache_bytes: u64,
    /// True while a checkpoint runs.
    pub checkpointing: bool,
}

/// A mounted store.
pub struct Store {
    state: RefCell<State>,
}

impl Store {
    /// Mounts the store on these devices. What was written before must have been synced, lest something is believed durable
    /// that is only in the system's cache.
    pub fn open(dev: Box<dyn ReadDevice>, config: StoreConfig) -> Result<Store, OpenError> {
        Ok(Store { state: RefCell::new(open::open(dev, config)?) })
    }
    /// Name of the store.
    pub fn uuid(&self) -> Fsid {
        self.state.borrow().uuid
    }
    /// The next batch to run; to be asked until it answers `None` whenever transactions were queued or a batch ended.
    pub fn poll_io(&mut self) -> Option<IoBatch> {
        let s = self.state.get_mut();
        if s.failed.is_some() {
            return None;
        }
        s.retire(RETIRE_STEPS);
        if let Some(batch) = s.commit_batch() {
            return Some(batch);
        }
        s.checkpoint_slice()
    }
    /// Takes the end of a batch.
    pub fn handle_io_done(&mut self, done: IoDone) {
        let s = self.state.get_mut();
        if let Err(e) = done.result {
            s.fail(e);
        }
        if s.failed.is_some() {
            return;
        }
        if s.commit.as_ref().is_some_and(|c| c.id == done.id) {
            let c = s.commit.take().expect("just seen");
            s.durable_seq = c.seq;
            for run in &c.runs {
                s.unwritten.remove(run);
            }
            s.commits.extend(c.tokens);
        } else if s.background == Some(done.id) {
            s.background = None;
            s.slice_done();
        }
    }
    /// The next transaction that has become durable, in queue order.
    pub fn poll_commit(&mut self) -> Option<CommitToken> {
        self.state.get_mut().commits.pop_front()
    }
    /// Asks for a checkpoint soon (before a shutdown, or when idle): the next mount then replays nothing.
    pub fn request_checkpoint(&mut self) {
        self.state.get_mut().want_checkpoint = true;
    }
    /// True when every queued transaction is durable and no checkpoint runs.
    pub fn is_idle(&self) -> bool {
        let s = self.state.borrow();
        s.waiting.is_empty() && s.commit.is_none() && s.checkpoint.is_none() && !s.want_checkpoint
    }
    /// True when commits wait because changes come faster than checkpoints: the owner should take in less.
    pub fn is_congested(&self) -> bool {
        self.state.borrow().congested()
    }
    /// Why the store has stopped.
    pub fn failure(&self) -> Option<String> {
        self.state.borrow().failed.clone()
    }
    /// How the store is doing.
    pub fn counters(&self) -> StoreCounters {
        let s = self.state.borrow();
        StoreCounters {
            waiting_bytes: s.waiting_bytes,
            deferred_bytes: s.deferred_units * UNIT_BYTES,
            journal_used_bytes: s.ring.head - s.ring.tail,
            checkpoints: s.installed,
            cached_objects: s.nodes.len() as u64,
            page_cache_bytes: s.tree.cache.bytes() as u64,
            checkpointing: s.checkpoint.is_some(),
        }
    }
    fn read_state<T>(
        &self,
        coll: CollId,
        oid: &HObject,
        f: impl FnOnce(&mut State, u64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let s = &mut *self.state.borrow_mut();
        let nid = s.find(coll, oid)?;
        let got = f(s, nid);
        s.evict();
        got
    }
}

impl State {
    /// Groups what waits into one record, and starts a checkpoint when one is due.
    fn commit_batch(&mut self) -> Option<IoBatch> {
        if self.commit.is_some() || self.checkpoint.as_ref().is_some_and(|c| c.holds_commits()) {
            return None;
        }
        // Memory is bounded: behind twice the changes that start a checkpoint, commits wait for the one that runs.
        if self.checkpoint.is_some() && self.congested() {
            return None;
        }
        // A freeze needs all that waits in the record before it.
        let group_max = if self.checkpoint.is_none() && self.checkpoint_due() {
            (self.ring.size / 4) as usize
        } else {
            GROUP_BYTES_MAX
        };
        let mut batch = None;
        if !self.waiting.is_empty() {
            let (mut n, mut body) = (0, 0);
            for w in &self.waiting {
                if n > 0 && body + w.bytes.len() > group_max {
                    break;
                }
                body += w.bytes.len();
                n += 1;
            }
            let len = record_len(body);
            let skipped =
                if self.ring.pos + len <= self.ring.size { 0 } else { self.ring.size - self.ring.pos };
            if self.ring.head - self.ring.tail + skipped + len <= self.ring.size {
                batch = Some(self.build_commit(n, len, skipped));
            } else if self.checkpoint.is_none() {
                // No room, or never any for so large a transaction: what waits becomes durable by a checkpoint.
                self.freeze();
                return None;
            }
        }
        if self.checkpoint.is_none() && self.waiting.is_empty() && self.checkpoint_due() {
            self.freeze();
        }
        batch
    }
    fn build_commit(&mut self, n: usize, len: u64, skipped: u64) -> IoBatch {
        let (mut tokens, mut txns, mut data) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::new());
        for w in self.waiting.drain(..n) {
            tokens.push(w.token);
            self.waiting_bytes -=
                w.bytes.len() as u64 + w.data.iter().map(|d| d.bytes.len() as u64).sum::<u64>();
            data.extend(w.data);
            txns.push(w.bytes);
        }
        let runs = data.iter().map(|d| d.unit).collect();
        let mut steps = checkpoint::write_steps(data);
        if !steps.is_empty() {
            steps.push(IoStep::Sync { dev: Dev::Data });
        }
        let ring = &mut self.ring;
        let (bufs, built) = encode_record(self.uuid, ring.seq, &txns);
        assert_eq!(built, len);
        if ring.pos + len > ring.size {
            ring.pos = 0;
        }
        steps.push(IoStep::Write { dev: Journal, off: ring.pos, bufs, read_soon: false });
        steps.push(IoStep::Sync { dev: Journal });
        let id = self.next_id;
        self.next_id += 1;
        self.commit = Some(InFlight { id, seq: ring.seq, tokens, runs });
        ring.pos += len;
        ring.head += skipped + len;
        ring.seq += 1;
        IoBatch { id, lane: Lane::Commit, steps }
    }
}

impl ObjectStore for Store {
    fn stat(&self, coll: CollId, oid: &HObject) -> Result<ObjectStat, StoreError> {
        self.read_state(coll, oid, |s, nid| Ok(ObjectStat { size: s.node(nid).rec.size }))
    }
    fn read(&self, coll: CollId, oid: &HObject, off: u64, len: u64) -> Result<Bytes, StoreError> {
        self.read_state(coll, oid, |s, nid| s.read(nid, off, len))
    }
    fn read_into(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>, StoreError> {
        self.read_state(coll, oid, |s, nid| s.read_into(nid, off, len, out))
    }
    fn extents(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        self.read_state(coll, oid, |s, nid| s.extents(nid, off, len))
    }
    fn getattr(&self, coll: CollId, oid: &HObject, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read_state(coll, oid, |s, nid| Ok(s.node(nid).rec.attr(name).cloned()))
    }
    fn getattrs(&self, coll: CollId, oid: &HObject) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.read_state(coll, oid, |s, nid| Ok(s.node(nid).rec.attrs.clone()))
    }
    fn omap_header(&self, coll: CollId, oid: &HObject) -> Result<Bytes, StoreError> {
        self.read_state(coll, oid, |s, nid| Ok(s.node(nid).rec.header.clone()))
    }
    fn omap_get(&self, coll: CollId, oid: &HObject, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read_state(coll, oid, |s, nid| s.omap_get(nid, key))
    }
    fn omap_list(
        &self,
        coll: CollId,
        oid: &HObject,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<OmapEntry>, StoreError> {
        self.read_state(coll, oid, |s, nid| s.omap_list(nid, after, max))
    }
    fn list(&self, coll: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError> {
        self.state.borrow_mut().list(coll, start, max)
    }
    fn collections(&self) -> Vec<CollId> {
        self.state.borrow().colls.iter().copied().collect()
    }
    fn statfs(&self) -> StoreStatfs {
        self.state.borrow().statfs()
    }
    fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError> {
        self.state.get_mut().queue(txn, token)
    }
}
