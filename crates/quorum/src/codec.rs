//! Our own encoding of what members say to each other and of what rests in the log.
//!
//! Raft's library would use protobuf; its parser carries an advisory and never sees a byte from outside: an [`Envelope`], an
//! entry and a membership change are read here, bounded, and turned into the library's structs field by field. Message kinds that
//! we do not use (forwarded proposals, read index, leader transfer) have no encoding, so no peer can send them.
//!
//! Invariants: decoding never panics; counts and lengths are checked before allocating; numbers stay below 2^62, so the
//! library's arithmetic on them cannot overflow.

use crate::config::NodeId;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use raft::eraftpb::{self, EntryType, MessageType};
use std::collections::{BTreeMap, BTreeSet};

/// Largest proposal.
pub const ENTRY_BYTES_MAX: usize = 32 << 20;
/// Largest state that travels as a snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Most members, learners included.
pub const MEMBERS_MAX: usize = 31;
/// Longest name of a monitor, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Terms, indexes and hints stay below this.
const NUMBER_MAX: u64 = 1 << 62;
/// Entries in one message at most.
const ENTRIES_MAX: usize = 1 << 16;

/// A moment of the receiver's clock, given back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The receiver's boot nonce then.
    pub nonce: u64,
    /// The receiver's moment, in microseconds.
    pub stamp: u64,
}

/// One message between members.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Sender.
    pub from: NodeId,
    /// Receiver: a member with another identity refuses it.
    pub to: NodeId,
    /// The sender's term.
    pub term: u64,
    /// The sender's boot nonce.
    pub nonce: u64,
    /// The sender's moment.
    pub stamp: u64,
    /// How long a read lease is by the sender's configuration, in microseconds: all must agree.
    pub lease_us: u64,
    /// The sender leads in `term`.
    pub leads: bool,
    /// From the leader: "your lease is good for its length from this moment of yours on". From a follower: "I promise not
    /// to help anyone else into office, counted from this moment of yours on".
    pub echo: Option<Echo>,
    /// Entries up to here may be shown: no lease holder can still answer without them.
    pub visible: u64,
    /// From the leader: the voters that it heard lately.
    pub quorum: Vec<u64>,
    /// What Raft has to say, if anything.
    pub raft: Option<eraftpb::Message>,
}

fn number(d: &mut Decoder<'_>, what: &'static str) -> Result<u64, DencError> {
    let value = d.u64()?;
    if value >= NUMBER_MAX {
        return Err(DencError::Invalid { what, value });
    }
    Ok(value)
}

fn node_id(d: &mut Decoder<'_>) -> Result<u64, DencError> {
    match d.u64()? {
        0 => Err(DencError::Invalid { what: "member id", value: 0 }),
        id => Ok(id),
    }
}

fn name(d: &mut Decoder<'_>) -> Result<String, DencError> {
    let s = d.string()?;
    if s.is_empty() || s.len() > NAME_BYTES_MAX {
        return Err(DencError::Invalid { what: "monitor name length", value: s.len() as u64 });
    }
    Ok(s)
}

impl Encode for Echo {
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.nonce);
        e.u64(self.stamp);
    }
}
impl Decode for Echo {
    const MIN_SIZE: usize = 16;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Echo { nonce: d.u64()?, stamp: d.u64()? })
    }
}

