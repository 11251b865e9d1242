//! What the manager's role tells Prometheus: the text of `/metrics`, with the names and labels of stock's exporter, so that its dashboards
//! show this cluster. Only what is known here is in it: no series stands for a counter that nobody counts.
//!
//! A pure rendering of committed maps and of the daemons' reports; the listener is the shell's business.

use crate::commands::{pool_max_avail, pool_used_bytes};
use crate::core::MonCore;
use crate::counters::{COUNTER, Counters, HISTOGRAM, LONG_RUN_AVG, TIME};
use crate::crushutil::class_of;
use crate::health::Severity;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use types::osdmap::flag;
use types::pgstat::pg_state;
use types::{AddrVec, OsdId, PoolId};

/// The text being written: series are grouped under their `HELP` and `TYPE` lines.
#[derive(Default)]
struct Page(BTreeMap<String, (&'static str, String, Vec<String>)>);

/// A label's value as the format wants it.
fn quoted(v: &str) -> String {
    v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Page {
    fn add(&mut self, name: &str, kind: &'static str, help: &str, labels: &[(&str, &str)], value: f64) {
        let series =
            self.0.entry(format!("ceph_{name}")).or_insert_with(|| (kind, help.to_owned(), Vec::new()));
        let list: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", quoted(v))).collect();
        let labels = if list.is_empty() { String::new() } else { format!("{{{}}}", list.join(",")) };
        series.2.push(format!("ceph_{name}{labels} {value:?}"));
    }
    fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, "gauge", help, labels, value);
    }
    fn untyped(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, "untyped", help, labels, value);
    }
    fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, "counter", help, labels, value);
    }
    fn text(self) -> String {
        let mut out = String::new();
        for (name, (kind, help, lines)) in self.0 {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            lines.iter().for_each(|l| out += &format!("{l}\n"));
        }
        out
    }
}

