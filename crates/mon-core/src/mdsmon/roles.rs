//! What may happen to a daemon in the FSMap: it comes, gets a rank, follows one, stops, fails. Pure functions on the map.

use types::Epoch;
use types::compatset::{CompatSet, FeatureSet};
use types::fsmap::{FSCID_NONE, Filesystem, FsMap};
use types::mdsmap::{MdsInfo, state};

/// `daemon mds.a`: as the cluster log names it.
pub(crate) fn human(i: &MdsInfo) -> String {
    format!("daemon mds.{}", i.name)
}

/// True when a daemon that knows `mine` may write what has `theirs`.
pub(crate) fn writeable(mine: &CompatSet, theirs: &CompatSet) -> bool {
    let lacks = |mine: &FeatureSet, theirs: &FeatureSet| theirs.mask & !mine.mask != 0;
    !lacks(&mine.incompat, &theirs.incompat) && !lacks(&mine.ro_compat, &theirs.ro_compat)
}

fn merge(mine: &mut CompatSet, other: &CompatSet) {
    let each = [
        (&mut mine.compat, &other.compat),
        (&mut mine.ro_compat, &other.ro_compat),
        (&mut mine.incompat, &other.incompat),
    ];
    for (m, o) in each {
        m.mask |= o.mask;
        for (n, name) in &o.names {
            m.names.entry(*n).or_insert_with(|| name.clone());
        }
    }
}

/// True when a daemon of a newer release may come in: at most the one rank, nobody serving.
fn upgradeable(f: &Filesystem) -> bool {
    let m = &f.mds_map;
    let no_followers =
        m.mds_info.values().all(|i| i.state != state::STANDBY_REPLAY || i.is_laggy() || i.is_frozen());
    m.in_ranks.is_empty()
        || (m.in_ranks.len() == 1 && m.in_ranks.contains(&0) && m.up.is_empty() && no_followers)
}

/// A new daemon waits.
pub(crate) fn insert(m: &mut FsMap, mut i: MdsInfo) {
    let gid = i.global_id;
    i.state = state::STANDBY;
    m.mds_roles.insert(gid, FSCID_NONE);
    m.standby_epochs.insert(gid, m.epoch);
    m.standby_daemons.insert(gid, i);
}

/// The best waiting daemon for a file system: one that prefers it, else one that prefers none, else any.
pub(crate) fn available_standby(m: &FsMap, fscid: i32) -> Option<u64> {
    let f = m.filesystems.get(&fscid)?;
    let mut who = None;
    for (gid, i) in &m.standby_daemons {
        if i.is_laggy() || i.is_frozen() {
            continue;
        }
        if !writeable(&i.compat, &f.mds_map.compat) && !upgradeable(f) {
            continue;
        }
        if i.join_fscid == fscid {
            return Some(*gid);
        }
        if i.join_fscid == FSCID_NONE || who.is_none() {
            who = Some(*gid);
        }
    }
    who
}

/// Who takes a rank: its follower, else a waiting daemon.
pub(crate) fn replacement_for(m: &FsMap, fscid: i32, rank: i32) -> Option<u64> {
    let f = m.filesystems.get(&fscid)?;
    let follower = f.mds_map.mds_info.values().find(|i| i.rank == rank && i.state == state::STANDBY_REPLAY);
    match follower {
        Some(i) if i.is_frozen() => None,
        Some(i) => Some(i.global_id),
        None => available_standby(m, fscid),
    }
}

