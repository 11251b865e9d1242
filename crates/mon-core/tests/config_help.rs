//! `config help` prints what stock prints, but for the describing words.

use mon_core::Role;
use mon_core::testing::World;

#[test]
fn the_layout_is_stocks() {
    let mut w = World::new(0);
    let mut help = |key: &str| {
        let (ret, _, data) = w.command(Role::Mon, &format!(r#"{{"prefix":"config help","key":"{key}"}}"#));
        assert_eq!(ret, 0);
        String::from_utf8(data.to_vec()).expect("text")
    };
    assert_eq!(
        help("osd_pool_default_size"),
        "osd_pool_default_size - Copies of a new pool\n  (uint, advanced)\n  Default: 3\n  Minimum: 0\n  Maximum: 10\n  \
         Can update at runtime: true\n  Services: [mon]\n"
    );
    let text = help("mon_osd_full_ratio");
    assert!(text.contains("\n  Default: 0.950000\n  Can update at runtime: false\n\nLater: "), "{text}");
    let text = help("osd_pool_default_pg_autoscale_mode");
    assert!(text.contains("\n  Possible values:  off warn on\n"), "{text}");
    let text = help("debug_osd");
    assert!(
        text.starts_with("debug_osd - Debug level for osd\n  (str, advanced)\n  Default: 1/5\n"),
        "{text}"
    );
}

#[test]
fn json_gives_the_types_that_stock_gives() {
    let mut w = World::new(0);
    let mut help = |key: &str| -> serde_json::Value {
        let json = format!(r#"{{"prefix":"config help","key":"{key}","format":"json"}}"#);
        let (ret, _, data) = w.command(Role::Mon, &json);
        assert_eq!(ret, 0);
        serde_json::from_slice(&data).expect("json")
    };
    let v = help("mon_max_pg_per_osd");
    assert_eq!((v["default"].as_u64(), v["min"].as_u64(), v["max"].as_str()), (Some(250), Some(1), Some("")));
    assert_eq!(help("osd_memory_target")["default"], "4294967296");
    assert_eq!(help("mgr_tick_period")["default"], "2");
    assert_eq!(help("ms_crc_data")["default"], true);
    assert_eq!(help("auth_mon_ticket_ttl")["default"], 259_200);
    let (ret, _, _) = w.command(Role::Mon, r#"{"prefix":"config help","key":"nosuch"}"#);
    assert_eq!(ret, -2);
}
