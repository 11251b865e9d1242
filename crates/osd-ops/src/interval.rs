//! [`IntervalSet`]: disjoint, sorted byte ranges (`interval_set<uint64_t>`), used for clone overlaps.

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// Disjoint non-empty ranges of u64, merged when they touch. Encodes as Ceph's `interval_set`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IntervalSet {
    m: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }
    /// One range.
    pub fn of(off: u64, len: u64) -> Self {
        let mut s = Self::new();
        s.insert(off, len);
        s
    }
    /// True without ranges.
    pub fn is_empty(&self) -> bool {
        self.m.is_empty()
    }
    /// Number of ranges.
    pub fn num_intervals(&self) -> usize {
        self.m.len()
    }
    /// Sum of the lengths.
    pub fn size(&self) -> u64 {
        self.m.values().sum()
    }
    /// The ranges (offset, length), ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.m.iter().map(|(o, l)| (*o, *l))
    }
    /// Adds a range; parts that are there already stay. Lengths that would pass u64 are cut.
    pub fn insert(&mut self, off: u64, len: u64) {
        let mut end = off.saturating_add(len);
        let mut off = off;
        if end == off {
            return;
        }
        if let Some((&o, &l)) = self.m.range(..=off).next_back()
            && o + l >= off
        {
            off = o;
            end = end.max(o + l);
            self.m.remove(&o);
        }
        while let Some((&o, &l)) = self.m.range(off..=end).next() {
            end = end.max(o + l);
            self.m.remove(&o);
        }
        self.m.insert(off, end - off);
    }
    /// Removes a range, whatever of it is there.
    pub fn erase(&mut self, off: u64, len: u64) {
        let end = off.saturating_add(len);
        if end == off {
            return;
        }
        if let Some((&o, &l)) = self.m.range(..off).next_back()
            && o + l > off
        {
            self.m.insert(o, off - o);
            if o + l > end {
                self.m.insert(end, o + l - end);
                return;
            }
        }
        while let Some((&o, &l)) = self.m.range(off..end).next() {
            self.m.remove(&o);
            if o + l > end {
                self.m.insert(end, o + l - end);
            }
        }
    }
    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &IntervalSet) {
        for (o, l) in other.iter() {
            self.insert(o, l);
        }
    }
    /// Removes all of `other`.
    pub fn subtract(&mut self, other: &IntervalSet) {
        for (o, l) in other.iter() {
            self.erase(o, l);
        }
    }
    /// What is in both.
    pub fn intersection(&self, other: &IntervalSet) -> IntervalSet {
        let mut out = IntervalSet::new();
        for (o, l) in self.iter() {
            let end = o + l;
            let first = other.m.range(..=o).next_back().map_or(o, |(k, _)| *k);
            for (&bo, &bl) in other.m.range(first..end) {
                let (s, e) = (bo.max(o), (bo + bl).min(end));
                if s < e {
                    out.insert(s, e - s);
                }
            }
        }
        out
    }
    /// True when the whole range is in the set.
    pub fn contains(&self, off: u64, len: u64) -> bool {
        len == 0 || self.m.range(..=off).next_back().is_some_and(|(&o, &l)| o + l >= off.saturating_add(len))
    }
}

impl Encode for IntervalSet {
    fn encode(&self, e: &mut Encoder) {
        e.put(&self.m);
    }
}
impl Decode for IntervalSet {
    const MIN_SIZE: usize = 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let n = d.count("interval_set", 16)?;
        let mut s = IntervalSet::new();
        for _ in 0..n {
            let (off, len) = (d.u64()?, d.u64()?);
            if off.checked_add(len).is_none() {
                return Err(DencError::Invalid { what: "interval_set", value: off });
            }
            s.insert(off, len);
        }
        Ok(s)
    }
}
