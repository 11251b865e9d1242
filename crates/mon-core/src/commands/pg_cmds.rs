//! `pg stat|ls*|map|dump*|debug|scrub…`, and the PG part of `ceph -s`.

use super::pg_dump::{list, pg_json, pg_list_table};
use super::{Args, CmdResult, Ctx, Format, Handler, as_json, fail, need, render, text_outs};
use crate::core::MonCore;
use crate::event::MonEffect;
use crate::fmt::{byte_u, compact, si_u};
use crate::pgmap::Rates;
use messages::{MOsdScrub2, Message};
use serde_json::{Value, json};
use types::osdmap::OsdMap;
use types::pgstat::{ObjectStatSum, PgStat, pg_state};
use types::{Errno, OsdId, PgId, PoolId, SpgId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("pg stat", stat),
    ("pg map", map),
    ("pg ls", ls),
    ("pg ls-by-pool", ls),
    ("pg ls-by-osd", ls),
    ("pg ls-by-primary", ls),
    ("pg dump", super::pg_dump::dump),
    ("pg dump_json", super::pg_dump::dump_json),
    ("pg dump_pools_json", super::pg_dump::dump_pools_json),
    ("pg dump_stuck", dump_stuck),
    ("pg debug", debug),
    ("pg scrub", scrub_pg),
    ("pg deep-scrub", scrub_pg),
    ("pg repair", scrub_pg),
    ("pg force-recovery", force),
    ("pg force-backfill", force),
    ("pg cancel-force-recovery", force),
    ("pg cancel-force-backfill", force),
    ("osd pool force-recovery", force),
    ("osd pool force-backfill", force),
    ("osd pool cancel-force-recovery", force),
    ("osd pool cancel-force-backfill", force),
];

/// `3/9 objects degraded (33.333%)` and its kind.
pub(super) fn recovery_lines(s: &ObjectStatSum) -> Vec<String> {
    let mut out = Vec::new();
    let pct = |n: i64, of: i64| n as f64 * 100.0 / of as f64;
    if s.num_objects_degraded != 0 && s.num_object_copies > 0 {
        let (n, of) = (s.num_objects_degraded, s.num_object_copies);
        out.push(format!("{n}/{of} objects degraded ({:.3}%)", pct(n, of)));
    }
    if s.num_objects_misplaced != 0 && s.num_object_copies > 0 {
        let (n, of) = (s.num_objects_misplaced, s.num_object_copies);
        out.push(format!("{n}/{of} objects misplaced ({:.3}%)", pct(n, of)));
    }
    if s.num_objects_unfound != 0 && s.num_objects > 0 {
        let (n, of) = (s.num_objects_unfound, s.num_objects);
        out.push(format!("{n}/{of} objects unfound ({:.3}%)", pct(n, of)));
    }
    out
}

/// The same as JSON members.
pub(super) fn recovery_json(s: &ObjectStatSum, v: &mut Value) {
    let mut add = |what: &str, total: &str, n: i64, of: i64| {
        if n != 0 && of > 0 {
            v[format!("{what}_objects")] = n.into();
            v[format!("{what}_total")] = of.into();
            v[format!("{what}_ratio")] = json!(n as f64 / of as f64);
            let _ = total;
        }
    };
    add("degraded", "", s.num_objects_degraded, s.num_object_copies);
    add("misplaced", "", s.num_objects_misplaced, s.num_object_copies);
    add("unfound", "", s.num_objects_unfound, s.num_objects);
}

/// Client traffic as text.
pub(super) fn client_rate(r: &Rates) -> Option<String> {
    if !r.client_active() {
        return None;
    }
    let mut s = String::new();
    if r.rd_bytes > 0 {
        s.push_str(&format!("{}/s rd, ", byte_u(r.rd_bytes)));
    }
    if r.wr_bytes > 0 {
        s.push_str(&format!("{}/s wr, ", byte_u(r.wr_bytes)));
    }
    s.push_str(&format!("{} op/s rd, {} op/s wr", si_u(r.rd_ops), si_u(r.wr_ops)));
    Some(s)
}

/// Recovery traffic as text.
pub(super) fn recovery_rate(r: &Rates) -> Option<String> {
    if !r.recovery_active() {
        return None;
    }
    let mut s = format!("{}/s", byte_u(r.rec_bytes));
    if r.rec_keys > 0 {
        s.push_str(&format!(", {} keys/s", si_u(r.rec_keys)));
    }
    if r.rec_objects > 0 {
        s.push_str(&format!(", {} objects/s", si_u(r.rec_objects)));
    }
    Some(s)
}

