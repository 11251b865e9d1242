//! Real devices under the object store: [`DiskStore`] is `store-core` with files or block devices and two threads.
//!
//! The store itself stays on its owner's thread (the OSD's shard). One thread writes the journal, one the checkpoints; each
//! gets whole batches and reports whole batches, so a commit costs one wake-up each way; a short record for a fast journal is
//! written by the owner itself (`pace`). When a batch has ended the wake
//! hook given to [`DiskStore::open`] is called (from the thread that ran it); the owner then calls
//! [`DiskStore::poll_commits`].
//!
//! An OSD's folder has `block` (file, or link to a block device) and `journal` (likewise). Both are locked while mounted.

mod device;
mod lane;
mod pace;
mod store;

pub use device::{FileDevice, sync_dir};
pub use store::{DiskError, DiskOptions, DiskStore, WakeHook};
pub use store_core::StoreConfig;
