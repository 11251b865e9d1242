//! The writing half: [`Encoder`] appends to one growing buffer and knows the peer's feature bits.

use bytes::Bytes;

/// Feature bits of the peer that will read the bytes (64-bit masks of `include/ceph_features.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord, Hash)]
pub struct Features(pub u64);

impl Features {
    /// Every bit set: the newest encoding that we know. Used for our own disk and our own peers.
    pub const ALL: Features = Features(u64::MAX);

    /// True when every bit of `mask` is there. Ceph's masks often have more than one bit (incarnations).
    pub const fn has(self, mask: u64) -> bool {
        self.0 & mask == mask
    }
}

/// A type with Ceph's encoding.
pub trait Encode {
    /// Appends this value's encoding for `e.features()`.
    fn encode(&self, e: &mut Encoder);
}

/// An append-only buffer plus the features of whoever will read it.
#[derive(Debug)]
pub struct Encoder {
    buf: Vec<u8>,
    features: Features,
}

impl Encoder {
    /// An empty encoder for a peer with `features`.
    #[inline]
    pub fn new(features: Features) -> Self {
        Encoder { buf: Vec::new(), features }
    }

    /// An empty encoder with room for `capacity` bytes.
    #[inline]
    pub fn with_capacity(features: Features, capacity: usize) -> Self {
        Encoder { buf: Vec::with_capacity(capacity), features }
    }

    /// The reader's feature bits.
    pub fn features(&self) -> Features {
        self.features
    }

    /// True when the reader has every bit of `mask`.
    #[inline]
    pub fn has(&self, mask: u64) -> bool {
        self.features.has(mask)
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// True when nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.buf
    }

    /// Hands the bytes over without a copy.
    #[inline]
    pub fn finish(self) -> Bytes {
        Bytes::from(self.buf)
    }

    /// Appends raw bytes, without a length.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Appends a u8.
    #[inline]
    pub fn u8(&mut self, v: u8) {
        self.buf.push(v);
    }
    /// Appends a u16.
    #[inline]
    pub fn u16(&mut self, v: u16) {
        self.raw(&v.to_le_bytes());
    }
    /// Appends a u32.
    #[inline]
    pub fn u32(&mut self, v: u32) {
        self.raw(&v.to_le_bytes());
    }
    /// Appends a u64.
    #[inline]
    pub fn u64(&mut self, v: u64) {
        self.raw(&v.to_le_bytes());
    }
    /// Appends an i32.
    #[inline]
    pub fn i32(&mut self, v: i32) {
        self.raw(&v.to_le_bytes());
    }
    /// Appends an i64.
    #[inline]
    pub fn i64(&mut self, v: i64) {
        self.raw(&v.to_le_bytes());
    }
    /// Appends a bool as one byte.
    #[inline]
    pub fn bool(&mut self, v: bool) {
        self.u8(v as u8);
    }

    /// Appends a container's element count.
    ///
    /// # Panics
    /// When `n` does not fit the 32 bits that the format has.
    #[inline]
    pub fn count(&mut self, n: usize) {
        self.u32(u32::try_from(n).expect("containers on the wire hold fewer than 2^32 elements"));
    }

    /// Appends `bytes` with its u32 length in front (a bufferlist or a string).
    #[inline]
    pub fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// Appends any encodable value.
    #[inline]
    pub fn put<T: Encode + ?Sized>(&mut self, v: &T) {
        v.encode(self);
    }

    /// Appends a versioned struct (`ENCODE_START`): u8 version, u8 compat, u32 length, then what `body` writes.
    #[inline]
    pub fn versioned(&mut self, version: u8, compat: u8, body: impl FnOnce(&mut Self)) {
        self.u8(version);
        self.u8(compat);
        self.length_prefixed(body);
    }

    /// Appends what `body` writes with its u32 length in front: a nested blob without a second buffer.
    #[inline]
    pub fn length_prefixed(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.reserve_u32();
        body(self);
        let len = self.buf.len() - at - 4;
        self.patch_u32(at, u32::try_from(len).expect("a struct on the wire is shorter than 4 GiB"));
    }

    /// Appends a placeholder u32 and returns its place for [`Encoder::patch_u32`].
    #[inline]
    pub fn reserve_u32(&mut self) -> usize {
        let at = self.buf.len();
        self.u32(0);
        at
    }

    /// Overwrites the u32 at `at`.
    #[inline]
    pub fn patch_u32(&mut self, at: usize, v: u32) {
        self.buf[at..at + 4].copy_from_slice(&v.to_le_bytes());
    }
}
