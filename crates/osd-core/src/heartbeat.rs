//! OSD-to-OSD heartbeats: whom to ping, when a peer counts as failed, what to tell the monitor.
//!
//! Mirrors `OSD::heartbeat*`: every peer is pinged on its back and its front address with stock's own `osd_ping`
//! message; a peer is late when either side has not answered a ping older than the grace. A refused connection is
//! reported at once (`osd_fast_fail_on_connection_refused`).
//!
//! Times are of the host's monotonic clock, which never steps: the stamp that a peer echoes tells when it was asked, and an
//! answer is also a lease (`pg::lease`).
//!
//! Deliberately absent: the message's bytes (crate `messages`), the choice of peers (see `core`), adaptive grace (the
//! monitor's).

use std::collections::BTreeMap;
use std::time::Duration;
use types::{AddrVec, Epoch, OsdId, Utime};

/// Which of the two heartbeat networks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum HbNet {
    /// Cluster side.
    Back,
    /// Public side.
    Front,
}

impl HbNet {
    /// Both sides, in the order they are pinged.
    pub const BOTH: [HbNet; 2] = [HbNet::Back, HbNet::Front];
}

/// Pings without an answer that are remembered for one peer and side; older ones are merged into the oldest.
const PINGS_IN_FLIGHT_MAX: usize = 64;

#[derive(Debug, Clone, Default)]
struct Side {
    last_rx: Option<Utime>,
    /// Send times of pings not answered yet, oldest first.
    unanswered: Vec<Utime>,
}

#[derive(Debug, Clone)]
struct Peer {
    epoch: Epoch,
    addrs: [AddrVec; 2],
    first_tx: Option<Utime>,
    sides: [Side; 2],
    reported: Option<Utime>,
}

impl Peer {
    fn ping(&mut self, now: Utime, osd: OsdId, out: &mut Vec<HbAction>) {
        self.first_tx.get_or_insert(now);
        for (i, net) in HbNet::BOTH.into_iter().enumerate() {
            let side = &mut self.sides[i];
            if side.unanswered.len() == PINGS_IN_FLIGHT_MAX {
                side.unanswered.remove(1);
            }
            side.unanswered.push(now);
            out.push(HbAction::Ping { osd, net, addrs: self.addrs[i].clone(), stamp: now });
        }
    }
}

/// What the heartbeat machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HbAction {
    /// Send a ping with this stamp.
    Ping {
        /// To whom.
        osd: OsdId,
        /// On which network.
        net: HbNet,
        /// Its address there.
        addrs: AddrVec,
        /// Send time, echoed in the reply.
        stamp: Utime,
    },
    /// Tell the monitor that the peer does not answer.
    ReportFailed {
        /// Who.
        osd: OsdId,
        /// For how long it has been silent.
        failed_for: Duration,
        /// Connection refused: no doubt.
        immediate: bool,
    },
    /// Tell the monitor that the earlier report is void.
    ReportAlive {
        /// Who.
        osd: OsdId,
    },
}

/// Limits, in stock's option names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HbConfig {
    /// `osd_heartbeat_interval`.
    pub interval: Duration,
    /// `osd_heartbeat_grace`.
    pub grace: Duration,
    /// How often a standing failure is reported again (`osd_mon_report_interval`).
    pub report_again: Duration,
}

impl Default for HbConfig {
    fn default() -> Self {
        HbConfig {
            interval: Duration::from_secs(6),
            grace: Duration::from_secs(20),
            report_again: Duration::from_secs(5),
        }
    }
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Heartbeats {
    config: HbConfig,
    peers: BTreeMap<OsdId, Peer>,
    last_round: Option<Utime>,
}

impl Heartbeats {
    /// Without peers.
    pub fn new(config: HbConfig) -> Self {
        Heartbeats { config, peers: BTreeMap::new(), last_round: None }
    }

    /// Changes the limits from now on.
    pub fn set_config(&mut self, config: HbConfig) {
        self.config = config;
    }

    /// The peers, ascending.
    pub fn peers(&self) -> impl Iterator<Item = OsdId> + '_ {
        self.peers.keys().copied()
    }

    /// Replaces the peer set. `wanted` maps each peer to its back and front addresses and the epoch it came up in: a
    /// peer that came up anew starts with a clean history.
    pub fn set_peers(&mut self, wanted: &BTreeMap<OsdId, (Epoch, AddrVec, AddrVec)>) {
        self.peers.retain(|osd, p| {
            wanted.get(osd).is_some_and(|(up_from, back, front)| {
                p.epoch == *up_from && p.addrs[0] == *back && p.addrs[1] == *front
            })
        });
        for (osd, (up_from, back, front)) in wanted {
            self.peers.entry(*osd).or_insert_with(|| Peer {
                epoch: *up_from,
                addrs: [back.clone(), front.clone()],
                first_tx: None,
                sides: [Side::default(), Side::default()],
                reported: None,
            });
        }
    }

    /// Time between pings: the interval, or less if leases would run out (a lease lasts for 0.8 of the grace).
    fn round(&self) -> Duration {
        self.config.interval.min(self.config.grace.mul_f64(0.8) / 3)
    }
    /// How soon the next pings are due.
    pub fn next_round(&self, now: Utime) -> Duration {
        self.last_round.map_or(Duration::ZERO, |t| self.round().saturating_sub(now.since(t)))
    }
    /// Pings one peer now.
    pub fn ping(&mut self, now: Utime, osd: OsdId, out: &mut Vec<HbAction>) {
        if let Some(peer) = self.peers.get_mut(&osd) {
            peer.ping(now, osd, out);
        }
    }

