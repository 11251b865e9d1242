//! Capabilities at OSDs (`src/osd/OSDCap.cc` of stock).
//!
//! Unlike at monitors, rights do not add up: one grant must cover a whole operation. Only the class calls of one operation may be
//! covered by several grants together.

use super::{ANY, CapError, Cursor, Network, admits, fmt_list, quote};
use std::collections::BTreeMap;
use std::fmt;
use types::EntityAddr;

const R: u8 = 1 << 1;
const W: u8 = 1 << 2;
const CLS_R: u8 = 1 << 3;
const CLS_W: u8 = 1 << 4;
const X: u8 = CLS_R | CLS_W;

/// `tag APP KEY=VALUE`: pools by their application metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTag {
    /// Application.
    pub app: String,
    /// Key, or `*`.
    pub key: String,
    /// Value, or `*`.
    pub value: String,
}
impl PoolTag {
    fn matches(&self, apps: &BTreeMap<String, BTreeMap<String, String>>) -> bool {
        let Some(kv) = apps.get(&self.app) else { return false };
        match (self.key.as_str(), self.value.as_str()) {
            ("*", "*") => true,
            ("*", v) => kv.values().any(|x| x == v),
            (k, "*") => kv.contains_key(k),
            (k, v) => kv.get(k).is_some_and(|x| x == v),
        }
    }
}

/// Which objects a grant is about.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OsdMatch {
    /// `pool=X`; empty for any.
    pub pool: String,
    /// `namespace=X`; a trailing `*` matches a prefix; empty is the default namespace.
    pub namespace: Option<String>,
    /// `tag ...`.
    pub tag: Option<PoolTag>,
    /// `object_prefix X`.
    pub object_prefix: String,
}
impl OsdMatch {
    fn is_all(&self) -> bool {
        self == &OsdMatch::default()
    }
    fn matches(&self, op: &OsdOpInfo<'_>) -> bool {
        if !self.pool.is_empty() && self.pool != op.pool {
            return false;
        }
        if let Some(ns) = &self.namespace {
            let hit = match ns.strip_suffix('*') {
                Some(prefix) => op.namespace.starts_with(prefix) || ns == op.namespace,
                None => ns == op.namespace,
            };
            if !hit {
                return false;
            }
        }
        self.tag.as_ref().is_none_or(|t| t.matches(op.app_metadata))
            && op.object.starts_with(self.object_prefix.as_str())
    }
}

/// What a grant allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OsdSpec {
    /// Letters, `class-read`, `class-write`.
    Rwx(u8),
    /// `class NAME [METHOD]`, whether or not the class is on the list of allowed ones.
    Class {
        /// Class.
        class: String,
        /// Method; empty for all of them.
        method: String,
    },
}
impl OsdSpec {
    fn bits(&self) -> u8 {
        match self {
            OsdSpec::Rwx(b) => *b,
            OsdSpec::Class { .. } => 0,
        }
    }
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OsdGrant {
    /// `allow ...`.
    Allow {
        /// Objects.
        matches: OsdMatch,
        /// Rights.
        spec: OsdSpec,
        /// `network X`.
        network: Option<Network>,
    },
    /// `profile NAME [pool=X [namespace=Y]]`; an unknown one grants nothing.
    Profile {
        /// Name.
        name: String,
        /// Pool and namespace.
        matches: OsdMatch,
        /// `network X`.
        network: Option<Network>,
    },
}

/// One class call of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCall<'a> {
    /// Class.
    pub class: &'a str,
    /// Method.
    pub method: &'a str,
    /// The method reads.
    pub read: bool,
    /// The method writes.
    pub write: bool,
    /// The class is in `osd_class_default_list`.
    pub allowed_list: bool,
}

