//! What a [`crate::Messenger`] is told at its start: identity, features, policies by type of peer, limits, timeouts.

use msgr::{EndpointConfig, Policy};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{EntityName, EntityType, features};

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
    /// How long the state of an accepted stateful session that lost its transport is kept for a peer who may return.
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
    /// A peer that is silent costs no buffer: one is made when it sends. For a daemon with very many peers that say little.
    pub lean: bool,
    /// Bytes held for one peer that does not read or acknowledge before its session is ended.
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
                policies.insert(EntityType::MDS, Policy::stateless_registered_server());
                policies.insert(EntityType::CLIENT, Policy::stateless_registered_server().with_throttle());
                Policy::stateless_registered_server()
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
            lean: false,
            out_bytes_max: 1 << 30,
            timeouts: Timeouts::default(),
        }
    }
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        EndpointConfig {
            name: self.name,
            nonce: self.nonce,
            features_supported: self.features_supported,
            features_required: self.features_required,
            default_policy: self.default_policy,
            policies: self.policies.clone(),
            require_authorizer: self.require_authorizer,
            front_bytes_max: self.front_bytes_max,
            data_bytes_max: self.data_bytes_max,
            out_bytes_max: self.out_bytes_max,
            handshake_max: self.timeouts.handshake,
            backoff_min: self.timeouts.backoff_min,
            backoff_max: self.timeouts.backoff_max,
            idle_max: self.timeouts.idle,
            session_keep: self.timeouts.session_keep,
        }
    }
}
