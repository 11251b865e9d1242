//! What the targets start from: the golden files of the crates, and bytes that our own code makes.

use bytes::Bytes;
use denc::{Encoder, Features};
use messages::{OpCode, OsdOp, Payload};
use objstore::{CollId, CommitToken, ObjectStore, Transaction, TxnOp};
use std::fs;
use std::path::{Path, PathBuf};
use store_core::simdev::SimDevice;
use store_core::{IoStep, Store, StoreConfig};
use types::{Fsid, HObject, PgId, PoolId, SpgId};

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for p in paths {
        if p.is_dir() {
            walk(&p, out);
        } else {
            out.push(p);
        }
    }
}

/// The golden files of a crate whose path under `tests/golden` starts with `prefix`.
pub fn golden(krate: &str, prefix: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(krate).join("tests/golden");
    let mut paths = Vec::new();
    walk(&dir, &mut paths);
    let wanted = |p: &PathBuf| p.strip_prefix(&dir).is_ok_and(|p| p.to_string_lossy().starts_with(prefix));
    paths.iter().filter(|p| wanted(p)).map(|p| fs::read(p).unwrap_or_default()).collect()
}

/// Each sample behind each of these first bytes.
pub fn with_first(first: &[u8], samples: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    first.iter().flat_map(|f| samples.iter().map(|s| [&[*f], s.as_slice()].concat())).collect()
}

/// Both directions of stock's handshakes.
pub fn streams() -> Vec<Vec<u8>> {
    golden("msgr", "")
}

/// Structures of cephx.
pub fn cephx() -> Vec<Vec<u8>> {
    golden("cephx", "")
}

/// Keyrings and capabilities.
pub fn texts() -> Vec<Vec<u8>> {
    [
        "[client.admin]\n\tkey = AQBr8iFnAAAAABAAmBNzVWGzQrvXp1nZpD0mGQ==\n\tcaps mon = \"allow *\"\n",
        "allow *",
        "allow rwx pool=images, allow class-read object_prefix rbd_children",
        "allow rw namespace=\"a b\" pool=x, profile rbd-read-only pool='y'",
        "allow r, allow command \"osd blocklist\" with addr regex \"^[0-9]\", profile osd",
        "allow command config-key with key prefix rbd/ network 10.0.0.0/8",
        "allow service osd rw, allow module x r, allow command y arg=z",
        "allow rw tag cephfs data=*, allow rw fsname=a path=/b root_squash uid=1 gids=1,2",
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .collect()
}

/// Stock's messages in the shape that [`messages::fuzz::fuzz_message`] reads.
pub fn messages() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for file in golden("messages", "") {
        let u16_at = |at: usize| u16::from_le_bytes([file[at], file[at + 1]]);
        let u32_at =
            |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize;
        let Some(index) = messages::registry::KNOWN.iter().position(|k| *k == u16_at(0)) else { continue };
        let (front, middle) = (26 + u32_at(14), 26 + u32_at(14) + u32_at(18));
        let (front, data) = (&file[26..front], &file[middle..]);
        let whole = front.len() + data.len();
        // The cut is a share of 255: exact when there is no data, close otherwise.
        let cut = if data.is_empty() { 255 } else { (front.len() * 255).div_ceil(whole.max(1)).min(255) };
        let mut s = (index as u16).to_le_bytes().to_vec();
        s.extend([file[2], cut as u8]);
        s.extend_from_slice(front);
        s.extend_from_slice(data);
        out.push(s);
    }
    out
}

/// Maps other than the OSD map; the first byte chooses the type.
pub fn maps() -> Vec<Vec<u8>> {
    let names = ["MonMap/", "MgrMap/", "FSMap/", "ServiceMap/", "LogEntry/", "OSDSuperblock/", "CompatSet/"];
    let mut out: Vec<Vec<u8>> =
        (0..).zip(names).flat_map(|(n, name)| with_first(&[n], golden("types", name))).collect();
    out.extend(with_first(&[13], golden("types", "MDSMap/")));
    out.extend(with_first(&[14], golden("types", "Filesystem/")));
    out.extend(with_first(&[16], golden("types", "PGMapDigest/")));
    out.extend(with_first(&[17], golden("types", "ProgressEvent/")));
    out.extend((0..crate::targets::MAPS as u8).map(|n| [&[n], [1u8; 64].as_slice()].concat()));
    out
}

/// OSD maps, `full.` or `inc.`.
pub fn osdmaps(kind: &str) -> Vec<Vec<u8>> {
    golden("types", &format!("osdmap/{kind}"))
}

/// CRUSH maps in binary.
pub fn crush() -> Vec<Vec<u8>> {
    let magic = 0x0001_0000u32.to_le_bytes();
    golden("crush", "").into_iter().filter(|f| f.starts_with(&magic)).collect()
}

