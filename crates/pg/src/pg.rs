//! [`Pg`]: the machine's state, its events, map changes and intervals. The other modules are its parts by duty.

use crate::api::{ClientOp, PgConfig, PgCtx, PgEffect, PgEvent};
use crate::engine::OpEngine;
use crate::info::{PastInterval, PgHistory, PgInfo, close_interval, is_new_interval};
use crate::log::PgLog;
use crate::map::{ClusterMap, Placement, PoolView};
use crate::missing::Missing;
use crate::msg::{Notify, PgMsg};
use crate::persist::{self, MetaDelta};
use crate::primary::Primary;
use denc::DencError;
use objstore::{CollId, CommitToken, ObjectStore, StoreError, Transaction, TxnOp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use thiserror::Error;
use types::{Epoch, HObject, OsdId, SpgId, Utime};

/// Why a stored PG could not be loaded.
#[derive(Debug, Error)]
pub enum PgError {
    /// The collection has no PG info.
    #[error("pg {0}: no info in its collection")]
    NoInfo(SpgId),
    /// The meta object holds what we do not understand.
    #[error("pg {0}: its metadata is damaged")]
    BadMeta(SpgId),
    /// The store failed.
    #[error("pg metadata: {0}")]
    Store(StoreError),
    /// Bytes did not decode.
    #[error("pg metadata: {0}")]
    Denc(DencError),
}

/// Where the machine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum PgState {
    /// Waits for the OSD to be up to date with maps.
    Initial,
    /// Primary: waits for its own transactions of older intervals.
    Flushing,
    /// Primary: asks who knows what.
    GetInfo,
    /// Primary: asks the best copy for its log.
    GetLog,
    /// Primary: asks the members what they miss.
    GetMissing,
    /// Primary: waits for the map to say that we are alive.
    WaitUpThru,
    /// Primary: waits for a map with another acting set.
    WaitActingChange,
    /// Primary: needs an OSD that is down.
    Down,
    /// Primary: no copy is good enough.
    Incomplete,
    /// Primary: members are being activated.
    Activating,
    /// Primary: peered; serves when there are enough members.
    Active,
    /// Member or backfill target, activated by its primary.
    ReplicaActive,
    /// Not (yet) told anything by a primary.
    Stray,
    /// The pool or the copy is gone.
    Gone,
}

/// What happens when a transaction of ours is durable.
#[allow(clippy::large_enum_variant)] // moved once or twice; a box would cost an allocation per message
pub(crate) enum OnCommit {
    /// Send what may be said only now.
    Send(OsdId, PgMsg),
    /// A client change is durable here.
    LocalOp(u64),
    /// Our own activation is durable.
    Activated,
    /// A pulled object is durable here.
    Pulled(HObject),
    /// History that says "clean" is durable: strays may go.
    CleanRecorded,
    /// The collection is gone.
    Removed,
}
pub(crate) struct Pending {
    pub token: CommitToken,
    /// Start of the interval in which it was queued: actions of older intervals are void.
    pub interval: Epoch,
    pub actions: Vec<OnCommit>,
}

/// What [`Pg::create`] and [`Pg::load`] need to know.
pub struct PgInit {
    /// The PG.
    pub pgid: SpgId,
    /// The OSD we are.
    pub whoami: OsdId,
    /// Knobs.
    pub config: PgConfig,
    /// Interprets client ops; owned by the PG.
    pub engine: Box<dyn OpEngine>,
}

/// One copy of a PG on one OSD.
pub struct Pg {
    pub(crate) pgid: SpgId,
    pub(crate) coll: CollId,
    pub(crate) whoami: OsdId,
    pub(crate) cfg: PgConfig,
    pub(crate) engine: Box<dyn OpEngine>,

    pub(crate) map: Arc<dyn ClusterMap>,
    pub(crate) pool: Option<PoolView>,
    /// Snapshots that the map has queued for removal.
    pub(crate) removed_snaps: BTreeSet<types::SnapId>,
    pub(crate) placement: Placement,
    /// `_info` says this epoch.
    pub(crate) persisted_epoch: Epoch,

