//! Encodings of the plain Rust types: integers, text, options, pairs and containers.

use crate::{Decode, Decoder, DencError, Encode, Encoder};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

macro_rules! ints {
    ($($ty:ident),*) => {$(
        impl Encode for $ty {
            #[inline]
            fn encode(&self, e: &mut Encoder) {
                e.raw(&self.to_le_bytes());
            }
        }
        impl Decode for $ty {
            const MIN_SIZE: usize = std::mem::size_of::<$ty>();
            #[inline]
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
                d.$ty()
            }
        }
    )*};
}
ints!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Encode for bool {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.bool(*self);
    }
}
impl Decode for bool {
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        d.bool()
    }
}

impl Encode for f32 {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.u32(self.to_bits());
    }
}
impl Decode for f32 {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(f32::from_bits(d.u32()?))
    }
}
impl Encode for f64 {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.to_bits());
    }
}
impl Decode for f64 {
    const MIN_SIZE: usize = 8;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(f64::from_bits(d.u64()?))
    }
}

impl Encode for str {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.blob(self.as_bytes());
    }
}
impl Encode for String {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.blob(self.as_bytes());
    }
}
impl Decode for String {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        d.string()
    }
}

impl Encode for Bytes {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.blob(self);
    }
}
impl Decode for Bytes {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        d.blob()
    }
}

impl<const N: usize> Encode for [u8; N] {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.raw(self);
    }
}
impl<const N: usize> Decode for [u8; N] {
    const MIN_SIZE: usize = N;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let mut a = [0u8; N];
        a.copy_from_slice(d.raw(N)?);
        Ok(a)
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        (*self).encode(e);
    }
}

impl<T: Encode + ?Sized> Encode for std::sync::Arc<T> {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        (**self).encode(e);
    }
}
impl<T: Decode> Decode for std::sync::Arc<T> {
    const MIN_SIZE: usize = T::MIN_SIZE;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        T::decode(d).map(std::sync::Arc::new)
    }
}

impl<T: Encode> Encode for Option<T> {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.bool(self.is_some());
        if let Some(v) = self {
            v.encode(e);
        }
    }
}
impl<T: Decode> Decode for Option<T> {
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(if d.bool()? { Some(T::decode(d)?) } else { None })
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        self.0.encode(e);
        self.1.encode(e);
    }
}
impl<A: Decode, B: Decode> Decode for (A, B) {
    const MIN_SIZE: usize = A::MIN_SIZE + B::MIN_SIZE;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok((A::decode(d)?, B::decode(d)?))
    }
}

impl<T: Encode> Encode for [T] {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.count(self.len());
        for v in self {
            v.encode(e);
        }
    }
}
impl<T: Encode> Encode for Vec<T> {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        self.as_slice().encode(e);
    }
}
impl<T: Decode> Decode for Vec<T> {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let n = d.count("vector", T::MIN_SIZE)?;
        // The in-memory element may be larger than its smallest encoding: grow as elements really arrive.
        let mut v = Vec::with_capacity(n.min(1024));
        for _ in 0..n {
            v.push(T::decode(d)?);
        }
        Ok(v)
    }
}

impl<T: Encode> Encode for VecDeque<T> {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.count(self.len());
        for v in self {
            v.encode(e);
        }
    }
}
impl<T: Decode> Decode for VecDeque<T> {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Vec::<T>::decode(d)?.into())
    }
}

impl<K: Encode, V: Encode> Encode for BTreeMap<K, V> {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.count(self.len());
        for (k, v) in self {
            k.encode(e);
            v.encode(e);
        }
    }
}
impl<K: Decode + Ord, V: Decode> Decode for BTreeMap<K, V> {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let n = d.count("map", K::MIN_SIZE + V::MIN_SIZE)?;
        let mut m = BTreeMap::new();
        for _ in 0..n {
            let k = K::decode(d)?;
            m.insert(k, V::decode(d)?);
        }
        Ok(m)
    }
}

impl<K: Encode> Encode for BTreeSet<K> {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.count(self.len());
        for k in self {
            k.encode(e);
        }
    }
}
impl<K: Decode + Ord> Decode for BTreeSet<K> {
    const MIN_SIZE: usize = 4;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let n = d.count("set", K::MIN_SIZE)?;
        let mut s = BTreeSet::new();
        for _ in 0..n {
            s.insert(K::decode(d)?);
        }
        Ok(s)
    }
}

#[cfg(test)]
mod tests {
    use crate::*;
    use bytes::Bytes;
    use std::collections::BTreeMap;

    #[test]
    fn a_huge_count_is_refused_before_anything_is_allocated() {
        let b = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1, 2]);
        assert!(matches!(from_bytes::<Vec<u64>>(&b), Err(DencError::Short { .. })));
        assert!(matches!(from_bytes::<BTreeMap<u8, u8>>(&b), Err(DencError::Short { .. })));
    }

    #[test]
    fn a_versioned_struct_skips_an_unknown_tail_and_cannot_be_left() {
        let mut e = Encoder::new(Features::ALL);
        e.versioned(9, 1, |e| {
            e.u32(7);
            e.u32(8);
        });
        e.u8(42);
        let b = e.finish();
        let mut d = Decoder::new(&b);
        let (v, mut s) = d.open("T", 1).unwrap();
        assert_eq!((v, s.u32().unwrap()), (9, 7));
        assert_eq!(d.u8().unwrap(), 42);
        s.u32().unwrap();
        assert!(s.u8().is_err());
    }

    #[test]
    fn a_struct_for_newer_decoders_only_is_refused_by_name() {
        let b = Bytes::from_static(&[9, 8, 0, 0, 0, 0]);
        let err = Decoder::new(&b).open("T", 7).unwrap_err();
        assert_eq!(err, DencError::Incompatible { what: "T", version: 9, compat: 8, known: 7 });
    }

    #[test]
    fn containers_round_trip() {
        let m: BTreeMap<String, Vec<Option<u16>>> =
            [("a".to_owned(), vec![None, Some(3)]), ("".to_owned(), vec![])].into();
        let b = to_bytes(&m, Features::ALL);
        assert_eq!(from_bytes_exact::<BTreeMap<String, Vec<Option<u16>>>>(&b).unwrap(), m);
        for n in 0..b.len() {
            assert!(from_bytes_exact::<BTreeMap<String, Vec<Option<u16>>>>(&b.slice(..n)).is_err());
        }
    }
}
