//! Beacons: a daemon says that it lives and which state it wants; the answer carries the epoch that it must have.

use super::roles::{damaged, erase, human, insert, role, stop, transition_valid};
use crate::core::{MonCore, bytes_of, says_too_much};
use crate::event::{LogLevel, MonEffect, SessionId};
use messages::{MMdsBeacon, MMdsLoadTargets, MMdsMap, Message, PaxosHeader};
use std::collections::BTreeSet;
use types::Epoch;
use types::fsmap::FSCID_NONE;
use types::logentry::LogPrio;
use types::mdsmap::{MdsInfo, state};

/// Daemons that are known at once; more are not taken in.
const DAEMONS_MAX: usize = 4096;
/// Longest name of a daemon.
const NAME_MAX: usize = 256;
/// Complaints of one daemon that are kept, and their bytes.
const METRICS_MAX: usize = 1000;
const HEALTH_MAX: usize = 256 << 10;
/// Bytes of what a daemon knows of the on-disk format; they are in every map that it is in.
const COMPAT_MAX: usize = 16 << 10;

impl MonCore {
    fn mds_log(&mut self, level: LogLevel, line: String) {
        self.effects.push(MonEffect::Log(level, line));
    }

    /// Answers a beacon with `epoch`, which is committed by then.
    fn beacon_reply(&mut self, id: SessionId, b: &MMdsBeacon, epoch: Epoch) {
        let Some(s) = self.sessions.get(&id) else { return };
        let r = MMdsBeacon {
            paxos: PaxosHeader::new(epoch.0.into()),
            fsid: b.fsid,
            global_id: b.global_id,
            state: b.state,
            seq: b.seq,
            name: b.name.clone(),
            mds_features: types::features::SUPPORTED,
            ..MMdsBeacon::default()
        };
        let msg = Message::new(&r, s.features());
        self.send_after_commit(id, msg);
    }

    /// Tells a daemon that it is in no map: it starts anew, or ends.
    fn send_null_mdsmap(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let map = self.mds.null_map(None);
        let m = MMdsMap {
            fsid: self.fsid(),
            epoch: map.epoch,
            encoded: map.to_bytes(f),
            map_fs_name: map.fs_name.clone(),
        };
        let msg = Message::new(&m, f);
        self.send_after_commit(id, msg);
    }

    /// The handler of `mds_beacon`. Beacons wait while a proposal is in flight, so what is decided here is decided on the newest map.
    pub(crate) fn mds_beacon(&mut self, id: SessionId, b: MMdsBeacon) {
        if b.fsid != self.fsid() || !self.beacon_allowed(id, &b) {
            return;
        }
        let gid = b.global_id;
        let Some(info) = self.mds.peek().info(gid).cloned() else {
            if b.state == state::BOOT {
                return self.mds_boot(id, b);
            }
            self.mds_log(
                LogLevel::Info,
                format!("mds.{} ({gid}) wants {} but is not in the fsmap", b.name, state::name(b.state)),
            );
            return self.send_null_mdsmap(id);
        };
        if info.state_seq > b.seq || b.state == state::BOOT {
            // Older than what is known, or booted already: stock does not answer.
            return;
        }
        let seen = Epoch(u32::try_from(b.paxos.version).unwrap_or(u32::MAX));
        let effective = self.mds.effective_epoch(gid);
        self.note_beacon(gid);
        // A daemon that has not seen its newest map may want what that made impossible.
        if seen != effective {
            return self.beacon_reply(id, &b, effective);
        }
        let waits = matches!(info.state, state::STANDBY | state::STANDBY_REPLAY);
        if info.state != b.state {
            let impossible = (waits && b.state != state::DAMAGED && b.state != state::DNE)
                || (info.state == state::STANDBY && b.state == state::DAMAGED)
                || (matches!(b.state, state::STANDBY | state::STANDBY_REPLAY) && info.rank >= 0);
            if impossible {
                return self.beacon_reply(id, &b, effective);
            }
        }
        self.mds_update(id, b, info);
    }

