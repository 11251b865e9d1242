//! The OSD service: the OSDMap, its history, and what the OSDs report about each other.
//!
//! Changes are made to a copy of the map ([`OsdMon::next`]); when they are proposed, the incremental is taken from the difference, and
//! the map that becomes current is the old one with that incremental applied, so that its crc is what everyone else gets.
//!
//! History: every incremental since `first`; a full map at every [`FULL_EVERY`]th epoch and at the newest. Any full map in between is
//! rebuilt. A store that was rebuilt from the OSDs has gaps ([`OsdMon::jump`]): epochs that nobody will ever see; behind each is a full map.

mod creating;
mod diff;
mod failure;
mod lifecycle;
mod publish;
mod temps;
mod tick;
pub mod upmaps;

pub use creating::Creating;
pub use diff::diff;
pub use failure::Failures;
pub(crate) use lifecycle::{set_state, set_weight};

use crate::kv::{Batch, Kv, num_key};
use crate::table::Table;
use bytes::Bytes;
use denc::{DencError, Encode, Encoder, Features};
use messages::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::interval_set::IntervalSet;
use types::osdmap::{OsdMap, OsdMapIncremental, state};
use types::pool::PgPool;
use types::{Epoch, OsdId, PgId, PoolId, SnapId, Utime, features};

/// Where PGs that are being created are kept.
const CREATING: &str = "osd/creating/";
/// A full map is kept at every so many epochs.
pub(crate) const FULL_EVERY: u32 = 16;
/// Behind it the first epoch after a gap; the value is the last one before it.
pub(crate) const GAP: &str = "osdmap/gap/";
/// `mon_min_osdmap_epochs`: at least so many incrementals are kept.
const EPOCHS_MIN: u32 = 500;
/// However dirty the PGs, no more than so many.
const EPOCHS_MAX: u32 = 20_000;
/// Features that maps are stored with.
pub const STORED: Features = Features(features::SUPPORTED);
/// Feature bits that change a map's encoding.
pub const SIGNIFICANT: u64 = features::SERVER_NAUTILUS
    | features::SERVER_MIMIC
    | features::SERVER_LUMINOUS
    | features::SERVER_OCTOPUS
    | features::SERVER_PACIFIC
    | features::MSG_ADDR2;

/// The service.
pub struct OsdMon {
    /// The committed map.
    pub map: OsdMap,
    /// First epoch that history goes back to.
    pub first: u32,
    /// Gaps in the history: the last epoch before each, by the first one behind it.
    gaps: Table<Epoch>,
    next: Option<OsdMap>,
    /// What OSDs said about themselves when they booted, by id.
    pub metadata: Table<BTreeMap<String, String>>,
    /// PGs being created, by `pool.seed`.
    pub creating: Table<Creating>,
    /// The committed ones of these by who is to create them.
    pub to_create: BTreeMap<OsdId, BTreeSet<PgId>>,
    /// Messages with maps up to the newest epoch, by first epoch and features: many sessions get the same.
    pub(crate) made: BTreeMap<(u32, u64), (Message, u32)>,
    /// Snapshots that all PGs of a pool have purged, by pool.
    pub purged: Table<IntervalSet>,
    /// Reports of unreachable OSDs.
    pub failures: Failures,
    /// Since when an OSD has been down, as this monitor saw it.
    pub down_since: BTreeMap<OsdId, Utime>,
    /// Lower bound of the last clean epoch, by OSD, from its beacon; and when that came.
    pub beacons: BTreeMap<OsdId, (Epoch, Utime)>,
    /// Creation epochs given to PGs in this batch are the next epoch's; filled when it is staged.
    new_creating: BTreeSet<PgId>,
}

impl OsdMon {
    /// From the store.
    pub fn load(kv: &Kv, now: Utime) -> Result<OsdMon, DencError> {
        let newest = kv.range("osdmap/full/").last().map(|(_, b)| b.clone());
        let map: OsdMap = match newest {
            Some(b) => denc::from_bytes(&b)?,
            None => OsdMap::default(),
        };
        // (The first full map, not the first incremental: history is rebuilt from it.)
        let first = kv.range("osdmap/full/").next().and_then(|(k, _)| k.parse().ok()).unwrap_or(map.epoch.0);
        let down_since = map.osds().filter(|o| map.is_down(*o)).map(|o| (o, now)).collect();
        let beacons = map.osds().filter(|o| map.is_up(*o)).map(|o| (o, (Epoch(0), now))).collect();
        let creating = Table::<Creating>::load(CREATING, kv);
        let mut to_create: BTreeMap<OsdId, BTreeSet<PgId>> = BTreeMap::new();
        for (name, c) in creating.iter() {
            if let (Ok(pg), Some(o)) = (name.parse::<PgId>(), c.acting_primary) {
                to_create.entry(o).or_default().insert(pg);
            }
        }
        Ok(OsdMon {
            map,
            first,
            gaps: Table::load(GAP, kv),
            next: None,
            metadata: Table::load("osd/metadata/", kv),
            creating,
            to_create,
            made: BTreeMap::new(),
            purged: Table::load("osd/purged/", kv),
            failures: Failures::default(),
            down_since,
            beacons,
            new_creating: BTreeSet::new(),
        })
    }

