//! New OSDMaps: taking them in durably, then acting on them.

use crate::core::{OsdCore, Phase, TokenOwner};
use crate::event::{LogLevel, Net, OsdEffect};
use crate::pgs::oldest_needed;
use messages::{MMonSubscribe, MOsdMap, SubItem};
use objstore::{ObjectStore, Transaction};
use pg::PgMessage;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::osdmap::OsdMap;
use types::{AddrVec, Epoch, OsdId};

/// Peer messages held for a newer map, for PGs that we do not have.
const HELD_MAX: usize = 1024;

impl OsdCore {
    /// A map message, from a monitor or from another OSD.
    pub(crate) fn on_osd_map(&mut self, msg: &MOsdMap, store: &mut dyn ObjectStore) {
        let mut txn = Transaction::new();
        let mut sb = self.sb.clone();
        let taken = match self.maps.take(store, &mut sb, msg, &mut txn) {
            Ok(t) => t,
            Err(e) => {
                self.log(LogLevel::Error, format!("refused an osdmap: {e}"));
                return self.subscribe_maps();
            }
        };
        if taken.missing_from.is_some() {
            return self.subscribe_maps();
        }
        if taken.maps.is_empty() {
            return;
        }
        self.sb = sb;
        self.sb.save(&mut txn);
        self.arriving.extend(taken.maps);
        let newest = self.sb.newest_map;
        self.queue(store, txn, TokenOwner::Maps(newest));
    }

    /// Asks for every map behind the newest stored one, now and in future.
    pub(crate) fn subscribe_maps(&mut self) {
        let start = u64::from(self.sb.newest_map.0) + 1;
        let what: BTreeMap<_, _> = [("osdmap".to_owned(), SubItem { start, flags: 0 })].into();
        self.send_mon(&MMonSubscribe { what, ..Default::default() });
    }

    /// Maps up to `up_to` are durable: PGs may see them.
    pub(crate) fn maps_committed(&mut self, up_to: Epoch, store: &mut dyn ObjectStore) {
        let mut maps = Vec::new();
        while self.arriving.front().is_some_and(|m| m.epoch <= up_to) {
            maps.extend(self.arriving.pop_front());
        }
        let Some(newest) = maps.last().cloned() else { return };
        let old = std::mem::replace(&mut self.map, newest.clone());
        self.lease_work.granted |= self.leases.set_epoch(newest.epoch);
        let was_active = self.phase == Phase::Active;
        for map in &maps {
            self.watch_self(map);
        }
        self.log(LogLevel::Info, format!("osdmap e{} -> e{}", old.epoch, newest.epoch));
        self.mark_down_gone(&old, &newest);
        self.advance_all(&maps, store);
        if self.phase == Phase::Active || matches!(self.phase, Phase::Stopping { .. }) {
            self.activate_all(store);
        }
        if was_active && self.phase == Phase::Preboot {
            self.say_dead();
        }
        self.update_hb_peers();
        self.out.push(OsdEffect::RequireFeatures(newest.required_features()));
        self.take_held(store);
        self.take_waiting(store);
        self.repeat_copies(store);
        self.repeat_wishes();
        self.maybe_boot(store);
    }

    /// What one map says of this OSD.
    fn watch_self(&mut self, map: &Arc<OsdMap>) {
        let me = self.cfg.whoami;
        let up = map.is_up(me) && map.uuid(me) == Some(self.sb.osd_fsid);
        let ours = up && map.addrs(me) == Some(&self.cfg.addrs.public);
        match self.phase {
            Phase::Booting { .. } | Phase::Preboot if ours => {
                let up_from = map.info(me).map_or(Epoch(0), |i| i.up_from);
                if up_from > self.mon.boot_epoch {
                    self.phase = Phase::Active;
                    self.sb.mounted = up_from;
                    self.log(LogLevel::Info, format!("up since e{up_from}"));
                }
            }
            Phase::Active if !ours => {
                self.log(LogLevel::Warn, format!("e{} wrongly marks me down", map.epoch));
                self.mon.boot_epoch = map.epoch;
                self.phase = Phase::Preboot;
                self.rebinding = true;
                self.out.push(OsdEffect::Rebind);
            }
            Phase::Stopping { .. } if !up => self.stop("marked down, as asked".to_owned(), false),
            _ => {}
        }
        if !map.exists(me) && map.epoch > Epoch(1) && self.phase == Phase::Active {
            self.stop(format!("e{} says that osd.{me} does not exist any more", map.epoch), true);
        }
    }

    /// Ends sessions with OSDs that the map took down or that came up anew elsewhere.
    fn mark_down_gone(&mut self, old: &OsdMap, new: &OsdMap) {
        for osd in old.osds() {
            if !old.is_up(osd) || osd == self.cfg.whoami {
                continue;
            }
            let up_from = |m: &OsdMap| m.info(osd).map(|i| i.up_from);
            if new.is_up(osd) && up_from(new) == up_from(old) {
                continue;
            }
            let at = |v: &Arc<Vec<AddrVec>>| v.get(osd.0 as usize).cloned().unwrap_or_default();
            for (net, addrs) in [
                (Net::Cluster, at(&old.cluster_addrs)),
                (Net::HbBack, at(&old.hb_back_addrs)),
                (Net::HbFront, at(&old.hb_front_addrs)),
            ] {
                if !addrs.is_empty() {
                    self.out.push(OsdEffect::MarkDown { net, addrs });
                }
            }
        }
    }

    /// Keeps a peer's message until a newer map came.
    pub(crate) fn hold_for_map(&mut self, from: OsdId, m: PgMessage) {
        self.hold(from, m);
        self.subscribe_maps();
    }

    pub(crate) fn hold(&mut self, from: OsdId, m: PgMessage) {
        if self.held.len() < HELD_MAX {
            self.held.push_back((from, m));
        }
    }

    /// A PG's removal is done: whatever waited for that goes on.
    pub(crate) fn settle_dropped(&mut self, store: &mut dyn ObjectStore) {
        if std::mem::take(&mut self.pg_dropped) {
            self.take_held(store);
            self.take_waiting(store);
        }
    }

    fn take_held(&mut self, store: &mut dyn ObjectStore) {
        for (from, m) in std::mem::take(&mut self.held) {
            self.on_pg_message(from, m, store);
        }
    }

    /// Drops maps that neither the monitors nor a PG need.
    pub(crate) fn trim_maps(&mut self, store: &mut dyn ObjectStore) {
        let keep_from = self.cluster_oldest.min(oldest_needed(self));
        // A margin, so that slow peers and clients get incrementals.
        let keep_from = Epoch(keep_from.0.saturating_sub(50));
        if self.sb.oldest_map == Epoch(0) || keep_from <= Epoch(self.sb.oldest_map.0 + 50) {
            return;
        }
        let mut txn = Transaction::new();
        self.maps.trim(&mut self.sb, keep_from, &mut txn);
        self.sb.save(&mut txn);
        self.queue(store, txn, TokenOwner::Nobody);
    }
}
