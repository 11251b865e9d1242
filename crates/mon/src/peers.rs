//! The other monitors: a session that we dial to each of them, over which we speak, and the sessions that they dialed, on which we hear.
//!
//! Only holders of the key `mon.` get here. What is sent while a session is down is lost (the quorum's machine repeats what matters), but for
//! what goes to the leader, which waits a little. Large envelopes travel in pieces, so that heartbeats find their way between them.

use messages::{Message, Payload};
use mon_core::wire::{Hello, Piece, QuorumBytes};
use net::{Connection, Messenger, Policy};
use quorum::NodeId;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use types::features::SUPPORTED;
use types::{AddrVec, EntityType, Utime};

/// How often [`Peers::tick`] is wanted.
pub const TICK: Duration = Duration::from_millis(250);
/// A session that is not ready after so long is dialed again.
const DIAL_MAX: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(200);
/// A peer that has not acknowledged a keepalive for so long is dialed anew: its answers may be lost in a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Sessions that we dial at most.
const LINKS_MAX: usize = 64;
/// Larger envelopes travel in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// Messages that wait for a session with the leader.
const WAITING_MAX: usize = 10_000;

/// A session that we dial.
struct Link {
    addrs: AddrVec,
    conn: Option<Connection>,
    ready: bool,
    dialed_at: Instant,
    retry_at: Instant,
    waiting: VecDeque<Message>,
    pieces: VecDeque<Message>,
}

/// What is being put together on a session that a peer dialed.
struct Partial {
    id: u64,
    total: u64,
    bytes: Vec<u8>,
}

/// A session that a peer dialed.
#[derive(Default)]
struct Heard {
    hello: Option<Hello>,
    partial: Option<Partial>,
}

/// See the module's documentation.
pub struct Peers {
    messenger: OnceCell<Messenger>,
    own: RefCell<Hello>,
    links: RefCell<BTreeMap<String, Link>>,
    heard: RefCell<BTreeMap<u64, Heard>>,
    next_piece: Cell<u64>,
}

/// Features with which monitors encode for each other.
fn features() -> denc::Features {
    denc::Features(SUPPORTED)
}

/// A message to another monitor.
pub fn message<P: Payload>(p: &P) -> Message {
    Message::new(p, features())
}

impl Peers {
    /// Nobody is dialed yet.
    pub fn new(own: Hello) -> Peers {
        Peers {
            messenger: OnceCell::new(),
            own: RefCell::new(own),
            links: RefCell::default(),
            heard: RefCell::default(),
            next_piece: Cell::new(1),
        }
    }
    /// Tells which messenger to dial with.
    pub fn set_messenger(&self, m: Messenger) {
        let _ = self.messenger.set(m);
    }
    /// Our name.
    pub fn name(&self) -> String {
        self.own.borrow().name.clone()
    }
    /// From now on others hear that we have a place in a quorum.
    pub fn set_belongs(&self, belongs: bool) {
        if std::mem::replace(&mut self.own.borrow_mut().belongs, belongs) == belongs {
            return;
        }
        let hello = self.own.borrow().clone();
        for l in self.links.borrow().values().filter(|l| l.ready) {
            if let Some(c) = &l.conn {
                c.send(message(&hello));
            }
        }
    }
    /// Dials these from now on, by name; others that are dialed and have not said hello are left alone.
    pub fn set_map(&self, mons: impl IntoIterator<Item = (String, AddrVec)>, keep: impl Fn(&str) -> bool) {
        let own = self.name();
        let mut wanted: BTreeMap<String, AddrVec> = mons.into_iter().filter(|(n, _)| *n != own).collect();
        let mut links = self.links.borrow_mut();
        links.retain(|name, l| {
            let stays = match wanted.remove(name) {
                Some(addrs) => {
                    addrs == l.addrs || {
                        wanted.insert(name.clone(), addrs);
                        false
                    }
                }
                None => keep(name),
            };
            if !stays && let Some(c) = l.conn.take() {
                c.mark_down();
            }
            stays
        });
        for (name, addrs) in wanted {
            add_link(&mut links, name, addrs);
        }
    }
    /// Dials and gives up what is silent. Answers whose sessions ended by that.
    pub fn tick(&self, now: Utime) -> Vec<String> {
        let Some(m) = self.messenger.get() else { return vec![] };
        let at = Instant::now();
        let mut ended = Vec::new();
        for (name, l) in self.links.borrow_mut().iter_mut() {
            if let Some(c) = &l.conn {
                let age = at.duration_since(l.dialed_at);
                let silent = now.since(c.last_keepalive_ack()) > SILENCE_MAX && age > SILENCE_MAX;
                if (!l.ready && age > DIAL_MAX) || (l.ready && silent) {
                    c.mark_down();
                    if l.drop_session(at) {
                        ended.push(name.clone());
                    }
                } else if l.ready {
                    c.keepalive();
                }
            }
            if l.conn.is_none() && at >= l.retry_at {
                l.dialed_at = at;
                l.conn = Some(m.connect_with(EntityType::MON, &l.addrs, Policy::lossy_client()));
            }
        }
        ended
    }
    /// Sends the next piece of what is large; true while there are more.
    pub fn send_pieces(&self) -> bool {
        let mut more = false;
        for l in self.links.borrow_mut().values_mut().filter(|l| l.ready) {
            if let (Some(c), Some(piece)) = (&l.conn, l.pieces.pop_front()) {
                c.send(piece);
            }
            more |= !l.pieces.is_empty();
        }
        more
    }

