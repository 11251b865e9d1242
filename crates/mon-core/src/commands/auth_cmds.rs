//! `auth *`.

use super::{Args, CmdResult, Ctx, Format, Handler, as_json, done, fail, need, render, text, text_outs};
use crate::auth::{caps_of, key_name, keyring_text, make_entity, parse_keyring};
use crate::core::MonCore;
use crate::mkfs::check_cap;
use cephx::crypto::{CryptoKey, KeyType};
use cephx::keyserver::EntityAuth;
use cephx::proto::AuthName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use types::Errno;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("auth ls", ls),
    ("auth list", ls),
    ("auth get", get),
    ("auth export", export),
    ("auth get-key", get_key),
    ("auth print-key", get_key),
    ("auth print_key", get_key),
    ("auth get-or-create", get_or_create),
    ("auth get-or-create-key", get_or_create_key),
    ("auth add", add),
    ("auth caps", caps),
    ("auth rm", rm),
    ("auth del", rm),
    ("auth import", import),
    ("auth rotate", rotate),
    ("auth get-or-create-pending", get_or_create_pending),
    ("auth clear-pending", clear_pending),
    ("auth commit-pending", commit_pending),
];

type Fail = (Errno, String);

pub(super) fn entity(a: &Args) -> Result<String, Fail> {
    let text = need(a, "entity")?;
    AuthName::parse(&text).map(|n| key_name(&n)).ok_or((Errno::EINVAL, "bad entity name".into()))
}

fn caps_arg(a: &Args) -> Result<BTreeMap<String, String>, Fail> {
    let list = a.list("caps");
    if !list.len().is_multiple_of(2) {
        return Err((Errno::EINVAL, "bad capabilities request; odd number of arguments".into()));
    }
    let mut m = BTreeMap::new();
    for pair in list.chunks(2) {
        check_cap(&pair[0], &pair[1]).map_err(|e| (Errno::EINVAL, e))?;
        m.insert(pair[0].clone(), pair[1].clone());
    }
    Ok(m)
}

fn entity_json(name: &str, e: &EntityAuth) -> Value {
    let mut v = json!({"entity": name, "key": e.key.to_base64(), "caps": caps_of(e)});
    if !e.pending_key.is_empty() {
        v["pending_key"] = e.pending_key.to_base64().into();
    }
    v
}

fn ls(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let all: Vec<(String, EntityAuth)> =
        core.auth.sorted().into_iter().filter(|(n, _)| n != "mon.").collect();
    if a.format() != Format::Plain {
        let list: Vec<Value> = all.iter().map(|(n, e)| entity_json(n, e)).collect();
        return as_json(a, &json!({"auth_dump": list}));
    }
    let mut out = String::new();
    for (n, e) in &all {
        out.push_str(&format!("{n}\n\tkey: {}\n", e.key.to_base64()));
        if !e.pending_key.is_empty() {
            out.push_str(&format!("\tpending key: {}\n", e.pending_key.to_base64()));
        }
        for (s, c) in caps_of(e) {
            out.push_str(&format!("\tcaps: [{s}] {c}\n"));
        }
    }
    text_outs(out, "installed auth entries:\n")
}

fn get(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = entity(a)?;
    let Some(e) = core.auth.entities.get(&name).cloned() else {
        return fail(Errno::ENOENT, format!("failed to find {name} in keyring"));
    };
    let mut o = render(a, &json!([entity_json(&name, &e)]), || keyring_text(&name, &e, true))?;
    o.outs = format!("exported keyring for {name}");
    Ok(o)
}

fn export(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if a.has("entity") {
        let name = entity(a)?;
        let Some(e) = core.auth.entities.get(&name).cloned() else {
            return fail(Errno::ENOENT, format!("no key for auth(key={name})"));
        };
        let mut o = render(a, &json!([entity_json(&name, &e)]), || keyring_text(&name, &e, true))?;
        o.outs = format!("export auth(key={})", e.key.to_base64());
        return Ok(o);
    }
    let all = core.auth.sorted();
    let list: Vec<Value> = all.iter().map(|(n, e)| entity_json(n, e)).collect();
    let mut o =
        render(a, &Value::Array(list), || all.iter().map(|(n, e)| keyring_text(n, e, true)).collect())?;
    o.outs = "exported master keyring".into();
    Ok(o)
}

fn get_key(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = entity(a)?;
    let Some(e) = core.auth.entities.get(&name) else {
        return fail(Errno::ENOENT, format!("don't have {name}"));
    };
    let key = e.key.to_base64();
    render(a, &json!({ "key": key }), || key.clone())
}

/// The existing principal when its caps are those asked for (or none are asked for), or a new one.
fn existing_or_new(core: &mut MonCore, a: &Args) -> Result<(String, EntityAuth), Fail> {
    let name = entity(a)?;
    let caps = caps_arg(a)?;
    let e = add_or_match(core, &name, &caps)?;
    Ok((name, e))
}

/// The same for a name and caps that were checked.
pub(super) fn add_or_match(
    core: &mut MonCore,
    name: &str,
    caps: &BTreeMap<String, String>,
) -> Result<EntityAuth, Fail> {
    if let Some(e) = core.auth.entities.next(name).cloned() {
        if let Some((s, _)) = caps.iter().find(|(s, c)| e.caps_text(s).as_ref() != Some(c)) {
            return Err((Errno::EINVAL, format!("key for {name} exists but cap {s} does not match")));
        }
        return Ok(e);
    }
    let key = CryptoKey::generate(KeyType::Aes, &*core.env);
    let e = make_entity(key, caps);
    core.auth.entities.set(name.to_owned(), e.clone());
    Ok(e)
}

