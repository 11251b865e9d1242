//! Snapshots beyond single ops: the index from snapshots to clones ([`SnapMapper`], stock's class of that name in our own
//! layout) and the trimming of clones ([`trim_object`], `PrimaryLogPG::trim_object`).
//!
//! The index is the omap of one object per PG, in the PG's own collection: `S<snap, 16 hex digits>_<object>` -> the
//! clone, encoded; `O<object>` -> its snaps. `<object>` is the clone's encoding, which keeps keys unique.

use crate::api::{LogEntry, LogKind, ObjectContext, StatsDelta};
use crate::context::{load_object_context, store_errno};
use crate::info::{OI_ATTR, SS_ATTR, oi_flag};
use bytes::Bytes;
use denc::Features;
use objstore::{CollId, ObjectStore, StoreError, Transaction, TxnOp};
use types::{EVersion, Errno, HObject, PoolId, ReqId, SnapId, Utime};

/// Changes of a trim step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrimOutcome {
    /// Changes.
    pub txn: Transaction,
    /// Log entries: the clone's delete or modify, then the head's modify or delete.
    pub log: Vec<LogEntry>,
    /// Change of statistics.
    pub stats: StatsDelta,
    /// New head state for the cache; `exists` is false when the head (a whiteout) went with its last clone.
    pub head: Option<ObjectContext>,
    /// The clone is gone (else it stays with fewer snaps).
    pub clone_removed: bool,
}

/// The index from snapshots to the clones that hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapMapper {
    coll: CollId,
}

fn object_key(oid: &HObject) -> Bytes {
    denc::to_bytes(oid, Features::ALL)
}
fn key_of(oid: &HObject) -> Bytes {
    [b"O", &object_key(oid)[..]].concat().into()
}
fn snap_prefix(snap: SnapId) -> Vec<u8> {
    format!("S{:016x}_", snap.0).into_bytes()
}
fn snap_key(snap: SnapId, oid: &HObject) -> Bytes {
    let mut k = snap_prefix(snap);
    k.extend_from_slice(&object_key(oid));
    k.into()
}

impl SnapMapper {
    /// The index of a PG's collection.
    pub fn new(coll: CollId) -> Self {
        SnapMapper { coll }
    }

    /// The index object. Its pool is negative, so it sorts before all objects of the pool: listings that begin at the PG's
    /// first object (recovery, backfill, scrub, clients) never meet it.
    pub fn object() -> HObject {
        HObject {
            name: Bytes::from_static(b"snapmapper"),
            snap: SnapId::HEAD,
            pool: PoolId(-1),
            ..HObject::MIN
        }
    }

    /// Adds the ops that enter a new clone.
    pub fn add(&self, clone: &HObject, snaps: &[SnapId], ops: &mut Vec<TxnOp>) {
        let value = object_key(clone);
        let mut pairs: Vec<(Bytes, Bytes)> =
            snaps.iter().map(|s| (snap_key(*s, clone), value.clone())).collect();
        pairs.push((key_of(clone), denc::to_bytes(snaps, Features::ALL)));
        ops.push(TxnOp::OmapSet { coll: self.coll, oid: Self::object(), pairs });
    }

    /// Adds the ops that take a clone out.
    pub fn remove(&self, clone: &HObject, snaps: &[SnapId], ops: &mut Vec<TxnOp>) {
        let mut keys: Vec<Bytes> = snaps.iter().map(|s| snap_key(*s, clone)).collect();
        keys.push(key_of(clone));
        ops.push(TxnOp::OmapRm { coll: self.coll, oid: Self::object(), keys });
    }

    /// The snaps that a clone is entered with; `None` when it is not.
    pub fn snaps_of(&self, store: &dyn ObjectStore, clone: &HObject) -> Result<Option<Vec<SnapId>>, Errno> {
        match store.omap_get(self.coll, &Self::object(), &key_of(clone)) {
            Ok(Some(v)) => denc::from_bytes(&v).map(Some).map_err(|_| Errno::EIO),
            Ok(None) | Err(StoreError::NoObject(_)) => Ok(None),
            Err(e) => Err(store_errno(&e)),
        }
    }

