//! A vector in the middle of its run ([`Exec`]): the object's new state, and the primitive operations that both ops and
//! class methods are made of (`PrimaryLogPG::OpContext` and the bodies of `do_osd_ops`).

use crate::api::{ObjectContext, OpEnv, StatsDelta, WatchEffect};
use crate::context::{load_object_context, resolve_snap};
use crate::info::{ObjectInfo, SnapSet, oi_flag};
use crate::interval::IntervalSet;
use crate::work::{ScanFrom, Work};
use bytes::Bytes;
use messages::Extent;
use std::borrow::Cow;
use std::collections::BTreeMap;
use types::{Errno, HObject, SnapId, Utime};

/// Kilobytes, rounded up, as the statistics count.
pub(crate) fn kib(n: u64) -> i64 {
    n.div_ceil(1024) as i64
}

/// See the module's head.
pub(crate) struct Exec<'e, 'a> {
    pub(crate) env: &'e mut OpEnv<'a>,
    /// The state before.
    pub(crate) old: &'e ObjectContext,
    pub(crate) exists: bool,
    pub(crate) info: ObjectInfo,
    /// Borrowed until something changes it: reads of objects with many clones copy nothing.
    pub(crate) snapset: Cow<'e, SnapSet>,
    pub(crate) work: Work<'a>,
    /// Bytes of the head that changed: what its newest clone no longer shares.
    pub(crate) modified: IntervalSet,
    pub(crate) stats: StatsDelta,
    pub(crate) watch: Vec<WatchEffect>,
    /// Something changed that must be logged, even without changes of content.
    pub(crate) modify: bool,
    /// Something changed that clients see: the user version moves.
    pub(crate) user_modify: bool,
    /// Set by copy-from: the user version to take over.
    pub(crate) user_version: Option<u64>,
    /// Keep the mtime that copy-from set.
    pub(crate) keep_mtime: bool,
}

impl<'e, 'a> Exec<'e, 'a> {
    pub(crate) fn new(env: &'e mut OpEnv<'a>, old: &'e ObjectContext, track: bool) -> Self {
        let work = Work::new(env.store, env.coll, old.oid.clone(), old.exists, track);
        Exec {
            work,
            env,
            old,
            exists: old.exists,
            info: old.info.clone(),
            snapset: Cow::Borrowed(&old.snapset),
            modified: IntervalSet::new(),
            stats: StatsDelta::default(),
            watch: Vec::new(),
            modify: false,
            user_modify: false,
            user_version: None,
            keep_mtime: false,
        }
    }

    /// The object as clients see it is there.
    pub(crate) fn visible(&self) -> bool {
        self.exists && !self.info.is_whiteout()
    }
    pub(crate) fn need_visible(&self) -> Result<(), Errno> {
        if self.visible() { Ok(()) } else { Err(Errno::ENOENT) }
    }
    /// `maybe_create_new_object`: any write makes the object, or brings a whiteout back.
    pub(crate) fn make_exist(&mut self) {
        if !self.exists {
            self.stats.num_objects += 1;
            self.exists = true;
            self.info.clear_data_digest();
            self.info.clear_omap_digest();
            self.work.touch();
        } else if self.info.is_whiteout() {
            self.info.set(oi_flag::WHITEOUT, false);
            self.stats.num_whiteouts -= 1;
        }
        self.modify = true;
    }
    pub(crate) fn check_range(&self, off: u64, len: u64) -> Result<(), Errno> {
        let max = self.env.limits.object_size_max;
        match off.checked_add(len) {
            Some(end) if off < max && len <= max && end <= max => Ok(()),
            _ => Err(Errno::EFBIG),
        }
    }
    fn count_read(&mut self, bytes: u64) {
        self.stats.num_rd += 1;
        self.stats.num_rd_kb += kib(bytes);
    }

    // Data.

    pub(crate) fn stat(&mut self) -> Result<(u64, Utime), Errno> {
        self.stats.num_rd += 1;
        self.need_visible()?;
        Ok((self.info.size, self.info.mtime))
    }

    /// The range that a read covers after clipping to the size and to a truncation that the object has not seen yet.
    pub(crate) fn clip_read(&self, x: &Extent) -> (u64, u64) {
        let mut size = self.info.size;
        if self.info.truncate_seq < x.truncate_seq
            && x.offset.saturating_add(x.length) > x.truncate_size
            && size > x.truncate_size
        {
            size = x.truncate_size;
        }
        let want = if x.length == 0 { size } else { x.length };
        (x.offset, want.min(size.saturating_sub(x.offset)))
    }

