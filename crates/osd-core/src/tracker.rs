//! [`OpTracker`]: client ops in flight and a few past ones, for `dump_ops_in_flight` and its like and for slow-op warnings.
//!
//! An op costs an entry in a map while it is in flight. Past ones are described only when they are among the longest of their time.

use crate::event::SessionId;
use pg::{ClientOp, op_flags};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use types::{SpgId, Utime};

/// Bounds of the options below.
const HISTORY_MAX: usize = 1000;

struct Tracked {
    op: Weak<ClientOp>,
    pgid: SpgId,
    since: Utime,
}

/// One that has ended.
struct Past {
    since: Utime,
    took: Duration,
    /// As it is shown, but for its age.
    shown: Value,
}

/// What is remembered of ops that have ended.
#[derive(Debug, Clone, Copy)]
pub struct HistoryConfig {
    /// `osd_op_history_size`: the longest ones.
    pub size: usize,
    /// `osd_op_history_duration`: of so much time.
    pub duration: Duration,
    /// `osd_op_history_slow_op_size`: the last slow ones.
    pub slow_size: usize,
    /// `osd_op_history_slow_op_threshold`: what took so long was slow.
    pub slow_threshold: Duration,
}
impl Default for HistoryConfig {
    fn default() -> Self {
        HistoryConfig {
            size: 20,
            duration: Duration::from_secs(600),
            slow_size: 20,
            slow_threshold: Duration::from_secs(10),
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub struct OpTracker {
    in_flight: BTreeMap<(SessionId, u64), Tracked>,
    /// The longest of the last time; by when they began.
    longest: Vec<Past>,
    /// What took less need not be looked at: the shortest of a full list.
    bar: Duration,
    /// The last slow ones.
    slow: Vec<Past>,
    /// Answered in this event, in which they came.
    at_once: AtOnce,
    /// How much of that is kept.
    pub history: HistoryConfig,
    /// Counters since the start.
    pub counters: OpCounters,
}

/// Ops by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AtOnce {
    r: u64,
    w: u64,
    rw: u64,
}

/// Ops of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounters {
    /// Ops finished.
    pub count: u64,
    /// Bytes of input.
    pub in_bytes: u64,
    /// Bytes of output.
    pub out_bytes: u64,
    /// Sum of latencies in nanoseconds.
    pub latency_ns: u64,
}
impl KindCounters {
    fn add(&mut self, in_bytes: u64, out_bytes: u64, latency_ns: u64) {
        self.count += 1;
        self.in_bytes += in_bytes;
        self.out_bytes += out_bytes;
        self.latency_ns += latency_ns;
    }
    /// Sum of latencies and of how many, as an average is told.
    pub fn latency(&self) -> (u64, u64) {
        (self.latency_ns, self.count)
    }
    fn plus(&self, o: &KindCounters) -> KindCounters {
        KindCounters {
            count: self.count + o.count,
            in_bytes: self.in_bytes + o.in_bytes,
            out_bytes: self.out_bytes + o.out_bytes,
            latency_ns: self.latency_ns + o.latency_ns,
        }
    }
}

/// What `perf dump` shows of client ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpCounters {
    /// Without a write.
    pub r: KindCounters,
    /// With writes only.
    pub w: KindCounters,
    /// With both.
    pub rw: KindCounters,
    /// Objects that were pushed to other OSDs.
    pub recovery_ops: u64,
    /// Their bytes.
    pub recovery_bytes: u64,
}
impl OpCounters {
    /// A piece of an object leaves for so many OSDs.
    pub fn pushed(&mut self, osds: u64, bytes: u64, first: bool) {
        self.recovery_ops += if first { osds } else { 0 };
        self.recovery_bytes += osds * bytes;
    }
    /// All together.
    pub fn all(&self) -> KindCounters {
        self.r.plus(&self.w).plus(&self.rw)
    }
}

fn describe(op: &ClientOp, pgid: SpgId) -> String {
    let ops: Vec<String> = op.ops.iter().map(|o| o.code.name().to_owned()).collect();
    format!("osd_op({} {} {} [{}] e{})", op.reqid, pgid, op.oid, ops.join(","), op.epoch)
}

