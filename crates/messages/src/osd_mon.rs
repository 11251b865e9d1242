//! What OSDs tell monitors and monitors tell OSDs: boot, failures, beacons, temporary mappings, PG creation, and the
//! statistics that OSDs send to the manager.
//!
//! Mirrors `messages/MOSDBoot.h`, `MOSDFailure.h`, `MOSDAlive.h`, `MOSDMarkMe*.h`, `MOSDPGTemp.h`, `MOSDFull.h`,
//! `MOSDBeacon.h`, `MOSDPGCreate*.h`, `MOSDPGReadyToMerge.h`, `MPGStats.h`, `MOSDScrub2.h`, `MOSDForceRecovery.h`.

use crate::macros::{PaxosHeader, message};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use types::past_intervals::PastIntervals;
use types::pgstat::{OsdStat, PgHistory, PgStat, StoreStatfs};
use types::superblock::OsdSuperblock;
use types::{AddrVec, EVersion, Epoch, Fsid, OsdId, PgId, PoolId, SnapId, SpgId, Utime};

/// Bits of [`MOsdFailure::flags`].
pub mod failure_flags {
    #![allow(missing_docs)]
    /// Set: it failed; not set: it is alive after all.
    pub const FAILED: u8 = 1;
    /// Known to be dead, not just silent.
    pub const IMMEDIATE: u8 = 2;
}

/// When a new PG was created: epoch and time.
pub type PgCreated = (Epoch, Utime);

/// History and past intervals of a PG that an OSD shall create.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PgCreateExtra {
    /// History.
    pub history: PgHistory,
    /// Past intervals: empty unless the PG's mapping has changed since it was ordered.
    pub past_intervals: PastIntervals,
}
impl Encode for PgCreateExtra {
    fn encode(&self, e: &mut Encoder) {
        e.put(&self.history);
        e.put(&self.past_intervals);
    }
}
impl Decode for PgCreateExtra {
    const MIN_SIZE: usize = 12;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(PgCreateExtra { history: d.get()?, past_intervals: d.get()? })
    }
}

