//! [`Times`]: how long a device's writes took, as a histogram: cheap to count into, and two of them tell of the time between.
//!
//! Four steps to each doubling, from a microsecond up: a percentile is right within a fifth.

/// Steps of the histogram.
const STEPS: usize = 128;
/// Shorter times are counted as this one.
const UNIT_NS: u64 = 1 << 10;

/// Since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Writes.
    pub count: u64,
    /// Their times together.
    pub sum_ns: u64,
    steps: [u32; STEPS],
}

impl Default for Times {
    fn default() -> Self {
        Times { count: 0, sum_ns: 0, steps: [0; STEPS] }
    }
}

fn step_of(ns: u64) -> usize {
    let units = (ns / UNIT_NS).max(4);
    let log = units.ilog2() as usize;
    // The two bits behind the first one.
    ((log - 2) * 4 + (units >> (log - 2) & 3) as usize).min(STEPS - 1)
}
/// The middle of a step.
fn value_of(step: usize) -> u64 {
    let low = (4 + step as u64 % 4) << (step / 4);
    (low + (low / 8)) * UNIT_NS
}

impl Times {
    /// Counts one.
    #[inline]
    pub fn note(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns = self.sum_ns.wrapping_add(ns);
        let s = &mut self.steps[step_of(ns)];
        *s = s.wrapping_add(1);
    }
    /// What came after `earlier`.
    pub fn since(&self, earlier: &Times) -> Times {
        let mut t = *self;
        t.count = t.count.wrapping_sub(earlier.count);
        t.sum_ns = t.sum_ns.wrapping_sub(earlier.sum_ns);
        for (s, e) in t.steps.iter_mut().zip(earlier.steps) {
            *s = s.wrapping_sub(e);
        }
        t
    }
    /// Mean; 0 without any.
    pub fn mean_ns(&self) -> u64 {
        self.sum_ns.checked_div(self.count).unwrap_or(0)
    }
    /// The time that `percent` of all took at most, about; 0 without any.
    pub fn percentile_ns(&self, percent: u64) -> u64 {
        let all: u64 = self.steps.iter().map(|s| u64::from(*s)).sum();
        let mut left = (all * percent).div_ceil(100);
        for (step, n) in self.steps.iter().enumerate() {
            left = left.saturating_sub((*n).into());
            if left == 0 && all > 0 {
                return value_of(step);
            }
        }
        0
    }
}

/// Times of a store's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceTimes {
    /// One record of the journal: written and synced.
    pub journal: Times,
    /// One batch of a checkpoint.
    pub data: Times,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_fifth() {
        for ns in [4_200u64, 7_000, 150_000, 999_999, 20_000_000, 1_500_000_000, 30_000_000_000] {
            let mut t = Times::default();
            t.note(ns);
            let p = t.percentile_ns(50) as f64;
            assert!((p / ns as f64 - 1.0).abs() < 0.2, "{ns}: {p}");
        }
        let mut t = Times::default();
        (0..98).for_each(|_| t.note(100_000));
        (0..2).for_each(|_| t.note(50_000_000));
        assert!(t.percentile_ns(50) < 130_000 && t.percentile_ns(99) > 40_000_000);
        assert_eq!(Times::default().percentile_ns(99), 0);
        t.note(0);
        t.note(u64::MAX);
    }

    #[test]
    fn two_of_them_tell_of_the_time_between() {
        let mut t = Times::default();
        (0..1000).for_each(|_| t.note(100_000));
        let before = t;
        (0..10).for_each(|_| t.note(8_000_000));
        let d = t.since(&before);
        assert_eq!((d.count, d.mean_ns()), (10, 8_000_000));
        assert!(d.percentile_ns(1) > 6_000_000);
    }
}
