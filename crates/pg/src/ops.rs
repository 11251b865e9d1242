//! [`OsdOpsEngine`]: crate `osd-ops` behind [`OpEngine`], with the PG's watches.

use crate::api::{ClientOp, PgEffect, SessionId, WatchNotify};
use crate::engine::{ExecCtx, OpClass, OpEngine, Outcome};
use crate::info::PgCounters;
use crate::log::{EntryKind, LogEntry};
use bytes::Bytes;
use messages::OsdFlags;
use objstore::{CollId, ObjectStore, Transaction};
use osd_ops::info::OI_ATTR;
use osd_ops::pgls::{PgOpEnv, execute_pg_ops, pg_bounds};
use osd_ops::snap::SnapMapper;
use osd_ops::watch::{WatchOrigin, WatchOut, WatchRegistry};
use osd_ops::{Limits, LogKind, ObjectInfo, OpEnv, OpOutcome, PoolFull, WatchEffect, WatchKey};
use std::collections::BTreeMap;
use types::{EVersion, EntityAddr, Errno, HObject, OsdId, SnapContext, SnapId, SpgId, Utime};

/// Watch effects that wait for their change to be durable.
struct Effects {
    oid: HObject,
    version: u64,
    origin: WatchOrigin,
    effects: Vec<WatchEffect>,
}

/// The production engine of one PG.
pub struct OsdOpsEngine {
    limits: Limits,
    watches: WatchRegistry,
    /// Low part of notify ids; the epoch is the high part.
    notify_counter: u64,
    whoami: OsdId,
    waiting: BTreeMap<u64, Effects>,
    next: u64,
    expired: BTreeMap<HObject, Vec<WatchKey>>,
}

impl OsdOpsEngine {
    /// The engine of a PG on an OSD.
    pub fn new(_pgid: SpgId, whoami: OsdId) -> Self {
        OsdOpsEngine {
            limits: Limits::default(),
            watches: WatchRegistry::new(),
            notify_counter: 0,
            whoami,
            waiting: BTreeMap::new(),
            next: 0,
            expired: BTreeMap::new(),
        }
    }
    fn deliver(&mut self, outs: Vec<WatchOut>, out: &mut Vec<PgEffect>) {
        for o in outs {
            match o {
                WatchOut::Send { session, msg } => out.push(PgEffect::WatchNotify {
                    session: SessionId(session.0),
                    notify: WatchNotify {
                        opcode: msg.opcode,
                        cookie: msg.cookie,
                        version: msg.ver,
                        notify_id: msg.notify_id,
                        payload: if msg.opcode == osd_ops::watch::event::NOTIFY_COMPLETE {
                            msg.data
                        } else {
                            msg.payload
                        },
                        return_code: msg.return_code,
                        notifier_gid: msg.notifier_gid,
                    },
                }),
                WatchOut::Expire { oid, key } => self.expired.entry(oid).or_default().push(key),
            }
        }
    }
    fn keep(
        &mut self,
        oid: HObject,
        version: u64,
        origin: WatchOrigin,
        effects: Vec<WatchEffect>,
    ) -> Option<u64> {
        if effects.is_empty() {
            return None;
        }
        self.next += 1;
        self.waiting.insert(self.next, Effects { oid, version, origin, effects });
        Some(self.next)
    }

