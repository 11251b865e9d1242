//! `config *` and `config-key *`.

use super::{Args, CmdResult, Ctx, Format, Handler, Out, as_json, done, fail, need, render, text};
use crate::authz;
use crate::config::{HIDDEN, Who, is_secret};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable};
use crate::options;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("config set", set),
    ("config rm", rm),
    ("config get", get),
    ("config dump", dump),
    ("config ls", ls),
    ("config log", log),
    ("config reset", reset),
    ("config help", super::config_help::help),
    ("config generate-minimal-conf", minimal),
    ("config assimilate-conf", assimilate),
    ("config show", super::config_show::show),
    ("config show-with-defaults", super::config_show::show_with_defaults),
    ("config-key get", key_get),
    ("config-key set", key_set),
    ("config-key put", key_set),
    ("config-key rm", key_rm),
    ("config-key del", key_rm),
    ("config-key exists", key_exists),
    ("config-key ls", key_ls),
    ("config-key list", key_ls),
    ("config-key dump", key_dump),
];

/// Longest value of `config-key set` (`mon_config_key_max_entry_size`).
const KEY_VALUE_MAX: usize = 65_536;

fn who(a: &Args) -> Result<Who, (Errno, String)> {
    let w = need(a, "who")?;
    Who::parse(&w).ok_or((Errno::EINVAL, format!("unrecognized config target '{w}'")))
}

fn set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = options::normalize(&need(a, "name")?);
    let value = a.text("value");
    let Some(opt) = options::find(&name) else {
        if name.starts_with("mgr/") || a.flag("force") {
            return set_raw(core, a, &name, value);
        }
        return fail(Errno::EINVAL, format!("unrecognized config option '{name}'"));
    };
    let value = options::check(&opt, &value).map_err(|e| (Errno::EINVAL, e))?;
    set_raw(core, a, &name, value)
}

fn set_raw(core: &mut MonCore, a: &Args, name: &str, value: String) -> CmdResult {
    let w = who(a)?;
    let now = core.now;
    core.config.change(now, "", vec![(w.key(name), Some(value))]);
    done("")
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = options::normalize(&need(a, "name")?);
    let w = who(a)?;
    let now = core.now;
    core.config.change(now, "", vec![(w.key(&name), None)]);
    done("")
}

/// Shows values, without the secret ones where the asker may not see them.
pub(super) struct Veil(bool);
impl Veil {
    /// For who sees everything.
    #[cfg(test)]
    pub(super) fn all() -> Veil {
        Veil(true)
    }
    pub(super) fn of(core: &MonCore, ctx: &Ctx) -> Veil {
        let peer = ctx.session.and_then(|id| core.sessions.get(&id)).map(|s| &s.peer);
        Veil(authz::sees_secrets(peer, ctx.role))
    }
    pub(super) fn show(&self, option: &str, value: &str) -> String {
        if self.0 || !is_secret(option) { value.to_owned() } else { HIDDEN.to_owned() }
    }
}

fn opt_level(name: &str) -> (&'static str, bool) {
    if name.starts_with("mgr/") {
        return ("advanced", true);
    }
    options::find(name).map_or(("unknown", false), |o| (o.level, o.runtime))
}

/// Order of sections in `config dump`: global, then each type with its ids.
fn sort_key(key: &str) -> (u8, String, String, String, bool, String) {
    let (w, o) = Who::split(key);
    let kind = w.section.split('.').next().unwrap_or_default().to_owned();
    let first = u8::from(w.section != "global");
    // Stock lists an option's masked values before the plain one.
    (first, kind, w.section, o, w.mask.is_empty(), w.mask)
}

fn table() -> TextTable {
    let l = Align::Left;
    ["WHO", "MASK", "LEVEL", "OPTION", "VALUE", "RO"].iter().fold(TextTable::new(), |t, h| t.column(h, l, l))
}

fn dump(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let veil = Veil::of(core, ctx);
    let mut keys: Vec<(String, String)> =
        core.config.values.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    keys.sort_by_key(|(k, _)| sort_key(k));
    let mut list = Vec::new();
    let mut t = table();
    for (k, v) in &keys {
        let (w, o) = Who::split(k);
        let v = &veil.show(&o, v);
        let (level, runtime) = opt_level(&o);
        let mut j = json!({"section": w.section, "name": o, "value": v, "level": level, "can_update_at_runtime": runtime, "mask": w.mask});
        for m in w.mask.split('/') {
            match m.split_once(':') {
                Some(("class", c)) => j["device_class"] = c.into(),
                Some((kind, v)) => {
                    j["location_type"] = kind.into();
                    j["location_value"] = v.into();
                }
                None => {}
            }
        }
        list.push(j);
        let indent = "  ".repeat(w.depth());
        t.row([
            indent + &w.section,
            w.mask,
            level.into(),
            o,
            v.clone(),
            if runtime { "".into() } else { "*".into() },
        ]);
    }
    render(a, &Value::Array(list), || t.to_string())
}

