//! [`World`]: all processes, the network and the clock of one run, on one thread.
//!
//! Invariants: everything random comes from the seed; events of one moment run in an order that the seed draws; nothing
//! depends on addresses in memory, threads or the real clock.

use crate::client::Client;
use crate::mon::MonNode;
use crate::nemesis::Nemesis;
use crate::net::{Net, Node, Sid};
use crate::oracle::Oracle;
use crate::osd::OsdNode;
use crate::rng::Rng;
use crate::trace::Trace;
use crate::workload::Workload;
use objstore::CommitToken;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;
use types::{Fsid, Utime};

/// One microsecond.
pub const US: u64 = 1_000;
/// One millisecond.
pub const MS: u64 = 1_000_000;
/// One second.
pub const SEC: u64 = 1_000_000_000;
/// The clock at the start of a run, in seconds.
const EPOCH_SECS: u64 = 1_795_354_800;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Print every event.
    pub trace: bool,
    /// Keep the last events for a report.
    pub keep: bool,
    /// A bug put in on purpose.
    pub inject: Option<Inject>,
    /// No faults at all.
    pub healthy: bool,
    /// Only this kind of fault.
    pub only: Option<crate::nemesis::Kind>,
}

/// Bugs to put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inject {
    /// The shell reports transactions durable before the disk has synced them.
    AckBeforeSync,
    /// Primaries answer clients without leases.
    ServeWithoutLease,
    /// New primaries do not wait until the leases of older ones have ended.
    NoWaitForLeases,
}

