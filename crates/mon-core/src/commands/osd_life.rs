//! OSD life cycle commands: new, create, in, out, down, rm, destroy, purge, reweight, lost, stop.

use super::osd_cmds::osd_id;
use super::{Args, CmdResult, Ctx, Format, Handler, Out, done, fail, need, need_float, render};
use crate::auth::make_entity;
use crate::core::MonCore;
use crate::fmt::fmt_g;
use crate::osdmon::{set_state, set_weight};
use cephx::crypto::CryptoKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::osdmap::{AFFINITY_MAX, OsdMap, state};
use types::{Errno, Fsid, OsdId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd new", new),
    ("osd create", create),
    ("osd out", out_in),
    ("osd in", out_in),
    ("osd down", down),
    ("osd stop", stop),
    ("osd rm", rm),
    ("osd lost", lost),
    ("osd destroy", destroy),
    ("osd destroy-actual", destroy),
    ("osd purge", purge),
    ("osd purge-actual", purge),
    ("osd purge-new", purge),
    ("osd reweight", reweight),
    ("osd primary-affinity", affinity),
    ("osd set-group", group),
    ("osd unset-group", group),
    ("osd add-noup", group),
    ("osd add-nodown", group),
    ("osd add-noin", group),
    ("osd add-noout", group),
    ("osd rm-noup", group),
    ("osd rm-nodown", group),
    ("osd rm-noin", group),
    ("osd rm-noout", group),
];

/// `mon_max_osd`.
const OSDS_MAX: i32 = 10_000;

/// Ids of `ids`: numbers, `osd.N`, `any`/`all`/`*`.
fn parse_ids(core: &MonCore, a: &Args) -> Result<Vec<OsdId>, (Errno, String)> {
    let words = a.list("ids");
    if words.iter().any(|w| matches!(w.as_str(), "any" | "all" | "*")) {
        return Ok(core.osd.peek().osds().collect());
    }
    words
        .iter()
        .map(|w| {
            let n = w.strip_prefix("osd.").unwrap_or(w);
            n.parse::<i32>().ok().filter(|n| *n >= 0).map(OsdId).ok_or_else(|| {
                (Errno::EINVAL, format!("Expected option value to be integer, got '{w}'invalid osd id-1"))
            })
        })
        .collect()
}

/// Makes room for an id and marks it as existing, new and in.
fn add_osd(m: &mut OsdMap, o: OsdId, uuid: Fsid) {
    if m.max_osd <= o.0 {
        m.set_max_osd(o.0 + 1);
    }
    set_weight(m, o, types::osdmap::WEIGHT_IN);
    set_state(m, o, state::EXISTS | state::NEW, true);
    Arc::make_mut(&mut m.osd_uuid)[o.0 as usize] = uuid;
}

fn free_id(m: &OsdMap) -> i32 {
    (0..).find(|i| !m.exists(OsdId(*i))).unwrap_or(0)
}

fn by_uuid(m: &OsdMap, u: Fsid) -> Option<OsdId> {
    m.osds().find(|o| m.uuid(*o) == Some(u))
}

fn uuid_arg(a: &Args) -> Result<Fsid, (Errno, String)> {
    let t = need(a, "uuid")?;
    t.parse().map_err(|()| (Errno::EINVAL, format!("invalid UUID value '{t}'.")))
}

fn id_out(a: &Args, o: OsdId) -> CmdResult {
    let mut out = match a.format() {
        Format::Plain => Out { data: format!("{o}\n").into_bytes(), ..Out::default() },
        _ => render(a, &json!({"osdid": o.0}), String::new)?,
    };
    out.wait = true;
    Ok(out)
}

