//! [`World`]: what all simulated OSDs know together: the newest map, the PGs and how far each of them is, and when each epoch
//! had reached everybody.
//!
//! A PG's life is cut to what monitors and manager see: told to be created, a new interval with every change of its place, active
//! and clean once its primary's `up_thru` shows that interval. No data moves, so nothing is ever degraded for long.

use crate::place::{self, Placed, Placer};
use messages::MOsdMap;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;
use types::osdmap::{OsdMap, OsdMapIncremental, UpActing};
use types::{Epoch, OsdId, PgId, PoolId, Utime};

/// One PG.
#[derive(Default)]
pub struct Pg {
    /// Where.
    pub at: UpActing,
    /// First epoch of the interval.
    pub since: Epoch,
    /// Someone was told to create it, in this epoch.
    pub created: Option<Epoch>,
    /// The monitors were told that it is there.
    pub announced: bool,
    /// Active in this interval.
    pub active: bool,
    /// Reports so far.
    pub seq: u64,
    /// When its state changed last.
    pub changed: Utime,
}

/// What one OSD has to do with PGs.
#[derive(Clone, Default)]
pub struct Share {
    /// PGs that it leads.
    pub leads: Vec<PgId>,
    /// PGs that it holds.
    pub holds: u32,
    /// Pools of these.
    pub pools: BTreeSet<PoolId>,
}

/// Counters of the whole crowd.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    /// `osd_map` messages that came.
    pub map_messages: u64,
    /// Bytes in them.
    pub map_bytes: u64,
    /// Full maps in them.
    pub full_maps: u64,
    /// `pg_stats` sent.
    pub reports: u64,
    /// PGs in them.
    pub pgs_reported: u64,
    /// Sessions with monitors that broke.
    pub mon_breaks: u64,
    /// The same with the manager.
    pub mgr_breaks: u64,
    /// Maps that did not follow or did not decode.
    pub bad_maps: u64,
}

/// See the module's documentation.
pub struct World {
    /// The newest map that any of them has.
    pub map: RefCell<Rc<OsdMap>>,
    /// The PGs.
    pub pgs: RefCell<BTreeMap<PgId, Pg>>,
    /// By OSD.
    pub shares: RefCell<Vec<Share>>,
    /// Counters.
    pub counters: Cell<Counters>,
    /// OSDs that the map has as up and that know it.
    pub active: Cell<usize>,
    number: usize,
    /// How many OSDs have at least the epoch.
    have: RefCell<BTreeMap<u32, usize>>,
    /// When the first and the last OSD got to the epoch.
    reached: RefCell<BTreeMap<u32, (Instant, Option<Instant>)>>,
    /// Since when the placement is out of date.
    moved: Cell<Option<Instant>>,
    placed: RefCell<Option<Rc<OsdMap>>>,
    placer: Placer,
}

impl World {
    /// Of `number` OSDs.
    pub fn new(number: usize, placer: Placer) -> World {
        World {
            map: RefCell::default(),
            pgs: RefCell::default(),
            shares: RefCell::new(vec![Share::default(); number]),
            counters: Cell::default(),
            active: Cell::new(0),
            number,
            have: RefCell::default(),
            reached: RefCell::default(),
            moved: Cell::new(None),
            placed: RefCell::new(None),
            placer,
        }
    }

    /// Changes the counters.
    pub fn count(&self, f: impl FnOnce(&mut Counters)) {
        let mut c = self.counters.get();
        f(&mut c);
        self.counters.set(c);
    }

    /// Newest epoch.
    pub fn epoch(&self) -> u32 {
        self.map.borrow().epoch.0
    }

    /// When an epoch had reached everybody.
    pub fn reached(&self, epoch: u32) -> Option<Instant> {
        self.reached.borrow().get(&epoch)?.1
    }

