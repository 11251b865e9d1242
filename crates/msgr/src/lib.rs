//! Messenger sessions without I/O: v2.1 (crc and secure) and v1, handshake to acknowledged delivery.

pub mod auth;
