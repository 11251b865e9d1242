//! Every peer message comes back as it was; cut or spoilt bytes are errors, never panics; big counts allocate nothing.

use bytes::Bytes;
use messages::{Message, Payload};
use objstore::{CollId, Transaction, TxnOp};
use pg::lease::{Rest, Rests};
use pg::msg::*;
use pg::{EntryKind, LogEntry, MSG_LOLIGO_ACKS, PgAck, PgAcks, PgHistory, PgInfo};
use types::{EVersion, EntityName, Epoch, HObject, OsdId, PgId, ReqId, SnapId, SpgId};

const PGID: SpgId = SpgId::replicated(PgId::new(3, 7));

fn oid(name: &'static str) -> HObject {
    HObject { name: Bytes::from_static(name.as_bytes()), snap: SnapId::HEAD, ..HObject::MIN }
}
fn entry(v: u64) -> LogEntry {
    LogEntry {
        kind: EntryKind::Modify,
        oid: oid("x"),
        version: EVersion::new(4, v),
        prior_version: EVersion::new(3, 1),
        reqid: ReqId { name: EntityName::client(9), tid: v, inc: 0 },
        op_returns: vec![(-2, Bytes::from_static(b"out"))],
        ..LogEntry::default()
    }
}
fn all() -> Vec<PgMsg> {
    let info = PgInfo { last_update: EVersion::new(4, 2), ..PgInfo::new(PGID) };
    let history = PgHistory { epoch_created: Epoch(1), ..PgHistory::default() };
    let mut txn = Transaction::new();
    for data in [vec![1u8; 700], vec![2; 3]] {
        txn.push(TxnOp::Write { coll: CollId::Pg(PGID), oid: oid("x"), off: 5, data: data.into() });
    }
    txn.push(TxnOp::Truncate { coll: CollId::Pg(PGID), oid: oid("x"), size: 5 });
    vec![
        PgMsg::QueryInfo(QueryInfo { history: history.clone() }),
        PgMsg::QueryLog(QueryLog { since: EVersion::new(1, 2), history: history.clone() }),
        PgMsg::Notify(Notify {
            info: info.clone(),
            past_intervals: vec![Default::default()],
            rests: Rests(vec![Rest { osd: OsdId(3), epoch: Epoch(7), rest_ms: 900 }]),
        }),
        PgMsg::Log(LogReply { info: info.clone(), entries: vec![entry(1), entry(2)], ..LogReply::default() }),
        PgMsg::Activate(Activate {
            info: info.clone(),
            entries: vec![entry(2)],
            reset: true,
            ..Activate::default()
        }),
        PgMsg::ActivateAck(ActivateAck { activated: Epoch(3), info, lease_ms: 16_000 }),
        PgMsg::Share(Share { history: history.clone(), clean: true, purged_snaps: [SnapId(3)].into() }),
        PgMsg::RepOp(RepOp { seq: 9, entries: vec![entry(3)], txn, ..RepOp::default() }),
        PgMsg::RepOpAck(RepOpAck { seq: 9, last_complete: EVersion::new(4, 3) }),
        PgMsg::Pull(Pull { oid: oid("x"), omap_after: Some(Bytes::from_static(b"k")), ..Pull::default() }),
        PgMsg::PullMiss(PullMiss { oid: oid("x"), corrupt: true, ..PullMiss::default() }),
        PgMsg::Push(Push {
            oid: oid("x"),
            size: 100,
            data: vec![(3, Bytes::from_static(b"abc")), (50, Bytes::from_static(b"de"))],
            omap: vec![(Bytes::from_static(b"k"), Bytes::from_static(b"v"))],
            first: true,
            ..Push::default()
        }),
        PgMsg::PushAck(PushAck { oid: oid("x"), done: true, ..PushAck::default() }),
        PgMsg::Scan(Scan { after: HObject::MIN, max: 5 }),
        PgMsg::ScanReply(ScanReply {
            end: HObject::MAX,
            objects: vec![(oid("x"), EVersion::ZERO)],
            ..Default::default()
        }),
        PgMsg::BackfillProgress(BackfillProgress { remove: vec![oid("x")], ..Default::default() }),
        PgMsg::Remove(Remove { history }),
    ]
}

