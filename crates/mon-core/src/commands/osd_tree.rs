//! `osd tree`, `osd df`, `osd crush tree`: the hierarchy as tables and JSON.

use super::{Args, CmdResult, Ctx, Format, Handler, as_json, fail, render};
use crate::core::MonCore;
use crate::crushutil::{class_of, item_name, to_f32, type_name};
use crate::fmt::{Align, TextTable, byte_u, compact};
use crush::CrushMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use types::osdmap::{OsdMap, state};
use types::pgstat::StoreStatfs;
use types::{Errno, OsdId};

pub(super) const TABLE: &[(&str, Handler)] =
    &[("osd tree", tree), ("osd tree-from", tree), ("osd df", df), ("osd crush tree", crush_tree)];

/// One line of a tree.
pub(super) struct Node {
    pub id: i32,
    pub depth: usize,
    pub weight: f32,
    /// In descending order of the sort key, as JSON lists them.
    pub children: Vec<i32>,
}

/// Walks the hierarchy as `CrushTreeDumper` does; children by class and name.
pub(super) fn walk(c: &CrushMap, roots: &[i32]) -> Vec<Node> {
    let mut out = Vec::new();
    let mut stack: Vec<(i32, usize, f32)> =
        roots.iter().rev().map(|r| (*r, 0, to_f32(c.bucket(*r).map_or(0, |b| b.weight)))).collect();
    while let Some((id, depth, weight)) = stack.pop() {
        let mut kids: Vec<(String, i32, f32)> = Vec::new();
        if let Some(b) = c.bucket(id) {
            for (i, w) in b.items_with_weights() {
                let key = if i >= 0 {
                    format!("{}_osd.{i:08}", class_of(c, i).unwrap_or(""))
                } else {
                    format!("_{}", item_name(c, i))
                };
                kids.push((key, i, to_f32(w)));
            }
        }
        kids.sort_by(|a, b| b.0.cmp(&a.0));
        // More lines than any map can have without a loop: a guard, decoded maps have none.
        if out.len() > 1_000_000 {
            break;
        }
        stack.extend(kids.iter().map(|(_, i, w)| (*i, depth + 1, *w)));
        out.push(Node { id, depth, weight, children: kids.into_iter().map(|(_, i, _)| i).collect() });
    }
    out
}

/// `weightf_t`.
pub(super) fn weightf(w: f32) -> String {
    if w < -0.01 {
        "-".to_owned()
    } else if w < 0.000_001 {
        "0".to_owned()
    } else {
        format!("{w:.5}")
    }
}

fn show_name(c: &CrushMap, n: &Node) -> String {
    let pad = "    ".repeat(n.depth);
    if n.id >= 0 {
        format!("{pad}osd.{}", n.id)
    } else {
        let kind = c.bucket(n.id).map_or(0, |b| i32::from(b.kind));
        format!("{pad}{} {}", type_name(c, kind), item_name(c, n.id))
    }
}

/// What a node has in every kind of tree.
pub(super) fn node_json(c: &CrushMap, n: &Node) -> Map<String, Value> {
    let mut m = Map::new();
    m.insert("id".into(), n.id.into());
    if n.id >= 0 {
        if let Some(class) = class_of(c, n.id) {
            m.insert("device_class".into(), class.into());
        }
        m.insert("name".into(), format!("osd.{}", n.id).into());
        m.insert("type".into(), type_name(c, 0).into());
        m.insert("type_id".into(), 0.into());
        m.insert("crush_weight".into(), json!(f64::from(n.weight)));
        m.insert("depth".into(), n.depth.into());
    } else {
        let kind = c.bucket(n.id).map_or(0, |b| i32::from(b.kind));
        m.insert("name".into(), item_name(c, n.id).into());
        m.insert("type".into(), type_name(c, kind).into());
        m.insert("type_id".into(), kind.into());
    }
    if n.depth > 0 {
        m.insert("pool_weights".into(), json!({}));
    }
    m
}

fn status_of(m: &OsdMap, o: OsdId) -> &'static str {
    if m.is_up(o) {
        "up"
    } else if m.state_of(o) & state::DESTROYED != 0 {
        "destroyed"
    } else {
        "down"
    }
}

