//! The monitor's store: one `redb` database, written by a thread of its own.
//!
//! Tables: `kv` is the state machine's keys; `quorum` holds the members' log (`docs/format/mon-store.md`). The thread takes all jobs that
//! wait, in order, into one transaction and one sync, and reports each of them after it. The applied index is in the transaction that applies the
//! batch, so neither is ever there without the other. A failed write stops the monitor: what is on disk is then unknown.

use anyhow::Context;
use bytes::Bytes;
use mon_core::kv::Kv;
use mon_core::{Batch, StoreState};
use quorum::{Loaded, NodeId, Persist};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use tokio::sync::mpsc as async_mpsc;

/// Keys of the state machine.
const KV: TableDefinition<&str, &[u8]> = TableDefinition::new("kv");
/// Entries of the members' log, by index.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("quorum_log");
/// The two records beside them.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("quorum");
const META_KEY: &str = "meta";
const APPLIED_KEY: &str = "applied";
/// There while this monitor may found the cluster's quorum (`docs/format/mon-store.md`).
const SEED_KEY: &str = "seed";
/// Page cache; all keys are in memory in the core too.
const CACHE_BYTES: usize = 4 << 20;
/// Jobs in one transaction.
const JOBS_MAX: usize = 256;

/// What belongs to the quorum in a store, as read at start.
pub struct Opened {
    /// Keys of the state machine.
    pub keys: BTreeMap<String, Bytes>,
    /// Log and records.
    pub loaded: Loaded,
    /// This monitor may found the quorum.
    pub may_seed: bool,
}

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

/// Makes a new store with these keys. One that is there is refused. With `seed` the monitor may found the cluster's quorum: one that
/// is alone in the monitor map, or the first of it; others wait to be let in.
pub fn create(mon_data: &Path, keys: &BTreeMap<String, Bytes>, id: NodeId, seed: bool) -> anyhow::Result<()> {
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
        let mut table = t.open_table(KV)?;
        for (k, v) in keys {
            table.insert(k.as_str(), v.as_ref())?;
        }
        let mut meta = t.open_table(META)?;
        meta.insert(META_KEY, quorum::joiner_meta(id).as_ref())?;
        meta.insert(APPLIED_KEY, 0u64.to_le_bytes().as_slice())?;
        if seed {
            meta.insert(SEED_KEY, [1u8].as_slice())?;
        }
        t.open_table(LOG)?;
    }
    t.commit()?;
    drop(db);
    fs::rename(&tmp, &file)?;
    fs::File::open(&dir)?.sync_all()?;
    Ok(())
}

/// What there is of a monitor's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// No store.
    Nothing,
    /// One that was made and never took part in a quorum: whatever is in it was put there by who made it.
    Blank,
    /// A cluster's state, or something that cannot be read.
    State,
    /// A daemon has it open.
    InUse,
}

/// Looks at what there is of a store.
pub fn look(mon_data: &Path) -> Held {
    let file = path(mon_data);
    if !file.exists() {
        return Held::Nothing;
    }
    match Database::open(&file) {
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => Held::InUse,
        Err(_) => Held::State,
        Ok(db) => match read_all(&db) {
            Ok(o) if o.loaded.applied == 0 && o.loaded.entries.is_empty() => Held::Blank,
            _ => Held::State,
        },
    }
}

