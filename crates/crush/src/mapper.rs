//! The placement function: `do_rule` and what it draws with. Bit-exact with `crush_do_rule` of Ceph 16.
//!
//! A map that came through the decoder cannot make this loop forever, recurse deeply or panic: descents are bounded by
//! depth, and a work budget ends calculations that a hostile map blew up (the result then is empty).

use crate::codec::DEPTH_MAX;
use crate::hash::{hash32_2, hash32_3, hash32_4};
use crate::ln::exponential_draw;
use crate::map::*;
use smallvec::{SmallVec, smallvec};

/// Item draws that one `do_rule` may cost. A bucket of 10,000 items with 50 tries for each of 10 replicas stays below.
const WORK_MAX: u64 = 6_000_000;

type Ints = SmallVec<[i32; 16]>;

struct Ctx<'a> {
    map: &'a CrushMap,
    weights: &'a [u32],
    x: u32,
    args: Option<&'a ChooseArgs>,
    local_tries: u32,
    local_fallback_tries: u32,
    vary_r: u32,
    stable: bool,
    work: u64,
}

/// The part of a choose step that stays the same over its retries.
#[derive(Clone, Copy)]
struct Choose {
    numrep: i32,
    kind: i32,
    tries: u32,
    recurse_tries: u32,
    parent_r: u32,
}

fn hashed3(b: &Bucket, x: u32, y: u32, z: u32) -> u32 {
    if b.hash == 0 { hash32_3(x, y, z) } else { 0 }
}
fn hashed4(b: &Bucket, x: u32, y: u32, z: u32, w: u32) -> u32 {
    if b.hash == 0 { hash32_4(x, y, z, w) } else { 0 }
}

/// Item `r` of the pseudo-random permutation that `x` makes of the bucket.
fn perm_choose(b: &Bucket, x: u32, r: u32) -> i32 {
    let size = b.items.len() as u32;
    let pr = r % size;
    let swap = |p: u32| hashed3(b, x, b.id as u32, p) % (size - p);
    if pr == 0 {
        return b.items[swap(0) as usize];
    }
    let mut perm: SmallVec<[u32; 64]> = (0..size).collect();
    for p in 0..=pr {
        // There is nothing to swap the last one with.
        if p < size - 1 {
            perm.swap(p as usize, (p + swap(p)) as usize);
        }
    }
    b.items[perm[pr as usize] as usize]
}

fn list_choose(b: &Bucket, item_weights: &[u32], sum_weights: &[u32], x: u32, r: u32) -> i32 {
    for i in (0..b.items.len()).rev() {
        let w = u64::from(hashed4(b, x, b.items[i] as u32, r, b.id as u32) & 0xffff);
        if (w * u64::from(sum_weights[i])) >> 16 < u64::from(item_weights[i]) {
            return b.items[i];
        }
    }
    b.items[0]
}

fn tree_choose(b: &Bucket, node_weights: &[u32], x: u32, r: u32) -> i32 {
    let mut n = node_weights.len() as u32 >> 1;
    while n & 1 == 0 && n != 0 {
        let t = (u64::from(hashed4(b, x, n, r, b.id as u32)) * u64::from(node_weights[n as usize])) >> 32;
        let half = 1 << (n.trailing_zeros() - 1);
        let left = n - half;
        n = if t < u64::from(node_weights[left as usize]) { left } else { n + half };
    }
    // A tree whose weights are all zero can lead beyond the items; stock reads past the array there.
    b.items.get((n >> 1) as usize).copied().unwrap_or(ITEM_NONE)
}

fn straw_choose(b: &Bucket, straws: &[u32], x: u32, r: u32) -> i32 {
    let (mut high, mut high_draw) = (0, 0);
    for (i, item) in b.items.iter().enumerate() {
        let draw = u64::from(hashed3(b, x, *item as u32, r) & 0xffff) * u64::from(straws[i]);
        if i == 0 || draw > high_draw {
            (high, high_draw) = (i, draw);
        }
    }
    b.items[high]
}

