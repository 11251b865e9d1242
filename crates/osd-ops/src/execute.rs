//! Runs an op vector from start to end: [`execute`] (`PrimaryLogPG::prepare_transaction`, `make_writeable`,
//! `finish_ctx`).

use crate::api::{
    LogEntry, LogKind, ObjectContext, OpClass, OpEnv, OpOutcome, OpResult, PoolFull, WatchEffect,
};
use crate::exec::Exec;
use crate::info::{OI_ATTR, ObjectInfo, SS_ATTR, SnapSet, WatchKey, oi_flag};
use crate::interval::IntervalSet;
use crate::ops::{self, OpAnswer};
use crate::snap::SnapMapper;
use bytes::Bytes;
use messages::{OpCode, OpFlags, OsdFlags, OsdOp};
use objstore::TxnOp;
use types::{EVersion, EntityType, Errno, ReqId, SnapId};

/// `EOLDSNAPC`: the client's snap context is older than the object's.
const EOLDSNAPC: i32 = 85;

fn failed(ops: usize, errno: i32) -> OpOutcome {
    OpOutcome { result: -errno, ops: vec![OpResult::default(); ops], ..OpOutcome::default() }
}

/// Runs the vector `ops` of one message on the object of `obc` (already resolved for the snapshot that it reads).
/// `class` is what [`crate::classify`] said of the same vector.
pub fn execute(env: &mut OpEnv<'_>, obc: &ObjectContext, class: &OpClass, ops: &[OsdOp]) -> OpOutcome {
    let writes = class.writes();
    if !writes && (!obc.exists || (obc.info.is_whiteout() && env.snapid != SnapId::SNAPDIR)) {
        return OpOutcome { user_version: env.last_user_version, ..failed(ops.len(), Errno::ENOENT.code()) };
    }
    if writes {
        if env.snapid != SnapId::HEAD || !obc.oid.is_head() || !env.snapc.is_valid() {
            return failed(ops.len(), Errno::EINVAL.code());
        }
        if env.msg_flags.has(OsdFlags::ORDERSNAP) && env.snapc.seq < obc.snapset.seq {
            return failed(ops.len(), EOLDSNAPC);
        }
    }
    // Patches for later reads are only kept when there can be some.
    let track = (ops.len() > 1 && class.reads()) || class.class_write;
    let mut x = Exec::new(env, obc, track);
    let mut results = vec![OpResult::default(); ops.len()];
    let mut fetches = Vec::new();
    let mut result = 0;
    for (i, op) in ops.iter().enumerate() {
        match ops::run(&mut x, i, op) {
            Ok(OpAnswer::Done(rval, out)) => results[i] = OpResult { rval, out },
            Ok(OpAnswer::Fetch(request)) => {
                // The rest decides on the content, so it waits, too.
                fetches.push(request);
                break;
            }
            Err(e) => results[i].rval = e.negated(),
        }
        result = results[i].rval;
        if result < 0 {
            if !op.flags.has(OpFlags::FAILOK) || result == Errno::EAGAIN.negated() {
                break;
            }
            result = 0;
        }
    }
    let bad_object = x.work.bad.get().then(|| obc.oid.clone());
    if !fetches.is_empty() {
        return OpOutcome { copy_from: fetches, ops: results, ..OpOutcome::default() };
    }
    let mut out = OpOutcome { result, ops: results, bad_object, ..OpOutcome::default() };
    out.version = obc.info.version;
    out.user_version = obc.info.user_version;
    if result < 0 {
        out.log_error_only = writes;
        return out;
    }
    if !x.modify && x.work.txn.is_empty() {
        out.log_error_only = writes;
        out.stats = x.stats;
        out.watch = x.watch;
        return out;
    }
    if x.env.full != PoolFull::No && (x.stats.num_bytes > 0 || x.stats.num_objects > 0) {
        let privileged =
            x.env.reqid.name.kind == EntityType::MDS || x.env.msg_flags.has(OsdFlags::FULL_FORCE);
        if !privileged {
            if !x.env.msg_flags.has(OsdFlags::FULL_TRY) {
                return OpOutcome { drop_full: true, ..failed(ops.len(), Errno::EAGAIN.code()) };
            }
            let e = if x.env.full == PoolFull::Quota { Errno::EDQUOT } else { Errno::ENOSPC };
            out.result = e.negated();
            out.log_error_only = true;
            return out;
        }
    }
    finish(x, &mut out);
    if out.result >= 0 {
        limit_reply(&mut out, env);
    }
    out
}

