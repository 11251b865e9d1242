//! A cluster that a task starts for itself, ours or stock's, and always takes down again.
//!
//! Both kinds keep `ceph.conf`, `run/<daemon>.pid`, `run/<daemon>.asok` and `log/<daemon>.log` at the same places, so
//! every harness runs against either: against stock to check the harness, against ours to check ours.

use crate::util;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a cluster may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(180);
/// How long one `ceph` command of the harness may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Whose daemons run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This repository's release binary.
    Loligo,
    /// Debian's packages.
    Stock,
}
impl Kind {
    /// `loligo` or `stock`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Loligo => "loligo",
            Kind::Stock => "stock",
        }
    }
}

/// A running cluster; dropping it stops its daemons and, unless a failure was noted, removes its folder.
pub struct Cluster {
    /// Whose daemons run.
    pub kind: Kind,
    /// Its folder.
    pub dir: PathBuf,
    /// How long it took to come up.
    pub up_time: Duration,
    loligo: PathBuf,
    keep_files: bool,
}

impl Cluster {
    /// Starts a fresh cluster of one monitor and `osds` OSDs in `target/<name>`; what an earlier run left there goes.
    pub fn fresh(kind: Kind, name: &str, osds: usize) -> anyhow::Result<Cluster> {
        let loligo = match kind {
            Kind::Loligo => util::build_loligo()?,
            Kind::Stock => PathBuf::new(),
        };
        Cluster::fresh_of(kind, loligo, name, osds)
    }

    /// The same with another binary of ours.
    pub fn fresh_of(kind: Kind, loligo: PathBuf, name: &str, osds: usize) -> anyhow::Result<Cluster> {
        let dir = util::root().join("target").join(name);
        let mut c = Cluster { kind, dir, up_time: Duration::ZERO, loligo, keep_files: false };
        c.stop();
        if c.dir.exists() {
            fs::remove_dir_all(&c.dir)?;
        }
        fs::create_dir_all(&c.dir)?;
        util::progress(&format!("a fresh {} cluster in {}", kind.name(), c.dir.display()));
        let port = util::free_ports(2)?.to_string();
        let count = osds.to_string();
        let start = Instant::now();
        let result = match kind {
            Kind::Loligo => c.loligo(&["up", "--osds", &count, "--port", &port]),
            Kind::Stock => c.stock(&["up"], &[&port, &count]),
        };
        c.up_time = start.elapsed();
        if let Err(e) = result {
            c.keep_files = true;
            bail!("the {} cluster did not come up: {e:#}\n{}", kind.name(), c.log_tails(20));
        }
        Ok(c)
    }

    fn loligo(&self, args: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(self.loligo.to_string_lossy().as_ref());
        command.arg(args[0]).arg("--dir").arg(&self.dir).args(&args[1..]);
        self.logged(command, "harness.log", UP_LIMIT)
    }

    fn stock(&self, before: &[&str], after: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command("tests/bench/stock.sh");
        command.args(before).arg(&self.dir).args(after);
        self.logged(command, "harness.log", UP_LIMIT)
    }

    /// Runs a command with its output in a file of the cluster's folder; the error carries the file's end.
    pub fn logged(&self, mut command: Command, file: &str, limit: Duration) -> anyhow::Result<()> {
        let path = self.dir.join(file);
        let out = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        command.stdout(out.try_clone()?).stderr(out);
        util::run_limited(&mut command, limit)
            .map_err(|e| anyhow::anyhow!("{e:#}\n{}", util::tail(&path, 15)))
    }

    /// The cluster's configuration file.
    pub fn conf(&self) -> PathBuf {
        self.dir.join("ceph.conf")
    }