impl Encode for Envelope {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.from.0);
            e.u64(self.to.0);
            e.u64(self.term);
            e.u64(self.nonce);
            e.u64(self.stamp);
            e.u64(self.lease_us);
            e.bool(self.leads);
            e.put(&self.echo);
            e.u64(self.visible);
            e.count(self.quorum.len());
            for id in &self.quorum {
                e.u64(*id);
            }
            e.bool(self.raft.is_some());
            if let Some(m) = &self.raft {
                put_message(e, m);
            }
        });
    }
}
impl Decode for Envelope {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("quorum envelope", 1)?;
        let from = NodeId(node_id(&mut d)?);
        let to = NodeId(node_id(&mut d)?);
        let term = number(&mut d, "envelope term")?;
        let (nonce, stamp, lease_us, leads) = (d.u64()?, d.u64()?, d.u64()?, d.bool()?);
        let echo = d.get()?;
        let visible = number(&mut d, "visible index")?;
        let n = d.count("quorum", 8)?;
        if n > MEMBERS_MAX {
            return Err(DencError::Invalid { what: "quorum size", value: n as u64 });
        }
        let mut quorum = Vec::with_capacity(n);
        for _ in 0..n {
            quorum.push(node_id(&mut d)?);
        }
        let raft = match d.bool()? {
            true => Some(get_message(&mut d, from, to)?),
            false => None,
        };
        Ok(Envelope { from, to, term, nonce, stamp, lease_us, leads, echo, visible, quorum, raft })
    }
}

/// Kinds on the wire; never renumber.
const KINDS: &[(u8, MessageType)] = &[
    (1, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgRequestVote),
    (4, MessageType::MsgRequestVoteResponse),
    (5, MessageType::MsgSnapshot),
    (6, MessageType::MsgHeartbeat),
    (7, MessageType::MsgHeartbeatResponse),
    (8, MessageType::MsgRequestPreVote),
    (9, MessageType::MsgRequestPreVoteResponse),
];

/// True for the kinds that [`put_message`] can write.
pub(crate) fn has_encoding(m: &eraftpb::Message) -> bool {
    KINDS.iter().any(|(_, t)| *t == m.get_msg_type())
}

/// Writes one of Raft's messages, without its addresses.
///
/// # Panics
/// For a kind without an encoding ([`has_encoding`]).
fn put_message(e: &mut Encoder, m: &eraftpb::Message) {
    let kind = KINDS.iter().find(|(_, t)| *t == m.get_msg_type()).map(|(k, _)| *k);
    e.versioned(1, 1, |e| {
        e.u8(kind.expect("only messages with an encoding are sent"));
        e.u64(m.term);
        e.u64(m.log_term);
        e.u64(m.index);
        e.u64(m.commit);
        e.u64(m.commit_term);
        e.bool(m.reject);
        e.u64(m.reject_hint);
        e.count(m.get_entries().len());
        for entry in m.get_entries() {
            put_entry(e, entry);
        }
        let snapshot = m.has_snapshot().then(|| m.get_snapshot());
        e.bool(snapshot.is_some());
        if let Some(s) = snapshot {
            let meta = s.get_metadata();
            e.u64(meta.index);
            e.u64(meta.term);
            put_ids(e, &meta.get_conf_state().voters);
            put_ids(e, &meta.get_conf_state().learners);
            e.blob(&s.data);
        }
    });
}

fn get_message(d: &mut Decoder<'_>, from: NodeId, to: NodeId) -> Result<eraftpb::Message, DencError> {
    let (_, mut d) = d.open("raft message", 1)?;
    let kind = d.u8()?;
    let Some((_, kind)) = KINDS.iter().find(|(k, _)| *k == kind) else {
        return Err(DencError::Invalid { what: "raft message kind", value: u64::from(kind) });
    };
    let mut m = eraftpb::Message::default();
    m.set_msg_type(*kind);
    m.from = from.0;
    m.to = to.0;
    m.term = number(&mut d, "term")?;
    m.log_term = number(&mut d, "log term")?;
    m.index = number(&mut d, "index")?;
    m.commit = number(&mut d, "commit")?;
    m.commit_term = number(&mut d, "commit term")?;
    m.reject = d.bool()?;
    m.reject_hint = number(&mut d, "reject hint")?;
    let n = d.count("entries", ENTRY_MIN)?;
    if n > ENTRIES_MAX {
        return Err(DencError::Invalid { what: "entries in one message", value: n as u64 });
    }
    let mut entries = Vec::with_capacity(n);
    for _ in 0..n {
        entries.push(get_entry(&mut d)?);
    }
    m.set_entries(entries.into());
    if d.bool()? {
        let mut s = eraftpb::Snapshot::default();
        let meta = s.mut_metadata();
        meta.index = number(&mut d, "snapshot index")?;
        meta.term = number(&mut d, "snapshot term")?;
        let voters = get_ids(&mut d)?;
        let learners = get_ids(&mut d)?;
        check_members(&voters, &learners)?;
        meta.mut_conf_state().voters = voters;
        meta.mut_conf_state().learners = learners;
        s.data = d.blob()?;
        if s.data.len() > SNAPSHOT_BYTES_MAX {
            return Err(DencError::Invalid { what: "snapshot bytes", value: s.data.len() as u64 });
        }
        m.set_snapshot(s);
    }
    Ok(m)
}

