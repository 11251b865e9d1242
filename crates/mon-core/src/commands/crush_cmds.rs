//! `osd crush *`, `osd getcrushmap`, `osd setcrushmap`.

use super::{Args, CmdResult, Ctx, Handler, Out, as_json, done, fail, need, need_float, render, text_outs};
use crate::core::MonCore;
use crate::crushutil::{item_name, to_f32, type_name};
use crate::fmt::fmt_g;
use crate::osdmon::STORED;
use crush::{CrushError, CrushMap, Location, RuleMode, op};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd getcrushmap", getcrushmap),
    ("osd setcrushmap", setcrushmap),
    ("osd crush dump", dump),
    ("osd crush class ls", class_ls),
    ("osd crush class ls-osd", class_ls_osd),
    ("osd crush rule ls", rule_ls),
    ("osd crush rule list", rule_ls),
    ("osd crush rule dump", rule_dump),
    ("osd crush rule create-replicated", rule_create),
    ("osd crush rule create-simple", rule_create),
    ("osd crush rule rm", rule_rm),
    ("osd crush rule rename", rule_rename),
    ("osd crush show-tunables", show_tunables),
    ("osd crush get-tunable", get_tunable),
    ("osd crush tunables", tunables),
    ("osd crush weight-set ls", weight_sets),
    ("osd crush ls", ls),
    ("osd crush add-bucket", add_bucket),
    ("osd crush rename-bucket", rename_bucket),
    ("osd crush move", move_item),
    ("osd crush link", link),
    ("osd crush swap-bucket", swap),
    ("osd crush set", set_item),
    ("osd crush add", set_item),
    ("osd crush create-or-move", create_or_move),
    ("osd crush rm", rm),
    ("osd crush remove", rm),
    ("osd crush reweight", reweight),
    ("osd crush reweight-subtree", reweight_subtree),
    ("osd crush set-device-class", set_class),
    ("osd crush rm-device-class", rm_class),
    ("osd crush get-device-class", get_class),
];

/// Runs an edit on a copy of the map to come and keeps it when it succeeds.
pub(super) fn edit<T>(
    core: &mut MonCore,
    f: impl FnOnce(&mut CrushMap) -> Result<T, CrushError>,
) -> Result<T, (Errno, String)> {
    let mut c = (*core.osd.peek().crush).clone();
    let t = f(&mut c).map_err(|e| (errno(&e), e.to_string()))?;
    readable(&c)?;
    let m = core.osd.next();
    if m.crush_node_flags.keys().any(|id| c.item_name(*id).is_none()) {
        Arc::make_mut(&mut m.crush_node_flags).retain(|id, _| c.item_name(*id).is_some());
    }
    m.crush = Arc::new(c);
    Ok(t)
}

/// What cannot be read again (an empty name, say) may not get into the map.
fn readable(c: &CrushMap) -> Result<(), (Errno, String)> {
    match denc::from_bytes::<CrushMap>(&denc::to_bytes(c, STORED)) {
        Ok(_) => Ok(()),
        Err(e) => fail(Errno::EINVAL, format!("this would make the crush map unreadable: {e}")).map(drop),
    }
}

fn errno(e: &CrushError) -> Errno {
    match e {
        CrushError::NoSuchName(_) | CrushError::NoSuchItem(_) | CrushError::NoSuchRule(_) => Errno::ENOENT,
        CrushError::NameInUse(_) => Errno::EEXIST,
        CrushError::NotEmpty(_) => Errno::ENOTEMPTY,
        CrushError::InUse(_) | CrushError::ClassBound { .. } => Errno::EBUSY,
        CrushError::RulesFull => Errno::ENOSPC,
        CrushError::Range(_) => Errno::ERANGE,
        _ => Errno::EINVAL,
    }
}

/// `host=a root=b` of `args`.
fn location(a: &Args) -> Result<Location, (Errno, String)> {
    let mut loc = Location::new();
    for w in a.list("args") {
        let Some((k, v)) = w.split_once('=').filter(|(k, v)| !k.is_empty() && !v.is_empty()) else {
            return Err((Errno::EINVAL, format!("unable to parse location '{w}'")));
        };
        loc.insert(k.to_owned(), v.to_owned());
    }
    Ok(loc)
}

