//! The fuzz runner: seeded mutations of samples over every decoder and machine that sees outside bytes.
//!
//! `cargo xtask fuzz` calls it. A run is the same for the same seed. A finding is a panic, an input that makes the code
//! hold more than its bound ([`bound_bytes`]), or one that takes longer than [`INPUT_TIME_MAX`]; it is made smaller, written
//! as hex, and the command that replays it is printed. The input in hand is always in a file, so that an abort or a
//! stack overflow leaves it behind as well.
//!
//! There is no coverage feedback from the compiler; instead an input whose allocations look new is kept and mutated further, or one of which the
//! target itself says something new ([`targets::Run`]).

mod alloc;
mod class_context;
mod mutate;
mod rebuild;
mod samples;
mod targets;

use mutate::{Dice, mutate};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use targets::{Run, Target};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// How much CPU time one input may take (in a build with debug assertions).
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);
/// Inputs that are kept for further mutation.
const KEPT_MAX: usize = 4096;

/// How much the code of a target may hold at once for an input of `len` bytes.
fn bound_bytes(target: &Target, len: usize) -> usize {
    // A few bytes make a map of as many OSDs as there may be, which takes 2 MB: here some are held, and their encodings.
    let maps = if target.name == "rebuild" { 48 << 20 } else { 0 };
    (16 << 20) + maps + 64 * len
}

/// What the last panic said.
static SAID: Mutex<String> = Mutex::new(String::new());

/// What was seen of an input.
#[derive(Debug)]
struct Seen {
    usage: alloc::Usage,
    /// Any that was never seen before makes an input worth keeping.
    looks: Vec<u64>,
}

/// A number of allocations, the less exactly the more there are: what allocates thousands of times looks new now and then, not never and not each time.
fn roughly(count: usize) -> u64 {
    const EXACT: usize = 256;
    let high = count.max(1).ilog2();
    match count {
        0..EXACT => count as u64,
        _ => u64::from(high) * 32 + (count >> (high - 4)) as u64,
    }
}

/// Runs one input; answers what is wrong with it.
fn try_input(target: &Target, input: &[u8]) -> Result<Seen, String> {
    alloc::reset();
    let ended = catch_unwind(AssertUnwindSafe(|| target.run.call(input)));
    let usage = alloc::usage();
    let Ok(mut looks) = ended else {
        return Err(SAID.lock().map(|s| s.clone()).unwrap_or_default());
    };
    if matches!(target.run, Run::Quiet(_)) {
        looks.push(roughly(usage.count) << 32 | u64::from(usage.total_bytes.max(1).ilog2()));
    }
    if usage.peak_bytes > bound_bytes(target, input.len()) {
        return Err(format!("{} bytes held for an input of {} bytes", usage.peak_bytes, input.len()));
    }
    Ok(Seen { usage, looks })
}

