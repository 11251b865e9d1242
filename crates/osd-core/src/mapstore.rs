//! [`MapStore`]: the OSDMaps that this OSD has, in its store and decoded in memory.
//!
//! Every epoch is kept as a full map, and as the incremental that led to it when one came: the first serves loading,
//! the second sharing. Old epochs are dropped when the monitors say that they have trimmed them.

use crate::superblock::{LoadError, Superblock, full_map_oid, inc_map_oid};
use bytes::Bytes;
use denc::{DencError, Features};
use messages::MOsdMap;
use objstore::{CollId, ObjectStore, StoreError, Transaction, TxnOp};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use types::osdmap::{ApplyError, OsdMap, OsdMapIncremental};
use types::{Epoch, Fsid};

/// Why a map message was refused.
#[derive(Debug, Error)]
pub enum MapError {
    /// Bytes that are no map.
    #[error("epoch {epoch}: malformed map")]
    Malformed {
        /// Which epoch.
        epoch: Epoch,
        /// How.
        #[source]
        source: DencError,
    },
    /// The incremental does not fit the map before it.
    #[error("epoch {epoch}: incremental does not apply")]
    Apply {
        /// Which epoch.
        epoch: Epoch,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// The map that an incremental follows is not there.
    #[error("epoch {0}: the map before it is not in the store")]
    NoPrevious(Epoch),
    /// Another cluster's map.
    #[error("map of cluster {0}")]
    WrongCluster(Fsid),
    /// A map says that it is of another epoch than its place.
    #[error("epoch {epoch}: the map says {says}")]
    WrongEpoch {
        /// Its place.
        epoch: Epoch,
        /// What it says.
        says: Epoch,
    },
}

/// What taking in a message led to.
#[derive(Debug, Default)]
pub struct TakenMaps {
    /// New maps, ascending.
    pub maps: Vec<Arc<OsdMap>>,
    /// First epoch that is missing before what the message brought, to be asked for.
    pub missing_from: Option<Epoch>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct MapStore {
    cache: BTreeMap<Epoch, Arc<OsdMap>>,
    cache_max: usize,
}

/// Epochs kept although the monitors have trimmed them would serve nobody; epochs dropped in one transaction.
const TRIM_AT_ONCE: u32 = 100;

impl MapStore {
    /// Keeps up to `cache_max` decoded maps.
    pub fn new(cache_max: usize) -> MapStore {
        MapStore { cache: BTreeMap::new(), cache_max: cache_max.max(2) }
    }

    fn remember(&mut self, map: &Arc<OsdMap>) {
        self.cache.insert(map.epoch, map.clone());
        while self.cache.len() > self.cache_max {
            self.cache.pop_first();
        }
    }

    /// The map of `epoch`; `None` when it is not kept.
    pub fn get(&mut self, store: &dyn ObjectStore, epoch: Epoch) -> Result<Option<Arc<OsdMap>>, LoadError> {
        if let Some(m) = self.cache.get(&epoch) {
            return Ok(Some(m.clone()));
        }
        let Some(bytes) = self.full_bytes(store, epoch)? else { return Ok(None) };
        let map = denc::from_bytes::<OsdMap>(&bytes)
            .map_err(|source| LoadError::Damaged { what: format!("osdmap {epoch}"), source })?;
        let map = Arc::new(map);
        self.remember(&map);
        Ok(Some(map))
    }

    /// The bytes of a full map.
    pub fn full_bytes(&self, store: &dyn ObjectStore, epoch: Epoch) -> Result<Option<Bytes>, LoadError> {
        read_whole(store, &full_map_oid(epoch))
    }

    /// The bytes of an incremental.
    pub fn inc_bytes(&self, store: &dyn ObjectStore, epoch: Epoch) -> Result<Option<Bytes>, LoadError> {
        read_whole(store, &inc_map_oid(epoch))
    }

