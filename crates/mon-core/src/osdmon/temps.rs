//! Temporary mappings that say nothing (any more) are taken out of a map before it is proposed, as stock's `OSDMap::clean_temps` does. A
//! primary asks for a mapping to end only while it differs from `up`: one that has become what `up` says is nobody's to take back.

use std::sync::Arc;
use types::osdmap::{OsdMap, state};
use types::{OsdId, PgId};

/// Takes out the mappings of PGs that are gone, that name no OSD that is up, that say what would be without them, or that have more OSDs
/// than a pool whose size was lowered. `old` is the map that `next` follows.
pub(super) fn prune(old: &OsdMap, next: &mut OsdMap) {
    let up = |m: &OsdMap, o: OsdId| m.state_of(o) & state::UP != 0;
    let gone = |m: &OsdMap, pg: &PgId| m.pool(pg.pool).is_none_or(|p| pg.seed >= p.pg_num);
    // (`pg repeer` of an unreplicated PG names one OSD more than the pool has; this is not for it.)
    let shrunk = |m: &OsdMap, pg: &PgId| match (old.pool(pg.pool), m.pool(pg.pool)) {
        (Some(was), Some(is)) if is.size < was.size => usize::from(is.size),
        _ => usize::MAX,
    };
    let m = &*next;
    let mut dead = Vec::new();
    for (pg, osds) in m.pg_temp.iter() {
        let redundant = || m.pg_to_up_acting_osds(*pg).is_some_and(|p| p.up == *osds);
        if gone(m, pg) || !osds.iter().any(|o| up(m, *o)) || osds.len() > shrunk(m, pg) || redundant() {
            dead.push(*pg);
        }
    }
    if !dead.is_empty() {
        let t = Arc::make_mut(&mut next.pg_temp);
        dead.iter().for_each(|pg| drop(t.remove(pg)));
    }
    if next.primary_temp.is_empty() {
        return;
    }
    let without = OsdMap { primary_temp: Arc::default(), ..next.clone() };
    let dead: Vec<PgId> = next
        .primary_temp
        .iter()
        .filter(|(pg, o)| gone(next, pg) || !up(next, **o) || without.acting_primary(**pg) == Some(**o))
        .map(|(pg, _)| *pg)
        .collect();
    if !dead.is_empty() {
        let t = Arc::make_mut(&mut next.primary_temp);
        for pg in &dead {
            t.remove(pg);
        }
    }
}
