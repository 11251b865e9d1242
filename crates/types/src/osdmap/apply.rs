//! [`OsdMap::apply_incremental`]: the step from one epoch to the next, in stock's order so that the bytes agree.

use super::*;
use denc::{DencError, Features};
use thiserror::Error;

/// Why an incremental cannot be applied.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// It is for another cluster.
    #[error("incremental of cluster {found}, map of cluster {expected}")]
    Fsid {
        /// The map's cluster.
        expected: Fsid,
        /// The incremental's cluster.
        found: Fsid,
    },
    /// It does not lead to the next epoch.
    #[error("incremental to epoch {found} on a map of epoch {have}")]
    Epoch {
        /// The map's epoch.
        have: Epoch,
        /// The epoch that the incremental leads to.
        found: Epoch,
    },
    /// An OSD id that the map has no room for.
    #[error("incremental names osd.{osd}, max_osd is {max_osd}")]
    Osd {
        /// The OSD.
        osd: OsdId,
        /// Size of the map.
        max_osd: i32,
    },
    /// It sets a size that a map cannot have, or a pool without PGs.
    #[error("incremental has an impossible value: {what}")]
    Value {
        /// The field.
        what: &'static str,
    },
    /// A blob in it cannot be decoded.
    #[error("blob in incremental")]
    Blob(#[from] DencError),
}

impl OsdMap {
    /// Applies `inc`, which must lead to the next epoch; on error the map is unchanged. The result's bytes for the
    /// features that `inc` was encoded with have the crc `inc.full_crc` if the map was right before: OSDs check that
    /// with [`OsdMap::crc_for`]; the monitor fills `full_crc` with it.
    pub fn apply_incremental(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        if inc.epoch != Epoch(1) && inc.fsid != self.fsid {
            return Err(ApplyError::Fsid { expected: self.fsid, found: inc.fsid });
        }
        if inc.epoch != self.epoch.next() {
            return Err(ApplyError::Epoch { have: self.epoch, found: inc.epoch });
        }
        let mut next = self.clone();
        next.fsid = inc.fsid;
        next.epoch = inc.epoch;
        next.modified = inc.modified;
        next.crc = None;
        if inc.fullmap.is_empty() {
            next.apply_changes(inc)?;
        } else {
            next = denc::from_bytes(&inc.fullmap)?;
        }
        *self = next;
        Ok(())
    }

    /// [`OsdMap::apply_incremental`] on a copy.
    pub fn with_incremental(&self, inc: &OsdMapIncremental) -> Result<OsdMap, ApplyError> {
        let mut next = self.clone();
        next.apply_incremental(inc)?;
        Ok(next)
    }

    /// Sets `inc.full_crc` to the crc of the map that it leads to from here, and returns that map. `features` must be
    /// those that `inc` and the stored full map are encoded with.
    pub fn seal_incremental(
        &self,
        inc: &mut OsdMapIncremental,
        features: Features,
    ) -> Result<OsdMap, ApplyError> {
        let mut next = self.with_incremental(inc)?;
        inc.encode_features = features.0;
        inc.full_crc = next.crc_for(features);
        next.crc = Some(inc.full_crc);
        Ok(next)
    }

    fn slot(&self, osd: OsdId) -> Result<usize, ApplyError> {
        self.index(osd).ok_or(ApplyError::Osd { osd, max_osd: self.max_osd })
    }

    /// Resizes every per-OSD vector. New OSDs do not exist and are out.
    pub fn set_max_osd(&mut self, n: i32) {
        let len = n.clamp(0, OSDS_MAX) as usize;
        self.max_osd = len as i32;
        Arc::make_mut(&mut self.osd_state).resize(len, 0);
        Arc::make_mut(&mut self.osd_weight).resize(len, WEIGHT_OUT);
        for addrs in [
            &mut self.client_addrs,
            &mut self.cluster_addrs,
            &mut self.hb_back_addrs,
            &mut self.hb_front_addrs,
        ] {
            Arc::make_mut(addrs).resize(len, AddrVec::default());
        }
        Arc::make_mut(&mut self.osd_info).resize(len, OsdInfo::default());
        Arc::make_mut(&mut self.osd_xinfo).resize(len, OsdXInfo::default());
        Arc::make_mut(&mut self.osd_uuid).resize(len, Fsid::default());
        if let Some(a) = &mut self.osd_primary_affinity {
            Arc::make_mut(a).resize(len, AFFINITY_MAX);
        }
    }

