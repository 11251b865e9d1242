//! Health: every check is computed from the maps and reports of the moment, so what it says is true; mutes are replicated.
//!
//! Codes and texts are stock's.

use crate::core::MonCore;
use crate::crushutil;
use crate::kv::{Batch, Kv};
use crate::table::Table;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::logentry::LogPrio;
use types::osdmap::{flag, state};
use types::pgstat::pg_state;
use types::pool::flag as pool_flag;
use types::{OsdId, Utime};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// HEALTH_OK.
    Ok,
    /// HEALTH_WARN.
    Warn,
    /// HEALTH_ERR.
    Err,
}
impl Severity {
    /// `HEALTH_WARN`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "HEALTH_OK",
            Severity::Warn => "HEALTH_WARN",
            Severity::Err => "HEALTH_ERR",
        }
    }
    /// `[WRN]`.
    pub fn tag(self) -> &'static str {
        match self {
            Severity::Ok => "[OK]",
            Severity::Warn => "[WRN]",
            Severity::Err => "[ERR]",
        }
    }
}

/// One raised check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// More lines.
    pub detail: Vec<String>,
    /// How many things it is about.
    pub count: i64,
}

/// Checks by code.
pub type Checks = BTreeMap<String, Check>;

/// A muted code.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mute {
    /// Until when; zero for no end.
    pub until: Utime,
    /// Stays when the check clears.
    pub sticky: bool,
    /// Summary at the time.
    pub summary: String,
    /// Count at the time: the mute ends when it gets worse.
    pub count: i64,
}
impl Encode for Mute {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.until);
            e.bool(self.sticky);
            e.put(&self.summary);
            e.i64(self.count);
        });
    }
}
impl Decode for Mute {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("health mute", 1)?;
        Ok(Mute { until: d.get()?, sticky: d.bool()?, summary: d.get()?, count: d.i64()? })
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct HealthMon {
    /// Mutes by code.
    pub mutes: Table<Mute>,
    /// What was raised at the last look, without details, to log changes.
    last: Option<Checks>,
}

impl HealthMon {
    /// From the store.
    pub fn load(kv: &Kv) -> HealthMon {
        HealthMon { mutes: Table::load("health/mute/", kv), last: None }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.mutes.is_dirty()
    }
    /// Moves staged changes into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        self.mutes.stage(batch);
    }
    /// Takes over a committed batch.
    pub fn commit(&mut self, batch: &Batch) {
        self.mutes.commit(batch);
    }
}

/// Checks that are being gathered.
pub(crate) struct Builder(Checks);
impl Builder {
    pub(crate) fn add(
        &mut self,
        code: &str,
        severity: Severity,
        summary: String,
        count: usize,
        detail: Vec<String>,
    ) {
        self.0.insert(code.to_owned(), Check { severity, summary, detail, count: count as i64 });
    }
}

fn plural(n: usize, one: &str, many: &str) -> String {
    if n == 1 { one.to_owned() } else { many.to_owned() }
}

impl MonCore {
    /// Everything that is wrong now, muted or not.
    pub fn checks(&self) -> Checks {
        let mut b = Builder(Checks::new());
        self.mon_checks(&mut b);
        self.member_checks(&mut b);
        self.osd_checks(&mut b);
        self.full_checks(&mut b);
        self.flag_checks(&mut b);
        self.pool_checks(&mut b);
        // What is seen in reports is the manager's to tell of, whoever that is.
        if !self.mgr.external {
            self.pg_checks(&mut b);
            self.slow_disk_checks(&mut b);
            self.crashes(&mut b);
        }
        self.slow_ops(&mut b);
        self.mds_checks(&mut b.0);
        if let Some(severity) = self.mgr_down() {
            b.add("MGR_DOWN", severity, "no active mgr".to_owned(), 0, Vec::new());
        }
        let bad = &self.auth.bad_caps;
        if !bad.is_empty() {
            let detail = bad.iter().flat_map(|(n, l)| l.iter().map(move |t| format!("{n} {t}"))).collect();
            let text = format!("{} auth entities have invalid capabilities", bad.len());
            b.add("AUTH_BAD_CAPS", Severity::Err, text, bad.len(), detail);
        }
        self.manager_checks(&mut b.0);
        if !self.mgr.external {
            self.store_alerts(&mut b);
        }
        b.0
    }

