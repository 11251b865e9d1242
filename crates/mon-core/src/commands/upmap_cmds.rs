//! `osd pg-temp`, `osd primary-temp`, `osd pg-upmap*`, `osd rm-pg-upmap*`: exceptions to what CRUSH says, by hand.

use super::{Args, CmdResult, Ctx, Handler, done, fail, need};
use crate::core::MonCore;
use std::sync::Arc;
use types::osdmap::release;
use types::{Errno, OsdId, PgId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd pg-temp", pg_temp),
    ("osd primary-temp", primary_temp),
    ("pg repeer", repeer),
    ("osd pg-upmap", upmap),
    ("osd rm-pg-upmap", rm_upmap),
    ("osd pg-upmap-items", upmap_items),
    ("osd rm-pg-upmap-items", rm_upmap_items),
];

/// The PG that a command names, which must exist.
pub(super) fn pg_arg(core: &MonCore, a: &Args) -> Result<PgId, (Errno, String)> {
    let t = need(a, "pgid")?;
    let pg: PgId = t.parse().map_err(|_| (Errno::EINVAL, format!("invalid pgid '{t}'")))?;
    if core.osd.peek().pg_exists(pg) {
        return Ok(pg);
    }
    Err((Errno::ENOENT, format!("pg {pg} does not exist")))
}

/// OSDs of `id`: numbers or `osd.N`.
fn ids(a: &Args) -> Result<Vec<OsdId>, (Errno, String)> {
    let one = |w: &String| {
        let n = w.strip_prefix("osd.").unwrap_or(w);
        n.parse().map(OsdId).map_err(|_| (Errno::EINVAL, format!("unable to parse osd id '{w}'")))
    };
    a.list("id").iter().map(one).collect()
}

fn exists(core: &MonCore, o: OsdId) -> Result<(), (Errno, String)> {
    if core.osd.peek().exists(o) {
        return Ok(());
    }
    Err((Errno::ENOENT, format!("osd.{o} does not exist")))
}

fn count(core: &MonCore, pg: PgId, n: usize) -> Result<(), (Errno, String)> {
    let p = core.osd.peek().pool(pg.pool).cloned().unwrap_or_default();
    let (min, max) = (usize::from(p.min_size), usize::from(p.size));
    if n < min {
        return Err((Errno::EINVAL, format!("num of osds ({n}) < pool min size ({min})")));
    }
    if n > max {
        return Err((Errno::EINVAL, format!("num of osds ({n}) > pool size ({max})")));
    }
    Ok(())
}

fn pg_temp(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let pg = pg_arg(core, a)?;
    let osds = ids(a)?;
    if osds.is_empty() {
        Arc::make_mut(&mut core.osd.next().pg_temp).remove(&pg);
        return done(format!("done cleaning up pg_temp of {pg}"));
    }
    osds.iter().try_for_each(|o| exists(core, *o))?;
    count(core, pg, osds.len())?;
    let text = super::pg_dump::list(&osds);
    Arc::make_mut(&mut core.osd.next().pg_temp).insert(pg, osds);
    done(format!("set {pg} pg_temp mapping to {text}"))
}

fn primary_temp(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let pg = pg_arg(core, a)?;
    let t = need(a, "id")?;
    let o = t.strip_prefix("osd.").unwrap_or(&t).parse().map(OsdId);
    let o = o.map_err(|_| (Errno::EINVAL, format!("unable to parse osd id '{t}'")))?;
    if o.0 == -1 {
        Arc::make_mut(&mut core.osd.next().primary_temp).remove(&pg);
    } else {
        exists(core, o)?;
        Arc::make_mut(&mut core.osd.next().primary_temp).insert(pg, o);
    }
    done(format!("set {pg} primary_temp mapping to {o}"))
}

