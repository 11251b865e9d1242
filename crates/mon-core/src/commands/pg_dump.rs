//! `pg dump` in all its forms, and one PG as JSON.

use super::{Args, CmdResult, Ctx, Format, text_outs};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable, byte_u, compact, pretty, pretty_timespan_span};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use types::osdstat::{HbPingTime, PingTimes};
use types::pgstat::{ObjectStatSum, OsdStat, PgShard, PgStat, PoolStat, StoreStatfs, pg_state};
use types::{OsdId, PgId, PoolId, Utime};

/// `[0,2,1]`; holes print as 2147483647, as stock's vectors do.
pub(super) fn list(osds: &[OsdId]) -> String {
    let v: Vec<String> = osds.iter().map(|o| o.0.to_string()).collect();
    format!("[{}]", v.join(","))
}

fn nums(osds: &[OsdId]) -> Vec<i32> {
    osds.iter().map(|o| o.0).collect()
}

/// `object_stat_sum_t::dump`.
pub(super) fn sum_json(s: &ObjectStatSum) -> Value {
    json!({
        "num_bytes": s.num_bytes, "num_objects": s.num_objects, "num_object_clones": s.num_object_clones,
        "num_object_copies": s.num_object_copies, "num_objects_missing_on_primary": s.num_objects_missing_on_primary,
        "num_objects_missing": s.num_objects_missing, "num_objects_degraded": s.num_objects_degraded,
        "num_objects_misplaced": s.num_objects_misplaced, "num_objects_unfound": s.num_objects_unfound,
        "num_objects_dirty": s.num_objects_dirty, "num_whiteouts": s.num_whiteouts, "num_read": s.num_rd, "num_read_kb": s.num_rd_kb,
        "num_write": s.num_wr, "num_write_kb": s.num_wr_kb, "num_scrub_errors": s.num_scrub_errors,
        "num_shallow_scrub_errors": s.num_shallow_scrub_errors, "num_deep_scrub_errors": s.num_deep_scrub_errors,
        "num_objects_recovered": s.num_objects_recovered, "num_bytes_recovered": s.num_bytes_recovered,
        "num_keys_recovered": s.num_keys_recovered, "num_objects_omap": s.num_objects_omap,
        "num_objects_hit_set_archive": s.num_objects_hit_set_archive, "num_bytes_hit_set_archive": s.num_bytes_hit_set_archive,
        "num_flush": s.num_flush, "num_flush_kb": s.num_flush_kb, "num_evict": s.num_evict, "num_evict_kb": s.num_evict_kb,
        "num_promote": s.num_promote, "num_flush_mode_high": s.num_flush_mode_high, "num_flush_mode_low": s.num_flush_mode_low,
        "num_evict_mode_some": s.num_evict_mode_some, "num_evict_mode_full": s.num_evict_mode_full,
        "num_objects_pinned": s.num_objects_pinned, "num_legacy_snapsets": s.num_legacy_snapsets,
        "num_large_omap_objects": s.num_large_omap_objects, "num_objects_manifest": s.num_objects_manifest,
        "num_omap_bytes": s.num_omap_bytes, "num_omap_keys": s.num_omap_keys, "num_objects_repaired": s.num_objects_repaired,
    })
}

/// `store_statfs_t::dump`.
pub(super) fn statfs_json(s: &StoreStatfs) -> Value {
    json!({
        "total": s.total, "available": s.available, "internally_reserved": s.internally_reserved, "allocated": s.allocated,
        "data_stored": s.data_stored, "data_compressed": s.data_compressed,
        "data_compressed_allocated": s.data_compressed_allocated, "data_compressed_original": s.data_compressed_original,
        "omap_allocated": s.omap_allocated, "internal_metadata": s.internal_metadata,
    })
}

/// Comma-separated, as stock prints sets.
fn shards(set: &BTreeSet<PgShard>) -> String {
    set.iter().map(PgShard::to_string).collect::<Vec<_>>().join(",")
}

