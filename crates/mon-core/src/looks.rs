//! [`Looks`]: what the leader sees of the other members: their clocks, their stores, how soon they answer.
//!
//! Every few seconds the leader asks each member of its quorum ([`Look`]) and gets its clock, its newest change and its store's state
//! ([`Seen`]). Clocks are judged in rounds, as stock does: one each `mon_timecheck_interval`, sooner again while one is off. What is known is
//! this leader's and this quorum's, and forgotten with them.
//!
//! Invariants: a skew is stated only as far as the time that the answer took cannot explain it; an answer to a look that was not sent, or
//! that would have come before it was sent (the own clock was set back), says nothing.

use crate::core::MonCore;
use crate::event::{MonEffect, StoreState};
use crate::fmt::byte_u;
use crate::health::{Builder, Severity};
use crate::wire::{Look, Seen};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use types::Utime;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Looks whose answers are awaited; older ones are not any more.
const SENT_MAX: usize = 16;
/// Answers that are remembered of each member: a minute's.
const RECENT_MAX: usize = 12;
/// A member is slow when so many of the last answers, or writes of its store, took longer than `SLOW`.
const SLOW_COUNT: usize = 3;
const SLOW: Duration = Duration::from_secs(2);
/// A member is slow when it has not answered for so long.
const SILENT: Duration = Duration::from_secs(10);
/// A member is slow when it has not had for so long what the leader had then.
const BEHIND: Duration = Duration::from_secs(15);

/// A member's clock, as of the last round that it took part in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Skew {
    /// Seconds that it is ahead of ours at least; negative when it is behind.
    pub secs: f64,
    /// Seconds that its answer took.
    pub latency: f64,
}

#[derive(Debug, Default)]
struct Member {
    /// Looks that it has not answered: number, when, and the newest change then.
    sent: VecDeque<(u64, Utime, u64)>,
    /// Of the last looks: how long the answer took, and the longest write of its store.
    recent: VecDeque<(Duration, Duration)>,
    /// Since when it has lacked changes, and how many.
    behind: Option<(Utime, u64)>,
    skew: Option<Skew>,
    store: StoreState,
}

impl Member {
    fn remember(&mut self, took: Duration, store: StoreState) {
        self.recent.push_back((took, Duration::from_micros(store.slowest_write_us)));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        self.store = store;
    }
    /// What makes it slow, in words; nothing when it is not.
    fn slow(&self, now: Utime) -> Option<String> {
        let (mut answers, mut writes) = (Duration::ZERO, Duration::ZERO);
        let (mut late, mut long) = (0, 0);
        for (answer, write) in &self.recent {
            late += usize::from(*answer > SLOW);
            long += usize::from(*write > SLOW);
            answers = answers.max(*answer);
            writes = writes.max(*write);
        }
        let silent = self.sent.front().map_or(Duration::ZERO, |s| now.since(s.1));
        if silent > SILENT {
            return Some(format!("has not answered the leader for {} s", silent.as_secs()));
        }
        if long >= SLOW_COUNT {
            return Some(format!("needs up to {:.1} s for a write of its store", writes.as_secs_f64()));
        }
        if late >= SLOW_COUNT {
            return Some(format!("needs up to {:.1} s to answer the leader", answers.as_secs_f64()));
        }
        match self.behind {
            Some((since, by)) if now.since(since) > BEHIND => Some(format!(
                "lacks {by} changes that the leader has had for {} s",
                now.since(since).as_secs()
            )),
            _ => None,
        }
    }
}

/// How often clocks are compared: the options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// `mon_timecheck_interval`.
    pub interval: Duration,
    /// `mon_timecheck_skew_interval`.
    pub skew_interval: Duration,
    /// `mon_clock_drift_allowed`, in seconds.
    pub allowed: f64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    number: u64,
    looked_at: Utime,
    members: BTreeMap<String, Member>,
    /// Odd while it goes on.
    round: u64,
    round_at: Utime,
    /// The first look of the round.
    round_first: u64,
    awaited: BTreeSet<String>,
    rounds_since_clean: u32,
    /// Our own store; written by the shell, whether we lead or not.
    own: Member,
    /// Longest write of our store that no leader has been told of.
    untold_write_us: u64,
}

impl Looks {
    /// Another quorum, or another leader: what was seen is no more.
    pub fn restart(&mut self) {
        let own = std::mem::take(&mut self.own);
        *self = Looks { own, number: self.number, untold_write_us: self.untold_write_us, ..Looks::default() };
    }
    /// The shell looked at our own store.
    pub fn own_store(&mut self, s: StoreState) {
        self.untold_write_us = self.untold_write_us.max(s.slowest_write_us);
        self.own.remember(Duration::ZERO, s);
    }
    /// Our answer to a leader that looks.
    pub fn answer(&mut self, look: &Look, clock: Utime, version: u64) -> Seen {
        let slowest_write_us = std::mem::take(&mut self.untold_write_us);
        Seen { number: look.number, clock, version, store: StoreState { slowest_write_us, ..self.own.store } }
    }

