//! The MDS service: the FSMap and its history, who serves which rank, and what the MDS daemons report of themselves.
//!
//! Changes are made to a copy of the map ([`MdsMon::next`]) that is one epoch ahead; it is proposed when it says something new. All of
//! the service's state is committed, but for the times of the last beacons: those start anew with every load, so that whoever leads next
//! gives every daemon a whole grace before it calls it silent.
//!
//! History: a full map of each of the last [`EPOCHS_MAX`] epochs. A store without any has the empty map of epoch 1.

mod beacon;
mod health;
mod publish;
mod roles;
mod tick;

pub(crate) use roles::{available_standby, erase, human, promote};

use crate::counters::{Counters, Known};
use crate::kv::{Batch, Kv, num_key};
use crate::table::{Table, encoded};
use messages::MdsHealth;
use std::collections::BTreeMap;
use types::fsmap::{FSCID_NONE, FsMap};
use types::mdsmap::MdsMap;
use types::{Epoch, Utime};

/// `mon_max_mdsmap_epochs`.
const EPOCHS_MAX: u32 = 500;
const PREFIX: &str = "fsmap/full/";

/// The service.
pub struct MdsMon {
    /// The committed map.
    pub map: FsMap,
    /// First epoch that history goes back to.
    pub first: u32,
    next: Option<FsMap>,
    /// What daemons said about themselves when they booted, by global id.
    pub metadata: Table<BTreeMap<String, String>>,
    /// What daemons complain about, by global id.
    pub health: Table<MdsHealth>,
    /// When the last beacon of each daemon came.
    pub(crate) beacons: BTreeMap<u64, Utime>,
    last_tick: Utime,
    /// What daemons reported to the manager's role, by global id.
    pub(crate) counters: BTreeMap<u64, Counters>,
}

