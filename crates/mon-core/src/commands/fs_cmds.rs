//! `fs *`: file systems made, listed, changed as a whole, and removed. Their settings are in `fs_set`.

use super::fs_json::{self, compat, compat_text, filesystem, filesystem_text, fsmap, fsmap_text};
use super::{Args, CmdResult, Ctx, Handler, done, fail, need, render, text_outs};
use crate::core::MonCore;
use crate::mdsmon::{available_standby, human, promote};
use serde_json::{Value, json};
use types::fsmap::{FSCID_NONE, Filesystem, FsMap};
use types::logentry::LogPrio;
use types::mdsmap::{MdsMap, flag, state};
use types::pool::{PoolOpt, opt};
use types::{Errno, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("fs new", new),
    ("fs fail", fs_fail),
    ("fs rm", rm),
    ("fs reset", reset),
    ("fs ls", ls),
    ("fs get", get),
    ("fs dump", dump),
    ("fs flag set", flag_set),
    ("fs feature ls", feature_ls),
    ("fs set_default", set_default),
    ("fs set-default", set_default),
    ("fs add_data_pool", add_data_pool),
    ("fs rm_data_pool", rm_data_pool),
    ("fs compat show", compat_show),
    ("fs compat", super::fs_set::compat),
    ("fs mirror enable", super::fs_mirror::enable),
    ("fs mirror disable", super::fs_mirror::disable),
    ("fs mirror peer_add", super::fs_mirror::peer_add),
    ("fs mirror peer_remove", super::fs_mirror::peer_remove),
    ("fs set", super::fs_set::set),
    ("fs required_client_features", super::fs_set::required_client_features),
    ("fs authorize", super::fs_auth::authorize),
];

/// The application of file systems' pools.
const CEPHFS: &str = "cephfs";

type Fail = (Errno, String);

pub(super) fn parse_bool(v: &str) -> Result<bool, Fail> {
    match v {
        "false" | "no" | "0" => Ok(false),
        "true" | "yes" | "1" => Ok(true),
        _ => Err((Errno::EINVAL, "value must be false|no|0 or true|yes|1".into())),
    }
}

/// The id of the file system that a command names, or stock's complaint.
pub(super) fn fs_arg(core: &MonCore, a: &Args) -> Result<i32, Fail> {
    let name = a.text("fs_name");
    if name.is_empty() {
        return Err((Errno::EINVAL, "Missing filesystem name".into()));
    }
    let f = core.mds.peek().fs_by_name(&name);
    f.map(|f| f.fscid).ok_or_else(|| (Errno::ENOENT, format!("Filesystem not found: '{name}'")))
}

/// The map as the asker may see it.
pub(super) fn seen(core: &MonCore, ctx: &Ctx) -> FsMap {
    match ctx.session {
        Some(id) => core.fsmap_seen(id, core.mds.map.clone()),
        None => core.mds.map.clone(),
    }
}

/// What a pool shall be for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PoolUse {
    Data,
    Metadata,
}

fn check_pool(core: &MonCore, id: PoolId, force: bool) -> Result<(), Fail> {
    let m = core.osd.peek();
    let Some(p) = m.pool(id) else {
        return Err((Errno::ENOENT, format!("pool id '{id}' does not exist")));
    };
    let name = m.pool_name(id).unwrap_or_default();
    if p.is_pool_snaps_mode() {
        let text = format!("pool({id}) already has mon-managed snaps; can't attach pool to fs");
        return Err((Errno::EOPNOTSUPP, text));
    }
    if force || p.application_metadata.is_empty() {
        return Ok(());
    }
    let Some(app) = p.application_metadata.get(CEPHFS) else {
        let text = format!(" pool '{name}' (id '{id}') has a non-CephFS application enabled.");
        return Err((Errno::EINVAL, text));
    };
    match ["data", "metadata"].iter().find_map(|k| app.get(*k).map(|v| (k, v))) {
        None => Ok(()),
        Some((kind, fs)) => Err((
            Errno::EINVAL,
            format!(
                "RADOS pool '{name}' is already used by filesystem '{fs}' as a '{kind}' pool for application '{CEPHFS}'"
            ),
        )),
    }
}

/// Marks a pool as a file system's.
fn take_pool(core: &mut MonCore, id: PoolId, used_as: PoolUse, fs: &str) {
    let Some(p) = core.osd.pool_mut(id) else { return };
    let key = if used_as == PoolUse::Data { "data" } else { "metadata" };
    p.application_metadata.entry(CEPHFS.to_owned()).or_default().insert(key.to_owned(), fs.to_owned());
    if used_as == PoolUse::Metadata {
        p.opts.0.insert(opt::RECOVERY_PRIORITY, PoolOpt::Int(5));
        p.opts.0.insert(opt::PG_NUM_MIN, PoolOpt::Int(16));
        p.opts.0.insert(opt::PG_AUTOSCALE_BIAS, PoolOpt::Double(4.0));
    }
}

