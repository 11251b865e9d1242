//! `progress *`, and what keeps [`crate::progress`] going.

use super::{Args, CmdResult, Ctx, Handler, text, text_outs};
use crate::core::MonCore;
use crate::fmt::pretty;
use crate::progress::{COMPLETED_KEY, Progress};
use bytes::Bytes;
use cephx::Env;
use std::rc::Rc;
use types::Fsid;
use types::osdmap::OsdMap;

pub(super) const TABLE: &[(&str, Handler)] = &[
    ("progress", list),
    ("progress json", json),
    ("progress clear", clear),
    ("progress on", on_off),
    ("progress off", on_off),
];

const ENABLED: &str = "mgr/progress/enabled";
const MAX: &str = "mgr/progress/max_completed_events";

fn setting(core: &MonCore, name: &str) -> Option<String> {
    core.config.effective("mgr", "", "").get(name).map(|(_, v)| v.clone())
}
fn enabled(core: &MonCore) -> bool {
    setting(core, ENABLED).is_none_or(|v| v == "true")
}

/// Names for events, as random as a UUID of version 4.
fn ids(env: Rc<dyn Env>) -> impl FnMut() -> String {
    move || {
        let mut b = [0; 16];
        env.random(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        Fsid(b).to_string()
    }
}

/// The leader's map changed from `before`.
pub(crate) fn map_changed(core: &mut MonCore, before: &OsdMap) {
    if enabled(core) {
        let ids = ids(core.env.clone());
        core.progress.map_changed(before, &core.osd.map, &core.pgmap, core.now, ids);
    }
}

/// The leader's tick: how far everything is.
pub(crate) fn tick(core: &mut MonCore) {
    if core.progress.is_busy() {
        let ids = ids(core.env.clone());
        core.progress.look(&core.pgmap, core.osd.map.epoch, core.now, ids);
    }
    keep(core);
}

fn keep(core: &mut MonCore) {
    let max = setting(core, MAX).and_then(|v| v.parse().ok()).unwrap_or(50);
    if let Some(kept) = core.progress.take_changed(max) {
        core.config_key.set(COMPLETED_KEY, Bytes::from(kept));
    }
}

/// A new leader's: what is kept.
pub(crate) fn load(core: &mut MonCore) {
    core.progress = Progress::load(core.config_key.get(COMPLETED_KEY).map(|b| &**b));
}

fn list(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    match core.progress.text(core.now) {
        Some(t) => text(t),
        None => text_outs("", "Nothing in progress"),
    }
}

fn json(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    text(pretty(&core.progress.json(core.now)))
}

fn clear(core: &mut MonCore, _: &Args, _: &Ctx) -> CmdResult {
    core.progress.clear();
    keep(core);
    text("")
}

fn on_off(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let on = a.prefix == "progress on";
    let word = if on { "enabled" } else { "disabled" };
    if enabled(core) == on {
        return text_outs("", format!("progress already {word}!"));
    }
    let now = core.now;
    core.config.change(now, "", vec![(format!("mgr/{ENABLED}"), Some(on.to_string()))]);
    if !on {
        core.progress.clear();
        keep(core);
    }
    text_outs("", format!("progress {word}"))
}
