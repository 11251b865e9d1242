//! Stock's own encoded maps: decode, encode again, equal bytes; and full(N-1) + inc(N) = full(N).
//!
//! Fixtures are in `tests/golden/osdmap` (from a 16.2.15 cluster: `full.N`, `inc.N`). `LOLIGO_CORPUS` may name a directory
//! with the `OSDMap` and `OSDMap::Incremental` corpora, and `LOLIGO_OSDMAPS` one with more of `full.N`, `inc.N`.

use bytes::Bytes;
use denc::{DencError, Features};
use std::collections::BTreeMap;
use std::path::Path;
use types::{OsdMap, OsdMapIncremental};

const STOCK: Features = Features(types::features::SUPPORTED);

fn files(dir: &Path) -> Vec<(String, Bytes)> {
    let mut out: Vec<_> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|f| f.unwrap())
        .map(|f| (f.file_name().into_string().unwrap(), Bytes::from(std::fs::read(f.path()).unwrap())))
        .collect();
    out.sort();
    out
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()))
}

fn check_chain(dir: &Path) {
    let all: BTreeMap<String, Bytes> = files(dir).into_iter().collect();
    let mut chained = 0;
    for (name, bytes) in &all {
        if let Some(n) = name.strip_prefix("full.") {
            let map: OsdMap = denc::from_bytes_exact(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            let again = map.to_bytes(STOCK);
            assert!(again == *bytes, "{name}: differs at {}", first_difference(&again, bytes));
            assert_eq!(map.epoch.0.to_string(), n);
        }
        if let Some(n) = name.strip_prefix("inc.") {
            let inc: OsdMapIncremental =
                denc::from_bytes_exact(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            let features = Features(inc.encode_features);
            let again = denc::to_bytes(&inc, features);
            assert!(again == *bytes, "{name}: differs at {}", first_difference(&again, bytes));
            let n: u32 = n.parse().unwrap();
            let Some(full) = all.get(&format!("full.{n}")) else { continue };
            let before = match all.get(&format!("full.{}", n - 1)) {
                Some(b) => denc::from_bytes_exact::<OsdMap>(b).unwrap(),
                None if n == 1 => OsdMap::default(),
                None => continue,
            };
            let next = before.with_incremental(&inc).unwrap_or_else(|e| panic!("{name}: {e}"));
            let bytes = next.to_bytes(features);
            if bytes != *full {
                let want: OsdMap = denc::from_bytes_exact(full).unwrap();
                let (got, want) = (format!("{next:#?}"), format!("{want:#?}"));
                let lines = got.lines().zip(want.lines()).filter(|(a, b)| a != b).take(12);
                lines.for_each(|(a, b)| println!("ours {a}\nwant {b}"));
                panic!("full({n}) differs at {}", first_difference(&bytes, full));
            }
            assert_eq!(next.crc_for(features), inc.full_crc, "full_crc of inc {n}");
            chained += 1;
        }
    }
    assert!(chained > 0, "no pair in {}", dir.display());
    println!("{}: {} files, {chained} steps", dir.display(), all.len());
}

#[test]
fn stock_maps_encode_to_their_own_bytes_and_increments_lead_to_them() {
    check_chain(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/osdmap")));
    if let Some(dir) = std::env::var_os("LOLIGO_OSDMAPS") {
        check_chain(Path::new(&dir));
    }
}

#[test]
fn the_object_corpus_encodes_to_its_own_bytes() {
    let Some(dir) = std::env::var_os("LOLIGO_CORPUS") else { return };
    for (name, bytes) in files(&Path::new(&dir).join("OSDMap")) {
        match denc::from_bytes_exact::<OsdMap>(&bytes) {
            Ok(map) => {
                let again = map.to_bytes(Features::ALL);
                let at = first_difference(&again, &bytes);
                println!(
                    "OSDMap {name}: {}",
                    if again == bytes { "same".into() } else { format!("differs at {at}") }
                );
            }
            Err(e @ DencError::TooOld { .. }) => println!("OSDMap {name}: {e}"),
            Err(e) => println!("OSDMap {name}: FAILED {e}"),
        }
    }
    for (name, bytes) in files(&Path::new(&dir).join("OSDMap::Incremental")) {
        match denc::from_bytes_exact::<OsdMapIncremental>(&bytes) {
            Ok(inc) => {
                let again = denc::to_bytes(&inc, Features(inc.encode_features));
                let at = first_difference(&again, &bytes);
                println!(
                    "Incremental {name}: {}",
                    if again == bytes { "same".into() } else { format!("differs at {at}") }
                );
            }
            Err(e) => println!("Incremental {name}: FAILED {e}"),
        }
    }
}

/// Found by the fuzzer: a small incremental must not make a map of a hundred MiB.
#[test]
fn more_osds_than_a_cluster_can_have_are_refused() {
    let mut map = types::osdmap::OsdMap::default();
    let mut inc = types::osdmap::OsdMapIncremental::after(&map, types::Utime::ZERO);
    inc.new_max_osd = Some(types::osdmap::OSDS_MAX + 1);
    assert!(map.apply_incremental(&inc).is_err());
}
