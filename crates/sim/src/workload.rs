//! What clients do: a mixed load on few objects, so that requests meet.

use crate::client::{Op, SNAP_CREATE, SNAP_DELETE};
use crate::model::{Act, WriteReq};
use crate::net::Node;
use crate::rng::Rng;
use crate::world::{Ev, MS, World};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use messages::{MPoolOp, MPoolOpReply, OpCode, OsdOp};
use std::rc::Rc;
use types::{PoolId, SnapContext, SnapId};

/// Objects stay below this.
const SIZE_MAX: usize = 48 << 10;
/// Open writes on one object; the oracle tries every order of them.
const WRITES_OPEN_MAX: usize = 3;

/// The load's state.
pub struct Workload {
    rng: Rng,
    next_ask: u64,
    /// Objects in use.
    pub objects: u64,
    /// Requests that one client keeps open.
    depth: usize,
    /// Wait between requests, at most.
    think: u64,
    /// Pools.
    pub pools: Vec<PoolId>,
    /// Clients make requests.
    pub running: bool,
    snaps_on: bool,
    /// Snapshots in use, descending, and the newest.
    snaps: Vec<u64>,
    snap_seq: u64,
    /// A snapshot that exists and that nobody may use before all open writes are answered.
    coming: Option<u64>,
    /// Snapshots that are gone for clients.
    pub removed: Vec<u64>,
}

impl Workload {
    /// Drawn from the seed.
    pub fn new(seed: u64) -> Workload {
        let mut rng = Rng::new(seed, 3);
        Workload {
            next_ask: 0,
            objects: rng.range(8, 40),
            depth: rng.range(1, 6) as usize,
            think: *rng.pick(&[60 * MS, 150 * MS, 400 * MS]),
            pools: Vec::new(),
            running: false,
            snaps_on: rng.chance(600),
            snaps: Vec::new(),
            snap_seq: 0,
            coming: None,
            removed: Vec::new(),
            rng,
        }
    }
    fn ask(&mut self) -> u64 {
        self.next_ask += 1;
        self.next_ask
    }
    fn bytes(&mut self, len: usize) -> Bytes {
        let mut v = Vec::with_capacity(len + 8);
        let tag = self.rng.roll();
        let mut i = 0u64;
        while v.len() < len {
            v.extend_from_slice(&(tag.wrapping_add(i)).to_le_bytes());
            i += 1;
        }
        v.truncate(len);
        v.into()
    }
    fn object(&mut self) -> (PoolId, String) {
        let n = self.rng.below(self.objects);
        let pool = self.pools[n as usize % self.pools.len()];
        (pool, format!("o{n}"))
    }
    fn len(&mut self) -> usize {
        match self.rng.below(6) {
            0 => self.rng.range(1, 200) as usize,
            1 | 2 => 4096,
            3 => 8192,
            4 => self.rng.range(1, 9000) as usize,
            _ => self.rng.range(10_000, 30_000) as usize,
        }
    }
    /// Changes of one write request.
    fn acts(&mut self, id: u64, size: usize) -> Vec<Act> {
        let marker = Bytes::from(format!("{id}"));
        let small = size + 9000 < SIZE_MAX;
        match self.rng.below(16) {
            0..=2 => {
                let n = self.len();
                vec![Act::WriteFull(self.bytes(n))]
            }
            3..=5 => {
                let off = self.rng.below(8) * 4096;
                vec![Act::Write(off, self.bytes(4096))]
            }
            6 | 7 => {
                let off = self.rng.below(30_000);
                let n = self.rng.range(1, 5000) as usize;
                vec![Act::Write(off, self.bytes(n))]
            }
            8 | 9 if small => {
                let n = self.rng.range(1, 3000) as usize;
                vec![Act::Append(self.bytes(n))]
            }
            10 => vec![Act::Delete],
            11 => vec![Act::Truncate(self.rng.below(20_000))],
            12 => {
                let k = Bytes::from(format!("k{}", self.rng.below(6)));
                match self.rng.below(4) {
                    0 => vec![Act::OmapRm(vec![k])],
                    1 => vec![Act::OmapClear],
                    _ => vec![Act::OmapSet(vec![(k, marker)])],
                }
            }
            // All or nothing: the marker is in data, xattr and omap alike.
            _ => {
                let mut d = marker.to_vec();
                d.resize(self.rng.range(16, 6000) as usize, b'.');
                let v = Bytes::from_static(b"v");
                vec![
                    Act::WriteFull(d.into()),
                    Act::SetXattr(v.clone(), marker.clone()),
                    Act::OmapSet(vec![(v, marker)]),
                ]
            }
        }
    }
}

