//! [`OsdMap`] and [`OsdMapIncremental`] (`OSDMap`, `OSDMap::Incremental`): the state of every OSD and pool at one epoch,
//! its byte-exact encodings, the step from one epoch to the next, and the mapping of objects to OSDs.
//!
//! Invariants:
//! - A full map encoded with the features of the incremental that led to it has the crc that `full_crc` promises.
//! - Every per-OSD vector is `max_osd` long (the primary affinities may be absent as a whole).
//! - Big parts are behind `Arc`: cloning a map copies a few dozen pointers, and epochs share what did not change.
//!
//! Deliberately absent: deciding anything (that is `mon-core`), dumps, and encodings older than luminous.

mod apply;
mod codec;
mod create;
mod fuzz;
mod incremental;
mod osd_info;
mod placement;

pub use apply::ApplyError;
pub use create::NewMap;
pub use fuzz::{fuzz_incremental, fuzz_osdmap, with_right_crc, without_promise};
pub use incremental::OsdMapIncremental;
pub use osd_info::{OsdInfo, OsdXInfo};
pub use placement::UpActing;

use crate::interval_set::IntervalSet;
use crate::pool::PgPool;
use crate::{AddrVec, EntityAddr, Epoch, Fsid, OsdId, PgId, PoolId, Utime};
use crush::CrushMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bits of an OSD's state (`CEPH_OSD_*`).
#[allow(missing_docs)]
pub mod state {
    pub const EXISTS: u32 = 1 << 0;
    pub const UP: u32 = 1 << 1;
    pub const AUTOOUT: u32 = 1 << 2;
    pub const NEW: u32 = 1 << 3;
    pub const FULL: u32 = 1 << 4;
    pub const NEARFULL: u32 = 1 << 5;
    pub const BACKFILLFULL: u32 = 1 << 6;
    pub const DESTROYED: u32 = 1 << 7;
    pub const NOUP: u32 = 1 << 8;
    pub const NODOWN: u32 = 1 << 9;
    pub const NOIN: u32 = 1 << 10;
    pub const NOOUT: u32 = 1 << 11;
    pub const STOP: u32 = 1 << 12;

    /// Names in the order of the bits.
    pub const NAMES: [&str; 13] = [
        "exists",
        "up",
        "autoout",
        "new",
        "full",
        "nearfull",
        "backfillfull",
        "destroyed",
        "noup",
        "nodown",
        "noin",
        "noout",
        "stop",
    ];

    /// Names of the bits that are on, in the order of the alphabet as stock lists them.
    pub fn names(state: u32) -> Vec<&'static str> {
        let mut v: Vec<_> = (0..NAMES.len()).filter(|i| state & (1 << i) != 0).map(|i| NAMES[i]).collect();
        v.sort_unstable();
        v
    }
}

/// Flags of the whole map (`CEPH_OSDMAP_*`).
#[allow(missing_docs)]
pub mod flag {
    pub const NEARFULL: u32 = 1 << 0;
    pub const FULL: u32 = 1 << 1;
    pub const PAUSERD: u32 = 1 << 2;
    pub const PAUSEWR: u32 = 1 << 3;
    pub const PAUSEREC: u32 = 1 << 4;
    pub const NOUP: u32 = 1 << 5;
    pub const NODOWN: u32 = 1 << 6;
    pub const NOOUT: u32 = 1 << 7;
    pub const NOIN: u32 = 1 << 8;
    pub const NOBACKFILL: u32 = 1 << 9;
    pub const NORECOVER: u32 = 1 << 10;
    pub const NOSCRUB: u32 = 1 << 11;
    pub const NODEEP_SCRUB: u32 = 1 << 12;
    pub const NOTIERAGENT: u32 = 1 << 13;
    pub const NOREBALANCE: u32 = 1 << 14;
    pub const SORTBITWISE: u32 = 1 << 15;
    pub const REQUIRE_JEWEL: u32 = 1 << 16;
    pub const REQUIRE_KRAKEN: u32 = 1 << 17;
    pub const REQUIRE_LUMINOUS: u32 = 1 << 18;
    pub const RECOVERY_DELETES: u32 = 1 << 19;
    pub const PURGED_SNAPDIRS: u32 = 1 << 20;
    pub const NOSNAPTRIM: u32 = 1 << 21;
    pub const PGLOG_HARDLIMIT: u32 = 1 << 22;

    /// Flags that the release number replaced.
    pub const LEGACY_REQUIRE: u32 = REQUIRE_JEWEL | REQUIRE_KRAKEN | REQUIRE_LUMINOUS;
    /// What a new cluster has.
    pub const DEFAULT: u32 = SORTBITWISE | RECOVERY_DELETES | PURGED_SNAPDIRS | PGLOG_HARDLIMIT;