    /// The overall status without muted checks.
    pub fn overall(&self, checks: &Checks) -> Severity {
        checks
            .iter()
            .filter(|(code, _)| self.health.mutes.get(code).is_none())
            .map(|(_, c)| c.severity)
            .max()
            .unwrap_or(Severity::Ok)
    }

    /// Monitors that are in the map and not in the quorum.
    fn mon_checks(&self, b: &mut Builder) {
        let m = self.monmap();
        let quorum = self.quorum_names();
        if self.quorum.leader.is_none() || quorum.len() >= m.mons.len() {
            return;
        }
        let down = m.ranks.iter().enumerate().filter(|(_, n)| !quorum.contains(n));
        let detail: Vec<String> = down
            .filter_map(|(rank, n)| {
                let addrs = &m.mons.get(n)?.public_addrs;
                Some(format!("mon.{n} (rank {rank}) addr {addrs} is down (out of quorum)"))
            })
            .collect();
        let summary = format!("{}/{} mons down, quorum {}", detail.len(), m.mons.len(), quorum.join(","));
        b.add("MON_DOWN", Severity::Warn, summary, detail.len(), detail);
    }

    fn osd_checks(&self, b: &mut Builder) {
        let m = &self.osd.map;
        let crush = &m.crush;
        let down: BTreeSet<OsdId> =
            m.osds().filter(|o| m.is_down(*o) && m.is_in(*o) && m.state_of(*o) & state::NEW == 0).collect();
        if m.num_osds() == 0 {
            // Stock says so by TOO_FEW_OSDS alone.
        } else if !down.is_empty() {
            let mut hosts_down: BTreeMap<i32, (String, Vec<OsdId>)> = BTreeMap::new();
            let mut detail = Vec::new();
            for o in &down {
                let mut loc = Vec::new();
                let mut at = o.0;
                while let Some(p) = crushutil::parent(crush, at) {
                    let kind = crush.bucket(p).map_or(0, |b| i32::from(b.kind));
                    loc.push((
                        kind,
                        format!("{}={}", crushutil::type_name(crush, kind), crushutil::item_name(crush, p)),
                    ));
                    let below = crushutil::devices_below(crush, p);
                    if below.iter().all(|d| !m.exists(OsdId(*d)) || !m.is_up(OsdId(*d))) && kind > 0 {
                        hosts_down
                            .entry(p)
                            .or_insert_with(|| (crushutil::type_name(crush, kind), Vec::new()))
                            .1
                            .push(*o);
                    }
                    at = p;
                }
                loc.sort_by_key(|(k, _)| std::cmp::Reverse(*k));
                let loc: Vec<String> = loc.into_iter().map(|(_, t)| t).collect();
                detail.push(format!("osd.{o} ({}) is down", loc.join(",")));
            }
            let n = down.len();
            b.add("OSD_DOWN", Severity::Warn, format!("{n} osds down"), n, detail);
            let mut by_type: BTreeMap<String, Vec<(i32, usize)>> = BTreeMap::new();
            for (id, (kind, osds)) in hosts_down {
                by_type.entry(kind).or_default().push((id, osds.len()));
            }
            for (kind, buckets) in by_type {
                let osds: usize = buckets.iter().map(|(_, n)| n).sum();
                let n = buckets.len();
                let detail = buckets
                    .iter()
                    .map(|(id, n)| {
                        let mut loc: Vec<String> = crushutil::location(crush, *id)
                            .into_iter()
                            .map(|(t, v)| format!("{t}={v}"))
                            .collect();
                        loc.reverse();
                        format!(
                            "{kind} {} ({}) ({n} osds) is down",
                            crushutil::item_name(crush, *id),
                            loc.join(",")
                        )
                    })
                    .collect();
                let summary = format!("{n} {kind}{} ({osds} osds) down", plural(n, "", "s"));
                b.add(&format!("OSD_{}_DOWN", kind.to_uppercase()), Severity::Warn, summary, n, detail);
            }
        }
        let want = self.cfg.num("osd_pool_default_size") as usize;
        if self.cfg.flag("mon_warn_on_osd_down_out_interval_zero")
            && self.cfg.num("mon_osd_down_out_interval") == 0.0
        {
            b.add(
                "OSD_NO_DOWN_OUT_INTERVAL",
                Severity::Warn,
                format!(
                    "mon_osd_down_out_interval = 0 on mon.{}, automatic out marking is disabled",
                    self.cfg.name
                ),
                0,
                Vec::new(),
            );
        }
        if m.num_osds() < want {
            let n = m.num_osds();
            let text = format!("OSD count {n} < osd_pool_default_size {want}");
            b.add("TOO_FEW_OSDS", Severity::Warn, text, want - n, Vec::new());
        }
    }

