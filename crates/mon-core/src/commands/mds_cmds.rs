//! `mds *`: what daemons there are, and what is done to one of them.

use super::fs_json::{compat, compat_text, fsmap};
use super::fs_status::summary;
use super::{Args, CmdResult, Ctx, Handler, as_json, done, fail, need, need_int, render, text_outs};
use crate::core::MonCore;
use crate::mdsmon::{erase, human};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use types::fsmap::{FSCID_NONE, FsMap};
use types::logentry::LogPrio;
use types::mdsmap::{MDS_FROZEN, state};
use types::{Epoch, Errno};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("mds stat", stat),
    ("mds metadata", metadata),
    ("mds count-metadata", count_metadata),
    ("mds versions", versions),
    ("mds ok-to-stop", ok_to_stop),
    ("mds fail", mds_fail),
    ("mds rm", rm),
    ("mds rmfailed", rmfailed),
    ("mds repaired", repaired),
    ("mds freeze", freeze),
    ("mds set_state", set_state),
    ("mds compat show", compat_show),
];

/// Parses `RANK` of the default file system, `FS:RANK` or `FSCID:RANK`: file system and rank.
fn parse_role(m: &FsMap, role: &str) -> Result<(i32, i32), (Errno, String)> {
    let (fs, rank) = match role.split_once(':') {
        None => match m.legacy_client_fscid {
            FSCID_NONE => return Err((Errno::ENOENT, "No filesystem selected".into())),
            id => (m.filesystems.get(&id), role),
        },
        Some((fs, rank)) => {
            let by_id = fs.parse().ok().and_then(|id: i32| m.filesystems.get(&id));
            (m.fs_by_name(fs).or(by_id), rank)
        }
    };
    let fs = fs.ok_or((Errno::ENOENT, "Invalid filesystem".to_owned()))?;
    let n = rank.parse::<i32>().ok().filter(|n| *n >= 0);
    let n = n.ok_or_else(|| (Errno::EINVAL, format!("Invalid rank '{rank}'")))?;
    if !fs.mds_map.in_ranks.contains(&n) {
        return Err((Errno::ENOENT, format!("Rank '{n}' not found")));
    }
    Ok((fs.fscid, n))
}

/// The daemon that a role, a global id or a name means; else the text of the refusal, which may be none.
fn gid_of(m: &FsMap, who: &str) -> Result<u64, String> {
    if let Ok((fscid, rank)) = parse_role(m, who)
        && let Some(i) = m.filesystems.get(&fscid).and_then(|f| f.mds_map.info_of_rank(rank))
    {
        return Ok(i.global_id);
    }
    match who.parse::<u64>() {
        Ok(gid) if m.mds_roles.contains_key(&gid) => Ok(gid),
        Ok(_) => Err(String::new()),
        Err(_) => m
            .by_name(who)
            .map(|i| i.global_id)
            .ok_or_else(|| format!("MDS named '{who}' does not exist, or is not up")),
    }
}

fn stat(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let m = super::fs_cmds::seen(core, ctx);
    let v = json!({"fsmap": fsmap(&m), "mdsmap_first_committed": core.mds.first, "mdsmap_last_committed": m.epoch.0});
    render(a, &v, || match summary(&m) {
        s if s.is_empty() => s,
        s => s + "\n",
    })
}

/// What a daemon said of itself, behind its name.
fn metadata_of(core: &MonCore, gid: u64, name: bool) -> Option<Value> {
    let mut v = Map::new();
    if name {
        v.insert("name".into(), core.mds.map.info(gid)?.name.clone().into());
    }
    for (k, x) in core.mds.metadata.get(&gid.to_string())?.iter().filter(|(k, _)| *k != "name") {
        v.insert(k.clone(), x.clone().into());
    }
    Some(Value::Object(v))
}

fn metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if let Some(who) = a.str("who") {
        return match gid_of(&core.mds.map, &who) {
            Err(text) => fail(Errno::EINVAL, text),
            Ok(gid) => match metadata_of(core, gid, false) {
                Some(v) => as_json(a, &v),
                None => fail(Errno::ENOENT, ""),
            },
        };
    }
    let gids: Vec<u64> = core.mds.map.mds_roles.keys().copied().collect();
    let all: Vec<Value> = gids.into_iter().filter_map(|g| metadata_of(core, g, true)).collect();
    as_json(a, &Value::Array(all))
}

/// Number of daemons by the value of one of their properties.
pub(super) fn count_by(core: &MonCore, property: &str) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for gid in core.mds.map.mds_roles.keys() {
        let m = core.mds.metadata.get(&gid.to_string());
        let v = m.and_then(|m| m.get(property)).cloned().unwrap_or_else(|| "unknown".to_owned());
        *out.entry(v).or_insert(0) += 1;
    }
    out
}

/// Names of daemons by their host.
pub(super) fn by_host(core: &MonCore) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let m = &core.mds.map;
    for i in m.mds_roles.keys().filter_map(|gid| m.info(*gid)) {
        let host = core.mds.metadata.get(&i.global_id.to_string()).and_then(|m| m.get("hostname"));
        if let Some(h) = host {
            out.entry(h.clone()).or_default().push(i.name.clone());
        }
    }
    out
}

