//! What a member is told at start, the clock that it is driven with, and its dice.
//!
//! Invariant: every duration that safety rests on is derived here, in one place, and [`Timing::check`] says which must be
//! shorter than which. There is no wall clock: a [`Moment`] is only compared with moments of the same process.

use core::fmt;
use core::time::Duration;
use thiserror::Error;

/// A point on the process's monotonic clock, in microseconds since any start. Means nothing to other processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by `d`.
    #[must_use]
    pub fn plus(self, d: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
    /// Time since `earlier`; zero when that is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A member's identity in the log: drawn at random when its store is made, never used again after that store is lost.
///
/// Not the rank, which shifts when a monitor is removed, and not derived from the name: a monitor whose store was wiped has
/// forgotten what it voted for and what it acknowledged. If it came back under its old identity it could vote a member into
/// office that lacks committed entries. With a new identity it is a stranger who must be let in ([`crate::Event::Add`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:x}", self.0)
    }
}
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Durations, equal on all members: a member with another lease is not listened to ([`crate::Fault::Timing`]), and they may be made shorter
/// only while all members are stopped (a promise of the old length may be in force). The defaults keep an election within one to two seconds, as operators of stock monitors see it.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The leader speaks at least this often.
    pub heartbeat: Duration,
    /// Shortest silence of the leader after which a member stands for election; each attempt waits up to twice as long.
    pub election: Duration,
    /// How long a read lease lasts, counted from when its holder asked (followers) or spoke (the leader). Stock's `mon_lease`
    /// (5 s) is longer because stock's elections are not bound to it; here it must be shorter than `election`.
    pub lease: Duration,
    /// A snapshot that is not acknowledged for so long is sent again.
    pub snapshot_retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_millis(200),
            election: Duration::from_millis(1000),
            lease: Duration::from_millis(800),
            snapshot_retry: Duration::from_secs(10),
        }
    }
}

/// Durations that do not fit together.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TimingError {
    /// Two heartbeats must fit in an election timeout.
    #[error("the election timeout must be at least three heartbeats")]
    HeartbeatTooLong,
    /// A lease that outlives the voters' promise is no lease.
    #[error("a read lease must be shorter than nine tenths of the election timeout")]
    LeaseTooLong,
    /// Zero somewhere.
    #[error("durations must not be zero")]
    Zero,
}

impl Timing {
    /// Derives everything from stock's `mon_lease`, keeping the ratios of the default.
    pub fn with_election(election: Duration) -> Timing {
        Timing { election, heartbeat: election / 5, lease: election * 4 / 5, ..Timing::default() }
    }
    /// How long a member that heard the leader refuses to help another into office.
    pub(crate) fn promise(&self) -> Duration {
        self.election
    }
    /// How long a lease's giver assumes that it lasts: longer than its holder does, for clocks that run at other speeds.
    pub(crate) fn lease_margin(&self) -> Duration {
        self.lease + self.lease / 16
    }
    /// The lease as it is compared with a peer's.
    pub(crate) fn lease_us(&self) -> u64 {
        u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX)
    }
    /// Are the relations kept that leases rest on?
    pub fn check(&self) -> Result<(), TimingError> {
        if self.heartbeat.is_zero() || self.lease.is_zero() || self.snapshot_retry.is_zero() {
            return Err(TimingError::Zero);
        }
        if self.heartbeat * 3 > self.election {
            return Err(TimingError::HeartbeatTooLong);
        }
        if self.lease * 10 > self.election * 9 {
            return Err(TimingError::LeaseTooLong);
        }
        Ok(())
    }
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries behind the applied one that are kept, so that a member that was away briefly needs no snapshot.
    pub keep_entries: u64,
    /// When the log is larger than this, it is cut to half of it (but not what is not applied).
    pub keep_bytes: u64,
    /// Bytes of proposals not committed yet; more are refused.
    pub uncommitted_bytes: u64,
    /// Bytes of entries in one message (one entry may be larger).
    pub message_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            keep_entries: 500,
            keep_bytes: 32 << 20,
            uncommitted_bytes: 64 << 20,
            message_bytes: 1 << 20,
        }
    }
}

/// Bugs to plant, to show that the simulation finds them.
#[cfg(any(test, feature = "planted"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    None,
    /// Messages leave before what they promise is durable.
    SendBeforePersist,
    /// A leader trusts its lease without hearing a quorum.
    LeaseWithoutQuorum,
    /// A restarted member votes at once, although it may have promised not to.
    ForgetsPromise,
    /// A new leader does not wait for leases that its predecessor gave.
    IgnoresOldLeases,
    /// Entries are shown as soon as Raft commits them, whoever holds a lease.
    ShowsAtCommit,
}

/// What a member is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// A number drawn at random for this run of the process: tells requests of this run from those before a restart.
    pub boot_nonce: u64,
    /// Seed of the election dice.
    pub seed: u64,
    /// Durations.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// The bug that is planted.
    #[cfg(any(test, feature = "planted"))]
    pub planted: Planted,
}

impl Config {
    /// Defaults with the two random numbers that the shell draws.
    pub fn new(boot_nonce: u64, seed: u64) -> Config {
        Config {
            boot_nonce,
            seed,
            timing: Timing::default(),
            limits: Limits::default(),
            #[cfg(any(test, feature = "planted"))]
            planted: Planted::None,
        }
    }
}

/// Asks for a planted bug; always false in a build without them.
macro_rules! planted {
    ($cfg:expr, $bug:ident) => {{
        #[cfg(any(test, feature = "planted"))]
        let hit = $cfg.planted == $crate::config::Planted::$bug;
        #[cfg(not(any(test, feature = "planted")))]
        let hit = {
            let _ = &$cfg;
            false
        };
        hit
    }};
}
pub(crate) use planted;

/// Small deterministic dice (splitmix64): elections need no better.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Anything from zero to `max`.
    pub(crate) fn up_to(&mut self, max: Duration) -> Duration {
        let us = u64::try_from(max.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_must_end_before_the_voters_promise() {
        assert_eq!(Timing::default().check(), Ok(()));
        assert_eq!(Timing::with_election(Duration::from_millis(300)).check(), Ok(()));
        let t = Timing { lease: Duration::from_secs(5), ..Timing::default() };
        assert_eq!(t.check(), Err(TimingError::LeaseTooLong));
        let t = Timing { heartbeat: Duration::from_millis(500), ..Timing::default() };
        assert_eq!(t.check(), Err(TimingError::HeartbeatTooLong));
    }
}
