//! Watches and notifies, from ops to messages.

use crate::testing::Harness;
use crate::watch::{WatchOrigin, WatchOut, event};
use crate::{OpOutcome, SessionId, remove_watches};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use messages::{MWatchNotify, OpCode, OsdOp, Watch, watch_op};
use types::{EntityAddr, EntityName, SnapId};

const A: u64 = 4100;
const B: u64 = 4200;

fn watch(op: u8, cookie: u64) -> OsdOp {
    let mut o = OsdOp::new(OpCode::WATCH);
    o.set_watch(Watch { cookie, op, ..Watch::default() });
    o
}
fn notify(timeout: u32, payload: &str) -> OsdOp {
    let mut e = Encoder::new(Features::ALL);
    e.u32(1);
    e.u32(timeout);
    e.put(payload);
    let mut o = OsdOp::new(OpCode::NOTIFY).with_data(e.finish());
    o.set_notify_cookie(77);
    o
}
fn ack(id: u64, cookie: u64, reply: &str) -> OsdOp {
    let mut e = Encoder::new(Features::ALL);
    e.u64(id);
    e.u64(cookie);
    e.put(reply);
    OsdOp::new(OpCode::NOTIFY_ACK).with_data(e.finish())
}
/// Runs one op of a client and applies its effects.
fn run(h: &mut Harness, client: u64, op: OsdOp) -> (OpOutcome, Vec<WatchOut>) {
    h.client = EntityName::client(client);
    let o = h.run("o", &[op]);
    let origin = WatchOrigin { session: SessionId(client), who: h.client, addr: EntityAddr::default() };
    let out = h.watches.apply(h.now, &Harness::oid("o"), o.user_version, &origin, o.watch.clone());
    (o, out)
}
fn sends(out: Vec<WatchOut>) -> Vec<(u64, MWatchNotify)> {
    out.into_iter()
        .map(|o| match o {
            WatchOut::Send { session, msg } => (session.0, msg),
            other => panic!("not a message: {other:?}"),
        })
        .collect()
}
type Replies = Vec<((u64, u64), Bytes)>;
fn completion(m: &MWatchNotify) -> (Replies, Vec<(u64, u64)>) {
    let mut d = Decoder::new(&m.data);
    let r = (d.get().unwrap(), d.get().unwrap());
    d.expect_end("completion").unwrap();
    r
}
fn started() -> Harness {
    let mut h = Harness::new();
    h.run("o", &[OsdOp::write_full("x".into())]);
    h
}
fn pass(h: &mut Harness, secs: u32) -> Vec<WatchOut> {
    h.now.sec += secs;
    let now = h.now;
    h.watches.tick(now)
}

#[test]
fn a_watch_is_registered_pinged_listed_and_ended() {
    let mut h = started();
    assert_eq!(h.run("none", &[watch(watch_op::WATCH, 1)]).result, -2);
    assert_eq!(run(&mut h, A, watch(watch_op::PING, 1)).0.result, -107);
    let (o, _) = run(&mut h, A, watch(watch_op::WATCH, 1));
    assert!(o.result == 0 && o.write && o.user_version == 1, "a watch does not move the user version");
    let (o, _) = run(&mut h, A, watch(watch_op::PING, 1));
    assert!(o.result == 0 && !o.write);
    let (o, _) = run(&mut h, B, OsdOp::new(OpCode::LIST_WATCHERS));
    let mut d = Decoder::new(&o.ops[0].out);
    let (_, mut d) = d.open("list", 1).unwrap();
    assert_eq!(d.u32(), Ok(1));
    let (_, mut item) = d.open("watch_item_t", 2).unwrap();
    assert_eq!(item.get::<EntityName>(), Ok(EntityName::client(A)));
    assert_eq!((item.u64(), item.u32()), (Ok(1), Ok(30)));
    assert_eq!(run(&mut h, A, watch(watch_op::UNWATCH, 1)).0.result, 0);
    assert_eq!(run(&mut h, A, watch(watch_op::PING, 1)).0.result, -107);
    assert!(h.watches.is_empty() && h.watches.next_deadline().is_none());
}

