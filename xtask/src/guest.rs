//! The demo's guest: a bootable disk made of Debian's kernel and busybox, and a stock QEMU that boots it.
//!
//! The disk has an MBR, a FAT boot partition (syslinux, kernel, initramfs) and an ext4 data partition. At each boot the
//! guest mounts the data partition; the first boot writes a file and its sha256, later ones check it; then it syncs and
//! powers off. Every line for the reader starts with `GUEST:` on the serial console.

use crate::{packages, util};
use anyhow::{Context, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DISK_MIB: u64 = 640;
const BOOT_START_SECTOR: u64 = 2048;
const BOOT_SECTORS: u64 = 131_072;
const DATA_START_SECTOR: u64 = BOOT_START_SECTOR + BOOT_SECTORS;

/// In the order they must be inserted.
const MODULES: &[&str] = &[
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
];

const INIT: &str = r#"#!/bin/sh
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do insmod /lib/$m.ko; done
n=0; while [ ! -b /dev/vda2 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
mount -t ext4 /dev/vda2 /mnt || { echo "GUEST: cannot mount its disk"; poweroff -f; }
boots=0; [ -e /mnt/boots ] && boots=$(cat /mnt/boots); boots=$((boots+1))
echo "GUEST: boot $boots, Linux $(uname -r)"
if [ -e /mnt/letter ]; then
  for w in $wait; do echo "GUEST: waiting"; sleep $w; done
  echo 3 > /proc/sys/vm/drop_caches
  echo "GUEST: reads: $(cat /mnt/letter)"; (cd /mnt && sha256sum -c letter.sum) | while read l; do echo "GUEST: $l"; done
  (cd /mnt && sha256sum -c bulk.sum) | while read l; do echo "GUEST: $l"; done
else
  echo "written by the guest in boot $boots" > /mnt/letter; (cd /mnt && sha256sum letter > letter.sum)
  dd if=/dev/urandom of=/mnt/bulk bs=1M count=16 2>/dev/null; (cd /mnt && sha256sum bulk > bulk.sum)
  echo "GUEST: wrote /mnt/letter and 16 MiB of noise"
fi
echo $boots > /mnt/boots; sync; umount /mnt; echo "GUEST: synced, powering off"; poweroff -f
"#;

const SYSLINUX_CFG: &str = "DEFAULT guest\nPROMPT 0\nTIMEOUT 1\nSERIAL 0 115200\nLABEL guest\n KERNEL vmlinuz\n INITRD initrd.gz\n APPEND console=ttyS0 quiet panic=-1 rdinit=/init wait=4\n";

fn run_in(dir: &Path, script: &str) -> anyhow::Result<()> {
    let out = Command::new("sh").args(["-eu", "-c", script]).current_dir(dir).output()?;
    if !out.status.success() {
        bail!("building the guest failed at: {script}\n{}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

fn only_entry(dir: &Path) -> anyhow::Result<String> {
    let first = fs::read_dir(dir)?.flatten().next().with_context(|| format!("{} is empty", dir.display()))?;
    Ok(first.file_name().to_string_lossy().into_owned())
}

/// Builds the disk as `dir/guest.raw` (once) and answers its path.
pub fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let disk = dir.join("guest.raw");
    if disk.exists() {
        return Ok(disk);
    }
    packages::ensure(packages::GUEST)?;
    fs::create_dir_all(dir)?;
    let kernel = dir.join("kernel");
    packages::unpack_kernel(&kernel)?;
    let version = only_entry(&kernel.join("lib/modules"))?;
    let ir = dir.join("initramfs");
    for d in ["bin", "dev", "proc", "sys", "mnt", "lib"] {
        fs::create_dir_all(ir.join(d))?;
    }
    fs::copy("/bin/busybox", ir.join("bin/busybox"))?;
    for applet in [
        "sh",
        "mount",
        "umount",
        "insmod",
        "cat",
        "echo",
        "sync",
        "poweroff",
        "sleep",
        "dd",
        "sha256sum",
        "uname",
    ] {
        symlink("busybox", ir.join("bin").join(applet))?;
    }
    for m in MODULES {
        let from = kernel.join(format!("lib/modules/{version}/kernel/drivers/{m}.ko"));
        let to = ir.join("lib").join(from.file_name().context("module name")?);
        fs::copy(&from, to).with_context(|| format!("kernel module {m}"))?;
    }
    fs::write(ir.join("init"), INIT)?;
    fs::set_permissions(ir.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::write(dir.join("syslinux.cfg"), SYSLINUX_CFG)?;
    let boot = BOOT_START_SECTOR * 512;
    let data_kib = (DISK_MIB * 2048 - DATA_START_SECTOR) / 2;
    let script = format!(
        "export PATH=$PATH:/usr/sbin:/sbin MTOOLS_SKIP_CHECK=1
(cd initramfs && find . | cpio -o -H newc --quiet | gzip -9 > ../initrd.gz)
rm -f part.raw; truncate -s {DISK_MIB}M part.raw
printf 'label: dos\\nstart={BOOT_START_SECTOR}, size={BOOT_SECTORS}, type=c, bootable\\nstart={DATA_START_SECTOR}, type=83\\n' | sfdisk -q part.raw
mkfs.fat -F 16 --offset {BOOT_START_SECTOR} -n BOOT part.raw {fat_kib} >/dev/null
mcopy -i part.raw@@{boot} kernel/boot/vmlinuz-{version} ::vmlinuz
mcopy -i part.raw@@{boot} initrd.gz ::initrd.gz
mcopy -i part.raw@@{boot} syslinux.cfg ::syslinux.cfg
syslinux --install --offset {boot} part.raw
dd if=/usr/lib/syslinux/mbr/mbr.bin of=part.raw conv=notrunc bs=440 count=1 status=none
mkfs.ext4 -q -F -E offset={data_offset} part.raw {data_kib}k
mv part.raw guest.raw",
        fat_kib = BOOT_SECTORS / 2,
        data_offset = DATA_START_SECTOR * 512,
    );
    run_in(dir, &script)?;
    fs::remove_dir_all(&ir)?;
    fs::remove_dir_all(&kernel)?;
    Ok(disk)
}

/// How QEMU is to run guests here: KVM only where a short probe shows that a guest really executes.
pub fn accelerator(disk: &Path) -> &'static str {
    if !Path::new("/dev/kvm").exists() {
        return "tcg";
    }
    let copy = format!("file={},format=raw,if=virtio,snapshot=on", disk.display());
    let child = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35,accel=kvm",
            "-cpu",
            "host",
            "-m",
            "256",
            "-display",
            "none",
            "-serial",
            "stdio",
        ])
        .args(["-no-reboot", "-drive", &copy])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return "tcg" };
    let deadline = Instant::now() + Duration::from_secs(8);
    let alive = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            _ => break false,
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    if alive { "kvm" } else { "tcg" }
}

/// Boots the guest from `drive` (a QEMU `-drive` value), prints its lines, calls `on_line` for each, and answers them.
pub fn boot(accel: &str, drive: &str, mut on_line: impl FnMut(&str)) -> anyhow::Result<Vec<String>> {
    let cpu = if accel == "kvm" { "host" } else { "max" };
    let machine = format!("q35,accel={accel}");
    let args = [
        "-machine",
        &machine,
        "-cpu",
        cpu,
        "-m",
        "256",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-drive",
        drive,
    ];
    println!("$ qemu-system-x86_64 {}", args.join(" "));
    let mut child = Command::new("qemu-system-x86_64")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("qemu-system-x86_64 does not start")?;
    let stdout = child.stdout.take().context("no console")?;
    let pid = child.id();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if stopped.recv_timeout(Duration::from_secs(240)).is_err() {
            eprintln!("the guest hangs: killing it");
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    });
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim().to_owned();
        if let Some(at) = line.find("GUEST:") {
            let said = &line[at..];
            println!("  {said}");
            on_line(said);
            lines.push(said.to_owned());
        }
    }
    let status = child.wait()?;
    let _ = stop.send(());
    let _ = watchdog.join();
    anyhow::ensure!(status.success(), "qemu ended with {status}");
    Ok(lines)
}

/// `cargo xtask guest`: builds the disk and boots it from the file, to see that the guest itself works.
pub fn task(_args: &[String]) -> anyhow::Result<()> {
    packages::ensure(packages::CLIENTS)?;
    let disk = build(&util::root().join("target/guest"))?;
    let accel = accelerator(&disk);
    let drive = format!("file={},format=raw,if=virtio,snapshot=on", disk.display());
    let lines = boot(accel, &drive, |_| {})?;
    anyhow::ensure!(lines.iter().any(|l| l.contains("synced")), "the guest did not finish");
    Ok(())
}
