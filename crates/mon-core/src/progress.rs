//! Events that take a while: PGs that move after an OSD was marked out or in, and the recovery of all while one of these goes on. What
//! `progress` and `ceph -s` show; mirrors stock's `progress` module of the manager. Completed events are kept under config-key
//! `mgr/progress/completed` in stock's form, so that the next leader (or a stock manager) knows them.

use crate::pgmap::PgMap;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::osdmap::OsdMap;
use types::pgstat::pg_state;
use types::{Epoch, OsdId, PgId, Utime};

/// Where completed events are kept, by config-key.
pub(crate) const COMPLETED_KEY: &str = "mgr/progress/completed";
/// Most completed events that are read back; `mgr/progress/max_completed_events` may say less.
const COMPLETED_MAX: usize = 1000;
/// Events at once. More OSDs that go out while so many are on their way are not followed one by one.
const EVENTS_MAX: usize = 1000;
/// `ENCODING_VERSION` of stock's module.
const VERSION: u64 = 2;

/// What an event is about.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// PGs that an OSD's going or coming moves: those that are not done, with the bytes that were recovered at the start, and how many
    /// there were.
    Osd { osd: OsdId, left: BTreeMap<PgId, i64>, of: usize },
    /// All PGs until they are clean; how many were at the start.
    Global { clean_at_start: usize },
}

/// An event under way.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: String,
    message: String,
    started: Utime,
    epoch: Epoch,
    progress: f64,
    kind: Kind,
}

/// A completed one.
#[derive(Clone, Debug, PartialEq)]
struct Completed {
    id: String,
    message: String,
    refs: Value,
    started: f64,
    finished: f64,
    failed: Option<String>,
}

/// All events; the leader's.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    events: Vec<Event>,
    completed: Vec<Completed>,
    /// Completed events changed and are to be kept.
    dirty: bool,
}

/// The OSDs that a change of the map marked out, and in. As with stock, only a full weight is "in", so that an OSD that is weighted in
/// step by step is not an event at each step.
fn moved_osds(old: &OsdMap, new: &OsdMap) -> (Vec<OsdId>, Vec<OsdId>) {
    let both = new.osds().filter(|o| old.exists(*o));
    let (mut out, mut into) = (Vec::new(), Vec::new());
    for o in both {
        match (old.weight_of(o), new.weight_of(o)) {
            (1.., 0) => out.push(o),
            (0, 0x1_0000..) => into.push(o),
            _ => {}
        }
    }
    (out, into)
}

