//! What an OSD's report tells beyond numbers: alerts of its store, heartbeat times, where objects are.

use messages::MPgStats;
use mon_core::testing::{FSID, World};
use mon_core::{MonEvent, Role};
use std::collections::{BTreeMap, BTreeSet};
use types::osdstat::{HbPingTime, OsdStat, PingTimes};
use types::pgstat::{PgShard, PgStat};
use types::{OsdId, PgId, ShardId};

fn world() -> (World, PgId) {
    let mut w = World::new(1);
    let (ret, text, _) = w.command(Role::Mon, r#"{"prefix":"osd pool create","pool":"p","pg_num":1}"#);
    assert_eq!(ret, 0, "{text}");
    let pg = PgId { pool: *w.core.osdmap().pools.keys().next().unwrap(), seed: 0 };
    (w, pg)
}

fn report(w: &mut World, pg: PgId, osd_stat: OsdStat, stat: PgStat) {
    let id = w.open(Role::Mgr, "osd.0", 7100, "allow *");
    let stat =
        PgStat { reported_seq: stat.reported_seq.max(1), reported_epoch: w.core.osdmap().epoch, ..stat };
    w.send(id, &MPgStats { fsid: FSID, osd_stat, pg_stat: [(pg, stat)].into(), ..MPgStats::default() });
    w.advance(3);
    w.event(MonEvent::Tick);
}

fn alert(code: &str, text: &str) -> BTreeMap<OsdId, BTreeMap<String, String>> {
    [(OsdId(0), [(code.to_owned(), text.to_owned())].into())].into()
}

#[test]
fn a_stores_alerts_are_health_warnings() {
    let (mut w, pg) = world();
    let stat = OsdStat {
        os_alerts: alert("BLUESTORE_SPURIOUS_READ_ERRORS", "reads with retries: 47"),
        ..OsdStat::default()
    };
    report(&mut w, pg, stat, PgStat::default());
    let check = w.core.checks()["BLUESTORE_SPURIOUS_READ_ERRORS"].clone();
    assert_eq!(check.summary, "1 OSD(s) have spurious read errors");
    assert_eq!(check.detail, [" osd.0 reads with retries: 47"]);
    let (ret, _, out) = w.command(Role::Mgr, r#"{"prefix":"pg dump","format":"json"}"#);
    assert_eq!(ret, 0);
    let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let alerts = &v["pg_map"]["osd_stats"][0]["alerts"];
    assert_eq!(alerts[0], " osd: 0 BLUESTORE_SPURIOUS_READ_ERRORS:reads with retries: 47");
    assert_eq!(&v["pg_map"]["osd_stats_sum"]["alerts"], alerts);
}

#[test]
fn an_alert_hides_no_check_of_the_monitors() {
    let (mut w, pg) = world();
    let before = w.core.checks();
    let code = before.keys().next().expect("a cluster without OSDs is not well").clone();
    let stat = OsdStat { os_alerts: alert(&code, "all is well"), ..OsdStat::default() };
    report(&mut w, pg, stat, PgStat::default());
    assert_eq!(w.core.checks()[&code].summary, before[&code].summary);
}

#[test]
fn a_dump_has_all_that_was_reported() {
    let (mut w, pg) = world();
    let times = PingTimes { average: [1500, 2, 3], min: [1, 1, 1], max: [9, 9, 9], last: 4 };
    let ping = HbPingTime { last_update: 0, back: times, front: PingTimes::default() };
    let osd = OsdStat { hb_pingtime: [(OsdId(1), ping)].into(), num_pgs: u32::MAX, ..OsdStat::default() };
    let shard = |osd, shard| PgShard { osd: OsdId(osd), shard: ShardId(shard) };
    let stat = PgStat {
        purged_snaps: [(10, 17)].into_iter().collect(),
        avail_no_missing: vec![shard(2, -1), shard(0, 1)],
        object_location_counts: [(BTreeSet::from([shard(0, -1), shard(2, -1)]), 5)].into(),
        ..PgStat::default()
    };
    report(&mut w, pg, osd, stat);
    let (ret, _, out) = w.command(Role::Mgr, r#"{"prefix":"pg dump","format":"json"}"#);
    assert_eq!(ret, 0);
    let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let p = &v["pg_map"]["pg_stats"][0];
    assert_eq!(p["purged_snaps"], serde_json::json!([{"start": "a", "length": "11"}]));
    assert_eq!(p["avail_no_missing"], serde_json::json!(["2", "0(1)"]));
    assert_eq!(p["object_location_counts"], serde_json::json!([{"shards": "0,2", "objects": 5}]));
    let e = &v["pg_map"]["osd_stats"][0]["network_ping_times"][0];
    assert_eq!((&e["osd"], &e["last update"]), (&1.into(), &"Thu Jan  1 00:00:00 1970".into()));
    assert_eq!(e["interfaces"].as_array().map(Vec::len), Some(1), "no front interface: {e}");
    assert_eq!(e["interfaces"][0]["average"]["1min"], 1.5);
}

#[test]
fn a_dump_says_what_was_done_lately_and_over_what_time() {
    let (mut w, pg) = world();
    for (seq, num_wr) in [(1, 100), (2, 105), (3, 107)] {
        let mut stat = PgStat { reported_seq: seq, ..PgStat::default() };
        stat.stats.sum.num_wr = num_wr;
        report(&mut w, pg, OsdStat::default(), stat);
    }
    let (_, _, out) = w.command(Role::Mgr, r#"{"prefix":"pg dump","format":"json"}"#);
    let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let delta = &v["pg_map"]["pg_stats_delta"];
    let over: f64 = delta["stamp_delta"].as_str().unwrap().parse().unwrap();
    let wrote = delta["stat_sum"]["num_write"].as_i64().unwrap();
    assert!(over >= 3.0 && (7..=107).contains(&wrote), "{wrote} writes in {over} s");
}
