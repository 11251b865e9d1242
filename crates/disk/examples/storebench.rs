//! Random 4 KiB overwrites of 4 MiB objects with what a PG adds to each (object info, PG log entry, log trim), durable
//! before they count: operations per second and CPU per operation with 16 outstanding and with 1.
//!
//! `storebench DIR [SECONDS] [DATA_MIB] [direct|buffered]`; the folder is made and removed.

use bytes::Bytes;
use disk::{DiskOptions, DiskStore};
use objstore::{CollId, CommitToken, ObjectStore, Transaction, TxnOp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{Fsid, HObject, PgId, PoolId, SnapId, SpgId};

const OBJECT_BYTES: u64 = 4 << 20;

fn object(n: u64) -> HObject {
    let name = Bytes::from(format!("rbd_data.1234567890ab.{n:016x}"));
    HObject {
        name,
        hash: (n as u32).wrapping_mul(0x9e37_79b1),
        pool: PoolId(2),
        snap: SnapId::HEAD,
        ..HObject::MIN
    }
}

/// User and system time of this process in microseconds.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let tick = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (tick(11) + tick(12)) * 10_000
}
/// On-CPU time of each thread in microseconds, by name.
fn threads_us() -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        let read = |f: &str| std::fs::read_to_string(task.path().join(f)).unwrap_or_default();
        let ns = read("schedstat").split_whitespace().next().and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        out.insert(read("comm").trim().to_owned(), ns / 1000);
    }
    out
}
/// On-CPU time of this thread.
fn own_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|f| f.parse::<u64>().ok()).unwrap_or(0) / 1000
}
fn rss_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0) / 256
}

struct Bench {
    store: DiskStore,
    coll: CollId,
    meta: HObject,
    dice: u64,
    objects: u64,
    next: u64,
    payload: Bytes,
}
impl Bench {
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
    fn write(&mut self) {
        let r = self.roll();
        let oid = object(r % self.objects);
        let off = (r >> 20) % (OBJECT_BYTES / 4096) * 4096;
        // Payloads come from the socket each in their own buffer.
        let mut data = self.payload.to_vec();
        data[..8].copy_from_slice(&r.to_le_bytes());
        let coll = self.coll;
        let key = |n: u64| Bytes::from(format!("0000000005.{n:020}"));
        let mut t = Transaction::new();
        let info = Bytes::copy_from_slice(&self.payload[..250]);
        t.push(TxnOp::Write { coll, oid: oid.clone(), off, data: data.into() });
        t.push(TxnOp::SetAttr { coll, oid, name: Bytes::from_static(b"_"), value: info });
        let entry = Bytes::copy_from_slice(&self.payload[..200]);
        t.push(TxnOp::OmapSet { coll, oid: self.meta.clone(), pairs: vec![(key(self.next), entry)] });
        if self.next > 3000 {
            let keys = vec![key(self.next - 3000)];
            t.push(TxnOp::OmapRm { coll, oid: self.meta.clone(), keys });
        }
        self.store.queue(t, CommitToken(self.next)).expect("queue");
        self.next += 1;
    }
    fn run(&mut self, depth: usize, time: Duration, probe: bool) {
        let threads = threads_us();
        let (start, cpu) = (Instant::now(), cpu_us());
        let mut done: Vec<CommitToken> = Vec::new();
        let (mut ops, mut out) = (0u64, 0usize);
        let mut begun = BTreeMap::new();
        let mut lat: Vec<u32> = Vec::new();
        let before = self.store.counters().checkpoints;
        let mut slowest_poll = 0;
        while start.elapsed() < time || out > 0 {
            while out < depth && start.elapsed() < time {
                begun.insert(self.next, Instant::now());
                self.write();
                out += 1;
            }
            let t = if probe { own_us() } else { 0 };
            self.store.kick();
            self.store.poll_commits(&mut done);
            slowest_poll = slowest_poll.max(if probe { own_us() - t } else { 0 });
            if done.is_empty() {
                if let Some(why) = self.store.failure() {
                    panic!("store failed: {why}");
                }
                self.store.wait(Duration::from_millis(100));
                continue;
            }
            for token in done.drain(..) {
                let t = begun.remove(&token.0).expect("known token");
                lat.push(t.elapsed().as_micros() as u32);
                ops += 1;
                out -= 1;
            }
        }
        let (secs, cpu) = (start.elapsed().as_secs_f64(), cpu_us() - cpu);
        lat.sort_unstable();
        let at = |p: f64| lat[((lat.len() - 1) as f64 * p) as usize];
        println!(
            "depth {depth:2}: {:8.0} ops/s, CPU {:5.1} us/op, p50 {} us, p99 {} us, max {} us, checkpoints {}, slowest poll {} us CPU, RSS {} MiB",
            ops as f64 / secs,
            cpu as f64 / ops as f64,
            at(0.5),
            at(0.99),
            at(1.0),
            self.store.counters().checkpoints - before,
            slowest_poll,
            rss_mib()
        );
        let per_op: Vec<String> = threads_us()
            .into_iter()
            .map(|(name, us)| {
                format!("{name} {:.1}", (us - threads.get(&name).unwrap_or(&0)) as f64 / ops as f64)
            })
            .collect();
        println!("    CPU us/op by thread: {}", per_op.join(", "));
    }
}

