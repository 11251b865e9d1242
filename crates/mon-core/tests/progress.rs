//! An OSD that is marked out moves PGs: an event says how far that is, and one how far all is.

use messages::MPgStats;
use mon_core::testing::{FSID, World};
use mon_core::{MonEvent, Role};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use types::pgstat::{PgStat, pg_state};
use types::{EVersion, OsdId, PgId};

/// Orders the reports.
static SEQ: AtomicU64 = AtomicU64::new(1);
const CLEAN: u64 = pg_state::ACTIVE | pg_state::CLEAN;
const MOVING: u64 = pg_state::ACTIVE | pg_state::DEGRADED;

fn run(w: &mut World, role: Role, json: &str) -> (String, Vec<u8>) {
    let (ret, text, data) = w.command(role, json);
    assert_eq!(ret, 0, "{json}: {text}");
    (text, data.to_vec())
}
fn json_of(w: &mut World, role: Role, json: &str) -> serde_json::Value {
    serde_json::from_slice(&run(w, role, json).1).unwrap()
}

/// The PGs' primaries report: this state, so many bytes of 1000 recovered.
fn report(w: &mut World, seeds: std::ops::Range<u32>, state: u64, recovered: i64) {
    for seed in seeds {
        let pg = PgId { pool: *w.core.osdmap().pools.keys().next().unwrap(), seed };
        let at = w.core.osdmap().pg_to_up_acting_osds(pg).unwrap();
        let epoch = w.core.osdmap().epoch;
        let mut stat = PgStat {
            version: EVersion::default(),
            reported_seq: SEQ.fetch_add(1, Relaxed),
            reported_epoch: epoch,
            state,
            up: at.up.clone(),
            acting: at.acting.clone(),
            acting_primary: at.acting_primary.unwrap(),
            up_primary: at.up_primary.unwrap(),
            ..PgStat::default()
        };
        stat.stats.sum.num_bytes = 1000;
        stat.stats.sum.num_bytes_recovered = recovered;
        let osd = at.acting_primary.unwrap();
        let id = w.open(Role::Mgr, &format!("osd.{}", osd.0), 7100 + osd.0 as u16, "allow *");
        w.send(id, &MPgStats { fsid: FSID, pg_stat: [(pg, stat)].into(), ..MPgStats::default() });
    }
}

fn world() -> (World, OsdId) {
    let mut w = World::new(4);
    run(&mut w, Role::Mon, r#"{"prefix":"osd pool create","pool":"p","pg_num":8}"#);
    report(&mut w, 0..8, CLEAN, 0);
    let pg = PgId { pool: *w.core.osdmap().pools.keys().next().unwrap(), seed: 0 };
    let first = w.core.osdmap().pg_to_up_acting_osds(pg).unwrap().acting[0];
    (w, first)
}

#[test]
fn an_osd_that_is_marked_out_is_followed_until_its_pgs_are_clean() {
    let (mut w, osd) = world();
    assert_eq!(run(&mut w, Role::Mgr, r#"{"prefix":"progress"}"#).0, "Nothing in progress");
    run(&mut w, Role::Mon, &format!(r#"{{"prefix":"osd out","ids":["{}"]}}"#, osd.0));
    report(&mut w, 0..8, MOVING, 0);
    w.event(MonEvent::Tick);
    let v = json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#);
    assert_eq!(v["events"][0]["message"], format!("Rebalancing after osd.{} marked out", osd.0));
    assert_eq!(
        (&v["events"][0]["refs"], v["events"][0]["progress"].as_f64()),
        (&serde_json::json!([["osd", osd.0]]), Some(0.0))
    );
    assert_eq!(v["events"][1]["message"], "Global Recovery Event");
    let s = String::from_utf8(run(&mut w, Role::Mon, r#"{"prefix":"status"}"#).1).unwrap();
    assert!(
        s.contains("\n  progress:\n    Global Recovery Event (0s)\n      [............................] \n"),
        "{s}"
    );
    let s = json_of(&mut w, Role::Mon, r#"{"prefix":"status","format":"json"}"#);
    let events: Vec<&serde_json::Value> = s["progress_events"].as_object().unwrap().values().collect();
    assert_eq!(events.iter().filter(|e| e["add_to_ceph_s"] == true).count(), 1);
    // Half of the bytes.
    report(&mut w, 0..8, MOVING, 500);
    w.event(MonEvent::Tick);
    let v = json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#);
    assert_eq!(v["events"][0]["progress"], 0.5);
    // Bytes alone are not the end.
    report(&mut w, 0..8, MOVING, 1500);
    w.event(MonEvent::Tick);
    assert_eq!(
        json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#)["completed"],
        serde_json::json!([])
    );
    report(&mut w, 0..6, CLEAN, 1000);
    w.event(MonEvent::Tick);
    let v = json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#);
    let global = v["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["message"] == "Global Recovery Event")
        .unwrap()
        .clone();
    assert_eq!(global["progress"], 0.75);
    report(&mut w, 6..8, CLEAN, 1000);
    w.event(MonEvent::Tick);
    let v = json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#);
    assert_eq!((v["events"].as_array().unwrap().len(), v["completed"].as_array().unwrap().len()), (0, 2));
    let text = String::from_utf8(run(&mut w, Role::Mgr, r#"{"prefix":"progress"}"#).1).unwrap();
    assert!(text.contains(&format!("[Complete]: Rebalancing after osd.{} marked out (", osd.0)), "{text}");
    // The next leader knows them, too.
    let mut w = w.restarted();
    assert_eq!(json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#)["completed"], v["completed"]);
    run(&mut w, Role::Mgr, r#"{"prefix":"progress clear"}"#);
    assert_eq!(run(&mut w, Role::Mgr, r#"{"prefix":"progress"}"#).0, "Nothing in progress");
}

#[test]
fn an_osd_that_comes_back_in_ends_its_event_and_off_is_off() {
    let (mut w, osd) = world();
    run(&mut w, Role::Mon, &format!(r#"{{"prefix":"osd out","ids":["{}"]}}"#, osd.0));
    report(&mut w, 0..8, MOVING, 0);
    run(&mut w, Role::Mon, &format!(r#"{{"prefix":"osd in","ids":["{}"]}}"#, osd.0));
    let v = json_of(&mut w, Role::Mgr, r#"{"prefix":"progress json"}"#);
    assert_eq!(v["completed"][0]["message"], format!("Rebalancing after osd.{} marked out", osd.0));
    assert_eq!(v["events"][0]["message"], format!("Rebalancing after osd.{} marked in", osd.0));
    assert_eq!(run(&mut w, Role::Mgr, r#"{"prefix":"progress off"}"#).0, "progress disabled");
    assert_eq!(run(&mut w, Role::Mgr, r#"{"prefix":"progress off"}"#).0, "progress already disabled!");
    report(&mut w, 0..8, CLEAN, 0);
    run(&mut w, Role::Mon, &format!(r#"{{"prefix":"osd out","ids":["{}"]}}"#, osd.0));
    assert_eq!(run(&mut w, Role::Mgr, r#"{"prefix":"progress"}"#).0, "Nothing in progress");
    assert_eq!(run(&mut w, Role::Mgr, r#"{"prefix":"progress on"}"#).0, "progress enabled");
}
