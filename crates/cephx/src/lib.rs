//! cephx without I/O: keys and ciphers, the login at a monitor, tickets and authorizers, both sides of each exchange.
//!
//! Ring 2: no clock, no randomness, no files; both come in through [`Env`]. Implements the seam traits of `msgr::auth`:
//!
//! | who | type |
//! |---|---|
//! | monitor, per connection | [`MonServerAuth`] (from the shared [`MonAuthenticator`]), [`V1MonLogin`] for v1 sessions |
//! | OSD, MGR, MDS, per connection | [`ServiceServerAuth`] over the daemon's [`TicketStore`] |
//! | anyone towards a monitor | [`MonClientAuth`] |
//! | anyone towards a service | [`ServiceClientAuth`] |

pub mod caps;
pub mod client;
pub mod crypto;
pub mod env;
pub mod fuzz;
pub mod keyring;
pub mod keyserver;
mod krb5;
pub mod proto;
pub mod server;
pub mod service;

pub use client::{MonClientAuth, ServiceClientAuth, Ticket, TicketStore};
pub use crypto::{CephxError, CryptoKey, KeyType};
pub use env::Env;
pub use keyring::Keyring;
pub use keyserver::{
    AuthConfig, EntityAuth, ExpiringCryptoKey, KeyServer, KeyServerData, MonAuthDb, RotatingSecrets,
};
pub use proto::{AuthCapsInfo, AuthName};
pub use server::{MonAuthenticator, MonServerAuth, SessionReply, V1MonLogin, V1Reply};
pub use service::{MonSecrets, ServiceSecrets, ServiceServerAuth};