fn new(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let uuid = uuid_arg(a)?;
    let wanted = match a.str("id") {
        Some(_) => Some(osd_id(a, "id")?),
        None => None,
    };
    let mut secrets: BTreeMap<String, String> = BTreeMap::new();
    let input = String::from_utf8_lossy(&ctx.input).trim().to_owned();
    if !input.is_empty() {
        let Ok(Value::Object(o)) = serde_json::from_str::<Value>(&input) else {
            return fail(Errno::EINVAL, "unable to parse json");
        };
        for (k, v) in o {
            if let Some(s) = v.as_str() {
                secrets.insert(k, s.to_owned());
            }
        }
    }
    let key = match secrets.get("cephx_secret") {
        None => None,
        Some(s) => match CryptoKey::from_base64(s) {
            Ok(k) => Some(k),
            Err(_) => return fail(Errno::EINVAL, "invalid cephx secret"),
        },
    };
    let lockbox = secrets.get("cephx_lockbox_secret").cloned();
    match (&lockbox, secrets.get("dmcrypt_key")) {
        (Some(_), None) => return fail(Errno::EINVAL, "couldn't find dm-crypt key"),
        (None, Some(_)) => return fail(Errno::EINVAL, "couldn't find lockbox secret"),
        _ => {}
    }
    if key.is_none() && lockbox.is_some() {
        return fail(Errno::EINVAL, "requires a cephx secret.");
    }
    let m = core.osd.peek();
    let have = by_uuid(m, uuid);
    let o = match (have, wanted) {
        (Some(h), Some(w)) if h != w => {
            return fail(Errno::EEXIST, format!("uuid {uuid} already in use for different id {h}"));
        }
        (Some(h), _) => h,
        (None, Some(w)) => {
            if w.0 < 0 || w.0 >= OSDS_MAX {
                return fail(Errno::ERANGE, format!("id {w} is out of range"));
            }
            let destroyed = m.state_of(w) & state::DESTROYED != 0;
            if m.exists(w) && !destroyed {
                return fail(Errno::EINVAL, format!("id {w} already in use and does not match uuid {uuid}"));
            }
            w
        }
        (None, None) => OsdId(free_id(m)),
    };
    if o.0 >= OSDS_MAX {
        return fail(Errno::ERANGE, "too many OSDs");
    }
    let name = format!("osd.{o}");
    if let (Some(k), Some(e)) = (&key, core.auth.entities.next(&name))
        && !k.same_secret(&e.key)
    {
        return fail(Errno::EEXIST, format!("key for {name} exists but does not match"));
    }
    // An OSD that is there already is given no key afterwards: who asks again must ask for the same.
    let unknown = |entity: &str| core.auth.entities.next(entity).is_none();
    if have.is_some()
        && (key.is_some() && unknown(&name)
            || lockbox.is_some() && unknown(&format!("client.osd-lockbox.{uuid}")))
    {
        return fail(Errno::EEXIST, format!("osd.{o} exists without the given secrets"));
    }
    if have.is_none() {
        let m = core.osd.next();
        let reused = m.state_of(o) & state::DESTROYED != 0;
        add_osd(m, o, uuid);
        set_state(m, o, state::DESTROYED, false);
        if reused {
            set_state(m, o, state::NEW, true);
        }
    }
    if let Some(k) = key {
        let caps = [("osd", "allow *"), ("mon", "allow profile osd"), ("mgr", "allow profile osd")];
        let caps = caps.iter().map(|(s, c)| ((*s).to_owned(), (*c).to_owned())).collect();
        core.auth.entities.set(name, make_entity(k, &caps));
    }
    if let Some(s) = lockbox {
        let Ok(k) = CryptoKey::from_base64(&s) else { return fail(Errno::EINVAL, "invalid lockbox secret") };
        let caps = [(
            "mon".to_owned(),
            format!("allow command \"config-key get\" with key=\"dm-crypt/osd/{uuid}/luks\""),
        )];
        core.auth.entities.set(format!("client.osd-lockbox.{uuid}"), make_entity(k, &caps.into()));
        if let Some(d) = secrets.get("dmcrypt_key") {
            core.config_key.set(format!("dm-crypt/osd/{uuid}/luks"), bytes::Bytes::from(d.clone()));
        }
    }
    if let Some(class) = secrets.get("crush_device_class") {
        let crush = Arc::make_mut(&mut core.osd.next().crush);
        crush.name_map.entry(o.0).or_insert_with(|| format!("osd.{o}"));
        if let Err(e) = crush.set_device_class(o.0, class) {
            return fail(Errno::EINVAL, e.to_string());
        }
    }
    id_out(a, o)
}

