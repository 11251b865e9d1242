//! Giving memory back while a daemon idles.
//!
//! An allocator that keeps what was freed is fast under load, and looks at it again only when it is used again: a daemon that was
//! busy and then has nothing to do would stay as big as it ever was. The program says once how to give memory back
//! ([`on_idle`]); a daemon's loop tells [`IdleMemory`] how busy it is.

use std::sync::OnceLock;

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Ticks (about a second each) without work before memory is given back.
const QUIET_TICKS: u32 = 10;
/// Events between two ticks that are no work: heartbeats, ticks, reports.
const IDLE_EVENTS: u64 = 100;

/// Says how freed memory goes back to the system. The first word counts.
pub fn on_idle(give_back: fn()) {
    let _ = GIVE_BACK.set(give_back);
}

/// One daemon's view of how busy it is.
#[derive(Debug, Default)]
pub struct IdleMemory {
    events: u64,
    quiet: u32,
    /// There was work since memory was given back last.
    worked: bool,
}

impl IdleMemory {
    /// Something was done.
    pub fn event(&mut self) {
        self.events += 1;
    }
    /// A second or so has passed. Gives memory back at the end of the first quiet time after work.
    pub fn tick(&mut self) {
        if self.due()
            && let Some(give_back) = GIVE_BACK.get()
        {
            give_back();
        }
    }
    fn due(&mut self) -> bool {
        if std::mem::take(&mut self.events) > IDLE_EVENTS {
            (self.quiet, self.worked) = (0, true);
            return false;
        }
        self.quiet = self.quiet.saturating_add(1);
        self.quiet >= QUIET_TICKS && std::mem::take(&mut self.worked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_once_after_each_time_of_work() {
        let mut i = IdleMemory::default();
        let seconds = |i: &mut IdleMemory, n: u32, events: u64| {
            (0..n)
                .filter(|_| {
                    (0..events).for_each(|_| i.event());
                    i.due()
                })
                .count()
        };
        assert_eq!(seconds(&mut i, 100, 5), 0, "never worked");
        assert_eq!(seconds(&mut i, 5, 1000), 0, "works");
        assert_eq!(seconds(&mut i, 9, 5), 0, "a short rest");
        assert_eq!(seconds(&mut i, 100, 5), 1);
        assert_eq!(seconds(&mut i, 1, 1000), 0);
        assert_eq!(seconds(&mut i, 100, 5), 1);
    }
}
