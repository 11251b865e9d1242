//! The rjenkins mixing hash that CRUSH draws with (`crush_hash32_*`, hash type 0), and PG seeds are mixed by.

const SEED: u32 = 1_315_423_911;
const X: u32 = 231_232;
const Y: u32 = 1232;

#[inline(always)]
fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    macro_rules! line {
        ($p:ident, $q:ident, $r:ident, << $s:literal) => {
            *$p = $p.wrapping_sub(*$q).wrapping_sub(*$r) ^ (*$r << $s);
        };
        ($p:ident, $q:ident, $r:ident, >> $s:literal) => {
            *$p = $p.wrapping_sub(*$q).wrapping_sub(*$r) ^ (*$r >> $s);
        };
    }
    line!(a, b, c, >> 13);
    line!(b, c, a, << 8);
    line!(c, a, b, >> 13);
    line!(a, b, c, >> 12);
    line!(b, c, a, << 16);
    line!(c, a, b, >> 5);
    line!(a, b, c, >> 3);
    line!(b, c, a, << 10);
    line!(c, a, b, >> 15);
}

/// Hash of one word.
pub fn hash32(a: u32) -> u32 {
    let mut h = SEED ^ a;
    let (mut a, mut b, mut x, mut y) = (a, a, X, Y);
    mix(&mut b, &mut x, &mut h);
    mix(&mut y, &mut a, &mut h);
    h
}

/// Hash of two words.
#[inline]
pub fn hash32_2(a: u32, b: u32) -> u32 {
    let mut h = SEED ^ a ^ b;
    let (mut a, mut b, mut x, mut y) = (a, b, X, Y);
    mix(&mut a, &mut b, &mut h);
    mix(&mut x, &mut a, &mut h);
    mix(&mut b, &mut y, &mut h);
    h
}

/// Hash of three words.
#[inline]
pub fn hash32_3(a: u32, b: u32, c: u32) -> u32 {
    let mut h = SEED ^ a ^ b ^ c;
    let (mut a, mut b, mut c, mut x, mut y) = (a, b, c, X, Y);
    mix(&mut a, &mut b, &mut h);
    mix(&mut c, &mut x, &mut h);
    mix(&mut y, &mut a, &mut h);
    mix(&mut b, &mut x, &mut h);
    mix(&mut y, &mut c, &mut h);
    h
}

/// Hash of four words.
#[inline]
pub fn hash32_4(a: u32, b: u32, c: u32, d: u32) -> u32 {
    let mut h = SEED ^ a ^ b ^ c ^ d;
    let (mut a, mut b, mut c, mut d, mut x, mut y) = (a, b, c, d, X, Y);
    mix(&mut a, &mut b, &mut h);
    mix(&mut c, &mut d, &mut h);
    mix(&mut a, &mut x, &mut h);
    mix(&mut y, &mut b, &mut h);
    mix(&mut c, &mut x, &mut h);
    mix(&mut y, &mut d, &mut h);
    h
}

/// Hash of five words.
pub fn hash32_5(a: u32, b: u32, c: u32, d: u32, e: u32) -> u32 {
    let mut h = SEED ^ a ^ b ^ c ^ d ^ e;
    let (mut a, mut b, mut c, mut d, mut e, mut x, mut y) = (a, b, c, d, e, X, Y);
    mix(&mut a, &mut b, &mut h);
    mix(&mut c, &mut d, &mut h);
    mix(&mut e, &mut x, &mut h);
    mix(&mut y, &mut a, &mut h);
    mix(&mut b, &mut x, &mut h);
    mix(&mut y, &mut c, &mut h);
    mix(&mut d, &mut x, &mut h);
    mix(&mut y, &mut e, &mut h);
    h
}
