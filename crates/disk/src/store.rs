//! [`DiskStore`]: the store for the OSD program.

use crate::device::{Aligned, FileDevice, create_file, sync_dir};
use crate::lane::{Ended, Lane};
use crate::pace::Pace;
use bytes::Bytes;
use objstore::{
    CollId, CommitToken, DeviceTimes, ObjectStat, ObjectStore, OmapEntry, StoreError, StoreStatfs,
    Transaction,
};
use std::io;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store_core::{
    DATA_BYTES_MIN, IoBatch, IoDone, JOURNAL_BYTES_MIN, OpenError, Store, StoreConfig, StoreCounters,
};
use thiserror::Error;
use types::{Fsid, HObject};

pub use crate::lane::WakeHook;

/// Why a store could not be made or opened.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is a store already.
    #[error("{0} exists: mkfs does not overwrite a store")]
    Exists(PathBuf),
    /// Another process has it mounted.
    #[error("{0} is in use by another process")]
    Busy(PathBuf),
    /// A device is too small.
    #[error("{path} has {have} bytes, at least {need} are needed")]
    TooSmall {
        /// The device.
        path: PathBuf,
        /// Its size.
        have: u64,
        /// What is needed.
        need: u64,
    },
    /// The store on the devices cannot be mounted.
    #[error("mount of {path}")]
    Open {
        /// The OSD's folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: OpenError,
    },
}

/// Where a store is and what it may take.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// The OSD's folder (`osd_data`): holds `block` and `journal`.
    pub dir: PathBuf,
    /// mkfs: file or block device for data that `block` shall link to; `None` makes a file `block`.
    pub data: Option<PathBuf>,
    /// mkfs: file or block device for the journal that `journal` shall link to (`osd_journal`); `None` makes a file.
    pub journal: Option<PathBuf>,
    /// mkfs: size of a data file that is made (`bluestore_block_size`).
    pub data_bytes: u64,
    /// mkfs: size of a journal file that is made (`osd_journal_size`).
    pub journal_bytes: u64,
    /// Each write of the journal is held up for so long (tests).
    pub inject_delay: Duration,
    /// Write the journal past the page cache (`journal_dio`).
    pub direct_journal: bool,
    /// Bounds.
    pub config: StoreConfig,
}
impl DiskOptions {
    /// A store in a folder with the usual sizes: a sparse data file of 10 GiB, a journal of 256 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        DiskOptions {
            dir: dir.into(),
            data: None,
            journal: None,
            data_bytes: 10 << 30,
            journal_bytes: 256 << 20,
            inject_delay: Duration::ZERO,
            direct_journal: true,
            config: StoreConfig::default(),
        }
    }
    fn block(&self) -> PathBuf {
        self.dir.join("block")
    }
    fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }
}

fn io_error<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> DiskError + 'p {
    move |source| match source.kind() {
        io::ErrorKind::WouldBlock => DiskError::Busy(path.into()),
        _ => DiskError::Io { what, path: path.into(), source },
    }
}

/// A mounted store with its threads. Queue, then [`DiskStore::kick`] and [`DiskStore::write_due`]; when the wake hook was
/// called, [`DiskStore::poll_commits`].
pub struct DiskStore {
    store: Store,
    commit: Lane,
    background: Lane,
    ended: Arc<Ended>,
    wake: WakeHook,
    dev: FileDevice,
    pace: Pace,
    times: DeviceTimes,
    /// A record that is to be written by [`DiskStore::write_due`].
    due: Option<IoBatch>,
    scratch: Aligned,
}

