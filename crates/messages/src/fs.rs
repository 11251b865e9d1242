//! File system messages, as far as a cluster without file systems needs them: maps, and beacons of MDS daemons.
//!
//! Mirrors `messages/MFSMap.h`, `MFSMapUser.h`, `MMDSMap.h`, `MMDSBeacon.h`.

use crate::macros::{PaxosHeader, message};
use crate::mgr::Tail;
use bytes::Bytes;
use types::fsmap::{FsMap, FsMapUser};
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
    /// An MDS daemon's sign of life. Only who it is and what it wants is understood.
    MMdsBeacon = MDS_BEACON, "mdsbeacon", 8/6 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// Its global id.
        global_id: u64,
        /// State that it wants (`CEPH_MDS_STATE_*`).
        state: i32,
        /// Comes back in the answer.
        seq: u64,
        /// Its name.
        name: String,
        /// The rest.
        tail: Tail<0>,
    }
}
