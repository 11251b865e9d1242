//! Keyring files: `[client.admin]`, `key = ...`, `caps mon = "..."` (`src/auth/KeyRing.cc` of stock).
//!
//! What `ceph-authtool` writes parses here, and the other way round.

use crate::crypto::{CryptoKey, KeyType};
use crate::env::Env;
use crate::keyserver::EntityAuth;
use crate::proto::{AuthCapsInfo, AuthName};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// Text that is no keyring. Names the line only: the line may hold a key.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("keyring line {line}: {what}")]
pub struct KeyringError {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Principals with keys and caps, as a file holds them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Keyring {
    /// By name, in stock's order (type, then id).
    pub entries: BTreeMap<AuthName, EntityAuth>,
}

impl Keyring {
    /// One new principal with a fresh key.
    pub fn generate(name: AuthName, kind: KeyType, caps: &[(&str, &str)], env: &dyn Env) -> Keyring {
        let auth = EntityAuth::new(CryptoKey::generate(kind, env), caps);
        Keyring { entries: BTreeMap::from([(name, auth)]) }
    }

    /// A principal.
    pub fn get(&self, name: &AuthName) -> Option<&EntityAuth> {
        self.entries.get(name)
    }

    /// From text.
    pub fn parse(text: &str) -> Result<Keyring, KeyringError> {
        let mut ring = Keyring::default();
        let mut current: Option<AuthName> = None;
        for (i, raw) in text.lines().enumerate() {
            let err = |what| KeyringError { line: i + 1, what };
            let line = raw.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let (name, behind) = rest.split_once(']').ok_or(err("section without end"))?;
                let behind = behind.trim();
                if !(behind.is_empty() || behind.starts_with('#') || behind.starts_with(';')) {
                    return Err(err("text behind the section"));
                }
                let name = AuthName::parse(name.trim()).ok_or(err("section is no entity name"))?;
                ring.entries.entry(name.clone()).or_default();
                current = Some(name);
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(err("neither section nor assignment"))?;
            let name = current.as_ref().ok_or(err("assignment outside of a section"))?;
            let auth = ring.entries.entry(name.clone()).or_default();
            let value = unquote(value.trim()).ok_or(err("unbalanced quotes"))?;
            let key: Vec<&str> =
                key.split(|c: char| c.is_whitespace() || c == '_').filter(|w| !w.is_empty()).collect();
            let crypto = || CryptoKey::from_base64(&value).map_err(|_| err("malformed key"));
            match key.as_slice() {
                ["key"] => auth.key = crypto()?,
                ["pending", "key"] => auth.pending_key = crypto()?,
                ["caps", service] => {
                    auth.caps.insert((*service).to_owned(), AuthCapsInfo::from_text(&value).caps);
                }
                ["auid"] => {}
                _ => return Err(err("unknown field")),
            }
        }
        Ok(ring)
    }
}

/// Takes off quotes and a trailing comment.
fn unquote(value: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = value.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => out.push(chars.next()?),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            (None, '#' | ';') => break,
            (_, c) => out.push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    Some(if value.starts_with(['"', '\'']) { out } else { out.trim_end().to_owned() })
}

impl fmt::Display for Keyring {
    /// The file's text. The one place where keys are printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, auth) in &self.entries {
            writeln!(f, "[{name}]")?;
            writeln!(f, "\tkey = {}", auth.key.to_base64())?;
            if !auth.pending_key.is_empty() {
                writeln!(f, "\tpending key = {}", auth.pending_key.to_base64())?;
            }
            for service in auth.caps.keys() {
                let caps = auth.caps_text(service).unwrap_or_default();
                writeln!(f, "\tcaps {service} = \"{}\"", caps.replace('\\', "\\\\").replace('"', "\\\""))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::testing::TestEnv;

    #[test]
    fn reads_what_authtool_writes_and_writes_it_back() {
        let text = "[client.admin]\n\tkey = AQDFNHRgiR3ENRAAxoYCw8frWxZlyZysFK4PSg==\n\
                    \tcaps mds = \"allow *\"\n\tcaps mon = \"allow command \\\"x y\\\"\"\n";
        let ring = Keyring::parse(text).unwrap();
        let auth = ring.get(&AuthName::parse("client.admin").unwrap()).unwrap();
        assert_eq!(auth.caps_text("mon").unwrap(), "allow command \"x y\"");
        assert_eq!(ring.to_string(), text);
    }

    #[test]
    fn comments_spaces_underscores_and_several_sections_are_understood() {
        let text = "# c\n[ mon. ]\n key=AQDFNHRgiR3ENRAAxoYCw8frWxZlyZysFK4PSg== ; c\n caps_mon = allow *\n[osd.3]\n";
        let ring = Keyring::parse(text).unwrap();
        assert_eq!(ring.entries.len(), 2);
        assert_eq!(ring.get(&AuthName::parse("mon.").unwrap()).unwrap().caps_text("mon").unwrap(), "allow *");
    }

    #[test]
    fn nonsense_is_refused_without_showing_it() {
        for (text, line) in [
            ("key = x", 1),
            ("[client.a]\nkey = secret!", 2),
            ("[nobody]", 1),
            ("[client.a]\nxyz", 2),
            ("[a", 1),
        ] {
            let e = Keyring::parse(text).unwrap_err();
            assert_eq!(e.line, line);
            assert!(!e.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_generated_keyring_round_trips() {
        let env = TestEnv::new(3);
        for kind in [KeyType::Aes, KeyType::Aes256k] {
            let name = AuthName::parse("client.x").unwrap();
            let ring = Keyring::generate(name, kind, &[("osd", "allow rwx pool=a")], &env);
            assert_eq!(Keyring::parse(&ring.to_string()).unwrap(), ring);
        }
    }
}
