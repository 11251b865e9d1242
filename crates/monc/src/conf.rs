//! What a process takes from its configuration to reach the monitors: their addresses (`mon_host`), its key.

use cephx::{AuthName, CryptoKey, Keyring};
use runtime::Config;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use thiserror::Error;
use types::{AddrType, AddrVec, EntityAddr};

/// Why the monitors cannot be reached by this configuration.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConfError {
    /// `mon_host` is empty.
    #[error("no monitors: mon_host is not set")]
    NoMonHost,
    /// A part of `mon_host` is no address.
    #[error("mon_host: {0:?} is no address")]
    BadMonHost(String),
    /// No keyring file of the configured ones exists.
    #[error("no keyring found at {0}")]
    NoKeyring(String),
    /// A keyring cannot be read.
    #[error("keyring {path}: {why}")]
    BadKeyring {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The keyring has no key for the entity.
    #[error("keyring {path} has no key for {name}")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The entity.
        name: String,
    },
}

/// CEPH_MON_PORT_IANA.
const PORT_V2: u16 = 3300;
/// CEPH_MON_PORT_LEGACY.
const PORT_V1: u16 = 6789;

/// Splits at commas that are not inside brackets.
fn split_list(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0i32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' | ';' | ' ' if depth <= 0 => {
                parts.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.into_iter().map(str::trim).filter(|p| !p.is_empty()).collect()
}

/// One address with an optional protocol: all that it can stand for.
fn parse_addr(text: &str) -> Option<Vec<EntityAddr>> {
    let (kind, rest) = match text.split_once(':') {
        Some(("v1", rest)) => (Some(AddrType::Legacy), rest),
        Some(("v2", rest)) => (Some(AddrType::Msgr2), rest),
        _ => (None, text),
    };
    // A nonce may follow.
    let rest = rest.split('/').next().unwrap_or(rest);
    let (sock, has_port) = if let Ok(s) = rest.parse::<SocketAddr>() {
        (s, true)
    } else if let Ok(ip) = rest.trim_matches(['[', ']']).parse::<IpAddr>() {
        (SocketAddr::new(ip, 0), false)
    } else if let Some(s) = rest.to_socket_addrs().ok().and_then(|mut a| a.next()) {
        (s, true)
    } else {
        (format!("{rest}:0").to_socket_addrs().ok()?.next()?, false)
    };
    let at = |kind, port| EntityAddr::new(kind, SocketAddr::new(sock.ip(), port), 0);
    Some(match (kind, has_port) {
        (Some(k), true) => vec![at(k, sock.port())],
        (Some(AddrType::Legacy), false) => vec![at(AddrType::Legacy, PORT_V1)],
        (Some(_), false) => vec![at(AddrType::Msgr2, PORT_V2)],
        (None, false) => vec![at(AddrType::Msgr2, PORT_V2), at(AddrType::Legacy, PORT_V1)],
        (None, true) => match sock.port() {
            PORT_V1 => vec![at(AddrType::Legacy, PORT_V1)],
            port => vec![at(AddrType::Msgr2, port)],
        },
    })
}

/// Reads `mon_host` in any of stock's forms: `ip`, `ip:port`, `v1:ip:port`, `[v2:ip:port,v1:ip:port]`, lists of these.
pub fn parse_mon_host(text: &str) -> Result<Vec<AddrVec>, ConfError> {
    let mut mons = Vec::new();
    for part in split_list(text) {
        let bad = || ConfError::BadMonHost(part.to_owned());
        let inner = part.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
        let addrs = match inner {
            Some(list) if list.contains("v1:") || list.contains("v2:") => {
                let mut all = Vec::new();
                for one in split_list(list) {
                    all.extend(parse_addr(one).ok_or_else(bad)?);
                }
                all
            }
            _ => parse_addr(part).ok_or_else(bad)?,
        };
        mons.push(AddrVec(addrs));
    }
    if mons.is_empty() { Err(ConfError::NoMonHost) } else { Ok(mons) }
}

/// The monitors' addresses by the configuration.
pub fn monitors(config: &Config) -> Result<Vec<AddrVec>, ConfError> {
    parse_mon_host(&config.str("mon_host"))
}

/// The entity's key from the first keyring that exists.
pub fn load_key(config: &Config, name: &AuthName) -> Result<CryptoKey, ConfError> {
    let list = config.str("keyring");
    let path = list.split([',', ';']).map(|p| PathBuf::from(p.trim())).find(|p| p.exists());
    let path = path.ok_or_else(|| ConfError::NoKeyring(list.clone()))?;
    let bad = |why: String| ConfError::BadKeyring { path: path.clone(), why };
    let text = std::fs::read_to_string(&path).map_err(|e| bad(e.to_string()))?;
    let ring = Keyring::parse(&text).map_err(|e| bad(e.to_string()))?;
    match ring.get(name) {
        Some(e) => Ok(e.key.clone()),
        None => Err(ConfError::NoKey { path: path.clone(), name: name.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_mon_host_is_read() {
        let show = |t: &str| parse_mon_host(t).map(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(show("10.0.0.1").unwrap(), ["[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]"]);
        assert_eq!(show("10.0.0.1:6789").unwrap(), ["v1:10.0.0.1:6789/0"]);
        assert_eq!(
            show("[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0],v2:10.0.0.2:4000").unwrap(),
            ["[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]", "v2:10.0.0.2:4000/0"]
        );
        assert_eq!(show("1.2.3.4,1.2.3.5").unwrap().len(), 2);
        assert!(show("").is_err());
        assert!(show("not an address!").is_err());
    }
}
