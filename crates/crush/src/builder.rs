//! Editing a map as the monitor does: buckets, items and their weights, locations, rules.
//!
//! Mirrors the editing half of `CrushWrapper` and `crush/builder.c`, including which slot a new bucket gets and in which
//! order items stand, because both decide placement. Bucket weights are always the sum of their items'.

use crate::map::*;
use crate::{CrushError, feature};
use std::collections::{BTreeMap, BTreeSet};

/// Where an item is or shall be: bucket name by type name (`{"root": "default", "host": "a"}`).
pub type Location = BTreeMap<String, String>;

/// Types of a new map, by number.
pub const DEFAULT_TYPES: [&str; 12] =
    ["osd", "host", "chassis", "rack", "row", "pdu", "pod", "room", "datacenter", "zone", "region", "root"];

/// How a rule treats holes: replicated pools close them, erasure coded ones keep positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleMode {
    /// For replicated pools.
    Firstn,
    /// For erasure coded pools.
    Indep,
}

/// Straw lengths for a straw bucket, by position (`crush_calc_straw`).
fn straws(weights: &[u32], version: u8) -> Vec<u32> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| weights[*i]);
    let w = |i: usize| weights[order[i]];
    let mut out = vec![0; weights.len()];
    let (mut straw, mut below, mut last) = (1.0f64, 0.0f64, 0.0f64);
    let mut left = weights.len() as u32;
    let mut i = 0;
    while i < weights.len() {
        if w(i) == 0 {
            i += 1;
            if version > 0 {
                left -= 1;
            }
            continue;
        }
        out[order[i]] = (straw * 65536.0) as u32;
        i += 1;
        if i == weights.len() {
            break;
        }
        if version == 0 && w(i) == w(i - 1) {
            continue;
        }
        below += (f64::from(w(i - 1)) - last) * f64::from(left);
        if version == 0 {
            let same = (i..weights.len()).take_while(|j| w(*j) == w(i)).count();
            left = left.wrapping_sub(same as u32);
        } else {
            left -= 1;
        }
        let next = f64::from(left.wrapping_mul(w(i).wrapping_sub(w(i - 1))));
        let share = below / (below + next);
        straw *= (1.0 / share).powf(1.0 / f64::from(left));
        last = f64::from(w(i - 1));
    }
    out
}

/// Node weights of a tree bucket: leaves at odd nodes, each inner node the sum below it.
fn tree_nodes(weights: &[u32]) -> Vec<u32> {
    if weights.is_empty() {
        return Vec::new();
    }
    let depth = 1 + (usize::BITS - (weights.len() - 1).leading_zeros());
    let mut nodes = vec![0u32; 1 << depth];
    for (i, w) in weights.iter().enumerate() {
        nodes[2 * i + 1] = *w;
    }
    for h in 1..depth {
        let mut n = 1usize << h;
        while n < nodes.len() {
            let half = 1 << (h - 1);
            nodes[n] = nodes[n - half].wrapping_add(nodes[n + half]);
            n += 1 << (h + 1);
        }
    }
    nodes
}

impl Bucket {
    /// A bucket with these items. Weights of uniform buckets are the first item's.
    pub fn new(id: i32, kind: u16, alg: BucketAlg, items: &[(i32, u32)], straw_calc_version: u8) -> Bucket {
        let ids: Vec<i32> = items.iter().map(|(i, _)| *i).collect();
        let weights: Vec<u32> = items.iter().map(|(_, w)| *w).collect();
        let data = match alg {
            BucketAlg::Uniform => BucketData::Uniform { item_weight: weights.first().copied().unwrap_or(0) },
            BucketAlg::List => {
                let mut sum = 0u32;
                let sums = weights.iter().map(|w| {
                    sum = sum.wrapping_add(*w);
                    sum
                });
                let sum_weights = sums.collect();
                BucketData::List { item_weights: weights, sum_weights }
            }
            BucketAlg::Tree => BucketData::Tree { node_weights: tree_nodes(&weights) },
            BucketAlg::Straw => {
                BucketData::Straw { straws: straws(&weights, straw_calc_version), item_weights: weights }
            }
            BucketAlg::Straw2 => BucketData::Straw2 { item_weights: weights },
        };
        let mut b = Bucket { id, kind, hash: 0, weight: 0, items: ids, data };
        b.weight = b.items_with_weights().fold(0u32, |s, (_, w)| s.wrapping_add(w));
        b
    }

