//! `loligo up`: creates a cluster in a folder, or starts again what is not running in it.
//!
//! Order: keys, `ceph.conf` and monmap; monitors (`--mkfs`, then run); for each OSD `osd new`, `--mkfs`, run; wait until
//! `health` is good. Every step is repeatable: what exists is kept, what runs is left alone.

use crate::layout::Layout;
use crate::say::Progress;
use crate::{process, say};
use anyhow::{Context, bail, ensure};
use cephx::{AuthName, CryptoKey, KeyType};
use monc::Commander;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use types::{AddrType, AddrVec, EntityAddr, Fsid};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// More monitors than this make nothing safer, only slower.
const MONS_MAX: usize = 9;

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Folder of the cluster; created when it is missing
    #[arg(long)]
    dir: PathBuf,
    /// Monitors of a new cluster
    #[arg(long, default_value_t = 1)]
    mons: usize,
    /// OSDs of the cluster; more than there are adds new ones
    #[arg(long)]
    osds: Option<usize>,
    /// Journals of new OSDs: a folder (one file per OSD in it), instead of a file beside the data
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Size of a new OSD's data file, such as 20G (sparse); by default its share of half the free space
    #[arg(long)]
    osd_size: Option<String>,
    /// First port of a new cluster's monitors (v2, then v1); by default free ones
    #[arg(long)]
    port: Option<u16>,
    /// Return as soon as the daemons run, without waiting for HEALTH_OK
    #[arg(long)]
    no_wait: bool,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("no free port")?.local_addr()?.port())
}

fn mon_name(n: usize) -> String {
    char::from(b'a' + n as u8).to_string()
}

fn keyring_section(entity: &str, key: &CryptoKey, caps: &[(&str, &str)]) -> String {
    let mut text = format!("[{entity}]\n\tkey = {}\n", key.to_base64());
    for (service, cap) in caps {
        text += &format!("\tcaps {service} = \"{cap}\"\n");
    }
    text
}

/// Lays a new cluster down: everything but the daemons' own data.
fn create(layout: &Layout, args: &UpArgs, osds: usize) -> anyhow::Result<()> {
    ensure!((1..=MONS_MAX).contains(&args.mons), "--mons {}: from 1 to {MONS_MAX}", args.mons);
    layout.make_folders()?;
    let env = runtime::System;
    let mut random = [0u8; 16];
    runtime::System::random(&mut random);
    let fsid = Fsid::from_random(random);
    let mut mons = Vec::new();
    for n in 0..args.mons {
        let (v2, v1) = match args.port {
            Some(p) => (p + 2 * n as u16, p + 2 * n as u16 + 1),
            None => (free_port()?, free_port()?),
        };
        mons.push((mon_name(n), v2, v1));
    }
    let mon_key = CryptoKey::generate(KeyType::Aes, &env);
    let admin_key = CryptoKey::generate(KeyType::Aes, &env);
    let all = [("mds", "allow *"), ("mgr", "allow *"), ("mon", "allow *"), ("osd", "allow *")];
    let admin = keyring_section("client.admin", &admin_key, &all);
    Layout::write_secret(&layout.admin_keyring(), &admin)?;
    let mon = keyring_section("mon.", &mon_key, &[("mon", "allow *")]);
    Layout::write_secret(&layout.mon_keyring(), &format!("{mon}{admin}"))?;
    let at = |kind, port| EntityAddr::new(kind, ([127, 0, 0, 1], port).into(), 0);
    let members = mons.iter().map(|(name, v2, v1)| {
        (name.clone(), AddrVec(vec![at(AddrType::Msgr2, *v2), at(AddrType::Legacy, *v1)]))
    });
    let map = types::monmap::MonMap::build(fsid, runtime::System::now(), members);
    fs::write(layout.monmap(), denc::to_bytes(&map, denc::Features::ALL))?;
    // The configuration comes last: where it exists, the cluster was laid down whole.
    let tmp = layout.dir.join("ceph.conf.new");
    fs::write(&tmp, layout.conf_text(&fsid.to_string(), &mons, osds))?;
    fs::rename(tmp, layout.conf())?;
    for (name, _, _) in &mons {
        let data = layout.data("mon", name);
        fs::create_dir_all(&data)?;
        Layout::write_secret(&data.join("keyring"), &mon)?;
        let (map, keys) = (layout.monmap(), layout.mon_keyring());
        let args: [&OsStr; 4] = ["--monmap".as_ref(), map.as_ref(), "--keyring".as_ref(), keys.as_ref()];
        process::mkfs(layout, "mon", name, &args)?;
    }
    Ok(())
}

