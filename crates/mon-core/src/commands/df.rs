//! `df`: raw space by device class, and pools with what they still can take.

use super::{Args, CmdResult, Ctx, Handler, render};
use crate::core::MonCore;
use crate::crushutil;
use crate::fmt::{Align, TextTable, byte_u, percentify, si_u};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use types::pgstat::StoreStatfs;
use types::{OsdId, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[("df", df)];

/// Copies that an object of the pool takes in raw space.
fn raw_factor(core: &MonCore, pool: PoolId) -> f64 {
    let Some(p) = core.osd.map.pool(pool) else { return 1.0 };
    if p.is_erasure() {
        let profile = core.osd.map.erasure_code_profiles.get(&p.erasure_code_profile);
        let k = profile.and_then(|m| m.get("k")).and_then(|k| k.parse::<f64>().ok()).unwrap_or(1.0).max(1.0);
        return f64::from(p.size) / k;
    }
    f64::from(p.size)
}

/// What the pool's objects take on the OSDs' disks.
pub fn pool_used_bytes(core: &MonCore, pool: PoolId) -> u64 {
    let s = core.pgmap.pool_stat(pool);
    if s.num_store_stats > 0 {
        (s.store_stats.allocated + s.store_stats.omap_allocated).max(0) as u64
    } else {
        (s.stats.sum.num_bytes.max(0) as f64 * raw_factor(core, pool)) as u64
    }
}

/// Raw space that can be filled before the first OSD of the pool's rule is full (`get_rule_avail`).
fn rule_avail(core: &MonCore, pool: PoolId) -> u64 {
    let m = &core.osd.map;
    let Some(p) = m.pool(pool) else { return 0 };
    let Some(number) = m.pool_rule(p) else { return 0 };
    if let Some(told) = core.pgmap.digest_rule_avail(number) {
        return told;
    }
    let Some(rule) = m.crush.rule(number) else { return 0 };
    let mut weights: BTreeMap<i32, f64> = BTreeMap::new();
    for s in rule.steps.iter().filter(|s| s.op == crush::op::TAKE) {
        for d in crushutil::devices_below(&m.crush, s.arg1) {
            let w = f64::from(crushutil::to_f32(crushutil::weight_of(&m.crush, d)));
            *weights.entry(d).or_insert(0.0) += w * f64::from(m.weight_of(OsdId(d))) / 65536.0;
        }
    }
    let sum: f64 = weights.values().sum();
    if sum <= 0.0 {
        return 0;
    }
    let mut min: Option<f64> = None;
    for (d, w) in weights.iter().filter(|(_, w)| **w > 0.0) {
        let Some(s) = core.pgmap.osds.get(&OsdId(*d)) else { continue };
        if s.statfs.total == 0 {
            continue;
        }
        let unusable = s.statfs.total as f64 * (1.0 - f64::from(m.full_ratio));
        let avail = (s.statfs.available as f64 - unusable).max(0.0);
        let proj = avail / (w / sum);
        min = Some(min.map_or(proj, |x: f64| x.min(proj)));
    }
    min.unwrap_or(0.0) as u64
}

/// Bytes that clients can still write to the pool.
pub fn pool_max_avail(core: &MonCore, pool: PoolId) -> u64 {
    (rule_avail(core, pool) as f64 / raw_factor(core, pool).max(1.0)) as u64
}

fn ratio(s: &StoreStatfs) -> f64 {
    if s.total == 0 { 0.0 } else { s.used_raw() as f64 / s.total as f64 }
}

fn by_class(core: &MonCore) -> BTreeMap<String, StoreStatfs> {
    if let Some(d) = &core.pgmap.digest {
        return d.osd_sum_by_class.iter().map(|(class, s)| (class.clone(), s.statfs.clone())).collect();
    }
    let mut m: BTreeMap<String, StoreStatfs> = BTreeMap::new();
    for (o, s) in &core.pgmap.osds {
        let class = crushutil::class_of(&core.osd.map.crush, o.0).unwrap_or("").to_owned();
        m.entry(class).or_default().add(&s.statfs);
    }
    m.remove("");
    m
}

fn space_json(s: &StoreStatfs) -> Value {
    json!({
        "total_bytes": s.total, "total_avail_bytes": s.available, "total_used_bytes": s.used_raw(), "total_used_raw_bytes": s.used_raw(),
        "total_used_raw_ratio": f64::from(ratio(s) as f32),
    })
}

struct Row {
    name: String,
    id: i64,
    pgs: usize,
    stored: u64,
    omap: u64,
    objects: u64,
    used: u64,
    used_omap: u64,
    percent: f32,
    avail: u64,
    raw_avail: u64,
}

fn rows(core: &MonCore) -> Vec<Row> {
    core.osd
        .map
        .pools
        .keys()
        .map(|id| {
            let s = core.pgmap.pool_stat(*id);
            let factor = raw_factor(core, *id).max(1.0);
            let used = pool_used_bytes(core, *id);
            let avail = pool_max_avail(core, *id);
            let raw_avail = rule_avail(core, *id);
            let percent = if used > 0 { used as f64 / (used as f64 + raw_avail as f64) } else { 0.0 };
            let used_omap =
                if s.num_store_stats > 0 { s.store_stats.omap_allocated.max(0) as u64 } else { 0 };
            let data = if s.num_store_stats > 0 {
                (s.store_stats.data_stored.max(0) as f64 / factor) as u64
            } else {
                s.stats.sum.num_bytes.max(0) as u64
            };
            let omap = (used_omap as f64 / factor) as u64;
            Row {
                name: core.osd.map.pool_name(*id).unwrap_or_default().to_owned(),
                id: id.0,
                pgs: core.pgmap.num_pool_pgs(*id),
                stored: data.saturating_add(omap),
                omap,
                objects: s.stats.sum.num_objects.max(0) as u64,
                used,
                used_omap,
                percent: percent as f32,
                avail,
                raw_avail,
            }
        })
        .collect()
}

fn df(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let core = &*core;
    let detail = a.text("detail") == "detail";
    let total = core.pgmap.osd_sum();
    let classes = by_class(core);
    let rows = rows(core);
    let v = json(core, &total, &classes, &rows, detail);
    render(a, &v, || plain(core, &total, &classes, &rows, detail))
}

fn json(
    core: &MonCore,
    total: &StoreStatfs,
    classes: &BTreeMap<String, StoreStatfs>,
    rows: &[Row],
    detail: bool,
) -> Value {
    let mut stats = space_json(total);
    let [all, per_pool, per_pool_omap] = core.pgmap.num_osds();
    stats["num_osds"] = all.into();
    stats["num_per_pool_osds"] = per_pool.into();
    stats["num_per_pool_omap_osds"] = per_pool_omap.into();
    let by: Map<String, Value> = classes.iter().map(|(k, s)| (k.clone(), space_json(s))).collect();
    let pools: Vec<Value> = rows
        .iter()
        .map(|r| {
            let p = core.osd.map.pool(PoolId(r.id)).cloned().unwrap_or_default();
            let sum = core.pgmap.pool_sum(PoolId(r.id));
            let mut s = Map::new();
            s.insert("stored".into(), r.stored.into());
            if detail {
                s.insert("stored_data".into(), r.stored.saturating_sub(r.omap).into());
                s.insert("stored_omap".into(), r.omap.into());
            }
            s.insert("objects".into(), r.objects.into());
            s.insert("kb_used".into(), r.used.div_ceil(1024).into());
            s.insert("bytes_used".into(), r.used.into());
            if detail {
                s.insert("data_bytes_used".into(), r.used.saturating_sub(r.used_omap).into());
                s.insert("omap_bytes_used".into(), r.used_omap.into());
            }
            s.insert("percent_used".into(), json!(f64::from(r.percent)));
            s.insert("max_avail".into(), r.avail.into());
            if detail {
                s.insert("quota_objects".into(), p.quota_max_objects.into());
                s.insert("quota_bytes".into(), p.quota_max_bytes.into());
                s.insert("dirty".into(), 0.into());
                s.insert("rd".into(), sum.num_rd.into());
                s.insert("rd_bytes".into(), sum.num_rd_kb.saturating_mul(1024).into());
                s.insert("wr".into(), sum.num_wr.into());
                s.insert("wr_bytes".into(), sum.num_wr_kb.saturating_mul(1024).into());
                s.insert("compress_bytes_used".into(), 0.into());
                s.insert("compress_under_bytes".into(), 0.into());
                let factor = raw_factor(core, PoolId(r.id));
                s.insert("stored_raw".into(), ((r.stored as f64 * factor) as u64).into());
                s.insert("avail_raw".into(), r.raw_avail.into());
            }
            json!({"name": r.name, "id": r.id, "stats": s})
        })
        .collect();
    json!({"stats": stats, "stats_by_class": by, "pools": pools})
}

fn plain(
    core: &MonCore,
    total: &StoreStatfs,
    classes: &BTreeMap<String, StoreStatfs>,
    rows: &[Row],
    detail: bool,
) -> String {
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new().column("CLASS", l, l);
    for h in ["SIZE", "AVAIL", "USED", "RAW USED", "%RAW USED"] {
        t.define(h, r, r);
    }
    let mut add = |name: &str, s: &StoreStatfs| {
        t.row([
            name.to_owned(),
            byte_u(s.total),
            byte_u(s.available),
            byte_u(s.used_raw()),
            byte_u(s.used_raw()),
            percentify((ratio(s) * 100.0) as f32),
        ]);
    };
    for (k, s) in classes {
        add(k, s);
    }
    add("TOTAL", total);
    let mut out = format!("--- RAW STORAGE ---\n{t} \n--- POOLS ---\n");
    let mut t = TextTable::new().column("POOL", l, l);
    t.define("ID", r, r);
    t.define("PGS", r, r);
    t.define("STORED", r, r);
    if detail {
        t.define("(DATA)", r, r);
        t.define("(OMAP)", r, r);
    }
    t.define("OBJECTS", r, r);
    t.define("USED", r, r);
    if detail {
        t.define("(DATA)", r, r);
        t.define("(OMAP)", r, r);
    }
    t.define("%USED", r, r);
    t.define("MAX AVAIL", r, r);
    if detail {
        for h in ["QUOTA OBJECTS", "QUOTA BYTES", "DIRTY", "USED COMPR", "UNDER COMPR"] {
            t.define(h, r, r);
        }
    }
    for row in rows {
        let p = core.osd.map.pool(PoolId(row.id)).cloned().unwrap_or_default();
        let mut c = vec![row.name.clone(), row.id.to_string(), row.pgs.to_string(), byte_u(row.stored)];
        if detail {
            c.extend([byte_u(row.stored - row.omap), byte_u(row.omap)]);
        }
        c.extend([si_u(row.objects), byte_u(row.used)]);
        if detail {
            c.extend([byte_u(row.used - row.used_omap), byte_u(row.used_omap)]);
        }
        c.extend([percentify(row.percent * 100.0), byte_u(row.avail)]);
        if detail {
            let quota = |n: u64, f: fn(u64) -> String| if n == 0 { "N/A".to_owned() } else { f(n) };
            c.extend([
                quota(p.quota_max_objects, si_u),
                quota(p.quota_max_bytes, byte_u),
                "N/A".to_owned(),
                byte_u(0),
                byte_u(0),
            ]);
        }
        t.row(c);
    }
    out.push_str(&t.to_string());
    out
}
