//! `fs set` and `fs required_client_features`: settings of one file system.

use super::fs_cmds::{fail_followers, fs_arg, parse_bool};
use super::{Args, CmdResult, Ctx, done, fail, fs_json, need, text_outs};
use crate::core::MonCore;
use types::Errno;
use types::mdsmap::{FeatureBits, MdsMap, flag};

/// The client feature that `min_compat_client RELEASE` asks for.
const RELEASES: [(&str, usize); 7] = [
    ("jewel", 5),
    ("kraken", 6),
    ("luminous", 7),
    ("mimic", 8),
    ("nautilus", 12),
    ("octopus", 13),
    ("pacific", 13),
];

/// `MAX_MDS`.
const RANKS_MAX: i64 = 256;
/// Smallest `max_file_size` (`CEPH_MIN_STRIPE_UNIT`).
const FILE_SIZE_MIN: i64 = 65536;
/// Shortest session timeout.
const SESSION_SECS_MIN: i64 = 30;
/// Longest name of a balancer's object.
const BALANCER_MAX: usize = 1024;

fn int(var: &str, v: &str) -> Result<i64, (Errno, String)> {
    v.trim().parse().map_err(|_| (Errno::EINVAL, format!("{var} requires an integer value")))
}

pub(super) fn set(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    let (name, var, val) = (a.text("fs_name"), need(a, "var")?, a.text("val"));
    if val.is_empty() && var != "balancer" {
        return fail(Errno::EINVAL, "");
    }
    let old = core.mds.peek().filesystems.get(&fscid).map(|f| f.mds_map.clone()).unwrap_or_default();
    let mut m = old.clone();
    let text = match var.as_str() {
        "allow_standby_replay" => {
            let on = parse_bool(&val)?;
            set_flag(&mut m, flag::ALLOW_STANDBY_REPLAY, on);
            if !on {
                fail_followers(core, fscid);
            }
            // Daemons may have left meanwhile: only the flag is taken over.
            let flags = m.flags;
            if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
                f.mds_map.flags = flags;
            }
            return done("");
        }
        "allow_multimds" => {
            return text_outs(
                "",
                "Multiple MDS is always enabled. Use the max_mds parameter to control the number of active MDSs allowed. This command is \
                 DEPRECATED and will be REMOVED from future releases.",
            );
        }
        "allow_dirfrags" => {
            return text_outs(
                "",
                "Directory fragmentation is now permanently enabled. This command is DEPRECATED and will be REMOVED from future releases.",
            );
        }
        "down" | "cluster_down" | "joinable" => set_state(&mut m, &name, &var, &val)?,
        _ => set_value(&mut m, &var, &val, a)?,
    };
    if m != old
        && let Some(f) = core.mds.next().filesystems.get_mut(&fscid)
    {
        f.mds_map = m;
    }
    done(text)
}

fn set_flag(m: &mut MdsMap, f: u32, on: bool) {
    m.flags = if on { m.flags | f } else { m.flags & !f };
}

/// Variables that take a file system down or let it come back.
fn set_state(m: &mut MdsMap, name: &str, var: &str, val: &str) -> Result<String, (Errno, String)> {
    let on = parse_bool(val)?;
    if var == "down" {
        if on {
            if m.max_mds > 0 {
                m.old_max_mds = m.max_mds;
                m.max_mds = 0;
            }
            return Ok(format!("{name} marked down. "));
        }
        m.max_mds = m.old_max_mds.max(1);
        return Ok(format!("{name} marked up, max_mds = {}", m.max_mds));
    }
    let joinable = if var == "joinable" { on } else { !on };
    set_flag(m, flag::NOT_JOINABLE, !joinable);
    let mut text = if joinable {
        format!("{name} marked joinable; MDS may join as newly active.")
    } else {
        format!("{name} marked not joinable; MDS cannot join as newly active.")
    };
    if var == "cluster_down" {
        text.push_str(
            " WARNING: cluster_down flag is deprecated and will be removed in a future version. Please use \"joinable\".",
        );
    }
    Ok(text)
}

