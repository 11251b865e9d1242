//! The primary at work: client ops in order, replication to all members at once, replies when all have committed.
//!
//! Invariants: `in_flight` holds changes in version order and is answered from its front only, so replies keep the PG's
//! order; a reply that depends on an undurable change (a read of it, a failed op behind it) leaves after that change;
//! no change is made to an object that a member lacks.

use crate::api::{ClientOp, ClientReply, PgCtx, PgEffect, op_flags};
use crate::engine::{ExecCtx, Outcome};
use crate::info::PgInfo;
use crate::log::{EntryKind, LogEntry};
use crate::merge::is_backfilled;
use crate::missing::Missing;
use crate::msg::{PgMsg, RepOp, RepOpAck};
use crate::peering::PriorSet;
use crate::persist::MetaDelta;
use crate::pg::{OnCommit, Pg, PgState};
use crate::recovery::Recovering;
use bytes::Bytes;
use messages::OpCode;
use objstore::{StoreError, Transaction};
use osd_ops::CopyResult;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use types::{EVersion, Epoch, Errno, HObject, OsdId, ReqId, SnapId};

/// A change on its way.
pub(crate) struct InFlight {
    pub seq: u64,
    /// The PG's version with it.
    pub version: EVersion,
    /// Members (we included) that have not committed it.
    pub waiting: BTreeSet<OsdId>,
    /// Heads it touches.
    pub heads: BTreeSet<HObject>,
    /// The request and its answer.
    pub op: Option<Arc<ClientOp>>,
    pub reply: Option<ClientReply>,
    pub after_commit: Option<u64>,
    /// What to do once it is durable everywhere, behind its own reply.
    pub then: Vec<Then>,
}
/// An op that waits for other objects' contents. Other ops on its head wait behind it.
pub(crate) struct Copying {
    pub op: Arc<ClientOp>,
    pub results: Option<Vec<CopyResult>>,
}
/// Something that waits for a change.
pub(crate) enum Then {
    /// A reply, and engine work to do with it.
    Reply(ClientReply, Option<u64>),
    /// Snap trimming may go on.
    SnapTrim,
}

/// What only a primary has, in one interval.
#[derive(Default)]
pub(crate) struct Primary {
    pub peering_round: u64,
    pub prior: PriorSet,
    pub peer_info: BTreeMap<OsdId, PgInfo>,
    pub peer_missing: BTreeMap<OsdId, Missing>,
    pub asked: BTreeSet<OsdId>,
    pub auth: OsdId,
    /// Acting members and backfill targets without us.
    pub members: BTreeSet<OsdId>,
    pub backfill_targets: BTreeSet<OsdId>,
    pub strays: BTreeSet<OsdId>,
    pub wanted_acting: Option<Vec<OsdId>>,
    pub activation_epoch: Epoch,
    pub waiting_activation: BTreeSet<OsdId>,
    pub clean: bool,
    pub clean_recorded: bool,

    pub next_seq: u64,
    pub in_flight: VecDeque<InFlight>,
    pub by_reqid: BTreeMap<ReqId, u64>,
    /// Last change in flight of each head.
    pub last_change: BTreeMap<HObject, u64>,
    /// All members have committed up to here.
    pub committed_to: EVersion,
    /// Ops that wait for a head to be recovered, in order.
    pub waiting_for_object: BTreeMap<HObject, VecDeque<Arc<ClientOp>>>,

    pub copying: BTreeMap<HObject, Copying>,

    pub recovering: BTreeMap<HObject, Recovering>,
    /// Objects that clients wait for.
    pub urgent: BTreeSet<HObject>,
    pub unfound: BTreeSet<HObject>,
    /// Copies found damaged or absent, per object: not to be pulled from.
    pub bad_sources: BTreeMap<HObject, BTreeSet<OsdId>>,
    pub recovery_bytes_left: u64,
    pub client_active: bool,
    pub serving: crate::serve::Serving,
    pub backfills: BTreeMap<OsdId, crate::backfill::Target>,
    pub snap_trimq: BTreeSet<SnapId>,
    pub snap_trimming: bool,
}
impl Primary {
    /// All ops that were not answered, in the order they came in, for the next interval.
    pub fn into_waiting(self, waiting: VecDeque<Arc<ClientOp>>) -> VecDeque<Arc<ClientOp>> {
        let mut out: VecDeque<Arc<ClientOp>> = VecDeque::new();
        for f in self.in_flight {
            out.extend(f.op);
            for t in f.then {
                if let Then::Reply(r, _) = t {
                    out.push_back(r.op);
                }
            }
        }
        // One whose contents are here may also wait for its object to be recovered.
        let waits =
            |op: &Arc<ClientOp>| self.waiting_for_object.values().flatten().any(|o| Arc::ptr_eq(o, op));
        out.extend(self.copying.into_values().map(|c| c.op).filter(|op| !waits(op)));
        out.extend(self.waiting_for_object.into_values().flatten());
        out.extend(waiting);
        out
    }
}

