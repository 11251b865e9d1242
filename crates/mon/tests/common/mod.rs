//! What the tests with a real monitor share: a cluster of one monitor, which is the test binary itself, started with `mon` as its
//! first argument. Needs the stock client programs.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// One monitor in a folder of its own.
pub struct Cluster {
    /// The folder.
    pub dir: PathBuf,
    daemon: Option<Child>,
    /// Where it listens with protocol v2.
    pub v2_port: u16,
    /// Where it listens with protocol v1.
    pub v1_port: u16,
}

fn free_port() -> u16 {
    let l = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    l.local_addr().expect("its number").port()
}

/// Runs a program to its end.
pub fn run(c: &mut Command) -> Output {
    let name = format!("{c:?}");
    c.output().unwrap_or_else(|e| panic!("{name}: {e}: are the stock Ceph programs installed?"))
}

/// Its output; it must succeed.
pub fn ok(c: &mut Command) -> String {
    let o = run(c);
    assert!(o.status.success(), "{c:?}: {}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8_lossy(&o.stdout).into_owned()
}

impl Cluster {
    /// Makes the store; nothing runs yet.
    pub fn new() -> Cluster {
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
        let c = Cluster { dir, daemon: None, v2_port: v2, v1_port: v1 };
        ok(c.mon().arg("--mkfs").arg("--monmap").arg(&map).arg("--keyring").arg(&keyring));
        c
    }
    fn mon(&self) -> Command {
        let mut c = Command::new(std::env::current_exe().expect("this program"));
        c.arg("mon").args(["-i", "a", "-c"]).arg(self.dir.join("ceph.conf"));
        c
    }
    /// Starts the monitor and waits until the CLI gets an answer.
    pub fn start(&mut self) {
        self.daemon = Some(self.mon().arg("-f").spawn().expect("the monitor starts"));
        let until = Instant::now() + Duration::from_secs(10);
        while !run(&mut self.ceph(&["fsid"])).status.success() {
            assert!(Instant::now() < until, "the monitor does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut d) = self.daemon.take() {
            let _ = d.kill();
            let _ = d.wait();
        }
    }
    /// `ceph` with these arguments.
    pub fn ceph(&self, args: &[&str]) -> Command {
        self.tool("ceph", args)
    }
    /// A stock program with these arguments.
    pub fn tool(&self, program: &str, args: &[&str]) -> Command {
        let mut c = Command::new("timeout");
        c.args(["20", program, "-c"]).arg(self.dir.join("ceph.conf")).args(args);
        c
    }
    /// Output of a `ceph` command that succeeds.
    pub fn out(&self, args: &[&str]) -> String {
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

/// The `main` of such a test binary: the monitor when asked for it, the listing that `cargo test` wants, or the test.
pub fn main(name: &str, test: fn(&[String])) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().map(String::as_str) == Some("mon") {
        if let Err(e) = mon::main(args[1..].to_vec()) {
            eprintln!("{e:#}");
            std::process::exit(1);
        }
        return;
    }
    if args.iter().any(|a| a == "--list") {
        println!("{name}: test");
        return;
    }
    test(&args);
    println!("{name}: ok");
}
