//! `ceph -s`.

use super::health_cmds::{health_json, muted_text, status_name};
use super::map_cmds::{servicemap, services};
use super::pg_cmds::{pg_bars, pgmap_summary_json, rate_lines};
use super::{Args, CmdResult, Ctx, Handler, render};
use crate::core::MonCore;
use crate::fmt::{byte_u, pretty_timespan_span, si_u};
use serde_json::{Value, json};
use types::Utime;
use types::osdmap::flag;

pub(super) const TABLE: &[(&str, Handler)] = &[("status", status)];

/// Flags that summaries do not name because every cluster has them.
const QUIET_FLAGS: u32 =
    flag::SORTBITWISE | flag::RECOVERY_DELETES | flag::PURGED_SNAPDIRS | flag::PGLOG_HARDLIMIT;

fn ago(core: &MonCore, t: Utime) -> String {
    pretty_timespan_span(core.now.since(t).as_secs_f64())
}

/// Number of PGs whose acting set is not their up set.
pub(super) fn remapped(core: &MonCore) -> usize {
    let m = &core.osd.map;
    let keys: std::collections::BTreeSet<_> = m.pg_temp.keys().chain(m.primary_temp.keys()).collect();
    keys.len()
}

/// `3 osds: 3 up (since 2m), 3 in (since 3m); epoch: e16` and the line of flags; `epoch` adds the epoch.
pub(super) fn osd_summary(core: &MonCore, epoch: bool, indent: &str) -> String {
    let m = &core.osd.map;
    let mut s = format!("{} osds: {} up", m.num_osds(), m.num_up());
    if !m.last_up_change.is_zero() {
        s.push_str(&format!(" (since {})", ago(core, m.last_up_change)));
    }
    s.push_str(&format!(", {} in", m.num_in()));
    if !m.last_in_change.is_zero() {
        s.push_str(&format!(" (since {})", ago(core, m.last_in_change)));
    }
    if epoch {
        s.push_str(&format!("; epoch: e{}", m.epoch));
    }
    match remapped(core) {
        0 => {}
        n => s.push_str(&format!("; {n} remapped pgs")),
    }
    s.push('\n');
    let names = crate::health::flag_names(m.flags & !QUIET_FLAGS);
    if !names.is_empty() {
        s.push_str(&format!("{indent}flags {names}\n"));
    }
    s
}

/// The `osdmap` object.
pub(super) fn osd_summary_json(core: &MonCore) -> Value {
    let m = &core.osd.map;
    json!({
        "epoch": m.epoch.0, "num_osds": m.num_osds(), "num_up_osds": m.num_up(), "osd_up_since": m.last_up_change.sec,
        "num_in_osds": m.num_in(), "osd_in_since": m.last_in_change.sec, "num_remapped_pgs": remapped(core),
    })
}

fn status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let checks = core.checks();
    let age = core.now.since(core.quorum.since);
    let mgr = core.mgr.map.clone();
    let v = json!({
        "fsid": core.fsid().to_string(), "health": health_json(core, &checks, false), "election_epoch": core.quorum.election_epoch,
        "quorum": core.quorum_ranks(), "quorum_names": core.quorum_names(), "quorum_age": age.as_secs(),
        "monmap": {
            "epoch": core.monmap().epoch.0, "min_mon_release_name": types::osdmap::release::name(core.monmap().min_mon_release),
            "num_mons": core.monmap().mons.len(),
        },
        "osdmap": osd_summary_json(core), "pgmap": pgmap_summary_json(core),
        "fsmap": super::fs_status::summary_json(&core.mds.map),
        "mgrmap": {"available": mgr.available, "num_standbys": mgr.standbys.len(), "modules": mgr.modules, "services": mgr.services},
        "servicemap": servicemap(core), "progress_events": progress_json(core),
    });
    let core = &*core;
    render(a, &v, || plain(core, &checks))
}

