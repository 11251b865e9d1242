//! Capabilities: stock's four grammars (`MonCap`, `OSDCap`, `MgrCap`, `MDSAuthCaps`), parsed, printed and checked.
//!
//! The grammars of stock are parsing expression grammars (boost::spirit): an alternative that matched is not reconsidered.
//! The parsers here are written the same way over [`Cursor`], so that what stock refuses, this refuses.
//! A capability that does not parse grants nothing.

mod clause;
mod mds;
mod mgr;
mod mon;
mod osd;

pub use mds::{MdsCap, MdsGrant};
pub use mgr::{MgrCap, MgrGrant};
pub use mon::{MonCap, MonGrant};
pub use osd::{ClassCall, OsdCap, OsdGrant, OsdMatch, OsdOpInfo, OsdSpec, PoolTag};

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;
use types::EntityAddr;

/// Text that is no capability.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{what} capability parse failed, stopped at '{rest}' of '{text}'")]
pub struct CapError {
    /// Which grammar (`mon`, `osd`, `mgr`, `mds`).
    pub what: &'static str,
    /// What could not be read.
    pub rest: String,
    /// The whole text.
    pub text: String,
}

/// Read.
pub const R: u8 = 1 << 1;
/// Write.
pub const W: u8 = 1 << 2;
/// Execute.
pub const X: u8 = 1 << 3;
/// `*`: also what no letter names.
pub const ANY: u8 = 0xff;

/// A position in text, with spirit-like matchers. A matcher that fails leaves the position alone.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Cursor { text, pos: 0 }
    }
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }
    pub(crate) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }
    /// Runs `f`; rewinds when it answers `None`.
    pub(crate) fn attempt<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let start = self.pos;
        let r = f(self);
        if r.is_none() {
            self.pos = start;
        }
        r
    }
    pub(crate) fn lit(&mut self, s: &str) -> Option<()> {
        self.rest().starts_with(s).then(|| self.pos += s.len())
    }
    pub(crate) fn take_while(&mut self, f: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let n = rest.find(|c| !f(c)).unwrap_or(rest.len());
        self.pos += n;
        &rest[..n]
    }
    /// One or more whitespace characters.
    pub(crate) fn spaces(&mut self) -> Option<()> {
        (!self.take_while(|c| c.is_ascii_whitespace() || c == '\x0b').is_empty()).then_some(())
    }
    /// Whitespace, `word`, then `=` or whitespace.
    pub(crate) fn keyword(&mut self, word: &str) -> Option<()> {
        self.attempt(|c| {
            c.spaces()?;
            c.lit(word)?;
            c.eq_or_spaces()
        })
    }
    pub(crate) fn eq_or_spaces(&mut self) -> Option<()> {
        self.lit("=").or_else(|| self.spaces())
    }
    fn quoted(&mut self, quote: char, may_be_empty: bool) -> Option<&'a str> {
        self.attempt(|c| {
            let q = &quote.to_string();
            c.lit(q)?;
            let s = c.take_while(|x| x != quote);
            c.lit(q)?;
            (may_be_empty || !s.is_empty()).then_some(s)
        })
    }
    fn word(&mut self) -> Option<&'a str> {
        let s = self.take_while(|c| c.is_ascii_alphanumeric() || "_./-".contains(c));
        (!s.is_empty()).then_some(s)
    }
    /// A quoted string or a word of letters, digits and `_./-`.
    pub(crate) fn string(&mut self) -> Option<String> {
        let s = self.quoted('"', false).or_else(|| self.quoted('\'', false)).or_else(|| self.word())?;
        Some(s.to_owned())
    }
    /// As [`Cursor::string`], where quotes may hold nothing.
    pub(crate) fn empty_string(&mut self) -> Option<String> {
        let s = self.quoted('"', true).or_else(|| self.quoted('\'', true)).or_else(|| self.word())?;
        Some(s.to_owned())
    }
    pub(crate) fn number(&mut self) -> Option<u32> {
        self.attempt(|c| c.take_while(|x| x.is_ascii_digit()).parse().ok())
    }
    /// `-(spaces "network" spaces network_str)`.
    pub(crate) fn network(&mut self) -> Option<Network> {
        self.attempt(|c| {
            c.spaces()?;
            c.lit("network")?;
            c.spaces()?;
            let s = c.take_while(|x| x.is_ascii_hexdigit() || "/.:][".contains(x));
            (!s.is_empty()).then(|| Network::new(s))
        })
    }
    /// `* | all | [r][w][x]`, at least one.
    pub(crate) fn rwx(&mut self) -> Option<u8> {
        if self.lit("*").or_else(|| self.lit("all")).is_some() {
            return Some(ANY);
        }
        let mut v = 0;
        for (s, bit) in [("r", R), ("w", W), ("x", X)] {
            if self.lit(s).is_some() {
                v |= bit;
            }
        }
        (v != 0).then_some(v)
    }
    /// `grant % (*' ' (';' | ',') *' ')`, to the end.
    pub(crate) fn list<T>(
        mut self,
        what: &'static str,
        mut grant: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<Vec<T>, CapError> {
        let mut out = Vec::new();
        let mut stopped = self.clone();
        if let Some(g) = self.attempt(&mut grant) {
            out.push(g);
            stopped = self.clone();
            while let Some(g) = self.attempt(|c| {
                c.take_while(|x| x == ' ');
                c.lit(";").or_else(|| c.lit(","))?;
                c.take_while(|x| x == ' ');
                grant(c)
            }) {
                out.push(g);
                stopped = self.clone();
            }
        }
        if out.is_empty() || !stopped.at_end() {
            return Err(CapError { what, rest: stopped.rest().to_owned(), text: self.text.to_owned() });
        }
        Ok(out)
    }
}

