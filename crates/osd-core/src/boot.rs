//! Joining the cluster and leaving it: `osd_boot`, subscriptions, `up_thru`, temporary mappings, beacons, goodbye.

use crate::core::{OsdCore, Phase};
use crate::event::LogLevel;
use messages::{
    MMonCommand, MMonGetVersion, MMonSubscribe, MOsdAlive, MOsdBeacon, MOsdBoot, MOsdMarkMeDead,
    MOsdMarkMeDown, MOsdPgTemp, PaxosHeader, SubItem,
};
use objstore::ObjectStore;
use std::collections::BTreeMap;
use std::time::Duration;
use types::superblock::OsdSuperblock;
use types::{Epoch, OsdId, PgId};

/// `osd_boot` is said again when nothing came of it.
const BOOT_AGAIN: Duration = Duration::from_secs(10);
/// How long a stopping OSD waits to be marked down (`osd_mon_shutdown_timeout`).
const GOODBYE: Duration = Duration::from_secs(5);

impl OsdCore {
    /// A session with a monitor is there: subscribe, then join or go on.
    pub(crate) fn on_mon_opened(&mut self) {
        self.mon.open = true;
        self.mon.newest_known = None;
        let item = |start: u64| SubItem { start, flags: 0 };
        let next_map = u64::from(self.sb.newest_map.0) + 1;
        let what: BTreeMap<String, SubItem> = [
            ("config".to_owned(), item(0)),
            ("monmap".to_owned(), item(0)),
            ("mgrmap".to_owned(), item(0)),
            ("osdmap".to_owned(), item(next_map)),
            ("osd_pg_creates".to_owned(), item(0)),
        ]
        .into();
        self.send_mon(&MMonSubscribe { what, ..Default::default() });
        self.send_mon(&MMonGetVersion { handle: 1, what: "osdmap".to_owned() });
        self.claim_place();
        self.hb.forget_reports();
        self.repeat_wishes();
        if self.phase == Phase::Preboot {
            self.say_dead();
        }
    }

    /// Device class and place in the CRUSH map, as stock OSDs claim them before they boot. Repeated on each session:
    /// the monitors answer "no change" cheaply.
    fn claim_place(&mut self) {
        let id = self.cfg.whoami.0;
        if self.cfg.crush_location.is_empty() || self.phase == Phase::Active {
            return;
        }
        if !self.cfg.device_class.is_empty() {
            self.mon_command(&serde_json::json!({
                "prefix": "osd crush set-device-class", "class": self.cfg.device_class, "ids": [id.to_string()],
            }));
        }
        let args: Vec<String> = self.cfg.crush_location.iter().map(|(k, v)| format!("{k}={v}")).collect();
        // Four decimals, as stock rounds it.
        let weight = (self.cfg.crush_weight * 10_000.0).round() / 10_000.0;
        self.mon_command(&serde_json::json!({
            "prefix": "osd crush create-or-move", "id": id, "weight": weight, "args": args,
        }));
    }

    fn mon_command(&mut self, cmd: &serde_json::Value) {
        let msg =
            MMonCommand { fsid: self.sb.cluster_fsid, cmd: vec![cmd.to_string()], ..MMonCommand::default() };
        self.send_mon(&msg);
    }

    /// The monitors said how far their maps go.
    pub(crate) fn on_newest_known(&mut self, newest: Epoch, store: &mut dyn ObjectStore) {
        self.mon.newest_known = Some(newest);
        self.maybe_boot(store);
    }

    /// Asks to be marked up, once all maps that the monitors have are here.
    pub(crate) fn maybe_boot(&mut self, _store: &mut dyn ObjectStore) {
        if self.phase != Phase::Preboot || !self.mon.open || self.rebinding {
            return;
        }
        let Some(newest) = self.mon.newest_known else { return };
        if self.map.epoch < newest || self.map.epoch == Epoch(0) {
            return;
        }
        if self.map.has_flag(types::osdmap::flag::NOUP) {
            return;
        }
        self.send_boot();
    }

    fn send_boot(&mut self) {
        self.phase = Phase::Booting { sent: self.now };
        let a = self.cfg.addrs.clone();
        let superblock = OsdSuperblock {
            cluster_fsid: self.sb.cluster_fsid,
            whoami: self.cfg.whoami,
            current_epoch: self.map.epoch,
            oldest_map: self.sb.oldest_map,
            newest_map: self.sb.newest_map,
            compat_features: OsdSuperblock::pacific_features(),
            mounted: self.sb.mounted,
            osd_fsid: self.sb.osd_fsid,
            clean_thru: self.sb.clean_thru,
            ..OsdSuperblock::default()
        };
        let boot = MOsdBoot {
            paxos: PaxosHeader::new(self.map.epoch.0.into()),
            superblock,
            hb_back_addrs: a.hb_back,
            cluster_addrs: a.cluster,
            boot_epoch: self.mon.boot_epoch,
            hb_front_addrs: a.hb_front,
            metadata: self.cfg.metadata.clone(),
            osd_features: types::features::SUPPORTED,
        };
        self.log(LogLevel::Info, format!("asking to be marked up, on e{}", self.map.epoch));
        self.send_mon(&boot);
    }

