//! Both sides of every exchange against each other: logins, reclaim, tickets, authorizers, renewal, rotation, attacks.

use bytes::Bytes;
use cephx::env::testing::TestEnv;
use cephx::proto::{CephXAuthenticate, CephXTicketBlob, request};
use cephx::*;
use denc::{Encoder, Features};
use msgr::auth::*;
use std::cell::RefCell;
use std::rc::Rc;
use types::EntityType;

const BOTH: [u32; 2] = [MODE_SECURE, MODE_CRC];

struct World {
    env: Rc<TestEnv>,
    ks: Rc<RefCell<KeyServer>>,
    config: Rc<AuthConfig>,
    auth: Rc<MonAuthenticator>,
}

fn world(config: AuthConfig, kind: KeyType) -> World {
    let env = Rc::new(TestEnv::new(7));
    let mut ks = KeyServer { last_global_id: 4100, ..KeyServer::default() };
    for (name, caps) in [
        ("client.admin", &[("mon", "allow *"), ("osd", "allow *"), ("mgr", "allow *")][..]),
        ("client.glance", &[("mon", "allow r"), ("osd", "allow rwx pool=images")]),
        ("client.nomon", &[("osd", "allow *")]),
        ("osd.0", &[("mon", "allow profile osd"), ("osd", "allow *"), ("mgr", "allow profile osd")]),
        ("mon.", &[("mon", "allow *")]),
    ] {
        let key = CryptoKey::generate(kind, &*env);
        ks.data.secrets.insert(AuthName::parse(name).unwrap(), EntityAuth::new(key, caps));
    }
    assert!(ks.data.rotate(&config, &*env));
    let ks = Rc::new(RefCell::new(ks));
    let config = Rc::new(config);
    let auth = MonAuthenticator::new(ks.clone(), env.clone(), config.clone());
    World { env, ks, config, auth }
}

impl World {
    fn store(&self, name: &str) -> Rc<RefCell<TicketStore>> {
        let n = AuthName::parse(name).unwrap();
        let key = self.ks.borrow().data.secrets.get(&n).map(|e| e.key.clone());
        let key = key.unwrap_or_else(|| CryptoKey::generate(KeyType::Aes, &*self.env));
        TicketStore::new(n, key, &[EntityType::MON, EntityType::OSD, EntityType::MGR]).shared()
    }
    fn login(&self, store: &Rc<RefCell<TicketStore>>, modes: &[u32]) -> Result<(AuthedPeer, u32), i32> {
        let mut c = MonClientAuth::new(store.clone(), self.env.clone(), modes);
        let mut s = self.auth.server_auth();
        let kind = store.borrow().name().kind;
        run(&mut c, &mut s, kind)
    }
    fn osd(&self) -> Rc<RefCell<TicketStore>> {
        let osd = self.store("osd.0");
        let (peer, _) = self.login(&osd, &BOTH).unwrap();
        let r = self.auth.handle_message(&peer, &osd.borrow().rotating_request());
        assert_eq!(r.result, 0);
        osd.borrow_mut().handle_reply(&r.payload, self.env.now()).unwrap();
        osd
    }
    fn service(&self, daemon: &Rc<RefCell<TicketStore>>) -> ServiceServerAuth {
        ServiceServerAuth::new(EntityType::OSD, daemon.clone(), self.env.clone(), self.config.clone())
    }
}

/// Runs a whole exchange; both sides must end with the same keys.
fn run(c: &mut dyn ClientAuth, s: &mut dyn ServerAuth, kind: EntityType) -> Result<(AuthedPeer, u32), i32> {
    let req = c.start().unwrap();
    let mut step = s.handle_request(kind, req.method, &req.modes, req.payload);
    loop {
        match step {
            ServerStep::More(p) => {
                let p = c.handle_reply_more(p).map_err(|_| -1)?;
                step = s.handle_more(p);
            }
            ServerStep::Done { mode, payload, keys, peer } => {
                let ours = c.handle_done(peer.global_id, mode, payload).map_err(|_| -1)?;
                assert_eq!(ours.session_key, keys.session_key);
                assert_eq!(ours.connection_secret, keys.connection_secret);
                assert_eq!(ours.connection_secret.len(), if mode == MODE_SECURE { 64 } else { 0 });
                return Ok((peer, mode));
            }
            ServerStep::Bad { result, allowed_methods, allowed_modes } => {
                assert!(c.handle_bad_method(2, result, &allowed_methods, &allowed_modes).is_err());
                return Err(result);
            }
        }
    }
}

