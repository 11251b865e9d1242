//! What the grammars of monitor and manager have in common: `allow LETTERS`, `profile X`, `allow service X LETTERS` and the
//! like, each with an optional network at its end; and how the rights of several grants add up.

use super::{Constraints, Cursor, Network, R, W, X, key_values, with_args};

/// One grant as it was written.
pub(super) enum Clause {
    /// `allow rwx [fsname=X]`; the name is empty where none is given.
    Letters(u8, String),
    /// `[allow] profile X [k=v ...]`.
    Profile(String, Constraints),
    /// `allow WORD X [with k=v ...] [rwx]`.
    Named(Named),
}

/// See [`Clause::Named`].
pub(super) struct Named {
    /// `service`, `module` or `command`.
    pub word: &'static str,
    /// What it names.
    pub name: String,
    /// Constraints, where the word takes them.
    pub args: Constraints,
    /// Letters, where the word takes them.
    pub allow: u8,
}

/// What a word of the grammar takes behind its name.
pub(super) struct Word {
    pub word: &'static str,
    /// `with k=v`.
    pub with: bool,
    /// `rwx`.
    pub letters: bool,
}

/// A grammar: its words in the order in which they are tried, and whether it is the manager's (profiles take arguments,
/// spaces are allowed around `=`).
pub(super) struct Grammar {
    pub words: &'static [Word],
    pub manager: bool,
}

impl Grammar {
    /// One grant with its network; spaces around it are skipped.
    pub(super) fn grant(&self, c: &mut Cursor<'_>) -> Option<(Clause, Option<Network>)> {
        c.spaces();
        let clause = c
            .attempt(|c| {
                c.lit("allow")?;
                c.spaces()?;
                let allow = c.rwx()?;
                let fs = if self.manager { None } else { fs_name(c) };
                Some((Clause::Letters(allow, fs.unwrap_or_default()), c.network()))
            })
            .or_else(|| self.profile(c))
            .or_else(|| self.words.iter().find_map(|w| self.named(c, w)))?;
        c.spaces();
        Some(clause)
    }

    fn profile(&self, c: &mut Cursor<'_>) -> Option<(Clause, Option<Network>)> {
        c.attempt(|c| {
            c.attempt(|c| {
                c.lit("allow")?;
                c.spaces()
            });
            c.lit("profile")?;
            c.eq_or_spaces()?;
            let profile = c.string()?;
            let args = c.attempt(|c| {
                c.spaces()?;
                if self.manager { key_values(c, true) } else { None }
            });
            Some((Clause::Profile(profile, args.unwrap_or_default()), c.network()))
        })
    }

    fn named(&self, c: &mut Cursor<'_>, w: &Word) -> Option<(Clause, Option<Network>)> {
        c.attempt(|c| {
            c.lit("allow")?;
            c.keyword(w.word)?;
            let name = c.string()?;
            let args = if w.with { with_args(c, self.manager) } else { Constraints::new() };
            let mut allow = 0;
            if w.letters {
                c.spaces()?;
                allow = c.rwx()?;
            }
            Some((Clause::Named(Named { word: w.word, name, args, allow }), c.network()))
        })
    }
}

fn fs_name(c: &mut Cursor<'_>) -> Option<String> {
    c.attempt(|c| {
        c.spaces()?;
        c.lit("fsname")?;
        c.eq_or_spaces()?;
        c.string()
    })
}

/// The rights that a request needs, as letters.
pub(super) fn needed(read: bool, write: bool, exec: bool) -> u8 {
    [(read, R), (write, W), (exec, X)].into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit)
}

/// True when the rights of some grants together are enough. Each item tells the rights of one; at least one is needed,
/// even for a request that needs no letter.
pub(super) fn add_up(grants: impl Iterator<Item = u8>, needed: u8) -> bool {
    let mut have = 0;
    for rights in grants {
        have |= rights;
        if have & needed == needed {
            return true;
        }
    }
    false
}
