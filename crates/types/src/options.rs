//! The configuration options that 16.2 knows: name, type, level, default and bounds, so that `config set` refuses what stock refuses;
//! and for those that mean something here, what they mean.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name, with underscores.
    pub name: &'static str,
    /// `str`, `uint`, `int`, `size`, `float`, `bool`, `secs`, `millisecs`, `addr`, `addrvec`, `uuid`.
    pub kind: &'static str,
    /// `basic`, `advanced`, `dev`.
    pub level: &'static str,
    /// False when a restart is needed (column RO).
    pub runtime: bool,
    /// Default as text.
    pub default: &'static str,
    /// Daemons that it is for, separated by commas.
    pub services: &'static str,
    /// Tags, separated by commas.
    pub tags: &'static str,
    /// Options that belong to it, separated by commas.
    pub see_also: &'static str,
    /// Least value, or empty.
    pub min: &'static str,
    /// Largest value, or empty.
    pub max: &'static str,
    /// Flags (`startup`, `runtime`, ...), separated by commas.
    pub flags: &'static str,
    /// Permitted values, separated by commas; empty when any is.
    pub choices: &'static str,
}

impl Opt {
    /// Its type as stock names it.
    pub fn type_name(&self) -> &'static str {
        if self.kind == "debug" { "str" } else { self.kind }
    }
    /// What it means, in a line, and more about it.
    pub fn texts(&self) -> (String, String) {
        if let Some(of) = self.name.strip_prefix("debug_")
            && self.kind == "debug"
        {
            return (format!("Debug level for {of}"), DEBUG_TEXT.to_owned());
        }
        let mut f = TEXTS
            .lines()
            .find_map(|l| l.strip_prefix(self.name)?.strip_prefix('\t'))
            .unwrap_or("")
            .split('\t');
        let mut next = || f.next().unwrap_or_default().to_owned();
        (next(), next())
    }
}

const TABLE: &str = include_str!("options.tsv");
const TEXTS: &str = include_str!("options_text.tsv");
const DEBUG_TEXT: &str =
    "N or N/M, each from 0 to 99: what is logged, and what is kept in memory for a crash.";

fn parse(line: &'static str) -> Option<Opt> {
    let mut f = line.split('\t');
    Some(Opt {
        name: f.next()?,
        kind: f.next()?,
        level: f.next()?,
        runtime: f.next()? == "1",
        default: f.next().unwrap_or(""),
        services: f.next().unwrap_or(""),
        tags: f.next().unwrap_or(""),
        see_also: f.next().unwrap_or(""),
        min: f.next().unwrap_or(""),
        max: f.next().unwrap_or(""),
        flags: f.next().unwrap_or(""),
        choices: f.next().unwrap_or(""),
    })
}

/// All options, in stock's order.
pub fn all() -> impl Iterator<Item = Opt> {
    TABLE.lines().filter_map(parse)
}

/// Finds an option; blanks and dashes in `name` count as underscores.
pub fn find(name: &str) -> Option<Opt> {
    static INDEX: OnceLock<BTreeMap<&'static str, Opt>> = OnceLock::new();
    let index = INDEX.get_or_init(|| all().map(|o| (o.name, o)).collect());
    index.get(name).or_else(|| index.get(normalize(name).as_str())).copied()
}

/// The canonical form of an option's name.
pub fn normalize(name: &str) -> String {
    name.trim().replace([' ', '-'], "_")
}

/// Checks a value and gives the form that stock stores, or stock's error text.
pub fn check(opt: &Opt, value: &str) -> Result<String, String> {
    let stored = parse_value(opt, value)?;
    if opt.name == "auth_allow_insecure_global_id_reclaim" && stored == "true" {
        return Err("insecure global_id reclaim cannot be allowed here: a client keeps its id only with a valid ticket".into());
    }
    // Stock shows some negative bounds as huge unsigned numbers.
    let number = |t: &str| t.parse::<f64>().ok().filter(|v| *v < i64::MAX as f64);
    if let (Some(v), Some(min)) = (number(&stored), number(opt.min))
        && v < min
    {
        return Err(format!("error parsing value: Value '{stored}' is below minimum {}", opt.min));
    }
    if let (Some(v), Some(max)) = (number(&stored), number(opt.max))
        && v > max
    {
        return Err(format!("error parsing value: Value '{stored}' exceeds maximum {}", opt.max));
    }
    if !opt.choices.is_empty() && !opt.choices.split(',').any(|c| c == stored) {
        let list = opt.choices.replace(',', ", ");
        return Err(format!("error parsing value: '{stored}' is not one of the permitted values: {list}"));
    }
    Ok(stored)
}

