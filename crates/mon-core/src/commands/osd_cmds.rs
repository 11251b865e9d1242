//! `osd` commands that read the map or set something of the whole map.

use super::mon_cmds::{addrvec, osd_versions_map};
use super::osd_dump::{map_json, map_text, osd_json, osd_line};
use super::status::{osd_summary, osd_summary_json};
use super::{
    Args, CmdResult, Ctx, Handler, Out, as_json, done, fail, need, need_float, need_int, render, text_outs,
};
use crate::core::MonCore;
use crate::crushutil;
use crate::fmt::{Align, TextTable, fmt_g};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::osdmap::{OsdMap, flag, release};
use types::{AddrType, EntityAddr, Errno, ObjectLocator, OsdId, PgId, PoolId, Utime};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd stat", stat),
    ("osd dump", dump),
    ("osd info", info),
    ("osd ls", ls),
    ("osd ls-tree", ls_tree),
    ("osd getmaxosd", getmaxosd),
    ("osd setmaxosd", setmaxosd),
    ("osd getmap", getmap),
    ("osd versions", versions),
    ("osd count-metadata", count_metadata),
    ("osd metadata", metadata),
    ("osd find", find),
    ("osd map", map),
    ("osd utilization", utilization),
    ("osd numa-status", numa),
    ("osd set", set),
    ("osd unset", unset),
    ("osd pause", pause),
    ("osd unpause", unpause),
    ("osd blocklist", blocklist),
    ("osd blacklist", blocklist),
    ("osd blocklist ls", blocklist_ls),
    ("osd blacklist ls", blocklist_ls),
    ("osd blocklist clear", blocklist_clear),
    ("osd blacklist clear", blocklist_clear),
    ("osd set-full-ratio", set_ratio),
    ("osd set-nearfull-ratio", set_ratio),
    ("osd set-backfillfull-ratio", set_ratio),
    ("osd set-require-min-compat-client", set_compat),
    ("osd get-require-min-compat-client", get_compat),
    ("osd require-osd-release", require_release),
];

fn stat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = osd_summary_json(core);
    // Stock gives this one without a newline at the end when it is JSON.
    render(a, &v, || osd_summary(core, true, "").trim_end_matches('\n').to_owned())
}

/// The map of `epoch`, or the newest.
fn map_at(core: &MonCore, a: &Args) -> Result<OsdMap, (Errno, String)> {
    match a.int("epoch") {
        None => Ok(core.osd.map.clone()),
        Some(e) => {
            let m = u32::try_from(e).ok().filter(|e| *e > 0).and_then(|e| core.osd.full_at(&core.kv, e));
            m.ok_or_else(|| (Errno::ENOENT, format!("there is no map for epoch {e}")))
        }
    }
}

fn dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = map_at(core, a)?;
    render(a, &map_json(&m), || map_text(&m))
}

fn info(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    if let Some(id) = a.int("id") {
        let o = OsdId(id as i32);
        if !m.exists(o) {
            return fail(Errno::EINVAL, format!("osd.{id} does not exist"));
        }
        return render(a, &osd_json(m, o), || osd_line(m, o).trim_end().to_owned());
    }
    let v: Vec<Value> = m.osds().map(|o| osd_json(m, o)).collect();
    render(a, &Value::Array(v), || m.osds().map(|o| osd_line(m, o)).collect::<String>().trim_end().to_owned())
}

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = map_at(core, a)?;
    let ids: Vec<i32> = m.osds().map(|o| o.0).collect();
    render(a, &json!(ids), || ids.iter().map(|i| format!("{i}\n")).collect())
}

fn ls_tree(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "name")?;
    let c = &core.osd.map.crush;
    let Some(id) = c.item_id(&name) else { return fail(Errno::ENOENT, format!("'{name}' does not exist")) };
    let mut ids = c.devices_under(id);
    ids.sort_unstable();
    render(a, &json!(ids), || ids.iter().map(|i| format!("{i}\n")).collect())
}

