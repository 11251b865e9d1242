//! What the central configuration says to monitors themselves: obeyed at once, after a restart, and behind what their own files say, as by stock's.

use mon_core::testing::World;
use mon_core::{MonEffect, MonEvent, Role};
use serde_json::Value;
use std::collections::BTreeMap;

fn run(w: &mut World, json: &str) -> (i32, String, String) {
    let role = if json.contains("config show") { Role::Mgr } else { Role::Mon };
    let (ret, text, data) = w.command(role, json);
    (ret, text, String::from_utf8_lossy(&data).into_owned())
}

fn ok(w: &mut World, json: &str) -> String {
    let (ret, text, data) = run(w, json);
    assert_eq!(ret, 0, "{json}: {text}");
    data
}

fn set(w: &mut World, who: &str, name: &str, value: &str) {
    ok(w, &format!(r#"{{"prefix":"config set","who":"{who}","name":"{name}","value":"{value}"}}"#));
}

/// The size that a new pool gets.
fn size(w: &mut World, pool: &str) -> u32 {
    ok(w, &format!(r#"{{"prefix":"osd pool create","pool":"{pool}","pg_num":4}}"#));
    let m = w.core.osdmap();
    m.pool(m.pool_by_name(pool).expect("the pool")).expect("the pool").size.into()
}

#[test]
fn monitors_obey_the_central_configuration() {
    let mut w = World::new(3);
    assert_eq!(size(&mut w, "a"), 3);
    set(&mut w, "global", "osd_pool_default_size", "2");
    assert_eq!(size(&mut w, "b"), 2);
    set(&mut w, "mon", "osd_pool_default_size", "4");
    set(&mut w, "mon.b", "osd_pool_default_size", "5");
    set(&mut w, "osd", "osd_pool_default_size", "6");
    assert_eq!(size(&mut w, "c"), 4, "the nearest that is for this monitor");
    let mut w = w.restarted();
    assert_eq!(size(&mut w, "d"), 4);
    // A mask that is this monitor's host.
    set(&mut w, "mon/host:test", "osd_pool_default_size", "7");
    set(&mut w, "mon/host:elsewhere", "osd_pool_default_size", "8");
    assert_eq!(size(&mut w, "e"), 7);
    for who in ["global", "mon", "mon/host:test"] {
        ok(&mut w, &format!(r#"{{"prefix":"config rm","who":"{who}","name":"osd_pool_default_size"}}"#));
    }
    assert_eq!(size(&mut w, "f"), 3);
    assert_eq!(
        run(
            &mut w,
            r#"{"prefix":"osd pool delete","pool":"f","pool2":"f","yes_i_really_really_mean_it":true}"#
        )
        .0,
        -1
    );
    set(&mut w, "mon", "mon_allow_pool_delete", "true");
    ok(&mut w, r#"{"prefix":"osd pool delete","pool":"f","pool2":"f","yes_i_really_really_mean_it":true}"#);
}

#[test]
fn what_a_monitors_own_file_says_goes_before_it() {
    let mut w = World::new(3);
    let layers = BTreeMap::from([(2, "2".to_owned())]);
    let name = "osd_pool_default_size".to_owned();
    w.event(MonEvent::OptionChanged { name: name.clone(), value: "2".into(), layers });
    set(&mut w, "mon", "osd_pool_default_size", "4");
    assert_eq!(size(&mut w, "a"), 2);
    let shown = ok(&mut w, r#"{"prefix":"config show","who":"mon.a","format":"json"}"#);
    let shown: Value = serde_json::from_str(&shown).expect("json");
    assert_eq!(
        shown,
        serde_json::json!([{"name": name, "value": "2", "source": "file", "overrides": [{"source": "mon", "value": "4"}]}])
    );
    w.event(MonEvent::OptionChanged { name, value: "3".into(), layers: BTreeMap::new() });
    assert_eq!(size(&mut w, "b"), 4);
    assert_eq!(run(&mut w, r#"{"prefix":"config show","who":"mon.zz"}"#).0, -2);
}

#[test]
fn the_process_is_told_once_of_each_change() {
    let mut w = World::new(1);
    let told = |w: &mut World, json: &str| -> Vec<BTreeMap<String, String>> {
        let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
        let m = messages::MMonCommand::new(mon_core::testing::FSID, json, bytes::Bytes::new());
        let m = messages::Message::new(&m, denc::Features(types::features::SUPPORTED)).with_tid(id);
        let (now, mut told) = (w.now(), Vec::new());
        let mut todo = w.core.handle(now, MonEvent::Message(id, m));
        while let Some(e) = todo.pop() {
            match e {
                MonEffect::Propose(p) => todo.extend(w.core.handle(now, MonEvent::Committed(p))),
                MonEffect::Central(c) => told.push(c),
                _ => {}
            }
        }
        told
    };
    let set = r#"{"prefix":"config set","who":"mon","name":"mon_clock_drift_allowed","value":"0.5"}"#;
    let all = told(&mut w, set);
    assert_eq!(all, [BTreeMap::from([("mon_clock_drift_allowed".to_owned(), "0.500000".to_owned())])]);
    let set = r#"{"prefix":"config set","who":"osd","name":"osd_max_backfills","value":"2"}"#;
    assert!(told(&mut w, set).is_empty(), "it is not for monitors");
}

#[test]
fn numbers_that_are_none_in_a_file_do_no_harm() {
    let mut w = World::new(3);
    for value in ["inf", "nan", "-1", "1e300", "99999999999999999999999999", "x"] {
        for name in [
            "mon_osd_report_timeout",
            "mon_pg_stuck_threshold",
            "osd_heartbeat_grace",
            "mon_timecheck_interval",
        ] {
            let layers = BTreeMap::from([(2, value.to_owned())]);
            w.event(MonEvent::OptionChanged { name: name.into(), value: value.into(), layers });
        }
        w.advance(10);
        assert_eq!(w.command(Role::Mon, r#"{"prefix":"health"}"#).0, 0);
    }
}