struct Filter {
    up: bool,
    down: bool,
    in_: bool,
    out: bool,
    destroyed: bool,
}
impl Filter {
    fn parse(words: &[String]) -> Result<Filter, (Errno, String)> {
        let mut f = Filter { up: false, down: false, in_: false, out: false, destroyed: false };
        for w in words {
            match w.as_str() {
                "up" => f.up = true,
                "down" => f.down = true,
                "in" => f.in_ = true,
                "out" => f.out = true,
                "destroyed" => f.destroyed = true,
                _ => return Err((Errno::EINVAL, format!("unrecognized state '{w}'"))),
            }
        }
        for (both, a, b) in [
            (f.in_ && f.out, "in", "out"),
            (f.up && f.down, "up", "down"),
            (f.up && f.destroyed, "up", "destroyed"),
            (f.down && f.destroyed, "down", "destroyed"),
        ] {
            if both {
                return Err((Errno::EINVAL, format!("cannot specify both '{a}' and '{b}'")));
            }
        }
        Ok(f)
    }
    fn any(&self) -> bool {
        self.up || self.down || self.in_ || self.out || self.destroyed
    }
    fn takes(&self, m: &OsdMap, o: OsdId) -> bool {
        (!self.up || m.is_up(o))
            && (!self.down || (m.is_down(o) && m.state_of(o) & state::DESTROYED == 0))
            && (!self.in_ || m.is_in(o))
            && (!self.out || m.is_out(o))
            && (!self.destroyed || m.state_of(o) & state::DESTROYED != 0)
    }
}

/// OSDs that exist but are nowhere in the hierarchy.
pub(super) fn strays(m: &OsdMap) -> Vec<OsdId> {
    let placed: BTreeSet<i32> =
        m.crush.buckets.iter().flatten().flat_map(|b| b.items.iter().copied()).collect();
    m.osds().filter(|o| !placed.contains(&o.0)).collect()
}

fn osd_fields(m: &OsdMap, o: OsdId, j: &mut Map<String, Value>) {
    j.insert("exists".into(), u8::from(m.exists(o)).into());
    j.insert("status".into(), status_of(m, o).into());
    j.insert("reweight".into(), json!(f64::from(m.weight_of(o)) / 65536.0));
    j.insert("primary_affinity".into(), json!(f64::from(m.primary_affinity(o)) / 65536.0));
}

fn tree(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let old;
    let m = match a.int("epoch") {
        Some(e) => match u32::try_from(e).ok().and_then(|e| core.osd.full_at(&core.kv, e)) {
            Some(x) => {
                old = x;
                &old
            }
            None => return fail(Errno::ENOENT, ""),
        },
        None => &core.osd.map,
    };
    let c = &*m.crush;
    let f = Filter::parse(&a.list("states"))?;
    let roots = match a.str("bucket") {
        Some(b) => match c.item_id(&b) {
            Some(id) if id < 0 => vec![id],
            Some(_) => return fail(Errno::EINVAL, format!("\"{b}\" is not a bucket")),
            None => return fail(Errno::EINVAL, format!("bucket '{b}' does not exist")),
        },
        None => c.roots(false),
    };
    let mut nodes = walk(c, &roots);
    if f.any() {
        // Buckets stay when something below them does.
        let keep: BTreeSet<i32> =
            nodes.iter().map(|n| n.id).filter(|i| *i >= 0 && f.takes(m, OsdId(*i))).collect();
        nodes.retain(|n| {
            if n.id >= 0 {
                keep.contains(&n.id)
            } else {
                c.devices_under(n.id).iter().any(|d| keep.contains(d))
            }
        });
    }
    let stray: Vec<OsdId> = match a.has("bucket") {
        true => Vec::new(),
        false => strays(m).into_iter().filter(|o| f.takes(m, *o)).collect(),
    };
    let list: Vec<Value> = nodes
        .iter()
        .map(|n| {
            let mut j = node_json(c, n);
            if n.id >= 0 {
                osd_fields(m, OsdId(n.id), &mut j);
            } else {
                j.insert("children".into(), n.children.clone().into());
            }
            Value::Object(j)
        })
        .collect();
    let stray_nodes: Vec<Node> =
        stray.iter().map(|o| Node { id: o.0, depth: 0, weight: 0.0, children: Vec::new() }).collect();
    let stray_json: Vec<Value> = stray_nodes
        .iter()
        .map(|n| {
            let mut j = node_json(c, n);
            osd_fields(m, OsdId(n.id), &mut j);
            Value::Object(j)
        })
        .collect();
    let v = json!({"nodes": list, "stray": stray_json});
    render(a, &v, || {
        let (l, r) = (Align::Left, Align::Right);
        let mut t = TextTable::new()
            .column("ID", l, r)
            .column("CLASS", l, r)
            .column("WEIGHT", l, r)
            .column("TYPE NAME", l, l)
            .column("STATUS", l, r)
            .column("REWEIGHT", l, r)
            .column("PRI-AFF", l, r);
        for n in nodes.iter().chain(&stray_nodes) {
            let class = class_of(c, n.id).unwrap_or("").to_owned();
            let mut row = vec![n.id.to_string(), class, weightf(n.weight), show_name(c, n)];
            if n.id >= 0 {
                let o = OsdId(n.id);
                if m.exists(o) {
                    row.extend([
                        status_of(m, o).to_owned(),
                        weightf(to_f32(m.weight_of(o))),
                        weightf(to_f32(m.primary_affinity(o))),
                    ]);
                } else {
                    row.extend(["DNE".to_owned(), "0".to_owned()]);
                }
            }
            t.row(row);
        }
        t.to_string()
    })
}