fn encode_acts(acts: &[Act]) -> Vec<OsdOp> {
    let encoded = |f: &dyn Fn(&mut Encoder)| {
        let mut e = Encoder::new(Features::ALL);
        f(&mut e);
        e.finish()
    };
    acts.iter()
        .map(|a| match a {
            Act::WriteFull(d) => OsdOp::write_full(d.clone()),
            Act::Write(off, d) => OsdOp::write(*off, d.clone()),
            Act::Append(d) => OsdOp::extent_op(OpCode::APPEND, 0, d.len() as u64, d.clone()),
            Act::Truncate(size) => OsdOp::extent_op(OpCode::TRUNCATE, *size, 0, Bytes::new()),
            Act::Delete => OsdOp::new(OpCode::DELETE),
            Act::SetXattr(n, v) => OsdOp::xattr_op(OpCode::SETXATTR, n, v, (0, 0)),
            Act::CmpXattr(n, v) => OsdOp::xattr_op(OpCode::CMPXATTR, n, v, (1, 1)),
            Act::OmapSet(pairs) => OsdOp::new(OpCode::OMAP_SET_VALS).with_data(encoded(&|e| e.put(pairs))),
            Act::OmapRm(keys) => OsdOp::new(OpCode::OMAP_RM_KEYS).with_data(encoded(&|e| e.put(keys))),
            Act::OmapClear => OsdOp::new(OpCode::OMAP_CLEAR),
        })
        .collect()
}

fn read_ops(range: (u64, u64)) -> Vec<OsdOp> {
    let mut e = Encoder::new(Features::ALL);
    e.blob(b"");
    e.u64(1000);
    e.blob(b"");
    vec![
        OsdOp::new(OpCode::STAT),
        OsdOp::read(range.0, range.1),
        OsdOp::new(OpCode::GETXATTRS),
        OsdOp::new(OpCode::OMAP_GET_VALS).with_data(e.finish()),
    ]
}

impl World {
    pub(crate) fn on_client_next(&mut self, c: usize) {
        if !self.work.running {
            return;
        }
        let wait = 1 + self.work.rng.below(self.work.think);
        self.after(wait, Ev::ClientNext(c));
        if self.clients[c].ops.len() >= self.work.depth {
            return self.read_behind_cut(c);
        }
        if self.work.snaps_on && self.work.rng.chance(15) && self.clients[c].pool_ops.is_empty() {
            return self.snap_next(c);
        }
        let (pool, name) = self.work.object();
        if self.work.rng.chance(350) {
            let snap = match self.work.rng.below(4) {
                0 if !self.work.snaps.is_empty() => {
                    let n = self.work.rng.below(self.work.snaps.len() as u64);
                    Some(self.work.snaps[n as usize])
                }
                _ => None,
            };
            let range = if self.work.rng.chance(300) {
                (self.work.rng.below(20_000), self.work.rng.range(1, 10_000))
            } else {
                (0, 0)
            };
            return self.ask_read(c, pool, name, snap, range);
        }
        if self.oracle.writes_open(&name) >= WRITES_OPEN_MAX || self.work.coming.is_some() {
            return;
        }
        self.ask_write(c, pool, name);
    }

    /// A client whose requests hang because it is cut off from some goes on to read where it still reaches somebody: an OSD
    /// that is cut off together with it must not answer from what it has.
    fn read_behind_cut(&mut self, c: usize) {
        let me = Node::Client(c);
        let cut = self.net.blocked.iter().any(|(a, b)| *a == me || *b == me);
        if !cut || self.clients[c].ops.len() > 30 {
            return;
        }
        let (pool, name) = self.work.object();
        let primary = self.target_of(c, pool, &name).and_then(|(_, _, ua)| ua.acting_primary);
        let Some(osd) = primary else { return };
        if self.net.reaches(me, Node::Osd(osd.0 as usize)) {
            self.ask_read(c, pool, name, None, (0, 0));
        }
    }

