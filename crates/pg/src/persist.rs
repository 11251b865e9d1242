//! How a PG rests in the store: the omap of its meta object holds info, past intervals, log, dups and missing set.
//!
//! Invariant: what the keys say is always what memory says, as of the same transaction. Keys: `_info`, `_past`,
//! `d<version><reqid>` (dup), `l<version>` (log entry), `m<object>` (missing item); versions big-endian so that they sort.

use crate::info::{PastInterval, PgInfo, record};
use crate::log::{LogDup, LogEntry, PgLog};
use crate::map::Placement;
use crate::missing::{Missing, MissingItem};
use crate::pg::{Pg, PgError};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features, from_bytes_exact, to_bytes};
use objstore::{CollId, ObjectStore, StoreError, Transaction, TxnOp};
use types::{EVersion, Epoch, HObject, OsdId, PoolId, SnapId, SpgId};

const INFO_KEY: &[u8] = b"_info";
const PAST_KEY: &[u8] = b"_past";
/// Room for a usual `_info`.
const INFO_BYTES: usize = 512;

record! {
    /// The `_info` value.
    StoredInfo, "stored pg info" {
        /// Map epoch that the PG had taken in.
        epoch: Epoch,
        /// Info.
        info: PgInfo,
        /// Placement in that map, for telling new intervals after a restart.
        up: Vec<OsdId>,
        /// Acting set.
        acting: Vec<OsdId>,
        /// Up primary or -1.
        up_primary: OsdId,
        /// Acting primary or -1.
        acting_primary: OsdId,
    }
}
impl StoredInfo {
    pub(crate) fn placement(&self) -> Placement {
        let some = |o: OsdId| (o.0 >= 0).then_some(o);
        Placement {
            up: self.up.clone(),
            up_primary: some(self.up_primary),
            acting: self.acting.clone(),
            acting_primary: some(self.acting_primary),
        }
    }
}

/// The object whose omap holds a PG's metadata: nameless, in the PG's collection.
pub fn meta_object(pgid: SpgId) -> HObject {
    HObject { hash: pgid.pg.seed, pool: pgid.pg.pool, snap: SnapId::HEAD, ..HObject::MIN }
}
/// Where big recovered objects are put together; never listed, removed at start.
pub(crate) fn temp_object(pgid: SpgId, oid: &HObject) -> HObject {
    let mut name = b"recovering:".to_vec();
    name.extend_from_slice(&to_bytes(oid, Features::ALL));
    HObject {
        name: name.into(),
        hash: pgid.pg.seed,
        pool: PoolId(-2 - pgid.pg.pool.0),
        snap: SnapId::HEAD,
        ..HObject::MIN
    }
}
/// Pieces of objects in a store.
pub(crate) fn temp_objects(store: &dyn ObjectStore, pgid: SpgId) -> Result<Vec<HObject>, StoreError> {
    let pool = PoolId(-2 - pgid.pg.pool.0);
    let from = HObject { pool, ..HObject::MIN };
    let mut out: Vec<HObject> = Vec::new();
    loop {
        let page = store.list(CollId::Pg(pgid), out.last().unwrap_or(&from), 64)?;
        let before = out.len();
        for o in page {
            if o.pool == pool && out.last() != Some(&o) {
                out.push(o);
            }
        }
        if out.len() == before {
            return Ok(out);
        }
    }
}
/// True for what clients put into the PG.
pub(crate) fn is_user_object(pgid: SpgId, oid: &HObject) -> bool {
    oid.pool == pgid.pg.pool && !oid.name.is_empty()
}

/// PGs that have a collection.
pub fn stored_pgs(store: &dyn ObjectStore) -> Vec<SpgId> {
    store
        .collections()
        .into_iter()
        .filter_map(|c| match c {
            CollId::Pg(pg) => Some(pg),
            CollId::Meta => None,
        })
        .collect()
}
/// Map epoch that a stored PG had taken in: [`Pg::load`] wants that map, and then all newer ones in order.
pub fn stored_epoch(store: &dyn ObjectStore, pgid: SpgId) -> Result<Epoch, PgError> {
    Ok(load_info(store, pgid)?.epoch)
}
pub(crate) fn load_info(store: &dyn ObjectStore, pgid: SpgId) -> Result<StoredInfo, PgError> {
    let b = store.omap_get(CollId::Pg(pgid), &meta_object(pgid), INFO_KEY)?.ok_or(PgError::NoInfo(pgid))?;
    Ok(from_bytes_exact(&b)?)
}

fn versioned_key(tag: u8, v: EVersion) -> Vec<u8> {
    let mut k = Vec::with_capacity(13);
    k.push(tag);
    k.extend_from_slice(&v.epoch.0.to_be_bytes());
    k.extend_from_slice(&v.version.to_be_bytes());
    k
}
fn log_key(v: EVersion) -> Bytes {
    versioned_key(b'l', v).into()
}
fn dup_key(d: &LogDup) -> Bytes {
    let mut k = versioned_key(b'd', d.version);
    k.extend_from_slice(&to_bytes(&d.reqid, Features::ALL));
    k.into()
}
fn missing_key(oid: &HObject) -> Bytes {
    let mut k = vec![b'm'];
    k.extend_from_slice(&to_bytes(oid, Features::ALL));
    k.into()
}
fn value<T: Encode>(v: &T) -> Bytes {
    to_bytes(v, Features::ALL)
}

