//! A store that was made again from the OSDs' maps: what it holds, and how those who lived with the lost one go on with it.

use cephx::env::testing::TestEnv;
use cephx::{AuthName, CryptoKey, EntityAuth, Env, KeyType};
use messages::{MOsdBeacon, MOsdMap, MOsdPgCreate2};
use mon_core::testing::{Disk, FSID, World};
use mon_core::{MapSegment, MonConfig, RebuildConfig, RebuildError, Rebuilt, Role, SessionId, rebuild};
use std::collections::{BTreeMap, BTreeSet};
use types::monmap::MonMap;
use types::osdmap::{OsdMap, OsdMapIncremental};
use types::{Epoch, OsdId, PgId};

fn ok(w: &mut World, json: &str) -> String {
    let (ret, text, data) = w.command(Role::Mon, json);
    assert_eq!(ret, 0, "{json}: {text}");
    String::from_utf8_lossy(&data).into_owned()
}

fn getmap(w: &mut World, epoch: u32) -> Option<OsdMap> {
    let (ret, _, data) = w.command(Role::Mon, &format!(r#"{{"prefix":"osd getmap","epoch":{epoch}}}"#));
    (ret == 0).then(|| denc::from_bytes(&data).unwrap())
}

/// Three OSDs and a pool, and some epochs.
fn lived() -> World {
    let mut w = World::new(3);
    ok(&mut w, r#"{"prefix":"osd pool create","pool":"p","pg_num":8}"#);
    for n in 0..40 {
        let prefix = if n % 2 == 0 { "osd set" } else { "osd unset" };
        ok(&mut w, &format!(r#"{{"prefix":"{prefix}","key":"noout"}}"#));
    }
    w
}

/// The maps of a store from `first` on, as OSDs keep them.
fn segment(disk: &Disk, first: u32) -> MapSegment {
    let number = |k: &str| k.rsplit('/').next().unwrap().parse::<u32>().unwrap();
    let incs: BTreeMap<u32, _> = disk
        .iter()
        .filter(|(k, _)| k.starts_with("osdmap/inc/"))
        .map(|(k, v)| (number(k), v.clone()))
        .collect();
    let mut map = OsdMap { fsid: FSID, ..OsdMap::default() };
    for (e, b) in incs.iter().take_while(|(e, _)| **e <= first) {
        let inc: OsdMapIncremental = denc::from_bytes(b).unwrap();
        map.apply_incremental(&inc).unwrap();
        assert_eq!(map.epoch, Epoch(*e));
    }
    MapSegment {
        first: map,
        incs: incs.into_iter().filter(|(e, _)| *e > first).map(|(e, b)| (Epoch(e), b)).collect(),
    }
}

fn all_pgs(w: &World) -> BTreeSet<PgId> {
    let pool = *w.core.osdmap().pools.keys().next().expect("a pool");
    (0..8).map(|seed| PgId { pool, seed }).collect()
}

fn config(maps: Vec<MapSegment>, pgs: Option<BTreeSet<PgId>>, env: &TestEnv) -> RebuildConfig {
    let at = World::open_disk(mon_core::testing::new_disk(env)).core.monmap().clone();
    let list = at.mons.iter().map(|(n, i)| (n.clone(), i.public_addrs.clone()));
    let entity = |name: &str| {
        (
            AuthName::parse(name).unwrap(),
            EntityAuth::new(CryptoKey::generate(KeyType::Aes, env), &[("mon", "allow *")]),
        )
    };
    RebuildConfig {
        monmap: MonMap::build(FSID, env.now(), list),
        keyring: ["mon.", "client.admin", "osd.0", "osd.1", "osd.2"].map(entity).into(),
        options: MonConfig {
            name: "a".to_owned(),
            options: BTreeMap::new(),
            version: "test".to_owned(),
            auth: Default::default(),
            ..Default::default()
        },
        maps,
        stopped: BTreeSet::from([OsdId(0), OsdId(1)]),
        pgs,
    }
}

fn made(maps: Vec<MapSegment>, pgs: Option<BTreeSet<PgId>>) -> Rebuilt {
    let env = TestEnv::new(5);
    rebuild(config(maps, pgs, &env), &env).expect("a store")
}

fn subscribe(w: &mut World, id: SessionId, start: u32) -> Vec<MOsdMap> {
    w.take::<MOsdMap>(id);
    w.subscribe(id, "osdmap", start.into());
    w.take::<MOsdMap>(id)
}

#[test]
fn the_map_goes_on_with_all_that_it_says_but_no_osd_is_up() {
    let w = lived();
    let old = w.core.osdmap().clone();
    let r = made(vec![segment(&w.disk, 3)], Some(all_pgs(&w)));
    assert!(r.epoch.0 > old.epoch.0 + 500 && r.to_create.is_empty());
    let mut new = World::open_disk(r.keys);
    let map = new.core.osdmap().clone();
    assert_eq!((map.epoch, map.fsid, map.num_up(), map.num_osds()), (r.epoch, old.fsid, 0, 3));
    assert_eq!((&map.pool_names, &map.crush, &map.osd_uuid), (&old.pool_names, &old.crush, &old.osd_uuid));
    // Those whose stores were locked are dead, of the third nobody knows.
    let dead = |o: i32| map.xinfo(OsdId(o)).unwrap().dead_epoch == old.epoch;
    assert_eq!([dead(0), dead(1), dead(2)], [true, true, false]);
    // The others' maps and all ids begin far above what anyone has seen.
    assert_eq!((new.core.monmap().epoch, new.core.fsmap().epoch), (r.epoch, r.epoch));
    ok(&mut new, r#"{"prefix":"osd set","key":"noup"}"#);
    assert_eq!(new.core.osdmap().epoch, r.epoch.next());
    let mut again = new.restarted();
    assert_eq!(again.core.osdmap().epoch, r.epoch.next());
    for e in [4, old.epoch.0, r.epoch.0] {
        assert_eq!(getmap(&mut again, e).map(|m| m.epoch), Some(Epoch(e)));
    }
    assert_eq!(getmap(&mut again, old.epoch.0 + 7), None, "nobody ever sees this epoch");
}

#[test]
fn who_has_old_maps_gets_what_follows_and_then_jumps() {
    let w = lived();
    let last = w.core.osdmap().epoch.0;
    let r = made(vec![segment(&w.disk, 3)], Some(all_pgs(&w)));
    let mut new = World::open_disk(r.keys);
    let id = new.boot(0);

    // One with older maps: incrementals up to the last epoch of the old history, then a full map that says that nothing is between.
    let got = subscribe(&mut new, id, last - 1);
    assert_eq!(got[0].incremental_maps.keys().map(|e| e.0).collect::<Vec<_>>(), [last - 1, last]);
    assert!(got[0].maps.is_empty() && got[0].oldest == Epoch(3));
    assert_eq!((got[1].oldest, got[1].maps.keys().next()), (r.epoch, Some(&r.epoch)));
    assert_eq!(got[1].incremental_maps.keys().next(), Some(&r.epoch.next()));

    // One that has just the newest of the old history, and ones whose maps come from a history that nobody here knows.
    for start in [last + 1, last + 2, last + 90, r.epoch.0] {
        let got = subscribe(&mut new, id, start);
        assert_eq!((got[0].oldest, got[0].maps.keys().next()), (r.epoch, Some(&r.epoch)), "from {start}");
        assert!(got[0].incremental_maps.keys().all(|e| *e > r.epoch));
    }
    // One that is older than the history.
    let got = subscribe(&mut new, id, 2);
    assert_eq!(got[0].maps.keys().next(), Some(&Epoch(3)));
    assert_eq!(got.last().and_then(|m| m.maps.keys().next()), Some(&r.epoch));
}

#[test]
fn pgs_that_no_osd_has_are_created_but_not_when_some_osd_was_not_asked() {
    let w = lived();
    let mut some = all_pgs(&w);
    let gone = some.pop_first().unwrap();
    assert!(made(vec![segment(&w.disk, 3)], None).to_create.is_empty());
    let r = made(vec![segment(&w.disk, 3)], Some(some));
    assert_eq!(r.to_create, [gone]);
    let mut new = World::open_disk(r.keys);
    let sessions: Vec<SessionId> = (0..3).map(|o| new.boot(o)).collect();
    let told: BTreeSet<PgId> = sessions
        .iter()
        .flat_map(|id| new.take::<MOsdPgCreate2>(*id))
        .flat_map(|m| m.pgs.keys().map(|p| p.pg).collect::<Vec<_>>())
        .collect();
    assert_eq!(told, BTreeSet::from([gone]));
}

#[test]
fn a_second_loss_keeps_the_history_on_both_sides_of_the_first_gap() {
    let w = lived();
    let r = made(vec![segment(&w.disk, 3)], Some(all_pgs(&w)));
    let mut second = World::open_disk(r.keys.clone());
    ok(&mut second, r#"{"prefix":"osd set","key":"noup"}"#);
    let last = second.core.osdmap().epoch;
    let behind = MapSegment {
        first: r.map.clone(),
        incs: vec![(last, second.disk[&format!("osdmap/inc/{:020}", last.0)].clone())],
    };
    let before = segment(&w.disk, 3);
    let env = TestEnv::new(6);
    let r2 = rebuild(config(vec![before, behind], None, &env), &env).unwrap();
    let mut third = World::open_disk(r2.keys);
    let id = third.boot(0);
    let got = subscribe(&mut third, id, w.core.osdmap().epoch.0);
    let firsts: Vec<Epoch> = got.iter().filter_map(|m| m.maps.keys().next().copied()).collect();
    assert_eq!(firsts, [r.epoch, r2.epoch]);
}

#[test]
fn history_is_trimmed_beyond_the_gap_when_the_time_comes() {
    let w = lived();
    let r = made(vec![segment(&w.disk, 3)], Some(all_pgs(&w)));
    let mut new = World::open_disk(r.keys);
    let sessions: Vec<SessionId> = (0..3).map(|o| new.boot(o)).collect();
    for n in 0..560 {
        if n % 100 == 99 {
            let newest = new.core.osdmap().epoch;
            let beacon = MOsdBeacon { min_last_epoch_clean: newest, ..MOsdBeacon::default() };
            for id in &sessions {
                new.send(*id, &beacon);
            }
        }
        let prefix = if n % 2 == 0 { "osd set" } else { "osd unset" };
        ok(&mut new, &format!(r#"{{"prefix":"{prefix}","key":"noout"}}"#));
    }
    assert!(!new.disk.keys().any(|k| k.starts_with("osdmap/gap/")), "the gap is forgotten");
    let first = new.disk.keys().find_map(|k| k.strip_prefix("osdmap/full/")).unwrap().parse::<u32>().unwrap();
    assert!(first >= r.epoch.0);
    let mut again = new.restarted();
    let id = again.boot(0);
    let got = subscribe(&mut again, id, 5);
    assert_eq!((got[0].oldest, got[0].maps.keys().next()), (Epoch(first), Some(&Epoch(first))));
}

#[test]
fn maps_that_do_not_follow_each_other_make_no_store() {
    let w = lived();
    let env = TestEnv::new(5);
    let refused = |maps| rebuild(config(maps, None, &env), &env).unwrap_err();
    assert!(matches!(refused(vec![]), RebuildError::NoMaps));
    let mut holed = segment(&w.disk, 3);
    holed.incs.remove(2);
    assert!(matches!(refused(vec![holed]), RebuildError::Incremental { .. }));
    let whole = segment(&w.disk, 3);
    assert!(matches!(refused(vec![whole.clone(), whole.clone()]), RebuildError::Order(_)));
    let mut cut = whole;
    cut.incs[0].1 = cut.incs[0].1.slice(..20);
    assert!(matches!(refused(vec![cut]), RebuildError::Decode { .. }));
}

#[test]
fn maps_with_impossible_numbers_are_refused_and_not_counted_through() {
    let w = lived();
    let env = TestEnv::new(5);
    let mut s = segment(&w.disk, w.core.osdmap().epoch.0);
    let pool = *s.first.pools.keys().next().expect("a pool");
    let with = |f: &dyn Fn(&mut OsdMap)| {
        let mut s = s.clone();
        f(&mut s.first);
        rebuild(config(vec![s], Some(BTreeSet::new()), &env), &env).map(|_| ())
    };
    let pg_num = |m: &mut OsdMap| {
        let pools = std::sync::Arc::make_mut(&mut m.pools);
        std::sync::Arc::make_mut(pools.get_mut(&pool).expect("the pool")).pg_num = u32::MAX;
    };
    assert!(matches!(with(&pg_num), Err(RebuildError::Pgs(n)) if n == u64::from(u32::MAX)));
    for epoch in [u32::MAX, u32::MAX - 1001, u32::MAX / 2 + 2] {
        assert!(matches!(with(&|m| m.epoch = Epoch(epoch)), Err(RebuildError::Epoch(_))));
    }
    s.incs.push((Epoch(u32::MAX), bytes::Bytes::new()));
    let made = rebuild(config(vec![s], None, &env), &env);
    assert!(matches!(made, Err(RebuildError::Epoch(_))));
}
