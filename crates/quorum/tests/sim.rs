//! A seeded simulation of whole quorums: many members, one thread, every fault drawn from the seed. The properties are listed in
//! `sim/check.rs`, the faults in `sim/world.rs`.
//!
//! `QUORUM_SEED=17 cargo test -p quorum --test sim -- one_seed --nocapture` replays a seed aloud; `QUORUM_SEEDS=5000` runs more of them.

#[path = "sim/check.rs"]
mod check;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/world.rs"]
mod world;

use quorum::Planted;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{SEC, World};

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    digest: (usize, u64, u64, u64),
    follower_reads: u64,
    installs: u64,
}

fn members_of(seed: u64) -> usize {
    match seed % 10 {
        0 => 1,
        1..=6 => 3,
        _ => 5,
    }
}

/// Turns panics (of Raft's library, say) into failures.
fn caught<T>(body: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(r) => r,
        Err(p) => Err(match (p.downcast_ref::<String>(), p.downcast_ref::<&str>()) {
            (Some(s), _) => format!("panic: {s}"),
            (_, Some(s)) => format!("panic: {s}"),
            _ => "panic".to_owned(),
        }),
    }
}

/// Runs a seed to its end; what was broken, if anything was.
fn run(seed: u64, planted: Planted, verbose: bool) -> Result<Outcome, String> {
    caught(|| {
        let mut w = World::new(seed, members_of(seed), planted, verbose);
        let faults_end = SEC + 15 * SEC + w.rng.below(10 * SEC);
        w.run(faults_end);
        w.heal();
        let before = w.checks.writes;
        // Elections, a snapshot's retry and a newcomer's way in all fit in this.
        let limit = w.t + 30 * SEC;
        let mut why = Some("nothing ran".to_owned());
        while why.is_some() && w.t < limit && w.checks.failure.is_none() {
            let next = w.t + SEC;
            w.run(next);
            why = w.unwell(before);
        }
        w.checks.end();
        match (w.checks.failure.take(), why) {
            (Some(f), _) => Err(f),
            (None, Some(why)) => Err(format!("healed, but after 30 s: {why}")),
            (None, None) => Ok(Outcome {
                digest: w.checks.digest(),
                follower_reads: w.checks.follower_reads,
                installs: w.checks.installs,
            }),
        }
    })
}

