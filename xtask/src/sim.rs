//! `cargo xtask sim`: the cluster simulation. Arguments go to `loligo-sim`; without any, 500 seeds.

use crate::util::run;

/// Builds and runs it.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    run("cargo", &["build", "--release", "--locked", "--quiet", "--package", "sim"])?;
    let program = crate::util::root().join("target/release/loligo-sim");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(&program.to_string_lossy(), &args)
}
