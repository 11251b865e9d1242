//! What the manager hears: PG and OSD statistics, health metrics.

use crate::core::{OsdCore, Phase};
use crate::counters::Declared;
use crate::event::{LogLevel, OsdEffect};
use bytes::Bytes;
use messages::{MCommand, MMgrCommand, MMgrConfigure, MMgrOpen, MMgrReport, MPgStats, Message, Payload};
use objstore::ObjectStore;
use pg::{ClientOp, PgStatus};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use types::mgrmap::MgrMap;
use types::pgstat::{ObjectStatCollection, ObjectStatSum, OsdStat, PgStat, StoreStatfs};
use types::servicemap::DaemonHealthMetric;
use types::{OsdId, PgId, SpgId, Utime};

/// Health metric type of slow ops (`daemon_metric::SLOW_OPS`).
const SLOW_OPS: u8 = 0;

impl OsdCore {
    /// The monitors name the active manager.
    pub(crate) fn on_mgr_map(&mut self, map: &MgrMap) {
        let addrs = (map.available && !map.active_addrs.is_empty()).then(|| map.active_addrs.clone());
        if addrs != self.mgr.addrs {
            self.mgr.addrs = addrs.clone();
            self.mgr.open = false;
            self.out.push(OsdEffect::ConnectMgr(addrs));
        }
    }

    pub(crate) fn on_mgr_opened(&mut self) {
        self.mgr.open = true;
        self.mgr.stats_dirty = true;
        self.mgr.config.1 = !self.mgr.config.0.is_empty();
        self.mgr.declared = Declared::default();
        // Until the manager says what it wants: no counters.
        self.mgr.threshold = u32::MAX;
        let open = MMgrOpen {
            daemon_name: self.cfg.whoami.to_string(),
            // (Two maps, of the options that are set and of those of the monitors that are not obeyed: a stock manager that finds only one dies of it.)
            config: self.mgr.news_of_config(),
            // An empty map: the monitors know stock's defaults.
            config_defaults: Bytes::from_static(&[0; 4]),
            ..MMgrOpen::default()
        };
        self.send_mgr(&open);
    }

    pub(crate) fn on_mgr_message(&mut self, msg: Message, store: &mut dyn ObjectStore) {
        match msg.header.kind {
            MMgrConfigure::KIND => {
                let Some(m) = self.decoded::<MMgrConfigure>(&msg) else { return };
                let secs = m.stats_period_secs.clamp(1, 300);
                self.cfg.stats_period = Duration::from_secs(secs.into());
                self.mgr.threshold = m.stats_threshold;
                self.send_stats(store);
            }
            // Commands to an OSD come on sessions of their own.
            MMgrCommand::KIND | MCommand::KIND => {}
            _ => {}
        }
    }

    fn send_mgr<P: Payload>(&mut self, payload: &P) {
        let msg = Message::new(payload, Self::features());
        self.out.push(OsdEffect::SendMgr(msg));
    }

    /// Something that the manager shows has changed.
    pub(crate) fn stats_changed(&mut self) {
        if !self.mgr.stats_dirty {
            self.mgr.stats_dirty = true;
            self.out.push(OsdEffect::WakeIn(self.cfg.stats_delay));
        }
    }

    pub(crate) fn tick_reports(&mut self, store: &mut dyn ObjectStore) {
        if !self.mgr.open || self.phase != Phase::Active {
            return;
        }
        let since = self.now.since(self.mgr.last_stats);
        if since >= self.cfg.stats_period || (self.mgr.stats_dirty && since >= self.cfg.stats_delay) {
            self.send_stats(store);
        }
        if self.mgr.config.1 || self.now.since(self.mgr.last_report) >= self.cfg.stats_period {
            self.send_report(store);
        }
    }

    /// The process's options changed.
    pub(crate) fn configured(&mut self, config: Bytes) {
        if self.mgr.config.0 != config {
            self.mgr.config = (config, true);
            self.out.push(OsdEffect::WakeIn(Duration::ZERO));
        }
    }

    /// Reports now; the report's number, which the monitors tell by `osd last-stat-seq` once they have it.
    pub(crate) fn flush_stats(&mut self, store: &mut dyn ObjectStore) -> Option<u64> {
        if !self.mgr.open || self.phase != Phase::Active {
            return None;
        }
        self.send_stats(store);
        Some(self.stats_seq())
    }

    fn stats_seq(&self) -> u64 {
        u64::from(self.sb.mounted.0) << 32 | u64::from(self.mgr.stats_sent)
    }

    fn send_stats(&mut self, store: &mut dyn ObjectStore) {
        self.mgr.stats_dirty = false;
        self.mgr.stats_sent = self.mgr.stats_sent.wrapping_add(1);
        self.mgr.last_stats = self.now;
        let pg_stat: BTreeMap<PgId, PgStat> = self
            .pgs
            .iter_mut()
            .filter(|(_, s)| s.pg.is_primary())
            .map(|(id, s)| {
                let size = self.map.pool(id.pg.pool).map_or(0, |p| p.size.into());
                (id.pg, pg_stat(s.pg.status(), size))
            })
            .collect();
        let msg = MPgStats {
            fsid: self.map.fsid,
            osd_stat: self.osd_stat(store),
            pg_stat,
            epoch: self.map.epoch,
            ..MPgStats::default()
        };
        self.send_mgr(&msg);
    }

