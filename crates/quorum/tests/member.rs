//! Single steps of a member: one event in, the effects compared.

use bytes::Bytes;
use quorum::{
    Config, Effect, Event, Fault, Loaded, Moment, NodeId, Payload, Persist, Quorum, Refusal, joiner_meta,
    seed_meta,
};
use std::collections::VecDeque;
use types::MonState;

const MS: u64 = 1000;

fn ids(n: u64) -> Vec<(NodeId, String)> {
    (1..=n).map(|i| (NodeId(i), format!("m{i}"))).collect()
}

fn member(id: u64, of: u64, now_ms: u64) -> Quorum {
    let loaded = Loaded { meta: seed_meta(NodeId(id), &ids(of)), entries: vec![], applied: 1 };
    Quorum::new(Config::new(id, 7), &loaded, Moment(now_ms * MS)).unwrap()
}

fn at(ms: u64) -> Moment {
    Moment(ms * MS)
}
fn sends(effects: &[Effect]) -> Vec<(NodeId, Bytes)> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Send { to, data } => Some((*to, data.clone())),
            _ => None,
        })
        .collect()
}
fn persists(effects: &[Effect]) -> Vec<Persist> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Persist(p) => Some(p.clone()),
            _ => None,
        })
        .collect()
}
fn to(id: u64, effects: &[Effect]) -> Event {
    let sent = sends(effects);
    let (_, data) = sent.iter().find(|(to, _)| to.0 == id).expect("a message for it");
    Event::Message { from: quorum::decode_envelope(data).unwrap().from, data: data.clone() }
}

/// Members with instant disks and an instant network.
struct Cluster(Vec<Quorum>);

impl Cluster {
    fn drive(&mut self, now: Moment, who: usize, event: Event) -> Vec<Effect> {
        let mut queue = VecDeque::from([(who, event)]);
        let mut all = Vec::new();
        while let Some((who, event)) = queue.pop_front() {
            for e in self.0[who].handle(now, event) {
                match &e {
                    Effect::Persist(p) => queue.push_back((who, Event::Persisted(p.token))),
                    Effect::Committed(c) => queue.push_back((who, Event::Applied(c.index))),
                    Effect::NeedSnapshot { .. } => {
                        let index = self.0[who].view().applied;
                        queue.push_back((who, Event::Snapshot { index, data: Bytes::from_static(b"kv") }));
                    }
                    Effect::Send { to, data } => {
                        let from = self.0[who].id();
                        if let Some(dest) = self.0.iter().position(|m| m.id() == *to) {
                            queue.push_back((dest, Event::Message { from, data: data.clone() }));
                        }
                    }
                    _ => {}
                }
                if who == 0 {
                    all.push(e);
                }
            }
        }
        all
    }
    /// Time passes in steps of 50 ms; what the first member did.
    fn pass(&mut self, from_ms: u64, to_ms: u64) -> Vec<Effect> {
        let mut all = Vec::new();
        for ms in (from_ms..to_ms).step_by(50) {
            for who in 0..self.0.len() {
                all.extend(self.drive(at(ms), who, Event::Tick));
            }
        }
        all
    }
    fn leader(&self) -> usize {
        self.0.iter().position(|m| m.view().state == MonState::Leader).expect("a leader")
    }
}

#[test]
fn a_lone_member_leads_at_once_and_commits_with_one_transaction_and_no_message() {
    let mut q = member(1, 1, 0);
    let e = q.handle(at(0), Event::Tick);
    let [p] = &persists(&e)[..] else { panic!("{e:?}") };
    let e = q.handle(at(1), Event::Persisted(p.token));
    assert!(e.contains(&Effect::BecameLeader { term: 2 }), "{e:?}");
    assert!(q.readable(at(1)));

    let e = q.handle(at(5), Event::Propose { tag: 9, data: Bytes::from_static(b"batch") });
    let [p] = &persists(&e)[..] else { panic!("{e:?}") };
    assert_eq!((p.put.len(), e.len()), (1, 1), "nothing else happens: {e:?}");
    let e = q.handle(at(6), Event::Persisted(p.token));
    let [Effect::Committed(c)] = &e[..] else { panic!("{e:?}") };
    assert_eq!((c.tag, &c.payload), (Some(9), &Payload::Data(Bytes::from_static(b"batch"))));
    let view = q.view();
    assert_eq!((view.election_epoch, view.quorum.len(), view.state), (4, 1, MonState::Leader));
    assert!(q.handle(at(7), Event::Applied(c.index)).is_empty());
}

