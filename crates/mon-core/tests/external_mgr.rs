//! External managers: who is active, failover, what they report, and how the role comes and goes.

use bytes::Bytes;
use denc::Features;
use messages::mgr::{CommandDesc, MMgrBeacon, MMgrDigest, MMgrMap, MMonMgrReport, MServiceMap};
use messages::mon::{MMonSubscribe, SubItem};
use messages::{MKvData, MMgrOpen, Message, kinds};
use mon_core::testing::{FSID, World};
use mon_core::{MonEffect, MonEvent, QuorumInfo, Role, SessionId};
use serde_json::Value;
use std::collections::BTreeMap;
use types::features::SUPPORTED;
use types::mgrmap::{MgrMap, ModuleInfo};
use types::pgdigest::{PgMapDigest, ProgressEvent};
use types::pgstat::pg_state;
use types::raw::RawStruct;
use types::servicemap::{HealthCheck, HealthCheckMap, HealthStatus, ServiceMap};
use types::{AddrType, AddrVec, EntityAddr, Epoch, MonState};

fn run(w: &mut World, json: &str) -> String {
    let (ret, text, data) = w.command(Role::Mon, json);
    assert_eq!(ret, 0, "{json}: {text}");
    String::from_utf8_lossy(&data).into_owned()
}
fn json(w: &mut World, command: &str) -> Value {
    let text = run(w, &format!(r#"{{"prefix":"{command}","format":"json"}}"#));
    serde_json::from_str(&text).unwrap()
}
fn builtin(w: &mut World, yes: bool) {
    run(w, &format!(r#"{{"prefix":"config set","who":"mon","name":"mon_mgr_builtin","value":"{yes}"}}"#));
    w.advance(1);
}
/// A cluster in which the role is for external managers.
fn world() -> World {
    let mut w = World::new(3);
    builtin(&mut w, false);
    w
}
fn address(port: u16) -> AddrVec {
    AddrVec(vec![EntityAddr::new(AddrType::Msgr2, ([127, 0, 0, 1], port).into(), 7)])
}
fn manager(w: &mut World, name: &str) -> SessionId {
    run(
        w,
        &format!(
            r#"{{"prefix":"auth get-or-create","entity":"mgr.{name}","caps":["mon","allow profile mgr"]}}"#
        ),
    );
    w.open(Role::Mon, &format!("mgr.{name}"), 6900, "allow profile mgr")
}
fn beacon(id: SessionId, name: &str, available: bool) -> MMgrBeacon {
    let module = |name: &str| ModuleInfo { name: name.to_owned(), can_run: true, ..ModuleInfo::default() };
    MMgrBeacon {
        fsid: FSID,
        gid: 4100 + id,
        name: name.to_owned(),
        available,
        server_addrs: if available { address(6950) } else { AddrVec::default() },
        metadata: BTreeMap::from([("ceph_version".to_owned(), "ceph version 16".to_owned())]),
        modules: vec![module("restful"), module("alerts")],
        mgr_features: SUPPORTED,
        ..MMgrBeacon::default()
    }
}
fn map(w: &mut World) -> Value {
    json(w, "mgr dump")
}
/// A manager that has become the active one.
fn activate(w: &mut World, name: &str) -> SessionId {
    let id = manager(w, name);
    w.send(id, &beacon(id, name, false));
    w.send(id, &beacon(id, name, true));
    assert_eq!((&map(w)["active_name"], &map(w)["available"]), (&name.into(), &true.into()));
    id
}
fn report(id: SessionId, objects: i64) -> MMonMgrReport {
    let mut digest = PgMapDigest {
        num_pg: 8,
        num_pg_active: 8,
        num_pg_by_state: BTreeMap::from([(pg_state::ACTIVE | pg_state::CLEAN, 8)]),
        ..PgMapDigest::default()
    };
    digest.pg_sum.stats.sum.num_objects = objects;
    let check = HealthCheck {
        severity: HealthStatus::Warn,
        summary: "something of a module".to_owned(),
        count: 1,
        ..HealthCheck::default()
    };
    let event = ProgressEvent {
        message: "Global Recovery Event (5s)".to_owned(),
        progress: 0.5,
        add_to_ceph_s: true,
    };
    MMonMgrReport {
        health_checks: HealthCheckMap(BTreeMap::from([("MGR_MODULE_ERROR".to_owned(), check)])),
        service_map: denc::to_bytes(&ServiceMap { epoch: Epoch(4), ..ServiceMap::default() }, Features::ALL),
        progress_events: BTreeMap::from([("e1".to_owned(), RawStruct::of(&event, Features::ALL))]),
        gid: 4100 + id,
        digest: denc::to_bytes(&digest, Features::ALL),
        ..MMonMgrReport::default()
    }
}

#[test]
fn the_first_manager_becomes_active_and_the_next_ones_wait() {
    let mut w = world();
    assert_eq!((&map(&mut w)["active_gid"], &map(&mut w)["available"]), (&0.into(), &false.into()));
    let x = manager(&mut w, "x");
    w.subscribe(x, "mgrmap", 0);
    w.take::<MMgrMap>(x);
    w.send(x, &beacon(x, "x", false));
    let told = w.take::<MMgrMap>(x).pop().unwrap().map;
    assert_eq!((told.active_name.as_str(), told.active_gid, told.available), ("x", 4100 + x, false));
    assert!(told.always_on_modules[&16].contains("balancer"), "its modules run by release");
    let y = manager(&mut w, "y");
    w.send(y, &beacon(y, "y", false));
    let desc = CommandDesc {
        cmdstring: "pg map name=pgid,type=CephPgid".into(),
        helpstring: "show mapping".into(),
        module: "pg".into(),
        req_perms: "r".into(),
        flags: 0,
    };
    w.send(x, &MMgrBeacon { command_descs: vec![desc], ..beacon(x, "x", true) });
    let m = map(&mut w);
    assert_eq!(
        (&m["available"], &m["active_name"], &m["standbys"][0]["name"]),
        (&true.into(), &"x".into(), &"y".into())
    );
    assert_eq!(m["active_addrs"]["addrvec"][0]["nonce"], 7);
    assert!(run(&mut w, r#"{"prefix":"status"}"#).contains("    mgr: x(active, since "));
    let all = run(&mut w, r#"{"prefix":"get_command_descriptions"}"#);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["cmd000"]["sig"][2]["type"], "CephPgid");
    assert_eq!(all["cmd000"]["flags"], 8);
    let managers =
        all.as_object().unwrap().values().filter(|c| c["flags"].as_u64().unwrap() & 8 != 0).count();
    assert_eq!(managers, 1, "no commands of the built-in manager");
    assert_eq!(json(&mut w, "mgr versions"), serde_json::json!({"ceph version 16": 2}));
}

#[test]
fn a_silent_manager_is_replaced_and_kept_from_the_osds() {
    let mut w = world();
    let x = activate(&mut w, "x");
    let client = ("rados".to_owned(), address(6951));
    let clients = messages::mgr::MgrClients(vec![client]);
    w.send(x, &MMgrBeacon { clients, ..beacon(x, "x", true) });
    let y = manager(&mut w, "y");
    for _ in 0..13 {
        w.send(y, &beacon(y, "y", false));
        w.advance(2);
    }
    assert_eq!(map(&mut w)["active_name"], "x", "not before the grace is over");
    for _ in 0..4 {
        w.send(y, &beacon(y, "y", false));
        w.advance(2);
    }
    let m = map(&mut w);
    assert_eq!(
        (&m["active_name"], &m["available"], &m["standbys"]),
        (&"y".into(), &false.into(), &serde_json::json!([]))
    );
    assert_eq!(m["last_failure_osd_epoch"], w.core.osdmap().epoch.0);
    let blocked: Vec<u16> = w.core.osdmap().blocklist.keys().filter_map(|a| Some(a.sock?.port())).collect();
    assert_eq!(blocked, [6950, 6951]);
    // It lives after all, and takes itself for the active one.
    w.send(x, &beacon(x, "x", true));
    let told = w.take::<MMgrMap>(x).pop().unwrap().map;
    assert_eq!((told.active_gid, told.epoch), (0, Epoch(u32::MAX)));
    assert_eq!(map(&mut w)["active_name"], "y");
}

#[test]
fn a_restarted_manager_is_a_new_one() {
    let mut w = world();
    activate(&mut w, "x");
    let again = manager(&mut w, "x");
    w.send(again, &beacon(again, "x", false));
    let m = map(&mut w);
    assert_eq!((&m["active_gid"], &m["available"]), (&(4100 + again).into(), &false.into()));
    assert_eq!(w.core.osdmap().blocklist.len(), 1);
}

#[test]
fn a_monitor_that_was_away_drops_nobody() {
    let mut w = world();
    activate(&mut w, "x");
    w.advance(2);
    w.advance(300);
    assert_eq!(map(&mut w)["active_name"], "x");
}

#[test]
fn without_a_manager_health_says_so() {
    let mut w = world();
    w.advance(130);
    assert!(run(&mut w, r#"{"prefix":"health"}"#).starts_with("HEALTH_ERR no active mgr"));
    activate(&mut w, "x");
    assert!(!run(&mut w, r#"{"prefix":"health"}"#).contains("no active mgr"));
    run(&mut w, r#"{"prefix":"mgr fail"}"#);
    assert!(run(&mut w, r#"{"prefix":"health"}"#).starts_with("HEALTH_WARN no active mgr"));
    assert!(run(&mut w, r#"{"prefix":"status"}"#).contains("    mgr: no daemons active (since "));
    builtin(&mut w, true);
    assert!(!run(&mut w, r#"{"prefix":"health"}"#).contains("no active mgr"));
}

#[test]
fn nobody_speaks_for_another_manager() {
    let mut w = world();
    for (entity, caps) in [
        ("mgr.y", "allow profile mgr"),
        ("mgr.x", "allow r"),
        ("client.admin", "allow *"),
        ("osd.0", "allow *"),
    ] {
        let id = w.open(Role::Mon, entity, 6900, caps);
        w.send(id, &beacon(id, "x", false));
        assert_eq!(map(&mut w)["active_gid"], 0, "{entity} {caps}");
    }
    let x = manager(&mut w, "x");
    w.send(x, &MMgrBeacon { gid: 1, ..beacon(x, "x", false) });
    w.send(x, &MMgrBeacon { fsid: types::Fsid([9; 16]), ..beacon(x, "x", false) });
    assert_eq!(map(&mut w)["active_gid"], 0);
    activate(&mut w, "x");
    let y = manager(&mut w, "y");
    w.send(y, &report(y, 7));
    assert_eq!(json(&mut w, "status")["pgmap"]["num_pgs"], 0, "only the active one reports");
}

#[test]
fn what_the_manager_reports_is_shown_and_survives_a_restart() {
    let mut w = world();
    let x = activate(&mut w, "x");
    w.subscribe(x, "servicemap", 0);
    assert_eq!(w.take::<MServiceMap>(x).len(), 1, "an empty one, at first");
    w.send(x, &report(x, 7));
    assert_eq!(w.take::<MServiceMap>(x).pop().unwrap().service_map.epoch, Epoch(4));
    for _ in 0..2 {
        let s = run(&mut w, r#"{"prefix":"status"}"#);
        assert!(s.contains("    objects: 7 objects") && s.contains("    pgs:     8 active+clean\n"), "{s}");
        assert!(s.contains(" \n  progress:\n    Global Recovery Event (5s)\n"), "{s}");
        assert!(s.contains("            something of a module\n"), "{s}");
        assert!(!s.contains("unknown"), "{s}");
        w = w.restarted();
    }
    builtin(&mut w, true);
    let s = run(&mut w, r#"{"prefix":"status"}"#);
    assert!(!s.contains("something of a module") && s.contains("objects: 0 objects"), "{s}");
}

#[test]
fn a_report_that_does_not_decode_ends_the_session_and_changes_nothing() {
    let mut w = world();
    let x = activate(&mut w, "x");
    let good = report(x, 7);
    w.send(x, &good);
    for n in [0, 5, 6, good.digest.len() / 2, good.digest.len() - 1] {
        let x = manager(&mut w, "x");
        // (A session of the same process, by its global id.)
        let cut = MMonMgrReport { digest: good.digest.slice(..n), gid: 4100 + x, ..good.clone() };
        w.send(x, &cut);
        assert_eq!(json(&mut w, "status")["pgmap"]["num_objects"], 7);
    }
}

#[test]
fn the_role_goes_back_to_the_monitors() {
    let mut w = world();
    let x = activate(&mut w, "x");
    w.subscribe(x, "mgrmap", 0);
    w.take::<MMgrMap>(x);
    builtin(&mut w, true);
    let told: MgrMap = w.take::<MMgrMap>(x).pop().unwrap().map;
    assert_eq!((told.active_name.as_str(), told.available), ("a", true));
    assert!(told.standbys.is_empty() && told.modules.is_empty() && told.always_on_modules.is_empty());
    assert_eq!(w.core.osdmap().blocklist.len(), 1, "what it still does reaches no OSD");
    // It starts anew and waits; the role is not its own.
    w.send(x, &beacon(x, "x", true));
    assert_eq!(w.take::<MMgrMap>(x).pop().unwrap().map.active_gid, 0);
    let again = manager(&mut w, "x");
    w.send(again, &beacon(again, "x", false));
    assert_eq!(map(&mut w)["active_name"], "a");
    assert!(w.lines.iter().any(|l| l.contains("mon_mgr_builtin false")), "{:?}", w.lines);
    let (ret, text, _) = w.command(Role::Mon, r#"{"prefix":"mgr module enable","module":"alerts"}"#);
    assert_eq!(ret, -95, "{text}");
}

#[test]
fn daemons_leave_the_built_in_manager_when_the_role_goes() {
    let mut w = World::new(3);
    let osd = w.open(Role::Mgr, "osd.0", 7000, "allow *");
    w.send(osd, &MMgrOpen { daemon_name: "0".into(), ..MMgrOpen::default() });
    assert_eq!(w.core.sessions().filter(|(_, p)| p.role == Role::Mgr).count(), 1);
    builtin(&mut w, false);
    assert_eq!(w.core.sessions().filter(|(_, p)| p.role == Role::Mgr).count(), 0);
    let late = w.open(Role::Mgr, "osd.0", 7000, "allow *");
    w.send(late, &MMgrOpen { daemon_name: "0".into(), ..MMgrOpen::default() });
    assert_eq!(w.core.sessions().filter(|(_, p)| p.role == Role::Mgr).count(), 0);
    let (ret, text, _) = w.command(Role::Mon, r#"{"prefix":"pg stat"}"#);
    assert_eq!(ret, -95, "{text}");
    assert!(text.contains("external"), "{text}");
}

#[test]
fn modules_are_turned_on_and_off_and_remembered() {
    let mut w = world();
    let x = activate(&mut w, "x");
    assert_eq!(
        json(&mut w, "mgr module ls")["enabled_modules"],
        serde_json::json!(["iostat", "nfs", "restful"])
    );
    for (module, code) in [("balancer", 0), ("nonsense", -2), ("alerts", 0), ("restful", 0)] {
        let c = format!(r#"{{"prefix":"mgr module enable","module":"{module}"}}"#);
        assert_eq!(w.command(Role::Mon, &c).0, code, "{module}");
    }
    assert_eq!(run(&mut w, r#"{"prefix":"mgr module disable","module":"restful"}"#), "");
    let on = serde_json::json!(["alerts", "iostat", "nfs"]);
    assert_eq!(json(&mut w, "mgr module ls")["enabled_modules"], on);
    builtin(&mut w, true);
    builtin(&mut w, false);
    assert_eq!(json(&mut w, "mgr module ls")["enabled_modules"], on);
    w.send(x, &beacon(x, "x", false));
    let (ret, text, _) = w.command(Role::Mon, r#"{"prefix":"mgr fail","who":"nobody"}"#);
    assert_eq!((ret, text.as_str()), (0, "Daemon not found 'nobody', already failed?"));
}

#[test]
fn digests_come_at_once_and_then_every_few_seconds() {
    let mut w = world();
    let x = activate(&mut w, "x");
    w.subscribe(x, "mgrdigest", 0);
    let first = w.take::<MMgrDigest>(x).pop().unwrap();
    let health: Value = serde_json::from_slice(&first.health_json).unwrap();
    let status: Value = serde_json::from_slice(&first.mon_status_json).unwrap();
    assert!(health["checks"].is_object() && status["name"] == "a", "{health} {status}");
    let mut n = 0;
    for _ in 0..20 {
        w.advance(1);
        n += w.take::<MMgrDigest>(x).len();
    }
    assert!((3..=5).contains(&n), "{n} digests within 20 s");
    let stranger = w.open(Role::Mon, "client.x", 9000, "allow r");
    w.subscribe(stranger, "mgrdigest", 0);
    assert!(w.take::<MMgrDigest>(stranger).is_empty());
}

#[test]
fn keys_reach_their_subscribers_whole_and_then_by_change() {
    let mut w = world();
    run(&mut w, r#"{"prefix":"config-key set","key":"mgr/crash/a","val":"1"}"#);
    run(&mut w, r#"{"prefix":"config-key set","key":"other","val":"2"}"#);
    let x = activate(&mut w, "x");
    w.subscribe(x, "kv:mgr/", 0);
    let all = w.take::<MKvData>(x).pop().unwrap();
    assert!(!all.incremental);
    assert_eq!(all.data, BTreeMap::from([("mgr/crash/a".to_owned(), Some(Bytes::from("1")))]));
    run(&mut w, r#"{"prefix":"config-key set","key":"other","val":"3"}"#);
    assert!(w.take::<MKvData>(x).is_empty());
    run(&mut w, r#"{"prefix":"config-key set","key":"mgr/b","val":"4"}"#);
    run(&mut w, r#"{"prefix":"config-key rm","key":"mgr/crash/a"}"#);
    let changes: Vec<_> = w.take::<MKvData>(x).into_iter().map(|m| (m.incremental, m.data)).collect();
    let one = |k: &str, v: Option<&'static str>| (true, BTreeMap::from([(k.to_owned(), v.map(Bytes::from))]));
    assert_eq!(changes, [one("mgr/b", Some("4")), one("mgr/crash/a", None)]);
    w.subscribe(x, "kv:config/", 0);
    let config = w.take::<MKvData>(x).pop().unwrap().data;
    assert_eq!(config["config/mon/mon_mgr_builtin"].as_deref(), Some(&b"false"[..]));
    // Who may read keys, but not options, is told of no option by a prefix that is short enough for both.
    let c = w.open(Role::Mon, "client.x", 9001, "allow service config-key r");
    w.subscribe(c, "kv:", 0);
    assert_eq!(w.take::<MKvData>(c).len(), 1);
    run(&mut w, r#"{"prefix":"config set","who":"mon","name":"mon_mgr_digest_period","value":"7"}"#);
    run(&mut w, r#"{"prefix":"config-key set","key":"other","val":"5"}"#);
    let changes: Vec<_> = w.take::<MKvData>(c).into_iter().map(|m| m.data).collect();
    assert_eq!(changes, [one("other", Some("5")).1]);
    for caps in ["allow r", "profile read-only", "allow profile osd"] {
        let c = w.open(Role::Mon, "client.x", 9000, caps);
        for what in ["kv:", "kv:mgr/", "kv:config/", "kv:c"] {
            w.subscribe(c, what, 0);
            assert!(w.take::<MKvData>(c).is_empty(), "{caps} {what}");
        }
    }
}

/// A manager of stock's reads it when it becomes active, and dies of a number that is a text.
#[test]
fn what_an_osd_says_of_itself_does_not_take_the_place_of_its_number() {
    let mut w = World::new(0);
    w.boot_with(2, &[("id", "2"), ("hostname", "h")]);
    assert_eq!(json(&mut w, "osd metadata"), serde_json::json!([{"id": 2, "hostname": "h"}]));
}

/// A member that follows serves keys and maps itself; beacons, reports and the wish for digests are the leader's.
#[test]
fn a_member_hands_to_the_leader_what_only_the_leader_answers() {
    let mut w = world();
    let x = activate(&mut w, "x");
    let follows = QuorumInfo {
        state: MonState::Peon,
        leads: false,
        leader: Some("b".into()),
        quorum: vec!["a".into(), "b".into()],
        election_epoch: 8,
        since: w.now(),
    };
    w.event(MonEvent::Quorum(follows.clone()));
    let now = w.now();
    let item = SubItem { start: 0, flags: 0 };
    let what = ["mgrdigest", "servicemap", "kv:mgr/"].map(|n| (n.to_owned(), item));
    let m = MMonSubscribe { what: what.into(), ..MMonSubscribe::default() };
    let effects = w.core.handle(now, MonEvent::Message(x, Message::new(&m, Features(SUPPORTED))));
    let mut handed: Vec<MMonSubscribe> = Vec::new();
    let mut sent: Vec<u16> = Vec::new();
    for e in effects {
        match e {
            MonEffect::Forward(id, peer, m) if id == x && peer.entity == "mgr.x" => {
                handed.push(m.decode().unwrap())
            }
            MonEffect::Send(id, m) if id == x => sent.push(m.header.kind),
            other => panic!("{other:?}"),
        }
    }
    sent.sort_unstable();
    assert_eq!(sent, [kinds::KV_DATA, kinds::SERVICE_MAP]);
    assert_eq!(handed.len(), 1);
    assert_eq!(handed[0].what.keys().collect::<Vec<_>>(), ["mgrdigest"]);
    let m = Message::new(&beacon(x, "x", true), Features(SUPPORTED));
    let effects = w.core.handle(now, MonEvent::Message(x, m));
    assert!(
        matches!(&effects[..], [MonEffect::Forward(id, _, m)] if *id == x && m.header.kind == kinds::MGR_BEACON)
    );
    // Another leader knows nothing of that wish: the manager must say it again.
    let info = QuorumInfo { leader: Some("c".into()), election_epoch: 9, ..follows };
    let effects = w.core.handle(now, MonEvent::Quorum(info));
    assert!(effects.iter().any(|e| matches!(e, MonEffect::Close(id) if *id == x)));
}
