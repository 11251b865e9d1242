//! Flags of the daemons, as `ceph-mon` and `ceph-osd` take them, and of `CEPH_ARGS`.
//!
//! A flag is one of the few with a meaning of its own below, or any option: `--osd-heartbeat-grace 20`, `--osd_heartbeat_grace=20`,
//! `--log-to-stderr` (switches need no value), `--no-log-to-stderr`.

use crate::conf::{ConfFile, normalize_key};
use crate::config::{Config, Identity, SetError, Source};
use crate::options::Kind;
use std::collections::BTreeMap;
use std::path::PathBuf;
use thiserror::Error;

/// Flags without a value.
const SWITCHES: &[&str] = &[
    "mkfs",
    "mkkey",
    "mkjournal",
    "check_wants_journal",
    "check_allows_journal",
    "check_needs_journal",
    "get_device_fsid",
    "get_osd_fsid",
    "get_cluster_fsid",
    "get_journal_fsid",
    "flush_journal",
    "force_sync",
    "compact",
    "yes_i_really_mean_it",
    "no_mon_config",
    "show_config",
    "help",
    "version",
];
/// Flags with a value that are no options.
const VALUES: &[&str] =
    &["monmap", "osdmap", "inject_monmap", "extract_monmap", "convert_filestore", "set_val", "get_val"];
/// Flags with a value that are options under another name.
const ALIASES: &[(&str, &str)] = &[("bind", "public_addr"), ("mon", "mon_host")];

/// What cannot be understood.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FlagError {
    /// A flag that needs a value has none.
    #[error("option {0} requires an argument")]
    NoValue(String),
    /// Neither flag nor option.
    #[error("unrecognized command-line argument: {0}")]
    Unknown(String),
    /// The value is none for it.
    #[error(transparent)]
    Set(#[from] SetError),
    /// No `-i`.
    #[error("must specify id (-i <id>)")]
    NoId,
    /// The configuration cannot be read.
    #[error("cannot read {path}: {what}")]
    Conf {
        /// File.
        path: String,
        /// Why.
        what: String,
    },
}

/// Flags, parsed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DaemonArgs {
    /// `-i`, `--id`, or the second half of `-n`.
    pub id: Option<String>,
    /// First half of `-n`.
    pub kind: Option<String>,
    /// `-c`, `--conf`.
    pub conf: Option<String>,
    /// `--cluster`.
    pub cluster: Option<String>,
    /// `-f`: stay in the foreground. Also set by `-d`.
    pub foreground: bool,
    /// `-d`: in the foreground, logging to stderr.
    pub stderr: bool,
    /// Switches given, with underscores.
    pub switches: Vec<String>,
    /// Values of flags that are no options.
    pub values: BTreeMap<String, String>,
    /// Options, in order.
    pub options: Vec<(String, String)>,
    /// What is not a flag.
    pub rest: Vec<String>,
}

