//! `cargo xtask torture`: kill -9 under load, on a real cluster with stock clients.
//!
//! - *rolling*: fio writes an image at random and verifies every block by its checksum while one OSD after the other is
//!   killed and started again: no error, and in the end all PGs are active+clean.
//! - *blackout*: every daemon is killed at once in mid-load; after the restart each acknowledged write reads back right. A
//!   write that was not acknowledged may be there or not, but whole.
//! - *idle*: the memory of each daemon and the time that the cluster took to come up.
//!
//! `--stock` runs the same against stock Ceph, which tells whether the harness is right. Choices come from `--seed`.

use crate::cluster::{Cluster, Kind};
use crate::packages;
use crate::util::{self, Dice};
use anyhow::{Context, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const OSDS: usize = 3;
const POOL: &str = "torture";
/// Resident memory that an idle daemon of ours may have.
const RSS_MAX_BYTES: u64 = 64 << 20;
/// In how long `loligo up` is to reach HEALTH_OK (reported, not enforced: machines differ).
const UP_WANTED: Duration = Duration::from_secs(3);
/// How long all PGs may take to become clean after the last daemon came back.
const CLEAN_LIMIT: Duration = Duration::from_secs(120);
/// How long one pass of fio (write, then verify) may take, kills included.
const PASS_LIMIT: Duration = Duration::from_secs(150);

struct Form {
    rolling: Duration,
    blackouts: u32,
    load: Duration,
}

fn make_pool(c: &Cluster) -> anyhow::Result<()> {
    c.quiet("ceph", &["osd", "pool", "create", POOL, "32"])?;
    c.quiet("rbd", &["pool", "init", POOL])?;
    c.wait_clean(OSDS, CLEAN_LIMIT).map(drop)
}

/// What an idle daemon holds, and how fast the cluster came up.
fn idle(c: &Cluster) -> anyhow::Result<()> {
    println!(
        "up: 1 monitor and {OSDS} OSDs in {:.2} s (wanted: under {} s)",
        c.up_time.as_secs_f64(),
        UP_WANTED.as_secs()
    );
    let mut over = Vec::new();
    for daemon in c.daemons() {
        let bytes = util::rss_bytes(c.pid(&daemon)?).context("no VmRSS")?;
        println!("idle: {daemon:<6} {:6.1} MiB", bytes as f64 / f64::from(1 << 20));
        if bytes >= RSS_MAX_BYTES {
            over.push(daemon);
        }
    }
    ensure!(
        over.is_empty() || c.kind == Kind::Stock,
        "over {} MiB when idle: {}",
        RSS_MAX_BYTES >> 20,
        over.join(" ")
    );
    Ok(())
}

/// One pass of fio: writes 64 MiB at random places, then reads and checks them.
fn fio_pass(c: &Cluster, number: u64) -> anyhow::Result<()> {
    let mut fio = c.command("fio");
    fio.args([
        "--ioengine=rbd",
        "--clientname=admin",
        "--rbdname=rolling",
        "--name=rolling",
        "--rw=randwrite",
    ])
    .arg(format!("--pool={POOL}"))
    .args(["--bs=4k", "--size=64m", "--iodepth=32", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"])
    .args(["--verify_state_save=0", "--output-format=terse"])
    .arg(format!("--randseed={}", number + 1))
    .current_dir(&c.dir)
    .env("CEPH_ARGS", "--rbd_cache=false");
    c.logged(fio, "fio.log", PASS_LIMIT)
}

/// Kills one OSD after the other while fio runs.
fn rolling(c: &Cluster, form: &Form, dice: &mut Dice) -> anyhow::Result<()> {
    c.quiet("rbd", &["create", &format!("{POOL}/rolling"), "--size", "64M"])?;
    let end = Instant::now() + form.rolling;
    let (kills, passes) = std::thread::scope(|scope| {
        let load = scope.spawn(|| -> anyhow::Result<u64> {
            let mut passes = 0;
            while passes == 0 || Instant::now() < end {
                fio_pass(c, passes)?;
                passes += 1;
            }
            Ok(passes)
        });
        let mut kills = 0;
        let mut killing = || -> anyhow::Result<()> {
            std::thread::sleep(Duration::from_secs(2));
            while Instant::now() < end && !load.is_finished() {
                let victims = c.osds();
                let victim = victims[kills % victims.len()].clone();
                util::progress(&format!("kill -9 {victim}"));
                c.kill(std::slice::from_ref(&victim))?;
                kills += 1;
                std::thread::sleep(Duration::from_millis(500 + dice.below(4_000)));
                c.start_dead()?;
                // Mostly the next one dies when all is well again; now and then while recovery still runs.
                if dice.below(4) == 0 {
                    std::thread::sleep(Duration::from_millis(1_000 + dice.below(3_000)));
                } else {
                    let took = c.wait_clean(OSDS, CLEAN_LIMIT)?;
                    util::progress(&format!("{victim} is back, clean after {:.1} s", took.as_secs_f64()));
                }
            }
            Ok(())
        };
        let killed = killing();
        let load = load.join().map_err(|_| anyhow::anyhow!("the load's thread panicked"));
        // Both sides may have failed; the load's error is the more telling one.
        let passes = load.and_then(|r| r).context("fio under rolling kills")?;
        killed?;
        anyhow::Ok((kills, passes))
    })?;
    ensure!(kills > 0, "no OSD was killed");
    let took = c.wait_clean(OSDS, CLEAN_LIMIT).context("after the last kill")?;
    println!(
        "rolling: {kills} kills, {passes} passes of fio without an error; clean after {:.1} s",
        took.as_secs_f64()
    );
    c.quiet("rbd", &["rm", &format!("{POOL}/rolling")])
}

/// The writer's child process; killed when it is dropped.
struct Writer(Child);
impl Writer {
    fn start(c: &Cluster) -> anyhow::Result<Writer> {
        let mut command = c.command("/usr/bin/python3");
        command
            .arg(util::root().join("tests/torture/writer.py"))
            .arg("write")
            .arg(c.dir.join("writes.log"))
            .env("POOL", POOL)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(c.dir.join("writer.err"))?);
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let writer = Writer(child);
        ensure!(
            line.trim() == "writing",
            "the writer does not start:\n{}",
            util::tail(&c.dir.join("writer.err"), 10)
        );
        Ok(writer)
    }

    /// Lets it finish what is in flight.
    fn finish(mut self, c: &Cluster, limit: Duration) -> anyhow::Result<()> {
        util::terminate(self.0.id());
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                ensure!(
                    status.success(),
                    "the writer failed:\n{}",
                    util::tail(&c.dir.join("writer.err"), 10)
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("a write in flight got no answer within {} s after the restart", limit.as_secs())
    }
}
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills everything at once in mid-load, and checks every acknowledged write after the restart.
fn blackout(c: &Cluster, form: &Form, dice: &mut Dice) -> anyhow::Result<()> {
    for round in 1..=form.blackouts {
        let writer = Writer::start(c)?;
        std::thread::sleep(form.load + Duration::from_millis(dice.below(1_000)));
        let all = c.daemons();
        util::progress(&format!("kill -9 {}", all.join(" ")));
        c.kill(&all)?;
        // In every second round the client lives on: what it sent must be answered after the restart, once.
        let survivor = if round % 2 == 0 {
            Some(writer)
        } else {
            drop(writer);
            None
        };
        c.start_dead()?;
        let took = c.wait_clean(OSDS, CLEAN_LIMIT).with_context(|| format!("after blackout {round}"))?;
        if let Some(w) = survivor {
            w.finish(c, Duration::from_secs(60))?;
        }
        let mut check = c.command("/usr/bin/python3");
        check
            .arg(util::root().join("tests/torture/writer.py"))
            .arg("check")
            .arg(c.dir.join("writes.log"))
            .env("POOL", POOL);
        c.logged(check, "check.log", Duration::from_secs(120))
            .with_context(|| format!("blackout {round}"))?;
        let said = util::tail(&c.dir.join("check.log"), 1);
        println!("blackout {round}: clean after {:.1} s; {}", took.as_secs_f64(), said.trim());
    }
    Ok(())
}

/// The task.
pub fn task(args: &[String]) -> anyhow::Result<()> {
    let mut args = args.to_vec();
    let kind = if util::take_flag(&mut args, "--stock") { Kind::Stock } else { Kind::Loligo };
    let form = if util::take_flag(&mut args, "--short") {
        Form { rolling: Duration::from_secs(30), blackouts: 1, load: Duration::from_secs(3) }
    } else {
        Form { rolling: Duration::from_secs(120), blackouts: 3, load: Duration::from_secs(8) }
    };
    let seed = util::take_value(&mut args, "--seed")?;
    ensure!(args.is_empty(), "usage: cargo xtask torture [--short] [--seed N] [--stock]   (got {args:?})");
    let seed: u64 = seed.map_or(Ok(1), |s| s.parse()).context("--seed wants a number")?;
    packages::ensure(packages::CLIENTS)?;
    if kind == Kind::Stock {
        packages::ensure(packages::STOCK)?;
    }
    let mut c = Cluster::fresh(kind, "torture", OSDS)?;
    let mut dice = Dice::new(seed);
    let result = idle(&c)
        .and_then(|()| make_pool(&c))
        .and_then(|()| rolling(&c, &form, &mut dice))
        .and_then(|()| blackout(&c, &form, &mut dice));
    if let Err(e) = result {
        c.keep();
        bail!("{e:#}\n{}\nseed {seed}", c.log_tails(25));
    }
    Ok(())
}
