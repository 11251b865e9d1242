//! Health of file systems and MDS daemons, with stock's codes and texts: from the committed map, and from what daemons say themselves.

use super::roles::replacement_for;
use crate::core::MonCore;
use crate::health::{Check, Checks, Severity};
use types::mdsmap::MdsMap;

/// Code and summary of each kind of complaint (`mds_metric_t`), from 1 on; N is the number of complaints.
const METRICS: [(&str, &str); 14] = [
    ("MDS_TRIM", "N MDSs behind on trimming"),
    ("MDS_CLIENT_RECALL", "N clients failing to respond to cache pressure"),
    ("MDS_CLIENT_LATE_RELEASE", "N clients failing to respond to capability release"),
    ("MDS_CLIENT_RECALL_MANY", "N MDSs have many clients failing to respond to cache pressure"),
    ("MDS_CLIENT_LATE_RELEASE_MANY", "N MDSs have many clients failing to respond to capability release"),
    ("MDS_CLIENT_OLDEST_TID", "N clients failing to advance oldest client/flush tid"),
    ("MDS_CLIENT_OLDEST_TID_MANY", "N MDSs have clients failing to advance oldest client/flush tid"),
    ("MDS_DAMAGE", "N MDSs report damaged metadata"),
    ("MDS_READ_ONLY", "N MDSs are read only"),
    ("MDS_SLOW_REQUEST", "N MDSs report slow requests"),
    ("MDS_CACHE_OVERSIZED", "N MDSs report oversized cache"),
    ("MDS_SLOW_METADATA_IO", "N MDSs report slow metadata IOs"),
    ("MDS_DUMMY", "N MDSs report a test of health warnings"),
    ("MDS_CLIENTS_LAGGY", "N client(s) laggy due to laggy OSDs"),
];

/// `health_status_t` as it travels.
fn severity(s: u8) -> Severity {
    match s {
        0 => Severity::Err,
        1 => Severity::Warn,
        _ => Severity::Ok,
    }
}

fn add(
    out: &mut Checks,
    code: &str,
    severity: Severity,
    detail: Vec<String>,
    summary: impl Fn(usize) -> String,
) {
    let c = out.entry(code.to_owned()).or_insert_with(|| Check {
        severity,
        summary: String::new(),
        detail: Vec::new(),
        count: 0,
    });
    c.severity = c.severity.max(severity);
    c.count += detail.len() as i64;
    c.detail.extend(detail);
    c.summary = summary(c.count as usize);
}

fn one_fs(out: &mut Checks, m: &MdsMap) {
    let name = &m.fs_name;
    let are = |n: usize| if n == 1 { "filesystem is" } else { "filesystems are" };
    if !m.damaged.is_empty() {
        let detail = m.damaged.iter().map(|r| format!("fs {name} mds.{r} is damaged")).collect();
        add(out, "MDS_DAMAGE", Severity::Err, detail, |n| {
            format!("{n} mds daemon{} damaged", if n == 1 { "" } else { "s" })
        });
    }
    if m.is_degraded() {
        let detail = vec![format!("fs {name} is degraded")];
        add(out, "FS_DEGRADED", Severity::Warn, detail, |n| format!("{n} {} degraded", are(n)));
    }
    if (m.in_ranks.len() as i64) < i64::from(m.max_mds) {
        let detail = vec![format!("fs {name} has {} MDS online, but wants {}", m.in_ranks.len(), m.max_mds)];
        add(out, "MDS_UP_LESS_THAN_MAX", Severity::Warn, detail, |n| {
            format!("{n} {} online with fewer MDS than max_mds", are(n))
        });
    }
    if m.up.is_empty() && m.max_mds > 0 {
        let detail = vec![format!("fs {name} is offline because no MDS is active for it.")];
        add(out, "MDS_ALL_DOWN", Severity::Err, detail, |n| format!("{n} {} offline", are(n)));
    }
    if m.inline_data_enabled {
        let detail = vec![format!("fs {name} has deprecated feature inline_data enabled.")];
        add(out, "FS_INLINE_DATA_DEPRECATED", Severity::Warn, detail, |n| {
            format!("{n} filesystem{} with deprecated feature inline_data", if n == 1 { "" } else { "s" })
        });
    }
}

impl MonCore {
    pub(crate) fn mds_checks(&self, out: &mut Checks) {
        let m = &self.mds.map;
        let standbys = m.standby_daemons.len();
        let mut missing = 0;
        for f in m.filesystems.values() {
            one_fs(out, &f.mds_map);
            missing = missing.max(f.mds_map.standbys_missing(standbys));
            let stuck =
                f.mds_map.failed.iter().filter(|r| replacement_for(m, f.fscid, **r).is_none()).count();
            if stuck > 0 {
                let plural = if stuck == 1 { "" } else { "s" };
                let detail = vec![format!("fs {} has {stuck} failed mds{plural}", f.mds_map.fs_name)];
                add(out, "FS_WITH_FAILED_MDS", Severity::Warn, detail, |n| {
                    format!("{n} filesystem{} a failed mds daemon", if n == 1 { " has" } else { "s have" })
                });
            }
        }
        if missing > 0 {
            let detail = vec![format!("have {standbys}; want {missing} more")];
            let text = "insufficient standby MDS daemons available";
            add(out, "MDS_INSUFFICIENT_STANDBY", Severity::Warn, detail, |_| text.to_owned());
        }
        for i in m.daemons() {
            for h in self.mds.health.get(&i.global_id.to_string()).iter().flat_map(|h| &h.metrics) {
                let Some((code, summary)) = METRICS.get(usize::from(h.kind).wrapping_sub(1)) else {
                    continue;
                };
                let mut text = format!("mds.{}(mds.{}): {}", i.name, i.rank, h.message);
                for (n, (k, v)) in h.metadata.iter().enumerate() {
                    text.push_str(&format!("{}{k}: {v}", if n == 0 { " " } else { ", " }));
                }
                add(out, code, severity(h.severity), vec![text], |n| {
                    format!("{n}{}", summary.trim_start_matches('N'))
                });
            }
        }
    }
}