fn straw2_choose(b: &Bucket, own: &[u32], x: u32, r: u32, arg: Option<&ChooseArg>, position: usize) -> i32 {
    let mut weights = own;
    let mut ids = &b.items[..];
    if let Some(arg) = arg {
        if let Some(w) = arg.weight_set.get(position).or(arg.weight_set.last()) {
            weights = w;
        }
        if !arg.ids.is_empty() {
            ids = &arg.ids;
        }
    }
    let (mut high, mut high_draw) = (0, i64::MIN);
    for (i, (id, weight)) in ids.iter().zip(weights).enumerate() {
        let draw = match weight {
            0 => i64::MIN,
            w => exponential_draw(hashed3(b, x, *id as u32, r), *w),
        };
        if i == 0 || draw > high_draw {
            (high, high_draw) = (i, draw);
        }
    }
    b.items[high]
}

/// What stepping into a bucket for an item of some type gave.
enum Found<'a> {
    /// An item of the wanted type; the bucket it is in.
    Item(i32, &'a Bucket),
    /// An empty bucket: the attempt is rejected.
    Empty(&'a Bucket),
    /// An item that cannot be right (unknown device, device above the type, missing bucket).
    Bad,
}

impl<'a> Ctx<'a> {
    fn spend(&mut self, cost: usize) -> bool {
        self.work = self.work.saturating_sub(cost as u64 + 1);
        self.work > 0
    }

    fn choose(&self, b: &Bucket, r: u32, position: usize) -> i32 {
        match &b.data {
            BucketData::Uniform { .. } => perm_choose(b, self.x, r),
            BucketData::List { item_weights, sum_weights } => {
                list_choose(b, item_weights, sum_weights, self.x, r)
            }
            BucketData::Tree { node_weights } => tree_choose(b, node_weights, self.x, r),
            BucketData::Straw { straws, .. } => straw_choose(b, straws, self.x, r),
            BucketData::Straw2 { item_weights } => {
                let arg = self.args.and_then(|args| args.get(&((-1 - b.id) as u32)));
                straw2_choose(b, item_weights, self.x, r, arg, position)
            }
        }
    }

    /// Type of an item, or `None` if it is no item of this map.
    fn kind_of(&self, item: i32) -> Option<i32> {
        if item >= self.map.max_devices {
            None
        } else if item >= 0 {
            Some(0)
        } else {
            self.map.bucket(item).map(|b| i32::from(b.kind))
        }
    }

    /// True when the device is marked out, or by its reweight this `x` does not go to it.
    fn is_out(&self, item: i32) -> bool {
        match self.weights.get(item as usize) {
            None | Some(0) => true,
            Some(w) if *w >= WEIGHT_ONE => false,
            Some(w) => hash32_2(self.x, item as u32) & 0xffff >= *w,
        }
    }

    /// From `from` down to an item of type `kind`; `pick` draws an item of each bucket on the way.
    fn descend(
        &mut self,
        from: &'a Bucket,
        kind: i32,
        mut pick: impl FnMut(&Self, &Bucket) -> i32,
    ) -> Found<'a> {
        let mut b = from;
        for _ in 0..DEPTH_MAX {
            if b.items.is_empty() {
                // (It costs, too: with many tries, nothing but this would end them.)
                return if self.spend(0) { Found::Empty(b) } else { Found::Bad };
            }
            if !self.spend(b.items.len()) {
                return Found::Bad;
            }
            let item = pick(self, b);
            match self.kind_of(item) {
                None => return Found::Bad,
                Some(k) if k == kind => return Found::Item(item, b),
                Some(_) if item >= 0 => return Found::Bad,
                Some(_) => match self.map.bucket(item) {
                    Some(next) => b = next,
                    None => return Found::Bad,
                },
            }
        }
        Found::Bad
    }

    #[allow(clippy::too_many_arguments)]
    fn firstn(
        &mut self,
        bucket: &'a Bucket,
        c: Choose,
        out: &mut Ints,
        out_base: usize,
        out_size: usize,
        mut leaves: Option<&mut Ints>,
        first_rep: i32,
    ) {
        let mut left = out_size;
        let mut rep = first_rep;
        while rep < c.numrep && left > 0 {
            if self.work == 0 {
                return;
            }
            if let Some(item) = self.firstn_one(bucket, c, out, out_base, left, leaves.as_deref_mut(), rep) {
                out.push(item);
                left -= 1;
            } else if !self.spend(0) {
                return;
            }
            rep += 1;
        }
    }

    /// One replica of a firstn step: retries until an item fits or the tries are used up.
    #[allow(clippy::too_many_arguments)]
    fn firstn_one(
        &mut self,
        bucket: &'a Bucket,
        c: Choose,
        out: &Ints,
        out_base: usize,
        left: usize,
        mut leaves: Option<&mut Ints>,
        rep: i32,
    ) -> Option<i32> {
        let outpos = out.len() - out_base;
        let (mut ftotal, mut flocal) = (0u32, 0u32);
        let mut start = bucket;
        loop {
            let r = (rep as u32).wrapping_add(c.parent_r).wrapping_add(ftotal);
            let fallback = self.local_fallback_tries;
            let found = self.descend(start, c.kind, |ctx, b| {
                if fallback > 0 && flocal >= (b.items.len() as u32) >> 1 && flocal > fallback {
                    perm_choose(b, ctx.x, r)
                } else {
                    ctx.choose(b, r, outpos)
                }
            });
            let (inside, collide) = match found {
                Found::Bad => return None,
                Found::Empty(b) => (b, false),
                Found::Item(item, b) => {
                    let collide = out[out_base..].contains(&item);
                    if !collide && self.firstn_accept(item, c, r, outpos, left, leaves.as_deref_mut()) {
                        return Some(item);
                    }
                    (b, collide)
                }
            };
            ftotal += 1;
            flocal += 1;
            let again_here = collide && flocal <= self.local_tries
                || fallback > 0 && flocal <= (inside.items.len() as u32).saturating_add(fallback);
            if again_here {
                start = inside;
            } else if ftotal < c.tries {
                start = bucket;
                flocal = 0;
            } else {
                return None;
            }
        }
    }

    /// Finds the leaf below `item` if one is wanted, and checks that devices are in.
    fn firstn_accept(
        &mut self,
        item: i32,
        c: Choose,
        r: u32,
        outpos: usize,
        left: usize,
        leaves: Option<&mut Ints>,
    ) -> bool {
        if let Some(leaves) = leaves {
            if item >= 0 {
                leaves.push(item);
            } else {
                let Some(below) = self.map.bucket(item) else { return false };
                let parent_r = if self.vary_r > 0 { r >> (self.vary_r - 1).min(31) } else { 0 };
                let first_rep = if self.stable { 0 } else { outpos as i32 };
                let numrep = if self.stable { 1 } else { outpos as i32 + 1 };
                let sub = Choose { numrep, kind: 0, tries: c.recurse_tries, recurse_tries: 0, parent_r };
                let base = leaves.len() - outpos;
                let before = leaves.len();
                self.firstn(below, sub, leaves, base, left.min(1), None, first_rep);
                if leaves.len() == before {
                    return false;
                }
            }
            if item >= 0 && self.is_out(item) {
                leaves.pop();
                return false;
            }
            return true;
        }
        item < 0 || !self.is_out(item)
    }

    /// Fills `out[range]`, each position by itself, breadth first.
    fn indep(
        &mut self,
        bucket: &'a Bucket,
        c: Choose,
        out: &mut [i32],
        range: std::ops::Range<usize>,
        mut leaves: Option<&mut [i32]>,
    ) {
        out[range.clone()].fill(ITEM_UNDEF);
        if let Some(l) = leaves.as_deref_mut() {
            l[range.clone()].fill(ITEM_UNDEF);
        }
        let mut left = range.len();
        let mut ftotal = 0u32;
        while left > 0 && ftotal < c.tries && self.work > 0 {
            for rep in range.clone() {
                if out[rep] != ITEM_UNDEF {
                    continue;
                }
                match self.indep_one(bucket, c, out, rep, range.clone(), leaves.as_deref_mut(), ftotal) {
                    Some(item) => {
                        out[rep] = item;
                        left -= 1;
                    }
                    None => {
                        self.spend(0);
                    }
                }
            }
            ftotal += 1;
        }
        let undef_to_none = |v: &mut [i32]| {
            v.iter_mut().filter(|i| **i == ITEM_UNDEF).for_each(|i| *i = ITEM_NONE);
        };
        undef_to_none(&mut out[range.clone()]);
        if let Some(l) = leaves {
            undef_to_none(&mut l[range]);
        }
    }

    /// One attempt for one position: the item, `ITEM_NONE` to give the position up, or `None` to try again.
    #[allow(clippy::too_many_arguments)]
    fn indep_one(
        &mut self,
        bucket: &'a Bucket,
        c: Choose,
        out: &[i32],
        rep: usize,
        range: std::ops::Range<usize>,
        leaves: Option<&mut [i32]>,
        ftotal: u32,
    ) -> Option<i32> {
        let numrep = c.numrep as u32;
        let mut r = 0;
        let position = range.start;
        let found = self.descend(bucket, c.kind, |ctx, b| {
            let uniform = matches!(b.data, BucketData::Uniform { .. });
            let stride =
                if uniform && (b.items.len() as u32).is_multiple_of(numrep) { numrep + 1 } else { numrep };
            r = (rep as u32).wrapping_add(c.parent_r).wrapping_add(stride.wrapping_mul(ftotal));
            ctx.choose(b, r, position)
        });
        let item = match found {
            Found::Empty(_) => return None,
            Found::Bad => {
                if let Some(l) = leaves {
                    l[rep] = ITEM_NONE;
                }
                return Some(ITEM_NONE);
            }
            Found::Item(item, _) => item,
        };
        if out[range].contains(&item) {
            return None;
        }
        if let Some(leaves) = leaves {
            if item >= 0 {
                leaves[rep] = item;
            } else {
                let below = self.map.bucket(item)?;
                let sub = Choose { kind: 0, tries: c.recurse_tries, recurse_tries: 0, parent_r: r, ..c };
                self.indep(below, sub, leaves, rep..rep + 1, None);
                if leaves[rep] == ITEM_NONE {
                    return None;
                }
            }
        }
        if item >= 0 && self.is_out(item) {
            return None;
        }
        Some(item)
    }
}

