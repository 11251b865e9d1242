//! Every op's answers and effects, and what a vector promises as a whole.

use crate::copy::{CopyData, CopyFetch, CopyProgress};
use crate::testing::Harness;
use crate::{OpOutcome, PoolFull, info::oi_flag};
use bytes::Bytes;
use denc::{Encoder, Features};
use messages::{Extent, OpCode, OpFlags, OsdFlags, OsdOp};
use std::collections::BTreeMap;
use types::{ObjectLocator, PoolId, SnapContext, SnapId};

const ENOENT: i32 = -2;
const EEXIST: i32 = -17;
const EINVAL: i32 = -22;
const EFBIG: i32 = -27;

fn enc(f: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new(Features::ALL);
    f(&mut e);
    e.finish()
}
fn op(code: OpCode) -> OsdOp {
    OsdOp::new(code)
}
fn with(code: OpCode, f: impl FnOnce(&mut Encoder)) -> OsdOp {
    OsdOp::new(code).with_data(enc(f))
}
fn extent(code: OpCode, off: u64, len: u64) -> OsdOp {
    OsdOp::extent_op(code, off, len, Bytes::new())
}
fn write(off: u64, s: &'static str) -> OsdOp {
    OsdOp::write(off, s.into())
}
fn full(s: &'static str) -> OsdOp {
    OsdOp::write_full(s.into())
}
fn omap_set(pairs: &[(&str, &str)]) -> OsdOp {
    let m: BTreeMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    with(OpCode::OMAP_SET_VALS, |e| e.put(&m))
}
fn omap_vals(after: &str, max: u64, prefix: &str) -> OsdOp {
    with(OpCode::OMAP_GET_VALS, |e| {
        e.put(after);
        e.u64(max);
        e.put(prefix);
    })
}
fn vals(b: &Bytes) -> (Vec<(String, String)>, bool) {
    let mut d = denc::Decoder::new(b);
    let m: BTreeMap<String, String> = d.get().unwrap();
    let more = d.bool().unwrap();
    d.expect_end("vals").unwrap();
    (m.into_iter().collect(), more)
}
fn setxattr(name: &str, value: &str) -> OsdOp {
    OsdOp::xattr_op(OpCode::SETXATTR, name.as_bytes(), value.as_bytes(), (0, 0))
}
fn getxattr(name: &str) -> OsdOp {
    OsdOp::xattr_op(OpCode::GETXATTR, name.as_bytes(), b"", (0, 0))
}
fn ok(o: &OpOutcome) {
    assert_eq!(o.result, 0, "{:?}", o.ops);
}
/// Content as a client reads it.
fn content(h: &mut Harness, name: &str) -> Bytes {
    let o = h.run(name, &[OsdOp::read(0, 0)]);
    ok(&o);
    o.ops[0].out.clone()
}

#[test]
fn reads_of_an_absent_object_are_enoent() {
    let mut h = Harness::new();
    for o in [OsdOp::read(0, 0), op(OpCode::STAT), getxattr("a"), op(OpCode::GETXATTRS), omap_vals("", 9, "")]
    {
        assert_eq!(h.run("o", &[o]).result, ENOENT);
    }
    assert!(h.objects().is_empty());
}

#[test]
fn writes_read_back_with_size_mtime_and_versions() {
    let mut h = Harness::new();
    let o = h.run("o", &[write(3, "abc")]);
    ok(&o);
    assert!(o.write && o.log.len() == 1 && o.user_version == 1);
    assert_eq!(content(&mut h, "o"), &b"\0\0\0abc"[..]);
    let o = h.run("o", &[op(OpCode::STAT)]);
    assert_eq!(
        o.ops[0].out,
        enc(|e| {
            e.u64(6);
            e.put(&h.now);
        })
    );
    assert_eq!((o.user_version, h.stats.num_bytes, h.stats.num_objects), (1, 6, 1));
    ok(&h.run("o", &[OsdOp::extent_op(OpCode::APPEND, 0, 2, "de".into())]));
    assert_eq!(content(&mut h, "o"), &b"\0\0\0abcde"[..]);
    ok(&h.run("o", &[full("xy")]));
    assert_eq!(content(&mut h, "o"), "xy");
    ok(&h.run("o", &[extent(OpCode::TRUNCATE, 5, 0)]));
    assert_eq!(content(&mut h, "o"), &b"xy\0\0\0"[..]);
    assert_eq!(h.stats.num_bytes, 5);
    let r = h.run("o", &[OsdOp::read(1, 1), OsdOp::read(1, 100), OsdOp::read(9, 1)]);
    assert_eq!([&r.ops[0].out[..], &r.ops[1].out, &r.ops[2].out], [&b"y"[..], b"y\0\0\0", b""]);
}

