//! The CRUSH blob: decoding, with validation that makes every later walk safe, and encoding by the reader's features.
//!
//! Mirrors `CrushWrapper::encode/decode`. The blob has no version: after the names, sections exist as far as the
//! bytes go. Validation is stricter than stock's where stock would crash later: ids must match slots, children must be
//! able to exist, arrays must match sizes, and the hierarchy must not contain a cycle.

use crate::map::*;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

const MAGIC: u32 = 0x0001_0000;
/// Deepest hierarchy that is accepted; types alone rarely reach a dozen levels.
pub(crate) const DEPTH_MAX: usize = 64;
/// Rules: the id is a byte in a rule's mask.
const RULES_MAX: u32 = 256;
const STEPS_MAX: usize = 1024;

/// CRUSH_TUNABLES5: the reader knows `chooseleaf_stable`.
const FEATURE_TUNABLES5: u64 = 1 << 58;
/// SERVER_LUMINOUS, which is also CRUSH_CHOOSE_ARGS.
const FEATURE_LUMINOUS: u64 = (1 << 21) | (1 << 57);

fn invalid(what: &'static str, value: impl Into<i128>) -> DencError {
    DencError::Invalid { what, value: value.into() as u64 }
}

impl Encode for CrushMap {
    fn encode(&self, e: &mut Encoder) {
        let luminous = e.has(FEATURE_LUMINOUS);
        // Readers without choose_args get the first weight set in place of the real weights, as stock sends.
        let compat = if luminous { None } else { self.choose_args.values().next() };
        e.u32(MAGIC);
        e.count(self.buckets.len());
        e.count(self.rules.len());
        e.i32(self.max_devices);
        for (i, b) in self.buckets.iter().enumerate() {
            match b {
                None => e.u32(0),
                Some(b) => {
                    let arg = compat.and_then(|args| args.get(&(i as u32)));
                    encode_bucket(e, b, arg.and_then(|a| a.weight_set.first()));
                }
            }
        }
        for r in &self.rules {
            e.u32(r.is_some() as u32);
            if let Some(r) = r {
                e.count(r.steps.len());
                e.raw(&[r.ruleset, r.kind, r.min_size, r.max_size]);
                for s in &r.steps {
                    e.u32(s.op);
                    e.i32(s.arg1);
                    e.i32(s.arg2);
                }
            }
        }
        e.put(&self.type_map);
        e.put(&self.name_map);
        e.put(&self.rule_name_map);
        let t = &self.tunables;
        e.u32(t.choose_local_tries);
        e.u32(t.choose_local_fallback_tries);
        e.u32(t.choose_total_tries);
        e.u32(t.chooseleaf_descend_once);
        e.u8(t.chooseleaf_vary_r);
        e.u8(t.straw_calc_version);
        e.u32(t.allowed_bucket_algs);
        if e.has(FEATURE_TUNABLES5) {
            e.u8(t.chooseleaf_stable);
        }
        if luminous {
            e.put(&self.class_map);
            e.put(&self.class_name);
            e.put(&self.class_bucket);
            encode_choose_args(e, &self.choose_args);
        }
    }
}

fn encode_bucket(e: &mut Encoder, b: &Bucket, weights_instead: Option<&Vec<u32>>) {
    e.u32(b.alg() as u32);
    e.i32(b.id);
    e.u16(b.kind);
    e.u8(b.alg() as u8);
    e.u8(b.hash);
    e.u32(b.weight);
    e.count(b.items.len());
    for i in &b.items {
        e.i32(*i);
    }
    let pairs = |e: &mut Encoder, a: &[u32], b: &[u32]| {
        for (a, b) in a.iter().zip(b) {
            e.u32(*a);
            e.u32(*b);
        }
    };
    match &b.data {
        BucketData::Uniform { item_weight } => e.u32(*item_weight),
        BucketData::List { item_weights, sum_weights } => pairs(e, item_weights, sum_weights),
        BucketData::Tree { node_weights } => {
            e.u8(node_weights.len() as u8);
            node_weights.iter().for_each(|w| e.u32(*w));
        }
        BucketData::Straw { item_weights, straws } => pairs(e, item_weights, straws),
        BucketData::Straw2 { item_weights } => {
            weights_instead.unwrap_or(item_weights).iter().for_each(|w| e.u32(*w));
        }
    }
}

fn encode_choose_args(e: &mut Encoder, all: &BTreeMap<i64, ChooseArgs>) {
    e.count(all.len());
    for (key, args) in all {
        e.i64(*key);
        let used = || args.iter().filter(|(_, a)| !a.weight_set.is_empty() || !a.ids.is_empty());
        e.count(used().count());
        for (bucket, a) in used() {
            e.u32(*bucket);
            e.put(&a.weight_set);
            e.put(&a.ids);
        }
    }
}

