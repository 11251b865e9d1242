//! From an object name to its state: loading contexts from the store and choosing the clone that serves a snapshot
//! (`PrimaryLogPG::find_object_context`).

use crate::api::ObjectContext;
use crate::info::{OI_ATTR, ObjectInfo, SS_ATTR, SnapSet};
use objstore::{CollId, ObjectStore, StoreError};
use types::{Errno, HObject, SnapContext, SnapId};

/// How a store error looks to a client: lost or rotten data is `EIO`, an absent object `ENOENT`.
pub fn store_errno(e: &StoreError) -> Errno {
    match e {
        StoreError::NoObject(_) => Errno::ENOENT,
        StoreError::Full => Errno::ENOSPC,
        StoreError::NoColl(_) | StoreError::Corrupt { .. } | StoreError::Device(_) => Errno::EIO,
    }
}

/// Loads the state of a head or a clone from its xattrs. An absent object gives an absent context, not an error; for
/// a clone, `snapset` comes from the head's xattr.
///
/// Errors: `EIO` when the store fails or the metadata cannot be decoded.
pub fn load_object_context(
    store: &dyn ObjectStore,
    coll: CollId,
    oid: &HObject,
) -> Result<ObjectContext, Errno> {
    let oi = match store.getattr(coll, oid, OI_ATTR) {
        Ok(Some(oi)) => Some(oi),
        Ok(None) | Err(StoreError::NoObject(_)) => None,
        Err(e) => return Err(store_errno(&e)),
    };
    let snapset = {
        let head = if oid.is_head() { None } else { Some(oid.head()) };
        let at = head.as_ref().unwrap_or(oid);
        if oi.is_none() && head.is_none() {
            SnapSet::default()
        } else {
            match store.getattr(coll, at, SS_ATTR) {
                Ok(Some(ss)) => denc::from_bytes(&ss).map_err(|_| Errno::EIO)?,
                Ok(None) | Err(StoreError::NoObject(_)) => SnapSet::default(),
                Err(e) => return Err(store_errno(&e)),
            }
        }
    };
    Ok(match oi {
        Some(oi) => {
            let info: ObjectInfo = denc::from_bytes(&oi).map_err(|_| Errno::EIO)?;
            ObjectContext { oid: oid.clone(), exists: true, info, snapset }
        }
        None => ObjectContext { snapset, ..ObjectContext::absent(oid.clone()) },
    })
}

/// Which object serves a read of `head` at `snapid`: the head itself or one of its clones.
///
/// HEAD and SNAPDIR give the head. Errors: `ENOENT` when the object did not exist at that snapshot.
pub fn resolve_snap(head: &ObjectContext, snapid: SnapId) -> Result<HObject, Errno> {
    debug_assert!(head.oid.is_head());
    if snapid == SnapId::HEAD || snapid == SnapId::SNAPDIR {
        return Ok(head.oid.clone());
    }
    let ss = &head.snapset;
    if snapid > ss.seq {
        // Not written since that snapshot: the head is what it was.
        return if head.exists { Ok(head.oid.clone()) } else { Err(Errno::ENOENT) };
    }
    // The oldest clone that is not older than the snapshot, if it reaches back to it.
    let clone = *ss.clones.iter().find(|c| **c >= snapid).ok_or(Errno::ENOENT)?;
    let oldest = ss.clone_snaps.get(&clone).and_then(|s| s.last()).ok_or(Errno::ENOENT)?;
    if *oldest <= snapid { Ok(head.oid.at(clone)) } else { Err(Errno::ENOENT) }
}

/// Drops the snapshots that are being removed from a client's snap context, so that no clone is made for them.
pub fn filter_snapc(snapc: &mut SnapContext, removed: impl Fn(SnapId) -> bool) {
    snapc.snaps.retain(|s| !removed(*s));
}
