//! What the crowd is told to do, a JSON object a line, and what it answers:
//!
//! - `{"do": "create", "osds": N}`: N new OSDs with keys, by `osd new`.
//! - `{"do": "boot"}`: all begin; answers when the map has all of them up.
//! - `{"do": "change", "command": {...}}`: the command, as client.admin; answers when the epoch that holds its change has reached
//!   every OSD. `{"do": "ask", "command": {...}}`: the same without waiting for maps, with how long the answer took.
//! - `{"do": "state"}`: counters since the start.

use crate::osd::Osd;
use crate::place::Placer;
use crate::world::World;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use cephx::{AuthName, CryptoKey, KeyType};
use monc::Commander;
use runtime::System;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};
use types::{AddrVec, Fsid};

/// Each OSD ticks once a second, a slice of them at a time.
const SLICES: usize = 50;
/// How often the world is looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(2);
/// How long a change may take to reach everybody.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
/// How long all may take to be up.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// `osd new` commands under way at once.
const NEW_AT_ONCE: usize = 50;

struct Crowd {
    mons: Vec<AddrVec>,
    admin: Rc<Commander>,
    keys: Vec<(i32, Fsid, CryptoKey)>,
    world: Rc<World>,
    osds: Rc<RefCell<Vec<Rc<Osd>>>>,
}

