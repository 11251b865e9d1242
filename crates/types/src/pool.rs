//! [`PgPool`] (`pg_pool_t`): a pool's settings, and the arithmetic from object hashes to PGs and placement seeds.
//!
//! Encoded as version 29 (30 for stretch pools) for readers since nautilus, 27, 26 or 24 for older ones; decoded from
//! version 24 on, the oldest that a cluster this project can meet writes.

use crate::features;
use crate::hash::str_hash;
use crate::interval_set::IntervalSet;
use crate::{EVersion, Epoch, PgId, SnapId, Utime};
use crush::hash::hash32_2;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};

/// `ceph_stable_mod`: `x` modulo `b` such that growing `b` up to the next power of two moves each value at most once.
#[inline]
pub fn stable_mod(x: u32, b: u32, mask: u32) -> u32 {
    if x & mask < b { x & mask } else { x & (mask >> 1) }
}

/// The bit mask that [`stable_mod`] wants for `n` (`calc_mask`).
#[inline]
pub fn stable_mask(n: u32) -> u32 {
    match n {
        0 => 0,
        n => ((1u64 << (32 - (n - 1).leading_zeros())) - 1) as u32,
    }
}

/// Pool flags (`pg_pool_t::FLAG_*`).
#[allow(missing_docs)]
pub mod flag {
    pub const HASHPSPOOL: u64 = 1 << 0;
    pub const FULL: u64 = 1 << 1;
    pub const EC_OVERWRITES: u64 = 1 << 2;
    pub const INCOMPLETE_CLONES: u64 = 1 << 3;
    pub const NODELETE: u64 = 1 << 4;
    pub const NOPGCHANGE: u64 = 1 << 5;
    pub const NOSIZECHANGE: u64 = 1 << 6;
    pub const WRITE_FADVISE_DONTNEED: u64 = 1 << 7;
    pub const NOSCRUB: u64 = 1 << 8;
    pub const NODEEP_SCRUB: u64 = 1 << 9;
    pub const FULL_QUOTA: u64 = 1 << 10;
    pub const NEARFULL: u64 = 1 << 11;
    pub const BACKFILLFULL: u64 = 1 << 12;
    pub const SELFMANAGED_SNAPS: u64 = 1 << 13;
    pub const POOL_SNAPS: u64 = 1 << 14;
    pub const CREATING: u64 = 1 << 15;
    pub const EIO: u64 = 1 << 16;

    /// Names in the order of the bits, as `osd dump` prints them.
    pub const NAMES: [&str; 17] = [
        "hashpspool",
        "full",
        "ec_overwrites",
        "incomplete_clones",
        "nodelete",
        "nopgchange",
        "nosizechange",
        "write_fadvise_dontneed",
        "noscrub",
        "nodeep-scrub",
        "full_quota",
        "nearfull",
        "backfillfull",
        "selfmanaged_snaps",
        "pool_snaps",
        "creating",
        "eio",
    ];

    /// `hashpspool,selfmanaged_snaps`.
    pub fn names(flags: u64) -> String {
        let on = (0..NAMES.len()).filter(|i| flags & (1 << i) != 0).map(|i| NAMES[i]);
        on.collect::<Vec<_>>().join(",")
    }
}

/// How a pool keeps its objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum PoolType {
    /// Whole copies.
    #[default]
    Replicated = 1,
    /// Erasure coded.
    Erasure = 3,
}

/// A value of [`PoolOpts`].
#[derive(Clone, PartialEq, Debug)]
pub enum PoolOpt {
    /// Text.
    Str(String),
    /// Integer.
    Int(i64),
    /// Floating point.
    Double(f64),
}

