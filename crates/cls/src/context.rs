//! What a class method may ask of the object it runs on: [`ClsContext`] (`objclass.h` of Ceph, as a trait).
//!
//! A method runs inside one compound op: it sees what earlier ops of the same message wrote, and what it writes is seen
//! by the ops behind it and becomes durable with all of them or not at all.

use bytes::Bytes;
use std::collections::BTreeMap;
use types::{EntityAddr, EntityName, Errno, ReqId, SnapContext, SnapId, Utime};

/// Omap pairs with the "there is more" flag.
pub type OmapPage = (Vec<(Bytes, Bytes)>, bool);

/// The object a method runs on, and the request that called it.
///
/// As in stock, only some reads of an absent object answer `ENOENT` (`stat`, `getxattr`, `getxattrs`, `extents`,
/// `omap_get_val`): data and omap listings are just empty. Writes create the object, removals of omap keys and xattrs
/// want it there (`ENOENT`). A method that reads or writes without being declared so gets `EIO` from each such call.
pub trait ClsContext {
    /// Size and modification time; `ENOENT` when the object does not exist.
    fn stat(&mut self) -> Result<(u64, Utime), Errno>;
    /// Up to `len` bytes at `off`, short at the end of the object; `len` 0 reads to the end.
    fn read(&mut self, off: u64, len: u64) -> Result<Bytes, Errno>;
    /// Allocated ranges (offset, length) of the object inside `off..off+len`, ascending.
    fn extents(&mut self, off: u64, len: u64) -> Result<Vec<(u64, u64)>, Errno>;

    /// Creates the object; with `exclusive`, `EEXIST` when it is there.
    fn create(&mut self, exclusive: bool) -> Result<(), Errno>;
    /// Writes bytes at an offset.
    fn write(&mut self, off: u64, data: Bytes) -> Result<(), Errno>;
    /// Replaces the object's data.
    fn write_full(&mut self, data: Bytes) -> Result<(), Errno>;
    /// Sets the size.
    fn truncate(&mut self, size: u64) -> Result<(), Errno>;
    /// Makes a range read as zeros.
    fn zero(&mut self, off: u64, len: u64) -> Result<(), Errno>;
    /// Removes the object; `ENOENT` when it is absent.
    fn remove(&mut self) -> Result<(), Errno>;

    /// One xattr; `ENODATA` when the object has none of that name, `ENOENT` when there is no object.
    fn getxattr(&mut self, name: &str) -> Result<Bytes, Errno>;
    /// All user xattrs.
    fn getxattrs(&mut self) -> Result<BTreeMap<Bytes, Bytes>, Errno>;
    /// Sets an xattr.
    fn setxattr(&mut self, name: &str, value: Bytes) -> Result<(), Errno>;
    /// Removes an xattr; that it is not there is no error, that the object is not is `ENOENT`.
    fn rmxattr(&mut self, name: &str) -> Result<(), Errno>;

    /// The omap header (empty when never set).
    fn omap_get_header(&mut self) -> Result<Bytes, Errno>;
    /// Sets the omap header.
    fn omap_set_header(&mut self, header: Bytes) -> Result<(), Errno>;
    /// One omap value; `ENOENT` when the key (or the object) is absent.
    fn omap_get_val(&mut self, key: &[u8]) -> Result<Bytes, Errno>;
    /// Up to `max` pairs with key > `start_after` that begin with `prefix`, ascending, and whether there are more.
    /// An empty `start_after` starts at the first key.
    fn omap_get_vals(&mut self, start_after: &[u8], prefix: &[u8], max: u64) -> Result<OmapPage, Errno>;
    /// Up to `max` keys > `start_after`, ascending, and whether there are more.
    fn omap_get_keys(&mut self, start_after: &[u8], max: u64) -> Result<(Vec<Bytes>, bool), Errno>;
    /// The pairs of those `keys` that exist.
    fn omap_get_vals_by_keys(&mut self, keys: &[Bytes]) -> Result<Vec<(Bytes, Bytes)>, Errno>;
    /// Sets pairs.
    fn omap_set(&mut self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Errno>;
    /// Removes keys; absent keys are ignored, an absent object is `ENOENT`.
    fn omap_rm_keys(&mut self, keys: Vec<Bytes>) -> Result<(), Errno>;
    /// Removes keys in `first..last`.
    fn omap_rm_range(&mut self, first: Bytes, last: Bytes) -> Result<(), Errno>;
    /// Removes all pairs and the header.
    fn omap_clear(&mut self) -> Result<(), Errno>;

    /// Sets one omap value: what most methods do.
    fn omap_set_val(&mut self, key: &[u8], value: Bytes) -> Result<(), Errno> {
        self.omap_set(vec![(Bytes::copy_from_slice(key), value)])
    }
    /// Removes one omap key.
    fn omap_rm_key(&mut self, key: &[u8]) -> Result<(), Errno> {
        self.omap_rm_keys(vec![Bytes::copy_from_slice(key)])
    }

    /// The server's time.
    fn now(&self) -> Utime;
    /// Who called: entity (type and global id) and address.
    fn origin(&self) -> (EntityName, EntityAddr);
    /// The request's id.
    fn reqid(&self) -> ReqId;
    /// The version that the object has now (`user_version`).
    fn object_version(&self) -> u64;
    /// Name of the object.
    fn object_name(&self) -> Bytes;
    /// The snapshot context that came with the message (`cls_get_client_features` neighbour; for `assert_snapc_seq` the
    /// object's own is [`ClsContext::snapset_seq`]).
    fn snap_context(&self) -> SnapContext;
    /// `seq` of the object's snap set; `ENOENT`-free: 0 for an object without one (`cls_get_snapset_seq`).
    fn snapset_seq(&mut self) -> Result<u64, Errno>;
    /// Clones of the object, ascending by id.
    fn clone_ids(&mut self) -> Result<Vec<SnapId>, Errno>;
    /// Who watches the object (`cls_cxx_list_watchers`). A context that does not know says nobody.
    fn watchers(&mut self) -> Result<Vec<(EntityName, EntityAddr)>, Errno> {
        Ok(Vec::new())
    }
    /// Feature bits of the caller's connection.
    fn client_features(&self) -> u64;
    /// `require_min_compat_client` of the OSDMap, as a release number (`CEPH_RELEASE_*`; 0 unknown).
    fn min_compat_client(&self) -> u8;
    /// `require_osd_release` of the OSDMap, as a release number (16 for pacific).
    fn require_osd_release(&self) -> u8;
    /// Fills `buf` with random bytes.
    fn random_bytes(&mut self, buf: &mut [u8]);
}
