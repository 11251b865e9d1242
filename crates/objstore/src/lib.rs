//! What a PG asks of the local object store: [`Transaction`] to change it, [`ObjectStore`] to read it and to queue changes.
//!
//! Ring 1: plain data and one trait, so that `pg`, `osd-ops` and `cls` do not know the store, and `store-core` does not
//! know PGs. Mirrors Ceph's `ObjectStore::Transaction` in meaning, not in bytes: the encoding is private (our journal
//! and our OSD-to-OSD messages).

mod read;
mod times;
mod txn;

pub use read::{CommitToken, ObjectStat, ObjectStore, OmapEntry, StoreError, StoreStatfs};
pub use times::{DeviceTimes, Times};
pub use txn::{CollId, Transaction, TxnOp};