fn create(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let uuid = if a.has("uuid") { uuid_arg(a)? } else { Fsid::default() };
    let m = core.osd.peek();
    let wanted = if a.has("id") { Some(osd_id(a, "id")?) } else { None };
    let have = (!uuid.is_zero()).then(|| by_uuid(m, uuid)).flatten();
    let o = match (have, wanted) {
        (Some(h), Some(w)) if h != w => {
            return fail(Errno::EEXIST, format!("uuid {uuid} already in use for different id {h}"));
        }
        (Some(h), _) => return id_out(a, h),
        (None, Some(w)) if m.exists(w) => {
            return fail(Errno::EINVAL, format!("id {w} already in use and does not match uuid {uuid}"));
        }
        (None, Some(w)) => w,
        (None, None) => OsdId(free_id(m)),
    };
    if o.0 < 0 || o.0 >= OSDS_MAX {
        return fail(Errno::ERANGE, "too many OSDs");
    }
    add_osd(core.osd.next(), o, uuid);
    id_out(a, o)
}

fn out_in(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let out = a.prefix == "osd out";
    let ids = parse_ids(core, a)?;
    let mut text = String::new();
    for o in ids {
        let m = core.osd.peek();
        if !m.exists(o) {
            text += &format!("osd.{o} does not exist. ");
            continue;
        }
        if out == m.is_out(o) {
            text += &format!("osd.{o} is already {}. ", if out { "out" } else { "in" });
            continue;
        }
        let old = m.weight_of(o);
        let back = m.xinfo(o).map_or(0, |x| x.old_weight);
        let m = core.osd.next();
        if out {
            set_weight(m, o, 0);
            // A weight that was not 1 comes back with `osd in`.
            Arc::make_mut(&mut m.osd_xinfo)[o.0 as usize].old_weight =
                if old == types::osdmap::WEIGHT_IN { 0 } else { old };
            text += &format!("marked out osd.{o}. ");
        } else {
            set_weight(m, o, if back > 0 { back } else { types::osdmap::WEIGHT_IN });
            set_state(m, o, state::AUTOOUT | state::NEW, false);
            text += &format!("marked in osd.{o}. ");
        }
    }
    done(text)
}

fn down(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = parse_ids(core, a)?;
    let mut text = String::new();
    for o in ids {
        if !core.osd.peek().exists(o) {
            text += &format!("osd.{o} does not exist. ");
        } else if core.osd.peek().is_down(o) {
            text += &format!("osd.{o} is already down. ");
        } else {
            core.mark_down(o, "by command");
            if a.flag("definitely_dead") {
                let e = core.osd.map.epoch;
                Arc::make_mut(&mut core.osd.next().osd_xinfo)[o.0 as usize].dead_epoch = e;
            }
            text += &format!("marked down osd.{o}. ");
        }
    }
    done(text)
}

fn stop(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = parse_ids(core, a)?;
    let mut text = String::new();
    for o in ids {
        if !core.osd.peek().exists(o) {
            text += &format!("osd.{o} does not exist. ");
        } else {
            set_state(core.osd.next(), o, state::STOP, true);
            core.mark_down(o, "stopped by command");
            text += &format!("stop down osd.{o}. ");
        }
    }
    done(text)
}

/// Forgets an OSD that is down.
fn remove(core: &mut MonCore, o: OsdId) {
    let m = core.osd.next();
    set_state(m, o, u32::MAX, false);
    set_weight(m, o, 0);
    let slot = m.osd_primary_affinity.as_mut().map(Arc::make_mut).and_then(|v| v.get_mut(o.0 as usize));
    if let Some(x) = slot {
        *x = AFFINITY_MAX;
    }
    core.osd.metadata.remove(&o.0.to_string());
    core.osd.down_since.remove(&o);
    core.osd.failures.forget(o);
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ids = parse_ids(core, a)?;
    let mut removed = Vec::new();
    let (mut text, mut busy) = (String::new(), false);
    for o in ids {
        if !core.osd.peek().exists(o) {
            text += &format!("osd.{o} does not exist. ");
        } else if core.osd.peek().is_up(o) {
            text += &format!("osd.{o} is still up; must be down before removal. ");
            busy = true;
        } else {
            remove(core, o);
            removed.push(format!("osd.{o}"));
        }
    }
    if !removed.is_empty() {
        text = format!("{text}removed {}", removed.join(", "));
    }
    if busy { fail(Errno::EBUSY, text) } else { done(text) }
}