fn getmaxosd(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    render(a, &json!({"epoch": m.epoch.0, "max_osd": m.max_osd}), || {
        format!("max_osd = {} in epoch {}", m.max_osd, m.epoch)
    })
}

fn setmaxosd(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need_int(a, "newmax")?;
    if n < 0 {
        return fail(Errno::EINVAL, "");
    }
    if n > core.cfg.num("mon_max_osd") as i64 {
        return fail(
            Errno::ERANGE,
            format!(
                "cannot set max_osd to {n} which is > conf.mon_max_osd ({})",
                core.cfg.opt("mon_max_osd")
            ),
        );
    }
    let n = n as i32;
    if let Some(o) = core.osd.peek().osds().find(|o| o.0 >= n) {
        return fail(
            Errno::EBUSY,
            format!("cannot shrink max_osd to {n} because osd.{o} (and possibly others) still in use"),
        );
    }
    core.osd.next().set_max_osd(n);
    done(format!("set new max_osd = {n}"))
}

fn getmap(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = map_at(core, a)?;
    Ok(Out {
        outs: format!("got osdmap epoch {}", m.epoch),
        data: m.to_bytes(crate::osdmon::STORED).to_vec(),
        wait: false,
        ret: 0,
    })
}

fn versions(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &json!(osd_versions_map(core)))
}

fn count_metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let p = need(a, "property")?;
    let mut m: BTreeMap<String, u64> = BTreeMap::new();
    for o in core.osd.map.osds() {
        *m.entry(core.osd.meta(o, &p).unwrap_or("unknown").to_owned()).or_insert(0) += 1;
    }
    as_json(a, &json!(m))
}

fn metadata(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let one = |o: OsdId| {
        let mut v = Map::new();
        v.insert("id".into(), o.0.into());
        // (A manager of stock's that is told another kind of "id" dies of it.)
        let told = core.osd.metadata.get(&o.0.to_string()).into_iter().flatten();
        v.extend(told.filter(|(k, _)| *k != "id").map(|(k, x)| (k.clone(), x.clone().into())));
        v
    };
    if a.has("id") {
        let o = osd_id(a, "id")?;
        if !core.osd.map.exists(o) {
            return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
        }
        return as_json(a, &Value::Object(one(o)));
    }
    let all: Vec<Value> = core.osd.map.osds().map(|o| Value::Object(one(o))).collect();
    as_json(a, &Value::Array(all))
}

/// An OSD id given as number, text, or `osd.N`.
pub(super) fn osd_id(a: &Args, name: &str) -> Result<OsdId, (Errno, String)> {
    let t = need(a, name)?;
    let t = t.strip_prefix("osd.").unwrap_or(&t);
    t.parse().map(OsdId).map_err(|_| (Errno::EINVAL, format!("bad or missing field '{name}'")))
}

fn find(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = osd_id(a, "id")?;
    let m = &core.osd.map;
    if !m.exists(o) {
        return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
    }
    let mut v = json!({"osd": o.0, "addrs": addrvec(m.addrs(o).unwrap_or(&Default::default())), "osd_fsid": m.uuid(o).unwrap_or_default().to_string()});
    for (key, from) in [
        ("host", "hostname"),
        ("pod_name", "pod_name"),
        ("pod_namespace", "pod_namespace"),
        ("container_name", "container_name"),
    ] {
        if let Some(x) = core.osd.meta(o, from) {
            v[key] = x.into();
        }
    }
    v["crush_location"] = json!(crushutil::location(&m.crush, o.0));
    as_json(a, &v)
}

