//! [`Oracle`]: what clients may see. Each object's history must be linearizable: every answered request took effect as a
//! whole at one moment between its sending and its answer, once.
//!
//! Just-in-time linearization: the oracle keeps every way in which the requests so far can have taken effect
//! (a [`Way`]) and drops those that an answer contradicts. When none is left, an acknowledged write was lost, a read was
//! stale or torn, or a write happened twice.

use crate::model::{Act, ECANCELED, ENOENT, Obj, Seen, State, WriteReq};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// Ways kept for one object; more are a fault of the workload.
const WAYS_MAX: usize = 20_000;

/// A request's name.
pub type AskId = u64;

#[derive(Clone, Debug)]
enum Pending {
    Write(Rc<WriteReq>),
    Read(Option<u64>),
}

#[derive(Clone, Debug)]
struct Way {
    state: Rc<State>,
    /// Writes that have taken effect and are not answered, with the result that they must answer.
    done: BTreeMap<AskId, i32>,
    /// States that each unanswered read may have seen.
    seen: BTreeMap<AskId, Vec<Rc<State>>>,
}

impl Way {
    fn key(&self) -> u64 {
        let mut h = DefaultHasher::new();
        self.state.hash().hash(&mut h);
        self.done.hash(&mut h);
        for (id, all) in &self.seen {
            id.hash(&mut h);
            all.iter().for_each(|s| s.hash().hash(&mut h));
        }
        h.finish()
    }
    fn with(&self, id: AskId, req: &WriteReq) -> Way {
        let (result, next) = self.state.apply(req);
        let mut way = self.clone();
        way.done.insert(id, result);
        if let Some(next) = next {
            way.state = Rc::new(next);
            for all in way.seen.values_mut() {
                if all.iter().all(|s| s.hash() != way.state.hash()) {
                    all.push(way.state.clone());
                }
            }
        }
        way
    }
}

/// One object's history.
#[derive(Clone, Debug)]
struct History {
    ways: Vec<Way>,
    pending: BTreeMap<AskId, Pending>,
}

/// The answer to a read.
pub type ReadAnswer = Result<Seen, i32>;

/// All objects' histories.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    objects: BTreeMap<String, History>,
}

impl Oracle {
    fn object(&mut self, name: &str) -> &mut History {
        self.objects.entry(name.to_owned()).or_insert_with(|| History {
            ways: vec![Way { state: Rc::new(State::absent()), done: BTreeMap::new(), seen: BTreeMap::new() }],
            pending: BTreeMap::new(),
        })
    }
    /// Unanswered writes of an object.
    pub fn writes_open(&self, name: &str) -> usize {
        self.objects
            .get(name)
            .map_or(0, |h| h.pending.values().filter(|p| matches!(p, Pending::Write(_))).count())
    }
    /// Largest size that the object can have now.
    pub fn size_max(&self, name: &str) -> usize {
        let size = |s: &State| s.head.as_ref().map_or(0, |o: &Rc<Obj>| o.data.len());
        self.objects.get(name).and_then(|h| h.ways.iter().map(|w| size(&w.state)).max()).unwrap_or(0)
    }
    /// Value of an xattr in some possible state.
    pub fn some_xattr(&self, name: &str, xattr: &[u8]) -> Option<bytes::Bytes> {
        self.objects.get(name)?.ways.first()?.state.head.as_ref()?.xattrs.get(xattr).cloned()
    }
    /// A write leaves its client.
    pub fn ask_write(&mut self, name: &str, id: AskId, req: Rc<WriteReq>) {
        self.object(name).pending.insert(id, Pending::Write(req));
    }
    /// A read leaves its client.
    pub fn ask_read(&mut self, name: &str, id: AskId, snap: Option<u64>) {
        let h = self.object(name);
        h.pending.insert(id, Pending::Read(snap));
        for w in &mut h.ways {
            w.seen.insert(id, vec![w.state.clone()]);
        }
    }
    /// A write was answered.
    pub fn answer_write(&mut self, name: &str, id: AskId, result: i32) -> Result<(), String> {
        let h = self.object(name);
        let before = h.clone();
        let guarded = matches!(h.pending.get(&id), Some(Pending::Write(r)) if r.acts.first().is_some_and(|a| matches!(a, Act::CmpXattr(..))));
        let result = if guarded && result == ENOENT { ECANCELED } else { result };
        h.expand(|w| w.done.contains_key(&id))?;
        h.ways.retain(|w| w.done.get(&id) == Some(&result));
        for w in &mut h.ways {
            w.done.remove(&id);
        }
        h.pending.remove(&id);
        h.settle().map_err(|()| before.explain(name, id, &format!("answered {result}")))
    }
    /// A read was answered.
    pub fn answer_read(&mut self, name: &str, id: AskId, answer: &ReadAnswer) -> Result<(), String> {
        let h = self.object(name);
        let Some(Pending::Read(snap)) = h.pending.get(&id).cloned() else {
            return Err(format!("{name}: a read was answered twice"));
        };
        let before = h.clone();
        let fits = |s: &State| match (s.at(snap), answer) {
            (None, Err(e)) => *e == crate::model::ENOENT,
            (Some(o), Ok(seen)) => seen.matches(o),
            _ => false,
        };
        let matched = |w: &Way| w.seen.get(&id).is_some_and(|all| all.iter().any(|s| fits(s)));
        h.expand(matched)?;
        h.ways.retain(matched);
        for w in &mut h.ways {
            w.seen.remove(&id);
        }
        h.pending.remove(&id);
        h.settle().map_err(|()| {
            let got = match answer {
                Ok(seen) => seen.brief(),
                Err(e) => format!("error {e}"),
            };
            before.explain(name, id, &format!("read at {snap:?} saw {got}"))
        })
    }
}

