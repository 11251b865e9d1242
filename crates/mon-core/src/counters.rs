//! Counters that daemons report to the manager's role, as last reported.
//!
//! A daemon declares a counter once and then sends the values of all declared ones in the order of their paths. What is declared is much the
//! same for all daemons of a kind, and kept once ([`Known`]); of each daemon only numbers are.

use denc::{Decoder, DencError};
use messages::MMgrReport;
use messages::mgr::PerfCounterType;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::Utime;

/// Counters of one daemon that are followed; a report that declares more is not read.
const DECLARED_MAX: usize = 4096;
/// Counters that are known by name.
const KNOWN_MAX: usize = 16_384;
/// Longest name and description taken from a daemon.
const PATH_MAX: usize = 512;
const ABOUT_MAX: usize = 1024;
/// `PERFCOUNTER_TIME`: nanoseconds.
pub(crate) const TIME: u8 = 0x1;
/// `PERFCOUNTER_LONGRUNAVG`: two more numbers follow the value.
pub(crate) const LONG_RUN_AVG: u8 = 0x4;
/// `PERFCOUNTER_COUNTER`.
pub(crate) const COUNTER: u8 = 0x8;
/// `PERFCOUNTER_HISTOGRAM`.
pub(crate) const HISTOGRAM: u8 = 0x10;
/// Priority from which on daemons shall report counters (`PRIO_USEFUL`, as stock's manager asks).
pub(crate) const PRIORITY: u32 = 5;

/// What a counter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub path: String,
    pub about: String,
    /// `PERFCOUNTER_*` bits.
    pub bits: u8,
}

/// What daemons have declared.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<String, Rc<Kind>>);

impl Known {
    fn kind(&mut self, t: &PerfCounterType) -> Rc<Kind> {
        if let Some(k) = self.0.get(&t.path).filter(|k| k.bits == t.kind) {
            return k.clone();
        }
        let about = t.description.chars().take(ABOUT_MAX).collect();
        let new = Rc::new(Kind { path: t.path.clone(), about, bits: t.kind });
        if self.0.len() < KNOWN_MAX {
            // (Of two that mean different things by one name, the first stays known.)
            self.0.entry(t.path.clone()).or_insert_with(|| new.clone());
        }
        new
    }
}

/// A value: the number itself, and of an average how many it sums up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub value: u64,
    pub count: u64,
}

/// What one daemon reported.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Ascending by path.
    kinds: Vec<Rc<Kind>>,
    /// One for each of `kinds`, of the last report and of the one before; none before the first report.
    values: Vec<Reading>,
    before: Vec<Reading>,
    at: Utime,
    apart: Duration,
}

impl Counters {
    fn place(&self, path: &str) -> Result<usize, usize> {
        self.kinds.binary_search_by(|k| k.path.as_str().cmp(path))
    }

