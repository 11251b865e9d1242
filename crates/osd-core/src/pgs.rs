//! PGs of this OSD: loading, creating, feeding events, carrying out their effects.

use crate::core::{OsdCore, TokenOwner};
use crate::event::{LogLevel, Net, OsdEffect};
use crate::superblock::LoadError;
use crate::view::MapView;
use messages::{MOsdOpReply, MOsdPgCreate2, MWatchNotify, Message, OpReply};
use objstore::{CommitToken, ObjectStore};
use pg::{
    ClientReply, ClusterMap, Pg, PgAck, PgAcks, PgCtx, PgEffect, PgEvent, PgHistory, PgInit, PgMessage, PgMsg,
};
use std::sync::Arc;
use types::osdmap::OsdMap;
use types::{Epoch, OsdId, SpgId};

/// A PG and what the OSD keeps beside it.
pub struct PgSlot {
    /// The PG.
    pub pg: Pg,
    /// Set when the PG is gone: it is dropped when this transaction commits.
    pub gone_at: Option<CommitToken>,
}

impl OsdCore {
    fn pg_init(&self, pgid: SpgId) -> PgInit {
        PgInit {
            pgid,
            whoami: self.cfg.whoami,
            config: self.cfg.pg.clone(),
            engine: Box::new(pg::OsdOpsEngine::new(pgid, self.cfg.whoami)),
        }
    }

    /// Loads every stored PG and brings it to the current map.
    pub(crate) fn load_pgs(&mut self, store: &mut dyn ObjectStore) -> Result<(), LoadError> {
        for pgid in pg::stored_pgs(store) {
            let damaged = |why: pg::PgError| LoadError::Pg { pgid, why: why.to_string() };
            let epoch = pg::stored_epoch(store, pgid).map_err(damaged)?;
            let from = epoch.max(self.sb.oldest_map);
            let Some(map) = self.maps.get(store, from)? else {
                return Err(LoadError::Pg { pgid, why: format!("osdmap {from} is not in the store") });
            };
            let loaded = Pg::load(self.pg_init(pgid), MapView::shared(&map), store).map_err(damaged)?;
            self.pgs.insert(pgid, PgSlot { pg: loaded, gone_at: None });
            self.advance_pg(pgid, store)?;
        }
        Ok(())
    }

    /// Feeds a PG every map between its own and the current one.
    pub(crate) fn advance_pg(&mut self, pgid: SpgId, store: &mut dyn ObjectStore) -> Result<(), LoadError> {
        let Some(slot) = self.pgs.get(&pgid) else { return Ok(()) };
        let mut epoch = slot.pg.epoch().next();
        while epoch <= self.map.epoch {
            if let Some(map) = self.maps.get(store, epoch)? {
                self.pg_event(pgid, PgEvent::AdvMap(MapView::shared(&map)), store);
            }
            epoch = epoch.next();
        }
        Ok(())
    }

    /// Gives a PG one event and carries out what it wants.
    pub(crate) fn pg_event(&mut self, pgid: SpgId, event: PgEvent, store: &mut dyn ObjectStore) {
        let Some(slot) = self.pgs.get_mut(&pgid) else { return };
        let mut effects = Vec::new();
        let before = self.next_token;
        let mut ctx = PgCtx {
            now: self.now,
            mono: self.mono,
            leases: &mut self.leases,
            store,
            next_token: &mut self.next_token,
            random: &mut *self.random,
            out: &mut effects,
        };
        slot.pg.handle(&mut ctx, event);
        self.pg_done(pgid, before, effects);
        if self.pgs.get(&pgid).is_some_and(|s| s.gone_at.is_some_and(|t| !s.pg.has_pending(t))) {
            self.pgs.remove(&pgid);
            self.pg_dropped = true;
        }
    }

    /// Claims the tokens that a PG drew and carries out its effects.
    fn pg_done(&mut self, pgid: SpgId, before: u64, effects: Vec<PgEffect>) {
        for token in before + 1..=self.next_token {
            self.tokens.push_back((CommitToken(token), TokenOwner::Pg(pgid)));
        }
        for e in effects {
            self.pg_effect(pgid, e);
        }
    }

