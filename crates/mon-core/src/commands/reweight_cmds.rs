//! `osd reweight-by-utilization`, `osd reweight-by-pg`, their `test-` forms, and `osd reweightn`.

use super::{Args, CmdResult, Ctx, Format, Handler, as_json, done, fail, text};
use crate::core::MonCore;
use crate::crushutil::{to_f32, weight_of};
use crate::fmt::fmt_g;
use crate::osdmon::set_weight;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use types::osdmap::OsdMap;
use types::{Errno, OsdId, PgId, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd reweight-by-utilization", by_utilization),
    ("osd test-reweight-by-utilization", by_utilization),
    ("osd reweight-by-pg", by_pg),
    ("osd test-reweight-by-pg", by_pg),
    ("osd reweightn", reweightn),
];

/// What is asked for.
struct Plan {
    oload: i64,
    max_change: f64,
    max_osds: i64,
    no_increasing: bool,
}

fn plan(core: &MonCore, a: &Args) -> Result<Plan, (Errno, String)> {
    let p = Plan {
        oload: a.int("oload").unwrap_or(120),
        max_change: a.float("max_change").unwrap_or_else(|| core.cfg.num("mon_reweight_max_change")),
        max_osds: a.int("max_osds").unwrap_or(core.cfg.num("mon_reweight_max_osds") as i64),
        no_increasing: a.flag("no_increasing"),
    };
    let bad = |t: String| Err((Errno::EINVAL, t));
    if p.oload <= 100 {
        return bad(
            "You must give a percentage higher than 100. The reweighting threshold will be calculated as <average-utilization> times \
             <input-percentage>. For example, an argument of 200 would reweight OSDs which are twice as utilized as the average OSD.\n\
             FAILED reweight-by-pg"
                .into(),
        );
    }
    if p.max_change <= 0.0 {
        return bad(format!("max_change {} must be positive", fmt_g(p.max_change, 6)));
    }
    if p.max_osds <= 0 {
        return bad(format!("max_osds {} must be positive", p.max_osds));
    }
    Ok(p)
}

/// Average load, and load by OSD.
type Loads = (f64, Vec<(OsdId, f64)>);

fn utilization(core: &MonCore) -> Result<Loads, (Errno, String)> {
    let sum = core.pgmap.osd_sum();
    let n = core.pgmap.osds.len().max(1) as u64;
    let least = core.cfg.num("mon_reweight_min_bytes_per_osd") as u64;
    let edom = |t: String| Err((Errno::EDOM, t));
    if sum.total / n < least {
        return edom(format!(
            "Refusing to reweight: we only have {} kb across all osds!\nFAILED reweight-by-pg",
            sum.total / 1024
        ));
    }
    if sum.used_raw() / n < least {
        let used = sum.used_raw() / 1024;
        return edom(format!(
            "Refusing to reweight: we only have {used} kb used across all osds!\nFAILED reweight-by-pg"
        ));
    }
    let of = |used: u64, total: u64| if total > 0 { used as f64 / total as f64 } else { 0.0 };
    let by = core.pgmap.osds.iter().map(|(o, s)| (*o, of(s.statfs.used_raw(), s.statfs.total))).collect();
    Ok((of(sum.used_raw(), sum.total), by))
}

fn pg_loads(core: &MonCore, pools: &BTreeSet<PoolId>) -> Result<Loads, (Errno, String)> {
    let m = &core.osd.map;
    let mut n: BTreeMap<OsdId, u64> = BTreeMap::new();
    for (pg, s) in &core.pgmap.pgs {
        if !pools.is_empty() && !pools.contains(&pg.pool) {
            continue;
        }
        for o in s.acting.iter().filter(|o| m.exists(**o) && weight_of(&m.crush, o.0) > 0) {
            *n.entry(*o).or_insert(0) += 1;
        }
    }
    let copies: u64 = n.values().sum();
    let osds = n.len() as u64;
    if osds == 0 || copies / osds < core.cfg.num("mon_reweight_min_pgs_per_osd") as u64 {
        let t = format!(
            "Refusing to reweight: we only have {copies} PGs across {osds} osds!\nFAILED reweight-by-pg"
        );
        return Err((Errno::EDOM, t));
    }
    let weight = |o: OsdId| f64::from(to_f32(weight_of(&m.crush, o.0)));
    let sum: f64 = n.keys().map(|o| weight(*o)).sum();
    Ok((copies as f64 / sum, n.iter().map(|(o, c)| (*o, *c as f64 / weight(*o))).collect()))
}

