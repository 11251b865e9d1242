//! CRUSH commands beside the hierarchy itself: tunables, classes, weight sets, erasure rules, unlinking and reweighting as a whole.

use super::crush_cmds::{edit, raw_weight};
use super::{Args, CmdResult, Ctx, Format, Handler, done, fail, need, need_int, render, text, text_outs};
use crate::core::MonCore;
use crate::fmt::pretty;
use crush::{CrushMap, DEFAULT_CHOOSE_ARGS, RuleMode};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd crush set-tunable", set_tunable),
    ("osd crush class create", class_create),
    ("osd crush class rm", class_rm),
    ("osd crush class rename", class_rename),
    ("osd crush rule ls-by-class", rules_by_class),
    ("osd crush rule create-erasure", rule_erasure),
    ("osd crush unlink", unlink),
    ("osd crush reweight-all", reweight_all),
    ("osd crush set-all-straw-buckets-to-straw2", straw2),
    ("osd crush weight-set dump", ws_dump),
    ("osd crush weight-set create", ws_create),
    ("osd crush weight-set create-compat", ws_create),
    ("osd crush weight-set rm", ws_rm),
    ("osd crush weight-set rm-compat", ws_rm),
    ("osd crush weight-set reweight", ws_reweight),
    ("osd crush weight-set reweight-compat", ws_reweight),
];

fn set_tunable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, value) = (need(a, "tunable")?, need_int(a, "value")?);
    if name != "straw_calc_version" {
        return fail(Errno::EINVAL, format!("unrecognized tunable '{name}'"));
    }
    if !matches!(value, 0 | 1) {
        return fail(Errno::EINVAL, format!("value must be 0 or 1; got {value}"));
    }
    edit(core, |c| {
        c.tunables.straw_calc_version = value as u8;
        Ok(())
    })?;
    done(format!("adjusted tunable {name} to {value}"))
}

fn class_create(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let class = need(a, "class")?;
    if !crush::is_valid_name(&class) {
        return fail(Errno::EINVAL, format!("invalid class name '{class}'"));
    }
    if core.osd.peek().crush.class_id(&class).is_some() {
        return text_outs("", format!("class '{class}' already exists"));
    }
    let id = edit(core, |c| Ok(c.class_id_or_new(&class)))?;
    done(format!("created class {class} with id {id} to crush map"))
}

fn class_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let class = need(a, "class")?;
    let c = &core.osd.peek().crush;
    let Some(id) = c.class_id(&class) else { return text("") };
    let shadows: BTreeSet<i32> = c.class_bucket.values().filter_map(|m| m.get(&id)).copied().collect();
    let user = c.rules.iter().enumerate().find_map(|(n, r)| {
        let takes = r.as_ref()?.steps.iter().any(|s| s.op == crush::op::TAKE && shadows.contains(&s.arg1));
        takes.then(|| c.rule_name_map.get(&(n as i32)).cloned().unwrap_or_default())
    });
    if let Some(rule) = user {
        return fail(Errno::EBUSY, format!("class '{class}' still referenced by crush_rule '{rule}'"));
    }
    let devices = c.devices_of_class(&class);
    edit(core, |c| {
        for d in devices {
            c.remove_device_class(d);
        }
        c.class_name.remove(&id);
        c.rebuild_classes();
        Ok(())
    })?;
    done(format!("removed class {class} with id {id} from crush map"))
}

fn class_rename(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (from, to) = (need(a, "srcname")?, need(a, "dstname")?);
    let c = &core.osd.peek().crush;
    match (c.class_id(&from), c.class_id(&to)) {
        (None, Some(_)) => return text_outs("", format!("already renamed to '{to}'")),
        (None, None) => return fail(Errno::ENOENT, format!("class '{from}' does not exist")),
        (Some(_), Some(_)) => return fail(Errno::EEXIST, format!("class '{to}' already exists")),
        (Some(_), None) => {}
    }
    edit(core, |c| c.rename_class(&from, &to))?;
    done(format!("rename class '{from}' to '{to}'"))
}

fn rules_by_class(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let class = need(a, "class")?;
    let c = &core.osd.map.crush;
    let Some(id) = c.class_id(&class) else {
        return fail(Errno::ENOENT, format!("failed to get rules by class '{class}'"));
    };
    let shadows: BTreeSet<i32> = c.class_bucket.values().filter_map(|m| m.get(&id)).copied().collect();
    let takes =
        |r: &crush::Rule| r.steps.iter().any(|s| s.op == crush::op::TAKE && shadows.contains(&s.arg1));
    let names: Vec<&str> = c
        .rules
        .iter()
        .enumerate()
        .filter(|(_, r)| r.as_ref().is_some_and(takes))
        .filter_map(|(n, _)| c.rule_name_map.get(&(n as i32)).map(String::as_str))
        .collect();
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn rule_erasure(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "name")?;
    if core.osd.peek().crush.rule_id(&name).is_some() {
        return text_outs("", format!("rule {name} already exists"));
    }
    let profile = a.str("profile").unwrap_or_else(|| "default".into());
    let Some(p) = core.osd.peek().erasure_code_profiles.get(&profile).cloned() else {
        return fail(
            Errno::EINVAL,
            "cannot determine the erasure code plugin because there is no 'plugin' entry in the erasure_code_profile {}",
        );
    };
    let plugin = p.get("plugin").map_or("", String::as_str);
    if matches!(plugin, "lrc" | "clay") {
        return fail(Errno::EOPNOTSUPP, format!("rules of the plugin {plugin} are not supported"));
    }
    let of = |k: &str, default: &str| p.get(k).filter(|v| !v.is_empty()).cloned().unwrap_or(default.into());
    let (root, domain) = (of("crush-root", "default"), of("crush-failure-domain", "host"));
    let class = of("crush-device-class", "");
    let num = |k: &str| p.get(k).and_then(|v| v.parse::<u8>().ok()).unwrap_or(2);
    let max = num("k").saturating_add(num("m")).max(3);
    let id = edit(core, |c| {
        let id = c.add_simple_rule(&name, &root, &domain, Some(&class), RuleMode::Indep)?;
        if let Some(r) = c.rules.get_mut(id as usize).and_then(Option::as_mut) {
            r.max_size = max;
        }
        Ok(id)
    })?;
    done(format!("created rule {name} at {id}"))
}

