//! File system messages between MDS daemons, clients and the monitor: maps, beacons, load targets.
//!
//! Mirrors `messages/MFSMap.h`, `MFSMapUser.h`, `MMDSMap.h`, `MMDSBeacon.h`, `MMDSLoadTargets.h`.

use crate::macros::{PaxosHeader, message};
use crate::{Message, Payload};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::{BTreeMap, BTreeSet};
use types::compatset::CompatSet;
use types::fsmap::{FSCID_NONE, FsMap, FsMapUser};
use types::mdsmap::{RANK_NONE, state};
use types::{Epoch, Fsid};

message! {
    /// The file system map, for MDS daemons, managers and the CLI.
    MFsMap = FS_MAP, "fsmap", 1/1 {
        /// Its epoch.
        epoch: Epoch,
        /// The map.
        fsmap: FsMap,
    }
    /// Names of file systems, for clients.
    MFsMapUser = FS_MAP_USER, "fsmap.user", 1/1 {
        /// Its epoch.
        epoch: Epoch,
        /// The map.
        fsmap: FsMapUser,
    }
    /// One file system's map.
    MMdsMap = MDS_MAP, "mdsmap", 2/1 {
        /// Cluster.
        fsid: Fsid,
        /// Its epoch.
        epoch: Epoch,
        /// An encoded `MDSMap`.
        encoded: Bytes,
        /// Name of the file system.
        map_fs_name: String = since 2,
    }
    /// An active MDS daemon tells to which ranks it would like to export.
    MMdsLoadTargets = MDS_OFFLOAD_TARGETS, "mds_load_targets", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// The daemon.
        global_id: u64,
        /// Ranks.
        targets: BTreeSet<i32>,
    }
}

/// Something that is wrong with an MDS daemon, as it says itself (`MDSHealthMetric`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MdsHealthMetric {
    /// `mds_metric_t`: 1 trim, 2 client recall ... 13 laggy clients.
    pub kind: u16,
    /// 0 error, 1 warning, 2 all right.
    pub severity: u8,
    /// One line.
    pub message: String,
    /// Details by name.
    pub metadata: BTreeMap<String, String>,
}
impl Encode for MdsHealthMetric {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u16(self.kind);
            e.u8(self.severity);
            e.put(&self.message);
            e.put(&self.metadata);
        });
    }
}
impl Decode for MdsHealthMetric {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("MDSHealthMetric", 1)?;
        Ok(MdsHealthMetric { kind: d.u16()?, severity: d.u8()?, message: d.get()?, metadata: d.get()? })
    }
}

/// All of an MDS daemon's complaints (`MDSHealth`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MdsHealth {
    /// The complaints.
    pub metrics: Vec<MdsHealthMetric>,
}
impl Encode for MdsHealth {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.put(&self.metrics));
    }
}
impl Decode for MdsHealth {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("MDSHealth", 1)?;
        Ok(MdsHealth { metrics: d.get()? })
    }
}

/// An MDS daemon's sign of life, and the monitor's answer to it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MMdsBeacon {
    /// Paxos header; `version` is the newest FSMap epoch that the daemon has.
    pub paxos: PaxosHeader,
    /// Cluster.
    pub fsid: Fsid,
    /// Its global id.
    pub global_id: u64,
    /// State that it wants ([`types::mdsmap::state`]).
    pub state: i32,
    /// Comes back in the answer.
    pub seq: u64,
    /// Its name.
    pub name: String,
    /// On-disk features that it knows.
    pub compat: CompatSet,
    /// What is wrong with it.
    pub health: MdsHealth,
    /// What it tells of itself and its host; only when it boots.
    pub sys_info: BTreeMap<String, String>,
    /// Feature bits of its connections.
    pub mds_features: u64,
    /// Name of the file system that it prefers (`mds_join_fs`).
    pub fs: String,
}
impl Payload for MMdsBeacon {
    const KIND: u16 = crate::kinds::MDS_BEACON;
    const NAME: &'static str = "mdsbeacon";
    const VERSION: u16 = 8;
    const COMPAT: u16 = 6;
    fn encode_parts(&self, features: Features) -> (Bytes, Bytes, Bytes) {
        let mut e = Encoder::new(features);
        e.put(&self.paxos);
        e.put(&self.fsid);
        e.u64(self.global_id);
        e.i32(self.state);
        e.u64(self.seq);
        e.put(&self.name);
        e.i32(RANK_NONE); // whom it wants to follow, in old releases
        e.put("");
        e.put(&self.compat);
        e.put(&self.health);
        if self.state == state::BOOT {
            e.put(&self.sys_info);
        }
        e.u64(self.mds_features);
        e.i32(FSCID_NONE);
        e.bool(false);
        e.put(&self.fs);
        (e.finish(), Bytes::new(), Bytes::new())
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        let mut d = Decoder::new(&msg.front);
        let version = msg.header.version;
        let mut b = MMdsBeacon {
            paxos: d.get()?,
            fsid: d.get()?,
            global_id: d.u64()?,
            state: d.i32()?,
            seq: d.u64()?,
            name: d.get()?,
            ..MMdsBeacon::default()
        };
        d.i32()?;
        d.string()?;
        b.compat = d.get()?;
        b.health = d.get()?;
        if b.state == state::BOOT {
            b.sys_info = d.get()?;
        }
        b.mds_features = d.u64()?;
        d.i32()?;
        if version >= 7 {
            d.bool()?;
        }
        if version >= 8 {
            b.fs = d.get()?;
        }
        Ok(b)
    }
}