#[test]
fn a_vote_leaves_after_it_is_durable_and_a_restarted_voter_waits() {
    let (mut a, mut b) = (member(1, 3, 0), member(2, 3, 0));
    // Nobody leads: after two seconds of silence one asks whether it would be elected, which promises nothing.
    let asked = (0..22).map(|n| a.handle(at(n * 100), Event::Tick)).find(|e| !sends(e).is_empty());
    let asked = asked.expect("it asks");
    assert!(persists(&asked).is_empty());
    let answer = b.handle(at(10), to(2, &asked));
    assert!(persists(&answer).is_empty());
    // It would: now it stands. Its own vote for itself must be durable before it asks for others.
    let stands = a.handle(at(2101), to(1, &answer));
    let [p] = &persists(&stands)[..] else { panic!("{stands:?}") };
    assert!(sends(&stands).is_empty());
    let asks = a.handle(at(2110), Event::Persisted(p.token));
    assert_eq!(sends(&asks).len(), 2);
    // The same for the voter.
    let votes = b.handle(at(20), to(2, &asks));
    let [p] = &persists(&votes)[..] else { panic!("{votes:?}") };
    assert!(sends(&votes).is_empty(), "{votes:?}");
    let voted = b.handle(at(30), Event::Persisted(p.token));
    assert_eq!(sends(&voted).len(), 1);
    // A voter that restarts may have promised something that it forgot.
    let loaded = Loaded { meta: p.meta.clone(), entries: vec![], applied: 1 };
    let mut b = Quorum::new(Config::new(99, 7), &loaded, at(50_000)).unwrap();
    b.handle(at(50_000), Event::Tick);
    assert!(sends(&b.handle(at(50_900), to(2, &asked))).is_empty());
    assert!(sends(&b.handle(at(50_900), to(2, &asks))).is_empty());
    assert_eq!(sends(&b.handle(at(51_000), to(2, &asks))).len(), 1, "after an election timeout it answers");
}

#[test]
fn followers_read_under_a_lease_and_refuse_proposals_with_the_leaders_name() {
    let mut c = Cluster(vec![member(1, 3, 0), member(2, 3, 0), member(3, 3, 0)]);
    c.pass(0, 4000);
    let leader = c.leader();
    let id = c.0[leader].id();
    for m in &c.0 {
        let view = m.view();
        assert!(m.readable(at(3950)), "{view:?}");
        assert_eq!((view.leader.as_ref().map(|l| l.id), view.quorum.len()), (Some(id), 3));
        assert_eq!(view.election_epoch % 2, 0);
    }
    // A second of silence ends every lease, the leader's too.
    assert!(c.0.iter().all(|m| !m.readable(at(4950))));

    let follower = (leader + 1) % 3;
    let e = c.0[follower].handle(at(3960), Event::Propose { tag: 1, data: Bytes::from_static(b"x") });
    assert_eq!(e, [Effect::Refused { tag: 1, why: Refusal::NotLeader, leader: Some(id) }]);
}

