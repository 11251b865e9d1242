//! [`MonCore`]: the monitor (and manager) as a pure machine.
//!
//! Invariants:
//! - State changes only by committed proposals. The leader makes them, one in flight; changes prepared meanwhile wait. Messages that
//!   want to change something while a proposal is in flight are kept and handled after its commit, in order.
//! - Nobody but the leader stages anything: what others are asked for and cannot answer from committed state goes to the leader.
//! - A reply that promises a change leaves only after the commit that holds it.
//! - What subscribers are told is committed, and nothing is answered while another member may know better (`readable`).
//! - A leader that loses its office forgets what it staged, and ends the sessions whose requests it cannot answer any more; their
//!   clients ask again, and [`crate::done`] keeps a change from being made twice.

use crate::auth::AuthMon;
use crate::authz;
use crate::commands;
use crate::config::{ConfigMon, number};
use crate::deferred::{self, Deferred};
use crate::done::{Answer, Asked, DoneLog};
use crate::event::{LogLevel, MemberNews, MonEffect, MonEvent, Peer, QuorumInfo, Role, SessionId};
use crate::health::HealthMon;
use crate::kv::{Batch, Kv, Proposal, VERSION_KEY};
use crate::leader;
use crate::log::LogMon;
use crate::looks::Looks;
use crate::mdsmon::MdsMon;
use crate::mgrmon::MgrMon;
use crate::mgrstat::MgrStat;
use crate::mgrsubs::KvVersions;
use crate::monmapmon::MonmapMon;
use crate::osdmon::OsdMon;
use crate::pgmap::PgMap;
use crate::session::Session;
use crate::slowdisks::SlowDisks;
use crate::table::{Table, encoded};
use bytes::Bytes;
use cephx::env::Env;
use cephx::keyserver::AuthConfig;
use messages::{Message, kinds};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::logentry::{AuthName as LogName, LogEntry, LogPrio};
use types::monmap::MonMap;
use types::{EntityName, EntityType, Fsid, Utime};

/// Bytes of what a daemon says of itself, in names and values; one that says more is not listened to.
const SELF_MAX: usize = 64 << 10;

/// Bytes of names and values.
pub(crate) fn bytes_of(texts: &BTreeMap<String, String>) -> usize {
    texts.iter().map(|(k, v)| k.len() + v.len()).sum()
}

/// True when a daemon says more of itself than anyone needs to know.
pub(crate) fn says_too_much(texts: &BTreeMap<String, String>) -> bool {
    bytes_of(texts) > SELF_MAX
}

/// What goes into one proposal comes from messages of so many bytes in all, or from a single one. One whose change turns out too large
/// for the log is so refused alone, and never with it what others asked for.
const BATCH_INPUT_BYTES: usize = 4 << 20;

/// What a monitor is told at start, and what the central configuration says to it.
#[derive(Clone, Debug, Default)]
pub struct MonConfig {
    /// Our name, without `mon.`.
    pub name: String,
    /// Options by name, from the configuration file and the command line.
    pub options: BTreeMap<String, String>,
    /// Those that go before the central configuration, as with stock: the file's, the command line's, and what was set while running; the value of
    /// each such source under stock's number for it (`CONF_*`).
    pub layers: BTreeMap<String, BTreeMap<i32, String>>,
    /// What the central configuration says to this monitor; kept by the core.
    pub central: BTreeMap<String, String>,
    /// Version text of `ceph versions` and `version`.
    pub version: String,
    /// Login policy.
    pub auth: AuthConfig,
}

impl MonConfig {
    /// An option as text: what was configured, else stock's default.
    pub fn opt(&self, name: &str) -> String {
        let central = self.central.get(name).filter(|_| !self.layers.contains_key(name));
        match central.or_else(|| self.options.get(name)) {
            Some(v) => v.clone(),
            None => crate::options::find(name).map_or_else(String::new, |o| o.default.to_owned()),
        }
    }
    /// An option as a number; stock's default when what was configured is none.
    pub fn num(&self, name: &str) -> f64 {
        let default = || crate::options::find(name).and_then(|o| number(o.default));
        number(&self.opt(name)).or_else(default).unwrap_or(0.0)
    }
    /// An option as a time.
    pub fn secs(&self, name: &str) -> Duration {
        Duration::from_secs_f64(self.num(name).clamp(0.0, SECONDS_MAX))
    }
    /// An option as a switch.
    pub fn flag(&self, name: &str) -> bool {
        let text = self.opt(name).trim().to_ascii_lowercase();
        matches!(text.as_str(), "true" | "yes" | "on") || text.parse::<i64>().is_ok_and(|n| n != 0)
    }
}

