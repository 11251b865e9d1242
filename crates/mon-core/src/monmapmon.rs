//! The monitor map as a service: who belongs, and where they listen. Whether someone *votes* is the quorum's business; the map
//! follows it: a monitor is added to the map before it may join, and leaves the map after it has left the quorum.

use crate::kv::{Batch, Kv};
use crate::table::encoded;
use denc::{Decoder, DencError};
use types::monmap::{MonInfo, MonMap};
use types::{AddrVec, Utime};

const KEY: &str = "monmap/current";

/// The service.
#[derive(Clone, Debug)]
pub struct MonmapMon {
    /// The committed map.
    pub map: MonMap,
    pending: Option<MonMap>,
}

impl MonmapMon {
    /// From the store; `None` where no store was made.
    pub fn load(kv: &Kv) -> Option<Result<MonmapMon, DencError>> {
        let bytes = kv.get(KEY)?;
        Some(Decoder::new(bytes).get().map(|map| MonmapMon { map, pending: None }))
    }
    /// The map as it will be after the next commit.
    pub fn peek(&self) -> &MonMap {
        self.pending.as_ref().unwrap_or(&self.map)
    }
    fn change(&mut self, now: Utime, f: impl FnOnce(&mut MonMap)) {
        let mut m = self.peek().clone();
        if self.pending.is_none() {
            m.epoch = m.epoch.next();
            m.removed_ranks.clear();
        }
        m.last_changed = now;
        f(&mut m);
        self.pending = Some(m);
    }
    /// Adds a monitor, or gives one new addresses. New ones come last in rank: ranks of the others do not move.
    pub fn set(&mut self, name: &str, addrs: AddrVec, now: Utime) {
        if self.peek().mons.get(name).is_some_and(|i| i.public_addrs == addrs) {
            return;
        }
        let name = name.to_owned();
        self.change(now, |m| {
            if !m.ranks.contains(&name) {
                m.ranks.push(name.clone());
            }
            let old = m.mons.remove(&name).unwrap_or_default();
            m.mons.insert(name.clone(), MonInfo { name, public_addrs: addrs, ..old });
        });
    }
    /// Removes a monitor.
    pub fn remove(&mut self, name: &str, now: Utime) {
        let Some(rank) = self.peek().rank_of(name) else { return };
        self.change(now, |m| {
            m.ranks.remove(rank);
            m.mons.remove(name);
            m.removed_ranks.insert(rank as u32);
        });
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.pending.is_some()
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        if let Some(m) = self.pending.take() {
            batch.put(KEY, encoded(&m));
        }
    }
    /// Takes over a committed batch; true when the map changed.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        let Some(Some(b)) = batch.changes.get(KEY) else { return false };
        let Ok(map) = Decoder::new(b).get() else { return false };
        self.map = map;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Epoch, Fsid};

    #[test]
    fn a_new_monitor_comes_last_and_a_removed_one_leaves_its_rank() {
        let list = ["a", "b", "c"].map(|n| (n.to_owned(), AddrVec::default()));
        let map = MonMap::build(Fsid::default(), Utime::ZERO, list);
        let mut m = MonmapMon { map, pending: None };
        let addrs = AddrVec(vec![types::EntityAddr::default()]);
        m.set("0", addrs.clone(), Utime::from_secs(5));
        m.remove("b", Utime::from_secs(5));
        assert_eq!(m.map.ranks, ["a", "b", "c"]);
        let mut batch = Batch::default();
        m.stage(&mut batch);
        assert!(m.commit(&batch) && !m.is_dirty());
        assert_eq!(m.map.ranks, ["a", "c", "0"]);
        assert_eq!((m.map.epoch, m.map.removed_ranks.len()), (Epoch(2), 1));
        m.set("0", addrs, Utime::from_secs(6));
        assert!(!m.is_dirty(), "nothing changed");
    }
}