/// A waiting daemon, or a follower, takes a rank.
pub(crate) fn promote(m: &mut FsMap, gid: u64, fscid: i32, rank: i32) {
    let epoch = m.epoch;
    if m.mds_roles.get(&gid) == Some(&FSCID_NONE) {
        let Some(i) = m.standby_daemons.remove(&gid) else { return };
        m.standby_epochs.remove(&gid);
        if let Some(f) = m.filesystems.get_mut(&fscid) {
            f.mds_map.mds_info.insert(gid, i);
        }
    }
    m.mds_roles.insert(gid, fscid);
    let Some(f) = m.filesystems.get_mut(&fscid) else { return };
    let map = &mut f.mds_map;
    let Some(i) = map.mds_info.get_mut(&gid) else { return };
    i.state = if map.stopped.remove(&rank) {
        state::STARTING
    } else if map.in_ranks.contains(&rank) {
        state::REPLAY
    } else {
        state::CREATING
    };
    i.rank = rank;
    i.inc = epoch.0 as i32;
    merge(&mut map.compat, &i.compat);
    map.in_ranks.insert(rank);
    map.failed.remove(&rank);
    map.up.insert(rank, gid);
    map.inc.insert(rank, epoch.0 as i32);
}

/// A waiting daemon follows a rank.
pub(crate) fn follow(m: &mut FsMap, gid: u64, fscid: i32, rank: i32) {
    let (Some(mut i), Some(f)) = (m.standby_daemons.remove(&gid), m.filesystems.get_mut(&fscid)) else {
        return;
    };
    m.standby_epochs.remove(&gid);
    i.rank = rank;
    i.state = state::STANDBY_REPLAY;
    f.mds_map.mds_info.insert(gid, i);
    m.mds_roles.insert(gid, fscid);
}

/// A daemon is gone; its rank has failed. `blocklisted` is the OSDMap epoch that keeps it from writing.
pub(crate) fn erase(m: &mut FsMap, gid: u64, blocklisted: Epoch) {
    let Some(fscid) = m.mds_roles.remove(&gid) else { return };
    if fscid == FSCID_NONE {
        m.standby_daemons.remove(&gid);
        m.standby_epochs.remove(&gid);
        return;
    }
    let Some(f) = m.filesystems.get_mut(&fscid) else { return };
    let map = &mut f.mds_map;
    let Some(i) = map.mds_info.remove(&gid) else { return };
    if i.state != state::STANDBY_REPLAY {
        if i.state == state::CREATING {
            // The rank never came to be: the next daemon makes it anew.
            map.in_ranks.remove(&i.rank);
        } else {
            map.failed.insert(i.rank);
        }
        map.up.remove(&i.rank);
    }
    if blocklisted.0 > 0 {
        map.last_failure_osd_epoch = blocklisted;
    }
}

/// A daemon says that its rank is damaged: nobody takes it before it is repaired.
pub(crate) fn damaged(m: &mut FsMap, gid: u64, blocklisted: Epoch) {
    let Some((fscid, rank)) = role(m, gid) else { return };
    erase(m, gid, blocklisted);
    if let Some(f) = m.filesystems.get_mut(&fscid) {
        f.mds_map.failed.remove(&rank);
        f.mds_map.damaged.insert(rank);
    }
}

/// A daemon has shut its rank down in order; its followers go with it.
pub(crate) fn stop(m: &mut FsMap, gid: u64) {
    let Some((fscid, rank)) = role(m, gid) else { return };
    let Some(f) = m.filesystems.get_mut(&fscid) else { return };
    let map = &mut f.mds_map;
    map.up.remove(&rank);
    map.in_ranks.remove(&rank);
    map.stopped.insert(rank);
    let followers: Vec<u64> = map
        .mds_info
        .values()
        .filter(|i| i.rank == rank && i.state == state::STANDBY_REPLAY)
        .map(|i| i.global_id)
        .collect();
    for g in followers.into_iter().chain([gid]) {
        map.mds_info.remove(&g);
        m.mds_roles.remove(&g);
    }
}

/// File system and rank of a daemon that holds one.
pub(crate) fn role(m: &FsMap, gid: u64) -> Option<(i32, i32)> {
    let fscid = *m.mds_roles.get(&gid)?;
    let i = m.info(gid)?;
    (fscid != FSCID_NONE && i.rank >= 0).then_some((fscid, i.rank))
}