/// What a write may answer: nothing, unless the client asked for it and it is short.
fn limit_reply(out: &mut OpOutcome, env: &OpEnv<'_>) {
    if env.msg_flags.has(OsdFlags::RETURNVEC) {
        if out.ops.iter().any(|r| r.out.len() > env.limits.write_op_reply_len_max) {
            // The write stands, as in stock: only the answer is refused.
            out.result = Errno::EOVERFLOW.negated();
        }
    } else {
        out.result = 0;
        out.ops.iter_mut().for_each(|r| r.out = Bytes::new());
    }
}

/// Makes the clone that the snap context asks for, keeps the overlap of the newest one, writes info and snap set, and
/// makes the log entries.
fn finish(mut x: Exec<'_, '_>, out: &mut OpOutcome) {
    let (coll, head) = (x.env.coll, x.old.oid.clone());
    let mut version = x.env.at_version;
    let was_omap = x.old.exists && x.old.info.has(oi_flag::OMAP);
    let is_omap = x.exists && x.info.has(oi_flag::OMAP);
    x.stats.num_objects_omap += i64::from(is_omap) - i64::from(was_omap);
    let was_dirty = x.old.exists && x.old.info.has(oi_flag::DIRTY);
    x.info.set(oi_flag::DIRTY, x.exists);
    x.stats.num_objects_dirty += i64::from(x.exists) - i64::from(was_dirty);
    let mut mtime = if x.env.mtime.is_zero() { x.info.mtime } else { x.env.mtime };
    if x.keep_mtime {
        mtime = x.info.mtime;
    }

    let mut clone_ops = Vec::new();
    let seq = x.snapset.seq;
    let snaps: Vec<SnapId> = x.env.snapc.snaps.iter().copied().take_while(|s| *s > seq).collect();
    if x.old.visible() && !snaps.is_empty() {
        let clone = make_clone(&mut x, version, &snaps, &mut clone_ops);
        out.log.push(LogEntry {
            kind: LogKind::Clone,
            oid: clone.oid.clone(),
            version,
            prior_version: x.old.info.version,
            user_version: x.old.info.user_version,
            reqid: ReqId::default(),
            mtime,
            snaps,
        });
        version.version += 1;
        out.new_clone = Some(clone);
    }
    if let Some((id, newest)) = x.snapset.clone_overlap.iter().next_back() {
        let (id, gone) = (*id, x.modified.intersection(newest));
        if !gone.is_empty()
            && let Some(newest) = x.snapset.to_mut().clone_overlap.get_mut(&id)
        {
            newest.subtract(&gone);
        }
        // The clone goes on holding these bytes alone.
        x.stats.num_bytes += gone.size() as i64;
    }
    if x.env.snapc.seq > x.snapset.seq {
        let ss = x.snapset.to_mut();
        ss.seq = x.env.snapc.seq;
        ss.snaps.clear();
    }

    let mut user_version = x.info.user_version;
    if x.user_modify {
        user_version = (x.env.last_user_version.max(user_version) + 1).max(version.version);
    }
    if let Some(copied) = x.user_version {
        user_version = copied;
    }
    let mut txn = x.work.txn;
    if !clone_ops.is_empty() {
        // The clone is of the object as it was: before all changes.
        clone_ops.append(&mut txn.ops);
        txn.ops = clone_ops;
    }
    if x.exists {
        x.info.user_version = user_version;
        x.info.version = version;
        x.info.prior_version = x.old.info.version;
        x.info.last_reqid = x.env.reqid;
        if !x.env.mtime.is_zero() {
            x.info.mtime = mtime;
            x.info.local_mtime = x.env.now;
        }
        txn.push(TxnOp::SetAttr {
            coll,
            oid: head.clone(),
            name: Bytes::from_static(OI_ATTR),
            value: x.info.to_attr(),
        });
        // Removing or replacing the object has taken its snap set along; else only a changed one is written.
        let kept = x.old.exists && *x.snapset == x.old.snapset && !replaces(&txn.ops, &head);
        if !kept {
            txn.push(TxnOp::SetAttr {
                coll,
                oid: head.clone(),
                name: Bytes::from_static(SS_ATTR),
                value: x.snapset.to_attr(),
            });
        }
    }
    out.log.push(LogEntry {
        kind: if x.exists { LogKind::Modify } else { LogKind::Delete },
        oid: head.clone(),
        version,
        prior_version: x.old.info.version,
        user_version,
        reqid: x.env.reqid,
        mtime: x.env.mtime,
        snaps: Vec::new(),
    });
    out.write = true;
    out.txn = txn;
    out.version = version;
    out.user_version = user_version;
    out.stats = x.stats;
    out.watch = x.watch;
    if let Some(clone) = &mut out.new_clone {
        clone.snapset = x.snapset.clone().into_owned();
    }
    out.new_ctx = Some(if x.exists {
        ObjectContext { oid: head, exists: true, info: x.info, snapset: x.snapset.into_owned() }
    } else {
        ObjectContext::absent(head)
    });
}