#[test]
fn a_length_that_is_not_the_datas_is_einval_and_too_big_is_efbig() {
    let mut h = Harness::new();
    assert_eq!(h.run("o", &[OsdOp::extent_op(OpCode::WRITE, 0, 5, "ab".into())]).result, EINVAL);
    assert_eq!(h.run("o", &[OsdOp::extent_op(OpCode::WRITEFULL, 0, 5, "ab".into())]).result, EINVAL);
    assert_eq!(h.run("o", &[write(128 << 20, "a")]).result, EFBIG);
    assert_eq!(h.run("o", &[write(u64::MAX, "a")]).result, EFBIG);
    assert_eq!(h.run("o", &[write((128 << 20) - 1, "ab")]).result, EFBIG);
    ok(&h.run("p", &[full("a")]));
    assert_eq!(h.run("p", &[extent(OpCode::TRUNCATE, 129 << 20, 0)]).result, EFBIG);
    assert_eq!(h.run("p", &[extent(OpCode::ZERO, 0, 129 << 20)]).result, EFBIG);
    assert_eq!(h.objects().len(), 1);
}

#[test]
fn zero_keeps_the_size_inside_and_cuts_at_the_end() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("abcdef")]));
    ok(&h.run("o", &[extent(OpCode::ZERO, 1, 2)]));
    assert_eq!(content(&mut h, "o"), &b"a\0\0def"[..]);
    let o = h.run("o", &[extent(OpCode::ZERO, 50, 2)]);
    assert!(o.result == 0 && !o.write && o.log_error_only);
    ok(&h.run("o", &[extent(OpCode::ZERO, 4, 20)]));
    assert_eq!(content(&mut h, "o"), &b"a\0\0d"[..]);
    let o = h.run("absent", &[extent(OpCode::ZERO, 0, 2)]);
    assert!(o.result == 0 && !o.write);
}

#[test]
fn create_and_delete_answer_as_clients_rely_on() {
    let mut h = Harness::new();
    assert_eq!(h.run("o", &[op(OpCode::DELETE)]).result, ENOENT);
    let excl = op(OpCode::CREATE).with_flags(OpFlags::EXCL);
    ok(&h.run("o", std::slice::from_ref(&excl)));
    assert_eq!(h.run("o", std::slice::from_ref(&excl)).result, EEXIST);
    ok(&h.run("o", &[op(OpCode::CREATE)]));
    ok(&h.run("o", &[op(OpCode::DELETE)]));
    assert!(h.objects().is_empty());
    assert_eq!((h.stats.num_objects, h.stats.num_bytes, h.stats.num_objects_dirty), (0, 0, 0));
}

#[test]
fn a_failed_op_undoes_the_whole_vector() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("abc")]));
    let before = h.store.clone();
    let o = h.run(
        "o",
        &[write(0, "x"), setxattr("a", "b"), op(OpCode::CREATE).with_flags(OpFlags::EXCL), write(1, "y")],
    );
    assert_eq!(o.result, EEXIST);
    assert_eq!(o.ops.iter().map(|r| r.rval).collect::<Vec<_>>(), [0, 0, EEXIST, 0]);
    assert!(o.log_error_only && !o.write && h.store == before);
    // With failok the vector goes on.
    let failok = op(OpCode::CREATE).with_flags(OpFlags::EXCL | OpFlags::FAILOK);
    let o = h.run("o", &[failok, write(1, "y")]);
    assert_eq!((o.result, o.ops[0].rval), (0, EEXIST));
    assert_eq!(content(&mut h, "o"), "ayc");
}

