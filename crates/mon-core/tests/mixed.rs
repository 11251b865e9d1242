//! Loligo's OSDs beside stock's: health says when a pool's rule reaches both.

use mon_core::Role;
use mon_core::testing::World;

fn run(w: &mut World, json: &str) {
    let (ret, text, _) = w.command(Role::Mon, json);
    assert_eq!(ret, 0, "{json}: {text}");
}

fn health(w: &mut World) -> String {
    let (_, _, data) = w.command(Role::Mon, r#"{"prefix":"health","detail":"detail"}"#);
    String::from_utf8_lossy(&data).into_owned()
}

#[test]
fn a_pool_on_both_kinds_is_warned_of_until_its_rule_or_its_osds_are_of_one_kind() {
    let mut w = World::new(0);
    for (osd, store) in [(0, "bluestore"), (1, "bluestore"), (2, "loligo"), (3, "loligo")] {
        w.boot_with(osd, &[("osd_objectstore", store)]);
    }
    assert!(!health(&mut w).contains("POOL_MIXED_OSDS"), "there is no pool");
    run(&mut w, r#"{"prefix":"osd pool create","pool":"p","pg_num":4}"#);
    let said = health(&mut w);
    assert!(
        said.contains("POOL_MIXED_OSDS: 1 pool(s) are placed on OSDs of loligo and of stock Ceph together"),
        "{said}"
    );
    assert!(said.contains("pool 'p' may have PGs on loligo's osd.2 and on stock's osd.0"), "{said}");
    run(&mut w, r#"{"prefix":"osd crush rule create-replicated","name":"r","root":"h2","type":"osd"}"#);
    run(&mut w, r#"{"prefix":"osd pool set","pool":"p","var":"crush_rule","val":"r"}"#);
    assert!(!health(&mut w).contains("POOL_MIXED_OSDS"));
    run(&mut w, r#"{"prefix":"osd pool set","pool":"p","var":"crush_rule","val":"replicated_rule"}"#);
    assert!(health(&mut w).contains("POOL_MIXED_OSDS"));
    run(&mut w, r#"{"prefix":"osd out","ids":["0","1"]}"#);
    assert!(!health(&mut w).contains("POOL_MIXED_OSDS"), "no stock OSD is in any more");
}