/// `pg_stat_t::dump` with the id in front.
pub(super) fn pg_json(pg: PgId, s: &PgStat) -> Value {
    let t = |t: Utime| t.to_string();
    let v = |v: types::EVersion| v.to_string();
    let whole: Vec<String> = s.avail_no_missing.iter().map(PgShard::to_string).collect();
    let places: Vec<Value> =
        s.object_location_counts.iter().map(|(at, n)| json!({"shards": shards(at), "objects": n})).collect();
    // (Snapshot ids are printed in hexadecimal, and the length counts as one.)
    let purged: Vec<Value> = s
        .purged_snaps
        .iter()
        .map(|(start, length)| json!({"start": format!("{start:x}"), "length": format!("{length:x}")}))
        .collect();
    json!({
        "pgid": pg.to_string(), "version": v(s.version), "reported_seq": s.reported_seq, "reported_epoch": s.reported_epoch.0,
        "state": pg_state::name(s.state), "last_fresh": t(s.last_fresh), "last_change": t(s.last_change), "last_active": t(s.last_active),
        "last_peered": t(s.last_peered), "last_clean": t(s.last_clean), "last_became_active": t(s.last_became_active),
        "last_became_peered": t(s.last_became_peered), "last_unstale": t(s.last_unstale), "last_undegraded": t(s.last_undegraded),
        "last_fullsized": t(s.last_fullsized), "mapping_epoch": s.mapping_epoch.0, "log_start": v(s.log_start),
        "ondisk_log_start": v(s.ondisk_log_start), "created": s.created.0, "last_epoch_clean": s.last_epoch_clean.0,
        "parent": s.parent.to_string(), "parent_split_bits": s.parent_split_bits, "last_scrub": v(s.last_scrub),
        "last_scrub_stamp": t(s.last_scrub_stamp), "last_deep_scrub": v(s.last_deep_scrub),
        "last_deep_scrub_stamp": t(s.last_deep_scrub_stamp), "last_clean_scrub_stamp": t(s.last_clean_scrub_stamp),
        "log_size": s.log_size, "ondisk_log_size": s.ondisk_log_size, "stats_invalid": s.stats_invalid,
        "dirty_stats_invalid": s.dirty_stats_invalid, "omap_stats_invalid": s.omap_stats_invalid,
        "hitset_stats_invalid": s.hitset_stats_invalid, "hitset_bytes_stats_invalid": s.hitset_bytes_stats_invalid,
        "pin_stats_invalid": s.pin_stats_invalid, "manifest_stats_invalid": s.manifest_stats_invalid, "snaptrimq_len": s.snaptrimq_len,
        "stat_sum": sum_json(&s.stats.sum), "up": nums(&s.up), "acting": nums(&s.acting), "avail_no_missing": whole,
        "object_location_counts": places, "blocked_by": nums(&s.blocked_by), "up_primary": s.up_primary.0,
        "acting_primary": s.acting_primary.0, "purged_snaps": purged,
    })
}

/// `osd_alerts_t`, a line each.
fn alerts(s: &OsdStat) -> Vec<String> {
    let of = |(osd, all): (&OsdId, &BTreeMap<String, String>)| -> Vec<String> {
        all.iter().map(|(code, text)| format!(" osd: {} {code}:{text}", osd.0)).collect()
    };
    s.os_alerts.iter().flat_map(of).collect()
}

/// `osd_stat_t::dump_ping_time`: milliseconds.
fn ping_times(s: &OsdStat) -> Vec<Value> {
    let ms = |us: u32| f64::from(us) / 1000.0;
    let spans = |t: [u32; 3]| json!({"1min": ms(t[0]), "5min": ms(t[1]), "15min": ms(t[2])});
    let one = |name: &str, t: &PingTimes| {
        json!({
            "interface": name, "average": spans(t.average), "min": spans(t.min), "max": spans(t.max), "last": ms(t.last),
        })
    };
    let entry = |(osd, p): (&OsdId, &HbPingTime)| {
        let mut interfaces = vec![one("back", &p.back)];
        if p.front.average[0] != 0 {
            interfaces.push(one("front", &p.front));
        }
        json!({"osd": osd.0, "last update": Utime { sec: p.last_update, nsec: 0 }.ctime(), "interfaces": interfaces})
    };
    s.hb_pingtime.iter().map(entry).collect()
}

