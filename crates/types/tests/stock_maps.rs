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
    let mut seen = 0;
    for root in roots() {
        let Ok(dir) = std::fs::read_dir(root.join(name)) else { continue };
        for entry in dir {
            let path = entry.unwrap().path();
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            let value: T =
                denc::from_bytes_exact(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            // The corpus was written with every feature bit, also those that no stock peer advertises.
            let same = [STOCK, Features::ALL].iter().any(|f| denc::to_bytes(&value, *f) == bytes);
            if bytes[0] == denc::to_bytes(&value, STOCK)[0] {
                assert!(same, "{}: encodes differently", path.display());
            }
            let again: T = denc::from_bytes(&denc::to_bytes(&value, STOCK)).unwrap();
            assert_eq!(again, value, "{}", path.display());
            if bytes.len() < 4000 {
                for n in 0..bytes.len() {
                    assert!(denc::from_bytes_exact::<T>(&bytes.slice(..n)).is_err(), "cut at {n}");
                }
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "no sample of {name}");
    println!("{name}: {seen}");
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
    fsmap: types::fsmap::FsMap = "FSMap";
    log_entry: types::logentry::LogEntry = "LogEntry";
    auth_name: types::logentry::AuthName = "EntityName";
    service_map: types::servicemap::ServiceMap = "ServiceMap";
    daemon_health_metric: types::servicemap::DaemonHealthMetric = "DaemonHealthMetric";
    superblock: types::superblock::OsdSuperblock = "OSDSuperblock";
    compat_set: types::compatset::CompatSet = "CompatSet";
}
