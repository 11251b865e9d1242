//! [`MsgrError`]: every way in which a peer's bytes end a connection.

use crate::auth::AuthError;
use denc::DencError;
use thiserror::Error;

/// Why a transport was given up. None of these leaves it usable.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MsgrError {
    /// The first bytes are not the banner of the expected protocol.
    #[error("bad banner")]
    BadBanner,
    /// A v1 peer on a v2 port.
    #[error("peer speaks messenger v1")]
    PeerIsV1,
    /// A v2 peer on a v1 port.
    #[error("peer speaks messenger v2")]
    PeerIsV2,
    /// Banner features do not match (revision 1 is required).
    #[error("messenger features do not match: peer supports {supported:#x}, requires {required:#x}")]
    BannerFeatures {
        /// Peer's supported bits.
        supported: u64,
        /// Peer's required bits.
        required: u64,
    },
    /// Preamble checksum.
    #[error("bad preamble crc")]
    PreambleCrc,
    /// Not 1 to 4 segments, or the last one is empty.
    #[error("bad segment count {0}")]
    SegmentCount(u8),
    /// Flags that were not negotiated (compression).
    #[error("unknown frame flags {0:#x}")]
    FrameFlags(u8),
    /// A length over its limit.
    #[error("{what} of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Which length.
        what: &'static str,
        /// Claimed length.
        len: u64,
        /// Limit.
        max: u64,
    },
    /// Checksum of a part.
    #[error("bad crc of {0}")]
    Crc(&'static str),
    /// AES-GCM says no.
    #[error("frame does not authenticate")]
    Decrypt,
    /// A direction used up its nonces.
    #[error("nonces exhausted")]
    NonceExhausted,
    /// Epilogue status that is neither complete nor aborted.
    #[error("bad late status {0:#x}")]
    LateStatus(u8),
    /// A frame or tag that does not belong here.
    #[error("unexpected tag {tag} while {during}")]
    Unexpected {
        /// The tag.
        tag: u8,
        /// What the session was doing.
        during: &'static str,
    },
    /// A payload that does not decode.
    #[error("bad payload: {0}")]
    Decode(#[from] DencError),
    /// Authentication failed here.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The owner had no authentication to offer.
    #[error("no authentication available")]
    NoAuth,
    /// The server refused us.
    #[error("server refused authentication: {result}")]
    AuthRefused {
        /// Negative errno.
        result: i32,
    },
    /// The server chose a mode that we did not offer, or a secret of the wrong size.
    #[error("bad connection mode {0}")]
    BadMode(u32),
    /// auth_signature or a v1 message signature does not match.
    #[error("bad signature")]
    BadSignature,
    /// A peer of another type than expected.
    #[error("peer is a {got}, expected {want}")]
    PeerType {
        /// What it claims.
        got: types::EntityType,
        /// What we connect to.
        want: types::EntityType,
    },
    /// The peer wanted (or is) somebody else.
    #[error("connected to the wrong peer")]
    WrongPeer,
    /// The peer announced no address.
    #[error("peer announced no address")]
    NoAddress,
    /// Required features are missing.
    #[error("missing features {0:#x}")]
    MissingFeatures(u64),
    /// A v1 protocol number that is not ours.
    #[error("v1 protocol version {0} differs")]
    BadProtocol(u32),
    /// An older connection attempt of the same peer.
    #[error("stale connection attempt")]
    Stale,
    /// The peer waits for our own attempt (connection race).
    #[error("lost the connection race")]
    Wait,
    /// Too many rounds in the handshake.
    #[error("handshake does not end")]
    TooManyRounds,
    /// Too much queued for a peer that does not read.
    #[error("too much queued")]
    QueueFull,
    /// The peer closed the session (v1 close tag).
    #[error("peer closed")]
    PeerClosed,
    /// Took too long.
    #[error("timed out")]
    Timeout,
    /// The stream ended or broke.
    #[error("transport lost")]
    Lost,
    /// Replaced by another transport of the same peer.
    #[error("replaced")]
    Replaced,
}