fn map(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (pool, object) = (need(a, "pool")?, need(a, "object")?);
    let nspace = a.text("nspace");
    let m = &core.osd.map;
    let Some(id) = m.pool_by_name(&pool) else {
        return fail(Errno::ENOENT, format!("pool {pool} does not exist"));
    };
    let mut loc = ObjectLocator::pool(id);
    loc.nspace = nspace.clone().into();
    let (Some(raw), Some(pg)) =
        (m.object_to_raw_pg(&loc, object.as_bytes()), m.object_to_pg(&loc, object.as_bytes()))
    else {
        return fail(Errno::ENOENT, format!("pool {pool} does not exist"));
    };
    let w = m.pg_to_up_acting_osds(pg).unwrap_or_default();
    let nums = |l: &[OsdId]| -> Vec<i32> { l.iter().map(|o| o.0).collect() };
    let full = if nspace.is_empty() { object.clone() } else { format!("{nspace}/{object}") };
    let p = |o: Option<OsdId>| o.map_or(-1, |o| o.0);
    let (up, acting) = (p(w.up_primary), p(w.acting_primary));
    let v = json!({
        "epoch": m.epoch.0, "pool": pool, "pool_id": id.0, "objname": full, "raw_pgid": raw.to_string(), "pgid": pg.to_string(),
        "up": nums(&w.up), "up_primary": up, "acting": nums(&w.acting), "acting_primary": acting,
    });
    let list = super::pg_dump::list;
    render(a, &v, || {
        format!(
            "osdmap e{} pool '{pool}' ({id}) object '{full}' -> pg {raw} ({pg}) -> up ({}, p{up}) acting ({}, p{acting})",
            m.epoch,
            list(&w.up),
            list(&w.acting)
        )
    })
}

fn utilization(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let mut by: BTreeMap<OsdId, u64> = m.osds().filter(|o| m.is_in(*o)).map(|o| (o, 0)).collect();
    let mut total = 0u64;
    for (id, p) in m.pools.iter() {
        for seed in 0..p.pg_num {
            for o in m.pg_to_up_acting_osds(PgId { pool: *id, seed }).unwrap_or_default().up {
                if let Some(n) = by.get_mut(&o) {
                    *n += 1;
                    total += 1;
                }
            }
        }
    }
    let n = by.len().max(1) as f64;
    let avg = total as f64 / n;
    let dev = (by.values().map(|x| (*x as f64 - avg).powi(2)).sum::<f64>() / n).sqrt();
    let expected = (avg * (1.0 - 1.0 / n)).sqrt();
    let min = by.iter().min_by_key(|(o, x)| (**x, **o)).map(|(o, x)| (o.0, *x)).unwrap_or((-1, 0));
    let max = by.iter().max_by_key(|(o, x)| (**x, -o.0)).map(|(o, x)| (o.0, *x)).unwrap_or((-1, 0));
    let v = json!({
        "avg_pgs": avg as u64, "std_dev": dev, "expected_baseline_std_dev": expected, "min_osd": min.0, "min_osd_pgs": min.1,
        "max_osd": max.0, "max_osd_pgs": max.1,
    });
    let over = |x: u64| if avg > 0.0 { fmt_g(x as f64 / avg, 6) } else { "0".into() };
    render(a, &v, || {
        format!(
            "avg {}\nstddev {} (expected baseline {})\nmin osd.{} with {} pgs ({} * mean)\nmax osd.{} with {} pgs ({} * mean)\n",
            avg as u64,
            fmt_g(dev, 6),
            fmt_g(expected, 6),
            min.0,
            min.1,
            over(min.1),
            max.0,
            max.1,
            over(max.1)
        )
    })
}

fn numa(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new();
    for (h, al) in [("OSD", r), ("HOST", l), ("NETWORK", r), ("STORAGE", r), ("AFFINITY", r), ("CPUS", l)] {
        t.define(h, l, al);
    }
    let mut v = Vec::new();
    for o in core.osd.map.osds() {
        let host = core.osd.meta(o, "hostname").unwrap_or("").to_owned();
        v.push(json!({"osd": o.0, "host": host, "numa_node": -1}));
        t.row([o.to_string(), host, "-".into(), "-".into(), "-".into(), "-".into()]);
    }
    render(a, &json!({ "osds": v }), || t.to_string())
}