#[test]
fn later_ops_of_a_vector_see_earlier_ones() {
    let mut h = Harness::new();
    h.flags = OsdFlags::RETURNVEC;
    ok(&h.run("o", &[full("abcdef"), omap_set(&[("k1", "v1"), ("k3", "v3")]), setxattr("x", "1")]));
    let o = h.run(
        "o",
        &[
            write(1, "XY"),
            OsdOp::read(0, 0),
            extent(OpCode::TRUNCATE, 4, 0),
            OsdOp::read(0, 0),
            write(6, "!"),
            OsdOp::read(0, 0),
            omap_set(&[("k2", "v2"), ("k3", "new")]),
            omap_vals("", 10, ""),
            with(OpCode::OMAP_RM_KEYS, |e| e.put(&vec!["k1".to_owned()])),
            omap_vals("", 1, ""),
            setxattr("x", "2"),
            getxattr("x"),
            OsdOp::xattr_op(OpCode::RMXATTR, b"x", b"", (0, 0)),
        ],
    );
    ok(&o);
    assert_eq!(&o.ops[1].out[..], b"aXYdef");
    assert_eq!(&o.ops[3].out[..], b"aXYd");
    assert_eq!(&o.ops[5].out[..], b"aXYd\0\0!");
    let s = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(vals(&o.ops[7].out), (vec![s("k1", "v1"), s("k2", "v2"), s("k3", "new")], false));
    assert_eq!(vals(&o.ops[9].out), (vec![s("k2", "v2")], true));
    assert_eq!(&o.ops[11].out[..], b"2");
    let o = h.run("o", &[getxattr("x")]);
    assert_eq!(o.result, -61);
    let o = h.run("o", &[op(OpCode::DELETE), write(0, "new"), OsdOp::read(0, 0), omap_vals("", 10, "")]);
    ok(&o);
    assert_eq!(&o.ops[2].out[..], b"new");
    assert_eq!(vals(&o.ops[3].out), (vec![], false));
    assert_eq!(content(&mut h, "o"), "new");
}

#[test]
fn writes_answer_no_data_unless_asked_and_then_little() {
    let mut h = Harness::new();
    let o = h.run("o", &[write(0, "abc"), OsdOp::read(0, 0)]);
    assert!(o.result == 0 && o.ops[1].out.is_empty());
    h.flags = OsdFlags::RETURNVEC;
    let o = h.run("o", &[write(0, "abc"), OsdOp::read(0, 0)]);
    assert_eq!(&o.ops[1].out[..], b"abc");
    let o = h.run("o", &[OsdOp::write_full(vec![1; 65].into()), OsdOp::read(0, 0)]);
    assert_eq!(o.result, -75);
}

#[test]
fn xattrs_have_limits_and_a_map_of_all() {
    let mut h = Harness::new();
    ok(&h.run("o", &[setxattr("lock.x", "1"), setxattr("b", "2")]));
    let o = h.run("o", &[op(OpCode::GETXATTRS)]);
    let m: BTreeMap<String, String> = denc::from_bytes_exact(&o.ops[0].out).unwrap();
    assert_eq!(m.into_iter().collect::<Vec<_>>(), [("b".into(), "2".into()), ("lock.x".into(), "1".into())]);
    assert_eq!(h.run("o", &[setxattr(&"n".repeat(101), "1")]).result, -36);
    h.limits.attr_size_max = 4;
    assert_eq!(h.run("o", &[setxattr("n", "12345")]).result, EFBIG);
    assert_eq!(h.run("none", &[OsdOp::xattr_op(OpCode::RMXATTR, b"x", b"", (0, 0))]).result, ENOENT);
    let mut bad = setxattr("n", "1");
    bad.data.truncate(1);
    assert_eq!(h.run("o", &[bad]).result, EINVAL);
}

