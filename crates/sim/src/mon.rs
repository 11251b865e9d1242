//! The monitor in the simulation: the real core, its proposals made durable one by one, its store kept over crashes.

use crate::net::{Chan, End, Listener, Node, Sid};
use crate::osd_shell::address;
use crate::rng::Rng;
use crate::world::{Ev, MS, SEC, World};
use bytes::Bytes;
use cephx::AuthName;
use cephx::env::Env;
use cephx::keyserver::{AuthConfig, EntityAuth};
use mon_core::{
    MemberNews, MkfsConfig, MonConfig, MonCore, MonEffect, MonEvent, Peer, Proposal, QuorumInfo, Role,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use types::monmap::MonMap;
use types::{AddrVec, EntityAddr, EntityName, EntityType, Fsid, OsdId, Utime};

const MON_PORT: u16 = 3300;
const MGR_PORT: u16 = 6800;

/// Where the monitor listens.
pub fn mon_address() -> EntityAddr {
    address(Node::Mon, 0, MON_PORT)
}
fn mgr_address(inc: u32) -> EntityAddr {
    address(Node::Mon, inc, MGR_PORT)
}

/// Clock and randomness of the monitor.
#[derive(Debug)]
pub struct SimEnv {
    now: Cell<Utime>,
    rng: RefCell<Rng>,
}
impl Env for SimEnv {
    fn now(&self) -> Utime {
        self.now.get()
    }
    fn random(&self, buf: &mut [u8]) {
        let mut rng = self.rng.borrow_mut();
        buf.iter_mut().for_each(|b| *b = rng.roll() as u8);
    }
}

/// The monitor, running or not.
pub struct MonNode {
    /// The machine.
    pub core: Option<MonCore>,
    /// Counts starts.
    pub inc: u32,
    /// What survives a crash: committed proposals only.
    pub disk: BTreeMap<String, Bytes>,
    /// The proposal on its way to the disk.
    in_flight: Option<Proposal>,
    env: Rc<SimEnv>,
    config: MonConfig,
    /// Commands of the run's own operator, one after the other.
    pub commands: std::collections::VecDeque<String>,
    /// The command that was sent and not answered.
    pub asked: Option<(u64, String)>,
    next_token: u64,
}

impl MonNode {
    /// A made store.
    pub fn new(seed: u64, fsid: Fsid, options: BTreeMap<String, String>) -> MonNode {
        let env = Rc::new(SimEnv {
            now: Cell::new(Utime::from_secs(1_795_354_800)),
            rng: RefCell::new(Rng::new(seed, 2)),
        });
        let config = MonConfig {
            name: "a".to_owned(),
            options,
            version: "loligo sim".to_owned(),
            auth: AuthConfig::default(),
            ..Default::default()
        };
        let monmap = MonMap::build(fsid, env.now(), [("a".to_owned(), AddrVec(vec![mon_address()]))]);
        let entity = |kind, id: String| {
            let key = cephx::CryptoKey::generate(cephx::KeyType::Aes, &*env);
            (AuthName::new(kind, id), EntityAuth::new(key, &[("mon", "allow *")]))
        };
        // Sessions of entities without a key are ended by the monitor.
        let mut keyring =
            vec![entity(EntityType::MON, String::new()), entity(EntityType::CLIENT, "admin".to_owned())];
        keyring.extend((0..16).map(|i| entity(EntityType::OSD, i.to_string())));
        let made = MkfsConfig { monmap, fsid, keyring, options: config.clone() };
        let disk = mon_core::mkfs(&made, &*env).expect("a new store");
        MonNode {
            core: None,
            inc: 0,
            disk,
            in_flight: None,
            env,
            config,
            commands: Default::default(),
            asked: None,
            next_token: 1,
        }
    }
}

impl World {
    /// Starts the monitor's process; nothing when it runs.
    pub fn start_mon(&mut self) {
        if self.mon.core.is_some() {
            return;
        }
        let now = self.utime();
        self.mon.env.now.set(now);
        self.mon.inc += 1;
        let inc = self.mon.inc;
        let core = match MonCore::new(self.mon.config.clone(), self.mon.disk.clone(), self.mon.env.clone()) {
            Ok(c) => c,
            Err(e) => return self.fail(format!("the monitor does not start: {e}")),
        };
        self.mon.core = Some(core);
        let end = End { node: Node::Mon, inc };
        self.net.book.insert(mon_address(), Listener { end, chan: Chan::Mon });
        self.net.book.insert(mgr_address(inc), Listener { end, chan: Chan::Mgr });
        // Sessions that were being opened to the former process find this one.
        for s in self.net.sessions.values_mut() {
            if s.chan == Chan::Mon && !s.open {
                s.ends[1].inc = inc;
            }
        }
        self.trace.line(self.now, || format!("mon starts (incarnation {inc})"));
        self.mon_event(MonEvent::News(MemberNews {
            name: "a".to_owned(),
            metadata: BTreeMap::from([("hostname".to_owned(), "sim".to_owned())]),
            mgr_addrs: AddrVec(vec![mgr_address(inc)]),
            ..MemberNews::default()
        }));
        // One monitor leads by itself; the quorum of several has a simulation of its own (crate `quorum`).
        let epoch = 1 + 2 * u64::from(inc);
        self.mon_event(MonEvent::Quorum(QuorumInfo::alone("a", epoch, now)));
        self.mon_event(MonEvent::Readable(true));
        self.after(100 * MS, Ev::MonTick(inc));
        if let Some((_, c)) = self.mon.asked.take() {
            self.mon.commands.push_front(c);
        }
    }

    /// Ends the monitor's process. A proposal on its way may or may not have reached the disk.
    pub fn crash_mon(&mut self) {
        if self.mon.core.take().is_none() {
            return;
        }
        let inc = self.mon.inc;
        if let Some(p) = self.mon.in_flight.take()
            && self.rng.chance(500)
        {
            self.persist(&p);
        }
        self.trace.line(self.now, || "mon crashes".to_owned());
        self.process_gone(Node::Mon, inc, false);
    }

    fn persist(&mut self, p: &Proposal) {
        for (k, v) in &p.batch.changes {
            match v {
                Some(v) => drop(self.mon.disk.insert(k.clone(), v.clone())),
                None => drop(self.mon.disk.remove(k)),
            }
        }
    }

    /// Gives the monitor one event and carries out what it wants.
    pub fn mon_event(&mut self, event: MonEvent) {
        let now = self.utime();
        self.mon.env.now.set(now);
        let Some(core) = self.mon.core.as_mut() else { return };
        for e in core.handle(now, event) {
            self.mon_effect(e);
        }
    }

    fn mon_effect(&mut self, effect: MonEffect) {
        match effect {
            MonEffect::Send(sid, msg) => self.send(sid, 1, msg),
            MonEffect::Propose(p) => {
                let wait = 200_000 + self.rng.below(8 * MS);
                self.after(wait, Ev::MonCommit(self.mon.inc, p.version));
                if self.mon.in_flight.is_some() {
                    self.fail("mon: two proposals in flight".to_owned());
                }
                self.mon.in_flight = Some(p);
            }
            MonEffect::Close(sid) => self.leave(sid, 1),
            MonEffect::Log(level, text) => {
                self.trace.line(self.now, || format!("mon: {level:?} {text}"));
            }
            MonEffect::LocalReply { token, ret, outs, .. } => self.command_answered(token, ret, &outs),
            MonEffect::AuthChanged
            | MonEffect::RequireFeatures(_)
            | MonEffect::MonmapChanged
            | MonEffect::Central(_) => {}
            MonEffect::Forward(..)
            | MonEffect::TellLeader(_)
            | MonEffect::Look(..)
            | MonEffect::Seen(..)
            | MonEffect::Admit { .. }
            | MonEffect::Tell { .. }
            | MonEffect::TakePart(_)
            | MonEffect::Expel(_) => {
                self.fail("mon: a lone monitor spoke to another one".to_owned());
            }
        }
    }

    pub(crate) fn on_mon_commit(&mut self, inc: u32, version: u64) {
        if !self.alive(Node::Mon, inc) {
            return;
        }
        let Some(p) = self.mon.in_flight.take_if(|p| p.version == version) else { return };
        self.persist(&p);
        self.mon_event(MonEvent::Committed(p));
    }

    pub(crate) fn on_mon_tick(&mut self, inc: u32) {
        if !self.alive(Node::Mon, inc) {
            return;
        }
        self.mon_event(MonEvent::Tick);
        self.next_command();
        self.after(SEC, Ev::MonTick(inc));
    }

    /// Queues a command of the operator.
    pub fn command(&mut self, json: String) {
        self.mon.commands.push_back(json);
        self.next_command();
    }

    fn next_command(&mut self) {
        if self.mon.asked.is_some() || self.mon.core.is_none() {
            return;
        }
        let Some(command) = self.mon.commands.pop_front() else { return };
        self.mon.next_token += 1;
        let token = self.mon.next_token;
        self.mon.asked = Some((token, command.clone()));
        self.trace.line(self.now, || format!("operator: {command}"));
        self.mon_event(MonEvent::LocalCommand { token, command });
    }

    fn command_answered(&mut self, token: u64, ret: i32, outs: &str) {
        let Some((_, command)) = self.mon.asked.take_if(|(t, _)| *t == token) else { return };
        // EEXIST: the command was asked again after a crash.
        if ret != 0 && ret != -17 {
            self.fail(format!("operator's command {command} failed: {ret} {outs}"));
        }
        self.next_command();
    }

    pub(crate) fn mon_accepted(&mut self, sid: Sid, from: Node, chan: Chan) {
        let role = if chan == Chan::Mgr { Role::Mgr } else { Role::Mon };
        let (entity, name, gid, addrs, caps) = match from {
            Node::Osd(i) => {
                let inc = self.osds[i].inc;
                let addrs = self.net.book.iter().find(|(_, l)| {
                    l.end == End { node: from, inc } && l.chan == Chan::Osd(osd_core::Net::Public)
                });
                let addr = addrs.map(|(a, _)| *a).unwrap_or_default();
                let name = EntityName::osd(OsdId(i as i32));
                (format!("osd.{i}"), name, 1000 + i as u64, AddrVec(vec![addr]), "allow profile osd")
            }
            Node::Client(c) => {
                let gid = self.clients[c].gid;
                let addrs = AddrVec(vec![address(from, 1, 0)]);
                ("client.admin".to_owned(), EntityName::client(gid), gid, addrs, "allow *")
            }
            Node::Mon => return,
        };
        let peer = Peer {
            role,
            entity,
            global_id: gid,
            name,
            addrs,
            features: types::features::SUPPORTED,
            caps: caps.to_owned(),
            allow_all: caps == "allow *",
            authenticated: true,
        };
        self.mon_event(MonEvent::Opened(sid, peer));
    }
}
