//! `crash *`: reports of crashed daemons (stock's module `crash`), kept in the key store under the names that stock uses.

use super::{Args, CmdResult, Ctx, Format, Handler, Out, done, need, need_int, text, text_outs};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable, compact, pretty};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use types::Utime;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("crash post", post),
    ("crash ls", ls),
    ("crash ls-new", ls),
    ("crash info", info),
    ("crash stat", stat),
    ("crash rm", rm),
    ("crash prune", prune),
    ("crash archive", archive),
    ("crash archive-all", archive_all),
    ("crash json_report", json_report),
];

const PREFIX: &str = "mgr/crash/crash/";
/// `EINVAL` as the module answers it: stock's modules in 16.2 give it unnegated here.
const EINVAL: i32 = 22;
const DAY: u64 = 86_400;
/// Reports kept; the oldest go first.
const REPORTS_MAX: usize = 1000;

/// A report.
#[derive(Clone, Debug)]
pub(crate) struct Crash {
    id: String,
    data: Map<String, Value>,
}

impl Crash {
    fn get(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }
    fn is_new(&self) -> bool {
        !self.data.contains_key("archived")
    }
    fn since(&self) -> Option<Utime> {
        self.get("timestamp").and_then(parse_stamp)
    }
    fn json(&self) -> Value {
        sorted(&Value::Object(self.data.clone()))
    }
}

/// `2026-11-27T10:00:00.000000Z`, with a blank for the T too.
fn parse_stamp(t: &str) -> Option<Utime> {
    let (date, time) = t.trim_end_matches('Z').split_once(['T', ' '])?;
    let mut d = date.split('-').map(|x| x.parse::<i64>().ok());
    let (y, m, day) = (d.next()??, d.next()??, d.next()??);
    let (hms, frac) = time.split_once('.').unwrap_or((time, "0"));
    let mut h = hms.split(':').map(|x| x.parse::<u64>().ok());
    let (hh, mm, ss) = (h.next()??, h.next()??, h.next()??);
    if !(1970..2100).contains(&y)
        || !(1..=12).contains(&m)
        || !(1..=31).contains(&day)
        || hh > 24
        || mm > 60
        || ss > 60
    {
        return None;
    }
    // Days since 1970 of the civil calendar.
    let (yy, mp) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let days = 365 * yy + yy / 4 - yy / 100 + yy / 400 + (153 * mp + 2) / 5 + day - 1 - 719_468;
    let nanos: String = format!("{frac:0<9}").chars().take(9).collect();
    let secs = u64::try_from(days).ok()? * DAY + hh * 3600 + mm * 60 + ss;
    Some(Utime::ZERO + Duration::new(secs, nanos.parse().ok()?))
}