/// Only one fault, the one that leases fear most: a leader keeps a lease holder beside it while the others elect.
fn run_island(seed: u64, planted: Planted) -> Result<(), String> {
    caught(|| {
        let mut w = World::new(seed, 5, planted, false);
        w.no_faults = true;
        w.run(6 * SEC);
        w.grow_an_island();
        let end = w.t + 6 * SEC;
        w.run(end);
        w.checks.failure.map_or(Ok(()), Err)
    })
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn how_many() -> u64 {
    env("QUORUM_SEEDS").unwrap_or(if cfg!(debug_assertions) { 100 } else { 1000 })
}

#[test]
fn many_seeds_keep_one_history_and_come_back_to_life() {
    let seeds = how_many();
    let from = env("QUORUM_FROM").unwrap_or(0);
    let (mut total, mut broken) = (Outcome::default(), Vec::new());
    let threads = 2;
    let results: Vec<(u64, Result<Outcome, String>)> = std::thread::scope(|s| {
        let workers: Vec<_> = (0..threads)
            .map(|k| {
                s.spawn(move || {
                    let mine = (from..from + seeds).filter(|n| n % threads == k);
                    mine.map(|n| (n, run(n, Planted::None, false))).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("panics are caught")).collect()
    });
    for (seed, r) in results {
        match r {
            Ok(o) => {
                total.digest.0 += o.digest.0;
                total.digest.2 += o.digest.2;
                total.digest.3 += o.digest.3;
                total.follower_reads += o.follower_reads;
                total.installs += o.installs;
            }
            Err(e) => broken.push((seed, e)),
        }
    }
    broken.sort();
    for (seed, e) in broken.iter().take(20) {
        println!("QUORUM_SEED={seed}: {e}");
    }
    println!(
        "{seeds} seeds: {} writes committed, {} acknowledged, {} reads ({} by followers), {} snapshots installed",
        total.digest.0, total.digest.3, total.digest.2, total.follower_reads, total.installs
    );
    assert!(broken.is_empty(), "{} of {seeds} seeds are broken", broken.len());
    // The run must have exercised what it is about.
    assert!(total.follower_reads > 50 * seeds && total.installs > seeds / 10);
}

#[test]
fn one_seed() {
    if let Some(seed) = env("QUORUM_SEED") {
        run(seed, Planted::None, true).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 7, 10] {
        assert_eq!(run(seed, Planted::None, false), run(seed, Planted::None, false));
    }
}

#[test]
fn islands_never_read_what_is_old() {
    for seed in 0..how_many() {
        assert_eq!(run_island(seed, Planted::None), Ok(()), "island {seed}");
    }
}

/// Seeds until the planted bug shows, and how.
fn first_find(bug: Planted, mut run: impl FnMut(u64) -> Result<(), String>) -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..500).find_map(|seed| run(seed).err().map(|e| (seed, e)));
    let _ = std::panic::take_hook();
    println!("{bug:?}: {found:?}");
    found.is_some()
}

#[test]
fn planted_bugs_are_found() {
    for bug in [Planted::SendBeforePersist, Planted::LeaseWithoutQuorum, Planted::ShowsAtCommit] {
        assert!(first_find(bug, |seed| run(seed, bug, false).map(|_| ())), "{bug:?} stays hidden");
    }
    for bug in [Planted::ForgetsPromise, Planted::IgnoresOldLeases] {
        assert!(first_find(bug, |seed| run_island(seed, bug)), "{bug:?} stays hidden");
    }
}

#[test]
fn a_store_that_was_lost_under_its_old_identity_is_noticed() {
    let found = (0..20).find_map(|seed| {
        caught(|| {
            let mut w = World::new(seed, 3, Planted::None, false);
            (w.no_faults, w.keeps_identity) = (true, true);
            w.run(6 * SEC);
            let slot = w.nodes.iter().position(|n| !n.leads).expect("two of them follow");
            w.wipe(slot);
            w.start_later(slot, SEC);
            let end = w.t + 6 * SEC;
            w.run(end);
            w.checks.failure.map_or(Ok(()), Err)
        })
        .err()
    });
    let what = found.expect("one of the seeds shows it");
    assert!(what.contains("this store lost entries"), "{what}");
}

/// Milliseconds of virtual time without an acknowledged write after `harm` was done to the leader of three.
fn outage_ms(seed: u64, harm: fn(&mut World, usize)) -> u64 {
    let mut w = World::new(seed, 3, Planted::None, false);
    w.no_faults = true;
    w.run(6 * SEC);
    let leader = w.nodes.iter().position(|n| n.leads).expect("somebody leads after five seconds");
    let start = w.t;
    harm(&mut w, leader);
    let mut writes = w.checks.writes;
    let mut last = w.t;
    let mut longest = 0;
    while w.t < start + 12 * SEC {
        let next = w.t + SEC / 100;
        w.run(next);
        if w.checks.writes > writes {
            longest = longest.max(w.t - last);
            (writes, last) = (w.checks.writes, w.t);
        }
    }
    assert_eq!(w.checks.failure, None, "seed {seed}");
    assert!(w.t - last < 2 * SEC, "seed {seed}: writes stopped for good");
    longest / 1000
}

#[test]
fn writes_go_on_within_five_seconds_when_the_leader_is_lost() {
    type Harm = fn(&mut World, usize);
    let harms: [(&str, Harm); 4] = [
        ("killed", |w, l| w.crash(l)),
        ("stopped", |w, l| w.nodes[l].paused_until = w.t + 60 * SEC),
        ("cut off", |w, l| {
            for s in 0..3 {
                w.net.cut.extend([(l, s), (s, l)]);
            }
        }),
        ("lost its store", |w, l| {
            w.wipe(l);
            w.start_later(l, SEC);
        }),
    ];
    for (name, harm) in harms {
        let mut all: Vec<u64> = (0..40).map(|seed| outage_ms(seed, harm)).collect();
        all.sort_unstable();
        println!("leader {name}: no writes for {} ms at the median, {} ms at most", all[20], all[39]);
        assert!(all[39] < 5000, "{name}: {all:?}");
    }
}

#[test]
fn a_lost_follower_stops_writes_for_a_lease_at_most() {
    let mut all: Vec<u64> = (0..40).map(|seed| outage_ms(seed, |w, l| w.crash((l + 1) % 3))).collect();
    all.sort_unstable();
    println!("follower killed: no writes for {} ms at the median, {} ms at most", all[20], all[39]);
    // A lease, its margin, and the client's own pauses.
    assert!(all[39] < 1200, "{all:?}");
}
