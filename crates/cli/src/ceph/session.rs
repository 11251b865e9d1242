//! The client's way to the cluster: a session with a monitor, and from there to the daemon that a command is for.

use super::matcher::Target;
use super::settings::Settings;
use bytes::Bytes;
use monc::conf::ConfError;
use monc::{Answer, Commander, CommanderError, Login, Request};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;
use types::{AddrVec, EntityType, Errno, Fsid, OsdId, PgId};

/// A daemon that breaks its sessions is asked so often.
const TRIES_MAX: u32 = 100;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Stock's `client_mount_timeout` is 300 s; without an own limit, that is how long we wait for the monitors.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A monitor that is named and refuses so often is not there (`mon_client_directed_command_retry`).
const DIRECT_ATTEMPTS: u32 = 3;

/// Why there is no session. The texts begin as stock's do, for scripts that look at them.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No way to the monitors by this configuration.
    #[error("[errno 2] RADOS object not found (error connecting to the cluster): {0}")]
    Configuration(String),
    /// Wrong key, unknown user.
    #[error(
        "[errno 13] RADOS permission denied (error connecting to the cluster): {0} with its key from {1}"
    )]
    Denied(String, String),
    /// `--connect-timeout`, or the configuration's, has passed.
    #[error("timed out: {0}")]
    TimedOut(CommanderError),
}

impl OpenError {
    /// What the process ends with.
    pub fn exit_code(&self) -> i32 {
        match self {
            OpenError::Denied(..) => 13,
            OpenError::Configuration(_) | OpenError::TimedOut(_) => 1,
        }
    }
}

impl From<ConfError> for OpenError {
    fn from(e: ConfError) -> OpenError {
        OpenError::Configuration(e.to_string())
    }
}

/// See the module's documentation.
pub struct Session {
    /// With the monitors.
    pub monitors: Commander,
    login: Login,
    /// With monitors that were named.
    direct: RefCell<BTreeMap<String, Rc<Commander>>>,
    fsid: RefCell<Option<Fsid>>,
}

fn failed(errno: Errno) -> Answer {
    Answer { code: errno.negated(), outs: String::new(), outbl: Bytes::new() }
}

fn env() -> Rc<dyn cephx::Env> {
    Rc::new(runtime::System)
}

impl Session {
    /// Logs in.
    pub async fn open(
        settings: &Settings,
        timeout_secs: Option<u64>,
        kind: &str,
    ) -> Result<Session, OpenError> {
        let config = &settings.config;
        let mons = monc::conf::monitors(config)?;
        let key = settings.key().map_err(|e| OpenError::Configuration(format!("{e:#}")))?;
        let mut services = vec![EntityType::MGR, EntityType::OSD];
        services.extend((kind == "mds").then_some(EntityType::MDS));
        let timeout = timeout_secs.map_or_else(|| config.secs("client_mount_timeout"), Duration::from_secs);
        let login = Login { mons, name: settings.name.clone(), key, services, timeout, attempts_max: None };
        let monitors = Commander::login(login.clone(), env()).await.map_err(|e| match e {
            CommanderError::Denied => OpenError::Denied(settings.name.to_string(), config.str("keyring")),
            e => OpenError::TimedOut(e),
        })?;
        Ok(Session { monitors, login, direct: RefCell::default(), fsid: RefCell::default() })
    }

    /// The cluster's id.
    async fn fsid(&self) -> Fsid {
        let known = *self.fsid.borrow();
        match known {
            Some(fsid) => fsid,
            None => {
                let map = self.monitors.map("monmap", |m| m.mon.clone()).await;
                *self.fsid.borrow_mut() = Some(map.fsid);
                map.fsid
            }
        }
    }

    /// A command for the monitors as a service.
    pub async fn mon(&self, command: Value) -> Answer {
        let fsid = self.fsid().await;
        self.monitors.ask(Request::mon(fsid, command.to_string(), Bytes::new())).await
    }

