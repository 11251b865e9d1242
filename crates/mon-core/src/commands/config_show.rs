//! `config show`: what a running daemon is configured to, by its own report; of one that reports nothing (as other monitors), what the central
//! configuration says.

use super::config_cmds::Veil;
use super::{Args, CmdResult, Ctx, fail, need, render, text};
use crate::core::MonCore;
use crate::fmt::{Align, TextTable};
use crate::mgrmon::DaemonConfig;
use crate::options;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use types::Errno;

type Layers = BTreeMap<i32, String>;

/// Level of the central configuration.
const MON: i32 = 1;

/// What daemon `who` is configured to.
fn config_of(core: &MonCore, who: &str) -> Result<DaemonConfig, (Errno, String)> {
    let told = core.mgr.daemons.values().find(|d| d.name == who);
    if let Some(d) = told.filter(|d| d.config != DaemonConfig::default()) {
        return Ok(d.config.clone());
    }
    let session = core.sessions.values().find(|s| s.peer.entity == who);
    let mon = who.strip_prefix("mon.").filter(|m| core.monmap().mons.contains_key(*m));
    if told.is_none() && session.is_none() && mon.is_none() {
        return Err((Errno::ENOENT, format!("no config state for daemon {who}")));
    }
    let (mut host, class) = super::config_cmds::masks_of(core, who);
    if host.is_empty() {
        let known = mon.and_then(|m| core.mon_metadata.get(m)?.get("hostname").cloned());
        host = known.or_else(|| session.map(|s| s.hostname.clone())).unwrap_or_default();
    }
    let central = core.config.effective(who, &host, &class);
    let mut values: BTreeMap<String, Layers> =
        central.into_iter().map(|(k, (_, v))| (k, Layers::from([(MON, v)]))).collect();
    if mon == Some(core.name()) {
        for (name, layers) in &core.cfg.layers {
            values.entry(name.clone()).or_default().extend(layers.clone());
        }
    }
    Ok(DaemonConfig { values, ignored: BTreeMap::new() })
}

fn table() -> TextTable {
    let l = Align::Left;
    ["NAME", "VALUE", "SOURCE", "OVERRIDES", "IGNORES"]
        .iter()
        .fold(TextTable::new(), |t, h| t.column(h, l, l))
}

/// Adds a row to both forms.
fn row(t: &mut TextTable, list: &mut Vec<Value>, veil: &Veil, name: &str, layers: &Layers, ignored: bool) {
    let Some((level, value)) = layers.iter().next_back() else { return };
    let (source, value) = (DaemonConfig::source(*level), veil.show(name, value));
    let mut j = json!({"name": name, "value": value, "source": source});
    let below: Vec<(&'static str, String)> = layers
        .iter()
        .take(layers.len() - 1)
        .map(|(l, v)| (DaemonConfig::source(*l), veil.show(name, v)))
        .collect();
    if !below.is_empty() {
        j["overrides"] = below.iter().map(|(s, v)| json!({"source": s, "value": v})).collect();
    }
    if ignored {
        j["ignores"] = "mon".into();
    }
    list.push(j);
    // The nearest comes first; one of the same value stands in parentheses.
    let words: Vec<String> = below
        .iter()
        .rev()
        .map(|(s, v)| if *v == value { format!("({s}[{v}])") } else { format!("{s}[{v}]") })
        .collect();
    let ignores = if ignored { "mon" } else { "" };
    t.row([name.to_owned(), value, source.to_owned(), words.join(","), ignores.to_owned()]);
}

/// `config show WHO [KEY]`.
pub(super) fn show(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let veil = Veil::of(core, ctx);
    let who = need(a, "who")?;
    let config = config_of(core, &who)?;
    if let Some(key) = a.str("key") {
        let key = options::normalize(&key);
        if key == "fsid" {
            return text(core.fsid().to_string() + "\n");
        }
        let value = config.values.get(&key).and_then(|l| l.values().next_back()).cloned();
        return match value.or_else(|| options::find(&key).map(|o| o.default.to_owned())) {
            Some(v) => text(veil.show(&key, &v) + "\n"),
            None => fail(Errno::ENOENT, ""),
        };
    }
    let (mut t, mut list) = (table(), Vec::new());
    for (name, layers) in &config.values {
        row(&mut t, &mut list, &veil, name, layers, config.ignored.contains_key(name));
    }
    render(a, &Value::Array(list), || t.to_string())
}

/// `config show-with-defaults WHO`: every option of stock's that such a daemon has.
pub(super) fn show_with_defaults(core: &mut MonCore, a: &Args, ctx: &Ctx) -> CmdResult {
    let veil = Veil::of(core, ctx);
    let who = need(a, "who")?;
    let config = config_of(core, &who)?;
    let mut all: BTreeMap<String, Layers> =
        options::all().map(|o| (o.name.to_owned(), Layers::from([(0, o.default.to_owned())]))).collect();
    for (name, layers) in &config.values {
        all.entry(name.clone()).or_default().extend(layers.clone());
    }
    let (mut t, mut list) = (table(), Vec::new());
    for (name, layers) in &all {
        // A default is no override: stock names what a daemon was told.
        let told = config.values.get(name).filter(|l| !l.is_empty()).unwrap_or(layers);
        row(&mut t, &mut list, &veil, name, told, config.ignored.contains_key(name));
    }
    render(a, &Value::Array(list), || t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overridden_is_told_nearest_first() {
        let (mut t, mut list) = (table(), Vec::new());
        let layers = Layers::from([(0, "1/5".to_owned()), (1, "22/22".to_owned()), (5, "99/99".to_owned())]);
        let bytes = denc::to_bytes(&BTreeMap::from([("debug_asok".to_owned(), layers)]), denc::Features::ALL);
        let config = DaemonConfig::read(&bytes).expect("it decodes");
        row(&mut t, &mut list, &Veil::all(), "debug_asok", &config.values["debug_asok"], false);
        assert!(t.to_string().contains("99/99  override  mon[22/22],default[1/5]"), "{t}");
        assert_eq!(list[0]["overrides"][1], json!({"source": "mon", "value": "22/22"}));
        assert!(DaemonConfig::read(&bytes::Bytes::new()).is_none());
    }
}
