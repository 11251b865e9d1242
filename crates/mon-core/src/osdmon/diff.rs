//! From the map as it is and the map as it shall be to the incremental between them.

use denc::Features;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::osdmap::{OsdMap, OsdMapIncremental, state};
use types::{AddrVec, Epoch, OsdId, Utime};

fn changed<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> BTreeMap<K, V> {
    new.iter().filter(|(k, v)| old.get(k) != Some(v)).map(|(k, v)| (k.clone(), v.clone())).collect()
}
fn removed<K: Ord + Clone, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Vec<K> {
    old.keys().filter(|k| !new.contains_key(k)).cloned().collect()
}

/// Flags are taken away by setting none.
fn flags(old: &BTreeMap<i32, u32>, new: &BTreeMap<i32, u32>) -> BTreeMap<i32, u32> {
    let mut all = changed(old, new);
    all.extend(removed(old, new).into_iter().map(|k| (k, 0)));
    all
}

/// The changes that lead from `old` to `new`; `None` when there are none. `new` must be `old` with changes, of the same epoch.
pub fn diff(old: &OsdMap, new: &OsdMap, now: Utime, features: Features) -> Option<OsdMapIncremental> {
    let base = OsdMapIncremental::after(old, now);
    let mut inc = base.clone();
    if old.pool_max != new.pool_max {
        inc.new_pool_max = Some(new.pool_max.into());
    }
    if old.flags != new.flags {
        inc.new_flags = Some(new.flags);
    }
    if old.max_osd != new.max_osd {
        inc.new_max_osd = Some(new.max_osd);
    }
    if !Arc::ptr_eq(&old.pools, &new.pools) {
        for (id, p) in new.pools.iter() {
            if old.pools.get(id) != Some(p) {
                inc.new_pools.insert(*id, (**p).clone());
            }
        }
        inc.old_pools = removed(&old.pools, &new.pools).into_iter().collect();
    }
    if !Arc::ptr_eq(&old.pool_names, &new.pool_names) {
        inc.new_pool_names = changed(&old.pool_names, &new.pool_names);
    }
    osds(old, new, &mut inc);
    if !Arc::ptr_eq(&old.pg_temp, &new.pg_temp) {
        inc.new_pg_temp = changed(&old.pg_temp, &new.pg_temp);
        inc.new_pg_temp.extend(removed(&old.pg_temp, &new.pg_temp).into_iter().map(|pg| (pg, Vec::new())));
    }
    if !Arc::ptr_eq(&old.primary_temp, &new.primary_temp) {
        inc.new_primary_temp = changed(&old.primary_temp, &new.primary_temp);
        inc.new_primary_temp
            .extend(removed(&old.primary_temp, &new.primary_temp).into_iter().map(|pg| (pg, OsdId(-1))));
    }
    if !Arc::ptr_eq(&old.erasure_code_profiles, &new.erasure_code_profiles) {
        inc.new_erasure_code_profiles = changed(&old.erasure_code_profiles, &new.erasure_code_profiles);
        inc.old_erasure_code_profiles = removed(&old.erasure_code_profiles, &new.erasure_code_profiles);
    }
    if !Arc::ptr_eq(&old.pg_upmap, &new.pg_upmap) {
        inc.new_pg_upmap = changed(&old.pg_upmap, &new.pg_upmap);
        inc.old_pg_upmap = removed(&old.pg_upmap, &new.pg_upmap).into_iter().collect();
    }
    if !Arc::ptr_eq(&old.pg_upmap_items, &new.pg_upmap_items) {
        inc.new_pg_upmap_items = changed(&old.pg_upmap_items, &new.pg_upmap_items);
        inc.old_pg_upmap_items = removed(&old.pg_upmap_items, &new.pg_upmap_items).into_iter().collect();
    }
    if !Arc::ptr_eq(&old.blocklist, &new.blocklist) {
        inc.new_blocklist = changed(&old.blocklist, &new.blocklist);
        inc.old_blocklist = removed(&old.blocklist, &new.blocklist);
    }
    if !Arc::ptr_eq(&old.range_blocklist, &new.range_blocklist) {
        inc.new_range_blocklist = changed(&old.range_blocklist, &new.range_blocklist);
        inc.old_range_blocklist = removed(&old.range_blocklist, &new.range_blocklist);
    }
    if !Arc::ptr_eq(&old.crush, &new.crush) && old.crush != new.crush {
        inc.crush = denc::to_bytes(&*new.crush, features);
    }
    if !Arc::ptr_eq(&old.crush_node_flags, &new.crush_node_flags) {
        inc.new_crush_node_flags = flags(&old.crush_node_flags, &new.crush_node_flags);
    }
    if !Arc::ptr_eq(&old.device_class_flags, &new.device_class_flags) {
        inc.new_device_class_flags = flags(&old.device_class_flags, &new.device_class_flags);
    }
    // These two hold what this one epoch removed and purged, so `new` starts with none.
    inc.new_removed_snaps = (*new.new_removed_snaps).clone();
    inc.new_purged_snaps = (*new.new_purged_snaps).clone();
    let ratio = |a: f32, b: f32| (a != b).then_some(b);
    inc.new_nearfull_ratio = ratio(old.nearfull_ratio, new.nearfull_ratio);
    inc.new_full_ratio = ratio(old.full_ratio, new.full_ratio);
    inc.new_backfillfull_ratio = ratio(old.backfillfull_ratio, new.backfillfull_ratio);
    if old.require_min_compat_client != new.require_min_compat_client {
        inc.new_require_min_compat_client = Some(new.require_min_compat_client);
    }
    if old.require_osd_release != new.require_osd_release {
        inc.new_require_osd_release = Some(new.require_osd_release);
    }
    if inc == base {
        return None;
    }
    let moved = |bit: u32| inc.new_state.values().any(|s| *s & bit != 0 || (*s == 0 && bit == state::UP));
    if !inc.new_up_client.is_empty() || moved(state::UP) {
        inc.new_last_up_change = now;
    }
    if inc.new_weight.iter().any(|(o, w)| (*w == 0) != (old.weight_of(*o) == 0)) {
        inc.new_last_in_change = now;
    }
    Some(inc)
}

