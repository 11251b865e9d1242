//! What daemons report to the manager's role: slow requests, counters, times of their disks.

use denc::{Encoder, Features};
use messages::mgr::{MMgrConfigure, MMgrOpen, MMgrReport, PerfCounterType};
use mon_core::testing::World;
use mon_core::{Role, SessionId};
use types::servicemap::DaemonHealthMetric;

/// Kinds: a gauge, a counter, an average of times.
const GAUGE: u8 = 2;
const COUNTER: u8 = 10;
const TIMES: u8 = 5;

fn open(w: &mut World, osd: i32) -> SessionId {
    let id = w.open(Role::Mgr, &format!("osd.{osd}"), 7000 + osd as u16, "allow *");
    w.send(id, &MMgrOpen { daemon_name: osd.to_string(), ..MMgrOpen::default() });
    let asked = w.take::<MMgrConfigure>(id);
    assert_eq!(asked[0].stats_threshold, 5, "useful counters are wanted");
    id
}

fn slow(n: u64, oldest: u64) -> MMgrReport {
    let value = n | oldest << 32;
    MMgrReport { daemon_health_metrics: vec![DaemonHealthMetric { kind: 0, value }], ..MMgrReport::default() }
}

fn counters(list: &[(&str, u8, &[u64])], declare: bool) -> MMgrReport {
    let mut sorted = list.to_vec();
    sorted.sort_by_key(|c| c.0);
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| sorted.iter().flat_map(|c| c.2).for_each(|v| e.u64(*v)));
    let declare_types = sorted
        .iter()
        .filter(|_| declare)
        .map(|(path, kind, _)| PerfCounterType {
            path: (*path).to_owned(),
            description: format!("about {path}"),
            kind: *kind,
            ..PerfCounterType::default()
        })
        .collect();
    MMgrReport { declare_types, packed: e.finish(), ..MMgrReport::default() }
}

