//! Messages between monitors and everyone: maps, subscriptions, versions, commands, pool operations, logs, statistics.
//!
//! Mirrors `messages/MMon*.h`, `MStatfs*.h`, `MPoolOp*.h`, `MLog*.h`, `MGetPoolStats*.h`, `MConfig.h`, `MAuth*.h`.

use crate::macros::{PaxosHeader, message};
use crate::{Message, Payload};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use std::collections::BTreeMap;
use types::logentry::LogEntry;
use types::monmap::MonMap;
use types::pgstat::PoolStat;
use types::{Epoch, Fsid, IntervalSet, PoolId, SnapId};

/// `ping` (2). Between OSD and client its front is empty. A monitor that is asked by `ceph ping` answers with JSON.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MPing {
    /// Front, raw.
    pub payload: Bytes,
}
impl MPing {
    /// The answer to `ceph ping`: one string.
    pub fn with_text(text: &str) -> MPing {
        MPing { payload: denc::to_bytes(text, Features::ALL) }
    }
}
impl Payload for MPing {
    const KIND: u16 = crate::kinds::PING;
    const NAME: &'static str = "ping";
    const VERSION: u16 = 1;
    const COMPAT: u16 = 1;
    fn encode_parts(&self, _features: Features) -> (Bytes, Bytes, Bytes) {
        (self.payload.clone(), Bytes::new(), Bytes::new())
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        Ok(MPing { payload: msg.front.clone() })
    }
}

/// One wish of a [`MMonSubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubItem {
    /// First version wanted.
    pub start: u64,
    /// Bits; 1 = [`SubItem::ONETIME`].
    pub flags: u8,
}
impl SubItem {
    /// Send once, then forget.
    pub const ONETIME: u8 = 1;
    /// True when one message satisfies it.
    pub fn is_onetime(self) -> bool {
        self.flags & Self::ONETIME != 0
    }
}
impl Encode for SubItem {
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.start);
        e.u8(self.flags);
    }
}
impl Decode for SubItem {
    const MIN_SIZE: usize = 9;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(SubItem { start: d.u64()?, flags: d.u8()? })
    }
}

/// What a pool operation does (`POOL_OP_*`).
pub mod pool_op {
    #![allow(missing_docs)]
    pub const CREATE: u32 = 0x01;
    pub const DELETE: u32 = 0x02;
    pub const AUID_CHANGE: u32 = 0x03;
    pub const CREATE_SNAP: u32 = 0x11;
    pub const DELETE_SNAP: u32 = 0x12;
    pub const CREATE_UNMANAGED_SNAP: u32 = 0x21;
    pub const DELETE_UNMANAGED_SNAP: u32 = 0x22;
}

/// The data of `poolop_reply`: a bool, then the bytes.
pub type PoolOpReplyData = Option<Bytes>;

/// Snapshots removed from pools.
pub type GapRemovedSnaps = BTreeMap<PoolId, IntervalSet>;

