//! [`ContextCache`]: the states of recently used objects, so that ops on hot objects read no xattrs.
//!
//! Invariant (the owner's duty): whatever changes an object's info or snap set in the store by another way than
//! [`crate::execute`]'s outcome (recovery, trim, rollback of divergent entries, a replica's changes) removes its head and
//! all its clones from the cache, or clears it.

use crate::api::ObjectContext;
use std::collections::BTreeMap;
use types::HObject;

/// A bounded map from heads (not clones) to their states; forgets what was not used for long.
#[derive(Debug)]
pub struct ContextCache {
    max: usize,
    clock: u64,
    map: BTreeMap<HObject, (u64, ObjectContext)>,
}

impl ContextCache {
    /// For up to `max` objects.
    pub fn new(max: usize) -> Self {
        ContextCache { max: max.max(2), clock: 0, map: BTreeMap::new() }
    }
    /// Takes an object's state out, to be put back after use: then nothing needs to be cloned.
    pub fn take(&mut self, head: &HObject) -> Option<ObjectContext> {
        self.map.remove(head).map(|(_, c)| c)
    }
    /// Looks at an object's state.
    pub fn get(&mut self, head: &HObject) -> Option<&ObjectContext> {
        self.clock += 1;
        let (used, ctx) = self.map.get_mut(head)?;
        *used = self.clock;
        Some(ctx)
    }
    /// Keeps a head's state, absent ones too (a create need not look twice).
    pub fn put(&mut self, ctx: ObjectContext) {
        debug_assert!(ctx.oid.is_head());
        if self.map.len() >= self.max {
            // The older half goes at once: cheap per put, and no second index.
            let mut used: Vec<u64> = self.map.values().map(|(u, _)| *u).collect();
            let mid = used.len() / 2;
            let (_, median, _) = used.select_nth_unstable(mid);
            let median = *median;
            self.map.retain(|_, (u, _)| *u > median);
        }
        self.clock += 1;
        self.map.insert(ctx.oid.clone(), (self.clock, ctx));
    }
    /// Forgets one object (named by head or clone).
    pub fn remove(&mut self, oid: &HObject) {
        if oid.is_head() {
            self.map.remove(oid);
        } else {
            self.map.remove(&oid.head());
        }
    }
    /// Forgets all: on a change of the interval, after recovery of unknown extent.
    pub fn clear(&mut self) {
        self.map.clear();
    }
    /// Objects in it.
    pub fn len(&self) -> usize {
        self.map.len()
    }
    /// True when empty.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Harness;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let mut c = ContextCache::new(10);
        let hot = Harness::oid("hot");
        c.put(ObjectContext::absent(hot.clone()));
        for i in 0..100 {
            assert!(c.get(&hot).is_some());
            c.put(ObjectContext::absent(Harness::oid(&i.to_string())));
            assert!(c.len() <= 10);
        }
        c.remove(&hot.at(types::SnapId(3)));
        assert!(c.take(&hot).is_none() && !c.is_empty());
        c.clear();
        assert!(c.is_empty());
    }
}
