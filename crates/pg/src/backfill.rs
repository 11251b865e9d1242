//! Backfill, primary side: a target whose log does not reach ours gets every object, in object order.
//!
//! Per target: families (head and clones) up to `started` get every change; one that is being copied may not be
//! changed; those behind get log entries only and are compared when their turn comes. `last_backfill` at the target
//! follows durably, so an interrupted backfill goes on where it was.

use crate::api::{PgCtx, PgEffect};
use crate::msg::{BackfillProgress, PgMsg, PushAck, Scan, ScanReply};
use crate::pg::{Pg, PgState};
use crate::recovery::Sent;
use objstore::StoreError;
use std::collections::{BTreeMap, VecDeque};
use types::{EVersion, HObject, OsdId};

/// One family on its way.
struct Copying {
    head: HObject,
    /// Objects to send, with their versions and how far each was sent.
    todo: BTreeMap<HObject, (EVersion, Sent)>,
    /// Objects to remove at the target, once the family is sent.
    remove: Vec<HObject>,
}

/// The state of one target.
pub(crate) struct Target {
    /// Families up to this head are (being) copied.
    pub started: HObject,
    copying: VecDeque<Copying>,
    /// What the target has behind `started`, complete up to `scanned`.
    remote: VecDeque<(HObject, EVersion)>,
    scanned: HObject,
    scanning: bool,
    /// Number of the final progress message.
    finish: Option<u64>,
}
impl Target {
    pub fn new(last_backfill: HObject) -> Target {
        Target {
            started: last_backfill.clone(),
            copying: VecDeque::new(),
            remote: VecDeque::new(),
            scanned: last_backfill,
            scanning: false,
            finish: None,
        }
    }
    pub fn is_copying(&self, head: &HObject) -> bool {
        self.copying.iter().any(|c| c.head == *head)
    }
}

impl Pg {
    /// Moves every target on as far as limits allow.
    pub(crate) fn backfill_step(&mut self, ctx: &mut PgCtx<'_>) {
        if self.map.no_backfill() {
            return;
        }
        for osd in self.primary.backfill_targets.clone() {
            self.backfill_target(ctx, osd);
        }
    }

    fn target(&mut self, osd: OsdId) -> &mut Target {
        self.primary.backfills.get_mut(&osd).expect("targets have a state")
    }

    fn backfill_target(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId) {
        // A piece that could not be read has been repaired by now.
        let stuck: Vec<(HObject, HObject)> = self
            .target(osd)
            .copying
            .iter()
            .flat_map(|c| {
                c.todo.iter().filter(|(_, (_, s))| !s.started).map(|(o, _)| (c.head.clone(), o.clone()))
            })
            .collect();
        for (head, oid) in stuck {
            self.backfill_piece(ctx, osd, &head, &oid);
        }
        loop {
            let max = self.cfg.recovery_max_active;
            let budget = self.primary.recovery_bytes_left;
            let t = self.target(osd);
            if t.finish.is_some() || t.copying.len() >= max || budget == 0 {
                return;
            }
            let started = t.started.clone();
            if t.remote.is_empty() && !t.scanned.max {
                if !t.scanning {
                    t.scanning = true;
                    let after = t.scanned.clone();
                    let max = self.cfg.backfill_scan_max;
                    self.send(ctx, osd, PgMsg::Scan(Scan { after, max }));
                }
                return;
            }
            let (local, _) = self.list_families(ctx, &started, 1);
            let t = self.target(osd);
            let next_local = local.first().map(|o| o.head());
            let next_remote = t.remote.front().map(|(o, _)| o.head());
            let head = match (next_local, next_remote) {
                (Some(a), Some(b)) => a.min(b),
                (Some(a), None) | (None, Some(a)) => a,
                (None, None) => HObject::MAX,
            };
            if head > t.scanned {
                // Behind what the target has told us of; its remaining list is used up.
                assert!(t.remote.is_empty());
                continue;
            }
            if head.max {
                if t.copying.is_empty() {
                    t.started = HObject::MAX;
                    let seq = self.send_progress(ctx, osd, HObject::MAX, Vec::new());
                    self.target(osd).finish = Some(seq);
                }
                return;
            }
            if self.primary.last_change.contains_key(&head) {
                return; // a change of it is on its way; when it is durable, this goes on
            }
            self.copy_family(ctx, osd, head, local);
        }
    }

