//! Stored types of this class: parent, snapshot, child, trash entry, mirrored image.

use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::{BTreeMap, BTreeSet};
use types::{SnapId, Utime};

/// Where an image's parent is (`cls_rbd_parent`, version 2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    pub pool: i64,
    pub namespace: String,
    pub image_id: String,
    pub snap: SnapId,
    pub head_overlap: Option<u64>,
}
impl Default for Parent {
    fn default() -> Self {
        Parent {
            pool: -1,
            namespace: String::new(),
            image_id: String::new(),
            snap: SnapId::HEAD,
            head_overlap: None,
        }
    }
}
impl Parent {
    /// True when it names an image.
    pub fn exists(&self) -> bool {
        self.pool >= 0 && !self.image_id.is_empty() && self.snap != SnapId::HEAD
    }
    /// The same image and snapshot, whatever the overlap.
    pub fn same_spec(&self, o: &Parent) -> bool {
        self.pool == o.pool
            && self.namespace == o.namespace
            && self.image_id == o.image_id
            && self.snap == o.snap
    }
    /// `cls::rbd::ParentImageSpec`.
    pub fn encode_spec(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.i64(self.pool);
            e.put(&self.namespace);
            e.put(&self.image_id);
            e.put(&self.snap);
        });
    }
    /// `cls::rbd::ParentImageSpec`.
    pub fn decode_spec(d: &mut Decoder<'_>) -> Result<Parent, DencError> {
        let (_, mut d) = d.open("ParentImageSpec", 1)?;
        Ok(Parent {
            pool: d.i64()?,
            namespace: d.string()?,
            image_id: d.string()?,
            snap: d.get()?,
            head_overlap: None,
        })
    }
}
impl Encode for Parent {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 2, |e| {
            e.i64(self.pool);
            e.put(&self.namespace);
            e.put(&self.image_id);
            e.put(&self.snap);
            e.put(&self.head_overlap);
        });
    }
}
impl Decode for Parent {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("cls_rbd_parent", 2)?;
        let pool = d.i64()?;
        let namespace = if v >= 2 { d.string()? } else { String::new() };
        let (image_id, snap) = (d.string()?, d.get()?);
        let head_overlap = if v >= 2 { d.get()? } else { Some(d.u64()?) };
        Ok(Parent { pool, namespace, image_id, snap, head_overlap })
    }
}

/// Kinds of snapshot namespace.
pub mod snap_ns {
    #![allow(missing_docs)]
    pub const USER: u32 = 0;
    pub const GROUP: u32 = 1;
    pub const TRASH: u32 = 2;
    pub const MIRROR: u32 = 3;
    pub const UNKNOWN: u32 = u32::MAX;
}

/// A snapshot's namespace (`cls::rbd::SnapshotNamespace`): the kind, and its fields' bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapNamespace {
    pub kind: u32,
    pub rest: Bytes,
}
impl SnapNamespace {
    /// A trashed snapshot: what it was, and its name.
    pub fn trash(original_kind: u32, original_name: &str) -> SnapNamespace {
        let mut e = Encoder::new(denc::Features::ALL);
        e.put(original_name);
        e.u32(original_kind);
        SnapNamespace { kind: snap_ns::TRASH, rest: e.finish() }
    }
}
impl Encode for SnapNamespace {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u32(self.kind);
            e.raw(&self.rest);
        });
    }
}
impl Decode for SnapNamespace {
    const MIN_SIZE: usize = 10;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("SnapshotNamespace", 1)?;
        let kind = d.u32()?;
        let mut all = d.clone();
        let from = d.position();
        match kind {
            snap_ns::USER => {}
            snap_ns::GROUP => {
                d.i64()?;
                d.string()?;
                d.string()?;
            }
            snap_ns::TRASH => {
                d.string()?;
                d.u32()?;
            }
            snap_ns::MIRROR => {
                MirrorNamespace::decode(&mut d)?;
            }
            _ => return Ok(SnapNamespace { kind: snap_ns::UNKNOWN, rest: Bytes::new() }),
        }
        Ok(SnapNamespace { kind, rest: all.take(d.position() - from)? })
    }
}