impl MdsMon {
    /// From the store.
    pub fn load(kv: &Kv, now: Utime) -> MdsMon {
        let newest = kv.range(PREFIX).last().and_then(|(_, b)| denc::from_bytes::<FsMap>(b).ok());
        let map = newest.unwrap_or_else(|| FsMap::empty(Epoch(1)));
        let first = kv.range(PREFIX).next().and_then(|(k, _)| k.parse().ok()).unwrap_or(map.epoch.0);
        let beacons = map.mds_roles.keys().map(|gid| (*gid, now)).collect();
        MdsMon {
            map,
            first,
            next: None,
            metadata: Table::load("mds/metadata/", kv),
            health: Table::load("mds/health/", kv),
            beacons,
            last_tick: now,
            counters: BTreeMap::new(),
        }
    }
    /// The map as it will be after the next commit, to change.
    pub fn next(&mut self) -> &mut FsMap {
        self.next.get_or_insert_with(|| FsMap { epoch: self.map.epoch.next(), ..self.map.clone() })
    }
    /// The same to look at.
    pub fn peek(&self) -> &FsMap {
        self.next.as_ref().unwrap_or(&self.map)
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.next.as_ref().is_some_and(|n| !self.says_nothing_new(n))
            || self.metadata.is_dirty()
            || self.health.is_dirty()
    }
    fn says_nothing_new(&self, next: &FsMap) -> bool {
        // Everything but the epoch is compared.
        let FsMap { epoch: _, ref filesystems, .. } = *next;
        filesystems == &self.map.filesystems
            && next.standby_daemons == self.map.standby_daemons
            && next.mds_roles == self.map.mds_roles
            && next.legacy_client_fscid == self.map.legacy_client_fscid
            && next.next_filesystem_id == self.map.next_filesystem_id
            && next.default_compat == self.map.default_compat
            && next.enable_multiple == self.map.enable_multiple
            && next.ever_enabled_multiple == self.map.ever_enabled_multiple
            && next.standby_epochs == self.map.standby_epochs
    }

    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch, now: Utime) {
        if let Some(mut next) = self.next.take().filter(|n| !self.says_nothing_new(n)) {
            for (id, f) in &mut next.filesystems {
                let changed = self.map.filesystems.get(id) != Some(f);
                if changed {
                    f.mds_map.epoch = next.epoch;
                    f.mds_map.modified = now;
                }
            }
            if let Some(what) = next.contradiction() {
                // Only a bug here can make a map that contradicts itself; daemons would die of it.
                panic!("fsmap {}: {what}", next.epoch);
            }
            let gone: Vec<u64> =
                self.map.mds_roles.keys().copied().filter(|g| !next.mds_roles.contains_key(g)).collect();
            for gid in gone {
                self.metadata.remove(&gid.to_string());
                self.health.remove(&gid.to_string());
            }
            batch.put(num_key(PREFIX, next.epoch.0.into()), encoded(&next));
            let keep = next.epoch.0.saturating_sub(EPOCHS_MAX);
            for e in self.first..keep {
                batch.delete(num_key(PREFIX, e.into()));
            }
            self.first = self.first.max(keep);
        }
        self.metadata.stage(batch);
        self.health.stage(batch);
    }

    /// Takes over a committed batch; true when there is a new epoch.
    pub fn commit(&mut self, batch: &Batch, now: Utime) -> bool {
        self.metadata.commit(batch);
        self.health.commit(batch);
        let newest = batch.changes.iter().rev().find(|(k, v)| k.starts_with(PREFIX) && v.is_some());
        let Some((_, Some(full))) = newest else { return false };
        let Ok(map) = denc::from_bytes::<FsMap>(full) else { return false };
        if map.epoch <= self.map.epoch {
            return false;
        }
        self.map = map;
        self.beacons.retain(|gid, _| self.map.mds_roles.contains_key(gid));
        for gid in self.map.mds_roles.keys() {
            self.beacons.entry(*gid).or_insert(now);
        }
        true
    }

    /// Counters that a daemon reports; false when they are not readable.
    pub(crate) fn take_report(
        &mut self,
        gid: u64,
        known: &mut Known,
        m: &messages::MMgrReport,
        now: Utime,
    ) -> bool {
        self.counters.entry(gid).or_default().take(known, m, now).is_ok()
    }

    /// The map of an epoch.
    pub fn at(&self, kv: &Kv, epoch: u32) -> Option<FsMap> {
        if epoch == self.map.epoch.0 {
            return Some(self.map.clone());
        }
        denc::from_bytes(kv.get(&num_key(PREFIX, epoch.into()))?).ok()
    }

    /// A map for a daemon that serves no file system: it has the daemon itself, if that waits.
    pub(crate) fn null_map(&self, gid: Option<u64>) -> MdsMap {
        let mut m = MdsMap {
            compat: self.map.default_compat.clone(),
            flags: types::mdsmap::flag::DEFAULTS,
            ..MdsMap::default()
        };
        let standby = gid.and_then(|g| self.map.standby_daemons.get(&g));
        match standby {
            Some(i) => {
                m.epoch = self.map.standby_epochs.get(&i.global_id).copied().unwrap_or(self.map.epoch);
                m.mds_info.insert(i.global_id, i.clone());
            }
            None => m.epoch = self.map.epoch,
        }
        m
    }

    /// The epoch that a daemon must have seen before what it wants counts: that of its part of the map.
    pub(crate) fn effective_epoch(&self, gid: u64) -> Epoch {
        let m = self.peek();
        match m.mds_roles.get(&gid) {
            None => Epoch(0),
            Some(&FSCID_NONE) => m.standby_epochs.get(&gid).copied().unwrap_or_default(),
            Some(id) => {
                let changes = m.filesystems.get(id) != self.map.filesystems.get(id);
                if changes { m.epoch } else { m.filesystems.get(id).map_or(Epoch(0), |f| f.mds_map.epoch) }
            }
        }
    }
}