    pub(crate) info: PgInfo,
    pub(crate) log: PgLog,
    pub(crate) missing: Missing,
    pub(crate) past: Vec<PastInterval>,

    pub(crate) state: PgState,
    /// A new interval has begun and `ActMap` has not acted on it.
    pub(crate) reset_due: bool,
    pub(crate) past_dirty: bool,
    pub(crate) pending: VecDeque<Pending>,
    /// Peer messages from newer maps than ours.
    pub(crate) held: VecDeque<(OsdId, Epoch, PgMsg)>,
    /// What only a primary has; emptied at each interval.
    pub(crate) primary: Primary,
    /// Ops that wait for the PG to serve, in arrival order.
    pub(crate) waiting_for_active: VecDeque<Arc<ClientOp>>,
    pub(crate) waiting_bytes: u64,
    /// Objects being put together from pieces: version, and bytes so far.
    pub(crate) incoming: BTreeMap<HObject, crate::recovery::Incoming>,
    /// Pieces of objects from before a restart: to be removed.
    pub(crate) leftovers: Vec<HObject>,
    pub(crate) stamps: crate::status::PgStamps,
    pub(crate) reported_seq: u64,
    pub(crate) last_state_bits: u64,
    /// Interval in which objects were found damaged.
    pub(crate) inconsistent: bool,
}

impl Pg {
    /// A new, empty copy as of `map`: when the monitors create a PG (primary), or a peer speaks of one we do not have
    /// (see [`crate::absent`]). Its collection is created at once. Newer maps and `ActMap` must follow.
    pub fn create(
        init: PgInit,
        map: Arc<dyn ClusterMap>,
        history: PgHistory,
        past_intervals: Vec<PastInterval>,
        ctx: &mut PgCtx<'_>,
    ) -> Pg {
        let mut info = PgInfo::new(init.pgid);
        info.history = history;
        if info.history.last_epoch_started == info.history.epoch_created {
            // New, whatever the creator put there: nothing was ever started, let alone clean.
            let h = &mut info.history;
            (h.last_epoch_started, h.last_interval_started) = (Epoch(0), Epoch(0));
            (h.last_epoch_clean, h.last_interval_clean) = (Epoch(0), Epoch(0));
            // Nothing that is in it was not checked when it was made: as stock counts, it is in order from now on.
            info.scrub_stamps = vec![ctx.now; 3];
        }
        let placement = map.placement(init.pgid.pg);
        let mut pg = Pg::assemble(init, map, placement, info);
        pg.past = past_intervals;
        let mut txn = Transaction::new();
        txn.push(TxnOp::CreateColl { coll: pg.coll });
        txn.push(TxnOp::Touch { coll: pg.coll, oid: persist::meta_object(pg.pgid) });
        let mut meta = MetaDelta::default();
        meta.past(&pg.past);
        pg.queue(ctx, txn, meta, Vec::new());
        pg
    }

    /// Reads a stored copy. `map` is that of [`crate::stored_epoch`]; newer maps and `ActMap` must follow. When that map
    /// cannot be had any more, the oldest one that can; the interval is then closed pessimistically.
    pub fn load(init: PgInit, map: Arc<dyn ClusterMap>, store: &dyn ObjectStore) -> Result<Pg, PgError> {
        let stored = persist::load_info(store, init.pgid)?;
        let rest = persist::load_rest(store, init.pgid, stored.info.log_tail)?;
        let placement = stored.placement();
        let same_map = map.epoch() == stored.epoch;
        let mut pg = Pg::assemble(init, map.clone(), placement, stored.info);
        (pg.past, pg.log, pg.missing) = (rest.past, rest.log, rest.missing);
        pg.persisted_epoch = stored.epoch;
        pg.leftovers = persist::temp_objects(store, pg.pgid)?;
        if pg.log.head() != pg.info.last_update {
            return Err(PgError::BadMeta(pg.pgid));
        }
        if !same_map {
            pg.new_interval(map.as_ref(), map.placement(pg.pgid.pg), stored.epoch, true);
        }
        Ok(pg)
    }