message! {
    /// Monitor to anyone: the monitor map, encoded.
    MMonMap = MON_MAP, "mon_map", 1/1 {
        /// An encoded [`MonMap`].
        monmap: Bytes,
    }
    /// Asks for [`MMonMap`].
    MMonGetMap = MON_GET_MAP, "mon_getmap", 1/1 {}
    /// Asks a monitor for OSD maps by range; both ends are included, 0 means none.
    MMonGetOsdMap = MON_GET_OSDMAP, "mon_get_osdmap", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// First full map.
        full_first: Epoch,
        /// Last full map.
        full_last: Epoch,
        /// First incremental.
        inc_first: Epoch,
        /// Last incremental.
        inc_last: Epoch,
    }
    /// OSD maps. Monitors answer subscriptions with it, OSDs share it with peers and clients that are behind.
    MOsdMap = OSD_MAP, "osd_map", 4/3 {
        /// Cluster.
        fsid: Fsid,
        /// Encoded incrementals by epoch.
        incremental_maps: BTreeMap<Epoch, Bytes>,
        /// Encoded full maps by epoch.
        maps: BTreeMap<Epoch, Bytes>,
        /// Oldest full map that the sender has.
        oldest: Epoch = since 2,
        /// Newest map that the sender has.
        newest: Epoch = since 2,
        /// Snapshots removed in the maps that are skipped.
        gap_removed_snaps: GapRemovedSnaps = since 4,
    }
    /// Asks a monitor to send maps as they change.
    MMonSubscribe = MON_SUBSCRIBE, "mon_subscribe", 3/1 {
        /// Name of the map (`osdmap`, `monmap`, `mgrmap`, `config`, `mdsmap.1`, ...) to what is wanted.
        what: BTreeMap<String, SubItem>,
        /// The asker's host.
        hostname: String = since 3,
    }
    /// Answer to [`MMonSubscribe`] for clients without CEPH_FEATURE_MON_STATEFUL_SUB; nobody needs it any more.
    MMonSubscribeAck = MON_SUBSCRIBE_ACK, "mon_subscribe_ack", 1/1 {
        /// Seconds until the subscription must be renewed.
        interval_secs: u32,
        /// Cluster.
        fsid: Fsid,
    }
    /// Asks for the newest version of a map.
    MMonGetVersion = MON_GET_VERSION, "mon_get_version", 1/1 {
        /// Comes back in the reply.
        handle: u64,
        /// Name of the map.
        what: String,
    }
    /// Answer to [`MMonGetVersion`].
    MMonGetVersionReply = MON_GET_VERSION_REPLY, "mon_get_version_reply", 2/2 {
        /// The request's handle.
        handle: u64,
        /// Newest version.
        version: u64,
        /// Oldest version still there.
        oldest_version: u64 = since 2,
    }
    /// A command for the monitor.
    MMonCommand = MON_COMMAND, "mon_command", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster; zero when the sender does not know it yet.
        fsid: Fsid,
        /// The command: JSON, usually one string.
        cmd: Vec<String>,
    } + /// Input.
        data
    /// Answer to [`MMonCommand`].
    MMonCommandAck = MON_COMMAND_ACK, "mon_command_ack", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// 0 or a negative errno.
        r: i32,
        /// Status text (stderr).
        rs: String,
        /// The command.
        cmd: Vec<String>,
    } + /// Output.
        data
    /// A command for a daemon (`tell`).
    MCommand = COMMAND, "command", 1/1 {
        /// Cluster.
        fsid: Fsid,
        /// The command: JSON, usually one string.
        cmd: Vec<String>,
    } + /// Input.
        data
    /// Answer to [`MCommand`].
    MCommandReply = COMMAND_REPLY, "command_reply", 1/1 {
        /// 0 or a negative errno.
        r: i32,
        /// Status text (stderr).
        rs: String,
    } + /// Output.
        data
    /// Asks for the cluster's space, or a pool's.
    MStatfs = STATFS, "statfs", 2/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// Only this pool.
        data_pool: Option<PoolId> = since 2,
    }
    /// Answer to [`MStatfs`].
    MStatfsReply = STATFS_REPLY, "statfs_reply", 1/1 {
        /// Cluster.
        fsid: Fsid,
        /// Version of the statistics.
        version: u64,
        /// KiB in all.
        kb: u64,
        /// KiB used.
        kb_used: u64,
        /// KiB free.
        kb_avail: u64,
        /// Objects.
        num_objects: u64,
    }
    /// Asks for pools' statistics.
    MGetPoolStats = GET_POOL_STATS, "getpoolstats", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// Names of pools; empty means all.
        pools: Vec<String>,
    }
    /// Answer to [`MGetPoolStats`].
    MGetPoolStatsReply = GET_POOL_STATS_REPLY, "getpoolstats_reply", 2/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// Statistics by pool name.
        pool_stats: BTreeMap<String, PoolStat>,
        /// True when the OSDs account space by pool.
        per_pool: bool = since 2,
    }
    /// Asks the monitor to change a pool: see [`pool_op`].
    MPoolOp = POOLOP, "poolop", 4/2 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// The pool; 0 when it is to be created.
        pool: u32,
        /// See [`pool_op`].
        op: u32,
        /// Was an owner.
        auid: u64,
        /// Snapshot to delete.
        snapid: SnapId,
        /// Name of the pool or the snapshot.
        name: String = since 2,
        /// Was the crush rule.
        pad: u8 = since 3,
        /// Crush rule of a new pool, or -1.
        crush_rule: i16 = since 4,
    }
    /// Answer to [`MPoolOp`].
    MPoolOpReply = POOLOP_REPLY, "poolop_reply", 1/1 {
        /// Paxos header; `version` is the map's.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// 0 or a negative errno.
        reply_code: i32,
        /// Epoch of the OSD map that has the change; the client waits for it.
        epoch: Epoch,
        /// The id of a created snapshot, as an encoded u64.
        response_data: PoolOpReplyData,
    }
    /// Configuration for a daemon or a client.
    MConfig = CONFIG, "config", 1/1 {
        /// Option to value.
        config: BTreeMap<String, String>,
    }
    /// Cluster log entries, to the monitor or to a subscriber.
    MLog = LOG, "log", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// Cluster.
        fsid: Fsid,
        /// The entries.
        entries: Vec<LogEntry>,
    }
    /// The monitor has logged entries up to `last`.
    MLogAck = LOG_ACK, "log_ack", 1/1 {
        /// Cluster.
        fsid: Fsid,
        /// Sequence of the last entry.
        last: u64,
        /// Channel.
        channel: String,
    }
    /// Authentication in the session: renewal of tickets, and on messenger v1 the login itself.
    MAuth = AUTH, "auth", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// CEPH_AUTH_*; 0 in the first request on messenger v1.
        protocol: u32,
        /// Protocol's bytes.
        payload: Bytes,
        /// Epoch of the monitor map that the sender has.
        monmap_epoch: Epoch,
    }
    /// Answer to [`MAuth`].
    MAuthReply = AUTH_REPLY, "auth_reply", 1/1 {
        /// CEPH_AUTH_*.
        protocol: u32,
        /// 0 or a negative errno.
        result: i32,
        /// The client's id.
        global_id: u64,
        /// Protocol's bytes.
        payload: Bytes,
        /// Text.
        message: String,
    }
    /// A daemon's purged snapshots question to the monitor: epochs `[start, last)`.
    MMonGetPurgedSnaps = MON_GET_PURGED_SNAPS, "mon_get_purged_snaps", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// First epoch.
        start: Epoch,
        /// Last epoch.
        last: Epoch,
    }
    /// Answer to [`MMonGetPurgedSnaps`].
    MMonGetPurgedSnapsReply = MON_GET_PURGED_SNAPS_REPLY, "mon_get_purged_snaps_reply", 1/1 {
        /// Paxos header.
        paxos: PaxosHeader,
        /// First epoch.
        start: Epoch,
        /// Last epoch.
        last: Epoch,
        /// By epoch and pool.
        purged_snaps: BTreeMap<Epoch, GapRemovedSnaps>,
    }
}

