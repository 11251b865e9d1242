//! Capabilities at monitors (`src/mon/MonCap.cc` of stock, profiles as of 16.2).

use super::clause::{Clause, Grammar, Word, add_up, needed};
use super::{
    ANY, Args, CapError, Constraint, Constraints, Cursor, Network, R, W, X, admits, all_hold,
    fmt_constraints, fmt_list, fmt_rwx, quote,
};
use std::fmt;
use types::EntityAddr;

/// Everything that letters can name.
const ALL: u8 = R | W | X;

/// One `allow ...` or `profile ...`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MonGrant {
    /// `service X`: only there.
    pub service: String,
    /// `profile X`.
    pub profile: String,
    /// `command X`: that command wholly.
    pub command: String,
    /// `with k=v`.
    pub args: Constraints,
    /// Letters.
    pub allow: u8,
    /// `fsname=X`: only this file system is shown.
    pub fs_name: String,
    /// `network X`.
    pub network: Option<Network>,
}

impl MonGrant {
    fn service(service: &str, allow: u8) -> MonGrant {
        MonGrant { service: service.into(), allow, ..MonGrant::default() }
    }
    fn command(command: &str, args: &[(&str, Constraint)]) -> MonGrant {
        MonGrant {
            command: command.into(),
            args: args.iter().map(|(k, c)| ((*k).to_owned(), c.clone())).collect(),
            ..MonGrant::default()
        }
    }
    /// `allow *`.
    pub fn is_allow_all(&self) -> bool {
        self.allow == ANY
            && self.service.is_empty()
            && self.profile.is_empty()
            && self.command.is_empty()
            && self.fs_name.is_empty()
    }

    fn allowed(&self, entity: &str, service: &str, command: &str, args: &Args) -> u8 {
        if !self.profile.is_empty() {
            return expand(&self.profile, entity)
                .iter()
                .fold(0, |a, g| a | g.allowed(entity, service, command, args));
        }
        if !self.service.is_empty() {
            return if self.service == service { self.allow } else { 0 };
        }
        if !self.command.is_empty() {
            return if self.command == command && all_hold(&self.args, args) { ALL } else { 0 };
        }
        // The key store may hold secrets: only `allow *` (checked by the caller) or a grant by name opens it.
        if service == "config-key" { 0 } else { self.allow }
    }
}

/// The grants that a profile stands for.
fn expand(profile: &str, entity: &str) -> Vec<MonGrant> {
    use Constraint::{Equal, Prefix, Regex};
    let s = MonGrant::service;
    let c = MonGrant::command;
    let read = |services: &[&str]| services.iter().map(|x| s(x, R)).collect::<Vec<_>>();
    let mut g = Vec::new();
    match profile {
        "read-only" => g.push(MonGrant { allow: R, ..MonGrant::default() }),
        "read-write" => g.push(MonGrant { allow: R | W, ..MonGrant::default() }),
        "mon" => g.extend([s("mon", ALL), s("log", ALL)]),
        "osd" => g.extend([s("osd", ALL), s("mon", R), s("pg", R | W), s("log", W)]),
        "mds" => g.extend([
            s("mds", ALL),
            s("mon", R),
            s("osd", R),
            c("osd pool rmsnap", &[]),
            c("osd blocklist", &[]),
            c("osd blacklist", &[]),
            s("log", W),
        ]),
        "mgr" => g.extend([
            s("mgr", ALL),
            s("log", R | W),
            s("mon", R | W),
            s("mds", R | W),
            s("fs", R | W),
            s("osd", R | W),
            s("auth", R | X),
            s("config-key", R | W),
            s("config", R | W),
            c("auth get-or-create", &[]),
            c("auth rm", &[]),
            c("smart", &[]),
        ]),
        "bootstrap-osd" => {
            g.extend(read(&["mon", "osd"]));
            g.extend([c("mon getmap", &[]), c("osd new", &[]), c("osd purge-new", &[])]);
        }
        "bootstrap-mds" => {
            g.extend(read(&["mon", "osd"]));
            g.push(c("mon getmap", &[]));
            g.push(c(
                "auth get-or-create",
                &[
                    ("entity", Prefix("mds.".into())),
                    ("caps_mon", Equal("allow profile mds".into())),
                    ("caps_osd", Equal("allow rwx".into())),
                    ("caps_mds", Equal("allow".into())),
                ],
            ));
        }
        "bootstrap-mgr" => {
            g.extend(read(&["mon", "osd"]));
            g.push(c("mon getmap", &[]));
            g.push(c(
                "auth get-or-create",
                &[("entity", Prefix("mgr.".into())), ("caps_mon", Equal("allow profile mgr".into()))],
            ));
        }
        "bootstrap-rgw" => {
            g.extend(read(&["mon", "osd"]));
            g.push(c("mon getmap", &[]));
            g.push(c(
                "auth get-or-create",
                &[
                    ("entity", Prefix("client.rgw.".into())),
                    ("caps_mon", Equal("allow rw".into())),
                    ("caps_osd", Equal("allow rwx".into())),
                ],
            ));
        }
        "bootstrap-rbd" | "bootstrap-rbd-mirror" => {
            let mon = if profile == "bootstrap-rbd" { "profile rbd" } else { "profile rbd-mirror" };
            // One or more `profile rbd...`, each with an optional pool.
            let osd = r#"([ ,]*profile(=|[ ]+)['"]?rbd[^ ,'"]*['"]?([ ]+pool(=|[ ]+)['"]?[^,'"]+['"]?)?)+"#;
            g.push(s("mon", R));
            g.push(c(
                "auth get-or-create",
                &[
                    ("entity", Prefix("client.".into())),
                    ("caps_mon", Equal(mon.into())),
                    ("caps_osd", Regex(osd.into())),
                ],
            ));
        }
        "fs-client" => g.extend(read(&["mon", "mds", "osd", "pg"])),
        "simple-rados-client" | "rbd-mirror-peer" => g.extend(read(&["mon", "osd", "pg"])),
        "rbd" | "rbd-mirror" => {
            g.extend(read(&["mon", "osd", "pg"]));
            // A dead lock owner is shut out by its exact address and nonce.
            for (command, op) in [("osd blocklist", "blocklistop"), ("osd blacklist", "blacklistop")] {
                g.push(c(command, &[(op, Equal("add".into())), ("addr", Regex("[^/]+/[0-9]+".into()))]));
            }
        }
        "cephfs-mirror" => {
            g.extend(read(&["mon", "mds", "osd", "pg"]));
            g.push(c("config-key get", &[("key", Prefix("cephfs/mirror/peer/".into()))]));
        }
        "crash" => g.push(s("mon", R)),
        "role-definer" => g.extend([s("mon", R), s("auth", ALL)]),
        _ => {}
    }
    if matches!(profile, "rbd-mirror" | "rbd-mirror-peer") {
        g.push(c("config-key get", &[("key", Prefix("rbd/mirror/".into()))]));
    }
    if profile == "rbd-mirror-peer" {
        g.push(c("config-key set", &[("key", Regex("rbd/mirror/[^/]+".into()))]));
    }
    if matches!(profile, "osd" | "mds" | "mon" | "mgr") {
        let own = Prefix(format!("daemon-private/{entity}/"));
        for verb in ["get", "put", "set", "exists", "delete"] {
            g.push(c(&format!("config-key {verb}"), &[("key", own.clone())]));
        }
    }
    g
}

