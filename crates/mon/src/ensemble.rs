//! [`Ensemble`]: this monitor's part in the quorum, between the quorum's machine, the other monitors, the store's thread and the core.
//!
//! What happens goes through one queue, in order, so that neither machine is entered twice: an event of one makes effects, which make events
//! of the other. `readable` is asked again before each message that the core gets.

use crate::peers::{Peers, message};
use crate::proxies::{Found, Proxies};
use crate::store::Job;
use messages::{Message, Payload, kinds};
use mon_core::kv::Kv;
use mon_core::wire::{Forward, Gone, Hello, Join, Look, Piece, QuorumBytes, Route, Seen, Standing};
use mon_core::{MemberNews, MonCore, MonEffect, MonEvent, Peer, Proposal, QuorumInfo, SessionId, Unproposed};
use net::Connection;
use quorum::{Config, Effect, Event, Loaded, Moment, NodeId, Payload as Entry, Quorum, Refusal};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use types::monmap::MonMap;
use types::{MonState, Utime};

/// Until it is let in, a monitor asks this often.
const JOIN_INTERVAL: Duration = Duration::from_millis(300);

/// See the module's documentation.
pub struct Ensemble {
    quorum: Quorum,
    started: Instant,
    boot_nonce: u64,
    name: String,
    fsid: types::Fsid,
    may_seed: bool,
    readable: bool,
    info: QuorumInfo,
    asked_in: Option<Instant>,
    /// We had a vote when we last looked.
    votes: bool,
    proxies: Proxies,
    /// Our sessions for which the leader holds one.
    handed: BTreeSet<SessionId>,
    last_applied: u64,
    /// Someone told this monitor to take no part (`quorum exit`): what happened since that its machine must know of.
    out: Option<Vec<Event>>,
    /// Other monitors that said that they take no part.
    away: BTreeSet<String>,
    /// Why this monitor takes no part any more.
    pub broken: Option<String>,
}

fn config(boot_nonce: u64) -> Config {
    let mut c = Config::new(boot_nonce, boot_nonce);
    c.limits.keep_bytes = 16 << 20;
    c
}

/// Where [`Ensemble`] puts what it makes happen.
pub trait World {
    /// The core gets an event, after all that came before.
    fn core_event(&mut self, event: MonEvent);
    /// The store's thread gets a job.
    fn write(&mut self, job: Job);
    /// The monitors.
    fn peers(&self) -> &Peers;
    /// When the core has taken all events up to here, the quorum's machine is given the whole state as of this entry.
    fn want_snapshot(&mut self, index: u64);
    /// The committed monitor map.
    fn monmap(&self) -> MonMap;
    /// A session of ours shall end: the leader says so.
    fn close_session(&mut self, id: SessionId);
    /// Now.
    fn now(&self) -> Utime;
}

impl Ensemble {
    /// From what the store holds.
    pub fn new(core: &MonCore, loaded: &Loaded, may_seed: bool, boot_nonce: u64) -> anyhow::Result<Ensemble> {
        let started = Instant::now();
        let quorum = Quorum::new(config(boot_nonce), loaded, Moment(0))?;
        Ok(Ensemble {
            quorum,
            started,
            boot_nonce,
            name: core.name().to_owned(),
            fsid: core.fsid(),
            may_seed,
            readable: false,
            info: QuorumInfo::default(),
            asked_in: None,
            votes: false,
            proxies: Proxies::new(),
            handed: BTreeSet::new(),
            last_applied: loaded.applied,
            out: None,
            away: BTreeSet::new(),
            broken: None,
        })
    }
    /// For tests: the quorum is like this.
    #[cfg(test)]
    pub fn set_info(&mut self, info: QuorumInfo) {
        self.info = info;
    }
    /// What we say first on a session.
    pub fn hello(&self, core: &MonCore) -> Hello {
        let addrs = core.monmap().mons.get(&self.name).map(|i| i.public_addrs.clone()).unwrap_or_default();
        Hello {
            name: self.name.clone(),
            node: self.quorum.id().0,
            fsid: self.fsid,
            belongs: self.belongs(),
            addrs,
        }
    }
    fn belongs(&self) -> bool {
        !self.quorum.members().is_empty()
    }
    fn moment(&self) -> Moment {
        Moment(self.started.elapsed().as_micros() as u64)
    }
    /// When [`Ensemble::tick`] is wanted.
    pub fn deadline(&self) -> Instant {
        let far = self.moment().0 + 10_000_000;
        let us = if self.out.is_some() { far } else { self.quorum.deadline().0.min(far) };
        self.started + Duration::from_micros(us)
    }
    /// The lease may have run out since anyone looked: the core is told before it gets a message.
    pub fn check_lease(&mut self, w: &mut dyn World) {
        let r = self.out.is_none() && self.quorum.readable(self.moment());
        if std::mem::replace(&mut self.readable, r) != r {
            w.core_event(MonEvent::Readable(r));
        }
    }

