//! The daemon's life: start order, the loop, the end.

use crate::VERSION;
use crate::location;
use crate::mkfs::disk_options;
use crate::shell::{Messengers, Process, Shell, Side, Stopped};
use anyhow::{Context, bail};
use cephx::{AuthConfig, AuthName, TicketStore};
use disk::DiskStore;
use monc::MonLink;
use net::{Messenger, MessengerConfig};
use objstore::ObjectStore;
use osd_core::{Net, OsdAddrs, OsdConfig, OsdCore, OsdEvent};
use runtime::common::Way;
use runtime::config::SetError;
use runtime::daemon::{Ask, PidFile, Ready, Role, Signals};
use runtime::{AdminSocket, Config, Log, PerfCounters, System, daemon, register_common};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use types::{AddrType, EntityAddr, EntityName, EntityType, OsdId};

/// How long the store may take for its last checkpoint.
const CLOSE: Duration = Duration::from_secs(20);

/// Runs the OSD until it stops. An error is a failed start or a failed store.
pub fn run(config: Config, bad: Vec<SetError>, number: i32) -> anyhow::Result<()> {
    keep_big_buffers();
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
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = tokio::task::LocalSet::new().block_on(&rt, serve(config, log, number, ready));
    if let Err(e) = &result {
        tracing::error!("{e:#}");
    }
    result
}

/// The C library maps big blocks anew for each request, and each page of it costs a fault. Giving back a mapped block teaches
/// it to take blocks of that size from its heap, and to keep twice as much there.
fn keep_big_buffers() {
    const BYTES: usize = 31 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BYTES)));
}

/// The address to listen on: `cluster_addr` or `public_addr`, loopback when neither is set.
fn listen_ip(config: &Config, options: &[&str]) -> anyhow::Result<IpAddr> {
    for option in options {
        let text = config.str(option);
        let text = text.trim().trim_start_matches("v2:").trim_start_matches("v1:");
        if text.is_empty() {
            continue;
        }
        let ip = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|s| s.ip()));
        return ip.with_context(|| format!("{option} = {text:?} is no address"));
    }
    Ok(IpAddr::from([127, 0, 0, 1]))
}

fn messenger(shell: &Rc<Shell>, net: Net, number: i32, nonce: u32, config: &Config) -> Messenger {
    let mut mc = MessengerConfig::new(EntityName::osd(OsdId(number)), nonce);
    if net != Net::Cluster {
        // Heartbeats are lossy both ways: a broken one is opened anew by the next ping. So are the sessions on which
        // an OSD is another's client.
        mc.policies.insert(EntityType::OSD, net::Policy::lossy_client());
    }
    mc.throttle_bytes_max = config.uint("osd_client_message_size_cap").max(1 << 20);
    Messenger::new(mc, Rc::new(Side { shell: shell.clone(), net }))
}

fn bind(m: &Messenger, ip: IpAddr) -> anyhow::Result<types::AddrVec> {
    let any = |kind| EntityAddr::new(kind, SocketAddr::new(ip, 0), 0);
    m.bind(&[any(AddrType::Msgr2), any(AddrType::Legacy)]).with_context(|| format!("cannot listen on {ip}"))
}

fn osd_config(config: &Config, number: i32, size_bytes: u64) -> anyhow::Result<OsdConfig> {
    let mut c = OsdConfig::new(OsdId(number));
    if let Ok(fsid) = config.str("fsid").parse() {
        c.fsid = fsid;
    }
    c.metadata = location::metadata(config, VERSION, size_bytes);
    c.crush_location = location::crush_location(config);
    c.device_class = location::device_class(config);
    let weight = config.float("osd_crush_initial_weight");
    c.crush_weight = if weight >= 0.0 { weight } else { size_bytes as f64 / (1u64 << 40) as f64 };
    c.heartbeat.interval = config.secs("osd_heartbeat_interval");
    c.heartbeat.grace = config.secs("osd_heartbeat_grace");
    Ok(c)
}

