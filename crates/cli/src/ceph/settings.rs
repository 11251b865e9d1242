//! The client's configuration: ceph.conf, environment, and the options that stand among the words of the command (`-m`, `-k`, `--debug-ms 1`).

use super::options::Globals;
use anyhow::{Context, anyhow};
use cephx::{AuthName, CryptoKey};
use runtime::conf::ConfFile;
use runtime::config::SetError;
use runtime::options::Kind;
use runtime::{Config, Identity, Source};
use std::path::PathBuf;

/// Who logs in, and by which configuration.
pub struct Settings {
    /// The user.
    pub name: AuthName,
    /// The configuration.
    pub config: Config,
}

/// Short options of every Ceph program, beside `-c`, `-i`, `-n`, which `ceph` reads otherwise.
const SHORT: &[(&str, &str)] = &[("-m", "mon_host"), ("-k", "keyring"), ("-K", "keyfile")];

/// True for an option that is a switch, false for one with a value; `None` for none of ours or stock's.
fn is_switch(name: &str) -> Option<bool> {
    let stock = || types::options::find(&types::options::normalize(name)).map(|o| o.kind == "bool");
    Config::kind_of(name).map(|k| k == Kind::Bool).or_else(stock)
}

/// Takes the options of ceph.conf out of the words, up to a `--`. What is not known stays: it may be the command's.
pub fn take_options(words: Vec<String>) -> (Vec<(String, String)>, Vec<String>) {
    let (mut options, mut rest) = (Vec::new(), Vec::new());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word);
            rest.extend(words);
            break;
        }
        let (name, glued) = match (word.strip_prefix("--"), SHORT.iter().find(|(s, _)| word.starts_with(s))) {
            (Some(long), _) => match long.split_once('=') {
                Some((n, v)) => (n.to_owned(), Some(v.to_owned())),
                None => (long.to_owned(), None),
            },
            (None, Some((short, name))) => {
                let v =
                    Some(word[short.len()..].trim_start_matches('=').to_owned()).filter(|v| !v.is_empty());
                ((*name).to_owned(), v)
            }
            (None, None) => {
                rest.push(word);
                continue;
            }
        };
        let no = name.strip_prefix("no-").or(name.strip_prefix("no_")).filter(|n| is_switch(n) == Some(true));
        match (is_switch(&name), no) {
            (Some(true), _) => {
                // A switch may have its value behind it.
                let next = words.next_if(|v| glued.is_none() && runtime::options::parse_bool(v).is_some());
                options.push((name, glued.or(next).unwrap_or_else(|| "true".into())));
            }
            (Some(false), _) => match glued.or_else(|| words.next()) {
                Some(v) => options.push((name, v)),
                None => rest.push(word),
            },
            (None, Some(positive)) if glued.is_none() => options.push((positive.to_owned(), "false".into())),
            (None, _) => rest.push(word),
        }
    }
    (options, rest)
}

impl Settings {
    /// Reads the configuration. An error is for the user, with stock's exit code 1.
    pub fn read(globals: &Globals, options: &[(String, String)]) -> anyhow::Result<Settings> {
        let full = match (&globals.name, &globals.id) {
            (Some(name), _) => name.clone(),
            (None, Some(id)) => format!("client.{id}"),
            (None, None) => "client.admin".into(),
        };
        let name = AuthName::parse(&full).with_context(|| format!("{full:?} is no user's name"))?;
        let mut config = Config::new(identity(globals, &full));
        load(globals, &mut config)?;
        if let Ok(path) = std::env::var("CEPH_KEYRING") {
            config.set(Source::Env, "keyring", &path)?;
        }
        for (k, v) in options {
            match config.set(Source::CmdLine, k, v) {
                // One of stock's that means nothing here.
                Err(SetError::Unknown(_)) => {}
                set => set?,
            }
        }
        Ok(Settings { name, config })
    }

