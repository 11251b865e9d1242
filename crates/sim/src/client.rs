//! A simulated client: what the Objecter of librados does. Targets come from the client's own map; a request is sent
//! again, under the same tid, when its PG's interval changes or its session breaks.

use crate::model::Seen;
use crate::net::{Chan, End, Node, Sid};
use crate::oracle::AskId;
use crate::osd_shell::address;
use crate::world::{Ev, MS, SEC, World};
use bytes::Bytes;
use denc::{Decoder, Features};
use messages::mon::{SubItem, pool_op};
use messages::{
    MMonSubscribe, MOsdMap, MOsdOp, MOsdOpReply, MPoolOp, MPoolOpReply, Message, OpCode, OsdFlags, OsdOp,
    PaxosHeader, Payload,
};
use std::collections::{BTreeMap, BTreeSet};
use types::osdmap::{OsdMap, OsdMapIncremental, UpActing};
use types::{Epoch, ObjectLocator, OsdId, PgId, PoolId, SnapContext, SnapId, SpgId};

/// A request of a client.
pub struct Op {
    /// The oracle's name for it.
    pub ask: AskId,
    /// Pool.
    pub pool: PoolId,
    /// Object.
    pub name: String,
    /// It writes.
    pub write: bool,
    /// Operations.
    pub ops: Vec<OsdOp>,
    /// Snapshot to read.
    pub snap: Option<u64>,
    /// For writes.
    pub snapc: SnapContext,
    /// Range of a read's data.
    pub range: (u64, u64),
    /// Who it was sent to, and how its PG was placed then.
    pub target: Option<(OsdId, UpActing)>,
    /// Session that it was sent on.
    pub sent_on: Option<Sid>,
    /// Times that it was sent.
    pub attempts: i32,
    /// When it was made.
    pub since: u64,
}

/// A client.
pub struct Client {
    /// Its global id.
    pub gid: u64,
    /// Its map.
    pub map: OsdMap,
    /// Session with the monitor.
    mon: Option<Sid>,
    /// Sessions with OSDs.
    sessions: BTreeMap<OsdId, Sid>,
    /// Requests without an answer, by tid.
    pub ops: BTreeMap<u64, Op>,
    next_tid: u64,
    /// Snapshot requests without an answer.
    pub pool_ops: BTreeMap<u64, MPoolOp>,
}

impl Client {
    /// A client that knows nothing yet.
    pub fn new(c: usize) -> Client {
        Client {
            gid: 4100 + c as u64,
            map: OsdMap::default(),
            mon: None,
            sessions: BTreeMap::new(),
            ops: BTreeMap::new(),
            next_tid: 0,
            pool_ops: BTreeMap::new(),
        }
    }
    fn tid(&mut self) -> u64 {
        self.next_tid += 1;
        self.next_tid
    }
}

const FEATURES: Features = Features(types::features::SUPPORTED);

impl World {
    pub(crate) fn link_client_mon(&mut self, c: usize) {
        let sid = self.connect(End { node: Node::Client(c), inc: 1 }, crate::mon::mon_address());
        self.clients[c].mon = sid;
        if sid.is_none() {
            self.after(SEC, Ev::ClientMonLink(c));
        }
    }

    pub(crate) fn client_mon_opened(&mut self, c: usize, sid: Sid) {
        self.clients[c].mon = Some(sid);
        self.client_subscribe(c);
        let again: Vec<(u64, MPoolOp)> =
            self.clients[c].pool_ops.iter().map(|(t, m)| (*t, m.clone())).collect();
        for (tid, m) in again {
            self.send(sid, 0, Message::new(&m, FEATURES).with_tid(tid));
        }
    }

    fn client_subscribe(&mut self, c: usize) {
        let client = &self.clients[c];
        let Some(sid) = client.mon else { return };
        let start = if client.map.epoch == Epoch(0) { 0 } else { u64::from(client.map.epoch.0) + 1 };
        let what = [("osdmap".to_owned(), SubItem { start, flags: 0 })].into();
        let m = MMonSubscribe { what, ..Default::default() };
        self.send(sid, 0, Message::new(&m, FEATURES));
    }

