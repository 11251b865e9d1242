//! What cephx needs from outside: the time and random bytes. Ring 2 has neither of its own.

use types::Utime;

/// Clock and randomness. The programs give the system's; simulation gives its own, so that a seed repeats a run.
pub trait Env {
    /// The wall clock.
    fn now(&self) -> Utime;
    /// Fills `buf` with random bytes that nobody can guess.
    fn random(&self, buf: &mut [u8]);
}

/// A random u64 from `env`.
pub fn random_u64(env: &dyn Env) -> u64 {
    let mut b = [0; 8];
    env.random(&mut b);
    u64::from_le_bytes(b)
}

/// A deterministic environment for tests and simulation: the bytes are *guessable*.
pub mod testing {
    use super::Env;
    use std::cell::Cell;
    use types::Utime;

    /// A counter-driven clock and generator.
    #[derive(Debug)]
    pub struct TestEnv {
        state: Cell<u64>,
        now: Cell<Utime>,
    }

    impl TestEnv {
        /// Starts at a fixed date with `seed`.
        pub fn new(seed: u64) -> TestEnv {
            TestEnv { state: Cell::new(seed), now: Cell::new(Utime::from_secs(1_795_354_800)) }
        }
        /// Moves the clock on.
        pub fn advance(&self, secs: u32) {
            let t = self.now.get();
            self.now.set(Utime { sec: t.sec + secs, nsec: t.nsec });
        }
    }

    impl Env for TestEnv {
        fn now(&self) -> Utime {
            self.now.get()
        }
        fn random(&self, buf: &mut [u8]) {
            for b in buf {
                // splitmix64
                let s = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
                self.state.set(s);
                let z = (s ^ (s >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                *b = (z ^ (z >> 31)) as u8;
            }
        }
    }
}