impl Progress {
    /// Takes completed events from what is kept; what cannot be read is not there.
    pub fn load(kept: Option<&[u8]>) -> Progress {
        let kept: Value = kept.and_then(|b| serde_json::from_slice(b).ok()).unwrap_or_default();
        let number = |v: &Value| v.as_f64().filter(|f| f.is_finite()).unwrap_or(0.0);
        let read = |v: &Value| {
            Some(Completed {
                id: v["id"].as_str()?.to_owned(),
                message: v["message"].as_str()?.to_owned(),
                refs: v["refs"].clone(),
                started: number(&v["started_at"]),
                finished: number(&v["finished_at"]),
                failed: v["failure_message"].as_str().map(str::to_owned),
            })
        };
        let list = kept["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let completed = list.iter().rev().take(COMPLETED_MAX).rev().filter_map(read).collect();
        Progress { completed, ..Progress::default() }
    }
    /// What is to be kept now, if that changed; at most `max` completed events are.
    pub fn take_changed(&mut self, max: usize) -> Option<String> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let over = self.completed.len().saturating_sub(max.min(COMPLETED_MAX));
        self.completed.drain(..over);
        let events: Vec<Value> = self.completed.iter().map(Completed::json).collect();
        Some(json!({"events": events, "version": VERSION, "compat_version": VERSION}).to_string())
    }
    /// True while something goes on.
    pub fn is_busy(&self) -> bool {
        !self.events.is_empty()
    }
    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Progress { dirty: true, ..Progress::default() };
    }

    /// Starts events for OSDs that `new`, which follows `old`, marks out or in. `ids` gives names that nobody else has.
    pub fn map_changed(
        &mut self,
        old: &OsdMap,
        new: &OsdMap,
        pgs: &PgMap,
        now: Utime,
        mut ids: impl FnMut() -> String,
    ) {
        let (out, into) = moved_osds(old, new);
        for o in &into {
            let (over, on): (Vec<Event>, Vec<Event>) = std::mem::take(&mut self.events)
                .into_iter()
                .partition(|e| matches!(&e.kind, Kind::Osd { osd, .. } if osd == o));
            self.events = on;
            over.into_iter().for_each(|e| self.complete(e, now));
        }
        if out.is_empty() && into.is_empty() {
            return;
        }
        let moved: BTreeSet<OsdId> = out.iter().chain(&into).copied().collect();
        let mut by_osd: BTreeMap<OsdId, BTreeMap<PgId, i64>> = BTreeMap::new();
        // Whose OSDs come in is known from the map alone; one pass over all PGs answers for all OSDs of this change.
        for (pg, s) in &pgs.pgs {
            if into.is_empty() && !s.acting.iter().any(|o| moved.contains(o)) {
                continue;
            }
            let Some(then) = new.pg_to_up_acting_osds(*pg).map(|p| p.acting) else { continue };
            let set = |l: &[OsdId]| l.iter().copied().collect::<BTreeSet<OsdId>>();
            let (was, is) = (set(&s.acting), set(&then));
            if was == is {
                continue;
            }
            for o in was.union(&is).filter(|o| moved.contains(o)) {
                by_osd.entry(*o).or_default().insert(*pg, s.stats.sum.num_bytes_recovered);
            }
        }
        for (how, osd) in out.iter().map(|o| ("out", o)).chain(into.iter().map(|o| ("in", o))) {
            let Some(left) = by_osd.remove(osd) else { continue };
            if self.events.len() >= EVENTS_MAX {
                return;
            }
            self.events.push(Event {
                id: ids(),
                message: format!("Rebalancing after osd.{osd} marked {how}"),
                started: now,
                epoch: new.epoch,
                progress: 0.0,
                kind: Kind::Osd { osd: *osd, of: left.len(), left },
            });
        }
    }

    /// Looks at the PGs again: how far all is, what is complete. While an event goes on and PGs are not clean, there is one for all.
    pub fn look(&mut self, pgs: &PgMap, epoch: Epoch, now: Utime, mut ids: impl FnMut() -> String) {
        if self.events.is_empty() {
            return;
        }
        let clean = |state: u64| state & pg_state::ACTIVE != 0 && state & pg_state::CLEAN != 0;
        let is_clean = pgs.pgs.values().filter(|s| clean(s.state)).count();
        let mut global = false;
        for e in &mut self.events {
            match &mut e.kind {
                Kind::Osd { left, of, .. } => {
                    let mut part = 0.0;
                    left.retain(|pg, recovered_before| {
                        // (The PG of a pool that was removed is done.)
                        let Some(s) = pgs.pgs.get(pg) else { return false };
                        if s.reported_epoch < e.epoch {
                            return true;
                        }
                        let sum = &s.stats.sum;
                        if sum.num_bytes > 0 {
                            let done = sum.num_bytes_recovered.saturating_sub(*recovered_before);
                            part += (done as f64 / sum.num_bytes as f64).clamp(0.0, 1.0);
                        }
                        !clean(s.state)
                    });
                    let done = of.saturating_sub(left.len()) as f64;
                    e.progress = ((done + part) / (*of).max(1) as f64).clamp(0.0, 1.0);
                    if left.is_empty() {
                        e.progress = 1.0;
                    } else {
                        // Bytes alone do not complete an event: its PGs have to be clean.
                        e.progress = e.progress.min(0.999);
                    }
                }
                Kind::Global { clean_at_start } => {
                    global = true;
                    let unmoved =
                        pgs.pgs.values().filter(|s| clean(s.state) && s.reported_epoch < e.epoch).count();
                    if *clean_at_start != is_clean {
                        let of = pgs.pgs.len().saturating_sub(unmoved);
                        let done = is_clean.saturating_sub(unmoved);
                        e.progress = if of == 0 { 1.0 } else { done as f64 / of as f64 };
                    }
                    if is_clean == pgs.pgs.len() {
                        e.progress = 1.0;
                    }
                }
            }
        }
        let (over, on): (Vec<Event>, Vec<Event>) =
            std::mem::take(&mut self.events).into_iter().partition(|e| e.progress >= 1.0);
        self.events = on;
        over.into_iter().for_each(|e| self.complete(e, now));
        if !global && is_clean < pgs.pgs.len() && !self.events.is_empty() {
            self.events.push(Event {
                id: ids(),
                message: "Global Recovery Event".to_owned(),
                started: now,
                epoch,
                progress: 0.0,
                kind: Kind::Global { clean_at_start: is_clean },
            });
        }
    }

    fn complete(&mut self, e: Event, now: Utime) {
        self.dirty = true;
        let refs = e.refs();
        let (started, finished) = (e.started.as_secs_f64(), now.as_secs_f64());
        self.completed.push(Completed {
            id: e.id,
            message: e.message,
            refs,
            started,
            finished,
            failed: None,
        });
    }

    /// `progress`; nothing when there is nothing.
    pub fn text(&self, now: Utime) -> Option<String> {
        if self.events.is_empty() && self.completed.is_empty() {
            return None;
        }
        let mut out = String::new();
        for e in self.events.iter().rev() {
            out.push_str(&e.two_lines(now, 4));
            out.push('\n');
        }
        if !self.completed.is_empty() {
            out.push('\n');
        }
        for c in &self.completed {
            let word = if c.failed.is_some() { "Failed" } else { "Complete" };
            let age = short_age(now.as_secs_f64() - c.started);
            out.push_str(&format!("[{word}]: {} ({age})\n    {} \n", c.message, bar(1.0)));
        }
        Some(out)
    }
    /// `progress json`.
    pub fn json(&self, now: Utime) -> Value {
        let events: Vec<Value> = self
            .events
            .iter()
            .map(|e| {
                json!({
                    "id": e.id, "message": e.message, "duration": format!("({})", e.age(now)), "refs": e.refs(),
                    "progress": e.progress, "started_at": e.started.as_secs_f64(), "time_remaining": e.remaining(now),
                })
            })
            .collect();
        json!({"events": events, "completed": self.completed.iter().map(Completed::json).collect::<Vec<_>>()})
    }
    /// `progress_events` of `status`.
    pub fn status_json(&self, now: Utime) -> Value {
        let event = |e: &Event| {
            let v = json!({"message": e.two_lines(now, 6), "progress": e.progress, "add_to_ceph_s": e.is_global()});
            (e.id.clone(), v)
        };
        Value::Object(self.events.iter().map(event).collect::<Map<String, Value>>())
    }
    /// The part of `ceph -s`; nothing when there is nothing to show.
    pub fn status_text(&self, now: Utime) -> String {
        let shown: String = self
            .events
            .iter()
            .filter(|e| e.is_global())
            .map(|e| format!("    {}\n", e.two_lines(now, 6)))
            .collect();
        if shown.is_empty() { shown } else { format!(" \n  progress:\n{shown}") }
    }
}