    fn copy_family(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId, head: HObject, local: Vec<HObject>) {
        let t = self.target(osd);
        let mut there: BTreeMap<HObject, EVersion> = BTreeMap::new();
        while t.remote.front().is_some_and(|(o, _)| o.head() == head) {
            let (o, v) = t.remote.pop_front().expect("just seen");
            there.insert(o, v);
        }
        let mut todo = BTreeMap::new();
        for oid in local.into_iter().filter(|o| o.head() == head) {
            let version = self.engine.object_version(&*ctx.store, self.coll, &oid);
            let theirs = there.remove(&oid);
            match version {
                Some(v) if theirs == Some(v) => {}
                Some(v) => {
                    todo.insert(oid, (v, Sent::default()));
                }
                None => {
                    ctx.out.push(PgEffect::ClusterLog {
                        error: true,
                        text: format!("pg {}: {oid} has no readable version", self.pgid),
                    });
                    self.mark_corrupt(ctx, &oid);
                    return; // its turn comes again when it is repaired
                }
            }
        }
        let remove: Vec<HObject> = there.into_keys().collect();
        let oids: Vec<HObject> = todo.keys().cloned().collect();
        let t = self.target(osd);
        t.started = head.clone();
        t.copying.push_back(Copying { head: head.clone(), todo, remove });
        for oid in oids {
            self.backfill_piece(ctx, osd, &head, &oid);
        }
        self.backfill_advance(ctx, osd);
    }

    /// Sends the next piece of one object of a family.
    fn backfill_piece(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId, head: &HObject, oid: &HObject) {
        let t = self.target(osd);
        let Some((version, mut s)) =
            t.copying.iter().find(|c| c.head == *head).and_then(|c| c.todo.get(oid).cloned())
        else {
            return;
        };
        match self.make_piece(ctx, oid, version, &mut s, self.cfg.recovery_chunk_bytes) {
            Ok(mut p) => {
                p.backfill = true;
                self.charge(p.cost_bytes());
                let c = self.target(osd).copying.iter_mut().find(|c| c.head == *head).expect("still there");
                c.todo.insert(oid.clone(), (version, s));
                self.send(ctx, osd, PgMsg::Push(p));
            }
            Err(StoreError::Corrupt { .. }) => {
                let c = self.target(osd).copying.iter_mut().find(|c| c.head == *head).expect("still there");
                c.todo.insert(oid.clone(), (version, Sent::default()));
                self.mark_corrupt(ctx, oid);
            }
            Err(e) => {
                ctx.out.push(PgEffect::StoreFailed(format!("pg {}: backfilling {oid}: {e}", self.pgid)))
            }
        }
    }

    /// True when the ack was for a backfill push.
    pub(crate) fn backfill_push_ack(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, a: &PushAck) -> bool {
        let head = a.oid.head();
        let Some(t) = self.primary.backfills.get_mut(&from) else { return false };
        let Some(c) = t.copying.iter_mut().find(|c| c.head == head) else { return false };
        if c.todo.get(&a.oid).is_none_or(|(v, _)| *v != a.version) {
            return false;
        }
        if !a.done {
            self.backfill_piece(ctx, from, &head, &a.oid);
            return true;
        }
        c.todo.remove(&a.oid);
        self.info.counters.num_objects_recovered += 1;
        self.backfill_advance(ctx, from);
        self.kick_recovery(ctx);
        true
    }

    /// Families at the front that are sent: the target's `last_backfill` moves.
    fn backfill_advance(&mut self, ctx: &mut PgCtx<'_>, osd: OsdId) {
        let t = self.target(osd);
        let (mut done, mut remove) = (Vec::new(), Vec::new());
        while t.copying.front().is_some_and(|c| c.todo.is_empty()) {
            let c = t.copying.pop_front().expect("just seen");
            done.push(c.head);
            remove.extend(c.remove);
        }
        if let Some(last) = done.last().cloned() {
            self.send_progress(ctx, osd, last, remove);
            for head in done {
                self.object_ready(ctx, &head);
            }
        }
    }
    fn send_progress(
        &mut self,
        ctx: &mut PgCtx<'_>,
        osd: OsdId,
        last_backfill: HObject,
        remove: Vec<HObject>,
    ) -> u64 {
        self.primary.next_seq += 1;
        let seq = self.primary.next_seq;
        let p = BackfillProgress { last_backfill, remove, seq, counters: self.info.counters.clone() };
        self.send(ctx, osd, PgMsg::BackfillProgress(p));
        seq
    }

    pub(crate) fn on_scan_reply(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, s: ScanReply) {
        let Some(t) = self.primary.backfills.get_mut(&from) else { return };
        if !t.scanning || t.scanned != s.after {
            return;
        }
        t.scanning = false;
        t.scanned = s.end;
        let started = t.started.clone();
        t.remote = s.objects.into_iter().filter(|(o, _)| o.head() > started).collect();
        self.kick_recovery(ctx);
    }

    /// A progress message is durable at the target.
    pub(crate) fn backfill_acked(&mut self, ctx: &mut PgCtx<'_>, from: OsdId, seq: u64) {
        if self.state != PgState::Active {
            return;
        }
        if self.primary.backfills.get(&from).is_some_and(|t| t.finish == Some(seq)) {
            self.primary.backfills.remove(&from);
            self.primary.backfill_targets.remove(&from);
            if let Some(i) = self.primary.peer_info.get_mut(&from) {
                i.last_backfill = HObject::MAX;
            }
            self.kick_recovery(ctx);
        }
    }
}
