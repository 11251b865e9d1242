//! Class `lock`: advisory locks, shared and exclusive, kept in the xattr `lock.<name>`.
//!
//! Mirrors `cls/lock`. A lock's holders are (entity, cookie) pairs; all must agree on the tag.

use crate::{Class, ClsContext, ClsError, Method};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{EntityAddr, EntityName, Errno, Utime};

const NONE: u8 = 0;
const EXCLUSIVE: u8 = 1;
const SHARED: u8 = 2;
const EXCLUSIVE_EPHEMERAL: u8 = 3;

const FLAG_MAY_RENEW: u8 = 1;
const FLAG_MUST_RENEW: u8 = 2;

const PREFIX: &str = "lock.";

/// The class.
pub const CLASS: Class = Class {
    name: "lock",
    methods: &[
        Method { name: "lock", reads: true, writes: true, func: lock },
        Method { name: "unlock", reads: true, writes: true, func: unlock },
        Method { name: "break_lock", reads: true, writes: true, func: break_lock },
        Method { name: "get_info", reads: true, writes: false, func: get_info },
        Method { name: "list_locks", reads: true, writes: false, func: list_locks },
        Method { name: "assert_locked", reads: true, writes: false, func: assert_locked },
        Method { name: "set_cookie", reads: true, writes: true, func: set_cookie },
    ],
};

/// A holder (`locker_id_t`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct LockerId {
    entity: EntityName,
    cookie: Bytes,
}
impl Encode for LockerId {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.entity);
            e.put(&self.cookie);
        });
    }
}
impl Decode for LockerId {
    const MIN_SIZE: usize = 6 + 9 + 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("locker_id_t", 1)?;
        Ok(LockerId { entity: d.get()?, cookie: d.blob()? })
    }
}

/// What is known of a holder (`locker_info_t`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct LockerInfo {
    expiration: Utime,
    addr: EntityAddr,
    description: Bytes,
}
impl Encode for LockerInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.expiration);
            e.put(&self.addr);
            e.put(&self.description);
        });
    }
}
impl Decode for LockerInfo {
    const MIN_SIZE: usize = 6 + 8 + 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("locker_info_t", 1)?;
        Ok(LockerInfo { expiration: d.get()?, addr: d.get()?, description: d.blob()? })
    }
}

/// A lock (`lock_info_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct LockInfo {
    lockers: BTreeMap<LockerId, LockerInfo>,
    kind: u8,
    tag: Bytes,
}
impl Encode for LockInfo {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.lockers);
            e.u8(self.kind);
            e.put(&self.tag);
        });
    }
}
impl Decode for LockInfo {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("lock_info_t", 1)?;
        Ok(LockInfo { lockers: d.get()?, kind: d.u8()?, tag: d.blob()? })
    }
}

fn is_exclusive(kind: u8) -> bool {
    matches!(kind, EXCLUSIVE | EXCLUSIVE_EPHEMERAL)
}
fn is_valid(kind: u8) -> bool {
    matches!(kind, EXCLUSIVE | SHARED | EXCLUSIVE_EPHEMERAL)
}

fn attr(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The lock, holders whose time is over left out. `ENOENT` only when there is no object.
fn load(ctx: &mut dyn ClsContext, name: &str) -> Result<LockInfo, ClsError> {
    let bytes = match ctx.getxattr(&attr(name)) {
        Ok(b) => b,
        Err(Errno::ENODATA) => return Ok(LockInfo::default()),
        Err(e) => return Err(e.into()),
    };
    if bytes.is_empty() {
        return Ok(LockInfo::default());
    }
    let mut lock: LockInfo = denc::from_bytes(&bytes).map_err(|_| ClsError::from(Errno::EIO))?;
    let now = ctx.now();
    lock.lockers.retain(|_, info| info.expiration.is_zero() || info.expiration >= now);
    Ok(lock)
}

fn store(ctx: &mut dyn ClsContext, name: &str, lock: &LockInfo) -> Result<(), ClsError> {
    Ok(ctx.setxattr(&attr(name), denc::to_bytes(lock, Features::ALL))?)
}

fn lock(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("cls_lock_lock_op", 1)?;
    let (name, kind, cookie, tag, description, duration, flags) =
        (d.string()?, d.u8()?, d.blob()?, d.blob()?, d.blob()?, d.get::<Utime>()?, d.u8()?);
    let may_renew = flags & FLAG_MAY_RENEW != 0;
    let must_renew = flags & FLAG_MUST_RENEW != 0;
    if !is_valid(kind) || name.is_empty() || (may_renew && must_renew) {
        return Err(Errno::EINVAL.into());
    }
    let mut lock = match load(ctx, &name) {
        Err(e) if e.errno == Errno::ENOENT => LockInfo::default(),
        other => other?,
    };
    if !lock.lockers.is_empty() && lock.tag != tag {
        return Err(Errno::EBUSY.into());
    }
    let (entity, addr) = ctx.origin();
    let id = LockerId { entity, cookie };
    if lock.lockers.remove(&id).is_some() {
        if !may_renew && !must_renew {
            return Err(Errno::EEXIST.into());
        }
    } else if must_renew {
        return Err(Errno::ENOENT.into());
    }
    if !lock.lockers.is_empty() && (is_exclusive(kind) || lock.kind != kind) {
        return Err(Errno::EBUSY.into());
    }
    let expiration =
        if duration.is_zero() { Utime::ZERO } else { ctx.now() + Duration::from_nanos(duration.as_nanos()) };
    lock.kind = kind;
    lock.tag = tag;
    lock.lockers.insert(id, LockerInfo { expiration, addr, description });
    store(ctx, &name, &lock)?;
    Ok(Bytes::new())
}

fn release(ctx: &mut dyn ClsContext, name: &str, id: &LockerId) -> Result<Bytes, ClsError> {
    let mut lock = load(ctx, name)?;
    if lock.lockers.remove(id).is_none() {
        return Err(Errno::ENOENT.into());
    }
    if lock.kind == EXCLUSIVE_EPHEMERAL {
        ctx.remove()?;
    } else {
        store(ctx, name, &lock)?;
    }
    Ok(Bytes::new())
}

fn unlock(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("cls_lock_unlock_op", 1)?;
    let (name, cookie) = (d.string()?, d.blob()?);
    let (entity, _) = ctx.origin();
    release(ctx, &name, &LockerId { entity, cookie })
}

fn break_lock(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("cls_lock_break_op", 1)?;
    let (name, entity, cookie) = (d.string()?, d.get()?, d.blob()?);
    release(ctx, &name, &LockerId { entity, cookie })
}

fn get_info(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("cls_lock_get_info_op", 1)?;
    let lock = load(ctx, &d.string()?)?;
    // The reply has the stored form's layout; addresses in the form that the caller reads.
    Ok(denc::to_bytes(&lock, Features(ctx.client_features())))
}

fn list_locks(ctx: &mut dyn ClsContext, _input: &Bytes) -> Result<Bytes, ClsError> {
    let names: Vec<Bytes> = ctx
        .getxattrs()?
        .into_keys()
        .filter_map(|k| k.strip_prefix(PREFIX.as_bytes()).map(|n| k.slice_ref(n)))
        .collect();
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| e.put(&names));
    Ok(e.finish())
}

