//! `service *`: daemons that registered with the manager.

use super::mon_cmds::bare;
use super::{Args, CmdResult, Ctx, Handler, as_json};
use crate::core::MonCore;
use serde_json::{Map, Value, json};
use types::servicemap::{Service, ServiceMap};

pub(super) const TABLE: &[(&str, Handler)] =
    &[("service dump", service_dump), ("service status", service_status)];

/// An external manager's service.
fn service_json(s: &Service) -> Value {
    let mut daemons = Map::new();
    daemons.insert("summary".into(), s.summary.clone().into());
    for (id, d) in &s.daemons {
        let v = json!({
            "start_epoch": d.start_epoch.0, "start_stamp": d.start_stamp.to_string(), "gid": d.gid, "addr": bare(&d.addr),
            "metadata": d.metadata, "task_status": d.task_status,
        });
        daemons.insert(id.clone(), v);
    }
    json!({ "daemons": daemons })
}

/// The external manager's service map; `None` while the role is the monitors' own.
fn told(core: &MonCore) -> Option<ServiceMap> {
    core.mgr.external.then(|| core.manager_report().map(|r| r.services.clone()).unwrap_or_default())
}

/// Service daemons that registered with the manager.
pub(super) fn services(core: &MonCore) -> Map<String, Value> {
    if let Some(m) = told(core) {
        return m.services.iter().map(|(name, s)| (name.clone(), service_json(s))).collect();
    }
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
    if let Some(m) = told(core) {
        return json!({"epoch": m.epoch.0, "modified": m.modified.to_string(), "services": services(core)});
    }
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