/// Keys of [`PoolOpts`] (`pool_opts_t::key_t`).
#[allow(missing_docs)]
pub mod opt {
    pub const SCRUB_MIN_INTERVAL: i32 = 0;
    pub const SCRUB_MAX_INTERVAL: i32 = 1;
    pub const DEEP_SCRUB_INTERVAL: i32 = 2;
    pub const RECOVERY_PRIORITY: i32 = 3;
    pub const RECOVERY_OP_PRIORITY: i32 = 4;
    pub const SCRUB_PRIORITY: i32 = 5;
    pub const COMPRESSION_MODE: i32 = 6;
    pub const COMPRESSION_ALGORITHM: i32 = 7;
    pub const COMPRESSION_REQUIRED_RATIO: i32 = 8;
    pub const COMPRESSION_MAX_BLOB_SIZE: i32 = 9;
    pub const COMPRESSION_MIN_BLOB_SIZE: i32 = 10;
    pub const CSUM_TYPE: i32 = 11;
    pub const CSUM_MAX_BLOCK: i32 = 12;
    pub const CSUM_MIN_BLOCK: i32 = 13;
    pub const FINGERPRINT_ALGORITHM: i32 = 14;
    pub const PG_NUM_MIN: i32 = 15;
    pub const TARGET_SIZE_BYTES: i32 = 16;
    pub const TARGET_SIZE_RATIO: i32 = 17;
    pub const PG_AUTOSCALE_BIAS: i32 = 18;
    pub const READ_LEASE_INTERVAL: i32 = 19;
    pub const DEDUP_TIER: i32 = 20;
    pub const DEDUP_CHUNK_ALGORITHM: i32 = 21;
    pub const DEDUP_CDC_CHUNK_SIZE: i32 = 22;
    pub const PG_NUM_MAX: i32 = 23;

    /// Names by key, as `osd pool set` takes them.
    pub const NAMES: [&str; 24] = [
        "scrub_min_interval",
        "scrub_max_interval",
        "deep_scrub_interval",
        "recovery_priority",
        "recovery_op_priority",
        "scrub_priority",
        "compression_mode",
        "compression_algorithm",
        "compression_required_ratio",
        "compression_max_blob_size",
        "compression_min_blob_size",
        "csum_type",
        "csum_max_block",
        "csum_min_block",
        "fingerprint_algorithm",
        "pg_num_min",
        "target_size_bytes",
        "target_size_ratio",
        "pg_autoscale_bias",
        "read_lease_interval",
        "dedup_tier",
        "dedup_chunk_algorithm",
        "dedup_cdc_chunk_size",
        "pg_num_max",
    ];
}

/// Options that a pool overrides, by key (`pool_opts_t`).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PoolOpts(pub BTreeMap<i32, PoolOpt>);

impl Encode for PoolOpts {
    fn encode(&self, e: &mut Encoder) {
        let wide = e.has(features::SERVER_NAUTILUS);
        e.versioned(if wide { 2 } else { 1 }, 1, |e| {
            e.count(self.0.len());
            for (key, value) in &self.0 {
                e.i32(*key);
                match value {
                    PoolOpt::Str(s) => {
                        e.i32(0);
                        e.put(s);
                    }
                    PoolOpt::Int(n) => {
                        e.i32(1);
                        if wide { e.i64(*n) } else { e.i32(*n as i32) }
                    }
                    PoolOpt::Double(f) => {
                        e.i32(2);
                        e.put(f);
                    }
                }
            }
        });
    }
}
impl Decode for PoolOpts {
    const MIN_SIZE: usize = 10;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("pool_opts_t", 2)?;
        let n = d.count("pool_opts_t", 12)?;
        let mut opts = BTreeMap::new();
        for _ in 0..n {
            let key = d.i32()?;
            let value = match d.i32()? {
                0 => PoolOpt::Str(d.string()?),
                1 => PoolOpt::Int(if v >= 2 { d.i64()? } else { d.i32()?.into() }),
                2 => PoolOpt::Double(d.get()?),
                t => return Err(DencError::Invalid { what: "pool_opts_t type", value: t as u64 }),
            };
            opts.insert(key, value);
        }
        Ok(PoolOpts(opts))
    }
}

