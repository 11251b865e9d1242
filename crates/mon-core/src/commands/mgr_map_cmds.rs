//! `mgr dump|stat|services|module|metadata|versions|fail`: the MgrMap, whoever has the manager's role.

use super::mon_cmds::{addrvec, legacy};
use super::{Args, CmdResult, Ctx, Handler, as_json, done, fail, need};
use crate::core::MonCore;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use types::Errno;
use types::mgrmap::{MgrMap, ModuleInfo, ModuleOption};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("mgr dump", dump),
    ("mgr stat", stat),
    ("mgr services", services),
    ("mgr module ls", module_ls),
    ("mgr module enable", module_enable),
    ("mgr module disable", module_disable),
    ("mgr metadata", metadata),
    ("mgr versions", versions),
    ("mgr count-metadata", count_metadata),
    ("mgr fail", mgr_fail),
];

/// Release that these monitors say they are: whose list of modules that are always on counts.
const RELEASE: u32 = 16;

/// Refuses what only an external manager can be told.
fn external_only(core: &MonCore) -> Result<(), (Errno, String)> {
    if core.mgr.peek_external() {
        return Ok(());
    }
    let text = "the monitors have the manager's role: it has no modules and moves with the leader \
                (`ceph config set mon mon_mgr_builtin false` gives the role to external managers)";
    Err((Errno::EOPNOTSUPP, text.to_owned()))
}

fn option_json(o: &ModuleOption) -> Value {
    const TYPES: [&str; 11] =
        ["uint", "int", "str", "float", "bool", "addr", "addrvec", "uuid", "size", "secs", "millisecs"];
    const LEVELS: [&str; 4] = ["basic", "advanced", "dev", "unknown"];
    let word = |list: &[&'static str], n: u8| list.get(usize::from(n)).copied().unwrap_or("unknown");
    json!({
        "name": o.name, "type": word(&TYPES, o.kind), "level": word(&LEVELS, o.level), "flags": o.flags,
        "default_value": o.default_value, "min": o.min, "max": o.max, "enum_allowed": o.enum_allowed,
        "desc": o.desc, "long_desc": o.long_desc, "tags": o.tags, "see_also": o.see_also,
    })
}

fn module_json(m: &ModuleInfo) -> Value {
    let options: Map<String, Value> =
        m.module_options.iter().map(|(name, o)| (name.clone(), option_json(o))).collect();
    json!({"name": m.name, "can_run": m.can_run, "error_string": m.error_string, "module_options": options})
}

fn dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.mgr.map;
    if let Some(e) = a.int("epoch").filter(|e| *e != i64::from(m.epoch.0)) {
        return fail(Errno::ENOENT, format!("there is no map for epoch {e}"));
    }
    let standbys: Vec<Value> = m
        .standbys
        .values()
        .map(|s| {
            let modules: Vec<Value> = s.available_modules.iter().map(module_json).collect();
            json!({"gid": s.gid, "name": s.name, "mgr_features": s.mgr_features, "available_modules": modules})
        })
        .collect();
    let modules: Vec<Value> = m.available_modules.iter().map(module_json).collect();
    let always: Map<String, Value> = m
        .always_on_modules
        .iter()
        .map(|(release, names)| {
            let release = u8::try_from(*release).map_or("unknown", types::osdmap::release::name);
            (release.to_owned(), json!(names))
        })
        .collect();
    let active_addr = match m.active_addrs.0.is_empty() {
        true => "(unrecognized address family 0)/0".to_owned(),
        false => legacy(&m.active_addrs),
    };
    let clients: Vec<Value> = m.clients.iter().map(|(_, a)| addrvec(a)).collect();
    let v = json!({
        "epoch": m.epoch.0, "active_gid": m.active_gid, "active_name": m.active_name, "active_addrs": addrvec(&m.active_addrs),
        "active_addr": active_addr, "active_change": m.active_change.to_string(), "active_mgr_features": m.active_mgr_features,
        "available": m.available, "standbys": standbys, "modules": m.modules, "available_modules": modules,
        "services": m.services, "always_on_modules": always, "last_failure_osd_epoch": m.last_failure_osd_epoch.0,
        "active_clients": clients,
    });
    as_json(a, &v)
}

fn stat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.mgr.map;
    as_json(
        a,
        &json!({"epoch": m.epoch.0, "available": m.available, "active_name": m.active_name, "num_standby": m.standbys.len()}),
    )
}

fn services(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &json!(core.mgr.map.services))
}

/// Modules that cannot be turned off.
fn always_on(m: &MgrMap) -> BTreeSet<String> {
    m.always_on_modules.get(&RELEASE).cloned().unwrap_or_default()
}

fn module_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.mgr.map;
    let always = always_on(m);
    let enabled: Vec<&String> = m.modules.iter().filter(|n| !always.contains(*n)).collect();
    let off =
        m.available_modules.iter().filter(|i| !m.modules.contains(&i.name) && !always.contains(&i.name));
    let disabled: Vec<Value> = off.map(module_json).collect();
    as_json(
        a,
        &json!({"always_on_modules": always, "enabled_modules": enabled, "disabled_modules": disabled}),
    )
}

