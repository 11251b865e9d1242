//! Read leases: [`Leases`] holds, for one OSD, what other OSDs have granted it and what it has promised to them.
//!
//! A member R of an acting set that answers a ping of P, on map epoch `e`, promises P: for a while, no PG that P leads and
//! R is a member of in an interval that `e` is in will serve clients under another primary without waiting for this promise
//! to end. P may answer clients while all other members' promises, counted from when it *asked*, last. A new primary asks
//! the members of older intervals for what is left of their promises and serves nothing before that has passed.
//!
//! Times are monotonic (`mono`, since boot): a step of the wall clock must not stretch a lease. They never leave the OSD; what
//! travels are durations.
//!
//! Deliberately absent: pings (osd-core's heartbeats carry the grants), whom to wait for ([`crate::Pg`] knows intervals).

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{Epoch, OsdId};

/// Promises in one message; more are told as one that covers them all.
const RESTS_MAX: usize = 1024;
/// In a [`Rest`]: anyone.
const ANYONE: OsdId = OsdId(-1);

/// What is left of a promise, as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rest {
    /// To whom; -1: to anyone, on maps up to `epoch` (a process that started does not know what the one before it said).
    pub osd: OsdId,
    /// The map on which it was given.
    pub epoch: Epoch,
    /// It lasts so long from when this was sent.
    pub rest_ms: u32,
}

/// What is left of an OSD's promises.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rests(pub Vec<Rest>);

impl Rests {
    /// As times of the receiver's clock.
    pub(crate) fn received(&self, mono: Duration) -> Vec<Promise> {
        let at = |ms: u32| mono.saturating_add(Duration::from_millis(ms.into()));
        self.0.iter().map(|r| Promise { osd: r.osd, epoch: r.epoch, until: at(r.rest_ms) }).collect()
    }
}
impl Encode for Rests {
    fn encode(&self, e: &mut Encoder) {
        e.count(self.0.len());
        for r in &self.0 {
            e.put(&r.osd);
            e.put(&r.epoch);
            e.u32(r.rest_ms);
        }
    }
}
impl Decode for Rests {
    const MIN_SIZE: usize = 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let n = d.count("lease rests", 12)?;
        if n > RESTS_MAX {
            return Err(DencError::Invalid { what: "lease rests", value: n as u64 });
        }
        let one = |d: &mut Decoder<'_>| -> Result<Rest, DencError> {
            Ok(Rest { osd: d.get()?, epoch: d.get()?, rest_ms: d.u32()? })
        };
        (0..n).map(|_| one(d)).collect::<Result<Vec<_>, _>>().map(Rests)
    }
}

/// Rounded up: a rest must not shrink on its way.
pub(crate) fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// A promise on our clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Promise {
    pub osd: OsdId,
    pub epoch: Epoch,
    pub until: Duration,
}
/// Until when `osd`, as primary of the interval `first..=last`, may count on these promises.
pub(crate) fn bound(promises: &[Promise], osd: OsdId, first: Epoch, last: Epoch) -> Duration {
    promises
        .iter()
        .filter(|p| match p.osd {
            ANYONE => first <= p.epoch,
            o => o == osd && first <= p.epoch && p.epoch <= last,
        })
        .map(|p| p.until)
        .max()
        .unwrap_or(Duration::ZERO)
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    epoch: Epoch,
    until: Duration,
}
impl Grant {
    /// A newer map first: a grant on an older one is of no use to PGs whose interval began since.
    fn is_better(self, than: Option<Grant>) -> bool {
        than.is_none_or(|t| (self.epoch, self.until) > (t.epoch, t.until))
    }
}
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    up_from: Epoch,
    /// On a map that we have.
    usable: Option<Grant>,
    /// On one that is to come.
    pending: Option<Grant>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    off: bool,
    closed: bool,
    duration: Duration,
    epoch: Epoch,
    peers: BTreeMap<OsdId, Peer>,
    promised: BTreeMap<OsdId, BTreeMap<Epoch, Duration>>,
    /// What an earlier process may have promised, to anyone, on maps up to this epoch.
    forgotten: Option<(Epoch, Duration)>,
}

