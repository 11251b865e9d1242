//! Messenger sessions without I/O: v2.1 (crc and secure) and v1, handshake to acknowledged delivery.
//!
//! Ring 2. [`endpoint::Endpoint`] is what a shell drives; below it `v2` and `v1` are one transport each, `frame` and `onwire` the bytes
//! of v2, `session` what outlives a transport, `accept` how the two meet. Authentication is behind the traits of [`auth`].
//! Deliberately absent: sockets, clocks, dice, message bodies, and stateful sessions over v1.

mod accept;
pub mod auth;
pub mod auth_none;
mod connect;
pub mod control;
pub mod crc;
pub mod endpoint;
pub mod error;
pub mod frame;
pub mod fuzz;
pub mod onwire;
pub mod outbuf;
pub mod session;
pub mod v1;
pub mod v2;

pub use endpoint::{Endpoint, EndpointConfig, Event, Policy, Session, SessionId, State, TransportId};
pub use error::MsgrError;
pub use outbuf::OutBuf;
