//! `MPoolOp`: pools and snapshots as librados asks for them, self-managed snapshot ids above all.

use crate::authz::mon_capable;
use crate::commands::{deletable, stage_delete, stage_mksnap, stage_pool, stage_rmsnap, tier_in_use};
use crate::core::MonCore;
use crate::event::SessionId;
use bytes::Bytes;
use cephx::caps::{OsdCap, OsdOpInfo, R, W};
use messages::mon::pool_op;
use messages::{MPoolOp, MPoolOpReply, PaxosHeader, kinds};
use std::collections::BTreeMap;
use types::pool::flag;
use types::{Epoch, Errno, PoolId, SnapId};

impl MonCore {
    pub(crate) fn pool_op(&mut self, id: SessionId, m: MPoolOp, tid: u64) {
        if m.fsid != self.fsid() {
            return;
        }
        let (code, data, changed) = match self.do_pool_op(id, &m) {
            Ok((data, changed)) => (0, data, changed),
            Err(e) => (e.negated(), None, false),
        };
        // The epoch in which the answer is true: clients wait for it before they go on.
        let epoch = if changed { self.osd.map.epoch.next() } else { self.osd.map.epoch };
        let r = MPoolOpReply {
            paxos: PaxosHeader::new(self.version()),
            fsid: m.fsid,
            reply_code: code,
            epoch: Epoch(epoch.0),
            response_data: data,
        };
        self.answer_later(id, kinds::POOLOP, &r, tid);
    }

