//! Upmaps that stay right, and upmaps that balance.
//!
//! [`prune`] drops, before a map is proposed, every upmap that no longer holds: its PG is gone, a target is out, gone or not under the
//! pool's CRUSH rule, or two members would share a failure domain (`OSDMap::check_pg_upmaps`). [`optimize`] is the balancer: from the
//! map alone it computes a few upmaps that bring the PGs of each OSD nearer to its share. It throws no dice: the same map
//! gives the same plan, on whichever monitor it runs.

use crush::{CrushMap, op};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::osdmap::OsdMap;
use types::{OsdId, PgId, PoolId};

/// What a rule asks: the OSDs that it can reach with their CRUSH weights, and the type that replicas may not share.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Weight by OSD, in the same unit as in CRUSH.
    pub weights: BTreeMap<OsdId, f64>,
    /// Number of the failure domain's type; 0 is the device itself.
    pub domain: i32,
}

/// The reach of a pool's rule; `None` when it has no rule.
pub fn reach(m: &OsdMap, pool: PoolId) -> Option<Reach> {
    let c = &*m.crush;
    let rule = c.rule(m.pool_rule(m.pool(pool)?)?)?;
    let mut out = Reach::default();
    for s in &rule.steps {
        match s.op {
            op::TAKE => {
                let below: BTreeSet<i32> = c.devices_under(s.arg1).into_iter().collect();
                for d in below {
                    let w = c.parents(d).filter_map(|p| c.bucket(p)).find_map(|b| {
                        let at = b.items.iter().position(|i| *i == d)?;
                        Some(b.item_weight(at))
                    });
                    out.weights.insert(OsdId(d), f64::from(w.unwrap_or(0)) / 65536.0);
                }
            }
            op::CHOOSE_FIRSTN | op::CHOOSE_INDEP | op::CHOOSELEAF_FIRSTN | op::CHOOSELEAF_INDEP => {
                out.domain = out.domain.max(s.arg2);
            }
            _ => {}
        }
    }
    Some(out)
}

/// The bucket of the failure domain's type above an OSD; the OSD itself where that is the domain.
fn domain_of(c: &CrushMap, osd: OsdId, kind: i32) -> i32 {
    let mut at = osd.0;
    // A decoded map has no loops; the bound is for one that is being edited.
    for _ in 0..64 {
        if c.item_type(at) == Some(kind) {
            return at;
        }
        match c.parents(at).find(|p| !c.is_shadow(*p)) {
            Some(p) => at = p,
            None => break,
        }
    }
    osd.0
}

fn holds(m: &OsdMap, reach: &Reach, osds: &[OsdId]) -> bool {
    let real: Vec<OsdId> = osds.iter().copied().filter(|o| *o != OsdId::NONE).collect();
    let fine = |o: &OsdId| m.exists(*o) && !m.is_out(*o) && reach.weights.get(o).is_some_and(|w| *w > 0.0);
    let domains: BTreeSet<i32> = real.iter().map(|o| domain_of(&m.crush, *o, reach.domain)).collect();
    real.iter().all(fine) && domains.len() == real.len()
}

/// Removes the upmaps of `m` that do not hold, and those that change nothing.
pub fn prune(m: &mut OsdMap) {
    let pgs: BTreeSet<PgId> = m.pg_upmap.keys().chain(m.pg_upmap_items.keys()).copied().collect();
    let mut reaches: BTreeMap<PoolId, Option<Reach>> = BTreeMap::new();
    for pg in pgs {
        let reach = reaches.entry(pg.pool).or_insert_with(|| reach(m, pg.pool)).clone();
        let ok = m.pg_exists(pg) && reach.is_some_and(|r| holds(m, &r, &m.pg_to_raw_upmap(pg)));
        if !ok {
            forget(m, pg);
            continue;
        }
        let raw = m.pg_to_raw_osds(pg);
        if m.pg_upmap.get(&pg) == Some(&raw) {
            Arc::make_mut(&mut m.pg_upmap).remove(&pg);
        }
        let base = m.pg_upmap.get(&pg).cloned().unwrap_or(raw);
        let Some(items) = m.pg_upmap_items.get(&pg) else { continue };
        let keep: Vec<(OsdId, OsdId)> =
            items.iter().filter(|(from, to)| base.contains(from) && !m.is_out(*to)).copied().collect();
        if keep.is_empty() {
            Arc::make_mut(&mut m.pg_upmap_items).remove(&pg);
        } else if keep.len() != items.len() {
            Arc::make_mut(&mut m.pg_upmap_items).insert(pg, keep);
        }
    }
}