    /// Time passed: whom to send a look.
    pub fn tick(&mut self, now: Utime, others: &[String], version: u64, t: &Timing) -> Vec<(String, Look)> {
        self.members.retain(|n, _| others.contains(n));
        if others.is_empty() {
            return Vec::new();
        }
        let is_due = self.round == 0 || now < self.round_at || now.since(self.round_at) >= self.pause(t);
        // A round that nobody ended by now is given up, as stock does.
        if is_due {
            self.round = (self.round + 1) | 1;
            self.round_at = now;
            self.round_first = self.number + 1;
            self.awaited = others.iter().cloned().collect();
        } else if now >= self.looked_at && now.since(self.looked_at) < LOOK_INTERVAL {
            return Vec::new();
        }
        self.looked_at = now;
        self.number += 1;
        let look = Look { number: self.number, version };
        for name in others {
            let m = self.members.entry(name.clone()).or_default();
            m.sent.push_back((look.number, now, version));
            if m.sent.len() > SENT_MAX {
                // (The oldest stays: it says since when there is no answer.)
                m.sent.remove(1);
            }
        }
        others.iter().map(|n| (n.clone(), look.clone())).collect()
    }

    /// From the beginning of a round to that of the next one.
    fn pause(&self, t: &Timing) -> Duration {
        match t.skew_interval * self.rounds_since_clean {
            soon if soon > Duration::ZERO && soon < t.interval => soon,
            _ => t.interval,
        }
    }

    /// A member's answer.
    pub fn seen(&mut self, now: Utime, from: &str, seen: &Seen, t: &Timing) {
        let Some(m) = self.members.get_mut(from) else { return };
        let Some((_, at, version)) = m.sent.iter().find(|s| s.0 == seen.number).copied() else { return };
        m.sent.retain(|s| s.0 > seen.number);
        if now < at {
            return;
        }
        let took = now.since(at);
        m.remember(took, seen.store);
        m.behind = match version.saturating_sub(seen.version) {
            0 => None,
            by => Some((m.behind.map_or(at, |b| b.0), by)),
        };
        if seen.number < self.round_first || !self.awaited.remove(from) {
            return;
        }
        let ahead = seen.clock.as_secs_f64() - now.as_secs_f64();
        let sure = (ahead.abs() - took.as_secs_f64()).max(0.0);
        m.skew = Some(Skew {
            secs: if sure > 0.0 { sure.copysign(ahead) } else { 0.0 },
            latency: took.as_secs_f64(),
        });
        if self.awaited.is_empty() {
            self.round += 1;
            let off = self.members.values().any(|m| m.skew.is_some_and(|s| s.secs.abs() > t.allowed));
            self.rounds_since_clean = if off { self.rounds_since_clean + 1 } else { 0 };
        }
    }
}

/// What stock says of a clock that is off.
fn skew_text(secs: f64, allowed: f64) -> Option<String> {
    let g = |v| crate::fmt::fmt_g(v, 6);
    (secs.abs() > allowed).then(|| format!("clock skew {}s > max {}s", g(secs.abs()), g(allowed)))
}

impl MonCore {
    fn timing(&self) -> Timing {
        Timing {
            interval: self.cfg.secs("mon_timecheck_interval").max(Duration::from_secs(1)),
            skew_interval: self.cfg.secs("mon_timecheck_skew_interval"),
            allowed: self.cfg.num("mon_clock_drift_allowed"),
        }
    }

    /// The leader looks at the others.
    pub(crate) fn looks_tick(&mut self) {
        let own = self.name();
        let others: Vec<String> = self.quorum.quorum.iter().filter(|n| *n != own).cloned().collect();
        if others.is_empty() {
            return;
        }
        let timing = self.timing();
        let looks = self.looks.tick(self.now, &others, self.kv.version(), &timing);
        self.effects.extend(looks.into_iter().map(|(name, look)| MonEffect::Look(name, look)));
    }

    /// A leader looks at us.
    pub(crate) fn looked_at(&mut self, from: String, look: &Look) {
        let seen = self.looks.answer(look, self.now, self.kv.version());
        self.effects.push(MonEffect::Seen(from, seen));
    }

    /// A member answers.
    pub(crate) fn take_seen(&mut self, from: &str, seen: &Seen) {
        if self.quorum.leads {
            let timing = self.timing();
            self.looks.seen(self.now, from, seen, &timing);
        }
    }