/// Host and device class of an OSD, which masks may name; empty for others.
pub(super) fn masks_of(core: &MonCore, entity: &str) -> (String, String) {
    match entity.strip_prefix("osd.").and_then(|i| i.parse::<i32>().ok()) {
        Some(o) => (
            core.osd.meta(types::OsdId(o), "hostname").unwrap_or_default().to_owned(),
            crate::crushutil::class_of(&core.osd.map.crush, o).unwrap_or_default().to_owned(),
        ),
        None => Default::default(),
    }
}

fn get(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let veil = Veil::of(core, ctx);
    let w = need(a, "who")?;
    let parsed = Who::parse(&w).ok_or((Errno::EINVAL, format!("unrecognized entity '{w}'")))?;
    let entity = parsed.section;
    let (host, class) = masks_of(core, &entity);
    let all = core.config.effective(&entity, &host, &class);
    if let Some(key) = a.str("key") {
        let key = options::normalize(&key);
        if key == "fsid" {
            return text(core.fsid().to_string() + "\n");
        }
        return match (all.get(&key), options::find(&key)) {
            (Some((_, v)), _) => text(veil.show(&key, v) + "\n"),
            (None, Some(o)) => text(o.default.to_owned() + "\n"),
            (None, None) => fail(Errno::ENOENT, format!("unrecognized key '{key}'")),
        };
    }
    let mut v = Map::new();
    let mut t = table();
    for (o, (who, value)) in &all {
        let value = &veil.show(o, value);
        let (level, runtime) = opt_level(o);
        let mut mask = Map::new();
        for m in who.mask.split('/') {
            if let Some((k, x)) = m.split_once(':') {
                mask.insert(k.into(), x.into());
            }
        }
        v.insert(
            o.clone(),
            json!({"value": value, "section": who.section, "mask": mask, "can_update_at_runtime": runtime}),
        );
        let ro = if runtime { "" } else { "*" };
        t.row([who.section.clone(), who.mask.clone(), level.into(), o.clone(), value.clone(), ro.into()]);
    }
    render(a, &Value::Object(v), || t.to_string())
}

