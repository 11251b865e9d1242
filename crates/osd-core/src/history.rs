//! [`History`]: a cluster's OSDMaps, put together from what the stores of its OSDs hold. For monitors that have lost theirs.
//!
//! A map is taken when its own checksum, its epoch and its cluster are right, and it follows from the one before. Every store's copies are
//! compared: incrementals byte for byte (or by what they lead to), full maps at each store's newest epoch and at every sixteenth.
//! A store that cannot read a map is passed over while another has it; two stores that hold different maps under one epoch are refused, for
//! one of them lived in another history and nobody here can know which.
//!
//! Epochs that nobody has (OSDs jump over what the monitors have trimmed) end one [`Segment`] and begin the next.

use crate::superblock::{LoadError, Superblock, full_map_oid, inc_map_oid};
use bytes::Bytes;
use denc::Features;
use objstore::{CollId, ObjectStore, StoreError};
use std::collections::BTreeMap;
use thiserror::Error;
use types::osdmap::{OsdMap, OsdMapIncremental};
use types::{Epoch, Fsid, HObject, OsdId};

/// Full maps are compared at every so many epochs.
const COMPARE_EVERY: u32 = 16;
/// No cluster keeps more epochs: a superblock that says so is damaged.
const EPOCHS_MAX: u32 = 1 << 20;

/// One OSD's store.
pub struct Source<'a> {
    /// What to call it.
    pub name: String,
    /// Its superblock.
    pub sb: Superblock,
    /// The store.
    pub store: &'a dyn ObjectStore,
}

/// Maps without a hole between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The first of them.
    pub first: OsdMap,
    /// Incrementals to the ones behind it, in order.
    pub incs: Vec<(Epoch, Bytes)>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Ascending.
    pub segments: Vec<Segment>,
    /// The newest map.
    pub newest: OsdMap,
    /// Copies that could not be used, one line each. Another store had them, or the epoch is missing.
    pub damaged: Vec<String>,
}

/// Why no history can be made of these stores.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// No store was given, or none has seen a map.
    #[error("none of the given OSDs holds an OSDMap")]
    NoMaps,
    /// OSDs of different clusters.
    #[error("{a} is of cluster {a_fsid}, {b} of cluster {b_fsid}")]
    OtherCluster {
        /// One.
        a: String,
        /// Its cluster.
        a_fsid: Fsid,
        /// The other.
        b: String,
        /// Its cluster.
        b_fsid: Fsid,
    },
    /// The same OSD twice.
    #[error("{a} and {b} both say that they are osd.{osd}")]
    Twice {
        /// The number.
        osd: OsdId,
        /// One.
        a: String,
        /// The other.
        b: String,
    },
    /// Two histories.
    #[error(
        "{a} and {b} hold different OSDMaps for epoch {epoch}: one of them has lived in another history of this cluster and must be left out"
    )]
    Disagree {
        /// Where.
        epoch: Epoch,
        /// One.
        a: String,
        /// The other.
        b: String,
    },
    /// The newest map is lost.
    #[error("no given OSD has a readable OSDMap {epoch}, although it is the newest: {why}")]
    Newest {
        /// Its epoch.
        epoch: Epoch,
        /// What is wrong with the copies.
        why: String,
    },
    /// A superblock with impossible numbers.
    #[error("{name}: its superblock speaks of OSDMaps {oldest} to {newest}")]
    Range {
        /// Whose.
        name: String,
        /// First.
        oldest: Epoch,
        /// Last.
        newest: Epoch,
    },
    /// A store cannot be read at all.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Source<'_> {
    fn has(&self, epoch: Epoch) -> bool {
        self.sb.newest_map > Epoch(0) && (self.sb.oldest_map..=self.sb.newest_map).contains(&epoch)
    }
    fn read(&self, oid: &HObject) -> Result<Option<Bytes>, String> {
        match self.store.read(CollId::Meta, oid, 0, u64::MAX) {
            Ok(b) if b.is_empty() => Ok(None),
            Ok(b) => Ok(Some(b)),
            Err(StoreError::NoObject(_) | StoreError::NoColl(_)) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }
    fn full(&self, epoch: Epoch) -> Result<Option<OsdMap>, String> {
        let Some(bytes) = self.read(&full_map_oid(epoch))? else { return Ok(None) };
        let map: OsdMap = denc::from_bytes(&bytes).map_err(|e| e.to_string())?;
        if map.epoch != epoch || map.fsid != self.sb.cluster_fsid {
            return Err(format!("it is map {} of cluster {}", map.epoch, map.fsid));
        }
        Ok(Some(map))
    }
    fn inc(&self, epoch: Epoch) -> Result<Option<Bytes>, String> {
        self.read(&inc_map_oid(epoch))
    }
}

/// The checksum that tells maps apart.
fn crc(map: &OsdMap) -> u32 {
    map.crc_for(Features(types::features::SUPPORTED))
}

