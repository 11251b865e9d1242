//! A plain model of an object store, random transactions, and a world that runs a store on a [`SimDevice`] step by step.
#![allow(dead_code)]

use bytes::Bytes;
use objstore::{CollId, CommitToken, ObjectStore, StoreError, Transaction, TxnOp};
use std::collections::BTreeMap;
use std::rc::Rc;
use store_core::simdev::{Dice, SimDevice};
use store_core::{IoDone, IoStep, Lane, Store, StoreConfig};
use types::{Fsid, HObject, PgId, PoolId, SnapId, SpgId};

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct MObj {
    pub data: Vec<u8>,
    pub attrs: BTreeMap<Bytes, Bytes>,
    pub omap: BTreeMap<Bytes, Bytes>,
    pub header: Bytes,
}
impl MObj {
    fn put(&mut self, off: u64, data: &[u8]) {
        let end = off as usize + data.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[off as usize..end].copy_from_slice(data);
    }
}

/// What the store should hold.
#[derive(Clone, Default)]
pub struct Model(pub BTreeMap<CollId, BTreeMap<HObject, Rc<MObj>>>);
impl Model {
    fn at(&mut self, c: CollId, o: &HObject) -> &mut MObj {
        Rc::make_mut(self.0.get_mut(&c).unwrap().entry(o.clone()).or_default())
    }
    pub fn apply(&mut self, txn: &Transaction) {
        for op in txn.ops.clone() {
            match op {
                TxnOp::CreateColl { coll } => assert!(self.0.insert(coll, BTreeMap::new()).is_none()),
                TxnOp::RemoveColl { coll } => assert!(self.0.remove(&coll).is_some()),
                TxnOp::Touch { coll, oid } => drop(self.at(coll, &oid)),
                TxnOp::Write { coll, oid, off, data } => self.at(coll, &oid).put(off, &data),
                TxnOp::Zero { coll, oid, off, len } => {
                    self.at(coll, &oid).put(off, &vec![0; len as usize]);
                }
                TxnOp::Truncate { coll, oid, size } => self.at(coll, &oid).data.resize(size as usize, 0),
                TxnOp::Remove { coll, oid } => drop(self.0.get_mut(&coll).unwrap().remove(&oid)),
                TxnOp::SetAttr { coll, oid, name, value } => {
                    self.at(coll, &oid).attrs.insert(name, value);
                }
                TxnOp::RmAttr { coll, oid, name } => drop(self.at(coll, &oid).attrs.remove(&name)),
                TxnOp::Clone { coll, src, dst } => {
                    let from = self.0[&coll][&src].clone();
                    self.0.get_mut(&coll).unwrap().insert(dst, from);
                }
                TxnOp::CloneRange { coll, src, dst, src_off, len, dst_off } => {
                    let from = self.0[&coll][&src].clone();
                    let end = ((src_off + len) as usize).min(from.data.len());
                    let part = from.data.get(src_off as usize..end).unwrap_or(&[]);
                    self.at(coll, &dst).put(dst_off, part);
                }
                TxnOp::OmapSet { coll, oid, pairs } => self.at(coll, &oid).omap.extend(pairs),
                TxnOp::OmapRm { coll, oid, keys } => {
                    let o = self.at(coll, &oid);
                    keys.iter().for_each(|k| drop(o.omap.remove(k)));
                }
                TxnOp::OmapRmRange { coll, oid, first, last } => {
                    self.at(coll, &oid).omap.retain(|k, _| *k < first || *k >= last);
                }
                TxnOp::OmapClear { coll, oid } => {
                    let o = self.at(coll, &oid);
                    o.omap.clear();
                    o.header = Bytes::new();
                }
                TxnOp::OmapSetHeader { coll, oid, header } => self.at(coll, &oid).header = header,
                TxnOp::Rename { coll, src, dst } => {
                    let objects = self.0.get_mut(&coll).unwrap();
                    let o = objects.remove(&src).unwrap();
                    objects.insert(dst, o);
                }
            }
        }
    }
    /// Compares all that the store answers; `dice` picks how lists are cut.
    pub fn check(&self, s: &dyn ObjectStore, dice: &mut Dice) {
        assert_eq!(s.collections(), self.0.keys().copied().collect::<Vec<_>>());
        for (coll, objects) in &self.0 {
            let step = 1 + dice.below(5) as usize;
            let mut listed: Vec<HObject> = Vec::new();
            let mut start = HObject::MIN;
            loop {
                let some = s.list(*coll, &start, step + 1).unwrap();
                let skip = usize::from(listed.last().is_some() && listed.last() == some.first());
                let n = some.len();
                listed.extend(some.into_iter().skip(skip));
                if n < step + 1 {
                    break;
                }
                start = listed.last().unwrap().clone();
            }
            assert_eq!(listed, objects.keys().cloned().collect::<Vec<_>>(), "objects of {coll:?}");
            for (oid, o) in objects {
                check_object(s, *coll, oid, o, dice);
            }
        }
    }
}