    fn ask_write(&mut self, c: usize, pool: PoolId, name: String) {
        let ask = self.work.ask();
        let size = self.oracle.size_max(&name);
        let mut acts = self.work.acts(ask, size);
        if self.work.rng.chance(30)
            && let Some(v) = self.oracle.some_xattr(&name, b"v")
        {
            acts.insert(0, Act::CmpXattr(Bytes::from_static(b"v"), v));
        }
        let ops = encode_acts(&acts);
        let req = WriteReq { acts, snap_seq: self.work.snap_seq, snaps: self.work.snaps.clone() };
        let snapc =
            SnapContext { seq: SnapId(req.snap_seq), snaps: req.snaps.iter().copied().map(SnapId).collect() };
        self.oracle.ask_write(&name, ask, Rc::new(req));
        let op = Op {
            ask,
            pool,
            name,
            write: true,
            ops,
            snap: None,
            snapc,
            range: (0, 0),
            target: None,
            sent_on: None,
            attempts: 0,
            since: self.now,
        };
        self.client_ask(c, op);
    }

    /// Reads an object whole (or a range of its data) with its xattrs and omap.
    pub fn ask_read(&mut self, c: usize, pool: PoolId, name: String, snap: Option<u64>, range: (u64, u64)) {
        let ask = self.work.ask();
        self.oracle.ask_read(&name, ask, snap);
        let op = Op {
            ask,
            pool,
            name,
            write: false,
            ops: read_ops(range),
            snap,
            snapc: SnapContext::default(),
            range,
            target: None,
            sent_on: None,
            attempts: 0,
            since: self.now,
        };
        self.client_ask(c, op);
    }

    fn snap_next(&mut self, c: usize) {
        // Snapshot ids belong to a pool; the same ids are used in all of ours, so only with one pool.
        let [pool] = self.work.pools[..] else { return };
        if self.work.snaps.len() > 3 {
            let n = self.work.rng.below(self.work.snaps.len() as u64) as usize;
            let gone = self.work.snaps[n];
            let read_open = self.clients.iter().flat_map(|c| c.ops.values()).any(|o| o.snap == Some(gone));
            if !read_open {
                self.work.snaps.remove(n);
                self.work.removed.push(gone);
                self.client_pool_op(c, pool, SNAP_DELETE, gone);
            }
        } else if self.work.coming.is_none() {
            self.client_pool_op(c, pool, SNAP_CREATE, 0);
        }
    }

    pub(crate) fn snap_answered(&mut self, c: usize, asked: &MPoolOp, m: &MPoolOpReply) {
        if m.reply_code != 0 {
            return self.fail(format!("client {c}: pool op {:#x} answered {}", asked.op, m.reply_code));
        }
        if asked.op == SNAP_CREATE {
            let id = m.response_data.as_ref().and_then(|b| Decoder::new(b).u64().ok());
            let Some(id) = id else {
                return self.fail(format!("client {c}: no snapshot id in the answer"));
            };
            if id > self.work.snap_seq && self.work.coming.is_none_or(|c| c < id) {
                self.work.coming = Some(id);
            }
            self.snap_ready();
        }
    }

    /// A new snapshot is used once no write with the old context is open: as an application that quiesces does.
    fn snap_ready(&mut self) {
        let Some(id) = self.work.coming else { return };
        if self.clients.iter().flat_map(|c| c.ops.values()).any(|o| o.write) {
            return;
        }
        self.work.coming = None;
        self.work.snap_seq = id;
        self.work.snaps.insert(0, id);
    }

    pub(crate) fn op_done(&mut self, _c: usize) {
        self.snap_ready();
    }

    /// Snapshots that clients may read.
    pub fn live_snaps(&self) -> Vec<u64> {
        self.work.snaps.clone()
    }
}
