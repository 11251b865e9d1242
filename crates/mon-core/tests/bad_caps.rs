//! Caps that do not parse come in by a keyring file only; health tells of them, and they grant nothing.

use bytes::Bytes;
use mon_core::Role;
use mon_core::testing::World;

#[test]
fn imported_caps_that_do_not_parse_are_told_of_and_grant_nothing() {
    let mut w = World::new(1);
    let key = w.secrets().remove(0);
    let keyring =
        format!("[client.bad]\n\tkey = {key}\n\tcaps mon = \"this is wrong\"\n\tcaps osd = \"allow r\"\n");
    let (ret, text, _) = w.command_with(Role::Mon, r#"{"prefix":"auth import"}"#, Bytes::from(keyring));
    assert_eq!(ret, 0, "{text}");
    let health = |w: &mut World| {
        let (_, _, data) = w.command(Role::Mon, r#"{"prefix":"health","detail":"detail"}"#);
        String::from_utf8_lossy(&data).into_owned()
    };
    let told = health(&mut w);
    assert!(told.contains("AUTH_BAD_CAPS: 1 auth entities have invalid capabilities"), "{told}");
    assert!(told.contains("client.bad mon capability parse failed") && !told.contains(&key), "{told}");
    let (ret, _, _) =
        w.command_as(Role::Mon, mon_core::authz::Way::Service, "client.bad", "this is wrong", "status");
    assert_eq!(ret, -13);
    let mut w = w.restarted();
    assert!(health(&mut w).contains("AUTH_BAD_CAPS"));
    assert_eq!(w.command(Role::Mon, r#"{"prefix":"auth rm","entity":"client.bad"}"#).0, 0);
    assert!(!health(&mut w).contains("AUTH_BAD_CAPS"));
}
