//! Files and block devices: opening, locking, preallocation, reads, vectored writes, syncs.
//!
//! The journal is written with `O_DIRECT | O_DSYNC` where the file system has it (one system call makes a record durable, and
//! the page cache is not filled with what is read only after a crash); else buffered with `fdatasync`. Data goes through the
//! page cache, which is also the read cache. Only long writes that nobody is expected to read here (copies for other OSDs'
//! clients: big ones at once, small ones gathered by a checkpoint) go past it, without a copy when they lie at a page's start in
//! memory.

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use store_core::{Dev, DeviceError, IoStep, ReadDevice};

/// Buffers of one `pwritev` at most (`IOV_MAX`).
const IOV_MAX: usize = 1024;
const ALIGN: usize = 4096;
/// Bytes that are gathered for one write, and kept for the next.
const GATHER_BYTES: usize = 4 << 20;

/// Reads up to this size ask the page cache first.
const SMALL_READ_BYTES_MAX: usize = 64 << 10;
/// Longer reads are done, and checked, in pieces that fit into a core's cache.
const PIECE_BYTES: usize = 256 << 10;
/// A neighbourhood.
const AHEAD_BYTES: u64 = 128 << 10;
/// Reads after which reading ahead is judged, and rounds of as many for which it rests when it does not pay.
const AHEAD_ROUND: u32 = 8192;
const AHEAD_PAUSE: u32 = 16;

