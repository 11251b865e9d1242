//! Sets of on-disk or protocol features with names: [`CompatSet`] (`include/CompatSet.h`).

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// Features by number, 1..63, with names (`CompatSet::FeatureSet`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureSet {
    /// One bit per feature; bit 0 is always set in what we and stock write.
    pub mask: u64,
    /// Names by number.
    pub names: BTreeMap<u64, String>,
}
impl FeatureSet {
    /// A set of these.
    pub fn new(features: &[(u64, &str)]) -> FeatureSet {
        let mut s = FeatureSet::default();
        for (n, name) in features {
            s.mask |= 1 << n;
            s.names.insert(*n, (*name).to_owned());
        }
        s
    }
}
impl Default for FeatureSet {
    fn default() -> Self {
        FeatureSet { mask: 1, names: BTreeMap::new() }
    }
}
impl Encode for FeatureSet {
    fn encode(&self, e: &mut Encoder) {
        // Stock leaves bit 0, which only marks the new form, out of what it writes.
        e.u64(self.mask & !1);
        e.put(&self.names);
    }
}
impl Decode for FeatureSet {
    const MIN_SIZE: usize = 12;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(FeatureSet { mask: d.u64()? | 1, names: d.get()? })
    }
}

/// Compatible, read-only compatible, and incompatible features.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompatSet {
    /// A reader may ignore these.
    pub compat: FeatureSet,
    /// A reader that only reads may ignore these.
    pub ro_compat: FeatureSet,
    /// A reader must know these.
    pub incompat: FeatureSet,
}
impl Encode for CompatSet {
    fn encode(&self, e: &mut Encoder) {
        e.put(&self.compat);
        e.put(&self.ro_compat);
        e.put(&self.incompat);
    }
}
impl Decode for CompatSet {
    const MIN_SIZE: usize = 36;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(CompatSet { compat: d.get()?, ro_compat: d.get()?, incompat: d.get()? })
    }
}