    /// A command for whom it is for.
    pub async fn send(
        &self,
        target: &Target,
        mut command: Map<String, Value>,
        input: Bytes,
    ) -> anyhow::Result<Answer> {
        let to_manager = command.get("target").is_some_and(|t| t[0] == "mon-mgr");
        if target.kind == "pg" {
            command.insert("pgid".into(), json!(target.id));
        }
        let text = Value::Object(command).to_string();
        Ok(match (target.kind.as_str(), target.id.as_str()) {
            _ if to_manager => {
                self.manager(None, |fsid| Request::mgr(fsid, text.clone(), input.clone())).await
            }
            ("mon", "") => self.monitors.ask(Request::mon(self.fsid().await, text, input)).await,
            ("mon", name) => self.monitor(name, text, input).await,
            ("mgr", name) => {
                self.manager(Some(name), |fsid| Request::tell(fsid, text.clone(), input.clone())).await
            }
            ("osd", id) => self.osd(id, text, input).await,
            ("pg", id) => self.pg(id, text, input).await,
            ("mds", id) => self.mds(id, text, input).await,
            (kind, _) => anyhow::bail!("Bad target type '{kind}'"),
        })
    }

    /// A command for the very monitor of the session, whichever that is.
    pub async fn this_monitor(&self, command: Value) -> Answer {
        let fsid = self.fsid().await;
        self.monitors.ask(Request::tell(fsid, command.to_string(), Bytes::new())).await
    }

    /// A session with the monitor of this name; an errno when there is none, or none that answers.
    async fn direct(&self, name: &str) -> Result<Rc<Commander>, Errno> {
        if let Some(c) = self.direct.borrow().get(name) {
            return Ok(c.clone());
        }
        let map = self.monitors.map("monmap", |m| m.mon.clone()).await;
        let info = map.mons.get(name).ok_or(Errno::ENOENT)?;
        let login = Login {
            mons: vec![info.public_addrs.clone()],
            timeout: DIRECT_TIMEOUT,
            attempts_max: Some(DIRECT_ATTEMPTS),
            ..self.login.clone()
        };
        let commander = Rc::new(Commander::login(login, env()).await.map_err(|_| Errno::ENXIO)?);
        self.direct.borrow_mut().insert(name.to_owned(), commander.clone());
        Ok(commander)
    }

    async fn monitor(&self, name: &str, text: String, input: Bytes) -> Answer {
        let fsid = self.fsid().await;
        match self.direct(name).await {
            Ok(c) => c.ask(Request::tell(fsid, text, input)).await,
            Err(e) => failed(e),
        }
    }

    /// The monitor's answer to a ping.
    pub async fn ping(&self, name: &str) -> Result<String, Errno> {
        Ok(self.direct(name).await?.ask(Request::Ping).await.outs)
    }

    /// To the active manager, waiting for one; `name`: it must be this one, if not empty.
    async fn manager(&self, name: Option<&str>, request: impl Fn(Fsid) -> Request) -> Answer {
        let request = request(self.fsid().await);
        for _ in 0..TRIES_MAX {
            let map = loop {
                let map = self.monitors.map("mgrmap", |m| m.mgr.clone()).await;
                if name.is_some_and(|n| !n.is_empty() && n != map.active_name) {
                    return failed(Errno::ENXIO);
                }
                if map.active_gid != 0 && !map.active_addrs.0.is_empty() {
                    break map;
                }
                tokio::time::sleep(PAUSE).await;
            };
            if let Some(a) =
                self.monitors.ask_daemon(EntityType::MGR, &map.active_addrs, request.clone()).await
            {
                return a;
            }
            tokio::time::sleep(PAUSE).await;
        }
        failed(Errno::ENXIO)
    }

    async fn osd(&self, id: &str, text: String, input: Bytes) -> Answer {
        let Ok(osd) = id.trim().parse().map(OsdId) else { return failed(Errno::EINVAL) };
        let request = Request::tell(self.fsid().await, text, input);
        for _ in 0..TRIES_MAX {
            let map = self.monitors.map("osdmap", |m| m.osd.clone()).await;
            if !map.exists(osd) {
                return failed(Errno::ENOENT);
            }
            let addrs = map.addrs(osd).filter(|_| map.is_up(osd));
            let Some(addrs) = addrs else { return failed(Errno::ENXIO) };
            if let Some(a) = self.daemon(EntityType::OSD, addrs, &request).await {
                return a;
            }
        }
        failed(Errno::ENXIO)
    }

