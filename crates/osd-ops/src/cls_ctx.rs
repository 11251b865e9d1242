//! The bridge from class methods to the running vector: [`ClsExec`] implements [`cls::ClsContext`].

use crate::exec::Exec;
use crate::work::ScanFrom;
use bytes::Bytes;
use cls::{ClsContext, OmapPage};
use messages::Extent;
use std::collections::BTreeMap;
use types::{EntityAddr, EntityName, Errno, ReqId, SnapContext, SnapId, Utime};

/// A method's view. A method that writes without being declared as writing gets `EIO`, as in stock.
pub(crate) struct ClsExec<'x, 'e, 'a> {
    pub(crate) x: &'x mut Exec<'e, 'a>,
    pub(crate) method: &'static cls::Method,
}

impl<'e, 'a> ClsExec<'_, 'e, 'a> {
    fn r(&mut self) -> Result<&mut Exec<'e, 'a>, Errno> {
        if self.method.reads { Ok(self.x) } else { Err(Errno::EIO) }
    }
    fn w(&mut self) -> Result<&mut Exec<'e, 'a>, Errno> {
        if self.method.writes { Ok(self.x) } else { Err(Errno::EIO) }
    }
}

impl ClsContext for ClsExec<'_, '_, '_> {
    fn stat(&mut self) -> Result<(u64, Utime), Errno> {
        self.r()?.stat()
    }
    fn read(&mut self, off: u64, len: u64) -> Result<Bytes, Errno> {
        self.r()?.read(&Extent { offset: off, length: len, ..Extent::default() })
    }
    fn extents(&mut self, off: u64, len: u64) -> Result<Vec<(u64, u64)>, Errno> {
        Ok(self.r()?.extents(off, len)?.iter().collect())
    }
    fn create(&mut self, exclusive: bool) -> Result<(), Errno> {
        self.w()?.create(exclusive)
    }
    fn write(&mut self, off: u64, data: Bytes) -> Result<(), Errno> {
        let x = Extent { offset: off, length: data.len() as u64, ..Extent::default() };
        self.w()?.write(&x, &data)
    }
    fn write_full(&mut self, data: Bytes) -> Result<(), Errno> {
        self.w()?.write_full(data)
    }
    fn truncate(&mut self, size: u64) -> Result<(), Errno> {
        self.w()?.truncate(&Extent { offset: size, ..Extent::default() })
    }
    fn zero(&mut self, off: u64, len: u64) -> Result<(), Errno> {
        self.w()?.zero(off, len)
    }
    fn remove(&mut self) -> Result<(), Errno> {
        self.w()?.delete()
    }
    fn getxattr(&mut self, name: &str) -> Result<Bytes, Errno> {
        self.r()?.getxattr(name.as_bytes())
    }
    fn getxattrs(&mut self) -> Result<BTreeMap<Bytes, Bytes>, Errno> {
        self.r()?.getxattrs()
    }
    fn setxattr(&mut self, name: &str, value: Bytes) -> Result<(), Errno> {
        self.w()?.setxattr(name.as_bytes(), value)
    }
    fn rmxattr(&mut self, name: &str) -> Result<(), Errno> {
        self.w()?.rmxattr(name.as_bytes())
    }
    fn omap_get_header(&mut self) -> Result<Bytes, Errno> {
        self.r()?.omap_header()
    }
    fn omap_set_header(&mut self, header: Bytes) -> Result<(), Errno> {
        self.w()?.omap_set_header(header)
    }
    fn omap_get_val(&mut self, key: &[u8]) -> Result<Bytes, Errno> {
        self.r()?.omap_get(key)?.ok_or(Errno::ENOENT)
    }
    fn omap_get_vals(&mut self, start_after: &[u8], prefix: &[u8], max: u64) -> Result<OmapPage, Errno> {
        self.r()?.omap_vals(start_after, prefix, max)
    }
    fn omap_get_keys(&mut self, start_after: &[u8], max: u64) -> Result<(Vec<Bytes>, bool), Errno> {
        let (pairs, more) = self.r()?.omap_scan(ScanFrom::After(start_after), b"", max)?;
        Ok((pairs.into_iter().map(|(k, _)| k).collect(), more))
    }
    fn omap_get_vals_by_keys(&mut self, keys: &[Bytes]) -> Result<Vec<(Bytes, Bytes)>, Errno> {
        let x = self.r()?;
        let mut out = Vec::new();
        for k in keys {
            if let Some(v) = x.omap_get(k)? {
                out.push((k.clone(), v));
            }
        }
        Ok(out)
    }
    fn omap_set(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Errno> {
        self.w()?.omap_set(pairs)
    }
    fn omap_rm_keys(&mut self, keys: Vec<Bytes>) -> Result<(), Errno> {
        self.w()?.omap_rm(keys)
    }
    fn omap_rm_range(&mut self, first: Bytes, last: Bytes) -> Result<(), Errno> {
        self.w()?.omap_rm_range(first, last)
    }
    fn omap_clear(&mut self) -> Result<(), Errno> {
        self.w()?.omap_clear()
    }
    fn now(&self) -> Utime {
        self.x.env.now
    }
    fn origin(&self) -> (EntityName, EntityAddr) {
        (self.x.env.reqid.name, self.x.env.addr)
    }
    fn reqid(&self) -> ReqId {
        self.x.env.reqid
    }
    fn object_version(&self) -> u64 {
        self.x.info.user_version
    }
    fn object_name(&self) -> Bytes {
        self.x.old.oid.name.clone()
    }
    fn snap_context(&self) -> SnapContext {
        self.x.env.snapc.clone()
    }
    fn snapset_seq(&mut self) -> Result<u64, Errno> {
        Ok(self.x.snapset.seq.0)
    }
    fn clone_ids(&mut self) -> Result<Vec<SnapId>, Errno> {
        Ok(self.x.snapset.clones.clone())
    }
    fn watchers(&mut self) -> Result<Vec<(EntityName, EntityAddr)>, Errno> {
        Ok(self.r()?.info.watchers.iter().map(|((_, who), w)| (*who, w.addr)).collect())
    }
    fn client_features(&self) -> u64 {
        self.x.env.client_features
    }
    fn min_compat_client(&self) -> u8 {
        self.x.env.min_compat_client
    }
    fn require_osd_release(&self) -> u8 {
        self.x.env.require_osd_release
    }
    fn random_bytes(&mut self, buf: &mut [u8]) {
        (self.x.env.random)(buf);
    }
}
