//! Daemons as processes: starting this binary in the background, seeing whether one lives, stopping it.

use crate::layout::Layout;
use anyhow::{Context, bail};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    /// It serves.
    Runs,
    /// It was killed or is on its way out (or, for a moment, not quite there yet), and may still hold its files and their locks: a disk that is slow to sync keeps
    /// a killed process for seconds.
    Ends,
    /// It is no more, or the number is another program's by now.
    Gone,
}

fn recorded_pid(layout: &Layout, daemon: &str) -> Option<u32> {
    fs::read_to_string(layout.pid_file(daemon)).ok()?.trim().parse().ok()
}

/// The process behind a pid file, if it runs and is a loligo daemon.
pub fn alive(layout: &Layout, daemon: &str) -> Option<u32> {
    recorded_pid(layout, daemon).filter(|pid| life(layout, *pid) == Life::Runs)
}

/// True when the recorded process is no more. Not the opposite of [`alive`]: a process that is just starting (between `exec` and its
/// command line being there) or ending is neither.
pub fn gone(layout: &Layout, daemon: &str) -> bool {
    match fs::read_to_string(layout.pid_file(daemon)) {
        // Without a number it is just being written.
        Ok(text) => text.trim().parse().is_ok_and(|pid| life(layout, pid) == Life::Gone),
        Err(_) => true,
    }
}

/// Waits until a daemon that was killed a moment ago has let go of its files; at most `patience`.
pub fn wait_for_end(layout: &Layout, daemon: &str, patience: Duration) {
    let Some(pid) = recorded_pid(layout, daemon) else { return };
    let deadline = Instant::now() + patience;
    while life(layout, pid) == Life::Ends && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn life(layout: &Layout, pid: u32) -> Life {
    let Ok(cmdline) = fs::read(format!("/proc/{pid}/cmdline")) else { return Life::Gone };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let conf = layout.conf();
    life_of(
        cmdline.split(|b| *b == 0).any(|arg| arg == conf.as_os_str().as_encoded_bytes()),
        &cmdline,
        &status,
        tasks,
    )
}

/// From what `/proc` says: `ours` when the command line names this cluster.
fn life_of(ours: bool, cmdline: &[u8], status: &str, tasks: usize) -> Life {
    const SIGKILL_BIT: u64 = 1 << (9 - 1);
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map_or("", str::trim);
    let killed = ["SigPnd:", "ShdPnd:"]
        .iter()
        .any(|f| u64::from_str_radix(field(f), 16).is_ok_and(|bits| bits & SIGKILL_BIT != 0));
    let dead = field("State:").starts_with(['Z', 'X']);
    match (ours, cmdline.is_empty()) {
        (true, _) if killed => Life::Ends,
        (true, _) => Life::Runs,
        // Its memory is gone already. Its files are open until the last thread is.
        (false, true) if (dead && tasks <= 1) || status.is_empty() => Life::Gone,
        // A kernel thread has no command line either; it sleeps and is nobody's child.
        (false, true) if field("PPid:") == "2" => Life::Gone,
        (false, true) => Life::Ends,
        (false, false) => Life::Gone,
    }
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
    while life(layout, pid) != Life::Gone {
        if Instant::now() > deadline {
            signal(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = fs::remove_file(layout.pid_file(daemon));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str =
        "State:\tS (sleeping)\nPPid:\t1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";
    const ZOMBIE: &str =
        "State:\tZ (zombie)\nPPid:\t1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";

    #[test]
    fn a_daemon_whose_number_is_just_being_written_is_not_gone() {
        let dir = std::env::temp_dir().join(format!("loligo-gone-{}", std::process::id()));
        let layout = Layout::create(&dir).unwrap();
        let path = layout.pid_file("osd.0");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(gone(&layout, "osd.0"), "no file");
        fs::write(&path, "").unwrap();
        assert!(!gone(&layout, "osd.0"));
        // (No process has this number: it is above the kernel's bound.)
        fs::write(&path, "4194305\n").unwrap();
        assert!(gone(&layout, "osd.0"));
        fs::remove_dir_all(&dir).unwrap();
    }
    #[test]
    fn a_daemon_that_serves_runs() {
        assert_eq!(life_of(true, b"loligo\0", RUNNING, 2), Life::Runs);
    }
    #[test]
    fn a_killed_daemon_that_waits_for_its_disk_is_ending() {
        let killed = RUNNING.replace("ShdPnd:\t0000000000000000", "ShdPnd:\t0000000000000100");
        assert_eq!(life_of(true, b"loligo\0", &killed, 2), Life::Ends);
        assert_eq!(life_of(false, b"", RUNNING, 2), Life::Ends);
        assert_eq!(life_of(false, b"", ZOMBIE, 2), Life::Ends);
    }
    #[test]
    fn one_that_is_just_being_started_is_not_gone() {
        // Between the moment when `exec` lets the parent go on and the new command line there is none.
        let starting = RUNNING.replace("S (sleeping)", "R (running)");
        assert_eq!(life_of(false, b"", &starting, 1), Life::Ends);
    }
    #[test]
    fn a_dead_one_a_stranger_and_a_kernel_thread_are_gone() {
        assert_eq!(life_of(false, b"", ZOMBIE, 1), Life::Gone);
        assert_eq!(life_of(false, b"", "", 0), Life::Gone);
        assert_eq!(life_of(false, b"vi\0", RUNNING, 1), Life::Gone);
        assert_eq!(life_of(false, b"", &RUNNING.replace("PPid:\t1", "PPid:\t2"), 1), Life::Gone);
    }
}
