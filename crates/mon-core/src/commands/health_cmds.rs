//! `health`, `health mute`, `health unmute`.

use super::{Args, CmdResult, Ctx, Handler, done, fail, need, render};
use crate::core::MonCore;
use crate::fmt::pretty_timespan_span;
use crate::health::{Checks, Mute, Severity};
use serde_json::{Map, Value, json};
use std::time::Duration;
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] =
    &[("health", health), ("health mute", mute), ("health unmute", unmute)];

/// The `health` object of `health` and `status`.
pub(super) fn health_json(core: &MonCore, checks: &Checks, detail: bool) -> Value {
    let mut list = Map::new();
    for (code, c) in checks {
        let mut j =
            json!({"severity": c.severity.name(), "summary": {"message": c.summary, "count": c.count}});
        if detail {
            j["detail"] = c.detail.iter().map(|d| json!({ "message": d })).collect();
        }
        j["muted"] = core.health.mutes.get(code).is_some().into();
        list.insert(code.clone(), j);
    }
    let mutes: Vec<Value> = core
        .health
        .mutes
        .iter()
        .map(|(code, m)| {
            let mut j = json!({ "code": code });
            if !m.until.is_zero() {
                j["ttl"] = m.until.to_string().into();
            }
            j["sticky"] = m.sticky.into();
            j["summary"] = m.summary.clone().into();
            j["count"] = m.count.into();
            j
        })
        .collect();
    json!({"status": core.overall(checks).name(), "checks": list, "mutes": mutes})
}

/// What a monitor answers to `ceph ping`.
pub fn pong(core: &MonCore) -> Value {
    let health = health_json(core, &core.checks(), false);
    json!({"health": health, "mon_status": super::mon_cmds::mon_status_json(core)})
}

/// What a manager is told of the cluster every few seconds: `mon_status`, and `health detail`.
pub(crate) fn digest(core: &MonCore) -> (bytes::Bytes, bytes::Bytes) {
    let health = health_json(core, &core.checks(), true);
    let text = |v: &Value| crate::fmt::compact(v).into();
    (text(&super::mon_cmds::mon_status_json(core)), text(&health))
}

/// `(muted: A(59m) B)`, or nothing.
pub(super) fn muted_text(core: &MonCore) -> Option<String> {
    let list: Vec<String> = core
        .health
        .mutes
        .iter()
        .map(|(code, m)| {
            if m.until > core.now {
                format!("{code}({})", pretty_timespan_span(m.until.since(core.now).as_secs_f64()))
            } else {
                code.clone()
            }
        })
        .collect();
    (!list.is_empty()).then(|| format!("(muted: {})", list.join(" ")))
}

fn health(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let checks = core.checks();
    let detail = a.text("detail") == "detail";
    let v = health_json(core, &checks, detail);
    let overall = core.overall(&checks);
    let muted = muted_text(core);
    render(a, &v, || {
        let mut out = overall.name().to_owned();
        let mut order: Vec<_> =
            checks.iter().filter(|(code, _)| core.health.mutes.get(code).is_none()).collect();
        order.sort_by_key(|x| std::cmp::Reverse(x.1.severity));
        let parts: Vec<String> = order.iter().map(|(_, c)| c.summary.clone()).collect();
        if !parts.is_empty() {
            out.push_str(&format!(" {}", parts.join("; ")));
        }
        if let Some(m) = muted {
            out.push_str(if parts.is_empty() { " " } else { "; " });
            out.push_str(&m);
        }
        out.push('\n');
        if detail {
            let all = checks.iter().map(|(c, k)| (c, k, core.health.mutes.get(c).is_some()));
            let mut all: Vec<_> = all.collect();
            all.sort_by_key(|x| std::cmp::Reverse(x.1.severity));
            for (code, c, is_muted) in all {
                let mark = if is_muted { "(MUTED) " } else { "" };
                out.push_str(&format!("{mark}{} {code}: {}\n", c.severity.tag(), c.summary));
                for d in &c.detail {
                    out.push_str(&format!("    {d}\n"));
                }
            }
        }
        out
    })
}

fn parse_ttl(text: &str) -> Option<Duration> {
    let t = text.trim();
    let at = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let n: u64 = t[..at].parse().ok()?;
    let unit = match t[at..].trim() {
        "" | "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hr" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "wk" | "week" | "weeks" => 7 * 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(n.checked_mul(unit)?))
}

fn mute(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let code = need(a, "code")?;
    let sticky = a.flag("sticky");
    let ttl = match a.str("ttl") {
        None => None,
        Some(t) => match parse_ttl(&t) {
            Some(d) => Some(d),
            None => return fail(Errno::EINVAL, format!("invalid duration: {t} (expected digit)")),
        },
    };
    let checks = core.checks();
    let c = checks.get(&code);
    if c.is_none() && !sticky {
        return fail(Errno::ENOENT, format!("health alert {code} is not currently raised"));
    }
    let m = Mute {
        until: ttl.map_or(types::Utime::ZERO, |d| core.now + d),
        sticky,
        summary: c.map_or_else(String::new, |c| c.summary.clone()),
        count: c.map_or(0, |c| c.count),
    };
    core.health.mutes.set(code, m);
    done("")
}

fn unmute(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    match a.str("code") {
        Some(code) => core.health.mutes.remove(&code),
        None => {
            let all: Vec<String> = core.health.mutes.iter().map(|(k, _)| k.clone()).collect();
            all.iter().for_each(|k| core.health.mutes.remove(k));
        }
    }
    done("")
}

/// Used by `status`: the worst severity's name.
pub(super) fn status_name(core: &MonCore, checks: &Checks) -> &'static str {
    let s: Severity = core.overall(checks);
    s.name()
}