    /// Adds the ops that make the entry of `clone` be `snaps` (empty: none), whatever it was: for recovery and replicas.
    pub fn set(
        &self,
        store: &dyn ObjectStore,
        clone: &HObject,
        snaps: &[SnapId],
        ops: &mut Vec<TxnOp>,
    ) -> Result<(), Errno> {
        if let Some(old) = self.snaps_of(store, clone)? {
            if old == snaps {
                return Ok(());
            }
            self.remove(clone, &old, ops);
        }
        if !snaps.is_empty() {
            self.add(clone, snaps, ops);
        }
        Ok(())
    }

    /// Up to `max` clones that hold `snap`.
    pub fn next_objects_to_trim(
        &self,
        store: &dyn ObjectStore,
        snap: SnapId,
        max: usize,
    ) -> Result<Vec<HObject>, Errno> {
        let prefix = snap_prefix(snap);
        let got = match store.omap_list(self.coll, &Self::object(), Some(&prefix), max) {
            Ok(got) => got,
            Err(StoreError::NoObject(_)) => return Ok(Vec::new()),
            Err(e) => return Err(store_errno(&e)),
        };
        got.iter()
            .take_while(|(k, _)| k.starts_with(&prefix))
            .map(|(_, v)| denc::from_bytes(v).map_err(|_| Errno::EIO))
            .collect()
    }

    /// Up to `max` snaps > `after` that some clone holds: for finding purged snaps that were missed.
    pub fn snaps_after(
        &self,
        store: &dyn ObjectStore,
        after: SnapId,
        max: usize,
    ) -> Result<Vec<SnapId>, Errno> {
        let mut out = Vec::new();
        let mut from = snap_prefix(SnapId(after.0 + 1));
        while out.len() < max {
            let got = match store.omap_list(self.coll, &Self::object(), Some(&from), 1) {
                Ok(got) => got,
                Err(StoreError::NoObject(_)) => break,
                Err(e) => return Err(store_errno(&e)),
            };
            let Some(snap) = got.first().and_then(|(k, _)| {
                let hex = std::str::from_utf8(k.get(1..17)?).ok()?;
                if k[0] == b'S' { u64::from_str_radix(hex, 16).ok() } else { None }
            }) else {
                break;
            };
            out.push(SnapId(snap));
            let Some(next) = snap.checked_add(1) else { break };
            from = snap_prefix(SnapId(next));
        }
        Ok(out)
    }

    /// Moves the entries of clones that `moves` names to the collection of a split-off PG: the same keys there, none here.
    pub fn split(
        &self,
        store: &dyn ObjectStore,
        to: CollId,
        moves: &dyn Fn(&HObject) -> bool,
    ) -> Result<Transaction, Errno> {
        let mut txn = Transaction::new();
        let mut after: Option<Bytes> = None;
        loop {
            let got = match store.omap_list(self.coll, &Self::object(), after.as_deref(), 1024) {
                Ok(got) => got,
                Err(StoreError::NoObject(_)) => return Ok(txn),
                Err(e) => return Err(store_errno(&e)),
            };
            let Some((last, _)) = got.last() else { return Ok(txn) };
            after = Some(last.clone());
            let mut moved = Vec::new();
            for (k, v) in got {
                let object = if k.first() == Some(&b'O') { k.slice(1..) } else { v.clone() };
                let oid: HObject = denc::from_bytes(&object).map_err(|_| Errno::EIO)?;
                if moves(&oid) {
                    moved.push((k, v));
                }
            }
            if !moved.is_empty() {
                let keys = moved.iter().map(|(k, _)| k.clone()).collect();
                txn.push(TxnOp::OmapRm { coll: self.coll, oid: Self::object(), keys });
                txn.push(TxnOp::OmapSet { coll: to, oid: Self::object(), pairs: moved });
            }
        }
    }
}

