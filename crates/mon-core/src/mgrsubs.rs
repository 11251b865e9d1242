//! What external managers subscribe to besides the maps: digests of health and status, and keys of the key store (`kv:PREFIX`).
//!
//! Digests hold what only the leader sees, so the leader sends them all, to clients of other members too. Keys are committed: each member
//! serves its own sessions. `kv:config/` is the central configuration as stock's key store has it.

use crate::commands;
use crate::config::Who;
use crate::core::MonCore;
use crate::event::{Role, SessionId};
use crate::kv::Batch;
use crate::session::SUBS_MAX;
use bytes::Bytes;
use denc::Features;
use messages::mon::SubItem;
use messages::{MKvData, MMgrDigest, MMonSubscribe, Message};
use std::collections::BTreeMap;
use std::time::Duration;

/// The subscription to digests.
pub(crate) const DIGEST: &str = "mgrdigest";
/// Keys of the configuration in stock's key store.
const CONFIG: &str = "config/";

/// Which versions of the state changed keys that are subscribed to.
#[derive(Clone, Copy, Debug, Default)]
pub struct KvVersions {
    /// The newest.
    newest: u64,
    /// The one before.
    before: u64,
}

impl MonCore {
    /// A subscription to digests came to a member: the leader serves it.
    pub(crate) fn digest_subscribed(&mut self, id: SessionId, item: SubItem) {
        if self.quorum.leads {
            self.digests_sent = types::Utime::ZERO;
            return self.send_digest(id);
        }
        let what = BTreeMap::from([(DIGEST.to_owned(), item)]);
        let m = MMonSubscribe { what, ..MMonSubscribe::default() };
        self.forward(id, Message::new(&m, Features(types::features::SUPPORTED)));
    }

    fn send_digest(&mut self, id: SessionId) {
        let (mon_status_json, health_json) = commands::digest(self);
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        self.send(id, Message::new(&MMgrDigest { mon_status_json, health_json }, f));
    }

    /// Digests to all who want them, every few seconds; the leader's.
    pub(crate) fn digests_tick(&mut self) {
        let period = self.cfg.secs("mon_mgr_digest_period").max(Duration::from_secs(1));
        if self.now.since(self.digests_sent) < period {
            return;
        }
        let wants = |s: &&crate::session::Session| s.peer.role == Role::Mon && s.subs.contains_key(DIGEST);
        let ids: Vec<SessionId> = self.sessions.values().filter(wants).map(|s| s.id).collect();
        if ids.is_empty() {
            return;
        }
        self.digests_sent = self.now;
        let (mon_status_json, health_json) = commands::digest(self);
        let m = MMgrDigest { mon_status_json, health_json };
        for id in ids {
            let Some(s) = self.sessions.get(&id) else { continue };
            let msg = Message::new(&m, s.features());
            self.send(id, msg);
        }
    }

    /// Everything under a prefix.
    fn keys_under(&self, prefix: &str) -> BTreeMap<String, Option<Bytes>> {
        if prefix.starts_with(CONFIG) {
            let all = self.config.values.iter().map(|(k, v)| (config_key(k), Some(Bytes::from(v.clone()))));
            return all.filter(|(k, _)| k.starts_with(prefix)).collect();
        }
        let all = self.config_key.iter().filter(|(k, _)| k.starts_with(prefix));
        all.map(|(k, v)| (k.clone(), Some(v.clone()))).collect()
    }

    /// A subscription to keys begins.
    pub(crate) fn check_kv_sub(&mut self, id: SessionId, what: &str) {
        let Some(prefix) = what.strip_prefix("kv:") else { return };
        // What was before this process began is not known by versions.
        let version = self.kv_versions.newest.max(1);
        if self.sub_due(id, what, version) {
            let m = MKvData {
                version,
                prefix: prefix.to_owned(),
                incremental: false,
                data: self.keys_under(prefix),
            };
            self.send_kv(id, &m);
        }
    }

    fn send_kv(&mut self, id: SessionId, m: &MKvData) {
        let Some(s) = self.sessions.get(&id) else { return };
        let msg = Message::new(m, s.features());
        self.send(id, msg);
    }

    /// All that is known by version was read anew.
    pub(crate) fn kv_restarted(&mut self) {
        let newest = self.kv.version().max(1);
        self.kv_versions = KvVersions { newest, before: newest };
        self.publish_kv(&BTreeMap::new());
    }

    /// After a commit: who subscribed to what changed is told.
    pub(crate) fn kv_committed(&mut self, batch: &Batch) {
        let mut changed: BTreeMap<String, Option<Bytes>> = BTreeMap::new();
        for (k, v) in &batch.changes {
            if let Some(key) = k.strip_prefix("config-key/") {
                changed.insert(
                    key.to_owned(),
                    v.as_ref().map(|_| self.config_key.get(key).cloned().unwrap_or_default()),
                );
            } else if let Some(key) = k.strip_prefix(CONFIG) {
                let value = self.config.values.get(key).map(|t| Bytes::from(t.clone()));
                changed.insert(config_key(key), value);
            }
        }
        if changed.is_empty() {
            return;
        }
        self.kv_versions = KvVersions { before: self.kv_versions.newest, newest: self.kv.version() };
        self.publish_kv(&changed);
    }

    fn publish_kv(&mut self, changed: &BTreeMap<String, Option<Bytes>>) {
        let KvVersions { newest, before } = self.kv_versions;
        let subs: Vec<(SessionId, String, u64)> = self
            .sessions
            .values()
            .flat_map(|s| s.subs.iter().take(SUBS_MAX).map(|(k, i)| (s.id, k.clone(), i.start)))
            .filter(|(_, k, start)| k.starts_with("kv:") && *start <= newest)
            .collect();
        for (id, what, start) in subs {
            if start <= before || changed.is_empty() {
                self.check_kv_sub(id, &what);
                continue;
            }
            let Some(prefix) = what.strip_prefix("kv:") else { continue };
            let data: BTreeMap<_, _> = changed
                .iter()
                // (Who asked for less than `config/` was not asked for the right to see options.)
                .filter(|(k, _)| k.starts_with(prefix) && k.starts_with(CONFIG) == prefix.starts_with(CONFIG))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            // Who has all of it already need not be told anew.
            if !self.sub_due(id, &what, newest) || data.is_empty() {
                continue;
            }
            self.send_kv(
                id,
                &MKvData { version: newest, prefix: prefix.to_owned(), incremental: true, data },
            );
        }
    }
}

/// A key of the configuration as stock's key store has it.
fn config_key(key: &str) -> String {
    let (who, option) = Who::split(key);
    format!("{CONFIG}{}", who.key(&option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_configuration_are_stocks() {
        assert_eq!(config_key("mgr/mgr/balancer/active"), "config/mgr/mgr/balancer/active");
        assert_eq!(config_key("osd/host:x/a"), "config/osd/host:x/a");
    }
}
