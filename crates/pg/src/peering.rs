//! Peering, primary side: who knows what, whose log counts, who shall act, activation (`PeeringState`).
//!
//! Invariants: no activation before every copy that may hold an acknowledged write was heard or is known to be
//! unneeded; none before the map has our up_thru in this interval; none with an incomplete primary.

use crate::api::{PgCtx, PgEffect};
use crate::info::PgInfo;
use crate::lease::Rests;
use crate::merge;
use crate::missing::Missing;
use crate::msg::*;
use crate::persist::MetaDelta;
use crate::pg::{OnCommit, Pg, PgState};
use objstore::{Transaction, TxnOp};
use std::collections::{BTreeMap, BTreeSet};
use types::{EVersion, Epoch, HObject, OsdId};

/// Whom peering must hear (`PastIntervals::PriorSet`).
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub(crate) struct PriorSet {
    /// OSDs to ask, up now.
    pub probe: BTreeSet<OsdId>,
    /// OSDs that could know, but are down (or gone).
    pub down: BTreeSet<OsdId>,
    /// Those without whom an interval's writes are unaccounted for.
    pub blocked_by: BTreeSet<OsdId>,
}

impl Pg {
    fn build_prior(&self) -> PriorSet {
        let mut prior = PriorSet::default();
        prior.probe.extend(self.placement.acting.iter().chain(&self.placement.up).copied());
        for i in self.past.iter().rev() {
            if i.last < self.info.history.last_epoch_started {
                break;
            }
            if i.acting.is_empty() || !i.maybe_went_rw || planted!(self.cfg, ForgetPastIntervals) {
                continue;
            }
            let (mut accounted, mut down_now) = (false, BTreeSet::new());
            for osd in &i.acting {
                if self.map.is_up(*osd) {
                    prior.probe.insert(*osd);
                    accounted = true;
                } else if !self.map.exists(*osd) {
                    prior.down.insert(*osd);
                } else if self.map.lost_at(*osd) > i.first {
                    // An operator gave its data up: the interval counts as heard.
                    prior.down.insert(*osd);
                    accounted = true;
                } else {
                    prior.down.insert(*osd);
                    down_now.insert(*osd);
                }
            }
            if !accounted && !down_now.is_empty() {
                prior.blocked_by.extend(down_now);
            }
        }
        prior.probe.remove(&self.whoami);
        prior.probe.retain(|o| self.map.is_up(*o));
        prior
    }

    /// Begins to peer (again, inside an interval, when the map moved below us).
    pub(crate) fn begin_get_info(&mut self, ctx: &mut PgCtx<'_>) {
        assert!(self.is_primary());
        self.primary.peering_round += 1;
        self.state = PgState::GetInfo;
        let up_now: BTreeSet<OsdId> =
            self.primary.peer_info.keys().copied().filter(|o| self.map.is_up(*o)).collect();
        self.primary.peer_info.retain(|o, _| up_now.contains(o));
        self.primary.peer_missing.clear();
        self.primary.strays.retain(|o| up_now.contains(o));
        self.primary.asked.clear();
        self.ask_infos(ctx);
        self.got_info(ctx);
    }
    fn ask_infos(&mut self, ctx: &mut PgCtx<'_>) {
        self.primary.prior = self.build_prior();
        for osd in self.primary.prior.probe.clone() {
            if !self.primary.peer_info.contains_key(&osd) && self.primary.asked.insert(osd) {
                let q = QueryInfo { history: self.info.history.clone() };
                self.send(ctx, osd, PgMsg::QueryInfo(q));
            }
        }
    }