/// No option is a longer time than this.
const SECONDS_MAX: f64 = 1e9;

/// A monitor that cannot answer for so long lets its clients go to another one.
const UNSERVED_MAX: Duration = Duration::from_millis(2500);

/// How long changes by OSDs are gathered behind a new OSDMap, and in a cluster with how many sessions.
const GATHER: Duration = Duration::from_millis(100);
const GATHER_SESSIONS: usize = 200;

/// Something to do once the next commit happened.
#[derive(Debug)]
pub(crate) enum AfterCommit {
    Send(SessionId, Message),
    /// An answer that is remembered with the change.
    Answer(SessionId, Asked, Message),
    /// OSDMaps from this epoch on.
    Maps(SessionId, u32),
    /// Handle this message again.
    Retry(SessionId, Message),
    Local {
        token: u64,
        ret: i32,
        outs: String,
        data: Bytes,
    },
}

/// The machine. See the module's documentation.
pub struct MonCore {
    pub(crate) cfg: MonConfig,
    pub(crate) env: Rc<dyn Env>,
    pub(crate) now: Utime,
    pub(crate) kv: Kv,
    pub(crate) in_flight: Option<Proposal>,
    pub(crate) monmap: MonmapMon,
    pub(crate) osd: OsdMon,
    pub(crate) auth: AuthMon,
    pub(crate) config: ConfigMon,
    pub(crate) config_key: Table<Bytes>,
    pub(crate) log: LogMon,
    pub(crate) health: HealthMon,
    pub(crate) mgr: MgrMon,
    pub(crate) mgrstat: MgrStat,
    pub(crate) kv_versions: KvVersions,
    /// When digests for external managers were sent last.
    pub(crate) digests_sent: Utime,
    /// `get_command_descriptions` where the manager is an external one, until its commands change.
    pub(crate) described: Option<Bytes>,
    pub(crate) mds: MdsMon,
    pub(crate) mon_metadata: Table<BTreeMap<String, String>>,
    pub(crate) done: DoneLog,
    pub(crate) quorum: QuorumInfo,
    pub(crate) pgmap: PgMap,
    pub(crate) balancer: commands::Balancer,
    pub(crate) progress: crate::progress::Progress,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) started: Utime,
    /// Since when this monitor has led: what daemons report has been gathered from then on.
    pub(crate) office_since: Utime,
    /// What is seen of the members, and of our own store.
    pub(crate) looks: Looks,
    /// How fast OSDs' disks are; the leader's.
    pub(crate) slow_disks: SlowDisks,
    /// Since when a proposal has been in flight.
    in_flight_since: Utime,
    /// When the OSDMap changed last.
    map_changed: Utime,
    deferred: Deferred,
    after: Vec<AfterCommit>,
    after_in_flight: Vec<AfterCommit>,
    pub(crate) effects: Vec<MonEffect>,
    log_seq: u64,
    last_sample: Utime,
    required_features: u64,
    readable: bool,
    /// Since when we have not been able to answer anyone; `None` while we are.
    pub(crate) unserved_since: Option<Utime>,
    /// What the monitors of the quorum told about themselves; the leader's.
    pub(crate) members: BTreeMap<String, MemberNews>,
    /// What members told us as their leader before we knew that we are.
    pub(crate) early_news: BTreeMap<String, MemberNews>,
    /// Monitors that are being removed, and who waits for it.
    pub(crate) leaving: BTreeMap<String, Vec<AfterCommit>>,
    /// The next answer that is to wait waits for this monitor's removal.
    pub(crate) waits_for_leaving: Option<String>,
    /// Who asked last to join without being in the map, and when that was logged.
    pub(crate) refused_joiner: Option<(String, Utime)>,
    /// Members of the quorum as committed, learners too.
    pub(crate) member_names: Vec<String>,
}

