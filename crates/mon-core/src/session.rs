//! Sessions and their subscriptions.

use crate::event::{Peer, SessionId};
use denc::Features;
use messages::mon::SubItem;
use std::collections::{BTreeMap, BTreeSet};
use types::{EntityType, Epoch, PgId, Utime};

/// Subscriptions that one session may hold.
pub const SUBS_MAX: usize = 32;

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Who.
    pub peer: Peer,
    /// What it wants to be told: start is the next version it lacks.
    pub subs: BTreeMap<String, SubItem>,
    /// Configuration it was sent last.
    pub config_sent: Option<BTreeMap<String, String>>,
    /// Newest OSDMap epoch it was sent.
    pub osd_epoch: u32,
    /// PGs it was told to create, each with the interval in which it was told.
    pub creates_sent: BTreeMap<PgId, Epoch>,
    /// Host name it gave in its subscription.
    pub hostname: String,
    /// Transactions that the leader was handed for it and has not answered.
    pub handed: BTreeSet<u64>,
    /// When the leader was last handed a message that has no answer.
    pub handed_at: Option<Utime>,
}

impl Session {
    /// A session without subscriptions.
    pub fn new(id: SessionId, peer: Peer) -> Session {
        Session {
            id,
            peer,
            subs: BTreeMap::new(),
            config_sent: None,
            osd_epoch: 0,
            creates_sent: BTreeMap::new(),
            hostname: String::new(),
            handed: BTreeSet::new(),
            handed_at: None,
        }
    }
    /// Entity type that was proven.
    pub fn kind(&self) -> EntityType {
        self.peer.entity.split_once('.').and_then(|(k, _)| EntityType::parse(k)).unwrap_or_default()
    }
    /// The id part of the entity's name.
    pub fn entity_id(&self) -> &str {
        self.peer.entity.split_once('.').map_or("", |(_, i)| i)
    }
    /// The number in `osd.N`, for an OSD.
    pub fn osd_id(&self) -> Option<i32> {
        if self.kind() == EntityType::OSD { self.entity_id().parse().ok() } else { None }
    }
    /// What the peer can decode.
    pub fn features(&self) -> Features {
        Features(self.peer.features)
    }
}
