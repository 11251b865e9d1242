//! The authorization table: every command, subscription and message with every cap profile, compared with `golden/authz.txt`.
//!
//! A new command cannot be forgotten: its row is missing there until someone has looked at it. `LOLIGO_RECORD=1` writes the
//! file anew. Letters in a row name the callers (at the head of the file) who may; a dot is one who may not.

use mon_core::authz::{self, Verdict, Way};
use mon_core::commands::{self, Args};
use mon_core::testing::World;
use mon_core::{MonEvent, Peer, Role};
use std::fmt::Write;
use types::features::SUPPORTED;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType};

/// Callers: letter, entity, caps at the monitor, caps at the manager.
const CALLERS: &[(char, &str, &str, &str)] = &[
    ('0', "client.x", "", ""),
    ('r', "client.x", "allow r", "allow r"),
    ('w', "client.x", "allow rw", "allow rw"),
    ('x', "client.x", "allow rwx", "allow rwx"),
    ('*', "client.x", "allow *", "allow *"),
    ('1', "client.x", "profile read-only", "profile read-only"),
    ('2', "client.x", "profile read-write", "profile read-write"),
    ('n', "mon.", "allow profile mon", ""),
    ('o', "osd.0", "allow profile osd", "allow profile osd"),
    ('d', "mds.a", "allow profile mds", "allow profile mds"),
    ('g', "mgr.x", "allow profile mgr", ""),
    ('R', "client.x", "profile rbd", "profile rbd"),
    ('B', "client.x", "profile rbd", "profile rbd-read-only"),
    ('M', "client.x", "profile rbd-mirror", "profile rbd"),
    ('P', "client.x", "profile rbd-mirror-peer", ""),
    ('s', "client.x", "profile simple-rados-client", ""),
    ('f', "client.x", "profile fs-client", ""),
    ('F', "client.x", "profile cephfs-mirror", ""),
    ('c', "client.crash", "profile crash", "profile crash"),
    ('D', "client.x", "profile role-definer", ""),
    ('O', "client.bootstrap-osd", "allow profile bootstrap-osd", ""),
    ('S', "client.bootstrap-mds", "allow profile bootstrap-mds", ""),
    ('G', "client.bootstrap-mgr", "allow profile bootstrap-mgr", ""),
    ('W', "client.bootstrap-rgw", "allow profile bootstrap-rgw", ""),
    ('b', "client.bootstrap-rbd", "allow profile bootstrap-rbd", ""),
    ('m', "client.bootstrap-rbd-mirror", "allow profile bootstrap-rbd-mirror", ""),
    ('C', "client.x", "allow command \"config-key get\" with key=a", "allow command \"pg dump\""),
    ('K', "client.x", "allow service config-key rw", "allow service osd rw"),
    ('N', "client.x", "allow * network 10.0.0.0/8", "allow * network 10.0.0.0/8"),
];

/// Commands with the arguments that capabilities look at.
const WITH_ARGS: &[&str] = &[
    r#"{"prefix":"config-key get","key":"a"}"#,
    r#"{"prefix":"config-key get","key":"rbd/mirror/x"}"#,
    r#"{"prefix":"config-key get","key":"cephfs/mirror/peer/x"}"#,
    r#"{"prefix":"config-key get","key":"daemon-private/osd.0/x"}"#,
    r#"{"prefix":"config-key get","key":"daemon-private/osd.1/x"}"#,
    r#"{"prefix":"config-key get","key":"dm-crypt/osd/00000000-0000-0000-0000-000000000000/luks"}"#,
    r#"{"prefix":"config-key set","key":"rbd/mirror/x"}"#,
    r#"{"prefix":"config-key set","key":"rbd/mirror/x/y"}"#,
    r#"{"prefix":"osd blocklist","blocklistop":"add","addr":"1.2.3.4:0/5"}"#,
    r#"{"prefix":"osd blocklist","blocklistop":"add","addr":"1.2.3.4"}"#,
    r#"{"prefix":"osd blocklist","blocklistop":"rm","addr":"1.2.3.4:0/5"}"#,
    r#"{"prefix":"auth get-or-create","entity":"mds.a","caps":["mon","allow profile mds","osd","allow rwx","mds","allow"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"mds.a","caps":["mon","allow *","osd","allow rwx","mds","allow"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"client.admin","caps":["mon","allow profile mds","osd","allow rwx","mds","allow"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"mgr.y","caps":["mon","allow profile mgr"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"client.rgw.a","caps":["mon","allow rw","osd","allow rwx"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"client.q","caps":["mon","profile rbd","osd","profile rbd pool=a"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"client.q","caps":["mon","profile rbd","osd","allow *"]}"#,
    r#"{"prefix":"auth get-or-create","entity":"client.q","caps":["mon","profile rbd-mirror","osd","profile rbd"]}"#,
];

