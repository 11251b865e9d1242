//! What a PG tells of itself: state bits, [`PgStatus`], the answer to `ceph pg X query`, and its invariants.

use crate::api::{PgCtx, PgEffect};
use crate::info::PgInfo;
use crate::pg::{Pg, PgState};
use crate::status::{PgStatus, state};
use objstore::CommitToken;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use types::{Epoch, OsdId};

impl Pg {
    /// Map epoch that the store has: older maps are not needed for this PG.
    pub fn persisted_epoch(&self) -> Epoch {
        self.persisted_epoch
    }
    /// True while a transaction up to `token` is not durable.
    pub fn has_pending(&self, token: CommitToken) -> bool {
        self.pending.front().is_some_and(|p| p.token <= token)
    }
    /// The [`state`] bits, as of now. Only a primary's are of interest.
    pub fn state_bits(&self) -> u64 {
        let mut s = 0;
        let never_active = self.info.history.last_epoch_started == Epoch(0);
        match self.state {
            PgState::Active => {
                s |= if self.serves() { state::ACTIVE } else { state::PEERED };
                if self.primary.serving.waiting {
                    s |= state::WAIT;
                } else if self.primary.serving.laggy {
                    s |= state::LAGGY;
                }
                if self.primary.clean && !self.any_missing() {
                    s |= state::CLEAN;
                }
                let missing = self.any_missing();
                if missing {
                    s |= state::DEGRADED;
                    s |= if self.primary.recovering.is_empty() {
                        state::RECOVERY_WAIT
                    } else {
                        state::RECOVERING
                    };
                } else if !self.primary.backfill_targets.is_empty() {
                    s |= state::BACKFILLING;
                }
                if !self.primary.unfound.is_empty() {
                    s |= state::RECOVERY_UNFOUND;
                }
                if self.primary.snap_trimming {
                    s |= state::SNAPTRIM;
                } else if !self.primary.snap_trimq.is_empty() {
                    s |= state::SNAPTRIM_WAIT;
                }
            }
            PgState::Activating => s |= state::ACTIVATING,
            PgState::Down => s |= state::DOWN,
            PgState::Incomplete => s |= state::INCOMPLETE,
            PgState::Gone | PgState::ReplicaActive | PgState::Stray => {}
            _ => s |= state::PEERING,
        }
        if self.is_primary() {
            if never_active {
                s |= state::CREATING;
            }
            let whole = |o: &OsdId| *o == self.whoami || !self.primary.backfill_targets.contains(o);
            if self.placement.acting.iter().filter(|o| whole(o)).count() < self.size() {
                s |= state::UNDERSIZED;
                if self.info.counters.num_objects > 0 {
                    s |= state::DEGRADED;
                }
            }
            if self.placement.acting != self.placement.up {
                s |= state::REMAPPED;
            }
            if self.inconsistent && self.any_missing() {
                s |= state::INCONSISTENT;
            }
        }
        s
    }
    /// The primary's report.
    pub fn status(&self) -> PgStatus {
        let objects = self.info.counters.num_objects.max(0) as u64;
        let member_missing: u64 = self
            .primary
            .members
            .iter()
            .filter_map(|o| self.primary.peer_missing.get(o))
            .map(|m| m.len() as u64)
            .sum();
        let missing = self.missing.len() as u64 + member_missing;
        let absent = (self.size().saturating_sub(self.placement.acting.len())) as u64 * objects;
        PgStatus {
            pgid: self.pgid,
            state: self.state_bits(),
            version: self.info.last_update,
            reported_seq: self.reported_seq,
            reported_epoch: self.map.epoch(),
            up: self.placement.up.clone(),
            acting: self.placement.acting.clone(),
            up_primary: self.placement.up_primary,
            acting_primary: self.placement.acting_primary,
            counters: self.info.counters.clone(),
            objects_degraded: if self.is_primary() { missing + absent } else { 0 },
            objects_misplaced: self.primary.backfill_targets.len() as u64 * objects,
            objects_unfound: self.primary.unfound.len() as u64,
            objects_missing: missing,
            log_size: self.log.len() as u64,
            log_start: self.log.tail(),
            blocked_by: self.blocked_by().into_iter().collect(),
            created: self.info.history.epoch_created,
            last_epoch_clean: self.info.history.last_epoch_clean,
            mapping_epoch: self.info.history.same_interval_since,
            purged_snaps: self.info.purged_snaps.clone(),
            snaptrimq_len: self.primary.snap_trimq.len() as u64,
            backfill_targets: self.primary.backfill_targets.iter().copied().collect(),
            stamps: self.stamps,
            scrub_stamps: self.info.scrub_stamps.clone(),
        }
    }
    fn blocked_by(&self) -> BTreeSet<OsdId> {
        match self.state {
            PgState::Down => self.primary.prior.blocked_by.clone(),
            PgState::GetInfo => self
                .primary
                .prior
                .probe
                .iter()
                .filter(|o| !self.primary.peer_info.contains_key(o))
                .copied()
                .collect(),
            PgState::GetLog => [self.primary.auth].into(),
            PgState::GetMissing => self.primary.asked.clone(),
            PgState::Activating => self.primary.waiting_activation.clone(),
            _ => BTreeSet::new(),
        }
    }
    /// After each event: counts reports and stamps, and says when the state changed.
    pub(crate) fn publish(&mut self, ctx: &mut PgCtx<'_>) {
        if !self.is_primary() {
            self.last_state_bits = 0;
            return;
        }
        let bits = self.state_bits();
        if bits == self.last_state_bits {
            return;
        }
        let now = ctx.now;
        let st = &mut self.stamps;
        (st.last_change, st.last_fresh, st.last_unstale) = (now, now, now);
        if (bits | self.last_state_bits) & state::ACTIVE != 0 {
            st.last_active = now;
        }
        if (bits | self.last_state_bits) & (state::ACTIVE | state::PEERED) != 0 {
            st.last_peered = now;
        }
        if (bits | self.last_state_bits) & state::CLEAN != 0 {
            st.last_clean = now;
        }
        if bits & state::DEGRADED == 0 {
            st.last_undegraded = now;
        }
        if bits & state::UNDERSIZED == 0 {
            st.last_fullsized = now;
        }
        self.last_state_bits = bits;
        self.reported_seq += 1;
        ctx.out.push(PgEffect::StatsDirty);
    }