fn forget(m: &mut OsdMap, pg: PgId) {
    if m.pg_upmap.contains_key(&pg) {
        Arc::make_mut(&mut m.pg_upmap).remove(&pg);
    }
    if m.pg_upmap_items.contains_key(&pg) {
        Arc::make_mut(&mut m.pg_upmap_items).remove(&pg);
    }
}

/// Limits of one optimization.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// PGs that an OSD may differ from its share before anything is done (`upmap_max_deviation`).
    pub deviation: f64,
    /// Changes of upmaps (`upmap_max_optimizations`).
    pub changes: usize,
}

/// The load of some pools' PGs on the OSDs that can have them.
struct Load {
    pgs: BTreeMap<OsdId, Vec<PgId>>,
    share: BTreeMap<OsdId, f64>,
}

impl Load {
    fn of(m: &OsdMap, pools: &[(PoolId, Reach)]) -> Load {
        let (mut pgs, mut weight): (BTreeMap<OsdId, Vec<PgId>>, BTreeMap<OsdId, f64>) = Default::default();
        let mut copies = 0.0;
        for (pool, reach) in pools {
            let Some(p) = m.pool(*pool) else { continue };
            for (o, w) in &reach.weights {
                let w = w * f64::from(m.weight_of(*o)) / 65536.0;
                if m.exists(*o) && w > 0.0 {
                    weight.insert(*o, w);
                    pgs.entry(*o).or_default();
                }
            }
            for seed in 0..p.pg_num {
                let pg = PgId { pool: *pool, seed };
                for o in m.pg_to_raw_upmap(pg) {
                    if let Some(list) = pgs.get_mut(&o) {
                        list.push(pg);
                        copies += 1.0;
                    }
                }
            }
        }
        let sum: f64 = weight.values().sum();
        let share =
            weight.iter().map(|(o, w)| (*o, if sum > 0.0 { copies * w / sum } else { 0.0 })).collect();
        Load { pgs, share }
    }
    /// A copy went from one OSD to another. (To place all PGs again would take long where there are many.)
    fn moved(&mut self, pg: PgId, from: OsdId, to: OsdId) {
        if let Some(list) = self.pgs.get_mut(&from) {
            list.retain(|p| *p != pg);
        }
        if let Some(list) = self.pgs.get_mut(&to) {
            list.insert(list.partition_point(|p| *p < pg), pg);
        }
    }
    fn deviation(&self, o: OsdId) -> f64 {
        self.pgs.get(&o).map_or(0.0, |l| l.len() as f64) - self.share.get(&o).copied().unwrap_or(0.0)
    }
    /// OSDs, the fullest first; equal ones by number.
    fn ranked(&self) -> Vec<(OsdId, f64)> {
        let mut v: Vec<(OsdId, f64)> = self.share.keys().map(|o| (*o, self.deviation(*o))).collect();
        v.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        v
    }
}

/// Computes a better map: up to `limits.changes` upmaps added or removed, each of which moves one copy of one PG from an OSD that has
/// more than its share to one that has less. Gives the number of changes made to `m`.
pub fn optimize(m: &mut OsdMap, pools: &[PoolId], limits: Limits) -> usize {
    let pools: Vec<(PoolId, Reach)> = pools.iter().filter_map(|p| Some((*p, reach(m, *p)?))).collect();
    let mut made = 0;
    let mut load = Load::of(m, &pools);
    while made < limits.changes {
        let ranked = load.ranked();
        let worst = ranked.iter().map(|(_, d)| d.abs()).fold(0.0, f64::max);
        if worst <= limits.deviation {
            break;
        }
        let Some((pg, from, to)) = step(m, &pools, &load, &ranked) else { break };
        load.moved(pg, from, to);
        made += 1;
    }
    made
}

