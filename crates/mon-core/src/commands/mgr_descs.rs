//! Commands of an external manager, as clients learn of them: by `get_command_descriptions` of the monitors.
//!
//! A manager says in its beacon what it answers, in Ceph's own notation (`name=who,type=CephString,req=false`).

use super::{FLAG_MGR, describe};
use crate::authz::Way;
use crate::core::MonCore;
use crate::event::Role;
use bytes::Bytes;
use messages::mgr::CommandDesc;
use serde_json::{Map, Value};

/// The refusal of a command that belongs to the manager.
pub(super) fn elsewhere(core: &MonCore) -> String {
    let m = &core.mgr.map;
    let who = match m.active_gid {
        0 => "there is none now".to_owned(),
        _ => format!("mgr.{}", m.active_name),
    };
    format!("this is a command of the manager, which is an external one here ({who}): send it there")
}

/// A signature as JSON.
fn signature(cmdstring: &str) -> Value {
    let word = |w: &str| {
        if !w.contains([',', '=']) {
            return Value::from(w);
        }
        let field = |p: &str| {
            let (k, v) = p.split_once('=').unwrap_or((p, "True"));
            (k.to_owned(), Value::from(v))
        };
        let fields: Map<String, Value> = w.split(',').filter(|p| !p.is_empty()).map(field).collect();
        // For the manager itself, since quincy; older clients would not know what to do with it.
        Value::Object(fields.into_iter().filter(|(k, _)| k != "positional").collect())
    };
    cmdstring.split_whitespace().map(word).collect()
}

fn described(c: &CommandDesc) -> Value {
    let mut d = Map::new();
    d.insert("sig".into(), signature(&c.cmdstring));
    d.insert("help".into(), c.helpstring.clone().into());
    d.insert("module".into(), c.module.clone().into());
    d.insert("perm".into(), c.req_perms.clone().into());
    d.insert("flags".into(), (c.flags | u64::from(FLAG_MGR)).into());
    Value::Object(d)
}

/// The answer of `get_command_descriptions` where the manager is an external one: its commands, then the monitors'.
pub(super) fn descriptions(core: &mut MonCore) -> Bytes {
    if let Some(text) = &core.described {
        return text.clone();
    }
    let mut all = Map::new();
    for c in &core.mgr.commands {
        all.insert(format!("cmd{:03}", all.len()), described(c));
    }
    // Until one has told its own, those of the built-in manager stand for them: most are stock's.
    let text = Bytes::from(describe(all, Role::Mon, Way::Service, core.mgr.commands.is_empty()));
    core.described = Some(text.clone());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stocks_notation_becomes_stocks_json() {
        let v = signature(
            "pg map name=pgid,type=CephPgid name=ids,type=CephString,n=N,req=false,flag positional=true,name=x",
        );
        assert_eq!(
            v,
            json!(["pg", "map", {"name": "pgid", "type": "CephPgid"},
                {"name": "ids", "type": "CephString", "n": "N", "req": "false", "flag": "True"}, {"name": "x"}])
        );
        assert_eq!(signature("  "), json!([]));
    }
}
