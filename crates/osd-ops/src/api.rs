//! The crate's public face: what goes into [`crate::execute`] and what comes out.
//!
//! A PG uses it so: resolve the object ([`crate::load_object_context`], [`crate::resolve_snap`]), [`crate::classify`]
//! the op vector for caps, take the next version, [`crate::execute`], then append `outcome.log` to its log and queue
//! `outcome.txn`; once that is durable it hands `outcome.watch` to its [`crate::watch::WatchRegistry`].

use crate::info::{ObjectInfo, SnapSet, WatchInfo, WatchKey};
use crate::watch::WatchRegistry;
use bytes::Bytes;
use objstore::{CollId, ObjectStore, Transaction};
use types::{EVersion, EntityAddr, Errno, HObject, ObjectLocator, ReqId, SnapContext, SnapId, Utime};

/// Limits, with stock's defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `osd_max_object_size`.
    pub object_size_max: u64,
    /// `osd_max_object_name_len`.
    pub object_name_len_max: usize,
    /// `osd_max_object_namespace_len`.
    pub object_namespace_len_max: usize,
    /// `osd_max_attr_name_len`.
    pub attr_name_len_max: usize,
    /// `osd_max_attr_size`; 0 is no limit (then 64 KiB as the store's own limit).
    pub attr_size_max: u64,
    /// `osd_max_omap_entries_per_request`.
    pub omap_entries_per_request_max: u64,
    /// `osd_max_omap_bytes_per_request`.
    pub omap_bytes_per_request_max: u64,
    /// `osd_max_write_op_reply_len`.
    pub write_op_reply_len_max: usize,
    /// `osd_client_watch_timeout`.
    pub watch_timeout_secs: u32,
    /// `osd_default_notify_timeout`.
    pub notify_timeout_secs: u32,
    /// `osd_pg_object_list...`: most entries one PG listing returns (`osd_max_pgls`).
    pub pgls_max: u64,
    /// Most ops in one message.
    pub ops_max: usize,
}
impl Default for Limits {
    fn default() -> Self {
        Limits {
            object_size_max: 128 << 20,
            object_name_len_max: 2048,
            object_namespace_len_max: 256,
            attr_name_len_max: 100,
            attr_size_max: 0,
            omap_entries_per_request_max: 1024,
            omap_bytes_per_request_max: 1 << 30,
            write_op_reply_len_max: 64,
            watch_timeout_secs: 30,
            notify_timeout_secs: 30,
            pgls_max: 1024,
            ops_max: 4096,
        }
    }
}

/// A client session, as the OSD numbers them; opaque here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SessionId(pub u64);

/// Whether the pool takes more data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PoolFull {
    /// It does.
    #[default]
    No,
    /// The cluster or the pool is out of space: growth is `ENOSPC`.
    NoSpace,
    /// The pool's quota is used up: growth is `EDQUOT`.
    Quota,
}

/// State of one object: a head (with its snap set) or a clone (with the head's snap set).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectContext {
    /// The object: its `snap` is HEAD or the clone's id.
    pub oid: HObject,
    /// It is in the store (a whiteout exists, too).
    pub exists: bool,
    /// Its info; a fresh one when it does not exist.
    pub info: ObjectInfo,
    /// Its (or its head's) clones.
    pub snapset: SnapSet,
}
impl ObjectContext {
    /// The context of an object that is not in the store.
    pub fn absent(oid: HObject) -> Self {
        ObjectContext { info: ObjectInfo::new(oid.clone()), oid, exists: false, snapset: SnapSet::default() }
    }
    /// True when clients see an object: it exists and is no whiteout.
    pub fn visible(&self) -> bool {
        self.exists && !self.info.is_whiteout()
    }
}

/// A class call of an op vector, as caps see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassUse {
    /// Class name.
    pub class: String,
    /// Method name.
    pub method: String,
    /// The method reads.
    pub reads: bool,
    /// The method writes.
    pub writes: bool,
}

