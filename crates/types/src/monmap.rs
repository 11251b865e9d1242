//! The monitor map: [`MonMap`] and [`MonInfo`] (`mon/MonMap.h`), struct versions 9/6 for peers since nautilus, 5/3 for
//! older ones.

use crate::features::SERVER_NAUTILUS;
use crate::{AddrVec, EntityAddr, Epoch, Fsid, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};

/// A set of monitor features (`mon_feature_t`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MonFeatures(pub u64);
impl MonFeatures {
    /// `kraken`.
    pub const KRAKEN: u64 = 1 << 0;
    /// `luminous`.
    pub const LUMINOUS: u64 = 1 << 1;
    /// `mimic`.
    pub const MIMIC: u64 = 1 << 2;
    /// `osdmap-prune`.
    pub const OSDMAP_PRUNE: u64 = 1 << 3;
    /// `nautilus`.
    pub const NAUTILUS: u64 = 1 << 4;
    /// `octopus`.
    pub const OCTOPUS: u64 = 1 << 5;
    /// `pacific`.
    pub const PACIFIC: u64 = 1 << 6;
    /// `elector-pinging`.
    pub const PINGING: u64 = 1 << 7;
    /// What a pacific cluster has turned on.
    pub const PACIFIC_ALL: MonFeatures = MonFeatures(0xff);
}
impl Encode for MonFeatures {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.u64(self.0));
    }
}
impl Decode for MonFeatures {
    const MIN_SIZE: usize = 14;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("mon_feature_t", 1)?;
        Ok(MonFeatures(d.u64()?))
    }
}

/// One monitor (`mon_info_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MonInfo {
    /// Its name (`a` of `mon.a`).
    pub name: String,
    /// Its addresses.
    pub public_addrs: AddrVec,
    /// Clients prefer low numbers.
    pub priority: u16,
    /// Weight among those of one priority.
    pub weight: u16,
    /// Place, for stretch clusters.
    pub crush_loc: BTreeMap<String, String>,
}
impl Encode for MonInfo {
    fn encode(&self, e: &mut Encoder) {
        let modern = e.has(SERVER_NAUTILUS);
        e.versioned(if modern { 5 } else { 2 }, 1, |e| {
            e.put(&self.name);
            if modern {
                e.put(&self.public_addrs);
            } else {
                e.put(&self.public_addrs.legacy_or_front());
            }
            e.u16(self.priority);
            e.u16(self.weight);
            e.put(&self.crush_loc);
        });
    }
}
impl Decode for MonInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("mon_info_t", 5)?;
        let mut m = MonInfo { name: d.get()?, public_addrs: d.get()?, ..MonInfo::default() };
        if v >= 2 {
            m.priority = d.u16()?;
        }
        // Writers of version 2 since octopus append the newer fields without raising the version; older ones do not.
        if v >= 4 {
            m.weight = d.u16()?;
        }
        if v >= 5 {
            m.crush_loc = d.get()?;
        }
        Ok(m)
    }
}

/// The monitor map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MonMap {
    /// Cluster.
    pub fsid: Fsid,
    /// Counts changes; 0 before the first quorum.
    pub epoch: Epoch,
    /// When it last changed.
    pub last_changed: Utime,
    /// When the cluster was made.
    pub created: Utime,
    /// Features that every monitor must have from now on.
    pub persistent_features: MonFeatures,
    /// Features that were turned on by hand.
    pub optional_features: MonFeatures,
    /// Monitors by name.
    pub mons: BTreeMap<String, MonInfo>,
    /// Names by rank.
    pub ranks: Vec<String>,
    /// Oldest release that a monitor may have; 16 = pacific.
    pub min_mon_release: u8,
    /// Ranks removed since the last election.
    pub removed_ranks: BTreeSet<u32>,
    /// Election strategy: 1 classic, 2 disallow, 3 connectivity.
    pub strategy: u8,
    /// Monitors that may not lead.
    pub disallowed_leaders: BTreeSet<String>,
    /// Stretch mode.
    pub stretch_mode_enabled: bool,
    /// Stretch mode's tie breaker.
    pub tiebreaker_mon: String,
    /// Stretch mode's monitors that are down.
    pub stretch_marked_down_mons: BTreeSet<String>,
}

impl MonMap {
    /// A map with these monitors, as a new pacific cluster has it. Ranks are in the order given, as monmaptool does it.
    pub fn build(fsid: Fsid, now: Utime, mons: impl IntoIterator<Item = (String, AddrVec)>) -> MonMap {
        let mut ranks = Vec::new();
        let mons: BTreeMap<String, MonInfo> = mons
            .into_iter()
            .map(|(name, public_addrs)| {
                let info = MonInfo { name: name.clone(), public_addrs, ..MonInfo::default() };
                ranks.push(name.clone());
                (name, info)
            })
            .collect();
        MonMap {
            fsid,
            epoch: Epoch(1),
            last_changed: now,
            created: now,
            persistent_features: MonFeatures::PACIFIC_ALL,
            mons,
            ranks,
            min_mon_release: 16,
            strategy: 1,
            ..MonMap::default()
        }
    }

