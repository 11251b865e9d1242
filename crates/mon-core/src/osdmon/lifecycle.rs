//! What OSDs tell the monitor about themselves: boot, alive, down, full, beacons, temporary mappings, created PGs.

use crate::core::{MonCore, says_too_much};
use crate::event::{LogLevel, MonEffect, SessionId};
use crate::osdmon::failure::Report;
use crate::session::Session;
use messages::osd_mon::failure_flags;
use messages::{
    MOsdAlive, MOsdBeacon, MOsdBoot, MOsdFailure, MOsdFull, MOsdMarkMeDead, MOsdMarkMeDown, MOsdPgCreated,
    MOsdPgTemp, Message,
};
use std::sync::Arc;
use std::time::Duration;
use types::logentry::LogPrio;
use types::osdmap::{OsdMap, flag, state};
use types::{Epoch, OsdId};

/// Largest id that an OSD may boot with (`mon_max_osd`).
const OSD_ID_MAX: i32 = 10_000;

/// Sets a bit of an OSD's state.
pub(crate) fn set_state(m: &mut OsdMap, osd: OsdId, bits: u32, on: bool) {
    if let Some(s) = usize::try_from(osd.0).ok().and_then(|i| Arc::make_mut(&mut m.osd_state).get_mut(i)) {
        if on { *s |= bits } else { *s &= !bits }
    }
}

/// Sets an OSD's weight.
pub(crate) fn set_weight(m: &mut OsdMap, osd: OsdId, weight: u32) {
    if let Some(w) = usize::try_from(osd.0).ok().and_then(|i| Arc::make_mut(&mut m.osd_weight).get_mut(i)) {
        *w = weight;
    }
}

impl MonCore {
    fn sender(&self, id: SessionId) -> Option<(&Session, OsdId)> {
        let s = self.sessions.get(&id)?;
        Some((s, OsdId(s.osd_id()?)))
    }

    /// True when the session is the OSD that the map has as up, at the same addresses.
    fn is_current(&self, id: SessionId, osd: OsdId) -> bool {
        let Some(s) = self.sessions.get(&id) else { return false };
        self.osd.map.is_up(osd) && self.osd.map.addrs(osd) == Some(&s.peer.addrs)
    }

