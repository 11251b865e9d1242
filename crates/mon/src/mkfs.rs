//! `--mkfs`: the store of a new cluster, or of a monitor that will join one.
//!
//! Every monitor of a new cluster makes the same start, but only the first one of `mon_initial_members` (or of the map) may found the quorum with
//! it, and only when the others know of none; they take its state over. With `--osdmap` (a flag of stock's, too) the cluster goes on with that map.

use crate::{core_config, store};
use anyhow::{Context, ensure};
use bytes::Bytes;
use cephx::EntityAuth;
use mon_core::{MkfsConfig, adopt, mkfs as core_mkfs, parse_keyring};
use runtime::{Config, DaemonArgs, System};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use types::monmap::MonMap;
use types::osdmap::OsdMap;
use types::{EntityType, Fsid};

/// Writes a file that only its owner may read. What was there stays until the new one is whole.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let tmp = path.with_extension("new");
    let _ = fs::remove_file(&tmp);
    let mut f = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&tmp)
        .with_context(|| tmp.display().to_string())?;
    f.write_all(text.as_bytes())?;
    f.sync_all()?;
    fs::rename(&tmp, path).with_context(|| path.display().to_string())
}

/// Makes the store.
pub fn mkfs(args: &DaemonArgs, config: &Config) -> anyhow::Result<()> {
    let dir = PathBuf::from(config.str("mon_data"));
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let value = |name: &str| {
        args.values.get(name).cloned().or_else(|| Some(config.str(name))).filter(|v| !v.is_empty())
    };
    let map_path = value("monmap").context("--mkfs needs --monmap")?;
    let bytes = bytes::Bytes::from(fs::read(&map_path).with_context(|| map_path.clone())?);
    let mut monmap: MonMap =
        denc::from_bytes(&bytes).with_context(|| format!("{map_path} is no monitor map"))?;
    let given: Option<Fsid> = value("fsid").and_then(|t| t.parse().ok());
    let fsid = match given {
        Some(f) => f,
        None if !monmap.fsid.is_zero() => monmap.fsid,
        None => {
            let mut b = [0; 16];
            System::random(&mut b);
            Fsid::from_random(b)
        }
    };
    ensure!(
        monmap.mons.contains_key(&config.identity().id),
        "mon.{} is not in {map_path}",
        config.identity().id
    );
    if monmap.ranks.is_empty() {
        monmap.calc_ranks();
    }
    let map_names: BTreeSet<String> = monmap.mons.keys().cloned().collect();
    let map_first = monmap.ranks.first().cloned();
    let list = config.str("keyring");
    let ring_path = list.split([',', ';']).map(|p| PathBuf::from(p.trim())).find(|p| p.exists());
    let ring_path =
        ring_path.with_context(|| format!("--mkfs needs --keyring: no file of {list:?} exists"))?;
    let text = fs::read_to_string(&ring_path).with_context(|| ring_path.display().to_string())?;
    let keyring = parse_keyring(&text).with_context(|| format!("{} is no keyring", ring_path.display()))?;
    let mon = keyring.iter().find(|(n, _)| n.kind == EntityType::MON).map(|(_, e)| e.clone());
    let mon = mon.with_context(|| format!("{} has no key for mon.", ring_path.display()))?;
    let mut keys = core_mkfs(&MkfsConfig { monmap, fsid, keyring, options: core_config(config) }, &System)
        .map_err(|e| anyhow::anyhow!(e))?;
    if let Some(path) = args.values.get("osdmap").cloned() {
        let bytes = Bytes::from(fs::read(&path).with_context(|| path.clone())?);
        let map: OsdMap = denc::from_bytes(&bytes).with_context(|| format!("{path} is no OSDMap"))?;
        adopt(&mut keys, map, fsid, System::now()).with_context(|| path)?;
    }
    let seed = founder(config, &map_names, map_first.as_deref()) == Some(config.identity().id.clone());
    lay_down(&dir, &mon, &keys, seed)
}

/// Who may found the quorum: the first of `mon_initial_members` that is in the map, else the first of the map.
pub fn founder(config: &Config, names: &BTreeSet<String>, map_first: Option<&str>) -> Option<String> {
    let initial = config.str("mon_initial_members");
    let first = initial.split([',', ' ', ';']).map(str::trim).find(|n| names.contains(*n));
    first.or(map_first).map(str::to_owned)
}

/// Writes a monitor's folder; the store comes last, and whole.
pub fn lay_down(
    dir: &Path,
    mon: &EntityAuth,
    keys: &BTreeMap<String, Bytes>,
    seed: bool,
) -> anyhow::Result<()> {
    let node = quorum::NodeId(System::random_u64() | 1);
    write_secret(&dir.join("keyring"), &mon_core::keyring_text("mon.", mon, true))?;
    fs::write(dir.join("kv_backend"), "redb\n")?;
    fs::write(dir.join("min_mon_release"), "16\n")?;
    store::create(dir, keys, node, seed)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(())
}