/// What the weights become, in the order in which they are decided: OSD, old, new.
fn decide(m: &OsdMap, p: &Plan, (average, mut by): Loads) -> Vec<(OsdId, u32, u32)> {
    by.sort_by(|a, b| (b.1 - average).abs().total_cmp(&(a.1 - average).abs()));
    let overload = average * p.oload as f64 / 100.0;
    let step = (p.max_change * 65536.0) as u32;
    let mut out = Vec::new();
    for (o, load) in by {
        let weight = m.weight_of(o);
        if weight == 0 {
            continue;
        }
        let ideal = (average / load * f64::from(weight)).min(f64::from(u32::MAX)) as u32;
        if load >= overload {
            out.push((o, weight, ideal.max(weight.saturating_sub(step))));
        } else if !p.no_increasing && load <= average {
            let new = ideal.min(weight.saturating_add(step)).min(65536);
            if new > weight {
                out.push((o, weight, new));
            }
        }
        if out.len() as i64 >= p.max_osds {
            break;
        }
    }
    out
}

/// What a change of the map does to the PGs: `OSDMap::summarize_mapping_stats`.
fn summary(old: &OsdMap, new: &OsdMap, pools: &BTreeSet<PoolId>) -> Option<(Value, String)> {
    let (mut total, mut moved) = (0u64, 0u64);
    let mut by: BTreeMap<OsdId, (u64, u64)> = BTreeMap::new();
    for (id, p) in old.pools.iter().filter(|(id, _)| pools.is_empty() || pools.contains(id)) {
        for seed in 0..p.pg_num {
            let up = |m: &OsdMap| m.pg_to_up_acting_osds(PgId { pool: *id, seed }).unwrap_or_default().up;
            let (was, is) = (up(old), up(new));
            total += u64::from(p.size);
            was.iter().for_each(|o| by.entry(*o).or_default().0 += 1);
            is.iter().for_each(|o| by.entry(*o).or_default().1 += 1);
            moved += was.iter().filter(|o| !is.contains(o)).count() as u64;
        }
    }
    let live: Vec<OsdId> = old.osds().filter(|o| old.is_up(*o) && old.is_in(*o)).collect();
    if live.is_empty() {
        return None;
    }
    let n = live.len() as f32;
    let avg = total as f32 / n;
    let of = |o: &OsdId| by.get(o).copied().unwrap_or_default();
    let dev = |f: &dyn Fn(&OsdId) -> u64| {
        (live.iter().map(|o| (f(o) as f32 - avg).powi(2)).sum::<f32>() / n).sqrt()
    };
    let (base, next) = (dev(&|o| of(o).0), dev(&|o| of(o).1));
    let edev = (f64::from(avg) * (1.0 - 1.0 / f64::from(n))).sqrt() as f32;
    let min = live.iter().min_by_key(|o| (of(o).0, o.0))?;
    let max = live.iter().min_by_key(|o| (u64::MAX - of(o).0, o.0))?;
    let g = |f: f32| fmt_g(f64::from(f), 6);
    let percent = if total > 0 { moved as f32 * 100.0 / total as f32 } else { 0.0 };
    let line = |what: &str, o: &OsdId| {
        let (a, b) = of(o);
        format!(
            "{what} osd.{o} with {a} -> {b} pgs ({} -> {} * mean)\n",
            g(a as f32 / avg),
            g(b as f32 / avg)
        )
    };
    let text = format!(
        "moved {moved} / {total} ({}%)\navg {}\nstddev {} -> {} (expected baseline {})\n{}{}",
        g(percent),
        g(avg),
        g(base),
        g(next),
        g(edev),
        line("min", min),
        line("max", max)
    );
    let f = f64::from;
    let v = json!({
        "moved_pgs": moved, "total_pgs": total, "avg_pgs": f(avg), "std_dev": f(base), "expected_baseline_std_dev": f(edev),
        "new_std_dev": f(next), "min_osd": min.0, "min_osd_pgs": of(min).0, "new_min_osd_pgs": of(min).1, "max_osd": max.0,
        "max_osd_pgs": of(max).0, "new_max_osd_pgs": of(max).1,
    });
    Some((v, text))
}

