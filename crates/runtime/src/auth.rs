//! From configuration to cephx: the process's own key, the methods and modes of listeners and of connections.

use crate::config::Config;
use cephx::{AuthConfig, AuthName, CryptoKey, EntityAuth, Keyring};
use msgr::auth::{METHOD_CEPHX, METHOD_NONE, MODE_CRC, MODE_SECURE};
use std::path::PathBuf;
use thiserror::Error;
use types::EntityType;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// None of the files exists.
    #[error("unable to find a keyring on {0}")]
    NoFile(String),
    /// A file cannot be read or understood.
    #[error("keyring {path}: {what}")]
    Bad {
        /// File.
        path: String,
        /// What is wrong; never the content.
        what: String,
    },
    /// The file has no entry for this name.
    #[error("no key for {name} in {path}")]
    NoEntry {
        /// Name.
        name: String,
        /// File.
        path: String,
    },
}

/// The first existing file of the `keyring` option, with its name.
pub fn load_keyring(config: &Config) -> Result<(Keyring, PathBuf), KeyError> {
    let list = config.str("keyring");
    let path = list.split([',', ';']).map(|p| PathBuf::from(p.trim())).find(|p| p.exists());
    let path = path.ok_or(KeyError::NoFile(list))?;
    let bad = |what: String| KeyError::Bad { path: path.display().to_string(), what };
    let text = std::fs::read_to_string(&path).map_err(|e| bad(e.to_string()))?;
    Ok((Keyring::parse(&text).map_err(|e| bad(e.to_string()))?, path))
}

/// The process's own entry, from `key`, `keyfile` or a keyring. Monitors share the entry `mon.`.
pub fn load_own_key(config: &Config) -> Result<(AuthName, EntityAuth), KeyError> {
    let i = config.identity();
    let kind = EntityType::parse(&i.kind).unwrap_or(EntityType::CLIENT);
    let name = AuthName::new(kind, if kind == EntityType::MON { "" } else { i.id.as_str() });
    let from_text = |text: &str, path: &str| {
        let key = CryptoKey::from_base64(text)
            .map_err(|_| KeyError::Bad { path: path.into(), what: "malformed key".into() })?;
        Ok(EntityAuth { key, ..EntityAuth::default() })
    };
    let (key, file) = (config.str("key"), config.str("keyfile"));
    if !key.is_empty() {
        return Ok((name, from_text(&key, "option key")?));
    }
    if !file.is_empty() {
        let text = std::fs::read_to_string(&file)
            .map_err(|e| KeyError::Bad { path: file.clone(), what: e.to_string() })?;
        return Ok((name, from_text(&text, &file)?));
    }
    let (ring, path) = load_keyring(config)?;
    match ring.get(&name) {
        Some(e) => Ok((name, e.clone())),
        None => Err(KeyError::NoEntry { name: name.to_string(), path: path.display().to_string() }),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', ';', '\t']).filter(|w| !w.is_empty())
}

/// METHOD_* of an option like `cephx, none`.
pub fn methods(text: &str) -> Vec<u32> {
    words(text)
        .filter_map(|w| match w {
            "cephx" => Some(METHOD_CEPHX),
            "none" => Some(METHOD_NONE),
            _ => None,
        })
        .collect()
}

/// MODE_* of an option like `secure crc`, in its order.
pub fn modes(text: &str) -> Vec<u32> {
    words(text)
        .filter_map(|w| match w {
            "crc" => Some(MODE_CRC),
            "secure" => Some(MODE_SECURE),
            _ => None,
        })
        .collect()
}

fn supported(config: &Config, option: &str) -> Vec<u32> {
    // The old option stands for all three where it is set.
    let old = config.str("auth_supported");
    methods(&if old.is_empty() { config.str(option) } else { old })
}

/// Policy of a listener of this daemon.
pub fn auth_config(config: &Config) -> AuthConfig {
    let mon = config.identity().kind == "mon";
    AuthConfig {
        cluster_methods: supported(config, "auth_cluster_required"),
        client_methods: supported(config, "auth_service_required"),
        modes: modes(&config.str(if mon { "ms_mon_service_mode" } else { "ms_service_mode" })),
        mon_ticket_ttl: config.secs("auth_mon_ticket_ttl"),
        service_ticket_ttl: config.secs("auth_service_ticket_ttl"),
        ..AuthConfig::default()
    }
}

/// Modes to offer when connecting to `peer`, in order.
pub fn connect_modes(config: &Config, peer: EntityType) -> Vec<u32> {
    let kind = config.identity().kind.as_str();
    let daemon = matches!(kind, "mon" | "osd" | "mds" | "mgr");
    let option = match peer {
        EntityType::MON | EntityType::MGR if kind == "mon" => "ms_mon_cluster_mode",
        EntityType::MON | EntityType::MGR => "ms_mon_client_mode",
        _ if daemon => "ms_cluster_mode",
        _ => "ms_client_mode",
    };
    modes(&config.str(option))
}

/// True when this process logs in with cephx (and not with `none`).
pub fn uses_cephx(config: &Config) -> bool {
    let daemon = config.identity().kind != "client";
    let option = if daemon { "auth_cluster_required" } else { "auth_client_required" };
    supported(config, option).contains(&METHOD_CEPHX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Identity, Source};

    #[test]
    fn stocks_defaults_become_methods_and_modes() {
        let c = Config::new(Identity::new("mon", "a"));
        assert_eq!(auth_config(&c).modes, [MODE_SECURE, MODE_CRC]);
        assert_eq!(auth_config(&c).client_methods, [METHOD_CEPHX]);
        let mut c = Config::new(Identity::new("osd", "1"));
        assert_eq!(auth_config(&c).modes, [MODE_CRC, MODE_SECURE]);
        assert_eq!(connect_modes(&c, EntityType::MON), [MODE_SECURE, MODE_CRC]);
        assert_eq!(connect_modes(&c, EntityType::OSD), [MODE_CRC, MODE_SECURE]);
        assert!(uses_cephx(&c));
        c.set(Source::CmdLine, "auth_supported", "none").unwrap();
        assert!(!uses_cephx(&c));
        assert_eq!(auth_config(&c).cluster_methods, [METHOD_NONE]);
    }

    #[test]
    fn the_own_key_comes_from_the_first_keyring_that_exists() {
        let dir = std::env::temp_dir().join(format!("loligo-key-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("ring");
        let text = "[osd.1]\n\tkey = AQDFNHRgiR3ENRAAxoYCw8frWxZlyZysFK4PSg==\n";
        std::fs::write(&path, text).unwrap();
        let mut c = Config::new(Identity::new("osd", "1"));
        c.set(Source::CmdLine, "keyring", &format!("/none,{}", path.display())).unwrap();
        assert_eq!(load_own_key(&c).unwrap().0.to_string(), "osd.1");
        let mut d = Config::new(Identity::new("osd", "2"));
        d.set(Source::CmdLine, "keyring", &path.display().to_string()).unwrap();
        assert!(matches!(load_own_key(&d), Err(KeyError::NoEntry { .. })));
        d.set(Source::CmdLine, "keyring", "/none").unwrap();
        assert!(matches!(load_own_key(&d), Err(KeyError::NoFile(_))));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
