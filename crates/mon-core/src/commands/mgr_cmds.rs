//! Commands of the manager that are not about PGs: performance, pool rates, scrubs by OSD, and what its modules answer.

use super::pg_cmds::{client_rate, rates_json, recovery_json, recovery_lines, recovery_rate, send_scrub};
use super::{Args, CmdResult, Ctx, Handler, as_json, fail, need, render, text, text_outs};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable, compact};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use types::osdmap::state;
use types::pgstat::pg_state;
use types::{Errno, OsdId, PgId, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd perf", perf),
    ("osd status", status),
    ("osd pool stats", pool_stats),
    ("osd blocked-by", blocked_by),
    ("osd ok-to-stop", ok_to_stop),
    ("osd safe-to-destroy", safe_to_destroy),
    ("osd scrub", scrub),
    ("osd deep-scrub", scrub),
    ("osd repair", scrub),
    ("osd pool scrub", pool_scrub),
    ("osd pool deep-scrub", pool_scrub),
    ("osd pool repair", pool_scrub),
    ("device ls", super::misc_cmds::device_ls),
    ("orch status", orch),
    ("iostat", iostat),
];

fn perf(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ms = |ns: u64| ns / 1_000_000;
    let infos: Vec<Value> = core
        .pgmap
        .osds
        .iter()
        .rev()
        .map(|(o, s)| {
            json!({"id": o.0, "perf_stats": {
                "commit_latency_ms": ms(s.commit_latency_ns), "apply_latency_ms": ms(s.apply_latency_ns),
                "commit_latency_ns": s.commit_latency_ns, "apply_latency_ns": s.apply_latency_ns,
            }})
        })
        .collect();
    let v = json!({"pg_ready": true, "osdstats": {"osd_perf_infos": infos}});
    if a.format() == super::Format::Json {
        return text(compact(&v) + "\n");
    }
    render(a, &v, || {
        let (l, r) = (Align::Left, Align::Right);
        let mut t = TextTable::new().column("osd", l, r).column("commit_latency(ms)", l, r).column(
            "apply_latency(ms)",
            l,
            r,
        );
        for (o, s) in core.pgmap.osds.iter().rev() {
            t.row([o.to_string(), ms(s.commit_latency_ns).to_string(), ms(s.apply_latency_ns).to_string()]);
        }
        t.to_string()
    })
}

/// `290M`, `19.7G`: the status module's own units.
pub(super) fn short(bytes: u64) -> String {
    let mut v = bytes as f64;
    for u in ["", "k", "M", "G", "T", "P"] {
        if v < 1000.0 {
            return match u {
                "" => format!("{bytes}"),
                _ if v < 100.0 => format!("{v:.1}{u}").replace(".0", ".0"),
                _ => format!("{}{u}", v as u64),
            };
        }
        v /= 1024.0;
    }
    format!("{v:.0}E")
}

fn status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let mut v = Vec::new();
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new();
    for (h, hl, al) in [
        ("ID", l, r),
        ("HOST", l, l),
        ("USED", r, r),
        ("AVAIL", r, r),
        ("WR OPS", r, r),
        ("WR DATA", r, r),
        ("RD OPS", r, r),
        ("RD DATA", r, r),
        ("STATE", l, l),
    ] {
        t.define(h, hl, al);
    }
    for o in m.osds() {
        let s = core.pgmap.osds.get(&o);
        let (used, avail) = s.map_or((0, 0), |s| (s.statfs.used_raw(), s.statfs.available));
        let host = core.osd.meta(o, "hostname").unwrap_or("").to_owned();
        let states = state::names(m.state_of(o));
        t.row([
            o.to_string(),
            host.clone(),
            short(used),
            short(avail),
            "0".into(),
            "0".into(),
            "0".into(),
            "0".into(),
            states.join(","),
        ]);
        v.push(json!({
            "id": o.0, "host name": host, "kb used": used, "kb available": avail, "write ops rate": 0, "write byte rate": 0,
            "read ops rate": 0, "read byte rate": 0, "state": states,
        }));
    }
    render(a, &json!({ "OSDs": v }), || {
        // The module pads each line with two blanks.
        t.to_string().lines().map(|x| format!("{x}  \n")).collect()
    })
}

