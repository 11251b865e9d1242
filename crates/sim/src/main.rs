//! `loligo-sim`: runs seeds, two at a time, and says what failed and how to see it again.

use sim::{Inject, Options, Outcome};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

const USAGE: &str = "\
usage: loligo-sim [--seeds N] [--start S] [--threads N] [--inject BUG] [--only FAULT] [--healthy] [--keep-going]
       loligo-sim --seed S [--trace] [--inject BUG] [--only FAULT] [--healthy]

Runs N seeds (500), each a whole cluster with faults on one thread, from seed S (1) on.
--seed S         one seed; with --trace every event is printed
--inject BUG     puts a bug in on purpose: exits 0 when it is found, 1 when it is not. Bugs: ack-before-sync,
                 serve-without-lease, no-wait-for-leases
--only FAULT     only this kind of fault, named as in the summary
--healthy        no faults
--keep-going     goes on after a failure and lists all of them";

#[derive(Clone)]
struct Args {
    start: u64,
    seeds: u64,
    threads: usize,
    one: bool,
    keep_going: bool,
    opts: Options,
}

fn parse() -> Result<Args, String> {
    let mut a = Args {
        start: 1,
        seeds: 500,
        threads: 2,
        one: false,
        keep_going: false,
        opts: Options { keep: true, ..Options::default() },
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = |name: &str| {
            args.next().and_then(|v| v.parse::<u64>().ok()).ok_or(format!("{name} wants a number"))
        };
        match arg.as_str() {
            "--seeds" => a.seeds = number("--seeds")?,
            "--start" => a.start = number("--start")?,
            "--threads" => a.threads = number("--threads")?.clamp(1, 64) as usize,
            "--seed" => {
                a.start = number("--seed")?;
                a.seeds = 1;
                a.one = true;
            }
            "--trace" => a.opts.trace = true,
            "--only" => {
                let name = args.next().unwrap_or_default();
                let known = sim::nemesis::Kind::ALL.into_iter().find(|k| k.name() == name);
                a.opts.only = Some(known.ok_or(format!("--only {name:?}: not known"))?);
            }
            "--healthy" => a.opts.healthy = true,
            "--keep-going" => a.keep_going = true,
            "--inject" => {
                let name = args.next().unwrap_or_default();
                let known = Inject::ALL.into_iter().find(|(n, _)| *n == name);
                a.opts.inject = Some(known.ok_or(format!("--inject {name:?}: not known"))?.1);
            }
            "--help" | "-h" => return Err(String::new()),
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(a)
}

/// Runs a seed; a panic of a core is a violation too.
fn guarded(seed: u64, opts: &Options) -> Outcome {
    sim::guard(seed, opts.clone())
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(a) => a,
        Err(e) => {
            eprintln!("{e}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    sim::quiet_panics();
    let began = Instant::now();
    let next = AtomicU64::new(args.start);
    let end = args.start.saturating_add(args.seeds);
    let terminal = std::io::stderr().is_terminal();
    let (tx, rx) = mpsc::channel::<Outcome>();
    let mut failed: Vec<Outcome> = Vec::new();
    let (mut runs, mut secs, mut ops, mut reads, mut resends) = (0u64, 0.0, 0, 0, 0);
    let (mut messages, mut compared) = (0, 0);
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            let (tx, next, args) = (tx.clone(), &next, &args);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || tx.send(guarded(seed, &args.opts)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tx);
        for o in rx {
            runs += 1;
            secs += o.virtual_secs;
            ops += o.stats.ops;
            reads += o.stats.reads;
            resends += o.stats.resends;
            messages += o.stats.messages;
            compared += o.stats.objects_compared;
            for (k, n) in &o.stats.faults {
                *faults.entry(k).or_default() += n;
            }
            if args.one {
                println!(
                    "seed {}: trace {:016x}, {} events, {:.0} virtual s, {} ops, {} epochs, faults {:?}",
                    o.seed,
                    o.trace_hash,
                    o.events,
                    o.virtual_secs,
                    o.stats.ops,
                    o.stats.epochs,
                    o.stats.faults
                );
            }
            if terminal && !args.one {
                eprint!(
                    "\r{runs}/{} seeds, {} failed, {:.0} s ",
                    args.seeds,
                    failed.len(),
                    began.elapsed().as_secs_f64()
                );
                let _ = std::io::stderr().flush();
            }
            if let Some((what, _)) = &o.violation {
                if args.keep_going {
                    println!("seed {}: {}", o.seed, what.lines().next().unwrap_or_default());
                } else {
                    next.store(end, Ordering::Relaxed);
                }
                failed.push(o);
            }
        }
    });
    if terminal {
        eprintln!();
    }
    println!(
        "{runs} seeds in {:.0} s: {:.1} simulated hours, {ops} requests answered ({reads} reads, {resends} sent again), \
         {messages} messages, {compared} objects compared",
        began.elapsed().as_secs_f64(),
        secs / 3600.0
    );
    let list: Vec<String> = faults.iter().map(|(k, n)| format!("{k} {n}")).collect();
    println!("faults: {}", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
    failed.sort_by_key(|o| o.seed);
    if args.opts.inject.is_some() {
        return match failed.first() {
            Some(o) => {
                println!("the injected bug was found by seed {}: {}", o.seed, first_line(o));
                ExitCode::SUCCESS
            }
            None => {
                println!("the injected bug was NOT found");
                ExitCode::FAILURE
            }
        };
    }
    let Some(o) = failed.first() else {
        println!("0 failed");
        return ExitCode::SUCCESS;
    };
    if let Some((what, tail)) = &o.violation {
        if !args.opts.trace {
            println!("\nlast events of seed {}:", o.seed);
            tail.iter().for_each(|l| println!("{l}"));
        }
        println!("\nseed {} FAILED at {:.6} virtual s: {what}", o.seed, o.virtual_secs);
        println!("\nreplay: cargo xtask sim --seed {} --trace", o.seed);
    }
    println!(
        "{} of {runs} seeds failed: {:?}",
        failed.len(),
        failed.iter().map(|o| o.seed).collect::<Vec<_>>()
    );
    ExitCode::FAILURE
}

fn first_line(o: &Outcome) -> &str {
    o.violation.as_ref().and_then(|(w, _)| w.lines().next()).unwrap_or_default()
}
