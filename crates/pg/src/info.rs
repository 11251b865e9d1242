//! What a replica knows about its copy of a PG: [`PgInfo`] (`pg_info_t`), [`PgHistory`] (`pg_history_t`),
//! [`PastInterval`]s (`PastIntervals`) and object counters.
//!
//! The encodings are private (our disk, our OSD-to-OSD messages).

use crate::map::{ClusterMap, Placement};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeSet;
use types::{EVersion, Epoch, HObject, OsdId, SnapId, SpgId, Utime};

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
        impl Encode for $name {
            fn encode(&self, e: &mut Encoder) {
                e.versioned(1, 1, |e| { $(e.put(&self.$field);)* });
            }
        }
        impl Decode for $name {
            const MIN_SIZE: usize = 6;
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
                let (_, mut d) = d.open($what, 1)?;
                Ok($name { $($field: d.get()?),* })
            }
        }
    };
}
pub(crate) use record;

record! {
    /// Object counters of a PG (the part of `object_stat_sum_t` that is kept per PG), changed by op deltas.
    PgCounters, "pg counters" {
        /// Heads and clones.
        num_objects: i64,
        /// Clones among them.
        num_clones: i64,
        /// Heads that are whiteouts.
        num_whiteouts: i64,
        /// Bytes of all objects (sizes, clones with their overlap counted once).
        num_bytes: i64,
        /// Objects with omap.
        num_objects_omap: i64,
        /// Bytes in omap, as far as known.
        num_omap_bytes: i64,
        /// Keys in omap, as far as known.
        num_omap_keys: i64,
        /// Read ops.
        num_rd: i64,
        /// KiB read.
        num_rd_kb: i64,
        /// Write ops.
        num_wr: i64,
        /// KiB written.
        num_wr_kb: i64,
        /// Bytes recovered.
        num_bytes_recovered: i64,
        /// Objects recovered.
        num_objects_recovered: i64,
    }
}
impl PgCounters {
    /// Adds a delta.
    pub fn add(&mut self, o: &PgCounters) {
        self.num_objects += o.num_objects;
        self.num_clones += o.num_clones;
        self.num_whiteouts += o.num_whiteouts;
        self.num_bytes += o.num_bytes;
        self.num_objects_omap += o.num_objects_omap;
        self.num_omap_bytes += o.num_omap_bytes;
        self.num_omap_keys += o.num_omap_keys;
        self.num_rd += o.num_rd;
        self.num_rd_kb += o.num_rd_kb;
        self.num_wr += o.num_wr;
        self.num_wr_kb += o.num_wr_kb;
        self.num_bytes_recovered += o.num_bytes_recovered;
        self.num_objects_recovered += o.num_objects_recovered;
    }
}

record! {
    /// What the PG's members agree to have happened (`pg_history_t`). Merged by taking the later of each.
    PgHistory, "pg history" {
        /// The PG was created in this epoch.
        epoch_created: Epoch,
        /// All acting members had durably activated in an interval that this epoch is in.
        last_epoch_started: Epoch,
        /// Start of that interval.
        last_interval_started: Epoch,
        /// All members were complete in this epoch: no older interval matters.
        last_epoch_clean: Epoch,
        /// Start of that interval.
        last_interval_clean: Epoch,
        /// Start of the current interval.
        same_interval_since: Epoch,
        /// Since when `up` is what it is.
        same_up_since: Epoch,
        /// Since when the acting primary is who it is.
        same_primary_since: Epoch,
    }
}
impl PgHistory {
    /// Takes over what `other` knows better; true when anything changed.
    pub fn merge(&mut self, other: &PgHistory) -> bool {
        let before = self.clone();
        if self.epoch_created < other.epoch_created {
            self.epoch_created = other.epoch_created;
        }
        self.last_epoch_started = self.last_epoch_started.max(other.last_epoch_started);
        self.last_interval_started = self.last_interval_started.max(other.last_interval_started);
        self.last_epoch_clean = self.last_epoch_clean.max(other.last_epoch_clean);
        self.last_interval_clean = self.last_interval_clean.max(other.last_interval_clean);
        before != *self
    }
}