const SETTABLE: &[(&str, u32)] = &[
    ("full", flag::FULL),
    ("pause", flag::PAUSERD | flag::PAUSEWR),
    ("noup", flag::NOUP),
    ("nodown", flag::NODOWN),
    ("noout", flag::NOOUT),
    ("noin", flag::NOIN),
    ("nobackfill", flag::NOBACKFILL),
    ("norebalance", flag::NOREBALANCE),
    ("norecover", flag::NORECOVER),
    ("noscrub", flag::NOSCRUB),
    ("nodeep-scrub", flag::NODEEP_SCRUB),
    ("notieragent", flag::NOTIERAGENT),
    ("nosnaptrim", flag::NOSNAPTRIM),
    ("pglog_hardlimit", flag::PGLOG_HARDLIMIT),
];

fn flag_bits(key: &str, setting: bool) -> Result<u32, (Errno, String)> {
    let bad = || (Errno::EINVAL, format!("unrecognized flag '{key}'"));
    let f = SETTABLE.iter().find(|(n, _)| *n == key).map(|(_, f)| *f).ok_or_else(bad)?;
    if !setting && f == flag::PGLOG_HARDLIMIT { Err(bad()) } else { Ok(f) }
}

fn set_flags(core: &mut MonCore, bits: u32, on: bool) -> CmdResult {
    let m = core.osd.next();
    if on {
        m.flags |= bits
    } else {
        m.flags &= !bits
    }
    done(format!("{} is {}", flag::names(bits), if on { "set" } else { "unset" }))
}

fn set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let bits = flag_bits(&need(a, "key")?, true)?;
    set_flags(core, bits, true)
}
fn unset(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let bits = flag_bits(&need(a, "key")?, false)?;
    set_flags(core, bits, false)
}
fn pause(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    set_flags(core, flag::PAUSERD | flag::PAUSEWR, true)
}
fn unpause(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    set_flags(core, flag::PAUSERD | flag::PAUSEWR, false)
}

/// Parses `1.2.3.4:0/123`, `v1:…`, `[::1]:0/1`; without a type it is "any", as stock blocklists.
pub(super) fn parse_addr(text: &str) -> Option<EntityAddr> {
    let mut t = text.trim();
    let mut kind = AddrType::Any;
    for (p, k) in [("v1:", AddrType::Legacy), ("v2:", AddrType::Msgr2), ("any:", AddrType::Any)] {
        if let Some(rest) = t.strip_prefix(p) {
            (t, kind) = (rest, k);
            break;
        }
    }
    let (host, nonce) = match t.split_once('/') {
        Some((h, n)) => (h, n.parse().ok()?),
        None => (t, 0),
    };
    let sock = host.parse::<core::net::SocketAddr>().ok().or_else(|| {
        host.trim_matches(['[', ']']).parse::<core::net::IpAddr>().ok().map(|ip| (ip, 0).into())
    })?;
    // Blocklist entries of librados name the v1 form of the client's address.
    Some(EntityAddr { kind, nonce, sock: Some(sock) })
}

fn blocklist(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let op = a.str("blocklistop").or_else(|| a.str("blacklistop")).unwrap_or_default();
    if a.has("range") {
        return fail(Errno::EOPNOTSUPP, "blocklisting ranges is not supported");
    }
    let t = need(a, "addr")?;
    let Some(addr) = parse_addr(&t) else {
        return fail(Errno::EINVAL, format!("unable to parse address {t}"));
    };
    let shown = super::mon_cmds::bare(&addr);
    match op.as_str() {
        "add" => {
            let secs = a.float("expire").unwrap_or_else(|| core.cfg.num("mon_osd_blocklist_default_expire"));
            if !(0.0..=1e9).contains(&secs) {
                return fail(Errno::EINVAL, "invalid expiry");
            }
            let until = core.now + std::time::Duration::from_secs_f64(secs);
            let m = core.osd.next();
            Arc::make_mut(&mut m.blocklist).insert(addr, until);
            // Clients with mappings to it must not be served by temporary primaries any more: nothing else to do here.
            done(format!("blocklisting {shown} until {until} ({} sec)", fmt_g(secs, 6)))
        }
        "rm" => {
            if !core.osd.peek().blocklist.contains_key(&addr) {
                return text_outs("", format!("{shown} isn't blocklisted"));
            }
            Arc::make_mut(&mut core.osd.next().blocklist).remove(&addr);
            done(format!("un-blocklisting {shown}"))
        }
        _ => fail(Errno::EINVAL, ""),
    }
}

