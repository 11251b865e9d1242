//! What the files of this class share: typed omap values, key iteration, feature bits.

use crate::{ClsContext, ClsError};
use bytes::Bytes;
use denc::{Decode, Decoder, Encode, Encoder, Features};
use types::Errno;

/// Feature bits of an image (`rbd/features.h`).
pub mod feature {
    #![allow(missing_docs)]
    pub const LAYERING: u64 = 1 << 0;
    pub const STRIPINGV2: u64 = 1 << 1;
    pub const EXCLUSIVE_LOCK: u64 = 1 << 2;
    pub const OBJECT_MAP: u64 = 1 << 3;
    pub const FAST_DIFF: u64 = 1 << 4;
    pub const DEEP_FLATTEN: u64 = 1 << 5;
    pub const JOURNALING: u64 = 1 << 6;
    pub const DATA_POOL: u64 = 1 << 7;
    pub const OPERATIONS: u64 = 1 << 8;
    pub const MIGRATING: u64 = 1 << 9;
    pub const NON_PRIMARY: u64 = 1 << 10;
    pub const DIRTY_CACHE: u64 = 1 << 11;
    pub const ALL: u64 = 0xfff;
    /// Bits that only the class itself sets.
    pub const INTERNAL: u64 = OPERATIONS | MIGRATING;
    /// Bits that may be turned on and off.
    pub const MUTABLE: u64 = EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF | JOURNALING | NON_PRIMARY | DIRTY_CACHE;
    /// Bits that may only be turned off.
    pub const DISABLE_ONLY: u64 = DEEP_FLATTEN;
    /// Bits that whoever opens an image must know.
    pub const INCOMPATIBLE: u64 = LAYERING | STRIPINGV2 | DATA_POOL | DIRTY_CACHE;
    /// The same for opening it to write.
    pub const RW_INCOMPATIBLE: u64 = INCOMPATIBLE
        | EXCLUSIVE_LOCK
        | OBJECT_MAP
        | FAST_DIFF
        | DEEP_FLATTEN
        | JOURNALING
        | OPERATIONS
        | MIGRATING
        | NON_PRIMARY;
}

/// Bits of `op_features`.
pub mod op_feature {
    #![allow(missing_docs)]
    pub const CLONE_PARENT: u64 = 1 << 0;
    pub const CLONE_CHILD: u64 = 1 << 1;
    pub const GROUP: u64 = 1 << 2;
    pub const SNAP_TRASH: u64 = 1 << 3;
    pub const ALL: u64 = 0xf;
}

/// Pairs read at once when a whole range is wanted.
const PAGE: u64 = 64;
/// Entries that one listing returns at most, whatever the caller asks.
pub const LIST_MAX: u64 = 65_536;

/// `ENOENT` unless the object exists.
pub fn check_exists(ctx: &mut dyn ClsContext) -> Result<(), ClsError> {
    ctx.stat().map(|_| ()).map_err(Into::into)
}

/// One typed value; `ENOENT` when the key is absent, `EIO` when it is damaged.
pub fn read_key<T: Decode>(ctx: &mut dyn ClsContext, key: &str) -> Result<T, ClsError> {
    let bytes = ctx.omap_get_val(key.as_bytes())?;
    denc::from_bytes(&bytes).map_err(|_| Errno::EIO.into())
}