impl DiskStore {
    /// True when the folder has a store's files.
    pub fn exists(dir: &Path) -> bool {
        dir.join("block").symlink_metadata().is_ok()
    }
    /// Makes an empty store. Files that are made are durable, with their folder entries, when this returns.
    pub fn mkfs(opts: &DiskOptions, uuid: Fsid) -> Result<(), DiskError> {
        let (block, journal) = (opts.block(), opts.journal());
        if DiskStore::exists(&opts.dir) {
            return Err(DiskError::Exists(block));
        }
        std::fs::create_dir_all(&opts.dir).map_err(io_error("create", &opts.dir))?;
        place(&journal, opts.journal.as_deref(), opts.journal_bytes, true)?;
        place(&block, opts.data.as_deref(), opts.data_bytes, false)?;
        let dev = FileDevice::open(&block, &journal, false).map_err(io_error("open", &block))?;
        let (data_bytes, journal_bytes) = {
            use store_core::{Dev, ReadDevice};
            (dev.size(Dev::Data), dev.size(Dev::Journal))
        };
        for (path, have, need) in
            [(&block, data_bytes, DATA_BYTES_MIN), (&journal, journal_bytes, JOURNAL_BYTES_MIN)]
        {
            if have < need {
                return Err(DiskError::TooSmall { path: path.clone(), have, need });
            }
        }
        let mut scratch = Default::default();
        for step in store_core::mkfs(uuid, data_bytes, journal_bytes).steps {
            dev.step(&step, &mut scratch).map_err(|e| DiskError::Io {
                what: "mkfs",
                path: block.clone(),
                source: io::Error::other(e),
            })?;
        }
        sync_dir(&opts.dir).map_err(io_error("sync", &opts.dir))?;
        let parent = opts.dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(parent).map_err(io_error("sync", parent))
    }
    /// Mounts the store of the folder and starts its threads. `wake` is called from them.
    pub fn open(opts: &DiskOptions, wake: WakeHook) -> Result<DiskStore, DiskError> {
        let (block, journal) = (opts.block(), opts.journal());
        let mut dev =
            FileDevice::open(&block, &journal, opts.direct_journal).map_err(io_error("open", &block))?;
        dev.inject_delay(opts.inject_delay);
        // After a crash of the process alone, records may be in the system's cache only.
        dev.sync_all().map_err(io_error("sync", &block))?;
        let store = Store::open(Box::new(dev.clone()), opts.config.clone())
            .map_err(|source| DiskError::Open { path: opts.dir.clone(), source })?;
        let ended = Arc::new(Ended::default());
        let lane = |name: &str| {
            Lane::start(name, dev.clone(), ended.clone(), wake.clone()).map_err(io_error("thread", &block))
        };
        let (commit, background) = (lane("store-journal")?, lane("store-ckpt")?);
        let (pace, scratch) = (Pace::default(), Aligned::default());
        let times = DeviceTimes::default();
        Ok(DiskStore { store, commit, background, ended, wake, dev, pace, times, due: None, scratch })
    }
    /// The store of the folder to read from, for tools: locked like a mounted one, with what its journal holds, but nothing is ever
    /// written to it.
    pub fn open_to_read(opts: &DiskOptions) -> Result<impl ObjectStore + use<>, DiskError> {
        let (block, journal) = (opts.block(), opts.journal());
        let dev = FileDevice::open(&block, &journal, false).map_err(io_error("open", &block))?;
        Store::open(Box::new(dev), opts.config.clone())
            .map_err(|source| DiskError::Open { path: opts.dir.clone(), source })
    }
    /// Starts writing what was queued. To be called once after a round of `queue` calls, and [`DiskStore::write_due`] after
    /// it.
    pub fn kick(&mut self) {
        while let Some(batch) = self.store.poll_io() {
            match batch.lane {
                store_core::Lane::Commit if self.due.is_none() && self.pace.is_here(&batch) => {
                    self.due = Some(batch);
                }
                store_core::Lane::Commit => self.commit.send(batch),
                store_core::Lane::Background => self.background.send(batch),
            }
        }
    }
    /// Writes the record that the journal's thread need not write, if there is one: blocks for as long as that takes. The wake
    /// hook is called when it is done.
    pub fn write_due(&mut self) {
        let Some(batch) = self.due.take() else { return };
        let start = Instant::now();
        let result = batch.steps.iter().try_for_each(|s| self.dev.step(s, &mut self.scratch));
        let took = start.elapsed();
        self.pace.note(took);
        self.times.journal.note(nanos(took));
        self.store.handle_io_done(IoDone { id: batch.id, result });
        (self.wake)();
    }
    /// Takes the ends of batches, starts the next ones, and appends the transactions that became durable to `out`, in
    /// queue order.
    pub fn poll_commits(&mut self, out: &mut Vec<CommitToken>) {
        self.write_due();
        for e in self.ended.take() {
            match e.lane {
                store_core::Lane::Commit => {
                    self.pace.note(e.took);
                    self.times.journal.note(nanos(e.took));
                }
                store_core::Lane::Background => self.times.data.note(nanos(e.took)),
            }
            self.store.handle_io_done(e.done);
        }
        self.kick();
        while let Some(token) = self.store.poll_commit() {
            out.push(token);
        }
    }
    /// Blocks until a batch has ended (for tools and tests; the OSD waits for its wake hook).
    pub fn wait(&self, at_most: Duration) {
        if self.due.is_none() {
            self.ended.wait(at_most);
        }
    }
    /// True when commits wait for a checkpoint: the OSD should take in less.
    pub fn is_congested(&self) -> bool {
        self.store.is_congested()
    }
    /// Why the store has stopped, when it has.
    pub fn failure(&self) -> Option<String> {
        self.store.failure()
    }
    /// Asks for a checkpoint soon.
    pub fn request_checkpoint(&mut self) {
        self.store.request_checkpoint();
    }
    /// Makes all durable, checkpoints, and unmounts: the next mount has nothing to replay. Gives up after `at_most`, which costs
    /// nothing but a longer mount. Answers what became durable meanwhile.
    pub fn close(mut self, at_most: Duration) -> Vec<CommitToken> {
        let start = Instant::now();
        let mut out = Vec::new();
        self.store.request_checkpoint();
        self.kick();
        while self.store.failure().is_none() && !self.store.is_idle() && start.elapsed() < at_most {
            self.wait(Duration::from_millis(100));
            self.poll_commits(&mut out);
        }
        out
    }
    /// How the store is doing.
    pub fn counters(&self) -> StoreCounters {
        self.store.counters()
    }
    /// Name of the store.
    pub fn uuid(&self) -> Fsid {
        self.store.uuid()
    }
}