    fn set_primary_affinity(&mut self, osd: usize, affinity: u32) {
        let n = self.osd_state.len();
        let all = self.osd_primary_affinity.get_or_insert_with(|| Arc::new(vec![AFFINITY_MAX; n]));
        Arc::make_mut(all)[osd] = affinity;
    }

    fn apply_changes(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        if let Some(flags) = inc.new_flags {
            self.flags = flags;
        }
        if let Some(n) = inc.new_max_osd {
            if n > OSDS_MAX {
                return Err(ApplyError::Value { what: "max_osd" });
            }
            self.set_max_osd(n);
        }
        if let Some(n) = inc.new_pool_max {
            self.pool_max = i32::try_from(n).map_err(|_| ApplyError::Value { what: "pool_max" })?;
        }
        self.apply_pools(inc)?;
        self.apply_weights(inc)?;
        self.apply_profiles(inc);
        self.apply_states(inc)?;
        self.apply_history(inc)?;
        self.apply_placement(inc);
        self.apply_blocklists(inc);
        self.apply_globals(inc);
        self.apply_crush(inc)
    }

    fn apply_pools(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        if !inc.new_pools.is_empty() || !inc.old_pools.is_empty() {
            let pools = Arc::make_mut(&mut self.pools);
            for (id, pool) in &inc.new_pools {
                if pool.pg_num == 0 {
                    return Err(ApplyError::Value { what: "pg_num" });
                }
                pools.insert(*id, Arc::new(PgPool { last_change: inc.epoch, ..pool.clone() }));
            }
            pools.retain(|id, _| !inc.old_pools.contains(id));
        }
        self.new_removed_snaps = Arc::new(inc.new_removed_snaps.clone());
        self.new_purged_snaps = Arc::new(inc.new_purged_snaps.clone());
        if !inc.new_removed_snaps.is_empty() || !inc.new_purged_snaps.is_empty() {
            let queue = Arc::make_mut(&mut self.removed_snaps_queue);
            for (pool, snaps) in &inc.new_removed_snaps {
                queue.entry(*pool).or_default().union_with(snaps);
            }
            for (pool, snaps) in &inc.new_purged_snaps {
                if let Some(left) = queue.get_mut(pool) {
                    left.subtract(snaps);
                    if left.is_empty() {
                        queue.remove(pool);
                    }
                }
            }
        }
        if !inc.new_last_up_change.is_zero() {
            self.last_up_change = inc.new_last_up_change;
        }
        if !inc.new_last_in_change.is_zero() {
            self.last_in_change = inc.new_last_in_change;
        }
        if !inc.new_pool_names.is_empty() || !inc.old_pools.is_empty() {
            let names = Arc::make_mut(&mut self.pool_names);
            names.extend(inc.new_pool_names.iter().map(|(id, n)| (*id, n.clone())));
            names.retain(|id, _| !inc.old_pools.contains(id));
        }
        Ok(())
    }

    fn apply_weights(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        for (osd, weight) in &inc.new_weight {
            let i = self.slot(*osd)?;
            Arc::make_mut(&mut self.osd_weight)[i] = *weight;
            let state = &mut Arc::make_mut(&mut self.osd_state)[i];
            // A weight brings an OSD into being (`OSDMap::set_weight`).
            if *weight != 0 {
                *state |= state::EXISTS;
                *state &= !(state::AUTOOUT | state::NEW);
                Arc::make_mut(&mut self.osd_xinfo)[i].old_weight = 0;
            }
        }
        for (osd, affinity) in &inc.new_primary_affinity {
            let i = self.slot(*osd)?;
            self.set_primary_affinity(i, *affinity);
        }
        Ok(())
    }

