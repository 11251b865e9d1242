//! One op at a time: decodes an op's arguments, runs it on [`Exec`], encodes its output (`PrimaryLogPG::do_osd_ops`).

use crate::api::{CopyRequest, WatchEffect};
use crate::classify::method_of;
use crate::cls_ctx::ClsExec;
use crate::copy::{CopyCursor, CopyData};
use crate::exec::{Exec, kib};
use crate::info::{WatchInfo, oi_flag};
use crate::work::ScanFrom;
use bytes::{Bytes, BytesMut};
use denc::{Decoder, Encode, Encoder, Features};
use messages::{Extent, OpCode, OpFlags, OsdOp, watch_op};
use std::collections::{BTreeMap, BTreeSet};
use types::{Errno, SnapId};

/// Number above which `cmpext` puts the offset of the first difference (`MAX_ERRNO`).
const CMPEXT_BASE: u32 = 4095;
/// `CEPH_OSD_COPY_FROM_FLAG_TRUNCATE_SEQ` and all flags that stock knows.
const COPY_FROM_TRUNCATE_SEQ: u8 = 32;
const COPY_FROM_FLAGS: u8 = 63;

/// What an op answered.
pub(crate) enum OpAnswer {
    /// Return value (0, a positive count, or a class's error) and output.
    Done(i32, Bytes),
    /// The vector must run again when this content is there.
    Fetch(CopyRequest),
}
type Answer = Result<OpAnswer, Errno>;

fn done(out: Bytes) -> Answer {
    Ok(OpAnswer::Done(0, out))
}
fn empty() -> Answer {
    done(Bytes::new())
}
fn encoded(capacity: usize, f: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::with_capacity(Features::ALL, capacity);
    f(&mut e);
    e.finish()
}
fn bad<E>(_: E) -> Errno {
    Errno::EINVAL
}

