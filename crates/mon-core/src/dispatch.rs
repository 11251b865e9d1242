//! One handler per message type.

use crate::authz;
use crate::commands::{self, Ctx};
use crate::core::{AfterCommit, MonCore, says_too_much};
use crate::done::Asked;
use crate::event::{MonEffect, Role, SessionId};
use crate::mgrbeacon::BEACON_MAX;
use crate::mgrmon::{Daemon, DaemonConfig};
use crate::mgrsubs::DIGEST;
use crate::session::SUBS_MAX;
use denc::DencError;
use messages::{
    MCommand, MCommandReply, MConfig, MGetPoolStats, MGetPoolStatsReply, MLog, MLogAck, MMgrCommand,
    MMgrCommandReply, MMgrConfigure, MMgrMap, MMgrOpen, MMgrReport, MMonCommand, MMonCommandAck,
    MMonGetOsdMap, MMonGetPurgedSnaps, MMonGetPurgedSnapsReply, MMonGetVersion, MMonGetVersionReply, MMonMap,
    MMonSubscribe, MPgStats, MPgStatsAck, MPing, MPoolOp, MStatfs, MStatfsReply, Message, PaxosHeader, kinds,
};
use std::collections::BTreeMap;
use types::logentry::LogEntry;
use types::osdmap::OsdMapIncremental;
use types::{EntityType, Epoch, OsdId};

/// Log entries taken from one message.
const LOG_ENTRIES_MAX: usize = 1000;

