//! `loligo mon rebuild`: the stores of monitors that have all lost theirs, made again from the OSDs in one command.
//!
//! The OSDs are read while they are stopped (their stores stay locked until the end, so that none starts meanwhile), then everything is checked, and only
//! then is anything written. `docs/recovery.md` is the operator's page.

mod keys;
mod report;

use crate::layout::Layout;
use crate::{process, say};
use anyhow::{Context, bail, ensure};
use clap::Parser;
use keys::Keys;
use mon::rebuild::Target;
use mon_core::{MapSegment, RebuildConfig, Rebuilt};
use osd::offline::OfflineOsd;
use osd_core::history::{History, Source};
use report::Report;
use runtime::{Config, DaemonArgs};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use types::monmap::MonMap;
use types::osdmap::{OsdMap, state};
use types::{Epoch, Fsid, OsdId, PgId};

/// How long a killed daemon's files may stay locked.
const KILLED: Duration = Duration::from_secs(30);

/// Makes the lost stores of a cluster's monitors again from its OSDs.
///
/// Comes back: the OSDMap with its history (OSDs, pools, CRUSH, upmaps, erasure code profiles, snapshots, blocklist), the keys of the OSDs and
/// of the keyrings that are given. Does not: other users, the configuration database, config-key, file systems, the log. The end of the
/// output says how to restore each.
///
/// All OSDs must be stopped and their folders given. Nothing of them is changed. Exits with 0 when the stores are there, 1 when anything is refused or fails
/// (no store is then half made), 2 for a wrong command line.
#[derive(Debug, Parser)]
#[command(name = "loligo mon rebuild")]
struct RebuildArgs {
    /// Folder of a cluster of `loligo up`: all of its monitors, from all of its OSDs
    #[arg(long, required_unless_present = "id", conflicts_with_all = ["id", "conf", "mon_data"])]
    dir: Option<PathBuf>,
    /// Name of the one monitor to rebuild: the first of `mon initial members`. Others join it by `--mkfs` with the same monmap
    #[arg(short = 'i', long)]
    id: Option<String>,
    /// ceph.conf
    #[arg(short = 'c', long)]
    conf: Option<String>,
    /// Folder of that monitor (by default `mon data` of the conf)
    #[arg(long)]
    mon_data: Option<PathBuf>,
    /// Folders of OSDs (with --dir: besides those in it)
    #[arg(long, num_args = 1..)]
    osd_data: Vec<PathBuf>,
    /// Keyrings to take users from: client.admin, mon., and any others
    #[arg(long, num_args = 1..)]
    keyring: Vec<PathBuf>,
    /// Monitor map (by default made from `mon host` and `mon initial members`; with --dir the cluster's first one)
    #[arg(long)]
    monmap: Option<PathBuf>,
    /// Numbers of OSDs of the map that are lost, or cannot be had: what only they know is lost
    #[arg(long, num_args = 1.., value_name = "OSD")]
    without: Vec<i32>,
    /// Puts stores that are there out of the way, under another name
    #[arg(long)]
    set_aside: bool,
    /// Reads, checks and reports, and writes nothing
    #[arg(long)]
    dry_run: bool,
}

/// Where the monitors are to be, and what is known of them.
struct Place {
    targets: Vec<Target>,
    founder: String,
    monmap: MonMap,
    config: Config,
    /// What to do next.
    next: String,
}

/// Runs `loligo mon rebuild` with the arguments behind these words.
pub fn main(args: Vec<String>) -> anyhow::Result<()> {
    let args = RebuildArgs::parse_from(std::iter::once("loligo mon rebuild".to_owned()).chain(args));
    let progress = say::Progress::start();
    let layout = args.dir.as_deref().map(Layout::open).transpose()?;
    let place = match &layout {
        Some(l) => place_in(l, &args)?,
        None => place_of_one(&args)?,
    };
    if let Some(l) = &layout {
        let daemons = place.targets.iter().map(|t| format!("mon.{}", t.name));
        for daemon in daemons.chain(l.ids("osd").into_iter().map(|id| format!("osd.{id}"))) {
            if let Some(pid) = process::alive(l, &daemon) {
                bail!("{daemon} runs (pid {pid}): loligo down --dir {} first", l.dir.display());
            }
            // One that was killed a moment ago may not have let go of its files yet.
            process::wait_for_end(l, &daemon, KILLED);
        }
    }
    mon::rebuild::check(&place.targets, args.set_aside)?;
    mon::rebuild::nobody_listens(&place.monmap)?;

    let osds = open_osds(&args, layout.as_ref(), &progress)?;
    let sources: Vec<Source<'_>> = osds.iter().map(OfflineOsd::source).collect();
    let history = History::gather(&sources)?;
    progress.step(&format!("OSDMaps up to epoch {} read", history.newest.epoch));
    check_fsid(&place, &history.newest, &osds)?;
    let given = given_osds(&history.newest, &osds);
    let absent = absent(&history.newest, &given, &args.without)?;
    let mut keys = Keys::of_osds(osds.iter().filter(|o| given.contains(&o.id())))?;
    keys.add_files(&args.keyring, &keyring_files(layout.as_ref(), &place))?;
    let made = keys.complete()?;

    let there: BTreeSet<PgId> = osds.iter().flat_map(OfflineOsd::pgs).collect();
    let rebuilt = rebuild(&place, &history, &keys, &given, absent.is_empty().then(|| there.clone()))?;
    let on_none = without_copy(&history.newest, &there);
    progress.step(&format!("stores of {} monitors made in memory", place.targets.len()));
    let mut aside = Vec::new();
    if !args.dry_run {
        let mon = keys.mon().context("no key for mon.")?;
        aside = mon::rebuild::lay_down(&place.targets, &place.founder, mon, &rebuilt.keys)?;
        progress.step("written");
    }
    Report {
        history: &history,
        rebuilt: &rebuilt,
        osds: &osds,
        absent: &absent,
        unreachable_pgs: if absent.is_empty() { 0 } else { on_none },
        keys: &keys,
        made: &made,
        monitors: place.targets.iter().map(|t| t.name.as_str()).collect(),
        aside: &aside,
        next: &place.next,
        dry_run: args.dry_run,
    }
    .print()
}