fn peer(role: Role, entity: &str, caps: &str) -> Peer {
    let addr = EntityAddr::new(AddrType::Msgr2, "127.0.0.1:5".parse().expect("an address"), 1);
    Peer {
        role,
        entity: entity.to_owned(),
        global_id: 4100,
        name: EntityName::new(EntityType::CLIENT, 1),
        addrs: AddrVec(vec![addr]),
        features: SUPPORTED,
        caps: caps.to_owned(),
        allow_all: false,
        authenticated: true,
    }
}

/// The letters of those who may.
fn who(role: Role, may: impl Fn(&Peer) -> bool) -> String {
    CALLERS
        .iter()
        .map(|(letter, entity, mon, mgr)| {
            let p = peer(role, entity, if role == Role::Mgr { mgr } else { mon });
            if may(&p) { *letter } else { '.' }
        })
        .collect()
}

fn args(prefix: &str) -> Args {
    let text =
        if prefix.starts_with('{') { prefix.to_owned() } else { format!(r#"{{"prefix":"{prefix}"}}"#) };
    Args::parse(&[text]).expect("a command")
}

fn table() -> String {
    let mut out = String::from("# Callers: letter, entity, caps at the monitor | caps at the manager.\n");
    for (letter, entity, mon, mgr) in CALLERS {
        let _ = writeln!(out, "# {letter} {entity}: {mon} | {mgr}");
    }
    out +=
        "\n# Commands: sent to the monitor, to the manager, by tell to a monitor, by tell to the manager.\n";
    let mut rows = commands::prefixes();
    rows.extend(WITH_ARGS);
    let listed = rows.clone();
    rows.extend(commands::of_process().filter(|p| !listed.contains(p)));
    for prefix in rows {
        let a = args(prefix);
        let cell = |role, way| who(role, |p| authz::command(p, way, &a));
        let cells = [
            cell(Role::Mon, Way::Service),
            cell(Role::Mgr, Way::Service),
            cell(Role::Mon, Way::Tell),
            cell(Role::Mgr, Way::Tell),
        ];
        let _ = writeln!(out, "{} {prefix}", cells.join(" "));
    }
    out += "\n# Subscriptions.\n";
    let more = ["osdmap.full", "kv:config/", "kv:", "kv", "config-key", "auth", "nonsense"];
    for name in authz::SUBSCRIPTIONS.iter().map(|s| s.0).chain(more) {
        let _ =
            writeln!(out, "{} {name}", who(Role::Mon, |p| authz::subscription(p, &name.replace('*', "x"))));
    }
    out += "\n# Messages: at the monitor, at the manager.\n";
    for kind in messages::kinds::ALL {
        let cell = |role| who(role, |p| authz::message(p, *kind) == Verdict::Allow);
        let (mon, mgr) = (cell(Role::Mon), cell(Role::Mgr));
        if format!("{mon}{mgr}").chars().any(|c| c != '.') {
            let _ = writeln!(out, "{mon} {mgr} {}", messages::kinds::name(*kind));
        }
    }
    out += "# All others: nobody.\n";
    out
}

#[test]
fn every_command_subscription_and_message_is_allowed_to_whom_the_table_says() {
    let now = table();
    if std::env::var_os("LOLIGO_RECORD").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/authz.txt");
        std::fs::write(path, &now).expect("the golden file can be written");
        return;
    }
    let golden = include_str!("golden/authz.txt");
    let changed: Vec<_> = now
        .lines()
        .filter(|l| !golden.lines().any(|g| g == *l))
        .chain(golden.lines().filter(|g| !now.lines().any(|l| l == *g)))
        .collect();
    assert!(
        now == golden,
        "tests/golden/authz.txt says otherwise (LOLIGO_RECORD=1 writes it):\n{}",
        changed.join("\n")
    );
}

#[test]
fn a_session_without_caps_gets_nothing_from_any_command() {
    let mut w = World::new(1);
    for prefix in commands::prefixes() {
        for (role, way) in [
            (Role::Mon, Way::Service),
            (Role::Mon, Way::Tell),
            (Role::Mgr, Way::Service),
            (Role::Mgr, Way::Tell),
        ] {
            let before = w.disk.get("osdmap/full/00000000000000000001").cloned();
            let (ret, text, data) = w.command_as(role, way, "client.x", "", prefix);
            let wanted = if authz::known(role, way, prefix) { -13 } else { -22 };
            assert_eq!((ret, data.len()), (wanted, 0), "{prefix} at {role:?} {way:?}: {text}");
            assert_eq!(before, w.disk.get("osdmap/full/00000000000000000001").cloned());
        }
    }
    // No handler is without its row in the table of signatures (such a command would be unknown to everyone).
    assert!(commands::prefixes().iter().all(|c| authz::known(Role::Local, Way::Tell, c)));
    // Nor before it is logged in, whatever it claims.
    let mut p = peer(Role::Mon, "client.admin", "allow *");
    p.authenticated = false;
    assert!(commands::prefixes().iter().all(|c| !authz::command(&p, Way::Service, &args(c))));
    assert!(authz::SUBSCRIPTIONS.iter().all(|(name, _, _)| !authz::subscription(&p, name)));
    w.event(MonEvent::Tick);
}

/// What `allow r` (and less) can learn: no key that is in the store is in any answer.
#[test]
fn read_rights_reach_no_secret() {
    let mut w = World::new(1);
    let (ret, text, _) =
        w.command(Role::Mon, r#"{"prefix":"config-key set","key":"dm-crypt/x","val":"sEcReT-1"}"#);
    assert_eq!(ret, 0, "{text}");
    for (who, name) in [("mgr", "mgr/influx/password"), ("client.rgw", "mgr/x/secret_key")] {
        let set = format!(r#"{{"prefix":"config set","who":"{who}","name":"{name}","value":"sEcReT-2"}}"#);
        let (ret, text, _) = w.command(Role::Mon, &set);
        assert_eq!(ret, 0, "{text}");
    }
    let secrets = w.secrets();
    assert!(secrets.len() > 10);
    let mut all: Vec<String> = commands::prefixes().into_iter().map(str::to_owned).collect();
    for (p, rest) in [
        ("config get", r#""who":"mgr""#),
        ("config get", r#""who":"mgr","key":"mgr/influx/password""#),
        ("config show", r#""who":"osd.0""#),
        ("config-key get", r#""key":"dm-crypt/x""#),
        ("auth get", r#""entity":"client.admin""#),
        ("auth get-key", r#""entity":"client.admin""#),
        ("auth export", r#""entity":"client.admin""#),
        ("log last", r#""num":1000,"level":"debug","channel":"*""#),
        ("config log", r#""num":100"#),
    ] {
        all.push(format!(r#"{{"prefix":"{p}",{rest}}}"#));
        all.push(format!(r#"{{"prefix":"{p}","format":"json",{rest}}}"#));
    }
    for caps in [
        "allow r",
        "profile read-only",
        "profile rbd",
        "profile fs-client",
        "profile osd",
        "profile bootstrap-osd",
    ] {
        for role in [Role::Mon, Role::Mgr] {
            for c in &all {
                let (_, text, data) = w.command_as(
                    role,
                    Way::Service,
                    "client.x",
                    if role == Role::Mgr { "allow r" } else { caps },
                    c,
                );
                let seen = format!("{text}{}", String::from_utf8_lossy(&data));
                for s in &secrets {
                    assert!(!seen.contains(s.as_str()), "{c} shows a secret to {caps}: {seen}");
                }
            }
        }
    }
}

/// Nor does the log, replicated or printed, when the administrator works with keys.
#[test]
fn no_key_is_in_a_log_line() {
    let mut w = World::new(1);
    let name = r#""entity":"client.n","caps":["mon","allow r"]"#;
    for c in [
        format!(r#"{{"prefix":"auth get-or-create",{name}}}"#),
        format!(r#"{{"prefix":"auth get-or-create-key",{name}}}"#),
        r#"{"prefix":"auth get","entity":"client.n"}"#.to_owned(),
        r#"{"prefix":"auth export"}"#.to_owned(),
        r#"{"prefix":"auth print-key","entity":"client.n"}"#.to_owned(),
        r#"{"prefix":"config-key set","key":"k","val":"sEcReT-1"}"#.to_owned(),
        r#"{"prefix":"config-key get","key":"k"}"#.to_owned(),
        r#"{"prefix":"config set","who":"mgr","name":"mgr/influx/password","value":"sEcReT-2"}"#.to_owned(),
        r#"{"prefix":"config dump"}"#.to_owned(),
    ] {
        let (ret, text, _) = w.command(Role::Mon, &c);
        assert_eq!(ret, 0, "{c}: {text}");
    }
    let mut secrets = w.secrets();
    secrets.push("sEcReT-2".into());
    let log: String = w
        .disk
        .iter()
        .filter(|(k, _)| k.starts_with("logm/"))
        .map(|(_, v)| String::from_utf8_lossy(v).into_owned())
        .chain(w.lines.iter().cloned())
        .collect();
    assert!(log.contains("auth get-or-create"));
    for s in &secrets {
        assert!(!log.contains(s.as_str()), "{s} is in the log");
    }
}