/// The lock if it is of this kind and tag and held by (caller, cookie); else `EBUSY`.
fn held(
    ctx: &mut dyn ClsContext,
    name: &str,
    kind: u8,
    cookie: Bytes,
    tag: &Bytes,
) -> Result<(LockInfo, LockerId), ClsError> {
    if !is_valid(kind) || name.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    let lock = load(ctx, name)?;
    let (entity, _) = ctx.origin();
    let id = LockerId { entity, cookie };
    if lock.kind == NONE || lock.kind != kind || lock.tag != *tag || !lock.lockers.contains_key(&id) {
        return Err(Errno::EBUSY.into());
    }
    Ok((lock, id))
}

fn assert_locked(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("cls_lock_assert_op", 1)?;
    let (name, kind, cookie, tag) = (d.string()?, d.u8()?, d.blob()?, d.blob()?);
    held(ctx, &name, kind, cookie, &tag)?;
    Ok(Bytes::new())
}

fn set_cookie(ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    let mut d = Decoder::new(input);
    let (_, mut d) = d.open("cls_lock_set_cookie_op", 1)?;
    let (name, kind, cookie, tag, new) = (d.string()?, d.u8()?, d.blob()?, d.blob()?, d.blob()?);
    let (mut lock, id) = held(ctx, &name, kind, cookie, &tag)?;
    let new = LockerId { cookie: new, ..id.clone() };
    if lock.lockers.contains_key(&new) {
        return Err(Errno::EBUSY.into());
    }
    let info = lock.lockers.remove(&id).expect("held() found it");
    lock.lockers.insert(new, info);
    store(ctx, &name, &lock)?;
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use crate::mem::MemObject;
    use bytes::Bytes;
    use denc::{Encoder, Features};
    use types::{EntityName, Errno, Utime};

    fn lock_for(secs: u32) -> Bytes {
        let mut e = Encoder::new(Features::ALL);
        e.versioned(1, 1, |e| {
            e.put("l");
            e.u8(super::EXCLUSIVE);
            e.put("cookie");
            e.put("tag");
            e.put("");
            e.put(&Utime { sec: secs, nsec: 0 });
            e.u8(0);
        });
        e.finish()
    }

    #[test]
    fn a_lock_whose_time_is_over_is_free() {
        let mut o = MemObject::default();
        assert!(o.run("lock", "lock", &lock_for(10)).is_ok());
        o.origin.0 = EntityName::client(7);
        let start = o.now;
        o.now = Utime { sec: start.sec + 10, ..start };
        assert_eq!(o.run("lock", "lock", &lock_for(0)).unwrap_err().errno, Errno::EBUSY);
        o.now = Utime { sec: start.sec + 10, nsec: start.nsec + 1 };
        assert!(o.run("lock", "lock", &lock_for(0)).is_ok());
    }

    #[test]
    fn a_damaged_lock_is_an_io_error_and_stays() {
        let mut o = MemObject { content: Some(Default::default()), ..MemObject::default() };
        let bytes = Bytes::from_static(b"\x01\x01\xff\0\0\0");
        let c = o.content.as_mut().expect("made above");
        c.xattrs.insert(Bytes::from_static(b"lock.l"), bytes.clone());
        assert_eq!(o.run("lock", "lock", &lock_for(0)).unwrap_err().errno, Errno::EIO);
        assert_eq!(o.content.expect("still there").xattrs[&b"lock.l"[..]], bytes);
    }
}