#[test]
fn every_message_round_trips_and_every_cut_is_an_error() {
    for body in all() {
        let m = PgMessage { pgid: PGID, epoch: Epoch(12), body };
        let wire = Message::new(&m, denc::Features::ALL);
        assert_eq!(wire.header.kind, MSG_LOLIGO_PG);
        assert_eq!(wire.decode::<PgMessage>().unwrap(), m);
        for n in 0..wire.front.len() {
            let cut = Message { front: wire.front.slice(..n), ..wire.clone() };
            assert!(PgMessage::decode_parts(&cut).is_err(), "{} cut at {n}", m.body.name());
        }
        for n in 0..wire.data.len() {
            let cut = Message { data: wire.data.slice(..n), ..wire.clone() };
            assert!(PgMessage::decode_parts(&cut).is_err(), "{} data cut at {n}", m.body.name());
        }
    }
}
#[test]
fn acknowledgements_of_several_pgs_round_trip_and_every_cut_is_an_error() {
    let ack = |seed: u32, seq: u64| PgAck {
        pgid: SpgId::replicated(PgId::new(3, seed)),
        epoch: Epoch(12),
        ack: RepOpAck { seq, last_complete: EVersion::new(4, seq) },
    };
    let m = PgAcks { acks: vec![ack(7, 1), ack(1, 5), ack(7, 2)] };
    let wire = Message::new(&m, denc::Features::ALL);
    assert_eq!(wire.header.kind, MSG_LOLIGO_ACKS);
    assert_eq!(wire.decode::<PgAcks>().unwrap(), m);
    for n in 0..wire.front.len() {
        let cut = Message { front: wire.front.slice(..n), ..wire.clone() };
        assert!(PgAcks::decode_parts(&cut).is_err(), "cut at {n}");
    }
    let one = ack(7, 1).into_message();
    assert_eq!((one.pgid, one.epoch), (PGID, Epoch(12)));
    assert_eq!(one.body, PgMsg::RepOpAck(RepOpAck { seq: 1, last_complete: EVersion::new(4, 1) }));
}
#[test]
fn a_single_payload_is_sent_without_a_copy() {
    let data = Bytes::from(vec![1u8; 4096]);
    let mut txn = Transaction::new();
    txn.push(TxnOp::Write { coll: CollId::Meta, oid: oid("x"), off: 0, data: data.clone() });
    let m = PgMessage { pgid: PGID, epoch: Epoch(1), body: PgMsg::RepOp(RepOp { txn, ..RepOp::default() }) };
    assert_eq!(Message::new(&m, denc::Features::ALL).data.as_ptr(), data.as_ptr());
}
#[test]
fn spoilt_and_random_bytes_never_panic() {
    let mut x = 88172645463325252u64;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    for body in all() {
        let wire = Message::new(&PgMessage { pgid: PGID, epoch: Epoch(12), body }, denc::Features::ALL);
        let mut bytes = (wire.front.len() as u16).to_le_bytes().to_vec();
        bytes.extend_from_slice(&wire.front);
        bytes.extend_from_slice(&wire.data);
        pg::fuzz::fuzz_pg_message(&bytes);
        pg::fuzz::fuzz_pg_acks(&bytes[2..]);
        for _ in 0..2000 {
            let mut b = bytes.clone();
            for _ in 0..1 + next() % 3 {
                let at = 2 + next() as usize % (b.len() - 2);
                b[at] = next() as u8;
            }
            pg::fuzz::fuzz_pg_message(&b);
            pg::fuzz::fuzz_pg_meta(&b);
        }
    }
    for _ in 0..20_000 {
        let n = next() as usize % 200;
        let b: Vec<u8> = (0..n).map(|_| next() as u8).collect();
        pg::fuzz::fuzz_pg_message(&b);
        pg::fuzz::fuzz_pg_meta(&b);
    }
}
