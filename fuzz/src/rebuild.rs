//! What `loligo mon rebuild` reads from OSDs' stores: their OSDMaps, full and incremental. A history is refused, or a store comes of it that opens.
//!
//! An input is the range of epochs of which each of two OSDs' superblocks speaks, and maps for their stores: a byte of flags, the epoch, a
//! length, the bytes.

use bytes::Bytes;
use cephx::env::testing::TestEnv;
use cephx::{AuthName, CryptoKey, EntityAuth, Env, KeyType};
use denc::Features;
use mon_core::testing::{FSID, World, new_disk};
use mon_core::{MapSegment, MonConfig, RebuildConfig, RebuildError, Role};
use objstore::{CollId, CommitToken, ObjectStore, TxnOp};
use osd_core::Superblock;
use osd_core::history::{History, Source};
use osd_core::superblock::{full_map_oid, inc_map_oid};
use osd_ops::testing::MemStore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use types::monmap::MonMap;
use types::osdmap::{OsdMap, OsdMapIncremental, with_right_crc, without_promise};
use types::{Epoch, Fsid, OsdId, PgId};

const OSDS: usize = 2;
/// Flags: in which store, an incremental, its checksums are left as they are.
const SECOND: u8 = 1;
const INC: u8 = 2;
const AS_IT_IS: u8 = 4;

fn stores(data: &[u8]) -> Option<Vec<(Superblock, MemStore)>> {
    let (ranges, mut rest) = data.split_first_chunk::<4>()?;
    let mut stores: Vec<MemStore> = Vec::new();
    for n in 0..OSDS {
        let mut s = MemStore::default();
        s.queue(Superblock::mkfs(FSID, Fsid([n as u8 + 1; 16]), OsdId(n as i32)), CommitToken(1)).ok()?;
        stores.push(s);
    }
    while let [flags, epoch, a, b, more @ ..] = rest {
        let (bytes, more) = more.split_at(usize::from(u16::from_le_bytes([*a, *b])).min(more.len()));
        rest = more;
        let (inc, epoch) = (flags & INC != 0, Epoch(u32::from(*epoch)));
        let data = match (flags & AS_IT_IS != 0, inc) {
            (true, _) => Bytes::copy_from_slice(bytes),
            (false, true) => without_promise(bytes),
            (false, false) => with_right_crc(bytes),
        };
        let oid = if inc { inc_map_oid(epoch) } else { full_map_oid(epoch) };
        let mut txn = objstore::Transaction::new();
        txn.push(TxnOp::Write { coll: CollId::Meta, oid, off: 0, data });
        stores[usize::from(flags & SECOND)].queue(txn, CommitToken(2)).ok()?;
    }
    let with_range = |(n, store): (usize, MemStore)| {
        let mut sb = Superblock::load(&store).ok()?;
        (sb.oldest_map, sb.newest_map) = (Epoch(ranges[2 * n].into()), Epoch(ranges[2 * n + 1].into()));
        Some((sb, store))
    };
    stores.into_iter().enumerate().map(with_range).collect()
}

fn config(maps: Vec<MapSegment>, env: &TestEnv) -> RebuildConfig {
    static KNOWN: OnceLock<(MonMap, EntityAuth)> = OnceLock::new();
    let (monmap, entity) = KNOWN.get_or_init(|| {
        let at = World::open_disk(new_disk(env)).core.monmap().clone();
        let list = at.mons.iter().map(|(n, i)| (n.clone(), i.public_addrs.clone()));
        let key = CryptoKey::generate(KeyType::Aes, env);
        (MonMap::build(FSID, env.now(), list), EntityAuth::new(key, &[("mon", "allow *")]))
    });
    let name = |n| AuthName::parse(n).map(|n| (n, entity.clone()));
    RebuildConfig {
        monmap: monmap.clone(),
        keyring: ["mon.", "client.admin"].into_iter().filter_map(name).collect(),
        options: MonConfig {
            name: "a".to_owned(),
            options: BTreeMap::new(),
            version: "fuzz".to_owned(),
            auth: Default::default(),
            ..Default::default()
        },
        maps,
        stopped: BTreeSet::from([OsdId(0), OsdId(1)]),
        pgs: Some(BTreeSet::from([PgId::new(1, 0), PgId::new(1, 1)])),
    }
}

/// What happened, as a number: its words without what differs from one input to the next.
fn look(what: &str) -> u64 {
    let words: String = what.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| w.len() > 2).collect();
    u64::from(crc32c::crc32c(words.as_bytes()))
}