async fn serve(config: Config, log: Log, number: i32, ready: Ready) -> anyhow::Result<()> {
    let env: Rc<dyn cephx::Env> = Rc::new(System);
    let name = AuthName::new(EntityType::OSD, number.to_string());
    let mons = monc::conf::monitors(&config)?;
    let key = monc::conf::load_key(&config, &name)?;
    let pid_path = config.str("pid_file");
    let _pid = if pid_path.is_empty() { None } else { Some(PidFile::create(&PathBuf::from(pid_path))?) };

    let wake = Arc::new(Notify::new());
    let hook = wake.clone();
    let mut store = DiskStore::open(&disk_options(&config), Arc::new(move || hook.notify_one()))?;
    let size_bytes = store.statfs().total;
    let core_config = osd_config(&config, number, size_bytes)?;
    let mut core = OsdCore::load(
        core_config,
        (System::now(), System::mono()),
        Box::new(System::random_u64),
        &mut store,
    )?;

    let wanted = [EntityType::MON, EntityType::MGR, EntityType::OSD];
    let tickets = TicketStore::new(name, key, &wanted).shared();
    let auth = Rc::new(AuthConfig::default());
    let nonce = System::random_u64() as u32;
    let shell = Shell::new(store, tickets.clone(), env.clone(), auth);
    let make = |net| messenger(&shell, net, number, nonce, &config);
    let nets = Messengers {
        public: make(Net::Public),
        cluster: make(Net::Cluster),
        hb_back: make(Net::HbBack),
        hb_front: make(Net::HbFront),
    };
    let public_ip = listen_ip(&config, &["public_addr"])?;
    let cluster_ip = listen_ip(&config, &["cluster_addr", "public_addr"])?;
    core.set_addrs(OsdAddrs {
        public: bind(&nets.public, public_ip)?,
        cluster: bind(&nets.cluster, cluster_ip)?,
        hb_back: bind(&nets.hb_back, cluster_ip)?,
        hb_front: bind(&nets.hb_front, public_ip)?,
    });
    let link = MonLink::new(nets.public.clone(), tickets, env, mons, true);
    shell.start(core, nets, link);
    drop(tokio::task::spawn_local(Shell::flush_turns(Rc::downgrade(&shell))));

    let config = Rc::new(RefCell::new(config));
    let asok = admin_socket(&shell, &config, log.clone());
    shell.set_process(Process { config: config.clone(), admin: asok.clone(), log: log.clone() });
    let asok_path = config.borrow().str("admin_socket");
    let bound = if asok_path.is_empty() {
        None
    } else {
        Some(asok.bind(&PathBuf::from(&asok_path)).with_context(|| format!("admin socket {asok_path}"))?)
    };
    tracing::info!("osd.{number} starts: {VERSION}");
    ready.ready();
    let stopped = event_loop(&shell, &wake, &log).await?;
    drop(bound);
    drop(asok);
    tracing::info!("osd.{number} stops: {}", stopped.reason);
    shell.close(CLOSE);
    if stopped.failed {
        bail!("{}", stopped.reason);
    }
    Ok(())
}

async fn event_loop(shell: &Rc<Shell>, wake: &Notify, log: &Log) -> anyhow::Result<Stopped> {
    let mut signals = Signals::new()?;
    let mut next = tokio::time::Instant::now();
    loop {
        if let Some(s) = shell.stopped() {
            return Ok(s);
        }
        tokio::select! {
            () = wake.notified() => shell.poll_store(),
            () = shell.changed.notified() => {
                next = next.min(tokio::time::Instant::now() + shell.wake_in());
            }
            () = tokio::time::sleep_until(next) => {
                next = tokio::time::Instant::now() + shell.tick();
            }
            ask = signals.next() => match ask {
                Ask::Stop => shell.event(OsdEvent::Shutdown),
                Ask::Reopen => log.reopen(),
            },
        }
    }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;

/// The admin socket: stock's common commands, and the OSD's own through the core.
fn admin_socket(shell: &Rc<Shell>, config: &Rc<RefCell<Config>>, log: Log) -> AdminSocket {
    let asok = AdminSocket::new("16.2.15");
    let on_change: runtime::common::OnChange = {
        let (shell, config) = (Rc::downgrade(shell), config.clone());
        Rc::new(move |names: &[String]| {
            let Some(shell) = shell.upgrade() else { return Err((108, "stopping".to_owned())) };
            shell.tell_config();
            for name in names {
                let Some(value) = config.borrow().get(name) else { continue };
                let set = serde_json::json!({ "prefix": "config set", "var": name, "val": value });
                match ask(&shell, set) {
                    // Options that the core does not know, or that it takes at a start only, are the process's own.
                    (0 | ENOENT | EPERM, _) => {}
                    refusal => {
                        config.borrow_mut().unset(name);
                        return Err(refusal);
                    }
                }
            }
            Ok(())
        })
    };
    let way = Way { on_change, ..Way::of_table() };
    register_common(&asok, config, Rc::new(PerfCounters::new), Some(log), way);
    for (prefix, help) in [
        ("status", "high-level status of OSD"),
        ("perf dump", "dump perfcounters value"),
        ("dump_ops_in_flight", "show the ops currently in flight"),
        ("ops", "show the ops currently in flight"),
        ("dump_blocked_ops", "show the blocked ops currently in flight"),
        ("dump_historic_ops", "show recent ops"),
        ("dump_historic_ops_by_duration", "show slowest recent ops, sorted by duration"),
        ("dump_historic_slow_ops", "show slowest recent ops"),
        ("flush_pg_stats", "flush pg stats"),
        ("get_latest_osdmap", "force osd to update the latest map from the mon"),
    ] {
        let shell = Rc::downgrade(shell);
        asok.register(prefix, help, move |cmd| match shell.upgrade() {
            Some(shell) => ask(&shell, cmd.clone()),
            None => (108, "stopping".to_owned()),
        });
    }
    asok
}

fn ask(shell: &Shell, cmd: serde_json::Value) -> (i32, String) {
    // The core answers while it handles the event, so the answer is there.
    match shell.command(cmd).try_recv() {
        Ok((0, _, out)) => (0, String::from_utf8_lossy(&out).into_owned()),
        Ok((code, text, _)) => (-code, text),
        Err(_) => (11, "busy".to_owned()),
    }
}
