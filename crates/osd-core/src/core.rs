//! [`OsdCore`]: a whole OSD as one machine. This file holds its state and the dispatch of events; what it does with
//! them is in `boot`, `maps`, `pgs`, `client_ops`, `peers`, `reports` and `commands`.
//!
//! Invariants:
//! - Maps are taken in order, durably, before any PG sees them.
//! - Every transaction of a PG is known by its token; commits arrive in queue order.
//! - Nothing a peer says is believed beyond what its session proved.

use crate::config::OsdConfig;
use crate::counters::{Declared, Window};
use crate::event::{LogLevel, OsdEffect, OsdEvent, SessionId};
use crate::heartbeat::Heartbeats;
use crate::mapstore::MapStore;
use crate::pgs::PgSlot;
use crate::session::Session;
use crate::superblock::{LoadError, Superblock};
use crate::tracker::OpTracker;
use denc::Features;
use messages::{MOsdMap, Message, Payload};
use objstore::{CommitToken, ObjectStore, Times};
use pg::{ClientOp, Leases};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use types::osdmap::OsdMap;
use types::{Epoch, OsdId, SpgId, Utime};

/// How far the OSD is in joining the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for a monitor and for maps.
    Preboot,
    /// Has sent `osd_boot`, waits for a map that shows it up.
    Booting {
        /// When it was said last.
        sent: Utime,
    },
    /// The map shows it up.
    Active,
    /// Has said goodbye, waits for a map that shows it down.
    Stopping {
        /// Since when.
        since: Utime,
    },
}

/// Who queued a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenOwner {
    /// New maps up to this epoch.
    Maps(Epoch),
    /// Nobody waits for it.
    Nobody,
    /// A PG.
    Pg(SpgId),
}

/// An op that waits for a newer map, or for its PG to exist.
pub(crate) struct WaitingOp {
    pub epoch: Epoch,
    pub pgid: SpgId,
    pub op: Arc<ClientOp>,
    /// When it came.
    pub since: Utime,
}

/// See the module's documentation.
pub struct OsdCore {
    pub(crate) cfg: OsdConfig,
    pub(crate) sb: Superblock,
    pub(crate) maps: MapStore,
    pub(crate) map: Arc<OsdMap>,
    /// Maps that are queued to the store and not yet durable, ascending.
    pub(crate) arriving: VecDeque<Arc<OsdMap>>,
    pub(crate) phase: Phase,
    /// The shell makes a new cluster address; we announce it when we boot.
    pub(crate) rebinding: bool,
    pub(crate) pgs: BTreeMap<SpgId, PgSlot>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) hb: Heartbeats,
    pub(crate) leases: Leases,
    pub(crate) lease_work: LeaseWork,
    pub(crate) tokens: VecDeque<(CommitToken, TokenOwner)>,
    pub(crate) next_token: u64,
    pub(crate) waiting: VecDeque<WaitingOp>,
    /// Peers' messages for PGs that we do not have, until a newer map came.
    pub(crate) held: VecDeque<(OsdId, pg::PgMessage)>,
    /// Acknowledgements that this event made due: those for one OSD leave as one message.
    pub(crate) acks: BTreeMap<OsdId, Vec<pg::PgAck>>,
    /// A PG was removed in this event.
    pub(crate) pg_dropped: bool,
    /// PGs to create, when the map that the order speaks of is not here yet.
    pub(crate) creates_waiting: Option<messages::MOsdPgCreate2>,
    /// Oldest epoch that the monitors keep.
    pub(crate) cluster_oldest: Epoch,
    pub(crate) tracker: OpTracker,
    pub(crate) copies: crate::copies::Copies,
    pub(crate) limits: osd_ops::Limits,
    pub(crate) random: Box<dyn FnMut() -> u64>,
    pub(crate) mon: MonState,
    pub(crate) mgr: MgrState,
    pub(crate) out: Vec<OsdEffect>,
    pub(crate) now: Utime,
    /// Since the host has started: leases and heartbeats must not depend on steps of the clock.
    pub(crate) mono: Duration,
    pub(crate) last_tick: Utime,
    pub(crate) stopped: bool,
}