#[test]
fn a_newcomer_is_let_in_gets_the_state_and_votes() {
    let mut c = Cluster(vec![member(1, 1, 0)]);
    c.pass(0, 100);
    let loaded = Loaded { meta: joiner_meta(NodeId(5)), entries: vec![], applied: 0 };
    c.0.push(Quorum::new(Config::new(5, 5), &loaded, at(100)).unwrap());
    assert_eq!(c.0[1].view().state, MonState::Probing);
    c.drive(at(100), 0, Event::Add { id: NodeId(5), name: "m5".into() });
    c.pass(100, 2000);
    let view = c.0[1].view();
    assert_eq!((view.state, view.members.len(), view.quorum.len()), (MonState::Peon, 2, 2), "{view:?}");
    assert!(c.0[1].readable(at(1950)));
    // Under a living member's name nobody else gets in; under a free one nobody is let in twice.
    let e = c.drive(at(2000), 0, Event::Add { id: NodeId(6), name: "m5".into() });
    assert!(e.contains(&Effect::MemberRefused { name: "m5".into(), why: Refusal::NameInUse }), "{e:?}");
    // And out again; the last one stays.
    c.drive(at(2000), 0, Event::Remove { name: "m5".into() });
    c.pass(2000, 3000);
    assert_eq!(c.0[0].members().len(), 1);
    let e = c.drive(at(3000), 0, Event::Remove { name: "m1".into() });
    assert!(e.contains(&Effect::MemberRefused { name: "m1".into(), why: Refusal::LastVoter }), "{e:?}");
}

#[test]
fn a_message_for_another_identity_is_not_taken() {
    let mut c = Cluster(vec![member(1, 3, 0), member(2, 3, 0), member(3, 3, 0)]);
    c.pass(0, 4000);
    let leader = c.leader();
    let e = c.0[leader].handle(at(4200), Event::Tick);
    let (to, data) = sends(&e)[0].clone();
    let mut stranger = member(9, 1, 0);
    let from = c.0[leader].id();
    let e = stranger.handle(at(1), Event::Message { from, data: data.clone() });
    assert!(e.contains(&Effect::Fault(Fault::NotForUs { from, to })), "{e:?}");
    let liar = NodeId(77);
    let e = stranger.handle(at(2), Event::Message { from: liar, data });
    assert!(e.contains(&Effect::Fault(Fault::WrongSender { from: liar, claimed: from })), "{e:?}");
}

#[test]
fn a_log_is_cut_behind_what_is_applied_but_not_all_of_it() {
    let loaded = Loaded { meta: seed_meta(NodeId(1), &ids(1)), entries: vec![], applied: 1 };
    let mut cfg = Config::new(1, 1);
    cfg.limits.keep_entries = 10;
    let mut c = Cluster(vec![Quorum::new(cfg, &loaded, at(0)).unwrap()]);
    c.pass(0, 50);
    let mut deleted = 0;
    for n in 0..100 {
        for e in c.drive(at(50), 0, Event::Propose { tag: n, data: Bytes::from_static(b"x") }) {
            if let Effect::Persist(p) = e {
                deleted = p.delete_to.unwrap_or(deleted);
            }
        }
    }
    let view = c.0[0].view();
    let kept = view.last_index + 1 - view.first_index;
    assert!((10..=21).contains(&kept), "{kept} entries kept");
    assert_eq!(deleted + 1, view.first_index);
}

#[test]
fn a_member_with_another_lease_is_not_listened_to() {
    let mut c = Cluster(vec![member(1, 3, 0), member(2, 3, 0), member(3, 3, 0)]);
    c.pass(0, 4000);
    let leader = c.leader();
    let from = c.0[leader].id();
    let beat = c.0[leader].handle(at(4200), Event::Tick);
    let (to, data) = sends(&beat)[0].clone();
    let loaded = Loaded { meta: seed_meta(to, &ids(3)), entries: vec![], applied: 1 };
    let mut cfg = Config::new(4, 4);
    cfg.timing = quorum::Timing::with_election(std::time::Duration::from_millis(500));
    let mut odd = Quorum::new(cfg, &loaded, at(0)).unwrap();
    let e = odd.handle(at(1), Event::Message { from, data });
    assert!(
        e.contains(&Effect::Fault(Fault::Timing { from, theirs_us: 800_000, ours_us: 400_000 })),
        "{e:?}"
    );
    assert_eq!(odd.view().leader, None);
}
