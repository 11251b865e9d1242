//! The world: members with disks and clocks, and a network, on one thread from one seed.
//!
//! Faults modelled: messages late, lost, doubled, out of order; partitions, also one-way; crashes that forget what was not
//! synced (transactions become durable in order, a crash keeps a prefix); slow disks; stopped processes; clocks with other origins
//! after each start and speeds up to 2 % apart; lost stores (one at a time: more is lost data, by anybody's rules); members
//! added and removed. Not modelled: disks that lie.

use crate::check::{Checks, State};
use quorum::{
    Config, Effect, Event, Fault, Loaded, Moment, NodeId, Persist, Planted, Quorum, joiner_meta, seed_meta,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use types::MonState;

pub const MS: u64 = 1000;
pub const SEC: u64 = 1_000_000;

/// splitmix64.
pub struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

enum Write {
    Persist(Persist),
    Apply(State),
}

/// What survives a crash.
#[derive(Default)]
struct Disk {
    meta: bytes::Bytes,
    entries: BTreeMap<u64, bytes::Bytes>,
    state: State,
}

impl Disk {
    fn write(&mut self, w: &Write) {
        match w {
            Write::Apply(s) => self.state = *s,
            Write::Persist(p) => {
                if let Some(s) = &p.snapshot {
                    self.state = State::from_bytes(&s.data);
                    assert_eq!(self.state.applied, s.index);
                    self.entries.clear();
                }
                if let Some(from) = p.delete_from {
                    self.entries.retain(|i, _| *i < from);
                }
                self.entries.extend(p.put.iter().cloned());
                if let Some(to) = p.delete_to {
                    self.entries.retain(|i, _| *i > to);
                }
                self.meta = p.meta.clone();
            }
        }
    }
}

pub struct Node {
    pub name: String,
    pub id: NodeId,
    pub q: Option<Quorum>,
    pub state: State,
    life: u64,
    disk: Disk,
    queue: VecDeque<Write>,
    /// Writes of the queue that are being synced.
    syncing: usize,
    pub slow_disk: bool,
    pub paused_until: u64,
    clock_start: u64,
    clock_origin: u64,
    clock_ppm: u64,
    timer_at: u64,
    pub leads: bool,
}

impl Node {
    pub fn local(&self, t: u64) -> Moment {
        let gone = t - self.clock_start;
        Moment(self.clock_origin + gone + gone * self.clock_ppm / 1_000_000)
    }
    fn global(&self, at: Moment) -> u64 {
        let gone = at.0.saturating_sub(self.clock_origin).min(1000 * SEC);
        self.clock_start + gone * 1_000_000 / (1_000_000 + self.clock_ppm) + 1
    }
    pub fn up(&self, t: u64) -> bool {
        self.q.is_some() && self.paused_until <= t
    }
}

enum Ev {
    Deliver { from: NodeId, to: NodeId, data: bytes::Bytes },
    Timer { slot: usize, life: u64 },
    Synced { slot: usize, life: u64 },
    SnapshotMade { slot: usize, life: u64 },
    Start { slot: usize },
    Client,
    Fault,
    Unfault(u64),
}

#[derive(Default)]
pub struct Net {
    /// Pairs of slots between which nothing passes, in this direction.
    pub cut: BTreeSet<(usize, usize)>,
    pub loss_percent: u64,
    pub dup_percent: u64,
    pub delay_max: u64,
}

pub struct World {
    pub rng: Rng,
    pub t: u64,
    seq: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<(u64, u64), Ev>,
    pub nodes: Vec<Node>,
    slots: BTreeMap<NodeId, usize>,
    pub net: Net,
    pub checks: Checks,
    planted: Planted,
    next_value: u64,
    pub healed: bool,
    /// Only what the test itself does goes wrong.
    pub no_faults: bool,
    /// The mistake of giving a monitor without a store its old identity back.
    pub keeps_identity: bool,
    /// The member whose store was lost and that is not back yet.
    pub wiped: Option<usize>,
    /// A partition that grows: the leader, and who leaves it next.
    pub island: Option<(usize, usize)>,
    /// A leader that writers cannot reach (readers can): its followers' logs stay clean.
    pub deaf: Option<usize>,
    pub verbose: bool,
}

impl World {
    pub fn new(seed: u64, members: usize, planted: Planted, verbose: bool) -> World {
        let mut w = World {
            rng: Rng(seed),
            t: SEC,
            seq: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            nodes: Vec::new(),
            slots: BTreeMap::new(),
            net: Net { delay_max: 5 * MS, ..Net::default() },
            checks: Checks::default(),
            planted,
            next_value: 0,
            healed: false,
            no_faults: false,
            keeps_identity: false,
            wiped: None,
            island: None,
            deaf: None,
            verbose,
        };
        let ids: Vec<(NodeId, String)> =
            (0..members).map(|i| (NodeId(w.rng.next() | 1), name_of(i))).collect();
        for (id, _) in &ids {
            let meta = seed_meta(*id, &ids);
            w.add_node(*id, meta, State { applied: 1, ..State::default() });
        }
        w.push(10 * MS, Ev::Client);
        let first = w.rng.range(500 * MS, 4 * SEC);
        w.push(first, Ev::Fault);
        w
    }

    fn add_node(&mut self, id: NodeId, meta: bytes::Bytes, state: State) {
        let slot = self.nodes.len();
        self.slots.insert(id, slot);
        self.nodes.push(Node {
            name: name_of(slot),
            id,
            q: None,
            state,
            life: 0,
            disk: Disk { meta, state, ..Disk::default() },
            queue: VecDeque::new(),
            syncing: 0,
            slow_disk: false,
            paused_until: 0,
            clock_start: 0,
            clock_origin: 0,
            clock_ppm: 0,
            timer_at: u64::MAX,
            leads: false,
        });
        self.push(0, Ev::Start { slot });
    }

    /// A new monitor that must be let in.
    pub fn add_joiner(&mut self) {
        let id = NodeId(self.rng.next() | 1);
        self.add_node(id, joiner_meta(id), State::default());
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>10.3} {}", self.t as f64 / 1e6, what());
        }
    }

    fn push(&mut self, after: u64, ev: Ev) {
        self.seq += 1;
        let key = (self.t + after, self.seq);
        self.queue.push(Reverse(key));
        self.events.insert(key, ev);
    }
    pub fn push_unfault(&mut self, after: u64, what: u64) {
        self.push(after, Ev::Unfault(what));
    }
    pub fn push_fault(&mut self, after: u64) {
        self.push(after, Ev::Fault);
    }
    pub fn start_later(&mut self, slot: usize, after: u64) {
        self.push(after, Ev::Start { slot });
    }

    /// Runs until `end` or the first failure.
    pub fn run(&mut self, end: u64) {
        while let Some(Reverse(key)) = self.queue.peek().copied() {
            if key.0 > end || self.checks.failure.is_some() {
                break;
            }
            self.queue.pop();
            let ev = self.events.remove(&key).expect("queued once");
            self.t = key.0;
            self.step(ev);
        }
        self.t = self.t.max(end);
    }

    fn step(&mut self, ev: Ev) {
        // A stopped process sees nothing; what comes waits for it.
        let slot = match &ev {
            Ev::Deliver { to, .. } => self.slots.get(to).copied(),
            Ev::Timer { slot, .. } | Ev::Synced { slot, .. } | Ev::SnapshotMade { slot, .. } => Some(*slot),
            _ => None,
        };
        if let Some(s) = slot
            && self.nodes[s].paused_until > self.t
        {
            let after = self.nodes[s].paused_until - self.t;
            return self.push(after, ev);
        }
        let alive =
            |w: &World, slot: usize, life: u64| w.nodes[slot].life == life && w.nodes[slot].q.is_some();
        match ev {
            Ev::Deliver { from, to, data } => {
                if let Some(s) = slot
                    && self.nodes[s].q.is_some()
                {
                    let _ = to;
                    self.handle(s, Event::Message { from, data });
                }
            }
            Ev::Timer { slot, life } => {
                if alive(self, slot, life) {
                    self.nodes[slot].timer_at = u64::MAX;
                    self.handle(slot, Event::Tick);
                }
            }
            Ev::Synced { slot, life } => {
                if alive(self, slot, life) {
                    self.synced(slot);
                }
            }
            Ev::SnapshotMade { slot, life } => {
                if alive(self, slot, life) {
                    let s = self.nodes[slot].state;
                    self.handle(slot, Event::Snapshot { index: s.applied, data: s.bytes().into() });
                }
            }
            Ev::Start { slot } => self.start(slot),
            Ev::Client => {
                self.client();
                let after = self.rng.range(2 * MS, 40 * MS);
                self.push(after, Ev::Client);
            }
            Ev::Fault => {
                if !self.healed && !self.no_faults {
                    self.inject();
                }
            }
            Ev::Unfault(what) => self.undo(what),
        }
    }

    fn start(&mut self, slot: usize) {
        if self.nodes[slot].q.is_some() {
            return;
        }
        let (nonce, seed) = (self.rng.next(), self.rng.next());
        let (origin, ppm) = (self.rng.below(1000 * SEC), self.rng.below(20_000));
        let t = self.t;
        let n = &mut self.nodes[slot];
        n.life += 1;
        (n.clock_start, n.clock_origin, n.clock_ppm) = (t, origin, ppm);
        n.state = n.disk.state;
        n.timer_at = u64::MAX;
        let loaded = Loaded {
            meta: n.disk.meta.clone(),
            entries: n.disk.entries.values().cloned().collect(),
            applied: n.disk.state.applied,
        };
        let mut cfg = Config::new(nonce, seed);
        cfg.limits.keep_entries = 8;
        cfg.planted = self.planted;
        let now = n.local(t);
        match Quorum::new(cfg, &loaded, now) {
            Ok(q) => {
                n.q = Some(q);
                let id = n.id;
                self.note(|| format!("{id:?} starts"));
                self.handle(slot, Event::Tick);
            }
            Err(e) => {
                let id = n.id;
                self.checks.fail(format!("{id:?} cannot start: {e}"));
            }
        }
    }

    /// Power loss: of the transactions under way, the first few are durable.
    pub fn crash(&mut self, slot: usize) {
        let id = self.nodes[slot].id;
        self.note(|| format!("{id:?} crashes"));
        let keep = self.rng.below(self.nodes[slot].syncing as u64 + 1);
        let n = &mut self.nodes[slot];
        for w in n.queue.drain(..).take(keep as usize).collect::<Vec<_>>() {
            n.disk.write(&w);
        }
        n.syncing = 0;
        n.q = None;
        n.leads = false;
    }

    /// The store is gone; the monitor comes back as somebody new.
    pub fn wipe(&mut self, slot: usize) {
        self.crash(slot);
        let old = self.nodes[slot].id;
        let id = if self.keeps_identity { old } else { NodeId(self.rng.next() | 1) };
        self.note(|| format!("{old:?} lost its store, comes back as {id:?}"));
        self.slots.insert(id, slot);
        let n = &mut self.nodes[slot];
        n.id = id;
        n.disk = Disk { meta: joiner_meta(id), ..Disk::default() };
        n.state = State::default();
        self.wiped = Some(slot);
    }

    fn synced(&mut self, slot: usize) {
        let n = &mut self.nodes[slot];
        let (mut token, mut applied) = (None, None);
        for w in n.queue.drain(..n.syncing).collect::<Vec<_>>() {
            n.disk.write(&w);
            match w {
                Write::Persist(p) => token = Some(p.token),
                Write::Apply(s) => applied = Some(s.applied),
            }
        }
        n.syncing = 0;
        self.start_sync(slot);
        if let Some(t) = token {
            self.handle(slot, Event::Persisted(t));
        }
        if let Some(i) = applied {
            self.handle(slot, Event::Applied(i));
        }
    }

    fn start_sync(&mut self, slot: usize) {
        let n = &self.nodes[slot];
        if n.syncing > 0 || n.queue.is_empty() {
            return;
        }
        let (life, count) = (n.life, n.queue.len());
        let took = match n.slow_disk {
            true => self.rng.range(100 * MS, 2 * SEC),
            false => self.rng.range(200, 8 * MS),
        };
        self.nodes[slot].syncing = count;
        self.push(took, Ev::Synced { slot, life });
    }

    pub fn handle(&mut self, slot: usize, event: Event) {
        let now = self.nodes[slot].local(self.t);
        let n = &mut self.nodes[slot];
        let Some(q) = &mut n.q else { return };
        let (id, life) = (n.id, n.life);
        for e in q.handle(now, event) {
            self.effect(slot, id, life, e);
        }
        self.start_sync(slot);
        let n = &mut self.nodes[slot];
        let Some(q) = &n.q else { return };
        let at = n.global(q.deadline()).max(self.t + 1);
        if at < n.timer_at {
            n.timer_at = at;
            let after = at - self.t;
            self.push(after, Ev::Timer { slot, life });
        }
    }

    fn effect(&mut self, slot: usize, id: NodeId, life: u64, e: Effect) {
        match e {
            Effect::Persist(p) => self.nodes[slot].queue.push_back(Write::Persist(p)),
            Effect::Send { to, data } => self.send(slot, id, to, data),
            Effect::Committed(c) => {
                let before = self.nodes[slot].state;
                let mut after = before;
                after.apply(&c);
                self.checks.committed(id, &c, &before, &after);
                self.nodes[slot].state = after;
                self.nodes[slot].queue.push_back(Write::Apply(after));
            }
            Effect::InstallSnapshot { index, data, .. } => {
                let state = State::from_bytes(&data);
                self.note(|| format!("{id:?} installs {index}"));
                self.checks.installed(id, &state);
                self.nodes[slot].state = state;
            }
            Effect::NeedSnapshot { .. } => {
                let took = self.rng.range(MS, 100 * MS);
                self.push(took, Ev::SnapshotMade { slot, life });
            }
            Effect::BecameLeader { term } => {
                self.note(|| format!("{id:?} leads in term {term}"));
                self.checks.leader(id, term);
                self.nodes[slot].leads = true;
            }
            Effect::BecameFollower { term, leader } => {
                self.note(|| format!("{id:?} follows {leader:?} in term {term}"));
                self.nodes[slot].leads = false;
            }
            Effect::Fault(Fault::NotForUs { .. }) => {}
            Effect::Fault(f) => self.checks.fail(format!("{id:?}: {f}")),
            Effect::MemberRefused { name, why } => {
                self.note(|| format!("{id:?} refuses {name}: {why:?}"));
            }
            Effect::Refused { .. } | Effect::Orphaned { .. } => {}
        }
    }

    fn send(&mut self, slot: usize, from: NodeId, to: NodeId, data: bytes::Bytes) {
        let Some(dest) = self.slots.get(&to).copied() else { return };
        let copies = 1 + u64::from(self.rng.chance(self.net.dup_percent));
        for _ in 0..copies {
            if self.net.cut.contains(&(slot, dest)) || self.rng.chance(self.net.loss_percent) {
                continue;
            }
            let delay = match self.net.delay_max > 20 * MS && self.rng.chance(10) {
                true => self.rng.range(200, self.net.delay_max),
                false => self.rng.range(200, 5 * MS),
            };
            self.push(delay, Ev::Deliver { from, to, data: data.clone() });
        }
    }

    /// One client call: a write at the leader mostly, a read anywhere.
    fn client(&mut self) {
        let slot = self.rng.below(self.nodes.len() as u64) as usize;
        self.ask_in(slot);
        let leader = (0..self.nodes.len())
            .find(|s| self.nodes[*s].leads && self.nodes[*s].up(self.t) && self.deaf != Some(*s));
        let target = if self.rng.chance(80) { leader.unwrap_or(slot) } else { slot };
        if self.rng.chance(40) && self.nodes[target].up(self.t) && self.deaf != Some(target) {
            self.next_value += 1;
            let tag = self.next_value;
            self.handle(target, Event::Propose { tag, data: tag.to_le_bytes().to_vec().into() });
        }
        for _ in 0..2 {
            let at = self.rng.below(self.nodes.len() as u64) as usize;
            self.read(at);
        }
    }

    fn read(&mut self, slot: usize) {
        let n = &self.nodes[slot];
        let Some(q) = n.q.as_ref().filter(|_| n.up(self.t)) else { return };
        if q.readable(n.local(self.t)) {
            self.checks.read(n.id, &n.state, !n.leads);
        }
    }

    /// A monitor that belongs nowhere asks any other to be let in.
    fn ask_in(&mut self, slot: usize) {
        let n = &self.nodes[slot];
        let outside = n.up(self.t)
            && n.state.applied == 0
            && n.q.as_ref().is_some_and(|q| q.view().state == MonState::Probing);
        if !outside || !self.rng.chance(10) {
            return;
        }
        let (id, name) = (n.id, n.name.clone());
        // Whoever is asked names the leader, if it knows one.
        let leader = self.nodes.iter().position(|n| n.leads).filter(|_| self.rng.chance(50));
        let other = leader.unwrap_or(self.rng.below(self.nodes.len() as u64) as usize);
        if self.nodes[other].up(self.t) && !self.net.cut.contains(&(slot, other)) {
            self.handle(other, Event::Add { id, name });
        }
    }
}

pub fn name_of(slot: usize) -> String {
    char::from(b'a' + slot as u8).to_string()
}