    /// Pings when an interval has passed, then judges.
    pub fn on_tick(&mut self, now: Utime, out: &mut Vec<HbAction>) {
        if self.last_round.is_none_or(|t| now.since(t) >= self.round()) {
            self.last_round = Some(now);
            self.ping_all(now, out);
        }
        self.judge(now, out);
    }

    fn ping_all(&mut self, now: Utime, out: &mut Vec<HbAction>) {
        for (osd, peer) in &mut self.peers {
            peer.ping(now, *osd, out);
        }
    }

    fn judge(&mut self, now: Utime, out: &mut Vec<HbAction>) {
        let HbConfig { grace, report_again, .. } = self.config;
        for (osd, peer) in &mut self.peers {
            let oldest = peer.sides.iter().filter_map(|s| s.unanswered.first()).min().copied();
            let Some(oldest) = oldest.filter(|t| now.since(*t) > grace) else { continue };
            if peer.reported.is_some_and(|t| now.since(t) < report_again) {
                continue;
            }
            peer.reported = Some(now);
            let last_heard = peer.sides.iter().filter_map(|s| s.last_rx).min().unwrap_or(oldest);
            out.push(HbAction::ReportFailed {
                osd: *osd,
                failed_for: now.since(last_heard),
                immediate: false,
            });
        }
    }

    /// A reply arrived; `stamp` is the ping's. True when it is the first to a ping that was sent.
    pub fn on_reply(
        &mut self,
        now: Utime,
        osd: OsdId,
        net: HbNet,
        stamp: Utime,
        out: &mut Vec<HbAction>,
    ) -> bool {
        let grace = self.config.grace;
        let Some(peer) = self.peers.get_mut(&osd) else { return false };
        let side = &mut peer.sides[net as usize];
        side.last_rx = Some(now);
        let ours = side.unanswered.contains(&stamp);
        side.unanswered.retain(|sent| *sent > stamp);
        let healthy =
            peer.sides.iter().all(|s| s.unanswered.first().is_none_or(|sent| now.since(*sent) <= grace));
        if healthy && peer.reported.take().is_some() {
            out.push(HbAction::ReportAlive { osd });
        }
        ours
    }

    /// The peer's port answered "refused": the process is gone.
    pub fn on_refused(&mut self, now: Utime, osd: OsdId, out: &mut Vec<HbAction>) {
        let again = self.config.report_again;
        let Some(peer) = self.peers.get_mut(&osd) else { return };
        if peer.reported.is_some_and(|t| now.since(t) < again) {
            return;
        }
        peer.reported = Some(now);
        let since = peer.sides.iter().filter_map(|s| s.last_rx).max().or(peer.first_tx).unwrap_or(now);
        out.push(HbAction::ReportFailed { osd, failed_for: now.since(since), immediate: true });
    }

    /// Failures reported and not taken back: what must be said again to a new monitor.
    pub fn reported(&self) -> impl Iterator<Item = OsdId> + '_ {
        self.peers.iter().filter(|(_, p)| p.reported.is_some()).map(|(osd, _)| *osd)
    }

    /// Forgets that failures were reported, so that the next judgement repeats them (the monitor session is new).
    pub fn forget_reports(&mut self) {
        for p in self.peers.values_mut() {
            p.reported = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_peer() -> Heartbeats {
        let mut hb = Heartbeats::new(HbConfig::default());
        hb.set_peers(&[(OsdId(1), (Epoch(3), AddrVec::default(), AddrVec::default()))].into());
        hb
    }

    fn run(hb: &mut Heartbeats, secs: std::ops::Range<u32>, answered: &[HbNet]) -> Vec<HbAction> {
        let mut seen = Vec::new();
        for s in secs {
            let now = Utime::from_secs(s);
            let mut out = Vec::new();
            hb.on_tick(now, &mut out);
            for a in out.clone() {
                if let HbAction::Ping { osd, net, stamp, .. } = a
                    && answered.contains(&net)
                {
                    hb.on_reply(now, osd, net, stamp, &mut out);
                }
            }
            seen.extend(out.into_iter().filter(|a| !matches!(a, HbAction::Ping { .. })));
        }
        seen
    }

    #[test]
    fn a_peer_that_answers_is_never_reported() {
        assert_eq!(run(&mut one_peer(), 100..300, &HbNet::BOTH), []);
    }

    #[test]
    fn a_silent_peer_is_reported_after_the_grace_and_again_while_it_stays_silent() {
        let seen = run(&mut one_peer(), 100..132, &[]);
        assert!(matches!(seen[0], HbAction::ReportFailed { osd: OsdId(1), immediate: false, .. }));
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn one_silent_side_is_enough_and_an_answer_takes_the_report_back() {
        let mut hb = one_peer();
        assert!(!run(&mut hb, 100..125, &[HbNet::Back]).is_empty());
        let seen = run(&mut hb, 125..140, &HbNet::BOTH);
        assert!(seen.contains(&HbAction::ReportAlive { osd: OsdId(1) }));
    }

    #[test]
    fn a_refused_connection_is_reported_at_once() {
        let mut hb = one_peer();
        let mut out = Vec::new();
        hb.on_refused(Utime::from_secs(100), OsdId(1), &mut out);
        assert!(matches!(out[..], [HbAction::ReportFailed { immediate: true, .. }]));
    }

    #[test]
    fn a_peer_that_came_up_anew_starts_clean() {
        let mut hb = one_peer();
        run(&mut hb, 100..120, &[]);
        hb.set_peers(&[(OsdId(1), (Epoch(9), AddrVec::default(), AddrVec::default()))].into());
        assert_eq!(run(&mut hb, 120..140, &[]), []);
    }
}
