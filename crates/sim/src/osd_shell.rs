//! The OSD's shell in the simulation: starts and ends processes, carries out effects, runs the disk.

use crate::net::{Chan, End, Listener, Node, Sid};
use crate::osd::{LaneWork, OsdNode, OsdRun, TapStore};
use crate::rng::Rng;
use crate::world::{Ev, Inject, MS, SEC, US, World};
use messages::Message;
use objstore::{CommitToken, ObjectStore};
use osd_core::{
    LogLevel, Net, OsdAddrs, OsdConfig, OsdCore, OsdEffect, OsdEvent, Peer, SessionId, Superblock,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use store_core::simdev::{Dice, SimDevice};
use store_core::{Dev, IoDone, IoStep, Lane, Store, StoreConfig};
use types::{AddrType, AddrVec, EntityAddr, EntityName, Epoch, Fsid, OsdId};

const DATA_BYTES: u64 = 256 << 20;
const JOURNAL_BYTES: u64 = 4 << 20;

/// The address of a process's listener. Each start listens on ports of its own, as daemons do.
pub fn address(node: Node, inc: u32, port: u16) -> EntityAddr {
    let (net, host) = match node {
        Node::Mon => (0, 1),
        Node::Osd(i) => (1, i as u8 + 1),
        Node::Client(c) => (2, c as u8 + 1),
    };
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, net, host));
    EntityAddr::new(AddrType::Msgr2, SocketAddr::new(ip, port), inc)
}

impl OsdNode {
    /// A made store, not running.
    pub fn new(i: usize, cluster: Fsid, rng: &mut Rng) -> OsdNode {
        let mut bytes = [0; 16];
        bytes.iter_mut().for_each(|b| *b = rng.roll() as u8);
        let uuid = Fsid::from_random(bytes);
        let dev = SimDevice::new(DATA_BYTES, JOURNAL_BYTES);
        dev.run(&store_core::mkfs(uuid, DATA_BYTES, JOURNAL_BYTES)).result.expect("an empty device");
        let mut store = Store::open(Box::new(dev.clone()), store_config()).expect("a made store opens");
        let txn = Superblock::mkfs(cluster, uuid, OsdId(i as i32));
        store.queue(txn, CommitToken(1)).expect("an empty store has room");
        while let Some(batch) = store.poll_io() {
            let done = dev.run(&batch);
            store.handle_io_done(done);
        }
        OsdNode {
            dev,
            uuid,
            inc: 0,
            addrs: BTreeMap::new(),
            run: None,
            power_off: false,
            crash_in_steps: None,
            slow: 1,
        }
    }
}

/// Small bounds, so that checkpoints happen in short runs.
fn store_config() -> StoreConfig {
    StoreConfig {
        deferred_bytes_max: 512 << 10,
        dirty_bytes_max: 128 << 10,
        object_cache_bytes: 256 << 10,
        page_cache_bytes: 256 << 10,
        ..StoreConfig::default()
    }
}

