//! The simulated network: sessions between processes, as the messenger gives them to the daemons.
//!
//! Invariants: a session delivers in order, each message at most once. A lossless session loses nothing while both processes
//! live and neither marks the other down; a lossy one may break at any time, with what was on its way. Messages of
//! different sessions overtake each other freely. A partition holds messages back until it heals, as TCP does.

use messages::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::EntityAddr;

/// A process's place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Node {
    /// The monitor with the manager's role.
    Mon,
    /// An OSD.
    Osd(usize),
    /// A client.
    Client(usize),
}

/// What a session is for; the port that it goes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Chan {
    /// The monitor's listener.
    Mon,
    /// The manager's listener.
    Mgr,
    /// An OSD's listeners.
    Osd(osd_core::Net),
}

impl Chan {
    /// Sessions that a break ends, instead of being taken up again.
    pub fn is_lossy(self) -> bool {
        self != Chan::Osd(osd_core::Net::Cluster)
    }
}

/// A session's number.
pub type Sid = u64;

/// One end of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// The process.
    pub node: Node,
    /// Its incarnation.
    pub inc: u32,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Dir {
    /// Messages on their way, with the time at which they arrive.
    pub queue: VecDeque<(u64, Message)>,
    /// Arrival of the newest.
    pub last: u64,
    /// An arrival event is in the world's queue.
    pub scheduled: bool,
}

/// A session. End 0 has opened it; direction 0 leads from end 0 to end 1.
#[derive(Debug)]
pub struct Session {
    /// Both ends.
    pub ends: [End; 2],
    /// An end that has ended neither sends nor receives.
    pub ended: [bool; 2],
    /// The listener.
    pub chan: Chan,
    /// Address that end 0 connected to.
    pub target: EntityAddr,
    /// Address that end 0 gave as its own.
    pub source: EntityAddr,
    /// The handshake is over.
    pub open: bool,
    /// Both directions.
    pub dirs: [Dir; 2],
}

/// A process's address.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// The process.
    pub end: End,
    /// What it listens for.
    pub chan: Chan,
}

/// The network's state.
#[derive(Debug, Default)]
pub struct Net {
    /// Sessions by number.
    pub sessions: BTreeMap<Sid, Session>,
    /// Who ever listened where.
    pub book: BTreeMap<EntityAddr, Listener>,
    /// Directions in which nothing passes.
    pub blocked: BTreeSet<(Node, Node)>,
    /// Delays in nanoseconds: least, and spread.
    pub delay: (u64, u64),
    /// Messages in 1000 that take long.
    pub spike_permille: u64,
    next: Sid,
}

impl Net {
    /// A new session towards `target`, not open yet.
    pub fn add(&mut self, from: End, to: Listener, target: EntityAddr) -> Sid {
        self.next += 1;
        let s = Session {
            ends: [from, to.end],
            ended: [false; 2],
            chan: to.chan,
            target,
            source: EntityAddr::default(),
            open: false,
            dirs: Default::default(),
        };
        self.sessions.insert(self.next, s);
        self.next
    }
    /// True when messages pass from `a` to `b`.
    pub fn passes(&self, a: Node, b: Node) -> bool {
        !self.blocked.contains(&(a, b))
    }
    /// True when messages pass both ways.
    pub fn reaches(&self, a: Node, b: Node) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }
    /// Drops a session that both ends have left.
    pub fn reap(&mut self, sid: Sid) {
        if self.sessions.get(&sid).is_some_and(|s| s.ended == [true; 2]) {
            self.sessions.remove(&sid);
        }
    }
    /// Sessions with an end at a process.
    pub fn of(&self, node: Node) -> Vec<Sid> {
        let has = |s: &Session| s.ends.iter().any(|e| e.node == node);
        self.sessions.iter().filter(|(_, s)| has(s)).map(|(id, _)| *id).collect()
    }
}
