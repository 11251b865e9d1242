//! What stock 16.2.15 said on the wire (a `ceph -s` bootstrap at a monitor, method none), fed to our other side.
//!
//! `golden/stock_v2_none.{c2s,s2c}`: client 127.0.0.1:41724 to monitor v2:127.0.0.1:22001/0; `stock_v1_none`: to v1:127.0.0.1:22000/0.

use bytes::BytesMut;
use msgr::auth_none::{NoneClient, NoneServer};
use msgr::frame::{Frame, FrameLimits, FrameReader, tag};
use msgr::{Endpoint, EndpointConfig, Event, Policy};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Utime, features};

const NOW: Utime = Utime::from_secs(1_000_000);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
fn mon_addrs() -> AddrVec {
    AddrVec(vec![
        EntityAddr::new(AddrType::Msgr2, local(22001), 0),
        EntityAddr::new(AddrType::Legacy, local(22000), 0),
    ])
}
fn endpoint(name: EntityName, policy: Policy) -> Endpoint {
    let cfg = EndpointConfig {
        name,
        nonce: 77,
        features_supported: features::SUPPORTED,
        features_required: 0,
        default_policy: policy,
        policies: BTreeMap::new(),
        require_authorizer: false,
        front_bytes_max: 1 << 20,
        data_bytes_max: 1 << 20,
        out_bytes_max: 1 << 20,
        handshake_max: Duration::from_secs(10),
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(15),
        idle_max: Duration::ZERO,
        session_keep: Duration::from_secs(60),
    };
    Endpoint::new(cfg, Box::new(|| 5))
}

/// Feeds `bytes` one by one; answers the events seen and all that was written.
fn feed(ep: &mut Endpoint, t: u64, bytes: &[u8], global_id: u64) -> (Vec<String>, Vec<u8>) {
    let (mut log, mut written, mut buf) = (Vec::new(), Vec::new(), BytesMut::new());
    for &b in bytes {
        buf.extend_from_slice(&[b]);
        ep.received(NOW, t, &mut buf);
        while let Some(e) = ep.poll_event() {
            match e {
                Event::NeedServerAuth { transport, peer_type, .. } => {
                    assert_eq!(peer_type, EntityType::CLIENT);
                    let a = NoneServer { next_global_id: global_id };
                    ep.provide_server_auth(NOW, transport, Some(Box::new(a)));
                    ep.received(NOW, t, &mut buf);
                }
                Event::NeedClientAuth { transport, .. } => {
                    let a = NoneClient {
                        kind: EntityType::CLIENT,
                        id: "admin".into(),
                        global_id: 0,
                        to_mon: true,
                    };
                    ep.provide_client_auth(NOW, transport, Some(Box::new(a)));
                    ep.received(NOW, t, &mut buf);
                }
                Event::Message(_, m) => log.push(format!("message {} v{}", m.header.kind, m.header.version)),
                Event::Connected(_) => log.push("connected".into()),
                Event::Accepted(_) => log.push("accepted".into()),
                Event::KeepaliveAck(..) => {}
                other => log.push(format!("{other:?}")),
            }
        }
        if let Some(out) = ep.out(t) {
            written.extend(out.take_all());
        }
    }
    (log, written)
}

fn frames(bytes: &[u8]) -> BTreeMap<u8, Frame> {
    let limits = FrameLimits { ready: true, front_bytes_max: 1 << 20, data_bytes_max: 1 << 20 };
    let mut r = FrameReader::new(limits);
    let mut buf = BytesMut::from(&bytes[26..]);
    let mut all = BTreeMap::new();
    while let Some(f) = r.next(&mut buf).expect("frames") {
        all.entry(f.tag).or_insert(f);
    }
    all
}

const C2S: &[u8] = include_bytes!("golden/stock_v2_none.c2s");
const S2C: &[u8] = include_bytes!("golden/stock_v2_none.s2c");