    fn full_checks(&self, b: &mut Builder) {
        let m = &self.osd.map;
        let failsafe = self.cfg.num("osd_failsafe_full_ratio") as f32;
        let (full, back, near) = (m.full_ratio, m.backfillfull_ratio, m.nearfull_ratio);
        let g = crate::fmt::stringify_f32;
        let mut order = Vec::new();
        if back < near {
            order.push(format!("backfillfull_ratio ({}) < nearfull_ratio ({}), increased", g(back), g(near)));
        }
        if full < back {
            order.push(format!("full_ratio ({}) < backfillfull_ratio ({}), increased", g(full), g(back)));
        }
        if failsafe > 0.0 && failsafe < full {
            order.push(format!(
                "osd_failsafe_full_ratio ({}) < full_ratio ({}), increased",
                g(failsafe),
                g(full)
            ));
        }
        if !order.is_empty() {
            b.add("OSD_OUT_OF_ORDER_FULL", Severity::Err, "full ratio(s) out of order".into(), 0, order);
        }
        let having = |bit: u32, not: u32| -> Vec<OsdId> {
            m.osds().filter(|o| m.state_of(*o) & bit != 0 && m.state_of(*o) & not == 0).collect()
        };
        let mut level = |code: &str, sev, osds: Vec<OsdId>, word: &str| {
            if osds.is_empty() {
                return;
            }
            let n = osds.len();
            let detail = osds.iter().map(|o| format!("osd.{o} is {word}")).collect();
            b.add(code, sev, format!("{n} {word} osd(s)"), n, detail);
        };
        level("OSD_FULL", Severity::Err, having(state::FULL, 0), "full");
        level("OSD_BACKFILLFULL", Severity::Warn, having(state::BACKFILLFULL, state::FULL), "backfillfull");
        level(
            "OSD_NEARFULL",
            Severity::Warn,
            having(state::NEARFULL, state::FULL | state::BACKFILLFULL),
            "nearfull",
        );
    }

    fn flag_checks(&self, b: &mut Builder) {
        const WARN: u32 = flag::PAUSERD
            | flag::PAUSEWR
            | flag::NOUP
            | flag::NODOWN
            | flag::NOIN
            | flag::NOOUT
            | flag::NOBACKFILL
            | flag::NORECOVER
            | flag::NOSCRUB
            | flag::NODEEP_SCRUB
            | flag::NOTIERAGENT
            | flag::NOSNAPTRIM
            | flag::NOREBALANCE
            | flag::FULL;
        let m = &self.osd.map;
        if m.flags & WARN != 0 {
            let names = flag_names(m.flags & WARN);
            let count = names.len();
            b.add("OSDMAP_FLAGS", Severity::Warn, format!("{names} flag(s) set"), count, Vec::new());
        }
        let bits = state::NOUP | state::NODOWN | state::NOIN | state::NOOUT;
        let detail: Vec<String> = m
            .osds()
            .filter(|o| m.state_of(*o) & bits != 0)
            .map(|o| format!("osd.{o} has flags {}", state::names(m.state_of(o) & bits).join(",")))
            .chain(m.crush_node_flags.iter().map(|(id, f)| {
                let kind = m.crush.bucket(*id).map_or(0, |b| i32::from(b.kind));
                let (kind, name) =
                    (crushutil::type_name(&m.crush, kind), crushutil::item_name(&m.crush, *id));
                format!("{kind} {name} has flags {}", state::names(f & bits).join(","))
            }))
            .chain(m.device_class_flags.iter().map(|(id, f)| {
                let name = m.crush.class_name.get(id).cloned().unwrap_or_default();
                format!("device class '{name}' has flags {}", state::names(f & bits).join(","))
            }))
            .collect();
        if !detail.is_empty() {
            let n = detail.len();
            let text = format!(
                "{n} OSDs or CRUSH {{nodes, device-classes}} have {{NOUP,NODOWN,NOIN,NOOUT}} flags set"
            );
            b.add("OSD_FLAGS", Severity::Warn, text, n, detail);
        }
    }

