//! [`MemObject`]: one object in memory behind the [`ClsContext`] seam, for tests and fuzzing of classes.
//!
//! It keeps the trait's rules about absent objects. It is not a store: it has no snapshots of its own and no history.

use crate::{Class, ClsContext, ClsError, OmapPage, class};
use bytes::Bytes;
use std::collections::BTreeMap;
use types::{EntityAddr, EntityName, Errno, ReqId, SnapContext, SnapId, Utime};

/// Largest size that an object takes here; beyond it writes answer `EFBIG`.
pub const SIZE_MAX: u64 = 256 << 20;

/// What the object holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Data.
    pub data: Vec<u8>,
    /// Xattrs.
    pub xattrs: BTreeMap<Bytes, Bytes>,
    /// Omap.
    pub omap: BTreeMap<Bytes, Bytes>,
    /// Omap header.
    pub header: Bytes,
}

/// See the module's head.
#[derive(Debug, Clone)]
pub struct MemObject {
    /// `None` for an absent object.
    pub content: Option<Content>,
    /// The clock.
    pub now: Utime,
    /// The caller.
    pub origin: (EntityName, EntityAddr),
    /// Who watches the object.
    pub watchers: Vec<(EntityName, EntityAddr)>,
    /// `seq` of the snap set.
    pub snapset_seq: u64,
    /// `require_osd_release`.
    pub require_osd_release: u8,
}

impl Default for MemObject {
    fn default() -> Self {
        MemObject {
            content: None,
            now: Utime::from_secs(1_000_000),
            origin: (EntityName::client(4100), EntityAddr::default()),
            watchers: Vec::new(),
            snapset_seq: 0,
            require_osd_release: 16,
        }
    }
}

impl MemObject {
    /// Runs a method as an OSD does: a reading one finds no absent object, a failed one changes nothing.
    pub fn run(&mut self, class_name: &str, method: &str, input: &Bytes) -> Result<Bytes, ClsError> {
        let found = class(class_name).and_then(|c: &Class| c.method(method));
        let Some(m) = found else { return Err(Errno::EOPNOTSUPP.into()) };
        if !m.writes && self.content.is_none() {
            return Err(Errno::ENOENT.into());
        }
        let before = self.content.clone();
        let result = (m.func)(self, input);
        if result.is_err() || !m.writes {
            assert!(
                m.writes || self.content == before,
                "{class_name}.{method} writes but is not declared so"
            );
            self.content = before;
        }
        result
    }
    fn there(&self) -> Result<&Content, Errno> {
        self.content.as_ref().ok_or(Errno::ENOENT)
    }
    fn there_mut(&mut self) -> Result<&mut Content, Errno> {
        self.content.as_mut().ok_or(Errno::ENOENT)
    }
    fn made(&mut self) -> &mut Content {
        self.content.get_or_insert_default()
    }
    fn pairs_after<'a>(&'a self, after: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> + 'a {
        let omap = self.content.iter().flat_map(|c| &c.omap);
        omap.filter(move |(k, _)| after.is_empty() || &k[..] > after)
    }
}

