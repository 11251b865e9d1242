//! Counters that MDS daemons report to the manager's role: the few that `fs status` shows, as last reported.
//!
//! A daemon declares a counter once and then sends the values of all declared ones in the order of their paths.

use denc::{Decoder, DencError};
use messages::MMgrReport;
use std::collections::BTreeMap;
use std::time::Duration;
use types::Utime;

/// Counters of one daemon that are followed; a report that declares more is not read.
const DECLARED_MAX: usize = 4096;
/// `PERFCOUNTER_LONGRUNAVG`: two more numbers follow the value.
const LONG_RUN_AVG: u8 = 0x4;
/// Priority from which on daemons shall report counters (`PRIO_USEFUL`, as stock's manager asks).
pub(crate) const PRIORITY: u32 = 5;

/// What one daemon reported.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    kinds: BTreeMap<String, u8>,
    values: BTreeMap<String, u64>,
    /// Values of the report before, and the time between the two.
    before: BTreeMap<String, u64>,
    at: Utime,
    apart: Duration,
}

impl Counters {
    /// Takes over a report.
    pub(crate) fn take(&mut self, m: &MMgrReport, now: Utime) -> Result<(), DencError> {
        for t in &m.declare_types {
            if self.kinds.len() >= DECLARED_MAX {
                break;
            }
            self.kinds.insert(t.path.clone(), t.kind);
        }
        let mut values = BTreeMap::new();
        if !m.packed.is_empty() {
            let mut d = Decoder::new(&m.packed);
            let (_, mut d) = d.open("packed counters", 1)?;
            for (path, kind) in &self.kinds {
                values.insert(path.clone(), d.u64()?);
                if kind & LONG_RUN_AVG != 0 {
                    d.u64()?;
                    d.u64()?;
                }
            }
        }
        for path in &m.undeclare_types {
            self.kinds.remove(path);
        }
        self.apart = now.since(self.at);
        self.at = now;
        self.before = std::mem::replace(&mut self.values, values);
        Ok(())
    }
    /// A counter's last value, 0 when it was not reported.
    pub(crate) fn value(&self, path: &str) -> u64 {
        self.values.get(path).copied().unwrap_or(0)
    }
    /// How fast it grew between the last two reports, by the second.
    pub(crate) fn rate(&self, path: &str) -> u64 {
        let (Some(new), Some(old)) = (self.values.get(path), self.before.get(path)) else { return 0 };
        let secs = self.apart.as_secs_f64();
        if secs <= 0.0 { 0 } else { (new.saturating_sub(*old) as f64 / secs) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use denc::{Encoder, Features};
    use messages::mgr::PerfCounterType;

    fn report(declare: &[(&str, u8)], values: &[u64]) -> MMgrReport {
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
        let mut c = Counters::default();
        let declare = [("b.x", 10), ("a.avg", 0x4 | 1), ("c.n", 2)];
        c.take(&report(&declare, &[7, 1, 1, 8, 9]), Utime::from_secs(100)).unwrap();
        assert_eq!((c.value("a.avg"), c.value("b.x"), c.value("c.n")), (7, 8, 9));
        c.take(&report(&[], &[7, 1, 1, 58, 9]), Utime::from_secs(105)).unwrap();
        assert_eq!((c.rate("b.x"), c.rate("c.n"), c.rate("none")), (10, 0, 0));
    }

    #[test]
    fn a_report_that_is_too_short_is_an_error() {
        let mut c = Counters::default();
        assert!(c.take(&report(&[("a", 2), ("b", 2)], &[1]), Utime::ZERO).is_err());
    }
}