impl DaemonArgs {
    /// From the arguments behind the program's name.
    pub fn parse<I: IntoIterator<Item = String>>(args: I) -> Result<DaemonArgs, FlagError> {
        let mut out = DaemonArgs::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                out.rest.extend(args);
                break;
            }
            let Some(flag) = arg.strip_prefix('-').filter(|f| !f.is_empty()) else {
                out.rest.push(arg);
                continue;
            };
            match flag.strip_prefix('-') {
                Some(long) => out.long(&arg, long, &mut args)?,
                None => out.short(&arg, flag, &mut args)?,
            }
        }
        Ok(out)
    }

    fn short(
        &mut self,
        arg: &str,
        flag: &str,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        let (c, glued) = flag.split_at(flag.chars().next().map_or(0, char::len_utf8));
        match (c, glued) {
            ("f", "") => self.foreground = true,
            ("d", "") => {
                self.foreground = true;
                self.stderr = true;
            }
            ("v", "") => self.switches.push("version".into()),
            ("h", "") => self.switches.push("help".into()),
            ("i" | "n" | "c" | "m" | "k", _) => {
                let value = match glued {
                    "" => args.next().ok_or(FlagError::NoValue(arg.into()))?,
                    v => v.strip_prefix('=').unwrap_or(v).to_owned(),
                };
                match c {
                    "i" => self.id = Some(value),
                    "n" => self.name(&value)?,
                    "c" => self.conf = Some(value),
                    "m" => self.options.push(("mon_host".into(), value)),
                    _ => self.options.push(("keyring".into(), value)),
                }
            }
            _ => return Err(FlagError::Unknown(arg.into())),
        }
        Ok(())
    }

    fn name(&mut self, value: &str) -> Result<(), FlagError> {
        let (kind, id) = value.split_once('.').ok_or(FlagError::Unknown(format!("-n {value}")))?;
        self.kind = Some(kind.into());
        self.id = Some(id.into());
        Ok(())
    }

    fn long(
        &mut self,
        arg: &str,
        long: &str,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        let (name, glued) = match long.split_once('=') {
            Some((n, v)) => (n, Some(v.to_owned())),
            None => (long, None),
        };
        let name = normalize_key(name);
        if SWITCHES.contains(&name.as_str()) && glued.is_none() {
            self.switches.push(name);
            return Ok(());
        }
        if name == "foreground" && glued.is_none() {
            self.foreground = true;
            return Ok(());
        }
        let mut value = |glued: Option<String>| match glued {
            Some(v) => Ok(v),
            None => args.next().ok_or(FlagError::NoValue(arg.into())),
        };
        match name.as_str() {
            "id" | "user" => self.id = Some(value(glued)?),
            "name" => {
                let v = value(glued)?;
                self.name(&v)?;
            }
            "conf" => self.conf = Some(value(glued)?),
            "cluster" => self.cluster = Some(value(glued)?),
            n if VALUES.contains(&n) => {
                let v = value(glued)?;
                self.values.insert(name, v);
            }
            n => {
                let name =
                    ALIASES.iter().find(|(a, _)| *a == n).map_or(name.clone(), |(_, o)| (*o).to_owned());
                match Config::kind_of(&name) {
                    Some(Kind::Bool) => {
                        let v = glued.unwrap_or_else(|| "true".into());
                        self.options.push((name, v));
                    }
                    Some(_) => {
                        let v = value(glued)?;
                        self.options.push((name, v));
                    }
                    None => {
                        let positive = name.strip_prefix("no_").map(str::to_owned);
                        match positive.filter(|p| Config::kind_of(p) == Some(Kind::Bool)) {
                            Some(p) if glued.is_none() => self.options.push((p, "false".into())),
                            _ => return Err(FlagError::Unknown(arg.into())),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// True when a switch was given (`mkfs`, `get_osd_fsid`, ...).
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|s| s == switch)
    }

    /// The configuration of a daemon of `kind`: defaults, file, `CEPH_ARGS`, these flags. Answers also what a file says that cannot be
    /// taken over.
    pub fn config(&self, kind: &str) -> Result<(Config, Vec<SetError>), FlagError> {
        let id = self.id.clone().ok_or(FlagError::NoId)?;
        let mut identity = Identity::new(self.kind.as_deref().unwrap_or(kind), &id);
        let env = DaemonArgs::from_env()?;
        if let Some(c) = self.cluster.clone().or(env.cluster.clone()) {
            identity.cluster = c;
        }
        let mut config = Config::new(identity);
        let mut bad = Vec::new();
        let named = self.conf.clone().or(env.conf.clone()).or_else(|| std::env::var("CEPH_CONF").ok());
        let paths = match &named {
            Some(p) => p.clone(),
            None => "/etc/ceph/$cluster.conf,$home/.ceph/$cluster.conf,$cluster.conf".to_owned(),
        };
        let paths: Vec<PathBuf> = paths.split(',').map(|p| PathBuf::from(config.expand(p.trim()))).collect();
        match paths.iter().find(|p| p.exists()) {
            Some(p) => {
                let err = |what: String| FlagError::Conf { path: p.display().to_string(), what };
                let text = std::fs::read_to_string(p).map_err(|e| err(e.to_string()))?;
                let file = ConfFile::parse(&text).map_err(|e| err(e.to_string()))?;
                bad = config.load_file(&file);
            }
            None if named.is_some() => {
                let what = "no such file".to_owned();
                return Err(FlagError::Conf { path: named.unwrap_or_default(), what });
            }
            None => {}
        }
        for (k, v) in &env.options {
            config.set(Source::Env, k, v)?;
        }
        for (k, v) in &self.options {
            config.set(Source::CmdLine, k, v)?;
        }
        if self.foreground {
            config.set(Source::CmdLine, "daemonize", "false")?;
        }
        if self.stderr {
            config.set(Source::CmdLine, "log_to_stderr", "true")?;
        }
        Ok((config, bad))
    }

    /// `CEPH_ARGS`, split at spaces; quotes hold together.
    fn from_env() -> Result<DaemonArgs, FlagError> {
        // Options of other programs (`--rbd_cache=false`) are meant for those.
        let is_known = |arg: &String| !arg.contains('=') || DaemonArgs::parse([arg.clone()]).is_ok();
        let args = split_args(&std::env::var("CEPH_ARGS").unwrap_or_default());
        DaemonArgs::parse(args.into_iter().filter(is_known))
    }
}

fn split_args(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => out.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<DaemonArgs, FlagError> {
        DaemonArgs::parse(split_args(line))
    }

    #[test]
    fn the_flags_of_stocks_unit_files_and_ceph_deploy_are_understood() {
        let a = parse("-f --cluster ceph --id a --setuser ceph --setgroup ceph").unwrap();
        assert_eq!((a.foreground, a.id.as_deref(), a.cluster.as_deref()), (true, Some("a"), Some("ceph")));
        assert_eq!(a.options[0], ("setuser".into(), "ceph".into()));
        let a = parse(
            "--cluster ceph --mkfs -i 3 --monmap /m --osd-data /d --osd-journal /d/journal --osd-uuid \
             8f1f0d6c-0000-4000-8000-000000000001 --keyring /d/keyring --setuser ceph",
        )
        .unwrap();
        assert!(a.has("mkfs"));
        assert_eq!(a.values["monmap"], "/m");
        assert!(a.options.contains(&("osd_data".into(), "/d".into())));
        let a = parse("-i a -d --public-addr 1.2.3.4:6789 --debug_ms=1/5 --debug-mon 20 -m 1.2.3.4").unwrap();
        assert!(a.stderr && a.foreground);
        assert!(a.options.contains(&("debug_ms".into(), "1/5".into())));
        assert!(a.options.contains(&("mon_host".into(), "1.2.3.4".into())));
        let a = parse("-n osd.7 --log-to-stderr --no-ms-bind-ipv6 --daemonize=false x -- -y").unwrap();
        assert_eq!((a.kind.as_deref(), a.id.as_deref()), (Some("osd"), Some("7")));
        assert!(a.options.contains(&("log_to_stderr".into(), "true".into())));
        assert!(a.options.contains(&("ms_bind_ipv6".into(), "false".into())));
        assert_eq!(a.rest, ["x", "-y"]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert_eq!(parse("--no-such-thing 1"), Err(FlagError::Unknown("--no-such-thing".into())));
        assert_eq!(parse("-i"), Err(FlagError::NoValue("-i".into())));
        assert_eq!(parse("--osd-data"), Err(FlagError::NoValue("--osd-data".into())));
        assert_eq!(parse("-f").unwrap().config("osd").unwrap_err(), FlagError::NoId);
    }
}
