//! [`MemLog`]: the log in memory, as Raft's library reads it. The disk's copy is the shell's, told by [`crate::Persist`].
//!
//! Invariants: entries are contiguous from `start.index + 1`; what was given to [`MemLog::append`] can be read at once, durable or not
//! (the library keeps apart what is durable); no method panics for an index outside of the log.

use crate::codec::{Conf, entry_len};
use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// An index and its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Point {
    pub index: u64,
    pub term: u64,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct MemLog {
    pub hard_state: HardState,
    pub conf: Conf,
    /// The last entry that is not in the log any more.
    start: Point,
    entries: VecDeque<Entry>,
    bytes: u64,
    /// A state to send to those who are too far behind.
    snapshot: Option<Snapshot>,
    /// Raft asked for a snapshot that we do not have.
    wanted: Cell<bool>,
}

fn compacted() -> raft::Error {
    raft::Error::Store(StorageError::Compacted)
}

impl MemLog {
    pub fn new(hard_state: HardState, conf: Conf, start: Point, entries: Vec<Entry>) -> MemLog {
        let bytes = entries.iter().map(entry_len).sum();
        MemLog { hard_state, conf, start, entries: entries.into(), bytes, ..MemLog::default() }
    }
    pub fn start(&self) -> Point {
        self.start
    }
    pub fn last(&self) -> u64 {
        self.start.index + self.entries.len() as u64
    }
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        let at = index.checked_sub(self.start.index + 1)?;
        self.entries.get(usize::try_from(at).ok()?).map(|e| e.term)
    }

    /// Adds entries; what was there from the first one's index on is replaced.
    pub fn append(&mut self, new: &[Entry]) {
        let Some(first) = new.first() else { return };
        assert!(first.index > self.start.index && first.index <= self.last() + 1, "a gap in the log");
        while self.last() >= first.index {
            let gone = self.entries.pop_back().expect("last() counts it");
            self.bytes -= entry_len(&gone);
        }
        for e in new {
            self.bytes += entry_len(e);
            self.entries.push_back(e.clone());
        }
    }

    /// Everything is replaced by a state as of `at`.
    pub fn install(&mut self, at: Point, conf: Conf) {
        self.entries.clear();
        self.bytes = 0;
        self.start = at;
        self.conf = conf;
        self.snapshot = None;
    }

    /// The index up to which entries must go so that at most `bytes` stay.
    pub fn cut_for(&self, bytes: u64) -> u64 {
        let mut size = 0;
        let kept = self.entries.iter().rev().take_while(|e| {
            size += entry_len(e);
            size <= bytes
        });
        self.last() - kept.count() as u64
    }

    /// Forgets entries up to and including `index`.
    pub fn compact(&mut self, index: u64) {
        assert!(index <= self.last(), "compaction behind the log's end");
        while self.start.index < index {
            let e = self.entries.pop_front().expect("within the log");
            self.bytes -= entry_len(&e);
            self.start = Point { index: e.index, term: e.term };
        }
        if self.snapshot.as_ref().is_some_and(|s| s.get_metadata().index < self.start.index) {
            self.snapshot = None;
        }
    }

    /// Raft asked for a snapshot since the last call and there was none.
    pub fn take_wanted(&self) -> bool {
        self.wanted.take()
    }
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }
    pub fn drop_snapshot(&mut self) {
        self.snapshot = None;
    }
    /// Keeps a state for those who need it. `data` includes the names.
    pub fn offer_snapshot(&mut self, at: Point, data: Bytes) {
        let mut s = Snapshot::default();
        s.mut_metadata().index = at.index;
        s.mut_metadata().term = at.term;
        s.mut_metadata().set_conf_state(self.conf_state());
        s.data = data;
        self.snapshot = Some(s);
    }
    pub fn conf_state(&self) -> ConfState {
        let mut cs = ConfState::default();
        cs.voters.clone_from(&self.conf.voters);
        cs.learners.clone_from(&self.conf.learners);
        cs
    }
}

impl Storage for MemLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.start.index {
            return Err(compacted());
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let (mut out, mut size) = (Vec::new(), 0u64);
        let from = usize::try_from(low - self.start.index - 1).unwrap_or(usize::MAX);
        for e in self.entries.iter().skip(from).take_while(|e| e.index < high) {
            size += entry_len(e);
            if size > max && !out.is_empty() {
                break;
            }
            out.push(e.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(index) {
            Some(t) => Ok(t),
            None if index < self.start.index => Err(compacted()),
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        match &self.snapshot {
            // (A state from before the last change of members does not name them: a newcomer would refuse it.)
            Some(s) if s.get_metadata().index >= request_index.max(self.conf.index) => Ok(s.clone()),
            _ => {
                self.wanted.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    #[test]
    fn a_state_from_before_a_change_of_members_is_not_sent() {
        let mut log = MemLog::default();
        log.append(&[entry(1, 1), entry(2, 1), entry(3, 1)]);
        log.offer_snapshot(Point { index: 2, term: 1 }, Bytes::new());
        assert!(log.snapshot(0, 7).is_ok());
        log.conf.index = 3;
        assert!(log.snapshot(0, 7).is_err());
        assert!(log.take_wanted());
        log.offer_snapshot(Point { index: 3, term: 1 }, Bytes::new());
        assert!(log.snapshot(0, 7).is_ok());
    }

    #[test]
    fn appending_replaces_what_conflicts_and_compacting_keeps_the_last_term() {
        let mut log = MemLog::default();
        log.append(&[entry(1, 1), entry(2, 1), entry(3, 1)]);
        log.append(&[entry(3, 2), entry(4, 2)]);
        assert_eq!((log.last(), log.term_of(3)), (4, Some(2)));
        log.compact(3);
        assert_eq!(log.start(), Point { index: 3, term: 2 });
        assert_eq!((log.term(3).ok(), log.term(2).ok(), log.term(5).ok()), (Some(2), None, None));
        assert_eq!(log.entries(4, 5, None, GetEntriesContext::empty(false)).unwrap().len(), 1);
        assert!(log.entries(3, 5, None, GetEntriesContext::empty(false)).is_err());
        assert_eq!(log.bytes(), entry_len(&entry(4, 2)));
        log.append(&[entry(5, 2), entry(6, 2)]);
        let one = entry_len(&entry(6, 2));
        assert_eq!((log.cut_for(0), log.cut_for(one), log.cut_for(2 * one + 1)), (6, 5, 4));
        assert_eq!(log.cut_for(u64::MAX), 3);
    }

    #[test]
    fn a_wanted_snapshot_is_noticed_once() {
        let log = MemLog::default();
        assert!(log.snapshot(0, 1).is_err());
        assert!(log.take_wanted());
        assert!(!log.take_wanted());
    }
}
