//! One file system's map: [`MdsMap`] 5/4 with the daemons that serve it, [`MdsInfo`] 10/4 (`MDSMap`, `MDSMap::mds_info_t`).
//!
//! Only the encodings of 15.2 and later are read; what those of 16.2.15 have more gets its default.

use crate::compatset::CompatSet;
use crate::{AddrVec, Epoch, Utime, features};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};

/// What a daemon does or shall do (`MDSMap::DaemonState`): the values that travel.
#[allow(missing_docs)]
pub mod state {
    pub const NULL: i32 = -10;
    pub const DNE: i32 = 0;
    pub const STOPPED: i32 = -1;
    pub const BOOT: i32 = -4;
    pub const STANDBY: i32 = -5;
    pub const CREATING: i32 = -6;
    pub const STARTING: i32 = -7;
    pub const STANDBY_REPLAY: i32 = -8;
    pub const REPLAY: i32 = 8;
    pub const RESOLVE: i32 = 9;
    pub const RECONNECT: i32 = 10;
    pub const REJOIN: i32 = 11;
    pub const CLIENTREPLAY: i32 = 12;
    pub const ACTIVE: i32 = 13;
    pub const STOPPING: i32 = 14;
    pub const DAMAGED: i32 = 15;

    /// `up:active`.
    pub fn name(s: i32) -> &'static str {
        match s {
            DNE => "down:dne",
            STOPPED => "down:stopped",
            DAMAGED => "down:damaged",
            BOOT => "up:boot",
            STANDBY => "up:standby",
            STANDBY_REPLAY => "up:standby-replay",
            -9 => "up:oneshot-replay",
            CREATING => "up:creating",
            STARTING => "up:starting",
            REPLAY => "up:replay",
            RESOLVE => "up:resolve",
            RECONNECT => "up:reconnect",
            REJOIN => "up:rejoin",
            CLIENTREPLAY => "up:clientreplay",
            ACTIVE => "up:active",
            STOPPING => "up:stopping",
            _ => "???",
        }
    }
}

/// Flags of a file system (`CEPH_MDSMAP_*`).
#[allow(missing_docs)]
pub mod flag {
    pub const NOT_JOINABLE: u32 = 1 << 0;
    pub const ALLOW_SNAPS: u32 = 1 << 1;
    pub const ALLOW_MULTIMDS_SNAPS: u32 = 1 << 4;
    pub const ALLOW_STANDBY_REPLAY: u32 = 1 << 5;
    pub const REFUSE_CLIENT_SESSION: u32 = 1 << 6;
    /// What a new file system has.
    pub const DEFAULTS: u32 = ALLOW_SNAPS | ALLOW_MULTIMDS_SNAPS;
}

/// A daemon's flags.
pub const MDS_FROZEN: u64 = 1;

/// "No rank" (`MDS_RANK_NONE`).
pub const RANK_NONE: i32 = -1;

/// A set of client features by number (`feature_bitset_t`): blocks of 64 bits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeatureBits(pub Vec<u64>);
impl FeatureBits {
    /// Blocks that are accepted.
    const BLOCKS_MAX: usize = 1024;
    /// True when the bit is set.
    pub fn has(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|b| b & (1 << (bit % 64)) != 0)
    }
    /// Sets a bit, below 64 * 1024.
    pub fn insert(&mut self, bit: usize) {
        if bit / 64 >= Self::BLOCKS_MAX {
            return;
        }
        if self.0.len() <= bit / 64 {
            self.0.resize(bit / 64 + 1, 0);
        }
        self.0[bit / 64] |= 1 << (bit % 64);
    }
    /// Clears a bit.
    pub fn remove(&mut self, bit: usize) {
        if let Some(b) = self.0.get_mut(bit / 64) {
            *b &= !(1 << (bit % 64));
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
    /// The bits that are set.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|b| self.has(*b))
    }
    /// True without bits.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }
}
impl Encode for FeatureBits {
    fn encode(&self, e: &mut Encoder) {
        e.u32(self.0.len() as u32 * 8);
        self.0.iter().for_each(|b| e.u64(*b));
    }
}
impl Decode for FeatureBits {
    const MIN_SIZE: usize = 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let mut d = d.sub("feature_bitset_t")?;
        let len = d.remaining();
        if len > Self::BLOCKS_MAX * 8 {
            return Err(DencError::Invalid { what: "feature_bitset_t length", value: len as u64 });
        }
        let mut blocks = Vec::with_capacity(len.div_ceil(8));
        while !d.is_empty() {
            let part = d.raw(d.remaining().min(8))?;
            let mut b = [0u8; 8];
            b[..part.len()].copy_from_slice(part);
            blocks.push(u64::from_le_bytes(b));
        }
        Ok(FeatureBits(blocks))
    }
}