/// The same value with its keys in order, as the module prints them.
fn sorted(v: &Value) -> Value {
    match v {
        Value::Object(m) => {
            let m: BTreeMap<&String, Value> = m.iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(m.into_iter().map(|(k, v)| (k.clone(), v)).collect())
        }
        Value::Array(a) => Value::Array(a.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Every report, the oldest first.
pub(crate) fn all(core: &MonCore) -> Vec<Crash> {
    let read = |(k, v): (&String, &Bytes)| {
        let id = k.strip_prefix(PREFIX)?.to_owned();
        match serde_json::from_slice(v).ok()? {
            Value::Object(data) => Some(Crash { id, data }),
            _ => None,
        }
    };
    let mut v: Vec<Crash> = core.config_key.iter().filter_map(read).collect();
    v.sort_by(|a, b| a.get("timestamp").cmp(&b.get("timestamp")));
    v
}

fn save(core: &mut MonCore, c: &Crash) {
    core.config_key.set(format!("{PREFIX}{}", c.id), Bytes::from(compact(&Value::Object(c.data.clone()))));
}

/// A failure of the module.
fn wrong(outs: String) -> CmdResult {
    Ok(Out { ret: EINVAL, outs, ..Out::default() })
}

fn post(core: &mut MonCore, _: &Args, ctx: &Ctx) -> CmdResult {
    let data: Map<String, Value> = match serde_json::from_slice(&ctx.input) {
        Ok(Value::Object(m)) => m,
        Ok(_) => return wrong("malformed crash metadata: not an object".into()),
        Err(_) if ctx.input.is_empty() => {
            return wrong("malformed crash metadata: Expecting value: line 1 column 1 (char 0)".into());
        }
        Err(e) => return wrong(format!("malformed crash metadata: {e}")),
    };
    for field in ["crash_id", "timestamp"] {
        if data.get(field).and_then(Value::as_str).is_none() {
            return wrong(format!("malformed crash metadata: missing '{field}' field"));
        }
    }
    let c = Crash { id: data["crash_id"].as_str().unwrap_or_default().to_owned(), data };
    if c.since().is_none() {
        return wrong("malformed crash metadata: time data does not match format".into());
    }
    let key = format!("{PREFIX}{}", c.id);
    if c.id.len() > 256 || c.id.chars().any(|x| x.is_control() || x == '/') {
        return wrong("malformed crash metadata: bad 'crash_id'".into());
    }
    if core.config_key.next(&key).is_none() {
        let have = all(core);
        for old in have.iter().take((have.len() + 1).saturating_sub(REPORTS_MAX)) {
            core.config_key.remove(&format!("{PREFIX}{}", old.id));
        }
        save(core, &c);
    }
    done("")
}

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let only_new = a.prefix == "crash ls-new";
    let list: Vec<Crash> = all(core).into_iter().filter(|c| !only_new || c.is_new()).collect();
    if a.format() != Format::Plain {
        let v = Value::Array(list.iter().map(Crash::json).collect());
        return if list.is_empty() { text("[]\n") } else { text(pretty(&v) + "\n") };
    }
    if list.is_empty() {
        return text("");
    }
    let l = Align::Left;
    let mut t = TextTable::new().column("ID", l, l).column("ENTITY", l, l).column("NEW", l, l);
    for c in &list {
        let new = if c.is_new() { " *" } else { "" };
        t.row([c.id.clone(), c.get("entity_name").unwrap_or("").to_owned(), new.into()]);
    }
    // The module's tables pad the last column too.
    text(t.to_string().lines().map(|x| format!("{x}  \n")).collect::<String>())
}

fn find(core: &MonCore, a: &Args) -> Result<Option<Crash>, (types::Errno, String)> {
    let id = need(a, "id")?;
    Ok(all(core).into_iter().find(|c| c.id == id))
}

fn info(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    match find(core, a)? {
        Some(c) => text(pretty(&c.json()) + "\n"),
        None => wrong(format!("crash info: {} not found", a.text("id"))),
    }
}

fn stat(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let list = all(core);
    let mut out = format!("{} crashes recorded\n", list.len());
    for days in [1, 3, 7] {
        let limit = Duration::from_secs(days * DAY);
        let old: Vec<&Crash> =
            list.iter().filter(|c| c.since().is_some_and(|t| core.now.since(t) > limit)).collect();
        if !old.is_empty() {
            out += &format!("{} older than {days} days old:\n", old.len());
            old.iter().for_each(|c| out += &format!("{}\n", c.id));
        }
    }
    text(out)
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let id = need(a, "id")?;
    core.config_key.remove(&format!("{PREFIX}{id}"));
    done("")
}

fn prune(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let keep = need_int(a, "keep")?.max(0) as u64;
    let limit = Duration::from_secs(keep.saturating_mul(DAY));
    for c in all(core) {
        if c.since().is_some_and(|t| core.now.since(t) > limit) {
            core.config_key.remove(&format!("{PREFIX}{}", c.id));
        }
    }
    done("")
}

fn put_away(core: &mut MonCore, mut c: Crash) {
    if c.is_new() {
        c.data.insert("archived".into(), core.now.to_string().into());
        save(core, &c);
    }
}

fn archive(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    match find(core, a)? {
        Some(c) => put_away(core, c),
        None => return wrong(format!("crash info: {} not found", a.text("id"))),
    }
    done("")
}

fn archive_all(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    for c in all(core) {
        put_away(core, c);
    }
    done("")
}

fn json_report(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let hours = need_int(a, "hours")?.max(0) as u64;
    let limit = Duration::from_secs(hours.saturating_mul(3600));
    let mut n: BTreeMap<String, u64> = BTreeMap::new();
    for c in all(core).iter().filter(|c| c.since().is_some_and(|t| core.now.since(t) <= limit)) {
        *n.entry(c.get("process_name").unwrap_or("unknown").to_owned()).or_insert(0) += 1;
    }
    text_outs("", json!(n).to_string().replace(':', ": ").replace(',', ", "))
}

/// Crashes that health tells of: new ones of the last two weeks (`mgr/crash/warn_recent_interval`).
pub(crate) fn recent(core: &MonCore) -> Vec<String> {
    let limit = Duration::from_secs(14 * DAY);
    let line = |c: &Crash| {
        format!(
            "{} crashed on host {} at {}",
            c.get("entity_name").unwrap_or("unidentified daemon"),
            c.get("utsname_hostname").unwrap_or("(unknown)"),
            c.get("timestamp").unwrap_or("unknown timestamp")
        )
    };
    let fresh = |c: &&Crash| c.is_new() && c.since().is_some_and(|t| core.now.since(t) <= limit);
    all(core).iter().filter(fresh).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_as_seconds_since_1970() {
        let t = parse_stamp("2026-11-27T10:00:00.250000Z").expect("a stamp");
        assert_eq!(t.to_string(), "2026-11-27T10:00:00.250000+0000");
        assert_eq!(
            parse_stamp("2000-02-29 00:00:01").expect("a stamp").to_string(),
            "2000-02-29T00:00:01.000000+0000"
        );
        for bad in ["", "x", "2026-13-01T00:00:00Z", "2026-11-27", "9999-01-01T00:00:00"] {
            assert!(parse_stamp(bad).is_none(), "{bad}");
        }
    }
}
