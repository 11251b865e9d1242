//! [`Trace`]: a hash over everything that happened, and the last events for a report.

use std::collections::VecDeque;

/// Events kept for the report of a failure.
const KEPT: usize = 400;

/// One thing that happened.
#[derive(Clone, Debug)]
struct Line {
    at: u64,
    text: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    last: VecDeque<Line>,
    /// Print every line as it comes.
    pub print: bool,
    /// Keep lines at all.
    pub keep: bool,
}

impl Trace {
    /// Prints lines as they come, or keeps the last ones, or neither.
    pub fn new(print: bool, keep: bool) -> Trace {
        Trace { print, keep, ..Trace::default() }
    }
    /// Adds numbers to the hash.
    pub fn mix(&mut self, at: u64, kind: u64, a: u64, b: u64) {
        self.events += 1;
        for v in [at, kind, a, b] {
            self.hash = (self.hash ^ v).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }
    /// Adds a line; `text` is only made when someone may read it.
    pub fn line(&mut self, at: u64, text: impl FnOnce() -> String) {
        if !self.print && !self.keep {
            return;
        }
        let text = text();
        if self.print {
            println!("{} {text}", stamp(at));
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Line { at, text });
    }
    /// The hash.
    pub fn hash(&self) -> u64 {
        self.hash
    }
    /// Number of events.
    pub fn events(&self) -> u64 {
        self.events
    }
    /// The last lines.
    pub fn tail(&self, n: usize) -> Vec<String> {
        let skip = self.last.len().saturating_sub(n);
        self.last.iter().skip(skip).map(|l| format!("{} {}", stamp(l.at), l.text)).collect()
    }
}

/// Seconds since the start.
pub fn stamp(at: u64) -> String {
    format!("{:>10.6}", at as f64 / 1e9)
}
