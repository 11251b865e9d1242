//! The four capability grammars, their printing and their checks, by tables. The texts were also put to a stock monitor
//! (`ceph auth caps`), which accepts and refuses the same ones.

use cephx::caps::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use types::EntityAddr;

fn addr(ip: &str) -> EntityAddr {
    EntityAddr::new(types::AddrType::Msgr2, format!("{ip}:3300").parse().unwrap(), 1)
}

fn args(kv: &[(&str, &str)]) -> Args {
    kv.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Text, and whether stock takes it.
const MON: &[(&str, bool)] = &[
    ("allow *", true),
    ("allow all", true),
    ("allow r", true),
    ("allow rw", true),
    ("allow rwx", true),
    ("allow wr", false),
    ("allow", false),
    ("", false),
    (" allow r ", true),
    ("allow r,allow w", true),
    ("allow r ; allow w", true),
    ("allow r allow w", false),
    ("allow r,", false),
    ("profile osd", true),
    ("allow profile osd", true),
    ("profile=osd", true),
    ("profile nonsense", true),
    ("allow service osd rw", true),
    ("allow service=osd rw", true),
    ("allow service osd", false),
    ("allow command \"osd new\"", true),
    ("allow command foo with a=b c prefix d e regex \"f.*\"", true),
    ("allow command foo with a = b", false),
    ("allow command foo with", false),
    ("allow r network 10.0.0.0/8", true),
    ("allow r fsname=a", true),
    ("allow r fsname=a, allow rw fsname b", true),
    ("allow r fsname=a network 10.0.0.0/8", true),
    ("allow r fsname=", false),
    ("allow r network", false),
    ("allow r network nonsense", false),
    ("allow profile 'osd' network 1.2.3.4/32, allow command x", true),
];

const OSD: &[(&str, bool)] = &[
    ("allow *", true),
    ("allow rwx", true),
    ("allow r w", false),
    ("allow class-read", true),
    ("allow class-write", true),
    ("allow rwx class-read class-write", true),
    ("allow class-write class-read", false),
    ("allow class-read object_prefix rbd_children, allow rwx pool=images", true),
    ("allow rwx pool images", true),
    ("allow pool images rwx", true),
    ("allow pool=images", false),
    ("allow rwx pool='my images' namespace=\"\" object_prefix a", true),
    ("allow rw namespace=foo*", true),
    ("allow rw tag cephfs data=cephfs", true),
    ("allow rw tag cephfs *=*", true),
    ("allow rw tag cephfs data = *", true),
    ("allow rw tag cephfs", false),
    ("allow namespace=x rw", true),
    ("allow class foo", true),
    ("allow class foo bar", true),
    ("allow class foo bar pool=x", true),
    ("allow class foo pool=x", false),
    ("profile rbd", true),
    ("profile rbd pool=vms", true),
    ("profile rbd pool=vms namespace=a, profile rbd-read-only pool=images", true),
    ("profile nonsense", true),
    ("profile rbd network 10.0.0.0/8", true),
    ("allow rwx network 10.0.0.0/8", true),
    ("allow rwx;allow r", true),
    ("allow rwx,", false),
    ("", false),
    ("rwx", false),
    ("  allow rwx  ", true),
];

const MGR: &[(&str, bool)] = &[
    ("allow *", true),
    ("allow rw", true),
    ("profile osd", true),
    ("profile nonsense", false),
    ("profile rbd pool=a namespace=b", true),
    ("profile rbd pool = a", true),
    ("profile rbd nonsense=a", false),
    ("allow module rbd_support with pool=a r", true),
    ("allow module rbd_support", false),
    ("allow service mgr rw", true),
    ("allow command \"pg stat\" with x=y", true),
    ("allow profile crash", true),
];

const MDS: &[(&str, bool)] = &[
    ("allow", true),
    ("allow *", true),
    ("allow rw", true),
    ("allow rwps", true),
    ("allow rwsp", false),
    ("allow w", false),
    ("allow rw path=/a, allow r path=\"/b c\"", true),
    ("allow rw fsname=a path=/x", true),
    ("allow rw uid=1 gids=1,2", true),
    ("allow rw path=/x uid=1", true),
    ("allow rw fsname=a root_squash", true),
    ("allow r network 1.2.3.0/24", true),
    ("", false),
];

#[test]
fn what_stock_takes_parses_and_prints_to_the_same_meaning() {
    for (text, ok) in MON {
        let c = MonCap::parse(text);
        assert_eq!(c.is_ok(), *ok, "mon '{text}'");
        if let Ok(c) = c {
            assert_eq!(MonCap::parse(&c.to_string()), Ok(c));
        }
    }
    for (text, ok) in OSD {
        let c = OsdCap::parse(text);
        assert_eq!(c.is_ok(), *ok, "osd '{text}'");
        if let Ok(c) = c {
            assert_eq!(OsdCap::parse(&c.to_string()), Ok(c));
        }
    }
    for (text, ok) in MGR {
        let c = MgrCap::parse(text);
        assert_eq!(c.is_ok(), *ok, "mgr '{text}'");
        if let Ok(c) = c {
            assert_eq!(MgrCap::parse(&c.to_string()), Ok(c));
        }
    }
    for (text, ok) in MDS {
        let c = MdsCap::parse(text);
        assert_eq!(c.is_ok(), *ok, "mds '{text}'");
        if let Ok(c) = c {
            assert_eq!(MdsCap::parse(&c.to_string()), Ok(c));
        }
    }
}

#[test]
fn a_refused_text_says_where_reading_stopped() {
    let e = MonCap::parse("allow r, nonsense").unwrap_err();
    assert_eq!(e.to_string(), "mon capability parse failed, stopped at ', nonsense' of 'allow r, nonsense'");
}

#[test]
fn monitor_rights_add_up_and_stay_inside_their_service() {
    let a = addr("10.1.2.3");
    let none = Args::new();
    let may = |cap: &str, service: &str, command: &str, r: bool, w: bool, x: bool| {
        MonCap::parse(cap).unwrap().is_capable("client.x", service, command, &none, r, w, x, &a)
    };
    assert!(may("allow *", "config-key", "config-key get", true, true, true));
    assert!(may("allow r, allow w", "osd", "osd pool create", true, true, false));
    assert!(!may("allow r", "osd", "osd pool create", true, true, false));
    assert!(!may("allow rwx", "config-key", "config-key get", true, false, false), "blanket caps do not");
    assert!(may("allow service config-key r", "config-key", "config-key get", true, false, false));
    assert!(!may("allow rw", "auth", "auth get", true, false, true), "auth takes x");
    assert!(may("allow command \"auth get\"", "auth", "auth get", true, true, true));
    assert!(!may("allow command \"auth get\"", "auth", "auth ls", true, false, false));
    assert!(!may("profile nonsense", "mon", "", true, false, false));
    assert!(may("profile osd", "osd", "osd crush create-or-move", true, true, true));
    assert!(!may("profile osd", "auth", "auth get", true, false, false));
    assert!(may("profile bootstrap-osd", "osd", "osd new", true, true, false));
    assert!(!may("profile bootstrap-osd", "osd", "osd pool create", true, true, false));
    assert!(may("profile role-definer", "auth", "auth add", true, true, true));
    assert!(may("allow r network 10.0.0.0/8", "mon", "", true, false, false));
    assert!(!may("allow r network 11.0.0.0/8", "mon", "", true, false, false));
    assert!(!may("allow * network 11.0.0.0/8", "mon", "", true, false, false));
    assert!(!may("allow r network 10.0.0.0/99", "mon", "", true, false, false));
}

#[test]
fn profiles_constrain_commands_by_their_arguments() {
    let a = addr("10.1.2.3");
    let may = |cap: &str, who: &str, service: &str, command: &str, kv: &[(&str, &str)]| {
        MonCap::parse(cap).unwrap().is_capable(who, service, command, &args(kv), true, true, true, &a)
    };
    let block = |op, addr| [("blocklistop", op), ("addr", addr)];
    assert!(may("profile rbd", "client.c", "osd", "osd blocklist", &block("add", "1.2.3.4:0/77")));
    assert!(!may("profile rbd", "client.c", "osd", "osd blocklist", &block("rm", "1.2.3.4:0/77")));
    assert!(!may("profile rbd", "client.c", "osd", "osd blocklist", &block("add", "1.2.3.4")));
    assert!(!may("profile rbd", "client.c", "osd", "osd blocklist", &[]));
    let mds = [
        ("entity", "mds.a"),
        ("caps_mon", "allow profile mds"),
        ("caps_osd", "allow rwx"),
        ("caps_mds", "allow"),
    ];
    assert!(may("profile bootstrap-mds", "client.b", "auth", "auth get-or-create", &mds));
    let other = [
        ("entity", "client.admin"),
        ("caps_mon", "allow profile mds"),
        ("caps_osd", "allow rwx"),
        ("caps_mds", "allow"),
    ];
    assert!(!may("profile bootstrap-mds", "client.b", "auth", "auth get-or-create", &other));
    let key = [("key", "daemon-private/osd.1/x")];
    assert!(may("profile osd", "osd.1", "config-key", "config-key get", &key));
    assert!(!may("profile osd", "osd.2", "config-key", "config-key get", &key));
    let rbd = [("entity", "client.a"), ("caps_mon", "profile rbd"), ("caps_osd", "profile rbd pool=a")];
    assert!(may("profile bootstrap-rbd", "client.b", "auth", "auth get-or-create", &rbd));
    let more = [("entity", "client.a"), ("caps_mon", "profile rbd"), ("caps_osd", "allow *")];
    assert!(!may("profile bootstrap-rbd", "client.b", "auth", "auth get-or-create", &more));
}

type Apps = BTreeMap<String, BTreeMap<String, String>>;

/// pool, namespace, object, read, write, class calls (class, method, read, write).
fn osd_may(
    cap: &str,
    apps: &Apps,
    op: (&str, &str, &str, bool, bool),
    calls: &[(&str, &str, bool, bool)],
) -> bool {
    let classes: Vec<ClassCall<'_>> = calls
        .iter()
        .map(|(class, method, read, write)| ClassCall {
            class,
            method,
            read: *read,
            write: *write,
            allowed_list: *class != "unlisted",
        })
        .collect();
    let (pool, namespace, object, may_read, may_write) = op;
    let info =
        OsdOpInfo { pool, namespace, app_metadata: apps, object, may_read, may_write, classes: &classes };
    OsdCap::parse(cap).unwrap().is_capable(&info, &addr("10.1.2.3"))
}

#[test]
fn the_articles_two_users_can_do_their_work_and_no_more() {
    let cinder = "allow class-read object_prefix rbd_children, allow rwx pool=volumes, \
                  allow rwx pool=vms, allow rx pool=images";
    let glance = "allow class-read object_prefix rbd_children, allow rwx pool=images";
    let none = Apps::new();
    let rw = |cap, pool| osd_may(cap, &none, (pool, "", "rbd_data.1", true, true), &[]);
    let cls =
        |cap, pool, obj, r, w| osd_may(cap, &none, (pool, "", obj, false, false), &[("rbd", "m", r, w)]);
    let read = |cap, pool| osd_may(cap, &none, (pool, "", "rbd_data.1", true, false), &[]);

    assert!(rw(cinder, "volumes") && rw(cinder, "vms"));
    assert!(!rw(cinder, "images") && read(cinder, "images"));
    assert!(cls(cinder, "images", "rbd_header.1", true, false));
    // `x` is both class rights: the letter w is about plain writes only.
    assert!(cls(cinder, "images", "rbd_header.1", true, true));
    assert!(!rw(cinder, "other") && !read(cinder, "other"));
    assert!(cls(cinder, "other", "rbd_children", true, false));
    assert!(!cls(cinder, "other", "rbd_children", false, true));
    assert!(!cls(cinder, "other", "rbd_header.1", true, false));

    assert!(rw(glance, "images") && cls(glance, "images", "rbd_id.x", true, true));
    assert!(!read(glance, "volumes") && !rw(glance, "vms"));
    assert!(cls(glance, "volumes", "rbd_children", true, false));

    // Both at the monitor: read only.
    let mon = MonCap::parse("allow r").unwrap();
    let a = addr("10.1.2.3");
    assert!(mon.is_capable("client.cinder", "osd", "osd dump", &Args::new(), true, false, false, &a));
    assert!(!mon.is_capable("client.cinder", "osd", "osd pool create", &Args::new(), true, true, false, &a));
}

#[test]
fn one_osd_grant_must_cover_an_operation_but_class_calls_may_share() {
    let none = Apps::new();
    let op = ("p", "", "o", true, true);
    assert!(!osd_may("allow r, allow w", &none, op, &[]), "rights do not add up");
    assert!(osd_may("allow rw", &none, op, &[]));
    let calls = [("rbd", "a", true, false), ("unlisted", "b", false, true)];
    let nothing = ("p", "", "o", false, false);
    assert!(!osd_may("allow x", &none, nothing, &calls), "unlisted classes take their name");
    assert!(osd_may("allow x, allow class unlisted", &none, nothing, &calls));
    assert!(osd_may("allow class rbd a, allow class unlisted b", &none, nothing, &calls));
    assert!(!osd_may("allow class rbd a, allow class unlisted c", &none, nothing, &calls));
    assert!(osd_may("allow *", &none, op, &calls));
}

#[test]
fn osd_grants_match_by_namespace_tag_prefix_and_network() {
    let apps = Apps::from([("cephfs".into(), BTreeMap::from([("data".into(), "a".into())]))]);
    let at = |cap: &str, ns: &str, obj: &str| osd_may(cap, &apps, ("p", ns, obj, true, false), &[]);
    assert!(at("allow r namespace=x", "x", "o") && !at("allow r namespace=x", "", "o"));
    assert!(at("allow r namespace=\"\"", "", "o") && !at("allow r namespace=\"\"", "x", "o"));
    assert!(at("allow r namespace=x*", "xyz", "o") && !at("allow r namespace=x*", "yz", "o"));
    assert!(at("allow r object_prefix ab", "", "abc") && !at("allow r object_prefix ab", "", "xab"));
    assert!(at("allow r tag cephfs data=a", "", "o"));
    assert!(at("allow r tag cephfs data=*", "", "o") && at("allow r tag cephfs *=a", "", "o"));
    assert!(at("allow r tag cephfs *=*", "", "o"));
    assert!(!at("allow r tag cephfs data=b", "", "o") && !at("allow r tag rbd *=*", "", "o"));
    assert!(at("allow r network 10.1.0.0/16", "", "o") && !at("allow r network 10.2.0.0/16", "", "o"));
    assert!(at("profile rbd network 10.1.0.0/16", "", "o"));
    assert!(!at("profile rbd network 10.2.0.0/16", "", "o"));
    assert!(!at("profile nonsense", "", "o"));
}

#[test]
fn profile_rbd_is_held_to_its_pool_but_for_children() {
    let none = Apps::new();
    let cap = "profile rbd pool=vms, profile rbd-read-only pool=images";
    let rw = |pool, w| osd_may(cap, &none, (pool, "", "rbd_data.1", true, w), &[]);
    assert!(rw("vms", true) && rw("images", false) && !rw("images", true) && !rw("x", false));
    let cls = |pool, obj, m, r, w| osd_may(cap, &none, (pool, "", obj, false, false), &[("rbd", m, r, w)]);
    assert!(cls("x", "rbd_children", "get_children", true, false));
    assert!(cls("images", "rbd_header.1", "child_attach", true, true));
    assert!(!cls("images", "rbd_header.1", "set_size", true, true));
}

#[test]
fn metadata_grants_match_whole_path_components() {
    let c = MdsCap::parse("allow rw fsname=a path=/foo").unwrap();
    assert!(c.path_capable("foo") && c.path_capable("foo/bar") && !c.path_capable("food"));
    let a = addr("10.1.2.3");
    assert!(c.fs_capable("a", true, &a) && !c.fs_capable("b", false, &a));
    assert!(MdsCap::parse("allow").unwrap().fs_capable("x", true, &a));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
    /// Words of all four grammars in any order: whatever parses prints to something that parses to the same.
    #[test]
    fn whatever_parses_prints_to_the_same(words in proptest::collection::vec(prop::sample::select(vec![
        "r", "rw", "rwx", "*", "all", "class-read", "class-write", "pool=a", "pool 'a b'", "namespace=x*", "namespace=''",
        "object_prefix c", "tag a b=c", "tag a 'all'=*", "class d", "class d e", "profile rbd", "rbd", "network 1.2.3.4/8",
        "service osd", "command foo", "command 'a \"b\"'", "with a=b", "with a prefix b c regex \"d'.*\"", "module m", "uid=1", "gids=2,1",
        "path=/a", "path='/a \"b'", "fsname=x", "root_squash", ", allow", "; profile osd", ",",
    ]), 1..6), first in prop::sample::select(vec!["allow", "profile", "allow profile"])) {
        let text = format!("{first} {}", words.join(" "));
        cephx::fuzz::fuzz_text(text.as_bytes());
    }
}
