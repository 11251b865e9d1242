//! Keys of the index: byte strings whose order is the order of what they name.
//!
//! `10 coll` collection, `20 nid key` omap pair, `30 coll object` object record, `40 nid chunk` extent chunk (all
//! integers big-endian). Objects are known by a number (`nid`) that is never used twice, so a rename moves one record and a
//! removal is two key ranges. An object's key sorts as [`HObject`] does (bit-reversed hash first).

use bytes::Bytes;
use objstore::CollId;
use types::{HObject, PgId, PoolId, ShardId, SnapId, SpgId};

/// Class byte of collections.
pub const COLL: u8 = 0x10;
/// Class byte of omap pairs.
pub const OMAP: u8 = 0x20;
/// Class byte of object records.
pub const OBJECT: u8 = 0x30;
/// Class byte of extent chunks.
pub const CHUNK: u8 = 0x40;

fn put_i64(out: &mut Vec<u8>, v: i64) {
    out.extend_from_slice(&((v as u64) ^ (1 << 63)).to_be_bytes());
}
fn put_coll(out: &mut Vec<u8>, coll: CollId) {
    match coll {
        CollId::Meta => out.push(0),
        CollId::Pg(spg) => {
            out.push(1);
            put_i64(out, spg.pg.pool.0);
            out.extend_from_slice(&spg.pg.seed.to_be_bytes());
            out.push((spg.shard.0 as u8) ^ 0x80);
        }
    }
}
/// Zero bytes become `00 ff`, the end is `00 00`, so that order holds and no string is another's prefix.
fn put_str(out: &mut Vec<u8>, s: &[u8]) {
    for &b in s {
        out.push(b);
        if b == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Key of a collection.
pub fn coll(c: CollId) -> Bytes {
    let mut k = vec![COLL];
    put_coll(&mut k, c);
    k.into()
}
/// What all objects of a collection begin with.
pub fn object_prefix(c: CollId) -> Vec<u8> {
    let mut k = vec![OBJECT];
    put_coll(&mut k, c);
    k
}
/// Key of an object.
pub fn object(c: CollId, o: &HObject) -> Bytes {
    let mut k = object_prefix(c);
    k.reserve(o.name.len() + o.nspace.len() + o.effective_key().len() + 32);
    put_i64(&mut k, o.pool.0);
    k.extend_from_slice(&o.hash.reverse_bits().to_be_bytes());
    put_str(&mut k, &o.nspace);
    put_str(&mut k, o.effective_key());
    put_str(&mut k, &o.name);
    k.extend_from_slice(&o.snap.0.to_be_bytes());
    // A key equal to the name is the same object as no key (as hobject_t has it).
    k.push((!o.key.is_empty() && o.key != o.name) as u8);
    k.into()
}
/// Key of an omap pair.
pub fn omap(nid: u64, key: &[u8]) -> Bytes {
    let mut k = Vec::with_capacity(9 + key.len());
    k.push(OMAP);
    k.extend_from_slice(&nid.to_be_bytes());
    k.extend_from_slice(key);
    k.into()
}
/// Key of an extent chunk.
pub fn chunk(nid: u64, idx: u32) -> Bytes {
    let mut k = Vec::with_capacity(13);
    k.push(CHUNK);
    k.extend_from_slice(&nid.to_be_bytes());
    k.extend_from_slice(&idx.to_be_bytes());
    k.into()
}
/// The key right behind all keys that begin with `prefix`.
pub fn behind(prefix: &[u8]) -> Bytes {
    let mut k = prefix.to_vec();
    while let Some(last) = k.pop() {
        if last < 0xff {
            k.push(last + 1);
            break;
        }
    }
    k.into()
}
/// First key and key behind the last of an object number in a class.
pub fn nid_range(class: u8, nid: u64) -> (Bytes, Bytes) {
    let mut k = vec![class];
    k.extend_from_slice(&nid.to_be_bytes());
    let end = behind(&k);
    (k.into(), end)
}

struct Cursor<'a>(&'a [u8]);
impl Cursor<'_> {
    fn n<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn i64(&mut self) -> Option<i64> {
        Some((u64::from_be_bytes(self.n()?) ^ (1 << 63)) as i64)
    }
    fn str(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        loop {
            match self.n::<1>()?[0] {
                0 => match self.n::<1>()?[0] {
                    0 => return Some(out.into()),
                    0xff => out.push(0),
                    _ => return None,
                },
                b => out.push(b),
            }
        }
    }
    fn coll(&mut self) -> Option<CollId> {
        match self.n::<1>()?[0] {
            0 => Some(CollId::Meta),
            1 => {
                let pool = PoolId(self.i64()?);
                let seed = u32::from_be_bytes(self.n()?);
                let shard = ShardId((self.n::<1>()?[0] ^ 0x80) as i8);
                Some(CollId::Pg(SpgId { pg: PgId { pool, seed }, shard }))
            }
            _ => None,
        }
    }
}