    /// Asks the monitor for a change of a pool's snapshots.
    pub fn client_pool_op(&mut self, c: usize, pool: PoolId, op: u32, snap: u64) {
        let fsid = self.fsid;
        let client = &mut self.clients[c];
        let tid = client.tid();
        let m = MPoolOp {
            paxos: PaxosHeader::default(),
            fsid,
            pool: pool.0 as u32,
            op,
            auid: 0,
            snapid: SnapId(snap),
            name: String::new(),
            pad: 0,
            crush_rule: -1,
        };
        client.pool_ops.insert(tid, m.clone());
        if let Some(sid) = client.mon {
            self.send(sid, 0, Message::new(&m, FEATURES).with_tid(tid));
        }
    }

    /// A new request.
    pub fn client_ask(&mut self, c: usize, op: Op) {
        let client = &mut self.clients[c];
        let tid = client.tid();
        client.ops.insert(tid, op);
        self.client_send(c, tid);
    }

    pub(crate) fn target_of(&self, c: usize, pool: PoolId, name: &str) -> Option<(PgId, u32, UpActing)> {
        let map = &self.clients[c].map;
        let raw = map.object_to_raw_pg(&ObjectLocator::pool(pool), name.as_bytes())?;
        let pg = map.raw_pg_to_pg(raw)?;
        Some((pg, raw.seed, map.pg_to_up_acting_osds(pg)?))
    }

    fn client_send(&mut self, c: usize, tid: u64) {
        let Some(op) = self.clients[c].ops.get(&tid) else { return };
        let (pool, name) = (op.pool, op.name.clone());
        let target = self.target_of(c, pool, &name);
        let primary = target.as_ref().and_then(|(_, _, ua)| ua.acting_primary);
        let (Some((pg, seed, ua)), Some(osd)) = (target, primary) else {
            if let Some(op) = self.clients[c].ops.get_mut(&tid) {
                op.target = None;
            }
            return self.client_subscribe(c);
        };
        let Some(sid) = self.client_session(c, osd) else { return };
        let now = self.utime();
        let client = &mut self.clients[c];
        let epoch = client.map.epoch;
        let Some(op) = client.ops.get_mut(&tid) else { return };
        op.target = Some((osd, ua));
        op.sent_on = Some(sid);
        let mut m = MOsdOp::new(
            SpgId::replicated(pg),
            seed,
            epoch,
            ObjectLocator::pool(pool),
            Bytes::copy_from_slice(name.as_bytes()),
            op.ops.clone(),
        );
        m.flags |= if op.write { OsdFlags::WRITE } else { OsdFlags::READ };
        if op.attempts > 0 {
            m.flags |= OsdFlags::RETRY;
        }
        m.mtime = now;
        m.retry_attempt = op.attempts;
        m.snapid = op.snap.map_or(SnapId::HEAD, SnapId);
        m.snapc = op.snapc.clone();
        if op.attempts > 0 {
            self.stats.resends += 1;
        }
        op.attempts += 1;
        self.send(sid, 0, Message::new(&m, FEATURES).with_tid(tid));
    }

    /// The session with an OSD as the client's map has it.
    fn client_session(&mut self, c: usize, osd: OsdId) -> Option<Sid> {
        let addr = self.clients[c].map.addrs(osd).and_then(|a| a.0.first().copied())?;
        if let Some(sid) = self.clients[c].sessions.get(&osd).copied() {
            match self.net.sessions.get(&sid) {
                Some(s) if !s.ended[0] && s.target == addr => return Some(sid),
                Some(s) if !s.ended[0] => self.leave(sid, 0),
                _ => {}
            }
        }
        let sid = self.connect(End { node: Node::Client(c), inc: 1 }, addr)?;
        self.clients[c].sessions.insert(osd, sid);
        Some(sid)
    }

