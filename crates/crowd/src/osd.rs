//! [`Osd`]: one simulated OSD: its sessions with a monitor and the manager, and what it says there, when a real one would.
//!
//! Follows `osd-core`'s `boot` and `reports`. Left out: everything between OSDs and with clients.

use crate::build;
use crate::world::World;
use bytes::Bytes;
use cephx::{AuthName, CryptoKey, TicketStore};
use messages::{
    MMgrConfigure, MMgrMap, MMgrOpen, MMgrReport, MMonCommand, MMonGetVersion, MMonGetVersionReply,
    MMonSubscribe, MOsdAlive, MOsdBeacon, MOsdMap, MOsdPgCreate2, MOsdPgCreated, Message, PaxosHeader,
    Payload, SubItem,
};
use monc::{LinkEvent, MonLink};
use msgr::auth::{ClientAuth, ServerAuth};
use net::{AcceptInfo, Connection, Dispatcher, Messenger, MessengerConfig, MsgHold};
use runtime::System;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::servicemap::DaemonHealthMetric;
use types::{AddrVec, EntityName, EntityType, Epoch, Fsid, OsdId, Utime};

/// `osd_boot` is said again when nothing came of it.
const BOOT_AGAIN: Duration = Duration::from_secs(10);
/// `osd_beacon_report_interval`.
const BEACON: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Preboot,
    Booting(Utime),
    Active,
}

/// What changes.
struct State {
    phase: Phase,
    epoch: u32,
    boot_epoch: Epoch,
    newest_known: Option<u32>,
    mgr: Option<(AddrVec, Connection)>,
    mgr_open: bool,
    /// The manager knows which counters there are.
    declared: bool,
    period: Duration,
    last_stats: Utime,
    last_beacon: Utime,
    up_thru_asked: (Epoch, Utime),
}

/// See the module's documentation.
pub struct Osd {
    id: OsdId,
    uuid: Fsid,
    world: Rc<World>,
    messenger: OnceCell<Messenger>,
    link: OnceCell<MonLink>,
    addrs: RefCell<[AddrVec; 4]>,
    started: Utime,
    state: RefCell<State>,
    up: Cell<bool>,
}

impl Osd {
    /// An OSD that the monitors know by this uuid and key. Its first [`Osd::tick`] dials.
    pub fn new(id: i32, uuid: Fsid, key: CryptoKey, mons: &[AddrVec], world: &Rc<World>) -> Rc<Osd> {
        let nonce = System::random_u64() as u32;
        let addrs = build::addrs(id, nonce);
        let now = System::now();
        let osd = Rc::new(Osd {
            id: OsdId(id),
            uuid,
            world: world.clone(),
            messenger: OnceCell::new(),
            link: OnceCell::new(),
            addrs: RefCell::new(addrs.clone()),
            started: now,
            state: RefCell::new(State {
                phase: Phase::Preboot,
                epoch: 0,
                boot_epoch: Epoch(0),
                newest_known: None,
                mgr: None,
                mgr_open: false,
                declared: false,
                period: Duration::from_secs(5),
                last_stats: Utime::ZERO,
                last_beacon: now,
                up_thru_asked: (Epoch(0), Utime::ZERO),
            }),
            up: Cell::new(false),
        });
        let config = MessengerConfig::new(EntityName::osd(OsdId(id)), nonce);
        let messenger = Messenger::new(config, osd.clone());
        messenger.set_my_addrs(addrs[0].clone());
        let wanted = [EntityType::MON, EntityType::MGR, EntityType::OSD];
        let tickets = TicketStore::new(AuthName::new(EntityType::OSD, id.to_string()), key, &wanted).shared();
        let link = MonLink::new(messenger.clone(), tickets, Rc::new(System), mons.to_vec(), true);
        let set = osd.messenger.set(messenger).is_ok() && osd.link.set(link).is_ok();
        assert!(set, "an OSD is made once");
        osd
    }

    /// Bytes that came and went.
    pub fn traffic(&self) -> (u64, u64) {
        self.messenger.get().map_or((0, 0), |m| (m.stats().bytes_in, m.stats().bytes_out))
    }