#[test]
fn a_stock_client_gets_its_session_and_the_same_bytes_as_from_stock() {
    let mut ep = endpoint(EntityName::mon(0), Policy::stateless_server());
    ep.my_addrs = mon_addrs();
    ep.cfg.features_required = 0x0c01_0200_0204_0000;
    let theirs = frames(S2C);
    let done = &theirs[&tag::AUTH_DONE].segs[0];
    let global_id = u64::from_le_bytes(done[..8].try_into().unwrap());
    let t = ep.accept(NOW, false, local(41724));
    let (log, written) = feed(&mut ep, t, C2S, global_id);
    assert_eq!(log, ["accepted", "message 5 v1", "message 15 v3"]);
    let ours = frames(&written);
    assert_eq!(&written[..26], &S2C[..26], "banner");
    for t in [tag::HELLO, tag::AUTH_DONE, tag::AUTH_SIGNATURE] {
        assert_eq!(ours[&t], theirs[&t], "tag {t}");
    }
    // Same but for the global_seq, which counts connections.
    let (a, b) = (&ours[&tag::SERVER_IDENT].segs[0], &theirs[&tag::SERVER_IDENT].segs[0]);
    assert_eq!(a.len(), b.len());
    assert_eq!(a[..a.len() - 40], b[..b.len() - 40]);
    assert_eq!(a[a.len() - 32..], b[b.len() - 32..]);
}

#[test]
fn a_stock_monitor_is_understood_and_gets_the_same_bytes_as_from_stock() {
    let mut ep = endpoint(EntityName::new(EntityType::CLIENT, -1), Policy::lossy_client());
    let to = AddrVec(vec![mon_addrs().0[0]]);
    let s = ep.connect(NOW, EntityType::MON, &to, Policy::lossless_client());
    let t = match ep.poll_event() {
        Some(Event::Open { transport, .. }) => transport,
        other => panic!("{other:?}"),
    };
    ep.connected(NOW, t, local(41724));
    let first = ep.out(t).unwrap().take_all();
    let (log, rest) = feed(&mut ep, t, S2C, 0);
    assert_eq!(log[0], "connected");
    assert!(log.contains(&"message 4 v1".to_owned()), "{log:?}");
    assert_eq!(ep.session(s).unwrap().peer_addrs, mon_addrs());
    assert!(ep.session(s).unwrap().policy.lossy, "the server decides");
    let written = [first, rest].concat();
    let (ours, theirs) = (frames(&written), frames(C2S));
    assert_eq!(&written[..26], &C2S[..26], "banner");
    for t in [tag::HELLO, tag::AUTH_REQUEST, tag::AUTH_SIGNATURE] {
        assert_eq!(ours[&t], theirs[&t], "tag {t}");
    }
}

#[test]
fn v1_bootstraps_are_understood_on_both_sides() {
    let (c2s, s2c) = (include_bytes!("golden/stock_v1_none.c2s"), include_bytes!("golden/stock_v1_none.s2c"));
    let mut ep = endpoint(EntityName::mon(0), Policy::stateless_server());
    ep.my_addrs = mon_addrs();
    let t = ep.accept(NOW, true, local(52262));
    let (log, written) = feed(&mut ep, t, c2s, 0);
    assert_eq!(log[..2], ["accepted", "message 17 v1"]);
    // Banner, both addresses, and the reply up to its global_seq.
    assert_eq!(written[..9 + 2 * 136 + 1], s2c[..9 + 2 * 136 + 1]);
    assert_eq!(written[9 + 2 * 136 + 13..9 + 2 * 136 + 34], s2c[9 + 2 * 136 + 13..9 + 2 * 136 + 34]);

    let mut ep = endpoint(EntityName::new(EntityType::CLIENT, -1), Policy::lossy_client());
    ep.connect(NOW, EntityType::MON, &AddrVec(vec![mon_addrs().0[1]]), Policy::lossy_client());
    let t = match ep.poll_event() {
        Some(Event::Open { transport, .. }) => transport,
        other => panic!("{other:?}"),
    };
    ep.connected(NOW, t, local(52262));
    let (log, written) = feed(&mut ep, t, s2c, 0);
    assert_eq!(log[..3], ["connected", "message 18 v1", "message 4 v1"]);
    assert_eq!(written[..9], c2s[..9]);
}
