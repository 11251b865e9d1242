//! `osd pool create|delete|rename|ls|snaps|quota|application`, `osd lspools`.

use super::osd_cmds::pool_arg;
use super::osd_dump::{pool_json, pool_line};
use super::{Args, CmdResult, Ctx, Handler, as_json, done, fail, need, render, text_outs};
use crate::core::MonCore;
use crate::fmt::{byte_u, si_u};
use serde_json::{Value, json};
use std::sync::Arc;
use types::pool::{PgPool, PoolOpt, PoolSnapInfo, PoolType, autoscale, flag};
use types::{Errno, PoolId, SnapId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd pool create", create),
    ("osd pool delete", delete),
    ("osd pool rm", delete),
    ("osd pool rename", rename),
    ("osd pool ls", ls),
    ("osd lspools", lspools),
    ("osd pool mksnap", mksnap),
    ("osd pool rmsnap", rmsnap),
    ("osd pool get-quota", get_quota),
    ("osd pool set-quota", set_quota),
    ("osd pool application enable", app_enable),
    ("osd pool application disable", app_disable),
    ("osd pool application set", app_set),
    ("osd pool application rm", app_rm),
    ("osd pool application get", app_get),
    ("osd pool get", super::pool_get::get),
    ("osd pool set", super::pool_set::set),
];

/// PGs per OSD that a new pool may lead to (`mon_max_pg_per_osd`).
fn pg_limit(core: &MonCore, pg_num: u32, size: u8) -> Result<(), String> {
    let m = core.osd.peek();
    let max = core.cfg.num("mon_max_pg_per_osd") as u64;
    let osds = (m.num_in() as u64).max(3);
    let have: u64 = m.pools.values().map(|p| u64::from(p.pg_num) * u64::from(p.size)).sum();
    let new = u64::from(pg_num) * u64::from(size);
    if max > 0 && (have + new) / osds > max {
        return Err(format!(
            "pg_num {pg_num} size {size} for this pool would result in {} cumulative PGs per OSD ({} total PG replicas on {osds} 'in' root OSDs \
             by crush rule) which exceeds the mon_max_pg_per_osd value of {max}",
            (have + new) / osds,
            have + new
        ));
    }
    Ok(())
}

/// Stages a replicated pool; its id.
pub(crate) fn stage_pool(core: &mut MonCore, name: &str, pg_num: u32, rule: u8, size: u8) -> PoolId {
    let now = core.now;
    let min = core.cfg.num("osd_pool_default_min_size") as u8;
    // 0 means "more than half".
    let min_size = if min > 0 { min.min(size) } else { size - size / 2 };
    let epoch = core.osd.map.epoch.next();
    let m = core.osd.next();
    m.pool_max += 1;
    let id = PoolId(m.pool_max.into());
    let p = PgPool {
        kind: PoolType::Replicated,
        size,
        min_size,
        crush_rule: rule,
        object_hash: 2,
        pg_num,
        pgp_num: pg_num,
        pg_num_pending: pg_num,
        pg_num_target: pg_num,
        pgp_num_target: pg_num,
        last_change: epoch,
        flags: flag::HASHPSPOOL | flag::CREATING,
        create_time: now,
        pg_autoscale_mode: autoscale::OFF,
        ..PgPool::default()
    };
    Arc::make_mut(&mut m.pools).insert(id, Arc::new(p));
    Arc::make_mut(&mut m.pool_names).insert(id, name.to_owned());
    core.osd.create_pgs(id, pg_num);
    id
}

