//! From object to PG to OSDs: CRUSH, then the exceptions (upmaps, temporary sets, affinities, OSDs that are down).

use super::*;
use crate::ObjectLocator;
use crate::features;
use crush::hash::hash32_2;

/// Where a PG's data should be (`up`) and is (`acting`). Holes of erasure coded PGs are [`OsdId::NONE`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpActing {
    /// OSDs that CRUSH and upmaps say, without those that are down.
    pub up: Vec<OsdId>,
    /// The first of `up`, or by primary affinity another one.
    pub up_primary: Option<OsdId>,
    /// OSDs that serve now: `up`, unless `pg_temp` says otherwise.
    pub acting: Vec<OsdId>,
    /// The OSD that clients talk to.
    pub acting_primary: Option<OsdId>,
}

fn first_osd(osds: &[OsdId]) -> Option<OsdId> {
    osds.iter().find(|o| **o != OsdId::NONE).copied()
}

impl OsdMap {
    /// The raw PG of an object: its seed is the whole hash. `None` if the pool does not exist.
    pub fn object_to_raw_pg(&self, loc: &ObjectLocator, name: &[u8]) -> Option<PgId> {
        let pool = self.pool(loc.pool)?;
        let seed = if loc.hash >= 0 {
            loc.hash as u32
        } else if !loc.key.is_empty() {
            pool.hash_key(&loc.key, &loc.nspace)
        } else {
            pool.hash_key(name, &loc.nspace)
        };
        Some(PgId { pool: loc.pool, seed })
    }

    /// The PG of an object.
    pub fn object_to_pg(&self, loc: &ObjectLocator, name: &[u8]) -> Option<PgId> {
        self.object_to_raw_pg(loc, name).and_then(|raw| self.raw_pg_to_pg(raw))
    }

    /// The PG that a raw PG is in. `None` if the pool does not exist.
    pub fn raw_pg_to_pg(&self, raw: PgId) -> Option<PgId> {
        Some(self.pool(raw.pool)?.raw_pg_to_pg(raw))
    }

    /// True when the PG exists: its pool does and has that many.
    pub fn pg_exists(&self, pg: PgId) -> bool {
        self.pool(pg.pool).is_some_and(|p| pg.seed < p.pg_num)
    }

    /// The CRUSH rule that places a pool: the first for its ruleset, type and size (`CrushWrapper::find_rule`).
    pub fn pool_rule(&self, pool: &PgPool) -> Option<i32> {
        let fits = |r: &crush::Rule| {
            r.ruleset == pool.crush_rule
                && r.kind == pool.kind as u8
                && (r.min_size..=r.max_size).contains(&pool.size)
        };
        // Since luminous a rule's number is its ruleset, so the first try nearly always hits.
        let at = i32::from(pool.crush_rule);
        match self.crush.rule(at) {
            Some(r) if fits(r) && !self.crush.rules[..at as usize].iter().flatten().any(fits) => Some(at),
            _ => self.crush.rules.iter().position(|r| r.as_ref().is_some_and(fits)).map(|i| i as i32),
        }
    }

    fn raw_osds(&self, pool: &PgPool, pg: PgId) -> (Vec<OsdId>, u32) {
        let seed = pool.raw_pg_to_pps(pg);
        let Some(rule) = self.pool_rule(pool) else { return (Vec::new(), seed) };
        let args = self.crush.choose_args_for(pg.pool.0);
        let mut items = Vec::with_capacity(pool.size.into());
        self.crush.do_rule_into(rule, seed as i32, pool.size.into(), &self.osd_weight, args, &mut items);
        let mut osds: Vec<OsdId> = items.into_iter().map(OsdId).collect();
        self.keep_if(pool, &mut osds, |o| self.exists(o));
        (osds, seed)
    }

    /// Drops the OSDs that do not pass, or leaves holes where positions count.
    fn keep_if(&self, pool: &PgPool, osds: &mut Vec<OsdId>, keep: impl Fn(OsdId) -> bool) {
        if pool.can_shift_osds() {
            osds.retain(|o| keep(*o));
        } else {
            osds.iter_mut().filter(|o| !keep(**o)).for_each(|o| *o = OsdId::NONE);
        }
    }

    /// What CRUSH says for a PG, without any exception. Empty if the pool does not exist.
    pub fn pg_to_raw_osds(&self, pg: PgId) -> Vec<OsdId> {
        self.pool(pg.pool).map(|p| self.raw_osds(p, pg).0).unwrap_or_default()
    }

    /// [`OsdMap::pg_to_raw_osds`] with upmaps applied (`pg_to_raw_upmap`).
    pub fn pg_to_raw_upmap(&self, pg: PgId) -> Vec<OsdId> {
        let Some(pool) = self.pool(pg.pool) else { return Vec::new() };
        let (mut osds, _) = self.raw_osds(pool, pg);
        self.apply_upmap(pool, pg, &mut osds);
        osds
    }