/// All monitors of a cluster of `loligo up`.
fn place_in(layout: &Layout, args: &RebuildArgs) -> anyhow::Result<Place> {
    ensure!(layout.conf().exists(), "{} holds no cluster of loligo up", layout.dir.display());
    let path = args.monmap.clone().unwrap_or_else(|| layout.monmap());
    let monmap = read_monmap(&path)?;
    for name in layout.ids("mon") {
        ensure!(
            monmap.mons.contains_key(&name),
            "mon.{name} has a folder, but is not in {}: give the cluster's monitor map as --monmap (monmaptool makes one)",
            path.display()
        );
    }
    let first = monmap.ranks.first().context("the monitor map is empty")?;
    let conf = layout.conf().to_string_lossy().into_owned();
    let config = config(first, Some(conf), Vec::new())?;
    let target = |n: &String| Target { name: n.clone(), data: layout.data("mon", n) };
    let targets = monmap.ranks.iter().map(target).collect();
    let founder = mon::rebuild::founder(&config, &monmap).context("the monitor map is empty")?;
    let next = format!("loligo up --dir {}", layout.dir.display());
    Ok(Place { targets, founder, monmap, config, next })
}

/// The one monitor that may found the quorum.
fn place_of_one(args: &RebuildArgs) -> anyhow::Result<Place> {
    let id = args.id.clone().context("which monitor? -i ID, or --dir DIR for all of a cluster")?;
    let mon_data = args.mon_data.as_ref().map(|d| ("mon_data".to_owned(), d.to_string_lossy().into_owned()));
    let config = config(&id, args.conf.clone(), mon_data.into_iter().collect())?;
    let monmap = match &args.monmap {
        Some(path) => read_monmap(path)?,
        None => monmap_of(&config)?,
    };
    ensure!(monmap.mons.contains_key(&id), "mon.{id} is not in the monitor map");
    let founder = mon::rebuild::founder(&config, &monmap).context("the monitor map is empty")?;
    ensure!(
        founder == id,
        "the quorum is founded by mon.{founder}, the first of the initial members: rebuild that one, and let mon.{id} join it by --mkfs"
    );
    let data = PathBuf::from(config.str("mon_data"));
    let mut next = format!("start mon.{id}");
    let others: Vec<&str> = monmap.ranks.iter().filter(|n| **n != id).map(String::as_str).collect();
    if !others.is_empty() {
        next += &format!(
            ". It waits for a majority: on the hosts of mon.{}, loligo mon -i NAME -c CONF --mkfs --monmap MAP --keyring {} (the map of \
             the same monitors), and start them",
            others.join(" and mon."),
            data.join("keyring").display()
        );
    }
    Ok(Place { targets: vec![Target { name: id.clone(), data }], founder: id, monmap, config, next })
}

fn config(id: &str, conf: Option<String>, options: Vec<(String, String)>) -> anyhow::Result<Config> {
    let args = DaemonArgs { id: Some(id.to_owned()), conf, options, ..Default::default() };
    Ok(args.config("mon")?.0)
}

fn read_monmap(path: &Path) -> anyhow::Result<MonMap> {
    let bytes = bytes::Bytes::from(fs::read(path).with_context(|| path.display().to_string())?);
    let mut map: MonMap =
        denc::from_bytes(&bytes).with_context(|| format!("{} is no monitor map", path.display()))?;
    if map.ranks.is_empty() {
        map.calc_ranks();
    }
    Ok(map)
}

/// The monitor map by the configuration.
fn monmap_of(config: &Config) -> anyhow::Result<MonMap> {
    let addrs = monc::conf::monitors(config).context("no --monmap, and")?;
    let initial = config.str("mon_initial_members");
    let names: Vec<&str> = initial.split([',', ' ', ';']).map(str::trim).filter(|n| !n.is_empty()).collect();
    ensure!(
        names.len() == addrs.len(),
        "the conf names {} initial monitors and {} addresses: give the map as --monmap (monmaptool makes one)",
        names.len(),
        addrs.len()
    );
    let list = names.into_iter().map(str::to_owned).zip(addrs);
    Ok(MonMap::build(Fsid::default(), runtime::System::now(), list))
}

