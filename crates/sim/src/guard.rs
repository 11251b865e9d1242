//! Panics of the cores as violations: what a seed that panics reports.

use crate::run::{Outcome, run};
use crate::world::{Options, Stats};
use std::cell::RefCell;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panic messages for the report instead of printing them.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = format!("{info}");
        LAST.with(|l| *l.borrow_mut() = text);
    }));
}

/// Runs a seed; a panic is a violation.
pub fn guard(seed: u64, opts: Options) -> Outcome {
    match std::panic::catch_unwind(|| run(seed, opts)) {
        Ok(o) => o,
        Err(_) => Outcome {
            seed,
            trace_hash: 0,
            events: 0,
            virtual_secs: 0.0,
            stats: Stats::default(),
            violation: Some((format!("panic: {}", LAST.with(|l| l.borrow().clone())), Vec::new())),
        },
    }
}
