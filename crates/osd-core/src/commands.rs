//! Commands to the OSD: `ceph tell osd.N ...` (message 97) and the admin socket. One table serves both.

use crate::core::{OsdCore, Phase};
use crate::event::{OsdEffect, SessionId};
use bytes::Bytes;
use messages::{MCommand, MCommandReply, Message};
use objstore::ObjectStore;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{Errno, SpgId};

/// A command's outcome: output, or errno with a text for the user.
type Outcome = Result<Value, (Errno, String)>;

/// Prefixes with stock's signature and help, and whether they change anything (caps `w`).
const COMMANDS: &[(&str, &str, bool)] = &[
    ("get_command_descriptions", "list available commands", false),
    ("version", "report version of OSD", false),
    ("status", "high-level status of OSD", false),
    ("perf dump", "dump perfcounters value", false),
    ("dump_ops_in_flight", "show the ops currently in flight", false),
    ("ops", "show the ops currently in flight", false),
    ("dump_blocked_ops", "show the blocked ops currently in flight", false),
    ("dump_historic_slow_ops", "show slowest recent ops", false),
    ("dump_historic_ops", "show recent ops", false),
    ("dump_historic_ops_by_duration", "show slowest recent ops, sorted by duration", false),
    ("config show", "dump current config settings", false),
    ("config get name=var,type=CephString", "config get <field>: get the config value", false),
    (
        "config set name=var,type=CephString name=val,type=CephString,n=N",
        "config set <field> <val> [<val> ...]: set a config variable",
        true,
    ),
    (
        "injectargs name=injected_args,type=CephString,n=N",
        "inject configuration arguments into running OSD",
        true,
    ),
    ("config diff", "dump diff of current config and default config", false),
    (
        "config diff get name=var,type=CephString",
        "dump diff get <field>: dump diff of current and default config setting <field>",
        false,
    ),
    ("config help name=var,type=CephString,req=false", "get config setting schema and descriptions", false),
    ("config unset name=var,type=CephString", "config unset <field>: unset a config variable", true),
    ("log flush", "flush log entries to log file", true),
    ("log reopen", "reopen log file", true),
    ("get_latest_osdmap", "force osd to update the latest map from the mon", true),
    ("flush_pg_stats", "flush pg stats", true),
    ("query", "show details of a specific pg", false),
    (
        "pg name=pgid,type=CephPgid name=cmd,type=CephChoices,strings=query",
        "show details of a specific pg",
        false,
    ),
];

fn literal(sig: &str) -> String {
    sig.split(' ').filter(|w| !w.contains('=')).collect::<Vec<_>>().join(" ")
}

/// Stock's JSON of signatures: literal words and parameter objects.
fn descriptions() -> Value {
    let mut all = serde_json::Map::new();
    for (n, (sig, help, _)) in COMMANDS.iter().enumerate() {
        let words: Vec<Value> = sig
            .split(' ')
            .map(|w| {
                if !w.contains('=') {
                    return json!(w);
                }
                let fields: serde_json::Map<String, Value> = w
                    .split(',')
                    .filter_map(|f| f.split_once('='))
                    .map(|(k, v)| (k.to_owned(), json!(v)))
                    .collect();
                Value::Object(fields)
            })
            .collect();
        all.insert(format!("cmd{n:03}"), json!({ "sig": words, "help": help }));
    }
    Value::Object(all)
}

impl OsdCore {
    /// A command of the admin socket.
    pub(crate) fn on_admin_command(&mut self, id: u64, cmd: &Value, store: &mut dyn ObjectStore) {
        let (code, outs, outbl) = text_of(self.command(cmd, store));
        self.out.push(OsdEffect::CommandReply { id, code, outs, outbl });
    }

    /// A command of `ceph tell`.
    pub(crate) fn on_tell(&mut self, session: SessionId, msg: &Message, store: &mut dyn ObjectStore) {
        let Some(m) = self.decoded::<MCommand>(msg) else { return };
        let text = m.cmd.concat();
        if let Ok(cmd) = serde_json::from_str::<Value>(&text)
            && Self::is_of_process(&cmd)
            && self.may_command(session, &cmd)
        {
            let tid = msg.header.tid;
            return self.out.push(OsdEffect::Tell { session, tid, command: text });
        }
        let outcome = match serde_json::from_str::<Value>(&text) {
            Err(e) => Err((Errno::EINVAL, format!("command is not valid JSON: {e}"))),
            Ok(cmd) => match self.may_command(session, &cmd) {
                true => self.command(&cmd, store),
                false => Err((Errno::EACCES, "access denied".to_owned())),
            },
        };
        let (r, rs, data) = text_of(outcome);
        let reply = Message::new(&MCommandReply { r, rs, data }, self.session_features(session));
        self.send(session, reply.with_tid(msg.header.tid));
    }

