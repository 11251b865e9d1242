//! `osd dump`: the OSDMap as JSON and text, and one pool in both forms.

use super::mon_cmds::{addrvec, legacy};
use crate::fmt::stringify_f32;
use serde_json::{Map, Value, json};
use types::osdmap::{OsdMap, WEIGHT_IN, release, state};
use types::pool::{PgPool, PoolOpt, autoscale, flag as pool_flag, opt};
use types::{AddrVec, OsdId, PoolId};

fn names_list(s: &str) -> Vec<&str> {
    if s.is_empty() { Vec::new() } else { s.split(',').collect() }
}

fn opts_json(p: &PgPool) -> Map<String, Value> {
    let mut named: Vec<(&str, Value)> = Vec::new();
    for (k, v) in &p.opts.0 {
        let name = usize::try_from(*k).ok().and_then(|k| opt::NAMES.get(k)).copied().unwrap_or("unknown");
        let v = match v {
            PoolOpt::Str(s) => s.clone().into(),
            PoolOpt::Int(n) => (*n).into(),
            PoolOpt::Double(f) => json!(f),
        };
        named.push((name, v));
    }
    named.sort_by_key(|(n, _)| *n);
    named.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()
}

fn removed_snaps(p: &PgPool) -> String {
    let v: Vec<String> = p.removed_snaps.iter().map(|(s, n)| format!("{s:x}~{n:x}")).collect();
    format!("[{}]", v.join(","))
}

/// `pg_pool_t::dump`, behind the given head.
pub(super) fn pool_json(id: PoolId, name: &str, p: &PgPool, id_key: &str) -> Value {
    let m = &p.last_pg_merge_meta;
    let snaps: Vec<Value> = p
        .snaps
        .values()
        .map(|s| json!({"snapid": s.snap.0, "stamp": s.stamp.to_string(), "name": s.name}))
        .collect();
    let snap_mode = if p.is_pool_snaps_mode() { "pool" } else { "selfmanaged" };
    let mut v = Map::new();
    v.insert(id_key.to_owned(), id.0.into());
    v.insert("pool_name".into(), name.into());
    let rest = json!({
        "create_time": p.create_time.to_string(), "flags": p.flags, "flags_names": pool_flag::names(p.flags), "type": p.kind as u8,
        "size": p.size, "min_size": p.min_size, "crush_rule": p.crush_rule,
        "peering_crush_bucket_count": p.peering_crush_bucket_count, "peering_crush_bucket_target": p.peering_crush_bucket_target,
        "peering_crush_bucket_barrier": p.peering_crush_bucket_barrier,
        "peering_crush_bucket_mandatory_member": p.peering_crush_mandatory_member, "object_hash": p.object_hash,
        "pg_autoscale_mode": autoscale::name(p.pg_autoscale_mode), "pg_num": p.pg_num, "pg_placement_num": p.pgp_num,
        "pg_placement_num_target": p.pgp_num_target, "pg_num_target": p.pg_num_target, "pg_num_pending": p.pg_num_pending,
        "last_pg_merge_meta": {
            "source_pgid": m.source_pgid.to_string(), "ready_epoch": m.ready_epoch.0, "last_epoch_started": m.last_epoch_started.0,
            "last_epoch_clean": m.last_epoch_clean.0, "source_version": m.source_version.to_string(),
            "target_version": m.target_version.to_string(),
        },
        "last_change": p.last_change.0.to_string(), "last_force_op_resend": p.last_force_op_resend.0.to_string(),
        "last_force_op_resend_prenautilus": p.last_force_op_resend_prenautilus.0.to_string(),
        "last_force_op_resend_preluminous": p.last_force_op_resend_preluminous.0.to_string(), "auid": p.auid, "snap_mode": snap_mode,
        "snap_seq": p.snap_seq.0, "snap_epoch": p.snap_epoch.0, "pool_snaps": snaps, "removed_snaps": removed_snaps(p),
        "quota_max_bytes": p.quota_max_bytes, "quota_max_objects": p.quota_max_objects, "tiers": p.tiers, "tier_of": p.tier_of,
        "read_tier": p.read_tier, "write_tier": p.write_tier, "cache_mode": "none", "target_max_bytes": p.target_max_bytes,
        "target_max_objects": p.target_max_objects, "cache_target_dirty_ratio_micro": p.cache_target_dirty_ratio_micro,
        "cache_target_dirty_high_ratio_micro": p.cache_target_dirty_high_ratio_micro,
        "cache_target_full_ratio_micro": p.cache_target_full_ratio_micro, "cache_min_flush_age": p.cache_min_flush_age,
        "cache_min_evict_age": p.cache_min_evict_age, "erasure_code_profile": p.erasure_code_profile,
        "hit_set_params": {"type": "none"}, "hit_set_period": p.hit_set_period, "hit_set_count": p.hit_set_count,
        "use_gmt_hitset": p.use_gmt_hitset, "min_read_recency_for_promote": p.min_read_recency_for_promote,
        "min_write_recency_for_promote": p.min_write_recency_for_promote, "hit_set_grade_decay_rate": p.hit_set_grade_decay_rate,
        "hit_set_search_last_n": p.hit_set_search_last_n, "grade_table": [], "stripe_width": p.stripe_width,
        "expected_num_objects": p.expected_num_objects, "fast_read": p.fast_read, "options": opts_json(p),
        "application_metadata": p.application_metadata,
    });
    if let Value::Object(r) = rest {
        v.extend(r);
    }
    Value::Object(v)
}