    fn pool_checks(&self, b: &mut Builder) {
        let m = &self.osd.map;
        let name = |id| m.pool_name(id).unwrap_or_default().to_owned();
        let mut set = Vec::new();
        let mut detail = Vec::new();
        let bits = [(pool_flag::NOSCRUB, "noscrub"), (pool_flag::NODEEP_SCRUB, "nodeep-scrub")];
        for (bit, word) in bits {
            set.extend(m.pools.values().any(|p| p.flags & bit != 0).then_some(word));
        }
        for (id, p) in m.pools.iter() {
            let has = bits.iter().filter(|(bit, _)| p.flags & bit != 0);
            detail.extend(has.map(|(_, word)| format!("Pool {} has {word} flag", name(*id))));
        }
        if !set.is_empty() {
            let text = format!("Some pool(s) have the {} flag(s) set", set.join(", "));
            // No warning, with stock neither.
            b.add("POOL_SCRUB_FLAGS", Severity::Ok, text, 0, detail);
        }
        let mixed = self.mixed_pools();
        if !mixed.is_empty() {
            let text =
                format!("{} pool(s) are placed on OSDs of loligo and of stock Ceph together", mixed.len());
            b.add("POOL_MIXED_OSDS", Severity::Warn, text, mixed.len(), mixed);
        }
        if self.cfg.flag("mon_warn_on_pool_no_redundancy") {
            let thin: Vec<String> = m
                .pools
                .iter()
                .filter(|(_, p)| p.size == 1 && !p.is_erasure())
                .map(|(id, _)| format!("pool '{}' has no replicas configured", name(*id)))
                .collect();
            if !thin.is_empty() {
                let n = thin.len();
                b.add(
                    "POOL_NO_REDUNDANCY",
                    Severity::Warn,
                    format!("{n} pool(s) have no replicas configured"),
                    n,
                    thin,
                );
            }
        }
        if self.cfg.flag("mon_warn_on_pool_no_app") && !self.mgr.external {
            let mut detail: Vec<String> = m
                .pools
                .iter()
                .filter(|(id, p)| {
                    p.application_metadata.is_empty() && self.pgmap.pool_sum(**id).num_objects > 0
                })
                .map(|(id, _)| format!("application not enabled on pool '{}'", name(*id)))
                .collect();
            if !detail.is_empty() {
                let n = detail.len();
                detail.push(
                    "use 'ceph osd pool application enable <pool-name> <app-name>', where <app-name> is 'cephfs', 'rbd', 'rgw', or freeform \
                     for custom applications."
                        .into(),
                );
                b.add(
                    "POOL_APP_NOT_ENABLED",
                    Severity::Warn,
                    format!("{n} pool(s) do not have an application enabled"),
                    n,
                    detail,
                );
            }
        }
        let full: Vec<String> = m
            .pools
            .iter()
            .filter(|(_, p)| p.has_flag(types::pool::flag::FULL))
            .map(|(id, p)| {
                let quota = p.has_flag(types::pool::flag::FULL_QUOTA);
                format!(
                    "pool '{}' is full ({})",
                    name(*id),
                    if quota { "running out of quota" } else { "no space" }
                )
            })
            .collect();
        if !full.is_empty() {
            let n = full.len();
            b.add("POOL_FULL", Severity::Warn, format!("{n} pool(s) full"), n, full);
        }
    }

