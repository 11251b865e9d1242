//! What an object is by the protocol's rules: a plain model that answers what each op must do. The oracle runs every
//! client op against it.
//!
//! Deliberately absent: watches, class calls, pool snapshots, rollback.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// `ENOENT`, negated.
pub const ENOENT: i32 = -2;
/// `ECANCELED`, negated.
pub const ECANCELED: i32 = -125;

/// A live object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Obj {
    /// Data.
    pub data: Vec<u8>,
    /// Xattrs.
    pub xattrs: BTreeMap<Bytes, Bytes>,
    /// Omap.
    pub omap: BTreeMap<Bytes, Bytes>,
}

/// A change that a client asks for; a request is a list of them, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Replaces the data.
    WriteFull(Bytes),
    /// Writes at an offset.
    Write(u64, Bytes),
    /// Writes at the end.
    Append(Bytes),
    /// Sets the size.
    Truncate(u64),
    /// Removes the object.
    Delete,
    /// Sets an xattr.
    SetXattr(Bytes, Bytes),
    /// Sets omap pairs.
    OmapSet(Vec<(Bytes, Bytes)>),
    /// Removes omap keys.
    OmapRm(Vec<Bytes>),
    /// Removes all omap pairs.
    OmapClear,
    /// Goes on only if the xattr has this value.
    CmpXattr(Bytes, Bytes),
}

/// A write request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteReq {
    /// The changes.
    pub acts: Vec<Act>,
    /// Newest snapshot that the client knows.
    pub snap_seq: u64,
    /// Existing snapshots, descending.
    pub snaps: Vec<u64>,
}

/// An object with its snapshots.
#[derive(Clone, Debug)]
pub struct State {
    /// The head, unless it is absent.
    pub head: Option<Rc<Obj>>,
    /// Newest snapshot that a write has seen.
    pub seq: u64,
    /// What each snapshot preserves; `None` for "did not exist".
    pub clones: BTreeMap<u64, Option<Rc<Obj>>>,
    hash: u64,
}

impl State {
    /// An object that never was.
    pub fn absent() -> State {
        State { head: None, seq: 0, clones: BTreeMap::new(), hash: 0 }.sealed()
    }
    fn sealed(mut self) -> State {
        let mut h = DefaultHasher::new();
        self.head.hash(&mut h);
        self.seq.hash(&mut h);
        self.clones.hash(&mut h);
        self.hash = h.finish();
        self
    }
    /// Identity of the contents.
    pub fn hash(&self) -> u64 {
        self.hash
    }
    /// What a read sees: the head, or as of a snapshot.
    pub fn at(&self, snap: Option<u64>) -> Option<&Rc<Obj>> {
        match snap {
            None => self.head.as_ref(),
            Some(s) if s > self.seq => self.head.as_ref(),
            Some(s) => self.clones.get(&s).and_then(Option::as_ref),
        }
    }
    /// Runs a request: its result, and the state behind it when that is another one.
    pub fn apply(&self, req: &WriteReq) -> (i32, Option<State>) {
        let mut head = self.head.as_ref().map(|o| (**o).clone());
        for act in &req.acts {
            if let Err(e) = act.run(&mut head) {
                return (e, None);
            }
        }
        let mut next = State { head: head.map(Rc::new), ..self.clone() };
        // A request that found nothing to do (truncate of an absent object) makes no clone either.
        if next.head.is_none() && self.head.is_none() {
            return (0, None);
        }
        if req.snap_seq > self.seq {
            for s in req.snaps.iter().filter(|s| **s > self.seq) {
                next.clones.insert(*s, self.head.clone());
            }
            next.seq = req.snap_seq;
        }
        let kept = next.clones.values().any(Option::is_some);
        if next.head.is_none() && !kept {
            next.seq = 0;
            next.clones.clear();
        }
        (0, Some(next.sealed()))
    }
    /// For people: the version markers.
    pub fn brief(&self) -> String {
        let one = |o: &Option<Rc<Obj>>| match o {
            None => "absent".to_owned(),
            Some(o) => {
                let v = o.xattrs.get(&b"v"[..]).map(|v| String::from_utf8_lossy(v).into_owned());
                let k = o.omap.get(&b"v"[..]).map(|v| String::from_utf8_lossy(v).into_owned());
                format!(
                    "{} bytes ({}) xattr v={v:?} omap v={k:?} of {} keys",
                    o.data.len(),
                    digest(&o.data),
                    o.omap.len()
                )
            }
        };
        let mut out = one(&self.head);
        for (s, o) in &self.clones {
            out += &format!("; @{s}: {}", one(o));
        }
        out
    }
}