fn unlink(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "name")?;
    let c = &core.osd.peek().crush;
    let Some(id) = c.item_id(&n) else {
        return text_outs("", format!("device '{n}' does not appear in the crush map"));
    };
    let above = match a.str("ancestor") {
        None => c.roots(false),
        Some(x) => match c.item_id(&x) {
            Some(p) => vec![p],
            None => {
                return fail(Errno::ENOENT, format!("ancestor item '{x}' does not appear in the crush map"));
            }
        },
    };
    let held: Vec<i32> = above.into_iter().filter(|r| c.subtree_contains(*r, id) && *r != id).collect();
    if held.is_empty() {
        return text_outs("", format!("item {id} does not appear in that position"));
    }
    edit(core, |c| held.iter().try_for_each(|p| c.remove_item_under(id, *p)))?;
    done(format!("removed item id {id} name '{n}' from crush map"))
}

fn reweight_all(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    edit(core, |c| {
        c.reweight_all();
        Ok(())
    })?;
    done("reweighted crush hierarchy")
}

fn straw2(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let mut c = (*core.osd.peek().crush).clone();
    if c.straw_to_straw2() > 0 {
        core.osd.next().crush = Arc::new(c);
    }
    done("")
}

/// Weight sets as `osd crush weight-set dump` has them.
pub(super) fn weight_sets_json(c: &CrushMap) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, args) in &c.choose_args {
        let list: Vec<Value> = args
            .iter()
            .filter(|(_, a)| !a.weight_set.is_empty() || !a.ids.is_empty())
            .map(|(index, a)| {
                let mut m = Map::new();
                m.insert("bucket_id".into(), (-1 - *index as i32).into());
                if !a.weight_set.is_empty() {
                    let sets: Vec<Vec<f64>> = a
                        .weight_set
                        .iter()
                        .map(|s| s.iter().map(|w| f64::from(*w) / 65536.0).collect())
                        .collect();
                    m.insert("weight_set".into(), json!(sets));
                }
                if !a.ids.is_empty() {
                    m.insert("ids".into(), json!(a.ids));
                }
                Value::Object(m)
            })
            .collect();
        out.insert(key.to_string(), list.into());
    }
    out
}

fn ws_dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let v = Value::Object(weight_sets_json(&core.osd.map.crush));
    match a.format() {
        Format::Json => render(a, &v, String::new),
        _ => text(pretty(&v) + "\n"),
    }
}

/// The key of the set that a command is about, and how to name it.
fn key(core: &MonCore, a: &Args) -> Result<(i64, String), (Errno, String)> {
    if a.prefix.ends_with("-compat") {
        return Ok((DEFAULT_CHOOSE_ARGS, String::new()));
    }
    let name = need(a, "pool")?;
    match core.osd.peek().pool_by_name(&name) {
        Some(id) => Ok((id.0, name)),
        None => Err((Errno::ENOENT, format!("pool '{name}' not found"))),
    }
}

fn ws_create(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (key, name) = key(core, a)?;
    let positions = match a.text("mode").as_str() {
        "positional" => core.osd.peek().pool(types::PoolId(key)).map_or(1, |p| usize::from(p.size)),
        _ => 1,
    };
    if core.osd.peek().crush.choose_args.contains_key(&key) {
        let text = if name.is_empty() {
            "compat weight-set already created".to_owned()
        } else {
            format!("weight-set for pool '{name}' already created")
        };
        return text_outs("", text);
    }
    edit(core, |c| Ok(c.create_weight_set(key, positions)))?;
    done("")
}

fn ws_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (key, _) = key(core, a)?;
    if !core.osd.peek().crush.choose_args.contains_key(&key) {
        return text("");
    }
    edit(core, |c| Ok(c.remove_weight_set(key)))?;
    done("")
}

fn ws_reweight(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (key, pool) = key(core, a)?;
    let c = &core.osd.peek().crush;
    let Some(positions) = c.weight_set_positions(key) else {
        let text = if pool.is_empty() {
            "no backward-compatible weight-set".to_owned()
        } else {
            format!("no weight-set for pool '{pool}'")
        };
        return fail(Errno::ENOENT, text);
    };
    let item = need(a, "item")?;
    let Some(id) = c.item_id(&item) else {
        return fail(Errno::ENOENT, format!("item '{item}' does not exist"));
    };
    let mut weights = Vec::new();
    for w in a.list("weight") {
        let f: f64 = w.parse().map_err(|_| (Errno::EINVAL, format!("bad weight '{w}'")))?;
        weights.push(raw_weight(f)?);
    }
    if weights.len() != positions {
        return fail(Errno::EINVAL, format!("must specify exact {positions} weight values"));
    }
    let n = edit(core, |c| c.set_weight_set(key, id, &weights))?;
    if n == 0 {
        return fail(Errno::ENOENT, format!("item '{item}' is in no bucket"));
    }
    done("")
}