/// The fields of a mirror snapshot's namespace (`cls::rbd::MirrorSnapshotNamespace`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MirrorNamespace {
    pub state: u8,
    pub complete: bool,
    pub peers: BTreeSet<String>,
    pub primary_uuid: String,
    pub primary_snap: u64,
    pub last_copied_object: u64,
    pub snap_seqs: BTreeMap<u64, u64>,
}
impl Encode for MirrorNamespace {
    fn encode(&self, e: &mut Encoder) {
        e.u8(self.state);
        e.bool(self.complete);
        e.put(&self.peers);
        e.put(&self.primary_uuid);
        e.u64(self.primary_snap);
        e.u64(self.last_copied_object);
        e.put(&self.snap_seqs);
    }
}
impl Decode for MirrorNamespace {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(MirrorNamespace {
            state: d.u8()?,
            complete: d.bool()?,
            peers: d.get()?,
            primary_uuid: d.string()?,
            primary_snap: d.u64()?,
            last_copied_object: d.u64()?,
            snap_seqs: d.get()?,
        })
    }
}

/// Protection of a snapshot.
pub mod protection {
    #![allow(missing_docs)]
    pub const UNPROTECTED: u8 = 0;
    pub const LAST: u8 = 3;
}

/// A snapshot of an image (`cls_rbd_snap`, version 8).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snap {
    pub id: SnapId,
    pub name: String,
    pub image_size: u64,
    pub protection_status: u8,
    pub flags: u64,
    pub namespace: SnapNamespace,
    pub timestamp: Utime,
    pub child_count: u32,
    pub parent_overlap: Option<u64>,
    /// Before version 8 each snapshot had its parent's whole spec. Read only: [`super::snapshot::store`] moves it.
    pub legacy_parent: Parent,
}
impl Encode for Snap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(8, 8, |e| {
            e.put(&self.id);
            e.put(&self.name);
            e.u64(self.image_size);
            e.u8(self.protection_status);
            e.u64(self.flags);
            e.put(&self.namespace);
            e.put(&self.timestamp);
            e.u32(self.child_count);
            e.put(&self.parent_overlap);
        });
    }
}
impl Decode for Snap {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        // The fields go by who may read it: before nautilus, version 8 had the old ones as well.
        let compat = d.peek_rest().get(1).copied().unwrap_or(0);
        let (v, mut d) = d.open("cls_rbd_snap", 8)?;
        let mut s = Snap { id: d.get()?, name: d.string()?, image_size: d.u64()?, ..Snap::default() };
        if compat < 8 {
            d.u64()?; // the features of that time
        }
        if v >= 2 && compat < 8 {
            s.legacy_parent = d.get()?;
        }
        if v >= 3 {
            s.protection_status = d.u8()?;
        }
        if v >= 4 {
            s.flags = d.u64()?;
        }
        if v >= 5 {
            s.namespace = d.get()?;
        }
        if v >= 6 {
            s.timestamp = d.get()?;
        }
        if v >= 7 {
            s.child_count = d.u32()?;
        }
        if v >= 8 {
            s.parent_overlap = d.get()?;
        }
        Ok(s)
    }
}
impl Snap {
    /// True when it has a parent, in the one form or the other.
    pub fn has_parent(&self) -> bool {
        self.legacy_parent.pool != -1 || self.parent_overlap.is_some()
    }
    /// `cls::rbd::SnapshotInfo`, what clients get.
    pub fn encode_info(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.id);
            e.put(&self.namespace);
            e.put(&self.name);
            e.u64(self.image_size);
            e.put(&self.timestamp);
            e.u32(self.child_count);
        });
    }
}

/// A clone of a snapshot (`cls::rbd::ChildImageSpec`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Child {
    pub pool: i64,
    pub image_id: String,
    pub namespace: String,
}
impl Encode for Child {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.i64(self.pool);
            e.put(&self.image_id);
            e.put(&self.namespace);
        });
    }
}
impl Decode for Child {
    const MIN_SIZE: usize = 18;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("ChildImageSpec", 2)?;
        let (pool, image_id) = (d.i64()?, d.string()?);
        let namespace = if v >= 2 { d.string()? } else { String::new() };
        Ok(Child { pool, image_id, namespace })
    }
}

/// An image in the trash (`cls::rbd::TrashImageSpec`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrashImage {
    pub source: u8,
    pub name: String,
    pub deletion_time: Utime,
    pub deferment_end_time: Utime,
    pub state: u8,
}
impl Encode for TrashImage {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.u8(self.source);
            e.put(&self.name);
            e.put(&self.deletion_time);
            e.put(&self.deferment_end_time);
            e.u8(self.state);
        });
    }
}
impl Decode for TrashImage {
    const MIN_SIZE: usize = 27;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("TrashImageSpec", 2)?;
        let (source, name, deletion_time, deferment_end_time) = (d.u8()?, d.string()?, d.get()?, d.get()?);
        let state = if v >= 2 { d.u8()? } else { 0 };
        Ok(TrashImage { source, name, deletion_time, deferment_end_time, state })
    }
}
