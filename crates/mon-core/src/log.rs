//! The cluster log: a bounded, replicated list of entries that `ceph log last` and `ceph -w` show.

use crate::kv::{Batch, Kv, num_key};
use crate::table::Table;
use types::logentry::{LogEntry, LogPrio};

/// Entries kept.
const ENTRIES_MAX: u64 = 1000;
/// Longest text kept of one entry.
const TEXT_MAX: usize = 16 << 10;

/// The service.
#[derive(Clone, Debug)]
pub struct LogMon {
    /// Entries by number.
    pub entries: Table<LogEntry>,
    next: u64,
    oldest: u64,
}

impl LogMon {
    /// From the store.
    pub fn load(kv: &Kv) -> LogMon {
        let entries: Table<LogEntry> = Table::load("logm/", kv);
        let nums: Vec<u64> = entries.iter().filter_map(|(k, _)| k.parse().ok()).collect();
        let next = nums.last().map_or(1, |n| n + 1);
        let oldest = nums.first().copied().unwrap_or(next);
        LogMon { entries, next, oldest }
    }
    /// Adds an entry.
    pub fn add(&mut self, mut e: LogEntry) {
        if e.msg.len() > TEXT_MAX {
            let mut at = TEXT_MAX;
            while !e.msg.is_char_boundary(at) {
                at -= 1;
            }
            e.msg.truncate(at);
        }
        self.entries.set(num_key("", self.next), e);
        self.next += 1;
        while self.next - self.oldest > ENTRIES_MAX {
            self.entries.remove(&num_key("", self.oldest));
            self.oldest += 1;
        }
    }
    /// Moves staged entries into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        self.entries.stage(batch);
    }
    /// Takes over a committed batch; gives the new entries.
    pub fn commit(&mut self, batch: &Batch) -> Vec<LogEntry> {
        let before = self.entries.iter().next_back().map(|(k, _)| k.clone()).unwrap_or_default();
        self.entries.commit(batch);
        self.entries.iter().filter(|(k, _)| **k > before).map(|(_, e)| e.clone()).collect()
    }
    /// The newest `num` entries at or above `level` in `channel` (`*` for any), oldest first.
    pub fn last(&self, num: usize, level: LogPrio, channel: &str) -> Vec<&LogEntry> {
        let mut v: Vec<&LogEntry> = self
            .entries
            .iter()
            .rev()
            .map(|(_, e)| e)
            .filter(|e| e.prio.0 >= level.0 && (channel == "*" || channel.is_empty() || e.channel == channel))
            .take(num)
            .collect();
        v.reverse();
        v
    }
}

/// `debug`, `info`, `sec`, `warn`, `error`.
pub fn parse_level(s: &str) -> Option<LogPrio> {
    Some(match s {
        "debug" => LogPrio::DEBUG,
        "info" => LogPrio::INFO,
        "sec" => LogPrio::SEC,
        "warn" | "warning" => LogPrio::WARN,
        "error" | "err" => LogPrio::ERROR,
        _ => return None,
    })
}

/// One line as `log last` prints it.
pub fn line(e: &LogEntry) -> String {
    format!("{} {} ({}) {} : {} {} {}\n", e.stamp, e.name, e.rank, e.seq, e.channel, e.prio.tag(), e.msg)
}
