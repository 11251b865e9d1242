//! Messages of the manager: sessions of daemons with it, its map, beacons and digests, and commands to it.
//!
//! Mirrors `messages/MMgr*.h`, `MMonMgrReport.h`, `MServiceMap.h`, `MKVData.h`, `MGetConfig.h`.

use crate::macros::{PaxosHeader, message};
use crate::{Message, Payload};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::{BTreeMap, BTreeSet};
use types::logentry::AuthName;
use types::mgrmap::{MgrMap, ModuleInfo};
use types::raw::RawStruct;
use types::servicemap::{DaemonHealthMetric, HealthCheckMap, ServiceMap};
use types::{AddrVec, Fsid};

/// One command of a daemon's table (`MonCommand`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CommandDesc {
    /// Words and parameters, in Ceph's own notation.
    pub cmdstring: String,
    /// Help text.
    pub helpstring: String,
    /// Module that the command belongs to.
    pub module: String,
    /// `r`, `rw`, `rx` ...
    pub req_perms: String,
    /// Bits: 1 no-forward, 2 obsolete, 4 deprecated, 8 mgr, 16 poll, 32 hidden.
    pub flags: u64,
}
impl Encode for CommandDesc {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.cmdstring);
            e.put(&self.helpstring);
            e.put(&self.module);
            e.put(&self.req_perms);
            e.put("cli,rest"); // was the availability
            e.u64(self.flags);
        });
    }
}
impl Decode for CommandDesc {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("MonCommand", 1)?;
        let mut c = CommandDesc {
            cmdstring: d.get()?,
            helpstring: d.get()?,
            module: d.get()?,
            req_perms: d.get()?,
            flags: 0,
        };
        d.string()?;
        c.flags = d.get()?;
        Ok(c)
    }
}

/// Describes a counter of [`MMgrReport::packed`] (`PerfCounterType`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PerfCounterType {
    /// Name.
    pub path: String,
    /// One line.
    pub description: String,
    /// Short name.
    pub nick: String,
    /// `perfcounter_type_d` bits.
    pub kind: u8,
    /// Priority.
    pub priority: u8,
    /// 0 bytes, 1 none.
    pub unit: u8,
}
impl Encode for PerfCounterType {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(3, 1, |e| {
            e.put(&self.path);
            e.put(&self.description);
            e.put(&self.nick);
            e.u8(self.kind);
            e.u8(self.priority);
            e.u8(self.unit);
        });
    }
}
impl Decode for PerfCounterType {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("PerfCounterType", 3)?;
        Ok(PerfCounterType {
            path: d.get()?,
            description: d.get()?,
            nick: d.get()?,
            kind: d.get()?,
            priority: if v >= 2 { d.get()? } else { 5 },
            unit: if v >= 3 { d.get()? } else { 0 },
        })
    }
}

/// The rest of a message's front, carried without being understood. A new one says "nothing".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail<const ZEROS: usize>(pub Bytes);
impl<const ZEROS: usize> Default for Tail<ZEROS> {
    fn default() -> Self {
        Tail(Bytes::from_static(&[0; ZEROS]))
    }
}
impl<const ZEROS: usize> Encode for Tail<ZEROS> {
    fn encode(&self, e: &mut Encoder) {
        e.raw(&self.0);
    }
}
impl<const ZEROS: usize> Decode for Tail<ZEROS> {
    const MIN_SIZE: usize = 0;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Tail(d.take_rest()))
    }
}

/// Text by name.
pub type Texts = BTreeMap<String, String>;
/// Names and addresses of a manager's own clients: two parallel lists on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MgrClients(pub Vec<(String, AddrVec)>);
impl Encode for MgrClients {
    fn encode(&self, e: &mut Encoder) {
        e.count(self.0.len());
        self.0.iter().for_each(|(_, addrs)| e.put(addrs));
        e.count(self.0.len());
        self.0.iter().for_each(|(name, _)| e.put(name));
    }
}
impl Decode for MgrClients {
    const MIN_SIZE: usize = 8;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let addrs: Vec<AddrVec> = d.get()?;
        let names: Vec<String> = d.get()?;
        if names.len() != addrs.len() {
            return Err(DencError::Invalid { what: "mgr client names", value: names.len() as u64 });
        }
        Ok(MgrClients(names.into_iter().zip(addrs).collect()))
    }
}