/// Leases that PGs wait for.
#[derive(Debug, Default)]
pub(crate) struct LeaseWork {
    /// Who waits.
    pub waiting: BTreeSet<SpgId>,
    /// Whose leases they lack.
    pub wanted: BTreeSet<OsdId>,
    /// When these were pinged for that.
    pub asked: BTreeMap<OsdId, Duration>,
    /// A grant became of use.
    pub granted: bool,
    /// PGs have come since heartbeat peers were chosen.
    pub peers_due: bool,
}

/// What is pending with the monitors.
#[derive(Debug, Default)]
pub(crate) struct MonState {
    pub open: bool,
    /// Newest osdmap epoch that the monitors named.
    pub newest_known: Option<Epoch>,
    pub up_thru_wanted: Epoch,
    pub pg_temp_wanted: BTreeMap<types::PgId, Vec<OsdId>>,
    pub last_beacon: Utime,
    pub boot_epoch: Epoch,
    /// Options that the monitors' config database sets for us.
    pub config: BTreeMap<String, String>,
    pub next_tid: u64,
}

/// What is pending with the manager.
#[derive(Debug, Default)]
pub(crate) struct MgrState {
    pub addrs: Option<types::AddrVec>,
    pub open: bool,
    pub stats_dirty: bool,
    /// Reports sent in this life.
    pub stats_sent: u32,
    /// The process's options; `true` while the manager has not been told.
    pub config: (bytes::Bytes, bool),
    pub last_stats: Utime,
    pub last_report: Utime,
    /// Counters of a lower priority are not reported.
    pub threshold: u32,
    /// What this session has been told of.
    pub declared: Declared,
    /// Times of the journal up to the last report, and those since the one before.
    pub window: Window,
    pub journal: Times,
}

impl MgrState {
    /// The process's options, once after each change of them; else nothing.
    pub(crate) fn news_of_config(&mut self) -> bytes::Bytes {
        match std::mem::take(&mut self.config.1) {
            true => self.config.0.clone(),
            false => bytes::Bytes::new(),
        }
    }
}

impl OsdCore {
    /// Starts from a store that `--mkfs` made. Times are the wall clock and the host's monotonic clock.
    /// PGs are loaded and brought to the newest stored map.
    pub fn load(
        mut cfg: OsdConfig,
        (now, mono): (Utime, Duration),
        random: Box<dyn FnMut() -> u64>,
        store: &mut dyn ObjectStore,
    ) -> Result<OsdCore, LoadError> {
        let sb = Superblock::load(store)?;
        cfg.whoami = sb.whoami;
        if cfg.fsid.is_zero() {
            cfg.fsid = sb.cluster_fsid;
        }
        let mut maps = MapStore::new(cfg.map_cache);
        let map = match maps.get(store, sb.newest_map)? {
            Some(m) => m,
            None => Arc::new(OsdMap { fsid: sb.cluster_fsid, ..OsdMap::default() }),
        };
        let mut leases = Leases::new(Leases::duration_for(cfg.heartbeat.grace));
        // A store that is new may follow one that was lost, under the same number.
        let known = if sb.newest_map > Epoch(0) { sb.newest_map } else { Epoch(u32::MAX) };
        leases.started(known, mono);
        leases.set_epoch(map.epoch);
        let mut core = OsdCore {
            leases,
            lease_work: LeaseWork::default(),
            hb: Heartbeats::new(cfg.heartbeat),
            cfg,
            sb,
            maps,
            map,
            arriving: VecDeque::new(),
            phase: Phase::Preboot,
            rebinding: false,
            pgs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tokens: VecDeque::new(),
            next_token: 0,
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            acks: BTreeMap::new(),
            pg_dropped: false,
            creates_waiting: None,
            cluster_oldest: Epoch(0),
            tracker: OpTracker::default(),
            copies: crate::copies::Copies::default(),
            limits: osd_ops::Limits::default(),
            random,
            mon: MonState::default(),
            mgr: MgrState::default(),
            out: Vec::new(),
            now,
            mono,
            last_tick: Utime::ZERO,
            stopped: false,
        };
        core.load_pgs(store)?;
        Ok(core)
    }

