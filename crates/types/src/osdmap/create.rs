//! The first map of a cluster, as `ceph-mon --mkfs` makes it.

use super::*;
use crush::CrushMap;

/// What a new cluster's map depends on.
#[derive(Clone, Copy, Debug)]
pub struct NewMap {
    /// The cluster.
    pub fsid: Fsid,
    /// Creation time.
    pub now: Utime,
    /// `osd_crush_chooseleaf_type`: 0 spreads replicas over OSDs, 1 (the default) over hosts.
    pub chooseleaf_type: i32,
    /// `mon_osd_nearfull_ratio`.
    pub nearfull_ratio: f32,
    /// `mon_osd_full_ratio`.
    pub full_ratio: f32,
    /// `mon_osd_backfillfull_ratio`.
    pub backfillfull_ratio: f32,
}

impl NewMap {
    /// With stock's default options.
    pub fn new(fsid: Fsid, now: Utime) -> Self {
        NewMap {
            fsid,
            now,
            chooseleaf_type: 1,
            nearfull_ratio: 0.85,
            full_ratio: 0.95,
            backfillfull_ratio: 0.90,
        }
    }

    /// The map at epoch 1: no OSDs, no pools, the default hierarchy and rule, the default erasure code profile.
    pub fn build(&self) -> OsdMap {
        let profile = [("k", "2"), ("m", "2"), ("plugin", "jerasure"), ("technique", "reed_sol_van")];
        let profile = profile.map(|(k, v)| (k.to_owned(), v.to_owned()));
        OsdMap {
            fsid: self.fsid,
            epoch: Epoch(1),
            created: self.now,
            modified: self.now,
            flags: flag::DEFAULT,
            crush: Arc::new(CrushMap::new_default(self.chooseleaf_type)),
            erasure_code_profiles: Arc::new([("default".to_owned(), profile.into())].into()),
            nearfull_ratio: self.nearfull_ratio,
            full_ratio: self.full_ratio,
            backfillfull_ratio: self.backfillfull_ratio,
            require_osd_release: release::PACIFIC,
            require_min_compat_client: release::LUMINOUS,
            ..OsdMap::default()
        }
    }

    /// Epoch 1 in the form in which it enters the log: an incremental that carries the full map.
    pub fn build_incremental(&self, features: denc::Features) -> (OsdMap, OsdMapIncremental) {
        let map = self.build();
        let inc = OsdMapIncremental {
            fsid: self.fsid,
            epoch: Epoch(1),
            modified: self.now,
            fullmap: map.to_bytes(features),
            encode_features: features.0,
            full_crc: map.crc_for(features),
            ..OsdMapIncremental::default()
        };
        (map, inc)
    }
}