/// Client and recovery lines of the status.
pub(super) fn rate_lines(core: &MonCore) -> Vec<(&'static str, String)> {
    let r = core.pgmap.rates();
    let mut out = Vec::new();
    if let Some(s) = client_rate(&r) {
        out.push(("client", s));
    }
    if let Some(s) = recovery_rate(&r) {
        out.push(("recovery", s));
    }
    out
}

fn ratios(core: &MonCore) -> (f32, f32) {
    let total = core.pgmap.num_pgs();
    let (unknown, active) = core.pgmap.unknown_and_active();
    let inactive = total.saturating_sub(unknown + active);
    let of = |n: usize| if total == 0 { 0.0 } else { n as f32 / total as f32 };
    (of(unknown), of(inactive))
}

/// The lines behind `pgs:` of the status.
pub(super) fn pg_bars(core: &MonCore) -> String {
    let mut lines = Vec::new();
    let (unknown, inactive) = ratios(core);
    if unknown > 0.0 {
        lines.push(format!("{:.3}% pgs unknown", unknown * 100.0));
    }
    if inactive > 0.0 {
        lines.push(format!("{:.3}% pgs not active", inactive * 100.0));
    }
    lines.extend(recovery_lines(&core.pgmap.total()));
    let states = core.pgmap.states_by_count();
    let width = states.iter().map(|(n, _)| n.to_string().len()).max().unwrap_or(1);
    lines.extend(states.iter().map(|(n, s)| format!("{n:<width$} {s}")));
    if lines.is_empty() {
        return "\n".to_owned();
    }
    lines.join("\n             ") + "\n"
}

/// The `pgmap` object of the status.
pub(super) fn pgmap_summary_json(core: &MonCore) -> Value {
    let m = &core.pgmap;
    let (sum, space) = (m.total(), m.osd_sum());
    let states: Vec<Value> =
        m.states_by_count().into_iter().map(|(n, s)| json!({"state_name": s, "count": n})).collect();
    let mut v = json!({
        "pgs_by_state": states, "num_pgs": m.num_pgs(), "num_pools": core.osd.map.pools.len(), "num_objects": sum.num_objects,
        "data_bytes": sum.num_bytes, "bytes_used": space.used_raw(), "bytes_avail": space.available, "bytes_total": space.total,
    });
    let (unknown, inactive) = ratios(core);
    if unknown > 0.0 {
        v["unknown_pgs_ratio"] = json!(f64::from(unknown));
    }
    if inactive > 0.0 {
        v["inactive_pgs_ratio"] = json!(f64::from(inactive));
    }
    recovery_json(&sum, &mut v);
    let r = m.rates();
    rates_json(&r, &mut v);
    v
}

/// Rates as JSON members; only those that are not zero, as stock does.
pub(super) fn rates_json(r: &Rates, v: &mut Value) {
    if r.recovery_active() {
        v["recovering_objects_per_sec"] = r.rec_objects.into();
        v["recovering_bytes_per_sec"] = r.rec_bytes.into();
        v["recovering_keys_per_sec"] = r.rec_keys.into();
    }
    if r.rd_bytes > 0 {
        v["read_bytes_sec"] = r.rd_bytes.into();
    }
    if r.wr_bytes > 0 {
        v["write_bytes_sec"] = r.wr_bytes.into();
    }
    if r.client_active() {
        v["read_op_per_sec"] = r.rd_ops.into();
        v["write_op_per_sec"] = r.wr_ops.into();
    }
}

fn stat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.pgmap;
    let (sum, space) = (m.total(), m.osd_sum());
    let mut states = m.states_by_count();
    states.reverse();
    let by: Vec<Value> = states.iter().map(|(n, s)| json!({"name": s, "num": n})).collect();
    let mut summary = json!({
        "num_pg_by_state": by, "num_pgs": m.num_pgs(), "num_bytes": sum.num_bytes, "total_bytes": space.total,
        "total_avail_bytes": space.available, "total_used_bytes": space.used_raw(), "total_used_raw_bytes": space.used_raw(),
    });
    let r = m.rates();
    rates_json(&r, &mut summary);
    recovery_json(&sum, &mut summary);
    let list: Vec<String> = states.iter().map(|(n, s)| format!("{n} {s}")).collect();
    let mut plain = format!(
        "{} pgs: {}; {} data, {} used, {} / {} avail",
        m.num_pgs(),
        list.join(", "),
        byte_u(sum.num_bytes.max(0) as u64),
        byte_u(space.used_raw()),
        byte_u(space.available),
        byte_u(space.total)
    );
    if let Some(s) = client_rate(&r) {
        plain.push_str(&format!("; {s}"));
    }
    for l in recovery_lines(&sum) {
        plain.push_str(&format!("; {l}"));
    }
    if let Some(s) = recovery_rate(&r) {
        plain.push_str(&format!("; {s} recovering"));
    }
    let v = json!({"pg_ready": true, "pg_summary": summary});
    match a.format() {
        Format::Json => super::text(compact(&v) + "\n"),
        _ => render(a, &v, || plain),
    }
}

