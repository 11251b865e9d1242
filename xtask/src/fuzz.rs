//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, each in a process of its own so that an abort is a finding as well.
//!
//! `--short` is CI's form: a fixed seed, two seconds a target. The long form is `cargo xtask fuzz all 600`; without a
//! seed it takes one from the clock and prints it.

use crate::util;
use anyhow::{Context, ensure};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

const SHORT_SECONDS: u64 = 2;
const USAGE: &str = "usage: cargo xtask fuzz [TARGET|all] [SECONDS] [--seed N] [--jobs N] | TARGET --replay FILE | --short | --list";

/// Runs one target; answers what it printed and whether all was well.
fn run_one(
    binary: &Path,
    target: &str,
    seconds: u64,
    seed: u64,
    dir: &Path,
) -> anyhow::Result<(String, bool)> {
    let log = dir.join(format!("{target}.log"));
    let file = fs::File::create(&log)?;
    let mut command = Command::new(binary);
    command.args(["run", target, &seconds.to_string(), &seed.to_string()]).arg(dir);
    command.stdout(file.try_clone()?).stderr(file);
    let result = util::run_limited(&mut command, Duration::from_secs(seconds * 2 + 120));
    let mut said = fs::read_to_string(&log).unwrap_or_default();
    let in_hand = dir.join(format!("{target}.current"));
    if let Err(e) = &result
        && in_hand.exists()
        && !said.contains("FOUND")
    {
        said += &format!(
            "FOUND in {target}: {e:#}\nreplay: cargo xtask fuzz {target} --replay {}\n",
            in_hand.display()
        );
    }
    Ok((said, result.is_ok()))
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    let short = util::take_flag(&mut args, "--short");
    let list = util::take_flag(&mut args, "--list");
    let seed = util::take_value(&mut args, "--seed")?.map(|s| s.parse::<u64>()).transpose().context(USAGE)?;
    let jobs =
        util::take_value(&mut args, "--jobs")?.map(|s| s.parse::<usize>()).transpose().context(USAGE)?;
    let replay = util::take_value(&mut args, "--replay")?;
    ensure!(args.len() <= 2, USAGE);
    util::run("cargo", &["build", "--locked", "--quiet", "--package", "fuzz"])?;
    let binary = util::root().join("target/debug/fuzz");
    let out = Command::new(&binary).arg("list").stderr(Stdio::inherit()).output()?;
    let all: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    ensure!(out.status.success() && !all.is_empty(), "the fuzz runner lists no targets");
    if list {
        all.iter().for_each(|t| println!("{t}"));
        return Ok(());
    }
    let wanted = args.first().map_or("all", String::as_str);
    let targets: Vec<String> = all.iter().filter(|t| wanted == "all" || *t == wanted).cloned().collect();
    ensure!(!targets.is_empty(), "no target named {wanted:?}; there are: {}", all.join(" "));
    if let Some(file) = replay {
        return util::run(&binary.to_string_lossy(), &["replay", wanted, &file]);
    }
    let seconds = match args.get(1) {
        Some(s) => s.parse().context(USAGE)?,
        None if short => SHORT_SECONDS,
        None => 10,
    };
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_secs());
    let seed = seed.unwrap_or_else(|| if short { 1 } else { clock() });
    println!("{} targets, {seconds} s each, --seed {seed}", targets.len());
    let dir = util::root().join("target/fuzz");
    fs::create_dir_all(&dir)?;
    let queue = Mutex::new(targets.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(2).max(1) {
            scope.spawn(|| {
                loop {
                    let Some(target) = queue.lock().ok().and_then(|mut q| q.next()) else { return };
                    let (said, good) = run_one(&binary, target, seconds, seed, &dir)
                        .unwrap_or_else(|e| (format!("{target}: {e:#}\n"), false));
                    print!("{said}");
                    if !good && let Ok(mut f) = failed.lock() {
                        f.push(target.clone());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    ensure!(failed.is_empty(), "{} of {} targets failed: {}", failed.len(), targets.len(), failed.join(" "));
    Ok(())
}