    pub(crate) fn osd_boot(&mut self, id: SessionId, m: MOsdBoot) {
        let Some((s, osd)) = self.sender(id) else { return };
        let (addrs, features) = (s.peer.addrs.clone(), s.peer.features);
        let fsid = self.fsid();
        let map = &self.osd.map;
        if m.superblock.cluster_fsid != fsid || m.superblock.whoami != osd || osd.0 < 0 || osd.0 >= OSD_ID_MAX
        {
            return;
        }
        if says_too_much(&m.metadata) {
            let line = format!("ignoring the boot of osd.{osd}: its metadata is too large");
            return self.effects.push(MonEffect::Log(LogLevel::Error, line));
        }
        let uuid = map.uuid(osd).unwrap_or_default();
        if map.exists(osd) && !uuid.is_zero() && uuid != m.superblock.osd_fsid {
            let text =
                format!("osd.{osd} boots with uuid {}, the map has {uuid}: ignored", m.superblock.osd_fsid);
            return self.clog("cluster", LogPrio::WARN, text);
        }
        if map.is_up(osd)
            && map.addrs(osd) == Some(&addrs)
            && map.info(osd).is_some_and(|i| i.up_from > m.boot_epoch)
        {
            return self.send_osdmaps(id, m.boot_epoch.0 + 1, false);
        }
        if map.has_flag(flag::NOUP) || super::flags_of(map, osd) & state::NOUP != 0 {
            return;
        }
        if map.is_up(osd) {
            // Its former life ends first; the boot is handled again when that is committed.
            self.mark_down(osd, "has booted again");
            let msg = Message::new(&m, types_features(features));
            return self.retry_after_commit(id, msg);
        }
        let epoch = map.epoch;
        let old = map.info(osd).copied().unwrap_or_default();
        let oldstate = map.state_of(osd);
        let new_in = (self.cfg.flag("mon_osd_auto_mark_auto_out_in") && oldstate & state::AUTOOUT != 0)
            || (self.cfg.flag("mon_osd_auto_mark_new_in") && (oldstate & state::NEW != 0 || oldstate == 0))
            || self.cfg.flag("mon_osd_auto_mark_in");
        let noin = map.has_flag(flag::NOIN) || super::flags_of(map, osd) & state::NOIN != 0;
        let next = self.osd.next();
        let i = osd.0 as usize;
        if next.max_osd <= osd.0 {
            next.set_max_osd(osd.0 + 1);
        }
        set_state(next, osd, state::EXISTS | state::UP, true);
        set_state(next, osd, state::DESTROYED | state::STOP, false);
        Arc::make_mut(&mut next.client_addrs)[i] = addrs.clone();
        // A blank address means the one the session comes from, but OSDs send all three.
        Arc::make_mut(&mut next.cluster_addrs)[i] = m.cluster_addrs.clone();
        Arc::make_mut(&mut next.hb_back_addrs)[i] = m.hb_back_addrs.clone();
        Arc::make_mut(&mut next.hb_front_addrs)[i] = m.hb_front_addrs.clone();
        Arc::make_mut(&mut next.osd_uuid)[i] = m.superblock.osd_fsid;
        let info = &mut Arc::make_mut(&mut next.osd_info)[i];
        if m.superblock.newest_map == Epoch(0) && old.up_from > old.lost_at {
            // A fresh store under an id that was used before: what it had is lost.
            info.lost_at = epoch;
        }
        let (mounted, clean) = (m.superblock.mounted, m.superblock.clean_thru);
        if (mounted, clean) > (old.last_clean_begin, old.last_clean_end) {
            (info.last_clean_begin, info.last_clean_end) = (mounted, clean);
        }
        let x = &mut Arc::make_mut(&mut next.osd_xinfo)[i];
        x.features = if m.osd_features != 0 { m.osd_features } else { features };
        let old_weight = x.old_weight;
        x.last_purged_snaps_scrub = m.superblock.last_purged_snaps_scrub;
        if new_in && !noin {
            if next.osd_weight[i] == 0 {
                Arc::make_mut(&mut next.osd_xinfo)[i].old_weight = 0;
                set_weight(next, osd, if old_weight > 0 { old_weight } else { types::osdmap::WEIGHT_IN });
            }
            set_state(next, osd, state::NEW | state::AUTOOUT, false);
        }
        self.osd.metadata.set(osd.0.to_string(), m.metadata.clone());
        self.osd.failures.forget(osd);
        self.osd.down_since.remove(&osd);
        self.osd.beacons.insert(osd, (Epoch(0), self.now));
        self.clog("cluster", LogPrio::INFO, format!("osd.{osd} {addrs} boot"));
        let first = m.superblock.current_epoch.0.max(m.boot_epoch.0) + 1;
        self.maps_after_commit(id, first);
    }

    /// Stages that an OSD is down.
    pub(crate) fn mark_down(&mut self, osd: OsdId, why: &str) {
        if !self.osd.peek().is_up(osd) {
            return;
        }
        set_state(self.osd.next(), osd, state::UP, false);
        self.osd.down_since.insert(osd, self.now);
        self.osd.failures.forget(osd);
        self.osd.beacons.remove(&osd);
        self.clog("cluster", LogPrio::INFO, format!("osd.{osd} marked down: {why}"));
    }

    /// Stages that a process that was up is not only silent but gone: new primaries need not wait for its leases.
    fn mark_dead(&mut self, osd: OsdId) {
        let epoch = self.osd.map.epoch;
        if let Some(x) = Arc::make_mut(&mut self.osd.next().osd_xinfo).get_mut(osd.0 as usize) {
            x.dead_epoch = x.dead_epoch.max(epoch);
        }
    }

    /// `can_mark_down`: the flags allow it, and enough OSDs would be left.
    pub(crate) fn can_mark_down(&self, osd: OsdId) -> bool {
        let m = self.osd.peek();
        if m.has_flag(flag::NODOWN) || super::flags_of(m, osd) & state::NODOWN != 0 {
            return false;
        }
        let up = m.num_up() as f64 - 1.0;
        let total = m.num_osds() as f64;
        total > 0.0 && up / total >= self.cfg.num("mon_osd_min_up_ratio").min(1.0)
    }