impl MonCore {
    pub(crate) fn dispatch(&mut self, id: SessionId, msg: &Message) -> Result<(), DencError> {
        match msg.header.kind {
            kinds::MON_GET_MAP => self.send_monmap(id),
            kinds::MON_SUBSCRIBE => self.subscribe(id, msg.decode()?),
            kinds::MON_GET_VERSION => self.get_version(id, msg.decode()?, msg.header.tid),
            kinds::MON_GET_OSDMAP => self.get_osdmap(id, msg.decode()?),
            kinds::MON_COMMAND => self.mon_command(id, msg.decode()?, msg.header.tid),
            kinds::COMMAND => self.tell_command(id, msg.decode()?, msg.header.tid),
            kinds::MGR_COMMAND => self.mgr_command(id, msg.decode()?, msg.header.tid),
            kinds::STATFS => self.statfs(id, msg.decode()?, msg.header.tid),
            kinds::GET_POOL_STATS => self.pool_stats(id, msg.decode()?, msg.header.tid),
            kinds::POOLOP => self.pool_op(id, msg.decode::<MPoolOp>()?, msg.header.tid),
            kinds::PING => self.ping(id),
            kinds::LOG => self.take_log(id, msg.decode()?),
            kinds::OSD_BOOT => self.osd_boot(id, msg.decode()?),
            kinds::OSD_ALIVE => self.osd_alive(id, msg.decode()?),
            kinds::OSD_FAILURE => self.osd_failure(id, msg.decode()?),
            kinds::OSD_MARK_ME_DOWN => self.osd_mark_me_down(id, msg.decode()?),
            kinds::OSD_MARK_ME_DEAD => self.osd_mark_me_dead(id, msg.decode()?),
            kinds::OSD_FULL => self.osd_full(id, msg.decode()?),
            kinds::OSD_BEACON => self.osd_beacon(id, msg.decode()?),
            kinds::OSD_PGTEMP => self.osd_pgtemp(id, msg.decode()?),
            kinds::OSD_PG_CREATED => self.osd_pg_created(id, msg.decode()?),
            kinds::MDS_BEACON => self.mds_beacon(id, msg.decode()?),
            kinds::MDS_OFFLOAD_TARGETS => self.mds_load_targets(msg.decode()?, id),
            kinds::MGR_BEACON if msg.front.len() <= BEACON_MAX => self.mgr_beacon(id, msg.decode()?),
            kinds::MON_MGR_REPORT if !self.report_is_too_large(msg.len()) => {
                self.mon_mgr_report(id, msg.decode()?)?
            }
            kinds::MON_GET_PURGED_SNAPS => self.get_purged_snaps(id, msg.decode()?, msg.header.tid),
            kinds::MGR_OPEN => self.mgr_open(id, msg.decode()?),
            kinds::MGR_REPORT => self.mgr_report(id, msg.decode()?),
            kinds::MGR_CLOSE => self.mgr.closed(id),
            kinds::PG_STATS => self.pg_stats(id, msg.decode()?, msg.header.tid),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn send_monmap(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let m = MMonMap::new(self.monmap(), f);
        self.send(id, Message::new(&m, f));
    }

    fn subscribe(&mut self, id: SessionId, m: MMonSubscribe) {
        let mut allowed = Vec::new();
        {
            let Some(s) = self.sessions.get_mut(&id) else { return };
            if !m.hostname.is_empty() && m.hostname.len() < 256 {
                s.hostname = m.hostname.clone();
            }
            for (what, item) in &m.what {
                // Stock's older name.
                let what = if what == "osdmap.full" { "osdmap" } else { what.as_str() };
                if !authz::subscription(&s.peer, what)
                    || (s.subs.len() >= SUBS_MAX && !s.subs.contains_key(what))
                {
                    continue;
                }
                if what.starts_with("log-") {
                    s.subs.retain(|k, _| !k.starts_with("log-"));
                }
                s.subs.insert(what.to_owned(), *item);
                allowed.push(what.to_owned());
            }
        }
        for what in allowed {
            match what.as_str() {
                DIGEST => {
                    let item = m.what.get(DIGEST).copied().unwrap_or_default();
                    self.digest_subscribed(id, item);
                }
                "monmap" => self.check_monmap_sub(id),
                "config" => self.check_config_sub(id, true),
                "mgrmap" => self.check_mgrmap_sub(id),
                "osdmap" => self.check_osdmap_sub(id),
                "osd_pg_creates" => self.check_pg_creates_sub(id),
                "servicemap" => self.check_servicemap_sub(id),
                w if w.starts_with("log-") => self.send_newest_log(id),
                w if w.starts_with("kv:") => self.check_kv_sub(id, w),
                w => self.check_fsmap_sub(id, w),
            }
        }
    }

    /// Takes a subscription's turn when `version` is new to it: true when it shall be sent.
    pub(crate) fn sub_due(&mut self, id: SessionId, what: &str, version: u64) -> bool {
        let Some(s) = self.sessions.get_mut(&id) else { return false };
        let Some(sub) = s.subs.get_mut(what) else { return false };
        if sub.start > version {
            return false;
        }
        if sub.is_onetime() {
            s.subs.remove(what);
        } else {
            sub.start = version + 1;
        }
        true
    }

    pub(crate) fn check_monmap_sub(&mut self, id: SessionId) {
        if self.sub_due(id, "monmap", self.monmap().epoch.0.into()) {
            self.send_monmap(id);
        }
    }

    pub(crate) fn check_mgrmap_sub(&mut self, id: SessionId) {
        if !self.sub_due(id, "mgrmap", self.mgr.map.epoch.0.into()) {
            return;
        }
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let m = MMgrMap { map: self.mgr.map.clone() };
        self.send(id, Message::new(&m, f));
    }

    pub(crate) fn publish_mgrmap(&mut self) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.check_mgrmap_sub(id);
        }
    }

