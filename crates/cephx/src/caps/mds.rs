//! Capabilities at metadata servers (`src/mds/MDSAuthCaps.cc` of stock 16.2): parsed, printed, and matched by file system and path.
//!
//! Deliberately absent: the UNIX permission half of `is_capable`, which belongs to the metadata server that does not exist yet.

use super::{CapError, Cursor, Network, admits, fmt_list, quote};
use std::fmt;
use types::EntityAddr;

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MdsGrant {
    /// `*`: everything, also administration.
    pub all: bool,
    /// `r`.
    pub read: bool,
    /// `w`.
    pub write: bool,
    /// `p`: quotas and layouts.
    pub set_vxattr: bool,
    /// `s`: snapshots.
    pub snapshot: bool,
    /// `fsname=X`; empty or `*` for any.
    pub fs_name: String,
    /// `path=X` without leading slashes; empty for any.
    pub path: String,
    /// `root_squash`.
    pub root_squash: bool,
    /// `uid=N`.
    pub uid: Option<u32>,
    /// `gids=N,...`, sorted.
    pub gids: Vec<u32>,
    /// `network X`.
    pub network: Option<Network>,
}

impl MdsGrant {
    fn matches_path(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.path.as_str()) else { return false };
        // `/foo` is not meant to cover `/food`.
        self.path.is_empty() || self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/')
    }
    fn matches_fs(&self, fs: &str) -> bool {
        self.fs_name.is_empty() || self.fs_name == "*" || self.fs_name == fs
    }
}

/// A parsed metadata server capability.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MdsCap {
    /// Its grants.
    pub grants: Vec<MdsGrant>,
}

impl MdsCap {
    /// From text. The word `allow` alone is the old form of `allow rwps`.
    pub fn parse(text: &str) -> Result<MdsCap, CapError> {
        if text == "allow" {
            let g =
                MdsGrant { read: true, write: true, set_vxattr: true, snapshot: true, ..MdsGrant::default() };
            return Ok(MdsCap { grants: vec![g] });
        }
        // Stock skips spaces around the whole (`phrase_parse`).
        let grants = Cursor::new(text.trim()).list("mds", grant)?;
        Ok(MdsCap { grants })
    }
    /// True when some grant is `allow *` without a condition.
    pub fn is_allow_all(&self) -> bool {
        self.grants.iter().any(|g| {
            g.all && g.path.is_empty() && g.uid.is_none() && g.fs_name.is_empty() && g.network.is_none()
        })
    }
    /// May anything at all be done with this file system (`fs_name_capable`)?
    pub fn fs_capable(&self, fs: &str, write: bool, addr: &EntityAddr) -> bool {
        self.grants.iter().any(|g| {
            admits(&g.network, addr) && g.matches_fs(fs) && (g.all || (g.read && (g.write || !write)))
        })
    }
    /// May anything at all be done below this path (without leading slash)?
    pub fn path_capable(&self, path: &str) -> bool {
        self.grants.iter().any(|g| g.matches_path(path))
    }
}

fn grant(c: &mut Cursor<'_>) -> Option<MdsGrant> {
    let mut g = MdsGrant::default();
    c.lit("allow")?;
    c.spaces()?;
    if c.lit("*").or_else(|| c.lit("all")).is_some() {
        g.all = true;
    } else {
        c.lit("r")?;
        g.read = true;
        if c.lit("w").is_some() {
            g.write = true;
            g.set_vxattr = c.lit("p").is_some();
            g.snapshot = c.lit("s").is_some();
        }
    }
    if let Some(fs) = c.attempt(|c| {
        c.spaces()?;
        c.lit("fsname=")?;
        c.lit("*").map(|()| "*".to_owned()).or_else(|| c.empty_string())
    }) {
        g.fs_name = fs;
    }
    if let Some(path) = c.attempt(|c| {
        c.spaces()?;
        c.lit("path=")?;
        c.empty_string()
    }) {
        g.path = path.trim_start_matches('/').to_owned();
    }
    g.root_squash = c
        .attempt(|c| {
            c.spaces()?;
            c.lit("root_squash")
        })
        .is_some();
    g.uid = c.attempt(|c| {
        c.spaces()?;
        c.lit("uid=")?;
        c.number()
    });
    if g.uid.is_some() {
        g.gids = c
            .attempt(|c| {
                c.spaces()?;
                c.lit("gids=")?;
                let mut v = vec![c.number()?];
                while let Some(n) = c.attempt(|c| {
                    c.lit(",")?;
                    c.number()
                }) {
                    v.push(n);
                }
                v.sort_unstable();
                Some(v)
            })
            .unwrap_or_default();
    }
    g.network = c.network();
    Some(g)
}

impl fmt::Display for MdsGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("allow ")?;
        if self.all {
            f.write_str("*")?;
        }
        for (on, c) in [(self.read, "r"), (self.write, "w"), (self.set_vxattr, "p"), (self.snapshot, "s")] {
            if on {
                f.write_str(c)?;
            }
        }
        if !self.fs_name.is_empty() {
            write!(f, " fsname={}", if self.fs_name == "*" { "*".into() } else { quote(&self.fs_name) })?;
        }
        if !self.path.is_empty() {
            write!(f, " path={}", quote(&format!("/{}", self.path)))?;
        }
        if self.root_squash {
            f.write_str(" root_squash")?;
        }
        if let Some(uid) = self.uid {
            write!(f, " uid={uid}")?;
            if !self.gids.is_empty() {
                let gids: Vec<String> = self.gids.iter().map(u32::to_string).collect();
                write!(f, " gids={}", gids.join(","))?;
            }
        }
        if let Some(n) = &self.network {
            write!(f, "{n}")?;
        }
        Ok(())
    }
}
impl fmt::Display for MdsCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_list(f, &self.grants)
    }
}