fn count_metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let property = need(a, "property")?;
    as_json(a, &json!(count_by(core, &property)))
}

fn versions(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &json!(count_by(core, "ceph_version")))
}

fn gids(l: &BTreeSet<u64>) -> String {
    l.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn ok_to_stop(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = a.list("ids");
    if ids.is_empty() {
        return fail(Errno::EINVAL, "must specify mds id");
    }
    let m = &core.mds.map;
    if m.filesystems.values().any(|f| f.mds_map.is_degraded()) {
        return fail(Errno::EBUSY, "one or more filesystems is currently degraded");
    }
    // Who is not there cannot be missed.
    let stopping: BTreeSet<u64> = ids.iter().filter_map(|i| gid_of(m, i).ok()).collect();
    let (active, standby): (BTreeSet<u64>, BTreeSet<u64>) = stopping
        .iter()
        .partition(|g| m.info(**g).is_some_and(|i| i.rank >= 0 && i.state != state::STANDBY_REPLAY));
    // Followers count as standbys.
    let followers: usize =
        m.filesystems.values().map(|f| f.mds_map.num_in_state(state::STANDBY_REPLAY)).sum();
    let left = (m.standby_daemons.len() + followers) as i64 - standby.len() as i64;
    if left < active.len() as i64 {
        return fail(
            Errno::EBUSY,
            format!(
                "insufficent standby MDS daemons to stop active gids {} and/or standby gids {}",
                gids(&active),
                gids(&standby)
            ),
        );
    }
    text_outs("", format!("should be safe to stop [{}]", ids.join(",")))
}

fn mds_fail(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let who = need(a, "role_or_gid")?;
    let gid = match gid_of(core.mds.peek(), &who) {
        Ok(g) => g,
        Err(first) => {
            let text = "does not exist, is not up or you lack the permission to see.";
            return text_outs("", format!("{first}MDS named '{who}' {text}"));
        }
    };
    let name = core.mds.peek().info(gid).map(human).unwrap_or_default();
    core.fail_mds(gid);
    core.clog("cluster", LogPrio::INFO, format!("{name} marked failed by {}", ctx.entity));
    // Who waits takes the rank at once.
    core.mds_fill_all();
    done(format!("failed mds gid {gid}"))
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let gid = need_int(a, "gid")?.max(0) as u64;
    let Some(i) = core.mds.peek().info(gid).cloned() else {
        return text_outs("", format!("mds gid {gid} does not exist"));
    };
    if i.state > 0 {
        return fail(Errno::EBUSY, format!("cannot remove active mds.{} rank {}", i.name, i.rank));
    }
    erase(core.mds.next(), gid, Epoch(0));
    done(format!("removed mds gid {gid}"))
}

fn rmfailed(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if !a.flag("yes_i_really_mean_it") {
        return fail(
            Errno::EPERM,
            "WARNING: this can make your filesystem inaccessible! Add --yes-i-really-mean-it if you are sure you wish to continue.",
        );
    }
    let who = need(a, "role")?;
    let (fscid, rank) = parse_role(core.mds.peek(), &who)
        .map_err(|(_, text)| (Errno::EINVAL, format!("{text}invalid role '{who}'")))?;
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        // It stays in: a daemon that were to create it anew would write over what is there.
        f.mds_map.failed.remove(&rank);
    }
    done(format!("removed failed mds.{fscid}:{rank}"))
}

fn repaired(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (fscid, rank) = parse_role(core.mds.peek(), &need(a, "role")?)?;
    let damaged = core.mds.peek().filesystems.get(&fscid).is_some_and(|f| f.mds_map.damaged.contains(&rank));
    if !damaged {
        return text_outs("", "nothing to do: rank is not damaged");
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mds_map.damaged.remove(&rank);
        f.mds_map.failed.insert(rank);
    }
    done(format!("repaired: restoring rank {fscid}:{rank}"))
}

fn freeze(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let who = need(a, "role_or_gid")?;
    let on = super::fs_cmds::parse_bool(&need(a, "val")?)?;
    let gid = gid_of(core.mds.peek(), &who).map_err(|text| (Errno::EINVAL, text))?;
    if let Some(i) = core.mds.next().info_mut(gid) {
        i.flags = if on { i.flags | MDS_FROZEN } else { i.flags & !MDS_FROZEN };
    }
    done(format!("{} mds.{gid}", if on { "freezing" } else { "unfreezing" }))
}

fn set_state(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let gid = need_int(a, "gid")?.max(0) as u64;
    let want = need_int(a, "state")? as i32;
    let Some(i) = core.mds.peek().info(gid) else { return text_outs("", "") };
    if state::name(want) == "???" || !(0..=state::STOPPING).contains(&want) {
        return fail(Errno::EINVAL, format!("error parsing 'state' string value '{}'", a.text("state")));
    }
    if i.rank < 0 {
        // A daemon that waits has no state of its own to set.
        return text_outs("", "");
    }
    if let Some(i) = core.mds.next().info_mut(gid) {
        i.state = want;
    }
    done(format!("set mds gid {gid} to state {want} {}", state::name(want)))
}

fn compat_show(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let c = &core.mds.map.default_compat;
    render(a, &compat(c), || compat_text(c) + "\n")
}
