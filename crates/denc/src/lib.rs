//! Ceph's encoding: little-endian integers, length-prefixed strings and containers, and versioned structs.
//!
//! Mirrors `src/include/encoding.h` and `src/include/denc.h` of Ceph, and `doc/dev/encoding.rst`.
//!
//! Invariants:
//! - Decoding never panics and never allocates more than the bytes that are there can justify: every count is
//!   compared with what remains before anything is reserved ([`Decoder::count`]).
//! - A versioned struct lends a [`Decoder`] that cannot leave the struct's length; an unknown tail is skipped.
//! - Feature bits of the peer travel in the [`Encoder`], so one type has one `encode`.
//!
//! Deliberately absent: serde, derive macros, and any type of Ceph itself (those are in `types` and `messages`).

mod decode;
mod encode;
mod impls;

pub use decode::{Decode, Decoder, DencError};
pub use encode::{Encode, Encoder, Features};

/// Encodes `value` for a peer with `features` into a fresh buffer.
pub fn to_bytes<T: Encode + ?Sized>(value: &T, features: Features) -> bytes::Bytes {
    // Growing from nothing would allocate half a dozen times for a usual record.
    let mut e = Encoder::with_capacity(features, 256);
    value.encode(&mut e);
    e.finish()
}

/// Decodes one `T` from the start of `bytes`; bytes behind it are ignored.
pub fn from_bytes<T: Decode>(bytes: &bytes::Bytes) -> Result<T, DencError> {
    T::decode(&mut Decoder::new(bytes))
}

/// Decodes one `T` that must fill `bytes` exactly.
pub fn from_bytes_exact<T: Decode>(bytes: &bytes::Bytes) -> Result<T, DencError> {
    let mut d = Decoder::new(bytes);
    let value = T::decode(&mut d)?;
    d.expect_end(std::any::type_name::<T>())?;
    Ok(value)
}