    pub(crate) fn osd_alive(&mut self, id: SessionId, m: MOsdAlive) {
        let Some((_, osd)) = self.sender(id) else { return };
        if !self.is_current(id, osd) {
            return self.send_osdmaps(id, m.paxos.version as u32 + 1, false);
        }
        let have = self.osd.map.info(osd).map_or(Epoch(0), |i| i.up_thru);
        if have < m.want {
            let want =
                Epoch(u32::try_from(m.paxos.version).unwrap_or(0).max(m.want.0)).min(self.osd.map.epoch);
            let info = &mut Arc::make_mut(&mut self.osd.next().osd_info)[osd.0 as usize];
            info.up_thru = info.up_thru.max(want);
        }
        self.maps_after_commit(id, m.paxos.version as u32 + 1);
    }

    pub(crate) fn osd_failure(&mut self, id: SessionId, m: MOsdFailure) {
        let Some((_, reporter)) = self.sender(id) else { return };
        let target = m.target_osd;
        if m.fsid != self.fsid() || !self.osd.map.is_up(reporter) || target == reporter {
            return;
        }
        let map = &self.osd.map;
        if !map.is_up(target) || map.addrs(target) != Some(&m.target_addrs) {
            // It is about a former life of the target: the reporter needs newer maps.
            return self.send_osdmaps(id, m.epoch.0 + 1, false);
        }
        if m.flags & failure_flags::FAILED == 0 {
            if self.osd.failures.cancel(target, reporter) {
                self.clog(
                    "cluster",
                    LogPrio::DEBUG,
                    format!("osd.{target} failure report canceled by osd.{reporter}"),
                );
            }
            return;
        }
        let waited = Duration::from_secs(m.failed_for_secs.max(0) as u64);
        let since = types::Utime::from_nanos(self.now.as_nanos().saturating_sub(waited.as_nanos() as u64));
        let immediate = m.flags & failure_flags::IMMEDIATE != 0;
        self.osd.failures.report(target, reporter, Report { since, immediate });
        self.check_failures();
    }

    /// Marks down whoever the claims suffice against.
    pub(crate) fn check_failures(&mut self) {
        let grace = self.cfg.secs("osd_heartbeat_grace").max(Duration::from_secs(1));
        let level = self.cfg.opt("mon_osd_reporter_subtree_level");
        for target in self.osd.failures.targets() {
            // One that is down already is marked by its own record.
            let min = (self.cfg.num("mon_osd_min_down_reporters") as usize).max(1);
            let crush = self.osd.map.crush.clone();
            let subtree = |o: OsdId| {
                crate::crushutil::ancestor_name(&crush, o.0, &level).unwrap_or_else(|| format!("osd.{o}"))
            };
            // With fewer subtrees than reporters are wanted (all OSDs on one host) OSDs count by themselves.
            let hosts: std::collections::BTreeSet<String> =
                self.osd.map.osds().filter(|o| self.osd.map.is_up(*o) && *o != target).map(subtree).collect();
            let alone = hosts.len() < min;
            let of = |o: OsdId| if alone { format!("osd.{o}") } else { subtree(o) };
            if !self.osd.failures.is_failed(target, self.now, grace, min, of) || !self.can_mark_down(target) {
                continue;
            }
            let dead = self.osd.failures.is_immediate(target);
            let n = self.osd.failures.reporters(target);
            let text = format!(
                "osd.{target} failed ({n} reporters from different {level} after {} >= grace {})",
                fmt_secs(grace),
                fmt_secs(grace)
            );
            self.clog("cluster", LogPrio::INFO, text);
            self.mark_down(target, "reported failed");
            if dead {
                self.mark_dead(target);
            }
        }
    }

