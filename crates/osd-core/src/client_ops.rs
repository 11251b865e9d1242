//! Client ops: from the message to the PG. Session, map epoch, blocklist, caps; ops that must wait.

use crate::core::{OsdCore, WaitingOp};
use crate::event::{LogLevel, OsdEffect, SessionId};
use cephx::caps::{ClassCall, OsdOpInfo};
use denc::Features;
use messages::{MOsdOp, MOsdOpReply, Message};
use objstore::ObjectStore;
use pg::{ClientOp, ClusterMap, PgEvent};
use std::sync::Arc;
use types::{EntityType, Epoch, Errno, HObject, SpgId, Utime};

impl OsdCore {
    pub(crate) fn session_features(&self, session: SessionId) -> Features {
        self.sessions.get(&session).map_or(Self::features(), |s| Features(s.peer.features))
    }

    pub(crate) fn on_osd_op(&mut self, session: SessionId, msg: &Message, store: &mut dyn ObjectStore) {
        let Some(m) = self.decoded::<MOsdOp>(msg) else { return };
        let Some(s) = self.sessions.get(&session) else { return };
        let pgid = m.pgid;
        let addr = s.peer.addr;
        if self.map.is_blocklisted(&addr) && s.peer.name.kind == EntityType::CLIENT {
            return self.refuse(session, msg.header.tid, &m, Errno::ESHUTDOWN);
        }
        let oid = HObject {
            key: if m.locator.key == m.oid { Default::default() } else { m.locator.key.clone() },
            name: m.oid.clone(),
            snap: m.snapid,
            hash: m.hash,
            max: false,
            nspace: m.locator.nspace.clone(),
            pool: m.locator.pool,
        }
        .owned();
        let op = ClientOp {
            session,
            tid: msg.header.tid,
            reqid: m.request_id(s.peer.name, msg.header.tid),
            addr,
            features: s.peer.features,
            oid,
            epoch: m.epoch,
            flags: m.flags.0,
            mtime: m.mtime,
            snapc: m.snapc,
            retry_attempt: m.retry_attempt,
            ops: m.ops,
        };
        if m.epoch > self.map.epoch {
            self.wait(m.epoch, pgid, Arc::new(op), self.now);
            return self.subscribe_maps();
        }
        self.share_map(session, m.epoch, store);
        self.run_op(pgid, Arc::new(op), self.now, store);
    }

    /// An op that came at `since`, on a map that we have.
    fn run_op(&mut self, pgid: SpgId, op: Arc<ClientOp>, since: Utime, store: &mut dyn ObjectStore) {
        if op.oid.pool != pgid.pg.pool {
            return self.refuse_op(pgid, &op, Errno::EINVAL);
        }
        match self.allowed(pgid, &op) {
            Ok(true) => {}
            Ok(false) => {
                let entity =
                    self.sessions.get(&op.session).map(|s| s.peer.entity.clone()).unwrap_or_default();
                self.log(LogLevel::Debug, format!("{entity}: no caps for {} in {pgid}", op.oid));
                return self.refuse_op(pgid, &op, Errno::EPERM);
            }
            Err(e) => return self.refuse_op(pgid, &op, e),
        }
        if self.pgs.get(&pgid).is_some_and(|s| s.pg.state() != pg::PgState::Gone) {
            self.tracker.started(&op, pgid, since);
            return self.pg_event(pgid, PgEvent::ClientOp(op), store);
        }
        // Ours by the map, but not created yet: it comes. Else the client has an old map and will send again.
        let placement = crate::view::MapView(self.map.clone()).placement(pgid.pg);
        if placement.acting_primary == Some(self.cfg.whoami) {
            self.wait(Epoch(0), pgid, op, since);
        } else {
            self.out.push(OsdEffect::Dropped { session: op.session, tid: op.tid });
        }
    }

    /// The session's caps against what the op does.
    fn allowed(&self, pgid: SpgId, op: &ClientOp) -> Result<bool, Errno> {
        let Some(s) = self.sessions.get(&op.session) else { return Ok(false) };
        if s.allow_all {
            return Ok(true);
        }
        let class = osd_ops::classify(&op.ops, &self.limits)?;
        let Some(pool) = self.map.pool(pgid.pg.pool) else { return Ok(true) };
        let calls: Vec<ClassCall<'_>> = class
            .class_calls
            .iter()
            .map(|c| ClassCall {
                class: &c.class,
                method: &c.method,
                read: c.reads,
                write: c.writes,
                allowed_list: true,
            })
            .collect();
        let namespace = String::from_utf8_lossy(&op.oid.nspace);
        let object = String::from_utf8_lossy(op.oid.effective_key());
        let info = OsdOpInfo {
            pool: self.map.pool_name(pgid.pg.pool).unwrap_or_default(),
            namespace: &namespace,
            app_metadata: &pool.application_metadata,
            object: &object,
            may_read: class.may_read,
            may_write: class.may_write,
            classes: &calls,
        };
        Ok(s.caps.is_capable(&info, &op.addr))
    }

    fn wait(&mut self, epoch: Epoch, pgid: SpgId, op: Arc<ClientOp>, since: Utime) {
        // The newest sending of an op is the one to answer.
        self.waiting.retain(|w| w.op.session != op.session || w.op.tid != op.tid);
        if self.waiting.len() >= self.cfg.waiting_ops_max {
            self.log(LogLevel::Warn, "too many ops wait for a map: the oldest is dropped".to_owned());
            if let Some(w) = self.waiting.pop_front() {
                self.out.push(OsdEffect::Dropped { session: w.op.session, tid: w.op.tid });
            }
        }
        self.waiting.push_back(WaitingOp { epoch, pgid, op, since });
    }

    /// Runs what no longer has to wait.
    pub(crate) fn take_waiting(&mut self, store: &mut dyn ObjectStore) {
        if let Some(m) = self.creates_waiting.take() {
            if m.epoch > self.map.epoch {
                self.creates_waiting = Some(m);
            } else {
                self.on_pg_create(m, store);
            }
        }
        for w in std::mem::take(&mut self.waiting) {
            if w.epoch > self.map.epoch {
                self.waiting.push_back(w);
            } else {
                self.run_op(w.pgid, w.op, w.since, store);
            }
        }
    }

    /// Sends a client the maps that it lacks, once for each.
    fn share_map(&mut self, session: SessionId, has: Epoch, store: &dyn ObjectStore) {
        let newest = self.map.epoch;
        let Some(s) = self.sessions.get_mut(&session) else { return };
        let have = has.max(s.last_map);
        s.last_map = have.max(newest);
        if have < newest
            && let Some(maps) = self.maps_since(have, store)
        {
            self.send(session, maps);
        }
    }

    fn refuse_op(&mut self, pgid: SpgId, op: &ClientOp, errno: Errno) {
        let m = MOsdOpReply {
            oid: op.oid.name.clone(),
            pgid: pgid.pg,
            flags: messages::OsdFlags(op.flags),
            result: errno.negated(),
            bad_replay_version: Default::default(),
            epoch: self.map.epoch,
            ops: Vec::new(),
            retry_attempt: op.retry_attempt,
            replay_version: Default::default(),
            user_version: 0,
            redirect: None,
        };
        let msg = Message::new(&m, self.session_features(op.session)).with_tid(op.tid);
        self.send(op.session, msg);
    }

    fn refuse(&mut self, session: SessionId, tid: u64, m: &MOsdOp, errno: Errno) {
        let reply = MOsdOpReply::to(m, errno.negated(), self.map.epoch);
        let msg = Message::new(&reply, self.session_features(session)).with_tid(tid);
        self.send(session, msg);
    }
}
