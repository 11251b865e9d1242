//! [`Dispatcher`]: what a daemon answers to its messenger.

use crate::{Connection, MsgHold};
use messages::Message;
use msgr::auth::{ClientAuth, ServerAuth};
use std::net::SocketAddr;
use types::{AddrVec, EntityType};

/// What is known about an incoming connection when it starts to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptInfo {
    /// Type that the peer claims.
    pub peer_type: EntityType,
    /// Where it comes from.
    pub from: SocketAddr,
    /// True for a v1 authorizer (its request has an empty list of modes).
    pub is_v1: bool,
    /// The same number that [`Connection::id`] will give, if it gets that far as a new session.
    pub conn_id: u64,
}

/// Receives what happens on a messenger's sessions.
///
/// Called inline on the messenger's thread, with nothing of the messenger borrowed: any method of `Messenger` and
/// `Connection` may be called from inside. Must not block. Sends are written out when the callback's batch ends.
pub trait Dispatcher {
    /// Makes the accepting side's authentication for one attempt; `None` refuses.
    fn server_auth(&self, info: &AcceptInfo) -> Option<Box<dyn ServerAuth>>;
    /// Makes the connecting side's authentication for one attempt; `None` means not now (no ticket yet): the attempt
    /// fails and, on a stateful session, is repeated after the backoff.
    fn client_auth(&self, peer_type: EntityType, peer: &AddrVec) -> Option<Box<dyn ClientAuth>>;
    /// A session that we opened is ready (also after each successful reconnect).
    fn on_connect(&self, _conn: &Connection) {}
    /// A session that the peer opened is ready (once per session, not on its reconnects). Also when both opened at once and the
    /// peer's attempt won: then `conn` is the one that our `connect` answered, and `on_connect` is not called.
    fn on_accept(&self, _conn: &Connection) {}
    /// A message came. Dropping `hold` gives its share of the throttle back.
    fn on_message(&self, conn: &Connection, msg: Message, hold: MsgHold);
    /// A session ended by itself: lossy and broken, failed to authenticate, or its state expired. Not called after our own
    /// `mark_down`. Also called when connecting on a lossy policy failed.
    fn on_reset(&self, _conn: &Connection) {}
    /// A stateful peer lost its side of the session: messages of both directions may have been lost. The session goes on,
    /// anew, on the same `Connection`.
    fn on_remote_reset(&self, _conn: &Connection) {}
    /// Nobody listens at the peer's address (ECONNREFUSED). Called before `on_reset` on lossy sessions, and on each attempt of
    /// stateful ones.
    fn on_refused(&self, _conn: &Connection) {}
    /// The end of a batch of callbacks, before what they sent is written: the place to start what was gathered meanwhile, and to
    /// flush other messengers ([`crate::Messenger::flush`]) in the same turn.
    fn on_batch_end(&self) {}
}