    fn assemble(init: PgInit, map: Arc<dyn ClusterMap>, placement: Placement, info: PgInfo) -> Pg {
        Pg {
            pgid: init.pgid,
            coll: CollId::Pg(init.pgid),
            whoami: init.whoami,
            cfg: init.config,
            engine: init.engine,
            pool: map.pool(init.pgid.pg.pool),
            removed_snaps: map.removed_snaps(init.pgid.pg.pool),
            placement,
            persisted_epoch: map.epoch(),
            map,
            info,
            log: PgLog::default(),
            missing: Missing::default(),
            past: Vec::new(),
            state: PgState::Initial,
            reset_due: true,
            past_dirty: false,
            pending: VecDeque::new(),
            held: VecDeque::new(),
            primary: Primary::default(),
            waiting_for_active: VecDeque::new(),
            waiting_bytes: 0,
            incoming: BTreeMap::new(),
            leftovers: Vec::new(),
            stamps: Default::default(),
            reported_seq: 0,
            last_state_bits: 0,
            inconsistent: false,
        }
    }

    /// The PG.
    pub fn pgid(&self) -> SpgId {
        self.pgid
    }
    /// What the copy knows of itself.
    pub fn info(&self) -> &PgInfo {
        &self.info
    }
    /// The log.
    pub fn log(&self) -> &PgLog {
        &self.log
    }
    /// What the copy lacks.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }
    /// Where the machine is.
    pub fn state(&self) -> PgState {
        self.state
    }
    /// Map epoch it has taken in.
    pub fn epoch(&self) -> Epoch {
        self.map.epoch()
    }
    /// Current placement.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
    /// True when we lead by the current map.
    pub fn is_primary(&self) -> bool {
        self.placement.acting_primary == Some(self.whoami)
    }
    /// Start of the current interval.
    pub(crate) fn interval(&self) -> Epoch {
        self.info.history.same_interval_since
    }
    pub(crate) fn min_size(&self) -> usize {
        self.pool.as_ref().map_or(1, |p| p.min_size as usize).max(1)
    }
    pub(crate) fn size(&self) -> usize {
        self.pool.as_ref().map_or(1, |p| p.size as usize)
    }

    /// Takes in one event.
    pub fn handle(&mut self, ctx: &mut PgCtx<'_>, event: PgEvent) {
        if self.state == PgState::Gone {
            if let PgEvent::Committed(token) = event {
                self.committed(ctx, token);
            }
            return;
        }
        match event {
            PgEvent::AdvMap(map) => self.adv_map(ctx, map),
            PgEvent::ActMap => self.act_map(ctx),
            PgEvent::Message { from, epoch, msg } => self.message(ctx, from, epoch, msg),
            PgEvent::ClientOp(op) => self.client_op(ctx, op),
            PgEvent::SessionReset(session) => {
                self.engine.session_reset(session, ctx.now);
                self.waiting_for_active.retain(|op| op.session != session);
                self.waiting_bytes = self.waiting_for_active.iter().map(|o| o.cost_bytes()).sum();
            }
            PgEvent::Copied { op, results } => self.copied(ctx, op, results),
            PgEvent::Committed(token) => self.committed(ctx, token),
            PgEvent::Tick => self.tick(ctx),
            PgEvent::LeaseRenewed => self.resume(ctx),
            PgEvent::Repair(oid) => self.mark_corrupt(ctx, &oid),
        }
        self.publish(ctx);
    }

    // ---- transactions -------------------------------------------------------------------------------------------

