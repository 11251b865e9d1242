//! Services that daemons register with the manager, and health checks: [`ServiceMap`] (`mgr/ServiceMap.h`),
//! [`HealthCheck`] (`mon/health_check.h`), [`DaemonHealthMetric`].

use crate::{EntityAddr, Epoch, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;

/// One daemon of a service (`ServiceMap::Daemon`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceDaemon {
    /// Global id.
    pub gid: u64,
    /// Address.
    pub addr: EntityAddr,
    /// Map epoch in which it appeared.
    pub start_epoch: Epoch,
    /// When it appeared.
    pub start_stamp: Utime,
    /// What it said about itself when it started.
    pub metadata: BTreeMap<String, String>,
    /// What it is doing.
    pub task_status: BTreeMap<String, String>,
}
impl Encode for ServiceDaemon {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.u64(self.gid);
            e.put(&self.addr);
            e.put(&self.start_epoch);
            e.put(&self.start_stamp);
            e.put(&self.metadata);
            e.put(&self.task_status);
        });
    }
}
impl Decode for ServiceDaemon {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("ServiceMap::Daemon", 2)?;
        Ok(ServiceDaemon {
            gid: d.get()?,
            addr: d.get()?,
            start_epoch: d.get()?,
            start_stamp: d.get()?,
            metadata: d.get()?,
            task_status: if v >= 2 { d.get()? } else { BTreeMap::new() },
        })
    }
}

/// One service (`ServiceMap::Service`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Service {
    /// Its daemons.
    pub daemons: BTreeMap<String, ServiceDaemon>,
    /// One line.
    pub summary: String,
}
impl Encode for Service {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.daemons);
            e.put(&self.summary);
        });
    }
}
impl Decode for Service {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("ServiceMap::Service", 1)?;
        Ok(Service { daemons: d.get()?, summary: d.get()? })
    }
}

/// All services.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceMap {
    /// Counts changes.
    pub epoch: Epoch,
    /// When it last changed.
    pub modified: Utime,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
}
impl Encode for ServiceMap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.epoch);
            e.put(&self.modified);
            e.put(&self.services);
        });
    }
}
impl Decode for ServiceMap {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("ServiceMap", 1)?;
        Ok(ServiceMap { epoch: d.get()?, modified: d.get()?, services: d.get()? })
    }
}

/// How bad a health check is (`health_status_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[allow(missing_docs)]
pub enum HealthStatus {
    Err = 0,
    Warn = 1,
    #[default]
    Ok = 2,
}
impl HealthStatus {
    /// `HEALTH_OK` and the like.
    pub fn name(self) -> &'static str {
        match self {
            HealthStatus::Err => "HEALTH_ERR",
            HealthStatus::Warn => "HEALTH_WARN",
            HealthStatus::Ok => "HEALTH_OK",
        }
    }
}

/// One health check (`health_check_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HealthCheck {
    /// How bad.
    pub severity: HealthStatus,
    /// One line.
    pub summary: String,
    /// More lines.
    pub detail: Vec<String>,
    /// How many things are affected.
    pub count: i64,
}
impl Encode for HealthCheck {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 1, |e| {
            e.u8(self.severity as u8);
            e.put(&self.summary);
            e.put(&self.detail);
            e.i64(self.count);
        });
    }
}
impl Decode for HealthCheck {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("health_check_t", 2)?;
        let severity = match d.u8()? {
            0 => HealthStatus::Err,
            1 => HealthStatus::Warn,
            2 => HealthStatus::Ok,
            other => return Err(DencError::Invalid { what: "health_status_t", value: other.into() }),
        };
        Ok(HealthCheck {
            severity,
            summary: d.get()?,
            detail: d.get()?,
            count: if v >= 2 { d.get()? } else { 0 },
        })
    }
}

/// Health checks by code (`health_check_map_t`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HealthCheckMap(pub BTreeMap<String, HealthCheck>);
impl Encode for HealthCheckMap {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.put(&self.0));
    }
}
impl Decode for HealthCheckMap {
    const MIN_SIZE: usize = 6;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("health_check_map_t", 1)?;
        Ok(HealthCheckMap(d.get()?))
    }
}

/// A number that a daemon wants looked at (`DaemonHealthMetric`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DaemonHealthMetric {
    /// 0 slow operations, 1 PGs that are being created.
    pub kind: u8,
    /// Two u32 or one u64, by `kind`.
    pub value: u64,
}
impl Encode for DaemonHealthMetric {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u8(self.kind);
            e.u64(self.value);
        });
    }
}
impl Decode for DaemonHealthMetric {
    const MIN_SIZE: usize = 15;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("DaemonHealthMetric", 1)?;
        Ok(DaemonHealthMetric { kind: d.get()?, value: d.get()? })
    }
}