fn lost(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = osd_id(a, "id")?;
    if !a.flag("yes_i_really_mean_it") {
        return fail(
            Errno::EPERM,
            "are you SURE?  this might mean real, permanent data loss.  pass --yes-i-really-mean-it if you really do.",
        );
    }
    let m = core.osd.peek();
    if !m.exists(o) {
        return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
    }
    if m.is_up(o) {
        return fail(Errno::EBUSY, format!("osd.{o} is not down"));
    }
    let at = m.info(o).map_or(types::Epoch(0), |i| i.down_at);
    Arc::make_mut(&mut core.osd.next().osd_info)[o.0 as usize].lost_at = at;
    done(format!("marked osd lost in epoch {at}"))
}

/// The data that an OSD's removal would put at risk: `None` when it is safe.
fn sure(a: &Args) -> bool {
    a.flag("yes_i_really_mean_it") || a.flag("force")
}

fn forget_keys(core: &mut MonCore, o: OsdId) {
    core.auth.entities.remove(&format!("osd.{o}"));
    if let Some(u) = core.osd.peek().uuid(o).filter(|u| !u.is_zero()) {
        core.auth.entities.remove(&format!("client.osd-lockbox.{u}"));
        let keys: Vec<String> = core
            .config_key
            .next_all()
            .into_keys()
            .filter(|k| k.starts_with(&format!("dm-crypt/osd/{u}/")))
            .collect();
        keys.iter().for_each(|k| core.config_key.remove(k));
    }
}

fn destroy(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = osd_id(a, "id")?;
    if !core.osd.peek().exists(o) {
        return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
    }
    if !sure(a) {
        return fail(
            Errno::EPERM,
            format!(
                "Are you SURE?  Did you verify with 'ceph osd safe-to-destroy {o}'?  This will PERMANENTLY DESTROY the osd's data.  Pass \
                 --yes-i-really-mean-it if you really do."
            ),
        );
    }
    if core.osd.peek().is_up(o) {
        return fail(Errno::EBUSY, format!("osd.{o} is still `up`; must be `down` before destroying. "));
    }
    if core.osd.peek().state_of(o) & state::DESTROYED != 0 {
        return super::text_outs("", format!("destroyed osd.{o}"));
    }
    forget_keys(core, o);
    let m = core.osd.next();
    set_state(m, o, state::DESTROYED, true);
    Arc::make_mut(&mut m.osd_uuid)[o.0 as usize] = Fsid::default();
    done(format!("destroyed osd.{o}"))
}

fn purge(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = osd_id(a, "id")?;
    if !core.osd.peek().exists(o) {
        return super::text_outs("", format!("osd.{o} does not exist"));
    }
    if !sure(a) {
        return fail(
            Errno::EPERM,
            format!(
                "Are you SURE?  Did you verify with 'ceph osd safe-to-destroy {o}'?  This will PERMANENTLY DESTROY the osd's data.  Pass \
                 --yes-i-really-mean-it if you really do."
            ),
        );
    }
    if core.osd.peek().is_up(o) {
        return fail(Errno::EBUSY, format!("osd.{o} is not `down`."));
    }
    // The bootstrap key may purge what it has just made, and nothing else.
    if a.prefix == "osd purge-new" && core.osd.peek().state_of(o) & state::NEW == 0 {
        return fail(Errno::EBUSY, format!("osd.{o} is not `new`."));
    }
    forget_keys(core, o);
    let m = core.osd.next();
    let mut crush = (*m.crush).clone();
    if crush.item_name(o.0).is_some() || crush.is_linked(o.0) {
        if let Err(e) = crush.remove_item(o.0) {
            return fail(Errno::EBUSY, e.to_string());
        }
        m.crush = Arc::new(crush);
    }
    remove(core, o);
    done(format!("purged osd.{o}"))
}

fn reweight(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = osd_id(a, "id")?;
    let w = need_float(a, "weight")?;
    if !(0.0..=65_535.0).contains(&w) {
        return fail(Errno::EINVAL, "weight must be >= 0");
    }
    if !core.osd.peek().exists(o) {
        return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
    }
    let raw = (w * 65536.0) as u32;
    set_weight(core.osd.next(), o, raw);
    done(format!("reweighted osd.{o} to {} ({raw:x})", fmt_g(w, 6)))
}

