//! Sending OSDMaps: to subscribers, to OSDs that lag, and PG creations to primaries.

use crate::core::{AfterCommit, MonCore};
use crate::event::{Role, SessionId};
use denc::Features;
use messages::osd_mon::PgCreateExtra;
use messages::{MOsdMap, MOsdPgCreate2, Message};
use std::collections::BTreeMap;
use types::{Epoch, OsdId, SpgId};

/// Maps in one message (`osd_map_message_max`).
const MAPS_MAX: u32 = 40;
/// Bytes of maps in one message (`osd_map_message_max_bytes`).
const MAP_BYTES_MAX: usize = 10 << 20;
/// Encoded messages that are kept for others who need the same.
const MADE_MAX: usize = 8;

impl MonCore {
    /// Sends the newest full map.
    pub(crate) fn send_full_osdmap(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let epoch = self.osd.map.epoch;
        let Some(bytes) = self.osd.full_bytes(&self.kv, epoch.0, f) else { return };
        let m = MOsdMap {
            fsid: self.fsid(),
            maps: BTreeMap::from([(epoch, bytes)]),
            oldest: Epoch(self.osd.first),
            newest: epoch,
            ..MOsdMap::default()
        };
        self.send(id, Message::new(&m, f));
        self.note_epoch(id, epoch.0);
    }

    fn note_epoch(&mut self, id: SessionId, epoch: u32) {
        if let Some(s) = self.sessions.get_mut(&id) {
            s.osd_epoch = s.osd_epoch.max(epoch);
        }
    }

    /// Sends the maps from `first` to the newest: incrementals, or a full map where history does not go back that far. With `once` at
    /// most one message is sent.
    pub(crate) fn send_osdmaps(&mut self, id: SessionId, first: u32, once: bool) {
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        let newest = self.osd.map.epoch.0;
        let mut at = first.max(1);
        while at <= newest {
            let Some((msg, next)) = self.maps_from(at, f) else { return self.send_full_osdmap(id) };
            self.send(id, msg);
            self.note_epoch(id, next - 1);
            at = next;
            if once {
                break;
            }
        }
    }

    /// One message with the maps from `first` on, as many as it may hold, and the epoch behind it. Encoded once for all who need the same.
    fn maps_from(&mut self, first: u32, f: Features) -> Option<(Message, u32)> {
        let key = (first, f.0);
        if let Some((msg, next)) = self.osd.made.get(&key) {
            return Some((msg.clone(), *next));
        }
        let newest = self.osd.map.epoch.0;
        let mut m = MOsdMap {
            fsid: self.fsid(),
            oldest: Epoch(self.osd.first),
            newest: Epoch(newest),
            ..MOsdMap::default()
        };
        let (mut at, mut bytes) = (first, 0);
        if let Some(behind) = self.osd.jump(at.max(self.osd.first)) {
            // What is missing there is missing for good: the receiver is told so, and goes on from a full map.
            at = behind;
            m.oldest = Epoch(behind);
            if let Some(b) = self.osd.full_bytes(&self.kv, at, f) {
                bytes += b.len();
                m.maps.insert(Epoch(at), b);
            }
            at += 1;
        } else if at <= self.osd.first {
            at = self.osd.first;
            if let Some(b) = self.osd.full_bytes(&self.kv, at, f) {
                bytes += b.len();
                m.maps.insert(Epoch(at), b);
            }
            at += 1;
        }
        let mut n = 0;
        while at <= newest && n < MAPS_MAX && bytes < MAP_BYTES_MAX {
            let Some(b) = self.osd.inc_bytes(&self.kv, at, f) else { break };
            bytes += b.len();
            m.incremental_maps.insert(Epoch(at), b);
            at += 1;
            n += 1;
        }
        if m.maps.is_empty() && m.incremental_maps.is_empty() {
            return None;
        }
        let msg = Message::new(&m, f);
        if self.osd.made.len() >= MADE_MAX {
            self.osd.made.clear();
        }
        self.osd.made.insert(key, (msg.clone(), at));
        Some((msg, at))
    }

