//! Daemons as processes: starting this binary in the background, seeing whether one lives, stopping it.

use crate::layout::Layout;
use anyhow::{Context, bail};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The process behind a pid file, if it is alive and is a loligo daemon.
pub fn alive(layout: &Layout, daemon: &str) -> Option<u32> {
    let pid: u32 = fs::read_to_string(layout.pid_file(daemon)).ok()?.trim().parse().ok()?;
    runs(layout, pid).then_some(pid)
}

/// True when the process is a daemon of this cluster: a pid may have been given to another.
fn runs(layout: &Layout, pid: u32) -> bool {
    let Ok(cmdline) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let conf = layout.conf();
    cmdline.split(|b| *b == 0).any(|arg| arg == conf.as_os_str().as_encoded_bytes())
}

/// Resident memory of a process in bytes.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// A command that runs this binary as `kind` `id` of the cluster.
pub fn daemon_command(layout: &Layout, kind: &str, id: &str) -> anyhow::Result<Command> {
    let exe = std::env::current_exe().context("cannot find this program's own path")?;
    let mut c = Command::new(exe);
    c.arg(kind)
        .arg("-i")
        .arg(id)
        .arg("-c")
        .arg(layout.conf())
        .env_remove("CEPH_ARGS")
        .env_remove("CEPH_CONF");
    Ok(c)
}

/// Starts a daemon in its own session; its standard output and error go behind its log.
pub fn spawn(layout: &Layout, kind: &str, id: &str) -> anyhow::Result<Child> {
    let daemon = format!("{kind}.{id}");
    let path = layout.dir.join("log").join(format!("{daemon}.out"));
    let out = fs::OpenOptions::new().create(true).append(true).open(&path)?;
    let mut c = daemon_command(layout, kind, id)?;
    c.arg("-f").stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
    c.spawn().with_context(|| format!("cannot start {daemon}"))
}

/// Runs `--mkfs` of a daemon to its end.
pub fn mkfs(layout: &Layout, kind: &str, id: &str, args: &[&std::ffi::OsStr]) -> anyhow::Result<()> {
    let out = daemon_command(layout, kind, id)?.arg("--mkfs").args(args).stdin(Stdio::null()).output()?;
    if !out.status.success() {
        bail!("{kind}.{id} --mkfs failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// What the daemon said before it died, for the error message.
pub fn last_words(layout: &Layout, daemon: &str) -> String {
    let tail = |path: std::path::PathBuf| -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        (!lines.is_empty()).then(|| lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    };
    tail(layout.dir.join("log").join(format!("{daemon}.out")))
        .or_else(|| tail(layout.log(daemon)))
        .unwrap_or_else(|| "(it left no log)".to_owned())
}

/// Sends `signal` (`TERM`, `KILL`).
fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Stops a daemon: SIGTERM, and after `patience` SIGKILL. Answers whether one was running.
pub fn stop(layout: &Layout, daemon: &str, patience: Duration) -> bool {
    let Some(pid) = alive(layout, daemon) else { return false };
    signal(pid, rustix::process::Signal::TERM);
    let deadline = Instant::now() + patience;
    // The process itself, not its pid file, which goes a little earlier: it holds its device until it is gone.
    while runs(layout, pid) {
        if Instant::now() > deadline {
            signal(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = fs::remove_file(layout.pid_file(daemon));
    true
}