message! {
    /// An OSD is up and asks to be marked so.
    MOsdBoot = OSD_BOOT, "osd_boot", 7/7 {
        /// Paxos header; `version` is the newest map that the OSD has.
        paxos: PaxosHeader,
        /// Who it is.
        superblock: OsdSuperblock,
        /// Addresses for heartbeats on the cluster network.
        hb_back_addrs: AddrVec,
        /// Addresses on the cluster network.
        cluster_addrs: AddrVec,
        /// Last epoch in which this very process was marked up, if any.
        boot_epoch: Epoch,
        /// Addresses for heartbeats on the public network.
        hb_front_addrs: AddrVec,
        /// What `osd metadata` shows.
        metadata: BTreeMap<String, String>,
        /// Feature bits.
        osd_features: u64,
    }
    /// An OSD says that another one has failed, or that it lives after all.
    MOsdFailure = OSD_FAILURE, "osd_failure", 4/4 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// The other one.
        target_osd: OsdId,
        /// Its addresses, which name its incarnation.
        target_addrs: AddrVec,
        /// The reporter's map epoch.
        epoch: Epoch,
        /// See [`failure_flags`].
        flags: u8,
        /// Seconds for which it has been silent.
        failed_for_secs: i32,
    }
    /// An OSD asks for its `up_thru` to be raised.
    MOsdAlive = OSD_ALIVE, "osd_alive", 1/1 {
        /// Paxos header; `version` is the OSD's map epoch.
        paxos: PaxosHeader,
        /// Wanted `up_thru`.
        want: Epoch,
    }
    /// An OSD that stops asks to be marked down; the monitor sends the same back.
    MOsdMarkMeDown = OSD_MARK_ME_DOWN, "osd_mark_me_down", 4/3 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// The OSD.
        target_osd: OsdId,
        /// Its addresses.
        target_addrs: AddrVec,
        /// Its map epoch.
        epoch: Epoch,
        /// It waits for an answer.
        request_ack: bool,
        /// It is certain not to serve reads any more.
        down_and_dead: bool = since 4,
    }
    /// An OSD that found itself marked down says that it serves no more reads from before.
    MOsdMarkMeDead = OSD_MARK_ME_DEAD, "osd_mark_me_dead", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// The OSD.
        target_osd: OsdId,
        /// Its map epoch.
        epoch: Epoch,
    }
    /// An OSD's fullness changed.
    MOsdFull = OSD_FULL, "osd_full", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Its map epoch.
        map_epoch: Epoch,
        /// CEPH_OSD_FULL, _NEARFULL, _BACKFILLFULL bits as in the OSD map's states.
        state: u32,
    }
    /// An OSD asks for temporary acting sets; an empty set ends one.
    MOsdPgTemp = OSD_PGTEMP, "osd_pgtemp", 2/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Its map epoch.
        map_epoch: Epoch,
        /// Wanted acting sets.
        pg_temp: BTreeMap<PgId, Vec<OsdId>>,
        /// Although it makes no difference to the mapping.
        forced: bool = since 2,
    }
    /// A sign of life from an OSD to the monitor.
    MOsdBeacon = OSD_BEACON, "osd_beacon", 3/1 {
        /// Paxos header; `version` is the OSD's map epoch.
        paxos: PaxosHeader,
        /// PGs that it is primary of.
        pgs: Vec<PgId>,
        /// Smallest last-epoch-clean of its PGs; the monitor may trim maps below the smallest of all.
        min_last_epoch_clean: Epoch,
        /// When purged snapshots were last scrubbed.
        last_purged_snaps_scrub: Utime = since 2,
        /// Seconds between beacons.
        osd_beacon_report_interval_secs: i32 = since 3,
    }
    /// A primary has created a PG.
    MOsdPgCreated = OSD_PG_CREATED, "osd_pg_created", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// The PG.
        pgid: PgId,
    }
    /// The monitor tells an OSD to create PGs.
    MOsdPgCreate2 = OSD_PG_CREATE2, "osd_pg_create2", 2/1 {
        /// Map epoch.
        epoch: Epoch,
        /// PGs and when they came to be.
        pgs: BTreeMap<SpgId, PgCreated>,
        /// Their histories.
        pg_extra: BTreeMap<SpgId, PgCreateExtra> = since 2,
    }
    /// A primary is ready to merge a PG with its partner, or is not.
    MOsdPgReadyToMerge = OSD_PG_READY_TO_MERGE, "osd_pg_ready_to_merge", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// The PG.
        pgid: PgId,
        /// Version of the PG that goes away.
        source_version: EVersion,
        /// Version of the PG that stays.
        target_version: EVersion,
        /// Last epoch started.
        last_epoch_started: Epoch,
        /// Last epoch clean.
        last_epoch_clean: Epoch,
        /// Ready.
        ready: bool,
    }
    /// An OSD's statistics, to the manager.
    MPgStats = PG_STATS, "pg_stats", 2/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// The OSD's own.
        osd_stat: OsdStat,
        /// Those of PGs that it is primary of, as far as they changed.
        pg_stat: BTreeMap<PgId, PgStat>,
        /// The OSD's map epoch.
        epoch: Epoch,
        /// Unused.
        had_map_for: Utime,
        /// Space by pool.
        pool_stat: BTreeMap<PoolId, StoreStatfs> = since 2,
    }
    /// The monitor has the statistics; unused since the manager takes them.
    MPgStatsAck = PG_STATS_ACK, "pg_stats_ack", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Reported version and epoch by PG.
        pg_stat: BTreeMap<PgId, (u64, Epoch)>,
    }
    /// Asks the monitor to remove snapshots of pools (MDS).
    MRemoveSnaps = REMOVE_SNAPS, "remove_snaps", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Snapshots by pool.
        snaps: BTreeMap<i32, Vec<SnapId>>,
    }
    /// The manager tells an OSD to scrub PGs.
    MOsdScrub2 = OSD_SCRUB2, "osd_scrub2", 1/1 {
        /// Cluster.
        fsid: Fsid,
        /// Map epoch.
        epoch: Epoch,
        /// The PGs.
        scrub_pgs: Vec<SpgId>,
        /// Repair what is found.
        repair: bool,
        /// Read all data.
        deep: bool,
    }
    /// The manager tells an OSD to recover PGs before others, or not any more.
    MOsdForceRecovery = OSD_FORCE_RECOVERY, "osd_force_recovery", 2/2 {
        /// Cluster.
        fsid: Fsid,
        /// The PGs.
        forced_pgs: Vec<SpgId>,
        /// Bits: 1 recovery, 2 backfill, 4 cancel.
        options: u8,
    }
}