/// An op as stock shows it, but for its age. What is known of its way is where it is now.
fn show(op: &ClientOp, pgid: SpgId, since: Utime, point: &str) -> Value {
    json!({
        "description": describe(op, pgid),
        "initiated_at": since.to_string(),
        "type_data": {
            "flag_point": point,
            "client_info": {
                "client": op.reqid.name.to_string(),
                "client_addr": op.addr.to_string(),
                "tid": op.tid,
            },
            "events": [{"event": "initiated", "time": since.to_string(), "duration": 0.0}],
        },
    })
}

fn with(mut shown: Value, now: Utime, since: Utime, took: Duration) -> Value {
    shown["age"] = now.since(since).as_secs_f64().into();
    shown["duration"] = took.as_secs_f64().into();
    shown
}

/// An op that waits before it reaches its PG: since when, which, for which PG.
pub type Waiting<'a> = (Utime, &'a Arc<ClientOp>, SpgId);

impl OpTracker {
    /// An op that came at `since` goes to its PG. A resend takes the place of the first sending.
    pub fn started(&mut self, op: &Arc<ClientOp>, pgid: SpgId, since: Utime) {
        self.in_flight.insert((op.session, op.tid), Tracked { op: Arc::downgrade(op), pgid, since });
    }

    /// Its answer leaves, with so many bytes of output.
    pub fn finished(&mut self, session: SessionId, tid: u64, out_bytes: u64, now: Utime) {
        let Some(t) = self.in_flight.remove(&(session, tid)) else { return };
        let Some(op) = t.op.upgrade() else { return };
        let took = now.since(t.since);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let in_bytes = op.ops.iter().map(|o| o.data.len() as u64).sum();
        let c = &mut self.counters;
        let (kind, at_once) = match (op.flags & op_flags::READ != 0, op.flags & op_flags::WRITE != 0) {
            (true, true) => (&mut c.rw, &mut self.at_once.rw),
            (false, true) => (&mut c.w, &mut self.at_once.w),
            _ => (&mut c.r, &mut self.at_once.r),
        };
        kind.add(in_bytes, out_bytes, ns);
        *at_once += u64::from(took.is_zero());
        if took > self.bar {
            self.remember(&op, &t, took, now);
        }
    }

    /// The event is over that began at the time which was `now` in it: ops that were answered in the event in which they came took that
    /// long. Not called where nobody has a clock.
    pub fn event_took(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let n = std::mem::take(&mut self.at_once);
        for (kind, n) in
            [(&mut self.counters.r, n.r), (&mut self.counters.w, n.w), (&mut self.counters.rw, n.rw)]
        {
            kind.latency_ns = kind.latency_ns.saturating_add(n.saturating_mul(ns));
        }
    }
    /// True when [`OpTracker::event_took`] has something to say.
    pub fn answered_at_once(&self) -> bool {
        self.at_once != AtOnce::default()
    }
    /// A new event begins.
    pub fn event_begins(&mut self) {
        self.at_once = AtOnce::default();
    }

    fn remember(&mut self, op: &ClientOp, t: &Tracked, took: Duration, now: Utime) {
        let h = self.history;
        let past = || Past { since: t.since, took, shown: show(op, t.pgid, t.since, "commit sent") };
        if took >= h.slow_threshold && h.slow_size > 0 {
            if self.slow.len() >= h.slow_size.min(HISTORY_MAX) {
                self.slow.remove(0);
            }
            self.slow.push(past());
        }
        self.longest.retain(|p| now.since(p.since) <= h.duration);
        self.longest.push(past());
        while self.longest.len() > h.size.min(HISTORY_MAX) {
            let shortest = self.longest.iter().enumerate().min_by_key(|(_, p)| p.took).map(|(i, _)| i);
            self.longest.remove(shortest.unwrap_or(0));
        }
        self.raise_bar();
    }

    fn raise_bar(&mut self) {
        let h = self.history;
        self.bar = match self.longest.iter().map(|p| p.took).min() {
            Some(least) if self.longest.len() >= h.size.min(HISTORY_MAX) => least.min(h.slow_threshold),
            _ if h.size == 0 => h.slow_threshold,
            _ => Duration::ZERO,
        };
    }

    /// Once a second: ops that nobody holds any more, whose PG dropped them without an answer (the client will send again), are
    /// forgotten and named; what ended long ago is forgotten.
    pub fn sweep(&mut self, now: Utime) -> Vec<(SessionId, u64)> {
        let dead: Vec<_> =
            self.in_flight.iter().filter(|(_, t)| t.op.strong_count() == 0).map(|(k, _)| *k).collect();
        for k in &dead {
            self.in_flight.remove(k);
        }
        let h = self.history;
        self.longest.retain(|p| now.since(p.since) <= h.duration);
        self.raise_bar();
        dead
    }

