//! The quorum as the services see it: taking and leaving office, what only the leader answers and how it gets there, who joins and leaves.

use crate::auth::AuthMon;
use crate::commands;
use crate::config::ConfigMon;
use crate::core::{AfterCommit, MonCore, says_too_much};
use crate::done::{Answer, DoneLog};
use crate::event::{LogLevel, MemberNews, MonEffect, QuorumInfo, Role, SessionId, Unproposed, UsedPending};
use crate::health::HealthMon;
use crate::kv::Kv;
use crate::log::LogMon;
use crate::mdsmon::MdsMon;
use crate::mgrmon::MgrMon;
use crate::mgrstat::MgrStat;
use crate::monmapmon::MonmapMon;
use crate::osdmon::OsdMon;
use crate::pgmap::PgMap;
use crate::table::Table;
use bytes::Bytes;
use messages::{Message, MsgHeader, kinds};
use std::collections::BTreeMap;
use std::time::Duration;
use types::logentry::LogPrio;
use types::{AddrVec, Errno, Utime};

/// A message without an answer is taken for lost with the leader that it was handed to within so long.
const HANDED_MAX: Duration = Duration::from_secs(30);

/// How often it is logged that a monitor asks in vain to join.
const JOINER_TOLD: Duration = Duration::from_secs(60);

/// Messages that a monitor answers whatever the quorum is like: about itself.
pub(crate) fn answers_alone(msg: &Message) -> bool {
    msg.header.kind == kinds::PING || (msg.header.kind == kinds::COMMAND && !commands::message_writes(msg))
}

/// What only the leader answers: changes, and what needs the reports that only it gets. Everything else follows from committed state.
pub(crate) fn is_for_leader(msg: &Message) -> bool {
    match msg.header.kind {
        kinds::MON_GET_MAP
        | kinds::MON_SUBSCRIBE
        | kinds::MON_GET_VERSION
        | kinds::MON_GET_OSDMAP
        | kinds::MON_GET_PURGED_SNAPS => false,
        kinds::MON_COMMAND => !commands::is_from_committed(msg),
        _ => true,
    }
}

impl Answer {
    /// What is remembered of an answer.
    pub(crate) fn of(msg: &Message) -> Answer {
        let h = &msg.header;
        Answer {
            kind: h.kind,
            version: h.version,
            compat: h.compat,
            front: msg.front.clone(),
            data: msg.data.clone(),
        }
    }
    /// The answer again, to transaction `tid`.
    pub(crate) fn message(&self, tid: u64) -> Message {
        let header = MsgHeader {
            tid,
            kind: self.kind,
            priority: messages::PRIO_DEFAULT,
            version: self.version,
            compat: self.compat,
            ..MsgHeader::default()
        };
        Message { header, front: self.front.clone(), data: self.data.clone(), ..Message::default() }
    }
}

impl MonCore {
    /// Everything that follows from the committed keys, as at a start; what is staged is forgotten.
    pub(crate) fn reload(&mut self) {
        let kv = &self.kv;
        // Both decoded before: at the start, or when they were committed.
        if let Some(Ok(m)) = MonmapMon::load(kv) {
            self.monmap = m;
        }
        if let Ok(osd) = OsdMon::load(kv, self.now) {
            self.osd = osd;
        }
        let auth = AuthMon::load(kv, &self.cfg.name, self.auth.life());
        let old = std::mem::replace(&mut self.auth, auth);
        self.auth.keep_ids(&old);
        self.config = ConfigMon::load(kv);
        self.config_key = Table::load("config-key/", kv);
        self.log = LogMon::load(kv);
        self.health = HealthMon::load(kv);
        // What daemons report goes on as long as their sessions do.
        let mut mgr = MgrMon::load(kv, self.now);
        std::mem::swap(&mut mgr.daemons, &mut self.mgr.daemons);
        std::mem::swap(&mut mgr.known, &mut self.mgr.known);
        self.mgr = mgr;
        self.mgrstat = MgrStat::load(kv);
        self.described = None;
        let counters = std::mem::take(&mut self.mds.counters);
        self.mds = MdsMon::load(kv, self.now);
        self.mds.counters = counters;
        self.balancer = commands::Balancer::default();
        self.mon_metadata = Table::load("mon/metadata/", kv);
        self.done = DoneLog::load(kv);
        self.read_central();
        commands::load_progress(self);
    }

