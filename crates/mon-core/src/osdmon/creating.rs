//! [`Creating`]: a PG that its pool ordered and that no OSD has reported yet.
//!
//! The monitor follows such a PG through the maps, as an OSD does with a PG that it has: whoever is told to create it is told
//! what may have happened to it since it was ordered. An earlier primary may have created it, and acknowledged writes,
//! without the monitor having heard.

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use types::osdmap::{OsdMap, UpActing};
use types::past_intervals::PastIntervals;
use types::pgstat::PgHistory;
use types::{Epoch, OsdId, PgId, Utime};

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Creating {
    /// Epoch of creation.
    pub epoch: Epoch,
    /// Time of creation.
    pub stamp: Utime,
    /// Where it has been since `same_interval_since`.
    up: Vec<OsdId>,
    up_primary: Option<OsdId>,
    acting: Vec<OsdId>,
    /// Who is to create it.
    pub acting_primary: Option<OsdId>,
    /// First epoch of the interval that the newest map belongs to.
    pub same_interval_since: Epoch,
    same_up_since: Epoch,
    same_primary_since: Epoch,
    /// The intervals before.
    pub past: PastIntervals,
}

impl Creating {
    /// A PG of a pool that is new in `map`.
    pub fn new(pg: PgId, map: &OsdMap, stamp: Utime) -> Creating {
        let epoch = map.epoch;
        let mut c = Creating {
            epoch,
            stamp,
            same_interval_since: epoch,
            same_up_since: epoch,
            same_primary_since: epoch,
            ..Creating::default()
        };
        c.place(map.pg_to_up_acting_osds(pg).unwrap_or_default());
        c
    }

    fn place(&mut self, p: UpActing) {
        (self.up, self.up_primary) = (p.up, p.up_primary);
        (self.acting, self.acting_primary) = (p.acting, p.acting_primary);
    }

    /// Follows the PG from `old` to `new`, the next map; true when that begins a new interval.
    pub fn follow(&mut self, pg: PgId, old: &OsdMap, new: &OsdMap) -> bool {
        let (Some(was), Some(is)) = (old.pool(pg.pool), new.pool(pg.pool)) else { return false };
        let now = new.pg_to_up_acting_osds(pg).unwrap_or_default();
        let moved = now.up != self.up
            || now.up_primary != self.up_primary
            || now.acting != self.acting
            || now.acting_primary != self.acting_primary;
        if !moved && was.size == is.size && was.min_size == is.min_size {
            return false;
        }
        let first = self.same_interval_since;
        // Without its up_thru in the map, a primary does not activate.
        let went_rw = self.acting.len() >= was.min_size as usize
            && self
                .acting_primary
                .and_then(|o| old.info(o))
                .is_some_and(|i| i.up_thru >= first && i.up_from <= first);
        self.past.add(first, old.epoch, &self.acting, went_rw);
        self.same_interval_since = new.epoch;
        if now.up != self.up {
            self.same_up_since = new.epoch;
        }
        if now.acting_primary != self.acting_primary {
            self.same_primary_since = new.epoch;
        }
        self.place(now);
        true
    }

    /// What the OSD that creates it is told.
    pub fn history(&self) -> PgHistory {
        PgHistory {
            epoch_created: self.epoch,
            epoch_pool_created: self.epoch,
            same_interval_since: self.same_interval_since,
            same_up_since: self.same_up_since,
            same_primary_since: self.same_primary_since,
            last_scrub_stamp: self.stamp,
            last_deep_scrub_stamp: self.stamp,
            last_clean_scrub_stamp: self.stamp,
            ..PgHistory::default()
        }
    }
}

impl Encode for Creating {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.epoch);
            e.put(&self.stamp);
            e.put(&self.up);
            e.put(&self.up_primary);
            e.put(&self.acting);
            e.put(&self.acting_primary);
            e.put(&self.same_interval_since);
            e.put(&self.same_up_since);
            e.put(&self.same_primary_since);
            e.put(&self.past);
        });
    }
}
impl Decode for Creating {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("creating pg", 1)?;
        Ok(Creating {
            epoch: d.get()?,
            stamp: d.get()?,
            up: d.get()?,
            up_primary: d.get()?,
            acting: d.get()?,
            acting_primary: d.get()?,
            same_interval_since: d.get()?,
            same_up_since: d.get()?,
            same_primary_since: d.get()?,
            past: d.get()?,
        })
    }
}
