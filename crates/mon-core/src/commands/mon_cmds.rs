//! `mon *`, `quorum_status`, `versions`, `features`, `node ls`, `log`, `fsid` and their like.

use super::{Args, CmdResult, Ctx, Handler, as_json, done, fail, need, render, text, text_outs};
use crate::core::MonCore;
use crate::event::Role;
use crate::fmt::pretty;
use crate::log::{line, parse_level};
use core::net::{IpAddr, SocketAddr};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use types::logentry::{AuthName, LogEntry, LogPrio};
use types::monmap::MonMap;
use types::{AddrType, AddrVec, EntityAddr, Errno, features};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("fsid", fsid),
    ("quorum_status", quorum_status),
    ("mon_status", mon_status),
    ("mon stat", mon_stat),
    ("mon dump", mon_dump),
    ("mon getmap", mon_getmap),
    ("mon metadata", mon_metadata),
    ("mon versions", mon_versions),
    ("mon feature ls", mon_feature_ls),
    ("versions", versions),
    ("version", version),
    ("features", peer_features),
    ("node ls", node_ls),
    ("time-sync-status", time_sync),
    ("log", log),
    ("log last", log_last),
    ("sessions", sessions),
    ("mon ok-to-stop", mon_ok),
    ("mon ok-to-add-offline", ok_to_add),
    ("mon ok-to-rm", ok_to_rm),
    ("mon enable-msgr2", enable_msgr2),
    ("mon add", mon_add),
    ("mon set-addrs", mon_set_addrs),
    ("mon rm", mon_rm),
    ("mon remove", mon_rm),
    ("mon feature set", mon_feature_set),
    ("mon set election_strategy", mon_strategy),
    ("mon add disallowed_leader", mon_disallow),
    ("mon rm disallowed_leader", mon_disallow),
];

const FEATURES: [&str; 8] =
    ["kraken", "luminous", "mimic", "osdmap-prune", "nautilus", "octopus", "pacific", "elector-pinging"];

/// `{"type":"v2","addr":"127.0.0.1:3300","nonce":0}` of each.
pub(super) fn addrvec(a: &AddrVec) -> Value {
    let list: Vec<Value> = a
        .0
        .iter()
        .map(|a| {
            let kind = match a.kind {
                types::AddrType::None => "none",
                types::AddrType::Legacy => "v1",
                types::AddrType::Msgr2 => "v2",
                types::AddrType::Any => "any",
                types::AddrType::Cidr => "cidr",
            };
            let addr = a.sock.map_or_else(|| "(unrecognized address family 0)".to_owned(), |s| s.to_string());
            json!({"type": kind, "addr": addr, "nonce": a.nonce})
        })
        .collect();
    json!({"addrvec": list})
}

/// `127.0.0.1:6789/0`: the v1 address, without its type.
pub(crate) fn legacy(a: &AddrVec) -> String {
    bare(&a.legacy_or_front())
}

/// An address without its type.
pub(super) fn bare(a: &EntityAddr) -> String {
    match a.sock {
        Some(s) => format!("{s}/{}", a.nonce),
        None => ":/0".to_owned(),
    }
}

/// A time as the monitor map prints it.
fn gmtime_z(t: types::Utime) -> String {
    t.to_string().replace("+0000", "Z")
}

pub(super) fn monmap_json(m: &MonMap) -> Value {
    let mons: Vec<Value> = m
        .ranks
        .iter()
        .enumerate()
        .filter_map(|(rank, name)| {
            let i = m.mons.get(name)?;
            let addr = legacy(&i.public_addrs);
            Some(json!({
                "rank": rank, "name": name, "public_addrs": addrvec(&i.public_addrs), "addr": addr, "public_addr": addr,
                "priority": i.priority, "weight": i.weight, "crush_location": "{}",
            }))
        })
        .collect();
    json!({
        "epoch": m.epoch.0, "fsid": m.fsid.to_string(), "modified": gmtime_z(m.last_changed), "created": gmtime_z(m.created),
        "min_mon_release": m.min_mon_release, "min_mon_release_name": types::osdmap::release::name(m.min_mon_release),
        "election_strategy": m.strategy, "disallowed_leaders: ": "", "stretch_mode": m.stretch_mode_enabled,
        "tiebreaker_mon": m.tiebreaker_mon, "removed_ranks: ": "",
        "features": {"persistent": FEATURES, "optional": []},
        "mons": mons,
    })
}

