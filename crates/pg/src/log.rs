//! The PG log: what changed, in order, and which requests did it (`pg_log_t`, `pg_log_entry_t`, `PGLog::IndexedLog`).
//!
//! Invariants: entries ascend strictly by version; all are above `tail`; the indexes name exactly the entries.

use crate::info::record;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, VecDeque};
use types::{EVersion, HObject, ReqId, Utime};

/// What an entry did to its object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Default)]
pub enum EntryKind {
    /// Created or changed it.
    #[default]
    Modify,
    /// Made it as a clone of a head.
    Clone,
    /// Removed it.
    Delete,
    /// Nothing: records a failed write, so that a resent one gets the same answer.
    Error,
}
impl Encode for EntryKind {
    fn encode(&self, e: &mut Encoder) {
        e.u8(*self as u8 + 1);
    }
}
impl Decode for EntryKind {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(match d.u8()? {
            1 => EntryKind::Modify,
            2 => EntryKind::Clone,
            3 => EntryKind::Delete,
            4 => EntryKind::Error,
            other => return Err(DencError::Invalid { what: "log entry kind", value: other.into() }),
        })
    }
}

record! {
    /// One change of one object.
    LogEntry, "log entry" {
        /// What was done.
        kind: EntryKind,
        /// To which object.
        oid: HObject,
        /// The change's version.
        version: EVersion,
        /// The object's version before (zero: it did not exist).
        prior_version: EVersion,
        /// The request (zero for the PG's own changes and for all but the last entry of a request).
        reqid: ReqId,
        /// Further requests that this entry answers, with their user versions (copy-from and the like).
        extra_reqids: Vec<(ReqId, u64)>,
        /// Version that the client sees.
        user_version: u64,
        /// The request's time.
        mtime: Utime,
        /// What the request was answered.
        return_code: i32,
        /// Per-op answers, when the client asked for them to be kept (RETURNVEC).
        op_returns: Vec<(i32, Bytes)>,
        /// Snapshots a clone was made for.
        snaps: Vec<u64>,
    }
}
impl LogEntry {
    /// True for entries that change an object.
    pub fn changes_object(&self) -> bool {
        self.kind != EntryKind::Error
    }
    /// True when the object is gone after it.
    pub fn is_delete(&self) -> bool {
        self.kind == EntryKind::Delete
    }
}

record! {
    /// What is remembered of an entry after it was trimmed (`pg_log_dup_t`).
    LogDup, "log dup" {
        /// The request.
        reqid: ReqId,
        /// The entry's version.
        version: EVersion,
        /// Version that the client saw.
        user_version: u64,
        /// What the request was answered.
        return_code: i32,
        /// Per-op answers.
        op_returns: Vec<(i32, Bytes)>,
    }
}

/// A request's earlier answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastAnswer {
    /// The entry's version.
    pub version: EVersion,
    /// Version the client saw.
    pub user_version: u64,
    /// Result.
    pub return_code: i32,
    /// Per-op answers.
    pub op_returns: Vec<(i32, Bytes)>,
}

/// The log with its indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PgLog {
    entries: VecDeque<LogEntry>,
    tail: EVersion,
    dups: VecDeque<LogDup>,
    by_req: BTreeMap<ReqId, EVersion>,
    dup_by_req: BTreeMap<ReqId, EVersion>,
    by_oid: BTreeMap<HObject, EVersion>,
}

