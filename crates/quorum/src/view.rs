//! [`QuorumView`]: what `mon_status` and `quorum_status` show of the quorum.

use crate::event::Member;
use core::time::Duration;
use types::MonState;

/// The quorum as this member sees it. Ranks are the shell's business: it looks the names up in the monmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumView {
    /// What this member does.
    pub state: MonState,
    /// Even while a leader is known, odd while one is sought; grows with every election, as stock's does.
    pub election_epoch: u64,
    /// The leader.
    pub leader: Option<Member>,
    /// Voters that the leader heard lately, itself among them; empty without a leader.
    pub quorum: Vec<Member>,
    /// Everyone, learners too.
    pub members: Vec<Member>,
    /// How long this leader and quorum have been what they are.
    pub quorum_age: Duration,
    /// Reads may be answered now.
    pub readable: bool,
    /// Last index whose entry was given to the state machine.
    pub applied: u64,
    /// First index that is still in the log.
    pub first_index: u64,
    /// Last index in the log, committed or not.
    pub last_index: u64,
}

/// The epoch for a term: `2 * term` with a leader, one more while the next one is sought.
pub(crate) fn election_epoch(term: u64, leader_known: bool) -> u64 {
    2 * term + u64::from(!leader_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_even_when_stable_and_only_grow() {
        let seen = [
            election_epoch(3, true),
            election_epoch(3, false),
            election_epoch(4, true),
            election_epoch(4, false),
            election_epoch(6, true),
        ];
        assert!(seen.windows(2).all(|w| w[0] < w[1]), "{seen:?}");
        assert_eq!(seen[0] % 2, 0);
        assert_eq!(seen[1] % 2, 1);
    }
}