/// What an op vector is, for caps, routing and ordering. From the ops and the class table, never from message flags.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpClass {
    /// Something reads (caps `r`). Class calls do not set this: check `class_calls`.
    pub may_read: bool,
    /// Something writes (caps `w`), including a writing class call's own effect on ordering.
    pub may_write: bool,
    /// A class method reads.
    pub class_read: bool,
    /// A class method writes.
    pub class_write: bool,
    /// Acts on the PG, not on an object (listing).
    pub pg_op: bool,
    /// Class calls, for `allow class`/`x` caps.
    pub class_calls: Vec<ClassUse>,
    /// The vector can change the object, so a snap context is needed.
    pub needs_snapc: bool,
    /// It must run in order with writes (writes, watches, notifies, `RWORDERED`).
    pub ordered: bool,
    /// Every write in it only frees space (delete, truncate): let it through when full... `FULL_TRY` semantics apply.
    pub only_deletes: bool,
}
impl OpClass {
    /// Reads by ops or class methods.
    pub fn reads(&self) -> bool {
        self.may_read || self.class_read
    }
    /// Writes by ops or class methods: it needs a transaction.
    pub fn writes(&self) -> bool {
        self.may_write || self.class_write
    }
}

/// What a vector runs against and who sent it.
pub struct OpEnv<'a> {
    /// Local store.
    pub store: &'a dyn ObjectStore,
    /// The PG's collection.
    pub coll: CollId,
    /// OSD clock.
    pub now: Utime,
    /// Map epoch.
    pub epoch: types::Epoch,
    /// `mtime` of the message.
    pub mtime: Utime,
    /// Request id with the connection's client id and the header's tid.
    pub reqid: ReqId,
    /// The client's address.
    pub addr: EntityAddr,
    /// The session, for watch effects.
    pub session: SessionId,
    /// Features of the connection.
    pub client_features: u64,
    /// Message flags.
    pub msg_flags: messages::OsdFlags,
    /// Snapshot that reads see (HEAD, a snap id, or SNAPDIR); writes need HEAD.
    pub snapid: SnapId,
    /// Snap context for writes: the message's or the pool's, removed snaps already filtered.
    pub snapc: &'a SnapContext,
    /// Version for the first log entry; later entries count up from it.
    pub at_version: EVersion,
    /// The PG's `last_user_version`.
    pub last_user_version: u64,
    /// Pool or cluster fullness.
    pub full: PoolFull,
    /// Limits.
    pub limits: &'a Limits,
    /// The PG's watches.
    pub watches: &'a WatchRegistry,
    /// Id of the next notify (`epoch << 32 | counter`), counted up by `execute`.
    pub next_notify_id: &'a mut u64,
    /// Source of random bytes.
    pub random: &'a mut dyn FnMut(&mut [u8]),
    /// `require_osd_release` of the map.
    pub require_osd_release: u8,
    /// `require_min_compat_client` of the map.
    pub min_compat_client: u8,
    /// Answers to the [`CopyRequest`]s of an earlier execution of the same message.
    pub copies: &'a [CopyResult],
    /// Keep the [`crate::snap::SnapMapper`] index in the transaction (always, but for tests of single ops).
    pub snap_mapper: bool,
}

/// Result of one op.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpResult {
    /// Its return value.
    pub rval: i32,
    /// Its output.
    pub out: Bytes,
}

/// Kind of a PG log entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogKind {
    /// The object was created or changed.
    Modify,
    /// A clone was made of the head.
    Clone,
    /// The object was removed.
    Delete,
}

/// One log entry for the PG to append, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// What happened.
    pub kind: LogKind,
    /// To which object.
    pub oid: HObject,
    /// Version of the change.
    pub version: EVersion,
    /// The object's version before; zero when it was absent.
    pub prior_version: EVersion,
    /// The version that clients see.
    pub user_version: u64,
    /// Request; default for clones and trims.
    pub reqid: ReqId,
    /// Client's mtime.
    pub mtime: Utime,
    /// Snaps of a clone (kind Clone, or Modify of a clone by trimming).
    pub snaps: Vec<SnapId>,
}

