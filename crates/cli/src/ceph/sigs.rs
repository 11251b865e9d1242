//! Signatures of commands, as a service describes them (`get_command_descriptions`): what each word must look like, and how a signature is shown to a user.
//!
//! Pure but for one look at the file system (`CephFilepath`). Facts are those of stock's `ceph_argparse`: texts, what is accepted, what values become.

use super::values;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use thiserror::Error;

/// Bits of a command's `flags`.
pub mod flags {
    /// Not to be offered any more.
    pub const OBSOLETE: u64 = 1 << 1;
    /// Works, but is not shown.
    pub const DEPRECATED: u64 = 1 << 2;
    /// The manager's.
    pub const MGR: u64 = 1 << 3;
    /// To be repeated until interrupted.
    pub const POLL: u64 = 1 << 4;
    /// Works, but is not shown.
    pub const HIDDEN: u64 = 1 << 5;
}

/// Why a word, or a whole line, is not what a signature asks for. The kinds differ in what the search does next.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ArgError {
    /// A literal word differs: another command is meant.
    #[error("no match for {0}")]
    Prefix(String),
    /// A parameter is missing altogether.
    #[error("missing required parameter {0}")]
    Missing(String),
    /// The line is shorter than the signature.
    #[error("not enough arguments given")]
    TooFew,
    /// This is the command, but the value is wrong.
    #[error("{0}")]
    Value(String),
}

fn wrong<T>(text: impl Into<String>) -> Result<T, ArgError> {
    Err(ArgError::Value(text.into()))
}

/// Descriptions that are not what they should be.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SigError {
    /// Not JSON, or no object.
    #[error("the command descriptions are not a JSON object")]
    NotAnObject,
    /// A command without a signature.
    #[error("command description {0} has no 'sig'")]
    NoSig(String),
    /// A parameter without a type.
    #[error("a parameter of command description {0} has no type")]
    NoType(String),
}

/// Type of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A literal word of the command.
    Prefix(String),
    /// CephInt with none, one or two bounds.
    Int(Vec<i64>),
    /// CephFloat, likewise.
    Float(Vec<f64>),
    /// CephString with its class of good characters, empty for any printable one.
    Str(String),
    /// CephIPAddr.
    IpAddr,
    /// CephEntityAddr.
    EntityAddr,
    /// CephPoolname.
    PoolName,
    /// CephObjectname.
    ObjectName,
    /// CephPgid.
    Pgid,
    /// CephName.
    Name,
    /// CephOsdName.
    OsdName,
    /// CephChoices.
    Choices(Vec<String>),
    /// CephBool.
    Bool,
    /// CephFilepath.
    FilePath,
    /// CephFragment.
    Fragment,
    /// CephUUID.
    Uuid,
    /// A type that we do not know: any word will do, the service checks it.
    Other(String),
}

/// One parameter, or one literal word.
#[derive(Debug, Clone, PartialEq)]
pub struct Desc {
    /// Key in the command's JSON.
    pub name: String,
    /// Type.
    pub kind: Kind,
    /// Must be given.
    pub req: bool,
    /// How often; `None` for any number of times, but at least once.
    pub times: Option<usize>,
}

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its words and parameters.
    pub sig: Vec<Desc>,
    /// What it does.
    pub help: String,
    /// See [`flags`].
    pub flags: u64,
}

impl Command {
    /// The whole usage in one line, which is also what commands are sorted by.
    pub fn usage(&self) -> String {
        self.sig.iter().map(Desc::usage).collect::<Vec<_>>().join(" ")
    }
    /// True when one of these bits is set.
    pub fn has(&self, bits: u64) -> bool {
        self.flags & bits != 0
    }
}