fn osd_json(osd: Option<OsdId>, s: &OsdStat) -> Value {
    let mut m = Map::new();
    if let Some(o) = osd {
        m.insert("osd".into(), o.0.into());
    }
    let f = &s.statfs;
    let kb = |b: u64| b / 1024;
    let rest = json!({
        "up_from": s.up_from.0, "seq": s.seq, "num_pgs": s.num_pgs, "num_osds": s.num_osds, "num_per_pool_osds": s.num_per_pool_osds,
        "num_per_pool_omap_osds": s.num_per_pool_omap_osds, "kb": kb(f.total), "kb_used": kb(f.used_raw()),
        "kb_used_data": kb(f.allocated.max(0) as u64), "kb_used_omap": kb(f.omap_allocated.max(0) as u64),
        "kb_used_meta": kb(f.internal_metadata.max(0) as u64), "kb_avail": kb(f.available), "statfs": statfs_json(f),
        "hb_peers": nums(&s.hb_peers), "snap_trim_queue_len": s.snap_trim_queue_len, "num_snap_trimming": s.num_snap_trimming,
        "num_shards_repaired": s.num_shards_repaired, "op_queue_age_hist": {"histogram": s.op_queue_age_hist, "upper_bound": 1},
        "perf_stat": {
            "commit_latency_ms": s.commit_latency_ns / 1_000_000, "apply_latency_ms": s.apply_latency_ns / 1_000_000,
            "commit_latency_ns": s.commit_latency_ns, "apply_latency_ns": s.apply_latency_ns,
        },
        "alerts": alerts(s), "network_ping_times": ping_times(s),
    });
    if let Value::Object(r) = rest {
        m.extend(r);
    }
    Value::Object(m)
}

fn osd_total(core: &MonCore) -> OsdStat {
    let mut t = OsdStat::default();
    core.pgmap.osds.values().for_each(|s| t.add(s));
    t
}

fn pool_sum_json(p: &PoolStat) -> Map<String, Value> {
    let v = json!({
        "stat_sum": sum_json(&p.stats.sum), "store_stats": statfs_json(&p.store_stats), "log_size": p.log_size,
        "ondisk_log_size": p.ondisk_log_size, "up": p.up, "acting": p.acting, "num_store_stats": p.num_store_stats,
    });
    match v {
        Value::Object(m) => m,
        _ => Map::new(),
    }
}

fn total_stat(core: &MonCore) -> PoolStat {
    let mut t = PoolStat::default();
    for s in core.pgmap.pgs.values() {
        t.stats.sum.add(&s.stats.sum);
        t.log_size = t.log_size.wrapping_add(s.log_size);
        t.ondisk_log_size = t.ondisk_log_size.wrapping_add(s.ondisk_log_size);
        t.up += s.up.len() as i32;
        t.acting += s.acting.len() as i32;
    }
    t
}

fn pools_json(core: &MonCore) -> Vec<Value> {
    let ids: Vec<PoolId> = core.osd.map.pools.keys().rev().copied().collect();
    ids.into_iter()
        .map(|id| {
            let mut m = Map::new();
            m.insert("poolid".into(), id.0.into());
            m.insert("num_pg".into(), core.pgmap.pool_pgs(id).count().into());
            m.extend(pool_sum_json(&core.pgmap.pool_stat(id)));
            Value::Object(m)
        })
        .collect()
}

fn pg_list(core: &MonCore) -> Vec<(&PgId, &PgStat)> {
    core.pgmap.pgs.iter().rev().map(|(pg, s)| (pg, &**s)).collect()
}

