//! A whole OSD as a pure machine: maps, joining the cluster, heartbeats, sessions and caps, placement groups, reports.
//!
//! Ring 2. [`OsdCore::handle`] takes an [`OsdEvent`], borrows the store, and answers [`OsdEffect`]s; the shell (program
//! `osd`, or `sim`) owns sockets, tickets, devices and the clock. Mirrors `OSD.cc` of Ceph in what it decides.

mod boot;
mod client_ops;
mod commands;
pub mod config;
mod copies;
mod core;
mod counters;
pub mod event;
pub mod heartbeat;
pub mod history;
mod maps;
pub mod mapstore;
mod peers;
mod pgs;
mod reports;
mod session;
pub mod superblock;
mod tracker;
pub mod view;

pub use config::{OsdAddrs, OsdConfig};
pub use core::{OsdCore, Phase};
pub use event::{LogLevel, Net, OsdEffect, OsdEvent, Peer, SessionId};
pub use superblock::{LoadError, Superblock};