    /// Names of the quorum by rank, with what is known of them.
    fn looked(&self) -> Vec<(String, &Member)> {
        let named = self.quorum_names().into_iter();
        named
            .filter_map(|n| {
                let m = if n == self.name() { &self.looks.own } else { self.looks.members.get(&n)? };
                Some((n, m))
            })
            .collect()
    }

    /// Clocks by name; empty until a round has brought any. Our own is right by definition.
    fn skews(&self) -> Vec<(String, Skew)> {
        if self.looks.members.values().all(|m| m.skew.is_none()) {
            return Vec::new();
        }
        let own = self.name();
        let of = |(n, m): (String, &Member)| match n == own {
            true => Some((n, Skew { secs: 0.0, latency: 0.0 })),
            false => m.skew.map(|s| (n, s)),
        };
        self.looked().into_iter().filter_map(of).collect()
    }

    /// `time-sync-status`.
    pub(crate) fn time_sync_json(&self) -> Value {
        let mut out = Map::new();
        let allowed = self.cfg.num("mon_clock_drift_allowed");
        let rows: Map<String, Value> = self
            .skews()
            .into_iter()
            .map(|(name, s)| {
                let text = skew_text(s.secs, allowed);
                let health = if text.is_some() { Severity::Warn } else { Severity::Ok };
                let mut row = json!({"skew": s.secs, "latency": s.latency, "health": health.name()});
                if let Some(text) = text {
                    row["details"] = text.into();
                }
                (name, row)
            })
            .collect();
        if !rows.is_empty() {
            out.insert("time_skew_status".into(), Value::Object(rows));
        }
        let l = &self.looks;
        let status = if l.round % 2 == 1 { "on-going" } else { "finished" };
        out.insert(
            "timechecks".into(),
            json!({"epoch": self.quorum.election_epoch, "round": l.round, "round_status": status}),
        );
        Value::Object(out)
    }

