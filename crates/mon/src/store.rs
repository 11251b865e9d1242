//! The monitor's store: one `redb` table of keys and values, written by a thread of its own.
//!
//! One transaction per proposal, durable before it is reported. A failed write stops the monitor: what is on disk is then unknown.

use anyhow::Context;
use bytes::Bytes;
use mon_core::Proposal;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::mpsc as async_mpsc;

const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("kv");
/// Page cache; all keys are in memory in the core too.
const CACHE_BYTES: usize = 4 << 20;

/// Where the store of a monitor is.
pub fn path(mon_data: &Path) -> PathBuf {
    mon_data.join("store.db").join("kv.redb")
}

fn open_at(file: &Path, create: bool) -> anyhow::Result<Database> {
    let mut b = Database::builder();
    b.set_cache_size(CACHE_BYTES);
    let db = if create { b.create(file) } else { b.open(file) };
    db.with_context(|| format!("store {}", file.display()))
}

/// Makes a new store with these keys. One that is there is refused.
pub fn create(mon_data: &Path, keys: &BTreeMap<String, Bytes>) -> anyhow::Result<()> {
    let file = path(mon_data);
    anyhow::ensure!(!file.exists(), "{} exists: this monitor has a store already", file.display());
    let dir = file.parent().unwrap_or(mon_data).to_owned();
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    // Written under another name first: a crash half way leaves no store that looks whole.
    let tmp = file.with_extension("new");
    let _ = fs::remove_file(&tmp);
    let db = open_at(&tmp, true)?;
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o600))?;
    let t = db.begin_write()?;
    {
        let mut table = t.open_table(TABLE)?;
        for (k, v) in keys {
            table.insert(k.as_str(), v.as_ref())?;
        }
    }
    t.commit()?;
    drop(db);
    fs::rename(&tmp, &file)?;
    fs::File::open(&dir)?.sync_all()?;
    Ok(())
}

/// Reads every key of a store.
pub fn read_all(db: &Database) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let t = db.begin_read()?;
    let table = t.open_table(TABLE)?;
    let mut out = BTreeMap::new();
    for entry in table.iter()? {
        let (k, v) = entry?;
        out.insert(k.value().to_owned(), Bytes::copy_from_slice(v.value()));
    }
    Ok(out)
}

/// Opens a store.
pub fn open(mon_data: &Path) -> anyhow::Result<Database> {
    open_at(&path(mon_data), false)
}

fn write(db: &Database, p: &Proposal) -> anyhow::Result<()> {
    let t = db.begin_write()?;
    {
        let mut table = t.open_table(TABLE)?;
        for (k, v) in &p.batch.changes {
            match v {
                Some(v) => drop(table.insert(k.as_str(), v.as_ref())?),
                None => drop(table.remove(k.as_str())?),
            }
        }
    }
    t.commit()?;
    Ok(())
}

/// The writing thread. Dropping the handle lets it finish and end.
pub struct Writer {
    tx: Option<mpsc::Sender<Proposal>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; commits (or the error that ends everything) come out of the receiver.
    pub fn start(
        db: Database,
    ) -> anyhow::Result<(Writer, async_mpsc::UnboundedReceiver<anyhow::Result<u64>>)> {
        let (tx, rx) = mpsc::channel::<Proposal>();
        let (done, out) = async_mpsc::unbounded_channel();
        let thread =
            std::thread::Builder::new().name("mon-store".into()).stack_size(512 << 10).spawn(move || {
                while let Ok(p) = rx.recv() {
                    let r = write(&db, &p).map(|()| p.version);
                    let failed = r.is_err();
                    if done.send(r).is_err() || failed {
                        break;
                    }
                }
            })?;
        Ok((Writer { tx: Some(tx), thread: Some(thread) }, out))
    }
    /// Hands a proposal over.
    pub fn write(&self, p: Proposal) {
        if let Some(tx) = &self.tx {
            // The thread is gone only after it reported an error, which ends the monitor.
            let _ = tx.send(p);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tx = None;
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}
