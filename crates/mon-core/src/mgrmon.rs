//! The manager's role: the MgrMap, and the daemons that report to the built-in manager.
//!
//! Built in, the leading monitor is the active manager and the others of the quorum are its standbys. Where the operator wants it
//! otherwise (option `mon_mgr_builtin`), the role belongs to external managers, which announce themselves by beacons
//! ([`crate::mgrbeacon`]); which of both it is now is kept with the map.

use crate::counters::{Counters, Known};
use crate::event::SessionId;
use crate::kv::{Batch, Kv};
use crate::table::{Table, encoded};
use denc::{Decode, Decoder};
use messages::mgr::CommandDesc;
use std::collections::{BTreeMap, BTreeSet};
use types::mgrmap::{MgrMap, StandbyInfo};
use types::{AddrVec, Epoch, Utime};

const MAP_KEY: &str = "mgr/map";
/// True while the role is external managers'.
const EXTERNAL_KEY: &str = "mgr/external";
/// Modules that are turned on, kept while the role is our own.
const MODULES_KEY: &str = "mgr/modules";
/// Commands that the active external manager answers.
const COMMANDS_KEY: &str = "mgr/commands";

fn read<T: Decode>(kv: &Kv, key: &str) -> Option<T> {
    kv.get(key).and_then(|b| Decoder::new(b).get().ok())
}

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
#[derive(Clone, Debug)]
pub struct MgrMon {
    /// Committed map.
    pub map: MgrMap,
    pending: Option<MgrMap>,
    /// The role is external managers' (committed).
    pub external: bool,
    pending_external: Option<bool>,
    modules: Option<BTreeSet<String>>,
    pending_modules: Option<BTreeSet<String>>,
    /// Commands that the active external manager answers (committed).
    pub commands: Vec<CommandDesc>,
    pending_commands: Option<Vec<CommandDesc>>,
    /// What external managers say of themselves, by name.
    pub metadata: Table<BTreeMap<String, String>>,
    /// When each external manager, by global id, was last heard of; the leader's.
    pub beacons: BTreeMap<u64, Utime>,
    /// When beacons were looked at last; the leader's.
    pub last_tick: Utime,
    /// Since when there has been no available manager.
    pub unavailable_since: Option<Utime>,
    /// Managers that were told (in the log) that nobody waits for them.
    pub turned_away: BTreeSet<u64>,
    /// Sessions on the manager's listener that introduced themselves.
    pub daemons: BTreeMap<SessionId, Daemon>,
    /// Counters that daemons have declared.
    pub known: Known,
}

impl MgrMon {
    /// From the store.
    pub fn load(kv: &Kv, now: Utime) -> MgrMon {
        let map: MgrMap = read(kv, MAP_KEY).unwrap_or_default();
        MgrMon {
            unavailable_since: (!map.available).then_some(now),
            map,
            pending: None,
            external: read(kv, EXTERNAL_KEY).unwrap_or(false),
            pending_external: None,
            modules: read(kv, MODULES_KEY),
            pending_modules: None,
            commands: read(kv, COMMANDS_KEY).unwrap_or_default(),
            pending_commands: None,
            metadata: Table::load("mgr/metadata/", kv),
            beacons: BTreeMap::new(),
            last_tick: Utime::ZERO,
            turned_away: BTreeSet::new(),
            daemons: BTreeMap::new(),
            known: Known::default(),
        }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.pending.is_some()
            || self.pending_external.is_some()
            || self.pending_modules.is_some()
            || self.pending_commands.is_some()
            || self.metadata.is_dirty()
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        if let Some(m) = self.pending.take() {
            batch.put(MAP_KEY, encoded(&m));
        }
        if let Some(external) = self.pending_external.take() {
            batch.put(EXTERNAL_KEY, encoded(&external));
        }
        if let Some(m) = self.pending_modules.take() {
            batch.put(MODULES_KEY, encoded(&m));
        }
        if let Some(c) = self.pending_commands.take() {
            batch.put(COMMANDS_KEY, encoded(&c));
        }
        self.metadata.stage(batch);
    }
    /// Takes over a committed batch; true when the map (or what belongs to it) changed.
    pub fn commit(&mut self, batch: &Batch, now: Utime) -> bool {
        fn changed<T: Decode>(batch: &Batch, key: &str) -> Option<T> {
            batch.changes.get(key)?.as_ref().and_then(|b| Decoder::new(b).get().ok())
        }
        self.metadata.commit(batch);
        if let Some(m) = changed(batch, MODULES_KEY) {
            self.modules = Some(m);
        }
        let external = changed(batch, EXTERNAL_KEY);
        let commands = changed(batch, COMMANDS_KEY);
        let map = changed(batch, MAP_KEY);
        let any = external.is_some() || commands.is_some() || map.is_some();
        self.external = external.unwrap_or(self.external);
        self.commands = commands.unwrap_or_else(|| std::mem::take(&mut self.commands));
        self.map = map.unwrap_or_else(|| std::mem::take(&mut self.map));
        match self.map.available {
            true => self.unavailable_since = None,
            false => drop(self.unavailable_since.get_or_insert(now)),
        }
        any
    }
    /// The map as it will be after the next commit.
    pub fn peek(&self) -> &MgrMap {
        self.pending.as_ref().unwrap_or(&self.map)
    }
    /// The same, to be changed.
    pub fn next(&mut self) -> &mut MgrMap {
        let map = &self.map;
        self.pending.get_or_insert_with(|| MgrMap { epoch: map.epoch.next(), ..map.clone() })
    }
    /// Whose the role will be after the next commit.
    pub fn peek_external(&self) -> bool {
        self.pending_external.unwrap_or(self.external)
    }
    /// Stages whose the role is.
    pub fn set_external(&mut self, external: bool) {
        self.pending_external = Some(external);
    }
    /// Modules that are turned on where the role is external managers'; nobody has chosen any yet when `None`.
    pub fn chosen_modules(&self) -> Option<&BTreeSet<String>> {
        self.pending_modules.as_ref().or(self.modules.as_ref())
    }
    /// Stages which modules are turned on, in the map too.
    pub fn choose_modules(&mut self, modules: BTreeSet<String>) {
        self.next().modules = modules.clone();
        self.pending_modules = Some(modules);
    }
    /// Stages the commands that the active external manager answers.
    pub fn set_commands(&mut self, commands: Vec<CommandDesc>) {
        if self.commands != commands {
            self.pending_commands = Some(commands);
        }
    }
    /// Names of all managers in the committed map.
    pub fn names(&self) -> BTreeSet<String> {
        let active = Some(&self.map.active_name).filter(|_| self.map.active_gid != 0);
        active.into_iter().chain(self.map.standbys.values().map(|s| &s.name)).cloned().collect()
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