    /// The map as it will be after the next commit, to change.
    pub fn next(&mut self) -> &mut OsdMap {
        self.next.get_or_insert_with(|| {
            let mut m = self.map.clone();
            m.new_removed_snaps = Arc::default();
            m.new_purged_snaps = Arc::default();
            m
        })
    }
    /// The same to look at.
    pub fn peek(&self) -> &OsdMap {
        self.next.as_ref().unwrap_or(&self.map)
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.next.is_some() || self.metadata.is_dirty() || self.purged.is_dirty() || self.creating.is_dirty()
    }
    /// A pool as it will be, to change.
    pub fn pool_mut(&mut self, id: PoolId) -> Option<&mut PgPool> {
        let next_epoch = self.map.epoch.next();
        let m = self.next();
        let p = Arc::make_mut(Arc::make_mut(&mut m.pools).get_mut(&id)?);
        p.last_change = next_epoch;
        Some(p)
    }
    /// Marks a new pool's PGs as being created.
    pub fn create_pgs(&mut self, pool: PoolId, pg_num: u32) {
        for seed in 0..pg_num {
            self.new_creating.insert(PgId { pool, seed });
        }
    }

    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch, now: Utime) {
        self.metadata.stage(batch);
        self.purged.stage(batch);
        self.end_creating();
        if let Some(mut next) = self.next.take() {
            let moved = !Arc::ptr_eq(&next.crush, &self.map.crush)
                || !Arc::ptr_eq(&next.pools, &self.map.pools)
                || !Arc::ptr_eq(&next.osd_state, &self.map.osd_state)
                || !Arc::ptr_eq(&next.osd_weight, &self.map.osd_weight)
                || !Arc::ptr_eq(&next.pg_upmap, &self.map.pg_upmap)
                || !Arc::ptr_eq(&next.pg_upmap_items, &self.map.pg_upmap_items);
            if moved {
                upmaps::prune(&mut next);
            }
            temps::prune(&self.map, &mut next);
            if let Some(inc) = diff(&self.map, &next, now, STORED) {
                self.stage_inc(batch, inc, now);
            }
        }
        self.creating.stage(batch);
    }

    /// Pools whose PGs have all been created are not being created any more.
    fn end_creating(&mut self) {
        if !self.creating.is_dirty() {
            return;
        }
        let is_new = |id: &PoolId| self.new_creating.iter().any(|pg| pg.pool == *id);
        let left = |id: &PoolId| self.creating.next_names(&format!("{}.", id.0)).next().is_some();
        let pools = self.peek().pools.iter().filter(|(_, p)| p.has_flag(types::pool::flag::CREATING));
        let done: Vec<PoolId> = pools.map(|(id, _)| *id).filter(|id| !is_new(id) && !left(id)).collect();
        for id in done {
            if let Some(p) = self.pool_mut(id) {
                p.flags &= !types::pool::flag::CREATING;
            }
        }
    }

    fn stage_inc(&mut self, batch: &mut Batch, mut inc: OsdMapIncremental, now: Utime) {
        let mut m = self.map.clone();
        m.crc = None;
        if let Err(e) = m.apply_incremental(&inc) {
            // Only a bug here can make an incremental that does not fit its own map.
            panic!("incremental {} does not apply to its own map: {e}", inc.epoch);
        }
        let full = m.to_bytes(STORED);
        // (The map's own crc is its last field.)
        inc.full_crc = full.last_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let epoch = inc.epoch.0;
        batch.put(num_key("osdmap/inc/", epoch.into()), encode_with(&inc, STORED));
        batch.put(num_key("osdmap/full/", epoch.into()), full);
        if epoch > 1 && !(epoch - 1).is_multiple_of(FULL_EVERY) && epoch - 1 != self.first {
            batch.delete(num_key("osdmap/full/", u64::from(epoch - 1)));
        }
        let everywhere = moves_pgs(&inc);
        if everywhere || !inc.new_pools.is_empty() {
            let mut moved = Vec::new();
            for name in self.creating.next_names("") {
                let (Ok(pg), Some(c)) = (name.parse::<PgId>(), self.creating.next(name)) else { continue };
                if !everywhere && !inc.new_pools.contains_key(&pg.pool) {
                    continue;
                }
                let mut c = c.clone();
                if c.follow(pg, &self.map, &m) {
                    moved.push((name.to_owned(), c));
                }
            }
            moved.into_iter().for_each(|(name, c)| self.creating.set(name, c));
        }
        for pg in std::mem::take(&mut self.new_creating) {
            if m.pools.contains_key(&pg.pool) {
                self.creating.set(pg.to_string(), Creating::new(pg, &m, now));
            }
        }
        for pool in &inc.old_pools {
            let gone: Vec<String> =
                self.creating.next_names(&format!("{}.", pool.0)).map(str::to_owned).collect();
            for k in gone {
                self.creating.remove(&k);
            }
        }
        self.trim(batch, epoch);
    }

    fn trim(&mut self, batch: &mut Batch, epoch: u32) {
        let clean = self.map.osds().filter_map(|o| self.beacons.get(&o)).map(|b| b.0.0).min().unwrap_or(0);
        let floor = epoch.saturating_sub(EPOCHS_MIN).min(clean).max(epoch.saturating_sub(EPOCHS_MAX));
        let target = floor / FULL_EVERY * FULL_EVERY;
        if target <= self.first {
            return;
        }
        if self.jump(target).is_some_and(|behind| behind != target) {
            // Nothing is kept of an epoch in a gap: it goes with what is before it, later.
            return;
        }
        for (behind, _) in self.gaps.iter().filter(|(k, _)| k.parse().is_ok_and(|e: u32| e <= target)) {
            batch.delete(format!("{GAP}{behind}"));
        }
        for e in self.first..target {
            batch.delete(num_key("osdmap/inc/", e.into()));
            batch.delete(num_key("osdmap/full/", e.into()));
        }
        batch.delete(num_key("osdmap/inc/", target.into()));
        self.first = target;
    }

    /// Takes over a committed batch; true when there is a new epoch.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        self.metadata.commit(batch);
        self.purged.commit(batch);
        self.commit_creating(batch);
        self.gaps.commit(batch);
        self.made.clear();
        // Trimmed history begins at the last incremental that went: its full map stays.
        let trimmed =
            batch.changes.range("osdmap/inc/".to_owned()..).take_while(|(k, _)| k.starts_with("osdmap/inc/"));
        let trimmed =
            trimmed.filter(|(_, v)| v.is_none()).filter_map(|(k, _)| k["osdmap/inc/".len()..].parse().ok());
        self.first = trimmed.fold(self.first, u32::max);
        let newest = batch.changes.iter().rev().find(|(k, v)| k.starts_with("osdmap/full/") && v.is_some());
        let Some((_, Some(full))) = newest else { return false };
        let Ok(map) = denc::from_bytes::<OsdMap>(full) else { return false };
        if map.epoch <= self.map.epoch {
            return false;
        }
        if self.first == 0 {
            self.first = map.epoch.0;
        }
        self.map = map;
        true
    }

    fn commit_creating(&mut self, batch: &Batch) {
        let changes = batch.changes.range(CREATING.to_owned()..);
        let names: Vec<&str> = changes.map_while(|(k, _)| k.strip_prefix(CREATING)).collect();
        let who = |t: &Table<Creating>, name: &str| {
            t.get(name).and_then(|c| Some((c.acting_primary?, name.parse::<PgId>().ok()?)))
        };
        for (osd, pg) in names.iter().filter_map(|n| who(&self.creating, n)) {
            if let Some(pgs) = self.to_create.get_mut(&osd) {
                pgs.remove(&pg);
                if pgs.is_empty() {
                    self.to_create.remove(&osd);
                }
            }
        }
        self.creating.commit(batch);
        for (osd, pg) in names.iter().filter_map(|n| who(&self.creating, n)) {
            self.to_create.entry(osd).or_default().insert(pg);
        }
    }

    /// Where history goes on for someone who has maps up to the one before `epoch`, when `epoch` is in a gap or just behind one: the map
    /// there must be given whole.
    pub fn jump(&self, epoch: u32) -> Option<u32> {
        let ends = self.gaps.iter().filter_map(|(k, last)| Some((k.parse::<u32>().ok()?, last.0)));
        ends.into_iter().find(|(behind, last)| *last < epoch && epoch <= *behind).map(|(behind, _)| behind)
    }
    /// True when the snapshot's objects are gone from every PG.
    pub fn was_purged(&self, pool: PoolId, snap: SnapId) -> bool {
        self.purged.next(&pool.0.to_string()).is_some_and(|s| s.contains(snap.0))
    }
    /// PG counts by pool.
    pub fn pool_pgs(&self) -> BTreeMap<PoolId, u32> {
        self.map.pools.iter().map(|(id, p)| (*id, p.pg_num)).collect()
    }
    /// OSDs that are up.
    pub fn up_osds(&self) -> BTreeSet<OsdId> {
        self.map.osds().filter(|o| self.map.is_up(*o)).collect()
    }
    /// True when the OSD exists.
    pub fn exists(&self, osd: OsdId) -> bool {
        self.map.exists(osd)
    }
    /// A metadata field of an OSD.
    pub fn meta(&self, osd: OsdId, key: &str) -> Option<&str> {
        self.metadata.get(&osd.0.to_string())?.get(key).map(String::as_str)
    }
    /// Feature bits that peers must have, as they follow from the map.
    pub fn required_features(&self) -> u64 {
        self.map.required_features()
    }

    /// The full map of an epoch, rebuilt when it is not kept.
    pub fn full_at(&self, kv: &Kv, epoch: u32) -> Option<OsdMap> {
        if epoch == self.map.epoch.0 {
            return Some(self.map.clone());
        }
        if epoch < self.first || epoch > self.map.epoch.0 {
            return None;
        }
        let mut from = epoch;
        let mut map: OsdMap = loop {
            if let Some(b) = kv.get(&num_key("osdmap/full/", from.into())) {
                break denc::from_bytes(b).ok()?;
            }
            from = from.checked_sub(1).filter(|f| *f >= self.first)?;
        };
        for e in from + 1..=epoch {
            let b = kv.get(&num_key("osdmap/inc/", e.into()))?;
            let inc: OsdMapIncremental = denc::from_bytes(b).ok()?;
            map.crc = None;
            map.apply_incremental(&inc).ok()?;
        }
        Some(map)
    }
    /// The bytes of a full map for a peer.
    pub fn full_bytes(&self, kv: &Kv, epoch: u32, peer: Features) -> Option<Bytes> {
        let stored = kv.get(&num_key("osdmap/full/", epoch.into()));
        match stored {
            Some(b) if same_encoding(peer) => Some(b.clone()),
            _ => Some(self.full_at(kv, epoch)?.to_bytes(encoding_for(peer))),
        }
    }
    /// The bytes of an incremental for a peer.
    pub fn inc_bytes(&self, kv: &Kv, epoch: u32, peer: Features) -> Option<Bytes> {
        let b = kv.get(&num_key("osdmap/inc/", epoch.into()))?;
        if same_encoding(peer) {
            return Some(b.clone());
        }
        let mut inc: OsdMapIncremental = denc::from_bytes(b).ok()?;
        if let Some(m) = self.full_at(kv, epoch) {
            inc.full_crc = m.crc_for(encoding_for(peer));
        }
        Some(encode_with(&inc, encoding_for(peer)))
    }
}