    fn send_mon<P: Payload>(&self, p: &P) {
        if let Some(l) = self.link.get() {
            l.send(Message::new(p, l.features()));
        }
    }

    fn send_mgr<P: Payload>(&self, p: &P) {
        if let Some((_, c)) = &self.state.borrow().mgr {
            c.send(Message::new(p, c.features()));
        }
    }

    fn paxos(&self) -> PaxosHeader {
        PaxosHeader::new(self.state.borrow().epoch.into())
    }

    fn mon_opened(&self) {
        let item = |start: u64| SubItem { start, flags: 0 };
        let (next, active) = {
            let mut s = self.state.borrow_mut();
            s.newest_known = None;
            if matches!(s.phase, Phase::Booting(_)) {
                s.phase = Phase::Preboot;
            }
            (u64::from(s.epoch) + 1, s.phase == Phase::Active)
        };
        let what: BTreeMap<String, SubItem> = [
            ("config".to_owned(), item(0)),
            ("monmap".to_owned(), item(0)),
            ("mgrmap".to_owned(), item(0)),
            ("osdmap".to_owned(), item(next)),
            ("osd_pg_creates".to_owned(), item(0)),
        ]
        .into();
        self.send_mon(&MMonSubscribe { what, ..Default::default() });
        self.send_mon(&MMonGetVersion { handle: 1, what: "osdmap".to_owned() });
        if !active {
            self.claim_place();
        }
        self.wish();
    }

    fn claim_place(&self) {
        let id = self.id.0;
        for cmd in [
            serde_json::json!({
                "prefix": "osd crush set-device-class", "class": "ssd", "ids": [id.to_string()],
            }),
            serde_json::json!({
                "prefix": "osd crush create-or-move", "id": id, "weight": 8.0,
                "args": [format!("host={}", build::host(id)), "root=default"],
            }),
        ] {
            let fsid = self.world.map.borrow().fsid;
            self.send_mon(&MMonCommand { fsid, cmd: vec![cmd.to_string()], ..MMonCommand::default() });
        }
    }

    fn maybe_boot(&self) {
        let boot_epoch = {
            let mut s = self.state.borrow_mut();
            let due = s.newest_known.is_some_and(|n| s.epoch >= n && s.epoch > 0);
            if s.phase != Phase::Preboot || !due {
                return;
            }
            s.phase = Phase::Booting(System::now());
            s.boot_epoch
        };
        let boot = build::boot(self.id, self.uuid, &self.addrs.borrow(), &self.world, boot_epoch);
        self.send_mon(&boot);
    }

    fn on_maps(&self, m: &MOsdMap, bytes: usize) {
        self.world.count(|c| {
            c.map_messages += 1;
            c.map_bytes += bytes as u64;
            c.full_maps += m.maps.len() as u64;
        });
        let from = self.state.borrow().epoch;
        let last = m.incremental_maps.keys().chain(m.maps.keys()).max().map_or(0, |e| e.0);
        match self.world.take(m, from) {
            Some(to) => {
                self.state.borrow_mut().epoch = to;
                self.world.advanced(from, to);
            }
            // A gap: ask for what is missing.
            None if last > from => {
                let item = SubItem { start: u64::from(from) + 1, flags: 0 };
                let what = [("osdmap".to_owned(), item)].into();
                return self.send_mon(&MMonSubscribe { what, ..Default::default() });
            }
            None => return,
        }
        self.watch_self();
        self.wish();
        self.maybe_boot();
    }

    /// What the newest map says of this OSD.
    fn watch_self(&self) {
        let map = self.world.map.borrow().clone();
        let mut s = self.state.borrow_mut();
        if s.epoch != map.epoch.0 {
            return;
        }
        let ours = map.is_up(self.id) && map.addrs(self.id) == Some(&self.addrs.borrow()[0]);
        match s.phase {
            Phase::Active if !ours => {
                // As a process that lives and finds itself marked down: it says so under another address of its cluster network.
                s.boot_epoch = map.epoch;
                s.phase = Phase::Preboot;
                self.set_up(false);
                for a in &mut self.addrs.borrow_mut()[1].0 {
                    a.nonce = a.nonce.wrapping_add(1);
                }
            }
            Phase::Preboot | Phase::Booting(_) if ours => {
                let up_from = map.info(self.id).map_or(Epoch(0), |i| i.up_from);
                if up_from > s.boot_epoch {
                    s.phase = Phase::Active;
                    self.set_up(true);
                }
            }
            _ => {}
        }
    }