    pub(crate) fn client_session_ended(&mut self, c: usize, sid: Sid, chan: Chan) {
        if chan == Chan::Mon {
            if self.clients[c].mon == Some(sid) {
                self.clients[c].mon = None;
                let wait = self.rng.range(50 * MS, 2 * SEC);
                self.after(wait, Ev::ClientMonLink(c));
            }
            return;
        }
        let client = &mut self.clients[c];
        let Some(osd) = client.sessions.iter().find(|(_, s)| **s == sid).map(|(o, _)| *o) else { return };
        client.sessions.remove(&osd);
        let again: Vec<u64> = client
            .ops
            .iter()
            .filter(|(_, op)| op.target.as_ref().is_some_and(|(o, _)| *o == osd))
            .map(|(t, _)| *t)
            .collect();
        for tid in again {
            self.client_send(c, tid);
        }
        // It may be down: the monitor knows.
        self.client_subscribe(c);
    }

    pub(crate) fn client_message(&mut self, c: usize, _sid: Sid, _chan: Chan, msg: Message) {
        match msg.header.kind {
            MOsdMap::KIND => self.client_map(c, &msg),
            MOsdOpReply::KIND => self.client_reply(c, &msg),
            MPoolOpReply::KIND => {
                let Ok(m) = msg.decode::<MPoolOpReply>() else { return };
                if let Some(asked) = self.clients[c].pool_ops.remove(&msg.header.tid) {
                    self.snap_answered(c, &asked, &m);
                }
            }
            _ => {}
        }
    }

    fn client_map(&mut self, c: usize, msg: &Message) {
        let m = match msg.decode::<MOsdMap>() {
            Ok(m) => m,
            Err(e) => return self.fail(format!("client {c}: bad osd_map: {e}")),
        };
        let before = self.clients[c].map.epoch;
        let mut map = self.clients[c].map.clone();
        let last = m.last_epoch();
        // Requests whose target was elsewhere in some epoch: a primary that was not one for a while has dropped them.
        let mut moved: BTreeSet<u64> = BTreeSet::new();
        while map.epoch < last {
            let next = map.epoch.next();
            let inc = m.incremental_maps.get(&next).filter(|_| map.epoch > Epoch(0));
            if let Some(b) = inc {
                let inc = match denc::from_bytes::<OsdMapIncremental>(b) {
                    Ok(i) => i,
                    Err(e) => return self.fail(format!("client {c}: bad incremental {next}: {e}")),
                };
                if let Err(e) = map.apply_incremental(&inc) {
                    return self.fail(format!("client {c}: incremental {next} does not apply: {e}"));
                }
            } else if let Some((_, b)) = m.maps.range(next..).next() {
                map = match denc::from_bytes::<OsdMap>(b) {
                    Ok(m) => m,
                    Err(e) => return self.fail(format!("client {c}: bad full map: {e}")),
                };
                moved.extend(self.clients[c].ops.keys());
            } else {
                // A gap: the monitor fills it.
                self.client_subscribe(c);
                break;
            }
            self.clients[c].map = map.clone();
            moved.extend(self.moved_requests(c));
        }
        if map.epoch == before {
            return;
        }
        self.client_retarget(c, &moved);
    }

    /// Requests that the map places elsewhere than where they went.
    fn moved_requests(&self, c: usize) -> Vec<u64> {
        let moved = |op: &Op| match (&op.target, &self.target_of(c, op.pool, &op.name)) {
            (Some((_, was)), Some((_, _, is))) => was != is,
            (None, None) => false,
            _ => true,
        };
        self.clients[c].ops.iter().filter(|(_, op)| moved(op)).map(|(tid, _)| *tid).collect()
    }

