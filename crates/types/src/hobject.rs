//! Object names: [`HObject`] (`hobject_t`), [`ObjectLocator`] (`object_locator_t`), [`SnapContext`].
//!
//! Names, keys and namespaces are bytes, not text: stock clients may send any byte.

use crate::{PoolId, SnapId};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::cmp::Ordering;
use std::fmt;

/// An object of a pool with its hash and snapshot (`hobject_t`). Orders as Ceph does: bit-reversed hash first, so that
/// a PG's objects are one contiguous range and a split halves it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HObject {
    /// Locator key when it differs from the name, else empty.
    pub key: Bytes,
    /// Object name.
    pub name: Bytes,
    /// Head, a clone's snap, or snapdir.
    pub snap: SnapId,
    /// Placement hash of (namespace, key or name).
    pub hash: u32,
    /// True only for [`HObject::MAX`].
    pub max: bool,
    /// Namespace.
    pub nspace: Bytes,
    /// Pool.
    pub pool: PoolId,
}

impl HObject {
    /// Before every object.
    pub const MIN: HObject = HObject {
        key: Bytes::new(),
        name: Bytes::new(),
        snap: SnapId(0),
        hash: 0,
        max: false,
        nspace: Bytes::new(),
        pool: PoolId(i64::MIN),
    };
    /// Behind every object.
    pub const MAX: HObject = HObject {
        key: Bytes::new(),
        name: Bytes::new(),
        snap: SnapId(0),
        hash: 0,
        max: true,
        nspace: Bytes::new(),
        pool: PoolId(i64::MIN),
    };

    /// True for [`HObject::MIN`].
    pub fn is_min(&self) -> bool {
        *self == HObject::MIN
    }
    /// The key that objects sort by inside a hash: the locator key if there is one, else the name.
    pub fn effective_key(&self) -> &Bytes {
        if self.key.is_empty() { &self.name } else { &self.key }
    }
    /// The same object at another snap.
    pub fn at(&self, snap: SnapId) -> HObject {
        HObject { snap, ..self.clone() }
    }
    /// The same object in bytes of its own. Names decoded from a message share the receive buffer: whatever outlives the
    /// message (logs, indexes, caches) must keep an owned one, or it keeps the whole buffer.
    pub fn owned(&self) -> HObject {
        let own = |b: &Bytes| if b.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(b) };
        HObject { key: own(&self.key), name: own(&self.name), nspace: own(&self.nspace), ..*self }
    }
    /// The head of this object.
    pub fn head(&self) -> HObject {
        self.at(SnapId::HEAD)
    }
    /// True for the head.
    pub fn is_head(&self) -> bool {
        self.snap == SnapId::HEAD
    }
    fn bitwise_key(&self) -> u64 {
        if self.max { 1 << 32 } else { self.hash.reverse_bits() as u64 }
    }
}

impl Default for HObject {
    fn default() -> Self {
        HObject::MIN
    }
}

impl Ord for HObject {
    fn cmp(&self, o: &Self) -> Ordering {
        self.max
            .cmp(&o.max)
            .then_with(|| self.pool.cmp(&o.pool))
            .then_with(|| self.bitwise_key().cmp(&o.bitwise_key()))
            .then_with(|| self.nspace.cmp(&o.nspace))
            .then_with(|| {
                // Without keys, names are compared once.
                let plain = self.key.is_empty() && o.key.is_empty();
                if plain { Ordering::Equal } else { self.effective_key().cmp(o.effective_key()) }
            })
            .then_with(|| self.name.cmp(&o.name))
            .then_with(|| self.snap.cmp(&o.snap))
    }
}
impl PartialOrd for HObject {
    fn partial_cmp(&self, o: &Self) -> Option<Ordering> {
        Some(self.cmp(o))
    }
}