fn main() {
    let arg = |n: usize, d: &str| std::env::args().nth(n).unwrap_or_else(|| d.into());
    let dir = std::path::PathBuf::from(arg(1, "/tmp/storebench"));
    let secs: u64 = arg(2, "5").parse().expect("seconds");
    let set_mib: u64 = arg(3, "256").parse().expect("MiB");
    let mut opts = DiskOptions::new(&dir);
    opts.data_bytes = (set_mib * 4 + 256) << 20;
    opts.direct_journal = arg(4, "direct") == "direct";
    DiskStore::mkfs(&opts, Fsid([9; 16])).expect("mkfs");
    let store = DiskStore::open(&opts, Arc::new(|| {})).expect("open");
    println!("idle RSS {} MiB", rss_mib());
    let coll = CollId::Pg(SpgId::replicated(PgId::new(2, 0)));
    let payload =
        Bytes::from((0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>());
    let objects = set_mib * (1 << 20) / OBJECT_BYTES;
    let meta = HObject { pool: PoolId(2), ..HObject::MIN };
    let mut b = Bench { store, coll, meta, dice: 0x1234_5678_9abc_def1, objects, next: 0, payload };
    let mut done = Vec::new();
    let wait = |b: &mut Bench, done: &mut Vec<CommitToken>, n: usize| {
        while done.len() < n {
            b.store.kick();
            b.store.poll_commits(done);
            if done.len() < n {
                b.store.wait(Duration::from_millis(100));
            }
        }
        done.clear();
    };
    let mut t = Transaction::new();
    t.push(TxnOp::CreateColl { coll });
    b.store.queue(t, CommitToken(0)).expect("queue");
    wait(&mut b, &mut done, 1);
    let fill = Instant::now();
    for n in 0..objects {
        let data = Bytes::from(vec![n as u8 + 1; OBJECT_BYTES as usize]);
        let mut t = Transaction::new();
        t.push(TxnOp::Write { coll, oid: object(n), off: 0, data });
        b.store.queue(t, CommitToken(0)).expect("queue");
        wait(&mut b, &mut done, 1);
    }
    println!("fill: {:.0} MiB/s of 4 MiB writes", set_mib as f64 / fill.elapsed().as_secs_f64());
    for probe in [false, false, true] {
        b.run(16, Duration::from_secs(secs), probe);
    }
    b.run(1, Duration::from_secs(secs), false);
    println!("{:?}", b.store.counters());
    println!("{:?}", b.store.statfs());
    b.store.close(Duration::from_secs(30));
    let t = Instant::now();
    let store = DiskStore::open(&opts, Arc::new(|| {})).expect("open again");
    println!(
        "mount {} ms, {} objects",
        t.elapsed().as_millis(),
        store.list(coll, &HObject::MIN, 1 << 20).expect("list").len()
    );
    drop(store);
    std::fs::remove_dir_all(&dir).expect("remove");
}
