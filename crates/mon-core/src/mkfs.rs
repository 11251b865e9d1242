//! A new cluster's store.

use crate::auth::key_name;
use crate::kv::{Batch, VERSION_KEY, num_key};
use crate::osdmon::STORED;
use crate::table::encoded;
use bytes::Bytes;
use cephx::caps::{MdsCap, MgrCap, MonCap, OsdCap};
use cephx::crypto::{CryptoKey, KeyType};
use cephx::env::Env;
use cephx::keyserver::{EntityAuth, KeyServerData};
use cephx::proto::AuthName;
use std::collections::BTreeMap;
use types::monmap::MonMap;
use types::osdmap::NewMap;
use types::{EntityType, Fsid};

/// What a new store is made of.
#[derive(Clone, Debug)]
pub struct MkfsConfig {
    /// The monitor map; its fsid is replaced by `fsid`.
    pub monmap: MonMap,
    /// The cluster.
    pub fsid: Fsid,
    /// Principals to begin with: at least `mon.`.
    pub keyring: Vec<(AuthName, EntityAuth)>,
    /// Options of the configuration file.
    pub options: crate::core::MonConfig,
}

/// Principals that stock's first monitor makes by itself.
const BOOTSTRAP: [&str; 6] = ["mds", "mgr", "osd", "rbd", "rbd-mirror", "rgw"];

/// The keys and values of a new store.
pub fn mkfs(c: &MkfsConfig, env: &dyn Env) -> Result<BTreeMap<String, Bytes>, String> {
    let now = env.now();
    let mut monmap = c.monmap.clone();
    monmap.fsid = c.fsid;
    if monmap.epoch.0 == 0 {
        monmap.epoch = types::Epoch(1);
        monmap.created = now;
        monmap.last_changed = now;
    }
    if monmap.min_mon_release == 0 {
        // monmaptool leaves these to the first election.
        monmap.min_mon_release = 16;
    }
    monmap.persistent_features = types::monmap::MonFeatures::PACIFIC_ALL;
    if monmap.ranks.is_empty() {
        monmap.calc_ranks();
    }
    if !c.keyring.iter().any(|(n, _)| n.kind == EntityType::MON) {
        return Err("the keyring has no key for mon.".into());
    }
    let mut b = Batch::default();
    b.put("monmap/current", encoded(&monmap));
    let o = &c.options;
    let new = NewMap {
        chooseleaf_type: o.num("osd_crush_chooseleaf_type") as i32,
        nearfull_ratio: o.num("mon_osd_nearfull_ratio") as f32,
        full_ratio: o.num("mon_osd_full_ratio") as f32,
        backfillfull_ratio: o.num("mon_osd_backfillfull_ratio") as f32,
        ..NewMap::new(c.fsid, now)
    };
    let (map, inc) = new.build_incremental(STORED);
    b.put(num_key("osdmap/inc/", 1), denc::to_bytes(&inc, STORED));
    b.put(num_key("osdmap/full/", 1), map.to_bytes(STORED));
    for (name, e) in &c.keyring {
        b.put(format!("auth/entity/{}", key_name(name)), encoded(e));
    }
    for id in BOOTSTRAP {
        let name = format!("client.bootstrap-{id}");
        if !b.changes.contains_key(&format!("auth/entity/{name}")) {
            let key = CryptoKey::generate(KeyType::Aes, env);
            let e = EntityAuth::new(key, &[("mon", &format!("allow profile bootstrap-{id}"))]);
            b.put(format!("auth/entity/{name}"), encoded(&e));
        }
    }
    let mut rotating = KeyServerData::default();
    rotating.rotate(&o.auth, env);
    for (service, r) in rotating.rotating_secrets {
        b.put(format!("auth/rotating/{service}"), encoded(&r));
    }
    b.put("auth/max_global_id", encoded(&8192u64));
    b.put(VERSION_KEY, encoded(&1u64));
    Ok(b.changes.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))).collect())
}

/// Stock's check of one capability: the text of the refusal.
pub fn check_cap(service: &str, caps: &str) -> Result<(), String> {
    match service {
        "mon" => MonCap::parse(caps).map(drop).map_err(|e| e.to_string()),
        "mgr" => MgrCap::parse(caps).map(drop).map_err(|e| e.to_string()),
        "osd" => OsdCap::parse(caps).map(drop).map_err(|e| e.to_string()),
        "mds" => MdsCap::parse(caps).map(drop).map_err(|e| e.to_string()),
        _ => Err(format!("unknown cap type '{service}'")),
    }
}
