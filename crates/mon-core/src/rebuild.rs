//! A store made again from what the OSDs hold, after all monitors have lost theirs.
//!
//! Everything that clients and daemons order by a number must go on above what any of them may have seen, and the OSDs do not know all of
//! it (a client may hold a map that no OSD had written yet). So all maps of the rebuilt cluster begin at one epoch far above the newest OSDMap that was
//! found, and nothing is ever published under the epochs between: whoever has an older map, of whatever history, gets a full one.
//! Global ids begin at a number made of the time: an id that is given twice would make an OSD take a new client's write for an old one's,
//! sent again.
//!
//! The OSDMap of that epoch is the newest one found, but for what is known to have ended: no OSD is up. OSDs whose stores were locked
//! while this was made are dead for certain.

use crate::core::MonConfig;
use crate::kv::num_key;
use crate::mkfs::{MkfsConfig, mkfs};
use crate::osdmon::{Creating, FULL_EVERY, GAP, STORED, diff, set_state};
use crate::table::encoded;
use bytes::Bytes;
use cephx::env::Env;
use cephx::keyserver::EntityAuth;
use cephx::proto::AuthName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use types::fsmap::FsMap;
use types::mgrmap::MgrMap;
use types::monmap::MonMap;
use types::osdmap::{ApplyError, OsdMap, OsdMapIncremental, state};
use types::{EntityType, Epoch, OsdId, PgId, pool};

/// Epochs that are left out. Monitors that had a quorum without any of the given OSDs have made fewer.
const EPOCHS_LEFT_OUT: u32 = 1000;
/// A map that says that it is newer, or that it has more PGs, is damaged.
const EPOCH_MAX: u32 = u32::MAX >> 1;
const PGS_MAX: u64 = 1 << 22;
/// More of them than a cluster gives in a second: global ids begin at the time times this.
const IDS_PER_SECOND: u64 = 1 << 16;

/// OSDMaps that follow each other.
#[derive(Clone, Debug)]
pub struct MapSegment {
    /// The first.
    pub first: OsdMap,
    /// Incrementals to the ones behind it.
    pub incs: Vec<(Epoch, Bytes)>,
}

/// What a store is made again of.
#[derive(Clone, Debug)]
pub struct RebuildConfig {
    /// The monitors; the epoch is replaced.
    pub monmap: MonMap,
    /// All principals: at least `mon.`.
    pub keyring: Vec<(AuthName, EntityAuth)>,
    /// Options of the configuration file.
    pub options: MonConfig,
    /// The OSDMaps, ascending.
    pub maps: Vec<MapSegment>,
    /// OSDs whose processes are known to have ended.
    pub stopped: BTreeSet<OsdId>,
    /// PGs that some OSD has. `None` when not all OSDs were asked: a PG that seems to be missing may then be on one of the others.
    pub pgs: Option<BTreeSet<PgId>>,
}

/// A store, and what it says.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Its keys.
    pub keys: BTreeMap<String, Bytes>,
    /// The epoch at which all maps begin.
    pub epoch: Epoch,
    /// The OSDMap of that epoch.
    pub map: OsdMap,
    /// PGs that no OSD has: their pools ordered them, and they are created now.
    pub to_create: Vec<PgId>,
}

/// Why no store can be made.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// No maps.
    #[error("there is no OSDMap to begin with")]
    NoMaps,
    /// The maps do not follow each other.
    #[error("OSDMap {0} does not follow the one before it")]
    Order(Epoch),
    /// An incremental cannot be used.
    #[error("incremental {epoch} of the OSDMap")]
    Incremental {
        /// Which.
        epoch: Epoch,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// It does not decode.
    #[error("incremental {epoch} of the OSDMap does not decode")]
    Decode {
        /// Which.
        epoch: Epoch,
        /// Why.
        #[source]
        source: denc::DencError,
    },
    /// Nothing could follow it.
    #[error("OSDMap {0}: no cluster has so many epochs")]
    Epoch(Epoch),
    /// Its pools are damaged.
    #[error("the newest OSDMap speaks of {0} PGs: no cluster has so many")]
    Pgs(u64),
    /// As for a new cluster.
    #[error("{0}")]
    Mkfs(String),
}

/// Capabilities that stock gives a daemon of this kind; keyrings of daemons do not name them.
pub fn stock_caps(name: &AuthName) -> &'static [(&'static str, &'static str)] {
    match (name.kind, name.id.as_str()) {
        (EntityType::OSD, _) => {
            &[("mgr", "allow profile osd"), ("mon", "allow profile osd"), ("osd", "allow *")]
        }
        (EntityType::MDS, _) => &[
            ("mds", "allow *"),
            ("mgr", "allow profile mds"),
            ("mon", "allow profile mds"),
            ("osd", "allow *"),
        ],
        (EntityType::MGR, _) => &[("mds", "allow *"), ("mon", "allow profile mgr"), ("osd", "allow *")],
        (EntityType::MON, _) => &[("mon", "allow *")],
        (EntityType::CLIENT, "admin") => {
            &[("mds", "allow *"), ("mgr", "allow *"), ("mon", "allow *"), ("osd", "allow *")]
        }
        _ => &[],
    }
}