/// The same, with `None` for an absent key.
pub fn read_opt<T: Decode>(ctx: &mut dyn ClsContext, key: &str) -> Result<Option<T>, ClsError> {
    match read_key(ctx, key) {
        Ok(v) => Ok(Some(v)),
        Err(e) if e.errno == Errno::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

/// True when the key is there.
pub fn has_key(ctx: &mut dyn ClsContext, key: &str) -> Result<bool, ClsError> {
    match ctx.omap_get_val(key.as_bytes()) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes one typed value.
pub fn write_key<T: Encode + ?Sized>(ctx: &mut dyn ClsContext, key: &str, value: &T) -> Result<(), ClsError> {
    Ok(ctx.omap_set_val(key.as_bytes(), bytes_of(value))?)
}

/// Removes a key; that the object is absent is no error.
pub fn remove_key(ctx: &mut dyn ClsContext, key: &str) -> Result<(), ClsError> {
    match ctx.omap_rm_key(key.as_bytes()) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Encodes for our own store and for any client.
pub fn bytes_of<T: Encode + ?Sized>(value: &T) -> Bytes {
    denc::to_bytes(value, Features(types::features::SUPPORTED))
}

/// Calls `f` with every pair whose key begins with `prefix` and is greater than `start_after`, ascending, until it
/// answers `false`.
pub fn each_with_prefix(
    ctx: &mut dyn ClsContext,
    prefix: &str,
    start_after: &str,
    mut f: impl FnMut(&mut dyn ClsContext, Bytes, Bytes) -> Result<bool, ClsError>,
) -> Result<(), ClsError> {
    let mut last = Bytes::copy_from_slice(start_after.as_bytes());
    loop {
        let (page, more) = ctx.omap_get_vals(&last, prefix.as_bytes(), PAGE)?;
        let Some((key, _)) = page.last() else { return Ok(()) };
        last = key.clone();
        for (k, v) in page {
            if !f(ctx, k, v)? {
                return Ok(());
            }
        }
        if !more {
            return Ok(());
        }
    }
}

/// A listing's result while it is gathered: `map<string, blob of value>` with the prefix cut off the keys.
pub struct Listing {
    items: Vec<(Bytes, Bytes)>,
}
impl Listing {
    /// Pairs with `prefix` behind `start` (without prefix; empty for all), at most `max`.
    pub fn gather(
        ctx: &mut dyn ClsContext,
        prefix: &str,
        start: &str,
        max: u64,
    ) -> Result<Listing, ClsError> {
        // As in stock, a key that is the prefix alone is behind no start and never listed.
        Self::gather_after(ctx, prefix, &format!("{prefix}{start}"), max)
    }
    /// The same from the first key on, be it the prefix alone.
    pub fn gather_from_first(ctx: &mut dyn ClsContext, prefix: &str, max: u64) -> Result<Listing, ClsError> {
        Self::gather_after(ctx, prefix, "", max)
    }
    fn gather_after(
        ctx: &mut dyn ClsContext,
        prefix: &str,
        after: &str,
        max: u64,
    ) -> Result<Listing, ClsError> {
        let mut items = Vec::new();
        if max > 0 {
            each_with_prefix(ctx, prefix, after, |_, k, v| {
                items.push((k.slice(prefix.len()..), v));
                Ok((items.len() as u64) < max)
            })?;
        }
        Ok(Listing { items })
    }
    /// As a map of typed values; `EIO` when one is damaged.
    pub fn map<T: Decode + Encode>(&self) -> Result<Bytes, ClsError> {
        Ok(bytes_of(&self.typed::<T>()?))
    }
    /// As a map from string to blob.
    pub fn blob_map(&self) -> Bytes {
        let mut e = Encoder::new(Features::ALL);
        e.count(self.items.len());
        for (k, v) in &self.items {
            e.blob(k);
            e.blob(v);
        }
        e.finish()
    }
    /// As a list of the keys.
    pub fn keys(&self) -> Bytes {
        let keys: Vec<Bytes> = self.items.iter().map(|(k, _)| k.clone()).collect();
        bytes_of(&keys)
    }
    /// The pairs.
    pub fn items(&self) -> &[(Bytes, Bytes)] {
        &self.items
    }
    /// The pairs with their values decoded; `EIO` when one is damaged.
    pub fn typed<T: Decode>(&self) -> Result<Vec<(Bytes, T)>, ClsError> {
        let decoded = |(k, v): &(Bytes, Bytes)| Some((k.clone(), denc::from_bytes(v).ok()?));
        self.items.iter().map(decoded).collect::<Option<_>>().ok_or(Errno::EIO.into())
    }
}

/// Input of the paged listings: where to start, and how many (bounded by [`LIST_MAX`]).
pub fn start_and_max(input: &Bytes) -> Result<(String, u64), ClsError> {
    let mut d = Decoder::new(input);
    Ok((d.string()?, d.u64()?.min(LIST_MAX)))
}

/// Ids of images are made of letters and digits.
pub fn is_valid_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The image's feature bits.
pub fn features(ctx: &mut dyn ClsContext) -> Result<u64, ClsError> {
    read_key(ctx, "features")
}

/// `ENOEXEC` unless the image has the feature.
pub fn require_feature(ctx: &mut dyn ClsContext, bit: u64) -> Result<u64, ClsError> {
    let f: u64 = read_opt(ctx, "features")?.unwrap_or(0);
    if f & bit == 0 { Err(Errno::ENOEXEC.into()) } else { Ok(f) }
}

/// Changes `op_features`, and the feature bit that says that there are any.
pub fn set_op_features(ctx: &mut dyn ClsContext, value: u64, mask: u64) -> Result<(), ClsError> {
    let orig_features = features(ctx)?;
    let orig: u64 = read_opt(ctx, "op_features")?.unwrap_or(0);
    let new = (orig & !mask) | (value & mask);
    if new == orig {
        return Ok(());
    }
    let with =
        if new == 0 { orig_features & !feature::OPERATIONS } else { orig_features | feature::OPERATIONS };
    if with != orig_features {
        write_key(ctx, "features", &with)?;
    }
    if new == 0 { remove_key(ctx, "op_features") } else { write_key(ctx, "op_features", &new) }
}