/// A parsed monitor capability.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MonCap {
    /// Its grants; none grants nothing.
    pub grants: Vec<MonGrant>,
}

impl MonCap {
    /// From text.
    pub fn parse(text: &str) -> Result<MonCap, CapError> {
        Ok(MonCap { grants: Cursor::new(text).list("mon", grant)? })
    }
    /// `allow *`.
    pub fn allow_all() -> MonCap {
        MonCap { grants: vec![MonGrant { allow: ANY, ..MonGrant::default() }] }
    }
    /// True when some grant is `allow *` without a network.
    pub fn is_allow_all(&self) -> bool {
        self.grants.iter().any(|g| g.is_allow_all() && g.network.is_none())
    }
    /// Names of the only file systems that are shown; `None` when all are.
    pub fn only_fs_names(&self) -> Option<Vec<&str>> {
        let names: Option<Vec<&str>> =
            self.grants.iter().map(|g| (!g.fs_name.is_empty()).then_some(g.fs_name.as_str())).collect();
        names.filter(|n| !n.is_empty())
    }
    /// May `entity` at `addr` do this? `command` is empty where no command is meant. Rights add up over the grants.
    #[allow(clippy::too_many_arguments)]
    pub fn is_capable(
        &self,
        entity: &str,
        service: &str,
        command: &str,
        args: &Args,
        read: bool,
        write: bool,
        exec: bool,
        addr: &EntityAddr,
    ) -> bool {
        let here = self.grants.iter().filter(|g| admits(&g.network, addr));
        let rights = |g: &MonGrant| {
            if g.is_allow_all() { ANY } else { g.allowed(entity, service, command, args) }
        };
        add_up(here.map(rights), needed(read, write, exec))
    }
}

const GRAMMAR: Grammar = Grammar {
    words: &[
        Word { word: "service", with: false, letters: true },
        Word { word: "command", with: true, letters: false },
    ],
    manager: false,
};

fn grant(c: &mut Cursor<'_>) -> Option<MonGrant> {
    let (clause, network) = GRAMMAR.grant(c)?;
    let mut g = MonGrant { network, ..MonGrant::default() };
    match clause {
        Clause::Letters(allow, fs_name) => (g.allow, g.fs_name) = (allow, fs_name),
        Clause::Profile(profile, _) => g.profile = profile,
        Clause::Named(n) => {
            if n.word == "service" {
                g.service = n.name;
            } else {
                g.command = n.name;
            }
            (g.args, g.allow) = (n.args, n.allow);
        }
    }
    Some(g)
}

impl fmt::Display for MonGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allow")?;
        if !self.service.is_empty() {
            write!(f, " service {}", quote(&self.service))?;
        }
        if !self.command.is_empty() {
            write!(f, " command {}", quote(&self.command))?;
            if !self.args.is_empty() {
                f.write_str(" with")?;
                fmt_constraints(f, &self.args)?;
            }
        }
        if !self.profile.is_empty() {
            write!(f, " profile {}", quote(&self.profile))?;
        }
        if self.allow != 0 {
            write!(f, " {}", fmt_rwx(self.allow))?;
        }
        if !self.fs_name.is_empty() {
            write!(f, " fsname {}", quote(&self.fs_name))?;
        }
        if let Some(n) = &self.network {
            write!(f, "{n}")?;
        }
        Ok(())
    }
}
impl fmt::Display for MonCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_list(f, &self.grants)
    }
}
