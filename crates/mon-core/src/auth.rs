//! The auth service: principals with keys and caps, rotating secrets, and batches of global ids.
//!
//! The leader reserves global ids for one monitor at a time, as a range that is committed before any id of it is used. A monitor takes ids
//! from ranges that it saw being committed in this life only: no id is ever given twice, by whomever, also not after a crash.
//! Implements what `cephx::MonAuthDb` asks for; the shell wraps it.

use crate::kv::{Batch, Kv};
use crate::table::{Table, encoded};
use bytes::Bytes;
use cephx::crypto::CryptoKey;
use cephx::env::Env;
use cephx::keyserver::{AuthConfig, EntityAuth, KeyServerData, RotatingSecrets};
use cephx::proto::{AuthCapsInfo, AuthName};
use denc::Decoder;
use std::collections::BTreeMap;

const GID_KEY: &str = "auth/max_global_id";
/// Behind it a monitor's name: the range that was reserved for it last.
const GID_RANGE: &str = "auth/gid_range/";
/// Ids reserved at once.
const GID_BATCH: u64 = 4096;
/// Below this many the next batch is reserved.
const GID_LOW: u64 = 1024;
/// First id of a new cluster.
const GID_FIRST: u64 = 4096;

/// The service.
#[derive(Clone, Debug)]
pub struct AuthMon {
    /// Principals by name (`client.admin`).
    pub entities: Table<EntityAuth>,
    /// Rotating secrets by service bit, as a decimal key.
    pub rotating: Table<RotatingSecrets>,
    /// Our own name, for which ranges are committed.
    name: String,
    /// The life of this process, for which ranges are committed: what an earlier one was given, it may have used.
    life: u64,
    /// Everything up to here is reserved for someone.
    gid_max: u64,
    /// Our range: ids above `gid_next` up to `gid_end` are free.
    gid_next: u64,
    gid_end: u64,
    /// Monitors that the next batch reserves for, with their lives.
    gid_wanted: BTreeMap<String, u64>,
    /// What is wrong with the caps of committed principals, by name.
    pub bad_caps: BTreeMap<String, Vec<String>>,
}

fn wrong_caps(e: &EntityAuth) -> Vec<String> {
    caps_of(e).iter().filter_map(|(s, c)| crate::mkfs::check_cap(s, c).err()).collect()
}

impl AuthMon {
    /// From the store, for the monitor `name` in its life `life`, a random number. What was left of its last range before a restart is skipped: it may have been given.
    pub fn load(kv: &Kv, name: &str, life: u64) -> AuthMon {
        let max = kv.get(GID_KEY).and_then(|b| Decoder::new(b).u64().ok()).unwrap_or(GID_FIRST);
        let entities: Table<EntityAuth> = Table::load("auth/entity/", kv);
        let bad =
            |(n, e): (&String, &EntityAuth)| Some((n.clone(), wrong_caps(e))).filter(|x| !x.1.is_empty());
        AuthMon {
            bad_caps: entities.iter().filter_map(bad).collect(),
            entities,
            rotating: Table::load("auth/rotating/", kv),
            name: name.to_owned(),
            life,
            gid_max: max,
            gid_next: 0,
            gid_end: 0,
            gid_wanted: BTreeMap::new(),
        }
    }
    /// Takes over the range of ids that `other`, the same monitor in the same life, has left.
    pub fn keep_ids(&mut self, other: &AuthMon) {
        (self.gid_next, self.gid_end) = (other.gid_next, other.gid_end);
    }
    /// Moves staged changes into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        self.entities.stage(batch);
        self.rotating.stage(batch);
        let mut max = self.gid_max;
        for (name, life) in std::mem::take(&mut self.gid_wanted) {
            batch.put(format!("{GID_RANGE}{name}"), encoded(&((max, max + GID_BATCH), life)));
            max += GID_BATCH;
            batch.put(GID_KEY, encoded(&max));
        }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.entities.is_dirty() || self.rotating.is_dirty() || !self.gid_wanted.is_empty()
    }
    /// Takes over a committed batch; true when logins may see something else now.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        let a = self.entities.commit(batch);
        const PREFIX: &str = "auth/entity/";
        for k in batch.changes.range(PREFIX.to_owned()..).map(|(k, _)| k) {
            let Some(name) = k.strip_prefix(PREFIX) else { break };
            match self.entities.get(name).map(wrong_caps).filter(|w| !w.is_empty()) {
                Some(w) => drop(self.bad_caps.insert(name.to_owned(), w)),
                None => drop(self.bad_caps.remove(name)),
            }
        }
        let b = self.rotating.commit(batch);
        if let Some(Some(v)) = batch.changes.get(GID_KEY)
            && let Ok(max) = Decoder::new(v).u64()
        {
            self.gid_max = max;
        }
        if let Some(Some(v)) = batch.changes.get(&format!("{GID_RANGE}{}", self.name))
            && let Ok(((start, end), life)) = Decoder::new(v).get::<((u64, u64), u64)>()
            && life == self.life
        {
            (self.gid_next, self.gid_end) = (start, end);
        }
        a || b
    }
    /// When this monitor has few ids left: the life that it wants more for.
    pub fn wants_global_ids(&self) -> Option<u64> {
        (self.gid_end - self.gid_next < GID_LOW).then_some(self.life)
    }
    /// This process's life.
    pub fn life(&self) -> u64 {
        self.life
    }
    /// Reserves ids for a monitor in one of its lives, in the next batch.
    pub fn reserve_global_ids(&mut self, name: &str, life: u64) {
        self.gid_wanted.insert(name.to_owned(), life);
    }
    /// A principal's pending key was used, and replaces its key.
    pub fn take_pending(&mut self, name: &str, proof: &[u8; 32]) {
        if let Some(mut e) = self.entities.next(name).cloned()
            && e.take_pending(proof)
        {
            self.entities.set(name.to_owned(), e);
        }
    }
    /// The leader's: reserves ids when few are left, and rotates secrets that ended.
    pub fn tick(&mut self, config: &AuthConfig, env: &dyn Env) {
        if let Some(life) = self.wants_global_ids() {
            self.gid_wanted.insert(self.name.clone(), life);
        }
        let mut data = KeyServerData::default();
        for (k, v) in self.rotating.next_all() {
            if let Ok(service) = k.parse() {
                data.rotating_secrets.insert(service, v);
            }
        }
        if data.rotate(config, env) {
            for (service, v) in data.rotating_secrets {
                self.rotating.set(service.to_string(), v);
            }
        }
    }
    /// A new id, if one is reserved.
    pub fn new_global_id(&mut self) -> Option<u64> {
        if self.gid_next >= self.gid_end {
            return None;
        }
        self.gid_next += 1;
        Some(self.gid_next)
    }
    /// A committed principal.
    pub fn entity(&self, name: &AuthName) -> Option<EntityAuth> {
        self.entities.get(&key_name(name)).cloned()
    }
    /// A service's committed secrets.
    pub fn rotating(&self, service: u32) -> Option<RotatingSecrets> {
        self.rotating.get(&service.to_string()).cloned()
    }
    /// Principals in stock's order: by type's number (mon, mds, osd, client, mgr), then by id.
    pub fn sorted(&self) -> Vec<(String, EntityAuth)> {
        let mut v: Vec<(AuthName, String, EntityAuth)> = self
            .entities
            .iter()
            .filter_map(|(k, e)| AuthName::parse(k).map(|n| (n, k.clone(), e.clone())))
            .collect();
        v.sort_by(|a, b| (a.0.kind, &a.0.id).cmp(&(b.0.kind, &b.0.id)));
        v.into_iter().map(|(_, k, e)| (k, e)).collect()
    }
}

