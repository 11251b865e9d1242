//! The network shell: listeners, sockets, timers and sessions for one daemon, on one thread.
//!
//! Ring 3. [`Messenger`] drives the pure sessions of `msgr` on a tokio current-thread runtime inside a `LocalSet`.
//! Everything here is `!Send` and reference-counted: no locks, no hand-offs. The owner implements [`Dispatcher`]; its
//! methods are called inline from the reading task, one read's worth of frames at a time, and what they send is written
//! once at the end of that batch.
//!
//! Deliberately absent: authentication (behind `msgr::auth`), message bodies, policy about who may do what.

mod config;
mod connection;
mod dispatcher;
mod driver;
mod messenger;
mod throttle;

pub use config::{MessengerConfig, Timeouts};
pub use connection::{Connection, ConnectionStats};
pub use dispatcher::{AcceptInfo, Dispatcher};
pub use messenger::{Messenger, MessengerStats};
pub use msgr::Policy;
pub use throttle::{MsgHold, Throttle};
