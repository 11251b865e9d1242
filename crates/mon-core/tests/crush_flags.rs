//! Flags of CRUSH nodes and device classes hold for the OSDs below and in them.

use mon_core::Role;
use mon_core::testing::World;
use types::OsdId;

#[test]
fn an_osd_under_a_noup_node_does_not_boot_and_boots_when_that_ends() {
    let mut w = World::new(2);
    let run = |w: &mut World, json: &str| assert_eq!(w.command(Role::Mon, json).0, 0, "{json}");
    run(&mut w, r#"{"prefix":"osd set-group","flags":"noup","who":["h1"]}"#);
    run(&mut w, r#"{"prefix":"osd down","ids":["1"]}"#);
    w.boot(1);
    assert!(!w.core.osdmap().is_up(OsdId(1)), "its host is noup");
    let (_, _, data) = w.command(Role::Mon, r#"{"prefix":"health","detail":"detail"}"#);
    assert!(String::from_utf8_lossy(&data).contains("host h1 has flags noup"));
    run(&mut w, r#"{"prefix":"osd unset-group","flags":"noup","who":["h1"]}"#);
    assert!(w.core.osdmap().crush_node_flags.is_empty());
    w.boot(1);
    assert!(w.core.osdmap().is_up(OsdId(1)));
    // The flags of a bucket that goes, go.
    run(&mut w, r#"{"prefix":"osd crush add-bucket","name":"x","type":"host"}"#);
    run(&mut w, r#"{"prefix":"osd set-group","flags":"noin","who":["x"]}"#);
    run(&mut w, r#"{"prefix":"osd crush rm","name":"x"}"#);
    assert!(w.core.osdmap().crush_node_flags.is_empty());
}

#[test]
fn what_was_set_by_commands_is_there_after_a_restart() {
    let mut w = World::new(3);
    for json in [
        r#"{"prefix":"osd pool create","pool":"p","pg_num":4}"#,
        r#"{"prefix":"osd erasure-code-profile set","name":"e","profile":["k=2","m=1"]}"#,
        r#"{"prefix":"osd crush weight-set create-compat"}"#,
        r#"{"prefix":"osd set-group","flags":"noout","who":["default"]}"#,
        r#"{"prefix":"config set","who":"mgr","name":"mgr/balancer/active","value":"true"}"#,
        r#"{"prefix":"osd set-require-min-compat-client","version":"luminous"}"#,
        r#"{"prefix":"osd pg-upmap","pgid":"1.0","id":[2,1,0]}"#,
        r#"{"prefix":"osd pg-upmap","pgid":"1.1","id":[0,1,2]}"#,
        r#"{"prefix":"osd pg-upmap","pgid":"1.2","id":[1,0,2]}"#,
    ] {
        let (ret, text, _) = w.command(Role::Mon, json);
        assert_eq!(ret, 0, "{json}: {text}");
    }
    assert!(!w.core.osdmap().pg_upmap.is_empty());
    let before = w.core.osdmap().clone();
    let mut w = w.restarted();
    let m = w.core.osdmap();
    assert_eq!(m.pg_upmap, before.pg_upmap);
    assert_eq!(m.erasure_code_profiles, before.erasure_code_profiles);
    assert_eq!(m.crush, before.crush);
    assert_eq!(m.crush_node_flags, before.crush_node_flags);
    let (_, _, data) = w.command(Role::Mgr, r#"{"prefix":"balancer status","format":"json"}"#);
    assert!(String::from_utf8_lossy(&data).contains("\"active\": true"));
}