    /// Sends again what new maps place differently.
    fn client_retarget(&mut self, c: usize, moved: &BTreeSet<u64>) {
        let tids: Vec<u64> = self.clients[c].ops.keys().copied().collect();
        for tid in tids {
            let Some(op) = self.clients[c].ops.get(&tid) else { continue };
            let changed = moved.contains(&tid);
            let addr_changed = match &op.target {
                Some((osd, _)) => {
                    let addr = self.clients[c].map.addrs(*osd).and_then(|a| a.0.first().copied());
                    let sid = self.clients[c].sessions.get(osd);
                    let target = sid.and_then(|s| self.net.sessions.get(s)).map(|s| s.target);
                    // Another request may have opened the session with the new address already.
                    target != addr || op.sent_on != sid.copied()
                }
                None => false,
            };
            if changed || addr_changed {
                self.client_send(c, tid);
            }
        }
    }

    pub(crate) fn on_client_tick(&mut self, c: usize) {
        let laggy = self.clients[c].ops.values().any(|o| o.since + 5 * SEC < self.now || o.target.is_none());
        if laggy || self.clients[c].map.epoch == Epoch(0) {
            self.client_subscribe(c);
        }
        self.after(5 * SEC, Ev::ClientTick(c));
    }

    fn client_reply(&mut self, c: usize, msg: &Message) {
        let m = match msg.decode::<MOsdOpReply>() {
            Ok(m) => m,
            Err(e) => return self.fail(format!("client {c}: bad osd_op_reply: {e}")),
        };
        let tid = msg.header.tid;
        let Some(op) = self.clients[c].ops.get(&tid) else { return };
        if m.retry_attempt >= 0 && m.retry_attempt != op.attempts - 1 {
            // An answer to an earlier sending: the newest one is answered too.
            return;
        }
        if m.result == -11 {
            // EAGAIN: send again.
            return self.client_send(c, tid);
        }
        let Some(op) = self.clients[c].ops.remove(&tid) else { return };
        self.stats.ops += 1;
        let name = &op.name;
        let checked = if op.write {
            let checked = self.oracle.answer_write(name, op.ask, m.result);
            self.write_acknowledged();
            checked
        } else {
            self.stats.reads += 1;
            let answer = if m.result < 0 { Err(m.result) } else { seen(&m, op.range) };
            match answer {
                Err(-1000) => Err(format!("{name}: the answer to a read does not decode: {m:?}")),
                a => self.oracle.answer_read(name, op.ask, &a),
            }
        };
        if let Err(what) = checked {
            let text = format!("client {c} tid {tid}: {what}\n  answer {m:?}");
            self.fail(text);
        }
        self.op_done(c);
    }
}

/// What a read's answer shows. Error -1000: it does not decode.
fn seen(m: &MOsdOpReply, range: (u64, u64)) -> Result<Seen, i32> {
    let mut out = Seen { range, size: 0, data: Bytes::new(), xattrs: BTreeMap::new(), omap: BTreeMap::new() };
    for r in &m.ops {
        let d = &mut Decoder::new(&r.op.data);
        match r.op.code {
            OpCode::STAT => out.size = d.u64().map_err(|_| -1000)?,
            OpCode::READ | OpCode::SPARSE_READ => out.data = r.op.data.clone(),
            OpCode::GETXATTRS => out.xattrs = d.get().map_err(|_| -1000)?,
            OpCode::OMAP_GET_VALS => {
                out.omap = d.get().map_err(|_| -1000)?;
                if d.u8().map_err(|_| -1000)? != 0 {
                    return Err(-1000);
                }
            }
            _ => return Err(-1000),
        }
    }
    Ok(out)
}

/// Snapshot request codes, for the workload.
pub const SNAP_CREATE: u32 = pool_op::CREATE_UNMANAGED_SNAP;
/// Removes a snapshot.
pub const SNAP_DELETE: u32 = pool_op::DELETE_UNMANAGED_SNAP;

/// The client's own address, as OSDs list it.
pub fn client_address(c: usize) -> types::EntityAddr {
    address(Node::Client(c), 1, 0)
}
