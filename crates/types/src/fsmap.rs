//! File system maps: [`FsMap`] 7/6 with all [`Filesystem`]s and MDS daemons, and [`FsMapUser`] 1/1, which clients get.

use crate::Epoch;
use crate::compatset::{CompatSet, FeatureSet};
use crate::mdsmap::{MdsInfo, MdsMap, RANK_NONE, state};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// A cluster that a file system is mirrored to (`Peer` with its `ClusterInfo`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MirrorPeer {
    /// Its id.
    pub uuid: String,
    /// User there.
    pub client_name: String,
    /// Name of that cluster.
    pub cluster_name: String,
    /// File system there.
    pub fs_name: String,
}
impl Encode for MirrorPeer {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.uuid);
            e.versioned(1, 1, |e| {
                e.put(&self.client_name);
                e.put(&self.cluster_name);
                e.put(&self.fs_name);
            });
        });
    }
}
impl Decode for MirrorPeer {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("Peer", 1)?;
        let uuid = d.get()?;
        let (_, mut d) = d.open("ClusterInfo", 1)?;
        Ok(MirrorPeer { uuid, client_name: d.get()?, cluster_name: d.get()?, fs_name: d.get()? })
    }
}

/// One file system (`Filesystem` 2/1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filesystem {
    /// Its id.
    pub fscid: i32,
    /// Its map.
    pub mds_map: MdsMap,
    /// It is mirrored.
    pub mirrored: bool,
    /// To whom.
    pub mirror_peers: Vec<MirrorPeer>,
}
impl Encode for Filesystem {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.i32(self.fscid);
            e.length_prefixed(|e| e.put(&self.mds_map));
            e.versioned(1, 1, |e| {
                e.bool(self.mirrored);
                e.put(&self.mirror_peers);
            });
        });
    }
}
impl Decode for Filesystem {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("Filesystem", 2)?;
        let fscid = d.i32()?;
        let mds_map = d.sub("MDSMap")?.get()?;
        let mut fs = Filesystem { fscid, mds_map, ..Filesystem::default() };
        if v >= 2 {
            let (_, mut d) = d.open("MirrorInfo", 1)?;
            fs.mirrored = d.bool()?;
            fs.mirror_peers = d.get()?;
        }
        Ok(fs)
    }
}

/// All file systems and MDS daemons (`FSMap`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FsMap {
    /// Counts changes.
    pub epoch: Epoch,
    /// Id of the next file system.
    pub next_filesystem_id: u64,
    /// File system for clients that name none; -1 without one.
    pub legacy_client_fscid: i32,
    /// What MDS daemons must know in new file systems.
    pub default_compat: CompatSet,
    /// More than one file system is allowed.
    pub enable_multiple: bool,
    /// File systems by id.
    pub filesystems: BTreeMap<i32, Filesystem>,
    /// MDS daemons by global id, with the file system they serve (-1: they wait).
    pub mds_roles: BTreeMap<u64, i32>,
    /// MDS daemons that wait, by global id.
    pub standby_daemons: BTreeMap<u64, MdsInfo>,
    /// Epochs in which they were added.
    pub standby_epochs: BTreeMap<u64, Epoch>,
    /// More than one file system was allowed once.
    pub ever_enabled_multiple: bool,
}
/// Id of no file system.
pub const FSCID_NONE: i32 = -1;

/// On-disk features that MDS daemons of 16.2 know, by number (`MDSMap::get_compat_set_default`).
pub const MDS_FEATURES: &[(u64, &str)] = &[
    (1, "base v0.20"),
    (2, "client writeable ranges"),
    (3, "default file layouts on dirs"),
    (4, "dir inode in separate object"),
    (5, "mds uses versioned encoding"),
    (6, "dirfrag is stored in omap"),
    (8, "no anchor table"),
    (9, "file layout v2"),
    (10, "snaprealm v2"),
];