/// `x(active, since 2m), standbys: y`.
pub(crate) fn manager_line(core: &MonCore) -> String {
    let m = &core.mgr.map;
    let external = core.mgr.external;
    let mut s = String::new();
    if m.available || (external && m.active_gid != 0) {
        // An external manager's time does not begin with ours.
        let since = if external { m.active_change } else { m.active_change.max(core.started) };
        let starting = if m.available { "" } else { "starting, " };
        s.push_str(&format!("{}(active, {starting}since {})", m.active_name, ago(core, since)));
    } else {
        s.push_str("no daemons active");
        if external && !m.active_change.is_zero() {
            s.push_str(&format!(" (since {})", ago(core, m.active_change)));
        }
    }
    if !m.standbys.is_empty() {
        let names: Vec<&str> = m.standbys.values().map(|s| s.name.as_str()).collect();
        s.push_str(&format!(", standbys: {}", names.join(", ")));
    }
    s
}

fn plain(core: &MonCore, checks: &crate::health::Checks) -> String {
    let mut s =
        format!("  cluster:\n    id:     {}\n    health: {}\n", core.fsid(), status_name(core, checks));
    let mut order: Vec<_> = checks.iter().filter(|(c, _)| core.health.mutes.get(c).is_none()).collect();
    order.sort_by_key(|x| std::cmp::Reverse(x.1.severity));
    for (_, c) in order {
        s.push_str(&format!("            {}\n", c.summary));
    }
    if let Some(m) = muted_text(core) {
        s.push_str(&format!("            {m}\n"));
    }
    let n = core.monmap().mons.len();
    let age = ago(core, core.quorum.since);
    let quorum = core.quorum_names();
    let out: Vec<&str> =
        core.monmap().ranks.iter().filter(|n| !quorum.contains(n)).map(String::as_str).collect();
    s.push_str(&format!(" \n  services:\n    mon: {n} daemons, quorum {} (age {age})", quorum.join(",")));
    if !out.is_empty() {
        s.push_str(&format!(", out of quorum: {}", out.join(", ")));
    }
    s.push('\n');
    s.push_str(&format!("    mgr: {}\n", manager_line(core)));
    if let Some(line) = super::fs_status::daemons_line(&core.mds.map) {
        s.push_str(&format!("    mds: {line}\n"));
    }
    s.push_str(&format!("    osd: {}", osd_summary(core, false, "         ")));
    for (name, v) in services(core) {
        let n = v["daemons"].as_object().map_or(0, |d| d.len().saturating_sub(1));
        s.push_str(&format!("    {name}: {n} daemon{} active ({n} hosts)\n", if n == 1 { "" } else { "s" }));
    }
    let (sum, space) = (core.pgmap.total(), core.pgmap.osd_sum());
    s.push_str(&format!(
        " \n  data:\n{}    pools:   {} pools, {} pgs\n    objects: {} objects, {}\n    usage:   {} used, {} / {} avail\n",
        super::fs_status::volumes_line(&core.mds.map),
        core.osd.map.pools.len(),
        core.pgmap.num_pgs(),
        si_u(sum.num_objects.max(0) as u64),
        byte_u(sum.num_bytes.max(0) as u64),
        byte_u(space.used_raw()),
        byte_u(space.available),
        byte_u(space.total),
    ));
    s.push_str("    pgs:     ");
    s.push_str(&pg_bars(core));
    let io = rate_lines(core);
    if !io.is_empty() {
        s.push_str(" \n  io:\n");
        for (k, v) in io {
            s.push_str(&format!("    {:<10}{v}\n", format!("{k}:")));
        }
    }
    s.push_str(&progress_text(core));
    s.push_str(" \n");
    s
}

/// What goes on, as the status shows it: the built-in manager's word, or an external one's.
fn progress_text(core: &MonCore) -> String {
    if !core.mgr.external {
        return core.progress.status_text(core.now);
    }
    let events = core.manager_report().into_iter().flat_map(|r| r.progress.values());
    let lines: String = events.filter(|e| e.add_to_ceph_s).map(|e| format!("    {}\n", e.message)).collect();
    if lines.is_empty() { lines } else { format!(" \n  progress:\n{lines}") }
}

fn progress_json(core: &MonCore) -> Value {
    if !core.mgr.external {
        return core.progress.status_json(core.now);
    }
    let events = core.manager_report().into_iter().flat_map(|r| &r.progress);
    events
        .map(|(id, e)| {
            let v = json!({"message": e.message, "progress": f64::from(e.progress), "add_to_ceph_s": e.add_to_ceph_s});
            (id.clone(), v)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}
