//! An object in memory for object classes to run on: what [`cls::ClsContext`] promises, nothing durable.

use bytes::Bytes;
use cls::{ClsContext, OmapPage};
use std::collections::BTreeMap;
use types::{EntityAddr, EntityName, EntityType, Errno, ReqId, SnapContext, SnapId, Utime};

/// The object.
#[derive(Debug, Default)]
pub struct MemoryObject {
    exists: bool,
    data: Vec<u8>,
    xattrs: BTreeMap<Bytes, Bytes>,
    omap: BTreeMap<Bytes, Bytes>,
    header: Bytes,
    dice: u8,
}

/// Bytes of data that an object may have here; a write behind that is `EFBIG`, as `osd_max_object_size` makes it.
const SIZE_MAX: u64 = 1 << 20;

impl MemoryObject {
    fn there(&self) -> Result<(), Errno> {
        if self.exists { Ok(()) } else { Err(Errno::ENOENT) }
    }
    fn page<'a>(all: impl Iterator<Item = (&'a Bytes, &'a Bytes)>, max: u64) -> OmapPage {
        let mut out = Vec::new();
        for (k, v) in all {
            if out.len() as u64 >= max {
                return (out, true);
            }
            out.push((k.clone(), v.clone()));
        }
        (out, false)
    }
}

impl ClsContext for MemoryObject {
    fn stat(&mut self) -> Result<(u64, Utime), Errno> {
        self.there()?;
        Ok((self.data.len() as u64, Utime::from_secs(1)))
    }
    fn read(&mut self, off: u64, len: u64) -> Result<Bytes, Errno> {
        let size = self.data.len() as u64;
        let end = if len == 0 { size } else { off.saturating_add(len).min(size) };
        Ok(Bytes::copy_from_slice(&self.data[off.min(end) as usize..end as usize]))
    }
    fn extents(&mut self, off: u64, len: u64) -> Result<Vec<(u64, u64)>, Errno> {
        self.there()?;
        let end = off.saturating_add(len).min(self.data.len() as u64);
        Ok(if off < end { vec![(off, end - off)] } else { Vec::new() })
    }
    fn create(&mut self, exclusive: bool) -> Result<(), Errno> {
        if exclusive && self.exists {
            return Err(Errno::EEXIST);
        }
        self.exists = true;
        Ok(())
    }
    fn write(&mut self, off: u64, data: Bytes) -> Result<(), Errno> {
        let end = off.saturating_add(data.len() as u64);
        if end > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.exists = true;
        if self.data.len() < end as usize {
            self.data.resize(end as usize, 0);
        }
        self.data[off as usize..end as usize].copy_from_slice(&data);
        Ok(())
    }
    fn write_full(&mut self, data: Bytes) -> Result<(), Errno> {
        self.data.clear();
        self.write(0, data)
    }
    fn truncate(&mut self, size: u64) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.exists = true;
        self.data.resize(size as usize, 0);
        Ok(())
    }
    fn zero(&mut self, off: u64, len: u64) -> Result<(), Errno> {
        let size = self.data.len() as u64;
        let end = off.saturating_add(len).min(size);
        self.data[off.min(end) as usize..end as usize].fill(0);
        Ok(())
    }
    fn remove(&mut self) -> Result<(), Errno> {
        self.there()?;
        *self = MemoryObject::default();
        Ok(())
    }
    fn getxattr(&mut self, name: &str) -> Result<Bytes, Errno> {
        self.there()?;
        self.xattrs.get(name.as_bytes()).cloned().ok_or(Errno::ENODATA)
    }
    fn getxattrs(&mut self) -> Result<BTreeMap<Bytes, Bytes>, Errno> {
        self.there()?;
        Ok(self.xattrs.clone())
    }
    fn setxattr(&mut self, name: &str, value: Bytes) -> Result<(), Errno> {
        self.exists = true;
        self.xattrs.insert(Bytes::copy_from_slice(name.as_bytes()), value);
        Ok(())
    }
    fn rmxattr(&mut self, name: &str) -> Result<(), Errno> {
        self.there()?;
        self.xattrs.remove(name.as_bytes());
        Ok(())
    }
    fn omap_get_header(&mut self) -> Result<Bytes, Errno> {
        Ok(self.header.clone())
    }
    fn omap_set_header(&mut self, header: Bytes) -> Result<(), Errno> {
        self.exists = true;
        self.header = header;
        Ok(())
    }
    fn omap_get_val(&mut self, key: &[u8]) -> Result<Bytes, Errno> {
        self.omap.get(key).cloned().ok_or(Errno::ENOENT)
    }
    fn omap_get_vals(&mut self, start_after: &[u8], prefix: &[u8], max: u64) -> Result<OmapPage, Errno> {
        let after = |k: &[u8]| start_after.is_empty() || k > start_after;
        Ok(Self::page(self.omap.iter().filter(|(k, _)| after(k) && k.starts_with(prefix)), max))
    }
    fn omap_get_keys(&mut self, start_after: &[u8], max: u64) -> Result<(Vec<Bytes>, bool), Errno> {
        let (pairs, more) = self.omap_get_vals(start_after, b"", max)?;
        Ok((pairs.into_iter().map(|(k, _)| k).collect(), more))
    }
    fn omap_get_vals_by_keys(&mut self, keys: &[Bytes]) -> Result<Vec<(Bytes, Bytes)>, Errno> {
        Ok(keys.iter().filter_map(|k| Some((k.clone(), self.omap.get(k)?.clone()))).collect())
    }
    fn omap_set(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Errno> {
        self.exists = true;
        self.omap.extend(pairs);
        Ok(())
    }
    fn omap_rm_keys(&mut self, keys: Vec<Bytes>) -> Result<(), Errno> {
        self.there()?;
        for k in keys {
            self.omap.remove(&k);
        }
        Ok(())
    }
    fn omap_rm_range(&mut self, first: Bytes, last: Bytes) -> Result<(), Errno> {
        self.there()?;
        self.omap.retain(|k, _| *k < first || *k >= last);
        Ok(())
    }
    fn omap_clear(&mut self) -> Result<(), Errno> {
        self.omap.clear();
        self.header = Bytes::new();
        Ok(())
    }
    fn now(&self) -> Utime {
        Utime::from_secs(1_000_000)
    }
    fn origin(&self) -> (EntityName, EntityAddr) {
        (EntityName::new(EntityType::CLIENT, 4100), EntityAddr::default())
    }
    fn reqid(&self) -> ReqId {
        ReqId::default()
    }
    fn object_version(&self) -> u64 {
        3
    }
    fn object_name(&self) -> Bytes {
        Bytes::from_static(b"rbd_header.1234")
    }
    fn snap_context(&self) -> SnapContext {
        SnapContext { seq: SnapId(3), snaps: vec![SnapId(3), SnapId(1)] }
    }
    fn snapset_seq(&mut self) -> Result<u64, Errno> {
        Ok(3)
    }
    fn clone_ids(&mut self) -> Result<Vec<SnapId>, Errno> {
        Ok(vec![SnapId(1), SnapId(3)])
    }
    fn client_features(&self) -> u64 {
        u64::MAX
    }
    fn min_compat_client(&self) -> u8 {
        0
    }
    fn require_osd_release(&self) -> u8 {
        16
    }
    fn random_bytes(&mut self, buf: &mut [u8]) {
        self.dice = self.dice.wrapping_add(1);
        buf.fill(self.dice);
    }
}