/// The line of a pool in `osd dump` and `osd pool ls detail`.
pub(super) fn pool_line(id: PoolId, name: &str, p: &PgPool) -> String {
    let kind = if p.is_erasure() {
        format!("erasure profile {}", p.erasure_code_profile)
    } else {
        "replicated".to_owned()
    };
    let mut s = format!(
        "pool {id} '{name}' {kind} size {} min_size {} crush_rule {} object_hash rjenkins pg_num {} pgp_num {}",
        p.size, p.min_size, p.crush_rule, p.pg_num, p.pgp_num
    );
    if p.pg_num_target != p.pg_num {
        s += &format!(" pg_num_target {}", p.pg_num_target);
    }
    if p.pgp_num_target != p.pgp_num {
        s += &format!(" pgp_num_target {}", p.pgp_num_target);
    }
    if p.pg_num_pending != p.pg_num {
        s += &format!(" pg_num_pending {}", p.pg_num_pending);
    }
    s += &format!(" autoscale_mode {} last_change {}", autoscale::name(p.pg_autoscale_mode), p.last_change);
    let (a, b, c) = (
        p.last_force_op_resend.0,
        p.last_force_op_resend_prenautilus.0,
        p.last_force_op_resend_preluminous.0,
    );
    if a + b + c != 0 {
        s += &format!(" lfor {a}/{b}/{c}");
    }
    if p.flags != 0 {
        s += &format!(" flags {}", pool_flag::names(p.flags));
    }
    if p.quota_max_bytes > 0 {
        s += &format!(" max_bytes {}", p.quota_max_bytes);
    }
    if p.quota_max_objects > 0 {
        s += &format!(" max_objects {}", p.quota_max_objects);
    }
    s += &format!(" stripe_width {}", p.stripe_width);
    if p.expected_num_objects > 0 {
        s += &format!(" expected_num_objects {}", p.expected_num_objects);
    }
    if p.fast_read {
        s += " fast_read 1";
    }
    for (k, v) in opts_json(p) {
        let v = match v {
            Value::String(s) => s,
            Value::Number(n) if n.is_f64() => crate::fmt::fmt_g(n.as_f64().unwrap_or(0.0), 6),
            other => other.to_string(),
        };
        s += &format!(" {k} {v}");
    }
    if !p.application_metadata.is_empty() {
        s +=
            &format!(" application {}", p.application_metadata.keys().cloned().collect::<Vec<_>>().join(","));
    }
    s.push('\n');
    for snap in p.snaps.values() {
        s += &format!("\tsnap {} '{}' {}\n", snap.snap.0, snap.name, snap.stamp);
    }
    if !p.removed_snaps.is_empty() {
        s += &format!("\tremoved_snaps {}\n", removed_snaps(p));
    }
    s
}

fn state_list(s: u32) -> Vec<&'static str> {
    state::names(s)
}

fn addr_at(v: &[AddrVec], o: OsdId) -> AddrVec {
    v.get(o.0 as usize).cloned().unwrap_or_default()
}

/// One OSD as `osd dump` and `osd info` have it.
pub(super) fn osd_json(m: &OsdMap, o: OsdId) -> Value {
    let i = m.info(o).copied().unwrap_or_default();
    let (c, k) = (addr_at(&m.client_addrs, o), addr_at(&m.cluster_addrs, o));
    let (b, f) = (addr_at(&m.hb_back_addrs, o), addr_at(&m.hb_front_addrs, o));
    json!({
        "osd": o.0, "uuid": m.uuid(o).unwrap_or_default().to_string(), "up": u8::from(m.is_up(o)), "in": u8::from(m.is_in(o)),
        "weight": f64::from(m.weight_of(o)) / f64::from(WEIGHT_IN), "primary_affinity": f64::from(m.primary_affinity(o)) / 65536.0,
        "last_clean_begin": i.last_clean_begin.0, "last_clean_end": i.last_clean_end.0, "up_from": i.up_from.0, "up_thru": i.up_thru.0,
        "down_at": i.down_at.0, "lost_at": i.lost_at.0, "public_addrs": addrvec(&c), "cluster_addrs": addrvec(&k),
        "heartbeat_back_addrs": addrvec(&b), "heartbeat_front_addrs": addrvec(&f), "public_addr": legacy(&c), "cluster_addr": legacy(&k),
        "heartbeat_back_addr": legacy(&b), "heartbeat_front_addr": legacy(&f), "state": state_list(m.state_of(o)),
    })
}

