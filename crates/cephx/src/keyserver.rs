//! The monitor's authentication state: principals and the rotating secrets of the services (stock `KeyServerData`,
//! `RotatingSecrets`, `EntityAuth`), and [`MonAuthDb`], the view of it that logins need.
//!
//! Invariants:
//! - A service has up to three live secrets: previous, current, next. Tickets are sealed with the current one; a
//!   service holds all three, so rotation never breaks a valid ticket.
//! - The AUTH service's secrets are always `aes256k`: only monitors open those tickets, so nobody needs the malleable
//!   cipher there (CVE-2025-30156). The other services' type is configured, because stock 16.2 daemons open theirs.

use crate::crypto::{CryptoKey, KeyType};
use crate::env::Env;
use crate::proto::{AuthCapsInfo, AuthName};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use msgr::auth::{METHOD_CEPHX, MODE_CRC, MODE_SECURE};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{EntityType, Utime};

/// Live secrets per service (`KEY_ROTATE_NUM`).
pub const ROTATE_NUM: usize = 3;

/// Services that have rotating secrets.
pub const ROTATING_SERVICES: [EntityType; 5] =
    [EntityType::AUTH, EntityType::MON, EntityType::OSD, EntityType::MDS, EntityType::MGR];

/// A principal's key and capabilities. Caps are *encoded* strings by service name, as stock keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EntityAuth {
    /// The key.
    pub key: CryptoKey,
    /// Service name to encoded capability string.
    pub caps: BTreeMap<String, Bytes>,
    /// A key that replaces `key` once it is used (`auth get-or-create-pending`); empty for none.
    pub pending_key: CryptoKey,
}

impl EntityAuth {
    /// What a monitor tells another of the pending key that it saw used: enough to know it again, not enough to log in.
    pub fn proof_of_use(key: &CryptoKey) -> [u8; 32] {
        key.hmac_sha256(b"loligo: this pending key was used")
    }
    /// The pending key replaces the key; only when it is the one that was used.
    pub fn take_pending(&mut self, proof: &[u8; 32]) -> bool {
        if self.pending_key.is_empty() || EntityAuth::proof_of_use(&self.pending_key) != *proof {
            return false;
        }
        self.key = std::mem::take(&mut self.pending_key);
        true
    }
    /// From plain strings.
    pub fn new(key: CryptoKey, caps: &[(&str, &str)]) -> EntityAuth {
        let caps = caps.iter().map(|(s, c)| ((*s).to_owned(), AuthCapsInfo::from_text(c).caps)).collect();
        EntityAuth { key, caps, pending_key: CryptoKey::default() }
    }
    /// The plain capability string for a service, if any.
    pub fn caps_text(&self, service: &str) -> Option<String> {
        self.caps.get(service).map(|c| AuthCapsInfo { allow_all: false, caps: c.clone() }.text())
    }
    /// Capabilities as they go into a ticket.
    pub fn caps_info(&self, service: &str) -> AuthCapsInfo {
        AuthCapsInfo { allow_all: false, caps: self.caps.get(service).cloned().unwrap_or_default() }
    }
}
impl Encode for EntityAuth {
    fn encode(&self, e: &mut Encoder) {
        // Version 3 has the pending key; without one the older form keeps older readers happy.
        let v = if self.pending_key.is_empty() { 2 } else { 3 };
        e.u8(v);
        e.u64(u64::MAX);
        e.put(&self.key);
        e.put(&self.caps);
        if v >= 3 {
            e.put(&self.pending_key);
        }
    }
}
impl Decode for EntityAuth {
    const MIN_SIZE: usize = 17;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let v = d.u8()?;
        if v >= 2 {
            let _auid = d.u64()?;
        }
        let (key, caps) = (d.get()?, d.get()?);
        let pending_key = if v >= 3 { d.get()? } else { CryptoKey::default() };
        // A key without a secret is no key, whatever else it says.
        let pending_key = if pending_key.is_empty() { CryptoKey::default() } else { pending_key };
        Ok(EntityAuth { key, caps, pending_key })
    }
}

