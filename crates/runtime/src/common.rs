//! Admin socket commands that every daemon has: `config ...`, `perf ...`, `log ...`, `injectargs`.

use crate::asok::{AdminSocket, Answer, pretty};
use crate::config::Config;
use crate::log::{Log, is_of_log};
use crate::options::{self, OPTIONS};
use crate::perf::PerfCounters;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use types::options as stock;

/// See [`Way`].
pub type OnChange = Rc<dyn Fn(&[String]) -> Result<(), Answer>>;

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

/// By which command options are set: their complaints differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `config set`.
    Set,
    /// `injectargs`.
    Injectargs,
}

/// An option's name and the form in which its value is kept. All that stock knows can be set, also what nothing here reads.
fn checked(name: &str, value: &str, by: By) -> Result<(String, String), Answer> {
    let name = crate::conf::normalize_key(name);
    let why = match (stock::find(&name), options::find(&name)) {
        (Some(o), _) => match stock::check(&o, value) {
            Ok(value) => return Ok((name, value)),
            Err(why) => why,
        },
        (None, Some(o)) if o.kind.admits(value) => return Ok((name, value.to_owned())),
        (None, Some(o)) => format!("it is of type {}", o.kind.name()),
        (None, None) => {
            return Err(match by {
                By::Set => (2, format!("error setting '{name}' to '{value}': (2) No such file or directory")),
                By::Injectargs => (22, format!(" failed to parse arguments: --{name},{value}")),
            });
        }
    };
    Err(match by {
        By::Set => (22, format!("error setting '{name}' to '{value}': (22) Invalid argument: {why}")),
        By::Injectargs => (22, format!("Parse error setting {name} to '{value}' using injectargs ({why}).")),
    })
}

/// Sets options while the process runs, all of them or none; answers in stock's words.
pub fn set_all(config: &RefCell<Config>, pairs: &[(String, String)], by: By, way: &Way) -> Answer {
    let mut all = Vec::new();
    for (name, value) in pairs {
        match checked(name, value, by) {
            Ok(pair) => all.push(pair),
            Err(refusal) => return refusal,
        }
    }
    let mut said = String::new();
    for (name, value) in &all {
        config.borrow_mut().set_checked(name, value);
        said.push_str(&format!("{name} = '{value}' "));
        if !(way.is_live)(name) {
            said.push_str("(not observed, change may require restart) ");
        }
    }
    let names: Vec<String> = all.into_iter().map(|(name, _)| name).collect();
    match (way.on_change)(&names) {
        Ok(()) => (0, said),
        Err(refusal) => refusal,
    }
}

/// How a process takes changes of its options.
#[derive(Clone)]
pub struct Way {
    /// Called with the names of options that changed; one that cannot be obeyed is refused.
    pub on_change: OnChange,
    /// True for an option whose change has an effect at once.
    pub is_live: fn(&str) -> bool,
}

impl Way {
    /// Those of the table of this crate are obeyed by who reads them.
    pub fn of_table() -> Way {
        Way { on_change: Rc::new(|_| Ok(())), is_live }
    }
}

/// True for an option of which the table of this crate says that a change has an effect at once.
pub fn is_live(name: &str) -> bool {
    is_of_log(name) || options::find(name).is_some_and(|o| o.runtime)
}

