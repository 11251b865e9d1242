//! A peer with the cluster's key that says anything: messages of a real run with fields changed must neither make a member panic
//! nor make it forget what it has committed. (What such a peer *could* do is stop the others: it is a voter.)

use bytes::Bytes;
use quorum::{
    Config, Effect, Envelope, Event, Limits, Loaded, Moment, NodeId, Quorum, decode_entry, decode_envelope,
    joiner_meta, seed_meta,
};
use std::collections::VecDeque;

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Members whose disks are instant; every message that was ever sent is kept.
struct Cluster {
    members: Vec<Quorum>,
    queue: VecDeque<(NodeId, NodeId, Bytes)>,
    seen: Vec<(NodeId, NodeId, Bytes)>,
    now: u64,
}

impl Cluster {
    fn new(seed: u64) -> Cluster {
        let ids: Vec<_> = (1..=3).map(|i| (NodeId(i), format!("m{i}"))).collect();
        let members = ids
            .iter()
            .map(|(id, _)| {
                let loaded = Loaded { meta: seed_meta(*id, &ids), entries: vec![], applied: 1 };
                let cfg = Config {
                    limits: Limits { keep_entries: 4, ..Limits::default() },
                    ..Config::new(id.0, seed)
                };
                Quorum::new(cfg, &loaded, Moment(0)).unwrap()
            })
            .collect();
        Cluster { members, queue: VecDeque::new(), seen: Vec::new(), now: 0 }
    }

    fn give(&mut self, at: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let from = self.members[at].id();
            for e in self.members[at].handle(Moment(self.now), event) {
                match e {
                    Effect::Persist(p) => {
                        for (index, b) in &p.put {
                            assert_eq!(decode_entry(b).unwrap().0, *index);
                        }
                        events.push_back(Event::Persisted(p.token));
                    }
                    Effect::Committed(c) => events.push_back(Event::Applied(c.index)),
                    Effect::NeedSnapshot { at_least } => events.push_back(Event::Snapshot {
                        index: at_least.max(self.members[at].view().applied),
                        data: Bytes::from_static(b"state"),
                    }),
                    Effect::Send { to, data } => {
                        self.queue.push_back((from, to, data.clone()));
                        self.seen.push((from, to, data));
                    }
                    _ => {}
                }
            }
        }
    }

    fn round(&mut self, rng: &mut Rng) {
        self.now += 50_000;
        for at in 0..3 {
            self.give(at, Event::Tick);
            let data = Bytes::from(vec![7u8; rng.below(50) as usize]);
            self.give(at, Event::Propose { tag: self.now, data });
        }
        while let Some((from, to, data)) = self.queue.pop_front() {
            if rng.below(20) > 0
                && let Some(at) = self.members.iter().position(|m| m.id() == to)
            {
                self.give(at, Event::Message { from, data });
            }
        }
    }
}

fn odd(rng: &mut Rng, v: u64) -> u64 {
    match rng.below(7) {
        0 => 0,
        1 => 1,
        2 => v.wrapping_add(1),
        3 => v.saturating_sub(1),
        4 => (1 << 62) - 1,
        5 => v + rng.below(100),
        _ => rng.below(v.max(1)),
    }
}

/// Changes one to three fields.
fn twist(rng: &mut Rng, env: &mut Envelope) {
    for _ in 0..=rng.below(3) {
        let Some(m) = &mut env.raft else {
            (env.visible, env.stamp) = (odd(rng, env.visible), odd(rng, env.stamp));
            return;
        };
        match rng.below(12) {
            0 => m.term = odd(rng, m.term),
            1 => m.index = odd(rng, m.index),
            2 => m.log_term = odd(rng, m.log_term),
            3 => m.commit = odd(rng, m.commit),
            4 => m.commit_term = odd(rng, m.commit_term),
            5 => m.reject = !m.reject,
            6 => m.reject_hint = odd(rng, m.reject_hint),
            7 => {
                let mut entries = m.take_entries().into_vec();
                if let Some(i) = (!entries.is_empty()).then(|| rng.below(entries.len() as u64) as usize) {
                    match rng.below(3) {
                        0 => entries[i].term = odd(rng, entries[i].term),
                        1 => entries[i].index = odd(rng, entries[i].index),
                        _ => {
                            entries.remove(i);
                        }
                    }
                }
                m.set_entries(entries.into());
            }
            8 if m.has_snapshot() => {
                let meta = m.mut_snapshot().mut_metadata();
                (meta.index, meta.term) = (odd(rng, meta.index), odd(rng, meta.term));
            }
            9 => env.term = odd(rng, env.term),
            10 => env.leads = !env.leads,
            _ => env.visible = odd(rng, env.visible),
        }
    }
}

/// The envelope's bytes: there is no public encoder, a member makes them.
fn bytes_of(env: &Envelope) -> Bytes {
    denc::to_bytes(env, denc::Features::ALL)
}

#[test]
fn no_message_of_a_peer_makes_a_member_panic() {
    let (mut sent, mut refused) = (0, 0);
    let seeds = std::env::var("QUORUM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        let mut rng = Rng(seed);
        let mut c = Cluster::new(seed);
        for _ in 0..60 {
            c.round(&mut rng);
        }
        let seen = c.seen.clone();
        for n in 0..400 {
            let (from, to, data) = &seen[rng.below(seen.len() as u64) as usize];
            let mut env = decode_envelope(data).unwrap();
            twist(&mut rng, &mut env);
            let at = c.members.iter().position(|m| m.id() == *to).unwrap();
            let before = c.members[at].view().applied;
            c.now += rng.below(400_000);
            let effects =
                c.members[at].handle(Moment(c.now), Event::Message { from: *from, data: bytes_of(&env) });
            sent += 1;
            refused += u64::from(effects.iter().any(|e| matches!(e, Effect::Fault(_))));
            for e in effects {
                if let Effect::Persist(p) = e {
                    c.give(at, Event::Persisted(p.token));
                }
            }
            assert!(c.members[at].view().applied >= before);
            if n % 10 == 0 {
                c.round(&mut rng);
            }
        }
    }
    println!("{sent} messages, {refused} refused");
    assert!(refused > sent / 100);
}

#[test]
fn bytes_that_are_no_message_are_a_fault_and_no_more() {
    let mut q = Quorum::new(
        Config::new(1, 1),
        &Loaded { meta: joiner_meta(NodeId(9)), entries: vec![], applied: 0 },
        Moment(0),
    )
    .unwrap();
    let mut rng = Rng(5);
    for len in 0..300 {
        let data: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        let effects = q.handle(Moment(1), Event::Message { from: NodeId(2), data: data.into() });
        assert!(effects.iter().any(|e| matches!(e, Effect::Fault(_))), "{effects:?}");
    }
}