fn loc_text(loc: &Location) -> String {
    let v: Vec<String> = loc.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{{{}}}", v.join(","))
}

fn getcrushmap(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let data = denc::to_bytes(&*m.crush, crate::osdmon::STORED).to_vec();
    Ok(Out { outs: m.crush_version.to_string(), data, wait: false, ret: 0 })
}

fn setcrushmap(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let version = core.osd.peek().crush_version;
    if let Some(v) = a.int("prior_version")
        && v != i64::from(version)
    {
        // A retry of what has been done already is no error.
        let same = denc::from_bytes::<CrushMap>(&ctx.input).is_ok_and(|c| c == *core.osd.peek().crush);
        if v == i64::from(version) - 1 && same {
            return text_outs("", version.to_string());
        }
        return fail(Errno::EPERM, format!("prior_version {v} != crush version {version}"));
    }
    let c: CrushMap = match CrushMap::from_bytes(&ctx.input) {
        Ok(c) => c,
        Err(e) => return fail(Errno::EINVAL, format!("Failed to parse crushmap: {e}")),
    };
    readable(&c)?;
    for (id, p) in core.osd.peek().pools.iter() {
        if c.rule(p.crush_rule.into()).is_none() {
            let n = core.osd.peek().pool_name(*id).unwrap_or("").to_owned();
            return fail(
                Errno::EINVAL,
                format!("pool '{n}' references crush rule {} but it is not present", p.crush_rule),
            );
        }
    }
    core.osd.next().crush = Arc::new(c);
    done((version + 1).to_string())
}

fn rule_json(c: &CrushMap, id: i32) -> Option<Value> {
    let r = c.rule(id)?;
    let steps: Vec<Value> = r
        .steps
        .iter()
        .map(|s| {
            let kind = |n| json!({"op": n, "num": s.arg1, "type": type_name(c, s.arg2)});
            let num = |n| json!({"op": n, "num": s.arg1});
            match s.op {
                op::NOOP => json!({"op": "noop"}),
                op::TAKE => json!({"op": "take", "item": s.arg1, "item_name": item_name(c, s.arg1)}),
                op::EMIT => json!({"op": "emit"}),
                op::CHOOSE_FIRSTN => kind("choose_firstn"),
                op::CHOOSE_INDEP => kind("choose_indep"),
                op::CHOOSELEAF_FIRSTN => kind("chooseleaf_firstn"),
                op::CHOOSELEAF_INDEP => kind("chooseleaf_indep"),
                op::SET_CHOOSE_TRIES => num("set_choose_tries"),
                op::SET_CHOOSELEAF_TRIES => num("set_chooseleaf_tries"),
                n => json!({"opcode": n, "arg1": s.arg1, "arg2": s.arg2}),
            }
        })
        .collect();
    let name = c.rule_name_map.get(&id).cloned().unwrap_or_default();
    Some(json!({
        "rule_id": id, "rule_name": name, "ruleset": r.ruleset, "type": r.kind, "min_size": r.min_size, "max_size": r.max_size, "steps": steps,
    }))
}

fn tunables_json(c: &CrushMap) -> Value {
    let t = &c.tunables;
    let plain = crush::Tunables { straw_calc_version: 0, ..*t };
    let profile = if plain == crush::Tunables::JEWEL {
        "jewel"
    } else if plain == crush::Tunables::HAMMER {
        "hammer"
    } else if plain == crush::Tunables::FIREFLY {
        "firefly"
    } else if plain == crush::Tunables::BOBTAIL {
        "bobtail"
    } else if plain == crush::Tunables::LEGACY {
        "argonaut"
    } else {
        "unknown"
    };
    let f = c.required_features();
    let has = |bit: u64| u8::from(f & bit == bit);
    use crush::feature;
    let v4 = c.buckets.iter().flatten().any(|b| b.alg() == crush::BucketAlg::Straw2);
    json!({
        "choose_local_tries": t.choose_local_tries, "choose_local_fallback_tries": t.choose_local_fallback_tries,
        "choose_total_tries": t.choose_total_tries, "chooseleaf_descend_once": t.chooseleaf_descend_once,
        "chooseleaf_vary_r": t.chooseleaf_vary_r, "chooseleaf_stable": t.chooseleaf_stable, "straw_calc_version": t.straw_calc_version,
        "allowed_bucket_algs": t.allowed_bucket_algs, "profile": profile, "optimal_tunables": u8::from(profile == "jewel"),
        "legacy_tunables": u8::from(profile == "argonaut"), "minimum_required_version": c.min_required_version(),
        "require_feature_tunables": has(feature::TUNABLES), "require_feature_tunables2": has(feature::TUNABLES2),
        "has_v2_rules": has(feature::V2), "require_feature_tunables3": has(feature::TUNABLES3), "has_v3_rules": 0,
        "has_v4_buckets": u8::from(v4), "require_feature_tunables5": has(feature::TUNABLES5), "has_v5_rules": 0,
    })
}