/// The line of an OSD.
pub(super) fn osd_line(m: &OsdMap, o: OsdId) -> String {
    let i = m.info(o).copied().unwrap_or_default();
    let mut s = format!(
        "osd.{o} {} {} weight {}",
        if m.is_up(o) { "up  " } else { "down" },
        if m.is_in(o) { "in " } else { "out" },
        crate::fmt::fmt_g(f64::from(m.weight_of(o)) / 65536.0, 6)
    );
    if m.primary_affinity(o) != types::osdmap::AFFINITY_MAX {
        s += &format!(
            " primary_affinity {}",
            crate::fmt::fmt_g(f64::from(m.primary_affinity(o)) / 65536.0, 6)
        );
    }
    s += &format!(
        " up_from {} up_thru {} down_at {} last_clean_interval [{},{})",
        i.up_from, i.up_thru, i.down_at, i.last_clean_begin, i.last_clean_end
    );
    if i.lost_at.0 > 0 {
        s += &format!(" lost_at {}", i.lost_at);
    }
    s += &format!(
        " {} {} {}",
        addr_at(&m.client_addrs, o),
        addr_at(&m.cluster_addrs, o),
        state_list(m.state_of(o)).join(",")
    );
    if let Some(u) = m.uuid(o).filter(|u| !u.is_zero()) {
        s += &format!(" {u}");
    }
    s + "\n"
}

fn temp_list(l: &[OsdId]) -> Vec<i32> {
    l.iter().map(|o| o.0).collect()
}

/// `OSDMap::dump`.
pub(super) fn map_json(m: &OsdMap) -> Value {
    let pools: Vec<Value> =
        m.pools.iter().map(|(id, p)| pool_json(*id, m.pool_name(*id).unwrap_or(""), p, "pool")).collect();
    let osds: Vec<Value> = m.osds().map(|o| osd_json(m, o)).collect();
    let xinfo: Vec<Value> = m
        .osds()
        .map(|o| {
            let x = m.xinfo(o).copied().unwrap_or_default();
            json!({
                "osd": o.0, "down_stamp": x.down_stamp.to_string(), "laggy_probability": f64::from(x.laggy_probability()),
                "laggy_interval": x.laggy_interval, "features": x.features,
                "old_weight": f64::from(x.old_weight) / 65536.0, "last_purged_snaps_scrub": x.last_purged_snaps_scrub.to_string(),
                "dead_epoch": x.dead_epoch.0,
            })
        })
        .collect();
    let block = |l: &types::osdmap::Blocklist| -> Map<String, Value> {
        l.iter().map(|(a, t)| (super::mon_cmds::bare(a), Value::from(t.to_string()))).collect()
    };
    let snaps = |l: &types::osdmap::PoolSnaps| -> Vec<Value> {
        l.iter()
            .map(|(p, s)| {
                let v: Vec<Value> = s.iter().map(|(b, n)| json!({"begin": b, "length": n})).collect();
                json!({"pool": p.0, "snaps": v})
            })
            .collect()
    };
    let mut sorted: Vec<&str> = names_list("").into_iter().collect();
    let flags = crate::health::flag_names(m.flags);
    sorted.extend(names_list(&flags));
    sorted.sort_unstable();
    let pg_temp: Vec<Value> =
        m.pg_temp.iter().map(|(p, o)| json!({"pgid": p.to_string(), "osds": temp_list(o)})).collect();
    let primary_temp: Vec<Value> =
        m.primary_temp.iter().map(|(p, o)| json!({"pgid": p.to_string(), "osd": o.0})).collect();
    let upmap: Vec<Value> =
        m.pg_upmap.iter().map(|(p, o)| json!({"pgid": p.to_string(), "osds": temp_list(o)})).collect();
    let items: Vec<Value> = m
        .pg_upmap_items
        .iter()
        .map(|(p, l)| {
            let v: Vec<Value> = l.iter().map(|(a, b)| json!({"from": a.0, "to": b.0})).collect();
            json!({"pgid": p.to_string(), "mappings": v})
        })
        .collect();
    json!({
        "epoch": m.epoch.0, "fsid": m.fsid.to_string(), "created": m.created.to_string(), "modified": m.modified.to_string(),
        "last_up_change": m.last_up_change.to_string(), "last_in_change": m.last_in_change.to_string(), "flags": flags,
        "flags_num": m.flags, "flags_set": sorted, "crush_version": m.crush_version, "full_ratio": f64::from(m.full_ratio),
        "backfillfull_ratio": f64::from(m.backfillfull_ratio), "nearfull_ratio": f64::from(m.nearfull_ratio),
        "cluster_snapshot": m.cluster_snapshot, "pool_max": m.pool_max, "max_osd": m.max_osd,
        "require_min_compat_client": release::name(m.require_min_compat_client), "min_compat_client": min_compat(m),
        "require_osd_release": release::name(m.require_osd_release), "pools": pools, "osds": osds, "osd_xinfo": xinfo,
        "pg_upmap": upmap, "pg_upmap_items": items, "pg_temp": pg_temp, "primary_temp": primary_temp,
        "blocklist": block(&m.blocklist), "range_blocklist": block(&m.range_blocklist),
        "erasure_code_profiles": *m.erasure_code_profiles, "removed_snaps_queue": snaps(&m.removed_snaps_queue),
        "new_removed_snaps": snaps(&m.new_removed_snaps), "new_purged_snaps": snaps(&m.new_purged_snaps), "crush_node_flags": node_flags(m),
        "device_class_flags": class_flags(m), "stretch_mode": {
            "stretch_mode_enabled": m.stretch.enabled, "stretch_bucket_count": m.stretch.bucket_count,
            "degraded_stretch_mode": m.stretch.degraded, "recovering_stretch_mode": m.stretch.recovering,
            "stretch_mode_bucket": m.stretch.bucket,
        },
    })
}

