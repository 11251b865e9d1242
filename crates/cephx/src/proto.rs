//! The structures of the cephx exchanges, as stock encodes them (`src/auth/cephx/CephxProtocol.h`, `src/auth/Auth.h`).
//!
//! Everything here is plain data; who seals what with which key is in `server`, `service` and `client`.

use crate::crypto::CryptoKey;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::fmt;
use types::Utime;
pub use types::logentry::AuthName;

/// Request types (`CEPHX_GET_*`).
pub mod request {
    /// Log in: proof for an AUTH ticket.
    pub const AUTH_SESSION_KEY: u16 = 0x0100;
    /// Service tickets for an AUTH ticket.
    pub const PRINCIPAL_SESSION_KEY: u16 = 0x0200;
    /// A daemon's rotating service secrets.
    pub const ROTATING_KEY: u16 = 0x0400;
}

/// First byte of a payload to a service (`AUTH_MODE_AUTHORIZER`).
pub const MODE_AUTHORIZER: u8 = 1;
/// First byte of a payload to a monitor (`AUTH_MODE_MON`).
pub const MODE_MON: u8 = 10;
/// Ticket secret id that stands for the monitors' shared key `mon.`.
pub const SECRET_ID_MON_KEY: u64 = u64::MAX;

/// Reads a leading version byte that stock writes but does not check.
fn version(d: &mut Decoder<'_>) -> Result<u8, DencError> {
    d.u8()
}

macro_rules! plain {
    ($(#[$doc:meta])* $name:ident v $v:expr, min $min:expr, { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        impl Encode for $name {
            fn encode(&self, e: &mut Encoder) {
                e.u8($v);
                $(e.put(&self.$field);)*
            }
        }
        impl Decode for $name {
            const MIN_SIZE: usize = $min;
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
                version(d)?;
                Ok($name { $($field: d.get()?),* })
            }
        }
    };
}

plain! {
    /// The monitor's challenge.
    CephXServerChallenge v 1, min 9, {
        /// Random, never zero.
        server_challenge: u64,
    }
}
plain! {
    /// A sealed ticket and the id of the secret that opens it.
    CephXTicketBlob v 1, min 13, {
        /// Which rotating secret.
        secret_id: u64,
        /// Sealed [`CephXServiceTicketInfo`].
        blob: Bytes,
    }
}
plain! {
    /// Which service tickets are wanted (behind the authorizer of 0x0200).
    CephXServiceTicketRequest v 1, min 5, {
        /// Bits of entity types.
        keys: u32,
    }
}
plain! {
    /// Part A: the session key, for the principal.
    CephXServiceTicket v 1, min 21, {
        /// Key shared with the service.
        session_key: CryptoKey,
        /// How long it holds (a span).
        validity: Utime,
    }
}
plain! {
    /// Part B: the ticket, for the service.
    CephXServiceTicketInfo v 1, min 1, {
        /// Who and what.
        ticket: AuthTicket,
        /// The same session key.
        session_key: CryptoKey,
    }
}
plain! {
    /// The service's challenge.
    CephXAuthorizeChallenge v 1, min 9, {
        /// Random.
        server_challenge: u64,
    }
}

/// `{type, status}` in front of every answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CephXResponseHeader {
    /// The request it answers.
    pub request_type: u16,
    /// 0 or a negative errno.
    pub status: i32,
}
impl Encode for CephXResponseHeader {
    fn encode(&self, e: &mut Encoder) {
        e.u16(self.request_type);
        e.i32(self.status);
    }
}
impl Decode for CephXResponseHeader {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(CephXResponseHeader { request_type: d.u16()?, status: d.i32()? })
    }
}

/// The client's proof.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CephXAuthenticate {
    /// Version as sent: 3 today; before that old tickets were left out on reconnect.
    pub version: u8,
    /// Random.
    pub client_challenge: u64,
    /// [`CryptoKey::challenge_proof`].
    pub key: u64,
    /// The last AUTH ticket, when an old global id is reclaimed.
    pub old_ticket: CephXTicketBlob,
    /// Service tickets wanted with the answer (bits of entity types).
    pub other_keys: u32,
}
impl Encode for CephXAuthenticate {
    fn encode(&self, e: &mut Encoder) {
        e.u8(self.version);
        e.u64(self.client_challenge);
        e.u64(self.key);
        e.put(&self.old_ticket);
        if self.version >= 2 {
            e.u32(self.other_keys);
        }
    }
}
impl Decode for CephXAuthenticate {
    const MIN_SIZE: usize = 30;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let version = version(d)?;
        Ok(CephXAuthenticate {
            version,
            client_challenge: d.u64()?,
            key: d.u64()?,
            old_ticket: d.get()?,
            other_keys: if version >= 2 { d.u32()? } else { 0 },
        })
    }
}