impl World {
    /// Starts an OSD's process; nothing when it runs.
    pub fn start_osd(&mut self, i: usize) {
        if self.osds[i].run.is_some() {
            return;
        }
        let (now, mono) = (self.utime(), self.mono(i));
        let node = &mut self.osds[i];
        node.power_off = false;
        node.inc += 1;
        let inc = node.inc;
        // What a killed process left in the system's cache is synced before it is believed.
        for dev in [Dev::Data, Dev::Journal] {
            node.dev.step(&IoStep::Sync { dev }).expect("the device works");
        }
        let store = match Store::open(Box::new(node.dev.clone()), store_config()) {
            Ok(s) => s,
            Err(e) => return self.fail(format!("osd.{i}: the store does not open after a crash: {e}")),
        };
        let mut store =
            TapStore { store, queued: Vec::new(), tap: self.opts.inject == Some(Inject::AckBeforeSync) };
        let mut addrs: BTreeMap<Net, EntityAddr> = BTreeMap::new();
        for net in [Net::Public, Net::Cluster, Net::HbBack, Net::HbFront] {
            let port = 6800 + (inc as u16 % 1000) * 8 + net as u16;
            let addr = address(Node::Osd(i), inc, port);
            addrs.insert(net, addr);
            let end = End { node: Node::Osd(i), inc };
            self.net.book.insert(addr, Listener { end, chan: Chan::Osd(net) });
        }
        self.osds[i].addrs = addrs.clone();
        let at = |net: Net| AddrVec(vec![addrs[&net]]);
        let mut cfg = OsdConfig::new(OsdId(i as i32));
        cfg.fsid = self.fsid;
        cfg.heartbeat.interval = Duration::from_millis(1000);
        cfg.heartbeat.grace = Duration::from_secs(self.nemesis.grace_secs);
        cfg.heartbeat.report_again = Duration::from_secs(2);
        cfg.beacon_interval = Duration::from_secs(60);
        cfg.pg = self.nemesis.pg_config();
        cfg.pg.planted = match self.opts.inject {
            Some(Inject::ServeWithoutLease) => Some(pg::Planted::ServeWithoutLease),
            Some(Inject::NoWaitForLeases) => Some(pg::Planted::NoWaitForLeases),
            Some(Inject::AckBeforeSync) | None => None,
        };
        let mut dice = Rng::new(self.rng.roll(), 7);
        let random = Box::new(move || dice.roll());
        let mut core = match OsdCore::load(cfg, (now, mono), random, &mut store) {
            Ok(c) => c,
            Err(e) => {
                let mut text = e.to_string();
                let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&e);
                while let Some(c) = cause {
                    text += &format!(": {c}");
                    cause = c.source();
                }
                return self.fail(format!("osd.{i} does not load: {text}"));
            }
        };
        core.set_addrs(OsdAddrs {
            public: at(Net::Public),
            cluster: at(Net::Cluster),
            hb_back: at(Net::HbBack),
            hb_front: at(Net::HbFront),
        });
        self.trace.line(self.now, || format!("osd.{i} starts (incarnation {inc})"));
        self.osds[i].run = Some(OsdRun {
            core,
            store,
            lanes: [LaneWork::default(), LaneWork::default()],
            conns: BTreeMap::new(),
            mon: None,
            mgr: None,
            wake_at: self.now,
        });
        self.kick_disk(i);
        self.after(MS, Ev::OsdMonLink(i, inc));
        self.after(MS, Ev::OsdTick(i, inc));
    }

    /// Ends an OSD's process. With `power` the disk forgets what it had not synced.
    pub fn crash_osd(&mut self, i: usize, power: bool) {
        let inc = self.osds[i].inc;
        let dice = self.rng.roll();
        let node = &mut self.osds[i];
        if node.run.take().is_none() {
            return;
        }
        if power {
            node.dev.crash(&mut Dice(dice));
            node.power_off = true;
        }
        self.trace.line(self.now, || format!("osd.{i} crashes{}", if power { ", power lost" } else { "" }));
        self.process_gone(Node::Osd(i), inc, power);
    }

    /// Gives the core one event and carries out what it wants.
    pub fn osd_event(&mut self, i: usize, event: OsdEvent) {
        let now = (self.utime(), self.mono(i));
        let Some(run) = self.osds[i].run.as_mut() else { return };
        let mut effects = Vec::new();
        run.core.handle(now, event, &mut run.store, &mut effects);
        for e in effects {
            self.osd_effect(i, e);
        }
        self.early_commits(i);
        self.kick_disk(i);
    }

    fn osd_effect(&mut self, i: usize, effect: OsdEffect) {
        let inc = self.osds[i].inc;
        let Some(run) = self.osds[i].run.as_mut() else { return };
        match effect {
            OsdEffect::Send { session, msg } => {
                let sid = session.0;
                let end = self.end_of(sid, Node::Osd(i));
                self.send(sid, end, msg);
            }
            OsdEffect::SendOsd { osd, net, addrs, msg } => self.osd_send_osd(i, osd, net, addrs, msg),
            OsdEffect::MarkDown { net, addrs } => {
                run.conns.retain(|(_, n), (a, _)| *n != net || *a != addrs);
                if let Some(a) = addrs.0.first() {
                    self.mark_down(Node::Osd(i), net, *a);
                }
            }
            OsdEffect::Rebind => self.rebind_osd(i),
            OsdEffect::SendMon(msg) => {
                if let Some(sid) = run.mon {
                    self.send(sid, 0, msg);
                }
            }
            OsdEffect::ConnectMgr(addrs) => {
                let old = run.mgr.take();
                run.mgr = addrs.map(|a| (a, None));
                if let Some((_, Some(sid))) = old {
                    self.leave(sid, 0);
                }
                self.after(MS, Ev::OsdMgrLink(i, inc));
            }
            OsdEffect::SendMgr(msg) => {
                if let Some((_, Some(sid))) = run.mgr {
                    self.send(sid, 0, msg);
                }
            }
            OsdEffect::Close { session } => {
                let end = self.end_of(session.0, Node::Osd(i));
                self.leave(session.0, end);
            }
            OsdEffect::RequireFeatures(_) | OsdEffect::CommandReply { .. } | OsdEffect::Dropped { .. } => {}
            // There is no process round a simulated OSD.
            OsdEffect::Config(_) | OsdEffect::Overridden { .. } | OsdEffect::Tell { .. } => {}
            OsdEffect::WakeIn(after) => {
                let at = self.now + (after.as_nanos() as u64).max(MS);
                if at < run.wake_at || run.wake_at <= self.now {
                    run.wake_at = at;
                    self.after(at - self.now, Ev::OsdTick(i, inc));
                }
            }
            OsdEffect::Log { level, text } => {
                let tag = match level {
                    LogLevel::Error => "ERROR ",
                    LogLevel::Warn => "WARN ",
                    LogLevel::Info | LogLevel::Debug => "",
                };
                self.trace.line(self.now, || format!("osd.{i}: {tag}{text}"));
            }
            OsdEffect::Stop { reason, failed } => {
                if failed {
                    self.fail(format!("osd.{i} stopped itself: {reason}"));
                }
                self.trace.line(self.now, || format!("osd.{i} stops: {reason}"));
                self.crash_osd(i, false);
                let wait = self.rng.range(SEC, 5 * SEC);
                self.after(wait, Ev::OsdStart(i));
            }
        }
    }

    /// A new cluster address; all sessions on the old one end.
    fn rebind_osd(&mut self, i: usize) {
        let me = Node::Osd(i);
        let inc = self.osds[i].inc;
        for sid in self.net.of(me) {
            let Some(s) = self.net.sessions.get(&sid) else { continue };
            if s.chan == Chan::Osd(Net::Cluster) {
                let end = usize::from(s.ends[0].node != me);
                self.leave(sid, end);
            }
        }
        let Some(run) = self.osds[i].run.as_mut() else { return };
        run.conns.retain(|(_, net), _| *net != Net::Cluster);
        let Some(addr) = self.osds[i].addrs.get_mut(&Net::Cluster) else { return };
        self.net.book.remove(addr);
        addr.nonce += 1000;
        let addr = *addr;
        let end = End { node: me, inc };
        self.net.book.insert(addr, Listener { end, chan: Chan::Osd(Net::Cluster) });
        self.after(1, Ev::OsdRebound(i, inc, addr));
    }

    pub(crate) fn on_osd_rebound(&mut self, i: usize, inc: u32, addr: EntityAddr) {
        if self.alive(Node::Osd(i), inc) {
            self.osd_event(i, OsdEvent::Rebound(AddrVec(vec![addr])));
        }
    }

    fn end_of(&self, sid: Sid, node: Node) -> usize {
        self.net.sessions.get(&sid).map_or(0, |s| usize::from(s.ends[0].node != node))
    }

    fn osd_send_osd(&mut self, i: usize, osd: OsdId, net: Net, addrs: AddrVec, msg: Message) {
        let inc = self.osds[i].inc;
        let Some(run) = self.osds[i].run.as_mut() else { return };
        let known = run.conns.get(&(osd, net)).filter(|(a, _)| *a == addrs).map(|(_, sid)| *sid);
        let live = known.filter(|sid| self.net.sessions.get(sid).is_some_and(|s| !s.ended[0]));
        let sid = match live {
            Some(sid) => sid,
            None => {
                let Some(target) = addrs.0.first().copied() else { return };
                let Some(sid) = self.connect(End { node: Node::Osd(i), inc }, target) else { return };
                if let Some(run) = self.osds[i].run.as_mut() {
                    run.conns.insert((osd, net), (addrs, sid));
                }
                sid
            }
        };
        self.send(sid, 0, msg);
    }

    pub(crate) fn link_osd_mon(&mut self, i: usize, inc: u32) {
        if !self.alive(Node::Osd(i), inc) {
            return;
        }
        let sid = self.connect(End { node: Node::Osd(i), inc }, crate::mon::mon_address());
        if let Some(run) = self.osds[i].run.as_mut() {
            run.mon = sid;
        }
    }

    pub(crate) fn link_osd_mgr(&mut self, i: usize, inc: u32) {
        if !self.alive(Node::Osd(i), inc) {
            return;
        }
        let Some((addrs, None)) = self.osds[i].run.as_ref().and_then(|r| r.mgr.clone()) else { return };
        let Some(target) = addrs.0.first().copied() else { return };
        let sid = self.connect(End { node: Node::Osd(i), inc }, target);
        if let Some((_, s)) = self.osds[i].run.as_mut().and_then(|r| r.mgr.as_mut()) {
            *s = sid;
        }
    }

    pub(crate) fn osd_accepted(&mut self, i: usize, sid: Sid, from: Node, chan: Chan) {
        let Chan::Osd(net) = chan else { return };
        let (name, addr) = match from {
            Node::Osd(o) => {
                let inc = self.osds[o].inc;
                (EntityName::osd(OsdId(o as i32)), address(from, inc, 0))
            }
            Node::Client(c) => (EntityName::client(self.clients[c].gid), address(from, 1, 0)),
            Node::Mon => return,
        };
        let peer = Peer {
            name,
            entity: if matches!(from, Node::Client(_)) {
                "client.admin".to_owned()
            } else {
                name.to_string()
            },
            addr,
            features: types::features::SUPPORTED,
            allow_all: true,
            caps: String::new(),
        };
        self.osd_event(i, OsdEvent::Opened { session: SessionId(sid), net, peer: Box::new(peer) });
    }

    pub(crate) fn osd_message(&mut self, i: usize, sid: Sid, chan: Chan, msg: Message) {
        let event = match chan {
            Chan::Mon => OsdEvent::MonMessage(msg),
            Chan::Mgr => OsdEvent::MgrMessage(msg),
            Chan::Osd(net) => OsdEvent::Message { session: SessionId(sid), net, msg },
        };
        self.osd_event(i, event);
    }

    pub(crate) fn osd_session_ended(&mut self, i: usize, sid: Sid, chan: Chan, end: usize) {
        let inc = self.osds[i].inc;
        let wait = self.rng.range(50 * MS, 2 * SEC);
        let Some(run) = self.osds[i].run.as_mut() else { return };
        match chan {
            Chan::Mon => {
                if run.mon == Some(sid) {
                    run.mon = None;
                    self.after(wait, Ev::OsdMonLink(i, inc));
                    self.osd_event(i, OsdEvent::MonClosed);
                }
            }
            Chan::Mgr => {
                if let Some((_, s)) = &mut run.mgr
                    && *s == Some(sid)
                {
                    *s = None;
                    self.after(wait, Ev::OsdMgrLink(i, inc));
                    self.osd_event(i, OsdEvent::MgrClosed);
                }
            }
            Chan::Osd(_) => {
                if end == 0 {
                    run.conns.retain(|_, (_, s)| *s != sid);
                }
                self.osd_event(i, OsdEvent::Closed { session: SessionId(sid) });
            }
        }
    }

    pub(crate) fn on_osd_tick(&mut self, i: usize, inc: u32) {
        if !self.alive(Node::Osd(i), inc) {
            return;
        }
        let now = self.now;
        let Some(run) = self.osds[i].run.as_mut() else { return };
        if now < run.wake_at {
            // A later timer replaced this one.
            return;
        }
        self.osd_event(i, OsdEvent::Tick);
        if let Some(run) = self.osds[i].run.as_mut()
            && run.wake_at <= now
        {
            run.wake_at = now + SEC;
            self.after(SEC, Ev::OsdTick(i, inc));
        }
    }

    /// The injected bug: everything queued is reported durable at once.
    fn early_commits(&mut self, i: usize) {
        if self.opts.inject != Some(Inject::AckBeforeSync) {
            return;
        }
        let inc = self.osds[i].inc;
        let Some(run) = self.osds[i].run.as_mut() else { return };
        let tokens = std::mem::take(&mut run.store.queued);
        if !tokens.is_empty() {
            self.after(1, Ev::OsdEarly(i, inc, tokens));
        }
    }

    pub(crate) fn on_osd_early(&mut self, i: usize, inc: u32, tokens: Vec<CommitToken>) {
        for t in tokens {
            if self.alive(Node::Osd(i), inc) {
                self.osd_event(i, OsdEvent::Committed(vec![t]));
            }
        }
    }

    /// Hands new disk work to the lanes and starts those that rest.
    fn kick_disk(&mut self, i: usize) {
        let Some(run) = self.osds[i].run.as_mut() else { return };
        while let Some(batch) = run.store.store.poll_io() {
            let lane = usize::from(batch.lane == Lane::Background);
            run.lanes[lane].queue.push_back(batch);
        }
        for lane in 0..2 {
            self.start_step(i, lane);
        }
    }

    fn start_step(&mut self, i: usize, lane: usize) {
        let node = &mut self.osds[i];
        let (inc, slow) = (node.inc, node.slow);
        let Some(run) = node.run.as_mut() else { return };
        let work = &mut run.lanes[lane];
        let Some(batch) = work.queue.front().filter(|_| !work.busy) else { return };
        let cost = match batch.steps.get(work.step) {
            Some(IoStep::Write { bufs, .. }) => {
                10 * US + bufs.iter().map(|b| b.len() as u64).sum::<u64>() + self.rng.below(50 * US)
            }
            Some(IoStep::Sync { .. }) => 100 * US + self.rng.below(2 * MS),
            None => US,
        };
        work.busy = true;
        self.after(cost * slow, Ev::OsdIo(i, inc, lane));
    }

    pub(crate) fn on_osd_io(&mut self, i: usize, inc: u32, lane: usize) {
        if !self.alive(Node::Osd(i), inc) {
            return;
        }
        if let Some(left) = self.osds[i].crash_in_steps {
            self.osds[i].crash_in_steps = left.checked_sub(1);
            if left == 0 && self.nemesis.running {
                return self.crash_for_a_while(i, true);
            }
        }
        let node = &mut self.osds[i];
        let Some(run) = node.run.as_mut() else { return };
        let work = &mut run.lanes[lane];
        work.busy = false;
        let Some(batch) = work.queue.front() else { return };
        if let Some(step) = batch.steps.get(work.step) {
            if let Err(e) = node.dev.step(step) {
                return self.fail(format!("osd.{i}: {e}"));
            }
            work.step += 1;
        }
        if work.step >= batch.steps.len() {
            let id = batch.id;
            work.queue.pop_front();
            work.step = 0;
            run.store.store.handle_io_done(IoDone { id, result: Ok(()) });
            self.trace.mix(self.now, 6, i as u64, id);
            let mut tokens = Vec::new();
            while let Some(t) = run.store.store.poll_commit() {
                tokens.push(t);
            }
            if !tokens.is_empty() && self.opts.inject != Some(Inject::AckBeforeSync) {
                self.osd_event(i, OsdEvent::Committed(tokens));
            }
        }
        self.kick_disk(i);
    }

    /// Epoch of the newest map that any OSD has.
    pub fn newest_epoch(&self) -> Epoch {
        self.osds.iter().filter_map(|o| o.run.as_ref()).map(|r| r.core.map().epoch).max().unwrap_or_default()
    }
}
