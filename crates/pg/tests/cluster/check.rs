//! What clients may see: every reply is checked against what was acknowledged before its request was made.

use bytes::Bytes;
use std::collections::BTreeMap;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Append a token (objects `a*`).
    Append(u64),
    /// Replace with a token, repeated (objects `w*`).
    WriteFull(u64, usize),
    Delete,
    Read,
}

/// One token as bytes.
pub fn token(t: u64) -> [u8; 8] {
    t.to_be_bytes()
}
pub fn tokens(data: &Bytes) -> Vec<u64> {
    assert_eq!(data.len() % 8, 0, "a torn token");
    data.chunks(8).map(|c| u64::from_be_bytes(c.try_into().unwrap())).collect()
}

#[derive(Default)]
struct Obj {
    /// Newest version that a client knows to be durable, by an acknowledgement or a read.
    floor: u64,
    /// Tokens of acknowledged appends, and the longest content seen.
    acked: Vec<u64>,
    seen: Vec<u64>,
    /// Content of each version that was read or acknowledged.
    at: BTreeMap<u64, u64>,
    /// Deletes issued and not acknowledged, and the newest acknowledged one.
    deletes_open: u64,
    deleted_at: u64,
    issued: Vec<u64>,
    written: bool,
}
#[derive(Default)]
pub struct Checker {
    objs: BTreeMap<String, Obj>,
    pub acked: u64,
    pub reads: u64,
}
/// What was known when a request was made.
#[derive(Clone, Debug, Default)]
pub struct Before {
    floor: u64,
    prefix: Vec<u64>,
    acked: Vec<u64>,
}
impl Checker {
    pub fn ask(&mut self, name: &str, ask: &Ask) -> Before {
        let o = self.objs.entry(name.to_owned()).or_default();
        match ask {
            Ask::Append(t) | Ask::WriteFull(t, _) => o.issued.push(*t),
            Ask::Delete => o.deletes_open += 1,
            Ask::Read => {}
        }
        Before { floor: o.floor, prefix: o.seen.clone(), acked: o.acked.clone() }
    }
    pub fn answer(&mut self, name: &str, ask: &Ask, b: &Before, result: i32, version: u64, data: &Bytes) {
        let o = self.objs.get_mut(name).unwrap();
        match ask {
            Ask::Append(t) => {
                assert_eq!(result, 0, "{name}: append");
                assert!(version > b.floor, "{name}: append at {version}, {} was known", b.floor);
                o.acked.push(*t);
                o.floor = o.floor.max(version);
                self.acked += 1;
            }
            Ask::WriteFull(t, _) => {
                assert_eq!(result, 0, "{name}: write");
                assert!(version > b.floor, "{name}: write {t} at {version}, {} was known", b.floor);
                Self::content(o, name, version, *t);
                o.floor = o.floor.max(version);
                o.written = true;
                self.acked += 1;
            }
            Ask::Delete => {
                o.deletes_open -= 1;
                assert!(result == 0 || result == -2, "{name}: delete {result}");
                if result == 0 {
                    assert!(version > b.floor, "{name}: delete at {version}, {} was known", b.floor);
                    o.deleted_at = o.deleted_at.max(version);
                    o.floor = o.floor.max(version);
                    self.acked += 1;
                } else {
                    Self::absent(o, name, b);
                    // It may be an open delete of another client that made it so: then that one happened.
                }
            }
            Ask::Read => {
                self.reads += 1;
                if result == -2 {
                    if name.starts_with('a') {
                        assert!(b.acked.is_empty(), "{name}: acknowledged appends {:?} are gone", b.acked);
                    } else {
                        Self::absent(o, name, b);
                    }
                    return;
                }
                assert!(result >= 0, "{name}: read {result}");
                let got = tokens(data);
                assert!(version >= b.floor, "{name}: stale read of {version}, {} was known", b.floor);
                for t in &got {
                    assert!(o.issued.contains(t), "{name}: {t} was never written");
                }
                if name.starts_with('a') {
                    assert!(
                        got.starts_with(&b.prefix),
                        "{name}: {got:?} lacks what was seen: {:?}",
                        b.prefix
                    );
                    for t in &b.acked {
                        assert!(got.contains(t), "{name}: acknowledged {t} is lost: {got:?}");
                    }
                    let mut once = got.clone();
                    once.sort_unstable();
                    once.dedup();
                    assert_eq!(once.len(), got.len(), "{name}: an append happened twice: {got:?}");
                    if got.len() > o.seen.len() {
                        assert!(got.starts_with(&o.seen), "{name}: two histories: {got:?} {:?}", o.seen);
                        o.seen = got;
                    }
                } else {
                    assert!(got.windows(2).all(|w| w[0] == w[1]), "{name}: torn write: {got:?}");
                    Self::content(o, name, version, got[0]);
                }
                o.floor = o.floor.max(version);
            }
        }
    }
    fn content(o: &mut Obj, name: &str, version: u64, t: u64) {
        let was = o.at.insert(version, t);
        assert!(was.is_none_or(|w| w == t), "{name}: version {version} is {was:?} and {t}");
    }
    /// The object was not there: someone must have deleted it since what was known.
    fn absent(o: &Obj, name: &str, b: &Before) {
        let never = b.floor == 0;
        assert!(
            never || o.deletes_open > 0 || o.deleted_at >= b.floor || o.unknown_delete(),
            "{name}: gone, although {} was known and nobody deleted it",
            b.floor
        );
    }
}
impl Obj {
    /// A delete that answered ENOENT may have happened at any time before: counted as open by then.
    fn unknown_delete(&self) -> bool {
        false
    }
}
