//! Admin socket commands that every daemon has: `config ...`, `perf ...`, `log ...`, `injectargs`.

use crate::asok::{AdminSocket, Answer, pretty};
use crate::config::{Config, SetError, Source};
use crate::flags::parse_injectargs;
use crate::log::Log;
use crate::options::{self, OPTIONS};
use crate::perf::PerfCounters;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;

/// Called with the names of options that changed at run time.
pub type OnChange = Rc<dyn Fn(&[String])>;

fn text<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    v.get(key).and_then(Value::as_str)
}

/// A parameter with `n=N` comes as a list of words.
fn words(v: &Value, key: &str) -> String {
    match v.get(key) {
        Some(Value::Array(a)) => a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Some(Value::String(s)) => s.clone(),
        _ => String::new(),
    }
}

fn refusal(e: &SetError) -> Answer {
    match e {
        SetError::Unknown(_) => (2, e.to_string()),
        SetError::Invalid { .. } => (22, e.to_string()),
    }
}

/// Sets options at run time; answers in stock's words. Shared by `injectargs` here and as a `tell` command.
pub fn inject(config: &RefCell<Config>, pairs: &[(String, String)], on_change: &dyn Fn(&[String])) -> Answer {
    let mut said = String::new();
    for (k, v) in pairs {
        if let Err(e) = config.borrow_mut().set(Source::Override, k, v) {
            return refusal(&e);
        }
        let live = options::find(k).is_some_and(|o| o.runtime);
        said.push_str(&format!("{k} = '{v}' "));
        if !live {
            said.push_str("(not observed, change may require restart) ");
        }
    }
    let names: Vec<String> = pairs.iter().map(|(k, _)| k.clone()).collect();
    on_change(&names);
    (0, said)
}

/// Registers the common commands.
pub fn register_common(
    socket: &AdminSocket,
    config: &Rc<RefCell<Config>>,
    perf: &PerfCounters,
    log: Option<Log>,
    on_change: OnChange,
) {
    let c = config.clone();
    socket.register("config show", "dump current config settings", move |_| {
        (0, pretty(&json!(c.borrow().show())))
    });
    let c = config.clone();
    socket.register(
        "config get name=var,type=CephString",
        "config get <field>: get the config value",
        move |v| {
            let var = text(v, "var").unwrap_or("");
            match c.borrow().get(var) {
                Some(value) => (0, pretty(&json!({crate::conf::normalize_key(var): value}))),
                None => (2, format!("error getting '{var}': (2) No such file or directory")),
            }
        },
    );
    let c = config.clone();
    socket.register("config diff", "dump diff of current config and default config", move |_| {
        (0, pretty(&json!({"diff": c.borrow().diff()})))
    });
    let c = config.clone();
    socket.register(
        "config diff get name=var,type=CephString",
        "dump diff get <field>: dump diff of current and default config setting <field>",
        move |v| {
            let var = crate::conf::normalize_key(text(v, "var").unwrap_or(""));
            let row = c.borrow().diff().remove(&var).unwrap_or_default();
            (0, pretty(&json!({"diff": {var: row}})))
        },
    );
    socket.register(
        "config help name=var,type=CephString,req=false",
        "get config setting schema and descriptions",
        |v| {
            let row = |o: &options::OptionDef| {
                json!({"name": o.name, "type": o.kind.name(), "desc": o.about, "default": o.default,
                       "can_update_at_runtime": o.runtime})
            };
            match text(v, "var") {
                None => (0, pretty(&Value::Array(OPTIONS.iter().map(row).collect()))),
                Some(name) => match options::find(&crate::conf::normalize_key(name)) {
                    Some(o) => (0, pretty(&row(o))),
                    None => (2, format!("Setting not found: '{name}'")),
                },
            }
        },
    );
    let (c, changed) = (config.clone(), on_change.clone());
    socket.register(
        "config set name=var,type=CephString name=val,type=CephString,n=N",
        "config set <field> <val> [<val> ...]: set a config variable",
        move |v| {
            let var = crate::conf::normalize_key(text(v, "var").unwrap_or(""));
            match inject(&c, &[(var, words(v, "val"))], &*changed) {
                (0, said) => (0, pretty(&json!({"success": said}))),
                refused => refused,
            }
        },
    );
    let (c, changed) = (config.clone(), on_change.clone());
    socket.register(
        "config unset name=var,type=CephString",
        "config unset <field>: unset a config variable",
        move |v| {
            let var = crate::conf::normalize_key(text(v, "var").unwrap_or(""));
            c.borrow_mut().unset(&var);
            changed(&[var]);
            (0, pretty(&json!({"success": ""})))
        },
    );
    let (c, changed) = (config.clone(), on_change);
    socket.register(
        "injectargs name=injected_args,type=CephString,n=N",
        "inject configuration arguments into running daemon",
        move |v| match parse_injectargs(&words(v, "injected_args")) {
            Ok(pairs) => inject(&c, &pairs, &*changed),
            Err(e) => (22, e.to_string()),
        },
    );
    for schema in [false, true] {
        let p = perf.clone();
        let (name, help) = if schema {
            ("perf schema", "dump perfcounters schema")
        } else {
            ("perf dump", "dump perfcounters value")
        };
        let signature =
            format!("{name} name=logger,type=CephString,req=false name=counter,type=CephString,req=false");
        socket.register(&signature, help, move |v| {
            let (g, c) = (text(v, "logger"), text(v, "counter"));
            (0, pretty(&if schema { p.schema(g, c) } else { p.dump(g, c) }))
        });
    }
    let l = log.clone();
    socket.register("log reopen", "reopen log file", move |_| {
        if let Some(l) = &l {
            l.reopen();
        }
        (0, "{}".into())
    });
    // Lines are written as they come.
    socket.register("log flush", "flush log entries to log file", |_| (0, "{}".into()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Identity;

    #[test]
    fn config_is_read_changed_and_compared() {
        let config = Rc::new(RefCell::new(Config::new(Identity::new("osd", "1"))));
        let s = AdminSocket::new("16.2.15");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let seen2 = seen.clone();
        register_common(
            &s,
            &config,
            &PerfCounters::new(),
            None,
            Rc::new(move |n: &[String]| seen2.borrow_mut().extend_from_slice(n)),
        );
        let ask = |q: &str| String::from_utf8(s.handle(q)).unwrap();
        let get = r#"{"prefix":"config get","var":"osd_max_backfills"}"#;
        assert_eq!(ask(get), "{\n    \"osd_max_backfills\": \"1\"\n}\n");
        ask(r#"{"prefix":"config set","var":"osd_max_backfills","val":["3"]}"#);
        assert!(ask(get).contains("\"3\""));
        assert!(
            ask(r#"{"prefix":"injectargs","injected_args":["--osd-max-backfills","4","--osd-data","x"]}"#)
                .contains("osd_data = 'x' (not observed, change may require restart)")
        );
        assert!(ask(r#"{"prefix":"config set","var":"nope","val":"3"}"#).starts_with("ERROR: (2)"));
        assert!(
            ask(r#"{"prefix":"config set","var":"osd_max_backfills","val":"x"}"#).starts_with("ERROR: (22)")
        );
        assert!(ask(r#"{"prefix":"config diff"}"#).contains("override"));
        ask(r#"{"prefix":"config unset","var":"osd_max_backfills"}"#);
        assert!(ask(get).contains("\"1\""));
        assert_eq!(seen.borrow().len(), 4);
        assert_eq!(ask(r#"{"prefix":"perf dump"}"#), "{}\n");
    }
}
