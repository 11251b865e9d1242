//! What a monitor counts: `perf dump` of its admin socket, with the names and groups of stock's.

use mon_core::{MonCore, QuorumInfo};
use runtime::PerfCounters;
use runtime::perf::{Counter, Gauge};
use std::cell::Cell;
use types::MonState;

/// See the module's documentation.
pub struct Counters {
    /// What the admin socket dumps.
    pub registry: PerfCounters,
    sessions: Gauge,
    added: Counter,
    removed: Counter,
    trimmed: Counter,
    elections: Counter,
    won: Counter,
    lost: Counter,
    seen: Cell<(u64, Option<MonState>)>,
}

impl Counters {
    /// All at zero.
    pub fn new() -> Counters {
        let registry = PerfCounters::new();
        let (gauge, counter) = (|n, t| registry.gauge("mon", n, t), |n, t| registry.counter("mon", n, t));
        Counters {
            sessions: gauge("num_sessions", "Open sessions"),
            added: counter("session_add", "Created sessions"),
            removed: counter("session_rm", "Removed sessions"),
            trimmed: counter("session_trim", "Sessions that the monitor ended"),
            elections: counter("num_elections", "Elections participated in"),
            won: counter("election_win", "Elections won"),
            lost: counter("election_lose", "Elections lost"),
            seen: Cell::new((0, None)),
            registry,
        }
    }

    /// A session began; so many are open.
    pub fn opened(&self, open: usize) {
        self.added.inc();
        self.sessions.set(open as u64);
    }

    /// A session ended, or was ended by this monitor.
    pub fn closed(&self, open: usize, by_us: bool) {
        self.removed.inc();
        if by_us {
            self.trimmed.inc();
        }
        self.sessions.set(open as u64);
    }

    /// The quorum is like this now.
    pub fn quorum(&self, info: &QuorumInfo) {
        let (epoch, state) = self.seen.replace((info.election_epoch, Some(info.state)));
        if epoch != info.election_epoch {
            self.elections.inc();
        }
        if state == Some(info.state) && epoch == info.election_epoch {
            return;
        }
        match info.state {
            MonState::Leader => self.won.inc(),
            MonState::Peon => self.lost.inc(),
            _ => {}
        }
    }

    /// Looks at the maps, for the group `cluster`. (Nothing keeps them up to date meanwhile: it takes a walk over all PGs.)
    pub fn look(&self, core: &MonCore) {
        self.registry.clear("cluster");
        for (name, about, value) in core.cluster_numbers() {
            self.registry.gauge("cluster", name, about).set(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elections_are_won_and_lost_once_each() {
        let c = Counters::new();
        let info = |state, election_epoch| QuorumInfo { state, election_epoch, ..QuorumInfo::default() };
        for (state, epoch) in [
            (MonState::Electing, 3),
            (MonState::Peon, 4),
            (MonState::Peon, 4),
            (MonState::Electing, 5),
            (MonState::Leader, 6),
            (MonState::Leader, 6),
            (MonState::Leader, 8),
        ] {
            c.quorum(&info(state, epoch));
        }
        assert_eq!((c.elections.get(), c.won.get(), c.lost.get()), (5, 2, 1));
        c.opened(1);
        c.closed(0, true);
        let dump = c.registry.dump(Some("mon"), None);
        assert_eq!((&dump["mon"]["session_trim"], &dump["mon"]["num_sessions"]), (&1.into(), &0.into()));
    }
}