impl AfterCommit {
    /// The session that waits.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self {
            AfterCommit::Send(id, _)
            | AfterCommit::Answer(id, _, _)
            | AfterCommit::Maps(id, _)
            | AfterCommit::Retry(id, _) => Some(*id),
            AfterCommit::Local { .. } => None,
        }
    }
}

impl MonCore {
    /// Opens a store that [`crate::mkfs`] made: `snapshot` is all of its keys.
    pub fn new(
        cfg: MonConfig,
        snapshot: BTreeMap<String, Bytes>,
        env: Rc<dyn Env>,
    ) -> Result<MonCore, String> {
        let now = env.now();
        let kv = Kv::new(snapshot);
        let monmap = MonmapMon::load(&kv)
            .ok_or("the store has no monmap: it was not made by --mkfs")?
            .map_err(|e| format!("the monmap in the store does not decode: {e}"))?;
        if monmap.map.rank_of(&cfg.name).is_none() {
            return Err(format!("mon.{} is not in the monmap", cfg.name));
        }
        let osd =
            OsdMon::load(&kv, now).map_err(|e| format!("the osdmap in the store does not decode: {e}"))?;
        let mut core = MonCore {
            monmap,
            osd,
            auth: AuthMon::load(&kv, &cfg.name, cephx::env::random_u64(&*env)),
            config: ConfigMon::load(&kv),
            config_key: Table::load("config-key/", &kv),
            log: LogMon::load(&kv),
            health: HealthMon::load(&kv),
            mgr: MgrMon::load(&kv, now),
            mgrstat: MgrStat::load(&kv),
            kv_versions: KvVersions::default(),
            digests_sent: Utime::ZERO,
            described: None,
            mds: MdsMon::load(&kv, now),
            mon_metadata: Table::load("mon/metadata/", &kv),
            done: DoneLog::load(&kv),
            quorum: QuorumInfo::default(),
            pgmap: PgMap::default(),
            balancer: commands::Balancer::default(),
            progress: Default::default(),
            sessions: BTreeMap::new(),
            started: now,
            office_since: now,
            looks: Looks::default(),
            slow_disks: SlowDisks::default(),
            in_flight_since: now,
            map_changed: Utime::ZERO,
            deferred: Deferred::default(),
            after: Vec::new(),
            after_in_flight: Vec::new(),
            effects: Vec::new(),
            log_seq: 0,
            last_sample: Utime::ZERO,
            required_features: 0,
            readable: false,
            // Until the quorum was heard, what is here may be anything: nobody is let in.
            unserved_since: Some(Utime::ZERO),
            members: BTreeMap::new(),
            early_news: BTreeMap::new(),
            leaving: BTreeMap::new(),
            waits_for_leaving: None,
            refused_joiner: None,
            member_names: Vec::new(),
            in_flight: None,
            kv,
            now,
            env,
            cfg,
        };
        core.osd_committed();
        core.read_central();
        core.follow_manager();
        core.kv_restarted();
        Ok(core)
    }

    /// The cluster's id.
    pub fn fsid(&self) -> Fsid {
        self.monmap.map.fsid
    }
    /// The committed OSDMap.
    pub fn osdmap(&self) -> &types::osdmap::OsdMap {
        &self.osd.map
    }
    /// The monitor map.
    pub fn monmap(&self) -> &MonMap {
        &self.monmap.map
    }
    /// The quorum as this monitor sees it.
    pub fn quorum(&self) -> &QuorumInfo {
        &self.quorum
    }
    /// The whole committed state, for a member that lacks too much of the history.
    pub fn snapshot(&self) -> Bytes {
        self.kv.snapshot()
    }
    /// True while this monitor is of use to its clients: it can answer, or was able to a moment ago.
    pub fn is_serving(&self, now: Utime) -> bool {
        self.unserved_since.is_none_or(|t| now.since(t) < UNSERVED_MAX)
    }
    /// True while messages are answered and forwarded.
    fn can_serve(&self) -> bool {
        self.readable && self.quorum.leader.is_some()
    }
    /// Our rank.
    pub fn rank(&self) -> usize {
        self.monmap.map.rank_of(&self.cfg.name).unwrap_or(0)
    }
    /// The auth service, for logins.
    pub fn auth(&self) -> &AuthMon {
        &self.auth
    }
    /// The auth service, to take global ids.
    pub fn auth_mut(&mut self) -> &mut AuthMon {
        &mut self.auth
    }
    /// What the central configuration says to this monitor.
    pub fn central(&self) -> &BTreeMap<String, String> {
        &self.cfg.central
    }
    /// Name of this monitor.
    pub fn name(&self) -> &str {
        &self.cfg.name
    }
    /// Last committed version.
    pub fn version(&self) -> u64 {
        self.kv.version()
    }
    /// Feature bits that peers must have.
    pub fn required_features(&self) -> u64 {
        self.required_features
    }