/// An operation as capabilities see it.
#[derive(Clone, Debug)]
pub struct OsdOpInfo<'a> {
    /// Pool name.
    pub pool: &'a str,
    /// Object namespace.
    pub namespace: &'a str,
    /// The pool's application metadata.
    pub app_metadata: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Object name (its locator key, where one is set); empty for pool operations.
    pub object: &'a str,
    /// It reads other than by class methods.
    pub may_read: bool,
    /// It writes other than by class methods.
    pub may_write: bool,
    /// Its class calls.
    pub classes: &'a [ClassCall<'a>],
}

impl OsdGrant {
    fn expand(&self) -> Vec<OsdGrant> {
        let OsdGrant::Profile { name, matches, .. } = self else { return Vec::new() };
        let allow = |matches: OsdMatch, spec| OsdGrant::Allow { matches, spec, network: None };
        let prefix = |m: &OsdMatch, p: &str| OsdMatch { object_prefix: p.into(), ..m.clone() };
        let any = OsdMatch::default();
        let class = |method: &str| OsdSpec::Class { class: "rbd".into(), method: method.into() };
        match name.as_str() {
            "read-only" => vec![allow(matches.clone(), OsdSpec::Rwx(R))],
            "read-write" => vec![allow(matches.clone(), OsdSpec::Rwx(R | W))],
            "rbd" => vec![
                allow(prefix(&any, "rbd_children"), OsdSpec::Rwx(CLS_R)),
                allow(prefix(&any, "rbd_mirroring"), OsdSpec::Rwx(CLS_R)),
                allow(prefix(matches, "rbd_info"), class("metadata_list")),
                allow(matches.clone(), OsdSpec::Rwx(R | W | X)),
            ],
            "rbd-read-only" => vec![
                allow(matches.clone(), OsdSpec::Rwx(R | CLS_R)),
                allow(prefix(matches, "rbd_header."), class("child_attach")),
                allow(prefix(matches, "rbd_header."), class("child_detach")),
            ],
            _ => vec![],
        }
    }

    fn is_allow_all(&self) -> bool {
        matches!(self, OsdGrant::Allow { matches, spec: OsdSpec::Rwx(ANY), network: None } if matches.is_all())
    }

    /// `class_ok` collects, over all grants, which class calls are covered.
    fn is_capable(&self, op: &OsdOpInfo<'_>, addr: &EntityAddr, class_ok: &mut [bool]) -> bool {
        let (m, spec) = match self {
            OsdGrant::Profile { network, .. } => {
                return admits(network, addr)
                    && self.expand().iter().any(|g| g.is_capable(op, addr, class_ok));
            }
            OsdGrant::Allow { matches, spec, network } => {
                if !admits(network, addr) {
                    return false;
                }
                (matches, spec)
            }
        };
        let bits = spec.bits();
        if !m.matches(op) || (op.may_read && bits & R == 0) || (op.may_write && bits & W == 0) {
            return false;
        }
        if op.classes.is_empty() || bits == ANY {
            return true;
        }
        for (call, ok) in op.classes.iter().zip(class_ok.iter_mut()) {
            let by_name = matches!(spec, OsdSpec::Class { class, method }
                if class == call.class && (method.is_empty() || method == call.method));
            let by_bits =
                call.allowed_list && (!call.read || bits & CLS_R != 0) && (!call.write || bits & CLS_W != 0);
            *ok |= by_name || by_bits;
        }
        class_ok.iter().all(|ok| *ok)
    }
}

/// A parsed OSD capability.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OsdCap {
    /// Its grants.
    pub grants: Vec<OsdGrant>,
}