fn create(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "pool")?;
    if let Some(p) = core.osd.peek().pool_by_name(&name).and_then(|id| core.osd.peek().pool(id)) {
        if let Some(kind) = a.str("pool_type").filter(|k| (k == "erasure") != p.is_erasure()) {
            return fail(Errno::EINVAL, format!("pool '{name}' cannot change to type {kind}"));
        }
        return text_outs("", format!("pool '{name}' already exists"));
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return fail(Errno::EINVAL, format!("pool name '{name}' is not valid"));
    }
    let kind = a.str("pool_type").unwrap_or_else(|| core.cfg.opt("osd_pool_default_type"));
    match kind.as_str() {
        "replicated" | "" => {}
        "erasure" => return fail(Errno::EOPNOTSUPP, "erasure coded pools are not supported yet"),
        _ => return fail(Errno::EINVAL, format!("unknown pool type '{kind}'")),
    }
    let pg_num = match a.int("pg_num").unwrap_or(0) {
        0 => core.cfg.num("osd_pool_default_pg_num") as i64,
        n => n,
    };
    let max = core.cfg.num("mon_max_pool_pg_num") as i64;
    if !(1..=max.max(1)).contains(&pg_num) {
        return fail(
            Errno::ERANGE,
            format!(
                "'pg_num' must be greater than 0 and less than or equal to {max} (you may adjust 'mon max pool pg num' for higher values)"
            ),
        );
    }
    if let Some(pgp) = a.int("pgp_num")
        && pgp > pg_num
    {
        return fail(
            Errno::ERANGE,
            format!(
                "'pgp_num' must be greater than 0 and lower or equal than 'pg_num', which in this case is {pg_num}"
            ),
        );
    }
    let rule = match a.str("rule").or_else(|| a.str("erasure_code_profile")).filter(|r| !r.is_empty()) {
        Some(r) => match core.osd.peek().crush.rule_id(&r) {
            Some(i) => i,
            None => return fail(Errno::ENOENT, format!("specified rule {r} doesn't exist")),
        },
        None => {
            let want = core.cfg.num("osd_pool_default_crush_rule") as i32;
            let c = &core.osd.peek().crush;
            let first = (0..c.rules.len() as i32).find(|i| c.rule(*i).is_some_and(|r| r.kind == 1));
            match if want >= 0 && c.rule(want).is_some() { Some(want) } else { first } {
                Some(i) => i,
                None => {
                    return fail(
                        Errno::ENOENT,
                        "No suitable CRUSH rule exists, check 'osd pool default crush *' config options",
                    );
                }
            }
        }
    };
    let size =
        a.int("size").filter(|s| *s > 0).unwrap_or(core.cfg.num("osd_pool_default_size") as i64).clamp(1, 10)
            as u8;
    if size == 1 && !core.cfg.flag("mon_allow_pool_size_one") {
        return fail(Errno::EPERM, "configuring pool size as 1 is disabled by default.");
    }
    if let Err(t) = pg_limit(core, pg_num as u32, size) {
        return fail(Errno::ERANGE, t);
    }
    // There is no autoscaler: to take the mode and do nothing would be a lie.
    if a.str("autoscale_mode").is_some_and(|m| m != "off") || a.flag("bulk") {
        return fail(Errno::EOPNOTSUPP, "the pg autoscaler is not supported");
    }
    let id = stage_pool(core, &name, pg_num as u32, rule as u8, size);
    for (key, value) in [
        ("pg_num_min", a.int("pg_num_min").filter(|n| *n > 0).map(PoolOpt::Int)),
        ("pg_num_max", a.int("pg_num_max").filter(|n| *n > 0).map(PoolOpt::Int)),
        ("target_size_bytes", a.int("target_size_bytes").filter(|n| *n > 0).map(PoolOpt::Int)),
        ("target_size_ratio", a.float("target_size_ratio").filter(|n| *n > 0.0).map(PoolOpt::Double)),
    ] {
        if let (Some(v), Some(at), Some(p)) = (value, super::pool_get::opt_of(key), core.osd.pool_mut(id)) {
            p.opts.0.insert(at, v);
        }
    }
    done(format!("pool '{name}' created"))
}

/// Why a pool may not be removed.
pub(crate) fn deletable(core: &MonCore, id: PoolId) -> Result<(), String> {
    if !core.cfg.flag("mon_allow_pool_delete") {
        return Err("pool deletion is disabled; you must first set the mon_allow_pool_delete config option to true before you can destroy a pool".into());
    }
    if core.osd.peek().pool(id).is_some_and(|p| p.has_flag(flag::NODELETE)) {
        return Err("pool deletion is disabled; you must unset nodelete flag for the pool first".into());
    }
    Ok(())
}

