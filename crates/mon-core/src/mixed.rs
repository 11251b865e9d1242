//! Pools that loligo's OSDs would share with stock's: the two kinds do not replicate to each other, so PGs that CRUSH puts on both never serve.
//! Whoever makes such a rule, or forgets the CRUSH location of a new OSD, learns it from `health` (`POOL_MIXED_OSDS`, not one of stock's codes).

use crate::core::MonCore;
use crate::osdmon::upmaps::reach;
use std::collections::BTreeMap;
use types::OsdId;

/// What loligo's OSDs say of their store in their metadata (`osd_objectstore`).
const OURS: &str = "loligo";

impl MonCore {
    /// One line for each pool whose rule reaches OSDs of both kinds that are in.
    pub(crate) fn mixed_pools(&self) -> Vec<String> {
        let m = &self.osd.map;
        let kind = |osd: OsdId| self.osd.meta(osd, "osd_objectstore").map(|s| s == OURS);
        let kinds: BTreeMap<OsdId, bool> =
            m.osds().filter(|o| m.is_in(*o)).filter_map(|o| Some((o, kind(o)?))).collect();
        if kinds.values().all(|ours| *ours) || kinds.values().all(|ours| !*ours) {
            return Vec::new();
        }
        // Many pools have the same rule.
        let mut by_rule: BTreeMap<i32, Option<(OsdId, OsdId)>> = BTreeMap::new();
        let mut lines = Vec::new();
        for (id, pool) in m.pools.iter() {
            let Some(rule) = m.pool_rule(pool) else { continue };
            let both = by_rule.entry(rule).or_insert_with(|| {
                let reached = reach(m, *id)?;
                let first = |ours: bool| {
                    reached
                        .weights
                        .iter()
                        .find(|(o, w)| **w > 0.0 && kinds.get(*o) == Some(&ours))
                        .map(|(o, _)| *o)
                };
                Some((first(true)?, first(false)?))
            });
            if let Some((ours, other)) = both {
                lines.push(format!(
                    "pool '{}' may have PGs on loligo's osd.{} and on stock's osd.{}, which do not serve: give it a rule for one kind",
                    m.pool_name(*id).unwrap_or_default(),
                    ours.0,
                    other.0,
                ));
            }
        }
        lines
    }
}