impl ClsContext for MemObject {
    fn stat(&mut self) -> Result<(u64, Utime), Errno> {
        Ok((self.there()?.data.len() as u64, self.now))
    }
    fn read(&mut self, off: u64, len: u64) -> Result<Bytes, Errno> {
        let Some(c) = &self.content else { return Ok(Bytes::new()) };
        let size = c.data.len() as u64;
        let end = if len == 0 { size } else { off.saturating_add(len).min(size) };
        Ok(Bytes::copy_from_slice(&c.data[off.min(end) as usize..end as usize]))
    }
    fn extents(&mut self, off: u64, len: u64) -> Result<Vec<(u64, u64)>, Errno> {
        let size = self.there()?.data.len() as u64;
        let end = off.saturating_add(len).min(size);
        Ok(if off < end { vec![(off, end - off)] } else { Vec::new() })
    }
    fn create(&mut self, exclusive: bool) -> Result<(), Errno> {
        if exclusive && self.content.is_some() {
            return Err(Errno::EEXIST);
        }
        self.made();
        Ok(())
    }
    fn write(&mut self, off: u64, data: Bytes) -> Result<(), Errno> {
        let end = off.checked_add(data.len() as u64).filter(|e| *e <= SIZE_MAX).ok_or(Errno::EFBIG)? as usize;
        let c = self.made();
        if c.data.len() < end {
            c.data.resize(end, 0);
        }
        c.data[off as usize..end].copy_from_slice(&data);
        Ok(())
    }
    fn write_full(&mut self, data: Bytes) -> Result<(), Errno> {
        self.made().data = data.to_vec();
        Ok(())
    }
    fn truncate(&mut self, size: u64) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.made().data.resize(size as usize, 0);
        Ok(())
    }
    fn zero(&mut self, off: u64, len: u64) -> Result<(), Errno> {
        let c = self.there_mut()?;
        let end = off.saturating_add(len).min(c.data.len() as u64);
        c.data[off.min(end) as usize..end as usize].fill(0);
        Ok(())
    }
    fn remove(&mut self) -> Result<(), Errno> {
        self.there()?;
        self.content = None;
        Ok(())
    }
    fn getxattr(&mut self, name: &str) -> Result<Bytes, Errno> {
        self.there()?.xattrs.get(name.as_bytes()).cloned().ok_or(Errno::ENODATA)
    }
    fn getxattrs(&mut self) -> Result<BTreeMap<Bytes, Bytes>, Errno> {
        Ok(self.there()?.xattrs.clone())
    }
    fn setxattr(&mut self, name: &str, value: Bytes) -> Result<(), Errno> {
        self.made().xattrs.insert(Bytes::copy_from_slice(name.as_bytes()), value);
        Ok(())
    }
    fn rmxattr(&mut self, name: &str) -> Result<(), Errno> {
        self.there_mut()?.xattrs.remove(name.as_bytes());
        Ok(())
    }
    fn omap_get_header(&mut self) -> Result<Bytes, Errno> {
        Ok(self.content.as_ref().map(|c| c.header.clone()).unwrap_or_default())
    }
    fn omap_set_header(&mut self, header: Bytes) -> Result<(), Errno> {
        self.made().header = header;
        Ok(())
    }
    fn omap_get_val(&mut self, key: &[u8]) -> Result<Bytes, Errno> {
        self.there()?.omap.get(key).cloned().ok_or(Errno::ENOENT)
    }
    fn omap_get_vals(&mut self, start_after: &[u8], prefix: &[u8], max: u64) -> Result<OmapPage, Errno> {
        let mut all = self.pairs_after(start_after).filter(|(k, _)| k.starts_with(prefix));
        let page: Vec<_> = all.by_ref().take(max as usize).map(|(k, v)| (k.clone(), v.clone())).collect();
        let more = all.next().is_some();
        Ok((page, more))
    }
    fn omap_get_keys(&mut self, start_after: &[u8], max: u64) -> Result<(Vec<Bytes>, bool), Errno> {
        let (page, more) = self.omap_get_vals(start_after, b"", max)?;
        Ok((page.into_iter().map(|(k, _)| k).collect(), more))
    }
    fn omap_get_vals_by_keys(&mut self, keys: &[Bytes]) -> Result<Vec<(Bytes, Bytes)>, Errno> {
        let Some(c) = &self.content else { return Ok(Vec::new()) };
        Ok(keys.iter().filter_map(|k| c.omap.get(k).map(|v| (k.clone(), v.clone()))).collect())
    }
    fn omap_set(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Errno> {
        self.made().omap.extend(pairs);
        Ok(())
    }
    fn omap_rm_keys(&mut self, keys: Vec<Bytes>) -> Result<(), Errno> {
        let c = self.there_mut()?;
        keys.iter().for_each(|k| {
            c.omap.remove(k);
        });
        Ok(())
    }
    fn omap_rm_range(&mut self, first: Bytes, last: Bytes) -> Result<(), Errno> {
        self.there_mut()?.omap.retain(|k, _| *k < first || *k >= last);
        Ok(())
    }
    fn omap_clear(&mut self) -> Result<(), Errno> {
        let c = self.there_mut()?;
        c.omap.clear();
        c.header = Bytes::new();
        Ok(())
    }
    fn now(&self) -> Utime {
        self.now
    }
    fn origin(&self) -> (EntityName, EntityAddr) {
        self.origin
    }
    fn reqid(&self) -> ReqId {
        ReqId { name: self.origin.0, tid: 1, inc: 0 }
    }
    fn object_version(&self) -> u64 {
        1
    }
    fn object_name(&self) -> Bytes {
        Bytes::from_static(b"object")
    }
    fn snap_context(&self) -> SnapContext {
        SnapContext::default()
    }
    fn snapset_seq(&mut self) -> Result<u64, Errno> {
        Ok(self.snapset_seq)
    }
    fn clone_ids(&mut self) -> Result<Vec<SnapId>, Errno> {
        Ok(Vec::new())
    }
    fn watchers(&mut self) -> Result<Vec<(EntityName, EntityAddr)>, Errno> {
        Ok(self.watchers.clone())
    }
    fn client_features(&self) -> u64 {
        types::features::SUPPORTED
    }
    fn min_compat_client(&self) -> u8 {
        12
    }
    fn require_osd_release(&self) -> u8 {
        self.require_osd_release
    }
    fn random_bytes(&mut self, buf: &mut [u8]) {
        buf.fill(7);
    }
}
