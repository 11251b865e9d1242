//! `osd erasure-code-profile *`. Profiles are kept and checked as stock does; pools that use them are refused (no erasure coding yet).

use super::{Args, CmdResult, Ctx, Handler, done, fail, need, render, text_outs};
use crate::core::MonCore;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd erasure-code-profile ls", ls),
    ("osd erasure-code-profile get", get),
    ("osd erasure-code-profile set", set),
    ("osd erasure-code-profile rm", rm),
];

type Profile = BTreeMap<String, String>;

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let names: Vec<&String> = core.osd.map.erasure_code_profiles.keys().collect();
    render(a, &json!(names), || names.iter().map(|n| format!("{n}\n")).collect())
}

fn get(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "name")?;
    let Some(p) = core.osd.map.erasure_code_profiles.get(&n) else {
        return fail(Errno::ENOENT, format!("unknown erasure code profile '{n}'"));
    };
    render(a, &json!(p), || p.iter().map(|(k, v)| format!("{k}={v}\n")).collect())
}

/// Defaults of a plugin, beside those of every profile.
fn defaults(plugin: &str, p: &Profile) -> &'static [(&'static str, &'static str)] {
    match plugin {
        "jerasure"
            if p.get("technique")
                .is_some_and(|t| t.starts_with("cauchy") || t == "liberation" || t == "blaum_roth") =>
        {
            &[
                ("k", "7"),
                ("m", "3"),
                ("packetsize", "2048"),
                ("w", "8"),
                ("jerasure-per-chunk-alignment", "false"),
            ]
        }
        "jerasure" => &[
            ("k", "7"),
            ("m", "3"),
            ("technique", "reed_sol_van"),
            ("w", "8"),
            ("jerasure-per-chunk-alignment", "false"),
        ],
        "isa" => &[("k", "7"), ("m", "3"), ("technique", "reed_sol_van")],
        "shec" => &[("k", "4"), ("m", "3"), ("c", "2"), ("technique", "multiple")],
        "clay" => &[("k", "4"), ("m", "2")],
        _ => &[],
    }
}

fn int(p: &Profile, key: &str, default: i64) -> Result<i64, (Errno, String)> {
    let Some(v) = p.get(key) else { return Ok(default) };
    v.parse().map_err(|_| {
        let text = format!(
            "could not convert {key}={v} to int because Expected option value to be integer, got '{v}', set to default {default}"
        );
        (Errno::EINVAL, text)
    })
}

/// Fills in what was left out and refuses what no code can do.
fn normalize(p: &mut Profile) -> Result<(), (Errno, String)> {
    let bad = |t: String| Err((Errno::EINVAL, t));
    let plugin = p.entry("plugin".into()).or_insert_with(|| "jerasure".into()).clone();
    for (k, v) in [("crush-device-class", ""), ("crush-failure-domain", "host"), ("crush-root", "default")] {
        p.entry(k.into()).or_insert_with(|| v.into());
    }
    for (k, v) in defaults(&plugin, p) {
        p.entry((*k).into()).or_insert_with(|| (*v).into());
    }
    let (k, m) = (int(p, "k", 7)?, int(p, "m", 3)?);
    match plugin.as_str() {
        "jerasure" | "isa" | "shec" | "clay" => {
            if k < 2 {
                return bad(format!("k={k} must be >= 2"));
            }
            if m < 1 {
                return bad(format!("m={m} must be >= 1"));
            }
            if k + m > 255 {
                return bad(format!("k+m={} must be <= 255", k + m));
            }
        }
        "lrc" => {
            let l = int(p, "l", 0)?;
            if !p.contains_key("layers") && (l < 1 || (k + m) % l != 0) {
                return bad(format!("k + m must be a multiple of l in {p:?}"));
            }
        }
        other => {
            let at = format!("/usr/lib/ceph/erasure-code/libec_{other}.so");
            let text =
                format!("load dlopen({at}): {at}: cannot open shared object file: No such file or directory");
            return Err((Errno::EIO, text));
        }
    }
    if plugin == "clay" {
        let d = int(p, "d", k + m - 1)?;
        if d < k || d > k + m - 1 {
            return bad(format!("value of d {d} must be within [ {k},{}]", k + m - 1));
        }
        p.insert("d".into(), d.to_string());
    }
    if plugin == "shec" {
        let c = int(p, "c", 2)?;
        if c < 1 || m < c {
            return bad(format!("c={c} must be less than or equal to m={m}"));
        }
    }
    Ok(())
}

fn show(p: &Profile) -> String {
    let list: Vec<String> = p.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{{{}}}", list.join(","))
}

fn set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "name")?;
    let mut words = a.list("profile");
    let mut force = a.flag("force");
    // Older clients send the switch as the last word.
    if words.last().is_some_and(|w| w == "--force") {
        words.pop();
        force = true;
    }
    let mut p: Profile = core
        .cfg
        .opt("osd_pool_default_erasure_code_profile")
        .split_whitespace()
        .filter_map(|w| w.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let given: Profile = words
        .iter()
        .map(|w| w.split_once('=').map_or((w.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    // A plugin of one's own begins without the default's parameters.
    if given.get("plugin").is_some_and(|g| p.get("plugin") != Some(g)) {
        p.clear();
    }
    p.extend(given);
    if p.keys().any(|k| k.starts_with("ruleset-")) && !force {
        return fail(
            Errno::EINVAL,
            "property names beginning with 'ruleset-' are no longer supported; use 'crush-' instead",
        );
    }
    normalize(&mut p)?;
    if let Some(have) = core.osd.peek().erasure_code_profiles.get(&name) {
        if *have == p {
            return text_outs("", "");
        }
        if !force {
            return fail(
                Errno::EPERM,
                format!(
                    "will not override erasure code profile {name} because the existing profile {} is different from the proposed profile {}",
                    show(have),
                    show(&p)
                ),
            );
        }
    }
    Arc::make_mut(&mut core.osd.next().erasure_code_profiles).insert(name, p);
    done("")
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = need(a, "name")?;
    let m = core.osd.peek();
    let users: Vec<&str> = m
        .pools
        .iter()
        .filter(|(_, p)| p.is_erasure() && p.erasure_code_profile == name)
        .filter_map(|(id, _)| m.pool_name(*id))
        .collect();
    if !users.is_empty() {
        let text = format!("{} pool(s) are using the erasure code profile '{name}'", users.join(","));
        return fail(Errno::EBUSY, text);
    }
    if !m.erasure_code_profiles.contains_key(&name) {
        return text_outs("", format!("erasure-code-profile {name} does not exist"));
    }
    Arc::make_mut(&mut core.osd.next().erasure_code_profiles).remove(&name);
    done("")
}
