//! Numbers with units: `byte_u_t`, `si_u_t`, `%g`, and the two ways in which stock prints spans of time.

/// C's `%.{prec}g` (also what an ostream prints with that precision).
pub fn fmt_g(v: f64, prec: usize) -> String {
    if v == 0.0 {
        return if v.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    if !v.is_finite() {
        return if v.is_nan() {
            "nan".to_owned()
        } else if v > 0.0 {
            "inf".to_owned()
        } else {
            "-inf".to_owned()
        };
    }
    let prec = prec.max(1);
    let sci = format!("{:.*e}", prec - 1, v);
    let (mantissa, exp) = sci.split_once('e').unwrap_or((&sci, "0"));
    let exp: i32 = exp.parse().unwrap_or(0);
    let strip = |s: &str| {
        if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s.to_owned() }
    };
    if exp < -4 || exp >= prec as i32 {
        let sign = if exp < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", strip(mantissa), exp.abs());
    }
    let decimals = (prec as i32 - 1 - exp).max(0) as usize;
    strip(&format!("{v:.decimals$}"))
}

/// An f32 as an ostream prints it (6 digits).
pub fn stringify_f32(v: f32) -> String {
    fmt_g(f64::from(v), 6)
}

/// `byte_u_t`: `0 B`, `871 MiB`, `2.3 MiB`, `59 GiB`.
pub fn byte_u(v: u64) -> String {
    scaled(v, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], true)
}

/// `si_u_t`: `0`, `123`, `1.23k`.
pub fn si_u(v: u64) -> String {
    scaled(v, 1000, &["", "k", "M", "G", "T", "P", "E"], false)
}

fn scaled(v: u64, base: u64, units: &[&str], space: bool) -> String {
    let sep = if space { " " } else { "" };
    let mut n = v;
    let mut index = 0;
    let mut mult = 1u64;
    while n >= base && index + 1 < units.len() {
        n /= base;
        mult = mult.saturating_mul(base);
        index += 1;
    }
    let u = units[index];
    if index == 0 || v.is_multiple_of(mult) {
        return format!("{n}{sep}{u}");
    }
    // Stock prints into a buffer of 8: as many decimals (2, 1, 0) as leave at most 7 characters with the unit.
    let f = v as f64 / mult as f64;
    for decimals in [2usize, 1, 0] {
        let s = format!("{f:.decimals$}{sep}{u}");
        if s.len() <= 7 {
            return s;
        }
    }
    format!("{n}{sep}{u}")
}

/// `percentify`: 0 stays `0`, else two decimals.
pub fn percentify(p: f32) -> String {
    if p == 0.0 { "0".to_owned() } else { format!("{p:.2}") }
}

/// Seconds as `timespan_str` prints an age: the largest unit, down to fractions below a minute (`9s`, `2m`, `5h`, `3d`).
pub fn pretty_timespan_span(secs: f64) -> String {
    if secs < 0.0 {
        return "0s".to_owned();
    }
    if secs < 120.0 {
        // sub-second ages are printed with 6 digits
        if secs < 1.0 { format!("{}s", fmt_g(secs, 6)) } else { format!("{}s", secs as u64) }
    } else {
        long_span(secs)
    }
}

fn long_span(secs: f64) -> String {
    let s = secs as u64;
    if s < 120 * 60 {
        format!("{}m", s / 60)
    } else if s < 48 * 3600 {
        format!("{}h", s / 3600)
    } else if s < 14 * 86_400 {
        format!("{}d", s / 86_400)
    } else if s < 7 * 86_400 * 12 {
        format!("{}w", s / (7 * 86_400))
    } else if s < 30 * 86_400 * 24 {
        format!("{}M", s / (30 * 86_400))
    } else {
        format!("{}y", s / (365 * 86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_prints_as_c_does() {
        assert_eq!(fmt_g(0.5, 6), "0.5");
        assert_eq!(fmt_g(1e-5, 6), "1e-05");
        assert_eq!(fmt_g(1234567.0, 6), "1.23457e+06");
        assert_eq!(fmt_g(0.014173125848174095, 17), "0.014173125848174095");
    }

    #[test]
    fn bytes_have_at_most_two_decimals() {
        assert_eq!(byte_u(0), "0 B");
        assert_eq!(byte_u(913_096_704), "871 MiB");
        assert_eq!(byte_u(2_441_216), "2.3 MiB");
        assert_eq!(byte_u(20_096_727_040), "19 GiB");
        assert_eq!(byte_u(1 << 30), "1 GiB");
    }

    #[test]
    fn ages_use_one_unit() {
        assert_eq!(pretty_timespan_span(0.0128611), "0.0128611s");
        assert_eq!(pretty_timespan_span(113.7), "113s");
        assert_eq!(pretty_timespan_span(150.0), "2m");
    }
}