/// An item's weights in one weight set, by position; none for what no bucket holds.
fn set_weights(c: &CrushMap, args: &crush::ChooseArgs, id: i32) -> Vec<f64> {
    let parent = c.parents(id).find(|p| c.is_shadow(*p) == c.is_shadow(id));
    let Some(b) = parent.and_then(|p| c.bucket(p)) else { return Vec::new() };
    let Some(at) = b.items.iter().position(|i| *i == id) else { return Vec::new() };
    let sets = args.get(&((-1 - b.id) as u32)).map(|a| a.weight_set.as_slice()).unwrap_or_default();
    sets.iter().filter_map(|s| s.get(at)).map(|w| f64::from(to_f32(*w))).collect()
}

fn crush_tree(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let c = &*core.osd.map.crush;
    let sets: Vec<(String, &crush::ChooseArgs)> = c
        .choose_args
        .iter()
        .filter_map(|(k, args)| {
            let name = if *k == crush::DEFAULT_CHOOSE_ARGS {
                "(compat)".to_owned()
            } else {
                core.osd.map.pool_name(types::PoolId(*k))?.to_owned()
            };
            Some((name, args))
        })
        .collect();
    let shadow = a.has("shadow") && a.flag("shadow") || a.flag("show_shadow");
    let nodes = walk(c, &c.roots(shadow));
    let list: Vec<Value> = nodes
        .iter()
        .map(|n| {
            let mut j = node_json(c, n);
            if n.id < 0 {
                j.insert("children".into(), n.children.clone().into());
            }
            if let Some(w) = j.get_mut("pool_weights") {
                for (name, args) in &sets {
                    w[name] = json!(set_weights(c, args, n.id));
                }
            }
            Value::Object(j)
        })
        .collect();
    let v = json!({"nodes": list, "stray": []});
    render(a, &v, || {
        let (l, r) = (Align::Left, Align::Right);
        let mut t = TextTable::new().column("ID", l, r).column("CLASS", l, r).column("WEIGHT", l, r);
        for (name, _) in &sets {
            t.define(name, l, r);
        }
        t.define("TYPE NAME", l, l);
        for n in &nodes {
            let class = if n.id < 0 {
                item_name(c, n.id).split_once('~').map(|(_, k)| k.to_owned()).unwrap_or_default()
            } else {
                class_of(c, n.id).unwrap_or("").to_owned()
            };
            let mut row = vec![n.id.to_string(), class, weightf(n.weight)];
            for (_, args) in &sets {
                row.push(set_weights(c, args, n.id).first().map_or_else(String::new, |w| weightf(*w as f32)));
            }
            row.push(show_name(c, n));
            t.row(row);
        }
        t.to_string()
    })
}

