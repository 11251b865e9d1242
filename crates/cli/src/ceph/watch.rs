//! `ceph -w`: the status, then the cluster's log as it grows, until interrupted.

use super::options::Globals;
use super::session::Session;
use serde_json::json;
use types::logentry::LogEntry;

/// One line, as stock's client prints it.
fn line(e: &LogEntry) -> String {
    format!("{} {} {} {}\n", e.stamp, e.name, e.prio.tag(), e.msg)
}

/// Runs until interrupted.
pub async fn run(session: &Session, globals: &Globals) -> anyhow::Result<i32> {
    let status = session.mon(json!({ "prefix": "status" })).await;
    if status.code < 0 {
        crate::say::aside(&format!("status query failed:  {}", status.outs));
        return Ok(-status.code);
    }
    super::write_out(&[&status.outbl[..], b"\n"].concat());
    let channel = globals.channel.as_deref().unwrap_or("cluster");
    session.monitors.subscribe(&format!("log-{}", globals.level.unwrap_or("info")));
    let lines = async {
        loop {
            let new = session.monitors.read_maps(|m| (!m.log.is_empty()).then(|| m.log.split_off(0))).await;
            for e in new.iter().filter(|e| channel == "*" || channel == e.channel) {
                if super::put(line(e).as_bytes()).is_err() {
                    // Nobody reads any more.
                    return 1;
                }
            }
        }
    };
    tokio::select! {
        code = lines => Ok(code),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 0).map_err(Into::into),
    }
}