/// One daemon (`MDSMap::mds_info_t`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdsInfo {
    /// Its global id: a daemon that starts again is another one.
    pub global_id: u64,
    /// Its name.
    pub name: String,
    /// The rank it serves, or [`RANK_NONE`].
    pub rank: i32,
    /// Counts who served the rank.
    pub inc: i32,
    /// See [`state`].
    pub state: i32,
    /// Sequence of the beacon that brought the state.
    pub state_seq: u64,
    /// Its addresses.
    pub addrs: AddrVec,
    /// Since when it is silent; zero when it is not.
    pub laggy_since: Utime,
    /// Ranks it exports to.
    pub export_targets: BTreeSet<i32>,
    /// Feature bits of its connection.
    pub mds_features: u64,
    /// File system that it prefers; -1 for none.
    pub join_fscid: i32,
    /// Its flags.
    pub flags: u64,
    /// On-disk features it knows.
    pub compat: CompatSet,
}
impl Default for MdsInfo {
    fn default() -> Self {
        MdsInfo {
            global_id: 0,
            name: String::new(),
            rank: RANK_NONE,
            inc: 0,
            state: state::STANDBY,
            state_seq: 0,
            addrs: AddrVec::default(),
            laggy_since: Utime::ZERO,
            export_targets: BTreeSet::new(),
            mds_features: 0,
            join_fscid: -1,
            flags: 0,
            compat: CompatSet::default(),
        }
    }
}
impl MdsInfo {
    /// True when it was silent for too long.
    pub fn is_laggy(&self) -> bool {
        !self.laggy_since.is_zero()
    }
    /// True when an operator froze it.
    pub fn is_frozen(&self) -> bool {
        self.flags & MDS_FROZEN != 0
    }
}
impl Encode for MdsInfo {
    fn encode(&self, e: &mut Encoder) {
        let version = if e.has(features::SERVER_NAUTILUS) { 10 } else { 7 };
        e.versioned(version, 4, |e| {
            e.u64(self.global_id);
            e.put(&self.name);
            e.i32(self.rank);
            e.i32(self.inc);
            e.i32(self.state);
            e.u64(self.state_seq);
            if version < 8 {
                e.put(&self.addrs.legacy_or_front());
            } else {
                e.put(&self.addrs);
            }
            e.put(&self.laggy_since);
            e.i32(RANK_NONE); // whom it was to follow, in old releases
            e.put("");
            e.put(&self.export_targets);
            e.u64(self.mds_features);
            e.i32(self.join_fscid);
            e.bool(false);
            if version >= 9 {
                e.u64(self.flags);
            }
            if version >= 10 {
                e.put(&self.compat);
            }
        });
    }
}
impl Decode for MdsInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MDSMap::mds_info_t", 10)?;
        if v < 7 {
            return Err(DencError::TooOld { what: "MDSMap::mds_info_t", version: v, oldest: 7 });
        }
        let mut i = MdsInfo {
            global_id: d.u64()?,
            name: d.get()?,
            rank: d.i32()?,
            inc: d.i32()?,
            state: d.i32()?,
            state_seq: d.u64()?,
            addrs: d.get()?,
            laggy_since: d.get()?,
            ..MdsInfo::default()
        };
        d.i32()?;
        d.string()?;
        i.export_targets = d.get()?;
        i.mds_features = d.u64()?;
        i.join_fscid = d.i32()?;
        d.bool()?;
        if v >= 9 {
            i.flags = d.u64()?;
        }
        if v >= 10 {
            i.compat = d.get()?;
        }
        Ok(i)
    }
}