/// Vectors of one and two ops: each code that exists, with a name, a value and numbers as data.
pub fn osd_ops() -> Vec<Vec<u8>> {
    let codes: Vec<u16> = (0..=u16::MAX).filter(|c| OpCode(*c).name() != "???").collect();
    let mut out = Vec::new();
    for pair in codes.chunks(2) {
        let mut heads = Encoder::with_capacity(Features::ALL, 128);
        heads.u8(pair.len() as u8);
        for code in pair {
            let mut op = OsdOp::new(OpCode(*code));
            op.union[8] = 4;
            op.data = Bytes::from_static(b"name\x05\0\0\0value\x01\0\0\0\0\0\0\0");
            op.encode_head(&mut heads);
        }
        let mut s = heads.finish().to_vec();
        pair.iter().for_each(|_| s.extend_from_slice(b"name\x05\0\0\0value\x01\0\0\0\0\0\0\0"));
        out.push(s);
    }
    out
}

/// Calls of each class method with inputs of several common shapes.
pub fn class_calls() -> Vec<Vec<u8>> {
    let count = cls::classes().iter().map(|c| c.methods.len()).sum::<usize>() as u8;
    let mut string = Encoder::with_capacity(Features::ALL, 64);
    string.put("name");
    let string = string.finish().to_vec();
    let number = 1u64.to_le_bytes().to_vec();
    let shapes: Vec<Vec<u8>> = vec![
        vec![],
        number.clone(),
        string.clone(),
        [number.clone(), string.clone()].concat(),
        [string.clone(), number.clone()].concat(),
        [string.clone(), string.clone()].concat(),
        [number.clone(), number.clone(), number.clone()].concat(),
        // rbd create: size, order, features, prefix, data pool
        [&(64u64 << 20).to_le_bytes()[..], &[22], &61u64.to_le_bytes(), &string, &(-1i64).to_le_bytes()]
            .concat(),
    ];
    let call = |m: u8, input: &[u8]| [&[m, input.len() as u8], input].concat();
    let mut out: Vec<Vec<u8>> =
        golden("cls", "").into_iter().filter(|f| f.len() < 250).map(|f| call(0, &f)).collect();
    for m in 0..count {
        out.push(shapes.iter().flat_map(|s| call(m, s)).collect());
    }
    // One object through everything.
    out.push((0..count).flat_map(|m| call(m, &shapes[7])).collect());
    out
}

/// A few transactions of every kind of op.
fn some_transactions() -> Vec<Transaction> {
    let coll = CollId::Pg(SpgId::replicated(PgId { pool: PoolId(1), seed: 2 }));
    let oid =
        |n: &'static str| HObject { pool: PoolId(1), name: Bytes::from_static(n.as_bytes()), ..HObject::MIN };
    let b = |s: &'static str| Bytes::from_static(s.as_bytes());
    let ops = [
        TxnOp::CreateColl { coll },
        TxnOp::Touch { coll, oid: oid("a") },
        TxnOp::Write { coll, oid: oid("a"), off: 4096, data: Bytes::from(vec![7; 300]) },
        TxnOp::Write { coll, oid: oid("b"), off: 0, data: Bytes::from(vec![8; 256 << 10]) },
        TxnOp::Zero { coll, oid: oid("a"), off: 4100, len: 10 },
        TxnOp::Truncate { coll, oid: oid("a"), size: 5000 },
        TxnOp::SetAttr { coll, oid: oid("a"), name: b("_"), value: b("value") },
        TxnOp::RmAttr { coll, oid: oid("a"), name: b("_") },
        TxnOp::Clone { coll, src: oid("a"), dst: oid("c") },
        TxnOp::CloneRange { coll, src: oid("b"), dst: oid("c"), src_off: 0, len: 8192, dst_off: 0 },
        TxnOp::OmapSet { coll, oid: oid("a"), pairs: vec![(b("k1"), b("v1")), (b("k2"), b("v2"))] },
        TxnOp::OmapRm { coll, oid: oid("a"), keys: vec![b("k1")] },
        TxnOp::OmapRmRange { coll, oid: oid("a"), first: b("k"), last: b("l") },
        TxnOp::OmapSetHeader { coll, oid: oid("a"), header: b("header") },
        TxnOp::OmapClear { coll, oid: oid("a") },
        TxnOp::Rename { coll, src: oid("c"), dst: oid("d") },
        TxnOp::Remove { coll, oid: oid("d") },
    ];
    ops.chunks(3).map(|c| Transaction::from(c.to_vec())).collect()
}

