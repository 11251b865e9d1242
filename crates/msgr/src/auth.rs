//! The seam between a messenger session and whoever authenticates it: [`ClientAuth`] and [`ServerAuth`].
//!
//! The session carries opaque payloads; cephx (or `none`) behind these traits gives them meaning. One value of either
//! trait serves one connection attempt. Both transports use them: v2 in its auth frames, v1 for service authorizers
//! (a v1 monitor session authenticates by messages above the session instead).

use bytes::Bytes;
use thiserror::Error;
use types::{EntityType, Utime};

/// CEPH_AUTH_NONE.
pub const METHOD_NONE: u32 = 1;
/// CEPH_AUTH_CEPHX.
pub const METHOD_CEPHX: u32 = 2;
/// CEPH_CON_MODE_CRC.
pub const MODE_CRC: u32 = 1;
/// CEPH_CON_MODE_SECURE.
pub const MODE_SECURE: u32 = 2;

/// Why a connection could not be authenticated.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("authentication failed: {reason}")]
pub struct AuthError {
    /// What was wrong, for the log; never contains key material.
    pub reason: &'static str,
}

/// What a successful exchange gives the session.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SessionKeys {
    /// Key of the signatures (auth_signature HMAC, v1 footers); empty with method none.
    pub session_key: Bytes,
    /// Secret for secure mode: 64 bytes, or empty in crc mode.
    pub connection_secret: Bytes,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys(..)")
    }
}

/// The first step of the connecting side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// METHOD_*.
    pub method: u32,
    /// MODE_* in order of preference.
    pub modes: Vec<u32>,
    /// Method's payload.
    pub payload: Bytes,
}

/// The connecting side of one attempt.
pub trait ClientAuth {
    /// The first request.
    fn start(&mut self) -> Result<AuthRequest, AuthError>;
    /// The server refused the method; either another request or the end.
    fn handle_bad_method(
        &mut self,
        method: u32,
        result: i32,
        allowed_methods: &[u32],
        allowed_modes: &[u32],
    ) -> Result<AuthRequest, AuthError>;
    /// The server wants more: the answer to its payload.
    fn handle_reply_more(&mut self, payload: Bytes) -> Result<Bytes, AuthError>;
    /// The server is satisfied.
    fn handle_done(&mut self, global_id: u64, mode: u32, payload: Bytes) -> Result<SessionKeys, AuthError>;
}

/// Who the peer proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthedPeer {
    /// Full entity name as keyrings have it (`client.admin`, `osd.3`).
    pub entity: String,
    /// Its global id.
    pub global_id: u64,
    /// True when the ticket (or the monitor) grants everything (`allow_all`).
    pub allow_all: bool,
    /// The capability string for this service, as granted; empty for none.
    pub caps: String,
    /// When the right to this session ends; zero for never.
    pub expires: Utime,
}

/// What the accepting side answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerStep {
    /// auth_reply_more with this payload.
    More(Bytes),
    /// auth_done.
    Done {
        /// Chosen MODE_*.
        mode: u32,
        /// Method's payload.
        payload: Bytes,
        /// Keys for the session.
        keys: SessionKeys,
        /// Who it is.
        peer: AuthedPeer,
    },
    /// auth_bad_method; the session is over unless the client tries another method.
    Bad {
        /// Negative errno.
        result: i32,
        /// Methods that would do.
        allowed_methods: Vec<u32>,
        /// Modes that would do.
        allowed_modes: Vec<u32>,
    },
}

/// The accepting side of one attempt.
pub trait ServerAuth {
    /// The client's first request. `peer_type` is what its hello (or v1 connect) claimed.
    fn handle_request(
        &mut self,
        peer_type: EntityType,
        method: u32,
        modes: &[u32],
        payload: Bytes,
    ) -> ServerStep;
    /// The client's answer to a `More`.
    fn handle_more(&mut self, payload: Bytes) -> ServerStep;
}