/// All commands that the JSON describes and that are for the command line, in its order.
pub fn parse(json: &[u8]) -> Result<Vec<Command>, SigError> {
    let Ok(Value::Object(all)) = serde_json::from_slice(json) else { return Err(SigError::NotAnObject) };
    let mut entries: Vec<(String, Value)> = all.into_iter().collect();
    // cmd999 stands before cmd1000.
    entries.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
    let mut out = Vec::with_capacity(entries.len());
    for (tag, mut entry) in entries {
        if entry.get("avail").and_then(Value::as_str).is_some_and(|a| !a.contains("cli")) {
            continue;
        }
        let Some(Value::Array(words)) = entry.get_mut("sig").map(Value::take) else {
            return Err(SigError::NoSig(tag));
        };
        let sig: Option<Vec<Desc>> = words.into_iter().map(desc).collect();
        let Some(sig) = sig else { return Err(SigError::NoType(tag)) };
        let help = entry.get("help").and_then(Value::as_str).unwrap_or_default().to_owned();
        out.push(Command { sig, help, flags: entry.get("flags").and_then(Value::as_u64).unwrap_or(0) });
    }
    Ok(out)
}

fn text_of(v: Option<&Value>) -> String {
    match v {
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn desc(word: Value) -> Option<Desc> {
    let map = match word {
        Value::String(s) => return Some(literal(&s)),
        Value::Object(m) => m,
        _ => return None,
    };
    let kind = kind(map.get("type")?.as_str()?, |key| text_of(map.get(key)));
    let req = match map.get("req") {
        None => true,
        Some(Value::Bool(b)) => *b,
        Some(v) => matches!(v.as_str(), Some("true" | "True")),
    };
    let times = match map.get("n") {
        None => Some(1),
        Some(n) if matches!(n.as_str(), Some("N" | "n")) => None,
        Some(n) => Some(text_of(Some(n)).parse().ok()?),
    };
    Some(Desc { name: text_of(map.get("name")), kind, req, times })
}

/// A literal word.
pub fn literal(word: &str) -> Desc {
    Desc { name: "prefix".into(), kind: Kind::Prefix(word.into()), req: true, times: Some(1) }
}

fn kind(name: &str, arg: impl Fn(&str) -> String) -> Kind {
    let range =
        || -> Vec<String> { arg("range").split('|').filter(|s| !s.is_empty()).map(str::to_owned).collect() };
    match name {
        "CephInt" => Kind::Int(range().iter().filter_map(|s| values::int_in(s, 10)).collect()),
        "CephFloat" => Kind::Float(range().iter().filter_map(|s| values::float(s)).collect()),
        "CephString" => Kind::Str(arg("goodchars")),
        "CephIPAddr" => Kind::IpAddr,
        "CephEntityAddr" => Kind::EntityAddr,
        "CephPoolname" => Kind::PoolName,
        "CephObjectname" => Kind::ObjectName,
        "CephPgid" => Kind::Pgid,
        "CephName" => Kind::Name,
        "CephOsdName" => Kind::OsdName,
        "CephChoices" => Kind::Choices(arg("strings").split('|').map(str::to_owned).collect()),
        "CephBool" => Kind::Bool,
        "CephFilepath" => Kind::FilePath,
        "CephFragment" => Kind::Fragment,
        "CephUUID" => Kind::Uuid,
        other => Kind::Other(other.to_owned()),
    }
}

impl Desc {
    /// True for a literal word of the command.
    pub fn is_prefix(&self) -> bool {
        matches!(self.kind, Kind::Prefix(_))
    }

    /// In a usage line.
    pub fn usage(&self) -> String {
        let name = &self.name;
        let mut s = match &self.kind {
            Kind::Bool => format!("--{}", name.replace('_', "-")),
            Kind::Prefix(p) => p.clone(),
            Kind::Choices(c) if name == "format" => format!("--{name} {{{}}}", c.join("|")),
            Kind::Choices(c) => c.join("|"),
            Kind::OsdName => "<id|osd.id>".into(),
            Kind::Name => "<type.id>".into(),
            Kind::Int(_) => format!("<{name}:int>"),
            Kind::Float(_) => format!("<{name}:float>"),
            _ => format!("<{name}>"),
        };
        if self.times.is_none() {
            s.push_str("...");
        }
        if self.req { s } else { format!("[{s}]") }
    }

    /// In an error.
    pub fn described(&self) -> String {
        let kind = match &self.kind {
            Kind::Prefix(p) => p.clone(),
            Kind::Choices(c) => c.join("|"),
            Kind::Int(r) => format!("<int{}>", bounds(r, i64::to_string)),
            Kind::Float(r) => format!("<float{}>", bounds(r, |f| format!("{f:?}"))),
            Kind::Str(good) if good.is_empty() => "<string>".into(),
            Kind::Str(good) => format!("<string(goodchars {good})>"),
            Kind::IpAddr => "<IPaddr[:port]>".into(),
            Kind::EntityAddr => "<EntityAddr>".into(),
            Kind::PoolName => "<poolname>".into(),
            Kind::ObjectName => "<objectname>".into(),
            Kind::Pgid => "<pgid>".into(),
            Kind::Name => "<name (type.id)>".into(),
            Kind::OsdName => "<osdname (id|osd.id)>".into(),
            Kind::Bool => "<bool>".into(),
            Kind::FilePath => "<outfilename>".into(),
            Kind::Fragment => "<CephFS fragment ID (0xvvv/bbb)>".into(),
            Kind::Uuid => "<uuid>".into(),
            Kind::Other(t) => format!("<{t}>"),
        };
        let bare = self.is_prefix() || matches!(&self.kind, Kind::Choices(c) if c.len() == 1);
        let dots = if self.times.is_none() && !bare { "..." } else { "" };
        let s = if bare { kind } else { format!("{}({kind}){dots}", self.name) };
        if self.req { s } else { format!("[{s}]") }
    }

    /// The values that a word stands for: several when it may come often and has commas (a string keeps them, unless it was named).
    /// `partial`: the beginning of a literal word or choice will do.
    pub fn values(&self, word: &str, named: bool, partial: bool) -> Result<Vec<Value>, ArgError> {
        let by_comma = self.times.is_none() && (named || !matches!(self.kind, Kind::Str(_)));
        if by_comma {
            word.split(',').map(|part| self.kind.value(part, partial)).collect()
        } else {
            Ok(vec![self.kind.value(word, partial)?])
        }
    }
}

fn bounds<T>(range: &[T], show: impl Fn(&T) -> String) -> String {
    match range {
        [low] => format!("[{}-]", show(low)),
        [low, high] => format!("[{}-{}]", show(low), show(high)),
        _ => String::new(),
    }
}

fn within<T: PartialOrd>(v: T, range: &[T], show: impl Fn(&T) -> String) -> Result<T, ArgError> {
    let low = range.first().is_none_or(|low| v >= *low);
    let high = range.get(1).is_none_or(|high| v <= *high);
    if low && high {
        return Ok(v);
    }
    let all: Vec<String> = range.iter().map(&show).collect();
    wrong(format!("{} not in range [{}]", show(&v), all.join(", ")))
}

impl Kind {
    fn value(&self, s: &str, partial: bool) -> Result<Value, ArgError> {
        match self {
            Kind::Prefix(p) if s == p || partial && p.starts_with(s) => {}
            Kind::Prefix(_) => return Err(ArgError::Prefix(s.into())),
            Kind::Int(range) => {
                let Some(n) = values::int(s) else { return wrong(format!("{s} doesn't represent an int")) };
                return Ok(within(n, range, i64::to_string)?.into());
            }
            Kind::Float(range) => {
                let Some(f) = values::float(s) else {
                    return wrong(format!("{s} doesn't represent a float"));
                };
                return Ok(within(f, range, |f| format!("{f:?}"))?.into());
            }
            Kind::Str(good) => {
                let mut bad: Vec<char> = s.chars().filter(|c| !is_good(good, *c)).collect();
                bad.dedup();
                if !bad.is_empty() {
                    return wrong(format!("invalid chars {} in {s}", bad.into_iter().collect::<String>()));
                }
            }
            Kind::IpAddr => return Ok(ip_addr(s)?.into()),
            Kind::EntityAddr => entity_addr(s)?,
            Kind::Pgid => pgid(s)?,
            Kind::Name => {
                parse_name(s)?;
            }
            Kind::OsdName if s != "*" => return Ok(osd_name(s)?.into()),
            Kind::Choices(all) => {
                let found = all.iter().any(|c| if partial { c.starts_with(s) } else { c == s });
                if !found {
                    return wrong(format!("{s} not in {}", all.join("|")));
                }
            }
            Kind::Bool => {
                return match s.to_lowercase().as_str() {
                    "true" | "1" => Ok(true.into()),
                    "false" | "0" => Ok(false.into()),
                    _ => wrong(format!("{s} not one of 'true', 'false'")),
                };
            }
            Kind::FilePath => return Ok(file_path(s)?.into()),
            Kind::Fragment => fragment(s)?,
            Kind::Uuid => uuid(s)?,
            Kind::OsdName | Kind::PoolName | Kind::ObjectName | Kind::Other(_) => {}
        }
        Ok(s.into())
    }
}

/// Printable ASCII and white space; of these what the class (`[A-Za-z0-9-_.]`) has.
fn is_good(class: &str, c: char) -> bool {
    let printable = matches!(c, ' '..='~' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let Some(inner) = class.strip_prefix('[').and_then(|i| i.strip_suffix(']')) else { return printable };
    let (negated, inner) = match inner.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, inner),
    };
    let chars: Vec<char> = inner.chars().filter(|c| *c != '\\').collect();
    let (mut i, mut inside) = (0, false);
    while i < chars.len() {
        if i + 2 < chars.len() && chars[i + 1] == '-' {
            inside |= (chars[i]..=chars[i + 2]).contains(&c);
            i += 3;
        } else {
            inside |= chars[i] == c;
            i += 1;
        }
    }
    printable && inside != negated
}

fn ip_addr(s: &str) -> Result<String, ArgError> {
    let (v4, s) = if let Some(rest) = s.strip_prefix("v1:").or(s.strip_prefix("any:")) {
        (true, rest)
    } else if let Some(rest) = s.strip_prefix("v2:") {
        (false, rest)
    } else {
        (!s.starts_with('[') && s.contains('.'), s)
    };
    if v4 {
        let (addr, port) = s.split_once(':').map_or((s, None), |(a, p)| (a, Some(p)));
        if port.is_some_and(|p| values::int_in(p, 10).is_none_or(|p| p > 65535)) {
            return wrong(format!("{}: invalid IPv4 port", port.unwrap_or_default()));
        }
        return match addr.parse::<Ipv4Addr>() {
            Ok(_) => Ok(s.into()),
            Err(_) => wrong(format!("{addr}: invalid IPv4 address")),
        };
    }
    let addr = match s.strip_prefix('[') {
        None => s,
        Some(rest) => {
            let Some((addr, port)) = rest.split_once(']') else {
                return wrong(format!("{s} missing terminating ]"));
            };
            if let Some(p) = port.strip_prefix(':') {
                match values::int_in(p, 10) {
                    None => return wrong(format!("{s}: bad port number")),
                    Some(n) if n > 65535 => return wrong(format!("{p} not a valid port number")),
                    Some(_) => {}
                }
            }
            addr
        }
    };
    match addr.parse::<Ipv6Addr>() {
        Ok(_) => Ok(s.into()),
        Err(_) => wrong(format!("{s} not valid IPv6 address")),
    }
}

fn entity_addr(s: &str) -> Result<(), ArgError> {
    let Some((ip, nonce)) = s.split_once('/') else { return ip_addr(s).map(drop) };
    let (ip, nonce) = match nonce.strip_suffix(']') {
        Some(n) => (format!("{ip}]"), n),
        None => (ip.to_owned(), nonce),
    };
    ip_addr(&ip)?;
    if !nonce.is_empty() && values::int_in(nonce, 10).is_none_or(|n| n < 0) {
        return wrong(format!("{s}: invalid entity, nonce {nonce} not integer > 0"));
    }
    Ok(())
}

fn pgid(s: &str) -> Result<(), ArgError> {
    let Some((pool, seed)) = s.split_once('.') else { return wrong("pgid has no .") };
    match values::int_in(pool, 10) {
        None => return wrong(format!("pool {pool} not integer")),
        Some(n) if n < 0 => return wrong(format!("pool {n} < 0")),
        Some(_) => {}
    }
    if values::int_in(seed, 16).is_none() {
        return wrong(format!("pgnum {seed} not hex integer"));
    }
    Ok(())
}

/// `type.id` as its halves; `mon` and `mgr` stand alone, `*` for nobody in particular.
pub fn parse_name(s: &str) -> Result<(Option<&str>, Option<&str>), ArgError> {
    if s == "*" {
        return Ok((None, None));
    }
    if s == "mgr" || s == "mon" {
        return Ok((Some(s), None));
    }
    let Some((kind, id)) = s.split_once('.') else { return wrong(format!("CephName: no . in {s}")) };
    if !["osd", "mon", "client", "mds", "mgr"].contains(&kind) {
        return wrong(format!("unknown type {kind}"));
    }
    if kind == "osd" && id != "*" && values::int_in(id, 10).is_none() {
        return wrong(format!("osd id {id} not integer"));
    }
    Ok((Some(kind), Some(id)))
}

fn osd_name(s: &str) -> Result<i64, ArgError> {
    let id = match s.split_once('.') {
        Some(("osd", id)) => id,
        Some((kind, _)) => return wrong(format!("unknown type {kind}")),
        None => s,
    };
    match values::int_in(id, 10) {
        None => wrong(format!("osd id {id} not integer")),
        Some(n) if n < 0 => wrong(format!("osd id {n} is less than 0")),
        Some(n) => Ok(n),
    }
}

fn uuid(s: &str) -> Result<(), ArgError> {
    let hex: String = s.replace("urn:", "").replace("uuid:", "");
    let hex: String = hex.trim_matches(['{', '}']).replace('-', "");
    if hex.chars().count() != 32 {
        return wrong(format!("invalid UUID {s}: badly formed hexadecimal UUID string"));
    }
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let what = values::quoted(&hex);
        return wrong(format!("invalid UUID {s}: invalid literal for int() with base 16: {what}"));
    }
    Ok(())
}