impl Decode for CrushMap {
    const MIN_SIZE: usize = 28;

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let magic = d.u32()?;
        if magic != MAGIC {
            return Err(invalid("crush magic", magic));
        }
        let n_buckets = d.u32()? as usize;
        let n_rules = d.u32()?;
        let mut m = CrushMap { max_devices: d.i32()?, tunables: Tunables::LEGACY, ..CrushMap::default() };
        if n_buckets.saturating_mul(4) > d.remaining() {
            return Err(DencError::Short { what: "crush buckets", need: n_buckets * 4, have: d.remaining() });
        }
        if n_rules > RULES_MAX {
            return Err(invalid("crush rule count", n_rules));
        }
        if m.max_devices < 0 {
            return Err(invalid("crush max_devices", m.max_devices));
        }
        for i in 0..n_buckets {
            m.buckets.push(decode_bucket(d, i)?);
        }
        for _ in 0..n_rules {
            m.rules.push(decode_rule(d)?);
        }
        m.type_map = decode_names(d)?;
        m.name_map = decode_names(d)?;
        m.rule_name_map = decode_names(d)?;
        decode_tunables(d, &mut m.tunables)?;
        if !d.is_empty() {
            m.class_map = d.get()?;
            m.class_name = d.get()?;
            m.class_bucket = d.get()?;
        }
        if !d.is_empty() {
            m.choose_args = decode_choose_args(d)?;
        }
        m.validate()?;
        Ok(m)
    }
}

fn decode_tunables(d: &mut Decoder<'_>, t: &mut Tunables) -> Result<(), DencError> {
    if !d.is_empty() {
        t.choose_local_tries = d.u32()?;
        t.choose_local_fallback_tries = d.u32()?;
        t.choose_total_tries = d.u32()?;
    }
    if !d.is_empty() {
        t.chooseleaf_descend_once = d.u32()?;
    }
    if !d.is_empty() {
        t.chooseleaf_vary_r = d.u8()?;
    }
    if !d.is_empty() {
        t.straw_calc_version = d.u8()?;
    }
    if !d.is_empty() {
        t.allowed_bucket_algs = d.u32()?;
    }
    if !d.is_empty() {
        t.chooseleaf_stable = d.u8()?;
    }
    Ok(())
}

fn decode_bucket(d: &mut Decoder<'_>, slot: usize) -> Result<Option<Bucket>, DencError> {
    let alg = d.u32()?;
    if alg == 0 {
        return Ok(None);
    }
    let id = d.i32()?;
    if id >= 0 || (-1 - id) as usize != slot {
        return Err(invalid("crush bucket id", id));
    }
    let kind = d.u16()?;
    let alg_again = d.u8()?;
    let alg = BucketAlg::from_u8(alg_again)
        .filter(|a| *a as u32 == alg)
        .ok_or_else(|| invalid("crush bucket algorithm", alg))?;
    let hash = d.u8()?;
    let weight = d.u32()?;
    let n = d.count("crush bucket items", 4)?;
    let items = (0..n).map(|_| d.i32()).collect::<Result<Vec<_>, _>>()?;
    let words = |d: &mut Decoder<'_>, n: usize| (0..n).map(|_| d.u32()).collect::<Result<Vec<_>, _>>();
    let pairs = |d: &mut Decoder<'_>| -> Result<(Vec<u32>, Vec<u32>), DencError> {
        let (mut a, mut b) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for _ in 0..n {
            a.push(d.u32()?);
            b.push(d.u32()?);
        }
        Ok((a, b))
    };
    let data = match alg {
        BucketAlg::Uniform => BucketData::Uniform { item_weight: d.u32()? },
        BucketAlg::List => {
            let (item_weights, sum_weights) = pairs(d)?;
            BucketData::List { item_weights, sum_weights }
        }
        BucketAlg::Tree => {
            let nodes = d.u8()? as usize;
            // A walk from the root ends at an odd node whose item must exist.
            if (n > 0 && !nodes.is_power_of_two()) || (n == 0 && nodes > 1) || nodes < 2 * n {
                return Err(invalid("crush tree bucket nodes", nodes as u32));
            }
            BucketData::Tree { node_weights: words(d, nodes)? }
        }
        BucketAlg::Straw => {
            let (item_weights, straws) = pairs(d)?;
            BucketData::Straw { item_weights, straws }
        }
        BucketAlg::Straw2 => BucketData::Straw2 { item_weights: words(d, n)? },
    };
    Ok(Some(Bucket { id, kind, hash, weight, items, data }))
}

fn decode_rule(d: &mut Decoder<'_>) -> Result<Option<Rule>, DencError> {
    if d.u32()? == 0 {
        return Ok(None);
    }
    let n = d.u32()? as usize;
    if n > STEPS_MAX {
        return Err(invalid("crush rule steps", n as u32));
    }
    let [ruleset, kind, min_size, max_size] = d.get::<[u8; 4]>()?;
    let steps = (0..n)
        .map(|_| Ok(Step { op: d.u32()?, arg1: d.i32()?, arg2: d.i32()? }))
        .collect::<Result<_, DencError>>()?;
    Ok(Some(Rule { ruleset, kind, min_size, max_size, steps }))
}

