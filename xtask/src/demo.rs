//! `cargo xtask demo`: the main job, as an operator would type it.
//!
//! A cluster comes up; a real bootable disk becomes an image, a snapshot, a clone; stock QEMU boots the clone twice, and
//! during the second boot an OSD is killed with -9. Every command is shown before it runs; the demo fails when one fails
//! or when the guest does not read what it wrote.

use crate::{guest, packages, util};
use anyhow::{Context, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const GLANCE_OSD: &str = "allow class-read object_prefix rbd_children, allow rwx pool=images";
const CINDER_OSD: &str = "allow class-read object_prefix rbd_children, allow rwx pool=volumes, allow rwx pool=vms, allow rx pool=images";

struct Demo {
    dir: PathBuf,
    loligo: PathBuf,
    conf: PathBuf,
}

/// Quotes an argument as one would type it.
fn quoted(arg: &str) -> String {
    if arg.is_empty() || arg.contains(|c: char| c.is_whitespace() || "'\"*$;&|<>".contains(c)) {
        format!("'{arg}'")
    } else {
        arg.to_owned()
    }
}

impl Demo {
    /// Shows and runs one command, its output on the terminal.
    fn type_in(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        println!("$ {program} {}", args.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" "));
        let program = if program == "loligo" { self.loligo.as_os_str() } else { program.as_ref() };
        let status = Command::new(program).args(args).env("CEPH_CONF", &self.conf).status()?;
        ensure!(status.success(), "that command failed: {status}");
        Ok(())
    }

    fn heading(&self, text: &str) {
        println!("\n== {text}");
    }

    fn user(&self, name: &str, osd_caps: &str) -> anyhow::Result<()> {
        let keyring = self.dir.join(format!("ceph.client.{name}.keyring"));
        let entity = format!("client.{name}");
        self.type_in(
            "ceph",
            &[
                "auth",
                "get-or-create",
                &entity,
                "mon",
                "allow r",
                "osd",
                osd_caps,
                "-o",
                &keyring.to_string_lossy(),
            ],
        )
    }

    fn drive(&self) -> String {
        format!(
            "file=rbd:vms/vm1:id=cinder:conf={},format=raw,if=virtio,cache=writeback",
            self.conf.display().to_string().replace(':', "\\:")
        )
    }

    fn pid_of(&self, daemon: &str) -> anyhow::Result<String> {
        let path = self.dir.join(format!("run/{daemon}.pid"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.trim().to_owned())
    }
}

fn build_binary() -> anyhow::Result<PathBuf> {
    util::run("cargo", &["build", "--release", "--locked", "--package", "cli"])?;
    Ok(util::root().join("target/release/loligo"))
}

fn main_job(d: &Demo, disk: &Path, accel: &str) -> anyhow::Result<()> {
    d.heading("the pools and the two users of the article");
    for pool in ["volumes", "images", "vms"] {
        d.type_in("ceph", &["osd", "pool", "create", pool, "64"])?;
        d.type_in("rbd", &["pool", "init", pool])?;
    }
    d.user("glance", GLANCE_OSD)?;
    d.user("cinder", CINDER_OSD)?;

    d.heading("a bootable disk becomes an image, its snapshot a clone");
    d.type_in("rbd", &["--id", "glance", "import", &disk.to_string_lossy(), "images/guest"])?;
    d.type_in("rbd", &["--id", "glance", "snap", "create", "images/guest@v1"])?;
    d.type_in("rbd", &["--id", "glance", "snap", "protect", "images/guest@v1"])?;
    d.type_in("rbd", &["--id", "cinder", "clone", "images/guest@v1", "vms/vm1"])?;
    d.type_in("rbd", &["info", "vms/vm1"])?;

    d.heading("a virtual machine boots from the clone and writes a file");
    let first = guest::boot(accel, &d.drive(), |_| {})?;
    ensure!(first.iter().any(|l| l.contains("wrote /mnt/letter")), "the guest wrote nothing");
    ensure!(first.iter().any(|l| l.contains("synced")), "the guest did not sync");

    d.heading("it boots again; one OSD is killed with -9 meanwhile");
    let victim = d.pid_of("osd.0")?;
    let mut killed = false;
    let second = guest::boot(accel, &d.drive(), |line| {
        if line.contains("waiting") && !killed {
            println!("$ kill -9 {victim}    # osd.0");
            killed = Command::new("kill").args(["-9", &victim]).status().is_ok_and(|s| s.success());
        }
    })?;
    ensure!(killed, "osd.0 could not be killed");
    ensure!(
        second.iter().any(|l| l.contains("reads: written by the guest in boot 1")),
        "the guest lost its file"
    );
    ensure!(second.iter().any(|l| l.contains("letter: OK")), "the file's checksum is wrong");
    ensure!(second.iter().any(|l| l.contains("bulk: OK")), "the bulk file's checksum is wrong");
    ensure!(!second.iter().any(|l| l.contains("FAILED")), "a checksum is wrong");
    d.type_in("ceph", &["osd", "tree"])?;

    d.heading("the OSD comes back");
    d.type_in("loligo", &["up", "--dir", &d.dir.to_string_lossy()])?;
    d.type_in("ceph", &["-s"])?;
    d.type_in("ceph", &["osd", "tree"])?;
    for pool in ["images", "vms"] {
        d.type_in("rbd", &["ls", "-l", pool])?;
    }
    Ok(())
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let (mut keep, mut binary) = (false, None);
    let mut it = args.iter();
    while let Some(arg) = it.next() {
        match (arg.as_str(), it.clone().next()) {
            ("--keep", _) => keep = true,
            ("--binary", Some(path)) => {
                binary = Some(PathBuf::from(path));
                it.next();
            }
            _ => bail!("usage: cargo xtask demo [--keep] [--binary LOLIGO]   (got {arg:?})"),
        }
    }
    let start = Instant::now();
    packages::ensure(packages::CLIENTS)?;
    let loligo = match binary {
        Some(path) => path.canonicalize().context("--binary")?,
        None => build_binary()?,
    };
    let disk = guest::build(&util::root().join("target/guest"))?;
    let accel = guest::accelerator(&disk);
    let dir = util::root().join("target/demo");
    if dir.exists() {
        let _ = Command::new(&loligo).args(["down", "--dir", &dir.to_string_lossy()]).status();
        fs::remove_dir_all(&dir)?;
    }
    let d = Demo { conf: dir.join("ceph.conf"), dir, loligo };
    d.heading("a cluster of one monitor and three OSDs");
    let up = d.type_in("loligo", &["up", "--dir", &d.dir.to_string_lossy(), "--mons", "1", "--osds", "3"]);
    let result = up.and_then(|()| {
        println!("$ export CEPH_CONF={}", d.conf.display());
        d.type_in("ceph", &["-s"])?;
        d.type_in("ceph", &["osd", "tree"])?;
        main_job(&d, &disk, accel)
    });
    if keep {
        println!("\nthe cluster stays up: export CEPH_CONF={}", d.conf.display());
    } else {
        d.type_in("loligo", &["down", "--dir", &d.dir.to_string_lossy()])?;
        if result.is_ok() {
            fs::remove_dir_all(&d.dir)?;
        }
    }
    result?;
    println!("\ndemo done in {:.0} s (guest under {accel})", start.elapsed().as_secs_f64());
    Ok(())
}
