//! The manager map: [`MgrMap`] 12/6 with its modules and standbys (`mon/MgrMap.h`).

use crate::{AddrVec, Epoch, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};

/// One option of a module (`MgrMap::ModuleOption`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModuleOption {
    /// Name.
    pub name: String,
    /// `Option::type_t`.
    pub kind: u8,
    /// `Option::level_t`.
    pub level: u8,
    /// `Option::flag_t` bits.
    pub flags: u32,
    /// Default, as text.
    pub default_value: String,
    /// Smallest value, as text.
    pub min: String,
    /// Largest value, as text.
    pub max: String,
    /// Allowed values.
    pub enum_allowed: BTreeSet<String>,
    /// One line.
    pub desc: String,
    /// More lines.
    pub long_desc: String,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// Related options.
    pub see_also: BTreeSet<String>,
}
impl Encode for ModuleOption {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.name);
            e.u8(self.kind);
            e.u8(self.level);
            e.u32(self.flags);
            e.put(&self.default_value);
            e.put(&self.min);
            e.put(&self.max);
            e.put(&self.enum_allowed);
            e.put(&self.desc);
            e.put(&self.long_desc);
            e.put(&self.tags);
            e.put(&self.see_also);
        });
    }
}
impl Decode for ModuleOption {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("MgrMap::ModuleOption", 1)?;
        Ok(ModuleOption {
            name: d.get()?,
            kind: d.get()?,
            level: d.get()?,
            flags: d.get()?,
            default_value: d.get()?,
            min: d.get()?,
            max: d.get()?,
            enum_allowed: d.get()?,
            desc: d.get()?,
            long_desc: d.get()?,
            tags: d.get()?,
            see_also: d.get()?,
        })
    }
}

/// One module that a manager has (`MgrMap::ModuleInfo`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModuleInfo {
    /// Name.
    pub name: String,
    /// Its dependencies are there.
    pub can_run: bool,
    /// Why it cannot run.
    pub error_string: String,
    /// Its options.
    pub module_options: BTreeMap<String, ModuleOption>,
}
impl Encode for ModuleInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.put(&self.name);
            e.bool(self.can_run);
            e.put(&self.error_string);
            e.put(&self.module_options);
        });
    }
}
impl Decode for ModuleInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MgrMap::ModuleInfo", 2)?;
        let mut m =
            ModuleInfo { name: d.get()?, can_run: d.get()?, error_string: d.get()?, ..ModuleInfo::default() };
        if v >= 2 {
            m.module_options = d.get()?;
        }
        Ok(m)
    }
}

fn names(modules: &[ModuleInfo]) -> BTreeSet<&String> {
    modules.iter().map(|m| &m.name).collect()
}

/// A manager that waits (`MgrMap::StandbyInfo`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StandbyInfo {
    /// Its global id.
    pub gid: u64,
    /// Its name.
    pub name: String,
    /// Its modules.
    pub available_modules: Vec<ModuleInfo>,
    /// Its features.
    pub mgr_features: u64,
}
impl Encode for StandbyInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(4, 1, |e| {
            e.u64(self.gid);
            e.put(&self.name);
            e.put(&names(&self.available_modules)); // for readers of version 2
            e.put(&self.available_modules);
            e.u64(self.mgr_features);
        });
    }
}
impl Decode for StandbyInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MgrMap::StandbyInfo", 4)?;
        if v < 3 {
            return Err(DencError::TooOld { what: "MgrMap::StandbyInfo", version: v, oldest: 3 });
        }
        let (gid, name) = (d.get()?, d.get()?);
        d.get::<BTreeSet<String>>()?;
        let available_modules = d.get()?;
        let mgr_features = if v >= 4 { d.get()? } else { 0 };
        Ok(StandbyInfo { gid, name, available_modules, mgr_features })
    }
}