    /// Takes in what is new in a message. Answers the newest epoch in it that follows `from`, if any.
    pub fn take(&self, m: &MOsdMap, from: u32) -> Option<u32> {
        let end = |from: u32| {
            let full = m.maps.keys().next_back().map(|e| e.0).filter(|e| *e > from);
            let mut at = full.unwrap_or(from);
            while m.incremental_maps.contains_key(&Epoch(at + 1)) {
                at += 1;
            }
            at
        };
        let known = self.epoch();
        if end(known) > known {
            let mut map = OsdMap::clone(&self.map.borrow());
            for e in known + 1..=end(known) {
                let full = m.maps.get(&Epoch(e)).and_then(|b| denc::from_bytes::<OsdMap>(b).ok());
                let inc = || {
                    let inc: OsdMapIncremental = denc::from_bytes(m.incremental_maps.get(&Epoch(e))?).ok()?;
                    if inc.fullmap.is_empty() {
                        map.with_incremental(&inc).ok()
                    } else {
                        denc::from_bytes(&inc.fullmap).ok()
                    }
                };
                match full.or_else(inc) {
                    Some(next) => map = next,
                    // (In front of a full map.)
                    None if m.maps.keys().any(|k| k.0 > e) => {}
                    None => {
                        self.count(|c| c.bad_maps += 1);
                        break;
                    }
                }
            }
            let map = Rc::new(map);
            let stale = self.placed.borrow().as_ref().is_none_or(|p| place::may_differ(p, &map));
            if stale && self.moved.get().is_none() {
                self.moved.set(Some(Instant::now()));
            }
            *self.map.borrow_mut() = map;
        }
        let at = end(from);
        (at > from).then_some(at)
    }

    /// An OSD went from one epoch to another.
    pub fn advanced(&self, from: u32, to: u32) {
        let now = Instant::now();
        let (mut have, mut reached) = (self.have.borrow_mut(), self.reached.borrow_mut());
        for e in from + 1..=to {
            let n = have.entry(e).or_default();
            *n += 1;
            let at = reached.entry(e).or_insert((now, None));
            if *n == self.number {
                at.1 = Some(now);
                have.remove(&e);
            }
        }
    }

    /// Works out where PGs are once the newest map is everywhere, or a second after it came.
    pub fn tick(&self) {
        let Some(since) = self.moved.get() else { return };
        if self.reached(self.epoch()).is_some() || since.elapsed().as_secs() >= 1 {
            self.moved.set(None);
            let map = self.map.borrow().clone();
            self.placer.place(OsdMap::clone(&map));
            *self.placed.borrow_mut() = Some(map);
        }
    }

    /// The placement of a map is there.
    pub fn placed(&self, p: Placed, now: Utime) {
        let mut pgs = self.pgs.borrow_mut();
        let mut shares = vec![Share::default(); self.number];
        let mut old = std::mem::take(&mut *pgs);
        for (id, at) in p.pgs {
            let mut pg = old.remove(&id).unwrap_or_default();
            if pg.at != at || pg.since == Epoch(0) {
                pg.since = p.epoch;
                pg.active = false;
                pg.changed = now;
                pg.at = at;
            }
            for o in &pg.at.acting {
                if let Some(s) = shares.get_mut(o.0 as usize) {
                    s.holds += 1;
                    s.pools.insert(id.pool);
                }
            }
            if let Some(s) = pg.at.acting_primary.and_then(|o| shares.get_mut(o.0 as usize)) {
                s.leads.push(id);
            }
            pgs.insert(id, pg);
        }
        // Those of pools that this map does not know yet: someone was told to create them already.
        let map = self.map.borrow();
        pgs.extend(old.into_iter().filter(|(id, _)| map.pool(id.pool).is_some()));
        *self.shares.borrow_mut() = shares;
    }

    /// An OSD was told to create a PG; answers false when the PG is there already.
    pub fn create(&self, pg: PgId, epoch: Epoch) -> bool {
        let mut pgs = self.pgs.borrow_mut();
        let pg = pgs.entry(pg).or_default();
        let new = pg.created.is_none();
        pg.created.get_or_insert(epoch);
        new
    }

    /// What `osd` lacks to serve its PGs: the `up_thru` that it needs. PGs that lack nothing become active; those of them that
    /// the monitors were not told of are answered.
    pub fn activate(&self, osd: OsdId, now: Utime) -> (Option<Epoch>, Vec<PgId>) {
        let map = self.map.borrow();
        let up_thru = map.info(osd).map_or(Epoch(0), |i| i.up_thru);
        let shares = self.shares.borrow();
        let mut pgs = self.pgs.borrow_mut();
        let (mut wanted, mut news) = (None, Vec::new());
        for id in shares.get(osd.0 as usize).into_iter().flat_map(|s| &s.leads) {
            let Some(pg) = pgs.get_mut(id).filter(|p| p.created.is_some() && !p.active) else { continue };
            if up_thru < pg.since {
                wanted = wanted.max(Some(pg.since));
                continue;
            }
            pg.active = true;
            pg.changed = now;
            if !std::mem::replace(&mut pg.announced, true) {
                news.push(*id);
            }
        }
        (wanted, news)
    }
}
