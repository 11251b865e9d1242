//! Files and block devices: opening, locking, preallocation, reads, vectored writes, syncs.
//!
//! The journal is written with `O_DIRECT | O_DSYNC` where the file system has it (one system call makes a record durable, and
//! the page cache is not filled with what is read only after a crash); else buffered with `fdatasync`. Data goes through
//! the page cache, which is also the read cache.

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use store_core::{Dev, DeviceError, IoStep, ReadDevice};

/// Buffers of one `pwritev` at most (`IOV_MAX`).
const IOV_MAX: usize = 1024;
const ALIGN: usize = 4096;

/// Both devices of a store.
#[derive(Debug, Clone)]
pub struct FileDevice {
    data: Arc<File>,
    data_bytes: u64,
    journal: Arc<File>,
    journal_bytes: u64,
    /// The journal again, opened so that a write is durable when it returns.
    journal_direct: Option<Arc<File>>,
}

/// Size of a file or a block device.
fn size_of(file: &File) -> io::Result<u64> {
    let meta = file.metadata()?;
    if meta.file_type().is_block_device() {
        use std::io::Seek;
        return (&*file).seek(io::SeekFrom::End(0));
    }
    Ok(meta.len())
}

impl FileDevice {
    /// Opens and locks both.
    pub fn open(data: &Path, journal: &Path, direct: bool) -> io::Result<FileDevice> {
        let open = |path: &Path| -> io::Result<(File, u64)> {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            let size = size_of(&file)?;
            Ok((file, size))
        };
        let (data, data_bytes) = open(data)?;
        let journal_path = journal;
        let (journal, journal_bytes) = open(journal)?;
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        let journal_direct = direct
            .then(|| OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(journal_path).ok())
            .flatten()
            .map(Arc::new);
        Ok(FileDevice {
            data: Arc::new(data),
            data_bytes,
            journal: Arc::new(journal),
            journal_bytes,
            journal_direct,
        })
    }
    /// True when journal writes are durable without a sync.
    pub fn has_direct_journal(&self) -> bool {
        self.journal_direct.is_some()
    }
    fn file(&self, dev: Dev) -> &File {
        match dev {
            Dev::Data => &self.data,
            Dev::Journal => &self.journal,
        }
    }
    /// Runs one step. `scratch` is the caller's buffer for aligned writes.
    pub fn step(&self, step: &IoStep, scratch: &mut Aligned) -> Result<(), DeviceError> {
        let (dev, what, off, done) = match step {
            IoStep::Sync { dev: Dev::Journal } if self.journal_direct.is_some() => return Ok(()),
            IoStep::Sync { dev } => (*dev, "sync", 0, self.file(*dev).sync_data()),
            IoStep::Write { dev: Dev::Journal, off, bufs } if self.journal_direct.is_some() => {
                let file = self.journal_direct.as_deref().expect("just seen");
                (Dev::Journal, "write", *off, file.write_all_at(scratch.gather(bufs), *off))
            }
            IoStep::Write { dev, off, bufs } => {
                (*dev, "write", *off, write_vectored(self.file(*dev), *off, bufs))
            }
        };
        done.map_err(|e| DeviceError { dev, what, off, text: e.to_string() })
    }
    /// Makes everything durable that was written through any handle.
    pub fn sync_all(&self) -> io::Result<()> {
        self.journal.sync_data()?;
        self.data.sync_data()
    }
}

impl ReadDevice for FileDevice {
    fn size(&self, dev: Dev) -> u64 {
        match dev {
            Dev::Data => self.data_bytes,
            Dev::Journal => self.journal_bytes,
        }
    }
    fn read_at(&self, dev: Dev, off: u64, len: usize) -> Result<Bytes, DeviceError> {
        let mut buf = vec![0; len];
        match self.file(dev).read_exact_at(&mut buf, off) {
            Ok(()) => Ok(buf.into()),
            Err(e) => Err(DeviceError { dev, what: "read", off, text: e.to_string() }),
        }
    }
}

/// A buffer whose bytes start at a multiple of 4 KiB in memory.
#[derive(Debug, Default)]
pub struct Aligned {
    buf: Vec<u8>,
}
impl Aligned {
    /// Copies `bufs` back to back; the copy is reused by the next call.
    fn gather(&mut self, bufs: &[Bytes]) -> &[u8] {
        let len: usize = bufs.iter().map(|b| b.len()).sum();
        if self.buf.len() < len + ALIGN {
            self.buf.resize(len + ALIGN, 0);
        }
        let skip = self.buf.as_ptr().align_offset(ALIGN);
        let mut at = skip;
        for b in bufs {
            self.buf[at..at + b.len()].copy_from_slice(b);
            at += b.len();
        }
        &self.buf[skip..at]
    }
    /// Gives memory back that only a rare large record needed.
    pub fn trim(&mut self) {
        if self.buf.len() > 4 << 20 {
            self.buf = Vec::new();
        }
    }
}

fn write_vectored(file: &File, off: u64, bufs: &[Bytes]) -> io::Result<()> {
    let mut at = off;
    for group in bufs.chunks(IOV_MAX) {
        let mut slices: Vec<IoSlice<'_>> = group.iter().map(|b| IoSlice::new(b)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let n = match rustix::io::pwritev(file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            };
            at += n as u64;
            IoSlice::advance_slices(&mut rest, n);
        }
    }
    Ok(())
}

/// Makes a file of `bytes` bytes; with `write_through` all of it is written, so that later syncs change no metadata.
pub fn create_file(path: &Path, bytes: u64, write_through: bool) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(Mode::from_raw_mode(0o600).bits())
        .open(path)?;
    if write_through {
        // Some file systems cannot reserve; writing all of it finds out just as well whether there is room.
        let _ = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            let n = (bytes - at).min(zeros.len() as u64);
            file.write_all_at(&zeros[..n as usize], at)?;
            at += n;
        }
    } else {
        file.set_len(bytes)?;
    }
    file.sync_all()
}

/// Makes a folder's entries durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
