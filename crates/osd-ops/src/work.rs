//! The object as a running vector sees it: the store's content under the changes of earlier ops ([`Work`]), and the
//! transaction that they add up to. Mirrors nothing of Ceph: stock lets only classes see a few of their own writes; we
//! let every op see all earlier ones.
//!
//! Invariant: reading through [`Work`] gives what the store would give after `txn` were applied.

use crate::context::store_errno;
use crate::interval::IntervalSet;
use bytes::{Bytes, BytesMut};
use messages::known_crc;
use objstore::{CollId, ObjectStore, StoreError, Transaction, TxnOp};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use types::{Errno, HObject};

/// Room for what a store reads round a range that does not begin and end with its units.
const UNIT_SLACK: usize = 2 * 4096;

/// One change of data: bytes, or zeros.
enum Patch {
    Data { off: u64, data: Bytes },
    Zero { off: u64, len: u64 },
}

/// Changes of the omap.
#[derive(Default)]
struct OmapPatch {
    /// The store's pairs and header are gone.
    cleared: bool,
    header: Option<Bytes>,
    /// Newer than `ranges` for the keys in it; `None`: removed.
    keys: BTreeMap<Bytes, Option<Bytes>>,
    ranges: Vec<(Bytes, Bytes)>,
}

/// Where an omap scan starts.
#[derive(Clone, Copy)]
pub(crate) enum ScanFrom<'a> {
    /// The first key greater than this; an empty one is before all keys.
    After(&'a [u8]),
    /// The first key not less than this.
    At(&'a [u8]),
}

/// See the module's head.
pub(crate) struct Work<'a> {
    store: &'a dyn ObjectStore,
    coll: CollId,
    oid: HObject,
    /// The store's object that unpatched reads fall through to; `None`: the object began or was removed.
    base: Option<HObject>,
    /// Bytes of the base's data that still count.
    base_limit: u64,
    /// Later reads may come: keep patches.
    track: bool,
    data: Vec<Patch>,
    /// The base's xattrs still count.
    attrs: BTreeMap<Bytes, Option<Bytes>>,
    omap: Option<Box<OmapPatch>>,
    /// What to apply, in order.
    pub(crate) txn: Transaction,
    /// The store could not give (intact) content of this object.
    pub(crate) bad: Cell<bool>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        store: &'a dyn ObjectStore,
        coll: CollId,
        oid: HObject,
        exists: bool,
        track: bool,
    ) -> Self {
        Work {
            store,
            coll,
            base: exists.then(|| oid.clone()),
            oid,
            base_limit: u64::MAX,
            track,
            data: Vec::new(),
            attrs: BTreeMap::new(),
            omap: None,
            // Who runs ops is the primary, whom clients ask.
            txn: Transaction { read_here: true, ..Transaction::new() },
            bad: Cell::new(false),
        }
    }

    fn fail(&self, e: &StoreError) -> Errno {
        let errno = store_errno(e);
        if errno == Errno::EIO {
            self.bad.set(true);
        }
        errno
    }

    // Reads.

    /// Reads `len` bytes at `off`; the caller has clipped the range to the object's size. Bytes that the store does not
    /// have read as zeros.
    pub(crate) fn read(&self, off: u64, len: u64) -> Result<Bytes, Errno> {
        let from_base = len.min(self.base_limit.saturating_sub(off));
        let base = match &self.base {
            Some(_)
                if len >= known_crc::SHARED_BYTES_MIN as u64 && self.data.is_empty() && from_base == len =>
            {
                return self.read_behind(&[], &[(off, len)]);
            }
            Some(oid) if from_base > 0 => {
                self.store.read(self.coll, oid, off, from_base).map_err(|e| self.fail(&e))?
            }
            _ => Bytes::new(),
        };
        let touches = |p: &Patch| match p {
            Patch::Data { off: o, data } => *o < off + len && o + data.len() as u64 > off,
            Patch::Zero { off: o, len: l } => *o < off + len && o.saturating_add(*l) > off,
        };
        if base.len() as u64 == len && !self.data.iter().any(touches) {
            return Ok(base);
        }
        let mut out = BytesMut::zeroed(len as usize);
        out[..base.len()].copy_from_slice(&base);
        for p in self.data.iter().filter(|p| touches(p)) {
            match p {
                Patch::Data { off: o, data } => {
                    let (s, e) = ((*o).max(off), (o + data.len() as u64).min(off + len));
                    out[(s - off) as usize..(e - off) as usize]
                        .copy_from_slice(&data[(s - o) as usize..(e - o) as usize]);
                }
                Patch::Zero { off: o, len: l } => {
                    let (s, e) = ((*o).max(off), o.saturating_add(*l).min(off + len));
                    out[(s - off) as usize..(e - off) as usize].fill(0);
                }
            }
        }
        Ok(out.freeze())
    }

    /// The same, appended to `out`; answers the CRC-32C of it when it came with the bytes.
    fn append(&self, off: u64, len: u64, out: &mut Vec<u8>) -> Result<Option<u32>, Errno> {
        match &self.base {
            Some(oid) if self.data.is_empty() && off.saturating_add(len) <= self.base_limit => {
                let end = out.len() + len as usize;
                let crc = self.store.read_into(self.coll, oid, off, len, out).map_err(|e| self.fail(&e))?;
                let whole = out.len() == end;
                out.resize(end, 0);
                Ok(crc.filter(|_| whole))
            }
            _ => {
                out.extend_from_slice(&self.read(off, len)?);
                Ok(None)
            }
        }
    }
    /// Reads ranges back to back behind `head`, into one buffer that is sent as it is: long ones are the bulk of all traffic.
    pub(crate) fn read_behind(&self, head: &[u8], ranges: &[(u64, u64)]) -> Result<Bytes, Errno> {
        let total: u64 = ranges.iter().map(|r| r.1).sum();
        let mut out = Vec::with_capacity(head.len() + total as usize + UNIT_SLACK);
        out.extend_from_slice(head);
        let mut sum = Some(crc32c::crc32c(head));
        for (off, len) in ranges {
            let crc = self.append(*off, *len, &mut out)?;
            sum = sum.zip(crc).map(|(sum, crc)| crc32c::crc32c_combine(sum, crc, *len as usize));
        }
        let out = Bytes::from(out);
        if let Some(sum) = sum.filter(|_| total > 0) {
            known_crc::remember(&out, !sum);
        }
        Ok(out)
    }

    /// Allocated ranges inside `off..off+len`.
    pub(crate) fn extents(&self, off: u64, len: u64) -> Result<IntervalSet, Errno> {
        let mut set = IntervalSet::new();
        let from_base = len.min(self.base_limit.saturating_sub(off));
        if let Some(oid) = &self.base
            && from_base > 0
        {
            for (o, l) in self.store.extents(self.coll, oid, off, from_base).map_err(|e| self.fail(&e))? {
                set.insert(o, l);
            }
        }
        for p in &self.data {
            match p {
                Patch::Data { off, data } => set.insert(*off, data.len() as u64),
                Patch::Zero { off, len } => set.erase(*off, *len),
            }
        }
        Ok(set.intersection(&IntervalSet::of(off, len)))
    }

    /// One xattr by its stored name.
    pub(crate) fn getattr(&self, name: &[u8]) -> Result<Option<Bytes>, Errno> {
        if let Some(v) = self.attrs.get(name) {
            return Ok(v.clone());
        }
        match &self.base {
            Some(oid) => self.store.getattr(self.coll, oid, name).map_err(|e| self.fail(&e)),
            None => Ok(None),
        }
    }

    /// All user xattrs, without their stored prefix.
    pub(crate) fn user_attrs(&self) -> Result<BTreeMap<Bytes, Bytes>, Errno> {
        let mut all: BTreeMap<Bytes, Bytes> = match &self.base {
            Some(oid) => {
                self.store.getattrs(self.coll, oid).map_err(|e| self.fail(&e))?.into_iter().collect()
            }
            None => BTreeMap::new(),
        };
        for (k, v) in &self.attrs {
            match v {
                Some(v) => all.insert(k.clone(), v.clone()),
                None => all.remove(k),
            };
        }
        Ok(all
            .into_iter()
            .filter(|(k, _)| k.len() > 1 && k[0] == b'_')
            .map(|(k, v)| (k.slice(1..), v))
            .collect())
    }

    pub(crate) fn omap_header(&self) -> Result<Bytes, Errno> {
        if let Some(p) = &self.omap {
            if let Some(h) = &p.header {
                return Ok(h.clone());
            }
            if p.cleared {
                return Ok(Bytes::new());
            }
        }
        match &self.base {
            Some(oid) => self.store.omap_header(self.coll, oid).map_err(|e| self.fail(&e)),
            None => Ok(Bytes::new()),
        }
    }

    fn base_key_gone(&self, key: &[u8]) -> bool {
        self.omap
            .as_ref()
            .is_some_and(|p| p.cleared || p.ranges.iter().any(|(a, b)| &a[..] <= key && key < &b[..]))
    }

    pub(crate) fn omap_get(&self, key: &[u8]) -> Result<Option<Bytes>, Errno> {
        if let Some(v) = self.omap.as_ref().and_then(|p| p.keys.get(key)) {
            return Ok(v.clone());
        }
        match &self.base {
            Some(oid) if !self.base_key_gone(key) => {
                self.store.omap_get(self.coll, oid, key).map_err(|e| self.fail(&e))
            }
            _ => Ok(None),
        }
    }

    /// Pairs from `from` on that begin with `prefix`, at most `max` and (but for the last) `max_bytes`; and whether a
    /// further one is there.
    pub(crate) fn omap_scan(
        &self,
        from: ScanFrom<'_>,
        prefix: &[u8],
        max: u64,
        max_bytes: u64,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), Errno> {
        let mut out = Vec::new();
        let mut bytes = 0u64;
        let mut scan = OmapIter::new(self, from, max)?;
        while let Some((k, v)) = scan.next()? {
            if !k.starts_with(prefix) {
                break;
            }
            if out.len() as u64 >= max || bytes >= max_bytes {
                return Ok((out, true));
            }
            bytes += (k.len() + v.len() + 8) as u64;
            out.push((k, v));
        }
        Ok((out, false))
    }

    // Writes. Each adds to `txn` and, when later reads may come, to the patches.

    fn head(&self) -> (CollId, HObject) {
        (self.coll, self.oid.clone())
    }
    pub(crate) fn touch(&mut self) {
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::Touch { coll, oid });
    }
    pub(crate) fn write(&mut self, off: u64, data: Bytes) {
        if self.track {
            self.data.push(Patch::Data { off, data: data.clone() });
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::Write { coll, oid, off, data });
    }
    pub(crate) fn zero(&mut self, off: u64, len: u64) {
        if self.track {
            self.data.push(Patch::Zero { off, len });
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::Zero { coll, oid, off, len });
    }
    pub(crate) fn truncate(&mut self, size: u64) {
        self.base_limit = self.base_limit.min(size);
        if self.track {
            self.data.push(Patch::Zero { off: size, len: u64::MAX - size });
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::Truncate { coll, oid, size });
    }
    /// Removes the object with all that is on it.
    pub(crate) fn remove(&mut self) {
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::Remove { coll, oid });
        self.forget(None);
    }
    /// Makes the object a copy of a clone.
    pub(crate) fn become_clone_of(&mut self, src: HObject) {
        let (coll, dst) = self.head();
        self.txn.push(TxnOp::Clone { coll, src: src.clone(), dst });
        self.forget(Some(src));
    }
    fn forget(&mut self, base: Option<HObject>) {
        self.base = base;
        self.base_limit = u64::MAX;
        self.data.clear();
        self.attrs.clear();
        self.omap = None;
    }
    pub(crate) fn setattr(&mut self, name: Bytes, value: Bytes) {
        if self.track {
            self.attrs.insert(name.clone(), Some(value.clone()));
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::SetAttr { coll, oid, name, value });
    }
    pub(crate) fn rmattr(&mut self, name: Bytes) {
        if self.track {
            self.attrs.insert(name.clone(), None);
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::RmAttr { coll, oid, name });
    }
    fn omap_patch(&mut self) -> &mut OmapPatch {
        self.omap.get_or_insert_default()
    }
    pub(crate) fn omap_set(&mut self, pairs: Vec<(Bytes, Bytes)>) {
        if self.track {
            let p = self.omap_patch();
            p.keys.extend(pairs.iter().map(|(k, v)| (k.clone(), Some(v.clone()))));
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::OmapSet { coll, oid, pairs });
    }
    pub(crate) fn omap_rm(&mut self, keys: Vec<Bytes>) {
        if self.track {
            self.omap_patch().keys.extend(keys.iter().map(|k| (k.clone(), None)));
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::OmapRm { coll, oid, keys });
    }
    pub(crate) fn omap_rm_range(&mut self, first: Bytes, last: Bytes) {
        if self.track {
            let p = self.omap_patch();
            p.keys.retain(|k, _| *k < first || *k >= last);
            p.ranges.push((first.clone(), last.clone()));
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::OmapRmRange { coll, oid, first, last });
    }
    pub(crate) fn omap_clear(&mut self) {
        if self.track {
            self.omap = Some(Box::new(OmapPatch { cleared: true, ..OmapPatch::default() }));
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::OmapClear { coll, oid });
    }
    pub(crate) fn omap_set_header(&mut self, header: Bytes) {
        if self.track {
            self.omap_patch().header = Some(header.clone());
        }
        let (coll, oid) = self.head();
        self.txn.push(TxnOp::OmapSetHeader { coll, oid, header });
    }
}

