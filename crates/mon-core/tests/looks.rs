//! What the leader sees of the other members, and what `ceph health` and `ceph time-sync-status` make of it.

use mon_core::testing::World;
use mon_core::{MonEffect, MonEvent, QuorumInfo, Role, StoreState};
use serde_json::Value;
use std::time::Duration;
use types::{MonState, Utime};

/// A leader `a`, and a member `b` with a clock of its own; messages between them take a millisecond.
struct Two {
    a: World,
    b: World,
    /// How far b's clock is ahead.
    ahead_ms: i64,
}

impl Two {
    fn new() -> Two {
        let (mut a, b) = (World::new(3), World::new(0));
        let (ret, text, _) =
            a.command(Role::Mon, r#"{"prefix":"mon add","name":"b","addr":"127.0.0.1:6790"}"#);
        assert_eq!(ret, 0, "{text}");
        let mut two = Two { a, b, ahead_ms: 0 };
        two.quorum(10);
        two
    }
    fn quorum(&mut self, election_epoch: u64) {
        self.a.event(MonEvent::Quorum(QuorumInfo {
            state: MonState::Leader,
            leads: true,
            leader: Some("a".into()),
            quorum: vec!["a".into(), "b".into()],
            election_epoch,
            since: self.a.now(),
        }));
        self.a.event(MonEvent::Readable(true));
    }
    /// Seconds pass; the members talk. Answers how often the leader looked.
    fn pass(&mut self, secs: u32) -> usize {
        let mut looks = 0;
        for _ in 0..secs {
            self.a.env.advance(1);
            let now = self.a.now();
            let later = |ms: u64| now + Duration::from_millis(ms);
            for e in self.a.core.handle(now, MonEvent::Tick) {
                match e {
                    MonEffect::Look(to, look) => {
                        assert_eq!(to, "b");
                        looks += 1;
                        let nanos = later(1).as_nanos() as i64 + self.ahead_ms * 1_000_000;
                        let its_clock = Utime::from_nanos(nanos as u64);
                        // (Its store is of another cluster; it lags in no test here.)
                        let version = look.version;
                        let answers = self.b.core.handle(its_clock, MonEvent::Look("a".into(), look));
                        for answer in answers {
                            if let MonEffect::Seen(to, mut seen) = answer {
                                assert_eq!(to, "a");
                                seen.version = version;
                                self.a.core.handle(later(2), MonEvent::Seen("b".into(), seen));
                            }
                        }
                    }
                    MonEffect::Propose(p) => drop(self.a.core.handle(now, MonEvent::Committed(p))),
                    _ => {}
                }
            }
        }
        looks
    }
    fn json(&mut self, command: &str) -> Value {
        let (ret, text, data) = self.a.command(Role::Mon, command);
        assert_eq!(ret, 0, "{text}");
        serde_json::from_slice(&data).expect("JSON")
    }
    fn health(&mut self) -> String {
        let (_, _, data) = self.a.command(Role::Mon, r#"{"prefix":"health","detail":"detail"}"#);
        String::from_utf8_lossy(&data).into_owned()
    }
    fn store(&mut self, s: StoreState) {
        self.a.event(MonEvent::Store(s));
    }
}

const SYNC: &str = r#"{"prefix":"time-sync-status"}"#;

#[test]
fn a_clock_that_drifts_is_told_of_and_one_that_is_set_right_is_not_any_more() {
    let mut t = Two::new();
    t.pass(2);
    let v = t.json(SYNC);
    assert_eq!(v["timechecks"], serde_json::json!({"epoch": 10, "round": 2, "round_status": "finished"}));
    let own = &v["time_skew_status"]["a"];
    assert_eq!((own["skew"].as_f64(), own["latency"].as_f64()), (Some(0.0), Some(0.0)));
    assert_eq!(own["health"], "HEALTH_OK");
    assert_eq!(v["time_skew_status"]["b"]["health"], "HEALTH_OK");
    assert_eq!(v["time_skew_status"]["b"]["skew"].as_f64(), Some(0.0), "a millisecond is the way's");
    assert!((v["time_skew_status"]["b"]["latency"].as_f64().unwrap() - 0.002).abs() < 1e-9);
    assert!(!t.health().contains("MON_CLOCK_SKEW"));
    // It loses 2 ms each second: after five minutes it is 0.6 s behind.
    for _ in 0..310 {
        t.ahead_ms -= 2;
        t.pass(1);
    }
    let health = t.health();
    assert!(health.contains("[WRN] MON_CLOCK_SKEW: clock skew detected on mon.b\n"), "{health}");
    let line = health.lines().find(|l| l.trim_start().starts_with("mon.b clock skew")).expect("a detail");
    assert!(line.ends_with("s > max 0.05s (latency 0.002s)"), "{line}");
    let v = t.json(SYNC);
    assert!(v["time_skew_status"]["b"]["skew"].as_f64().unwrap() < -0.5, "{v}");
    assert_eq!(v["time_skew_status"]["b"]["health"], "HEALTH_WARN");
    assert!(v["time_skew_status"]["b"]["details"].as_str().unwrap().starts_with("clock skew 0.5"), "{v}");
    // Someone starts ntpd there: half a minute later all is well.
    t.ahead_ms = 30;
    t.pass(31);
    assert!(!t.health().contains("MON_CLOCK_SKEW"), "{}", t.health());
    // What is allowed is an option.
    let set = r#"{"prefix":"config set","who":"mon","name":"mon_clock_drift_allowed","value":"0.0001"}"#;
    assert_eq!(t.a.command(Role::Mon, set).0, 0);
    assert!(t.health().contains("MON_CLOCK_SKEW"));
}

#[test]
fn another_quorum_begins_anew() {
    let mut t = Two::new();
    t.ahead_ms = 900;
    t.pass(2);
    assert!(t.health().contains("MON_CLOCK_SKEW"));
    t.quorum(12);
    assert!(!t.health().contains("MON_CLOCK_SKEW"));
    assert_eq!(t.json(SYNC)["timechecks"]["round"], 0);
    assert!(t.json(SYNC).get("time_skew_status").is_none());
    t.pass(1);
    assert!(t.health().contains("MON_CLOCK_SKEW"));
}

#[test]
fn the_leader_looks_every_few_seconds() {
    let mut t = Two::new();
    t.pass(10);
    assert_eq!(t.pass(100), 20);
    let mut alone = World::new(1);
    let now = alone.now() + Duration::from_secs(60);
    assert!(alone.core.handle(now, MonEvent::Tick).iter().all(|e| !matches!(e, MonEffect::Look(..))));
}

#[test]
fn stores_that_run_out_of_room_or_are_big_or_slow_are_named() {
    let room = |percent: u64| StoreState {
        total_bytes: 100 << 30,
        avail_bytes: percent << 30,
        store_bytes: 1 << 20,
        slowest_write_us: 3000,
    };
    let mut t = Two::new();
    t.store(room(80));
    t.b.event(MonEvent::Store(room(31)));
    t.pass(6);
    assert!(!t.health().contains("MON_DISK"), "{}", t.health());
    t.b.event(MonEvent::Store(room(29)));
    t.pass(6);
    let health = t.health();
    assert!(
        health.contains("[WRN] MON_DISK_LOW: mon b is low on available space\n    mon.b has 29% avail\n"),
        "{health}"
    );
    t.store(room(4));
    t.b.event(MonEvent::Store(StoreState { store_bytes: 16 << 30, ..room(5) }));
    t.pass(6);
    let health = t.health();
    let crit = "[ERR] MON_DISK_CRIT: mons a,b are very low on available space\n    mon.a has 4% avail\n    mon.b has 5% avail\n";
    assert!(health.contains(crit), "{health}");
    let big = "[WRN] MON_DISK_BIG: mon b is using a lot of disk space\n    mon.b is 16 GiB >= mon_data_size_warn (15 GiB)\n";
    assert!(health.contains(big), "{health}");
    t.store(room(80));
    for _ in 0..4 {
        t.b.event(MonEvent::Store(StoreState { slowest_write_us: 2_600_000, ..room(80) }));
        t.pass(5);
    }
    let health = t.health();
    let slow = "[WRN] MON_SLOW: mon b is slow\n    mon.b needs up to 2.6 s for a write of its store\n";
    assert!(health.contains(slow) && !health.contains("MON_DISK"), "{health}");
    for _ in 0..14 {
        t.b.event(MonEvent::Store(room(80)));
        t.pass(5);
    }
    assert!(!t.health().contains("MON_SLOW"), "{}", t.health());
}