    fn set_up(&self, up: bool) {
        if self.up.replace(up) != up {
            let n = self.world.active.get();
            self.world.active.set(if up { n + 1 } else { n - 1 });
        }
    }

    /// PGs that can serve do; what others need is asked for.
    pub fn wish(&self) {
        let now = System::now();
        if self.state.borrow().phase != Phase::Active {
            return;
        }
        let (up_thru, news) = self.world.activate(self.id, now);
        for pgid in news {
            self.send_mon(&MOsdPgCreated { pgid, ..Default::default() });
        }
        let Some(want) = up_thru else { return };
        let (asked, at) = self.state.borrow().up_thru_asked;
        if want > asked || now.since(at) > BOOT_AGAIN {
            self.state.borrow_mut().up_thru_asked = (want, now);
            self.send_mon(&MOsdAlive { paxos: self.paxos(), want });
        }
    }

    fn on_mon_message(&self, msg: &Message) {
        match msg.header.kind {
            MOsdMap::KIND => match msg.decode::<MOsdMap>() {
                Ok(m) => self.on_maps(&m, msg.len()),
                Err(_) => self.world.count(|c| c.bad_maps += 1),
            },
            MMonGetVersionReply::KIND => {
                let Ok(m) = msg.decode::<MMonGetVersionReply>() else { return };
                self.state.borrow_mut().newest_known = u32::try_from(m.version).ok();
                self.maybe_boot();
            }
            MMgrMap::KIND => {
                let Ok(m) = msg.decode::<MMgrMap>() else { return };
                let at = (m.map.available && !m.map.active_addrs.is_empty()).then_some(m.map.active_addrs);
                if self.state.borrow().mgr.as_ref().map(|(a, _)| a) != at.as_ref() {
                    self.connect_mgr(at);
                }
            }
            MOsdPgCreate2::KIND => {
                let Ok(m) = msg.decode::<MOsdPgCreate2>() else { return };
                for (pg, (epoch, _)) in m.pgs {
                    if !self.world.create(pg.pg, epoch) {
                        self.send_mon(&MOsdPgCreated { pgid: pg.pg, ..Default::default() });
                    }
                }
                self.wish();
            }
            _ => {}
        }
    }

    fn connect_mgr(&self, at: Option<AddrVec>) {
        let old = {
            let mut s = self.state.borrow_mut();
            s.mgr_open = false;
            s.mgr.take()
        };
        if let Some((_, old)) = old {
            old.mark_down();
        }
        if let (Some(at), Some(m)) = (at, self.messenger.get()) {
            let conn = m.connect(EntityType::MGR, &at);
            self.state.borrow_mut().mgr = Some((at, conn));
        }
    }

    fn is_mgr(&self, conn: &Connection) -> bool {
        self.state.borrow().mgr.as_ref().is_some_and(|(_, c)| c == conn)
    }

    fn mgr_opened(&self) {
        {
            let mut s = self.state.borrow_mut();
            (s.mgr_open, s.declared) = (true, false);
        }
        self.send_mgr(&MMgrOpen {
            daemon_name: self.id.to_string(),
            config: Bytes::from_static(&[0; 8]),
            config_defaults: Bytes::from_static(&[0; 4]),
            ..MMgrOpen::default()
        });
    }

    /// About once a second.
    pub fn tick(&self) {
        let Some(link) = self.link.get() else { return };
        if link.tick() == LinkEvent::Closed {
            self.world.count(|c| c.mon_breaks += 1);
        }
        let again = {
            let s = self.state.borrow();
            s.mgr.as_ref().filter(|(_, c)| c.is_closed()).map(|(a, _)| a.clone())
        };
        if again.is_some() {
            self.connect_mgr(again);
        }
        let now = System::now();
        let (phase, mgr_open) = {
            let s = self.state.borrow();
            (s.phase, s.mgr_open)
        };
        match phase {
            Phase::Booting(at) if now.since(at) >= BOOT_AGAIN => {
                self.state.borrow_mut().phase = Phase::Preboot;
                self.maybe_boot();
            }
            Phase::Active => {
                self.wish();
                if now.since(self.state.borrow().last_beacon) >= BEACON {
                    self.beacon(now);
                }
                if mgr_open && now.since(self.state.borrow().last_stats) >= self.state.borrow().period {
                    self.report(now);
                }
            }
            _ => {}
        }
    }