/// A pool snapshot (`pool_snap_info_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolSnapInfo {
    /// Id.
    pub snap: SnapId,
    /// When it was made.
    pub stamp: Utime,
    /// Name.
    pub name: String,
}
impl Encode for PoolSnapInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 2, |e| {
            e.put(&self.snap);
            e.put(&self.stamp);
            e.put(&self.name);
        });
    }
}
impl Decode for PoolSnapInfo {
    const MIN_SIZE: usize = 26;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("pool_snap_info_t", 2)?;
        Ok(PoolSnapInfo { snap: d.get()?, stamp: d.get()?, name: d.get()? })
    }
}

/// Parameters of a cache tier's hit sets (`HitSet::Params`). Kept for the encoding; nothing here uses hit sets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum HitSetParams {
    /// No hit sets.
    #[default]
    None,
    /// A set of hashes.
    ExplicitHash,
    /// A set of objects.
    ExplicitObject,
    /// A bloom filter.
    Bloom {
        /// False positive probability in millionths.
        fpp_micro: u32,
        /// Objects the filter is sized for.
        target_size: u64,
        /// Seed.
        seed: u64,
    },
}
impl Encode for HitSetParams {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| match self {
            HitSetParams::None => e.u8(0),
            HitSetParams::ExplicitHash => {
                e.u8(1);
                e.versioned(1, 1, |_| {});
            }
            HitSetParams::ExplicitObject => {
                e.u8(2);
                e.versioned(1, 1, |_| {});
            }
            HitSetParams::Bloom { fpp_micro, target_size, seed } => {
                e.u8(3);
                e.versioned(1, 1, |e| {
                    e.u32(*fpp_micro);
                    e.u64(*target_size);
                    e.u64(*seed);
                });
            }
        });
    }
}
impl Decode for HitSetParams {
    const MIN_SIZE: usize = 7;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("HitSet::Params", 1)?;
        Ok(match d.u8()? {
            0 => HitSetParams::None,
            1 => d.open("explicit hash", 1).map(|_| HitSetParams::ExplicitHash)?,
            2 => d.open("explicit object", 1).map(|_| HitSetParams::ExplicitObject)?,
            3 => {
                let (_, mut d) = d.open("BloomHitSet::Params", 1)?;
                HitSetParams::Bloom { fpp_micro: d.u32()?, target_size: d.u64()?, seed: d.u64()? }
            }
            t => return Err(DencError::Invalid { what: "HitSet type", value: t.into() }),
        })
    }
}

/// The last PG merge, for OSDs that were down through it (`pg_merge_meta_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct PgMergeMeta {
    pub source_pgid: PgId,
    pub ready_epoch: Epoch,
    pub last_epoch_started: Epoch,
    pub last_epoch_clean: Epoch,
    pub source_version: EVersion,
    pub target_version: EVersion,
}
impl Encode for PgMergeMeta {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.source_pgid);
            e.put(&self.ready_epoch);
            e.put(&self.last_epoch_started);
            e.put(&self.last_epoch_clean);
            e.put(&self.source_version);
            e.put(&self.target_version);
        });
    }
}
impl Decode for PgMergeMeta {
    const MIN_SIZE: usize = 59;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("pg_merge_meta_t", 1)?;
        Ok(PgMergeMeta {
            source_pgid: d.get()?,
            ready_epoch: d.get()?,
            last_epoch_started: d.get()?,
            last_epoch_clean: d.get()?,
            source_version: d.get()?,
            target_version: d.get()?,
        })
    }
}

/// `pg_autoscale_mode_t`.
#[allow(missing_docs)]
pub mod autoscale {
    pub const OFF: u8 = 0;
    pub const WARN: u8 = 1;
    pub const ON: u8 = 2;
    /// The mode's name.
    pub fn name(mode: u8) -> &'static str {
        match mode {
            OFF => "off",
            WARN => "warn",
            ON => "on",
            _ => "???",
        }
    }
}

