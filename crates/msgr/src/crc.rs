//! CRC32C as Ceph runs it: caller's seed, no final inversion.

use bytes::Bytes;
use std::cell::RefCell;

/// `ceph_crc32c(seed, bytes)`.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// Shorter segments are computed again: that is faster than to remember them.
const SHARED_BYTES_MIN: usize = 64 << 10;

thread_local! {
    /// The big segment that was checked or sent last, with its checksum. It is held, so that nothing else can come to lie where
    /// it lies.
    static LAST: RefCell<(Bytes, u32)> = const { RefCell::new((Bytes::new(), 0)) };
}

/// A frame's checksum of a segment that was just verified: whoever sends the same bytes on need not compute it.
pub fn remember(seg: &Bytes, crc: u32) {
    if seg.len() >= SHARED_BYTES_MIN {
        LAST.with(|l| *l.borrow_mut() = (seg.clone(), crc));
    }
}

/// A frame's checksum of a segment.
pub fn of_shared(seg: &Bytes) -> u32 {
    if seg.len() < SHARED_BYTES_MIN {
        return crc32c(u32::MAX, seg);
    }
    let known = LAST.with(|l| {
        let (last, crc) = &*l.borrow();
        (last.as_ptr() == seg.as_ptr() && last.len() == seg.len()).then_some(*crc)
    });
    known.unwrap_or_else(|| {
        let crc = crc32c(u32::MAX, seg);
        remember(seg, crc);
        crc
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_ceph() {
        // Values of src/test/common/test_crc32c.cc.
        assert_eq!(super::crc32c(0, b"foo bar baz"), 4119623852);
        assert_eq!(super::crc32c(1234, b"foo bar baz"), 881700046);
    }
}
