//! What rests beside the entries, and how a member starts from it.
//!
//! The shell keeps three kinds of records in its store: one *meta* record, one record per entry under its index, and the applied
//! index *inside the state machine's own transactions*. [`Loaded`] is all of it as read at start.
//!
//! Invariants that [`Loaded`] is checked for: entries are contiguous from where the meta record says that the log starts; terms do not
//! fall; the applied index lies within the log. A commit index is not relied on: what is applied was committed, and the
//! rest is learned from the leader again.

use crate::codec::{Conf, get_entry};
use crate::config::NodeId;
use crate::log::{MemLog, Point};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use raft::eraftpb::HardState;
use thiserror::Error;

/// What the shell read at start.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The meta record: of [`seed_meta`], [`joiner_meta`] or the last [`crate::Persist::meta`].
    pub meta: Bytes,
    /// All entries in order of their index.
    pub entries: Vec<Bytes>,
    /// The state machine's applied index; 1 for a seed, 0 for a joiner.
    pub applied: u64,
}

/// A store that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// A record does not decode.
    #[error("a record of the quorum does not decode")]
    Decode(#[from] DencError),
    /// Entries are missing.
    #[error("entry {wanted} is missing: found {found}")]
    Gap {
        /// What should come.
        wanted: u64,
        /// What came.
        found: u64,
    },
    /// Terms fall.
    #[error("entry {index} has an older term than the one before")]
    Terms {
        /// Where.
        index: u64,
    },
    /// The state is not within the log.
    #[error("the state is of index {applied}, the log holds {first} to {last}")]
    Applied {
        /// The state's.
        applied: u64,
        /// First entry's index.
        first: u64,
        /// Last entry's index.
        last: u64,
    },
    /// Durations that do not fit together.
    #[error("bad timing")]
    Timing(#[from] crate::config::TimingError),
    /// Raft's library refuses the state.
    #[error("raft refuses the stored state")]
    Refused,
}

/// The record beside the entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Meta {
    pub id: u64,
    pub hard_state: HardState,
    pub start: Point,
    pub conf: Conf,
}

impl Encode for Meta {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.id);
            e.u64(self.hard_state.term);
            e.u64(self.hard_state.vote);
            e.u64(self.hard_state.commit);
            e.u64(self.start.index);
            e.u64(self.start.term);
            e.put(&self.conf);
        });
    }
}
impl Decode for Meta {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("quorum meta", 1)?;
        let mut m = Meta { id: d.u64()?, ..Meta::default() };
        if m.id == 0 {
            return Err(DencError::Invalid { what: "member id", value: 0 });
        }
        m.hard_state.term = d.u64()?;
        m.hard_state.vote = d.u64()?;
        m.hard_state.commit = d.u64()?;
        m.start = Point { index: d.u64()?, term: d.u64()? };
        m.conf = d.get()?;
        Ok(m)
    }
}

/// The first meta record of a new cluster's members. Every one of them must start from the same state machine, so a real
/// cluster has one seed, and its other monitors join.
///
/// # Panics
/// Without members, or with more than [`crate::MEMBERS_MAX`].
pub fn seed_meta(own: NodeId, members: &[(NodeId, String)]) -> Bytes {
    assert!(!members.is_empty() && members.len() <= crate::codec::MEMBERS_MAX, "a seed has members");
    let mut voters: Vec<u64> = members.iter().map(|(id, _)| id.0).collect();
    voters.sort_unstable();
    let names = members.iter().map(|(id, name)| (id.0, name.clone())).collect();
    let mut meta = Meta {
        id: own.0,
        start: Point { index: 1, term: 1 },
        conf: Conf { index: 1, voters, learners: vec![], names },
        ..Meta::default()
    };
    meta.hard_state.term = 1;
    meta.hard_state.commit = 1;
    denc::to_bytes(&meta, Features::ALL)
}

/// The first meta record of a monitor that waits to be let in.
pub fn joiner_meta(own: NodeId) -> Bytes {
    denc::to_bytes(&Meta { id: own.0, ..Meta::default() }, Features::ALL)
}