impl CrushMap {
    /// Maps `x` to at most `result_max` items by a rule. `weights` are the OSDs' reweights (16.16), not CRUSH weights.
    /// An unknown rule gives an empty result. Holes of indep rules are [`ITEM_NONE`].
    pub fn do_rule(
        &self,
        rule: i32,
        x: i32,
        result_max: usize,
        weights: &[u32],
        choose_args: Option<&ChooseArgs>,
    ) -> Vec<i32> {
        let mut out = Vec::with_capacity(result_max.min(64));
        self.do_rule_into(rule, x, result_max, weights, choose_args, &mut out);
        out
    }

    /// [`CrushMap::do_rule`] into a caller's vector (which is emptied first), for callers that map many.
    pub fn do_rule_into(
        &self,
        rule: i32,
        x: i32,
        result_max: usize,
        weights: &[u32],
        choose_args: Option<&ChooseArgs>,
        result: &mut Vec<i32>,
    ) {
        result.clear();
        let Some(rule) = self.rule(rule) else { return };
        // Pool sizes are bytes on the wire; larger results only come from tools.
        let result_max = result_max.min(4096);
        let t = &self.tunables;
        let mut ctx = Ctx {
            map: self,
            weights,
            x: x as u32,
            args: choose_args,
            local_tries: t.choose_local_tries,
            local_fallback_tries: t.choose_local_fallback_tries,
            vary_r: u32::from(t.chooseleaf_vary_r),
            stable: t.chooseleaf_stable != 0,
            work: WORK_MAX,
        };
        // The stored number counts retries, the loop counts tries.
        let mut tries = t.choose_total_tries.saturating_add(1);
        let mut leaf_tries = 0u32;
        let mut w = Ints::new();
        for s in &rule.steps {
            let arg = u32::try_from(s.arg1);
            match s.op {
                op::TAKE if (0..self.max_devices).contains(&s.arg1) || self.bucket(s.arg1).is_some() => {
                    w = smallvec![s.arg1];
                }
                op::SET_CHOOSE_TRIES if s.arg1 > 0 => tries = s.arg1 as u32,
                op::SET_CHOOSELEAF_TRIES if s.arg1 > 0 => leaf_tries = s.arg1 as u32,
                op::SET_CHOOSE_LOCAL_TRIES => ctx.local_tries = arg.unwrap_or(ctx.local_tries),
                op::SET_CHOOSE_LOCAL_FALLBACK_TRIES => {
                    ctx.local_fallback_tries = arg.unwrap_or(ctx.local_fallback_tries);
                }
                op::SET_CHOOSELEAF_VARY_R => ctx.vary_r = arg.unwrap_or(ctx.vary_r),
                op::SET_CHOOSELEAF_STABLE => ctx.stable = arg.map_or(ctx.stable, |a| a != 0),
                op::CHOOSE_FIRSTN | op::CHOOSELEAF_FIRSTN | op::CHOOSE_INDEP | op::CHOOSELEAF_INDEP
                    if !w.is_empty() =>
                {
                    w = ctx.choose_step(s, &w, result_max, tries, leaf_tries);
                }
                op::EMIT => {
                    result.extend(w.iter().take(result_max - result.len()));
                    w.clear();
                }
                _ => {}
            }
        }
        if ctx.work == 0 {
            result.clear();
        }
    }
}

