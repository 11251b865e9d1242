//! A store whose transactions become durable one by one, and are lost from the first undurable one on in a crash.

use bytes::Bytes;
use objstore::*;
use osd_ops::testing::MemStore;
use std::collections::{BTreeSet, VecDeque};
use types::HObject;

#[derive(Default)]
pub struct CrashStore {
    live: MemStore,
    durable: MemStore,
    pub queue: VecDeque<(CommitToken, Transaction)>,
    /// Objects whose data cannot be read (until they are replaced).
    pub bad: BTreeSet<HObject>,
}
impl CrashStore {
    /// Makes the oldest queued transaction durable.
    pub fn commit_one(&mut self) -> Option<CommitToken> {
        let (token, txn) = self.queue.pop_front()?;
        self.durable.apply(&txn);
        Some(token)
    }
    /// Forgets what was not durable.
    pub fn crash(&mut self) {
        self.queue.clear();
        self.live = self.durable.clone();
    }
    fn check(&self, oid: &HObject) -> Result<(), StoreError> {
        if self.bad.contains(oid) { Err(StoreError::Corrupt { oid: oid.clone(), offset: 0 }) } else { Ok(()) }
    }
}
impl ObjectStore for CrashStore {
    fn stat(&self, c: CollId, o: &HObject) -> Result<ObjectStat, StoreError> {
        self.live.stat(c, o)
    }
    fn read(&self, c: CollId, o: &HObject, off: u64, len: u64) -> Result<Bytes, StoreError> {
        self.check(o)?;
        self.live.read(c, o, off, len)
    }
    fn extents(&self, c: CollId, o: &HObject, off: u64, len: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        self.live.extents(c, o, off, len)
    }
    fn getattr(&self, c: CollId, o: &HObject, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.live.getattr(c, o, name)
    }
    fn getattrs(&self, c: CollId, o: &HObject) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.live.getattrs(c, o)
    }
    fn omap_header(&self, c: CollId, o: &HObject) -> Result<Bytes, StoreError> {
        self.live.omap_header(c, o)
    }
    fn omap_get(&self, c: CollId, o: &HObject, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.live.omap_get(c, o, key)
    }
    fn omap_list(
        &self,
        c: CollId,
        o: &HObject,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<OmapEntry>, StoreError> {
        self.live.omap_list(c, o, after, max)
    }
    fn list(&self, c: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError> {
        self.live.list(c, start, max)
    }
    fn collections(&self) -> Vec<CollId> {
        self.live.collections()
    }
    fn statfs(&self) -> StoreStatfs {
        StoreStatfs { total: 1 << 40, available: 1 << 39, ..StoreStatfs::default() }
    }
    fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError> {
        for op in &txn.ops {
            if let TxnOp::Remove { oid, .. } = op {
                self.bad.remove(oid);
            }
        }
        self.live.apply(&txn);
        self.queue.push_back((token, txn));
        Ok(())
    }
}