impl Leases {
    /// `duration` is how long a promise lasts.
    pub fn new(duration: Duration) -> Leases {
        Leases { duration, ..Leases::default() }
    }
    /// For tests of other things: primaries serve without leases and nobody waits.
    pub fn off() -> Leases {
        Leases { off: true, ..Leases::default() }
    }
    /// How long leases last for this heartbeat grace (`osd_pool_default_read_lease_ratio` is 0.8).
    pub fn duration_for(grace: Duration) -> Duration {
        grace.mul_f64(0.8)
    }
    /// Changes how long promises last from now on.
    pub fn set_duration(&mut self, duration: Duration) {
        self.duration = duration;
    }
    /// How long a promise lasts.
    pub fn duration(&self) -> Duration {
        self.duration
    }
    /// The process has started with maps up to `epoch`: what the one before it promised is not known.
    pub fn started(&mut self, epoch: Epoch, mono: Duration) {
        self.forgotten = Some((epoch, mono + self.duration));
    }
    /// The OSD is about to say that it is dead: it answers no client any more.
    pub fn close(&mut self) {
        self.closed = true;
    }
    /// See [`Leases::close`].
    pub fn is_closed(&self) -> bool {
        self.closed
    }
    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    // ---- what we are granted ------------------------------------------------------------------------------------

    /// Our map is at `epoch`; true when grants became usable by that.
    pub fn set_epoch(&mut self, epoch: Epoch) -> bool {
        self.epoch = epoch;
        let mut any = false;
        for p in self.peers.values_mut() {
            if let Some(g) = p.pending.filter(|g| g.epoch <= epoch) {
                p.pending = None;
                if g.is_better(p.usable) {
                    p.usable = Some(g);
                    any = true;
                }
            }
        }
        any
    }
    /// The OSDs that are pinged, with the epochs they came up in: a life's grants end with it.
    pub fn set_peers(&mut self, wanted: &BTreeMap<OsdId, Epoch>) {
        self.peers.retain(|osd, p| wanted.get(osd) == Some(&p.up_from));
        for (osd, up_from) in wanted {
            self.peers.entry(*osd).or_insert(Peer { up_from: *up_from, ..Peer::default() });
        }
    }
    /// How long a promise may be counted on that was asked for at `asked` and given for `promised`. A little less than that,
    /// because clocks do not run alike; and not longer than we would promise, so that a peer cannot stretch it.
    pub fn usable_until(&self, asked: Duration, promised: Duration) -> Duration {
        let d = promised.min(self.duration);
        asked + (d - d / 200)
    }
    /// `osd`, on map `epoch`, has promised until `until`; true when it is of use at once.
    pub fn granted(&mut self, osd: OsdId, epoch: Epoch, until: Duration) -> bool {
        let ours = self.epoch;
        let Some(p) = self.peers.get_mut(&osd) else { return false };
        let g = Grant { epoch, until };
        let slot = if epoch <= ours { &mut p.usable } else { &mut p.pending };
        if !g.is_better(*slot) {
            return false;
        }
        *slot = Some(g);
        epoch <= ours
    }
    /// Until when `osd` has promised, to a PG whose interval began in epoch `since`.
    pub(crate) fn lease_of(&self, osd: OsdId, since: Epoch) -> Option<Duration> {
        self.peers.get(&osd)?.usable.filter(|g| g.epoch >= since).map(|g| g.until)
    }

    // ---- what we have promised ----------------------------------------------------------------------------------

