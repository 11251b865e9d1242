//! [`Missing`]: objects that a copy's log names but the copy lacks (`pg_missing_t`).
//!
//! Invariant: an entry says which version is needed (`need`) and which one, if any, is there (`have`, zero for none).

use crate::info::record;
use crate::log::LogEntry;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use types::{EVersion, HObject};

record! {
    /// One missing object.
    MissingItem, "missing item" {
        /// Version that the log says.
        need: EVersion,
        /// Version that is there (zero: none).
        have: EVersion,
    }
}

/// The missing objects of one copy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    items: BTreeMap<HObject, MissingItem>,
}
impl Missing {
    /// Number of missing objects.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// True when nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    /// All of them, in object order.
    pub fn iter(&self) -> impl Iterator<Item = (&HObject, &MissingItem)> {
        self.items.iter()
    }
    /// Those at or behind `from`, in object order.
    pub fn iter_from(&self, from: &HObject) -> impl Iterator<Item = (&HObject, &MissingItem)> {
        self.items.range(from.clone()..)
    }
    /// The item of an object.
    pub fn get(&self, oid: &HObject) -> Option<&MissingItem> {
        self.items.get(oid)
    }
    /// True when `oid` itself is missing.
    pub fn contains(&self, oid: &HObject) -> bool {
        self.items.contains_key(oid)
    }
    /// True when the head or any clone of `oid` is missing.
    pub fn contains_family(&self, oid: &HObject) -> bool {
        self.family(oid).next().is_some()
    }
    /// Head and clones of `oid` that are missing.
    pub fn family<'a>(&'a self, oid: &HObject) -> impl Iterator<Item = (&'a HObject, &'a MissingItem)> {
        let first = oid.at(types::SnapId(0));
        let last = oid.at(types::SnapId(u64::MAX));
        self.items.range(first..=last)
    }
    /// Sets an item.
    pub fn set(&mut self, oid: HObject, item: MissingItem) {
        self.items.insert(oid, item);
    }
    /// Forgets an object.
    pub fn remove(&mut self, oid: &HObject) -> Option<MissingItem> {
        self.items.remove(oid)
    }
    /// Forgets all.
    pub fn clear(&mut self) {
        self.items.clear();
    }
    /// Oldest version needed, for `last_complete`.
    pub fn oldest_need(&self) -> Option<EVersion> {
        self.items.values().map(|i| i.need).min()
    }
    /// Takes in a log entry that the copy does not have applied (`pg_missing_t::add_next_event`).
    pub fn add_next_event(&mut self, e: &LogEntry) {
        if !e.changes_object() {
            return;
        }
        if let Some(item) = self.items.get_mut(&e.oid) {
            // Already missing: only the wanted version moves.
            item.need = e.version;
        } else {
            let fresh = e.prior_version == EVersion::ZERO || e.kind == crate::log::EntryKind::Clone;
            let have = if fresh { EVersion::ZERO } else { e.prior_version };
            self.items.insert(e.oid.clone(), MissingItem { need: e.version, have });
        }
    }
}
impl Encode for Missing {
    fn encode(&self, e: &mut Encoder) {
        e.put(&self.items);
    }
}
impl Decode for Missing {
    const MIN_SIZE: usize = 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Missing { items: d.get()? })
    }
}
