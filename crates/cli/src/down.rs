//! `loligo down` and `loligo status`: stopping and looking at a cluster of `loligo up`.

use crate::layout::Layout;
use crate::{process, say};
use std::path::PathBuf;
use std::time::Duration;

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct DirArgs {
    /// Folder of the cluster
    #[arg(long)]
    dir: PathBuf,
}

/// OSDs first, so that they can say goodbye to the monitors.
fn daemons(layout: &Layout) -> Vec<String> {
    ["osd", "mon"]
        .into_iter()
        .flat_map(|kind| layout.ids(kind).into_iter().map(move |id| format!("{kind}.{id}")))
        .collect()
}

/// Stops every daemon.
pub fn down(args: DirArgs) -> anyhow::Result<()> {
    let layout = Layout::open(&args.dir)?;
    let mut stopped = 0;
    for daemon in daemons(&layout) {
        stopped += usize::from(process::stop(&layout, &daemon, Duration::from_secs(10)));
    }
    say::line(&format!("{stopped} daemons stopped"))?;
    Ok(())
}

/// Prints each daemon with its process and memory; fails when one does not run.
pub fn status(args: DirArgs) -> anyhow::Result<()> {
    let layout = Layout::open(&args.dir)?;
    let mut dead = Vec::new();
    for daemon in daemons(&layout) {
        match process::alive(&layout, &daemon) {
            Some(pid) => {
                let mib = process::rss_bytes(pid).unwrap_or(0) as f64 / f64::from(1 << 20);
                say::line(&format!("{daemon:<8} running   pid {pid:<8} {mib:6.1} MiB"))?;
            }
            None => {
                say::line(&format!("{daemon:<8} stopped"))?;
                dead.push(daemon);
            }
        }
    }
    anyhow::ensure!(dead.is_empty(), "not running: {}", dead.join(" "));
    Ok(())
}
