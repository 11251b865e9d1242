//! A whole cluster on one thread, from one seed: real monitor, OSD and store cores, simulated clients, network, disks and
//! operator, with faults; and a checker of everything that clients saw.
//!
//! Deliberately absent: bytes on sockets (crate `msgr` has its own tests), authentication.

pub mod client;
pub mod guard;
pub mod links;
pub mod model;
pub mod mon;
pub mod nemesis;
pub mod net;
pub mod oracle;
pub mod osd;
pub mod osd_shell;
pub mod rng;
pub mod run;
pub mod show;
pub mod trace;
pub mod workload;
pub mod world;

pub use guard::{guard, quiet_panics};
pub use run::{Outcome, run};
pub use world::{Inject, Options};
