//! `copy-from`: this OSD as a client of the OSD that leads the source object (maybe itself).
//!
//! A PG hands in the op with what it has to fetch; each [`CopyJob`] fetches one source after the other with
//! `copy-get`, as entity `osd.N` on the public network, sends again when the map moves the source or no answer comes,
//! and gives the contents back to the PG, which executes the op again. Requests only read, so sending them twice is
//! harmless; every sending has a tid of its own and answers to older ones are ignored.
//!
//! The client that asked needs the right to read the source: the OSD's own rights must not become the client's.

use crate::core::OsdCore;
use crate::event::{Net, OsdEffect, SessionId};
use cephx::caps::OsdOpInfo;
use messages::{MOsdOp, MOsdOpReply, Message, OsdFlags};
use objstore::ObjectStore;
use osd_ops::copy::{CopyFetch, CopyProgress};
use osd_ops::{CopyRequest, CopyResult};
use pg::{ClientOp, ClientReply, PgEvent};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use types::{EntityName, Epoch, Errno, HObject, OsdId, ReqId, SpgId, Utime};

/// The session that our own requests to our own PGs come from. Shells never number one so.
pub(crate) const OURSELVES: SessionId = SessionId(u64::MAX);
/// Copies fetched at once: each may hold an object of the largest size in memory.
const ACTIVE_MAX: usize = 8;
/// A request without an answer is sent again.
const AGAIN: Duration = Duration::from_secs(3);

/// Where a request went: when this changes it has to go elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    pgid: SpgId,
    hash: u32,
    osd: OsdId,
    up_from: Epoch,
}

/// One op's copies.
struct CopyJob {
    pgid: SpgId,
    op: Arc<ClientOp>,
    fetch: CopyFetch,
    rest: VecDeque<CopyRequest>,
    results: Vec<CopyResult>,
    target: Option<Target>,
    sent: Utime,
}

/// The copies of an OSD.
#[derive(Default)]
pub(crate) struct Copies {
    /// By the tid of their last request.
    active: BTreeMap<u64, CopyJob>,
    queued: VecDeque<CopyJob>,
    /// Answers of our own PGs: tid, result, output, user version.
    arrived: VecDeque<(u64, i32, bytes::Bytes, u64)>,
    last_tid: u64,
}

impl OsdCore {
    /// A PG cannot go on with `op` without these contents.
    pub(crate) fn start_copy(&mut self, pgid: SpgId, op: Arc<ClientOp>, requests: Vec<CopyRequest>) {
        let mut rest: VecDeque<CopyRequest> = requests.into();
        let Some(first) = rest.pop_front() else { return };
        let sent = self.now;
        let fetch = CopyFetch::new(first);
        let job = CopyJob { pgid, op, fetch, rest, results: Vec::new(), target: None, sent };
        // Started when the event is dealt with: this is called while a PG is at work.
        self.copies.queued.push_back(job);
    }

    /// Goes on with what an event has brought; called at its end.
    pub(crate) fn settle_copies(&mut self, store: &mut dyn ObjectStore) {
        while let Some((tid, result, out, user_version)) = self.copies.arrived.pop_front() {
            self.copy_answer(tid, result, &out, user_version, store);
        }
        if !self.copies.queued.is_empty() {
            self.run_copies(store);
        }
    }

    /// Starts what waits, as far as there is room.
    fn run_copies(&mut self, store: &mut dyn ObjectStore) {
        while self.copies.active.len() < ACTIVE_MAX {
            let Some(job) = self.copies.queued.pop_front() else { return };
            self.copy_step(job, store);
        }
    }

    /// Sends again what got no answer, and what the map has moved.
    pub(crate) fn repeat_copies(&mut self, store: &mut dyn ObjectStore) {
        if self.copies.active.is_empty() {
            return;
        }
        let moved: Vec<u64> = self
            .copies
            .active
            .iter()
            .filter(|(_, j)| {
                self.now.since(j.sent) >= AGAIN || self.copy_target(j.fetch.request()) != j.target
            })
            .map(|(tid, _)| *tid)
            .collect();
        for tid in moved {
            if let Some(job) = self.copies.active.remove(&tid) {
                self.copy_step(job, store);
            }
        }
    }

    fn copy_target(&self, r: &CopyRequest) -> Option<Target> {
        let raw = self.map.object_to_raw_pg(&r.src_loc, &r.src_name)?;
        let pg = self.map.raw_pg_to_pg(raw)?;
        let osd = self.map.acting_primary(pg)?;
        let up_from = self.map.info(osd).map_or(Epoch(0), |i| i.up_from);
        Some(Target { pgid: SpgId::replicated(pg), hash: raw.seed, osd, up_from })
    }

    /// The client's right to read the source. `None`: it is gone, so nobody waits for an answer.
    fn may_read_source(&self, op: &ClientOp, r: &CopyRequest) -> Option<bool> {
        let s = self.sessions.get(&op.session)?;
        let Some(pool) = self.map.pool(r.src_loc.pool) else { return Some(true) };
        let namespace = String::from_utf8_lossy(&r.src_loc.nspace);
        let object =
            String::from_utf8_lossy(if r.src_loc.key.is_empty() { &r.src_name } else { &r.src_loc.key });
        let info = OsdOpInfo {
            pool: self.map.pool_name(r.src_loc.pool).unwrap_or_default(),
            namespace: &namespace,
            app_metadata: &pool.application_metadata,
            object: &object,
            may_read: true,
            may_write: false,
            classes: &[],
        };
        Some(s.caps.is_allow_all() || s.caps.is_capable(&info, &op.addr))
    }