    /// What the process answers, not the core: its options (of a change it asks the core) and its log.
    fn is_of_process(cmd: &Value) -> bool {
        matches!(
            cmd["prefix"].as_str().unwrap_or_default(),
            "config diff"
                | "config diff get"
                | "config get"
                | "config help"
                | "config set"
                | "config show"
                | "config unset"
                | "injectargs"
                | "log flush"
                | "log reopen"
        )
    }

    /// `tell` needs `allow *` on OSDs for what changes something, and `allow r` for what only looks, as in stock.
    fn may_command(&self, session: SessionId, cmd: &Value) -> bool {
        let Some(s) = self.sessions.get(&session) else { return false };
        if s.caps.is_allow_all() {
            return true;
        }
        let prefix = cmd["prefix"].as_str().unwrap_or_default();
        let changes = COMMANDS.iter().find(|c| literal(c.0) == prefix).is_none_or(|c| c.2);
        !changes && !s.caps.grants.is_empty() && prefix == "get_command_descriptions"
    }

    fn command(&mut self, cmd: &Value, store: &mut dyn ObjectStore) -> Outcome {
        let arg = |name: &str| cmd[name].as_str().unwrap_or_default().to_owned();
        let prefix = match cmd["prefix"].as_str().unwrap_or_default() {
            // The legacy form `pg <pgid> query`.
            "pg" if cmd["cmd"] == "query" => "query",
            p => p,
        };
        match prefix {
            "get_command_descriptions" => Ok(descriptions()),
            "version" => Ok(json!({
                "version": format!("loligo {} (compatible with ceph 16.2.15 pacific)", env!("CARGO_PKG_VERSION")),
                "release": "pacific",
                "release_type": "stable",
            })),
            "status" => Ok(self.status()),
            "perf dump" => Ok(self.perf_dump(store)),
            "dump_ops_in_flight" | "ops" => Ok(self.tracker.dump(self.waiting_ops(), self.now)),
            "dump_blocked_ops" => {
                Ok(self.tracker.dump_blocked(self.waiting_ops(), self.now, self.cfg.complaint_time))
            }
            "dump_historic_ops" => Ok(self.tracker.dump_history(self.now, false)),
            "dump_historic_ops_by_duration" => Ok(self.tracker.dump_history(self.now, true)),
            "dump_historic_slow_ops" => Ok(self.tracker.dump_slow(self.now)),
            "config show" => Ok(json!(self.options())),
            "config get" => {
                let var = arg("var");
                match self.options().remove(&var) {
                    Some(v) => Ok(json!({ var: v })),
                    None => {
                        Err((Errno::ENOENT, format!("error getting '{var}': (2) No such file or directory")))
                    }
                }
            }
            "config set" => {
                let val = match &cmd["val"] {
                    Value::Array(parts) => {
                        parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
                    }
                    v => v.as_str().unwrap_or_default().to_owned(),
                };
                let name = arg("var");
                self.set_option(&name, &val)?;
                self.out.push(OsdEffect::Overridden { name, value: val });
                Ok(json!({ "success": "" }))
            }
            "get_latest_osdmap" => {
                self.subscribe_maps();
                Ok(Value::Null)
            }
            "flush_pg_stats" => match self.flush_stats(store) {
                Some(seq) => Ok(json!(seq)),
                None => Err((Errno::EAGAIN, "there is no session with the manager".to_owned())),
            },
            "query" => {
                let text = arg("pgid");
                let pg = text.parse().map_err(|()| (Errno::EINVAL, format!("invalid pgid '{text}'")))?;
                match self.pgs.get(&SpgId::replicated(pg)) {
                    Some(slot) => Ok(slot.pg.query_json()),
                    None => Err((Errno::ENOENT, format!("i don't have pgid {pg}"))),
                }
            }
            other => Err((Errno::EINVAL, format!("no handler for '{other}'"))),
        }
    }

    fn status(&self) -> Value {
        let state = match self.phase {
            Phase::Preboot => "preboot",
            Phase::Booting { .. } => "booting",
            Phase::Active => "active",
            Phase::Stopping { .. } => "stopping",
        };
        json!({
            "cluster_fsid": self.sb.cluster_fsid.to_string(),
            "osd_fsid": self.sb.osd_fsid.to_string(),
            "whoami": self.cfg.whoami.0,
            "state": state,
            "oldest_map": self.sb.oldest_map.0,
            "newest_map": self.sb.newest_map.0,
            "num_pgs": self.pgs.len(),
        })
    }

