//! `cargo xtask clients`: the scripts of `tests/clients`, stock programs against a fresh cluster.
//!
//! A script runs alone, with its own time limit (`# limit-seconds: N` in it), and leaves nothing behind. `--stock` runs
//! the same scripts against stock Ceph, which tells whether a script is right. `--ci` takes the short forms.

use crate::cluster::{Cluster, Kind};
use crate::{packages, util};
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT_SECONDS: u64 = 240;

/// Short and long forms: what the scripts read from the environment.
fn environment(short: bool) -> [(&'static str, &'static str); 3] {
    if short {
        [("SIZE_MIB", "64"), ("BENCH_SECONDS", "3"), ("PATIENCE", "6")]
    } else {
        [("SIZE_MIB", "512"), ("BENCH_SECONDS", "10"), ("PATIENCE", "1")]
    }
}

/// The scripts, or those whose name starts with one of `wanted`.
fn scripts(wanted: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = fs::read_dir("tests/clients")?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "sh") && p.file_name().is_some_and(|n| n != "lib.sh"))
        .collect();
    all.sort();
    for w in wanted {
        ensure!(
            all.iter().any(|p| name(p).starts_with(w.as_str())),
            "no script named {w:?} in tests/clients"
        );
    }
    all.retain(|p| wanted.is_empty() || wanted.iter().any(|w| name(p).starts_with(w.as_str())));
    Ok(all)
}

fn name(path: &Path) -> String {
    path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn limit(path: &Path) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(path)?;
    let given = text.lines().find_map(|l| l.strip_prefix("# limit-seconds: "));
    let seconds = match given {
        Some(s) => s.trim().parse().with_context(|| format!("{}: limit-seconds", path.display()))?,
        None => LIMIT_SECONDS,
    };
    Ok(Duration::from_secs(seconds))
}

/// True when the script's head has this line: `# loligo-only` for one that uses `loligo` itself,
/// `# needs-stock-daemons` for one that starts stock's, `# needs-stock-mds` for one that mounts file systems of stock's MDS.
fn says(path: &Path, line: &str) -> anyhow::Result<bool> {
    Ok(fs::read_to_string(path)?.lines().any(|l| l == line))
}

/// Why a script failed, in one line, from what it wrote: the step that it was at, and what it said of the failure.
/// The daemons' logs that follow in its output would push it out of a short report.
fn reason(said: &str) -> String {
    const CHARS_MAX: usize = 800;
    let lines = || said.lines();
    let Some(at) = lines().position(|l| l.starts_with("FAILED: ")) else {
        return lines().last().unwrap_or_default().chars().take(CHARS_MAX).collect();
    };
    let step = lines().take(at).filter(|l| l.starts_with("-- ")).last().unwrap_or("-- (the beginning)");
    let before = lines().take(at).last().filter(|l| *l != step).unwrap_or_default();
    let rest = lines().skip(at).take(6).collect::<Vec<_>>().join(" | ");
    [step, before, &rest]
        .into_iter()
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
        .chars()
        .take(CHARS_MAX)
        .collect()
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    let kind = if util::take_flag(&mut args, "--stock") { Kind::Stock } else { Kind::Loligo };
    let short = util::take_flag(&mut args, "--ci");
    let scripts = scripts(&args)?;
    packages::ensure(packages::CLIENTS)?;
    if kind == Kind::Stock {
        packages::ensure(packages::STOCK)?;
    }
    let mut cluster = Cluster::fresh(kind, "clients", 3)?;
    println!("{} is up after {:.1} s", kind.name(), cluster.up_time.as_secs_f64());
    let mut failed = Vec::new();
    for script in &scripts {
        let name = name(script);
        if says(script, "# needs-stock-daemons")? {
            packages::ensure(packages::STOCK)?;
        }
        if says(script, "# needs-stock-mds")? {
            packages::ensure(packages::FILE_SYSTEM)?;
        }
        if kind == Kind::Stock && says(script, "# loligo-only")? {
            println!("-      {name:<16} uses loligo itself");
            continue;
        }
        util::progress(&name);
        let start = Instant::now();
        // In a folder of its own: fio and others drop files where they run.
        let place = cluster.dir.join("work");
        fs::create_dir_all(&place)?;
        let mut command = cluster.command("bash");
        command
            .arg(util::root().join(script))
            .current_dir(&place)
            .envs(environment(short))
            .env("TMPDIR", &place);
        command
            .env("RUN_DIR", cluster.dir.join("run"))
            .env("LOLIGO", util::root().join("target/release/loligo"));
        let mut result = cluster.logged(command, &format!("{name}.log"), limit(script)?);
        let _ = fs::remove_dir_all(&place);
        let dead = cluster.dead();
        if result.is_ok() && !dead.is_empty() {
            result = Err(anyhow::anyhow!("{} died meanwhile", dead.join(" ")));
        }
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("ok     {name:<16} {seconds:6.1} s"),
            Err(e) => {
                let said = fs::read_to_string(cluster.dir.join(format!("{name}.log"))).unwrap_or_default();
                println!(
                    "FAILED {name:<16} {seconds:6.1} s {}\n{e:#}\n{}",
                    reason(&said),
                    cluster.log_tails(15)
                );
                failed.push(name);
                cluster.keep();
                if !dead.is_empty() {
                    cluster.start_dead()?;
                }
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "{} of {} client scripts failed: {}",
        failed.len(),
        scripts.len(),
        failed.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_one_line() {
        let said = "-- one\n-- two\nsh: no such file\nFAILED: 'a' is not 'b'\n==> log <==\nx\nFAILED: /n.sh (exit 1)\n";
        assert!(reason(said).starts_with("-- two: sh: no such file: FAILED: 'a' is not 'b' | ==> log"));
        assert_eq!(reason("-- one\nkilled"), "killed");
        assert_eq!(reason(""), "");
    }
}