fn affinity(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let o = osd_id(a, "id")?;
    let w = need_float(a, "weight")?;
    if !(0.0..=1.0).contains(&w) {
        return fail(Errno::EINVAL, "weight must be in the range [0..1]");
    }
    if !core.osd.peek().exists(o) {
        return fail(Errno::ENOENT, format!("osd.{o} does not exist"));
    }
    let raw = (w * f64::from(AFFINITY_MAX)) as u32;
    let m = core.osd.next();
    let n = m.osd_state.len();
    let all = m.osd_primary_affinity.get_or_insert_with(|| Arc::new(vec![AFFINITY_MAX; n]));
    Arc::make_mut(all)[o.0 as usize] = raw;
    // Stock's stream prints its manipulators as numbers (8 and 2) around the raw value.
    done(format!("set osd.{o} primary-affinity to {} (8{raw}2)", fmt_g(w, 6)))
}

/// The flags of `osd set-group` by name.
const GROUP_FLAGS: [(&str, u32); 4] =
    [("noup", state::NOUP), ("nodown", state::NODOWN), ("noin", state::NOIN), ("noout", state::NOOUT)];

fn flag_map(m: &mut BTreeMap<i32, u32>, id: i32, bits: u32, on: bool) {
    let have = m.entry(id).or_insert(0);
    if on {
        *have |= bits
    } else {
        *have &= !bits
    }
    if *have == 0 {
        m.remove(&id);
    }
}

/// `osd set-group`, `osd unset-group`, and `osd add-noup`, `osd rm-noup` and their kin: flags of OSDs, CRUSH nodes and device classes.
fn group(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let grouped = a.prefix.ends_with("-group");
    let on = a.prefix == "osd set-group" || a.prefix.starts_with("osd add-");
    let named =
        if grouped { need(a, "flags")? } else { a.prefix.rsplit('-').next().unwrap_or_default().into() };
    let mut bits = 0;
    for f in named.split(',').map(str::trim).filter(|f| !f.is_empty()) {
        match GROUP_FLAGS.iter().find(|(n, _)| *n == f) {
            Some((_, b)) => bits |= b,
            None => {
                return fail(
                    Errno::EINVAL,
                    format!("unrecognized flag '{f}', must be one of {{noup,nodown,noin,noout}}"),
                );
            }
        }
    }
    if bits == 0 {
        return fail(Errno::EINVAL, "must specify flag(s) {noup,nodwon,noin,noout} to set/unset");
    }
    let who = a.list(if grouped { "who" } else { "ids" });
    if who.is_empty() {
        return fail(Errno::EINVAL, "must specify at least one or more targets to set/unset");
    }
    let (mut osds, mut nodes, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    let mut text = String::new();
    let m = core.osd.peek();
    for w in &who {
        if matches!(w.as_str(), "any" | "all" | "*") {
            osds = m.osds().collect();
            break;
        }
        if let Some(o) =
            w.strip_prefix("osd.").unwrap_or(w).parse::<i32>().ok().filter(|o| (0..OSDS_MAX).contains(o))
        {
            osds.push(OsdId(o));
        } else if let Some(id) = m.crush.item_id(w) {
            nodes.push(id);
        } else if let Some(id) = m.crush.class_id(w) {
            classes.push(id);
        } else {
            text += &format!("unable to parse osd id or crush node or device class: \"{w}\". ");
        }
    }
    if osds.is_empty() && nodes.is_empty() && classes.is_empty() {
        return fail(Errno::EINVAL, text);
    }
    osds.iter().filter(|o| !m.exists(**o)).for_each(|o| text += &format!("osd.{o} does not exist. "));
    osds.retain(|o| m.exists(*o));
    let m = core.osd.next();
    osds.iter().for_each(|o| set_state(m, *o, bits, on));
    if !nodes.is_empty() {
        nodes.iter().for_each(|id| flag_map(Arc::make_mut(&mut m.crush_node_flags), *id, bits, on));
    }
    if !classes.is_empty() {
        classes.iter().for_each(|id| flag_map(Arc::make_mut(&mut m.device_class_flags), *id, bits, on));
    }
    done(text)
}
