//! `service *`, and `mgr *` that read the MgrMap.

use super::mon_cmds::{addrvec, legacy};
use super::{Args, CmdResult, Ctx, Handler, as_json, fail};
use crate::core::MonCore;
use serde_json::{Map, Value, json};
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("service dump", service_dump),
    ("service status", service_status),
    ("mgr dump", mgr_dump),
    ("mgr stat", mgr_stat),
    ("mgr services", mgr_services),
    ("mgr module ls", module_ls),
    ("mgr metadata", mgr_metadata),
    ("mgr versions", mgr_versions),
];

/// Service daemons that registered with the manager.
pub(super) fn services(core: &MonCore) -> Map<String, Value> {
    let mut out: Map<String, Value> = Map::new();
    for d in core.mgr.daemons.values().filter(|d| d.service) {
        let Some((service, id)) = d.name.split_once('.') else { continue };
        let s = out.entry(service.to_owned()).or_insert_with(|| json!({"daemons": {"summary": ""}}));
        s["daemons"][id] = json!({
            "start_epoch": 1, "start_stamp": d.since.to_string(), "gid": d.gid, "addr": "(unrecognized address family 0)/0",
            "metadata": d.metadata, "task_status": {},
        });
    }
    out
}
/// The service map.
pub(super) fn servicemap(core: &MonCore) -> Value {
    let n = core.mgr.daemons.values().filter(|d| d.service).count();
    json!({"epoch": 1 + n, "modified": core.started.to_string(), "services": services(core)})
}
fn service_dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &servicemap(core))
}
fn service_status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut out: Map<String, Value> = Map::new();
    for d in core.mgr.daemons.values().filter(|d| d.service) {
        let Some((service, id)) = d.name.split_once('.') else { continue };
        let s = out.entry(service.to_owned()).or_insert_with(|| json!({}));
        s[id] = json!({"status_stamp": d.since.to_string(), "last_beacon": d.since.to_string(), "status": d.status});
    }
    as_json(a, &Value::Object(out))
}

fn mgr_dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.mgr.map;
    let v = json!({
        "epoch": m.epoch.0, "active_gid": m.active_gid, "active_name": m.active_name, "active_addrs": addrvec(&m.active_addrs),
        "active_addr": legacy(&m.active_addrs), "active_change": m.active_change.to_string(), "active_mgr_features": m.active_mgr_features,
        "available": m.available, "standbys": [], "modules": m.modules, "available_modules": [],
        "services": m.services, "always_on_modules": {}, "last_failure_osd_epoch": m.last_failure_osd_epoch.0, "active_clients": [],
    });
    as_json(a, &v)
}
fn mgr_stat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.mgr.map;
    as_json(
        a,
        &json!({"epoch": m.epoch.0, "available": m.available, "active_name": m.active_name, "num_standby": m.standbys.len()}),
    )
}
fn mgr_services(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &json!(core.mgr.map.services))
}
fn module_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(
        a,
        &json!({"always_on_modules": [], "enabled_modules": core.mgr.map.modules, "disabled_modules": []}),
    )
}
fn mgr_metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.mgr.map;
    let mut v = Map::new();
    v.insert("name".into(), m.active_name.clone().into());
    v.insert(
        "addr".into(),
        m.active_addrs.legacy_or_front().sock.map(|s| s.ip().to_string()).unwrap_or_default().into(),
    );
    v.insert("addrs".into(), m.active_addrs.to_string().into());
    for (k, x) in core.mon_metadata.get(&m.active_name).into_iter().flatten() {
        v.insert(k.clone(), x.clone().into());
    }
    match a.str("who") {
        Some(w) if w != m.active_name => fail(Errno::ENOENT, format!("mgr.{w} does not exist")),
        Some(_) => as_json(a, &Value::Object(v)),
        None => as_json(a, &json!([v])),
    }
}
fn mgr_versions(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = core.cfg.version.clone();
    as_json(a, &json!({ v: 1 }))
}