/// A pool (`pg_pool_t`). [`PgPool::default`] is stock's default-constructed one.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct PgPool {
    pub kind: PoolType,
    pub size: u8,
    pub min_size: u8,
    pub crush_rule: u8,
    pub object_hash: u8,
    pub pg_num: u32,
    pub pgp_num: u32,
    pub pg_num_pending: u32,
    pub pg_num_target: u32,
    pub pgp_num_target: u32,
    pub last_change: Epoch,
    pub snap_seq: SnapId,
    pub snap_epoch: Epoch,
    pub snaps: BTreeMap<SnapId, PoolSnapInfo>,
    pub removed_snaps: IntervalSet,
    pub auid: u64,
    pub flags: u64,
    pub quota_max_bytes: u64,
    pub quota_max_objects: u64,
    pub tiers: BTreeSet<u64>,
    pub tier_of: i64,
    pub cache_mode: u8,
    pub read_tier: i64,
    pub write_tier: i64,
    pub properties: BTreeMap<String, String>,
    pub hit_set_params: HitSetParams,
    pub hit_set_period: u32,
    pub hit_set_count: u32,
    pub stripe_width: u32,
    pub target_max_bytes: u64,
    pub target_max_objects: u64,
    pub cache_target_dirty_ratio_micro: u32,
    pub cache_target_full_ratio_micro: u32,
    pub cache_min_flush_age: u32,
    pub cache_min_evict_age: u32,
    pub erasure_code_profile: String,
    pub last_force_op_resend: Epoch,
    pub last_force_op_resend_prenautilus: Epoch,
    pub last_force_op_resend_preluminous: Epoch,
    pub min_read_recency_for_promote: u32,
    pub expected_num_objects: u64,
    pub cache_target_dirty_high_ratio_micro: u32,
    pub min_write_recency_for_promote: u32,
    pub use_gmt_hitset: bool,
    pub fast_read: bool,
    pub hit_set_grade_decay_rate: u32,
    pub hit_set_search_last_n: u32,
    pub opts: PoolOpts,
    pub application_metadata: BTreeMap<String, BTreeMap<String, String>>,
    pub create_time: Utime,
    pub pg_autoscale_mode: u8,
    pub last_pg_merge_meta: PgMergeMeta,
    pub peering_crush_bucket_count: u32,
    pub peering_crush_bucket_target: u32,
    pub peering_crush_bucket_barrier: u32,
    pub peering_crush_mandatory_member: i32,
}

impl Default for PgPool {
    fn default() -> Self {
        PgPool {
            kind: PoolType::Replicated,
            size: 0,
            min_size: 0,
            crush_rule: 0,
            object_hash: 0,
            pg_num: 0,
            pgp_num: 0,
            pg_num_pending: 0,
            pg_num_target: 0,
            pgp_num_target: 0,
            last_change: Epoch(0),
            snap_seq: SnapId(0),
            snap_epoch: Epoch(0),
            snaps: BTreeMap::new(),
            removed_snaps: IntervalSet::new(),
            auid: 0,
            flags: 0,
            quota_max_bytes: 0,
            quota_max_objects: 0,
            tiers: BTreeSet::new(),
            tier_of: -1,
            cache_mode: 0,
            read_tier: -1,
            write_tier: -1,
            properties: BTreeMap::new(),
            hit_set_params: HitSetParams::None,
            hit_set_period: 0,
            hit_set_count: 0,
            stripe_width: 0,
            target_max_bytes: 0,
            target_max_objects: 0,
            cache_target_dirty_ratio_micro: 0,
            cache_target_full_ratio_micro: 0,
            cache_min_flush_age: 0,
            cache_min_evict_age: 0,
            erasure_code_profile: String::new(),
            last_force_op_resend: Epoch(0),
            last_force_op_resend_prenautilus: Epoch(0),
            last_force_op_resend_preluminous: Epoch(0),
            min_read_recency_for_promote: 0,
            expected_num_objects: 0,
            cache_target_dirty_high_ratio_micro: 0,
            min_write_recency_for_promote: 0,
            use_gmt_hitset: true,
            fast_read: false,
            hit_set_grade_decay_rate: 0,
            hit_set_search_last_n: 0,
            opts: PoolOpts::default(),
            application_metadata: BTreeMap::new(),
            create_time: Utime::ZERO,
            pg_autoscale_mode: autoscale::ON,
            last_pg_merge_meta: PgMergeMeta::default(),
            peering_crush_bucket_count: 0,
            peering_crush_bucket_target: 0,
            peering_crush_bucket_barrier: 0,
            peering_crush_mandatory_member: crush::ITEM_NONE,
        }
    }
}