    fn link_of(&self, conn: &Connection) -> Option<String> {
        let links = self.links.borrow();
        links.iter().find(|(_, l)| l.conn.as_ref() == Some(conn)).map(|(n, _)| n.clone())
    }
    /// A session that we dialed is ready: says hello, sends what waited. Answers the peer's name.
    pub fn connected(&self, conn: &Connection) -> Option<String> {
        let name = self.link_of(conn)?;
        let mut links = self.links.borrow_mut();
        let l = links.get_mut(&name)?;
        l.ready = true;
        conn.send(message(&*self.own.borrow()));
        conn.keepalive();
        for m in l.waiting.drain(..) {
            conn.send(m);
        }
        Some(name)
    }
    /// A session ended. Answers the name of the peer, if it was one that we dialed and had been ready.
    pub fn reset(&self, conn: &Connection) -> Option<String> {
        self.heard.borrow_mut().remove(&conn.id());
        let name = self.link_of(conn)?;
        let mut links = self.links.borrow_mut();
        links.get_mut(&name)?.drop_session(Instant::now()).then_some(name)
    }
    /// A peer dialed us.
    pub fn accepted(&self, conn: &Connection) {
        self.heard.borrow_mut().insert(conn.id(), Heard::default());
    }
    /// True for a session that a peer dialed.
    pub fn is_peer(&self, conn: &Connection) -> bool {
        self.heard.borrow().contains_key(&conn.id())
    }
    /// Who is at the other end of a session that was dialed to us, when it has said so.
    pub fn hello_of(&self, conn: &Connection) -> Option<Hello> {
        self.heard.borrow().get(&conn.id())?.hello.clone()
    }
    /// A peer said who it is. False when it is none of ours.
    pub fn said_hello(&self, conn: &Connection, hello: Hello) -> bool {
        if hello.fsid != self.own.borrow().fsid || hello.node == self.own.borrow().node {
            return false;
        }
        // One that we did not know of (we may be joining with an old map): it is dialed, too.
        let mut links = self.links.borrow_mut();
        if !links.contains_key(&hello.name) && hello.name != self.name() && !hello.addrs.0.is_empty() {
            add_link(&mut links, hello.name.clone(), hello.addrs.clone());
        }
        if let Some(h) = self.heard.borrow_mut().get_mut(&conn.id()) {
            h.hello = Some(hello);
        }
        true
    }
    /// All that said hello and are still there.
    pub fn hellos(&self) -> Vec<Hello> {
        self.heard.borrow().values().filter_map(|h| h.hello.clone()).collect()
    }
    /// True while we can speak to this monitor.
    pub fn is_ready(&self, name: &str) -> bool {
        self.links.borrow().get(name).is_some_and(|l| l.ready)
    }
    fn name_of(&self, node: NodeId) -> Option<String> {
        // The newest session counts: names outlive identities.
        let heard = self.heard.borrow();
        heard
            .values()
            .rev()
            .filter_map(|h| h.hello.as_ref())
            .find(|h| h.node == node.0)
            .map(|h| h.name.clone())
    }
    /// The identity under which a monitor said hello.
    pub fn node_of(&self, name: &str) -> Option<NodeId> {
        let heard = self.heard.borrow();
        heard.values().rev().filter_map(|h| h.hello.as_ref()).find(|h| h.name == name).map(|h| NodeId(h.node))
    }
    /// Sends an envelope of the quorum's machine.
    pub fn send_envelope(&self, to: NodeId, data: bytes::Bytes) {
        let Some(name) = self.name_of(to) else { return };
        let mut links = self.links.borrow_mut();
        let Some(l) = links.get_mut(&name).filter(|l| l.ready) else { return };
        let Some(c) = &l.conn else { return };
        if data.len() <= 2 * PIECE_BYTES {
            return c.send(message(&QuorumBytes(data)));
        }
        let id = self.next_piece.replace(self.next_piece.get() + 1);
        let total = data.len() as u64;
        // A newer one takes the place of what is on its way.
        l.pieces.clear();
        for offset in (0..data.len()).step_by(PIECE_BYTES) {
            let piece = data.slice(offset..(offset + PIECE_BYTES).min(data.len()));
            l.pieces.push_back(message(&Piece { id, offset: offset as u64, total, data: piece }));
        }
    }
    /// Sends to an identity; lost when there is no session.
    pub fn send_to(&self, to: NodeId, msg: Message) {
        if let Some(name) = self.name_of(to) {
            self.send_now(&name, msg);
        }
    }
    /// Sends to a monitor by name; lost when there is no session.
    pub fn send_now(&self, name: &str, msg: Message) {
        let links = self.links.borrow();
        if let Some(c) = links.get(name).filter(|l| l.ready).and_then(|l| l.conn.as_ref()) {
            c.send(msg);
        }
    }
    /// Sends to a monitor by name; waits for a session.
    pub fn send_or_wait(&self, name: &str, msg: Message) {
        let mut links = self.links.borrow_mut();
        let Some(l) = links.get_mut(name) else { return };
        match &l.conn {
            Some(c) if l.ready => c.send(msg),
            _ if l.waiting.len() < WAITING_MAX => l.waiting.push_back(msg),
            _ => tracing::warn!("more than {WAITING_MAX} messages wait for mon.{name}: one is dropped"),
        }
    }
    /// For tests: what waits for a monitor.
    #[cfg(test)]
    pub fn waiting_for(&self, name: &str) -> Vec<Message> {
        self.links.borrow().get(name).map(|l| l.waiting.iter().cloned().collect()).unwrap_or_default()
    }
    /// What waits for a monitor is not wanted any more.
    pub fn forget_waiting(&self) {
        for l in self.links.borrow_mut().values_mut() {
            l.waiting.clear();
        }
    }
    /// Sends to everyone whom we can speak to.
    pub fn send_all<P: Payload>(&self, p: &P) {
        for l in self.links.borrow().values().filter(|l| l.ready) {
            if let Some(c) = &l.conn {
                c.send(message(p));
            }
        }
    }
    /// A piece came. Answers the envelope when it is whole.
    pub fn piece(&self, conn: &Connection, p: Piece) -> Option<bytes::Bytes> {
        let mut heard = self.heard.borrow_mut();
        let slot = &mut heard.get_mut(&conn.id())?.partial;
        // (The envelope is the state and a little more.)
        if p.total > quorum::SNAPSHOT_BYTES_MAX as u64 + (1 << 20) {
            return None;
        }
        if p.offset == 0 {
            *slot = Some(Partial { id: p.id, total: p.total, bytes: Vec::new() });
        }
        let part = slot.as_mut().filter(|s| {
            s.id == p.id
                && s.total == p.total
                && s.bytes.len() as u64 == p.offset
                && p.offset + p.data.len() as u64 <= s.total
        });
        let Some(part) = part else {
            *slot = None;
            return None;
        };
        part.bytes.extend_from_slice(&p.data);
        if part.bytes.len() as u64 != part.total {
            return None;
        }
        slot.take().map(|s| s.bytes.into())
    }
}

impl Link {
    /// Forgets the session; true when it had been ready.
    fn drop_session(&mut self, at: Instant) -> bool {
        self.conn = None;
        self.pieces.clear();
        self.retry_at = at + RETRY;
        std::mem::replace(&mut self.ready, false)
    }
}

fn add_link(links: &mut BTreeMap<String, Link>, name: String, addrs: AddrVec) {
    if links.len() >= LINKS_MAX {
        return tracing::warn!("more than {LINKS_MAX} monitors: mon.{name} is not dialed");
    }
    let at = Instant::now();
    let link = Link {
        addrs,
        conn: None,
        ready: false,
        dialed_at: at,
        retry_at: at,
        waiting: VecDeque::new(),
        pieces: VecDeque::new(),
    };
    links.insert(name, link);
}
