//! What waits for a quorum is bounded in bytes: who sends more loses its session, and so sends again.

use messages::{MMonCommand, MMonCommandAck};
use mon_core::testing::{FSID, World};
use mon_core::{MonEvent, Role};

#[test]
fn too_many_bytes_end_the_session_that_sent_them_and_no_other() {
    let mut w = World::new(1);
    let [a, b] = [5000, 5001].map(|port| w.open(Role::Mon, "client.admin", port, "allow *"));
    let json = r#"{"prefix":"config-key exists","key":"k"}"#;
    let large = || MMonCommand::new(FSID, json, vec![0; 1 << 20].into());
    w.event(MonEvent::Readable(false));
    w.lines.clear();
    for _ in 0..60 {
        w.send(a, &large());
    }
    assert_eq!(w.lines, Vec::<String>::new(), "they have room");
    for _ in 0..60 {
        w.send(b, &large());
    }
    let full: Vec<&String> = w.lines.iter().filter(|l| l.contains("too much waits here already")).collect();
    // (One more than 39: then it has no session any more.)
    assert_eq!(full.len(), 1, "{:?}", w.lines);
    assert!(full[0].contains(&format!("session {b} ends")), "{full:?}");
    w.event(MonEvent::Readable(true));
    assert_eq!(w.take::<MMonCommandAck>(a).len(), 60);
    assert_eq!(w.take::<MMonCommandAck>(b).len(), 0);
}