/// Merges the store's pairs with the patch, ascending.
struct OmapIter<'w, 'a> {
    w: &'w Work<'a>,
    /// Base pairs that were fetched and not yet passed, reversed.
    buf: Vec<(Bytes, Bytes)>,
    /// Where the next fetch goes on; `None`: the base is exhausted.
    after: Option<Bytes>,
    batch: usize,
    /// Patch keys from here on.
    patch_from: Bound<Bytes>,
}
impl<'w, 'a> OmapIter<'w, 'a> {
    fn new(w: &'w Work<'a>, from: ScanFrom<'_>, max: u64) -> Result<Self, Errno> {
        let batch = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, 1024) + 1;
        let mut it = OmapIter { w, buf: Vec::new(), after: None, batch, patch_from: Bound::Unbounded };
        let base_on = w.base.is_some() && !w.omap.as_ref().is_some_and(|p| p.cleared);
        match from {
            ScanFrom::After(k) => {
                it.patch_from = Bound::Excluded(Bytes::copy_from_slice(k));
                if base_on {
                    it.after = Some(Bytes::copy_from_slice(k));
                }
            }
            ScanFrom::At(k) => {
                let key = Bytes::copy_from_slice(k);
                it.patch_from = Bound::Included(key.clone());
                if base_on {
                    if let Some(oid) = &w.base
                        && !w.base_key_gone(&key)
                        && let Some(v) = w.store.omap_get(w.coll, oid, k).map_err(|e| w.fail(&e))?
                    {
                        it.buf.push((key.clone(), v));
                    }
                    it.after = Some(key);
                }
            }
        }
        if let ScanFrom::After(b"") = from {
            it.patch_from = Bound::Unbounded;
        }
        Ok(it)
    }

    fn fill(&mut self) -> Result<(), Errno> {
        while self.buf.is_empty() {
            let (Some(after), Some(oid)) = (&self.after, &self.w.base) else { return Ok(()) };
            // An empty start is before every key, the empty key included.
            let from = if after.is_empty() { None } else { Some(&after[..]) };
            let got =
                self.w.store.omap_list(self.w.coll, oid, from, self.batch).map_err(|e| self.w.fail(&e))?;
            self.after = if got.len() < self.batch { None } else { got.last().map(|(k, _)| k.clone()) };
            self.buf = got;
            self.buf.retain(|(k, _)| !self.w.base_key_gone(k));
            self.buf.reverse();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Errno> {
        loop {
            self.fill()?;
            let base_key = self.buf.last().map(|(k, _)| k);
            let patch = self
                .w
                .omap
                .as_ref()
                .and_then(|p| p.keys.range((self.patch_from.clone(), Bound::Unbounded)).next());
            match (base_key, patch) {
                (None, None) => return Ok(None),
                (Some(b), Some((p, v))) if b >= p => {
                    if b == p {
                        self.buf.pop();
                    }
                    self.patch_from = Bound::Excluded(p.clone());
                    if let Some(v) = v {
                        return Ok(Some((p.clone(), v.clone())));
                    }
                }
                (Some(_), _) => return Ok(self.buf.pop()),
                (None, Some((p, v))) => {
                    self.patch_from = Bound::Excluded(p.clone());
                    if let Some(v) = v {
                        return Ok(Some((p.clone(), v.clone())));
                    }
                }
            }
        }
    }
}