    /// A command in the cluster's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut c = Command::new(program);
        c.env("CEPH_CONF", self.conf()).env_remove("CEPH_ARGS").stdin(Stdio::null());
        c
    }

    /// Runs a stock program quietly; fails with what it said.
    pub fn quiet(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(program);
        command.args(args);
        self.logged(command, "harness.log", COMMAND_LIMIT)
            .with_context(|| format!("{program} {}", args.join(" ")))
    }

    /// What `ceph ARGS --format json` answers.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<serde_json::Value> {
        let mut command = self.command("timeout");
        command.args(["-k", "5", "30", "ceph"]).args(args).args(["--format", "json"]).stderr(Stdio::null());
        let out = command.output()?;
        ensure!(out.status.success(), "ceph {} failed: {}", args.join(" "), out.status);
        serde_json::from_slice(&out.stdout).with_context(|| format!("ceph {}", args.join(" ")))
    }

    /// The daemons that were started, by their pid files, such as `mon.a` and `osd.0`.
    pub fn daemons(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.join("run"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".pid")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// The OSDs that were started.
    pub fn osds(&self) -> Vec<String> {
        self.daemons().into_iter().filter(|d| d.starts_with("osd.")).collect()
    }

    /// A daemon's process, if it lives and is this cluster's (a pid may have been given to another process since).
    pub fn pid(&self, daemon: &str) -> anyhow::Result<u32> {
        let path = self.dir.join("run").join(format!("{daemon}.pid"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let pid: u32 = text.trim().parse().with_context(|| path.display().to_string())?;
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let conf = self.conf();
        let ours = cmdline.split(|b| *b == 0).any(|a| a == conf.as_os_str().as_encoded_bytes());
        ensure!(ours, "{daemon} does not run");
        Ok(pid)
    }

    /// kill -9 of daemons that must run.
    pub fn kill(&self, daemons: &[String]) -> anyhow::Result<()> {
        let pids: Vec<u32> = daemons.iter().map(|d| self.pid(d)).collect::<anyhow::Result<_>>()?;
        util::kill9(&pids);
        let deadline = Instant::now() + Duration::from_secs(10);
        while daemons.iter().any(|d| self.pid(d).is_ok()) {
            ensure!(Instant::now() < deadline, "{} survived kill -9", daemons.join(" "));
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts again what does not run, without waiting for health.
    pub fn start_dead(&self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Loligo => self.loligo(&["up", "--no-wait"]),
            Kind::Stock => self.stock(&["start"], &[]),
        }
    }

    /// Daemons that were started and do not run: a crash, when nobody killed them.
    pub fn dead(&self) -> Vec<String> {
        self.daemons().into_iter().filter(|d| self.pid(d).is_err()).collect()
    }

    /// Waits until all `osds` are up and in and every PG is active+clean; answers how long it took.
    pub fn wait_clean(&self, osds: usize, limit: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        // The epoch of the last look, when it was clean: a map that lags behind a kill looks clean once, not twice.
        let mut clean_at = None;
        loop {
            let last;
            match self.ask(&["status"]) {
                Ok(status) => {
                    let number = |v: &serde_json::Value| v.as_u64().unwrap_or(0);
                    let map = &status["osdmap"];
                    let pgs = number(&status["pgmap"]["num_pgs"]);
                    let states: Vec<(String, u64)> = status["pgmap"]["pgs_by_state"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|s| (s["state_name"].as_str().unwrap_or("?").to_owned(), number(&s["count"])))
                        .collect();
                    let clean: u64 = states.iter().filter(|(s, _)| is_clean(s)).map(|(_, n)| n).sum();
                    let up = number(&map["num_up_osds"]);
                    if clean == pgs && up == osds as u64 && number(&map["num_in_osds"]) == osds as u64 {
                        let epoch = number(&map["epoch"]);
                        if clean_at == Some(epoch) {
                            return Ok(start.elapsed());
                        }
                        clean_at = Some(epoch);
                    } else {
                        clean_at = None;
                    }
                    last = format!("{up} of {osds} OSDs up, {pgs} PGs: {states:?}");
                }
                Err(e) => last = format!("{e:#}"),
            }
            if let Some(dead) = self.dead().first() {
                bail!("{dead} died by itself");
            }
            ensure!(start.elapsed() < limit, "not active+clean after {} s: {last}", limit.as_secs());
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The ends of the daemons' logs, for a failure's report.
    pub fn log_tails(&self, lines: usize) -> String {
        let mut logs: Vec<PathBuf> =
            fs::read_dir(self.dir.join("log")).into_iter().flatten().flatten().map(|e| e.path()).collect();
        logs.sort();
        let daemon_log = |p: &Path| {
            let name = p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            ["mon.", "osd.", "mgr."].iter().any(|k| name.starts_with(k))
        };
        logs.iter()
            .filter(|p| daemon_log(p) && fs::metadata(p).is_ok_and(|m| m.len() > 0))
            .map(|p| format!("  {}:\n{}", p.display(), util::tail(p, lines)))
            .collect()
    }

    /// Notes a failure: the folder stays for whoever looks into it.
    pub fn keep(&mut self) {
        self.keep_files = true;
    }

    fn stop(&self) {
        if !self.conf().exists() {
            return;
        }
        let result = match self.kind {
            Kind::Loligo => self.loligo(&["down"]),
            Kind::Stock => self.stock(&["down"], &[]),
        };
        if let Err(e) = result {
            eprintln!("the {} cluster could not be stopped: {e:#}", self.kind.name());
            // Nothing that this harness started may outlive it.
            util::kill9(&self.daemons().iter().filter_map(|d| self.pid(d).ok()).collect::<Vec<_>>());
        }
    }
}

/// `active+clean`, with what stock adds while it scrubs or trims.
fn is_clean(state: &str) -> bool {
    let mut parts = state.split('+');
    parts.next() == Some("active")
        && state.split('+').any(|s| s == "clean")
        && parts.all(|s| ["clean", "scrubbing", "deep", "snaptrim", "snaptrim_wait", "wait"].contains(&s))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        if self.keep_files {
            eprintln!("its files stay in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_states_count_as_clean() {
        for state in ["active+clean", "active+clean+scrubbing+deep", "active+clean+snaptrim_wait"] {
            assert!(is_clean(state), "{state}");
        }
        for state in [
            "active",
            "active+undersized+degraded",
            "active+recovering+degraded",
            "peering",
            "clean",
            "active+clean+inconsistent",
        ] {
            assert!(!is_clean(state), "{state}");
        }
    }
}