impl FsMap {
    /// A map without file systems, as a new pacific cluster has it.
    pub fn empty(epoch: Epoch) -> FsMap {
        FsMap {
            epoch,
            next_filesystem_id: 1,
            legacy_client_fscid: FSCID_NONE,
            default_compat: CompatSet { incompat: FeatureSet::new(MDS_FEATURES), ..CompatSet::default() },
            enable_multiple: true,
            filesystems: BTreeMap::new(),
            mds_roles: BTreeMap::new(),
            standby_daemons: BTreeMap::new(),
            standby_epochs: BTreeMap::new(),
            ever_enabled_multiple: true,
        }
    }
    /// A daemon by global id.
    pub fn info(&self, gid: u64) -> Option<&MdsInfo> {
        match self.mds_roles.get(&gid)? {
            &FSCID_NONE => self.standby_daemons.get(&gid),
            fscid => self.filesystems.get(fscid)?.mds_map.mds_info.get(&gid),
        }
    }
    /// The same to change.
    pub fn info_mut(&mut self, gid: u64) -> Option<&mut MdsInfo> {
        match self.mds_roles.get(&gid)? {
            &FSCID_NONE => self.standby_daemons.get_mut(&gid),
            fscid => self.filesystems.get_mut(fscid)?.mds_map.mds_info.get_mut(&gid),
        }
    }
    /// All daemons.
    pub fn daemons(&self) -> impl Iterator<Item = &MdsInfo> {
        self.standby_daemons
            .values()
            .chain(self.filesystems.values().flat_map(|f| f.mds_map.mds_info.values()))
    }
    /// A daemon by name: the one that serves, before one that waits.
    pub fn by_name(&self, name: &str) -> Option<&MdsInfo> {
        let serving = self.filesystems.values().flat_map(|f| f.mds_map.mds_info.values());
        serving.chain(self.standby_daemons.values()).find(|i| i.name == name)
    }
    /// A file system by name.
    pub fn fs_by_name(&self, name: &str) -> Option<&Filesystem> {
        self.filesystems.values().find(|f| f.mds_map.fs_name == name)
    }
    /// True when a file system uses this pool.
    pub fn pool_in_use(&self, pool: i64) -> bool {
        self.filesystems
            .values()
            .any(|f| f.mds_map.metadata_pool == pool || f.mds_map.data_pools.contains(&pool))
    }
    /// The map with only these file systems, and the daemons of others left out.
    pub fn only(&self, names: &[&str]) -> FsMap {
        let mut m = self.clone();
        m.filesystems.retain(|_, f| names.contains(&f.mds_map.fs_name.as_str()));
        m.mds_roles.retain(|_, fscid| *fscid == FSCID_NONE || m.filesystems.contains_key(fscid));
        if !m.filesystems.contains_key(&m.legacy_client_fscid) {
            m.legacy_client_fscid = FSCID_NONE;
        }
        m
    }
    /// What clients are told of it.
    pub fn for_users(&self) -> FsMapUser {
        FsMapUser {
            epoch: self.epoch,
            legacy_client_fscid: self.legacy_client_fscid,
            filesystems: self
                .filesystems
                .values()
                .map(|f| FsInfo { cid: f.fscid, name: f.mds_map.fs_name.clone() })
                .collect(),
        }
    }
    /// The first thing in it that contradicts another, as stock's `sanity` checks it.
    pub fn contradiction(&self) -> Option<String> {
        if self.legacy_client_fscid != FSCID_NONE && !self.filesystems.contains_key(&self.legacy_client_fscid)
        {
            return Some(format!("no default file system {}", self.legacy_client_fscid));
        }
        for (gid, fscid) in &self.mds_roles {
            if self.info(*gid).is_none_or(|i| i.global_id != *gid) {
                return Some(format!("daemon {gid} is not in file system {fscid}"));
            }
        }
        for (gid, i) in &self.standby_daemons {
            let waits = i.rank == RANK_NONE && i.state == state::STANDBY;
            if !waits
                || self.mds_roles.get(gid) != Some(&FSCID_NONE)
                || !self.standby_epochs.contains_key(gid)
            {
                return Some(format!("standby {gid} is {}", state::name(i.state)));
            }
        }
        for f in self.filesystems.values() {
            let m = &f.mds_map;
            for (rank, gid) in &m.up {
                let holds = m.mds_info.get(gid).is_some_and(|i| i.rank == *rank);
                if !holds || m.failed.contains(rank) || m.damaged.contains(rank) || !m.in_ranks.contains(rank)
                {
                    return Some(format!("rank {}:{rank} is not {gid}'s", f.fscid));
                }
            }
            for (gid, i) in &m.mds_info {
                let follows = i.state == state::STANDBY_REPLAY;
                if self.mds_roles.get(gid) != Some(&f.fscid)
                    || (!follows && m.up.get(&i.rank) != Some(gid))
                    || (follows && !m.in_ranks.contains(&i.rank))
                {
                    return Some(format!("daemon {gid} has no role in {}", f.fscid));
                }
            }
        }
        None
    }
}
impl Default for FsMap {
    fn default() -> Self {
        FsMap::empty(Epoch(0))
    }
}
impl Encode for FsMap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(7, 6, |e| {
            e.put(&self.epoch);
            e.put(&self.next_filesystem_id);
            e.put(&self.legacy_client_fscid);
            e.put(&self.default_compat);
            e.put(&self.enable_multiple);
            e.count(self.filesystems.len());
            self.filesystems.values().for_each(|f| e.put(f));
            e.put(&self.mds_roles);
            e.put(&self.standby_daemons);
            e.put(&self.standby_epochs);
            e.put(&self.ever_enabled_multiple);
        });
    }
}
impl Decode for FsMap {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("FSMap", 7)?;
        if v < 7 {
            return Err(DencError::TooOld { what: "FSMap", version: v, oldest: 7 });
        }
        Ok(FsMap {
            epoch: d.get()?,
            next_filesystem_id: d.get()?,
            legacy_client_fscid: d.get()?,
            default_compat: d.get()?,
            enable_multiple: d.get()?,
            filesystems: d.get::<Vec<Filesystem>>()?.into_iter().map(|f| (f.fscid, f)).collect(),
            mds_roles: d.get()?,
            standby_daemons: d.get()?,
            standby_epochs: d.get()?,
            ever_enabled_multiple: d.get()?,
        })
    }
}

/// One file system's id and name (`FSMapUser::fs_info_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FsInfo {
    /// Id.
    pub cid: i32,
    /// Name.
    pub name: String,
}
impl Encode for FsInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.cid);
            e.put(&self.name);
        });
    }
}
impl Decode for FsInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("FSMapUser::fs_info_t", 1)?;
        Ok(FsInfo { cid: d.get()?, name: d.get()? })
    }
}

/// Names of file systems, for clients (`FSMapUser`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FsMapUser {
    /// Counts changes.
    pub epoch: Epoch,
    /// File system for clients that name none; -1 without one.
    pub legacy_client_fscid: i32,
    /// File systems.
    pub filesystems: Vec<FsInfo>,
}
impl Default for FsMapUser {
    fn default() -> Self {
        FsMapUser { epoch: Epoch(0), legacy_client_fscid: -1, filesystems: Vec::new() }
    }
}
impl Encode for FsMapUser {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.epoch);
            e.put(&self.legacy_client_fscid);
            e.put(&self.filesystems);
        });
    }
}
impl Decode for FsMapUser {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("FSMapUser", 1)?;
        Ok(FsMapUser { epoch: d.get()?, legacy_client_fscid: d.get()?, filesystems: d.get()? })
    }
}