fn health(w: &mut World) -> String {
    let (_, _, data) = w.command(Role::Mon, r#"{"prefix":"health","detail":"detail"}"#);
    String::from_utf8_lossy(&data).into_owned()
}

#[test]
fn slow_requests_are_told_of_as_stock_does_until_they_are_done() {
    let mut w = World::new(3);
    let ids: Vec<SessionId> = (0..3).map(|o| open(&mut w, o)).collect();
    w.send(ids[1], &slow(2, 45));
    let text = health(&mut w);
    assert!(
        text.contains("[WRN] SLOW_OPS: 2 slow ops, oldest one blocked for 45 sec, osd.1 has slow ops\n"),
        "{text}"
    );
    w.send(ids[0], &slow(5, 31));
    let text = health(&mut w);
    let line = "7 slow ops, oldest one blocked for 45 sec, daemons [osd.0,osd.1] have slow ops.";
    assert!(text.contains(line), "{text}");
    assert!(
        w.core.metrics().contains("ceph_daemon_health_metrics{type=\"SLOW_OPS\",ceph_daemon=\"osd.0\"} 5.0")
    );
    assert!(w.core.metrics().contains("\nceph_healthcheck_slow_ops 7.0\n"));
    w.send(ids[0], &slow(0, 0));
    w.send(ids[1], &slow(0, 0));
    assert!(!health(&mut w).contains("SLOW_OPS"));
    // A daemon that is gone has none.
    w.send(ids[2], &slow(1, 99));
    assert!(health(&mut w).contains("SLOW_OPS"));
    w.event(mon_core::MonEvent::Closed(ids[2]));
    assert!(!health(&mut w).contains("SLOW_OPS"));
}

#[test]
fn what_osds_count_is_on_the_page_under_stocks_names() {
    let mut w = World::new(2);
    let id = open(&mut w, 0);
    let list: [(&str, u8, &[u64]); 5] = [
        ("osd.op", COUNTER, &[12]),
        ("osd.op_latency", TIMES, &[1_500_000_000, 12, 12]),
        ("throttle-msgr dispatch-client::x.val", GAUGE, &[7]),
        // What the page says itself nobody else says.
        ("osd.up", GAUGE, &[5]),
        ("a\"b\nc", GAUGE, &[1]),
    ];
    w.send(id, &counters(&list, true));
    let page = w.core.metrics();
    for line in [
        "# HELP ceph_osd_op about osd.op",
        "# TYPE ceph_osd_op counter",
        "ceph_osd_op{ceph_daemon=\"osd.0\"} 12.0",
        "# TYPE ceph_osd_op_latency_sum counter",
        "ceph_osd_op_latency_sum{ceph_daemon=\"osd.0\"} 1.5",
        "ceph_osd_op_latency_count{ceph_daemon=\"osd.0\"} 12.0",
        "ceph_throttle_msgr_dispatch_client_x_val{ceph_daemon=\"osd.0\"} 7.0",
        "ceph_osd_up{ceph_daemon=\"osd.0\"} 1.0",
        "# HELP ceph_a_b_c about a\"b\\nc",
        "ceph_a_b_c{ceph_daemon=\"osd.0\"} 1.0",
    ] {
        assert!(page.lines().any(|l| l == line), "no {line} in:\n{page}");
    }
    assert!(!page.contains("ceph_osd_up{ceph_daemon=\"osd.0\"} 5.0"), "that is not for a daemon to say");
    // Reports that cannot be read end the session, and what it said.
    w.send(
        id,
        &MMgrReport { packed: bytes::Bytes::from_static(&[1, 1, 1, 0, 0, 0, 9]), ..MMgrReport::default() },
    );
    assert!(!w.core.metrics().contains("ceph_osd_op{"));
}

#[test]
fn clients_that_are_no_service_are_not_on_the_page() {
    let mut w = World::new(1);
    let id = w.open(Role::Mgr, "client.x", 9000, "allow r");
    w.send(id, &MMgrOpen { daemon_name: "x".into(), ..MMgrOpen::default() });
    assert_eq!(w.take::<MMgrConfigure>(id)[0].stats_threshold, 11);
    w.send(id, &counters(&[("osd.op", COUNTER, &[12])], true));
    assert!(!w.core.metrics().contains("client.x"));
}

#[test]
fn a_disk_that_is_much_slower_than_its_peers_is_named() {
    let mut w = World::new(4);
    let ids: Vec<SessionId> = (0..4).map(|o| open(&mut w, o)).collect();
    for (osd, id) in ids.iter().enumerate() {
        w.send(*id, &counters(&times(osd, 1), true));
    }
    for n in 2..20 {
        w.advance(5);
        for (osd, id) in ids.iter().enumerate() {
            w.send(*id, &counters(&times(osd, n), false));
        }
        w.advance(0);
    }
    w.advance(2);
    let text = health(&mut w);
    assert!(
        text.contains("[WRN] OSD_SLOW_DISK: 1 OSD has a disk that is much slower than those of other OSDs\n"),
        "{text}"
    );
    let line = "osd.2 needs 80.0 ms for a durable write (median of 60 s, 99th percentile 160.0 ms), 40 times as long as its peers' 2.0 ms";
    assert!(text.contains(line), "{text}");
    assert!(
        w.core.metrics().contains("ceph_health_detail{name=\"OSD_SLOW_DISK\",severity=\"HEALTH_WARN\"} 1.0")
    );
}

/// The n-th report of an OSD: osd.2 is slow, osd.3 is a stock one.
fn times(osd: usize, n: u64) -> Vec<(&'static str, u8, &'static [u64])> {
    let ns: u64 = if osd == 2 { 80_000_000 } else { 2_000_000 };
    let values = |v: Vec<u64>| -> &'static [u64] { Box::leak(v.into_boxed_slice()) };
    if osd == 3 {
        return vec![("bluestore.commit_lat", TIMES, values(vec![ns * 10 * n, 10 * n, 10 * n]))];
    }
    vec![
        ("store.journal_latency", TIMES, values(vec![ns * 10 * n, 10 * n, 10 * n])),
        ("store.journal_latency_p50", 1, values(vec![ns])),
        ("store.journal_latency_p99", 1, values(vec![2 * ns])),
    ]
}
