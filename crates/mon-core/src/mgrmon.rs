//! The manager's role: the MgrMap with the leading monitor as the active manager and the others as its standbys, and the daemons that
//! report to it.

use crate::counters::{Counters, Known};
use crate::event::SessionId;
use crate::kv::{Batch, Kv};
use crate::table::encoded;
use denc::Decoder;
use std::collections::{BTreeMap, BTreeSet};
use types::mgrmap::{MgrMap, StandbyInfo};
use types::{AddrVec, Epoch, Utime};

const MAP_KEY: &str = "mgr/map";

/// What a daemon says of its options that are not at their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonConfig {
    /// By option: the value of each source (`CONF_*` of stock), the highest in force.
    pub values: BTreeMap<String, BTreeMap<i32, String>>,
    /// Options that it cannot take from the central configuration.
    pub ignored: BTreeMap<String, String>,
}

impl DaemonConfig {
    /// Reads what [`messages::MMgrOpen`] and [`messages::MMgrReport`] carry; nothing when nothing changed, or when it does not decode.
    pub fn read(bytes: &bytes::Bytes) -> Option<DaemonConfig> {
        let mut d = Decoder::new(bytes);
        let values = d.get().ok()?;
        // Our own OSDs of an earlier release say nothing of these.
        let ignored = d.get().unwrap_or_default();
        Some(DaemonConfig { values, ignored })
    }
    /// Stock's word for a source.
    pub fn source(level: i32) -> &'static str {
        const NAMES: [&str; 7] = ["default", "mon", "file", "env", "cmdline", "override", "final"];
        usize::try_from(level).ok().and_then(|i| NAMES.get(i)).copied().unwrap_or("???")
    }
}

/// A daemon that opened a session with the manager.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// `osd.0`, or `rbd-mirror.x` for a service daemon.
    pub name: String,
    /// Metadata it gave.
    pub metadata: BTreeMap<String, String>,
    /// True for a service daemon (`service_daemon_register`).
    pub service: bool,
    /// Status of a service daemon.
    pub status: BTreeMap<String, String>,
    /// Since when.
    pub since: Utime,
    /// Global id.
    pub gid: u64,
    /// Its options, as it told them last.
    pub config: DaemonConfig,
    /// Requests that have been slow for long, as last reported.
    pub slow_ops: u64,
    /// Seconds that the oldest of them has been waiting.
    pub oldest_slow_secs: u64,
    /// It tells of slow requests.
    pub tells_slow_ops: bool,
    /// What it counts, but for MDS daemons ([`crate::mdsmon::MdsMon`] has theirs).
    pub counters: Counters,
}

/// The service.
#[derive(Clone, Debug, Default)]
pub struct MgrMon {
    /// Committed map.
    pub map: MgrMap,
    pending: Option<MgrMap>,
    /// Sessions on the manager's listener that introduced themselves.
    pub daemons: BTreeMap<SessionId, Daemon>,
    /// Counters that daemons have declared.
    pub known: Known,
}

impl MgrMon {
    /// From the store.
    pub fn load(kv: &Kv) -> MgrMon {
        let map = kv.get(MAP_KEY).and_then(|b| Decoder::new(b).get().ok()).unwrap_or_default();
        MgrMon { map, pending: None, daemons: BTreeMap::new(), known: Known::default() }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.pending.is_some()
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        if let Some(m) = self.pending.take() {
            batch.put(MAP_KEY, encoded(&m));
        }
    }
    /// Takes over a committed batch; true when the map changed.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        let Some(Some(b)) = batch.changes.get(MAP_KEY) else { return false };
        if let Ok(m) = Decoder::new(b).get() {
            self.map = m;
        }
        true
    }
    /// Makes the monitor `name` the active manager at `addrs`, and the others that are in the quorum its standbys. `new_gid` gives
    /// ids; without one left nothing changes, and the next tick tries again.
    pub fn activate(
        &mut self,
        name: &str,
        addrs: &AddrVec,
        standbys: &[String],
        now: Utime,
        mut new_gid: impl FnMut() -> Option<u64>,
    ) {
        let m = self.pending.as_ref().unwrap_or(&self.map);
        let active = m.available && m.active_addrs == *addrs && m.active_name == name;
        let there: BTreeSet<&str> = m.standbys.values().map(|s| s.name.as_str()).collect();
        let same = there.len() == standbys.len() && standbys.iter().all(|n| there.contains(n.as_str()));
        if active && same {
            return;
        }
        let mut next = MgrMap { epoch: Epoch(self.map.epoch.0 + 1), ..m.clone() };
        let old: BTreeMap<String, u64> = m.standbys.iter().map(|(gid, s)| (s.name.clone(), *gid)).collect();
        if !active {
            let Some(gid) = old.get(name).copied().or_else(&mut new_gid) else { return };
            next.active_gid = gid;
            next.active_addrs = addrs.clone();
            next.available = true;
            next.active_name = name.to_owned();
            next.active_change = now;
            next.active_mgr_features = types::features::SUPPORTED;
        }
        next.standbys.clear();
        for n in standbys {
            let Some(gid) = old.get(n).copied().or_else(&mut new_gid) else { return };
            let info = StandbyInfo {
                gid,
                name: n.clone(),
                mgr_features: types::features::SUPPORTED,
                ..StandbyInfo::default()
            };
            next.standbys.insert(gid, info);
        }
        self.pending = Some(next);
    }
    /// A session ended.
    pub fn closed(&mut self, id: SessionId) {
        self.daemons.remove(&id);
    }
}