/// Reads, does, answers.
pub async fn serve(conf: String) -> anyhow::Result<()> {
    let name = AuthName::parse("client.admin").context("entity")?;
    let args = runtime::DaemonArgs { id: Some("admin".to_owned()), conf: Some(conf), ..Default::default() };
    let (config, _) = args.config("client")?;
    let mons = monc::conf::monitors(&config)?;
    let key = monc::conf::load_key(&config, &name)?;
    let admin = Commander::connect(mons.clone(), name, key, Rc::new(System), Duration::from_secs(10)).await?;
    let (placer, _) = Placer::start();
    let mut crowd = Crowd {
        mons,
        admin: Rc::new(admin),
        keys: Vec::new(),
        world: Rc::new(World::new(0, placer)),
        osds: Rc::default(),
    };
    let (to, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        let order: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line:?}"))?;
        let answer = crowd.obey(&order).await.with_context(|| line.clone())?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

impl Crowd {
    async fn obey(&mut self, order: &Value) -> anyhow::Result<Value> {
        match order["do"].as_str().unwrap_or_default() {
            "create" => self.create(order["osds"].as_u64().context("osds")? as usize).await,
            "boot" => self.boot().await,
            "change" => self.change(&order["command"]).await,
            "ask" => {
                let start = Instant::now();
                let answer = self.admin.command(order["command"].clone(), Bytes::new()).await?;
                Ok(json!({ "code": answer.code, "ms": millis(start.elapsed()) }))
            }
            "state" => Ok(self.state()),
            what => bail!("no order {what:?}"),
        }
    }

    async fn create(&mut self, osds: usize) -> anyhow::Result<Value> {
        let start = Instant::now();
        while self.keys.len() < osds {
            let n = (osds - self.keys.len()).min(NEW_AT_ONCE);
            let asked: Vec<_> =
                (0..n).map(|_| tokio::task::spawn_local(new_osd(self.admin.clone()))).collect();
            for a in asked {
                self.keys.push(a.await??);
            }
        }
        self.keys.sort_by_key(|(id, _, _)| *id);
        let ids = self.keys.iter().map(|(id, _, _)| *id);
        ensure!(ids.eq(0..osds as i32), "the cluster had OSDs already");
        Ok(json!({ "ms": millis(start.elapsed()) }))
    }

    async fn boot(&mut self) -> anyhow::Result<Value> {
        let (placer, mut placed) = Placer::start();
        let world = Rc::new(World::new(self.keys.len(), placer));
        self.world = world.clone();
        let make =
            |(id, uuid, key): &(i32, Fsid, CryptoKey)| Osd::new(*id, *uuid, key.clone(), &self.mons, &world);
        *self.osds.borrow_mut() = self.keys.iter().map(make).collect();
        let start = Instant::now();
        let osds = self.osds.clone();
        tokio::task::spawn_local(async move {
            let every = Duration::from_millis(1000 / SLICES as u64);
            for slice in (0..SLICES).cycle() {
                let some: Vec<Rc<Osd>> = osds.borrow().iter().skip(slice).step_by(SLICES).cloned().collect();
                some.iter().for_each(|o| o.tick());
                tokio::time::sleep(every).await;
            }
        });
        let (osds, at) = (self.osds.clone(), world.clone());
        tokio::task::spawn_local(async move {
            loop {
                tokio::select! {
                    p = placed.recv() => {
                        let Some(p) = p else { return };
                        at.placed(p, System::now());
                        let all = osds.borrow().clone();
                        all.iter().for_each(|o| o.wish());
                    }
                    () = tokio::time::sleep(Duration::from_millis(50)) => at.tick(),
                }
            }
        });
        while world.active.get() < self.keys.len() {
            ensure!(start.elapsed() < BOOT_LIMIT, "not all up: {}", self.state());
            tokio::time::sleep(LOOK).await;
        }
        Ok(json!({ "ms": millis(start.elapsed()), "epoch": world.epoch() }))
    }

    async fn change(&self, command: &Value) -> anyhow::Result<Value> {
        let before = self.world.counters.get();
        let start = Instant::now();
        let answer = self.admin.command(command.clone(), Bytes::new()).await?;
        let answered = start.elapsed();
        ensure!(answer.code == 0, "{}", answer.outs);
        let stat = json!({ "prefix": "osd stat", "format": "json" });
        let stat = self.admin.command(stat, Bytes::new()).await?;
        let stat: Value = serde_json::from_slice(&stat.outbl)?;
        let epoch = stat["epoch"].as_u64().context("osd stat names no epoch")? as u32;
        let reached = loop {
            if let Some(at) = self.world.reached(epoch) {
                break at - start;
            }
            ensure!(start.elapsed() < CHANGE_LIMIT, "e{epoch} has not reached everybody: {}", self.state());
            tokio::time::sleep(LOOK).await;
        };
        let after = self.world.counters.get();
        Ok(json!({
            "epoch": epoch,
            "answered_ms": millis(answered),
            "reached_ms": millis(reached),
            "map_messages": after.map_messages - before.map_messages,
            "map_bytes": after.map_bytes - before.map_bytes,
        }))
    }

    fn state(&self) -> Value {
        let c = self.world.counters.get();
        let traffic =
            self.osds.borrow().iter().map(|o| o.traffic()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let pgs = self.world.pgs.borrow();
        json!({
            "active": self.world.active.get(),
            "epoch": self.world.epoch(),
            "pgs": pgs.len(),
            "pgs_active": pgs.values().filter(|p| p.active).count(),
            "map_messages": c.map_messages,
            "map_bytes": c.map_bytes,
            "full_maps": c.full_maps,
            "reports": c.reports,
            "pgs_reported": c.pgs_reported,
            "mon_breaks": c.mon_breaks,
            "mgr_breaks": c.mgr_breaks,
            "bad_maps": c.bad_maps,
            "bytes_in": traffic.0,
            "bytes_out": traffic.1,
        })
    }
}

async fn new_osd(admin: Rc<Commander>) -> anyhow::Result<(i32, Fsid, CryptoKey)> {
    let mut random = [0u8; 16];
    System::random(&mut random);
    let uuid = Fsid::from_random(random);
    let key = CryptoKey::generate(KeyType::Aes, &System);
    let secret = json!({ "cephx_secret": key.to_base64() }).to_string();
    let command = json!({ "prefix": "osd new", "uuid": uuid.to_string() });
    let answer = admin.command(command, secret.into()).await?;
    ensure!(answer.code == 0, "osd new: {}", answer.outs);
    let id = String::from_utf8_lossy(&answer.outbl).trim().parse().context("osd new names no id")?;
    Ok((id, uuid, key))
}

fn millis(d: Duration) -> f64 {
    (d.as_secs_f64() * 10_000.0).round() / 10.0
}