/// Parses an id of a PG that the map has.
fn pgid(m: &OsdMap, a: &Args) -> Result<PgId, (Errno, String)> {
    let t = need(a, "pgid")?;
    let pg: PgId = t.parse().map_err(|()| (Errno::EINVAL, format!("invalid pgid '{t}'")))?;
    if m.pool(pg.pool).is_none() {
        return Err((Errno::ENOENT, format!("pg '{t}' does not exist")));
    }
    Ok(pg)
}

fn map(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let raw = pgid(m, a)?;
    let Some(pg) = m.raw_pg_to_pg(raw).filter(|p| m.pg_exists(*p)) else {
        return fail(Errno::ENOENT, format!("pg '{raw}' does not exist"));
    };
    let w = m.pg_to_up_acting_osds(pg).unwrap_or_default();
    let nums = |l: &[OsdId]| -> Vec<i32> { l.iter().map(|o| o.0).collect() };
    let v = json!({"epoch": m.epoch.0, "raw_pgid": raw.to_string(), "pgid": pg.to_string(), "up": nums(&w.up), "acting": nums(&w.acting)});
    render(a, &v, || {
        format!("osdmap e{} pg {raw} ({pg}) -> up {} acting {}", m.epoch, list(&w.up), list(&w.acting))
    })
}

/// `osd.3` or `3`.
fn osd_arg(core: &MonCore, a: &Args) -> Result<OsdId, (Errno, String)> {
    let t = need(a, "osd")?;
    let id = t
        .strip_prefix("osd.")
        .unwrap_or(&t)
        .parse()
        .map_err(|_| (Errno::EINVAL, "bad or missing field 'osd'".to_owned()))?;
    if !core.osd.map.exists(OsdId(id)) {
        return Err((Errno::ENOENT, format!("osd {id} does not exist")));
    }
    Ok(OsdId(id))
}

/// Bits of `active`, `clean`, `inconsistent`, …
fn state_bits(name: &str) -> Option<u64> {
    (0..64).map(|b| 1u64 << b).find(|b| pg_state::name(*b) == name)
}

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut pool: Option<PoolId> = None;
    if let Some(name) = a.str("poolstr") {
        pool = core.osd.map.pool_by_name(&name);
        if pool.is_none() {
            return fail(Errno::ENOENT, format!("pool {name} does not exist"));
        }
    } else if let Some(n) = a.int("pool") {
        pool = Some(PoolId(n)).filter(|p| core.osd.map.pool(*p).is_some());
        if pool.is_none() {
            return fail(Errno::ENOENT, format!("pool {n} does not exist"));
        }
    }
    let osd = if a.has("osd") { Some(osd_arg(core, a)?) } else { None };
    let mut wanted = 0u64;
    for s in a.list("states") {
        match s.as_str() {
            "all" => {}
            s => match state_bits(s) {
                Some(b) => wanted |= b,
                None => return fail(Errno::EINVAL, format!("'{s}' is not a valid pg state")),
            },
        }
    }
    let primary = a.prefix == "pg ls-by-primary";
    let rows: Vec<(&PgId, &PgStat)> = core
        .pgmap
        .pgs
        .iter()
        .filter(|(pg, _)| pool.is_none_or(|p| p == pg.pool))
        .filter(|(_, s)| wanted == 0 || s.state & wanted != 0)
        .filter(|(_, s)| {
            osd.is_none_or(|o| {
                if primary { s.acting_primary == o } else { s.acting.contains(&o) || s.up.contains(&o) }
            })
        })
        .map(|(pg, s)| (pg, &**s))
        .collect();
    let v: Vec<Value> = rows.iter().map(|(pg, s)| pg_json(**pg, s)).collect();
    let v = json!({"pg_ready": true, "pg_stats": v});
    match a.format() {
        Format::Json => super::text(compact(&v) + "\n"),
        _ => render(a, &v, || if rows.is_empty() { String::new() } else { pg_list_table(core.now, &rows) }),
    }
}