/// Size of a new OSD's data file in bytes.
fn osd_size_bytes(args: &UpArgs, layout: &Layout, osds: usize) -> anyhow::Result<u64> {
    if let Some(text) = &args.osd_size {
        return runtime::options::parse_size(text).with_context(|| format!("--osd-size {text:?} is no size"));
    }
    let fs = rustix::fs::statvfs(&layout.dir)?;
    let share = fs.f_bavail * fs.f_frsize / 2 / osds.max(1) as u64;
    Ok((share >> 30 << 30).clamp(1 << 30, 1 << 40))
}

async fn add_osd(layout: &Layout, args: &UpArgs, mon: &Commander, size_bytes: u64) -> anyhow::Result<String> {
    let env = runtime::System;
    let mut random = [0u8; 16];
    runtime::System::random(&mut random);
    let uuid = Fsid::from_random(random).to_string();
    let key = CryptoKey::generate(KeyType::Aes, &env);
    let secret = serde_json::json!({ "cephx_secret": key.to_base64() }).to_string();
    let answer = mon.command(serde_json::json!({ "prefix": "osd new", "uuid": uuid }), secret.into()).await?;
    ensure!(answer.code == 0, "osd new: {}", answer.outs);
    let id = String::from_utf8_lossy(&answer.outbl).trim().to_owned();
    ensure!(id.parse::<u32>().is_ok(), "osd new answered {id:?}");
    let data = layout.data("osd", &id);
    fs::create_dir_all(&data)?;
    Layout::write_secret(&data.join("keyring"), &keyring_section(&format!("osd.{id}"), &key, &[]))?;
    let journal = match &args.journal {
        Some(dir) => {
            fs::create_dir_all(dir)?;
            Some(dir.canonicalize()?.join(format!("journal-{id}")))
        }
        None => None,
    };
    let size = size_bytes.to_string();
    let mut flags: Vec<&OsStr> =
        vec!["--osd-uuid".as_ref(), uuid.as_ref(), "--bluestore-block-size".as_ref(), size.as_ref()];
    if let Some(j) = &journal {
        flags.extend([OsStr::new("--osd-journal"), j.as_ref()]);
    }
    process::mkfs(layout, "osd", &id, &flags)?;
    Ok(id)
}

/// Starts a daemon unless it runs already.
fn start(layout: &Layout, progress: &Progress, kind: &str, id: &str) -> anyhow::Result<()> {
    let daemon = format!("{kind}.{id}");
    if let Some(pid) = process::alive(layout, &daemon) {
        progress.step(&format!("{daemon} runs already (pid {pid})"));
        return Ok(());
    }
    process::wait_for_end(layout, &daemon, PATIENCE);
    let child = process::spawn(layout, kind, id)?;
    fs::write(layout.pid_file(&daemon), format!("{}\n", child.id()))?;
    progress.step(&format!("{daemon} started (pid {})", child.id()));
    Ok(())
}

