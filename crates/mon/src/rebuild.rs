//! Monitors whose stores are lost: looking at what is left of them, and laying new ones down.
//!
//! What goes into the stores is `mon_core::rebuild`'s; reading the OSDs is `osd::offline`'s; `loligo mon rebuild` joins the two.
//!
//! Order: stores that wait to be let in first, the one that may found the quorum last. Each appears whole or not at all; as long as the last one is
//! missing, the others found nothing and answer nobody.

use crate::mkfs;
use crate::store;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use cephx::EntityAuth;
use runtime::Config;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use types::monmap::MonMap;

pub use crate::store::Held;

/// How long another monitor may take to accept a connection.
const KNOCK: Duration = Duration::from_millis(500);

/// One monitor's folder.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name, without `mon.`.
    pub name: String,
    /// Its folder.
    pub data: PathBuf,
}

/// A store that has to go out of the way first is put under this name.
pub type Aside = (String, PathBuf);

/// Options that the core reads from the configuration.
pub fn core_config(config: &Config) -> mon_core::MonConfig {
    crate::core_config(config)
}

/// The name of the monitor that may found the quorum.
pub fn founder(config: &Config, map: &MonMap) -> Option<String> {
    let names: BTreeSet<String> = map.mons.keys().cloned().collect();
    mkfs::founder(config, &names, map.ranks.first().map(String::as_str))
}

/// Refuses when any of the stores is needed, or in use. With `set_aside` one that holds something may go out of the way.
pub fn check(targets: &[Target], set_aside: bool) -> anyhow::Result<()> {
    for t in targets {
        match store::look(&t.data) {
            Held::Nothing | Held::Blank => {}
            Held::InUse => bail!("mon.{} runs on its store {}: stop it first", t.name, t.data.display()),
            Held::State if set_aside => {}
            Held::State => bail!(
                "mon.{} has a store in {}: a monitor that still has its store knows more than the OSDs do, so start it instead. \
                 If it is damaged, or older than the OSDs: --set-aside puts it out of the way (it is not deleted)",
                t.name,
                t.data.join("store.db").display()
            ),
        }
    }
    Ok(())
}

/// Refuses when a monitor of the map listens: its store is not lost.
pub fn nobody_listens(map: &MonMap) -> anyhow::Result<()> {
    for (name, info) in &map.mons {
        for at in info.public_addrs.0.iter().filter_map(|a| a.sock) {
            ensure!(
                TcpStream::connect_timeout(&at, KNOCK).is_err(),
                "mon.{name} answers at {at}: it has a store, or serves without one. Stop it first"
            );
        }
    }
    Ok(())
}

/// Lays the stores down. Those that [`check`] let pass go aside; answers where to.
pub fn lay_down(
    targets: &[Target],
    founder: &str,
    mon: &EntityAuth,
    keys: &BTreeMap<String, Bytes>,
) -> anyhow::Result<Vec<Aside>> {
    let mut aside = Vec::new();
    for t in targets {
        make_dir(&t.data)?;
        if store::look(&t.data) != Held::Nothing {
            aside.push((t.name.clone(), store::set_aside(&t.data)?));
        }
    }
    let (founders, joiners): (Vec<&Target>, Vec<&Target>) = targets.iter().partition(|t| t.name == founder);
    for (t, seed) in joiners.into_iter().map(|t| (t, false)).chain(founders.into_iter().map(|t| (t, true))) {
        mkfs::lay_down(&t.data, mon, keys, seed).with_context(|| format!("mon.{}", t.name))?;
    }
    Ok(aside)
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()?;
    Ok(())
}