    /// Takes in a message: maps that follow `sb.newest_map` go into `txn`, and `sb` moves. A gap is jumped only where
    /// the monitors have trimmed what is missing. On an error nothing behind the bad map is taken.
    pub fn take(
        &mut self,
        store: &dyn ObjectStore,
        sb: &mut Superblock,
        msg: &MOsdMap,
        txn: &mut Transaction,
    ) -> Result<TakenMaps, MapError> {
        if !sb.cluster_fsid.is_zero() && msg.fsid != sb.cluster_fsid {
            return Err(MapError::WrongCluster(msg.fsid));
        }
        let mut taken = TakenMaps::default();
        let first = msg.maps.keys().chain(msg.incremental_maps.keys()).min().copied();
        let last = msg.maps.keys().chain(msg.incremental_maps.keys()).max().copied();
        let (Some(first), Some(last)) = (first, last) else { return Ok(taken) };
        if last <= sb.newest_map {
            return Ok(taken);
        }
        let mut next = sb.newest_map.next();
        if first > next {
            let jump = sb.newest_map == Epoch(0) || msg.oldest > next;
            let full = msg.maps.keys().next().copied();
            match full {
                Some(at) if jump => next = at,
                _ => {
                    taken.missing_from = Some(next);
                    return Ok(taken);
                }
            }
        }
        let mut previous = self.get(store, sb.newest_map).ok().flatten();
        while next <= last {
            let map = match (msg.maps.get(&next), msg.incremental_maps.get(&next)) {
                (Some(full), _) => decode_full(next, full)?,
                // The first incremental of a cluster carries its full map.
                (None, Some(inc)) if next == Epoch(1) => {
                    apply(next, &OsdMap { fsid: msg.fsid, ..OsdMap::default() }, inc)?
                }
                (None, Some(inc)) => match &previous {
                    Some(p) => apply(next, p, inc)?,
                    None => return Err(MapError::NoPrevious(next)),
                },
                (None, None) => break,
            };
            let map = Arc::new(map);
            store_map(txn, &map, msg.maps.get(&next), msg.incremental_maps.get(&next));
            self.remember(&map);
            if sb.oldest_map == Epoch(0) {
                sb.oldest_map = next;
            }
            sb.newest_map = next;
            previous = Some(map.clone());
            taken.maps.push(map);
            next = next.next();
        }
        Ok(taken)
    }

    /// Drops maps below `keep_from` from the store, some at a time.
    pub fn trim(&mut self, sb: &mut Superblock, keep_from: Epoch, txn: &mut Transaction) {
        let keep_from = keep_from.min(sb.newest_map);
        let mut n = 0;
        while sb.oldest_map < keep_from && n < TRIM_AT_ONCE && sb.oldest_map > Epoch(0) {
            for oid in [full_map_oid(sb.oldest_map), inc_map_oid(sb.oldest_map)] {
                txn.push(TxnOp::Remove { coll: CollId::Meta, oid });
            }
            self.cache.remove(&sb.oldest_map);
            sb.oldest_map = sb.oldest_map.next();
            n += 1;
        }
    }
}

fn read_whole(store: &dyn ObjectStore, oid: &types::HObject) -> Result<Option<Bytes>, LoadError> {
    match store.read(CollId::Meta, oid, 0, u64::MAX) {
        Ok(b) => Ok(Some(b)),
        Err(StoreError::NoObject(_) | StoreError::NoColl(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn decode_full(epoch: Epoch, bytes: &Bytes) -> Result<OsdMap, MapError> {
    let map = denc::from_bytes::<OsdMap>(bytes).map_err(|source| MapError::Malformed { epoch, source })?;
    if map.epoch != epoch {
        return Err(MapError::WrongEpoch { epoch, says: map.epoch });
    }
    Ok(map)
}

fn apply(epoch: Epoch, previous: &OsdMap, bytes: &Bytes) -> Result<OsdMap, MapError> {
    let inc = denc::from_bytes::<OsdMapIncremental>(bytes)
        .map_err(|source| MapError::Malformed { epoch, source })?;
    if inc.epoch != epoch {
        return Err(MapError::WrongEpoch { epoch, says: inc.epoch });
    }
    let mut map = previous.clone();
    map.apply_incremental(&inc).map_err(|source| MapError::Apply { epoch, source })?;
    Ok(map)
}

fn store_map(txn: &mut Transaction, map: &OsdMap, full: Option<&Bytes>, inc: Option<&Bytes>) {
    let mut put = |oid: types::HObject, data: Bytes| {
        txn.push(TxnOp::Truncate { coll: CollId::Meta, oid: oid.clone(), size: 0 });
        txn.push(TxnOp::Write { coll: CollId::Meta, oid, off: 0, data });
    };
    let full = full.cloned().unwrap_or_else(|| map.to_bytes(Features(types::features::SUPPORTED)));
    put(full_map_oid(map.epoch), full);
    if let Some(inc) = inc {
        put(inc_map_oid(map.epoch), inc.clone());
    }
}
