//! Making a store ([`mkfs`]) and mounting one ([`open`]): newest superblock, walk of the index, replay of the journal.

use crate::StoreConfig;
use crate::alloc::Space;
use crate::device::{Dev, DeviceError, IoBatch, IoStep, Lane, ReadDevice, UNIT_BYTES};
use crate::journal::{JournalError, JournalOp, Replay, Seg};
use crate::keys;
use crate::node::{CHUNK_UNITS, Chunk, Place};
use crate::page::{Page, PageRef};
use crate::state::{Ring, State};
use crate::superblock::{FIXED_UNITS, Superblock};
use crate::tree::{MAX_LEVEL, PageCache, Tree, TreeError, descend, read_page};
use bytes::Bytes;
use denc::DencError;
use objstore::StoreError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use thiserror::Error;
use types::Fsid;

/// Smallest data device.
pub const DATA_BYTES_MIN: u64 = 4 << 20;
/// Smallest journal.
pub const JOURNAL_BYTES_MIN: u64 = 1 << 20;

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Neither superblock is whole: this is no store, or a newer one.
    #[error("no whole superblock")]
    Superblock(#[source] DencError),
    /// A device is smaller than the store on it.
    #[error("{dev:?} device has {have} bytes, the store needs {need}")]
    TooSmall {
        /// The device.
        dev: Dev,
        /// Its size.
        have: u64,
        /// What the store needs.
        need: u64,
    },
    /// The index is damaged.
    #[error(transparent)]
    Index(#[from] TreeError),
    /// The index contradicts itself.
    #[error("index: {what} (unit {unit})")]
    Inconsistent {
        /// What is wrong.
        what: &'static str,
        /// Where.
        unit: u64,
    },
    /// The journal is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal's transactions could not be applied.
    #[error("replay of the journal: {0}")]
    Replay(StoreError),
}

/// What makes an empty store on devices of these sizes: to be run in order, before [`open`].
///
/// # Panics
/// When a device is smaller than [`DATA_BYTES_MIN`] or [`JOURNAL_BYTES_MIN`].
pub fn mkfs(uuid: Fsid, data_bytes: u64, journal_bytes: u64) -> IoBatch {
    assert!(data_bytes >= DATA_BYTES_MIN && journal_bytes >= JOURNAL_BYTES_MIN, "devices are too small");
    let journal_bytes = journal_bytes - journal_bytes % UNIT_BYTES;
    let superblock = Superblock {
        uuid,
        generation: 0,
        data_units: data_bytes / UNIT_BYTES,
        journal_bytes,
        journal_pos: 0,
        journal_seq: 1,
        next_nid: 1,
        omap_bytes: 0,
        index_units: 0,
        root: None,
    };
    let zeros = Bytes::from(vec![0; UNIT_BYTES as usize]);
    let write = |dev, off, b: &Bytes| IoStep::Write { dev, off, bufs: vec![b.clone()], read_soon: false };
    IoBatch {
        id: 0,
        lane: Lane::Commit,
        steps: vec![
            write(Dev::Journal, 0, &zeros),
            IoStep::Sync { dev: Dev::Journal },
            write(Dev::Data, 0, &zeros),
            write(Dev::Data, UNIT_BYTES, &zeros),
            IoStep::Sync { dev: Dev::Data },
            write(Dev::Data, 0, &superblock.to_unit()),
            IoStep::Sync { dev: Dev::Data },
        ],
    }
}

/// Mounts: everything written so far must have been synced by the caller.
pub fn open(dev: Box<dyn ReadDevice>, config: StoreConfig) -> Result<State, OpenError> {
    let superblock = newest_superblock(&*dev)?;
    for (d, need) in
        [(Dev::Data, superblock.data_units * UNIT_BYTES), (Dev::Journal, superblock.journal_bytes)]
    {
        let have = dev.size(d);
        if have < need {
            return Err(OpenError::TooSmall { dev: d, have, need });
        }
    }
    let mut walk = Walk {
        space: Space::new(superblock.data_units, FIXED_UNITS),
        colls: BTreeSet::new(),
        data_units: 0,
        index_units: 0,
    };
    if let Some(root) = &superblock.root {
        walk.page(&*dev, root, MAX_LEVEL)?;
    }
    let Superblock { uuid, journal_bytes, journal_pos, journal_seq, .. } = superblock;

    // First pass: units that belong to records must be taken before replay takes any.
    let mut replay = Replay::new(&*dev, uuid, journal_bytes, journal_pos, journal_seq);
    while let Some(txns) = replay.next_record()? {
        for op in txns.iter().flatten() {
            let JournalOp::Write { segs, .. } = op else { continue };
            for seg in segs {
                let Seg::Extent { runs, .. } = seg else { continue };
                for (start, n) in runs {
                    for unit in *start..start.saturating_add(u64::from(*n)) {
                        if !walk.space.claim(unit) {
                            return Err(OpenError::Inconsistent { what: "journal extent in use", unit });
                        }
                    }
                }
            }
        }
    }
    let (end_seq, end_pos, used) = (replay.seq, replay.pos, replay.used);

    let mut state = State {
        space: walk.space,
        tree: Tree { root: superblock.root, cache: PageCache::new(config.page_cache_bytes) },
        colls: walk.colls,
        names: BTreeMap::new(),
        nodes: BTreeMap::new(),
        next_nid: superblock.next_nid,
        last: None,
        cur: superblock.generation + 1,
        installed: superblock.generation,
        dirty_nids: Vec::new(),
        dirty_names: Vec::new(),
        dirty_colls: BTreeSet::new(),
        killed: Vec::new(),
        dirty_cost: 0,
        deferred_units: 0,
        data_units: walk.data_units,
        omap_bytes: superblock.omap_bytes,
        index_units: walk.index_units,
        unwritten: BTreeMap::new(),
        slots: 0,
        evict_hand: 0,
        ring: Ring { size: journal_bytes, pos: end_pos, seq: end_seq, head: used, tail: 0 },
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        commit: None,
        durable_seq: end_seq - 1,
        commits: VecDeque::new(),
        checkpoint: None,
        retired: Default::default(),
        background: None,
        want_checkpoint: false,
        next_id: 1,
        failed: None,
        uuid,
        config,
        dev,
    };
    let mut at = (journal_pos, journal_seq);
    while at.1 < end_seq {
        let mut replay = Replay::new(&*state.dev, uuid, journal_bytes, at.0, at.1);
        let Some(txns) = replay.next_record()? else {
            return Err(OpenError::Inconsistent { what: "journal changed while it was read", unit: at.0 });
        };
        at = (replay.pos, replay.seq);
        for ops in txns {
            state.replay(ops).map_err(OpenError::Replay)?;
        }
        state.evict();
    }
    Ok(state)
}

fn newest_superblock(dev: &dyn ReadDevice) -> Result<Superblock, OpenError> {
    let mut best: Option<Superblock> = None;
    let mut why = None;
    for unit in 0..2 {
        let bytes = dev.read_at(Dev::Data, unit * UNIT_BYTES, UNIT_BYTES as usize)?;
        match Superblock::parse(&bytes) {
            Ok(s) if s.unit() != unit || s.data_units < DATA_BYTES_MIN / UNIT_BYTES => {
                why = Some(DencError::Invalid { what: "superblock's own unit", value: s.generation });
            }
            Ok(s) if s.journal_pos >= s.journal_bytes.max(1) && s.journal_pos != s.journal_bytes => {
                why = Some(DencError::Invalid { what: "journal position", value: s.journal_pos });
            }
            Ok(s) if best.as_ref().is_none_or(|b| b.generation < s.generation) => best = Some(s),
            Ok(_) => {}
            Err(e) => why = Some(e),
        }
    }
    match (best, why) {
        (Some(s), _) => Ok(s),
        (None, why) => {
            Err(OpenError::Superblock(why.unwrap_or(DencError::Invalid { what: "superblock", value: 0 })))
        }
    }
}

/// Walks the index and counts references.
struct Walk {
    space: Space,
    colls: BTreeSet<objstore::CollId>,
    data_units: u64,
    index_units: u64,
}
impl Walk {
    fn page(&mut self, dev: &dyn ReadDevice, r: &PageRef, mut above: u8) -> Result<(), OpenError> {
        self.claim(r)?;
        match read_page(dev, r)? {
            Page::Inner(level, children) => {
                descend(&mut above, level, r.id())?;
                for (i, (key, child)) in children.iter().enumerate() {
                    // Leaves of other classes hold no references: they are claimed, not read.
                    let next = children.get(i + 1).map(|n| &n.0[..]);
                    let wanted = |class: u8| {
                        let from = &[class][..];
                        let end = &[class + 1][..];
                        (i == 0 || &key[..] < end) && next.is_none_or(|n| n > from)
                    };
                    if level > 1 || wanted(keys::COLL) || wanted(keys::CHUNK) {
                        self.page(dev, child, above)?;
                    } else {
                        self.claim(child)?;
                    }
                }
            }
            Page::Leaf(entries) => {
                for (key, value) in &entries {
                    self.entry(key, value, r.id())?;
                }
            }
        }
        Ok(())
    }
    fn claim(&mut self, r: &PageRef) -> Result<(), OpenError> {
        for (start, n) in &r.runs {
            for unit in *start..*start + u64::from(*n) {
                if !self.space.claim(unit) {
                    return Err(OpenError::Inconsistent { what: "index page in used space", unit });
                }
            }
        }
        self.index_units += r.units();
        Ok(())
    }
    fn entry(&mut self, key: &Bytes, value: &Bytes, page: u64) -> Result<(), OpenError> {
        match key.first() {
            Some(&keys::COLL) => {
                let coll = keys::parse_coll(key)
                    .ok_or(OpenError::Inconsistent { what: "collection key", unit: page })?;
                self.colls.insert(coll);
            }
            Some(&keys::CHUNK) => {
                let chunk: Chunk = denc::from_bytes_exact(value)
                    .map_err(|source| TreeError::Format { unit: page, source })?;
                self.data_units += chunk.allocated();
                for i in 0..CHUNK_UNITS {
                    if let Place::Disk(unit, _) = chunk.place(i)
                        && !self.space.found(unit)
                    {
                        return Err(OpenError::Inconsistent { what: "extent behind the end", unit });
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
