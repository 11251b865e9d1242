//! The replicated state: a map of keys to bytes, changed only by [`Proposal`]s that the shell (later: Raft) made durable.
//!
//! Invariants: versions go up by one; a batch is applied whole or not at all; [`Kv`] never changes between
//! proposal and commit. Keys are `service/name`; numbers in keys are padded so that they sort.

use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// One change of one key: bytes to store, or `None` to delete.
pub type Change = (String, Option<Bytes>);

/// Changes that become visible together. Later changes of a key override earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Key to new value (`None` deletes).
    pub changes: BTreeMap<String, Option<Bytes>>,
}

impl Batch {
    /// Stores `value`.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        self.changes.insert(key.into(), Some(value.into()));
    }
    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.changes.insert(key.into(), None);
    }
    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
    /// Bytes of keys and values.
    pub fn len_bytes(&self) -> usize {
        self.changes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Bytes::len)).sum()
    }
}

impl Encode for Batch {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.count(self.changes.len());
            for (k, v) in &self.changes {
                e.put(k);
                e.put(v);
            }
        });
    }
}
impl Decode for Batch {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("mon batch", 1)?;
        let n = d.count("mon batch", 5)?;
        let mut changes = BTreeMap::new();
        for _ in 0..n {
            let k: String = d.get()?;
            changes.insert(k, d.get()?);
        }
        Ok(Batch { changes })
    }
}

/// A numbered batch on its way to durability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// One more than the last committed version.
    pub version: u64,
    /// What changes.
    pub batch: Batch,
}

impl Proposal {
    /// As an entry of the monitors' log.
    pub fn to_bytes(&self) -> Bytes {
        let mut e = Encoder::new(denc::Features::ALL);
        e.u64(self.version);
        e.put(&self.batch);
        e.finish()
    }
    /// From an entry of the monitors' log; values get bytes of their own, so that the entry is not kept alive.
    pub fn from_bytes(bytes: &Bytes) -> Result<Proposal, DencError> {
        let mut d = Decoder::new(bytes);
        let (version, mut batch) = (d.u64()?, d.get::<Batch>()?);
        d.expect_end("mon proposal")?;
        for v in batch.changes.values_mut().flatten() {
            *v = Bytes::copy_from_slice(v);
        }
        Ok(Proposal { version, batch })
    }
}

/// The committed state in memory.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    map: BTreeMap<String, Bytes>,
}

/// Key under which the last committed version is kept.
pub const VERSION_KEY: &str = "paxos/version";

impl Kv {
    /// From what the shell read at start.
    pub fn new(map: BTreeMap<String, Bytes>) -> Kv {
        Kv { map }
    }
    /// One value.
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.map.get(key)
    }
    /// Every key that starts with `prefix`, in order, without it.
    pub fn range<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> + 'a {
        self.map
            .range(prefix.to_owned()..)
            .take_while(move |(k, _)| k.starts_with(prefix))
            .map(move |(k, v)| (&k[prefix.len()..], v))
    }
    /// Everything, as [`Kv::keys_of`] reads it.
    pub fn snapshot(&self) -> Bytes {
        let changes = self.map.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        denc::to_bytes(&Batch { changes }, denc::Features::ALL)
    }
    /// The keys of a snapshot, each with bytes of its own.
    pub fn keys_of(snapshot: &Bytes) -> Result<BTreeMap<String, Bytes>, DencError> {
        let all: Batch = denc::from_bytes_exact(snapshot)?;
        let own = |v: Option<Bytes>| v.map(|v| Bytes::copy_from_slice(&v));
        Ok(all.changes.into_iter().filter_map(|(k, v)| own(v).map(|v| (k, v))).collect())
    }
    /// Applies a committed batch.
    pub fn apply(&mut self, batch: &Batch) {
        for (k, v) in &batch.changes {
            match v {
                Some(v) => {
                    self.map.insert(k.clone(), v.clone());
                }
                None => {
                    self.map.remove(k);
                }
            }
        }
    }
    /// Last committed version; 0 for a new store.
    pub fn version(&self) -> u64 {
        self.get(VERSION_KEY).and_then(|b| Decoder::new(b).u64().ok()).unwrap_or(0)
    }
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.map.len()
    }
    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

/// A number as a key that sorts.
pub fn num_key(prefix: &str, n: u64) -> String {
    format!("{prefix}{n:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_survives_its_encoding() {
        let mut b = Batch::default();
        b.put("a/1", &b"x"[..]);
        b.delete("a/2");
        let mut e = Encoder::new(denc::Features::ALL);
        e.put(&b);
        let bytes = e.finish();
        assert_eq!(Decoder::new(&bytes).get::<Batch>().unwrap(), b);
        for n in 0..bytes.len() {
            let cut = bytes.slice(..n);
            assert!(Decoder::new(&cut).get::<Batch>().is_err());
        }
    }

    #[test]
    fn ranges_stop_at_the_prefix() {
        let mut kv = Kv::default();
        let mut b = Batch::default();
        b.put("a/1", &b"x"[..]);
        b.put("a/2", &b"y"[..]);
        b.put("b/1", &b"z"[..]);
        kv.apply(&b);
        assert_eq!(kv.range("a/").map(|(k, _)| k).collect::<Vec<_>>(), ["1", "2"]);
    }
}
