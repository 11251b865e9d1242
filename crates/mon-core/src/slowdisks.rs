//! [`SlowDisks`]: which OSDs' disks have become slow, by comparing the OSDs with each other: the check `OSD_SLOW_DISK`.
//!
//! With each report an OSD tells how long its writes needed until they were durable (ours: records of the journal; stock's: BlueStore's
//! commits). An OSD is named when for a minute its typical time was both long as such and many times that of the others of its device class.
//! It is cleared when its time is half way back, or when it has written nothing for long, or is gone.
//!
//! Invariants: nobody is judged without two others to compare with, nor by a few reports. A disk that hangs altogether ends no write and is
//! not seen here: its requests are (`SLOW_OPS`).

use crate::core::MonCore;
use crate::counters::Counters;
use crate::crushutil::class_of;
use crate::health::{Builder, Severity};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use types::{OsdId, Utime};

/// Of what length of time reports are compared.
const WINDOW: Duration = Duration::from_secs(60);
/// Reports in it that an OSD is judged by at least; and how many are kept.
const REPORTS_MIN: usize = 6;
const REPORTS_MAX: usize = 64;
/// Others of its class that it takes.
const PEERS_MIN: usize = 2;
/// A typical write that is shorter is not slow, whatever the others' are.
const FLOOR: Duration = Duration::from_millis(20);
const FLOOR_HDD: Duration = Duration::from_millis(100);
/// How many times as long as the others' median.
const TIMES: u32 = 5;
/// An OSD that has written nothing for so long is not known to be slow any more.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Times of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    at: Utime,
    typical: Duration,
    worst: Option<Duration>,
}

/// What is known of a slow OSD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    typical: Duration,
    worst: Option<Duration>,
    peers: Duration,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct SlowDisks {
    reports: BTreeMap<OsdId, VecDeque<Report>>,
    slow: BTreeMap<OsdId, Verdict>,
}

fn median(mut v: Vec<Duration>) -> Option<Duration> {
    v.sort_unstable();
    v.get(v.len() / 2).copied()
}

impl SlowDisks {
    /// An OSD reported.
    pub fn take(&mut self, osd: OsdId, c: &Counters, now: Utime) {
        let named = |path| c.reading(path).map(|r| Duration::from_nanos(r.value));
        let grown = |path| c.growth(path).filter(|g| g.count > 0);
        let (typical, worst) = if let Some(g) = grown("store.journal_latency") {
            let mean = Duration::from_nanos(g.value / g.count);
            (named("store.journal_latency_p50").unwrap_or(mean), named("store.journal_latency_p99"))
        } else if let Some(g) = grown("bluestore.commit_lat") {
            (Duration::from_nanos(g.value / g.count), None)
        } else {
            return;
        };
        self.note(osd, Report { at: now, typical, worst });
    }

    fn note(&mut self, osd: OsdId, r: Report) {
        let list = self.reports.entry(osd).or_default();
        list.push_back(r);
        if list.len() > REPORTS_MAX {
            list.pop_front();
        }
    }

    /// Compares. `class` tells an OSD's device class; nothing for one that is not up.
    pub fn judge(&mut self, now: Utime, class: impl Fn(OsdId) -> Option<String>) {
        let fresh = |l: &VecDeque<Report>| l.back().is_some_and(|r| now.since(r.at) <= FORGOTTEN);
        self.reports.retain(|osd, l| fresh(l) && class(*osd).is_some());
        let mut known: BTreeMap<String, Vec<(OsdId, Duration, Option<Duration>)>> = BTreeMap::new();
        for (osd, list) in &self.reports {
            let Some(class) = class(*osd) else { continue };
            let recent: Vec<&Report> = list.iter().filter(|r| now.since(r.at) <= WINDOW).collect();
            if recent.len() < REPORTS_MIN {
                continue;
            }
            let typical = median(recent.iter().map(|r| r.typical).collect()).unwrap_or_default();
            let worst = median(recent.iter().filter_map(|r| r.worst).collect());
            known.entry(class).or_default().push((*osd, typical, worst));
        }
        let reports = &self.reports;
        self.slow.retain(|osd, _| reports.contains_key(osd));
        for (class, list) in known {
            let floor = if class == "hdd" { FLOOR_HDD } else { FLOOR };
            if list.len() <= PEERS_MIN {
                continue;
            }
            let mut times: Vec<Duration> = list.iter().map(|o| o.1).collect();
            times.sort_unstable();
            let middle = (times.len() - 1) / 2;
            for (osd, typical, worst) in &list {
                // The median of the others: those behind its own place move down by one.
                let own = times.partition_point(|t| t < typical);
                let peers = times[if own <= middle { middle + 1 } else { middle }];
                let bar = floor.max(peers * TIMES);
                if *typical >= bar || (self.slow.contains_key(osd) && *typical >= bar / 2) {
                    self.slow.insert(*osd, Verdict { typical: *typical, worst: *worst, peers });
                } else {
                    self.slow.remove(osd);
                }
            }
        }
    }
}