fn ls(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let names: Vec<&str> = options::all().filter(|o| o.kind != "debug").map(|o| o.name).collect();
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn log(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let veil = Veil::of(core, ctx);
    let num = a.int("num").unwrap_or(10).clamp(0, 1000) as usize;
    let mut list = Vec::new();
    let mut plain = String::new();
    for (n, c) in core.config.history.iter().rev().take(num) {
        let n: u64 = n.parse().unwrap_or(0);
        plain.push_str(&format!("--- {n} --- {} ---", c.stamp));
        if !c.name.is_empty() {
            plain.push_str(&format!(" {}", c.name));
        }
        plain.push('\n');
        let mut changes = Vec::new();
        for (k, old, new) in &c.diff {
            let mut j = json!({ "name": k });
            let option = Who::split(k).1;
            let old = old.as_ref().map(|v| veil.show(&option, v));
            let new = new.as_ref().map(|v| veil.show(&option, v));
            if let Some(o) = old {
                plain.push_str(&format!("- {k} = {o}\n"));
                j["previous_value"] = o.clone().into();
            }
            if let Some(v) = new {
                plain.push_str(&format!("+ {k} = {v}\n"));
                j["new_value"] = v.clone().into();
            }
            changes.push(j);
        }
        list.push(
            json!({"version": n, "timestamp": c.stamp.to_string(), "name": c.name, "changes": changes}),
        );
    }
    render(a, &Value::Array(list), || plain)
}

/// Takes back, newest first, every change after a version.
fn reset(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let to = super::need_int(a, "num")?;
    let newest = core.config.version();
    let oldest = core.config.history.iter().next().and_then(|(k, _)| k.parse().ok()).unwrap_or(1u64);
    let valid = u64::try_from(to).ok().filter(|n| *n < newest && *n + 1 >= oldest.max(1));
    let Some(to) = valid else {
        return fail(
            Errno::EINVAL,
            "must specify a valid historical version to revert to; see 'ceph config log' for a list of avialable configuration historical \
             versions",
        );
    };
    let mut back: std::collections::BTreeMap<String, Option<String>> = Default::default();
    for (_, c) in core.config.history.iter().rev().filter(|(k, _)| k.parse().is_ok_and(|n: u64| n > to)) {
        // Older changes come later and win.
        back.extend(c.diff.iter().map(|(key, old, _)| (key.clone(), old.clone())));
    }
    let now = core.now;
    core.config.change(now, &format!("reset to {to}"), back.into_iter().collect());
    done("")
}

fn mon_host(core: &MonCore) -> String {
    let m = core.monmap();
    let list: Vec<String> = m
        .ranks
        .iter()
        .filter_map(|n| m.mons.get(n))
        .map(|i| match i.public_addrs.0.as_slice() {
            [one] => format!("[{one}]"),
            _ => i.public_addrs.to_string(),
        })
        .collect();
    list.join(" ")
}

fn minimal(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    let id = core.fsid();
    text(format!("# minimal ceph.conf for {id}\n[global]\n\tfsid = {id}\n\tmon_host = {}\n", mon_host(core)))
}

fn assimilate(core: &mut MonCore, _: &Args, ctx: &Ctx) -> CmdResult {
    let Ok(input) = std::str::from_utf8(&ctx.input) else { return fail(Errno::EINVAL, "") };
    let mut section = String::new();
    let mut changes = Vec::new();
    let mut left: Vec<(String, Vec<String>)> = Vec::new();
    for line in input.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(s) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = s.trim().to_owned();
            continue;
        }
        let Some((k, v)) = line.split_once('=') else {
            return fail(Errno::EINVAL, "could not parse configuration file");
        };
        let (name, value) = (options::normalize(k), v.trim());
        let checked = options::find(&name).and_then(|o| options::check(&o, value).ok());
        match (checked, Who::parse(&section)) {
            (Some(v), Some(w)) if !matches!(name.as_str(), "fsid" | "mon_host" | "keyring") => {
                changes.push((w.key(&name), Some(v)));
            }
            _ => {
                let text = format!("\t{} = {value}", k.trim());
                match left.iter_mut().find(|(s, _)| *s == section) {
                    Some((_, l)) => l.push(text),
                    None => left.push((section.clone(), vec![text])),
                }
            }
        }
    }
    let now = core.now;
    core.config.change(now, "assimilate-conf", changes);
    let out: String = left.iter().map(|(s, l)| format!("[{s}]\n{}\n", l.join("\n"))).collect();
    Ok(Out { outs: String::new(), data: out.into_bytes(), wait: true, ret: 0 })
}

fn key_get(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let key = need(a, "key")?;
    match core.config_key.get(&key) {
        Some(v) => Ok(Out { outs: String::new(), data: v.to_vec(), wait: false, ret: 0 }),
        None => fail(Errno::ENOENT, ""),
    }
}

fn key_set(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let key = need(a, "key")?;
    let value = match a.str("val") {
        Some(v) => Bytes::from(v),
        None => ctx.input.clone(),
    };
    if value.len() > KEY_VALUE_MAX {
        let n = value.len();
        return fail(
            Errno::EFBIG,
            format!(
                "error: entry size limited to {KEY_VALUE_MAX} bytes. Use 'mon config key max entry size' to manually adjust ({n})"
            ),
        );
    }
    core.config_key.set(key.clone(), value);
    done(format!("set {key}"))
}

fn key_rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let key = need(a, "key")?;
    core.config_key.remove(&key);
    done("key deleted")
}

fn key_exists(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let key = need(a, "key")?;
    if core.config_key.get(&key).is_some() {
        return super::text_outs("", format!("key '{key}' exists"));
    }
    fail(Errno::ENOENT, format!("key '{key}' doesn't exist"))
}

fn key_ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let keys: Vec<&String> = core.config_key.iter().map(|(k, _)| k).collect();
    as_json(a, &json!(keys))
}

fn key_dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let under = a.text("key");
    let mut m = Map::new();
    for (k, v) in core.config_key.iter().filter(|(k, _)| k.starts_with(&under)) {
        let shown = match std::str::from_utf8(v) {
            Ok(s) if !s.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => s.to_owned(),
            _ => format!("<<< binary blob of length {} >>>", v.len()),
        };
        m.insert(k.clone(), shown.into());
    }
    let mut o = as_json(a, &Value::Object(m))?;
    if a.format() == Format::Plain {
        o.outs = String::new();
    }
    Ok(o)
}
