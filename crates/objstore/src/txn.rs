//! The writing half: [`Transaction`], an ordered list of changes that becomes durable as a whole or not at all.

use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use types::{HObject, SpgId};

/// A collection: the OSD's own metadata or one PG's objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CollId {
    /// The OSD's own objects (superblock, maps).
    Meta,
    /// A placement group's objects.
    Pg(SpgId),
}
impl Encode for CollId {
    fn encode(&self, e: &mut Encoder) {
        match self {
            CollId::Meta => e.u8(0),
            CollId::Pg(pg) => {
                e.u8(1);
                e.put(pg);
            }
        }
    }
}
impl Decode for CollId {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        match d.u8()? {
            0 => Ok(CollId::Meta),
            1 => Ok(CollId::Pg(d.get()?)),
            other => Err(DencError::Invalid { what: "collection kind", value: other.into() }),
        }
    }
}

macro_rules! txn_ops {
    ($( $(#[$doc:meta])* $tag:literal $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? } )*) => {
        /// One change. Every op but the collection ones names its object; objects are created by the first op that
        /// needs them, except where noted.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum TxnOp {
            $( $(#[$doc])* $name { $($(#[$fdoc])* $field: $ty),* }, )*
        }
        impl Encode for TxnOp {
            fn encode(&self, e: &mut Encoder) {
                match self {
                    $( TxnOp::$name { $($field),* } => { e.u8($tag); $( e.put($field); )* } )*
                }
            }
        }
        impl Decode for TxnOp {
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
                Ok(match d.u8()? {
                    $( $tag => TxnOp::$name { $($field: d.get()?),* }, )*
                    other => return Err(DencError::Invalid { what: "transaction op", value: other.into() }),
                })
            }
        }
    };
}

txn_ops! {
    /// Creates an empty collection. Creating one that exists is a bug of the caller.
    1 CreateColl { /** The collection. */ coll: CollId }
    /// Removes a collection with all that is in it.
    2 RemoveColl { /** The collection. */ coll: CollId }
    /// Creates the object when it is absent.
    3 Touch { /** Collection. */ coll: CollId, /** Object. */ oid: HObject }
    /// Writes bytes, growing the object when they reach behind its end.
    4 Write { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Offset. */ off: u64, /** Bytes. */ data: Bytes }
    /// Makes a range read as zeros (a hole), growing the object when it reaches behind its end.
    5 Zero { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Offset. */ off: u64, /** Length. */ len: u64 }
    /// Sets the object's size; bytes behind it are gone, new ones read as zeros.
    6 Truncate { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** New size. */ size: u64 }
    /// Removes an object with its xattrs and omap; nothing happens when it is absent.
    7 Remove { /** Collection. */ coll: CollId, /** Object. */ oid: HObject }
    /// Sets one xattr.
    8 SetAttr { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Name. */ name: Bytes, /** Value. */ value: Bytes }
    /// Removes one xattr; nothing happens when it is absent.
    9 RmAttr { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Name. */ name: Bytes }
    /// Makes `dst` an exact copy of `src` (data shared where the store can, xattrs, omap). `dst` is replaced.
    10 Clone { /** Collection. */ coll: CollId, /** From. */ src: HObject, /** To. */ dst: HObject }
    /// Copies a range of `src` over the same or another place of `dst`.
    11 CloneRange { /** Collection. */ coll: CollId, /** From. */ src: HObject, /** To. */ dst: HObject, /** Source offset. */ src_off: u64, /** Length. */ len: u64, /** Destination offset. */ dst_off: u64 }
    /// Sets omap pairs.
    12 OmapSet { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Pairs. */ pairs: Vec<(Bytes, Bytes)> }
    /// Removes omap keys; absent ones are ignored.
    13 OmapRm { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Keys. */ keys: Vec<Bytes> }
    /// Removes omap keys in `first..last`.
    14 OmapRmRange { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** First key. */ first: Bytes, /** Key behind the last. */ last: Bytes }
    /// Removes all omap pairs and the header.
    15 OmapClear { /** Collection. */ coll: CollId, /** Object. */ oid: HObject }
    /// Sets the omap header.
    16 OmapSetHeader { /** Collection. */ coll: CollId, /** Object. */ oid: HObject, /** Header. */ header: Bytes }
    /// Renames an object inside its collection; `dst` is replaced.
    17 Rename { /** Collection. */ coll: CollId, /** From. */ src: HObject, /** To. */ dst: HObject }
}

/// An atomic, ordered list of changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    /// The changes, in order.
    pub ops: Vec<TxnOp>,
    /// Whoever made it here will be asked for its data here: a hint to the store what is worth keeping in a cache. It does
    /// not travel: at a replica, and after a crash, it is false.
    pub read_here: bool,
}
impl From<Vec<TxnOp>> for Transaction {
    fn from(ops: Vec<TxnOp>) -> Self {
        Transaction { ops, read_here: false }
    }
}
impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a change.
    pub fn push(&mut self, op: TxnOp) {
        self.ops.push(op);
    }
    /// Adds all changes of `other` behind ours.
    pub fn append(&mut self, mut other: Transaction) {
        self.ops.append(&mut other.ops);
    }
    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
    /// Bytes of object data in it: what throttles count.
    pub fn data_bytes(&self) -> u64 {
        self.ops.iter().map(|op| if let TxnOp::Write { data, .. } = op { data.len() as u64 } else { 0 }).sum()
    }
}
impl Transaction {
    /// Encodes with the payloads of `Write` kept apart, in order: the metadata part is small, the payloads stay the
    /// reference-counted slices they were (socket to journal and replicas without a copy).
    pub fn encode_split(&self) -> (Bytes, Vec<Bytes>) {
        let mut data = Vec::new();
        let mut e = Encoder::with_capacity(Features::ALL, 768);
        e.versioned(1, 1, |e| {
            e.count(self.ops.len());
            for op in &self.ops {
                if let TxnOp::Write { coll, oid, off, data: payload } = op {
                    e.u8(SPLIT_WRITE);
                    e.put(coll);
                    e.put(oid);
                    e.u64(*off);
                    e.count(payload.len());
                    data.push(payload.clone());
                } else {
                    e.put(op);
                }
            }
        });
        (e.finish(), data)
    }

