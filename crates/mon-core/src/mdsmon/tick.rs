//! What time does to the FSMap: silent daemons are replaced, ranks without a daemon get one, file systems grow and shrink.

use super::roles::{available_standby, follow, human, promote, replacement_for};
use crate::core::MonCore;
use crate::event::{LogLevel, MonEffect};
use std::time::Duration;
use types::fsmap::FSCID_NONE;
use types::logentry::LogPrio;
use types::mdsmap::{flag, state};

/// So long without a tick is never normal.
const TICK_MISSED: Duration = Duration::from_secs(3);

impl MonCore {
    pub(crate) fn mds_tick(&mut self) {
        self.mds_first_standbys();
        if self.mds.counters.len() > self.mds.map.mds_roles.len() {
            let sessions = &self.sessions;
            let open = |gid: &u64| sessions.values().any(|s| s.peer.global_id == *gid);
            self.mds.counters.retain(|gid, _| open(gid));
        }
        let all: Vec<i32> = self.mds.peek().filesystems.keys().copied().collect();
        for fscid in &all {
            self.mds_resize(*fscid);
        }
        self.silent_mds();
        self.mds_fill_all();
        for fscid in &all {
            self.mds_affinity(*fscid);
        }
    }

    /// Failed ranks of every file system get a daemon, while there is one.
    pub(crate) fn mds_fill_all(&mut self) {
        let all: Vec<i32> = self.mds.peek().filesystems.keys().copied().collect();
        all.into_iter().for_each(|fscid| self.mds_fill(fscid));
    }

