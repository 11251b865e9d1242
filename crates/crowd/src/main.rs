//! `loligo-crowd`: many OSDs in one process, as the monitors and the manager see them: each with a cephx key, sessions over TCP and
//! messages of its own, and none with a store, heartbeats or clients. Drives `cargo xtask scale`.
//!
//! Reads one JSON object a line from stdin and answers each with one on stdout, in order (`control`). Ends with stdin.
//! What the OSDs hold in common is kept once (`world`): the newest map, and where its PGs are.

mod build;
mod control;
mod osd;
mod place;
mod world;

use anyhow::{Context, ensure};

fn run() -> anyhow::Result<()> {
    let conf = std::env::args().nth(1).context("usage: loligo-crowd CEPH.CONF")?;
    ensure!(std::env::args().len() == 2, "usage: loligo-crowd CEPH.CONF");
    // (RUST_LOG=debug shows what the sessions do.)
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    runtime::daemon::raise_file_limit();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&rt, control::serve(conf))
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("loligo-crowd: {e:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
