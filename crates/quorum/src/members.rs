//! Who belongs: joining, promotion, replacement and removal, one change at a time.
//!
//! A newcomer is a learner first and votes once it has caught up, so that it never makes the quorum larger before it helps. A monitor that
//! comes with a name that another identity has (its store was lost) replaces that identity: the old one is removed first, unless it
//! is alive. Wishes are kept by the leader in memory only; whoever wants something asks again.
//!
//! Deliberately absent: joint consensus (two changes at once), leader transfer (its vote breaks the promise that leases rest on):
//! a leader that is removed simply stops, and the others elect.

use crate::codec::{Change, MEMBERS_MAX, NAME_BYTES_MAX, to_bytes};
use crate::config::NodeId;
use crate::event::{Effect, Refusal};
use crate::machine::{Quorum, sorted};
use crate::view::{QuorumView, election_epoch};
use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType, Message, MessageType};
use std::collections::BTreeMap;
use types::MonState;

/// A learner is promoted when it lacks fewer entries than this.
const CAUGHT_UP_ENTRIES: u64 = 8;

/// What the leader was asked for and has not done yet: name to identity (`None`: remove).
#[derive(Debug, Default)]
pub(crate) struct Wants(BTreeMap<String, Option<NodeId>>);

impl Quorum {
    fn refuse_member(&mut self, name: String, why: Refusal) {
        self.effects.push(Effect::MemberRefused { name, why });
    }

    pub(crate) fn want_member(&mut self, id: NodeId, name: String) {
        if self.leading.is_none() {
            return self.refuse_member(name, Refusal::NotLeader);
        }
        let conf = self.conf();
        let known = conf.names.get(&id.0);
        if known == Some(&name) {
            return;
        }
        let bad_name = name.is_empty() || name.len() > NAME_BYTES_MAX;
        let full = conf.names.len() >= MEMBERS_MAX || self.wants.0.len() >= MEMBERS_MAX;
        if bad_name || id.0 == 0 || known.is_some() || full {
            return self.refuse_member(name, Refusal::BadMember);
        }
        let holder = conf.names.iter().find(|(_, n)| **n == name).map(|(id, _)| *id);
        if holder.is_some_and(|h| self.seems_alive(h)) {
            return self.refuse_member(name, Refusal::NameInUse);
        }
        self.wants.0.insert(name, Some(id));
    }

    pub(crate) fn want_gone(&mut self, name: String) {
        if self.leading.is_none() {
            return self.refuse_member(name, Refusal::NotLeader);
        }
        self.wants.0.insert(name, None);
    }

    fn seems_alive(&self, id: u64) -> bool {
        let within = self.cfg.timing.election * 2;
        self.leading.as_ref().is_some_and(|l| l.leases.alive(id, within, self.now))
    }

    /// The next step of whatever is wanted, if a step is possible now.
    pub(crate) fn change_members(&mut self) {
        let ready = self.leading.as_ref().is_some_and(|l| l.ready);
        // Only one change at a time, and none before an entry of this term is committed (two leaders could otherwise
        // change the members past each other).
        if !ready || self.raw.raft.has_pending_conf() {
            return;
        }
        if let Some(change) = self.next_change() {
            self.propose_change(&change);
        }
    }

    fn next_change(&mut self) -> Option<Change> {
        while let Some((name, want)) = self.wants.0.first_key_value().map(|(n, w)| (n.clone(), *w)) {
            let conf = self.conf();
            let holder = conf.names.iter().find(|(_, n)| **n == name).map(|(id, _)| *id);
            match (want, holder) {
                (Some(id), Some(h)) if h == id.0 => {}
                (Some(id), None) => {
                    self.wants.0.remove(&name);
                    return Some(Change::AddLearner { id, name });
                }
                (None, None) => {}
                (_, Some(h)) if conf.voters == [h] => {
                    self.refuse_member(name.clone(), Refusal::LastVoter);
                }
                (_, Some(h)) if self.would_stall_without(h) => {
                    self.refuse_member(name.clone(), Refusal::WouldStall);
                }
                // (The wish to add stays, and is looked at again when this is done.)
                (_, Some(h)) => return Some(Change::Remove { id: NodeId(h) }),
            }
            self.wants.0.remove(&name);
        }
        self.learner_to_promote()
    }