#[test]
fn a_notify_reaches_all_and_completes_with_their_answers() {
    let mut h = started();
    run(&mut h, A, watch(watch_op::WATCH, 1));
    run(&mut h, B, watch(watch_op::WATCH, 2));
    let (o, out) = run(&mut h, A, notify(5, "hello"));
    let id = u64::from_le_bytes(o.ops[0].out[..].try_into().unwrap());
    let got = sends(out);
    assert_eq!(
        got.iter().map(|(s, m)| (*s, m.opcode, m.cookie)).collect::<Vec<_>>(),
        [(A, event::NOTIFY, 1), (B, event::NOTIFY, 2)]
    );
    assert!(got.iter().all(|(_, m)| m.notify_id == id && m.payload == "hello" && m.notifier_gid == A));
    assert!(run(&mut h, B, ack(id, 2, "b")).1.is_empty());
    assert!(run(&mut h, B, ack(id, 2, "again")).1.is_empty());
    let done = sends(run(&mut h, A, ack(id, 1, "a")).1);
    assert_eq!(done.len(), 1);
    let (session, m) = &done[0];
    assert_eq!((*session, m.opcode, m.cookie, m.return_code), (A, event::NOTIFY_COMPLETE, 77, 0));
    assert_eq!(completion(m), (vec![((A, 1), "a".into()), ((B, 2), "b".into())], vec![]));
}

#[test]
fn a_notify_without_watchers_completes_at_once() {
    let mut h = started();
    let got = sends(run(&mut h, A, notify(5, "x")).1);
    assert_eq!((got.len(), got[0].1.opcode, got[0].1.return_code), (1, event::NOTIFY_COMPLETE, 0));
    assert_eq!(completion(&got[0].1), (vec![], vec![]));
}

#[test]
fn a_silent_watcher_times_a_notify_out_and_is_named() {
    let mut h = started();
    run(&mut h, A, watch(watch_op::WATCH, 1));
    run(&mut h, B, watch(watch_op::WATCH, 2));
    let (o, _) = run(&mut h, A, notify(5, "x"));
    let id = u64::from_le_bytes(o.ops[0].out[..].try_into().unwrap());
    run(&mut h, A, ack(id, 1, "a"));
    assert!(pass(&mut h, 4).is_empty());
    let got = sends(pass(&mut h, 1));
    assert_eq!(got[0].1.return_code, -110);
    assert_eq!(completion(&got[0].1), (vec![((A, 1), "a".into())], vec![(B, 2)]));
    assert!(run(&mut h, B, ack(id, 2, "late")).1.is_empty());
}

