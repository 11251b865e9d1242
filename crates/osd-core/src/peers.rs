//! Messages: who may say what, heartbeats, failure reports.

use crate::core::{OsdCore, Phase};
use crate::event::{LogLevel, Net, OsdEffect, SessionId};
use crate::heartbeat::{HbAction, HbNet};
use messages::{
    MCommand, MConfig, MMgrMap, MMonCommandAck, MMonGetVersionReply, MOsdBackoff, MOsdFailure, MOsdMap,
    MOsdMarkMeDown, MOsdOp, MOsdOpReply, MOsdPgCreate2, MOsdPing, MPing, Message, PaxosHeader, Payload,
    failure_flags, ping_op,
};
use objstore::ObjectStore;
use pg::{PgAcks, PgMessage};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{AddrVec, EntityType, Epoch, OsdId, Utime};

/// `osd_heartbeat_min_peers`.
const HB_PEERS_MIN: usize = 10;
/// `osd_heartbeat_min_size`: heartbeats are padded to this.
const HB_PADDING: u32 = 2000;
/// An OSD whose lease is lacking is asked for it no more often than this.
const LEASE_AGAIN: Duration = Duration::from_secs(1);

impl OsdCore {
    pub(crate) fn on_message(
        &mut self,
        session: SessionId,
        net: Net,
        msg: Message,
        store: &mut dyn ObjectStore,
    ) {
        let from = msg.src;
        match msg.header.kind {
            MOsdOp::KIND if net == Net::Public => self.on_osd_op(session, &msg, store),
            pg::MSG_LOLIGO_PG if from.kind == EntityType::OSD && net == Net::Cluster => {
                let Some(m) = self.decoded::<PgMessage>(&msg) else { return };
                self.on_pg_message(OsdId(from.num as i32), m, store);
            }
            pg::MSG_LOLIGO_ACKS if from.kind == EntityType::OSD && net == Net::Cluster => {
                let Some(m) = self.decoded::<PgAcks>(&msg) else { return };
                for ack in m.acks {
                    self.on_pg_message(OsdId(from.num as i32), ack.into_message(), store);
                }
            }
            MOsdPing::KIND if from.kind == EntityType::OSD => {
                let Some(m) = self.decoded::<MOsdPing>(&msg) else { return };
                self.on_ping(session, net, OsdId(from.num as i32), m, store);
            }
            MOsdMap::KIND if from.kind == EntityType::OSD => {
                let Some(m) = self.decoded::<MOsdMap>(&msg) else { return };
                self.on_osd_map(&m, store);
            }
            MOsdOpReply::KIND if from.kind == EntityType::OSD && net == Net::Public => {
                self.on_osd_op_reply(&msg, store);
            }
            MCommand::KIND => self.on_tell(session, &msg, store),
            // Stock clients send a bare ping beside their watches' pings, and acknowledge backoffs: no answer.
            MPing::KIND | MOsdBackoff::KIND => {}
            kind => self.log(LogLevel::Debug, format!("message of type {kind} from {from} ignored")),
        }
    }

    pub(crate) fn decoded<P: Payload>(&mut self, msg: &Message) -> Option<P> {
        match msg.decode::<P>() {
            Ok(m) => Some(m),
            Err(e) => {
                self.log(LogLevel::Warn, format!("malformed {} from {}: {e}", P::NAME, msg.src));
                None
            }
        }
    }

    pub(crate) fn on_mon_message(&mut self, msg: Message, store: &mut dyn ObjectStore) {
        match msg.header.kind {
            MOsdMap::KIND => {
                let Some(m) = self.decoded::<MOsdMap>(&msg) else { return };
                self.cluster_oldest = self.cluster_oldest.max(m.oldest);
                self.on_osd_map(&m, store);
            }
            MMonGetVersionReply::KIND => {
                let Some(m) = self.decoded::<MMonGetVersionReply>(&msg) else { return };
                self.on_newest_known(Epoch(m.version as u32), store);
            }
            MOsdPgCreate2::KIND => {
                let Some(m) = self.decoded::<MOsdPgCreate2>(&msg) else { return };
                if m.epoch > self.map.epoch {
                    // The map that it speaks of is on its way. Each PG is named once in a session: orders add up.
                    let waiting = self.creates_waiting.get_or_insert_default();
                    waiting.epoch = waiting.epoch.max(m.epoch);
                    waiting.pgs.extend(m.pgs);
                } else {
                    self.on_pg_create(m, store);
                }
            }
            MMgrMap::KIND => {
                let Some(m) = self.decoded::<MMgrMap>(&msg) else { return };
                self.on_mgr_map(&m.map);
            }
            MConfig::KIND => {
                let Some(m) = self.decoded::<MConfig>(&msg) else { return };
                self.on_config(m.config);
            }
            MOsdMarkMeDown::KIND => {
                if matches!(self.phase, Phase::Stopping { .. }) {
                    self.stop("the monitors have marked me down, as asked".to_owned(), false);
                }
            }
            MMonCommandAck::KIND => {
                let Some(m) = self.decoded::<MMonCommandAck>(&msg) else { return };
                if m.r != 0 {
                    self.log(LogLevel::Warn, format!("the monitor refuses {:?}: {} ({})", m.cmd, m.rs, m.r));
                }
            }
            _ => {}
        }
    }

