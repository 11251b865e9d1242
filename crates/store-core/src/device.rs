//! The seam to the devices: what the core asks a shell to do ([`IoBatch`]), what it hears back ([`IoDone`]), and how it
//! reads ([`ReadDevice`]).
//!
//! Invariants:
//! - Steps of a batch run in order; a batch of a lane starts after the one before it on the same lane has ended. The two
//!   lanes run side by side: no write of one ever overlaps a write of the other that is in flight.
//! - A read sees every write whose batch was reported done.
//! - After a step has failed the shell reports the failure and runs nothing more; the core stops serving.

use bytes::Bytes;
use thiserror::Error;

/// Bytes of a unit: the grain of allocation, checksums and journal records.
pub const UNIT_BYTES: u64 = 4096;

/// Which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dev {
    /// Objects, index and superblocks.
    Data,
    /// The journal ring.
    Journal,
}

/// A device failed. The text is the operating system's.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{dev:?} device, {what} at {off}: {text}")]
pub struct DeviceError {
    /// The device.
    pub dev: Dev,
    /// What was tried: `read`, `write`, `sync`, `open`.
    pub what: &'static str,
    /// Byte offset (0 for a sync).
    pub off: u64,
    /// The system's own words.
    pub text: String,
}

/// Synchronous reads; real devices answer from the page cache when they can.
pub trait ReadDevice {
    /// Size of a device in bytes.
    fn size(&self, dev: Dev) -> u64;
    /// Exactly `len` bytes at `off`.
    fn read_at(&self, dev: Dev, off: u64, len: usize) -> Result<Bytes, DeviceError>;
    /// The same, appended to `out`.
    fn read_into(&self, dev: Dev, off: u64, len: usize, out: &mut Vec<u8>) -> Result<(), DeviceError> {
        out.extend_from_slice(&self.read_at(dev, off, len)?);
        Ok(())
    }
    /// The same, and `check` is given all of it in order, in pieces of whole units: each piece while it still is in the
    /// processor's cache. False, and the rest not read, when `check` said so.
    fn read_checked(
        &self,
        dev: Dev,
        off: u64,
        len: usize,
        out: &mut Vec<u8>,
        check: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool, DeviceError> {
        let start = out.len();
        self.read_into(dev, off, len, out)?;
        Ok(check(&out[start..]))
    }
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoStep {
    /// Writes `bufs` back to back at `off`; offset and total length are multiples of [`UNIT_BYTES`].
    Write {
        /// The device.
        dev: Dev,
        /// Byte offset.
        off: u64,
        /// Buffers, written one behind the other.
        bufs: Vec<Bytes>,
        /// It is likely to be read again soon: worth room in a cache.
        read_soon: bool,
    },
    /// Makes all earlier writes to the device durable.
    Sync {
        /// The device.
        dev: Dev,
    },
}

/// Who waits for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Clients wait: the journal.
    Commit,
    /// Nobody waits: a checkpoint.
    Background,
}

/// Work for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoBatch {
    /// Name of the batch, to be repeated in [`IoDone`].
    pub id: u64,
    /// The lane it belongs to.
    pub lane: Lane,
    /// What to do, in order.
    pub steps: Vec<IoStep>,
}

impl IoBatch {
    /// Bytes that the batch writes.
    pub fn bytes(&self) -> u64 {
        let len = |s: &IoStep| match s {
            IoStep::Write { bufs, .. } => bufs.iter().map(|b| b.len() as u64).sum(),
            IoStep::Sync { .. } => 0,
        };
        self.steps.iter().map(len).sum()
    }
}

/// The shell's answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoDone {
    /// The batch's name.
    pub id: u64,
    /// How it went.
    pub result: Result<(), DeviceError>,
}