/// One move of a PG from one OSD to another, or none when nothing helps.
fn step(
    m: &mut OsdMap,
    pools: &[(PoolId, Reach)],
    load: &Load,
    ranked: &[(OsdId, f64)],
) -> Option<(PgId, OsdId, OsdId)> {
    for (from, over) in ranked.iter().filter(|(_, d)| *d > 0.0) {
        // An upmap that brought a PG here is taken back first: fewer exceptions are better.
        for pg in load.pgs.get(from).into_iter().flatten() {
            let Some(items) = m.pg_upmap_items.get(pg) else { continue };
            let Some((back, _)) = items.iter().find(|(_, to)| to == from).copied() else { continue };
            if over - load.deviation(back) >= 2.0 && apply(m, pools, *pg, *from, back) {
                return Some((*pg, *from, back));
            }
        }
        for (to, under) in ranked.iter().rev().take_while(|(_, d)| *d < 0.0) {
            // Less than two apart would only swap the two.
            if over - under < 2.0 {
                break;
            }
            for pg in load.pgs.get(from).into_iter().flatten() {
                if apply(m, pools, *pg, *from, *to) {
                    return Some((*pg, *from, *to));
                }
            }
        }
    }
    None
}

/// Moves a PG's copy from one OSD to another by changing its upmap items, if the rule allows the result.
fn apply(m: &mut OsdMap, pools: &[(PoolId, Reach)], pg: PgId, from: OsdId, to: OsdId) -> bool {
    let Some((_, reach)) = pools.iter().find(|(p, _)| *p == pg.pool) else { return false };
    let mut osds = m.pg_to_raw_upmap(pg);
    let Some(at) = osds.iter().position(|o| *o == from) else { return false };
    if osds.contains(&to) || m.pg_upmap.contains_key(&pg) {
        return false;
    }
    osds[at] = to;
    if !holds(m, reach, &osds) {
        return false;
    }
    let mut items = m.pg_upmap_items.get(&pg).cloned().unwrap_or_default();
    match items.iter().position(|(_, t)| *t == from) {
        Some(i) if items[i].0 == to => drop(items.remove(i)),
        Some(i) => items[i].1 = to,
        None => items.push((from, to)),
    }
    let before = m.pg_upmap_items.get(&pg).cloned();
    let all = Arc::make_mut(&mut m.pg_upmap_items);
    if items.is_empty() {
        all.remove(&pg);
    } else {
        all.insert(pg, items);
    }
    if m.pg_to_raw_upmap(pg) == osds {
        return true;
    }
    // Items that meet in one PG may not give what was meant.
    let all = Arc::make_mut(&mut m.pg_upmap_items);
    match before {
        Some(b) => drop(all.insert(pg, b)),
        None => drop(all.remove(&pg)),
    }
    false
}

