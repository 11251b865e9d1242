//! The messages of one simulated OSD, filled as ours and stock's fill them.

use crate::world::World;
use bytes::Bytes;
use denc::{Encoder, Features};
use messages::mgr::PerfCounterType;
use messages::{MOsdBoot, MPgStats, PaxosHeader};
use std::collections::BTreeMap;
use types::pgstat::{ObjectStatCollection, ObjectStatSum, OsdStat, PgStat, StoreStatfs, pg_state};
use types::superblock::OsdSuperblock;
use types::{AddrType, AddrVec, EVersion, EntityAddr, Epoch, Fsid, OsdId, Utime};

/// Space of one OSD.
const TOTAL_BYTES: u64 = 8 << 40;
/// Objects in a PG, and bytes in an object.
const OBJECTS: i64 = 1000;
const OBJECT_BYTES: i64 = 4 << 20;

/// Addresses that a simulated OSD announces (nobody listens there): public, cluster, and for heartbeats back and front.
pub fn addrs(id: i32, nonce: u32) -> [AddrVec; 4] {
    std::array::from_fn(|net| {
        let port = |v1: usize| (20_000 + (id as usize * 8 + net * 2 + v1) % 40_000) as u16;
        let at = |kind, v1| EntityAddr::new(kind, ([127, 0, 0, 1], port(v1)).into(), nonce);
        AddrVec(vec![at(AddrType::Msgr2, 0), at(AddrType::Legacy, 1)])
    })
}

/// `osd_boot`.
pub fn boot(id: OsdId, uuid: Fsid, addrs: &[AddrVec; 4], world: &World, boot_epoch: Epoch) -> MOsdBoot {
    let map = world.map.borrow();
    let host = host(id.0);
    let text = [
        ("arch", "x86_64"),
        ("ceph_release", "pacific"),
        ("ceph_version", "ceph version 16.2.15 (simulated) pacific (stable)"),
        ("ceph_version_short", "16.2.15"),
        ("cpu", "simulated"),
        ("distro", "debian"),
        ("distro_description", "Debian GNU/Linux 12 (bookworm)"),
        ("distro_version", "12"),
        ("hostname", host.as_str()),
        ("kernel_description", "#1 SMP PREEMPT_DYNAMIC"),
        ("kernel_version", "6.1.0"),
        ("mem_total_kb", "131072000"),
        ("mem_swap_kb", "0"),
        ("os", "Linux"),
        ("osd_objectstore", "simulated"),
        ("rotational", "0"),
        ("journal_rotational", "0"),
        ("default_device_class", "ssd"),
    ];
    let mut metadata: BTreeMap<_, _> = text.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    metadata.insert("osd_data".to_owned(), format!("/var/lib/ceph/osd/ceph-{id}"));
    metadata.insert("id".to_owned(), id.to_string());
    MOsdBoot {
        paxos: PaxosHeader::new(map.epoch.0.into()),
        superblock: OsdSuperblock {
            cluster_fsid: map.fsid,
            whoami: id,
            current_epoch: map.epoch,
            oldest_map: Epoch(1),
            newest_map: map.epoch,
            compat_features: OsdSuperblock::pacific_features(),
            osd_fsid: uuid,
            ..OsdSuperblock::default()
        },
        hb_back_addrs: addrs[2].clone(),
        cluster_addrs: addrs[1].clone(),
        boot_epoch,
        hb_front_addrs: addrs[3].clone(),
        metadata,
        osd_features: types::features::SUPPORTED,
    }
}

/// OSDs of one simulated host.
const HOST_OSDS: i32 = 20;

/// The host that an OSD is in.
pub fn host(id: i32) -> String {
    format!("host{}", id / HOST_OSDS)
}