fn pool_stats(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let ids: Vec<PoolId> = match a.str("pool_name") {
        Some(n) => match m.pool_by_name(&n) {
            Some(id) => vec![id],
            None => return fail(Errno::ENOENT, format!("unrecognized pool '{n}'")),
        },
        None => m.pools.keys().copied().collect(),
    };
    let mut v = Vec::new();
    let mut out = String::new();
    for id in &ids {
        let name = m.pool_name(*id).unwrap_or("");
        let (sum, r) = (core.pgmap.pool_sum(*id), core.pgmap.pool_rates(*id));
        out += &format!("pool {name} id {id}\n");
        let mut lines: Vec<String> = recovery_lines(&sum);
        if let Some(s) = recovery_rate(&r) {
            lines.push(format!("recovery io {s}"));
        }
        if let Some(s) = client_rate(&r) {
            lines.push(format!("client io {s}"));
        }
        if lines.is_empty() {
            lines.push("nothing is going on".into());
        }
        for x in lines {
            out += &format!("  {x}\n");
        }
        out.push('\n');
        let mut rec = json!({});
        recovery_json(&sum, &mut rec);
        let mut all = json!({});
        rates_json(&r, &mut all);
        let (mut rr, mut cr) = (Map::new(), Map::new());
        if let Value::Object(o) = all {
            for (k, x) in o {
                if k.starts_with("recovering") {
                    rr.insert(k, x)
                } else {
                    cr.insert(k, x)
                };
            }
        }
        v.push(json!({"pool_name": name, "pool_id": id.0, "recovery": rec, "recovery_rate": rr, "client_io_rate": cr}));
    }
    if ids.is_empty() {
        out = "there are no pools!\n".into();
    }
    render(a, &Value::Array(v), || out)
}

fn blocked_by(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut n: BTreeMap<OsdId, u64> = BTreeMap::new();
    for s in core.pgmap.pgs.values() {
        s.blocked_by.iter().for_each(|o| *n.entry(*o).or_insert(0) += 1);
    }
    let list: Vec<Value> = n.iter().map(|(o, c)| json!({"id": o.0, "num_blocked": c})).collect();
    let v = json!({"pg_ready": true, "osd_blocked_by": {"osd_blocked_by_infos": list}});
    if a.format() == super::Format::Json {
        return text(compact(&v) + "\n");
    }
    render(a, &v, || {
        let (l, r) = (Align::Left, Align::Right);
        let mut t = TextTable::new().column("osd", l, r).column("num_blocked", l, r);
        n.iter().for_each(|(o, c)| t.row([o.to_string(), c.to_string()]));
        t.to_string()
    })
}

fn ids_arg(core: &MonCore, a: &Args, name: &str) -> Result<BTreeSet<OsdId>, (Errno, String)> {
    let mut out = BTreeSet::new();
    for w in a.list(name) {
        if matches!(w.as_str(), "any" | "all" | "*") {
            out.extend(core.osd.map.osds());
            continue;
        }
        let id = w
            .strip_prefix("osd.")
            .unwrap_or(&w)
            .parse::<i32>()
            .map_err(|_| (Errno::EINVAL, format!("invalid osd id '{w}'")))?;
        out.insert(OsdId(id));
    }
    if out.is_empty() {
        return Err((Errno::EINVAL, "must specify one or more OSDs".into()));
    }
    Ok(out)
}

/// What becomes of the PGs when some OSDs stop.
#[derive(Default)]
struct Offline {
    unknown: Vec<String>,
    bad_already: Vec<String>,
    bad_become: Vec<String>,
    ok_already: Vec<String>,
    ok_become: Vec<String>,
}
impl Offline {
    fn of(core: &MonCore, ids: &BTreeSet<OsdId>) -> Offline {
        let mut r = Offline::default();
        for (pg, s) in &core.pgmap.pgs {
            if s.state == 0 {
                r.unknown.push(pg.to_string());
                continue;
            }
            let real = || s.acting.iter().filter(|o| **o != OsdId::NONE);
            if !real().any(|o| ids.contains(o)) {
                continue;
            }
            let left = real().filter(|o| !ids.contains(o)).count();
            let (min, size) =
                core.osd.map.pool(pg.pool).map_or((1, 1), |p| (usize::from(p.min_size), usize::from(p.size)));
            let list = if s.state & pg_state::ACTIVE == 0 {
                &mut r.bad_already
            } else if left < min {
                &mut r.bad_become
            } else if real().count() < size {
                &mut r.ok_already
            } else {
                &mut r.ok_become
            };
            list.push(pg.to_string());
        }
        r
    }
    fn bad(&self) -> usize {
        self.unknown.len() + self.bad_already.len() + self.bad_become.len()
    }
    fn json(&self, ids: &BTreeSet<OsdId>) -> Value {
        let nums: Vec<i32> = ids.iter().map(|o| o.0).collect();
        let mut v = json!({
            "ok_to_stop": self.bad() == 0, "osds": nums, "num_ok_pgs": self.ok_already.len() + self.ok_become.len(),
            "num_not_ok_pgs": self.bad(),
        });
        for (key, list) in [
            ("bad_no_pg_stats", &self.unknown),
            ("bad_already_inactive", &self.bad_already),
            ("bad_become_inactive", &self.bad_become),
            ("ok_already_degraded", &self.ok_already),
            ("ok_become_degraded", &self.ok_become),
        ] {
            if !list.is_empty() {
                v[key] = json!(list);
            }
        }
        v
    }
}

