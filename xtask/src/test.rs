//! `cargo xtask test`: everything that shows that the tree is right, except the long forms. CI runs this.
//!
//! Every step runs even when an earlier one failed; the end lists all failures. Without a terminal (and with `--ci`) a
//! step's output goes to `target/test/<step>.log` and only a failing step's end is shown.

use crate::{packages, util};
use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

struct Step {
    name: &'static str,
    /// `cargo` arguments, or arguments of this program where `own` is set.
    args: &'static [&'static str],
    own: bool,
    limit_minutes: u64,
}

const fn own(name: &'static str, args: &'static [&'static str], limit_minutes: u64) -> Step {
    Step { name, args, own: true, limit_minutes }
}

const fn cargo(name: &'static str, args: &'static [&'static str], limit_minutes: u64) -> Step {
    Step { name, args, own: false, limit_minutes }
}

const STEPS: &[Step] = &[
    own("check", &["check"], 15),
    cargo("unit", &["test", "--workspace", "--locked"], 25),
    cargo("build", &["build", "--release", "--locked", "--package", "cli"], 15),
    own("sim", &["sim", "--seeds", "500"], 15),
    own("fuzz", &["fuzz", "--short"], 8),
    own("clients", &["clients", "--ci"], 30),
    own("scale", &["scale", "--osds", "50", "--pgs", "1500", "--seconds", "3"], 6),
    own("torture", &["torture", "--short"], 8),
];

impl Step {
    fn shown(&self) -> String {
        let program = if self.own { "cargo xtask" } else { "cargo" };
        format!("{program} {}", self.args.join(" "))
    }

    fn run(&self, quiet: bool) -> anyhow::Result<()> {
        let mut command =
            if self.own { Command::new(std::env::current_exe()?) } else { Command::new("cargo") };
        command.args(self.args).env("LOLIGO_ORACLES", "1");
        // The same cases for everyone; `cargo test` by hand takes new ones each time.
        if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
            command.env("PROPTEST_RNG_SEED", "1");
        }
        let limit = Duration::from_secs(60 * self.limit_minutes);
        if !quiet {
            return util::run_limited(&mut command, limit);
        }
        let path = util::root().join("target/test").join(format!("{}.log", self.name));
        let log = fs::File::create(&path)?;
        command.stdout(log.try_clone()?).stderr(log);
        util::run_limited(&mut command, limit)
            .map_err(|e| anyhow::anyhow!("{e:#}; of {}:\n{}", path.display(), telling(&path)))
    }
}

/// What a reader with little room needs of a failed step's log: each line that says FAILED (or a panic) with the lines
/// after it, then the end.
fn telling(path: &Path) -> String {
    const AFTER: usize = 12;
    const LINES_MAX: usize = 80;
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let mut wanted = BTreeSet::new();
    for (i, line) in lines.iter().enumerate() {
        if ["FAILED", "panicked at", "FOUND in", "error:", "error["].iter().any(|w| line.contains(w)) {
            wanted.extend(i..(i + AFTER).min(lines.len()));
        }
    }
    let mut shown: Vec<&str> = wanted.into_iter().take(LINES_MAX).map(|i| lines[i]).collect();
    shown.push("...");
    shown.extend(&lines[lines.len().saturating_sub(15)..]);
    shown.iter().map(|l| format!("    {l}\n")).collect()
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    let quiet = util::take_flag(&mut args, "--ci") || !std::io::stderr().is_terminal();
    anyhow::ensure!(args.is_empty(), "usage: cargo xtask test [--ci]   (got {args:?})");
    packages::ensure(packages::CLIENTS)?;
    packages::ensure(packages::STOCK)?;
    fs::create_dir_all("target/test")?;
    let mut table = Vec::new();
    let mut failures = Vec::new();
    for step in STEPS {
        println!("== {}", step.shown());
        let start = Instant::now();
        let result = step.run(quiet);
        let seconds = start.elapsed().as_secs_f64();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("   {verdict} after {seconds:.0} s");
        table.push(format!("{verdict:<7} {seconds:7.0} s  {}", step.shown()));
        if let Err(e) = result {
            failures.push(format!("{}: {e:#}", step.name));
        }
    }
    println!("\n{}", table.join("\n"));
    for f in &failures {
        println!("\n-- {f}");
    }
    anyhow::ensure!(failures.is_empty(), "{} of {} steps failed", failures.len(), STEPS.len());
    Ok(())
}
