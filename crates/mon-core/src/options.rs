//! The configuration options that 16.2 knows: name, type, level and default, so that `config set` refuses what stock refuses.

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
}

const TABLE: &str = include_str!("options.tsv");

fn parse(line: &'static str) -> Option<Opt> {
    let mut f = line.split('\t');
    Some(Opt {
        name: f.next()?,
        kind: f.next()?,
        level: f.next()?,
        runtime: f.next()? == "1",
        default: f.next().unwrap_or(""),
    })
}

/// All options, in stock's order.
pub fn all() -> impl Iterator<Item = Opt> {
    TABLE.lines().filter_map(parse)
}

/// Finds an option; blanks and dashes in `name` count as underscores.
pub fn find(name: &str) -> Option<Opt> {
    let name = normalize(name);
    all().find(|o| o.name == name)
}

/// The canonical form of an option's name.
pub fn normalize(name: &str) -> String {
    name.trim().replace([' ', '-'], "_")
}

/// Checks a value and gives the form that stock stores, or stock's error text.
pub fn check(opt: &Opt, value: &str) -> Result<String, String> {
    match opt.kind {
        "bool" => match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok("true".into()),
            "false" | "0" | "no" | "off" => Ok("false".into()),
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
    fn refuses_what_is_no_number() {
        let o = find("osd_max_backfills").unwrap();
        assert_eq!(
            check(&o, "x").unwrap_err(),
            "error parsing value: strict_si_cast: unit prefix not recognized"
        );
        assert_eq!(check(&find("debug_ms").unwrap(), "1").unwrap(), "1/1");
    }
}
