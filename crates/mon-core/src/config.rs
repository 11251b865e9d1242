//! Central configuration: `config set|get|rm|dump|log`, and what each session is sent as `MConfig`.
//!
//! Records are keyed `who[/mask]/option` like stock's store. Precedence: global, type, type.id; a mask (`host:`, `class:`) is more
//! specific than none at the same level.

use crate::core::MonCore;
use crate::event::MonEffect;
use crate::kv::{Batch, Kv, num_key};
use crate::table::Table;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use types::Utime;

/// Changes kept for `config log`.
const HISTORY_MAX: usize = 256;

/// One change in the history.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// When.
    pub stamp: Utime,
    /// Free text (`assimilate-conf`, ...).
    pub name: String,
    /// Full key, old and new value.
    pub diff: Vec<(String, Option<String>, Option<String>)>,
}
impl Encode for Change {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.stamp);
            e.put(&self.name);
            e.count(self.diff.len());
            for (k, a, b) in &self.diff {
                e.put(k);
                e.put(a);
                e.put(b);
            }
        });
    }
}
impl Decode for Change {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("config change", 1)?;
        let mut c = Change { stamp: d.get()?, name: d.get()?, diff: Vec::new() };
        for _ in 0..d.count("config change", 6)? {
            c.diff.push((d.get()?, d.get()?, d.get()?));
        }
        Ok(c)
    }
}

/// A number as options have it: sizes may end with a unit.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].trim_end_matches(['i', 'B']) {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    let v = digits.trim().parse::<f64>().ok().filter(|v| v.is_finite())?;
    Some(v * 1024f64.powi(unit)).filter(|v| v.is_finite())
}

impl MonCore {
    /// Takes in what the central configuration says to this monitor.
    pub(crate) fn read_central(&mut self) {
        let host = self.members.get(self.name()).and_then(|m| m.metadata.get("hostname"));
        let host = host.cloned().unwrap_or_default();
        let all = self.config.effective(&format!("mon.{}", self.name()), &host, "");
        let central: BTreeMap<String, String> = all.into_iter().map(|(k, (_, v))| (k, v)).collect();
        if central != self.cfg.central {
            self.cfg.central.clone_from(&central);
            self.effects.push(MonEffect::Central(central));
        }
    }
}

/// Who a value is for: `section` is `global`, a type or `type.id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// `global`, `osd`, `osd.1`, `client.glance`.
    pub section: String,
    /// `host:x`, `class:ssd`, or empty.
    pub mask: String,
}

