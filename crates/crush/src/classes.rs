//! Device classes: each root has, per class, a shadow tree of the same shape with only that class's devices
//! (`default~ssd`). Rules take the shadow. The trees are rebuilt after every edit and keep their ids.

use crate::CrushError;
use crate::map::*;
use std::collections::{BTreeMap, BTreeSet};

/// Shadow bucket by bucket and class.
type ClassBuckets = BTreeMap<i32, BTreeMap<i32, i32>>;
/// While trees are built: sums of weight-set entries by choose_args key, shadow bucket, position.
type SetSums = BTreeMap<i64, BTreeMap<i32, Vec<u32>>>;

impl CrushMap {
    /// Id of a class.
    pub fn class_id(&self, name: &str) -> Option<i32> {
        self.class_name.iter().find(|(_, n)| *n == name).map(|(id, _)| *id)
    }
    /// Class of a device.
    pub fn device_class(&self, device: i32) -> Option<&str> {
        self.class_name.get(self.class_map.get(&device)?).map(String::as_str)
    }
    /// True for a bucket of a shadow tree.
    pub fn is_shadow(&self, id: i32) -> bool {
        id < 0 && self.name_map.get(&id).is_some_and(|n| n.contains('~'))
    }
    /// For a shadow bucket: the bucket that it shadows and the class id.
    pub fn shadow_of(&self, id: i32) -> Option<(i32, i32)> {
        self.class_bucket
            .iter()
            .find_map(|(orig, m)| m.iter().find(|(_, s)| **s == id).map(|(class, _)| (*orig, *class)))
    }
    /// Ids of a class's devices.
    pub fn devices_of_class(&self, class: &str) -> Vec<i32> {
        let Some(id) = self.class_id(class) else { return Vec::new() };
        self.class_map.iter().filter(|(d, c)| **d >= 0 && **c == id).map(|(d, _)| *d).collect()
    }

    /// Binds a device to a class; true when that changed the map. A device with another class is refused, as stock does.
    pub fn set_device_class(&mut self, device: i32, class: &str) -> Result<bool, CrushError> {
        if device < 0 || !self.name_map.contains_key(&device) {
            return Err(CrushError::NoSuchItem(device));
        }
        if !crate::builder::is_valid_name(class) {
            return Err(CrushError::BadName(class.to_owned()));
        }
        match self.device_class(device) {
            Some(now) if now == class => return Ok(false),
            Some(now) => return Err(CrushError::ClassBound { osd: device, class: now.to_owned() }),
            None => {}
        }
        let id = self.class_id_or_new(class);
        self.class_map.insert(device, id);
        self.rebuild_classes();
        Ok(true)
    }

    /// Takes a device's class away; true when it had one.
    pub fn remove_device_class(&mut self, device: i32) -> bool {
        let had = self.class_map.remove(&device).is_some();
        if had {
            self.rebuild_classes();
        }
        had
    }

    /// Creates a class without devices (`osd crush class create`). It lasts until the next rebuild, as in stock.
    pub fn class_id_or_new(&mut self, class: &str) -> i32 {
        if let Some(id) = self.class_id(class) {
            return id;
        }
        let id = self.class_name.keys().next_back().map_or(0, |id| id.saturating_add(1));
        self.class_name.insert(id, class.to_owned());
        id
    }

    /// Renames a class and its shadow trees (`osd crush class rename`).
    pub fn rename_class(&mut self, from: &str, to: &str) -> Result<(), CrushError> {
        let id = self.class_id(from).ok_or_else(|| CrushError::NoSuchClass(from.to_owned()))?;
        if !crate::builder::is_valid_name(to) {
            return Err(CrushError::BadName(to.to_owned()));
        }
        if self.class_id(to).is_some() {
            return Err(CrushError::NameInUse(to.to_owned()));
        }
        self.class_name.insert(id, to.to_owned());
        let suffix = format!("~{from}");
        for name in self.name_map.values_mut() {
            if let Some(base) = name.strip_suffix(&suffix) {
                *name = format!("{base}~{to}");
            }
        }
        Ok(())
    }

    /// A class lives while a device has it or a rule takes one of its shadow buckets.
    fn is_dead_class(&self, class: i32) -> bool {
        if self.class_map.iter().any(|(d, c)| *d >= 0 && *c == class) {
            return false;
        }
        let steps = self.rules.iter().flatten().flat_map(|r| &r.steps);
        let mut takes = steps.filter(|s| s.op == op::TAKE).map(|s| s.arg1);
        !takes.any(|t| self.class_bucket.values().any(|m| m.get(&class) == Some(&t)))
    }