    fn set_items(&mut self, items: &[(i32, u32)], straw_calc_version: u8) {
        let hash = self.hash;
        *self = Bucket::new(self.id, self.kind, self.alg(), items, straw_calc_version);
        self.hash = hash;
    }
}

/// True for names of items and buckets: letters, digits, `-`, `_`, `.`.
pub fn is_valid_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(ok)
}

impl CrushMap {
    /// The map of a new cluster: the default types, an empty root `default`, and rule 0 `replicated_rule`, which spreads
    /// over buckets of type `chooseleaf_type` (1 = host; 0 = just OSDs).
    pub fn new_default(chooseleaf_type: i32) -> CrushMap {
        let type_map = (0..).zip(DEFAULT_TYPES.map(str::to_owned)).collect();
        let mut m = CrushMap { type_map, ..CrushMap::default() };
        let root = m.add_bucket_unnamed(11, BucketAlg::Straw2, &[]);
        m.name_map.insert(root, "default".to_owned());
        m.add_rule_taking("replicated_rule", root, chooseleaf_type, RuleMode::Firstn, 1)
            .expect("an empty map has room for a rule");
        m
    }

    /// Name of a type.
    pub fn type_name(&self, kind: i32) -> Option<&str> {
        self.type_map.get(&kind).map(String::as_str)
    }
    /// Number of a type.
    pub fn type_id(&self, name: &str) -> Option<i32> {
        self.type_map.iter().find(|(_, n)| *n == name).map(|(id, _)| *id)
    }
    /// Name of a device or bucket.
    pub fn item_name(&self, id: i32) -> Option<&str> {
        self.name_map.get(&id).map(String::as_str)
    }
    /// Id of a device or bucket.
    pub fn item_id(&self, name: &str) -> Option<i32> {
        self.name_map.iter().find(|(_, n)| *n == name).map(|(id, _)| *id)
    }
    fn id_of(&self, name: &str) -> Result<i32, CrushError> {
        self.item_id(name).ok_or_else(|| CrushError::NoSuchName(name.to_owned()))
    }
    /// Id of a rule.
    pub fn rule_id(&self, name: &str) -> Option<i32> {
        self.rule_name_map.iter().find(|(_, n)| *n == name).map(|(id, _)| *id)
    }
    /// Type number of an item: 0 for devices.
    pub fn item_type(&self, id: i32) -> Option<i32> {
        if id >= 0 { Some(0) } else { self.bucket(id).map(|b| i32::from(b.kind)) }
    }
    /// True when the item is in some bucket.
    pub fn is_linked(&self, id: i32) -> bool {
        self.buckets.iter().flatten().any(|b| b.items.contains(&id))
    }
    /// Buckets that hold the item, shadow ones too.
    pub fn parents(&self, id: i32) -> impl Iterator<Item = i32> + '_ {
        self.buckets.iter().flatten().filter(move |b| b.items.contains(&id)).map(|b| b.id)
    }
    /// The bucket that holds the item, not counting shadow buckets.
    pub fn parent(&self, id: i32) -> Option<i32> {
        let shadow = self.is_shadow(id);
        self.parents(id).find(|p| self.is_shadow(*p) == shadow)
    }
    /// Buckets without a parent, ascending by id; with or without those of shadow trees.
    pub fn roots(&self, shadow: bool) -> Vec<i32> {
        let children: BTreeSet<i32> =
            self.buckets.iter().flatten().flat_map(|b| b.items.iter().copied()).collect();
        let ids = self.buckets.iter().flatten().map(|b| b.id).filter(|id| !children.contains(id));
        let mut roots: Vec<i32> = ids.filter(|id| shadow || !self.is_shadow(*id)).collect();
        roots.sort_unstable();
        roots
    }
    /// Where an item is: bucket name by type name up to its root (`get_full_location`).
    pub fn location(&self, id: i32) -> Location {
        let mut loc = Location::new();
        let mut at = id;
        while let Some(parent) = self.parent(at) {
            let kind = self.item_type(parent).and_then(|t| self.type_name(t)).unwrap_or_default();
            let name = self.item_name(parent).unwrap_or_default();
            if loc.insert(kind.to_owned(), name.to_owned()).is_some() {
                break;
            }
            at = parent;
        }
        loc
    }
    /// True when `item` is `root` or below it.
    pub fn subtree_contains(&self, root: i32, item: i32) -> bool {
        root == item
            || self.bucket(root).is_some_and(|b| b.items.iter().any(|i| self.subtree_contains(*i, item)))
    }
    /// Devices below a bucket, in map order; a device alone is itself.
    pub fn devices_under(&self, id: i32) -> Vec<i32> {
        match self.bucket(id) {
            None if id >= 0 => vec![id],
            None => Vec::new(),
            Some(b) => b.items.iter().flat_map(|i| self.devices_under(*i)).collect(),
        }
    }
    /// CRUSH weight of an item in the first (non-shadow) bucket that holds it; of a root, its own.
    pub fn item_weight(&self, id: i32) -> Option<u32> {
        match self.parent(id).and_then(|p| self.bucket(p)) {
            Some(b) => b.items_with_weights().find(|(i, _)| *i == id).map(|(_, w)| w),
            None => self.bucket(id).map(|b| b.weight),
        }
    }
    /// Depth-first walk from a bucket: (id, depth, weight in the parent), the bucket itself first.
    pub fn walk(&self, root: i32) -> Vec<(i32, usize, u32)> {
        let mut out = Vec::new();
        let mut stack = vec![(root, 0usize, self.bucket(root).map_or(0, |b| b.weight))];
        while let Some((id, depth, weight)) = stack.pop() {
            out.push((id, depth, weight));
            if let Some(b) = self.bucket(id) {
                let items: Vec<_> = b.items_with_weights().collect();
                stack.extend(items.into_iter().rev().map(|(i, w)| (i, depth + 1, w)));
            }
        }
        out
    }

    /// The best algorithm that this map allows for new buckets.
    pub fn default_alg(&self) -> BucketAlg {
        let allowed = self.tunables.allowed_bucket_algs;
        let order =
            [BucketAlg::Straw2, BucketAlg::Straw, BucketAlg::Tree, BucketAlg::List, BucketAlg::Uniform];
        order.into_iter().find(|a| allowed & (1 << *a as u8) != 0).unwrap_or(BucketAlg::Straw2)
    }

    /// Adds a bucket in the first free slot and returns its id. Slots grow by doubling, as stock's do.
    pub fn add_bucket_unnamed(&mut self, kind: u16, alg: BucketAlg, items: &[(i32, u32)]) -> i32 {
        let slot = self.buckets.iter().position(Option::is_none).unwrap_or(self.buckets.len());
        let id = -1 - slot as i32;
        self.put_bucket(Bucket::new(id, kind, alg, items, self.tunables.straw_calc_version));
        id
    }

    pub(crate) fn put_bucket(&mut self, b: Bucket) {
        let slot = (-1 - b.id) as usize;
        while slot >= self.buckets.len() {
            let grown = if self.buckets.is_empty() { 8 } else { self.buckets.len() * 2 };
            self.buckets.resize(grown, None);
        }
        self.buckets[slot] = Some(b);
    }

    /// Adds an empty, unlinked bucket with a name (`osd crush add-bucket`).
    pub fn add_bucket(&mut self, name: &str, kind_name: &str) -> Result<i32, CrushError> {
        if !is_valid_name(name) {
            return Err(CrushError::BadName(name.to_owned()));
        }
        if self.item_id(name).is_some() {
            return Err(CrushError::NameInUse(name.to_owned()));
        }
        let kind = self.type_id(kind_name).filter(|t| (1..=i32::from(u16::MAX)).contains(t));
        let kind = kind.ok_or_else(|| CrushError::NoSuchType(kind_name.to_owned()))?;
        let id = self.add_bucket_unnamed(kind as u16, self.default_alg(), &[]);
        self.name_map.insert(id, name.to_owned());
        Ok(id)
    }

    /// Replaces a bucket's items and keeps its choose_args in step: survivors keep theirs, new ones get their weight.
    pub(crate) fn set_bucket_items(&mut self, id: i32, items: &[(i32, u32)]) {
        let version = self.tunables.straw_calc_version;
        let Some(b) = self.bucket_mut(id) else { return };
        let before = b.items.clone();
        b.set_items(items, version);
        for args in self.choose_args.values_mut() {
            let Some(arg) = args.get_mut(&((-1 - id) as u32)) else { continue };
            let old = |item: &i32| before.iter().position(|i| i == item);
            for set in &mut arg.weight_set {
                let from = set.clone();
                let kept = |i: &i32, w: &u32| old(i).and_then(|p| from.get(p).copied()).unwrap_or(*w);
                *set = items.iter().map(|(i, w)| kept(i, w)).collect();
            }
            if !arg.ids.is_empty() {
                let from = arg.ids.clone();
                arg.ids = items.iter().map(|(i, _)| old(i).map_or(*i, |p| from[p])).collect();
            }
        }
    }

    /// Sets an item's weight in one bucket, and corrects all ancestors. The item's weights in weight sets follow if
    /// `weight_sets`.
    fn set_weight_in(&mut self, bucket: i32, item: i32, weight: u32, weight_sets: bool) {
        let Some(b) = self.bucket(bucket) else { return };
        let mut items: Vec<_> = b.items_with_weights().collect();
        items.iter_mut().filter(|(i, _)| *i == item).for_each(|(_, w)| *w = weight);
        let at = b.items.iter().position(|i| *i == item);
        self.set_bucket_items(bucket, &items);
        if let (Some(at), true) = (at, weight_sets) {
            for args in self.choose_args.values_mut() {
                if let Some(arg) = args.get_mut(&((-1 - bucket) as u32)) {
                    arg.weight_set.iter_mut().for_each(|set| set[at] = weight);
                }
            }
            self.sum_weight_sets_up(bucket);
        }
        let sum = self.bucket(bucket).map_or(0, |b| b.weight);
        let parents: Vec<i32> = self.parents(bucket).collect();
        for p in parents {
            self.set_weight_in(p, bucket, sum, false);
        }
    }

    /// Makes each ancestor's weight-set entry for a bucket the sum of that bucket's own entries.
    fn sum_weight_sets_up(&mut self, bucket: i32) {
        let parents: Vec<i32> = self.parents(bucket).collect();
        for p in parents {
            let at = self.bucket(p).and_then(|b| b.items.iter().position(|i| *i == bucket));
            let Some(at) = at else { continue };
            for args in self.choose_args.values_mut() {
                let below = args.get(&((-1 - bucket) as u32)).map(|a| a.weight_set.clone());
                let Some(arg) = args.get_mut(&((-1 - p) as u32)) else { continue };
                for (set, below) in arg.weight_set.iter_mut().zip(below.into_iter().flatten()) {
                    set[at] = below.iter().fold(0u32, |s, w| s.wrapping_add(*w));
                }
            }
            self.sum_weight_sets_up(p);
        }
    }

    /// Sets an item's CRUSH weight wherever it is (`osd crush reweight`). A bucket's weight is its items', so only
    /// devices can be given one; see [`CrushMap::set_subtree_weight`].
    pub fn set_item_weight(&mut self, item: i32, weight: u32) -> Result<(), CrushError> {
        let parents: Vec<i32> = self.parents(item).filter(|p| !self.is_shadow(*p)).collect();
        if parents.is_empty() {
            return Err(CrushError::NoSuchItem(item));
        }
        for p in parents {
            self.set_weight_in(p, item, weight, true);
        }
        self.rebuild_classes();
        Ok(())
    }

    /// Sets the CRUSH weight of every device below a bucket (`osd crush reweight-subtree`); returns how many.
    pub fn set_subtree_weight(&mut self, root: i32, weight: u32) -> Result<usize, CrushError> {
        if self.bucket(root).is_none() {
            return Err(CrushError::NoSuchItem(root));
        }
        let devices = self.devices_under(root);
        for d in &devices {
            let parents: Vec<i32> = self.parents(*d).filter(|p| self.subtree_contains(root, *p)).collect();
            for p in parents {
                self.set_weight_in(p, *d, weight, true);
            }
        }
        self.rebuild_classes();
        Ok(devices.len())
    }

    fn check_location(&self, loc: &Location) -> Result<(), CrushError> {
        for (kind, name) in loc {
            if self.type_id(kind).is_none() {
                return Err(CrushError::NoSuchType(kind.clone()));
            }
            if !is_valid_name(name) {
                return Err(CrushError::BadName(name.clone()));
            }
        }
        Ok(())
    }

    /// Puts an item (a device, or an unlinked bucket) at a location, making the buckets that are missing
    /// (`CrushWrapper::insert_item`).
    pub fn insert_item(
        &mut self,
        item: i32,
        weight: u32,
        name: &str,
        loc: &Location,
    ) -> Result<(), CrushError> {
        let mut next = self.clone();
        next.insert_item_here(item, weight, name, loc)?;
        *self = next;
        Ok(())
    }

    fn insert_item_here(
        &mut self,
        item: i32,
        weight: u32,
        name: &str,
        loc: &Location,
    ) -> Result<(), CrushError> {
        if !is_valid_name(name) {
            return Err(CrushError::BadName(name.to_owned()));
        }
        self.check_location(loc)?;
        match self.item_id(name) {
            Some(id) if id != item => return Err(CrushError::NameInUse(name.to_owned())),
            Some(_) => {}
            None => {
                self.name_map.insert(item, name.to_owned());
            }
        }
        let mut cur = item;
        let types: Vec<(i32, String)> = self.type_map.iter().map(|(n, t)| (*n, t.clone())).collect();
        for (kind, kind_name) in types.into_iter().filter(|(n, _)| *n != 0) {
            let Some(bucket_name) = loc.get(&kind_name) else { continue };
            let Some(id) = self.item_id(bucket_name) else {
                let id = self.add_bucket_unnamed(kind as u16, self.default_alg(), &[(cur, 0)]);
                self.name_map.insert(id, bucket_name.clone());
                cur = id;
                continue;
            };
            let b = self.bucket(id).ok_or_else(|| CrushError::WrongType(bucket_name.clone()))?;
            if i32::from(b.kind) != kind {
                return Err(CrushError::WrongType(bucket_name.clone()));
            }
            if self.subtree_contains(cur, id) {
                return Err(CrushError::Loop(name.to_owned()));
            }
            if self.subtree_contains(id, cur) {
                return Err(CrushError::NoPlace);
            }
            let mut items: Vec<_> = b.items_with_weights().collect();
            items.push((cur, 0));
            self.set_bucket_items(id, &items);
            break;
        }
        let holders: Vec<i32> = loc.values().filter_map(|n| self.item_id(n)).collect();
        let holders: Vec<i32> = holders
            .into_iter()
            .filter(|h| self.bucket(*h).is_some_and(|b| b.items.contains(&item)))
            .collect();
        if holders.is_empty() {
            return Err(CrushError::NoPlace);
        }
        for h in holders {
            self.set_weight_in(h, item, weight, item >= 0);
        }
        if item >= 0 {
            let n = item.checked_add(1).ok_or(CrushError::Range("device id"))?;
            self.max_devices = self.max_devices.max(n);
        }
        self.rebuild_classes();
        self.validate().map_err(|_| CrushError::Range("hierarchy"))
    }

    /// True when the item is in the lowest bucket that `loc` names (`check_item_loc`).
    pub fn is_at(&self, item: i32, loc: &Location) -> bool {
        for (kind, kind_name) in self.type_map.iter().filter(|(n, _)| **n != 0) {
            let Some(name) = loc.get(kind_name) else { continue };
            let b = self.item_id(name).and_then(|id| self.bucket(id));
            return b.is_some_and(|b| i32::from(b.kind) == *kind && b.items.contains(&item));
        }
        false
    }

    /// Puts a device where `loc` says, keeping the weight it has if it has one; true when that changed the map
    /// (`osd crush create-or-move`, sent by every booting OSD).
    pub fn create_or_move(
        &mut self,
        item: i32,
        weight: u32,
        name: &str,
        loc: &Location,
    ) -> Result<bool, CrushError> {
        if self.is_at(item, loc) {
            return Ok(false);
        }
        let weight = if self.is_linked(item) { self.item_weight(item).unwrap_or(weight) } else { weight };
        let mut next = self.clone();
        next.unlink_everywhere(item);
        next.insert_item_here(item, weight, name, loc)?;
        *self = next;
        Ok(true)
    }

    /// Puts a device where `loc` says with this weight; true when that changed the map (`osd crush set`).
    pub fn update_item(
        &mut self,
        item: i32,
        weight: u32,
        name: &str,
        loc: &Location,
    ) -> Result<bool, CrushError> {
        if self.is_at(item, loc) {
            let renamed = self.item_name(item) != Some(name);
            if !renamed && self.item_weight(item) == Some(weight) {
                return Ok(false);
            }
            if renamed {
                if self.item_id(name).is_some() {
                    return Err(CrushError::NameInUse(name.to_owned()));
                }
                self.name_map.insert(item, name.to_owned());
            }
            self.set_item_weight(item, weight)?;
            return Ok(true);
        }
        let mut next = self.clone();
        next.unlink_everywhere(item);
        next.insert_item_here(item, weight, name, loc)?;
        *self = next;
        Ok(true)
    }

    /// Moves a bucket with all below it to another place (`osd crush move`).
    pub fn move_bucket(&mut self, id: i32, loc: &Location) -> Result<(), CrushError> {
        let weight = self.bucket(id).ok_or(CrushError::NoSuchItem(id))?.weight;
        let name = self.item_name(id).ok_or(CrushError::NoSuchItem(id))?.to_owned();
        let mut next = self.clone();
        next.unlink_everywhere(id);
        next.insert_item_here(id, weight, &name, loc)?;
        *self = next;
        Ok(())
    }

    /// Puts a bucket at one more place (`osd crush link`).
    pub fn link_bucket(&mut self, id: i32, loc: &Location) -> Result<(), CrushError> {
        let weight = self.bucket(id).ok_or(CrushError::NoSuchItem(id))?.weight;
        let name = self.item_name(id).ok_or(CrushError::NoSuchItem(id))?.to_owned();
        self.insert_item(id, weight, &name, loc)
    }

    /// Exchanges the contents of two buckets (`osd crush swap-bucket`), so that a filled one takes the place of another.
    pub fn swap_buckets(&mut self, a: i32, b: i32) -> Result<(), CrushError> {
        let (Some(ba), Some(bb)) = (self.bucket(a), self.bucket(b)) else {
            return Err(CrushError::NoSuchItem(if self.bucket(a).is_none() { a } else { b }));
        };
        if self.subtree_contains(a, b) || self.subtree_contains(b, a) {
            return Err(CrushError::Loop(self.item_name(a).unwrap_or_default().to_owned()));
        }
        let items_a: Vec<_> = ba.items_with_weights().collect();
        let items_b: Vec<_> = bb.items_with_weights().collect();
        self.set_bucket_items(a, &items_b);
        self.set_bucket_items(b, &items_a);
        let (na, nb) = (self.name_map.remove(&a), self.name_map.remove(&b));
        na.map(|n| self.name_map.insert(b, n));
        nb.map(|n| self.name_map.insert(a, n));
        for id in [a, b] {
            self.push_weight_up(id);
        }
        self.rebuild_classes();
        Ok(())
    }

    fn push_weight_up(&mut self, id: i32) {
        let sum = self.bucket(id).map_or(0, |b| b.weight);
        let parents: Vec<i32> = self.parents(id).collect();
        for p in parents {
            self.set_weight_in(p, id, sum, false);
        }
    }

    /// Takes the item out of every bucket.
    pub(crate) fn unlink_everywhere(&mut self, item: i32) {
        let parents: Vec<i32> = self.parents(item).collect();
        for p in parents {
            self.unlink(item, p);
        }
    }

    /// Takes the item out of one bucket.
    fn unlink(&mut self, item: i32, parent: i32) {
        let Some(b) = self.bucket(parent) else { return };
        let items: Vec<_> = b.items_with_weights().filter(|(i, _)| *i != item).collect();
        self.set_bucket_items(parent, &items);
        self.push_weight_up(parent);
        self.sum_weight_sets_up(parent);
    }

    /// Removes a device, or an empty bucket that no rule takes, from the map (`osd crush rm`).
    pub fn remove_item(&mut self, item: i32) -> Result<(), CrushError> {
        let name = self.item_name(item).unwrap_or_default().to_owned();
        if item < 0 {
            let b = self.bucket(item).ok_or(CrushError::NoSuchItem(item))?;
            if !b.items.is_empty() {
                return Err(CrushError::NotEmpty(name));
            }
            if self.is_taken(item) {
                return Err(CrushError::InUse(name));
            }
        } else if !self.is_linked(item) && !self.name_map.contains_key(&item) {
            return Err(CrushError::NoSuchItem(item));
        }
        self.unlink_everywhere(item);
        self.drop_item(item);
        self.rebuild_classes();
        Ok(())
    }

    /// Takes an item out of one bucket (`osd crush rm NAME ANCESTOR`); the last link of a device removes it.
    pub fn remove_item_under(&mut self, item: i32, ancestor: i32) -> Result<(), CrushError> {
        let parents: Vec<i32> = self.parents(item).filter(|p| self.subtree_contains(ancestor, *p)).collect();
        if parents.is_empty() {
            return Err(CrushError::NoSuchItem(item));
        }
        for p in parents {
            self.unlink(item, p);
        }
        if item >= 0 && !self.parents(item).any(|p| !self.is_shadow(p)) {
            self.drop_item(item);
        }
        self.rebuild_classes();
        Ok(())
    }

    pub(crate) fn drop_item(&mut self, item: i32) {
        if item < 0 {
            self.buckets[(-1 - item) as usize] = None;
            self.class_bucket.remove(&item);
            for args in self.choose_args.values_mut() {
                args.remove(&((-1 - item) as u32));
            }
        }
        self.name_map.remove(&item);
        self.class_map.remove(&item);
    }

    /// True when a rule takes the bucket or one of its shadows.
    pub fn is_taken(&self, id: i32) -> bool {
        let shadows: Vec<i32> =
            self.class_bucket.get(&id).into_iter().flat_map(|m| m.values().copied()).chain([id]).collect();
        let steps = self.rules.iter().flatten().flat_map(|r| &r.steps);
        steps.filter(|s| s.op == op::TAKE).any(|s| shadows.contains(&s.arg1))
    }

    /// Gives a bucket or device another name (`osd crush rename-bucket`).
    pub fn rename_item(&mut self, from: &str, to: &str) -> Result<(), CrushError> {
        let id = self.id_of(from)?;
        if !is_valid_name(to) {
            return Err(CrushError::BadName(to.to_owned()));
        }
        if self.item_id(to).is_some() {
            return Err(CrushError::NameInUse(to.to_owned()));
        }
        self.name_map.insert(id, to.to_owned());
        self.rebuild_classes();
        Ok(())
    }

    /// Adds the usual rule: take `root` (of a device class if one is given), spread over buckets of `failure_domain`
    /// (or over devices), emit. Returns its id.
    pub fn add_simple_rule(
        &mut self,
        name: &str,
        root: &str,
        failure_domain: &str,
        class: Option<&str>,
        mode: RuleMode,
    ) -> Result<i32, CrushError> {
        if self.rule_id(name).is_some() {
            return Err(CrushError::NameInUse(name.to_owned()));
        }
        let mut take = self.id_of(root)?;
        let kind = match failure_domain {
            "" => 0,
            t => self.type_id(t).ok_or_else(|| CrushError::NoSuchType(t.to_owned()))?,
        };
        if let Some(class) = class.filter(|c| !c.is_empty()) {
            let id = self.class_id(class).ok_or_else(|| CrushError::NoSuchClass(class.to_owned()))?;
            let shadow = self.class_bucket.get(&take).and_then(|m| m.get(&id));
            take = *shadow.ok_or_else(|| CrushError::NoSuchClass(class.to_owned()))?;
        }
        let pool_type = if mode == RuleMode::Firstn { 1 } else { 3 };
        self.add_rule_taking(name, take, kind, mode, pool_type)
    }

    fn add_rule_taking(
        &mut self,
        name: &str,
        take: i32,
        kind: i32,
        mode: RuleMode,
        pool_type: u8,
    ) -> Result<i32, CrushError> {
        let step = |op, arg1, arg2| Step { op, arg1, arg2 };
        let mut steps = Vec::new();
        if mode == RuleMode::Indep {
            steps.push(step(op::SET_CHOOSELEAF_TRIES, 5, 0));
            steps.push(step(op::SET_CHOOSE_TRIES, 100, 0));
        }
        steps.push(step(op::TAKE, take, 0));
        let choose = match (mode, kind) {
            (RuleMode::Firstn, 0) => op::CHOOSE_FIRSTN,
            (RuleMode::Firstn, _) => op::CHOOSELEAF_FIRSTN,
            (RuleMode::Indep, 0) => op::CHOOSE_INDEP,
            (RuleMode::Indep, _) => op::CHOOSELEAF_INDEP,
        };
        steps.push(step(choose, 0, kind));
        steps.push(step(op::EMIT, 0, 0));
        let (min_size, max_size) = if mode == RuleMode::Firstn { (1, 10) } else { (3, 20) };
        self.add_rule(name, Rule { ruleset: 0, kind: pool_type, min_size, max_size, steps })
    }

    /// Adds a rule at the first free id, which becomes its ruleset too.
    pub fn add_rule(&mut self, name: &str, mut rule: Rule) -> Result<i32, CrushError> {
        let id = self.rules.iter().position(Option::is_none).unwrap_or(self.rules.len());
        rule.ruleset = u8::try_from(id).map_err(|_| CrushError::RulesFull)?;
        if id == self.rules.len() {
            self.rules.push(None);
        }
        self.rules[id] = Some(rule);
        self.rule_name_map.insert(id as i32, name.to_owned());
        Ok(id as i32)
    }

    /// Removes a rule. The caller has checked that no pool uses it.
    pub fn remove_rule(&mut self, name: &str) -> Result<i32, CrushError> {
        let id = self.rule_id(name).ok_or_else(|| CrushError::NoSuchRule(name.to_owned()))?;
        if let Some(slot) = self.rules.get_mut(id as usize) {
            *slot = None;
        }
        self.rule_name_map.remove(&id);
        self.rebuild_classes();
        Ok(id)
    }

    /// Gives a rule another name.
    pub fn rename_rule(&mut self, from: &str, to: &str) -> Result<(), CrushError> {
        let id = self.rule_id(from).ok_or_else(|| CrushError::NoSuchRule(from.to_owned()))?;
        if self.rule_id(to).is_some() {
            return Err(CrushError::NameInUse(to.to_owned()));
        }
        self.rule_name_map.insert(id, to.to_owned());
        Ok(())
    }

    /// Sets a tunables profile. Profiles other than `legacy` and `default` keep `straw_calc_version`.
    pub fn set_tunables_profile(&mut self, profile: &str) -> bool {
        let Some(t) = Tunables::profile(profile) else { return false };
        let keep = !matches!(profile, "legacy" | "default");
        let straw = self.tunables.straw_calc_version;
        self.tunables = t;
        if keep {
            self.tunables.straw_calc_version = straw;
        }
        true
    }

    /// Name of the oldest release whose clients can use this map's tunables and buckets (`get_min_required_version`).
    pub fn min_required_version(&self) -> &'static str {
        let f =
            self.required_features() | (0..self.rules.len()).fold(0, |f, r| f | self.rule_features(r as i32));
        if f & feature::TUNABLES5 != 0 {
            "jewel"
        } else if f & feature::V4 != 0 {
            "hammer"
        } else if f & feature::TUNABLES3 != 0 {
            "firefly"
        } else if f & (feature::TUNABLES2 | feature::TUNABLES) != 0 {
            "bobtail"
        } else {
            "argonaut"
        }
    }
}