/// May a daemon that holds a rank go from one state to another by itself?
pub(crate) fn transition_valid(prev: i32, next: i32) -> bool {
    if next == prev || next == state::DAMAGED {
        return true;
    }
    match prev {
        state::REPLAY => matches!(next, state::RESOLVE | state::RECONNECT),
        state::REJOIN => matches!(next, state::ACTIVE | state::CLIENTREPLAY | state::STOPPED),
        state::RESOLVE | state::RECONNECT | state::CLIENTREPLAY => next == prev + 1,
        state::CREATING | state::STARTING => next == state::ACTIVE,
        state::ACTIVE => next == state::STOPPING,
        state::STOPPING => next == state::STOPPED,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::mdsmap::MdsMap;

    fn map(daemons: u64) -> FsMap {
        let mut m = FsMap::empty(Epoch(5));
        m.filesystems.insert(1, Filesystem { fscid: 1, mds_map: MdsMap::default(), ..Filesystem::default() });
        for g in 1..=daemons {
            insert(&mut m, MdsInfo { global_id: g, name: format!("m{g}"), ..MdsInfo::default() });
        }
        m
    }

    #[test]
    fn a_rank_is_created_once_and_replayed_afterwards() {
        let mut m = map(2);
        promote(&mut m, 1, 1, 0);
        assert_eq!(m.info(1).unwrap().state, state::CREATING);
        erase(&mut m, 1, Epoch(9));
        assert!(m.filesystems[&1].mds_map.in_ranks.is_empty(), "what was not made needs no replay");
        promote(&mut m, 2, 1, 0);
        m.info_mut(2).unwrap().state = state::ACTIVE;
        insert(&mut m, MdsInfo { global_id: 3, ..MdsInfo::default() });
        erase(&mut m, 2, Epoch(10));
        assert_eq!(m.filesystems[&1].mds_map.failed.iter().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(m.filesystems[&1].mds_map.last_failure_osd_epoch, Epoch(10));
        promote(&mut m, 3, 1, 0);
        assert_eq!(m.info(3).unwrap().state, state::REPLAY);
        assert_eq!(m.contradiction(), None);
    }

    #[test]
    fn a_follower_takes_over_before_a_daemon_that_waits() {
        let mut m = map(3);
        promote(&mut m, 1, 1, 0);
        m.info_mut(1).unwrap().state = state::ACTIVE;
        follow(&mut m, 3, 1, 0);
        assert_eq!(m.contradiction(), None);
        assert_eq!(replacement_for(&m, 1, 0), Some(3));
        erase(&mut m, 1, Epoch(2));
        promote(&mut m, 3, 1, 0);
        assert_eq!((m.info(3).unwrap().state, m.contradiction()), (state::REPLAY, None));
    }

    #[test]
    fn a_stopped_rank_starts_again() {
        let mut m = map(2);
        promote(&mut m, 1, 1, 0);
        stop(&mut m, 1);
        assert!(m.filesystems[&1].mds_map.stopped.contains(&0) && m.info(1).is_none());
        promote(&mut m, 2, 1, 0);
        assert_eq!((m.info(2).unwrap().state, m.contradiction()), (state::STARTING, None));
    }

    #[test]
    fn a_damaged_rank_is_nobodys() {
        let mut m = map(1);
        promote(&mut m, 1, 1, 0);
        m.info_mut(1).unwrap().state = state::REPLAY;
        damaged(&mut m, 1, Epoch(3));
        let f = &m.filesystems[&1].mds_map;
        assert!(f.damaged.contains(&0) && f.failed.is_empty() && f.up.is_empty());
        assert_eq!(m.contradiction(), None);
    }

    #[test]
    fn daemons_prefer_their_file_system() {
        let mut m = map(2);
        m.standby_daemons.get_mut(&1).unwrap().join_fscid = 7;
        assert_eq!(available_standby(&m, 1), Some(2));
        m.standby_daemons.get_mut(&1).unwrap().join_fscid = 1;
        assert_eq!(available_standby(&m, 1), Some(1));
        m.standby_daemons.get_mut(&1).unwrap().laggy_since = types::Utime::from_secs(1);
        m.standby_daemons.get_mut(&2).unwrap().join_fscid = 7;
        assert_eq!(available_standby(&m, 1), Some(2), "better than none");
    }
}