impl History {
    /// Lets unanswered writes take effect, in every order, until `enough` holds.
    fn expand(&mut self, enough: impl Fn(&Way) -> bool) -> Result<(), String> {
        let mut out = Vec::new();
        let mut known = BTreeSet::new();
        let mut work = std::mem::take(&mut self.ways);
        while let Some(w) = work.pop() {
            if !known.insert(w.key()) {
                continue;
            }
            if known.len() > WAYS_MAX {
                return Err("oracle: too many ways; the workload has too many open writes".to_owned());
            }
            if !enough(&w) {
                for (id, p) in &self.pending {
                    if let Pending::Write(req) = p
                        && !w.done.contains_key(id)
                    {
                        work.push(w.with(*id, req));
                    }
                }
            }
            out.push(w);
        }
        self.ways = out;
        Ok(())
    }
    fn settle(&mut self) -> Result<(), ()> {
        let mut known = BTreeSet::new();
        self.ways.retain(|w| known.insert(w.key()));
        if self.ways.is_empty() { Err(()) } else { Ok(()) }
    }
    fn explain(&self, name: &str, id: AskId, what: &str) -> String {
        let mut out = format!("{name}: request {id} {what}; no order of effects explains it.");
        for (n, w) in self.ways.iter().take(6).enumerate() {
            out +=
                &format!("\n  possible state {n}: {} (applied, unanswered: {:?})", w.state.brief(), w.done);
            if let Some(seen) = w.seen.get(&id) {
                for s in seen.iter().take(6) {
                    out += &format!("\n    visible to the read: {}", s.brief());
                }
            }
        }
        for (i, p) in &self.pending {
            match p {
                Pending::Write(r) => {
                    let acts: Vec<String> = r.acts.iter().map(act_brief).collect();
                    out += &format!("\n  open write {i}: {acts:?} snapc {}={:?}", r.snap_seq, r.snaps);
                }
                Pending::Read(s) => out += &format!("\n  open read {i} at {s:?}"),
            }
        }
        out
    }
}

/// For people.
pub fn act_brief(a: &crate::model::Act) -> String {
    use crate::model::{Act, digest};
    match a {
        Act::WriteFull(d) => format!("writefull {} ({})", d.len(), digest(d)),
        Act::Write(o, d) => format!("write {o}~{} ({})", d.len(), digest(d)),
        Act::Append(d) => format!("append {} ({})", d.len(), digest(d)),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Act;
    use bytes::Bytes;

    fn full(text: &'static str) -> Rc<WriteReq> {
        Rc::new(WriteReq {
            acts: vec![Act::WriteFull(Bytes::from_static(text.as_bytes()))],
            snap_seq: 0,
            snaps: vec![],
        })
    }
    fn saw(text: &'static str) -> ReadAnswer {
        Ok(Seen {
            range: (0, 0),
            size: text.len() as u64,
            data: Bytes::from_static(text.as_bytes()),
            xattrs: BTreeMap::new(),
            omap: BTreeMap::new(),
        })
    }

    #[test]
    fn a_lost_write_and_a_stale_read_are_seen() {
        let mut o = Oracle::default();
        o.ask_write("x", 1, full("a"));
        o.answer_write("x", 1, 0).unwrap();
        o.ask_read("x", 2, None);
        assert!(o.clone().answer_read("x", 2, &Err(-2)).is_err(), "lost");
        o.ask_write("x", 3, full("b"));
        // Either is fine while the write is open.
        o.clone().answer_read("x", 2, &saw("a")).unwrap();
        o.answer_read("x", 2, &saw("b")).unwrap();
        // But what one read has seen, a later one must see too.
        o.ask_read("x", 4, None);
        assert!(o.clone().answer_read("x", 4, &saw("a")).is_err(), "stale");
        o.answer_read("x", 4, &saw("b")).unwrap();
        o.answer_write("x", 3, 0).unwrap();
    }

    #[test]
    fn a_write_happens_once() {
        let mut o = Oracle::default();
        let req = Rc::new(WriteReq {
            acts: vec![Act::Append(Bytes::from_static(b"z"))],
            snap_seq: 0,
            snaps: vec![],
        });
        o.ask_write("x", 1, req);
        o.answer_write("x", 1, 0).unwrap();
        o.ask_read("x", 2, None);
        assert!(o.clone().answer_read("x", 2, &saw("zz")).is_err());
        o.answer_read("x", 2, &saw("z")).unwrap();
    }

    #[test]
    fn concurrent_writes_may_end_in_either_order() {
        let mut o = Oracle::default();
        o.ask_write("x", 1, full("a"));
        o.ask_write("x", 2, full("b"));
        o.answer_write("x", 1, 0).unwrap();
        o.answer_write("x", 2, 0).unwrap();
        o.ask_read("x", 3, None);
        o.clone().answer_read("x", 3, &saw("a")).unwrap();
        o.clone().answer_read("x", 3, &saw("b")).unwrap();
        assert!(o.answer_read("x", 3, &saw("c")).is_err());
    }

    #[test]
    fn a_snapshot_keeps_what_was() {
        let mut o = Oracle::default();
        o.ask_write("x", 1, full("a"));
        o.answer_write("x", 1, 0).unwrap();
        let req = WriteReq { snap_seq: 4, snaps: vec![4], ..(*full("b")).clone() };
        o.ask_write("x", 2, Rc::new(req));
        o.answer_write("x", 2, 0).unwrap();
        o.ask_read("x", 3, Some(4));
        assert!(o.clone().answer_read("x", 3, &saw("b")).is_err());
        o.answer_read("x", 3, &saw("a")).unwrap();
    }
}
