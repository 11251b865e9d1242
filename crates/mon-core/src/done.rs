//! Commands and pool operations that changed something, each with its answer, for clients that ask again.
//!
//! A client whose monitor (or the leader behind it) went away sends what it has no answer for again, with the same global id and transaction id. The
//! answer is committed in the same batch as the change, so whoever leads then gives it instead of making the change twice.
//! Stock has no such memory: its commands are repeated, and rely on being repeatable.

use crate::kv::{Batch, Kv, num_key};
use crate::table::encoded;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};

const PREFIX: &str = "done/";
/// Answers kept; the oldest go first.
const KEPT: usize = 4000;
/// Answers kept for one client: one that asks all the time must not make the others' be forgotten.
const KEPT_OF_ONE: usize = 200;
/// Bytes of answers kept.
const BYTES_MAX: usize = 16 << 20;
/// Larger answers are not kept: no command that changes something gives one.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The client.
    pub global_id: u64,
    /// Message type of the request.
    pub kind: u16,
    /// Its transaction.
    pub tid: u64,
}

/// The answer as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Message type.
    pub kind: u16,
    /// Version of its encoding.
    pub version: u16,
    /// Oldest decoder that reads it.
    pub compat: u16,
    /// Fields.
    pub front: Bytes,
    /// Bulk.
    pub data: Bytes,
}

impl Answer {
    fn len(&self) -> usize {
        self.front.len() + self.data.len()
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    asked: Asked,
    answer: Answer,
}

impl Encode for Record {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.asked.global_id);
            e.u16(self.asked.kind);
            e.u64(self.asked.tid);
            e.u16(self.answer.kind);
            e.u16(self.answer.version);
            e.u16(self.answer.compat);
            e.put(&self.answer.front);
            e.put(&self.answer.data);
        });
    }
}
impl Decode for Record {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("answered request", 1)?;
        let asked = Asked { global_id: d.u64()?, kind: d.u16()?, tid: d.u64()? };
        let (kind, version, compat) = (d.u16()?, d.u16()?, d.u16()?);
        // (Copied: a slice would keep the whole batch alive.)
        let own = |b: Bytes| Bytes::copy_from_slice(&b);
        let answer = Answer { kind, version, compat, front: own(d.get()?), data: own(d.get()?) };
        Ok(Record { asked, answer })
    }
}

/// The service.
#[derive(Clone, Debug, Default)]
pub struct DoneLog {
    answers: BTreeMap<Asked, (u64, Answer)>,
    /// By number, ascending: what was asked, and the bytes of its answer.
    order: BTreeMap<u64, (Asked, usize)>,
    of_client: BTreeMap<u64, BTreeSet<u64>>,
    bytes: usize,
    staged: Vec<Record>,
}