impl<'a> Ctx<'a> {
    /// One choose or chooseleaf step: from each item of `w`.
    fn choose_step(&mut self, s: &Step, w: &Ints, result_max: usize, tries: u32, leaf_tries: u32) -> Ints {
        let firstn = matches!(s.op, op::CHOOSE_FIRSTN | op::CHOOSELEAF_FIRSTN);
        let leaf = matches!(s.op, op::CHOOSELEAF_FIRSTN | op::CHOOSELEAF_INDEP);
        // 0 and below are relative to the size that is asked for.
        let numrep = if s.arg1 > 0 { s.arg1 } else { s.arg1.saturating_add(result_max as i32) };
        let mut out = Ints::new();
        let mut leaves = Ints::new();
        if numrep <= 0 {
            return out;
        }
        for from in w {
            let Some(bucket) = self.map.bucket(*from) else { continue };
            let base = out.len();
            let room = result_max - base;
            let recurse_tries = match (leaf_tries, firstn) {
                (0, true) if self.map.tunables.chooseleaf_descend_once != 0 => 1,
                (0, true) => tries,
                (0, false) => 1,
                (n, _) => n,
            };
            let c = Choose { numrep, kind: s.arg2, tries, recurse_tries, parent_r: 0 };
            if firstn {
                let l = leaf.then_some(&mut leaves);
                let first_rep = 0;
                self.firstn(bucket, c, &mut out, base, room, l, first_rep);
            } else {
                let n = room.min(numrep as usize);
                let range = base..base + n;
                out.resize(range.end, ITEM_UNDEF);
                leaves.resize(range.end, ITEM_UNDEF);
                self.indep(bucket, c, &mut out[base..], 0..n, leaf.then_some(&mut leaves[base..]));
            }
        }
        if leaf { leaves } else { out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the fuzzer: each try in an empty bucket was free, so that four thousand million of them took a minute.
    #[test]
    fn tries_without_end_in_an_empty_bucket_come_to_an_end() {
        let mut m = CrushMap::new_default(1);
        m.tunables.choose_total_tries = u32::MAX;
        let run = |m: &CrushMap, op: u32| {
            let mut m = m.clone();
            let take = Step { op: op::TAKE, arg1: -1, arg2: 0 };
            let steps = vec![take, Step { op, arg1: 0, arg2: 1 }, Step { op: op::EMIT, arg1: 0, arg2: 0 }];
            m.rules = vec![Some(Rule { ruleset: 0, kind: 1, min_size: 1, max_size: 10, steps })];
            m.do_rule(0, 7, 3, &[], None)
        };
        for op in [op::CHOOSE_FIRSTN, op::CHOOSELEAF_FIRSTN, op::CHOOSE_INDEP, op::CHOOSELEAF_INDEP] {
            assert_eq!(run(&m, op), [0i32; 0]);
        }
        // With the usual tries it is just empty, or full of holes.
        m.tunables.choose_total_tries = 50;
        assert_eq!(run(&m, op::CHOOSE_FIRSTN), [0i32; 0]);
        assert_eq!(run(&m, op::CHOOSE_INDEP), [ITEM_NONE; 3]);
    }
}
