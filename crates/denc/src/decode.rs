//! The reading half: [`Decoder`] is a cursor over shared bytes that fails, never panics.

use bytes::Bytes;
use thiserror::Error;

/// Why bytes could not be decoded.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DencError {
    /// The bytes end inside a value.
    #[error("{what}: {need} bytes wanted, {have} left")]
    Short {
        /// Type or field that was being read.
        what: &'static str,
        /// Bytes the value needs.
        need: usize,
        /// Bytes that remain.
        have: usize,
    },
    /// A struct says that only newer decoders than ours can read it.
    #[error("{what}: struct version {version} needs a decoder of version {compat}, this one knows {known}")]
    Incompatible {
        /// Type that was being read.
        what: &'static str,
        /// Version the writer used.
        version: u8,
        /// Oldest decoder version the writer allows.
        compat: u8,
        /// Newest version this decoder knows.
        known: u8,
    },
    /// A struct is older than the oldest version that this decoder reads.
    #[error("{what}: struct version {version} is older than {oldest}, the oldest one understood")]
    TooOld {
        /// Type that was being read.
        what: &'static str,
        /// Version the writer used.
        version: u8,
        /// Oldest version this decoder reads.
        oldest: u8,
    },
    /// A value is outside of what the format allows.
    #[error("{what}: value {value} is not valid")]
    Invalid {
        /// Type or field that was being read.
        what: &'static str,
        /// The offending value, as a number.
        value: u64,
    },
    /// Text is not UTF-8 where the format promises text.
    #[error("{what}: not UTF-8")]
    Utf8 {
        /// Type or field that was being read.
        what: &'static str,
    },
    /// Bytes are left over where none may be.
    #[error("{what}: {left} bytes left over")]
    Trailing {
        /// Type that was being read.
        what: &'static str,
        /// Number of bytes left.
        left: usize,
    },
    /// A checksum over the bytes does not hold.
    #[error("{what}: crc {found:#010x} where {expected:#010x} was expected")]
    Crc {
        /// Type that was being read.
        what: &'static str,
        /// The checksum stored in the bytes.
        expected: u32,
        /// The checksum computed over them.
        found: u32,
    },
}

/// A type that can be read from Ceph's encoding.
pub trait Decode: Sized {
    /// Smallest number of bytes one value takes; used to bound counts before allocating.
    const MIN_SIZE: usize = 1;

    /// Reads one value, leaving the cursor behind it.
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError>;
}

/// A cursor over bytes. Sub-slices that it hands out share the underlying buffer.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a Bytes,
    pos: usize,
    end: usize,
}

macro_rules! int {
    ($(#[$doc:meta] $name:ident: $ty:ty),* $(,)?) => {$(
        #[$doc]
        #[inline]
        pub fn $name(&mut self) -> Result<$ty, DencError> {
            const N: usize = std::mem::size_of::<$ty>();
            let s = self.raw_as(stringify!($ty), N)?;
            let mut a = [0u8; N];
            a.copy_from_slice(s);
            Ok(<$ty>::from_le_bytes(a))
        }
    )*};
}