fn parse_value(opt: &Opt, value: &str) -> Result<String, String> {
    match opt.kind {
        "bool" => match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok("true".into()),
            "false" | "0" | "no" | "off" => Ok("false".into()),
            number if number.parse::<i64>().is_ok() => Ok("true".into()),
            _ => Err(format!("error parsing value: Expected option value to be integer, got '{value}'")),
        },
        "float" => value
            .trim()
            .parse::<f64>()
            .map(|v| format!("{v:.6}"))
            .map_err(|_| format!("error parsing value: Expected option value to be float, got '{value}'")),
        "uint" | "size" => parse_si(value, opt.kind == "size").map(|v| v.to_string()),
        "int" => match value.trim().parse::<i64>() {
            Ok(v) => Ok(v.to_string()),
            Err(_) => parse_si(value, false).map(|v| v.to_string()),
        },
        "secs" | "millisecs" => value
            .trim()
            .parse::<u64>()
            .map(|v| v.to_string())
            .map_err(|_| "error parsing value: invalid timespan".into()),
        "debug" => {
            let (a, b) = value.split_once('/').unwrap_or((value, value));
            match (a.parse::<u32>(), b.parse::<u32>()) {
                (Ok(a), Ok(b)) => Ok(format!("{a}/{b}")),
                _ => {
                    Err("error parsing value: value must take the form N or N/M, where N and M are integers"
                        .into())
                }
            }
        }
        _ => Ok(value.to_owned()),
    }
}

/// `strict_si_cast` / `strict_iec_cast`: a number with a unit letter.
pub fn parse_si(value: &str, iec: bool) -> Result<u64, String> {
    let name = if iec { "strict_iecstrtoll" } else { "strict_si_cast" };
    let v = value.trim();
    if v.is_empty() {
        return Err(format!("error parsing value: {name}: value not specified"));
    }
    let at = v.find(|c: char| !c.is_ascii_digit()).unwrap_or(v.len());
    let (digits, unit) = v.split_at(at);
    let base: u64 = if iec { 1024 } else { 1000 };
    let power = match unit {
        "" | "B" => 0,
        "K" | "Ki" | "k" => 1,
        "M" | "Mi" => 2,
        "G" | "Gi" => 3,
        "T" | "Ti" => 4,
        "P" | "Pi" => 5,
        "E" | "Ei" => 6,
        _ if iec => return Err(format!("error parsing value: {name}: unit prefix not recognized")),
        _ => return Err("error parsing value: strict_si_cast: unit prefix not recognized".into()),
    };
    let n: u64 = digits
        .parse()
        .map_err(|_| format!("error parsing value: Expected option value to be integer, got '{value}'"))?;
    n.checked_mul(base.pow(power))
        .ok_or_else(|| format!("error parsing value: {name}: value seems to be too large"))
}

