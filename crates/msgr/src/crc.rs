//! CRC32C as Ceph runs it: caller's seed, no final inversion.

use bytes::Bytes;
use messages::known_crc;

/// `ceph_crc32c(seed, bytes)`.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// A frame's checksum of a segment.
pub fn of_shared(seg: &Bytes) -> u32 {
    known_crc::recall(seg).unwrap_or_else(|| {
        let crc = crc32c(u32::MAX, seg);
        known_crc::remember(seg, crc);
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