fn step(previous: &OsdMap, epoch: Epoch, bytes: &Bytes) -> Result<OsdMap, String> {
    let inc: OsdMapIncremental = denc::from_bytes(bytes).map_err(|e| e.to_string())?;
    if inc.epoch != epoch {
        return Err(format!("it is incremental {}", inc.epoch));
    }
    let map = previous.with_incremental(&inc).map_err(|e| e.to_string())?;
    let features = Features(match inc.encode_features {
        0 => types::features::SUPPORTED,
        f => f,
    });
    if inc.full_crc != 0 && map.crc_for(features) != inc.full_crc {
        return Err("it does not lead to the map that it promises".to_owned());
    }
    Ok(map)
}

/// What all stores say of one epoch.
struct Agreed {
    map: OsdMap,
    crc: u32,
    inc: Option<Bytes>,
    by: String,
}

impl History {
    /// Puts the maps together.
    pub fn gather(sources: &[Source<'_>]) -> Result<History, HistoryError> {
        check_sources(sources)?;
        let with_maps = || sources.iter().filter(|s| s.sb.newest_map > Epoch(0));
        let newest = with_maps().map(|s| s.sb.newest_map).max().ok_or(HistoryError::NoMaps)?;
        let oldest = with_maps().map(|s| s.sb.oldest_map).min().ok_or(HistoryError::NoMaps)?;
        let mut h = History::default();
        let mut previous: Option<OsdMap> = None;
        let mut epoch = oldest;
        while epoch <= newest {
            let agreed = h.epoch(sources, epoch, previous.as_ref())?;
            match agreed {
                Some(a) => {
                    let going_on = h.segments.last_mut().filter(|_| previous.is_some());
                    match (going_on, a.inc) {
                        (Some(segment), Some(inc)) => segment.incs.push((epoch, inc)),
                        _ => h.segments.push(Segment { first: a.map.clone(), incs: Vec::new() }),
                    }
                    previous = Some(a.map);
                }
                None => previous = None,
            }
            epoch = epoch.next();
        }
        match previous {
            Some(map) => h.newest = map,
            None => return Err(HistoryError::Newest { epoch: newest, why: h.damaged.join("; ") }),
        }
        Ok(h)
    }

    fn epoch(
        &mut self,
        sources: &[Source<'_>],
        epoch: Epoch,
        previous: Option<&OsdMap>,
    ) -> Result<Option<Agreed>, HistoryError> {
        let mut agreed: Option<Agreed> = None;
        for s in sources.iter().filter(|s| s.has(epoch)) {
            let Some(previous) = previous else { break };
            let inc = s.inc(epoch).and_then(|bytes| match bytes {
                Some(b) if agreed.as_ref().is_some_and(|a| a.inc.as_ref() == Some(&b)) => Ok(None),
                Some(b) => step(previous, epoch, &b).map(|map| Some((b, map))),
                None => Ok(None),
            });
            match inc {
                Ok(Some((bytes, map))) => take(&mut agreed, s, epoch, map, Some(bytes))?,
                Ok(None) => {}
                Err(why) => self.damaged.push(format!("{}: incremental {epoch}: {why}", s.name)),
            }
        }
        let all = agreed.is_none() || epoch.0.is_multiple_of(COMPARE_EVERY);
        for s in sources.iter().filter(|s| s.has(epoch) && (all || s.sb.newest_map == epoch)) {
            match s.full(epoch) {
                Ok(Some(map)) => take(&mut agreed, s, epoch, map, None)?,
                Ok(None) => {}
                Err(why) => self.damaged.push(format!("{}: OSDMap {epoch}: {why}", s.name)),
            }
        }
        Ok(agreed)
    }
}

fn take(
    agreed: &mut Option<Agreed>,
    s: &Source<'_>,
    epoch: Epoch,
    mut map: OsdMap,
    inc: Option<Bytes>,
) -> Result<(), HistoryError> {
    let crc = crc(&map);
    map.crc = Some(crc);
    match agreed {
        Some(a) if a.crc == crc => Ok(()),
        Some(a) => Err(HistoryError::Disagree { epoch, a: a.by.clone(), b: s.name.clone() }),
        None => {
            *agreed = Some(Agreed { map, crc, inc, by: s.name.clone() });
            Ok(())
        }
    }
}

fn check_sources(sources: &[Source<'_>]) -> Result<(), HistoryError> {
    let mut seen: BTreeMap<OsdId, &str> = BTreeMap::new();
    for s in sources {
        let first = &sources[0];
        if s.sb.cluster_fsid != first.sb.cluster_fsid {
            return Err(HistoryError::OtherCluster {
                a: first.name.clone(),
                a_fsid: first.sb.cluster_fsid,
                b: s.name.clone(),
                b_fsid: s.sb.cluster_fsid,
            });
        }
        if let Some(other) = seen.insert(s.sb.whoami, &s.name) {
            return Err(HistoryError::Twice { osd: s.sb.whoami, a: other.to_owned(), b: s.name.clone() });
        }
        let (oldest, newest) = (s.sb.oldest_map, s.sb.newest_map);
        let possible = (Epoch(1)..=newest).contains(&oldest)
            && newest.0 - oldest.0 <= EPOCHS_MAX
            && newest.0 < u32::MAX - EPOCHS_MAX;
        if newest > Epoch(0) && !possible {
            return Err(HistoryError::Range { name: s.name.clone(), oldest, newest });
        }
    }
    Ok(())
}