/// A secret with an end.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ExpiringCryptoKey {
    /// The secret.
    pub key: CryptoKey,
    /// When the next one takes over.
    pub expiration: Utime,
}
impl Encode for ExpiringCryptoKey {
    fn encode(&self, e: &mut Encoder) {
        e.u8(1);
        e.put(&self.key);
        e.put(&self.expiration);
    }
}
impl Decode for ExpiringCryptoKey {
    const MIN_SIZE: usize = 21;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let _v = d.u8()?;
        Ok(ExpiringCryptoKey { key: d.get()?, expiration: d.get()? })
    }
}

/// The live secrets of one service.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RotatingSecrets {
    /// By secret id.
    pub secrets: BTreeMap<u64, ExpiringCryptoKey>,
    /// Highest id given so far.
    pub max_ver: u64,
}
impl RotatingSecrets {
    /// The secret that seals new tickets: second to oldest, or the next one when that has expired.
    pub fn current(&self, now: Utime) -> Option<(u64, &CryptoKey)> {
        let skip = usize::from(self.secrets.len() > 1);
        let mut it = self.secrets.iter().skip(skip);
        let (id, k) = it.next()?;
        if k.expiration < now
            && let Some((id, k)) = it.next()
        {
            return Some((*id, &k.key));
        }
        Some((*id, &k.key))
    }
    /// One secret by id.
    pub fn get(&self, id: u64) -> Option<&CryptoKey> {
        self.secrets.get(&id).map(|k| &k.key)
    }
    /// True when there are too few, or the current one has ended.
    pub fn need_new(&self, now: Utime) -> bool {
        self.secrets.len() < ROTATE_NUM || self.secrets.values().nth(1).is_some_and(|k| k.expiration <= now)
    }
    /// A daemon asks again before this moment: when the current secret ends.
    pub fn renew_at(&self) -> Utime {
        self.secrets.values().nth(1).or(self.secrets.values().next()).map_or(Utime::ZERO, |k| k.expiration)
    }
    fn add(&mut self, key: ExpiringCryptoKey) {
        self.max_ver += 1;
        self.secrets.insert(self.max_ver, key);
        while self.secrets.len() > ROTATE_NUM {
            self.secrets.pop_first();
        }
    }
    /// Adds what is missing; true when something was added.
    pub fn rotate(&mut self, kind: KeyType, ttl: Duration, env: &dyn Env) -> bool {
        let now = env.now();
        let mut added = false;
        while self.need_new(now) {
            let from = match self.secrets.values().next_back() {
                None => now,
                Some(last) => (now + ttl).max(last.expiration),
            };
            self.add(ExpiringCryptoKey { key: CryptoKey::generate(kind, env), expiration: from + ttl });
            added = true;
        }
        added
    }
}
impl Encode for RotatingSecrets {
    fn encode(&self, e: &mut Encoder) {
        e.u8(1);
        e.put(&self.secrets);
        e.u64(self.max_ver);
    }
}
impl Decode for RotatingSecrets {
    const MIN_SIZE: usize = 13;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let _v = d.u8()?;
        Ok(RotatingSecrets { secrets: d.get()?, max_ver: d.u64()? })
    }
}

/// Everything a monitor knows for logins (`KeyServerData`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyServerData {
    /// Version of the auth database.
    pub version: u64,
    /// Version of the rotating secrets.
    pub rotating_ver: u64,
    /// Principals.
    pub secrets: BTreeMap<AuthName, EntityAuth>,
    /// Rotating secrets by service bit.
    pub rotating_secrets: BTreeMap<u32, RotatingSecrets>,
}
impl KeyServerData {
    /// Rotates every service; true when something changed (the caller then commits it to the quorum).
    pub fn rotate(&mut self, config: &AuthConfig, env: &dyn Env) -> bool {
        let mut changed = false;
        for service in ROTATING_SERVICES {
            let (kind, ttl) = if service == EntityType::AUTH {
                (KeyType::Aes256k, config.mon_ticket_ttl)
            } else {
                (config.service_key_type, config.service_ticket_ttl)
            };
            let r = self.rotating_secrets.entry(u32::from(service.0)).or_default();
            changed |= r.rotate(kind, ttl, env);
        }
        if changed {
            self.rotating_ver += 1;
        }
        changed
    }
    /// Only the rotating part, as stock stores it beside the database (`encode_rotating`).
    pub fn encode_rotating(&self, e: &mut Encoder) {
        e.u8(1);
        e.u64(self.rotating_ver);
        e.put(&self.rotating_secrets);
    }
    /// Reads what [`KeyServerData::encode_rotating`] wrote.
    pub fn decode_rotating(&mut self, d: &mut Decoder<'_>) -> Result<(), DencError> {
        let _v = d.u8()?;
        self.rotating_ver = d.u64()?;
        self.rotating_secrets = d.get()?;
        Ok(())
    }
}
impl Encode for KeyServerData {
    fn encode(&self, e: &mut Encoder) {
        e.u8(1);
        e.u64(self.version);
        e.u64(self.rotating_ver);
        e.put(&self.secrets);
        e.put(&self.rotating_secrets);
    }
}
impl Decode for KeyServerData {
    const MIN_SIZE: usize = 25;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let _v = d.u8()?;
        Ok(KeyServerData {
            version: d.u64()?,
            rotating_ver: d.u64()?,
            secrets: d.get()?,
            rotating_secrets: d.get()?,
        })
    }
}

