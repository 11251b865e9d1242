//! Reading of the recorded calls (golden/record.py).
#![allow(dead_code)] // each test uses its part

use bytes::Bytes;

/// Bytes of a field: hex, `-` for none, or runs.
pub fn unhex(s: &str) -> Bytes {
    if s == "-" {
        return Bytes::new();
    }
    if s.contains('*') {
        let run = |r: &str| {
            let (b, n) = r.split_once('*').expect("a run");
            vec![u8::from_str_radix(b, 16).expect("hex"); n.parse().expect("a count")]
        };
        return s.split('.').flat_map(run).collect::<Vec<_>>().into();
    }
    assert!(s.len().is_multiple_of(2), "odd hex: {s}");
    (0..s.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&s[i..i + 2], 16).expect("hex"))
        .collect::<Vec<_>>()
        .into()
}
/// Hex of bytes, `-` for none.
pub fn plain_hex(b: &[u8]) -> String {
    if b.is_empty() { "-".to_owned() } else { b.iter().map(|x| format!("{x:02x}")).collect() }
}
/// zlib's crc, bit by bit.
pub fn crc32(b: &[u8]) -> u32 {
    !b.iter().fold(!0u32, |c, x| {
        (0..8).fold(c ^ u32::from(*x), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// Lengths from which on values and dumps are checksums.
#[derive(Default, Clone, Copy)]
pub struct Limits {
    pub value: usize,
    pub dump: usize,
}

impl Limits {
    /// Hex, or length and checksum.
    pub fn hex(self, b: &[u8]) -> String {
        if b.len() <= self.value { plain_hex(b) } else { format!("~{}:{:08x}", b.len(), crc32(b)) }
    }
}
