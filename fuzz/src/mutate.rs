//! Seeded choices and mutations of bytes. The same seed and samples make the same inputs.

/// No input gets longer than this.
pub const INPUT_MAX: usize = 64 << 10;

/// A small seeded generator (xorshift64*).
#[derive(Debug, Clone)]
pub struct Dice(u64);
impl Dice {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.roll() >> 11) % (bound.max(1) as u64)) as usize
    }
}

/// Numbers at which code tends to break.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x10_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

fn put(data: &mut [u8], at: usize, width: usize, value: u64) {
    let bytes = value.to_le_bytes();
    for (i, b) in bytes.iter().take(width).enumerate() {
        if let Some(x) = data.get_mut(at + i) {
            *x = *b;
        }
    }
}

fn get(data: &[u8], at: usize, width: usize) -> u64 {
    (0..width).map(|i| u64::from(data.get(at + i).copied().unwrap_or(0)) << (8 * i)).sum()
}

/// Changes `data` in one to eight places; `other` is a second sample to take pieces from.
pub fn mutate(data: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..1 + dice.below(4) * dice.below(3) {
        step(data, other, dice);
    }
    data.truncate(INPUT_MAX);
}

fn step(data: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let width = [1, 2, 4, 4, 8][dice.below(5)];
    let kind = dice.below(12);
    if data.is_empty() && kind < 9 {
        data.extend((0..1 + dice.below(64)).map(|_| 0u8));
    }
    let at = dice.below(data.len());
    match kind {
        0 | 1 => data[at] ^= 1 << dice.below(8),
        2 => put(data, at, 1, dice.roll()),
        3 | 4 => put(data, at, width, EDGES[dice.below(EDGES.len())]),
        // Lengths and counts: a little more or less than they were.
        5 | 6 => {
            let near = get(data, at, width).wrapping_add(dice.below(9) as u64).wrapping_sub(4);
            put(data, at, width, near);
        }
        // A length that is about what remains.
        7 => {
            let rest = (data.len() - at) as u64;
            put(data, at, width, rest.wrapping_sub(dice.below(12) as u64));
        }
        8 => data.truncate(at),
        9 => {
            let end = (at + 1 + dice.below(16)).min(data.len());
            data.drain(at.min(end)..end);
        }
        10 => {
            let fill = [0u8, 0xff, dice.roll() as u8][dice.below(3)];
            let many = if dice.below(16) == 0 { 4096 } else { 16 };
            let piece = vec![fill; 1 + dice.below(many)];
            data.splice(at..at, piece);
        }
        _ => {
            let from = dice.below(other.len());
            let end = (from + 1 + dice.below(64)).min(other.len());
            let piece = other[from.min(end)..end].to_vec();
            if dice.below(2) == 0 {
                data.splice(at..at, piece);
            } else {
                data.truncate(at);
                data.extend(piece);
                data.extend(&other[end..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_none_is_too_long() {
        let run = |seed| {
            let mut dice = Dice::new(seed);
            let mut data = vec![1, 2, 3, 4, 5, 6, 7, 8];
            for _ in 0..5_000 {
                mutate(&mut data, b"another sample", &mut dice);
                assert!(data.len() <= INPUT_MAX);
            }
            data
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
