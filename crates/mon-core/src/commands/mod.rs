//! Commands: the table of handlers, how a command is checked and run, and `get_command_descriptions`.
//!
//! A handler reads committed state or stages changes; it answers with an [`Out`], or an errno with stock's text. Only what
//! has a handler is described to clients, with stock's signature.

mod args;
mod auth_cmds;
mod balancer_cmds;
mod config_cmds;
mod config_help;
mod config_show;
mod crash_cmds;
mod crush_cmds;
mod crush_edit;
mod daemon_cmds;
mod df;
mod ec_cmds;
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
mod mgr_descs;
mod mgr_map_cmds;
mod misc_cmds;
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
mod progress_cmds;
mod reweight_cmds;
mod status;
mod tier_cmds;
mod upmap_cmds;

pub use args::{Args, Format};
pub use balancer_cmds::Balancer;
pub(crate) use balancer_cmds::tick as balancer_tick;
pub(crate) use crash_cmds::recent as recent_crashes;
pub use daemon_cmds::{is_of_process, of_process, of_this_monitor};
pub use df::{pool_max_avail, pool_used_bytes};
pub(crate) use health_cmds::digest;
pub use health_cmds::pong;
pub(crate) use mon_cmds::legacy as legacy_address;
pub(crate) use pool_cmds::{deletable, stage_delete, stage_mksnap, stage_pool, stage_rmsnap};
pub(crate) use progress_cmds::{
    load as load_progress, map_changed as progress_map_changed, tick as progress_tick,
};
pub(crate) use status::manager_line;
pub(crate) use tier_cmds::in_use as tier_in_use;

use crate::authz::{self, Way};
use crate::core::MonCore;
use crate::event::{Role, SessionId};
use crate::fmt::{compact, pretty};
use bytes::Bytes;
use messages::mgr::MMgrCommand;
use messages::mon::{MCommand, MMonCommand};
use messages::{Message, kinds};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;
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
    /// To the service, or to this daemon.
    pub way: Way,
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
    /// For a failure that has output too: its code as it goes out.
    pub ret: i32,
}

/// A handler's result.
pub type CmdResult = Result<Out, (Errno, String)>;
type Handler = fn(&mut MonCore, &Args, &Ctx) -> CmdResult;

/// Success with a status text that waits for the commit.
pub(crate) fn done(outs: impl Into<String>) -> CmdResult {
    Ok(Out { outs: outs.into(), data: Vec::new(), wait: true, ret: 0 })
}
/// Success with output.
pub(crate) fn text(data: impl Into<String>) -> CmdResult {
    Ok(Out { outs: String::new(), data: data.into().into_bytes(), wait: false, ret: 0 })
}
/// Success with output and a status text.
pub(crate) fn text_outs(data: impl Into<String>, outs: impl Into<String>) -> CmdResult {
    Ok(Out { outs: outs.into(), data: data.into().into_bytes(), wait: false, ret: 0 })
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

fn families() -> [&'static [(&'static str, Handler)]; 28] {
    [
        mon_cmds::TABLE,
        map_cmds::TABLE,
        mgr_map_cmds::TABLE,
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
        upmap_cmds::TABLE,
        reweight_cmds::TABLE,
        ec_cmds::TABLE,
        crush_edit::TABLE,
        crash_cmds::TABLE,
        balancer_cmds::TABLE,
        progress_cmds::TABLE,
        tier_cmds::TABLE,
        misc_cmds::TABLE,
        daemon_cmds::TABLE,
    ]
}

/// Every command that has a handler, in order.
pub fn prefixes() -> Vec<&'static str> {
    let mut all: Vec<_> = families().iter().flat_map(|t| t.iter().map(|(p, _)| *p)).collect();
    all.sort_unstable();
    all
}

/// One row of stock's table of commands that has a handler here.
pub(crate) struct Signature {
    pub prefix: &'static str,
    pub module: &'static str,
    pub perm: &'static str,
    pub flags: u32,
    pub sig: &'static str,
    handler: Handler,
}

/// Handled by the manager (`MonCommand::FLAG_MGR`).
pub(crate) const FLAG_MGR: u32 = 8;
/// Of the daemon itself, by `tell` (`MonCommand::FLAG_TELL`).
pub(crate) const FLAG_TELL: u32 = 33;
/// Deprecated (`MonCommand::FLAG_DEPRECATED`).
const FLAG_DEPRECATED: u32 = 4;

/// The rows, in stock's order. A handler without a row is unknown to everyone.
pub(crate) fn signatures() -> &'static [Signature] {
    static ROWS: OnceLock<Vec<Signature>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let handlers: BTreeMap<&str, Handler> = families().iter().flat_map(|t| t.iter().copied()).collect();
        let row = |l: &'static str| {
            let mut f = l.split('\t');
            let (prefix, module, perm) = (f.next()?, f.next()?, f.next()?);
            let (flags, sig) = (f.next()?.parse().ok()?, f.next()?);
            Some(Signature { prefix, module, perm, flags, sig, handler: *handlers.get(prefix)? })
        };
        include_str!("signatures.tsv").lines().filter_map(row).collect()
    })
}