    /// Reads what [`Transaction::encode_split`] wrote; `data` is all payloads back to back, shared, not copied.
    pub fn decode_split(meta: &Bytes, data: &Bytes) -> Result<Transaction, DencError> {
        let mut outer = Decoder::new(meta);
        let (_, mut d) = outer.open("loligo split transaction", 1)?;
        let mut payload = Decoder::new(data);
        let n = d.count("split transaction", 2)?;
        let mut ops = Vec::new();
        for _ in 0..n {
            if d.peek_rest().first() == Some(&SPLIT_WRITE) {
                d.skip(1)?;
                let (coll, oid, off) = (d.get()?, d.get()?, d.u64()?);
                let len = d.u32()? as usize;
                ops.push(TxnOp::Write { coll, oid, off, data: payload.take(len)? });
            } else {
                ops.push(d.get()?);
            }
        }
        payload.expect_end("split transaction payloads")?;
        Ok(ops.into())
    }
}
/// Tag of a `Write` whose payload travels apart; never a [`TxnOp`] tag.
const SPLIT_WRITE: u8 = 0xff;

impl Encode for Transaction {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.put(&self.ops));
    }
}
impl Decode for Transaction {
    const MIN_SIZE: usize = 10;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("loligo transaction", 1)?;
        Ok(Transaction::from(d.get::<Vec<TxnOp>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_transaction_comes_back_whole_and_shares_its_payload() {
        let oid = HObject { name: Bytes::from_static(b"o"), ..HObject::MIN };
        let data = Bytes::from(vec![7u8; 5000]);
        let mut t = Transaction::new();
        t.push(TxnOp::Touch { coll: CollId::Meta, oid: oid.clone() });
        t.push(TxnOp::Write { coll: CollId::Meta, oid, off: 3, data: data.clone() });
        let (meta, parts) = t.encode_split();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].as_ptr(), data.as_ptr());
        assert_eq!(Transaction::decode_split(&meta, &parts[0]).unwrap(), t);
        assert!(Transaction::decode_split(&meta, &data.slice(1..)).is_err());
        t.read_here = true;
        let (same, _) = t.encode_split();
        assert_eq!(same, meta, "the hint stays here");
        for n in 0..meta.len() {
            assert!(Transaction::decode_split(&meta.slice(..n), &data).is_err());
        }
    }
}
