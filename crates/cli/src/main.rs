//! The one binary, `loligo`: `up`, `down`, `status` for a cluster on this machine, the daemons themselves, and the client `ceph`.
//!
//! Called as `ceph-mon`, `ceph-osd` or `ceph` (a symlink) it is that program, with its flags.

mod allocator;
mod ceph;
mod down;
mod layout;
mod process;
mod rebuild;
mod say;
mod up;

use clap::{Parser, Subcommand};

/// Storage that stock Ceph clients use unchanged.
#[derive(Parser)]
#[command(name = "loligo", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a cluster on this machine, or start what of it is not running
    Up(up::UpArgs),
    /// Stop a cluster's daemons
    Down(down::DirArgs),
    /// Show a cluster's daemons and their memory
    Status(down::DirArgs),
    /// Run a monitor (flags of ceph-mon); `mon rebuild` makes lost stores again from the OSDs
    #[command(disable_help_flag = true)]
    Mon {
        /// Flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run an OSD (flags of ceph-osd)
    #[command(disable_help_flag = true)]
    Osd {
        /// Flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Administer a cluster (command line of ceph)
    #[command(disable_help_flag = true)]
    Ceph {
        /// Options and command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> std::process::ExitCode {
    allocator::set_up();
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            say::aside(&format!("loligo: {e:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let called_as = words.first().cloned().unwrap_or_default();
    let rest = || words.iter().skip(1).cloned().collect();
    // Before clap sees it: every word is the client's, `--` and `--help` too.
    if words.get(1).is_some_and(|a| a == "ceph") {
        std::process::exit(ceph::run(words[2..].to_vec()));
    }
    match called_as.rsplit('/').next() {
        Some("ceph") => std::process::exit(ceph::run(rest())),
        Some("ceph-mon") => return mon_main(rest()),
        Some("ceph-osd") => return osd::main(rest()),
        _ => {}
    }
    match Cli::parse().command {
        Command::Up(args) => up::run(args),
        Command::Down(args) => down::down(args),
        Command::Status(args) => down::status(args),
        Command::Mon { args } => mon_main(args),
        Command::Osd { args } => osd::main(args),
        Command::Ceph { args } => std::process::exit(ceph::run(args)),
    }
}

/// The monitor, or the one tool of it.
fn mon_main(mut args: Vec<String>) -> anyhow::Result<()> {
    if args.first().is_some_and(|a| a == "rebuild") {
        return rebuild::main(args.split_off(1));
    }
    allocator::give_back_soon();
    mon::main(args)
}