/// A counter's path as the name of a metric, as stock's exporter makes it; what else a name may not have becomes `_`.
fn metric_name(path: &str) -> String {
    let name = path.replace('.', "_").replace('+', "_plus").replace("::", "_").replace(' ', "_");
    let name = match name.strip_suffix('-') {
        Some(n) => format!("{n}_minus"),
        None => name.replace('-', "_"),
    };
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn host(a: &AddrVec) -> String {
    a.legacy_or_front().sock.map(|s| s.ip().to_string()).unwrap_or_default()
}

const FLAGS: [(&str, u32); 9] = [
    ("noup", flag::NOUP),
    ("nodown", flag::NODOWN),
    ("noout", flag::NOOUT),
    ("noin", flag::NOIN),
    ("nobackfill", flag::NOBACKFILL),
    ("norebalance", flag::NOREBALANCE),
    ("norecover", flag::NORECOVER),
    ("noscrub", flag::NOSCRUB),
    ("nodeep_scrub", flag::NODEEP_SCRUB),
];

/// PG states that stock's exporter counts, each by pool.
const STATES: [&str; 34] = [
    "unknown",
    "wait",
    "laggy",
    "premerge",
    "failed_repair",
    "active",
    "clean",
    "down",
    "recovery_unfound",
    "backfill_unfound",
    "scrubbing",
    "degraded",
    "inconsistent",
    "peering",
    "repair",
    "recovering",
    "forced_recovery",
    "backfill_wait",
    "incomplete",
    "stale",
    "remapped",
    "deep",
    "backfilling",
    "forced_backfill",
    "backfill_toofull",
    "recovery_wait",
    "recovery_toofull",
    "undersized",
    "activating",
    "peered",
    "snaptrim",
    "snaptrim_wait",
    "snaptrim_error",
    "creating",
];

impl MonCore {
    /// Where this page is to be had: `mgr/prometheus/server_port` of the central configuration, at this monitor's own address unless
    /// `mgr/prometheus/server_addr` names another. The leader's only; nowhere without a port.
    pub fn metrics_at(&self) -> Option<SocketAddr> {
        // An external manager has a page of its own.
        if !self.quorum.leads || self.mgr.external {
            return None;
        }
        let options = self.config.effective(&format!("mgr.{}", self.cfg.name), "", "");
        let get = |name: &str| options.get(name).map(|(_, v)| v.trim().to_owned()).filter(|v| !v.is_empty());
        let port: u16 = get("mgr/prometheus/server_port")?.parse().ok().filter(|p| *p != 0)?;
        let own =
            || self.monmap().mons.get(&self.cfg.name)?.public_addrs.legacy_or_front().sock.map(|s| s.ip());
        let ip = get("mgr/prometheus/server_addr").and_then(|a| a.parse().ok()).or_else(own)?;
        Some(SocketAddr::new(ip, port))
    }

    /// The answer to `GET /metrics`.
    pub fn metrics(&self) -> String {
        let mut p = Page::default();
        self.health_metrics(&mut p);
        self.daemon_metrics(&mut p);
        self.osd_metrics(&mut p);
        self.pool_metrics(&mut p);
        self.pg_metrics(&mut p);
        self.fs_metrics(&mut p);
        self.counter_metrics(&mut p);
        p.text()
    }

    fn health_metrics(&self, p: &mut Page) {
        let checks = self.checks();
        let status = match self.overall(&checks) {
            Severity::Ok => 0.0,
            Severity::Warn => 1.0,
            Severity::Err => 2.0,
        };
        p.untyped("health_status", "Cluster health status", &[], status);
        for (code, c) in &checks {
            let labels = [("name", code.as_str()), ("severity", c.severity.name())];
            p.gauge("health_detail", "healthcheck status by type (0=inactive, 1=active)", &labels, 1.0);
        }
        let slow: u64 = self.mgr.daemons.values().map(|d| d.slow_ops).sum();
        for d in self.mgr.daemons.values().filter(|d| d.tells_slow_ops) {
            let labels = [("type", "SLOW_OPS"), ("ceph_daemon", d.name.as_str())];
            p.gauge("daemon_health_metrics", "Health metrics for Ceph daemons", &labels, d.slow_ops as f64);
        }
        p.gauge(
            "healthcheck_slow_ops",
            "OSD or Monitor requests taking a long time to process",
            &[],
            slow as f64,
        );
    }

    fn daemon_metrics(&self, p: &mut Page) {
        for (rank, name) in self.monmap().ranks.iter().enumerate() {
            let daemon = format!("mon.{name}");
            let meta =
                |k: &str| self.mon_metadata.get(name).and_then(|m| m.get(k)).cloned().unwrap_or_default();
            let addr = self.monmap().mons.get(name).map(|m| host(&m.public_addrs)).unwrap_or_default();
            let (rank, hostname) = (rank.to_string(), meta("hostname"));
            let labels = [
                ("ceph_daemon", daemon.as_str()),
                ("hostname", hostname.as_str()),
                ("public_addr", addr.as_str()),
                ("rank", rank.as_str()),
                ("ceph_version", self.cfg.version.as_str()),
            ];
            p.untyped("mon_metadata", "MON Metadata", &labels, 1.0);
            let here = f64::from(u8::from(self.quorum.quorum.contains(name)));
            p.gauge("mon_quorum_status", "Monitors in quorum", &[("ceph_daemon", daemon.as_str())], here);
        }
        let active = &self.mgr.map.active_name;
        if !active.is_empty() {
            let daemon = format!("mgr.{active}");
            let meta =
                |k: &str| self.mon_metadata.get(active).and_then(|m| m.get(k)).cloned().unwrap_or_default();
            let hostname = meta("hostname");
            let labels = [
                ("ceph_daemon", daemon.as_str()),
                ("hostname", hostname.as_str()),
                ("ceph_version", self.cfg.version.as_str()),
            ];
            p.gauge("mgr_metadata", "MGR metadata", &labels, 0.0);
            p.gauge(
                "mgr_status",
                "MGR status (0=standby, 1=active)",
                &[("ceph_daemon", daemon.as_str())],
                1.0,
            );
        }
    }

    fn osd_metrics(&self, p: &mut Page) {
        let m = &self.osd.map;
        for (name, bit) in FLAGS {
            let on = f64::from(u8::from(m.has_flag(bit)));
            p.untyped(&format!("osd_flag_{name}"), &format!("OSD Flag {name}"), &[], on);
        }
        let pgs = self.pgmap.pgs_by_osd();
        for o in m.osds() {
            let daemon = format!("osd.{o}");
            let d = [("ceph_daemon", daemon.as_str())];
            p.untyped("osd_weight", "OSD status weight", &d, f64::from(m.weight_of(o)) / 65536.0);
            p.untyped("osd_up", "OSD status up", &d, f64::from(u8::from(m.is_up(o))));
            p.untyped("osd_in", "OSD status in", &d, f64::from(u8::from(m.is_in(o))));
            let meta = |k: &str| self.osd.meta(o, k).unwrap_or("");
            let i = o.0 as usize;
            let addr = |v: &[AddrVec]| v.get(i).map(host).unwrap_or_default();
            let (public, cluster) = (addr(&m.client_addrs), addr(&m.cluster_addrs));
            let labels = [
                ("back_iface", meta("back_iface")),
                ("ceph_daemon", daemon.as_str()),
                ("cluster_addr", cluster.as_str()),
                ("device_class", class_of(&m.crush, o.0).unwrap_or("")),
                ("front_iface", meta("front_iface")),
                ("hostname", meta("hostname")),
                ("objectstore", meta("osd_objectstore")),
                ("public_addr", public.as_str()),
                ("ceph_version", meta("ceph_version")),
            ];
            p.untyped("osd_metadata", "OSD Metadata", &labels, 1.0);
            let node = meta("bluestore_bdev_dev_node");
            if !node.is_empty() && node != "unknown" {
                let labels = [
                    ("ceph_daemon", daemon.as_str()),
                    ("device", node),
                    ("db_device", meta("bluefs_db_dev_node")),
                    ("wal_device", meta("bluefs_wal_dev_node")),
                    ("instance", meta("hostname")),
                    ("devices", meta("devices")),
                    ("device_ids", meta("device_ids")),
                ];
                p.untyped("disk_occupation", "Associate Ceph daemon with disk used", &labels, 1.0);
            }
            p.gauge("osd_numpg", "Placement groups", &d, pgs.get(&o).map_or(0, |n| n.0) as f64);
            self.osd_stat_metrics(p, o, &d);
        }
    }

    fn fs_metrics(&self, p: &mut Page) {
        for (id, f) in &self.mds.map.filesystems {
            let (m, id) = (&f.mds_map, id.to_string());
            let data: Vec<String> = m.data_pools.iter().map(ToString::to_string).collect();
            let (data, meta) = (data.join(","), m.metadata_pool.to_string());
            let labels = [
                ("data_pools", data.as_str()),
                ("fs_id", id.as_str()),
                ("metadata_pool", meta.as_str()),
                ("name", m.fs_name.as_str()),
            ];
            p.untyped("fs_metadata", "FS Metadata", &labels, 1.0);
            for i in m.mds_info.values() {
                let known = self.mds.metadata.get(&i.global_id.to_string());
                let meta = |k: &str| known.and_then(|m| m.get(k)).cloned().unwrap_or_default();
                let (daemon, rank) = (format!("mds.{}", i.name), i.rank.to_string());
                let (hostname, version) = (meta("hostname"), meta("ceph_version"));
                let addr = crate::commands::legacy_address(&i.addrs);
                let labels = [
                    ("ceph_daemon", daemon.as_str()),
                    ("fs_id", id.as_str()),
                    ("hostname", hostname.as_str()),
                    ("public_addr", addr.as_str()),
                    ("rank", rank.as_str()),
                    ("ceph_version", version.as_str()),
                ];
                p.untyped("mds_metadata", "MDS Metadata", &labels, 1.0);
            }
        }
    }

    /// Everything that daemons count. A name that this page has already is what it says there.
    fn counter_metrics(&self, p: &mut Page) {
        let taken: BTreeSet<String> = p.0.keys().cloned().collect();
        let mut daemons: BTreeMap<&str, &Counters> = BTreeMap::new();
        for d in self.mgr.daemons.values() {
            // (Of two sessions of one daemon the newer one speaks.)
            daemons.insert(&d.name, self.mds.counters.get(&d.gid).unwrap_or(&d.counters));
        }
        for (daemon, counters) in daemons {
            let labels = [("ceph_daemon", daemon)];
            for (kind, r) in counters.iter().filter(|(k, _)| k.bits & HISTOGRAM == 0) {
                let name = metric_name(&kind.path);
                let value = match kind.bits & TIME {
                    0 => r.value as f64,
                    _ => r.value as f64 / 1e9,
                };
                let stat = if kind.bits & (COUNTER | LONG_RUN_AVG) != 0 { "counter" } else { "gauge" };
                let mut add = |name: &str, stat, what: &str, value| {
                    if !taken.contains(&format!("ceph_{name}")) {
                        p.add(name, stat, &format!("{}{what}", kind.about), &labels, value);
                    }
                };
                if kind.bits & LONG_RUN_AVG == 0 {
                    add(&name, stat, "", value);
                } else {
                    add(&format!("{name}_sum"), stat, " Total", value);
                    add(&format!("{name}_count"), "counter", " Count", r.count as f64);
                }
            }
        }
    }

    fn osd_stat_metrics(&self, p: &mut Page, o: OsdId, d: &[(&str, &str)]) {
        let Some(s) = self.pgmap.osds.get(&o) else { return };
        let ms = |ns: u64| (ns / 1_000_000) as f64;
        p.gauge("osd_commit_latency_ms", "OSD stat commit_latency_ms", d, ms(s.commit_latency_ns));
        p.gauge("osd_apply_latency_ms", "OSD stat apply_latency_ms", d, ms(s.apply_latency_ns));
        p.gauge("osd_stat_bytes", "OSD size", d, s.statfs.total as f64);
        p.gauge("osd_stat_bytes_used", "Used space", d, s.statfs.used_raw() as f64);
        p.gauge("osd_stat_bytes_avail", "Available space", d, s.statfs.available as f64);
    }

    fn pool_metrics(&self, p: &mut Page) {
        let m = &self.osd.map;
        let sum = self.pgmap.osd_sum();
        let df = |what: &str| format!("DF {what}");
        p.gauge("cluster_total_bytes", &df("total_bytes"), &[], sum.total as f64);
        p.gauge("cluster_total_used_bytes", &df("total_used_bytes"), &[], sum.used() as f64);
        p.gauge("cluster_total_used_raw_bytes", &df("total_used_raw_bytes"), &[], sum.used_raw() as f64);
        for (id, pool) in m.pools.iter() {
            let num = id.to_string();
            let l = [("pool_id", num.as_str())];
            let name = m.pool_name(*id).unwrap_or("");
            let kind = if pool.is_erasure() { "erasure" } else { "replicated" };
            let description = format!("replica:{}", pool.size);
            let labels = [
                ("pool_id", num.as_str()),
                ("name", name),
                ("type", kind),
                ("description", if pool.is_erasure() { "erasure" } else { description.as_str() }),
                ("compression_mode", "none"),
            ];
            p.untyped("pool_metadata", "POOL Metadata", &labels, 1.0);
            let s = self.pgmap.pool_stat(*id).stats.sum;
            let (used, avail) = (pool_used_bytes(self, *id) as f64, pool_max_avail(self, *id) as f64);
            let stored = s.num_bytes.max(0) as f64;
            let copies = f64::from(pool.size.max(1));
            let mut g = |n: &str, v: f64| p.gauge(&format!("pool_{n}"), &format!("DF pool {n}"), &l, v);
            g("stored", stored);
            g("stored_raw", stored * copies);
            g("max_avail", avail);
            g("avail_raw", avail * copies);
            g("bytes_used", used);
            g("percent_used", if used + avail * copies > 0.0 { used / (used + avail * copies) } else { 0.0 });
            g("objects", s.num_objects.max(0) as f64);
            g("num_objects_recovered", s.num_objects_recovered.max(0) as f64);
            g("num_bytes_recovered", s.num_bytes_recovered.max(0) as f64);
            g("dirty", s.num_objects_dirty.max(0) as f64);
            g("quota_bytes", pool.quota_max_bytes as f64);
            g("quota_objects", pool.quota_max_objects as f64);
            let mut c = |n: &str, v: f64| p.counter(&format!("pool_{n}"), &format!("DF pool {n}"), &l, v);
            c("rd", s.num_rd.max(0) as f64);
            c("rd_bytes", s.num_rd_kb.max(0) as f64 * 1024.0);
            c("wr", s.num_wr.max(0) as f64);
            c("wr_bytes", s.num_wr_kb.max(0) as f64 * 1024.0);
            // (Stock calls the label so in this one.)
            let (own, repaired) = ([("poolid", num.as_str())], s.num_objects_repaired.max(0) as f64);
            p.counter("pool_objects_repaired", "Number of objects repaired in a pool", &own, repaired);
            let r = self.pgmap.pool_rates(*id);
            for (n, v) in [
                ("recovering_objects_per_sec", r.rec_objects),
                ("recovering_bytes_per_sec", r.rec_bytes),
                ("recovering_keys_per_sec", r.rec_keys),
            ] {
                p.gauge(&format!("pool_{n}"), &format!("OSD pool stats: {n}"), &l, v as f64);
            }
        }
    }

    fn pg_metrics(&self, p: &mut Page) {
        let mut by: BTreeMap<PoolId, (u64, BTreeMap<&str, u64>)> = BTreeMap::new();
        for id in self.osd.map.pools.keys() {
            by.entry(*id).or_default();
        }
        for (pg, s) in &self.pgmap.pgs {
            let (total, states) = by.entry(pg.pool).or_default();
            *total += 1;
            let name = pg_state::name(s.state);
            for word in name.split('+') {
                if let Some(known) = STATES.iter().find(|n| **n == word) {
                    *states.entry(known).or_insert(0) += 1;
                }
            }
        }
        for (id, (total, states)) in by {
            let num = id.to_string();
            let l = [("pool_id", num.as_str())];
            p.gauge("pg_total", "PG Total Count per Pool", &l, total as f64);
            for name in STATES {
                let n = states.get(name).copied().unwrap_or(0);
                p.gauge(&format!("pg_{name}"), &format!("PG {name} per Pool"), &l, n as f64);
            }
        }
        let sum = self.pgmap.total();
        for (n, v) in [
            ("num_objects_degraded", sum.num_objects_degraded),
            ("num_objects_misplaced", sum.num_objects_misplaced),
            ("num_objects_unfound", sum.num_objects_unfound),
        ] {
            p.gauge(n, &format!("{} objects", n.trim_start_matches("num_objects_")), &[], v.max(0) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Role;
    use crate::testing::World;

    #[test]
    fn dashboards_find_their_series() {
        let mut w = World::new(3);
        let create = r#"{"prefix":"osd pool create","pool":"a\"b","pg_num":4}"#;
        assert_eq!(w.command(Role::Mon, create).0, 0);
        let text = w.core.metrics();
        for line in [
            "ceph_health_status ",
            "ceph_osd_up{ceph_daemon=\"osd.0\"} 1.0",
            "ceph_osd_in{ceph_daemon=\"osd.2\"} 1.0",
            "ceph_mon_quorum_status{ceph_daemon=\"mon.a\"} 1.0",
            "ceph_pg_total{pool_id=\"1\"} 4.0",
            "ceph_osd_flag_noup 0.0",
        ] {
            assert!(text.lines().any(|l| l.starts_with(line)), "no {line} in:\n{text}");
        }
        assert!(text.contains(r#"name="a\"b""#), "labels are quoted");
        // Every series has its type before it, once.
        for l in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            let name = l.split(['{', ' ']).next().unwrap_or_default();
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        }
        for secret in w.secrets() {
            assert!(!text.contains(secret.as_str()));
        }
    }
}
