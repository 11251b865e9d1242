//! `cargo xtask bench`: stock Ceph and loligo in turn under the same load, and how they compare.
//!
//! Machines are noisy, so only ratios of one session count: each round runs both, one after the other and never at once,
//! and a figure is the median over the rounds. The table and the floors of the issue go to `docs/performance.md`, between
//! two marks; what stands around them is written by hand and stays.

use crate::cluster::{Cluster, Kind};
use crate::page::{into_page, machine, said_by};
use crate::{packages, util};
use anyhow::{Context, ensure};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const DOC: &str = "docs/performance.md";

/// One job's figures.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    iops: f64,
    mib_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us_per_op: f64,
}

/// What one cluster did in one round: jobs in order, and the OSDs' memory in bytes after it.
type Round = (Vec<(String, Figures)>, u64);

/// Which figure a floor is about; every ratio is so that more is better for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Iops,
    CpuPerOp,
    Latency,
}

/// The floors of the issue: job, figure, how many times better than stock.
const FLOORS: &[(&str, Of, f64)] = &[
    ("randwrite-4k-q32", Of::Iops, 4.0),
    ("randwrite-4k-q32", Of::CpuPerOp, 6.0),
    ("randwrite-4k-q1", Of::Latency, 2.0),
    ("randread-4k-q32", Of::Iops, 1.8),
    ("randread-4k-q32", Of::CpuPerOp, 4.0),
    ("seqwrite-4m-q4", Of::Iops, 1.5),
    ("seqread-4m-q4", Of::Iops, 1.5),
];

fn ratio(of: Of, ours: Figures, stock: Figures) -> f64 {
    match of {
        Of::Iops => ours.iops / stock.iops,
        Of::CpuPerOp => stock.cpu_us_per_op / ours.cpu_us_per_op.max(0.1),
        Of::Latency => stock.p50_us / ours.p50_us.max(0.1),
    }
}

fn parse(text: &str) -> anyhow::Result<Vec<(String, Figures)>> {
    let line = |l: &str| -> Option<(String, Figures)> {
        let (name, rest) = l.split_once(' ')?;
        let v: Vec<f64> = rest.split(' ').map(|x| x.parse().ok()).collect::<Option<_>>()?;
        let [iops, mib_per_s, p50_us, p99_us, cpu_us_per_op] = v[..] else { return None };
        Some((name.to_owned(), Figures { iops, mib_per_s, p50_us, p99_us, cpu_us_per_op }))
    };
    text.lines().map(|l| line(l).with_context(|| format!("the load printed {l:?}"))).collect()
}

fn one_round(kind: Kind, seconds: u64) -> anyhow::Result<Round> {
    let loligo = match kind {
        Kind::Loligo => util::build_dist()?,
        Kind::Stock => PathBuf::new(),
    };
    let mut c = Cluster::fresh_of(kind, loligo, "bench", 3)?;
    let pids: Vec<u32> = c.osds().iter().map(|o| c.pid(o)).collect::<anyhow::Result<_>>()?;
    let shown = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let mut load = c.command("bash");
    load.arg(util::root().join("tests/bench/load.sh"))
        .arg(shown)
        .arg(seconds.to_string())
        .current_dir(&c.dir);
    let out = c.dir.join("load.out");
    load.stdout(fs::File::create(&out)?).stderr(fs::File::create(c.dir.join("load.err"))?);
    let limit = Duration::from_secs(120 + 6 * (seconds + 20));
    let result = util::run_limited(&mut load, limit).and_then(|()| parse(&fs::read_to_string(&out)?));
    match result {
        Ok(jobs) => {
            let rss = pids.iter().filter_map(|p| util::rss_bytes(*p)).max().unwrap_or(0);
            Ok((jobs, rss))
        }
        Err(e) => {
            c.keep();
            let said = util::tail(&c.dir.join("load.err"), 10);
            Err(anyhow::anyhow!("the load on {}: {e:#}\n{said}{}", kind.name(), c.log_tails(15)))
        }
    }
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => 0.0,
        n if n % 2 == 1 => v[n / 2],
        n => f64::midpoint(v[n / 2 - 1], v[n / 2]),
    }
}

/// Per job the median of each figure over the rounds.
fn medians(rounds: &[Round]) -> Vec<(String, Figures)> {
    let Some((first, _)) = rounds.first() else { return Vec::new() };
    let over =
        |i: usize, f: fn(&Figures) -> f64| median(rounds.iter().map(|(jobs, _)| f(&jobs[i].1)).collect());
    first
        .iter()
        .enumerate()
        .map(|(i, (name, _))| {
            let f = Figures {
                iops: over(i, |f| f.iops),
                mib_per_s: over(i, |f| f.mib_per_s),
                p50_us: over(i, |f| f.p50_us),
                p99_us: over(i, |f| f.p99_us),
                cpu_us_per_op: over(i, |f| f.cpu_us_per_op),
            };
            (name.clone(), f)
        })
        .collect()
}