impl OsdCap {
    /// From text.
    pub fn parse(text: &str) -> Result<OsdCap, CapError> {
        // Stock skips spaces before and behind the whole (`phrase_parse`).
        let mut c = Cursor::new(text.trim());
        let mut grants = Vec::new();
        loop {
            match c.attempt(grant) {
                Some(g) => grants.push(g),
                None => return Err(CapError { what: "osd", rest: c.rest().into(), text: text.into() }),
            }
            if c.at_end() {
                return Ok(OsdCap { grants });
            }
            if c.lit(";").or_else(|| c.lit(",")).is_none() {
                return Err(CapError { what: "osd", rest: c.rest().into(), text: text.into() });
            }
        }
    }
    /// `allow *`.
    pub fn allow_all() -> OsdCap {
        let spec = OsdSpec::Rwx(ANY);
        OsdCap { grants: vec![OsdGrant::Allow { matches: OsdMatch::default(), spec, network: None }] }
    }
    /// True when some grant is `allow *` without a condition.
    pub fn is_allow_all(&self) -> bool {
        self.grants.iter().any(OsdGrant::is_allow_all)
    }
    /// May a peer at `addr` do this operation?
    pub fn is_capable(&self, op: &OsdOpInfo<'_>, addr: &EntityAddr) -> bool {
        let mut class_ok = vec![false; op.classes.len()];
        self.grants.iter().any(|g| g.is_capable(op, addr, &mut class_ok))
    }
}

fn blanks(c: &mut Cursor<'_>) {
    c.take_while(|x| x == ' ' || x == '\t');
}

fn grant(c: &mut Cursor<'_>) -> Option<OsdGrant> {
    blanks(c);
    let spec_first = c.attempt(|c| {
        c.lit("allow")?;
        let spec = spec(c)?;
        let matches = matches(c);
        Some(OsdGrant::Allow { matches, spec, network: c.network() })
    });
    let g = match spec_first {
        Some(g) => g,
        None => {
            let match_first = c.attempt(|c| {
                c.lit("allow")?;
                let matches = matches(c);
                let spec = spec(c)?;
                Some(OsdGrant::Allow { matches, spec, network: c.network() })
            });
            match match_first {
                Some(g) => g,
                None => c.attempt(profile)?,
            }
        }
    };
    blanks(c);
    Some(g)
}

fn profile(c: &mut Cursor<'_>) -> Option<OsdGrant> {
    c.lit("profile")?;
    c.eq_or_spaces()?;
    let name = c.string()?;
    let pool = pool(c);
    let namespace = namespace(c);
    let matches = OsdMatch { pool, namespace, ..OsdMatch::default() };
    Some(OsdGrant::Profile { name, matches, network: c.network() })
}

fn spec(c: &mut Cursor<'_>) -> Option<OsdSpec> {
    if let Some(b) = rwx(c) {
        return Some(OsdSpec::Rwx(b));
    }
    c.attempt(|c| {
        c.spaces()?;
        c.lit("class")?;
        c.spaces()?;
        let class = c.string()?;
        let method = c
            .attempt(|c| {
                c.spaces()?;
                c.string()
            })
            .unwrap_or_default();
        Some(OsdSpec::Class { class, method })
    })
}

fn wildcard(c: &mut Cursor<'_>) -> Option<()> {
    c.lit("*").or_else(|| c.lit("all"))
}

fn rwx(c: &mut Cursor<'_>) -> Option<u8> {
    let any = c.attempt(|c| {
        c.spaces()?;
        wildcard(c)
    });
    if any.is_some() {
        return Some(ANY);
    }
    let letters = c.attempt(|c| {
        c.spaces()?;
        let mut b = 0;
        for (s, bit) in [("r", R), ("w", W), ("x", X)] {
            if c.lit(s).is_some() {
                b |= bit;
            }
        }
        (b != 0).then_some(b)
    });
    let mut word = |w: &str| {
        c.attempt(|c| {
            c.spaces()?;
            c.lit(w)
        })
    };
    let mut b = letters.unwrap_or(0);
    if word("class-read").is_some() {
        b |= CLS_R;
    }
    if word("class-write").is_some() {
        b |= CLS_W;
    }
    (b != 0).then_some(b)
}

fn pool(c: &mut Cursor<'_>) -> String {
    c.attempt(|c| {
        c.keyword("pool")?;
        c.string()
    })
    .unwrap_or_default()
}

fn namespace(c: &mut Cursor<'_>) -> Option<String> {
    c.attempt(|c| {
        c.keyword("namespace")?;
        let mut ns = c.empty_string()?;
        if c.lit("*").is_some() {
            ns.push('*');
        }
        Some(ns)
    })
}

