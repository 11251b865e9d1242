//! Smaller commands: autoscale advice, devices, counts of metadata, statistics' sequence, the report.

use super::{Args, CmdResult, Ctx, Handler, as_json, fail, need, need_int, render, text, text_outs};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable, pretty};
use crate::osdmon::upmaps;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use types::pool::{PgPool, PoolOpt, autoscale, opt};
use types::{Errno, OsdId, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd last-stat-seq", last_stat_seq),
    ("osd pool autoscale-status", autoscale_status),
    ("mon count-metadata", mon_count),
    ("mds count-metadata", mds_count),
    ("device ls-by-daemon", device_by),
    ("device ls-by-host", device_by),
    ("device info", device_info),
    ("report", report),
];

fn last_stat_seq(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = OsdId(need_int(a, "id")? as i32);
    let seq = core.pgmap.last_seq(o);
    render(a, &json!({"osd": o.0, "last_stat_seq": seq}), || format!("{seq}\n"))
}

/// A number of a pool's options.
fn option(p: &PgPool, name: &str) -> Option<f64> {
    let at = opt::NAMES.iter().position(|n| *n == name)? as i32;
    match p.opts.0.get(&at)? {
        PoolOpt::Int(n) => Some(*n as f64),
        PoolOpt::Double(f) => Some(*f),
        PoolOpt::Str(_) => None,
    }
}

/// Advice on one pool's number of PGs.
struct Advice {
    id: PoolId,
    logical: u64,
    raw: f64,
    rate: f64,
    capacity: u64,
    ratio: f64,
    target_bytes: f64,
    target_ratio: f64,
    effective: f64,
    bias: f64,
    ideal: u64,
    last: u64,
    adjust: bool,
}

/// The power of two next to `n`; of two equally near ones the greater.
fn nearest_power(n: f64) -> u64 {
    if n < 1.0 {
        return 1;
    }
    let up = (n.min(1e9) as u64).next_power_of_two();
    let down = up / 2;
    if down > 0 && n - (down as f64) < up as f64 - n { down } else { up.max(1) }
}

fn advise(core: &MonCore) -> Vec<Advice> {
    let m = &core.osd.map;
    let per_osd = core.cfg.num("mon_target_pg_per_osd").max(1.0);
    let mut roots: BTreeMap<Vec<OsdId>, (u64, f64)> = BTreeMap::new();
    let mut list = Vec::new();
    for (id, p) in m.pools.iter() {
        let reach = upmaps::reach(m, *id).unwrap_or_default();
        let osds: Vec<OsdId> = reach.weights.keys().copied().collect();
        let capacity: u64 = osds.iter().filter_map(|o| core.pgmap.osds.get(o)).map(|s| s.statfs.total).sum();
        let s = core.pgmap.pool_stat(*id);
        let logical = s.stats.sum.num_bytes.max(0) as u64;
        let rate = f64::from(p.size);
        let target_ratio = option(p, "target_size_ratio").unwrap_or(0.0);
        let target_bytes =
            if target_ratio > 0.0 { 0.0 } else { option(p, "target_size_bytes").unwrap_or(0.0) };
        let raw = logical as f64 * rate;
        let r = roots.entry(osds).or_insert((capacity, 0.0));
        r.1 += target_ratio;
        list.push(Advice {
            id: *id,
            logical,
            raw,
            rate,
            capacity,
            ratio: 0.0,
            target_bytes,
            target_ratio,
            effective: 0.0,
            bias: option(p, "pg_autoscale_bias").unwrap_or(1.0),
            ideal: 0,
            last: 0,
            adjust: false,
        });
    }
    for x in &mut list {
        let Some(p) = m.pool(x.id) else { continue };
        let reach = upmaps::reach(m, x.id).unwrap_or_default();
        let osds: Vec<OsdId> = reach.weights.keys().copied().collect();
        let ratios = roots.get(&osds).map_or(0.0, |r| r.1);
        let cap = x.capacity.max(1) as f64;
        if x.target_ratio > 0.0 && ratios > 0.0 {
            x.effective = x.target_ratio / ratios;
        }
        let used = x.raw / cap;
        x.ratio =
            if x.effective > 0.0 { used.max(x.effective) } else { used.max(x.target_bytes * x.rate / cap) };
        let target = osds.len() as f64 * per_osd;
        let want = x.ratio * target / x.rate * x.bias;
        x.ideal = want as u64;
        let min = option(p, "pg_num_min").unwrap_or(0.0) as u64;
        let max = option(p, "pg_num_max").map_or(u64::MAX, |n| n as u64).max(1);
        let floor = min.max(core.cfg.num("osd_pool_default_pg_num").max(1.0) as u64);
        x.last = nearest_power(want).clamp(floor.min(max), max);
        let now = u64::from(p.pg_num_target).max(1);
        let on = p.pg_autoscale_mode != autoscale::OFF;
        x.adjust = on && (x.last > now * 3 || x.last * 3 < now) && x.ratio <= 1.0;
    }
    list
}