    /// The quorum changed, or our part in it.
    pub(crate) fn quorum_changed(&mut self, info: QuorumInfo) {
        let before = std::mem::replace(&mut self.quorum, info);
        let now = &self.quorum;
        if (before.leads, before.election_epoch, &before.quorum)
            != (now.leads, now.election_epoch, &now.quorum)
        {
            self.looks.restart();
        }
        if before.leads && !self.quorum.leads {
            self.leave_office();
        }
        if self.quorum.leader.as_ref().is_some_and(|l| *l != self.cfg.name) {
            self.early_news.clear();
        }
        if !before.leads && self.quorum.leads {
            self.take_office();
        } else if self.quorum.leads && before.quorum != self.quorum.quorum {
            self.quorum_grew_or_shrank(&before.quorum);
        }
        if before.leader != self.quorum.leader && !before.leads {
            self.leader_lost();
        }
        self.served_or_not();
    }

    fn take_office(&mut self) {
        self.reload();
        self.office_since = self.now;
        self.pgmap = PgMap::default();
        self.slow_disks = Default::default();
        self.osd_committed();
        self.follow_manager();
        self.members.retain(|name, _| *name == self.cfg.name);
        let (name, rank) = (self.cfg.name.clone(), self.rank());
        let others = self.quorum.quorum.len() > 1;
        if others || self.monmap().mons.len() > 1 {
            let quorum = self.quorum_ranks_text();
            self.clog(
                "cluster",
                LogPrio::INFO,
                format!(
                    "mon.{name} is new leader, mons {} in quorum (ranks {quorum})",
                    self.quorum.quorum.join(",")
                ),
            );
        } else {
            self.clog(
                "cluster",
                LogPrio::INFO,
                format!("mon.{name} is new leader, mons {name} in quorum (ranks {rank})"),
            );
        }
        self.stage_own();
        // Whoever saw us elected before we did has told us already, and does so once.
        for (name, news) in std::mem::take(&mut self.early_news) {
            if self.quorum.quorum.contains(&name) {
                self.take_news(news);
            }
        }
    }

    /// Stages what the leader itself has to say, as far as it is not committed.
    fn stage_own(&mut self) {
        let known =
            |(n, m): &(&String, &MemberNews)| self.monmap.map.mons.contains_key(*n) && !m.metadata.is_empty();
        for (name, m) in self.members.iter().filter(known) {
            self.mon_metadata.set(name.clone(), m.metadata.clone());
        }
        self.mgr_tick();
        let cfg = self.cfg.auth.clone();
        let env = self.env.clone();
        self.auth.tick(&cfg, &*env);
    }

    fn quorum_ranks_text(&self) -> String {
        self.quorum_ranks().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Ranks of those who are in the quorum, ascending.
    pub(crate) fn quorum_ranks(&self) -> Vec<usize> {
        let mut v: Vec<usize> = self.quorum.quorum.iter().filter_map(|n| self.monmap().rank_of(n)).collect();
        v.sort_unstable();
        v
    }

    /// Names of those who are in the quorum, by rank.
    pub(crate) fn quorum_names(&self) -> Vec<String> {
        self.quorum_ranks().into_iter().filter_map(|r| self.monmap().ranks.get(r).cloned()).collect()
    }

    fn quorum_grew_or_shrank(&mut self, before: &[String]) {
        let now = self.quorum.quorum.clone();
        for n in now.iter().filter(|n| !before.contains(n)) {
            self.clog("cluster", LogPrio::INFO, format!("mon.{n} joined the quorum"));
        }
        for n in before.iter().filter(|n| !now.contains(n)) {
            self.clog("cluster", LogPrio::WARN, format!("mon.{n} left the quorum"));
        }
        if self.in_flight.is_none() {
            self.mgr_tick();
        }
    }

    /// What was staged is nobody's any more, and who waits for it must ask again.
    fn leave_office(&mut self) {
        self.in_flight = None;
        for a in self.take_waiting() {
            match a {
                AfterCommit::Local { token, .. } => {
                    let (ret, outs) = (Errno::EAGAIN.negated(), "the leader changed: unknown".to_owned());
                    self.effects.push(MonEffect::LocalReply { token, ret, outs, data: Bytes::new() });
                }
                a => self.effects.extend(a.session().map(MonEffect::Close)),
            }
        }
        self.reload();
        self.pgmap = PgMap::default();
        self.slow_disks = Default::default();
        self.osd_committed();
        self.follow_manager();
        self.members.retain(|name, _| *name == self.cfg.name);
        // Daemons report to the manager that the next map names.
        let reports: Vec<SessionId> =
            self.sessions.values().filter(|s| s.peer.role == Role::Mgr).map(|s| s.id).collect();
        self.effects.extend(reports.into_iter().map(MonEffect::Close));
    }

    /// What the leader was handed and did not answer may be lost: its senders must ask again.
    pub(crate) fn leader_lost(&mut self) {
        if self.quorum.leads {
            return;
        }
        let now = self.now;
        let lost: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|s| !s.handed.is_empty() || s.handed_at.is_some_and(|at| now.since(at) < HANDED_MAX))
            .map(|s| s.id)
            .collect();
        self.effects.extend(lost.into_iter().map(MonEffect::Close));
        if self.quorum.leader.is_some() {
            // The (new) leader knows nothing of us yet.
            let name = self.cfg.name.clone();
            let news = self.members.get(&name).cloned().unwrap_or_default();
            let wants = self.auth.wants_global_ids();
            self.tell_leader(MemberNews { name, wants_global_ids: wants, ..news });
        }
    }

