//! A copy that does not lead: answers its primary's questions, activates, applies replicated changes.

use crate::api::{PgCtx, PgEffect};
use crate::info::PgInfo;
use crate::log::PgLog;
use crate::merge;
use crate::missing::Missing;
use crate::msg::*;
use crate::persist::{MetaDelta, is_user_object};
use crate::pg::{OnCommit, Pg, PgState};
use objstore::{Transaction, TxnOp};
use types::{EVersion, HObject, OsdId};

impl Pg {
    pub(crate) fn on_query_info(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, q: QueryInfo) {
        self.info.history.merge(&q.history);
        let notify = self.notify();
        self.after_commit(ctx, OnCommit::Send(from, notify));
    }

    pub(crate) fn on_query_log(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, q: QueryLog) {
        self.info.history.merge(&q.history);
        let since = if self.log.knows(q.since) { q.since } else { self.log.tail() };
        let reply = LogReply {
            info: self.info.clone(),
            since,
            entries: self.log.entries_after(since).cloned().collect(),
            dups: self.log.dups().cloned().collect(),
            missing: self.missing.clone(),
        };
        self.after_commit(ctx, OnCommit::Send(from, PgMsg::Log(reply)));
    }

    pub(crate) fn on_activate(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, a: Activate) {
        self.learn_old_primaries(ctx, &a.rests);
        let (old_log, old_missing) = (self.log.clone(), self.missing.clone());
        let mut txn = Transaction::new();
        let mut met = false;
        if !a.reset {
            let last_backfill = a.last_backfill.clone();
            if let Some(m) =
                merge::merge_log(&mut self.log, &mut self.missing, &last_backfill, a.since, &a.entries)
            {
                met = true;
                for oid in &m.remove {
                    self.remove_object(ctx, oid, &mut txn);
                }
                self.info.last_backfill = last_backfill;
                self.info.last_complete = self.info.last_complete.min(m.common);
            } else {
                // The primary worked from what we told it in this interval, so this cannot be. Saying nothing keeps the PG
                // from serving, which is safe, and visible.
                ctx.out.push(PgEffect::ClusterLog {
                    error: true,
                    text: format!("pg {}: activation by osd.{from} does not meet our log", self.pgid),
                });
                return;
            }
        }
        if !met {
            // Whatever objects are here are compared, replaced or removed as backfill comes by.
            self.log = PgLog::from_parts(a.since, a.entries, a.dups);
            self.missing = Missing::default();
            self.info.last_backfill = HObject::MIN;
        }
        let history_first = self.info.history.same_interval_since;
        self.info = PgInfo {
            pgid: self.pgid,
            last_update: self.log.head(),
            last_complete: self.info.last_complete,
            log_tail: self.log.tail(),
            last_user_version: a.info.last_user_version,
            last_epoch_started: a.info.last_epoch_started,
            last_interval_started: a.info.last_interval_started,
            last_backfill: self.info.last_backfill.clone(),
            counters: a.info.counters.clone(),
            history: self.info.history.clone(),
            purged_snaps: a.info.purged_snaps.clone(),
            scrub_stamps: a.info.scrub_stamps.clone(),
        };
        self.info.history.merge(&a.info.history);
        self.info.history.same_interval_since = history_first;
        assert_eq!(self.info.last_update, a.info.last_update, "activated to the primary's head");
        self.complete_to();
        if self.past.is_empty() && !a.past_intervals.is_empty() {
            self.past = a.past_intervals;
            self.past_dirty = true;
        }
        let mut meta = MetaDelta::default();
        meta.log_diff(&old_log, &self.log);
        meta.missing_diff(&old_missing, &self.missing);
        self.state = PgState::ReplicaActive;
        let activated = a.info.last_epoch_started;
        let ack = ActivateAck { activated, info: self.info.clone(), ..ActivateAck::default() };
        self.queue(ctx, txn, meta, vec![OnCommit::Send(from, PgMsg::ActivateAck(ack))]);
    }

    pub(crate) fn on_share(&mut self, ctx: &mut PgCtx<'_>, s: Share) {
        if self.state != PgState::ReplicaActive {
            return;
        }
        self.info.history.merge(&s.history);
        self.info.purged_snaps = s.purged_snaps;
        if s.clean {
            self.past.clear();
            self.past_dirty = true;
        }
        self.queue(ctx, Transaction::new(), MetaDelta::default(), Vec::new());
    }

