//! The properties, each checked at the moment when it could be broken.
//!
//! | property | where |
//! |---|---|
//! | one history: every member gives out the same entry at an index | [`Checks::committed`] |
//! | no member gives out an entry twice in one life, or leaves one out | [`Checks::committed`] |
//! | a state that came as a snapshot is the one that the history leads to | [`Checks::installed`] |
//! | an acknowledged proposal is in the history, exactly once | [`Checks::committed`], [`Checks::end`] |
//! | one leader in a term | [`Checks::leader`] |
//! | a read under a lease knows all that anybody was shown before it | [`Checks::read`] |

use quorum::{Commit, NodeId, Payload};
use std::collections::{BTreeMap, BTreeSet};

/// The replicated state: small, but it depends on every entry before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub applied: u64,
    /// Index of the last write; what a read answers.
    pub last_write: u64,
    pub hash: u64,
}

impl State {
    pub fn apply(&mut self, c: &Commit) {
        self.applied = c.index;
        let value = match &c.payload {
            Payload::Data(b) => {
                self.last_write = c.index;
                u64::from_le_bytes(b[..8].try_into().expect("eight bytes"))
            }
            Payload::Members(_) => 1,
            Payload::Empty => 2,
        };
        self.hash = (self.hash ^ value ^ (c.term << 40)).wrapping_mul(0x100_0000_01b3).rotate_left(17);
    }
    pub fn bytes(&self) -> Vec<u8> {
        [self.applied, self.last_write, self.hash].iter().flat_map(|n| n.to_le_bytes()).collect()
    }
    pub fn from_bytes(b: &[u8]) -> State {
        let n = |i: usize| u64::from_le_bytes(b[i * 8..i * 8 + 8].try_into().expect("24 bytes"));
        State { applied: n(0), last_write: n(1), hash: n(2) }
    }
}

#[derive(Default)]
pub struct Checks {
    /// Index to the state that its entry leads to.
    states: BTreeMap<u64, State>,
    /// Value to the index at which it was committed.
    values: BTreeMap<u64, u64>,
    acked: BTreeMap<u64, u64>,
    leaders: BTreeMap<u64, NodeId>,
    /// The last write that anyone was shown.
    shown: u64,
    pub reads: u64,
    pub follower_reads: u64,
    pub installs: u64,
    pub writes: u64,
    pub failure: Option<String>,
}

impl Checks {
    pub fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// `after` is the member's state with the entry applied, `before` without.
    pub fn committed(&mut self, who: NodeId, c: &Commit, before: &State, after: &State) {
        if c.index != before.applied + 1 {
            return self.fail(format!("{who:?} gives out {} after {}", c.index, before.applied));
        }
        let known = *self.states.entry(c.index).or_insert(*after);
        if known != *after {
            return self
                .fail(format!("{who:?} has another history at {}: {after:?}, others {known:?}", c.index));
        }
        if let Payload::Data(b) = &c.payload {
            let value = u64::from_le_bytes(b[..8].try_into().expect("eight bytes"));
            let at = *self.values.entry(value).or_insert(c.index);
            if at != c.index {
                return self.fail(format!("value {value} is committed at {at} and at {}", c.index));
            }
            if let Some(tag) = c.tag {
                if tag != value {
                    return self.fail(format!("proposal {tag} acknowledged with value {value}"));
                }
                self.acked.insert(tag, c.index);
                self.writes += 1;
            }
        }
        self.shown = self.shown.max(after.last_write);
    }

    pub fn installed(&mut self, who: NodeId, state: &State) {
        self.installs += 1;
        if state.applied > 1 && self.states.get(&state.applied) != Some(state) {
            self.fail(format!("{who:?} installs {state:?}, not of the history"));
        }
    }

    pub fn leader(&mut self, who: NodeId, term: u64) {
        let first = *self.leaders.entry(term).or_insert(who);
        if first != who {
            self.fail(format!("{who:?} and {first:?} both lead in term {term}"));
        }
    }

    pub fn read(&mut self, who: NodeId, state: &State, follower: bool) {
        self.reads += 1;
        self.follower_reads += u64::from(follower);
        if state.last_write < self.shown {
            self.fail(format!(
                "stale read: {who:?} answers with the write of {}, {} was shown before",
                state.last_write, self.shown
            ));
        }
    }

    pub fn shown_index(&self) -> u64 {
        self.states.last_key_value().map_or(1, |(i, _)| *i)
    }

    /// All healed: the acknowledged are there.
    pub fn end(&mut self) {
        let lost: BTreeSet<u64> =
            self.acked.iter().filter(|(v, at)| self.values.get(v) != Some(at)).map(|(v, _)| *v).collect();
        if !lost.is_empty() {
            self.fail(format!("acknowledged and lost: {lost:?}"));
        }
    }

    /// A number that stands for all that happened.
    pub fn digest(&self) -> (usize, u64, u64, u64) {
        let last = self.states.last_key_value().map_or(0, |(_, s)| s.hash);
        (self.values.len(), last, self.reads, self.acked.len() as u64)
    }
}
