//! What time does to the OSDMap: down becomes out, silent OSDs become down, blocklist entries end.

use crate::core::MonCore;
use crate::osdmon::lifecycle::{set_state, set_weight};
use std::sync::Arc;
use std::time::Duration;
use types::interval_set::IntervalSet;
use types::logentry::LogPrio;
use types::osdmap::{flag, state};
use types::{EntityAddr, OsdId, PoolId};

impl MonCore {
    pub(crate) fn osd_tick(&mut self) {
        self.check_failures();
        self.silent_osds();
        self.down_to_out();
        self.end_blocklist();
        self.full_flags();
        self.purge_snaps();
    }

    /// An OSD without a beacon for `mon_osd_report_timeout` is down.
    fn silent_osds(&mut self) {
        let limit = self.cfg.secs("mon_osd_report_timeout").max(Duration::from_secs(1));
        let silent: Vec<OsdId> = self
            .osd
            .map
            .osds()
            .filter(|o| self.osd.map.is_up(*o))
            .filter(|o| self.osd.beacons.get(o).is_none_or(|(_, at)| self.now.since(*at) > limit))
            .collect();
        for o in silent {
            match self.osd.beacons.get(&o) {
                None => drop(self.osd.beacons.insert(o, (types::Epoch(0), self.now))),
                Some(_) if self.can_mark_down(o) => {
                    self.mark_down(o, "no beacon");
                }
                Some(_) => {}
            }
        }
    }

    fn down_to_out(&mut self) {
        let interval = self.cfg.secs("mon_osd_down_out_interval");
        if interval.is_zero() || self.osd.map.has_flag(flag::NOOUT) {
            return;
        }
        let ratio = self.cfg.num("mon_osd_min_in_ratio");
        let due: Vec<OsdId> = self
            .osd
            .down_since
            .iter()
            .filter(|(o, since)| {
                let m = &self.osd.map;
                m.exists(**o)
                    && m.is_down(**o)
                    && m.is_in(**o)
                    && super::flags_of(m, **o) & state::NOOUT == 0
                    && self.now.since(**since) >= interval
            })
            .map(|(o, _)| *o)
            .collect();
        for o in due {
            let m = self.osd.peek();
            let left = (m.num_in() as f64 - 1.0) / (m.num_osds() as f64).max(1.0);
            // The last OSDs of a host that is down as a whole stay in when it is as large as `mon_osd_down_out_subtree_limit`.
            if left < ratio {
                continue;
            }
            let old = m.weight_of(o);
            let next = self.osd.next();
            set_weight(next, o, 0);
            set_state(next, o, state::AUTOOUT, true);
            Arc::make_mut(&mut next.osd_xinfo)[o.0 as usize].old_weight = old;
            let secs = interval.as_secs();
            self.clog(
                "cluster",
                LogPrio::INFO,
                format!("Marking osd.{o} out (has been down for {secs} seconds)"),
            );
        }
    }

    fn end_blocklist(&mut self) {
        let now = self.now;
        let over: Vec<EntityAddr> =
            self.osd.map.blocklist.iter().filter(|(_, until)| **until < now).map(|(a, _)| *a).collect();
        if over.is_empty() {
            return;
        }
        let list = Arc::make_mut(&mut self.osd.next().blocklist);
        for a in over {
            list.remove(&a);
        }
    }

    /// The map's full and nearfull flags, and pools over their quota.
    fn full_flags(&mut self) {
        let over: Vec<_> = self
            .osd
            .map
            .pools
            .iter()
            .filter_map(|(id, p)| {
                let sum = self.pgmap.pool_sum(*id);
                let over = (p.quota_max_objects > 0 && sum.num_objects as u64 >= p.quota_max_objects)
                    || (p.quota_max_bytes > 0 && sum.num_bytes as u64 >= p.quota_max_bytes);
                (over != p.has_flag(types::pool::flag::FULL_QUOTA)).then_some((*id, over))
            })
            .collect();
        for (id, over) in over {
            let name = self.osd.map.pool_name(id).unwrap_or_default().to_owned();
            if let Some(p) = self.osd.pool_mut(id) {
                let bits = types::pool::flag::FULL_QUOTA | types::pool::flag::FULL;
                if over { p.flags |= bits } else { p.flags &= !bits }
            }
            let text = if over {
                format!("pool '{name}' is full (reached quota's max_bytes or max_objects)")
            } else {
                format!("pool '{name}' no longer out of quota; removing NO_QUOTA flag")
            };
            self.clog("cluster", if over { LogPrio::WARN } else { LogPrio::INFO }, text);
        }
    }

    /// Snapshots that every PG of their pool reports as purged leave the queue.
    fn purge_snaps(&mut self) {
        let mut done: Vec<(PoolId, IntervalSet)> = Vec::new();
        for (pool, queue) in self.osd.map.removed_snaps_queue.iter() {
            let Some(p) = self.osd.map.pool(*pool) else {
                done.push((*pool, queue.clone()));
                continue;
            };
            let mut purged = IntervalSet::new();
            for (start, len) in queue.iter() {
                for snap in start..start.saturating_add(len) {
                    if self.pgmap.purged_everywhere(*pool, p.pg_num, snap) {
                        purged.insert(snap);
                    }
                }
            }
            if !purged.is_empty() {
                done.push((*pool, purged));
            }
        }
        for (pool, purged) in done {
            let key = pool.0.to_string();
            let mut all = self.osd.purged.next(&key).cloned().unwrap_or_default();
            all.union_with(&purged);
            self.osd.purged.set(key, all);
            Arc::make_mut(&mut self.osd.next().new_purged_snaps).insert(pool, purged);
        }
    }
}