    /// Where the OSD listens; to be told before the first event.
    pub fn set_addrs(&mut self, addrs: crate::config::OsdAddrs) {
        self.cfg.addrs = addrs;
    }
    /// The OSD's number.
    pub fn whoami(&self) -> OsdId {
        self.cfg.whoami
    }
    /// The map that PGs have.
    pub fn map(&self) -> &Arc<OsdMap> {
        &self.map
    }
    /// How far it is in joining.
    pub fn phase(&self) -> Phase {
        self.phase
    }
    /// The PGs.
    pub fn pgs(&self) -> impl Iterator<Item = &pg::Pg> {
        self.pgs.values().map(|s| &s.pg)
    }

    /// Takes one event at a time (of the wall clock, and of the host's monotonic clock); appends what is to be done to `effects`.
    pub fn handle(
        &mut self,
        (now, mono): (Utime, Duration),
        event: OsdEvent,
        store: &mut dyn ObjectStore,
        effects: &mut Vec<OsdEffect>,
    ) {
        if self.stopped {
            return;
        }
        (self.now, self.mono) = (now, mono);
        self.tracker.event_begins();
        std::mem::swap(&mut self.out, effects);
        self.dispatch(event, store);
        self.settle_dropped(store);
        self.settle_copies(store);
        self.settle_leases(store);
        self.settle_acks();
        std::mem::swap(&mut self.out, effects);
    }

    /// True when the time at which the event ended is wanted: by [`OsdCore::handled`].
    pub fn wants_end(&self) -> bool {
        self.tracker.answered_at_once()
    }
    /// The event has been handled, now: what was answered in it took that long.
    pub fn handled(&mut self, now: Utime) {
        self.tracker.event_took(now.since(self.now));
    }

    fn dispatch(&mut self, event: OsdEvent, store: &mut dyn ObjectStore) {
        match event {
            OsdEvent::Message { session, net, msg } => self.on_message(session, net, msg, store),
            OsdEvent::Committed(tokens) => {
                for token in tokens {
                    self.on_committed(token, store);
                }
            }
            OsdEvent::Opened { session, peer, .. } => {
                self.sessions.insert(session, Session::new(*peer));
            }
            OsdEvent::Closed { session } => self.on_closed(session, store),
            OsdEvent::MonOpened => self.on_mon_opened(),
            OsdEvent::MonMessage(msg) => self.on_mon_message(msg, store),
            OsdEvent::MonClosed => self.mon.open = false,
            OsdEvent::MgrOpened => self.on_mgr_opened(),
            OsdEvent::MgrMessage(msg) => self.on_mgr_message(msg, store),
            OsdEvent::MgrClosed => self.mgr.open = false,
            OsdEvent::Rebound(addrs) => {
                self.cfg.addrs.cluster = addrs;
                self.rebinding = false;
                self.maybe_boot(store);
            }
            OsdEvent::Refused { osd } => self.on_refused(osd),
            OsdEvent::StoreFailed(why) => self.stop(format!("the object store failed: {why}"), true),
            OsdEvent::Tick => self.on_tick(store),
            OsdEvent::Configured(config) => self.configured(config),
            OsdEvent::Command { id, cmd } => self.on_admin_command(id, &cmd, store),
            OsdEvent::Shutdown => self.on_shutdown(),
        }
    }

    /// Features to encode for the monitors and other daemons of ours.
    pub(crate) fn features() -> Features {
        Features(types::features::SUPPORTED)
    }

    pub(crate) fn send_mon<P: Payload>(&mut self, payload: &P) {
        if self.mon.open {
            self.mon.next_tid += 1;
            let msg = Message::new(payload, Self::features()).with_tid(self.mon.next_tid);
            self.out.push(OsdEffect::SendMon(msg));
        }
    }

    pub(crate) fn send(&mut self, session: SessionId, msg: Message) {
        self.out.push(OsdEffect::Send { session, msg });
    }

    pub(crate) fn log(&mut self, level: LogLevel, text: String) {
        self.out.push(OsdEffect::Log { level, text });
    }