/// The manager map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MgrMap {
    /// Counts changes.
    pub epoch: Epoch,
    /// Global id of the active manager; 0 without one.
    pub active_gid: u64,
    /// Its addresses.
    pub active_addrs: AddrVec,
    /// It listens.
    pub available: bool,
    /// Its name.
    pub active_name: String,
    /// When it became active.
    pub active_change: Utime,
    /// Its features.
    pub active_mgr_features: u64,
    /// Clients that it runs itself, by name and address: two parallel lists on the wire.
    pub clients: Vec<(String, AddrVec)>,
    /// Managers that wait, by global id.
    pub standbys: BTreeMap<u64, StandbyInfo>,
    /// Modules that are turned on.
    pub modules: BTreeSet<String>,
    /// Modules that cannot be turned off, by release number.
    pub always_on_modules: BTreeMap<u32, BTreeSet<String>>,
    /// Modules that the active manager has.
    pub available_modules: Vec<ModuleInfo>,
    /// URIs that modules serve.
    pub services: BTreeMap<String, String>,
    /// OSD map epoch of the last failover.
    pub last_failure_osd_epoch: Epoch,
}
impl MgrMap {
    /// A map with one active manager that listens at `addrs`, and with these modules turned on.
    pub fn with_active(
        epoch: Epoch,
        gid: u64,
        name: &str,
        addrs: AddrVec,
        now: Utime,
        modules: &[&str],
    ) -> MgrMap {
        let module =
            |name: &&str| ModuleInfo { name: (*name).to_owned(), can_run: true, ..ModuleInfo::default() };
        MgrMap {
            epoch,
            active_gid: gid,
            active_addrs: addrs,
            available: true,
            active_name: name.to_owned(),
            active_change: now,
            active_mgr_features: crate::features::SUPPORTED,
            modules: modules.iter().map(|m| (*m).to_owned()).collect(),
            available_modules: modules.iter().map(module).collect(),
            ..MgrMap::default()
        }
    }
}
impl Encode for MgrMap {
    fn encode(&self, e: &mut Encoder) {
        if !e.has(crate::features::SERVER_NAUTILUS) {
            e.versioned(5, 1, |e| {
                e.put(&self.epoch);
                e.put(&self.active_addrs.legacy_or_front());
                e.u64(self.active_gid);
                e.bool(self.available);
                e.put(&self.active_name);
                e.put(&self.standbys);
                e.put(&self.modules);
                e.put(&names(&self.available_modules));
                e.put(&self.services);
                e.put(&self.available_modules);
            });
            return;
        }
        e.versioned(12, 6, |e| {
            e.put(&self.epoch);
            e.put(&self.active_addrs);
            e.u64(self.active_gid);
            e.bool(self.available);
            e.put(&self.active_name);
            e.put(&self.standbys);
            e.put(&self.modules);
            e.put(&self.services);
            e.put(&self.available_modules);
            e.put(&self.active_change);
            e.put(&self.always_on_modules);
            e.u64(self.active_mgr_features);
            e.put(&self.last_failure_osd_epoch);
            e.count(self.clients.len());
            self.clients.iter().for_each(|(_, addrs)| e.put(addrs));
            e.count(self.clients.len());
            self.clients.iter().for_each(|(name, _)| e.put(name));
        });
    }
}
impl Decode for MgrMap {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MgrMap", 12)?;
        if v < 6 {
            return Err(DencError::TooOld { what: "MgrMap", version: v, oldest: 6 });
        }
        let mut m = MgrMap {
            epoch: d.get()?,
            active_addrs: d.get()?,
            active_gid: d.get()?,
            available: d.get()?,
            active_name: d.get()?,
            standbys: d.get()?,
            modules: d.get()?,
            services: d.get()?,
            available_modules: d.get()?,
            ..MgrMap::default()
        };
        if v >= 7 {
            m.active_change = d.get()?;
        }
        if v >= 8 {
            m.always_on_modules = d.get()?;
        }
        if v >= 9 {
            m.active_mgr_features = d.get()?;
        }
        if v >= 10 {
            m.last_failure_osd_epoch = d.get()?;
        }
        if v >= 11 {
            let addrs: Vec<AddrVec> = d.get()?;
            let mut names = vec![String::new(); addrs.len()];
            if v >= 12 {
                names = d.get()?;
                if names.len() != addrs.len() {
                    return Err(DencError::Invalid {
                        what: "MgrMap client names",
                        value: names.len() as u64,
                    });
                }
            }
            m.clients = names.into_iter().zip(addrs).collect();
        }
        Ok(m)
    }
}
