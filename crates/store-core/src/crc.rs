//! Checksums of runs of units, put together from those of the units: whoever sends what was just verified need not go over
//! the bytes again.

use crate::device::UNIT_BYTES;
use std::sync::OnceLock;

/// What a CRC becomes when a unit follows: linear in its bits, so a table for each of its bytes says all.
struct UnitShift([[u32; 256]; 4]);

impl UnitShift {
    fn new() -> UnitShift {
        let mut t = [[0; 256]; 4];
        for (i, table) in t.iter_mut().enumerate() {
            for bit in 0..8 {
                table[1 << bit] = crc32c::crc32c_combine(1 << (8 * i + bit), 0, UNIT_BYTES as usize);
            }
            for n in 1..256usize {
                let low = n & n.wrapping_neg();
                table[n] = table[low] ^ table[n & !low];
            }
        }
        UnitShift(t)
    }
    fn apply(&self, crc: u32) -> u32 {
        let b = crc.to_le_bytes();
        (0..4).fold(0, |sum, i| sum ^ self.0[i][b[i] as usize])
    }
}

fn shift() -> &'static UnitShift {
    static SHIFT: OnceLock<UnitShift> = OnceLock::new();
    SHIFT.get_or_init(UnitShift::new)
}

/// CRC-32C of units back to back, from their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunCrc(u32);

impl RunCrc {
    /// One more unit behind.
    pub fn push(&mut self, unit_crc: u32) {
        self.0 = shift().apply(self.0) ^ unit_crc;
    }
    /// The checksum of all.
    pub fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up_to_the_whole() {
        let unit = UNIT_BYTES as usize;
        let all: Vec<u8> =
            (0..9 * unit as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for n in 0..=9 {
            let mut sum = RunCrc::default();
            for u in all[..n * unit].chunks(unit) {
                sum.push(crc32c::crc32c(u));
            }
            assert_eq!(sum.get(), crc32c::crc32c(&all[..n * unit]), "{n} units");
        }
    }
}
