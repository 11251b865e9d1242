//! What the tasks share: the workspace's root, running a command visibly.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

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