    /// Names in the order of the bits.
    pub const NAMES: [&str; 23] = [
        "nearfull",
        "full",
        "pauserd",
        "pausewr",
        "pauserec",
        "noup",
        "nodown",
        "noout",
        "noin",
        "nobackfill",
        "norecover",
        "noscrub",
        "nodeep-scrub",
        "notieragent",
        "norebalance",
        "sortbitwise",
        "require_jewel_osds",
        "require_kraken_osds",
        "require_luminous_osds",
        "recovery_deletes",
        "purged_snapdirs",
        "nosnaptrim",
        "pglog_hardlimit",
    ];

    /// `sortbitwise,recovery_deletes,...`, as `osd dump` prints.
    pub fn names(flags: u32) -> String {
        let on = (0..NAMES.len()).filter(|i| flags & (1 << i) != 0).map(|i| NAMES[i]);
        on.collect::<Vec<_>>().join(",")
    }
}

/// Release numbers (`ceph_release_t`) as they are in maps.
#[allow(missing_docs)]
pub mod release {
    pub const UNKNOWN: u8 = 0;
    pub const JEWEL: u8 = 10;
    pub const LUMINOUS: u8 = 12;
    pub const MIMIC: u8 = 13;
    pub const NAUTILUS: u8 = 14;
    pub const OCTOPUS: u8 = 15;
    pub const PACIFIC: u8 = 16;
    pub const QUINCY: u8 = 17;

    const NAMES: [&str; 18] = [
        "unknown",
        "argonaut",
        "bobtail",
        "cuttlefish",
        "dumpling",
        "emperor",
        "firefly",
        "giant",
        "hammer",
        "infernalis",
        "jewel",
        "kraken",
        "luminous",
        "mimic",
        "nautilus",
        "octopus",
        "pacific",
        "quincy",
    ];
    /// The release's name.
    pub fn name(release: u8) -> &'static str {
        NAMES.get(release as usize).copied().unwrap_or("unknown")
    }
    /// The number for a name.
    pub fn parse(name: &str) -> Option<u8> {
        NAMES.iter().skip(1).position(|n| *n == name).map(|p| p as u8 + 1)
    }
}

/// Weight of an OSD that is in (16.16).
pub const WEIGHT_IN: u32 = 0x10000;
/// Weight of an OSD that is out.
pub const WEIGHT_OUT: u32 = 0;
/// An OSD's default, and largest, primary affinity.
pub const AFFINITY_MAX: u32 = 0x10000;
/// More OSDs than this are refused when decoding: some 12 MiB of per-OSD state. We design for 10,000, stock's
/// `mon_max_osd`.
pub const OSDS_MAX: i32 = 65_536;

/// Settings of a stretch cluster (`ceph mon enable_stretch_mode`). Carried, not acted upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct StretchMode {
    pub enabled: bool,
    pub bucket_count: u32,
    pub degraded: u32,
    pub recovering: u32,
    pub bucket: i32,
}

/// Snap ids by pool, as the maps of removed and purged snaps have them.
pub type PoolSnaps = BTreeMap<PoolId, IntervalSet>;
/// Options of erasure code profiles, by profile and key.
pub type EcProfiles = BTreeMap<String, BTreeMap<String, String>>;
/// Blocklisted addresses and when the entry ends.
pub type Blocklist = BTreeMap<EntityAddr, Utime>;

