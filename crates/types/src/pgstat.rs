//! Statistics that OSDs report: of objects, PGs, pools, stores and OSDs; and a PG's history and info.
//!
//! Mirrors `object_stat_sum_t` 20/14, `object_stat_collection_t` 2/2, `pg_stat_t` 26/22, `store_statfs_t` 1/1,
//! `osd_stat_t` 14/2, `pool_stat_t` 7/5, `pg_history_t` 10/4 of `osd/osd_types.h` as 16.2 writes them. Older versions
//! are read down to luminous.

pub use crate::osdstat::{HbPingTime, OsdStat, PingTimes};
use crate::{EVersion, Epoch, IntervalSet, OsdId, PgId, ShardId, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An OSD with the EC shard that it holds (`pg_shard_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PgShard {
    /// The OSD.
    pub osd: OsdId,
    /// The shard.
    pub shard: ShardId,
}
impl PgShard {
    /// A replica.
    pub const fn replica(osd: OsdId) -> PgShard {
        PgShard { osd, shard: ShardId::NO_SHARD }
    }
}
/// `3`, or `3(1)` for shard 1 of an erasure-coded PG.
impl fmt::Display for PgShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shard == ShardId::NO_SHARD {
            write!(f, "{}", self.osd.0)
        } else {
            write!(f, "{}({})", self.osd.0, self.shard.0)
        }
    }
}
impl Encode for PgShard {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.osd);
            e.put(&self.shard);
        });
    }
}
impl Decode for PgShard {
    const MIN_SIZE: usize = 11;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("pg_shard_t", 1)?;
        Ok(PgShard { osd: d.get()?, shard: d.get()? })
    }
}

/// A struct whose fields follow one another, each from a struct version on; older ones give the default.
macro_rules! stat {
    (
        $(#[$doc:meta])* $name:ident = $text:literal $version:literal / $compat:literal oldest $oldest:literal {
            $( $(#[$fdoc:meta])* $field:ident: $ty:ty $(= $since:literal)? ),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct $name {
            $( $(#[$fdoc])* pub $field: $ty, )*
        }
        impl Encode for $name {
            fn encode(&self, e: &mut Encoder) {
                e.versioned($version, $compat, |e| {
                    $( e.put(&self.$field); )*
                });
            }
        }
        impl Decode for $name {
            const MIN_SIZE: usize = 6;
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
                let (v, mut d) = d.open($text, $version)?;
                if v < $oldest {
                    return Err(DencError::TooOld { what: $text, version: v, oldest: $oldest });
                }
                Ok($name {
                    $( $field: stat!(@get d, v $(, $since)?), )*
                })
            }
        }
    };
    (@get $d:ident, $v:ident) => { $d.get()? };
    (@get $d:ident, $v:ident, $since:literal) => {
        if $v >= $since { $d.get()? } else { Default::default() }
    };
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $ty:ident $(= $since:literal)?),* $(,)?) => {
        stat! {
            /// Counts over a set of objects (`object_stat_sum_t`).
            ObjectStatSum = "object_stat_sum_t" 20 / 14 oldest 14 {
                $( $(#[$doc])* #[doc = concat!("`", stringify!($field), "`.")] $field: $ty $(= $since)? ),*
            }
        }
        impl ObjectStatSum {
            /// Adds another sum.
            pub fn add(&mut self, o: &ObjectStatSum) {
                $( self.$field = self.$field.wrapping_add(o.$field); )*
            }
            /// Subtracts another sum.
            pub fn sub(&mut self, o: &ObjectStatSum) {
                $( self.$field = self.$field.wrapping_sub(o.$field); )*
            }
            /// Every counter with its name, in the order of the encoding.
            pub fn fields(&self) -> Vec<(&'static str, i64)> {
                vec![$( (stringify!($field), i64::from(self.$field)) ),*]
            }
        }
    };
}
counters! {
    num_bytes: i64, num_objects: i64, num_object_clones: i64, num_object_copies: i64,
    num_objects_missing_on_primary: i64, num_objects_degraded: i64, num_objects_unfound: i64,
    num_rd: i64, num_rd_kb: i64, num_wr: i64, num_wr_kb: i64, num_scrub_errors: i64, num_objects_recovered: i64,
    num_bytes_recovered: i64, num_keys_recovered: i64, num_shallow_scrub_errors: i64, num_deep_scrub_errors: i64,
    num_objects_dirty: i64, num_whiteouts: i64, num_objects_omap: i64, num_objects_hit_set_archive: i64,
    num_objects_misplaced: i64, num_bytes_hit_set_archive: i64, num_flush: i64, num_flush_kb: i64, num_evict: i64,
    num_evict_kb: i64, num_promote: i64, num_flush_mode_high: i32, num_flush_mode_low: i32,
    num_evict_mode_some: i32, num_evict_mode_full: i32, num_objects_pinned: i64, num_objects_missing: i64,
    num_legacy_snapsets: i64 = 16, num_large_omap_objects: i64 = 17, num_objects_manifest: i64 = 18,
    num_omap_bytes: i64 = 19, num_omap_keys: i64 = 19, num_objects_repaired: i64 = 20,
}

stat! {
    /// A sum with an empty map of categories (`object_stat_collection_t`).
    ObjectStatCollection = "object_stat_collection_t" 2 / 2 oldest 2 {
        /// The sum.
        sum: ObjectStatSum,
        /// Sums by category; long unused and empty.
        categories: BTreeMap<String, ObjectStatSum>,
    }
}

stat! {
    /// Space of a store, or of one pool in it, in bytes (`store_statfs_t`).
    StoreStatfs = "store_statfs_t" 1 / 1 oldest 1 {
        /// Device size.
        total: u64,
        /// Free.
        available: u64,
        /// Reserved by the store for itself.
        internally_reserved: u64,
        /// Allocated for data.
        allocated: i64,
        /// Data before compression.
        data_stored: i64,
        /// Data after compression.
        data_compressed: i64,
        /// Allocated for compressed data.
        data_compressed_allocated: i64,
        /// Size of compressed data before compression.
        data_compressed_original: i64,
        /// Allocated for omap.
        omap_allocated: i64,
        /// Allocated for the store's own metadata.
        internal_metadata: i64,
    }
}
impl StoreStatfs {
    /// Bytes used for anything (`get_used_raw`).
    pub fn used_raw(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }
    /// Bytes that users' data takes (`get_used`).
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.available).saturating_sub(self.internally_reserved)
    }
    /// Adds another store's numbers.
    pub fn add(&mut self, o: &StoreStatfs) {
        self.total = self.total.wrapping_add(o.total);
        self.available = self.available.wrapping_add(o.available);
        self.internally_reserved = self.internally_reserved.wrapping_add(o.internally_reserved);
        self.allocated = self.allocated.wrapping_add(o.allocated);
        self.data_stored = self.data_stored.wrapping_add(o.data_stored);
        self.data_compressed = self.data_compressed.wrapping_add(o.data_compressed);
        self.data_compressed_allocated =
            self.data_compressed_allocated.wrapping_add(o.data_compressed_allocated);
        self.data_compressed_original =
            self.data_compressed_original.wrapping_add(o.data_compressed_original);
        self.omap_allocated = self.omap_allocated.wrapping_add(o.omap_allocated);
        self.internal_metadata = self.internal_metadata.wrapping_add(o.internal_metadata);
    }
}

stat! {
    /// A pool's statistics (`pool_stat_t`).
    PoolStat = "pool_stat_t" 7 / 5 oldest 5 {
        /// Objects.
        stats: ObjectStatCollection,
        /// Log entries in memory.
        log_size: i64,
        /// Log entries on disk.
        ondisk_log_size: i64,
        /// Members of up sets.
        up: i32 = 6,
        /// Members of acting sets.
        acting: i32 = 6,
        /// Space.
        store_stats: StoreStatfs = 7,
        /// OSDs that `store_stats` sums up.
        num_store_stats: i32 = 7,
    }
}

stat! {
    /// What happened to a PG and when (`pg_history_t`).
    PgHistory = "pg_history_t" 10 / 4 oldest 8 {
        /// Epoch in which the PG was created.
        epoch_created: Epoch,
        /// Lower bound of the last epoch started.
        last_epoch_started: Epoch,
        /// Lower bound of the last epoch clean.
        last_epoch_clean: Epoch,
        /// Epoch of the last split or merge.
        last_epoch_split: Epoch,
        /// Same up and acting sets since.
        same_interval_since: Epoch,
        /// Same up set since.
        same_up_since: Epoch,
        /// Same primary since.
        same_primary_since: Epoch,
        /// Version at the last scrub.
        last_scrub: EVersion,
        /// Time of the last scrub.
        last_scrub_stamp: Utime,
        /// Version at the last deep scrub.
        last_deep_scrub: EVersion,
        /// Time of the last deep scrub.
        last_deep_scrub_stamp: Utime,
        /// Time of the last scrub without errors.
        last_clean_scrub_stamp: Utime,
        /// Pool or cluster was marked full in.
        last_epoch_marked_full: Epoch,
        /// First epoch of the interval of `last_epoch_started`.
        last_interval_started: Epoch,
        /// First epoch of the interval of `last_epoch_clean`.
        last_interval_clean: Epoch,
        /// Epoch in which the pool was created.
        epoch_pool_created: Epoch = 9,
        /// Nanoseconds for which a prior interval may still serve reads.
        prior_readable_until_ub_ns: u64 = 10,
    }
}

/// Bits of [`PgStat::state`] (`PG_STATE_*`), and their names.
pub mod pg_state {
    macro_rules! states {
        ($($name:ident = $bit:literal $text:literal),* $(,)?) => {
            $(#[doc = concat!("`", $text, "`")]
            pub const $name: u64 = 1 << $bit;)*
            /// In the order in which stock prints them.
            const NAMES: &[(u64, &str)] = &[$(($name, $text)),*];
        };
    }
    states! {
        STALE = 17 "stale", CREATING = 0 "creating", ACTIVE = 1 "active", ACTIVATING = 24 "activating",
        CLEAN = 2 "clean", RECOVERY_WAIT = 22 "recovery_wait", RECOVERY_TOOFULL = 28 "recovery_toofull",
        RECOVERING = 14 "recovering", FORCED_RECOVERY = 30 "forced_recovery", DOWN = 4 "down",
        RECOVERY_UNFOUND = 5 "recovery_unfound", BACKFILL_UNFOUND = 6 "backfill_unfound",
        UNDERSIZED = 23 "undersized", DEGRADED = 10 "degraded", REMAPPED = 18 "remapped", PREMERGE = 7 "premerge",
        SCRUBBING = 8 "scrubbing", DEEP_SCRUB = 19 "deep", INCONSISTENT = 11 "inconsistent", PEERING = 12 "peering",
        REPAIR = 13 "repair", BACKFILL_WAIT = 15 "backfill_wait", BACKFILLING = 20 "backfilling",
        FORCED_BACKFILL = 31 "forced_backfill", BACKFILL_TOOFULL = 21 "backfill_toofull",
        INCOMPLETE = 16 "incomplete", PEERED = 25 "peered", SNAPTRIM = 26 "snaptrim",
        SNAPTRIM_WAIT = 27 "snaptrim_wait", SNAPTRIM_ERROR = 29 "snaptrim_error", FAILED_REPAIR = 32 "failed_repair",
        LAGGY = 33 "laggy", WAIT = 34 "wait",
    }

    /// `active+clean` and the like; `unknown` for no bits.
    pub fn name(state: u64) -> String {
        let names: Vec<&str> = NAMES.iter().filter(|(bit, _)| state & bit != 0).map(|(_, n)| *n).collect();
        if names.is_empty() { "unknown".to_owned() } else { names.join("+") }
    }
}

/// A PG's statistics, as its primary reports them (`pg_stat_t`).
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct PgStat {
    pub version: EVersion,
    /// With `reported_epoch`: orders reports.
    pub reported_seq: u64,
    pub reported_epoch: Epoch,
    /// See [`pg_state`].
    pub state: u64,
    pub log_start: EVersion,
    pub ondisk_log_start: EVersion,
    pub created: Epoch,
    pub last_epoch_clean: Epoch,
    pub parent: PgId,
    pub parent_split_bits: u32,
    pub last_scrub: EVersion,
    pub last_scrub_stamp: Utime,
    pub stats: ObjectStatCollection,
    pub log_size: i64,
    pub ondisk_log_size: i64,
    pub up: Vec<OsdId>,
    pub acting: Vec<OsdId>,
    pub last_fresh: Utime,
    pub last_change: Utime,
    pub last_active: Utime,
    pub last_clean: Utime,
    pub last_unstale: Utime,
    pub mapping_epoch: Epoch,
    pub last_deep_scrub: EVersion,
    pub last_deep_scrub_stamp: Utime,
    pub stats_invalid: bool,
    pub last_clean_scrub_stamp: Utime,
    pub last_became_active: Utime,
    pub dirty_stats_invalid: bool,
    pub up_primary: OsdId,
    pub acting_primary: OsdId,
    pub omap_stats_invalid: bool,
    pub hitset_stats_invalid: bool,
    pub blocked_by: Vec<OsdId>,
    pub last_undegraded: Utime,
    pub last_fullsized: Utime,
    pub hitset_bytes_stats_invalid: bool,
    pub last_peered: Utime,
    pub last_became_peered: Utime,
    pub pin_stats_invalid: bool,
    pub snaptrimq_len: u32,
    pub purged_snaps: IntervalSet,
    pub manifest_stats_invalid: bool,
    pub avail_no_missing: Vec<PgShard>,
    pub object_location_counts: BTreeMap<BTreeSet<PgShard>, i32>,
}
impl Encode for PgStat {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(26, 22, |e| {
            e.put(&self.version);
            e.u64(self.reported_seq);
            e.put(&self.reported_epoch);
            e.u32(self.state as u32); // the upper half follows far below
            e.put(&self.log_start);
            e.put(&self.ondisk_log_start);
            e.put(&self.created);
            e.put(&self.last_epoch_clean);
            e.put(&self.parent);
            e.u32(self.parent_split_bits);
            e.put(&self.last_scrub);
            e.put(&self.last_scrub_stamp);
            e.put(&self.stats);
            e.i64(self.log_size);
            e.i64(self.ondisk_log_size);
            e.put(&self.up);
            e.put(&self.acting);
            e.put(&self.last_fresh);
            e.put(&self.last_change);
            e.put(&self.last_active);
            e.put(&self.last_clean);
            e.put(&self.last_unstale);
            e.put(&self.mapping_epoch);
            e.put(&self.last_deep_scrub);
            e.put(&self.last_deep_scrub_stamp);
            e.bool(self.stats_invalid);
            e.put(&self.last_clean_scrub_stamp);
            e.put(&self.last_became_active);
            e.bool(self.dirty_stats_invalid);
            e.put(&self.up_primary);
            e.put(&self.acting_primary);
            e.bool(self.omap_stats_invalid);
            e.bool(self.hitset_stats_invalid);
            e.put(&self.blocked_by);
            e.put(&self.last_undegraded);
            e.put(&self.last_fullsized);
            e.bool(self.hitset_bytes_stats_invalid);
            e.put(&self.last_peered);
            e.put(&self.last_became_peered);
            e.bool(self.pin_stats_invalid);
            e.u32(self.snaptrimq_len);
            e.u32((self.state >> 32) as u32);
            e.put(&self.purged_snaps);
            e.bool(self.manifest_stats_invalid);
            e.put(&self.avail_no_missing);
            e.put(&self.object_location_counts);
        });
    }
}
impl Decode for PgStat {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("pg_stat_t", 26)?;
        if v < 22 {
            return Err(DencError::TooOld { what: "pg_stat_t", version: v, oldest: 22 });
        }
        let d = &mut d;
        let mut s = PgStat {
            version: d.get()?,
            reported_seq: d.get()?,
            reported_epoch: d.get()?,
            state: u64::from(d.u32()?),
            log_start: d.get()?,
            ondisk_log_start: d.get()?,
            created: d.get()?,
            last_epoch_clean: d.get()?,
            parent: d.get()?,
            parent_split_bits: d.get()?,
            last_scrub: d.get()?,
            last_scrub_stamp: d.get()?,
            stats: d.get()?,
            log_size: d.get()?,
            ondisk_log_size: d.get()?,
            up: d.get()?,
            acting: d.get()?,
            last_fresh: d.get()?,
            last_change: d.get()?,
            last_active: d.get()?,
            last_clean: d.get()?,
            last_unstale: d.get()?,
            mapping_epoch: d.get()?,
            last_deep_scrub: d.get()?,
            last_deep_scrub_stamp: d.get()?,
            stats_invalid: d.get()?,
            last_clean_scrub_stamp: d.get()?,
            last_became_active: d.get()?,
            dirty_stats_invalid: d.get()?,
            up_primary: d.get()?,
            acting_primary: d.get()?,
            omap_stats_invalid: d.get()?,
            hitset_stats_invalid: d.get()?,
            blocked_by: d.get()?,
            last_undegraded: d.get()?,
            last_fullsized: d.get()?,
            hitset_bytes_stats_invalid: d.get()?,
            last_peered: d.get()?,
            last_became_peered: d.get()?,
            pin_stats_invalid: d.get()?,
            manifest_stats_invalid: v < 25,
            ..PgStat::default()
        };
        if v >= 23 {
            s.snaptrimq_len = d.get()?;
        }
        if v >= 24 {
            s.state |= u64::from(d.u32()?) << 32;
            s.purged_snaps = d.get()?;
        }
        if v >= 25 {
            s.manifest_stats_invalid = d.get()?;
        }
        if v >= 26 {
            s.avail_no_missing = d.get()?;
            s.object_location_counts = d.get()?;
        }
        Ok(s)
    }
}