impl Pg {
    // ---- intake -------------------------------------------------------------------------------------------------

    pub(crate) fn client_op(&mut self, ctx: &mut PgCtx<'_>, op: Arc<ClientOp>) {
        self.primary.client_active = true;
        if !self.is_primary() && !self.reset_due {
            return; // the client finds the primary with the next map
        }
        if op.epoch < self.info.history.same_primary_since {
            return; // resent by the client
        }
        if let Some(pool) = &self.pool
            && op.epoch < pool.last_force_op_resend
        {
            return;
        }
        let waits = self.reset_due || !self.serves() || !self.waiting_for_active.is_empty();
        if waits || !self.may_answer(ctx) {
            self.wait_for_active(op);
            return;
        }
        self.do_op(ctx, op);
    }
    fn wait_for_active(&mut self, op: Arc<ClientOp>) {
        let cost = op.cost_bytes();
        if self.waiting_bytes + cost > self.cfg.waiting_max_bytes {
            return; // osd-core's own throttle comes first; a client resends on the next interval
        }
        self.waiting_bytes += cost;
        self.waiting_for_active.push_back(op);
    }
    /// Runs what waited for the PG to serve. The caller has made sure that clients may be answered.
    pub(crate) fn requeue_waiting(&mut self, ctx: &mut PgCtx<'_>) {
        self.waiting_bytes = 0;
        for op in std::mem::take(&mut self.waiting_for_active) {
            self.do_op(ctx, op);
        }
    }

    fn reply_of(&self, op: &Arc<ClientOp>, result: i32, outputs: Vec<(i32, Bytes)>) -> ClientReply {
        ClientReply {
            op: op.clone(),
            result,
            outputs,
            version: EVersion::ZERO,
            user_version: 0,
            epoch: self.map.epoch(),
            flags: op_flags::ACK | op_flags::ONDISK,
        }
    }
    fn refuse(&self, ctx: &mut PgCtx<'_>, op: &Arc<ClientOp>, e: Errno) {
        let outputs = vec![(0, Bytes::new()); op.ops.len()];
        let reply = self.reply_of(op, e.negated(), outputs);
        ctx.out.push(PgEffect::ReplyClient(reply));
    }

    // ---- execution ----------------------------------------------------------------------------------------------

    fn do_op(&mut self, ctx: &mut PgCtx<'_>, op: Arc<ClientOp>) {
        let class = match self.engine.classify(&op) {
            Ok(c) => c,
            Err(e) => return self.refuse(ctx, &op, e),
        };
        if class.writes && !planted!(self.cfg, ForgetResends) && self.answer_resend(ctx, &op) {
            return;
        }
        if class.pg_op {
            return self.run(ctx, op, class.writes);
        }
        let head = op.oid.head();
        // The read of another primary's copy may overtake: two objects copied to each other would wait forever.
        let fetch = !class.writes && op.ops.iter().any(|o| o.code == OpCode::COPY_GET);
        let behind_copy = self.primary.copying.get(&head).is_some_and(|c| !Arc::ptr_eq(&c.op, &op));
        if behind_copy && !fetch {
            self.primary.waiting_for_object.entry(head).or_default().push_back(op);
            return;
        }
        let blocked = self.missing.contains_family(&head)
            || (class.writes && self.is_degraded(&head))
            || (!fetch && self.primary.waiting_for_object.contains_key(&head));
        if blocked {
            self.primary.urgent.insert(head.clone());
            self.primary.waiting_for_object.entry(head.clone()).or_default().push_back(op);
            self.kick_recovery(ctx);
            return;
        }
        self.run(ctx, op, class.writes);
    }

