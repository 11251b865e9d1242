//! `osd tier *`. A pool can be named the tier of another, and that taken back; that pools are so related is all that follows from it. What
//! would send clients' operations through a cache (an overlay, a cache mode) is refused: no OSD here promotes or flushes.

use super::osd_cmds::pool_arg;
use super::{Args, CmdResult, Ctx, Handler, done, fail, need};
use crate::core::MonCore;
use types::pool::{PgPool, PoolType};
use types::{Errno, PoolId};

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("osd tier add", add),
    ("osd tier rm", rm),
    ("osd tier remove", rm),
    ("osd tier cache-mode", absent),
    ("osd tier set-overlay", absent),
    ("osd tier rm-overlay", rm_overlay),
    ("osd tier remove-overlay", rm_overlay),
    ("osd tier add-cache", absent),
];

type Pool = (PoolId, String, PgPool);

fn pools(core: &MonCore, a: &Args) -> Result<(Pool, Pool), (Errno, String)> {
    let (base, base_name) = pool_arg(core, a)?;
    let tier_name = need(a, "tierpool")?;
    let m = core.osd.peek();
    let Some(tier) = m.pool_by_name(&tier_name) else {
        return Err((Errno::ENOENT, format!("unrecognized pool '{tier_name}'")));
    };
    let get = |id| m.pool(id).cloned().unwrap_or_default();
    Ok(((base, base_name, get(base)), (tier, tier_name, get(tier))))
}

fn name_of(core: &MonCore, id: i64) -> String {
    core.osd.peek().pool_name(PoolId(id)).unwrap_or_default().to_owned()
}

fn add(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ((base, base_name, b), (tier, tier_name, t)) = pools(core, a)?;
    let yes = format!("pool '{tier_name}' is now (or already was) a tier of '{base_name}'");
    let many = "multiple tiers are not yet supported.";
    if base == tier {
        // (Stock 16.2.15 makes a pool its own tier.)
        return fail(Errno::EINVAL, format!("pool '{tier_name}' cannot be a tier of itself"));
    }
    if t.tier_of == base.0 {
        return done(yes);
    }
    if b.is_tier() {
        let of = name_of(core, b.tier_of);
        return fail(Errno::EINVAL, format!("pool '{base_name}' is already a tier of '{of}', {many}"));
    }
    if t.has_tiers() {
        let own: String = t.tiers.iter().map(|i| format!("'{}',", name_of(core, *i as i64))).collect();
        return fail(Errno::EINVAL, format!("pool '{tier_name}' has following tier(s) already:{own} {many}"));
    }
    if t.is_tier() {
        let of = name_of(core, t.tier_of);
        return fail(Errno::EINVAL, format!("tier pool '{tier_name}' is already a tier of '{of}'"));
    }
    if core.mds.peek().pool_in_use(tier.0) {
        return fail(Errno::EBUSY, format!("pool '{tier_name}' is in use by CephFS"));
    }
    let forced = a.text("force_nonempty") == "--force-nonempty";
    if core.pgmap.pool_sum(tier).num_objects != 0 && !forced {
        return fail(
            Errno::ENOTEMPTY,
            format!("tier pool '{tier_name}' is not empty; --force-nonempty to force"),
        );
    }
    if t.kind == PoolType::Erasure {
        let why = format!("tier pool '{tier_name}' is an ec pool, which cannot be a tier");
        return fail(Errno::EOPNOTSUPP, why);
    }
    if !t.removed_snaps.is_empty() || !t.snaps.is_empty() {
        let why = "has snapshot state; it cannot be added as a tier without breaking the pool";
        return fail(Errno::ENOTEMPTY, format!("tier pool '{tier_name}' {why}"));
    }
    let next_epoch = core.osd.map.epoch.next();
    if let Some(p) = core.osd.pool_mut(base) {
        p.tiers.insert(tier.0 as u64);
        // Clients ask again whom to send to.
        p.last_force_op_resend = next_epoch;
        p.last_force_op_resend_prenautilus = next_epoch;
        p.last_force_op_resend_preluminous = next_epoch;
    }
    if let Some(p) = core.osd.pool_mut(tier) {
        p.tier_of = base.0;
    }
    done(yes)
}

fn rm(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let ((base, base_name, b), (tier, tier_name, t)) = pools(core, a)?;
    if b.tiers.contains(&(tier.0 as u64)) || t.tier_of == base.0 {
        if let Some(p) = core.osd.pool_mut(base) {
            p.tiers.remove(&(tier.0 as u64));
        }
        if let Some(p) = core.osd.pool_mut(tier) {
            p.tier_of = -1;
            p.read_tier = -1;
            p.write_tier = -1;
        }
    }
    done(format!("pool '{tier_name}' is now (or already was) not a tier of '{base_name}'"))
}

fn rm_overlay(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, name) = pool_arg(core, a)?;
    let set = core.osd.peek().pool(id).is_some_and(|p| p.read_tier >= 0 || p.write_tier >= 0);
    if set {
        return unsupported(a);
    }
    done(format!("there is now (or already was) no overlay for '{name}'"))
}

fn absent(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    unsupported(a)
}

fn unsupported(a: &Args) -> CmdResult {
    fail(
        Errno::EOPNOTSUPP,
        format!("'{}': cache tiers are not supported, OSDs neither promote nor flush", a.prefix),
    )
}

/// Why a pool that is a tier, or has tiers, cannot be removed.
pub(crate) fn in_use(core: &MonCore, id: PoolId, name: &str) -> Result<(), String> {
    let m = core.osd.peek();
    match m.pool(id) {
        Some(p) if p.is_tier() => Err(format!("pool '{name}' is a tier of '{}'", name_of(core, p.tier_of))),
        Some(p) if p.has_tiers() => {
            let tiers: String = p.tiers.iter().map(|t| format!(" {}", name_of(core, *t as i64))).collect();
            Err(format!("pool '{name}' has tiers{tiers}"))
        }
        _ => Ok(()),
    }
}