    /// The beginning: who is a member is known from the store.
    pub fn start(&mut self, w: &mut dyn World) {
        w.core_event(MonEvent::Members(self.quorum.members().into_iter().map(|m| m.name).collect()));
        w.peers().set_belongs(self.belongs());
        self.tick(w);
    }

    /// Time passed.
    pub fn tick(&mut self, w: &mut dyn World) {
        self.event(w, Event::Tick);
        self.ask_in(w);
        self.maybe_found(w);
    }

    /// Gives the quorum's machine an event and does what it wants done.
    pub fn event(&mut self, w: &mut dyn World, event: Event) {
        if let Some(held) = &mut self.out {
            match event {
                Event::Propose { tag, .. } => {
                    w.core_event(MonEvent::Refused {
                        version: tag,
                        why: Unproposed::NotNow("this monitor takes no part"),
                    });
                }
                // Each once for each node, and what was under way when it left.
                Event::PeerUp(n) | Event::PeerDown(n) => {
                    held.retain(|e| !matches!(e, Event::PeerUp(m) | Event::PeerDown(m) if *m == n));
                    held.push(event);
                }
                Event::Persisted(_) | Event::Applied(_) | Event::Snapshot { .. } => held.push(event),
                _ => {}
            }
            return;
        }
        let now = self.moment();
        for e in self.quorum.handle(now, event) {
            self.effect(w, e);
        }
        self.tell_core(w);
        let votes = self.quorum.votes();
        if std::mem::replace(&mut self.votes, votes) && !votes {
            tracing::info!("is no member of the quorum any more");
            w.core_event(MonEvent::Expelled);
        }
    }

    /// `quorum exit` and `quorum enter`. Outside, the machine stands still, as in a process that is stopped: it hears nothing, says nothing
    /// and breaks no promise. The others are told, so that they need not find out; they do not count on it.
    pub fn take_part(&mut self, w: &mut dyn World, yes: bool) {
        match (yes, self.out.is_some()) {
            (false, false) => {
                tracing::warn!("takes no part in the quorum, as it was told");
                w.peers().send_all(&Standing { out: true });
                self.drop_proxies(w);
                self.handed.clear();
                w.peers().forget_waiting();
                self.info.leads = false;
                self.out = Some(Vec::new());
            }
            (true, true) => {
                tracing::warn!("takes part in the quorum again, as it was told");
                w.peers().send_all(&Standing { out: false });
                for event in self.out.take().into_iter().flatten() {
                    self.event(w, event);
                }
                self.event(w, Event::Tick);
            }
            _ => return,
        }
        self.tell_core(w);
    }

    /// The core's view of the quorum, when it changed.
    fn tell_core(&mut self, w: &mut dyn World) {
        let info = self.view(w.now());
        let same = |a: &QuorumInfo, b: &QuorumInfo| {
            // (`since` is computed from an age: it moves a little.)
            (a.state, a.leads, &a.leader, &a.quorum, a.election_epoch)
                == (b.state, b.leads, &b.leader, &b.quorum, b.election_epoch)
        };
        if !same(&info, &self.info) {
            self.info = info.clone();
            w.core_event(MonEvent::Quorum(info));
        }
        self.check_lease(w);
    }

    fn view(&self, now: Utime) -> QuorumInfo {
        let v = self.quorum.view();
        if self.out.is_some() {
            let since = if self.info.leader.is_none() { self.info.since } else { now };
            let election_epoch = self.info.election_epoch | 1;
            return QuorumInfo { state: MonState::Electing, since, election_epoch, ..QuorumInfo::default() };
        }
        // Who said that it takes no part is believed before the machine finds out.
        let leader = v.leader.map(|m| m.name);
        let leader_away = leader.as_ref().is_some_and(|l| self.away.contains(l));
        let state = if leader_away { MonState::Electing } else { v.state };
        let here = |n: &String| !leader_away && !self.away.contains(n);
        // Stock's lone monitor shows 3 at first and 2 more after each start; in a quorum, epochs are even.
        let alone = v.members.len() == 1 && leader.is_some();
        QuorumInfo {
            state,
            leads: self.info.leads,
            leader: leader.filter(here),
            quorum: v.quorum.into_iter().map(|m| m.name).filter(here).collect(),
            election_epoch: if alone { v.election_epoch - 1 } else { v.election_epoch },
            since: Utime::ZERO + Duration::from_nanos(now.as_nanos()).saturating_sub(v.quorum_age),
        }
    }

