//! File systems in few words: `mds stat`, the lines of `ceph -s`, and the tables of `fs status`.

use super::{Args, CmdResult, Ctx, Format, Handler, as_json, text, text_outs};
use crate::core::MonCore;
use crate::fmt::compact;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use types::PoolId;
use types::fsmap::{FSCID_NONE, Filesystem, FsMap};
use types::mdsmap::{MdsInfo, state};

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
        if *fscid != FSCID_NONE && n <= FS_NAMED_MAX && i.state != state::STANDBY_REPLAY {
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
    for (n, what) in lost_ranks(m) {
        let _ = write!(s, ", {n} {what}");
    }
    s
}

/// How many ranks have failed and how many are damaged, those that are.
fn lost_ranks(m: &FsMap) -> Vec<(usize, &'static str)> {
    let sum = |f: &dyn Fn(&Filesystem) -> usize| m.filesystems.values().map(f).sum::<usize>();
    let both = [(sum(&|f| f.mds_map.failed.len()), "failed"), (sum(&|f| f.mds_map.damaged.len()), "damaged")];
    both.into_iter().filter(|(n, _)| *n > 0).collect()
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
    for (n, what) in lost_ranks(m) {
        v.insert(what.into(), n.into());
    }
    Value::Object(v)
}

/// `1/1 daemons up, 1 standby`, where there are file systems.
pub(super) fn daemons_line(m: &FsMap) -> Option<String> {
    if m.filesystems.is_empty() {
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

/// One cell of a PrettyTable: text, how many of its characters are seen, and the escapes around them.
struct Cell {
    text: String,
    style: &'static str,
}
fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), style: "" }
}

/// Python's PrettyTable without a border, as stock's `status` module sets it up: cells in the middle, two spaces behind each.
fn pretty_table(head: &[&str], rows: &[Vec<Cell>]) -> String {
    let seen = |s: &str| s.chars().count();
    let width = |col: usize| {
        rows.iter()
            .filter_map(|r| r.get(col))
            .map(|c| seen(&c.text))
            .chain([seen(head[col])])
            .max()
            .unwrap_or(0)
    };
    let centre = |out: &mut String, text: &str, style: &str, width: usize| {
        let (have, excess) = (seen(text), width - seen(text));
        // Of an odd excess the greater half goes behind a text of odd length and before one of even length.
        let left = if excess % 2 == 1 && have % 2 == 0 { excess / 2 + 1 } else { excess / 2 };
        out.push_str(&" ".repeat(left));
        if style.is_empty() {
            out.push_str(text);
        } else {
            let _ = write!(out, "\x1b[{style}m{text}\x1b[0m");
        }
        out.push_str(&" ".repeat(excess - left + 2));
    };
    let mut s = String::new();
    for (n, h) in head.iter().enumerate() {
        centre(&mut s, h, "", width(n));
    }
    s.push('\n');
    for r in rows {
        for n in 0..head.len() {
            let (text, style) = r.get(n).map_or(("", ""), |c| (c.text.as_str(), c.style));
            centre(&mut s, text, style, width(n));
        }
        s.push('\n');
    }
    s
}

/// A number in five characters, the last of them a unit by powers of `base`: `   0 `, `96.0k`, `18.7G`.
fn short(n: u64, base: f64) -> String {
    let units = [" ", "k", "M", "G", "T", "P", "E"];
    let mut v = n as f64;
    let mut unit = 0;
    while n.to_string().len() > 4
        && v >= 1.0
        && (v.trunc() as u64).to_string().len() > 3
        && unit + 1 < units.len()
    {
        v /= base;
        unit += 1;
    }
    let digits = if unit == 0 { n.to_string() } else { format!("{v:.8}").chars().take(4).collect() };
    let digits = digits.trim_end_matches('.');
    format!("{digits:>4}{}", units[unit])
}

const STATS: [(&str, &str); 4] =
    [("dns", "mds_mem.dn"), ("inos", "mds_mem.ino"), ("dirs", "mds_mem.dir"), ("caps", "mds_mem.cap")];