    /// Queues `txn` with metadata; the info always goes with it. A store that refuses is fatal: callers that can be
    /// refused use [`Pg::try_queue`].
    pub(crate) fn queue(
        &mut self,
        ctx: &mut PgCtx<'_>,
        txn: Transaction,
        meta: MetaDelta,
        actions: Vec<OnCommit>,
    ) {
        if let Err(e) = self.try_queue(ctx, txn, meta, actions) {
            ctx.out.push(PgEffect::StoreFailed(format!("pg {}: {e}", self.pgid)));
        }
    }
    pub(crate) fn try_queue(
        &mut self,
        ctx: &mut PgCtx<'_>,
        mut txn: Transaction,
        mut meta: MetaDelta,
        actions: Vec<OnCommit>,
    ) -> Result<(), StoreError> {
        if self.past_dirty {
            meta.past(&self.past);
        }
        meta.info(self);
        meta.into_txn(self.pgid, &mut txn);
        *ctx.next_token += 1;
        let token = CommitToken(*ctx.next_token);
        ctx.store.queue(txn, token)?;
        self.past_dirty = false;
        self.persisted_epoch = self.map.epoch();
        self.pending.push_back(Pending { token, interval: self.interval(), actions });
        Ok(())
    }
    /// Does `action` when all that was queued so far is durable: at once when it is already.
    pub(crate) fn after_commit(&mut self, ctx: &mut PgCtx<'_>, action: OnCommit) {
        let interval = self.interval();
        if planted!(self.cfg, SpeakOfUndurable) {
            return self.on_commit(ctx, action);
        }
        match self.pending.back_mut() {
            Some(last) if last.interval == interval => last.actions.push(action),
            // Behind a transaction of an older interval: an entry of our own with the same token.
            Some(last) => {
                let token = last.token;
                self.pending.push_back(Pending { token, interval, actions: vec![action] });
            }
            None => self.on_commit(ctx, action),
        }
    }
    fn committed(&mut self, ctx: &mut PgCtx<'_>, token: CommitToken) {
        while self.pending.front().is_some_and(|p| p.token <= token) {
            let p = self.pending.pop_front().expect("just seen");
            let live = p.interval == self.interval() || planted!(self.cfg, StaleCommitCounts);
            for action in p.actions {
                if live || matches!(action, OnCommit::Removed) {
                    self.on_commit(ctx, action);
                }
            }
        }
        if self.pending.is_empty() && self.state == PgState::Flushing && !self.reset_due {
            self.begin_get_info(ctx);
        }
    }
    fn on_commit(&mut self, ctx: &mut PgCtx<'_>, action: OnCommit) {
        match action {
            OnCommit::Send(osd, msg) => self.send(ctx, osd, msg),
            OnCommit::LocalOp(seq) => self.op_acked(ctx, self.whoami, seq),
            OnCommit::Activated => self.activated(ctx, self.whoami),
            OnCommit::Pulled(oid) => self.pulled(ctx, &oid),
            OnCommit::CleanRecorded => {
                self.primary.clean_recorded = true;
                self.purge_strays(ctx);
            }
            OnCommit::Removed => ctx.out.push(PgEffect::Gone(self.pgid)),
        }
    }
    pub(crate) fn send(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId, mut msg: PgMsg) {
        assert_ne!(osd, self.whoami, "a PG does not write to itself: {}", msg.name());
        self.complete_message(ctx, osd, &mut msg);
        ctx.out.push(PgEffect::SendToOsd { osd, epoch: self.map.epoch(), msg });
    }
    /// The same message to several members: it is made into bytes once.
    pub(crate) fn send_to_all(&mut self, ctx: &mut PgCtx<'_>, osds: Vec<OsdId>, msg: PgMsg) {
        assert!(!osds.contains(&self.whoami), "a PG does not write to itself: {}", msg.name());
        ctx.out.push(PgEffect::SendToOsds { osds, epoch: self.map.epoch(), msg });
    }

    // ---- maps and intervals -------------------------------------------------------------------------------------