    /// Tells the leader, if there is one and it is not this monitor (which has yet to take its office).
    pub(crate) fn tell_leader(&mut self, news: MemberNews) {
        if self.quorum.leader.as_ref().is_some_and(|l| *l != self.cfg.name) {
            self.effects.push(MonEffect::TellLeader(news));
        }
    }

    /// Hands a session's message to the leader.
    pub(crate) fn forward(&mut self, id: SessionId, msg: Message) {
        let Some(s) = self.sessions.get_mut(&id) else { return };
        if s.peer.role == Role::Mgr && msg.header.kind != kinds::MGR_COMMAND {
            // Reports belong to the active manager; who brings them here has an old map.
            return;
        }
        if has_answer(msg.header.kind) {
            s.handed.insert(msg.header.tid);
        } else {
            s.handed_at = Some(self.now);
        }
        let peer = s.peer.clone();
        self.effects.push(MonEffect::Forward(id, peer, msg));
    }

    /// The leader's answer.
    pub(crate) fn routed(&mut self, id: SessionId, msg: Message) {
        let Some(s) = self.sessions.get_mut(&id) else { return };
        s.handed.remove(&msg.header.tid);
        self.send(id, msg);
    }

    pub(crate) fn ask_for_global_ids(&mut self) {
        let name = self.cfg.name.clone();
        if self.quorum.leads {
            return self.auth.reserve_global_ids(&name, self.auth.life());
        }
        self.tell_leader(MemberNews {
            name,
            wants_global_ids: Some(self.auth.life()),
            ..MemberNews::default()
        });
    }

    /// A login here used a pending key. Should this not reach a leader, the next login with it says it again; both keys are good until then.
    pub(crate) fn pending_key_used(&mut self, used: UsedPending) {
        let name = self.cfg.name.clone();
        self.take_news(MemberNews { name, used_pending: Some(used), ..MemberNews::default() });
    }

