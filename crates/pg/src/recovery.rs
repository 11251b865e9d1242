//! Log-based recovery: the primary pulls what it lacks, then pushes what members lack, piece by piece.
//!
//! Invariants: while an object is being recovered nobody changes it; a copy leaves a missing set in the very
//! transaction that makes it whole; a source hands out durable bytes of exactly the wanted version, or says no.

use crate::api::{PgCtx, PgEffect};
use crate::merge::is_backfilled;
use crate::missing::MissingItem;
use crate::msg::{PgMsg, Pull, PullMiss, Push, PushAck, QueryLog};
use crate::persist::{MetaDelta, temp_object};
use crate::pg::{OnCommit, Pg, PgState};
use bytes::Bytes;
use objstore::{StoreError, Transaction, TxnOp};
use std::collections::{BTreeMap, BTreeSet};
use types::{EVersion, HObject, OsdId};

/// An object that arrives in pieces.
pub(crate) struct Incoming {
    pub version: EVersion,
    pub data_done: u64,
}

/// How far one copy of an object was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub data_done: u64,
    pub omap_after: Option<Bytes>,
    pub omap_done: bool,
    pub started: bool,
}

/// An object in recovery, on the primary.
pub(crate) struct Recovering {
    pub version: EVersion,
    pub how: How,
}
pub(crate) enum How {
    /// We fetch it.
    Pull { from: OsdId },
    /// We send it.
    Push { to: BTreeMap<OsdId, Sent> },
}

impl Pg {
    pub(crate) fn any_missing(&self) -> bool {
        !self.missing.is_empty()
            || !self.primary.recovering.is_empty()
            || self
                .primary
                .members
                .iter()
                .any(|o| self.primary.peer_missing.get(o).is_some_and(|m| !m.is_empty()))
    }

    /// Starts what may be started, urgent things first.
    pub(crate) fn kick_recovery(&mut self, ctx: &mut PgCtx<'_>) {
        if self.state != PgState::Active || self.reset_due {
            return;
        }
        for head in self.primary.urgent.clone() {
            let wanted: BTreeSet<HObject> = self
                .missing
                .family(&head)
                .chain(self.member_missing().flat_map(|m| m.family(&head)))
                .map(|(o, _)| o.clone())
                .collect();
            for oid in wanted {
                self.start_recovery(ctx, &oid);
            }
        }
        if !self.map.no_recover() {
            while self.primary.recovering.len() < self.cfg.recovery_max_active
                && self.primary.recovery_bytes_left > 0
            {
                let next = self
                    .missing
                    .iter()
                    .chain(self.member_missing().flat_map(|m| m.iter()))
                    .map(|(o, _)| o)
                    .find(|o| !self.primary.recovering.contains_key(o) && !self.primary.unfound.contains(o))
                    .cloned();
                let Some(oid) = next else { break };
                self.start_recovery(ctx, &oid);
            }
        }
        if !self.any_missing() {
            self.backfill_step(ctx);
        }
        self.check_clean(ctx);
    }
    fn member_missing(&self) -> impl Iterator<Item = &crate::missing::Missing> {
        self.primary.members.iter().filter_map(|o| self.primary.peer_missing.get(o))
    }