/// Change of a PG's statistics (the fields of `object_stat_sum_t` that ops change).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct StatsDelta {
    pub num_bytes: i64,
    pub num_objects: i64,
    pub num_object_clones: i64,
    pub num_whiteouts: i64,
    pub num_objects_omap: i64,
    pub num_objects_dirty: i64,
    pub num_rd: i64,
    pub num_rd_kb: i64,
    pub num_wr: i64,
    pub num_wr_kb: i64,
}
impl StatsDelta {
    /// Adds another delta.
    pub fn add(&mut self, o: &StatsDelta) {
        self.num_bytes += o.num_bytes;
        self.num_objects += o.num_objects;
        self.num_object_clones += o.num_object_clones;
        self.num_whiteouts += o.num_whiteouts;
        self.num_objects_omap += o.num_objects_omap;
        self.num_objects_dirty += o.num_objects_dirty;
        self.num_rd += o.num_rd;
        self.num_rd_kb += o.num_rd_kb;
        self.num_wr += o.num_wr;
        self.num_wr_kb += o.num_wr_kb;
    }
}

/// What a vector does to watches, once its write (if any) is durable. In the order they happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchEffect {
    /// Attach the session to a watch (new or reconnected).
    Connect {
        /// The watch.
        info: WatchInfo,
        /// The client pings; without pings only a lost session counts.
        will_ping: bool,
    },
    /// A ping of a connected watch.
    Ping {
        /// The watch's cookie.
        cookie: u64,
    },
    /// The watch is gone.
    Disconnect {
        /// The watch.
        key: WatchKey,
        /// Tell the client (the object was deleted).
        tell_client: bool,
    },
    /// Send a notify to all watchers.
    Notify {
        /// Id, already returned to the client.
        notify_id: u64,
        /// The notifier's cookie.
        cookie: u64,
        /// Timeout.
        timeout_secs: u32,
        /// Payload.
        payload: Bytes,
    },
    /// A watcher acknowledges a notify.
    Ack {
        /// Notify id.
        notify_id: u64,
        /// The watch's cookie; `None` for all watches of the client on the object (old clients).
        cookie: Option<u64>,
        /// Reply blob.
        reply: Bytes,
    },
}

/// A `copy-from` that waits for another object's content: fetch it with `copy-get` (see [`crate::copy`]), then execute
/// again with a [`CopyResult`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyRequest {
    /// Index of the op.
    pub op_index: usize,
    /// Source name.
    pub src_name: Bytes,
    /// Source locator.
    pub src_loc: ObjectLocator,
    /// Source snapshot.
    pub src_snap: SnapId,
    /// Source version that the client expects (0: any).
    pub src_version: u64,
    /// `CEPH_OSD_COPY_FROM_FLAG_*`.
    pub flags: u8,
}

/// The answer to a [`CopyRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyResult {
    /// Index of the op.
    pub op_index: usize,
    /// The content, or why it could not be had.
    pub result: Result<crate::copy::CopyData, Errno>,
}

/// What a vector did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpOutcome {
    /// Result of the message: first error, or the last op's value for reads.
    pub result: i32,
    /// Results of the ops, one each; ops behind a failed one have rval 0 and no output.
    pub ops: Vec<OpResult>,
    /// True when `log` and `txn` must be persisted; else this was a read (or failed) and `txn` is empty.
    pub write: bool,
    /// A failed or empty write: stock records the result under the reqid for dedup without changing anything.
    pub log_error_only: bool,
    /// Changes (data, xattrs, omap, info, snap set, snap mapper).
    pub txn: Transaction,
    /// Log entries, versions counting up from `env.at_version`.
    pub log: Vec<LogEntry>,
    /// New state of the object, when `write`.
    pub new_ctx: Option<ObjectContext>,
    /// The clone made by this write, when one was made.
    pub new_clone: Option<ObjectContext>,
    /// Version of the message's own entry (the last of `log`), or of the object for reads.
    pub version: EVersion,
    /// User version for the reply.
    pub user_version: u64,
    /// Watch and notify effects.
    pub watch: Vec<WatchEffect>,
    /// Change of statistics.
    pub stats: StatsDelta,
    /// Contents to fetch before the vector can run; when not empty nothing else here is valid.
    pub copy_from: Vec<CopyRequest>,
    /// The store could not give intact content of this object: repair it from a replica, then run the vector again.
    pub bad_object: Option<HObject>,
    /// Full, and the client did not say `FULL_TRY`: drop the op silently, the client resends on the next map.
    pub drop_full: bool,
}