    fn would_stall_without(&self, gone: u64) -> bool {
        let rest = |id: &&u64| **id != gone;
        let voters = self.conf().voters.iter().filter(rest).count();
        let active = self.active_voters().iter().filter(rest).count();
        self.is_voter(gone) && active <= voters / 2
    }

    fn learner_to_promote(&self) -> Option<Change> {
        let prs = self.raw.raft.prs();
        let caught_up = |id: u64| {
            prs.get(id).is_some_and(|p| p.matched > 0 && p.matched + CAUGHT_UP_ENTRIES >= self.handed)
        };
        let id = self.conf().learners.iter().copied().find(|id| caught_up(*id) && self.seems_alive(*id))?;
        Some(Change::Promote { id: NodeId(id) })
    }

    fn propose_change(&mut self, change: &Change) {
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.context = to_bytes(change);
        // The library reads this form when it is proposed (never again, and never a peer's).
        entry.data = Bytes::from(library_form(change));
        let mut m = Message::default();
        m.set_msg_type(MessageType::MsgPropose);
        m.from = self.id;
        m.set_entries(vec![entry].into());
        let _ = self.raw.raft.step(m);
    }

    /// A committed change takes effect. Every member decides alike: it looks only at the members that there were.
    pub(crate) fn apply_change(&mut self, index: u64, context: &Bytes) {
        let change: Change = denc::from_bytes_exact(context).expect("it was decoded when it came in");
        let mut conf = self.conf().clone();
        conf.index = index;
        let possible = match &change {
            Change::AddLearner { id, name } => {
                conf.names.len() < MEMBERS_MAX
                    && !conf.names.contains_key(&id.0)
                    && !conf.names.values().any(|n| n == name)
            }
            Change::Promote { id } => conf.learners.contains(&id.0),
            Change::Remove { id } => conf.names.contains_key(&id.0) && conf.voters != [id.0],
        };
        if possible && let Ok(cs) = self.raw.apply_conf_change(&conf_change(&change)) {
            conf.voters = sorted(&cs.voters);
            conf.learners = sorted(&cs.learners);
            match change {
                Change::AddLearner { id, name } => {
                    conf.names.insert(id.0, name);
                }
                Change::Remove { id } => {
                    conf.names.remove(&id.0);
                }
                Change::Promote { .. } => {}
            }
        }
        self.members_changed = self.now;
        // A state that was asked for before does not serve the newcomer.
        self.snapshot_asked = None;
        let gone = !conf.voters.contains(&self.id);
        self.raw.mut_store().conf = conf;
        self.persist_meta(None);
        if gone && self.raw.raft.state == StateRole::Leader {
            // The library does not expect to lead a group that it is not in. What we committed was sent; the others elect.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, 0);
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        election_epoch(self.raw.raft.term, self.leader_id().is_some())
    }

    /// What `mon_status` and `quorum_status` show.
    pub fn view(&self) -> QuorumView {
        let members = self.members();
        let find = |id: u64| members.iter().find(|m| m.id.0 == id).cloned();
        let leader = self.leader_id().and_then(|id| find(id.0));
        let me = find(self.id);
        let state = match (&me, &self.leading) {
            (None, _) => MonState::Probing,
            (Some(m), _) if !m.voter => MonState::Synchronizing,
            (_, Some(_)) => MonState::Leader,
            _ if leader.is_some() => MonState::Peon,
            _ => MonState::Electing,
        };
        QuorumView {
            state,
            election_epoch: self.epoch(),
            quorum: self.active_voters().into_iter().filter_map(find).collect(),
            leader,
            quorum_age: self.now.since(self.stable_since),
            readable: self.readable(self.now),
            applied: self.applied,
            first_index: self.raw.store().start().index + 1,
            last_index: self.raw.raft.raft_log.last_index(),
            members,
        }
    }
}

fn conf_change(change: &Change) -> ConfChangeV2 {
    let (kind, id) = match change {
        Change::AddLearner { id, .. } => (ConfChangeType::AddLearnerNode, id),
        Change::Promote { id } => (ConfChangeType::AddNode, id),
        Change::Remove { id } => (ConfChangeType::RemoveNode, id),
    };
    let mut single = ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = id.0;
    let mut cc = ConfChangeV2::default();
    cc.set_changes(vec![single].into());
    cc
}

fn library_form(change: &Change) -> Vec<u8> {
    use protobuf::Message as _;
    conf_change(change).write_to_bytes().expect("a struct without required fields is always written")
}