    fn pg_checks(&self, b: &mut Builder) {
        let stuck = self.cfg.secs("mon_pg_stuck_threshold").max(Duration::from_secs(1));
        let start = self.now.since(self.office_since);
        let (mut unavailable, mut degraded, mut damaged) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut recovery_full: Vec<String> = Vec::new();
        let mut detail: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (pg, s) in &self.pgmap.pgs {
            let st = s.state;
            // Until OSDs had the time to report, nothing is known, and that is no alarm.
            if st == 0 {
                if start > Duration::from_secs(60) {
                    *unavailable.entry("unknown").or_insert(0usize) += 1;
                    detail.entry("a").or_default().push(format!(
                        "pg {pg} is stuck inactive for {}, current state unknown, last acting []",
                        crate::fmt::pretty_timespan_span(start.as_secs_f64())
                    ));
                }
                continue;
            }
            // Most PGs are well, and there are many.
            if st & !pg_state::CLEAN == pg_state::ACTIVE {
                continue;
            }
            let acting: Vec<String> = s
                .acting
                .iter()
                .map(|o| if *o == OsdId::NONE { "NONE".into() } else { o.to_string() })
                .collect();
            let acting = acting.join(",");
            let name = pg_state::name(st);
            // A stamp that was never set says nothing about how long.
            let age = |t: Utime| if t.is_zero() { Duration::ZERO } else { self.now.since(t) };
            let say =
                |to: &'static str, what: &str, since: Utime, detail: &mut BTreeMap<&str, Vec<String>>| {
                    let text = if age(since) >= stuck {
                        format!(
                            "pg {pg} is stuck {what} for {}, current state {name}, last acting [{acting}]",
                            crate::fmt::pretty_timespan_span(age(since).as_secs_f64())
                        )
                    } else {
                        format!("pg {pg} is {name}, acting [{acting}]")
                    };
                    detail.entry(to).or_default().push(text);
                };
            if st & pg_state::ACTIVE == 0 && (st & pg_state::ACTIVATING == 0 || age(s.last_active) > stuck)
                || st & pg_state::STALE != 0
            {
                let (word, grace) = if st & pg_state::STALE != 0 {
                    ("stale", 0)
                } else if st & pg_state::DOWN != 0 {
                    ("down", 0)
                } else if st & pg_state::INCOMPLETE != 0 {
                    ("incomplete", 0)
                } else if st & pg_state::PEERING != 0 {
                    ("peering", 5)
                } else {
                    ("inactive", 5)
                };
                // A PG that is on its way is shown once it takes long (stock: mon_pg_stuck_threshold for creating).
                if st & pg_state::CREATING == 0 && age(s.last_change).as_secs() >= grace {
                    *unavailable.entry(word).or_insert(0) += 1;
                    say("a", if word == "stale" { "stale" } else { "inactive" }, s.last_active, &mut detail);
                }
            }
            if st & (pg_state::DEGRADED | pg_state::UNDERSIZED) != 0 && st & pg_state::ACTIVE != 0 {
                if st & pg_state::DEGRADED != 0 {
                    *degraded.entry("degraded").or_insert(0usize) += 1;
                }
                if st & pg_state::UNDERSIZED != 0 {
                    *degraded.entry("undersized").or_insert(0) += 1;
                }
                say(
                    "d",
                    if st & pg_state::UNDERSIZED != 0 { "undersized" } else { "degraded" },
                    if st & pg_state::UNDERSIZED != 0 { s.last_fullsized } else { s.last_undegraded },
                    &mut detail,
                );
            }
            if st & pg_state::INCONSISTENT != 0 {
                *damaged.entry("inconsistent").or_insert(0usize) += 1;
                detail.entry("x").or_default().push(format!("pg {pg} is {name}, acting [{acting}]"));
            }
            if st & pg_state::RECOVERY_UNFOUND != 0 {
                *damaged.entry("recovery_unfound").or_insert(0) += 1;
                detail.entry("x").or_default().push(format!(
                    "pg {pg} is {name}, acting [{acting}], {} unfound",
                    s.stats.sum.num_objects_unfound
                ));
            }
            if st & (pg_state::RECOVERY_TOOFULL | pg_state::BACKFILL_TOOFULL) != 0 {
                recovery_full.push(format!("pg {pg} is {name}, acting [{acting}]"));
            }
        }
        let list = |m: &BTreeMap<&str, usize>| {
            let v: Vec<String> =
                m.iter().map(|(w, n)| format!("{n} {} {w}", plural(*n, "pg", "pgs"))).collect();
            v.join(", ")
        };
        let mut take = |k: &str| detail.remove(k).unwrap_or_default();
        if !unavailable.is_empty() {
            let n = unavailable.values().sum();
            b.add(
                "PG_AVAILABILITY",
                Severity::Warn,
                format!("Reduced data availability: {}", list(&unavailable)),
                n,
                take("a"),
            );
        }
        let sum = self.pgmap.total();
        if !degraded.is_empty() || sum.num_objects_degraded > 0 {
            let mut text = String::from("Degraded data redundancy: ");
            let mut parts = Vec::new();
            if sum.num_objects_degraded > 0 {
                let pct = sum.num_objects_degraded as f64 * 100.0 / sum.num_object_copies.max(1) as f64;
                parts.push(format!(
                    "{}/{} objects degraded ({pct:.3}%)",
                    sum.num_objects_degraded, sum.num_object_copies
                ));
            }
            if !degraded.is_empty() {
                parts.push(list(&degraded));
            }
            text.push_str(&parts.join(", "));
            let n = degraded.values().sum();
            b.add("PG_DEGRADED", Severity::Warn, text, n, take("d"));
        }
        if !damaged.is_empty() {
            let n = damaged.values().sum();
            b.add(
                "PG_DAMAGED",
                Severity::Err,
                format!("Possible data damage: {}", list(&damaged)),
                n,
                take("x"),
            );
        }
        if !recovery_full.is_empty() {
            let n = recovery_full.len();
            let text = format!(
                "Low space hindering backfill (add storage if this doesn't resolve itself): {n} {} backfill_toofull",
                plural(n, "pg", "pgs")
            );
            b.add("PG_BACKFILL_FULL", Severity::Warn, text, n, recovery_full);
        }
        if sum.num_objects_unfound > 0 && sum.num_objects > 0 {
            let pct = sum.num_objects_unfound as f64 * 100.0 / sum.num_objects as f64;
            let text = format!("{}/{} objects unfound ({pct:.3}%)", sum.num_objects_unfound, sum.num_objects);
            b.add("OBJECT_UNFOUND", Severity::Warn, text, sum.num_objects_unfound as usize, Vec::new());
        }
        if sum.num_scrub_errors > 0 {
            let text = format!("{} scrub errors", sum.num_scrub_errors);
            b.add("OSD_SCRUB_ERRORS", Severity::Err, text, sum.num_scrub_errors as usize, Vec::new());
        }
    }

    fn slow_ops(&self, b: &mut Builder) {
        const NAMED: usize = 10;
        let mut slow: Vec<(String, u64, u64)> = self
            .mgr
            .daemons
            .values()
            .filter(|d| d.slow_ops > 0)
            .map(|d| (d.name.clone(), d.slow_ops, d.oldest_slow_secs))
            .collect();
        let complaint = self.cfg.secs("mon_op_complaint_time");
        if let Some((n, waited)) = self.slow_changes(complaint) {
            slow.push((format!("mon.{}", self.name()), n, waited.as_secs()));
        }
        if slow.is_empty() {
            return;
        }
        slow.sort();
        let ops: u64 = slow.iter().map(|s| s.1).sum();
        let oldest = slow.iter().map(|s| s.2).max().unwrap_or(0);
        let names: Vec<&str> = slow.iter().map(|s| s.0.as_str()).collect();
        let who = match names.len() {
            1 => format!("{} has slow ops", names[0]),
            n => {
                let more = if n > NAMED { "..." } else { "" };
                format!("daemons [{}]{more} have slow ops.", names[..n.min(NAMED)].join(","))
            }
        };
        let text = format!("{ops} slow ops, oldest one blocked for {oldest} sec, {who}");
        b.add("SLOW_OPS", Severity::Warn, text, 1, Vec::new());
    }

    /// What OSDs say of their stores (`osd_stat_t::os_alerts`; stock's BlueStore has some to tell). Each speaks of itself, and under no
    /// code that a check of ours has: so it comes last.
    fn store_alerts(&self, b: &mut Builder) {
        const SHOWN: usize = 50;
        let mut by_code: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (osd, s) in &self.pgmap.osds {
            for (code, text) in s.os_alerts.values().flatten() {
                by_code.entry(code).or_default().push(format!(" osd.{osd} {text}"));
            }
        }
        by_code.retain(|code, _| !b.0.contains_key(*code));
        for (code, mut detail) in by_code {
            let what = match code {
                "BLUEFS_SPILLOVER" => " experiencing BlueFS spillover",
                "BLUESTORE_NO_COMPRESSION" => " have broken BlueStore compression",
                "BLUESTORE_LEGACY_STATFS" => " reporting legacy (not per-pool) BlueStore stats",
                "BLUESTORE_DISK_SIZE_MISMATCH" => {
                    " have dangerous mismatch between BlueStore block device and free list sizes"
                }
                "BLUESTORE_NO_PER_PG_OMAP" => " reporting legacy (not per-pg) BlueStore omap",
                "BLUESTORE_NO_PER_POOL_OMAP" => " reporting legacy (not per-pool) BlueStore omap usage stats",
                "BLUESTORE_SPURIOUS_READ_ERRORS" => " have spurious read errors",
                // (Stock says nothing more of what it does not know.)
                _ => "",
            };
            let n = detail.len();
            detail.truncate(SHOWN);
            b.add(code, Severity::Warn, format!("{n} OSD(s){what}"), n, detail);
        }
    }

    fn crashes(&self, b: &mut Builder) {
        const SHOWN: usize = 30;
        let mut detail = crate::commands::recent_crashes(self);
        let n = detail.len();
        if n == 0 {
            return;
        }
        if n > SHOWN {
            detail.truncate(SHOWN);
            detail.push(format!("and {} more", n - SHOWN));
        }
        b.add("RECENT_CRASH", Severity::Warn, format!("{n} daemons have recently crashed"), n, detail);
    }

    /// Logs what changed, and ends mutes that are over.
    pub(crate) fn health_tick(&mut self) {
        let checks = self.checks();
        let mut over = Vec::new();
        for (code, m) in self.health.mutes.iter() {
            let ended = !m.until.is_zero() && m.until <= self.now;
            let cleared = !m.sticky && !checks.contains_key(code);
            let worse = !m.sticky && checks.get(code).is_some_and(|c| c.count > m.count);
            if ended || cleared || worse {
                over.push(code.clone());
            }
        }
        for code in over {
            self.health.mutes.remove(&code);
        }
        let told = checks.iter().map(|(code, c)| {
            let (severity, summary) = (c.severity, c.summary.clone());
            (code.clone(), Check { severity, summary, detail: Vec::new(), count: c.count })
        });
        let Some(last) = self.health.last.replace(told.collect()) else { return };
        for (code, c) in &checks {
            let (verb, changed) = match last.get(code) {
                None => ("failed", true),
                Some(o) => ("update", o.summary != c.summary || o.severity != c.severity),
            };
            if changed {
                let prio = if c.severity == Severity::Err { LogPrio::ERROR } else { LogPrio::WARN };
                self.clog("cluster", prio, format!("Health check {verb}: {} ({code})", c.summary));
            }
        }
        for (code, c) in &last {
            if !checks.contains_key(code) {
                self.clog(
                    "cluster",
                    LogPrio::INFO,
                    format!("Health check cleared: {code} (was: {})", c.summary),
                );
            }
        }
        if !last.is_empty() && checks.is_empty() {
            self.clog("cluster", LogPrio::INFO, "Cluster is now healthy".into());
        }
    }
}

/// Names of the map's flags in stock's order of printing, which is not that of the bits.
pub(crate) fn flag_names(flags: u32) -> String {
    let mut bits: Vec<u32> = (0..32).map(|b| 1u32 << b).filter(|b| flags & b != 0).collect();
    let place = |b: &u32| match *b {
        flag::NOREBALANCE => flag::NOBACKFILL * 2 - 1,
        flag::NOSNAPTRIM => flag::NOTIERAGENT * 2 - 1,
        b => b,
    };
    bits.sort_by_key(place);
    bits.into_iter().map(flag::names).collect::<Vec<_>>().join(",")
}
