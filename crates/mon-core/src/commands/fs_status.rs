//! File systems in few words: `mds stat`, the lines of `ceph -s`, and the tables of `fs status`.

use super::{Args, CmdResult, Ctx, Format, Handler, as_json, fail, text};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable, si_u};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use types::fsmap::{FSCID_NONE, Filesystem, FsMap};
use types::mdsmap::{MdsInfo, state};
use types::{Errno, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[("fs status", status)];

fn word(i: &MdsInfo) -> String {
    format!("{}{}", state::name(i.state), if i.is_laggy() { "(laggy or crashed)" } else { "" })
}

/// Up to so many file systems and ranks are named one by one.
const FS_NAMED_MAX: usize = 3;
const RANKS_NAMED_MAX: usize = 4;

fn ranks(f: &Filesystem) -> String {
    let m = &f.mds_map;
    if m.is_degraded() {
        format!("{}:{}/{}", m.fs_name, m.up.len(), m.in_ranks.len())
    } else {
        format!("{}:{}", m.fs_name, m.in_ranks.len())
    }
}

/// `cephfs:1 {0=a=up:active} 1 up:standby`: `mds stat`.
pub(super) fn summary(m: &FsMap) -> String {
    let mut s = String::new();
    let n = m.filesystems.len();
    if n <= FS_NAMED_MAX {
        s.push_str(&m.filesystems.values().map(ranks).collect::<Vec<_>>().join(" "));
    } else {
        let _ = write!(s, "{n} fs");
        let degraded: Vec<&Filesystem> = m.filesystems.values().filter(|f| f.mds_map.is_degraded()).collect();
        match degraded.len() {
            0 => {}
            n if n <= FS_NAMED_MAX => {
                let _ = write!(s, " (degraded: {})", degraded.into_iter().map(ranks).collect::<String>());
            }
            n => {
                let _ = write!(s, " (degraded: {n} fs)");
            }
        }
    }
    let mut by_state: BTreeMap<i32, usize> = BTreeMap::new();
    let mut by_rank: BTreeMap<(i32, i32), (i32, String)> = BTreeMap::new();
    for (gid, fscid) in &m.mds_roles {
        let Some(i) = m.info(*gid) else { continue };
        *by_state.entry(i.state).or_insert(0) += 1;
        if *fscid != FSCID_NONE && n <= FS_NAMED_MAX {
            by_rank.insert((*fscid, i.rank), (i.state, format!("{}={}", i.name, word(i))));
        }
    }
    if (1..=RANKS_NAMED_MAX).contains(&by_rank.len()) {
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for ((fscid, rank), (st, text)) in by_rank {
            let fs = m.filesystems.get(&fscid).map_or("", |f| f.mds_map.fs_name.as_str());
            let key = if n > 1 { format!("{fs}:{rank}") } else { rank.to_string() };
            named.insert(key, text);
            if let Some(n) = by_state.get_mut(&st) {
                *n -= 1;
            }
        }
        let list: Vec<String> = named.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        let _ = write!(s, " {{{}}}", list.join(","));
    }
    for (st, n) in by_state.into_iter().filter(|(_, n)| *n > 0) {
        let _ = write!(s, " {n} {}", state::name(st));
    }
    s
}

/// The `fsmap` object of `status`.
pub(super) fn summary_json(m: &FsMap) -> Value {
    let mut v = Map::new();
    v.insert("epoch".into(), m.epoch.0.into());
    for f in m.filesystems.values() {
        v.insert("id".into(), f.fscid.into());
        v.insert("up".into(), f.mds_map.up.len().into());
        v.insert("in".into(), f.mds_map.in_ranks.len().into());
        v.insert("max".into(), f.mds_map.max_mds.into());
    }
    let by_rank: Vec<Value> = m
        .mds_roles
        .iter()
        .filter(|(_, fscid)| **fscid != FSCID_NONE)
        .filter_map(|(gid, fscid)| Some((gid, fscid, m.info(*gid)?)))
        .map(|(gid, fscid, i)| {
            json!({"filesystem_id": fscid, "rank": i.rank, "name": i.name, "status": word(i), "gid": gid})
        })
        .collect();
    v.insert("by_rank".into(), by_rank.into());
    v.insert("up:standby".into(), m.standby_daemons.len().into());
    Value::Object(v)
}

/// `1/1 daemons up, 1 standby`, when there is anything to say.
pub(super) fn daemons_line(m: &FsMap) -> Option<String> {
    if m.filesystems.is_empty() && m.standby_daemons.is_empty() {
        return None;
    }
    let sum = |f: &dyn Fn(&Filesystem) -> usize| m.filesystems.values().map(f).sum::<usize>();
    let mut s = format!("{}/{} daemons up", sum(&|f| f.mds_map.up.len()), sum(&|f| f.mds_map.in_ranks.len()));
    let failed = sum(&|f| f.mds_map.failed.len());
    if failed > 0 {
        let _ = write!(s, " ({failed} failed)");
    }
    if !m.standby_daemons.is_empty() {
        let _ = write!(s, ", {} standby", m.standby_daemons.len());
    }
    let hot = sum(&|f| f.mds_map.num_in_state(state::STANDBY_REPLAY));
    if hot > 0 {
        let _ = write!(s, ", {hot} hot standby");
    }
    Some(s)
}

/// `    volumes: 1/1 healthy`, or nothing without file systems.
pub(super) fn volumes_line(m: &FsMap) -> String {
    if m.filesystems.is_empty() {
        return String::new();
    }
    let (mut healthy, mut recovering, mut failed, mut stopped, mut damaged) = (0, 0, 0, 0, 0);
    for f in m.filesystems.values() {
        let m = &f.mds_map;
        damaged += usize::from(!m.damaged.is_empty());
        if !m.failed.is_empty() {
            failed += 1;
        } else if m.is_degraded() {
            recovering += 1;
        } else if m.max_mds == 0 {
            stopped += 1;
        } else {
            healthy += 1;
        }
    }
    let mut s = format!("    volumes: {healthy}/{} healthy", m.filesystems.len());
    for (n, what) in [(recovering, "recovering"), (failed, "failed"), (stopped, "stopped")] {
        if n > 0 {
            let _ = write!(s, ", {n} {what}");
        }
    }
    if damaged > 0 {
        let _ = write!(s, "; {damaged} damaged");
    }
    s + "\n"
}

/// What `fs status` shows of a daemon that holds a rank or follows one. Counters of daemons are not gathered here, and shown as 0.
fn row(i: &MdsInfo) -> Value {
    let st = state::name(i.state).trim_start_matches("up:");
    let rank = if i.state == state::STANDBY_REPLAY { json!(format!("{}-s", i.rank)) } else { json!(i.rank) };
    let mut v = json!({"rank": rank, "name": i.name, "state": st, "rate": 0, "dns": 0, "inos": 0, "dirs": 0, "caps": 0});
    if i.is_laggy() {
        v["state"] = format!("{st}(laggy)").into();
    }
    v
}

fn pool_row(core: &MonCore, f: &Filesystem, id: i64) -> (Value, [String; 4]) {
    let pool = PoolId(id);
    let kind = if id == f.mds_map.metadata_pool { "metadata" } else { "data" };
    let name = core.osd.map.pool_name(pool).unwrap_or_default();
    let used = super::pool_used_bytes(core, pool);
    let avail = super::pool_max_avail(core, pool);
    let v = json!({"pool": name, "id": id, "type": kind, "used": used, "avail": avail});
    (v, [name.to_owned(), kind.to_owned(), si_k(used), si_k(avail)])
}

/// Bytes as the manager's module writes them: `96.0k`, `1.2G`, four characters and a unit, by 1024.
fn si_k(n: u64) -> String {
    let units = [" ", "k", "M", "G", "T", "P", "E"];
    let mut v = n as f64;
    let mut unit = 0;
    while v >= 1000.0 && unit + 1 < units.len() {
        v /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{n} ");
    }
    let digits = format!("{v:.10}");
    let mut text: String = digits.chars().take(4).collect();
    if text.ends_with('.') {
        text.pop();
    }
    text + units[unit]
}

fn status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let want = a.str("fs");
    let m = &core.mds.map;
    let all: Vec<&Filesystem> =
        m.filesystems.values().filter(|f| want.as_ref().is_none_or(|w| *w == f.mds_map.fs_name)).collect();
    if let (Some(w), true) = (&want, all.is_empty()) {
        return fail(Errno::EINVAL, format!("Invalid filesystem: {w}"));
    }
    let version_of = |gid: u64| {
        let v = core.mds.metadata.get(&gid.to_string()).and_then(|m| m.get("ceph_version"));
        v.cloned().unwrap_or_else(|| "unknown".to_owned())
    };
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for i in m.daemons() {
        versions.entry(version_of(i.global_id)).or_default().push(i.name.clone());
    }
    if a.format() != Format::Plain {
        let mut clients = Vec::new();
        let (mut mds, mut pools) = (Vec::new(), Vec::new());
        for f in &all {
            clients.push(json!({"fs": f.mds_map.fs_name, "clients": 0}));
            mds.extend(daemons_of(f).into_iter().map(row));
            mds.extend(f.mds_map.failed.iter().map(|r| json!({"rank": r, "state": "failed"})));
            pools.extend(pools_of(f).into_iter().map(|p| pool_row(core, f, p).0));
        }
        mds.extend(m.standby_daemons.values().map(|i| json!({"name": i.name, "state": "standby"})));
        let versions: Vec<Value> =
            versions.into_iter().map(|(v, d)| json!({"version": v, "daemon": d})).collect();
        return as_json(
            a,
            &json!({"clients": clients, "mds_version": versions, "mdsmap": mds, "pools": pools}),
        );
    }
    let mut s = String::new();
    for f in &all {
        let title = format!("{} - 0 clients", f.mds_map.fs_name);
        let _ = write!(s, "{title}\n{}\n", "=".repeat(title.len()));
        let mut t = TextTable::new();
        for (h, al) in [
            ("RANK", Align::Left),
            ("STATE", Align::Left),
            ("MDS", Align::Left),
            ("ACTIVITY", Align::Left),
            ("DNS", Align::Right),
            ("INOS", Align::Right),
            ("DIRS", Align::Right),
            ("CAPS", Align::Right),
        ] {
            t.define(h, Align::Center, al);
        }
        for i in daemons_of(f) {
            let v = row(i);
            let cell = |k: &str| v[k].as_str().map_or_else(|| v[k].to_string(), str::to_owned);
            let activity = if i.state == state::ACTIVE { "Reqs:    0 /s" } else { "" };
            let n = || si_u(0) + " ";
            t.row([cell("rank"), cell("state"), i.name.clone(), activity.to_owned(), n(), n(), n(), n()]);
        }
        for r in &f.mds_map.failed {
            t.row([r.to_string(), "failed".into()]);
        }
        s.push_str(&t.to_string());
        let mut t = TextTable::new();
        for (h, al) in
            [("POOL", Align::Center), ("TYPE", Align::Center), ("USED", Align::Right), ("AVAIL", Align::Right)]
        {
            t.define(h, Align::Center, al);
        }
        for p in pools_of(f) {
            t.row(pool_row(core, f, p).1);
        }
        s.push_str(&t.to_string());
    }
    if all.is_empty() && m.standby_daemons.is_empty() {
        return text("");
    }
    if !m.standby_daemons.is_empty() {
        let mut t = TextTable::new();
        t.define("STANDBY MDS", Align::Center, Align::Center);
        for i in m.standby_daemons.values() {
            t.row([i.name.clone()]);
        }
        s.push_str(&t.to_string());
    }
    if let [one] = versions.keys().collect::<Vec<_>>()[..] {
        let _ = writeln!(s, "MDS version: {one}");
    }
    text(s)
}

fn daemons_of(f: &Filesystem) -> Vec<&MdsInfo> {
    let mut v: Vec<&MdsInfo> = f.mds_map.mds_info.values().collect();
    v.sort_by_key(|i| (i.state == state::STANDBY_REPLAY, i.rank, i.global_id));
    v
}

fn pools_of(f: &Filesystem) -> Vec<i64> {
    let mut v = vec![f.mds_map.metadata_pool];
    v.extend(&f.mds_map.data_pools);
    v
}
