//! [`Quorum`]: one member as a pure machine around the `raft` crate.
//!
//! Invariants:
//! - A message that promises something durable (a vote, a term, entries stored) leaves only after [`Event::Persisted`] for the
//!   transaction that holds it. Exceptions that promise nothing: the leader's appends in a term that is durable, and answers to
//!   heartbeats.
//! - Entries are given out once, in order, without gaps, and only when no lease holder could still answer without them
//!   ([`crate::lease`]).
//! - A member helps nobody into office while a promise to the leader may be in force, its own forgotten ones included.
//! - The library's own election timers (and its dice) are not used: a follower is never ticked.

use crate::codec::{
    ENTRY_BYTES_MAX, Echo, Envelope, SNAPSHOT_BYTES_MAX, SnapshotBody, has_encoding, put_entry, to_bytes,
};
use crate::config::{Config, Dice, Moment, NodeId, planted};
use crate::disk::{self, LoadError, Loaded, Meta};
use crate::event::{Commit, Effect, Event, InstalledState, Member, Payload, Persist, Refusal};
use crate::guard::{Fault, Seen};
use crate::lease::{FollowerLease, LeaderLeases};
use crate::log::{MemLog, Point};
use crate::members::Wants;
use bytes::Bytes;
use denc::{Encoder, Features};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{RawNode, SnapshotStatus, StateRole};
use std::collections::{BTreeMap, VecDeque};

/// Elections that a member may have missed. A peer could otherwise use up all terms with one message.
const TERM_JUMP_MAX: u64 = 1 << 32;

/// A transaction that is on its way to the disk, and what waits for it.
struct Pending {
    token: u64,
    /// Raft's number of the batch of changes that the transaction completes.
    number: u64,
    /// Our term as the transaction stores it.
    term: u64,
    messages: Vec<Message>,
    install: Option<Installed>,
}

struct Installed {
    index: u64,
    state: Bytes,
}

/// What only a leader has.
pub(crate) struct Leading {
    pub term: u64,
    /// Index of the first entry of this term: once it is applied, so is all that was committed before.
    first: u64,
    pub ready: bool,
    pub leases: LeaderLeases,
    pub next_tick: Moment,
    /// Since when a snapshot is on its way to a member.
    snapshots: BTreeMap<u64, Moment>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    Leader(u64),
    Follower(u64, Option<NodeId>),
}

/// See the module's documentation.
pub struct Quorum {
    pub(crate) cfg: Config,
    pub(crate) id: u64,
    pub(crate) raw: RawNode<MemLog>,
    pub(crate) now: Moment,
    dice: Dice,
    started: Moment,
    election_at: Moment,
    /// Until when vote requests are dropped.
    promise_until: Moment,
    last_token: u64,
    last_number: u64,
    pending: VecDeque<Pending>,
    durable_term: u64,
    /// Committed, not shown yet.
    delivered: VecDeque<Entry>,
    /// Last index that Raft has handed out.
    pub(crate) handed: u64,
    /// Last index that was given to the state machine.
    pub(crate) applied: u64,
    /// Entries up to here may be shown.
    visible: u64,
    /// Our open proposals: index to term and tag.
    tags: BTreeMap<u64, (u64, u64)>,
    pub(crate) leading: Option<Leading>,
    pub(crate) following: FollowerLease,
    pub(crate) members_changed: Moment,
    pub(crate) wants: Wants,
    announced: Option<Announced>,
    pub(crate) snapshot_asked: Option<Moment>,
    nudge: bool,
    /// Our store lost entries: whatever we say or vote could lose them for everybody.
    broken: bool,
    pub(crate) stable_since: Moment,
    stable: (u64, Vec<u64>),
    pub(crate) effects: Vec<Effect>,
}

fn raft_config(id: u64, cfg: &Config, applied: u64) -> raft::Config {
    let ticks = (cfg.timing.election.as_micros() / cfg.timing.heartbeat.as_micros().max(1)).max(3) as usize;
    raft::Config {
        id,
        applied,
        heartbeat_tick: 1,
        election_tick: ticks,
        min_election_tick: ticks,
        // An empty range of one: the library's dice have nothing to decide.
        max_election_tick: ticks + 1,
        max_size_per_msg: cfg.limits.message_bytes,
        max_inflight_msgs: 64,
        max_uncommitted_size: cfg.limits.uncommitted_bytes.max(cfg.limits.message_bytes),
        check_quorum: true,
        pre_vote: true,
        ..raft::Config::default()
    }
}

