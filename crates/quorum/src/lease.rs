//! Read leases: who may answer reads without asking anyone.
//!
//! Three clocks are involved and none is compared with another: a stamp always returns to the clock that made it.
//! - **A voter's promise.** Whoever heard the leader refuses, for one election timeout from then, to help anyone else into
//!   office (`Quorum` drops vote requests meanwhile, and for that long after its own start, because it may have forgotten a promise).
//!   It returns the leader's stamp. The leader's own lease runs from the stamp that a majority has returned, and is shorter.
//! - **A follower's lease.** A follower's message carries its stamp; the leader returns it with "from this moment of yours on you
//!   may read". The leader assumes that the lease lasts from when it *received* the stamp, which is later.
//! - **The price.** While a follower may hold a lease, no entry is shown to anyone (applied, acknowledged) before that follower
//!   has stored it; and a follower does not read while its log holds an entry that it has not applied. So whatever anyone was shown,
//!   every reader knows. A follower that does not answer costs writes at most one lease length. (Stock waits for every
//!   member of the quorum, and calls an election after `mon_accept_timeout`.)
//! - **A new leader** waits until every lease of its predecessors has run out, unless it has heard the holder in its own term.
//!   It need not wait for the leader of the term before: that one held no follower's lease, and its own ended with the promises.
//!   Predecessors give none once a successor may be in office, because they only give while their own lease holds.

use crate::codec::Echo;
use crate::config::{Moment, Timing};
use core::time::Duration;
use std::collections::BTreeMap;

/// Stands for "whoever else might hold a lease": members that left lately.
const UNKNOWN_HOLDER: u64 = 0;

/// What a follower asked for.
#[derive(Clone, Copy, Debug)]
struct Request {
    echo: Echo,
    received: Moment,
}

/// The leader's half.
#[derive(Debug)]
pub(crate) struct LeaderLeases {
    me: u64,
    timing: Timing,
    /// Our stamp that each member returned last: it had heard us then.
    heard: BTreeMap<u64, Moment>,
    requests: BTreeMap<u64, Request>,
    /// Until when each member may hold a lease of ours.
    given: BTreeMap<u64, Moment>,
    /// Until when each member may hold a lease of a predecessor.
    old: BTreeMap<u64, Moment>,
}

impl LeaderLeases {
    /// At election. `voters` are the members who may hold a predecessor's lease, `quiet_since` is when this member last
    /// learned that somebody left (or started, having forgotten): that one may hold a lease too.
    pub fn new(me: u64, timing: Timing, now: Moment, voters: &[u64], quiet_since: Moment) -> LeaderLeases {
        let mut old: BTreeMap<u64, Moment> =
            voters.iter().filter(|v| **v != me).map(|v| (*v, now.plus(timing.lease_margin()))).collect();
        old.insert(UNKNOWN_HOLDER, quiet_since.plus(timing.lease_margin()));
        let mut l = LeaderLeases {
            me,
            timing,
            heard: BTreeMap::new(),
            requests: BTreeMap::new(),
            given: BTreeMap::new(),
            old,
        };
        l.expire(now);
        l
    }

    /// `id` led in the term just before ours: it cannot hold a lease any more.
    pub fn predecessor(&mut self, id: u64) {
        self.old.remove(&id);
    }

    /// Nobody can hold a predecessor's lease (there was none).
    pub fn no_predecessors(&mut self) {
        self.old.clear();
    }

    /// A member spoke in our term: leases of our predecessors it has dropped.
    pub fn spoke(&mut self, from: u64, request: Echo, promise: Option<Moment>, now: Moment) {
        self.old.remove(&from);
        let stale = self
            .requests
            .get(&from)
            .is_some_and(|r| r.echo.nonce == request.nonce && r.echo.stamp >= request.stamp);
        if !stale {
            self.requests.insert(from, Request { echo: request, received: now });
        }
        if let Some(stamp) = promise {
            let at = self.heard.entry(from).or_default();
            *at = (*at).max(stamp.min(now));
        }
    }

    /// Voters whose promise is younger than `age`, we among them.
    pub fn active<'a>(
        &'a self,
        voters: &'a [u64],
        age: Duration,
        now: Moment,
    ) -> impl Iterator<Item = u64> + 'a {
        voters
            .iter()
            .copied()
            .filter(move |v| *v == self.me || self.heard.get(v).is_some_and(|at| at.plus(age) > now))
    }

    /// Does a majority's promise cover us now?
    pub fn covered(&self, voters: &[u64], now: Moment) -> bool {
        self.active(voters, self.timing.lease, now).count() > voters.len() / 2
    }

    /// Gives `to` a lease for what it asked last, if that was lately. The caller has checked that it may.
    pub fn give(&mut self, to: u64, now: Moment) -> Option<Echo> {
        let r = self.requests.get(&to).filter(|r| r.received.plus(self.timing.lease) > now)?;
        let until = r.received.plus(self.timing.lease_margin());
        let known = self.given.entry(to).or_insert(until);
        *known = (*known).max(until);
        Some(r.echo)
    }

    /// Forgets what ran out.
    pub fn expire(&mut self, now: Moment) {
        self.given.retain(|_, until| *until > now);
        self.old.retain(|_, until| *until > now);
    }

    /// Who may hold a lease now.
    pub fn holders(&self) -> impl Iterator<Item = u64> + '_ {
        self.given.keys().chain(self.old.keys()).copied()
    }

    /// When the next one runs out.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.given.values().chain(self.old.values()).min().copied()
    }

    /// When a member last proved to be alive.
    pub fn alive(&self, id: u64, within: Duration, now: Moment) -> bool {
        id == self.me || self.requests.get(&id).is_some_and(|r| r.received.plus(within) > now)
    }
}