    /// The one entry: takes an event, gives what must be done.
    pub fn handle(&mut self, now: Utime, event: MonEvent) -> Vec<MonEffect> {
        self.now = now;
        self.one(event);
        self.flush();
        // What waited to be proposed by itself has its turn also when what it waited for was no proposal after all.
        let mut waiting = usize::MAX;
        while self.in_flight.is_none() && self.can_serve() && (1..waiting).contains(&self.deferred.len()) {
            waiting = self.deferred.len();
            self.handle_deferred();
            self.flush();
        }
        std::mem::take(&mut self.effects)
    }

    fn one(&mut self, event: MonEvent) {
        match event {
            MonEvent::Opened(id, peer) => {
                self.sessions.insert(id, Session::new(id, peer));
            }
            MonEvent::LoggedIn(id, peer) => {
                if let Some(s) = self.sessions.get_mut(&id) {
                    s.peer = peer;
                }
                self.send_monmap(id);
            }
            MonEvent::Closed(id) => {
                self.sessions.remove(&id);
                self.mgr.closed(id);
            }
            MonEvent::Message(id, msg) => self.message(id, msg),
            MonEvent::Committed(p) => self.committed(&p),
            MonEvent::Refused { version, why } => self.refused(version, why),
            MonEvent::Quorum(info) => self.quorum_changed(info),
            MonEvent::Readable(yes) => self.set_readable(yes),
            MonEvent::LeaderLost => self.leader_lost(),
            MonEvent::Installed(keys) => self.installed(keys),
            MonEvent::News(news) => self.take_news(news),
            MonEvent::Look(from, look) => self.looked_at(from, &look),
            MonEvent::Seen(from, seen) => self.take_seen(&from, &seen),
            MonEvent::Store(s) => self.looks.own_store(s),
            MonEvent::Routed(id, msg) => self.routed(id, msg),
            MonEvent::JoinAsked { name, node, addrs } => self.join_asked(&name, node, addrs),
            MonEvent::Members(names) => self.members_changed(&names),
            MonEvent::Expelled => self.expelled(),
            MonEvent::MemberRefused { name, why } => self.member_refused(&name, &why),
            MonEvent::Tick => self.tick(),
            MonEvent::LocalCommand { token, command } => self.local_command(token, command),
            MonEvent::NeedGlobalIds => self.ask_for_global_ids(),
            MonEvent::PendingKeyUsed(used) => self.pending_key_used(used),
            MonEvent::OptionChanged { name, value, layers } => {
                match layers.is_empty() {
                    true => drop(self.cfg.layers.remove(&name)),
                    false => drop(self.cfg.layers.insert(name.clone(), layers)),
                }
                self.cfg.options.insert(name, value);
            }
        }
    }

    pub(crate) fn set_readable_flag(&mut self, yes: bool) {
        self.readable = yes;
    }

    /// After the quorum or the lease changed: what waited is handled when we can answer, or the clock of patience starts.
    pub(crate) fn served_or_not(&mut self) {
        match self.can_serve() {
            true => {
                self.unserved_since = None;
                if self.in_flight.is_none() {
                    self.handle_deferred();
                }
            }
            false => drop(self.unserved_since.get_or_insert(self.now)),
        }
    }

    /// Replies that wait for a commit, taken away.
    pub(crate) fn take_waiting(&mut self) -> Vec<AfterCommit> {
        let mut all = std::mem::take(&mut self.after_in_flight);
        all.append(&mut self.after);
        all.extend(std::mem::take(&mut self.leaving).into_values().flatten());
        all
    }