/// Smallest encoding of an entry.
const ENTRY_MIN: usize = 6 + 8 + 8 + 1 + 4;

/// Writes an entry, for the wire and for the disk. A membership change is its `context` in our encoding; the library's own
/// form of it (`data`) is neither sent nor stored.
pub(crate) fn put_entry(e: &mut Encoder, entry: &eraftpb::Entry) {
    e.versioned(1, 1, |e| {
        e.u64(entry.term);
        e.u64(entry.index);
        match entry.get_entry_type() {
            EntryType::EntryNormal => {
                e.u8(0);
                e.blob(&entry.data);
            }
            _ => {
                e.u8(1);
                e.blob(&entry.context);
            }
        }
    });
}

/// Reads an entry.
pub(crate) fn get_entry(d: &mut Decoder<'_>) -> Result<eraftpb::Entry, DencError> {
    let (_, mut d) = d.open("log entry", 1)?;
    let (term, index) = (number(&mut d, "entry term")?, number(&mut d, "entry index")?);
    let mut entry = eraftpb::Entry { term, index, ..eraftpb::Entry::default() };
    let kind = d.u8()?;
    let payload = d.blob()?;
    if payload.len() > ENTRY_BYTES_MAX {
        return Err(DencError::Invalid { what: "entry bytes", value: payload.len() as u64 });
    }
    match kind {
        0 => entry.data = payload,
        1 => {
            denc::from_bytes_exact::<Change>(&payload)?;
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.context = payload;
        }
        _ => return Err(DencError::Invalid { what: "entry kind", value: u64::from(kind) }),
    }
    Ok(entry)
}

/// Bytes of an entry beside its payload, about.
pub(crate) fn entry_len(e: &eraftpb::Entry) -> u64 {
    (e.data.len() + e.context.len() + 32) as u64
}

/// One step of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A newcomer that does not vote yet.
    AddLearner {
        /// Who.
        id: NodeId,
        /// Its name.
        name: String,
    },
    /// A learner that caught up votes from here on.
    Promote {
        /// Who.
        id: NodeId,
    },
    /// Gone.
    Remove {
        /// Who.
        id: NodeId,
    },
}

impl Encode for Change {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| match self {
            Change::AddLearner { id, name } => {
                e.u8(1);
                e.u64(id.0);
                e.put(name);
            }
            Change::Promote { id } => {
                e.u8(2);
                e.u64(id.0);
            }
            Change::Remove { id } => {
                e.u8(3);
                e.u64(id.0);
            }
        });
    }
}
impl Decode for Change {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("membership change", 1)?;
        let kind = d.u8()?;
        let id = NodeId(node_id(&mut d)?);
        Ok(match kind {
            1 => Change::AddLearner { id, name: name(&mut d)? },
            2 => Change::Promote { id },
            3 => Change::Remove { id },
            _ => return Err(DencError::Invalid { what: "membership change", value: u64::from(kind) }),
        })
    }
}

fn put_ids(e: &mut Encoder, ids: &[u64]) {
    e.count(ids.len());
    for id in ids {
        e.u64(*id);
    }
}