    pub(crate) fn publish_servicemap(&mut self) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.check_servicemap_sub(id);
        }
    }

    /// Where the role is an external manager's, nobody is served on our own listener.
    pub(crate) fn end_manager_sessions(&mut self) {
        if self.mgr.external {
            let ours = self.sessions.values().filter(|s| s.peer.role == Role::Mgr);
            let ids: Vec<SessionId> = ours.map(|s| s.id).collect();
            self.effects.extend(ids.into_iter().map(MonEffect::Close));
        }
    }

    /// What a session is configured to.
    pub(crate) fn config_for(&self, id: SessionId) -> Option<BTreeMap<String, String>> {
        let s = self.sessions.get(&id)?;
        let class = s.osd_id().and_then(|o| crate::crushutil::class_of(&self.osd.map.crush, o)).unwrap_or("");
        let all = self.config.effective(&s.peer.entity, &s.hostname, class);
        Some(all.into_iter().map(|(k, (_, v))| (k, v)).collect())
    }

    pub(crate) fn check_config_sub(&mut self, id: SessionId, always: bool) {
        let Some(config) = self.config_for(id) else { return };
        let Some(s) = self.sessions.get_mut(&id) else { return };
        let Some(sub) = s.subs.get("config").copied() else { return };
        if !always && s.config_sent.as_ref() == Some(&config) {
            return;
        }
        if sub.is_onetime() {
            s.subs.remove("config");
        }
        s.config_sent = Some(config.clone());
        let f = s.features();
        self.send(id, Message::new(&MConfig { config }, f));
    }

    pub(crate) fn publish_config(&mut self) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.check_config_sub(id, false);
        }
    }

    /// Sends new cluster log entries to whoever watches.
    pub(crate) fn publish_log(&mut self, entries: &[LogEntry]) {
        let fsid = self.fsid();
        // librados shows a message only when its version is greater than the last one's.
        let paxos = PaxosHeader::new(self.version());
        let mut out = Vec::new();
        for s in self.sessions.values() {
            let Some(level) =
                s.subs.keys().find_map(|k| k.strip_prefix("log-")).and_then(crate::log::parse_level)
            else {
                continue;
            };
            let some: Vec<LogEntry> = entries.iter().filter(|e| e.prio.0 >= level.0).cloned().collect();
            if !some.is_empty() {
                let m = MLog { paxos, fsid, entries: some };
                out.push((s.id, Message::new(&m, s.features())));
            }
        }
        for (id, m) in out {
            self.send(id, m);
        }
    }

    /// Who begins to watch the log is told its newest entry, as by stock.
    fn send_newest_log(&mut self, id: SessionId) {
        let (fsid, version) = (self.fsid(), self.version());
        let Some(s) = self.sessions.get(&id) else { return };
        let begins = |(k, sub): (&String, &messages::mon::SubItem)| {
            let level = k.strip_prefix("log-").and_then(crate::log::parse_level)?;
            (sub.start == 0).then_some(level)
        };
        let Some(level) = s.subs.iter().find_map(begins) else { return };
        let entries: Vec<LogEntry> = self.log.last(1, level, "*").into_iter().cloned().collect();
        if !entries.is_empty() {
            let m = Message::new(&MLog { paxos: PaxosHeader::new(version), fsid, entries }, s.features());
            self.send(id, m);
        }
    }

    fn get_version(&mut self, id: SessionId, m: MMonGetVersion, tid: u64) {
        let (version, oldest_version): (u64, u64) = match m.what.as_str() {
            "osdmap" => (self.osd.map.epoch.0.into(), self.osd.first.into()),
            "monmap" => (self.monmap().epoch.0.into(), 1),
            "mgrmap" => (self.mgr.map.epoch.0.into(), 1),
            "fsmap" | "mdsmap" => (self.mds.map.epoch.0.into(), self.mds.first.into()),
            _ => return,
        };
        let r = MMonGetVersionReply { handle: m.handle, version, oldest_version };
        self.reply(id, &r, tid);
    }

    fn reply<P: messages::Payload>(&mut self, id: SessionId, p: &P, tid: u64) {
        let Some(s) = self.sessions.get(&id) else { return };
        let msg = Message::new(p, s.features()).with_tid(tid);
        self.send(id, msg);
    }

    pub(crate) fn reply_later<P: messages::Payload>(&mut self, id: SessionId, p: &P, tid: u64) {
        let Some(s) = self.sessions.get(&id) else { return };
        let msg = Message::new(p, s.features()).with_tid(tid);
        self.send_after_commit(id, msg);
    }

    /// The same for a request whose answer is remembered with the change that it made.
    pub(crate) fn answer_later<P: messages::Payload>(&mut self, id: SessionId, kind: u16, p: &P, tid: u64) {
        let Some(s) = self.sessions.get(&id) else { return };
        let gid = s.peer.global_id;
        let msg = Message::new(p, s.features()).with_tid(tid);
        let a = match tid != 0 && gid != 0 {
            true => AfterCommit::Answer(id, Asked { global_id: gid, kind, tid }, msg),
            false => AfterCommit::Send(id, msg),
        };
        self.later(a);
    }

    fn get_osdmap(&mut self, id: SessionId, m: MMonGetOsdMap) {
        let newest = self.osd.map.epoch.0;
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let mut r = messages::MOsdMap {
            fsid: self.fsid(),
            oldest: Epoch(self.osd.first),
            newest: Epoch(newest),
            ..messages::MOsdMap::default()
        };
        const MAX: usize = 40;
        let there = |e: &u32| self.osd.jump(*e).is_none_or(|behind| behind == *e);
        for e in (m.full_first.0.max(self.osd.first)..=m.full_last.0.min(newest)).filter(there).take(MAX) {
            if let Some(b) = self.osd.full_bytes(&self.kv, e, f) {
                r.maps.insert(Epoch(e), b);
            }
        }
        for e in (m.inc_first.0.max(self.osd.first)..=m.inc_last.0.min(newest)).filter(there).take(MAX) {
            if let Some(b) = self.osd.inc_bytes(&self.kv, e, f) {
                r.incremental_maps.insert(Epoch(e), b);
            }
        }
        self.send(id, Message::new(&r, f));
    }

    fn ctx(&self, id: SessionId, input: bytes::Bytes) -> Option<Ctx> {
        let s = self.sessions.get(&id)?;
        let way = authz::Way::Service;
        Some(Ctx { entity: s.peer.entity.clone(), role: s.peer.role, input, session: Some(id), way })
    }

    fn mon_command(&mut self, id: SessionId, m: MMonCommand, tid: u64) {
        let Some(ctx) = self.ctx(id, m.data.clone()) else { return };
        let ours = m.fsid == self.fsid() || m.fsid.is_zero();
        let (out, wait) = if ours { commands::run(self, &m.cmd, &ctx) } else { commands::wrong_fsid() };
        let version = self.version();
        let r = MMonCommandAck {
            paxos: PaxosHeader::new(version),
            r: out.ret,
            rs: out.outs,
            cmd: m.cmd,
            data: out.data,
        };
        match wait {
            // Keys are kept nowhere but where they belong; these commands can be repeated.
            true if commands::is_about_keys(&r.cmd) => self.reply_later(id, &r, tid),
            true => self.answer_later(id, kinds::MON_COMMAND, &r, tid),
            false => self.reply(id, &r, tid),
        }
    }

    fn tell_command(&mut self, id: SessionId, m: MCommand, tid: u64) {
        let Some(mut ctx) = self.ctx(id, m.data.clone()) else { return };
        // Without a cluster id it is an old client's command to the manager's service.
        if ctx.role != Role::Mgr || !m.fsid.is_zero() {
            ctx.way = authz::Way::Tell;
        }
        if ctx.role == Role::Mon
            && let Ok(args) = commands::Args::parse(&m.cmd)
        {
            let peer = self.sessions.get(&id).map(|s| &s.peer);
            let allowed = peer.is_some_and(|p| authz::command(p, authz::Way::Tell, &args));
            let text = m.cmd.concat();
            if allowed {
                self.audit_own(&text);
            }
            if commands::is_of_process(&args.prefix) {
                if allowed {
                    return self.effects.push(MonEffect::Tell { session: id, tid, command: text });
                }
                let r = types::Errno::EACCES.negated();
                let r = MCommandReply { r, rs: "insufficient caps".to_owned(), data: bytes::Bytes::new() };
                return self.reply(id, &r, tid);
            }
        }
        let (out, wait) = commands::run(self, &m.cmd, &ctx);
        let r = MCommandReply { r: out.ret, rs: out.outs, data: out.data };
        if wait { self.reply_later(id, &r, tid) } else { self.reply(id, &r, tid) }
    }

    fn mgr_command(&mut self, id: SessionId, m: MMgrCommand, tid: u64) {
        let Some(ctx) = self.ctx(id, m.data.clone()) else { return };
        let (out, wait) = commands::run(self, &m.cmd, &ctx);
        let r = MMgrCommandReply { r: out.ret, rs: out.outs, data: out.data };
        if wait { self.reply_later(id, &r, tid) } else { self.reply(id, &r, tid) }
    }

    fn ping(&mut self, id: SessionId) {
        let text = crate::fmt::pretty(&commands::pong(self));
        let Some(s) = self.sessions.get(&id) else { return };
        let m = Message::new(&MPing::with_text(&text), s.features());
        self.send(id, m);
    }

    fn statfs(&mut self, id: SessionId, m: MStatfs, tid: u64) {
        if m.fsid != self.fsid() {
            return;
        }
        let (total, used, avail, objects) = match m.data_pool.filter(|p| self.osd.map.pool(*p).is_some()) {
            Some(pool) => {
                let s = self.pgmap.pool_stat(pool);
                let used = commands::pool_used_bytes(self, pool);
                let avail = commands::pool_max_avail(self, pool);
                (used + avail, used, avail, s.stats.sum.num_objects.max(0) as u64)
            }
            None => {
                let s = self.pgmap.osd_sum();
                (s.total, s.used_raw(), s.available, self.pgmap.total().num_objects.max(0) as u64)
            }
        };
        let r = MStatfsReply {
            fsid: m.fsid,
            version: self.pgmap.version,
            kb: total / 1024,
            kb_used: used / 1024,
            kb_avail: avail / 1024,
            num_objects: objects,
        };
        self.reply(id, &r, tid);
    }

    fn pool_stats(&mut self, id: SessionId, m: MGetPoolStats, tid: u64) {
        if m.fsid != self.fsid() {
            return;
        }
        let mut pool_stats = BTreeMap::new();
        for name in &m.pools {
            if let Some(pool) = self.osd.map.pool_by_name(name) {
                pool_stats.insert(name.clone(), self.pgmap.pool_stat(pool));
            }
        }
        // Clients take per-pool space only when every OSD reports it.
        let per_pool = pool_stats.values().all(|p: &types::pgstat::PoolStat| p.num_store_stats > 0);
        let r = MGetPoolStatsReply {
            paxos: PaxosHeader::new(self.pgmap.version),
            fsid: m.fsid,
            pool_stats,
            per_pool,
        };
        self.reply(id, &r, tid);
    }

    fn take_log(&mut self, id: SessionId, m: MLog) {
        if m.fsid != self.fsid() {
            return;
        }
        let Some(s) = self.sessions.get(&id) else { return };
        let entity = s.peer.entity.clone();
        let Some(last) = m.entries.last() else { return };
        let ack = MLogAck { fsid: m.fsid, last: last.seq, channel: last.channel.clone() };
        for mut e in m.entries.into_iter().take(LOG_ENTRIES_MAX) {
            // Nobody speaks for someone else.
            if let Some(n) = types::logentry::AuthName::parse(&entity) {
                e.name = n;
            }
            self.log.add(e);
        }
        self.reply_later(id, &ack, 0);
    }

    fn get_purged_snaps(&mut self, id: SessionId, m: MMonGetPurgedSnaps, tid: u64) {
        let newest = self.osd.map.epoch.0;
        let start = m.start.0.max(self.osd.first);
        let last = m.last.0.min(newest);
        let mut purged_snaps = BTreeMap::new();
        for e in start..=last {
            let key = crate::kv::num_key("osdmap/inc/", e.into());
            let Some(inc) = self.kv.get(&key).and_then(|b| denc::from_bytes::<OsdMapIncremental>(b).ok())
            else {
                continue;
            };
            if inc.new_purged_snaps.is_empty() {
                continue;
            }
            purged_snaps.insert(Epoch(e), inc.new_purged_snaps);
        }
        let r = MMonGetPurgedSnapsReply {
            paxos: PaxosHeader::default(),
            start: Epoch(start),
            last: Epoch(last),
            purged_snaps,
        };
        self.reply(id, &r, tid);
    }

    fn mgr_open(&mut self, id: SessionId, m: MMgrOpen) {
        let Some(s) = self.sessions.get(&id) else { return };
        let (f, gid, s_kind) = (s.features(), s.peer.global_id, s.kind());
        let service = !m.service_name.is_empty() && m.service_daemon.is_some();
        // A daemon speaks for itself; a service's name is its own choice, but no daemon's.
        if matches!(m.service_name.as_str(), "mon" | "mgr" | "osd" | "mds" | "client") {
            return;
        }
        let name = match m.service_name.as_str() {
            "" => s.peer.entity.clone(),
            name => format!("{name}.{}", m.daemon_name),
        };
        let (metadata, status) = m.service_daemon.clone().unwrap_or_default();
        if says_too_much(&metadata) || says_too_much(&status) {
            return self.effects.push(MonEffect::Close(id));
        }
        let config = DaemonConfig::read(&m.config).unwrap_or_default();
        let d = Daemon { name, metadata, service, status, since: self.now, gid, config, ..Daemon::default() };
        self.mgr.daemons.insert(id, d);
        // Clients that are no service may count what they like: it is shown nowhere (a threshold above every priority).
        let daemon = !matches!(s_kind, EntityType::CLIENT) || service;
        let stats_threshold = if daemon { crate::counters::PRIORITY } else { 11 };
        let c = MMgrConfigure { stats_period_secs: 5, stats_threshold, ..MMgrConfigure::default() };
        self.send(id, Message::new(&c, f));
    }

    fn mgr_report(&mut self, id: SessionId, m: MMgrReport) {
        let Some(s) = self.sessions.get(&id) else { return };
        let (kind, gid, osd, now) = (s.kind(), s.peer.global_id, s.osd_id(), self.now);
        let Some(d) = self.mgr.daemons.get_mut(&id) else { return };
        let known = &mut self.mgr.known;
        let readable = match kind {
            EntityType::MDS => self.mds.take_report(gid, known, &m, now),
            EntityType::CLIENT if !d.service => true,
            _ => d.counters.take(known, &m, now).is_ok(),
        };
        if !readable {
            // It declares and counts otherwise than we do: it starts anew.
            return self.effects.push(MonEffect::Close(id));
        }
        if let Some(config) = DaemonConfig::read(&m.config) {
            d.config = config;
        }
        if let Some(osd) = osd {
            self.slow_disks.take(OsdId(osd), &d.counters, now);
        }
        if let Some(status) = m.daemon_status.filter(|s| !says_too_much(s)) {
            d.status = status;
        }
        const SLOW_OPS: u8 = 0;
        d.slow_ops = 0;
        for h in &m.daemon_health_metrics {
            if h.kind == SLOW_OPS {
                // Two halves: number (the lower one), and age of the oldest in seconds.
                d.tells_slow_ops = true;
                d.slow_ops = h.value & 0xffff_ffff;
                d.oldest_slow_secs = h.value >> 32;
            }
        }
    }

    fn pg_stats(&mut self, id: SessionId, m: MPgStats, tid: u64) {
        let Some(osd) = self.sessions.get(&id).and_then(|s| s.osd_id()).map(OsdId) else { return };
        if m.fsid != self.fsid() || !self.osd.map.is_up(osd) {
            return;
        }
        let mut ack = MPgStatsAck::default();
        let now = self.now;
        let unsaid = self.osd.map.pools.keys().filter(|p| !m.pool_stat.contains_key(*p));
        for pool in unsaid {
            self.pgmap.pool_statfs.remove(&(*pool, osd));
        }
        for (pool, s) in m.pool_stat {
            if self.osd.map.pool(pool).is_some() {
                self.pgmap.pool_statfs.insert((pool, osd), s);
            }
        }
        self.pgmap.apply_osd(osd, m.osd_stat, now);
        for (pg, stat) in m.pg_stat {
            ack.pg_stat.insert(pg, (stat.reported_seq, stat.reported_epoch));
            // A PG that someone serves has been created, however the report came about.
            if !self.osd.creating.is_empty() && stat.state & types::pgstat::pg_state::CREATING == 0 {
                self.osd.creating.remove(&pg.to_string());
            }
            self.pgmap.apply_pg(pg, stat, now);
        }
        self.reply(id, &ack, tid);
    }
}
