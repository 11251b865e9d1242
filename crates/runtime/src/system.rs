//! The real clock and the real randomness, for the programs.

use types::Utime;

/// Wall clock and the kernel's random generator; what the cores get passed in.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl System {
    /// The wall clock.
    pub fn now() -> Utime {
        let d = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Utime { sec: u32::try_from(d.as_secs()).unwrap_or(u32::MAX), nsec: d.subsec_nanos() }
    }

    /// Time since the host has started, sleep included: it never steps.
    pub fn mono() -> std::time::Duration {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        std::time::Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
    }

    /// Fills `buf` with random bytes.
    ///
    /// # Panics
    /// When the kernel gives none: going on with guessable keys would be worse.
    pub fn random(buf: &mut [u8]) {
        getrandom::fill(buf).expect("the kernel gives random bytes");
    }

    /// A random number.
    pub fn random_u64() -> u64 {
        let mut b = [0; 8];
        System::random(&mut b);
        u64::from_le_bytes(b)
    }
}

impl cephx::Env for System {
    fn now(&self) -> Utime {
        System::now()
    }
    fn random(&self, buf: &mut [u8]) {
        System::random(buf);
    }
}
