//! A process's configuration: layers over defaults, typed reads, metavariables, changes at run time.
//!
//! Precedence as in stock, low to high: default, monitors' database, file, environment (`CEPH_ARGS`), command line, run-time override.
//! Invariant: what a typed read returns was checked when it was set; a bad value is refused there, or (file, monitors) logged and
//! left out.

use crate::conf::{ConfError, ConfFile, normalize_key};
use crate::options::{self, Kind, OPTIONS, OptionDef};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Where a value comes from; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Compiled in.
    Default,
    /// The monitors' configuration database.
    Mon,
    /// `ceph.conf`.
    File,
    /// `CEPH_ARGS` and friends.
    Env,
    /// The command line.
    CmdLine,
    /// `config set`, `injectargs`.
    Override,
}
impl Source {
    /// Stock's number for it (`CONF_*`).
    pub fn level(self) -> i32 {
        match self {
            Source::Default => 0,
            Source::Mon => 1,
            Source::File => 2,
            Source::Env => 3,
            Source::CmdLine => 4,
            Source::Override => 5,
        }
    }
    /// Stock's word for it (`config diff`).
    pub fn name(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::Mon => "mon",
            Source::File => "file",
            Source::Env => "env",
            Source::CmdLine => "cmdline",
            Source::Override => "override",
        }
    }
}

/// A value that cannot be set.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SetError {
    /// No such option.
    #[error("unrecognized config option '{0}'")]
    Unknown(String),
    /// Not of its type.
    #[error("invalid value '{value}' for option '{name}' of type {kind}")]
    Invalid {
        /// Option.
        name: String,
        /// Value.
        value: String,
        /// Its type.
        kind: &'static str,
    },
}

/// Who this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `ceph`.
    pub cluster: String,
    /// `mon`, `osd`, `client`, ...
    pub kind: String,
    /// Behind the dot.
    pub id: String,
    /// Short host name.
    pub host: String,
}
impl Identity {
    /// Of a daemon or client on this machine.
    pub fn new(kind: &str, id: &str) -> Identity {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = host.split('.').next().unwrap_or("").to_owned();
        Identity { cluster: "ceph".into(), kind: kind.into(), id: id.into(), host }
    }
    /// `type.id`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.kind, self.id)
    }
}

/// The configuration.
#[derive(Clone, Debug)]
pub struct Config {
    identity: Identity,
    values: BTreeMap<String, BTreeMap<Source, String>>,
    /// Defaults that a kind of program changes.
    defaults: BTreeMap<String, String>,
}

/// Highest number of replacements in one value: ends `a = $b`, `b = $a`.
const MAX_EXPANSIONS: usize = 32;

