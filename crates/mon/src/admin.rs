//! The admin socket of a monitor, which `ceph tell mon.X` reaches too: stock's common commands, and the monitor's own through the core.
//!
//! Options are checked as stock checks them (`mon_core::options`), also those that nothing here reads: of these the answer says so.

use crate::shell::Shell;
use mon_core::{MonEvent, commands, options};
use runtime::asok::{Answer, pretty};
use runtime::config::Source;
use runtime::{AdminSocket, Config, Log, PerfCounters, options as honoured, register_common};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// Makes it.
pub fn admin_socket(shell: &Rc<Shell>, config: &Rc<RefCell<Config>>, log: Log) -> AdminSocket {
    let asok = AdminSocket::new("16.2.15");
    register_common(&asok, config, &PerfCounters::new(), Some(log), Rc::new(|_: &[String]| {}));
    let own = commands::of_this_monitor();
    let more = [
        ("mon_status", "report status of monitors"),
        ("quorum_status", "report status of monitor quorum"),
        ("sessions", "list existing sessions"),
        ("status", "show cluster status"),
        ("health", "show cluster health"),
    ];
    let more = more.map(|(prefix, help)| (prefix.to_owned(), help.to_owned()));
    for (signature, help) in own.into_iter().chain(more) {
        let shell = Rc::downgrade(shell);
        asok.register(&signature, &help, move |cmd| match shell.upgrade() {
            Some(shell) => match shell.local(cmd.to_string()) {
                (0, text, out) if out.is_empty() => (0, text),
                (0, _, out) => (0, String::from_utf8_lossy(&out).into_owned()),
                (code, text, _) => (code.abs(), text),
            },
            None => (108, "stopping".to_owned()),
        });
    }
    let c = config.clone();
    asok.register(
        "config get name=var,type=CephString",
        "config get <field>: get the config value",
        move |v| {
            let var = options::normalize(v["var"].as_str().unwrap_or_default());
            let default = || options::find(&var).map(|o| o.default.to_owned());
            match c.borrow().get(&var).or_else(default) {
                Some(value) => (0, pretty(&json!({ var: value }))),
                None => (2, format!("error getting '{var}': (2) No such file or directory")),
            }
        },
    );
    let (c, s) = (config.clone(), Rc::downgrade(shell));
    asok.register(
        "config set name=var,type=CephString name=val,type=CephString,n=N",
        "config set <field> <val> [<val> ...]: set a config variable",
        move |v| {
            let var = options::normalize(v["var"].as_str().unwrap_or_default());
            match set(&s, &c, &[(var, words(&v["val"]))]) {
                Ok(said) => (0, pretty(&json!({ "success": said }))),
                Err((errno, text)) => (errno, text),
            }
        },
    );
    let (c, s) = (config.clone(), Rc::downgrade(shell));
    asok.register(
        "config unset name=var,type=CephString",
        "config unset <field>: unset a config variable",
        move |v| {
            let var = options::normalize(v["var"].as_str().unwrap_or_default());
            c.borrow_mut().unset(&var);
            tell_core(&s, &c, &var);
            (0, pretty(&json!({ "success": "" })))
        },
    );
    let (c, s) = (config.clone(), Rc::downgrade(shell));
    asok.register(
        "injectargs name=injected_args,type=CephString,n=N",
        "inject configuration arguments into running daemon",
        move |v| match flags(&words(&v["injected_args"])).and_then(|pairs| set(&s, &c, &pairs)) {
            Ok(said) => (0, said),
            Err(e) => e,
        },
    );
    asok
}

/// A parameter with `n=N` comes as a list of words.
fn words(v: &Value) -> String {
    match v {
        Value::Array(a) => a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        v => v.as_str().unwrap_or_default().to_owned(),
    }
}

