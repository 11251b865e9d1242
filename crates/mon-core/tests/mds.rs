//! MDS daemons on the monitor: they wait, serve, fall silent, fail, come back; and what is kept of that over a restart.

use messages::{MMdsBeacon, MMdsMap, MdsHealth, MdsHealthMetric, PaxosHeader};
use mon_core::testing::{FSID, World};
use mon_core::{Role, SessionId};
use types::compatset::{CompatSet, FeatureSet};
use types::fsmap::{FsMap, MDS_FEATURES};
use types::mdsmap::{MdsInfo, MdsMap, state};

/// A daemon as its side sees it.
struct Mds {
    id: SessionId,
    name: String,
    gid: u64,
    seq: u64,
    epoch: u64,
    state: i32,
    fs: String,
}

fn command(w: &mut World, json: &str) -> (i32, String, String) {
    let (ret, outs, data) = w.command(Role::Mon, json);
    (ret, outs, String::from_utf8(data.to_vec()).unwrap())
}
fn ok(w: &mut World, json: &str) -> String {
    let (ret, outs, data) = command(w, json);
    assert_eq!(ret, 0, "{json}: {outs}");
    if data.is_empty() { outs } else { data }
}

fn cluster() -> World {
    let mut w = World::new(3);
    for pool in ["meta", "data"] {
        ok(&mut w, &format!(r#"{{"prefix":"osd pool create","pool":"{pool}","pg_num":8}}"#));
    }
    w
}
fn new_fs(w: &mut World) {
    let text = ok(w, r#"{"prefix":"fs new","fs_name":"f","metadata":"meta","data":"data"}"#);
    assert_eq!(text, "new fs with metadata pool 1 and data pool 2");
}

impl Mds {
    fn boot(w: &mut World, name: &str) -> Mds {
        let caps = r#"["mon","allow profile mds","mds","allow *"]"#;
        ok(w, &format!(r#"{{"prefix":"auth get-or-create","entity":"mds.{name}","caps":{caps}}}"#));
        let port = 7500 + w.core.fsmap().epoch.0 as u16;
        let id = w.open(Role::Mon, &format!("mds.{name}"), port, "profile mds");
        let gid = 4100 + id;
        let mut m =
            Mds { id, name: name.to_owned(), gid, seq: 0, epoch: 0, state: state::BOOT, fs: String::new() };
        w.subscribe(id, "mdsmap", 0);
        m.see(w);
        m.beacon(w).expect("a boot is answered");
        m.see(w);
        assert_eq!(m.state, state::STANDBY);
        m
    }
    fn message(&mut self) -> MMdsBeacon {
        self.seq += 1;
        MMdsBeacon {
            paxos: PaxosHeader::new(self.epoch),
            fsid: FSID,
            global_id: self.gid,
            state: self.state,
            seq: self.seq,
            name: self.name.clone(),
            compat: CompatSet { incompat: FeatureSet::new(MDS_FEATURES), ..CompatSet::default() },
            sys_info: [("hostname".to_owned(), "h".to_owned())].into(),
            fs: self.fs.clone(),
            ..MMdsBeacon::default()
        }
    }
    /// Sends a beacon; the answer's sequence.
    fn beacon(&mut self, w: &mut World) -> Option<u64> {
        let b = self.message();
        w.send(self.id, &b);
        w.take::<MMdsBeacon>(self.id).pop().map(|r| r.seq)
    }
    /// Takes the maps that came; the newest.
    fn see(&mut self, w: &mut World) -> Option<MdsMap> {
        let m = w.take::<MMdsMap>(self.id).pop()?;
        self.epoch = m.epoch.0.into();
        let map: MdsMap = denc::from_bytes(&m.encoded).expect("a map");
        if let Some(i) = map.mds_info.get(&self.gid) {
            self.state = i.state;
        }
        Some(map)
    }
    /// Asks for a state until the map has it.
    fn become_state(&mut self, w: &mut World, s: i32) {
        self.see(w);
        self.state = s;
        self.beacon(w).expect("an answer");
        self.see(w);
        assert_eq!(info(w, self.gid).state, s, "{}", state::name(s));
    }
    fn replay(&mut self, w: &mut World) {
        for s in [state::RECONNECT, state::REJOIN, state::ACTIVE] {
            self.become_state(w, s);
        }
    }
    fn alive(&mut self, w: &mut World) {
        self.see(w);
        self.beacon(w).expect("an answer");
    }
}

fn map(w: &World) -> &FsMap {
    w.core.fsmap()
}
fn info(w: &World, gid: u64) -> MdsInfo {
    map(w).info(gid).expect("the daemon is in the map").clone()
}
fn stat(w: &mut World) -> String {
    let mut s = ok(w, r#"{"prefix":"mds stat"}"#);
    s.truncate(s.trim_end().len());
    s
}
/// Two daemons, the first of which serves.
fn pair() -> (World, Mds, Mds) {
    let mut w = cluster();
    let mut a = Mds::boot(&mut w, "a");
    new_fs(&mut w);
    a.become_state(&mut w, state::ACTIVE);
    let b = Mds::boot(&mut w, "b");
    assert_eq!(stat(&mut w), "f:1 {0=a=up:active} 1 up:standby");
    (w, a, b)
}

#[test]
fn a_daemon_waits_and_serves_the_first_file_system() {
    let mut w = cluster();
    let mut a = Mds::boot(&mut w, "a");
    assert_eq!(stat(&mut w), " 1 up:standby");
    new_fs(&mut w);
    let m = a.see(&mut w).expect("its map");
    assert_eq!((a.state, m.fs_name.as_str(), m.in_ranks.len()), (state::CREATING, "f", 1));
    a.become_state(&mut w, state::ACTIVE);
    assert_eq!(stat(&mut w), "f:1 {0=a=up:active}");
    let pools = &w.core.osdmap().pools;
    let apps: Vec<String> =
        pools.values().map(|p| format!("{:?}", p.application_metadata["cephfs"])).collect();
    assert_eq!(apps, [r#"{"metadata": "f"}"#, r#"{"data": "f"}"#]);
}

#[test]
fn a_failed_daemon_is_blocklisted_and_replaced_at_once() {
    let (mut w, mut a, mut b) = pair();
    let old = info(&w, a.gid);
    assert_eq!(ok(&mut w, r#"{"prefix":"mds fail","role_or_gid":"a"}"#), format!("failed mds gid {}", a.gid));
    let fs = &map(&w).filesystems[&1].mds_map;
    assert_eq!(fs.last_failure_osd_epoch, w.core.osdmap().epoch);
    for x in &old.addrs.0 {
        assert!(w.core.osdmap().blocklist.keys().any(|k| k.sock == x.sock && k.nonce == x.nonce));
    }
    let m = a.see(&mut w).expect("a map without itself");
    assert!(!m.mds_info.contains_key(&a.gid));
    b.see(&mut w);
    assert_eq!(b.state, state::REPLAY);
    b.replay(&mut w);
    assert_eq!(stat(&mut w), "f:1 {0=b=up:active}");
    let a = Mds::boot(&mut w, "a");
    assert_eq!(info(&w, a.gid).state, state::STANDBY);
}

#[test]
fn a_silent_daemon_is_replaced_after_the_grace_and_never_heard_again() {
    let (mut w, mut a, mut b) = pair();
    for _ in 0..4 {
        w.advance(4);
        b.alive(&mut w);
    }
    b.see(&mut w);
    assert_eq!(b.state, state::REPLAY);
    a.see(&mut w);
    assert_eq!(a.beacon(&mut w), None, "it is told that it is in no map");
    assert!(a.see(&mut w).is_some_and(|m| m.mds_info.is_empty()));
}

#[test]
fn without_a_standby_a_silent_daemon_stays_and_is_laggy_until_it_is_heard() {
    let mut w = cluster();
    let mut a = Mds::boot(&mut w, "a");
    new_fs(&mut w);
    a.become_state(&mut w, state::ACTIVE);
    for _ in 0..5 {
        w.advance(4);
    }
    assert!(info(&w, a.gid).is_laggy());
    assert_eq!(stat(&mut w), "f:1 {0=a=up:active(laggy or crashed)}");
    a.alive(&mut w);
    a.alive(&mut w);
    assert!(!info(&w, a.gid).is_laggy());
}

#[test]
fn a_silent_standby_leaves_the_map() {
    let (mut w, mut a, b) = pair();
    for _ in 0..5 {
        w.advance(4);
        a.alive(&mut w);
    }
    assert!(map(&w).info(b.gid).is_none());
    assert_eq!(stat(&mut w), "f:1 {0=a=up:active}");
    let (_, _, health) = command(&mut w, r#"{"prefix":"health","detail":"detail"}"#);
    assert!(health.contains("[WRN] MDS_INSUFFICIENT_STANDBY: insufficient standby MDS daemons available\n    have 0; want 1 more"), "{health}");
}

#[test]
fn a_monitor_that_starts_again_gives_everyone_a_whole_grace() {
    let (mut w, a, b) = pair();
    w.advance(1);
    let before = map(&w).clone();
    let mut w = w.restarted();
    assert_eq!(*map(&w), before);
    w.advance(1);
    w.advance(1);
    assert_eq!(*map(&w), before, "nobody has fallen silent by our own absence");
    assert!(map(&w).info(a.gid).is_some() && map(&w).info(b.gid).is_some());
}

#[test]
fn a_monitor_that_was_stopped_for_long_blames_nobody() {
    let (mut w, a, b) = pair();
    w.advance(300);
    assert!(!info(&w, a.gid).is_laggy() && !info(&w, b.gid).is_laggy());
}

#[test]
fn a_daemon_cannot_make_itself_active_or_speak_for_another() {
    let (mut w, a, mut b) = pair();
    b.state = state::ACTIVE;
    b.beacon(&mut w);
    assert_eq!(info(&w, b.gid).state, state::STANDBY);
    let mut m = b.message();
    (m.global_id, m.name, m.state) = (a.gid, "a".into(), state::STOPPED);
    w.send(b.id, &m);
    assert_eq!(info(&w, a.gid).state, state::ACTIVE);
    let mut user = w.open(Role::Mon, "client.x", 9100, "allow r");
    w.send(user, &m);
    user = w.open(Role::Mon, "mds.a", 9101, "allow r");
    m.global_id = 4100 + user;
    w.send(user, &m);
    assert_eq!(map(&w).mds_roles.len(), 2);
}

#[test]
fn a_wish_made_on_an_old_map_does_not_count() {
    let (mut w, mut a, _) = pair();
    a.see(&mut w);
    ok(&mut w, r#"{"prefix":"fs set","fs_name":"f","var":"down","val":"true"}"#);
    w.advance(1);
    assert_eq!(info(&w, a.gid).state, state::STOPPING);
    // It has not seen that: its beacon says active.
    a.beacon(&mut w);
    assert_eq!(info(&w, a.gid).state, state::STOPPING);
    a.become_state_stopped(&mut w);
}
impl Mds {
    fn become_state_stopped(&mut self, w: &mut World) {
        self.see(w);
        self.state = state::STOPPED;
        self.beacon(w);
        assert!(map(w).info(self.gid).is_none());
        assert!(map(w).filesystems[&1].mds_map.stopped.contains(&0));
    }
}

#[test]
fn ranks_are_added_and_stopped_as_max_mds_says() {
    let (mut w, mut a, mut b) = pair();
    ok(&mut w, r#"{"prefix":"fs set","fs_name":"f","var":"max_mds","val":"2"}"#);
    w.advance(1);
    b.become_state(&mut w, state::ACTIVE);
    assert_eq!(stat(&mut w), "f:2 {0=a=up:active,1=b=up:active}");
    ok(&mut w, r#"{"prefix":"fs set","fs_name":"f","var":"max_mds","val":"1"}"#);
    w.advance(1);
    b.see(&mut w);
    assert_eq!(b.state, state::STOPPING);
    b.state = state::STOPPED;
    b.beacon(&mut w);
    a.alive(&mut w);
    assert_eq!(stat(&mut w), "f:1 {0=a=up:active}");
}

#[test]
fn a_damaged_rank_waits_for_its_repair() {
    let (mut w, mut a, mut b) = pair();
    a.see(&mut w);
    a.state = state::DAMAGED;
    a.beacon(&mut w).expect("it may end now");
    w.advance(1);
    assert_eq!(stat(&mut w), "f:0/1 1 up:standby, 1 damaged");
    let (_, _, health) = command(&mut w, r#"{"prefix":"health","detail":"detail"}"#);
    assert!(health.contains("[ERR] MDS_DAMAGE: 1 mds daemon damaged\n    fs f mds.0 is damaged"), "{health}");
    assert_eq!(ok(&mut w, r#"{"prefix":"mds repaired","role":"0"}"#), "repaired: restoring rank 1:0");
    w.advance(1);
    b.see(&mut w);
    assert_eq!(b.state, state::REPLAY);
}

#[test]
fn followers_take_over_first_and_go_with_the_flag() {
    let (mut w, a, mut b) = pair();
    ok(&mut w, r#"{"prefix":"fs set","fs_name":"f","var":"allow_standby_replay","val":"true"}"#);
    w.advance(1);
    b.see(&mut w);
    assert_eq!(b.state, state::STANDBY_REPLAY);
    let mut c = Mds::boot(&mut w, "c");
    assert_eq!(stat(&mut w), "f:1 {0=a=up:active} 1 up:standby-replay 1 up:standby");
    ok(&mut w, &format!(r#"{{"prefix":"mds fail","role_or_gid":"{}"}}"#, a.gid));
    b.see(&mut w);
    c.see(&mut w);
    assert_eq!((b.state, c.state), (state::REPLAY, state::STANDBY));
    b.replay(&mut w);
    w.advance(1);
    c.see(&mut w);
    assert_eq!(c.state, state::STANDBY_REPLAY);
    ok(&mut w, r#"{"prefix":"fs set","fs_name":"f","var":"allow_standby_replay","val":"false"}"#);
    assert!(map(&w).info(c.gid).is_none());
}

#[test]
fn a_daemon_that_prefers_a_file_system_gets_it() {
    let (mut w, a, mut b) = pair();
    b.fs = "f".into();
    b.alive(&mut w);
    b.alive(&mut w);
    w.advance(1);
    assert!(map(&w).info(a.gid).is_none());
    b.see(&mut w);
    assert_eq!(b.state, state::REPLAY);
}

#[test]
fn complaints_are_health_checks_until_they_end() {
    let (mut w, mut a, _) = pair();
    a.see(&mut w);
    let metadata =
        [("num_segments".to_owned(), "200".to_owned()), ("max_segments".to_owned(), "128".to_owned())];
    let trim = MdsHealthMetric {
        kind: 1,
        severity: 1,
        message: "Behind on trimming (200/128)".into(),
        metadata: metadata.into(),
    };
    let b = MMdsBeacon { health: MdsHealth { metrics: vec![trim] }, ..a.message() };
    w.send(a.id, &b);
    let (_, _, health) = command(&mut w, r#"{"prefix":"health","detail":"detail"}"#);
    let want = "[WRN] MDS_TRIM: 1 MDSs behind on trimming\n    mds.a(mds.0): Behind on trimming (200/128) max_segments: 128, num_segments: 200";
    assert!(health.contains(want), "{health}");
    a.alive(&mut w);
    let (_, _, health) = command(&mut w, r#"{"prefix":"health"}"#);
    assert!(!health.contains("MDS_TRIM"), "{health}");
}

#[test]
fn what_daemons_say_of_their_hosts_is_counted() {
    let (mut w, mut a, mut b) = pair();
    for (d, host) in [(&mut a, "one"), (&mut b, "two")] {
        let b = MMdsBeacon { sys_info: [("hostname".to_owned(), host.to_owned())].into(), ..d.message() };
        w.send(d.id, &b);
    }
    let (_, _, n) =
        command(&mut w, r#"{"prefix":"mds count-metadata","property":"hostname","format":"json"}"#);
    let n: std::collections::BTreeMap<String, u64> = serde_json::from_str(&n).unwrap();
    assert_eq!(n.values().sum::<u64>(), 2, "{n:?}");
}

#[test]
fn fs_fail_reset_and_rm() {
    let (mut w, _, mut b) = pair();
    let text = "all MDS daemons must be inactive/failed before removing filesystem. See `ceph fs fail`.";
    let rm = r#"{"prefix":"fs rm","fs_name":"f","yes_i_really_mean_it":true}"#;
    assert_eq!(command(&mut w, rm).1, text);
    ok(&mut w, r#"{"prefix":"fs fail","fs_name":"f"}"#);
    w.advance(1);
    assert_eq!(stat(&mut w), "f:0/1 1 up:standby, 1 failed");
    ok(&mut w, r#"{"prefix":"fs reset","fs_name":"f","yes_i_really_mean_it":true}"#);
    w.advance(1);
    b.see(&mut w);
    assert_eq!(b.state, state::REPLAY, "what was there is replayed, not made anew");
    ok(&mut w, r#"{"prefix":"fs fail","fs_name":"f"}"#);
    ok(&mut w, rm);
    assert_eq!(ok(&mut w, r#"{"prefix":"fs ls"}"#), "No filesystems enabled\n");
    assert_eq!(ok(&mut w, rm), "filesystem 'f' does not exist");
}

#[test]
fn every_epoch_can_be_looked_at() {
    let (mut w, _, _) = pair();
    let newest = map(&w).epoch.0;
    for e in 2..=newest {
        let text = ok(&mut w, &format!(r#"{{"prefix":"fs dump","epoch":{e}}}"#));
        assert!(text.starts_with(&format!("e{e}\n")), "{text}");
    }
    assert_eq!(command(&mut w, r#"{"prefix":"fs dump","epoch":999}"#).0, -2);
}

#[test]
fn a_client_gets_the_file_system_that_it_names() {
    let (mut w, _, _) = pair();
    let id = w.open(Role::Mon, "client.admin", 9200, "allow *");
    for (what, found) in [("mdsmap", true), ("mdsmap.1", true), ("mdsmap.7", false), ("mdsmap.x", false)] {
        w.subscribe(id, what, 0);
        assert_eq!(w.take::<MMdsMap>(id).pop().is_some_and(|m| m.map_fs_name == "f"), found, "{what}");
    }
    w.subscribe(id, "fsmap.user", 0);
    let names = w.take::<messages::MFsMapUser>(id).pop().unwrap().fsmap.filesystems;
    assert_eq!(names[0].name, "f");
}

#[test]
fn hostile_beacons_change_nothing() {
    let (mut w, mut a, _) = pair();
    a.see(&mut w);
    let before = map(&w).clone();
    let long = "x".repeat(1 << 20);
    let loud = MdsHealthMetric { kind: 1, severity: 1, message: long.clone(), ..MdsHealthMetric::default() };
    let mut wordy = CompatSet { incompat: FeatureSet::new(MDS_FEATURES), ..CompatSet::default() };
    wordy.incompat.names.insert(1, long.clone());
    for bad in [
        MMdsBeacon { name: long.clone(), ..a.message() },
        MMdsBeacon { state: state::CREATING, ..a.message() },
        MMdsBeacon { state: 99, ..a.message() },
        MMdsBeacon { seq: 0, state: state::STOPPING, ..a.message() },
        MMdsBeacon { fsid: types::Fsid([9; 16]), state: state::STOPPED, ..a.message() },
        MMdsBeacon { sys_info: [(long.clone(), long)].into(), state: state::BOOT, ..a.message() },
        MMdsBeacon { health: MdsHealth { metrics: vec![loud] }, ..a.message() },
        MMdsBeacon { compat: wordy, ..a.message() },
    ] {
        w.send(a.id, &bad);
    }
    assert_eq!(*map(&w), before);
    assert!(w.disk.values().all(|v| v.len() < 1 << 20), "nor is it stored elsewhere");
}