impl Config {
    /// Defaults only.
    pub fn new(identity: Identity) -> Config {
        let mut c = Config { identity, values: BTreeMap::new(), defaults: BTreeMap::new() };
        if c.identity.kind == "client" {
            // A tool neither logs to a file nor listens unless told so.
            c.defaults.insert("log_file".into(), String::new());
            c.defaults.insert("admin_socket".into(), String::new());
        } else {
            c.defaults.insert("daemonize".into(), "true".into());
            let data = format!("${}_data/keyring", c.identity.kind);
            c.defaults.insert("keyring".into(), data);
        }
        c
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Takes over a file's sections for this identity. Bad values are answered, and left out.
    pub fn load_file(&mut self, file: &ConfFile) -> Vec<SetError> {
        let mut bad = Vec::new();
        for section in ["global".to_owned(), self.identity.kind.clone(), self.identity.name()] {
            for (k, v) in file.sections.get(&section).into_iter().flatten() {
                if let Err(e) = self.set(Source::File, k, v)
                    && matches!(e, SetError::Invalid { .. })
                {
                    bad.push(e);
                }
            }
        }
        bad
    }

    /// Parses and takes over a file's text.
    pub fn load_text(&mut self, text: &str) -> Result<Vec<SetError>, ConfError> {
        Ok(self.load_file(&ConfFile::parse(text)?))
    }

    /// Replaces all that the monitors' database says; answers the options whose value in force changed.
    pub fn set_mon_values(&mut self, values: &BTreeMap<String, String>) -> Vec<String> {
        let before = self.show();
        for v in self.values.values_mut() {
            v.remove(&Source::Mon);
        }
        for (k, v) in values {
            // What this release does not know or cannot read, it ignores, as stock does.
            let _ = self.set(Source::Mon, k, v);
        }
        let after = self.show();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        names.into_iter().filter(|n| before.get(*n) != after.get(*n)).cloned().collect()
    }

    /// Sets one value. An unknown option is an error, but from a file or the monitors it is kept.
    pub fn set(&mut self, source: Source, name: &str, value: &str) -> Result<(), SetError> {
        let name = normalize_key(name);
        match options::find(&name) {
            Some(o) if !value.contains('$') && !o.kind.admits(value) => {
                return Err(SetError::Invalid { name, value: value.into(), kind: o.kind.name() });
            }
            None if !name.starts_with("debug_") => {
                if matches!(source, Source::File | Source::Mon) {
                    self.values.entry(name.clone()).or_default().insert(source, value.into());
                }
                return Err(SetError::Unknown(name));
            }
            _ => {}
        }
        self.values.entry(name).or_default().insert(source, value.into());
        Ok(())
    }

    /// Sets a run-time override that the caller has checked; nothing in this crate need know the option.
    pub fn set_checked(&mut self, name: &str, value: &str) {
        self.values.entry(normalize_key(name)).or_default().insert(Source::Override, value.into());
    }

    /// Takes a run-time override back.
    pub fn unset(&mut self, name: &str) {
        if let Some(v) = self.values.get_mut(&normalize_key(name)) {
            v.remove(&Source::Override);
        }
    }

    fn raw(&self, name: &str) -> Option<(Source, &str)> {
        if let Some((s, v)) = self.values.get(name).and_then(|v| v.iter().next_back()) {
            return Some((*s, v));
        }
        let default = self.defaults.get(name).map(String::as_str);
        default.or(options::find(name).map(|o| o.default)).map(|v| (Source::Default, v))
    }

    /// A value with metavariables replaced; `None` for an option that nobody set or knows.
    pub fn get(&self, name: &str) -> Option<String> {
        self.raw(&normalize_key(name)).map(|(_, v)| self.expand(v))
    }

    /// Where the value in force comes from.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.raw(&normalize_key(name)).map(|(s, _)| s)
    }