fn worlds() -> Vec<World> {
    let mut out = Vec::new();
    for kind in [KeyType::Aes, KeyType::Aes256k] {
        for service_key_type in [KeyType::Aes, KeyType::Aes256k] {
            out.push(world(AuthConfig { service_key_type, ..AuthConfig::default() }, kind));
        }
    }
    out
}

#[test]
fn a_principal_logs_in_in_both_modes_and_reaches_a_service() {
    for w in worlds() {
        let osd = w.osd();
        for modes in [&BOTH[..], &[MODE_CRC, MODE_SECURE]] {
            let c = w.store("client.glance");
            let (peer, mode) = w.login(&c, modes).unwrap();
            assert_eq!(mode, modes[0]);
            assert_eq!(peer.entity, "client.glance");
            assert_eq!(peer.caps, "allow r");
            assert!(peer.global_id > 4100 && peer.global_id == c.borrow().global_id());
            assert_eq!(c.borrow().need(w.env.now()), 0);

            let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), modes).unwrap();
            let (p, m) = run(&mut a, &mut w.service(&osd), EntityType::CLIENT).unwrap();
            assert_eq!((p.entity.as_str(), p.caps.as_str()), ("client.glance", "allow rwx pool=images"));
            assert_eq!((p.global_id, m), (peer.global_id, modes[0]));
            assert!(!p.allow_all);
        }
    }
}

#[test]
fn the_server_takes_the_clients_first_mode_that_it_allows() {
    let w = world(AuthConfig { modes: vec![MODE_CRC], ..AuthConfig::default() }, KeyType::Aes);
    assert_eq!(w.login(&w.store("client.admin"), &BOTH).unwrap().1, MODE_CRC);
    assert_eq!(w.login(&w.store("client.admin"), &[MODE_SECURE]).unwrap_err(), -13);
}

#[test]
fn a_v1_authorizer_names_no_mode_and_gets_crc_where_that_is_allowed() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let osd = w.osd();
    let c = w.store("client.admin");
    w.login(&c, &BOTH).unwrap();
    let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).unwrap();
    let mut s = w.service(&osd);
    let first = a.start().unwrap().payload;
    let ServerStep::More(p) = s.handle_request(EntityType::CLIENT, 2, &[], first.clone()) else { panic!() };
    let ServerStep::Done { mode, keys, payload, .. } = s.handle_more(a.handle_reply_more(p).unwrap()) else {
        panic!()
    };
    assert_eq!((mode, keys.connection_secret.len()), (MODE_CRC, 0));
    assert_eq!(a.handle_done(0, mode, payload).unwrap(), keys);

    let secure = Rc::new(AuthConfig { modes: vec![MODE_SECURE], ..AuthConfig::default() });
    let mut s = ServiceServerAuth::new(EntityType::OSD, osd, w.env.clone(), secure);
    assert!(matches!(s.handle_request(EntityType::CLIENT, 2, &[], first), ServerStep::Bad { .. }));
}

#[test]
fn wrong_key_unknown_entity_and_missing_mon_caps_all_answer_as_stock() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let wrong = CryptoKey::generate(KeyType::Aes, &*w.env);
    let wrong = TicketStore::new(AuthName::parse("client.admin").unwrap(), wrong, &[]).shared();
    for store in [wrong, w.store("client.nobody"), w.store("client.nomon")] {
        let mut c = MonClientAuth::new(store, w.env.clone(), &BOTH);
        let mut s = w.auth.server_auth();
        let r = c.start().unwrap();
        let ServerStep::More(p) = s.handle_request(EntityType::CLIENT, r.method, &r.modes, r.payload) else {
            panic!("a challenge comes first, whoever asks");
        };
        let step = s.handle_more(c.handle_reply_more(p).unwrap());
        assert_eq!(
            step,
            ServerStep::Bad { result: -13, allowed_methods: vec![2], allowed_modes: vec![1, 2] }
        );
    }
    let mut s = w.auth.server_auth();
    let step = s.handle_request(EntityType::CLIENT, METHOD_NONE, &[1], Bytes::new());
    assert!(matches!(step, ServerStep::Bad { result: -13, .. }));
}