/// Puts a store out of the way, under a name that is answered. Nothing of it is changed.
pub fn set_aside(mon_data: &Path) -> anyhow::Result<PathBuf> {
    let from = mon_data.join("store.db");
    let free = (1..).map(|n| mon_data.join(format!("store.db.aside-{n}"))).find(|p| !p.exists());
    let to = free.context("no free name")?;
    fs::rename(&from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    fs::File::open(mon_data)?.sync_all()?;
    Ok(to)
}

/// Opens a store. One of the version before the quorum becomes the store of a quorum with one member.
pub fn open(mon_data: &Path, name: &str, new_id: NodeId) -> anyhow::Result<Database> {
    let db = open_at(&path(mon_data), false)?;
    let t = db.begin_write()?;
    let is_old = t.open_table(META)?.get(META_KEY)?.is_none();
    if is_old {
        t.open_table(LOG)?;
        found(&t, &quorum::seed_meta(new_id, &[(new_id, name.to_owned())]))?;
        t.commit()?;
    } else {
        t.abort()?;
    }
    Ok(db)
}

/// The state that is there becomes the first of a new history.
fn found(t: &WriteTransaction, meta: &Bytes) -> anyhow::Result<()> {
    let mut table = t.open_table(META)?;
    table.insert(META_KEY, meta.as_ref())?;
    table.insert(APPLIED_KEY, 1u64.to_le_bytes().as_slice())?;
    table.remove(SEED_KEY)?;
    Ok(())
}

/// Reads everything.
pub fn read_all(db: &Database) -> anyhow::Result<Opened> {
    let t = db.begin_read()?;
    let mut keys = BTreeMap::new();
    for entry in t.open_table(KV)?.iter()? {
        let (k, v) = entry?;
        keys.insert(k.value().to_owned(), Bytes::copy_from_slice(v.value()));
    }
    let meta = t.open_table(META)?;
    let record = |key: &str| -> anyhow::Result<Option<Bytes>> {
        Ok(meta.get(key)?.map(|v| Bytes::copy_from_slice(v.value())))
    };
    let applied = record(APPLIED_KEY)?.and_then(|b| b.as_ref().try_into().ok().map(u64::from_le_bytes));
    let mut entries = Vec::new();
    for entry in t.open_table(LOG)?.iter()? {
        entries.push(Bytes::copy_from_slice(entry?.1.value()));
    }
    let loaded = Loaded {
        meta: record(META_KEY)?.context("the store has no record of the quorum")?,
        entries,
        applied: applied.context("the store has no applied index")?,
    };
    Ok(Opened { keys, loaded, may_seed: record(SEED_KEY)?.is_some() })
}

/// One thing to make durable.
#[derive(Debug)]
pub enum Job {
    /// Log and records of the quorum.
    Persist(Persist),
    /// The state after the entry with this index.
    Apply(u64, Batch),
    /// This monitor founds the quorum, with this record; the state that is there is the first of the history.
    Found(Bytes),
    /// A quorum exists already: this monitor will never found one.
    GiveUpSeed,
}

/// What has become durable, in the order of the jobs.
#[derive(Debug, Clone, Copy)]
pub enum Written {
    /// [`Persist`] with this token, and all before it.
    Persisted(u64),
    /// The state up to this index.
    Applied(u64),
}

fn persist(t: &WriteTransaction, p: &Persist) -> anyhow::Result<()> {
    let mut log = t.open_table(LOG)?;
    let mut meta = t.open_table(META)?;
    if let Some(s) = &p.snapshot {
        let keys = Kv::keys_of(&s.data).context("the quorum's state does not decode")?;
        log.retain(|_, _| false)?;
        let mut kv = t.open_table(KV)?;
        kv.retain(|_, _| false)?;
        for (k, v) in &keys {
            kv.insert(k.as_str(), v.as_ref())?;
        }
        meta.insert(APPLIED_KEY, s.index.to_le_bytes().as_slice())?;
        meta.remove(SEED_KEY)?;
    }
    if let Some(from) = p.delete_from {
        log.retain_in(from.., |_, _| false)?;
    }
    for (index, entry) in &p.put {
        log.insert(index, entry.as_ref())?;
    }
    if let Some(to) = p.delete_to {
        log.retain_in(..=to, |_, _| false)?;
    }
    meta.insert(META_KEY, p.meta.as_ref())?;
    Ok(())
}

fn apply(t: &WriteTransaction, index: u64, batch: &Batch) -> anyhow::Result<()> {
    if !batch.is_empty() {
        let mut table = t.open_table(KV)?;
        for (k, v) in &batch.changes {
            match v {
                Some(v) => drop(table.insert(k.as_str(), v.as_ref())?),
                None => drop(table.remove(k.as_str())?),
            }
        }
    }
    t.open_table(META)?.insert(APPLIED_KEY, index.to_le_bytes().as_slice())?;
    Ok(())
}

fn write(db: &Database, jobs: &[Job]) -> anyhow::Result<()> {
    let t = db.begin_write()?;
    for job in jobs {
        match job {
            Job::Persist(p) => persist(&t, p)?,
            Job::Apply(index, batch) => apply(&t, *index, batch)?,
            Job::Found(meta) => found(&t, meta)?,
            Job::GiveUpSeed => drop(t.open_table(META)?.remove(SEED_KEY)?),
        }
    }
    t.commit()?;
    Ok(())
}

/// How long the thread's writes take, for whoever asks from outside.
#[derive(Debug)]
struct Speed {
    start: Instant,
    /// Since when a write has gone on, in microseconds from the start; 0 between writes.
    since_us: AtomicU64,
    /// Longest write that ended since anyone asked.
    slowest_us: AtomicU64,
}

impl Speed {
    fn new() -> Speed {
        Speed { start: Instant::now(), since_us: AtomicU64::new(0), slowest_us: AtomicU64::new(0) }
    }
    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 | 1
    }
    fn begin(&self) {
        self.since_us.store(self.now_us(), Relaxed);
    }
    fn end(&self) {
        let since = self.since_us.swap(0, Relaxed);
        self.slowest_us.fetch_max(self.now_us().saturating_sub(since), Relaxed);
    }
    /// The longest write since this was asked last; one that goes on counts with what it has taken so far.
    fn take_slowest_us(&self) -> u64 {
        let ended = self.slowest_us.swap(0, Relaxed);
        match self.since_us.load(Relaxed) {
            0 => ended,
            since => ended.max(self.now_us().saturating_sub(since)),
        }
    }
}