    /// Recomputes the ranks: by address, then by name (`calc_legacy_ranks`; maps since version 6 carry their ranks).
    pub fn calc_ranks(&mut self) {
        let mut all: Vec<(EntityAddr, String)> =
            self.mons.values().map(|m| (m.public_addrs.legacy_or_front(), m.name.clone())).collect();
        all.sort();
        self.ranks = all.into_iter().map(|(_, name)| name).collect();
    }

    /// A monitor's rank.
    pub fn rank_of(&self, name: &str) -> Option<usize> {
        self.ranks.iter().position(|n| n == name)
    }

    /// The addresses of all monitors, by rank.
    pub fn addrs(&self) -> Vec<AddrVec> {
        self.ranks.iter().filter_map(|n| self.mons.get(n)).map(|m| m.public_addrs.clone()).collect()
    }

    /// The addresses of the monitor with this rank.
    pub fn addrs_of_rank(&self, rank: usize) -> Option<&AddrVec> {
        self.mons.get(self.ranks.get(rank)?).map(|m| &m.public_addrs)
    }
}

impl Encode for MonMap {
    fn encode(&self, e: &mut Encoder) {
        if !e.has(SERVER_NAUTILUS) {
            let legacy: BTreeMap<&String, EntityAddr> =
                self.mons.iter().map(|(n, m)| (n, m.public_addrs.legacy_or_front())).collect();
            e.versioned(5, 3, |e| {
                e.put(&self.fsid);
                e.put(&self.epoch);
                e.put(&legacy);
                e.put(&self.last_changed);
                e.put(&self.created);
                e.put(&self.persistent_features);
                e.put(&self.optional_features);
                e.put(&self.mons);
            });
            return;
        }
        e.versioned(9, 6, |e| {
            e.put(&self.fsid);
            e.put(&self.epoch);
            e.put(&self.last_changed);
            e.put(&self.created);
            e.put(&self.persistent_features);
            e.put(&self.optional_features);
            e.put(&self.mons);
            e.put(&self.ranks);
            e.u8(self.min_mon_release);
            e.put(&self.removed_ranks);
            e.u8(self.strategy);
            e.put(&self.disallowed_leaders);
            e.bool(self.stretch_mode_enabled);
            e.put(&self.tiebreaker_mon);
            e.put(&self.stretch_marked_down_mons);
        });
    }
}
impl Decode for MonMap {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MonMap", 9)?;
        if v < 3 {
            return Err(DencError::TooOld { what: "MonMap", version: v, oldest: 3 });
        }
        let mut m = MonMap { fsid: d.get()?, epoch: d.get()?, strategy: 1, ..MonMap::default() };
        let mut legacy = BTreeMap::new();
        if v < 6 {
            legacy = d.get::<BTreeMap<String, EntityAddr>>()?;
        }
        m.last_changed = d.get()?;
        m.created = d.get()?;
        if v >= 4 {
            m.persistent_features = d.get()?;
            m.optional_features = d.get()?;
        }
        if v >= 5 {
            m.mons = d.get()?;
        } else {
            for (name, addr) in legacy {
                let public_addrs = AddrVec(vec![addr]);
                m.mons.insert(name.clone(), MonInfo { name, public_addrs, ..MonInfo::default() });
            }
        }
        if v >= 6 {
            m.ranks = d.get()?;
        } else {
            m.calc_ranks();
        }
        if v >= 7 {
            m.min_mon_release = d.u8()?;
        }
        if v >= 8 {
            m.removed_ranks = d.get()?;
        }
        if v >= 9 {
            m.strategy = d.u8()?;
            m.disallowed_leaders = d.get()?;
            m.stretch_mode_enabled = d.bool()?;
            m.tiebreaker_mon = d.get()?;
            m.stretch_marked_down_mons = d.get()?;
        }
        Ok(m)
    }
}

/// What a monitor is doing, in stock's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MonState {
    /// Belongs to no quorum yet.
    #[default]
    Probing,
    /// Catches up.
    Synchronizing,
    /// No leader is known.
    Electing,
    /// Leads.
    Leader,
    /// Follows.
    Peon,
}

impl MonState {
    /// As `mon_status` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            MonState::Probing => "probing",
            MonState::Synchronizing => "synchronizing",
            MonState::Electing => "electing",
            MonState::Leader => "leader",
            MonState::Peon => "peon",
        }
    }
}