    fn effect(&mut self, w: &mut dyn World, effect: Effect) {
        match effect {
            Effect::Persist(p) => w.write(Job::Persist(p)),
            Effect::Send { to, data } => w.peers().send_envelope(to, data),
            Effect::Committed(c) => self.committed(w, c),
            Effect::InstallSnapshot { index, data, members } => {
                self.last_applied = index;
                match Kv::keys_of(&data) {
                    Ok(keys) => w.core_event(MonEvent::Installed(keys)),
                    // The store's thread cannot have written it either.
                    Err(e) => self.broken = Some(format!("the quorum's state does not decode: {e}")),
                }
                tracing::info!("the quorum's state as of entry {index} replaces ours");
                w.peers().set_belongs(true);
                w.core_event(MonEvent::Members(members.into_iter().map(|m| m.name).collect()));
            }
            Effect::NeedSnapshot { .. } => {
                w.want_snapshot(self.last_applied);
            }
            Effect::BecameLeader { term } => {
                tracing::info!("leads in term {term}");
                self.office(w, false);
                self.office(w, true);
            }
            Effect::BecameFollower { term, leader } => {
                tracing::info!(
                    "follows in term {term}: {}",
                    leader.map_or("no leader".to_owned(), |l| l.to_string())
                );
                self.office(w, false);
                self.drop_proxies(w);
                self.handed.clear();
                w.peers().forget_waiting();
            }
            Effect::Refused { tag, why, .. } => {
                let why = match why {
                    Refusal::NotLeader => Unproposed::NotNow("this monitor does not lead"),
                    Refusal::TooLarge => Unproposed::TooLarge { max: quorum::ENTRY_BYTES_MAX },
                    _ => Unproposed::NotNow("too much waits for a quorum"),
                };
                w.core_event(MonEvent::Refused { version: tag, why });
            }
            // The core has left its office, and knows.
            Effect::Orphaned { .. } => {}
            Effect::MemberRefused { name, why } => {
                let why = match why {
                    Refusal::NotLeader => "this monitor does not lead",
                    Refusal::NameInUse => "a living monitor has this name",
                    Refusal::WouldStall => "without it there would be no majority",
                    Refusal::LastVoter => "it is the last one",
                    _ => "it cannot be a member",
                };
                w.core_event(MonEvent::MemberRefused { name, why: why.to_owned() });
            }
            Effect::Fault(f) => {
                if matches!(f, quorum::Fault::LogLost { .. } | quorum::Fault::Diverged { .. }) {
                    self.broken = Some(f.to_string());
                }
                tracing::warn!("quorum: {f}");
            }
        }
    }

    fn office(&mut self, w: &mut dyn World, leads: bool) {
        if self.info.leads != leads {
            self.info.leads = leads;
            let info = self.view(w.now());
            self.info = info.clone();
            w.core_event(MonEvent::Quorum(info));
        }
    }

    fn committed(&mut self, w: &mut dyn World, c: quorum::Commit) {
        self.last_applied = c.index;
        let batch = match c.payload {
            Entry::Data(bytes) => match Proposal::from_bytes(&bytes) {
                Ok(p) => {
                    let batch = p.batch.clone();
                    w.core_event(MonEvent::Committed(p));
                    batch
                }
                Err(e) => {
                    self.broken = Some(format!("entry {} of the log does not decode: {e}", c.index));
                    return;
                }
            },
            Entry::Members(list) => {
                let names: Vec<String> = list.iter().map(|m| m.name.clone()).collect();
                tracing::info!("members of the quorum: {}", names.join(", "));
                w.core_event(MonEvent::Members(names));
                Default::default()
            }
            Entry::Empty => Default::default(),
        };
        w.write(Job::Apply(c.index, batch));
    }