fn dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let c = &*core.osd.map.crush;
    let devices: Vec<Value> = c
        .name_map
        .keys()
        .filter(|i| **i >= 0)
        .map(|i| {
            let mut j = json!({"id": i, "name": item_name(c, *i)});
            if let Some(k) = crate::crushutil::class_of(c, *i) {
                j["class"] = k.into();
            }
            j
        })
        .collect();
    let types: Vec<Value> = c.type_map.iter().map(|(t, n)| json!({"type_id": t, "name": n})).collect();
    let buckets: Vec<Value> = c
        .buckets
        .iter()
        .flatten()
        .map(|b| {
            let items: Vec<Value> =
                b.items_with_weights().enumerate().map(|(pos, (i, w))| json!({"id": i, "weight": w, "pos": pos})).collect();
            json!({
                "id": b.id, "name": item_name(c, b.id), "type_id": b.kind, "type_name": type_name(c, b.kind.into()), "weight": b.weight,
                "alg": b.alg().name(), "hash": "rjenkins1", "items": items,
            })
        })
        .collect();
    let rules: Vec<Value> = (0..c.rules.len() as i32).filter_map(|i| rule_json(c, i)).collect();
    let v = json!({
        "devices": devices, "types": types, "buckets": buckets, "rules": rules, "tunables": tunables_json(c), "choose_args": {},
    });
    as_json(a, &v)
}

fn class_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let c = &core.osd.map.crush;
    let used: Vec<&String> = c.class_name.values().collect();
    as_json(a, &json!(used))
}

fn class_ls_osd(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let class = need(a, "class")?;
    let c = &core.osd.map.crush;
    let ids: Vec<i32> = core
        .osd
        .map
        .osds()
        .map(|o| o.0)
        .filter(|o| crate::crushutil::class_of(c, *o) == Some(class.as_str()))
        .collect();
    render(a, &json!(ids), || ids.iter().map(|i| format!("{i}\n")).collect())
}

fn rule_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let c = &core.osd.map.crush;
    let names: Vec<&String> = c.rule_name_map.values().collect();
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn rule_dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let c = &*core.osd.map.crush;
    if let Some(n) = a.str("name") {
        return match c.rule_id(&n).and_then(|i| rule_json(c, i)) {
            Some(v) => as_json(a, &v),
            None => fail(Errno::ENOENT, format!("unknown crush rule '{n}'")),
        };
    }
    let all: Vec<Value> = (0..c.rules.len() as i32).filter_map(|i| rule_json(c, i)).collect();
    as_json(a, &Value::Array(all))
}

fn rule_create(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, root, kind) = (need(a, "name")?, need(a, "root")?, need(a, "type")?);
    if core.osd.peek().crush.rule_id(&name).is_some() {
        return text_outs("", format!("rule {name} already exists"));
    }
    let class = a.str("class").filter(|c| !c.is_empty());
    let mode = if a.text("mode") == "indep" { RuleMode::Indep } else { RuleMode::Firstn };
    edit(core, |c| c.add_simple_rule(&name, &root, &kind, class.as_deref(), mode))?;
    done("")
}

fn rule_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "name")?;
    let Some(id) = core.osd.peek().crush.rule_id(&name) else {
        return text_outs("", format!("rule {name} does not exist"));
    };
    if core.osd.peek().pools.values().any(|p| i32::from(p.crush_rule) == id) {
        return fail(Errno::EBUSY, format!("crush rule {name} ({id}) is in use"));
    }
    edit(core, |c| c.remove_rule(&name).map(drop))?;
    done("")
}