impl Event {
    fn is_global(&self) -> bool {
        matches!(self.kind, Kind::Global { .. })
    }
    fn refs(&self) -> Value {
        match &self.kind {
            Kind::Osd { osd, .. } => json!([["osd", osd.0]]),
            Kind::Global { .. } => json!([["global", ""]]),
        }
    }
    fn age(&self, now: Utime) -> String {
        short_age(now.since(self.started).as_secs_f64())
    }
    /// Seconds until it is done, should it go on as it went.
    fn remaining(&self, now: Utime) -> Option<u64> {
        if self.progress <= 0.0 {
            return None;
        }
        let left = now.since(self.started).as_secs_f64() * (1.0 - self.progress) / self.progress;
        Some(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX).as_secs())
    }
    fn two_lines(&self, now: Utime, indent: usize) -> String {
        let remaining = match self.remaining(now) {
            Some(s) if s > 0 => format!("(remaining: {})", short_age(s as f64)),
            _ => String::new(),
        };
        format!("{} ({})\n{:indent$}{} {remaining}", self.message, self.age(now), "", bar(self.progress))
    }
}

impl Completed {
    fn json(&self) -> Value {
        // (The colon in the key is stock's.)
        let mut v = json!({
            "id": self.id, "message": self.message, "refs": self.refs, "started_at": self.started, "finished_at": self.finished,
            "add_to_ceph_s:": self.message == "Global Recovery Event",
        });
        if let Some(why) = &self.failed {
            v["failed"] = true.into();
            v["failure_message"] = why.as_str().into();
        }
        v
    }
}

fn bar(progress: f64) -> String {
    const WIDTH: usize = 28;
    let done = ((progress * WIDTH as f64) as usize).min(WIDTH);
    format!("[{}{}]", "=".repeat(done), ".".repeat(WIDTH - done))
}

/// A span as stock's manager writes it (`to_pretty_timedelta`): `119s`, `2m`, `47h`.
fn short_age(secs: f64) -> String {
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    let s = secs.max(0.0) as u64;
    match s {
        0..120 => format!("{s}s"),
        120..7200 => format!("{}m", s / 60),
        7200..172_800 => format!("{}h", s / HOUR),
        172_800..1_209_600 => format!("{}d", s / DAY),
        1_209_600..7_257_600 => format!("{}w", s / (7 * DAY)),
        7_257_600..63_072_000 => format!("{}M", s / (30 * DAY)),
        _ => format!("{}y", s / (365 * DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_stock_does() {
        let of = |s: u64| short_age(s as f64);
        assert_eq!([of(0), of(119), of(120), of(7199), of(7200)], ["0s", "119s", "2m", "119m", "2h"]);
        assert_eq!([of(172_800), of(1_209_600), of(7_257_600), of(63_072_000)], ["2d", "2w", "2M", "2y"]);
        assert_eq!(short_age(-3.0), "0s");
    }

    #[test]
    fn what_is_kept_is_read_back_and_junk_is_nothing() {
        let done = Completed {
            id: "x".into(),
            message: "Rebalancing after osd.1 marked out".into(),
            refs: json!([["osd", 1]]),
            started: 10.5,
            finished: 12.0,
            failed: None,
        };
        let mut p = Progress { completed: vec![done.clone(); 3], dirty: true, ..Progress::default() };
        let kept = p.take_changed(2).unwrap();
        assert_eq!(p.take_changed(2), None, "nothing changed since");
        assert_eq!(Progress::load(Some(kept.as_bytes())).completed, vec![done; 2]);
        for junk in [&b"\xff"[..], b"[]", b"{\"events\":3}", b"{\"events\":[{\"id\":4}]}", b"null"] {
            assert!(Progress::load(Some(junk)).completed.is_empty());
        }
    }
}