/// What `fs status` shows of a daemon that holds a rank or follows one.
struct Row {
    rank: i32,
    name: String,
    state: String,
    follows: bool,
    rate: u64,
    stats: [u64; 4],
}

fn row(core: &MonCore, i: &MdsInfo) -> Row {
    let follows = i.state == state::STANDBY_REPLAY;
    let counters = core.mds.counters.get(&i.global_id).cloned().unwrap_or_default();
    let path = if follows { "mds_log.replayed" } else { "mds_server.handle_client_request" };
    let st = state::name(i.state).trim_start_matches("up:");
    Row {
        rank: i.rank,
        name: i.name.clone(),
        state: if i.is_laggy() { format!("{st}(laggy)") } else { st.to_owned() },
        follows,
        rate: counters.rate(path),
        stats: STATS.map(|(_, path)| counters.value(path)),
    }
}

fn row_json(r: &Row) -> Value {
    let mut v = Map::new();
    v.insert("caps".into(), r.stats[3].into());
    v.insert("dirs".into(), r.stats[2].into());
    v.insert("dns".into(), r.stats[0].into());
    if r.follows {
        v.insert("events".into(), r.rate.into());
    }
    v.insert("inos".into(), r.stats[1].into());
    v.insert("name".into(), r.name.clone().into());
    v.insert("rank".into(), r.rank.into());
    if !r.follows {
        v.insert("rate".into(), r.rate.into());
    }
    v.insert("state".into(), r.state.clone().into());
    Value::Object(v)
}

fn row_cells(r: &Row) -> Vec<Cell> {
    let rank = Cell {
        text: if r.follows { format!("{}-s", r.rank) } else { r.rank.to_string() },
        style: if r.follows { "" } else { "1" },
    };
    let style = match (r.follows, r.state.as_str()) {
        (true, _) => "",
        (_, "active") => "1;32",
        _ => "1;33",
    };
    let activity = if r.follows {
        format!("Evts: {}/s", short(r.rate, 1000.0))
    } else if r.state == "active" {
        format!("Reqs: {}/s", short(r.rate, 1000.0))
    } else {
        String::new()
    };
    let mut v = vec![rank, Cell { text: r.state.clone(), style }, cell(r.name.clone()), cell(activity)];
    v.extend(r.stats.iter().map(|n| cell(short(*n, 1000.0))));
    v
}

fn pool_row(core: &MonCore, f: &Filesystem, id: i64) -> (Value, Vec<Cell>) {
    let pool = PoolId(id);
    let kind = if id == f.mds_map.metadata_pool { "metadata" } else { "data" };
    let name = core.osd.map.pool_name(pool).unwrap_or_default();
    let used = super::pool_used_bytes(core, pool);
    let avail = super::pool_max_avail(core, pool);
    let v = json!({"avail": avail, "id": id, "name": name, "type": kind, "used": used});
    (v, vec![cell(name), cell(kind), cell(short(used, 1024.0)), cell(short(avail, 1024.0))])
}