    /// Replies that wait for the proposal in flight, taken away.
    pub(crate) fn take_unproposed(&mut self) -> Vec<AfterCommit> {
        std::mem::take(&mut self.after_in_flight)
    }

    /// Messages that wait are forgotten: their sessions end.
    pub(crate) fn drop_deferred(&mut self) {
        self.deferred.drop_messages();
    }

    /// It has to wait. Without room a session ends, so that who sent the message knows, and sends it again.
    pub(crate) fn defer(&mut self, event: MonEvent) {
        match self.deferred.push(event) {
            Ok(()) => {}
            Err(MonEvent::Message(id, msg)) => {
                let what = kinds::name(msg.header.kind);
                let line = format!("too much waits here already: session {id} ends with its {what}");
                self.effects.push(MonEffect::Log(LogLevel::Error, line));
                self.effects.push(MonEffect::Close(id));
            }
            Err(MonEvent::LocalCommand { token, .. }) => {
                let outs = "too much waits here already".to_owned();
                let (ret, data) = (types::Errno::EAGAIN.negated(), Bytes::new());
                self.effects.push(MonEffect::LocalReply { token, ret, outs, data });
            }
            // (The monitors' own always find room.)
            Err(_) => {}
        }
    }

    fn message(&mut self, id: SessionId, msg: Message) {
        let Some(s) = self.sessions.get(&id) else { return };
        match authz::message(&s.peer, msg.header.kind) {
            authz::Verdict::Allow => {}
            authz::Verdict::Ignore => {
                let what = kinds::name(msg.header.kind);
                let line = format!("ignoring {what} from {} ({})", s.peer.entity, s.peer.name);
                return self.effects.push(MonEffect::Log(LogLevel::Debug, line));
            }
        }
        if s.peer.role == Role::Mgr && self.mgr.external {
            // Whoever comes here has an old map.
            return self.effects.push(MonEffect::Close(id));
        }
        // What is told to this very daemon concerns nobody else.
        let told = msg.header.kind == kinds::COMMAND && s.peer.role == Role::Mon;
        if !told && !leader::answers_alone(&msg) {
            if !self.can_serve() {
                return self.defer(MonEvent::Message(id, msg));
            }
            if !self.quorum.leads && leader::is_for_leader(&msg) {
                return self.forward(id, msg);
            }
        }
        if self.quorum.leads
            && let Some(asked) = self.asked(id, &msg)
        {
            if let Some(answer) = self.done.answer(&asked) {
                let answer = answer.message(asked.tid);
                return self.send(id, answer);
            }
            if self.takes_over(id, &asked) {
                return;
            }
        }
        let alone = msg.len() > BATCH_INPUT_BYTES && self.dirty();
        if !told && (self.in_flight.is_some() || alone) && self.wants_to_write(&msg) {
            return self.defer(MonEvent::Message(id, msg));
        }
        if let Err(e) = self.dispatch(id, &msg) {
            let what = kinds::name(msg.header.kind);
            self.effects.push(MonEffect::Log(LogLevel::Error, format!("bad {what} from session {id}: {e}")));
            // A peer that sends what cannot be decoded is cut off, as the messenger of stock does.
            self.effects.push(MonEffect::Close(id));
        }
    }

    /// The request was made before and its answer waits for the commit: it goes to who asked last.
    fn takes_over(&mut self, id: SessionId, asked: &Asked) -> bool {
        let waiting = self.after.iter_mut().chain(self.leaving.values_mut().flatten());
        for a in waiting {
            if let AfterCommit::Answer(to, what, _) = a
                && what == asked
            {
                *to = id;
                return true;
            }
        }
        false
    }

    /// Who asked what, for requests whose answers are remembered.
    pub(crate) fn asked(&self, id: SessionId, msg: &Message) -> Option<Asked> {
        let h = &msg.header;
        let gid = self.sessions.get(&id)?.peer.global_id;
        let kept = matches!(h.kind, kinds::MON_COMMAND | kinds::POOLOP) && h.tid != 0 && gid != 0;
        kept.then_some(Asked { global_id: gid, kind: h.kind, tid: h.tid })
    }