    /// The answer to `ceph pg <id> query`: the keys that people and scripts read.
    pub fn query_json(&self) -> Value {
        let osds = |v: &[OsdId]| v.iter().map(|o| o.0).collect::<Vec<_>>();
        let s = self.status();
        let peers: Vec<Value> = self
            .primary
            .peer_info
            .iter()
            .map(|(o, i)| {
                let mut v = info_json(i);
                v["peer"] = json!(o.0.to_string());
                v["missing"] = json!(self.primary.peer_missing.get(o).map_or(0, |m| m.len()));
                v
            })
            .collect();
        json!({
            "snap_trimq": format!("{:?}", self.primary.snap_trimq),
            "snap_trimq_len": s.snaptrimq_len,
            "state": state::text(s.state),
            "epoch": self.map.epoch().0,
            "up": osds(&s.up),
            "acting": osds(&s.acting),
            "backfill_targets": s.backfill_targets.iter().map(|o| o.0.to_string()).collect::<Vec<_>>(),
            "acting_recovery_backfill": s.acting.iter().chain(&s.backfill_targets).map(|o| o.0.to_string()).collect::<Vec<_>>(),
            "info": info_json(&self.info),
            "peer_info": peers,
            "recovery_state": [{
                "name": format!("Started/{:?}", self.state),
                "past_intervals": self.past.iter().map(|i| json!({
                    "first": i.first.0, "last": i.last.0, "maybe_went_rw": i.maybe_went_rw,
                    "acting": osds(&i.acting), "up": osds(&i.up),
                })).collect::<Vec<_>>(),
                "probing_osds": self.primary.prior.probe.iter().map(|o| o.0.to_string()).collect::<Vec<_>>(),
                "down_osds_we_would_probe": self.primary.prior.down.iter().map(|o| o.0).collect::<Vec<_>>(),
                "blocked_by": s.blocked_by.iter().map(|o| o.0).collect::<Vec<_>>(),
                "unfound": s.objects_unfound,
                "missing": self.missing.len(),
                "recovering": self.primary.recovering.len(),
            }],
            "agent_state": {},
        })
    }

    /// Checks what must always hold; tests call it after every step.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        if self.state == PgState::Gone {
            return;
        }
        self.log.check_invariants();
        assert_eq!(self.log.head(), self.info.last_update, "pg {}: log head", self.pgid);
        assert_eq!(self.log.tail(), self.info.log_tail, "pg {}: log tail", self.pgid);
        if self.missing.is_empty() {
            assert_eq!(self.info.last_complete, self.info.last_update, "pg {}: complete", self.pgid);
        } else {
            assert_ne!(self.info.last_complete, self.info.last_update, "pg {}: not complete", self.pgid);
        }
        let p = &self.primary;
        let mut last = 0;
        for f in &p.in_flight {
            assert!(f.seq > last, "pg {}: changes out of order", self.pgid);
            last = f.seq;
            assert!(f.version > p.committed_to);
        }
        if self.state == PgState::Active {
            assert!(self.is_primary() || self.reset_due);
            assert!(!self.info.is_incomplete());
            for (osd, t) in &p.backfills {
                assert!(p.members.contains(osd));
                assert!(t.started.max || t.started.is_min() || t.started.is_head());
            }
            for f in &p.in_flight {
                for h in &f.heads {
                    assert!(
                        self.inconsistent // a repair may begin behind changes on their way
                            || p.recovering.keys().all(|o| o.head() != *h)
                            || self.missing.contains_family(h),
                        "pg {}: {h} changes while it is being recovered",
                        self.pgid
                    );
                }
            }
        }
    }
}

fn info_json(i: &PgInfo) -> Value {
    json!({
        "pgid": i.pgid.to_string(),
        "last_update": i.last_update.to_string(),
        "last_complete": i.last_complete.to_string(),
        "log_tail": i.log_tail.to_string(),
        "last_user_version": i.last_user_version,
        "last_backfill": i.last_backfill.to_string(),
        "purged_snaps": i.purged_snaps.iter().map(|s| s.0).collect::<Vec<_>>(),
        "history": {
            "epoch_created": i.history.epoch_created.0,
            "last_epoch_started": i.history.last_epoch_started.0,
            "last_interval_started": i.history.last_interval_started.0,
            "last_epoch_clean": i.history.last_epoch_clean.0,
            "last_interval_clean": i.history.last_interval_clean.0,
            "same_up_since": i.history.same_up_since.0,
            "same_interval_since": i.history.same_interval_since.0,
            "same_primary_since": i.history.same_primary_since.0,
        },
        "stats": {
            "num_objects": i.counters.num_objects,
            "num_bytes": i.counters.num_bytes,
            "num_object_clones": i.counters.num_clones,
        },
        "empty": i32::from(i.is_empty()),
        "dne": i32::from(i.dne()),
        "incomplete": i32::from(i.is_incomplete()),
        "last_epoch_started": i.last_epoch_started.0,
    })
}