impl PgPool {
    /// True when every bit of `flag` is on.
    pub fn has_flag(&self, flag: u64) -> bool {
        self.flags & flag == flag
    }
    /// True for an erasure coded pool.
    pub fn is_erasure(&self) -> bool {
        self.kind == PoolType::Erasure
    }
    /// True when holes in an OSD set close up (replicated) instead of keeping their position (erasure).
    pub fn can_shift_osds(&self) -> bool {
        self.kind == PoolType::Replicated
    }
    /// True when this pool is a cache tier of another.
    pub fn is_tier(&self) -> bool {
        self.tier_of >= 0
    }
    /// True when this pool has cache tiers.
    pub fn has_tiers(&self) -> bool {
        !self.tiers.is_empty()
    }
    /// True when snapshots are made by clients (RBD).
    pub fn is_unmanaged_snaps_mode(&self) -> bool {
        self.has_flag(flag::SELFMANAGED_SNAPS)
    }
    /// True when snapshots are of the whole pool.
    pub fn is_pool_snaps_mode(&self) -> bool {
        self.has_flag(flag::POOL_SNAPS)
    }
    /// True for pools of a stretch cluster.
    pub fn is_stretch(&self) -> bool {
        self.peering_crush_bucket_count != 0
    }
    /// Mask for `pg_num`.
    pub fn pg_num_mask(&self) -> u32 {
        stable_mask(self.pg_num)
    }
    /// Mask for `pgp_num`.
    pub fn pgp_num_mask(&self) -> u32 {
        stable_mask(self.pgp_num)
    }

    /// Hash of an object's key (or name) in a namespace.
    pub fn hash_key(&self, key: &[u8], nspace: &[u8]) -> u32 {
        let hash = |b: &[u8]| str_hash(self.object_hash, b).unwrap_or(u32::MAX);
        if nspace.is_empty() {
            return hash(key);
        }
        let mut joined = Vec::with_capacity(nspace.len() + 1 + key.len());
        joined.extend_from_slice(nspace);
        joined.push(0x1f);
        joined.extend_from_slice(key);
        hash(&joined)
    }

    /// The PG that a raw PG (seed = whole hash) is in.
    pub fn raw_pg_to_pg(&self, raw: PgId) -> PgId {
        PgId { pool: raw.pool, seed: stable_mod(raw.seed, self.pg_num, self.pg_num_mask()) }
    }

    /// The placement seed of a PG: what CRUSH is asked with.
    pub fn raw_pg_to_pps(&self, pg: PgId) -> u32 {
        let seed = stable_mod(pg.seed, self.pgp_num, self.pgp_num_mask());
        if self.has_flag(flag::HASHPSPOOL) {
            hash32_2(seed, pg.pool.0 as u32)
        } else {
            // Overlaps the PGs of neighbouring pools; only ancient pools.
            seed.wrapping_add(pg.pool.0 as u32)
        }
    }

    /// The seed with which a PG's objects were there before a split: the PG's ancestor among `old_pg_num`.
    pub fn ancestor_of(&self, seed: u32, old_pg_num: u32) -> u32 {
        stable_mod(seed, old_pg_num, stable_mask(old_pg_num))
    }
}