fn all_json(core: &MonCore) -> Value {
    let osds: Vec<Value> = core.pgmap.osds.iter().rev().map(|(o, s)| osd_json(Some(*o), s)).collect();
    let pgs: Vec<Value> = pg_list(core).into_iter().map(|(p, s)| pg_json(*p, s)).collect();
    let (sum, over) = core.pgmap.delta();
    let mut growth = PoolStat::default();
    growth.stats.sum = sum;
    let mut delta = pool_sum_json(&growth);
    delta.insert("stamp_delta".into(), format!("{}.{:06}", over.as_secs(), over.subsec_micros()).into());
    let fs: Vec<Value> = core
        .pgmap
        .pool_statfs
        .iter()
        .map(|((p, o), s)| {
            let mut m = Map::new();
            m.insert("poolid".into(), p.0.into());
            m.insert("osd".into(), o.0.into());
            if let Value::Object(r) = statfs_json(s) {
                m.extend(r);
            }
            Value::Object(m)
        })
        .collect();
    json!({
        "version": core.pgmap.version, "stamp": core.pgmap.stamp.to_string(), "last_osdmap_epoch": 0, "last_pg_scan": 0,
        "pg_stats_sum": pool_sum_json(&total_stat(core)), "osd_stats_sum": osd_json(None, &osd_total(core)), "pg_stats_delta": delta,
        "pg_stats": pgs, "pool_stats": pools_json(core), "osd_stats": osds, "pool_statfs": fs,
    })
}

const SUM_COLUMNS: [&str; 10] = [
    "OBJECTS",
    "MISSING_ON_PRIMARY",
    "DEGRADED",
    "MISPLACED",
    "UNFOUND",
    "BYTES",
    "OMAP_BYTES*",
    "OMAP_KEYS*",
    "LOG",
    "DISK_LOG",
];

fn sum_cells(s: &ObjectStatSum, log: i64, disk: i64) -> Vec<String> {
    [
        s.num_objects,
        s.num_objects_missing_on_primary,
        s.num_objects_degraded,
        s.num_objects_misplaced,
        s.num_objects_unfound,
        s.num_bytes,
        s.num_omap_bytes,
        s.num_omap_keys,
        log,
        disk,
    ]
    .iter()
    .map(i64::to_string)
    .collect()
}

fn sum_table(first: &str) -> TextTable {
    let t = TextTable::new().column(first, Align::Left, Align::Left);
    SUM_COLUMNS.iter().fold(t, |t, h| t.column(h, Align::Left, Align::Right))
}

fn pg_table(rows: &[(&PgId, &PgStat)]) -> String {
    let mut t = sum_table("PG_STAT");
    for h in [
        "STATE",
        "STATE_STAMP",
        "VERSION",
        "REPORTED",
        "UP",
        "UP_PRIMARY",
        "ACTING",
        "ACTING_PRIMARY",
        "LAST_SCRUB",
        "SCRUB_STAMP",
        "LAST_DEEP_SCRUB",
        "DEEP_SCRUB_STAMP",
        "SNAPTRIMQ_LEN",
    ] {
        t.define(h, Align::Left, Align::Right);
    }
    for (pg, s) in rows {
        let mut c = vec![pg.to_string()];
        c.extend(sum_cells(&s.stats.sum, s.log_size, s.ondisk_log_size));
        c.extend([
            pg_state::name(s.state),
            s.last_change.to_string(),
            s.version.to_string(),
            format!("{}:{}", s.reported_epoch, s.reported_seq),
            list(&s.up),
            s.up_primary.to_string(),
            list(&s.acting),
            s.acting_primary.to_string(),
            s.last_scrub.to_string(),
            s.last_scrub_stamp.to_string(),
            s.last_deep_scrub.to_string(),
            s.last_deep_scrub_stamp.to_string(),
            s.snaptrimq_len.to_string(),
        ]);
        t.row(c);
    }
    t.to_string()
}

/// The short table of `pg dump pgs_brief` and `pg dump_stuck`.
pub(super) fn brief(rows: &[(&PgId, &PgStat)], empty_when_none: bool) -> String {
    if rows.is_empty() && empty_when_none {
        return String::new();
    }
    let mut t = TextTable::new().column("PG_STAT", Align::Left, Align::Left);
    for h in ["STATE", "UP", "UP_PRIMARY", "ACTING", "ACTING_PRIMARY"] {
        t.define(h, Align::Left, Align::Right);
    }
    for (pg, s) in rows {
        t.row([
            pg.to_string(),
            pg_state::name(s.state),
            list(&s.up),
            s.up_primary.to_string(),
            list(&s.acting),
            s.acting_primary.to_string(),
        ]);
    }
    t.to_string()
}

