//! Changes that are larger than an entry of the monitors' log may be: refused once, forgotten, and nobody else pays for them.

use bytes::Bytes;
use denc::Features;
use messages::Message;
use messages::mon::{MMonCommand, MMonCommandAck, MPoolOp, MPoolOpReply, pool_op};
use mon_core::testing::{FSID, World};
use mon_core::{MonEffect, MonEvent, Proposal, Role, SessionId, Unproposed};
use types::Errno;
use types::features::SUPPORTED;
use types::osdmap::flag;

fn command(json: &str, data: impl Into<Bytes>, tid: u64) -> Message {
    Message::new(&MMonCommand::new(FSID, json, data.into()), Features(SUPPORTED)).with_tid(tid)
}

fn set_key(len: usize) -> String {
    format!(r#"{{"prefix":"config-key set","key":"big","val":"{}"}}"#, "x".repeat(len))
}

fn exists(w: &mut World, key: &str) -> i32 {
    w.command(Role::Mon, &format!(r#"{{"prefix":"config-key exists","key":"{key}"}}"#)).0
}

fn proposal(effects: Vec<MonEffect>) -> Option<Proposal> {
    effects.into_iter().find_map(|e| match e {
        MonEffect::Propose(p) => Some(p),
        _ => None,
    })
}

fn answers(w: &mut World, ids: &[SessionId]) -> Vec<Vec<i32>> {
    ids.iter().map(|id| w.take::<MMonCommandAck>(*id).iter().map(|a| a.r).collect()).collect()
}

#[test]
fn a_change_that_is_too_large_is_refused_once_and_forgotten() {
    let mut w = World::new(3);
    w.entry_bytes_max = 30_000;
    let (code, text, _) = w.command(Role::Mon, &set_key(40_000));
    assert_eq!(code, Errno::EFBIG.negated(), "{text}");
    assert!(text.contains("more than the 30000"), "{text}");
    assert!(w.lines.iter().any(|l| l.contains("is dropped")), "{:?}", w.lines);
    assert_eq!(exists(&mut w, "big"), Errno::ENOENT.negated());
    // The monitor goes on, in its office, with what was reported to it.
    w.advance(5);
    let (code, text, _) = w.command(Role::Mon, r#"{"prefix":"osd set","key":"noout"}"#);
    assert_eq!(code, 0, "{text}");
    assert!(w.core.osdmap().has_flag(flag::NOOUT));
    let (_, _, log) = w.command(Role::Mon, r#"{"prefix":"log last","num":1000}"#);
    assert_eq!(String::from_utf8_lossy(&log).matches("is new leader").count(), 1);
    // Asked again (under another transaction, or the same), it is refused again, once each time.
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    for _ in 0..2 {
        w.event(MonEvent::Message(id, command(&set_key(40_000), "", 7)));
        assert_eq!(answers(&mut w, &[id]), [[Errno::EFBIG.negated()]]);
    }
    assert_eq!(w.command(Role::Mon, &set_key(4_000)).0, 0);
    assert_eq!(exists(&mut w, "big"), 0);
}

#[test]
fn whatever_answers_can_refuse() {
    let mut w = World::new(1);
    let (code, text, _) = w.command(Role::Mon, r#"{"prefix":"osd pool create","pool":"p","pg_num":4}"#);
    assert_eq!(code, 0, "{text}");
    let pool = w.core.osdmap().pool_by_name("p").expect("the pool").0 as u32;
    w.entry_bytes_max = 10;
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    w.send(id, &MPoolOp { fsid: FSID, pool, op: pool_op::CREATE_UNMANAGED_SNAP, ..MPoolOp::default() });
    let r = w.take::<MPoolOpReply>(id);
    assert_eq!(
        r.iter().map(|r| (r.reply_code, r.response_data.is_some())).collect::<Vec<_>>(),
        [(Errno::EFBIG.negated(), false)]
    );
}

#[test]
fn what_is_refused_for_its_size_takes_nothing_with_it() {
    let mut w = World::new(1);
    let ids: Vec<SessionId> = (0..4).map(|_| w.open(Role::Mon, "client.admin", 9000, "allow *")).collect();
    // One is in flight; three wait, the one in the middle with much input and a change that will not fit.
    let now = w.now();
    let first = command(r#"{"prefix":"osd set","key":"noout"}"#, "", 1);
    let in_flight = proposal(w.core.handle(now, MonEvent::Message(ids[0], first))).expect("a proposal");
    let caps = vec!["allow r"; 20_000].join(", ");
    let comment = "#".repeat(5 << 20);
    let keyring = format!(
        "{comment}\n[client.big]\n\tkey = AQCxQQ5nAAAAABAAYW5kIHNvbWUgYnl0ZXMuLi4=\n\tcaps mon = \"{caps}\"\n"
    );
    let json = [
        r#"{"prefix":"osd set","key":"noup"}"#,
        r#"{"prefix":"auth import"}"#,
        r#"{"prefix":"osd set","key":"nodown"}"#,
    ];
    for (i, json) in json.iter().enumerate() {
        let input = if i == 1 { keyring.clone() } else { String::new() };
        w.event(MonEvent::Message(ids[i + 1], command(json, input, 1)));
    }
    w.entry_bytes_max = 100_000;
    assert_eq!(answers(&mut w, &ids), [[0; 0]; 4], "all wait");
    w.event(MonEvent::Committed(in_flight));
    assert_eq!(answers(&mut w, &ids), [[0], [0], [Errno::EFBIG.negated()], [0]]);
    let m = w.core.osdmap();
    assert!([flag::NOOUT, flag::NOUP, flag::NODOWN].iter().all(|f| m.has_flag(*f)));
    assert!(w.core.auth().sorted().iter().all(|(n, _)| n != "client.big"));
}

#[test]
fn a_refusal_that_passes_ends_the_sessions_that_wait() {
    let mut w = World::new(1);
    let id = w.open(Role::Mon, "client.admin", 9000, "allow *");
    let now = w.now();
    let m = command(r#"{"prefix":"osd set","key":"noout"}"#, "", 1);
    let p = proposal(w.core.handle(now, MonEvent::Message(id, m))).expect("a proposal");
    let why = Unproposed::NotNow("this monitor does not lead");
    let effects = w.core.handle(now, MonEvent::Refused { version: p.version, why });
    assert!(effects.iter().any(|e| matches!(e, MonEffect::Close(s) if *s == id)));
}

#[test]
fn a_daemon_that_says_too_much_of_itself_is_not_listened_to() {
    let mut w = World::new(1);
    let long = "x".repeat(1 << 20);
    let id = w.open(Role::Mon, "osd.1", 7001, "allow *");
    let mut superblock = types::superblock::OsdSuperblock { cluster_fsid: FSID, ..Default::default() };
    (superblock.whoami, superblock.osd_fsid) = (types::OsdId(1), types::Fsid([1; 16]));
    let metadata = [("hostname".to_owned(), long.clone())].into();
    w.send(id, &messages::MOsdBoot { superblock, metadata, ..Default::default() });
    assert!(!w.core.osdmap().exists(types::OsdId(1)));
    let metadata = [("hostname".to_owned(), long)].into();
    w.event(MonEvent::News(mon_core::MemberNews { name: "a".into(), metadata, ..Default::default() }));
    w.advance(5);
    assert!(w.disk.values().all(|v| v.len() < 1 << 20));
}