    /// Builds all shadow trees anew (`rebuild_roots_with_classes`).
    pub fn rebuild_classes(&mut self) {
        if self.class_name.is_empty() && self.class_bucket.is_empty() {
            return;
        }
        let old = self.class_bucket.clone();
        let dead: Vec<i32> = self.class_name.keys().copied().filter(|c| self.is_dead_class(*c)).collect();
        for class in dead {
            self.class_name.remove(&class);
            self.class_map.retain(|_, c| *c != class);
        }
        let shadows: Vec<i32> =
            self.buckets.iter().flatten().map(|b| b.id).filter(|id| self.is_shadow(*id)).collect();
        for id in shadows {
            self.drop_item(id);
        }
        self.class_bucket.clear();
        let mut used: BTreeSet<i32> = old.values().flat_map(|m| m.values().copied()).collect();
        let mut sums = SetSums::new();
        let classes: Vec<i32> = self.class_name.keys().copied().collect();
        for root in self.roots(false) {
            for class in &classes {
                self.clone_for_class(root, *class, &old, &mut used, &mut sums);
            }
        }
    }

    /// The shadow of a bucket for a class, and of all below it.
    fn clone_for_class(
        &mut self,
        original: i32,
        class: i32,
        old: &ClassBuckets,
        used: &mut BTreeSet<i32>,
        sums: &mut SetSums,
    ) -> Option<i32> {
        if let Some(done) = self.class_bucket.get(&original).and_then(|m| m.get(&class)) {
            return Some(*done);
        }
        let from = self.bucket(original)?.clone();
        let name = format!("{}~{}", self.item_name(original)?, self.class_name.get(&class)?);
        let mut items = Vec::new();
        let mut origin = Vec::new();
        for (pos, (item, weight)) in from.items_with_weights().enumerate() {
            if item >= 0 {
                if self.class_map.get(&item) == Some(&class) {
                    items.push((item, weight));
                    origin.push(pos);
                }
            } else if let Some(child) = self.clone_for_class(item, class, old, used, sums) {
                items.push((child, self.bucket(child).map_or(0, |b| b.weight)));
                origin.push(pos);
            }
        }
        let id = match old.get(&original).and_then(|m| m.get(&class)) {
            Some(id) => *id,
            None => {
                let mut id = -1;
                while self.bucket(id).is_some() || used.contains(&id) {
                    id -= 1;
                }
                used.insert(id);
                id
            }
        };
        let mut copy = Bucket::new(id, from.kind, from.alg(), &items, self.tunables.straw_calc_version);
        copy.hash = from.hash;
        self.put_bucket(copy);
        self.class_map.insert(id, class);
        self.name_map.insert(id, name);
        self.class_bucket.entry(original).or_default().insert(class, id);
        self.clone_weight_sets(original, id, &items, &origin, sums);
        Some(id)
    }

    /// Weight sets of a shadow bucket: devices as in the original, buckets the sums of their shadows.
    fn clone_weight_sets(
        &mut self,
        original: i32,
        id: i32,
        items: &[(i32, u32)],
        origin: &[usize],
        sums: &mut SetSums,
    ) {
        for (key, args) in &mut self.choose_args {
            let Some(arg) = args.get(&((-1 - original) as u32)) else { continue };
            let below = sums.entry(*key).or_default();
            let entry = |position: usize, set: &[u32], at: usize| {
                let item = items[at].0;
                if item >= 0 {
                    set.get(origin[at]).copied().unwrap_or(0)
                } else {
                    below.get(&item).and_then(|s| s.get(position).copied()).unwrap_or(0)
                }
            };
            let sets: Vec<Vec<u32>> = arg
                .weight_set
                .iter()
                .enumerate()
                .map(|(position, set)| (0..items.len()).map(|at| entry(position, set, at)).collect())
                .collect();
            let sum = |set: &Vec<u32>| set.iter().fold(0u32, |s, w| s.wrapping_add(*w));
            below.insert(id, sets.iter().map(sum).collect());
            args.insert((-1 - id) as u32, ChooseArg { weight_set: sets, ids: Vec::new() });
        }
    }
}