fn run(core: &mut MonCore, a: &Args, p: &Plan, loads: Loads, pools: &BTreeSet<PoolId>) -> CmdResult {
    let average = loads.0;
    let changes = decide(&core.osd.map, p, loads);
    let mut new = core.osd.map.clone();
    changes.iter().for_each(|(o, _, w)| set_weight(&mut new, *o, *w));
    let Some((sum, sum_text)) = summary(&core.osd.map, &new, pools) else { return fail(Errno::EINVAL, "") };
    let overload = average * p.oload as f64 / 100.0;
    let unit = |w: u32| f64::from(to_f32(w));
    let mut out = if a.format() == Format::Plain {
        let mut t = format!(
            "{sum_text}\noload {}\nmax_change {}\nmax_change_osds {}\naverage_utilization {average:.4}\noverload_utilization {overload:.4}\n",
            p.oload,
            fmt_g(p.max_change, 6),
            p.max_osds
        );
        for (o, was, is) in &changes {
            t += &format!("osd.{o} weight {:.4} -> {:.4}\n", unit(*was), unit(*is));
        }
        text(t)?
    } else {
        let list: Vec<Value> = changes
            .iter()
            .map(|(o, was, is)| json!({"osd": o.0, "weight": unit(*was), "new_weight": unit(*is)}))
            .collect();
        let v = json!({
            "overload_min": p.oload, "max_change": p.max_change, "max_change_osds": p.max_osds, "average_utilization": average,
            "overload_utilization": overload, "reweights": list, "utilization": sum,
        });
        as_json(a, &v)?
    };
    if changes.is_empty() || a.prefix.starts_with("osd test-") {
        out.outs = "no change".into();
    } else {
        changes.iter().for_each(|(o, _, w)| set_weight(core.osd.next(), *o, *w));
        out.wait = true;
    }
    Ok(out)
}

fn by_utilization(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let p = plan(core, a)?;
    let loads = utilization(core)?;
    run(core, a, &p, loads, &BTreeSet::new())
}

fn by_pg(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut pools = BTreeSet::new();
    for n in a.list("pools") {
        match core.osd.map.pool_by_name(&n) {
            Some(id) => pools.insert(id),
            None => return fail(Errno::ENOENT, format!("pool '{n}' does not exist")),
        };
    }
    let p = plan(core, a)?;
    let loads = pg_loads(core, &pools)?;
    run(core, a, &p, loads, &pools)
}

fn reweightn(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let given = a.text("weights");
    let bad = || (Errno::EINVAL, format!("unable to parse 'weights' value '{given}'"));
    let Ok(Value::Object(m)) = serde_json::from_str::<Value>(&given) else { return Err(bad()) };
    let mut list = Vec::new();
    for (k, v) in m {
        let o = k.parse().map(OsdId).map_err(|_| bad())?;
        let w = match v {
            Value::Number(n) => n.as_u64(),
            Value::String(s) => s.parse().ok(),
            _ => None,
        };
        let w = w.and_then(|w| u32::try_from(w).ok()).ok_or_else(bad)?;
        if !core.osd.peek().exists(o) {
            return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
        }
        list.push((o, w));
    }
    list.iter().for_each(|(o, w)| set_weight(core.osd.next(), *o, *w));
    let mut text = String::from("reweighted ");
    text += &list
        .iter()
        .map(|(o, w)| format!("osd.{o} to {} ({w:x})", fmt_g(f64::from(to_f32(*w)), 6)))
        .collect::<Vec<_>>()
        .join(", ");
    done(text)
}