impl Encode for PgPool {
    fn encode(&self, e: &mut Encoder) {
        let v = if !e.has(features::SERVER_LUMINOUS) {
            24
        } else if !e.has(features::SERVER_MIMIC) {
            26
        } else if !e.has(features::SERVER_NAUTILUS) {
            27
        } else if self.is_stretch() {
            30
        } else {
            29
        };
        e.versioned(v, 5, |e| {
            self.encode_base(e, v);
            self.encode_tail(e, v);
        });
    }
}

impl PgPool {
    fn encode_base(&self, e: &mut Encoder, v: u8) {
        e.u8(self.kind as u8);
        e.u8(self.size);
        e.u8(self.crush_rule);
        e.u8(self.object_hash);
        e.u32(self.pg_num);
        e.u32(self.pgp_num);
        e.u32(0); // localized PGs, gone since long
        e.u32(0);
        e.put(&self.last_change);
        e.put(&self.snap_seq);
        e.put(&self.snap_epoch);
        e.put(&self.snaps);
        e.put(&self.removed_snaps);
        e.u64(self.auid);
        let hidden = flag::SELFMANAGED_SNAPS | flag::POOL_SNAPS | flag::CREATING;
        e.u64(if v >= 27 { self.flags } else { self.flags & !hidden });
        e.u32(0); // crash_replay_interval
        e.u8(self.min_size);
        e.u64(self.quota_max_bytes);
        e.u64(self.quota_max_objects);
        e.put(&self.tiers);
        e.i64(self.tier_of);
        e.u8(self.cache_mode);
        e.i64(self.read_tier);
        e.i64(self.write_tier);
        e.put(&self.properties);
        e.put(&self.hit_set_params);
        e.u32(self.hit_set_period);
        e.u32(self.hit_set_count);
        e.u32(self.stripe_width);
        e.u64(self.target_max_bytes);
        e.u64(self.target_max_objects);
        e.u32(self.cache_target_dirty_ratio_micro);
        e.u32(self.cache_target_full_ratio_micro);
        e.u32(self.cache_min_flush_age);
        e.u32(self.cache_min_evict_age);
        e.put(&self.erasure_code_profile);
        e.put(&self.last_force_op_resend_preluminous);
        e.u32(self.min_read_recency_for_promote);
        e.u64(self.expected_num_objects);
    }

    fn encode_tail(&self, e: &mut Encoder, v: u8) {
        e.u32(self.cache_target_dirty_high_ratio_micro);
        e.u32(self.min_write_recency_for_promote);
        e.bool(self.use_gmt_hitset);
        e.bool(self.fast_read);
        e.u32(self.hit_set_grade_decay_rate);
        e.u32(self.hit_set_search_last_n);
        e.put(&self.opts);
        if v >= 25 {
            e.put(&self.last_force_op_resend_prenautilus);
        }
        if v >= 26 {
            e.put(&self.application_metadata);
        }
        if v >= 27 {
            e.put(&self.create_time);
        }
        if v >= 28 {
            e.u32(self.pg_num_target);
            e.u32(self.pgp_num_target);
            e.u32(self.pg_num_pending);
            e.u32(0); // fields of 14.1 that moved to last_pg_merge_meta
            e.u32(0);
            e.put(&self.last_force_op_resend);
            e.u8(self.pg_autoscale_mode);
        }
        if v >= 29 {
            e.put(&self.last_pg_merge_meta);
        }
        if v >= 30 {
            e.u32(self.peering_crush_bucket_count);
            e.u32(self.peering_crush_bucket_target);
            e.u32(self.peering_crush_bucket_barrier);
            e.i32(self.peering_crush_mandatory_member);
        }
    }
}

impl Decode for PgPool {
    const MIN_SIZE: usize = 200;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("pg_pool_t", 30)?;
        if v < 24 {
            return Err(DencError::TooOld { what: "pg_pool_t", version: v, oldest: 24 });
        }
        let mut p = PgPool::default();
        p.decode_base(&mut d)?;
        p.decode_tail(&mut d, v)?;
        Ok(p)
    }
}