/// A short name for bytes.
pub fn digest(data: &[u8]) -> String {
    let mut h = DefaultHasher::new();
    data.hash(&mut h);
    format!("{:08x}", h.finish() as u32)
}

impl Act {
    fn run(&self, head: &mut Option<Obj>) -> Result<(), i32> {
        match self {
            Act::WriteFull(d) => head.get_or_insert_default().data = d.to_vec(),
            Act::Write(off, d) => {
                let data = &mut head.get_or_insert_default().data;
                let end = *off as usize + d.len();
                if data.len() < end {
                    data.resize(end, 0);
                }
                data[*off as usize..end].copy_from_slice(d);
            }
            Act::Append(d) => head.get_or_insert_default().data.extend_from_slice(d),
            Act::Truncate(size) => {
                if let Some(o) = head {
                    o.data.resize(*size as usize, 0);
                }
            }
            Act::Delete => {
                if head.take().is_none() {
                    return Err(ENOENT);
                }
            }
            Act::SetXattr(n, v) => drop(head.get_or_insert_default().xattrs.insert(n.clone(), v.clone())),
            Act::OmapSet(pairs) => head.get_or_insert_default().omap.extend(pairs.iter().cloned()),
            Act::OmapRm(keys) => {
                let o = head.as_mut().ok_or(ENOENT)?;
                keys.iter().for_each(|k| drop(o.omap.remove(k)));
            }
            Act::OmapClear => head.as_mut().ok_or(ENOENT)?.omap.clear(),
            Act::CmpXattr(n, v) => {
                // An absent object that clones keep as a whiteout has no xattrs, one without clones does not exist: the
                // oracle takes both answers.
                let o = head.as_ref().ok_or(ECANCELED)?;
                if o.xattrs.get(n).unwrap_or(&Bytes::new()) != v {
                    return Err(ECANCELED);
                }
            }
        }
        Ok(())
    }
}

/// What a read brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Offset and length that were asked for; length 0 is the whole object.
    pub range: (u64, u64),
    /// Size of the object.
    pub size: u64,
    /// Its bytes in the range.
    pub data: Bytes,
    /// All user xattrs.
    pub xattrs: BTreeMap<Bytes, Bytes>,
    /// All omap pairs.
    pub omap: BTreeMap<Bytes, Bytes>,
}

impl Seen {
    /// True when `o` looks like this.
    pub fn matches(&self, o: &Obj) -> bool {
        let (off, len) = self.range;
        let end = if len == 0 { o.data.len() } else { o.data.len().min((off + len) as usize) };
        let start = end.min(off as usize);
        self.size == o.data.len() as u64
            && self.data == o.data[start..end]
            && self.xattrs == o.xattrs
            && self.omap == o.omap
    }
    /// For people.
    pub fn brief(&self) -> String {
        let v =
            |m: &BTreeMap<Bytes, Bytes>| m.get(&b"v"[..]).map(|v| String::from_utf8_lossy(v).into_owned());
        format!(
            "{:?}: {} of {} bytes ({}) xattr v={:?} omap v={:?} of {} keys",
            self.range,
            self.data.len(),
            self.size,
            digest(&self.data),
            v(&self.xattrs),
            v(&self.omap),
            self.omap.len()
        )
    }
}