#[test]
fn cmpxattr_compares_strings_and_numbers() {
    let mut h = Harness::new();
    ok(&h.run("o", &[setxattr("s", "mm"), setxattr("n", "10")]));
    // (op, value, mode 1) against "mm": the given value is on the left.
    for (cmp, value, holds) in [
        (1, "mm", true),
        (1, "m", false),
        (2, "m", true),
        (3, "z", true),
        (3, "a", false),
        (4, "mm", true),
        (5, "a", true),
        (6, "z", false),
    ] {
        let r = h.run("o", &[OsdOp::xattr_op(OpCode::CMPXATTR, b"s", value.as_bytes(), (cmp, 1))]);
        assert_eq!(r.result, if holds { 1 } else { -125 }, "{cmp} {value}");
    }
    for (cmp, value, holds) in
        [(1, 10u64, true), (2, 10, false), (3, 11, true), (4, 10, true), (5, 9, true), (6, 11, false)]
    {
        let r = h.run("o", &[OsdOp::xattr_op(OpCode::CMPXATTR, b"n", &value.to_le_bytes(), (cmp, 2))]);
        assert_eq!(r.result, if holds { 1 } else { -125 }, "{cmp} {value}");
    }
    assert_eq!(h.run("o", &[OsdOp::xattr_op(OpCode::CMPXATTR, b"n", b"", (1, 7))]).result, EINVAL);
    // An absent value is the empty one; as a guard it stops the vector.
    let o = h.run("o", &[OsdOp::xattr_op(OpCode::CMPXATTR, b"none", b"x", (1, 1)), full("no")]);
    assert!(o.result == -125 && !o.write);
    let o = h.run("o", &[OsdOp::xattr_op(OpCode::CMPXATTR, b"none", b"", (1, 1)), full("yes")]);
    assert!(o.result == 0 && o.write);
}

#[test]
fn cmpext_names_the_first_difference() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("abcdef")]));
    let cmp = |off, s: &'static str| OsdOp::extent_op(OpCode::CMPEXT, off, s.len() as u64, s.into());
    assert_eq!(h.run("o", &[cmp(1, "bcd")]).result, 0);
    assert_eq!(h.run("o", &[cmp(1, "bXd")]).result, -4096);
    // Behind the end there are zeros.
    assert_eq!(h.run("o", &[cmp(4, "ef\0")]).result, 0);
    assert_eq!(h.run("o", &[cmp(4, "efg")]).result, -4097);
    let o = h.run("o", &[cmp(0, "b"), full("no")]);
    assert!(o.result == -4095 && !o.write);
}

#[test]
fn omap_ops_page_filter_and_remove() {
    let mut h = Harness::new();
    ok(&h.run(
        "o",
        &[
            omap_set(&[("a1", "1"), ("b1", "2"), ("b2", "3"), ("c1", "4")]),
            op(OpCode::OMAP_SET_HEADER).with_data("head".into()),
        ],
    ));
    let s = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let get = |h: &mut Harness, o: OsdOp| h.run("o", &[o]).ops[0].out.clone();
    assert_eq!(vals(&get(&mut h, omap_vals("", 9, "b"))), (vec![s("b1", "2"), s("b2", "3")], false));
    assert_eq!(vals(&get(&mut h, omap_vals("b1", 9, "b"))), (vec![s("b2", "3")], false));
    assert_eq!(vals(&get(&mut h, omap_vals("", 1, "b"))), (vec![s("b1", "2")], true));
    assert_eq!(vals(&get(&mut h, omap_vals("a1", 2, ""))), (vec![s("b1", "2"), s("b2", "3")], true));
    assert_eq!(get(&mut h, op(OpCode::OMAP_GET_HEADER)), "head");
    let keys = with(OpCode::OMAP_GET_KEYS, |e| {
        e.put("a1");
        e.u64(100);
    });
    assert_eq!(
        get(&mut h, keys),
        enc(|e| {
            e.put(&vec!["b1".to_owned(), "b2".to_owned(), "c1".to_owned()]);
            e.bool(false);
        })
    );
    let by_keys = with(OpCode::OMAP_GET_VALS_BY_KEYS, |e| e.put(&vec!["b2".to_owned(), "zz".to_owned()]));
    assert_eq!(get(&mut h, by_keys), enc(|e| e.put(&BTreeMap::from([s("b2", "3")]))));
    h.limits.omap_entries_per_request_max = 2;
    assert!(vals(&get(&mut h, omap_vals("", 99, ""))).1);
    let range = with(OpCode::OMAP_RM_RANGE, |e| {
        e.put("b");
        e.put("b2");
    });
    ok(&h.run("o", &[range]));
    assert_eq!(vals(&get(&mut h, omap_vals("a1", 9, ""))), (vec![s("b2", "3"), s("c1", "4")], false));
    let cmp = |k: &str, v: &str, c: i32| {
        with(OpCode::OMAP_CMP, |e| e.put(&BTreeMap::from([(k.to_owned(), (v.to_owned(), c))])))
    };
    assert_eq!(h.run("o", &[cmp("c1", "4", 1)]).result, 0);
    assert_eq!(h.run("o", &[cmp("c1", "5", 1)]).result, -125);
    assert_eq!(h.run("o", &[cmp("c1", "3", 3)]).result, 0);
    assert_eq!(h.run("o", &[cmp("c1", "3", 2)]).result, EINVAL);
    assert_eq!(h.stats.num_objects_omap, 1);
    ok(&h.run("o", &[op(OpCode::OMAP_CLEAR)]));
    assert_eq!(h.stats.num_objects_omap, 0);
    assert_eq!(vals(&get(&mut h, omap_vals("", 9, ""))), (vec![], false));
    assert_eq!(h.run("none", &[op(OpCode::OMAP_CLEAR)]).result, ENOENT);
    assert_eq!(h.run("none", &[with(OpCode::OMAP_RM_KEYS, |e| e.put(&vec!["b".to_owned()]))]).result, ENOENT);
    assert_eq!(h.run("o", &[op(OpCode::OMAP_SET_VALS).with_data("x".into())]).result, EINVAL);
}

