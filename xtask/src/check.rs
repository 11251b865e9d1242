//! `cargo xtask check` (read-only) and `cargo xtask fix` (writes).

use crate::{tidy, util::run};

/// Formatting, clippy with warnings denied, tidy rules.
pub fn check(_args: &[String]) -> anyhow::Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    let problems = tidy::problems();
    for p in &problems {
        eprintln!("tidy: {p}");
    }
    anyhow::ensure!(problems.is_empty(), "{} tidy problems", problems.len());
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

/// Formats the tree.
pub fn fix(_args: &[String]) -> anyhow::Result<()> {
    run("cargo", &["fmt", "--all"])
}