fn fsid(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let id = core.fsid().to_string();
    render(a, &json!({"fsid": id}), || format!("{id}\n"))
}

fn age(core: &MonCore) -> u64 {
    core.now.since(core.quorum.since).as_secs()
}

fn leader_name(core: &MonCore) -> String {
    core.quorum.leader.clone().unwrap_or_default()
}

fn quorum_status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = json!({
        "election_epoch": core.quorum.election_epoch, "quorum": core.quorum_ranks(), "quorum_names": core.quorum_names(),
        "quorum_leader_name": leader_name(core),
        "quorum_age": age(core),
        "features": {"quorum_con": features::SUPPORTED.to_string(), "quorum_mon": FEATURES},
        "monmap": monmap_json(core.monmap()),
    });
    match a.format() {
        super::Format::Plain => text(crate::fmt::compact(&v) + "\n"),
        _ => as_json(a, &v),
    }
}

/// What `mon_status` answers.
pub(super) fn mon_status_json(core: &MonCore) -> Value {
    // Before it is asked in, a monitor does not know who else is outside.
    let outside: Vec<&String> = match core.quorum.leader {
        Some(_) => core.monmap().ranks.iter().filter(|n| !core.quorum.quorum.contains(n)).collect(),
        None => vec![],
    };
    let rank = core.monmap().rank_of(core.name()).map_or(-1, |r| r as i64);
    json!({
        "name": core.name(), "rank": rank, "state": core.quorum.state.as_str(),
        "election_epoch": core.quorum.election_epoch, "quorum": core.quorum_ranks(),
        "quorum_age": age(core),
        "features": {
            "required_con": core.required_features().to_string(), "required_mon": FEATURES,
            "quorum_con": features::SUPPORTED.to_string(), "quorum_mon": FEATURES,
        },
        "outside_quorum": outside, "extra_probe_peers": [], "sync_provider": [],
        "monmap": monmap_json(core.monmap()),
        "feature_map": feature_map(core),
        "stretch_mode": false,
    })
}

fn mon_status(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &mon_status_json(core))
}

fn mon_stat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = core.monmap();
    let (name, ranks) = (leader_name(core), core.quorum_ranks());
    let rank = m.rank_of(&name).unwrap_or(0);
    let quorum: Vec<Value> = ranks.iter().map(|r| json!({"rank": r, "name": m.ranks.get(*r)})).collect();
    let v = json!({
        "epoch": m.epoch.0, "min_mon_release_name": types::osdmap::release::name(m.min_mon_release), "num_mons": m.mons.len(),
        "leader": name, "quorum": quorum,
    });
    let list: Vec<String> = m.mons.iter().map(|(n, i)| format!("{n}={}", i.public_addrs)).collect();
    let plain = format!(
        "e{}: {} mons at {{{}}} removed_ranks: {{{}}}, election epoch {}, leader {rank} {name}, quorum {} {}\n",
        m.epoch,
        m.mons.len(),
        list.join(","),
        m.removed_ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        core.quorum.election_epoch,
        ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        core.quorum_names().join(","),
    );
    render(a, &v, || plain)
}

fn mon_dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = core.monmap();
    if let Some(e) = a.int("epoch")
        && e != i64::from(m.epoch.0)
    {
        return fail(Errno::ENOENT, format!("there is no map for epoch {e}"));
    }
    let outs = format!("dumped monmap epoch {}", m.epoch);
    let mut v = monmap_json(m);
    v["quorum"] = json!(core.quorum_ranks());
    let mut plain = format!(
        "epoch {}\nfsid {}\nlast_changed {}\ncreated {}\nmin_mon_release {} ({})\nelection_strategy: {}\n",
        m.epoch,
        m.fsid,
        m.last_changed,
        m.created,
        m.min_mon_release,
        types::osdmap::release::name(m.min_mon_release),
        m.strategy
    );
    for (rank, name) in m.ranks.iter().enumerate() {
        if let Some(i) = m.mons.get(name) {
            plain.push_str(&format!("{rank}: {} mon.{name}\n", i.public_addrs));
        }
    }
    let mut o = render(a, &v, || plain)?;
    o.outs = outs;
    Ok(o)
}

