//! Full stores, bad units, damaged journals and indexes, and decoders under random bytes.

mod common;

use bytes::Bytes;
use common::{World, noise, object, pg, small_config};
use objstore::{CollId, ObjectStore, StoreError, Transaction, TxnOp};
use store_core::simdev::Dice;
use store_core::{Dev, JournalError, OpenError, ReadDevice, Store, StoreConfig, fuzz};

fn write(n: u64, off: u64, data: Bytes) -> Transaction {
    Transaction::from(vec![TxnOp::Write { coll: pg(0), oid: object(n), off, data }])
}

#[test]
fn a_full_store_refuses_growth_takes_deletes_and_reopens() {
    for big in [true, false] {
        let mut dice = Dice(3 + u64::from(big));
        let mut w = World::new(12 << 20, 1 << 20, small_config());
        for round in 0..2 {
            let mut n = 0;
            let mut refused = 0;
            while refused < 5 {
                let len = if big { 200_000 } else { 4096 * (1 + dice.below(4)) };
                match w.queue(write(n, dice.below(3) * 4096, noise(&mut dice, len))) {
                    Ok(()) => n += 1,
                    Err(StoreError::Full) => {
                        refused += 1;
                        w.settle(&mut dice);
                    }
                    Err(e) => panic!("{e}"),
                }
                w.step(&mut dice);
                if n % 64 == 0 {
                    w.settle(&mut dice);
                }
            }
            assert!(n > 30, "round {round}: only {n} writes fit");
            assert!(w.store.statfs().available < 2 << 20);
            w.crash(&mut dice);
            for i in 0..n {
                let t = Transaction::from(vec![TxnOp::Remove { coll: pg(0), oid: object(i) }]);
                w.queue(t).unwrap();
                if i % 10 == 0 {
                    w.step(&mut dice);
                }
            }
            w.settle(&mut dice);
            w.store.request_checkpoint();
            w.settle(&mut dice);
            w.crash(&mut dice);
            assert!(w.store.statfs().data_stored <= 4096, "round {round}");
        }
    }
}

#[test]
fn a_bad_unit_is_an_error_there_only_and_a_full_overwrite_heals_it() {
    let mut dice = Dice(1);
    let mut w = World::new(16 << 20, 1 << 20, small_config());
    let data = noise(&mut dice, 300_000);
    w.queue(write(1, 0, data.clone())).unwrap();
    w.settle(&mut dice);
    w.store.request_checkpoint();
    w.settle(&mut dice);
    // Find the unit on the device by its bytes.
    let unit = &data[81920..86016];
    let at = (0..4096u64)
        .map(|n| n * 4096)
        .find(|off| w.dev.read_at(Dev::Data, *off, 4096).unwrap() == unit)
        .unwrap();
    w.dev.flip_bit(Dev::Data, at + 100);
    let read = |w: &World, off, len| w.store.read(pg(0), &object(1), off, len);
    let corrupt = StoreError::Corrupt { oid: object(1), offset: 81920 };
    assert_eq!(read(&w, 0, 300_000), Err(corrupt.clone()));
    assert_eq!(read(&w, 82000, 10), Err(corrupt.clone()));
    assert_eq!(read(&w, 0, 81920).unwrap(), data.slice(..81920));
    assert_eq!(read(&w, 86016, 4096).unwrap(), data.slice(86016..90112));
    // A partial overwrite must not make up the rest; it stays bad over checkpoint and mount.
    w.queue(write(1, 81930, noise(&mut dice, 100))).unwrap();
    assert_eq!(read(&w, 82000, 10), Err(corrupt.clone()));
    w.settle(&mut dice);
    w.store.request_checkpoint();
    w.settle(&mut dice);
    let s = Store::open(Box::new(w.dev.clone()), small_config()).unwrap();
    assert_eq!(s.read(pg(0), &object(1), 82000, 10), Err(corrupt));
    w.queue(write(1, 81920, data.slice(81920..86016))).unwrap();
    assert_eq!(read(&w, 0, 300_000).unwrap(), data);
    // A read error of the device is the same to readers.
    w.dev.make_unreadable(at + 4096, 512);
    // (The error names the first unit of the run that was being read.)
    assert!(matches!(read(&w, 0, 300_000), Err(StoreError::Corrupt { offset, .. }) if offset <= 86016));
    assert_eq!(read(&w, 86016, 1), Err(StoreError::Corrupt { oid: object(1), offset: 86016 }));
}

/// A world with `n` records in the journal and their positions.
fn with_records(n: u64, dice: &mut Dice) -> (World, Vec<u64>) {
    let mut w = World::new(16 << 20, 1 << 20, StoreConfig::default());
    w.settle(dice);
    let mut at = vec![];
    for i in 0..n {
        at.push(w.store.counters().journal_used_bytes);
        w.queue(write(i, 0, noise(dice, 5000))).unwrap();
        w.settle(dice);
    }
    (w, at)
}

