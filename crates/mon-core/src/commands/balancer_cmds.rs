//! `balancer *` in upmap mode. What stock's manager module computes in Python on a copy of the map is computed in the monitor, from the
//! map alone and without dice ([`crate::osdmon::upmaps`]). Settings are options (`mgr/balancer/...`), so they are replicated; plans
//! live in memory, as with stock.

use super::{Args, CmdResult, Ctx, Handler, done, fail, need, text};
use crate::core::MonCore;
use crate::fmt::pretty;
use crate::osdmon::upmaps::{self, Limits};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use types::osdmap::{OsdMap, release};
use types::pgstat::pg_state;
use types::{Epoch, Errno, OsdId, PgId, PoolId, Utime};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("balancer status", status),
    ("balancer mode", mode),
    ("balancer on", on_off),
    ("balancer off", on_off),
    ("balancer ls", ls),
    ("balancer eval", eval),
    ("balancer optimize", optimize),
    ("balancer show", show),
    ("balancer rm", rm),
    ("balancer reset", reset),
    ("balancer execute", execute),
    ("balancer pool ls", pool_ls),
    ("balancer pool add", pool_change),
    ("balancer pool rm", pool_change),
];

/// Plans kept at once.
const PLANS_MAX: usize = 100;
const NOTHING: &str = "Unable to find further optimization, or pool(s) pg_num is decreasing, or distribution is already perfect";

/// A computed plan: what the upmaps of some PGs become.
#[derive(Clone, Debug, Default)]
struct Plan {
    epoch: Epoch,
    items: BTreeMap<PgId, Vec<(OsdId, OsdId)>>,
    before: f64,
    after: f64,
}

/// What the balancer remembers; not replicated.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    plans: BTreeMap<String, Plan>,
    last_started: Utime,
    result: String,
    nothing_to_do: bool,
}

fn setting(core: &MonCore, name: &str) -> Option<String> {
    let all = core.config.effective("mgr", "", "");
    all.get(&format!("mgr/balancer/{name}")).map(|(_, v)| v.clone())
}

fn save(core: &mut MonCore, name: &str, value: String) {
    let now = core.now;
    core.config.change(now, "", vec![(format!("mgr/mgr/balancer/{name}"), Some(value))]);
}

/// Off unless told (stock: on).
fn active(core: &MonCore) -> bool {
    setting(core, "active").is_some_and(|v| matches!(v.to_lowercase().as_str(), "true" | "1" | "yes" | "on"))
}
fn current_mode(core: &MonCore) -> String {
    setting(core, "mode").unwrap_or_else(|| "upmap".into())
}
fn number(core: &MonCore, name: &str, default: f64) -> f64 {
    setting(core, name).and_then(|v| v.parse().ok()).filter(|v: &f64| v.is_finite()).unwrap_or(default)
}
fn limits(core: &MonCore) -> Limits {
    Limits {
        deviation: number(core, "upmap_max_deviation", 5.0).max(1.0),
        changes: number(core, "upmap_max_optimizations", 10.0).clamp(1.0, 1000.0) as usize,
    }
}

/// Pools that are balanced: those chosen, or all.
fn pools(core: &MonCore) -> Vec<PoolId> {
    let chosen: Vec<PoolId> = setting(core, "pool_ids")
        .unwrap_or_default()
        .split(',')
        .filter_map(|p| p.trim().parse().ok().map(PoolId))
        .filter(|p| core.osd.map.pool(*p).is_some())
        .collect();
    if chosen.is_empty() { core.osd.map.pools.keys().copied().collect() } else { chosen }
}

fn status(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let b = &core.balancer;
    let started = if b.last_started.is_zero() { String::new() } else { b.last_started.to_string() };
    let v = json!({
        "active": active(core), "last_optimize_duration": "", "last_optimize_started": started, "mode": current_mode(core),
        "no_optimization_needed": b.nothing_to_do, "optimize_result": b.result, "plans": b.plans.keys().collect::<Vec<_>>(),
    });
    text(pretty(&v) + "\n")
}