/// Stages a pool's removal.
pub(crate) fn stage_delete(core: &mut MonCore, id: PoolId) {
    let m = core.osd.next();
    Arc::make_mut(&mut m.pools).remove(&id);
    Arc::make_mut(&mut m.pool_names).remove(&id);
    let upmaps: Vec<_> = m.pg_upmap_items.keys().filter(|p| p.pool == id).copied().collect();
    if !upmaps.is_empty() {
        upmaps.iter().for_each(|p| drop(Arc::make_mut(&mut m.pg_upmap_items).remove(p)));
    }
}

fn delete(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "pool")?;
    let Some(id) = core.osd.peek().pool_by_name(&name) else {
        return text_outs("", format!("pool '{name}' does not exist"));
    };
    let sure = a.flag("yes_i_really_really_mean_it") || a.flag("yes_i_really_really_mean_it_not_faking");
    if a.str("pool2").as_deref() != Some(&name) || !sure {
        return fail(
            Errno::EPERM,
            format!(
                "WARNING: this will *PERMANENTLY DESTROY* all data stored in pool {name}.  If you are *ABSOLUTELY CERTAIN* that is what you want, \
                 pass the pool name *twice*, followed by --yes-i-really-really-mean-it."
            ),
        );
    }
    if core.mds.peek().pool_in_use(id.0) {
        return fail(Errno::EBUSY, format!("pool '{name}' is in use by CephFS"));
    }
    if let Err(t) = super::tier_cmds::in_use(core, id, &name) {
        return fail(Errno::EBUSY, t);
    }
    if let Err(t) = deletable(core, id) {
        return fail(Errno::EPERM, t);
    }
    stage_delete(core, id);
    done(format!("pool '{name}' removed"))
}

fn rename(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (s, d) = (need(a, "srcpool")?, need(a, "destpool")?);
    let m = core.osd.peek();
    match (m.pool_by_name(&s), m.pool_by_name(&d)) {
        (None, Some(_)) => {
            text_outs("", format!("pool '{s}' does not exist; pool '{d}' does -- assuming successful rename"))
        }
        (None, None) => fail(Errno::ENOENT, format!("unrecognized pool '{s}'")),
        (Some(_), Some(_)) => fail(Errno::EEXIST, format!("pool '{d}' already exists")),
        (Some(id), None) => {
            Arc::make_mut(&mut core.osd.next().pool_names).insert(id, d.clone());
            done(format!("pool '{s}' renamed to '{d}'"))
        }
    }
}

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let name = |id| m.pool_name(id).unwrap_or("");
    if a.text("detail") == "detail" {
        let v: Vec<Value> = m.pools.iter().map(|(id, p)| pool_json(*id, name(*id), p, "pool_id")).collect();
        return render(a, &Value::Array(v), || {
            m.pools.iter().map(|(id, p)| pool_line(*id, name(*id), p)).collect::<String>() + "\n"
        });
    }
    let names: Vec<&str> = m.pools.keys().map(|id| name(*id)).collect();
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn lspools(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let v: Vec<Value> = m.pool_names.iter().map(|(id, n)| json!({"poolnum": id.0, "poolname": n})).collect();
    render(a, &Value::Array(v), || m.pool_names.iter().map(|(id, n)| format!("{id} {n}\n")).collect())
}

fn mksnap(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let snap = need(a, "snap")?;
    let p = core.osd.peek().pool(id).cloned().unwrap_or_default();
    if p.is_unmanaged_snaps_mode() {
        return fail(Errno::EINVAL, format!("pool {pool} is in unmanaged snaps mode"));
    }
    if p.snaps.values().any(|s| s.name == snap) {
        return text_outs("", format!("pool {pool} snap {snap} already exists"));
    }
    stage_mksnap(core, id, &snap);
    done(format!("created pool {pool} snap {snap}"))
}

/// Stages a pool snapshot.
pub(crate) fn stage_mksnap(core: &mut MonCore, id: PoolId, name: &str) {
    let (now, epoch) = (core.now, core.osd.map.epoch.next());
    if let Some(p) = core.osd.pool_mut(id) {
        p.flags |= flag::POOL_SNAPS;
        p.snap_seq = SnapId(p.snap_seq.0 + 1);
        p.snap_epoch = epoch;
        p.snaps.insert(p.snap_seq, PoolSnapInfo { snap: p.snap_seq, stamp: now, name: name.to_owned() });
    }
}