    fn pg_effect(&mut self, pgid: SpgId, effect: PgEffect) {
        match effect {
            PgEffect::SendToOsd { osd, epoch, msg: PgMsg::RepOpAck(ack) } => {
                self.acks.entry(osd).or_default().push(PgAck { pgid, epoch, ack });
            }
            PgEffect::SendToOsd { osd, epoch, msg } => self.send_pg(pgid, &[osd], epoch, msg),
            PgEffect::SendToOsds { osds, epoch, msg } => self.send_pg(pgid, &osds, epoch, msg),
            PgEffect::ReplyClient(reply) => self.reply_client(pgid, reply),
            PgEffect::CopyFrom { op, requests } => self.start_copy(pgid, op, requests),
            PgEffect::WatchNotify { session, notify } => {
                let features = self.session_features(session);
                // The answers to a completed notify travel as data, a notify's own payload in front.
                let complete = notify.opcode == messages::osd::watch_event::NOTIFY_COMPLETE;
                let (payload, data) = if complete {
                    (Default::default(), notify.payload)
                } else {
                    (notify.payload, Default::default())
                };
                let m = MWatchNotify {
                    msg_ver: 1,
                    data,
                    opcode: notify.opcode,
                    cookie: notify.cookie,
                    ver: notify.version,
                    notify_id: notify.notify_id,
                    payload,
                    return_code: notify.return_code,
                    notifier_gid: notify.notifier_gid,
                };
                self.send(session, Message::new(&m, features));
            }
            PgEffect::NeedLease(osds) => {
                self.lease_work.waiting.insert(pgid);
                self.lease_work.wanted.extend(osds);
            }
            PgEffect::RequestUpThru(epoch) => self.want_up_thru(epoch),
            PgEffect::RequestPgTemp { pgid, osds } => self.want_pg_temp(pgid, osds),
            PgEffect::StatsDirty => self.stats_changed(),
            PgEffect::Created(pg) => {
                self.send_mon(&messages::MOsdPgCreated { pgid: pg, ..Default::default() })
            }
            PgEffect::Gone(id) => {
                let token = CommitToken(self.next_token);
                if let Some(slot) = self.pgs.get_mut(&id) {
                    slot.gone_at = Some(token);
                }
            }
            PgEffect::StoreFailed(why) => self.stop(why, true),
            PgEffect::ClusterLog { error, text } => {
                self.log(if error { LogLevel::Error } else { LogLevel::Warn }, text);
            }
        }
    }

    fn send_pg(&mut self, pgid: SpgId, osds: &[OsdId], epoch: Epoch, body: PgMsg) {
        if let PgMsg::Push(p) = &body {
            let bytes: u64 = p.data.iter().map(|(_, d)| d.len() as u64).sum();
            self.tracker.counters.pushed(osds.len() as u64, bytes, p.first);
        }
        let msg = Message::new(&PgMessage { pgid, epoch, body }, Self::features());
        for osd in osds {
            // What a PG says keeps its order.
            if let Some(acks) = self.acks.remove(osd) {
                self.send_acks(*osd, acks);
            }
            self.send_cluster(*osd, msg.clone());
        }
    }
    /// Acknowledgements leave at the end of the event that made them due.
    pub(crate) fn settle_acks(&mut self) {
        while let Some((osd, acks)) = self.acks.pop_first() {
            self.send_acks(osd, acks);
        }
    }
    fn send_acks(&mut self, osd: OsdId, acks: Vec<PgAck>) {
        self.send_cluster(osd, Message::new(&PgAcks { acks }, Self::features()));
    }
    fn send_cluster(&mut self, osd: OsdId, msg: Message) {
        // To one that went down meanwhile, nothing: the PG will hear of it with the next interval.
        let addrs = self.map.cluster_addrs.get(osd.0 as usize).filter(|a| !a.is_empty());
        if let Some(addrs) = addrs.filter(|_| self.map.is_up(osd)).cloned() {
            self.out.push(OsdEffect::SendOsd { osd, net: Net::Cluster, addrs, msg });
        }
    }

    fn reply_client(&mut self, pgid: SpgId, reply: ClientReply) {
        if reply.op.session == crate::copies::OURSELVES {
            return self.on_own_reply(reply);
        }
        let op = &reply.op;
        let out_bytes = reply.outputs.iter().map(|(_, data)| data.len() as u64).sum();
        self.tracker.finished(op.session, op.tid, out_bytes, self.now);
        let ops = op
            .ops
            .iter()
            .zip(reply.outputs)
            .map(|(o, (rval, data))| OpReply { op: messages::OsdOp { data, ..o.clone() }, rval })
            .collect();
        let mut m = MOsdOpReply {
            oid: op.oid.name.clone(),
            pgid: pgid.pg,
            flags: messages::OsdFlags(op.flags | reply.flags),
            result: reply.result,
            bad_replay_version: Default::default(),
            epoch: self.map.epoch,
            ops,
            retry_attempt: op.retry_attempt,
            replay_version: Default::default(),
            user_version: 0,
            redirect: None,
        };
        m.set_versions(reply.version, reply.user_version);
        let features = self.session_features(op.session);
        let msg = Message::new(&m, features).with_tid(op.tid);
        self.send(op.session, msg);
    }