impl Quorum {
    /// Starts from what the shell read.
    pub fn new(cfg: Config, loaded: &Loaded, now: Moment) -> Result<Quorum, LoadError> {
        cfg.timing.check()?;
        let (id, log, took_part) = disk::open(loaded)?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let durable_term = log.hard_state.term;
        let raw = RawNode::new(&raft_config(id, &cfg, loaded.applied), log, &logger)
            .map_err(|_| LoadError::Refused)?;
        let mut dice = Dice::new(cfg.seed ^ id);
        let alone = raw.store().conf.voters == [id];
        let election_at = match alone {
            true => now,
            false => now.plus(cfg.timing.election + dice.up_to(cfg.timing.election)),
        };
        let promise_until = match took_part && !alone && !planted!(cfg, ForgetsPromise) {
            true => now.plus(cfg.timing.promise()),
            false => Moment::default(),
        };
        Ok(Quorum {
            id,
            raw,
            now,
            dice,
            started: now,
            election_at,
            promise_until,
            last_token: 0,
            last_number: 0,
            pending: VecDeque::new(),
            durable_term,
            delivered: VecDeque::new(),
            handed: loaded.applied,
            applied: loaded.applied,
            visible: loaded.applied,
            tags: BTreeMap::new(),
            leading: None,
            following: FollowerLease::default(),
            members_changed: now,
            wants: Wants::default(),
            announced: None,
            snapshot_asked: None,
            nudge: false,
            broken: false,
            stable_since: now,
            stable: (0, Vec::new()),
            effects: Vec::new(),
            cfg,
        })
    }

    /// Our identity.
    pub fn id(&self) -> NodeId {
        NodeId(self.id)
    }