    /// Warnings about members of the quorum: clocks, room, speed.
    pub(crate) fn member_checks(&self, b: &mut Builder) {
        if !self.quorum.leads {
            return;
        }
        let allowed = self.cfg.num("mon_clock_drift_allowed");
        let mut off = Vec::new();
        let mut detail = Vec::new();
        for (name, s) in self.skews() {
            if let Some(text) = skew_text(s.secs, allowed) {
                detail.push(format!("mon.{name} {text} (latency {}s)", crate::fmt::fmt_g(s.latency, 6)));
                off.push(format!("mon.{name}"));
            }
        }
        if !off.is_empty() {
            let text = format!("clock skew detected on {}", off.join(", "));
            b.add("MON_CLOCK_SKEW", Severity::Warn, text, off.len(), detail);
        }
        let (warn, crit) = (self.cfg.num("mon_data_avail_warn"), self.cfg.num("mon_data_avail_crit"));
        let big = self.cfg.num("mon_data_size_warn");
        let mut found: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
        for (name, m) in self.looked() {
            let s = &m.store;
            if let Some(percent) = (s.avail_bytes as u128 * 100).checked_div(s.total_bytes.into()) {
                let code = match percent as f64 {
                    p if p <= crit => Some("MON_DISK_CRIT"),
                    p if p <= warn => Some("MON_DISK_LOW"),
                    _ => None,
                };
                if let Some(code) = code {
                    let text = format!("mon.{name} has {percent}% avail");
                    found.entry(code).or_default().push((name.clone(), text));
                }
            }
            if s.store_bytes > 0 && s.store_bytes as f64 >= big {
                let text = format!(
                    "mon.{name} is {} >= mon_data_size_warn ({})",
                    byte_u(s.store_bytes),
                    byte_u(big.max(0.0) as u64)
                );
                found.entry("MON_DISK_BIG").or_default().push((name.clone(), text));
            }
            if let Some(text) = m.slow(self.now) {
                let text = format!("mon.{name} {text}");
                found.entry("MON_SLOW").or_default().push((name, text));
            }
        }
        for (code, list) in found {
            let n = list.len();
            let (names, detail): (Vec<String>, Vec<String>) = list.into_iter().unzip();
            let (s, are) = if n > 1 { ("s", "are") } else { ("", "is") };
            let (severity, what) = match code {
                "MON_DISK_CRIT" => (Severity::Err, "very low on available space"),
                "MON_DISK_LOW" => (Severity::Warn, "low on available space"),
                "MON_DISK_BIG" => (Severity::Warn, "using a lot of disk space"),
                _ => (Severity::Warn, "slow"),
            };
            b.add(code, severity, format!("mon{s} {} {are} {what}", names.join(",")), n, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timing =
        Timing { interval: Duration::from_secs(300), skew_interval: Duration::from_secs(30), allowed: 0.05 };

    fn at(secs: u32, ms: u64) -> Utime {
        Utime::from_secs(1_000_000 + secs) + Duration::from_millis(ms)
    }
    fn answer(look: &Look, clock: Utime) -> Seen {
        Seen { number: look.number, clock, version: look.version, store: StoreState::default() }
    }
    fn skew(l: &Looks, name: &str) -> f64 {
        l.members[name].skew.unwrap().secs
    }

    #[test]
    fn a_round_each_interval_and_sooner_while_a_clock_is_off() {
        let mut l = Looks::default();
        let others = ["b".to_owned(), "c".to_owned()];
        let mut rounds = Vec::new();
        // b's clock is right for 700 s, then half a second ahead until 2000 s.
        for secs in 0..3000 {
            for (name, look) in l.tick(at(secs, 0), &others, 7, &T) {
                let off = if name == "b" && (700..2000).contains(&secs) { 500 } else { 0 };
                l.seen(at(secs, 2), &name, &answer(&look, at(secs, 1 + off)), &T);
            }
            if rounds.last().is_none_or(|(_, r)| *r != l.round) {
                rounds.push((secs, l.round));
            }
        }
        let starts: Vec<u32> = rounds.iter().map(|r| r.0).collect();
        // Off at 900, so again after 30, 60, 90 ... s, each round later, until they are as rare as ever.
        assert_eq!(starts[..9], [0, 300, 600, 900, 930, 990, 1080, 1200, 1350], "{starts:?}");
        assert_eq!(l.round, 2 * starts.len() as u64);
        assert_eq!(l.rounds_since_clean, 0);
        assert!(l.members["b"].skew.unwrap().secs.abs() < 0.001);
    }

    #[test]
    fn what_the_way_may_have_taken_is_no_skew() {
        let mut l = Looks::default();
        let others = ["b".to_owned()];
        let (_, look) = l.tick(at(0, 0), &others, 1, &T).remove(0);
        // The answer took 300 ms; the clock in it may have been read at any time in between.
        l.seen(at(0, 300), "b", &answer(&look, at(0, 10)), &T);
        assert_eq!(skew(&l, "b"), 0.0);
        let (_, look) = l.tick(at(300, 0), &others, 1, &T).remove(0);
        l.seen(at(300, 300), "b", &answer(&look, at(299, 800)), &T);
        assert!((skew(&l, "b") + 0.2).abs() < 1e-6, "behind by 200 ms at least: {}", skew(&l, "b"));
    }

    #[test]
    fn answers_that_nobody_asked_for_say_nothing() {
        let mut l = Looks::default();
        let others = ["b".to_owned()];
        let (_, look) = l.tick(at(10, 0), &others, 1, &T).remove(0);
        l.seen(at(10, 1), "x", &answer(&look, at(0, 0)), &T);
        l.seen(at(10, 1), "b", &answer(&Look { number: 99, ..look.clone() }, at(0, 0)), &T);
        // Our clock was set back: that is no skew of b's.
        l.seen(at(9, 0), "b", &answer(&look, at(10, 0)), &T);
        l.seen(at(10, 1), "b", &answer(&look, at(0, 0)), &T);
        assert!(l.members["b"].skew.is_none());
    }

    #[test]
    fn a_member_that_lags_or_is_silent_or_writes_slowly_is_slow() {
        let others = ["b".to_owned()];
        let run = |f: &dyn Fn(u32, &mut Seen) -> Option<Utime>| {
            let mut l = Looks::default();
            for secs in 0..60 {
                for (name, look) in l.tick(at(secs, 0), &others, u64::from(secs), &T) {
                    let mut seen = answer(&look, at(secs, 0));
                    if let Some(when) = f(secs, &mut seen) {
                        l.seen(when, &name, &seen, &T);
                    }
                }
            }
            l.members["b"].slow(at(60, 0))
        };
        assert_eq!(run(&|s, _| Some(at(s, 5))), None);
        // One slow moment is none.
        assert_eq!(run(&|s, _| Some(at(s, if s == 20 { 4000 } else { 5 }))), None);
        let text = run(&|s, _| Some(at(s, if s > 20 { 2500 } else { 5 }))).unwrap();
        assert_eq!(text, "needs up to 2.5 s to answer the leader");
        let text = run(&|s, _| (s < 30).then(|| at(s, 5))).unwrap();
        assert_eq!(text, "has not answered the leader for 30 s");
        let text = run(&|s, seen| {
            seen.version = seen.version.min(30);
            Some(at(s, 5))
        })
        .unwrap();
        assert_eq!(text, "lacks 25 changes that the leader has had for 25 s");
        let text = run(&|s, seen| {
            seen.store.slowest_write_us = 3_100_000;
            Some(at(s, 5))
        })
        .unwrap();
        assert_eq!(text, "needs up to 3.1 s for a write of its store");
    }
}
