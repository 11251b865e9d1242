//! A vector does what its ops do one by one: the overlay that later ops read through against the real store.

use super::snaps::check_metadata;
use crate::testing::Harness;
use bytes::Bytes;
use denc::{Encoder, Features};
use messages::{OpCode, OpFlags, OsdFlags, OsdOp};
use objstore::ObjectStore;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use types::SnapId;

fn enc(f: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new(Features::ALL);
    f(&mut e);
    e.finish()
}
fn with(code: OpCode, data: Bytes) -> OsdOp {
    OsdOp::new(code).with_data(data)
}
fn key(k: u8) -> String {
    format!("k{k}")
}

fn ops() -> impl Strategy<Value = OsdOp> {
    let off = 0u64..40;
    let len = 1u64..25;
    let k = 0u8..6;
    let x = |code, off, len| OsdOp::extent_op(code, off, len, Bytes::new());
    prop_oneof![
        3 => (off.clone(), len.clone(), any::<u8>()).prop_map(|(o, l, v)| OsdOp::write(o, vec![v; l as usize].into())),
        1 => (0usize..30, any::<u8>()).prop_map(|(l, v)| OsdOp::write_full(vec![v; l].into())),
        1 => (len.clone(), any::<u8>()).prop_map(|(l, v)| OsdOp::extent_op(OpCode::APPEND, 0, l, vec![v; l as usize].into())),
        1 => (off.clone(), len.clone()).prop_map(move |(o, l)| x(OpCode::ZERO, o, l)),
        1 => off.clone().prop_map(move |o| x(OpCode::TRUNCATE, o, 0)),
        3 => (off.clone(), 0u64..40).prop_map(|(o, l)| OsdOp::read(o, l)),
        2 => (off.clone(), 0u64..40).prop_map(move |(o, l)| x(OpCode::SPARSE_READ, o, l)),
        1 => Just(OsdOp::new(OpCode::STAT)),
        1 => Just(OsdOp::new(OpCode::DELETE)),
        1 => any::<bool>().prop_map(|excl| {
            OsdOp::new(OpCode::CREATE).with_flags(if excl { OpFlags::EXCL } else { OpFlags::default() })
        }),
        2 => proptest::collection::btree_map(k.clone().prop_map(key), "[a-c]{0,3}", 1..4)
            .prop_map(|m: BTreeMap<String, String>| with(OpCode::OMAP_SET_VALS, enc(|e| e.put(&m)))),
        1 => proptest::collection::btree_set(k.clone().prop_map(key), 1..3)
            .prop_map(|s: BTreeSet<String>| with(OpCode::OMAP_RM_KEYS, enc(|e| e.put(&s)))),
        1 => (k.clone(), k.clone()).prop_map(|(a, b)| with(OpCode::OMAP_RM_RANGE, enc(|e| {
            e.put(&key(a));
            e.put(&key(b));
        }))),
        1 => Just(OsdOp::new(OpCode::OMAP_CLEAR)),
        1 => "[a-z]{0,4}".prop_map(|s: String| with(OpCode::OMAP_SET_HEADER, s.into())),
        1 => Just(OsdOp::new(OpCode::OMAP_GET_HEADER)),
        3 => (k.clone(), 0u64..5, prop_oneof![Just(String::new()), k.clone().prop_map(key), Just("k".to_owned())]).prop_map(|(a, max, prefix)| {
            with(OpCode::OMAP_GET_VALS, enc(|e| {
                e.put(if a == 0 { "" } else { &*key(a).leak() });
                e.u64(max);
                e.put(&prefix);
            }))
        }),
        1 => (k.clone(), 0u64..5).prop_map(|(a, max)| with(OpCode::OMAP_GET_KEYS, enc(|e| {
            e.put(&key(a));
            e.u64(max);
        }))),
        1 => proptest::collection::btree_set(k.clone().prop_map(key), 1..4)
            .prop_map(|s: BTreeSet<String>| with(OpCode::OMAP_GET_VALS_BY_KEYS, enc(|e| e.put(&s)))),
        1 => (k.clone(), any::<u8>()).prop_map(|(n, v)| OsdOp::xattr_op(OpCode::SETXATTR, key(n).as_bytes(), &[v], (0, 0))),
        1 => k.clone().prop_map(|n| OsdOp::xattr_op(OpCode::RMXATTR, key(n).as_bytes(), b"", (0, 0))),
        1 => k.prop_map(|n| OsdOp::xattr_op(OpCode::GETXATTR, key(n).as_bytes(), b"", (0, 0))),
        1 => Just(OsdOp::new(OpCode::GETXATTRS)),
        1 => Just({
            let mut o = OsdOp::new(OpCode::ROLLBACK);
            o.set_snap(SnapId(1));
            o
        }),
    ]
}