/// A map of names. Some ancient encoders wrote 64-bit keys: a zero length then is the key's upper half.
fn decode_names(d: &mut Decoder<'_>) -> Result<BTreeMap<i32, String>, DencError> {
    let n = d.count("crush names", 8)?;
    let mut m = BTreeMap::new();
    for _ in 0..n {
        let key = d.i32()?;
        let mut len = d.u32()? as usize;
        if len == 0 {
            len = d.u32()? as usize;
            // An empty name could not be told from a 64-bit key when it is read again.
            if len == 0 {
                return Err(DencError::Invalid { what: "empty crush name", value: key as u32 as u64 });
            }
        }
        let s = std::str::from_utf8(d.raw(len)?).map_err(|_| DencError::Utf8 { what: "crush name" })?;
        m.insert(key, s.to_owned());
    }
    Ok(m)
}

fn decode_choose_args(d: &mut Decoder<'_>) -> Result<BTreeMap<i64, ChooseArgs>, DencError> {
    let n = d.count("crush choose_args", 12)?;
    let mut all = BTreeMap::new();
    for _ in 0..n {
        let key = d.i64()?;
        let n = d.count("crush choose_arg map", 12)?;
        let mut args = ChooseArgs::new();
        for _ in 0..n {
            let bucket = d.u32()?;
            args.insert(bucket, ChooseArg { weight_set: d.get()?, ids: d.get()? });
        }
        all.insert(key, args);
    }
    Ok(all)
}

impl CrushMap {
    /// Decodes a whole blob.
    pub fn from_bytes(bytes: &Bytes) -> Result<CrushMap, DencError> {
        denc::from_bytes(bytes)
    }

    /// Checks all that the mapper relies on. The decoder calls it; callers that edit `buckets` by hand should too.
    pub fn validate(&self) -> Result<(), DencError> {
        for b in self.buckets.iter().flatten() {
            let n = b.items.len();
            let fits = match &b.data {
                BucketData::Uniform { .. } => true,
                BucketData::List { item_weights, sum_weights } => {
                    item_weights.len() == n && sum_weights.len() == n
                }
                BucketData::Tree { node_weights } => node_weights.len() >= 2 * n,
                BucketData::Straw { item_weights, straws } => item_weights.len() == n && straws.len() == n,
                BucketData::Straw2 { item_weights } => item_weights.len() == n,
            };
            if !fits {
                return Err(invalid("crush bucket arrays", b.id));
            }
            if b.items.iter().any(|i| *i < 0 && (-1 - *i) as usize >= self.buckets.len()) {
                return Err(invalid("crush child of bucket", b.id));
            }
        }
        for (bucket, arg) in self.choose_args.values().flatten() {
            let Some(Some(b)) = self.buckets.get(*bucket as usize) else {
                return Err(invalid("crush choose_arg bucket", *bucket));
            };
            let n = b.items.len();
            let ids_fit = arg.ids.is_empty() || arg.ids.len() == n;
            if !ids_fit || arg.weight_set.iter().any(|w| w.len() != n) {
                return Err(invalid("crush choose_arg size", *bucket));
            }
        }
        self.check_depth()
    }

    /// Fails on cycles and on hierarchies deeper than [`DEPTH_MAX`]; iterative, each bucket is expanded once.
    fn check_depth(&self) -> Result<(), DencError> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut state = vec![NEW; self.buckets.len()];
        let mut height = vec![0usize; self.buckets.len()];
        for root in 0..self.buckets.len() {
            if state[root] != NEW {
                continue;
            }
            state[root] = OPEN;
            let mut stack = vec![(root, 0usize)];
            while let Some((slot, next)) = stack.pop() {
                let items = self.buckets[slot].as_ref().map_or(&[][..], |b| &b.items);
                let child = items[next.min(items.len())..].iter().position(|i| *i < 0).map(|p| p + next);
                let Some(at) = child else {
                    state[slot] = DONE;
                    if let Some((parent, _)) = stack.last() {
                        height[*parent] = height[*parent].max(height[slot] + 1);
                    }
                    continue;
                };
                stack.push((slot, at + 1));
                let to = (-1 - items[at]) as usize;
                match state[to] {
                    OPEN => return Err(invalid("crush cycle through bucket", items[at])),
                    DONE => height[slot] = height[slot].max(height[to] + 1),
                    _ => {
                        state[to] = OPEN;
                        stack.push((to, 0));
                    }
                }
            }
            if height[root] >= DEPTH_MAX {
                return Err(invalid("crush depth", height[root] as u32));
            }
        }
        Ok(())
    }
}