fn get_or_create(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, e) = existing_or_new(core, a)?;
    let mut o = render(a, &json!([entity_json(&name, &e)]), || keyring_text(&name, &e, false))?;
    o.wait = true;
    Ok(o)
}

fn get_or_create_key(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (_, e) = existing_or_new(core, a)?;
    let key = e.key.to_base64();
    let mut o = render(a, &json!({ "key": key }), || format!("{key}\n"))?;
    o.wait = true;
    Ok(o)
}

fn add(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let name = entity(a)?;
    let mut caps = caps_arg(a)?;
    let mut key = None;
    if !ctx.input.is_empty() {
        let input = std::str::from_utf8(&ctx.input).ok().and_then(parse_keyring);
        let found = input.and_then(|l| l.into_iter().find(|(n, _)| key_name(n) == name));
        let Some((_, e)) = found else {
            return fail(Errno::ENOENT, format!("could not find {name} in keyring"));
        };
        if caps.is_empty() {
            caps = caps_of(&e);
        }
        key = Some(e.key);
    }
    if let Some(e) = core.auth.entities.next(&name) {
        if let Some(k) = &key
            && !k.same_secret(&e.key)
        {
            return fail(Errno::EINVAL, format!("entity {name} exists but key does not match"));
        }
        if let Some((s, _)) = caps.iter().find(|(s, c)| e.caps_text(s).as_ref() != Some(c)) {
            return fail(Errno::EINVAL, format!("entity {name} exists but cap {s} does not match"));
        }
        return done("");
    }
    let key = key.unwrap_or_else(|| CryptoKey::generate(KeyType::Aes, &*core.env));
    core.auth.entities.set(name.clone(), make_entity(key, &caps));
    done(format!("added key for {name}"))
}

fn caps(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = entity(a)?;
    let caps = caps_arg(a)?;
    let Some(e) = core.auth.entities.next(&name).cloned() else {
        return fail(Errno::ENOENT, format!("couldn't find entry {name}"));
    };
    core.auth.entities.set(name.clone(), EntityAuth { caps: make_entity(e.key.clone(), &caps).caps, ..e });
    done(format!("updated caps for {name}"))
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let name = entity(a)?;
    if core.auth.entities.next(&name).is_none() {
        return done(format!("entity {name} does not exist"));
    }
    core.auth.entities.remove(&name);
    done("updated")
}

/// A principal whose key may be replaced.
fn rotatable(core: &MonCore, a: &Args) -> Result<(String, EntityAuth), Fail> {
    let name = entity(a)?;
    if name == "mon." {
        let why = "the monitors know each other by the key in their keyring files; it is not rotated here";
        return Err((Errno::EINVAL, format!("{name}: {why}")));
    }
    let e = core.auth.entities.next(&name).cloned();
    e.map(|e| (name.clone(), e)).ok_or((Errno::ENOENT, format!("entity {name} does not exist")))
}

/// A new key in place of the old one, of the same type, with the same caps (a command of Ceph 19.2.3). Sessions and tickets that the old key
/// got live on until they end; a login with it is refused from now on.
fn rotate(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, e) = rotatable(core, a)?;
    let key = CryptoKey::generate(e.key.kind(), &*core.env);
    let e = EntityAuth { key, pending_key: CryptoKey::default(), ..e };
    core.auth.entities.set(name.clone(), e.clone());
    let mut o = render(a, &json!([entity_json(&name, &e)]), || keyring_text(&name, &e, true))?;
    o.wait = true;
    Ok(o)
}

/// A second key that is good beside the first until it is used, and replaces it then (this and the next two are commands of Ceph 17).
fn get_or_create_pending(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, mut e) = rotatable(core, a)?;
    if e.pending_key.is_empty() {
        e.pending_key = CryptoKey::generate(e.key.kind(), &*core.env);
        core.auth.entities.set(name.clone(), e.clone());
    }
    let mut o = render(a, &json!([entity_json(&name, &e)]), || keyring_text(&name, &e, true))?;
    o.wait = true;
    Ok(o)
}

fn clear_pending(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, mut e) = rotatable(core, a)?;
    if e.pending_key.is_empty() {
        return done("no pending key");
    }
    e.pending_key = CryptoKey::default();
    core.auth.entities.set(name, e);
    done("")
}

fn commit_pending(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (name, mut e) = rotatable(core, a)?;
    if e.pending_key.is_empty() {
        return done("no pending key");
    }
    e.key = std::mem::take(&mut e.pending_key);
    core.auth.entities.set(name, e);
    done("")
}

fn import(core: &mut MonCore, _: &Args, ctx: &Ctx) -> CmdResult {
    if ctx.input.is_empty() {
        return fail(Errno::EINVAL, "auth import: no data supplied");
    }
    let parsed = std::str::from_utf8(&ctx.input).ok().and_then(parse_keyring).filter(|l| !l.is_empty());
    let Some(list) = parsed else {
        return fail(Errno::EINVAL, "error decoding keyring cannot parse buffer: Malformed input");
    };
    for (name, e) in &list {
        // Caps that do not parse are taken as they are, as stock does; health tells of them (AUTH_BAD_CAPS), and they grant nothing.
        if e.key.is_empty() {
            return fail(Errno::EINVAL, format!("auth import: no key for {}", key_name(name)));
        }
    }
    for (name, e) in list {
        core.auth.entities.set(key_name(&name), e);
    }
    let mut o = text("")?;
    o.outs = "imported keyring".into();
    o.wait = true;
    Ok(o)
}
