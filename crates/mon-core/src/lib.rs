//! The monitor and the manager's role as a pure machine: [`MonCore`] takes events and gives effects.
//!
//! Ring 2 (cores): no sockets, files or clocks. Every change of state is a [`kv::Proposal`] that becomes visible only when the shell
//! reports it durable, so that consensus can be put in between without changing a service.

#![recursion_limit = "512"]

mod adopt;
mod auth;
pub mod authz;
pub mod commands;
mod config;
mod core;
mod counters;
pub mod crushutil;
mod deferred;
mod dispatch;
mod done;
pub mod event;
pub mod fmt;
pub mod fuzz;
pub mod fuzz_manager;
mod health;
pub mod kv;
mod leader;
mod log;
mod looks;
mod mdsmon;
mod mgrbeacon;
mod mgrmon;
mod mgrstat;
mod mgrsubs;
mod mixed;
mod mkfs;
mod monmapmon;
mod numbers;
mod osdmon;
pub mod pgmap;
mod poolop;
mod progress;
mod prometheus;
mod rebuild;
mod session;
mod slowdisks;
mod table;
pub mod testing;
pub mod wire;

pub use adopt::{AdoptError, adopt};
pub use auth::{AuthMon, keyring_text, parse_keyring};
pub use core::{MonConfig, MonCore};
pub use event::{
    LogLevel, MemberNews, MonEffect, MonEvent, Peer, QuorumInfo, Role, SessionId, StoreState, Unproposed,
};
pub use kv::{Batch, Proposal};
pub use mkfs::{MkfsConfig, mkfs};
pub use rebuild::{MapSegment, RebuildConfig, RebuildError, Rebuilt, rebuild, stock_caps};
pub use types::options;