    /// Its session ended.
    pub fn session_closed(&mut self, session: SessionId) {
        let gone: Vec<_> =
            self.in_flight.range((session, 0)..=(session, u64::MAX)).map(|(k, _)| *k).collect();
        for k in gone {
            self.in_flight.remove(&k);
        }
    }

    /// Number of ops in flight, or waiting, for at least `age`; how long the oldest has been, and which it is.
    pub fn slow<'a>(
        &self,
        waiting: impl Iterator<Item = Waiting<'a>>,
        now: Utime,
        age: Duration,
    ) -> (u32, Duration, String) {
        let mut n = 0;
        let mut oldest: Option<(Duration, Arc<ClientOp>, SpgId)> = None;
        let mut see = |since: Utime, op: Arc<ClientOp>, pgid: SpgId| {
            let a = now.since(since);
            if a >= age {
                n += 1;
                if oldest.as_ref().is_none_or(|o| o.0 < a) {
                    oldest = Some((a, op, pgid));
                }
            }
        };
        waiting.for_each(|(since, op, pgid)| see(since, op.clone(), pgid));
        for t in self.in_flight.values() {
            if let Some(op) = t.op.upgrade() {
                see(t.since, op, t.pgid);
            }
        }
        let text = oldest.as_ref().map_or(String::new(), |(_, op, pgid)| describe(op, *pgid));
        (n, oldest.map_or(Duration::ZERO, |o| o.0), text)
    }

    /// Number of ops in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.values().filter(|t| t.op.strong_count() > 0).count()
    }

    fn list<'a>(&self, waiting: impl Iterator<Item = Waiting<'a>>, now: Utime, age: Duration) -> Vec<Value> {
        let mut all: Vec<(Utime, Value)> = waiting
            .map(|(since, op, pgid)| (since, show(op, pgid, since, "waiting for a map or the pg")))
            .collect();
        let here = self.in_flight.values().filter_map(|t| Some((t, t.op.upgrade()?)));
        all.extend(here.map(|(t, op)| (t.since, show(&op, t.pgid, t.since, "reached pg"))));
        all.retain(|(since, _)| now.since(*since) >= age);
        all.sort_by_key(|(since, _)| *since);
        all.into_iter().map(|(since, v)| with(v, now, since, now.since(since))).collect()
    }

    /// `dump_ops_in_flight`.
    pub fn dump<'a>(&self, waiting: impl Iterator<Item = Waiting<'a>>, now: Utime) -> Value {
        let ops = self.list(waiting, now, Duration::ZERO);
        json!({ "num_ops": ops.len(), "ops": ops })
    }

    /// `dump_blocked_ops`.
    pub fn dump_blocked<'a>(
        &self,
        waiting: impl Iterator<Item = Waiting<'a>>,
        now: Utime,
        complaint: Duration,
    ) -> Value {
        let ops = self.list(waiting, now, complaint);
        json!({ "num_blocked_ops": ops.len(), "complaint_time": complaint.as_secs_f64(), "ops": ops })
    }

    /// `dump_historic_ops`, or `dump_historic_ops_by_duration`: the longest ones first.
    pub fn dump_history(&self, now: Utime, by_duration: bool) -> Value {
        let mut list: Vec<&Past> = self.longest.iter().collect();
        list.sort_by_key(|p| p.since);
        if by_duration {
            list.sort_by_key(|p| std::cmp::Reverse(p.took));
        }
        let ops: Vec<Value> = list.into_iter().map(|p| with(p.shown.clone(), now, p.since, p.took)).collect();
        json!({ "size": self.history.size, "duration": self.history.duration.as_secs(), "ops": ops })
    }

    /// `dump_historic_slow_ops`.
    pub fn dump_slow(&self, now: Utime) -> Value {
        let ops: Vec<Value> = self.slow.iter().map(|p| with(p.shown.clone(), now, p.since, p.took)).collect();
        json!({
            "num to keep": self.history.slow_size,
            "threshold to keep": self.history.slow_threshold.as_secs(),
            "Ops": ops,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{EntityAddr, EntityName, Epoch, HObject, ReqId};

    fn op(tid: u64, flags: u32) -> Arc<ClientOp> {
        let reqid = ReqId { name: EntityName::client(7), tid, inc: 0 };
        Arc::new(ClientOp {
            session: SessionId(1),
            tid,
            reqid,
            addr: EntityAddr::default(),
            features: 0,
            oid: HObject::default(),
            epoch: Epoch(3),
            flags,
            mtime: Utime::ZERO,
            snapc: Default::default(),
            retry_attempt: 0,
            ops: Vec::new(),
        })
    }
    fn at(ms: u64) -> Utime {
        Utime::from_secs(1000) + Duration::from_millis(ms)
    }
    fn nobody<'a>() -> std::iter::Empty<Waiting<'a>> {
        std::iter::empty()
    }

    #[test]
    fn what_hangs_is_slow_until_it_is_answered_whether_it_reached_its_pg_or_not() {
        let mut t = OpTracker::default();
        let pgid = SpgId::default();
        let (a, b) = (op(1, op_flags::WRITE), op(2, op_flags::READ));
        t.started(&a, pgid, at(0));
        let waiting = [(at(5_000), &b, pgid)];
        let age = Duration::from_secs(30);
        assert_eq!(t.slow(waiting.iter().copied(), at(29_000), age).0, 0);
        let (n, oldest, text) = t.slow(waiting.iter().copied(), at(41_000), age);
        assert_eq!((n, oldest.as_secs()), (2, 41));
        assert!(text.starts_with("osd_op(client.7.0:1 "), "{text}");
        let shown = t.dump_blocked(waiting.iter().copied(), at(32_000), age);
        assert_eq!((&shown["num_blocked_ops"], &shown["complaint_time"]), (&json!(1), &json!(30.0)));
        t.finished(a.session, 1, 0, at(42_000));
        assert_eq!(t.slow(nobody(), at(42_000), age).0, 0);
        assert_eq!(t.dump_slow(at(43_000))["Ops"][0]["duration"], json!(42.0));
        // A PG dropped it: it is no one's any more.
        t.started(&b, pgid, at(0));
        drop(b);
        assert_eq!(t.slow(nobody(), at(90_000), age).0, 0);
        assert_eq!(t.sweep(at(90_000)), [(SessionId(1), 2)]);
    }

    #[test]
    fn the_longest_of_the_last_ten_minutes_are_remembered() {
        let mut t = OpTracker::default();
        for tid in 0..500u64 {
            let o = op(tid, op_flags::READ);
            t.started(&o, SpgId::default(), at(0));
            t.finished(o.session, tid, 0, at(1 + tid * 7 % 500));
        }
        let v = t.dump_history(at(1000), true);
        let took: Vec<f64> =
            v["ops"].as_array().unwrap().iter().map(|o| o["duration"].as_f64().unwrap()).collect();
        assert_eq!(took.len(), 20);
        assert!((took[0] - 0.5).abs() < 1e-9 && (took[19] - 0.481).abs() < 1e-9, "{took:?}");
        t.sweep(at(700_000));
        assert_eq!(t.dump_history(at(700_000), false)["ops"], json!([]));
        assert_eq!((t.bar, t.counters.r.count), (Duration::ZERO, 500));
    }

    #[test]
    fn what_is_answered_at_once_took_as_long_as_its_event() {
        let mut t = OpTracker::default();
        let o = op(1, op_flags::READ);
        t.event_begins();
        t.started(&o, SpgId::default(), at(0));
        t.finished(o.session, 1, 0, at(0));
        assert!(t.answered_at_once());
        t.event_took(Duration::from_micros(30));
        assert_eq!((t.counters.r.latency_ns, t.answered_at_once()), (30_000, false));
        t.event_took(Duration::from_micros(30));
        assert_eq!(t.counters.r.latency_ns, 30_000, "once");
    }

    #[test]
    fn ops_are_counted_by_what_they_do() {
        let mut t = OpTracker::default();
        for (tid, flags) in [(1, op_flags::READ), (2, op_flags::WRITE), (3, op_flags::READ | op_flags::WRITE)]
        {
            let o = op(tid, flags);
            t.started(&o, SpgId::default(), at(0));
            t.finished(o.session, tid, 10 * tid, at(5));
        }
        let c = &t.counters;
        assert_eq!((c.r.out_bytes, c.w.out_bytes, c.rw.out_bytes), (10, 20, 30));
        assert_eq!((c.all().count, c.all().latency_ns), (3, 15_000_000));
    }
}
