//! The manager's role: the MgrMap with this process as the active manager, and the daemons that report to it.

use crate::event::SessionId;
use crate::kv::{Batch, Kv};
use crate::table::encoded;
use denc::Decoder;
use std::collections::BTreeMap;
use types::mgrmap::MgrMap;
use types::{AddrVec, Epoch, Utime};

const MAP_KEY: &str = "mgr/map";

/// A daemon that opened a session with the manager.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// `osd.0`, or `rbd-mirror.x` for a service daemon.
    pub name: String,
    /// Metadata it gave.
    pub metadata: BTreeMap<String, String>,
    /// True for a service daemon (`service_daemon_register`).
    pub service: bool,
    /// Status of a service daemon.
    pub status: BTreeMap<String, String>,
    /// Since when.
    pub since: Utime,
    /// Global id.
    pub gid: u64,
    /// Requests that have been slow for long, as last reported.
    pub slow_ops: u64,
    /// Seconds that the oldest of them has been waiting.
    pub oldest_slow_secs: u64,
}

/// The service.
#[derive(Clone, Debug, Default)]
pub struct MgrMon {
    /// Committed map.
    pub map: MgrMap,
    pending: Option<MgrMap>,
    /// Sessions on the manager's listener that introduced themselves.
    pub daemons: BTreeMap<SessionId, Daemon>,
}

impl MgrMon {
    /// From the store.
    pub fn load(kv: &Kv) -> MgrMon {
        let map = kv.get(MAP_KEY).and_then(|b| Decoder::new(b).get().ok()).unwrap_or_default();
        MgrMon { map, pending: None, daemons: BTreeMap::new() }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.pending.is_some()
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        if let Some(m) = self.pending.take() {
            batch.put(MAP_KEY, encoded(&m));
        }
    }
    /// Takes over a committed batch; true when the map changed.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        let Some(Some(b)) = batch.changes.get(MAP_KEY) else { return false };
        if let Ok(m) = Decoder::new(b).get() {
            self.map = m;
        }
        true
    }
    /// Makes this process the active manager at `addrs`.
    pub fn activate(&mut self, name: &str, gid: u64, addrs: AddrVec, now: Utime) {
        if self.map.available && self.map.active_addrs == addrs && self.map.active_name == name {
            return;
        }
        let epoch = Epoch(self.map.epoch.0 + 1);
        self.pending = Some(MgrMap {
            epoch,
            active_gid: gid,
            active_addrs: addrs,
            available: true,
            active_name: name.to_owned(),
            active_change: now,
            active_mgr_features: types::features::SUPPORTED,
            ..self.map.clone()
        });
    }
    /// A session ended.
    pub fn closed(&mut self, id: SessionId) {
        self.daemons.remove(&id);
    }
}
