//! Where a cluster of `loligo up` keeps things: the layout of a folder, and its `ceph.conf`.
//!
//! Names are stock's (`mon/ceph-a`, `osd/ceph-0`, `ceph.client.admin.keyring`), so that an operator finds them.

use anyhow::Context;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A cluster's folder.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Absolute path of the folder.
    pub dir: PathBuf,
}

impl Layout {
    /// The layout under `dir`, which is created when it is missing.
    pub fn create(dir: &Path) -> anyhow::Result<Layout> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Layout::open(dir)
    }
    /// The layout under an existing `dir`.
    pub fn open(dir: &Path) -> anyhow::Result<Layout> {
        let dir = dir.canonicalize().with_context(|| format!("no cluster folder {}", dir.display()))?;
        Ok(Layout { dir })
    }
    /// The cluster's configuration file.
    pub fn conf(&self) -> PathBuf {
        self.dir.join("ceph.conf")
    }
    /// The administrator's keyring.
    pub fn admin_keyring(&self) -> PathBuf {
        self.dir.join("ceph.client.admin.keyring")
    }
    /// The monitors' shared keyring, used once at `--mkfs`.
    pub fn mon_keyring(&self) -> PathBuf {
        self.dir.join("ceph.mon.keyring")
    }
    /// The initial monitor map.
    pub fn monmap(&self) -> PathBuf {
        self.dir.join("monmap")
    }
    /// A daemon's data folder.
    pub fn data(&self, kind: &str, id: &str) -> PathBuf {
        self.dir.join(kind).join(format!("ceph-{id}"))
    }
    /// A daemon's pid file.
    pub fn pid_file(&self, daemon: &str) -> PathBuf {
        self.dir.join("run").join(format!("{daemon}.pid"))
    }
    /// A daemon's log.
    pub fn log(&self, daemon: &str) -> PathBuf {
        self.dir.join("log").join(format!("{daemon}.log"))
    }
    /// Ids of the daemons of `kind` that have a data folder, ascending (numbers as numbers).
    pub fn ids(&self, kind: &str) -> Vec<String> {
        let mut ids: Vec<String> = fs::read_dir(self.dir.join(kind))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| Some(e.file_name().to_str()?.strip_prefix("ceph-")?.to_owned()))
            .collect();
        ids.sort_by_key(|id| (id.parse::<u64>().unwrap_or(u64::MAX), id.clone()));
        ids
    }
    /// Creates the folders.
    pub fn make_folders(&self) -> anyhow::Result<()> {
        for d in ["mon", "osd", "run", "log", "crash"] {
            fs::create_dir_all(self.dir.join(d))?;
        }
        Ok(())
    }
    /// Writes a file that only the owner may read.
    pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
        let mut f = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        f.write_all(text.as_bytes())?;
        f.sync_all()?;
        Ok(())
    }

    /// The text of `ceph.conf`.
    pub fn conf_text(&self, fsid: &str, mons: &[(String, u16, u16)], osds: usize) -> String {
        let d = self.dir.display();
        let names: Vec<&str> = mons.iter().map(|(n, _, _)| n.as_str()).collect();
        let addrs: Vec<String> =
            mons.iter().map(|(_, v2, v1)| format!("[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]")).collect();
        // Without OSDs yet (their owner will add some), stock's sizes.
        let size = if osds == 0 { 3 } else { osds.min(3) };
        let min_size = if size == 3 { 2 } else { 1 };
        format!(
            "[global]
fsid = {fsid}
mon initial members = {names}
mon host = {addrs}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {d}/ceph.$name.keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = {size}
osd pool default min size = {min_size}
osd crush chooseleaf type = 0
run dir = {d}/run
crash dir = {d}/crash

[mon]
mon data = {d}/mon/ceph-$id
keyring = {d}/mon/ceph-$id/keyring
mon allow pool delete = true
# (A machine to try things on: its disk may be fuller than a monitor's should be.)
mon data avail warn = 2
mon data avail crit = 1
log file = {d}/log/$name.log
pid file = {d}/run/$name.pid
admin socket = {d}/run/$name.asok

[osd]
osd data = {d}/osd/ceph-$id
keyring = {d}/osd/ceph-$id/keyring
log file = {d}/log/$name.log
pid file = {d}/run/$name.pid
admin socket = {d}/run/$name.asok
",
            names = names.join(","),
            addrs = addrs.join(","),
        )
    }
}
