//! [`OsdConfig`]: what an OSD is told at its start, and the options that can change while it runs.

use crate::heartbeat::HbConfig;
use pg::PgConfig;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{AddrVec, Fsid, OsdId};

/// Addresses of an OSD, as it announces them when it boots.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OsdAddrs {
    /// For clients.
    pub public: AddrVec,
    /// For OSDs.
    pub cluster: AddrVec,
    /// Heartbeats, cluster side.
    pub hb_back: AddrVec,
    /// Heartbeats, public side.
    pub hb_front: AddrVec,
}

/// Start configuration.
#[derive(Clone, Debug)]
pub struct OsdConfig {
    /// The OSD's number.
    pub whoami: OsdId,
    /// The cluster that the conf names; zero to take the superblock's.
    pub fsid: Fsid,
    /// Where it listens.
    pub addrs: OsdAddrs,
    /// What `osd metadata` shows.
    pub metadata: BTreeMap<String, String>,
    /// Where CRUSH should place it at boot (`host=a root=default`); empty leaves it alone (`osd_crush_update_on_start`).
    pub crush_location: BTreeMap<String, String>,
    /// Device class to claim at boot (`ssd`, `hdd`).
    pub device_class: String,
    /// CRUSH weight at boot: size of the device in TiB.
    pub crush_weight: f64,
    /// Heartbeats.
    pub heartbeat: HbConfig,
    /// Placement groups.
    pub pg: PgConfig,
    /// `mgr_stats_period`: how often statistics go to the manager without cause.
    pub stats_period: Duration,
    /// After a change of state statistics go out this soon.
    pub stats_delay: Duration,
    /// `osd_beacon_report_interval`.
    pub beacon_interval: Duration,
    /// `osd_map_cache_size`: decoded maps in memory.
    pub map_cache: usize,
    /// `osd_map_message_max`: maps in one message.
    pub map_message_max: usize,
    /// Ops that wait for a map or a PG, per OSD.
    pub waiting_ops_max: usize,
    /// `osd_op_complaint_time`.
    pub complaint_time: Duration,
}

impl OsdConfig {
    /// Stock's defaults for OSD `whoami`.
    pub fn new(whoami: OsdId) -> OsdConfig {
        OsdConfig {
            whoami,
            fsid: Fsid::default(),
            addrs: OsdAddrs::default(),
            metadata: BTreeMap::new(),
            crush_location: BTreeMap::new(),
            device_class: "ssd".to_owned(),
            crush_weight: 0.0,
            heartbeat: HbConfig::default(),
            pg: PgConfig::default(),
            stats_period: Duration::from_secs(5),
            stats_delay: Duration::from_millis(100),
            beacon_interval: Duration::from_secs(300),
            map_cache: 50,
            map_message_max: 40,
            waiting_ops_max: 10_000,
            complaint_time: Duration::from_secs(30),
        }
    }
}
