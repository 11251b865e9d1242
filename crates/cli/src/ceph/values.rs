//! How stock's `ceph` (Python) reads numbers and names on its command line, and shows them in errors.

/// `int(text, 0)`: signed, with `0x`, `0o`, `0b`, single underscores between digits, no leading zeros; what fits 64 bits.
pub fn int(text: &str) -> Option<i64> {
    let (negative, body) = sign(text.trim());
    let (radix, digits) = match body.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &body[2..]),
        Some("0o") => (8, &body[2..]),
        Some("0b") => (2, &body[2..]),
        _ => (10, body),
    };
    let digits = if radix == 10 { digits } else { digits.strip_prefix('_').unwrap_or(digits) };
    let plain = digits_of(digits, radix)?;
    if radix == 10 && plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|b| b != b'0') {
        return None;
    }
    let n = i128::from_str_radix(&plain, radix).ok()?;
    i64::try_from(if negative { -n } else { n }).ok()
}

/// `int(text, radix)` for 10 and 16: leading zeros are allowed, and in base 16 a `0x`.
pub fn int_in(text: &str, radix: u32) -> Option<i64> {
    let (negative, body) = sign(text.trim());
    let body =
        if radix == 16 { body.strip_prefix("0x").or(body.strip_prefix("0X")).unwrap_or(body) } else { body };
    let n = i128::from_str_radix(&digits_of(body, radix)?, radix).ok()?;
    i64::try_from(if negative { -n } else { n }).ok()
}

/// `float(text)`, finite: JSON has no other numbers.
pub fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    let b = text.as_bytes();
    for (i, _) in text.match_indices('_') {
        let between = i > 0 && b[i - 1].is_ascii_digit() && b.get(i + 1).is_some_and(u8::is_ascii_digit);
        if !between {
            return None;
        }
    }
    text.replace('_', "").parse().ok().filter(|f: &f64| f.is_finite())
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn digits_of(text: &str, radix: u32) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut last_was_digit = false;
    for c in text.chars() {
        match c {
            '_' if last_was_digit => last_was_digit = false,
            c if c.is_digit(radix) => {
                out.push(c);
                last_was_digit = true;
            }
            _ => return None,
        }
    }
    last_was_digit.then_some(out)
}

/// `repr` of a list of strings.
pub fn list<S: AsRef<str>>(words: &[S]) -> String {
    let all: Vec<String> = words.iter().map(|w| quoted(w.as_ref())).collect();
    format!("[{}]", all.join(", "))
}

/// `repr` of a string: single quotes, unless only the other kind spares escapes.
pub fn quoted(word: &str) -> String {
    let quote = if word.contains('\'') && !word.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in word.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_as_python_reads_them() {
        for (text, want) in [
            ("12", 12),
            (" -3 ", -3),
            ("+0x1F", 31),
            ("0o17", 15),
            ("0b11", 3),
            ("1_000", 1000),
            ("00", 0),
            ("0x_f", 15),
        ] {
            assert_eq!(int(text), Some(want), "{text}");
        }
        for text in ["", "-", "012", "1__0", "_1", "1_", "0x", "1.0", "ten", "99999999999999999999", "é"] {
            assert_eq!(int(text), None, "{text}");
        }
        assert_eq!((int_in("012", 10), int_in("0xff", 16), int_in("fg", 16)), (Some(12), Some(255), None));
    }

    #[test]
    fn floats_read_as_python_reads_them() {
        assert_eq!(
            (float("1"), float(".5"), float("1."), float("1e3")),
            (Some(1.0), Some(0.5), Some(1.0), Some(1000.0))
        );
        assert_eq!(
            (float("1_0.5"), float("1_.5"), float("x"), float(""), float("nan")),
            (Some(10.5), None, None, None, None)
        );
    }

    #[test]
    fn words_show_as_python_shows_them() {
        assert_eq!(list(&["a", "it's", "\"'", "x\ny"]), r#"['a', "it's", '"\'', 'x\ny']"#);
    }
}
