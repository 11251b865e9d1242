//! `osd pool set`.

use super::osd_cmds::pool_arg;
use super::pool_get::{flag_of, opt_of};
use super::{Args, CmdResult, Ctx, done, fail, need};
use crate::core::MonCore;
use types::Errno;
use types::pool::{PoolOpt, autoscale, flag};

/// Options that are text, and those that are floats; the others are integers.
const TEXT_OPTS: [&str; 6] = [
    "compression_mode",
    "compression_algorithm",
    "csum_type",
    "fingerprint_algorithm",
    "dedup_tier",
    "dedup_chunk_algorithm",
];
const FLOAT_OPTS: [&str; 7] = [
    "scrub_min_interval",
    "scrub_max_interval",
    "deep_scrub_interval",
    "compression_required_ratio",
    "target_size_ratio",
    "pg_autoscale_bias",
    "read_lease_interval",
];

fn int(val: &str) -> Result<i64, (Errno, String)> {
    val.trim().parse().map_err(|_| {
        (
            Errno::EINVAL,
            format!("error parsing integer value '{val}': Expected option value to be integer, got '{val}'"),
        )
    })
}

fn switch(var: &str, val: &str) -> Result<bool, (Errno, String)> {
    match val {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err((Errno::EINVAL, format!("expecting value 'true', 'false', '0', or '1' for {var}"))),
    }
}

pub(super) fn set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let (id, _) = pool_arg(core, a)?;
    let var = need(a, "var")?;
    let val = a.text("val");
    let have = core.osd.peek().pool(id).cloned().unwrap_or_default();
    let ok = |v: &str| format!("set pool {id} {var} to {v}");
    if let Some(f) = flag_of(&var).or((var == "eio").then_some(flag::EIO)) {
        let on = switch(&var, &val)?;
        if f == flag::HASHPSPOOL && !a.flag("yes_i_really_mean_it") && on != have.has_flag(f) {
            return fail(
                Errno::EPERM,
                "are you SURE?  this will remap all placement groups in this pool, this triggers large data movement, pass \
                 --yes-i-really-mean-it if you really do.",
            );
        }
        if let Some(p) = core.osd.pool_mut(id) {
            if on { p.flags |= f } else { p.flags &= !f }
        }
        return done(ok(&val));
    }
    match var.as_str() {
        "size" => {
            let n = int(&val)?;
            if have.has_flag(flag::NOSIZECHANGE) {
                return fail(
                    Errno::EPERM,
                    "pool size change is disabled; you must unset nosizechange flag for the pool first",
                );
            }
            if !(1..=10).contains(&n) {
                return fail(Errno::EINVAL, "pool size must be between 1 and 10");
            }
            if n == 1 {
                if !core.cfg.flag("mon_allow_pool_size_one") {
                    return fail(Errno::EPERM, "configuring pool size as 1 is disabled by default.");
                }
                if !a.flag("yes_i_really_mean_it") {
                    return fail(
                        Errno::EPERM,
                        "WARNING: setting pool size 1 could lead to data loss without recovery. If you are *ABSOLUTELY CERTAIN* that is what you \
                         want, pass the flag --yes-i-really-mean-it.",
                    );
                }
            }
            if let Some(p) = core.osd.pool_mut(id) {
                p.size = n as u8;
                p.min_size = if p.min_size > p.size { p.size } else { p.min_size };
                if n >= 2 && n as u8 > have.size {
                    p.min_size = p.size - p.size / 2;
                }
            }
        }
        "min_size" => {
            let n = int(&val)?;
            if have.has_flag(flag::NOSIZECHANGE) {
                return fail(
                    Errno::EPERM,
                    "pool min size change is disabled; you must unset nosizechange flag for the pool first",
                );
            }
            if n < 1 || n > i64::from(have.size) {
                return fail(
                    Errno::EINVAL,
                    format!("pool min_size must be between 1 and size, which is set to {}", have.size),
                );
            }
            if let Some(p) = core.osd.pool_mut(id) {
                p.min_size = n as u8;
            }
        }
        "pg_num" | "pgp_num" | "pg_num_actual" | "pgp_num_actual" => {
            let n = int(&val)?;
            let now = if var.starts_with("pgp") { have.pgp_num } else { have.pg_num };
            if n != i64::from(now) {
                return fail(Errno::EOPNOTSUPP, "changing pg_num of an existing pool is not supported yet");
            }
        }
        "crush_rule" => {
            let c = &core.osd.peek().crush;
            let Some(r) = c.rule_id(&val).or_else(|| val.parse().ok().filter(|i| c.rule(*i).is_some()))
            else {
                return fail(Errno::ENOENT, format!("crush rule {val} does not exist"));
            };
            if let Some(p) = core.osd.pool_mut(id) {
                p.crush_rule = r as u8;
            }
        }
        "pg_autoscale_mode" => {
            let m = match val.as_str() {
                "off" => autoscale::OFF,
                // There is no autoscaler: saying that it is on would be a lie.
                "warn" | "on" => return fail(Errno::EOPNOTSUPP, "the pg autoscaler is not supported"),
                _ => return fail(Errno::EINVAL, format!("specified invalid mode {val}")),
            };
            if let Some(p) = core.osd.pool_mut(id) {
                p.pg_autoscale_mode = m;
            }
        }
        "fast_read" => {
            return fail(Errno::EINVAL, "fast read is not supported in replication pool");
        }
        "use_gmt_hitset" | "bulk" => {
            switch(&var, &val)?;
            return fail(Errno::EOPNOTSUPP, format!("{var} is not supported"));
        }
        _ => {
            let Some(key) = opt_of(&var) else {
                return fail(Errno::EINVAL, format!("unrecognized variable '{var}'"));
            };
            let unset = val == "unset" || (val == "0" && !TEXT_OPTS.contains(&var.as_str()));
            let v = if TEXT_OPTS.contains(&var.as_str()) {
                PoolOpt::Str(val.clone())
            } else if FLOAT_OPTS.contains(&var.as_str()) {
                match val.parse::<f64>() {
                    Ok(f) => PoolOpt::Double(f),
                    Err(_) => {
                        return fail(Errno::EINVAL, format!("error parsing floating point value '{val}'"));
                    }
                }
            } else {
                PoolOpt::Int(int(&val)?)
            };
            let bad = |t: &str| fail(Errno::EINVAL, t.to_owned());
            match (var.as_str(), &v) {
                ("recovery_priority", PoolOpt::Int(n)) if !(-10..=10).contains(n) => {
                    return bad("pool recovery_priority must be between -10 and 10");
                }
                ("compression_required_ratio", PoolOpt::Double(f)) if !(0.0..=1.0).contains(f) => {
                    return bad(&format!("compression_required_ratio is out of range (0-1): '{val}'"));
                }
                ("pg_autoscale_bias", PoolOpt::Double(f)) if !(0.0..=1000.0).contains(f) => {
                    return bad("pg_autoscale_bias must be between 0 and 1000");
                }
                ("target_size_ratio", PoolOpt::Double(f)) if *f < 0.0 => {
                    return bad("target_size_ratio cannot be negative");
                }
                _ => {}
            }
            if let Some(p) = core.osd.pool_mut(id) {
                if unset {
                    p.opts.0.remove(&key);
                } else {
                    p.opts.0.insert(key, v);
                }
            }
        }
    }
    done(ok(&val))
}