/// What a client seals for a service with the session key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CephXAuthorize {
    /// Random, proven by the answer.
    pub nonce: u64,
    /// The answer to the service's challenge, once there is one.
    pub server_challenge_plus_one: Option<u64>,
}
impl Encode for CephXAuthorize {
    fn encode(&self, e: &mut Encoder) {
        e.u8(2);
        e.u64(self.nonce);
        e.bool(self.server_challenge_plus_one.is_some());
        e.u64(self.server_challenge_plus_one.unwrap_or(0));
    }
}
impl Decode for CephXAuthorize {
    const MIN_SIZE: usize = 9;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let v = version(d)?;
        let nonce = d.u64()?;
        let mut answer = None;
        if v >= 2 {
            let have = d.bool()?;
            let value = d.u64()?;
            answer = have.then_some(value);
        }
        Ok(CephXAuthorize { nonce, server_challenge_plus_one: answer })
    }
}

/// What a service answers a good authorizer with.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CephXAuthorizeReply {
    /// The nonce + 1.
    pub nonce_plus_one: u64,
    /// Secret for secure mode; empty otherwise.
    pub connection_secret: Bytes,
}
impl fmt::Debug for CephXAuthorizeReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CephXAuthorizeReply({} secret bytes)", self.connection_secret.len())
    }
}
impl Encode for CephXAuthorizeReply {
    fn encode(&self, e: &mut Encoder) {
        e.u8(if self.connection_secret.is_empty() { 1 } else { 2 });
        e.u64(self.nonce_plus_one);
        if !self.connection_secret.is_empty() {
            e.blob(&self.connection_secret);
        }
    }
}
impl Decode for CephXAuthorizeReply {
    const MIN_SIZE: usize = 9;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let v = version(d)?;
        Ok(CephXAuthorizeReply {
            nonce_plus_one: d.u64()?,
            connection_secret: if v >= 2 { d.blob()? } else { Bytes::new() },
        })
    }
}

/// Capabilities inside a ticket. `caps` is what stock keeps: an *encoded* string, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AuthCapsInfo {
    /// Everything is allowed (auth none, and monitors among themselves).
    pub allow_all: bool,
    /// Encoded capability string.
    pub caps: Bytes,
}
impl AuthCapsInfo {
    /// From the plain string.
    pub fn from_text(caps: &str) -> AuthCapsInfo {
        AuthCapsInfo { allow_all: false, caps: denc::to_bytes(caps, denc::Features::default()) }
    }
    /// The plain string; empty when there is none or it is damaged.
    pub fn text(&self) -> String {
        if self.caps.is_empty() {
            return String::new();
        }
        denc::from_bytes::<String>(&self.caps).unwrap_or_default()
    }
}
impl Encode for AuthCapsInfo {
    fn encode(&self, e: &mut Encoder) {
        e.u8(1);
        e.bool(self.allow_all);
        e.put(&self.caps);
    }
}
impl Decode for AuthCapsInfo {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        version(d)?;
        Ok(AuthCapsInfo { allow_all: d.bool()?, caps: d.get()? })
    }
}

/// Who a ticket speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AuthTicket {
    /// The principal.
    pub name: AuthName,
    /// Its session identity in the cluster.
    pub global_id: u64,
    /// When made.
    pub created: Utime,
    /// When it ends.
    pub expires: Utime,
    /// What it may do at the service.
    pub caps: AuthCapsInfo,
    /// Unused by stock.
    pub flags: u32,
}
impl Encode for AuthTicket {
    fn encode(&self, e: &mut Encoder) {
        e.u8(2);
        e.put(&self.name);
        e.u64(self.global_id);
        e.u64(u64::MAX); // old auid
        e.put(&self.created);
        e.put(&self.expires);
        e.put(&self.caps);
        e.u32(self.flags);
    }
}
impl Decode for AuthTicket {
    const MIN_SIZE: usize = 50;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let v = version(d)?;
        let name = d.get()?;
        let global_id = d.u64()?;
        if v >= 2 {
            let _auid = d.u64()?;
        }
        Ok(AuthTicket {
            name,
            global_id,
            created: d.get()?,
            expires: d.get()?,
            caps: d.get()?,
            flags: d.u32()?,
        })
    }
}

/// One ticket as the monitor hands it out, before sealing (`CephXSessionAuthInfo`).
#[derive(Clone, Debug)]
pub struct SessionAuthInfo {
    /// Bit of the service's entity type.
    pub service_id: u32,
    /// Rotating secret that seals it.
    pub secret_id: u64,
    /// That secret.
    pub service_secret: CryptoKey,
    /// The ticket.
    pub ticket: AuthTicket,
    /// Fresh session key.
    pub session_key: CryptoKey,
    /// Span of validity told to the principal.
    pub validity: Utime,
}