    /// Takes over a report.
    pub(crate) fn take(&mut self, known: &mut Known, m: &MMgrReport, now: Utime) -> Result<(), DencError> {
        let same = m.declare_types.is_empty() && m.undeclare_types.is_empty();
        for t in &m.declare_types {
            if self.kinds.len() >= DECLARED_MAX || t.path.len() > PATH_MAX {
                return Err(DencError::Invalid { what: "declared counters", value: self.kinds.len() as u64 });
            }
            let kind = known.kind(t);
            match self.place(&t.path) {
                Ok(at) => self.kinds[at] = kind,
                Err(at) => self.kinds.insert(at, kind),
            }
        }
        for path in &m.undeclare_types {
            if let Ok(at) = self.place(path) {
                self.kinds.remove(at);
            }
        }
        if m.packed.is_empty() {
            if !same {
                self.values.clear();
                self.before.clear();
            }
            return Ok(());
        }
        let mut d = Decoder::new(&m.packed);
        let (_, mut d) = d.open("packed counters", 1)?;
        let mut values = Vec::with_capacity(self.kinds.len());
        for kind in &self.kinds {
            let mut r = Reading { value: d.u64()?, count: 0 };
            if kind.bits & LONG_RUN_AVG != 0 {
                r.count = d.u64()?;
                d.u64()?;
            }
            values.push(r);
        }
        self.apart = now.since(self.at);
        self.at = now;
        self.before = std::mem::replace(&mut self.values, values);
        if !same {
            self.before.clear();
        }
        Ok(())
    }
    /// All that was reported last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Kind, Reading)> {
        self.kinds.iter().map(|k| &**k).zip(self.values.iter().copied())
    }
    /// A counter as last reported.
    pub(crate) fn reading(&self, path: &str) -> Option<Reading> {
        self.values.get(self.place(path).ok()?).copied()
    }
    /// How much a counter grew between the last two reports; what was set back says nothing.
    pub(crate) fn growth(&self, path: &str) -> Option<Reading> {
        let at = self.place(path).ok()?;
        let (new, old) = (self.values.get(at)?, self.before.get(at)?);
        Some(Reading { value: new.value.checked_sub(old.value)?, count: new.count.checked_sub(old.count)? })
    }
    /// A counter's last value, 0 when it was not reported.
    pub(crate) fn value(&self, path: &str) -> u64 {
        self.reading(path).map_or(0, |r| r.value)
    }
    /// How fast it grew between the last two reports, by the second.
    pub(crate) fn rate(&self, path: &str) -> u64 {
        let secs = self.apart.as_secs_f64();
        match self.growth(path) {
            Some(g) if secs > 0.0 => (g.value as f64 / secs) as u64,
            _ => 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use denc::{Encoder, Features};

    /// A report that declares and counts so.
    pub(crate) fn report(declare: &[(&str, u8)], values: &[u64]) -> MMgrReport {
        let mut e = Encoder::new(Features::ALL);
        e.versioned(1, 1, |e| values.iter().for_each(|v| e.u64(*v)));
        let declare_types = declare
            .iter()
            .map(|(path, kind)| PerfCounterType {
                path: (*path).to_owned(),
                kind: *kind,
                ..Default::default()
            })
            .collect();
        MMgrReport { declare_types, packed: e.finish(), ..MMgrReport::default() }
    }

    #[test]
    fn values_come_in_the_order_of_paths() {
        let (mut c, mut known) = (Counters::default(), Known::default());
        let declare = [("b.x", 10), ("a.avg", LONG_RUN_AVG | TIME), ("c.n", 2)];
        c.take(&mut known, &report(&declare, &[7, 1, 1, 8, 9]), Utime::from_secs(100)).unwrap();
        assert_eq!((c.value("a.avg"), c.value("b.x"), c.value("c.n")), (7, 8, 9));
        c.take(&mut known, &report(&[], &[17, 6, 6, 58, 9]), Utime::from_secs(105)).unwrap();
        assert_eq!((c.rate("b.x"), c.rate("c.n"), c.rate("none")), (10, 0, 0));
        assert_eq!(c.growth("a.avg"), Some(Reading { value: 10, count: 5 }));
        // One is gone: values are those of the others from then on.
        let m = MMgrReport { undeclare_types: vec!["a.avg".into()], ..report(&[], &[60, 3]) };
        c.take(&mut known, &m, Utime::from_secs(110)).unwrap();
        assert_eq!((c.value("b.x"), c.value("c.n"), c.reading("a.avg")), (60, 3, None));
        assert_eq!(c.growth("b.x"), None);
        // A counter that starts anew has not shrunk.
        c.take(&mut known, &report(&[], &[5, 3]), Utime::from_secs(115)).unwrap();
        assert_eq!((c.growth("b.x"), c.rate("b.x")), (None, 0));
    }

    #[test]
    fn what_many_declare_is_kept_once() {
        let mut known = Known::default();
        let mut all = vec![Counters::default(); 3];
        for c in &mut all {
            c.take(&mut known, &report(&[("a", 2)], &[1]), Utime::ZERO).unwrap();
        }
        assert_eq!((known.0.len(), Rc::strong_count(&known.0["a"])), (1, 4));
        // Another meaning under the same name is its own.
        let mut c = Counters::default();
        c.take(&mut known, &report(&[("a", LONG_RUN_AVG)], &[1, 2, 2]), Utime::ZERO).unwrap();
        assert_eq!(c.reading("a"), Some(Reading { value: 1, count: 2 }));
        assert_eq!(all[0].reading("a"), Some(Reading { value: 1, count: 0 }));
    }

    #[test]
    fn a_report_that_is_too_short_or_declares_too_much_is_an_error() {
        let (mut c, mut known) = (Counters::default(), Known::default());
        assert!(c.take(&mut known, &report(&[("a", 2), ("b", 2)], &[1]), Utime::ZERO).is_err());
        let names: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
        let many: Vec<(&str, u8)> = names.iter().map(|n| (n.as_str(), 2)).collect();
        assert!(Counters::default().take(&mut known, &report(&many, &[]), Utime::ZERO).is_err());
    }
}