/// An object with some of everything, and a clone of an older state.
fn start() -> Harness {
    let mut h = Harness { flags: OsdFlags::RETURNVEC, ..Harness::default() };
    h.limits.write_op_reply_len_max = 1 << 20;
    let fill = |h: &mut Harness, n: u8| {
        let m: BTreeMap<String, String> = (n..n + 4).map(|i| (key(i), n.to_string())).collect();
        let o = h.run(
            "o",
            &[
                OsdOp::write(u64::from(n), vec![n + 65; 20].into()),
                with(OpCode::OMAP_SET_VALS, enc(|e| e.put(&m))),
                OsdOp::xattr_op(OpCode::SETXATTR, key(n).as_bytes(), b"v", (0, 0)),
            ],
        );
        assert_eq!(o.result, 0);
    };
    fill(&mut h, 0);
    h.snapc.seq = SnapId(1);
    h.snapc.snaps = vec![SnapId(1)];
    fill(&mut h, 2);
    h
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn a_vector_does_what_its_ops_do_one_by_one(ops in proptest::collection::vec(ops(), 1..14)) {
        // Zeroing behind the end does nothing, but makes the vector a writing one, so that reads of absence are not refused early.
        let nop = || OsdOp::extent_op(OpCode::ZERO, 1 << 20, 1, Bytes::new());
        let ops: Vec<OsdOp> = ops.into_iter().map(|o| { let f = o.flags | OpFlags::FAILOK; o.with_flags(f) }).collect();
        let (mut one, mut all) = (start(), start());
        let mut vector = ops.clone();
        vector.push(nop());
        let whole = all.run("o", &vector);
        prop_assert_eq!(whole.result, 0);
        for (i, op) in ops.iter().enumerate() {
            let o = one.run("o", &[op.clone(), nop()]);
            prop_assert_eq!(o.result, 0);
            // The mtime in a stat is the last write's, which a vector has only at its end.
            if op.code == OpCode::STAT {
                prop_assert_eq!(o.ops[0].out.get(..8), whole.ops[i].out.get(..8), "op {} {:?}", i, op);
            } else {
                prop_assert_eq!(&o.ops[0], &whole.ops[i], "op {} {:?}", i, op);
            }
        }
        check_metadata(&one);
        check_metadata(&all);
        prop_assert_eq!(one.objects(), all.objects());
        for oid in one.objects() {
            prop_assert_eq!(one.content(&oid), all.content(&oid));
            prop_assert_eq!(one.store.omap_list(one.coll, &oid, None, 99), all.store.omap_list(all.coll, &oid, None, 99));
            prop_assert_eq!(one.store.omap_header(one.coll, &oid), all.store.omap_header(all.coll, &oid));
            let attrs = |h: &Harness| -> Vec<_> {
                h.store.getattrs(h.coll, &oid).unwrap().into_iter().filter(|(k, _)| k.len() > 1 && k[0] == b'_').collect()
            };
            prop_assert_eq!(attrs(&one), attrs(&all));
        }
        prop_assert_eq!(one.stats.num_bytes, all.stats.num_bytes);
    }
}
