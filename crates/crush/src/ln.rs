//! Fixed-point `2^44 * log2(x + 1)` for 16-bit draws (`crush_ln`); straw2's exponential draws are built on it.

use crate::ln_table::{LH, LL};

/// ceil(2^48 / (1 + k/128)) for k in 0..=128.
const RH: [u64; 129] = {
    let mut t = [0u64; 129];
    let mut k = 0;
    while k <= 128 {
        t[k] = (1u64 << 55).div_ceil(128 + k as u64);
        k += 1;
    }
    t
};

/// `2^44 * log2(draw + 1)`, in the approximation that all Ceph peers share. `draw` is below 2^16.
#[inline]
pub(crate) fn crush_ln(draw: u32) -> u64 {
    let mut x = (draw & 0xffff) + 1;
    let mut exponent = 15u64;
    if x & 0x18000 == 0 {
        let bits = x.leading_zeros() - 16;
        x <<= bits;
        exponent -= u64::from(bits);
    }
    let k = (x >> 8) as usize - 128;
    let low = (u64::from(x).wrapping_mul(RH[k]) >> 48) & 0xff;
    (exponent << 44) + ((LH[k] + LL[low as usize]) >> 4)
}

/// The draw of an item: larger wins. `weight` must not be 0.
#[inline]
pub(crate) fn exponential_draw(hash: u32, weight: u32) -> i64 {
    let ln = crush_ln(hash & 0xffff) as i64 - (1i64 << 48);
    ln / i64::from(weight)
}