    /// A write that we know: attaches to it or answers as before.
    fn answer_resend(&mut self, ctx: &mut PgCtx<'_>, op: &Arc<ClientOp>) -> bool {
        if let Some(seq) = self.primary.by_reqid.get(&op.reqid).copied() {
            let f = self.in_flight(seq).expect("indexed");
            let Some(mut reply) = f.reply.clone() else { return false };
            reply.op = op.clone();
            f.then.push(Then::Reply(reply, None));
            return true;
        }
        let Some(a) = self.log.answer_of(&op.reqid) else { return false };
        assert!(a.version <= self.primary.committed_to, "an unanswered change of no op in flight");
        let mut reply = self.reply_of(op, a.return_code, a.op_returns);
        reply.outputs.resize(op.ops.len(), (0, Bytes::new()));
        (reply.version, reply.user_version) = (a.version, a.user_version);
        ctx.out.push(PgEffect::ReplyClient(reply));
        true
    }
    fn in_flight(&mut self, seq: u64) -> Option<&mut InFlight> {
        let i = self.primary.in_flight.partition_point(|f| f.seq < seq);
        self.primary.in_flight.get_mut(i).filter(|f| f.seq == seq)
    }

    /// A member or backfill target lacks the object, or it is just being copied there: not to be changed.
    pub(crate) fn is_degraded(&self, head: &HObject) -> bool {
        self.primary.recovering.keys().any(|o| o.head() == *head)
            || self
                .primary
                .members
                .iter()
                .any(|o| self.primary.peer_missing.get(o).is_some_and(|m| m.contains_family(head)))
            || (!planted!(self.cfg, ChangeWhileCopying)
                && self.primary.backfills.values().any(|t| t.is_copying(head)))
    }

