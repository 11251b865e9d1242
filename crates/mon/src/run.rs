//! The daemon's life: start order, the loop, the end.

use crate::metadata::metadata;
use crate::shell::{Shell, Side};
use crate::store::{self, Writer};
use crate::{VERSION, core_config};
use anyhow::{Context, bail};
use mon_core::{MonCore, MonEvent, Role as MonRole};
use net::{Messenger, MessengerConfig};
use runtime::config::SetError;
use runtime::daemon::{Ask, PidFile, Ready, Role, Signals};
use runtime::{AdminSocket, Config, Log, PerfCounters, System, daemon, register_common};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use types::{AddrType, EntityAddr, EntityName, EntityType};

/// How often the core looks at the time.
const TICK: Duration = Duration::from_secs(1);

/// Runs the monitor until it stops. An error is a failed start or a failed store.
pub fn run(config: Config, bad: Vec<SetError>) -> anyhow::Result<()> {
    let ready = match daemon::daemonize(&config)? {
        Role::Parent(code) => std::process::exit(code),
        Role::Daemon(ready) => ready,
    };
    daemon::become_user(&config)?;
    let log = Log::start(&config);
    for e in bad {
        tracing::warn!("configuration: {e}");
    }
    if config.bool("auth_allow_insecure_global_id_reclaim") {
        tracing::warn!(
            "configuration: auth_allow_insecure_global_id_reclaim = true is not obeyed: a global_id is reclaimed with a valid ticket only"
        );
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = tokio::task::LocalSet::new().block_on(&rt, serve(config, log, ready));
    if let Err(e) = &result {
        tracing::error!("{e:#}");
    }
    result
}

async fn serve(config: Config, log: Log, ready: Ready) -> anyhow::Result<()> {
    let name = config.identity().id.clone();
    let data = PathBuf::from(config.str("mon_data"));
    let db = store::open(&data).with_context(|| format!("mon.{name} has no store: run with --mkfs first"))?;
    let snapshot = store::read_all(&db)?;
    let env: Rc<dyn cephx::Env> = Rc::new(System);
    let core_cfg = core_config(&config);
    let auth = core_cfg.auth.clone();
    let core = MonCore::new(core_cfg, snapshot, env.clone()).map_err(|e| anyhow::anyhow!(e))?;
    let rank = core.rank();
    let addrs = core.monmap().addrs_of_rank(rank).cloned().unwrap_or_default();
    let pid_path = config.str("pid_file");
    let _pid = if pid_path.is_empty() { None } else { Some(PidFile::create(&PathBuf::from(pid_path))?) };

    let (writer, mut commits) = Writer::start(db)?;
    let shell = Shell::new(core, env, auth, writer);
    let mon_cfg = MessengerConfig::new(EntityName::mon(rank as i64), 0);
    let mon = Messenger::new(mon_cfg, Rc::new(Side { shell: shell.clone(), role: MonRole::Mon }));
    let nonce = System::random_u64() as u32;
    let mgr_cfg = MessengerConfig::new(EntityName::new(EntityType::MGR, rank as i64), nonce);
    let mgr = Messenger::new(mgr_cfg, Rc::new(Side { shell: shell.clone(), role: MonRole::Mgr }));
    shell.set_messenger(mon.clone());
    // Ids must be reserved and secrets fresh before anyone can log in.
    shell.event(MonEvent::Tick);
    shell.event(MonEvent::Metadata(metadata()));
    if let Some(Ok(v)) = commits.recv().await {
        shell.event(MonEvent::Committed(v));
    }
    mon.bind(&addrs.0).with_context(|| format!("cannot listen on {addrs}"))?;
    let ip = addrs.0.iter().find_map(|a| a.sock).map_or([127, 0, 0, 1].into(), |s| s.ip());
    let any = |kind| EntityAddr::new(kind, SocketAddr::new(ip, 0), nonce);
    let mgr_addrs = mgr
        .bind(&[any(AddrType::Msgr2), any(AddrType::Legacy)])
        .with_context(|| format!("cannot listen on {ip} as manager"))?;
    shell.event(MonEvent::MgrAddrs(mgr_addrs));

    let config = Rc::new(RefCell::new(config));
    let asok = admin_socket(&shell, &config, log.clone());
    let asok_path = config.borrow().str("admin_socket");
    let bound = if asok_path.is_empty() {
        None
    } else {
        Some(asok.bind(&PathBuf::from(&asok_path)).with_context(|| format!("admin socket {asok_path}"))?)
    };
    tracing::info!("mon.{name} starts at {addrs}: {VERSION}");
    ready.ready();
    let result = event_loop(&shell, &mut commits, &log).await;
    drop(bound);
    drop(asok);
    mon.shutdown();
    mgr.shutdown();
    shell.close();
    tracing::info!("mon.{name} stops");
    result
}

async fn event_loop(
    shell: &Rc<Shell>,
    commits: &mut UnboundedReceiver<anyhow::Result<u64>>,
    log: &Log,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            c = commits.recv() => match c {
                Some(Ok(v)) => shell.event(MonEvent::Committed(v)),
                // What is on disk is unknown after a failed write: nothing may be promised any more.
                Some(Err(e)) => return Err(e.context("the store failed")),
                None => bail!("the store's thread is gone"),
            },
            _ = tick.tick() => shell.event(MonEvent::Tick),
            ask = signals.next() => match ask {
                Ask::Stop => return Ok(()),
                Ask::Reopen => log.reopen(),
            },
        }
    }
}

/// The admin socket: stock's common commands, and the monitor's own through the core.
fn admin_socket(shell: &Rc<Shell>, config: &Rc<RefCell<Config>>, log: Log) -> AdminSocket {
    let asok = AdminSocket::new("16.2.15");
    register_common(&asok, config, &PerfCounters::new(), Some(log), Rc::new(|_: &[String]| {}));
    for (prefix, help) in [
        ("mon_status", "report status of monitors"),
        ("quorum_status", "report status of monitor quorum"),
        ("sessions", "list existing sessions"),
        ("status", "show cluster status"),
        ("health", "show cluster health"),
    ] {
        let shell = Rc::downgrade(shell);
        asok.register(prefix, help, move |cmd| match shell.upgrade() {
            Some(shell) => match shell.local(cmd.to_string()) {
                (0, _, out) => (0, String::from_utf8_lossy(&out).into_owned()),
                (code, text, _) => (code.abs(), text),
            },
            None => (-108, "stopping".to_owned()),
        });
    }
    asok
}
