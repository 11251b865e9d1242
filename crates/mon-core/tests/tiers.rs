//! Pools are named tiers of others, and no more than that.

use mon_core::Role;
use mon_core::testing::World;

fn run(w: &mut World, json: &str) -> (i32, String) {
    let (ret, text, _) = w.command(Role::Mon, json);
    (ret, text)
}

#[test]
fn a_tier_is_named_and_taken_back_with_stocks_answers() {
    let mut w = World::new(3);
    for p in ["a", "b", "c"] {
        assert_eq!(run(&mut w, &format!(r#"{{"prefix":"osd pool create","pool":"{p}","pg_num":1}}"#)).0, 0);
    }
    let mut tier = |how: &str, base: &str, tier: &str| {
        run(&mut w, &format!(r#"{{"prefix":"osd tier {how}","pool":"{base}","tierpool":"{tier}"}}"#))
    };
    assert_eq!(tier("add", "a", "zz"), (-2, "unrecognized pool 'zz'".into()));
    assert_eq!(tier("add", "a", "a").0, -22);
    for _ in 0..2 {
        assert_eq!(tier("add", "a", "b"), (0, "pool 'b' is now (or already was) a tier of 'a'".into()));
    }
    assert_eq!(tier("add", "c", "b"), (-22, "tier pool 'b' is already a tier of 'a'".into()));
    let text = "pool 'b' is already a tier of 'a', multiple tiers are not yet supported.";
    assert_eq!(tier("add", "b", "c"), (-22, text.into()));
    let text = "pool 'a' has following tier(s) already:'b', multiple tiers are not yet supported.";
    assert_eq!(tier("add", "c", "a"), (-22, text.into()));
    assert_eq!(tier("rm", "a", "c"), (0, "pool 'c' is now (or already was) not a tier of 'a'".into()));
    let gone = |w: &mut World, p: &str| {
        run(
            w,
            &format!(
                r#"{{"prefix":"osd pool rm","pool":"{p}","pool2":"{p}","yes_i_really_really_mean_it":true}}"#
            ),
        )
    };
    assert_eq!(gone(&mut w, "a"), (-16, "pool 'a' has tiers b".into()));
    assert_eq!(gone(&mut w, "b"), (-16, "pool 'b' is a tier of 'a'".into()));
    assert_eq!(run(&mut w, r#"{"prefix":"osd tier set-overlay","pool":"a","overlaypool":"b"}"#).0, -95);
    assert_eq!(run(&mut w, r#"{"prefix":"osd tier cache-mode","pool":"b","mode":"writeback"}"#).0, -95);
    let text = "there is now (or already was) no overlay for 'a'";
    assert_eq!(run(&mut w, r#"{"prefix":"osd tier rm-overlay","pool":"a"}"#), (0, text.into()));
    let mut w = w.restarted();
    assert_eq!(run(&mut w, r#"{"prefix":"osd tier remove","pool":"a","tierpool":"b"}"#).0, 0);
    assert!(w.core.osdmap().pools.values().all(|p| !p.is_tier() && !p.has_tiers()));
}