fn open_osds(
    args: &RebuildArgs,
    layout: Option<&Layout>,
    progress: &say::Progress,
) -> anyhow::Result<Vec<OfflineOsd>> {
    let mut dirs: Vec<PathBuf> =
        layout.into_iter().flat_map(|l| l.ids("osd").into_iter().map(|id| l.data("osd", &id))).collect();
    dirs.retain(|d| !args.without.iter().any(|n| d.ends_with(format!("ceph-{n}"))));
    for dir in &args.osd_data {
        let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    ensure!(
        !dirs.is_empty(),
        "no OSD was given: the monitors' stores are made from them (--osd-data DIR ...)"
    );
    let mut osds = Vec::new();
    for dir in dirs {
        let osd = OfflineOsd::open(&dir)?;
        let sb = &osd.superblock;
        progress.step(&format!(
            "osd.{} ({}) has OSDMaps {} to {}",
            sb.whoami,
            dir.display(),
            sb.oldest_map,
            sb.newest_map
        ));
        osds.push(osd);
    }
    Ok(osds)
}

fn check_fsid(place: &Place, map: &OsdMap, osds: &[OfflineOsd]) -> anyhow::Result<()> {
    let dirs: Vec<String> = osds.iter().map(|o| o.dir.display().to_string()).collect();
    let conf: Option<Fsid> = place.config.str("fsid").parse().ok();
    for (what, id) in [("the conf", conf), ("the monitor map", Some(place.monmap.fsid))] {
        let other = id.filter(|id| !id.is_zero() && *id != map.fsid);
        ensure!(
            other.is_none(),
            "{what} is of cluster {}, the OSDs ({}) are of cluster {}",
            other.unwrap_or_default(),
            dirs.join(", "),
            map.fsid
        );
    }
    Ok(())
}

/// OSDs that were read and are those that the map means.
fn given_osds(map: &OsdMap, osds: &[OfflineOsd]) -> BTreeSet<OsdId> {
    let is_it = |o: &&OfflineOsd| map.exists(o.id()) && map.uuid(o.id()) == Some(o.superblock.osd_fsid);
    osds.iter().filter(is_it).map(OfflineOsd::id).collect()
}

/// OSDs of the map that have lived and were not read: all of them must be named.
fn absent(map: &OsdMap, given: &BTreeSet<OsdId>, without: &[i32]) -> anyhow::Result<Vec<OsdId>> {
    let lived = |o: &OsdId| {
        map.info(*o).is_some_and(|i| i.up_from > Epoch(0)) && map.state_of(*o) & state::DESTROYED == 0
    };
    let absent: Vec<OsdId> = map.osds().filter(|o| lived(o) && !given.contains(o)).collect();
    let unnamed: Vec<String> =
        absent.iter().filter(|o| !without.contains(&o.0)).map(|o| o.0.to_string()).collect();
    ensure!(
        unnamed.is_empty(),
        "the OSDMap also has osd.{}, whose folder was not given: it may hold a newer map, or the only copy of a PG. \
         Give it (--osd-data), or say that you go on without it: --without {}",
        unnamed.join(", osd."),
        unnamed.join(" ")
    );
    Ok(absent)
}

/// Keyrings that are there beside those that were named.
fn keyring_files(layout: Option<&Layout>, place: &Place) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = place.targets.iter().map(|t| t.data.join("keyring")).collect();
    let Some(l) = layout else { return files };
    files.extend([l.mon_keyring(), l.admin_keyring()]);
    let named = fs::read_dir(&l.dir).into_iter().flatten().flatten().filter_map(|e| {
        let name = e.file_name().into_string().ok()?;
        (name.starts_with("ceph.") && name.ends_with(".keyring")).then(|| e.path())
    });
    let mut named: Vec<PathBuf> = named.collect();
    named.sort();
    files.extend(named);
    for kind in ["mds", "mgr"] {
        files.extend(l.ids(kind).iter().map(|id| l.data(kind, id).join("keyring")));
    }
    files
}

/// PGs of the map that are on none of the OSDs that were read.
fn without_copy(map: &OsdMap, there: &BTreeSet<PgId>) -> usize {
    let all = map.pools.iter().flat_map(|(id, p)| (0..p.pg_num).map(|seed| PgId { pool: *id, seed }));
    all.filter(|pg| !there.contains(pg)).count()
}

fn rebuild(
    place: &Place,
    history: &History,
    keys: &Keys,
    given: &BTreeSet<OsdId>,
    pgs: Option<BTreeSet<PgId>>,
) -> anyhow::Result<Rebuilt> {
    let segment =
        |s: &osd_core::history::Segment| MapSegment { first: s.first.clone(), incs: s.incs.clone() };
    let config = RebuildConfig {
        monmap: place.monmap.clone(),
        keyring: keys.list(),
        options: mon::rebuild::core_config(&place.config),
        maps: history.segments.iter().map(segment).collect(),
        stopped: given.clone(),
        pgs,
    };
    Ok(mon_core::rebuild(config, &runtime::System)?)
}