fn autoscale_status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let list = advise(core);
    if a.format() != super::Format::Plain {
        let v: Vec<Value> = list
            .iter()
            .map(|x| {
                let p = m.pool(x.id).cloned().unwrap_or_default();
                json!({
                    "actual_capacity_ratio": x.raw / x.capacity.max(1) as f64, "actual_raw_used": x.raw, "bias": x.bias, "bulk": false,
                    "capacity_ratio": x.ratio, "crush_root_id": root_of(core, &p), "effective_target_ratio": x.effective,
                    "logical_used": x.logical, "pg_autoscale_mode": autoscale::name(p.pg_autoscale_mode), "pg_num_final": x.last,
                    "pg_num_ideal": x.ideal, "pg_num_target": p.pg_num_target, "pool_id": x.id.0,
                    "pool_name": m.pool_name(x.id).unwrap_or(""), "raw_used": x.raw.max(x.target_bytes * x.rate),
                    "raw_used_rate": x.rate, "subtree_capacity": x.capacity, "target_bytes": x.target_bytes as u64,
                    "target_ratio": x.target_ratio, "would_adjust": x.adjust,
                })
            })
            .collect();
        return text(pretty(&Value::Array(v)) + "\n");
    }
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new();
    for (h, al) in [
        ("POOL", l),
        ("SIZE", r),
        ("TARGET SIZE", r),
        ("RATE", r),
        ("RAW CAPACITY", r),
        ("RATIO", r),
        ("TARGET RATIO", r),
        ("EFFECTIVE RATIO", r),
        ("BIAS", r),
        ("PG_NUM", r),
        ("NEW PG_NUM", r),
        ("AUTOSCALE", l),
        ("BULK", l),
    ] {
        t.define(h, al, al);
    }
    let size = short;
    for x in &list {
        let p = m.pool(x.id).cloned().unwrap_or_default();
        let if_set = |on: bool, s: String| if on { s } else { String::new() };
        t.row([
            m.pool_name(x.id).unwrap_or("").to_owned(),
            size(x.logical),
            if_set(x.target_bytes > 0.0, size(x.target_bytes as u64)),
            format!("{:?}", x.rate),
            short(x.capacity),
            format!("{:.4}", x.ratio),
            if_set(x.target_ratio > 0.0, format!("{:.4}", x.target_ratio)),
            if_set(x.effective > 0.0, format!("{:.4}", x.effective)),
            format!("{:?}", x.bias),
            p.pg_num_target.to_string(),
            if_set(x.adjust, x.last.to_string()),
            autoscale::name(p.pg_autoscale_mode).to_owned(),
            "False".into(),
        ]);
    }
    // The module's tables pad the last column too.
    text(t.to_string().lines().map(|x| format!("{x}  \n")).collect::<String>())
}