/// `pg_stats`: itself and all PGs that it leads, as stock's OSDs send it.
pub fn report(id: OsdId, up_from: Epoch, started_secs: u32, world: &World, now: Utime) -> MPgStats {
    let map = world.map.borrow();
    let shares = world.shares.borrow();
    let mut pgs = world.pgs.borrow_mut();
    let Some(share) = shares.get(id.0 as usize) else { return MPgStats::default() };
    let mut pg_stat = BTreeMap::new();
    for pgid in &share.leads {
        let Some(pg) = pgs.get_mut(pgid).filter(|p| p.created.is_some()) else { continue };
        pg.seq += 1;
        let size = map.pool(pgid.pool).map_or(0, |p| p.size as usize);
        let short = pg.at.acting.len() < size;
        let state = match (pg.active, short) {
            (false, _) => pg_state::PEERING,
            (true, false) => pg_state::ACTIVE | pg_state::CLEAN,
            (true, true) => pg_state::ACTIVE | pg_state::UNDERSIZED | pg_state::DEGRADED,
        };
        let writes = pg.seq as i64 * 5;
        let sum = ObjectStatSum {
            num_bytes: OBJECTS * OBJECT_BYTES,
            num_objects: OBJECTS,
            num_object_copies: OBJECTS * size as i64,
            num_objects_degraded: if short { OBJECTS } else { 0 },
            num_rd: writes * 2,
            num_rd_kb: writes * 8,
            num_wr: writes,
            num_wr_kb: writes * 4,
            ..ObjectStatSum::default()
        };
        let version = EVersion { epoch: pg.since, version: 10_000 + writes as u64 };
        let stat = PgStat {
            version,
            reported_seq: pg.seq,
            reported_epoch: map.epoch,
            state,
            log_start: EVersion { epoch: pg.since, version: version.version - 3000 },
            ondisk_log_start: EVersion { epoch: pg.since, version: version.version - 3000 },
            created: pg.created.unwrap_or_default(),
            last_epoch_clean: if pg.active { pg.since } else { Epoch(0) },
            stats: ObjectStatCollection { sum, ..ObjectStatCollection::default() },
            log_size: 3000,
            ondisk_log_size: 3000,
            up: pg.at.up.clone(),
            acting: pg.at.acting.clone(),
            up_primary: pg.at.up_primary.unwrap_or(OsdId(-1)),
            acting_primary: id,
            mapping_epoch: pg.since,
            last_fresh: now,
            last_change: pg.changed,
            last_active: now,
            last_clean: now,
            last_unstale: now,
            last_undegraded: now,
            last_fullsized: now,
            last_peered: now,
            ..PgStat::default()
        };
        pg_stat.insert(*pgid, stat);
    }
    let space = |bytes: i64| StoreStatfs {
        total: TOTAL_BYTES,
        available: TOTAL_BYTES - bytes as u64,
        allocated: bytes,
        data_stored: bytes,
        ..StoreStatfs::default()
    };
    let number = shares.len() as i32;
    let pool_bytes = i64::from(share.holds) * OBJECTS * OBJECT_BYTES / share.pools.len().max(1) as i64;
    let osd_stat = OsdStat {
        hb_peers: (1..=20).map(|n| OsdId((id.0 + n * 7) % number)).collect(),
        commit_latency_ns: 1_000_000,
        apply_latency_ns: 1_000_000,
        up_from,
        seq: u64::from(up_from.0) << 32 | u64::from(started_secs),
        num_pgs: share.holds,
        statfs: space(i64::from(share.holds) * OBJECTS * OBJECT_BYTES),
        num_osds: 1,
        num_per_pool_osds: 1,
        ..OsdStat::default()
    };
    MPgStats {
        fsid: map.fsid,
        osd_stat,
        pg_stat,
        epoch: map.epoch,
        pool_stat: share.pools.iter().map(|p| (*p, space(pool_bytes))).collect(),
        ..MPgStats::default()
    }
}

/// How many counters an OSD reports: about as many as stock's at the priority that managers ask for.
const COUNTERS: usize = 120;
/// `PERFCOUNTER_U64 | PERFCOUNTER_COUNTER`.
const COUNTER: u8 = 2 | 8;

/// The counters, once a session.
pub fn declared() -> Vec<PerfCounterType> {
    let one = |n: usize| PerfCounterType {
        path: format!("osd.simulated_{n:03}"),
        description: "a number that grows".to_owned(),
        kind: COUNTER,
        priority: 5,
        ..PerfCounterType::default()
    };
    (0..COUNTERS).map(one).collect()
}

/// Their values.
pub fn counters(seed: u64) -> Bytes {
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| (0..COUNTERS as u64).for_each(|n| e.u64(seed * (n + 1))));
    e.finish()
}