/// Runs op number `index`.
pub(crate) fn run(x: &mut Exec<'_, '_>, index: usize, op: &OsdOp) -> Answer {
    match op.code {
        OpCode::READ | OpCode::SYNC_READ => done(x.read(&munged(op))?),
        OpCode::STAT => {
            let (size, mtime) = x.stat()?;
            done(encoded(16, |e| {
                e.u64(size);
                e.put(&mtime);
            }))
        }
        OpCode::WRITE => x.write(&munged(op), &op.data).and_then(|()| empty()),
        OpCode::WRITEFULL => {
            if op.extent().length != op.data.len() as u64 {
                return Err(Errno::EINVAL);
            }
            x.write_full(op.data.clone())?;
            empty()
        }
        OpCode::APPEND => {
            let at = Extent {
                offset: x.info.size,
                length: op.extent().length,
                truncate_seq: x.info.truncate_seq,
                ..Extent::default()
            };
            x.write(&at, &op.data)?;
            empty()
        }
        OpCode::ZERO => {
            let r = op.extent();
            x.zero(r.offset, r.length)?;
            empty()
        }
        OpCode::TRUNCATE => {
            x.truncate(&munged(op))?;
            empty()
        }
        OpCode::TRIMTRUNC => {
            let r = munged(op);
            x.truncate(&Extent { offset: r.truncate_size, ..r })?;
            empty()
        }
        OpCode::WRITESAME => write_same(x, op),
        OpCode::CREATE => {
            if !op.data.is_empty() {
                // A category, which no longer means anything, but must be well formed.
                Decoder::new(&op.data).blob().map_err(bad)?;
            }
            x.create(op.flags.has(OpFlags::EXCL))?;
            empty()
        }
        OpCode::DELETE => {
            x.delete()?;
            empty()
        }
        OpCode::STARTSYNC => {
            x.modify = true;
            x.user_modify = true;
            empty()
        }
        OpCode::ROLLBACK => {
            x.rollback(op.snap())?;
            empty()
        }
        OpCode::SET_ALLOC_HINT => {
            let h = op.alloc_hint();
            x.user_modify = true;
            x.make_exist();
            x.info.expected_object_size = h.object_size;
            x.info.expected_write_size = h.write_size;
            x.info.alloc_hint_flags = h.flags;
            empty()
        }
        OpCode::CALL => call(x, op),
        OpCode::SPARSE_READ => sparse_read(x, op),
        OpCode::MAPEXT => {
            let r = op.extent();
            let set = x.extents(r.offset, r.length)?;
            done(encoded(4 + 16 * set.num_intervals(), |e| set.encode(e)))
        }
        OpCode::CMPEXT => {
            let r = munged(op);
            if r.length != op.data.len() as u64 {
                return Err(Errno::EINVAL);
            }
            let have = x.read(&r)?;
            let differs = (0..op.data.len()).find(|i| have.get(*i).copied().unwrap_or(0) != op.data[*i]);
            match differs {
                None => empty(),
                Some(at) => Err(Errno::new((CMPEXT_BASE + at as u32) as i32)),
            }
        }
        OpCode::CHECKSUM => checksum(x, op),
        OpCode::ASSERT_VER => {
            let ver = op.assert_ver();
            match ver.cmp(&x.info.user_version) {
                _ if ver == 0 => Err(Errno::EINVAL),
                std::cmp::Ordering::Less => Err(Errno::ERANGE),
                std::cmp::Ordering::Greater => Err(Errno::EOVERFLOW),
                std::cmp::Ordering::Equal => empty(),
            }
        }
        OpCode::ISDIRTY => {
            let dirty = x.info.has(oi_flag::DIRTY);
            done(Bytes::copy_from_slice(&[u8::from(dirty)]))
        }
        OpCode::GETXATTR => {
            let (name, _) = xattr_name(op)?;
            done(x.getxattr(&name)?)
        }
        OpCode::GETXATTRS => {
            let all = x.getxattrs()?;
            done(encoded(64, |e| e.put(&all)))
        }
        OpCode::CMPXATTR => cmpxattr(x, op),
        OpCode::SETXATTR => {
            let (name, value) = op.xattr_parts().ok_or(Errno::EINVAL)?;
            x.setxattr(&name, value)?;
            empty()
        }
        OpCode::RMXATTR => {
            let (name, _) = xattr_name(op)?;
            x.rmxattr(&name)?;
            empty()
        }
        OpCode::OMAP_GET_KEYS => {
            let d = &mut Decoder::new(&op.data);
            let (after, max) = (d.blob().map_err(bad)?, d.u64().map_err(bad)?);
            let (pairs, more) = x.omap_scan(ScanFrom::After(&after), b"", max)?;
            done(encoded(64 + pairs.len() * 32, |e| {
                e.count(pairs.len());
                pairs.iter().for_each(|(k, _)| e.blob(k));
                e.bool(more);
            }))
        }
        OpCode::OMAP_GET_VALS => {
            let d = &mut Decoder::new(&op.data);
            let (after, max) = (d.blob().map_err(bad)?, d.u64().map_err(bad)?);
            let prefix = d.blob().map_err(bad)?;
            let (pairs, more) = x.omap_vals(&after, &prefix, max)?;
            done(encoded(64 + pairs.iter().map(|(k, v)| k.len() + v.len() + 8).sum::<usize>(), |e| {
                e.put(&pairs);
                e.bool(more);
            }))
        }
        OpCode::OMAP_GET_HEADER => done(x.omap_header()?),
        OpCode::OMAP_GET_VALS_BY_KEYS => {
            let keys: BTreeSet<Bytes> = denc::from_bytes(&op.data).map_err(bad)?;
            let mut found = Vec::new();
            for k in keys {
                if let Some(v) = x.omap_get(&k)? {
                    found.push((k, v));
                }
            }
            let out = encoded(64, |e| e.put(&found));
            x.stats.num_rd += 1;
            x.stats.num_rd_kb += kib(out.len() as u64);
            done(out)
        }
        OpCode::OMAP_CMP => omap_cmp(x, op),
        OpCode::OMAP_SET_VALS => {
            let pairs: BTreeMap<Bytes, Bytes> = denc::from_bytes(&op.data).map_err(bad)?;
            x.omap_set(pairs.into_iter().collect())?;
            empty()
        }
        OpCode::OMAP_SET_HEADER => {
            x.omap_set_header(op.data.clone())?;
            empty()
        }
        OpCode::OMAP_CLEAR => {
            x.omap_clear()?;
            empty()
        }
        OpCode::OMAP_RM_KEYS => {
            x.need_visible()?;
            let keys: BTreeSet<Bytes> = denc::from_bytes(&op.data).map_err(bad)?;
            x.omap_rm(keys.into_iter().collect())?;
            empty()
        }
        OpCode::OMAP_RM_RANGE => {
            x.need_visible()?;
            let d = &mut Decoder::new(&op.data);
            let (first, last) = (d.blob().map_err(bad)?, d.blob().map_err(bad)?);
            if first < last {
                x.omap_rm_range(first, last)?;
            } else {
                x.modify = true;
            }
            empty()
        }
        OpCode::TMAPUP => tmap_up(x, op),
        OpCode::WATCH => watch(x, op),
        OpCode::NOTIFY => notify(x, op),
        OpCode::NOTIFY_ACK => {
            notify_ack(x, op);
            empty()
        }
        OpCode::LIST_WATCHERS => {
            x.need_visible()?;
            x.stats.num_rd += 1;
            done(list_watchers(x))
        }
        OpCode::LIST_SNAPS => list_snaps(x),
        OpCode::COPY_GET => copy_get(x, op),
        OpCode::COPY_FROM | OpCode::COPY_FROM2 => copy_from(x, index, op),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// The extent, with the "truncate to -1 at seq 1" of old CephFS clients taken for none.
fn munged(op: &OsdOp) -> Extent {
    let mut x = op.extent();
    if x.truncate_seq == 1 && x.truncate_size == u64::MAX {
        x.truncate_seq = 0;
        x.truncate_size = 0;
    }
    x
}

/// Name of an xattr op, and what follows it.
fn xattr_name(op: &OsdOp) -> Result<(Bytes, Bytes), Errno> {
    let n = op.xattr().name_len as usize;
    if n > op.data.len() {
        return Err(Errno::EINVAL);
    }
    Ok((op.data.slice(..n), op.data.slice(n..)))
}

fn write_same(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    let w = op.writesame();
    if w.length == 0 {
        return empty();
    }
    let pattern = &op.data;
    if w.data_length == 0 || w.data_length != pattern.len() as u64 || !w.length.is_multiple_of(w.data_length)
    {
        return Err(Errno::EINVAL);
    }
    x.check_range(w.offset, w.length)?;
    let mut data = BytesMut::with_capacity(w.length as usize);
    while (data.len() as u64) < w.length {
        data.extend_from_slice(pattern);
    }
    let at =
        Extent { offset: w.offset, length: w.length, truncate_seq: x.info.truncate_seq, ..Extent::default() };
    x.write(&at, &data.freeze())?;
    empty()
}

fn call(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    let call = op.class_call().ok_or(Errno::EINVAL)?;
    let method = method_of(&call)?;
    match (method.func)(&mut ClsExec { x, method }, &call.input) {
        Ok(out) => done(out),
        Err(e) => Ok(OpAnswer::Done(e.errno.negated(), e.out.unwrap_or_default())),
    }
}

fn sparse_read(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    let r = op.extent();
    if r.truncate_seq != 0 {
        return Err(Errno::EINVAL);
    }
    let (off, len) = x.clip_read(&r);
    let set = if x.visible() && len > 0 { x.work.extents(off, len)? } else { Default::default() };
    let total = set.size();
    x.stats.num_rd += 1;
    x.stats.num_rd_kb += kib(total);
    let ranges: Vec<(u64, u64)> = set.iter().collect();
    let head = encoded(8 + 16 * ranges.len(), |e| {
        set.encode(e);
        e.u32(total as u32);
    });
    done(x.work.read_behind(&head, &ranges)?)
}

/// Ceph's crc32c: seeded, without the final inversion.
pub(crate) fn ceph_crc32c(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

fn checksum(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    let c = op.checksum();
    if c.kind != 2 {
        // xxhash: no client of ours asks for it.
        return Err(Errno::EOPNOTSUPP);
    }
    let chunk = u64::from(c.chunk_size);
    if chunk > 0 && (c.length == 0 || !c.length.is_multiple_of(chunk)) {
        return Err(Errno::EINVAL);
    }
    let init = Decoder::new(&op.data).u32().map_err(bad)?;
    let data = x.read(&Extent { offset: c.offset, length: c.length, ..Extent::default() })?;
    let size = if chunk == 0 { data.len().max(1) } else { c.chunk_size as usize };
    // A last piece that is not whole is left out, as in stock.
    let sums: Vec<u32> = data.chunks_exact(size).map(|p| ceph_crc32c(init, p)).collect();
    done(encoded(4 + 4 * sums.len(), |e| e.put(&sums)))
}

/// `CEPH_OSD_CMPXATTR_OP_*`: is `a op b` true?
fn compares<T: Ord>(op: u8, a: T, b: T) -> Result<bool, Errno> {
    Ok(match op {
        1 => a == b,
        2 => a != b,
        3 => a > b,
        4 => a >= b,
        5 => a < b,
        6 => a <= b,
        _ => return Err(Errno::EINVAL),
    })
}

fn cmpxattr(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    let (name, rest) = xattr_name(op)?;
    let h = op.xattr();
    let have = match x.getxattr(&name) {
        Ok(v) => v,
        Err(Errno::ENODATA) => Bytes::new(),
        Err(e) => return Err(e),
    };
    let holds = match h.cmp_mode {
        1 => {
            let n = (h.value_len as usize).min(rest.len());
            compares(h.cmp_op, &rest[..n], &have[..])?
        }
        2 => {
            let want = Decoder::new(&rest).u64().map_err(bad)?;
            compares(h.cmp_op, want, leading_number(&have)?)?
        }
        _ => return Err(Errno::EINVAL),
    };
    // 1, not 0: clients see the comparison's value.
    if holds { Ok(OpAnswer::Done(1, Bytes::new())) } else { Err(Errno::ECANCELED) }
}

/// The number that a stored text begins with; an absent value counts as 0.
fn leading_number(text: &[u8]) -> Result<u64, Errno> {
    if text.is_empty() {
        return Ok(0);
    }
    let n = text.iter().take_while(|c| c.is_ascii_digit()).count();
    std::str::from_utf8(&text[..n]).ok().and_then(|s| s.parse().ok()).ok_or(Errno::EINVAL)
}

fn omap_cmp(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    x.need_visible()?;
    x.stats.num_rd += 1;
    let wanted: BTreeMap<Bytes, (Bytes, i32)> = denc::from_bytes(&op.data).map_err(bad)?;
    for (key, (value, cmp)) in wanted {
        let have = x.omap_get(&key)?.unwrap_or_default();
        let holds = match cmp {
            1 | 3 | 5 => compares(cmp as u8, have, value)?,
            _ => return Err(Errno::EINVAL),
        };
        if !holds {
            return Err(Errno::ECANCELED);
        }
    }
    empty()
}

/// Tmaps are gone. The one caller left removes a key that no tmap of ours can have.
fn tmap_up(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    match op.data.first() {
        None => empty(),
        Some(b'r') if x.info.size == 0 => Err(Errno::ENOENT),
        Some(_) => Err(Errno::EOPNOTSUPP),
    }
}

fn watch(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    x.need_visible()?;
    let w = op.watch();
    let key = (w.cookie, x.env.reqid.name);
    let timeout_secs = if w.timeout_secs == 0 { x.env.limits.watch_timeout_secs } else { w.timeout_secs };
    let info = WatchInfo { cookie: w.cookie, timeout_secs, addr: x.env.addr };
    match w.op {
        watch_op::WATCH | watch_op::LEGACY_WATCH => {
            if let std::collections::btree_map::Entry::Vacant(new) = x.info.watchers.entry(key) {
                new.insert(info.clone());
                x.modify = true;
            }
            x.watch.push(WatchEffect::Connect { info, will_ping: w.op == watch_op::WATCH });
        }
        watch_op::RECONNECT => {
            if !x.info.watchers.contains_key(&key) {
                return Err(Errno::ENOTCONN);
            }
            x.watch.push(WatchEffect::Connect { info, will_ping: true });
        }
        watch_op::PING => {
            if !x.info.watchers.contains_key(&key) {
                return Err(Errno::ENOTCONN);
            }
            if !x.env.watches.is_connected(&x.old.oid, key) {
                return Err(Errno::ETIMEDOUT);
            }
            x.watch.push(WatchEffect::Ping { cookie: w.cookie });
        }
        watch_op::UNWATCH => {
            if x.info.watchers.remove(&key).is_some() {
                x.modify = true;
                x.watch.push(WatchEffect::Disconnect { key, tell_client: false });
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    empty()
}

fn notify(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    let d = &mut Decoder::new(&op.data);
    let (mut timeout_secs, mut payload) = (0, Bytes::new());
    if d.u32().is_ok()
        && let Ok(t) = d.u32()
    {
        timeout_secs = t;
        payload = d.blob().unwrap_or_default();
    }
    if timeout_secs == 0 {
        timeout_secs = x.env.limits.notify_timeout_secs;
    }
    let notify_id = *x.env.next_notify_id;
    *x.env.next_notify_id += 1;
    x.watch.push(WatchEffect::Notify { notify_id, cookie: op.notify_cookie(), timeout_secs, payload });
    done(Bytes::copy_from_slice(&notify_id.to_le_bytes()))
}

fn notify_ack(x: &mut Exec<'_, '_>, op: &OsdOp) {
    let d = &mut Decoder::new(&op.data);
    let effect = match (d.u64(), d.u64()) {
        (Ok(notify_id), Ok(cookie)) => {
            WatchEffect::Ack { notify_id, cookie: Some(cookie), reply: d.blob().unwrap_or_default() }
        }
        // Old clients put the notify id where a watch has its cookie.
        _ => WatchEffect::Ack { notify_id: op.watch().cookie, cookie: None, reply: Bytes::new() },
    };
    x.watch.push(effect);
}

fn list_watchers(x: &Exec<'_, '_>) -> Bytes {
    encoded(32 + 96 * x.info.watchers.len(), |e| {
        e.versioned(1, 1, |e| {
            e.count(x.info.watchers.len());
            for ((_, who), w) in &x.info.watchers {
                e.versioned(2, 1, |e| {
                    e.put(who);
                    e.u64(w.cookie);
                    e.u32(w.timeout_secs);
                    e.put(&w.addr);
                });
            }
        });
    })
}

fn list_snaps(x: &mut Exec<'_, '_>) -> Answer {
    x.stats.num_rd += 1;
    let ss = &x.snapset;
    for c in &ss.clones {
        if !(ss.clone_snaps.contains_key(c)
            && ss.clone_overlap.contains_key(c)
            && ss.clone_size.contains_key(c))
        {
            return Err(Errno::EINVAL);
        }
    }
    let head = x.visible();
    done(encoded(128, |e| {
        e.versioned(2, 1, |e| {
            e.count(ss.clones.len() + usize::from(head));
            for c in &ss.clones {
                e.versioned(1, 1, |e| {
                    e.put(c);
                    let snaps = &ss.clone_snaps[c];
                    e.count(snaps.len());
                    snaps.iter().rev().for_each(|s| e.put(s));
                    e.put(&ss.clone_overlap[c]);
                    e.u64(ss.clone_size[c]);
                });
            }
            if head {
                e.versioned(1, 1, |e| {
                    e.put(&SnapId::HEAD);
                    e.u32(0);
                    e.u32(0);
                    e.u64(x.info.size);
                });
            }
            e.put(&ss.seq);
        });
    }))
}

fn copy_get(x: &mut Exec<'_, '_>, op: &OsdOp) -> Answer {
    x.need_visible()?;
    let d = &mut Decoder::new(&op.data);
    let (mut cursor, max): (CopyCursor, u64) = (d.get().map_err(bad)?, d.u64().map_err(bad)?);
    let mut r = CopyData {
        size: x.info.size,
        mtime: x.info.mtime,
        truncate_seq: x.info.truncate_seq,
        truncate_size: x.info.truncate_size,
        data_digest: u32::MAX,
        omap_digest: u32::MAX,
        ..CopyData::default()
    };
    if x.old.oid.is_head() {
        r.snap_seq = x.snapset.seq;
    } else {
        r.snaps = x.snapset.clone_snaps.get(&x.old.oid.snap).cloned().unwrap_or_default();
    }
    if !cursor.attr_complete {
        r.attrs = x.getxattrs()?;
        cursor.attr_complete = true;
    }
    let mut left = max;
    if left > 0 && !cursor.data_complete {
        if cursor.data_offset < x.info.size {
            let n = left.min(x.info.size - cursor.data_offset);
            r.data = x.work.read(cursor.data_offset, n)?;
            left -= n;
            cursor.data_offset += n;
        }
        cursor.data_complete = cursor.data_offset >= x.info.size;
    }
    if !x.has_omap() {
        cursor.omap_complete = true;
    } else if left > 0 && cursor.data_complete && !cursor.omap_complete {
        if cursor.omap_offset.is_empty() {
            r.omap_header = x.work.omap_header()?;
        }
        let (pairs, more) = x.work.omap_scan(ScanFrom::After(&cursor.omap_offset), b"", u64::MAX, left)?;
        if let Some((k, _)) = pairs.last() {
            cursor.omap_offset = k.clone();
            r.omap_data = encoded(64, |e| e.put(&pairs));
        }
        cursor.omap_complete = !more;
    }
    r.cursor = cursor;
    x.stats.num_rd += 1;
    x.stats.num_rd_kb += kib(r.data.len() as u64);
    done(encoded(256 + r.data.len() + r.omap_data.len(), |e| e.put(&r)))
}

fn copy_from(x: &mut Exec<'_, '_>, index: usize, op: &OsdOp) -> Answer {
    let c = op.copy_from();
    if op.code == OpCode::COPY_FROM2 && c.flags & !COPY_FROM_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let d = &mut Decoder::new(&op.data);
    let src_name = d.blob().map_err(bad)?;
    let src_loc: types::ObjectLocator = d.get().map_err(bad)?;
    let mut truncate = None;
    if op.code == OpCode::COPY_FROM2 && c.flags & COPY_FROM_TRUNCATE_SEQ != 0 {
        truncate = Some((d.u32().map_err(bad)?, d.u64().map_err(bad)?));
    }
    let me = &x.old.oid;
    let key = if src_loc.key == src_name { &Bytes::new() } else { &src_loc.key };
    if src_name == me.name
        && src_loc.nspace == me.nspace
        && *key == me.key
        && src_loc.pool == me.pool
        && c.snap == SnapId::HEAD
    {
        return Err(Errno::EINVAL);
    }
    let Some(copy) = x.env.copies.iter().find(|r| r.op_index == index) else {
        return Ok(OpAnswer::Fetch(CopyRequest {
            op_index: index,
            src_name,
            src_loc,
            src_snap: c.snap,
            src_version: c.src_version,
            flags: c.flags,
        }));
    };
    let copy = copy.result.as_ref().map_err(|e| *e)?;
    x.check_range(0, copy.size)?;
    if copy.data.len() as u64 != copy.size {
        return Err(Errno::EIO);
    }
    let pairs: BTreeMap<Bytes, Bytes> = if copy.omap_data.is_empty() {
        BTreeMap::new()
    } else {
        denc::from_bytes(&copy.omap_data).map_err(|_| Errno::EIO)?
    };
    if x.exists {
        x.work.remove();
    }
    if x.info.size > 0 {
        x.modified.insert(0, x.info.size);
    }
    x.make_exist();
    x.work.touch();
    for (k, v) in &copy.attrs {
        x.work.setattr(crate::exec::stored_name(k), v.clone());
    }
    if !copy.data.is_empty() {
        x.work.write(0, copy.data.clone());
    }
    let omap = !pairs.is_empty() || !copy.omap_header.is_empty();
    if !copy.omap_header.is_empty() {
        x.work.omap_set_header(copy.omap_header.clone());
    }
    if !pairs.is_empty() {
        x.work.omap_set(pairs.into_iter().collect());
    }
    x.info.set(oi_flag::OMAP, omap);
    x.info.clear_data_digest();
    x.info.clear_omap_digest();
    (x.info.truncate_seq, x.info.truncate_size) = truncate.unwrap_or((copy.truncate_seq, copy.truncate_size));
    x.info.mtime = copy.mtime;
    x.keep_mtime = true;
    x.user_version = Some(copy.user_version);
    x.stats.num_bytes += copy.size as i64 - x.info.size as i64;
    x.info.size = copy.size;
    x.stats.num_wr += 1;
    x.stats.num_wr_kb += kib(copy.size);
    empty()
}