/// The row of a command that has a handler.
pub(crate) fn signature(prefix: &str) -> Option<&'static Signature> {
    static INDEX: OnceLock<BTreeMap<&'static str, &'static Signature>> = OnceLock::new();
    // The first row of a prefix counts, should it have several forms.
    let index = INDEX.get_or_init(|| signatures().iter().rev().map(|s| (s.prefix, s)).collect());
    index.get(prefix).copied()
}

/// Describes the commands of the table that are known there, behind those that are described already; without the built-in manager
/// none of its own.
fn describe(mut all: Map<String, Value>, role: Role, way: Way, builtin: bool) -> String {
    // (What is told to a monitor's process has names that the service uses otherwise.)
    let told = (role, way) == (Role::Mon, Way::Tell);
    let own = |s: &&Signature| {
        authz::knows(role, way, s)
            && !(told && is_of_process(s.prefix))
            && (builtin || s.flags & FLAG_MGR == 0)
    };
    for s in signatures().iter().filter(own) {
        // Hidden ones (flag 32) are listed by stock too.
        let sig: Value = serde_json::from_str(s.sig).unwrap_or(Value::Null);
        let mut d = Map::new();
        d.insert("sig".into(), sig);
        d.insert("help".into(), Value::from(format!("{} ({})", s.prefix, s.module)));
        if role == Role::Mon && way == Way::Service {
            d.insert("module".into(), s.module.into());
            d.insert("perm".into(), s.perm.into());
            d.insert("flags".into(), s.flags.into());
        }
        all.insert(format!("cmd{:03}", all.len()), Value::Object(d));
    }
    if told {
        for (sig, help) in daemon_cmds::process_signatures() {
            all.insert(format!("cmd{:03}", all.len()), json!({"sig": sig, "help": help}));
        }
    }
    compact(&Value::Object(all))
}

/// The answer to `get_command_descriptions`; nearly every run of a client begins with it.
fn descriptions(role: Role, way: Way) -> Bytes {
    static TEXTS: OnceLock<BTreeMap<(u8, u8), Bytes>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let roles = [Role::Mon, Role::Mgr, Role::Local];
        let all = roles.into_iter().flat_map(|r| [(r, Way::Service), (r, Way::Tell)]);
        all.map(|(r, w)| ((r as u8, w as u8), Bytes::from(describe(Map::new(), r, w, true)))).collect()
    });
    texts.get(&(role as u8, way as u8)).cloned().unwrap_or_default()
}

/// True when a command may change something.
pub(crate) fn text_writes(text: &str) -> bool {
    let Ok(a) = Args::parse(&[text.to_owned()]) else { return false };
    signature(&a.prefix).is_some_and(|s| s.perm.contains('w') && s.flags & FLAG_TELL != FLAG_TELL)
}

/// Commands that any member answers from committed state. The rest goes to the leader: what changes something, and what needs the reports
/// that only it gets.
const FROM_COMMITTED: &[&str] = &[
    "auth export",
    "auth get",
    "auth get-key",
    "auth list",
    "auth ls",
    "auth print-key",
    "auth print_key",
    "config dump",
    "config get",
    "config-key dump",
    "config-key exists",
    "config-key get",
    "config-key list",
    "config-key ls",
    "fsid",
    "get_command_descriptions",
    "log last",
    "mgr dump",
    "mgr stat",
    "mon dump",
    "mon feature ls",
    "mon getmap",
    "mon metadata",
    "mon stat",
    "mon versions",
    "mon_status",
    "osd blocklist ls",
    "osd crush class ls",
    "osd crush dump",
    "osd crush get-device-class",
    "osd crush ls",
    "osd crush ls-osd",
    "osd crush rule dump",
    "osd crush rule list",
    "osd crush rule ls",
    "osd crush show-tunables",
    "osd crush tree",
    "osd crush weight-set dump",
    "osd crush weight-set ls",
    "osd dump",
    "osd erasure-code-profile get",
    "osd erasure-code-profile ls",
    "osd find",
    "osd getcrushmap",
    "osd getmap",
    "osd getmaxosd",
    "osd info",
    "osd ls",
    "osd lspools",
    "osd map",
    "osd metadata",
    "osd numa-status",
    "osd pool application get",
    "osd pool get",
    "osd pool ls",
    "osd tree",
    "osd versions",
    "quorum_status",
    "sessions",
    "version",
];

/// True for a command that any member answers from committed state.
pub(crate) fn is_from_committed(msg: &Message) -> bool {
    let Ok(m) = msg.decode::<MMonCommand>() else { return false };
    Args::parse(&m.cmd).is_ok_and(|a| FROM_COMMITTED.binary_search(&a.prefix.as_str()).is_ok())
}