#[test]
fn a_broken_last_record_ends_the_journal_and_one_before_it_is_an_error() {
    let mut dice = Dice(4);
    let (w, at) = with_records(6, &mut dice);
    let open = |w: &World| Store::open(Box::new(w.dev.clone()), StoreConfig::default());
    assert_eq!(common::counted(&open(&w).unwrap()), 7);
    w.dev.flip_bit(Dev::Journal, at[5] + 4096 + 7);
    assert_eq!(common::counted(&open(&w).unwrap()), 6);
    let (w, at) = with_records(6, &mut dice);
    w.dev.flip_bit(Dev::Journal, at[3] + 4096 + 7);
    assert!(matches!(open(&w), Err(OpenError::Journal(JournalError::Lost { seq: 5, later: 6, .. }))));
    // A lost header is no better.
    let (w, at) = with_records(6, &mut dice);
    w.dev.flip_bit(Dev::Journal, at[2]);
    assert!(matches!(open(&w), Err(OpenError::Journal(JournalError::Lost { .. }))));
}

#[test]
fn a_damaged_index_is_an_error_at_mount_or_at_use_never_wrong_data() {
    let mut dice = Dice(8);
    let mut w = World::new(16 << 20, 1 << 20, small_config());
    for _ in 0..80 {
        let t = common::random_txn(&mut dice, w.now());
        let _ = w.queue(t);
        w.settle(&mut dice);
    }
    w.store.request_checkpoint();
    w.settle(&mut dice);
    let mut errors = 0;
    for unit in 0..2048u64 {
        let dev = w.dev.crashed(&mut Dice(0));
        let bytes = dev.read_at(Dev::Data, unit * 4096, 4096).unwrap();
        if !bytes.starts_with(b"LgPg") {
            continue;
        }
        dev.flip_bit(Dev::Data, unit * 4096 + dice.below(4096));
        match Store::open(Box::new(dev), small_config()) {
            Err(_) => errors += 1,
            Ok(s) => {
                for (coll, objects) in &w.now().0 {
                    for (oid, o) in objects {
                        match s.read(*coll, oid, 0, u64::MAX) {
                            Ok(b) => assert_eq!(&b[..], &o.data[..]),
                            Err(StoreError::Device(_)) => errors += 1,
                            Err(e) => panic!("{e}"),
                        }
                    }
                }
            }
        }
    }
    assert!(errors > 5);
}

#[test]
fn a_transaction_larger_than_the_journal_becomes_durable_by_a_checkpoint() {
    let mut dice = Dice(11);
    let mut w = World::new(32 << 20, 1 << 20, small_config());
    let pairs: Vec<(Bytes, Bytes)> =
        (0..60).map(|i| (Bytes::from(format!("{i:03}")), noise(&mut dice, 50_000))).collect();
    let t = Transaction::from(vec![TxnOp::OmapSet { coll: pg(0), oid: object(1), pairs }]);
    w.queue(t).unwrap();
    w.queue(write(2, 5, noise(&mut dice, 200_000))).unwrap();
    while w.step(&mut dice) {
        w.check_crash(&mut dice);
    }
    assert_eq!(w.durable, 3);
    w.crash(&mut dice);
}

#[test]
fn growth_of_the_osds_own_metadata_is_taken_when_data_is_refused() {
    let mut dice = Dice(12);
    let mut w = World::new(16 << 20, 1 << 20, small_config());
    let mut n = 0;
    loop {
        match w.queue(write(n, 0, noise(&mut dice, 100_000))) {
            Ok(()) => n += 1,
            Err(StoreError::Full) => {
                w.settle(&mut dice);
                if w.queue(write(n, 0, noise(&mut dice, 100_000))) == Err(StoreError::Full) {
                    break;
                }
            }
            Err(e) => panic!("{e}"),
        }
    }
    let oid = common::counter();
    let data = noise(&mut dice, 5000);
    w.queue(Transaction::from(vec![TxnOp::Write { coll: CollId::Meta, oid, off: 0, data }])).unwrap();
    w.settle(&mut dice);
    w.crash(&mut dice);
}

#[test]
fn decoders_take_any_bytes() {
    let mut dice = Dice(77);
    // Seeds: what is on a real device, then cut and with bytes changed.
    let mut w = World::new(16 << 20, 1 << 20, small_config());
    for _ in 0..60 {
        let t = common::random_txn(&mut dice, w.now());
        let _ = w.queue(t);
        w.settle(&mut dice);
    }
    let mut seeds: Vec<Bytes> = Vec::new();
    for n in 0..300 {
        seeds.push(w.dev.read_at(Dev::Data, n * 4096, 4096).unwrap());
        if n < 200 {
            seeds.push(w.dev.read_at(Dev::Journal, n * 4096, 8192).unwrap());
        }
    }
    seeds.retain(|s| s.iter().any(|b| *b != 0));
    for f in [fuzz::fuzz_journal_record, fuzz::fuzz_superblock, fuzz::fuzz_page, fuzz::fuzz_values] {
        for s in &seeds {
            f(s);
            f(&s[..dice.below(s.len() as u64) as usize]);
            let mut x = s.to_vec();
            for _ in 0..1 + dice.below(4) {
                let within = if dice.one_in(2) { 64 } else { x.len() as u64 };
                let at = dice.below(within) as usize;
                x[at] = dice.roll() as u8;
            }
            f(&x);
        }
        for n in 0..300 {
            f(&noise(&mut dice, n));
        }
        for n in 0..200 {
            f(&seeds[0][..n]);
        }
    }
}
