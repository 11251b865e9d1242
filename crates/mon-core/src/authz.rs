//! The one place where messages, subscriptions and commands are allowed: a table, default deny.

use crate::commands::{Args, Ctx};
use crate::core::MonCore;
use crate::event::{Peer, Role};
use crate::session::Session;
use cephx::caps::{MgrCap, MonCap, R, W, X};
use messages::kinds;
use std::collections::BTreeMap;
use types::EntityType;

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is handled.
    Allow,
    /// It is dropped, as stock drops what it may not answer.
    Ignore,
}

/// May a peer do this at the monitor? Sessions without caps may nothing.
pub fn mon_capable(p: &Peer, service: &str, command: &str, args: &BTreeMap<String, String>, op: u8) -> bool {
    if !p.authenticated {
        return false;
    }
    let Some((kind, _)) = p.entity.split_once('.') else { return false };
    let Some(kind) = EntityType::parse(kind) else { return false };
    if kind == EntityType::MON || p.allow_all {
        return true;
    }
    let Ok(cap) = MonCap::parse(&p.caps) else { return false };
    let addr = p.addrs.0.first().copied().unwrap_or_default();
    cap.is_capable(&p.entity, service, command, args, op & R != 0, op & W != 0, op & X != 0, &addr)
}

fn mgr_capable(p: &Peer, service: &str, command: &str, args: &BTreeMap<String, String>, op: u8) -> bool {
    if !p.authenticated {
        return false;
    }
    if p.allow_all {
        return true;
    }
    let Ok(cap) = MgrCap::parse(&p.caps) else { return false };
    let addr = p.addrs.0.first().copied().unwrap_or_default();
    cap.is_capable(service, "", command, args, op & R != 0, op & W != 0, op & X != 0, &addr)
}

/// What a message needs at the monitor: service and rights; `None` is refused.
fn need(kind: u16) -> Option<(&'static str, u8)> {
    Some(match kind {
        kinds::MON_GET_MAP | kinds::PING => ("", 0),
        kinds::AUTH => ("", 0),
        // Checked item by item.
        kinds::MON_SUBSCRIBE => ("", 0),
        // Checked command by command.
        kinds::MON_COMMAND | kinds::COMMAND => ("", 0),
        kinds::MON_GET_VERSION => ("mon", R),
        kinds::MON_GET_OSDMAP => ("osd", R),
        kinds::STATFS | kinds::GET_POOL_STATS => ("pg", R),
        // Checked operation by operation: self-managed snapshots need no mon caps.
        kinds::POOLOP => ("", 0),
        kinds::LOG => ("log", W),
        kinds::OSD_BOOT
        | kinds::OSD_ALIVE
        | kinds::OSD_FAILURE
        | kinds::OSD_MARK_ME_DOWN
        | kinds::OSD_MARK_ME_DEAD
        | kinds::OSD_FULL
        | kinds::OSD_BEACON
        | kinds::OSD_PGTEMP
        | kinds::OSD_PG_READY_TO_MERGE => ("osd", X),
        kinds::OSD_PG_CREATED => ("pg", W),
        kinds::MDS_BEACON | kinds::MDS_OFFLOAD_TARGETS => ("mds", X),
        kinds::MON_GET_PURGED_SNAPS => ("osd", R),
        kinds::GET_CONFIG => ("", 0),
        _ => return None,
    })
}

/// Messages at the manager's listener.
fn mgr_allows(s: &Session, kind: u16) -> bool {
    match kind {
        kinds::MGR_COMMAND | kinds::COMMAND | kinds::PING => true,
        kinds::MGR_OPEN | kinds::MGR_REPORT | kinds::MGR_CLOSE => s.peer.allow_all || !s.peer.caps.is_empty(),
        // `profile osd` grants no right of its own in stock's grammar: to be an OSD is what counts, and each OSD speaks
        // only of itself (and of PGs).
        kinds::PG_STATS => s.osd_id().is_some(),
        _ => false,
    }
}

/// The check of every message.
pub fn message(s: &Session, kind: u16) -> Verdict {
    let ok = match s.peer.role {
        Role::Local => true,
        Role::Mgr => s.peer.authenticated && mgr_allows(s, kind),
        Role::Mon => {
            // A v1 session that is not logged in may log in and nothing else.
            let login = !s.peer.authenticated && kind == kinds::AUTH;
            let osd_only =
                matches!(kind, kinds::OSD_BOOT..=kinds::OSD_FULL | kinds::OSD_PGTEMP | kinds::OSD_BEACON);
            login
                || (s.peer.authenticated
                    && (!osd_only || s.osd_id().is_some())
                    && need(kind).is_some_and(|(service, op)| {
                        op == 0 || mon_capable(&s.peer, service, "", &BTreeMap::new(), op)
                    }))
        }
    };
    if ok { Verdict::Allow } else { Verdict::Ignore }
}

/// What a subscription needs; `None` is refused.
fn sub_need(what: &str) -> Option<(&'static str, u8)> {
    Some(match what {
        // Everyone who is logged in needs these to work at all, as with stock.
        "monmap" | "config" => ("", 0),
        "mgrmap" => ("", 0),
        "osdmap" => ("osd", R),
        "osd_pg_creates" => ("osd", W),
        "mdsmap" | "fsmap" | "fsmap.user" => ("mds", R),
        "servicemap" => ("mgr", R),
        "mgrdigest" => ("mgr", W),
        w if w.starts_with("mdsmap.") => ("mds", R),
        w if w.starts_with("log-") => ("log", R),
        _ => return None,
    })
}

/// The check of every subscription.
pub fn subscription(s: &Session, what: &str) -> bool {
    sub_need(what).is_some_and(|(service, op)| {
        s.peer.authenticated && (op == 0 || mon_capable(&s.peer, service, "", &BTreeMap::new(), op))
    })
}

/// The check of every command. `perm` is the command's need: letters of `rwx`.
pub fn command(core: &MonCore, ctx: &Ctx, a: &Args, module: &str, perm: &str) -> bool {
    let Some(s) = ctx.session.and_then(|id| core.sessions.get(&id)) else { return false };
    let mut op = 0;
    for c in perm.chars() {
        op |= match c {
            'r' => R,
            'w' => W,
            'x' => X,
            _ => 0,
        };
    }
    let args: BTreeMap<String, String> =
        a.map.keys().filter(|k| *k != "prefix").map(|k| (k.clone(), a.text(k))).collect();
    match s.peer.role {
        Role::Mgr => mgr_capable(&s.peer, module, &a.prefix, &args, op),
        _ => mon_capable(&s.peer, module, &a.prefix, &args, op),
    }
}
