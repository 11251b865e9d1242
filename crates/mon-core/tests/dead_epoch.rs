//! When an OSD that is down is also known to be dead: new primaries need not wait for its read leases then.

use messages::{MOsdFailure, MOsdMarkMeDead, MOsdMarkMeDown, failure_flags};
use mon_core::testing::World;
use mon_core::{Role, SessionId};
use types::{Epoch, OsdId};

const ONE: OsdId = OsdId(1);

fn cluster() -> (World, Vec<SessionId>) {
    let mut w = World::new(0);
    let sessions = (0..3).map(|o| w.boot(o)).collect();
    (w, sessions)
}
fn failure(w: &World, flags: u8) -> MOsdFailure {
    let map = w.core.osdmap();
    MOsdFailure {
        fsid: map.fsid,
        target_osd: ONE,
        target_addrs: map.addrs(ONE).cloned().unwrap_or_default(),
        epoch: map.epoch,
        flags: failure_flags::FAILED | flags,
        failed_for_secs: 100,
        ..MOsdFailure::default()
    }
}
/// Down, and known to be dead in its last life.
fn down_and_dead(w: &World) -> (bool, bool) {
    let map = w.core.osdmap();
    let up_from = map.info(ONE).map_or(Epoch(0), |i| i.up_from);
    (!map.is_up(ONE), map.xinfo(ONE).is_some_and(|x| x.dead_epoch >= up_from))
}

#[test]
fn an_osd_whose_port_is_closed_is_dead() {
    let (mut w, s) = cluster();
    let m = failure(&w, failure_flags::IMMEDIATE);
    w.send(s[0], &m);
    assert_eq!(down_and_dead(&w), (true, true));
}

#[test]
fn an_osd_that_is_silent_is_only_down() {
    let (mut w, s) = cluster();
    let m = failure(&w, 0);
    w.send(s[0], &m);
    w.send(s[2], &m);
    w.advance(30);
    assert_eq!(down_and_dead(&w), (true, false));
}

#[test]
fn an_osd_that_says_goodbye_is_dead() {
    let (mut w, s) = cluster();
    let map = w.core.osdmap().clone();
    let m = MOsdMarkMeDown {
        fsid: map.fsid,
        target_osd: ONE,
        target_addrs: map.addrs(ONE).cloned().unwrap_or_default(),
        epoch: map.epoch,
        request_ack: true,
        down_and_dead: true,
        ..MOsdMarkMeDown::default()
    };
    w.send(s[1], &m);
    assert_eq!(down_and_dead(&w), (true, true));
}

#[test]
fn an_osd_that_an_operator_marks_down_is_dead_when_it_says_so_itself() {
    let (mut w, s) = cluster();
    let (code, ..) = w.command(Role::Mon, r#"{"prefix":"osd down","ids":["1"]}"#);
    assert_eq!((code, down_and_dead(&w)), (0, (true, false)));
    let map = w.core.osdmap().clone();
    let said = |epoch| MOsdMarkMeDead { fsid: map.fsid, target_osd: ONE, epoch, ..MOsdMarkMeDead::default() };
    w.send(s[0], &said(map.epoch));
    assert_eq!(down_and_dead(&w), (true, false), "nobody else can say it");
    w.send(s[1], &said(Epoch(map.epoch.0 + 1000)));
    assert_eq!(down_and_dead(&w), (true, true));
    assert!(w.core.osdmap().xinfo(ONE).is_some_and(|x| x.dead_epoch <= map.epoch), "no epoch to come");
}
