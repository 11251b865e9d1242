//! Cluster log entries: [`LogEntry`] (`common/LogEntry.h`, struct version 5) and [`AuthName`] (`EntityName`).

use crate::{AddrVec, EntityName, EntityType, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::fmt;

/// A principal's full name, which a key belongs to: `client.admin`, `osd.3` (`EntityName` of `common/entity_name.h`). The
/// id is empty for `mon.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AuthName {
    /// Kind of entity.
    pub kind: EntityType,
    /// Its id.
    pub id: String,
}
impl AuthName {
    /// Builds a name.
    pub fn new(kind: EntityType, id: impl Into<String>) -> AuthName {
        AuthName { kind, id: id.into() }
    }
    /// Parses `client.admin`.
    pub fn parse(text: &str) -> Option<AuthName> {
        let (kind, id) = text.split_once('.')?;
        Some(AuthName::new(EntityType::parse(kind)?, id))
    }
    /// True for mon, osd, mds and mgr: their connections follow `auth_cluster_required`.
    pub fn is_daemon(&self) -> bool {
        matches!(self.kind, EntityType::MON | EntityType::OSD | EntityType::MDS | EntityType::MGR)
    }
}
impl fmt::Display for AuthName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.id)
    }
}
impl fmt::Debug for AuthName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Encode for AuthName {
    fn encode(&self, e: &mut Encoder) {
        e.u32(u32::from(self.kind.0));
        e.put(&self.id);
    }
}
impl Decode for AuthName {
    const MIN_SIZE: usize = 8;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let kind = d.u32()?;
        let kind = u8::try_from(kind)
            .map_err(|_| DencError::Invalid { what: "EntityName type", value: kind.into() })?;
        Ok(AuthName { kind: EntityType(kind), id: d.get()? })
    }
}

/// Severity of an entry (`clog_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogPrio(pub u16);
#[allow(missing_docs)]
impl LogPrio {
    pub const DEBUG: LogPrio = LogPrio(0);
    pub const INFO: LogPrio = LogPrio(1);
    pub const SEC: LogPrio = LogPrio(2);
    pub const WARN: LogPrio = LogPrio(3);
    pub const ERROR: LogPrio = LogPrio(4);

    /// As it stands in front of a message: `[INF]`.
    pub fn tag(self) -> &'static str {
        match self {
            LogPrio::DEBUG => "[DBG]",
            LogPrio::INFO => "[INF]",
            LogPrio::SEC => "[SEC]",
            LogPrio::WARN => "[WRN]",
            LogPrio::ERROR => "[ERR]",
            _ => "[???]",
        }
    }
}

/// One entry of the cluster log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogEntry {
    /// Who says it.
    pub name: AuthName,
    /// The same as a session entity.
    pub rank: EntityName,
    /// Its addresses.
    pub addrs: AddrVec,
    /// When.
    pub stamp: Utime,
    /// Its sequence number.
    pub seq: u64,
    /// Severity.
    pub prio: LogPrio,
    /// Text.
    pub msg: String,
    /// `cluster` or `audit`.
    pub channel: String,
}
impl Encode for LogEntry {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(5, 5, |e| {
            e.put(&self.name);
            e.put(&self.rank);
            e.put(&self.addrs);
            e.put(&self.stamp);
            e.u64(self.seq);
            e.u16(self.prio.0);
            e.put(&self.msg);
            e.put(&self.channel);
        });
    }
}
impl Decode for LogEntry {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("LogEntry", 5)?;
        if v < 5 {
            return Err(DencError::TooOld { what: "LogEntry", version: v, oldest: 5 });
        }
        Ok(LogEntry {
            name: d.get()?,
            rank: d.get()?,
            addrs: d.get()?,
            stamp: d.get()?,
            seq: d.get()?,
            prio: LogPrio(d.u16()?),
            msg: d.get()?,
            channel: d.get()?,
        })
    }
}
impl fmt::Display for LogEntry {
    /// As `ceph -w` and the log file have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({}) {} : {} {} {}",
            self.stamp,
            self.name,
            self.rank,
            self.seq,
            self.channel,
            self.prio.tag(),
            self.msg
        )
    }
}
