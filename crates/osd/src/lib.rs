//! The OSD daemon: flags and configuration of `ceph-osd`, the shell round `osd-core`.
//!
//! Ring 4. `--mkfs` lays down an empty store; otherwise the daemon runs until a signal, or until the core says stop.

mod location;
mod mkfs;
pub mod offline;
mod run;
mod shell;

use anyhow::Context;
use runtime::DaemonArgs;

/// Version text of `ceph versions` and `-v`.
pub const VERSION: &str =
    concat!("ceph version 16.2.15 (loligo ", env!("CARGO_PKG_VERSION"), ") pacific (stable)");

const USAGE: &str = "usage: loligo osd -i ID -c CONF [--mkfs [--osd-uuid UUID] [--osd-journal PATH] [--bluestore-block-size BYTES]] [-f|-d]
  -i, --id ID          number of the OSD
  -c, --conf FILE      ceph.conf
  -f                   stay in the foreground, -d also log to stderr
  --mkfs               make an empty store in osd_data
  --osd-uuid UUID      identity of the new store, as given to `osd new`
  --osd-data DIR       folder of the OSD
  --osd-journal PATH   journal of the new store: a file or a device
  --keyring FILE       keyring with the key of osd.ID
  any option of ceph.conf as --option-name VALUE";

/// Runs `loligo osd` with the arguments behind its name.
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
    let (config, bad) = args.config("osd").context(USAGE)?;
    let number: i32 = config
        .identity()
        .id
        .parse()
        .ok()
        .filter(|n| *n >= 0)
        .with_context(|| format!("the id of an OSD is a number, not {:?}", config.identity().id))?;
    if args.has("mkfs") {
        return mkfs::mkfs(&args, &config, number);
    }
    run::run(config, bad, number)
}
