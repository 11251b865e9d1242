//! [`OsdSuperblock`] (`OSDSuperblock` 10/5): what an OSD says about itself in `osd_boot`.

use crate::compatset::{CompatSet, FeatureSet};
use crate::{Epoch, Fsid, OsdId, PoolId, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// An OSD's identity and the maps it has.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OsdSuperblock {
    /// Cluster.
    pub cluster_fsid: Fsid,
    /// Its number.
    pub whoami: OsdId,
    /// Map that it runs with.
    pub current_epoch: Epoch,
    /// Oldest map that it stores.
    pub oldest_map: Epoch,
    /// Newest map that it stores.
    pub newest_map: Epoch,
    /// Weight; unused.
    pub weight: f64,
    /// On-disk features.
    pub compat_features: CompatSet,
    /// Epoch in which it was last mounted.
    pub mounted: Epoch,
    /// Its own id.
    pub osd_fsid: Fsid,
    /// Epoch up to which its PGs were clean when it was last mounted.
    pub clean_thru: Epoch,
    /// Last map that was marked full.
    pub last_map_marked_full: Epoch,
    /// The same by pool.
    pub pool_last_map_marked_full: BTreeMap<PoolId, Epoch>,
    /// Purged snapshots are recorded up to here.
    pub purged_snaps_last: Epoch,
    /// When purged snapshots were last scrubbed.
    pub last_purged_snaps_scrub: Utime,
    /// Oldest map that the cluster has, as far as it knows.
    pub cluster_osdmap_trim_lower_bound: Epoch,
}
impl OsdSuperblock {
    /// The on-disk features that a new OSD of 16.2 has; monitors look at some of them.
    pub fn pacific_features() -> CompatSet {
        CompatSet {
            incompat: FeatureSet::new(&[
                (1, "initial feature set(~v.18)"),
                (2, "pginfo object"),
                (3, "object locator"),
                (4, "last_epoch_clean"),
                (5, "categories"),
                (6, "hobjectpool"),
                (7, "biginfo"),
                (8, "leveldbinfo"),
                (9, "leveldblog"),
                (10, "snapmapper"),
                (11, "sharded objects"),
                (12, "transaction hints"),
                (13, "pg meta object"),
                (14, "explicit missing set"),
                (15, "fastinfo pg attr"),
                (16, "deletes in missing set"),
                (17, "new snapmapper key structure"),
            ]),
            ..CompatSet::default()
        }
    }
}
impl Encode for OsdSuperblock {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(10, 5, |e| {
            e.put(&self.cluster_fsid);
            e.put(&self.whoami);
            e.put(&self.current_epoch);
            e.put(&self.oldest_map);
            e.put(&self.newest_map);
            e.put(&self.weight);
            e.put(&self.compat_features);
            e.put(&self.clean_thru);
            e.put(&self.mounted);
            e.put(&self.osd_fsid);
            e.put(&self.last_map_marked_full);
            e.put(&self.pool_last_map_marked_full);
            e.put(&self.purged_snaps_last);
            e.put(&self.last_purged_snaps_scrub);
            e.put(&self.cluster_osdmap_trim_lower_bound);
        });
    }
}
impl Decode for OsdSuperblock {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("OSDSuperblock", 10)?;
        if v < 5 {
            return Err(DencError::TooOld { what: "OSDSuperblock", version: v, oldest: 5 });
        }
        let mut s = OsdSuperblock {
            cluster_fsid: d.get()?,
            whoami: d.get()?,
            current_epoch: d.get()?,
            oldest_map: d.get()?,
            newest_map: d.get()?,
            weight: d.get()?,
            compat_features: d.get()?,
            clean_thru: d.get()?,
            mounted: d.get()?,
            osd_fsid: d.get()?,
            ..OsdSuperblock::default()
        };
        if v >= 6 {
            s.last_map_marked_full = d.get()?;
        }
        if v >= 7 {
            s.pool_last_map_marked_full = d.get()?;
        }
        if v >= 9 {
            s.purged_snaps_last = d.get()?;
            s.last_purged_snaps_scrub = d.get()?;
        }
        if v >= 10 {
            s.cluster_osdmap_trim_lower_bound = d.get()?;
        }
        Ok(s)
    }
}