impl DoneLog {
    /// From the store.
    pub fn load(kv: &Kv) -> DoneLog {
        let mut log = DoneLog::default();
        for (k, b) in kv.range(PREFIX) {
            if let (Ok(n), Ok(r)) = (k.parse(), Decoder::new(b).get::<Record>()) {
                log.insert(n, r);
            }
        }
        log
    }
    fn insert(&mut self, n: u64, r: Record) {
        self.remove(n);
        self.bytes += r.answer.len();
        self.order.insert(n, (r.asked, r.answer.len()));
        self.of_client.entry(r.asked.global_id).or_default().insert(n);
        self.answers.insert(r.asked, (n, r.answer));
    }
    fn remove(&mut self, n: u64) {
        let Some((asked, bytes)) = self.order.remove(&n) else { return };
        self.bytes -= bytes;
        if let Some(all) = self.of_client.get_mut(&asked.global_id) {
            all.remove(&n);
            if all.is_empty() {
                self.of_client.remove(&asked.global_id);
            }
        }
        if self.answers.get(&asked).is_some_and(|(m, _)| *m == n) {
            self.answers.remove(&asked);
        }
    }
    /// Numbers of the answers that make room for what is staged.
    fn surplus(&self) -> BTreeSet<u64> {
        let mut gone = BTreeSet::new();
        let mut new: BTreeMap<u64, usize> = BTreeMap::new();
        for r in &self.staged {
            *new.entry(r.asked.global_id).or_default() += 1;
        }
        for (client, new) in new {
            let old = self.of_client.get(&client);
            let over = (old.map_or(0, BTreeSet::len) + new).saturating_sub(KEPT_OF_ONE);
            gone.extend(old.into_iter().flatten().take(over));
        }
        let freed: usize = gone.iter().filter_map(|n| self.order.get(n)).map(|(_, bytes)| bytes).sum();
        let mut count = self.order.len() - gone.len() + self.staged.len();
        let mut bytes = self.bytes - freed + self.staged.iter().map(|r| r.answer.len()).sum::<usize>();
        for (n, (_, size)) in &self.order {
            if count <= KEPT && bytes <= BYTES_MAX {
                break;
            }
            if gone.insert(*n) {
                count -= 1;
                bytes -= size;
            }
        }
        gone
    }
    /// The answer that was given.
    pub fn answer(&self, asked: &Asked) -> Option<&Answer> {
        self.answers.get(asked).map(|(_, answer)| answer)
    }
    /// Remembers an answer together with the change that is staged.
    pub fn add(&mut self, asked: Asked, answer: Answer) {
        if asked.tid != 0 && asked.global_id != 0 && answer.len() <= ANSWER_BYTES_MAX {
            self.staged.push(Record { asked, answer });
        }
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        let mut next = self.order.last_key_value().map_or(1, |(n, _)| n + 1);
        for n in self.surplus() {
            batch.delete(num_key(PREFIX, n));
        }
        for r in std::mem::take(&mut self.staged) {
            batch.put(num_key(PREFIX, next), encoded(&r));
            next += 1;
        }
    }
    /// Takes over a committed batch.
    pub fn commit(&mut self, batch: &Batch) {
        for (k, v) in batch.changes.range(PREFIX.to_owned()..) {
            let Some(n) = k.strip_prefix(PREFIX) else { break };
            let Ok(n) = n.parse::<u64>() else { continue };
            match v.as_ref().map(|b| Decoder::new(b).get::<Record>()) {
                Some(Ok(r)) => self.insert(n, r),
                _ => self.remove(n),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_by(global_id: u64, tid: u64) -> Asked {
        Asked { global_id, kind: 50, tid }
    }
    fn asked(tid: u64) -> Asked {
        asked_by(4100, tid)
    }
    fn answer(text: &'static [u8]) -> Answer {
        Answer { kind: 51, version: 1, compat: 1, front: Bytes::from_static(text), data: Bytes::new() }
    }
    fn give(log: &mut DoneLog, kv: &mut Kv, asked: &[Asked], answer: &Answer) {
        asked.iter().for_each(|a| log.add(*a, answer.clone()));
        let mut b = Batch::default();
        log.stage(&mut b);
        kv.apply(&b);
        log.commit(&b);
    }

    #[test]
    fn an_answer_is_known_once_it_is_committed() {
        let (mut log, mut kv) = (DoneLog::default(), Kv::default());
        log.add(asked(1), answer(b"ok"));
        assert!(log.answer(&asked(1)).is_none());
        give(&mut log, &mut kv, &[], &answer(b""));
        assert_eq!(log.answer(&asked(1)), Some(&answer(b"ok")));
        assert_eq!(DoneLog::load(&kv).answer(&asked(1)), Some(&answer(b"ok")));
    }

    #[test]
    fn a_busy_client_makes_nobody_elses_answer_forgotten() {
        let (mut log, mut kv) = (DoneLog::default(), Kv::default());
        give(&mut log, &mut kv, &[asked_by(7, 1)], &answer(b"once"));
        for tid in 1..=3 * KEPT as u64 {
            give(&mut log, &mut kv, &[asked(tid)], &answer(b"ok"));
        }
        assert_eq!(log.answer(&asked_by(7, 1)), Some(&answer(b"once")));
        let last = 3 * KEPT as u64;
        assert!(log.answer(&asked(last - KEPT_OF_ONE as u64)).is_none());
        assert!(log.answer(&asked(last - KEPT_OF_ONE as u64 + 1)).is_some());
        let again = DoneLog::load(&kv);
        assert_eq!((again.order, again.of_client), (log.order, log.of_client));
    }

    #[test]
    fn no_more_are_kept_than_the_bounds_allow() {
        let (mut log, mut kv) = (DoneLog::default(), Kv::default());
        for client in 1..=KEPT as u64 + 5 {
            give(&mut log, &mut kv, &[asked_by(client, 1)], &answer(b"ok"));
        }
        assert_eq!((log.order.len(), log.answers.len(), log.bytes), (KEPT, KEPT, 2 * KEPT));
        assert!(log.answer(&asked_by(5, 1)).is_none() && log.answer(&asked_by(6, 1)).is_some());
        for client in 1..=300 {
            give(&mut log, &mut kv, &[asked_by(client, 2)], &answer(&[0; ANSWER_BYTES_MAX]));
            assert!(log.bytes <= BYTES_MAX);
        }
        assert_eq!(log.order.len(), BYTES_MAX / ANSWER_BYTES_MAX);
        // Many at once, by one client and by many.
        let many: Vec<Asked> = (1..=1000).map(asked).collect();
        give(&mut log, &mut kv, &many, &answer(b"ok"));
        give(&mut log, &mut kv, &[asked(1001)], &answer(b"ok"));
        assert_eq!(log.of_client[&4100].len(), KEPT_OF_ONE);
        // The same again: the new answer is the one.
        give(&mut log, &mut kv, &[asked(1001)], &answer(b"other"));
        assert_eq!(log.answer(&asked(1001)), Some(&answer(b"other")));
        let sizes: usize = log.order.values().map(|(_, bytes)| bytes).sum();
        assert_eq!((log.bytes, log.of_client.values().map(BTreeSet::len).sum()), (sizes, log.order.len()));
    }
}
