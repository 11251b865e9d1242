//! [`Proxies`]: the leader's sessions that stand for clients of other members.
//!
//! A member names its client's session by a number; behind a pair of member and number there is one client, who was proven to the
//! member. Mirrors stock's `MonSession`s of `MForward`, which keep the caps of the session that sent the message.

use mon_core::{Peer, SessionId};
use quorum::NodeId;
use std::collections::BTreeMap;

/// Session numbers from here on are those of sessions of other members' clients.
const FIRST: SessionId = 1 << 62;

/// Whom one stands for: entity, global id, caps.
type Who = (String, u64, String);

/// See the module's documentation.
#[derive(Debug)]
pub struct Proxies {
    by_key: BTreeMap<(NodeId, u64), SessionId>,
    of: BTreeMap<SessionId, ((NodeId, u64), Who)>,
    next: SessionId,
}

/// Which session a forwarded message belongs to.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The session.
    pub id: SessionId,
    /// It is a new one.
    pub opened: bool,
    /// One that ended by it: the number stands for another client now.
    pub ended: Option<SessionId>,
}

impl Proxies {
    /// None yet.
    pub fn new() -> Proxies {
        Proxies { by_key: BTreeMap::new(), of: BTreeMap::new(), next: FIRST }
    }

    /// True for a number that was given here.
    pub fn is_one(id: SessionId) -> bool {
        id >= FIRST
    }

    /// The session of `from`'s client `token`, who is `peer`. Another client under the same number never gets the former one's rights.
    pub fn find(&mut self, from: NodeId, token: u64, peer: &Peer) -> Found {
        let key = (from, token);
        let who = (peer.entity.clone(), peer.global_id, peer.caps.clone());
        let mut ended = None;
        if let Some(&id) = self.by_key.get(&key) {
            if self.of.get(&id).is_some_and(|(_, w)| *w == who) {
                return Found { id, opened: false, ended };
            }
            self.of.remove(&id);
            ended = Some(id);
        }
        let id = self.next;
        self.next += 1;
        self.by_key.insert(key, id);
        self.of.insert(id, (key, who));
        Found { id, opened: true, ended }
    }

    /// Where the answers of a session go: the member, and its number for the client.
    pub fn whose(&self, id: SessionId) -> Option<(NodeId, u64)> {
        self.of.get(&id).map(|(key, _)| *key)
    }

    /// Ends a session; its member and number.
    pub fn end(&mut self, id: SessionId) -> Option<(NodeId, u64)> {
        let (key, _) = self.of.remove(&id)?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// A member's client has gone: its session.
    pub fn client_gone(&mut self, from: NodeId, token: u64) -> Option<SessionId> {
        let id = self.by_key.remove(&(from, token))?;
        self.of.remove(&id);
        Some(id)
    }

    /// A member has gone, or begins to number anew: all that it sent.
    pub fn member_gone(&mut self, from: NodeId) -> Vec<SessionId> {
        let keys: Vec<_> = self.by_key.range((from, 0)..=(from, u64::MAX)).map(|(k, _)| *k).collect();
        keys.into_iter().filter_map(|(node, token)| self.client_gone(node, token)).collect()
    }

    /// This monitor leads no more: all of them.
    pub fn clear(&mut self) -> Vec<SessionId> {
        self.by_key.clear();
        std::mem::take(&mut self.of).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mon_core::Role;
    use types::{AddrVec, EntityName};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn peer(entity: &str, global_id: u64, caps: &str) -> Peer {
        Peer {
            role: Role::Mon,
            entity: entity.to_owned(),
            global_id,
            name: EntityName::client(global_id),
            addrs: AddrVec::default(),
            features: 0,
            caps: caps.to_owned(),
            allow_all: false,
            authenticated: true,
        }
    }

    #[test]
    fn a_client_keeps_its_session_and_members_numbers_do_not_meet() {
        let mut p = Proxies::new();
        let admin = peer("client.admin", 7, "allow *");
        let first = p.find(A, 5, &admin);
        assert_eq!((first.opened, &first.ended), (true, &None));
        assert_eq!(p.find(A, 5, &admin), Found { id: first.id, opened: false, ended: None });
        let other = p.find(B, 5, &peer("client.x", 8, "allow r"));
        assert!(other.opened && other.id != first.id);
        assert_eq!((p.whose(first.id), p.whose(other.id)), (Some((A, 5)), Some((B, 5))));
    }

    #[test]
    fn another_client_under_the_same_number_gets_a_session_of_its_own() {
        for stranger in [
            peer("client.x", 7, "allow *"),
            peer("client.admin", 8, "allow *"),
            peer("client.admin", 7, "allow r"),
        ] {
            let mut p = Proxies::new();
            let admin = p.find(A, 5, &peer("client.admin", 7, "allow *"));
            let found = p.find(A, 5, &stranger);
            assert!(found.opened && found.id != admin.id);
            assert_eq!(found.ended, Some(admin.id));
            assert_eq!(p.whose(admin.id), None, "nothing is routed to it any more");
            assert_eq!(p.whose(found.id), Some((A, 5)));
        }
    }

    #[test]
    fn a_member_that_begins_anew_takes_its_sessions_with_it_and_only_those() {
        let mut p = Proxies::new();
        let admin = peer("client.admin", 7, "allow *");
        let (one, two, other) =
            (p.find(A, 0, &admin).id, p.find(A, u64::MAX, &admin).id, p.find(B, 0, &admin).id);
        assert_eq!(p.member_gone(A), [one, two]);
        assert_eq!((p.whose(one), p.whose(other)), (None, Some((B, 0))));
        let again = p.find(A, 0, &admin);
        assert!(again.opened && again.id != one, "a number of ours is never used twice");
        assert_eq!(p.end(again.id), Some((A, 0)));
        assert_eq!(p.client_gone(B, 0), Some(other));
        assert!(p.clear().is_empty());
    }
}