impl MMonMap {
    /// Encodes `map` for a peer with `features`.
    pub fn new(map: &MonMap, features: Features) -> MMonMap {
        MMonMap { monmap: denc::to_bytes(map, features) }
    }
    /// The map inside.
    pub fn decode_map(&self) -> Result<MonMap, DencError> {
        denc::from_bytes(&self.monmap)
    }
}
impl MMonSubscribe {
    /// One wish: `what` from `start` on, once or for good.
    pub fn one(what: &str, start: u64, onetime: bool) -> MMonSubscribe {
        let flags = if onetime { SubItem::ONETIME } else { 0 };
        MMonSubscribe { what: [(what.to_owned(), SubItem { start, flags })].into(), hostname: String::new() }
    }
}
impl MMonCommand {
    /// A command with input.
    pub fn new(fsid: Fsid, json: impl Into<String>, data: Bytes) -> MMonCommand {
        MMonCommand { paxos: PaxosHeader::default(), fsid, cmd: vec![json.into()], data }
    }
}
impl MOsdMap {
    /// Newest epoch in the message, 0 when it has none.
    pub fn last_epoch(&self) -> Epoch {
        let last = |m: &BTreeMap<Epoch, Bytes>| m.keys().next_back().copied().unwrap_or_default();
        last(&self.incremental_maps).max(last(&self.maps))
    }
    /// Oldest epoch in the message, 0 when it has none.
    pub fn first_epoch(&self) -> Epoch {
        let first = |m: &BTreeMap<Epoch, Bytes>| m.keys().next().copied();
        match (first(&self.incremental_maps), first(&self.maps)) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or_default(),
        }
    }
}