    pub(crate) fn on_rep_op(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, r: RepOp) {
        if self.state != PgState::ReplicaActive {
            return;
        }
        let mut meta = MetaDelta::default();
        for e in &r.entries {
            if e.version <= self.log.head() {
                ctx.out.push(PgEffect::StoreFailed(format!(
                    "pg {}: osd.{from} replicates {} behind our head {}",
                    self.pgid,
                    e.version,
                    self.log.head()
                )));
                return;
            }
            assert!(
                r.txn.is_empty() || !self.missing.contains(&e.oid),
                "a replicated change of missing {}",
                e.oid
            );
            self.log.push(e.clone());
        }
        meta.add_entries(&r.entries);
        self.info.last_update = self.log.head();
        self.info.last_user_version = r.last_user_version;
        self.info.counters = r.counters;
        self.complete_to();
        self.trim_log(r.trim_to, &mut meta);
        let ack = RepOpAck { seq: r.seq, last_complete: self.info.last_complete };
        self.queue(ctx, r.txn, meta, vec![OnCommit::Send(from, PgMsg::RepOpAck(ack))]);
    }

    /// Drops log entries up to `to`.
    pub(crate) fn trim_log(&mut self, to: EVersion, meta: &mut MetaDelta) {
        if to <= self.log.tail() {
            return;
        }
        let (gone, gone_dups) = self.log.trim(to.min(self.info.last_update), self.cfg.dups_tracked);
        meta.trimmed(&gone, &gone_dups);
        self.info.log_tail = self.log.tail();
    }

    pub(crate) fn on_remove(&mut self, ctx: &mut PgCtx<'_>, r: Remove) {
        let member = self.placement.up.contains(&self.whoami) || self.placement.acting.contains(&self.whoami);
        // Only when the primary was clean in the very interval in which we are a stray.
        if self.state == PgState::Stray && !member && r.history.last_epoch_clean >= self.interval() {
            self.remove_copy(ctx);
        }
    }

    // ---- backfill target ----------------------------------------------------------------------------------------

    pub(crate) fn on_scan(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, s: Scan) {
        if self.state != PgState::ReplicaActive {
            return;
        }
        let (objects, end) = self.list_families(ctx, &s.after, s.max as usize);
        let objects = objects
            .into_iter()
            .map(|o| {
                let v = self.engine.object_version(&*ctx.store, self.coll, &o).unwrap_or_default();
                (o, v)
            })
            .collect();
        self.send(ctx, from, PgMsg::ScanReply(ScanReply { after: s.after, end, objects }));
    }

    /// Objects of up to `max` families of head and clones behind the head `after`, and up to which head the list is
    /// complete.
    pub(crate) fn list_families(
        &self,
        ctx: &PgCtx<'_>,
        after: &HObject,
        max: usize,
    ) -> (Vec<HObject>, HObject) {
        let mut out: Vec<HObject> = Vec::new();
        let mut heads = 0;
        let mut last: Option<HObject> = None;
        loop {
            let Ok(page) = ctx.store.list(self.coll, last.as_ref().unwrap_or(after), 128) else {
                return (out, HObject::MAX);
            };
            let full = page.len() == 128;
            for o in page {
                if last.as_ref() == Some(&o) {
                    continue; // pages begin with where the one before ended
                }
                last = Some(o.clone());
                if !is_user_object(self.pgid, &o) || o.head() <= *after {
                    continue;
                }
                if out.last().map(HObject::head) != Some(o.head()) {
                    if heads == max {
                        let end = out.last().map_or_else(|| after.clone(), HObject::head);
                        return (out, end);
                    }
                    heads += 1;
                }
                out.push(o);
            }
            if !full {
                return (out, HObject::MAX);
            }
        }
    }

    pub(crate) fn on_backfill_progress(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, p: BackfillProgress) {
        if self.state != PgState::ReplicaActive {
            return;
        }
        let mut txn = Transaction::new();
        for oid in &p.remove {
            self.remove_object(ctx, oid, &mut txn);
        }
        if p.last_backfill > self.info.last_backfill {
            self.info.last_backfill = p.last_backfill;
        }
        self.info.counters = p.counters;
        self.complete_to();
        let ack = RepOpAck { seq: p.seq, last_complete: self.info.last_complete };
        self.queue(ctx, txn, MetaDelta::default(), vec![OnCommit::Send(from, PgMsg::RepOpAck(ack))]);
    }

    // ---- pieces of objects --------------------------------------------------------------------------------------

    /// A pulled (primary) or pushed (member) object is whole: what to change besides its bytes.
    pub(crate) fn recovered_locally(&mut self, oid: &HObject, version: EVersion, meta: &mut MetaDelta) {
        if self.missing.get(oid).is_some_and(|i| i.need == version) {
            self.missing.remove(oid);
            meta.missing_gone(oid);
            self.complete_to();
        }
    }
    /// Puts a whole object in place of what is there.
    pub(crate) fn replace_object(&self, ctx: &PgCtx<'_>, p: &Push, txn: &mut Transaction) {
        self.engine.recovered(&*ctx.store, self.coll, &p.oid, &p.snaps, txn);
        txn.push(TxnOp::Remove { coll: self.coll, oid: p.oid.clone() });
    }
}
