//! The world: nodes, a monitor, clients, a network, and dice.

use crate::check::{Ask, Before, Checker, token};
use crate::map::{Map, Osd};
use crate::store::CrashStore;
use bytes::Bytes;
use messages::{Message, OpCode, OsdOp};
use objstore::{CollId, ObjectStore};
use pg::absent::{self, Absent};
use pg::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use types::{
    EntityAddr, EntityName, Epoch, HObject, OsdId, PgId, PoolId, ReqId, SnapContext, SnapId, SpgId, Utime,
};

#[derive(Clone, Debug)]
pub struct Opts {
    pub osds: usize,
    pub size: u32,
    pub min_size: u32,
    /// Crashes and the like per 1000 steps.
    pub chaos: u64,
    pub log_max: usize,
    pub remap: bool,
    pub corrupt: bool,
    pub steps: u64,
    pub clients: usize,
    pub planted: Option<pg::Planted>,
}
impl Default for Opts {
    fn default() -> Self {
        Opts {
            osds: 4,
            size: 3,
            min_size: 2,
            chaos: 4,
            log_max: 500,
            remap: false,
            corrupt: false,
            steps: 6000,
            clients: 3,
            planted: None,
        }
    }
}

pub struct Rng(u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

struct Packet {
    epoch: Epoch,
    msg: PgMsg,
    to_life: Epoch,
}
struct Node {
    alive: bool,
    store: CrashStore,
    pg: Option<Pg>,
    /// Maps taken in.
    epoch: Epoch,
    /// Epoch in which this life came up; 0: not yet in the map.
    life: Epoch,
    /// Boots before this epoch were of an earlier life.
    min_life: Epoch,
    tokens: u64,
    held: VecDeque<(OsdId, Epoch, PgMsg)>,
    waiting_ops: VecDeque<Arc<ClientOp>>,
}
struct Client {
    epoch: Epoch,
    tid: u64,
    open: Vec<(Arc<ClientOp>, String, Ask, Before)>,
    snapc: SnapContext,
}

pub struct Sim {
    o: Opts,
    rng: Rng,
    now: u64,
    maps: Vec<Arc<Map>>,
    pending: Map,
    nodes: Vec<Node>,
    net: BTreeMap<(i32, i32), VecDeque<Packet>>,
    to_osd: BTreeMap<(usize, i32), VecDeque<Arc<ClientOp>>>,
    replies: VecDeque<(usize, ClientReply)>,
    clients: Vec<Client>,
    check: Checker,
    next_token: u64,
    snap_seq: u64,
    issuing: bool,
    trace: bool,
}
const PGID: SpgId = SpgId::replicated(PgId::new(1, 0));
const COLL: CollId = CollId::Pg(PGID);

impl Sim {
    pub fn new(seed: u64, o: Opts) -> Sim {
        let osds = (0..o.osds)
            .map(|_| Osd { up: true, up_from: Epoch(1), up_thru: Epoch(0), lost_at: Epoch(0) })
            .collect();
        let first = Map {
            epoch: Epoch(1),
            osds,
            crush: (0..o.osds as i32).map(OsdId).collect(),
            temp: Vec::new(),
            size: o.size,
            min_size: o.min_size,
            removed: BTreeSet::new(),
        };
        let nodes = (0..o.osds)
            .map(|_| Node {
                alive: true,
                store: CrashStore::default(),
                pg: None,
                epoch: Epoch(1),
                life: Epoch(1),
                min_life: Epoch(1),
                tokens: 0,
                held: VecDeque::new(),
                waiting_ops: VecDeque::new(),
            })
            .collect();
        let clients = (0..o.clients)
            .map(|_| Client { epoch: Epoch(1), tid: 0, open: Vec::new(), snapc: SnapContext::default() })
            .collect();
        Sim {
            rng: Rng(seed.wrapping_mul(77).wrapping_add(5)),
            now: 1000,
            maps: vec![Arc::new(first.clone())],
            pending: first,
            nodes,
            net: BTreeMap::new(),
            to_osd: BTreeMap::new(),
            replies: VecDeque::new(),
            clients,
            check: Checker::default(),
            next_token: 0,
            snap_seq: 0,
            issuing: true,
            trace: std::env::var("PG_TRACE").is_ok(),
            o,
        }
    }
    fn map(&self, e: Epoch) -> Arc<Map> {
        self.maps[e.0 as usize - 1].clone()
    }
    fn newest(&self) -> Epoch {
        Epoch(self.maps.len() as u32)
    }
    fn config(&self) -> PgConfig {
        PgConfig {
            min_log_entries: self.o.log_max / 2,
            max_log_entries: self.o.log_max,
            dups_tracked: 200,
            recovery_max_active: 3,
            recovery_chunk_bytes: 4096,
            recovery_bytes_per_tick: 64 << 10,
            backfill_scan_max: 3,
            planted: self.o.planted,
            ..PgConfig::default()
        }
    }
    fn init(&self, n: usize) -> PgInit {
        let whoami = OsdId(n as i32);
        PgInit {
            pgid: PGID,
            whoami,
            config: self.config(),
            engine: Box::new(OsdOpsEngine::new(PGID, whoami)),
        }
    }

    // ---- nodes --------------------------------------------------------------------------------------------------

    fn with_ctx<R>(&mut self, n: usize, f: impl FnOnce(&mut Node, &mut PgCtx<'_>) -> R) -> R {
        let mut out = Vec::new();
        let mut node = std::mem::replace(
            &mut self.nodes[n],
            Node {
                alive: false,
                store: CrashStore::default(),
                pg: None,
                epoch: Epoch(0),
                life: Epoch(0),
                min_life: Epoch(0),
                tokens: 0,
                held: VecDeque::new(),
                waiting_ops: VecDeque::new(),
            },
        );
        let mut tokens = node.tokens;
        let mut store = std::mem::take(&mut node.store);
        let rng = &mut self.rng;
        let r = {
            let mut random = || rng.next();
            let mut leases = Leases::off();
            let mut ctx = PgCtx {
                now: Utime::from_nanos(self.now * 1_000_000),
                mono: std::time::Duration::from_millis(self.now),
                leases: &mut leases,
                store: &mut store,
                next_token: &mut tokens,
                random: &mut random,
                out: &mut out,
            };
            f(&mut node, &mut ctx)
        };
        node.store = store;
        node.tokens = tokens;
        if let Some(pg) = &node.pg {
            pg.check_invariants();
        }
        self.nodes[n] = node;
        for e in out {
            self.effect(n, e);
        }
        r
    }
    fn event(&mut self, n: usize, ev: PgEvent) {
        self.with_ctx(n, |node, ctx| {
            if let Some(pg) = &mut node.pg {
                pg.handle(ctx, ev);
            }
        });
    }
    fn effect(&mut self, n: usize, e: PgEffect) {
        let me = OsdId(n as i32);
        match e {
            PgEffect::SendToOsd { osd, epoch, msg } => {
                if self.trace {
                    eprintln!("  {} osd.{n} -> osd.{} e{epoch} {msg:?}", self.now, osd.0);
                }
                // Through bytes, as in life.
                let m =
                    Message::new(&PgMessage { pgid: PGID, epoch, body: msg.clone() }, denc::Features::ALL);
                let back: PgMessage = m.decode().unwrap();
                // Hints for the sender's own store do not travel.
                assert_eq!(Message::new(&back, denc::Features::ALL), m);
                let msg = back.body;
                let to_life = self.map(self.nodes[n].epoch).up_from(osd);
                self.net.entry((n as i32, osd.0)).or_default().push_back(Packet { epoch, msg, to_life });
            }
            PgEffect::SendToOsds { osds, epoch, msg } => {
                for osd in osds {
                    self.effect(n, PgEffect::SendToOsd { osd, epoch, msg: msg.clone() });
                }
            }
            PgEffect::ReplyClient(r) => self.replies.push_back((r.op.session.0 as usize, r)),
            PgEffect::RequestUpThru(e) => {
                let life = self.nodes[n].life;
                let o = &mut self.pending.osds[n];
                if o.up && o.up_from == life && o.up_thru < e {
                    o.up_thru = e;
                }
            }
            PgEffect::RequestPgTemp { osds, .. } => {
                let m = self.map(self.newest());
                // As the monitor does: only from the primary of its newest map.
                if m.placement(PGID.pg).acting_primary == Some(me) && self.nodes[n].alive {
                    self.pending.temp =
                        osds.into_iter().filter(|o| self.pending.osds[o.0 as usize].up).collect();
                }
            }
            PgEffect::Gone(_) => self.nodes[n].pg = None,
            PgEffect::StoreFailed(why) => panic!("osd.{n}: {why}"),
            PgEffect::ClusterLog { error, text } => {
                if self.trace {
                    eprintln!("  osd.{n} log {error} {text}");
                }
                assert!(!error || self.o.corrupt, "osd.{n}: {text}");
            }
            PgEffect::StatsDirty
            | PgEffect::Created(_)
            | PgEffect::WatchNotify { .. }
            | PgEffect::NeedLease(_)
            | PgEffect::CopyFrom { .. } => {}
        }
    }
    fn next_map(&mut self, n: usize) {
        let e = self.nodes[n].epoch;
        if !self.nodes[n].alive {
            return;
        }
        if e >= self.newest() {
            if self.nodes[n].life == Epoch(0)
                && !self.pending.osds[n].up
                && !self.map(e).is_up(OsdId(n as i32))
            {
                self.boot(n);
            }
            return;
        }
        // One or several at once, then act.
        let upto = Epoch(e.0 + 1 + self.rng.below(u64::from(self.newest().0 - e.0)) as u32);
        for i in e.0 + 1..=upto.0 {
            let m = self.map(Epoch(i));
            self.nodes[n].epoch = Epoch(i);
            if m.is_up(OsdId(n as i32))
                && m.up_from(OsdId(n as i32)) == Epoch(i)
                && i >= self.nodes[n].min_life.0
            {
                self.nodes[n].life = Epoch(i);
            }
            self.event(n, PgEvent::AdvMap(m));
        }
        let m = self.map(self.nodes[n].epoch);
        let life = self.nodes[n].life;
        if life != Epoch(0) && !m.is_up(OsdId(n as i32)) {
            // Marked down although alive: as an OSD does, it asks to come up again.
            self.nodes[n].life = Epoch(0);
            self.nodes[n].min_life = self.newest().next();
        }
        if self.nodes[n].life != Epoch(0) {
            self.event(n, PgEvent::ActMap);
            for (from, epoch, msg) in std::mem::take(&mut self.nodes[n].held) {
                self.deliver(from, n, epoch, msg);
            }
            for op in std::mem::take(&mut self.nodes[n].waiting_ops) {
                self.client_op(n, op);
            }
        }
    }
    fn boot(&mut self, n: usize) {
        let e = self.pending.epoch.next();
        self.pending.osds[n].up = true;
        self.pending.osds[n].up_from = e.max(self.newest().next());
    }
    fn deliver(&mut self, from: OsdId, n: usize, epoch: Epoch, msg: PgMsg) {
        if self.trace {
            eprintln!("  {} osd.{n} <- osd.{} e{epoch} {}", self.now, from.0, msg.name());
        }
        if self.nodes[n].pg.is_some() {
            return self.event(n, PgEvent::Message { from, epoch, msg });
        }
        let m = self.map(self.nodes[n].epoch);
        let no_leases = (&Leases::off(), std::time::Duration::ZERO);
        match absent::answer(PGID, OsdId(n as i32), from, epoch, &msg, m.as_ref(), no_leases) {
            Absent::Ignore => {}
            Absent::Hold => self.nodes[n].held.push_back((from, epoch, msg)),
            Absent::Reply(msg) => {
                let epoch = self.nodes[n].epoch;
                self.effect(n, PgEffect::SendToOsd { osd: from, epoch, msg });
            }
            Absent::Create { history, past_intervals } => {
                self.create(n, history, past_intervals, epoch);
                self.event(n, PgEvent::Message { from, epoch, msg });
            }
        }
    }
    fn create(&mut self, n: usize, history: PgHistory, past: Vec<PastInterval>, from: Epoch) {
        let init = self.init(n);
        let map: Arc<dyn ClusterMap> = self.map(from);
        // An earlier copy's removal may not be durable yet.
        self.with_ctx(n, |node, ctx| {
            node.pg = Some(Pg::create(init, map, history, past, ctx));
        });
        for i in from.0 + 1..=self.nodes[n].epoch.0 {
            let m = self.map(Epoch(i));
            self.event(n, PgEvent::AdvMap(m));
        }
        self.event(n, PgEvent::ActMap);
    }
    fn crash(&mut self, n: usize) {
        if self.trace {
            eprintln!("{} crash osd.{n}", self.now);
        }
        let some = self.rng.below(4);
        for _ in 0..some {
            self.commit_silently(n);
        }
        let node = &mut self.nodes[n];
        node.alive = false;
        node.pg = None;
        node.life = Epoch(0);
        node.held.clear();
        node.waiting_ops.clear();
        node.store.crash();
        for ((from, to), q) in &mut self.net {
            if *to == n as i32 {
                q.clear();
            } else if *from == n as i32 {
                let keep = self.rng.below(q.len() as u64 + 1) as usize;
                q.truncate(keep);
            }
        }
        for ((_, to), q) in &mut self.to_osd {
            if *to == n as i32 {
                q.clear();
            }
        }
    }
    /// Durable, but nobody hears of it any more.
    fn commit_silently(&mut self, n: usize) {
        self.nodes[n].store.commit_one();
    }
    fn restart(&mut self, n: usize) {
        if self.trace {
            eprintln!("{} restart osd.{n}", self.now);
        }
        let ours = self.nodes[n].store.collections().contains(&COLL);
        if ours {
            let epoch = stored_epoch(&self.nodes[n].store, PGID).unwrap();
            let pg = Pg::load(self.init(n), self.map(epoch), &self.nodes[n].store).unwrap();
            pg.check_invariants();
            self.nodes[n].pg = Some(pg);
            self.nodes[n].epoch = epoch;
            // Up to what the OSD had seen before; more comes from the monitor.
        }
        self.nodes[n].alive = true;
        self.nodes[n].life = Epoch(0);
        self.nodes[n].min_life = self.newest().next();
        if self.pending.osds[n].up {
            // Nobody noticed that it was away: booting makes the monitor mark it down first.
            self.pending.osds[n].up = false;
        }
    }
    fn publish_map(&mut self) {
        let newest = self.map(self.newest());
        let mut m = self.pending.clone();
        m.epoch = newest.epoch;
        if m == *newest {
            return;
        }
        m.epoch = newest.epoch.next();
        for o in &mut m.osds {
            if o.up && o.up_from > newest.epoch {
                o.up_from = m.epoch;
            }
        }
        m.temp.retain(|o| m.osds[o.0 as usize].up);
        if self.trace {
            eprintln!("{} map {m:?} {:?}", self.now, m.placement(PGID.pg));
        }
        self.pending = m.clone();
        self.maps.push(Arc::new(m));
    }

    // ---- clients ------------------------------------------------------------------------------------------------

    fn object(name: &str) -> HObject {
        let hash = name
            .bytes()
            .fold(17u32, |h, b| h.wrapping_mul(0x0100_0193) ^ u32::from(b))
            .wrapping_mul(0x9e37_79b1);
        HObject {
            name: Bytes::copy_from_slice(name.as_bytes()),
            pool: PoolId(1),
            snap: SnapId::HEAD,
            hash,
            ..HObject::MIN
        }
    }
    fn issue(&mut self, c: usize) {
        if !self.issuing || self.clients[c].open.len() >= 3 {
            return;
        }
        self.next_token += 1;
        let t = self.next_token;
        let (name, ask) = match self.rng.below(10) {
            0..=2 => (format!("a{}", self.rng.below(4)), Ask::Append(t)),
            3..=5 => {
                let n = if self.rng.chance(200) { 1 + self.rng.below(3000) } else { 1 + self.rng.below(8) };
                (format!("w{}", self.rng.below(20)), Ask::WriteFull(t, n as usize))
            }
            6 => (format!("w{}", self.rng.below(20)), Ask::Delete),
            7 => (format!("a{}", self.rng.below(4)), Ask::Read),
            _ => (format!("w{}", self.rng.below(20)), Ask::Read),
        };
        self.issue_op(c, name, ask);
    }
    fn issue_op(&mut self, c: usize, name: String, ask: Ask) {
        if self.rng.chance(30) && name.starts_with('w') {
            self.snap_seq += 1;
            let s = SnapId(self.snap_seq);
            self.clients[c].snapc.seq = s;
            self.clients[c].snapc.snaps.insert(0, s);
            self.clients[c].snapc.snaps.truncate(3);
        }
        let before = self.check.ask(&name, &ask);
        let mut ops = match &ask {
            Ask::Append(t) => {
                let data = Bytes::copy_from_slice(&token(*t));
                vec![OsdOp::extent_op(OpCode::APPEND, 0, 8, data)]
            }
            Ask::WriteFull(t, n) => vec![OsdOp::write_full(token(*t).repeat(*n).into())],
            Ask::Delete => vec![OsdOp::new(OpCode::DELETE)],
            Ask::Read => vec![OsdOp::read(0, 0)],
        };
        if matches!(ask, Ask::Append(_)) {
            let (k, v) = (format!("k{}", self.rng.below(300)), vec![1u8; 60]);
            let pairs: BTreeMap<Bytes, Bytes> = [(Bytes::from(k), Bytes::from(v))].into();
            ops.push(
                OsdOp::new(OpCode::OMAP_SET_VALS).with_data(denc::to_bytes(&pairs, denc::Features::ALL)),
            );
        }
        let cl = &mut self.clients[c];
        cl.tid += 1;
        let write = ask != Ask::Read;
        let op = ClientOp {
            session: SessionId(c as u64),
            tid: cl.tid,
            reqid: ReqId { name: EntityName::client(100 + c as u64), tid: cl.tid, inc: 0 },
            addr: EntityAddr::default(),
            features: u64::MAX,
            oid: Self::object(&name),
            epoch: cl.epoch,
            flags: if write { op_flags::WRITE } else { op_flags::READ },
            mtime: Utime::from_nanos(self.now * 1_000_000),
            snapc: if write { cl.snapc.clone() } else { SnapContext::default() },
            retry_attempt: 0,
            ops,
        };
        let op = Arc::new(op);
        cl.open.push((op.clone(), name, ask, before));
        self.send_op(c, op);
    }
    fn send_op(&mut self, c: usize, op: Arc<ClientOp>) {
        let m = self.map(self.clients[c].epoch);
        let Some(p) = m.placement(PGID.pg).acting_primary else { return };
        let op = Arc::new(ClientOp { epoch: m.epoch, ..(*op).clone() });
        self.to_osd.entry((c, p.0)).or_default().push_back(op);
    }
    fn client_map(&mut self, c: usize) {
        let e = self.clients[c].epoch;
        if e >= self.newest() {
            return;
        }
        let (old, new) = (self.map(e), self.map(e.next()));
        self.clients[c].epoch = e.next();
        let pool = |m: &Map| m.pool(PoolId(1));
        let changed = pg::info::is_new_interval(
            &old.placement(PGID.pg),
            &new.placement(PGID.pg),
            pool(&old).as_ref(),
            pool(&new).as_ref(),
        );
        if changed {
            for (op, ..) in self.clients[c].open.clone() {
                self.send_op(c, op);
            }
        }
    }
    fn client_op(&mut self, n: usize, op: Arc<ClientOp>) {
        if op.epoch > self.nodes[n].epoch {
            self.nodes[n].waiting_ops.push_back(op);
        } else {
            self.event(n, PgEvent::ClientOp(op));
        }
    }
    fn take_reply(&mut self) {
        let Some((c, r)) = self.replies.pop_front() else { return };
        let cl = &mut self.clients[c];
        let Some(i) = cl.open.iter().position(|(op, ..)| op.tid == r.op.tid) else { return };
        let (_, name, ask, before) = cl.open.remove(i);
        if self.trace {
            eprintln!("  {} client {c} {name} {ask:?} = {} v{}", self.now, r.result, r.user_version);
        }
        let data = r.outputs.first().map(|(_, b)| b.clone()).unwrap_or_default();
        self.check.answer(&name, &ask, &before, r.result, r.user_version, &data);
    }

    // ---- the dice -----------------------------------------------------------------------------------------------

    fn step(&mut self) {
        self.now += 1;
        // Messages and commits are the most of what happens.
        for _ in 0..self.rng.below(8) {
            let dice = self.rng.below(73);
            self.act(dice);
        }
        let dice = self.rng.below(100);
        self.act(dice);
    }
    fn act(&mut self, dice: u64) {
        match dice {
            0..=39 => {
                let full: Vec<(i32, i32)> =
                    self.net.iter().filter(|(_, q)| !q.is_empty()).map(|(k, _)| *k).collect();
                if full.is_empty() {
                    return;
                }
                let k = full[self.rng.below(full.len() as u64) as usize];
                let p = self.net.get_mut(&k).unwrap().pop_front().unwrap();
                let n = k.1 as usize;
                // A process that has booted but not seen the map that says so has its address in that map already.
                let node = &self.nodes[n];
                let booting = node.life == Epoch(0) && p.to_life >= node.min_life;
                if node.alive && (node.life == p.to_life || booting) {
                    self.deliver(OsdId(k.0), n, p.epoch, p.msg);
                }
            }
            40..=64 => {
                let n = self.rng.below(self.nodes.len() as u64) as usize;
                if self.nodes[n].alive
                    && let Some(t) = self.nodes[n].store.commit_one()
                {
                    self.event(n, PgEvent::Committed(t));
                }
            }
            65..=72 => {
                let n = self.rng.below(self.nodes.len() as u64) as usize;
                self.next_map(n);
            }
            73..=76 => {
                let n = self.rng.below(self.nodes.len() as u64) as usize;
                if self.nodes[n].alive && self.nodes[n].life != Epoch(0) {
                    self.event(n, PgEvent::Tick);
                }
            }
            77..=78 => self.publish_map(),
            79..=84 => {
                let c = self.rng.below(self.clients.len() as u64) as usize;
                self.issue(c);
            }
            85..=92 => {
                let full: Vec<(usize, i32)> =
                    self.to_osd.iter().filter(|(_, q)| !q.is_empty()).map(|(k, _)| *k).collect();
                if full.is_empty() {
                    return;
                }
                let k = full[self.rng.below(full.len() as u64) as usize];
                let op = self.to_osd.get_mut(&k).unwrap().pop_front().unwrap();
                let n = k.1 as usize;
                if self.nodes[n].alive && self.nodes[n].life != Epoch(0) {
                    self.client_op(n, op);
                }
            }
            93..=97 => self.take_reply(),
            _ => {
                let c = self.rng.below(self.clients.len() as u64) as usize;
                self.client_map(c);
                if self.rng.chance(100)
                    && let Some((op, ..)) = self.clients[c].open.first().cloned()
                {
                    self.send_op(c, op); // impatience: the same request again
                }
            }
        }
    }
    fn chaos(&mut self) {
        let n = self.rng.below(self.nodes.len() as u64) as usize;
        match self.rng.below(10) {
            0..=2 => {
                if self.nodes[n].alive {
                    self.crash(n);
                    if self.rng.chance(700) {
                        self.pending.osds[n].up = false;
                    }
                }
            }
            3..=6 => {
                if !self.nodes[n].alive {
                    self.restart(n);
                }
            }
            7 => {
                // A dead one is noticed, or a live one wrongly accused.
                if self.pending.osds[n].up {
                    self.pending.osds[n].up = false;
                }
            }
            8 if self.o.remap => {
                let (a, b) = (self.rng.below(self.o.osds as u64), self.rng.below(self.o.osds as u64));
                self.pending.crush.swap(a as usize, b as usize);
            }
            9 if self.o.corrupt => {
                let live: Vec<HObject> =
                    self.nodes[n].store.list(COLL, &HObject::MIN, 100).unwrap_or_default();
                let live: Vec<HObject> =
                    live.into_iter().filter(|o| o.pool == PoolId(1) && !o.name.is_empty()).collect();
                // One bad copy at a time, of an object that all have.
                if self.nodes.iter().all(|n| n.store.bad.is_empty()) && !live.is_empty() && self.is_clean() {
                    let o = live[self.rng.below(live.len() as u64) as usize].clone();
                    if self.trace {
                        eprintln!("{} osd.{n} damaged {o}", self.now);
                    }
                    self.nodes[n].store.bad.insert(o);
                }
            }
            _ => {
                if self.rng.chance(300) && self.snap_seq > 0 {
                    let s = SnapId(1 + self.rng.below(self.snap_seq));
                    self.pending.removed.insert(s);
                }
            }
        }
    }
    fn is_clean(&self) -> bool {
        let m = self.map(self.newest());
        let Some(p) = m.placement(PGID.pg).acting_primary else { return false };
        let node = &self.nodes[p.0 as usize];
        node.alive
            && node.epoch == self.newest()
            && node.pg.as_ref().is_some_and(|pg| pg.state_bits() & state::CLEAN != 0)
    }
    fn quiet(&self) -> bool {
        self.is_clean()
            && self.net.values().all(VecDeque::is_empty)
            && self.clients.iter().all(|c| c.open.is_empty())
            && self.nodes.iter().all(|n| n.store.queue.is_empty() && n.epoch == self.newest())
            && self
                .nodes
                .iter()
                .flat_map(|n| &n.pg)
                .all(|pg| pg.state_bits() & (state::SNAPTRIM | state::SNAPTRIM_WAIT) == 0)
    }

    pub fn run(mut self) -> Checker {
        let h = PgHistory {
            epoch_created: Epoch(1),
            same_interval_since: Epoch(1),
            same_up_since: Epoch(1),
            same_primary_since: Epoch(1),
            ..PgHistory::default()
        };
        self.create(0, h, Vec::new(), Epoch(1));
        let mut n = 0;
        while !(self.is_clean() && self.check.acked > 5) {
            self.step();
            n += 1;
            assert!(n < 20_000, "never became clean at first:\n{}", self.dump());
        }
        for _ in 0..self.o.steps {
            self.step();
            if self.rng.chance(self.o.chaos) {
                self.chaos();
            }
        }
        self.heal();
        self.check
    }
    fn heal(&mut self) {
        if self.trace {
            eprintln!("{} heal", self.now);
        }
        self.issuing = false;
        for n in 0..self.nodes.len() {
            if !self.nodes[n].alive {
                self.restart(n);
            }
        }
        for i in 0..400_000 {
            self.step();
            if self.pending.osds.iter().all(|o| o.up) && i > 200 && self.quiet() {
                break;
            }
            if i == 399_999 {
                panic!("not clean after healing:\n{}", self.dump());
            }
        }
        // Everything acknowledged can be read, and all copies are alike.
        for i in 0..4 {
            self.issue_read(format!("a{i}"));
        }
        for i in 0..20 {
            self.issue_read(format!("w{i}"));
        }
        for i in 0.. {
            self.step();
            if self.quiet() {
                break;
            }
            assert!(i < 100_000, "reads hang after healing:\n{}", self.dump());
        }
        // A damaged copy that nobody read is scrub's business.
        self.nodes.iter_mut().for_each(|n| n.store.bad.clear());
        self.compare();
    }
    fn issue_read(&mut self, name: String) {
        self.issue_op(0, name, Ask::Read);
    }
    fn compare(&self) {
        let m = self.map(self.newest());
        let acting = m.placement(PGID.pg).acting;
        let mut first: Option<BTreeMap<HObject, Contents>> = None;
        for o in &acting {
            let s = &self.nodes[o.0 as usize].store;
            let got = contents(s);
            match &first {
                None => first = Some(got),
                Some(f) => {
                    for (k, v) in f {
                        assert_eq!(got.get(k), Some(v), "osd.{} against osd.{}: {k}", o.0, acting[0].0);
                    }
                    assert_eq!(got.len(), f.len(), "osd.{} has more objects", o.0);
                }
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            if !acting.contains(&OsdId(n as i32)) {
                assert!(node.pg.is_none(), "osd.{n} keeps a copy that nobody needs:\n{}", self.dump());
            }
        }
        let p = self.nodes[acting[0].0 as usize].pg.as_ref().unwrap();
        let f = first.unwrap();
        assert_eq!(p.info().counters.num_objects, f.len() as i64, "object count");
        let clones = f.keys().filter(|o| !o.is_head()).count();
        assert_eq!(p.info().counters.num_clones, clones as i64, "clone count");
    }
    pub fn dump(&self) -> String {
        let mut s = format!("map {:?}\n", self.map(self.newest()));
        for (i, n) in self.nodes.iter().enumerate() {
            s += &format!(
                "osd.{i} alive {} epoch {} life {} queue {}",
                n.alive,
                n.epoch,
                n.life,
                n.store.queue.len()
            );
            if let Some(pg) = &n.pg {
                s += &format!(
                    " {:?} {} missing {:?}\n{}",
                    pg.state(),
                    state::text(pg.state_bits()),
                    pg.missing(),
                    pg.query_json()
                );
            }
            s += "\n";
        }
        for ((a, b), q) in &self.net {
            s += &format!("net {a}->{b}: {}\n", q.len());
        }
        for (i, c) in self.clients.iter().enumerate() {
            for (op, name, ask, _) in &c.open {
                s += &format!("client {i} e{} waits for {} {name} {ask:?}\n", c.epoch, op.tid);
            }
        }
        s
    }
}

type Contents = (Bytes, Vec<(Bytes, Bytes)>, Vec<(Bytes, Bytes)>);
fn contents(s: &CrashStore) -> BTreeMap<HObject, Contents> {
    let mut out = BTreeMap::new();
    for o in s.list(COLL, &HObject::MIN, 100_000).unwrap() {
        if o.pool != PoolId(1) || o.name.is_empty() {
            assert!(!o.name.starts_with(b"recovering"), "a piece was left behind: {o}");
            continue;
        }
        let size = s.stat(COLL, &o).unwrap().size;
        let c = (
            s.read(COLL, &o, 0, size).unwrap(),
            s.getattrs(COLL, &o).unwrap(),
            s.omap_list(COLL, &o, None, 100_000).unwrap(),
        );
        out.insert(o, c);
    }
    out
}
