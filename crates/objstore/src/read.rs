//! The reading half: [`ObjectStore`] answers from what has been applied, synced or not.

use crate::{CollId, DeviceTimes, Transaction};
use bytes::Bytes;
use thiserror::Error;
use types::HObject;

/// Why the store could not answer.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// No such collection.
    #[error("no collection {0:?}")]
    NoColl(CollId),
    /// No such object.
    #[error("no object {0}")]
    NoObject(HObject),
    /// Stored bytes do not match their checksum: the unit is bad and must come from a replica.
    #[error("checksum mismatch in {oid} at {offset}")]
    Corrupt {
        /// The object.
        oid: HObject,
        /// First bad byte's offset in the object.
        offset: u64,
    },
    /// No room for the transaction.
    #[error("no space left in the store")]
    Full,
    /// The device failed. The store stops serving.
    #[error("device error: {0}")]
    Device(String),
}

/// Size of an object as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectStat {
    /// Length in bytes.
    pub size: u64,
}

/// One omap pair.
pub type OmapEntry = (Bytes, Bytes);

/// Reads of the local store. Every answer reflects all transactions queued so far (a PG orders its own reads behind
/// its own uncommitted writes where durability matters). All reads are verified against their checksums.
pub trait ObjectStore {
    /// Length of an object.
    fn stat(&self, coll: CollId, oid: &HObject) -> Result<ObjectStat, StoreError>;
    /// Up to `len` bytes at `off`; short at the end of the object; holes read as zeros.
    fn read(&self, coll: CollId, oid: &HObject, off: u64, len: u64) -> Result<Bytes, StoreError>;
    /// The same, appended to `out` behind what the caller put there. Answers the CRC-32C of what was appended when the store
    /// knows it without computing it: every stored unit's was just compared with the bytes.
    fn read_into(
        &self,
        coll: CollId,
        oid: &HObject,
        off: u64,
        len: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<u32>, StoreError> {
        out.extend_from_slice(&self.read(coll, oid, off, len)?);
        Ok(None)
    }
    /// Allocated ranges (offset, length) inside `off..off+len`, ascending, clipped to the object's size.
    fn extents(&self, coll: CollId, oid: &HObject, off: u64, len: u64)
    -> Result<Vec<(u64, u64)>, StoreError>;
    /// One xattr; `Ok(None)` when the object has no such xattr.
    fn getattr(&self, coll: CollId, oid: &HObject, name: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// All xattrs, ascending by name.
    fn getattrs(&self, coll: CollId, oid: &HObject) -> Result<Vec<(Bytes, Bytes)>, StoreError>;
    /// The omap header (empty when never set).
    fn omap_header(&self, coll: CollId, oid: &HObject) -> Result<Bytes, StoreError>;
    /// One omap value.
    fn omap_get(&self, coll: CollId, oid: &HObject, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Up to `max` pairs with key strictly greater than `after` (`None`: from the first), ascending.
    fn omap_list(
        &self,
        coll: CollId,
        oid: &HObject,
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<OmapEntry>, StoreError>;
    /// Up to `max` objects `>= start` of a collection in [`HObject`] order.
    fn list(&self, coll: CollId, start: &HObject, max: usize) -> Result<Vec<HObject>, StoreError>;
    /// All collections.
    fn collections(&self) -> Vec<CollId>;
    /// Space and usage.
    fn statfs(&self) -> StoreStatfs;
    /// How long its devices' writes have taken; nothing when it has none.
    fn device_times(&self) -> DeviceTimes {
        DeviceTimes::default()
    }
    /// Applies `txn` to what reads see, at once, and starts making it durable; when it is, the owner hears of
    /// `token` (transactions commit in queue order). Never blocks on the device.
    ///
    /// Errors: [`StoreError::Full`] when there is no room (nothing was applied; transactions that only free space are
    /// always admitted), [`StoreError::Device`] when the store has stopped. A transaction that names an absent
    /// collection, or clones an absent object, is a bug of the caller and panics.
    fn queue(&mut self, txn: Transaction, token: CommitToken) -> Result<(), StoreError>;
}

/// The caller's name for a queued transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitToken(pub u64);

/// Space of a store (`store_statfs_t`), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStatfs {
    /// Size of the data device.
    pub total: u64,
    /// Free for new data, the reserve already taken off.
    pub available: u64,
    /// Allocated for object data.
    pub allocated: u64,
    /// Stored by users: sum of object sizes minus holes.
    pub data_stored: u64,
    /// Bytes of omap.
    pub omap_allocated: u64,
    /// Bytes of other metadata.
    pub internal_metadata: u64,
}