/// `0xvalue/bits`. Stock's own check reads the value as decimal and so refuses them all.
fn fragment(s: &str) -> Result<(), ArgError> {
    let Some((value, bits)) = s.split_once('/') else { return wrong(format!("{s}: no /")) };
    if !value.starts_with("0x") {
        return wrong(format!("{value} not a hex integer"));
    }
    for (text, radix) in [(value, 16), (bits, 10)] {
        if values::int_in(text, radix).is_none() {
            return wrong(format!("can't convert {text} to integer"));
        }
    }
    Ok(())
}

/// The absolute path of a file that can be read, written or made.
fn file_path(s: &str) -> Result<String, ArgError> {
    use rustix::fs::{Access, access};
    let full = std::path::absolute(s).map_err(|e| ArgError::Value(format!("{s}: {e}")))?;
    let shown = full.display();
    let may = |p: &Path, how| access(p, how).is_ok();
    if !may(&full, Access::READ_OK) {
        if full.exists() {
            if !full.is_file() {
                return wrong(format!("{shown} is not file"));
            }
            if !may(&full, Access::WRITE_OK) {
                return wrong(format!("{shown} is not writable"));
            }
        } else if !full.parent().is_some_and(|p| may(p, Access::WRITE_OK)) {
            return wrong(format!("cannot create file in {}", full.parent().unwrap_or(&full).display()));
        }
    }
    Ok(shown.to_string())
}
