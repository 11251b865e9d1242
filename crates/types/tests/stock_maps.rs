//! Monitor, manager, file system and service maps, log entries, superblocks: stock's bytes decode and encode to
//! themselves. Walks the corpus when it is there (`LOLIGO_CORPUS`), and always the small fixtures beside this file.

use bytes::Bytes;
use denc::{Decode, Encode, Features};
use std::fmt::Debug;
use std::path::PathBuf;

const STOCK: Features = Features(types::features::SUPPORTED);

fn roots() -> Vec<PathBuf> {
    let corpus = std::env::var("LOLIGO_CORPUS").unwrap_or_else(|_| "/work/shared/corpus".to_owned());
    vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), PathBuf::from(corpus).join("16.2")]
}

fn check<T: Decode + Encode + PartialEq + Debug>(name: &str) {
    check_newest::<T>(name, |_| true);
}

/// `newest` tells a sample whose inner structs have the versions that we write from one that has older ones inside: that one must keep
/// its value, not its bytes.
fn check_newest<T: Decode + Encode + PartialEq + Debug>(name: &str, newest: fn(&T) -> bool) {
    let mut seen = 0;
    for root in roots() {
        let Ok(dir) = std::fs::read_dir(root.join(name)) else { continue };
        for entry in dir {
            let path = entry.unwrap().path();
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            // Some corpus files have junk behind the object; every type here but two says its own length.
            let len = u32::from_le_bytes(bytes[2..6].try_into().unwrap()) as usize + 6;
            let headed = !matches!(name, "EntityName" | "CompatSet");
            let bytes = if headed && len < bytes.len() { bytes.slice(..len) } else { bytes };
            let value: T =
                denc::from_bytes_exact(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            // The corpus was written with every feature bit, also those that no stock peer advertises.
            let same = [STOCK, Features::ALL].iter().any(|f| denc::to_bytes(&value, *f) == bytes);
            if bytes[0] == denc::to_bytes(&value, STOCK)[0] && newest(&value) {
                assert!(same, "{}: encodes differently", path.display());
            }
            let again: T = denc::from_bytes(&denc::to_bytes(&value, STOCK)).unwrap();
            assert_eq!(again, value, "{}", path.display());
            if bytes.len() < 4000 {
                for n in 0..bytes.len() {
                    assert!(denc::from_bytes_exact::<T>(&bytes.slice(..n)).is_err(), "cut at {n}");
                }
            }
            garbage::<T>(&bytes);
            seen += 1;
        }
    }
    // All samples of this one are large: they stay in the corpus.
    assert!(seen > 0 || name == "MgrMap::StandbyInfo", "no sample of {name}");
    println!("{name}: {seen}");
}

/// Changed bytes must not panic, and what decodes must encode to something stable.
fn garbage<T: Decode + Encode>(bytes: &Bytes) {
    let mut x = 0x9e37_79b9_7f4a_7c15u64 ^ bytes.len() as u64;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    for _ in 0..200 {
        let mut b = bytes.to_vec();
        for _ in 0..1 + next() % 4 {
            let at = (next() % b.len() as u64) as usize;
            b[at] = if next() % 2 == 0 { next() as u8 } else { 0xff };
        }
        if let Ok(value) = denc::from_bytes::<T>(&b.into()) {
            let once = denc::to_bytes(&value, STOCK);
            let again: T = denc::from_bytes(&once).expect("our own bytes decode");
            assert_eq!(denc::to_bytes(&again, STOCK), once);
        }
    }
}

#[test]
fn monmaptool_prints_the_map_that_we_built() {
    use types::monmap::MonMap;
    use types::{AddrType, AddrVec, EntityAddr, Fsid, Utime};
    let addr = |kind, port| EntityAddr::new(kind, std::net::SocketAddr::from(([127, 0, 0, 1], port)), 0);
    let both = |p: u16| AddrVec(vec![addr(AddrType::Msgr2, p), addr(AddrType::Legacy, p + 1)]);
    let fsid: Fsid = "01234567-89ab-4cde-8f01-23456789abcd".parse().unwrap();
    let map = MonMap::build(
        fsid,
        Utime::from_secs(1_795_354_800),
        [("b".into(), both(3300)), ("a".into(), both(4300))],
    );
    let path = std::env::temp_dir().join(format!("loligo-monmap-{}", std::process::id()));
    std::fs::write(&path, denc::to_bytes(&map, STOCK)).unwrap();
    let run = std::process::Command::new("monmaptool").arg("--print").arg(&path).output();
    let _ = std::fs::remove_file(&path);
    let Ok(out) = run else { return println!("monmaptool is not installed") };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    for line in [
        "epoch 1",
        "fsid 01234567-89ab-4cde-8f01-23456789abcd",
        "min_mon_release 16 (pacific)",
        "election_strategy: 1",
        "0: [v2:127.0.0.1:3300/0,v1:127.0.0.1:3301/0] mon.b",
        "1: [v2:127.0.0.1:4300/0,v1:127.0.0.1:4301/0] mon.a",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn a_map_for_old_peers_decodes_to_the_same_monitors() {
    use types::monmap::MonMap;
    let addr = types::EntityAddr::new(
        types::AddrType::Legacy,
        std::net::SocketAddr::from(([127, 0, 0, 1], 6789)),
        0,
    );
    let mons = [("a".to_owned(), types::AddrVec(vec![addr]))];
    let map = MonMap::build(types::Fsid([1; 16]), types::Utime::from_secs(1), mons);
    let old: MonMap = denc::from_bytes_exact(&denc::to_bytes(&map, Features(0))).unwrap();
    assert_eq!((&old.ranks, old.fsid, old.addrs()), (&map.ranks, map.fsid, map.addrs()));
}

macro_rules! stock {
    ($($test:ident: $ty:ty = $name:literal;)*) => {$(
        #[test]
        fn $test() {
            check::<$ty>($name);
        }
    )*};
}
stock! {
    monmap: types::monmap::MonMap = "MonMap";
    mgrmap: types::mgrmap::MgrMap = "MgrMap";
    module_info: types::mgrmap::ModuleInfo = "MgrMap::ModuleInfo";
    module_option: types::mgrmap::ModuleOption = "MgrMap::ModuleOption";
    standby_info: types::mgrmap::StandbyInfo = "MgrMap::StandbyInfo";
    mds_map: types::mdsmap::MdsMap = "MDSMap";
    mds_info: types::mdsmap::MdsInfo = "MDSMap::mds_info_t";
    log_entry: types::logentry::LogEntry = "LogEntry";
    auth_name: types::logentry::AuthName = "EntityName";
    service_map: types::servicemap::ServiceMap = "ServiceMap";
    daemon_health_metric: types::servicemap::DaemonHealthMetric = "DaemonHealthMetric";
    progress_event: types::pgdigest::ProgressEvent = "ProgressEvent";
    superblock: types::superblock::OsdSuperblock = "OSDSuperblock";
    compat_set: types::compatset::CompatSet = "CompatSet";
}

/// Daemons of 16.2.5 and later tell their on-disk features in the map.
fn tells_compat(m: &types::mdsmap::MdsMap) -> bool {
    m.mds_info.values().all(|i| i.compat.incompat.mask > 1)
}
/// Some of its maps are in no order with stock.
#[test]
fn pg_map_digest() {
    check_newest::<types::pgdigest::PgMapDigest>("PGMapDigest", |d| {
        let sizes = [d.pg_pool_sum.len(), d.num_pg_by_state.len(), d.num_pg_by_osd.len()];
        sizes.iter().chain(&[d.per_pool_sum_delta.len(), d.per_pool_sum_deltas_stamps.len()]).all(|n| *n < 2)
    });
}
#[test]
fn fsmap() {
    check_newest::<types::fsmap::FsMap>("FSMap", |m| {
        m.filesystems.values().all(|f| tells_compat(&f.mds_map))
            && m.standby_daemons.values().all(|i| i.compat.incompat.mask > 1)
    });
}
#[test]
fn filesystem() {
    check_newest::<types::fsmap::Filesystem>("Filesystem", |f| tells_compat(&f.mds_map));
}
#[test]
fn stock_maps_do_not_contradict_themselves() {
    for root in roots() {
        let Ok(dir) = std::fs::read_dir(root.join("FSMap")) else { continue };
        for entry in dir {
            let bytes = Bytes::from(std::fs::read(entry.unwrap().path()).unwrap());
            let m: types::fsmap::FsMap = denc::from_bytes(&bytes).unwrap();
            assert_eq!(m.contradiction(), None);
        }
    }
}