fn set_value(m: &mut MdsMap, var: &str, val: &str, a: &Args) -> Result<String, (Errno, String)> {
    match var {
        "max_mds" => {
            let n: i64 = val
                .trim()
                .parse()
                .map_err(|_| (Errno::EINVAL, format!("Expected option value to be integer, got '{val}'")))?;
            if n > RANKS_MAX {
                return Err((Errno::EINVAL, format!("may not have more than {RANKS_MAX} MDS ranks")));
            }
            if n <= 0 {
                return Err((Errno::EINVAL, "You must specify at least one MDS".into()));
            }
            m.max_mds = n as i32;
        }
        "inline_data" => {
            let on = parse_bool(val)?;
            if on && !a.flag("yes_i_really_really_mean_it") {
                return Err((
                    Errno::EPERM,
                    "Inline data support is deprecated and will be removed in a future release. Add --yes-i-really-really-mean-it if you are \
                     certain you want this enabled."
                        .into(),
                ));
            }
            m.inline_data_enabled = on;
            return Ok(format!("inline data {}", if on { "enabled" } else { "disabled" }));
        }
        "min_compat_client" => {
            let Some((_, bit)) = RELEASES.iter().find(|(n, _)| *n == val) else {
                return Err((Errno::EINVAL, format!("version {val} is not recognized")));
            };
            m.required_client_features = FeatureBits::default();
            m.required_client_features.insert(*bit);
            return Ok("WARNING: setting min_compat_client is deprecated and may not do what you want.\nThe oldest release to set is \
                       octopus.\nPlease migrate to `ceph fs required_client_features ...`."
                .to_owned());
        }
        "balancer" => {
            if val.len() > BALANCER_MAX {
                return Err((Errno::EINVAL, "the balancer's name is too long".into()));
            }
            m.balancer = val.to_owned();
            return Ok(if val.is_empty() {
                "unsetting the metadata load balancer".to_owned()
            } else {
                format!("setting the metadata load balancer to {val}")
            });
        }
        "max_file_size" => {
            let n = int(var, val)?;
            if n < FILE_SIZE_MIN {
                return Err((Errno::ERANGE, format!("{var} must at least {FILE_SIZE_MIN}")));
            }
            m.max_file_size = n as u64;
        }
        "allow_new_snaps" => {
            let on = parse_bool(val)?;
            set_flag(m, flag::ALLOW_SNAPS, on);
            if on {
                m.ever_allowed_features |= flag::ALLOW_SNAPS as u8;
                m.explicitly_allowed_features |= flag::ALLOW_SNAPS as u8;
            }
            return Ok(if on { "enabled new snapshots" } else { "disabled new snapshots" }.to_owned());
        }
        "standby_count_wanted" => {
            let n = int(var, val)?;
            if !(0..=i64::from(i32::MAX)).contains(&n) {
                return Err((Errno::ERANGE, format!("{var} must be non-negative")));
            }
            m.standby_count_wanted = n as i32;
        }
        "session_timeout" | "session_autoclose" => {
            let n = int(var, val)?;
            if !(SESSION_SECS_MIN..=i64::from(u32::MAX)).contains(&n) {
                return Err((Errno::ERANGE, format!("{var} must be at least {SESSION_SECS_MIN}s")));
            }
            *(if var == "session_timeout" { &mut m.session_timeout } else { &mut m.session_autoclose }) =
                n as u32;
        }
        _ => return Err((Errno::EINVAL, format!("unknown variable {var}"))),
    }
    Ok(String::new())
}

pub(super) fn required_client_features(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    let (op, val) = (need(a, "subop")?, need(a, "val")?);
    let named = fs_json::CLIENT_FEATURES.iter().position(|n| *n == val && *n != "reserved");
    let bit = match named {
        Some(b) => b,
        None => match val.parse::<usize>() {
            Ok(b) if b < fs_json::CLIENT_FEATURES.len() => b,
            Ok(_) => return fail(Errno::EINVAL, format!("Invalid feature id: {val}")),
            Err(_) => return fail(Errno::EINVAL, format!("Invalid feature name: {val}")),
        },
    };
    let name = fs_json::CLIENT_FEATURES[bit];
    let add = match op.as_str() {
        "add" => true,
        "rm" => false,
        _ => return fail(Errno::EINVAL, format!("Must either add or rm a feature; {op}")),
    };
    let has =
        core.mds.peek().filesystems.get(&fscid).is_some_and(|f| f.mds_map.required_client_features.has(bit));
    if has == add {
        let word = if add { "already set" } else { "already unset" };
        return text_outs("", format!("feature '{name}' is {word}"));
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        let bits = &mut f.mds_map.required_client_features;
        if add { bits.insert(bit) } else { bits.remove(bit) }
    }
    done(if add {
        format!("added feature '{name}' to required_client_features")
    } else {
        format!("removed feature '{name}' from required_client_features")
    })
}

/// Longest name of an on-disk feature.
const FEATURE_NAME_MAX: usize = 256;

/// `fs compat FS add_incompat 15 text`: on-disk features of a file system without daemons.
pub(super) fn compat(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    let op = need(a, "subop")?;
    let n = super::need_int(a, "feature")?;
    let f = core.mds.peek().filesystems.get(&fscid);
    if f.is_some_and(|f| !f.mds_map.up.is_empty()) {
        return fail(Errno::EBUSY, "file system must be failed or down; use `ceph fs fail` to bring down");
    }
    // Stock's monitor aborts on larger numbers.
    let Some(n) = u64::try_from(n).ok().filter(|n| (1..64).contains(n)) else {
        return fail(Errno::EINVAL, format!("Invalid feature: {n}"));
    };
    let mut c = f.map(|f| f.mds_map.compat.clone()).unwrap_or_default();
    let (verb, kind) = op.split_once('_').unwrap_or((&op, ""));
    let set = match kind {
        "compat" => &mut c.compat,
        "incompat" => &mut c.incompat,
        _ => return fail(Errno::EINVAL, format!("subop `{op}' not recognized. Must be one of: {SUBOPS}")),
    };
    let has = set.mask & (1 << n) != 0;
    let text = match verb {
        "rm" if !has => return text_outs("", format!("already removed {kind} feature {n}")),
        "rm" => {
            set.mask &= !(1 << n);
            set.names.remove(&n);
            format!("removed {kind} feature {n}")
        }
        "add" => {
            let Some(name) = a.str("feature_str").filter(|s| !s.is_empty() && s.len() <= FEATURE_NAME_MAX)
            else {
                return fail(Errno::EINVAL, "adding a feature requires a feature string");
            };
            match set.names.get(&n).filter(|_| has) {
                Some(old) if *old == name => return text_outs("", "feature already exists"),
                Some(old) => {
                    return fail(Errno::EEXIST, format!("feature with differing name `{old}' exists"));
                }
                None => {}
            }
            set.mask |= 1 << n;
            set.names.insert(n, name.clone());
            format!("added {kind} feature F({n}, \"{name}\")")
        }
        _ => return fail(Errno::EINVAL, format!("subop `{op}' not recognized. Must be one of: {SUBOPS}")),
    };
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mds_map.compat = c;
    }
    done(text)
}
const SUBOPS: &str = "rm_compat rm_incompat add_compat add_incompat";
