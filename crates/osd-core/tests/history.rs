//! The maps of a cluster from its OSDs' stores: what several stores hold together, what damage costs, and what is refused.

use bytes::Bytes;
use denc::Features;
use messages::MOsdMap;
use objstore::{CollId, CommitToken, ObjectStore, Transaction, TxnOp};
use osd_core::Superblock;
use osd_core::history::{History, HistoryError, Source};
use osd_core::mapstore::MapStore;
use osd_core::superblock::{full_map_oid, inc_map_oid};
use osd_ops::testing::MemStore;
use std::collections::BTreeMap;
use types::osdmap::{NewMap, OsdMap, OsdMapIncremental, flag};
use types::{Epoch, Fsid, HObject, OsdId, Utime};

const STORED: Features = Features(types::features::SUPPORTED);

fn fsid(n: u8) -> Fsid {
    Fsid([n; 16])
}

/// Maps 1 to `n`, and the incrementals to them. `salt` makes histories differ from epoch 20 on.
struct Cluster {
    maps: Vec<OsdMap>,
    incs: Vec<Bytes>,
}
impl Cluster {
    fn new(n: u32, salt: u32) -> Cluster {
        let (map, inc) = NewMap::new(fsid(1), Utime::from_secs(1)).build_incremental(STORED);
        let mut c = Cluster { maps: vec![map], incs: vec![denc::to_bytes(&inc, STORED)] };
        for e in 2..=n {
            let last = c.maps.last().unwrap();
            let mut inc = OsdMapIncremental::after(last, Utime::from_secs(e));
            inc.new_flags = Some(if e % 2 == 0 { flag::NOOUT } else { flag::DEFAULT });
            if e >= 20 {
                inc.new_pool_max = Some(i64::from(salt));
            }
            let map = last.seal_incremental(&mut inc, STORED).unwrap();
            c.incs.push(denc::to_bytes(&inc, STORED));
            c.maps.push(map);
        }
        c
    }
    fn map(&self, epoch: u32) -> &OsdMap {
        &self.maps[epoch as usize - 1]
    }
}

struct Osd {
    store: MemStore,
    sb: Superblock,
    maps: MapStore,
}
impl Osd {
    fn new(id: i32) -> Osd {
        let mut store = MemStore::default();
        store.queue(Superblock::mkfs(fsid(1), fsid(100 + id as u8), OsdId(id)), CommitToken(1)).unwrap();
        let sb = Superblock::load(&store).unwrap();
        Osd { store, sb, maps: MapStore::new(4) }
    }
    /// Takes maps in as the OSD does: a full one first (or epoch 1), incrementals behind it.
    fn take(&mut self, c: &Cluster, first: u32, last: u32) {
        let mut m =
            MOsdMap { fsid: fsid(1), oldest: Epoch(first), newest: Epoch(last), ..MOsdMap::default() };
        for e in first..=last {
            let jumps = e == first && self.sb.newest_map.next() != Epoch(first);
            match jumps {
                true => drop(m.maps.insert(Epoch(e), c.map(e).to_bytes(STORED))),
                false => drop(m.incremental_maps.insert(Epoch(e), c.incs[e as usize - 1].clone())),
            }
        }
        let mut txn = Transaction::new();
        self.maps.take(&self.store, &mut self.sb, &m, &mut txn).unwrap();
        self.sb.save(&mut txn);
        self.store.queue(txn, CommitToken(2)).unwrap();
        assert_eq!(self.sb.newest_map, Epoch(last));
    }
    fn change(&mut self, ops: Vec<TxnOp>) {
        let mut txn = Transaction::new();
        ops.into_iter().for_each(|o| txn.push(o));
        self.store.queue(txn, CommitToken(3)).unwrap();
    }
    fn lose(&mut self, oid: HObject) {
        self.change(vec![TxnOp::Remove { coll: CollId::Meta, oid }]);
    }
    fn spoil(&mut self, oid: HObject) {
        self.change(vec![TxnOp::Write {
            coll: CollId::Meta,
            oid,
            off: 40,
            data: Bytes::from_static(b"spoilt"),
        }]);
    }
    fn source(&self) -> Source<'_> {
        Source { name: format!("osd.{}", self.sb.whoami), sb: self.sb.clone(), store: &self.store }
    }
}

fn gather(osds: &[&Osd]) -> Result<History, HistoryError> {
    History::gather(&osds.iter().map(|o| o.source()).collect::<Vec<_>>())
}
fn ranges(h: &History) -> Vec<(u32, u32)> {
    let last = |s: &osd_core::history::Segment| s.incs.last().map_or(s.first.epoch, |i| i.0).0;
    h.segments.iter().map(|s| (s.first.epoch.0, last(s))).collect()
}

