//! The daemon's life: start order, the loop, the end.

use crate::admin;
use crate::ensemble::Ensemble;
use crate::metadata::metadata;
use crate::metrics::Metrics;
use crate::peers;
use crate::shell::{Shell, Side};
use crate::store::{self, Reports, Writer};
use crate::{VERSION, core_config};
use anyhow::{Context, bail};
use mon_core::{MemberNews, MonCore, MonEvent, Role as MonRole};
use net::{Messenger, MessengerConfig, Policy};
use runtime::config::SetError;
use runtime::daemon::{Ask, PidFile, Ready, Role, Signals};
use runtime::{Config, Log, System, daemon};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use types::{AddrType, EntityAddr, EntityName, EntityType};

/// How often the core looks at the time.
const TICK: Duration = Duration::from_secs(1);
/// How often it hears of its store's room and speed.
const STORE: Duration = Duration::from_secs(5);

/// Runs the monitor until it stops. An error is a failed start or a failed store.
pub fn run(config: Config, bad: Vec<SetError>) -> anyhow::Result<()> {
    let ready = match daemon::daemonize(&config)? {
        Role::Parent(code) => std::process::exit(code),
        Role::Daemon(ready) => ready,
    };
    daemon::raise_file_limit();
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
    let new_id = quorum::NodeId(System::random_u64() | 1);
    let db = store::open(&data, &name, new_id)
        .with_context(|| format!("mon.{name} has no store: run with --mkfs first"))?;
    let opened = store::read_all(&db)?;
    let env: Rc<dyn cephx::Env> = Rc::new(System);
    let core_cfg = core_config(&config);
    let auth = core_cfg.auth.clone();
    let core = MonCore::new(core_cfg, opened.keys, env.clone()).map_err(|e| anyhow::anyhow!(e))?;
    let rank = core.rank();
    let addrs = core.monmap().addrs_of_rank(rank).cloned().unwrap_or_default();
    let ensemble = Ensemble::new(&core, &opened.loaded, opened.may_seed, System::random_u64())?;
    drop(opened.loaded);
    let pid_path = config.str("pid_file");
    let _pid = if pid_path.is_empty() { None } else { Some(PidFile::create(&PathBuf::from(pid_path))?) };

    let (writer, mut reports) = Writer::start(db)?;
    let shell = Shell::new(core, ensemble, env, auth, writer);
    let lean = |cfg: MessengerConfig| MessengerConfig { lean: true, ..cfg };
    let mon_cfg = lean(MessengerConfig::new(EntityName::mon(rank as i64), 0));
    let mon = Messenger::new(mon_cfg, Rc::new(Side { shell: shell.clone(), role: MonRole::Mon }));
    // Monitors speak on sessions of their own to each other; what must not be lost is repeated above the messenger.
    mon.set_policy(EntityType::MON, Policy::stateless_registered_server());
    let nonce = System::random_u64() as u32;
    let mgr_cfg = lean(MessengerConfig::new(EntityName::new(EntityType::MGR, rank as i64), nonce));
    let mgr = Messenger::new(mgr_cfg, Rc::new(Side { shell: shell.clone(), role: MonRole::Mgr }));
    shell.set_messenger(mon.clone());
    if let Ok(hosts) = monc::conf::monitors(&config) {
        shell.also_dial(hosts);
    }
    mon.bind(&addrs.0).with_context(|| format!("cannot listen on {addrs}"))?;
    let ip = addrs.0.iter().find_map(|a| a.sock).map_or([127, 0, 0, 1].into(), |s| s.ip());
    let any = |kind| EntityAddr::new(kind, SocketAddr::new(ip, 0), nonce);
    let mgr_addrs = mgr
        .bind(&[any(AddrType::Msgr2), any(AddrType::Legacy)])
        .with_context(|| format!("cannot listen on {ip} as manager"))?;
    shell.event(MonEvent::News(MemberNews {
        name: name.clone(),
        metadata: metadata().into_iter().collect(),
        mgr_addrs,
        ..MemberNews::default()
    }));
    shell.start();

    let config = Rc::new(RefCell::new(config));
    shell.set_config(config.clone(), log.clone());
    let asok = admin::admin_socket(&shell, &config, log.clone());
    shell.set_admin(asok.clone());
    let asok_path = config.borrow().str("admin_socket");
    let bound = if asok_path.is_empty() {
        None
    } else {
        Some(asok.bind(&PathBuf::from(&asok_path)).with_context(|| format!("admin socket {asok_path}"))?)
    };
    tracing::info!("mon.{name} starts at {addrs}: {VERSION}");
    ready.ready();
    let result = event_loop(&shell, &mut reports, &log, &data).await;
    drop(bound);
    drop(asok);
    mon.shutdown();
    mgr.shutdown();
    shell.close();
    tracing::info!("mon.{name} stops");
    result
}

/// Pause between two pieces of a state that travels to another monitor.
const PIECE_PAUSE: Duration = Duration::from_millis(5);

async fn event_loop(
    shell: &Rc<Shell>,
    reports: &mut Reports,
    log: &Log,
    mon_data: &Path,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut tick = tokio::time::interval(TICK);
    let mut peers = tokio::time::interval(peers::TICK);
    let mut store = tokio::time::interval(STORE);
    for t in [&mut tick, &mut peers, &mut store] {
        t.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let mut metrics = Metrics::default();
    loop {
        let deadline = shell.deadline().into();
        let pieces = shell.send_pieces();
        tokio::select! {
            w = reports.recv() => match w {
                Some(Ok(w)) => shell.written(w),
                // What is on disk is unknown after a failed write: nothing may be promised any more.
                Some(Err(e)) => return Err(e.context("the store failed")),
                None => bail!("the store's thread is gone"),
            },
            () = tokio::time::sleep_until(deadline) => shell.tick(),
            () = shell.wake.notified() => {}
            () = tokio::time::sleep(PIECE_PAUSE), if pieces => {}
            _ = tick.tick() => {
                shell.event(MonEvent::Tick);
                metrics.follow(shell, shell.metrics_at());
            }
            _ = peers.tick() => shell.peers_tick(),
            _ = store.tick() => shell.look_at_store(mon_data),
            ask = signals.next() => match ask {
                Ask::Stop => {
                    metrics.stop();
                    return Ok(());
                }
                Ask::Reopen => log.reopen(),
            },
        }
        if let Some(why) = shell.broken() {
            bail!("this monitor takes no part any more: {why}");
        }
    }
}
