//! Snapshots: clones, overlaps, whiteouts, rollback and trimming, by hand and against naive copies.

use crate::snap::SnapMapper;
use crate::testing::Harness;
use crate::{LogKind, StatsDelta, load_object_context};
use bytes::Bytes;
use denc::{Encoder, Features};
use messages::{OpCode, OsdOp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use types::{SnapContext, SnapId};

const ENOENT: i32 = -2;

fn full(s: &'static str) -> OsdOp {
    OsdOp::write_full(s.into())
}
fn del() -> OsdOp {
    OsdOp::new(OpCode::DELETE)
}
fn rollback(snap: u64) -> OsdOp {
    let mut o = OsdOp::new(OpCode::ROLLBACK);
    o.set_snap(SnapId(snap));
    o
}
fn read_at(h: &mut Harness, name: &str, snap: u64) -> Result<Bytes, i32> {
    let o = h.run_at(name, SnapId(snap), &[OsdOp::read(0, 0)]);
    if o.result < 0 { Err(o.result) } else { Ok(o.ops[0].out.clone()) }
}
fn head(h: &mut Harness, name: &str) -> Result<Bytes, i32> {
    read_at(h, name, SnapId::HEAD.0)
}
fn snap(h: &mut Harness, id: u64) {
    h.snapc.seq = SnapId(id);
    h.snapc.snaps.insert(0, SnapId(id));
}
fn unsnap(h: &mut Harness, id: u64) {
    h.snapc.snaps.retain(|s| s.0 != id);
    h.trim(SnapId(id), &|s| s.0 == id);
}

#[test]
fn the_first_write_after_a_snapshot_clones() {
    let mut h = Harness::new();
    assert_eq!(h.run("o", &[full("one")]).result, 0);
    snap(&mut h, 2);
    assert_eq!(read_at(&mut h, "o", 2), Ok("one".into()), "the head serves a snapshot until it is written");
    let o = h.run("o", &[OsdOp::write(0, "T".into())]);
    assert_eq!(o.log.iter().map(|e| e.kind).collect::<Vec<_>>(), [LogKind::Clone, LogKind::Modify]);
    assert_eq!((o.log[0].version.version, o.log[1].version.version), (2, 3));
    assert_eq!(o.log[0].snaps, [SnapId(2)]);
    assert_eq!(head(&mut h, "o"), Ok("Tne".into()));
    assert_eq!(read_at(&mut h, "o", 2), Ok("one".into()));
    assert_eq!(read_at(&mut h, "o", 1), Err(ENOENT), "older than the clone's snaps");
    assert!(h.run("o", &[OsdOp::write(1, "W".into())]).new_clone.is_none(), "only the first");
    let ss = load_object_context(&h.store, h.coll, &Harness::oid("o")).unwrap().snapset;
    assert_eq!(ss.clone_overlap[&SnapId(2)].iter().collect::<Vec<_>>(), [(2, 1)]);
    assert_eq!(h.stats.num_bytes, 3 + 2);
}

#[test]
fn list_snaps_tells_clones_oldest_first_and_the_head() {
    let mut h = Harness::new();
    h.run("o", &[full("abc")]);
    snap(&mut h, 3);
    snap(&mut h, 4);
    h.run("o", &[full("defg")]);
    let o = h.run_at("o", SnapId::SNAPDIR, &[OsdOp::new(OpCode::LIST_SNAPS)]);
    assert_eq!(o.result, 0);
    let mut e = Encoder::new(Features::ALL);
    e.versioned(2, 1, |e| {
        e.u32(2);
        e.versioned(1, 1, |e| {
            e.u64(4);
            e.put(&vec![3u64, 4]);
            e.u32(0);
            e.u64(3);
        });
        e.versioned(1, 1, |e| {
            e.u64(SnapId::HEAD.0);
            e.u32(0);
            e.u32(0);
            e.u64(4);
        });
        e.u64(4);
    });
    assert_eq!(o.ops[0].out, e.finish());
}

#[test]
fn deleting_a_head_with_snapshots_leaves_a_whiteout_until_the_last_trim() {
    let mut h = Harness::new();
    h.run("o", &[full("abc")]);
    snap(&mut h, 1);
    let o = h.run("o", &[del()]);
    assert!(o.result == 0 && o.new_ctx.as_ref().unwrap().info.is_whiteout());
    assert_eq!(h.run("o", &[del()]).result, ENOENT);
    assert_eq!(head(&mut h, "o"), Err(ENOENT));
    assert_eq!(h.run("o", &[OsdOp::new(OpCode::STAT)]).result, ENOENT);
    assert_eq!(read_at(&mut h, "o", 1), Ok("abc".into()));
    assert_eq!((h.stats.num_whiteouts, h.objects().len()), (1, 2));
    // It comes back to life, empty.
    h.run("o", &[OsdOp::write(1, "z".into())]);
    assert_eq!(head(&mut h, "o"), Ok(Bytes::from_static(b"\0z")));
    h.run("o", &[del()]);
    unsnap(&mut h, 1);
    assert!(h.objects().is_empty());
    assert_eq!(
        h.stats,
        StatsDelta {
            num_rd: h.stats.num_rd,
            num_rd_kb: h.stats.num_rd_kb,
            num_wr: h.stats.num_wr,
            num_wr_kb: h.stats.num_wr_kb,
            ..StatsDelta::default()
        }
    );
}

#[test]
fn a_clone_of_two_snapshots_survives_the_trim_of_one() {
    let mut h = Harness::new();
    h.run("o", &[full("abc")]);
    snap(&mut h, 1);
    snap(&mut h, 2);
    h.run("o", &[full("new")]);
    unsnap(&mut h, 2);
    assert_eq!(read_at(&mut h, "o", 1), Ok("abc".into()));
    assert_eq!(SnapMapper::new(h.coll).snaps_after(&h.store, SnapId(0), 9).unwrap(), [SnapId(1)]);
    unsnap(&mut h, 1);
    assert_eq!(h.objects().len(), 1);
    assert_eq!(head(&mut h, "o"), Ok("new".into()));
    assert!(SnapMapper::new(h.coll).snaps_after(&h.store, SnapId(0), 9).unwrap().is_empty());
}

#[test]
fn rollback_restores_data_xattrs_and_omap_and_can_be_rolled_forward() {
    let mut h = Harness::new();
    let set = |s: &str| {
        let mut e = Encoder::new(Features::ALL);
        e.put(&BTreeMap::from([("k".to_owned(), s.to_owned())]));
        OsdOp::new(OpCode::OMAP_SET_VALS).with_data(e.finish())
    };
    let xattr = |v: &str| OsdOp::xattr_op(OpCode::SETXATTR, b"x", v.as_bytes(), (0, 0));
    h.run("o", &[full("old"), set("1"), xattr("a")]);
    snap(&mut h, 1);
    h.run("o", &[full("newer"), set("2"), xattr("b")]);
    snap(&mut h, 2);
    assert_eq!(h.run("o", &[rollback(1)]).result, 0);
    let o = h.run("o", &[OsdOp::read(0, 0), OsdOp::xattr_op(OpCode::GETXATTR, b"x", b"", (0, 0))]);
    assert_eq!((&o.ops[0].out[..], &o.ops[1].out[..]), (&b"old"[..], &b"a"[..]));
    assert_eq!(read_at(&mut h, "o", 2), Ok("newer".into()));
    assert_eq!(h.run("o", &[rollback(2)]).result, 0);
    assert_eq!(head(&mut h, "o"), Ok("newer".into()));
    // To a snapshot before the object was there: it goes.
    let mut g = Harness::new();
    snap(&mut g, 1);
    g.run("o", &[full("x")]);
    assert_eq!(g.run("o", &[rollback(1)]).result, 0);
    assert_eq!(head(&mut g, "o"), Err(ENOENT));
}

#[test]
fn a_split_moves_index_entries() {
    let mut h = Harness::new();
    h.run("a", &[full("1")]);
    h.run("b", &[full("2")]);
    snap(&mut h, 1);
    h.run("a", &[full("3")]);
    h.run("b", &[full("4")]);
    let to = objstore::CollId::Pg(types::SpgId::replicated(types::PgId::new(1, 1)));
    h.store.apply(&objstore::Transaction::from(vec![objstore::TxnOp::CreateColl { coll: to }]));
    let txn = SnapMapper::new(h.coll).split(&h.store, to, &|o| o.name == "b").unwrap();
    h.store.apply(&txn);
    let of = |coll| SnapMapper::new(coll).next_objects_to_trim(&h.store, SnapId(1), 9).unwrap();
    assert_eq!(of(h.coll), [Harness::oid("a").at(SnapId(1))]);
    assert_eq!(of(to), [Harness::oid("b").at(SnapId(1))]);
    assert_eq!(
        SnapMapper::new(to).snaps_of(&h.store, &Harness::oid("b").at(SnapId(1))),
        Ok(Some(vec![SnapId(1)]))
    );
}

#[derive(Clone, Debug)]
enum Act {
    Write(u8, u64, u8, u8),
    Full(u8, u8, u8),
    Truncate(u8, u64),
    Zero(u8, u64, u64),
    Omap(u8, u8, u8),
    Delete(u8),
    DeleteAndWrite(u8, u64, u8),
    Snap,
    Unsnap(u8),
    Rollback(u8, u8),
    WriteAndRollback(u8, u8, u64),
}

fn acts() -> impl Strategy<Value = Act> {
    let o = 0u8..2;
    prop_oneof![
        4 => (o.clone(), 0u64..40, 1u8..20, any::<u8>()).prop_map(|(o, a, l, v)| Act::Write(o, a, l, v)),
        1 => (o.clone(), 0u8..40, any::<u8>()).prop_map(|(o, l, v)| Act::Full(o, l, v)),
        1 => (o.clone(), 0u64..50).prop_map(|(o, s)| Act::Truncate(o, s)),
        1 => (o.clone(), 0u64..40, 1u64..20).prop_map(|(o, a, l)| Act::Zero(o, a, l)),
        1 => (o.clone(), 0u8..4, any::<u8>()).prop_map(|(o, k, v)| Act::Omap(o, k, v)),
        1 => o.clone().prop_map(Act::Delete),
        1 => (o.clone(), 0u64..20, any::<u8>()).prop_map(|(o, a, v)| Act::DeleteAndWrite(o, a, v)),
        3 => Just(Act::Snap),
        2 => any::<u8>().prop_map(Act::Unsnap),
        2 => (o.clone(), any::<u8>()).prop_map(|(o, s)| Act::Rollback(o, s)),
        1 => (o, any::<u8>(), 0u64..40).prop_map(|(o, s, a)| Act::WriteAndRollback(o, s, a)),
    ]
}

/// An object in the naive model: its bytes and omap.
type Plain = (Vec<u8>, BTreeMap<String, String>);
type World = BTreeMap<String, Plain>;

fn poke(data: &mut Vec<u8>, off: u64, bytes: &[u8]) {
    let end = off as usize + bytes.len();
    if data.len() < end {
        data.resize(end, 0);
    }
    data[off as usize..end].copy_from_slice(bytes);
}

fn check(h: &mut Harness, now: &World, snaps: &BTreeMap<u64, World>) {
    for name in ["a", "b"] {
        let mut views: Vec<(u64, Option<&Plain>)> = snaps.iter().map(|(s, w)| (*s, w.get(name))).collect();
        views.push((SnapId::HEAD.0, now.get(name)));
        for (snap, want) in views {
            let mut e = Encoder::new(Features::ALL);
            e.put("");
            e.u64(100);
            e.put("");
            let vals = OsdOp::new(OpCode::OMAP_GET_VALS).with_data(e.finish());
            let o = h.run_at(name, SnapId(snap), &[OsdOp::read(0, 0), vals, OsdOp::new(OpCode::STAT)]);
            match want {
                None => assert_eq!(o.result, ENOENT, "{name} at {snap}"),
                Some((data, omap)) => {
                    assert_eq!(o.result, 0, "{name} at {snap}");
                    assert_eq!(&o.ops[0].out[..], &data[..], "{name} at {snap}");
                    let got: BTreeMap<String, String> = denc::from_bytes(&o.ops[1].out).unwrap();
                    assert_eq!(&got, omap, "{name} at {snap}");
                    assert_eq!(o.ops[2].out[..8], (data.len() as u64).to_le_bytes());
                }
            }
        }
    }
    check_metadata(h);
}

/// Overlaps tell the truth, and the statistics are what a count would find.
pub(super) fn check_metadata(h: &Harness) {
    let mut sum = StatsDelta::default();
    for oid in h.objects() {
        let ctx = load_object_context(&h.store, h.coll, &oid).unwrap();
        sum.num_objects += 1;
        sum.num_objects_omap += i64::from(ctx.info.has(crate::info::oi_flag::OMAP));
        sum.num_objects_dirty += i64::from(ctx.info.has(crate::info::oi_flag::DIRTY));
        assert_eq!(h.content(&oid).unwrap().len() as u64, ctx.info.size, "{oid}");
        if !oid.is_head() {
            sum.num_object_clones += 1;
            assert!(ctx.snapset.clones.contains(&oid.snap), "{oid} is in the snap set");
            assert_eq!(ctx.snapset.clone_size[&oid.snap], ctx.info.size);
            let snaps = SnapMapper::new(h.coll).snaps_of(&h.store, &oid).unwrap();
            assert_eq!(snaps.as_ref(), ctx.snapset.clone_snaps.get(&oid.snap), "{oid} in the index");
            continue;
        }
        sum.num_whiteouts += i64::from(ctx.info.is_whiteout());
        sum.num_bytes += ctx.info.size as i64;
        let ss = &ctx.snapset;
        for (i, c) in ss.clones.iter().enumerate() {
            sum.num_bytes += ss.clone_bytes(*c) as i64;
            let own = h.content(&oid.at(*c)).expect("every clone of the snap set is there");
            let newer = match ss.clones.get(i + 1) {
                Some(n) => h.content(&oid.at(*n)).unwrap(),
                None => h.content(&oid).unwrap(),
            };
            for (off, len) in ss.clone_overlap[c].iter() {
                let r = off as usize..(off + len) as usize;
                assert_eq!(own.get(r.clone()), newer.get(r), "{oid} clone {c} overlap {off}~{len}");
            }
        }
    }
    let counted = StatsDelta { num_rd: 0, num_rd_kb: 0, num_wr: 0, num_wr_kb: 0, ..h.stats };
    assert_eq!(counted, sum);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn snapshots_are_what_naive_copies_are(acts in proptest::collection::vec(acts(), 1..40)) {
        let mut h = Harness::new();
        let mut now = World::new();
        let mut snaps: BTreeMap<u64, World> = BTreeMap::new();
        let mut next = 1u64;
        let name = |o: u8| if o == 0 { "a" } else { "b" };
        let pick = |snaps: &BTreeMap<u64, World>, n: u8| snaps.keys().nth(usize::from(n) % snaps.len().max(1)).copied();
        for act in acts {
            match act {
                Act::Write(o, off, len, v) => {
                    let bytes = vec![v; len.into()];
                    assert_eq!(h.run(name(o), &[OsdOp::write(off, bytes.clone().into())]).result, 0);
                    poke(&mut now.entry(name(o).into()).or_default().0, off, &bytes);
                }
                Act::Full(o, len, v) => {
                    let bytes = vec![v; len.into()];
                    assert_eq!(h.run(name(o), &[OsdOp::write_full(bytes.clone().into())]).result, 0);
                    now.entry(name(o).into()).or_default().0 = bytes;
                }
                Act::Truncate(o, size) => {
                    assert_eq!(h.run(name(o), &[OsdOp::extent_op(OpCode::TRUNCATE, size, 0, Bytes::new())]).result, 0);
                    if let Some(p) = now.get_mut(name(o)) { p.0.resize(size as usize, 0); }
                }
                Act::Zero(o, off, len) => {
                    assert_eq!(h.run(name(o), &[OsdOp::extent_op(OpCode::ZERO, off, len, Bytes::new())]).result, 0);
                    if let Some(p) = now.get_mut(name(o)) {
                        let size = p.0.len() as u64;
                        if off + len >= size { p.0.truncate(off as usize); } else { p.0[off as usize..(off + len) as usize].fill(0); }
                    }
                }
                Act::Omap(o, k, v) => {
                    let pair = (format!("k{k}"), v.to_string());
                    let mut e = Encoder::new(Features::ALL);
                    e.put(&BTreeMap::from([pair.clone()]));
                    assert_eq!(h.run(name(o), &[OsdOp::new(OpCode::OMAP_SET_VALS).with_data(e.finish())]).result, 0);
                    now.entry(name(o).into()).or_default().1.insert(pair.0, pair.1);
                }
                Act::Delete(o) => {
                    let want = if now.remove(name(o)).is_some() { 0 } else { ENOENT };
                    assert_eq!(h.run(name(o), &[del()]).result, want);
                }
                Act::DeleteAndWrite(o, off, v) => {
                    let want = if now.contains_key(name(o)) { 0 } else { ENOENT };
                    assert_eq!(h.run(name(o), &[del(), OsdOp::write(off, vec![v; 3].into())]).result, want);
                    if want == 0 {
                        let mut p = Plain::default();
                        poke(&mut p.0, off, &[v; 3]);
                        now.insert(name(o).into(), p);
                    }
                }
                Act::Snap => {
                    snap(&mut h, next);
                    snaps.insert(next, now.clone());
                    next += 1;
                }
                Act::Unsnap(n) => if let Some(s) = pick(&snaps, n) {
                    snaps.remove(&s);
                    unsnap(&mut h, s);
                },
                Act::Rollback(o, n) => if let Some(s) = pick(&snaps, n) {
                    assert_eq!(h.run(name(o), &[rollback(s)]).result, 0);
                    match snaps[&s].get(name(o)) {
                        Some(p) => now.insert(name(o).into(), p.clone()),
                        None => now.remove(name(o)),
                    };
                },
                Act::WriteAndRollback(o, n, off) => if let Some(s) = pick(&snaps, n) {
                    // Only where the snapshot already has a clone: else it would see the write before it.
                    let ctx = load_object_context(&h.store, h.coll, &Harness::oid(name(o))).unwrap();
                    if ctx.exists && SnapId(s) <= ctx.snapset.seq {
                        assert_eq!(h.run(name(o), &[OsdOp::write(off, vec![1; 5].into()), rollback(s), OsdOp::write(off, vec![2; 2].into())]).result, 0);
                        let mut p = snaps[&s].get(name(o)).cloned().unwrap_or_default();
                        poke(&mut p.0, off, &[2; 2]);
                        now.insert(name(o).into(), p);
                    }
                },
            }
            check(&mut h, &now, &snaps);
        }
        let left: Vec<u64> = snaps.keys().copied().collect();
        for s in left {
            snaps.remove(&s);
            unsnap(&mut h, s);
            check(&mut h, &now, &snaps);
        }
        let heads: BTreeSet<_> = h.objects().into_iter().collect();
        prop_assert_eq!(heads, now.keys().map(|n| Harness::oid(n)).collect::<BTreeSet<_>>());
        prop_assert!(SnapMapper::new(h.coll).snaps_after(&h.store, SnapId(0), 9).unwrap().is_empty());
        let _ = SnapContext::default();
    }
}