    fn adv_map(&mut self, ctx: &mut PgCtx<'_>, map: Arc<dyn ClusterMap>) {
        if map.epoch() <= self.map.epoch() {
            return;
        }
        let pool = map.pool(self.pgid.pg.pool);
        if pool.is_none() {
            self.map = map;
            self.remove_copy(ctx);
            return;
        }
        let placement = map.placement(self.pgid.pg);
        let last_epoch = self.map.epoch();
        let gap = map.epoch().0 != last_epoch.0 + 1;
        if gap || is_new_interval(&self.placement, &placement, self.pool.as_ref(), pool.as_ref()) {
            self.new_interval(map.as_ref(), placement, last_epoch, gap);
        }
        if self.map.up_from(self.whoami) != map.up_from(self.whoami) {
            // Marked down while alive: sessions were cut, so what was said to or by us may be lost.
            self.reset_due = true;
        }
        let purged = map.new_purged_snaps(self.pgid.pg.pool);
        if !purged.is_empty() {
            self.info.purged_snaps.retain(|s| !purged.contains(s));
        }
        self.removed_snaps = map.removed_snaps(self.pgid.pg.pool);
        self.map = map;
        self.pool = pool;
        // So that a restart need not walk too many maps.
        if self.map.epoch().0 - self.persisted_epoch.0 >= 40 {
            self.queue(ctx, Transaction::new(), MetaDelta::default(), Vec::new());
        }
    }

    /// Closes the interval that lasted until before `map` and begins the next. `self.map` is still the old map.
    fn new_interval(&mut self, map: &dyn ClusterMap, placement: Placement, last_epoch: Epoch, gap: bool) {
        let h = &mut self.info.history;
        let mut closed = close_interval(
            h.same_interval_since,
            &self.placement,
            self.map.as_ref(),
            map.epoch(),
            self.pool.as_ref().map_or(1, |p| p.min_size),
            h.last_epoch_clean,
        );
        if gap && !closed.acting.is_empty() && last_epoch.0 + 1 < map.epoch().0 {
            closed.maybe_went_rw = true;
        }
        if closed.first.0 > 0 && closed.last >= closed.first {
            self.past.push(closed);
        }
        if self.placement.up != placement.up || self.placement.up_primary != placement.up_primary {
            h.same_up_since = map.epoch();
        }
        if self.placement.acting_primary != placement.acting_primary {
            h.same_primary_since = map.epoch();
        }
        h.same_interval_since = map.epoch();
        self.placement = placement;
        self.past_dirty = true;
        self.reset_due = true;
    }

    fn act_map(&mut self, ctx: &mut PgCtx<'_>) {
        if self.reset_due {
            self.reset_due = false;
            self.start_interval(ctx);
        } else {
            self.map_changed(ctx);
        }
        // What was held for this map; what is still too new is held again.
        for (from, epoch, msg) in std::mem::take(&mut self.held) {
            self.message(ctx, from, epoch, msg);
        }
    }

    /// Everything of the old interval is void: begins the new one in its role.
    fn start_interval(&mut self, ctx: &mut PgCtx<'_>) {
        let was = std::mem::take(&mut self.primary);
        self.engine.dropped_all();
        self.set_engine_active(ctx, false);
        let mut txn = Transaction::new();
        for (oid, _) in std::mem::take(&mut self.incoming) {
            txn.push(TxnOp::Remove { coll: self.coll, oid: persist::temp_object(self.pgid, &oid) });
        }
        for oid in std::mem::take(&mut self.leftovers) {
            txn.push(TxnOp::Remove { coll: self.coll, oid });
        }
        self.waiting_for_active = was.into_waiting(std::mem::take(&mut self.waiting_for_active));
        if !self.is_primary() {
            self.waiting_for_active.clear();
        }
        self.waiting_bytes = self.waiting_for_active.iter().map(|o| o.cost_bytes()).sum();
        self.queue(ctx, txn, MetaDelta::default(), Vec::new());
        if self.is_primary() {
            self.state = PgState::Flushing; // until the queue is durable: see committed()
            if planted!(self.cfg, NoFlush) {
                self.begin_get_info(ctx);
            }
        } else {
            self.state = PgState::Stray;
            if let Some(primary) = self.placement.acting_primary {
                let notify = self.notify();
                self.after_commit(ctx, OnCommit::Send(primary, notify));
            }
        }
    }
    pub(crate) fn notify(&self) -> PgMsg {
        let (info, past_intervals) = (self.info.clone(), self.past.clone());
        PgMsg::Notify(Notify { info, past_intervals, ..Notify::default() })
    }

