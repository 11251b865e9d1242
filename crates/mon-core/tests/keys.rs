//! Keys are replaced: at once (`auth rotate`), or by a second one when it is used (`auth get-or-create-pending`).

use cephx::crypto::CryptoKey;
use cephx::keyserver::EntityAuth;
use mon_core::testing::World;
use mon_core::{MonEvent, Role};

fn run(w: &mut World, json: &str) -> (i32, String, serde_json::Value) {
    let (ret, text, data) = w.command(Role::Mon, json);
    (ret, text, serde_json::from_slice(&data).unwrap_or_default())
}
fn entry(w: &mut World) -> serde_json::Value {
    run(w, r#"{"prefix":"auth get","entity":"osd.3","format":"json"}"#).2[0].clone()
}
fn key(v: &serde_json::Value) -> CryptoKey {
    CryptoKey::from_base64(v.as_str().unwrap()).unwrap()
}

#[test]
fn a_rotated_key_is_new_and_keeps_type_and_caps() {
    let mut w = World::new(1);
    let was = entry(&mut w);
    let (ret, text, said) = run(&mut w, r#"{"prefix":"auth rotate","entity":"osd.3","format":"json"}"#);
    assert_eq!(ret, 0, "{text}");
    let is = entry(&mut w);
    assert_eq!((&said[0], &is["caps"]), (&is, &was["caps"]));
    assert_ne!(is["key"], was["key"]);
    assert_eq!(key(&is["key"]).kind(), key(&was["key"]).kind());
    assert_eq!(run(&mut w, r#"{"prefix":"auth rotate","entity":"mon."}"#).0, -22, "theirs is in files");
    assert_eq!(run(&mut w, r#"{"prefix":"auth rotate","entity":"osd.77"}"#).0, -2);
}

#[test]
fn a_pending_key_replaces_the_key_when_that_very_one_was_used() {
    let mut w = World::new(1);
    let was = entry(&mut w);
    let make = r#"{"prefix":"auth get-or-create-pending","entity":"osd.3","format":"json"}"#;
    let first = run(&mut w, make).2[0].clone();
    assert_eq!(first["key"], was["key"]);
    assert_eq!(run(&mut w, make).2[0], first, "there is one already");
    // Caps may change meanwhile.
    run(&mut w, r#"{"prefix":"auth caps","entity":"osd.3","caps":["mon","allow r"]}"#);
    assert_eq!(entry(&mut w)["pending_key"], first["pending_key"]);
    let mut w = w.restarted();
    assert_eq!(entry(&mut w)["pending_key"], first["pending_key"]);
    run(&mut w, r#"{"prefix":"auth clear-pending","entity":"osd.3"}"#);
    let second = run(&mut w, make).2[0].clone();
    assert_ne!(second["pending_key"], first["pending_key"]);
    let used = |k: &serde_json::Value| {
        MonEvent::PendingKeyUsed(("osd.3".to_owned(), EntityAuth::proof_of_use(&key(k))))
    };
    w.event(used(&first["pending_key"]));
    assert_eq!(entry(&mut w)["key"], was["key"], "what was taken back replaces nothing");
    w.event(used(&second["pending_key"]));
    let is = entry(&mut w);
    assert_eq!((&is["key"], is.get("pending_key")), (&second["pending_key"], None));
    assert_eq!(is["caps"]["mon"], "allow r");
    w.event(used(&second["pending_key"]));
    assert_eq!(entry(&mut w), is, "said twice, done once");
}

#[test]
fn a_pending_key_can_be_put_in_force_by_hand() {
    let mut w = World::new(1);
    let commit = r#"{"prefix":"auth commit-pending","entity":"osd.3"}"#;
    assert_eq!(run(&mut w, commit).1, "no pending key");
    let made = run(&mut w, r#"{"prefix":"auth get-or-create-pending","entity":"osd.3","format":"json"}"#).2
        [0]
    .clone();
    assert_eq!(run(&mut w, commit).0, 0);
    assert_eq!(entry(&mut w)["key"], made["pending_key"]);
}
