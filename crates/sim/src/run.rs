//! One run from its seed: set up, load with faults, heal, demand `active+clean`, compare replicas, read everything back.

use crate::client::Client;
use crate::world::{Ev, MS, Options, SEC, Stats, World};
use objstore::{CollId, ObjectStore, StoreError};
use pg::status::state;
use std::collections::{BTreeMap, BTreeSet};
use types::{HObject, PgId, PoolId, SpgId};

/// How long a new cluster may take to its first `active+clean`.
const SETUP: u64 = 120 * SEC;
/// How long healing may take.
const HEALING: u64 = 240 * SEC;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Hash over everything that happened.
    pub trace_hash: u64,
    /// Events.
    pub events: u64,
    /// Virtual seconds.
    pub virtual_secs: f64,
    /// Counters.
    pub stats: Stats,
    /// What was violated, and the last events.
    pub violation: Option<(String, Vec<String>)>,
}

/// Runs a seed.
pub fn run(seed: u64, opts: Options) -> Outcome {
    let mut w = World::new(seed, opts);
    w.whole_run();
    w.stats.epochs = u64::from(w.newest_epoch().0);
    let tail = w.trace.tail(120);
    Outcome {
        seed,
        trace_hash: w.trace.hash(),
        events: w.trace.events(),
        virtual_secs: w.now as f64 / 1e9,
        violation: w.violation.take().map(|v| (v, tail)),
        stats: w.stats,
    }
}

impl World {
    fn whole_run(&mut self) {
        self.set_up();
        if self.violation.is_some() {
            return;
        }
        self.work.running = true;
        for c in 0..self.clients.len() {
            self.after(MS, Ev::ClientNext(c));
        }
        if !self.opts.healthy {
            self.start_faults();
        }
        let end = self.now + self.nemesis.lasts;
        self.run_until(end, |_| false);
        if self.violation.is_some() {
            return;
        }
        self.heal_all();
        let busy_until = self.now + 3 * SEC;
        self.run_until(busy_until, |_| false);
        self.work.running = false;
        let deadline = self.now + HEALING;
        if !self.run_until(deadline, World::is_settled) {
            return self.unsettled();
        }
        self.compare_replicas();
        self.read_all_back();
    }