impl Encode for HObject {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.versioned(4, 3, |e| {
            e.blob(&self.key);
            e.blob(&self.name);
            self.snap.encode(e);
            e.u32(self.hash);
            e.bool(self.max);
            e.blob(&self.nspace);
            self.pool.encode(e);
        });
    }
}
impl Decode for HObject {
    const MIN_SIZE: usize = 6;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("hobject_t", 4)?;
        let mut o =
            HObject { key: d.blob()?, name: d.blob()?, snap: d.get()?, hash: d.u32()?, ..HObject::MIN };
        if v >= 2 {
            o.max = d.bool()?;
        }
        if v >= 4 {
            o.nspace = d.blob()?;
            o.pool = d.get()?;
            // Old encoders wrote the minimum with pool -1 (see hobject_t::decode).
            if o.pool == PoolId(-1) && o.snap == SnapId(0) && o.hash == 0 && !o.max && o.name.is_empty() {
                o.pool = PoolId(i64::MIN);
            }
        }
        if o.max {
            o = HObject::MAX;
        }
        Ok(o)
    }
}

fn lossy(b: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(b)
}

impl fmt::Display for HObject {
    /// `pool:reversed-hash:nspace:key:name:snap`, as Ceph's logs have it (without its escapes).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.max {
            return f.write_str("MAX");
        }
        if self.is_min() {
            return f.write_str("MIN");
        }
        write!(
            f,
            "{}:{:08x}:{}:{}:{}:{}",
            self.pool,
            self.hash.reverse_bits(),
            lossy(&self.nspace),
            lossy(&self.key),
            lossy(&self.name),
            self.snap
        )
    }
}
impl fmt::Debug for HObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an object lives (`object_locator_t`): pool, namespace, and a key or explicit hash instead of the name.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct ObjectLocator {
    /// Pool.
    pub pool: PoolId,
    /// Locator key; empty means the object's name.
    pub key: Bytes,
    /// Namespace.
    pub nspace: Bytes,
    /// Explicit hash position, or -1.
    pub hash: i64,
}
impl ObjectLocator {
    /// A pool's default namespace without a key.
    pub fn pool(pool: PoolId) -> Self {
        ObjectLocator { pool, key: Bytes::new(), nspace: Bytes::new(), hash: -1 }
    }
}
impl Encode for ObjectLocator {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        let compat = if self.hash != -1 { 6 } else { 3 };
        e.versioned(6, compat, |e| {
            self.pool.encode(e);
            e.i32(-1); // was "preferred"
            e.blob(&self.key);
            e.blob(&self.nspace);
            e.i64(self.hash);
        });
    }
}
impl Decode for ObjectLocator {
    const MIN_SIZE: usize = 22;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("object_locator_t", 6)?;
        if v < 3 {
            return Err(DencError::TooOld { what: "object_locator_t", version: v, oldest: 3 });
        }
        let pool = d.get()?;
        d.i32()?;
        let key = d.blob()?;
        let nspace = if v >= 5 { d.blob()? } else { Bytes::new() };
        let hash = if v >= 6 { d.i64()? } else { -1 };
        Ok(ObjectLocator { pool, key, nspace, hash })
    }
}

/// The snapshots that a write must preserve: newest id, and the existing ones in descending order (`SnapContext`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapContext {
    /// Newest snapshot id handed out.
    pub seq: SnapId,
    /// Existing snapshots, descending.
    pub snaps: Vec<SnapId>,
}
impl SnapContext {
    /// True when `snaps` descends strictly and none is above `seq`, as `SnapContext::is_valid`.
    pub fn is_valid(&self) -> bool {
        if self.seq > SnapId::HEAD {
            return false;
        }
        self.snaps.first().is_none_or(|first| *first <= self.seq && first.0 != 0)
            && self.snaps.windows(2).all(|w| w[0] > w[1] && w[1].0 != 0)
    }
}
impl Encode for SnapContext {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        self.seq.encode(e);
        self.snaps.encode(e);
    }
}
impl Decode for SnapContext {
    const MIN_SIZE: usize = 12;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(SnapContext { seq: d.get()?, snaps: d.get()? })
    }
}