    /// The one entry: takes an event, gives what must be done.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        if self.broken {
            return Vec::new();
        }
        // After a long stop (a debugger, a suspended host) messages of the leader may wait unread: hear them first.
        let stopped = now.since(self.now) > self.cfg.timing.election / 2;
        self.now = self.now.max(now);
        if stopped && !self.alone() {
            let soon =
                self.now.plus(self.cfg.timing.election / 4 + self.dice.up_to(self.cfg.timing.election / 2));
            self.election_at = self.election_at.max(soon);
        }
        self.timers();
        match event {
            Event::Tick => {}
            Event::Propose { tag, data } => self.propose(tag, data),
            Event::Message { from, data } => self.message(from, &data),
            Event::Persisted(token) => self.persisted(token),
            Event::Applied(index) => {
                self.settle();
                self.compact(index);
            }
            Event::PeerUp(_) => {}
            Event::PeerDown(id) => self.peer_down(id),
            Event::Snapshot { index, data } => self.offer_snapshot(index, data),
            Event::Add { id, name } => self.want_member(id, name),
            Event::Remove { name } => self.want_gone(name),
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// When [`Event::Tick`] is wanted at the latest.
    pub fn deadline(&self) -> Moment {
        if self.broken {
            return Moment(u64::MAX);
        }
        match &self.leading {
            Some(l) if self.handed > self.visible => {
                l.leases.next_expiry().map_or(l.next_tick, |at| at.min(l.next_tick))
            }
            Some(l) => l.next_tick,
            None => self.election_at,
        }
    }

    /// May reads and subscriptions be answered from the state machine now?
    pub fn readable(&self, now: Moment) -> bool {
        let now = now.max(self.now);
        if self.broken || !self.is_voter(self.id) {
            return false;
        }
        match &self.leading {
            Some(l) => l.ready && self.covered(l, now),
            None => {
                let raft = &self.raw.raft;
                raft.state == StateRole::Follower
                    && self.following.holds(raft.leader_id, raft.term, now)
                    && self.applied >= raft.raft_log.last_index()
                    && self.applied >= self.visible
            }
        }
    }

    pub(crate) fn conf(&self) -> &crate::codec::Conf {
        &self.raw.store().conf
    }
    pub(crate) fn is_voter(&self, id: u64) -> bool {
        self.conf().voters.contains(&id)
    }
    fn alone(&self) -> bool {
        self.conf().voters == [self.id]
    }
    fn covered(&self, l: &Leading, now: Moment) -> bool {
        planted!(self.cfg, LeaseWithoutQuorum) || l.leases.covered(&self.conf().voters, now)
    }
    pub(crate) fn leader_id(&self) -> Option<NodeId> {
        match (&self.leading, self.raw.raft.leader_id) {
            (_, 0) => None,
            (None, id) if id == self.id => None,
            (_, id) => Some(NodeId(id)),
        }
    }

    fn timers(&mut self) {
        if self.raw.raft.state == StateRole::Leader {
            let due = self.leading.as_ref().is_some_and(|l| l.next_tick <= self.now);
            if due {
                self.raw.tick();
                self.retry_snapshots();
                if let Some(l) = &mut self.leading {
                    l.next_tick = self.now.plus(self.cfg.timing.heartbeat);
                }
            }
        } else if self.now >= self.election_at {
            let t = self.cfg.timing;
            self.election_at = self.now.plus(t.election / 2 + self.dice.up_to(t.election));
            // A member whose disk does not keep up is no good leader (and the library wants its log durable).
            if self.is_voter(self.id) && self.pending.is_empty() {
                let _ = self.raw.campaign();
            }
        }
    }

    fn hear_leader_until(&mut self) {
        self.promise_until = self.promise_until.max(self.now.plus(self.cfg.timing.promise()));
        self.election_at =
            self.now.plus(self.cfg.timing.election + self.dice.up_to(self.cfg.timing.election));
    }

    fn propose(&mut self, tag: u64, data: Bytes) {
        let leader = self.leader_id();
        let refuse = |why| Effect::Refused { tag, why, leader };
        let ready = self.leading.as_ref().is_some_and(|l| l.ready);
        if !ready {
            return self.effects.push(refuse(Refusal::NotLeader));
        }
        if data.len() > ENTRY_BYTES_MAX {
            return self.effects.push(refuse(Refusal::TooLarge));
        }
        let entry = Entry { data, ..Entry::default() };
        let mut m = Message::default();
        m.set_msg_type(MessageType::MsgPropose);
        m.from = self.id;
        m.set_entries(vec![entry].into());
        if self.raw.raft.step(m).is_err() {
            return self.effects.push(refuse(Refusal::Busy));
        }
        let raft = &self.raw.raft;
        self.tags.insert(raft.raft_log.last_index(), (raft.term, tag));
    }

    fn message(&mut self, from: NodeId, data: &Bytes) {
        let env = match crate::codec::decode_envelope(data) {
            Ok(env) => env,
            Err(source) => return self.fault(Fault::Undecodable { from, source }),
        };
        if env.from != from {
            return self.fault(Fault::WrongSender { from, claimed: env.from });
        }
        if env.to.0 != self.id {
            return self.fault(Fault::NotForUs { from, to: env.to });
        }
        let ours_us = self.cfg.timing.lease_us();
        if env.lease_us != ours_us {
            return self.fault(Fault::Timing { from, theirs_us: env.lease_us, ours_us });
        }
        if let Some(m) = env.raft.clone() {
            if let Err(f) = self.admit(&m) {
                let leader = self.raw.raft.leader_id;
                let lost = matches!(f, Fault::LogLost { .. } | Fault::Diverged { .. });
                self.broken |= lost && (leader == 0 || leader == m.from);
                return self.fault(f);
            }
            if self.must_ignore(&m) {
                return;
            }
            let vote = self.raw.raft.vote;
            // (Errors: an answer of somebody who left. Nothing to do.)
            let _ = self.raw.step(m);
            let raft = &self.raw.raft;
            if raft.vote != vote && raft.vote != self.id && raft.vote != 0 {
                let t = self.cfg.timing.election;
                self.election_at = self.now.plus(t + self.dice.up_to(t));
            }
        }
        self.hear(&env);
    }

    /// What the envelope itself says, after Raft has seen what is in it.
    fn hear(&mut self, env: &Envelope) {
        let raft = &self.raw.raft;
        if env.term != raft.term {
            return;
        }
        let from = env.from.0;
        let stamp = Echo { nonce: env.nonce, stamp: env.stamp };
        let ours = env.echo.filter(|e| e.nonce == self.cfg.boot_nonce).map(|e| Moment(e.stamp));
        if env.leads {
            if raft.state == StateRole::Leader || raft.leader_id != from {
                return;
            }
            let term = raft.term;
            self.visible = self.visible.max(env.visible);
            self.following.heard(from, term, stamp);
            self.following.quorum.clone_from(&env.quorum);
            if let Some(at) = ours {
                self.following.given(at, self.now, self.cfg.timing.lease);
            }
            self.hear_leader_until();
        } else if let Some(l) = self.leading.as_mut().filter(|l| l.term == env.term) {
            l.leases.spoke(from, stamp, ours, self.now);
        }
    }

    fn admit(&self, m: &Message) -> Result<(), Fault> {
        let raft = &self.raw.raft;
        let seen = Seen {
            log: self.raw.store(),
            committed: raft.raft_log.committed,
            last: raft.raft_log.last_index(),
        };
        // (To the library, term zero means that a message comes from this member itself.)
        let from = NodeId(m.from);
        if m.term == 0 {
            return Err(Fault::Impossible { from, what: "no term" });
        }
        if m.term - m.term.min(raft.term) > TERM_JUMP_MAX {
            return Err(Fault::Impossible { from, what: "a term that no election led to" });
        }
        // What is of another term is answered or dropped by the library without looking further.
        if m.term >= raft.term {
            seen.check(m)?;
        }
        if m.term == raft.term && raft.state == StateRole::Leader {
            seen.check_as_leader(m)?;
        }
        if m.get_msg_type() == MessageType::MsgSnapshot {
            denc::from_bytes_exact::<SnapshotBody>(&m.get_snapshot().data)
                .map_err(|source| Fault::Undecodable { from: NodeId(m.from), source })?;
        }
        Ok(())
    }

    /// Keeps our promise to the leader; otherwise lets the library judge a vote request by log and term alone.
    fn must_ignore(&mut self, m: &Message) -> bool {
        let ask = matches!(m.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if !ask || self.raw.raft.state == StateRole::Leader {
            return false;
        }
        if self.now < self.promise_until {
            return true;
        }
        self.raw.raft.election_elapsed = usize::MAX / 2;
        false
    }

    pub(crate) fn fault(&mut self, f: Fault) {
        self.effects.push(Effect::Fault(f));
    }

    fn persisted(&mut self, token: u64) {
        let mut release = Vec::new();
        while self.pending.front().is_some_and(|p| p.token <= token) {
            let p = self.pending.pop_front().expect("just seen");
            self.durable_term = p.term;
            self.raw.on_persist_ready(p.number);
            release.extend(p.messages);
            if let Some(i) = p.install {
                self.installed(i);
            }
        }
        for m in release {
            self.send(m);
        }
    }

    fn installed(&mut self, i: Installed) {
        self.raw.advance_apply_to(i.index);
        self.applied = self.applied.max(i.index);
        self.handed = self.handed.max(i.index);
        self.visible = self.visible.max(i.index);
        let members = self.members();
        self.effects.push(Effect::InstallSnapshot { index: i.index, data: i.state, members });
    }

    fn peer_down(&mut self, id: NodeId) {
        self.raw.report_unreachable(id.0);
        self.raw.report_snapshot(id.0, SnapshotStatus::Failure);
    }

    fn retry_snapshots(&mut self) {
        let Some(l) = &mut self.leading else { return };
        let sending: Vec<u64> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(_, p)| p.state == raft::ProgressState::Snapshot)
            .map(|(id, _)| *id)
            .collect();
        l.snapshots.retain(|id, _| sending.contains(id));
        let mut late = Vec::new();
        for id in &sending {
            let since = *l.snapshots.entry(*id).or_insert(self.now);
            if self.now.since(since) >= self.cfg.timing.snapshot_retry {
                l.snapshots.remove(id);
                late.push(*id);
            }
        }
        for id in late {
            self.raw.report_snapshot(id, SnapshotStatus::Failure);
        }
        // The state is large: it is kept only as long as somebody may need it.
        let asked = self.snapshot_asked.is_some_and(|at| self.now.since(at) < self.cfg.timing.snapshot_retry);
        if sending.is_empty() && !asked && self.raw.store().has_snapshot() {
            self.raw.mut_store().drop_snapshot();
        }
    }

    /// Lets Raft do all it can, then everything that follows from it.
    fn settle(&mut self) {
        loop {
            self.drain();
            self.lead();
            self.show();
            self.change_members();
            if !self.raw.has_ready() {
                break;
            }
        }
        self.announce();
        if std::mem::take(&mut self.nudge) {
            self.send_nudges();
        }
        if self.raw.store().take_wanted() {
            self.ask_snapshot();
        }
    }

    fn drain(&mut self) {
        while self.raw.has_ready() {
            let mut rd = self.raw.ready();
            self.last_number = rd.number();
            let must = rd.must_sync();
            let mut messages = rd.take_messages();
            messages.extend(rd.take_persisted_messages());
            let entries = rd.take_entries();
            let committed = rd.take_committed_entries();
            let snapshot = rd.snapshot().clone();
            let store = self.raw.mut_store();
            if let Some(hs) = rd.hs() {
                store.hard_state = hs.clone();
            }
            let installed = match snapshot.is_empty() {
                true => None,
                false => Some(self.take_snapshot(snapshot)),
            };
            self.raw.mut_store().append(&entries);
            self.raw.advance_append_async(rd);
            if must {
                self.persist(&entries, installed);
            } else {
                match self.pending.back_mut() {
                    Some(p) => p.number = self.last_number,
                    None => self.raw.on_persist_ready(self.last_number),
                }
            }
            // (The leader's lists come first: its messages may already carry leases.)
            self.lead();
            for m in messages {
                self.gate(m);
            }
            let last = committed.last().map(|e| e.index);
            for e in committed {
                self.handed = e.index;
                if e.get_entry_type() != EntryType::EntryNormal && e.index > self.conf().index {
                    self.apply_change(e.index, &e.context);
                }
                self.delivered.push_back(e);
            }
            if let Some(index) = last {
                self.raw.advance_apply_to(index);
            }
        }
    }

    /// Sends now what promises nothing that is not durable; the rest waits for the disk.
    fn gate(&mut self, m: Message) {
        if !has_encoding(&m) {
            return;
        }
        let beat = m.get_msg_type() == MessageType::MsgHeartbeatResponse;
        let free = self.raw.raft.state == StateRole::Leader || beat;
        let prevote = matches!(
            m.get_msg_type(),
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse
        );
        let known = m.term <= self.durable_term || prevote;
        let now = planted!(self.cfg, SendBeforePersist) || (free && known);
        match self.pending.back_mut() {
            Some(p) if !now => p.messages.push(m),
            _ => self.send(m),
        }
    }

    fn take_snapshot(&mut self, s: raft::eraftpb::Snapshot) -> Installed {
        let meta = s.get_metadata();
        let body: SnapshotBody =
            denc::from_bytes_exact(&s.data).expect("it was decoded before Raft was given it");
        let cs = meta.get_conf_state();
        let conf = crate::codec::Conf {
            index: meta.index,
            voters: sorted(&cs.voters),
            learners: sorted(&cs.learners),
            names: body.names,
        };
        self.raw.mut_store().install(Point { index: meta.index, term: meta.term }, conf);
        self.delivered.clear();
        self.members_changed = self.now;
        Installed { index: meta.index, state: body.state }
    }

    fn meta(&self) -> Bytes {
        let store = self.raw.store();
        to_bytes(&Meta {
            id: self.id,
            hard_state: store.hard_state.clone(),
            start: store.start(),
            conf: store.conf.clone(),
        })
    }

    fn persist(&mut self, entries: &[Entry], installed: Option<Installed>) {
        let put: Vec<(u64, Bytes)> = entries
            .iter()
            .map(|e| {
                let mut enc = Encoder::with_capacity(Features::ALL, e.data.len() + e.context.len() + 40);
                put_entry(&mut enc, e);
                (e.index, enc.finish())
            })
            .collect();
        let p = Persist {
            token: self.last_token + 1,
            snapshot: installed.as_ref().map(|i| InstalledState { index: i.index, data: i.state.clone() }),
            delete_from: put.first().map(|(index, _)| *index),
            put,
            delete_to: None,
            meta: self.meta(),
        };
        self.push_persist(p, installed);
    }

    /// Stores the meta record (and cuts the log).
    pub(crate) fn persist_meta(&mut self, delete_to: Option<u64>) {
        let p = Persist {
            token: self.last_token + 1,
            snapshot: None,
            delete_from: None,
            put: Vec::new(),
            delete_to,
            meta: self.meta(),
        };
        self.push_persist(p, None);
    }

    fn push_persist(&mut self, p: Persist, install: Option<Installed>) {
        self.last_token = p.token;
        self.pending.push_back(Pending {
            token: p.token,
            number: self.last_number,
            term: self.raw.store().hard_state.term,
            messages: Vec::new(),
            install,
        });
        self.effects.push(Effect::Persist(p));
    }

    /// Keeps the leader's half in step with Raft's role, and moves forward what may be shown.
    fn lead(&mut self) {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            if self.leading.take().is_some() {
                self.wants = Wants::default();
                let tags: Vec<u64> =
                    std::mem::take(&mut self.tags).into_values().map(|(_, tag)| tag).collect();
                if !tags.is_empty() {
                    self.effects.push(Effect::Orphaned { tags });
                }
            }
            return;
        }
        if self.leading.as_ref().is_none_or(|l| l.term != raft.term) {
            let (term, first) = (raft.term, raft.raft_log.last_index());
            let conf = self.conf();
            let quiet_since = self.members_changed.max(self.started);
            let mut leases = LeaderLeases::new(self.id, self.cfg.timing, self.now, &conf.voters, quiet_since);
            if let Some(before) = self.following.leader_in(term - 1) {
                leases.predecessor(before);
            }
            let always_alone = self.alone() && conf.index <= 1;
            if always_alone || planted!(self.cfg, IgnoresOldLeases) {
                leases.no_predecessors();
            }
            let next_tick = self.now.plus(self.cfg.timing.heartbeat);
            self.leading =
                Some(Leading { term, first, ready: false, leases, next_tick, snapshots: BTreeMap::new() });
        }
        let Some(l) = &mut self.leading else { return };
        l.leases.expire(self.now);
        let mut up_to = self.handed;
        if !planted!(self.cfg, ShowsAtCommit) {
            for holder in l.leases.holders() {
                up_to = up_to.min(self.raw.raft.prs().get(holder).map_or(0, |p| p.matched));
            }
        }
        if up_to > self.visible {
            self.visible = up_to;
            self.nudge = true;
        }
    }

    /// Gives out what may be shown.
    fn show(&mut self) {
        let all = planted!(self.cfg, ShowsAtCommit);
        while self.delivered.front().is_some_and(|e| all || e.index <= self.visible) {
            let e = self.delivered.pop_front().expect("just seen");
            assert_eq!(e.index, self.applied + 1, "entries are given out without gaps");
            self.applied = e.index;
            let payload = match e.get_entry_type() {
                EntryType::EntryNormal if e.data.is_empty() => Payload::Empty,
                EntryType::EntryNormal => Payload::Data(e.data),
                _ => Payload::Members(self.members()),
            };
            let tag = self.tags.remove(&e.index).filter(|(term, _)| *term == e.term).map(|(_, tag)| tag);
            self.effects.push(Effect::Committed(Commit { index: e.index, term: e.term, payload, tag }));
        }
        if let Some(l) = &mut self.leading
            && self.applied >= l.first
        {
            l.ready = true;
        }
    }

    fn announce(&mut self) {
        let term = self.raw.raft.term;
        let is = match &self.leading {
            Some(l) if l.ready => Announced::Leader(l.term),
            Some(_) => Announced::Follower(term, None),
            None => Announced::Follower(term, self.leader_id()),
        };
        if self.announced != Some(is) {
            self.announced = Some(is);
            self.effects.push(match is {
                Announced::Leader(term) => Effect::BecameLeader { term },
                Announced::Follower(term, leader) => Effect::BecameFollower { term, leader },
            });
        }
        let view = (self.epoch(), self.active_voters());
        if view != self.stable {
            self.stable = view;
            self.stable_since = self.now;
        }
    }

    /// Voters that are in the quorum, as the leader knows them.
    pub(crate) fn active_voters(&self) -> Vec<u64> {
        match &self.leading {
            Some(l) => {
                // Two heartbeats may be lost before a member counts as gone.
                let age = self.cfg.timing.election;
                l.leases.active(&self.conf().voters, age, self.now).collect()
            }
            None if self.leader_id().is_some() => self.following.quorum.clone(),
            None => Vec::new(),
        }
    }

    fn send(&mut self, m: Message) {
        let to = m.to;
        self.send_envelope(to, Some(m));
    }

    fn send_nudges(&mut self) {
        if self.raw.raft.term > self.durable_term {
            return;
        }
        let conf = self.conf();
        let peers: Vec<u64> =
            conf.voters.iter().chain(&conf.learners).copied().filter(|p| *p != self.id).collect();
        for to in peers {
            self.send_envelope(to, None);
        }
    }

    fn send_envelope(&mut self, to: u64, raft: Option<Message>) {
        let term = self.raw.raft.term;
        let leads = self.leading.as_ref().is_some_and(|l| l.term == term);
        let echo = match leads {
            true => self.give_lease(to),
            false => self.following.promise_to(to, term),
        };
        let quorum = if leads { self.active_voters() } else { Vec::new() };
        let env = Envelope {
            from: NodeId(self.id),
            to: NodeId(to),
            term,
            nonce: self.cfg.boot_nonce,
            stamp: self.now.0,
            lease_us: self.cfg.timing.lease_us(),
            leads,
            echo,
            visible: self.visible,
            quorum,
            raft,
        };
        self.effects.push(Effect::Send { to: NodeId(to), data: to_bytes(&env) });
    }

    /// A lease for a voter that has all that anybody was shown, while ours holds and nobody is about to leave.
    fn give_lease(&mut self, to: u64) -> Option<Echo> {
        let l = self.leading.as_ref()?;
        let raft = &self.raw.raft;
        let may = l.ready
            && self.is_voter(to)
            && !raft.has_pending_conf()
            && raft.prs().get(to).is_some_and(|p| p.matched >= self.visible)
            && self.covered(l, self.now);
        if !may {
            return None;
        }
        self.leading.as_mut()?.leases.give(to, self.now)
    }

    fn ask_snapshot(&mut self) {
        let again = self.snapshot_asked.is_none_or(|at| self.now.since(at) >= self.cfg.timing.snapshot_retry);
        let at_least = self.conf().index.max(self.raw.store().start().index);
        // (Raft asks again with the next heartbeat.)
        if again && self.applied >= at_least {
            self.snapshot_asked = Some(self.now);
            self.effects.push(Effect::NeedSnapshot { at_least });
        }
    }

    fn offer_snapshot(&mut self, index: u64, data: Bytes) {
        if data.len() > SNAPSHOT_BYTES_MAX {
            return self.fault(Fault::SnapshotTooLarge { bytes: data.len() });
        }
        let store = self.raw.store();
        let fits = index >= store.conf.index && index <= self.applied;
        let Some(term) = store.term_of(index).filter(|_| fits) else {
            self.snapshot_asked = None;
            return;
        };
        let body = SnapshotBody { names: store.conf.names.clone(), state: data };
        self.raw.mut_store().offer_snapshot(Point { index, term }, to_bytes(&body));
    }

    /// The state machine's transaction for `durable` is on disk: what lies far behind it may go.
    fn compact(&mut self, durable: u64) {
        let store = self.raw.store();
        let (start, limits) = (store.start().index, &self.cfg.limits);
        let durable = durable.min(self.applied).min(store.last());
        let target = match store.bytes() > limits.keep_bytes {
            true => store.cut_for(limits.keep_bytes / 2).min(durable),
            false if durable.saturating_sub(start) > 2 * limits.keep_entries => durable - limits.keep_entries,
            false => start,
        };
        if target > start {
            self.raw.mut_store().compact(target);
            self.persist_meta(Some(target));
        }
    }

    /// This member has a vote.
    pub fn votes(&self) -> bool {
        self.is_voter(self.id)
    }

    /// All members.
    pub fn members(&self) -> Vec<Member> {
        let conf = self.conf();
        let mut all: Vec<Member> = conf
            .voters
            .iter()
            .map(|id| (id, true))
            .chain(conf.learners.iter().map(|id| (id, false)))
            .map(|(id, voter)| Member {
                name: conf.names.get(id).cloned().unwrap_or_default(),
                id: NodeId(*id),
                voter,
            })
            .collect();
        all.sort();
        all
    }
}

pub(crate) fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut v = ids.to_vec();
    v.sort_unstable();
    v
}