/// At most five figures and a unit, as the module writes sizes.
fn short(bytes: u64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    while unit + 1 < units.len() && (bytes / 1024u64.pow(unit as u32)).to_string().len() > 5 {
        unit += 1;
    }
    if unit == 0 {
        return bytes.to_string();
    }
    let t: String = format!("{:?}", bytes as f64 / 1024f64.powi(unit as i32)).chars().take(5).collect();
    match t.strip_suffix('.') {
        Some(t) => format!(" {t}{}", units[unit]),
        None => t + units[unit],
    }
}

fn root_of(core: &MonCore, p: &PgPool) -> i32 {
    let c = &core.osd.map.crush;
    let rule = core.osd.map.pool_rule(p).and_then(|r| c.rule(r));
    rule.and_then(|r| r.steps.iter().find(|s| s.op == crush::op::TAKE)).map_or(0, |s| s.arg1)
}

fn counts<'a>(
    a: &Args,
    all: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> Result<Value, (Errno, String)> {
    let key = need(a, "property")?;
    let mut n: BTreeMap<String, u64> = BTreeMap::new();
    for m in all {
        *n.entry(m.get(&key).cloned().unwrap_or_else(|| "unknown".into())).or_insert(0) += 1;
    }
    Ok(json!(n))
}
fn mon_count(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &counts(a, core.mon_metadata.iter().map(|(_, m)| m))?)
}
fn mds_count(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &counts(a, core.mds.metadata.iter().map(|(_, m)| m))?)
}

/// Devices of an OSD, by their ids, as it reported them: `sda=VENDOR_MODEL_SERIAL,...`.
fn devices(core: &MonCore) -> BTreeMap<String, Vec<(OsdId, String, String)>> {
    let mut out: BTreeMap<String, Vec<(OsdId, String, String)>> = BTreeMap::new();
    for o in core.osd.map.osds() {
        let host = core.osd.meta(o, "hostname").unwrap_or("").to_owned();
        for pair in core.osd.meta(o, "device_ids").unwrap_or("").split(',') {
            if let Some((dev, id)) = pair.split_once('=').filter(|(_, id)| !id.is_empty()) {
                out.entry(id.to_owned()).or_default().push((o, host.clone(), dev.to_owned()));
            }
        }
    }
    out
}

fn device_json(id: &str, users: &[(OsdId, String, String)]) -> Value {
    let at: Vec<Value> = users.iter().map(|(_, h, d)| json!({"host": h, "dev": d, "path": ""})).collect();
    let daemons: Vec<String> = users.iter().map(|(o, _, _)| format!("osd.{o}")).collect();
    json!({"devid": id, "location": at, "daemons": daemons})
}

pub(super) fn device_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let all = devices(core);
    let v: Vec<Value> = all.iter().map(|(id, u)| device_json(id, u)).collect();
    render(a, &Value::Array(v), || {
        let l = Align::Left;
        let mut t = ["DEVICE", "HOST:DEV", "DAEMONS", "WEAR", "LIFE EXPECTANCY"]
            .iter()
            .fold(TextTable::new(), |t, h| t.column(h, l, l));
        for (id, u) in &all {
            let at: Vec<String> = u.iter().map(|(_, h, d)| format!("{h}:{d}")).collect();
            let who: Vec<String> = u.iter().map(|(o, _, _)| format!("osd.{o}")).collect();
            t.row([id.clone(), at.join(" "), who.join(" "), String::new(), String::new()]);
        }
        t.to_string()
    })
}

fn device_by(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let by_host = a.prefix == "device ls-by-host";
    let who = need(a, if by_host { "host" } else { "who" })?;
    let mut all = devices(core);
    all.values_mut()
        .for_each(|u| u.retain(|(o, h, _)| if by_host { *h == who } else { format!("osd.{o}") == who }));
    all.retain(|_, u| !u.is_empty());
    let v: Vec<Value> = all.iter().map(|(id, u)| device_json(id, u)).collect();
    render(a, &Value::Array(v), || {
        let l = Align::Left;
        let heads: &[&str] = match by_host {
            true => &["DEVICE", "DEV", "DAEMONS", "EXPECTED FAILURE"],
            false => &["DEVICE", "HOST:DEV", "EXPECTED FAILURE"],
        };
        let mut t = heads.iter().fold(TextTable::new(), |t, h| t.column(h, l, l));
        for (id, u) in &all {
            let daemons: Vec<String> = u.iter().map(|(o, _, _)| format!("osd.{o}")).collect();
            let at: Vec<String> =
                u.iter().map(|(_, h, d)| if by_host { d.clone() } else { format!("{h}:{d}") }).collect();
            if by_host {
                t.row([id.clone(), at.join(" "), daemons.join(" "), String::new()]);
            } else {
                t.row([id.clone(), at.join(" "), String::new()]);
            }
        }
        t.to_string()
    })
}