fn mon_getmap(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let b = denc::to_bytes(core.monmap(), crate::osdmon::STORED);
    Ok(super::Out {
        outs: format!("got monmap epoch {}", core.monmap().epoch),
        data: b.to_vec(),
        wait: false,
        ret: 0,
    })
}

fn mon_meta(core: &MonCore, name: &str) -> Map<String, Value> {
    let mut m = Map::new();
    let addrs = core.monmap().mons.get(name).map(|i| i.public_addrs.to_string()).unwrap_or_default();
    m.insert("addrs".into(), addrs.into());
    for (k, v) in core.mon_metadata.get(name).into_iter().flatten() {
        m.insert(k.clone(), v.clone().into());
    }
    m
}

fn mon_metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if let Some(id) = a.str("id") {
        if !core.monmap().mons.contains_key(&id) {
            return fail(Errno::ENOENT, format!("mon.{id} does not exist"));
        }
        return as_json(a, &Value::Object(mon_meta(core, &id)));
    }
    let all: Vec<Value> = core
        .monmap()
        .ranks
        .iter()
        .map(|n| {
            let mut m = Map::new();
            m.insert("name".into(), n.clone().into());
            m.extend(mon_meta(core, n));
            Value::Object(m)
        })
        .collect();
    as_json(a, &Value::Array(all))
}

fn count_versions<'a>(list: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut m = BTreeMap::new();
    for v in list {
        *m.entry(v.to_owned()).or_insert(0) += 1;
    }
    m
}

/// Versions of the OSDs that told theirs.
pub(super) fn osd_versions_map(core: &MonCore) -> BTreeMap<String, u64> {
    let up = core.osd.map.osds().filter(|o| core.osd.map.is_up(*o));
    count_versions(up.filter_map(|o| core.osd.meta(o, "ceph_version")))
}

/// Versions of the monitors in the quorum, as they told them.
fn mon_versions_map(core: &MonCore) -> BTreeMap<String, u64> {
    let told = |n: &String| core.mon_metadata.get(n).and_then(|m| m.get("ceph_version")).map(String::as_str);
    let names = core.quorum_names();
    count_versions(names.iter().map(|n| match told(n) {
        Some(v) => v,
        None if n == core.name() => core.cfg.version.as_str(),
        None => "unknown",
    }))
}

fn mon_versions(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &json!(mon_versions_map(core)))
}

fn versions(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mon = mon_versions_map(core);
    // Each monitor is a manager too where that is so: the active one, and those that stand by.
    let mgr = match core.mgr.external {
        true => super::mgr_map_cmds::count(core, "ceph_version"),
        false if core.mgr.map.available => mon.clone(),
        false => BTreeMap::new(),
    };
    let osd = osd_versions_map(core);
    let mut overall = BTreeMap::new();
    let mds = super::mds_cmds::count_by(core, "ceph_version");
    for m in [&mon, &mgr, &osd, &mds] {
        for (k, n) in m {
            *overall.entry(k.clone()).or_insert(0) += n;
        }
    }
    as_json(a, &json!({"mon": mon, "mgr": mgr, "osd": osd, "mds": mds, "overall": overall}))
}

fn version(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = core.cfg.version.clone();
    as_json(a, &json!({"version": "16.2.15", "release": "pacific", "release_type": "stable", "loligo": v}))
}

