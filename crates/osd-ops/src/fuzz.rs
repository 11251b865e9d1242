//! Functions over arbitrary bytes for fuzzing; they must return.

use crate::api::{Limits, ObjectContext, OpEnv, PoolFull, SessionId};
use crate::copy::CopyData;
use crate::info::{ObjectInfo, SnapSet};
use crate::watch::WatchRegistry;
use bytes::Bytes;
use denc::{Decoder, Features};
use messages::OsdOp;
use objstore::{
    CollId, CommitToken, ObjectStat, ObjectStore, OmapEntry, StoreError, StoreStatfs, Transaction,
};
use types::{EVersion, EntityAddr, Epoch, HObject, ReqId, SnapContext, SnapId, Utime};

/// Metadata as it comes from a store or another OSD.
pub fn fuzz_metadata(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    if let Ok(o) = denc::from_bytes::<ObjectInfo>(&data) {
        let again: ObjectInfo =
            denc::from_bytes(&denc::to_bytes(&o, Features::ALL)).expect("what we encode decodes");
        assert_eq!(again.to_attr(), o.to_attr());
    }
    if let Ok(s) = denc::from_bytes::<SnapSet>(&data) {
        assert_eq!(denc::from_bytes::<SnapSet>(&s.to_attr()).as_ref(), Ok(&s));
    }
    if let Ok(c) = denc::from_bytes::<CopyData>(&data) {
        assert_eq!(denc::from_bytes::<CopyData>(&denc::to_bytes(&c, Features::ALL)).as_ref(), Ok(&c));
    }
}

/// Op vectors: heads of 38 bytes each with a one-byte count in front, then their data, on an absent and on a small object.
pub fn fuzz_ops(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let mut d = Decoder::new(&data);
    let n = usize::from(d.u8().unwrap_or(0) % 8);
    let mut heads = Vec::new();
    for _ in 0..n {
        match OsdOp::decode_head(&mut d) {
            Ok((op, len)) => heads.push((op, len as usize)),
            Err(_) => break,
        }
    }
    let ops: Vec<OsdOp> = heads
        .into_iter()
        .map(|(op, len)| {
            let len = len.min(d.remaining());
            op.with_data(d.take(len).unwrap_or_default())
        })
        .collect();
    run(&ops);
}

/// Runs a vector for its panics only.
pub fn run(ops: &[OsdOp]) {
    let limits = Limits { object_size_max: 1 << 16, ..Limits::default() };
    let Ok(class) = crate::classify(ops, &limits) else { return };
    let oid = HObject { name: Bytes::from_static(b"o"), snap: SnapId::HEAD, ..HObject::MIN };
    for exists in [false, true] {
        let mut obc = ObjectContext::absent(oid.clone());
        obc.exists = exists;
        obc.info.size = if exists { 100 } else { 0 };
        let registry = WatchRegistry::new();
        let mut id = 1;
        let mut random = |buf: &mut [u8]| buf.fill(1);
        let mut env = OpEnv {
            store: &Nothing,
            coll: CollId::Meta,
            now: Utime::from_secs(1),
            epoch: Epoch(1),
            mtime: Utime::from_secs(1),
            reqid: ReqId::default(),
            addr: EntityAddr::default(),
            session: SessionId(1),
            client_features: u64::MAX,
            msg_flags: messages::OsdFlags::RETURNVEC,
            snapid: SnapId::HEAD,
            snapc: &SnapContext { seq: SnapId(3), snaps: vec![SnapId(3), SnapId(1)] },
            at_version: EVersion::new(1, 1),
            last_user_version: 0,
            full: PoolFull::No,
            limits: &limits,
            watches: &registry,
            next_notify_id: &mut id,
            random: &mut random,
            require_osd_release: 16,
            min_compat_client: 0,
            copies: &[],
            snap_mapper: true,
        };
        let out = crate::execute(&mut env, &obc, &class, ops);
        assert_eq!(out.write, !out.log.is_empty());
    }
}

/// A store whose objects all exist and are empty.
struct Nothing;
impl ObjectStore for Nothing {
    fn stat(&self, _: CollId, _: &HObject) -> Result<ObjectStat, StoreError> {
        Ok(ObjectStat { size: 0 })
    }
    fn read(&self, _: CollId, _: &HObject, _: u64, _: u64) -> Result<Bytes, StoreError> {
        Ok(Bytes::new())
    }
    fn extents(&self, _: CollId, _: &HObject, _: u64, _: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        Ok(Vec::new())
    }
    fn getattr(&self, _: CollId, _: &HObject, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
    fn getattrs(&self, _: CollId, _: &HObject) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        Ok(Vec::new())
    }
    fn omap_header(&self, _: CollId, _: &HObject) -> Result<Bytes, StoreError> {
        Ok(Bytes::new())
    }
    fn omap_get(&self, _: CollId, _: &HObject, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
    fn omap_list(
        &self,
        _: CollId,
        _: &HObject,
        _: Option<&[u8]>,
        _: usize,
    ) -> Result<Vec<OmapEntry>, StoreError> {
        Ok(Vec::new())
    }
    fn list(&self, _: CollId, _: &HObject, _: usize) -> Result<Vec<HObject>, StoreError> {
        Ok(Vec::new())
    }
    fn collections(&self) -> Vec<CollId> {
        Vec::new()
    }
    fn statfs(&self) -> StoreStatfs {
        StoreStatfs::default()
    }
    fn queue(&mut self, _: Transaction, _: CommitToken) -> Result<(), StoreError> {
        Ok(())
    }
}