    fn next_version(&self) -> EVersion {
        EVersion { epoch: self.map.epoch(), version: self.info.last_update.version + 1 }
    }
    pub(crate) fn with_exec<R>(
        &mut self,
        ctx: &mut PgCtx<'_>,
        f: impl FnOnce(&mut dyn crate::engine::OpEngine, &mut ExecCtx<'_>) -> R,
    ) -> R {
        let pool = self.pool.clone().unwrap_or_default();
        let statfs = ctx.store.statfs();
        let used_milli =
            (statfs.total.saturating_sub(statfs.available) * 1000).checked_div(statfs.total).unwrap_or(0);
        let full = if pool.full_quota {
            Some(Errno::EDQUOT)
        } else if pool.full || self.map.cluster_full() || used_milli >= self.cfg.full_ratio_milli {
            Some(Errno::ENOSPC)
        } else {
            None
        };
        let mut ex = ExecCtx {
            pgid: self.pgid,
            coll: self.coll,
            store: &*ctx.store,
            now: ctx.now,
            epoch: self.map.epoch(),
            at_version: self.next_version(),
            last_user_version: self.info.last_user_version,
            missing: &self.missing,
            removed_snaps: &self.removed_snaps,
            pool_snaps: &pool.pool_snaps,
            pool_snap_seq: pool.snap_seq,
            pg_num: pool.pg_num,
            random: &mut *ctx.random,
            max_object_bytes: self.cfg.max_object_bytes,
            full,
            copies: Vec::new(),
        };
        f(self.engine.as_mut(), &mut ex)
    }
    pub(crate) fn set_engine_active(&mut self, ctx: &mut PgCtx<'_>, active: bool) {
        self.with_exec(ctx, |engine, ex| engine.set_active(active, ex));
    }

    /// What an op waited for is here: it goes on, then those behind it.
    pub(crate) fn copied(&mut self, ctx: &mut PgCtx<'_>, op: Arc<ClientOp>, results: Vec<CopyResult>) {
        let head = op.oid.head();
        let Some(c) = self.primary.copying.get_mut(&head).filter(|c| Arc::ptr_eq(&c.op, &op)) else {
            return; // of an older interval
        };
        if results.is_empty() {
            self.primary.copying.remove(&head);
        } else {
            c.results = Some(results);
            self.primary.waiting_for_object.entry(head.clone()).or_default().push_front(op);
        }
        if self.is_degraded(&head) || self.missing.contains_family(&head) {
            self.primary.urgent.insert(head.clone());
            self.kick_recovery(ctx);
        }
        self.object_ready(ctx, &head);
    }
    fn take_copies(&mut self, op: &Arc<ClientOp>) -> Vec<CopyResult> {
        let head = op.oid.head();
        match self.primary.copying.get(&head) {
            Some(c) if Arc::ptr_eq(&c.op, op) => {
                self.primary.copying.remove(&head).and_then(|c| c.results).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn run(&mut self, ctx: &mut PgCtx<'_>, op: Arc<ClientOp>, writes: bool) {
        let copies = if self.primary.copying.is_empty() { Vec::new() } else { self.take_copies(&op) };
        let mut o = self.with_exec(ctx, |engine, ex| {
            ex.copies = copies;
            engine.execute(&op, ex)
        });
        if !o.copy_from.is_empty() {
            let requests = std::mem::take(&mut o.copy_from);
            self.primary.copying.insert(op.oid.head(), Copying { op: op.clone(), results: None });
            ctx.out.push(PgEffect::CopyFrom { op, requests });
            return;
        }
        if o.drop_silently {
            return;
        }
        if let Some(bad) = o.corrupt.take() {
            self.mark_corrupt(ctx, &bad);
            let head = op.oid.head();
            if self.missing.contains_family(&head) {
                self.primary.urgent.insert(head.clone());
                self.primary.waiting_for_object.entry(head).or_default().push_back(op);
                self.kick_recovery(ctx);
            } else {
                self.refuse(ctx, &op, Errno::EIO);
            }
            return;
        }
        let outputs = std::mem::take(&mut o.outputs);
        let mut reply = self.reply_of(&op, o.result, outputs);
        reply.user_version = o.user_version;
        if o.entries.is_empty() && o.log_answer && writes {
            assert!(o.txn.is_empty(), "a change without a log entry");
            o.entries.push(LogEntry {
                kind: EntryKind::Error,
                oid: op.oid.head(),
                version: self.next_version(),
                user_version: o.user_version,
                mtime: op.mtime,
                ..LogEntry::default()
            });
        }
        if o.entries.is_empty() {
            assert!(o.txn.is_empty(), "a change without a log entry");
            self.info.counters.add(&o.delta);
            // What the answer was made from may not be durable yet.
            let after = if op.oid.name.is_empty() {
                self.primary.in_flight.back().map(|f| f.seq)
            } else {
                self.primary.last_change.get(&op.oid.head()).copied()
            };
            let after_commit = o.after_commit;
            let after = if planted!(self.cfg, ReadUndurable) { None } else { after };
            match after.and_then(|seq| self.in_flight(seq)) {
                Some(f) => f.then.push(Then::Reply(reply, after_commit)),
                None => self.answer(ctx, reply, after_commit),
            }
            return;
        }
        assert!(writes, "an op that was classified as a read changes {}", op.oid);
        if let Err(e) = self.submit(ctx, o, Some((op.clone(), reply)), Vec::new()) {
            match e {
                StoreError::Full => self.refuse(ctx, &op, Errno::ENOSPC),
                e => ctx.out.push(PgEffect::StoreFailed(format!("pg {}: {e}", self.pgid))),
            }
        }
    }
    fn answer(&mut self, ctx: &mut PgCtx<'_>, reply: ClientReply, after_commit: Option<u64>) {
        ctx.out.push(PgEffect::ReplyClient(reply));
        if let Some(n) = after_commit {
            self.engine.committed(n, ctx.now, ctx.out);
        }
    }

    /// Makes a change: here and at every member, at once.
    pub(crate) fn submit(
        &mut self,
        ctx: &mut PgCtx<'_>,
        mut o: Outcome,
        request: Option<(Arc<ClientOp>, ClientReply)>,
        then: Vec<Then>,
    ) -> Result<(), StoreError> {
        let last = o.entries.last_mut().expect("a change has log entries");
        let version = last.version;
        if let Some((op, reply)) = &request {
            last.reqid = op.reqid;
            last.return_code = reply.result;
            if op.flags & op_flags::RETURNVEC != 0 {
                last.op_returns = reply.outputs.clone();
            }
        }
        assert!(o.entries[0].version > self.info.last_update, "a change behind the head");
        let seq = self.primary.next_seq + 1;

        // Ours first: when the store refuses, nothing has happened.
        let before = (self.info.clone(), self.log.head());
        let mut meta = MetaDelta::default();
        meta.add_entries(&o.entries);
        for e in &o.entries {
            self.log.push(e.clone());
        }
        self.info.last_update = version;
        self.info.last_user_version = self.info.last_user_version.max(o.user_version);
        self.info.counters.add(&o.delta);
        self.complete_to();
        let trim_to = self.trim_target();
        // Trimming is not undone: it takes part only in a transaction that surely fits.
        let undo = |pg: &mut Pg| {
            pg.log.rewind_to(before.1);
            pg.info = before.0;
        };
        let txn = o.txn.clone();
        if let Err(e) = self.try_queue(ctx, txn, meta, vec![OnCommit::LocalOp(seq)]) {
            undo(self);
            return Err(e);
        }
        self.primary.next_seq = seq;
        if trim_to > self.log.tail() {
            let mut meta = MetaDelta::default();
            self.trim_log(trim_to, &mut meta);
            // Rides with the next transaction of this PG: see below.
            self.queue(ctx, Transaction::new(), meta, Vec::new());
        }

        let heads: BTreeSet<HObject> = o.entries.iter().map(|e| e.oid.head()).collect();
        // Members that were backfilled up to there get the change, the others only learn that it happened.
        let (mut whole, mut entries_only) = (Vec::new(), Vec::new());
        for osd in &self.primary.members {
            let backfill = self.primary.backfills.get(osd);
            let has = backfill.is_none_or(|t| heads.iter().all(|h| is_backfilled(h, &t.started)));
            if has {
                whole.push(*osd)
            } else {
                entries_only.push(*osd)
            }
            self.primary.peer_info.get_mut(osd).expect("members were heard").last_update = version;
        }
        let mut rep = RepOp {
            seq,
            entries: o.entries,
            txn: Transaction::new(),
            trim_to,
            counters: self.info.counters.clone(),
            last_user_version: self.info.last_user_version,
        };
        if !entries_only.is_empty() {
            self.send_to_all(ctx, entries_only, PgMsg::RepOp(rep.clone()));
        }
        if !whole.is_empty() {
            rep.txn = o.txn;
            self.send_to_all(ctx, whole, PgMsg::RepOp(rep));
        }
        for h in &heads {
            self.primary.last_change.insert(h.clone(), seq);
        }
        let mut waiting = self.primary.members.clone();
        waiting.insert(self.whoami);
        let (op, reply) = match request {
            Some((op, mut reply)) => {
                self.primary.by_reqid.insert(op.reqid, seq);
                (reply.version, reply.user_version) = (version, o.user_version);
                (Some(op), Some(reply))
            }
            None => (None, None),
        };
        self.primary.in_flight.push_back(InFlight {
            seq,
            version,
            waiting,
            heads,
            op,
            reply,
            after_commit: o.after_commit,
            then,
        });
        Ok(())
    }

    /// How far the log may be trimmed now.
    fn trim_target(&self) -> EVersion {
        let keep = if self.primary.clean { self.cfg.min_log_entries } else { self.cfg.max_log_entries };
        let surplus = self.log.len().saturating_sub(keep);
        if surplus < 32.min(keep) {
            return self.log.tail(); // a few at a time, not one by one
        }
        let target = self.log.entries().nth(surplus - 1).map_or(self.log.tail(), |e| e.version);
        target.min(self.primary.committed_to)
    }

    pub(crate) fn on_rep_op_ack(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, a: RepOpAck) {
        if let Some(i) = self.primary.peer_info.get_mut(&from) {
            i.last_complete = a.last_complete;
        }
        self.op_acked(ctx, from, a.seq);
        self.backfill_acked(ctx, from, a.seq);
    }
    pub(crate) fn op_acked(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, seq: u64) {
        let early = planted!(self.cfg, AnswerBeforeAll);
        let Some(f) = self.in_flight(seq) else { return };
        f.waiting.remove(&from);
        if early && f.waiting.len() == 1 {
            f.waiting.clear();
        }
        while self.primary.in_flight.front().is_some_and(|f| f.waiting.is_empty()) {
            let f = self.primary.in_flight.pop_front().expect("just seen");
            self.durable(ctx, f);
        }
    }
    /// Every member has it.
    fn durable(&mut self, ctx: &mut PgCtx<'_>, f: InFlight) {
        self.primary.committed_to = self.primary.committed_to.max(f.version);
        for h in &f.heads {
            if self.primary.last_change.get(h) == Some(&f.seq) {
                self.primary.last_change.remove(h);
            }
        }
        if let Some(op) = &f.op {
            self.primary.by_reqid.remove(&op.reqid);
        }
        if let Some(reply) = f.reply {
            self.answer(ctx, reply, f.after_commit);
        } else if let Some(n) = f.after_commit {
            self.engine.committed(n, ctx.now, ctx.out);
        }
        for t in f.then {
            match t {
                Then::Reply(r, after_commit) => self.answer(ctx, r, after_commit),
                Then::SnapTrim => {
                    self.primary.snap_trimming = false;
                    self.trim_snaps(ctx);
                }
            }
        }
        if !self.primary.backfills.is_empty() {
            self.kick_recovery(ctx);
        }
    }

    /// An object became whole here, or everywhere: its waiting ops go on.
    pub(crate) fn object_ready(&mut self, ctx: &mut PgCtx<'_>, head: &HObject) {
        if self.missing.contains_family(head) {
            return;
        }
        let degraded = self.is_degraded(head);
        if !degraded {
            self.primary.urgent.remove(head);
        }
        if self.primary.waiting_for_object.contains_key(head) && !self.may_answer(ctx) {
            return self.run_with_lease(head);
        }
        let Some(mut ops) = self.primary.waiting_for_object.remove(head) else { return };
        while let Some(op) = ops.front() {
            // Reads need our copy only; the first write keeps its place and all behind it.
            if degraded && self.engine.classify(op).is_ok_and(|c| c.writes) {
                break;
            }
            let op = ops.pop_front().expect("just seen");
            self.do_op(ctx, op);
            if let Some(again) = self.primary.waiting_for_object.remove(head) {
                // It found the object wanting again.
                for op in again.into_iter().rev() {
                    ops.push_front(op);
                }
                break;
            }
        }
        if !ops.is_empty() {
            self.primary.waiting_for_object.insert(head.clone(), ops);
        }
    }

    // ---- time and snapshots -------------------------------------------------------------------------------------

    pub(crate) fn tick(&mut self, ctx: &mut PgCtx<'_>) {
        self.primary.recovery_bytes_left =
            if self.primary.client_active { self.cfg.recovery_bytes_per_tick } else { u64::MAX };
        self.primary.client_active = false;
        if !self.is_primary() || self.reset_due {
            return;
        }
        match self.state {
            PgState::WaitActingChange => self.ask_pg_temp(ctx),
            PgState::WaitUpThru => ctx.out.push(PgEffect::RequestUpThru(self.interval())),
            PgState::Active => {
                self.ask_pg_temp(ctx);
                self.resume(ctx);
                // A watcher that cannot be answered is not late.
                if self.serves() && self.may_answer(ctx) {
                    for oid in self.engine.tick(ctx.now, ctx.out) {
                        self.expire_watches(ctx, &oid);
                    }
                }
                self.kick_recovery(ctx);
                self.trim_snaps(ctx);
                self.stamp(ctx.now);
            }
            _ => {}
        }
    }
    fn expire_watches(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject) {
        let head = oid.head();
        if self.missing.contains_family(&head) || self.is_degraded(&head) {
            return; // the registry says it again
        }
        if let Some(o) = self.with_exec(ctx, |engine, ex| engine.expire_watches(&head, ex))
            && !o.entries.is_empty()
            && let Err(e) = self.submit(ctx, o, None, Vec::new())
        {
            ctx.out.push(PgEffect::ClusterLog { error: false, text: format!("pg {}: {e}", self.pgid) });
        }
    }

    pub(crate) fn queue_snap_trims(&mut self) {
        if self.is_primary() && matches!(self.state, PgState::Activating | PgState::Active) {
            self.primary.snap_trimq =
                self.removed_snaps.difference(&self.info.purged_snaps).copied().collect();
        }
    }
    /// Trims one clone at a time; the next follows when it is durable.
    pub(crate) fn trim_snaps(&mut self, ctx: &mut PgCtx<'_>) {
        if self.primary.snap_trimming || !self.serves() || !self.primary.clean || self.map.no_snaptrim() {
            return;
        }
        while let Some(snap) = self.primary.snap_trimq.first().copied() {
            let clones =
                self.engine.clones_of(snap, self.cfg.snap_trim_per_tick.max(1), &*ctx.store, self.coll);
            let mut started = false;
            for clone in clones {
                if self.missing.contains_family(&clone) || self.is_degraded(&clone.head()) {
                    continue;
                }
                let Some(o) = self.with_exec(ctx, |engine, ex| engine.trim_snap(&clone, ex)) else {
                    continue;
                };
                if o.entries.is_empty() {
                    continue;
                }
                match self.submit(ctx, o, None, vec![Then::SnapTrim]) {
                    Ok(()) => started = true,
                    Err(e) => ctx.out.push(PgEffect::ClusterLog {
                        error: true,
                        text: format!("pg {}: trimming {clone}: {e}", self.pgid),
                    }),
                }
                break;
            }
            if started {
                self.primary.snap_trimming = true;
                return;
            }
            // Nothing (left) for this one: done, as far as this PG goes.
            self.primary.snap_trimq.remove(&snap);
            self.info.purged_snaps.insert(snap);
            self.queue(ctx, Transaction::new(), MetaDelta::default(), Vec::new());
            self.share_history(ctx, false);
            ctx.out.push(PgEffect::StatsDirty);
        }
    }
}