    pub(crate) fn read(&mut self, x: &Extent) -> Result<Bytes, Errno> {
        let (off, len) = self.clip_read(x);
        self.count_read(len);
        if len == 0 { Ok(Bytes::new()) } else { self.work.read(off, len) }
    }

    pub(crate) fn extents(&mut self, off: u64, len: u64) -> Result<IntervalSet, Errno> {
        self.need_visible()?;
        let len = len.min(self.info.size.saturating_sub(off));
        if len == 0 { Ok(IntervalSet::new()) } else { self.work.extents(off, len) }
    }

    fn set_size(&mut self, size: u64) {
        self.stats.num_bytes += size as i64 - self.info.size as i64;
        self.info.size = size;
    }

    pub(crate) fn write(&mut self, x: &Extent, data: &Bytes) -> Result<(), Errno> {
        self.user_modify = true;
        if x.length != data.len() as u64 {
            return Err(Errno::EINVAL);
        }
        let mut data = data.clone();
        let seq = self.info.truncate_seq;
        let off = x.offset;
        // What no client may do is refused before anything is done.
        self.check_range(off, x.length)?;
        if seq != 0 && seq > x.truncate_seq && off + x.length > self.info.size {
            // An old write that arrives behind the truncation: what it would grow is cut off.
            data.truncate(self.info.size.saturating_sub(off) as usize);
        }
        if x.truncate_seq > seq {
            // A write that arrives before its truncation: do that first.
            if self.visible() && x.truncate_size != self.info.size {
                self.check_range(0, x.truncate_size)?;
                if self.info.size > x.truncate_size {
                    self.modified.insert(x.truncate_size, self.info.size - x.truncate_size);
                }
                self.work.truncate(x.truncate_size);
                self.set_size(x.truncate_size);
                self.modify = true;
            }
            self.info.truncate_seq = x.truncate_seq;
            self.info.truncate_size = x.truncate_size;
        }
        self.make_exist();
        let len = data.len() as u64;
        if len == 0 {
            if off > self.info.size {
                self.work.truncate(off);
                self.set_size(off);
            }
        } else {
            self.work.write(off, data);
            self.modified.insert(off, len);
            if off + len > self.info.size {
                self.set_size(off + len);
            }
        }
        self.info.clear_data_digest();
        self.stats.num_wr += 1;
        self.stats.num_wr_kb += kib(len);
        Ok(())
    }

    pub(crate) fn write_full(&mut self, data: Bytes) -> Result<(), Errno> {
        self.user_modify = true;
        let len = data.len() as u64;
        self.check_range(0, len)?;
        self.make_exist();
        if len < self.info.size {
            self.work.truncate(len);
        }
        if len > 0 {
            self.work.write(0, data);
        }
        if self.info.size > 0 {
            self.modified.insert(0, self.info.size);
        }
        self.set_size(len);
        self.info.clear_data_digest();
        self.stats.num_wr += 1;
        self.stats.num_wr_kb += kib(len);
        Ok(())
    }

    pub(crate) fn truncate(&mut self, x: &Extent) -> Result<(), Errno> {
        if !self.visible() {
            return Ok(());
        }
        self.check_range(x.offset, x.length)?;
        if x.truncate_seq != 0 {
            if x.offset != x.truncate_size {
                return Err(Errno::EINVAL);
            }
            if x.truncate_seq <= self.info.truncate_seq {
                return Ok(());
            }
            self.info.truncate_seq = x.truncate_seq;
            self.info.truncate_size = x.truncate_size;
        }
        self.user_modify = true;
        self.make_exist();
        let size = x.offset;
        if self.info.size > size {
            self.modified.insert(size, self.info.size - size);
        }
        self.work.truncate(size);
        self.set_size(size);
        self.stats.num_wr += 1;
        self.info.clear_data_digest();
        Ok(())
    }

    pub(crate) fn zero(&mut self, off: u64, len: u64) -> Result<(), Errno> {
        self.check_range(off, len)?;
        if len == 0 || !self.visible() || off >= self.info.size {
            return Ok(());
        }
        if off + len >= self.info.size {
            // Stock makes this a truncation: the object gets shorter.
            return self.truncate(&Extent { offset: off, ..Extent::default() });
        }
        self.user_modify = true;
        self.modify = true;
        self.work.zero(off, len);
        self.modified.insert(off, len);
        self.stats.num_wr += 1;
        self.info.clear_data_digest();
        Ok(())
    }