/// Space of everything below a node.
fn space(core: &MonCore, id: i32) -> StoreStatfs {
    let mut s = StoreStatfs::default();
    let ids = if id >= 0 { vec![id] } else { core.osd.map.crush.devices_under(id) };
    for d in ids {
        // Stock leaves OSDs that are out of sums over buckets.
        let o = OsdId(d);
        if (id >= 0 || core.osd.map.is_in(o))
            && let Some(x) = core.pgmap.osds.get(&o)
        {
            s.add(&x.statfs);
        }
    }
    s
}

fn percent(s: &StoreStatfs) -> f64 {
    if s.total == 0 { 0.0 } else { s.used_raw() as f64 * 100.0 / s.total as f64 }
}

fn lowprec(v: f64) -> String {
    if v < -0.01 {
        "-".into()
    } else if v < 0.001 {
        "0".into()
    } else {
        format!("{v:.2}")
    }
}

fn df(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let core = &*core;
    let m = &core.osd.map;
    let c = &*m.crush;
    let as_tree = a.text("output_method") == "tree";
    let mut only: Option<BTreeSet<i32>> = None;
    if let (Some(by), Some(filter)) = (a.str("filter_by"), a.str("filter")) {
        let set: BTreeSet<i32> = match by.as_str() {
            "class" => {
                if !c.class_name.values().any(|n| *n == filter) {
                    return fail(
                        Errno::EINVAL,
                        format!("'{filter}' not a pool, crush node or device class name"),
                    );
                }
                m.osds().map(|o| o.0).filter(|o| class_of(c, *o) == Some(filter.as_str())).collect()
            }
            "name" => match (m.pool_by_name(&filter), c.item_id(&filter)) {
                (Some(p), _) => {
                    core.pgmap.pool_pgs(p).flat_map(|(_, s)| s.acting.iter().map(|o| o.0)).collect()
                }
                (None, Some(id)) => c.devices_under(id).into_iter().collect(),
                _ => {
                    return fail(
                        Errno::EINVAL,
                        format!("'{filter}' not a pool, crush node or device class name"),
                    );
                }
            },
            _ => return fail(Errno::EINVAL, ""),
        };
        only = Some(set);
    }
    let keep = |id: i32| match &only {
        None => true,
        Some(s) if id >= 0 => s.contains(&id),
        Some(s) => c.devices_under(id).iter().any(|d| s.contains(d)),
    };
    let all = walk(c, &c.roots(false));
    let nodes: Vec<&Node> = all.iter().filter(|n| keep(n.id) && (as_tree || n.id >= 0)).collect();
    let mut plain_order: Vec<&Node> = nodes.clone();
    if !as_tree {
        plain_order.sort_by(|x, y| {
            class_of(c, x.id).unwrap_or("").cmp(class_of(c, y.id).unwrap_or("")).then(x.id.cmp(&y.id))
        });
    }
    let stray: Vec<Node> = strays(m)
        .into_iter()
        .filter(|o| keep(o.0))
        .map(|o| Node { id: o.0, depth: 0, weight: 0.0, children: Vec::new() })
        .collect();
    let pgs = core.pgmap.pgs_by_osd();
    let mut sum = StoreStatfs::default();
    for n in nodes.iter().copied().chain(&stray).filter(|n| n.id >= 0) {
        sum.add(&space(core, n.id));
    }
    let average = percent(&sum);
    let var = |s: &StoreStatfs| if average > 0.0 { percent(s) / average } else { 0.0 };
    let kb = |b: u64| b / 1024;
    let (mut min, mut max, mut dev, mut dev_n) = (f64::INFINITY, 0.0f64, 0.0, 0.0);
    for n in nodes
        .iter()
        .copied()
        .chain(&stray)
        .filter(|n| n.id >= 0 && m.exists(OsdId(n.id)) && m.is_in(OsdId(n.id)))
    {
        let s = space(core, n.id);
        min = min.min(var(&s));
        max = max.max(var(&s));
        dev += (average - percent(&s)).powi(2);
        dev_n += 1.0;
    }
    let min = if min.is_finite() { min } else { 0.0 };
    let dev = if dev_n > 0.0 { (dev / dev_n).sqrt() } else { 0.0 };
    let used = |s: &StoreStatfs| {
        (s.allocated.max(0) as u64, s.omap_allocated.max(0) as u64, s.internal_metadata.max(0) as u64)
    };
    let json_of = |n: &Node| {
        let mut j = node_json(c, n);
        let s = space(core, n.id);
        let (data, omap, meta) = used(&s);
        let o = OsdId(n.id);
        let reweight = if n.id >= 0 { f64::from(m.weight_of(o)) / 65536.0 } else { -1.0 };
        j.insert("reweight".into(), json!(reweight));
        for (k, v) in [
            ("kb", s.total),
            ("kb_used", s.used_raw()),
            ("kb_used_data", data),
            ("kb_used_omap", omap),
            ("kb_used_meta", meta),
            ("kb_avail", s.available),
        ] {
            j.insert(k.into(), kb(v).into());
        }
        j.insert("utilization".into(), json!(percent(&s)));
        j.insert("var".into(), json!(var(&s)));
        j.insert("pgs".into(), if n.id >= 0 { pgs.get(&o).map_or(0, |p| p.0) } else { 0 }.into());
        if n.id >= 0 {
            j.insert("status".into(), (if m.is_up(o) { "up" } else { "down" }).into());
        } else {
            j.insert("children".into(), n.children.clone().into());
        }
        Value::Object(j)
    };
    let (data, omap, meta) = used(&sum);
    let v = json!({
        "nodes": plain_order.iter().map(|n| json_of(n)).collect::<Vec<_>>(), "stray": stray.iter().map(json_of).collect::<Vec<_>>(),
        "summary": {
            "total_kb": kb(sum.total), "total_kb_used": kb(sum.used_raw()), "total_kb_used_data": kb(data),
            "total_kb_used_omap": kb(omap), "total_kb_used_meta": kb(meta), "total_kb_avail": kb(sum.available),
            "average_utilization": average, "min_var": min, "max_var": max, "dev": dev,
        },
    });
    match a.format() {
        Format::Json => return super::text(compact(&v) + "\n"),
        Format::JsonPretty => return as_json(a, &v),
        Format::Plain => {}
    }
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new()
        .column("ID", l, r)
        .column("CLASS", l, r)
        .column("WEIGHT", l, r)
        .column("REWEIGHT", l, r);
    for h in ["SIZE", "RAW USE", "DATA", "OMAP", "META", "AVAIL", "%USE", "VAR", "PGS", "STATUS"] {
        t.define(h, l, r);
    }
    if as_tree {
        t.define("TYPE NAME", l, l);
    }
    for n in plain_order.iter().copied().chain(&stray) {
        let s = space(core, n.id);
        let (data, omap, meta) = used(&s);
        let o = OsdId(n.id);
        let mut row = vec![
            n.id.to_string(),
            class_of(c, n.id).unwrap_or("").to_owned(),
            weightf(n.weight),
            if n.id >= 0 { weightf(to_f32(m.weight_of(o))) } else { "-".into() },
            byte_u(s.total),
            byte_u(s.used_raw()),
            byte_u(data),
            byte_u(omap),
            byte_u(meta),
            byte_u(s.available),
            lowprec(percent(&s)),
            lowprec(var(&s)),
        ];
        if n.id >= 0 {
            row.push(pgs.get(&o).map_or(0, |p| p.0).to_string());
            row.push(if m.is_up(o) { "up".into() } else { "down".into() });
        } else {
            row.push("-".into());
            row.push(String::new());
        }
        if as_tree {
            row.push(show_name(c, n));
        }
        t.row(row);
    }
    t.row([
        String::new(),
        String::new(),
        String::new(),
        "TOTAL".into(),
        byte_u(sum.total),
        byte_u(sum.used_raw()),
        byte_u(data),
        byte_u(omap),
        byte_u(meta),
        byte_u(sum.available),
        lowprec(average),
    ]);
    super::text(format!("{t}MIN/MAX VAR: {}/{}  STDDEV: {}\n", lowprec(min), lowprec(max), lowprec(dev)))
}
