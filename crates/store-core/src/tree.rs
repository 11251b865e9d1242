//! Reading the index: a copy-on-write B+tree of [`Page`]s behind a bounded cache.
//!
//! Invariants: a cached page has passed its checksum; pages that a running checkpoint has made but not yet written are pinned.

use crate::device::{Dev, DeviceError, ReadDevice, UNIT_BYTES};
use crate::page::{Page, PageRef, child_index};
use bytes::{Bytes, BytesMut};
use denc::DencError;
use std::collections::BTreeMap;
use std::rc::Rc;
use thiserror::Error;

/// Highest tree there can be: beyond it the pages must be wrong.
pub const MAX_LEVEL: u8 = 16;

/// The index could not be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TreeError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A page does not match the checksum in its reference.
    #[error("index page at unit {unit}: checksum {found:#010x} where {expected:#010x} was expected")]
    Checksum {
        /// First unit of the page.
        unit: u64,
        /// In the reference.
        expected: u32,
        /// Of the bytes.
        found: u32,
    },
    /// A page with the right checksum makes no sense.
    #[error("index page at unit {unit}")]
    Format {
        /// First unit of the page.
        unit: u64,
        /// What is wrong.
        #[source]
        source: DencError,
    },
    /// A page is at the wrong height.
    #[error("index page at unit {unit}: level {level} is wrong there")]
    Level {
        /// First unit of the page.
        unit: u64,
        /// Its level.
        level: u8,
    },
}

#[derive(Debug)]
struct Cached {
    page: Rc<Page>,
    touched: bool,
    pinned: bool,
}

/// Pages in memory, at most `budget` bytes of those that are not pinned.
#[derive(Debug, Default)]
pub struct PageCache {
    pages: BTreeMap<u64, Cached>,
    bytes: usize,
    budget: usize,
    hand: u64,
}

impl PageCache {
    /// An empty cache.
    pub fn new(budget: usize) -> Self {
        PageCache { budget, ..PageCache::default() }
    }
    /// Memory taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Adds a page.
    pub fn insert(&mut self, id: u64, page: Rc<Page>, pinned: bool) {
        self.bytes += page.cost();
        if let Some(old) = self.pages.insert(id, Cached { page, touched: true, pinned }) {
            self.bytes -= old.page.cost();
        }
        let mut steps = self.pages.len() * 2;
        while self.bytes > self.budget && steps > 0 {
            steps -= 1;
            let Some((&id, c)) = self.pages.range_mut(self.hand..).next() else {
                self.hand = 0;
                continue;
            };
            self.hand = id + 1;
            if c.pinned || std::mem::take(&mut c.touched) {
                continue;
            }
            self.remove(id);
        }
    }
    /// Forgets a page.
    pub fn remove(&mut self, id: u64) {
        if let Some(c) = self.pages.remove(&id) {
            self.bytes -= c.page.cost();
        }
    }
    /// The page has been written: it may be forgotten from now on.
    pub fn unpin(&mut self, id: u64) {
        if let Some(c) = self.pages.get_mut(&id) {
            c.pinned = false;
        }
    }
    fn get(&mut self, id: u64) -> Option<Rc<Page>> {
        let c = self.pages.get_mut(&id)?;
        c.touched = true;
        Some(c.page.clone())
    }
}

/// Reads and checks one page.
pub fn read_page(dev: &dyn ReadDevice, r: &PageRef) -> Result<Page, TreeError> {
    let bytes = match &r.runs[..] {
        [run] => read_run(dev, *run)?,
        runs => {
            let mut all = BytesMut::new();
            for run in runs {
                all.extend_from_slice(&read_run(dev, *run)?);
            }
            all.freeze()
        }
    };
    let found = crc32c::crc32c(&bytes);
    if found != r.crc {
        return Err(TreeError::Checksum { unit: r.id(), expected: r.crc, found });
    }
    Page::parse(&bytes).map_err(|source| TreeError::Format { unit: r.id(), source })
}
fn read_run(dev: &dyn ReadDevice, run: (u64, u32)) -> Result<Bytes, DeviceError> {
    dev.read_at(Dev::Data, run.0 * UNIT_BYTES, run.1 as usize * UNIT_BYTES as usize)
}

/// The page behind a reference, from the cache or the device.
pub fn load(dev: &dyn ReadDevice, cache: &mut PageCache, r: &PageRef) -> Result<Rc<Page>, TreeError> {
    if let Some(page) = cache.get(r.id()) {
        return Ok(page);
    }
    let page = Rc::new(read_page(dev, r)?);
    cache.insert(r.id(), page.clone(), false);
    Ok(page)
}

/// The durable tree with its cache.
#[derive(Debug)]
pub struct Tree {
    /// Root of the last durable checkpoint.
    pub root: Option<PageRef>,
    /// Pages in memory.
    pub cache: PageCache,
}

impl Tree {
    /// The value of a key.
    pub fn get(&mut self, dev: &dyn ReadDevice, key: &[u8]) -> Result<Option<Bytes>, TreeError> {
        let Some(mut at) = self.root.clone() else { return Ok(None) };
        let mut above = MAX_LEVEL;
        loop {
            let page = load(dev, &mut self.cache, &at)?;
            match &*page {
                Page::Leaf(entries) => {
                    let found = entries.binary_search_by(|e| e.0[..].cmp(key));
                    return Ok(found.ok().map(|i| entries[i].1.clone()));
                }
                Page::Inner(level, entries) => {
                    descend(&mut above, *level, at.id())?;
                    at = entries[child_index(entries, key)].1.clone();
                }
            }
        }
    }
    /// Up to `max` pairs with `from <= key < end`, ascending.
    pub fn scan(
        &mut self,
        dev: &dyn ReadDevice,
        from: &[u8],
        end: &[u8],
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, TreeError> {
        let mut out = Vec::new();
        if let Some(root) = self.root.clone() {
            self.scan_page(dev, &root, MAX_LEVEL, from, end, max, &mut out)?;
        }
        Ok(out)
    }
    #[allow(clippy::too_many_arguments)] // a recursion with the query's constants
    fn scan_page(
        &mut self,
        dev: &dyn ReadDevice,
        at: &PageRef,
        mut above: u8,
        from: &[u8],
        end: &[u8],
        max: usize,
        out: &mut Vec<(Bytes, Bytes)>,
    ) -> Result<(), TreeError> {
        let page = load(dev, &mut self.cache, at)?;
        match &*page {
            Page::Leaf(entries) => {
                let first = entries.partition_point(|e| &e.0[..] < from);
                for (k, v) in &entries[first..] {
                    if out.len() >= max || &k[..] >= end {
                        break;
                    }
                    out.push((k.clone(), v.clone()));
                }
            }
            Page::Inner(level, entries) => {
                descend(&mut above, *level, at.id())?;
                let first = child_index(entries, from);
                for (i, (k, child)) in entries.iter().enumerate().skip(first) {
                    if out.len() >= max || (i > first && &k[..] >= end) {
                        break;
                    }
                    self.scan_page(dev, child, above, from, end, max, out)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks that levels fall on the way down, so that wrong pages cannot make a loop.
pub fn descend(above: &mut u8, level: u8, unit: u64) -> Result<(), TreeError> {
    if level >= *above {
        return Err(TreeError::Level { unit, level });
    }
    *above = level;
    Ok(())
}

impl PageCache {
    /// Forgets all pages whose names are in `from..to`: their units will be used for something else.
    pub fn remove_range(&mut self, from: u64, to: u64) {
        while let Some((&id, _)) = self.pages.range(from..to).next() {
            self.remove(id);
        }
    }
}
