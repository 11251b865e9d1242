//! The monitor daemon (with the manager's role): flags and configuration of `ceph-mon`, the shell round `mon-core`.
//!
//! Ring 4. `--mkfs` makes the store of a new cluster; otherwise the daemon runs until a signal, or until its store fails.

mod admin;
mod counters;
mod ensemble;
mod metadata;
mod metrics;
mod mkfs;
mod peers;
mod proxies;
pub mod rebuild;
mod run;
mod shell;
mod store;

use anyhow::Context;
use runtime::DaemonArgs;

/// Version text of `ceph versions` and `-v`.
pub const VERSION: &str =
    concat!("ceph version 16.2.15 (loligo ", env!("CARGO_PKG_VERSION"), ") pacific (stable)");

const USAGE: &str =
    "usage: loligo mon -i ID -c CONF [--mkfs --monmap FILE --keyring FILE [--fsid UUID]] [-f|-d]
       loligo mon rebuild ...   makes lost stores again from the OSDs (see loligo mon rebuild --help)
  -i, --id ID        name of the monitor
  -c, --conf FILE    ceph.conf
  -f                 stay in the foreground, -d also log to stderr
  --mkfs             make the store of a new cluster in mon_data
  --monmap FILE      monitor map of the new cluster
  --keyring FILE     keyring with mon. and the first principals
  --fsid UUID        id of the new cluster
  --mon-data DIR     folder of the monitor
  any option of ceph.conf as --option-name VALUE";

/// Runs `loligo mon` with the arguments behind its name.
pub fn main(args: Vec<String>) -> anyhow::Result<()> {
    if args.iter().any(|a| a == "-h" || a == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    if args.iter().any(|a| a == "-v" || a == "--version") {
        println!("{VERSION}");
        return Ok(());
    }
    let args = DaemonArgs::parse(args)?;
    let (config, bad) = args.config("mon").context(USAGE)?;
    if args.has("mkfs") {
        return mkfs::mkfs(&args, &config);
    }
    run::run(config, bad)
}

/// The core's configuration from the process's.
fn core_config(config: &runtime::Config) -> mon_core::MonConfig {
    mon_core::MonConfig {
        name: config.identity().id.clone(),
        options: config.show(),
        layers: config.layers_above(runtime::config::Source::Mon),
        version: VERSION.to_owned(),
        auth: runtime::auth::auth_config(config),
        ..Default::default()
    }
}
