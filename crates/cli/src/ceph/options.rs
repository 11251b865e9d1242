//! The global options of `ceph`: which words of the command line are for the client itself. Pure.
//!
//! As stock's (Python's argparse): options may stand anywhere, long ones may be cut short while that is unambiguous, short switches may
//! be glued (`-sw`, `-fjson`); what is not known stays a word of the command. `--` ends the options, and stays.

use thiserror::Error;

/// A command line that cannot be read; the exit code is 2.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// Cut too short.
    #[error("ambiguous option: {0} could match {1}")]
    Ambiguous(String, String),
    /// The value is missing.
    #[error("argument {0}: expected one argument")]
    NoValue(&'static str),
    /// A switch has a value.
    #[error("argument {0}: ignored explicit argument '{1}'")]
    Surplus(&'static str, String),
    /// Not among the choices.
    #[error(
        "argument -f/--format: invalid choice: '{0}' (choose from 'json', 'json-pretty', 'xml', 'xml-pretty', 'plain', 'yaml')"
    )]
    Format(String),
    /// No number.
    #[error("argument {0}: invalid {1} value: '{2}'")]
    Number(&'static str, &'static str, String),
}

const FORMATS: &[&str] = &["json", "json-pretty", "xml", "xml-pretty", "plain", "yaml"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Completion,
    Help,
    Conf,
    In,
    Out,
    SetUser,
    SetGroup,
    User,
    Name,
    Cluster,
    AdminDaemon,
    Status,
    Watch,
    Level(&'static str),
    Channel,
    Version,
    Verbose,
    Concise,
    Format,
    Timeout,
    Block,
    Period,
}

struct Def {
    id: Id,
    /// As errors name it.
    shown: &'static str,
    spellings: &'static [&'static str],
    has_value: bool,
    /// Empty for what is not shown.
    about: &'static str,
}