impl Inject {
    /// All of them, by name.
    pub const ALL: [(&'static str, Inject); 3] = [
        ("ack-before-sync", Inject::AckBeforeSync),
        ("serve-without-lease", Inject::ServeWithoutLease),
        ("no-wait-for-leases", Inject::NoWaitForLeases),
    ];
}

/// What happens.
#[derive(Debug)]
pub enum Ev {
    /// A session's handshake ends.
    Handshake(Sid),
    /// The first message of a direction arrives.
    Arrive(Sid, usize),
    /// An end learns that its session is over.
    EndOf(Sid, usize),
    /// A lossy session breaks.
    Break(Sid),
    /// An OSD's timer.
    OsdTick(usize, u32),
    /// A step of disk work ends.
    OsdIo(usize, u32, usize),
    /// An OSD's process starts.
    OsdStart(usize),
    /// An OSD opens its session with the monitor.
    OsdMonLink(usize, u32),
    /// An OSD opens its session with the manager.
    OsdMgrLink(usize, u32),
    /// Injected: transactions are reported durable early.
    OsdEarly(usize, u32, Vec<CommitToken>),
    /// An OSD has a new cluster address.
    OsdRebound(usize, u32, types::EntityAddr),
    /// The monitor's timer.
    MonTick(u32),
    /// A proposal has become durable.
    MonCommit(u32, u64),
    /// The monitor's process starts.
    MonStart,
    /// A client opens its session with the monitor.
    ClientMonLink(usize),
    /// A client's timer.
    ClientTick(usize),
    /// A client makes its next request.
    ClientNext(usize),
    /// The next fault.
    Fault,
    /// OSDs lose power.
    Ambush(Vec<usize>),
    /// A fault ends.
    Heal(crate::nemesis::Heal),
}

struct Entry {
    at: u64,
    tie: u64,
    n: u64,
    ev: Ev,
}
impl Entry {
    fn key(&self) -> (u64, u64, u64) {
        (self.at, self.tie, self.n)
    }
}
impl PartialEq for Entry {
    fn eq(&self, o: &Self) -> bool {
        self.key() == o.key()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, o: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Entry {
    fn cmp(&self, o: &Self) -> std::cmp::Ordering {
        self.key().cmp(&o.key())
    }
}

/// Counters of a run.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Requests answered to clients.
    pub ops: u64,
    /// Of them reads.
    pub reads: u64,
    /// Requests sent again.
    pub resends: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Newest map.
    pub epochs: u64,
    /// Objects compared between replicas.
    pub objects_compared: u64,
}

/// See the module's documentation.
pub struct World {
    /// How the run is made.
    pub opts: Options,
    /// Its seed.
    pub seed: u64,
    /// Nanoseconds since the start.
    pub now: u64,
    /// Dice for everything but the faults and the workload.
    pub rng: Rng,
    queue: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    /// What happened.
    pub trace: Trace,
    /// The network.
    pub net: Net,
    /// The OSDs.
    pub osds: Vec<OsdNode>,
    /// The monitor.
    pub mon: MonNode,
    /// The clients.
    pub clients: Vec<Client>,
    /// What clients may see.
    pub oracle: Oracle,
    /// What clients do.
    pub work: Workload,
    /// What goes wrong.
    pub nemesis: Nemesis,
    /// Counters.
    pub stats: Stats,
    /// The cluster.
    pub fsid: Fsid,
    /// What was violated.
    pub violation: Option<String>,
}

impl World {
    /// A cluster that has not started, drawn from the seed.
    pub fn new(seed: u64, opts: Options) -> World {
        let mut rng = Rng::new(seed, 1);
        let nemesis = Nemesis::new(seed, opts.healthy, opts.only);
        let mut net = Net::default();
        net.delay = *rng.pick(&[(30 * US, 100 * US), (50 * US, 500 * US), (200 * US, 3 * MS)]);
        net.spike_permille = *rng.pick(&[0, 1, 5, 20]);
        let mut fsid = [0; 16];
        fsid.iter_mut().for_each(|b| *b = rng.roll() as u8);
        let fsid = Fsid::from_random(fsid);
        let osds = rng.range(3, 7) as usize;
        let trace = Trace::new(opts.trace, opts.keep);
        World {
            seed,
            now: 0,
            queue: BinaryHeap::new(),
            entries: 0,
            trace,
            net,
            osds: (0..osds).map(|i| OsdNode::new(i, fsid, &mut rng)).collect(),
            mon: MonNode::new(seed, fsid, nemesis.mon_options()),
            clients: Vec::new(),
            oracle: Oracle::default(),
            work: Workload::new(seed),
            nemesis,
            stats: Stats::default(),
            fsid,
            violation: None,
            rng,
            opts,
        }
    }
    /// The clock as processes see it.
    pub fn utime(&self) -> Utime {
        Utime::from_nanos(EPOCH_SECS * SEC + self.now)
    }
    /// The monotonic clock of an OSD's host. Hosts were not started together, and their clocks do not run alike.
    pub fn mono(&self, osd: usize) -> Duration {
        let (i, drift) = (osd as u64, self.now / 1000);
        let at = if i % 2 == 0 { self.now + drift } else { self.now - drift };
        Duration::from_nanos(at + (i + 1) * 1000 * SEC)
    }
    /// Lets `ev` happen after a while.
    pub fn after(&mut self, wait: u64, ev: Ev) {
        self.entries += 1;
        let tie = self.rng.roll();
        self.queue.push(Reverse(Entry { at: self.now + wait, tie, n: self.entries, ev }));
    }
    /// The first violation counts.
    pub fn fail(&mut self, what: String) {
        self.trace.line(self.now, || format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }
    /// Runs until `until` answers true or `deadline`; false when the deadline came first.
    pub fn run_until(&mut self, deadline: u64, mut until: impl FnMut(&mut World) -> bool) -> bool {
        let mut looked = self.now;
        loop {
            if self.violation.is_some() {
                return false;
            }
            if self.now >= looked + 100 * MS {
                looked = self.now;
                if until(self) {
                    return true;
                }
            }
            if self.queue.peek().is_none_or(|Reverse(e)| e.at > deadline) {
                self.now = self.now.max(deadline);
                return until(self);
            }
            let Some(Reverse(e)) = self.queue.pop() else { return until(self) };
            self.now = e.at;
            self.happen(e.ev);
        }
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::Handshake(sid) => self.on_handshake(sid),
            Ev::Arrive(sid, dir) => self.on_arrive(sid, dir),
            Ev::EndOf(sid, end) => self.on_end(sid, end),
            Ev::Break(sid) => self.break_session(sid),
            Ev::OsdTick(i, inc) => self.on_osd_tick(i, inc),
            Ev::OsdIo(i, inc, lane) => self.on_osd_io(i, inc, lane),
            Ev::OsdStart(i) => self.start_osd(i),
            Ev::OsdMonLink(i, inc) => self.link_osd_mon(i, inc),
            Ev::OsdMgrLink(i, inc) => self.link_osd_mgr(i, inc),
            Ev::OsdEarly(i, inc, tokens) => self.on_osd_early(i, inc, tokens),
            Ev::OsdRebound(i, inc, addr) => self.on_osd_rebound(i, inc, addr),
            Ev::MonTick(inc) => self.on_mon_tick(inc),
            Ev::MonCommit(inc, version) => self.on_mon_commit(inc, version),
            Ev::MonStart => self.start_mon(),
            Ev::ClientMonLink(c) => self.link_client_mon(c),
            Ev::ClientTick(c) => self.on_client_tick(c),
            Ev::ClientNext(c) => self.on_client_next(c),
            Ev::Fault => self.on_fault(),
            Ev::Ambush(osds) => self.on_ambush(osds),
            Ev::Heal(h) => self.on_heal(h),
        }
    }

    /// True while the process lives in this incarnation.
    pub fn alive(&self, node: Node, inc: u32) -> bool {
        match node {
            Node::Mon => self.mon.core.is_some() && self.mon.inc == inc,
            Node::Osd(i) => self.osds[i].run.is_some() && self.osds[i].inc == inc,
            Node::Client(_) => true,
        }
    }
    /// True when nothing at all answers there.
    pub fn dark(&self, node: Node) -> bool {
        match node {
            Node::Osd(i) => self.osds[i].power_off,
            Node::Mon | Node::Client(_) => false,
        }
    }
}
