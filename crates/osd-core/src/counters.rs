//! The OSD's counters as `perf dump` shows them and as the manager gets them, with stock's names, kinds and priorities.
//!
//! Gathered when someone asks, from plain numbers that the path of an op adds to.

use crate::core::OsdCore;
use crate::tracker::KindCounters;
use bytes::Bytes;
use denc::Encoder;
use messages::mgr::PerfCounterType;
use objstore::{ObjectStore, Times};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// `PERFCOUNTER_TIME`, in nanoseconds.
const TIME: u8 = 1;
/// `PERFCOUNTER_U64`.
const U64: u8 = 2;
/// `PERFCOUNTER_LONGRUNAVG`.
const AVG: u8 = 4;
/// `PERFCOUNTER_COUNTER`.
const COUNTER: u8 = 8;
/// `UNIT_BYTES` and `UNIT_NONE`.
const BYTES: u8 = 0;
const NONE: u8 = 1;

/// One counter.
pub(crate) struct Counter {
    path: &'static str,
    about: &'static str,
    kind: u8,
    priority: u8,
    unit: u8,
    value: u64,
    /// Of an average: how many.
    count: u64,
}

impl Counter {
    fn new(path: &'static str, kind: u8, unit: u8, priority: u8, value: u64, about: &'static str) -> Counter {
        Counter { path, about, kind, priority, unit, value, count: 0 }
    }
    fn declared(&self) -> PerfCounterType {
        PerfCounterType {
            path: self.path.to_owned(),
            description: self.about.to_owned(),
            nick: String::new(),
            kind: self.kind,
            priority: self.priority,
            unit: self.unit,
        }
    }
    fn json(&self) -> Value {
        match self.kind {
            k if k & AVG != 0 => {
                let secs = self.value as f64 / 1e9;
                let mean = if self.count == 0 { 0.0 } else { secs / self.count as f64 };
                json!({"avgcount": self.count, "sum": secs, "avgtime": mean})
            }
            k if k & TIME != 0 => json!(self.value as f64 / 1e9),
            _ => json!(self.value),
        }
    }
}

fn average(path: &'static str, priority: u8, ns: u64, count: u64, about: &'static str) -> Counter {
    Counter { count, ..Counter::new(path, TIME | AVG, NONE, priority, ns, about) }
}

impl OsdCore {
    /// All of them, ascending by path.
    pub(crate) fn counters(&self, store: &dyn ObjectStore) -> Vec<Counter> {
        let c = &self.tracker.counters;
        let (all, r, w, rw): (KindCounters, _, _, _) = (c.all(), c.r, c.w, c.rw);
        let fs = store.statfs();
        let led = self.pgs.values().filter(|s| s.pg.is_primary()).count() as u64;
        let pgs = self.pgs.len() as u64;
        let t = store.device_times();
        let recent = &self.mgr.journal;
        let count =
            |path, value, priority, about| Counter::new(path, U64 | COUNTER, NONE, priority, value, about);
        let bytes =
            |path, value, priority, about| Counter::new(path, U64 | COUNTER, BYTES, priority, value, about);
        let gauge = |path, value, unit, about| Counter::new(path, U64, unit, 5, value, about);
        let time = |path, ns, about| Counter::new(path, TIME, NONE, 5, ns, about);
        let wip = (self.tracker.in_flight() + self.waiting.len()) as u64;
        let mut v = vec![
            count("osd.op", all.count, 10, "Client operations"),
            bytes("osd.op_in_bytes", all.in_bytes, 8, "Client operations total write size"),
            average(
                "osd.op_latency",
                9,
                all.latency_ns,
                all.count,
                "Latency of client operations (including queue time)",
            ),
            bytes("osd.op_out_bytes", all.out_bytes, 8, "Client operations total read size"),
            count("osd.op_r", r.count, 5, "Client read operations"),
            average(
                "osd.op_r_latency",
                5,
                r.latency_ns,
                r.count,
                "Latency of read operation (including queue time)",
            ),
            bytes("osd.op_r_out_bytes", r.out_bytes, 5, "Client data read"),
            count("osd.op_rw", rw.count, 5, "Client read-modify-write operations"),
            bytes("osd.op_rw_in_bytes", rw.in_bytes, 5, "Client read-modify-write operations write in"),
            average(
                "osd.op_rw_latency",
                5,
                rw.latency_ns,
                rw.count,
                "Latency of read-modify-write operation (including queue time)",
            ),
            bytes("osd.op_rw_out_bytes", rw.out_bytes, 5, "Client read-modify-write operations read out"),
            count("osd.op_w", w.count, 5, "Client write operations"),
            bytes("osd.op_w_in_bytes", w.in_bytes, 5, "Client data written"),
            average(
                "osd.op_w_latency",
                5,
                w.latency_ns,
                w.count,
                "Latency of write operation (including queue time)",
            ),
            gauge("osd.op_wip", wip, NONE, "Replication operations currently being processed (primary)"),
            gauge("osd.numpg", pgs, NONE, "Placement groups"),
            Counter {
                priority: 0,
                ..gauge("osd.numpg_primary", led, NONE, "Placement groups for which this osd is primary")
            },
            Counter {
                priority: 0,
                ..gauge(
                    "osd.numpg_replica",
                    pgs - led,
                    NONE,
                    "Placement groups for which this osd is replica",
                )
            },
            bytes("osd.recovery_bytes", c.recovery_bytes, 8, "recovery bytes"),
            count("osd.recovery_ops", c.recovery_ops, 8, "Started recovery operations"),
            gauge("osd.stat_bytes", fs.total, BYTES, "OSD size"),
            Counter { priority: 0, ..gauge("osd.stat_bytes_avail", fs.available, BYTES, "Available space") },
            gauge("osd.stat_bytes_used", fs.total.saturating_sub(fs.available), BYTES, "Used space"),
            average(
                "store.checkpoint_latency",
                5,
                t.data.sum_ns,
                t.data.count,
                "Time of a batch of writes to the data device",
            ),
            average(
                "store.journal_latency",
                8,
                t.journal.sum_ns,
                t.journal.count,
                "Time until a record of the journal is durable",
            ),
            time(
                "store.journal_latency_p50",
                recent.percentile_ns(50),
                "Median of the last report's journal_latency",
            ),
            time(
                "store.journal_latency_p99",
                recent.percentile_ns(99),
                "99th percentile of the last report's journal_latency",
            ),
        ];
        v.sort_by_key(|c| c.path);
        v
    }