    pub(crate) fn osd_mark_me_down(&mut self, id: SessionId, m: MOsdMarkMeDown) {
        let Some((s, osd)) = self.sender(id) else { return };
        let features = s.peer.features;
        if m.fsid != self.fsid() || m.target_osd != osd {
            return;
        }
        let blocked =
            self.osd.map.has_flag(flag::NODOWN) || super::flags_of(&self.osd.map, osd) & state::NODOWN != 0;
        if self.osd.map.is_up(osd) && self.osd.map.addrs(osd) == Some(&m.target_addrs) && !blocked {
            self.mark_down(osd, "it said so");
            if m.down_and_dead {
                self.mark_dead(osd);
            }
        }
        if m.request_ack {
            let mut ack = m;
            ack.request_ack = false;
            self.send_after_commit(id, Message::new(&ack, types_features(features)));
        }
    }

    pub(crate) fn osd_mark_me_dead(&mut self, id: SessionId, m: MOsdMarkMeDead) {
        let Some((_, osd)) = self.sender(id) else { return };
        if m.fsid != self.fsid()
            || m.target_osd != osd
            || self.osd.map.is_up(osd)
            || !self.osd.map.exists(osd)
        {
            return;
        }
        let epoch = self.osd.map.epoch;
        let x = &mut Arc::make_mut(&mut self.osd.next().osd_xinfo)[osd.0 as usize];
        // It speaks of a map that it has seen.
        x.dead_epoch = x.dead_epoch.max(m.epoch.min(epoch));
        self.maps_after_commit(id, m.epoch.0 + 1);
    }

    pub(crate) fn osd_full(&mut self, id: SessionId, m: MOsdFull) {
        const BITS: u32 = state::FULL | state::NEARFULL | state::BACKFILLFULL;
        let Some((_, osd)) = self.sender(id) else { return };
        if !self.is_current(id, osd) || self.osd.map.state_of(osd) & BITS == m.state & BITS {
            return;
        }
        let next = self.osd.next();
        set_state(next, osd, BITS, false);
        set_state(next, osd, m.state & BITS, true);
    }

    pub(crate) fn osd_beacon(&mut self, id: SessionId, m: MOsdBeacon) {
        let Some((_, osd)) = self.sender(id) else { return };
        if !self.is_current(id, osd) {
            return self.send_osdmaps(id, m.paxos.version as u32 + 1, false);
        }
        self.osd.beacons.insert(osd, (m.min_last_epoch_clean, self.now));
    }

    pub(crate) fn osd_pgtemp(&mut self, id: SessionId, m: MOsdPgTemp) {
        let Some((_, osd)) = self.sender(id) else { return };
        if !self.is_current(id, osd) || m.pg_temp.len() > 100_000 {
            return self.send_osdmaps(id, m.map_epoch.0 + 1, false);
        }
        let mut any = false;
        for (pg, osds) in &m.pg_temp {
            if !self.osd.map.pg_exists(*pg) {
                continue;
            }
            let real = osds.iter().all(|o| *o == OsdId::NONE || self.osd.peek().is_up(*o));
            let have = self.osd.peek().pg_temp.get(pg);
            // Wishes that name OSDs that are not up are stale; the primary sees the new map and wishes again.
            if !real || have.map(Vec::as_slice) == (!osds.is_empty()).then_some(osds.as_slice()) {
                continue;
            }
            let t = Arc::make_mut(&mut self.osd.next().pg_temp);
            if osds.is_empty() {
                t.remove(pg);
            } else {
                t.insert(*pg, osds.clone());
            }
            any = true;
        }
        if any {
            let epoch = m.map_epoch.min(self.osd.map.epoch);
            let info = &mut Arc::make_mut(&mut self.osd.next().osd_info)[osd.0 as usize];
            info.up_thru = info.up_thru.max(epoch);
        }
        self.maps_after_commit(id, m.map_epoch.0 + 1);
    }

    pub(crate) fn osd_pg_created(&mut self, id: SessionId, m: MOsdPgCreated) {
        let Some((_, osd)) = self.sender(id) else { return };
        if self.osd.map.acting_primary(m.pgid) != Some(osd) {
            return;
        }
        self.osd.creating.remove(&m.pgid.to_string());
    }
}

fn fmt_secs(d: Duration) -> String {
    format!("{:.6}", d.as_secs_f64())
}

pub(crate) fn types_features(bits: u64) -> denc::Features {
    denc::Features(bits)
}
