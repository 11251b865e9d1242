//! File system maps, as far as a cluster without file systems sends them: [`FsMap`] 7/6 and [`FsMapUser`] 1/1.
//!
//! File systems and MDS daemons inside are carried without being understood ([`RawStruct`]).

use crate::Epoch;
use crate::compatset::{CompatSet, FeatureSet};
use crate::raw::RawStruct;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

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
    /// File systems (`Filesystem`).
    pub filesystems: Vec<RawStruct>,
    /// MDS daemons by global id, with the file system they serve.
    pub mds_roles: BTreeMap<u64, i32>,
    /// MDS daemons that wait (`mds_info_t`), by global id.
    pub standby_daemons: BTreeMap<u64, RawStruct>,
    /// Epochs in which they were added.
    pub standby_epochs: BTreeMap<u64, Epoch>,
    /// More than one file system was allowed once.
    pub ever_enabled_multiple: bool,
}
impl FsMap {
    /// A map without file systems, as a new pacific cluster has it.
    pub fn empty(epoch: Epoch) -> FsMap {
        FsMap {
            epoch,
            next_filesystem_id: 1,
            legacy_client_fscid: -1,
            default_compat: CompatSet {
                incompat: FeatureSet::new(&[
                    (1, "base v0.20"),
                    (2, "client writeable ranges"),
                    (3, "default file layouts on dirs"),
                    (4, "dir inode in separate object"),
                    (5, "mds uses versioned encoding"),
                    (6, "dirfrag is stored in omap"),
                    (8, "no anchor table"),
                    (9, "file layout v2"),
                    (10, "snaprealm v2"),
                ]),
                ..CompatSet::default()
            },
            enable_multiple: true,
            filesystems: Vec::new(),
            mds_roles: BTreeMap::new(),
            standby_daemons: BTreeMap::new(),
            standby_epochs: BTreeMap::new(),
            ever_enabled_multiple: true,
        }
    }
    /// One line, as `ceph mds stat` prints it for a map without file systems.
    pub fn summary(&self) -> String {
        match self.standby_daemons.len() {
            0 => String::new(),
            n => format!("{n} up:standby"),
        }
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
            e.put(&self.filesystems);
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
            filesystems: d.get()?,
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
