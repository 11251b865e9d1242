//! Ops on a PG instead of an object: listing (`PrimaryLogPG::do_pg_op`).

use crate::api::{Limits, OpResult};
use bytes::Bytes;
use denc::{Decoder, Encode, Encoder, Features};
use messages::{OpCode, OsdOp};
use objstore::{CollId, ObjectStore};
use types::{Errno, HObject, SnapId};

/// A namespace of this value stands for all of them (`librados::all_nspaces`).
pub const ALL_NAMESPACES: &[u8] = b"\x01";
/// Namespace of the objects that Ceph hides from listings (`osd_hit_set_namespace`).
const HIDDEN_NAMESPACE: &[u8] = b".ceph-internal";
/// Objects that one call looks at per listed entry, so that a PG full of clones does not hold the OSD up.
const LOOK_FACTOR: usize = 4;

/// What PG-level ops need.
pub struct PgOpEnv<'a> {
    /// Local store.
    pub store: &'a dyn ObjectStore,
    /// The PG's collection.
    pub coll: CollId,
    /// First object of the PG ([`HObject`] with the pool and the smallest hash); where a listing starts.
    pub pg_begin: HObject,
    /// First object behind the PG: the cursor that a finished listing returns.
    pub pg_end: HObject,
    /// Namespace of the message's locator; the one byte 0x01 means all.
    pub nspace: Bytes,
    /// Limits.
    pub limits: &'a Limits,
    /// First object `>=` the given one that the log knows but the store lacks (recovery), or `None`.
    pub missing_from: &'a dyn Fn(&HObject) -> Option<HObject>,
    /// Objects in the store that are to be deleted by recovery: not listed.
    pub deleted: &'a dyn Fn(&HObject) -> bool,
    /// What the last scrub of this PG found: its interval and the encoded entries; `None` before the first.
    pub scrub: Option<(u32, &'a [Bytes])>,
}

/// Bounds of a PG in object order (`pg_t::get_hobj_start`, `get_hobj_end`): for [`PgOpEnv`], backfill and scrub.
///
/// `pg_num` need not be a power of two: then some PGs own half as many hash bits, as `pg_t::get_split_bits` has it.
pub fn pg_bounds(pg: types::PgId, pg_num: u32) -> (HObject, HObject) {
    let at = |reversed: u64| match u32::try_from(reversed) {
        Ok(r) => HObject { pool: pg.pool, hash: r.reverse_bits(), ..HObject::MIN },
        Err(_) => HObject::MAX,
    };
    let bits = split_bits(pg.seed, pg_num);
    // The PG owns all hashes whose lowest `bits` bits are its seed, so, reversed, one range.
    let start = u64::from(pg.seed.reverse_bits());
    let span = 1u64 << (32 - bits);
    (at(start), at(start + span))
}

/// Hash bits that a PG's seed fixes (`pg_t::get_split_bits`).
pub fn split_bits(seed: u32, pg_num: u32) -> u32 {
    if pg_num <= 1 {
        return 0;
    }
    let p = 32 - (pg_num - 1).leading_zeros();
    let half = 1u64 << (p - 1);
    let split = u64::from(seed) % half < u64::from(pg_num) % half;
    if pg_num.is_power_of_two() || split { p } else { p - 1 }
}

/// Runs the PG-level ops of a message. Returns the message's result (1 at the end of a listing) and the ops' outputs.
pub fn execute_pg_ops(env: &PgOpEnv<'_>, ops: &[OsdOp]) -> (i32, Vec<OpResult>) {
    let mut results = vec![OpResult::default(); ops.len()];
    let mut result = 0;
    for (op, r) in ops.iter().zip(&mut results) {
        let answer = match op.code {
            OpCode::PGNLS => pgnls(env, op),
            OpCode::SCRUBLS => scrubls(env, op),
            _ => Err(Errno::EOPNOTSUPP),
        };
        match answer {
            Ok((rval, out)) => {
                *r = OpResult { rval, out };
                result = rval;
            }
            Err(e) => {
                r.rval = e.negated();
                return (e.negated(), results);
            }
        }
    }
    (result, results)
}