    fn beacon(&self, now: Utime) {
        self.state.borrow_mut().last_beacon = now;
        let pgs =
            self.world.shares.borrow().get(self.id.0 as usize).map(|s| s.leads.clone()).unwrap_or_default();
        let clean = pgs.iter().filter_map(|p| self.world.pgs.borrow().get(p).map(|p| p.since)).min();
        let min_last_epoch_clean = clean.unwrap_or(Epoch(self.state.borrow().epoch));
        let osd_beacon_report_interval_secs = BEACON.as_secs() as i32;
        self.send_mon(&MOsdBeacon {
            paxos: self.paxos(),
            pgs,
            min_last_epoch_clean,
            osd_beacon_report_interval_secs,
            ..MOsdBeacon::default()
        });
    }

    fn report(&self, now: Utime) {
        {
            let mut s = self.state.borrow_mut();
            // On the beat, however late this tick is.
            let due = s.last_stats + s.period;
            s.last_stats = if now.since(due) < s.period { due } else { now };
        }
        let up_from = self.world.map.borrow().info(self.id).map_or(Epoch(0), |i| i.up_from);
        let secs = now.since(self.started).as_secs() as u32;
        let stats = build::report(self.id, up_from, secs, &self.world, now);
        self.world.count(|c| {
            c.reports += 1;
            c.pgs_reported += stats.pg_stat.len() as u64;
        });
        self.send_mgr(&stats);
        let declared = std::mem::replace(&mut self.state.borrow_mut().declared, true);
        let declare_types = if declared { Vec::new() } else { build::declared() };
        // No slow requests.
        let metric = DaemonHealthMetric { kind: 0, value: 0 };
        self.send_mgr(&MMgrReport {
            daemon_name: self.id.to_string(),
            declare_types,
            packed: build::counters(self.world.counters.get().reports),
            daemon_health_metrics: vec![metric],
            ..MMgrReport::default()
        });
    }
}

impl Dispatcher for Osd {
    fn server_auth(&self, _info: &AcceptInfo) -> Option<Box<dyn ServerAuth>> {
        None
    }
    fn client_auth(&self, peer_type: EntityType, _peer: &AddrVec) -> Option<Box<dyn ClientAuth>> {
        self.link.get()?.client_auth(peer_type)
    }
    fn on_connect(&self, conn: &Connection) {
        match self.link.get().map(|l| l.on_connect(conn)) {
            Some(LinkEvent::Opened) => self.mon_opened(),
            Some(LinkEvent::Pass) if self.is_mgr(conn) => self.mgr_opened(),
            _ => {}
        }
    }
    fn on_message(&self, conn: &Connection, msg: Message, _hold: MsgHold) {
        if self.is_mgr(conn) {
            if let Ok(m) = msg.decode::<MMgrConfigure>() {
                let period = Duration::from_secs(m.stats_period_secs.clamp(1, 300).into());
                self.state.borrow_mut().period = period;
            }
            return;
        }
        match self.link.get().map(|l| l.on_message(conn, &msg)) {
            Some(LinkEvent::Opened) => self.mon_opened(),
            Some(LinkEvent::Pass) => self.on_mon_message(&msg),
            Some(LinkEvent::Closed) => self.world.count(|c| c.mon_breaks += 1),
            _ => {}
        }
    }
    fn on_reset(&self, conn: &Connection) {
        if self.is_mgr(conn) {
            self.state.borrow_mut().mgr_open = false;
            return self.world.count(|c| c.mgr_breaks += 1);
        }
        if self.link.get().is_some_and(|l| l.on_reset(conn) == LinkEvent::Closed) {
            self.world.count(|c| c.mon_breaks += 1);
        }
    }
}
