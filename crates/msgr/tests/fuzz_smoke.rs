//! The fuzz targets over recorded handshakes: cut, changed and extended, from a fixed seed; and over noise.

mod common;
use common::*;
use msgr::fuzz;
use std::time::Duration;
use types::{EntityName, EntityType};

struct Dice(u64);
impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % below.max(1)
    }
}

fn mutate(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut v = seed.to_vec();
    for _ in 0..dice.next(6) {
        match dice.next(4) {
            0 => v.truncate(dice.next(v.len() + 1)),
            1 if !v.is_empty() => {
                let at = dice.next(v.len());
                v[at] = dice.next(256) as u8;
            }
            2 => {
                let at = dice.next(v.len() + 1);
                v.insert(at, dice.next(256) as u8);
            }
            _ => v.extend((0..dice.next(60)).map(|i| i as u8)),
        }
    }
    v
}

#[test]
fn nothing_panics_on_mutated_handshakes_and_noise() {
    let mut seeds: Vec<Vec<u8>> = vec![Vec::new()];
    for kind in [EntityType::OSD, EntityType::CLIENT] {
        let mut p = Pair::new(EntityName::new(kind, 5), EntityName::new(EntityType::OSD, 1), AuthKind::None);
        let s = p.connect(0);
        (0..4).for_each(|n| p.send(0, s, msg(n)));
        p.settle(Duration::from_secs(1));
        seeds.extend(p.links.iter().flat_map(|l| l.all.clone()));
    }
    let mut v1 = vec![0];
    v1.extend_from_slice(b"ceph v027");
    v1.extend_from_slice(&[0; 136]);
    let mut connect = [0u8; 33];
    connect[..8].copy_from_slice(&types::features::SUPPORTED.to_le_bytes());
    connect[8] = 8;
    connect[20] = 15;
    v1.extend_from_slice(&connect);
    v1.extend_from_slice(&[0; 8]);
    v1.extend_from_slice(&[14, 1, 2, 3, 4, 5, 6, 7, 8]);
    seeds.push(v1);
    let mut dice = Dice(42);
    for _ in 0..4000 {
        let seed = &seeds[dice.next(seeds.len())];
        let bytes = mutate(seed, &mut dice);
        fuzz::fuzz_v2_server(&bytes);
        fuzz::fuzz_v2_client(&bytes);
        fuzz::fuzz_v1_server(&bytes);
        fuzz::fuzz_v1_client(&bytes);
        fuzz::fuzz_frames(&bytes);
    }
}