const fn switch(id: Id, shown: &'static str, spellings: &'static [&'static str], about: &'static str) -> Def {
    Def { id, shown, spellings, has_value: false, about }
}
const fn value(id: Id, shown: &'static str, spellings: &'static [&'static str], about: &'static str) -> Def {
    Def { id, shown, spellings, has_value: true, about }
}

const DEFS: &[Def] = &[
    switch(Id::Completion, "--completion", &["--completion"], ""),
    switch(
        Id::Help,
        "-h/--help",
        &["-h", "--help"],
        "this text and the cluster's commands; words behind it choose among them",
    ),
    value(Id::Conf, "-c/--conf", &["-c", "--conf"], "configuration file"),
    value(Id::In, "-i/--in-file", &["-i", "--in-file"], "file to send as input, '-' for stdin"),
    value(Id::Out, "-o/--out-file", &["-o", "--out-file"], "file for the output, '-' for stdout"),
    value(Id::SetUser, "--setuser", &["--setuser"], "owner of the output file"),
    value(Id::SetGroup, "--setgroup", &["--setgroup"], "group of the output file"),
    value(Id::User, "--id/--user", &["--id", "--user"], "user to log in as, without 'client.'"),
    value(Id::Name, "--name/-n", &["--name", "-n"], "user to log in as, with its type"),
    value(Id::Cluster, "--cluster", &["--cluster"], "cluster's name, for $cluster in paths"),
    value(Id::AdminDaemon, "--admin-daemon", &["--admin-daemon"], "send the command to this admin socket"),
    switch(Id::Status, "-s/--status", &["-s", "--status"], "the cluster's status"),
    switch(Id::Watch, "-w/--watch", &["-w", "--watch"], "the status, then the cluster's log as it grows"),
    switch(Id::Level("debug"), "--watch-debug", &["--watch-debug"], "the same, from debug messages on"),
    switch(Id::Level("info"), "--watch-info", &["--watch-info"], "... from information on"),
    switch(Id::Level("sec"), "--watch-sec", &["--watch-sec"], "... from security messages on"),
    switch(Id::Level("warn"), "--watch-warn", &["--watch-warn"], "... from warnings on"),
    switch(Id::Level("error"), "--watch-error", &["--watch-error"], "... errors only"),
    value(
        Id::Channel,
        "-W/--watch-channel",
        &["-W", "--watch-channel"],
        "... of this channel ('cluster', 'audit', '*' for all)",
    ),
    switch(Id::Version, "--version/-v", &["--version", "-v"], "version of this program"),
    switch(Id::Verbose, "--verbose", &["--verbose"], "say what is sent"),
    switch(Id::Concise, "--concise", &["--concise"], "do not"),
    value(
        Id::Format,
        "-f/--format",
        &["-f", "--format"],
        "json, json-pretty, xml, xml-pretty, plain or yaml",
    ),
    value(Id::Timeout, "--connect-timeout", &["--connect-timeout"], "seconds to reach the cluster"),
    switch(Id::Block, "--block", &["--block"], "wait for the end (scrub and deep-scrub)"),
    value(
        Id::Period,
        "--period/-p",
        &["--period", "-p"],
        "seconds between the rounds of a command that repeats itself",
    ),
];

/// What the options say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Globals {
    /// `-h`
    pub help: bool,
    /// `--completion`
    pub completion: bool,
    /// `-c`
    pub conf: Option<String>,
    /// `-i`
    pub in_file: Option<String>,
    /// `-o`
    pub out_file: Option<String>,
    /// `--setuser`
    pub setuser: Option<String>,
    /// `--setgroup`
    pub setgroup: Option<String>,
    /// `--id`
    pub id: Option<String>,
    /// `-n`
    pub name: Option<String>,
    /// `--cluster`
    pub cluster: Option<String>,
    /// `--admin-daemon`
    pub admin_daemon: Option<String>,
    /// `-s`
    pub status: bool,
    /// `-w`, or `-W`
    pub watch: bool,
    /// `--watch-LEVEL`; the last of debug, info, sec, warn, error that was given.
    pub level: Option<&'static str>,
    /// `-W`
    pub channel: Option<String>,
    /// `-v`
    pub version: bool,
    /// `--verbose`
    pub verbose: bool,
    /// `-f`
    pub format: Option<String>,
    /// `--connect-timeout`
    pub timeout_secs: Option<u64>,
    /// `--block`
    pub block: bool,
    /// `-p`
    pub period_secs: Option<f64>,
}

impl Globals {
    fn take(&mut self, def: &Def, v: String) -> Result<(), OptionError> {
        let number = |kind| OptionError::Number(def.shown, kind, v.clone());
        match def.id {
            Id::Completion => self.completion = true,
            Id::Help => self.help = true,
            Id::Status => self.status = true,
            Id::Watch => self.watch = true,
            Id::Level(level) => {
                let rank = |l: &str| ["debug", "info", "sec", "warn", "error"].iter().position(|x| *x == l);
                if self.level.is_none_or(|old| rank(level) > rank(old)) {
                    self.level = Some(level);
                }
            }
            Id::Version => self.version = true,
            Id::Verbose => self.verbose = true,
            Id::Concise => self.verbose = false,
            Id::Block => self.block = true,
            Id::Conf => self.conf = Some(v),
            Id::In => self.in_file = Some(v),
            Id::Out => self.out_file = Some(v),
            Id::SetUser => self.setuser = Some(v),
            Id::SetGroup => self.setgroup = Some(v),
            Id::User => self.id = Some(v),
            Id::Name => self.name = Some(v),
            Id::Cluster => self.cluster = Some(v),
            Id::AdminDaemon => self.admin_daemon = Some(v),
            Id::Channel => {
                self.watch = true;
                self.channel = Some(v);
            }
            Id::Format if FORMATS.contains(&v.as_str()) => self.format = Some(v),
            Id::Format => return Err(OptionError::Format(v)),
            Id::Timeout => {
                let n = super::values::int_in(&v, 10).ok_or_else(|| number("int"))?;
                self.timeout_secs = u64::try_from(n).ok().filter(|n| *n > 0);
            }
            Id::Period => self.period_secs = Some(super::values::float(&v).ok_or_else(|| number("float"))?),
        }
        Ok(())
    }
}

/// The option that a word is, with what is glued to it; `None` for a word of the command.
fn lookup(word: &str) -> Result<Option<(&'static Def, Option<String>)>, OptionError> {
    if !word.starts_with('-') || word.len() < 2 || word == "--" {
        return Ok(None);
    }
    let exact = |s: &str| DEFS.iter().find(|d| d.spellings.contains(&s));
    if let Some(d) = exact(word) {
        return Ok(Some((d, None)));
    }
    let (name, glued) = match word.split_once('=') {
        Some((name, v)) => (name, Some(v.to_owned())),
        None => (word, None),
    };
    if let (Some(d), true) = (exact(name), glued.is_some()) {
        return Ok(Some((d, glued)));
    }
    if !word.starts_with("--") {
        // A short one with something glued to it.
        let short = word.char_indices().nth(2).map_or(word, |(i, _)| &word[..i]);
        return Ok(exact(short).map(|d| (d, Some(word[short.len()..].to_owned()))));
    }
    let begun: Vec<(&'static Def, &str)> = DEFS
        .iter()
        .flat_map(|d| d.spellings.iter().map(move |s| (d, *s)))
        .filter(|(_, s)| s.starts_with(name))
        .collect();
    match &begun[..] {
        [] => Ok(None),
        [(d, _)] => Ok(Some((d, glued))),
        many => {
            let all: Vec<&str> = many.iter().map(|(_, s)| *s).collect();
            Err(OptionError::Ambiguous(word.into(), all.join(", ")))
        }
    }
}

/// True for a word that could be an option, so that it is no option's value. Negative numbers and what has spaces are values.
fn looks_like_option(word: &str) -> bool {
    if lookup(word).is_ok_and(|f| f.is_some()) {
        return true;
    }
    let is_number = word.len() > 1 && word.strip_prefix('-').is_some_and(|n| n.parse::<f64>().is_ok());
    word.len() > 1 && word.starts_with('-') && !is_number && !word.contains(' ')
}

/// Splits a command line (without the program's name) into options and the command's words.
pub fn parse(args: Vec<String>) -> Result<(Globals, Vec<String>), OptionError> {
    let mut globals = Globals::default();
    let mut words = Vec::new();
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        if arg == "--" {
            words.push(arg);
            words.extend(args);
            break;
        }
        let Some((mut def, mut glued)) = lookup(&arg)? else {
            words.push(arg);
            continue;
        };
        // Glued short switches: each takes itself off, the first with a value takes the rest.
        while let (false, Some(more)) = (def.has_value, &glued) {
            let next = format!("-{}", more.chars().next().unwrap_or('-'));
            let is_short = !arg.starts_with("--") && !arg.contains('=');
            let Some(follower) = DEFS.iter().find(|d| is_short && d.spellings.contains(&next.as_str()))
            else {
                return Err(OptionError::Surplus(def.shown, more.clone()));
            };
            let rest = more[next.len() - 1..].to_owned();
            globals.take(def, String::new())?;
            (def, glued) = (follower, Some(rest).filter(|r| !r.is_empty()));
        }
        let v = match (def.has_value, glued) {
            (false, _) => String::new(),
            (true, Some(v)) => v,
            (true, None) => args.next_if(|v| !looks_like_option(v)).ok_or(OptionError::NoValue(def.shown))?,
        };
        globals.take(def, v)?;
    }
    Ok((globals, words))
}

/// The options for a reader.
pub fn help() -> String {
    let mut out = String::from("usage: loligo ceph [options] command...\n\noptions:\n");
    for d in DEFS.iter().filter(|d| !d.about.is_empty()) {
        let tail = if d.has_value { " VALUE" } else { "" };
        out.push_str(&format!("  {:<28}{}\n", format!("{}{tail}", d.spellings.join(", ")), d.about));
    }
    out.push_str(&format!("  {:<28}{}\n", "-m, --mon-host VALUE", "monitors' addresses"));
    out.push_str(&format!("  {:<28}{}\n", "-k, --keyring VALUE", "keyring file"));
    out.push_str(&format!("  {:<28}{}\n", "--OPTION VALUE", "any option of ceph.conf"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Globals, Vec<String>), OptionError> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_stand_before_between_and_behind_the_words() {
        let (g, w) =
            parsed("--id x osd -f json tree --conf=/c -o out --cluster c2 --unknown 5 -n=client.y").unwrap();
        assert_eq!(w, ["osd", "tree", "--unknown", "5"]);
        assert_eq!(
            (g.id.as_deref(), g.format.as_deref(), g.conf.as_deref()),
            (Some("x"), Some("json"), Some("/c"))
        );
        assert_eq!((g.out_file.as_deref(), g.name.as_deref()), (Some("out"), Some("client.y")));
        let (g, w) = parsed("osd crush reweight osd.0 -1 -i - -- -f json").unwrap();
        assert_eq!(w, ["osd", "crush", "reweight", "osd.0", "-1", "--", "-f", "json"]);
        assert_eq!((g.in_file.as_deref(), g.format), (Some("-"), None));
    }

    #[test]
    fn options_may_be_cut_short_and_glued() {
        let (g, _) = parsed("-swfjson --watch-d --in x --conn 7").unwrap();
        assert!(g.status && g.watch);
        assert_eq!(
            (g.format.as_deref(), g.level, g.in_file.as_deref(), g.timeout_secs),
            (Some("json"), Some("debug"), Some("x"), Some(7))
        );
        assert_eq!(
            parsed("--set x").unwrap_err().to_string(),
            "ambiguous option: --set could match --setuser, --setgroup"
        );
        assert!(matches!(parsed("--con x"), Err(OptionError::Ambiguous(..))));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parsed("-f yml").unwrap_err(), OptionError::Format("yml".into()));
        assert_eq!(parsed("-o -f json").unwrap_err(), OptionError::NoValue("-o/--out-file"));
        assert_eq!(parsed("--status=5").unwrap_err(), OptionError::Surplus("-s/--status", "5".into()));
        assert_eq!(
            parsed("--connect-timeout x").unwrap_err().to_string(),
            "argument --connect-timeout: invalid int value: 'x'"
        );
        assert_eq!(parsed("-W audit --watch-warn --watch-debug").unwrap().0.level, Some("warn"));
    }
}