/// The file system that a path is on, and the store's size there.
fn store_room(mon_data: &Path) -> StoreState {
    let mut s = StoreState::default();
    if let Ok(fs) = rustix::fs::statvfs(mon_data) {
        s.total_bytes = fs.f_blocks.saturating_mul(fs.f_frsize);
        s.avail_bytes = fs.f_bavail.saturating_mul(fs.f_frsize);
    }
    s.store_bytes = fs::metadata(path(mon_data)).map_or(0, |m| m.len());
    s
}

/// The writing thread. Dropping the handle lets it finish and end.
pub struct Writer {
    speed: Arc<Speed>,
    tx: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What comes out of the writing thread.
pub type Reports = async_mpsc::UnboundedReceiver<anyhow::Result<Written>>;

impl Writer {
    /// Starts the thread; reports (or the error that ends everything) come out of the receiver.
    pub fn start(db: Database) -> anyhow::Result<(Writer, Reports)> {
        let (tx, rx) = mpsc::channel::<Job>();
        let (done, out) = async_mpsc::unbounded_channel();
        let speed = Arc::new(Speed::new());
        let measured = speed.clone();
        let thread =
            std::thread::Builder::new().name("mon-store".into()).stack_size(512 << 10).spawn(move || {
                while let Ok(first) = rx.recv() {
                    let mut jobs = vec![first];
                    jobs.extend(rx.try_iter().take(JOBS_MAX - 1));
                    measured.begin();
                    let result = write(&db, &jobs);
                    measured.end();
                    if let Err(e) = result {
                        let _ = done.send(Err(e));
                        break;
                    }
                    for job in &jobs {
                        let written = match job {
                            Job::Persist(p) => Written::Persisted(p.token),
                            Job::Apply(index, _) => Written::Applied(*index),
                            Job::Found(_) | Job::GiveUpSeed => continue,
                        };
                        if done.send(Ok(written)).is_err() {
                            return;
                        }
                    }
                }
            })?;
        Ok((Writer { speed, tx: Some(tx), thread: Some(thread) }, out))
    }
    /// The store and its file system, as of now.
    pub fn state(&self, mon_data: &Path) -> StoreState {
        StoreState { slowest_write_us: self.speed.take_slowest_us(), ..store_room(mon_data) }
    }
    /// Hands a job over.
    pub fn write(&self, job: Job) {
        if let Some(tx) = &self.tx {
            // The thread is gone only after it reported an error, which ends the monitor.
            let _ = tx.send(job);
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

/// A folder for a test, removed with it.
#[cfg(test)]
pub struct Folder(pub PathBuf);

#[cfg(test)]
impl Folder {
    /// A new one.
    pub fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("loligo-mon-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }
}

#[cfg(test)]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorum::InstalledState;

    fn keys(list: &[(&str, &str)]) -> BTreeMap<String, Bytes> {
        list.iter().map(|(k, v)| ((*k).to_owned(), Bytes::copy_from_slice(v.as_bytes()))).collect()
    }
    fn persist_of(token: u64, put: &[(u64, &'static str)]) -> Persist {
        Persist {
            token,
            snapshot: None,
            delete_from: put.first().map(|p| p.0),
            put: put.iter().map(|(i, e)| (*i, Bytes::from_static(e.as_bytes()))).collect(),
            delete_to: None,
            meta: Bytes::from_static(b"meta"),
        }
    }

    #[test]
    fn a_store_from_before_the_quorum_is_one_of_a_quorum_of_one() {
        let d = Folder::new("old");
        fs::create_dir_all(path(&d.0).parent().unwrap()).unwrap();
        let db = open_at(&path(&d.0), true).unwrap();
        let t = db.begin_write().unwrap();
        t.open_table(KV).unwrap().insert("a/b", b"c".as_slice()).unwrap();
        t.commit().unwrap();
        drop(db);
        for id in [7, 8] {
            let opened = read_all(&open(&d.0, "a", NodeId(id)).unwrap()).unwrap();
            assert_eq!(opened.keys, keys(&[("a/b", "c")]));
            // (The second start finds what the first one made.)
            assert_eq!(quorum::meta_id(&opened.loaded.meta).unwrap(), NodeId(7));
            assert_eq!((opened.loaded.applied, opened.may_seed), (1, false));
        }
    }

    #[test]
    fn a_new_store_joins_or_founds_and_a_second_one_is_refused() {
        let d = Folder::new("new");
        create(&d.0, &keys(&[("k", "v")]), NodeId(5), true).unwrap();
        assert!(create(&d.0, &keys(&[]), NodeId(6), true).is_err());
        let db = open(&d.0, "a", NodeId(9)).unwrap();
        let opened = read_all(&db).unwrap();
        assert_eq!((opened.loaded.applied, opened.may_seed), (0, true));
        write(&db, &[Job::Found(quorum::seed_meta(NodeId(5), &[(NodeId(5), "a".into())]))]).unwrap();
        let opened = read_all(&db).unwrap();
        assert_eq!((opened.loaded.applied, opened.may_seed), (1, false));
    }

    #[test]
    fn a_write_that_goes_on_is_as_long_as_it_has_taken() {
        let s = Speed::new();
        assert_eq!(s.take_slowest_us(), 0);
        s.begin();
        s.since_us.store(1, Relaxed);
        while s.now_us() < 3000 {
            std::hint::spin_loop();
        }
        assert!(s.take_slowest_us() >= 2000);
        s.end();
        assert!(s.take_slowest_us() >= 2000);
        assert_eq!(s.take_slowest_us(), 0, "told once");
    }

    #[test]
    fn a_store_that_holds_a_clusters_state_is_told_from_one_that_never_took_part() {
        let d = Folder::new("look");
        assert_eq!(look(&d.0), Held::Nothing);
        create(&d.0, &keys(&[("k", "v")]), NodeId(5), true).unwrap();
        assert_eq!(look(&d.0), Held::Blank);
        let db = open(&d.0, "a", NodeId(9)).unwrap();
        assert_eq!(look(&d.0), Held::InUse);
        write(&db, &[Job::Found(quorum::seed_meta(NodeId(5), &[(NodeId(5), "a".into())]))]).unwrap();
        drop(db);
        assert_eq!(look(&d.0), Held::State);
        let first = set_aside(&d.0).unwrap();
        assert_eq!(look(&d.0), Held::Nothing);
        create(&d.0, &keys(&[]), NodeId(6), false).unwrap();
        fs::write(path(&d.0), b"no database").unwrap();
        assert_eq!(look(&d.0), Held::State, "what cannot be read may be what someone needs");
        let second = set_aside(&d.0).unwrap();
        assert!(first != second && first.exists() && second.exists());
    }

    #[test]
    fn log_and_state_change_in_the_order_of_the_jobs() {
        let d = Folder::new("log");
        create(&d.0, &keys(&[("old", "x")]), NodeId(5), true).unwrap();
        let db = open(&d.0, "a", NodeId(9)).unwrap();
        let mut batch = Batch::default();
        batch.put("new", Bytes::from_static(b"y"));
        batch.delete("old");
        let jobs = [
            Job::Persist(persist_of(1, &[(2, "two"), (3, "three"), (4, "four")])),
            Job::Persist(persist_of(2, &[(4, "other four")])),
            Job::Apply(3, batch),
            Job::Persist(Persist { delete_to: Some(2), ..persist_of(3, &[]) }),
        ];
        write(&db, &jobs).unwrap();
        let opened = read_all(&db).unwrap();
        assert_eq!(opened.loaded.entries, [Bytes::from_static(b"three"), Bytes::from_static(b"other four")]);
        assert_eq!((opened.loaded.applied, opened.keys), (3, keys(&[("new", "y")])));

        let mut all = Batch::default();
        all.put("whole", Bytes::from_static(b"state"));
        let data = denc::to_bytes(&all, denc::Features::ALL);
        let p = Persist { snapshot: Some(InstalledState { index: 9, data }), ..persist_of(4, &[]) };
        write(&db, &[Job::Persist(p)]).unwrap();
        let opened = read_all(&db).unwrap();
        assert_eq!((opened.loaded.entries.len(), opened.loaded.applied), (0, 9));
        assert_eq!(opened.keys, keys(&[("whole", "state")]));
    }
}