    /// The monitors want PGs created that this OSD leads.
    pub(crate) fn on_pg_create(&mut self, msg: MOsdPgCreate2, store: &mut dyn ObjectStore) {
        for (pgid, (created, _stamp)) in msg.pgs {
            if self.pgs.contains_key(&pgid) {
                // The monitor has not heard: say it again.
                self.send_mon(&messages::MOsdPgCreated { pgid: pgid.pg, ..Default::default() });
                continue;
            }
            let history = PgHistory {
                epoch_created: created,
                last_epoch_started: created,
                last_interval_started: created,
                last_epoch_clean: created,
                last_interval_clean: created,
                same_interval_since: created,
                same_up_since: created,
                same_primary_since: created,
            };
            let from = created.max(self.sb.oldest_map);
            let placement = MapView(self.map.clone()).placement(pgid.pg);
            if placement.acting_primary == Some(self.cfg.whoami) && from <= self.map.epoch {
                self.create_pg(pgid, history, Vec::new(), from, store);
            }
        }
    }

    /// Creates a PG as of the map of `from` and brings it to the current one.
    pub(crate) fn create_pg(
        &mut self,
        pgid: SpgId,
        history: PgHistory,
        past: Vec<pg::PastInterval>,
        from: Epoch,
        store: &mut dyn ObjectStore,
    ) {
        let map = match self.maps.get(store, from) {
            Ok(Some(m)) => m,
            Ok(None) => self.map.clone(),
            Err(e) => return self.stop(format!("osdmap {from}: {e}"), true),
        };
        let mut effects = Vec::new();
        let before = self.next_token;
        let init = self.pg_init(pgid);
        let mut ctx = PgCtx {
            now: self.now,
            mono: self.mono,
            leases: &mut self.leases,
            store,
            next_token: &mut self.next_token,
            random: &mut *self.random,
            out: &mut effects,
        };
        let made = Pg::create(init, MapView::shared(&map), history, past, &mut ctx);
        self.pgs.insert(pgid, PgSlot { pg: made, gone_at: None });
        self.lease_work.peers_due = true;
        self.pg_done(pgid, before, effects);
        if let Err(e) = self.advance_pg(pgid, store) {
            return self.stop(format!("pg {pgid}: {e}"), true);
        }
        self.pg_event(pgid, PgEvent::ActMap, store);
        self.take_waiting(store);
    }

    /// A copy of a PG on another OSD speaks.
    pub(crate) fn on_pg_message(&mut self, from: OsdId, m: PgMessage, store: &mut dyn ObjectStore) {
        if let Some(slot) = self.pgs.get(&m.pgid) {
            if slot.pg.state() == pg::PgState::Gone {
                // Its removal is under way. What is said meanwhile is to a copy that may begin anew behind it.
                return self.hold(from, m);
            }
            return self.pg_event(m.pgid, PgEvent::Message { from, epoch: m.epoch, msg: m.body }, store);
        }
        // A PG that we do not have: the sender's words decide whether we should.
        let map = MapView(self.map.clone());
        let leases = (&self.leases, self.mono);
        match pg::absent::answer(m.pgid, self.cfg.whoami, from, m.epoch, &m.body, &map, leases) {
            pg::absent::Absent::Ignore => {}
            pg::absent::Absent::Hold => self.hold_for_map(from, m),
            pg::absent::Absent::Reply(body) => self.send_pg(m.pgid, &[from], self.map.epoch, body),
            pg::absent::Absent::Create { history, past_intervals } => {
                self.create_pg(m.pgid, history, past_intervals, m.epoch, store);
                self.pg_event(m.pgid, PgEvent::Message { from, epoch: m.epoch, msg: m.body }, store);
            }
        }
    }

    /// Feeds new maps to every PG.
    pub(crate) fn advance_all(&mut self, maps: &[Arc<OsdMap>], store: &mut dyn ObjectStore) {
        let ids: Vec<SpgId> = self.pgs.keys().copied().collect();
        for map in maps {
            let view = MapView::shared(map);
            for pgid in &ids {
                self.pg_event(*pgid, PgEvent::AdvMap(view.clone()), store);
            }
        }
    }

    /// Tells every PG to act on the newest map.
    pub(crate) fn activate_all(&mut self, store: &mut dyn ObjectStore) {
        let ids: Vec<SpgId> = self.pgs.keys().copied().collect();
        for pgid in ids {
            self.pg_event(pgid, PgEvent::ActMap, store);
        }
    }
}

/// Which maps PGs still need: nothing below the oldest epoch that some PG has taken in.
pub(crate) fn oldest_needed(core: &OsdCore) -> Epoch {
    core.pgs.values().map(|s| s.pg.persisted_epoch()).min().unwrap_or(core.map.epoch)
}
