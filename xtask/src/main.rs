//! The task runner: `cargo xtask <task>`. CI, the README and people call the same code.
//!
//! A task either does what it says and exits 0, or names what failed and exits nonzero. `check` never writes to the
//! tree, `fix` does.

mod bench;
mod check;
mod clients;
mod cluster;
mod demo;
mod fuzz;
mod guest;
mod packages;
mod page;
mod scale;
mod sim;
mod test;
mod tidy;
mod torture;
mod util;

use util::Task;

const TASKS: &[Task] = &[
    Task {
        name: "check",
        about: "read-only checks: formatting, clippy, tidy rules, licences",
        run: check::check,
    },
    Task {
        name: "test",
        about: "everything below in its short form, and the unit tests [--ci]",
        run: test::task,
    },
    Task {
        name: "clients",
        about: "stock clients against a fresh cluster [script...] [--stock] [--ci]",
        run: clients::task,
    },
    Task {
        name: "torture",
        about: "kill -9 of OSDs and of everything, under load [--short] [--seed N] [--stock]",
        run: torture::task,
    },
    Task {
        name: "fuzz",
        about: "hostile bytes: [TARGET|all] [SECONDS] [--seed N] | --replay FILE | --short | --list",
        run: fuzz::task,
    },
    Task {
        name: "bench",
        about: "stock Ceph and loligo under the same load, in turn [--seconds N] [--rounds N]",
        run: bench::task,
    },
    Task {
        name: "scale",
        about: "a thousand simulated OSDs on one monitor [--osds N] [--pgs N] [--seconds N] [--stock]",
        run: scale::task,
    },
    Task {
        name: "demo",
        about: "the main job: a VM boots from a clone in a fresh cluster [--keep]",
        run: demo::task,
    },
    Task {
        name: "sim",
        about: "a whole cluster from one seed, with faults [--seeds N] [--seed S --trace]",
        run: sim::task,
    },
    Task { name: "guest", about: "build the demo's bootable disk and boot it from a file", run: guest::task },
    Task { name: "fix", about: "format the tree", run: check::fix },
];

fn run() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = args.collect();
    std::env::set_current_dir(util::root())?;
    match TASKS.iter().find(|t| t.name == name) {
        Some(task) => (task.run)(&rest),
        None => {
            println!("usage: cargo xtask <task> [args]\n");
            for t in TASKS {
                println!("  {:<8} {}", t.name, t.about);
            }
            anyhow::ensure!(matches!(name.as_str(), "help" | "--help" | "-h"), "no task named {name:?}");
            Ok(())
        }
    }
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