impl PgPool {
    fn decode_base(&mut self, d: &mut Decoder<'_>) -> Result<(), DencError> {
        self.kind = match d.u8()? {
            1 => PoolType::Replicated,
            3 => PoolType::Erasure,
            t => return Err(DencError::Invalid { what: "pg_pool_t type", value: t.into() }),
        };
        self.size = d.u8()?;
        self.crush_rule = d.u8()?;
        self.object_hash = d.u8()?;
        self.pg_num = d.u32()?;
        self.pgp_num = d.u32()?;
        d.skip(8)?;
        self.last_change = d.get()?;
        self.snap_seq = d.get()?;
        self.snap_epoch = d.get()?;
        self.snaps = d.get()?;
        self.removed_snaps = d.get()?;
        self.auid = d.u64()?;
        self.flags = d.u64()?;
        d.skip(4)?;
        self.min_size = d.u8()?;
        self.quota_max_bytes = d.u64()?;
        self.quota_max_objects = d.u64()?;
        self.tiers = d.get()?;
        self.tier_of = d.i64()?;
        self.cache_mode = d.u8()?;
        self.read_tier = d.i64()?;
        self.write_tier = d.i64()?;
        self.properties = d.get()?;
        self.hit_set_params = d.get()?;
        self.hit_set_period = d.u32()?;
        self.hit_set_count = d.u32()?;
        self.stripe_width = d.u32()?;
        self.target_max_bytes = d.u64()?;
        self.target_max_objects = d.u64()?;
        self.cache_target_dirty_ratio_micro = d.u32()?;
        self.cache_target_full_ratio_micro = d.u32()?;
        self.cache_min_flush_age = d.u32()?;
        self.cache_min_evict_age = d.u32()?;
        self.erasure_code_profile = d.get()?;
        self.last_force_op_resend_preluminous = d.get()?;
        self.min_read_recency_for_promote = d.u32()?;
        self.expected_num_objects = d.u64()?;
        Ok(())
    }

    fn decode_tail(&mut self, d: &mut Decoder<'_>, v: u8) -> Result<(), DencError> {
        self.cache_target_dirty_high_ratio_micro = d.u32()?;
        self.min_write_recency_for_promote = d.u32()?;
        self.use_gmt_hitset = d.bool()?;
        self.fast_read = d.bool()?;
        self.hit_set_grade_decay_rate = d.u32()?;
        self.hit_set_search_last_n = d.u32()?;
        self.opts = d.get()?;
        self.last_force_op_resend_prenautilus =
            if v >= 25 { d.get()? } else { self.last_force_op_resend_preluminous };
        if v >= 26 {
            self.application_metadata = d.get()?;
        }
        if v >= 27 {
            self.create_time = d.get()?;
        }
        if v >= 28 {
            self.pg_num_target = d.u32()?;
            self.pgp_num_target = d.u32()?;
            self.pg_num_pending = d.u32()?;
            d.skip(8)?;
            self.last_force_op_resend = d.get()?;
            self.pg_autoscale_mode = d.u8()?;
        } else {
            self.pg_num_target = self.pg_num;
            self.pgp_num_target = self.pgp_num;
            self.pg_num_pending = self.pg_num;
            self.last_force_op_resend = self.last_force_op_resend_prenautilus;
            self.pg_autoscale_mode = autoscale::WARN;
        }
        if v >= 29 {
            self.last_pg_merge_meta = d.get()?;
        }
        if v >= 30 {
            self.peering_crush_bucket_count = d.u32()?;
            self.peering_crush_bucket_target = d.u32()?;
            self.peering_crush_bucket_barrier = d.u32()?;
            self.peering_crush_mandatory_member = d.i32()?;
        }
        Ok(())
    }
}
