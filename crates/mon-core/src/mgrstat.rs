//! What the active external manager reports: sums over PGs and space, health, services, progress. Replicated, so that another leader
//! knows it at once.
//!
//! Mirrors stock's `MgrStatMonitor`. Nothing of it counts while the role is the monitors' own.

use crate::core::MonCore;
use crate::event::{LogLevel, MonEffect, SessionId};
use crate::health::{Check, Checks, Severity};
use crate::kv::{Batch, Kv};
use crate::table::encoded;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use messages::{MMonMgrReport, MServiceMap, Message};
use std::collections::BTreeMap;
use std::rc::Rc;
use types::pgdigest::{PgMapDigest, ProgressEvent};
use types::servicemap::{HealthCheckMap, HealthStatus, ServiceMap};

const KEY: &str = "mgr/report";
/// Largest report that is kept.
pub(crate) const REPORT_MAX: usize = 8 << 20;
/// Lines of detail kept of one health check; and progress events.
const DETAIL_MAX: usize = 1000;
const EVENTS_MAX: usize = 1000;

/// One report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Sums.
    pub digest: Rc<PgMapDigest>,
    /// What the manager and its modules find wrong.
    pub health: HealthCheckMap,
    /// Service daemons that are registered with it.
    pub services: ServiceMap,
    /// What goes on, by id.
    pub progress: BTreeMap<String, ProgressEvent>,
}
impl Encode for Report {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&*self.digest);
            e.put(&self.health);
            e.put(&self.services);
            e.put(&self.progress);
        });
    }
}
impl Decode for Report {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("manager's report", 1)?;
        Ok(Report { digest: Rc::new(d.get()?), health: d.get()?, services: d.get()?, progress: d.get()? })
    }
}

/// The service.
#[derive(Clone, Debug, Default)]
pub struct MgrStat {
    /// The committed report.
    pub report: Option<Report>,
    /// Staged: the next one, or none any more.
    pending: Option<Option<Report>>,
}

impl MgrStat {
    /// From the store.
    pub fn load(kv: &Kv) -> MgrStat {
        MgrStat { report: kv.get(KEY).and_then(|b| Decoder::new(b).get().ok()), pending: None }
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.pending.is_some()
    }
    /// Stages that there is no report.
    pub fn forget(&mut self) {
        self.pending = self.report.is_some().then_some(None);
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        match self.pending.take() {
            Some(Some(r)) => batch.put(KEY, encoded(&r)),
            Some(None) => batch.delete(KEY),
            None => {}
        }
    }
    /// Takes over a committed batch; true when there is another report.
    pub fn commit(&mut self, batch: &Batch) -> bool {
        let Some(change) = batch.changes.get(KEY) else { return false };
        self.report = change.as_ref().and_then(|b| Decoder::new(b).get().ok());
        true
    }
    /// The report that counts: while nothing is staged the committed one.
    fn peek(&self) -> Option<&Report> {
        self.pending.as_ref().unwrap_or(&self.report).as_ref()
    }
}

impl MonCore {
    /// The report of the external manager, while there is to be one.
    pub(crate) fn manager_report(&self) -> Option<&Report> {
        self.mgrstat.report.as_ref().filter(|_| self.mgr.external)
    }

    /// The sums of the external manager go before our own counts, or no more.
    pub(crate) fn follow_manager(&mut self) {
        self.pgmap.digest = match self.mgr.external {
            true => Some(self.mgrstat.report.as_ref().map(|r| r.digest.clone()).unwrap_or_default()),
            false => None,
        };
    }

    /// The handler of `monmgrreport`.
    pub(crate) fn mon_mgr_report(&mut self, id: SessionId, m: MMonMgrReport) -> Result<(), DencError> {
        let active = self.mgr.peek().active_gid;
        // (Before version 3 a report does not say whose it is; the session does.)
        let gid = if m.gid == 0 { active } else { m.gid };
        if !self.mgr.peek_external() || active == 0 || gid != active || !self.is_manager(id, None, active) {
            return Ok(());
        }
        let digest: PgMapDigest = Decoder::new(&m.digest).get()?;
        let before = self.mgrstat.peek();
        let services = match m.service_map.is_empty() {
            true => before.map(|r| r.services.clone()).unwrap_or_default(),
            false => Decoder::new(&m.service_map).get()?,
        };
        let progress = m.progress_events.into_iter().take(EVENTS_MAX);
        let progress = progress.map(|(id, e)| Ok((id, e.decode()?))).collect::<Result<_, DencError>>()?;
        let mut health = m.health_checks;
        health.0.values_mut().for_each(|c| c.detail.truncate(DETAIL_MAX));
        let r = Report { digest: Rc::new(digest), health, services, progress };
        if before != Some(&r) {
            self.mgrstat.pending = Some(Some(r));
        }
        Ok(())
    }

    /// What the external manager finds wrong, added to what the monitors do.
    pub(crate) fn manager_checks(&self, checks: &mut Checks) {
        for (code, c) in self.manager_report().into_iter().flat_map(|r| &r.health.0) {
            let severity = match c.severity {
                HealthStatus::Err => Severity::Err,
                HealthStatus::Warn => Severity::Warn,
                HealthStatus::Ok => Severity::Ok,
            };
            let (summary, detail, count) = (c.summary.clone(), c.detail.clone(), c.count);
            match checks.get_mut(code) {
                None => drop(checks.insert(code.clone(), Check { severity, summary, detail, count })),
                Some(own) => {
                    own.severity = own.severity.max(severity);
                    own.detail.extend(detail);
                    own.count = own.count.saturating_add(count);
                }
            }
        }
    }

    /// The service map, to who subscribed to it.
    pub(crate) fn check_servicemap_sub(&mut self, id: SessionId) {
        let map = self.manager_report().map(|r| r.services.clone()).unwrap_or_default();
        // (Of nothing, too: a manager that starts waits for a map.)
        if !self.sub_due(id, "servicemap", map.epoch.0.into()) {
            return;
        }
        let Some(s) = self.sessions.get(&id) else { return };
        let f = s.features();
        self.send(id, Message::new(&MServiceMap { service_map: map }, f));
    }

    /// A report that is too large is not taken.
    pub(crate) fn report_is_too_large(&mut self, bytes: usize) -> bool {
        if bytes > REPORT_MAX {
            let line = format!("ignoring a manager's report of {bytes} bytes");
            self.effects.push(MonEffect::Log(LogLevel::Error, line));
        }
        bytes > REPORT_MAX
    }
}
