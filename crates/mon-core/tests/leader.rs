//! Taking and losing office, and requests that are asked again.

use denc::Features;
use messages::Message;
use messages::mon::{MMonCommand, MMonCommandAck};
use mon_core::testing::{FSID, World};
use mon_core::{MemberNews, MonEffect, MonEvent, Proposal, QuorumInfo, Role, SessionId};
use types::MonState;
use types::features::SUPPORTED;

fn command(json: &str, tid: u64) -> Message {
    let m = MMonCommand::new(FSID, json, bytes::Bytes::new());
    Message::new(&m, Features(SUPPORTED)).with_tid(tid)
}

fn log_lines(w: &mut World, text: &str) -> usize {
    let (_, _, data) = w.command(Role::Mon, r#"{"prefix":"log last","num":1000}"#);
    String::from_utf8_lossy(&data).lines().filter(|l| l.ends_with(text)).count()
}

/// The monitor follows `b`.
fn peon(w: &World) -> QuorumInfo {
    QuorumInfo {
        state: MonState::Peon,
        leads: false,
        leader: Some("b".into()),
        quorum: vec!["a".into(), "b".into()],
        election_epoch: 8,
        since: w.now(),
    }
}

fn proposal(effects: &[MonEffect]) -> Option<Proposal> {
    effects.iter().find_map(|e| match e {
        MonEffect::Propose(p) => Some(p.clone()),
        _ => None,
    })
}

#[test]
fn a_request_that_is_asked_again_is_answered_and_not_done_again() {
    let mut w = World::new(1);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    let json = r#"{"prefix":"log","logtext":["once"]}"#;
    w.event(MonEvent::Message(id, command(json, 77)));
    assert_eq!(w.take::<MMonCommandAck>(id).len(), 1);
    w.event(MonEvent::Message(id, command(json, 77)));
    let again = w.take::<MMonCommandAck>(id);
    assert_eq!((again.len(), again[0].r), (1, 0), "it is answered");
    assert_eq!(log_lines(&mut w, "once"), 1);
    // After a restart, too (in this world a session's number gives the client's global id); another transaction is another request.
    let mut w = w.restarted();
    while w.open(Role::Mon, "client.admin", 9000, "allow *") != id {}
    w.event(MonEvent::Message(id, command(json, 77)));
    assert_eq!((w.take::<MMonCommandAck>(id).len(), log_lines(&mut w, "once")), (1, 1));
    w.event(MonEvent::Message(id, command(json, 78)));
    assert_eq!(log_lines(&mut w, "once"), 2);
}

#[test]
fn answers_with_keys_are_not_kept() {
    let mut w = World::new(0);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    w.event(MonEvent::Message(id, command(r#"{"prefix":"auth get-or-create","entity":"client.x"}"#, 5)));
    assert_eq!(w.take::<MMonCommandAck>(id)[0].r, 0);
    assert_eq!(w.disk.keys().filter(|k| k.starts_with("done/")).count(), 0);
    w.event(MonEvent::Message(id, command(r#"{"prefix":"osd set","key":"noout"}"#, 6)));
    assert_eq!(w.disk.keys().filter(|k| k.starts_with("done/")).count(), 1);
}

#[test]
fn who_waits_when_the_leader_loses_its_office_must_ask_again() {
    let mut w = World::new(1);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    let now = w.now();
    let effects =
        w.core.handle(now, MonEvent::Message(id, command(r#"{"prefix":"osd set","key":"noout"}"#, 9)));
    let p = proposal(&effects).expect("a change is proposed");
    assert!(!effects.iter().any(|e| matches!(e, MonEffect::Send(s, _) if *s == id)), "no answer yet");
    let info = peon(&w);
    let effects = w.core.handle(now, MonEvent::Quorum(info));
    assert!(effects.iter().any(|e| matches!(e, MonEffect::Close(s) if *s == id)), "{effects:?}");
    // The next leader had it in its log: it becomes part of the history here as well.
    w.core.handle(now, MonEvent::Committed(p));
    assert!(w.core.osdmap().has_flag(types::osdmap::flag::NOOUT));
}

#[test]
fn a_follower_answers_from_committed_state_and_hands_the_rest_to_the_leader() {
    let mut w = World::new(1);
    let info = peon(&w);
    w.event(MonEvent::Quorum(info));
    let id: SessionId = w.open(Role::Mon, "client.admin", 9000, "allow *");
    let now = w.now();
    let local = w.core.handle(now, MonEvent::Message(id, command(r#"{"prefix":"osd dump"}"#, 1)));
    assert!(local.iter().any(|e| matches!(e, MonEffect::Send(s, m) if *s == id && m.header.tid == 1)));
    let handed =
        w.core.handle(now, MonEvent::Message(id, command(r#"{"prefix":"osd set","key":"noout"}"#, 2)));
    assert!(
        handed
            .iter()
            .any(|e| matches!(e, MonEffect::Forward(s, p, _) if *s == id && p.entity == "client.admin"))
    );
    assert!(proposal(&handed).is_none(), "only the leader proposes");
    // The leader is gone before it answered.
    let lost = w.core.handle(now, MonEvent::LeaderLost);
    assert!(lost.iter().any(|e| matches!(e, MonEffect::Close(s) if *s == id)));
}

#[test]
fn nothing_is_answered_while_another_may_know_better() {
    let mut w = World::new(1);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    w.event(MonEvent::Readable(false));
    w.event(MonEvent::Message(id, command(r#"{"prefix":"osd dump"}"#, 1)));
    assert!(w.take::<MMonCommandAck>(id).is_empty());
    w.event(MonEvent::Readable(true));
    assert_eq!(w.take::<MMonCommandAck>(id).len(), 1, "it waited");
    w.event(MonEvent::Readable(false));
    w.env.advance(4);
    let now = w.now();
    let effects = w.core.handle(now, MonEvent::Tick);
    assert!(effects.iter().any(|e| matches!(e, MonEffect::Close(s) if *s == id)), "it finds another monitor");
    assert!(!w.core.is_serving(now));
}

#[test]
fn a_request_that_is_asked_twice_before_anybody_can_answer_is_done_once() {
    let mut w = World::new(1);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    w.event(MonEvent::Readable(false));
    let json = r#"{"prefix":"log","logtext":["once"]}"#;
    w.event(MonEvent::Message(id, command(json, 77)));
    w.event(MonEvent::Message(id, command(json, 77)));
    // Both are handled at once, and their changes are one proposal.
    w.event(MonEvent::Readable(true));
    assert_eq!(w.take::<MMonCommandAck>(id).len(), 1);
    assert_eq!(log_lines(&mut w, "once"), 1);
}

#[test]
fn a_command_for_another_cluster_is_refused_and_not_left_without_an_answer() {
    let mut w = World::new(1);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    let m =
        MMonCommand::new(types::Fsid([7; 16]), r#"{"prefix":"osd set","key":"noout"}"#, bytes::Bytes::new());
    w.send(id, &m);
    let r = w.take::<MMonCommandAck>(id);
    assert_eq!(r.iter().map(|r| (r.r, r.rs.as_str())).collect::<Vec<_>>(), [(-1, "wrong fsid")]);
    assert!(!w.core.osdmap().has_flag(types::osdmap::flag::NOOUT));
}

#[test]
fn what_a_member_tells_its_leader_counts_although_the_leader_learns_of_its_election_later() {
    let mut w = World::new(0);
    let add = r#"{"prefix":"mon add","name":"b","addr":"v2:10.9.0.2:3300"}"#;
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    w.event(MonEvent::Message(id, command(add, 3)));
    w.event(MonEvent::Members(vec!["a".into(), "b".into()]));
    let electing =
        QuorumInfo { state: MonState::Electing, leads: false, leader: None, quorum: vec![], ..peon(&w) };
    w.event(MonEvent::Quorum(electing));
    let news = MemberNews {
        name: "b".into(),
        mgr_addrs: w.core.monmap().mons["a"].public_addrs.clone(),
        metadata: [("hostname".to_owned(), "two".to_owned())].into(),
        ..MemberNews::default()
    };
    w.event(MonEvent::News(news));
    let leads = QuorumInfo {
        state: MonState::Leader,
        leads: true,
        leader: Some("a".into()),
        election_epoch: 10,
        ..peon(&w)
    };
    w.event(MonEvent::Quorum(leads));
    w.event(MonEvent::Readable(true));
    w.event(MonEvent::Tick);
    let (_, _, data) = w.command(Role::Mon, r#"{"prefix":"mgr dump","format":"json"}"#);
    let v: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(v["standbys"][0]["name"], "b", "{v}");
}

#[test]
fn who_is_no_member_any_more_ends_its_sessions_at_once() {
    let mut w = World::new(1);
    w.open(Role::Mon, "client.admin", 9000, "allow *");
    w.event(MonEvent::Quorum(peon(&w)));
    assert!(w.core.is_serving(w.now()));
    w.event(MonEvent::Expelled);
    assert_eq!(w.core.sessions().count(), 0);
    assert!(!w.core.is_serving(w.now()), "nobody logs in again here");
    // It has joined again.
    w.event(MonEvent::Readable(false));
    w.event(MonEvent::Readable(true));
    assert!(w.core.is_serving(w.now()));
}

#[test]
fn who_asks_in_vain_to_join_does_not_fill_the_log() {
    let mut w = World::new(1);
    let asks = |w: &mut World, name: &str| {
        w.event(MonEvent::JoinAsked { name: name.into(), node: 9, addrs: Default::default() });
        w.lines.iter().filter(|l| l.contains("asks to join")).count()
    };
    w.lines.clear();
    for _ in 0..100 {
        asks(&mut w, "c");
    }
    assert_eq!(asks(&mut w, "c"), 1);
    assert_eq!(asks(&mut w, "d"), 2);
    w.advance(61);
    assert_eq!(asks(&mut w, "d"), 3);
}