/// How uneven the PGs of some pools are: the standard deviation of PGs over share, weighted, and the number of PG copies.
pub fn score(m: &OsdMap, pools: &[PoolId]) -> (f64, usize) {
    let pools: Vec<(PoolId, Reach)> = pools.iter().filter_map(|p| Some((*p, reach(m, *p)?))).collect();
    let load = Load::of(m, &pools);
    let n = load.share.len().max(1) as f64;
    let copies: usize = load.pgs.values().map(Vec::len).sum();
    let avg = copies as f64 / n;
    if copies == 0 {
        return (0.0, 0);
    }
    let var = load.share.keys().map(|o| (load.deviation(*o) / avg).powi(2)).sum::<f64>() / n;
    (var.sqrt(), copies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::osdmap::WEIGHT_IN;

    fn map(hosts: i32, per_host: i32, pg_num: u32, domain: &str) -> OsdMap {
        let mut c = CrushMap::new_default(1);
        for i in 0..hosts * per_host {
            let loc = [
                ("host".to_owned(), format!("h{}", i / per_host)),
                ("root".to_owned(), "default".to_owned()),
            ];
            c.create_or_move(i, 65536, &format!("osd.{i}"), &loc.into()).expect("a place");
        }
        let rule = c.add_simple_rule("r", "default", domain, None, crush::RuleMode::Firstn).expect("a rule");
        let mut m = OsdMap { crush: Arc::new(c), ..OsdMap::default() };
        m.set_max_osd(hosts * per_host);
        for i in 0..(hosts * per_host) as usize {
            Arc::make_mut(&mut m.osd_state)[i] = types::osdmap::state::EXISTS | types::osdmap::state::UP;
            Arc::make_mut(&mut m.osd_weight)[i] = WEIGHT_IN;
        }
        let pool = types::pool::PgPool {
            kind: types::pool::PoolType::Replicated,
            size: 3,
            min_size: 2,
            crush_rule: rule as u8,
            pg_num,
            pgp_num: pg_num,
            ..Default::default()
        };
        Arc::make_mut(&mut m.pools).insert(PoolId(1), Arc::new(pool));
        m
    }
    const LIMITS: Limits = Limits { deviation: 1.0, changes: 1000 };

    #[test]
    fn balancing_brings_every_osd_within_the_deviation_and_keeps_hosts_apart() {
        let mut m = map(6, 3, 256, "host");
        let before = score(&m, &[PoolId(1)]).0;
        let n = optimize(&mut m, &[PoolId(1)], LIMITS);
        let after = score(&m, &[PoolId(1)]).0;
        assert!(n > 0 && after < before / 2.0, "{n} changes: {before} to {after}");
        let reach = reach(&m, PoolId(1)).expect("a rule");
        for seed in 0..256 {
            let osds = m.pg_to_raw_upmap(PgId { pool: PoolId(1), seed });
            assert!(osds.len() == 3 && holds(&m, &reach, &osds), "{seed}: {osds:?}");
        }
        let load = Load::of(&m, &[(PoolId(1), reach)]);
        assert!(load.ranked().iter().all(|(_, d)| d.abs() < 2.0), "{:?}", load.ranked());
        assert_eq!(optimize(&mut m, &[PoolId(1)], LIMITS), 0, "what is balanced stays");
    }

    #[test]
    fn the_same_map_gives_the_same_plan() {
        let (mut a, mut b) = (map(4, 3, 128, "host"), map(4, 3, 128, "host"));
        optimize(&mut a, &[PoolId(1)], LIMITS);
        optimize(&mut b, &[PoolId(1)], LIMITS);
        assert_eq!(a.pg_upmap_items, b.pg_upmap_items);
    }

    #[test]
    fn upmaps_that_no_longer_hold_are_dropped() {
        let mut m = map(4, 3, 64, "host");
        optimize(&mut m, &[PoolId(1)], LIMITS);
        assert!(!m.pg_upmap_items.is_empty());
        let kept = m.pg_upmap_items.clone();
        prune(&mut m);
        assert_eq!(m.pg_upmap_items, kept, "good ones stay");
        let to = kept.values().next().expect("one")[0].1;
        Arc::make_mut(&mut m.osd_weight)[to.0 as usize] = 0;
        prune(&mut m);
        assert!(
            m.pg_upmap_items.values().flatten().all(|(_, t)| *t != to),
            "none leads to an OSD that is out"
        );
        // Two replicas on one host.
        let pg = PgId { pool: PoolId(1), seed: 1 };
        let up = m.pg_to_raw_osds(pg);
        let sibling = OsdId(up[0].0 / 3 * 3 + (up[0].0 + 1) % 3);
        Arc::make_mut(&mut m.pg_upmap_items).insert(pg, vec![(up[1], sibling)]);
        Arc::make_mut(&mut m.pg_upmap).insert(PgId { pool: PoolId(9), seed: 0 }, vec![OsdId(0)]);
        prune(&mut m);
        assert!(!m.pg_upmap_items.contains_key(&pg) && m.pg_upmap.is_empty());
    }
}
