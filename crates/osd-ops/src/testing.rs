//! [`MemStore`]: an [`ObjectStore`] in memory, for tests of this crate and of those above it (feature `testing`). What is
//! queued is at once readable and durable.

use bytes::{Bytes, BytesMut};
use objstore::{
    CollId, CommitToken, ObjectStat, ObjectStore, OmapEntry, StoreError, StoreStatfs, Transaction, TxnOp,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use types::HObject;

#[derive(Clone, Default, Debug, PartialEq, Eq)]
struct MemObject {
    data: Vec<u8>,
    /// Allocated bytes, as ranges; what was zeroed is not.
    extents: crate::interval::IntervalSet,
    attrs: BTreeMap<Bytes, Bytes>,
    header: Bytes,
    omap: BTreeMap<Bytes, Bytes>,
}

/// See the module's head.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct MemStore {
    colls: BTreeMap<CollId, BTreeMap<HObject, MemObject>>,
    /// Tokens of queued transactions, for owners that want to hear of commits.
    pub committed: Vec<CommitToken>,
}

impl MemStore {
    /// Without collections.
    pub fn new() -> Self {
        Self::default()
    }
    /// With one empty collection.
    pub fn with_coll(coll: CollId) -> Self {
        let mut s = Self::new();
        s.colls.insert(coll, BTreeMap::new());
        s
    }
    /// Applies a transaction.
    ///
    /// # Panics
    /// When it names an absent collection or clones an absent object.
    pub fn apply(&mut self, txn: &Transaction) {
        for op in &txn.ops {
            self.apply_op(op);
        }
    }
    // The size of the error is the store trait's choice.
    #[allow(clippy::result_large_err)]
    fn object(&self, coll: CollId, oid: &HObject) -> Result<&MemObject, StoreError> {
        self.colls
            .get(&coll)
            .ok_or(StoreError::NoColl(coll))?
            .get(oid)
            .ok_or_else(|| StoreError::NoObject(oid.clone()))
    }
    fn coll_mut(&mut self, coll: &CollId) -> &mut BTreeMap<HObject, MemObject> {
        self.colls.get_mut(coll).expect("the collection exists")
    }
    fn object_mut(&mut self, coll: &CollId, oid: &HObject) -> &mut MemObject {
        self.coll_mut(coll).entry(oid.clone()).or_default()
    }
    fn apply_op(&mut self, op: &TxnOp) {
        match op {
            TxnOp::CreateColl { coll } => {
                assert!(self.colls.insert(*coll, BTreeMap::new()).is_none(), "{coll:?} exists");
            }
            TxnOp::RemoveColl { coll } => {
                self.colls.remove(coll);
            }
            TxnOp::Touch { coll, oid } => {
                self.object_mut(coll, oid);
            }
            TxnOp::Write { coll, oid, off, data } => {
                let o = self.object_mut(coll, oid);
                let end = *off as usize + data.len();
                if o.data.len() < end {
                    o.data.resize(end, 0);
                }
                o.data[*off as usize..end].copy_from_slice(data);
                o.extents.insert(*off, data.len() as u64);
            }
            TxnOp::Zero { coll, oid, off, len } => {
                let o = self.object_mut(coll, oid);
                let end = (off + len) as usize;
                if o.data.len() < end {
                    o.data.resize(end, 0);
                }
                o.data[*off as usize..end].fill(0);
                o.extents.erase(*off, *len);
            }
            TxnOp::Truncate { coll, oid, size } => {
                let o = self.object_mut(coll, oid);
                o.data.resize(*size as usize, 0);
                o.extents.erase(*size, u64::MAX - size);
            }
            TxnOp::Remove { coll, oid } => {
                self.coll_mut(coll).remove(oid);
            }
            TxnOp::SetAttr { coll, oid, name, value } => {
                self.object_mut(coll, oid).attrs.insert(name.clone(), value.clone());
            }
            TxnOp::RmAttr { coll, oid, name } => {
                self.object_mut(coll, oid).attrs.remove(name);
            }
            TxnOp::Clone { coll, src, dst } => {
                let c = self.coll_mut(coll);
                let o = c.get(src).unwrap_or_else(|| panic!("clone of absent {src}")).clone();
                c.insert(dst.clone(), o);
            }
            TxnOp::CloneRange { coll, src, dst, src_off, len, dst_off } => {
                let c = self.coll_mut(coll);
                let s = c.get(src).unwrap_or_else(|| panic!("clone of absent {src}")).clone();
                let end = (*src_off + *len).min(s.data.len() as u64);
                let part = Bytes::copy_from_slice(&s.data[(*src_off).min(end) as usize..end as usize]);
                let (coll, oid, off) = (*coll, dst.clone(), *dst_off);
                self.apply_op(&TxnOp::Write { coll, oid, off, data: part });
            }
            TxnOp::OmapSet { coll, oid, pairs } => {
                self.object_mut(coll, oid).omap.extend(pairs.iter().cloned());
            }
            TxnOp::OmapRm { coll, oid, keys } => {
                let o = self.object_mut(coll, oid);
                keys.iter().for_each(|k| {
                    o.omap.remove(k);
                });
            }
            TxnOp::OmapRmRange { coll, oid, first, last } => {
                self.object_mut(coll, oid).omap.retain(|k, _| k < first || k >= last);
            }
            TxnOp::OmapClear { coll, oid } => {
                let o = self.object_mut(coll, oid);
                o.omap.clear();
                o.header = Bytes::new();
            }
            TxnOp::OmapSetHeader { coll, oid, header } => {
                self.object_mut(coll, oid).header = header.clone();
            }
            TxnOp::Rename { coll, src, dst } => {
                let c = self.coll_mut(coll);
                let o = c.remove(src).unwrap_or_else(|| panic!("rename of absent {src}"));
                c.insert(dst.clone(), o);
            }
        }
    }
}

