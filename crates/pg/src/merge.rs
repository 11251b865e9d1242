//! What two histories of one PG mean for a copy: common point, divergent entries, new entries (`PGLog::merge_log`,
//! `proc_replica_log`, `_merge_object_divergent_entries`). Pure functions over log and missing set.
//!
//! The primary computes with them what a member misses, and the member computes the same when it activates.

use crate::log::{EntryKind, LogEntry, PgLog};
use crate::missing::{Missing, MissingItem};
use std::collections::{BTreeMap, BTreeSet};
use types::{EVersion, HObject};

/// The newest version that `log` has in common with a history of `since` followed by `entries`; `None` when they do
/// not meet.
pub fn common_version(log: &PgLog, since: EVersion, entries: &[LogEntry]) -> Option<EVersion> {
    let known = |v: EVersion| v == since || entries.binary_search_by(|e| e.version.cmp(&v)).is_ok();
    log.entries().rev().map(|e| e.version).chain([log.tail()]).take_while(|v| *v >= since).find(|v| known(*v))
}

/// The newest version that a peer's history of `since` and `entries` has in common with our log.
pub fn common_with(log: &PgLog, since: EVersion, entries: &[LogEntry]) -> Option<EVersion> {
    entries.iter().rev().map(|e| e.version).chain([since]).find(|v| log.knows(*v))
}

/// True for objects that a copy filled up to `last_backfill` is expected to have.
pub fn is_backfilled(oid: &HObject, last_backfill: &HObject) -> bool {
    last_backfill.max || oid.head() <= *last_backfill
}

/// Undoes `divergent` entries (a copy has them, the authoritative log does not) in `missing`. `newest` says which
/// version of an object the authoritative log changed it to above the common point, if any. Returns the objects whose local
/// bytes are of no use.
pub fn undo_divergent(
    divergent: &[LogEntry],
    newest: &dyn Fn(&HObject) -> bool,
    last_backfill: &HObject,
    missing: &mut Missing,
) -> Vec<HObject> {
    let mut first: BTreeMap<&HObject, &LogEntry> = BTreeMap::new();
    for e in divergent.iter().filter(|e| e.changes_object() && is_backfilled(&e.oid, last_backfill)) {
        first.entry(&e.oid).or_insert(e);
    }
    let mut useless = Vec::new();
    for (oid, e) in first {
        let created = e.prior_version == EVersion::ZERO || e.kind == EntryKind::Clone;
        let had = missing.get(oid).copied_have();
        if newest(oid) {
            // Newer authoritative entries will ask for it; whatever is here is from the wrong history. An item must stand
            // even so, or those entries would take the local bytes for their prior version.
            missing.set(
                oid.clone(),
                MissingItem { need: e.prior_version.max(EVersion::new(0, 1)), have: EVersion::ZERO },
            );
            useless.push(oid.clone());
        } else if created {
            missing.remove(oid);
            useless.push(oid.clone());
        } else if let Some(have) = had {
            if have == e.prior_version {
                missing.remove(oid); // the divergent change never reached the bytes
            } else {
                missing.set(oid.clone(), MissingItem { need: e.prior_version, have });
            }
        } else {
            missing.set(oid.clone(), MissingItem { need: e.prior_version, have: EVersion::ZERO });
            useless.push(oid.clone());
        }
    }
    useless
}
trait Have {
    fn copied_have(self) -> Option<EVersion>;
}
impl Have for Option<&MissingItem> {
    fn copied_have(self) -> Option<EVersion> {
        self.map(|i| i.have)
    }
}

/// Takes authoritative entries that a copy has not applied into `missing`. Returns the objects that are gone after them.
pub fn add_new<'a>(
    entries: impl Iterator<Item = &'a LogEntry>,
    last_backfill: &HObject,
    missing: &mut Missing,
) -> Vec<HObject> {
    let mut gone: BTreeSet<HObject> = BTreeSet::new();
    for e in entries.filter(|e| e.changes_object() && is_backfilled(&e.oid, last_backfill)) {
        missing.add_next_event(e);
        if e.is_delete() {
            gone.insert(e.oid.clone());
        } else {
            gone.remove(&e.oid);
        }
    }
    for oid in &gone {
        missing.remove(oid);
    }
    gone.into_iter().collect()
}

/// What merging an authoritative history did to a copy.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Where the histories meet.
    pub common: EVersion,
    /// Objects to remove from the store.
    pub remove: Vec<HObject>,
    /// Number of entries undone.
    pub divergent: usize,
}

/// Brings a copy's log in line with the authoritative history (`since`, then `entries`). `None`: they do not meet, the
/// copy must be filled from the start.
pub fn merge_log(
    log: &mut PgLog,
    missing: &mut Missing,
    last_backfill: &HObject,
    since: EVersion,
    entries: &[LogEntry],
) -> Option<Merged> {
    let common = common_version(log, since, entries)?;
    let divergent = log.rewind_to(common);
    let new = &entries[entries.partition_point(|e| e.version <= common)..];
    let touched: BTreeSet<&HObject> = new.iter().filter(|e| e.changes_object()).map(|e| &e.oid).collect();
    let mut remove = undo_divergent(&divergent, &|oid| touched.contains(oid), last_backfill, missing);
    remove.extend(add_new(new.iter(), last_backfill, missing));
    for e in new {
        log.push(e.clone());
    }
    remove.sort();
    remove.dedup();
    Some(Merged { common, remove, divergent: divergent.len() })
}

/// What a peer with history (`since`, `entries`) and `missing` lacks against our authoritative log, up to the common
/// point (entries above it are added at activation). Returns the common point; `None`: it must be filled from the start.
pub fn proc_replica_log(
    log: &PgLog,
    since: EVersion,
    entries: &[LogEntry],
    last_backfill: &HObject,
    missing: &mut Missing,
) -> Option<EVersion> {
    let common = common_with(log, since, entries)?;
    let divergent = &entries[entries.partition_point(|e| e.version <= common)..];
    let newer = |oid: &HObject| log.newest_of(oid).is_some_and(|v| v > common);
    undo_divergent(divergent, &newer, last_backfill, missing);
    Some(common)
}
