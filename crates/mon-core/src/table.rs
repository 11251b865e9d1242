//! [`Table`]: one service's keyed records, with the changes that are not committed yet beside the committed ones.
//!
//! Readers see committed records only; the code that prepares the next proposal sees both (`next`). Keys are relative to the
//! table's prefix.

use crate::kv::{Batch, Kv};
use bytes::Bytes;
use denc::{Decode, Decoder, Encode, Encoder, Features};
use std::collections::BTreeMap;

/// Records of type `V` by name.
#[derive(Clone, Debug)]
pub struct Table<V> {
    prefix: &'static str,
    committed: BTreeMap<String, V>,
    pending: BTreeMap<String, Option<V>>,
}

impl<V: Encode + Decode + Clone + PartialEq> Table<V> {
    /// Reads the table from the store. Records that do not decode are dropped: they can only come from another version.
    pub fn load(prefix: &'static str, kv: &Kv) -> Table<V> {
        let committed = kv
            .range(prefix)
            .filter_map(|(k, b)| Decoder::new(b).get::<V>().ok().map(|v| (k.to_owned(), v)))
            .collect();
        Table { prefix, committed, pending: BTreeMap::new() }
    }
    /// A committed record.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.committed.get(key)
    }
    /// All committed records.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&String, &V)> {
        self.committed.iter()
    }
    /// Number of committed records.
    pub fn len(&self) -> usize {
        self.committed.len()
    }
    /// True without committed records.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty()
    }
    /// The record as it will be after the next commit.
    pub fn next(&self, key: &str) -> Option<&V> {
        match self.pending.get(key) {
            Some(p) => p.as_ref(),
            None => self.committed.get(key),
        }
    }
    /// All records as they will be after the next commit.
    pub fn next_all(&self) -> BTreeMap<String, V> {
        let mut all = self.committed.clone();
        for (k, v) in &self.pending {
            match v {
                Some(v) => all.insert(k.clone(), v.clone()),
                None => all.remove(k),
            };
        }
        all
    }
    /// Names that begin with `prefix`, as they will be after the next commit.
    pub fn next_names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let old = self.committed.range(prefix.to_owned()..).map(|(k, _)| k.as_str());
        let old = old.take_while(move |k| k.starts_with(prefix));
        let old = old.filter(move |k| !self.pending.contains_key(*k));
        let new = self.pending.range(prefix.to_owned()..);
        let new = new.take_while(move |(k, _)| k.starts_with(prefix)).filter(|(_, v)| v.is_some());
        old.chain(new.map(|(k, _)| k.as_str()))
    }
    /// Stages a record; nothing happens when it is that already.
    pub fn set(&mut self, key: impl Into<String>, v: V) {
        let key = key.into();
        if self.next(&key) != Some(&v) {
            self.pending.insert(key, Some(v));
        }
    }
    /// Stages a removal.
    pub fn remove(&mut self, key: &str) {
        if self.next(key).is_some() {
            self.pending.insert(key.to_owned(), None);
        }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        for (k, v) in std::mem::take(&mut self.pending) {
            let key = format!("{}{k}", self.prefix);
            match v {
                Some(v) => batch.put(key, encoded(&v)),
                None => batch.delete(key),
            }
        }
    }
    /// Takes over what a committed batch says about this table; true when anything did.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        let mut any = false;
        for (k, v) in batch.changes.range(self.prefix.to_owned()..) {
            let Some(name) = k.strip_prefix(self.prefix) else { break };
            any = true;
            match v.as_ref().and_then(|b| Decoder::new(b).get::<V>().ok()) {
                Some(v) => self.committed.insert(name.to_owned(), v),
                None => self.committed.remove(name),
            };
        }
        any
    }
}

/// The bytes of a record on disk: always the newest encoding.
pub fn encoded<V: Encode + ?Sized>(v: &V) -> Bytes {
    let mut e = Encoder::new(Features::ALL);
    e.put(v);
    e.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_changes_show_only_after_commit() {
        let mut kv = Kv::default();
        let mut t: Table<String> = Table::load("t/", &kv);
        t.set("a", "1".to_owned());
        assert_eq!((t.get("a"), t.next("a").map(String::as_str)), (None, Some("1")));
        let mut b = Batch::default();
        t.stage(&mut b);
        assert!(!t.is_dirty());
        kv.apply(&b);
        assert!(t.commit(&b));
        assert_eq!(t.get("a").map(String::as_str), Some("1"));
        t.remove("a");
        assert!(t.next("a").is_none() && t.get("a").is_some());
        t.set("b1", "2".to_owned());
        assert_eq!((t.next_names("").collect::<Vec<_>>(), t.next_names("a").count()), (vec!["b1"], 0));
        let again: Table<String> = Table::load("t/", &kv);
        assert_eq!(again.len(), 1);
    }
}