/// The cluster's OSDs and pools at one epoch. Change one only with [`OsdMap::apply_incremental`].
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct OsdMap {
    pub fsid: Fsid,
    pub epoch: Epoch,
    pub created: Utime,
    pub modified: Utime,
    pub pools: Arc<BTreeMap<PoolId, Arc<PgPool>>>,
    pub pool_names: Arc<BTreeMap<PoolId, String>>,
    /// Highest pool id ever handed out.
    pub pool_max: i32,
    pub flags: u32,
    pub max_osd: i32,
    pub osd_state: Arc<Vec<u32>>,
    pub osd_weight: Arc<Vec<u32>>,
    pub client_addrs: Arc<Vec<AddrVec>>,
    pub cluster_addrs: Arc<Vec<AddrVec>>,
    pub hb_back_addrs: Arc<Vec<AddrVec>>,
    pub hb_front_addrs: Arc<Vec<AddrVec>>,
    pub pg_temp: Arc<BTreeMap<PgId, Vec<OsdId>>>,
    pub primary_temp: Arc<BTreeMap<PgId, OsdId>>,
    /// `None` until some OSD's affinity was set.
    pub osd_primary_affinity: Option<Arc<Vec<u32>>>,
    pub crush: Arc<CrushMap>,
    pub erasure_code_profiles: Arc<EcProfiles>,
    pub pg_upmap: Arc<BTreeMap<PgId, Vec<OsdId>>>,
    pub pg_upmap_items: Arc<BTreeMap<PgId, Vec<(OsdId, OsdId)>>>,
    pub crush_version: u32,
    pub new_removed_snaps: Arc<PoolSnaps>,
    pub new_purged_snaps: Arc<PoolSnaps>,
    pub last_up_change: Utime,
    pub last_in_change: Utime,
    pub osd_info: Arc<Vec<OsdInfo>>,
    pub osd_xinfo: Arc<Vec<OsdXInfo>>,
    pub osd_uuid: Arc<Vec<Fsid>>,
    pub blocklist: Arc<Blocklist>,
    pub range_blocklist: Arc<Blocklist>,
    pub cluster_snapshot_epoch: Epoch,
    pub cluster_snapshot: String,
    pub nearfull_ratio: f32,
    pub full_ratio: f32,
    pub backfillfull_ratio: f32,
    pub require_min_compat_client: u8,
    pub require_osd_release: u8,
    pub removed_snaps_queue: Arc<PoolSnaps>,
    pub crush_node_flags: Arc<BTreeMap<i32, u32>>,
    pub device_class_flags: Arc<BTreeMap<i32, u32>>,
    pub stretch: StretchMode,
    /// Crc of the encoding that this map was decoded from; not part of the map's value when changing it.
    pub crc: Option<u32>,
}

impl Default for OsdMap {
    fn default() -> Self {
        OsdMap {
            fsid: Fsid::default(),
            epoch: Epoch(0),
            created: Utime::ZERO,
            modified: Utime::ZERO,
            pools: Arc::default(),
            pool_names: Arc::default(),
            pool_max: 0,
            flags: 0,
            max_osd: 0,
            osd_state: Arc::default(),
            osd_weight: Arc::default(),
            client_addrs: Arc::default(),
            cluster_addrs: Arc::default(),
            hb_back_addrs: Arc::default(),
            hb_front_addrs: Arc::default(),
            pg_temp: Arc::default(),
            primary_temp: Arc::default(),
            osd_primary_affinity: None,
            crush: Arc::default(),
            erasure_code_profiles: Arc::default(),
            pg_upmap: Arc::default(),
            pg_upmap_items: Arc::default(),
            crush_version: 1,
            new_removed_snaps: Arc::default(),
            new_purged_snaps: Arc::default(),
            last_up_change: Utime::ZERO,
            last_in_change: Utime::ZERO,
            osd_info: Arc::default(),
            osd_xinfo: Arc::default(),
            osd_uuid: Arc::default(),
            blocklist: Arc::default(),
            range_blocklist: Arc::default(),
            cluster_snapshot_epoch: Epoch(0),
            cluster_snapshot: String::new(),
            nearfull_ratio: 0.0,
            full_ratio: 0.0,
            backfillfull_ratio: 0.0,
            require_min_compat_client: release::UNKNOWN,
            require_osd_release: release::UNKNOWN,
            removed_snaps_queue: Arc::default(),
            crush_node_flags: Arc::default(),
            device_class_flags: Arc::default(),
            stretch: StretchMode::default(),
            crc: None,
        }
    }
}

