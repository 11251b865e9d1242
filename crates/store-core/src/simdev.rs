//! [`SimDevice`]: devices in memory that know what was synced, for tests and the cluster simulation.
//!
//! Writes are seen by reads at once and survive a crash only when a sync of their device came after them. On
//! [`SimDevice::crash`] each unsynced 512-byte sector independently keeps its old or its new bytes (a sector written
//! several times since the sync may keep any of them), as the dice say: this covers lost, torn and reordered writes.

use crate::device::{Dev, DeviceError, IoBatch, IoDone, IoStep, ReadDevice};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a crash keeps or loses as a whole.
pub const SECTOR_BYTES: usize = 512;

/// A small generator (splitmix64): everything random of a run comes from one seed.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);
impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }
    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

type Sector = [u8; SECTOR_BYTES];

#[derive(Debug, Clone)]
struct Disk {
    size: u64,
    durable: BTreeMap<u64, Box<Sector>>,
    /// Since the last sync: all contents that a sector was given, oldest first.
    dirty: BTreeMap<u64, Vec<Sector>>,
}
impl Disk {
    fn sector(&self, n: u64) -> Option<&Sector> {
        self.dirty.get(&n).and_then(|v| v.last()).or_else(|| self.durable.get(&n).map(|b| &**b))
    }
    fn write(&mut self, off: u64, data: &[u8]) {
        for (i, chunk) in data.chunks(SECTOR_BYTES).enumerate() {
            let n = off / SECTOR_BYTES as u64 + i as u64;
            let mut s = [0; SECTOR_BYTES];
            s[..chunk.len()].copy_from_slice(chunk);
            self.dirty.entry(n).or_default().push(s);
        }
    }
    fn sync(&mut self) {
        for (n, mut all) in std::mem::take(&mut self.dirty) {
            self.durable.insert(n, Box::new(all.pop().expect("a dirty sector has contents")));
        }
    }
}

#[derive(Debug, Clone)]
struct Inner {
    data: Disk,
    journal: Disk,
    /// Steps that were done, over both devices.
    steps: u64,
    /// The step at which every write and sync fails, and from then on.
    fail_at: Option<u64>,
    /// Byte ranges of the data device that cannot be read.
    bad: Vec<(u64, u64)>,
}
impl Inner {
    fn disk(&mut self, dev: Dev) -> &mut Disk {
        match dev {
            Dev::Data => &mut self.data,
            Dev::Journal => &mut self.journal,
        }
    }
}

/// A data device and a journal in memory. Clones are handles of the same devices.
#[derive(Debug, Clone)]
pub struct SimDevice {
    inner: Rc<RefCell<Inner>>,
}

