//! Placement and new maps against stock: up and acting sets as `osdmaptool --test-map-pgs-dump-all` printed them (golden),
//! the same on random maps with the tool itself, and epoch 1 as `ceph-mon --mkfs` made it.
//!
//! With `LOLIGO_ORACLES=1` a missing tool is a failure. `LOLIGO_OSDMAPS` may name a directory with more `full.N`.

use bytes::Bytes;
use denc::Features;
use std::path::{Path, PathBuf};
use std::process::Command;
use types::osdmap::NewMap;
use types::{OsdId, OsdMap, OsdMapIncremental, PgId, PgPool, PoolId, Utime};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/osdmap");
const STOCK: Features = Features(types::features::SUPPORTED);

fn have_tool() -> bool {
    let there = Command::new("osdmaptool").arg("--version").output().is_ok();
    assert!(
        there || std::env::var_os("LOLIGO_ORACLES").is_none(),
        "LOLIGO_ORACLES is set, osdmaptool is missing"
    );
    there
}

fn load(path: &Path) -> OsdMap {
    denc::from_bytes_exact(&Bytes::from(std::fs::read(path).unwrap())).unwrap()
}

fn set(osds: &[OsdId], primary: Option<OsdId>) -> String {
    let list: Vec<String> = osds.iter().map(|o| o.0.to_string()).collect();
    format!("([{}], p{})", list.join(","), primary.map_or(-1, |p| p.0))
}

/// Checks every "PG raw (..) up (..) acting (..)" line; returns how many there are.
fn check_dump(map: &OsdMap, dump: &str, what: &str) -> usize {
    let mut n = 0;
    for line in dump.lines() {
        let Some((pg, rest)) = line.split_once([' ', '\t']) else { continue };
        let (Ok(pg), true) = (pg.parse::<PgId>(), rest.starts_with("raw (")) else { continue };
        let raw = map.pg_to_raw_osds(pg);
        let first = raw.iter().find(|o| **o != OsdId::NONE).copied();
        let u = map.pg_to_up_acting_osds(pg).unwrap();
        let got = format!(
            "raw {} up {} acting {}",
            set(&raw, first),
            set(&u.up, u.up_primary),
            set(&u.acting, u.acting_primary)
        );
        assert_eq!(got, rest, "{what} pg {pg}");
        n += 1;
    }
    n
}

fn dump_of(path: &Path) -> String {
    // The tool writes to its input, and tests run in parallel.
    static COPIES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COPIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let copy = std::env::temp_dir().join(format!("loligo-osdmap-{}-{n}", std::process::id()));
    std::fs::copy(path, &copy).unwrap();
    let out = Command::new("osdmaptool").arg(&copy).arg("--test-map-pgs-dump-all").output().unwrap();
    let _ = std::fs::remove_file(&copy);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn golden_placements_agree() {
    let map = load(&PathBuf::from(GOLDEN).join("full.65"));
    let dump =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/osdmap-65.placement"))
            .unwrap();
    assert!(check_dump(&map, &dump, "full.65") >= 16);
    let start = std::time::Instant::now();
    for seed in 0..100_000 {
        std::hint::black_box(map.pg_to_up_acting_osds(PgId::new(2, seed)));
    }
    println!("{} ns for a PG", start.elapsed().as_nanos() / 100_000);
}

#[test]
fn stored_maps_place_as_osdmaptool_does() {
    let Some(dir) = std::env::var_os("LOLIGO_OSDMAPS") else { return };
    assert!(have_tool());
    let mut total = 0;
    for f in std::fs::read_dir(dir).unwrap().map(|f| f.unwrap()) {
        if f.file_name().to_str().unwrap().starts_with("full.") {
            total += check_dump(&load(&f.path()), &dump_of(&f.path()), &format!("{:?}", f.path()));
        }
    }
    println!("{total} placements agree");
}

/// A small generator; the seed is in every failure message.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn random_map(seed: u64) -> OsdMap {
    let mut d = Dice(seed);
    let n = 6 + d.roll(20) as i32;
    let mut map = NewMap::new(types::Fsid([7; 16]), Utime::from_secs(1_700_000_000)).build();
    let mut crush = (*map.crush).clone();
    let hosts = 3 + d.roll(4);
    for osd in 0..n {
        let loc =
            [("host".to_owned(), format!("h{}", d.roll(hosts))), ("root".to_owned(), "default".to_owned())];
        let weight = 0x4000 + d.roll(0x30000) as u32;
        crush.insert_item(osd, weight, &format!("osd.{osd}"), &loc.into()).unwrap();
        crush.set_device_class(osd, if d.roll(2) == 0 { "hdd" } else { "ssd" }).unwrap();
    }
    crush.add_simple_rule("ec", "default", "osd", None, crush::RuleMode::Indep).unwrap();
    let class = crush.class_name.values().next().unwrap().clone();
    crush.add_simple_rule("class", "default", "osd", Some(&class), crush::RuleMode::Firstn).unwrap();
    let mut inc = OsdMapIncremental::after(&map, Utime::from_secs(1_700_000_100));
    inc.new_max_osd = Some(n);
    inc.crush = denc::to_bytes(&crush, STOCK);
    for osd in (0..n).map(OsdId) {
        let state = if d.roll(8) == 0 { 1 } else { 3 };
        inc.new_state.insert(osd, if d.roll(12) == 0 { 2 } else { state });
        inc.new_weight.insert(osd, [0x10000, 0x10000, 0x9000, 0][d.roll(4) as usize]);
        if d.roll(3) == 0 {
            inc.new_primary_affinity.insert(osd, d.roll(0x10001) as u32);
        }
    }
    for (id, rule) in [(1i64, 0u8), (2, 1), (3, 2)] {
        let pg_num = 1 + d.roll(40) as u32;
        let pool = PgPool {
            kind: if rule == 1 { types::PoolType::Erasure } else { types::PoolType::Replicated },
            size: 3 + d.roll(3) as u8,
            min_size: 2,
            crush_rule: rule,
            object_hash: 2,
            pg_num,
            pgp_num: pg_num - d.roll(2) as u32 * (pg_num / 3),
            pg_num_target: pg_num,
            pgp_num_target: pg_num,
            pg_num_pending: pg_num,
            flags: types::pool::flag::HASHPSPOOL * d.roll(2),
            ..PgPool::default()
        };
        inc.new_pools.insert(PoolId(id), pool);
        inc.new_pool_names.insert(PoolId(id), format!("p{id}"));
        let some = |d: &mut Dice| OsdId(d.roll(n as u64) as i32);
        for seed in 0..pg_num.min(6) {
            let pg = PgId::new(id, seed);
            match d.roll(5) {
                0 => drop(inc.new_pg_temp.insert(pg, vec![some(&mut d), some(&mut d)])),
                1 => drop(inc.new_primary_temp.insert(pg, some(&mut d))),
                2 => drop(inc.new_pg_upmap.insert(pg, vec![some(&mut d), some(&mut d), some(&mut d)])),
                3 => drop(
                    inc.new_pg_upmap_items
                        .insert(pg, vec![(some(&mut d), some(&mut d)), (some(&mut d), some(&mut d))]),
                ),
                _ => {}
            }
        }
    }
    inc.new_pool_max = Some(3);
    map = map.seal_incremental(&mut inc, STOCK).unwrap();
    map
}

