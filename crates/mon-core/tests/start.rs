//! What a start of the monitor changes.

use mon_core::Role;
use mon_core::testing::World;

fn shown(w: &mut World, prefix: &str) -> u64 {
    let (ret, text, data) = w.command(Role::Mon, &format!(r#"{{"prefix":"{prefix}","format":"json"}}"#));
    assert_eq!(ret, 0, "{text}");
    let v: serde_json::Value = serde_json::from_slice(&data).expect("json");
    v["election_epoch"].as_u64().expect("a number")
}

/// Seen on a stock monitor that is alone: 3, and 2 more after each restart, clean or not.
#[test]
fn the_election_epoch_is_three_at_first_and_grows_by_two_at_each_start() {
    let mut w = World::new(1);
    for expected in [3, 5, 7] {
        for prefix in ["status", "quorum_status", "mon_status"] {
            assert_eq!(shown(&mut w, prefix), expected, "{prefix}");
        }
        w = w.restarted();
    }
}