    pub(crate) fn create(&mut self, exclusive: bool) -> Result<(), Errno> {
        if exclusive && self.visible() {
            return Err(Errno::EEXIST);
        }
        self.user_modify = true;
        self.make_exist();
        Ok(())
    }

    pub(crate) fn delete(&mut self) -> Result<(), Errno> {
        // A head with clones, or one that is about to get one, must leave something that holds the snap set.
        let whiteout = !self.snapset.clones.is_empty()
            || self.env.snapc.snaps.first().is_some_and(|s| *s > self.snapset.seq);
        if !self.exists || self.info.is_whiteout() {
            return Err(Errno::ENOENT);
        }
        self.user_modify = true;
        self.modify = true;
        self.work.remove();
        if self.info.size > 0 {
            self.modified.insert(0, self.info.size);
        }
        self.stats.num_wr += 1;
        self.set_size(0);
        self.info.clear_data_digest();
        self.info.clear_omap_digest();
        self.info.set(oi_flag::OMAP, false);
        for key in std::mem::take(&mut self.info.watchers).into_keys() {
            self.watch.push(WatchEffect::Disconnect { key, tell_client: true });
        }
        if whiteout {
            self.info.set(oi_flag::WHITEOUT, true);
            self.stats.num_whiteouts += 1;
            self.work.touch();
        } else {
            self.stats.num_objects -= 1;
            self.exists = false;
        }
        Ok(())
    }

    pub(crate) fn rollback(&mut self, snapid: SnapId) -> Result<(), Errno> {
        self.user_modify = true;
        let here = ObjectContext {
            oid: self.old.oid.clone(),
            exists: self.exists,
            info: self.info.clone(),
            snapset: self.snapset.clone().into_owned(),
        };
        let target = match resolve_snap(&here, snapid) {
            Ok(oid) if oid.is_head() => {
                if here.visible() {
                    // Not changed since the snapshot: nothing to do but keep a clone for newer ones.
                    self.modify = true;
                    return Ok(());
                }
                None
            }
            Ok(oid) => {
                let ctx = load_object_context(self.env.store, self.env.coll, &oid)?;
                if !ctx.exists {
                    return Err(Errno::EIO);
                }
                Some(ctx)
            }
            Err(Errno::ENOENT) => None,
            Err(e) => return Err(e),
        };
        let Some(clone) = target.filter(|c| !c.info.is_whiteout()) else {
            // It did not exist then: it goes.
            if !self.old.info.watchers.is_empty() {
                return Err(Errno::EBUSY);
            }
            return match self.delete() {
                Err(Errno::ENOENT) | Ok(()) => Ok(()),
                Err(e) => Err(e),
            };
        };
        let mut shared: Option<IntervalSet> = None;
        for (_, overlap) in self.snapset.clone_overlap.range(clone.oid.snap..) {
            shared = Some(match shared {
                None => overlap.clone(),
                Some(s) => s.intersection(overlap),
            });
        }
        if self.info.size > 0 {
            let mut changed = IntervalSet::of(0, self.info.size);
            // What earlier ops of this vector changed is shared no longer.
            let mut same = shared.unwrap_or_default();
            same.subtract(&self.modified);
            changed.subtract(&same);
            self.modified.union_with(&changed);
        }
        if !self.exists {
            self.stats.num_objects += 1;
            self.exists = true;
        } else if self.info.is_whiteout() {
            self.info.set(oi_flag::WHITEOUT, false);
            self.stats.num_whiteouts -= 1;
        }
        self.work.become_clone_of(clone.oid.clone());
        self.modify = true;
        self.set_size(clone.info.size);
        self.info.set(oi_flag::OMAP, clone.info.has(oi_flag::OMAP));
        self.info.clear_data_digest();
        self.info.clear_omap_digest();
        Ok(())
    }

    // Xattrs.

    pub(crate) fn getxattr(&mut self, name: &[u8]) -> Result<Bytes, Errno> {
        self.stats.num_rd += 1;
        if !self.exists {
            return Err(Errno::ENOENT);
        }
        let v = self.work.getattr(&stored_name(name))?.ok_or(Errno::ENODATA)?;
        self.stats.num_rd_kb += kib(v.len() as u64);
        Ok(v)
    }
    pub(crate) fn getxattrs(&mut self) -> Result<BTreeMap<Bytes, Bytes>, Errno> {
        if !self.exists {
            return Err(Errno::ENOENT);
        }
        let all = self.work.user_attrs()?;
        self.count_read(all.iter().map(|(k, v)| (k.len() + v.len() + 8) as u64).sum());
        Ok(all)
    }
    pub(crate) fn setxattr(&mut self, name: &[u8], value: Bytes) -> Result<(), Errno> {
        let l = self.env.limits;
        if l.attr_size_max > 0 && value.len() as u64 > l.attr_size_max {
            return Err(Errno::EFBIG);
        }
        if name.len() > l.attr_name_len_max {
            return Err(Errno::ENAMETOOLONG);
        }
        self.user_modify = true;
        self.make_exist();
        self.work.setattr(stored_name(name), value);
        self.stats.num_wr += 1;
        Ok(())
    }
    pub(crate) fn rmxattr(&mut self, name: &[u8]) -> Result<(), Errno> {
        self.need_visible()?;
        self.user_modify = true;
        self.modify = true;
        self.work.rmattr(stored_name(name));
        self.stats.num_wr += 1;
        Ok(())
    }