/// The table of `pg ls`.
pub(super) fn pg_list_table(now: Utime, rows: &[(&PgId, &PgStat)]) -> String {
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new().column("PG", l, l);
    for h in [
        "OBJECTS",
        "DEGRADED",
        "MISPLACED",
        "UNFOUND",
        "BYTES",
        "OMAP_BYTES*",
        "OMAP_KEYS*",
        "LOG",
        "STATE",
        "SINCE",
    ] {
        t.define(h, l, r);
    }
    for h in ["VERSION", "REPORTED", "UP", "ACTING", "SCRUB_STAMP", "DEEP_SCRUB_STAMP"] {
        t.define(h, l, r);
    }
    for (pg, s) in rows {
        let m = &s.stats.sum;
        t.row([
            pg.to_string(),
            m.num_objects.to_string(),
            m.num_objects_degraded.to_string(),
            m.num_objects_misplaced.to_string(),
            m.num_objects_unfound.to_string(),
            m.num_bytes.to_string(),
            m.num_omap_bytes.to_string(),
            m.num_omap_keys.to_string(),
            s.log_size.to_string(),
            pg_state::name(s.state),
            pretty_timespan_span(now.since(s.last_change).as_secs_f64()),
            s.version.to_string(),
            format!("{}:{}", s.reported_epoch, s.reported_seq),
            format!("{}p{}", list(&s.up), s.up_primary),
            format!("{}p{}", list(&s.acting), s.acting_primary),
            s.last_scrub_stamp.to_string(),
            s.last_deep_scrub_stamp.to_string(),
        ]);
    }
    t.to_string() + "\n" + NOTE
}

const NOTE: &str = "* NOTE: Omap statistics are gathered during deep scrub and may be inaccurate soon afterwards depending on utilization. See \
http://docs.ceph.com/en/latest/dev/placement-group/#omap-statistics for further details.\n";

fn head(core: &MonCore) -> String {
    format!(
        "version {}\nstamp {}\nlast_osdmap_epoch 0\nlast_pg_scan 0\n",
        core.pgmap.version, core.pgmap.stamp
    )
}

fn pool_table(core: &MonCore, headings: bool) -> String {
    let mut t = sum_table("POOLID");
    for id in core.osd.map.pools.keys().rev() {
        let p = core.pgmap.pool_stat(*id);
        let mut c = vec![id.to_string()];
        c.extend(sum_cells(&p.stats.sum, p.log_size, p.ondisk_log_size));
        t.row(c);
    }
    if headings { t.to_string() } else { bare(&t) }
}

/// Inside `pg dump all` stock prints these tables without headings and with columns as narrow as the numbers.
fn bare(t: &TextTable) -> String {
    let full = t.to_string();
    let rows: Vec<Vec<&str>> = full.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
    let n = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width: Vec<usize> =
        (0..n).map(|i| rows.iter().filter_map(|r| r.get(i)).map(|c| c.len()).max().unwrap_or(0)).collect();
    let mut out = " ".repeat(width.iter().sum::<usize>() + 2 * n.saturating_sub(1)) + "\n";
    for r in &rows {
        let cells: Vec<String> = r
            .iter()
            .enumerate()
            .map(
                |(i, c)| {
                    if i == 0 { format!("{c:<w$}", w = width[i]) } else { format!("{c:>w$}", w = width[i]) }
                },
            )
            .collect();
        out.push_str(&(cells.join("  ") + "\n"));
    }
    out
}

fn sum_row(core: &MonCore, headings: bool) -> String {
    let s = total_stat(core);
    let mut t = sum_table("PG_STAT");
    let mut c = vec!["sum".to_owned()];
    c.extend(sum_cells(&s.stats.sum, s.log_size, s.ondisk_log_size));
    t.row(c);
    if headings { t.to_string() } else { bare(&t) }
}