    /// Options that the running OSD honours, with their values.
    fn options(&self) -> BTreeMap<String, String> {
        let c = &self.cfg;
        let secs = |d: Duration| d.as_secs_f64().to_string();
        [
            ("osd_heartbeat_interval", secs(c.heartbeat.interval)),
            ("osd_heartbeat_grace", secs(c.heartbeat.grace)),
            ("osd_beacon_report_interval", secs(c.beacon_interval)),
            ("osd_op_complaint_time", secs(c.complaint_time)),
            ("osd_op_history_size", self.tracker.history.size.to_string()),
            ("osd_op_history_duration", self.tracker.history.duration.as_secs().to_string()),
            ("osd_op_history_slow_op_size", self.tracker.history.slow_size.to_string()),
            ("osd_op_history_slow_op_threshold", secs(self.tracker.history.slow_threshold)),
            ("osd_map_message_max", c.map_message_max.to_string()),
            ("osd_map_cache_size", c.map_cache.to_string()),
            ("osd_min_pg_log_entries", c.pg.min_log_entries.to_string()),
            ("osd_max_pg_log_entries", c.pg.max_log_entries.to_string()),
            ("osd_recovery_max_active", c.pg.recovery_max_active.to_string()),
            ("osd_recovery_max_chunk", c.pg.recovery_chunk_bytes.to_string()),
            ("osd_max_object_size", c.pg.max_object_bytes.to_string()),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
    }

    /// Changes an option while running. Those that only a start can change are refused by name.
    pub(crate) fn set_option(&mut self, name: &str, value: &str) -> Result<(), (Errno, String)> {
        let bad = || (Errno::EINVAL, format!("error setting '{name}' to '{value}': (22) Invalid argument"));
        let secs = || {
            value
                .parse::<f64>()
                .ok()
                .filter(|v| *v > 0.0 && *v < 1e9)
                .map(Duration::from_secs_f64)
                .ok_or_else(bad)
        };
        let count = || value.parse::<u64>().ok().filter(|v| *v > 0).ok_or_else(bad);
        match name {
            "osd_heartbeat_interval" => self.cfg.heartbeat.interval = secs()?,
            "osd_heartbeat_grace" => self.cfg.heartbeat.grace = secs()?,
            "osd_beacon_report_interval" => self.cfg.beacon_interval = secs()?,
            "osd_op_complaint_time" => self.cfg.complaint_time = secs()?,
            "osd_op_history_size" => self.tracker.history.size = count()? as usize,
            "osd_op_history_duration" => self.tracker.history.duration = secs()?,
            "osd_op_history_slow_op_size" => self.tracker.history.slow_size = count()? as usize,
            "osd_op_history_slow_op_threshold" => self.tracker.history.slow_threshold = secs()?,
            "osd_map_message_max" => self.cfg.map_message_max = count()?.min(1000) as usize,
            known if self.options().contains_key(known) => {
                return Err((Errno::EPERM, format!("error setting '{name}': it takes effect at start only")));
            }
            _ => {
                return Err((
                    Errno::ENOENT,
                    format!("error setting '{name}' to '{value}': (2) No such file or directory"),
                ));
            }
        }
        self.hb.set_config(self.cfg.heartbeat);
        self.leases.set_duration(pg::Leases::duration_for(self.cfg.heartbeat.grace));
        Ok(())
    }

    /// The monitors' configuration for this daemon: options that can change now do, the others are the shell's.
    pub(crate) fn on_config(&mut self, config: BTreeMap<String, String>) {
        for (k, v) in &config {
            if self.mon.config.get(k) != Some(v) {
                // Options of other parts of the process are not ours to judge.
                let _ = self.set_option(k, v);
            }
        }
        if self.mon.config != config {
            self.out.push(OsdEffect::Config(config.clone()));
        }
        self.mon.config = config;
    }
}

fn text_of(outcome: Outcome) -> (i32, String, Bytes) {
    match outcome {
        Ok(Value::Null) => (0, String::new(), Bytes::new()),
        Ok(v) => (
            0,
            String::new(),
            serde_json::to_string_pretty(&v).map(|s| (s + "\n").into()).unwrap_or_default(),
        ),
        Err((errno, text)) => (errno.negated(), text, Bytes::new()),
    }
}
