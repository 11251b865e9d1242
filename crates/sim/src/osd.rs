//! An OSD in the simulation: the real core on the real store on a device that forgets, with the shell's part played here.

use crate::net::Sid;
use objstore::{
    CollId, CommitToken, ObjectStat, ObjectStore, OmapEntry, StoreError, StoreStatfs, Transaction,
};
use osd_core::{Net, OsdCore};
use std::collections::{BTreeMap, VecDeque};
use store_core::simdev::SimDevice;
use store_core::{IoBatch, Store};
use types::{AddrVec, Fsid, HObject, OsdId};

/// One OSD, running or not.
pub struct OsdNode {
    /// Its disk; outlives the process.
    pub dev: SimDevice,
    /// Identity of the store.
    pub uuid: Fsid,
    /// Counts starts.
    pub inc: u32,
    /// Where the process listens.
    pub addrs: BTreeMap<Net, types::EntityAddr>,
    /// The process.
    pub run: Option<OsdRun>,
    /// The host is off: nobody answers, not even "refused".
    pub power_off: bool,
    /// Power fails after so many steps of disk work.
    pub crash_in_steps: Option<u32>,
    /// Disk times are multiplied by this.
    pub slow: u64,
}

/// A lane of disk work.
#[derive(Debug, Default)]
pub struct LaneWork {
    /// Batches, the running one first.
    pub queue: VecDeque<IoBatch>,
    /// Step of the running one.
    pub step: usize,
    /// A step is in progress.
    pub busy: bool,
}

/// A running OSD.
pub struct OsdRun {
    /// The machine.
    pub core: OsdCore,
    /// Its store.
    pub store: TapStore,
    /// Disk work.
    pub lanes: [LaneWork; 2],
    /// Sessions that it opened to other OSDs.
    pub conns: BTreeMap<(OsdId, Net), (AddrVec, Sid)>,
    /// Session with the monitor.
    pub mon: Option<Sid>,
    /// The manager that it wants, and the session.
    pub mgr: Option<(AddrVec, Option<Sid>)>,
    /// When the next tick is due.
    pub wake_at: u64,
}

/// The store as the core sees it; remembers what was queued, for the injected fault.
pub struct TapStore {
    /// The store.
    pub store: Store,
    /// Tokens queued since they were taken last.
    pub queued: Vec<CommitToken>,
    /// Remember them.
    pub tap: bool,
}

impl ObjectStore for TapStore {
    fn stat(&self, coll: CollId, oid: &HObject) -> Result<ObjectStat, StoreError> {
        self.store.stat(coll, oid)
    }
    fn read(&self, coll: CollId, oid: &HObject, off: u64, len: u64) -> Result<bytes::Bytes, StoreError> {
        self.store.read(coll, oid, off, len)
    }
    fn read_into(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>, StoreError> {
        self.store.read_into(coll, oid, off, len, out)
    }
    fn extents(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        self.store.extents(coll, oid, off, len)
    }
    fn getattr(&self, coll: CollId, oid: &HObject, name: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.store.getattr(coll, oid, name)
    }
    fn getattrs(&self, coll: CollId, oid: &HObject) -> Result<Vec<OmapEntry>, StoreError> {
        self.store.getattrs(coll, oid)
    }
    fn omap_header(&self, coll: CollId, oid: &HObject) -> Result<bytes::Bytes, StoreError> {
        self.store.omap_header(coll, oid)
    }
    fn omap_get(&self, coll: CollId, oid: &HObject, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.store.omap_get(coll, oid, key)
    }
    fn omap_list(
        &self,
        coll: CollId,
        oid: &HObject,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<OmapEntry>, StoreError> {
        self.store.omap_list(coll, oid, after, max)
    }
    fn list(&self, coll: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError> {
        self.store.list(coll, start, max)
    }
    fn collections(&self) -> Vec<CollId> {
        self.store.collections()
    }
    fn statfs(&self) -> StoreStatfs {
        self.store.statfs()
    }
    fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError> {
        self.store.queue(txn, token)?;
        if self.tap {
            self.queued.push(token);
        }
        Ok(())
    }
}
