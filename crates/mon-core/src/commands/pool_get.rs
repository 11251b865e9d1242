//! `osd pool get`.

use super::{Args, CmdResult, Ctx, Format, as_json, fail, need};
use crate::core::MonCore;
use crate::fmt::fmt_g;
use serde_json::{Map, Value, json};
use types::Errno;
use types::pool::{PgPool, PoolOpt, autoscale, flag, opt};

const TIER: [&str; 16] = [
    "hit_set_type",
    "hit_set_period",
    "hit_set_count",
    "hit_set_fpp",
    "target_max_objects",
    "target_max_bytes",
    "cache_target_full_ratio",
    "cache_target_dirty_ratio",
    "cache_target_dirty_high_ratio",
    "cache_min_flush_age",
    "cache_min_evict_age",
    "min_read_recency_for_promote",
    "min_write_recency_for_promote",
    "hit_set_grade_decay_rate",
    "hit_set_search_last_n",
    "eio_tier",
];
const ERASURE: [&str; 2] = ["erasure_code_profile", "allow_ec_overwrites"];

const FLAGS: [(&str, u64); 7] = [
    ("hashpspool", flag::HASHPSPOOL),
    ("nodelete", flag::NODELETE),
    ("nopgchange", flag::NOPGCHANGE),
    ("nosizechange", flag::NOSIZECHANGE),
    ("write_fadvise_dontneed", flag::WRITE_FADVISE_DONTNEED),
    ("noscrub", flag::NOSCRUB),
    ("nodeep-scrub", flag::NODEEP_SCRUB),
];

/// The flag that a variable of a pool stands for.
pub(super) fn flag_of(var: &str) -> Option<u64> {
    FLAGS.iter().find(|(n, _)| *n == var).map(|(_, f)| *f)
}

/// The number of an option by name.
pub(super) fn opt_of(var: &str) -> Option<i32> {
    opt::NAMES.iter().position(|n| *n == var).map(|i| i as i32)
}

fn value(core: &MonCore, p: &PgPool, var: &str) -> Option<Value> {
    if let Some(f) = flag_of(var) {
        return Some(p.has_flag(f).into());
    }
    Some(match var {
        "size" => p.size.into(),
        "min_size" => p.min_size.into(),
        "pg_num" => p.pg_num.into(),
        "pgp_num" => p.pgp_num.into(),
        "crush_rule" => {
            let name = core.osd.map.crush.rule_name_map.get(&i32::from(p.crush_rule)).cloned();
            name.unwrap_or_else(|| p.crush_rule.to_string()).into()
        }
        "use_gmt_hitset" => p.use_gmt_hitset.into(),
        "fast_read" => u8::from(p.fast_read).into(),
        "pg_autoscale_mode" => autoscale::name(p.pg_autoscale_mode).into(),
        "bulk" => false.into(),
        "eio" => p.has_flag(flag::EIO).into(),
        _ => match p.opts.0.get(&opt_of(var)?)? {
            PoolOpt::Str(s) => s.clone().into(),
            PoolOpt::Int(n) => (*n).into(),
            PoolOpt::Double(f) => json!(f),
        },
    })
}

fn shown(var: &str, v: &Value) -> String {
    match v {
        // Printed as a number by stock although its JSON is a bool.
        Value::Bool(b) if var == "use_gmt_hitset" => u8::from(*b).to_string(),
        Value::String(s) => s.clone(),
        Value::Number(n) if n.is_f64() => fmt_g(n.as_f64().unwrap_or(0.0), 6),
        other => other.to_string(),
    }
}

const ALL: [&str; 16] = [
    "size",
    "min_size",
    "pg_num",
    "pgp_num",
    "crush_rule",
    "hashpspool",
    "nodelete",
    "nopgchange",
    "nosizechange",
    "write_fadvise_dontneed",
    "noscrub",
    "nodeep-scrub",
    "use_gmt_hitset",
    "fast_read",
    "pg_autoscale_mode",
    "bulk",
];

pub(super) fn get(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let n = need(a, "pool")?;
    let var = need(a, "var")?;
    let Some(id) = core.osd.map.pool_by_name(&n) else {
        return fail(Errno::ENOENT, format!("unrecognized pool '{n}'"));
    };
    let p = core.osd.map.pool(id).cloned().unwrap_or_default();
    let vars: Vec<&str> = if var == "all" {
        let set = opt::NAMES
            .iter()
            .enumerate()
            .filter(|(i, _)| p.opts.0.contains_key(&(*i as i32)))
            .map(|(_, n)| *n);
        ALL.iter().copied().chain(set).collect()
    } else {
        if TIER.contains(&var.as_str()) {
            return fail(Errno::EACCES, format!("pool '{n}' is not a tier pool: variable not applicable"));
        }
        if ERASURE.contains(&var.as_str()) && !p.is_erasure() {
            return fail(Errno::EACCES, format!("pool '{n}' is not a erasure pool: variable not applicable"));
        }
        if value(core, &p, &var).is_none() {
            return match opt_of(&var) {
                Some(_) => fail(Errno::ENOENT, format!("option '{var}' is not set on pool '{n}'")),
                None => fail(Errno::EINVAL, format!("pool '{n}': invalid variable: '{var}'")),
            };
        }
        vec![var.as_str()]
    };
    let list: Vec<(&str, Value)> = vars.iter().filter_map(|v| value(core, &p, v).map(|x| (*v, x))).collect();
    if a.format() == Format::Plain {
        return super::text(list.iter().map(|(k, v)| format!("{k}: {}\n", shown(k, v))).collect::<String>());
    }
    let mut m = Map::new();
    m.insert("pool".into(), n.into());
    m.insert("pool_id".into(), id.0.into());
    m.extend(list.into_iter().map(|(k, v)| (k.to_owned(), v)));
    let mut o = as_json(a, &Value::Object(m))?;
    if a.format() == Format::Json {
        o.data.push(b'\n');
    }
    Ok(o)
}
