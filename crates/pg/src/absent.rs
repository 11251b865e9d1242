//! What to say to a message for a PG of which this OSD has no copy.

use crate::info::{PastInterval, PgHistory, PgInfo};
use crate::lease::Leases;
use crate::map::ClusterMap;
use crate::msg::{LogReply, Notify, PgMsg, PullMiss};
use std::time::Duration;
use types::{EVersion, Epoch, OsdId, SpgId};

/// The decision.
#[allow(clippy::large_enum_variant)] // moved once or twice; a box would cost an allocation per message
#[derive(Clone, PartialEq, Debug)]
pub enum Absent {
    /// Nothing.
    Ignore,
    /// Ask again with a newer map.
    Hold,
    /// Answer.
    Reply(PgMsg),
    /// Create a copy with [`crate::Pg::create`] as of the map of the message's epoch, bring it to the newest map, and
    /// give it the message.
    Create {
        /// History for it.
        history: PgHistory,
        /// Past intervals for it.
        past_intervals: Vec<PastInterval>,
    },
}

/// Decides on a message from `from`, sent on map `epoch`. An answer tells of all promises in `leases`: without a copy it is not
/// known which matter.
pub fn answer(
    pgid: SpgId,
    whoami: OsdId,
    from: OsdId,
    epoch: Epoch,
    msg: &PgMsg,
    map: &dyn ClusterMap,
    (leases, mono): (&Leases, Duration),
) -> Absent {
    if epoch > map.epoch() {
        return Absent::Hold;
    }
    if map.pool(pgid.pg.pool).is_none() || map.up_from(from) > epoch {
        return Absent::Ignore;
    }
    let p = map.placement(pgid.pg);
    let from_primary = p.acting_primary == Some(from);
    let nothing = PgInfo::new(pgid);
    match msg {
        PgMsg::QueryInfo(_) if from_primary => {
            let rests = leases.rests(mono, |_, _| true);
            Absent::Reply(PgMsg::Notify(Notify { info: nothing, past_intervals: Vec::new(), rests }))
        }
        PgMsg::QueryLog(_) if from_primary => Absent::Reply(PgMsg::Log(LogReply {
            info: nothing,
            since: EVersion::ZERO,
            ..LogReply::default()
        })),
        PgMsg::Pull(pull) if from_primary => Absent::Reply(PgMsg::PullMiss(PullMiss {
            oid: pull.oid.clone(),
            version: pull.version,
            corrupt: false,
        })),
        PgMsg::Activate(a) if from_primary && (p.up.contains(&whoami) || p.acting.contains(&whoami)) => {
            Absent::Create { history: a.info.history.clone(), past_intervals: a.past_intervals.clone() }
        }
        // Another OSD has a copy and takes us for its primary.
        PgMsg::Notify(n) if p.acting_primary == Some(whoami) && !n.info.dne() => {
            Absent::Create { history: n.info.history.clone(), past_intervals: n.past_intervals.clone() }
        }
        _ => Absent::Ignore,
    }
}
