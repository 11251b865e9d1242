//! Taking over a cluster from stock's monitors: a new store that goes on with their last OSDMap.
//!
//! The map must be the last that there will ever be of those monitors, so no OSD may be up in it: who is up could have seen a later one, and would take the
//! next one of ours for another history of the same epochs. What goes on from the old cluster: its fsid, OSDs, CRUSH map, pools and snapshots (the
//! map), its users and daemons (the keyring). What does not: configuration, config-key, logs, file systems' map.
//!
//! Global ids begin at a number made of the time, above all that the old monitors gave: an id that is given twice would make an OSD
//! take a new client's write for an old one's, sent again.

use crate::kv::num_key;
use crate::osdmon::STORED;
use crate::table::encoded;
use bytes::Bytes;
use std::collections::BTreeMap;
use thiserror::Error;
use types::osdmap::OsdMap;
use types::{Fsid, OsdId, Utime};

/// More of them than a cluster gives in a second.
const IDS_PER_SECOND: u64 = 1 << 16;

/// Why a map cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdoptError {
    /// It could go on without us.
    #[error("osd.{} is up in the OSDMap of epoch {epoch}: stop all OSDs, then take the map, then stop the old monitors", .osd.0)]
    OsdUp {
        /// Who.
        osd: OsdId,
        /// In which map.
        epoch: u32,
    },
    /// Maps of different clusters.
    #[error("the OSDMap is of cluster {osdmap}, the monitor map of cluster {monmap}")]
    OtherCluster {
        /// Of the OSDMap.
        osdmap: Fsid,
        /// Of the monitor map.
        monmap: Fsid,
    },
    /// What these monitors would not lead.
    #[error("pool '{0}' is erasure coded")]
    Erasure(String),
}

/// Makes the keys of a new store go on with `map`.
pub fn adopt(
    keys: &mut BTreeMap<String, Bytes>,
    mut map: OsdMap,
    fsid: Fsid,
    now: Utime,
) -> Result<(), AdoptError> {
    if map.fsid != fsid {
        return Err(AdoptError::OtherCluster { osdmap: map.fsid, monmap: fsid });
    }
    let epoch = map.epoch.0;
    if let Some(osd) = map.osds().find(|o| map.is_up(*o)) {
        return Err(AdoptError::OsdUp { osd, epoch });
    }
    if let Some((id, _)) = map.pools.iter().find(|(_, p)| p.is_erasure()) {
        return Err(AdoptError::Erasure(map.pool_name(*id).unwrap_or_default().to_owned()));
    }
    keys.retain(|k, _| !k.starts_with("osdmap/"));
    map.crc = None;
    keys.insert(num_key("osdmap/full/", epoch.into()), map.to_bytes(STORED));
    keys.insert("auth/max_global_id".to_owned(), encoded(&(u64::from(now.sec) * IDS_PER_SECOND)));
    Ok(())
}