#[test]
fn sparse_read_skips_holes_and_mapext_lists_them() {
    let mut h = Harness::new();
    ok(&h.run("o", &[write(4, "ab"), write(10, "c")]));
    let o = h.run("o", &[extent(OpCode::SPARSE_READ, 0, 100), extent(OpCode::MAPEXT, 5, 100)]);
    assert_eq!(
        o.ops[0].out,
        enc(|e| {
            e.put(&BTreeMap::from([(4u64, 2u64), (10, 1)]));
            e.blob(b"abc");
        })
    );
    assert_eq!(o.ops[1].out, enc(|e| e.put(&BTreeMap::from([(5u64, 1u64), (10, 1)]))));
}

#[test]
fn writesame_repeats_its_pattern() {
    let mut h = Harness::new();
    let ws = |off: u64, len: u64, data_len: u64, s: &'static str| {
        let mut o = OsdOp::new(OpCode::WRITESAME).with_data(s.into());
        o.union[..8].copy_from_slice(&off.to_le_bytes());
        o.union[8..16].copy_from_slice(&len.to_le_bytes());
        o.union[16..24].copy_from_slice(&data_len.to_le_bytes());
        o
    };
    ok(&h.run("o", &[ws(1, 6, 3, "abc")]));
    assert_eq!(content(&mut h, "o"), &b"\0abcabc"[..]);
    assert_eq!(h.run("o", &[ws(0, 7, 3, "abc")]).result, EINVAL);
    assert_eq!(h.run("o", &[ws(0, 8, 4, "abc")]).result, EINVAL);
    assert_eq!(h.run("o", &[ws(0, 1 << 40, 1, "a")]).result, EFBIG);
}

#[test]
fn truncate_sequences_order_writes_and_truncations() {
    let mut h = Harness::new();
    let x = |code, offset, length, truncate_seq, truncate_size, data: &'static str| {
        let mut o = OsdOp::new(code).with_data(data.into());
        o.set_extent(Extent { offset, length, truncate_size, truncate_seq });
        o
    };
    ok(&h.run("o", &[full("abcdefgh")]));
    // A read by a client that knows of a truncation that has not arrived.
    assert_eq!(h.run("o", &[x(OpCode::READ, 0, 8, 3, 4, "")]).ops[0].out, "abcd");
    // A write that overtook its truncation truncates first.
    ok(&h.run("o", &[x(OpCode::WRITE, 0, 1, 3, 4, "X")]));
    assert_eq!(content(&mut h, "o"), "Xbcd");
    // An old write does not grow the object again.
    ok(&h.run("o", &[x(OpCode::WRITE, 2, 4, 2, 0, "MNOP")]));
    assert_eq!(content(&mut h, "o"), "XbMN");
    // The truncation itself, late, is done already; a newer one works.
    ok(&h.run("o", &[x(OpCode::TRUNCATE, 1, 0, 3, 1, "")]));
    assert_eq!(content(&mut h, "o"), "XbMN");
    ok(&h.run("o", &[x(OpCode::TRUNCATE, 1, 0, 4, 1, "")]));
    assert_eq!(content(&mut h, "o"), "X");
    assert_eq!(h.run("o", &[x(OpCode::TRUNCATE, 1, 0, 5, 2, "")]).result, EINVAL);
}