fn get_ids(d: &mut Decoder<'_>) -> Result<Vec<u64>, DencError> {
    let n = d.count("member ids", 8)?;
    if n > MEMBERS_MAX {
        return Err(DencError::Invalid { what: "number of members", value: n as u64 });
    }
    let mut ids = Vec::with_capacity(n);
    for _ in 0..n {
        ids.push(node_id(d)?);
    }
    Ok(ids)
}

/// What the library would panic on: no voter, somebody twice, too many.
fn check_members(voters: &[u64], learners: &[u64]) -> Result<(), DencError> {
    let all: BTreeSet<u64> = voters.iter().chain(learners).copied().collect();
    let n = voters.len() + learners.len();
    if voters.is_empty() || all.len() != n || n > MEMBERS_MAX {
        return Err(DencError::Invalid { what: "members", value: n as u64 });
    }
    Ok(())
}

/// Members as of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conf {
    /// Index of the entry that led to this; what is at or below it is not applied again.
    pub index: u64,
    /// Voters, sorted.
    pub voters: Vec<u64>,
    /// Learners, sorted.
    pub learners: Vec<u64>,
    /// Names of all of them.
    pub names: BTreeMap<u64, String>,
}

impl Encode for Conf {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.index);
            put_ids(e, &self.voters);
            put_ids(e, &self.learners);
            put_names(e, &self.names);
        });
    }
}
impl Decode for Conf {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("quorum members", 1)?;
        let index = number(&mut d, "members index")?;
        let (voters, learners) = (get_ids(&mut d)?, get_ids(&mut d)?);
        // A member that was never let in has none.
        if !(voters.is_empty() && learners.is_empty()) {
            check_members(&voters, &learners)?;
        }
        Ok(Conf { index, voters, learners, names: get_names(&mut d)? })
    }
}

pub(crate) fn put_names(e: &mut Encoder, names: &BTreeMap<u64, String>) {
    e.count(names.len());
    for (id, name) in names {
        e.u64(*id);
        e.put(name);
    }
}

pub(crate) fn get_names(d: &mut Decoder<'_>) -> Result<BTreeMap<u64, String>, DencError> {
    let n = d.count("member names", 13)?;
    if n > MEMBERS_MAX {
        return Err(DencError::Invalid { what: "number of names", value: n as u64 });
    }
    let mut names = BTreeMap::new();
    for _ in 0..n {
        names.insert(node_id(d)?, name(d)?);
    }
    Ok(names)
}

/// A snapshot's payload: the names that the library's member lists lack, then the state.
pub(crate) struct SnapshotBody {
    pub names: BTreeMap<u64, String>,
    pub state: Bytes,
}

impl Encode for SnapshotBody {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            put_names(e, &self.names);
            e.blob(&self.state);
        });
    }
}
impl Decode for SnapshotBody {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("quorum snapshot", 1)?;
        Ok(SnapshotBody { names: get_names(&mut d)?, state: d.blob()? })
    }
}

/// Encodes for our own peers and our own disk.
pub(crate) fn to_bytes<T: Encode>(v: &T) -> Bytes {
    denc::to_bytes(v, Features::ALL)
}

/// Reads a message of a peer. A target for the fuzzer.
pub fn decode_envelope(bytes: &Bytes) -> Result<Envelope, DencError> {
    denc::from_bytes_exact(bytes)
}

