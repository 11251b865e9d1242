//! `cargo xtask scale`: one real monitor and a thousand simulated OSDs (`crates/crowd`) that boot, report PGs and follow the maps.
//!
//! What is measured is the monitor's: memory and CPU of its process, the maps that it sends, how long a change takes to reach
//! the last OSD, how long a command takes meanwhile. Both processes share this machine, so all figures hold the crowd's own work too.
//! A run of the full size writes its table to `docs/performance.md`. `--stock` takes stock's monitor and manager, for comparison.

use crate::cluster::{Cluster, Kind};
use crate::page::{into_page, machine, said_by};
use crate::{packages, util};
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const DOC: &str = "docs/performance.md";
/// The size that the issue names.
const FULL: (usize, usize) = (1000, 30_000);
/// Within this a change of the map is everywhere.
const REACHED_MS_MAX: f64 = 2000.0;
/// The monitor's memory at its highest.
const RSS_MAX: u64 = 256 << 20;
/// Largest pool.
const POOL_PGS_MAX: usize = 4096;
/// Until all PGs are active and clean.
const CLEAN_LIMIT: Duration = Duration::from_secs(240);
const USAGE: &str = "usage: cargo xtask scale [--osds N] [--pgs N] [--seconds N] [--stock]";

/// The simulated OSDs' process.
struct Crowd {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    fn start(conf: &Path, log: &Path) -> anyhow::Result<Crowd> {
        let program = util::root().join("target/release/loligo-crowd");
        let mut child = Command::new(&program)
            .arg(conf)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log)?)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let orders = child.stdin.take().context("stdin")?;
        let answers = BufReader::new(child.stdout.take().context("stdout")?);
        Ok(Crowd { child, orders, answers })
    }

    fn tell(&mut self, order: &Value) -> anyhow::Result<Value> {
        writeln!(self.orders, "{order}").with_context(|| format!("the crowd is gone ({order})"))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the crowd ended at {order}");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is read of the monitor's process (and of stock's manager's, added).
#[derive(Clone, Copy, Default)]
struct Usage {
    rss: u64,
    peak: u64,
    cpu_ms: u64,
}

fn usage(c: &Cluster) -> anyhow::Result<Usage> {
    let mut all = Usage::default();
    for daemon in c.daemons() {
        let pid = c.pid(&daemon)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the program's name, which may hold anything: fields 14 and 15, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, r)| r).split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        all.rss += field("VmRSS:");
        all.peak += field("VmHWM:");
        all.cpu_ms += (ticks(11) + ticks(12)) * 10;
    }
    Ok(all)
}

/// One change of the map.
struct Change {
    what: String,
    answered_ms: f64,
    reached_ms: f64,
    messages: u64,
    bytes: u64,
    cpu_ms: u64,
}

/// Everything that one run found.
struct Found {
    osds: usize,
    pgs: usize,
    create_ms: f64,
    boot_ms: f64,
    boot_cpu_ms: u64,
    boot_map_bytes: u64,
    clean_ms: f64,
    clean_cpu_ms: u64,
    restart_ms: f64,
    idle_cpu_percent: f64,
    idle_in: f64,
    idle_out: f64,
    reports: f64,
    pgs_reported: f64,
    changes: Vec<Change>,
    status_ms: f64,
    ask_ms: f64,
    rss: u64,
    peak: u64,
    peak_again: u64,
}

fn pools(pgs: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut left = pgs;
    while left > 0 {
        let size = (1 << left.ilog2()).min(POOL_PGS_MAX);
        sizes.push(size);
        left -= size;
    }
    sizes
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or(0.0)
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(0.0)
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// Waits until all are up again and every PG serves.
fn settle(crowd: &mut Crowd, osds: usize, pgs: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut calm = 0;
    // (A change that moves PGs shows a moment later.)
    while calm < 5 {
        let s = crowd.tell(&json!({ "do": "state" }))?;
        let all = number(&s["active"]) == osds as f64 && number(&s["pgs_active"]) == pgs as f64;
        calm = if all { calm + 1 } else { 0 };
        ensure!(start.elapsed() < CLEAN_LIMIT, "not all serve: {s}");
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn measure(c: &Cluster, osds: usize, pgs: usize, seconds: u64) -> anyhow::Result<Found> {
    let mut crowd = Crowd::start(&c.conf(), &c.dir.join("crowd.log"))?;
    util::progress(&format!("{osds} OSDs get their keys"));
    let create_ms = number(&crowd.tell(&json!({ "do": "create", "osds": osds }))?["ms"]);
    c.quiet("ceph", &["osd", "crush", "rule", "create-replicated", "hosts", "default", "host"])?;
    util::progress("all boot");
    let before = usage(c)?;
    let boot_ms = number(&crowd.tell(&json!({ "do": "boot" }))?["ms"]);
    c.wait_clean(osds, CLEAN_LIMIT)?;
    let booted = usage(c)?;
    let boot_map_bytes = number(&crowd.tell(&json!({ "do": "state" }))?["map_bytes"]) as u64;
    util::progress(&format!("up after {boot_ms:.0} ms; pools with {pgs} PGs"));
    let start = Instant::now();
    for (n, size) in pools(pgs).into_iter().enumerate() {
        let (name, size) = (format!("p{n}"), size.to_string());
        c.quiet("ceph", &["osd", "pool", "create", &name, &size, &size, "replicated", "hosts"])?;
        c.quiet("ceph", &["osd", "pool", "application", "enable", &name, "rbd"])?;
    }
    c.wait_clean(osds, CLEAN_LIMIT)?;
    let clean_ms = millis(start.elapsed());
    let clean = usage(c)?;
    util::progress(&format!("active+clean after {clean_ms:.0} ms; {seconds} s of nothing but reports"));
    std::thread::sleep(Duration::from_secs(10.min(seconds)));
    let idle =
        |crowd: &mut Crowd| anyhow::Ok((usage(c)?, crowd.tell(&json!({ "do": "state" }))?, Instant::now()));
    let (u0, s0, t0) = idle(&mut crowd)?;
    std::thread::sleep(Duration::from_secs(seconds));
    let (u1, s1, t1) = idle(&mut crowd)?;
    let secs = (t1 - t0).as_secs_f64();
    let rate = |name: &str| (number(&s1[name]) - number(&s0[name])) / secs;
    let mut status_ms = Vec::new();
    let mut ask_ms = Vec::new();
    for _ in 0..11 {
        let start = Instant::now();
        c.ask(&["status"])?;
        status_ms.push(millis(start.elapsed()));
        let status = json!({ "do": "ask", "command": { "prefix": "status", "format": "json" } });
        ask_ms.push(number(&crowd.tell(&status)?["ms"]));
    }
    let mut changes = Vec::new();
    let last = osds as i64 - 1;
    for (what, command) in [
        ("`osd set noout`", json!({ "prefix": "osd set", "key": "noout" })),
        ("`osd out 5`", json!({ "prefix": "osd out", "ids": ["5"] })),
        ("`osd in 5`", json!({ "prefix": "osd in", "ids": ["5"] })),
        ("`osd down 7` (it boots again)", json!({ "prefix": "osd down", "ids": ["7"] })),
        (
            "`osd crush reweight` of one OSD",
            json!({ "prefix": "osd crush reweight", "name": format!("osd.{last}"), "weight": 7.5 }),
        ),
        ("`osd unset noout`", json!({ "prefix": "osd unset", "key": "noout" })),
    ] {
        let before = usage(c)?;
        let a = crowd.tell(&json!({ "do": "change", "command": command }))?;
        changes.push(Change {
            what: what.to_owned(),
            answered_ms: number(&a["answered_ms"]),
            reached_ms: number(&a["reached_ms"]),
            messages: number(&a["map_messages"]) as u64,
            bytes: number(&a["map_bytes"]) as u64,
            cpu_ms: usage(c)?.cpu_ms - before.cpu_ms,
        });
        settle(&mut crowd, osds, pgs)?;
    }
    let state = crowd.tell(&json!({ "do": "state" }))?;
    for broken in ["mon_breaks", "mgr_breaks", "bad_maps"] {
        ensure!(number(&state[broken]) == 0.0, "{broken}: {state}");
    }
    let held = usage(c)?;
    util::progress("the monitor is killed and started again");
    let start = Instant::now();
    c.kill(&c.daemons())?;
    c.start_dead()?;
    c.wait_clean(osds, CLEAN_LIMIT)?;
    let restart_ms = millis(start.elapsed());
    Ok(Found {
        osds,
        pgs,
        create_ms,
        boot_ms,
        boot_cpu_ms: booted.cpu_ms - before.cpu_ms,
        boot_map_bytes,
        clean_ms,
        clean_cpu_ms: clean.cpu_ms - booted.cpu_ms,
        restart_ms,
        idle_cpu_percent: (u1.cpu_ms - u0.cpu_ms) as f64 / secs / 10.0,
        idle_in: rate("bytes_out"),
        idle_out: rate("bytes_in"),
        reports: rate("reports"),
        pgs_reported: rate("pgs_reported"),
        changes,
        status_ms: median(status_ms),
        ask_ms: median(ask_ms),
        rss: held.rss,
        peak: held.peak,
        peak_again: usage(c)?.peak,
    })
}

/// The tables, and what does not hold.
fn tables(f: &Found) -> (String, Vec<String>) {
    let mib = |b: u64| format!("{:.0} MiB", b as f64 / f64::from(1 << 20));
    let mut t = String::from("| what | figure |\n|---|---|\n");
    let mut row = |what: &str, figure: String| t += &format!("| {what} | {figure} |\n");
    row(
        &format!("{} OSDs created (`osd new`, each with a key)", f.osds),
        format!("{:.1} s", f.create_ms / 1000.0),
    );
    row(
        "all log in, claim their place, boot and are up",
        format!(
            "{:.1} s; monitor's CPU {:.1} s; maps sent {}",
            f.boot_ms / 1000.0,
            f.boot_cpu_ms as f64 / 1000.0,
            mib(f.boot_map_bytes)
        ),
    );
    row(
        &format!("pools with {} PGs created by `ceph`, until all are active+clean in `ceph -s`", f.pgs),
        format!("{:.1} s; monitor's CPU {:.1} s", f.clean_ms / 1000.0, f.clean_cpu_ms as f64 / 1000.0),
    );
    row(
        "reports flowing, nothing else",
        format!(
            "{:.0} reports/s with {:.0} PGs/s; monitor's CPU {:.1} % of one core; {:.1} MiB/s in, {:.2} MiB/s out",
            f.reports,
            f.pgs_reported,
            f.idle_cpu_percent,
            f.idle_in / 1_048_576.0,
            f.idle_out / 1_048_576.0
        ),
    );
    row("`ceph -s`, p50", format!("{:.0} ms; the command alone {:.1} ms", f.status_ms, f.ask_ms));
    row(
        "the monitor is killed and started, until all is active+clean",
        format!("{:.1} s", f.restart_ms / 1000.0),
    );
    let peak = f.peak.max(f.peak_again);
    row(
        "the monitor's memory",
        format!("{}; at its highest {}, after the restart {}", mib(f.rss), mib(f.peak), mib(f.peak_again)),
    );
    t += "\n| change of the map | answered | reached the last OSD | maps sent | monitor's CPU |\n|---|---|---|---|---|\n";
    let mut missed = Vec::new();
    for c in &f.changes {
        t += &format!(
            "| {} | {:.0} ms | {:.0} ms | {} messages, {:.1} KiB each | {} ms |\n",
            c.what,
            c.answered_ms,
            c.reached_ms,
            c.messages,
            c.bytes as f64 / 1024.0 / c.messages.max(1) as f64,
            c.cpu_ms
        );
        if c.reached_ms > REACHED_MS_MAX {
            missed.push(format!(
                "{} took {:.0} ms to reach the last OSD (at most {REACHED_MS_MAX})",
                c.what, c.reached_ms
            ));
        }
    }
    if peak > RSS_MAX {
        missed.push(format!("the monitor held {} (at most {})", mib(peak), mib(RSS_MAX)));
    }
    (t, missed)
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    let mut value = |flag: &str, default: usize| -> anyhow::Result<usize> {
        util::take_value(&mut args, flag)?.map_or(Ok(default), |s| s.parse()).context(USAGE)
    };
    let (osds, pgs) = (value("--osds", FULL.0)?, value("--pgs", FULL.1)?);
    let seconds = value("--seconds", 30)? as u64;
    let kind = if util::take_flag(&mut args, "--stock") { Kind::Stock } else { Kind::Loligo };
    ensure!(args.is_empty() && osds >= 10 && pgs > 0 && seconds > 0, USAGE);
    packages::ensure(packages::CLIENTS)?;
    if kind == Kind::Stock {
        packages::ensure(packages::STOCK)?;
    }
    util::run("cargo", &["build", "--release", "--locked", "--quiet", "--package", "crowd"])?;
    let mut c = Cluster::fresh(kind, "scale", 0)?;
    let found = match measure(&c, osds, pgs, seconds) {
        Ok(f) => f,
        Err(e) => {
            c.keep();
            let said = util::tail(&c.dir.join("crowd.log"), 10);
            bail!("{e:#}\n{said}{}", c.log_tails(15));
        }
    };
    let (table, missed) = tables(&found);
    let text = format!(
        "Measured {} at commit {}: {}.\n\n{table}",
        said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said_by("git", &["rev-parse", "--short", "HEAD"]),
        machine(),
    );
    println!("{text}");
    if kind == Kind::Loligo {
        if (osds, pgs) == FULL {
            let page = fs::read_to_string(DOC).unwrap_or_else(|_| "# Performance\n".to_owned());
            fs::write(DOC, into_page(&page, "scale", &text))?;
        }
        ensure!(missed.is_empty(), "{}", missed.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_have_powers_of_two_and_the_sum() {
        assert_eq!(pools(1500), [1024, 256, 128, 64, 16, 8, 4]);
        assert_eq!(pools(30_000).iter().sum::<usize>(), 30_000);
        assert!(pools(30_000).iter().all(|p| p.is_power_of_two() && *p <= POOL_PGS_MAX));
    }
}
