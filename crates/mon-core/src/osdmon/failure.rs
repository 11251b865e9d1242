//! Failure reports: who says that which OSD does not answer, and when that is enough to mark it down.

use std::collections::BTreeMap;
use std::time::Duration;
use types::{OsdId, Utime};

/// One reporter's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the target stopped answering, by the reporter's account.
    pub since: Utime,
    /// Immediate: the target's address refuses connections.
    pub immediate: bool,
}

/// All open claims by target and reporter.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    by_target: BTreeMap<OsdId, BTreeMap<OsdId, Report>>,
}

impl Failures {
    /// Adds or renews a claim; the earliest `since` of a reporter stays.
    pub fn report(&mut self, target: OsdId, reporter: OsdId, r: Report) {
        let e = self.by_target.entry(target).or_default().entry(reporter).or_insert(r);
        e.since = e.since.min(r.since);
        e.immediate |= r.immediate;
    }
    /// Takes a claim back; true when there was one.
    pub fn cancel(&mut self, target: OsdId, reporter: OsdId) -> bool {
        let Some(m) = self.by_target.get_mut(&target) else { return false };
        let had = m.remove(&reporter).is_some();
        if m.is_empty() {
            self.by_target.remove(&target);
        }
        had
    }
    /// Forgets every claim about `osd`, and those that it made.
    pub fn forget(&mut self, osd: OsdId) {
        self.by_target.remove(&osd);
        for m in self.by_target.values_mut() {
            m.remove(&osd);
        }
        self.by_target.retain(|_, m| !m.is_empty());
    }
    /// Targets with claims.
    pub fn targets(&self) -> Vec<OsdId> {
        self.by_target.keys().copied().collect()
    }
    /// True when the claims about `target` suffice: enough reporters in different subtrees, and the target silent longer than `grace`
    /// (or unreachable for sure).
    pub fn is_failed(
        &self,
        target: OsdId,
        now: Utime,
        grace: Duration,
        reporters_min: usize,
        subtree_of: impl Fn(OsdId) -> String,
    ) -> bool {
        let Some(m) = self.by_target.get(&target) else { return false };
        if m.values().any(|r| r.immediate) {
            return true;
        }
        let subtrees: std::collections::BTreeSet<String> = m.keys().map(|o| subtree_of(*o)).collect();
        if subtrees.len() < reporters_min {
            return false;
        }
        // Stock measures from the latest claim: all of the reporters must have waited for the grace.
        let latest = m.values().map(|r| r.since).max().unwrap_or(now);
        now.since(latest) >= grace
    }
    /// True when somebody found the target's port closed: its process is gone.
    pub fn is_immediate(&self, target: OsdId) -> bool {
        self.by_target.get(&target).is_some_and(|m| m.values().any(|r| r.immediate))
    }
    /// Number of reporters of a target.
    pub fn reporters(&self, target: OsdId) -> usize {
        self.by_target.get(&target).map_or(0, BTreeMap::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_reporters_from_different_hosts_are_needed() {
        let mut f = Failures::default();
        let r = Report { since: Utime::from_secs(100), immediate: false };
        f.report(OsdId(1), OsdId(2), r);
        let grace = Duration::from_secs(20);
        let host = |o: OsdId| if o.0 < 4 { "a".to_owned() } else { "b".to_owned() };
        let failed = |f: &Failures, at| f.is_failed(OsdId(1), Utime::from_secs(at), grace, 2, host);
        assert!(!failed(&f, 200));
        f.report(OsdId(1), OsdId(3), r);
        assert!(!failed(&f, 200), "same host");
        f.report(OsdId(1), OsdId(5), r);
        assert!(!failed(&f, 110), "inside the grace");
        assert!(failed(&f, 120));
        f.forget(OsdId(5));
        assert!(!failed(&f, 120));
        f.report(OsdId(1), OsdId(3), Report { immediate: true, ..r });
        assert!(failed(&f, 101));
    }
}
