//! Counters that an admin socket dumps in stock's shape (`perf dump`, `perf schema`).
//!
//! A handle is an atomic behind an `Arc`: cheap on the hot path, and the journal thread may count too.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counts up.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);
impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);
impl Gauge {
    /// Sets it.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Subtracts; stays at zero.
    pub fn sub(&self, n: u64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |v| Some(v.saturating_sub(n)));
    }
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Count and sum: stock's `LONGRUNAVG`. Times are in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Average(Arc<(AtomicU64, AtomicU64)>);
impl Average {
    /// Adds a value.
    pub fn add(&self, v: u64) {
        self.0.0.fetch_add(1, Relaxed);
        self.0.1.fetch_add(v, Relaxed);
    }
    /// Adds a time.
    pub fn time(&self, d: Duration) {
        self.add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    }
    /// Count and sum.
    pub fn get(&self) -> (u64, u64) {
        (self.0.0.load(Relaxed), self.0.1.load(Relaxed))
    }
}

#[derive(Clone, Debug)]
enum Slot {
    Counter(Counter),
    Gauge(Gauge),
    Average(Average),
    Time(Average),
}

#[derive(Clone, Debug)]
struct Entry {
    slot: Slot,
    about: &'static str,
}

type Groups = BTreeMap<String, BTreeMap<&'static str, Entry>>;

/// All counters of a process.
#[derive(Clone, Debug, Default)]
pub struct PerfCounters(Arc<Mutex<Groups>>);

impl PerfCounters {
    /// An empty registry.
    pub fn new() -> PerfCounters {
        PerfCounters::default()
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn put(&self, group: &str, name: &'static str, about: &'static str, slot: Slot) {
        self.groups().entry(group.to_owned()).or_default().insert(name, Entry { slot, about });
    }

    /// Forgets a group; handles of its counters count on for nobody.
    pub fn clear(&self, group: &str) {
        self.groups().remove(group);
    }

    /// Registers a counter.
    pub fn counter(&self, group: &str, name: &'static str, about: &'static str) -> Counter {
        let c = Counter::default();
        self.put(group, name, about, Slot::Counter(c.clone()));
        c
    }
    /// Registers a gauge.
    pub fn gauge(&self, group: &str, name: &'static str, about: &'static str) -> Gauge {
        let c = Gauge::default();
        self.put(group, name, about, Slot::Gauge(c.clone()));
        c
    }
    /// Registers an average of plain values.
    pub fn average(&self, group: &str, name: &'static str, about: &'static str) -> Average {
        let c = Average::default();
        self.put(group, name, about, Slot::Average(c.clone()));
        c
    }
    /// Registers an average of times.
    pub fn time(&self, group: &str, name: &'static str, about: &'static str) -> Average {
        let c = Average::default();
        self.put(group, name, about, Slot::Time(c.clone()));
        c
    }

    /// `perf dump`: group to counter to value; only one group or counter when named.
    pub fn dump(&self, group: Option<&str>, counter: Option<&str>) -> Value {
        self.render(group, counter, |e| match &e.slot {
            Slot::Counter(c) => json!(c.get()),
            Slot::Gauge(c) => json!(c.get()),
            Slot::Average(a) => {
                let (n, sum) = a.get();
                json!({"avgcount": n, "sum": sum})
            }
            Slot::Time(a) => {
                let (n, sum) = a.get();
                let secs = sum as f64 / 1e9;
                let avg = if n == 0 { 0.0 } else { secs / n as f64 };
                json!({"avgcount": n, "sum": secs, "avgtime": avg})
            }
        })
    }

    /// `perf schema`.
    pub fn schema(&self, group: Option<&str>, counter: Option<&str>) -> Value {
        self.render(group, counter, |e| {
            // PERFCOUNTER_TIME 1, U64 2, LONGRUNAVG 4, COUNTER 8.
            let (kind, metric, value) = match &e.slot {
                Slot::Counter(_) => (10, "counter", "integer"),
                Slot::Gauge(_) => (2, "gauge", "integer"),
                Slot::Average(_) => (6, "gauge", "integer-integer-pair"),
                Slot::Time(_) => (5, "gauge", "real-integer-pair"),
            };
            json!({"type": kind, "metric_type": metric, "value_type": value, "description": e.about,
                   "nick": "", "priority": 0, "units": "none"})
        })
    }

    fn render(&self, group: Option<&str>, counter: Option<&str>, f: impl Fn(&Entry) -> Value) -> Value {
        let mut out = Map::new();
        for (g, entries) in self.groups().iter().filter(|(g, _)| group.is_none_or(|x| x == *g)) {
            let row: Map<String, Value> = entries
                .iter()
                .filter(|(n, _)| counter.is_none_or(|x| x == **n))
                .map(|(n, e)| ((*n).to_owned(), f(e)))
                .collect();
            out.insert(g.clone(), Value::Object(row));
        }
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_in_stocks_shape() {
        let p = PerfCounters::new();
        let ops = p.counter("osd", "op", "Client operations");
        let lat = p.time("osd", "op_latency", "Latency");
        let wip = p.gauge("osd", "op_wip", "In flight");
        ops.add(3);
        lat.time(Duration::from_millis(1500));
        lat.time(Duration::from_millis(500));
        wip.add(2);
        wip.sub(5);
        assert_eq!(
            p.dump(None, None),
            json!({"osd": {"op": 3, "op_latency": {"avgcount": 2, "sum": 2.0, "avgtime": 1.0}, "op_wip": 0}})
        );
        assert_eq!(p.dump(Some("osd"), Some("op")), json!({"osd": {"op": 3}}));
        assert_eq!(p.schema(None, None)["osd"]["op"]["type"], 10);
    }
}
