//! Subscriptions to `fsmap`, `fsmap.user`, `mdsmap` and `mdsmap.ID`, and what each subscriber may see.

use crate::core::MonCore;
use crate::event::SessionId;
use cephx::caps::MonCap;
use messages::{MFsMap, MFsMapUser, MMdsMap, Message};
use types::EntityType;
use types::fsmap::{FSCID_NONE, FsMap};
use types::mdsmap::MdsMap;

/// True for the names of these subscriptions.
fn is_ours(what: &str) -> bool {
    matches!(what, "fsmap" | "fsmap.user" | "mdsmap") || what.starts_with("mdsmap.")
}

impl MonCore {
    /// The committed FSMap.
    pub fn fsmap(&self) -> &types::fsmap::FsMap {
        &self.mds.map
    }

    /// After a new FSMap: everyone who subscribed.
    pub(crate) fn publish_fsmap(&mut self) {
        let due: Vec<(SessionId, String)> = self
            .sessions
            .values()
            .flat_map(|s| s.subs.keys().filter(|k| is_ours(k)).map(|k| (s.id, k.clone())))
            .collect();
        for (id, what) in due {
            self.check_fsmap_sub(id, &what);
        }
    }

    /// Serves one of these subscriptions.
    pub(crate) fn check_fsmap_sub(&mut self, id: SessionId, what: &str) {
        let Some(s) = self.sessions.get(&id).filter(|_| is_ours(what)) else { return };
        let f = s.features();
        let epoch = self.mds.map.epoch;
        match what {
            "fsmap" => {
                if self.sub_due(id, what, epoch.0.into()) {
                    let m = MFsMap { epoch, fsmap: self.fsmap_for(id) };
                    self.send(id, Message::new(&m, f));
                }
            }
            "fsmap.user" => {
                if self.sub_due(id, what, epoch.0.into()) {
                    let m = MFsMapUser { epoch, fsmap: self.fsmap_for(id).for_users() };
                    self.send(id, Message::new(&m, f));
                }
            }
            _ => {
                let Some(map) = self.mdsmap_for(id, what) else { return };
                if self.sub_due(id, what, map.epoch.0.into()) {
                    let m = MMdsMap {
                        fsid: self.fsid(),
                        epoch: map.epoch,
                        encoded: map.to_bytes(f),
                        map_fs_name: map.fs_name.clone(),
                    };
                    self.send(id, Message::new(&m, f));
                }
            }
        }
    }

    /// The FSMap as a session may see it: capabilities may name file systems.
    fn fsmap_for(&self, id: SessionId) -> FsMap {
        self.fsmap_seen(id, self.mds.map.clone())
    }
    /// The same of any map.
    pub(crate) fn fsmap_seen(&self, id: SessionId, m: FsMap) -> FsMap {
        let cap = self
            .sessions
            .get(&id)
            .filter(|s| !s.peer.allow_all)
            .and_then(|s| MonCap::parse(&s.peer.caps).ok());
        match cap.as_ref().and_then(MonCap::only_fs_names) {
            Some(names) => m.only(&names),
            None => m,
        }
    }

    /// An MDS daemon gets the map of the file system it serves, or one with only itself; a client the file system it names.
    fn mdsmap_for(&self, id: SessionId, what: &str) -> Option<MdsMap> {
        let s = self.sessions.get(&id)?;
        let m = &self.mds.map;
        let fscid = if s.kind() == EntityType::MDS {
            let gid = s.peer.global_id;
            match m.mds_roles.get(&gid).copied() {
                None | Some(FSCID_NONE) => return Some(self.mds.null_map(Some(gid))),
                Some(fscid) => fscid,
            }
        } else {
            let seen = self.fsmap_for(id);
            let fscid = match what.strip_prefix("mdsmap.") {
                Some(n) => n.parse().ok()?,
                None => seen.legacy_client_fscid,
            };
            if !seen.filesystems.contains_key(&fscid) {
                return None;
            }
            fscid
        };
        m.filesystems.get(&fscid).map(|f| f.mds_map.clone())
    }
}