/// One file system's daemons, ranks, pools and settings (`MDSMap`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdsMap {
    /// Epoch of the [`crate::fsmap::FsMap`] in which it changed last.
    pub epoch: Epoch,
    /// See [`flag`].
    pub flags: u32,
    /// Epoch in which a rank failed last.
    pub last_failure: Epoch,
    /// Rank of the root directory.
    pub root: i32,
    /// Seconds after which a silent client's session is stale.
    pub session_timeout: u32,
    /// Seconds after which it is closed.
    pub session_autoclose: u32,
    /// Largest file.
    pub max_file_size: u64,
    /// Wanted number of active ranks.
    pub max_mds: i32,
    /// Daemons by global id.
    pub mds_info: BTreeMap<u64, MdsInfo>,
    /// Data pools; the first is the default.
    pub data_pools: Vec<i64>,
    /// Never used; -1.
    pub cas_pool: i64,
    /// On-disk features.
    pub compat: CompatSet,
    /// The metadata pool.
    pub metadata_pool: i64,
    /// When it was made.
    pub created: Utime,
    /// When it changed last.
    pub modified: Utime,
    /// Rank of the table server.
    pub tableserver: i32,
    /// Ranks that exist.
    pub in_ranks: BTreeSet<i32>,
    /// How often each rank was taken.
    pub inc: BTreeMap<i32, i32>,
    /// Daemon of each rank that has one.
    pub up: BTreeMap<i32, u64>,
    /// Ranks without a daemon.
    pub failed: BTreeSet<i32>,
    /// Ranks that were shut down in order.
    pub stopped: BTreeSet<i32>,
    /// OSD map epoch that blocklists who failed last.
    pub last_failure_osd_epoch: Epoch,
    /// Bits of old settings.
    pub ever_allowed_features: u8,
    /// The same.
    pub explicitly_allowed_features: u8,
    /// Small files may be in their inode.
    pub inline_data_enabled: bool,
    /// There is a file system here.
    pub enabled: bool,
    /// Its name.
    pub fs_name: String,
    /// Ranks whose metadata is damaged.
    pub damaged: BTreeSet<i32>,
    /// A balancer's object; empty for none.
    pub balancer: String,
    /// Wanted standbys; -1 until the first one is seen, which makes it 1.
    pub standby_count_wanted: i32,
    /// `max_mds` before the file system was taken down.
    pub old_max_mds: i32,
    /// Client features that a client must have.
    pub required_client_features: FeatureBits,
}
impl Default for MdsMap {
    fn default() -> Self {
        MdsMap {
            epoch: Epoch(0),
            flags: flag::DEFAULTS,
            last_failure: Epoch(0),
            root: 0,
            session_timeout: 60,
            session_autoclose: 300,
            max_file_size: 1 << 40,
            max_mds: 1,
            mds_info: BTreeMap::new(),
            data_pools: Vec::new(),
            cas_pool: -1,
            compat: CompatSet::default(),
            metadata_pool: -1,
            created: Utime::ZERO,
            modified: Utime::ZERO,
            tableserver: 0,
            in_ranks: BTreeSet::new(),
            inc: BTreeMap::new(),
            up: BTreeMap::new(),
            failed: BTreeSet::new(),
            stopped: BTreeSet::new(),
            last_failure_osd_epoch: Epoch(0),
            ever_allowed_features: 0,
            explicitly_allowed_features: 0,
            inline_data_enabled: false,
            enabled: false,
            fs_name: "MDS Map".to_owned(),
            damaged: BTreeSet::new(),
            balancer: String::new(),
            standby_count_wanted: -1,
            old_max_mds: 0,
            required_client_features: FeatureBits::default(),
        }
    }
}

/// Version of the part behind the pools (`ev`) that 16.2.15 writes.
const TAIL_VERSION: u16 = 16;