/// Reads a stored entry; gives its index and term. A target for the fuzzer.
pub fn decode_entry(bytes: &Bytes) -> Result<(u64, u64), DencError> {
    let mut d = Decoder::new(bytes);
    let e = get_entry(&mut d)?;
    d.expect_end("log entry")?;
    Ok((e.index, e.term))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, change: bool) -> eraftpb::Entry {
        let mut e = eraftpb::Entry { term: 3, index, ..eraftpb::Entry::default() };
        if change {
            e.set_entry_type(EntryType::EntryConfChangeV2);
            e.context = to_bytes(&Change::AddLearner { id: NodeId(9), name: "c".into() });
        } else {
            e.data = Bytes::from_static(b"batch");
        }
        e
    }

    fn envelope(kind: MessageType) -> Envelope {
        let mut m = eraftpb::Message::default();
        m.set_msg_type(kind);
        (m.from, m.to, m.term, m.log_term, m.index, m.commit) = (1, 2, 3, 3, 7, 6);
        (m.commit_term, m.reject, m.reject_hint) = (2, true, 5);
        if kind == MessageType::MsgAppend {
            m.set_entries(vec![entry(8, false), entry(9, true)].into());
        }
        if kind == MessageType::MsgSnapshot {
            let mut s = eraftpb::Snapshot::default();
            s.mut_metadata().index = 7;
            s.mut_metadata().term = 3;
            s.mut_metadata().mut_conf_state().voters = vec![1, 2];
            s.mut_metadata().mut_conf_state().learners = vec![3];
            s.data = Bytes::from_static(b"state");
            m.set_snapshot(s);
        }
        Envelope {
            from: NodeId(1),
            to: NodeId(2),
            term: 3,
            nonce: 4,
            stamp: 5,
            lease_us: 800_000,
            leads: true,
            echo: Some(Echo { nonce: 6, stamp: 7 }),
            visible: 8,
            quorum: vec![1, 2],
            raft: Some(m),
        }
    }

    #[test]
    fn every_kind_survives_and_every_cut_is_refused() {
        for (_, kind) in KINDS {
            let sent = envelope(*kind);
            let bytes = to_bytes(&sent);
            assert_eq!(decode_envelope(&bytes).unwrap(), sent, "{kind:?}");
            for n in 0..bytes.len() {
                assert!(decode_envelope(&bytes.slice(..n)).is_err(), "{kind:?} cut at {n}");
            }
        }
        let quiet =
            Envelope { raft: None, echo: None, quorum: vec![], ..envelope(MessageType::MsgHeartbeat) };
        assert_eq!(decode_envelope(&to_bytes(&quiet)).unwrap(), quiet);
    }

    #[test]
    fn any_changed_byte_decodes_or_fails_but_never_panics() {
        for (_, kind) in KINDS {
            let bytes = to_bytes(&envelope(*kind)).to_vec();
            for at in 0..bytes.len() {
                for v in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut b = bytes.clone();
                    b[at] = v;
                    let _ = decode_envelope(&Bytes::from(b));
                }
            }
        }
    }

    #[test]
    fn changes_and_members_survive_and_nonsense_is_refused() {
        for c in [
            Change::AddLearner { id: NodeId(1), name: "a".into() },
            Change::Promote { id: NodeId(2) },
            Change::Remove { id: NodeId(3) },
        ] {
            let b = to_bytes(&c);
            assert_eq!(denc::from_bytes_exact::<Change>(&b).unwrap(), c);
            for n in 0..b.len() {
                assert!(denc::from_bytes_exact::<Change>(&b.slice(..n)).is_err());
            }
        }
        let conf = Conf {
            index: 4,
            voters: vec![1, 2],
            learners: vec![3],
            names: [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())].into(),
        };
        assert_eq!(denc::from_bytes_exact::<Conf>(&to_bytes(&conf)).unwrap(), conf);
        let twice = Conf { learners: vec![2], ..conf.clone() };
        assert!(denc::from_bytes_exact::<Conf>(&to_bytes(&twice)).is_err());
        let nobody = Conf { voters: vec![], ..conf };
        assert!(denc::from_bytes_exact::<Conf>(&to_bytes(&nobody)).is_err());
    }

    #[test]
    fn the_librarys_form_of_a_change_is_not_kept() {
        let mut e = entry(9, true);
        e.data = Bytes::from_static(b"protobuf");
        let mut enc = Encoder::new(Features::ALL);
        put_entry(&mut enc, &e);
        let bytes = enc.finish();
        let back = get_entry(&mut Decoder::new(&bytes)).unwrap();
        assert!(back.data.is_empty());
        assert_eq!(back.context, e.context);
        assert_eq!(decode_entry(&bytes).unwrap(), (9, 3));
    }
}