fn device_info(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let id = need(a, "devid")?;
    match devices(core).get(&id) {
        Some(u) => as_json(a, &device_json(&id, u)),
        None => fail(Errno::ENOENT, format!("device {id} not found")),
    }
}

/// Everything that the monitor knows of the cluster in one document, without keys.
fn report(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let tags = a.list("tags");
    let mut part = |prefix: &str| -> Value {
        let detail = if prefix == "health" { "detail" } else { "" };
        let text = json!({"prefix": prefix, "format": "json", "detail": detail}).to_string();
        let local = Ctx { role: crate::event::Role::Local, session: None, ..ctx.clone() };
        let (r, _) = super::run(core, &[text], &local);
        serde_json::from_slice(&r.data).unwrap_or(Value::Null)
    };
    let (quorum, health, osdmap) = (part("quorum_status"), part("health"), part("osd dump"));
    let (monmap, mgr, fs, pgs) = (part("mon dump"), part("mgr dump"), part("fs dump"), part("pg dump"));
    let (metadata, crush, mon_meta) = (part("osd metadata"), part("osd crush dump"), part("mon metadata"));
    let mut m = Map::new();
    m.insert("cluster_fingerprint".into(), core.fsid().to_string().into());
    m.insert("version".into(), core.cfg.version.clone().into());
    m.insert("commit".into(), "".into());
    m.insert("timestamp".into(), core.now.to_string().into());
    m.insert("tag".into(), tags.join(" ").into());
    m.insert("health".into(), health);
    m.insert("monmap_first_committed".into(), 1.into());
    m.insert("monmap_last_committed".into(), core.monmap().epoch.0.into());
    m.insert("monmap".into(), monmap);
    m.insert("quorum".into(), quorum["quorum"].clone());
    m.insert("mon_metadata".into(), mon_meta);
    m.insert("osdmap_first_committed".into(), core.osd.first.into());
    m.insert("osdmap_last_committed".into(), core.osd.map.epoch.0.into());
    m.insert("osdmap".into(), osdmap);
    m.insert("osd_metadata".into(), metadata);
    m.insert("crushmap".into(), crush);
    m.insert("mgrmap".into(), mgr);
    m.insert("fsmap".into(), fs);
    let num_pg = core.pgmap.num_pgs();
    m.insert("num_pg".into(), num_pg.into());
    let (unknown, active) = core.pgmap.unknown_and_active();
    m.insert("num_pg_active".into(), active.into());
    m.insert("num_pg_unknown".into(), unknown.into());
    m.insert("num_osd".into(), core.pgmap.num_osds()[0].into());
    m.insert("pool_stats".into(), pgs["pg_map"]["pool_stats"].clone());
    m.insert("osd_stats".into(), pgs["pg_map"]["osd_stats"].clone());
    m.insert("paxos".into(), json!({"first_committed": 1, "last_committed": core.version()}));
    let body = pretty(&Value::Object(m));
    let crc = denc_crc(body.as_bytes());
    text_outs(body, format!("report {crc}"))
}

/// crc32c as stock's `report` shows it (seed -1).
fn denc_crc(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for b in data {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_nearby() {
        let got: Vec<u64> = [0.0, 1.0, 2.9, 3.0, 5.0, 6.0, 100.0].iter().map(|n| nearest_power(*n)).collect();
        assert_eq!(got, [1, 1, 2, 4, 4, 8, 128]);
    }
}
