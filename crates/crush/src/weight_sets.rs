//! Weight sets (`choose_args`) as commands make and change them: one for each pool that has its own, and one for all others.

use crate::CrushError;
use crate::map::*;

impl CrushMap {
    /// Makes a weight set with as many positions, every weight the bucket's own (`create_choose_args`). False when there is one.
    pub fn create_weight_set(&mut self, key: i64, positions: usize) -> bool {
        if self.choose_args.contains_key(&key) {
            return false;
        }
        let one = |b: &Bucket| {
            let weights: Vec<u32> = b.items_with_weights().map(|(_, w)| w).collect();
            ChooseArg { weight_set: vec![weights; positions], ids: Vec::new() }
        };
        let args = self.buckets.iter().flatten().map(|b| ((-1 - b.id) as u32, one(b))).collect();
        self.choose_args.insert(key, args);
        true
    }

    /// Positions of a weight set; `None` when there is none.
    pub fn weight_set_positions(&self, key: i64) -> Option<usize> {
        Some(self.choose_args.get(&key)?.values().map(|a| a.weight_set.len()).max().unwrap_or(1).max(1))
    }

    /// Removes a weight set; false when there is none.
    pub fn remove_weight_set(&mut self, key: i64) -> bool {
        self.choose_args.remove(&key).is_some()
    }

    /// Sets an item's weight in a weight set, in every bucket that holds it, and the sums above it. Gives the number of buckets
    /// that held it.
    pub fn set_weight_set(&mut self, key: i64, item: i32, weights: &[u32]) -> Result<usize, CrushError> {
        let positions = self.weight_set_positions(key).ok_or(CrushError::NoSuchItem(item))?;
        if positions != weights.len() {
            return Err(CrushError::Range("number of weights"));
        }
        let parents: Vec<i32> = self.parents(item).collect();
        for p in &parents {
            self.set_in_bucket(key, *p, item, weights);
        }
        Ok(parents.len())
    }

    fn set_in_bucket(&mut self, key: i64, bucket: i32, item: i32, weights: &[u32]) {
        let Some(b) = self.bucket(bucket) else { return };
        let Some(at) = b.items.iter().position(|i| *i == item) else { return };
        let own: Vec<u32> = b.items_with_weights().map(|(_, w)| w).collect();
        let Some(args) = self.choose_args.get_mut(&key) else { return };
        let arg = args.entry((-1 - bucket) as u32).or_default();
        if arg.weight_set.len() != weights.len() {
            arg.weight_set = vec![own; weights.len()];
        }
        for (set, w) in arg.weight_set.iter_mut().zip(weights) {
            set[at] = *w;
        }
        let sums: Vec<u32> =
            arg.weight_set.iter().map(|s| s.iter().fold(0u32, |a, w| a.wrapping_add(*w))).collect();
        let parents: Vec<i32> = self.parents(bucket).collect();
        for p in parents {
            self.set_in_bucket(key, p, bucket, &sums);
        }
    }

    /// Makes every bucket's weight the sum of its items' again, from the leaves up (`osd crush reweight-all`).
    pub fn reweight_all(&mut self) {
        let roots = self.roots(true);
        for r in roots {
            self.reweight_below(r, 0);
        }
        self.rebuild_classes();
    }

    fn reweight_below(&mut self, id: i32, depth: usize) -> u32 {
        let Some(b) = self.bucket(id) else { return 0 };
        let mut items: Vec<(i32, u32)> = b.items_with_weights().collect();
        // Checked maps have no loops.
        if depth < 64 {
            for (item, w) in items.iter_mut().filter(|(i, _)| *i < 0) {
                *w = self.reweight_below(*item, depth + 1);
            }
        }
        self.set_bucket_items(id, &items);
        self.bucket(id).map_or(0, |b| b.weight)
    }

    /// Makes every `straw` bucket a `straw2` one; gives their number.
    pub fn straw_to_straw2(&mut self) -> usize {
        let mut n = 0;
        for b in self.buckets.iter_mut().flatten() {
            if let BucketData::Straw { item_weights, .. } = &b.data {
                b.data = BucketData::Straw2 { item_weights: item_weights.clone() };
                n += 1;
            }
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Location;

    fn map() -> CrushMap {
        let mut c = CrushMap::new_default(1);
        for i in 0..4 {
            let loc =
                Location::from([("host".into(), format!("h{}", i / 2)), ("root".into(), "default".into())]);
            c.create_or_move(i, 65536, &format!("osd.{i}"), &loc).expect("a place");
        }
        c
    }

    #[test]
    fn a_weight_set_starts_with_the_buckets_own_weights_and_sums_upwards() {
        let mut c = map();
        assert!(c.create_weight_set(7, 2) && !c.create_weight_set(7, 2));
        assert_eq!(c.weight_set_positions(7), Some(2));
        assert_eq!(c.set_weight_set(7, 0, &[10, 20]).expect("set"), 1);
        assert!(c.set_weight_set(7, 0, &[10]).is_err() && c.set_weight_set(8, 0, &[1]).is_err());
        let host = c.item_id("h0").expect("h0");
        let root = c.item_id("default").expect("root");
        let sets = &c.choose_args[&7];
        assert_eq!(sets[&((-1 - host) as u32)].weight_set, [[10, 65536], [20, 65536]]);
        let of_root = &sets[&((-1 - root) as u32)].weight_set;
        let at = c.bucket(root).expect("root").items.iter().position(|i| *i == host).expect("there");
        assert_eq!((of_root[0][at], of_root[1][at]), (65546, 65556));
        assert!(c.remove_weight_set(7) && !c.remove_weight_set(7));
    }

    #[test]
    fn reweight_all_mends_sums() {
        let mut c = map();
        let root = c.item_id("default").expect("root");
        let mut broken: Vec<_> = c.bucket(root).expect("root").items_with_weights().collect();
        broken.iter_mut().for_each(|(_, w)| *w = 5);
        c.set_bucket_items(root, &broken);
        c.reweight_all();
        assert_eq!(c.bucket(root).expect("root").weight, 4 * 65536);
    }
}