#[test]
fn a_lost_client_blocks_until_its_watch_expires_and_is_persistently_removed() {
    let mut h = started();
    run(&mut h, A, watch(watch_op::WATCH, 1));
    run(&mut h, B, watch(watch_op::WATCH, 2));
    let now = h.now;
    h.watches.session_closed(now, SessionId(A));
    assert_eq!(run(&mut h, A, watch(watch_op::PING, 1)).0.result, -110);
    pass(&mut h, 20);
    assert_eq!(run(&mut h, B, watch(watch_op::PING, 2)).0.result, 0);
    let (_, out) = run(&mut h, B, notify(60, "x"));
    assert_eq!(sends(out).len(), 1, "only the connected one is told");
    let out = pass(&mut h, 10);
    let oid = Harness::oid("o");
    let key = (1, EntityName::client(A));
    assert_eq!(out, [WatchOut::Expire { oid: oid.clone(), key }]);
    // The PG's part.
    let obc = crate::load_object_context(&h.store, h.coll, &oid).unwrap();
    let mut version = h.version;
    version.version += 1;
    let (limits, mut id, mut random) = (crate::Limits::default(), 1, |_: &mut [u8]| {});
    let registry = crate::watch::WatchRegistry::new();
    let snapc = types::SnapContext { seq: obc.snapset.seq, snaps: vec![] };
    let mut env = crate::OpEnv {
        store: &h.store,
        coll: h.coll,
        now: h.now,
        epoch: types::Epoch(1),
        mtime: types::Utime::ZERO,
        reqid: types::ReqId::default(),
        addr: EntityAddr::default(),
        session: SessionId(0),
        client_features: 0,
        msg_flags: messages::OsdFlags(0),
        snapid: SnapId::HEAD,
        snapc: &snapc,
        at_version: version,
        last_user_version: h.last_user_version,
        full: crate::PoolFull::No,
        limits: &limits,
        watches: &registry,
        next_notify_id: &mut id,
        random: &mut random,
        require_osd_release: 16,
        min_compat_client: 0,
        copies: &[],
        snap_mapper: true,
    };
    let o = remove_watches(&mut env, &obc, &[key]);
    assert!(o.write && o.new_ctx.as_ref().unwrap().info.mtime == obc.info.mtime);
    h.commit(&o.txn, &o.log, &o.stats);
    let origin =
        WatchOrigin { session: SessionId(0), who: EntityName::default(), addr: EntityAddr::default() };
    let now = h.now;
    h.watches.apply(now, &oid, o.user_version, &origin, o.watch);
    assert_eq!(run(&mut h, A, watch(watch_op::RECONNECT, 1)).0.result, -107);
    assert_eq!(h.watches.len(), 1);
}

#[test]
fn a_new_primary_waits_for_reconnects_and_sends_open_notifies_again() {
    let mut h = started();
    run(&mut h, A, watch(watch_op::WATCH, 1));
    let oid = Harness::oid("o");
    let now = h.now;
    h.watches.clear();
    let obc = crate::load_object_context(&h.store, h.coll, &oid).unwrap();
    h.watches.load_object(now, &oid, &obc.info);
    assert_eq!(run(&mut h, A, watch(watch_op::PING, 1)).0.result, -110);
    assert!(sends(run(&mut h, B, notify(60, "x")).1).is_empty());
    let got = sends(run(&mut h, A, watch(watch_op::RECONNECT, 1)).1);
    assert_eq!((got.len(), got[0].0, got[0].1.opcode), (1, A, event::NOTIFY));
    assert_eq!(run(&mut h, A, watch(watch_op::PING, 1)).0.result, 0);
    // Pings keep it alive.
    for _ in 0..10 {
        assert!(pass(&mut h, 20).iter().all(|o| matches!(o, WatchOut::Send { .. })));
        run(&mut h, A, watch(watch_op::PING, 1));
    }
    assert_eq!(pass(&mut h, 30), [WatchOut::Expire { oid: oid.clone(), key: (1, EntityName::client(A)) }]);
    assert_eq!(pass(&mut h, 5).len(), 1, "asked again");
}

#[test]
fn deleting_the_object_disconnects_its_watchers_and_ends_notifies() {
    let mut h = started();
    run(&mut h, A, watch(watch_op::WATCH, 1));
    run(&mut h, B, notify(60, "x"));
    let got = sends(run(&mut h, B, OsdOp::new(OpCode::DELETE)).1);
    assert_eq!(
        got.iter().map(|(s, m)| (*s, m.opcode)).collect::<Vec<_>>(),
        [(A, event::DISCONNECT), (B, event::NOTIFY_COMPLETE)]
    );
    assert!(h.watches.is_empty() && h.watches.next_deadline().is_none());
}

#[test]
fn blocklisted_clients_lose_their_watches() {
    let mut h = started();
    run(&mut h, A, watch(watch_op::WATCH, 1));
    let now = h.now;
    assert!(h.watches.expire_blocklisted(now, &|_| false).is_empty());
    assert_eq!(h.watches.expire_blocklisted(now, &|_| true).len(), 1);
}
