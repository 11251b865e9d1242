//! Commands: the table of handlers, how a command is checked and run, and `get_command_descriptions`.
//!
//! A handler reads committed state or stages changes; it answers with an [`Out`], or an errno with stock's text. Only what
//! has a handler is described to clients, with stock's signature.

mod args;
mod auth_cmds;
mod config_cmds;
mod config_help;
mod crush_cmds;
mod df;
mod fs_auth;
mod fs_cmds;
mod fs_json;
mod fs_mirror;
mod fs_set;
mod fs_status;
mod health_cmds;
mod map_cmds;
mod mds_cmds;
mod mgr_cmds;
mod mon_cmds;
mod osd_cmds;
mod osd_dump;
mod osd_life;
mod osd_tree;
mod pg_cmds;
mod pg_dump;
mod pool_cmds;
mod pool_get;
mod pool_set;
mod status;

pub use args::{Args, Format};
pub use df::{pool_max_avail, pool_used_bytes};
pub use mon_cmds::mon_status_json;
pub(crate) use pool_cmds::{deletable, stage_delete, stage_mksnap, stage_pool, stage_rmsnap};

use crate::authz;
use crate::core::MonCore;
use crate::event::{Role, SessionId};
use crate::fmt::{compact, pretty};
use bytes::Bytes;
use messages::mgr::MMgrCommand;
use messages::mon::{MCommand, MMonCommand};
use messages::{Message, kinds};
use serde_json::{Map, Value, json};
use types::Errno;
use types::logentry::LogPrio;

/// Who asks, and with what input.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Entity name.
    pub entity: String,
    /// Which way it came.
    pub role: Role,
    /// Input data.
    pub input: Bytes,
    /// Its session.
    pub session: Option<SessionId>,
}

/// A finished answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// 0 or a negative errno.
    pub ret: i32,
    /// Status text.
    pub outs: String,
    /// Output.
    pub data: Bytes,
}

/// What a handler answers when it succeeds.
#[derive(Clone, Debug, Default)]
pub struct Out {
    /// Status text.
    pub outs: String,
    /// Output.
    pub data: Vec<u8>,
    /// The answer waits for the commit of what was staged.
    pub wait: bool,
}

/// A handler's result.
pub type CmdResult = Result<Out, (Errno, String)>;
type Handler = fn(&mut MonCore, &Args, &Ctx) -> CmdResult;