message! {
    /// The manager's answer to [`MMgrOpen`]: how often to report what.
    MMgrConfigure = MGR_CONFIGURE, "mgrconfigure", 4/1 {
        /// Seconds between reports.
        stats_period_secs: u32,
        /// Counters of a lower priority are not reported.
        stats_threshold: u32 = since 2,
        /// Queries for per-client statistics and metrics; empty ones by default.
        tail: Tail<5> = since 3,
    }
    /// A daemon's counters and status, to the manager.
    MMgrReport = MGR_REPORT, "mgrreport", 9/1 {
        /// Daemon.
        daemon_name: String,
        /// Counters that appear for the first time.
        declare_types: Vec<PerfCounterType>,
        /// Values of all counters declared so far, in the order of their paths.
        packed: Bytes,
        /// Counters that are gone.
        undeclare_types: Vec<String> = since 2,
        /// Service; empty means the kind of entity.
        service_name: String = since 3,
        /// Status of a service daemon.
        daemon_status: Option<Texts> = since 3,
        /// Numbers to be looked at.
        daemon_health_metrics: Vec<DaemonHealthMetric> = since 5,
        /// Configuration that changed: map of option to map of level to value.
        config: Bytes = since 6,
        /// Per-client statistics, task status and metrics; empty ones by default.
        tail: Tail<6> = since 7,
    }
    /// A daemon leaves.
    MMgrClose = MGR_CLOSE, "mgrclose", 1/1 {
        /// Daemon.
        daemon_name: String,
        /// Service.
        service_name: String,
    }
    /// Monitor to anyone: the manager map.
    MMgrMap = MGR_MAP, "mgrmap", 1/1 {
        /// The map.
        map: MgrMap,
    }
    /// A manager's sign of life to the monitor.
    MMgrBeacon = MGR_BEACON, "mgrbeacon", 11/8 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Its addresses.
        server_addrs: AddrVec,
        /// Its global id.
        gid: u64,
        /// It is ready.
        available: bool,
        /// Its name.
        name: String,
        /// Cluster.
        fsid: Fsid,
        /// Names of its modules.
        module_names: BTreeSet<String>,
        /// Commands that it answers; only while it starts.
        command_descs: Vec<CommandDesc>,
        /// What `mgr metadata` shows.
        metadata: Texts,
        /// URIs that modules serve.
        services: Texts,
        /// Its modules.
        modules: Vec<ModuleInfo>,
        /// Feature bits.
        mgr_features: u64 = since 9,
        /// Clients that it runs itself.
        clients: MgrClients = since 11,
    }
    /// Monitor to manager: health and status as JSON.
    MMgrDigest = MGR_DIGEST, "mgrdigest", 1/1 {
        /// `mon_status`.
        mon_status_json: Bytes,
        /// `health`.
        health_json: Bytes,
    }
    /// Manager to monitor: health, services and statistics.
    MMonMgrReport = MON_MGR_REPORT, "monmgrreport", 3/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Health checks.
        health_checks: HealthCheckMap,
        /// An encoded [`ServiceMap`], or nothing.
        service_map: Bytes,
        /// Progress events (`ProgressEvent`) by id.
        progress_events: BTreeMap<String, RawStruct> = since 2,
        /// The manager's global id.
        gid: u64 = since 3,
    } + /// An encoded `PGMapDigest`.
        digest
    /// The service map.
    MServiceMap = SERVICE_MAP, "service_map", 1/1 {
        /// The map.
        service_map: ServiceMap,
    }
    /// A command for the manager.
    MMgrCommand = MGR_COMMAND, "mgr_command", 1/1 {
        /// Cluster.
        fsid: Fsid,
        /// The command: JSON, usually one string.
        cmd: Vec<String>,
    } + /// Input.
        data
    /// Answer to [`MMgrCommand`].
    MMgrCommandReply = MGR_COMMAND_REPLY, "mgr_command_reply", 1/1 {
        /// 0 or a negative errno.
        r: i32,
        /// Status text (stderr).
        rs: String,
    } + /// Output.
        data
    /// Monitor to manager: keys of the configuration store.
    MKvData = KV_DATA, "kv_data", 1/1 {
        /// Version.
        version: u64,
        /// What the keys begin with.
        prefix: String,
        /// Only changes.
        incremental: bool,
        /// Values; `None` is a removed key.
        data: BTreeMap<String, Option<Bytes>>,
    }
    /// Asks the monitor for another entity's configuration.
    MGetConfig = GET_CONFIG, "get_config", 1/1 {
        /// The entity.
        name: AuthName,
        /// Its host.
        host: String,
        /// Its device class.
        device_class: String,
    }
}

/// `mgropen` (0x700): a daemon starts a session with the manager.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MMgrOpen {
    /// Daemon.
    pub daemon_name: String,
    /// Service; empty means the kind of entity.
    pub service_name: String,
    /// For service daemons: metadata and status.
    pub service_daemon: Option<(Texts, Texts)>,
    /// Configuration: map of option to map of level to value, encoded.
    pub config: Bytes,
    /// Defaults: map of option to value, encoded.
    pub config_defaults: Bytes,
}
impl Payload for MMgrOpen {
    const KIND: u16 = crate::kinds::MGR_OPEN;
    const NAME: &'static str = "mgropen";
    const VERSION: u16 = 3;
    const COMPAT: u16 = 1;

    fn encode_parts(&self, features: Features) -> (Bytes, Bytes, Bytes) {
        let mut e = Encoder::new(features);
        e.put(&self.daemon_name);
        e.put(&self.service_name);
        e.put(&self.service_daemon); // a bool, then the two maps
        e.put(&self.config);
        e.put(&self.config_defaults);
        (e.finish(), Bytes::new(), Bytes::new())
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        let mut d = Decoder::new(&msg.front);
        let mut m = MMgrOpen { daemon_name: d.get()?, ..MMgrOpen::default() };
        if msg.header.version >= 2 {
            m.service_name = d.get()?;
            m.service_daemon = d.get()?;
        }
        if msg.header.version >= 3 {
            m.config = d.get()?;
            m.config_defaults = d.get()?;
        }
        Ok(m)
    }
}