    fn start_recovery(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject) {
        if self.primary.recovering.contains_key(oid) {
            return;
        }
        if let Some(item) = self.missing.get(oid).cloned() {
            let Some(from) = self.source_of(oid) else {
                if self.primary.unfound.insert(oid.clone()) {
                    self.look_for_unfound(ctx);
                }
                return;
            };
            self.primary.unfound.remove(oid);
            let how = How::Pull { from };
            self.primary.recovering.insert(oid.clone(), Recovering { version: item.need, how });
            self.ask_piece(ctx, oid, item.need, from, &Sent::default());
        } else {
            self.start_push(ctx, oid);
        }
    }
    /// A copy that has the object in the version that we need; without one that should, one that might: what is left on a
    /// backfill target, or on a stray whose log does not reach ours any more. Sources compare versions before they give.
    fn source_of(&self, oid: &HObject) -> Option<OsdId> {
        let p = &self.primary;
        let bad = p.bad_sources.get(oid);
        let usable = |o: &OsdId, i: &crate::info::PgInfo| {
            !i.dne()
                && self.map.is_up(*o)
                && bad.is_none_or(|b| !b.contains(o))
                && p.peer_missing.get(o).is_none_or(|m| !m.contains(oid))
        };
        let known = p
            .peer_info
            .iter()
            .find(|(o, i)| {
                usable(o, i) && p.peer_missing.contains_key(o) && is_backfilled(oid, &i.last_backfill)
            })
            .map(|(o, _)| *o);
        known.or_else(|| p.peer_info.iter().find(|(o, i)| usable(o, i)).map(|(o, _)| *o))
    }
    /// Objects without a known copy: strays may have them.
    pub(crate) fn look_for_unfound(&mut self, ctx: &mut PgCtx<'_>) {
        if self.primary.unfound.is_empty() {
            return;
        }
        for osd in self.primary.strays.clone() {
            if !self.primary.peer_missing.contains_key(&osd) && self.primary.asked.insert(osd) {
                let q = QueryLog { since: EVersion::ZERO, history: self.info.history.clone() };
                self.send(ctx, osd, PgMsg::QueryLog(q));
            }
        }
    }
    /// New knowledge of who has what.
    pub(crate) fn retry_unfound(&mut self, ctx: &mut PgCtx<'_>) {
        self.primary.unfound.clear();
        self.kick_recovery(ctx);
    }
    /// Peers went down without a new interval: only strays can.
    pub(crate) fn check_sources(&mut self, ctx: &mut PgCtx<'_>) {
        let gone: Vec<OsdId> = self.primary.strays.iter().copied().filter(|o| !self.map.is_up(*o)).collect();
        for osd in gone {
            self.primary.strays.remove(&osd);
            self.primary.asked.remove(&osd);
            self.primary.peer_info.remove(&osd);
            self.primary.peer_missing.remove(&osd);
            self.primary.bad_sources.values_mut().for_each(|b| {
                b.remove(&osd);
            });
            self.primary.recovering.retain(|_, r| !matches!(r.how, How::Pull { from } if from == osd));
        }
        self.retry_unfound(ctx);
    }

    // ---- pulls --------------------------------------------------------------------------------------------------

    fn ask_piece(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject, version: EVersion, from: OsdId, s: &Sent) {
        let p = Pull {
            oid: oid.clone(),
            version,
            data_off: s.data_done,
            omap_after: s.omap_after.clone(),
            omap_done: s.omap_done,
            max_bytes: self.cfg.recovery_chunk_bytes,
        };
        self.send(ctx, from, PgMsg::Pull(p));
    }
    pub(crate) fn on_pull(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, p: Pull) {
        let there = self.engine.object_version(&*ctx.store, self.coll, &p.oid);
        let mut s = Sent {
            data_done: p.data_off,
            omap_after: p.omap_after.clone(),
            omap_done: p.omap_done,
            started: p.data_off > 0 || p.omap_after.is_some() || p.omap_done,
        };
        let piece = if there == Some(p.version) && !self.missing.contains(&p.oid) {
            self.make_piece(ctx, &p.oid, p.version, &mut s, p.max_bytes.min(64 << 20))
        } else {
            Err(StoreError::NoObject(p.oid.clone()))
        };
        let msg = match piece {
            Ok(push) => PgMsg::Push(push),
            Err(e) => {
                let corrupt = matches!(e, StoreError::Corrupt { .. });
                PgMsg::PullMiss(PullMiss { oid: p.oid, version: p.version, corrupt })
            }
        };
        self.after_commit(ctx, OnCommit::Send(from, msg));
    }
    pub(crate) fn on_pull_miss(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, m: PullMiss) {
        let ours =
            self.primary.recovering.get(&m.oid).is_some_and(|r| {
                r.version == m.version && matches!(r.how, How::Pull { from: f } if f == from)
            });
        if !ours {
            return;
        }
        if m.corrupt {
            self.note_damage(ctx, &m.oid, from);
        }
        self.primary.recovering.remove(&m.oid);
        self.primary.bad_sources.entry(m.oid.clone()).or_default().insert(from);
        // A member that should have it and does not is itself in need.
        let should = |i: &crate::info::PgInfo| is_backfilled(&m.oid, &i.last_backfill);
        if self.primary.members.contains(&from) && self.primary.peer_info.get(&from).is_some_and(should) {
            let item = MissingItem { need: m.version, have: EVersion::ZERO };
            self.primary.peer_missing.entry(from).or_default().set(m.oid, item);
        }
        self.kick_recovery(ctx);
    }
    fn note_damage(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject, osd: OsdId) {
        self.inconsistent = true;
        ctx.out.push(PgEffect::ClusterLog {
            error: true,
            text: format!("pg {}: osd.{osd} cannot read its copy of {oid}, taking another", self.pgid),
        });
    }
    /// Our copy of an object is damaged: it must come from another.
    pub(crate) fn mark_corrupt(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject) {
        if !self.is_primary() || self.state != PgState::Active || self.missing.contains(oid) {
            return;
        }
        let version =
            self.engine.object_version(&*ctx.store, self.coll, oid).or_else(|| self.log.newest_of(oid));
        let Some(need) = version else { return };
        self.note_damage(ctx, oid, self.whoami);
        let item = MissingItem { need, have: EVersion::ZERO };
        let mut meta = MetaDelta::default();
        meta.missing_set(oid, &item);
        self.missing.set(oid.clone(), item);
        self.complete_to();
        self.primary.clean = false;
        self.queue(ctx, Transaction::new(), meta, Vec::new());
        self.kick_recovery(ctx);
    }
    /// A pulled object is durable here.
    pub(crate) fn pulled(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject) {
        self.primary.recovering.remove(oid);
        self.primary.bad_sources.remove(oid);
        self.info.counters.num_objects_recovered += 1;
        self.object_ready(ctx, &oid.head());
        self.kick_recovery(ctx);
    }