/// The identity in a meta record.
pub fn meta_id(meta: &Bytes) -> Result<NodeId, DencError> {
    Ok(NodeId(denc::from_bytes_exact::<Meta>(meta)?.id))
}

/// Checks what was read and gives the identity, the log and whether this store ever took part in an election.
pub(crate) fn open(loaded: &Loaded) -> Result<(u64, MemLog, bool), LoadError> {
    let meta: Meta = denc::from_bytes_exact(&loaded.meta)?;
    let (mut index, mut term) = (meta.start.index, meta.start.term);
    let mut entries = Vec::with_capacity(loaded.entries.len());
    for b in &loaded.entries {
        let mut d = Decoder::new(b);
        let e = get_entry(&mut d)?;
        d.expect_end("log entry")?;
        if e.index != index + 1 {
            return Err(LoadError::Gap { wanted: index + 1, found: e.index });
        }
        if e.term < term {
            return Err(LoadError::Terms { index: e.index });
        }
        (index, term) = (e.index, e.term);
        entries.push(e);
    }
    if loaded.applied < meta.start.index || loaded.applied > index {
        return Err(LoadError::Applied { applied: loaded.applied, first: meta.start.index + 1, last: index });
    }
    let mut hs = meta.hard_state;
    hs.commit = hs.commit.max(loaded.applied).min(index);
    // (The term of our entries is never above the stored term: both are written together.)
    if hs.term < term {
        return Err(LoadError::Terms { index });
    }
    let took_part = hs.term > 1;
    Ok((meta.id, MemLog::new(hs, meta.conf, meta.start, entries), took_part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::put_entry;
    use raft::eraftpb::Entry;

    fn entry(index: u64, term: u64) -> Bytes {
        let e = Entry { index, term, ..Entry::default() };
        let mut enc = Encoder::new(Features::ALL);
        put_entry(&mut enc, &e);
        enc.finish()
    }
    fn meta(term: u64) -> Bytes {
        let bytes = seed_meta(NodeId(5), &[(NodeId(5), "a".into()), (NodeId(6), "b".into())]);
        let mut m: Meta = denc::from_bytes_exact(&bytes).unwrap();
        m.hard_state.term = term;
        denc::to_bytes(&m, Features::ALL)
    }

    #[test]
    fn a_store_with_holes_is_refused() {
        let load = |entries: Vec<Bytes>, applied| {
            open(&Loaded { meta: meta(4), entries, applied }).map(|(id, log, _)| (id, log.last()))
        };
        assert_eq!(load(vec![], 1), Ok((5, 1)));
        assert_eq!(load(vec![entry(2, 2), entry(3, 4)], 2), Ok((5, 3)));
        assert_eq!(load(vec![entry(3, 2)], 1), Err(LoadError::Gap { wanted: 2, found: 3 }));
        assert_eq!(load(vec![entry(2, 3), entry(3, 2)], 1), Err(LoadError::Terms { index: 3 }));
        assert_eq!(load(vec![entry(2, 5)], 1), Err(LoadError::Terms { index: 2 }));
        assert_eq!(load(vec![entry(2, 2)], 3), Err(LoadError::Applied { applied: 3, first: 2, last: 2 }));
        assert_eq!(load(vec![entry(2, 2)], 0), Err(LoadError::Applied { applied: 0, first: 2, last: 2 }));
    }

    #[test]
    fn the_commit_index_is_never_behind_the_state() {
        let loaded = Loaded { meta: meta(4), entries: vec![entry(2, 2), entry(3, 4)], applied: 3 };
        let (_, log, took_part) = open(&loaded).unwrap();
        assert_eq!(log.hard_state.commit, 3);
        assert!(took_part);
    }

    #[test]
    fn every_cut_of_the_meta_record_is_refused() {
        let bytes = meta(2);
        for n in 0..bytes.len() {
            assert!(denc::from_bytes_exact::<Meta>(&bytes.slice(..n)).is_err());
        }
        assert_eq!(meta_id(&bytes).unwrap(), NodeId(5));
        assert_eq!(meta_id(&joiner_meta(NodeId(7))).unwrap(), NodeId(7));
    }
}