fn rule_rename(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (s, d) = (need(a, "srcname")?, need(a, "dstname")?);
    let c = &core.osd.peek().crush;
    if c.rule_id(&s).is_none() && c.rule_id(&d).is_some() {
        return text_outs("", format!("already renamed to '{d}'"));
    }
    edit(core, |c| c.rename_rule(&s, &d).map(drop))?;
    done("")
}

fn show_tunables(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    as_json(a, &tunables_json(&core.osd.map.crush))
}

fn get_tunable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "tunable")?;
    let v = core.osd.map.crush.tunables.straw_calc_version;
    if n != "straw_calc_version" {
        return fail(Errno::EINVAL, "");
    }
    render(a, &json!({"straw_calc_version": v}), || format!("{v}\n"))
}

fn tunables(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let p = need(a, "profile")?;
    let mut c = (*core.osd.peek().crush).clone();
    if !c.set_tunables_profile(&p) {
        return fail(Errno::EINVAL, format!("unrecognized profile '{p}'"));
    }
    core.osd.next().crush = Arc::new(c);
    done(format!("adjusted tunables profile to {p}"))
}

fn weight_sets(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let m = &core.osd.map;
    let names: Vec<String> = m
        .crush
        .choose_args
        .keys()
        .filter_map(|k| {
            if *k == crush::DEFAULT_CHOOSE_ARGS {
                Some("(compat)".to_owned())
            } else {
                m.pool_name(types::PoolId(*k)).map(str::to_owned)
            }
        })
        .collect();
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "node")?;
    let c = &core.osd.map.crush;
    let Some(id) = c.item_id(&n) else { return fail(Errno::ENOENT, format!("node '{n}' does not exist")) };
    let names: Vec<String> = match c.bucket(id) {
        Some(b) => b.items.iter().map(|i| item_name(c, *i)).collect(),
        None => vec![n],
    };
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn add_bucket(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, kind) = (need(a, "name")?, need(a, "type")?);
    if core.osd.peek().crush.item_id(&name).is_some() {
        return text_outs("", format!("bucket '{name}' already exists"));
    }
    if core.osd.peek().crush.type_id(&kind).is_none() {
        return fail(Errno::EINVAL, format!("type '{kind}' does not exist"));
    }
    let loc = location(a)?;
    edit(core, |c| {
        let id = c.add_bucket(&name, &kind)?;
        if loc.is_empty() { Ok(()) } else { c.move_bucket(id, &loc) }
    })?;
    if loc.is_empty() {
        return done(format!("added bucket {name} type {kind} to crush map"));
    }
    done(format!("added bucket {name} type {kind} to location {}", loc_text(&loc)))
}

fn rename_bucket(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (s, d) = (need(a, "srcname")?, need(a, "dstname")?);
    let c = &core.osd.peek().crush;
    if c.item_id(&s).is_none() {
        if c.item_id(&d).is_some() {
            return text_outs("", format!("bucket '{d}' already exists and '{s}' does not"));
        }
        return fail(Errno::ENOENT, format!("srcname '{s}' does not exist"));
    }
    edit(core, |c| c.rename_item(&s, &d))?;
    done(format!("renamed bucket {s} into {d}"))
}

fn named(core: &MonCore, a: &Args) -> Result<(i32, String), (Errno, String)> {
    let n = need(a, "name")?;
    core.osd
        .peek()
        .crush
        .item_id(&n)
        .map(|i| (i, n.clone()))
        .ok_or((Errno::ENOENT, format!("item {n} does not exist")))
}

fn move_item(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, name) = named(core, a)?;
    let loc = location(a)?;
    if core.osd.peek().crush.is_at(id, &loc) {
        return text_outs(
            "",
            format!("no need to move item id {id} name '{name}' to location {} in crush map", loc_text(&loc)),
        );
    }
    edit(core, |c| {
        if id >= 0 {
            let w = c.item_weight(id).unwrap_or(0);
            c.create_or_move(id, w, &name, &loc).map(drop)
        } else {
            c.move_bucket(id, &loc)
        }
    })?;
    done(format!("moved item id {id} name '{name}' to location {} in crush map", loc_text(&loc)))
}