    /// The copy goes: its pool is gone, or the primary does not need it.
    pub(crate) fn remove_copy(&mut self, ctx: &mut PgCtx<'_>) {
        self.primary = Primary::default();
        self.waiting_for_active.clear();
        self.held.clear();
        self.set_engine_active(ctx, false);
        self.state = PgState::Gone;
        *ctx.next_token += 1;
        let token = CommitToken(*ctx.next_token);
        let mut txn = Transaction::new();
        txn.push(TxnOp::RemoveColl { coll: self.coll });
        if let Err(e) = ctx.store.queue(txn, token) {
            ctx.out.push(PgEffect::StoreFailed(format!("pg {}: {e}", self.pgid)));
        }
        self.pending.push_back(Pending {
            token,
            interval: self.interval(),
            actions: vec![OnCommit::Removed],
        });
    }

    // ---- messages -----------------------------------------------------------------------------------------------

    fn message(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, epoch: Epoch, msg: PgMsg) {
        if epoch > self.map.epoch() || self.reset_due {
            if self.held.len() >= self.cfg.held_messages_max {
                // The sender waits for an answer that never comes; the next interval asks anew.
                ctx.out.push(PgEffect::ClusterLog {
                    error: true,
                    text: format!(
                        "pg {}: too many messages for newer maps, dropped {}",
                        self.pgid,
                        msg.name()
                    ),
                });
                return;
            }
            self.held.push_back((from, epoch, msg));
            return;
        }
        if self.state == PgState::Gone || epoch < self.interval() || self.map.up_from(from) > epoch {
            return; // of an older interval or an earlier life of the sender
        }
        let from_primary = self.placement.acting_primary == Some(from) && from != self.whoami;
        let primary = self.is_primary();
        match msg {
            PgMsg::QueryInfo(q) if from_primary => self.on_query_info(ctx, from, q),
            PgMsg::QueryLog(q) if from_primary => self.on_query_log(ctx, from, q),
            PgMsg::Activate(a) if from_primary => self.on_activate(ctx, from, a),
            PgMsg::Share(s) if from_primary => self.on_share(ctx, s),
            PgMsg::RepOp(r) if from_primary => self.on_rep_op(ctx, from, r),
            PgMsg::Pull(p) if from_primary => self.on_pull(ctx, from, p),
            PgMsg::Push(p) => self.on_push(ctx, from, p),
            PgMsg::Scan(s) if from_primary => self.on_scan(ctx, from, s),
            PgMsg::BackfillProgress(p) if from_primary => self.on_backfill_progress(ctx, from, p),
            PgMsg::Remove(r) if from_primary => self.on_remove(ctx, r),
            PgMsg::Notify(n) if primary => self.on_notify(ctx, from, n),
            PgMsg::Log(l) if primary => self.on_log(ctx, from, l),
            PgMsg::ActivateAck(a) if primary => self.on_activate_ack(ctx, from, a),
            PgMsg::RepOpAck(a) if primary => self.on_rep_op_ack(ctx, from, a),
            PgMsg::PullMiss(m) if primary => self.on_pull_miss(ctx, from, m),
            PgMsg::PushAck(a) if primary => self.on_push_ack(ctx, from, a),
            PgMsg::ScanReply(s) if primary => self.on_scan_reply(ctx, from, s),
            _ => {} // from one who has no say in this interval
        }
    }

    pub(crate) fn stamp(&mut self, now: Utime) {
        self.stamps.last_fresh = now;
    }
}
