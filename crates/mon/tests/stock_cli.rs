//! The stock `ceph` CLI (16.2) against this monitor, as an operator uses it. Needs the stock client programs installed; fails without.
//!
//! The test binary is the daemon too: started with `mon` as its first argument it runs [`mon::main`].

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

struct Cluster {
    dir: PathBuf,
    daemon: Option<Child>,
    v1_port: u16,
}

fn free_port() -> u16 {
    let l = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    l.local_addr().expect("its number").port()
}

fn run(c: &mut Command) -> Output {
    let name = format!("{c:?}");
    c.output().unwrap_or_else(|e| panic!("{name}: {e}: are the stock Ceph programs installed?"))
}

fn ok(c: &mut Command) -> String {
    let o = run(c);
    assert!(o.status.success(), "{c:?}: {}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8_lossy(&o.stdout).into_owned()
}

impl Cluster {
    fn new() -> Cluster {
        let dir = std::env::temp_dir().join(format!("loligo-mon-test-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("mon")).expect("a folder");
        let (v2, v1) = (free_port(), free_port());
        let fsid = "6b1f2a70-0aed-46ad-8dbd-87a09e584542";
        let d = dir.display();
        let conf = format!(
            "[global]\nfsid = {fsid}\nmon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]\nkeyring = {d}/keyring\n\
             log file = {d}/$name.log\nadmin socket = {d}/$name.asok\nmon allow pool delete = true\n[mon]\nmon data = {d}/mon/$id\n"
        );
        std::fs::write(dir.join("ceph.conf"), conf).expect("ceph.conf");
        let keyring = dir.join("keyring");
        ok(Command::new("ceph-authtool").arg("--create-keyring").arg(&keyring).args([
            "--gen-key",
            "-n",
            "mon.",
            "--cap",
            "mon",
            "allow *",
        ]));
        let caps = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
        ok(Command::new("ceph-authtool").arg(&keyring).args(["--gen-key", "-n", "client.admin"]).args(caps));
        let map = dir.join("monmap");
        let addrs = format!("[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]");
        ok(Command::new("monmaptool")
            .args(["--create", "--clobber", "--fsid", fsid, "--addv", "a", &addrs])
            .arg(&map));
        let c = Cluster { dir, daemon: None, v1_port: v1 };
        ok(c.mon().arg("--mkfs").arg("--monmap").arg(&map).arg("--keyring").arg(&keyring));
        c
    }
    fn mon(&self) -> Command {
        let mut c = Command::new(std::env::current_exe().expect("this program"));
        c.arg("mon").args(["-i", "a", "-c"]).arg(self.dir.join("ceph.conf"));
        c
    }
    fn start(&mut self) {
        self.daemon = Some(self.mon().arg("-f").spawn().expect("the monitor starts"));
        let until = Instant::now() + Duration::from_secs(10);
        while !run(&mut self.ceph(&["fsid"])).status.success() {
            assert!(Instant::now() < until, "the monitor does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    fn kill(&mut self) {
        if let Some(mut d) = self.daemon.take() {
            let _ = d.kill();
            let _ = d.wait();
        }
    }
    fn ceph(&self, args: &[&str]) -> Command {
        self.tool("ceph", args)
    }
    fn tool(&self, program: &str, args: &[&str]) -> Command {
        let mut c = Command::new("timeout");
        c.args(["20", program, "-c"]).arg(self.dir.join("ceph.conf")).args(args);
        c
    }
    fn out(&self, args: &[&str]) -> String {
        ok(&mut self.ceph(args))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

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

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().map(String::as_str) == Some("mon") {
        if let Err(e) = mon::main(args[1..].to_vec()) {
            eprintln!("{e:#}");
            std::process::exit(1);
        }
        return;
    }
    if args.iter().any(|a| a == "--list") {
        println!("stock_cli: test");
        return;
    }
    let mut c = Cluster::new();
    c.start();
    let dir = c.dir.clone();
    status_and_tree(&c);
    users(&c, &dir);
    osd_keys(&c);
    map_decodes_with_stock(&c, &dir);
    v1_only_bootstrap(&c);
    pools_survive_kill_9(&mut c);
    println!("stock_cli: ok");
}