fn feature_map(core: &MonCore) -> Value {
    let mut all: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
    all.entry("mon").or_default().insert(features::SUPPORTED, 1);
    for (_, p) in core.sessions().filter(|(_, p)| p.authenticated && p.role == Role::Mon) {
        let kind = p.entity.split_once('.').map_or("client", |(k, _)| k);
        let kind =
            ["mon", "mds", "osd", "client", "mgr"].into_iter().find(|k| *k == kind).unwrap_or("client");
        *all.entry(kind).or_default().entry(p.features).or_insert(0) += 1;
    }
    let mut out = Map::new();
    for kind in ["mon", "mds", "osd", "client", "mgr"] {
        if let Some(m) = all.get(kind) {
            let list: Vec<Value> = m
                .iter()
                .map(|(f, n)| json!({"features": format!("0x{f:x}"), "release": release_of(*f), "num": n}))
                .collect();
            out.insert(kind.into(), list.into());
        }
    }
    Value::Object(out)
}

/// What `ceph features` calls a set of bits; stock 16 says luminous for all newer ones.
fn release_of(f: u64) -> &'static str {
    if f & features::SERVER_LUMINOUS == features::SERVER_LUMINOUS { "luminous" } else { "jewel" }
}

fn peer_features(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &feature_map(core))
}

fn node_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let host =
        |m: Option<&BTreeMap<String, String>>| m.and_then(|m| m.get("hostname")).cloned().unwrap_or_default();
    let mut mon: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for n in &core.monmap().ranks {
        mon.entry(host(core.mon_metadata.get(n))).or_default().push(n.clone().into());
    }
    let mut osd: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for o in core.osd.map.osds() {
        if let Some(m) = core.osd.metadata.get(&o.0.to_string()) {
            osd.entry(host(Some(m))).or_default().push(o.0.into());
        }
    }
    let mut mgr: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (n, m) in super::mgr_map_cmds::managers(core) {
        mgr.entry(host(Some(&m))).or_default().push(n.into());
    }
    let v = match a.str("type").as_deref() {
        Some("mon") => json!(mon),
        Some("osd") => json!(osd),
        Some("mgr") => json!(mgr),
        Some("mds") => json!(super::mds_cmds::by_host(core)),
        _ => match super::mds_cmds::by_host(core) {
            // Without any, stock has no word of them.
            none if none.is_empty() => json!({"mon": mon, "osd": osd, "mgr": mgr}),
            mds => json!({"mon": mon, "osd": osd, "mds": mds, "mgr": mgr}),
        },
    };
    as_json(a, &v)
}

fn time_sync(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &core.time_sync_json())
}

fn log(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let words = a.list("logtext");
    if words.is_empty() {
        need(a, "logtext")?;
    }
    let prio = parse_level(&a.str("level").unwrap_or_else(|| "info".into())).unwrap_or(LogPrio::INFO);
    let name =
        AuthName::parse(&ctx.entity).unwrap_or_else(|| AuthName::new(types::EntityType::CLIENT, "admin"));
    let e = LogEntry {
        rank: types::EntityName::new(name.kind, -1),
        name,
        stamp: core.now,
        prio,
        msg: words.join(" "),
        channel: "cluster".into(),
        ..LogEntry::default()
    };
    core.log.add(e);
    done("")
}

fn log_last(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let num = a.int("num").unwrap_or(20).clamp(1, 10_000) as usize;
    let level = a.str("level").and_then(|l| parse_level(&l)).unwrap_or(LogPrio::INFO);
    let channel = a.str("channel").unwrap_or_else(|| "cluster".into());
    let list = core.log.last(num, level, &channel);
    let v: Vec<Value> = list
        .iter()
        .map(|e| {
            json!({
                "name": e.name.to_string(), "rank": e.rank.to_string(), "addrs": addrvec(&e.addrs), "stamp": e.stamp.to_string(), "seq": e.seq,
                "channel": e.channel, "priority": e.prio.tag(), "message": e.msg,
            })
        })
        .collect();
    render(a, &Value::Array(v), || list.iter().map(|e| line(e)).collect())
}