/// The two tables; and how many floors do not hold.
fn tables(stock: &[(String, Figures)], ours: &[(String, Figures)]) -> (String, usize) {
    let mut t = String::from(
        "| job | IOPS stock | IOPS loligo | times | p50 us stock | p50 us loligo | OSD CPU us/op stock | OSD CPU us/op loligo |\n|---|---|---|---|---|---|---|---|\n",
    );
    for ((name, s), (_, o)) in stock.iter().zip(ours) {
        t += &format!(
            "| {name} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |\n",
            s.iops,
            o.iops,
            o.iops / s.iops,
            s.p50_us,
            o.p50_us,
            s.cpu_us_per_op,
            o.cpu_us_per_op
        );
    }
    t += "\n| floor | wanted | measured | |\n|---|---|---|---|\n";
    let mut missed = 0;
    for (job, of, wanted) in FLOORS {
        let find = |all: &[(String, Figures)]| all.iter().find(|(n, _)| n == job).map(|(_, f)| *f);
        let (Some(s), Some(o)) = (find(stock), find(ours)) else { continue };
        let got = ratio(*of, o, s);
        let what = match of {
            Of::Iops => "IOPS, times stock's",
            Of::CpuPerOp => "OSD CPU per operation, times less",
            Of::Latency => "p50 latency, times less",
        };
        let holds = got >= *wanted;
        missed += usize::from(!holds);
        t += &format!(
            "| {job}: {what} | {wanted} | {got:.2} | {} |\n",
            if holds { "holds" } else { "**missed**" }
        );
    }
    (t, missed)
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    let usage = "usage: cargo xtask bench [--seconds N] [--rounds N] [--only stock|loligo]";
    let seconds: u64 =
        util::take_value(&mut args, "--seconds")?.map_or(Ok(10), |s| s.parse()).context(usage)?;
    let rounds: usize =
        util::take_value(&mut args, "--rounds")?.map_or(Ok(2), |s| s.parse()).context(usage)?;
    let only = util::take_value(&mut args, "--only")?;
    ensure!(args.is_empty() && rounds > 0 && seconds > 0, usage);
    packages::ensure(packages::CLIENTS)?;
    packages::ensure(packages::STOCK)?;
    let kinds: Vec<Kind> = [Kind::Stock, Kind::Loligo]
        .into_iter()
        .filter(|k| only.as_deref().is_none_or(|o| o == k.name()))
        .collect();
    ensure!(!kinds.is_empty(), usage);
    let mut all: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for kind in &kinds {
            util::progress(&format!("round {round} of {rounds}: {}", kind.name()));
            let done = one_round(*kind, seconds)?;
            for (name, f) in &done.0 {
                println!(
                    "{:<7} {name:<17} {:>8.0} IOPS {:>7.1} MiB/s  p50 {:>7.0} us  p99 {:>8.0} us  OSD CPU {:>6.0} us/op",
                    kind.name(),
                    f.iops,
                    f.mib_per_s,
                    f.p50_us,
                    f.p99_us,
                    f.cpu_us_per_op
                );
            }
            all[usize::from(*kind == Kind::Loligo)].push(done);
        }
    }
    if only.is_some() {
        return Ok(());
    }
    let [stock, ours] = &all;
    let (table, missed) = tables(&medians(stock), &medians(ours));
    let rss = |r: &[Round]| r.iter().map(|(_, b)| *b).max().unwrap_or(0) >> 20;
    let text = format!(
        "Measured {} at commit {}: {}. Stock: {}. {rounds} rounds of {seconds} s per job.\n\n{table}\nMemory of the largest OSD after the run: stock {} MiB, loligo {} MiB.\n",
        said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said_by("git", &["rev-parse", "--short", "HEAD"]),
        machine(),
        said_by("ceph-osd", &["--version"]).split(' ').take(3).collect::<Vec<_>>().join(" "),
        rss(stock),
        rss(ours)
    );
    println!("\n{text}");
    let page = fs::read_to_string(DOC).unwrap_or_else(|_| "# Performance\n".to_owned());
    fs::write(DOC, into_page(&page, "bench", &text))?;
    ensure!(missed == 0, "{missed} of {} floors do not hold (see {DOC})", FLOORS.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(iops: f64, p50_us: f64, cpu_us_per_op: f64) -> Figures {
        Figures { iops, mib_per_s: 1.0, p50_us, p99_us: 1.0, cpu_us_per_op }
    }

    #[test]
    fn the_loads_lines_are_read() {
        let jobs = parse("randwrite-4k-q1 458.0 1.8 2056.0 9000.0 2279.0\n").unwrap();
        assert_eq!(jobs[0].0, "randwrite-4k-q1");
        assert_eq!(jobs[0].1.cpu_us_per_op, 2279.0);
        assert!(parse("randwrite-4k-q1 nothing\n").is_err());
    }

    #[test]
    fn ratios_say_how_many_times_better_we_are_and_floors_compare_with_them() {
        let (stock, ours) = (figures(100.0, 50.0, 600.0), figures(400.0, 25.0, 100.0));
        assert_eq!(ratio(Of::Iops, ours, stock), 4.0);
        assert_eq!(ratio(Of::CpuPerOp, ours, stock), 6.0);
        assert_eq!(ratio(Of::Latency, ours, stock), 2.0);
        let job = |f| vec![("randwrite-4k-q32".to_owned(), f)];
        assert_eq!(tables(&job(stock), &job(ours)).1, 0);
        assert_eq!(tables(&job(stock), &job(figures(399.0, 25.0, 101.0))).1, 2);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