/// `45.2 ms`.
fn ms(d: Duration) -> String {
    format!("{:.1} ms", d.as_secs_f64() * 1e3)
}

impl MonCore {
    /// The manager's role compares disks.
    pub(crate) fn slow_disks_tick(&mut self) {
        let map = &self.osd.map;
        let class = |o: OsdId| map.is_up(o).then(|| class_of(&map.crush, o.0).unwrap_or("").to_owned());
        self.slow_disks.judge(self.now, class);
    }

    pub(crate) fn slow_disk_checks(&self, b: &mut Builder) {
        let detail: Vec<String> = self
            .slow_disks
            .slow
            .iter()
            .map(|(osd, v)| {
                let worst = v.worst.map_or(String::new(), |w| format!(", 99th percentile {}", ms(w)));
                let times = v.typical.as_secs_f64() / v.peers.as_secs_f64().max(1e-6);
                format!(
                    "osd.{osd} needs {} for a durable write (median of {} s{worst}), {times:.0} times as long as its peers' {}",
                    ms(v.typical),
                    WINDOW.as_secs(),
                    ms(v.peers)
                )
            })
            .collect();
        if !detail.is_empty() {
            let n = detail.len();
            let what = if n == 1 { "OSD has a disk that is" } else { "OSDs have disks that are" };
            let text = format!("{n} {what} much slower than those of other OSDs");
            b.add("OSD_SLOW_DISK", Severity::Warn, text, n, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u32) -> Utime {
        Utime::from_secs(10_000 + secs)
    }
    fn ssd(_: OsdId) -> Option<String> {
        Some("ssd".to_owned())
    }
    /// Reports of `from..to`, one each 5 s, with times in ms by OSD.
    fn run(s: &mut SlowDisks, from: u32, to: u32, ms: &[u64]) {
        for secs in (from..to).step_by(5) {
            for (osd, ms) in ms.iter().enumerate().filter(|(_, ms)| **ms > 0) {
                let typical = Duration::from_millis(*ms);
                s.note(OsdId(osd as i32), Report { at: at(secs), typical, worst: Some(typical * 2) });
            }
            s.judge(at(secs), ssd);
        }
    }
    fn named(s: &SlowDisks) -> Vec<i32> {
        s.slow.keys().map(|o| o.0).collect()
    }

    #[test]
    fn the_one_disk_that_is_slow_for_a_minute_is_named_until_it_is_well_again() {
        let mut s = SlowDisks::default();
        run(&mut s, 0, 300, &[1, 2, 1, 2]);
        assert!(named(&s).is_empty());
        run(&mut s, 300, 320, &[1, 2, 1, 90]);
        assert!(named(&s).is_empty(), "a moment is none");
        run(&mut s, 320, 360, &[1, 2, 1, 90]);
        assert_eq!(named(&s), [3]);
        assert_eq!(s.slow[&OsdId(3)].peers, Duration::from_millis(1));
        run(&mut s, 360, 460, &[1, 2, 1, 11]);
        assert_eq!(named(&s), [3], "half way is not back");
        run(&mut s, 460, 560, &[1, 2, 1, 3]);
        assert!(named(&s).is_empty());
    }

    #[test]
    fn what_is_slow_for_all_or_fast_enough_or_of_another_class_is_not_named() {
        let mut s = SlowDisks::default();
        run(&mut s, 0, 100, &[200, 190, 210, 300]);
        assert!(named(&s).is_empty(), "all of them are slow");
        let mut s = SlowDisks::default();
        run(&mut s, 0, 100, &[1, 1, 1, 15]);
        assert!(named(&s).is_empty(), "15 ms are no failing disk");
        let mut s = SlowDisks::default();
        run(&mut s, 0, 100, &[1, 0, 0, 90]);
        assert!(named(&s).is_empty(), "one other is none to compare with");
        let class = |o: OsdId| Some(if o.0 < 3 { "ssd" } else { "hdd" }.to_owned());
        let mut s = SlowDisks::default();
        run(&mut s, 0, 100, &[1, 1, 1, 90, 80, 95]);
        s.slow.clear();
        s.judge(at(100), class);
        assert!(named(&s).is_empty(), "disks are compared with disks");
    }

    #[test]
    fn who_writes_nothing_for_long_or_goes_down_is_not_named_any_more() {
        let mut s = SlowDisks::default();
        run(&mut s, 0, 100, &[1, 1, 1, 90]);
        assert_eq!(named(&s), [3]);
        run(&mut s, 100, 400, &[1, 1, 1, 0]);
        assert_eq!(named(&s), [3], "nothing new is known");
        run(&mut s, 400, 710, &[1, 1, 1, 0]);
        assert!(named(&s).is_empty());
        run(&mut s, 710, 800, &[1, 1, 1, 90]);
        assert_eq!(named(&s), [3]);
        s.judge(at(800), |o| ssd(o).filter(|_| o.0 != 3));
        assert!(named(&s).is_empty());
    }
}
