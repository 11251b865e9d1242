//! The store on real files: made, used, unmounted with and without a checkpoint, locked, linked.

use bytes::Bytes;
use disk::{DiskError, DiskOptions, DiskStore};
use objstore::{CollId, CommitToken, ObjectStore, Transaction, TxnOp};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use types::{Fsid, HObject};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("loligo-disk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(folder: &Folder) -> DiskOptions {
    let mut o = DiskOptions::new(folder.0.join("osd-0"));
    o.data_bytes = 64 << 20;
    o.journal_bytes = 4 << 20;
    o
}
fn object(n: u32) -> HObject {
    HObject { name: Bytes::from(format!("o{n}")), hash: n, ..HObject::MIN }
}
fn wait(s: &mut DiskStore, n: usize) -> Vec<CommitToken> {
    let mut out = Vec::new();
    while out.len() < n {
        s.kick();
        s.poll_commits(&mut out);
        assert_eq!(s.failure(), None);
        s.wait(Duration::from_millis(20));
    }
    out
}
fn write(n: u32, len: usize) -> Transaction {
    let data = Bytes::from((0..len).map(|i| (i as u32 * 31 + n) as u8).collect::<Vec<_>>());
    let ops = vec![TxnOp::Write { coll: CollId::Meta, oid: object(n), off: u64::from(n), data }];
    Transaction { ops, read_here: n.is_multiple_of(2) }
}
fn check(s: &DiskStore, n: u32, len: usize) {
    let b = s.read(CollId::Meta, &object(n), u64::from(n), len as u64).unwrap();
    assert_eq!(b.len(), len);
    assert!(b.iter().enumerate().all(|(i, x)| *x == (i as u32 * 31 + n) as u8), "object {n}");
}

#[test]
fn what_was_committed_is_there_after_close_and_after_drop() {
    for direct in [true, false] {
        let folder = Folder::new(if direct { "direct" } else { "buffered" });
        let mut opts = options(&folder);
        opts.direct_journal = direct;
        assert!(!DiskStore::exists(&opts.dir));
        DiskStore::mkfs(&opts, Fsid([3; 16])).unwrap();
        assert!(DiskStore::exists(&opts.dir));
        assert!(matches!(DiskStore::mkfs(&opts, Fsid([4; 16])), Err(DiskError::Exists(_))));
        let wakes = Arc::new(AtomicU64::new(0));
        let hook = wakes.clone();
        let open = || {
            let hook = hook.clone();
            DiskStore::open(
                &opts,
                Arc::new(move || {
                    let _ = hook.fetch_add(1, Ordering::Relaxed);
                }),
            )
            .unwrap()
        };
        let mut s = open();
        s.queue(Transaction::from(vec![TxnOp::CreateColl { coll: CollId::Meta }]), CommitToken(0)).unwrap();
        let sizes = [10usize, 4096, 5000, 70_000, 900_000, 65_536];
        for round in 0..5u32 {
            for (i, len) in sizes.iter().enumerate() {
                let n = round * 10 + i as u32;
                s.queue(write(n, *len), CommitToken(u64::from(n))).unwrap();
            }
            let want = sizes.len() + usize::from(round == 0);
            assert_eq!(wait(&mut s, want).len(), want);
            s = match round {
                1 => {
                    s.close(Duration::from_secs(20));
                    open()
                }
                2 | 3 => {
                    drop(s);
                    open()
                }
                _ => s,
            };
            for r in 0..=round {
                for (i, len) in sizes.iter().enumerate() {
                    check(&s, r * 10 + i as u32, *len);
                }
            }
        }
        assert_eq!(s.uuid(), Fsid([3; 16]));
        assert!(wakes.load(Ordering::Relaxed) >= 5);
    }
}

#[test]
fn a_mounted_store_is_locked() {
    let folder = Folder::new("lock");
    let opts = options(&folder);
    DiskStore::mkfs(&opts, Fsid([3; 16])).unwrap();
    let s = DiskStore::open(&opts, Arc::new(|| {})).unwrap();
    assert!(matches!(DiskStore::open(&opts, Arc::new(|| {})), Err(DiskError::Busy(_))));
    drop(s);
    DiskStore::open(&opts, Arc::new(|| {})).unwrap();
}