    /// The OSD's own numbers.
    pub(crate) fn osd_stat(&self, store: &dyn ObjectStore) -> OsdStat {
        // What is queued is applied at once: both are the time until it is durable, of late.
        let latency = self.mgr.journal.mean_ns();
        OsdStat {
            hb_peers: self.hb.peers().collect(),
            commit_latency_ns: latency,
            apply_latency_ns: latency,
            up_from: self.sb.mounted,
            seq: self.stats_seq(),
            num_pgs: self.pgs.len() as u32,
            statfs: self.statfs(store),
            num_osds: 1,
            ..OsdStat::default()
        }
    }

    fn statfs(&self, store: &dyn ObjectStore) -> StoreStatfs {
        let s = store.statfs();
        StoreStatfs {
            total: s.total,
            available: s.available,
            allocated: s.allocated as i64,
            data_stored: s.data_stored as i64,
            omap_allocated: s.omap_allocated as i64,
            internal_metadata: s.internal_metadata as i64,
            ..StoreStatfs::default()
        }
    }

    /// Ops that wait for a map or for their PG.
    pub(crate) fn waiting_ops(&self) -> impl Iterator<Item = (Utime, &Arc<ClientOp>, SpgId)> {
        self.waiting.iter().map(|w| (w.since, &w.op, w.pgid))
    }

    fn send_report(&mut self, store: &dyn ObjectStore) {
        self.mgr.last_report = self.now;
        self.mgr.journal = self.mgr.window.step(store.device_times().journal);
        let complaint = self.cfg.complaint_time;
        let (slow, oldest, which) = self.tracker.slow(self.waiting_ops(), self.now, complaint);
        if slow > 0 {
            let secs = oldest.as_secs();
            self.log(
                LogLevel::Warn,
                format!("reporting {slow} slow ops, oldest is {which}, blocked for {secs} s"),
            );
        }
        // Two halves: how many, and the age of the oldest in seconds.
        let metric = DaemonHealthMetric {
            kind: SLOW_OPS,
            value: u64::from(slow) | (oldest.as_secs().min(0xffff_ffff) << 32),
        };
        let counters = self.counters(store);
        let (declare_types, undeclare_types, packed) = self.mgr.declared.pack(&counters, self.mgr.threshold);
        let report = MMgrReport {
            daemon_name: self.cfg.whoami.to_string(),
            declare_types,
            undeclare_types,
            packed,
            daemon_health_metrics: vec![metric],
            config: self.mgr.news_of_config(),
            ..MMgrReport::default()
        };
        self.send_mgr(&report);
    }
}

/// A PG's report in stock's form.
fn pg_stat(s: PgStatus, pool_size: i64) -> PgStat {
    let c = &s.counters;
    let copies = pool_size.max(s.acting.len() as i64);
    let sum = ObjectStatSum {
        num_bytes: c.num_bytes,
        num_objects: c.num_objects,
        num_object_clones: c.num_clones,
        num_object_copies: c.num_objects * copies,
        num_objects_missing_on_primary: 0,
        num_objects_missing: s.objects_missing as i64,
        num_objects_degraded: s.objects_degraded as i64,
        num_objects_misplaced: s.objects_misplaced as i64,
        num_objects_unfound: s.objects_unfound as i64,
        num_whiteouts: c.num_whiteouts,
        num_objects_omap: c.num_objects_omap,
        num_omap_bytes: c.num_omap_bytes,
        num_omap_keys: c.num_omap_keys,
        num_rd: c.num_rd,
        num_rd_kb: c.num_rd_kb,
        num_wr: c.num_wr,
        num_wr_kb: c.num_wr_kb,
        num_objects_recovered: c.num_objects_recovered,
        num_bytes_recovered: c.num_bytes_recovered,
        ..ObjectStatSum::default()
    };
    let t = s.stamps;
    let [scrub, deep, clean] = [0, 1, 2].map(|n| s.scrub_stamps.get(n).copied().unwrap_or_default());
    PgStat {
        version: s.version,
        reported_seq: s.reported_seq,
        reported_epoch: s.reported_epoch,
        state: s.state,
        log_start: s.log_start,
        ondisk_log_start: s.log_start,
        created: s.created,
        last_epoch_clean: s.last_epoch_clean,
        stats: ObjectStatCollection { sum, ..ObjectStatCollection::default() },
        log_size: s.log_size as i64,
        ondisk_log_size: s.log_size as i64,
        up: s.up,
        acting: s.acting,
        up_primary: s.up_primary.unwrap_or(OsdId(-1)),
        acting_primary: s.acting_primary.unwrap_or(OsdId(-1)),
        mapping_epoch: s.mapping_epoch,
        blocked_by: s.blocked_by,
        snaptrimq_len: s.snaptrimq_len as u32,
        purged_snaps: s.purged_snaps.iter().map(|snap| (snap.0, 1)).collect(),
        last_scrub_stamp: scrub,
        last_deep_scrub_stamp: deep,
        last_clean_scrub_stamp: clean,
        last_fresh: t.last_fresh,
        last_change: t.last_change,
        last_active: t.last_active,
        last_clean: t.last_clean,
        last_unstale: t.last_unstale,
        last_undegraded: t.last_undegraded,
        last_fullsized: t.last_fullsized,
        last_peered: t.last_peered,
        ..PgStat::default()
    }
}