    /// A copy told of itself.
    pub(crate) fn on_notify(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, n: Notify) {
        self.heard_promises(ctx, from, &n.rests);
        let peered = matches!(self.state, PgState::Activating | PgState::Active);
        if peered {
            if self.primary.members.contains(&from) {
                return; // heard when we peered; what we track of it since is newer
            }
            if !n.info.dne() {
                self.primary.strays.insert(from);
                self.primary.peer_info.insert(from, n.info);
                self.look_for_unfound(ctx);
                self.purge_strays(ctx);
            }
            return;
        }
        let may_replace = matches!(
            self.state,
            PgState::Flushing
                | PgState::GetInfo
                | PgState::Down
                | PgState::Incomplete
                | PgState::WaitActingChange
        );
        if !may_replace && self.primary.peer_info.contains_key(&from) {
            return; // said twice (asked and unasked); what was worked out from the first stands
        }
        let h = self.info.history.clone();
        if !n.info.dne() {
            self.info.history.merge(&n.info.history);
            if !self.placement.acting.contains(&from) && !self.placement.up.contains(&from) {
                self.primary.strays.insert(from);
            }
        }
        self.primary.peer_info.insert(from, n.info);
        if self.info.history != h && self.state == PgState::GetInfo {
            self.ask_infos(ctx); // fewer intervals may matter now
        }
        match self.state {
            PgState::GetInfo => self.got_info(ctx),
            // A copy we did not count on may be what was lacking.
            PgState::Down | PgState::Incomplete => self.begin_get_info(ctx),
            _ => {}
        }
    }

    fn got_info(&mut self, ctx: &mut PgCtx<'_>) {
        let prior = &self.primary.prior;
        if prior.probe.iter().any(|o| !self.primary.peer_info.contains_key(o)) {
            return;
        }
        if !prior.blocked_by.is_empty() {
            self.state = PgState::Down;
            return;
        }
        self.get_log(ctx);
    }