/// All managers have a module; and what keeps the active one from running it.
fn support(m: &MgrMap, module: &str) -> (bool, Option<String>) {
    let has = |list: &[ModuleInfo]| list.iter().any(|i| i.name == module);
    let all = has(&m.available_modules) && m.standbys.values().all(|s| has(&s.available_modules));
    let active = m.available_modules.iter().find(|i| i.name == module);
    (all, active.filter(|i| !i.can_run).map(|i| i.error_string.clone()))
}

fn module_enable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    external_only(core)?;
    let module = need(a, "module")?;
    let m = core.mgr.peek();
    if always_on(m).contains(&module) {
        return done(format!("module '{module}' is already enabled (always-on)"));
    }
    let (all, cannot) = support(m, &module);
    let force = a.flag("force");
    if !force && !all {
        let text =
            format!("all mgr daemons do not support module '{module}', pass --force to force enablement");
        return fail(Errno::ENOENT, text);
    }
    if let Some(why) = cannot.filter(|_| !force) {
        let text = format!(
            "module '{module}' reports that it cannot run on the active manager daemon: {why} (pass --force to force enablement)"
        );
        return fail(Errno::ENOENT, text);
    }
    let mut modules = m.modules.clone();
    if !modules.insert(module.clone()) {
        return done(format!("module '{module}' is already enabled"));
    }
    core.mgr.choose_modules(modules);
    done("")
}

fn module_disable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    external_only(core)?;
    let module = need(a, "module")?;
    let m = core.mgr.peek();
    if always_on(m).contains(&module) {
        return fail(Errno::EINVAL, format!("module '{module}' cannot be disabled (always-on)"));
    }
    let mut modules = m.modules.clone();
    if !modules.remove(&module) {
        return done(format!("module '{module}' is already disabled"));
    }
    core.mgr.choose_modules(modules);
    done("")
}

/// Names of the managers that tell something of themselves, each with it.
pub(super) fn managers(core: &MonCore) -> BTreeMap<String, BTreeMap<String, String>> {
    let m = &core.mgr.map;
    if core.mgr.external {
        let of = |n: String| core.mgr.metadata.get(&n).cloned().map(|t| (n, t));
        return core.mgr.names().into_iter().filter_map(of).collect();
    }
    if m.active_gid == 0 {
        return BTreeMap::new();
    }
    let mut all = core.mon_metadata.get(&m.active_name).cloned().unwrap_or_default();
    let addr = m.active_addrs.legacy_or_front().sock.map(|s| s.ip().to_string()).unwrap_or_default();
    all.insert("addr".into(), addr);
    all.insert("addrs".into(), m.active_addrs.to_string());
    BTreeMap::from([(m.active_name.clone(), all)])
}

fn metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let all = managers(core);
    let show = |name: &String, m: &BTreeMap<String, String>| {
        let mut v = Map::new();
        v.insert("name".into(), name.clone().into());
        v.extend(m.iter().filter(|(k, _)| *k != "name").map(|(k, x)| (k.clone(), Value::from(x.clone()))));
        Value::Object(v)
    };
    match a.str("who").filter(|w| !w.is_empty()) {
        Some(w) => match all.get(&w) {
            Some(m) => as_json(a, &show(&w, m)),
            None => fail(Errno::ENOENT, format!("mgr.{w} does not exist")),
        },
        None => as_json(a, &all.iter().map(|(n, m)| show(n, m)).collect()),
    }
}

/// How many managers say what of one thing.
pub(super) fn count(core: &MonCore, what: &str) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for m in managers(core).values() {
        *out.entry(m.get(what).cloned().unwrap_or_else(|| "unknown".to_owned())).or_insert(0) += 1;
    }
    out
}

fn versions(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if !core.mgr.external {
        let v = core.cfg.version.clone();
        return as_json(a, &json!({ v: 1 }));
    }
    as_json(a, &json!(count(core, "ceph_version")))
}

fn count_metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let what = need(a, "property")?;
    as_json(a, &json!(count(core, &what)))
}

fn mgr_fail(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    external_only(core)?;
    match core.fail_mgr(a.str("who").filter(|w| !w.is_empty()).as_deref()) {
        Ok(()) => done(""),
        // (As stock: it is no failure that there is nothing to fail.)
        Err(text) => done(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_supported_where_all_have_it_and_the_active_one_can_run_it() {
        let info = |name: &str, can_run| ModuleInfo {
            name: name.to_owned(),
            can_run,
            error_string: if can_run { String::new() } else { "no cherrypy".to_owned() },
            ..ModuleInfo::default()
        };
        let mut m =
            MgrMap { available_modules: vec![info("a", true), info("b", false)], ..MgrMap::default() };
        assert_eq!(support(&m, "a"), (true, None));
        assert_eq!(support(&m, "b"), (true, Some("no cherrypy".to_owned())));
        assert_eq!(support(&m, "c"), (false, None));
        m.standbys.insert(1, types::mgrmap::StandbyInfo::default());
        assert_eq!(support(&m, "a"), (false, None));
    }
}
