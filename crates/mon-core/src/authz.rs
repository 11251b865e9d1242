//! The one place where messages, subscriptions and commands are allowed: a table, default deny.

use crate::commands::{Args, FLAG_MGR, FLAG_TELL, Signature, is_of_process, signature};
use crate::event::{Peer, Role};
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

fn mgr_capable(
    p: &Peer,
    service: &str,
    module: &str,
    command: &str,
    args: &BTreeMap<String, String>,
    op: u8,
) -> bool {
    if !p.authenticated {
        return false;
    }
    if p.allow_all {
        return true;
    }
    let Ok(cap) = MgrCap::parse(&p.caps) else { return false };
    let addr = p.addrs.0.first().copied().unwrap_or_default();
    cap.is_capable(service, module, command, args, op & R != 0, op & W != 0, op & X != 0, &addr)
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
        kinds::MGR_BEACON | kinds::MON_MGR_REPORT => ("mgr", X),
        kinds::MON_GET_PURGED_SNAPS => ("osd", R),
        kinds::GET_CONFIG => ("", 0),
        _ => return None,
    })
}

fn is_osd(p: &Peer) -> bool {
    p.entity.strip_prefix("osd.").is_some_and(|id| id.parse::<i32>().is_ok())
}

fn is_mgr(p: &Peer) -> bool {
    p.entity.starts_with("mgr.")
}

/// Messages at the manager's listener.
fn mgr_allows(p: &Peer, kind: u16) -> bool {
    match kind {
        kinds::MGR_COMMAND | kinds::COMMAND | kinds::PING => true,
        kinds::MGR_OPEN | kinds::MGR_REPORT | kinds::MGR_CLOSE => p.allow_all || !p.caps.is_empty(),
        // `profile osd` grants no right of its own in stock's grammar: to be an OSD is what counts, and each OSD speaks
        // only of itself (and of PGs).
        kinds::PG_STATS => is_osd(p),
        _ => false,
    }
}

/// The check of every message.
pub fn message(p: &Peer, kind: u16) -> Verdict {
    let ok = match p.role {
        Role::Local => true,
        Role::Mgr => p.authenticated && mgr_allows(p, kind),
        Role::Mon => {
            // A v1 session that is not logged in may log in and nothing else.
            let login = !p.authenticated && kind == kinds::AUTH;
            let osd_only =
                matches!(kind, kinds::OSD_BOOT..=kinds::OSD_FULL | kinds::OSD_PGTEMP | kinds::OSD_BEACON);
            login
                || (p.authenticated
                    && (!osd_only || is_osd(p))
                    && (!matches!(kind, kinds::MGR_BEACON | kinds::MON_MGR_REPORT) || is_mgr(p))
                    && need(kind).is_some_and(|(service, op)| {
                        op == 0 || mon_capable(p, service, "", &BTreeMap::new(), op)
                    }))
        }
    };
    if ok { Verdict::Allow } else { Verdict::Ignore }
}

/// What each subscription needs; a name that ends with `*` stands for all that begin so, the first one counts, and what is not here is
/// refused. `kv:PREFIX`, by which managers read the key store, needs the right to read keys (CVE-2026-50152), and the configuration
/// under it that to set options, whose values may be secret.
pub const SUBSCRIPTIONS: &[(&str, &str, u8)] = &[
    // Everyone who is logged in needs these to work at all, as with stock.
    ("monmap", "", 0),
    ("config", "", 0),
    ("mgrmap", "", 0),
    ("osdmap", "osd", R),
    ("osd_pg_creates", "osd", W),
    ("mdsmap", "mds", R),
    ("mdsmap.*", "mds", R),
    ("fsmap", "mds", R),
    ("fsmap.user", "mds", R),
    ("servicemap", "mgr", R),
    ("mgrdigest", "mgr", W),
    ("log-*", "log", R),
    ("kv:config/*", "config", R | W),
    ("kv:*", "config-key", R),
];

/// The check of every subscription.
pub fn subscription(p: &Peer, what: &str) -> bool {
    let row = SUBSCRIPTIONS.iter().find(|(name, _, _)| match name.strip_suffix('*') {
        Some(head) => what.starts_with(head),
        None => *name == what,
    });
    row.is_some_and(|(_, service, op)| {
        p.authenticated && (*op == 0 || mon_capable(p, service, "", &BTreeMap::new(), *op))
    })
}

/// A command's arguments as capabilities see them: `caps` becomes one argument for each service, as with stock.
fn cap_args(a: &Args) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for k in a.map.keys().filter(|k| *k != "prefix") {
        let list = if k == "caps" { a.list(k) } else { Vec::new() };
        if !list.is_empty() && list.len().is_multiple_of(2) {
            out.extend(list.chunks(2).map(|p| (format!("caps_{}", p[0]), p[1].clone())));
        } else {
            out.insert(k.clone(), a.text(k));
        }
    }
    out
}