    pub(crate) fn stop(&mut self, reason: String, failed: bool) {
        self.stopped = true;
        self.out.push(OsdEffect::Stop { reason, failed });
    }

    /// Queues a transaction of the OSD itself.
    pub(crate) fn queue(
        &mut self,
        store: &mut dyn ObjectStore,
        txn: objstore::Transaction,
        owner: TokenOwner,
    ) {
        self.next_token += 1;
        let token = CommitToken(self.next_token);
        match store.queue(txn, token) {
            Ok(()) => self.tokens.push_back((token, owner)),
            Err(e) => self.stop(format!("the object store refused the OSD's metadata: {e}"), true),
        }
    }

    fn on_committed(&mut self, token: CommitToken, store: &mut dyn ObjectStore) {
        // Commits come in queue order; what lies before this token was dropped with its PG.
        while let Some((front, owner)) = self.tokens.front().copied() {
            if front > token {
                break;
            }
            self.tokens.pop_front();
            if front < token {
                continue;
            }
            match owner {
                TokenOwner::Maps(up_to) => self.maps_committed(up_to, store),
                TokenOwner::Nobody => {}
                TokenOwner::Pg(pgid) => self.pg_event(pgid, pg::PgEvent::Committed(token), store),
            }
        }
    }

    fn on_closed(&mut self, session: SessionId, store: &mut dyn ObjectStore) {
        if self.sessions.remove(&session).is_none() {
            return;
        }
        self.waiting.retain(|w| w.op.session != session);
        self.tracker.session_closed(session);
        let ids: Vec<SpgId> = self.pgs.keys().copied().collect();
        for pgid in ids {
            self.pg_event(pgid, pg::PgEvent::SessionReset(session), store);
        }
    }

    fn on_tick(&mut self, store: &mut dyn ObjectStore) {
        let second = self.now.since(self.last_tick) >= Duration::from_secs(1);
        if second {
            self.last_tick = self.now;
            let ids: Vec<SpgId> = self.pgs.keys().copied().collect();
            for pgid in ids {
                self.pg_event(pgid, pg::PgEvent::Tick, store);
            }
            for (session, tid) in self.tracker.sweep(self.now) {
                self.out.push(OsdEffect::Dropped { session, tid });
            }
            self.tick_boot();
            self.trim_maps(store);
        }
        self.tick_heartbeats();
        self.tick_reports(store);
        self.repeat_copies(store);
        let next = if self.mgr.stats_dirty { self.cfg.stats_delay } else { Duration::from_secs(1) };
        self.out.push(OsdEffect::WakeIn(next.min(self.next_ping())));
    }

    /// A map message for a peer that has maps up to `have`: what follows, as incrementals where we can.
    pub(crate) fn maps_since(&self, have: Epoch, store: &dyn ObjectStore) -> Option<Message> {
        let newest = self.map.epoch;
        if have >= newest {
            return None;
        }
        let mut msg =
            MOsdMap { fsid: self.map.fsid, oldest: self.sb.oldest_map, newest, ..MOsdMap::default() };
        let limit = self.cfg.map_message_max as u32;
        let mut next = have.next();
        if have == Epoch(0) || next < self.sb.oldest_map || newest.0 - have.0 > limit {
            next = newest;
        }
        while next <= newest {
            match self.maps.inc_bytes(store, next).ok().flatten() {
                Some(inc)
                    if have > Epoch(0) && next.0 > 1 && next != have && self.follows(&msg, have, next) =>
                {
                    msg.incremental_maps.insert(next, inc);
                }
                _ => {
                    let full = self.maps.full_bytes(store, next).ok().flatten()?;
                    msg.maps.insert(next, full);
                }
            }
            next = next.next();
        }
        Some(Message::new(&msg, Self::features()))
    }

    /// True when an incremental to `next` follows what the peer has or what the message already brings.
    fn follows(&self, msg: &MOsdMap, have: Epoch, next: Epoch) -> bool {
        let before = Epoch(next.0 - 1);
        before == have || msg.maps.contains_key(&before) || msg.incremental_maps.contains_key(&before)
    }
}