    fn set_up(&mut self) {
        let clients = self.rng.range(1, 4) as usize;
        self.start_mon();
        for i in 0..self.osds.len() {
            let wait = self.rng.below(500 * MS);
            self.after(wait, Ev::OsdStart(i));
        }
        let n = self.osds.len();
        let all_up =
            |w: &mut World| w.osds.iter().all(|o| o.run.as_ref().is_some_and(|r| r.core.map().num_up() == n));
        let deadline = self.now + SETUP;
        if !self.run_until(deadline, all_up) {
            let why = self.describe();
            return self.fail(format!("the OSDs did not come up in a healthy cluster\n{why}"));
        }
        for i in 0..n {
            self.command(format!(
                r#"{{"prefix":"osd crush create-or-move","id":{i},"weight":1.0,"args":["host=h{i}","root=default"]}}"#
            ));
        }
        let pools = self.rng.range(1, 3);
        for p in 0..pools {
            let pg_num = *self.rng.pick(&[1, 2, 4, 8]);
            self.command(format!(
                r#"{{"prefix":"osd pool create","pool":"p{p}","pg_num":{pg_num},"pgp_num":{pg_num}}}"#
            ));
            self.command(format!(r#"{{"prefix":"osd pool set","pool":"p{p}","var":"size","val":"3"}}"#));
            self.command(format!(r#"{{"prefix":"osd pool set","pool":"p{p}","var":"min_size","val":"2"}}"#));
        }
        for c in 0..clients {
            self.clients.push(Client::new(c));
            self.after(MS, Ev::ClientMonLink(c));
            self.after(SEC, Ev::ClientTick(c));
        }
        let deadline = self.now + SETUP;
        let ready = |w: &mut World| {
            w.mon.commands.is_empty()
                && w.mon.asked.is_none()
                && w.clients.iter().all(|c| c.map.pools.len() as u64 == pools)
                && w.is_settled()
        };
        if !self.run_until(deadline, ready) {
            let why = self.describe();
            return self.fail(format!("a healthy cluster did not become active+clean\n{why}"));
        }
        self.work.pools = self.clients[0].map.pools.keys().copied().collect();
    }

    /// Everything is answered, every OSD up on the newest map, every PG active and clean, nothing waits for the disk.
    fn is_settled(&mut self) -> bool {
        let Some(newest) = self.mon.core.as_ref().map(|c| c.osdmap().epoch) else { return false };
        if self.mon.asked.is_some() || !self.mon.commands.is_empty() {
            return false;
        }
        for o in &self.osds {
            let Some(r) = &o.run else { return false };
            if r.core.map().epoch != newest || !r.store.store.is_idle() {
                return false;
            }
            if r.core.map().num_up() != self.osds.len() {
                return false;
            }
        }
        if self.clients.iter().any(|c| !c.ops.is_empty() || !c.pool_ops.is_empty()) {
            return false;
        }
        self.unclean().is_empty()
    }

    fn all_pgs(&self) -> Vec<PgId> {
        let Some(map) = self.mon.core.as_ref().map(|c| c.osdmap()) else { return Vec::new() };
        map.pools
            .iter()
            .flat_map(|(id, p)| {
                let id: PoolId = *id;
                (0..p.pg_num).map(move |seed| PgId { pool: id, seed })
            })
            .collect()
    }

    /// PGs that nobody reports active and clean, with what their primary says.
    fn unclean(&self) -> Vec<String> {
        let mut out = Vec::new();
        for pg in self.all_pgs() {
            let primary = self.osds.iter().enumerate().find_map(|(i, o)| {
                let r = o.run.as_ref()?;
                let p = r.core.pgs().find(|p| p.pgid() == SpgId::replicated(pg) && p.is_primary())?;
                Some((i, p))
            });
            match primary {
                None => out.push(format!("pg {pg}: no OSD leads it")),
                Some((i, p)) => {
                    let bits = p.state_bits();
                    let want = state::ACTIVE | state::CLEAN;
                    let not = state::SNAPTRIM | state::SNAPTRIM_WAIT;
                    if bits & want != want || bits & not != 0 {
                        out.push(format!("pg {pg}: osd.{i} says {} {}", state::text(bits), p.query_json()));
                    }
                }
            }
        }
        out
    }

    fn unsettled(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let why = self.describe();
        self.fail(format!("not settled {} s after everything was healed\n{why}", HEALING / SEC));
    }

    fn describe(&self) -> String {
        let mut out = String::new();
        match self.mon.core.as_ref() {
            None => out += "mon is down\n",
            Some(m) => out += &format!("mon: osdmap e{}, {} up\n", m.osdmap().epoch, m.osdmap().num_up()),
        }
        if let Some(a) = &self.mon.asked {
            out += &format!("operator's command is not answered: {}\n", a.1);
        }
        for (i, o) in self.osds.iter().enumerate() {
            match &o.run {
                None => out += &format!("osd.{i} is down\n"),
                Some(r) => {
                    out += &format!(
                        "osd.{i}: e{} {:?} mon session {} store idle {}\n",
                        r.core.map().epoch,
                        r.core.phase(),
                        r.mon.is_some(),
                        r.store.store.is_idle()
                    );
                }
            }
        }
        for (c, cl) in self.clients.iter().enumerate() {
            for (tid, op) in &cl.ops {
                out += &format!(
                    "client {c} e{}: tid {tid} on {} since {:.3} s, sent {} times, last to {:?}\n",
                    cl.map.epoch,
                    op.name,
                    op.since as f64 / 1e9,
                    op.attempts,
                    op.target.as_ref().map(|(o, _)| o)
                );
            }
            if !cl.pool_ops.is_empty() {
                out += &format!("client {c}: snapshot requests wait: {:?}\n", cl.pool_ops);
            }
        }
        for u in self.unclean() {
            out += &u;
            out.push('\n');
        }
        out
    }

    /// Every copy of every PG holds the same objects, byte by byte.
    fn compare_replicas(&mut self) {
        for pg in self.all_pgs() {
            let spg = SpgId::replicated(pg);
            let Some(acting) = self.mon.core.as_ref().and_then(|c| c.osdmap().pg_to_up_acting_osds(pg))
            else {
                continue;
            };
            let mut first: Option<(i32, BTreeMap<String, Copy>)> = None;
            for osd in &acting.acting {
                let Some(r) = self.osds[osd.0 as usize].run.as_ref() else { continue };
                let copies = match copies(&r.store, spg) {
                    Ok(c) => c,
                    Err(e) => return self.fail(format!("pg {pg} on osd.{osd}: {e}")),
                };
                match &first {
                    None => {
                        self.stats.objects_compared += copies.len() as u64;
                        first = Some((osd.0, copies));
                    }
                    Some((other, theirs)) if *theirs != copies => {
                        let what = difference(theirs, &copies);
                        return self.fail(format!("pg {pg}: osd.{other} and osd.{osd} differ: {what}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn read_all_back(&mut self) {
        let snaps: Vec<Option<u64>> =
            std::iter::once(None).chain(self.live_snaps().into_iter().map(Some)).collect();
        let mut n = 0;
        for o in 0..self.work.objects {
            let pool = self.work.pools[o as usize % self.work.pools.len()];
            for snap in &snaps {
                let c = n % self.clients.len();
                n += 1;
                self.ask_read(c, pool, format!("o{o}"), *snap, (0, 0));
            }
        }
        let deadline = self.now + 60 * SEC;
        if !self.run_until(deadline, |w| w.clients.iter().all(|c| c.ops.is_empty())) {
            self.unsettled();
        }
    }
}

/// One stored object.
#[derive(Debug, PartialEq, Eq)]
struct Copy {
    data: bytes::Bytes,
    attrs: Vec<(bytes::Bytes, bytes::Bytes)>,
    header: bytes::Bytes,
    omap: Vec<(bytes::Bytes, bytes::Bytes)>,
}

fn copies(store: &dyn ObjectStore, pg: SpgId) -> Result<BTreeMap<String, Copy>, StoreError> {
    let coll = CollId::Pg(pg);
    let mut out = BTreeMap::new();
    let mut known: BTreeSet<HObject> = BTreeSet::new();
    let mut from = HObject::MIN;
    loop {
        let page = store.list(coll, &from, 100)?;
        let mut any = false;
        for oid in page {
            if !known.insert(oid.clone()) {
                continue;
            }
            any = true;
            from = oid.clone();
            // The PG's own records differ between copies: only what clients put there counts.
            if oid.pool != pg.pg.pool || oid.name.is_empty() {
                continue;
            }
            let copy = Copy {
                data: store.read(coll, &oid, 0, u64::MAX)?,
                attrs: store.getattrs(coll, &oid)?,
                header: store.omap_header(coll, &oid)?,
                omap: store.omap_list(coll, &oid, None, 10_000)?,
            };
            out.insert(format!("{oid}"), copy);
        }
        if !any {
            return Ok(out);
        }
    }
}

fn difference(a: &BTreeMap<String, Copy>, b: &BTreeMap<String, Copy>) -> String {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for n in names {
        match (a.get(n), b.get(n)) {
            (Some(x), Some(y)) if x == y => {}
            (Some(x), Some(y)) => {
                let mut what = Vec::new();
                if x.data != y.data {
                    what.push(format!("data ({} and {} bytes)", x.data.len(), y.data.len()));
                }
                if x.attrs != y.attrs {
                    what.push(format!("xattrs ({:?} and {:?})", x.attrs, y.attrs));
                }
                if x.header != y.header || x.omap != y.omap {
                    what.push("omap".to_owned());
                }
                return format!("{n}: {}", what.join(", "));
            }
            (Some(_), None) => return format!("{n} is missing in the second"),
            _ => return format!("{n} is missing in the first"),
        }
    }
    "nothing".to_owned()
}