    // ---- pushes -------------------------------------------------------------------------------------------------

    fn start_push(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject) {
        let mut to: BTreeMap<OsdId, Sent> = BTreeMap::new();
        let mut version = EVersion::ZERO;
        for osd in &self.primary.members {
            if let Some(i) = self.primary.peer_missing.get(osd).and_then(|m| m.get(oid)) {
                version = version.max(i.need);
                to.insert(*osd, Sent::default());
            }
        }
        if to.is_empty() {
            return;
        }
        if self.engine.object_version(&*ctx.store, self.coll, oid) != Some(version) {
            // Not what the log promises: our own copy is wrong.
            self.mark_corrupt_at(ctx, oid, version);
            return;
        }
        let targets: Vec<OsdId> = to.keys().copied().collect();
        self.primary.recovering.insert(oid.clone(), Recovering { version, how: How::Push { to } });
        for osd in targets {
            self.push_next(ctx, oid, osd);
        }
    }
    fn mark_corrupt_at(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject, need: EVersion) {
        self.note_damage(ctx, oid, self.whoami);
        let item = MissingItem { need, have: EVersion::ZERO };
        let mut meta = MetaDelta::default();
        meta.missing_set(oid, &item);
        self.missing.set(oid.clone(), item);
        self.complete_to();
        self.queue(ctx, Transaction::new(), meta, Vec::new());
    }
    fn push_next(&mut self, ctx: &mut PgCtx<'_>, oid: &HObject, osd: OsdId) {
        let Some(r) = self.primary.recovering.get_mut(oid) else { return };
        let version = r.version;
        let How::Push { to } = &mut r.how else { return };
        let Some(mut s) = to.get(&osd).cloned() else { return };
        match self.make_piece(ctx, oid, version, &mut s, self.cfg.recovery_chunk_bytes) {
            Ok(p) => {
                self.charge(p.cost_bytes());
                if let Some(Recovering { how: How::Push { to }, .. }) = self.primary.recovering.get_mut(oid) {
                    to.insert(osd, s);
                }
                self.send(ctx, osd, PgMsg::Push(p));
            }
            Err(StoreError::Corrupt { .. }) => {
                self.primary.recovering.remove(oid);
                self.mark_corrupt(ctx, oid);
            }
            Err(e) => ctx.out.push(PgEffect::StoreFailed(format!("pg {}: pushing {oid}: {e}", self.pgid))),
        }
    }
    pub(crate) fn charge(&mut self, bytes: u64) {
        if self.primary.recovery_bytes_left != u64::MAX {
            self.primary.recovery_bytes_left =
                self.primary.recovery_bytes_left.saturating_sub(bytes.max(4096));
        }
    }
    pub(crate) fn on_push_ack(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, a: PushAck) {
        if self.backfill_push_ack(ctx, from, &a) {
            return;
        }
        let Some(r) = self.primary.recovering.get_mut(&a.oid) else { return };
        let How::Push { to } = &mut r.how else { return };
        if r.version != a.version || !to.contains_key(&from) {
            return;
        }
        if !a.done {
            return self.push_next(ctx, &a.oid, from);
        }
        to.remove(&from);
        let all = to.is_empty();
        if let Some(m) = self.primary.peer_missing.get_mut(&from) {
            m.remove(&a.oid);
        }
        if all {
            self.primary.recovering.remove(&a.oid);
            self.info.counters.num_objects_recovered += 1;
            self.object_ready(ctx, &a.oid.head());
        }
        self.kick_recovery(ctx);
    }