/// True when PGs of any pool may be elsewhere, or in another interval, after this.
fn moves_pgs(inc: &OsdMapIncremental) -> bool {
    !inc.fullmap.is_empty()
        || !inc.crush.is_empty()
        || inc.new_max_osd.is_some()
        || !inc.new_state.is_empty()
        || !inc.new_up_client.is_empty()
        || !inc.new_weight.is_empty()
        || !inc.new_pg_temp.is_empty()
        || !inc.new_primary_temp.is_empty()
        || !inc.new_primary_affinity.is_empty()
        || !inc.new_pg_upmap.is_empty()
        || !inc.old_pg_upmap.is_empty()
        || !inc.new_pg_upmap_items.is_empty()
        || !inc.old_pg_upmap_items.is_empty()
        || inc.change_stretch_mode.is_some()
}

fn same_encoding(peer: Features) -> bool {
    peer.0 & SIGNIFICANT == STORED.0 & SIGNIFICANT
}
fn encoding_for(peer: Features) -> Features {
    Features(STORED.0 & (peer.0 | !SIGNIFICANT))
}

fn encode_with<T: Encode>(v: &T, f: Features) -> Bytes {
    let mut e = Encoder::new(f);
    e.put(v);
    e.finish()
}

/// The flags (`noup`, `nodown`, `noin`, `noout`) that hold for an OSD: its own, those of the CRUSH nodes above it, those of its class.
pub(crate) fn flags_of(m: &OsdMap, osd: OsdId) -> u32 {
    let mut flags = m.state_of(osd) & (state::NOUP | state::NODOWN | state::NOIN | state::NOOUT);
    if !m.crush_node_flags.is_empty() {
        let mut at = Some(osd.0);
        // Checked maps have no loops; the bound is for a map under edit.
        for _ in 0..64 {
            let Some(id) = at else { break };
            flags |= m.crush_node_flags.get(&id).copied().unwrap_or(0);
            at = crate::crushutil::parent(&m.crush, id);
        }
    }
    if !m.device_class_flags.is_empty()
        && let Some(class) = m.crush.class_map.get(&osd.0)
    {
        flags |= m.device_class_flags.get(class).copied().unwrap_or(0);
    }
    flags
}