#[test]
fn a_global_id_is_kept_only_with_the_old_ticket_of_the_same_principal() {
    for w in worlds() {
        let c = w.store("client.admin");
        let (first, _) = w.login(&c, &BOTH).unwrap();
        // With its ticket: the same id.
        let (again, _) = w.login(&c, &BOTH).unwrap();
        assert_eq!(again.global_id, first.global_id);

        // Someone else's id, with an own valid ticket for another id, with no ticket, with a damaged one.
        let thief = w.store("client.glance");
        w.login(&thief, &BOTH).unwrap();
        let own = thief.borrow().ticket(EntityType::AUTH, w.env.now()).unwrap().blob.clone();
        let stolen = c.borrow().ticket(EntityType::AUTH, w.env.now()).unwrap().blob.clone();
        let mut damaged = stolen.blob.to_vec();
        damaged[20] ^= 1;
        let damaged = CephXTicketBlob { secret_id: stolen.secret_id, blob: damaged.into() };
        for (who, ticket) in [
            ("client.glance", own.clone()),
            ("client.glance", stolen),
            ("client.glance", CephXTicketBlob::default()),
            ("client.admin", CephXTicketBlob::default()),
            ("client.admin", own),
            ("client.admin", damaged),
        ] {
            for version in [1, 2, 3] {
                assert_eq!(raw_login(&w, who, first.global_id, ticket.clone(), version), Err(-13));
            }
        }
        // A new id with a ticket is as wrong.
        let superfluous = c.borrow().ticket(EntityType::AUTH, w.env.now()).unwrap().blob.clone();
        assert_eq!(raw_login(&w, "client.admin", 0, superfluous, 3), Err(-13));
        assert_eq!(raw_login(&w, "client.admin", 0, CephXTicketBlob::default(), 3), Ok(()));
    }
}

/// A login whose fields are chosen one by one.
fn raw_login(w: &World, who: &str, global_id: u64, old: CephXTicketBlob, version: u8) -> Result<(), i32> {
    let name = AuthName::parse(who).unwrap();
    let key = w.ks.borrow().data.secrets[&name].key.clone();
    let mut e = Encoder::new(Features::default());
    e.u8(10);
    e.put(&name);
    e.u64(global_id);
    let mut s = w.auth.server_auth();
    let ServerStep::More(p) = s.handle_request(EntityType::CLIENT, METHOD_CEPHX, &BOTH, e.finish()) else {
        panic!()
    };
    let ch: cephx::proto::CephXServerChallenge = denc::from_bytes(&p).unwrap();
    let req = CephXAuthenticate {
        version,
        client_challenge: 5,
        key: key.challenge_proof(ch.server_challenge, 5).unwrap(),
        old_ticket: old,
        other_keys: 0x20,
    };
    let mut e = Encoder::new(Features::default());
    e.u16(request::AUTH_SESSION_KEY);
    e.put(&req);
    match s.handle_more(e.finish()) {
        ServerStep::Done { .. } => Ok(()),
        ServerStep::Bad { result, .. } => Err(result),
        ServerStep::More(_) => panic!(),
    }
}

#[test]
fn a_login_cannot_be_replayed() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let mut c = MonClientAuth::new(w.store("client.admin"), w.env.clone(), &BOTH);
    let r = c.start().unwrap();
    let mut s = w.auth.server_auth();
    let ServerStep::More(p) = s.handle_request(EntityType::CLIENT, 2, &r.modes, r.payload.clone()) else {
        panic!()
    };
    let proof = c.handle_reply_more(p).unwrap();
    assert!(matches!(s.handle_more(proof.clone()), ServerStep::Done { .. }));
    assert!(matches!(s.handle_more(proof.clone()), ServerStep::Bad { .. }), "twice on one connection");
    let mut s = w.auth.server_auth();
    assert!(matches!(s.handle_request(EntityType::CLIENT, 2, &r.modes, r.payload), ServerStep::More(_)));
    assert!(matches!(s.handle_more(proof.clone()), ServerStep::Bad { .. }), "on another connection");
    let mut s = w.auth.server_auth();
    assert!(matches!(s.handle_more(proof), ServerStep::Bad { .. }), "without a challenge");
}

#[test]
fn an_authorizer_without_or_with_anothers_challenge_is_refused() {
    for w in worlds() {
        let osd = w.osd();
        let c = w.store("client.admin");
        w.login(&c, &BOTH).unwrap();
        let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).unwrap();
        let first = a.start().unwrap();
        let mut s1 = w.service(&osd);
        let ServerStep::More(p) = s1.handle_request(EntityType::CLIENT, 2, &BOTH, first.payload.clone())
        else {
            panic!()
        };
        let answer = a.handle_reply_more(p).unwrap();
        // Replayed on a second connection, which has another challenge.
        let mut s2 = w.service(&osd);
        assert!(matches!(
            s2.handle_request(EntityType::CLIENT, 2, &BOTH, answer.clone()),
            ServerStep::More(_)
        ));
        assert!(matches!(s2.handle_more(answer.clone()), ServerStep::Bad { result: -13, .. }));
        // The challenge ignored.
        let mut s3 = w.service(&osd);
        s3.handle_request(EntityType::CLIENT, 2, &BOTH, first.payload.clone());
        assert!(matches!(s3.handle_more(first.payload), ServerStep::Bad { .. }));
        // No second try on the same challenge.
        assert!(matches!(s1.handle_more(answer.clone()), ServerStep::Done { .. }));
        assert!(matches!(s1.handle_more(answer), ServerStep::Bad { .. }));
    }
}

