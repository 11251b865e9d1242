//! What a [`crate::Messenger`] is told at its start: identity, features, policies by type of peer, limits, timeouts.
//!
//! [`Policy`] mirrors `Messenger::Policy` (lossy client, stateful server, lossless peer ...).

use std::collections::BTreeMap;
use std::time::Duration;
use types::{EntityName, EntityType, features};

/// How sessions with one type of peer behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A broken transport ends the session: nothing is resent, the dispatcher gets `on_reset`.
    pub lossy: bool,
    /// We only accept; the peer reconnects, we never do.
    pub server: bool,
    /// Do not reconnect while there is nothing to send.
    pub standby: bool,
    /// Find out whether the peer lost the session's state (`on_remote_reset`).
    pub resetcheck: bool,
    /// Messages received under this policy count against the messenger's throttle.
    pub throttled: bool,
    /// Feature bits that the peer must have, in addition to the messenger's.
    pub features_required: u64,
}

impl Policy {
    /// We connect; a break ends the session (client to anything, OSD to monitor, heartbeats).
    pub const fn lossy_client() -> Policy {
        Policy {
            lossy: true,
            server: false,
            standby: false,
            resetcheck: false,
            throttled: false,
            features_required: 0,
        }
    }
    /// We connect; a break is healed by reconnecting to the same session.
    pub const fn lossless_client() -> Policy {
        Policy {
            lossy: false,
            server: false,
            standby: false,
            resetcheck: true,
            throttled: false,
            features_required: 0,
        }
    }
    /// Both may connect; the session outlives its transports (OSD to OSD, mon to mon).
    pub const fn lossless_peer() -> Policy {
        Policy {
            lossy: false,
            server: false,
            standby: true,
            resetcheck: false,
            throttled: false,
            features_required: 0,
        }
    }
    /// The same with reset detection (`lossless_peer_reuse`), the monitors' own.
    pub const fn lossless_peer_reuse() -> Policy {
        Policy {
            lossy: false,
            server: false,
            standby: true,
            resetcheck: true,
            throttled: false,
            features_required: 0,
        }
    }
    /// We accept; a break ends the session. What every server uses for its clients.
    pub const fn stateless_server() -> Policy {
        Policy {
            lossy: true,
            server: true,
            standby: false,
            resetcheck: false,
            throttled: false,
            features_required: 0,
        }
    }
    /// We accept; the peer may come back to the session (MDS to client, and the monitor for bootstrap sessions).
    pub const fn stateful_server() -> Policy {
        Policy {
            lossy: false,
            server: true,
            standby: true,
            resetcheck: true,
            throttled: false,
            features_required: 0,
        }
    }
    /// The same policy, counted against the messenger's throttle.
    pub const fn with_throttle(mut self) -> Policy {
        self.throttled = true;
        self
    }
    /// The same policy with required features.
    pub const fn with_required(mut self, bits: u64) -> Policy {
        self.features_required = bits;
        self
    }
}

/// Time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept (or connect) to a ready session.
    pub handshake: Duration,
    /// First delay before reconnecting a stateful session; doubles.
    pub backoff_min: Duration,
    /// Largest delay before reconnecting.
    pub backoff_max: Duration,
    /// A ready connection without any byte read for this long is broken; zero for never.
    pub idle: Duration,
    /// How long the state of a stateful session that lost its transport is kept for a peer who may return.
    pub session_keep: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            handshake: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(15),
            idle: Duration::from_secs(900),
            session_keep: Duration::from_secs(900),
        }
    }
}

/// Configuration of one messenger.
#[derive(Clone, Debug)]
pub struct MessengerConfig {
    /// Our name; a client's number is not known before it authenticated (use -1).
    pub name: EntityName,
    /// Distinguishes this incarnation of the process behind its address; 0 for monitors.
    pub nonce: u32,
    /// Feature bits we advertise.
    pub features_supported: u64,
    /// Feature bits we require of every peer; [`crate::Messenger::set_features_required`] changes them.
    pub features_required: u64,
    /// Policy where `policies` has no entry.
    pub default_policy: Policy,
    /// Policy by type of peer.
    pub policies: BTreeMap<EntityType, Policy>,
    /// v1 only: refuse peers without an authorizer (OSD, mgr: yes; mon: no, clients log in by messages there).
    pub require_authorizer: bool,
    /// Bytes of throttled messages in flight before we stop reading.
    pub throttle_bytes_max: u64,
    /// Number of throttled messages in flight before we stop reading.
    pub throttle_messages_max: u64,
    /// Largest front or middle of a message that we take.
    pub front_bytes_max: u32,
    /// Largest data part of a message that we take.
    pub data_bytes_max: u32,
    /// Connections we hold at most; more are closed on accept.
    pub connections_max: usize,
    /// Bytes queued to one peer before it is cut off (lossy) ; protects memory from peers that never read.
    pub out_bytes_max: u64,
    /// Time limits.
    pub timeouts: Timeouts,
}

impl MessengerConfig {
    /// The usual configuration of a daemon or client of `name`'s type, with stock's policies.
    pub fn new(name: EntityName, nonce: u32) -> MessengerConfig {
        let mut policies = BTreeMap::new();
        let default_policy = match name.kind {
            EntityType::MON => {
                policies.insert(EntityType::MON, Policy::lossless_peer_reuse());
                Policy::stateless_server().with_throttle()
            }
            EntityType::OSD => {
                policies.insert(EntityType::OSD, Policy::lossless_peer());
                policies.insert(EntityType::MON, Policy::lossy_client());
                policies.insert(EntityType::MGR, Policy::lossy_client());
                policies.insert(EntityType::MDS, Policy::stateless_server());
                policies.insert(EntityType::CLIENT, Policy::stateless_server().with_throttle());
                Policy::stateless_server()
            }
            EntityType::MGR => {
                policies.insert(EntityType::MON, Policy::lossy_client());
                Policy::stateless_server()
            }
            _ => Policy::lossy_client(),
        };
        MessengerConfig {
            name,
            nonce,
            features_supported: features::SUPPORTED,
            features_required: 0,
            default_policy,
            policies,
            require_authorizer: name.kind != EntityType::MON,
            throttle_bytes_max: 500 << 20,
            throttle_messages_max: 10_000,
            front_bytes_max: 64 << 20,
            data_bytes_max: 512 << 20,
            connections_max: 100_000,
            out_bytes_max: 1 << 30,
            timeouts: Timeouts::default(),
        }
    }
    /// The policy for a type of peer.
    pub fn policy(&self, peer: EntityType) -> Policy {
        self.policies.get(&peer).copied().unwrap_or(self.default_policy)
    }
}