/// Makes the keys of the store.
pub fn rebuild(c: RebuildConfig, env: &dyn Env) -> Result<Rebuilt, RebuildError> {
    let newest = c.maps.last().map(|s| s.incs.last().map_or(s.first.epoch, |(e, _)| *e));
    let newest = newest.ok_or(RebuildError::NoMaps)?;
    if newest.0 > EPOCH_MAX {
        return Err(RebuildError::Epoch(newest));
    }
    let epoch = Epoch((newest.0 + EPOCHS_LEFT_OUT).next_multiple_of(FULL_EVERY));
    let fsid = c.maps[0].first.fsid;
    let mut monmap = c.monmap;
    monmap.epoch = epoch;
    monmap.last_changed = env.now();
    let fresh = MkfsConfig { monmap, fsid, keyring: c.keyring, options: c.options };
    let mut keys = mkfs(&fresh, env).map_err(RebuildError::Mkfs)?;
    keys.retain(|k, _| !k.starts_with("osdmap/"));

    let mut last: Option<OsdMap> = None;
    for segment in c.maps {
        last = Some(put_segment(&mut keys, segment, last.as_ref())?);
    }
    let last = last.ok_or(RebuildError::NoMaps)?;
    let pgs = last.pools.values().map(|p| u64::from(p.pg_num)).sum();
    if pgs > PGS_MAX {
        return Err(RebuildError::Pgs(pgs));
    }
    keys.insert(num_key(GAP, epoch.0.into()), encoded(&last.epoch));

    let mut map = ended(&last, epoch, &c.stopped, env)?;
    let to_create = c.pgs.map_or_else(Vec::new, |pgs| missing(&map, &pgs));
    if !to_create.is_empty() || map.pools.values().any(|p| p.has_flag(pool::flag::CREATING)) {
        let pools: BTreeSet<_> = to_create.iter().map(|pg| pg.pool).collect();
        let known = Arc::make_mut(&mut map.pools);
        for (id, p) in known.iter_mut().filter(|(_, p)| p.has_flag(pool::flag::CREATING)) {
            if !pools.contains(id) {
                Arc::make_mut(p).flags &= !pool::flag::CREATING;
            }
        }
    }
    map.crc = None;
    keys.insert(num_key("osdmap/full/", epoch.0.into()), map.to_bytes(STORED));
    for pg in &to_create {
        keys.insert(format!("osd/creating/{pg}"), encoded(&Creating::new(*pg, &map, env.now())));
    }
    keys.insert("mgr/map".to_owned(), encoded(&MgrMap { epoch, ..MgrMap::default() }));
    keys.insert(num_key("fsmap/full/", epoch.0.into()), encoded(&FsMap::empty(epoch)));
    let ids = env.now().as_nanos() / 1_000_000_000 * IDS_PER_SECOND;
    keys.insert("auth/max_global_id".to_owned(), encoded(&ids));
    Ok(Rebuilt { keys, epoch, map, to_create })
}

/// Stores a run of maps; answers its last one.
fn put_segment(
    keys: &mut BTreeMap<String, Bytes>,
    s: MapSegment,
    before: Option<&OsdMap>,
) -> Result<OsdMap, RebuildError> {
    let mut map = s.first;
    if let Some(b) = before {
        if b.epoch >= map.epoch {
            return Err(RebuildError::Order(map.epoch));
        }
        keys.insert(num_key(GAP, map.epoch.0.into()), encoded(&b.epoch));
    }
    keys.insert(num_key("osdmap/full/", map.epoch.0.into()), map.to_bytes(STORED));
    for (epoch, bytes) in s.incs {
        let inc: OsdMapIncremental =
            denc::from_bytes(&bytes).map_err(|source| RebuildError::Decode { epoch, source })?;
        map.apply_incremental(&inc).map_err(|source| RebuildError::Incremental { epoch, source })?;
        if map.epoch != epoch {
            return Err(RebuildError::Order(epoch));
        }
        keys.insert(num_key("osdmap/inc/", epoch.0.into()), bytes);
        if epoch.0.is_multiple_of(FULL_EVERY) {
            keys.insert(num_key("osdmap/full/", epoch.0.into()), map.to_bytes(STORED));
        }
    }
    Ok(map)
}

/// The newest map as it goes on: under its new epoch, with no OSD up.
fn ended(
    last: &OsdMap,
    epoch: Epoch,
    stopped: &BTreeSet<OsdId>,
    env: &dyn Env,
) -> Result<OsdMap, RebuildError> {
    let mut old = last.clone();
    old.epoch = Epoch(epoch.0 - 1);
    old.crc = None;
    old.new_removed_snaps = Arc::default();
    old.new_purged_snaps = Arc::default();
    let mut next = old.clone();
    for osd in last.osds().filter(|o| last.is_up(*o)) {
        set_state(&mut next, osd, state::UP, false);
        if stopped.contains(&osd)
            && let Some(x) = Arc::make_mut(&mut next.osd_xinfo).get_mut(osd.0 as usize)
        {
            x.dead_epoch = last.epoch;
        }
    }
    let inc =
        diff(&old, &next, env.now(), STORED).unwrap_or_else(|| OsdMapIncremental::after(&old, env.now()));
    old.apply_incremental(&inc).map_err(|source| RebuildError::Incremental { epoch, source })?;
    Ok(old)
}

/// PGs of the map that nobody has.
fn missing(map: &OsdMap, there: &BTreeSet<PgId>) -> Vec<PgId> {
    let all = map.pools.iter().flat_map(|(id, p)| (0..p.pg_num).map(|seed| PgId { pool: *id, seed }));
    all.filter(|pg| !there.contains(pg)).collect()
}