/// Policy of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// `auth_cluster_required` as METHOD_* (for mon, osd, mds, mgr peers).
    pub cluster_methods: Vec<u32>,
    /// `auth_service_required` as METHOD_* (for clients).
    pub client_methods: Vec<u32>,
    /// Connection modes allowed (MODE_*).
    pub modes: Vec<u32>,
    /// `auth_mon_ticket_ttl`.
    pub mon_ticket_ttl: Duration,
    /// `auth_service_ticket_ttl`.
    pub service_ticket_ttl: Duration,
    /// Cipher of rotating secrets other than AUTH's. `aes` while stock 16.2 daemons take part.
    pub service_key_type: KeyType,
}
impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            cluster_methods: vec![METHOD_CEPHX],
            client_methods: vec![METHOD_CEPHX],
            modes: vec![MODE_CRC, MODE_SECURE],
            mon_ticket_ttl: Duration::from_secs(72 * 3600),
            service_ticket_ttl: Duration::from_secs(3600),
            service_key_type: KeyType::Aes,
        }
    }
}
impl AuthConfig {
    /// The methods that a peer of this kind may use.
    pub fn methods_for(&self, peer: EntityType) -> &[u32] {
        match peer {
            EntityType::MON | EntityType::OSD | EntityType::MDS | EntityType::MGR => &self.cluster_methods,
            _ => &self.client_methods,
        }
    }
    /// The first mode of the peer's list that is allowed here. An empty list is a v1 session: crc, where that is allowed.
    pub fn pick_mode(&self, wanted: &[u32]) -> Option<u32> {
        let wanted = if wanted.is_empty() { &[MODE_CRC] } else { wanted };
        wanted.iter().copied().find(|m| self.modes.contains(m))
    }
}

/// What a monitor's logins read. `mon` implements it over its state; [`RefCell<KeyServer>`] does for tests.
pub trait MonAuthDb {
    /// A principal.
    fn entity(&self, name: &AuthName) -> Option<EntityAuth>;
    /// A service's rotating secrets, by its entity type bit.
    fn rotating(&self, service: u32) -> Option<RotatingSecrets>;
    /// A global id that nobody had before; `None` while none can be given (no quorum).
    fn new_global_id(&self) -> Option<u64>;
    /// A principal logged in with its pending key, which is to replace its key now (`MMonUsedPendingKeys` of Ceph 17).
    fn pending_key_used(&self, name: &AuthName, key: &CryptoKey);
}

/// A stand-alone database: state plus a counter of global ids.
#[derive(Clone, Debug, Default)]
pub struct KeyServer {
    /// The state.
    pub data: KeyServerData,
    /// Last global id given.
    pub last_global_id: u64,
}
impl MonAuthDb for RefCell<KeyServer> {
    fn entity(&self, name: &AuthName) -> Option<EntityAuth> {
        self.borrow().data.secrets.get(name).cloned()
    }
    fn rotating(&self, service: u32) -> Option<RotatingSecrets> {
        self.borrow().data.rotating_secrets.get(&service).cloned()
    }
    fn new_global_id(&self) -> Option<u64> {
        let mut k = self.borrow_mut();
        k.last_global_id += 1;
        Some(k.last_global_id)
    }
    fn pending_key_used(&self, name: &AuthName, key: &CryptoKey) {
        if let Some(e) = self.borrow_mut().data.secrets.get_mut(name) {
            e.take_pending(&EntityAuth::proof_of_use(key));
        }
    }
}