#[test]
fn the_newest_map_and_the_longest_history_come_from_whoever_has_them() {
    let c = Cluster::new(50, 7);
    let (mut a, mut b, fresh) = (Osd::new(0), Osd::new(1), Osd::new(2));
    a.take(&c, 1, 30);
    b.take(&c, 20, 50);
    let h = gather(&[&a, &b, &fresh]).unwrap();
    assert_eq!(ranges(&h), [(1, 50)]);
    assert_eq!((&h.newest, h.damaged.len()), (c.map(50), 0));
    assert_eq!(ranges(&gather(&[&b]).unwrap()), [(20, 50)]);
    // Epochs that nobody has: two pieces.
    let mut old = Osd::new(3);
    old.take(&c, 1, 10);
    assert_eq!(ranges(&gather(&[&b, &old]).unwrap()), [(1, 10), (20, 50)]);
    assert!(matches!(gather(&[&fresh]), Err(HistoryError::NoMaps)));
    assert!(matches!(gather(&[]), Err(HistoryError::NoMaps)));
}

#[test]
fn a_damaged_copy_is_passed_over_while_another_store_has_a_whole_one() {
    let c = Cluster::new(50, 7);
    let (mut a, mut b) = (Osd::new(0), Osd::new(1));
    a.take(&c, 1, 50);
    b.take(&c, 1, 50);
    a.spoil(inc_map_oid(Epoch(25)));
    a.spoil(full_map_oid(Epoch(50)));
    let h = gather(&[&a, &b]).unwrap();
    assert_eq!((ranges(&h), h.damaged.len()), (vec![(1, 50)], 2));
    assert_eq!(h.newest, *c.map(50));
    // With one store only: history goes on from the full map, and the newest follows from its incremental.
    let h = gather(&[&a]).unwrap();
    assert_eq!(ranges(&h), [(1, 24), (25, 50)]);
    assert_eq!(h.newest, *c.map(50));
    a.lose(inc_map_oid(Epoch(50)));
    assert!(matches!(gather(&[&a]), Err(HistoryError::Newest { epoch: Epoch(50), .. })));
}

#[test]
fn stores_that_lived_in_different_histories_are_refused() {
    let (c, other) = (Cluster::new(50, 7), Cluster::new(40, 8));
    let (mut a, mut b) = (Osd::new(0), Osd::new(1));
    a.take(&c, 1, 50);
    b.take(&other, 1, 19);
    assert!(gather(&[&a, &b]).is_ok(), "the same until here");
    b.take(&other, 20, 33);
    let Err(HistoryError::Disagree { epoch, .. }) = gather(&[&a, &b]) else { panic!("not refused") };
    assert_eq!(epoch, Epoch(20));
    // Without incrementals to compare, full maps tell.
    let mut full = Osd::new(2);
    full.take(&other, 33, 33);
    let Err(HistoryError::Disagree { epoch, .. }) = gather(&[&a, &full]) else { panic!("not refused") };
    assert_eq!(epoch, Epoch(33));
}

#[test]
fn other_clusters_and_the_same_osd_twice_and_impossible_ranges_are_refused() {
    let c = Cluster::new(5, 7);
    let (mut a, mut b) = (Osd::new(0), Osd::new(1));
    a.take(&c, 1, 5);
    b.take(&c, 1, 5);
    assert!(matches!(gather(&[&a, &a]), Err(HistoryError::Twice { .. })));
    b.sb.cluster_fsid = fsid(9);
    assert!(matches!(gather(&[&a, &b]), Err(HistoryError::OtherCluster { .. })));
    for (oldest, newest) in [(0, 5), (6, 5), (1, u32::MAX), (u32::MAX - 1, u32::MAX)] {
        (a.sb.oldest_map, a.sb.newest_map) = (Epoch(oldest), Epoch(newest));
        assert!(matches!(gather(&[&a]), Err(HistoryError::Range { .. })), "{oldest} to {newest}");
    }
}

#[test]
fn any_bytes_in_place_of_a_map_are_passed_over_or_refused_and_never_more() {
    let c = Cluster::new(6, 7);
    let mut ends: BTreeMap<bool, u32> = BTreeMap::new();
    let whole = c.map(6).to_bytes(STORED);
    for n in 0..whole.len() {
        let mut a = Osd::new(0);
        a.take(&c, 1, 6);
        a.lose(inc_map_oid(Epoch(6)));
        let oid = full_map_oid(Epoch(6));
        let mut bytes = whole.to_vec();
        bytes[n] ^= 0x55;
        let data = Bytes::from(if n % 2 == 0 { bytes } else { bytes[..n].to_vec() });
        a.change(vec![
            TxnOp::Truncate { coll: CollId::Meta, oid: oid.clone(), size: 0 },
            TxnOp::Write { coll: CollId::Meta, oid, off: 0, data },
        ]);
        *ends.entry(gather(&[&a]).is_ok()).or_default() += 1;
    }
    assert_eq!(ends.keys().collect::<Vec<_>>(), [&false], "the checksum finds each of them");
}
