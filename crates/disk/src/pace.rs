//! [`Pace`]: who writes a journal record, the store's own thread or the journal's.
//!
//! Handing a record to the journal's thread and its end back are four switches and two wake-ups: on a fast device that costs more
//! than the write. So a short record for a device that has been fast is written by whoever queued it. On a slow device, after a
//! write that took long, and when many transactions wait (the store's thread is busy then, and the hand-over is shared by many)
//! the journal's thread does it.

use std::time::Duration;
use store_core::{Dev, IoBatch, IoStep};

/// Records of at most this size.
const BYTES_MAX: u64 = 128 << 10;
/// A device is fast when its records take no longer than this on average.
const FAST: Duration = Duration::from_millis(1);
/// A write that takes longer than this makes the next ones the journal thread's.
const LONG: Duration = Duration::from_millis(20);
/// So many of them.
const REST: u32 = 128;
/// Records whose time is known before the first is written here.
const KNOWN_MIN: u32 = 16;

/// What is known of the journal's speed.
#[derive(Debug, Default)]
pub struct Pace {
    /// Mean of the last few records.
    mean: Duration,
    known: u32,
    rest: u32,
}

impl Pace {
    /// A record was written.
    pub fn note(&mut self, took: Duration) {
        self.mean = if self.known == 0 { took } else { (self.mean * 15 + took) / 16 };
        self.known = self.known.saturating_add(1);
        self.rest = if took > LONG { REST } else { self.rest.saturating_sub(1) };
    }
    /// True when the store's thread should write this batch itself.
    pub fn is_here(&self, batch: &IoBatch) -> bool {
        let short = |s: &IoStep| match s {
            IoStep::Write { dev: Dev::Journal, .. } | IoStep::Sync { dev: Dev::Journal } => true,
            IoStep::Write { dev: Dev::Data, .. } | IoStep::Sync { dev: Dev::Data } => false,
        };
        self.known >= KNOWN_MIN
            && self.rest == 0
            && self.mean <= FAST
            && batch.bytes() <= BYTES_MAX
            && batch.steps.iter().all(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use store_core::Lane;

    fn record(dev: Dev, bytes: usize) -> IoBatch {
        let bufs = vec![Bytes::from(vec![0; bytes])];
        let steps = vec![IoStep::Write { dev, off: 0, bufs, read_soon: false }, IoStep::Sync { dev }];
        IoBatch { id: 1, lane: Lane::Commit, steps }
    }

    #[test]
    fn short_records_of_a_fast_journal_are_written_here() {
        let mut p = Pace::default();
        let short = record(Dev::Journal, 4096);
        assert!(!p.is_here(&short), "nothing is known yet");
        (0..KNOWN_MIN).for_each(|_| p.note(Duration::from_micros(150)));
        assert!(p.is_here(&short));
        assert!(!p.is_here(&record(Dev::Journal, 1 << 20)));
        assert!(!p.is_here(&record(Dev::Data, 4096)), "data first: that takes long");
    }

    #[test]
    fn a_slow_journal_keeps_its_thread_and_a_slow_moment_gives_it_back_for_a_while() {
        let short = record(Dev::Journal, 4096);
        let mut p = Pace::default();
        (0..1000).for_each(|_| p.note(Duration::from_millis(8)));
        assert!(!p.is_here(&short));
        let mut p = Pace::default();
        (0..100).for_each(|_| p.note(Duration::from_micros(100)));
        p.note(Duration::from_millis(50));
        for _ in 0..REST {
            assert!(!p.is_here(&short));
            p.note(Duration::from_micros(100));
        }
        assert!(p.is_here(&short));
    }
}
