//! The allocator of the daemons, and the one option of it that we set.

use std::ffi::{c_int, c_long};

/// Small writes allocate some hundred times on their way through three OSDs, and free on other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in the `mimalloc.h` of mimalloc 3.
const PURGE_DELAY: c_int = 15;
/// How long freed memory stays ours. Buffers of messages come and go in waves of some seconds: with mimalloc's own second, an
/// OSD under load gave pages back and faulted them in again some hundred times a second, a tenth of its CPU time.
const KEEP_FREED_MS: c_long = 20_000;

// SAFETY: mimalloc is linked (it is the allocator). The functions on options store and load a number, from any thread, and ignore
// options that they do not know; `mi_collect` may be called at any time and touches only what is free.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
    safe fn mi_option_set_default(option: c_int, value: c_long);
    #[cfg(test)]
    safe fn mi_option_get(option: c_int) -> c_long;
}

/// To be called first. What the environment says (`MIMALLOC_PURGE_DELAY`) stays.
pub fn set_up() {
    mi_option_set_default(PURGE_DELAY, KEEP_FREED_MS);
    // The delay is looked at only when memory is asked for or freed, so not by a daemon that has nothing to do.
    runtime::idle::on_idle(|| mi_collect(true));
}

/// For a monitor, whose work comes in bursts and whose size matters more than a page that is faulted in again.
pub fn give_back_soon() {
    mi_option_set_default(PURGE_DELAY, 1000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // Its default tells it from its neighbours; a new mimalloc may number them anew.
        let neighbours = [PURGE_DELAY - 1, PURGE_DELAY, PURGE_DELAY + 1].map(|n| mi_option_get(n));
        assert!(neighbours[1] == 1000 && neighbours[0] != 1000 && neighbours[2] != 1000, "{neighbours:?}");
    }
}
