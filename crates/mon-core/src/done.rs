//! Commands and pool operations that changed something, each with its answer, for clients that ask again.
//!
//! A client whose monitor (or the leader behind it) went away sends what it has no answer for again, with the same global id and transaction id. The
//! answer is committed in the same batch as the change, so whoever leads then gives it instead of making the change twice.
//! Stock has no such memory: its commands are repeated, and rely on being repeatable.

use crate::kv::{Batch, Kv, num_key};
use crate::table::encoded;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, VecDeque};

const PREFIX: &str = "done/";
/// Answers kept.
const KEPT: usize = 1000;
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
    answers: BTreeMap<Asked, Answer>,
    order: VecDeque<(u64, Asked)>,
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
        self.order.push_back((n, r.asked));
        self.answers.insert(r.asked, r.answer);
    }
    /// The answer that was given.
    pub fn answer(&self, asked: &Asked) -> Option<&Answer> {
        self.answers.get(asked)
    }
    /// Remembers an answer together with the change that is staged.
    pub fn add(&mut self, asked: Asked, answer: Answer) {
        if asked.tid != 0
            && asked.global_id != 0
            && answer.front.len() + answer.data.len() <= ANSWER_BYTES_MAX
        {
            self.staged.push(Record { asked, answer });
        }
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        let mut next = self.order.back().map_or(1, |(n, _)| n + 1);
        let over = (self.order.len() + self.staged.len()).saturating_sub(KEPT);
        for (n, _) in self.order.iter().take(over) {
            batch.delete(num_key(PREFIX, *n));
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
                _ => {
                    if self.order.front().is_some_and(|(m, _)| *m == n)
                        && let Some((_, asked)) = self.order.pop_front()
                    {
                        self.answers.remove(&asked);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tid: u64) -> Asked {
        Asked { global_id: 4100, kind: 50, tid }
    }
    fn answer(text: &'static str) -> Answer {
        Answer {
            kind: 51,
            version: 1,
            compat: 1,
            front: Bytes::from_static(text.as_bytes()),
            data: Bytes::new(),
        }
    }

    #[test]
    fn an_answer_is_known_once_it_is_committed_and_forgotten_after_a_thousand_more() {
        let (mut log, mut kv) = (DoneLog::default(), Kv::default());
        for tid in 1..=KEPT as u64 + 1 {
            log.add(asked(tid), answer("ok"));
            assert!(log.answer(&asked(tid)).is_none());
            let mut b = Batch::default();
            log.stage(&mut b);
            kv.apply(&b);
            log.commit(&b);
            assert_eq!(log.answer(&asked(tid)), Some(&answer("ok")));
        }
        assert!(log.answer(&asked(1)).is_none());
        let again = DoneLog::load(&kv);
        assert_eq!(again.order.len(), KEPT);
        assert_eq!(again.answer(&asked(2)), Some(&answer("ok")));
    }
}
