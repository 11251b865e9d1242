//! A process's session with the monitors: [`MonLink`] for daemons, [`Commander`] for tools that send commands.
//!
//! Ring 3. Mirrors stock's `MonClient` in what the monitors see: hunting over the monitor list, one lossy session,
//! ticket renewal and rotating keys by `auth` messages inside it.

mod commander;
pub mod conf;
mod link;
mod maps;

pub use commander::{Answer, Commander, CommanderError, Login, Request};
pub use link::{LinkEvent, MonLink};
pub use maps::Maps;