fn pool_named(core: &MonCore, name: &str) -> Result<PoolId, Fail> {
    let id = core.osd.peek().pool_by_name(name);
    id.ok_or_else(|| (Errno::ENOENT, format!("pool '{name}' does not exist")))
}

fn new(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (meta_name, data_name) = (need(a, "metadata")?, need(a, "data")?);
    let meta = pool_named(core, &meta_name)?;
    let data = pool_named(core, &data_name)?;
    if data.0 == 0 {
        let text = "has id 0, which CephFS does not allow. Use another pool or recreate it to get a non-zero pool id.";
        return fail(Errno::EINVAL, format!("pool '{data_name}' {text}"));
    }
    let name = a.text("fs_name");
    if name.is_empty() {
        return fail(Errno::EINVAL, "Filesystem name may not be empty");
    }
    if let Some(f) = core.mds.peek().fs_by_name(&name) {
        let m = &f.mds_map;
        if m.data_pools.first() == Some(&data.0) && m.metadata_pool == meta.0 {
            return text_outs("", format!("filesystem '{name}' already exists"));
        }
        return fail(Errno::EINVAL, format!("filesystem already exists with name '{name}'"));
    }
    let force = a.flag("force");
    if !force && core.pgmap.pool_sum(meta).num_objects > 0 {
        let text = "already contains some objects. Use an empty pool instead.";
        return fail(Errno::EINVAL, format!("pool '{meta_name}' {text}"));
    }
    let m = core.mds.peek();
    if !m.filesystems.is_empty() && !m.enable_multiple {
        return fail(
            Errno::EINVAL,
            "Creation of multiple filesystems is disabled.  To enable this experimental feature, use 'ceph fs flag set enable_multiple true'",
        );
    }
    let taken = |m: &MdsMap| m.data_pools.contains(&data.0) || m.metadata_pool == meta.0;
    if m.filesystems.values().any(|f| taken(&f.mds_map)) && !a.flag("allow_dangerous_metadata_overlay") {
        return fail(
            Errno::EEXIST,
            format!(
                "Filesystem '{name}' is already using one of the specified RADOS pools. This should ONLY be done in emergencies and after \
                 careful reading of the documentation. Pass --allow-dangerous-metadata-overlay to permit this."
            ),
        );
    }
    let wanted = a.int("fscid").map(|n| i32::try_from(n).unwrap_or(-1));
    if let Some(id) = wanted {
        if !force {
            return fail(Errno::EINVAL, "Pass --force to create a file system with a specific ID");
        }
        if id < 0 || m.filesystems.contains_key(&id) {
            return fail(Errno::EINVAL, format!("filesystem already exists with id '{id}'"));
        }
    }
    check_pool(core, data, force)?;
    check_pool(core, meta, force)?;
    take_pool(core, data, PoolUse::Data, &name);
    take_pool(core, meta, PoolUse::Metadata, &name);
    let fscid = add_filesystem(core, &name, meta, data, wanted, a.flag("recover"));
    let text = format!("new fs with metadata pool {meta} and data pool {data}");
    if a.flag("recover") {
        return done(text);
    }
    // Without waiting for the next look at the map.
    if let Some(gid) = available_standby(core.mds.peek(), fscid) {
        let who = core.mds.peek().info(gid).map(human).unwrap_or_default();
        core.clog("cluster", LogPrio::INFO, format!("{who} assigned to filesystem {name} as rank 0"));
        promote(core.mds.next(), gid, fscid, 0);
    }
    done(text)
}

fn add_filesystem(
    core: &mut MonCore,
    name: &str,
    meta: PoolId,
    data: PoolId,
    wanted: Option<i32>,
    recover: bool,
) -> i32 {
    let now = core.now;
    let timeouts = [core.cfg.num("mds_session_timeout"), core.cfg.num("mds_session_autoclose")];
    let max_file_size = core.cfg.num("mds_max_file_size");
    let m = core.mds.next();
    let fscid = wanted.unwrap_or(m.next_filesystem_id as i32);
    m.next_filesystem_id = m.next_filesystem_id.max(u64::from(fscid.unsigned_abs()) + 1);
    let mut map = MdsMap {
        compat: m.default_compat.clone(),
        created: now,
        modified: now,
        enabled: true,
        fs_name: name.to_owned(),
        metadata_pool: meta.0,
        data_pools: vec![data.0],
        ..MdsMap::default()
    };
    // Without a configured value the map's own defaults, which are stock's, hold.
    let set = |field: &mut u32, v: f64| {
        if v >= 1.0 {
            *field = v as u32;
        }
    };
    set(&mut map.session_timeout, timeouts[0]);
    set(&mut map.session_autoclose, timeouts[1]);
    if max_file_size >= 65536.0 {
        map.max_file_size = max_file_size as u64;
    }
    if recover {
        // The metadata of an older map is there: rank 0 replays, and only when the operator lets it.
        map.in_ranks.insert(0);
        map.failed.insert(0);
        map.flags |= flag::NOT_JOINABLE;
    }
    let first = m.filesystems.is_empty();
    m.filesystems.insert(fscid, Filesystem { fscid, mds_map: map, ..Filesystem::default() });
    if first {
        m.legacy_client_fscid = fscid;
    }
    fscid
}