impl OsdMap {
    fn index(&self, osd: OsdId) -> Option<usize> {
        usize::try_from(osd.0).ok().filter(|i| *i < self.osd_state.len())
    }
    /// State bits; 0 for an OSD that does not exist.
    #[inline]
    pub fn state_of(&self, osd: OsdId) -> u32 {
        self.index(osd).map_or(0, |i| self.osd_state[i])
    }
    /// True when the OSD exists.
    #[inline]
    pub fn exists(&self, osd: OsdId) -> bool {
        self.state_of(osd) & state::EXISTS != 0
    }
    /// True when the OSD exists and is up.
    #[inline]
    pub fn is_up(&self, osd: OsdId) -> bool {
        let both = state::EXISTS | state::UP;
        self.state_of(osd) & both == both
    }
    /// True unless [`OsdMap::is_up`].
    pub fn is_down(&self, osd: OsdId) -> bool {
        !self.is_up(osd)
    }
    /// Reweight (16.16); 0 for an OSD that does not exist.
    pub fn weight_of(&self, osd: OsdId) -> u32 {
        if self.exists(osd) { self.osd_weight[osd.0 as usize] } else { 0 }
    }
    /// True when the OSD exists with a weight that is not 0.
    pub fn is_in(&self, osd: OsdId) -> bool {
        self.weight_of(osd) != WEIGHT_OUT
    }
    /// True unless [`OsdMap::is_in`].
    pub fn is_out(&self, osd: OsdId) -> bool {
        !self.is_in(osd)
    }
    /// True when every bit of `flag` is on.
    pub fn has_flag(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
    /// Ids of the OSDs that exist.
    pub fn osds(&self) -> impl Iterator<Item = OsdId> + '_ {
        (0..self.max_osd).map(OsdId).filter(|o| self.exists(*o))
    }
    /// Number of OSDs that exist.
    pub fn num_osds(&self) -> usize {
        self.osds().count()
    }
    /// Number of OSDs that are up.
    pub fn num_up(&self) -> usize {
        self.osds().filter(|o| self.is_up(*o)).count()
    }
    /// Number of OSDs that exist and are in.
    pub fn num_in(&self) -> usize {
        self.osds().filter(|o| self.is_in(*o)).count()
    }
    /// Lifecycle epochs of an OSD.
    pub fn info(&self, osd: OsdId) -> Option<&OsdInfo> {
        self.osd_info.get(self.index(osd)?)
    }
    /// Lifecycle details of an OSD.
    pub fn xinfo(&self, osd: OsdId) -> Option<&OsdXInfo> {
        self.osd_xinfo.get(self.index(osd)?)
    }
    /// Uuid of an OSD's store.
    pub fn uuid(&self, osd: OsdId) -> Option<Fsid> {
        self.osd_uuid.get(self.index(osd)?).copied()
    }
    /// Addresses for clients.
    pub fn addrs(&self, osd: OsdId) -> Option<&AddrVec> {
        self.client_addrs.get(self.index(osd)?)
    }
    /// Primary affinity (16.16) of an OSD.
    pub fn primary_affinity(&self, osd: OsdId) -> u32 {
        let affinity = self.osd_primary_affinity.as_ref().zip(self.index(osd));
        affinity.and_then(|(a, i)| a.get(i).copied()).unwrap_or(AFFINITY_MAX)
    }
    /// A pool.
    #[inline]
    pub fn pool(&self, id: PoolId) -> Option<&PgPool> {
        self.pools.get(&id).map(|p| &**p)
    }
    /// A pool's name.
    pub fn pool_name(&self, id: PoolId) -> Option<&str> {
        self.pool_names.get(&id).map(String::as_str)
    }
    /// The pool with a name.
    pub fn pool_by_name(&self, name: &str) -> Option<PoolId> {
        self.pool_names.iter().find(|(_, n)| *n == name).map(|(id, _)| *id)
    }
    /// True when the address may not talk to OSDs: it is listed itself (with its nonce), or its whole host, in v1 or v2
    /// or "any" form, or its network is in the range blocklist.
    pub fn is_blocklisted(&self, addr: &EntityAddr) -> bool {
        use crate::AddrType;
        if self.blocklist.is_empty() && self.range_blocklist.is_empty() {
            return false;
        }
        let listed = |kind, nonce, sock| self.blocklist.contains_key(&EntityAddr { kind, nonce, sock });
        let Some(sock) = addr.sock else { return false };
        let mut host = sock;
        host.set_port(0);
        let both = [(addr.nonce, Some(sock)), (0, Some(host))];
        let kinds = [AddrType::Any, AddrType::Msgr2, AddrType::Legacy];
        both.iter().any(|(n, s)| kinds.iter().any(|k| listed(*k, *n, *s)))
            || self.range_blocklist.keys().any(|range| in_range(range, addr))
    }
}

/// True when `addr` is in the network `range`, whose nonce holds the prefix length.
fn in_range(range: &EntityAddr, addr: &EntityAddr) -> bool {
    use core::net::IpAddr;
    let (Some(r), Some(a)) = (range.sock, addr.sock) else { return false };
    let prefix = range.nonce;
    match (r.ip(), a.ip()) {
        (IpAddr::V4(r), IpAddr::V4(a)) => {
            let shift = 32u32.saturating_sub(prefix);
            shift >= 32 || (r.to_bits() ^ a.to_bits()) >> shift == 0
        }
        (IpAddr::V6(r), IpAddr::V6(a)) => {
            let shift = 128u32.saturating_sub(prefix);
            shift >= 128 || (r.to_bits() ^ a.to_bits()) >> shift == 0
        }
        _ => false,
    }
}
