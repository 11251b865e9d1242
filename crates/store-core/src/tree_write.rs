//! Changing the index: [`TreeWriter`] takes puts and removals in about ascending order and makes the new pages, copy on
//! write, leaving the durable tree as it is.
//!
//! Pages left of the key that was worked on last are settled (written to fresh units, small neighbours joined, large pages
//! split) after each slice, so memory holds about one path however many changes there are.

use crate::alloc::Space;
use crate::device::{ReadDevice, UNIT_BYTES};
use crate::keys;
use crate::page::{PAGE_ROOM, Page, PageRef, child_index, inner_entry_len, leaf_entry_len};
use crate::tree::{MAX_LEVEL, PageCache, TreeError, descend, load};
use bytes::Bytes;
use std::rc::Rc;
use thiserror::Error;

/// The index could not be changed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// A page that must be changed could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// No unit is left for a page: the reserve was too small.
    #[error("no space for index pages")]
    NoSpace,
}

#[derive(Debug)]
enum Child {
    Disk(PageRef),
    Mem(Box<Work>),
}
#[derive(Debug)]
enum Work {
    Leaf(Vec<(Bytes, Bytes)>),
    Inner(u8, Vec<(Bytes, Child)>),
}

/// What the writer works with.
pub struct Ctx<'a> {
    /// For pages that are not cached.
    pub dev: &'a dyn ReadDevice,
    /// Pages in memory.
    pub cache: &'a mut PageCache,
    /// Where pages come from and go to.
    pub space: &'a mut Space,
}

/// A tree that is being made out of the durable one.
#[derive(Debug)]
pub struct TreeWriter {
    root: Option<Child>,
    /// Pages to write: first unit of a run, its bytes.
    pub out: Vec<(u64, Bytes)>,
    /// Names of the pages in `out`, pinned in the cache.
    pub pinned: Vec<u64>,
    /// Change of the bytes of omap pairs.
    pub omap_delta: i64,
    /// Change of the number of units of the tree.
    pub units_delta: i64,
}

fn pair_len(key: &[u8], value: &[u8]) -> i64 {
    if key.first() == Some(&keys::OMAP) { (key.len() + value.len()) as i64 } else { 0 }
}

impl TreeWriter {
    /// Starts from a durable root.
    pub fn new(root: Option<PageRef>) -> Self {
        TreeWriter {
            root: root.map(Child::Disk),
            out: Vec::new(),
            pinned: Vec::new(),
            omap_delta: 0,
            units_delta: 0,
        }
    }

    /// Brings a child into memory, to be changed.
    fn open<'c>(&mut self, cx: &mut Ctx<'_>, child: &'c mut Child) -> Result<&'c mut Work, TreeError> {
        if let Child::Disk(r) = child {
            let page = load(cx.dev, cx.cache, r)?;
            let work = match &*page {
                Page::Leaf(e) => Work::Leaf(e.clone()),
                Page::Inner(level, e) => {
                    Work::Inner(*level, e.iter().map(|(k, r)| (k.clone(), Child::Disk(r.clone()))).collect())
                }
            };
            self.discard(cx, r);
            *child = Child::Mem(Box::new(work));
        }
        match child {
            Child::Mem(w) => Ok(w),
            Child::Disk(_) => unreachable!("it was just loaded"),
        }
    }
    fn discard(&mut self, cx: &mut Ctx<'_>, r: &PageRef) {
        for run in &r.runs {
            cx.space.drop_on_install(*run);
        }
        self.units_delta -= r.units() as i64;
    }