fn link(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, name) = named(core, a)?;
    let loc = location(a)?;
    let c = &core.osd.peek().crush;
    if id >= 0 {
        return fail(
            Errno::EINVAL,
            format!("cannot link item id {id} name '{name}' to location {}", loc_text(&loc)),
        );
    }
    let holds = |n: &String| c.item_id(n).and_then(|p| c.bucket(p)).is_some_and(|b| b.items.contains(&id));
    if loc.values().any(holds) {
        return text_outs(
            "",
            format!("no need to move item id {id} name '{name}' to location {} in crush map", loc_text(&loc)),
        );
    }
    edit(core, |c| c.link_bucket(id, &loc))?;
    done(format!("linked item id {id} name '{name}' to location {} in crush map", loc_text(&loc)))
}

fn swap(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (s, d) = (need(a, "source")?, need(a, "dest")?);
    let c = &core.osd.peek().crush;
    let (Some(x), Some(y)) = (c.item_id(&s), c.item_id(&d)) else {
        return fail(Errno::ENOENT, format!("bucket {s} or {d} does not exist"));
    };
    edit(core, |c| c.swap_buckets(x, y))?;
    done(format!("swapped bucket of {s} to {d}"))
}

pub(super) fn raw_weight(w: f64) -> Result<u32, (Errno, String)> {
    if (0.0..=65_535.0).contains(&w) {
        Ok((w * 65536.0) as u32)
    } else {
        Err((Errno::EINVAL, "weight is out of range".into()))
    }
}

fn set_item(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    if !a.has("id") && !ctx.input.is_empty() {
        return setcrushmap(core, a, ctx);
    }
    let o = super::osd_cmds::osd_id(a, "id")?;
    let w = need_float(a, "weight")?;
    let loc = location(a)?;
    if !core.osd.peek().exists(o) {
        return fail(Errno::ENOENT, format!("osd.{o} has not been created"));
    }
    let name = format!("osd.{o}");
    let raw = raw_weight(w)?;
    if a.prefix == "osd crush set" && core.osd.peek().crush.item_id(&name).is_none() {
        return fail(
            Errno::ENOENT,
            format!(
                "unable to set item id {o} name '{name}' weight {} at location {}: does not exist",
                fmt_g(w, 6),
                loc_text(&loc)
            ),
        );
    }
    edit(core, |c| c.update_item(o.0, raw, &name, &loc).map(drop))?;
    let verb = if a.prefix == "osd crush set" { "set" } else { "add" };
    done(format!(
        "{verb} item id {o} name '{name}' weight {} at location {} to crush map",
        fmt_g(w, 6),
        loc_text(&loc)
    ))
}

fn create_or_move(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = super::osd_cmds::osd_id(a, "id")?;
    let w = need_float(a, "weight")?;
    let loc = location(a)?;
    if !core.osd.peek().exists(o) {
        return fail(
            Errno::ENOENT,
            format!("osd.{o} does not exist.  create it before updating the crush map"),
        );
    }
    let name = format!("osd.{o}");
    let raw = raw_weight(w)?;
    if core.osd.peek().crush.is_at(o.0, &loc) {
        return text_outs(
            "",
            format!(
                "create-or-move updated item name '{name}' weight {} at location {} to crush map",
                fmt_g(w, 6),
                loc_text(&loc)
            ),
        );
    }
    edit(core, |c| c.create_or_move(o.0, raw, &name, &loc).map(drop))?;
    done(format!(
        "create-or-move updating item name '{name}' weight {} at location {} to crush map",
        fmt_g(w, 6),
        loc_text(&loc)
    ))
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "name")?;
    let c = &core.osd.peek().crush;
    let Some(id) = c.item_id(&n) else {
        return text_outs("", format!("device '{n}' does not appear in the crush map"));
    };
    let ancestor = a.str("ancestor");
    let r = match &ancestor {
        Some(x) => match c.item_id(x) {
            Some(_) if c.bucket(id).is_some_and(|b| !b.items.is_empty()) => {
                return fail(Errno::ENOTEMPTY, "(39) Directory not empty");
            }
            Some(p) => edit(core, |c| {
                c.remove_item_under(id, p)?;
                // A bucket goes with its last link.
                if id < 0 && !c.is_linked(id) { c.remove_item(id) } else { Ok(()) }
            }),
            None => {
                return fail(Errno::ENOENT, format!("ancestor item '{x}' does not appear in the crush map"));
            }
        },
        None => edit(core, |c| c.remove_item(id)),
    };
    match r {
        Ok(()) => done(format!("removed item id {id} name '{n}' from crush map")),
        Err((Errno::ENOTEMPTY, _)) => fail(Errno::ENOTEMPTY, "(39) Directory not empty"),
        Err((e, t)) => fail(e, t),
    }
}

