//! When a primary may answer clients: it holds leases of all other acting members, and every primary before it has stopped.
//!
//! Invariants: a client op is executed only while [`Pg::may_answer`]; a new primary looks at every older interval that may
//! have served and whose leases may last, until the PG is clean. So no PG is called clean while it waits.

use crate::api::{PgCtx, PgEffect};
use crate::lease::{Promise, Rest, Rests, bound, millis};
use crate::msg::PgMsg;
use crate::pg::Pg;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{Epoch, HObject, OsdId};

/// A primary of an older interval that may still answer clients.
#[derive(Clone, Copy, Debug)]
struct Old {
    primary: OsdId,
    /// Last epoch of its interval.
    last: Epoch,
    until: Duration,
}

/// A primary's leases, in one interval.
#[derive(Default)]
pub(crate) struct Serving {
    /// All other members have promised until then, as we knew when we looked last.
    lease_until: Duration,
    /// What members promised when they activated.
    with_acks: BTreeMap<OsdId, Duration>,
    activate_sent: Duration,
    /// What is left of each copy's promises, as it told in this interval. Who is here has seen this interval's map.
    heard: BTreeMap<OsdId, Vec<Promise>>,
    /// Whom we wait for.
    old: Vec<Old>,
    /// Nothing is answered before then.
    wait_until: Duration,
    pub waiting: bool,
    /// An op found no lease.
    pub laggy: bool,
    /// Heads whose ops could go on but for the lease.
    ready: BTreeSet<HObject>,
}

impl Pg {
    /// True when clients may be answered now. Asks for leases when they lack.
    pub(crate) fn may_answer(&mut self, ctx: &mut PgCtx<'_>) -> bool {
        if self.reset_due || ctx.leases.is_closed() || !self.waited(ctx) {
            return false;
        }
        if ctx.mono < self.primary.serving.lease_until || ctx.leases.is_off() {
            return true;
        }
        if planted!(self.cfg, ServeWithoutLease) {
            return true;
        }
        let since = self.interval();
        let mut until = Duration::MAX;
        let mut lack = Vec::new();
        for m in self.placement.acting.iter().filter(|m| **m != self.whoami) {
            let acked = self.primary.serving.with_acks.get(m).copied();
            let lease = acked.max(ctx.leases.lease_of(*m, since)).unwrap_or_default();
            until = until.min(lease);
            if lease <= ctx.mono {
                lack.push(*m);
            }
        }
        self.primary.serving.lease_until = until;
        self.primary.serving.laggy = !lack.is_empty();
        if !lack.is_empty() {
            ctx.out.push(PgEffect::NeedLease(lack));
        }
        !self.primary.serving.laggy
    }
    /// The time of older primaries is over.
    fn waited(&mut self, ctx: &PgCtx<'_>) -> bool {
        if self.primary.serving.waiting && ctx.mono >= self.primary.serving.wait_until {
            self.primary.serving.waiting = false;
            self.primary.serving.old.clear();
        }
        !self.primary.serving.waiting
    }
    /// Clients may be answered, perhaps: what waited for that goes on.
    pub(crate) fn resume(&mut self, ctx: &mut PgCtx<'_>) {
        if !self.serves() || !self.may_answer(ctx) {
            return;
        }
        for head in std::mem::take(&mut self.primary.serving.ready) {
            self.object_ready(ctx, &head);
        }
        self.requeue_waiting(ctx);
    }
    /// The ops of `head` could run, but clients may not be answered: [`Pg::resume`] comes back to them.
    pub(crate) fn run_with_lease(&mut self, head: &HObject) {
        self.primary.serving.ready.insert(head.clone());
    }

    // ---- leases that come with activation -----------------------------------------------------------------------

    /// `Activate` leaves now: an answer counts from here.
    pub(crate) fn activation_sent(&mut self, ctx: &PgCtx<'_>) {
        self.primary.serving.activate_sent = ctx.mono;
    }
    /// A member has activated and promised.
    pub(crate) fn activation_acked(&mut self, ctx: &PgCtx<'_>, from: OsdId, lease_ms: u32) {
        let promised = Duration::from_millis(lease_ms.into());
        let until = ctx.leases.usable_until(self.primary.serving.activate_sent, promised);
        self.primary.serving.with_acks.insert(from, until);
    }
    /// Adds what is known only when a message leaves: what is left of promises, and a new promise.
    pub(crate) fn complete_message(&self, ctx: &mut PgCtx<'_>, to: OsdId, msg: &mut PgMsg) {
        match msg {
            PgMsg::Notify(n) => {
                let past = &n.past_intervals;
                let served = |osd: OsdId, e: Epoch| {
                    past.iter().any(|i| i.primary == osd && i.first <= e && e <= i.last && i.maybe_went_rw)
                };
                n.rests = ctx.leases.rests(ctx.mono, |osd, e| osd != to && served(osd, e));
            }
            // Rounded down: it is the other side that counts on it.
            PgMsg::ActivateAck(a) => {
                let d = ctx.leases.promise(to, ctx.mono);
                a.lease_ms = u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
            }
            _ => {}
        }
    }

