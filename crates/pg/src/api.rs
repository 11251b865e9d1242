//! What goes into a PG and what comes out: [`PgEvent`], [`PgEffect`], [`PgCtx`], [`ClientOp`].

use crate::lease::Leases;
use crate::map::ClusterMap;
use crate::msg::PgMsg;
use bytes::Bytes;
use messages::OsdOp;
use objstore::{CommitToken, ObjectStore};
use osd_ops::{CopyRequest, CopyResult};
use std::sync::Arc;
use std::time::Duration;
use types::{EVersion, EntityAddr, Epoch, HObject, OsdId, ReqId, SnapContext, SpgId, Utime};

/// A client session, as osd-core numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SessionId(pub u64);

/// Flags of a whole op (`CEPH_OSD_FLAG_*`).
pub mod op_flags {
    /// Ack wanted (legacy).
    pub const ACK: u32 = 0x0001;
    /// Durable ack wanted.
    pub const ONDISK: u32 = 0x0004;
    /// A resend.
    pub const RETRY: u32 = 0x0008;
    /// Reads.
    pub const READ: u32 = 0x0010;
    /// Writes.
    pub const WRITE: u32 = 0x0020;
    /// Reads are ordered behind writes and the reverse.
    pub const RWORDERED: u32 = 0x4000;
    /// Try in spite of full flags.
    pub const FULL_TRY: u32 = 0x80_0000;
    /// Go on in spite of full flags.
    pub const FULL_FORCE: u32 = 0x100_0000;
    /// Keep per-op results of writes.
    pub const RETURNVEC: u32 = 0x400_0000;
    /// The client accepts a read from any replica.
    pub const BALANCE_READS: u32 = 0x0100;
    /// The same, for the nearest.
    pub const LOCALIZE_READS: u32 = 0x2000;
}

/// One client request, decoded and authorised: what osd-core makes of an `MOSDOp`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientOp {
    /// Session to answer on.
    pub session: SessionId,
    /// Transaction id of the message.
    pub tid: u64,
    /// Identity for dedup: entity, tid and incarnation.
    pub reqid: ReqId,
    /// The client's address (watchers are listed by it).
    pub addr: EntityAddr,
    /// The client's feature bits.
    pub features: u64,
    /// The object: head or the snapshot that is read, with its hash.
    pub oid: HObject,
    /// Epoch of the client's map.
    pub epoch: Epoch,
    /// `CEPH_OSD_FLAG_*`.
    pub flags: u32,
    /// The client's clock.
    pub mtime: Utime,
    /// Snap context of a write.
    pub snapc: SnapContext,
    /// Attempt number (`retry_attempt`), for the reply.
    pub retry_attempt: i32,
    /// The ops.
    pub ops: Vec<OsdOp>,
}
impl ClientOp {
    /// Bytes of input; what queues are bounded by.
    pub fn cost_bytes(&self) -> u64 {
        self.ops.iter().map(|o| o.data.len() as u64).sum::<u64>() + 256
    }
}

/// The answer to a [`ClientOp`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientReply {
    /// The request, whose ids the reply repeats.
    pub op: Arc<ClientOp>,
    /// 0 or a positive result, or a negated errno.
    pub result: i32,
    /// Per-op result and output, one per op.
    pub outputs: Vec<(i32, Bytes)>,
    /// `replay_version`.
    pub version: EVersion,
    /// User version.
    pub user_version: u64,
    /// Epoch of the map that the PG is on.
    pub epoch: Epoch,
    /// ACK | ONDISK for durable writes.
    pub flags: u32,
}

/// What happens to a PG.
#[allow(clippy::large_enum_variant)] // moved once or twice; a box would cost an allocation per message
#[derive(Clone)]
pub enum PgEvent {
    /// The next map. Maps come in order; gaps (maps the OSD could not get) are survived pessimistically.
    AdvMap(Arc<dyn ClusterMap>),
    /// The OSD has taken in all maps it has and is up in the last one: act on it.
    ActMap,
    /// A copy on another OSD speaks. osd-core has checked that `from` is who the map says (address of the session).
    Message {
        /// The sender.
        from: OsdId,
        /// Its map epoch.
        epoch: Epoch,
        /// What it says.
        msg: PgMsg,
    },
    /// A client asks; caps are checked.
    ClientOp(Arc<ClientOp>),
    /// A client session ended: its watches go "disconnected", its waiting ops are dropped.
    SessionReset(SessionId),
    /// A transaction of ours is durable.
    Committed(CommitToken),
    /// Time passes (about once a second): recovery throttling, watch timeouts, trimming.
    Tick,
    /// Some OSD has granted us a lease since [`PgEffect::NeedLease`].
    LeaseRenewed,
    /// The contents that a [`PgEffect::CopyFrom`] asked for; none when the client is gone and the op with it.
    Copied {
        /// The op that waits for them.
        op: Arc<ClientOp>,
        /// One for each request.
        results: Vec<CopyResult>,
    },
    /// An operator asks for a scrub; answered by `EOPNOTSUPP` effects while scrub is missing.
    Repair(HObject),
}