fn mode(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = need(a, "mode")?;
    match m.as_str() {
        "none" => {}
        "upmap" => {
            let have = core.osd.map.require_min_compat_client;
            if have < release::parse("luminous").unwrap_or(u8::MAX) {
                return fail(
                    Errno::EPERM,
                    format!(
                        "min_compat_client \"{}\" < \"luminous\", which is required for pg-upmap. Try \"ceph osd \
                         set-require-min-compat-client luminous\" before enabling this mode",
                        release::name(have)
                    ),
                );
            }
        }
        "crush-compat" => return fail(Errno::EOPNOTSUPP, "mode crush-compat is not supported; use upmap"),
        _ => return fail(Errno::EINVAL, format!("{m} not in none|crush-compat|upmap")),
    }
    save(core, "mode", m);
    done("")
}

fn on_off(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    save(core, "active", (a.prefix == "balancer on").to_string());
    done("")
}

fn ls(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    text(pretty(&json!(core.balancer.plans.keys().collect::<Vec<_>>())) + "\n")
}

/// The map with a plan carried out.
fn planned(core: &MonCore, p: &Plan) -> OsdMap {
    let mut m = core.osd.map.clone();
    apply(&mut m, p);
    m
}

fn apply(m: &mut OsdMap, p: &Plan) {
    let all = Arc::make_mut(&mut m.pg_upmap_items);
    for (pg, items) in &p.items {
        if items.is_empty() {
            all.remove(pg);
        } else {
            all.insert(*pg, items.clone());
        }
    }
}

fn eval(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let all = pools(core);
    let line = |what: &str, score: f64| text(format!("{what} score {score:.6} (lower is better)\n"));
    let Some(option) = a.str("option") else {
        return line("current cluster", upmaps::score(&core.osd.map, &all).0);
    };
    if let Some(p) = core.balancer.plans.get(&option) {
        return line(&format!("plan {option} final"), upmaps::score(&planned(core, p), &all).0);
    }
    match core.osd.map.pool_by_name(&option) {
        Some(id) => line(&format!("pool \"{option}\""), upmaps::score(&core.osd.map, &[id]).0),
        None => fail(Errno::EINVAL, format!("option \"{option}\" not a plan or a pool")),
    }
}

fn compute(core: &MonCore, pools: &[PoolId]) -> Plan {
    let mut m = core.osd.map.clone();
    let before = upmaps::score(&m, pools).0;
    upmaps::optimize(&mut m, pools, limits(core));
    let old = &core.osd.map.pg_upmap_items;
    let mut items: BTreeMap<PgId, Vec<(OsdId, OsdId)>> = m
        .pg_upmap_items
        .iter()
        .filter(|(pg, i)| old.get(pg) != Some(i))
        .map(|(pg, i)| (*pg, i.clone()))
        .collect();
    items.extend(old.keys().filter(|pg| !m.pg_upmap_items.contains_key(pg)).map(|pg| (*pg, Vec::new())));
    Plan { epoch: m.epoch, items, before, after: upmaps::score(&m, pools).0 }
}

fn optimize(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if active(core) {
        return fail(Errno::EINVAL, "Balancer enabled, disable to optimize manually");
    }
    let name = need(a, "plan")?;
    let mut ids = Vec::new();
    let mut bad = Vec::new();
    for n in a.list("pools") {
        match core.osd.map.pool_by_name(&n) {
            Some(id) => ids.push(id),
            None => bad.push(format!("'{n}'")),
        }
    }
    if !bad.is_empty() {
        return fail(Errno::EINVAL, format!("pools [{}] not found", bad.join(", ")));
    }
    if current_mode(core) != "upmap" {
        return fail(Errno::EINVAL, "Please do \"ceph balancer mode\" to choose a valid mode first");
    }
    if core.balancer.plans.len() >= PLANS_MAX && !core.balancer.plans.contains_key(&name) {
        return fail(Errno::ENOSPC, "too many plans; remove some");
    }
    let ids = if ids.is_empty() { pools(core) } else { ids };
    let plan = compute(core, &ids);
    core.balancer.last_started = core.now;
    core.balancer.nothing_to_do = plan.items.is_empty();
    if plan.items.is_empty() {
        core.balancer.result = NOTHING.into();
        return fail(Errno::EALREADY, NOTHING);
    }
    core.balancer.result = "Optimization plan created successfully".into();
    core.balancer.plans.insert(name, plan);
    text("")
}

fn plan<'a>(core: &'a MonCore, name: &str) -> Result<&'a Plan, (Errno, String)> {
    core.balancer.plans.get(name).ok_or_else(|| (Errno::ENOENT, format!("plan {name} not found")))
}