#[test]
fn assert_version_guards() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("a")]));
    let ver = |v| {
        let mut o = op(OpCode::ASSERT_VER);
        o.set_assert_ver(v);
        o
    };
    assert_eq!(h.run("o", &[ver(1)]).result, 0);
    assert_eq!(h.run("o", &[ver(2)]).result, -75);
    assert_eq!(h.run("o", &[ver(0)]).result, EINVAL);
    ok(&h.run("o", &[full("b")]));
    assert_eq!(h.run("o", &[ver(1)]).result, -34);
}

#[test]
fn an_alloc_hint_creates_the_object_and_is_remembered() {
    let mut h = Harness::new();
    let mut hint = op(OpCode::SET_ALLOC_HINT).with_flags(OpFlags::FAILOK);
    hint.set_alloc_hint(messages::AllocHint { object_size: 4 << 20, write_size: 4096, flags: 1 });
    let o = h.run("o", &[hint, write(0, "a")]);
    ok(&o);
    let info = &o.new_ctx.unwrap().info;
    assert_eq!((info.expected_object_size, info.alloc_hint_flags, info.size), (4 << 20, 1, 1));
    assert!(info.has(oi_flag::DIRTY));
}

#[test]
fn unknown_ops_are_eopnotsupp() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("a")]));
    for code in [0x1503, 0x220b, 0x2227, 0x1204, 0x2208] {
        assert_eq!(h.run("o", &[OsdOp::new(OpCode(code))]).result, -95, "{code:x}");
    }
    assert_eq!(h.run("o", &[OsdOp::call("nope", "m", b"")]).result, -95);
    assert_eq!(
        h.run("dir", &[full(""), OsdOp::new(OpCode::TMAPUP).with_data("r\x01\0\0\0x".into())]).result,
        ENOENT
    );
}

#[test]
fn full_pools_refuse_growth_and_take_deletes() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("abc")]));
    h.full = PoolFull::Quota;
    assert!(h.run("o", &[write(3, "d")]).drop_full);
    h.flags = OsdFlags::FULL_TRY;
    assert_eq!(h.run("o", &[write(3, "d")]).result, -122);
    h.full = PoolFull::NoSpace;
    assert_eq!(h.run("p", &[full("d")]).result, -28);
    ok(&h.run("o", &[write(0, "x")]));
    h.flags = OsdFlags::FULL_FORCE;
    ok(&h.run("o", &[write(3, "d")]));
    h.flags = OsdFlags(0);
    ok(&h.run("o", &[op(OpCode::DELETE)]));
}

#[test]
fn writes_at_a_snapshot_and_with_bad_contexts_are_einval() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("a")]));
    assert_eq!(h.run_at("o", SnapId(5), &[full("b")]).result, EINVAL);
    h.snapc = SnapContext { seq: SnapId(2), snaps: vec![SnapId(1), SnapId(2)] };
    assert_eq!(h.run("o", &[full("b")]).result, EINVAL);
    h.snapc = SnapContext { seq: SnapId(4), snaps: vec![SnapId(4)] };
    ok(&h.run("o", &[full("b")]));
    h.snapc = SnapContext { seq: SnapId(3), snaps: vec![] };
    h.flags = OsdFlags::ORDERSNAP;
    assert_eq!(h.run("o", &[full("c")]).result, -85);
}