/// What a PG wants done, in order.
#[allow(clippy::large_enum_variant)] // moved once or twice; a box would cost an allocation per message
#[derive(Clone, Debug, PartialEq)]
pub enum PgEffect {
    /// To the copy on another OSD, over an ordered, lossless session. Sent with our map epoch.
    SendToOsd {
        /// The receiver.
        osd: OsdId,
        /// Our map epoch when it was said.
        epoch: Epoch,
        /// The message.
        msg: PgMsg,
    },
    /// As [`PgEffect::SendToOsd`], to several: a change goes to all members.
    SendToOsds {
        /// The receivers.
        osds: Vec<OsdId>,
        /// Our map epoch when it was said.
        epoch: Epoch,
        /// The message.
        msg: PgMsg,
    },
    /// To the client that asked.
    ReplyClient(ClientReply),
    /// A `watch_notify` message to a watcher or notifier.
    WatchNotify {
        /// The session.
        session: SessionId,
        /// The message's fields.
        notify: WatchNotify,
    },
    /// The op needs other objects' contents: fetch them, then answer with [`PgEvent::Copied`].
    CopyFrom {
        /// The op, which keeps its place.
        op: Arc<ClientOp>,
        /// What it needs.
        requests: Vec<CopyRequest>,
    },
    /// Clients wait because these OSDs' leases have ended: ping them, then say [`PgEvent::LeaseRenewed`].
    NeedLease(Vec<OsdId>),
    /// The monitors must record that we are alive in this epoch before we can activate (`osd_alive`).
    RequestUpThru(Epoch),
    /// The monitors should let these OSDs act for the PG; empty takes the wish back (`osd_pg_temp`).
    RequestPgTemp {
        /// The PG.
        pgid: types::PgId,
        /// Wanted acting set.
        osds: Vec<OsdId>,
    },
    /// [`crate::Pg::status`] has changed and should be reported.
    StatsDirty,
    /// The monitors may be told that this pool's creating PG is created (`osd_pg_created`).
    Created(types::PgId),
    /// The copy is gone (its collection is queued for removal): drop the [`crate::Pg`] when the token commits.
    Gone(SpgId),
    /// The store failed in a way that only a restart cures.
    StoreFailed(String),
    /// For the cluster log.
    ClusterLog {
        /// An error, or a warning.
        error: bool,
        /// The text.
        text: String,
    },
}

/// Fields of a `watch_notify` message (41).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatchNotify {
    /// 1 notify, 2 complete, 3 disconnect.
    pub opcode: u8,
    /// The watcher's cookie.
    pub cookie: u64,
    /// Object version.
    pub version: u64,
    /// The notify's id.
    pub notify_id: u64,
    /// Payload, or the collected replies.
    pub payload: Bytes,
    /// 0 or a negated errno.
    pub return_code: i32,
    /// Who notified.
    pub notifier_gid: u64,
}

/// What the PG borrows for one event.
pub struct PgCtx<'a> {
    /// The time.
    pub now: Utime,
    /// The monotonic clock: what leases are counted by.
    pub mono: Duration,
    /// Leases of the OSD, shared by its PGs.
    pub leases: &'a mut Leases,
    /// The local store, shared by all PGs of the OSD.
    pub store: &'a mut dyn ObjectStore,
    /// Where commit tokens come from: the OSD's counter, one up for each queued transaction.
    pub next_token: &'a mut u64,
    /// Random bits.
    pub random: &'a mut dyn FnMut() -> u64,
    /// What to do, in order.
    pub out: &'a mut Vec<PgEffect>,
}

/// Knobs, with Ceph's option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgConfig {
    /// `osd_min_pg_log_entries`: a clean PG's log is trimmed to this.
    pub min_log_entries: usize,
    /// `osd_max_pg_log_entries`: a degraded PG's log may grow to this.
    pub max_log_entries: usize,
    /// `osd_pg_log_dups_tracked`: requests remembered, entries included.
    pub dups_tracked: usize,
    /// `osd_recovery_max_active`: objects in recovery at once, per PG.
    pub recovery_max_active: usize,
    /// `osd_max_push_cost` / `osd_recovery_max_chunk`: bytes per piece.
    pub recovery_chunk_bytes: u64,
    /// Recovery bytes started per tick while clients are active; all that fits when they are not.
    pub recovery_bytes_per_tick: u64,
    /// Families per backfill scan (`osd_backfill_scan_max`).
    pub backfill_scan_max: u32,
    /// Client ops waiting in a PG at most (bytes); more are refused with EAGAIN by dropping the session's op.
    pub waiting_max_bytes: u64,
    /// Peer messages held for a newer map at most.
    pub held_messages_max: usize,
    /// Store fullness at which client writes are refused (`mon_osd_full_ratio`), in thousandths.
    pub full_ratio_milli: u64,
    /// `osd_max_object_size`.
    pub max_object_bytes: u64,
    /// Clones trimmed per tick.
    pub snap_trim_per_tick: usize,
    /// A bug to show that the cluster tests see it.
    #[cfg(feature = "planted")]
    pub planted: Option<Planted>,
}
/// Bugs that the cluster tests must see (feature `planted`, tests only).
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Planted {
    AnswerBeforeAll,
    ReadUndurable,
    ForgetPastIntervals,
    SkipUpThru,
    ForgetResends,
    IgnoreMinSize,
    SpeakOfUndurable,
    NewestLogWins,
    ChangeWhileCopying,
    ForgetBackfillStart,
    NoFlush,
    StaleCommitCounts,
    ServeWithoutLease,
    NoWaitForLeases,
}
impl Default for PgConfig {
    fn default() -> Self {
        PgConfig {
            // As many as requests are remembered: then a trimmed entry need not be written again as a dup.
            min_log_entries: 3000,
            max_log_entries: 10_000,
            dups_tracked: 3000,
            recovery_max_active: 4,
            recovery_chunk_bytes: 1 << 20,
            recovery_bytes_per_tick: 32 << 20,
            backfill_scan_max: 256,
            waiting_max_bytes: 64 << 20,
            held_messages_max: 4096,
            full_ratio_milli: 950,
            max_object_bytes: 128 << 20,
            snap_trim_per_tick: 16,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}
