//! Encodings against stock's own bytes.

use crate::copy::{CopyCursor, CopyData};
use crate::fuzz::{fuzz_metadata, fuzz_ops};
use crate::info::{ObjectInfo, SnapSet, WatchInfo};
use crate::interval::IntervalSet;
use bytes::Bytes;
use denc::{Decode, Encode, Features};
use proptest::prelude::*;
use types::{EVersion, EntityAddr, EntityName, HObject, SnapId};

type Golden = (&'static str, &'static [u8]);
macro_rules! golden {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../tests/golden/", $name)))
    };
}
/// Taken from scrub maps of stock 16.2.
const OBJECT_INFOS: &[Golden] = &[
    golden!("object_info_t.ceab6c"),
    golden!("object_info_t.d70d8c"),
    golden!("object_info_t.e92aaf"),
    golden!("object_info_t.eba69a"),
    golden!("object_info_t.f5a451"),
    golden!("object_info_t.f6bd40"),
    golden!("object_info_t.fddafb"),
];
/// Likewise, and from the encoding corpus.
const SNAP_SETS: &[Golden] = &[
    golden!("SnapSet.30e808"),
    golden!("SnapSet.486101"),
    golden!("SnapSet.9b442b"),
    golden!("SnapSet.d70d8c"),
    golden!("SnapSet.eba69a"),
    golden!("SnapSet.f6bd40"),
];

fn every_truncation_fails<T: Decode + std::fmt::Debug>(bytes: &Bytes) {
    for n in 0..bytes.len() {
        assert!(denc::from_bytes_exact::<T>(&bytes.slice(..n)).is_err(), "{n} of {} bytes", bytes.len());
    }
}

fn comes_back<T: Encode + Decode + PartialEq + std::fmt::Debug>(v: &T) {
    let b = denc::to_bytes(v, Features::ALL);
    assert_eq!(&denc::from_bytes_exact::<T>(&b).expect("decodes"), v);
    every_truncation_fails::<T>(&b);
}

#[test]
fn stock_object_infos_come_back_byte_for_byte() {
    for (name, bytes) in OBJECT_INFOS {
        let bytes = Bytes::from_static(bytes);
        let o: ObjectInfo = denc::from_bytes_exact(&bytes).expect(name);
        assert!(!o.soid.name.is_empty() && o.version.version > 0, "{name}");
        assert_eq!(o.to_attr(), bytes, "{name}");
        every_truncation_fails::<ObjectInfo>(&bytes);
    }
}

#[test]
fn stock_snap_sets_come_back_byte_for_byte() {
    for (name, bytes) in SNAP_SETS {
        let bytes = Bytes::from_static(bytes);
        let s: SnapSet = denc::from_bytes_exact(&bytes).expect(name);
        assert_eq!(s.to_attr(), bytes, "{name}");
        every_truncation_fails::<SnapSet>(&bytes);
    }
}

#[test]
fn own_types_come_back() {
    let mut o = ObjectInfo::new(HObject { name: "x".into(), snap: SnapId::HEAD, ..HObject::MIN });
    o.version = EVersion::new(3, 4);
    o.user_version = 9;
    let who = EntityName::client(7);
    o.watchers.insert((5, who), WatchInfo { cookie: 5, timeout_secs: 30, addr: EntityAddr::default() });
    comes_back(&o);
    comes_back(&ObjectInfo { soid: o.soid.at(SnapId(4)), ..o });
    let cursor = CopyCursor { data_offset: 4, omap_offset: "k".into(), ..CopyCursor::default() };
    comes_back(&cursor);
    comes_back(&CopyData { cursor, data: "abc".into(), size: 3, ..CopyData::default() });
}

#[test]
fn a_copys_truncation_is_two_numbers_of_64_bits_and_last_but_the_return_codes() {
    let c = CopyData { truncate_seq: 7, truncate_size: 9, ..CopyData::default() };
    let bytes = denc::to_bytes(&c, Features::ALL);
    let tail = [&7u64.to_le_bytes()[..], &9u64.to_le_bytes(), &0u32.to_le_bytes()].concat();
    assert_eq!(bytes.len(), 107, "an OSD of stock's asserts that it can decode this, and dies");
    assert_eq!(&bytes[bytes.len() - tail.len()..], tail);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_metadata(&data);
        fuzz_ops(&data);
    }

    #[test]
    fn op_heads_with_known_codes_never_panic(
        heads in proptest::collection::vec((0usize..60, any::<[u8; 28]>(), 0u32..40, any::<u32>()), 1..6),
        data in proptest::collection::vec(any::<u8>(), 0..200),
        small in any::<bool>(),
    ) {
        const CODES: [u16; 60] = [
            0x1201, 0x1202, 0x1203, 0x1205, 0x1206, 0x1207, 0x1208, 0x1209, 0x120a, 0x120b, 0x1211, 0x1212, 0x1213,
            0x1214, 0x1219, 0x121d, 0x121e, 0x121f, 0x1220, 0x1301, 0x1302, 0x1303, 0x1401, 0x2201, 0x2202, 0x2203,
            0x2204, 0x2205, 0x2206, 0x2207, 0x2209, 0x220d, 0x220e, 0x220f, 0x2215, 0x2216, 0x2217, 0x2218, 0x221a,
            0x2223, 0x2226, 0x222c, 0x222d, 0x2301, 0x2304, 0x320a, 0x1501, 0x1505, 0x1507, 0x120c, 0x220b, 0x221c,
            0x2224, 0x2227, 0x8220, 0x1204, 0x2208, 0xffff, 0, 0x2302,
        ];
        let mut rest = Bytes::from(data);
        let ops: Vec<_> = heads.into_iter().map(|(code, mut union, len, flags)| {
            if small {
                // Numbers that get past the first checks.
                for (i, b) in union.iter_mut().enumerate() {
                    if i % 8 > 0 { *b = 0; }
                }
            }
            let mut op = messages::OsdOp::new(messages::OpCode(CODES[code]));
            op.union = union;
            op.flags = messages::OpFlags(flags);
            let n = (len as usize).min(rest.len());
            op.data = rest.split_to(n);
            op
        }).collect();
        crate::fuzz::run(&ops);
    }

    #[test]
    fn interval_sets_act_as_sets_of_bytes(ops in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40)) {
        let mut set = IntervalSet::new();
        let mut model = [false; 100];
        let other = IntervalSet::of(10, 25);
        for (insert, off, len) in ops {
            if insert { set.insert(off, len) } else { set.erase(off, len) }
            for b in &mut model[off as usize..(off + len) as usize] { *b = insert; }
            let both = set.intersection(&other);
            for (i, b) in model.iter().enumerate() {
                prop_assert_eq!(set.contains(i as u64, 1), *b);
                prop_assert_eq!(both.contains(i as u64, 1), *b && (10..35).contains(&i));
            }
            prop_assert_eq!(set.size(), model.iter().filter(|b| **b).count() as u64);
            let ranges: Vec<_> = set.iter().collect();
            prop_assert!(ranges.windows(2).all(|w| w[0].0 + w[0].1 < w[1].0));
            comes_back(&set);
        }
    }
}