#[test]
fn every_bit_flip_in_an_authorizer_or_auth_ticket_is_refused() {
    let cfg = AuthConfig { service_key_type: KeyType::Aes256k, ..AuthConfig::default() };
    let w = world(cfg, KeyType::Aes256k);
    let osd = w.osd();
    let c = w.store("client.admin");
    w.login(&c, &BOTH).unwrap();
    let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).unwrap();
    let good = a.start().unwrap().payload;
    for i in 1..good.len() {
        for bit in [0, 7] {
            let mut bad = good.to_vec();
            bad[i] ^= 1 << bit;
            let step = w.service(&osd).handle_request(EntityType::CLIENT, 2, &BOTH, bad.into());
            // The ticket's own version byte is not looked at, as in stock.
            assert!(matches!(step, ServerStep::Bad { .. }) || i == 13, "byte {i}");
        }
    }
    // AUTH tickets are authenticated whatever the principal's key type.
    let w = world(AuthConfig::default(), KeyType::Aes);
    let c = w.store("client.admin");
    let (peer, _) = w.login(&c, &BOTH).unwrap();
    let t = c.borrow().ticket(EntityType::AUTH, w.env.now()).unwrap().blob.clone();
    for i in 0..t.blob.len() {
        let mut bad = t.blob.to_vec();
        bad[i] ^= 4;
        let bad = CephXTicketBlob { secret_id: t.secret_id, blob: bad.into() };
        assert_eq!(raw_login(&w, "client.admin", peer.global_id, bad, 3), Err(-13));
    }
    assert_eq!(raw_login(&w, "client.admin", peer.global_id, t, 3), Ok(()));
}

#[test]
fn tickets_are_renewed_in_the_session_before_they_end_and_survive_rotation() {
    for w in worlds() {
        let c = w.store("client.admin");
        let (peer, _) = w.login(&c, &BOTH).unwrap();
        let mut osd = w.osd();
        let mut renewals = 0;
        for _hour in 0..200 {
            for _ in 0..4 {
                w.env.advance(900);
                w.ks.borrow_mut().data.rotate(&w.config, &*w.env);
                let due = c.borrow_mut().renewal_request(&*w.env).unwrap();
                if let Some(p) = due {
                    renewals += 1;
                    let r = w.auth.handle_message(&peer, &p);
                    assert_eq!(r.result, 0);
                    c.borrow_mut().handle_reply(&r.payload, w.env.now()).unwrap();
                    assert_eq!(c.borrow().need(w.env.now()), 0);
                }
                if osd.borrow().need_rotating(w.env.now()) {
                    osd = w.osd();
                }
                let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).unwrap();
                let (p, _) = run(&mut a, &mut w.service(&osd), EntityType::CLIENT).unwrap();
                assert_eq!(p.global_id, peer.global_id);
            }
        }
        assert!(renewals > 200, "{renewals}");
    }
}

#[test]
fn an_expired_ticket_is_refused() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let osd = w.osd();
    let c = w.store("client.admin");
    w.login(&c, &BOTH).unwrap();
    let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).unwrap();
    w.env.advance(3600 + 301);
    assert!(ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).is_err());
    assert_eq!(run(&mut a, &mut w.service(&osd), EntityType::CLIENT), Err(-13));
}

#[test]
fn a_ticket_for_one_service_is_no_use_at_another() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let osd = w.osd();
    let c = w.store("client.admin");
    w.login(&c, &BOTH).unwrap();
    let mut a = ServiceClientAuth::new(&c, EntityType::MGR, w.env.clone(), &BOTH).unwrap();
    assert_eq!(run(&mut a, &mut w.service(&osd), EntityType::CLIENT), Err(-13));
}

#[test]
fn only_daemons_get_rotating_secrets() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let c = w.store("client.admin");
    let (peer, _) = w.login(&c, &BOTH).unwrap();
    let r = w.auth.handle_message(&peer, &c.borrow().rotating_request());
    assert_eq!(r, SessionReply { result: -1, payload: Bytes::new() });
}