/// Takes pieces away as long as the input still fails.
fn minimised(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut piece = input.len() / 2;
    while piece > 0 && Instant::now() < deadline {
        let mut at = 0;
        while at + piece <= input.len() && Instant::now() < deadline {
            let mut shorter = input.clone();
            shorter.drain(at..at + piece);
            if try_input(target, &shorter).is_err() {
                input = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.trim().bytes().map(|b| char::from(b).to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|p| p[0] << 4 | p[1]).collect())
}

fn report(target: &Target, input: &[u8], what: &str, dir: &Path) {
    let name = format!("{}-{:08x}.hex", target.name, crc32c::crc32c(input));
    let path = dir.join(name);
    let written = fs::write(&path, to_hex(input) + "\n");
    println!("FOUND in {}: {what}", target.name);
    match written {
        Ok(()) => println!("replay: cargo xtask fuzz {} --replay {}", target.name, path.display()),
        Err(e) => println!("(the input could not be written to {}: {e})\n{}", path.display(), to_hex(input)),
    }
}

/// The input in hand, for whoever looks after a crash: four bytes of length, then the bytes.
struct InHand(fs::File);
impl InHand {
    fn set(&self, input: &[u8]) {
        let bytes = [&(input.len() as u32).to_le_bytes()[..], input].concat();
        // Losing it would only cost the report of an abort.
        let _ = self.0.write_all_at(&bytes, 0);
    }
}

fn in_hand_path(dir: &Path, target: &Target) -> PathBuf {
    dir.join(format!("{}.current", target.name))
}

/// CPU time of this process so far: what an input costs does not depend on who else runs on the machine.
fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// Ends the process when one input takes too long; `running` is the number of the input in hand, 0 between inputs.
fn watch(running: Arc<AtomicU64>, name: &'static str) {
    std::thread::spawn(move || {
        let (mut number, mut since) = (0, Duration::ZERO);
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = running.load(Ordering::Relaxed);
            if now == 0 || now != number {
                (number, since) = (now, cpu_time());
            } else if cpu_time() - since > INPUT_TIME_MAX {
                eprintln!("{name}: one input takes longer than {} s of CPU time", INPUT_TIME_MAX.as_secs());
                std::process::abort();
            }
        }
    });
}

fn fuzz(target: &Target, seconds: u64, seed: u64, dir: &Path) -> bool {
    let epoch = Instant::now();
    let running = Arc::new(AtomicU64::new(0));
    watch(running.clone(), target.name);
    let in_hand = match fs::File::create(in_hand_path(dir, target)) {
        Ok(f) => InHand(f),
        Err(e) => {
            println!("cannot write to {}: {e}", dir.display());
            return false;
        }
    };
    let mut kept = (target.samples)();
    kept.retain(|s| s.len() <= mutate::INPUT_MAX);
    kept.push(Vec::new());
    let given = kept.len();
    let mut seen = BTreeSet::new();
    let mut dice = Dice::new(seed);
    let mut runs = 0u64;
    let mut next = 0;
    let mut slowest = Duration::ZERO;
    let mut most_bytes = 0;
    while epoch.elapsed() < Duration::from_secs(seconds) || runs < 200 {
        // First the samples as they are, then changed ones; the given samples more often than what was found on the way.
        let input = if next < given {
            next += 1;
            kept[next - 1].clone()
        } else {
            let pool = if dice.below(3) == 0 { given } else { kept.len() };
            let mut input = kept[dice.below(pool)].clone();
            let other = dice.below(kept.len());
            mutate(&mut input, &kept[other], &mut dice);
            input
        };
        in_hand.set(&input);
        let before = Instant::now();
        running.store(runs + 1, Ordering::Relaxed);
        let result = try_input(target, &input);
        running.store(0, Ordering::Relaxed);
        slowest = slowest.max(before.elapsed());
        runs += 1;
        match result {
            Ok(found) => {
                most_bytes = most_bytes.max(found.usage.peak_bytes);
                let known = seen.len();
                seen.extend(found.looks);
                if seen.len() > known && runs > given as u64 && kept.len() < KEPT_MAX {
                    kept.push(input);
                }
            }
            Err(what) => {
                let small = minimised(target, input);
                let what = try_input(target, &small).err().unwrap_or(what);
                report(target, &small, &what, dir);
                return false;
            }
        }
    }
    let _ = fs::remove_file(in_hand_path(dir, target));
    println!(
        "ok     {:<16} {runs:>10} inputs, {:>4} kept, slowest {:>4} ms, most held {:>6} KiB",
        target.name,
        kept.len() - given,
        slowest.as_millis(),
        most_bytes >> 10
    );
    true
}

fn replay(target: &Target, path: &str) -> bool {
    let input = match fs::read(path) {
        // What a crash left behind (see `InHand`), or hex.
        Ok(bytes) if path.ends_with(".current") => {
            let len = bytes.get(..4).map_or(0, |l| u32::from_le_bytes([l[0], l[1], l[2], l[3]])) as usize;
            bytes.get(4..4 + len).map(<[u8]>::to_vec)
        }
        Ok(bytes) => from_hex(&String::from_utf8_lossy(&bytes)),
        Err(e) => {
            println!("{path}: {e}");
            return false;
        }
    };
    let Some(input) = input else {
        println!("{path} is not hex");
        return false;
    };
    let start = Instant::now();
    match try_input(target, &input) {
        Ok(Seen { usage, .. }) => {
            println!("{} bytes: no finding, {} ms, {usage:?}", input.len(), start.elapsed().as_millis());
            true
        }
        Err(what) => {
            println!("{} bytes: {what}", input.len());
            false
        }
    }
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut said) = SAID.lock() {
            *said = info.to_string();
        }
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let target = |name: &String| targets::ALL.iter().find(|t| t.name == name);
    let good = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            targets::ALL.iter().for_each(|t| println!("{}", t.name));
            true
        }
        ["run", _, seconds, seed, dir] => match (target(&args[1]), seconds.parse(), seed.parse()) {
            (Some(t), Ok(seconds), Ok(seed)) => fuzz(t, seconds, seed, Path::new(dir)),
            _ => {
                println!("no such target, or not a number: {}", args[1..].join(" "));
                false
            }
        },
        ["replay", _, path] => target(&args[1]).is_some_and(|t| replay(t, path)),
        _ => {
            println!(
                "usage: fuzz list | run TARGET SECONDS SEED DIR | replay TARGET FILE   (see cargo xtask fuzz)"
            );
            false
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greedy(data: &[u8]) {
        if data.first() == Some(&7) {
            std::hint::black_box(vec![1u8; 100 << 20]);
        }
        assert!(!data.contains(&9), "nine");
    }
    const GREEDY: Target = Target { name: "greedy", run: Run::Quiet(greedy), samples: || vec![vec![7]] };

    #[test]
    fn too_much_memory_and_panics_are_found_and_made_small() {
        assert!(try_input(&GREEDY, &[7]).unwrap_err().contains("bytes held"));
        assert!(try_input(&GREEDY, &[1, 9]).is_err());
        assert!(try_input(&GREEDY, &[1]).is_ok());
        assert_eq!(minimised(&GREEDY, vec![1, 2, 3, 9, 4]), [9]);
    }

    #[test]
    fn many_allocations_differ_by_their_first_digits() {
        assert_ne!(roughly(254), roughly(255));
        assert_ne!(roughly(256), roughly(255));
        assert_eq!(roughly(10_000), roughly(10_100));
        assert_ne!(roughly(10_000), roughly(12_000));
        assert_ne!(roughly(10_000), roughly(20_000));
        let all: BTreeSet<u64> = (0..1 << 20).map(roughly).collect();
        assert!(all.len() < 256 + 12 * 16 + 1, "{}", all.len());
    }

    #[test]
    fn hex_comes_back() {
        assert_eq!(from_hex(&to_hex(&[0, 0xab, 255])), Some(vec![0, 0xab, 255]));
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
    }
}
