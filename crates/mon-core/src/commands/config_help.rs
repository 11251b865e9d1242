//! `config help`: what is known of an option, laid out as stock lays it out.

use super::{Args, CmdResult, Ctx, fail, need, render};
use crate::core::MonCore;
use crate::options::{self, Opt};
use serde_json::{Map, Value, json};
use types::Errno;

fn list(text: &str) -> Vec<&str> {
    text.split(',').filter(|t| !t.is_empty()).collect()
}

/// A value in the JSON type that stock gives it: sizes and times are text there.
fn typed(opt: &Opt, text: &str) -> Value {
    let number = match opt.kind {
        "bool" => return text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
        "int" => text.parse::<i64>().ok().map(Value::from),
        "uint" => text.parse::<u64>().ok().map(Value::from),
        "float" => text
            .parse::<f64>()
            .ok()
            .map(|v| if v.fract() == 0.0 && v.abs() < 1e15 { (v as i64).into() } else { v.into() }),
        _ => None,
    };
    number.unwrap_or_else(|| text.into())
}

fn as_json(o: &Opt) -> Value {
    let (desc, long) = o.texts();
    let mut m = Map::new();
    let mut put = |k: &str, v: Value| drop(m.insert(k.to_owned(), v));
    put("name", o.name.into());
    put("type", o.type_name().into());
    put("level", o.level.into());
    put("desc", desc.into());
    put("long_desc", long.into());
    put("default", typed(o, o.default));
    put("daemon_default", "".into());
    put("tags", json!(list(o.tags)));
    put("services", json!(list(o.services)));
    put("see_also", json!(list(o.see_also)));
    if o.type_name() == "str" {
        put("enum_values", json!(list(o.choices)));
    }
    put("min", typed(o, o.min));
    put("max", typed(o, o.max));
    put("can_update_at_runtime", o.runtime.into());
    put("flags", json!(list(o.flags)));
    Value::Object(m)
}

fn as_text(o: &Opt) -> String {
    let (desc, long) = o.texts();
    let default = match (o.kind, o.default.parse::<f64>()) {
        ("float", Ok(v)) => format!("{v:.6}"),
        _ => o.default.to_owned(),
    };
    let mut t = format!("{} - {desc}\n  ({}, {})\n  Default: {default}\n", o.name, o.type_name(), o.level);
    if !o.choices.is_empty() {
        t += &format!("  Possible values:  {}\n", o.choices.replace(',', " "));
    }
    if !o.min.is_empty() {
        t += &format!("  Minimum: {}\n  Maximum: {}\n", o.min, o.max);
    }
    t += &format!("  Can update at runtime: {}\n", o.runtime);
    for (name, values) in [("Services", o.services), ("Tags", o.tags), ("See also", o.see_also)] {
        if !values.is_empty() {
            t += &format!("  {name}: [{values}]\n");
        }
    }
    if !long.is_empty() {
        t += &format!("\n{long}\n");
    }
    t
}

/// The handler.
pub(super) fn help(_: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let key = need(a, "key")?;
    let Some(o) = options::find(&key) else { return fail(Errno::ENOENT, "") };
    render(a, &as_json(&o), || as_text(&o))
}