fn replaces(ops: &[TxnOp], head: &types::HObject) -> bool {
    ops.iter().any(|op| match op {
        TxnOp::Remove { oid, .. } => oid == head,
        TxnOp::Clone { dst, .. } => dst == head,
        _ => false,
    })
}

/// The clone that keeps the head's old state for `snaps` (descending).
fn make_clone(
    x: &mut Exec<'_, '_>,
    version: EVersion,
    snaps: &[SnapId],
    ops: &mut Vec<TxnOp>,
) -> ObjectContext {
    let (coll, old) = (x.env.coll, x.old);
    let id = x.env.snapc.seq;
    let oid = old.oid.at(id);
    // What users see is the head's; watches stay with the head.
    let info = ObjectInfo {
        soid: oid.clone(),
        version,
        prior_version: old.info.version,
        watchers: Default::default(),
        expected_object_size: 0,
        expected_write_size: 0,
        alloc_hint_flags: 0,
        ..old.info.clone()
    };
    let size = old.info.size;
    ops.push(TxnOp::Clone { coll, src: old.oid.clone(), dst: oid.clone() });
    ops.push(TxnOp::SetAttr {
        coll,
        oid: oid.clone(),
        name: Bytes::from_static(OI_ATTR),
        value: info.to_attr(),
    });
    ops.push(TxnOp::RmAttr { coll, oid: oid.clone(), name: Bytes::from_static(SS_ATTR) });
    if x.env.snap_mapper {
        SnapMapper::new(coll).add(&oid, snaps, ops);
    }
    x.stats.num_objects += 1;
    x.stats.num_object_clones += 1;
    x.stats.num_objects_dirty += i64::from(info.has(oi_flag::DIRTY));
    x.stats.num_objects_omap += i64::from(info.has(oi_flag::OMAP));
    let ss = x.snapset.to_mut();
    ss.clones.push(id);
    ss.clone_size.insert(id, size);
    ss.clone_snaps.insert(id, snaps.to_vec());
    ss.clone_overlap.insert(id, IntervalSet::of(0, size));
    ObjectContext { oid, exists: true, info, snapset: SnapSet::default() }
}

/// Removes expired watches from an object's info: a write without a client. `env.reqid` and `env.addr` are the OSD's
/// own, `env.mtime` is zero, `env.snapc` is the object's (`seq` of its snap set, no snaps).
pub fn remove_watches(env: &mut OpEnv<'_>, obc: &ObjectContext, keys: &[WatchKey]) -> OpOutcome {
    let mut x = Exec::new(env, obc, false);
    for key in keys {
        if x.info.watchers.remove(key).is_some() {
            x.modify = true;
            x.watch.push(WatchEffect::Disconnect { key: *key, tell_client: true });
        }
    }
    let mut out = OpOutcome::default();
    if x.modify && x.exists {
        finish(x, &mut out);
    }
    out
}

/// True when the vector contains an op that only makes sense with a fetched object.
pub fn needs_copy(ops: &[OsdOp]) -> bool {
    ops.iter().any(|op| matches!(op.code, OpCode::COPY_FROM | OpCode::COPY_FROM2))
}