    fn beacon_allowed(&mut self, id: SessionId, b: &MMdsBeacon) -> bool {
        let Some(s) = self.sessions.get(&id) else { return false };
        // A daemon speaks of itself only: its name and its global id are those that its login proved.
        let own =
            s.peer.entity.strip_prefix("mds.") == Some(b.name.as_str()) && s.peer.global_id == b.global_id;
        let small = b.name.len() <= NAME_MAX
            && b.health.metrics.len() <= METRICS_MAX
            && !says_too_much(&b.sys_info)
            && b.health.metrics.iter().map(|m| m.message.len() + bytes_of(&m.metadata)).sum::<usize>()
                <= HEALTH_MAX
            && denc::to_bytes(&b.compat, denc::Features::ALL).len() <= COMPAT_MAX;
        if !own || !small {
            let line =
                format!("ignoring a beacon of mds.{} ({}) from {}", b.name, b.global_id, s.peer.entity);
            self.mds_log(LogLevel::Error, line);
        }
        own && small
    }

    fn note_beacon(&mut self, gid: u64) {
        self.mds.beacons.insert(gid, self.now);
    }

    fn mds_boot(&mut self, id: SessionId, b: MMdsBeacon) {
        let Some(s) = self.sessions.get(&id) else { return };
        let addrs = s.peer.addrs.clone();
        if addrs.0.iter().all(|a| a.sock.is_none_or(|s| s.port() == 0)) {
            let line = format!("ignoring the boot of mds.{}: its address {addrs} has no port", b.name);
            return self.mds_log(LogLevel::Error, line);
        }
        if self.mds.peek().mds_roles.len() >= DAEMONS_MAX {
            let line = format!("ignoring the boot of mds.{}: there are {DAEMONS_MAX} daemons", b.name);
            return self.mds_log(LogLevel::Error, line);
        }
        // An earlier process of that name is dead.
        let earlier: Vec<MdsInfo> = self.mds.peek().daemons().filter(|i| i.name == b.name).cloned().collect();
        for i in earlier {
            self.clog("cluster", LogPrio::INFO, format!("{} restarted", human(&i)));
            self.fail_mds(i.global_id);
        }
        let join_fscid = self.join_fscid(&b);
        let info = MdsInfo {
            global_id: b.global_id,
            name: b.name.clone(),
            state_seq: b.seq,
            addrs,
            mds_features: b.mds_features,
            compat: b.compat.clone(),
            join_fscid,
            ..MdsInfo::default()
        };
        insert(self.mds.next(), info);
        self.note_beacon(b.global_id);
        self.mds.metadata.set(b.global_id.to_string(), b.sys_info.clone());
        self.mds.health.set(b.global_id.to_string(), b.health.clone());
        let epoch = self.mds.peek().epoch;
        self.beacon_reply(id, &b, epoch);
    }

    fn join_fscid(&self, b: &MMdsBeacon) -> i32 {
        self.mds.peek().fs_by_name(&b.fs).map_or(FSCID_NONE, |f| f.fscid)
    }

    fn mds_update(&mut self, id: SessionId, b: MMdsBeacon, info: MdsInfo) {
        let gid = b.global_id;
        self.mds_health(&b, &info);
        if b.compat != info.compat {
            self.clog("cluster", LogPrio::WARN, format!("{} compat changed unexpectedly", human(&info)));
            self.fail_mds(gid);
            return self.send_null_mdsmap(id);
        }
        let fscid = self.mds.peek().mds_roles.get(&gid).copied().unwrap_or(FSCID_NONE);
        let fs_name =
            self.mds.peek().filesystems.get(&fscid).map_or(String::new(), |f| f.mds_map.fs_name.clone());
        match b.state {
            state::STOPPED => {
                let left = self
                    .mds
                    .peek()
                    .filesystems
                    .get(&fscid)
                    .map_or(0, |f| f.mds_map.in_ranks.len().saturating_sub(1));
                let text = format!(
                    "{} finished stopping rank {} in filesystem {fs_name} (now has {left} ranks)",
                    human(&info),
                    info.rank
                );
                self.clog("cluster", LogPrio::INFO, text);
                stop(self.mds.next(), gid);
                return self.send_null_mdsmap(id);
            }
            state::DAMAGED if role(self.mds.peek(), gid).is_some() && info.state != state::STANDBY_REPLAY => {
                let line =
                    format!("{} reports that rank {} of {fs_name} is damaged", human(&info), info.rank);
                self.mds_log(LogLevel::Error, line);
                let epoch = self.blocklist_mds(&info);
                damaged(self.mds.next(), gid, epoch);
                return self.beacon_reply(id, &b, self.mds.map.epoch);
            }
            state::DAMAGED | state::DNE => {
                self.fail_mds(gid);
                return self.beacon_reply(id, &b, self.mds.map.epoch);
            }
            wanted if wanted != info.state && !transition_valid(info.state, wanted) => {
                let line = format!(
                    "{} (rank {}) reported an invalid state transition {} -> {}",
                    human(&info),
                    info.rank,
                    state::name(info.state),
                    state::name(wanted)
                );
                return self.mds_log(LogLevel::Error, line);
            }
            _ => {}
        }
        let join = self.join_fscid(&b);
        if info.is_laggy() || info.state != b.state || info.join_fscid != join {
            if info.state != state::ACTIVE && b.state == state::ACTIVE {
                let text =
                    format!("{} is now active in filesystem {fs_name} as rank {}", human(&info), info.rank);
                self.clog("cluster", LogPrio::INFO, text);
            }
            if let Some(i) = self.mds.next().info_mut(gid) {
                i.laggy_since = types::Utime::ZERO;
                i.join_fscid = join;
                if i.state != b.state {
                    i.state = b.state;
                    i.state_seq = b.seq;
                }
            }
            let epoch = self.mds.peek().epoch;
            return self.beacon_reply(id, &b, epoch);
        }
        let effective = self.mds.effective_epoch(gid);
        self.beacon_reply(id, &b, effective);
    }

