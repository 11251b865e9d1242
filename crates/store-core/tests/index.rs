//! A larger index: three levels, splits, joins, whole subtrees removed; compared with the model and counted at each mount.

mod common;

use bytes::Bytes;
use common::{World, noise, object, pg, small_config};
use objstore::{ObjectStore, Transaction, TxnOp};
use store_core::simdev::Dice;

fn key(n: u64) -> Bytes {
    Bytes::from(format!("{n:08}-{}", "k".repeat((n % 90) as usize)))
}

#[test]
fn a_deep_index_grows_shrinks_and_is_whole_at_every_mount() {
    let mut dice = Dice(21);
    let mut w = World::new(64 << 20, 2 << 20, small_config());
    for round in 0..24u64 {
        let grow = round < 12;
        for part in 0..6 {
            let (coll, oid) = (pg((part % 2) as u32), object(part));
            let mut t = Transaction::new();
            if grow {
                let pairs = (0..500)
                    .map(|_| {
                        let n = dice.below(90);
                        (key(dice.below(30_000)), noise(&mut dice, n))
                    })
                    .collect();
                t.push(TxnOp::OmapSet { coll, oid, pairs });
                for _ in 0..60 {
                    let oid = object(100 + dice.below(3000));
                    let value = noise(&mut dice, 150);
                    t.push(TxnOp::SetAttr { coll, oid, name: Bytes::from_static(b"_"), value });
                }
            } else {
                let first = dice.below(30_000);
                let last = key(first + dice.below(6000));
                t.push(TxnOp::OmapRmRange { coll, oid: oid.clone(), first: key(first), last });
                let keys = (0..200).map(|_| key(dice.below(30_000))).collect();
                t.push(TxnOp::OmapRm { coll, oid: oid.clone(), keys });
                if round == 20 && part == 3 {
                    t.push(TxnOp::Remove { coll, oid });
                }
                for _ in 0..150 {
                    t.push(TxnOp::Remove { coll, oid: object(100 + dice.below(3000)) });
                }
            }
            w.queue(t).unwrap();
        }
        w.settle(&mut dice);
        if round % 3 == 2 {
            for _ in 0..2 {
                w.store.request_checkpoint();
                w.settle(&mut dice);
            }
            w.now().clone().check(&w.store, &mut dice);
            let before = w.store.statfs();
            w.crash(&mut dice);
            assert_eq!(w.store.statfs(), before, "round {round}");
        }
    }
    // All gone: the index shrinks to next to nothing.
    let all = [0, 1].map(|p| TxnOp::RemoveColl { coll: pg(p) });
    w.queue(all.to_vec().into()).unwrap();
    for _ in 0..2 {
        w.store.request_checkpoint();
        w.settle(&mut dice);
    }
    let left = w.store.statfs();
    assert!(left.omap_allocated < 100 && left.internal_metadata < (2 << 20) + 40_000, "{left:?}");
    w.crash(&mut dice);
}