    fn do_pool_op(&mut self, id: SessionId, m: &MPoolOp) -> Result<(Option<Bytes>, bool), Errno> {
        let pool = PoolId(i64::from(m.pool));
        if m.op == pool_op::CREATE {
            if self.osd.peek().pool_by_name(&m.name).is_some() {
                return Err(Errno::EEXIST);
            }
            let s = self.sessions.get(&id).ok_or(Errno::EACCES)?;
            let args = BTreeMap::from([("pool".to_owned(), m.name.clone())]);
            if !mon_capable(&s.peer, "osd", "osd pool create", &args, R | W) {
                return Err(Errno::EACCES);
            }
            if m.name.is_empty() || m.name.chars().any(char::is_control) {
                return Err(Errno::EINVAL);
            }
            let rule = if m.crush_rule >= 0 { m.crush_rule as i32 } else { 0 };
            if self.osd.peek().crush.rule(rule).is_none() {
                return Err(Errno::ENOENT);
            }
            let pg_num = (self.cfg.num("osd_pool_default_pg_num") as u32).max(1);
            let size = (self.cfg.num("osd_pool_default_size") as u8).max(1);
            stage_pool(self, &m.name, pg_num, rule as u8, size);
            return Ok((None, true));
        }
        let Some(p) = self.osd.peek().pool(pool).cloned() else {
            // Deleting what is gone is done already.
            return if m.op == pool_op::DELETE { Ok((None, false)) } else { Err(Errno::ENOENT) };
        };
        let s = self.sessions.get(&id).ok_or(Errno::EACCES)?;
        let name = self.osd.peek().pool_name(pool).unwrap_or("").to_owned();
        let allowed = |command: &str, args: BTreeMap<String, String>| {
            mon_capable(&s.peer, "osd", command, &args, R | W)
        };
        // As stock: who may write to the pool may take snapshots of its own there (librbd of `client.glance`).
        let writes_pool = || {
            let Some(entity) = cephx::AuthName::parse(&s.peer.entity).and_then(|n| self.auth.entity(&n))
            else {
                return false;
            };
            let cap = entity.caps_text("osd").and_then(|text| OsdCap::parse(&text).ok());
            let op = OsdOpInfo {
                pool: &name,
                namespace: "",
                app_metadata: &p.application_metadata,
                object: "",
                may_read: false,
                may_write: true,
                classes: &[],
            };
            let addr = s.peer.addrs.0.first().copied().unwrap_or_default();
            cap.is_some_and(|c| c.is_capable(&op, &addr))
        };
        let pool_args = || BTreeMap::from([("poolname".to_owned(), name.clone())]);
        match m.op {
            pool_op::DELETE => {
                if !allowed("osd pool delete", BTreeMap::from([("pool".to_owned(), name.clone())])) {
                    return Err(Errno::EACCES);
                }
                if self.mds.peek().pool_in_use(pool.0) || tier_in_use(self, pool, &name).is_err() {
                    return Err(Errno::EBUSY);
                }
                deletable(self, pool).map_err(|_| Errno::EPERM)?;
                stage_delete(self, pool);
                Ok((None, true))
            }
            pool_op::CREATE_SNAP => {
                if !allowed("osd pool mksnap", pool_args()) {
                    return Err(Errno::EACCES);
                }
                if p.is_unmanaged_snaps_mode() {
                    return Err(Errno::EINVAL);
                }
                if p.snaps.values().any(|s| s.name == m.name) {
                    return Ok((None, false));
                }
                stage_mksnap(self, pool, &m.name);
                Ok((None, true))
            }
            pool_op::DELETE_SNAP => {
                if !allowed("osd pool rmsnap", pool_args()) {
                    return Err(Errno::EACCES);
                }
                if p.is_unmanaged_snaps_mode() {
                    return Err(Errno::EINVAL);
                }
                let Some(snap) = p.snaps.values().find(|s| s.name == m.name).map(|s| s.snap) else {
                    return Ok((None, false));
                };
                stage_rmsnap(self, pool, snap);
                Ok((None, true))
            }
            pool_op::CREATE_UNMANAGED_SNAP => {
                if !allowed("osd pool op unmanaged-snap", pool_args()) && !writes_pool() {
                    return Err(Errno::EPERM);
                }
                if p.is_pool_snaps_mode() {
                    return Err(Errno::EINVAL);
                }
                let epoch = self.osd.map.epoch.next();
                let p = self.osd.pool_mut(pool).ok_or(Errno::ENOENT)?;
                if p.snap_seq.0 == 0 {
                    // The first id is 2: 1 marks the mode in the oldest encodings.
                    p.snap_seq = SnapId(1);
                }
                p.flags |= flag::SELFMANAGED_SNAPS;
                p.snap_seq = SnapId(p.snap_seq.0 + 1);
                p.snap_epoch = epoch;
                let snap = p.snap_seq.0;
                let data = denc::to_bytes(&snap, denc::Features::ALL);
                Ok((Some(data), true))
            }
            pool_op::DELETE_UNMANAGED_SNAP => {
                if !allowed("osd pool op unmanaged-snap", pool_args()) && !writes_pool() {
                    return Err(Errno::EPERM);
                }
                if p.is_pool_snaps_mode() {
                    return Err(Errno::EINVAL);
                }
                // A pool that never had such snapshots (a copy of one that did, say).
                if !p.is_unmanaged_snaps_mode() {
                    return Err(Errno::EOPNOTSUPP);
                }
                if m.snapid.0 > p.snap_seq.0 || m.snapid.0 == 0 {
                    return Err(Errno::ENOENT);
                }
                if self.snap_removed(pool, m.snapid) {
                    return Ok((None, false));
                }
                let epoch = self.osd.map.epoch.next();
                let p = self.osd.pool_mut(pool).ok_or(Errno::ENOENT)?;
                p.flags |= flag::SELFMANAGED_SNAPS;
                p.snap_seq = SnapId(p.snap_seq.0 + 1);
                p.snap_epoch = epoch;
                let new = std::sync::Arc::make_mut(&mut self.osd.next().new_removed_snaps);
                new.entry(pool).or_default().insert(m.snapid.0);
                Ok((None, true))
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// True when the snapshot's removal is staged, queued, or done long ago.
    fn snap_removed(&self, pool: PoolId, snap: SnapId) -> bool {
        let m = self.osd.peek();
        let has = |l: &types::osdmap::PoolSnaps| l.get(&pool).is_some_and(|s| s.contains(snap.0));
        has(&m.new_removed_snaps) || has(&m.removed_snaps_queue) || self.osd.was_purged(pool, snap)
    }
}