impl Encode for MdsMap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(5, 4, |e| {
            e.put(&self.epoch);
            e.u32(self.flags);
            e.put(&self.last_failure);
            e.i32(self.root);
            e.u32(self.session_timeout);
            e.u32(self.session_autoclose);
            e.u64(self.max_file_size);
            e.i32(self.max_mds);
            e.put(&self.mds_info);
            e.put(&self.data_pools);
            e.i64(self.cas_pool);
            e.u16(TAIL_VERSION);
            e.put(&self.compat);
            e.i64(self.metadata_pool);
            e.put(&self.created);
            e.put(&self.modified);
            e.i32(self.tableserver);
            e.put(&self.in_ranks);
            e.put(&self.inc);
            e.put(&self.up);
            e.put(&self.failed);
            e.put(&self.stopped);
            e.put(&self.last_failure_osd_epoch);
            e.u8(self.ever_allowed_features);
            e.u8(self.explicitly_allowed_features);
            e.bool(self.inline_data_enabled);
            e.bool(self.enabled);
            e.put(&self.fs_name);
            e.put(&self.damaged);
            e.put(&self.balancer);
            e.i32(self.standby_count_wanted);
            e.i32(self.old_max_mds);
            e.u8(0); // was min_compat_client
            e.put(&self.required_client_features);
        });
    }
}
impl Decode for MdsMap {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MDSMap", 5)?;
        if v < 5 {
            return Err(DencError::TooOld { what: "MDSMap", version: v, oldest: 5 });
        }
        let mut m = MdsMap {
            epoch: d.get()?,
            flags: d.u32()?,
            last_failure: d.get()?,
            root: d.i32()?,
            session_timeout: d.u32()?,
            session_autoclose: d.u32()?,
            max_file_size: d.u64()?,
            max_mds: d.i32()?,
            mds_info: d.get()?,
            data_pools: d.get()?,
            cas_pool: d.i64()?,
            ..MdsMap::default()
        };
        let ev = d.u16()?;
        if ev < 15 {
            return Err(DencError::TooOld { what: "MDSMap tail", version: ev.min(255) as u8, oldest: 15 });
        }
        m.compat = d.get()?;
        m.metadata_pool = d.i64()?;
        m.created = d.get()?;
        m.modified = d.get()?;
        m.tableserver = d.i32()?;
        m.in_ranks = d.get()?;
        m.inc = d.get()?;
        m.up = d.get()?;
        m.failed = d.get()?;
        m.stopped = d.get()?;
        m.last_failure_osd_epoch = d.get()?;
        m.ever_allowed_features = d.u8()?;
        m.explicitly_allowed_features = d.u8()?;
        m.inline_data_enabled = d.bool()?;
        m.enabled = d.bool()?;
        m.fs_name = d.get()?;
        m.damaged = d.get()?;
        m.balancer = d.get()?;
        m.standby_count_wanted = d.i32()?;
        m.old_max_mds = d.i32()?;
        d.u8()?;
        if ev >= 16 {
            m.required_client_features = d.get()?;
        }
        Ok(m)
    }
}

impl MdsMap {
    /// Its encoding for a peer.
    pub fn to_bytes(&self, f: denc::Features) -> Bytes {
        denc::to_bytes(self, f)
    }
    /// The daemon of a rank.
    pub fn info_of_rank(&self, rank: i32) -> Option<&MdsInfo> {
        self.mds_info.get(self.up.get(&rank)?)
    }
    /// Daemons in a state.
    pub fn num_in_state(&self, s: i32) -> usize {
        self.mds_info.values().filter(|i| i.state == s).count()
    }
    /// True when a flag is set.
    pub fn has_flag(&self, f: u32) -> bool {
        self.flags & f != 0
    }
    /// True when a rank has no daemon, is damaged, or is on its way back.
    pub fn is_degraded(&self) -> bool {
        !self.failed.is_empty()
            || !self.damaged.is_empty()
            || self.mds_info.values().any(|i| (state::REPLAY..=state::CLIENTREPLAY).contains(&i.state))
    }
    /// True when new ranks may be made or ranks stopped now: no daemon is in between.
    pub fn is_resizeable(&self) -> bool {
        !self.is_degraded()
            && [state::CREATING, state::STARTING, state::STOPPING].iter().all(|s| self.num_in_state(*s) == 0)
    }
    /// How many standbys lack where `standbys` wait that serve no file system.
    pub fn standbys_missing(&self, standbys: usize) -> i64 {
        let have = (self.num_in_state(state::STANDBY_REPLAY) + standbys) as i64;
        (i64::from(self.standby_count_wanted.max(0)) - have).max(0)
    }
}