fn fs_fail(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    let name = a.text("fs_name");
    let mut gids = Vec::new();
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mds_map.flags |= flag::NOT_JOINABLE;
        gids.extend(f.mds_map.mds_info.keys().copied());
    }
    for gid in gids {
        core.fail_mds(gid);
    }
    done(format!("{name} marked not joinable; MDS cannot join the cluster. All MDS ranks marked failed."))
}

/// Followers of a file system's ranks, which have no place without it.
pub(super) fn fail_followers(core: &mut MonCore, fscid: i32) {
    let gids: Vec<u64> = core
        .mds
        .peek()
        .filesystems
        .get(&fscid)
        .into_iter()
        .flat_map(|f| f.mds_map.mds_info.values())
        .filter(|i| i.state == state::STANDBY_REPLAY)
        .map(|i| i.global_id)
        .collect();
    for gid in gids {
        core.fail_mds(gid);
    }
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "fs_name")?;
    let Some(f) = core.mds.peek().fs_by_name(&name) else {
        // To be gone is what was asked for.
        return text_outs("", format!("filesystem '{name}' does not exist"));
    };
    let fscid = f.fscid;
    if !f.mds_map.up.is_empty() {
        return fail(
            Errno::EINVAL,
            "all MDS daemons must be inactive/failed before removing filesystem. See `ceph fs fail`.",
        );
    }
    if !a.flag("yes_i_really_mean_it") {
        return fail(
            Errno::EPERM,
            "this is a DESTRUCTIVE operation and will make data in your filesystem permanently inaccessible.  Add --yes-i-really-mean-it if \
             you are sure you wish to continue.",
        );
    }
    fail_followers(core, fscid);
    let m = core.mds.next();
    if m.legacy_client_fscid == fscid {
        m.legacy_client_fscid = FSCID_NONE;
    }
    m.filesystems.remove(&fscid);
    let waiting = m.standby_daemons.values_mut();
    let serving = m.filesystems.values_mut().flat_map(|f| f.mds_map.mds_info.values_mut());
    for i in waiting.chain(serving).filter(|i| i.join_fscid == fscid) {
        i.join_fscid = FSCID_NONE;
    }
    done("")
}

fn reset(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "fs_name")?;
    let Some(f) = core.mds.peek().fs_by_name(&name).cloned() else {
        return fail(Errno::ENOENT, format!("Filesystem not found: '{name}'"));
    };
    if !f.mds_map.up.is_empty() {
        return fail(
            Errno::EINVAL,
            "all MDS daemons must be inactive before resetting filesystem: set the cluster_down flag and use `ceph mds fail` to make this so",
        );
    }
    if !a.flag("yes_i_really_mean_it") {
        return fail(
            Errno::EPERM,
            "this is a potentially destructive operation, only for use by experts in disaster recovery.  Add --yes-i-really-mean-it if you \
             are sure you wish to continue.",
        );
    }
    fail_followers(core, f.fscid);
    let now = core.now;
    let m = core.mds.next();
    let old = f.mds_map;
    let map = MdsMap {
        in_ranks: [0].into(),
        failed: [0].into(),
        compat: m.default_compat.clone(),
        created: now,
        modified: now,
        enabled: true,
        fs_name: old.fs_name,
        metadata_pool: old.metadata_pool,
        data_pools: old.data_pools,
        cas_pool: old.cas_pool,
        inline_data_enabled: old.inline_data_enabled,
        standby_count_wanted: old.standby_count_wanted,
        stopped: old.stopped,
        ..MdsMap::default()
    };
    m.filesystems.insert(f.fscid, Filesystem { fscid: f.fscid, mds_map: map, ..Filesystem::default() });
    done("")
}