async fn connect(layout: &Layout) -> anyhow::Result<Commander> {
    let deadline = Instant::now() + PATIENCE;
    let name = AuthName::parse("client.admin").context("entity")?;
    let conf = layout.conf().to_string_lossy().into_owned();
    let args = runtime::DaemonArgs { id: Some("admin".to_owned()), conf: Some(conf), ..Default::default() };
    let (config, _) = args.config("client")?;
    loop {
        let (mons, key) = (monc::conf::monitors(&config)?, monc::conf::load_key(&config, &name)?);
        let env = std::rc::Rc::new(runtime::System);
        match Commander::connect(mons, name.clone(), key, env, Duration::from_millis(500)).await {
            Ok(c) => return Ok(c),
            Err(e) => {
                for id in layout.ids("mon") {
                    let daemon = format!("mon.{id}");
                    if process::gone(layout, &daemon) {
                        bail!("{daemon} died:\n{}", process::last_words(layout, &daemon));
                    }
                }
                ensure!(Instant::now() < deadline, "no monitor answers: {e:#}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that pass as daemons come up. Others (a pool without an application, a flag that was set) are the operator's.
const PASSING: &[&str] =
    &["OSD_DOWN", "OSD_HOST_DOWN", "OSD_ROOT_DOWN", "PG_AVAILABILITY", "PG_DEGRADED", "MON_DOWN", "MGR_DOWN"];

/// Waits until as many OSDs are up as run here, and nothing is wrong that waiting can heal.
async fn wait_healthy(layout: &Layout, progress: &Progress, mon: &Commander) -> anyhow::Result<()> {
    let wanted = layout.ids("osd").len();
    let deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    loop {
        let answer = mon
            .command(serde_json::json!({ "prefix": "status", "format": "json" }), Vec::new().into())
            .await?;
        let status: serde_json::Value = serde_json::from_slice(&answer.outbl).unwrap_or_default();
        let up = status["osdmap"]["num_up_osds"].as_u64().unwrap_or(0);
        let health = status["health"]["status"].as_str().unwrap_or("?").to_owned();
        let line = format!("{up} of {wanted} OSDs up, {health}");
        if line != said {
            progress.step(&line);
            said = line;
        }
        let passing = PASSING.iter().any(|check| !status["health"]["checks"][*check].is_null());
        if up as usize >= wanted && health != "?" && !passing {
            return Ok(());
        }
        for id in layout.ids("osd") {
            let daemon = format!("osd.{id}");
            if process::gone(layout, &daemon) {
                bail!("{daemon} died:\n{}", process::last_words(layout, &daemon));
            }
        }
        if Instant::now() > deadline {
            let checks = serde_json::to_string(&status["health"]["checks"]).unwrap_or_default();
            bail!("after {PATIENCE:?}: {said}: {checks}");
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

async fn run_async(args: UpArgs) -> anyhow::Result<()> {
    let progress = Progress::start();
    let layout = Layout::create(&args.dir)?;
    let is_new = !layout.conf().exists();
    if is_new {
        create(&layout, &args, args.osds.unwrap_or(3))?;
        progress.step(&format!("new cluster in {}", layout.dir.display()));
    }
    for id in layout.ids("mon") {
        start(&layout, &progress, "mon", &id)?;
    }
    let mon = connect(&layout).await?;
    progress.step("the monitors answer");
    let there = layout.ids("osd").len();
    let wanted = args.osds.unwrap_or(if is_new { 3 } else { there });
    for id in layout.ids("osd") {
        start(&layout, &progress, "osd", &id)?;
    }
    if wanted > there {
        let size = osd_size_bytes(&args, &layout, wanted - there)?;
        for _ in there..wanted {
            let id = add_osd(&layout, &args, &mon, size).await?;
            start(&layout, &progress, "osd", &id)?;
        }
    }
    if !args.no_wait {
        wait_healthy(&layout, &progress, &mon).await?;
    }
    say::line(&format!("the cluster is up in {:.1} s. Next:", progress.start.elapsed().as_secs_f64()))?;
    say::line(&format!("  export CEPH_CONF={}", layout.conf().display()))?;
    say::line("  ceph -s")?;
    say::line(&format!("  loligo down --dir {}", relative(&layout.dir).display()))?;
    Ok(())
}

fn relative(dir: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    here.and_then(|h| dir.strip_prefix(h).ok().map(Path::to_owned))
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or_else(|| dir.to_owned())
}

/// The command.
pub fn run(args: UpArgs) -> anyhow::Result<()> {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&rt, run_async(args))
}
