//! [`RawStruct`]: a versioned struct that is carried without being understood.

use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};

/// A struct with Ceph's version header (`ENCODE_START`), kept as its bytes. Default is an empty struct of version 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawStruct(Bytes);

const HEADER: usize = 6;

impl RawStruct {
    /// The encoding of `value`, which must be one versioned struct.
    ///
    /// # Panics
    /// When `value` encodes to something else.
    pub fn of<T: Encode>(value: &T, features: denc::Features) -> RawStruct {
        let bytes = denc::to_bytes(value, features);
        denc::from_bytes_exact(&bytes).expect("the value encodes to one versioned struct")
    }
    /// Decodes it as `T`.
    pub fn decode<T: Decode>(&self) -> Result<T, DencError> {
        denc::from_bytes_exact(&self.0)
    }
    /// Version, compat version and body.
    pub fn parts(&self) -> (u8, u8, Bytes) {
        (self.0[0], self.0[1], self.0.slice(HEADER..))
    }
    /// All of its bytes, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}
impl Default for RawStruct {
    fn default() -> Self {
        RawStruct(Bytes::from_static(&[1, 1, 0, 0, 0, 0]))
    }
}
impl Encode for RawStruct {
    fn encode(&self, e: &mut Encoder) {
        e.raw(&self.0);
    }
}
impl Decode for RawStruct {
    const MIN_SIZE: usize = HEADER;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let mut ahead = d.clone();
        ahead.skip(2)?;
        let len = ahead.u32()? as usize;
        Ok(RawStruct(d.take(HEADER.saturating_add(len))?))
    }
}