/// The key of a principal: `type.id`.
pub fn key_name(name: &AuthName) -> String {
    format!("{}.{}", name.kind.name(), name.id)
}

/// Plain caps of a principal, by service.
pub fn caps_of(e: &EntityAuth) -> BTreeMap<String, String> {
    e.caps.keys().map(|s| (s.clone(), e.caps_text(s).unwrap_or_default())).collect()
}

/// A principal from plain caps.
pub fn make_entity(key: CryptoKey, caps: &BTreeMap<String, String>) -> EntityAuth {
    let caps: BTreeMap<String, Bytes> =
        caps.iter().map(|(s, c)| (s.clone(), AuthCapsInfo::from_text(c).caps)).collect();
    EntityAuth { key, caps, pending_key: CryptoKey::default() }
}

/// A keyring file's text for one principal.
pub fn keyring_text(name: &str, e: &EntityAuth, with_caps: bool) -> String {
    let mut out = format!("[{name}]\n\tkey = {}\n", e.key.to_base64());
    if !e.pending_key.is_empty() {
        out.push_str(&format!("\tpending key = {}\n", e.pending_key.to_base64()));
    }
    if with_caps {
        for (s, c) in caps_of(e) {
            out.push_str(&format!("\tcaps {s} = \"{}\"\n", c.replace('\\', "\\\\").replace('"', "\\\"")));
        }
    }
    out
}

/// Reads a keyring file; `None` when it is none.
pub fn parse_keyring(text: &str) -> Option<Vec<(AuthName, EntityAuth)>> {
    let mut out: Vec<(AuthName, CryptoKey, BTreeMap<String, String>)> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            out.push((AuthName::parse(name.trim())?, CryptoKey::default(), BTreeMap::new()));
            continue;
        }
        let (k, v) = line.split_once('=')?;
        let (k, v) = (k.trim().replace('_', " "), v.trim());
        let last = out.last_mut()?;
        if k == "key" {
            last.1 = CryptoKey::from_base64(v).ok()?;
        } else if let Some(service) = k.strip_prefix("caps ") {
            let v = v.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(v);
            last.2.insert(service.trim().to_owned(), v.replace("\\\"", "\"").replace("\\\\", "\\"));
        }
    }
    Some(out.into_iter().map(|(n, k, c)| (n, make_entity(k, &c))).collect())
}
