//! Temporary mappings end by themselves once they say nothing.

use mon_core::Role;
use mon_core::testing::World;
use types::OsdId;

fn run(w: &mut World, json: &str) {
    let (ret, text, _) = w.command(Role::Mon, json);
    assert_eq!(ret, 0, "{json}: {text}");
}

/// Three OSDs that are up, a pool of one PG on all three; what is up for it.
fn world() -> (World, types::PgId, Vec<OsdId>) {
    let mut w = World::new(3);
    run(&mut w, r#"{"prefix":"osd pool create","pool":"p","pg_num":1}"#);
    let pg = types::PgId { pool: *w.core.osdmap().pools.keys().next().unwrap(), seed: 0 };
    let up = w.core.osdmap().pg_to_up_acting_osds(pg).unwrap().up;
    assert_eq!(up.len(), 3);
    (w, pg, up)
}

fn temp(w: &mut World, osds: &[OsdId]) {
    let ids: Vec<String> = osds.iter().map(|o| o.0.to_string()).collect();
    run(w, &format!(r#"{{"prefix":"osd pg-temp","pgid":"1.0","id":[{}]}}"#, ids.join(",")));
}

#[test]
fn a_mapping_that_has_become_what_is_up_anyway_goes() {
    let (mut w, pg, up) = world();
    temp(&mut w, &up);
    assert!(w.core.osdmap().pg_temp.is_empty(), "it says nothing");
    // Two of three act while the third is up; then the third goes down, and the two are what is up.
    temp(&mut w, &up[..2]);
    assert_eq!(w.core.osdmap().pg_temp.get(&pg).map(Vec::as_slice), Some(&up[..2]));
    run(&mut w, &format!(r#"{{"prefix":"osd down","ids":["{}"]}}"#, up[2].0));
    assert_eq!(w.core.osdmap().pg_to_up_acting_osds(pg).unwrap().up, up[..2]);
    assert!(w.core.osdmap().pg_temp.is_empty());
}

#[test]
fn a_mapping_whose_osds_are_all_down_goes_and_one_that_differs_stays() {
    let (mut w, pg, up) = world();
    temp(&mut w, &[up[1], up[0]]);
    run(&mut w, &format!(r#"{{"prefix":"osd down","ids":["{}"]}}"#, up[0].0));
    assert_eq!(
        w.core.osdmap().pg_temp.get(&pg).unwrap().len(),
        2,
        "one is up, and the order differs from [1, 2]"
    );
    run(&mut w, &format!(r#"{{"prefix":"osd down","ids":["{}"]}}"#, up[1].0));
    assert!(w.core.osdmap().pg_temp.is_empty());
}

#[test]
fn a_mapping_that_is_wider_than_a_shrunk_pool_goes() {
    let (mut w, _, up) = world();
    temp(&mut w, &[up[2], up[1], up[0]]);
    run(&mut w, r#"{"prefix":"osd pool set","pool":"p","var":"size","val":"2"}"#);
    assert!(w.core.osdmap().pg_temp.is_empty());
}

#[test]
fn a_temporary_primary_that_is_primary_anyway_goes() {
    let (mut w, pg, up) = world();
    let set = |w: &mut World, o: OsdId| {
        run(w, &format!(r#"{{"prefix":"osd primary-temp","pgid":"1.0","id":"{}"}}"#, o.0))
    };
    set(&mut w, up[0]);
    assert!(w.core.osdmap().primary_temp.is_empty(), "it is primary anyway");
    set(&mut w, up[1]);
    assert_eq!(w.core.osdmap().primary_temp.get(&pg), Some(&up[1]));
    run(&mut w, &format!(r#"{{"prefix":"osd down","ids":["{}"]}}"#, up[0].0));
    assert!(w.core.osdmap().primary_temp.is_empty(), "it is the first of what is up");
}