/// Transactions as OSDs send them to each other.
pub fn transactions() -> Vec<Vec<u8>> {
    let split = |t: &Transaction| {
        let (meta, data) = t.encode_split();
        let data = data.concat();
        let mut s = (meta.len() as u16).to_le_bytes().to_vec();
        s.extend_from_slice(&meta);
        s.extend_from_slice(&data[..data.len().min(1000)]);
        s
    };
    some_transactions().iter().map(split).collect()
}

/// Everything that a store writes: superblocks, journal records, pages of the index.
pub fn store_writes() -> Vec<Vec<u8>> {
    let (data, journal) = (64 << 20, 16 << 20);
    let device = SimDevice::new(data, journal);
    let mut out = Vec::new();
    let mut note = |steps: &[IoStep]| {
        for s in steps {
            if let IoStep::Write { bufs, .. } = s {
                let whole = bufs.concat();
                if whole.iter().any(|b| *b != 0) && whole.len() <= crate::mutate::INPUT_MAX {
                    out.push(whole);
                }
            }
        }
    };
    let first = store_core::mkfs(Fsid([5; 16]), data, journal);
    note(&first.steps);
    device.run(&first);
    let config = StoreConfig { dirty_bytes_max: 1, ..StoreConfig::with_memory(64 << 20) };
    let mut store = Store::open(Box::new(device.clone()), config).expect("a fresh store opens");
    for (n, txn) in some_transactions().into_iter().enumerate() {
        store.queue(txn, CommitToken(n as u64)).expect("a fresh store takes transactions");
        store.request_checkpoint();
        while let Some(batch) = store.poll_io() {
            note(&batch.steps);
            let done = device.run(&batch);
            store.handle_io_done(done);
        }
    }
    out
}

/// `MAGIC` of a journal record.
const JOURNAL_MAGIC: u64 = 0x6c61_6e72_756f_6a6c;

/// The first bytes of a journal record: magic, version, no checksum yet, lengths.
pub fn record_header(body: usize, txns: u8, meta: usize) -> Vec<u8> {
    let mut h = JOURNAL_MAGIC.to_le_bytes().to_vec();
    h.extend([1, 0, 0, 0]);
    h.extend([0; 4]);
    h.extend([5; 16]);
    h.extend(1u64.to_le_bytes());
    h.extend(((64 + body).next_multiple_of(4096) as u64).to_le_bytes());
    h.extend(u32::from(txns).to_le_bytes());
    h.extend((meta as u32).to_le_bytes());
    h.extend(((body - meta) as u32).to_le_bytes());
    h.extend([0; 4]);
    h
}

/// Bodies of the journal records among what a store writes.
pub fn journal_bodies() -> Vec<Vec<u8>> {
    let magic = JOURNAL_MAGIC.to_le_bytes();
    let u32_at = |r: &[u8], at: usize| u32::from_le_bytes([r[at], r[at + 1], r[at + 2], r[at + 3]]) as usize;
    store_writes()
        .into_iter()
        .filter(|r| r.starts_with(&magic))
        .map(|r| {
            let (txns, meta, payload) = (u32_at(&r, 48), u32_at(&r, 52), u32_at(&r, 56));
            [&[txns as u8, meta as u8, (meta >> 8) as u8], &r[64..64 + meta + payload]].concat()
        })
        .collect()
}

/// Replication messages: the tag of each kind with zeros and with a transaction behind it.
pub fn pg_messages() -> Vec<Vec<u8>> {
    let txn = transactions().concat();
    let typical = [
        pg::PgMsg::Push(pg::msg::Push {
            data: vec![(0, Bytes::from_static(b"data"))],
            size: 9,
            ..Default::default()
        }),
        pg::PgMsg::RepOp(pg::msg::RepOp { txn: some_transactions().remove(0), ..Default::default() }),
    ];
    let typical = typical.into_iter().map(|body| {
        let pgid = SpgId::replicated(PgId { pool: PoolId(1), seed: 2 });
        let (front, _, data) =
            pg::PgMessage { pgid, epoch: types::Epoch(9), body }.encode_parts(Features::ALL);
        [&(front.len() as u16).to_le_bytes()[..], &front, &data].concat()
    });
    let guessed = (1..=20u8).flat_map(|tag| [vec![0u8; 400], txn.clone()].map(|body| (tag, body))).map(
        |(tag, body)| {
            let mut front = Encoder::with_capacity(Features::ALL, 64);
            front.put(&SpgId::replicated(PgId { pool: PoolId(1), seed: 2 }));
            front.u32(9);
            front.u8(tag);
            front.versioned(1, 1, |e| e.raw(&body));
            let front = front.finish();
            [&(front.len() as u16).to_le_bytes()[..], &front].concat()
        },
    );
    typical.chain(guessed).collect()
}
