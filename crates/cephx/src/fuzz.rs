//! Fuzz targets: each takes any bytes and must not panic. A value that decodes must also encode and decode to itself.

use crate::caps::{MdsCap, MgrCap, MonCap, OsdCap};
use crate::client::{MonClientAuth, ServiceClientAuth, TicketStore};
use crate::crypto::{CryptoKey, KeyType};
use crate::env::testing::TestEnv;
use crate::keyring::Keyring;
use crate::keyserver::{
    AuthConfig, EntityAuth, ExpiringCryptoKey, KeyServer, KeyServerData, RotatingSecrets,
};
use crate::proto::*;
use crate::server::MonAuthenticator;
use crate::service::ServiceServerAuth;
use bytes::Bytes;
use denc::{Decode, Encode, Features};
use msgr::auth::{ClientAuth, METHOD_CEPHX, MODE_CRC, MODE_SECURE, ServerAuth, ServerStep};
use std::cell::RefCell;
use std::rc::Rc;
use types::EntityType;

fn round_trip<T: Decode + Encode + PartialEq + std::fmt::Debug>(bytes: &Bytes) {
    if let Ok(v) = denc::from_bytes::<T>(bytes) {
        let again = denc::to_bytes(&v, Features::default());
        assert_eq!(denc::from_bytes::<T>(&again).as_ref(), Ok(&v));
    }
}

/// Every structure of this crate.
pub fn fuzz_decoders(data: &[u8]) {
    let b = Bytes::copy_from_slice(data);
    round_trip::<CryptoKey>(&b);
    round_trip::<AuthName>(&b);
    round_trip::<CephXServerChallenge>(&b);
    round_trip::<CephXTicketBlob>(&b);
    round_trip::<CephXServiceTicketRequest>(&b);
    round_trip::<CephXServiceTicket>(&b);
    round_trip::<CephXServiceTicketInfo>(&b);
    round_trip::<CephXAuthorizeChallenge>(&b);
    round_trip::<CephXResponseHeader>(&b);
    if let Ok(v) = denc::from_bytes::<CephXAuthenticate>(&b) {
        denc::to_bytes(&v, Features::default());
    }
    round_trip::<CephXAuthorize>(&b);
    round_trip::<CephXAuthorizeReply>(&b);
    round_trip::<AuthCapsInfo>(&b);
    round_trip::<AuthTicket>(&b);
    round_trip::<EntityAuth>(&b);
    round_trip::<ExpiringCryptoKey>(&b);
    round_trip::<RotatingSecrets>(&b);
    round_trip::<KeyServerData>(&b);
}

/// Keyrings and the four grammars of capabilities; what parses must print to something that parses to the same.
pub fn fuzz_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Keyring::parse(text);
    if let Ok(c) = MonCap::parse(text) {
        assert_eq!(MonCap::parse(&c.to_string()).as_ref(), Ok(&c));
    }
    if let Ok(c) = OsdCap::parse(text) {
        assert_eq!(OsdCap::parse(&c.to_string()).as_ref(), Ok(&c));
    }
    if let Ok(c) = MgrCap::parse(text) {
        assert_eq!(MgrCap::parse(&c.to_string()).as_ref(), Ok(&c));
    }
    if let Ok(c) = MdsCap::parse(text) {
        assert_eq!(MdsCap::parse(&c.to_string()).as_ref(), Ok(&c));
    }
}

/// The accepting sides: the bytes are the first payload, or the one behind a proper first step.
pub fn fuzz_server_exchange(data: &[u8]) {
    let env = Rc::new(TestEnv::new(1));
    let config = Rc::new(AuthConfig::default());
    let name = AuthName::new(EntityType::CLIENT, "a");
    let key = CryptoKey::generate(KeyType::Aes, &*env);
    let mut ks = KeyServer::default();
    ks.data.secrets.insert(name.clone(), EntityAuth::new(key.clone(), &[("mon", "allow *")]));
    ks.data.rotate(&config, &*env);
    let auth = MonAuthenticator::new(Rc::new(RefCell::new(ks)), env.clone(), config.clone());
    let b = Bytes::copy_from_slice(data);
    let modes = [MODE_SECURE, MODE_CRC];

    let mut s = auth.server_auth();
    s.handle_request(EntityType::CLIENT, METHOD_CEPHX, &modes, b.clone());
    s.handle_more(b.clone());
    let mut s = auth.server_auth();
    s.handle_request(EntityType::MON, METHOD_CEPHX, &modes, b.clone());

    let store = TicketStore::new(name, key, &[EntityType::OSD]).shared();
    let mut c = MonClientAuth::new(store.clone(), env.clone(), &modes);
    let Ok(r) = c.start() else { return };
    let mut s = auth.server_auth();
    let first = s.handle_request(EntityType::CLIENT, METHOD_CEPHX, &r.modes, r.payload);
    assert!(matches!(first, ServerStep::More(_)));
    let step = s.handle_more(b.clone());
    assert!(matches!(step, ServerStep::Bad { .. }), "a stranger got in");

    let mut s = auth.v1_login();
    s.handle(0, &b);
    s.handle(2, &b);

    let mut s = ServiceServerAuth::new(EntityType::OSD, store, env, config);
    s.handle_request(EntityType::CLIENT, METHOD_CEPHX, &modes, b.clone());
    s.handle_more(b);
}

/// The connecting sides: the bytes are what a server answers.
pub fn fuzz_client_exchange(data: &[u8]) {
    let env = Rc::new(TestEnv::new(1));
    let b = Bytes::copy_from_slice(data);
    for kind in [KeyType::Aes, KeyType::Aes256k] {
        let name = AuthName::new(EntityType::OSD, "1");
        let store = TicketStore::new(name, CryptoKey::generate(kind, &*env), &[EntityType::OSD]).shared();
        let mut c = MonClientAuth::new(store.clone(), env.clone(), &[MODE_SECURE, MODE_CRC]);
        let _ = c.handle_reply_more(b.clone());
        assert!(c.handle_done(1, MODE_SECURE, b.clone()).is_err(), "a stranger was believed");
        let _ = store.borrow_mut().handle_reply(&b, types::Utime::ZERO);
        assert!(ServiceClientAuth::new(&store, EntityType::OSD, env.clone(), &[MODE_CRC]).is_err());
        let key = CryptoKey::generate(kind, &*env);
        let Ok(mut c) = ServiceClientAuth::mon_peer(&key, env.clone(), &[MODE_CRC]) else { continue };
        let _ = c.handle_reply_more(b.clone());
        assert!(c.handle_done(1, MODE_CRC, b.clone()).is_err(), "a stranger was believed");
    }
}
