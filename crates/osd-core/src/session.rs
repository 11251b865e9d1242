//! [`Session`]: one client's (or daemon's) session as the OSD keeps it: who, what it may do, which map it has.

use crate::event::Peer;
use cephx::caps::OsdCap;
use types::Epoch;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Who it is.
    pub peer: Peer,
    /// Its parsed capabilities. A text that does not parse grants nothing.
    pub caps: OsdCap,
    /// They allow everything: asked for each op.
    pub allow_all: bool,
    /// Newest map that we know it to have.
    pub last_map: Epoch,
}

impl Session {
    /// From what the handshake proved.
    pub fn new(peer: Peer) -> Session {
        let caps =
            if peer.allow_all { OsdCap::allow_all() } else { OsdCap::parse(&peer.caps).unwrap_or_default() };
        let allow_all = caps.is_allow_all();
        Session { peer, caps, allow_all, last_map: Epoch(0) }
    }
}
