//! What is told to one monitor (`ceph tell mon.X`, `ceph daemon mon.X`) and concerns it alone: taking part in the quorum, its process's options.

use super::{Args, CmdResult, Ctx, FLAG_TELL, Handler, fail, signature, signatures, text_outs};
use crate::core::MonCore;
use crate::event::MonEffect;
use serde_json::Value;
use types::Errno;
use types::logentry::LogPrio;

pub(super) const TABLE: &[(&str, Handler)] =
    &[("quorum exit", quorum_exit), ("quorum enter", quorum_enter), ("sync_force", sync_force)];

/// Commands that the process answers, not the core: prefix, parameters as stock describes them, and what it does.
const OF_PROCESS: &[(&str, &str, &str)] = &[
    ("config diff", "", "dump diff of current config and default config"),
    (
        "config diff get",
        r#"{"name":"var","type":"CephString"}"#,
        "dump diff get <field>: dump diff of current and default config setting <field>",
    ),
    ("config get", r#"{"name":"var","type":"CephString"}"#, "config get <field>: get the config value"),
    (
        "config help",
        r#"{"name":"var","type":"CephString","req":"false"}"#,
        "get config setting schema and descriptions",
    ),
    (
        "config set",
        r#"{"name":"var","type":"CephString"},{"name":"val","type":"CephString","n":"N"}"#,
        "config set <field> <val> [<val> ...]: set a config variable",
    ),
    ("config show", "", "dump current config settings"),
    (
        "config unset",
        r#"{"name":"var","type":"CephString"}"#,
        "config unset <field>: unset a config variable",
    ),
    (
        "injectargs",
        r#"{"name":"injected_args","type":"CephString","n":"N"}"#,
        "inject configuration arguments into running daemon",
    ),
    ("log flush", "", "flush log entries to log file"),
    ("log reopen", "", "reopen log file"),
];

/// Prefixes of the commands that the process answers.
pub fn of_process() -> impl Iterator<Item = &'static str> {
    OF_PROCESS.iter().map(|(prefix, _, _)| *prefix)
}

/// True for a command that the process answers.
pub fn is_of_process(prefix: &str) -> bool {
    of_process().any(|p| p == prefix)
}

/// Signatures and helps of the commands that the process answers.
pub(super) fn process_signatures() -> impl Iterator<Item = (Value, &'static str)> {
    OF_PROCESS.iter().map(|(prefix, parameters, help)| {
        let words = prefix.split(' ').map(Value::from);
        let parameters: Vec<Value> = serde_json::from_str(&format!("[{parameters}]")).unwrap_or_default();
        (words.chain(parameters).collect(), *help)
    })
}

/// A parameter of a signature, as admin sockets describe it.
fn parameter(v: &Value) -> String {
    match v {
        Value::Object(o) => {
            let field = |(k, v): (&String, &Value)| format!("{k}={}", v.as_str().unwrap_or_default());
            o.iter().map(field).collect::<Vec<_>>().join(",")
        }
        v => v.as_str().unwrap_or_default().to_owned(),
    }
}

/// Signatures (as admin sockets take them) and helps of the commands by `tell` that the core answers.
pub fn of_this_monitor() -> Vec<(String, String)> {
    signatures()
        .iter()
        .filter(|s| s.flags & FLAG_TELL == FLAG_TELL)
        .map(|s| {
            let words: Vec<Value> = serde_json::from_str(s.sig).unwrap_or_default();
            (words.iter().map(parameter).collect::<Vec<_>>().join(" "), s.prefix.to_owned())
        })
        .collect()
}

impl MonCore {
    /// Notes in the cluster's log, as stock does, that a command of this very monitor was run.
    pub(crate) fn audit_own(&mut self, cmd: &str) {
        let Ok(a) = Args::parse(&[cmd.to_owned()]) else { return };
        let Some(s) = signature(&a.prefix).filter(|s| s.flags & FLAG_TELL == FLAG_TELL) else { return };
        // (As stock writes it, and only before the command runs: what becomes of it is its answer.)
        let prio = if s.perm.contains('w') { LogPrio::INFO } else { LogPrio::DEBUG };
        let given: Vec<String> = a
            .map
            .keys()
            .filter(|k| !matches!(k.as_str(), "prefix" | "format" | "target"))
            .map(|k| a.text(k))
            .collect();
        let from = "from='admin socket' entity='admin socket'";
        let line = format!("{from} cmd='{}' args=[{}]: dispatch", a.prefix, given.join(", "));
        self.clog("audit", prio, line);
    }
}

fn quorum_exit(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    core.effects.push(MonEffect::TakePart(false));
    text_outs("", "stopped responding to quorum, initiated new election")
}

fn quorum_enter(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    core.effects.push(MonEffect::TakePart(true));
    text_outs("", "started responding to quorum, initiated new election")
}

fn sync_force(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    if a.str("validate").as_deref() != Some("--yes-i-really-mean-it") {
        return fail(
            Errno::EPERM,
            "are you SURE? this will mean the monitor store will be erased the next time the monitor is restarted.  pass \
             '--yes-i-really-mean-it' if you really do.",
        );
    }
    fail(
        Errno::EOPNOTSUPP,
        "this monitor takes what it lacks from the quorum by itself; to give it a new store, stop it, remove its folder, make one with --mkfs",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_process_is_described_with_its_parameters() {
        let sigs: Vec<Value> = process_signatures().map(|(sig, _)| sig).collect();
        assert_eq!(sigs.len(), of_process().count());
        for ((prefix, parameters, _), sig) in OF_PROCESS.iter().zip(&sigs) {
            let words: Vec<&str> = sig.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(words.join(" "), *prefix);
            let described = sig.as_array().unwrap().len() - words.len();
            assert_eq!(described, parameters.matches(r#""name":"#).count(), "{sig}");
        }
    }

    #[test]
    fn signatures_are_those_of_admin_sockets() {
        let all = of_this_monitor();
        assert!(all.iter().any(|(s, _)| s == "quorum exit"));
        let sync = all.iter().find(|(s, _)| s.starts_with("sync_force ")).unwrap();
        assert!(sync.0.contains("strings=--yes-i-really-mean-it"), "{}", sync.0);
    }
}
