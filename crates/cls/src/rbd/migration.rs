//! Live migration of an image: the spec in its header, and the feature bit (or the v1 header's text) that says so.

use super::util::{bytes_of, feature, read_key, read_opt, remove_key, write_key};
use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use types::Errno;

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();
const SOURCE: u8 = 1;
const DESTINATION: u8 = 2;
/// What a header of format 1 begins with, with its final zero (`rbd_types.h`).
const V1_TEXT: &[u8] = b"<<< Rados Block Device Image >>>\n\0";
const V1_MIGRATING: &[u8] = b"<<< Migrating RBD Image      >>>\n\0";

/// `cls::rbd::MigrationSpec`, version 3.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Spec {
    header_type: u8,
    pool: i64,
    namespace: String,
    image_name: String,
    image_id: String,
    snap_seqs: BTreeMap<u64, u64>,
    overlap: u64,
    flatten: bool,
    mirroring: bool,
    state: u8,
    description: String,
    mirror_mode: u8,
    source_spec: String,
}
impl Encode for Spec {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(3, 1, |e| {
            e.u8(self.header_type);
            e.i64(self.pool);
            e.put(&self.namespace);
            e.put(&self.image_name);
            e.put(&self.image_id);
            e.put(&self.snap_seqs);
            e.u64(self.overlap);
            e.bool(self.flatten);
            e.bool(self.mirroring);
            e.u8(self.state);
            e.put(&self.description);
            e.u8(self.mirror_mode);
            e.put(&self.source_spec);
        });
    }
}
impl Decode for Spec {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("MigrationSpec", 3)?;
        Ok(Spec {
            header_type: d.u8()?,
            pool: d.i64()?,
            namespace: d.string()?,
            image_name: d.string()?,
            image_id: d.string()?,
            snap_seqs: d.get()?,
            overlap: d.u64()?,
            flatten: d.bool()?,
            mirroring: d.bool()?,
            state: d.u8()?,
            description: d.string()?,
            mirror_mode: if v >= 2 { d.u8()? } else { 0 },
            source_spec: if v >= 3 { d.string()? } else { String::new() },
        })
    }
}

/// True when a header of format 1 says that it migrates; `ENXIO` when the object is no such header.
fn v1_migrates(ctx: &mut dyn ClsContext) -> Result<bool, ClsError> {
    let head = ctx.read(0, V1_TEXT.len() as u64)?;
    if head == V1_MIGRATING {
        Ok(true)
    } else if head == V1_TEXT {
        Ok(false)
    } else {
        Err(Errno::ENXIO.into())
    }
}

fn load(ctx: &mut dyn ClsContext) -> Result<Spec, ClsError> {
    let migrates = match read_opt::<u64>(ctx, "features")? {
        Some(bits) => bits & feature::MIGRATING != 0,
        None => v1_migrates(ctx)?,
    };
    if !migrates {
        return Err(Errno::EINVAL.into());
    }
    read_key(ctx, "migration")
}

/// MigrationSpec.
pub fn migration_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let spec: Spec = Decoder::new(input).get()?;
    if super::util::has_key(ctx, "migration")? {
        return Err(Errno::EEXIST.into());
    }
    match read_opt::<u64>(ctx, "features")? {
        None => {
            if v1_migrates(ctx)? {
                return Err(Errno::EEXIST.into());
            }
            if spec.header_type != SOURCE {
                return Err(Errno::EINVAL.into());
            }
            ctx.write(0, Bytes::from_static(V1_MIGRATING))?;
        }
        Some(bits) if bits & feature::MIGRATING == 0 => {
            write_key(ctx, "features", &(bits | feature::MIGRATING))?;
        }
        Some(_) if spec.header_type != DESTINATION => return Err(Errno::EEXIST.into()),
        Some(_) => {}
    }
    write_key(ctx, "migration", &spec)?;
    Ok(DONE)
}

/// u8 state, string description.
pub fn migration_set_state(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (state, description) = (d.u8()?, d.string()?);
    let spec = load(ctx)?;
    write_key(ctx, "migration", &Spec { state, description, ..spec })?;
    Ok(DONE)
}

/// -> MigrationSpec.
pub fn migration_get(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    Ok(bytes_of(&load(ctx)?))
}

/// Nothing in, nothing out.
pub fn migration_remove(ctx: &mut dyn ClsContext, _input: &Bytes) -> Out {
    match read_opt::<u64>(ctx, "features")? {
        None => {
            if !v1_migrates(ctx)? {
                return Err(Errno::EINVAL.into());
            }
            remove_key(ctx, "migration")?;
            ctx.write(0, Bytes::from_static(V1_TEXT))?;
        }
        Some(bits) => {
            remove_key(ctx, "migration")?;
            if bits & feature::MIGRATING != 0 {
                write_key(ctx, "features", &(bits & !feature::MIGRATING))?;
            }
        }
    }
    Ok(DONE)
}
