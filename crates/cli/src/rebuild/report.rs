//! What came back and what did not, and how to restore that.

use super::keys::Keys;
use crate::say;
use cephx::AuthName;
use mon_core::Rebuilt;
use osd::offline::OfflineOsd;
use osd_core::history::History;
use std::collections::BTreeMap;
use std::path::PathBuf;
use types::OsdId;
use types::osdmap::OsdMap;

/// Damaged copies that are listed one by one.
const DAMAGED_MAX: usize = 20;

/// See the module's documentation.
pub struct Report<'a> {
    pub history: &'a History,
    pub rebuilt: &'a Rebuilt,
    pub osds: &'a [OfflineOsd],
    /// OSDs of the map that were not read.
    pub absent: &'a [OsdId],
    /// PGs that no OSD that was read has, while some were not read.
    pub unreachable_pgs: usize,
    pub keys: &'a Keys,
    /// Principals with new keys.
    pub made: &'a [AuthName],
    pub monitors: Vec<&'a str>,
    /// Stores that were put out of the way.
    pub aside: &'a [(String, PathBuf)],
    /// What to do next.
    pub next: &'a str,
    pub dry_run: bool,
}

fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl Report<'_> {
    /// Prints it.
    pub fn print(&self) -> anyhow::Result<()> {
        for line in self.lines() {
            say::line(&line)?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let map = &self.rebuilt.map;
        let newest = self.history.newest.epoch;
        let first = self.history.segments.first().map_or(newest, |s| s.first.epoch);
        let mons = self.monitors.join(", mon.");
        let done =
            if self.dry_run { "would be made again (dry run: nothing was written)" } else { "made again" };
        let mut out = vec![
            format!("cluster {}: the store of mon.{mons} {done}", map.fsid),
            "recovered:".to_owned(),
            format!(
                "  OSDMap       epochs {first} to {newest}, as {} hold them; the cluster goes on at epoch {}",
                plural(self.osds.len(), "OSD"),
                self.rebuilt.epoch
            ),
            format!(
                "               {}, {}, {}, CRUSH map, upmaps, erasure code profiles, snapshots, blocklist",
                plural(map.num_osds(), "OSD"),
                plural(map.pools.len(), "pool"),
                plural(map.pools.values().map(|p| p.pg_num as usize).sum(), "PG"),
            ),
        ];
        let names: Vec<String> = self.keys.list().iter().map(|(n, _)| n.to_string()).collect();
        out.push(format!("  keys         {}", names.join(" ")));
        if !self.made.is_empty() {
            let made: Vec<String> = self.made.iter().map(ToString::to_string).collect();
            out.push(format!("               new, because no keyring has it: {}", made.join(" ")));
        }
        if !self.rebuilt.to_create.is_empty() {
            let n = plural(self.rebuilt.to_create.len(), "PG");
            out.push(format!("  {n} that no OSD has (the pool was new): created when the OSDs are up"));
        }
        self.warnings(&mut out);
        self.lost(&mut out);
        for (name, path) in self.aside {
            out.push(format!("mon.{name}'s former store is now {}", path.display()));
        }
        out.push(format!("next: {}", self.next));
        out
    }

    fn warnings(&self, out: &mut Vec<String>) {
        let damaged = &self.history.damaged;
        out.extend(damaged.iter().take(DAMAGED_MAX).map(|d| format!("warning: {d} (another copy was used)")));
        if damaged.len() > DAMAGED_MAX {
            out.push(format!("warning: and {} more", damaged.len() - DAMAGED_MAX));
        }
        if !self.absent.is_empty() {
            let list: Vec<String> = self.absent.iter().map(|o| format!("osd.{o}")).collect();
            out.push(format!(
                "warning: {} not read. Lost for good: ceph osd lost N --yes-i-really-mean-it. Brought back: ceph auth import -i its keyring",
                list.join(" ")
            ));
        }
        if self.unreachable_pgs > 0 {
            let n = plural(self.unreachable_pgs, "PG");
            out.push(format!(
                "warning: {n} on none of the OSDs that were read; not created anew, they may be on the others"
            ));
        }
        if !self.keys.osds_without.is_empty() {
            let list: Vec<String> = self.keys.osds_without.iter().map(|o| format!("osd.{o}")).collect();
            out.push(format!(
                "warning: no keyring in the folder of {}: it cannot start before ceph auth get-or-create gave it a key",
                list.join(" ")
            ));
        }
        let without = self.keys.without_caps();
        if !without.is_empty() {
            let list: Vec<String> = without.iter().map(ToString::to_string).collect();
            out.push(format!(
                "warning: the keyring of {} does not say what it may do: ceph auth caps NAME mon '...' osd '...'",
                list.join(" ")
            ));
        }
    }

    fn lost(&self, out: &mut Vec<String>) {
        out.push("not recovered, because OSDs do not know it:".to_owned());
        out.push("  other users                ceph auth import -i KEYRING (the key and capabilities of each; or get-or-create, and give out the new key)".to_owned());
        out.push(
            "  configuration database     ceph config assimilate-conf -i FILE, or ceph config set".to_owned(),
        );
        out.push("  config-key, crash reports, balancer and other manager settings   ceph config-key set, ceph balancer on".to_owned());
        for line in file_systems(&self.rebuilt.map) {
            out.push(format!("  file system                {line}"));
        }
        out.push("  log, muted health checks, bootstrap keys (new ones were made)".to_owned());
    }
}

/// How to restore the file systems that the pools' applications speak of.
fn file_systems(map: &OsdMap) -> Vec<String> {
    let mut meta: BTreeMap<&str, &str> = BTreeMap::new();
    let mut data: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, p) in map.pools.iter() {
        let Some(of) = p.application_metadata.get("cephfs") else { continue };
        let pool = map.pool_name(*id).unwrap_or_default();
        if let Some(fs) = of.get("metadata") {
            meta.insert(fs, pool);
        }
        if let Some(fs) = of.get("data") {
            data.entry(fs).or_default().push(pool);
        }
    }
    let command = |(fs, m): (&&str, &&str)| {
        let all = data.get(*fs).map_or(&[][..], Vec::as_slice);
        let first = all.first().copied().unwrap_or("DATA-POOL");
        let mut text =
            format!("ceph fs new {fs} {m} {first} --force --recover; ceph fs set {fs} joinable true");
        for more in all.iter().skip(1) {
            text += &format!("; ceph fs add_data_pool {fs} {more}");
        }
        text
    };
    meta.iter().map(command).collect()
}
