//! `cargo xtask sim`: the cluster simulation; `--quorum [--seeds N]` the monitors' alone. Arguments go to `loligo-sim`; without any, 500 seeds.

use crate::util::{self, run};
use anyhow::Context;
use std::process::Command;
use std::time::Duration;

/// Seeds of the quorum's simulation, when none are given.
const QUORUM_SEEDS: &str = "1000";
/// Its time limit.
const LIMIT: Duration = Duration::from_secs(1800);

/// Builds and runs it.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    if util::take_flag(&mut args, "--quorum") {
        return quorum(&args);
    }
    run("cargo", &["build", "--release", "--locked", "--quiet", "--package", "sim"])?;
    let program = crate::util::root().join("target/release/loligo-sim");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(&program.to_string_lossy(), &args)
}

/// Elections, loss, crashes, wiped stores and changes of members, checked for one history.
fn quorum(args: &[String]) -> anyhow::Result<()> {
    let seeds = match args {
        [] => QUORUM_SEEDS,
        [flag, n] if flag == "--seeds" => n,
        _ => anyhow::bail!("usage: cargo xtask sim --quorum [--seeds N]"),
    };
    seeds.parse::<u64>().with_context(|| format!("--seeds {seeds:?} is no number"))?;
    let mut c = Command::new("cargo");
    c.args(["test", "--release", "--locked", "--quiet", "--package", "quorum", "--test", "sim"]);
    util::run_limited(c.env("QUORUM_SEEDS", seeds), LIMIT)?;
    println!("quorum: {seeds} seeds without a finding");
    Ok(())
}