impl Who {
    /// Parses `config set`'s `who`.
    pub fn parse(text: &str) -> Option<Who> {
        let mut parts = text.split('/');
        let first = parts.next()?;
        let mut who = Who { section: String::new(), mask: String::new() };
        let mut masks: Vec<&str> = Vec::new();
        if first.contains(':') {
            who.section = "global".into();
            masks.push(first);
        } else {
            let kind = first.split_once('.').map_or(first, |(k, _)| k);
            if first != "global" && !matches!(kind, "mon" | "mgr" | "osd" | "mds" | "client") {
                return None;
            }
            if first.ends_with('.') {
                return None;
            }
            who.section = first.to_owned();
        }
        masks.extend(parts);
        for m in &masks {
            match m.split_once(':') {
                Some(("host" | "class", v)) if !v.is_empty() => {}
                Some((_, v)) if !v.is_empty() => {}
                _ => return None,
            }
        }
        // Stock names the place before the class.
        masks.sort_by_key(|m| m.starts_with("class:"));
        who.mask = masks.join("/");
        Some(who)
    }
    /// The key of an option under this.
    pub fn key(&self, option: &str) -> String {
        if self.mask.is_empty() {
            format!("{}/{option}", self.section)
        } else {
            format!("{}/{}/{option}", self.section, self.mask)
        }
    }
    /// Splits a key. Masks are what has a colon; the rest is the option, which may have slashes (`mgr/balancer/mode`).
    pub fn split(key: &str) -> (Who, String) {
        let mut parts: Vec<&str> = key.split('/').collect();
        let section = if parts.len() > 1 { parts.remove(0).to_owned() } else { "global".to_owned() };
        let masks = parts.iter().take(parts.len().saturating_sub(1)).take_while(|p| p.contains(':')).count();
        let option = parts.split_off(masks).join("/");
        (Who { section, mask: parts.join("/") }, option)
    }
    /// 0 for global, 1 for a type, 2 for an id.
    pub fn depth(&self) -> usize {
        if self.section == "global" { 0 } else { 1 + self.section.matches('.').count().min(1) }
    }
    fn matches(&self, entity: &str, host: &str, class: &str) -> bool {
        let kind = entity.split_once('.').map_or(entity, |(k, _)| k);
        // `client.foo` is for `client.foo.bar` too.
        let below =
            entity.strip_prefix(self.section.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        if self.section != "global" && self.section != kind && !below {
            return false;
        }
        self.mask.is_empty()
            || self.mask.split('/').all(|m| match m.split_once(':') {
                Some(("host", h)) => h == host,
                Some(("class", c)) => c == class,
                _ => false,
            })
    }
}

/// True for an option that by its name holds a secret (`mgr/influx/password`, `rgw_keystone_admin_token`). Stock shows these to whoever
/// may read; here only to who may set them.
pub fn is_secret(option: &str) -> bool {
    let last = option.rsplit('/').next().unwrap_or(option);
    ["password", "passwd", "secret", "token", "_key"].iter().any(|w| last.contains(w)) || last == "key"
}

/// What stands for a secret.
pub const HIDDEN: &str = "***";

/// The service.
#[derive(Clone, Debug)]
pub struct ConfigMon {
    /// `who/option` to value.
    pub values: Table<String>,
    /// Numbered changes.
    pub history: Table<Change>,
}

impl ConfigMon {
    /// From the store.
    pub fn load(kv: &Kv) -> ConfigMon {
        ConfigMon { values: Table::load("config/", kv), history: Table::load("config-history/", kv) }
    }
    /// Moves staged changes into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        self.values.stage(batch);
        self.history.stage(batch);
    }
    /// Takes over a committed batch; true when values changed.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        self.history.commit(batch);
        self.values.commit(batch)
    }
    /// Number of the newest change.
    pub fn version(&self) -> u64 {
        self.history.next_all().keys().next_back().and_then(|k| k.parse().ok()).unwrap_or(0)
    }
    /// Stages a value (or its removal) with its history.
    pub fn change(&mut self, now: Utime, name: &str, changes: Vec<(String, Option<String>)>) {
        let mut diff = Vec::new();
        for (key, value) in changes {
            let old = self.values.next(&key).cloned();
            if old == value {
                continue;
            }
            match &value {
                Some(v) => self.values.set(key.clone(), v.clone()),
                None => self.values.remove(&key),
            }
            diff.push((key, old, value));
        }
        if diff.is_empty() {
            return;
        }
        let n = self.version() + 1;
        self.history.set(num_key("", n), Change { stamp: now, name: name.to_owned(), diff });
        let all = self.history.next_all();
        for k in all.keys().take(all.len().saturating_sub(HISTORY_MAX)) {
            self.history.remove(k);
        }
    }
    /// What `entity` on `host` (with the OSD's device class) is configured to: option to (section it comes from, mask, value).
    pub fn effective(&self, entity: &str, host: &str, class: &str) -> BTreeMap<String, (Who, String)> {
        let mut found: BTreeMap<String, (usize, Who, String)> = BTreeMap::new();
        for (key, value) in self.values.iter() {
            let (who, option) = Who::split(key);
            if !who.matches(entity, host, class) {
                continue;
            }
            let depth = if who.section == "global" { 0 } else { 1 + who.section.matches('.').count() };
            let rank = depth * 2 + usize::from(!who.mask.is_empty());
            if found.get(&option).is_none_or(|f| f.0 <= rank) {
                found.insert(option, (rank, who, value.clone()));
            }
        }
        found.into_iter().map(|(k, (_, w, v))| (k, (w, v))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_value_wins() {
        let mut c = ConfigMon::load(&Kv::default());
        let set =
            |c: &mut ConfigMon, k: &str, v: &str| c.change(Utime::ZERO, "", vec![(k.into(), Some(v.into()))]);
        set(&mut c, "global/a", "g");
        set(&mut c, "osd/a", "t");
        set(&mut c, "osd.1/a", "i");
        set(&mut c, "osd/class:ssd/a", "m");
        let mut b = Batch::default();
        c.stage(&mut b);
        assert!(c.commit(&b));
        let get = |e: &str, class: &str| c.effective(e, "h", class).get("a").map(|x| x.1.clone()).unwrap();
        assert_eq!(get("osd.1", ""), "i");
        assert_eq!(get("osd.2", ""), "t");
        assert_eq!(get("osd.2", "ssd"), "m");
        assert_eq!(get("client.x", ""), "g");
        set(&mut c, "client.foo/a", "f");
        set(&mut c, "client.foo.bar/a", "b");
        let mut b = Batch::default();
        c.stage(&mut b);
        c.commit(&b);
        let get = |e: &str| c.effective(e, "h", "").get("a").map(|x| x.1.clone()).unwrap();
        assert_eq!((get("client.foo.x"), get("client.foo.bar.x")), ("f".into(), "b".into()));
        assert_eq!(get("client.foobar"), "g");
        assert_eq!(c.version(), 6);
    }

    #[test]
    fn targets_are_checked() {
        assert!(Who::parse("zzz").is_none());
        assert_eq!(Who::parse("osd/host:x").unwrap().key("o"), "osd/host:x/o");
        assert_eq!(Who::split("osd/host:x/o").0, Who::parse("osd/host:x").unwrap());
        let (who, option) = Who::split("mgr/mgr/balancer/mode");
        assert_eq!(
            (who.section.as_str(), who.mask.as_str(), option.as_str()),
            ("mgr", "", "mgr/balancer/mode")
        );
        let (who, option) = Who::split("osd.0/host:a/class:b/mgr/x/y");
        assert_eq!((who.mask.as_str(), option.as_str()), ("host:a/class:b", "mgr/x/y"));
    }
}