fn sessions(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let v: Vec<Value> = core
        .sessions
        .values()
        // Those with the manager are none of the monitor's.
        .filter(|s| s.peer.role == Role::Mon)
        .map(|s| {
            json!({
                "name": s.peer.name.to_string(), "entity_name": s.peer.entity, "addrs": addrvec(&s.peer.addrs),
                "con_features_hex": format!("{:x}", s.peer.features), "open": true, "caps": {"text": s.peer.caps},
                "authenticated": s.peer.authenticated, "global_id": s.peer.global_id, "osd_epoch": s.osd_epoch,
                "remote_host": s.hostname,
            })
        })
        .collect();
    text(pretty(&Value::Array(v)))
}

fn mon_ok(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = a.list("ids");
    if ids.is_empty() {
        return fail(Errno::EINVAL, "");
    }
    let left: Vec<String> = core.quorum_names().into_iter().filter(|n| !ids.contains(n)).collect();
    let (enough, left, ids) = (left.len() > core.monmap().mons.len() / 2, left.join(","), ids.join(","));
    if enough {
        return text_outs("", format!("quorum should be preserved ({left}) after stopping [{ids}]"));
    }
    fail(Errno::EBUSY, format!("not enough monitors would be available ({left}) after stopping mons [{ids}]"))
}

/// True when the monitors that are in the quorum now would be one, had the map `mons` members.
fn would_be_quorum(core: &MonCore, without: Option<&String>, mons: usize) -> bool {
    core.quorum_names().iter().filter(|n| Some(*n) != without).count() > mons / 2
}

fn ok_to_add(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    if would_be_quorum(core, None, core.monmap().mons.len() + 1) {
        return text_outs("", "");
    }
    fail(Errno::EBUSY, "adding a monitor may break quorum (until that monitor starts)")
}

fn ok_to_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let id = need(a, "id")?;
    let mons = core.monmap().mons.len();
    if !core.monmap().mons.contains_key(&id) {
        return text_outs("", format!("mon.{id} does not exist"));
    }
    if mons > 1 && would_be_quorum(core, Some(&id), mons - 1) {
        return text_outs("", "");
    }
    fail(Errno::EBUSY, format!("removing mon.{id} would break quorum"))
}

/// Monitors here listen for both protocols from the beginning; one that was given a v1 address only is told by `mon set-addrs`.
fn enable_msgr2(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let v2 = |a: &AddrVec| a.0.iter().any(|a| a.kind == AddrType::Msgr2);
    let without: Vec<&String> =
        core.monmap().mons.iter().filter(|(_, m)| !v2(&m.public_addrs)).map(|(n, _)| n).collect();
    if without.is_empty() {
        return text_outs("", "");
    }
    let why = format!(
        "{without:?} have no v2 address in the map: give them one with 'ceph mon set-addrs', and start them anew"
    );
    fail(Errno::EOPNOTSUPP, why)
}

/// Reads `10.0.0.1`, `10.0.0.1:6789`, `v2:10.0.0.1:3300` or `[v2:…,v1:…]`; ports that are missing are the usual ones.
fn parse_mon_addrs(text: &str) -> Option<AddrVec> {
    const V1_PORT: u16 = 6789;
    let one = |text: &str| -> Option<EntityAddr> {
        let (kind, rest) = match text.split_at_checked(3) {
            Some(("v1:", rest)) => (Some(AddrType::Legacy), rest),
            Some(("v2:", rest)) => (Some(AddrType::Msgr2), rest),
            _ => (None, text),
        };
        let s: SocketAddr = rest.split('/').next()?.parse().ok()?;
        let by_port = if s.port() == V1_PORT { AddrType::Legacy } else { AddrType::Msgr2 };
        (s.port() != 0).then(|| EntityAddr::new(kind.unwrap_or(by_port), s, 0))
    };
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        let at = |kind, port| EntityAddr::new(kind, SocketAddr::new(ip, port), 0);
        return Some(AddrVec(vec![at(AddrType::Msgr2, 3300), at(AddrType::Legacy, V1_PORT)]));
    }
    let list = match text.strip_prefix('[') {
        Some(t) if t.contains("v1:") || t.contains("v2:") => t.strip_suffix(']')?,
        _ => text,
    };
    list.split(',').map(|t| one(t.trim())).collect::<Option<Vec<_>>>().map(AddrVec)
}