    /// Runs `f` with the environment that `osd-ops` wants.
    fn with_env<R>(
        &mut self,
        op: &ClientOp,
        ctx: &mut ExecCtx<'_>,
        snapc: &SnapContext,
        f: impl FnOnce(&mut OpEnv<'_>) -> R,
    ) -> R {
        let mut notify_id = u64::from(ctx.epoch.0) << 32 | self.notify_counter;
        let before = notify_id;
        let source = &mut *ctx.random;
        let mut random = |buf: &mut [u8]| {
            for chunk in buf.chunks_mut(8) {
                let bytes = source().to_le_bytes();
                chunk.copy_from_slice(&bytes[..chunk.len()]);
            }
        };
        let mut env = OpEnv {
            store: ctx.store,
            coll: ctx.coll,
            now: ctx.now,
            epoch: ctx.epoch,
            mtime: op.mtime,
            reqid: op.reqid,
            addr: op.addr,
            session: osd_ops::SessionId(op.session.0),
            client_features: op.features,
            msg_flags: OsdFlags(op.flags),
            snapid: op.oid.snap,
            snapc,
            at_version: ctx.at_version,
            last_user_version: ctx.last_user_version,
            full: match ctx.full {
                None => PoolFull::No,
                Some(Errno::EDQUOT) => PoolFull::Quota,
                Some(_) => PoolFull::NoSpace,
            },
            limits: &self.limits,
            watches: &self.watches,
            next_notify_id: &mut notify_id,
            random: &mut random,
            require_osd_release: 16,
            min_compat_client: 0,
            copies: &ctx.copies,
            snap_mapper: true,
        };
        let r = f(&mut env);
        self.notify_counter = self.notify_counter.wrapping_add(notify_id - before) & 0xffff_ffff;
        r
    }

    fn outcome(&mut self, op: &ClientOp, oid: &HObject, o: OpOutcome) -> Outcome {
        let origin =
            WatchOrigin { session: osd_ops::SessionId(op.session.0), who: op.reqid.name, addr: op.addr };
        let user_version = o.user_version;
        let after_commit = self.keep(oid.head(), user_version, origin, o.watch);
        Outcome {
            result: o.result,
            outputs: o.ops.into_iter().map(|r| (r.rval, r.out)).collect(),
            user_version,
            txn: if o.log.is_empty() { Transaction::new() } else { o.txn },
            entries: o.log.into_iter().map(entry).collect(),
            delta: counters(&o.stats),
            after_commit,
            corrupt: o.bad_object,
            log_answer: o.log_error_only,
            drop_silently: o.drop_full,
            copy_from: Vec::new(),
        }
    }
}

fn counters(s: &osd_ops::StatsDelta) -> PgCounters {
    PgCounters {
        num_objects: s.num_objects,
        num_clones: s.num_object_clones,
        num_whiteouts: s.num_whiteouts,
        num_bytes: s.num_bytes,
        num_objects_omap: s.num_objects_omap,
        num_rd: s.num_rd,
        num_rd_kb: s.num_rd_kb,
        num_wr: s.num_wr,
        num_wr_kb: s.num_wr_kb,
        ..PgCounters::default()
    }
}
fn entry(e: osd_ops::LogEntry) -> LogEntry {
    LogEntry {
        kind: match e.kind {
            LogKind::Modify => EntryKind::Modify,
            LogKind::Clone => EntryKind::Clone,
            LogKind::Delete => EntryKind::Delete,
        },
        oid: e.oid,
        version: e.version,
        prior_version: e.prior_version,
        user_version: e.user_version,
        mtime: e.mtime,
        snaps: e.snaps.into_iter().map(|s| s.0).collect(),
        ..LogEntry::default()
    }
}

impl OpEngine for OsdOpsEngine {
    fn classify(&self, op: &ClientOp) -> Result<OpClass, Errno> {
        let c = osd_ops::classify(&op.ops, &self.limits)?;
        Ok(OpClass { writes: c.writes(), reads: c.reads(), pg_op: c.pg_op, frees_space: c.only_deletes })
    }

    fn execute(&mut self, op: &ClientOp, ctx: &mut ExecCtx<'_>) -> Outcome {
        let n = op.ops.len();
        let refuse = |e: Errno| Outcome {
            result: e.negated(),
            outputs: vec![(0, Bytes::new()); n],
            ..Outcome::default()
        };
        let class = match osd_ops::classify(&op.ops, &self.limits) {
            Ok(c) => c,
            Err(e) => return refuse(e),
        };
        if class.pg_op {
            let (pg_begin, pg_end) = pg_bounds(ctx.pgid.pg, ctx.pg_num);
            let missing = ctx.missing;
            let missing_from = |from: &HObject| missing.iter_from(from).map(|(o, _)| o.clone()).next();
            let env = PgOpEnv {
                store: ctx.store,
                coll: ctx.coll,
                pg_begin,
                pg_end,
                nspace: op.oid.nspace.clone(),
                limits: &self.limits,
                missing_from: &missing_from,
                deleted: &|_| false,
                scrub: None,
            };
            let (result, results) = execute_pg_ops(&env, &op.ops);
            return Outcome {
                result,
                outputs: results.into_iter().map(|r| (r.rval, r.out)).collect(),
                user_version: ctx.last_user_version,
                ..Outcome::default()
            };
        }
        if let Err(e) = osd_ops::check_names(&op.oid, &self.limits) {
            return refuse(e);
        }
        let head = match osd_ops::load_object_context(ctx.store, ctx.coll, &op.oid.head()) {
            Ok(h) => h,
            Err(_) => return Outcome { corrupt: Some(op.oid.head()), ..refuse(Errno::EIO) },
        };
        if head.exists && !head.info.watchers.is_empty() {
            self.watches.load_object(ctx.now, &head.oid, &head.info);
        }
        let oid = match osd_ops::resolve_snap(&head, op.oid.snap) {
            Ok(o) => o,
            Err(e) => return Outcome { user_version: ctx.last_user_version, ..refuse(e) },
        };
        let obc = if oid == head.oid {
            head
        } else {
            match osd_ops::load_object_context(ctx.store, ctx.coll, &oid) {
                Ok(c) => c,
                Err(_) => return Outcome { corrupt: Some(oid), ..refuse(Errno::EIO) },
            }
        };
        let mut snapc = op.snapc.clone();
        if class.writes() && snapc.seq == SnapId(0) && snapc.snaps.is_empty() {
            // Pool snapshots: the pool's context is everybody's.
            snapc = SnapContext { seq: ctx.pool_snap_seq, snaps: ctx.pool_snaps.to_vec() };
            if ctx.pool_snaps.is_empty() {
                snapc.seq = SnapId(0);
            }
        }
        let removed = ctx.removed_snaps;
        osd_ops::filter_snapc(&mut snapc, |s| removed.contains(&s));
        let mut o = self.with_env(op, ctx, &snapc, |env| osd_ops::execute(env, &obc, &class, &op.ops));
        if !o.copy_from.is_empty() {
            if !ctx.copies.is_empty() {
                // All that it asked for before was given: it would ask forever.
                return refuse(Errno::EIO);
            }
            return Outcome { copy_from: std::mem::take(&mut o.copy_from), ..Outcome::default() };
        }
        self.outcome(op, &oid, o)
    }