/// Registers the common commands. `perf` answers the counters as of now.
pub fn register_common(
    socket: &AdminSocket,
    config: &Rc<RefCell<Config>>,
    perf: Rc<dyn Fn() -> PerfCounters>,
    log: Option<Log>,
    way: Way,
) {
    let way = {
        let (c, l) = (config.clone(), log.clone());
        let on_change: OnChange = Rc::new(move |names: &[String]| {
            if let Some(l) = l.as_ref().filter(|_| names.iter().any(|n| is_of_log(n))) {
                l.configure(&c.borrow());
            }
            (way.on_change)(names)
        });
        Way { on_change, is_live: way.is_live }
    };
    let c = config.clone();
    socket.register("config show", "dump current config settings", move |_| {
        (0, pretty(&json!(c.borrow().show())))
    });
    let c = config.clone();
    socket.register(
        "config get name=var,type=CephString",
        "config get <field>: get the config value",
        move |v| {
            let var = crate::conf::normalize_key(text(v, "var").unwrap_or(""));
            let default = || stock::find(&var).map(|o| o.default.to_owned());
            match c.borrow().get(&var).or_else(default) {
                Some(value) => {
                    // In the form in which stock keeps it: `5.000000`.
                    let kept = stock::find(&var).and_then(|o| stock::check(&o, &value).ok());
                    (0, pretty(&json!({ var: kept.unwrap_or(value) })))
                }
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
    let (c, w) = (config.clone(), way.clone());
    socket.register(
        "config set name=var,type=CephString name=val,type=CephString,n=N",
        "config set <field> <val> [<val> ...]: set a config variable",
        move |v| {
            let var = text(v, "var").unwrap_or("").to_owned();
            match set_all(&c, &[(var, words(v, "val"))], By::Set, &w) {
                (0, said) => (0, pretty(&json!({"success": said}))),
                refused => refused,
            }
        },
    );
    let (c, w) = (config.clone(), way.clone());
    socket.register(
        "config unset name=var,type=CephString",
        "config unset <field>: unset a config variable",
        move |v| {
            let var = crate::conf::normalize_key(text(v, "var").unwrap_or(""));
            c.borrow_mut().unset(&var);
            match (w.on_change)(&[var]) {
                Ok(()) => (0, pretty(&json!({"success": ""}))),
                Err(refusal) => refusal,
            }
        },
    );
    let c = config.clone();
    socket.register(
        "injectargs name=injected_args,type=CephString,n=N",
        "inject configuration arguments into running daemon",
        move |v| match stock::parse_injected(&words(v, "injected_args")) {
            Ok(pairs) => set_all(&c, &pairs, By::Injectargs, &way),
            Err(why) => (22, why),
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
            let (g, c, p) = (text(v, "logger"), text(v, "counter"), p());
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
            Rc::new(PerfCounters::new),
            None,
            Way {
                on_change: Rc::new(move |n| {
                    seen2.borrow_mut().extend_from_slice(n);
                    Ok(())
                }),
                ..Way::of_table()
            },
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

    #[test]
    fn every_option_of_stocks_can_be_set_all_of_a_command_or_none_and_is_read_back() {
        let config = Rc::new(RefCell::new(Config::new(Identity::new("osd", "1"))));
        let s = AdminSocket::new("16.2.15");
        let refuses = |names: &[String]| match names.iter().any(|n| n == "osd_heartbeat_grace") {
            true => Err((22, "not that".to_owned())),
            false => Ok(()),
        };
        let way = Way { on_change: Rc::new(refuses), ..Way::of_table() };
        register_common(&s, &config, Rc::new(PerfCounters::new), None, way);
        let inject =
            |text: &str| s.answer(&json!({"prefix": "injectargs", "injected_args": [text]}).to_string());
        let get = |var: &str| s.answer(&json!({"prefix": "config get", "var": var}).to_string()).1;
        assert!(get("osd_enable_op_tracker").contains("true"), "stock's default");
        let said = inject("--no-osd_enable_op_tracker --osd-op-history-duration 500").1;
        let kept = "(not observed, change may require restart) ";
        assert_eq!(said, format!("osd_enable_op_tracker = 'false' {kept}osd_op_history_duration = '500' "));
        assert!(
            get("osd-enable-op-tracker").contains("false") && get("osd_op_history_duration").contains("500")
        );
        // One that is wrong, and nothing of the others happens.
        let (errno, text) = inject("--mon-lease 6 --osd-scrub-auto-repair-num-errors -1");
        assert_eq!(errno, 22);
        let wanted = "Parse error setting osd_scrub_auto_repair_num_errors to '-1' using injectargs";
        assert!(text.starts_with(wanted), "{text}");
        assert!(get("mon_lease").contains("\"5.000000\""));
        assert_eq!(inject("--nope 3"), (22, " failed to parse arguments: --nope,3".into()));
        assert_eq!(inject("--osd_op_history_duration").0, 22);
        assert_eq!(inject("--osd_heartbeat_grace 5"), (22, "not that".into()));
        // What is logged is changed at once.
        assert_eq!(inject("--debug-osd 5/20").1, "debug_osd = '5/20' ");
    }
}
