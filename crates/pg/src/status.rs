//! [`PgStatus`]: what a PG reports of itself; osd-core turns it into `pg_stat_t`. [`state`]: the bits of `PG_STATE_*`.

use crate::info::PgCounters;
use std::collections::BTreeSet;
use types::{EVersion, Epoch, OsdId, SnapId, SpgId, Utime};

/// `PG_STATE_*`.
pub mod state {
    #![allow(missing_docs)]
    pub const CREATING: u64 = 1 << 0;
    pub const ACTIVE: u64 = 1 << 1;
    pub const CLEAN: u64 = 1 << 2;
    pub const DOWN: u64 = 1 << 4;
    pub const RECOVERY_UNFOUND: u64 = 1 << 5;
    pub const BACKFILL_UNFOUND: u64 = 1 << 6;
    pub const SCRUBBING: u64 = 1 << 8;
    pub const DEGRADED: u64 = 1 << 10;
    pub const INCONSISTENT: u64 = 1 << 11;
    pub const PEERING: u64 = 1 << 12;
    pub const REPAIR: u64 = 1 << 13;
    pub const RECOVERING: u64 = 1 << 14;
    pub const BACKFILL_WAIT: u64 = 1 << 15;
    pub const INCOMPLETE: u64 = 1 << 16;
    pub const STALE: u64 = 1 << 17;
    pub const REMAPPED: u64 = 1 << 18;
    pub const DEEP_SCRUB: u64 = 1 << 19;
    pub const BACKFILLING: u64 = 1 << 20;
    pub const BACKFILL_TOOFULL: u64 = 1 << 21;
    pub const RECOVERY_WAIT: u64 = 1 << 22;
    pub const UNDERSIZED: u64 = 1 << 23;
    pub const ACTIVATING: u64 = 1 << 24;
    pub const PEERED: u64 = 1 << 25;
    pub const SNAPTRIM: u64 = 1 << 26;
    pub const SNAPTRIM_WAIT: u64 = 1 << 27;
    pub const LAGGY: u64 = 1 << 33;
    pub const WAIT: u64 = 1 << 34;

    /// Names in the order that stock prints them.
    pub const NAMES: &[(u64, &str)] = &[
        (STALE, "stale"),
        (CREATING, "creating"),
        (ACTIVE, "active"),
        (ACTIVATING, "activating"),
        (CLEAN, "clean"),
        (RECOVERY_WAIT, "recovery_wait"),
        (RECOVERING, "recovering"),
        (DOWN, "down"),
        (RECOVERY_UNFOUND, "recovery_unfound"),
        (BACKFILL_UNFOUND, "backfill_unfound"),
        (UNDERSIZED, "undersized"),
        (DEGRADED, "degraded"),
        (REMAPPED, "remapped"),
        (SCRUBBING, "scrubbing"),
        (DEEP_SCRUB, "deep"),
        (INCONSISTENT, "inconsistent"),
        (PEERING, "peering"),
        (REPAIR, "repair"),
        (BACKFILL_WAIT, "backfill_wait"),
        (BACKFILLING, "backfilling"),
        (BACKFILL_TOOFULL, "backfill_toofull"),
        (INCOMPLETE, "incomplete"),
        (PEERED, "peered"),
        (SNAPTRIM, "snaptrim"),
        (SNAPTRIM_WAIT, "snaptrim_wait"),
        (LAGGY, "laggy"),
        (WAIT, "wait"),
    ];

    /// `active+clean`, as stock prints it.
    pub fn text(bits: u64) -> String {
        let names: Vec<&str> = NAMES.iter().filter(|(b, _)| bits & b != 0).map(|(_, n)| *n).collect();
        if names.is_empty() { "unknown".to_owned() } else { names.join("+") }
    }
}

/// A primary's report on its PG.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PgStatus {
    /// The PG.
    pub pgid: SpgId,
    /// [`state`] bits.
    pub state: u64,
    /// Newest version.
    pub version: EVersion,
    /// Counts reports up.
    pub reported_seq: u64,
    /// Map epoch of the report.
    pub reported_epoch: Epoch,
    /// Up set.
    pub up: Vec<OsdId>,
    /// Acting set.
    pub acting: Vec<OsdId>,
    /// First of up.
    pub up_primary: Option<OsdId>,
    /// Who leads.
    pub acting_primary: Option<OsdId>,
    /// Object counters.
    pub counters: PgCounters,
    /// Object copies that should be somewhere and are not.
    pub objects_degraded: u64,
    /// Copies at the wrong place.
    pub objects_misplaced: u64,
    /// Objects that no copy is known of.
    pub objects_unfound: u64,
    /// Sum over members of what they miss.
    pub objects_missing: u64,
    /// Entries in the log.
    pub log_size: u64,
    /// Log tail.
    pub log_start: EVersion,
    /// OSDs that peering waits for.
    pub blocked_by: Vec<OsdId>,
    /// Epoch of creation.
    pub created: Epoch,
    /// Newest epoch in which the PG was clean.
    pub last_epoch_clean: Epoch,
    /// Start of the interval.
    pub mapping_epoch: Epoch,
    /// Trimmed snapshots for the monitors to record.
    pub purged_snaps: BTreeSet<SnapId>,
    /// Snapshots that are queued for trimming.
    pub snaptrimq_len: u64,
    /// Backfill targets.
    pub backfill_targets: Vec<OsdId>,
    /// When it was last scrubbed, deeply scrubbed, found clean by a scrub; since it was made where it never was. Empty when not known.
    pub scrub_stamps: Vec<Utime>,
    /// When it was last active, clean, changed, ... (`last_*` of `pg_stat_t`).
    pub stamps: PgStamps,
}

/// Times of a [`PgStatus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PgStamps {
    /// Last report.
    pub last_fresh: Utime,
    /// Last change of state.
    pub last_change: Utime,
    /// Last time active.
    pub last_active: Utime,
    /// Last time peered.
    pub last_peered: Utime,
    /// Last time clean.
    pub last_clean: Utime,
    /// Last time not stale.
    pub last_unstale: Utime,
    /// Last time not degraded.
    pub last_undegraded: Utime,
    /// Last time with the full number of copies.
    pub last_fullsized: Utime,
    /// When it last became active.
    pub last_became_active: Utime,
}

#[cfg(test)]
mod tests {
    #[test]
    fn state_bits_have_the_names_that_the_monitor_reads() {
        for (bit, name) in super::state::NAMES {
            assert_eq!(types::pgstat::pg_state::name(*bit), *name);
        }
    }
}