    fn committed(&mut self, after_commit: u64, now: Utime, out: &mut Vec<PgEffect>) {
        let Some(e) = self.waiting.remove(&after_commit) else { return };
        let outs = self.watches.apply(now, &e.oid, e.version, &e.origin, e.effects);
        self.deliver(outs, out);
    }
    fn dropped_all(&mut self) {
        self.waiting.clear();
        self.expired.clear();
    }
    fn set_active(&mut self, active: bool, _ctx: &mut ExecCtx<'_>) {
        if !active {
            self.watches.clear();
            self.expired.clear();
        }
    }
    fn session_reset(&mut self, session: SessionId, now: Utime) {
        self.watches.session_closed(now, osd_ops::SessionId(session.0));
    }
    fn tick(&mut self, now: Utime, out: &mut Vec<PgEffect>) -> Vec<HObject> {
        let outs = self.watches.tick(now);
        self.deliver(outs, out);
        self.expired.keys().cloned().collect()
    }
    fn expire_watches(&mut self, oid: &HObject, ctx: &mut ExecCtx<'_>) -> Option<Outcome> {
        let keys = self.expired.remove(oid)?;
        let op = ClientOp {
            session: SessionId(0),
            tid: 0,
            reqid: types::ReqId { name: types::EntityName::osd(self.whoami), ..Default::default() },
            addr: EntityAddr::default(),
            features: u64::MAX,
            oid: oid.clone(),
            epoch: ctx.epoch,
            flags: 0,
            mtime: ctx.now,
            snapc: SnapContext::default(),
            retry_attempt: 0,
            ops: Vec::new(),
        };
        let obc = osd_ops::load_object_context(ctx.store, ctx.coll, oid).ok()?;
        let snapc = SnapContext::default();
        let o = self.with_env(&op, ctx, &snapc, |env| osd_ops::remove_watches(env, &obc, &keys));
        Some(self.outcome(&op, oid, o))
    }
    fn object_version(&self, store: &dyn ObjectStore, coll: CollId, oid: &HObject) -> Option<EVersion> {
        let attr = store.getattr(coll, oid, OI_ATTR).ok()??;
        denc::from_bytes::<ObjectInfo>(&attr).ok().map(|i| i.version)
    }
    fn recovered(
        &self,
        store: &dyn ObjectStore,
        coll: CollId,
        oid: &HObject,
        snaps: &[SnapId],
        txn: &mut Transaction,
    ) {
        if !oid.is_head() {
            // A mapping that cannot be read only delays trimming: the head's snap set stays the truth.
            let _ = SnapMapper::new(coll).set(store, oid, snaps, &mut txn.ops);
        }
    }
    fn clone_snaps(&self, store: &dyn ObjectStore, coll: CollId, oid: &HObject) -> Vec<SnapId> {
        SnapMapper::new(coll).snaps_of(store, oid).ok().flatten().unwrap_or_default()
    }
    fn trim_snap(&mut self, clone: &HObject, ctx: &mut ExecCtx<'_>) -> Option<Outcome> {
        let removed = ctx.removed_snaps;
        let t = osd_ops::snap::trim_object(
            ctx.store,
            ctx.coll,
            clone,
            &|s| removed.contains(&s),
            ctx.at_version,
            ctx.now,
        )
        .ok()?;
        Some(Outcome {
            txn: t.txn,
            entries: t.log.into_iter().map(entry).collect(),
            delta: counters(&t.stats),
            user_version: ctx.last_user_version,
            ..Outcome::default()
        })
    }
    fn clones_of(&self, snap: SnapId, max: usize, store: &dyn ObjectStore, coll: CollId) -> Vec<HObject> {
        SnapMapper::new(coll).next_objects_to_trim(store, snap, max).unwrap_or_default()
    }
}
