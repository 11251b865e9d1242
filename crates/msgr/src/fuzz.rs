//! Fuzz targets as plain functions over bytes: none may panic, and none may hold more than a few times the input.

use crate::auth::{ClientAuth, ServerAuth};
use crate::auth_none::{NoneClient, NoneServer};
use crate::endpoint::{Endpoint, EndpointConfig, Event, Policy};
use crate::frame::{FrameLimits, FrameReader};
use bytes::BytesMut;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Utime, features};

const NOW: Utime = Utime::from_secs(1_000_000);

fn endpoint(name: EntityName) -> Endpoint {
    let cfg = EndpointConfig {
        name,
        nonce: 1,
        features_supported: features::SUPPORTED,
        features_required: 0,
        default_policy: Policy::stateless_registered_server(),
        policies: BTreeMap::from([(EntityType::OSD, Policy::lossless_peer())]),
        require_authorizer: true,
        front_bytes_max: 1 << 20,
        data_bytes_max: 1 << 20,
        out_bytes_max: 1 << 20,
        handshake_max: Duration::from_secs(10),
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(15),
        idle_max: Duration::ZERO,
        session_keep: Duration::from_secs(60),
    };
    let mut ep = Endpoint::new(cfg, Box::new(|| 5));
    ep.my_addrs = addrs();
    ep
}

fn addrs() -> AddrVec {
    let at = |kind, port| EntityAddr::new(kind, SocketAddr::from(([127, 0, 0, 1], port)), 0);
    AddrVec(vec![at(AddrType::Msgr2, 6800), at(AddrType::Legacy, 6801)])
}

/// Feeds `data` in pieces whose sizes come from it, answering what the endpoint asks.
fn feed(ep: &mut Endpoint, t: u64, data: &[u8]) {
    let mut buf = BytesMut::new();
    let mut at = 0;
    while at < data.len() {
        let n = usize::from(data[at] % 97 + 1).min(data.len() - at);
        buf.extend_from_slice(&data[at..at + n]);
        at += n;
        drive(ep, t, &mut buf);
    }
    ep.lost(NOW, t);
    while ep.poll_event().is_some() {}
    ep.handle_timeout(NOW + Duration::from_secs(10_000));
}

fn drive(ep: &mut Endpoint, t: u64, buf: &mut BytesMut) {
    ep.received(NOW, t, buf);
    while let Some(e) = ep.poll_event() {
        match e {
            Event::NeedServerAuth { transport, .. } => {
                let auth: Box<dyn ServerAuth> = Box::new(NoneServer { next_global_id: 9 });
                ep.provide_server_auth(NOW, transport, Some(auth));
                ep.received(NOW, t, buf);
            }
            Event::NeedClientAuth { transport, .. } => {
                let kind = EntityType::CLIENT;
                let auth: Box<dyn ClientAuth> =
                    Box::new(NoneClient { kind, id: "a".into(), global_id: 0, to_mon: false });
                ep.provide_client_auth(NOW, transport, Some(auth));
                ep.received(NOW, t, buf);
            }
            Event::Message(s, m) => {
                ep.send(NOW, s, m);
            }
            _ => {}
        }
    }
    if let Some(out) = ep.out(t) {
        let n = out.len();
        out.advance(n);
    }
}

/// A hostile client of a v2 listener.
pub fn fuzz_v2_server(data: &[u8]) {
    let mut ep = endpoint(EntityName::new(EntityType::OSD, 1));
    let t = ep.accept(NOW, false, SocketAddr::from(([127, 0, 0, 1], 50000)));
    feed(&mut ep, t, data);
}

/// A hostile v2 server.
pub fn fuzz_v2_client(data: &[u8]) {
    client(data, AddrType::Msgr2);
}

/// A hostile v1 server.
pub fn fuzz_v1_client(data: &[u8]) {
    client(data, AddrType::Legacy);
}

fn client(data: &[u8], kind: AddrType) {
    let mut ep = endpoint(EntityName::new(EntityType::OSD, 1));
    let to = AddrVec(addrs().0.into_iter().filter(|a| a.kind == kind).collect());
    let s = ep.connect(NOW, EntityType::OSD, &to, Policy::lossless_peer());
    ep.send(NOW, s, messages::Message::default());
    while let Some(e) = ep.poll_event() {
        if let Event::Open { transport, .. } = e {
            ep.connected(NOW, transport, SocketAddr::from(([127, 0, 0, 1], 50000)));
            return feed(&mut ep, transport, data);
        }
    }
}

/// A hostile client of a v1 listener; the first byte says whether it is a monitor's.
pub fn fuzz_v1_server(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let kind = if first & 1 == 0 { EntityType::MON } else { EntityType::OSD };
    let mut ep = endpoint(EntityName::new(kind, 1));
    let t = ep.accept(NOW, true, SocketAddr::from(([127, 0, 0, 1], 50000)));
    feed(&mut ep, t, data);
}

/// Frames of a ready transport, in crc mode or (first byte odd) in secure mode.
pub fn fuzz_frames(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let mut r =
        FrameReader::new(FrameLimits { ready: true, front_bytes_max: 1 << 16, data_bytes_max: 1 << 16 });
    if first & 1 == 1
        && let Ok((_, opener)) = crate::onwire::pair(&[7; 64], false)
    {
        r.set_secure(opener);
    }
    let mut buf = BytesMut::from(data);
    while let Ok(Some(f)) = r.next(&mut buf) {
        if f.tag == crate::frame::tag::MESSAGE {
            let _ = crate::control::decode_message(f);
        }
    }
}