    pub(crate) fn tick_boot(&mut self) {
        match self.phase {
            Phase::Booting { sent } if self.now.since(sent) >= BOOT_AGAIN => self.send_boot(),
            Phase::Stopping { since } if self.now.since(since) >= GOODBYE => {
                self.stop("not marked down in time; stopping anyway".to_owned(), false);
            }
            Phase::Active
                if self.mon.open && self.now.since(self.mon.last_beacon) >= self.cfg.beacon_interval =>
            {
                self.send_beacon();
            }
            _ => {}
        }
    }

    fn send_beacon(&mut self) {
        self.mon.last_beacon = self.now;
        let led = || self.pgs.iter().filter(|(_, s)| s.pg.is_primary());
        let pgs = led().map(|(id, _)| id.pg).collect();
        let lec = led().map(|(_, s)| s.pg.info().history.last_epoch_clean).min().unwrap_or(self.map.epoch);
        let beacon = MOsdBeacon {
            paxos: PaxosHeader::new(self.map.epoch.0.into()),
            pgs,
            min_last_epoch_clean: lec,
            osd_beacon_report_interval_secs: self.cfg.beacon_interval.as_secs() as i32,
            ..MOsdBeacon::default()
        };
        self.send_mon(&beacon);
    }

    /// A PG needs the monitors to record that we live in `epoch`.
    pub(crate) fn want_up_thru(&mut self, epoch: Epoch) {
        if epoch > self.mon.up_thru_wanted {
            self.mon.up_thru_wanted = epoch;
            self.say_up_thru();
        }
    }

    fn up_thru(&self) -> Epoch {
        self.map.info(self.cfg.whoami).map_or(Epoch(0), |i| i.up_thru)
    }

    fn say_up_thru(&mut self) {
        let paxos = PaxosHeader::new(self.map.epoch.0.into());
        self.send_mon(&MOsdAlive { paxos, want: self.mon.up_thru_wanted });
    }

    /// A PG wants another acting set for a while.
    pub(crate) fn want_pg_temp(&mut self, pgid: PgId, osds: Vec<OsdId>) {
        self.mon.pg_temp_wanted.insert(pgid, osds);
        self.say_pg_temp();
    }

    fn say_pg_temp(&mut self) {
        if self.mon.pg_temp_wanted.is_empty() {
            return;
        }
        let msg = MOsdPgTemp {
            paxos: PaxosHeader::new(self.map.epoch.0.into()),
            map_epoch: self.map.epoch,
            pg_temp: self.mon.pg_temp_wanted.clone(),
            forced: false,
        };
        self.send_mon(&msg);
    }

    /// Says again what the newest map does not show yet. Called on a new map and on a new session.
    pub(crate) fn repeat_wishes(&mut self) {
        if self.phase != Phase::Active || !self.mon.open {
            return;
        }
        if self.mon.up_thru_wanted > self.up_thru() {
            self.say_up_thru();
        }
        let map = self.map.clone();
        self.mon
            .pg_temp_wanted
            .retain(|pg, osds| map.pg_temp.get(pg).map_or(!osds.is_empty(), |now| now != osds));
        self.say_pg_temp();
    }

    /// The map has this process down: its PGs have seen that and answer nobody, so that new primaries need not wait.
    pub(crate) fn say_dead(&mut self) {
        let me = self.cfg.whoami;
        let dead = self.map.xinfo(me).map_or(Epoch(0), |x| x.dead_epoch);
        let up_from = self.map.info(me).map_or(Epoch(0), |i| i.up_from);
        // Only a process that was up itself can speak of its end: what came before it is known to be dead from its boot on.
        if self.mon.boot_epoch == Epoch(0) || self.map.is_up(me) || dead >= up_from {
            return;
        }
        self.send_mon(&MOsdMarkMeDead {
            paxos: PaxosHeader::new(self.map.epoch.0.into()),
            fsid: self.map.fsid,
            target_osd: me,
            epoch: self.map.epoch,
        });
    }

    /// SIGTERM: let the monitors know, so that nobody waits for a heartbeat grace.
    pub(crate) fn on_shutdown(&mut self) {
        if self.phase != Phase::Active || !self.mon.open {
            return self.stop("asked to stop".to_owned(), false);
        }
        self.phase = Phase::Stopping { since: self.now };
        // The monitors will tell others that we are dead: from here on no client is answered.
        self.leases.close();
        let msg = MOsdMarkMeDown {
            paxos: PaxosHeader::new(self.map.epoch.0.into()),
            fsid: self.map.fsid,
            target_osd: self.cfg.whoami,
            target_addrs: self.cfg.addrs.public.clone(),
            epoch: self.map.epoch,
            request_ack: true,
            down_and_dead: true,
        };
        self.send_mon(&msg);
    }
}