#[test]
fn a_removed_principal_gets_no_more_tickets() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let c = w.store("client.glance");
    let (peer, _) = w.login(&c, &BOTH).unwrap();
    w.ks.borrow_mut().data.secrets.remove(&AuthName::parse("client.glance").unwrap());
    w.env.advance(2800);
    let p = c.borrow_mut().renewal_request(&*w.env).unwrap().unwrap();
    assert_eq!(w.auth.handle_message(&peer, &p).result, -1);
}

#[test]
fn one_session_cannot_renew_with_anothers_ticket() {
    let w = world(AuthConfig::default(), KeyType::Aes);
    let a = w.store("client.admin");
    w.login(&a, &BOTH).unwrap();
    let b = w.store("client.glance");
    let (peer_b, _) = w.login(&b, &BOTH).unwrap();
    w.env.advance(2800);
    let p = a.borrow_mut().renewal_request(&*w.env).unwrap().unwrap();
    assert_eq!(w.auth.handle_message(&peer_b, &p).result, -1);
}

#[test]
fn a_v1_session_logs_in_by_messages() {
    for w in worlds() {
        let c = w.store("client.admin");
        let mut s = w.auth.v1_login();
        assert_eq!(s.handle(2, &Bytes::new()).result, -22, "a protocol before any was chosen");
        let start = c.borrow().v1_start();
        let r = s.handle(0, &start);
        assert_eq!((r.protocol, r.result), (2, 0));
        assert!(r.authenticated.is_none() && s.peer().is_none());
        let p = c.borrow_mut().v1_challenge(r.global_id, &r.payload, &*w.env).unwrap();
        let r = s.handle(2, &p);
        assert_eq!(r.result, 0);
        assert_eq!(r.authenticated.unwrap().entity, "client.admin");
        c.borrow_mut().handle_reply(&r.payload, w.env.now()).unwrap();
        assert_eq!(c.borrow().need(w.env.now()), 0);
        // And renews in it, both kinds.
        for secs in [3000, 72 * 3600 - 4000] {
            w.env.advance(secs);
            w.ks.borrow_mut().data.rotate(&w.config, &*w.env);
            let p = c.borrow_mut().renewal_request(&*w.env).unwrap().unwrap();
            let r = s.handle(2, &p);
            assert_eq!(r.result, 0);
            assert!(r.authenticated.is_none());
            c.borrow_mut().handle_reply(&r.payload, w.env.now()).unwrap();
        }
        // Nothing but a login before the login.
        let mut s = w.auth.v1_login();
        s.handle(0, &start);
        assert_eq!(s.handle(2, &c.borrow().rotating_request()).result, -1);
    }
}

#[test]
fn monitors_trust_each_other_by_the_mon_key() {
    for w in worlds() {
        let key = w.ks.borrow().data.secrets[&AuthName::parse("mon.").unwrap()].key.clone();
        let mut c = ServiceClientAuth::mon_peer(&key, w.env.clone(), &BOTH).unwrap();
        let (peer, _) = run(&mut c, &mut w.auth.server_auth(), EntityType::MON).unwrap();
        assert_eq!(peer.entity, "mon.");
        assert!(peer.allow_all);
        let wrong = CryptoKey::generate(key.kind(), &*w.env);
        let mut c = ServiceClientAuth::mon_peer(&wrong, w.env.clone(), &BOTH).unwrap();
        assert_eq!(run(&mut c, &mut w.auth.server_auth(), EntityType::MON), Err(-13));
        // Not a way into an OSD.
        let osd = w.osd();
        let mut c = ServiceClientAuth::mon_peer(&key, w.env.clone(), &BOTH).unwrap();
        assert_eq!(run(&mut c, &mut w.service(&osd), EntityType::MON), Err(-13));
    }
}

#[test]
fn without_authentication_both_sides_work_in_crc_mode_only() {
    let cfg = AuthConfig {
        cluster_methods: vec![METHOD_NONE],
        client_methods: vec![METHOD_NONE],
        ..AuthConfig::default()
    };
    let w = world(cfg, KeyType::Aes);
    let c = TicketStore::none(AuthName::parse("client.admin").unwrap()).shared();
    let (peer, mode) = w.login(&c, &BOTH).unwrap();
    assert!(peer.allow_all && mode == MODE_CRC);
    let osd = TicketStore::none(AuthName::parse("osd.0").unwrap()).shared();
    let mut a = ServiceClientAuth::new(&c, EntityType::OSD, w.env.clone(), &BOTH).unwrap();
    let (p, _) = run(&mut a, &mut w.service(&osd), EntityType::CLIENT).unwrap();
    assert_eq!(p.global_id, peer.global_id);
}