/// Success with a status text that waits for the commit.
pub(crate) fn done(outs: impl Into<String>) -> CmdResult {
    Ok(Out { outs: outs.into(), data: Vec::new(), wait: true })
}
/// Success with output.
pub(crate) fn text(data: impl Into<String>) -> CmdResult {
    Ok(Out { outs: String::new(), data: data.into().into_bytes(), wait: false })
}
/// Success with output and a status text.
pub(crate) fn text_outs(data: impl Into<String>, outs: impl Into<String>) -> CmdResult {
    Ok(Out { outs: outs.into(), data: data.into().into_bytes(), wait: false })
}
/// Failure.
pub(crate) fn fail(e: Errno, outs: impl Into<String>) -> CmdResult {
    Err((e, outs.into()))
}
/// Prefixes whose one-line JSON stock ends with a newline.
const JSON_NEWLINE: &[&str] = &[
    "status",
    "node ls",
    "df",
    "quorum_status",
    "mon stat",
    "mon dump",
    "mon metadata",
    "mon versions",
    "mon feature ls",
    "osd dump",
    "osd tree",
    "osd ls",
    "osd lspools",
    "osd pool get-quota",
    "config-key ls",
    "config-key dump",
    "osd erasure-code-profile ls",
    "osd erasure-code-profile get",
    "osd crush dump",
    "osd crush rule dump",
    "osd crush show-tunables",
    "osd get-require-min-compat-client",
];
/// The same, but whose indented JSON has no newline more than it has anyway.
const COMPACT_NEWLINE: &[&str] = &[
    "mds stat",
    "mds metadata",
    "mds versions",
    "mds count-metadata",
    "mds compat show",
    "fs compat show",
    "fs feature ls",
    "fs get",
    "fs ls",
    "fs dump",
];
/// Prefixes whose indented JSON is followed by one more newline even when plain text was asked for.
const PLAIN_NEWLINE: &[&str] = &["osd crush dump", "osd crush rule dump", "osd crush show-tunables"];
/// JSON in the wanted form; plain text where none is wanted.
pub(crate) fn render(a: &Args, v: &Value, plain: impl FnOnce() -> String) -> CmdResult {
    match a.format() {
        Format::Plain => text(plain()),
        _ => as_json(a, v),
    }
}
/// JSON in any case; plain asks for the indented form.
pub(crate) fn as_json(a: &Args, v: &Value) -> CmdResult {
    match a.format() {
        Format::Json => {
            let prefix = a.prefix.as_str();
            let nl = JSON_NEWLINE.contains(&prefix) || COMPACT_NEWLINE.contains(&prefix);
            text(compact(v) + if nl { "\n" } else { "" })
        }
        _ => {
            let list = if a.format() == Format::JsonPretty { JSON_NEWLINE } else { PLAIN_NEWLINE };
            let nl = if list.contains(&a.prefix.as_str()) { "\n" } else { "" };
            text(pretty(v) + nl)
        }
    }
}
/// The argument, or stock's complaint.
pub(crate) fn need(a: &Args, name: &str) -> Result<String, (Errno, String)> {
    a.str(name).ok_or_else(|| (Errno::EINVAL, format!("bad or missing field '{name}'")))
}
/// An integer argument, or stock's complaint.
pub(crate) fn need_int(a: &Args, name: &str) -> Result<i64, (Errno, String)> {
    a.int(name).ok_or_else(|| (Errno::EINVAL, format!("bad or missing field '{name}'")))
}
/// A float argument, or stock's complaint.
pub(crate) fn need_float(a: &Args, name: &str) -> Result<f64, (Errno, String)> {
    a.float(name).ok_or_else(|| (Errno::EINVAL, format!("bad or missing field '{name}'")))
}

fn families() -> [&'static [(&'static str, Handler)]; 17] {
    [
        mon_cmds::TABLE,
        map_cmds::TABLE,
        fs_cmds::TABLE,
        fs_status::TABLE,
        mds_cmds::TABLE,
        status::TABLE,
        health_cmds::TABLE,
        auth_cmds::TABLE,
        config_cmds::TABLE,
        osd_cmds::TABLE,
        osd_life::TABLE,
        osd_tree::TABLE,
        crush_cmds::TABLE,
        pool_cmds::TABLE,
        mgr_cmds::TABLE,
        pg_cmds::TABLE,
        df::TABLE,
    ]
}

fn find(prefix: &str) -> Option<Handler> {
    families().iter().flat_map(|t| t.iter()).find(|(p, _)| *p == prefix).map(|(_, h)| *h)
}

/// One row of stock's table of commands.
pub(crate) struct Signature {
    pub prefix: &'static str,
    pub module: &'static str,
    pub perm: &'static str,
    pub flags: u32,
    pub sig: &'static str,
}

/// Handled by the manager (`MonCommand::FLAG_MGR`).
pub(crate) const FLAG_MGR: u32 = 8;

/// Commands of stock's table that we handle.
pub(crate) fn signatures() -> impl Iterator<Item = Signature> {
    include_str!("signatures.tsv").lines().filter_map(|l| {
        let mut f = l.split('\t');
        let s = Signature {
            prefix: f.next()?,
            module: f.next()?,
            perm: f.next()?,
            flags: f.next()?.parse().ok()?,
            sig: f.next()?,
        };
        (find(s.prefix).is_some()).then_some(s)
    })
}

pub(crate) fn signature(prefix: &str) -> Option<Signature> {
    signatures().find(|s| s.prefix == prefix)
}