fn ok_to_stop(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut ids = ids_arg(core, a, "ids")?;
    let max = a.int("max").unwrap_or(1).clamp(1, 10_000) as usize;
    let mut r = Offline::of(core, &ids);
    if r.bad() == 0 && ids.len() < max {
        // More of the same host, then of what is above it, as long as nothing becomes unavailable.
        let c = &core.osd.map.crush;
        let mut at = ids.iter().next().map(|o| o.0);
        while let Some(p) = at.and_then(|i| crate::crushutil::parent(c, i)) {
            for d in crate::crushutil::devices_below(c, p) {
                if ids.len() >= max || !core.osd.map.exists(OsdId(d)) || ids.contains(&OsdId(d)) {
                    continue;
                }
                let mut more = ids.clone();
                more.insert(OsdId(d));
                let next = Offline::of(core, &more);
                if next.bad() == 0 {
                    (ids, r) = (more, next);
                }
            }
            at = Some(p);
        }
    }
    let data = (compact(&r.json(&ids)) + "\n").into_bytes();
    if r.bad() == 0 {
        return Ok(super::Out { data, ..super::Out::default() });
    }
    let outs = format!("unsafe to stop osd(s) at this time ({} PGs are or would become offline)", r.bad());
    Ok(super::Out { ret: Errno::EBUSY.negated(), outs, data, ..super::Out::default() })
}

fn safe_to_destroy(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = ids_arg(core, a, "ids")?;
    let by = core.pgmap.pgs_by_osd();
    let unknown = core.pgmap.pgs.values().filter(|s| s.state == 0).count();
    if unknown > 0 {
        return fail(Errno::EAGAIN, format!("{unknown} pgs have unknown state; cannot draw any conclusions"));
    }
    let active: Vec<i32> = ids.iter().filter(|o| by.get(o).is_some_and(|n| n.0 > 0)).map(|o| o.0).collect();
    let safe: Vec<i32> = ids.iter().map(|o| o.0).filter(|o| !active.contains(o)).collect();
    let text_of = |l: &[i32]| l.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let v = json!({"safe_to_destroy": safe, "active": active, "missing_stats": [], "stored_pgs": []});
    let plain = a.format() == super::Format::Plain;
    if !plain {
        return as_json(a, &v);
    }
    if !active.is_empty() {
        let n: usize = active.iter().filter_map(|o| by.get(&OsdId(*o))).map(|x| x.0).sum();
        return fail(
            Errno::EBUSY,
            format!("OSD(s) {} have {n} pgs currently mapped to them. ", text_of(&active)),
        );
    }
    text_outs("", format!("OSD(s) {} are safe to destroy without reducing data durability.", text_of(&safe)))
}

fn scrub(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let what = a.prefix.split(' ').nth(1).unwrap_or("scrub").to_owned();
    let ids = ids_arg(core, a, "who")?;
    if let Some(o) = ids.iter().find(|o| !core.osd.map.exists(**o)) {
        return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
    }
    let (mut sent, mut not) = (Vec::new(), Vec::new());
    for o in ids {
        let pgs: Vec<PgId> =
            core.pgmap.pgs.iter().filter(|(_, s)| s.acting_primary == o).map(|(p, _)| *p).collect();
        if core.osd.map.is_up(o) && send_scrub(core, o, pgs, &what) {
            sent.push(o.to_string())
        } else {
            not.push(o.to_string())
        }
    }
    let mut t = if sent.is_empty() {
        String::new()
    } else {
        format!("instructed osd(s) {} to {what}", sent.join(","))
    };
    if !not.is_empty() {
        t += &format!("; osd(s) {} are not up", not.join(","));
        if sent.is_empty() {
            return fail(Errno::EAGAIN, t.trim_start_matches("; ").to_owned());
        }
    }
    text_outs("", t)
}

fn pool_scrub(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let what = a.prefix.split(' ').nth(2).unwrap_or("scrub").to_owned();
    for n in a.list("who") {
        let Some(id) = core.osd.map.pool_by_name(&n) else {
            return fail(Errno::ENOENT, format!("unrecognized pool '{n}'"));
        };
        let mut by: BTreeMap<OsdId, Vec<PgId>> = BTreeMap::new();
        for (pg, s) in core.pgmap.pool_pgs(id) {
            by.entry(s.acting_primary).or_default().push(*pg);
        }
        for (o, pgs) in by {
            send_scrub(core, o, pgs, &what);
        }
    }
    need(a, "who")?;
    text("")
}

fn orch(_: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    fail(Errno::ENOENT, "No orchestrator configured (try `ceph orch set backend`)")
}
fn iostat(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let r = core.pgmap.rates();
    let b = |n| format!("{}/s", crate::fmt::byte_u(n));
    let cells = [
        b(r.rd_bytes),
        b(r.wr_bytes),
        b(r.rd_bytes.saturating_add(r.wr_bytes)),
        r.rd_ops.to_string(),
        r.wr_ops.to_string(),
        r.rd_ops.saturating_add(r.wr_ops).to_string(),
    ];
    text(format!("|{}\n", cells.iter().map(|c| format!(" {c:>10} |")).collect::<String>()))
}