    /// The next piece of an object, after what was sent; moves `s`.
    pub(crate) fn make_piece(
        &self,
        ctx: &PgCtx<'_>,
        oid: &HObject,
        version: EVersion,
        s: &mut Sent,
        max_bytes: u64,
    ) -> Result<Push, StoreError> {
        let store = &*ctx.store;
        let size = store.stat(self.coll, oid)?.size;
        let mut p = Push { oid: oid.clone(), version, first: !s.started, size, ..Push::default() };
        if !oid.is_head() {
            p.snaps = self.engine.clone_snaps(store, self.coll, oid);
        }
        if p.first {
            p.attrs = store.getattrs(self.coll, oid)?;
            p.omap_header = store.omap_header(self.coll, oid)?;
            s.started = true;
        }
        let mut left = max_bytes.max(4096);
        if s.data_done < size {
            for (off, len) in store.extents(self.coll, oid, s.data_done, size - s.data_done)? {
                if left == 0 {
                    break;
                }
                let n = len.min(left);
                let data = store.read(self.coll, oid, off, n)?;
                left -= n;
                s.data_done = off + n;
                p.data.push((off, data));
            }
            if left > 0 {
                s.data_done = size; // the rest is a hole
            }
        }
        while s.data_done >= size && left > 0 && !s.omap_done {
            let page = store.omap_list(self.coll, oid, s.omap_after.as_deref(), 64)?;
            match page.last() {
                None => s.omap_done = true,
                Some((k, _)) => s.omap_after = Some(k.clone()),
            }
            let bytes: usize = page.iter().map(|(k, v)| k.len() + v.len() + 16).sum();
            left = left.saturating_sub(bytes as u64);
            p.omap.extend(page);
        }
        p.data_done = s.data_done;
        p.omap_done = s.omap_done;
        p.last = s.data_done >= size && s.omap_done;
        Ok(p)
    }

    // ---- arrival ------------------------------------------------------------------------------------------------

    /// A piece arrives: at a member from its primary, or at the primary that pulls.
    pub(crate) fn on_push(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, p: Push) {
        let pulling = if self.is_primary() {
            let ours = self.primary.recovering.get(&p.oid).is_some_and(|r| {
                r.version == p.version && matches!(r.how, How::Pull { from: f } if f == from)
            });
            if !ours {
                return;
            }
            true
        } else {
            if self.state != PgState::ReplicaActive || self.placement.acting_primary != Some(from) {
                return;
            }
            false
        };
        let mut txn = Transaction::new();
        let mut meta = MetaDelta::default();
        let whole = p.first && p.last;
        let target = if whole { p.oid.clone() } else { temp_object(self.pgid, &p.oid) };
        if p.first {
            if whole {
                self.replace_object(ctx, &p, &mut txn);
            } else {
                txn.push(TxnOp::Remove { coll: self.coll, oid: target.clone() });
                let inc = Incoming { version: p.version, data_done: 0 };
                self.incoming.insert(p.oid.clone(), inc);
            }
            txn.push(TxnOp::Touch { coll: self.coll, oid: target.clone() });
            for (name, value) in &p.attrs {
                txn.push(TxnOp::SetAttr {
                    coll: self.coll,
                    oid: target.clone(),
                    name: name.clone(),
                    value: value.clone(),
                });
            }
            if !p.omap_header.is_empty() {
                let header = p.omap_header.clone();
                txn.push(TxnOp::OmapSetHeader { coll: self.coll, oid: target.clone(), header });
            }
            if p.size > 0 {
                txn.push(TxnOp::Truncate { coll: self.coll, oid: target.clone(), size: p.size });
            }
        } else if self.incoming.get(&p.oid).is_none_or(|i| i.version != p.version) {
            return; // the beginning was never here
        }
        for (off, data) in &p.data {
            txn.push(TxnOp::Write { coll: self.coll, oid: target.clone(), off: *off, data: data.clone() });
        }
        if !p.omap.is_empty() {
            txn.push(TxnOp::OmapSet { coll: self.coll, oid: target.clone(), pairs: p.omap.clone() });
        }
        if !whole && p.last {
            self.incoming.remove(&p.oid);
            self.replace_object(ctx, &p, &mut txn);
            txn.push(TxnOp::Rename { coll: self.coll, src: target, dst: p.oid.clone() });
        } else if let Some(inc) = self.incoming.get_mut(&p.oid) {
            inc.data_done = p.data_done;
        }
        if p.last {
            self.recovered_locally(&p.oid, p.version, &mut meta);
        }
        let action = if !pulling {
            let ack = PushAck { oid: p.oid.clone(), version: p.version, done: p.last };
            OnCommit::Send(from, PgMsg::PushAck(ack))
        } else if p.last {
            OnCommit::Pulled(p.oid.clone())
        } else {
            let s = Sent {
                data_done: p.data_done,
                omap_after: p.omap.last().map(|(k, _)| k.clone()),
                omap_done: p.omap_done,
                started: true,
            };
            self.ask_piece(ctx, &p.oid, p.version, from, &s);
            self.charge(p.cost_bytes());
            return self.queue(ctx, txn, meta, Vec::new());
        };
        self.charge(p.cost_bytes());
        self.queue(ctx, txn, meta, vec![action]);
    }
}
