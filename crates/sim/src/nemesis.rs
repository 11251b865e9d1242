//! What goes wrong, drawn from the seed: each run picks some kinds of faults and repeats them at random times.
//!
//! Limits, so that data must survive: a disk never loses what it has synced, and every OSD comes back in the end.

use crate::net::Node;
use crate::rng::Rng;
use crate::world::{Ev, MS, SEC, World};
use osd_core::OsdEvent;
use pg::PgConfig;
use std::collections::BTreeMap;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An OSD's process is killed.
    OsdKill,
    /// An OSD's host loses power: what its disk had not synced is lost or torn.
    OsdPower,
    /// All hosts of OSDs lose power at once.
    AllPower,
    /// An OSD is told to stop, and starts again.
    OsdStop,
    /// An OSD is cut off, in one or both directions, from some or all.
    CutOsd,
    /// An OSD and a client are cut off from all others, together: the OSD must not answer from what it has, and who follows it
    /// must not serve too early.
    Island,
    /// A client is cut off from an OSD.
    CutClient,
    /// The monitor's process is killed.
    MonKill,
    /// Lossy sessions break.
    Breaks,
    /// A disk is slow.
    SlowDisk,
    /// The network is slow.
    SlowNet,
    /// The operator takes an OSD out, and in again.
    OutIn,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 12] = [
        Kind::OsdKill,
        Kind::OsdPower,
        Kind::AllPower,
        Kind::OsdStop,
        Kind::CutOsd,
        Kind::Island,
        Kind::CutClient,
        Kind::MonKill,
        Kind::Breaks,
        Kind::SlowDisk,
        Kind::SlowNet,
        Kind::OutIn,
    ];
    /// For the summary.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OsdKill => "osd killed",
            Kind::OsdPower => "osd power loss",
            Kind::AllPower => "power loss of all osds",
            Kind::OsdStop => "osd stopped",
            Kind::CutOsd => "osd partitioned",
            Kind::Island => "osd and client partitioned",
            Kind::CutClient => "client partitioned",
            Kind::MonKill => "mon killed",
            Kind::Breaks => "sessions broken",
            Kind::SlowDisk => "slow disk",
            Kind::SlowNet => "slow network",
            Kind::OutIn => "osd out",
        }
    }
}

/// The end of a fault.
#[derive(Clone, Debug)]
pub enum Heal {
    /// Directions pass again.
    Unblock(Vec<(Node, Node)>),
    /// A disk is as fast as before.
    Disk(usize),
    /// The network is.
    Delay((u64, u64)),
    /// The operator takes an OSD in.
    In(usize),
}

/// The run's faults.
pub struct Nemesis {
    rng: Rng,
    kinds: Vec<Kind>,
    /// Time between faults, at most.
    gap: u64,
    /// Faults happen.
    pub running: bool,
    /// How long, from the first request on.
    pub lasts: u64,
    /// Heartbeat grace in seconds.
    pub grace_secs: u64,
    log_entries: usize,
    out_after_secs: u64,
    chunk: u64,
    /// These lose power when the next write is acknowledged.
    ambush: Option<Vec<usize>>,
    /// OSDs that the operator has taken out.
    pub out: Vec<usize>,
}

impl Nemesis {
    /// Drawn from the seed, or of the one kind that is asked for; nothing goes wrong in a healthy run.
    pub fn new(seed: u64, healthy: bool, only: Option<Kind>) -> Nemesis {
        let mut rng = Rng::new(seed, 4);
        let some = *rng.pick(&[250, 400, 700]);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| rng.chance(some)).collect();
        if kinds.is_empty() {
            kinds.push(Kind::OsdPower);
        }
        if let Some(k) = only {
            kinds = vec![k];
        }
        if healthy {
            kinds.clear();
        }
        Nemesis {
            kinds,
            gap: *rng.pick(&[3 * SEC, 6 * SEC, 12 * SEC]),
            running: false,
            lasts: rng.range(20, 60) * SEC,
            grace_secs: *rng.pick(&[3, 4, 6]),
            log_entries: *rng.pick(&[10, 40, 500, 500]),
            out_after_secs: *rng.pick(&[8, 600, 600]),
            chunk: *rng.pick(&[8 << 10, 1 << 20]),
            ambush: None,
            out: Vec::new(),
            rng,
        }
    }
    /// Options of the monitor.
    pub fn mon_options(&self) -> BTreeMap<String, String> {
        let o = |k: &str, v: String| (k.to_owned(), v);
        BTreeMap::from([
            o("osd_heartbeat_grace", self.grace_secs.to_string()),
            o("osd_heartbeat_interval", "1".to_owned()),
            o("mon_osd_min_down_reporters", "1".to_owned()),
            o("mon_osd_min_up_ratio", "0".to_owned()),
            o("mon_osd_min_in_ratio", "0.5".to_owned()),
            o("mon_osd_down_out_interval", self.out_after_secs.to_string()),
            o("mon_osd_report_timeout", "180".to_owned()),
            o("osd_crush_chooseleaf_type", "0".to_owned()),
            o("osd_pool_default_pg_autoscale_mode", "off".to_owned()),
            o("mon_allow_pool_delete", "true".to_owned()),
        ])
    }
    /// Options of PGs.
    pub fn pg_config(&self) -> PgConfig {
        PgConfig {
            min_log_entries: self.log_entries,
            max_log_entries: self.log_entries * 2,
            dups_tracked: 3000,
            recovery_chunk_bytes: self.chunk,
            ..PgConfig::default()
        }
    }
}