/// Makes a PG peer anew: for a while another set of OSDs acts, until its primary asks for the right one again.
fn repeer(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let pg = pg_arg(core, a)?;
    let map = core.osd.peek();
    let p = map.pg_to_up_acting_osds(pg).unwrap_or_default();
    let Some(primary) = p.acting_primary else {
        return Err((Errno::EAGAIN, "pg currently has no primary".to_owned()));
    };
    let set = if p.acting.len() > 1 {
        vec![primary]
    } else {
        let other = map.osds().find(|o| map.is_up(*o) && !p.acting.contains(o));
        let Some(other) = other else {
            return Err((Errno::EAGAIN, "not enough up OSDs in the cluster to force repeer".to_owned()));
        };
        vec![primary, other]
    };
    Arc::make_mut(&mut core.osd.next().pg_temp).insert(pg, set);
    done("")
}

/// Upmaps are for clients that know them.
fn compatible(core: &MonCore) -> Result<(), (Errno, String)> {
    let have = core.osd.peek().require_min_compat_client;
    let luminous = release::parse("luminous").unwrap_or(u8::MAX);
    if have >= luminous {
        return Ok(());
    }
    let text = format!(
        "min_compat_client {} < luminous, which is required for pg-upmap. Try 'ceph osd set-require-min-compat-client luminous' before using \
         the new interface",
        release::name(have)
    );
    Err((Errno::EPERM, text))
}

fn upmap(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    compatible(core)?;
    let pg = pg_arg(core, a)?;
    let osds = ids(a)?;
    count(core, pg, osds.len())?;
    let (mut set, mut text): (Vec<OsdId>, String) = Default::default();
    for o in osds {
        if o != OsdId::NONE {
            exists(core, o)?;
        }
        if set.contains(&o) {
            text += &format!("osd.{o} already exists, ");
        } else {
            set.push(o);
        }
    }
    if set.is_empty() {
        return fail(Errno::EINVAL, "no valid upmap items(pairs) is specified");
    }
    text += &format!("set {pg} pg_upmap mapping to {}", super::pg_dump::list(&set));
    Arc::make_mut(&mut core.osd.next().pg_upmap).insert(pg, set);
    done(text)
}

fn rm_upmap(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    compatible(core)?;
    let pg = pg_arg(core, a)?;
    Arc::make_mut(&mut core.osd.next().pg_upmap).remove(&pg);
    done(format!("clear {pg} pg_upmap mapping"))
}

fn upmap_items(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    compatible(core)?;
    let pg = pg_arg(core, a)?;
    let osds = ids(a)?;
    if !osds.len().is_multiple_of(2) {
        return fail(Errno::EINVAL, "you must specify pairs of osd ids to be remapped");
    }
    let max = core.osd.peek().pool(pg.pool).map_or(0, |p| usize::from(p.size));
    if osds.len() / 2 > max {
        return fail(Errno::EINVAL, format!("num of osd pairs ({}) > pool size ({max})", osds.len() / 2));
    }
    let (mut items, mut text): (Vec<(OsdId, OsdId)>, String) = Default::default();
    for p in osds.chunks(2) {
        let (from, to) = (p[0], p[1]);
        if from == to {
            text += &format!("from osd.{from} == to osd.{to}, ");
            continue;
        }
        exists(core, from)?;
        if to != OsdId::NONE {
            exists(core, to)?;
        }
        if items.contains(&(from, to)) {
            text += &format!("osd.{from} -> osd.{to} already exists, ");
            continue;
        }
        items.push((from, to));
    }
    if items.is_empty() {
        return fail(Errno::EINVAL, text + "no valid upmap items(pairs) is specified");
    }
    let list: Vec<String> = items.iter().map(|(f, t)| format!("{f}->{t}")).collect();
    text += &format!("set {pg} pg_upmap_items mapping to [{}]", list.join(","));
    Arc::make_mut(&mut core.osd.next().pg_upmap_items).insert(pg, items);
    done(text)
}

fn rm_upmap_items(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    compatible(core)?;
    let pg = pg_arg(core, a)?;
    Arc::make_mut(&mut core.osd.next().pg_upmap_items).remove(&pg);
    done(format!("clear {pg} pg_upmap_items mapping"))
}
