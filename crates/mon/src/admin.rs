//! The admin socket of a monitor, which `ceph tell mon.X` reaches too: stock's common commands, and the monitor's own through the core.

use crate::shell::Shell;
use mon_core::{MonEvent, commands, options};
use runtime::common::{self, Way};
use runtime::config::Source;
use runtime::{AdminSocket, Config, Log, PerfCounters, register_common};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// Makes it.
pub fn admin_socket(shell: &Rc<Shell>, config: &Rc<RefCell<Config>>, log: Log) -> AdminSocket {
    let asok = AdminSocket::new("16.2.15");
    let way = {
        let (shell, config) = (Rc::downgrade(shell), config.clone());
        let tell = move |names: &[String]| {
            names.iter().for_each(|n| tell_core(&shell, &config, n));
            Ok(())
        };
        Way { on_change: Rc::new(tell), is_live }
    };
    let weak = Rc::downgrade(shell);
    let counters = move || weak.upgrade().map_or_else(PerfCounters::new, |shell| shell.counters());
    register_common(&asok, config, Rc::new(counters), Some(log), way);
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
    asok
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
    LIVE.contains(&name) || common::is_live(name)
}

fn tell_core(shell: &Weak<Shell>, config: &RefCell<Config>, name: &str) {
    let default = || options::find(name).map(|o| o.default.to_owned());
    // (What the central configuration says the core knows itself.)
    let layers = config.borrow().layers_above(Source::Mon).remove(name).unwrap_or_default();
    let value = if layers.is_empty() { default() } else { config.borrow().get(name) };
    if let (Some(shell), Some(value)) = (shell.upgrade(), value) {
        shell.event(MonEvent::OptionChanged { name: name.to_owned(), value, layers });
    }
}