impl World {
    /// Faults begin.
    pub fn start_faults(&mut self) {
        self.nemesis.running = true;
        let wait = self.nemesis.rng.below(self.nemesis.gap) + SEC;
        self.after(wait, Ev::Fault);
    }

    pub(crate) fn on_fault(&mut self) {
        if !self.nemesis.running || self.nemesis.kinds.is_empty() {
            return;
        }
        let wait = self.nemesis.rng.below(self.nemesis.gap) + 100 * MS;
        self.after(wait, Ev::Fault);
        let kinds = self.nemesis.kinds.clone();
        let kind = *self.nemesis.rng.pick(&kinds);
        *self.stats.faults.entry(kind.name()).or_default() += 1;
        self.trace.line(self.now, || format!("FAULT {}", kind.name()));
        self.trace.mix(self.now, 7, kind as u64, 0);
        let n = self.osds.len() as u64;
        let i = self.nemesis.rng.below(n) as usize;
        match kind {
            Kind::OsdKill => self.crash_for_a_while(i, false),
            Kind::OsdPower => match self.nemesis.rng.below(3) {
                // Between two steps of its disk's work.
                0 => self.osds[i].crash_in_steps = Some(self.nemesis.rng.below(30) as u32),
                1 => self.nemesis.ambush = Some(vec![i]),
                _ => self.crash_for_a_while(i, true),
            },
            Kind::AllPower => match self.nemesis.rng.below(3) {
                0 => self.all_lose_power(),
                // As soon as some client has been told that its write is safe.
                _ => self.nemesis.ambush = Some((0..self.osds.len()).collect()),
            },
            Kind::OsdStop => self.osd_event(i, OsdEvent::Shutdown),
            Kind::CutOsd => self.cut_osd(i),
            Kind::Island => {
                let c = self.nemesis.rng.below(self.clients.len() as u64) as usize;
                let ours = [Node::Osd(i), Node::Client(c)];
                let all =
                    (0..self.osds.len()).map(Node::Osd).chain((0..self.clients.len()).map(Node::Client));
                let others: Vec<Node> = all.chain([Node::Mon]).filter(|n| !ours.contains(n)).collect();
                let pairs = ours.iter().flat_map(|a| others.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
                self.block_for_a_while(pairs.collect());
                if self.nemesis.rng.chance(300) {
                    // The operator knows before any heartbeat does: a new primary comes while the old one has leases.
                    self.command(format!(r#"{{"prefix":"osd down","ids":["{i}"]}}"#));
                }
            }
            Kind::CutClient => {
                let c = self.nemesis.rng.below(self.clients.len() as u64) as usize;
                self.block_for_a_while(vec![
                    (Node::Client(c), Node::Osd(i)),
                    (Node::Osd(i), Node::Client(c)),
                ]);
            }
            Kind::MonKill => {
                self.crash_mon();
                let wait = self.nemesis.rng.range(100 * MS, 8 * SEC);
                self.after(wait, Ev::MonStart);
            }
            Kind::Breaks => {
                let all: Vec<u64> = self.net.sessions.keys().copied().collect();
                for sid in all {
                    if self.nemesis.rng.chance(300) {
                        let wait = self.nemesis.rng.below(2 * SEC);
                        self.after(wait, Ev::Break(sid));
                    }
                }
            }
            Kind::SlowDisk => {
                self.osds[i].slow = *self.nemesis.rng.pick(&[10, 50, 300]);
                let wait = self.nemesis.rng.range(SEC, 10 * SEC);
                self.after(wait, Ev::Heal(Heal::Disk(i)));
            }
            Kind::SlowNet => {
                let was = self.net.delay;
                if was.0 >= 5 * MS {
                    return;
                }
                self.net.delay = (5 * MS, *self.nemesis.rng.pick(&[20 * MS, 200 * MS]));
                let wait = self.nemesis.rng.range(SEC, 8 * SEC);
                self.after(wait, Ev::Heal(Heal::Delay(was)));
            }
            Kind::OutIn => {
                if self.nemesis.out.len() + 3 >= self.osds.len() {
                    return;
                }
                self.nemesis.out.push(i);
                self.command(format!(r#"{{"prefix":"osd out","ids":["{i}"]}}"#));
                let wait = self.nemesis.rng.range(2 * SEC, 20 * SEC);
                self.after(wait, Ev::Heal(Heal::In(i)));
            }
        }
    }

    fn all_lose_power(&mut self) {
        (0..self.osds.len()).for_each(|i| self.crash_for_a_while(i, true));
    }

    /// A client was told that its write is safe: the moment to find out whether it is.
    pub(crate) fn write_acknowledged(&mut self) {
        if !self.nemesis.running {
            return;
        }
        if let Some(osds) = self.nemesis.ambush.take() {
            self.trace.line(self.now, || format!("FAULT ambush {osds:?}"));
            let wait = self.nemesis.rng.below(300_000);
            self.after(wait, Ev::Ambush(osds));
        }
    }

    pub(crate) fn on_ambush(&mut self, osds: Vec<usize>) {
        osds.into_iter().for_each(|i| self.crash_for_a_while(i, true));
    }

    pub(crate) fn crash_for_a_while(&mut self, i: usize, power: bool) {
        self.crash_osd(i, power);
        let wait = match self.nemesis.rng.below(3) {
            0 => self.nemesis.rng.range(10 * MS, SEC),
            1 => self.nemesis.rng.range(SEC, 6 * SEC),
            _ => self.nemesis.rng.range(5 * SEC, 20 * SEC),
        };
        self.after(wait, Ev::OsdStart(i));
    }

    fn cut_osd(&mut self, i: usize) {
        let me = Node::Osd(i);
        let mut others: Vec<Node> = (0..self.osds.len()).filter(|o| *o != i).map(Node::Osd).collect();
        match self.nemesis.rng.below(4) {
            // From everyone.
            0 => {
                others.push(Node::Mon);
                others.extend((0..self.clients.len()).map(Node::Client));
            }
            // From OSDs and the monitor, but not from clients: the one that must not serve stale reads.
            1 => others.push(Node::Mon),
            // From the other OSDs.
            2 => {}
            // From one.
            _ => {
                let one = *self.nemesis.rng.pick(&others);
                others = vec![one];
            }
        }
        let mode = self.nemesis.rng.below(3);
        let mut block = Vec::new();
        for o in others {
            if mode != 1 {
                block.push((me, o));
            }
            if mode != 2 {
                block.push((o, me));
            }
        }
        self.block_for_a_while(block);
    }

    fn block_for_a_while(&mut self, block: Vec<(Node, Node)>) {
        self.trace.line(self.now, || format!("blocked: {block:?}"));
        self.net.blocked.extend(block.iter().copied());
        // Some lossy sessions over the cut time out before it heals.
        let lossy: Vec<u64> = self
            .net
            .sessions
            .iter()
            .filter(|(_, s)| {
                let (a, b) = (s.ends[0].node, s.ends[1].node);
                s.chan.is_lossy() && (block.contains(&(a, b)) || block.contains(&(b, a)))
            })
            .map(|(id, _)| *id)
            .collect();
        for sid in lossy {
            if self.nemesis.rng.chance(300) {
                let wait = self.nemesis.rng.range(SEC, 12 * SEC);
                self.after(wait, Ev::Break(sid));
            }
        }
        let wait = match self.nemesis.rng.below(2) {
            0 => self.nemesis.rng.range(200 * MS, 3 * SEC),
            _ => self.nemesis.rng.range(3 * SEC, 20 * SEC),
        };
        self.after(wait, Ev::Heal(Heal::Unblock(block)));
    }

    pub(crate) fn on_heal(&mut self, h: Heal) {
        self.trace.line(self.now, || format!("HEAL {h:?}"));
        match h {
            Heal::Unblock(all) => {
                for b in all {
                    self.net.blocked.remove(&b);
                }
                self.kick_network();
            }
            Heal::Disk(i) => self.osds[i].slow = 1,
            Heal::Delay(d) => self.net.delay = d,
            Heal::In(i) => {
                if let Some(at) = self.nemesis.out.iter().position(|o| *o == i) {
                    self.nemesis.out.remove(at);
                    self.command(format!(r#"{{"prefix":"osd in","ids":["{i}"]}}"#));
                }
            }
        }
    }

    /// Everything is repaired; no further fault happens.
    pub fn heal_all(&mut self) {
        self.nemesis.running = false;
        self.trace.line(self.now, || "HEAL everything".to_owned());
        self.net.blocked.clear();
        self.net.delay = (50_000, 300_000);
        self.net.spike_permille = 0;
        self.kick_network();
        self.after(1, Ev::MonStart);
        for i in 0..self.osds.len() {
            self.osds[i].slow = 1;
            self.after(1, Ev::OsdStart(i));
        }
        // Also those that the monitor took out by itself.
        self.nemesis.out.clear();
        let ids: Vec<String> = (0..self.osds.len()).map(|i| format!("\"{i}\"")).collect();
        self.command(format!(r#"{{"prefix":"osd in","ids":[{}]}}"#, ids.join(",")));
    }
}