#[test]
fn copy_from_takes_data_xattrs_and_omap() {
    let mut h = Harness::new();
    ok(&h.run(
        "src",
        &[
            full("payload"),
            setxattr("a", "b"),
            omap_set(&[("k", "v"), ("l", "w")]),
            op(OpCode::OMAP_SET_HEADER).with_data("hd".into()),
        ],
    ));
    // By hand, in small pieces.
    let mut whole = CopyData::default();
    while !whole.cursor.is_complete() {
        let get = with(OpCode::COPY_GET, |e| {
            e.put(&whole.cursor);
            e.u64(9);
        });
        let o = h.run("src", &[get]);
        ok(&o);
        let part: CopyData = denc::from_bytes_exact(&o.ops[0].out).unwrap();
        whole.absorb(part, o.user_version).unwrap();
    }
    let from = || {
        with(OpCode::COPY_FROM, |e| {
            e.put("src");
            e.put(&ObjectLocator::pool(PoolId(1)));
        })
    };
    let mut from_op = from();
    from_op.union[..8].copy_from_slice(&SnapId::HEAD.0.to_le_bytes());
    assert_eq!(h.run("src", std::slice::from_ref(&from_op)).result, EINVAL);
    ok(&h.run("dst", &[full("a longer old content"), setxattr("old", "1")]));
    let o = h.run("dst", std::slice::from_ref(&from_op));
    assert!(!o.write && o.copy_from.len() == 1 && o.copy_from[0].src_name == "src");
    // As the PG does it.
    let mut fetch = CopyFetch::new(o.copy_from[0].clone());
    let fetched = loop {
        let ops = fetch.ops();
        let o = h.run("src", &ops);
        match fetch.on_reply(o.result, &o.ops.last().unwrap().out, o.user_version) {
            CopyProgress::More => {}
            CopyProgress::Done(r) => break *r,
        }
    };
    assert_eq!(fetched.result.as_ref().map(|c| (&c.data, &c.attrs)), Ok((&whole.data, &whole.attrs)));
    h.copies = vec![fetched];
    ok(&h.run("dst", std::slice::from_ref(&from_op)));
    h.copies = vec![crate::CopyResult { op_index: 0, result: Err(types::Errno::ENOENT) }];
    assert_eq!(h.run("dst", &[from_op]).result, ENOENT);
    assert_eq!(content(&mut h, "dst"), "payload");
    let o = h.run("dst", &[op(OpCode::GETXATTRS), omap_vals("", 9, ""), op(OpCode::OMAP_GET_HEADER)]);
    assert_eq!(denc::from_bytes::<BTreeMap<String, String>>(&o.ops[0].out).unwrap().len(), 1);
    assert_eq!(vals(&o.ops[1].out).0.len(), 2);
    assert_eq!(o.ops[2].out, "hd");
    assert_eq!(o.user_version, whole.user_version);
    assert_eq!(h.stats.num_bytes, 14);
}

#[test]
fn checksums_are_cephs_crc32c() {
    let mut h = Harness::new();
    ok(&h.run("o", &[full("123456789123456789")]));
    let mut o = with(OpCode::CHECKSUM, |e| e.u32(u32::MAX));
    o.union[8..16].copy_from_slice(&18u64.to_le_bytes());
    o.union[16..20].copy_from_slice(&9u32.to_le_bytes());
    o.union[20] = 2;
    let r = h.run("o", &[o]);
    let one = !0xe306_9283u32;
    assert_eq!(r.ops[0].out, enc(|e| e.put(&vec![one, one])));
}

#[test]
fn a_small_overwrite_makes_two_store_ops() {
    let mut h = Harness::new();
    ok(&h.run("o", &[OsdOp::write_full(vec![1; 8192].into())]));
    let data = Bytes::from(vec![7u8; 4096]);
    let o = h.run("o", &[OsdOp::write(4096, data.clone())]);
    assert_eq!(o.txn.ops.len(), 2, "the data and the info: {:?}", o.txn.ops.len());
    let objstore::TxnOp::Write { data: stored, .. } = &o.txn.ops[0] else { panic!("the write comes first") };
    assert_eq!(stored.as_ptr(), data.as_ptr(), "the payload is shared");
}