    /// Sets (`Some`) or removes (`None`) one key.
    pub fn put(&mut self, cx: &mut Ctx<'_>, key: Bytes, value: Option<Bytes>) -> Result<(), TreeError> {
        let mut root = self.root.take().unwrap_or_else(|| Child::Mem(Box::new(Work::Leaf(Vec::new()))));
        let done = self.put_at(cx, &mut root, MAX_LEVEL, key, value);
        self.root = Some(root);
        done
    }
    fn put_at(
        &mut self,
        cx: &mut Ctx<'_>,
        child: &mut Child,
        mut above: u8,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), TreeError> {
        match self.open(cx, child)? {
            Work::Inner(level, children) => {
                descend(&mut above, *level, 0)?;
                let i = child_index(children, &key);
                self.put_at(cx, &mut children[i].1, above, key, value)
            }
            Work::Leaf(entries) => {
                match (entries.binary_search_by(|e| e.0.cmp(&key)), value) {
                    (Ok(i), Some(v)) => {
                        self.omap_delta += pair_len(&key, &v) - pair_len(&key, &entries[i].1);
                        entries[i].1 = v;
                    }
                    (Ok(i), None) => {
                        self.omap_delta -= pair_len(&key, &entries[i].1);
                        entries.remove(i);
                    }
                    (Err(i), Some(v)) => {
                        self.omap_delta += pair_len(&key, &v);
                        entries.insert(i, (key, v));
                    }
                    (Err(_), None) => {}
                }
                Ok(())
            }
        }
    }