    /// `perf dump`.
    pub(crate) fn perf_dump(&self, store: &dyn ObjectStore) -> Value {
        let mut groups: Map<String, Value> = Map::new();
        for c in self.counters(store) {
            let (group, name) = c.path.split_once('.').unwrap_or(("osd", c.path));
            groups.entry(group).or_insert_with(|| json!({}))[name] = c.json();
        }
        Value::Object(groups)
    }
}

/// What a manager session has been told of.
#[derive(Debug, Default)]
pub(crate) struct Declared(BTreeSet<&'static str>);

/// The counters' part of a report: what is declared, what is not sent any more, values.
pub(crate) type Packed = (Vec<PerfCounterType>, Vec<String>, Bytes);

impl Declared {
    /// The counters of at least this priority, for a session that knows `self`.
    pub fn pack(&mut self, all: &[Counter], threshold: u32) -> Packed {
        let wanted = || all.iter().filter(|c| u32::from(c.priority) >= threshold);
        let new = wanted().filter(|c| !self.0.contains(c.path)).map(Counter::declared).collect();
        let sent: BTreeSet<&'static str> = wanted().map(|c| c.path).collect();
        let gone = self.0.difference(&sent).map(|p| (*p).to_owned()).collect();
        self.0 = sent;
        // (Encoded also when there are none: a stock manager dies of a report without.)
        let mut e = Encoder::new(OsdCore::features());
        e.versioned(1, 1, |e| {
            for c in wanted() {
                e.u64(c.value);
                if c.kind & AVG != 0 {
                    e.u64(c.count);
                    e.u64(c.count);
                }
            }
        });
        (new, gone, e.finish())
    }
}

/// Journal times of the last while, and where they end.
#[derive(Debug, Default)]
pub(crate) struct Window {
    last: Times,
}
impl Window {
    /// What came since the last call.
    pub fn step(&mut self, now: Times) -> Times {
        let d = now.since(&self.last);
        self.last = now;
        d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_declared_once_and_values_follow_the_paths() {
        let all = [
            Counter::new("a.x", U64, NONE, 5, 7, "x"),
            average("b.avg", 8, 9_000, 3, "avg"),
            Counter::new("c.y", U64, NONE, 5, 8, "y"),
        ];
        let mut d = Declared::default();
        let (new, gone, values) = d.pack(&all, 5);
        assert_eq!(new.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["a.x", "b.avg", "c.y"]);
        assert_eq!((gone.len(), values.len()), (0, 6 + 5 * 8));
        let (new, gone, values) = d.pack(&all, 8);
        assert_eq!((new.len(), gone, values.len()), (0, vec!["a.x".to_owned(), "c.y".to_owned()], 6 + 3 * 8));
        let (_, gone, values) = d.pack(&all, 11);
        assert_eq!((gone, values.len()), (vec!["b.avg".to_owned()], 6), "none, but said so");
    }
}
