//! External managers: beacons, which one is active, failover, and how the role goes to them and back to the monitors.
//!
//! Mirrors stock's `MgrMonitor`. Option `mon_mgr_builtin` (true by default) says whose the role is; the leader obeys it on its next tick
//! (so all monitors must be told the same, as the central configuration does). While it is false and no external manager lives, there is none (`MGR_DOWN`), as with stock. A manager that loses the role
//! is blocklisted with the clients that it ran, so that what it still does as their active one reaches no OSD.

use crate::core::{MonCore, says_too_much};
use crate::event::{LogLevel, MonEffect, SessionId};
use crate::health::Severity;
use messages::{MMgrBeacon, MMgrMap, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use types::logentry::LogPrio;
use types::mgrmap::{MgrMap, StandbyInfo};
use types::{AddrType, AddrVec, EntityAddr, Epoch};

/// Managers that wait at most; more are not taken in.
const STANDBYS_MAX: usize = 32;
/// Largest beacon, with all descriptions of commands and options, that is looked at.
pub(crate) const BEACON_MAX: usize = 2 << 20;
/// Longest name of a manager.
const NAME_MAX: usize = 256;
/// Managers that are remembered as turned away.
const TURNED_AWAY_MAX: usize = 1000;

/// Modules that each release of stock's manager always runs: `always_on_modules` as 16.2.15's monitor has them, by release.
fn always_on() -> BTreeMap<u32, BTreeSet<String>> {
    const NAUTILUS: [&str; 8] = [
        "balancer",
        "crash",
        "devicehealth",
        "orchestrator_cli",
        "progress",
        "rbd_support",
        "status",
        "volumes",
    ];
    const OCTOPUS: [&str; 10] = [
        "balancer",
        "crash",
        "devicehealth",
        "orchestrator",
        "pg_autoscaler",
        "progress",
        "rbd_support",
        "status",
        "telemetry",
        "volumes",
    ];
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    BTreeMap::from([(14, set(&NAUTILUS)), (15, set(&OCTOPUS)), (16, set(&OCTOPUS))])
}

impl MonCore {
    /// Gives the role to whom the operator wants to have it, and looks after whoever has it.
    pub(crate) fn mgr_tick(&mut self) {
        let external = !self.cfg.flag("mon_mgr_builtin");
        if external != self.mgr.peek_external() {
            self.switch_manager(external);
        }
        match external {
            true => self.external_mgr_tick(),
            false => self.builtin_mgr_tick(),
        }
    }

    fn switch_manager(&mut self, external: bool) {
        let text = match external {
            true => "The role of the manager goes to external managers (mon_mgr_builtin is false)",
            false => "The role of the manager goes back to the monitors (mon_mgr_builtin is true)",
        };
        self.clog("cluster", LogPrio::INFO, text.to_owned());
        if !external && self.mgr.peek().active_gid != 0 {
            self.drop_active_mgr();
        }
        for (_, s) in std::mem::take(&mut self.mgr.next().standbys) {
            self.mgr.metadata.remove(&s.name);
        }
        let initial = || {
            let names = self.cfg.opt("mgr_initial_modules");
            names.split([' ', ',']).filter(|n| !n.is_empty()).map(str::to_owned).collect()
        };
        let modules = match external {
            true => self.mgr.chosen_modules().cloned().unwrap_or_else(initial),
            false => BTreeSet::new(),
        };
        let now = self.now;
        let m = self.mgr.next();
        *m = MgrMap {
            epoch: m.epoch,
            active_change: now,
            always_on_modules: if external { always_on() } else { BTreeMap::new() },
            last_failure_osd_epoch: m.last_failure_osd_epoch,
            modules: modules.clone(),
            ..MgrMap::default()
        };
        if external {
            self.mgr.choose_modules(modules);
        } else {
            self.mgrstat.forget();
        }
        // (Both managers keep what is over in the key store.)
        crate::commands::load_progress(self);
        self.mgr.set_commands(Vec::new());
        self.mgr.set_external(external);
        self.mgr.beacons.clear();
        self.mgr.turned_away.clear();
    }

    /// True when a session may speak for this manager: a daemon speaks of itself only.
    pub(crate) fn is_manager(&self, id: SessionId, name: Option<&str>, gid: u64) -> bool {
        self.sessions.get(&id).is_some_and(|s| {
            let own = s.peer.entity.strip_prefix("mgr.");
            own.is_some_and(|n| name.is_none_or(|said| said == n)) && s.peer.global_id == gid
        })
    }

    /// Tells a manager that takes itself for the active one that it is not: it starts anew.
    fn send_null_mgrmap(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let map = MgrMap { epoch: Epoch(u32::MAX), ..MgrMap::default() };
        self.send(id, Message::new(&MMgrMap { map }, f));
    }

    /// The handler of `mgrbeacon`. Beacons wait while a proposal is in flight, so what is decided here is decided on the newest map.
    pub(crate) fn mgr_beacon(&mut self, id: SessionId, b: MMgrBeacon) {
        if b.fsid != self.fsid() || b.name.is_empty() || b.name.len() > NAME_MAX || b.gid == 0 {
            return;
        }
        if !self.is_manager(id, Some(&b.name), b.gid) || says_too_much(&b.metadata) {
            let line = format!("ignoring a beacon of mgr.{} ({}) from session {id}", b.name, b.gid);
            return self.effects.push(MonEffect::Log(LogLevel::Error, line));
        }
        if !self.mgr.peek_external() {
            return self.turn_away(id, &b);
        }
        self.earlier_process_of(&b);
        self.mgr.beacons.insert(b.gid, self.now);
        if self.mgr.peek().active_gid == b.gid {
            return self.beacon_of_active(b);
        }
        if b.available {
            return self.send_null_mgrmap(id);
        }
        if self.mgr.peek().active_gid == 0 {
            self.mgr.next().standbys.remove(&b.gid);
            return self.make_active(b);
        }
        match self.mgr.peek().standbys.get(&b.gid) {
            Some(s) if s.available_modules != b.modules => {
                if let Some(s) = self.mgr.next().standbys.get_mut(&b.gid) {
                    s.available_modules = b.modules;
                }
            }
            Some(_) => {}
            None if self.mgr.peek().standbys.len() >= STANDBYS_MAX => {
                let line = format!("ignoring mgr.{}: {STANDBYS_MAX} managers wait", b.name);
                self.effects.push(MonEffect::Log(LogLevel::Error, line));
            }
            None => {
                self.clog("cluster", LogPrio::DEBUG, format!("Standby manager daemon {} started", b.name));
                let (gid, name, available_modules) = (b.gid, b.name.clone(), b.modules);
                let s = StandbyInfo { gid, name, available_modules, mgr_features: b.mgr_features };
                self.mgr.next().standbys.insert(gid, s);
                self.mgr.metadata.set(b.name, b.metadata);
            }
        }
    }

    /// The monitors have the role themselves.
    fn turn_away(&mut self, id: SessionId, b: &MMgrBeacon) {
        if b.available {
            self.send_null_mgrmap(id);
        }
        if self.mgr.turned_away.len() < TURNED_AWAY_MAX && self.mgr.turned_away.insert(b.gid) {
            let line = format!(
                "mgr.{} waits: the monitors have the manager's role (`ceph config set mon mon_mgr_builtin false` gives it to managers like this)",
                b.name
            );
            self.effects.push(MonEffect::Log(LogLevel::Info, line));
        }
    }

    /// An earlier process of that name is dead.
    fn earlier_process_of(&mut self, b: &MMgrBeacon) {
        let m = self.mgr.peek();
        if m.active_gid != 0 && m.active_name == b.name && m.active_gid != b.gid {
            self.clog("cluster", LogPrio::INFO, format!("Active manager daemon {} restarted", b.name));
            self.drop_active_mgr();
        }
        let m = self.mgr.peek();
        if let Some(old) = m.standbys.values().find(|s| s.name == b.name && s.gid != b.gid).map(|s| s.gid) {
            self.clog("cluster", LogPrio::DEBUG, format!("Standby manager daemon {} restarted", b.name));
            self.drop_standby_mgr(old);
        }
    }

    fn beacon_of_active(&mut self, b: MMgrBeacon) {
        let m = self.mgr.peek();
        let available = m.available != b.available;
        if !available
            && m.services == b.services
            && m.active_addrs == b.server_addrs
            && m.available_modules == b.modules
            && m.clients == b.clients.0
        {
            return;
        }
        if available && b.available {
            self.clog("cluster", LogPrio::INFO, format!("Manager daemon {} is now available", b.name));
            if !b.command_descs.is_empty() {
                self.mgr.set_commands(b.command_descs);
            }
        }
        let m = self.mgr.next();
        m.available = b.available;
        m.services = b.services;
        m.active_addrs = b.server_addrs;
        m.available_modules = b.modules;
        m.clients = b.clients.0;
    }

    fn make_active(&mut self, b: MMgrBeacon) {
        self.clog("cluster", LogPrio::INFO, format!("Activating manager daemon {}", b.name));
        let now = self.now;
        let m = self.mgr.next();
        m.active_gid = b.gid;
        m.active_name = b.name.clone();
        m.active_change = now;
        m.active_mgr_features = b.mgr_features;
        m.available_modules = b.modules;
        m.available = false;
        self.mgr.metadata.set(b.name, b.metadata);
    }

    fn drop_standby_mgr(&mut self, gid: u64) {
        if let Some(s) = self.mgr.next().standbys.remove(&gid) {
            self.mgr.metadata.remove(&s.name);
        }
        self.mgr.beacons.remove(&gid);
    }

    /// Keeps addresses of a daemon that is thought dead from reaching OSDs; the OSDMap epoch that says so.
    pub(crate) fn blocklist_addrs(&mut self, addrs: &[AddrVec], seconds: Duration) -> Option<Epoch> {
        let all: Vec<EntityAddr> = addrs.iter().flat_map(|a| a.0.iter().copied()).collect();
        if all.is_empty() {
            return None;
        }
        let until = self.now + seconds;
        let list = Arc::make_mut(&mut self.osd.next().blocklist);
        for a in all {
            list.insert(EntityAddr { kind: AddrType::Any, ..a }, until);
        }
        Some(self.osd.map.epoch.next())
    }

    /// The active manager loses the role.
    fn drop_active_mgr(&mut self) {
        let m = self.mgr.peek();
        let (gid, name) = (m.active_gid, m.active_name.clone());
        let mut addrs = vec![m.active_addrs.clone()];
        addrs.extend(m.clients.iter().map(|(_, a)| a.clone()));
        let seconds = self.cfg.secs("mon_mgr_blocklist_interval");
        let epoch = self.blocklist_addrs(&addrs, seconds);
        self.mgr.beacons.remove(&gid);
        self.mgr.metadata.remove(&name);
        let now = self.now;
        let m = self.mgr.next();
        m.active_name = String::new();
        m.active_gid = 0;
        m.active_change = now;
        m.active_mgr_features = 0;
        m.available = false;
        m.active_addrs = AddrVec::default();
        m.services.clear();
        m.clients.clear();
        m.last_failure_osd_epoch = epoch.unwrap_or(m.last_failure_osd_epoch);
    }

    /// One of those that wait takes the role; its name.
    fn promote_standby_mgr(&mut self) -> Option<String> {
        let (gid, _) = self.mgr.peek().standbys.first_key_value()?;
        let gid = *gid;
        let now = self.now;
        let m = self.mgr.next();
        let s = m.standbys.remove(&gid)?;
        m.active_gid = gid;
        m.active_name = s.name.clone();
        m.available_modules = s.available_modules;
        m.active_mgr_features = s.mgr_features;
        m.active_addrs = AddrVec::default();
        m.available = false;
        m.active_change = now;
        self.clog("cluster", LogPrio::INFO, format!("Activating manager daemon {}", s.name));
        // (Its last beacon is no answer to having become active: it gets the whole grace.)
        self.mgr.beacons.insert(gid, now);
        Some(s.name)
    }

    fn external_mgr_tick(&mut self) {
        let now = self.now;
        let grace = self.cfg.secs("mon_mgr_beacon_grace").max(Duration::from_secs(1));
        let period = self.cfg.secs("mgr_tick_period");
        let slept = now.since(self.mgr.last_tick);
        if !self.mgr.last_tick.is_zero() && slept > grace.saturating_sub(period) {
            // It was this monitor that was away: nobody's silence counts.
            self.mgr.beacons.values_mut().for_each(|t| *t = now);
        }
        self.mgr.last_tick = now;
        let m = self.mgr.peek();
        let active = m.active_gid;
        let all: Vec<u64> = m.standbys.keys().copied().chain((active != 0).then_some(active)).collect();
        self.mgr.beacons.retain(|gid, _| all.contains(gid));
        for gid in &all {
            self.mgr.beacons.entry(*gid).or_insert(now);
        }
        let silent = |gid: &u64| self.mgr.beacons.get(gid).is_some_and(|t| now.since(*t) > grace);
        let dead: Vec<u64> = all.iter().copied().filter(|g| *g != active && silent(g)).collect();
        let active_is_dead = active != 0 && silent(&active);
        for gid in dead {
            self.drop_standby_mgr(gid);
        }
        if active_is_dead {
            let old = self.mgr.peek().active_name.clone();
            self.drop_active_mgr();
            let text = match self.promote_standby_mgr() {
                Some(new) => {
                    format!("Manager daemon {old} is unresponsive, replacing it with standby daemon {new}")
                }
                None => format!("Manager daemon {old} is unresponsive.  No standby daemons available."),
            };
            self.clog("cluster", LogPrio::INFO, text);
        } else if active == 0 {
            self.promote_standby_mgr();
        }
    }

    /// `mgr fail`: the named manager (the active one by default) loses its place. What there is to say about it.
    pub(crate) fn fail_mgr(&mut self, who: Option<&str>) -> Result<(), String> {
        let m = self.mgr.peek();
        let who = match who {
            Some(w) => w.to_owned(),
            None if self.mgr.map.active_gid == 0 => return Err("Currently no active mgr".to_owned()),
            None => self.mgr.map.active_name.clone(),
        };
        let number = who.parse::<u64>().ok();
        let is = |gid: u64, name: &str| number.map_or(name == who, |n| n == gid);
        if m.active_gid != 0 && is(m.active_gid, &m.active_name) {
            self.drop_active_mgr();
            self.promote_standby_mgr();
            return Ok(());
        }
        match m.standbys.values().find(|s| is(s.gid, &s.name)).map(|s| s.gid) {
            Some(gid) => self.drop_standby_mgr(gid),
            None => return Err(format!("Daemon not found '{who}', already failed?")),
        }
        Ok(())
    }

    /// How bad it is that there is no manager; nothing while the role is the monitors' own.
    pub(crate) fn mgr_down(&self) -> Option<Severity> {
        let mkfs = self.cfg.secs("mon_mgr_mkfs_grace");
        if !self.mgr.external
            || self.mgr.map.active_gid != 0
            || self.osd.map.num_osds() == 0
            || self.now.since(self.monmap().created) <= mkfs
        {
            return None;
        }
        let grace = self.cfg.secs("mon_mgr_inactive_grace");
        let long = self.mgr.unavailable_since.is_some_and(|t| self.now.since(t) > grace);
        Some(if long { Severity::Err } else { Severity::Warn })
    }
}