record! {
    /// One replica's summary of its copy (`pg_info_t`).
    PgInfo, "pg info" {
        /// The PG.
        pgid: SpgId,
        /// Newest log entry (applied; objects may be missing).
        last_update: EVersion,
        /// Every object change up to here is really in the local copy.
        last_complete: EVersion,
        /// Log entries are kept for versions above this.
        log_tail: EVersion,
        /// Newest user-visible version.
        last_user_version: u64,
        /// Interval in which this replica last activated.
        last_epoch_started: Epoch,
        /// Start of that interval.
        last_interval_started: Epoch,
        /// Objects up to here are present; [`HObject::MAX`] when the copy is whole.
        last_backfill: HObject,
        /// Object counters.
        counters: PgCounters,
        /// Shared history.
        history: PgHistory,
        /// Trimmed snapshots that the monitors do not know of yet.
        purged_snaps: BTreeSet<SnapId>,
        /// Scrub times: last scrub, last deep scrub, last clean scrub.
        scrub_stamps: Vec<Utime>,
    }
}
impl PgInfo {
    /// A whole, empty copy.
    pub fn new(pgid: SpgId) -> PgInfo {
        PgInfo { pgid, last_backfill: HObject::MAX, ..PgInfo::default() }
    }
    /// "Does not exist": the answer of an OSD without a copy.
    pub fn dne(&self) -> bool {
        self.history.epoch_created == Epoch(0)
    }
    /// Backfill of this copy has not finished.
    pub fn is_incomplete(&self) -> bool {
        !self.last_backfill.max
    }
    /// No change was ever recorded.
    pub fn is_empty(&self) -> bool {
        self.last_update.version == 0
    }
    /// True when the copy lacks objects that its log names.
    pub fn has_missing(&self) -> bool {
        self.last_complete != self.last_update
    }
}

record! {
    /// A stretch of epochs with the same up and acting sets (`PastIntervals::pg_interval_t`).
    PastInterval, "past interval" {
        /// First epoch.
        first: Epoch,
        /// Last epoch.
        last: Epoch,
        /// Up set.
        up: Vec<OsdId>,
        /// Acting set.
        acting: Vec<OsdId>,
        /// Acting primary, or -1.
        primary: OsdId,
        /// Up primary, or -1.
        up_primary: OsdId,
        /// Writes may have been acknowledged in it.
        maybe_went_rw: bool,
    }
}

/// True when a PG must peer again between two placements (`PastIntervals::is_new_interval`), for the same PG id.
pub fn is_new_interval(
    old: &Placement,
    new: &Placement,
    old_pool: Option<&crate::map::PoolView>,
    new_pool: Option<&crate::map::PoolView>,
) -> bool {
    old.acting_primary != new.acting_primary
        || old.acting != new.acting
        || old.up_primary != new.up_primary
        || old.up != new.up
        || match (old_pool, new_pool) {
            (Some(a), Some(b)) => {
                a.min_size != b.min_size
                    || a.size != b.size
                    || a.pg_num != b.pg_num
                    || a.last_force_op_resend != b.last_force_op_resend
            }
            (None, None) => false,
            _ => true,
        }
}

/// Closes the interval that began at `first` and was `old` up to and including the epoch before `new_map`.
/// `last_map` is the last map of the interval; `min_size` the pool's in it.
pub fn close_interval(
    first: Epoch,
    old: &Placement,
    last_map: &dyn ClusterMap,
    new_epoch: Epoch,
    min_size: u32,
    last_epoch_clean: Epoch,
) -> PastInterval {
    let last = Epoch(new_epoch.0.saturating_sub(1));
    let mut i = PastInterval {
        first,
        last,
        up: old.up.clone(),
        acting: old.acting.clone(),
        primary: old.acting_primary.unwrap_or(OsdId(-1)),
        up_primary: old.up_primary.unwrap_or(OsdId(-1)),
        maybe_went_rw: false,
    };
    if let Some(primary) = old.acting_primary
        && !old.acting.is_empty()
        && old.acting.len() as u32 >= min_size
    {
        // Without its up_thru in this interval recorded in the map, the primary never activated; or it is known that
        // the PG was clean in it. Maps we skipped (a gap before `new_epoch`) may have recorded it: assume the worst.
        let skipped = last_map.epoch() < last;
        i.maybe_went_rw = skipped
            || (last_map.up_thru(primary) >= first && last_map.up_from(primary) <= first)
            || (last_epoch_clean >= first && last_epoch_clean <= last);
    }
    i
}
