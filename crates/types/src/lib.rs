//! Ceph's nouns as Rust types: ids, addresses, versions, object names, errno, and (module by module) the maps.
//!
//! Ring 1 (bytes): no async, no clock, no randomness, no files. Each type carries its own [`denc`] encoding, and its
//! golden bytes come from stock Ceph (`../shared/corpus`, pinned as fixtures).
//!
//! Deliberately absent: messages (crate `messages`), placement (crate `crush`), anything that decides.

pub mod addr;
pub mod compatset;
pub mod errno;
pub mod features;
pub mod fsmap;
pub mod hash;
pub mod hobject;
pub mod ids;
pub mod interval_set;
pub mod logentry;
pub mod mdsmap;
pub mod mgrmap;
pub mod monmap;
pub mod options;
pub mod osdmap;
pub mod osdstat;
pub mod past_intervals;
pub mod pgdigest;
pub mod pgstat;
pub mod pool;
pub mod raw;
pub mod servicemap;
pub mod superblock;
pub mod time;

pub use addr::{AddrType, AddrVec, EntityAddr};
pub use errno::Errno;
pub use hobject::{HObject, ObjectLocator, SnapContext};
pub use ids::{
    EVersion, EntityName, EntityType, Epoch, Fsid, OsdId, PgId, PoolId, ReqId, ShardId, SnapId, SpgId,
};
pub use interval_set::IntervalSet;
pub use monmap::MonState;
pub use osdmap::{OsdMap, OsdMapIncremental, UpActing};
pub use pool::{PgPool, PoolType};
pub use time::Utime;