/// Sets all of them or none, and tells the core; what was done, in stock's words.
fn set(shell: &Weak<Shell>, config: &RefCell<Config>, pairs: &[(String, String)]) -> Result<String, Answer> {
    let mut checked = Vec::new();
    for (name, value) in pairs {
        let Some(o) = options::find(name) else {
            return Err((2, format!("error setting '{name}' to '{value}': (2) No such file or directory")));
        };
        match options::check(&o, value) {
            Ok(v) => checked.push((o, v)),
            Err(why) => {
                return Err((
                    22,
                    format!("error setting '{name}' to '{value}': (22) Invalid argument: {why}"),
                ));
            }
        }
    }
    let mut said = String::new();
    for (o, value) in checked {
        config.borrow_mut().set_checked(o.name, &value);
        tell_core(shell, config, o.name);
        said.push_str(&format!("{} = '{value}' ", o.name));
        if !is_live(o.name) {
            said.push_str("(not observed, change may require restart) ");
        }
    }
    Ok(said)
}

/// Options that the core reads each time that it needs them, beside those of the table that all programs share.
const LIVE: &[&str] = &[
    "mds_beacon_grace",
    "mds_beacon_interval",
    "mon_clock_drift_allowed",
    "mon_data_avail_crit",
    "mon_data_avail_warn",
    "mon_data_size_warn",
    "mon_debug_deprecated_as_obsolete",
    "mon_mds_blocklist_interval",
    "mon_mgr_beacon_grace",
    "mon_mgr_blocklist_interval",
    "mon_mgr_digest_period",
    "mon_mgr_inactive_grace",
    "mon_mgr_mkfs_grace",
    "mon_op_complaint_time",
    "mon_timecheck_interval",
    "mon_timecheck_skew_interval",
];

/// True for an option whose change has an effect while the monitor runs.
fn is_live(name: &str) -> bool {
    LIVE.contains(&name) || honoured::find(name).is_some_and(|o| o.runtime)
}

fn tell_core(shell: &Weak<Shell>, config: &RefCell<Config>, name: &str) {
    let default = || options::find(name).map(|o| o.default.to_owned());
    let value = config.borrow().get(name).or_else(default);
    let overridden = config.borrow().source(name) == Some(Source::Override);
    if let (Some(shell), Some(value)) = (shell.upgrade(), value) {
        shell.event(MonEvent::OptionChanged { name: name.to_owned(), value, overridden });
    }
}

/// `--a b`, `--c=d`, `--switch`, `--no-switch`.
fn flags(text: &str) -> Result<Vec<(String, String)>, Answer> {
    let mut out = Vec::new();
    let mut rest = text.split_whitespace().filter(|w| *w != "--").peekable();
    while let Some(w) = rest.next() {
        let Some(flag) = w.strip_prefix("--") else {
            return Err((22, format!("failed to parse arguments: {w}")));
        };
        let (name, value) = match flag.split_once('=') {
            Some((n, v)) => (options::normalize(n), Some(v.to_owned())),
            None => (options::normalize(flag), None),
        };
        let is_switch = |n: &str| options::find(n).is_some_and(|o| o.kind == "bool");
        if let (Some(n), None) = (name.strip_prefix("no_"), &value)
            && is_switch(n)
        {
            out.push((n.to_owned(), "false".to_owned()));
            continue;
        }
        let value = match value {
            Some(v) => v,
            None if is_switch(&name) => match rest.peek() {
                Some(v) if !v.starts_with("--") => rest.next().unwrap_or_default().to_owned(),
                _ => "true".to_owned(),
            },
            None => match rest.next() {
                Some(v) => v.to_owned(),
                None => return Err((22, format!("Option --{flag} requires an argument"))),
            },
        };
        out.push((name, value));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injected_flags_are_read_as_stock_reads_them() {
        let read = |t: &str| flags(t).unwrap();
        let one = |n: &str, v: &str| vec![(n.to_owned(), v.to_owned())];
        assert_eq!(read("--mon_pg_warn_min_objects 10K"), one("mon_pg_warn_min_objects", "10K"));
        assert_eq!(read("-- --mon-lease=6"), one("mon_lease", "6"));
        let obsolete = "mon_debug_deprecated_as_obsolete";
        assert_eq!(read("--mon-debug-deprecated-as-obsolete"), one(obsolete, "true"));
        assert_eq!(read("--no-mon-debug-deprecated-as-obsolete"), one(obsolete, "false"));
        assert_eq!(read("--mon_globalid_prealloc -1"), one("mon_globalid_prealloc", "-1"));
        assert!(flags("--mon-lease").is_err());
        assert!(flags("mon-lease 6").is_err());
    }
}