fn osd_table(core: &MonCore, rows: bool) -> String {
    let (l, r) = (Align::Left, Align::Right);
    let mut t = TextTable::new().column("OSD_STAT", l, l);
    for h in ["USED", "AVAIL", "USED_RAW", "TOTAL"] {
        t.define(h, l, r);
    }
    if rows {
        for h in ["HB_PEERS", "PG_SUM", "PRIMARY_PG_SUM"] {
            t.define(h, l, r);
        }
        let by = core.pgmap.pgs_by_osd();
        for (o, s) in core.pgmap.osds.iter().rev() {
            let f = &s.statfs;
            let (n, p) = by.get(o).copied().unwrap_or_default();
            t.row([
                o.to_string(),
                byte_u(f.used_raw()),
                byte_u(f.available),
                byte_u(f.used_raw()),
                byte_u(f.total),
                list(&s.hb_peers),
                n.to_string(),
                p.to_string(),
            ]);
        }
    }
    let f = core.pgmap.osd_sum();
    t.row(["sum".into(), byte_u(f.used_raw()), byte_u(f.available), byte_u(f.used_raw()), byte_u(f.total)]);
    t.to_string()
}

pub(super) fn dump(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let mut what = a.list("dumpcontents");
    if what.is_empty() {
        what.push("all".into());
    }
    let has = |w: &str| what.iter().any(|x| x == w);
    let outs = format!("dumped {}", what.join(","));
    if a.format() != Format::Plain {
        let mut m = Map::new();
        m.insert("pg_ready".into(), true.into());
        let pgs = || -> Vec<Value> { pg_list(core).into_iter().map(|(p, s)| pg_json(*p, s)).collect() };
        if has("all") {
            m.insert("pg_map".into(), all_json(core));
        } else if has("sum") {
            m.insert("pg_stats_sum".into(), pool_sum_json(&total_stat(core)).into());
            m.insert("osd_stats_sum".into(), osd_json(None, &osd_total(core)));
        }
        if !has("all") {
            if has("pgs") {
                m.insert("pg_stats".into(), pgs().into());
            }
            if has("pgs_brief") {
                let v: Vec<Value> = pg_list(core)
                    .into_iter()
                    .map(|(p, s)| {
                        json!({
                            "pgid": p.to_string(), "state": pg_state::name(s.state), "up": nums(&s.up), "acting": nums(&s.acting),
                            "up_primary": s.up_primary.0, "acting_primary": s.acting_primary.0,
                        })
                    })
                    .collect();
                m.insert("pg_stats".into(), v.into());
            }
            if has("pools") {
                m.insert("pool_stats".into(), pools_json(core).into());
            }
            if has("osds") {
                let v: Vec<Value> =
                    core.pgmap.osds.iter().rev().map(|(o, s)| osd_json(Some(*o), s)).collect();
                m.insert("osd_stats".into(), v.into());
            }
        }
        let v = Value::Object(m);
        return text_outs(if a.format() == Format::Json { compact(&v) + "\n" } else { pretty(&v) }, outs);
    }
    let rows = pg_list(core);
    let mut s = String::new();
    if has("all") {
        s = head(core)
            + &pg_table(&rows)
            + &pool_table(core, false)
            + &sum_row(core, false)
            + &osd_table(core, true)
            + "\n"
            + NOTE;
    } else {
        if has("sum") {
            s += &(head(core) + &sum_row(core, true) + &osd_table(core, false));
        }
        if has("pgs") {
            s += &pg_table(&rows);
        }
        if has("pgs_brief") {
            s += &brief(&rows, false);
        }
        if has("pools") {
            s += &pool_table(core, true);
        }
        if has("osds") {
            s += &osd_table(core, true);
        }
        if has("sum") || has("pgs") || has("pools") {
            s += "\n";
            s += NOTE;
        }
    }
    text_outs(s, outs)
}

pub(super) fn dump_json(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    text_outs(compact(&json!({"pg_ready": true, "pg_map": all_json(core)})) + "\n", "dumped all")
}

pub(super) fn dump_pools_json(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    text_outs(compact(&json!({"pg_ready": true, "pool_stats": pools_json(core)})) + "\n", "dumped pools")
}
