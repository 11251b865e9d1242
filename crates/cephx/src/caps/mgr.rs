//! Capabilities at the manager (`src/mgr/MgrCap.cc` of stock).

use super::clause::{Clause, Grammar, Word, add_up, needed};
use super::{
    ANY, Args, CapError, Constraints, Cursor, Network, R, W, admits, all_hold, fmt_constraints, fmt_list,
    fmt_rwx, quote,
};
use std::fmt;
use types::EntityAddr;

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MgrGrant {
    /// `service X`.
    pub service: String,
    /// `module X`.
    pub module: String,
    /// `profile X`.
    pub profile: String,
    /// `command X`.
    pub command: String,
    /// Constraints on arguments.
    pub args: Constraints,
    /// Letters.
    pub allow: u8,
    /// `network X`.
    pub network: Option<Network>,
}

impl MgrGrant {
    /// `allow *`.
    pub fn is_allow_all(&self) -> bool {
        self.allow == ANY
            && self.service.is_empty()
            && self.module.is_empty()
            && self.profile.is_empty()
            && self.command.is_empty()
    }

    /// The grants of a profile; `None` for one that there is not, or with arguments that it does not take.
    fn expand(&self) -> Option<Vec<MgrGrant>> {
        let plain = |allow| vec![MgrGrant { allow, ..MgrGrant::default() }];
        Some(match self.profile.as_str() {
            "read-only" => plain(R),
            "read-write" => plain(R | W),
            "crash" => vec![MgrGrant { command: "crash post".into(), ..MgrGrant::default() }],
            // Documented, so accepted; they grant nothing here.
            "osd" | "mds" => vec![],
            "rbd" | "rbd-read-only" => {
                if self.args.keys().any(|k| k != "pool" && k != "namespace") {
                    return None;
                }
                let allow = if self.profile == "rbd" { R | W } else { R };
                let module = "rbd_support".into();
                vec![MgrGrant { module, args: self.args.clone(), allow, ..MgrGrant::default() }]
            }
            _ => return None,
        })
    }

    fn allowed(&self, service: &str, module: &str, command: &str, args: &Args) -> u8 {
        if !self.profile.is_empty() {
            let grants = self.expand().unwrap_or_default();
            return grants.iter().fold(0, |a, g| a | g.allowed(service, module, command, args));
        }
        if !self.service.is_empty() {
            return if self.service == service { self.allow } else { 0 };
        }
        if !self.module.is_empty() {
            // For a named command the module checks its arguments itself.
            let ok = self.module == module && (!command.is_empty() || all_hold(&self.args, args));
            return if ok { self.allow } else { 0 };
        }
        if !self.command.is_empty() {
            return if self.command == command && all_hold(&self.args, args) { ANY } else { 0 };
        }
        self.allow
    }
}

/// A parsed manager capability.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MgrCap {
    /// Its grants.
    pub grants: Vec<MgrGrant>,
}

impl MgrCap {
    /// From text.
    pub fn parse(text: &str) -> Result<MgrCap, CapError> {
        let grants = Cursor::new(text).list("mgr", grant)?;
        if let Some(bad) = grants.iter().find(|g| !g.profile.is_empty() && g.expand().is_none()) {
            return Err(CapError { what: "mgr", rest: bad.profile.clone(), text: text.to_owned() });
        }
        Ok(MgrCap { grants })
    }
    /// `allow *`.
    pub fn allow_all() -> MgrCap {
        MgrCap { grants: vec![MgrGrant { allow: ANY, ..MgrGrant::default() }] }
    }
    /// True when some grant is `allow *` without a network.
    pub fn is_allow_all(&self) -> bool {
        self.grants.iter().any(|g| g.is_allow_all() && g.network.is_none())
    }
    /// May a peer at `addr` do this? Rights add up over the grants.
    #[allow(clippy::too_many_arguments)]
    pub fn is_capable(
        &self,
        service: &str,
        module: &str,
        command: &str,
        args: &Args,
        read: bool,
        write: bool,
        exec: bool,
        addr: &EntityAddr,
    ) -> bool {
        let here = self.grants.iter().filter(|g| admits(&g.network, addr));
        let rights = |g: &MgrGrant| {
            if g.is_allow_all() { ANY } else { g.allowed(service, module, command, args) }
        };
        add_up(here.map(rights), needed(read, write, exec))
    }
}

const fn word(word: &'static str, with: bool, letters: bool) -> Word {
    Word { word, with, letters }
}
const GRAMMAR: Grammar = Grammar {
    words: &[word("service", false, true), word("module", true, true), word("command", true, false)],
    manager: true,
};

fn grant(c: &mut Cursor<'_>) -> Option<MgrGrant> {
    let (clause, network) = GRAMMAR.grant(c)?;
    let mut g = MgrGrant { network, ..MgrGrant::default() };
    match clause {
        Clause::Letters(allow, _) => g.allow = allow,
        Clause::Profile(profile, args) => (g.profile, g.args) = (profile, args),
        Clause::Named(n) => {
            match n.word {
                "service" => g.service = n.name,
                "module" => g.module = n.name,
                _ => g.command = n.name,
            }
            (g.args, g.allow) = (n.args, n.allow);
        }
    }
    Some(g)
}

impl fmt::Display for MgrGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.profile.is_empty() {
            f.write_str("allow")?;
            for (word, v) in
                [("service", &self.service), ("module", &self.module), ("command", &self.command)]
            {
                if !v.is_empty() {
                    write!(f, " {word} {}", quote(v))?;
                    break;
                }
            }
        } else {
            write!(f, "profile {}", quote(&self.profile))?;
        }
        if !self.args.is_empty() {
            f.write_str(if self.profile.is_empty() { " with" } else { "" })?;
            fmt_constraints(f, &self.args)?;
        }
        if self.allow != 0 {
            write!(f, " {}", fmt_rwx(self.allow))?;
        }
        if let Some(n) = &self.network {
            write!(f, "{n}")?;
        }
        Ok(())
    }
}
impl fmt::Display for MgrCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_list(f, &self.grants)
    }
}