/// Makes the file at `path`, or a link there to what the operator chose.
fn place(path: &Path, target: Option<&Path>, bytes: u64, write_through: bool) -> Result<(), DiskError> {
    let Some(target) = target.filter(|t| *t != path) else {
        return create_file(path, bytes, write_through).map_err(io_error("create", path));
    };
    let is_block = target.metadata().is_ok_and(|m| m.file_type().is_block_device());
    if !is_block {
        create_file(target, bytes, write_through).map_err(io_error("create", target))?;
        if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent).map_err(io_error("sync", parent))?;
        }
    }
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path).map_err(io_error("remove", path))?;
    }
    symlink(target, path).map_err(io_error("link", path))
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl ObjectStore for DiskStore {
    fn stat(&self, coll: CollId, oid: &HObject) -> Result<ObjectStat, StoreError> {
        self.store.stat(coll, oid)
    }
    fn read(&self, coll: CollId, oid: &HObject, off: u64, len: u64) -> Result<Bytes, StoreError> {
        self.store.read(coll, oid, off, len)
    }
    fn read_into(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>, StoreError> {
        self.store.read_into(coll, oid, off, len, out)
    }
    fn extents(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        self.store.extents(coll, oid, off, len)
    }
    fn getattr(&self, coll: CollId, oid: &HObject, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.getattr(coll, oid, name)
    }
    fn getattrs(&self, coll: CollId, oid: &HObject) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.store.getattrs(coll, oid)
    }
    fn omap_header(&self, coll: CollId, oid: &HObject) -> Result<Bytes, StoreError> {
        self.store.omap_header(coll, oid)
    }
    fn omap_get(&self, coll: CollId, oid: &HObject, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.omap_get(coll, oid, key)
    }
    fn omap_list(
        &self,
        coll: CollId,
        oid: &HObject,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<OmapEntry>, StoreError> {
        self.store.omap_list(coll, oid, after, max)
    }
    fn list(&self, coll: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError> {
        self.store.list(coll, start, max)
    }
    fn collections(&self) -> Vec<CollId> {
        self.store.collections()
    }
    fn statfs(&self) -> StoreStatfs {
        self.store.statfs()
    }
    fn device_times(&self) -> DeviceTimes {
        self.times
    }
    fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError> {
        self.store.queue(txn, token)
    }
}
