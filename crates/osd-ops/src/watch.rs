//! Watch and notify of one PG as a pure machine: [`WatchRegistry`] (`Watch` and `Notify` of Ceph).
//!
//! The object's info in the store says which watches exist; this registry says which of them are connected, when they
//! die, and which notifies wait for which acknowledgements. It is rebuilt from infos when a PG becomes primary.

use crate::api::{SessionId, WatchEffect};
use crate::info::{ObjectInfo, WatchKey};
use messages::MWatchNotify;
use types::{EntityAddr, EntityName, HObject, Utime};

/// What the PG must do.
#[derive(Clone, PartialEq, Debug)]
pub enum WatchOut {
    /// Send a message to a session (drop it when the session is gone).
    Send {
        /// To whom.
        session: SessionId,
        /// What.
        msg: MWatchNotify,
    },
    /// A watch has expired: persist its removal ([`crate::remove_watches`]).
    Expire {
        /// The object.
        oid: HObject,
        /// The watch.
        key: WatchKey,
    },
}

/// Who caused effects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchOrigin {
    /// Session.
    pub session: SessionId,
    /// The client.
    pub who: EntityName,
    /// Its address.
    pub addr: EntityAddr,
}

/// All watches and notifies of one PG on its primary.
#[derive(Debug, Default)]
pub struct WatchRegistry {}

impl WatchRegistry {
    /// Without watches.
    pub fn new() -> Self {
        Self::default()
    }
    /// True when the watch is known and its client connected.
    pub fn is_connected(&self, _oid: &HObject, _key: WatchKey) -> bool {
        false
    }
    /// Learns of an object's persisted watches when its context is loaded on a (new) primary: unknown ones start
    /// disconnected and die `timeout_secs` from now unless the client reconnects.
    pub fn load_object(&mut self, _now: Utime, _oid: &HObject, _info: &ObjectInfo) {}
    /// Applies the effects of a durable vector on object `oid`, whose user version is `version`.
    pub fn apply(
        &mut self,
        _now: Utime,
        _oid: &HObject,
        _version: u64,
        _origin: &WatchOrigin,
        _effects: Vec<WatchEffect>,
    ) -> Vec<WatchOut> {
        Vec::new()
    }
    /// A session is gone: its watches are disconnected and begin to time out.
    pub fn session_closed(&mut self, _now: Utime, _session: SessionId) {}
    /// Time passed: expired watches and timed-out notifies.
    pub fn tick(&mut self, _now: Utime) -> Vec<WatchOut> {
        Vec::new()
    }
    /// When [`WatchRegistry::tick`] has something to do at the earliest.
    pub fn next_deadline(&self) -> Option<Utime> {
        None
    }
    /// Expires all watches whose client is blocklisted.
    pub fn expire_blocklisted(
        &mut self,
        _now: Utime,
        _blocklisted: &dyn Fn(&EntityAddr) -> bool,
    ) -> Vec<WatchOut> {
        Vec::new()
    }
    /// The PG is no longer primary: forgets everything; clients reconnect to the new primary.
    pub fn clear(&mut self) {}
}