    fn on_ping(
        &mut self,
        session: SessionId,
        net: Net,
        from: OsdId,
        m: MOsdPing,
        store: &mut dyn ObjectStore,
    ) {
        if m.fsid != self.map.fsid {
            return;
        }
        let side = match net {
            Net::HbBack => HbNet::Back,
            Net::HbFront => HbNet::Front,
            _ => return,
        };
        match m.op {
            ping_op::PING => {
                // With this answer goes our word to wait for it (see `pg::lease`). Stock has no use for the field in it.
                let lease = self.leases.promise(from, self.mono);
                let reply = MOsdPing {
                    fsid: self.map.fsid,
                    map_epoch: self.map.epoch,
                    op: ping_op::PING_REPLY,
                    up_from: self.sb.mounted,
                    delta_ub_ns: i64::try_from(lease.as_nanos()).ok(),
                    ..m.clone()
                };
                self.send(session, Message::new(&reply, Self::features()));
                if self.map.exists(from) && !self.map.is_up(from) && m.map_epoch >= self.down_at(from) {
                    let died = MOsdPing { op: ping_op::YOU_DIED, ..reply };
                    self.send(session, Message::new(&died, Self::features()));
                }
            }
            ping_op::PING_REPLY => {
                let mut actions = Vec::new();
                let ours = self.hb.on_reply(self.hb_now(), from, side, m.ping_stamp, &mut actions);
                self.hb_actions(actions);
                if ours && let Some(ns) = m.delta_ub_ns.and_then(|ns| u64::try_from(ns).ok()) {
                    let asked = Duration::from_nanos(m.ping_stamp.as_nanos());
                    let until = self.leases.usable_until(asked, Duration::from_nanos(ns));
                    self.lease_work.granted |= self.leases.granted(from, m.map_epoch, until);
                }
            }
            ping_op::YOU_DIED if m.map_epoch > self.map.epoch => self.subscribe_maps(),
            _ => {}
        }
        // A peer with newer maps than ours: ours are late, and the monitors know more.
        if m.map_epoch.0 > self.map.epoch.0 + 1 && self.arriving.is_empty() {
            self.subscribe_maps();
        } else if m.map_epoch < self.map.epoch
            && m.op == ping_op::PING
            && let Some(maps) = self.maps_since(m.map_epoch, store)
            && m.map_epoch > Epoch(0)
        {
            self.send(session, maps);
        }
    }

    fn down_at(&self, osd: OsdId) -> Epoch {
        self.map.info(osd).map_or(Epoch(0), |i| i.down_at)
    }

    /// Peers are the OSDs that share a PG with us, and neighbours by number until there are enough.
    pub(crate) fn update_hb_peers(&mut self) {
        self.lease_work.peers_due = false;
        if self.phase != Phase::Active {
            self.hb.set_peers(&BTreeMap::new());
            self.leases.set_peers(&BTreeMap::new());
            return;
        }
        let me = self.cfg.whoami;
        let mut wanted: BTreeMap<OsdId, (Epoch, AddrVec, AddrVec)> = BTreeMap::new();
        let map = self.map.clone();
        let mut add = |osd: OsdId| {
            if osd == me || !map.is_up(osd) {
                return;
            }
            let at = |v: &[AddrVec]| v.get(osd.0 as usize).cloned().unwrap_or_default();
            let up_from = map.info(osd).map_or(Epoch(0), |i| i.up_from);
            wanted.insert(osd, (up_from, at(&map.hb_back_addrs), at(&map.hb_front_addrs)));
        };
        for slot in self.pgs.values() {
            let p = slot.pg.placement();
            p.up.iter().chain(&p.acting).for_each(|osd| add(*osd));
        }
        let after = (me.0 + 1..map.max_osd).chain(0..me.0).map(OsdId).filter(|o| map.is_up(*o));
        after.take(HB_PEERS_MIN).for_each(add);
        self.hb.set_peers(&wanted);
        self.leases.set_peers(&wanted.into_iter().map(|(osd, (up_from, ..))| (osd, up_from)).collect());
    }