    /// A member said something about itself; our own news come this way too, and are kept to be told to each leader.
    pub(crate) fn take_news(&mut self, mut news: MemberNews) {
        if says_too_much(&news.metadata) {
            let line = format!("the metadata of mon.{} is too large: it is not kept", news.name);
            self.effects.push(MonEffect::Log(LogLevel::Error, line));
            news.metadata.clear();
        }
        if news.name == self.cfg.name && !news.mgr_addrs.0.is_empty() {
            let own =
                MemberNews { wants_global_ids: None, used_pending: None, log: Vec::new(), ..news.clone() };
            self.members.insert(news.name.clone(), own);
            self.read_central();
        }
        if !self.quorum.leads {
            if news.name == self.cfg.name {
                self.tell_leader(news);
            } else if self.monmap().mons.contains_key(&news.name) && !news.mgr_addrs.0.is_empty() {
                self.early_news.insert(news.name.clone(), news);
            }
            return;
        }
        if self.in_flight.is_some() {
            return self.defer(crate::event::MonEvent::News(news));
        }
        for e in news.log {
            self.log.add(e);
        }
        if let Some(life) = news.wants_global_ids {
            self.auth.reserve_global_ids(&news.name, life);
        }
        if let Some((name, proof)) = news.used_pending {
            self.auth.take_pending(&name, &proof);
        }
        if !self.monmap().mons.contains_key(&news.name) {
            return;
        }
        if !news.metadata.is_empty() {
            self.mon_metadata.set(news.name.clone(), news.metadata.clone());
        }
        if !news.mgr_addrs.0.is_empty() {
            self.members.insert(
                news.name.clone(),
                MemberNews {
                    log: Vec::new(),
                    ..MemberNews {
                        name: news.name.clone(),
                        mgr_addrs: news.mgr_addrs,
                        metadata: news.metadata,
                        ..MemberNews::default()
                    }
                },
            );
            self.mgr_tick();
        }
    }

    /// The leader is the active manager, the others of the quorum that said where they listen stand by.
    pub(crate) fn builtin_mgr_tick(&mut self) {
        let Some(own) = self.members.get(&self.cfg.name) else { return };
        let addrs = own.mgr_addrs.clone();
        let standbys: Vec<String> = self
            .quorum
            .quorum
            .iter()
            .filter(|n| **n != self.cfg.name && self.members.contains_key(*n))
            .cloned()
            .collect();
        let auth = &mut self.auth;
        self.mgr.activate(&self.cfg.name, &addrs, &standbys, self.now, || auth.new_global_id());
    }

    pub(crate) fn set_readable(&mut self, yes: bool) {
        self.set_readable_flag(yes);
        self.served_or_not();
    }

    /// The quorum did not take a proposal: nothing of it happened.
    pub(crate) fn refused(&mut self, version: u64, why: Unproposed) {
        let Some(p) = self.in_flight.as_ref().filter(|p| p.version == version) else { return };
        let why = match why {
            Unproposed::NotNow(why) => why,
            Unproposed::TooLarge { max } => {
                let bytes = p.batch.len_bytes();
                return self.refused_for_good(version, bytes, max);
            }
        };
        let line = format!("the quorum refused batch {version}: {why}");
        self.effects.push(MonEffect::Log(LogLevel::Error, line));
        let leads = std::mem::replace(&mut self.quorum.leads, false);
        self.leave_office();
        self.quorum.leads = leads;
        if leads {
            self.take_office();
        }
    }

    /// What is too large for the log will be so the next time: whoever wants it is told, and it is forgotten. (Were the session ended, its
    /// client would ask again, and again.) Nobody else waits for it: see `BATCH_INPUT_BYTES`.
    fn refused_for_good(&mut self, version: u64, bytes: usize, max: usize) {
        let text =
            format!("this change takes {bytes} bytes, more than the {max} of an entry of the monitors' log");
        let line = format!("batch {version} is dropped: {text}");
        self.effects.push(MonEffect::Log(LogLevel::Error, line));
        for a in self.take_unproposed() {
            match a {
                AfterCommit::Local { token, .. } => {
                    let (ret, outs) = (Errno::EFBIG.negated(), text.clone());
                    self.effects.push(MonEffect::LocalReply { token, ret, outs, data: Bytes::new() });
                }
                AfterCommit::Answer(id, _, msg) | AfterCommit::Send(id, msg) => {
                    match commands::refused_instead(&msg, Errno::EFBIG, &text) {
                        Some(m) => self.send(id, m),
                        None => self.effects.push(MonEffect::Close(id)),
                    }
                }
                a => self.effects.extend(a.session().map(MonEffect::Close)),
            }
        }
        self.in_flight = None;
        self.reload();
        self.osd_committed();
        self.stage_own();
    }

    /// The quorum's state replaces ours.
    pub(crate) fn installed(&mut self, keys: BTreeMap<String, Bytes>) {
        self.kv = Kv::new(keys);
        self.reload();
        self.monmap_committed();
        self.osd_committed();
        self.follow_manager();
        self.publish_osdmap();
        self.publish_mgrmap();
        self.kv_restarted();
        self.publish_config();
        self.effects.push(MonEffect::AuthChanged);
    }