    /// An effect of the core that concerns the quorum; what does not is given back.
    pub fn core_effect(&mut self, w: &mut dyn World, effect: MonEffect) -> Option<MonEffect> {
        match effect {
            MonEffect::Propose(p) => {
                let event = Event::Propose { tag: p.version, data: p.to_bytes() };
                self.event(w, event);
            }
            MonEffect::Send(id, msg) if Proxies::is_one(id) => {
                if let Some((node, token)) = self.proxies.whose(id) {
                    w.peers().send_to(node, message(&Route { token, msg: Some(msg) }));
                }
            }
            MonEffect::Close(id) if Proxies::is_one(id) => {
                if let Some((node, token)) = self.proxies.end(id) {
                    w.peers().send_to(node, message(&Route { token, msg: None }));
                    w.core_event(MonEvent::Closed(id));
                }
            }
            MonEffect::Forward(token, peer, msg) => self.forward(w, token, peer, msg),
            MonEffect::TellLeader(news) => {
                if let Some(l) = &self.info.leader {
                    w.peers().send_or_wait(l, message(&news));
                }
            }
            MonEffect::Look(name, look) => w.peers().send_now(&name, message(&look)),
            MonEffect::Seen(name, seen) => w.peers().send_now(&name, message(&seen)),
            MonEffect::Admit { name, node } => self.event(w, Event::Add { id: NodeId(node), name }),
            MonEffect::TakePart(yes) => self.take_part(w, yes),
            MonEffect::Expel(name) => self.event(w, Event::Remove { name }),
            other => return Some(other),
        }
        None
    }

    fn forward(&mut self, w: &mut dyn World, token: SessionId, peer: Peer, msg: Message) {
        if let Some(l) = self.info.leader.clone() {
            self.handed.insert(token);
            w.peers().send_or_wait(&l, message(&Forward { token, peer, msg }));
        }
    }

    /// A message on a session that a monitor dialed. False when the session shall end.
    pub fn peer_message(&mut self, w: &mut dyn World, conn: &Connection, msg: &Message) -> bool {
        match self.try_peer_message(w, conn, msg) {
            Ok(goes_on) => goes_on,
            Err(e) => {
                tracing::warn!("bad {} from a monitor: {e}", kinds::name(msg.header.kind));
                false
            }
        }
    }

