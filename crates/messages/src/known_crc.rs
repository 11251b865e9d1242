//! The checksum of bulk data that somebody here has just verified or computed: whoever sends the same bytes on need not go
//! over them again.

use bytes::Bytes;
use std::cell::RefCell;

/// Shorter data is checksummed again: that is faster than to remember it.
pub const SHARED_BYTES_MIN: usize = 64 << 10;

thread_local! {
    /// The big piece that was checked, read or sent last, with its checksum. It is held, so that nothing else can come to lie
    /// where it lies.
    static LAST: RefCell<(Bytes, u32)> = const { RefCell::new((Bytes::new(), 0)) };
}

/// Notes the CRC32C (seed -1, as frames carry it) of `data`.
pub fn remember(data: &Bytes, crc: u32) {
    if data.len() >= SHARED_BYTES_MIN {
        LAST.with(|l| *l.borrow_mut() = (data.clone(), crc));
    }
}

/// The checksum, when exactly these bytes in memory are what was noted last.
pub fn recall(data: &Bytes) -> Option<u32> {
    LAST.with(|l| {
        let (last, crc) = &*l.borrow();
        let same = !data.is_empty() && last.as_ptr() == data.as_ptr() && last.len() == data.len();
        same.then_some(*crc)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_bytes_are_known() {
        let data = Bytes::from(vec![1; SHARED_BYTES_MIN + 1]);
        remember(&data, 7);
        assert_eq!(recall(&data), Some(7));
        assert_eq!(recall(&data.clone()), Some(7));
        assert_eq!(recall(&data.slice(1..)), None);
        assert_eq!(recall(&Bytes::from(vec![1; SHARED_BYTES_MIN + 1])), None);
        remember(&Bytes::from_static(b"short"), 8);
        assert_eq!(recall(&data), Some(7));
        assert_eq!(recall(&Bytes::new()), None);
    }
}
