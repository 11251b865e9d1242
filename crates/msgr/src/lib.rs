//! Messenger sessions without I/O: v2.1 (crc and secure) and v1, handshake to acknowledged delivery.

pub mod auth;
pub mod auth_none;
pub mod control;
pub mod crc;
pub mod error;
pub mod frame;
pub mod onwire;
pub mod outbuf;
pub mod v2;

pub use error::MsgrError;
pub use outbuf::OutBuf;
