//! The simulation itself: repeatable, quiet on a healthy cluster, and not blind.

use sim::nemesis::Kind;
use sim::{Inject, Options, guard, run};

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 11] {
        let (a, b) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!((a.trace_hash, a.events), (b.trace_hash, b.events), "seed {seed}");
        assert_eq!(a.stats.ops, b.stats.ops);
        assert!(a.events > 1000 && a.stats.ops > 50, "seed {seed} does something: {a:?}");
        // Keeping lines for a report changes nothing.
        let c = run(seed, Options { keep: true, ..Options::default() });
        assert_eq!(a.trace_hash, c.trace_hash);
    }
    assert_ne!(run(3, Options::default()).trace_hash, run(4, Options::default()).trace_hash);
}

#[test]
fn a_healthy_cluster_serves() {
    for seed in 1..=3 {
        let o = run(seed, Options { healthy: true, ..Options::default() });
        assert_eq!(o.violation, None, "seed {seed}");
        assert!(o.stats.ops > 100 && o.stats.objects_compared > 0);
    }
}

#[test]
fn a_few_seeds_with_faults_are_clean() {
    for seed in 1..=12 {
        let o = guard(seed, Options { keep: true, ..Options::default() });
        assert_eq!(o.violation, None, "replay: cargo xtask sim --seed {seed} --trace");
    }
}

#[test]
fn acknowledging_before_the_journal_has_synced_is_found() {
    let bug = Options { inject: Some(Inject::AckBeforeSync), ..Options::default() };
    let found = (1..=40).find(|seed| guard(*seed, bug.clone()).violation.is_some());
    let seed = found.expect("40 seeds must find it");
    let without = guard(seed, Options::default());
    assert_eq!(without.violation, None, "seed {seed} is clean without the bug");
}

fn islands_find(bug: Inject) {
    let only = Some(Kind::Island);
    let opts = Options { inject: Some(bug), only, ..Options::default() };
    let found = (1..40).find(|seed| guard(*seed, opts.clone()).violation.is_some());
    let seed = found.unwrap_or_else(|| panic!("these seeds must find {bug:?}"));
    let without = guard(seed, Options { only, ..Options::default() });
    assert_eq!(without.violation, None, "seed {seed} is clean without the bug");
}

#[test]
fn a_primary_that_serves_without_leases_is_found() {
    islands_find(Inject::ServeWithoutLease);
}

#[test]
fn a_new_primary_that_does_not_wait_for_the_old_one_is_found() {
    islands_find(Inject::NoWaitForLeases);
}
