//! What is checked about a peer's message before Raft's library sees it.
//!
//! The library trusts its peers: a heartbeat that commits an entry which we do not have, entries with a gap, or a snapshot that we
//! cannot read make it panic. A peer is another monitor with the cluster's key, but a mixed-up or corrupt one must not take the
//! others down, and a member whose disk lost entries must notice rather than die in a loop.

use crate::config::NodeId;
use crate::log::MemLog;
use raft::Storage;
use raft::eraftpb::{Message, MessageType};
use thiserror::Error;

/// Something that should not be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Bytes of a peer do not decode.
    #[error("a message of {from} does not decode")]
    Undecodable {
        /// The peer.
        from: NodeId,
        /// Why.
        #[source]
        source: denc::DencError,
    },
    /// The envelope names another sender than the session's.
    #[error("{from} sent a message as {claimed}")]
    WrongSender {
        /// The session's peer.
        from: NodeId,
        /// What the envelope says.
        claimed: NodeId,
    },
    /// The message is for another identity: ours before the store was lost, most likely.
    #[error("{from} sent a message for {to}, which is not us")]
    NotForUs {
        /// The peer.
        from: NodeId,
        /// Whom it wanted.
        to: NodeId,
    },
    /// A member is configured with another lease. Leases rest on promises that all keep alike, so it is not listened to.
    #[error("{from} is configured with a lease of {theirs_us} us, we with {ours_us}: they must be equal")]
    Timing {
        /// The peer.
        from: NodeId,
        /// Its lease.
        theirs_us: u64,
        /// Ours.
        ours_us: u64,
    },
    /// A message that no correct member sends.
    #[error("{from} sent an impossible message: {what}")]
    Impossible {
        /// The peer.
        from: NodeId,
        /// What is wrong.
        what: &'static str,
    },
    /// The leader counts on entries that we acknowledged and do not have: this store lost data. It must leave the quorum
    /// and come back with a new store.
    #[error("our log ends at {last}, but {from} knows that we had {wanted}: this store lost entries")]
    LogLost {
        /// The leader.
        from: NodeId,
        /// Where our log ends.
        last: u64,
        /// What we acknowledged.
        wanted: u64,
    },
    /// A committed entry of ours differs from a peer's.
    #[error("entry {index} is committed here with another term than at {from}: one of the stores is corrupt")]
    Diverged {
        /// The peer.
        from: NodeId,
        /// Where.
        index: u64,
    },
    /// The shell gave a snapshot that cannot be used.
    #[error("a snapshot of {bytes} bytes is too large to send")]
    SnapshotTooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What the checks look at.
pub(crate) struct Seen<'a> {
    pub log: &'a MemLog,
    pub committed: u64,
    pub last: u64,
}

impl Seen<'_> {
    fn known_term(&self, index: u64) -> Option<u64> {
        self.log.term(index).ok()
    }

    /// May the library see `m`?
    pub fn check(&self, m: &Message) -> Result<(), Fault> {
        let from = NodeId(m.from);
        let bad = |what| Err(Fault::Impossible { from, what });
        if !m.get_entries().is_empty() && m.get_msg_type() != MessageType::MsgAppend {
            return bad("entries outside of an append");
        }
        if m.has_snapshot() != (m.get_msg_type() == MessageType::MsgSnapshot) {
            return bad("a snapshot outside of its message");
        }
        match m.get_msg_type() {
            MessageType::MsgAppend => self.append(m),
            MessageType::MsgHeartbeat if m.commit > self.last => {
                Err(Fault::LogLost { from, last: self.last, wanted: m.commit })
            }
            MessageType::MsgSnapshot => {
                let meta = m.get_snapshot().get_metadata();
                if meta.index == 0 || meta.term == 0 || meta.term > m.term {
                    return bad("a snapshot without a place");
                }
                let committed = meta.index <= self.committed;
                if committed && self.known_term(meta.index).is_some_and(|t| t != meta.term) {
                    return Err(Fault::Diverged { from, index: meta.index });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn append(&self, m: &Message) -> Result<(), Fault> {
        let from = NodeId(m.from);
        let bad = |what| Err(Fault::Impossible { from, what });
        // (The library takes term zero as that of any index which it does not have.)
        if (m.index == 0) != (m.log_term == 0) {
            return bad("a place without a term");
        }
        let (mut index, mut term) = (m.index, m.log_term);
        for e in m.get_entries() {
            if e.index != index + 1 {
                return bad("a gap between entries");
            }
            if e.term < term || e.term == 0 || e.term > m.term {
                return bad("entries with falling terms");
            }
            (index, term) = (e.index, e.term);
            // (An entry that is not in the log any more was applied; the library does not look at it either.)
            if e.index <= self.committed && self.known_term(e.index).is_some_and(|t| t != e.term) {
                return Err(Fault::Diverged { from, index: e.index });
            }
        }
        Ok(())
    }

    /// As leader: an acknowledgement of entries that we never had would let Raft count on them.
    pub fn check_as_leader(&self, m: &Message) -> Result<(), Fault> {
        let ack = m.get_msg_type() == MessageType::MsgAppendResponse && !m.reject;
        if ack && m.index > self.last {
            return Err(Fault::Impossible {
                from: NodeId(m.from),
                what: "entries acknowledged that never were",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn msg(kind: MessageType) -> Message {
        let mut m = Message::default();
        m.set_msg_type(kind);
        (m.from, m.to, m.term, m.index, m.log_term) = (2, 1, 5, 2, 3);
        m
    }
    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }
    fn check(m: &Message) -> Result<(), Fault> {
        let mut log = MemLog::default();
        log.append(&[entry(1, 1), entry(2, 3), entry(3, 3)]);
        Seen { log: &log, committed: 2, last: 3 }.check(m)
    }

    #[test]
    fn a_proper_append_passes_and_odd_ones_do_not() {
        let mut m = msg(MessageType::MsgAppend);
        m.set_entries(vec![entry(3, 4), entry(4, 5)].into());
        assert_eq!(check(&m), Ok(()));
        m.set_entries(vec![entry(4, 5)].into());
        assert!(matches!(check(&m), Err(Fault::Impossible { .. })), "gap");
        m.set_entries(vec![entry(3, 6)].into());
        assert!(matches!(check(&m), Err(Fault::Impossible { .. })), "term of the future");
        m.set_entries(vec![entry(3, 2)].into());
        assert!(matches!(check(&m), Err(Fault::Impossible { .. })), "term falls");
        (m.index, m.log_term) = (9, 0);
        m.set_entries(vec![entry(10, 5)].into());
        assert!(matches!(check(&m), Err(Fault::Impossible { .. })), "behind our end, and no term to tell");
        (m.index, m.log_term) = (1, 1);
        m.set_entries(vec![entry(2, 2)].into());
        assert_eq!(check(&m), Err(Fault::Diverged { from: NodeId(2), index: 2 }));
    }

    #[test]
    fn a_leader_that_counts_on_lost_entries_is_not_followed_into_a_panic() {
        let mut m = msg(MessageType::MsgHeartbeat);
        m.commit = 3;
        assert_eq!(check(&m), Ok(()));
        m.commit = 4;
        assert_eq!(check(&m), Err(Fault::LogLost { from: NodeId(2), last: 3, wanted: 4 }));
    }
}