/// Takes every snap that `removed` knows off the clone `oid`; removes the clone when nothing is left. `at_version` is the
/// first log version to use (two are used).
///
/// Errors: `ENOENT` when head or clone is absent or the snap set does not know the clone: the index is wrong, and the PG
/// takes the entry out with [`SnapMapper::set`]. `EIO` when the metadata cannot be read.
pub fn trim_object(
    store: &dyn ObjectStore,
    coll: CollId,
    oid: &HObject,
    removed: &dyn Fn(SnapId) -> bool,
    at_version: EVersion,
    now: Utime,
) -> Result<TrimOutcome, Errno> {
    let mut head = load_object_context(store, coll, &oid.head())?;
    let clone = load_object_context(store, coll, oid)?;
    if !head.exists || !clone.exists {
        return Err(Errno::ENOENT);
    }
    let id = oid.snap;
    let ss = &mut head.snapset;
    let old_snaps = ss.clone_snaps.get(&id).filter(|s| !s.is_empty()).ok_or(Errno::ENOENT)?.clone();
    let at = ss.clones.iter().position(|c| *c == id).ok_or(Errno::ENOENT)?;
    let left: Vec<SnapId> = old_snaps.iter().copied().filter(|s| !removed(*s)).collect();

    let mut out = TrimOutcome::default();
    let mut version = at_version;
    let entry = |kind, oid: &HObject, version, prior_version, snaps| LogEntry {
        kind,
        oid: oid.clone(),
        version,
        prior_version,
        user_version: 0,
        reqid: ReqId::default(),
        mtime: now,
        snaps,
    };
    let mapper = SnapMapper::new(coll);
    let ops = &mut out.txn.ops;
    // What the index says now goes, be it what the snap set says or not.
    mapper.set(store, oid, &left, ops)?;
    if left.is_empty() {
        out.stats.num_bytes -= ss.clone_bytes(id) as i64;
        if at > 0 {
            // The next older clone now shares with whatever this one shared with.
            let older = ss.clones[at - 1];
            out.stats.num_bytes -= ss.clone_bytes(older) as i64;
            let own = ss.clone_overlap.get(&id).cloned().unwrap_or_default();
            if let Some(overlap) = ss.clone_overlap.get_mut(&older) {
                *overlap = overlap.intersection(&own);
            }
            out.stats.num_bytes += ss.clone_bytes(older) as i64;
        }
        let had = |flag| i64::from(clone.info.has(flag));
        out.stats.num_objects -= 1;
        out.stats.num_object_clones -= 1;
        out.stats.num_objects_dirty -= had(oi_flag::DIRTY);
        out.stats.num_objects_omap -= had(oi_flag::OMAP);
        ss.clones.remove(at);
        ss.clone_overlap.remove(&id);
        ss.clone_size.remove(&id);
        ss.clone_snaps.remove(&id);
        out.clone_removed = true;
        ops.push(TxnOp::Remove { coll, oid: oid.clone() });
        out.log.push(entry(LogKind::Delete, oid, version, clone.info.version, Vec::new()));
    } else {
        ss.clone_snaps.insert(id, left.clone());
        let mut info = clone.info.clone();
        info.prior_version = info.version;
        info.version = version;
        ops.push(TxnOp::SetAttr {
            coll,
            oid: oid.clone(),
            name: Bytes::from_static(OI_ATTR),
            value: info.to_attr(),
        });
        out.log.push(entry(LogKind::Modify, oid, version, clone.info.version, left));
    }
    version.version += 1;

    let prior = head.info.version;
    if head.snapset.clones.is_empty() && head.info.is_whiteout() {
        // Nothing is left that the whiteout would have to hold.
        let had = |flag| i64::from(head.info.has(flag));
        out.stats.num_objects -= 1;
        out.stats.num_whiteouts -= 1;
        out.stats.num_objects_dirty -= had(oi_flag::DIRTY);
        out.stats.num_objects_omap -= had(oi_flag::OMAP);
        ops.push(TxnOp::Remove { coll, oid: head.oid.clone() });
        out.log.push(entry(LogKind::Delete, &head.oid, version, prior, Vec::new()));
        out.head = Some(ObjectContext::absent(head.oid));
    } else {
        head.info.prior_version = prior;
        head.info.version = version;
        for (name, value) in [(OI_ATTR, head.info.to_attr()), (SS_ATTR, head.snapset.to_attr())] {
            let name = Bytes::from_static(name);
            ops.push(TxnOp::SetAttr { coll, oid: head.oid.clone(), name, value });
        }
        out.log.push(entry(LogKind::Modify, &head.oid, version, prior, Vec::new()));
        out.head = Some(head);
    }
    Ok(out)
}
