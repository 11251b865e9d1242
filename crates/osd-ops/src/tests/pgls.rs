//! Listing a PG.

use crate::pgls::{ALL_NAMESPACES, PgOpEnv, execute_pg_ops, pg_bounds, split_bits};
use crate::testing::Harness;
use crate::{Limits, ObjectContext};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use messages::{OpCode, OsdOp};
use objstore::{Transaction, TxnOp};
use std::collections::BTreeSet;
use types::{HObject, PgId, SnapId};

fn list(
    h: &Harness,
    nspace: &'static [u8],
    count: u64,
    at: &HObject,
    missing: &BTreeSet<HObject>,
) -> (i32, HObject, Vec<(Bytes, Bytes, Bytes)>) {
    let mut op = OsdOp::new(OpCode::PGNLS).with_data(denc::to_bytes(at, Features::ALL));
    op.set_pgls(count, 1);
    let (pg_begin, pg_end) = pg_bounds(PgId::new(1, 0), 1);
    let limits = Limits::default();
    let env = PgOpEnv {
        store: &h.store,
        coll: h.coll,
        pg_begin,
        pg_end,
        nspace: Bytes::from_static(nspace),
        limits: &limits,
        missing_from: &|o| missing.range(o.clone()..).next().cloned(),
        deleted: &|o| o.name == "gone",
        scrub: None,
    };
    let (result, ops) = execute_pg_ops(&env, &[op]);
    assert!(result >= 0, "{result}");
    let mut outer = Decoder::new(&ops[0].out);
    let (_, mut d) = outer.open("pg_nls_response_t", 1).unwrap();
    let next = d.get().unwrap();
    let n = d.u32().unwrap();
    (result, next, (0..n).map(|_| (d.blob().unwrap(), d.blob().unwrap(), d.blob().unwrap())).collect())
}

fn all(h: &Harness, nspace: &'static [u8], count: u64, missing: &BTreeSet<HObject>) -> Vec<String> {
    let mut at = HObject::MIN;
    let mut names = Vec::new();
    for _ in 0..1000 {
        let (result, next, got) = list(h, nspace, count, &at, missing);
        assert!(got.len() as u64 <= count);
        names.extend(got.into_iter().map(|(_, name, _)| String::from_utf8(name.to_vec()).unwrap()));
        if result == 1 {
            assert_eq!(next, HObject::MAX);
            names.sort();
            return names;
        }
        assert!(next > at);
        at = next;
    }
    panic!("the listing ends");
}

#[test]
fn a_listing_in_pieces_shows_each_head_once() {
    let mut h = Harness::new();
    let mut want: Vec<String> = (0..300).map(|i| format!("obj{i}")).collect();
    for name in &want {
        h.run(name, &[OsdOp::write_full("x".into())]);
    }
    h.snapc.seq = SnapId(1);
    h.snapc.snaps = vec![SnapId(1)];
    for name in &want[..100] {
        h.run(name, &[OsdOp::write(0, "y".into())]);
    }
    h.run("gone", &[OsdOp::write_full("x".into())]);
    let missing = BTreeSet::from([Harness::oid("lost1"), Harness::oid("lost2"), Harness::oid("obj7")]);
    want.extend(["lost1".into(), "lost2".into()]);
    want.sort();
    for count in [1, 3, 7, 100, 1000, u64::MAX] {
        assert_eq!(all(&h, b"", count, &missing), want, "{count} at a time");
    }
    assert_eq!(all(&h, b"other", 10, &BTreeSet::new()), Vec::<String>::new());
}

#[test]
fn namespaces_are_told_apart_and_all_can_be_had() {
    let mut h = Harness::new();
    for (ns, name) in [("", "a"), ("n1", "b"), ("n2", "c"), (".ceph-internal", "d")] {
        let oid = HObject { nspace: ns.into(), ..Harness::oid(name) };
        let info = ObjectContext::absent(oid.clone()).info;
        h.store.apply(&Transaction::from(vec![TxnOp::SetAttr {
            coll: h.coll,
            oid,
            name: "_".into(),
            value: info.to_attr(),
        }]));
    }
    assert_eq!(all(&h, b"", 9, &BTreeSet::new()), ["a"]);
    assert_eq!(all(&h, b"n1", 9, &BTreeSet::new()), ["b"]);
    assert_eq!(all(&h, ALL_NAMESPACES, 9, &BTreeSet::new()), ["a", "b", "c"]);
}

#[test]
fn filters_and_hit_sets_are_refused() {
    let h = Harness::new();
    let limits = Limits::default();
    let (pg_begin, pg_end) = pg_bounds(PgId::new(1, 0), 1);
    let env = PgOpEnv {
        store: &h.store,
        coll: h.coll,
        pg_begin,
        pg_end,
        nspace: Bytes::new(),
        limits: &limits,
        missing_from: &|_| None,
        deleted: &|_| false,
        scrub: None,
    };
    for code in [OpCode::PGLS, OpCode::PGNLS_FILTER, OpCode::PG_HITSET_LS, OpCode::PG_HITSET_GET] {
        assert_eq!(execute_pg_ops(&env, &[OsdOp::new(code)]).0, -95);
    }
    assert_eq!(execute_pg_ops(&env, &[OsdOp::new(OpCode::PGNLS)]).0, -22);
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| e.u32(0));
    assert_eq!(execute_pg_ops(&env, &[OsdOp::new(OpCode::SCRUBLS).with_data(e.finish())]).0, -2);
}

#[test]
fn the_bounds_of_all_pgs_tile_the_pool() {
    for pg_num in [1u32, 2, 3, 5, 8, 12, 33, 64] {
        let mut bounds: Vec<_> = (0..pg_num).map(|s| pg_bounds(PgId::new(1, s), pg_num)).collect();
        bounds.sort();
        assert_eq!(bounds[0].0.hash, 0);
        for w in bounds.windows(2) {
            assert_eq!(w[0].1, w[1].0, "{pg_num}");
        }
        assert_eq!(bounds.last().unwrap().1, HObject::MAX);
    }
    assert_eq!(
        [split_bits(0, 12), split_bits(3, 12), split_bits(4, 12), split_bits(7, 12), split_bits(8, 12)],
        [4, 4, 3, 3, 4]
    );
}