    async fn pg(&self, id: &str, text: String, input: Bytes) -> Answer {
        let Ok(pg) = id.parse::<PgId>() else { return failed(Errno::EINVAL) };
        let request = Request::tell(self.fsid().await, text, input);
        for _ in 0..TRIES_MAX {
            let map = self.monitors.map("osdmap", |m| m.osd.clone()).await;
            if map.pool(pg.pool).is_none() {
                return failed(Errno::ENOENT);
            }
            let addrs = map.acting_primary(pg).and_then(|osd| map.addrs(osd).filter(|_| map.is_up(osd)));
            let Some(addrs) = addrs else { return failed(Errno::ENXIO) };
            if let Some(a) = self.daemon(EntityType::OSD, addrs, &request).await {
                return a;
            }
        }
        failed(Errno::ENXIO)
    }

    /// By name, global id, rank, or `file-system:rank`.
    async fn mds(&self, id: &str, text: String, input: Bytes) -> Answer {
        let request = Request::tell(self.fsid().await, text, input);
        for _ in 0..TRIES_MAX {
            let map = self.monitors.map("fsmap", |m| m.fs.clone()).await;
            let (fs, rank) = id.split_once(':').map_or((None, id), |(fs, rank)| (Some(fs), rank));
            let of_rank = |rank: i32| {
                let of = match fs {
                    Some(name) => map.fs_by_name(name)?,
                    None => map.filesystems.get(&map.legacy_client_fscid)?,
                };
                of.mds_map.mds_info.values().find(|i| i.rank == rank)
            };
            let info = map
                .by_name(id)
                .or_else(|| rank.parse().ok().and_then(of_rank))
                .or_else(|| id.parse().ok().and_then(|gid| map.info(gid)));
            let Some(info) = info else { return failed(Errno::ENOENT) };
            if let Some(a) = self.daemon(EntityType::MDS, &info.addrs, &request).await {
                return a;
            }
        }
        failed(Errno::ENXIO)
    }

    async fn daemon(&self, kind: EntityType, addrs: &AddrVec, request: &Request) -> Option<Answer> {
        let answer = self.monitors.ask_daemon(kind, addrs, request.clone()).await;
        if answer.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        answer
    }

    /// All daemons of a kind, for `tell mon.*`.
    pub async fn all_of(&self, kind: &str) -> anyhow::Result<Vec<String>> {
        let (prefix, format) = match kind {
            "mon" => ("mon dump", Some("json")),
            "osd" => ("osd ls", None),
            "mds" => ("fs dump", Some("json")),
            "mgr" => ("mgr dump", Some("json")),
            _ => anyhow::bail!("Bad target type '{kind}'"),
        };
        let mut command = json!({ "prefix": prefix });
        if let Some(f) = format {
            command["format"] = json!(f);
        }
        let answer = self.mon(command).await;
        anyhow::ensure!(answer.code == 0, "Can't contact mon for {kind} list");
        if kind == "osd" {
            let text = String::from_utf8_lossy(&answer.outbl).into_owned();
            return Ok(text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect());
        }
        let all: Value = serde_json::from_slice(&answer.outbl)?;
        let name = |v: &Value| v["name"].as_str().unwrap_or_default().to_owned();
        let list = |v: &Value| v.as_array().into_iter().flatten().map(name).collect::<Vec<_>>();
        Ok(match kind {
            "mon" => list(&all["mons"]),
            // Only the active one can be told anything.
            "mgr" => vec![all["active_name"].as_str().unwrap_or_default().to_owned()],
            _ => {
                let mut names = list(&all["standbys"]);
                for fs in all["filesystems"].as_array().into_iter().flatten() {
                    names
                        .extend(fs["mdsmap"]["info"].as_object().into_iter().flatten().map(|(_, i)| name(i)));
                }
                names
            }
        })
    }
}
