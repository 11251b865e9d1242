//! Orders to create PGs: who is told, and when again.

use messages::MOsdPgCreate2;
use mon_core::testing::World;
use mon_core::{Role, SessionId};
use std::collections::BTreeSet;
use types::{OsdId, PgId};

fn told(w: &mut World, id: SessionId) -> BTreeSet<PgId> {
    w.take::<MOsdPgCreate2>(id).iter().flat_map(|m| m.pgs.keys().map(|p| p.pg)).collect()
}

fn ok(w: &mut World, json: &str) {
    let (ret, text, _) = w.command(Role::Mon, json);
    assert_eq!(ret, 0, "{json}: {text}");
}

fn led_by(w: &World, osd: i32) -> BTreeSet<PgId> {
    let map = w.core.osdmap();
    let pool = *map.pools.keys().next().expect("a pool");
    (0..8).map(|seed| PgId { pool, seed }).filter(|pg| map.acting_primary(*pg) == Some(OsdId(osd))).collect()
}

/// On its newer map an OSD may find that it is not primary, and ignores the order. When it becomes primary again, it must hear again.
#[test]
fn an_osd_that_becomes_primary_again_is_told_again_to_create_the_pg() {
    let mut w = World::new(0);
    let sessions: Vec<SessionId> = (0..3).map(|o| w.boot(o)).collect();
    ok(&mut w, r#"{"prefix":"osd pool create","pool":"p","pg_num":8}"#);
    let first = led_by(&w, 0);
    assert!(!first.is_empty(), "osd.0 leads some of eight PGs");
    assert_eq!(told(&mut w, sessions[0]), first);

    // Nothing changed for these PGs: not told twice.
    ok(&mut w, r#"{"prefix":"osd set","key":"noout"}"#);
    assert_eq!(told(&mut w, sessions[0]), BTreeSet::new());

    // The others lead meanwhile, and are told.
    for o in [1, 2] {
        told(&mut w, sessions[o]);
    }
    ok(&mut w, r#"{"prefix":"osd primary-affinity","id":"osd.0","weight":0.0}"#);
    assert_eq!(led_by(&w, 0), BTreeSet::new());
    let others: BTreeSet<PgId> = [1, 2].into_iter().flat_map(|o| told(&mut w, sessions[o])).collect();
    assert!(others.is_superset(&first), "who leads now is told: {others:?}");

    ok(&mut w, r#"{"prefix":"osd primary-affinity","id":"osd.0","weight":1.0}"#);
    assert_eq!(led_by(&w, 0), first);
    assert_eq!(told(&mut w, sessions[0]), first, "told again");
}