    fn wants_to_write(&self, msg: &Message) -> bool {
        match msg.header.kind {
            kinds::MON_COMMAND | kinds::MGR_COMMAND | kinds::COMMAND => commands::message_writes(msg),
            kinds::POOLOP
            | kinds::OSD_BOOT
            | kinds::OSD_ALIVE
            | kinds::OSD_FAILURE
            | kinds::OSD_MARK_ME_DOWN
            | kinds::OSD_MARK_ME_DEAD
            | kinds::OSD_FULL
            | kinds::OSD_PGTEMP
            | kinds::OSD_PG_CREATED
            | kinds::OSD_PG_READY_TO_MERGE
            | kinds::MDS_BEACON
            | kinds::MDS_OFFLOAD_TARGETS
            | kinds::MGR_BEACON
            | kinds::MON_MGR_REPORT
            | kinds::LOG => true,
            _ => false,
        }
    }

    fn local_command(&mut self, token: u64, command: String) {
        let writes = commands::text_writes(&command);
        if writes && !self.quorum.leads {
            let outs = match &self.quorum.leader {
                Some(l) => format!("mon.{l} leads: ask there, or through the cluster"),
                None => "no quorum".to_owned(),
            };
            let (ret, data) = (types::Errno::EAGAIN.negated(), Bytes::new());
            return self.effects.push(MonEffect::LocalReply { token, ret, outs, data });
        }
        if self.in_flight.is_some() && writes {
            return self.defer(MonEvent::LocalCommand { token, command });
        }
        self.audit_own(&command);
        let ctx = commands::Ctx {
            entity: "client.admin".into(),
            role: Role::Local,
            input: Bytes::new(),
            session: None,
            way: authz::Way::Tell,
        };
        let (out, wait) = commands::run(self, &[command], &ctx);
        if wait {
            self.after.push(AfterCommit::Local { token, ret: out.ret, outs: out.outs, data: out.data });
        } else {
            self.effects.push(MonEffect::LocalReply { token, ret: out.ret, outs: out.outs, data: out.data });
        }
    }

    /// Sends at once.
    pub(crate) fn send(&mut self, id: SessionId, msg: Message) {
        self.effects.push(MonEffect::Send(id, msg));
    }
    /// Sends when what is staged now has been committed (at once when nothing is).
    pub(crate) fn send_after_commit(&mut self, id: SessionId, msg: Message) {
        self.after.push(AfterCommit::Send(id, msg));
    }

    /// Does something after the next commit.
    pub(crate) fn later(&mut self, a: AfterCommit) {
        match self.waits_for_leaving.take() {
            Some(name) => self.leaving.entry(name).or_default().push(a),
            None => self.after.push(a),
        }
    }

    /// Adds to the cluster log.
    pub(crate) fn clog(&mut self, channel: &str, prio: LogPrio, msg: String) {
        self.log_seq += 1;
        let rank = self.rank();
        let leads = self.quorum.leads;
        let addrs = self.monmap.map.addrs_of_rank(rank).cloned().unwrap_or_default();
        let entry = LogEntry {
            name: LogName::new(EntityType::MON, self.cfg.name.clone()),
            rank: EntityName::mon(rank as i64),
            addrs,
            stamp: self.now,
            seq: self.log_seq,
            prio,
            msg,
            channel: channel.to_owned(),
        };
        if leads {
            self.log.add(entry);
        } else {
            let name = self.cfg.name.clone();
            self.tell_leader(MemberNews { name, log: vec![entry], ..MemberNews::default() });
        }
    }

    fn dirty(&self) -> bool {
        self.osd.is_dirty()
            || self.auth.is_dirty()
            || self.config.values.is_dirty()
            || self.config.history.is_dirty()
            || self.config_key.is_dirty()
            || self.log.entries.is_dirty()
            || self.health.is_dirty()
            || self.mgr.is_dirty()
            || self.mgrstat.is_dirty()
            || self.mds.is_dirty()
            || self.mon_metadata.is_dirty()
            || self.monmap.is_dirty()
    }