/// Stages the removal of a pool snapshot.
pub(crate) fn stage_rmsnap(core: &mut MonCore, id: PoolId, snap: SnapId) {
    let epoch = core.osd.map.epoch.next();
    if let Some(p) = core.osd.pool_mut(id) {
        p.snaps.remove(&snap);
        p.snap_seq = SnapId(p.snap_seq.0 + 1);
        p.snap_epoch = epoch;
    }
    Arc::make_mut(&mut core.osd.next().new_removed_snaps).entry(id).or_default().insert(snap.0);
}

fn rmsnap(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let snap = need(a, "snap")?;
    let p = core.osd.peek().pool(id).cloned().unwrap_or_default();
    if p.is_unmanaged_snaps_mode() {
        return fail(Errno::EINVAL, format!("pool {pool} is in unmanaged snaps mode"));
    }
    let Some(s) = p.snaps.values().find(|s| s.name == snap).map(|s| s.snap) else {
        return text_outs("", format!("pool {pool} snap {snap} does not exist"));
    };
    stage_rmsnap(core, id, s);
    done(format!("removed pool {pool} snap {snap}"))
}

fn get_quota(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "pool")?;
    let Some(id) = core.osd.map.pool_by_name(&n) else {
        return fail(Errno::ENOENT, format!("unrecognized pool '{n}'"));
    };
    let p = core.osd.map.pool(id).cloned().unwrap_or_default();
    let s = core.pgmap.pool_sum(id);
    let v = json!({
        "pool_name": n, "pool_id": id.0, "quota_max_objects": p.quota_max_objects, "current_num_objects": s.num_objects,
        "quota_max_bytes": p.quota_max_bytes, "current_num_bytes": s.num_bytes,
    });
    render(a, &v, || {
        let objects = match p.quota_max_objects {
            0 => "N/A".to_owned(),
            q => format!("{} objects  (current num objects: {} objects)", si_u(q), s.num_objects),
        };
        let bytes = match p.quota_max_bytes {
            0 => "N/A".to_owned(),
            q => format!("{}  (current num bytes: {} bytes)", byte_u(q), s.num_bytes),
        };
        format!("quotas for pool '{n}':\n  max objects: {objects}\n  max bytes  : {bytes}\n")
    })
}

fn set_quota(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let field = need(a, "field")?;
    let val = a.text("val");
    let n = match crate::options::parse_si(&val, field == "max_bytes") {
        Ok(n) => n,
        Err(e) => {
            let e = e.strip_prefix("error parsing value: ").unwrap_or(&e).to_owned();
            return fail(Errno::EINVAL, format!("error parsing value '{val}': {e}"));
        }
    };
    let Some(p) = core.osd.pool_mut(id) else { return fail(Errno::ENOENT, "") };
    match field.as_str() {
        "max_objects" => p.quota_max_objects = n,
        "max_bytes" => p.quota_max_bytes = n,
        _ => return fail(Errno::EINVAL, format!("unrecognized option '{field}'")),
    }
    done(format!("set-quota {field} = {n} for pool {pool}"))
}

/// Longest application name, key or value (`MAX_POOL_APPLICATION_LENGTH`).
const APP_MAX: usize = 128;
/// Applications on one pool, and keys of one application.
const APPS_MAX: usize = 4;
const KEYS_MAX: usize = 64;