/// True for a command whose answer may hold a key.
pub(crate) fn is_about_keys(cmd: &[String]) -> bool {
    let module = |a: Args| signature(&a.prefix).map(|s| s.module);
    Args::parse(cmd).is_ok_and(|a| {
        a.prefix.starts_with("config-key")
            || a.prefix.starts_with("fs authorize")
            || module(a) == Some("auth")
    })
}

/// The refusal that takes the place of an answer, if that kind of answer can refuse.
pub(crate) fn refused_instead(answer: &Message, e: Errno, text: &str) -> Option<Message> {
    let f = denc::Features(types::features::SUPPORTED);
    let (r, rs, data) = (e.negated(), text.to_owned(), Bytes::new());
    let refusal = match answer.header.kind {
        kinds::MON_COMMAND_ACK => {
            let m = answer.decode::<messages::MMonCommandAck>().ok()?;
            Message::new(&messages::MMonCommandAck { r, rs, data, ..m }, f)
        }
        kinds::COMMAND_REPLY => Message::new(&messages::MCommandReply { r, rs, data }, f),
        kinds::MGR_COMMAND_REPLY => Message::new(&messages::MMgrCommandReply { r, rs, data }, f),
        kinds::POOLOP_REPLY => {
            let m = answer.decode::<messages::MPoolOpReply>().ok()?;
            Message::new(&messages::MPoolOpReply { reply_code: r, response_data: None, ..m }, f)
        }
        _ => return None,
    };
    Some(refusal.with_tid(answer.header.tid))
}

/// True when a command in a message may change something.
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
        let data = match core.mgr.external && (ctx.role, ctx.way) == (Role::Mon, Way::Service) {
            true => mgr_descs::descriptions(core),
            false => descriptions(ctx.role, ctx.way),
        };
        return (Reply { ret: 0, outs: String::new(), data }, false);
    }
    let Some(row) = signature(&args.prefix).filter(|s| authz::knows(ctx.role, ctx.way, s)) else {
        let text = match (ctx.role, ctx.way) {
            (Role::Mgr, Way::Service) => format!("no handler found for '{}'", args.prefix),
            (Role::Mon, Way::Service) => "command not known".to_owned(),
            _ => format!("unknown command '{}'", args.prefix),
        };
        return err(Errno::EINVAL, text);
    };
    if core.mgr.external && row.flags & FLAG_MGR != 0 {
        return err(Errno::EOPNOTSUPP, mgr_descs::elsewhere(core));
    }
    if row.flags & FLAG_DEPRECATED != 0 && core.cfg.flag("mon_debug_deprecated_as_obsolete") {
        let text = "command is obsolete; please check usage and/or man page";
        return err(Errno::EOPNOTSUPP, text.to_owned());
    }
    let peer = ctx.session.and_then(|id| core.sessions.get(&id)).map(|s| &s.peer);
    let allowed = ctx.role == Role::Local || peer.is_some_and(|p| authz::command(p, ctx.way, &args));
    // What may carry a secret as an argument is in no log.
    let silent = matches!(args.prefix.as_str(), "config set" | "config-key set" | "config-key put");
    if !allowed {
        if !silent {
            audit(core, ctx, cmd, ":  access denied");
        }
        return err(Errno::EACCES, denial(ctx).to_owned());
    }
    if row.perm.contains('w')
        && row.flags & FLAG_TELL != FLAG_TELL
        && !silent
        && !args.prefix.starts_with("config-key")
        && !args.prefix.starts_with("log")
    {
        audit(core, ctx, cmd, ": dispatch");
    }
    match (row.handler)(core, &args, ctx) {
        Ok(o) => (Reply { ret: o.ret, outs: o.outs, data: Bytes::from(o.data) }, o.wait),
        Err((e, outs)) => err(e, outs),
    }
}

/// What a command that is meant for another cluster is answered.
pub(crate) fn wrong_fsid() -> (Reply, bool) {
    (Reply { ret: Errno::EPERM.negated(), outs: "wrong fsid".to_owned(), data: Bytes::new() }, false)
}

fn audit(core: &mut MonCore, ctx: &Ctx, cmd: &[String], what: &str) {
    let e = &ctx.entity;
    core.clog("audit", LogPrio::INFO, format!("from='{e}' entity='{e}' cmd={}{what}", show(cmd)));
}

/// Stock's words for a refusal.
fn denial(ctx: &Ctx) -> &'static str {
    match (ctx.role, ctx.way) {
        (Role::Mgr, _) => {
            "access denied: does your client key have mgr caps? See \
             http://docs.ceph.com/en/latest/mgr/administrator/#client-authentication"
        }
        (_, Way::Tell) => "insufficient caps",
        _ => "access denied",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_member_answers_changes_nothing_and_is_found() {
        assert!(FROM_COMMITTED.is_sorted());
        for prefix in FROM_COMMITTED.iter().filter(|p| **p != "get_command_descriptions") {
            if let Some(s) = signature(prefix) {
                assert!(!s.perm.contains('w'), "{prefix}");
            }
        }
    }
}