fn blocklist_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let bare = super::mon_cmds::bare;
    let row = |(x, t): (&EntityAddr, &Utime)| (bare(x), t.to_string());
    let list: Vec<(String, String)> = m.blocklist.iter().map(row).collect();
    let outs = format!("listed {} entries", list.len() + m.range_blocklist.len());
    let v: Vec<Value> = list.iter().map(|(x, t)| json!({"addr": x, "until": t})).collect();
    let mut o = render(a, &Value::Array(v), || list.iter().map(|(x, t)| format!("{x} {t}\n")).collect())?;
    if a.format() == super::Format::Json {
        // Stock appends the list of ranges as a second document.
        o.data.extend_from_slice(b"[]");
    }
    o.outs = outs;
    Ok(o)
}

fn blocklist_clear(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    Arc::make_mut(&mut core.osd.next().blocklist).clear();
    done(" removed all blocklist entries")
}

fn set_ratio(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let r = need_float(a, "ratio")?;
    if !(0.0..=100.0).contains(&r) {
        return fail(Errno::EINVAL, "bad or missing field 'ratio'");
    }
    let m = core.osd.next();
    match a.prefix.as_str() {
        "osd set-full-ratio" => m.full_ratio = r as f32,
        "osd set-nearfull-ratio" => m.nearfull_ratio = r as f32,
        _ => m.backfillfull_ratio = r as f32,
    }
    done(format!("{} {}", a.prefix, fmt_g(r, 6)))
}

fn set_compat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = need(a, "version")?;
    let Some(r) = release::parse(&v) else {
        return fail(Errno::EINVAL, format!("version {v} is not recognized"));
    };
    let used = super::osd_dump::min_compat(core.osd.peek());
    if release::parse(used).is_some_and(|u| r < u) {
        return fail(
            Errno::EPERM,
            format!(
                "osdmap current utilizes features that require {used}; cannot set require_min_compat_client below that to {v}"
            ),
        );
    }
    core.osd.next().require_min_compat_client = r;
    done(format!("set require_min_compat_client to {v}"))
}

fn get_compat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = release::name(core.osd.map.require_min_compat_client);
    render(a, &json!({"require_min_compat_client": n}), || format!("{n}\n"))
}

fn require_release(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = need(a, "release")?;
    let Some(r) = release::parse(&v) else { return fail(Errno::EINVAL, format!("unrecognized release {v}")) };
    let have = core.osd.peek().require_osd_release;
    if r == have {
        return text_outs("", "");
    }
    if r < have {
        return fail(Errno::EPERM, "require_osd_release cannot be lowered once it has been set");
    }
    fail(Errno::EPERM, format!("not all up OSDs have CEPH_FEATURE_SERVER_{} feature", v.to_uppercase()))
}

/// Pool id and name of a pool that exists in the map to come.
pub(super) fn pool_arg(core: &MonCore, a: &Args) -> Result<(PoolId, String), (Errno, String)> {
    let n = need(a, "pool")?;
    match core.osd.peek().pool_by_name(&n) {
        Some(id) => Ok((id, n)),
        None => Err((Errno::ENOENT, format!("unrecognized pool '{n}'"))),
    }
}