    fn apply_profiles(&mut self, inc: &OsdMapIncremental) {
        if inc.old_erasure_code_profiles.is_empty() && inc.new_erasure_code_profiles.is_empty() {
            return;
        }
        let profiles = Arc::make_mut(&mut self.erasure_code_profiles);
        for name in &inc.old_erasure_code_profiles {
            profiles.remove(name);
        }
        profiles.extend(inc.new_erasure_code_profiles.iter().map(|(n, p)| (n.clone(), p.clone())));
    }

    fn apply_states(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        for (osd, flip) in &inc.new_state {
            let i = self.slot(*osd)?;
            let flip = if *flip == 0 { state::UP } else { *flip };
            let now = self.osd_state[i];
            if now & flip & state::UP != 0 {
                Arc::make_mut(&mut self.osd_info)[i].down_at = inc.epoch;
                Arc::make_mut(&mut self.osd_xinfo)[i].down_stamp = inc.modified;
            }
            if now & flip & state::EXISTS != 0 {
                self.forget_osd(i);
            } else {
                Arc::make_mut(&mut self.osd_state)[i] ^= flip;
            }
        }
        for (osd, addrs) in &inc.new_up_client {
            let i = self.slot(*osd)?;
            let state = &mut Arc::make_mut(&mut self.osd_state)[i];
            *state |= state::EXISTS | state::UP;
            *state &= !state::STOP;
            Arc::make_mut(&mut self.client_addrs)[i] = addrs.clone();
            let of = |m: &BTreeMap<OsdId, AddrVec>| m.get(osd).cloned().unwrap_or_default();
            Arc::make_mut(&mut self.hb_back_addrs)[i] = of(&inc.new_hb_back_up);
            Arc::make_mut(&mut self.hb_front_addrs)[i] = of(&inc.new_hb_front_up);
            Arc::make_mut(&mut self.osd_info)[i].up_from = inc.epoch;
        }
        for (osd, addrs) in &inc.new_up_cluster {
            let i = self.slot(*osd)?;
            Arc::make_mut(&mut self.cluster_addrs)[i] = addrs.clone();
        }
        Ok(())
    }

    /// A removed OSD leaves nothing but its slot.
    fn forget_osd(&mut self, i: usize) {
        Arc::make_mut(&mut self.osd_uuid)[i] = Fsid::default();
        Arc::make_mut(&mut self.osd_info)[i] = OsdInfo::default();
        Arc::make_mut(&mut self.osd_xinfo)[i] = OsdXInfo::default();
        self.set_primary_affinity(i, AFFINITY_MAX);
        for addrs in [
            &mut self.client_addrs,
            &mut self.cluster_addrs,
            &mut self.hb_back_addrs,
            &mut self.hb_front_addrs,
        ] {
            Arc::make_mut(addrs)[i] = AddrVec::default();
        }
        Arc::make_mut(&mut self.osd_state)[i] = 0;
    }

    fn apply_history(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        for (osd, epoch) in &inc.new_up_thru {
            let i = self.slot(*osd)?;
            Arc::make_mut(&mut self.osd_info)[i].up_thru = *epoch;
        }
        for (osd, (begin, end)) in &inc.new_last_clean_interval {
            let i = self.slot(*osd)?;
            let info = &mut Arc::make_mut(&mut self.osd_info)[i];
            (info.last_clean_begin, info.last_clean_end) = (*begin, *end);
        }
        for (osd, epoch) in &inc.new_lost {
            let i = self.slot(*osd)?;
            Arc::make_mut(&mut self.osd_info)[i].lost_at = *epoch;
        }
        for (osd, x) in &inc.new_xinfo {
            let i = self.slot(*osd)?;
            Arc::make_mut(&mut self.osd_xinfo)[i] = *x;
        }
        for (osd, uuid) in &inc.new_uuid {
            let i = self.slot(*osd)?;
            Arc::make_mut(&mut self.osd_uuid)[i] = *uuid;
        }
        Ok(())
    }