impl ObjectStore for MemStore {
    fn stat(&self, coll: CollId, oid: &HObject) -> Result<ObjectStat, StoreError> {
        Ok(ObjectStat { size: self.object(coll, oid)?.data.len() as u64 })
    }
    fn read(&self, coll: CollId, oid: &HObject, off: u64, len: u64) -> Result<Bytes, StoreError> {
        let o = self.object(coll, oid)?;
        let end = off.saturating_add(len).min(o.data.len() as u64);
        Ok(Bytes::copy_from_slice(&o.data[off.min(end) as usize..end as usize]))
    }
    fn extents(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let o = self.object(coll, oid)?;
        let len = len.min((o.data.len() as u64).saturating_sub(off));
        Ok(o.extents.intersection(&crate::interval::IntervalSet::of(off, len)).iter().collect())
    }
    fn getattr(&self, coll: CollId, oid: &HObject, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.object(coll, oid)?.attrs.get(name).cloned())
    }
    fn getattrs(&self, coll: CollId, oid: &HObject) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let attrs = &self.object(coll, oid)?.attrs;
        Ok(attrs.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }
    fn omap_header(&self, coll: CollId, oid: &HObject) -> Result<Bytes, StoreError> {
        Ok(self.object(coll, oid)?.header.clone())
    }
    fn omap_get(&self, coll: CollId, oid: &HObject, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.object(coll, oid)?.omap.get(key).cloned())
    }
    fn omap_list(
        &self,
        coll: CollId,
        oid: &HObject,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<OmapEntry>, StoreError> {
        let from = match after {
            Some(k) => Bound::Excluded(Bytes::copy_from_slice(k)),
            None => Bound::Unbounded,
        };
        let omap = &self.object(coll, oid)?.omap;
        Ok(omap.range((from, Bound::Unbounded)).take(max).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
    fn list(&self, coll: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError> {
        let c = self.colls.get(&coll).ok_or(StoreError::NoColl(coll))?;
        Ok(c.range(start.clone()..).take(max).map(|(o, _)| o.clone()).collect())
    }
    fn collections(&self) -> Vec<CollId> {
        self.colls.keys().copied().collect()
    }
    fn statfs(&self) -> StoreStatfs {
        let used: u64 = self.colls.values().flat_map(|c| c.values()).map(|o| o.extents.size()).sum();
        StoreStatfs {
            total: 1 << 40,
            available: (1 << 40) - used,
            allocated: used,
            data_stored: used,
            ..StoreStatfs::default()
        }
    }
    fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError> {
        self.apply(&txn);
        self.committed.push(token);
        Ok(())
    }
}

/// One object's PG on a [`MemStore`]: counts versions, resolves snapshots and applies what vectors do. For tests.
pub struct Harness {
    /// The store.
    pub store: MemStore,
    /// The collection.
    pub coll: CollId,
    /// Last version.
    pub version: types::EVersion,
    /// Last user version.
    pub last_user_version: u64,
    /// The snap context that writes come with.
    pub snapc: types::SnapContext,
    /// Watches.
    pub watches: crate::watch::WatchRegistry,
    /// Clock.
    pub now: types::Utime,
    /// The client.
    pub client: types::EntityName,
    /// Message flags.
    pub flags: messages::OsdFlags,
    /// Fullness.
    pub full: crate::PoolFull,
    /// Limits.
    pub limits: crate::Limits,
    /// Sum of all deltas.
    pub stats: crate::StatsDelta,
    /// Answers to copy requests.
    pub copies: Vec<crate::CopyResult>,
    /// Next notify id.
    pub next_notify_id: u64,
    /// Seed of the random bytes.
    pub seed: u8,
}

impl Default for Harness {
    fn default() -> Self {
        let coll = CollId::Pg(types::SpgId::replicated(types::PgId::new(1, 0)));
        Harness {
            store: MemStore::with_coll(coll),
            coll,
            version: types::EVersion::new(1, 0),
            last_user_version: 0,
            snapc: types::SnapContext::default(),
            watches: crate::watch::WatchRegistry::new(),
            now: types::Utime::from_secs(1_000_000),
            client: types::EntityName::client(4100),
            flags: messages::OsdFlags(0),
            full: crate::PoolFull::No,
            limits: crate::Limits::default(),
            stats: crate::StatsDelta::default(),
            copies: Vec::new(),
            next_notify_id: 1,
            seed: 0,
        }
    }
}

impl Harness {
    /// A fresh one.
    pub fn new() -> Self {
        Self::default()
    }
    /// A head object of the PG's pool.
    pub fn oid(name: &str) -> HObject {
        HObject {
            name: Bytes::copy_from_slice(name.as_bytes()),
            snap: types::SnapId::HEAD,
            hash: name.bytes().fold(17u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into())),
            pool: types::PoolId(1),
            ..HObject::MIN
        }
    }
    /// Runs a vector on the head and applies it.
    pub fn run(&mut self, name: &str, ops: &[messages::OsdOp]) -> crate::OpOutcome {
        self.run_at(name, types::SnapId::HEAD, ops)
    }
    /// Runs a vector at a snapshot and applies it.
    ///
    /// # Panics
    /// When versions or states that come out do not fit together.
    pub fn run_at(&mut self, name: &str, snapid: types::SnapId, ops: &[messages::OsdOp]) -> crate::OpOutcome {
        let fail = |e: types::Errno| crate::OpOutcome { result: e.negated(), ..Default::default() };
        let oid = Self::oid(name);
        let head = match crate::load_object_context(&self.store, self.coll, &oid) {
            Ok(h) => h,
            Err(e) => return fail(e),
        };
        let class = match crate::classify(ops, &self.limits) {
            Ok(c) => c,
            Err(e) => return fail(e),
        };
        let obc = match crate::resolve_snap(&head, snapid) {
            Ok(o) if o.is_head() => head,
            Ok(o) => match crate::load_object_context(&self.store, self.coll, &o) {
                Ok(c) => c,
                Err(e) => return fail(e),
            },
            Err(e) => return fail(e),
        };
        let mut version = self.version;
        version.version += 1;
        let mut seed = self.seed;
        let mut random = |buf: &mut [u8]| {
            for b in buf {
                seed = seed.wrapping_mul(37).wrapping_add(11);
                *b = seed;
            }
        };
        let mut env = crate::OpEnv {
            store: &self.store,
            coll: self.coll,
            now: self.now,
            epoch: types::Epoch(1),
            mtime: self.now,
            reqid: types::ReqId { name: self.client, tid: version.version, inc: 0 },
            addr: types::EntityAddr::default(),
            session: crate::SessionId(self.client.num as u64),
            client_features: u64::MAX,
            msg_flags: self.flags,
            snapid,
            snapc: &self.snapc,
            at_version: version,
            last_user_version: self.last_user_version,
            full: self.full,
            limits: &self.limits,
            watches: &self.watches,
            next_notify_id: &mut self.next_notify_id,
            random: &mut random,
            require_osd_release: 16,
            min_compat_client: 12,
            copies: &self.copies,
            snap_mapper: true,
        };
        let out = crate::execute(&mut env, &obc, &class, ops);
        self.seed = seed;
        if out.write {
            self.commit(&out.txn, &out.log, &out.stats);
            self.last_user_version = self.last_user_version.max(out.user_version);
            let new = out.new_ctx.as_ref().expect("a write has a new state");
            let stored = crate::load_object_context(&self.store, self.coll, &oid).expect("loads");
            assert_eq!(&stored, new, "the store has the state that was handed out");
            if let Some(c) = &out.new_clone {
                let stored = crate::load_object_context(&self.store, self.coll, &c.oid).expect("loads");
                assert_eq!(&stored, c);
            }
        } else {
            assert!(out.txn.is_empty() && out.log.is_empty());
        }
        out
    }
    /// Applies changes and advances the version.
    ///
    /// # Panics
    /// When the log's versions are not the next ones.
    pub fn commit(&mut self, txn: &Transaction, log: &[crate::LogEntry], stats: &crate::StatsDelta) {
        for e in log {
            self.version.version += 1;
            assert_eq!(e.version, self.version);
        }
        self.store.apply(txn);
        self.stats.add(stats);
    }
    /// Takes `removed` snaps off all clones that the index names.
    ///
    /// # Panics
    /// When a trim fails.
    pub fn trim(&mut self, snap: types::SnapId, removed: &dyn Fn(types::SnapId) -> bool) {
        let mapper = crate::snap::SnapMapper::new(self.coll);
        loop {
            let next = mapper.next_objects_to_trim(&self.store, snap, 2).expect("index");
            let Some(oid) = next.first() else { return };
            let mut version = self.version;
            version.version += 1;
            let out = crate::snap::trim_object(&self.store, self.coll, oid, removed, version, self.now)
                .expect("trims");
            self.commit(&out.txn, &out.log, &out.stats);
            if let Some(head) = &out.head {
                let stored = crate::load_object_context(&self.store, self.coll, &head.oid).expect("loads");
                assert_eq!(&stored, head);
            }
        }
    }
    /// Whole content of an object of the store, for comparisons.
    pub fn content(&self, oid: &HObject) -> Option<Bytes> {
        self.store.read(self.coll, oid, 0, u64::MAX).ok()
    }
    /// All objects of the pool in the store.
    ///
    /// # Panics
    /// Never: the collection exists.
    pub fn objects(&self) -> Vec<HObject> {
        let start = HObject { pool: types::PoolId(1), ..HObject::MIN };
        self.store.list(self.coll, &start, usize::MAX).expect("the collection exists")
    }
    /// Concatenation of pieces.
    pub fn join(parts: &[Bytes]) -> Bytes {
        let mut b = BytesMut::new();
        parts.iter().for_each(|p| b.extend_from_slice(p));
        b.freeze()
    }
}
