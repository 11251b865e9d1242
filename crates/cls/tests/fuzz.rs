//! Hostile input for every method, made from a fixed seed and from recorded calls.

mod common;

use bytes::Bytes;
use cls::mem::{Content, MemObject};

/// A small generator (splitmix64).
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn byte(&mut self) -> u8 {
        // Small numbers, all ones and zeros get further than noise.
        match self.below(4) {
            0 => 0,
            1 => self.below(8) as u8,
            2 => 0xff,
            _ => self.next() as u8,
        }
    }
}

#[test]
fn random_calls_on_random_objects_only_answer() {
    let mut rng = Rng(1);
    for _ in 0..20_000 {
        let n = rng.below(300) as usize;
        let data: Vec<u8> = (0..n).map(|_| rng.byte()).collect();
        cls::fuzz::fuzz_methods(&data);
    }
}

#[test]
fn recorded_calls_with_changed_or_cut_input_only_answer() {
    let mut rng = Rng(2);
    let mut objects = std::collections::BTreeMap::<&str, MemObject>::new();
    for line in include_str!("golden/calls.txt").lines() {
        let w: Vec<&str> = line.split(' ').collect();
        let ["call", o, class, method, input, ..] = w[..] else { continue };
        let input = common::unhex(input);
        if input.len() > 1000 {
            continue;
        }
        let input = input.to_vec();
        let object = objects
            .entry(o)
            .or_insert_with(|| MemObject { content: Some(Content::default()), ..MemObject::default() });
        let mut tried = object.clone();
        for cut in 0..input.len() {
            let _ = tried.run(class, method, &Bytes::copy_from_slice(&input[..cut]));
            let mut changed = input.clone();
            changed[cut] = rng.byte();
            let _ = tried.run(class, method, &Bytes::from(changed));
        }
        let _ = object.run(class, method, &Bytes::from(input));
    }
}

/// A whole map of that count, with a footer of checksums.
fn resized(count: u64, state: u8) -> MemObject {
    let mut o = MemObject::default();
    let mut input = count.to_le_bytes().to_vec();
    input.push(state);
    o.run("rbd", "object_map_resize", &input.into()).expect("a count that is allowed");
    o
}

#[test]
fn an_object_map_does_what_a_plain_vector_does() {
    let mut rng = Rng(3);
    for round in 0..40 {
        let mut plain: Vec<u8> = Vec::new();
        let mut o = resized(0, 0);
        for _ in 0..40 {
            match rng.below(4) {
                0 => {
                    let (n, state) = (rng.below(if round < 20 { 70 } else { 40_000 }), rng.below(4) as u8);
                    let mut input = n.to_le_bytes().to_vec();
                    input.push(state);
                    let ok = o.run("rbd", "object_map_resize", &input.into()).is_ok();
                    let may = plain.iter().skip(n as usize).all(|s| *s == state);
                    assert_eq!(ok, may);
                    if may {
                        plain.resize(n as usize, state);
                    }
                }
                1 => {
                    o.run("rbd", "object_map_snap_add", &Bytes::new()).expect("a sound map");
                    plain.iter_mut().filter(|s| **s == 1).for_each(|s| *s = 3);
                }
                _ => {
                    let len = plain.len() as u64 + 2;
                    let (a, b, new) = (rng.below(len), rng.below(len), rng.below(4) as u8);
                    let old = if rng.below(2) == 0 { None } else { Some(rng.below(4) as u8) };
                    let mut input = [a.to_le_bytes(), b.to_le_bytes()].concat();
                    input.push(new);
                    match old {
                        None => input.push(0),
                        Some(s) => input.extend([1, s]),
                    }
                    let ok = o.run("rbd", "object_map_update", &input.into()).is_ok();
                    assert_eq!(ok, a < b && b <= plain.len() as u64, "{a}..{b} of {}", plain.len());
                    if ok {
                        for s in &mut plain[a as usize..b as usize] {
                            if old.is_none_or(|w| w == *s || (w == 1 && *s == 3)) {
                                *s = new;
                            }
                        }
                    }
                }
            }
            let loaded = o.run("rbd", "object_map_load", &Bytes::new()).expect("checksums hold");
            let stored: Vec<u8> =
                (0..plain.len()).map(|i| loaded[18 + i / 4] >> (6 - 2 * (i % 4)) & 3).collect();
            assert!(stored == plain, "round {round}");
        }
    }
}

#[test]
fn an_object_map_of_the_largest_count_is_taken_and_one_more_is_not() {
    let mut o = MemObject::default();
    let mut input = 256_000_001u64.to_le_bytes().to_vec();
    input.push(1);
    assert!(o.run("rbd", "object_map_resize", &input.into()).is_err());
    // A header that promises a huge map, without one.
    let mut lie = vec![14, 0, 0, 0, 1, 1, 8, 0, 0, 0];
    lie.extend_from_slice(&256_000_000u64.to_le_bytes());
    for method in ["object_map_save", "object_map_snap_remove"] {
        assert!(o.run("rbd", method, &Bytes::from(lie.clone())).is_err());
    }
    o.content = Some(Content { data: lie, ..Content::default() });
    for method in ["object_map_load", "object_map_snap_add", "object_map_update"] {
        let input = [0u64.to_le_bytes(), 2u64.to_le_bytes(), [2, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert!(o.run("rbd", method, &input.into()).is_err(), "{method}");
    }
}