fn app_enable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let app = need(a, "app")?;
    let sure = a.flag("yes_i_really_mean_it") || a.flag("force");
    let p = core.osd.peek().pool(id).cloned().unwrap_or_default();
    if app.is_empty() {
        return fail(Errno::EINVAL, "application name must be provided");
    }
    if p.is_tier() {
        return fail(Errno::EINVAL, "application must be enabled on base tier");
    }
    if !p.application_metadata.contains_key(&app) {
        if !p.application_metadata.is_empty() && !sure {
            let t = format!(
                "Are you SURE? Pool '{pool}' already has an enabled application; pass --yes-i-really-mean-it to proceed anyway"
            );
            return fail(Errno::EPERM, t);
        }
        if p.application_metadata.len() >= APPS_MAX {
            return fail(
                Errno::EINVAL,
                format!("too many enabled applications on pool '{pool}'; max {APPS_MAX}"),
            );
        }
        if app.len() > APP_MAX {
            return fail(Errno::EINVAL, format!("application name '{app}' too long; max length {APP_MAX}"));
        }
        if let Some(p) = core.osd.pool_mut(id) {
            p.application_metadata.insert(app.clone(), Default::default());
        }
    }
    done(format!("enabled application '{app}' on pool '{pool}'"))
}

fn enabled(core: &MonCore, id: PoolId, app: &str) -> bool {
    core.osd.peek().pool(id).is_some_and(|p| p.application_metadata.contains_key(app))
}

fn app_disable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let app = need(a, "app")?;
    if !(a.flag("yes_i_really_mean_it") || a.flag("force")) {
        return fail(
            Errno::EPERM,
            "Are you SURE? Disabling an application within a pool might result in loss of application functionality; pass \
             --yes-i-really-mean-it to proceed anyway",
        );
    }
    if !enabled(core, id, &app) {
        return text_outs("", format!("application '{app}' is not enabled on pool '{pool}'"));
    }
    if let Some(p) = core.osd.pool_mut(id) {
        p.application_metadata.remove(&app);
    }
    done(format!("disable application '{app}' on pool '{pool}'"))
}

fn app_set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let (app, key, value) = (need(a, "app")?, need(a, "key")?, a.text("value"));
    if !enabled(core, id, &app) {
        return fail(Errno::ENOENT, format!("application '{app}' is not enabled on pool '{pool}'"));
    }
    if key.is_empty() || key.len() > APP_MAX || value.len() > APP_MAX {
        return fail(Errno::EINVAL, format!("key or value is too long; max length {APP_MAX}"));
    }
    let keys = core.osd.peek().pool(id).and_then(|p| p.application_metadata.get(&app)).map_or(0, |m| m.len());
    if keys >= KEYS_MAX {
        return fail(
            Errno::EINVAL,
            format!("too many keys set for application '{app}' on pool '{pool}'; max {KEYS_MAX}"),
        );
    }
    if let Some(m) = core.osd.pool_mut(id).and_then(|p| p.application_metadata.get_mut(&app)) {
        m.insert(key.clone(), value.clone());
    }
    done(format!("set application '{app}' key '{key}' to '{value}' on pool '{pool}'"))
}

fn app_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, pool) = pool_arg(core, a)?;
    let (app, key) = (need(a, "app")?, need(a, "key")?);
    if !enabled(core, id, &app) {
        return fail(Errno::ENOENT, format!("application '{app}' is not enabled on pool '{pool}'"));
    }
    if let Some(m) = core.osd.pool_mut(id).and_then(|p| p.application_metadata.get_mut(&app)) {
        m.remove(&key);
    }
    done(format!("removed application '{app}' key '{key}' on pool '{pool}'"))
}

fn app_get(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let Some(n) = a.str("pool") else {
        let all: serde_json::Map<String, Value> = m
            .pools
            .iter()
            .map(|(id, p)| (m.pool_name(*id).unwrap_or("").to_owned(), json!(p.application_metadata)))
            .collect();
        return as_json(a, &Value::Object(all));
    };
    let Some(p) = m.pool_by_name(&n).and_then(|id| m.pool(id)) else {
        return fail(Errno::ENOENT, format!("unrecognized pool '{n}'"));
    };
    let Some(app) = a.str("app") else { return as_json(a, &json!(p.application_metadata)) };
    let Some(keys) = p.application_metadata.get(&app) else {
        return fail(Errno::ENOENT, format!("pool '{n}' has no application '{app}'"));
    };
    match a.str("key") {
        None => as_json(a, &json!(keys)),
        Some(k) => match keys.get(&k) {
            Some(v) => render(a, &json!({ k: v }), || format!("{v}\n")),
            None => fail(Errno::ENOENT, format!("application '{app}' on pool '{n}' does not have key '{k}'")),
        },
    }
}