fn reweight(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "name")?;
    let w = need_float(a, "weight")?;
    let raw = raw_weight(w)?;
    let Some(id) = core.osd.peek().crush.item_id(&n) else {
        return fail(Errno::ENOENT, format!("device '{n}' does not appear in the crush map"));
    };
    if id < 0 {
        return fail(Errno::EINVAL, format!("device '{n}' is not a leaf in the crush map"));
    }
    edit(core, |c| c.set_item_weight(id, raw))?;
    done(format!("reweighted item id {id} name '{n}' to {} in crush map", fmt_g(w, 6)))
}

fn reweight_subtree(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "name")?;
    let w = need_float(a, "weight")?;
    let raw = raw_weight(w)?;
    let Some(id) = core.osd.peek().crush.item_id(&n) else {
        return fail(Errno::ENOENT, format!("device '{n}' does not appear in the crush map"));
    };
    edit(core, |c| c.set_subtree_weight(id, raw).map(drop))?;
    done(format!(
        "reweighted subtree id {id} name '{n}' to {} in crush map",
        fmt_g(f64::from(to_f32(raw)), 6)
    ))
}

fn osd_list(core: &MonCore, a: &Args) -> Result<Vec<i32>, (Errno, String)> {
    let words = a.list("ids");
    if words.iter().any(|w| matches!(w.as_str(), "any" | "all" | "*")) {
        return Ok(core.osd.peek().osds().map(|o| o.0).collect());
    }
    words
        .iter()
        .map(|w| {
            w.strip_prefix("osd.")
                .unwrap_or(w)
                .parse::<i32>()
                .map_err(|_| (Errno::EINVAL, format!("unable to parse osd id:'{w}'")))
        })
        .collect()
}

fn join(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn set_class(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let class = need(a, "class")?;
    let ids = osd_list(core, a)?;
    let mut changed = Vec::new();
    for o in ids {
        if !core.osd.peek().exists(types::OsdId(o)) {
            return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
        }
        match crate::crushutil::class_of(&core.osd.peek().crush, o) {
            Some(c) if c == class => continue,
            Some(c) => {
                let text = format!(
                    "osd.{o} has already bound to class '{c}', can not reset class to '{class}'; use 'ceph osd crush rm-device-class <id>' to \
                     remove old class first"
                );
                return fail(Errno::EBUSY, text);
            }
            None => {}
        }
        edit(core, |c| {
            // A booting OSD names its class before it has a place.
            c.name_map.entry(o).or_insert_with(|| format!("osd.{o}"));
            c.set_device_class(o, &class).map(drop)
        })?;
        changed.push(o);
    }
    done(format!("set osd(s) {} to class '{class}'", join(&changed)))
}

fn rm_class(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = osd_list(core, a)?;
    let mut changed = Vec::new();
    for o in ids {
        if crate::crushutil::class_of(&core.osd.peek().crush, o).is_none() {
            continue;
        }
        edit(core, |c| Ok(c.remove_device_class(o)))?;
        changed.push(o);
    }
    done(format!("done removing class of osd(s): {}", join(&changed)))
}

fn get_class(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = osd_list(core, a)?;
    let c = &core.osd.map.crush;
    let list: Vec<Map<String, Value>> = ids
        .iter()
        .map(|o| {
            let class = crate::crushutil::class_of(c, *o).unwrap_or("");
            Map::from_iter([("osd".to_owned(), Value::from(*o)), ("device_class".to_owned(), class.into())])
        })
        .collect();
    render(a, &json!(list), || {
        ids.iter()
            .map(|o| crate::crushutil::class_of(c, *o).unwrap_or("").to_owned() + "\n")
            .collect::<String>()
    })
}