    /// Proposes what is staged, if nothing is in flight; replies that wait for nothing leave.
    fn flush(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        if !self.quorum.leads && self.dirty() {
            // Only the leader changes anything: whoever staged this asked the wrong member.
            self.effects
                .push(MonEffect::Log(LogLevel::Error, "a change outside of the leader is dropped".into()));
            self.reload();
        }
        // What waits for nothing leaves; a message that is handled again may stage something new.
        while !self.dirty() {
            if self.after.is_empty() {
                return;
            }
            for a in std::mem::take(&mut self.after) {
                self.release(a);
            }
        }
        if self.gathers() {
            return;
        }
        let mut batch = Batch::default();
        self.osd.stage(&mut batch, self.now);
        self.auth.stage(&mut batch);
        self.config.stage(&mut batch);
        self.config_key.stage(&mut batch);
        self.log.stage(&mut batch);
        self.health.stage(&mut batch);
        self.mgr.stage(&mut batch);
        self.mgrstat.stage(&mut batch);
        self.mds.stage(&mut batch, self.now);
        self.mon_metadata.stage(&mut batch);
        self.monmap.stage(&mut batch);
        if batch.is_empty() {
            for a in std::mem::take(&mut self.after) {
                self.release(a);
            }
            return;
        }
        for a in &self.after {
            if let AfterCommit::Answer(_, asked, msg) = a {
                self.done.add(*asked, Answer::of(msg));
            }
        }
        self.done.stage(&mut batch);
        let version = self.kv.version() + 1;
        batch.put(VERSION_KEY, encoded(&version));
        let p = Proposal { version, batch };
        self.after_in_flight = std::mem::take(&mut self.after);
        self.in_flight = Some(p.clone());
        self.in_flight_since = self.now;
        self.effects.push(MonEffect::Propose(p));
    }

    /// In a large cluster each epoch is a message to very many. What OSDs themselves make of the map, as when all of them boot, is
    /// gathered for a moment; whoever else asks for something does not wait. The next event of any kind, or the next tick, goes on.
    fn gathers(&self) -> bool {
        let soon = self.now.since(self.map_changed) < GATHER;
        let is_osd = |id| self.sessions.get(&id).is_none_or(|s| s.osd_id().is_some());
        let for_osds = |a: &AfterCommit| a.session().is_some_and(is_osd);
        soon && self.sessions.len() >= GATHER_SESSIONS
            && self.osd.is_dirty()
            && !self.after.is_empty()
            && self.after.iter().all(for_osds)
    }

    fn release(&mut self, a: AfterCommit) {
        match a {
            AfterCommit::Send(id, msg) | AfterCommit::Answer(id, _, msg) => {
                self.effects.push(MonEffect::Send(id, msg))
            }
            AfterCommit::Maps(id, first) => self.send_osdmaps(id, first, false),
            AfterCommit::Retry(id, msg) => self.one(MonEvent::Message(id, msg)),
            AfterCommit::Local { token, ret, outs, data } => {
                self.effects.push(MonEffect::LocalReply { token, ret, outs, data });
            }
        }
    }

    fn committed(&mut self, p: &Proposal) {
        // One history: each batch follows the one before it, whoever proposed it.
        let expected = self.kv.version() + 1;
        assert_eq!(p.version, expected, "a batch is missing from the history");
        let own = self.in_flight.take().is_some();
        self.kv.apply(&p.batch);
        let map_before = self.quorum.leads.then(|| self.osd.map.clone());
        let osd = self.osd.commit(&p.batch);
        let auth = self.auth.commit(&p.batch);
        let config = self.config.commit(&p.batch);
        self.config_key.commit(&p.batch);
        let entries = self.log.commit(&p.batch);
        self.health.commit(&p.batch);
        let mgr = self.mgr.commit(&p.batch, self.now);
        let report = self.mgrstat.commit(&p.batch);
        let mds = self.mds.commit(&p.batch, self.now);
        self.mon_metadata.commit(&p.batch);
        let monmap = self.monmap.commit(&p.batch);
        self.done.commit(&p.batch);
        if osd {
            self.map_changed = self.now;
            if let Some(before) = map_before.as_ref().filter(|_| !self.mgr.external) {
                commands::progress_map_changed(self, before);
            }
            self.osd_committed();
            self.publish_osdmap();
        }
        if auth {
            self.effects.push(MonEffect::AuthChanged);
        }
        if mgr || report {
            self.follow_manager();
        }
        if self.quorum.leads && !self.mgr.map.available {
            // It waited for global ids.
            self.mgr_tick();
        }
        if config {
            self.read_central();
            self.publish_config();
        }
        self.kv_committed(&p.batch);
        if mgr {
            self.described = None;
            self.publish_mgrmap();
            if self.quorum.leads && self.mgr.external {
                let text = format!("mgrmap e{}: {}", self.mgr.map.epoch, commands::manager_line(self));
                self.clog("cluster", LogPrio::DEBUG, text);
            }
            self.end_manager_sessions();
        }
        if report {
            self.publish_servicemap();
        }
        if mds {
            self.publish_fsmap();
        }
        if !entries.is_empty() {
            self.publish_log(&entries);
        }
        if monmap {
            self.monmap_committed();
        }
        if own {
            for a in std::mem::take(&mut self.after_in_flight) {
                self.release(a);
            }
        }
        self.handle_deferred();
    }