/// Runs one input; answers what was seen.
pub fn run(data: &[u8]) -> Vec<u64> {
    let Some(osds) = stores(data) else { return Vec::new() };
    let sources: Vec<Source<'_>> = osds
        .iter()
        .map(|(sb, store)| Source { name: format!("osd.{}", sb.whoami), sb: sb.clone(), store })
        .collect();
    let history = match History::gather(&sources) {
        Ok(h) => h,
        Err(e) => return vec![look(&e.to_string())],
    };
    let mut looks: Vec<u64> = history.damaged.iter().map(|d| look(d)).collect();
    looks.push(1 << 32 | history.segments.len() as u64);
    let env = TestEnv::new(1);
    let maps = history.segments.into_iter().map(|s| MapSegment { first: s.first, incs: s.incs }).collect();
    let made = match mon_core::rebuild(config(maps, &env), &env) {
        Ok(made) => made,
        // A history holds only maps that follow each other.
        Err(e @ (RebuildError::NoMaps | RebuildError::Order(_))) => panic!("{e}"),
        Err(e) => {
            let causes = std::iter::successors(std::error::Error::source(&e), |e| e.source());
            looks.extend(causes.map(|c| look(&c.to_string())));
            looks.push(look(&e.to_string()));
            return looks;
        }
    };
    looks.push(2 << 32 | made.to_create.len() as u64);
    for (k, bytes) in made.keys.iter().filter(|(k, _)| k.starts_with("osdmap/full/")) {
        denc::from_bytes::<OsdMap>(bytes).unwrap_or_else(|e| panic!("{k} does not decode: {e}"));
    }
    let w = World::open_disk(made.keys);
    assert!(w.core.osdmap().epoch >= made.epoch, "the monitor starts with an older map");
    assert_eq!(w.core.osdmap().num_up(), 0, "an OSD is up that nobody saw");
    looks
}

/// A history, as maps and the incrementals to them, by epoch.
fn lived() -> BTreeMap<u32, (OsdMap, Bytes)> {
    let mut w = World::new(3);
    for json in [
        r#"{"prefix":"osd pool create","pool":"p","pg_num":8}"#,
        r#"{"prefix":"osd set","key":"noout"}"#,
        r#"{"prefix":"osd crush rule create-replicated","name":"r","root":"default","type":"host"}"#,
        r#"{"prefix":"osd pool mksnap","pool":"p","snap":"s"}"#,
        r#"{"prefix":"osd pool set","pool":"p","var":"min_size","val":"1"}"#,
        r#"{"prefix":"osd blocklist","blocklistop":"add","addr":"127.0.0.1:0/5"}"#,
        r#"{"prefix":"osd down","ids":["2"]}"#,
        r#"{"prefix":"osd pool create","pool":"q","pg_num":4}"#,
        r#"{"prefix":"osd pg-upmap-items","pgid":"1.0","id":[0,2]}"#,
        r#"{"prefix":"osd unset","key":"noout"}"#,
    ] {
        w.command(Role::Mon, json);
    }
    let mut map = OsdMap { fsid: FSID, ..OsdMap::default() };
    let mut all = BTreeMap::new();
    for (_, bytes) in
        w.disk.range("osdmap/inc/".to_owned()..).take_while(|(k, _)| k.starts_with("osdmap/inc/"))
    {
        let Ok(inc) = denc::from_bytes::<OsdMapIncremental>(bytes) else { break };
        if map.apply_incremental(&inc).is_err() {
            break;
        }
        all.insert(map.epoch.0, (map.clone(), bytes.clone()));
    }
    all
}

/// Inputs to begin with: both OSDs with the end of one history, a hole between what they have, two histories, one full map.
pub fn samples() -> Vec<Vec<u8>> {
    let all = lived();
    let last = *all.keys().next_back().unwrap_or(&1);
    let features = Features(types::features::SUPPORTED);
    let record = |flags: u8, epoch: u32| {
        let (map, inc) = &all[&epoch];
        let bytes = if flags & INC != 0 { inc.clone() } else { map.to_bytes(features) };
        [&[flags, epoch as u8][..], &(bytes.len() as u16).to_le_bytes(), &bytes].concat()
    };
    // What one OSD has: a full map, incrementals behind it, and the newest full map.
    let osd = |flags: u8, first: u32, last: u32| {
        let incs = (first + 1..=last).map(|e| record(flags | INC, e));
        std::iter::once(record(flags, first))
            .chain(incs)
            .chain([record(flags, last)])
            .flatten()
            .collect::<Vec<u8>>()
    };
    let range = |a: [u32; 4]| a.map(|n| n as u8).to_vec();
    let two = |a: (u32, u32), b: (u32, u32), flags: u8| {
        [range([a.0, a.1, b.0, b.1]), osd(flags, a.0, a.1), osd(flags | SECOND, b.0, b.1)].concat()
    };
    vec![
        two((3, last), (last - 4, last), 0),
        two((3, last), (last - 6, last - 2), AS_IT_IS),
        two((2, 6), (last - 3, last), 0),
        [range([1, last, 0, 0]), osd(0, 1, last)].concat(),
        [range([last, last, 0, 0]), record(0, last)].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the target would only walk the first checks.
    #[test]
    fn samples_are_histories_of_which_a_store_comes() {
        for s in samples() {
            assert!(s.len() < crate::mutate::INPUT_MAX);
            let osds = stores(&s).expect("stores");
            let sources: Vec<Source<'_>> = osds
                .iter()
                .map(|(sb, store)| Source { name: sb.whoami.to_string(), sb: sb.clone(), store })
                .collect();
            let h = History::gather(&sources).expect("a history");
            assert!(h.damaged.is_empty(), "{:?}", h.damaged);
            let env = TestEnv::new(1);
            let maps = h.segments.into_iter().map(|s| MapSegment { first: s.first, incs: s.incs }).collect();
            mon_core::rebuild(config(maps, &env), &env).expect("a store");
        }
    }
}