    fn def(name: &str) -> &'static OptionDef {
        options::find(name).unwrap_or_else(|| panic!("{name} is read but not in the option table"))
    }

    fn typed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let def = Self::def(name);
        let text = self.get(name).unwrap_or_default();
        parse(&text)
            .or_else(|| parse(def.default))
            .unwrap_or_else(|| panic!("{name} ({}) is read as another type", def.kind.name()))
    }

    /// A string.
    ///
    /// # Panics
    /// As all typed reads do, for an option that is not in the table.
    pub fn str(&self, name: &str) -> String {
        Self::def(name);
        self.get(name).unwrap_or_default()
    }
    /// A switch.
    pub fn bool(&self, name: &str) -> bool {
        self.typed(name, options::parse_bool)
    }
    /// A signed number.
    pub fn int(&self, name: &str) -> i64 {
        self.typed(name, |t| t.trim().parse().ok().or_else(|| options::parse_size(t)?.try_into().ok()))
    }
    /// An unsigned number or a size.
    pub fn uint(&self, name: &str) -> u64 {
        self.typed(name, options::parse_size)
    }
    /// A decimal number.
    pub fn float(&self, name: &str) -> f64 {
        self.typed(name, |t| t.trim().parse().ok())
    }
    /// A span of time, from an option of type secs, float, int or uint that counts seconds.
    pub fn secs(&self, name: &str) -> std::time::Duration {
        let secs: f64 = self.typed(name, options::parse_secs);
        std::time::Duration::from_secs_f64(secs.clamp(0.0, 1e9))
    }

    /// Replaces `$name` and `${name}`: metavariables first, then other options.
    pub fn expand(&self, text: &str) -> String {
        let mut out = text.to_owned();
        let mut from = 0;
        for _ in 0..MAX_EXPANSIONS {
            let Some(at) = out[from..].find('$').map(|i| i + from) else { break };
            let rest = &out[at + 1..];
            let (name, len) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                Some((name, _)) => (name, name.len() + 2),
                None => {
                    let n =
                        rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                    (&rest[..n], n)
                }
            };
            match self.variable(name) {
                Some(v) => out.replace_range(at..at + 1 + len, &v),
                None => from = at + 1,
            }
        }
        out
    }

    fn variable(&self, name: &str) -> Option<String> {
        let i = &self.identity;
        Some(match name {
            "" => return None,
            "cluster" => i.cluster.clone(),
            "type" => i.kind.clone(),
            "id" | "num" => i.id.clone(),
            "name" => i.name(),
            "host" => i.host.clone(),
            "pid" => std::process::id().to_string(),
            "cctid" => "0".into(),
            "home" => std::env::var("HOME").unwrap_or_default(),
            other => self.raw(&normalize_key(other))?.1.to_owned(),
        })
    }

    /// Every option with its value in force (`config show`).
    pub fn show(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            OPTIONS.iter().map(|o| (o.name.to_owned(), self.get(o.name).unwrap_or_default())).collect();
        for k in self.values.keys() {
            if let Some(v) = self.get(k) {
                all.insert(k.clone(), v);
            }
        }
        all.insert("name".into(), self.identity.name());
        all.insert("cluster".into(), self.identity.cluster.clone());
        all
    }

    /// Options whose value is not the default, with the value of each source (`config diff`).
    pub fn diff(&self) -> BTreeMap<String, BTreeMap<&'static str, String>> {
        let mut out = BTreeMap::new();
        for (name, layers) in self.values.iter().filter(|(_, l)| !l.is_empty()) {
            let default = self.defaults.get(name).map(String::as_str);
            let default = default.or(options::find(name).map(|o| o.default)).unwrap_or("");
            let mut row: BTreeMap<&'static str, String> =
                layers.iter().map(|(s, v)| (s.name(), v.clone())).collect();
            row.insert("default", default.to_owned());
            row.insert("final", self.get(name).unwrap_or_default());
            out.insert(name.clone(), row);
        }
        out
    }

    /// What is set, by option: the value of each source under stock's number for it (`CONF_*`).
    pub fn layers(&self) -> BTreeMap<String, BTreeMap<i32, String>> {
        let mut out = BTreeMap::new();
        for (name, layers) in
            self.values.iter().filter(|(n, l)| !l.is_empty() && *n != "fsid" && *n != "host")
        {
            let row: BTreeMap<i32, String> = layers.iter().map(|(s, v)| (s.level(), v.clone())).collect();
            out.insert(name.clone(), row);
        }
        out
    }

    /// The same, but only of sources above this one.
    pub fn layers_above(&self, source: Source) -> BTreeMap<String, BTreeMap<i32, String>> {
        let mut all = self.layers();
        all.values_mut().for_each(|l| l.retain(|level, _| *level > source.level()));
        all.retain(|_, l| !l.is_empty());
        all
    }

    /// Level of a debug option: `debug_osd = 10/20` is 10. Without one, `fallback`.
    pub fn debug_level(&self, subsystem: &str, fallback: u8) -> u8 {
        let v = self.get(&format!("debug_{subsystem}"));
        v.and_then(|v| v.split('/').next()?.trim().parse().ok()).unwrap_or(fallback)
    }

    /// True for an option that takes a value of this kind; unknown ones take strings.
    pub fn kind_of(name: &str) -> Option<Kind> {
        let name = normalize_key(name);
        if name.starts_with("debug_") {
            return Some(Kind::Str);
        }
        options::find(&name).map(|o| o.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn osd() -> Config {
        let mut i = Identity::new("osd", "3");
        i.host = "h1".into();
        Config::new(i)
    }

    #[test]
    fn later_sources_win_and_overrides_can_be_taken_back() {
        let mut c = osd();
        assert_eq!(c.uint("osd_pool_default_size"), 3);
        c.set_mon_values(&BTreeMap::from([("osd_pool_default_size".into(), "4".into())]));
        assert_eq!(c.uint("osd_pool_default_size"), 4);
        c.load_text("[global]\nosd pool default size = 5\n[osd]\nosd pool default size = 6\n").unwrap();
        assert_eq!(c.uint("osd_pool_default_size"), 6);
        c.set(Source::CmdLine, "osd-pool-default-size", "7").unwrap();
        c.set(Source::Override, "osd_pool_default_size", "8").unwrap();
        assert_eq!(c.uint("osd_pool_default_size"), 8);
        c.unset("osd_pool_default_size");
        assert_eq!(c.uint("osd_pool_default_size"), 7);
        assert_eq!(c.diff()["osd_pool_default_size"]["file"], "6");
    }

    #[test]
    fn metavariables_and_options_are_replaced_and_loops_end() {
        let mut c = osd();
        assert_eq!(c.str("osd_data"), "/var/lib/ceph/osd/ceph-3");
        assert_eq!(c.str("keyring"), "/var/lib/ceph/osd/ceph-3/keyring");
        assert_eq!(c.str("admin_socket"), "/var/run/ceph/ceph-osd.3.asok");
        c.set(Source::CmdLine, "run_dir", "/tmp/${name}/$host/$nothing").unwrap();
        assert_eq!(c.str("admin_socket"), "/tmp/osd.3/h1/$nothing/ceph-osd.3.asok");
        c.set(Source::CmdLine, "run_dir", "$pid_file").unwrap();
        c.set(Source::CmdLine, "pid_file", "$run_dir").unwrap();
        c.str("pid_file");
    }

    #[test]
    fn bad_values_are_refused_and_unknown_options_kept_from_files_only() {
        let mut c = osd();
        assert!(matches!(c.set(Source::Override, "osd_heartbeat_grace", "x"), Err(SetError::Invalid { .. })));
        assert!(matches!(c.set(Source::Override, "no_such_thing", "x"), Err(SetError::Unknown(_))));
        let bad = c.load_text("osd heartbeat grace = x\nrbd cache = true\n").unwrap();
        assert_eq!(bad.len(), 1);
        assert_eq!(c.int("osd_heartbeat_grace"), 20);
        assert_eq!(c.get("rbd_cache").as_deref(), Some("true"));
        c.set(Source::CmdLine, "debug_osd", "10/20").unwrap();
        assert_eq!(c.debug_level("osd", 1), 10);
    }

    #[test]
    fn changes_by_the_monitors_are_named() {
        let mut c = osd();
        let m = BTreeMap::from([("osd_max_backfills".to_owned(), "4".to_owned())]);
        assert_eq!(c.set_mon_values(&m), ["osd_max_backfills"]);
        assert!(c.set_mon_values(&m).is_empty());
        assert_eq!(c.set_mon_values(&BTreeMap::new()), ["osd_max_backfills"]);
        let debug = BTreeMap::from([("debug_osd".to_owned(), "20/20".to_owned())]);
        assert_eq!(
            (c.set_mon_values(&debug), c.set_mon_values(&BTreeMap::new())),
            (vec!["debug_osd".into()], vec!["debug_osd".into()])
        );
    }
}