    /// Takes over what a daemon complains about, and logs what is new and what is over.
    fn mds_health(&mut self, b: &MMdsBeacon, info: &MdsInfo) {
        let key = b.global_id.to_string();
        let old = self.mds.health.next(&key).cloned().unwrap_or_default();
        if old == b.health {
            return;
        }
        let (old_kinds, kinds): (BTreeSet<u16>, BTreeSet<u16>) =
            (old.metrics.iter().map(|m| m.kind).collect(), b.health.metrics.iter().map(|m| m.kind).collect());
        for m in b.health.metrics.iter().filter(|m| !old_kinds.contains(&m.kind)) {
            let prio = if m.severity == 0 { LogPrio::ERROR } else { LogPrio::WARN };
            self.clog("cluster", prio, format!("MDS health message (mds.{}): {}", info.rank, m.message));
        }
        for m in old.metrics.iter().filter(|m| !kinds.contains(&m.kind)) {
            let text = format!("MDS health message cleared (mds.{}): {}", info.rank, m.message);
            self.clog("cluster", LogPrio::INFO, text);
        }
        self.mds.health.set(key, b.health.clone());
    }

    /// Keeps a daemon that is thought dead from writing; the OSDMap epoch that says so.
    fn blocklist_mds(&mut self, info: &MdsInfo) -> Epoch {
        let seconds = self.cfg.secs("mon_mds_blocklist_interval");
        // (None that has a rank is without an address.)
        self.blocklist_addrs(std::slice::from_ref(&info.addrs), seconds).unwrap_or(Epoch(0))
    }

    /// A daemon is given up: it is blocklisted if it held a rank, and leaves the map. True when it was there.
    pub(crate) fn fail_mds(&mut self, gid: u64) -> bool {
        let Some(info) = self.mds.peek().info(gid).cloned() else { return false };
        let holds = info.rank >= 0 && info.state != state::STANDBY_REPLAY;
        let epoch = if holds { self.blocklist_mds(&info) } else { Epoch(0) };
        let line = format!("failing mds.{} ({gid}, rank {})", info.name, info.rank);
        self.mds_log(LogLevel::Info, line);
        erase(self.mds.next(), gid, epoch);
        self.mds.beacons.remove(&gid);
        true
    }

    /// The handler of `mds_load_targets`.
    pub(crate) fn mds_load_targets(&mut self, m: MMdsLoadTargets, id: SessionId) {
        let own = self.sessions.get(&id).is_some_and(|s| s.peer.global_id == m.global_id);
        let holds = role(self.mds.peek(), m.global_id).is_some();
        let changed = self.mds.peek().info(m.global_id).is_some_and(|i| i.export_targets != m.targets);
        const RANKS_MAX: usize = 256;
        if own
            && holds
            && changed
            && m.targets.len() <= RANKS_MAX
            && let Some(i) = self.mds.next().info_mut(m.global_id)
        {
            i.export_targets = m.targets;
        }
    }
}
