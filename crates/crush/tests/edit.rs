//! Editing and decoding: what stock's own maps must keep, and what hostile bytes must not do.

use bytes::Bytes;
use crush::{CrushError, CrushMap, Location, RuleMode};
use denc::Features;

fn loc(host: &str) -> Location {
    [("host".to_owned(), host.to_owned()), ("root".to_owned(), "default".to_owned())].into()
}

fn sample() -> CrushMap {
    let mut m = CrushMap::new_default(1);
    for osd in 0..6 {
        let host = format!("h{}", osd / 2);
        assert!(m.create_or_move(osd, 0x10000, &format!("osd.{osd}"), &loc(&host)).unwrap());
        m.set_device_class(osd, if osd % 2 == 0 { "hdd" } else { "ssd" }).unwrap();
    }
    m
}

#[test]
fn weights_and_shadow_trees_follow_every_edit() {
    let mut m = sample();
    let root = m.item_id("default").unwrap();
    assert_eq!(m.bucket(root).unwrap().weight, 6 * 0x10000);
    let shadow = m.item_id("default~ssd").unwrap();
    assert_eq!(m.bucket(shadow).unwrap().weight, 3 * 0x10000);
    m.set_item_weight(1, 0x20000).unwrap();
    assert_eq!(m.bucket(root).unwrap().weight, 7 * 0x10000);
    assert_eq!(m.item_id("default~ssd"), Some(shadow), "shadow ids stay");
    assert_eq!(m.bucket(shadow).unwrap().weight, 4 * 0x10000);
    assert!(!m.create_or_move(1, 0x10000, "osd.1", &loc("h0")).unwrap(), "already there");
    assert!(m.create_or_move(1, 0x10000, "osd.1", &loc("h9")).unwrap());
    assert_eq!(m.item_weight(1), Some(0x20000), "a move keeps the weight");
    let rule = m.add_simple_rule("fast", "default", "host", Some("ssd"), RuleMode::Firstn).unwrap();
    for x in 0..200 {
        let osds = m.do_rule(rule, x, 3, &[0x10000; 6], None);
        assert!(osds.iter().all(|o| o % 2 == 1), "{osds:?}");
    }
    let bytes = denc::to_bytes(&m, Features::ALL);
    assert_eq!(CrushMap::from_bytes(&bytes).unwrap(), m);
}

#[test]
fn refused_edits_leave_the_map_alone() {
    let mut m = sample();
    let before = m.clone();
    assert!(matches!(m.set_device_class(0, "ssd"), Err(CrushError::ClassBound { .. })));
    assert!(matches!(m.remove_item(m.item_id("h0").unwrap()), Err(CrushError::NotEmpty(_))));
    assert!(matches!(m.insert_item(7, 1, "osd.1", &loc("h0")), Err(CrushError::NameInUse(_))));
    assert!(matches!(m.insert_item(7, 1, "osd.7", &Location::new()), Err(CrushError::NoPlace)));
    assert!(matches!(m.add_bucket("x y", "host"), Err(CrushError::BadName(_))));
    let root = m.item_id("default").unwrap();
    assert!(m.move_bucket(root, &[("host".to_owned(), "h0".to_owned())].into()).is_err());
    assert_eq!(m, before);
}

#[test]
fn a_cycle_is_refused_when_decoding() {
    let mut m = sample();
    let (root, host) = (m.item_id("default").unwrap(), m.item_id("h0").unwrap());
    let b = m.buckets[(-1 - host) as usize].as_mut().unwrap();
    b.items[0] = root;
    assert!(CrushMap::from_bytes(&denc::to_bytes(&m, Features::ALL)).is_err());
}

#[test]
fn truncated_and_spoiled_maps_do_not_panic() {
    let bytes = denc::to_bytes(&sample(), Features::ALL);
    for n in 0..bytes.len() {
        crush::fuzz::fuzz_crush_map(&bytes[..n]);
    }
    let mut seed = 5u64;
    let mut roll = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    for _ in 0..800 {
        let mut bad = bytes.to_vec();
        for _ in 0..=roll(3) {
            let at = roll(bad.len());
            bad[at] = roll(256) as u8;
        }
        crush::fuzz::fuzz_crush_map(&bad);
    }
}

#[test]
fn stocks_map_with_classes_and_weight_sets_survives_a_rebuild() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/classes.crush");
    let bytes = Bytes::from(std::fs::read(golden).unwrap());
    let mut m = CrushMap::from_bytes(&bytes).unwrap();
    assert_eq!(denc::to_bytes(&m, Features::ALL), bytes);
    assert!(m.class_name.len() == 2 && m.choose_args.len() == 2);
    m.rebuild_classes();
    assert_eq!(denc::to_bytes(&m, Features::ALL), bytes, "the rebuild is stock's");
}

/// Found by the fuzzer: an empty name was read once and could not be read again.
#[test]
fn a_map_with_an_empty_name_is_refused() {
    let bytes = include_bytes!("golden/empty-name.bin");
    crush::fuzz::fuzz_crush_map(bytes);
    assert!(crush::CrushMap::from_bytes(&bytes::Bytes::from_static(bytes)).is_err());
}