impl PgLog {
    /// An empty log behind `tail`.
    pub fn new(tail: EVersion) -> PgLog {
        PgLog { tail, ..PgLog::default() }
    }
    /// From stored parts; entries not above `tail` or out of order are an error of the caller.
    pub fn from_parts(tail: EVersion, entries: Vec<LogEntry>, dups: Vec<LogDup>) -> PgLog {
        let mut log = PgLog::new(tail);
        for d in dups {
            log.push_dup(d);
        }
        for e in entries {
            log.push(e);
        }
        log
    }
    /// Newest version: the last entry's, or the tail.
    pub fn head(&self) -> EVersion {
        self.entries.back().map_or(self.tail, |e| e.version)
    }
    /// Entries are kept for versions above this.
    pub fn tail(&self) -> EVersion {
        self.tail
    }
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// All entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &LogEntry> + Clone {
        self.entries.iter()
    }
    /// The remembered requests of trimmed entries, oldest first.
    pub fn dups(&self) -> impl Iterator<Item = &LogDup> {
        self.dups.iter()
    }
    /// Position of the first entry above `v`.
    fn after(&self, v: EVersion) -> usize {
        self.entries.partition_point(|e| e.version <= v)
    }
    /// Entries above `v`, oldest first.
    pub fn entries_after(&self, v: EVersion) -> impl Iterator<Item = &LogEntry> {
        self.entries.range(self.after(v)..)
    }
    /// The entry of exactly this version.
    pub fn get(&self, v: EVersion) -> Option<&LogEntry> {
        let i = self.entries.partition_point(|e| e.version < v);
        self.entries.get(i).filter(|e| e.version == v)
    }
    /// True when `v` is the tail or an entry's version: histories meet there.
    pub fn knows(&self, v: EVersion) -> bool {
        v == self.tail || self.get(v).is_some()
    }
    /// Version of the newest entry that changed `oid`.
    pub fn newest_of(&self, oid: &HObject) -> Option<EVersion> {
        self.by_oid.get(oid).copied()
    }
    /// Appends an entry.
    pub fn push(&mut self, mut e: LogEntry) {
        // A replica's entries come in messages.
        e.oid = e.oid.owned();
        assert!(e.version > self.head(), "log entry {} behind head {}", e.version, self.head());
        if e.reqid != ReqId::default() {
            self.by_req.insert(e.reqid, e.version);
        }
        for (r, _) in &e.extra_reqids {
            self.by_req.insert(*r, e.version);
        }
        if e.changes_object() {
            self.by_oid.insert(e.oid.clone(), e.version);
        }
        self.entries.push_back(e);
    }
    fn unindex(&mut self, e: &LogEntry, newest: bool) {
        if self.by_req.get(&e.reqid) == Some(&e.version) {
            self.by_req.remove(&e.reqid);
        }
        for (r, _) in &e.extra_reqids {
            if self.by_req.get(r) == Some(&e.version) {
                self.by_req.remove(r);
            }
        }
        if self.by_oid.get(&e.oid) == Some(&e.version) {
            self.by_oid.remove(&e.oid);
            if newest
                && let Some(older) = self.entries.iter().rev().find(|o| o.oid == e.oid && o.changes_object())
            {
                self.by_oid.insert(e.oid.clone(), older.version);
            }
        }
    }
    /// Takes off all entries above `v`, newest last in the result.
    pub fn rewind_to(&mut self, v: EVersion) -> Vec<LogEntry> {
        let mut off = Vec::new();
        while self.entries.back().is_some_and(|e| e.version > v) {
            let e = self.entries.pop_back().expect("just seen");
            self.unindex(&e, true);
            off.push(e);
        }
        off.reverse();
        off
    }
    /// Drops entries up to and including `to`, remembering their requests; returns (trimmed entries, dropped dups).
    pub fn trim(&mut self, to: EVersion, max_dups: usize) -> (Vec<LogEntry>, Vec<LogDup>) {
        let (mut gone, mut gone_dups) = (Vec::new(), Vec::new());
        while self.entries.front().is_some_and(|e| e.version <= to) {
            let e = self.entries.pop_front().expect("just seen");
            self.unindex(&e, false);
            self.tail = e.version;
            for d in dups_of(&e) {
                self.push_dup(d);
            }
            gone.push(e);
        }
        // The entries remember requests, too.
        while self.dups.len() + self.entries.len() > max_dups {
            let Some(d) = self.dups.pop_front() else { break };
            if self.dup_by_req.get(&d.reqid) == Some(&d.version) {
                self.dup_by_req.remove(&d.reqid);
            }
            gone_dups.push(d);
        }
        (gone, gone_dups)
    }
    fn push_dup(&mut self, d: LogDup) {
        self.dup_by_req.insert(d.reqid, d.version);
        self.dups.push_back(d);
    }
    /// Adds older history of another copy in front of ours: entries at or below our tail, and dups.
    pub fn extend_tail(&mut self, other_tail: EVersion, older: Vec<LogEntry>, dups: Vec<LogDup>) {
        let newer: Vec<LogEntry> = self.entries.drain(..).collect();
        let own_dups: Vec<LogDup> = self.dups.drain(..).collect();
        let tail = if older.is_empty() { self.tail } else { other_tail };
        let mut all_dups: BTreeMap<(EVersion, ReqId), LogDup> = BTreeMap::new();
        for d in dups.into_iter().chain(own_dups) {
            if d.version <= tail {
                all_dups.insert((d.version, d.reqid), d);
            }
        }
        *self = PgLog::new(tail);
        for d in all_dups.into_values() {
            self.push_dup(d);
        }
        for e in older.into_iter().chain(newer) {
            self.push(e);
        }
    }
    /// What a request was answered, if it is remembered.
    pub fn answer_of(&self, reqid: &ReqId) -> Option<PastAnswer> {
        if let Some(e) = self.by_req.get(reqid).and_then(|v| self.get(*v)) {
            let user_version = e
                .extra_reqids
                .iter()
                .find(|(r, _)| r == reqid)
                .map_or(e.user_version, |(_, user_version)| *user_version);
            return Some(PastAnswer {
                version: e.version,
                user_version,
                return_code: e.return_code,
                op_returns: e.op_returns.clone(),
            });
        }
        let v = *self.dup_by_req.get(reqid)?;
        let from = self.dups.partition_point(|d| d.version < v);
        self.dups.range(from..).find(|d| d.reqid == *reqid).map(|d| PastAnswer {
            version: d.version,
            user_version: d.user_version,
            return_code: d.return_code,
            op_returns: d.op_returns.clone(),
        })
    }
    /// Checks the invariants named at the top of this file.
    pub fn check_invariants(&self) {
        let mut last = self.tail;
        let mut by_oid = BTreeMap::new();
        for e in &self.entries {
            assert!(e.version > last, "log out of order at {}", e.version);
            last = e.version;
            if e.changes_object() {
                by_oid.insert(e.oid.clone(), e.version);
            }
        }
        assert_eq!(by_oid, self.by_oid, "object index of the log");
        for v in self.by_req.values() {
            assert!(self.get(*v).is_some(), "request index names {v}, which is no entry");
        }
    }
}

/// What trimming an entry leaves behind.
pub fn dups_of(e: &LogEntry) -> Vec<LogDup> {
    let dup = |reqid, user_version| LogDup {
        reqid,
        version: e.version,
        user_version,
        return_code: e.return_code,
        op_returns: e.op_returns.clone(),
    };
    let own = (e.reqid != ReqId::default()).then(|| dup(e.reqid, e.user_version));
    own.into_iter().chain(e.extra_reqids.iter().map(|(r, v)| dup(*r, *v))).collect()
}