    /// Sends the job's next request; ends it when there is nothing to send to.
    fn copy_step(&mut self, mut job: CopyJob, store: &mut dyn ObjectStore) {
        let request = job.fetch.request().clone();
        match self.may_read_source(&job.op, &request) {
            Some(true) => {}
            Some(false) => return self.copy_failed(job, Errno::EPERM, store),
            None => return self.copy_ended(job.pgid, job.op, Vec::new(), store),
        }
        if self.map.pool(request.src_loc.pool).is_none() {
            return self.copy_failed(job, Errno::ENOENT, store);
        }
        self.copies.last_tid += 1;
        let tid = self.copies.last_tid;
        job.sent = self.now;
        job.target = self.copy_target(&request);
        let ops = job.fetch.ops();
        let target = job.target;
        self.copies.active.insert(tid, job);
        let Some(t) = target else { return }; // nobody leads it now: the next map may
        if t.osd == self.cfg.whoami {
            self.ask_ourselves(tid, t.pgid, t.hash, &request, ops, store);
        } else {
            self.ask_osd(tid, t, &request, ops);
        }
    }

    fn ask_osd(&mut self, tid: u64, t: Target, r: &CopyRequest, ops: Vec<messages::OsdOp>) {
        let mut m = MOsdOp::new(t.pgid, t.hash, self.map.epoch, r.src_loc.clone(), r.src_name.clone(), ops);
        m.snapid = r.src_snap;
        m.flags = OsdFlags(m.flags.0 | OsdFlags::READ.0);
        let Some(addrs) = self.map.addrs(t.osd).cloned() else { return };
        let msg = Message::new(&m, Self::features()).with_tid(tid);
        self.out.push(OsdEffect::SendOsd { osd: t.osd, net: Net::Public, addrs, msg });
    }

    fn ask_ourselves(
        &mut self,
        tid: u64,
        pgid: SpgId,
        hash: u32,
        r: &CopyRequest,
        ops: Vec<messages::OsdOp>,
        store: &mut dyn ObjectStore,
    ) {
        let key = if r.src_loc.key == r.src_name { Default::default() } else { r.src_loc.key.clone() };
        let op = ClientOp {
            session: OURSELVES,
            tid,
            reqid: ReqId { name: EntityName::osd(self.cfg.whoami), tid, inc: 0 },
            addr: self.cfg.addrs.public.0.first().copied().unwrap_or_default(),
            features: types::features::SUPPORTED,
            oid: HObject {
                key,
                name: r.src_name.clone(),
                snap: r.src_snap,
                hash,
                max: false,
                nspace: r.src_loc.nspace.clone(),
                pool: r.src_loc.pool,
            },
            epoch: self.map.epoch,
            flags: OsdFlags::READ.0,
            mtime: self.now,
            snapc: Default::default(),
            retry_attempt: 0,
            ops,
        };
        self.pg_event(pgid, PgEvent::ClientOp(Arc::new(op)), store);
    }

    /// The answer of one of our own PGs.
    pub(crate) fn on_own_reply(&mut self, reply: ClientReply) {
        let out = reply.outputs.into_iter().next_back().map(|(_, data)| data).unwrap_or_default();
        // Taken up when the PG has ended what it does.
        self.copies.arrived.push_back((reply.op.tid, reply.result, out, reply.user_version));
    }

    /// The answer of another OSD.
    pub(crate) fn on_osd_op_reply(&mut self, msg: &Message, store: &mut dyn ObjectStore) {
        let Some(m) = self.decoded::<MOsdOpReply>(msg) else { return };
        let out = m.ops.into_iter().next_back().map(|o| o.op.data).unwrap_or_default();
        self.copy_answer(msg.header.tid, m.result, &out, m.user_version, store);
    }

    fn copy_answer(
        &mut self,
        tid: u64,
        result: i32,
        out: &bytes::Bytes,
        user_version: u64,
        store: &mut dyn ObjectStore,
    ) {
        let Some(mut job) = self.copies.active.remove(&tid) else { return };
        match job.fetch.on_reply(result, out, user_version) {
            CopyProgress::More => self.copy_step(job, store),
            CopyProgress::Done(result) => self.copy_has(job, *result, store),
        }
    }

    fn copy_failed(&mut self, job: CopyJob, errno: Errno, store: &mut dyn ObjectStore) {
        let op_index = job.fetch.request().op_index;
        self.copy_has(job, CopyResult { op_index, result: Err(errno) }, store);
    }

    fn copy_has(&mut self, mut job: CopyJob, result: CopyResult, store: &mut dyn ObjectStore) {
        job.results.push(result);
        match job.rest.pop_front() {
            Some(next) => {
                job.fetch = CopyFetch::new(next);
                self.copy_step(job, store);
            }
            None => self.copy_ended(job.pgid, job.op, job.results, store),
        }
    }

    fn copy_ended(
        &mut self,
        pgid: SpgId,
        op: Arc<ClientOp>,
        results: Vec<CopyResult>,
        store: &mut dyn ObjectStore,
    ) {
        self.pg_event(pgid, PgEvent::Copied { op, results }, store);
    }
}