/// What `injectargs` is given: `--a b`, `--c=d`, `--switch`, `--no-switch`. An error is in stock's words.
pub fn parse_injected(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    let mut rest = text.split_whitespace().filter(|w| *w != "--").peekable();
    while let Some(w) = rest.next() {
        let Some(flag) = w.strip_prefix("--") else {
            return Err(format!(" failed to parse arguments: {w}"));
        };
        let (name, value) = match flag.split_once('=') {
            Some((n, v)) => (normalize(n), Some(v.to_owned())),
            None => (normalize(flag), None),
        };
        let is_switch = |n: &str| find(n).is_some_and(|o| o.kind == "bool");
        if let (Some(n), None) = (name.strip_prefix("no_"), &value)
            && is_switch(n)
        {
            out.push((n.to_owned(), "false".to_owned()));
            continue;
        }
        let value = match value {
            Some(v) => v,
            None if is_switch(&name) => match rest.peek() {
                Some(v) if !v.starts_with("--") => rest.next().unwrap_or_default().to_owned(),
                _ => "true".to_owned(),
            },
            None => match rest.next() {
                Some(v) => v.to_owned(),
                None => return Err(format!("Option --{flag} requires an argument.")),
            },
        };
        out.push((name, value));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_stock_options() {
        assert_eq!(find("osd max backfills").unwrap().kind, "uint");
        assert!(find("nosuch").is_none());
        assert!(all().count() > 1900);
    }

    #[test]
    fn refuses_what_is_out_of_bounds_as_stock_does() {
        let e = |name: &str, value: &str| check(&find(name).unwrap(), value).unwrap_err();
        let text = |t: &str| format!("error parsing value: {t}");
        let switch = find("mon_cluster_log_to_stderr").unwrap();
        assert_eq!(check(&switch, "2").unwrap(), "true");
        assert!(check(&switch, "").is_err());
        assert_eq!(e("osd_pool_default_size", "11"), text("Value '11' exceeds maximum 10"));
        assert_eq!(e("mon_max_pg_per_osd", "0"), text("Value '0' is below minimum 1"));
        assert_eq!(e("osd_memory_target", "100"), text("Value '100' is below minimum 939524096"));
        assert_eq!(
            e("osd_pool_default_pg_autoscale_mode", "bad"),
            text("'bad' is not one of the permitted values: off, warn, on")
        );
    }

    #[test]
    fn insecure_reclaim_is_off_and_stays_off() {
        let o = find("auth_allow_insecure_global_id_reclaim").unwrap();
        assert_eq!(o.default, "false");
        assert_eq!(check(&o, "false").unwrap(), "false");
        assert!(check(&o, "true").is_err());
    }

    #[test]
    fn every_default_is_a_permitted_value() {
        for o in all().filter(|o| !o.default.is_empty() && o.default != "-") {
            assert!(check(&o, o.default).is_ok(), "{} = {}: {:?}", o.name, o.default, check(&o, o.default));
        }
    }

    #[test]
    fn every_text_belongs_to_an_option() {
        for line in TEXTS.lines() {
            let name = line.split('\t').next().unwrap();
            let o = find(name).unwrap_or_else(|| panic!("{name} is no option"));
            assert!(!o.texts().0.is_empty(), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        let o = find("osd_max_backfills").unwrap();
        assert_eq!(
            check(&o, "x").unwrap_err(),
            "error parsing value: strict_si_cast: unit prefix not recognized"
        );
        assert_eq!(check(&find("debug_ms").unwrap(), "1").unwrap(), "1/1");
    }

    #[test]
    fn injected_flags_are_read_as_stock_reads_them() {
        let read = |t: &str| parse_injected(t).unwrap();
        let one = |n: &str, v: &str| vec![(n.to_owned(), v.to_owned())];
        assert_eq!(read("--mon_pg_warn_min_objects 10K"), one("mon_pg_warn_min_objects", "10K"));
        assert_eq!(read("-- --mon-lease=6"), one("mon_lease", "6"));
        let obsolete = "mon_debug_deprecated_as_obsolete";
        assert_eq!(read("--mon-debug-deprecated-as-obsolete"), one(obsolete, "true"));
        assert_eq!(read("--no-mon-debug-deprecated-as-obsolete"), one(obsolete, "false"));
        assert_eq!(read("--mon_globalid_prealloc -1"), one("mon_globalid_prealloc", "-1"));
        assert_eq!(read("--no-osd_enable_op_tracker --osd_op_history_duration 500").len(), 2);
        assert_eq!(parse_injected("--mon-lease").unwrap_err(), "Option --mon-lease requires an argument.");
        assert_eq!(parse_injected("mon-lease 6").unwrap_err(), " failed to parse arguments: mon-lease");
    }
}