fn dump_stuck(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ops = a.list("stuckops");
    let threshold =
        a.int("threshold").unwrap_or_else(|| core.cfg.num("mon_pg_stuck_threshold") as i64).max(0);
    let old = |t: types::Utime| core.now.since(t).as_secs() as i64 >= threshold;
    let any = |name: &str| ops.is_empty() || ops.iter().any(|o| o == name);
    let rows: Vec<(&PgId, &PgStat)> = core
        .pgmap
        .pgs
        .iter()
        .filter(|(_, s)| {
            (any("inactive") && s.state & pg_state::ACTIVE == 0 && old(s.last_active))
                || (any("unclean") && s.state & pg_state::CLEAN == 0 && old(s.last_clean))
                || (any("undersized") && s.state & pg_state::UNDERSIZED != 0 && old(s.last_fullsized))
                || (any("degraded") && s.state & pg_state::DEGRADED != 0 && old(s.last_undegraded))
                || (any("stale") && s.state & pg_state::STALE != 0 && old(s.last_unstale))
        })
        .map(|(pg, s)| (pg, &**s))
        .collect();
    let v: Vec<Value> = rows.iter().map(|(pg, s)| pg_json(**pg, s)).collect();
    let v = json!({"pg_ready": true, "stuck_pg_stats": v});
    let mut o = match a.format() {
        Format::Plain => super::text(super::pg_dump::brief(&rows, true))?,
        Format::Json => super::text(compact(&v) + "\n")?,
        Format::JsonPretty => as_json(a, &v)?,
    };
    o.outs = "ok".into();
    Ok(o)
}

fn debug(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let unfound = core.pgmap.pgs.values().any(|s| s.stats.sum.num_objects_unfound > 0);
    let degraded = core.pgmap.pgs.values().any(|s| s.stats.sum.num_objects_degraded > 0);
    let yes = match a.text("debugop").as_str() {
        "unfound_objects_exist" => unfound,
        "degraded_pgs_exist" => degraded,
        _ => false,
    };
    super::text(if yes { "TRUE\n" } else { "FALSE\n" })
}

/// Tells OSDs to scrub PGs.
pub(super) fn send_scrub(core: &mut MonCore, osd: OsdId, pgs: Vec<PgId>, what: &str) -> bool {
    let target = core.sessions.values().find(|s| {
        s.peer.role == crate::event::Role::Mgr
            && s.osd_id() == Some(osd.0)
            && core.mgr.daemons.contains_key(&s.id)
    });
    let Some((id, f)) = target.map(|s| (s.id, s.features())) else { return false };
    let m = MOsdScrub2 {
        fsid: core.fsid(),
        epoch: core.osd.map.epoch,
        scrub_pgs: pgs.into_iter().map(SpgId::replicated).collect(),
        repair: what == "repair",
        deep: what != "scrub",
    };
    core.effects.push(MonEffect::Send(id, Message::new(&m, f)));
    true
}

fn scrub_pg(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let pg = pgid(&core.osd.map, a)?;
    let what = a.prefix.split(' ').nth(1).unwrap_or("scrub").to_owned();
    let Some(osd) = core.osd.map.acting_primary(pg) else {
        return fail(Errno::EAGAIN, format!("pg {pg} has no primary osd"));
    };
    if !send_scrub(core, osd, vec![pg], &what) {
        return fail(Errno::EAGAIN, format!("pg {pg} primary osd.{osd} is not currently connected"));
    }
    text_outs("", format!("instructing pg {pg} on osd.{osd} to {what}"))
}

/// Priority for the recovery of some PGs. OSDs here take no such order (recovery has one queue), so only what needs none is answered with
/// success.
fn force(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut pgs = Vec::new();
    let mut text = String::new();
    if a.prefix.starts_with("osd pool") {
        for n in a.list("who") {
            match core.osd.map.pool_by_name(&n) {
                Some(id) => pgs.extend(core.pgmap.pool_pgs(id).map(|(pg, _)| *pg)),
                None => return fail(Errno::ENOENT, format!("unrecognized pool '{n}'")),
            }
        }
    } else {
        for t in a.list("pgid") {
            match t.parse::<PgId>() {
                Ok(pg) if core.osd.map.pg_exists(pg) => pgs.push(pg),
                Ok(pg) => text += &format!("pg {pg} does not exist; "),
                Err(_) => text += &format!("invalid pgid '{t}'; "),
            }
        }
        if pgs.is_empty() {
            return fail(Errno::ENOENT, text);
        }
    }
    let backfill = a.prefix.ends_with("backfill");
    let needs = if backfill {
        pg_state::DEGRADED | pg_state::BACKFILL_WAIT | pg_state::BACKFILLING
    } else {
        pg_state::DEGRADED | pg_state::RECOVERY_WAIT | pg_state::RECOVERING
    };
    for pg in pgs {
        let state = core.pgmap.pgs.get(&pg).map_or(0, |s| s.state);
        if a.prefix.contains("cancel") {
            text += &format!("pg {pg} {} not forced; ", if backfill { "backfill" } else { "recovery" });
        } else if state & needs == 0 {
            text +=
                &format!("pg {pg} doesn't require {}; ", if backfill { "backfilling" } else { "recovery" });
        } else {
            return fail(
                Errno::EOPNOTSUPP,
                format!("the recovery of pg {pg} cannot be forced: not supported"),
            );
        }
    }
    text_outs("", text)
}
