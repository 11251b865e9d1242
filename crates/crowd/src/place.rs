//! Where all PGs of a map are, worked out on a thread of its own: a real cluster does that on a thousand machines.

use std::sync::Arc;
use std::sync::mpsc;
use tokio::sync::mpsc as async_mpsc;
use types::osdmap::{OsdMap, UpActing};
use types::{Epoch, PgId};

/// Every PG of the map of `epoch`.
pub struct Placed {
    /// Of which map.
    pub epoch: Epoch,
    /// Its PGs.
    pub pgs: Vec<(PgId, UpActing)>,
}

/// The thread. It ends when this is dropped.
pub struct Placer(mpsc::Sender<OsdMap>);

impl Placer {
    /// Starts it; answers arrive at the receiver.
    pub fn start() -> (Placer, async_mpsc::UnboundedReceiver<Placed>) {
        let (to, from) = mpsc::channel::<OsdMap>();
        let (answer, answers) = async_mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while let Ok(mut map) = from.recv() {
                // Only the newest matters.
                while let Ok(newer) = from.try_recv() {
                    map = newer;
                }
                let ids = map.pools.iter().flat_map(|(pool, p)| {
                    let pool = *pool;
                    (0..p.pg_num).map(move |seed| PgId { pool, seed })
                });
                let pgs = ids.filter_map(|pg| Some((pg, map.pg_to_up_acting_osds(pg)?))).collect();
                if answer.send(Placed { epoch: map.epoch, pgs }).is_err() {
                    return;
                }
            }
        });
        (Placer(to), answers)
    }
    /// Asks for a map's placement.
    pub fn place(&self, map: OsdMap) {
        // It lives as long as we do.
        let _ = self.0.send(map);
    }
}

/// True when the two may place PGs differently.
pub fn may_differ(a: &OsdMap, b: &OsdMap) -> bool {
    const BITS: u32 = types::osdmap::state::EXISTS | types::osdmap::state::UP;
    let states = |m: &OsdMap| m.osd_state.iter().map(|s| s & BITS).collect::<Vec<_>>();
    !Arc::ptr_eq(&a.crush, &b.crush)
        || !Arc::ptr_eq(&a.pools, &b.pools)
        || !Arc::ptr_eq(&a.pg_temp, &b.pg_temp)
        || a.osd_weight != b.osd_weight
        || a.pg_upmap != b.pg_upmap
        || a.pg_upmap_items != b.pg_upmap_items
        || (!Arc::ptr_eq(&a.osd_state, &b.osd_state) && states(a) != states(b))
}