    /// The user's key; `None` where only "no authentication" is wanted.
    pub fn key(&self) -> anyhow::Result<Option<CryptoKey>> {
        let wanted = self.config.str("auth_client_required");
        if wanted.split([',', ' ', ';']).filter(|m| !m.is_empty()).all(|m| m == "none") {
            return Ok(None);
        }
        let (text, from) = match (self.config.str("key"), self.config.str("keyfile")) {
            (key, _) if !key.is_empty() => (key, "key".to_owned()),
            (_, file) if !file.is_empty() => (
                std::fs::read_to_string(&file).with_context(|| format!("keyfile {file}"))?,
                format!("keyfile {file}"),
            ),
            _ => return Ok(Some(monc::conf::load_key(&self.config, &self.name)?)),
        };
        CryptoKey::from_base64(text.trim()).map(Some).map_err(|e| anyhow!("{from}: {e}"))
    }
}

fn identity(globals: &Globals, full: &str) -> Identity {
    let (kind, id) = full.split_once('.').unwrap_or((full, ""));
    let mut identity = Identity::new(kind, id);
    if let Some(cluster) = &globals.cluster {
        identity.cluster.clone_from(cluster);
    }
    identity
}

/// Reads the first file there is of those that are named, or of the usual ones.
fn load(globals: &Globals, config: &mut Config) -> anyhow::Result<()> {
    let named = globals.conf.clone().or_else(|| std::env::var("CEPH_CONF").ok().filter(|c| !c.is_empty()));
    let usual = "/etc/ceph/$cluster.conf,$home/.ceph/$cluster.conf,$cluster.conf";
    let paths = named.as_deref().unwrap_or(usual);
    let all: Vec<PathBuf> = paths.split([',', ' ']).map(|p| PathBuf::from(config.expand(p.trim()))).collect();
    let path = all.iter().find(|p| p.exists()).ok_or_else(|| anyhow!("no configuration file: {paths}"))?;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file = ConfFile::parse(&text).with_context(|| path.display().to_string())?;
    for bad in config.load_file(&file) {
        crate::say::aside(&format!("{}: {bad}", path.display()));
    }
    Ok(())
}

/// Path of a daemon's admin socket, by its name and the configuration file.
pub fn admin_socket_of(globals: &Globals, daemon: &str) -> anyhow::Result<String> {
    let (_, id) = daemon.split_once('.').ok_or_else(|| anyhow!("{daemon:?} is no daemon's name"))?;
    anyhow::ensure!(!id.is_empty(), "{daemon:?} is no daemon's name");
    let mut config = Config::new(identity(globals, daemon));
    load(globals, &mut config)?;
    Ok(config.get("admin_socket").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> (Vec<String>, String) {
        let (options, rest) = take_options(line.split(' ').map(str::to_owned).collect());
        (options.into_iter().map(|(k, v)| format!("{k}={v}")).collect(), rest.join(" "))
    }

    #[test]
    fn options_of_the_configuration_are_taken_and_others_left_to_the_command() {
        let (options, rest) = taken(
            "-m 1.2.3.4 osd pool create x --pg-num 8 --keyring=/k -k/k2 --debug-ms 1 --log-to-stderr -- -m x",
        );
        assert_eq!(
            options,
            ["mon_host=1.2.3.4", "keyring=/k", "keyring=/k2", "debug-ms=1", "log-to-stderr=true"]
        );
        assert_eq!(rest, "osd pool create x --pg-num 8 -- -m x");
        let (options, rest) = taken(
            "--no-log-to-stderr --err-to-stderr false --rbd-cache=false --client-reconnect-stale osd crush reweight osd.0 -1 --yes-i-really-mean-it --mon-host",
        );
        assert_eq!(
            options,
            ["log-to-stderr=false", "err-to-stderr=false", "rbd-cache=false", "client-reconnect-stale=true"]
        );
        assert_eq!(rest, "osd crush reweight osd.0 -1 --yes-i-really-mean-it --mon-host");
    }
}