fn check_object(s: &dyn ObjectStore, coll: CollId, oid: &HObject, o: &MObj, dice: &mut Dice) {
    assert_eq!(s.stat(coll, oid).unwrap().size, o.data.len() as u64, "size of {oid}");
    let all = s.read(coll, oid, 0, u64::MAX).unwrap();
    if all[..] != o.data[..] {
        let at = all.iter().zip(&o.data).position(|(a, b)| a != b);
        panic!("data of {oid} in {coll:?} differs at {at:?}");
    }
    let off = dice.below(o.data.len() as u64 + 10);
    let len = dice.below(20_000);
    let end = (off + len).min(o.data.len() as u64);
    let want = o.data.get(off as usize..end.max(off) as usize).unwrap_or(&[]);
    assert_eq!(&s.read(coll, oid, off, len).unwrap()[..], want);
    let mut behind = b"head".to_vec();
    let crc = s.read_into(coll, oid, off, len, &mut behind).unwrap();
    assert_eq!((&behind[..4], &behind[4..]), (&b"head"[..], want));
    assert_eq!(crc.filter(|c| *c != crc32c::crc32c(want)), None);
    let units = o.data.len() / 4096 * 4096;
    let crc = s.read_into(coll, oid, 0, units as u64, &mut behind).unwrap();
    assert_eq!(behind[4 + want.len()..], o.data[..units]);
    assert_eq!(crc, (units >= 64 << 10).then(|| crc32c::crc32c(&o.data[..units])));
    let mut at = off;
    for (a, n) in s.extents(coll, oid, off, len).unwrap() {
        assert!(a >= at && n > 0 && a + n <= end);
        assert!(o.data[at as usize..a as usize].iter().all(|b| *b == 0), "a hole of {oid} is none");
        at = a + n;
    }
    if at < end {
        assert!(o.data[at as usize..end as usize].iter().all(|b| *b == 0));
    }
    assert_eq!(s.getattrs(coll, oid).unwrap(), o.attrs.clone().into_iter().collect::<Vec<_>>());
    if let Some((k, v)) = o.attrs.iter().next() {
        assert_eq!(s.getattr(coll, oid, k).unwrap().as_ref(), Some(v));
    }
    assert_eq!(s.omap_header(coll, oid).unwrap(), o.header);
    let step = 1 + dice.below(300) as usize;
    let mut pairs: Vec<(Bytes, Bytes)> = Vec::new();
    loop {
        let after = pairs.last().map(|p| p.0.clone());
        let some = s.omap_list(coll, oid, after.as_deref(), step).unwrap();
        let n = some.len();
        pairs.extend(some);
        if n < step {
            break;
        }
    }
    assert_eq!(pairs, o.omap.clone().into_iter().collect::<Vec<_>>(), "omap of {oid}");
    let key = omap_key(dice);
    assert_eq!(s.omap_get(coll, oid, &key).unwrap().as_ref(), o.omap.get(&key));
}

pub fn object(n: u64) -> HObject {
    let name = Bytes::from(format!("object-{n}"));
    let hash = (n as u32).wrapping_mul(0x9e37_79b1);
    HObject { name, hash, pool: PoolId(1), snap: SnapId::HEAD, ..HObject::MIN }
}
pub fn pg(n: u32) -> CollId {
    CollId::Pg(SpgId::replicated(PgId::new(1, n)))
}
fn omap_key(dice: &mut Dice) -> Bytes {
    Bytes::from(format!("key{:05}", dice.below(400)))
}
pub fn noise(dice: &mut Dice, n: u64) -> Bytes {
    let mut v = Vec::with_capacity(n as usize + 8);
    while (v.len() as u64) < n {
        v.extend_from_slice(&dice.roll().to_le_bytes());
    }
    v.truncate(n as usize);
    v.into()
}
pub fn counter() -> HObject {
    HObject { name: Bytes::from_static(b"counter"), ..HObject::MIN }
}
pub fn counter_op(n: u64) -> TxnOp {
    let pairs = vec![(Bytes::from_static(b"n"), Bytes::copy_from_slice(&n.to_be_bytes()))];
    TxnOp::OmapSet { coll: CollId::Meta, oid: counter(), pairs }
}
pub fn counted(s: &dyn ObjectStore) -> u64 {
    match s.omap_get(CollId::Meta, &counter(), b"n") {
        Ok(Some(v)) => u64::from_be_bytes(v[..].try_into().unwrap()),
        Ok(None) | Err(StoreError::NoColl(_) | StoreError::NoObject(_)) => 0,
        Err(e) => panic!("{e}"),
    }
}