/// The oldest client that can use the map's features.
fn node_flags(m: &OsdMap) -> serde_json::Map<String, Value> {
    let name = |id: &i32| crate::crushutil::item_name(&m.crush, *id);
    m.crush_node_flags.iter().map(|(id, f)| (name(id), json!(types::osdmap::state::names(*f)))).collect()
}
fn class_flags(m: &OsdMap) -> serde_json::Map<String, Value> {
    let name = |id: &i32| m.crush.class_name.get(id).cloned().unwrap_or_default();
    m.device_class_flags.iter().map(|(id, f)| (name(id), json!(types::osdmap::state::names(*f)))).collect()
}

/// The oldest release whose clients can work with the map.
pub(super) fn min_compat(m: &OsdMap) -> &'static str {
    if !m.pg_upmap.is_empty() || !m.pg_upmap_items.is_empty() { "luminous" } else { "jewel" }
}

/// `OSDMap::print`.
pub(super) fn map_text(m: &OsdMap) -> String {
    let mut s = format!(
        "epoch {}\nfsid {}\ncreated {}\nmodified {}\nflags {}\ncrush_version {}\nfull_ratio {}\nbackfillfull_ratio {}\nnearfull_ratio {}\n",
        m.epoch,
        m.fsid,
        m.created,
        m.modified,
        crate::health::flag_names(m.flags),
        m.crush_version,
        stringify_f32(m.full_ratio),
        stringify_f32(m.backfillfull_ratio),
        stringify_f32(m.nearfull_ratio)
    );
    s += &format!(
        "require_min_compat_client {}\nmin_compat_client {}\nrequire_osd_release {}\nstretch_mode_enabled {}\n",
        release::name(m.require_min_compat_client),
        min_compat(m),
        release::name(m.require_osd_release),
        m.stretch.enabled
    );
    for (id, p) in m.pools.iter() {
        s += &pool_line(*id, m.pool_name(*id).unwrap_or(""), p);
    }
    s += &format!("max_osd {}\n", m.max_osd);
    for o in m.osds() {
        s += &osd_line(m, o);
    }
    for (p, o) in m.pg_upmap.iter() {
        s += &format!("pg_upmap {p} {}\n", super::pg_dump::list(o));
    }
    for (p, l) in m.pg_upmap_items.iter() {
        let v: Vec<String> = l.iter().map(|(a, b)| format!("{a},{b}")).collect();
        s += &format!("pg_upmap_items {p} [{}]\n", v.join(","));
    }
    for (p, o) in m.pg_temp.iter() {
        s += &format!("pg_temp {p} {}\n", super::pg_dump::list(o));
    }
    for (p, o) in m.primary_temp.iter() {
        s += &format!("primary_temp {p} {o}\n");
    }
    for (a, t) in m.blocklist.iter() {
        s += &format!("blocklist {} expires {t}\n", super::mon_cmds::bare(a));
    }
    s
}