    /// Removes all keys in `first..end`.
    pub fn del_range(&mut self, cx: &mut Ctx<'_>, first: &[u8], end: &[u8]) -> Result<(), TreeError> {
        if first >= end {
            return Ok(());
        }
        if let Some(mut root) = self.root.take() {
            let done = self.del_at(cx, &mut root, MAX_LEVEL, first, end);
            self.root = Some(root);
            done?;
        }
        Ok(())
    }
    fn del_at(
        &mut self,
        cx: &mut Ctx<'_>,
        child: &mut Child,
        mut above: u8,
        first: &[u8],
        end: &[u8],
    ) -> Result<(), TreeError> {
        // Most removals of small objects find nothing: look before a page is copied.
        if let Child::Disk(r) = child {
            let page = load(cx.dev, cx.cache, r)?;
            if let Page::Leaf(e) = &*page {
                let i = e.partition_point(|e| &e.0[..] < first);
                if e.get(i).is_none_or(|e| &e.0[..] >= end) {
                    return Ok(());
                }
            }
        }
        match self.open(cx, child)? {
            Work::Leaf(entries) => {
                let a = entries.partition_point(|e| &e.0[..] < first);
                let b = entries.partition_point(|e| &e.0[..] < end);
                for (k, v) in entries.drain(a..b) {
                    self.omap_delta -= pair_len(&k, &v);
                }
            }
            Work::Inner(level, children) => {
                descend(&mut above, *level, 0)?;
                let from = child_index(children, first);
                let to = children.partition_point(|c| &c.0[..] < end).max(from + 1);
                let mut kept = Vec::new();
                let tail = children.split_off(to);
                for (i, (k, mut c)) in children.split_off(from).into_iter().enumerate() {
                    let next = if from + i + 1 < to { end.into() } else { tail.first().map(|t| &t.0[..]) };
                    // The leftmost child may hold keys below its own first key, so it is never dropped unseen.
                    if from + i > 0 && &k[..] >= first && next.is_some_and(|n| n <= end) {
                        self.free_all(cx, c, above)?;
                    } else {
                        self.del_at(cx, &mut c, above, first, end)?;
                        kept.push((k, c));
                    }
                }
                children.extend(kept);
                children.extend(tail);
            }
        }
        Ok(())
    }
    /// Frees a subtree (reading it all: the omap bytes in it must be counted off).
    fn free_all(&mut self, cx: &mut Ctx<'_>, child: Child, mut above: u8) -> Result<(), TreeError> {
        let mut child = child;
        match self.open(cx, &mut child)? {
            Work::Leaf(entries) => {
                for (k, v) in &*entries {
                    self.omap_delta -= pair_len(k, v);
                }
            }
            Work::Inner(level, children) => {
                descend(&mut above, *level, 0)?;
                for (_, c) in std::mem::take(children) {
                    self.free_all(cx, c, above)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what lies beside the path to `keep` to fresh units.
    pub fn settle(&mut self, cx: &mut Ctx<'_>, keep: &[u8]) -> Result<(), WriteError> {
        if let Some(Child::Mem(mut root)) = self.root.take_if(|r| matches!(r, Child::Mem(_))) {
            let done = self.settle_children(cx, &mut root, Some(keep));
            self.root = Some(Child::Mem(root));
            done?;
        }
        Ok(())
    }
    fn settle_children(
        &mut self,
        cx: &mut Ctx<'_>,
        work: &mut Work,
        keep: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        let Work::Inner(_, children) = work else { return Ok(()) };
        let keep_at = keep.map(|k| child_index(children, k));
        let mut out: Vec<(Bytes, Child)> = Vec::with_capacity(children.len() + 4);
        let mut todo = std::mem::take(children).into_iter().enumerate().peekable();
        while let Some((i, (key, child))) = todo.next() {
            let Child::Mem(mut w) = child else {
                out.push((key, child));
                continue;
            };
            if Some(i) == keep_at {
                self.settle_children(cx, &mut w, keep)?;
                out.push((key, Child::Mem(w)));
                continue;
            }
            self.settle_children(cx, &mut w, None)?;
            let mut key = key;
            // A small page takes in its right neighbours, else it goes into the left one.
            while is_small(&w) && todo.peek().is_some_and(|n| Some(n.0) != keep_at) {
                let (_, (next_key, mut next)) = todo.next().expect("peeked");
                self.open(cx, &mut next)?;
                let Child::Mem(mut n) = next else { unreachable!("opened") };
                self.settle_children(cx, &mut n, None)?;
                if is_empty(&w) {
                    key = key.min(next_key);
                }
                join(&mut w, *n);
            }
            if is_small(&w)
                && todo.peek().is_none()
                && out.last().is_some_and(|l| matches!(l.1, Child::Disk(_)))
            {
                let (left_key, mut left) = out.pop().expect("there is a last one");
                self.open(cx, &mut left)?;
                let Child::Mem(mut l) = left else { unreachable!("opened") };
                join(&mut l, *w);
                (key, w) = (left_key, l);
            }
            let first_is_leftmost = out.is_empty();
            for (n, (k, r)) in self.emit(cx, *w)?.into_iter().enumerate() {
                // The leftmost child keeps its old key, so that the page's own first key stays what its parent says.
                let k = if n == 0 && first_is_leftmost { key.clone().min(k) } else { k };
                out.push((k, Child::Disk(r)));
            }
        }
        *children = out;
        Ok(())
    }

    /// Writes one page, split as needed. Its children are settled.
    fn emit(&mut self, cx: &mut Ctx<'_>, work: Work) -> Result<Vec<(Bytes, PageRef)>, WriteError> {
        let mut refs = Vec::new();
        match work {
            Work::Leaf(entries) => {
                for part in split(entries, |e| leaf_entry_len(&e.0, &e.1)) {
                    let key = part[0].0.clone();
                    refs.push((key, self.emit_page(cx, Page::Leaf(part))?));
                }
            }
            Work::Inner(level, children) => {
                let entries: Vec<(Bytes, PageRef)> = children
                    .into_iter()
                    .map(|(k, c)| match c {
                        Child::Disk(r) => (k, r),
                        Child::Mem(_) => unreachable!("children are settled before their parent"),
                    })
                    .collect();
                for part in split(entries, |e| inner_entry_len(&e.0, &e.1)) {
                    let key = part[0].0.clone();
                    refs.push((key, self.emit_page(cx, Page::Inner(level, part))?));
                }
            }
        }
        Ok(refs)
    }
    fn emit_page(&mut self, cx: &mut Ctx<'_>, page: Page) -> Result<PageRef, WriteError> {
        let bytes = page.to_bytes();
        let units = (bytes.len() as u64 / UNIT_BYTES) as u32;
        let runs = cx.space.take(units).ok_or(WriteError::NoSpace)?;
        let r = PageRef { crc: crc32c::crc32c(&bytes), runs };
        let mut at = 0;
        for (start, n) in &r.runs {
            let len = *n as usize * UNIT_BYTES as usize;
            self.out.push((*start, bytes.slice(at..at + len)));
            at += len;
        }
        self.units_delta += i64::from(units);
        // Re-read from the bytes: entries then share one buffer instead of pinning what they were made of.
        let page = Page::parse(&bytes).expect("our own page");
        cx.cache.insert(r.id(), Rc::new(page), true);
        self.pinned.push(r.id());
        Ok(r)
    }

    /// Settles all and answers the new root.
    pub fn finish(&mut self, cx: &mut Ctx<'_>) -> Result<Option<PageRef>, WriteError> {
        let mut work = match self.root.take() {
            None => return Ok(None),
            Some(Child::Disk(r)) => {
                self.root = Some(Child::Disk(r.clone()));
                return Ok(Some(r));
            }
            Some(Child::Mem(w)) => *w,
        };
        loop {
            self.settle_children(cx, &mut work, None)?;
            // A root with one child is that child.
            if let Work::Inner(_, children) = &mut work
                && children.len() == 1
            {
                let (_, mut only) = children.pop().expect("one child");
                if matches!(&only, Child::Disk(_)) {
                    self.open(cx, &mut only)?;
                }
                let Child::Mem(w) = only else { unreachable!("opened") };
                work = *w;
                continue;
            }
            if is_empty(&work) {
                return Ok(None);
            }
            let level = match &work {
                Work::Leaf(_) => 0,
                Work::Inner(level, _) => *level,
            };
            let mut refs = self.emit(cx, work)?;
            if refs.len() == 1 {
                let (_, r) = refs.pop().expect("one page");
                self.root = Some(Child::Disk(r.clone()));
                return Ok(Some(r));
            }
            assert!(level + 1 < MAX_LEVEL, "index of {level} levels");
            work = Work::Inner(level + 1, refs.into_iter().map(|(k, r)| (k, Child::Disk(r))).collect());
        }
    }
}

fn is_empty(w: &Work) -> bool {
    match w {
        Work::Leaf(e) => e.is_empty(),
        Work::Inner(_, c) => c.is_empty(),
    }
}
/// Under a quarter of a page.
fn is_small(w: &Work) -> bool {
    let limit = PAGE_ROOM / 4;
    let mut sum = 0;
    match w {
        Work::Leaf(e) => e.iter().all(|e| {
            sum += leaf_entry_len(&e.0, &e.1);
            sum < limit
        }),
        Work::Inner(_, c) => c.len() * 40 < limit,
    }
}
/// Puts the entries of `right` behind those of `left`; both have the same level.
fn join(left: &mut Work, right: Work) {
    match (left, right) {
        (Work::Leaf(l), Work::Leaf(r)) => l.extend(r),
        (Work::Inner(_, l), Work::Inner(_, r)) => l.extend(r),
        (left, right) => {
            // A neighbour that is empty may have any level (its pages are gone).
            if is_empty(left) {
                *left = right;
            } else {
                assert!(is_empty(&right), "neighbours have one level");
            }
        }
    }
}
/// Cuts entries into pages of about the same size.
fn split<T>(entries: Vec<T>, len: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let total: usize = entries.iter().map(&len).sum();
    let target = total.div_ceil(total.div_ceil(PAGE_ROOM).max(1));
    let (mut parts, mut part, mut size) = (Vec::new(), Vec::new(), 0);
    for e in entries {
        let n = len(&e);
        if !part.is_empty() && (size + n > PAGE_ROOM || size + n / 2 > target) {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += n;
        part.push(e);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}