/// The collection of a collection key.
pub fn parse_coll(key: &[u8]) -> Option<CollId> {
    let mut c = Cursor(key.strip_prefix(&[COLL])?);
    let coll = c.coll()?;
    c.0.is_empty().then_some(coll)
}
/// Collection and object of an object key.
pub fn parse_object(key: &[u8]) -> Option<(CollId, HObject)> {
    let mut c = Cursor(key.strip_prefix(&[OBJECT])?);
    let coll = c.coll()?;
    let pool = PoolId(c.i64()?);
    let hash = u32::from_be_bytes(c.n()?).reverse_bits();
    let nspace = c.str()?;
    let effective = c.str()?;
    let name = c.str()?;
    let snap = SnapId(u64::from_be_bytes(c.n()?));
    let key = if c.n::<1>()?[0] == 0 { Bytes::new() } else { effective };
    c.0.is_empty().then_some((coll, HObject { key, name, snap, hash, max: false, nspace, pool }))
}
/// Object number and rest of an omap or chunk key.
pub fn parse_nid(class: u8, key: &[u8]) -> Option<(u64, &[u8])> {
    let mut c = Cursor(key.strip_prefix(&[class])?);
    Some((u64::from_be_bytes(c.n()?), c.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<HObject> {
        let mut v = Vec::new();
        for pool in [-3i64, 0, 7] {
            for hash in [0u32, 1, 0x8000_0000, 0xdead_beef] {
                for name in [&b"a"[..], b"a\0", b"a\0b", b"ab", b"\xff\xff"] {
                    for key in [&b""[..], b"k", b"a\0"] {
                        for nspace in [&b""[..], b"\0", b"n"] {
                            for snap in [SnapId(4), SnapId::HEAD] {
                                v.push(HObject {
                                    key: if key == name { Bytes::new() } else { Bytes::copy_from_slice(key) },
                                    name: Bytes::copy_from_slice(name),
                                    snap,
                                    hash,
                                    max: false,
                                    nspace: Bytes::copy_from_slice(nspace),
                                    pool: PoolId(pool),
                                });
                            }
                        }
                    }
                }
            }
        }
        v
    }

    #[test]
    fn object_keys_sort_as_objects_and_come_back() {
        let mut v = objects();
        v.sort();
        v.dedup();
        let c = CollId::Pg(SpgId::replicated(PgId::new(7, 3)));
        for pair in v.windows(2) {
            assert!(object(c, &pair[0]) < object(c, &pair[1]), "{:?} {:?}", pair[0], pair[1]);
        }
        for o in v {
            let k = object(c, &o);
            assert_eq!(parse_object(&k), Some((c, o)));
            for n in 0..k.len() {
                assert_eq!(parse_object(&k[..n]), None);
            }
        }
        assert_eq!(parse_coll(&coll(c)), Some(c));
    }
}