    /// The copy with the authoritative log (`find_best_info`).
    pub(crate) fn best_info<'a>(
        infos: &BTreeMap<OsdId, &'a PgInfo>,
        me: OsdId,
    ) -> Option<(OsdId, &'a PgInfo)> {
        let mut max_les = Epoch(0);
        for i in infos.values() {
            max_les = max_les.max(i.history.last_epoch_started);
            if !i.is_incomplete() {
                max_les = max_les.max(i.last_epoch_started);
            }
        }
        // What the last interval that served acknowledged is in all its members' logs: the shortest of them is the floor.
        let floor =
            infos.values().filter(|i| i.last_epoch_started >= max_les).map(|i| i.last_update).min()?;
        let mut best: Option<(OsdId, &PgInfo)> = None;
        for (osd, i) in infos {
            if i.last_update < floor || i.last_epoch_started < max_les || i.is_incomplete() {
                continue;
            }
            let better = match best {
                None => true,
                Some((_, b)) => {
                    (i.last_update, std::cmp::Reverse(i.log_tail), *osd == me)
                        > (b.last_update, std::cmp::Reverse(b.log_tail), best.is_some_and(|(o, _)| o == me))
                }
            };
            if better {
                best = Some((*osd, i));
            }
        }
        best
    }

    /// Who should act, who is to be backfilled, given the authoritative copy (`calc_replicated_acting`).
    fn choose_acting(&self, auth: OsdId, only_members: bool) -> (Vec<OsdId>, BTreeSet<OsdId>) {
        let info_of =
            |o: OsdId| if o == self.whoami { Some(&self.info) } else { self.primary.peer_info.get(&o) };
        let auth_info = info_of(auth).expect("the authoritative copy was heard");
        let mut primary = auth;
        if let Some(p) = self.placement.up_primary
            && let Some(i) = info_of(p)
            && !i.is_incomplete()
            && i.last_update >= auth_info.log_tail
        {
            primary = p;
        }
        // The primary's log reaches back as far as its own, or as the one it merges.
        let primary_tail = info_of(primary).expect("heard").log_tail;
        let oldest = primary_tail.min(auth_info.log_tail);
        let usable = |o: OsdId| info_of(o).is_some_and(|i| !i.is_incomplete() && i.last_update >= oldest);
        let mut want = vec![primary];
        let mut backfill = BTreeSet::new();
        for o in &self.placement.up {
            if *o == primary {
                continue;
            }
            if usable(*o) {
                want.push(*o);
            } else {
                backfill.insert(*o);
            }
        }
        // Members that are not up members fill in while backfill runs: first acting ones, then strays, newest first.
        let mut spare: Vec<OsdId> = self.placement.acting.clone();
        let mut strays: Vec<OsdId> =
            self.primary.peer_info.keys().copied().filter(|o| !spare.contains(o)).collect();
        strays.sort_by_key(|o| std::cmp::Reverse(info_of(*o).map(|i| i.last_update)));
        if !only_members {
            spare.extend(strays);
        }
        for o in spare {
            let dne = info_of(o).is_none_or(|i| i.dne() && o != self.whoami);
            if want.len() < self.size() && !want.contains(&o) && !backfill.contains(&o) && usable(o) && !dne {
                want.push(o);
            }
        }
        (want, backfill)
    }

    fn get_log(&mut self, ctx: &mut PgCtx<'_>) {
        let mut infos: BTreeMap<OsdId, &PgInfo> =
            self.primary.peer_info.iter().filter(|(_, i)| !i.dne()).map(|(o, i)| (*o, i)).collect();
        infos.insert(self.whoami, &self.info);
        let mut best = Self::best_info(&infos, self.whoami);
        if planted!(self.cfg, NewestLogWins) {
            best = infos.iter().max_by_key(|(_, i)| i.last_update).map(|(o, i)| (*o, *i));
        }
        let Some((auth, _)) = best else {
            self.state = PgState::Incomplete;
            return;
        };
        let (want, backfill) = self.choose_acting(auth, false);
        if want != self.placement.acting {
            self.state = PgState::WaitActingChange;
            self.primary.wanted_acting = Some(want);
            self.ask_pg_temp(ctx);
            return;
        }
        self.primary.wanted_acting = None;
        self.primary.members = want.iter().chain(&backfill).copied().filter(|o| *o != self.whoami).collect();
        self.primary.backfill_targets = backfill;
        self.primary.auth = auth;
        // Another one is only best when it has newer entries or reaches further back: both are worth having.
        if auth == self.whoami {
            self.get_missing(ctx);
            return;
        }
        self.state = PgState::GetLog;
        let q = QueryLog { since: EVersion::ZERO, history: self.info.history.clone() };
        self.send(ctx, auth, PgMsg::QueryLog(q));
    }
    pub(crate) fn ask_pg_temp(&mut self, ctx: &mut PgCtx<'_>) {
        let Some(want) = &self.primary.wanted_acting else { return };
        let osds = if *want == self.placement.up { Vec::new() } else { want.clone() };
        ctx.out.push(PgEffect::RequestPgTemp { pgid: self.pgid.pg, osds });
    }

    /// A copy's log came: the authoritative one, a member's, or a stray's that may have what all others lack.
    pub(crate) fn on_log(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, l: LogReply) {
        match self.state {
            PgState::GetLog if from == self.primary.auth => self.got_auth_log(ctx, from, l),
            PgState::GetMissing if self.primary.asked.remove(&from) => {
                self.proc_peer_log(from, l);
                self.got_missing(ctx);
            }
            PgState::Activating | PgState::Active if self.primary.strays.contains(&from) => {
                self.primary.asked.remove(&from);
                self.proc_peer_log(from, l);
                self.retry_unfound(ctx);
            }
            _ => {}
        }
    }

    fn got_auth_log(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, l: LogReply) {
        let (old_log, old_missing) = (self.log.clone(), self.missing.clone());
        let last_backfill = self.info.last_backfill.clone();
        let Some(m) = merge::merge_log(&mut self.log, &mut self.missing, &last_backfill, l.since, &l.entries)
        else {
            // choose_acting made sure that the logs meet; a peer that then answers otherwise is not to be trusted.
            ctx.out.push(PgEffect::ClusterLog {
                error: true,
                text: format!("pg {}: log of osd.{from} does not meet ours", self.pgid),
            });
            self.state = PgState::Incomplete;
            return;
        };
        if l.since < self.log.tail() {
            let tail = self.log.tail();
            let older: Vec<_> = l.entries.iter().filter(|e| e.version <= tail).cloned().collect();
            assert!(
                older.last().is_some_and(|e| e.version == tail),
                "histories that meet share what is below"
            );
            self.log.extend_tail(l.since, older, l.dups);
        }
        let mut txn = Transaction::new();
        for oid in &m.remove {
            self.remove_object(ctx, oid, &mut txn);
        }
        self.info.last_update = self.log.head();
        self.info.log_tail = self.log.tail();
        self.info.last_user_version = self.info.last_user_version.max(l.info.last_user_version);
        self.info.counters = l.info.counters.clone();
        self.info.history.merge(&l.info.history);
        self.info.purged_snaps.extend(l.info.purged_snaps.iter().copied());
        if self.info.scrub_stamps.is_empty() {
            self.info.scrub_stamps = l.info.scrub_stamps.clone();
        }
        self.info.last_complete = self.info.last_complete.min(m.common);
        self.complete_to();
        let mut meta = MetaDelta::default();
        meta.log_diff(&old_log, &self.log);
        meta.missing_diff(&old_missing, &self.missing);
        self.queue(ctx, txn, meta, Vec::new());
        // The authoritative copy's own state: its log is ours now.
        self.primary.peer_missing.insert(from, l.missing);
        self.primary.peer_info.insert(from, l.info);
        self.get_missing(ctx);
    }

    fn get_missing(&mut self, ctx: &mut PgCtx<'_>) {
        self.state = PgState::GetMissing;
        self.primary.asked.clear();
        for osd in self.primary.members.clone() {
            let Some(i) = self.primary.peer_info.get(&osd) else { continue };
            let known = self.primary.peer_missing.contains_key(&osd);
            let from_scratch = i.dne()
                || i.is_empty()
                || i.last_update < self.log.tail()
                || (self.primary.backfill_targets.contains(&osd) && i.last_backfill.is_min());
            let current = i.last_update == self.info.last_update && !i.has_missing();
            if known {
                continue;
            }
            if from_scratch || current {
                self.primary.peer_missing.insert(osd, Missing::default());
                continue;
            }
            self.primary.asked.insert(osd);
            let q = QueryLog { since: EVersion::ZERO, history: self.info.history.clone() };
            self.send(ctx, osd, PgMsg::QueryLog(q));
        }
        self.got_missing(ctx);
    }

    /// Works out what a peer lacks against our (authoritative) log.
    fn proc_peer_log(&mut self, from: OsdId, l: LogReply) {
        let mut missing = l.missing;
        let mut info = l.info;
        match merge::proc_replica_log(&self.log, l.since, &l.entries, &info.last_backfill, &mut missing) {
            Some(common) => {
                info.last_update = info.last_update.min(common);
                if self.primary.strays.contains(&from) && !self.primary.members.contains(&from) {
                    // It is not activated: what it lacks includes what our log has beyond the common point.
                    merge::add_new(self.log.entries_after(common), &info.last_backfill, &mut missing);
                }
                self.primary.peer_missing.insert(from, missing);
            }
            None => {
                info.last_update = EVersion::ZERO;
                info.last_backfill = HObject::MIN;
                if self.primary.members.contains(&from) {
                    self.primary.peer_missing.insert(from, Missing::default());
                }
            }
        }
        self.primary.peer_info.insert(from, info);
    }

    fn got_missing(&mut self, ctx: &mut PgCtx<'_>) {
        if !self.primary.asked.is_empty() {
            return;
        }
        let tail = self.log.tail();
        let cut_off = self.primary.members.iter().any(|o| {
            !self.primary.backfill_targets.contains(o)
                && self.primary.peer_info.get(o).is_none_or(|i| i.last_update < tail || i.is_incomplete())
        });
        if cut_off {
            // A member's history turned out not to meet ours: it can only be backfilled, so it may not act.
            self.get_log(ctx);
        } else {
            self.check_up_thru(ctx);
        }
    }
    fn check_up_thru(&mut self, ctx: &mut PgCtx<'_>) {
        if self.map.up_thru(self.whoami) < self.interval() && !planted!(self.cfg, SkipUpThru) {
            self.state = PgState::WaitUpThru;
            ctx.out.push(PgEffect::RequestUpThru(self.interval()));
        } else {
            self.activate(ctx);
        }
    }

    /// The map moved without a new interval.
    pub(crate) fn map_changed(&mut self, ctx: &mut PgCtx<'_>) {
        if !self.is_primary() {
            return;
        }
        match self.state {
            PgState::GetInfo
            | PgState::GetLog
            | PgState::GetMissing
            | PgState::Down
            | PgState::Incomplete => {
                let prior = self.build_prior();
                if prior != self.primary.prior {
                    self.begin_get_info(ctx);
                }
            }
            PgState::WaitUpThru => self.check_up_thru(ctx),
            PgState::Activating | PgState::Active => {
                self.forget_the_dead();
                self.check_sources(ctx);
                self.resume(ctx);
            }
            _ => {}
        }
        self.queue_snap_trims();
    }

    fn activate(&mut self, ctx: &mut PgCtx<'_>) {
        assert!(!self.info.is_incomplete(), "an incomplete primary");
        self.state = PgState::Activating;
        self.info.last_epoch_started = self.map.epoch();
        self.info.last_interval_started = self.interval();
        self.primary.activation_epoch = self.map.epoch();
        self.primary.committed_to = self.info.last_update;
        self.primary.waiting_activation = self.primary.members.clone();
        self.primary.waiting_activation.insert(self.whoami);
        self.primary.recovery_bytes_left = self.cfg.recovery_bytes_per_tick;
        let rests = self.find_old_primaries(ctx);
        self.activation_sent(ctx);
        for osd in self.primary.members.clone() {
            self.activate_member(ctx, osd, rests.clone());
            if self.primary.backfill_targets.contains(&osd) {
                let mut from = self.primary.peer_info[&osd].last_backfill.clone();
                if planted!(self.cfg, ForgetBackfillStart) {
                    from = HObject::MAX;
                }
                self.primary.backfills.insert(osd, crate::backfill::Target::new(from));
            }
        }
        self.queue(ctx, Transaction::new(), MetaDelta::default(), vec![OnCommit::Activated]);
    }

    fn activate_member(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId, rests: Rests) {
        let Some(pi) = self.primary.peer_info.get(&osd).cloned() else {
            panic!("osd.{osd} is a member of pg {} and was never heard", self.pgid)
        };
        let target = self.primary.backfill_targets.contains(&osd);
        let reset = pi.last_update < self.log.tail() || (target && pi.last_backfill.is_min());
        assert!(!reset || target, "a member whose log does not reach ours");
        let since = if reset { self.log.tail() } else { pi.last_update };
        let last_backfill = if reset { HObject::MIN } else { pi.last_backfill.clone() };
        let pm = self.primary.peer_missing.entry(osd).or_default();
        if reset {
            pm.clear();
        } else {
            merge::add_new(self.log.entries_after(since), &last_backfill, pm);
        }
        let a = Activate {
            info: self.info.clone(),
            since,
            entries: self.log.entries_after(since).cloned().collect(),
            dups: if since <= self.log.tail() { self.log.dups().cloned().collect() } else { Vec::new() },
            past_intervals: self.past.clone(),
            reset,
            last_backfill: last_backfill.clone(),
            rests,
        };
        let pi = self.primary.peer_info.get_mut(&osd).expect("just seen");
        pi.last_update = self.info.last_update;
        pi.last_epoch_started = self.info.last_epoch_started;
        pi.last_backfill = last_backfill;
        self.send(ctx, osd, PgMsg::Activate(a));
    }

    pub(crate) fn on_activate_ack(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, a: ActivateAck) {
        if a.activated == self.primary.activation_epoch {
            self.activation_acked(ctx, from, a.lease_ms);
            self.activated(ctx, from);
        }
    }
    pub(crate) fn activated(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId) {
        if self.state != PgState::Activating || !self.primary.waiting_activation.remove(&osd) {
            return;
        }
        if !self.primary.waiting_activation.is_empty() {
            return;
        }
        // All members have it durably: from now on this interval is the one whose log counts.
        self.state = PgState::Active;
        let first = self.info.history.last_epoch_started == Epoch(0);
        self.info.history.last_epoch_started = self.info.last_epoch_started;
        self.info.history.last_interval_started = self.interval();
        self.queue(ctx, Transaction::new(), MetaDelta::default(), Vec::new());
        self.share_history(ctx, false);
        self.stamps.last_became_active = ctx.now;
        if first {
            ctx.out.push(PgEffect::Created(self.pgid.pg));
        }
        if self.serves() {
            self.set_engine_active(ctx, true);
        }
        self.queue_snap_trims();
        self.look_for_unfound(ctx);
        self.kick_recovery(ctx);
        self.resume(ctx);
    }
    pub(crate) fn share_history(&mut self, ctx: &mut PgCtx<'_>, clean: bool) {
        let s =
            Share { history: self.info.history.clone(), clean, purged_snaps: self.info.purged_snaps.clone() };
        for osd in self.primary.members.clone() {
            self.send(ctx, osd, PgMsg::Share(s.clone()));
        }
    }
    /// True when clients are served.
    pub(crate) fn serves(&self) -> bool {
        self.state == PgState::Active
            && self.is_primary()
            && (self.placement.acting.len() >= self.min_size() || planted!(self.cfg, IgnoreMinSize))
    }

    /// Everything is where it should be: old intervals and strays matter no more (`try_mark_clean`).
    pub(crate) fn check_clean(&mut self, ctx: &mut PgCtx<'_>) {
        if self.state != PgState::Active || self.primary.clean || self.any_missing() {
            return;
        }
        if !self.primary.backfill_targets.is_empty() {
            return;
        }
        if self.primary.wanted_acting.is_some() {
            return;
        }
        let (want, _) = self.choose_acting(self.whoami, true);
        if want != self.placement.acting {
            // Backfill is done: let the up members act.
            self.primary.wanted_acting = Some(want);
            self.ask_pg_temp(ctx);
            return;
        }
        // Past intervals are needed while a primary of one of them may serve.
        if self.placement.acting.len() < self.size() || self.waits_for_old(ctx) {
            return;
        }
        self.primary.clean = true;
        self.info.history.last_epoch_clean = self.map.epoch();
        self.info.history.last_interval_clean = self.interval();
        self.past.clear();
        self.past_dirty = true;
        self.stamps.last_clean = ctx.now;
        self.queue(ctx, Transaction::new(), MetaDelta::default(), vec![OnCommit::CleanRecorded]);
        self.share_history(ctx, true);
    }
    /// Clean: copies elsewhere may go.
    pub(crate) fn purge_strays(&mut self, ctx: &mut PgCtx<'_>) {
        if !self.primary.clean_recorded {
            return;
        }
        for osd in std::mem::take(&mut self.primary.strays) {
            self.primary.peer_info.remove(&osd);
            self.primary.peer_missing.remove(&osd);
            self.send(ctx, osd, PgMsg::Remove(Remove { history: self.info.history.clone() }));
        }
    }
    pub(crate) fn remove_object(&self, ctx: &PgCtx<'_>, oid: &HObject, txn: &mut Transaction) {
        self.engine.recovered(&*ctx.store, self.coll, oid, &[], txn);
        txn.push(TxnOp::Remove { coll: self.coll, oid: oid.clone() });
    }
    /// Moves `last_complete` up when nothing is missing.
    pub(crate) fn complete_to(&mut self) {
        if self.missing.is_empty() {
            self.info.last_complete = self.info.last_update;
        } else if self.info.last_complete == self.info.last_update {
            // Something went missing at the newest version: never look complete.
            self.info.last_complete = EVersion::ZERO;
        }
    }
}
