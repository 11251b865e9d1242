//! Messages captured from a stock 16.2.15 cluster decode, and encode to the same bytes for a peer with its features.
//!
//! They were taken from the loopback interface of clusters with 1 monitor, 1 manager, 1 MDS and 2 or 3 OSDs that ran with
//! every `ms_*_mode = crc`, so that frames are readable: pools and images made and removed, snapshots, watch and notify,
//! an OSD killed, stopped, and marked out, a scrub, full ratios passed.
//!
//! A sample is: u16 type, version, compat; u64 tid; u32 lengths of front, middle, data; then those. Small ones are in
//! `tests/golden`; a whole capture is walked when `LOLIGO_CAPTURE` names a directory.

use bytes::Bytes;
use denc::Features;
use messages::{Message, MsgHeader, kinds, registry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const STOCK: Features = Features(types::features::SUPPORTED);

fn read(path: &Path) -> Message {
    let b = Bytes::from(std::fs::read(path).unwrap());
    let u16_at = |at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes(b[at..at + 4].try_into().unwrap()) as usize;
    let header = MsgHeader {
        kind: u16_at(0),
        version: u16_at(2),
        compat: u16_at(4),
        tid: u64::from_le_bytes(b[6..14].try_into().unwrap()),
        ..MsgHeader::default()
    };
    let (front, middle) = (26 + u32_at(14), 26 + u32_at(14) + u32_at(18));
    assert_eq!(b.len(), middle + u32_at(22));
    Message {
        header,
        front: b.slice(26..front),
        middle: b.slice(front..middle),
        data: b.slice(middle..),
        ..Message::default()
    }
}

fn samples() -> Vec<(PathBuf, Message)> {
    let mut dirs = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")];
    dirs.extend(std::env::var("LOLIGO_CAPTURE").ok().map(PathBuf::from));
    let mut all = Vec::new();
    for dir in dirs {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let msg = read(&path);
            all.push((path, msg));
        }
    }
    all
}

#[test]
fn every_captured_message_encodes_to_itself() {
    let mut seen: BTreeMap<u16, [u32; 3]> = BTreeMap::new();
    let mut bad = 0;
    for (path, msg) in samples() {
        let count = seen.entry(msg.header.kind).or_default();
        match registry::recode(&msg, STOCK) {
            None => count[1] += 1,
            Some(Ok(new)) if (&new.front, &new.middle, &new.data) == (&msg.front, &msg.middle, &msg.data) => {
                // Stock's monitor answers a ping with compat 0.
                assert_eq!(new.header.version, msg.header.version, "{}", path.display());
                assert!(new.header.compat == msg.header.compat || msg.header.kind == kinds::PING);
                count[0] += 1;
            }
            Some(other) => {
                count[2] += 1;
                bad += 1;
                if count[2] == 1 {
                    let what = match other {
                        Err(e) => e.to_string(),
                        Ok(new) => {
                            let at = new.front.iter().zip(&msg.front).position(|(a, b)| a != b);
                            format!(
                                "front {} -> {} bytes, differs at {at:?}",
                                msg.front.len(),
                                new.front.len()
                            )
                        }
                    };
                    println!("{} {}: {what}", kinds::name(msg.header.kind), path.display());
                }
            }
        }
    }
    for (kind, [ok, unknown, bad]) in &seen {
        println!("{kind:#x} {}: {ok} ok, {unknown} not known, {bad} bad", kinds::name(*kind));
    }
    assert_eq!(bad, 0);
    assert!(seen.len() >= 40, "only {} types of message", seen.len());
}

fn golden<P: messages::Payload>(name: &str) -> P {
    read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).decode().unwrap()
}

#[test]
fn what_we_build_ourselves_is_what_stock_builds() {
    let fsmap: messages::MFsMap = golden("002d-0");
    assert_eq!(types::fsmap::FsMap::empty(fsmap.epoch), fsmap.fsmap);
    let boot: messages::MOsdBoot = golden("0047-0");
    assert_eq!(types::superblock::OsdSuperblock::pacific_features(), boot.superblock.compat_features);
    let create: messages::MOsdPgCreate2 = golden("0078-0");
    let extra = create.pg_extra.values().next().unwrap();
    assert_eq!(extra.past_intervals, types::past_intervals::PastIntervals::default());
    let map: messages::MMonMap = golden("0004-0");
    let map = map.decode_map().unwrap();
    assert_eq!(map.persistent_features, types::monmap::MonFeatures::PACIFIC_ALL);
    assert_eq!((map.strategy, map.min_mon_release), (1, 16));
    assert_eq!(golden::<messages::MMgrConfigure>("0701-0").tail, messages::Tail::default());
}

#[test]
fn monitor_maps_inside_messages_encode_to_themselves() {
    let mut seen = 0;
    for (_, msg) in samples().iter().filter(|(_, m)| m.header.kind == kinds::MON_MAP) {
        let got: messages::MMonMap = msg.decode().unwrap();
        let map = got.decode_map().unwrap();
        assert_eq!(map.ranks.len(), map.mons.len());
        assert_eq!(messages::MMonMap::new(&map, STOCK), got);
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn a_message_cut_anywhere_is_an_error_or_decodes_without_panic() {
    for (_, msg) in samples().into_iter().filter(|(_, m)| m.front.len() < 5000) {
        for n in 0..msg.front.len() {
            messages::fuzz::fuzz_decoded(&Message { front: msg.front.slice(..n), ..msg.clone() });
        }
    }
}

#[test]
fn garbage_never_panics() {
    // A small generator of its own, so that a failure repeats.
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    for _ in 0..30_000 {
        let len = (next() % 300) as usize;
        let bytes: Vec<u8> =
            (0..len).map(|_| if next() % 3 == 0 { next() as u8 } else { (next() % 3) as u8 }).collect();
        messages::fuzz::fuzz_message(&bytes);
    }
    let golden = samples();
    for _ in 0..20_000 {
        let (_, msg) = &golden[(next() % golden.len() as u64) as usize];
        let mut front = msg.front.to_vec();
        for _ in 0..1 + next() % 4 {
            if let Some(n) = front.len().checked_sub(1) {
                front[(next() % (n as u64 + 1)) as usize] = next() as u8;
            }
        }
        messages::fuzz::fuzz_decoded(&Message { front: front.into(), ..msg.clone() });
    }
}
