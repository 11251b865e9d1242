//! The allocator of the fuzz runner: the system's, with counters of what one input makes the code under test hold.
//!
//! Counters belong to the thread, so that the watchdog's own allocations do not count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What happened on this thread since [`reset`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The most bytes that were held at once.
    pub peak_bytes: usize,
    /// Bytes over all allocations.
    pub total_bytes: usize,
    /// Number of allocations.
    pub count: usize,
}

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The counting allocator.
pub struct Counting;

fn taken(bytes: usize) {
    let live = LIVE.get() + bytes as isize;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    TOTAL.set(TOTAL.get().saturating_add(bytes));
    COUNT.set(COUNT.get() + 1);
}

fn given(bytes: usize) {
    LIVE.set(LIVE.get() - bytes as isize);
}

// SAFETY: every call goes to `System` unchanged; the counters are plain cells without destructors and never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        given(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        taken(new_size);
        given(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Starts counting anew.
pub fn reset() {
    LIVE.set(0);
    PEAK.set(0);
    TOTAL.set(0);
    COUNT.set(0);
}

/// What was counted.
pub fn usage() -> Usage {
    Usage { peak_bytes: PEAK.get().max(0) as usize, total_bytes: TOTAL.get(), count: COUNT.get() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_what_was_held_at_once() {
        reset();
        drop(std::hint::black_box(vec![0u8; 10_000]));
        drop(std::hint::black_box(vec![0u8; 20_000]));
        let seen = usage();
        assert!((20_000..30_000).contains(&seen.peak_bytes), "{seen:?}");
        assert!(seen.total_bytes >= 30_000 && seen.count >= 2, "{seen:?}");
    }
}