fn mon_add(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, addr) = (need(a, "name")?, need(a, "addr")?);
    let Some(addrs) = parse_mon_addrs(&addr) else {
        return fail(Errno::EINVAL, format!("addr {addr} is no address of a monitor"));
    };
    if name.is_empty()
        || name.len() > 200
        || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/')
    {
        return fail(Errno::EINVAL, format!("'{name}' is no name of a monitor"));
    }
    let map = core.monmap.peek();
    if let Some(i) = map.mons.get(&name) {
        if i.public_addrs == addrs {
            return done(format!("mon.{name} at {addrs} already exists"));
        }
        return fail(Errno::EEXIST, format!("mon.{name} already exists at address {}", i.public_addrs));
    }
    let taken = map.mons.values().find(|i| i.public_addrs.0.iter().any(|x| addrs.0.contains(x)));
    if let Some(i) = taken {
        return fail(Errno::EEXIST, format!("mon.{} already exists at address {addrs}", i.name));
    }
    let now = core.now;
    core.monmap.set(&name, addrs.clone(), now);
    done(format!("adding mon.{name} at {addrs}"))
}

fn mon_set_addrs(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, text) = (need(a, "name")?, need(a, "addrs")?);
    if !core.monmap.peek().mons.contains_key(&name) {
        return fail(Errno::ENOENT, format!("mon.{name} does not exist"));
    }
    let Some(addrs) = parse_mon_addrs(&text) else {
        return fail(Errno::EINVAL, format!("failed to parse addrs '{text}'"));
    };
    let now = core.now;
    core.monmap.set(&name, addrs, now);
    done("")
}

fn mon_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "name")?;
    let map = core.monmap.peek();
    let Some(i) = map.mons.get(&name) else {
        return done(format!("mon.{name} does not exist or has already been removed"));
    };
    if map.mons.len() == 1 {
        return fail(Errno::EINVAL, format!("error: refusing removal of last monitor {name}"));
    }
    let text =
        format!("removing mon.{name} at {}, there will be {} monitors", i.public_addrs, map.mons.len() - 1);
    core.expel(&name);
    done(text)
}

fn mon_feature_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = json!({
        "all": {"supported": FEATURES, "persistent": FEATURES},
        "monmap": {"persistent": FEATURES, "optional": [], "required": FEATURES},
    });
    let list = format!("[{}]", FEATURES.join(","));
    let epoch = core.monmap().epoch;
    render(a, &v, || {
        format!(
            "all features\n\tsupported: {list}\n\tpersistent: {list}\non current monmap (epoch {epoch})\n\tpersistent: {list}\n\trequired: {list}\n"
        )
    })
}

/// All features are set from the beginning: there is none to add.
fn mon_feature_set(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "feature_name")?;
    if !FEATURES.contains(&name.as_str()) {
        return fail(Errno::ENOENT, format!("unknown feature '{name}'"));
    }
    let shown = format!("mon_feature_t([{name}])");
    if !a.flag("yes_i_really_mean_it") {
        return fail(
            Errno::EPERM,
            format!(
                "please specify '--yes-i-really-mean-it' if you really, **really** want to set feature '{shown}' in the monmap."
            ),
        );
    }
    text_outs("", format!("setting feature '{shown}'"))
}

fn mon_strategy(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    match need(a, "strategy")?.as_str() {
        "classic" => text_outs("", ""),
        s @ ("disallow" | "connectivity") => fail(
            Errno::EOPNOTSUPP,
            format!("election strategy {s} is not there: any monitor of the quorum may lead"),
        ),
        s => fail(Errno::EINVAL, format!("there is no election strategy '{s}'")),
    }
}

/// (The strategy is always the classic one.)
fn mon_disallow(_: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    fail(Errno::EINVAL, "You cannot disallow monitors in your current election mode")
}