fn describe(role: Role) -> String {
    let mut all = Map::new();
    for s in signatures().filter(|s| role != Role::Mgr || s.flags & FLAG_MGR != 0) {
        // Hidden ones (flag 32) are listed by stock too.
        let sig: Value = serde_json::from_str(s.sig).unwrap_or(Value::Null);
        let mut d = Map::new();
        d.insert("sig".into(), sig);
        d.insert("help".into(), Value::from(format!("{} ({})", s.prefix, s.module)));
        if role == Role::Mon {
            d.insert("module".into(), s.module.into());
            d.insert("perm".into(), s.perm.into());
            d.insert("flags".into(), s.flags.into());
        }
        all.insert(format!("cmd{:03}", all.len()), Value::Object(d));
    }
    compact(&Value::Object(all))
}

/// True when a command may change something.
pub(crate) fn text_writes(text: &str) -> bool {
    let Ok(a) = Args::parse(&[text.to_owned()]) else { return false };
    signature(&a.prefix).is_some_and(|s| s.perm.contains('w'))
}

/// The same for a message.
pub(crate) fn message_writes(msg: &Message) -> bool {
    let cmd = match msg.header.kind {
        kinds::MON_COMMAND => msg.decode::<MMonCommand>().map(|m| m.cmd),
        kinds::MGR_COMMAND => msg.decode::<MMgrCommand>().map(|m| m.cmd),
        _ => msg.decode::<MCommand>().map(|m| m.cmd),
    };
    cmd.is_ok_and(|c| text_writes(&c.concat()))
}

/// Checks and runs a command. The flag says that the reply waits for the next commit.
pub(crate) fn run(core: &mut MonCore, cmd: &[String], ctx: &Ctx) -> (Reply, bool) {
    let err = |e: Errno, outs: String| (Reply { ret: e.negated(), outs, data: Bytes::new() }, false);
    let args = match Args::parse(cmd) {
        Ok(a) => a,
        Err(text) => return err(Errno::EINVAL, text),
    };
    if args.prefix == "get_command_descriptions" {
        let data = Bytes::from(describe(ctx.role));
        return (Reply { ret: 0, outs: String::new(), data }, false);
    }
    let Some(handler) = find(&args.prefix) else {
        return err(Errno::EINVAL, "command not known".to_owned());
    };
    let sig = signature(&args.prefix);
    let (module, perm) = sig.as_ref().map_or(("mon", "rw"), |s| (s.module, s.perm));
    if ctx.role != Role::Local && !authz::command(core, ctx, &args, module, perm) {
        let e = &ctx.entity;
        core.clog(
            "audit",
            LogPrio::INFO,
            format!("from='{e}' entity='{e}' cmd={}:  access denied", show(cmd)),
        );
        return err(Errno::EACCES, "access denied".to_owned());
    }
    if perm.contains('w') && !args.prefix.starts_with("config-key") && !args.prefix.starts_with("log") {
        let e = &ctx.entity;
        core.clog("audit", LogPrio::INFO, format!("from='{e}' entity='{e}' cmd={}: dispatch", show(cmd)));
    }
    match handler(core, &args, ctx) {
        Ok(o) => (Reply { ret: 0, outs: o.outs, data: Bytes::from(o.data) }, o.wait),
        Err((e, outs)) => err(e, outs),
    }
}

/// Longest command text in the audit log.
const AUDIT_MAX: usize = 2000;

fn show(cmd: &[String]) -> String {
    let mut s = format!("[{}]", cmd.concat());
    if let Ok(Value::Object(mut m)) = serde_json::from_str::<Value>(&cmd.concat())
        && m.remove("val").is_some()
    {
        s = format!("[{}]", json!(m));
    }
    if s.len() > AUDIT_MAX {
        let mut at = AUDIT_MAX;
        while !s.is_char_boundary(at) {
            at -= 1;
        }
        s.truncate(at);
    }
    s
}
