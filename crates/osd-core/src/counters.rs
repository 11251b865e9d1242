//! The OSD's counters as `perf dump` shows them and as the manager gets them, with stock's names, kinds and priorities.
//!
//! Gathered when someone asks, from plain numbers that the path of an op adds to.

use crate::core::OsdCore;
use crate::tracker::{KindCounters, OpCounters};
use bytes::Bytes;
use denc::Encoder;
use messages::mgr::PerfCounterType;
use objstore::{DeviceTimes, ObjectStore, StoreStatfs, Times};
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

/// What a counter is: its kind and its unit.
type Is = (u8, u8);
const COUNT: Is = (U64 | COUNTER, NONE);
const SUM: Is = (U64 | COUNTER, BYTES);
const GAUGE: Is = (U64, NONE);
const ROOM: Is = (U64, BYTES);
const SPAN: Is = (TIME, NONE);
const LATENCY: Is = (TIME | AVG, NONE);

/// Path, what it is, priority, where its value is (and of a latency, of how many), description.
type Row = (&'static str, Is, u8, fn(&Facts) -> (u64, u64), &'static str);

/// What the values are taken from.
struct Facts {
    all: KindCounters,
    ops: OpCounters,
    wip: u64,
    pgs: u64,
    led: u64,
    fs: StoreStatfs,
    times: DeviceTimes,
    journal: Times,
}

/// All counters, ascending by path, as a manager takes their values.
const TABLE: &[Row] = &[
    ("osd.numpg", GAUGE, 5, |f| (f.pgs, 0), "Placement groups"),
    ("osd.numpg_primary", GAUGE, 0, |f| (f.led, 0), "Placement groups for which this osd is primary"),
    ("osd.numpg_replica", GAUGE, 0, |f| (f.pgs - f.led, 0), "Placement groups for which this osd is replica"),
    ("osd.op", COUNT, 10, |f| (f.all.count, 0), "Client operations"),
    ("osd.op_in_bytes", SUM, 8, |f| (f.all.in_bytes, 0), "Client operations total write size"),
    (
        "osd.op_latency",
        LATENCY,
        9,
        |f| f.all.latency(),
        "Latency of client operations (including queue time)",
    ),
    ("osd.op_out_bytes", SUM, 8, |f| (f.all.out_bytes, 0), "Client operations total read size"),
    ("osd.op_r", COUNT, 5, |f| (f.ops.r.count, 0), "Client read operations"),
    (
        "osd.op_r_latency",
        LATENCY,
        5,
        |f| f.ops.r.latency(),
        "Latency of read operation (including queue time)",
    ),
    ("osd.op_r_out_bytes", SUM, 5, |f| (f.ops.r.out_bytes, 0), "Client data read"),
    ("osd.op_rw", COUNT, 5, |f| (f.ops.rw.count, 0), "Client read-modify-write operations"),
    (
        "osd.op_rw_in_bytes",
        SUM,
        5,
        |f| (f.ops.rw.in_bytes, 0),
        "Client read-modify-write operations write in",
    ),
    (
        "osd.op_rw_latency",
        LATENCY,
        5,
        |f| f.ops.rw.latency(),
        "Latency of read-modify-write operation (including queue time)",
    ),
    (
        "osd.op_rw_out_bytes",
        SUM,
        5,
        |f| (f.ops.rw.out_bytes, 0),
        "Client read-modify-write operations read out",
    ),
    ("osd.op_w", COUNT, 5, |f| (f.ops.w.count, 0), "Client write operations"),
    ("osd.op_w_in_bytes", SUM, 5, |f| (f.ops.w.in_bytes, 0), "Client data written"),
    (
        "osd.op_w_latency",
        LATENCY,
        5,
        |f| f.ops.w.latency(),
        "Latency of write operation (including queue time)",
    ),
    ("osd.op_wip", GAUGE, 5, |f| (f.wip, 0), "Replication operations currently being processed (primary)"),
    ("osd.recovery_bytes", SUM, 8, |f| (f.ops.recovery_bytes, 0), "recovery bytes"),
    ("osd.recovery_ops", COUNT, 8, |f| (f.ops.recovery_ops, 0), "Started recovery operations"),
    ("osd.stat_bytes", ROOM, 5, |f| (f.fs.total, 0), "OSD size"),
    ("osd.stat_bytes_avail", ROOM, 0, |f| (f.fs.available, 0), "Available space"),
    ("osd.stat_bytes_used", ROOM, 5, |f| (f.fs.total.saturating_sub(f.fs.available), 0), "Used space"),
    (
        "store.checkpoint_latency",
        LATENCY,
        5,
        |f| (f.times.data.sum_ns, f.times.data.count),
        "Time of a batch of writes to the data device",
    ),
    (
        "store.journal_latency",
        LATENCY,
        8,
        |f| (f.times.journal.sum_ns, f.times.journal.count),
        "Time until a record of the journal is durable",
    ),
    (
        "store.journal_latency_p50",
        SPAN,
        5,
        |f| (f.journal.percentile_ns(50), 0),
        "Median of the last report's journal_latency",
    ),
    (
        "store.journal_latency_p99",
        SPAN,
        5,
        |f| (f.journal.percentile_ns(99), 0),
        "99th percentile of the last report's journal_latency",
    ),
];

/// One counter with its value.
#[derive(Clone, Copy)]
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
    fn read(row: &Row, facts: &Facts) -> Counter {
        let (path, (kind, unit), priority, read, about) = *row;
        let (value, count) = read(facts);
        Counter { path, about, kind, priority, unit, value, count }
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

impl OsdCore {
    /// All of them, ascending by path.
    pub(crate) fn counters(&self, store: &dyn ObjectStore) -> Vec<Counter> {
        let facts = Facts {
            all: self.tracker.counters.all(),
            ops: self.tracker.counters,
            wip: (self.tracker.in_flight() + self.waiting.len()) as u64,
            pgs: self.pgs.len() as u64,
            led: self.pgs.values().filter(|s| s.pg.is_primary()).count() as u64,
            fs: store.statfs(),
            times: store.device_times(),
            journal: self.mgr.journal,
        };
        TABLE.iter().map(|row| Counter::read(row, &facts)).collect()
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

    fn counter(path: &'static str, (kind, unit): Is, priority: u8, value: u64, count: u64) -> Counter {
        Counter { path, about: "", kind, priority, unit, value, count }
    }

    #[test]
    fn the_table_ascends_and_each_path_is_in_it_once() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        let group = |r: &Row| r.0.split_once('.').map(|(g, _)| g);
        assert!(TABLE.iter().all(|r| matches!(group(r), Some("osd" | "store"))));
    }

    #[test]
    fn a_counter_is_declared_once_and_values_follow_the_paths() {
        let all = [
            counter("a.x", GAUGE, 5, 7, 0),
            counter("b.avg", LATENCY, 8, 9_000, 3),
            counter("c.y", GAUGE, 5, 8, 0),
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