const OBJECTS: u64 = 9;
const OBJECT_BYTES: u64 = 700_000;

fn range(dice: &mut Dice) -> (u64, u64) {
    let off = dice.below(OBJECT_BYTES);
    let (off, len) = match dice.below(6) {
        0 => (off, dice.below(100)),
        1 => (off, dice.below(10_000)),
        2 | 3 => (off & !4095, 4096 * (1 + dice.below(3))),
        4 => (off & !4095, 65_536 + 4096 * dice.below(30)),
        _ => (off, dice.below(200_000)),
    };
    (off, len.min(OBJECT_BYTES - off.min(OBJECT_BYTES)))
}

/// A random transaction that is right for the model's state; the model is updated by the caller.
pub fn random_txn(dice: &mut Dice, model: &Model) -> Transaction {
    let mut t = Transaction::new();
    let mut m = model.clone();
    for _ in 0..1 + dice.below(4) {
        let coll = pg(dice.below(2) as u32);
        let one = |op: TxnOp| Transaction::from(vec![op]);
        let oid = object(dice.below(OBJECTS));
        let there = |m: &Model, o: &HObject| m.0[&coll].contains_key(o);
        let step = match dice.below(34) {
            0..=8 => {
                let (off, len) = range(dice);
                one(TxnOp::Write { coll, oid, off, data: noise(dice, len) })
            }
            9 | 10 => {
                let (off, len) = range(dice);
                one(TxnOp::Zero { coll, oid, off, len })
            }
            11 | 12 => one(TxnOp::Truncate { coll, oid, size: range(dice).0 }),
            13 => one(TxnOp::Remove { coll, oid }),
            14 | 15 => {
                let dst = object(dice.below(OBJECTS));
                if !there(&m, &oid) {
                    continue;
                }
                one(TxnOp::Clone { coll, src: oid, dst })
            }
            16 | 17 => {
                let dst = object(dice.below(OBJECTS));
                if !there(&m, &oid) {
                    continue;
                }
                let (src_off, len) = range(dice);
                let dst_off = if dice.one_in(2) { src_off } else { range(dice).0 };
                let len = len.min(OBJECT_BYTES - dst_off.min(OBJECT_BYTES));
                one(TxnOp::CloneRange { coll, src: oid, dst, src_off, len, dst_off })
            }
            18 => {
                let dst = object(dice.below(OBJECTS));
                if !there(&m, &oid) {
                    continue;
                }
                one(TxnOp::Rename { coll, src: oid, dst })
            }
            19 => one(TxnOp::Touch { coll, oid }),
            20..=22 => {
                let n = 1 + dice.below(500);
                let value = noise(dice, n);
                let name = Bytes::from(format!("a{}", dice.below(4)));
                one(TxnOp::SetAttr { coll, oid, name, value })
            }
            23 => one(TxnOp::RmAttr { coll, oid, name: Bytes::from(format!("a{}", dice.below(4))) }),
            24..=27 => {
                let pairs = (0..dice.below(60))
                    .map(|_| {
                        let n = dice.below(if dice.clone().one_in(20) { 9000 } else { 120 });
                        (omap_key(dice), noise(dice, n))
                    })
                    .collect();
                one(TxnOp::OmapSet { coll, oid, pairs })
            }
            28 => {
                let keys = (0..dice.below(30)).map(|_| omap_key(dice)).collect();
                one(TxnOp::OmapRm { coll, oid, keys })
            }
            29 | 30 => {
                let (a, b) = (omap_key(dice), omap_key(dice));
                one(TxnOp::OmapRmRange { coll, oid, first: a.clone().min(b.clone()), last: a.max(b) })
            }
            31 => one(TxnOp::OmapClear { coll, oid }),
            32 => {
                let header = noise(dice, 40);
                one(TxnOp::OmapSetHeader { coll, oid, header })
            }
            _ if dice.one_in(4) => {
                Transaction::from(vec![TxnOp::RemoveColl { coll }, TxnOp::CreateColl { coll }])
            }
            _ => continue,
        };
        m.apply(&step);
        t.append(step);
    }
    t
}