fn pgnls(env: &PgOpEnv<'_>, op: &OsdOp) -> Result<(i32, Bytes), Errno> {
    let max = op.pgls().0.min(env.limits.pgls_max) as usize;
    let handle: HObject = Decoder::new(&op.data).get().map_err(|_| Errno::EINVAL)?;
    if (!handle.is_min() && handle < env.pg_begin) || handle > env.pg_end {
        return Err(Errno::EINVAL);
    }
    let mut at = if handle.is_min() { env.pg_begin.clone() } else { handle };
    let mut entries: Vec<HObject> = Vec::new();
    let mut budget = max.saturating_mul(LOOK_FACTOR).max(256);
    let listed = |o: &HObject| {
        o.snap == SnapId::HEAD
            // The PG's own object has no name; clients' objects always have one.
            && !o.name.is_empty()
            && o.nspace != HIDDEN_NAMESPACE
            && (env.nspace == ALL_NAMESPACES || o.nspace == env.nspace)
            && !(env.deleted)(o)
    };
    // `None`: the end of the PG was reached.
    let next = 'outer: loop {
        let batch = (max - entries.len()).clamp(1, 512) + 1;
        let got = env.store.list(env.coll, &at, batch).map_err(|e| crate::context::store_errno(&e))?;
        let more = got.len() == batch;
        let stop = if more { got.last().cloned() } else { None };
        let mut found = got.into_iter().filter(|o| *o < env.pg_end).peekable();
        let mut missing = (env.missing_from)(&at).filter(|o| *o < env.pg_end);
        loop {
            if let (Some(s), Some(o)) = (&stop, found.peek())
                && o == s
            {
                found.next();
                continue;
            }
            let o = match (found.peek(), &missing) {
                (Some(f), Some(m)) if f > m => missing.take(),
                (Some(_), _) => found.next(),
                (None, Some(_)) => missing.take(),
                (None, None) => None,
            };
            let Some(o) = o else { break };
            if stop.as_ref().is_some_and(|s| o >= *s) {
                break;
            }
            if missing.is_none() || missing.as_ref() == Some(&o) {
                missing = (env.missing_from)(&successor(&o)).filter(|m| *m < env.pg_end);
            }
            if entries.len() >= max {
                break 'outer Some(o);
            }
            if listed(&o) {
                entries.push(o);
            }
        }
        match stop {
            None => break None,
            Some(s) if s >= env.pg_end => break None,
            Some(s) => {
                budget = budget.saturating_sub(batch);
                if budget == 0 {
                    break Some(s);
                }
                at = s;
            }
        }
    };
    let mut e = Encoder::with_capacity(Features::ALL, 128 + entries.len() * 48);
    e.versioned(1, 1, |e| {
        next.as_ref().unwrap_or(&env.pg_end).encode(e);
        e.count(entries.len());
        for o in &entries {
            e.blob(&o.nspace);
            e.blob(&o.name);
            e.blob(&o.key);
        }
    });
    Ok((i32::from(next.is_none()), e.finish()))
}

/// The first object behind `o` in object order.
fn successor(o: &HObject) -> HObject {
    match o.snap.0.checked_add(1) {
        Some(s) => o.at(SnapId(s)),
        None => HObject { name: [&o.name[..], b"\0"].concat().into(), snap: SnapId(0), ..o.clone() },
    }
}

/// `list-inconsistent-obj` and `-snapset`: what the last scrub found. Paging by object is not needed: the list is bounded.
fn scrubls(env: &PgOpEnv<'_>, op: &OsdOp) -> Result<(i32, Bytes), Errno> {
    let mut d = Decoder::new(&op.data);
    let (_, mut d) = d.open("scrub_ls_arg_t", 1).map_err(|_| Errno::EINVAL)?;
    let interval = d.u32().map_err(|_| Errno::EINVAL)?;
    let (now, found) = env.scrub.ok_or(Errno::ENOENT)?;
    if interval != 0 && interval != now {
        return Err(Errno::EAGAIN);
    }
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| {
        e.u32(now);
        e.put(found);
    });
    Ok((1, e.finish()))
}
