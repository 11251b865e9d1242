//! Crash tests: random transactions against a model, a power loss at every step of the devices, and going on from there.

mod common;

use common::{World, random_txn, small_config};
use objstore::{CommitToken, ObjectStore, StoreError, Transaction, TxnOp};
use std::ops::Range;
use store_core::Store;
use store_core::simdev::Dice;

/// Seeds of a test: as given, or `STORE_SEEDS=first..last` for a soak.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("STORE_SEEDS") else { return usual };
    let (a, b) = text.split_once("..").expect("STORE_SEEDS=first..last");
    a.parse().expect("first seed")..b.parse().expect("last seed")
}

/// One run: `txns` transactions; every device step is followed by a look at what a crash would leave.
fn run(seed: u64, txns: u64, crash_every_step: bool) {
    let mut dice = Dice(seed);
    // Small devices reuse units soon; a starved lane lets the other one run far ahead.
    let mut w = World::new([14 << 20, 48 << 20, 18 << 20][seed as usize % 3], 2 << 20, small_config());
    w.bias = [5, 1, 9, 0][seed as usize / 2 % 4];
    w.settle(&mut dice);
    let mut done = 0;
    while done < txns {
        match dice.below(20) {
            0..=9 => {
                let t = random_txn(&mut dice, w.now());
                match w.queue(t) {
                    Ok(()) => done += 1,
                    Err(StoreError::Full) => {
                        // Make room, then go on.
                        w.settle(&mut dice);
                        let n = dice.below(9);
                        let ops =
                            (0..2).map(|p| TxnOp::Remove { coll: common::pg(p), oid: common::object(n) });
                        w.queue(ops.collect::<Vec<_>>().into()).unwrap();
                    }
                    Err(e) => panic!("seed {seed}: {e}"),
                }
            }
            10..=17 => {
                for _ in 0..dice.below(6) {
                    w.step(&mut dice);
                    if crash_every_step {
                        w.check_crash(&mut dice);
                    }
                }
            }
            18 if dice.one_in(20) => w.crash(&mut dice),
            19 if dice.one_in(10) => w.store.request_checkpoint(),
            19 if dice.one_in(4) => w.now().clone().check(&w.store, &mut dice),
            _ => w.settle(&mut dice),
        }
    }
    w.settle(&mut dice);
    assert_eq!(w.durable + 1, w.models.len() as u64);
    w.now().clone().check(&w.store, &mut dice);
    // Two checkpoints release everything that waited; then a mount must count the same space.
    for _ in 0..2 {
        w.store.request_checkpoint();
        w.settle(&mut dice);
    }
    assert!(w.store.is_idle());
    let (_, again, _) = w.check_crash(&mut dice);
    assert_eq!(again.statfs(), w.store.statfs(), "seed {seed}: space leaked");
}

#[test]
fn a_crash_at_any_step_leaves_a_prefix_with_all_that_was_durable() {
    for seed in seeds(0..10) {
        println!("seed {seed}");
        run(seed, 60, true);
    }
}

#[test]
fn long_random_runs_with_crashes_and_checkpoints_agree_with_the_model() {
    for seed in seeds(100..112) {
        println!("seed {seed}");
        run(seed, 300, false);
    }
}

#[test]
fn after_a_failed_step_the_store_stops_and_the_next_mount_has_all_that_was_durable() {
    for seed in seeds(0..40) {
        let mut dice = Dice(seed * 7 + 1);
        let mut w = World::new(32 << 20, 2 << 20, small_config());
        w.settle(&mut dice);
        w.dev.fail_at(Some(w.dev.steps() + dice.below(120)));
        let mut failed = false;
        for _ in 0..400 {
            let t = random_txn(&mut dice, w.now());
            match w.queue(t) {
                Ok(()) | Err(StoreError::Full) => {}
                Err(StoreError::Device(_)) => {
                    failed = true;
                    break;
                }
                Err(e) => panic!("{e}"),
            }
            for _ in 0..dice.below(8) {
                w.step(&mut dice);
            }
        }
        assert!(failed && w.store.failure().is_some());
        assert!(w.store.poll_io().is_none());
        assert!(matches!(
            w.store.stat(objstore::CollId::Meta, &common::counter()),
            Err(StoreError::Device(_))
        ));
        assert!(matches!(w.store.queue(Transaction::new(), CommitToken(0)), Err(StoreError::Device(_))));
        w.crash(&mut dice);
        let t = random_txn(&mut dice, w.now());
        let _ = w.queue(t);
        w.settle(&mut dice);
    }
}

#[test]
fn a_crash_while_mounting_again_and_again_changes_nothing() {
    let mut dice = Dice(9);
    let mut w = World::new(32 << 20, 2 << 20, small_config());
    for _ in 0..40 {
        let t = random_txn(&mut dice, w.now());
        let _ = w.queue(t);
        w.step(&mut dice);
    }
    w.crash(&mut dice);
    for _ in 0..5 {
        let s = Store::open(Box::new(w.dev.clone()), w.config.clone()).unwrap();
        w.now().check(&s, &mut dice);
    }
}

#[test]
fn units_that_a_checkpoint_or_the_journal_can_reach_are_not_reused() {
    for seed in seeds(0..6) {
        let mut dice = Dice(seed + 500);
        let mut w = World::new(6 << 20, 1 << 20, small_config());
        w.bias = 2 + seed % 7;
        w.settle(&mut dice);
        for i in 0..150u64 {
            let off = dice.below(60) * 4096;
            let (off, len) =
                if i % 3 == 0 { (off + dice.below(4000), 50) } else { (off, 65_536 + 4096 * dice.below(30)) };
            let data = common::noise(&mut dice, len);
            let oid = common::object(dice.below(2));
            let t = Transaction::from(vec![TxnOp::Write { coll: common::pg(0), oid, off, data }]);
            match w.queue(t) {
                Ok(()) | Err(StoreError::Full) => {}
                Err(e) => panic!("{e}"),
            }
            if i % 40 == 39 {
                w.store.request_checkpoint();
            }
            for _ in 0..dice.below(9) {
                w.step(&mut dice);
                if dice.one_in(4) {
                    w.check_crash(&mut dice);
                }
            }
        }
        w.crash(&mut dice);
    }
}