    fn apply_placement(&mut self, inc: &OsdMapIncremental) {
        if !inc.new_pg_temp.is_empty() {
            let temp = Arc::make_mut(&mut self.pg_temp);
            for (pg, osds) in &inc.new_pg_temp {
                if osds.is_empty() {
                    temp.remove(pg);
                } else {
                    temp.insert(*pg, osds.clone());
                }
            }
        }
        if !inc.new_primary_temp.is_empty() {
            let temp = Arc::make_mut(&mut self.primary_temp);
            for (pg, osd) in &inc.new_primary_temp {
                if osd.0 == -1 {
                    temp.remove(pg);
                } else {
                    temp.insert(*pg, *osd);
                }
            }
        }
        if !inc.new_pg_upmap.is_empty() || !inc.old_pg_upmap.is_empty() {
            let upmap = Arc::make_mut(&mut self.pg_upmap);
            upmap.extend(inc.new_pg_upmap.iter().map(|(pg, osds)| (*pg, osds.clone())));
            upmap.retain(|pg, _| !inc.old_pg_upmap.contains(pg));
        }
        if !inc.new_pg_upmap_items.is_empty() || !inc.old_pg_upmap_items.is_empty() {
            let items = Arc::make_mut(&mut self.pg_upmap_items);
            items.extend(inc.new_pg_upmap_items.iter().map(|(pg, pairs)| (*pg, pairs.clone())));
            items.retain(|pg, _| !inc.old_pg_upmap_items.contains(pg));
        }
    }

    fn apply_blocklists(&mut self, inc: &OsdMapIncremental) {
        let step = |list: &mut Arc<Blocklist>, new: &Blocklist, old: &[EntityAddr]| {
            if new.is_empty() && old.is_empty() {
                return;
            }
            let list = Arc::make_mut(list);
            for (addr, until) in new {
                // An entry that is there keeps its end, as in stock.
                list.entry(*addr).or_insert(*until);
            }
            for addr in old {
                list.remove(addr);
            }
        };
        step(&mut self.blocklist, &inc.new_blocklist, &inc.old_blocklist);
        step(&mut self.range_blocklist, &inc.new_range_blocklist, &inc.old_range_blocklist);
    }

    fn apply_globals(&mut self, inc: &OsdMapIncremental) {
        let flags = |all: &mut Arc<BTreeMap<i32, u32>>, new: &BTreeMap<i32, u32>| {
            for (id, flags) in new {
                let all = Arc::make_mut(all);
                if *flags == 0 {
                    all.remove(id);
                } else {
                    all.insert(*id, *flags);
                }
            }
        };
        flags(&mut self.crush_node_flags, &inc.new_crush_node_flags);
        flags(&mut self.device_class_flags, &inc.new_device_class_flags);
        self.cluster_snapshot = inc.cluster_snapshot.clone();
        self.cluster_snapshot_epoch = if inc.cluster_snapshot.is_empty() { Epoch(0) } else { inc.epoch };
        self.nearfull_ratio = inc.new_nearfull_ratio.unwrap_or(self.nearfull_ratio);
        self.full_ratio = inc.new_full_ratio.unwrap_or(self.full_ratio);
        self.backfillfull_ratio = inc.new_backfillfull_ratio.unwrap_or(self.backfillfull_ratio);
        // Zero is what older encoders wrote for "no change".
        if let Some(r) = inc.new_require_min_compat_client.filter(|r| *r > 0) {
            self.require_min_compat_client = r;
        }
        if let Some(r) = inc.new_require_osd_release {
            self.require_osd_release = r;
            if r >= release::LUMINOUS {
                self.flags &= !flag::LEGACY_REQUIRE;
                self.flags |= flag::RECOVERY_DELETES;
            }
            if r >= release::NAUTILUS {
                self.flags |= flag::PGLOG_HARDLIMIT;
            }
        }
        if let Some(s) = inc.change_stretch_mode {
            self.stretch = s;
        }
    }

    fn apply_crush(&mut self, inc: &OsdMapIncremental) -> Result<(), ApplyError> {
        if inc.crush.is_empty() {
            return Ok(());
        }
        self.crush = Arc::new(denc::from_bytes(&inc.crush)?);
        if self.require_osd_release >= release::LUMINOUS {
            self.crush_version = self.crush_version.wrapping_add(1);
        }
        let known = |class: &i32| self.crush.class_name.contains_key(class);
        if !self.device_class_flags.keys().all(known) {
            let crush = &self.crush;
            Arc::make_mut(&mut self.device_class_flags).retain(|c, _| crush.class_name.contains_key(c));
        }
        Ok(())
    }
}
