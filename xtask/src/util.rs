//! What the tasks share: the workspace's root, running commands visibly and within a time, free ports.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One task of the runner.
pub struct Task {
    /// Name on the command line.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// What it does.
    pub run: fn(&[String]) -> anyhow::Result<()>,
}

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Runs a command, shown as typed, and fails when it does.
pub fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    eprintln!("$ {program} {}", args.join(" "));
    let status =
        Command::new(program).args(args).status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} {} failed: {status}", args.join(" "));
    }
    Ok(())
}

/// Builds the release binary and answers where it is.
pub fn build_loligo() -> anyhow::Result<PathBuf> {
    run("cargo", &["build", "--release", "--locked", "--quiet", "--package", "cli"])?;
    Ok(root().join("target/release/loligo"))
}

/// Builds the binary that is meant to be installed (profile `dist`) and answers where it is.
pub fn build_dist() -> anyhow::Result<PathBuf> {
    run("cargo", &["build", "--profile", "dist", "--locked", "--quiet", "--package", "cli"])?;
    Ok(root().join("target/dist/loligo"))
}

/// Says how far a task is; only on a terminal.
pub fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("   {text}");
    }
}

/// Runs a command for at most `limit`; past it the command's whole process group is killed and the answer names the time.
pub fn run_limited(command: &mut Command, limit: Duration) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            anyhow::ensure!(status.success(), "{name} failed: {status}");
            return Ok(());
        }
        if Instant::now() > deadline {
            if let Some(group) = Pid::from_raw(child.id() as i32) {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
            bail!("{name} did not end within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends SIGKILL to processes, all at once.
pub fn kill9(pids: &[u32]) {
    for pid in pids {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Sends SIGTERM to a process.
pub fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// The first of `count` consecutive ports of 127.0.0.1 that nothing listens on now.
pub fn free_ports(count: u16) -> anyhow::Result<u16> {
    // Below the range that the kernel hands out itself, so that a passing connection does not take one meanwhile.
    let start = 20_000 + (std::process::id() % 9_000) as u16;
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..1_000)
        .map(|n| start + n * count)
        .find(|first| (*first..*first + count).all(free))
        .context("no free ports from 20000 on")
}

/// Resident memory of a process in bytes.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// The last `lines` of a file, indented.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|l| format!("    {l}\n")).collect()
}

/// Answers the value after `--flag`, and removes both from `args`.
pub fn take_value(args: &mut Vec<String>, flag: &str) -> anyhow::Result<Option<String>> {
    let Some(at) = args.iter().position(|a| a == flag) else { return Ok(None) };
    args.remove(at);
    anyhow::ensure!(at < args.len(), "{flag} wants a value");
    Ok(Some(args.remove(at)))
}

/// Answers whether `--flag` was given, and removes it from `args`.
pub fn take_flag(args: &mut Vec<String>, flag: &str) -> bool {
    let there = args.iter().position(|a| a == flag);
    if let Some(at) = there {
        args.remove(at);
    }
    there.is_some()
}

/// A small seeded generator (xorshift64*): the same seed makes the same choices.
pub struct Dice(u64);
impl Dice {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_ended() {
        let start = Instant::now();
        let error = run_limited(Command::new("sleep").arg("60"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failing_command_is_named() {
        let error = run_limited(&mut Command::new("false"), Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().starts_with("false failed"), "{error}");
    }

    #[test]
    fn flags_and_values_are_taken_out() {
        let mut args: Vec<String> = ["a", "--seed", "7", "--short"].map(str::to_owned).to_vec();
        assert_eq!(take_value(&mut args, "--seed").unwrap().as_deref(), Some("7"));
        assert!(take_flag(&mut args, "--short") && !take_flag(&mut args, "--short"));
        assert_eq!(args, ["a"]);
        assert!(take_value(&mut vec!["--seed".to_owned()], "--seed").is_err());
    }

    #[test]
    fn free_ports_can_be_bound() {
        let first = free_ports(2).unwrap();
        assert!(std::net::TcpListener::bind(("127.0.0.1", first + 1)).is_ok());
    }
}