fn show(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let p = plan(core, &need(a, "plan")?)?;
    let mut out = format!(
        "# starting osdmap epoch {}\n# starting score {:.6}\n# final score {:.6}\n# mode upmap\n",
        p.epoch, p.before, p.after
    );
    for (pg, items) in &p.items {
        if items.is_empty() {
            out += &format!("ceph osd rm-pg-upmap-items {pg}\n");
        } else {
            let list: Vec<String> = items.iter().map(|(f, t)| format!("{f} {t}")).collect();
            out += &format!("ceph osd pg-upmap-items {pg} {}\n", list.join(" "));
        }
    }
    text(out)
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "plan")?;
    core.balancer.plans.remove(&name);
    text("")
}

fn reset(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    core.balancer.plans.clear();
    text("")
}

fn execute(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if active(core) {
        return fail(Errno::EINVAL, "Balancer enabled, disable to execute a plan");
    }
    let name = need(a, "plan")?;
    let p = plan(core, &name)?.clone();
    apply(core.osd.next(), &p);
    core.balancer.plans.remove(&name);
    done("")
}

fn pool_ls(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let ids = setting(core, "pool_ids").unwrap_or_default();
    let names: Vec<&str> =
        ids.split(',').filter_map(|p| m.pool_name(PoolId(p.trim().parse().ok()?))).collect();
    if names.is_empty() { text("") } else { text(pretty(&json!(names)) + "\n") }
}

fn pool_change(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut ids: Vec<i64> = setting(core, "pool_ids")
        .unwrap_or_default()
        .split(',')
        .filter_map(|p| p.trim().parse().ok())
        .collect();
    let mut bad = Vec::new();
    for n in a.list("pools") {
        match core.osd.map.pool_by_name(&n) {
            Some(id) if a.prefix == "balancer pool add" => ids.push(id.0),
            Some(id) => ids.retain(|i| *i != id.0),
            None => bad.push(format!("'{n}'")),
        }
    }
    if !bad.is_empty() && a.prefix == "balancer pool add" {
        return fail(Errno::EINVAL, format!("pool(s) [{}] not found", bad.join(", ")));
    }
    ids.sort_unstable();
    ids.dedup();
    let list: Vec<String> = ids.iter().map(i64::to_string).collect();
    save(core, "pool_ids", list.join(","));
    done("")
}

/// Balances by itself where that is on: a few moves at a time, and only while little is misplaced.
pub(crate) fn tick(core: &mut MonCore) {
    if !active(core) || current_mode(core) != "upmap" {
        return;
    }
    let every = Duration::from_secs_f64(number(core, "sleep_interval", 60.0).clamp(1.0, 86_400.0));
    if core.now.since(core.balancer.last_started) < every {
        return;
    }
    core.balancer.last_started = core.now;
    core.balancer.nothing_to_do = false;
    let pgs = core.pgmap.pgs.len().max(1) as f64;
    let share = |f: &dyn Fn(u64) -> bool| core.pgmap.pgs.values().filter(|s| f(s.state)).count() as f64 / pgs;
    let unknown = share(&|s| s == 0);
    let inactive = share(&|s| s & pg_state::ACTIVE == 0);
    let sum = core.pgmap.total();
    let copies = sum.num_object_copies.max(1) as f64;
    let (degraded, misplaced) =
        (sum.num_objects_degraded as f64 / copies, sum.num_objects_misplaced as f64 / copies);
    let most = core.cfg.num("target_max_misplaced_ratio");
    let reason = if unknown > 0.0 {
        Some(format!("Some PGs ({unknown:.6}) are unknown; try again later"))
    } else if degraded > 0.0 {
        Some(format!("Some objects ({degraded:.6}) are degraded; try again later"))
    } else if inactive > 0.0 {
        Some(format!("Some PGs ({inactive:.6}) are inactive; try again later"))
    } else if misplaced >= most {
        Some(format!("Too many objects ({misplaced:.6} > {most:.6}) are misplaced; try again later"))
    } else {
        None
    };
    if let Some(r) = reason {
        core.balancer.result = r;
        return;
    }
    let ids = pools(core);
    let p = compute(core, &ids);
    core.balancer.nothing_to_do = p.items.is_empty();
    if p.items.is_empty() {
        core.balancer.result = NOTHING.into();
        return;
    }
    core.balancer.result = "Optimization plan created successfully".into();
    apply(core.osd.next(), &p);
}