    /// Sends the maps from `first` on when what is staged was committed: the next epoch goes with it.
    pub(crate) fn maps_after_commit(&mut self, id: SessionId, first: u32) {
        self.later(AfterCommit::Maps(id, first));
    }

    /// Handles a message again after the next commit.
    pub(crate) fn retry_after_commit(&mut self, id: SessionId, msg: Message) {
        self.later(AfterCommit::Retry(id, msg));
    }

    /// Serves one session's `osdmap` subscription.
    pub(crate) fn check_osdmap_sub(&mut self, id: SessionId) {
        let newest = self.osd.map.epoch.0;
        let Some(s) = self.sessions.get_mut(&id) else { return };
        let Some(sub) = s.subs.get_mut("osdmap") else { return };
        if sub.start > u64::from(newest) {
            return;
        }
        let (start, once) = (sub.start, sub.is_onetime());
        if once {
            s.subs.remove("osdmap");
        } else {
            sub.start = u64::from(newest) + 1;
        }
        if start >= 1 {
            self.send_osdmaps(id, u32::try_from(start).unwrap_or(u32::MAX), once);
        } else {
            self.send_full_osdmap(id);
        }
    }

    /// Serves an OSD's `osd_pg_creates` subscription: PGs it shall create that it was not told of.
    pub(crate) fn check_pg_creates_sub(&mut self, id: SessionId) {
        let Some(s) = self.sessions.get(&id) else { return };
        let Some(osd) = s.osd_id().filter(|_| s.subs.contains_key("osd_pg_creates")) else { return };
        let Some(pgs) = self.osd.to_create.get(&OsdId(osd)) else { return };
        let mut m = MOsdPgCreate2 { epoch: self.osd.map.epoch, ..MOsdPgCreate2::default() };
        let mut told = Vec::new();
        for pg in pgs {
            let Some(c) = self.osd.creating.get(&pg.to_string()) else { continue };
            // Told once in each interval: in an earlier one it may have found that it was not its business.
            if s.creates_sent.get(pg) == Some(&c.same_interval_since) {
                continue;
            }
            let spg = SpgId::replicated(*pg);
            m.pgs.insert(spg, (c.epoch, c.stamp));
            let extra = PgCreateExtra { history: c.history(), past_intervals: c.past.clone() };
            m.pg_extra.insert(spg, extra);
            told.push((*pg, c.same_interval_since));
        }
        if m.pgs.is_empty() {
            return;
        }
        let f = s.features();
        self.send(id, Message::new(&m, f));
        if let Some(s) = self.sessions.get_mut(&id) {
            s.creates_sent.retain(|pg, _| self.osd.creating.get(&pg.to_string()).is_some());
            s.creates_sent.extend(told);
        }
    }

    /// After a new epoch: everyone who subscribed.
    pub(crate) fn publish_osdmap(&mut self) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.check_osdmap_sub(id);
            self.check_pg_creates_sub(id);
        }
        self.share_with_random_osd();
    }

    /// Stock's OSDs do not stay subscribed to maps: one of them is told of a new epoch, and tells its heartbeat peers. Without that, an
    /// OSD that is marked down while it lives would never know.
    fn share_with_random_osd(&mut self) {
        let ids: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|s| s.osd_id().is_some() && s.peer.role == Role::Mon && !s.subs.contains_key("osdmap"))
            .map(|s| s.id)
            .collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[(cephx::env::random_u64(&*self.env) % ids.len() as u64) as usize];
        let newest = self.osd.map.epoch.0;
        let Some(s) = self.sessions.get(&id) else { return };
        // Not noted as sent: one that lacks what came before asks for it.
        let known = s.osd_epoch;
        self.send_osdmaps(id, newest.saturating_sub(1), true);
        if let Some(s) = self.sessions.get_mut(&id) {
            s.osd_epoch = known;
        }
    }
}