    fn try_peer_message(
        &mut self,
        w: &mut dyn World,
        conn: &Connection,
        msg: &Message,
    ) -> Result<bool, denc::DencError> {
        let kind = msg.header.kind;
        if kind == Hello::KIND {
            let hello: Hello = msg.decode()?;
            let (name, node) = (hello.name.clone(), NodeId(hello.node));
            if !w.peers().said_hello(conn, hello) {
                tracing::warn!(
                    "mon.{name} at {} is of another cluster, or has our identity",
                    conn.peer_addrs()
                );
                return Ok(false);
            }
            tracing::debug!("mon.{name} is {node}");
            self.away.remove(&name);
            // Its sessions' numbers begin anew when it has started again: none of them may be taken for an older one.
            self.drop_proxies_of(w, node);
            if w.peers().is_ready(&name) {
                self.event(w, Event::PeerUp(node));
            }
            self.asked_in = None;
            self.maybe_found(w);
            self.ask_in(w);
            return Ok(true);
        }
        // Who has not said who it is has nothing to say.
        let Some(hello) = w.peers().hello_of(conn) else { return Ok(false) };
        let from = NodeId(hello.node);
        match kind {
            QuorumBytes::KIND => self.event(w, Event::Message { from, data: msg.data.clone() }),
            Piece::KIND => {
                if let Some(data) = w.peers().piece(conn, msg.decode()?) {
                    self.event(w, Event::Message { from, data });
                }
            }
            Forward::KIND => self.forwarded(w, from, msg.decode()?),
            Route::KIND => {
                let r: Route = msg.decode()?;
                match r.msg {
                    // (Only the leader has been asked anything.)
                    Some(m) if !Proxies::is_one(r.token) => w.core_event(MonEvent::Routed(r.token, m)),
                    None if !Proxies::is_one(r.token) => w.close_session(r.token),
                    _ => {}
                }
            }
            Standing::KIND => {
                let s: Standing = msg.decode()?;
                let event = if s.out { Event::PeerDown(from) } else { Event::PeerUp(from) };
                match s.out {
                    true => drop(self.away.insert(hello.name.clone())),
                    false => drop(self.away.remove(&hello.name)),
                }
                self.event(w, event);
                if s.out {
                    self.drop_proxies_of(w, from);
                    if self.info.leader.as_deref() == Some(hello.name.as_str()) {
                        w.core_event(MonEvent::LeaderLost);
                    }
                }
            }
            Gone::KIND => {
                let g: Gone = msg.decode()?;
                if let Some(id) = self.proxies.client_gone(from, g.token) {
                    w.core_event(MonEvent::Closed(id));
                }
            }
            Join::KIND => {
                let j: Join = msg.decode()?;
                if j.name == hello.name && j.node == hello.node {
                    w.core_event(MonEvent::JoinAsked { name: j.name, node: j.node, addrs: hello.addrs });
                }
            }
            Look::KIND => w.core_event(MonEvent::Look(hello.name, msg.decode()?)),
            Seen::KIND => w.core_event(MonEvent::Seen(hello.name, msg.decode()?)),
            MemberNews::KIND => {
                let news: MemberNews = msg.decode()?;
                if news.name == hello.name && self.info.leads {
                    w.core_event(MonEvent::News(news));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn forwarded(&mut self, w: &mut dyn World, from: NodeId, f: Forward) {
        if !self.info.leads {
            // The sender holds us for the leader still: its client asks again.
            return w.peers().send_to(from, message(&Route { token: f.token, msg: None }));
        }
        let Found { id, opened, ended } = self.proxies.find(from, f.token, &f.peer);
        if let Some(ended) = ended {
            w.core_event(MonEvent::Closed(ended));
        }
        if opened {
            w.core_event(MonEvent::Opened(id, f.peer));
        }
        w.core_event(MonEvent::Message(id, f.msg));
    }

    /// A session of ours ended: the leader may hold one for it.
    pub fn session_closed(&mut self, w: &dyn World, id: SessionId) {
        if self.handed.remove(&id)
            && let Some(l) = &self.info.leader
        {
            w.peers().send_or_wait(l, message(&Gone { token: id }));
        }
    }

    /// A session with a peer that we dialed is ready.
    pub fn peer_up(&mut self, w: &mut dyn World, name: &str) {
        if let Some(id) = w.peers().node_of(name) {
            self.event(w, Event::PeerUp(id));
        }
        self.asked_in = None;
        self.ask_in(w);
    }

    /// A session with a peer that we dialed ended.
    pub fn peer_down(&mut self, w: &mut dyn World, name: &str) {
        if let Some(id) = w.peers().node_of(name) {
            self.drop_proxies_of(w, id);
            self.event(w, Event::PeerDown(id));
        }
        if self.info.leader.as_deref() == Some(name) {
            w.core_event(MonEvent::LeaderLost);
        }
    }

    fn drop_proxies(&mut self, w: &mut dyn World) {
        for id in self.proxies.clear() {
            w.core_event(MonEvent::Closed(id));
        }
    }

    /// A peer's session ended, with all that it forwarded.
    pub fn drop_proxies_of(&mut self, w: &mut dyn World, node: NodeId) {
        for id in self.proxies.member_gone(node) {
            w.core_event(MonEvent::Closed(id));
        }
    }

    /// Until this monitor has a vote, it asks to be let in.
    fn ask_in(&mut self, w: &mut dyn World) {
        if self.quorum.votes()
            || self.may_seed
            || self.asked_in.is_some_and(|at| at.elapsed() < JOIN_INTERVAL)
        {
            return;
        }
        self.asked_in = Some(Instant::now());
        w.peers().send_all(&Join {
            name: self.name.clone(),
            node: self.quorum.id().0,
            addrs: Default::default(),
        });
    }

    /// The seed founds the quorum once a majority of the initial monitors has said that there is none.
    pub fn maybe_found(&mut self, w: &mut dyn World) {
        if !self.may_seed {
            return;
        }
        let hellos = w.peers().hellos();
        if let Some(h) = hellos.iter().find(|h| h.belongs) {
            tracing::info!("mon.{} belongs to a quorum already: this monitor joins it", h.name);
            self.may_seed = false;
            return w.write(Job::GiveUpSeed);
        }
        let names: BTreeSet<&str> = hellos.iter().map(|h| h.name.as_str()).collect();
        let map = w.monmap();
        let others = map.mons.keys().filter(|n| **n != self.name && names.contains(n.as_str())).count();
        if others < map.mons.len() / 2 {
            return;
        }
        tracing::info!(
            "{others} of {} other initial monitors are there and no quorum: this monitor founds it",
            map.mons.len() - 1
        );
        self.may_seed = false;
        let id = self.quorum.id();
        let meta = quorum::seed_meta(id, &[(id, self.name.clone())]);
        w.write(Job::Found(meta.clone()));
        let loaded = Loaded { meta, entries: vec![], applied: 1 };
        match Quorum::new(config(self.boot_nonce), &loaded, self.moment()) {
            Ok(q) => self.quorum = q,
            Err(e) => return self.broken = Some(e.to_string()),
        }
        self.last_applied = 1;
        w.peers().set_belongs(true);
        w.core_event(MonEvent::Members(vec![self.name.clone()]));
        self.event(w, Event::Tick);
    }
}