#[test]
fn random_maps_place_as_osdmaptool_does() {
    if !have_tool() {
        return;
    }
    let path = std::env::temp_dir().join(format!("loligo-random-map-{}", std::process::id()));
    let mut total = 0;
    for seed in 0..40 {
        let map = random_map(seed);
        std::fs::write(&path, map.to_bytes(STOCK)).unwrap();
        total += check_dump(&map, &dump_of(&path), &format!("seed {seed}"));
    }
    let _ = std::fs::remove_file(&path);
    println!("{total} placements agree");
    assert!(total > 500);
}

#[test]
fn required_features_are_what_stock_servers_ask_for() {
    let mut map = load(&PathBuf::from(GOLDEN).join("full.1"));
    // Without MSG_ADDR2 (the messenger's) and, until there is a pool, OSDHASHPSPOOL.
    assert_eq!(map.required_features(), 0x0401_0200_0204_0000);
    let pool = PgPool { flags: types::pool::flag::HASHPSPOOL, pg_num: 1, ..PgPool::default() };
    map.pools = std::sync::Arc::new([(PoolId(1), pool.into())].into());
    assert_eq!(map.required_features(), 0x0401_0200_4204_0000);
}

#[test]
fn a_new_cluster_starts_with_stocks_map() {
    let stock = load(&PathBuf::from(GOLDEN).join("full.1"));
    let mut new = NewMap::new(stock.fsid, stock.created);
    new.chooseleaf_type = 0;
    let ours = NewMap { ..new }.build();
    assert_eq!(
        format!("{:#?}", OsdMap { modified: stock.modified, crc: stock.crc, ..ours }),
        format!("{stock:#?}")
    );
}

#[test]
fn truncated_and_spoiled_maps_are_errors_not_panics() {
    let bytes = std::fs::read(PathBuf::from(GOLDEN).join("full.65")).unwrap();
    let inc = std::fs::read(PathBuf::from(GOLDEN).join("inc.65")).unwrap();
    for data in [&bytes, &inc] {
        for n in 0..data.len() {
            let cut = Bytes::copy_from_slice(&data[..n]);
            assert!(denc::from_bytes::<OsdMap>(&cut).is_err());
            assert!(denc::from_bytes::<OsdMapIncremental>(&cut).is_err());
        }
        let mut d = Dice(3);
        for _ in 0..2_000 {
            let mut bad = data.clone();
            for _ in 0..=d.roll(3) {
                let at = d.roll(bad.len() as u64) as usize;
                bad[at] = d.roll(256) as u8;
            }
            types::osdmap::fuzz_osdmap(&bad);
            types::osdmap::fuzz_incremental(&bad);
        }
    }
}