/// May the asker see the values of options that are named like secrets? Who may set options may.
pub fn sees_secrets(peer: Option<&Peer>, role: Role) -> bool {
    let none = BTreeMap::new();
    match (role, peer) {
        (Role::Local, _) => true,
        (_, None) => false,
        (Role::Mon, Some(p)) => mon_capable(p, "config", "config set", &none, R | W),
        (Role::Mgr, Some(p)) => mgr_capable(p, "mgr", "", "config set", &none, R | W),
    }
}

/// How a command came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the service (`mon_command`, `mgr_command`).
    Service,
    /// To this very daemon (`tell`).
    Tell,
}

/// Is a command known to whom it is sent? The manager's service knows the manager's commands only, and `tell` those of the
/// daemon itself: caps at the one are no caps at the other.
pub fn known(role: Role, way: Way, prefix: &str) -> bool {
    let of_process = (role, way) == (Role::Mon, Way::Tell) && is_of_process(prefix);
    of_process || signature(prefix).is_some_and(|s| knows(role, way, s))
}

/// The same for a row of the table.
pub(crate) fn knows(role: Role, way: Way, sig: &Signature) -> bool {
    match (role, way) {
        (Role::Local, _) => true,
        // What changes something in one daemon is told to it, never handed to another one.
        (Role::Mon, Way::Service) => sig.flags & FLAG_TELL != FLAG_TELL || !sig.perm.contains('w'),
        (Role::Mgr, Way::Service) => sig.flags & FLAG_MGR != 0,
        (Role::Mon, Way::Tell) => sig.flags & FLAG_TELL == FLAG_TELL || is_of_process(sig.prefix),
        (Role::Mgr, Way::Tell) => sig.prefix == "version",
    }
}

/// The check of every command, by the table of signatures; what is not in the table is refused.
pub fn command(peer: &Peer, way: Way, a: &Args) -> bool {
    if (peer.role, way) == (Role::Mon, Way::Tell) && is_of_process(&a.prefix) {
        return mon_capable(peer, "mon", &a.prefix, &cap_args(a), R | W | X);
    }
    let Some(sig) = signature(&a.prefix).filter(|_| known(peer.role, way, &a.prefix)) else { return false };
    let op = sig.perm.chars().fold(0, |op, c| {
        op | match c {
            'r' => R,
            'w' => W,
            'x' => X,
            _ => 0,
        }
    });
    let args = cap_args(a);
    match (peer.role, way) {
        (Role::Local, _) => true,
        // `tell` is for who may do everything there (or holds the command by name).
        (Role::Mon, Way::Tell) => mon_capable(peer, "mon", &a.prefix, &args, R | W | X),
        (Role::Mon, Way::Service) => mon_capable(peer, sig.module, &a.prefix, &args, op),
        (Role::Mgr, Way::Tell) => {
            peer.authenticated
                && (peer.allow_all || MgrCap::parse(&peer.caps).is_ok_and(|c| c.is_allow_all()))
        }
        (Role::Mgr, Way::Service) => {
            let (service, module) = match py_module(&a.prefix) {
                Some(module) => ("py", module),
                None => (sig.module, ""),
            };
            mgr_capable(peer, service, module, &a.prefix, &args, op)
        }
    }
}

/// The module of stock's manager that answers a command; `None` for what the manager itself answers. Capabilities name modules.
pub fn py_module(prefix: &str) -> Option<&'static str> {
    const MODULES: &[(&str, &str)] = &[
        ("alerts", "alerts"),
        ("balancer", "balancer"),
        ("crash", "crash"),
        ("device check-health", "devicehealth"),
        ("device get-health-metrics", "devicehealth"),
        ("device monitoring", "devicehealth"),
        ("device predict-life-expectancy", "devicehealth"),
        ("device query-daemon-health-metrics", "devicehealth"),
        ("device scrape-daemon-health-metrics", "devicehealth"),
        ("device scrape-health-metrics", "devicehealth"),
        ("device light", "orchestrator"),
        ("device ls-lights", "orchestrator"),
        ("fs clone", "volumes"),
        ("fs perf", "stats"),
        ("fs snap-schedule", "snap_schedule"),
        ("fs snapshot mirror", "mirroring"),
        ("fs status", "status"),
        ("fs subvolume", "volumes"),
        ("fs subvolumegroup", "volumes"),
        ("fs volume", "volumes"),
        ("healthcheck history", "prometheus"),
        ("influx", "influx"),
        ("insights", "insights"),
        ("iostat", "iostat"),
        ("mgr self-test", "selftest"),
        ("nfs", "nfs"),
        ("orch", "orchestrator"),
        ("osd pool autoscale-status", "pg_autoscaler"),
        ("osd pool get noautoscale", "pg_autoscaler"),
        ("osd pool set noautoscale", "pg_autoscaler"),
        ("osd pool unset noautoscale", "pg_autoscaler"),
        ("osd status", "status"),
        ("progress", "progress"),
        ("prometheus", "prometheus"),
        ("rbd", "rbd_support"),
        ("restful", "restful"),
        ("telegraf", "telegraf"),
        ("telemetry", "telemetry"),
        ("test_orchestrator", "test_orchestrator"),
        ("zabbix", "zabbix"),
    ];
    MODULES
        .iter()
        .find(|(p, _)| prefix.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
        .map(|(_, m)| *m)
}
