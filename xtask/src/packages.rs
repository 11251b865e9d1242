//! Debian packages that tasks need, installed by `apt-get` when they are missing (as root, as CI runs).

use crate::util;
use anyhow::Context;
use std::process::{Command, Stdio};

/// The stock clients that the demo and the client tests drive.
pub const CLIENTS: &[&str] = &[
    "ceph-common",
    "python3-rados",
    "python3-rbd",
    "fio",
    "qemu-system-x86=1:7.2*",
    "qemu-utils=1:7.2*",
    "qemu-block-extra=1:7.2*",
];

/// What builds the bootable guest.
pub const GUEST: &[&str] = &[
    "syslinux",
    "syslinux-common",
    "mtools",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "cpio",
    "gzip",
    "busybox-static",
];

/// The stock daemons and offline tools: peers of the benchmark, oracles of the tests.
pub const STOCK: &[&str] = &["ceph-mon", "ceph-osd", "ceph-mgr", "ceph-base"];

/// Stock's MDS and its client in user space.
pub const FILE_SYSTEM: &[&str] = &["ceph-mds", "ceph-fuse"];

fn name(spec: &str) -> &str {
    spec.split('=').next().unwrap_or(spec)
}

fn installed(spec: &str) -> bool {
    let out = Command::new("dpkg-query").args(["-W", "-f", "${Status} ${Version}", name(spec)]).output();
    let Ok(out) = out else { return false };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let Some(version) = text.strip_prefix("install ok installed ") else { return false };
    match spec.split_once('=') {
        Some((_, wanted)) => version.starts_with(wanted.trim_end_matches('*')),
        None => true,
    }
}

/// Installs what is missing of `packages`. Does nothing, and asks for no rights, when all are there.
pub fn ensure(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    let quiet = |args: &[&str]| -> anyhow::Result<bool> {
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .context("apt-get does not run: install the packages above by hand")?;
        Ok(status.success())
    };
    anyhow::ensure!(quiet(&["update", "-qq"])?, "apt-get update failed");
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends", "--allow-downgrades"];
    args.extend(&missing);
    anyhow::ensure!(quiet(&args)?, "apt-get could not install {} (root is needed)", missing.join(" "));
    Ok(())
}

/// Fetches Debian's newest cloud kernel package and unpacks it under `dir`; nothing is installed.
pub fn unpack_kernel(dir: &std::path::Path) -> anyhow::Result<()> {
    let out = Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]).output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let package = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("Depends: "))
        .context("apt knows no linux-image-cloud-amd64")?
        .to_owned();
    std::fs::create_dir_all(dir)?;
    let status = Command::new("apt-get")
        .args(["download", "-qq", &package])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status()?;
    anyhow::ensure!(status.success(), "apt-get download {package} failed");
    let deb = std::fs::read_dir(dir)?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .context("no .deb was downloaded")?;
    util::run("dpkg", &["-x", &deb.to_string_lossy(), &dir.to_string_lossy()])
}