/// Everything but the info, read back.
pub(crate) struct Loaded {
    pub past: Vec<PastInterval>,
    pub log: PgLog,
    pub missing: Missing,
}
pub(crate) fn load_rest(store: &dyn ObjectStore, pgid: SpgId, tail: EVersion) -> Result<Loaded, PgError> {
    let (coll, oid) = (CollId::Pg(pgid), meta_object(pgid));
    let mut out = Loaded { past: Vec::new(), log: PgLog::default(), missing: Missing::default() };
    let (mut entries, mut dups): (Vec<LogEntry>, Vec<LogDup>) = (Vec::new(), Vec::new());
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.omap_list(coll, &oid, after.as_deref(), 512)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (k, v) in page {
            match k.first() {
                Some(b'l') => {
                    let e: LogEntry = from_bytes_exact(&v)?;
                    let newest = entries.last().map_or(tail, |l| l.version);
                    if e.version <= newest {
                        return Err(PgError::BadMeta(pgid));
                    }
                    entries.push(e);
                }
                Some(b'd') => dups.push(from_bytes_exact(&v)?),
                Some(b'm') => {
                    let item: MissingItem = from_bytes_exact(&v)?;
                    let name = k.slice(1..);
                    let mut d = Decoder::new(&name);
                    out.missing.set(d.get::<HObject>()?, item);
                    d.expect_end("missing key")?;
                }
                _ if k == PAST_KEY => out.past = from_bytes_exact(&v)?,
                _ if k == INFO_KEY => {}
                _ => return Err(PgError::BadMeta(pgid)),
            }
        }
    }
    out.log = PgLog::from_parts(tail, entries, dups);
    Ok(out)
}

/// Changes of the meta object to go into one transaction.
#[derive(Default)]
pub(crate) struct MetaDelta {
    set: Vec<(Bytes, Bytes)>,
    rm: Vec<Bytes>,
}
impl MetaDelta {
    pub fn add_entries<'a>(&mut self, entries: impl IntoIterator<Item = &'a LogEntry>) {
        self.set.extend(entries.into_iter().map(|e| (log_key(e.version), value(e))));
    }
    /// A trim: entries go, their dups come, the oldest dups go.
    pub fn trimmed(&mut self, gone: &[LogEntry], gone_dups: &[LogDup]) {
        for e in gone {
            self.rm.push(log_key(e.version));
            self.set.extend(crate::log::dups_of(e).iter().map(|d| (dup_key(d), value(d))));
        }
        // A dup may come and go in one trim.
        for d in gone_dups {
            let key = dup_key(d);
            self.set.retain(|(k, _)| *k != key);
            self.rm.push(key);
        }
    }
    /// The difference between two logs, by version: what activation or a merge did.
    pub fn log_diff(&mut self, old: &PgLog, new: &PgLog) {
        self.rm.extend(old.entries().filter(|e| new.get(e.version).is_none()).map(|e| log_key(e.version)));
        self.add_entries(new.entries().filter(|e| old.get(e.version).is_none()));
        let old_keys: std::collections::BTreeSet<Bytes> = old.dups().map(dup_key).collect();
        let mut kept = std::collections::BTreeSet::new();
        for d in new.dups() {
            let k = dup_key(d);
            if !old_keys.contains(&k) {
                self.set.push((k.clone(), value(d)));
            }
            kept.insert(k);
        }
        self.rm.extend(old_keys.into_iter().filter(|k| !kept.contains(k)));
    }
    pub fn missing_diff(&mut self, old: &Missing, new: &Missing) {
        for (oid, _) in old.iter() {
            if !new.contains(oid) {
                self.rm.push(missing_key(oid));
            }
        }
        for (oid, item) in new.iter() {
            if old.get(oid) != Some(item) {
                self.set.push((missing_key(oid), value(item)));
            }
        }
    }
    pub fn missing_gone(&mut self, oid: &HObject) {
        self.rm.push(missing_key(oid));
    }
    pub fn missing_set(&mut self, oid: &HObject, item: &MissingItem) {
        self.set.push((missing_key(oid), value(item)));
    }
    pub fn past(&mut self, past: &Vec<PastInterval>) {
        self.set.push((Bytes::from_static(PAST_KEY), value(past)));
    }
    /// The `_info` of a PG: what [`StoredInfo`] reads, written from where it is.
    pub fn info(&mut self, pg: &Pg) {
        let none = OsdId(-1);
        let mut e = Encoder::with_capacity(Features::ALL, INFO_BYTES);
        e.versioned(1, 1, |e| {
            e.put(&pg.map.epoch());
            e.put(&pg.info);
            e.put(&pg.placement.up);
            e.put(&pg.placement.acting);
            e.put(&pg.placement.up_primary.unwrap_or(none));
            e.put(&pg.placement.acting_primary.unwrap_or(none));
        });
        self.set.push((Bytes::from_static(INFO_KEY), e.finish()));
    }
    pub fn into_txn(self, pgid: SpgId, txn: &mut Transaction) {
        let (coll, oid) = (CollId::Pg(pgid), meta_object(pgid));
        if !self.rm.is_empty() {
            txn.push(TxnOp::OmapRm { coll, oid: oid.clone(), keys: self.rm });
        }
        if !self.set.is_empty() {
            txn.push(TxnOp::OmapSet { coll, oid, pairs: self.set });
        }
    }
}

impl From<StoreError> for PgError {
    fn from(e: StoreError) -> Self {
        PgError::Store(e)
    }
}
impl From<DencError> for PgError {
    fn from(e: DencError) -> Self {
        PgError::Denc(e)
    }
}