    /// We are about to answer `osd`: how long the promise in it lasts. It is remembered.
    pub fn promise(&mut self, osd: OsdId, mono: Duration) -> Duration {
        self.learn(osd, self.epoch, mono + self.duration, mono);
        self.duration
    }
    /// `osd` may have a promise until `until`, given on map `epoch` by us or by others.
    pub(crate) fn learn(&mut self, osd: OsdId, epoch: Epoch, until: Duration, mono: Duration) {
        let to = self.promised.entry(osd).or_default();
        to.retain(|_, until| *until > mono);
        let at = to.entry(epoch).or_default();
        *at = until.max(*at);
        if self.forgotten.is_some_and(|(_, until)| until <= mono) {
            self.forgotten = None;
        }
    }
    /// All promises that last.
    pub(crate) fn promises(&self, mono: Duration) -> Vec<Promise> {
        let forgotten = self.forgotten.map(|(epoch, until)| Promise { osd: ANYONE, epoch, until });
        self.promised
            .iter()
            .flat_map(|(osd, all)| all.iter().map(|(epoch, until)| (*osd, *epoch, *until)))
            .map(|(osd, epoch, until)| Promise { osd, epoch, until })
            .chain(forgotten)
            .filter(|p| p.until > mono)
            .collect()
    }
    /// What is left of those for which `of_interest` is true, for a message that leaves now.
    pub(crate) fn rests(&self, mono: Duration, of_interest: impl Fn(OsdId, Epoch) -> bool) -> Rests {
        let mut all: Vec<Rest> = self
            .promises(mono)
            .into_iter()
            .filter(|p| p.osd == ANYONE || of_interest(p.osd, p.epoch))
            .map(|p| Rest { osd: p.osd, epoch: p.epoch, rest_ms: millis(p.until - mono) })
            .collect();
        if all.len() > RESTS_MAX {
            let epoch = all.iter().map(|r| r.epoch).max().unwrap_or_default();
            let rest_ms = all.iter().map(|r| r.rest_ms).max().unwrap_or_default();
            all = vec![Rest { osd: ANYONE, epoch, rest_ms }];
        }
        Rests(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: OsdId = OsdId(1);
    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }
    fn one_peer(epoch: u32) -> Leases {
        let mut l = Leases::new(secs(16));
        l.set_epoch(Epoch(epoch));
        l.set_peers(&[(P, Epoch(2))].into());
        l
    }

    #[test]
    fn a_grant_is_of_use_to_intervals_that_its_map_has_seen() {
        let mut l = one_peer(10);
        assert!(l.granted(P, Epoch(8), secs(100)));
        assert_eq!(l.lease_of(P, Epoch(8)), Some(secs(100)));
        assert_eq!(l.lease_of(P, Epoch(9)), None);
    }

    #[test]
    fn a_grant_on_a_newer_map_waits_for_ours() {
        let mut l = one_peer(10);
        assert!(!l.granted(P, Epoch(12), secs(100)));
        assert_eq!(l.lease_of(P, Epoch(3)), None);
        assert!(!l.set_epoch(Epoch(11)));
        assert!(l.set_epoch(Epoch(12)));
        assert_eq!(l.lease_of(P, Epoch(12)), Some(secs(100)));
    }

    #[test]
    fn a_new_life_has_no_grants_and_strangers_give_none() {
        let mut l = one_peer(10);
        l.granted(P, Epoch(10), secs(100));
        l.set_peers(&[(P, Epoch(9))].into());
        assert_eq!(l.lease_of(P, Epoch(1)), None);
        assert!(!l.granted(OsdId(5), Epoch(10), secs(100)));
    }

    #[test]
    fn a_peer_cannot_stretch_a_lease() {
        let l = one_peer(10);
        assert!(l.usable_until(secs(100), secs(1000)) < secs(116));
        assert!(l.usable_until(secs(100), secs(4)) < secs(104));
    }

    #[test]
    fn a_promise_binds_the_interval_that_its_map_was_in() {
        let mut l = one_peer(10);
        l.promise(P, secs(100));
        l.set_epoch(Epoch(20));
        l.promise(P, secs(110));
        let all = l.promises(secs(110));
        assert_eq!(bound(&all, P, Epoch(5), Epoch(19)), secs(116));
        assert_eq!(bound(&all, P, Epoch(5), Epoch(20)), secs(126));
        assert_eq!(bound(&all, P, Epoch(11), Epoch(19)), Duration::ZERO);
        assert_eq!(bound(&all, OsdId(3), Epoch(5), Epoch(19)), Duration::ZERO);
        assert_eq!(l.promises(secs(120)).len(), 1, "what has ended is not told");
    }

    #[test]
    fn a_process_that_started_does_not_know_what_was_promised_before() {
        let mut l = one_peer(10);
        l.started(Epoch(10), secs(50));
        let told = l.rests(secs(60), |_, _| false);
        let theirs = told.received(secs(1000));
        assert_eq!(bound(&theirs, OsdId(7), Epoch(10), Epoch(10)), secs(1006));
        assert_eq!(
            bound(&theirs, OsdId(7), Epoch(11), Epoch(12)),
            Duration::ZERO,
            "it began after the start"
        );
        assert!(l.rests(secs(66), |_, _| true).0.is_empty());
    }

    #[test]
    fn rests_travel_and_their_number_is_bounded() {
        let mut l = one_peer(10);
        (0..2000).for_each(|e| l.learn(P, Epoch(e), secs(20), secs(10)));
        let told = l.rests(secs(10), |_, _| true);
        assert_eq!(told.0, [Rest { osd: ANYONE, epoch: Epoch(1999), rest_ms: 10_000 }]);
        let bytes = denc::to_bytes(&told, denc::Features::ALL);
        assert_eq!(denc::from_bytes_exact::<Rests>(&bytes), Ok(told));
        let many = denc::to_bytes(&Rests(vec![Rest::default(); 1025]), denc::Features::ALL);
        assert!(denc::from_bytes_exact::<Rests>(&many).is_err());
    }
}