pub fn small_config() -> StoreConfig {
    StoreConfig {
        big_write_bytes: 64 << 10,
        deferred_bytes_max: 256 << 10,
        dirty_bytes_max: 96 << 10,
        object_cache_bytes: 16 << 10,
        page_cache_bytes: 32 << 10,
    }
}

/// A store on a simulated device, its batches run one step at a time.
pub struct World {
    pub dev: SimDevice,
    pub store: Store,
    pub lanes: [Option<(u64, Vec<IoStep>)>; 2],
    /// States by number of transactions.
    pub models: Vec<Model>,
    /// Number of the state that is known to be durable.
    pub durable: u64,
    pub config: StoreConfig,
    /// Of ten steps, how many go to the commit lane when both have some.
    pub bias: u64,
}

impl World {
    pub fn new(data_bytes: u64, journal_bytes: u64, config: StoreConfig) -> World {
        let dev = SimDevice::new(data_bytes, journal_bytes);
        dev.run(&store_core::mkfs(Fsid([5; 16]), data_bytes, journal_bytes)).result.unwrap();
        let store = Store::open(Box::new(dev.clone()), config.clone()).unwrap();
        let mut w = World {
            dev,
            store,
            lanes: [None, None],
            models: vec![Model::default()],
            durable: 0,
            config,
            bias: 5,
        };
        let mut t = Transaction::new();
        for coll in [CollId::Meta, pg(0), pg(1)] {
            t.push(TxnOp::CreateColl { coll });
        }
        w.queue(t).unwrap();
        w
    }
    pub fn now(&self) -> &Model {
        self.models.last().unwrap()
    }
    pub fn queue(&mut self, mut t: Transaction) -> Result<(), StoreError> {
        let n = self.models.len() as u64;
        t.push(counter_op(n));
        t.read_here = n.is_multiple_of(2);
        let mut m = self.now().clone();
        m.apply(&t);
        self.store.queue(t, CommitToken(n))?;
        self.models.push(m);
        Ok(())
    }
    pub fn poll(&mut self) {
        while let Some(b) = self.store.poll_io() {
            let lane = &mut self.lanes[usize::from(b.lane == Lane::Background)];
            assert!(lane.is_none(), "one batch a lane");
            *lane = Some((b.id, b.steps.into_iter().rev().collect()));
        }
        while let Some(t) = self.store.poll_commit() {
            assert_eq!(t.0, self.durable + 1, "commits come in order");
            self.durable = t.0;
        }
    }
    /// Runs one step of one lane. False when there is nothing to do.
    pub fn step(&mut self, dice: &mut Dice) -> bool {
        self.poll();
        let first = usize::from(dice.below(10) >= self.bias);
        for lane in [first, 1 - first] {
            let Some((id, steps)) = &mut self.lanes[lane] else { continue };
            let id = *id;
            let result = steps.pop().map_or(Ok(()), |s| self.dev.step(&s));
            if result.is_err() || steps.is_empty() {
                self.lanes[lane] = None;
                self.store.handle_io_done(IoDone { id, result });
            }
            return true;
        }
        false
    }
    pub fn settle(&mut self, dice: &mut Dice) {
        while self.step(dice) {}
    }
    /// Opens what a crash here leaves, and checks it.
    pub fn check_crash(&self, dice: &mut Dice) -> (SimDevice, Store, u64) {
        let dev = self.dev.crashed(dice);
        let store = Store::open(Box::new(dev.clone()), self.config.clone()).unwrap();
        let n = counted(&store);
        assert!(n >= self.durable, "transaction {} was durable, {n} came back", self.durable);
        self.models[n as usize].check(&store, dice);
        (dev, store, n)
    }
    /// Goes on from a crash.
    pub fn crash(&mut self, dice: &mut Dice) {
        let (dev, store, n) = self.check_crash(dice);
        self.dev = dev;
        self.store = store;
        self.lanes = [None, None];
        self.models.truncate(n as usize + 1);
        self.durable = n;
    }
}
