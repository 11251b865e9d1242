//! Ceph's messages as Rust types, each with the front, middle and data it travels with.
//!
//! Ring 1 (bytes). One module per family of messages. Deliberately absent: sessions, frames, authentication (`msgr`).

pub mod envelope;

pub use envelope::{Message, MsgHeader, PRIO_DEFAULT, PRIO_HIGH, Payload};