impl SimDevice {
    /// Empty devices of these sizes.
    pub fn new(data_bytes: u64, journal_bytes: u64) -> Self {
        let disk = |size| Disk { size, durable: BTreeMap::new(), dirty: BTreeMap::new() };
        let inner = Inner {
            data: disk(data_bytes),
            journal: disk(journal_bytes),
            steps: 0,
            fail_at: None,
            bad: vec![],
        };
        SimDevice { inner: Rc::new(RefCell::new(inner)) }
    }
    /// Runs one step of a batch.
    pub fn step(&self, step: &IoStep) -> Result<(), DeviceError> {
        let mut inner = self.inner.borrow_mut();
        let at = inner.steps;
        inner.steps += 1;
        let (dev, what, off) = match step {
            IoStep::Write { dev, off, .. } => (*dev, "write", *off),
            IoStep::Sync { dev } => (*dev, "sync", 0),
        };
        if inner.fail_at.is_some_and(|f| at >= f) {
            return Err(DeviceError { dev, what, off, text: "injected".into() });
        }
        let disk = inner.disk(dev);
        match step {
            IoStep::Write { off, bufs, .. } => {
                let mut at = *off;
                let mut all = Vec::new();
                for b in bufs {
                    all.extend_from_slice(b);
                }
                assert!(at % 4096 == 0 && all.len() % 4096 == 0, "unaligned write");
                assert!(
                    at + all.len() as u64 <= disk.size,
                    "write of {} bytes at {at} behind the end of {dev:?}",
                    all.len()
                );
                disk.write(at, &all);
                at += all.len() as u64;
                debug_assert!(at <= disk.size);
            }
            IoStep::Sync { .. } => disk.sync(),
        }
        Ok(())
    }
    /// Runs a whole batch.
    pub fn run(&self, batch: &IoBatch) -> IoDone {
        let result = batch.steps.iter().try_for_each(|s| self.step(s));
        IoDone { id: batch.id, result }
    }
    /// Steps done so far.
    pub fn steps(&self) -> u64 {
        self.inner.borrow().steps
    }
    /// Every step from number `at` on fails (`None`: none).
    pub fn fail_at(&self, at: Option<u64>) {
        self.inner.borrow_mut().fail_at = at;
    }
    /// Reads of this range of the data device fail from now on.
    pub fn make_unreadable(&self, off: u64, len: u64) {
        self.inner.borrow_mut().bad.push((off, len));
    }
    /// Flips one bit of what is stored.
    pub fn flip_bit(&self, dev: Dev, off: u64) {
        let mut inner = self.inner.borrow_mut();
        let disk = inner.disk(dev);
        let n = off / SECTOR_BYTES as u64;
        let mut s = Box::new(*disk.sector(n).unwrap_or(&[0; SECTOR_BYTES]));
        s[(off % SECTOR_BYTES as u64) as usize] ^= 1;
        disk.dirty.remove(&n);
        disk.durable.insert(n, s);
    }
    /// The devices as a power loss leaves them: separate from these, all unsynced sectors decided by the dice.
    pub fn crashed(&self, dice: &mut Dice) -> SimDevice {
        let mut inner = self.inner.borrow().clone();
        inner.fail_at = None;
        // Now and then all or nothing, else sector by sector.
        let mode = dice.below(4);
        for disk in [&mut inner.data, &mut inner.journal] {
            for (n, all) in std::mem::take(&mut disk.dirty) {
                let pick = match mode {
                    0 => None,
                    1 => all.len().checked_sub(1),
                    _ => (dice.below(all.len() as u64 + 1) as usize).checked_sub(1),
                };
                if let Some(i) = pick {
                    disk.durable.insert(n, Box::new(all[i]));
                }
            }
        }
        SimDevice { inner: Rc::new(RefCell::new(inner)) }
    }
    /// [`SimDevice::crashed`] in place.
    pub fn crash(&self, dice: &mut Dice) {
        let after = self.crashed(dice);
        let inner = after.inner.borrow().clone();
        *self.inner.borrow_mut() = inner;
    }
}

impl ReadDevice for SimDevice {
    fn size(&self, dev: Dev) -> u64 {
        self.inner.borrow_mut().disk(dev).size
    }
    fn read_at(&self, dev: Dev, off: u64, len: usize) -> Result<Bytes, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        let end = off.saturating_add(len as u64);
        let bad = dev == Dev::Data && inner.bad.iter().any(|(o, l)| off < o + l && *o < end);
        let disk = inner.disk(dev);
        if bad || end > disk.size {
            return Err(DeviceError { dev, what: "read", off, text: "injected or behind the end".into() });
        }
        let mut out = Vec::with_capacity(len);
        let mut at = off;
        while at < end {
            let skip = (at % SECTOR_BYTES as u64) as usize;
            let n = (SECTOR_BYTES - skip).min((end - at) as usize);
            match disk.sector(at / SECTOR_BYTES as u64) {
                Some(s) => out.extend_from_slice(&s[skip..skip + n]),
                None => out.resize(out.len() + n, 0),
            }
            at += n as u64;
        }
        Ok(out.into())
    }
}