    /// What waited is handled, into one next proposal (see [`BATCH_INPUT_BYTES`]).
    pub(crate) fn handle_deferred(&mut self) {
        let mut bytes = 0;
        for _ in 0..self.deferred.len() {
            let Some(e) = self.deferred.pop() else { break };
            bytes += deferred::bytes_of(&e);
            if bytes > BATCH_INPUT_BYTES && self.dirty() {
                return self.deferred.put_back(e);
            }
            self.one(e);
        }
    }

    /// After the OSDMap changed: what follows from it.
    pub(crate) fn osd_committed(&mut self) {
        let pools = self.osd.pool_pgs();
        self.pgmap.sync_pools(&pools, self.now);
        let up = self.osd.up_osds();
        self.pgmap.mark_stale(&up);
        let gone: Vec<_> = self.pgmap.osds.keys().copied().filter(|o| !self.osd.exists(*o)).collect();
        for o in gone {
            self.pgmap.remove_osd(o);
        }
        let need = self.osd.required_features();
        if need != self.required_features {
            self.required_features = need;
            self.effects.push(MonEffect::RequireFeatures(need));
        }
    }

    fn tick(&mut self) {
        self.end_unserved();
        if !self.can_serve() {
            return;
        }
        if !self.quorum.leads {
            if self.auth.wants_global_ids().is_some() {
                self.ask_for_global_ids();
            }
            return self.expire_sessions();
        }
        // Whoever comes now needs other maps than those who were told of the last change.
        self.osd.made.clear();
        if self.now.since(self.last_sample) >= Duration::from_secs(2) && !self.mgr.external {
            self.last_sample = self.now;
            self.pgmap.sample(self.now);
            self.slow_disks_tick();
        }
        self.looks_tick();
        self.digests_tick();
        if self.in_flight.is_some() {
            return;
        }
        let cfg = self.cfg.auth.clone();
        let env = self.env.clone();
        self.auth.tick(&cfg, &*env);
        self.mgr_tick();
        self.osd_tick();
        self.mds_tick();
        if !self.mgr.external {
            commands::balancer_tick(self);
            commands::progress_tick(self);
        }
        self.health_tick();
        self.expire_sessions();
    }

    /// Changes that have waited for the quorum for `age` or longer, and how long.
    pub(crate) fn slow_changes(&self, age: Duration) -> Option<(u64, Duration)> {
        let waited = self.in_flight.as_ref().map(|_| self.now.since(self.in_flight_since))?;
        let n = self.after_in_flight.len().max(1) + self.deferred.len();
        (waited >= age).then_some((n as u64, waited))
    }

    /// Sessions whose right ended, or whose entity was removed or lost its caps, end.
    fn expire_sessions(&mut self) {
        let gone: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|s| {
                s.peer.authenticated && s.peer.role == Role::Mon && !s.peer.entity.starts_with("mon.")
            })
            .filter(|s| {
                !self.cfg.auth.client_methods.contains(&msgr::auth::METHOD_NONE)
                    && self.auth.entities.get(&s.peer.entity).is_none()
            })
            .map(|s| s.id)
            .collect();
        for id in gone {
            self.effects.push(MonEffect::Close(id));
        }
    }

    /// Sessions of a peer on either listener.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Peer)> {
        self.sessions.iter().map(|(id, s)| (id, &s.peer))
    }
}
