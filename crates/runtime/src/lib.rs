//! What every program of loligo needs around its core: configuration, flags, log, admin socket, counters, being a daemon.
//!
//! Ring 3. Mirrors stock's `global_init`, `md_config_t`, `AdminSocket` and `PerfCounters` in what users and tools can see of them.
//!
//! The usual start: [`DaemonArgs::parse`], [`DaemonArgs::config`], [`daemon::daemonize`], [`daemon::become_user`], [`Log::start`],
//! build the tokio runtime, [`PidFile::create`](daemon::PidFile::create), [`AdminSocket::bind`], serve, [`Ready::ready`](daemon::Ready::ready).

pub mod asok;
pub mod auth;
pub mod common;
pub mod conf;
pub mod config;
pub mod daemon;
pub mod flags;
pub mod idle;
pub mod log;
pub mod options;
pub mod perf;
pub mod system;

pub use asok::AdminSocket;
pub use common::register_common;
pub use config::{Config, Identity, Source};
pub use flags::DaemonArgs;
pub use log::Log;
pub use perf::PerfCounters;
pub use system::System;