    /// The monitor map changed: subscribers and the shell want to know.
    pub(crate) fn monmap_committed(&mut self) {
        self.effects.push(MonEffect::MonmapChanged);
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.check_monmap_sub(id);
        }
    }

    /// Someone who holds the monitors' key wants in. Who was not added by an operator stays out.
    pub(crate) fn join_asked(&mut self, name: &str, node: u64, addrs: AddrVec) {
        if !self.quorum.leads || self.leaving.contains_key(name) {
            return;
        }
        let Some(info) = self.monmap().mons.get(name) else {
            // It asks several times a second.
            let last = self.refused_joiner.replace((name.to_owned(), self.now));
            if let Some((who, at)) = last
                && who == name
                && self.now.since(at) < JOINER_TOLD
            {
                self.refused_joiner = Some((who, at));
                return;
            }
            let line = format!(
                "mon.{name} ({addrs}) asks to join, but is not in the monmap: ceph mon add {name} ADDRESS"
            );
            return self.effects.push(MonEffect::Log(LogLevel::Info, line));
        };
        if !addrs.0.is_empty() && info.public_addrs != addrs && self.in_flight.is_none() {
            self.monmap.set(name, addrs, self.now);
        }
        self.effects.push(MonEffect::Admit { name: name.to_owned(), node });
    }

    /// Starts the removal of a monitor. The answer that is given next waits until it is out of the map.
    pub(crate) fn expel(&mut self, name: &str) {
        if !self.member_names.iter().any(|n| n == name) {
            // It never joined.
            self.monmap.remove(name, self.now);
            return self.mon_metadata.remove(name);
        }
        self.leaving.entry(name.to_owned()).or_default();
        self.waits_for_leaving = Some(name.to_owned());
        self.effects.push(MonEffect::Expel(name.to_owned()));
    }

    /// The quorum's members are these now: who was to leave and has left goes out of the monitor map.
    pub(crate) fn members_changed(&mut self, names: &[String]) {
        self.member_names = names.to_vec();
        if !self.quorum.leads {
            return;
        }
        let gone: Vec<String> = self.leaving.keys().filter(|n| !names.contains(n)).cloned().collect();
        if !gone.is_empty() && self.in_flight.is_some() {
            return self.defer(crate::event::MonEvent::Members(names.to_vec()));
        }
        for name in gone {
            self.monmap.remove(&name, self.now);
            self.mon_metadata.remove(&name);
            self.clog("cluster", LogPrio::INFO, format!("mon.{name} was removed from the monitor map"));
            for a in self.leaving.remove(&name).unwrap_or_default() {
                self.later(a);
            }
        }
    }

    /// The quorum did not take a change of its members.
    pub(crate) fn member_refused(&mut self, name: &str, why: &str) {
        self.effects.push(MonEffect::Log(LogLevel::Error, format!("quorum: mon.{name}: {why}")));
        for a in self.leaving.remove(name).unwrap_or_default() {
            if let AfterCommit::Answer(id, _, msg) | AfterCommit::Send(id, msg) = a {
                let text = format!("mon.{name} cannot leave now: {why}");
                match commands::refused_instead(&msg, Errno::EBUSY, &text) {
                    Some(m) => self.send(id, m),
                    None => self.effects.push(MonEffect::Close(id)),
                }
            }
        }
    }

    /// Clients of a monitor that has been out of the quorum for long find another one.
    pub(crate) fn end_unserved(&mut self) {
        if !self.is_serving(self.now) {
            self.end_sessions();
        }
    }

    /// Nobody is served here any more: clients need not wait until they find out.
    pub(crate) fn expelled(&mut self) {
        self.unserved_since = Some(Utime::ZERO);
        self.end_sessions();
    }

    fn end_sessions(&mut self) {
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        self.effects.extend(all.into_iter().map(MonEffect::Close));
        self.drop_deferred();
    }
}

/// Does a request of this kind get an answer with its transaction id?
fn has_answer(kind: u16) -> bool {
    matches!(
        kind,
        kinds::MON_COMMAND
            | kinds::MGR_COMMAND
            | kinds::COMMAND
            | kinds::POOLOP
            | kinds::STATFS
            | kinds::GET_POOL_STATS
    )
}