#[test]
fn data_and_journal_may_be_elsewhere() {
    let folder = Folder::new("links");
    let mut opts = options(&folder);
    opts.journal = Some(folder.0.join("fast-journal"));
    opts.data = Some(folder.0.join("data-disk"));
    DiskStore::mkfs(&opts, Fsid([3; 16])).unwrap();
    assert_eq!(std::fs::read_link(opts.dir.join("journal")).unwrap(), folder.0.join("fast-journal"));
    assert_eq!(std::fs::metadata(folder.0.join("fast-journal")).unwrap().len(), 4 << 20);
    let mut s = DiskStore::open(&opts, Arc::new(|| {})).unwrap();
    s.queue(Transaction::from(vec![TxnOp::CreateColl { coll: CollId::Meta }]), CommitToken(1)).unwrap();
    assert_eq!(wait(&mut s, 1), vec![CommitToken(1)]);
}

#[test]
fn a_journal_of_another_store_is_not_replayed() {
    let folder = Folder::new("foreign");
    let mut a = options(&folder);
    a.journal = Some(folder.0.join("journal"));
    DiskStore::mkfs(&a, Fsid([1; 16])).unwrap();
    let mut s = DiskStore::open(&a, Arc::new(|| {})).unwrap();
    s.queue(Transaction::from(vec![TxnOp::CreateColl { coll: CollId::Meta }]), CommitToken(1)).unwrap();
    wait(&mut s, 1);
    drop(s);
    let journal = std::fs::read(folder.0.join("journal")).unwrap();
    let mut b = options(&folder);
    b.dir = folder.0.join("osd-1");
    DiskStore::mkfs(&b, Fsid([2; 16])).unwrap();
    std::fs::write(b.dir.join("journal"), journal).unwrap();
    assert!(DiskStore::open(&b, Arc::new(|| {})).unwrap().collections().is_empty());
}

#[test]
fn a_long_read_is_checked_piece_by_piece_and_names_the_first_bad_unit() {
    let folder = Folder::new("bad-unit");
    let opts = options(&folder);
    DiskStore::mkfs(&opts, Fsid([7; 16])).unwrap();
    let mut s = DiskStore::open(&opts, Arc::new(|| {})).unwrap();
    s.queue(Transaction::from(vec![TxnOp::CreateColl { coll: CollId::Meta }]), CommitToken(1)).unwrap();
    let data: Vec<u8> = (0..256u32).flat_map(|unit| [unit.to_le_bytes(); 1024].concat()).collect();
    let write = TxnOp::Write { coll: CollId::Meta, oid: object(0), off: 0, data: data.clone().into() };
    s.queue(Transaction { ops: vec![write], read_here: true }, CommitToken(2)).unwrap();
    assert_eq!(wait(&mut s, 2).len(), 2);
    let mut out = b"head".to_vec();
    let crc = s.read_into(CollId::Meta, &object(0), 0, 1 << 20, &mut out).unwrap();
    assert!(crc.is_some() && out[..4] == *b"head" && out[4..] == data[..]);

    // Behind the store's back: one byte of unit 200.
    use std::os::unix::fs::FileExt;
    let block = std::fs::OpenOptions::new().read(true).write(true).open(opts.dir.join("block")).unwrap();
    let mut unit = [0; 4096];
    let at = (0..64 << 8).map(|n| n * 4096).find(|at| {
        block.read_exact_at(&mut unit, *at).unwrap();
        unit[..] == data[200 * 4096..201 * 4096]
    });
    block.write_all_at(&[1], at.unwrap() + 77).unwrap();
    let bad = objstore::StoreError::Corrupt { oid: object(0), offset: 200 * 4096 };
    let mut out = Vec::new();
    assert_eq!(s.read_into(CollId::Meta, &object(0), 0, 1 << 20, &mut out), Err(bad.clone()));
    assert_eq!(s.read(CollId::Meta, &object(0), 0, 1 << 20), Err(bad));
    assert_eq!(s.read(CollId::Meta, &object(0), 0, 200 * 4096).unwrap(), data[..200 * 4096]);
}