/// The follower's half: bound to one leader in one term.
#[derive(Debug, Default)]
pub(crate) struct FollowerLease {
    leader: u64,
    term: u64,
    /// The leader's latest stamp, to be returned with our promise.
    stamp: Option<Echo>,
    until: Moment,
    /// Who the leader says is in the quorum.
    pub quorum: Vec<u64>,
}

impl FollowerLease {
    /// Our leader spoke.
    pub fn heard(&mut self, leader: u64, term: u64, stamp: Echo) {
        if (self.leader, self.term) != (leader, term) {
            *self = FollowerLease { leader, term, ..FollowerLease::default() };
        }
        if self.stamp.is_none_or(|s| s.stamp < stamp.stamp) {
            self.stamp = Some(stamp);
        }
    }
    /// Our leader gave us a lease from `from` on.
    pub fn given(&mut self, from: Moment, now: Moment, lease: Duration) {
        if from <= now {
            self.until = self.until.max(from.plus(lease));
        }
    }
    /// Who led in `term`, if we followed then.
    pub fn leader_in(&self, term: u64) -> Option<u64> {
        (self.term == term && self.leader != 0).then_some(self.leader)
    }
    /// What to return to `leader`.
    pub fn promise_to(&self, leader: u64, term: u64) -> Option<Echo> {
        if self.is_of(leader, term) { self.stamp } else { None }
    }
    /// Is there a lease of this leader in this term?
    pub fn holds(&self, leader: u64, term: u64, now: Moment) -> bool {
        self.is_of(leader, term) && now < self.until
    }
    fn is_of(&self, leader: u64, term: u64) -> bool {
        leader != 0 && (self.leader, self.term) == (leader, term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment(n * 1000)
    }
    fn ask(stamp: u64) -> Echo {
        Echo { nonce: 1, stamp }
    }
    fn leases() -> LeaderLeases {
        LeaderLeases::new(1, Timing::default(), ms(10_000), &[1, 2, 3], ms(0))
    }

    #[test]
    fn a_leader_is_covered_by_a_majoritys_promises_and_only_so_long() {
        let mut l = leases();
        let voters = [1, 2, 3];
        assert!(!l.covered(&voters, ms(10_000)));
        l.spoke(2, ask(1), Some(ms(10_050)), ms(10_100));
        assert!(l.covered(&voters, ms(10_100)));
        assert!(l.covered(&voters, ms(10_849)));
        assert!(!l.covered(&voters, ms(10_850)), "counted from when we spoke, not from when we heard");
        assert!(l.covered(&[1], ms(99_000)), "alone, one is the majority");
    }

    #[test]
    fn a_predecessors_leases_hold_until_they_run_out_or_their_holder_speaks() {
        let mut l = leases();
        assert_eq!(l.holders().collect::<Vec<_>>(), [2, 3]);
        let mut after = leases();
        after.predecessor(2);
        assert_eq!(after.holders().collect::<Vec<_>>(), [3]);
        l.spoke(2, ask(1), None, ms(10_001));
        assert_eq!(l.holders().collect::<Vec<_>>(), [3]);
        l.expire(ms(10_849));
        assert_eq!(l.holders().count(), 1);
        l.expire(ms(10_850));
        assert_eq!(l.holders().count(), 0);
    }

    #[test]
    fn whoever_left_lately_may_hold_a_lease_too() {
        let l = LeaderLeases::new(1, Timing::default(), ms(10_000), &[1], ms(9_500));
        assert_eq!(l.holders().collect::<Vec<_>>(), [0]);
        let l = LeaderLeases::new(1, Timing::default(), ms(10_000), &[1], ms(9_000));
        assert_eq!(l.holders().count(), 0);
    }

    #[test]
    fn a_given_lease_ends_at_its_holder_before_its_giver_forgets_it() {
        let mut l = leases();
        let t = Timing::default();
        assert_eq!(l.give(2, ms(10_000)), None, "nobody asked");
        l.spoke(2, ask(77), None, ms(10_100));
        assert_eq!(l.give(2, ms(10_200)), Some(ask(77)));
        assert!(l.holders().any(|h| h == 2));
        // The follower's clock says anything; it asked before we received.
        let mut f = FollowerLease::default();
        f.heard(1, 5, ask(0));
        f.given(ms(70_000), ms(70_300), t.lease);
        assert!(f.holds(1, 5, ms(70_799)));
        assert!(!f.holds(1, 5, ms(70_800)));
        assert!(!f.holds(1, 6, ms(70_400)), "another term");
        assert!(!f.holds(2, 5, ms(70_400)), "another leader");
        f.heard(2, 6, ask(0));
        assert!(!f.holds(2, 6, ms(70_400)), "a new leader gives its own");
        l.expire(ms(10_949));
        assert!(l.holders().any(|h| h == 2));
    }

    #[test]
    fn an_old_request_is_not_answered() {
        let mut l = leases();
        l.spoke(2, ask(5), None, ms(10_100));
        l.spoke(2, ask(4), None, ms(10_300));
        assert_eq!(l.give(2, ms(10_901)), None, "the one of 10.1 s is too old, the late one is older still");
    }
}