fn object_prefix(c: &mut Cursor<'_>) -> String {
    c.attempt(|c| {
        c.spaces()?;
        c.lit("object_prefix")?;
        c.spaces()?;
        c.string()
    })
    .unwrap_or_default()
}

fn pool_tag(c: &mut Cursor<'_>) -> Option<PoolTag> {
    let word = |c: &mut Cursor<'_>| match wildcard(c) {
        Some(()) => Some("*".to_owned()),
        None => c.string(),
    };
    c.attempt(|c| {
        c.spaces()?;
        c.lit("tag")?;
        c.spaces()?;
        let app = c.string()?;
        c.spaces()?;
        let key = word(c)?;
        c.spaces();
        c.lit("=")?;
        c.spaces();
        let value = word(c)?;
        Some(PoolTag { app, key, value })
    })
}

/// What follows may be nothing at all, which matches everything.
fn matches(c: &mut Cursor<'_>) -> OsdMatch {
    if let Some(tag) = pool_tag(c) {
        return OsdMatch { tag: Some(tag), ..OsdMatch::default() };
    }
    let tagged = c.attempt(|c| {
        let namespace = Some(namespace(c)?);
        let tag = Some(pool_tag(c)?);
        Some(OsdMatch { namespace, tag, ..OsdMatch::default() })
    });
    if let Some(m) = tagged {
        return m;
    }
    let pool = pool(c);
    let namespace = namespace(c);
    let object_prefix = object_prefix(c);
    OsdMatch { pool, namespace, tag: None, object_prefix }
}

/// In a tag the bare word `all`, also as the beginning of another one, reads as `*`.
fn star_or_quote(s: &str) -> String {
    match s {
        "*" => s.to_owned(),
        s if s.starts_with("all") => format!("'{s}'"),
        s => quote(s),
    }
}

impl fmt::Display for OsdMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pool.is_empty() {
            write!(f, " pool={}", quote(&self.pool))?;
        }
        if let Some(ns) = &self.namespace {
            match ns.strip_suffix('*') {
                Some(p) => write!(f, " namespace={}*", quote(p))?,
                None => write!(f, " namespace={}", quote(ns))?,
            }
        }
        if let Some(t) = &self.tag {
            write!(f, " tag {} {}={}", quote(&t.app), star_or_quote(&t.key), star_or_quote(&t.value))?;
        }
        if !self.object_prefix.is_empty() {
            write!(f, " object_prefix {}", quote(&self.object_prefix))?;
        }
        Ok(())
    }
}
impl fmt::Display for OsdSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OsdSpec::Rwx(ANY) => f.write_str(" *"),
            OsdSpec::Rwx(b) => {
                let mut letters = String::new();
                for (bit, c) in [(R, 'r'), (W, 'w')] {
                    if b & bit != 0 {
                        letters.push(c);
                    }
                }
                if b & X == X {
                    letters.push('x');
                }
                if !letters.is_empty() {
                    write!(f, " {letters}")?;
                }
                match b & X {
                    CLS_R => f.write_str(" class-read"),
                    CLS_W => f.write_str(" class-write"),
                    _ => Ok(()),
                }
            }
            OsdSpec::Class { class, method } if method.is_empty() => write!(f, " class {}", quote(class)),
            OsdSpec::Class { class, method } => write!(f, " class {} {}", quote(class), quote(method)),
        }
    }
}
impl fmt::Display for OsdGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self {
            OsdGrant::Allow { matches, spec, network } => {
                // A class without a method would swallow the next word as its method: conditions go first.
                write!(f, "allow{matches}{spec}")?;
                network
            }
            OsdGrant::Profile { name, matches, network } => {
                write!(f, "profile {}{matches}", quote(name))?;
                network
            }
        };
        network.as_ref().map_or(Ok(()), |n| write!(f, "{n}"))
    }
}
impl fmt::Display for OsdCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_list(f, &self.grants)
    }
}