    // Omap.

    pub(crate) fn has_omap(&self) -> bool {
        self.exists && self.info.has(oi_flag::OMAP)
    }
    pub(crate) fn omap_scan(
        &mut self,
        from: ScanFrom<'_>,
        prefix: &[u8],
        max: u64,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), Errno> {
        let max = max.min(self.env.limits.omap_entries_per_request_max);
        let page = if self.has_omap() {
            self.work.omap_scan(from, prefix, max, self.env.limits.omap_bytes_per_request_max)?
        } else {
            (Vec::new(), false)
        };
        self.count_read(page.0.iter().map(|(k, v)| (k.len() + v.len() + 8) as u64).sum());
        Ok(page)
    }
    /// As the op and the class call both have it: a prefix that is beyond `start_after` is where the scan starts.
    pub(crate) fn omap_vals(
        &mut self,
        start_after: &[u8],
        prefix: &[u8],
        max: u64,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), Errno> {
        let from = if prefix > start_after { ScanFrom::At(prefix) } else { ScanFrom::After(start_after) };
        self.omap_scan(from, prefix, max)
    }
    pub(crate) fn omap_header(&mut self) -> Result<Bytes, Errno> {
        if !self.has_omap() {
            return Ok(Bytes::new());
        }
        let h = self.work.omap_header()?;
        self.count_read(h.len() as u64);
        Ok(h)
    }
    pub(crate) fn omap_get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Errno> {
        if self.has_omap() { self.work.omap_get(key) } else { Ok(None) }
    }
    fn omap_changed(&mut self) {
        self.user_modify = true;
        self.modify = true;
        self.info.clear_omap_digest();
        self.stats.num_wr += 1;
    }
    pub(crate) fn omap_set(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Errno> {
        self.make_exist();
        self.stats.num_wr_kb += kib(pairs.iter().map(|(k, v)| (k.len() + v.len() + 8) as u64).sum());
        self.work.omap_set(pairs);
        self.info.set(oi_flag::OMAP, true);
        self.omap_changed();
        Ok(())
    }
    pub(crate) fn omap_set_header(&mut self, header: Bytes) -> Result<(), Errno> {
        self.make_exist();
        self.work.omap_set_header(header);
        self.info.set(oi_flag::OMAP, true);
        self.omap_changed();
        Ok(())
    }
    pub(crate) fn omap_rm(&mut self, keys: Vec<Bytes>) -> Result<(), Errno> {
        self.need_visible()?;
        self.work.omap_rm(keys);
        self.omap_changed();
        Ok(())
    }
    pub(crate) fn omap_rm_range(&mut self, first: Bytes, last: Bytes) -> Result<(), Errno> {
        self.need_visible()?;
        self.work.omap_rm_range(first, last);
        self.omap_changed();
        Ok(())
    }
    pub(crate) fn omap_clear(&mut self) -> Result<(), Errno> {
        self.need_visible()?;
        if self.has_omap() {
            self.work.omap_clear();
            self.info.set(oi_flag::OMAP, false);
            self.omap_changed();
        }
        Ok(())
    }
}

/// The name an xattr of a client has in the store.
pub(crate) fn stored_name(name: &[u8]) -> Bytes {
    let mut v = Vec::with_capacity(name.len() + 1);
    v.push(b'_');
    v.extend_from_slice(name);
    v.into()
}

/// The clone that the rollbacks of a vector need in the local store, for a PG that recovers it first.
pub fn rollback_target(head: &ObjectContext, ops: &[messages::OsdOp]) -> Option<HObject> {
    ops.iter()
        .filter(|op| op.code == messages::OpCode::ROLLBACK)
        .find_map(|op| resolve_snap(head, op.snap()).ok().filter(|o| !o.is_head()))
}