fn at<T: Clone + Default>(v: &[T], i: usize) -> T {
    v.get(i).cloned().unwrap_or_default()
}

fn osds(old: &OsdMap, new: &OsdMap, inc: &mut OsdMapIncremental) {
    for i in 0..old.max_osd.max(new.max_osd).max(0) as usize {
        let osd = OsdId(i as i32);
        let (was, is) = (at(&old.osd_state, i), at(&new.osd_state, i));
        let boots = is & state::UP != 0 && was & state::UP == 0;
        if boots {
            let a = |v: &[AddrVec]| at(v, i);
            inc.new_up_client.insert(osd, a(&new.client_addrs));
            inc.new_up_cluster.insert(osd, a(&new.cluster_addrs));
            inc.new_hb_back_up.insert(osd, a(&new.hb_back_addrs));
            inc.new_hb_front_up.insert(osd, a(&new.hb_front_addrs));
        }
        let (wa, wi) = (at(&old.osd_weight, i), at(&new.osd_weight, i));
        let mut before = was;
        if wa != wi {
            inc.new_weight.insert(osd, wi);
            if wi != 0 {
                // Weights are applied first, and a weight clears these two and brings an OSD into being.
                before = (before & !(state::NEW | state::AUTOOUT)) | state::EXISTS;
            }
        }
        let mut flip = before ^ is;
        if boots {
            // Going up sets both by itself.
            flip &= !state::UP;
            if is & state::EXISTS != 0 {
                flip &= !state::EXISTS;
            }
        }
        if flip != 0 {
            inc.new_state.insert(osd, flip);
        }
        if old.primary_affinity(osd) != new.primary_affinity(osd) {
            inc.new_primary_affinity.insert(osd, new.primary_affinity(osd));
        }
        if is & state::EXISTS == 0 {
            continue;
        }
        let (a, b) = (at(&old.osd_info, i), at(&new.osd_info, i));
        if a.up_thru != b.up_thru && b.up_thru != Epoch(0) {
            inc.new_up_thru.insert(osd, b.up_thru);
        }
        if (a.last_clean_begin, a.last_clean_end) != (b.last_clean_begin, b.last_clean_end) {
            inc.new_last_clean_interval.insert(osd, (b.last_clean_begin, b.last_clean_end));
        }
        if a.lost_at != b.lost_at {
            inc.new_lost.insert(osd, b.lost_at);
        }
        let (a, b) = (at(&old.osd_xinfo, i), at(&new.osd_xinfo, i));
        if a != b {
            inc.new_xinfo.insert(osd, b);
        }
        let (a, b) = (at(&old.osd_uuid, i), at(&new.osd_uuid, i));
        if a != b {
            inc.new_uuid.insert(osd, b);
        }
    }
}