/// JSON as Python's `json.dumps` writes it: a space behind `,` and `:`.
fn python(v: &Value) -> String {
    match v {
        Value::Array(a) => format!("[{}]", a.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(o) => {
            let list: Vec<String> = o
                .iter()
                .map(|(k, v)| format!("{}: {}", compact(&Value::from(k.clone())), python(v)))
                .collect();
            format!("{{{}}}", list.join(", "))
        }
        other => compact(other),
    }
}

fn clients_of(core: &MonCore, f: &Filesystem) -> u64 {
    let rank0 = f.mds_map.up.get(&0).and_then(|gid| core.mds.counters.get(gid));
    rank0.map_or(0, |c| c.value("mds_sessions.session_count"))
}

fn status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let core = &*core;
    let want = a.str("fs");
    let m = &core.mds.map;
    let all: Vec<&Filesystem> =
        m.filesystems.values().filter(|f| want.as_ref().is_none_or(|w| *w == f.mds_map.fs_name)).collect();
    if let (Some(w), true) = (&want, all.is_empty()) {
        return text_outs("", format!("Invalid filesystem: {w}"));
    }
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for i in m.daemons() {
        let v = core.mds.metadata.get(&i.global_id.to_string()).and_then(|m| m.get("ceph_version"));
        versions.entry(v.cloned().unwrap_or_else(|| "unknown".to_owned())).or_default().push(i.name.clone());
    }
    if a.format() != Format::Plain {
        return status_json(core, a, &all, versions);
    }
    let mut s = String::new();
    for f in &all {
        let name = &f.mds_map.fs_name;
        let _ = write!(s, "{name} - {} clients\n{}\n", clients_of(core, f), "=".repeat(name.len()));
        let mut rows: Vec<Vec<Cell>> = daemons_of(f).into_iter().map(|i| row_cells(&row(core, i))).collect();
        rows.extend(f.mds_map.failed.iter().map(|r| vec![cell(r.to_string()), cell("failed")]));
        s += &pretty_table(&["RANK", "STATE", "MDS", "ACTIVITY", "DNS", "INOS", "DIRS", "CAPS"], &rows);
        let rows: Vec<Vec<Cell>> = pools_of(f).into_iter().map(|p| pool_row(core, f, p).1).collect();
        s += &pretty_table(&["POOL", "TYPE", "USED", "AVAIL"], &rows);
    }
    if !m.standby_daemons.is_empty() {
        let rows: Vec<Vec<Cell>> = m.standby_daemons.values().map(|i| vec![cell(i.name.clone())]).collect();
        s += &pretty_table(&["STANDBY MDS"], &rows);
    }
    match versions.len() {
        0 => {}
        1 => {
            let _ = writeln!(s, "MDS version: {}", versions.keys().next().map_or("", |v| v));
        }
        _ => {
            let rows: Vec<Vec<Cell>> =
                versions.into_iter().map(|(v, d)| vec![cell(v), cell(d.join(", "))]).collect();
            s += &pretty_table(&["VERSION", "DAEMONS"], &rows);
        }
    }
    text(s)
}

fn status_json(
    core: &MonCore,
    a: &Args,
    all: &[&Filesystem],
    versions: BTreeMap<String, Vec<String>>,
) -> CmdResult {
    let (mut clients, mut mds, mut pools) = (Vec::new(), Vec::new(), Vec::new());
    for f in all {
        clients.push(json!({"clients": clients_of(core, f), "fs": f.mds_map.fs_name}));
        mds.extend(daemons_of(f).into_iter().map(|i| row_json(&row(core, i))));
        mds.extend(f.mds_map.failed.iter().map(|r| json!({"rank": r, "state": "failed"})));
        pools.extend(pools_of(f).into_iter().map(|p| pool_row(core, f, p).0));
    }
    let waiting = core.mds.map.standby_daemons.values();
    mds.extend(waiting.map(|i| json!({"name": i.name, "state": "standby"})));
    let version = match versions.len() {
        0 => None,
        1 => versions.into_keys().next().map(Value::from),
        _ => Some(versions.into_iter().map(|(v, d)| json!({"daemon": d, "version": v})).collect()),
    };
    let mut v = Map::new();
    // Only what there is, as stock's module leaves empty parts out.
    let parts = [
        ("clients", (!clients.is_empty()).then_some(Value::from(clients))),
        ("mds_version", version),
        ("mdsmap", (!mds.is_empty()).then_some(Value::from(mds))),
        ("pools", (!pools.is_empty()).then_some(Value::from(pools))),
    ];
    for (k, part) in parts {
        if let Some(p) = part {
            v.insert(k.to_owned(), p);
        }
    }
    match a.format() {
        Format::JsonPretty => as_json(a, &Value::Object(v)),
        _ => text(python(&Value::Object(v)) + "\n"),
    }
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