    /// True for an OSD that the map has a slot for and that is out: no target for an upmap.
    fn is_marked_out(&self, osd: OsdId) -> bool {
        self.index(osd).is_some_and(|i| self.osd_weight[i] == WEIGHT_OUT)
    }

    fn apply_upmap(&self, pool: &PgPool, raw_pg: PgId, raw: &mut Vec<OsdId>) {
        if self.pg_upmap.is_empty() && self.pg_upmap_items.is_empty() {
            return;
        }
        let pg = pool.raw_pg_to_pg(raw_pg);
        if let Some(to) = self.pg_upmap.get(&pg) {
            if to.iter().any(|o| self.is_marked_out(*o)) {
                return;
            }
            raw.clone_from(to);
        }
        for (from, to) in self.pg_upmap_items.get(&pg).into_iter().flatten() {
            if raw.contains(to) || self.is_marked_out(*to) {
                continue;
            }
            if let Some(at) = raw.iter().position(|o| o == from) {
                raw[at] = *to;
            }
        }
    }

    fn apply_primary_affinity(&self, seed: u32, pool: &PgPool, up: &mut [OsdId]) -> Option<OsdId> {
        let first = first_osd(up);
        let Some(affinity) = &self.osd_primary_affinity else { return first };
        let of = |o: OsdId| affinity.get(o.0 as usize).copied().unwrap_or(AFFINITY_MAX);
        let real = |o: &OsdId| *o != OsdId::NONE;
        if up.iter().filter(|o| real(o)).all(|o| of(*o) == AFFINITY_MAX) {
            return first;
        }
        let wants = |o: OsdId| of(o) >= AFFINITY_MAX || hash32_2(seed, o.0 as u32) >> 16 < of(o);
        // Nobody wants to: the first one has to.
        let at = up.iter().position(|o| real(o) && wants(*o)).or_else(|| up.iter().position(real));
        let Some(at) = at else { return first };
        let primary = up[at];
        if pool.can_shift_osds() {
            up[..=at].rotate_right(1);
        }
        Some(primary)
    }

    fn temp_osds(&self, pool: &PgPool, pg: PgId) -> (Vec<OsdId>, Option<OsdId>) {
        if self.pg_temp.is_empty() && self.primary_temp.is_empty() {
            return (Vec::new(), None);
        }
        let pg = pool.raw_pg_to_pg(pg);
        let mut temp = self.pg_temp.get(&pg).cloned().unwrap_or_default();
        self.keep_if(pool, &mut temp, |o| self.is_up(o));
        let primary = self.primary_temp.get(&pg).copied().or_else(|| first_osd(&temp));
        (temp, primary)
    }

    /// Up and acting sets of a PG (a raw one will do). `None` if the pool does not exist.
    pub fn pg_to_up_acting_osds(&self, pg: PgId) -> Option<UpActing> {
        let pool = self.pool(pg.pool)?;
        let (mut acting, mut acting_primary) = self.temp_osds(pool, pg);
        let (mut up, seed) = self.raw_osds(pool, pg);
        self.apply_upmap(pool, pg, &mut up);
        self.keep_if(pool, &mut up, |o| self.is_up(o));
        let up_primary = self.apply_primary_affinity(seed, pool, &mut up);
        if acting.is_empty() {
            acting.clone_from(&up);
            acting_primary = acting_primary.or(up_primary);
        }
        Some(UpActing { up, up_primary, acting, acting_primary })
    }

    /// The PG's acting primary, if it has one.
    pub fn acting_primary(&self, pg: PgId) -> Option<OsdId> {
        self.pg_to_up_acting_osds(pg)?.acting_primary
    }

    /// Feature bits that a client must have to use this map right (`OSDMap::get_features` for clients, and what mon and
    /// OSD put in their required bits). MSG_ADDR2 and the like are the messenger's business and not in it.
    pub fn required_features(&self) -> u64 {
        let mut f = self.crush.required_features();
        if !self.pg_upmap.is_empty() || !self.pg_upmap_items.is_empty() {
            f |= features::SERVER_LUMINOUS;
        }
        for pool in self.pools.values() {
            if pool.has_flag(crate::pool::flag::HASHPSPOOL) {
                f |= features::OSDHASHPSPOOL;
            }
            if pool.has_tiers() || pool.is_tier() {
                f |= features::OSD_CACHEPOOL;
            }
            f |= self.pool_rule(pool).map_or(0, |r| self.crush.rule_features(r));
        }
        if self.osd_primary_affinity.iter().any(|a| a.iter().any(|a| *a != AFFINITY_MAX)) {
            f |= features::OSD_PRIMARY_AFFINITY;
        }
        f
    }
}
