//! [`IntervalSet`]: a set of u64 as disjoint, non-adjacent ranges (`interval_set<snapid_t>`).

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// Ranges by start, with their lengths. Ranges never touch each other and are never empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IntervalSet {
    ranges: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }
    /// True without any element.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
    /// Number of ranges.
    pub fn num_intervals(&self) -> usize {
        self.ranges.len()
    }
    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.ranges.values().sum()
    }
    /// The ranges as (start, length), ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(s, l)| (*s, *l))
    }
    /// True when `v` is in the set.
    pub fn contains(&self, v: u64) -> bool {
        self.ranges.range(..=v).next_back().is_some_and(|(s, l)| v - s < *l)
    }
    /// True when all of `[start, start+len)` is in the set.
    pub fn contains_range(&self, start: u64, len: u64) -> bool {
        self.ranges.range(..=start).next_back().is_some_and(|(s, l)| {
            let off = start - s;
            off < *l && *l - off >= len
        })
    }
    /// Adds one element.
    pub fn insert(&mut self, v: u64) {
        self.insert_range(v, 1);
    }
    /// Adds `[start, start+len)`; parts that are there already are fine.
    pub fn insert_range(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        let mut start = start;
        let mut end = start.saturating_add(len);
        if let Some((s, l)) = self.ranges.range(..=start).next_back().filter(|(s, l)| *s + *l >= start) {
            end = end.max(s + l);
            start = *s;
        }
        while let Some((s, l)) = self.ranges.range(start..=end).next() {
            let (s, l) = (*s, *l);
            end = end.max(s + l);
            self.ranges.remove(&s);
        }
        self.ranges.insert(start, end - start);
    }
    /// Removes one element.
    pub fn remove(&mut self, v: u64) {
        self.remove_range(v, 1);
    }
    /// Removes `[start, start+len)`; parts that are not there are fine.
    pub fn remove_range(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        let end = start.saturating_add(len);
        if let Some((s, l)) = self.ranges.range(..start).next_back() {
            let (s, l) = (*s, *l);
            if s + l > start {
                self.ranges.insert(s, start - s);
                if s + l > end {
                    self.ranges.insert(end, s + l - end);
                }
            }
        }
        while let Some((s, l)) = self.ranges.range(start..end).next() {
            let (s, l) = (*s, *l);
            self.ranges.remove(&s);
            if s + l > end {
                self.ranges.insert(end, s + l - end);
            }
        }
    }
    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &IntervalSet) {
        other.iter().for_each(|(s, l)| self.insert_range(s, l));
    }
    /// Removes all of `other`.
    pub fn subtract(&mut self, other: &IntervalSet) {
        other.iter().for_each(|(s, l)| self.remove_range(s, l));
    }
    /// True when every element of `self` is in `other`.
    pub fn is_subset_of(&self, other: &IntervalSet) -> bool {
        self.iter().all(|(s, l)| other.contains_range(s, l))
    }
    /// Smallest element.
    pub fn first(&self) -> Option<u64> {
        self.ranges.keys().next().copied()
    }
}

impl Encode for IntervalSet {
    fn encode(&self, e: &mut Encoder) {
        self.ranges.encode(e);
    }
}
impl Decode for IntervalSet {
    const MIN_SIZE: usize = 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let n = d.count("interval_set", 16)?;
        let mut set = IntervalSet::new();
        let mut free_from = 0u64;
        for i in 0..n {
            let (start, len) = (d.u64()?, d.u64()?);
            let end = start.checked_add(len).filter(|_| len > 0 && (i == 0 || start > free_from));
            // Touching ranges would not survive a round trip; stock never writes them.
            free_from = end.ok_or(DencError::Invalid { what: "interval_set range", value: start })?;
            set.ranges.insert(start, len);
        }
        Ok(set)
    }
}
impl FromIterator<(u64, u64)> for IntervalSet {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(iter: T) -> Self {
        let mut set = IntervalSet::new();
        iter.into_iter().for_each(|(s, l)| set.insert_range(s, l));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_plain_set() {
        let mut seed = 1u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        let mut set = IntervalSet::new();
        let mut model = std::collections::BTreeSet::new();
        for _ in 0..4000 {
            let (start, len) = (next(64), next(9));
            if next(2) == 0 {
                set.insert_range(start, len);
                model.extend(start..start + len);
            } else {
                set.remove_range(start, len);
                model.retain(|v| !(start..start + len).contains(v));
            }
            assert!((0..80).all(|v| set.contains(v) == model.contains(&v)));
            assert_eq!(set.len(), model.len() as u64);
            let b = denc::to_bytes(&set, denc::Features::ALL);
            assert_eq!(denc::from_bytes_exact::<IntervalSet>(&b).unwrap(), set);
        }
    }
}