    /// The first standby that a serving file system sees makes it want one from then on.
    fn mds_first_standbys(&mut self) {
        let waiting = self.mds.peek().standby_daemons.len();
        let due: Vec<i32> = self
            .mds
            .peek()
            .filesystems
            .iter()
            .filter(|(_, f)| {
                let m = &f.mds_map;
                m.standby_count_wanted == -1
                    && m.num_in_state(state::ACTIVE) > 0
                    && m.num_in_state(state::STANDBY_REPLAY) + waiting > 0
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some(f) = self.mds.next().filesystems.get_mut(&id) {
                f.mds_map.standby_count_wanted = 1;
            }
        }
    }

    /// Ranks are added up to `max_mds`, one at a time; surplus ones stop, the last first.
    fn mds_resize(&mut self, fscid: i32) {
        let next = self.mds.peek();
        let Some(f) = next.filesystems.get(&fscid) else { return };
        let m = &f.mds_map;
        let committed = self.mds.map.filesystems.get(&fscid).is_some_and(|f| f.mds_map.is_resizeable());
        if !m.is_resizeable() || !committed {
            return;
        }
        let (have, want) = (m.in_ranks.len() as i32, m.max_mds);
        let name = m.fs_name.clone();
        if have < want && !m.has_flag(flag::NOT_JOINABLE) {
            let rank = (0..).find(|r| !m.in_ranks.contains(r)).unwrap_or(0);
            let Some(gid) = replacement_for(next, fscid, rank) else { return };
            let who = next.info(gid).map(human).unwrap_or_default();
            let text =
                format!("{who} assigned to filesystem {name} as rank {rank} (now has {} ranks)", have + 1);
            self.clog("cluster", LogPrio::INFO, text);
            promote(self.mds.next(), gid, fscid, rank);
        } else if have > want {
            let Some(i) = m.info_of_rank(have - 1).filter(|i| i.state == state::ACTIVE) else { return };
            let (gid, who) = (i.global_id, human(i));
            self.clog("cluster", LogPrio::INFO, format!("stopping {who}"));
            if let Some(i) = self.mds.next().info_mut(gid) {
                i.state = state::STOPPING;
            }
        }
    }

    /// Daemons without a beacon for `mds_beacon_grace` are laggy; who can be replaced is.
    fn silent_mds(&mut self) {
        let grace = self.cfg.secs("mds_beacon_grace").max(Duration::from_secs(1));
        let interval = self.cfg.secs("mds_beacon_interval");
        let slept = self.now.since(self.mds.last_tick);
        self.mds.last_tick = self.now;
        if slept > grace.saturating_sub(interval).max(TICK_MISSED) {
            // It was this monitor that was away: nobody's silence counts.
            let line = format!("resetting beacon timeouts after a delay of {:.1} s", slept.as_secs_f64());
            self.effects.push(MonEffect::Log(LogLevel::Info, line));
            self.mds.beacons.values_mut().for_each(|t| *t = self.now);
            return;
        }
        let silent: Vec<u64> = self
            .mds
            .beacons
            .iter()
            .filter(|(_, at)| self.now.since(**at) >= grace)
            .map(|(gid, _)| *gid)
            .collect();
        for gid in silent {
            if self.mds.peek().info(gid).is_none() {
                self.mds.beacons.remove(&gid);
                continue;
            }
            self.silent_daemon(gid);
        }
    }

    fn silent_daemon(&mut self, gid: u64) {
        let Some(info) = self.mds.peek().info(gid).cloned() else { return };
        if !info.is_laggy() {
            let line = format!("no beacon from mds.{} ({gid}, rank {}): laggy", info.name, info.rank);
            self.effects.push(MonEffect::Log(LogLevel::Error, line));
            let now = self.now;
            if let Some(i) = self.mds.next().info_mut(gid) {
                i.laggy_since = now;
            }
        }
        if info.is_frozen() {
            return;
        }
        if matches!(info.state, state::STANDBY | state::STANDBY_REPLAY) {
            let text = format!("{} is removed because it is dead or otherwise unavailable.", human(&info));
            self.clog("cluster", LogPrio::INFO, text);
            self.fail_mds(gid);
            return;
        }
        let Some(fscid) = self.mds.peek().mds_roles.get(&gid).copied().filter(|f| *f != FSCID_NONE) else {
            return;
        };
        let joinable =
            self.mds.peek().filesystems.get(&fscid).is_some_and(|f| !f.mds_map.has_flag(flag::NOT_JOINABLE));
        let Some(heir) = replacement_for(self.mds.peek(), fscid, info.rank).filter(|_| joinable) else {
            return;
        };
        let who = self.mds.peek().info(heir).map(human).unwrap_or_default();
        let text = format!(
            "{} is not responding, replacing it as rank {} with standby {who}",
            human(&info),
            info.rank
        );
        self.clog("cluster", LogPrio::WARN, text);
        self.fail_mds(gid);
        promote(self.mds.next(), heir, fscid, info.rank);
    }

    /// Failed ranks get a daemon; where nothing failed, ranks get followers if they may have them.
    fn mds_fill(&mut self, fscid: i32) {
        let Some(f) = self.mds.peek().filesystems.get(&fscid) else { return };
        if f.mds_map.has_flag(flag::NOT_JOINABLE) {
            return;
        }
        let (failed, name) = (f.mds_map.failed.clone(), f.mds_map.fs_name.clone());
        for rank in failed {
            let Some(gid) = replacement_for(self.mds.peek(), fscid, rank) else { break };
            let who = self.mds.peek().info(gid).map(human).unwrap_or_default();
            let text = format!("Standby {who} assigned to filesystem {name} as rank {rank}");
            self.clog("cluster", LogPrio::INFO, text);
            promote(self.mds.next(), gid, fscid, rank);
        }
        loop {
            let Some(f) = self.mds.peek().filesystems.get(&fscid) else { return };
            let m = &f.mds_map;
            if !m.has_flag(flag::ALLOW_STANDBY_REPLAY) || !m.is_resizeable() {
                return;
            }
            let followed =
                |r: &i32| m.mds_info.values().any(|i| i.rank == *r && i.state == state::STANDBY_REPLAY);
            let free = m
                .in_ranks
                .iter()
                .find(|r| !followed(r) && m.info_of_rank(**r).is_some_and(|i| i.state == state::ACTIVE));
            let (Some(rank), Some(gid)) = (free.copied(), available_standby(self.mds.peek(), fscid)) else {
                return;
            };
            follow(self.mds.next(), gid, fscid, rank);
        }
    }

    /// Where a waiting daemon prefers this file system, an active one that does not makes room.
    fn mds_affinity(&mut self, fscid: i32) {
        let next = self.mds.peek();
        let Some(f) = next.filesystems.get(&fscid) else { return };
        let m = &f.mds_map;
        let eager =
            next.standby_daemons.values().find(|i| i.join_fscid == fscid && !i.is_laggy() && !i.is_frozen());
        let (Some(eager), true) = (eager, m.is_resizeable() && !m.has_flag(flag::NOT_JOINABLE)) else {
            return;
        };
        let other =
            m.mds_info.values().find(|i| i.state == state::ACTIVE && i.join_fscid != fscid && !i.is_frozen());
        let Some(other) = other.cloned() else { return };
        let heir = eager.global_id;
        let text =
            format!("Dropping low affinity active {} in favor of higher affinity standby.", human(&other));
        self.clog("cluster", LogPrio::INFO, text);
        self.fail_mds(other.global_id);
        promote(self.mds.next(), heir, fscid, other.rank);
    }
}
