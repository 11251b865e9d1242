//! [`Superblock`]: who this OSD is and which maps it has, kept in the store's metadata collection.

use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use objstore::{CollId, ObjectStore, StoreError, Transaction, TxnOp};
use thiserror::Error;
use types::{Epoch, Fsid, HObject, OsdId};

/// The OSD's identity and state. Mirrors `OSDSuperblock` in meaning; the bytes are ours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Superblock {
    /// The cluster.
    pub cluster_fsid: Fsid,
    /// This OSD's own id.
    pub osd_fsid: Fsid,
    /// Its number.
    pub whoami: OsdId,
    /// Oldest map in the store; 0 when there is none.
    pub oldest_map: Epoch,
    /// Newest map in the store.
    pub newest_map: Epoch,
    /// Epoch in which this OSD came up last, as it knows.
    pub mounted: Epoch,
    /// Newest epoch up to which it served before it stopped.
    pub clean_thru: Epoch,
}

impl Encode for Superblock {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.cluster_fsid);
            e.put(&self.osd_fsid);
            e.put(&self.whoami);
            e.put(&self.oldest_map);
            e.put(&self.newest_map);
            e.put(&self.mounted);
            e.put(&self.clean_thru);
        });
    }
}
impl Decode for Superblock {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("loligo osd superblock", 1)?;
        Ok(Superblock {
            cluster_fsid: d.get()?,
            osd_fsid: d.get()?,
            whoami: d.get()?,
            oldest_map: d.get()?,
            newest_map: d.get()?,
            mounted: d.get()?,
            clean_thru: d.get()?,
        })
    }
}

/// Why an OSD could not start from its store.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// No superblock: `--mkfs` was not run.
    #[error("the store has no OSD superblock: was --mkfs run?")]
    NoSuperblock,
    /// The stored bytes are wrong.
    #[error("stored {what} is damaged")]
    Damaged {
        /// What.
        what: String,
        /// How.
        #[source]
        source: DencError,
    },
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// A PG's state cannot be loaded.
    #[error("pg {pgid}: {why}")]
    Pg {
        /// Which.
        pgid: types::SpgId,
        /// Why.
        why: String,
    },
}

fn meta_object(name: &str) -> HObject {
    HObject { name: Bytes::copy_from_slice(name.as_bytes()), pool: types::PoolId(-1), ..HObject::MIN }
}

/// The superblock's object.
pub fn superblock_oid() -> HObject {
    meta_object("osd_superblock")
}
/// A full map's object.
pub fn full_map_oid(epoch: Epoch) -> HObject {
    meta_object(&format!("osdmap.{epoch}"))
}
/// An incremental map's object.
pub fn inc_map_oid(epoch: Epoch) -> HObject {
    meta_object(&format!("inc_osdmap.{epoch}"))
}

impl Superblock {
    /// Reads it.
    pub fn load(store: &dyn ObjectStore) -> Result<Superblock, LoadError> {
        let bytes = match store.getattr(CollId::Meta, &superblock_oid(), b"sb") {
            Ok(Some(b)) => b,
            Ok(None) | Err(StoreError::NoObject(_) | StoreError::NoColl(_)) => {
                return Err(LoadError::NoSuperblock);
            }
            Err(e) => return Err(e.into()),
        };
        denc::from_bytes_exact(&bytes)
            .map_err(|source| LoadError::Damaged { what: "osd_superblock".to_owned(), source })
    }
    /// Adds its writing to `txn`.
    pub fn save(&self, txn: &mut Transaction) {
        let value = denc::to_bytes(self, Features::ALL);
        txn.push(TxnOp::SetAttr {
            coll: CollId::Meta,
            oid: superblock_oid(),
            name: Bytes::from_static(b"sb"),
            value,
        });
    }
    /// What `--mkfs` writes into an empty store.
    pub fn mkfs(cluster_fsid: Fsid, osd_fsid: Fsid, whoami: OsdId) -> Transaction {
        let mut txn = Transaction::new();
        txn.push(TxnOp::CreateColl { coll: CollId::Meta });
        Superblock { cluster_fsid, osd_fsid, whoami, ..Superblock::default() }.save(&mut txn);
        txn
    }
}
