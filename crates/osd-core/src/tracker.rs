//! [`OpTracker`]: client ops in flight and a few past ones, for `dump_ops_in_flight` and slow-op warnings.

use crate::event::SessionId;
use pg::ClientOp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;
use types::{SpgId, Utime};

/// Ops that are remembered after their end (`osd_op_history_size`).
const HISTORY_MAX: usize = 20;

struct Tracked {
    op: Weak<ClientOp>,
    pgid: SpgId,
    since: Utime,
}

/// See the module's documentation.
#[derive(Default)]
pub struct OpTracker {
    in_flight: BTreeMap<(SessionId, u64), Tracked>,
    history: VecDeque<(String, Utime, Duration)>,
    /// Counters since the start.
    pub counters: OpCounters,
}

/// What `perf dump` shows of client ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpCounters {
    /// Ops finished.
    pub op: u64,
    /// Of these, without a write.
    pub op_r: u64,
    /// Of these, with a write.
    pub op_w: u64,
    /// Bytes of input.
    pub op_in_bytes: u64,
    /// Sum of latencies in nanoseconds.
    pub op_latency_ns: u64,
    /// Of writes.
    pub op_w_latency_ns: u64,
    /// Of reads.
    pub op_r_latency_ns: u64,
}

fn describe(op: &ClientOp, pgid: SpgId) -> String {
    let ops: Vec<String> = op.ops.iter().map(|o| o.code.name().to_owned()).collect();
    format!("osd_op({} {} {} [{}] e{})", op.reqid, pgid, op.oid, ops.join(","), op.epoch)
}

impl OpTracker {
    /// An op was accepted. A resend takes the place of the first sending.
    pub fn started(&mut self, op: &Arc<ClientOp>, pgid: SpgId, now: Utime) {
        self.in_flight.insert((op.session, op.tid), Tracked { op: Arc::downgrade(op), pgid, since: now });
    }

    /// Its answer leaves.
    pub fn finished(&mut self, session: SessionId, tid: u64, now: Utime) {
        let Some(t) = self.in_flight.remove(&(session, tid)) else { return };
        let Some(op) = t.op.upgrade() else { return };
        let took = now.since(t.since);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let c = &mut self.counters;
        c.op += 1;
        c.op_latency_ns += ns;
        c.op_in_bytes += op.cost_bytes();
        if op.flags & pg::op_flags::WRITE != 0 {
            c.op_w += 1;
            c.op_w_latency_ns += ns;
        } else {
            c.op_r += 1;
            c.op_r_latency_ns += ns;
        }
        if took > Duration::from_secs(1) {
            self.history.push_back((describe(&op, t.pgid), t.since, took));
            if self.history.len() > HISTORY_MAX {
                self.history.pop_front();
            }
        }
    }

    /// Ops that nobody holds any more: their PG dropped them without an answer (the client will send again). They are
    /// forgotten and named.
    pub fn sweep(&mut self) -> Vec<(SessionId, u64)> {
        let dead: Vec<_> =
            self.in_flight.iter().filter(|(_, t)| t.op.strong_count() == 0).map(|(k, _)| *k).collect();
        for k in &dead {
            self.in_flight.remove(k);
        }
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

    /// Number of ops in flight for at least `age`, and the age of the oldest.
    pub fn slow(&self, now: Utime, age: Duration) -> (u32, Duration) {
        let live = self.in_flight.values().filter(|t| t.op.strong_count() > 0);
        let ages = live.map(|t| now.since(t.since)).filter(|a| *a >= age);
        ages.fold((0, Duration::ZERO), |(n, max), a| (n + 1, max.max(a)))
    }

    /// `dump_ops_in_flight`.
    pub fn dump(&self, now: Utime) -> serde_json::Value {
        let ops: Vec<_> = self
            .in_flight
            .values()
            .filter_map(|t| Some((t, t.op.upgrade()?)))
            .map(|(t, op)| {
                serde_json::json!({
                    "description": describe(&op, t.pgid),
                    "initiated_at": t.since.to_string(),
                    "age": now.since(t.since).as_secs_f64(),
                })
            })
            .collect();
        serde_json::json!({ "num_ops": ops.len(), "ops": ops })
    }

    /// `dump_historic_slow_ops`.
    pub fn dump_history(&self) -> serde_json::Value {
        let ops: Vec<_> = self
            .history
            .iter()
            .map(|(d, since, took)| {
                serde_json::json!({
                    "description": d, "initiated_at": since.to_string(), "duration": took.as_secs_f64(),
                })
            })
            .collect();
        serde_json::json!({ "num_ops": ops.len(), "ops": ops })
    }
}
