//! The stock `ceph` CLI (16.2) against this monitor, as an operator uses it. Needs the stock client programs installed; fails without.

mod common;

use common::{Cluster, ok, run};
use std::path::Path;
use std::process::Command;

fn contains(text: &str, wanted: &[&str]) {
    for w in wanted {
        assert!(text.contains(w), "{w:?} is not in:\n{text}");
    }
}

fn status_and_tree(c: &Cluster) {
    contains(
        &c.out(&["-s"]),
        &["6b1f2a70", "quorum a", "mgr: a(active", "HEALTH_WARN", "OSD count 0 < osd_pool_default_size 3"],
    );
    contains(
        &c.out(&["osd", "tree"]),
        &["ID  CLASS  WEIGHT  TYPE NAME     STATUS  REWEIGHT  PRI-AFF", "root default"],
    );
    contains(&c.out(&["pg", "stat"]), &["0 pgs:"]);
    contains(&c.out(&["df"]), &["--- RAW STORAGE ---", "--- POOLS ---"]);
    contains(&c.out(&["osd", "dump"]), &["epoch 1", "full_ratio 0.95", "require_osd_release pacific"]);
}

fn users(c: &Cluster, dir: &Path) {
    let key = c.out(&[
        "auth",
        "get-or-create",
        "client.glance",
        "mon",
        "profile rbd",
        "osd",
        "profile rbd pool=images",
    ]);
    contains(&key, &["[client.glance]", "key = AQ"]);
    assert_eq!(c.out(&["auth", "get-or-create", "client.glance"]), key, "the same key again");
    let o = run(&mut c.ceph(&["auth", "get-or-create", "client.x", "mon", "allow zz"]));
    contains(
        &String::from_utf8_lossy(&o.stderr),
        &["mon capability parse failed, stopped at 'allow zz' of 'allow zz'"],
    );
    let ring = dir.join("glance.keyring");
    std::fs::write(&ring, key).expect("a keyring");
    let ring = ring.display().to_string();
    contains(&ok(&mut c.ceph(&["-n", "client.glance", "-k", &ring, "osd", "ls"])), &[]);
    let o = run(&mut c.ceph(&["-n", "client.glance", "-k", &ring, "osd", "pool", "create", "p"]));
    contains(&String::from_utf8_lossy(&o.stderr), &["EACCES", "access denied"]);
    std::fs::write(dir.join("bad"), "[client.glance]\n\tkey = AQDTo1NkAAAAABAAuLUGQ0NjXbXBVkPwXyFLYA==\n")
        .expect("a keyring");
    let bad = dir.join("bad").display().to_string();
    let o = run(&mut c.ceph(&["-n", "client.glance", "-k", &bad, "-s"]));
    assert!(!o.status.success(), "a wrong key is refused");
}

fn pools_survive_kill_9(c: &mut Cluster) {
    c.out(&["osd", "pool", "create", "images", "8"]);
    c.out(&["osd", "pool", "application", "enable", "images", "rbd"]);
    c.out(&["config", "set", "osd", "osd_max_backfills", "2"]);
    c.kill();
    c.start();
    contains(&c.out(&["osd", "pool", "ls", "detail"]), &["'images' replicated size 3", "application rbd"]);
    assert_eq!(c.out(&["config", "get", "osd.0", "osd_max_backfills"]).trim(), "2");
    c.out(&["osd", "pool", "delete", "images", "images", "--yes-i-really-really-mean-it"]);
    assert_eq!(c.out(&["osd", "pool", "ls"]).trim(), "");
}

fn v1_only_bootstrap(c: &Cluster) {
    let host = format!("[v1:127.0.0.1:{}]", c.v1_port);
    contains(&c.out(&["-m", &host, "osd", "stat"]), &["0 osds: 0 up, 0 in"]);
}

fn osd_keys(c: &Cluster) {
    let u = "11111111-2222-3333-4444-555555555555";
    assert_eq!(c.out(&["osd", "new", u]).trim(), "0");
    assert_eq!(c.out(&["osd", "new", u]).trim(), "0");
    contains(&c.out(&["osd", "tree"]), &["osd.0", "down"]);
    c.out(&["osd", "purge", "0", "--yes-i-really-mean-it"]);
    assert_eq!(c.out(&["osd", "ls"]).trim(), "");
}

fn map_decodes_with_stock(c: &Cluster, dir: &Path) {
    let file = dir.join("osdmap").display().to_string();
    c.out(&["osd", "getmap", "-o", &file]);
    contains(&ok(Command::new("osdmaptool").args(["--print", &file])), &["fsid 6b1f2a70"]);
    let file = dir.join("mm").display().to_string();
    c.out(&["mon", "getmap", "-o", &file]);
    contains(&ok(Command::new("monmaptool").args(["--print", &file])), &["mon.a"]);
}

fn test(_: &[String]) {
    let mut c = Cluster::new();
    c.start();
    let dir = c.dir.clone();
    status_and_tree(&c);
    users(&c, &dir);
    osd_keys(&c);
    map_decodes_with_stock(&c, &dir);
    v1_only_bootstrap(&c);
    pools_survive_kill_9(&mut c);
}

fn main() {
    common::main("stock_cli", test);
}