fn ls(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let m = seen(core, ctx);
    let pool = |id: i64| core.osd.map.pool_name(PoolId(id)).unwrap_or_default().to_owned();
    let all: Vec<&MdsMap> = m.filesystems.values().map(|f| &f.mds_map).collect();
    let v: Vec<Value> = all
        .iter()
        .map(|m| {
            json!({
                "name": m.fs_name, "metadata_pool": pool(m.metadata_pool), "metadata_pool_id": m.metadata_pool,
                "data_pool_ids": m.data_pools, "data_pools": m.data_pools.iter().map(|p| pool(*p)).collect::<Vec<_>>(),
            })
        })
        .collect();
    render(a, &Value::Array(v), || {
        if all.is_empty() {
            return "No filesystems enabled\n".to_owned();
        }
        let line = |m: &&MdsMap| {
            let data: String = m.data_pools.iter().map(|p| pool(*p) + " ").collect();
            format!("name: {}, metadata pool: {}, data pools: [{data}]\n", m.fs_name, pool(m.metadata_pool))
        };
        all.iter().map(line).collect()
    })
}

fn get(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let name = need(a, "fs_name")?;
    match seen(core, ctx).fs_by_name(&name) {
        None => fail(Errno::ENOENT, format!("filesystem '{name}' not found")),
        Some(f) => render(a, &filesystem(f), || filesystem_text(f)),
    }
}

fn dump(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let epoch =
        a.int("epoch").filter(|e| *e > 0).map_or(core.mds.map.epoch.0, |e| e.min(u32::MAX.into()) as u32);
    let Some(m) = core.mds.at(&core.kv, epoch) else { return fail(Errno::ENOENT, "") };
    let m = match ctx.session {
        Some(id) => core.fsmap_seen(id, m),
        None => m,
    };
    let mut o = render(a, &fsmap(&m), || fsmap_text(&m))?;
    o.outs = format!("dumped fsmap epoch {}", m.epoch);
    Ok(o)
}

fn flag_set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "flag_name")?;
    if name != "enable_multiple" {
        return fail(Errno::EINVAL, format!("Unknown flag '{name}'"));
    }
    let v = need(a, "val")?;
    let on = parse_bool(&v).map_err(|(e, t)| (e, format!("{t}Invalid boolean value '{v}'")))?;
    let m = core.mds.next();
    m.enable_multiple = on;
    m.ever_enabled_multiple |= on;
    done("")
}

fn feature_ls(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let all: Vec<(usize, &str)> = fs_json::CLIENT_FEATURES.iter().enumerate().map(|(i, n)| (i, *n)).collect();
    let v: Vec<Value> = all.iter().map(|(i, n)| json!({"index": i, "name": n})).collect();
    render(a, &Value::Array(v), || all.iter().map(|(i, n)| format!("{i} {n}\n")).collect())
}

fn set_default(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let id = fs_arg(core, a)?;
    core.mds.next().legacy_client_fscid = id;
    done("")
}

fn data_pool_arg(core: &MonCore, a: &Args) -> Result<PoolId, Fail> {
    let name = need(a, "pool")?;
    let by_id = || name.parse().ok().map(PoolId).filter(|id| core.osd.peek().pool(*id).is_some());
    let id = core.osd.peek().pool_by_name(&name).or_else(by_id);
    id.ok_or_else(|| (Errno::ENOENT, format!("pool '{name}' does not exist")))
}

fn add_data_pool(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    let id = data_pool_arg(core, a)?;
    let name = a.text("fs_name");
    let has = |core: &MonCore| {
        core.mds.peek().filesystems.get(&fscid).is_some_and(|f| f.mds_map.data_pools.contains(&id.0))
    };
    if has(core) {
        return text_outs("", format!("data pool {id} is already on fs {name}"));
    }
    check_pool(core, id, false)?;
    take_pool(core, id, PoolUse::Data, &name);
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mds_map.data_pools.push(id.0);
    }
    done(format!("added data pool {id} to fsmap"))
}

fn rm_data_pool(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    let id = data_pool_arg(core, a)?;
    let pools = core.mds.peek().filesystems.get(&fscid).map(|f| f.mds_map.data_pools.clone());
    let pools = pools.unwrap_or_default();
    if pools.first() == Some(&id.0) {
        return fail(Errno::EINVAL, "cannot remove default data pool");
    }
    if !pools.contains(&id.0) {
        return text_outs("", "");
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mds_map.data_pools.retain(|p| *p != id.0);
    }
    done(format!("removed data pool {id} from fsmap"))
}

fn compat_show(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "fs_name")?;
    let Some(f) = core.mds.map.fs_by_name(&name) else {
        return fail(Errno::ENOENT, format!("filesystem '{name}' not found"));
    };
    let c = &f.mds_map.compat;
    render(a, &compat(c), || compat_text(c) + "\n")
}