/// `network 10.0.0.0/8` of a grant. One that does not parse matches no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    text: String,
    parsed: Option<(IpAddr, u8)>,
}
impl Network {
    fn new(text: &str) -> Network {
        let parsed = text.split_once('/').and_then(|(ip, len)| {
            let ip: IpAddr = ip.parse().ok()?;
            let len: u8 = len.parse().ok()?;
            (len <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, len))
        });
        Network { text: text.to_owned(), parsed }
    }
    /// True when the peer's address lies in it.
    pub fn contains(&self, addr: &EntityAddr) -> bool {
        let (Some((net, len)), Some(sock)) = (self.parsed, addr.sock) else { return false };
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(a) => (u128::from(a.to_bits()) << 96, 4),
            IpAddr::V6(a) => (a.to_bits(), 6),
        };
        let ((a, fa), (b, fb)) = (bits(net), bits(sock.ip()));
        let mask = if len == 0 { 0 } else { u128::MAX << (128 - u32::from(len)) };
        fa == fb && a & mask == b & mask
    }
}
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " network {}", self.text)
    }
}
/// True when a grant's network (or its absence) admits the address.
fn admits(network: &Option<Network>, addr: &EntityAddr) -> bool {
    network.as_ref().is_none_or(|n| n.contains(addr))
}

/// How a command's argument must look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// Exactly this.
    Equal(String),
    /// Beginning with this.
    Prefix(String),
    /// Wholly matching this regular expression.
    Regex(String),
}
impl Constraint {
    fn holds(&self, value: &str) -> bool {
        match self {
            Constraint::Equal(v) => v == value,
            Constraint::Prefix(v) => value.starts_with(v.as_str()),
            Constraint::Regex(v) => {
                regex_lite::Regex::new(&format!("^(?:{v})$")).is_ok_and(|r| r.is_match(value))
            }
        }
    }
}

/// Constraints by argument name.
pub type Constraints = BTreeMap<String, Constraint>;

/// A command's arguments as strings.
pub type Args = BTreeMap<String, String>;

fn all_hold(constraints: &Constraints, args: &Args) -> bool {
    constraints.iter().all(|(k, c)| args.get(k).is_some_and(|v| c.holds(v)))
}

/// `k=v`, `k prefix v`, `k regex v`; `loose` allows spaces around `=`, as the mgr's grammar does.
fn key_value(c: &mut Cursor<'_>, loose: bool) -> Option<(String, Constraint)> {
    c.attempt(|c| {
        let key = c.string()?;
        let equal = c.attempt(|c| {
            if loose {
                c.spaces();
            }
            c.lit("=")?;
            if loose {
                c.spaces();
            }
            c.string().map(Constraint::Equal)
        });
        let spaced = |c: &mut Cursor<'_>, word: &str| {
            c.attempt(|c| {
                c.spaces()?;
                c.lit(word)?;
                c.spaces()?;
                c.string()
            })
        };
        let value = match equal {
            Some(v) => v,
            None => match spaced(c, "prefix") {
                Some(v) => Constraint::Prefix(v),
                None => Constraint::Regex(spaced(c, "regex")?),
            },
        };
        Some((key, value))
    })
}

/// `kv *(spaces kv)`.
fn key_values(c: &mut Cursor<'_>, loose: bool) -> Option<Constraints> {
    let mut out = Constraints::new();
    let (k, v) = key_value(c, loose)?;
    out.insert(k, v);
    while let Some((k, v)) = c.attempt(|c| {
        c.spaces()?;
        key_value(c, loose)
    }) {
        // As std::map::insert: the first of equal keys stays.
        out.entry(k).or_insert(v);
    }
    Some(out)
}

/// `-(spaces "with" spaces kv_map)`.
fn with_args(c: &mut Cursor<'_>, loose: bool) -> Constraints {
    c.attempt(|c| {
        c.spaces()?;
        c.lit("with")?;
        c.spaces()?;
        key_values(c, loose)
    })
    .unwrap_or_default()
}

/// A string as it can be read back.
fn quote(s: &str) -> String {
    if !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return s.to_owned();
    }
    if s.contains('"') { format!("'{s}'") } else { format!("\"{s}\"") }
}

fn fmt_rwx(v: u8) -> String {
    if v == ANY {
        return "*".into();
    }
    [(R, 'r'), (W, 'w'), (X, 'x')].into_iter().filter(|(b, _)| v & b != 0).map(|(_, c)| c).collect()
}

fn fmt_constraints(f: &mut fmt::Formatter<'_>, constraints: &Constraints) -> fmt::Result {
    for (k, c) in constraints {
        match c {
            Constraint::Equal(v) => write!(f, " {}={}", quote(k), quote(v))?,
            Constraint::Prefix(v) => write!(f, " {} prefix {}", quote(k), quote(v))?,
            Constraint::Regex(v) => write!(f, " {} regex {}", quote(k), quote(v))?,
        }
    }
    Ok(())
}

fn fmt_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, grants: &[T]) -> fmt::Result {
    for (i, g) in grants.iter().enumerate() {
        write!(f, "{}{g}", if i > 0 { ", " } else { "" })?;
    }
    Ok(())
}