impl<'a> Decoder<'a> {
    /// A cursor at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a Bytes) -> Self {
        Decoder { bytes, pos: 0, end: bytes.len() }
    }

    /// Bytes between the cursor and the end of this struct.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.end - self.pos
    }

    /// True at the end.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Offset of the cursor from the start of the underlying bytes; for checksums over a range.
    #[inline]
    pub fn position(&self) -> usize {
        self.pos
    }

    /// The bytes from absolute offset `from` (see [`Decoder::position`]) up to the cursor.
    pub fn consumed_since(&self, from: usize) -> &'a [u8] {
        &self.bytes[from.min(self.pos)..self.pos]
    }

    /// Everything that is left, without moving.
    #[inline]
    pub fn peek_rest(&self) -> &'a [u8] {
        &self.bytes[self.pos..self.end]
    }

    #[inline]
    fn raw_as(&mut self, what: &'static str, n: usize) -> Result<&'a [u8], DencError> {
        let have = self.remaining();
        if n > have {
            return Err(DencError::Short { what, need: n, have });
        }
        let s = &self.bytes[self.pos..self.pos + n];
        self.pos += n;
        Ok(s)
    }

    /// Takes `n` bytes as a borrowed slice.
    #[inline]
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], DencError> {
        self.raw_as("raw bytes", n)
    }

    /// Takes `n` bytes as a shared slice (no copy).
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<Bytes, DencError> {
        let have = self.remaining();
        if n > have {
            return Err(DencError::Short { what: "bytes", need: n, have });
        }
        let b = self.bytes.slice(self.pos..self.pos + n);
        self.pos += n;
        Ok(b)
    }

    /// Takes all that is left as a shared slice.
    #[inline]
    pub fn take_rest(&mut self) -> Bytes {
        let b = self.bytes.slice(self.pos..self.end);
        self.pos = self.end;
        b
    }

    /// Moves over `n` bytes.
    #[inline]
    pub fn skip(&mut self, n: usize) -> Result<(), DencError> {
        self.raw_as("skipped bytes", n).map(|_| ())
    }

    int! {
        /// Reads a u8.
        u8: u8,
        /// Reads a u16.
        u16: u16,
        /// Reads a u32.
        u32: u32,
        /// Reads a u64.
        u64: u64,
        /// Reads an i8.
        i8: i8,
        /// Reads an i16.
        i16: i16,
        /// Reads an i32.
        i32: i32,
        /// Reads an i64.
        i64: i64,
    }

    /// Reads a bool: any nonzero byte is true, as in Ceph.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DencError> {
        Ok(self.u8()? != 0)
    }

    /// Reads a u32 element count and checks that `count * min_size` bytes can still be there.
    #[inline]
    pub fn count(&mut self, what: &'static str, min_size: usize) -> Result<usize, DencError> {
        let n = self.u32()? as usize;
        let need = n.saturating_mul(min_size.max(1));
        if need > self.remaining() {
            return Err(DencError::Short { what, need, have: self.remaining() });
        }
        Ok(n)
    }

    /// Reads a u32 length and that many bytes, shared (a bufferlist).
    #[inline]
    pub fn blob(&mut self) -> Result<Bytes, DencError> {
        let n = self.u32()? as usize;
        self.take(n)
    }

    /// Reads a u32 length and that many bytes of UTF-8.
    pub fn string(&mut self) -> Result<String, DencError> {
        let n = self.u32()? as usize;
        let s = self.raw_as("string", n)?;
        std::str::from_utf8(s).map(str::to_owned).map_err(|_| DencError::Utf8 { what: "string" })
    }

    /// Reads any decodable value.
    #[inline]
    pub fn get<T: Decode>(&mut self) -> Result<T, DencError> {
        T::decode(self)
    }

    /// Opens a versioned struct (`DECODE_START`): checks version and compat against `known`, moves this cursor
    /// behind the whole struct, and returns the version with a cursor that is bounded to the body.
    #[inline]
    pub fn open(&mut self, what: &'static str, known: u8) -> Result<(u8, Decoder<'a>), DencError> {
        let version = self.u8()?;
        let compat = self.u8()?;
        if compat > known {
            return Err(DencError::Incompatible { what, version, compat, known });
        }
        Ok((version, self.sub(what)?))
    }

    /// Reads a u32 length and returns a cursor bounded to that many bytes; this cursor moves behind them.
    #[inline]
    pub fn sub(&mut self, what: &'static str) -> Result<Decoder<'a>, DencError> {
        let len = self.u32()? as usize;
        let have = self.remaining();
        if len > have {
            return Err(DencError::Short { what, need: len, have });
        }
        let sub = Decoder { bytes: self.bytes, pos: self.pos, end: self.pos + len };
        self.pos += len;
        Ok(sub)
    }

    /// Fails unless every byte was read.
    #[inline]
    pub fn expect_end(&self, what: &'static str) -> Result<(), DencError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DencError::Trailing { what, left }),
        }
    }
}
