//! `utime_t`: seconds and nanoseconds since the epoch. Cores get `now` from outside as one of these.

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::fmt;
use std::time::Duration;

/// A point in time (or, in a few fields, a span) as Ceph writes it. Prints as stock does in JSON dumps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Utime {
    /// Seconds.
    pub sec: u32,
    /// Nanoseconds, below 1e9.
    pub nsec: u32,
}

impl Utime {
    /// The zero time, which Ceph uses for "never".
    pub const ZERO: Utime = Utime { sec: 0, nsec: 0 };

    /// The last whole second that 32 bits can name.
    const MAX_NANOS: u64 = u32::MAX as u64 * 1_000_000_000;

    /// From whole nanoseconds.
    pub const fn from_nanos(n: u64) -> Self {
        Utime { sec: (n / 1_000_000_000) as u32, nsec: (n % 1_000_000_000) as u32 }
    }
    /// From whole seconds.
    pub const fn from_secs(sec: u32) -> Self {
        Utime { sec, nsec: 0 }
    }
    /// As whole nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.sec as u64 * 1_000_000_000 + self.nsec as u64
    }
    /// As seconds with a fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.as_nanos() as f64 / 1e9
    }
    /// True for the zero time.
    pub const fn is_zero(self) -> bool {
        self.sec == 0 && self.nsec == 0
    }
    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Utime) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }
}

impl std::ops::Add<Duration> for Utime {
    type Output = Utime;
    fn add(self, d: Duration) -> Utime {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Utime::from_nanos(self.as_nanos().saturating_add(nanos).min(Utime::MAX_NANOS))
    }
}

impl Encode for Utime {
    fn encode(&self, e: &mut Encoder) {
        e.u32(self.sec);
        e.u32(self.nsec);
    }
}
impl Decode for Utime {
    const MIN_SIZE: usize = 8;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Utime { sec: d.u32()?, nsec: d.u32()? })
    }
}

/// Splits days since 1970-01-01 into a civil date.
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = (if mp < 10 { mp + 3 } else { mp - 9 }) as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, (doy - (153 * mp + 2) / 5 + 1) as u32)
}

impl Utime {
    /// `Sun Nov 22 13:40:00 2026`, as C's `ctime` prints it where the clock shows UTC.
    pub fn ctime(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let days = self.sec / 86_400;
        let (y, m, d) = civil(i64::from(days));
        let month = usize::try_from(m).ok().and_then(|m| MONTHS.get(m.wrapping_sub(1))).unwrap_or(&"???");
        let s = self.sec % 86_400;
        let day = DAYS[days as usize % 7];
        format!("{day} {month} {d:2} {:02}:{:02}:{:02} {y}", s / 3600, s / 60 % 60, s % 60)
    }
}
impl fmt::Display for Utime {
    /// `2026-11-22T13:40:00.123456+0000`; times in the first ten years print as plain seconds, as `utime_t` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sec < 60 * 60 * 24 * 365 * 10 {
            return write!(f, "{}.{:06}", self.sec, self.nsec / 1000);
        }
        let (y, m, d) = civil(i64::from(self.sec) / 86_400);
        let s = self.sec % 86_400;
        write!(
            f,
            "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:06}+0000",
            s / 3600,
            s / 60 % 60,
            s % 60,
            self.nsec / 1000
        )
    }
}
impl fmt::Debug for Utime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_c_does() {
        let at = |sec| Utime { sec, nsec: 5 }.ctime();
        assert_eq!(at(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(at(1_795_867_931), "Sat Nov 28 12:12:11 2026");
    }

    #[test]
    fn prints_as_stock_does() {
        assert_eq!(
            Utime { sec: 1_795_354_800, nsec: 123_456_789 }.to_string(),
            "2026-11-22T13:40:00.123456+0000"
        );
        assert_eq!(Utime { sec: 30, nsec: 0 }.to_string(), "30.000000");
    }
}