/// Both devices of a store.
#[derive(Debug, Clone)]
pub struct FileDevice {
    ahead: Arc<Ahead>,
    data: Arc<File>,
    data_bytes: u64,
    /// The data device again, past the page cache. The kernel drops what the cache has of a range that is written so.
    data_direct: Option<Arc<File>>,
    journal: Arc<File>,
    journal_bytes: u64,
    /// The journal again, opened so that a write is durable when it returns.
    journal_direct: Option<Arc<File>>,
    /// For tests: each write of the journal is held up for so long.
    inject_delay: Duration,
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
        let data_path = data;
        let (data, data_bytes) = open(data)?;
        let journal_path = journal;
        let (journal, journal_bytes) = open(journal)?;
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        let journal_direct = direct
            .then(|| OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(journal_path).ok())
            .flatten()
            .map(Arc::new);
        let data_direct = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(data_path)
            .ok()
            .filter(|_| direct)
            .map(Arc::new);
        Ok(FileDevice {
            ahead: Arc::default(),
            data: Arc::new(data),
            data_bytes,
            data_direct,
            journal: Arc::new(journal),
            journal_bytes,
            journal_direct,
            inject_delay: Duration::ZERO,
        })
    }
    /// For tests: makes the journal slow.
    pub fn inject_delay(&mut self, delay: Duration) {
        self.inject_delay = delay;
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
        if !self.inject_delay.is_zero() && matches!(step, IoStep::Write { dev: Dev::Journal, .. }) {
            std::thread::sleep(self.inject_delay);
        }
        let (dev, what, off, done) = match step {
            IoStep::Sync { dev: Dev::Journal } if self.journal_direct.is_some() => return Ok(()),
            IoStep::Sync { dev } => (*dev, "sync", 0, self.file(*dev).sync_data()),
            IoStep::Write { dev: Dev::Journal, off, bufs, .. } if self.journal_direct.is_some() => {
                let file = self.journal_direct.as_deref().expect("just seen");
                (Dev::Journal, "write", *off, file.write_all_at(scratch.gather(bufs), *off))
            }
            IoStep::Write { dev, off, bufs, read_soon } => {
                let past = *dev == Dev::Data && !*read_soon && is_big(bufs);
                let direct = self.data_direct.as_deref().filter(|_| past);
                let done = match direct {
                    Some(file) => write_direct(file, *off, bufs, scratch),
                    None => write_vectored(self.file(*dev), *off, bufs),
                };
                (*dev, "write", *off, done)
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
        let mut buf = Vec::with_capacity(len);
        self.read_into(dev, off, len, &mut buf)?;
        Ok(buf.into())
    }
    fn read_into(&self, dev: Dev, off: u64, len: usize, out: &mut Vec<u8>) -> Result<(), DeviceError> {
        let error = |e: io::Error| DeviceError { dev, what: "read", off, text: e.to_string() };
        if dev == Dev::Data && len <= SMALL_READ_BYTES_MAX {
            return self.read_small(off, len, out).map_err(error);
        }
        let start = out.len();
        let end = start + len;
        out.reserve_exact(len);
        while out.capacity() == end && out.len() < end {
            // The usual read, into memory that nobody has cleared.
            let at = off + (out.len() - start) as u64;
            match rustix::io::pread(self.file(dev), rustix::buffer::spare_capacity(out), at) {
                Ok(0) => return Err(error(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(error(e.into())),
            }
        }
        let done = out.len();
        if done < end {
            out.resize(end, 0);
            let at = off + (done - start) as u64;
            self.file(dev).read_exact_at(&mut out[done..], at).map_err(error)?;
        }
        Ok(())
    }
    fn read_checked(
        &self,
        dev: Dev,
        off: u64,
        len: usize,
        out: &mut Vec<u8>,
        check: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool, DeviceError> {
        let start = out.len();
        if dev == Dev::Journal || len <= SMALL_READ_BYTES_MAX {
            self.read_into(dev, off, len, out)?;
            return Ok(check(&out[start..]));
        }
        let error = |e: io::Error| DeviceError { dev, what: "read", off, text: e.to_string() };
        let mut all_there = true;
        let mut done = 0;
        while done < len {
            let n = (len - done).min(PIECE_BYTES);
            out.resize(start + done + n, 0);
            let (piece, at) = (&mut out[start + done..], off + done as u64);
            let got = if all_there { self.read_cached(piece, at) } else { 0 };
            if got < n {
                if std::mem::take(&mut all_there) {
                    // All that is missing at once: reading on by itself, the kernel waits for each piece. A hint only.
                    let (from, rest) = (at + got as u64, (len - done - got) as u64);
                    let rest = NonZeroU64::new(rest);
                    let _ = rustix::fs::fadvise(&*self.data, from, rest, rustix::fs::Advice::WillNeed);
                }
                self.data.read_exact_at(&mut piece[got..], at + got as u64).map_err(error)?;
            }
            if !check(piece) {
                return Ok(false);
            }
            done += n;
        }
        Ok(true)
    }
}

impl FileDevice {
    /// How much of a range's begin the page cache has.
    fn read_cached(&self, buf: &mut [u8], off: u64) -> usize {
        let mut bufs = [IoSliceMut::new(buf)];
        rustix::io::preadv2(&*self.data, &mut bufs, off, rustix::io::ReadWriteFlags::NOWAIT).unwrap_or(0)
    }
    /// A short read: from the page cache when it is there, else with its neighbourhood, as long as that pays.
    fn read_small(&self, off: u64, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.resize(start + len, 0);
        let buf = &mut out[start..];
        let hit = self.read_cached(buf, off) == len;
        if self.ahead.count(hit) && !hit {
            let from = off - off % AHEAD_BYTES;
            // A hint only: the read itself says what is wrong.
            let _ = rustix::fs::fadvise(
                &*self.data,
                from,
                NonZeroU64::new(AHEAD_BYTES),
                rustix::fs::Advice::WillNeed,
            );
        }
        if hit { Ok(()) } else { self.data.read_exact_at(buf, off) }
    }
}

/// Decides whether misses of the page cache read their neighbourhood too: one request of the device then serves many reads
/// of a volume that fits into memory, and is wasted on one that does not.
#[derive(Debug, Default)]
struct Ahead {
    reads: AtomicU32,
    misses: AtomicU32,
    /// Rounds for which it is off.
    off_rounds: AtomicU32,
}
impl Ahead {
    /// Counts a read; true while reading ahead is on.
    fn count(&self, hit: bool) -> bool {
        // The store's thread reads; others do so at its start only. So races do not matter.
        let reads = self.reads.load(Relaxed) + 1;
        let misses = self.misses.load(Relaxed) + u32::from(!hit);
        let off = self.off_rounds.load(Relaxed);
        if reads < AHEAD_ROUND {
            self.reads.store(reads, Relaxed);
            self.misses.store(misses, Relaxed);
        } else {
            self.reads.store(0, Relaxed);
            self.misses.store(0, Relaxed);
            let useless = misses > reads / 4 * 3;
            self.off_rounds.store(if off > 0 { off - 1 } else { u32::from(useless) * AHEAD_PAUSE }, Relaxed);
        }
        off == 0
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
        if self.buf.len() > GATHER_BYTES + ALIGN {
            self.buf = Vec::new();
        }
    }
}

/// Writes of at least this size are worth the way past the page cache.
const DIRECT_BYTES_MIN: usize = 64 << 10;
/// Memory's alignment that every device takes.
const DIRECT_ALIGN: usize = 512;

fn is_big(bufs: &[Bytes]) -> bool {
    bufs.iter().map(Bytes::len).sum::<usize>() >= DIRECT_BYTES_MIN
}

/// Writes runs of aligned buffers as they are, and others through `scratch`.
fn write_direct(file: &File, off: u64, bufs: &[Bytes], scratch: &mut Aligned) -> io::Result<()> {
    let fits = |b: &Bytes| b.as_ptr().align_offset(DIRECT_ALIGN) == 0 && b.len().is_multiple_of(ALIGN);
    if bufs.iter().all(fits) {
        return write_vectored(file, off, bufs);
    }
    let mut at = off;
    let mut rest = bufs;
    while !rest.is_empty() {
        let mut n = 0;
        let mut bytes = 0;
        // Whole buffers, so that each piece begins and ends at a unit's boundary; they are multiples of a unit.
        while n < rest.len() && (n == 0 || bytes + rest[n].len() <= GATHER_BYTES) {
            bytes += rest[n].len();
            n += 1;
        }
        if rest[..n].iter().any(|b| b.len() % ALIGN != 0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.write_all_at(scratch.gather(&rest[..n]), at)?;
        at += bytes as u64;
        rest = &rest[n..];
    }
    Ok(())
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