    /// The clock of heartbeats: the monotonic one, in the form that pings carry.
    fn hb_now(&self) -> Utime {
        Utime::from_nanos(self.mono.as_nanos() as u64)
    }

    /// How soon the next pings are due.
    pub(crate) fn next_ping(&self) -> Duration {
        if self.phase == Phase::Active { self.hb.next_round(self.hb_now()) } else { Duration::MAX }
    }

    /// What an event has changed about leases: asks for those that PGs lack, tells those that wait of new ones.
    pub(crate) fn settle_leases(&mut self, store: &mut dyn ObjectStore) {
        if self.lease_work.peers_due {
            self.update_hb_peers();
        }
        if std::mem::take(&mut self.lease_work.granted) {
            for pgid in std::mem::take(&mut self.lease_work.waiting) {
                self.pg_event(pgid, pg::PgEvent::LeaseRenewed, store);
            }
        }
        if self.lease_work.wanted.is_empty() || self.phase != Phase::Active {
            return;
        }
        let mut actions = Vec::new();
        for osd in std::mem::take(&mut self.lease_work.wanted) {
            let asked = self.lease_work.asked.get(&osd);
            if asked.is_none_or(|at| self.mono.saturating_sub(*at) >= LEASE_AGAIN) {
                self.lease_work.asked.insert(osd, self.mono);
                self.hb.ping(self.hb_now(), osd, &mut actions);
            }
        }
        self.hb_actions(actions);
    }

    pub(crate) fn tick_heartbeats(&mut self) {
        if self.phase != Phase::Active {
            return;
        }
        let mut actions = Vec::new();
        self.hb.on_tick(self.hb_now(), &mut actions);
        self.hb_actions(actions);
    }

    /// True when the map has the OSD at these addresses now: what is refused at those of an earlier life says nothing.
    pub fn is_at(&self, osd: OsdId, net: Net, addrs: &AddrVec) -> bool {
        let at = match net {
            Net::Public => return self.map.addrs(osd) == Some(addrs),
            Net::Cluster => &self.map.cluster_addrs,
            Net::HbBack => &self.map.hb_back_addrs,
            Net::HbFront => &self.map.hb_front_addrs,
        };
        self.map.is_up(osd) && at.get(osd.0 as usize) == Some(addrs)
    }

    pub(crate) fn on_refused(&mut self, osd: OsdId) {
        let mut actions = Vec::new();
        self.hb.on_refused(self.hb_now(), osd, &mut actions);
        self.hb_actions(actions);
    }

    fn hb_actions(&mut self, actions: Vec<HbAction>) {
        for a in actions {
            match a {
                HbAction::Ping { osd, net, addrs, stamp } => {
                    let ping = MOsdPing {
                        fsid: self.map.fsid,
                        map_epoch: self.map.epoch,
                        op: ping_op::PING,
                        ping_stamp: stamp,
                        up_from: self.sb.mounted,
                        mono_ping_stamp_ns: stamp.as_nanos() as i64,
                        mono_send_stamp_ns: stamp.as_nanos() as i64,
                        delta_ub_ns: None,
                        min_message_size: HB_PADDING,
                    };
                    let msg = Message::new(&ping, Self::features());
                    let net = if net == HbNet::Back { Net::HbBack } else { Net::HbFront };
                    self.out.push(OsdEffect::SendOsd { osd, net, addrs, msg });
                }
                HbAction::ReportFailed { osd, failed_for, immediate } => {
                    self.log(LogLevel::Warn, format!("osd.{osd} does not answer for {failed_for:?}"));
                    let immediate = if immediate { failure_flags::IMMEDIATE } else { 0 };
                    self.report(osd, failure_flags::FAILED | immediate, failed_for.as_secs() as i32);
                }
                HbAction::ReportAlive { osd } => self.report(osd, 0, 0),
            }
        }
    }

    fn report(&mut self, osd: OsdId, flags: u8, failed_for_secs: i32) {
        if !self.map.is_up(osd) {
            return;
        }
        let msg = MOsdFailure {
            paxos: PaxosHeader::new(self.map.epoch.0.into()),
            fsid: self.map.fsid,
            target_osd: osd,
            target_addrs: self.map.addrs(osd).cloned().unwrap_or_default(),
            epoch: self.map.epoch,
            flags,
            failed_for_secs,
        };
        self.send_mon(&msg);
    }
}