    // ---- older primaries ----------------------------------------------------------------------------------------

    /// A copy spoke in this interval.
    pub(crate) fn heard_promises(&mut self, ctx: &PgCtx<'_>, from: OsdId, rests: &Rests) {
        self.primary.serving.heard.insert(from, rests.received(ctx.mono));
    }

    /// Everyone that peering needs was heard: works out whom to wait for, and answers what members must know of that, so
    /// that they can tell the next primary.
    pub(crate) fn find_old_primaries(&mut self, ctx: &mut PgCtx<'_>) -> Rests {
        let ours = ctx.leases.promises(ctx.mono);
        let les = self.info.history.last_epoch_started;
        // All members of the interval that served last were told by its primary whom that one waited for.
        let told: Vec<OsdId> = self
            .past
            .iter()
            .filter(|i| i.first <= les && les <= i.last)
            .map(|i| i.acting.clone())
            .next()
            .unwrap_or_else(|| self.placement.acting.clone());
        let s = &self.primary.serving;
        let mut old: Vec<Old> = Vec::new();
        for i in &self.past {
            let skip = i.acting.is_empty()
                || !i.maybe_went_rw
                || i.primary == self.whoami
                || i.primary.0 < 0
                || s.heard.contains_key(&i.primary);
            if skip || self.surely_ended(i.primary, i.last) {
                continue;
            }
            let members = i.acting.iter().filter(|m| **m != i.primary);
            let late: &[OsdId] = if i.last < les { &told } else { &[] };
            let until = members
                .chain(late)
                .filter_map(|m| match *m == self.whoami {
                    true => Some(bound(&ours, i.primary, i.first, i.last)),
                    false => s.heard.get(m).map(|all| bound(all, i.primary, i.first, i.last)),
                })
                .min()
                .unwrap_or(ctx.mono + ctx.leases.duration());
            if until > ctx.mono {
                old.push(Old { primary: i.primary, last: i.last, until });
            }
        }
        if planted!(self.cfg, NoWaitForLeases) || ctx.leases.is_off() {
            old.clear();
        }
        let mut rests = Vec::new();
        for o in &old {
            ctx.leases.learn(o.primary, o.last, o.until, ctx.mono);
            rests.push(Rest { osd: o.primary, epoch: o.last, rest_ms: millis(o.until - ctx.mono) });
        }
        self.primary.serving.old = old;
        self.settle_wait();
        Rests(rests)
    }
    fn settle_wait(&mut self) {
        let s = &mut self.primary.serving;
        s.wait_until = s.old.iter().map(|o| o.until).max().unwrap_or_default();
        s.waiting = !s.old.is_empty();
    }
    /// `osd` does not serve any more what it led in an interval that lasted until `last`: it has come up anew since, or the
    /// monitors know that the process has ended.
    fn surely_ended(&self, osd: OsdId, last: Epoch) -> bool {
        let up_from = self.map.up_from(osd);
        up_from > last || (!self.map.is_up(osd) && self.map.dead_epoch(osd) >= up_from)
    }
    /// A new map may say so of someone that we wait for.
    pub(crate) fn forget_the_dead(&mut self) {
        let mut old = std::mem::take(&mut self.primary.serving.old);
        old.retain(|o| !self.surely_ended(o.primary, o.last));
        self.primary.serving.old = old;
        self.settle_wait();
    }
    /// An older primary may still answer clients.
    pub(crate) fn waits_for_old(&mut self, ctx: &PgCtx<'_>) -> bool {
        !self.waited(ctx)
    }
    /// A member learns whom its primary waits for.
    pub(crate) fn learn_old_primaries(&self, ctx: &mut PgCtx<'_>, rests: &Rests) {
        for p in rests.received(ctx.mono) {
            ctx.leases.learn(p.osd, p.epoch, p.until, ctx.mono);
        }
    }
}
