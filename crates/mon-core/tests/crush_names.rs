//! Names in the CRUSH map that its encoding cannot hold are refused; they may not reach the map.

use mon_core::Role;
use mon_core::testing::World;

/// Found by the fuzz target `mon_commands`: the monitor panicked, as its own map did not decode.
#[test]
fn an_empty_name_is_refused() {
    let mut w = World::new(2);
    for c in [
        r#"{"prefix":"osd crush rule rename","srcname":"replicated_rule","dstname":""}"#,
        r#"{"prefix":"osd crush rule create-replicated","name":"","root":"default","type":"host"}"#,
        r#"{"prefix":"osd crush rule create-simple","name":"","root":"default","type":"host"}"#,
        r#"{"prefix":"osd crush add-bucket","name":"","type":"host"}"#,
        r#"{"prefix":"osd crush rename-bucket","srcname":"h0","dstname":""}"#,
        r#"{"prefix":"osd crush set-device-class","class":"","ids":["0"]}"#,
        r#"{"prefix":"osd crush move","name":"h0","args":["root="]}"#,
        r#"{"prefix":"osd crush add","id":0,"weight":1.0,"args":["host=","root=default"]}"#,
    ] {
        let epoch = w.core.osdmap().epoch;
        let (ret, text, _) = w.command(Role::Mon, c);
        assert!(ret < 0, "{c}: {ret} {text}");
        assert_eq!(w.core.osdmap().epoch, epoch, "{c} changed the map");
    }
}
