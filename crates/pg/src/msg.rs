//! [`PgMessage`]: what PGs of one replicated pool tell each other. Private to loligo: one message type, a tag inside.
//!
//! Every message names the sender's map epoch; a receiver on an older map holds it, one that has begun a newer interval
//! drops it. Bulk bytes travel in the data part and are shared, not copied.

use crate::info::{PastInterval, PgCounters, PgHistory, PgInfo, record};
use crate::lease::Rests;
use crate::log::{LogDup, LogEntry};
use crate::missing::Missing;
use bytes::{Bytes, BytesMut};
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use messages::{Message, Payload};
use objstore::Transaction;
use std::collections::BTreeSet;
use types::{EVersion, Epoch, HObject, SnapId, SpgId};

/// Message type of [`PgMessage`].
pub const MSG_LOLIGO_PG: u16 = 0x4010;

/// A message between two copies of a PG.
#[derive(Clone, PartialEq, Debug)]
pub struct PgMessage {
    /// The PG.
    pub pgid: SpgId,
    /// Sender's map epoch.
    pub epoch: Epoch,
    /// What is said.
    pub body: PgMsg,
}

/// What one copy of a PG tells another.
#[allow(clippy::large_enum_variant)] // lives for one hop; boxing would cost an allocation per replicated op
#[derive(Clone, PartialEq, Debug)]
pub enum PgMsg {
    /// Primary asks for the copy's info.
    QueryInfo(QueryInfo),
    /// Primary asks for info, log above `since` and missing set.
    QueryLog(QueryLog),
    /// A copy tells the primary of itself, asked or not.
    Notify(Notify),
    /// Answer to [`PgMsg::QueryLog`].
    Log(LogReply),
    /// Primary activates a member of acting or a backfill target.
    Activate(Activate),
    /// The member has activated durably.
    ActivateAck(ActivateAck),
    /// Primary shares what became known: history, purged snaps, log trim.
    Share(Share),
    /// Primary replicates one change.
    RepOp(RepOp),
    /// The change is durable at the replica.
    RepOpAck(RepOpAck),
    /// Primary asks for an object that it lacks.
    Pull(Pull),
    /// The asked copy does not have that version.
    PullMiss(PullMiss),
    /// A piece of an object.
    Push(Push),
    /// The piece arrived; the last one is durable.
    PushAck(PushAck),
    /// Primary asks a backfill target for its objects in a range.
    Scan(Scan),
    /// Answer to [`PgMsg::Scan`].
    ScanReply(ScanReply),
    /// Primary moves a target's `last_backfill`, after removing stale objects.
    BackfillProgress(BackfillProgress),
    /// Primary, clean, tells a stray that its copy is not needed.
    Remove(Remove),
}

record! {
    /// See [`PgMsg::QueryInfo`].
    QueryInfo, "pg query info" {
        /// What the primary knows.
        history: PgHistory,
    }
}
record! {
    /// See [`PgMsg::QueryLog`].
    QueryLog, "pg query log" {
        /// Entries above this are wanted.
        since: EVersion,
        /// What the primary knows.
        history: PgHistory,
    }
}
record! {
    /// See [`PgMsg::Notify`].
    Notify, "pg notify" {
        /// The copy's info; `dne()` when there is none.
        info: PgInfo,
        /// Its past intervals.
        past_intervals: Vec<PastInterval>,
        /// What is left of the promises that its OSD gave to primaries of those.
        rests: Rests,
    }
}
record! {
    /// See [`PgMsg::Log`].
    LogReply, "pg log reply" {
        /// The copy's info.
        info: PgInfo,
        /// Entries begin above this version, which the copy's log knows.
        since: EVersion,
        /// Entries.
        entries: Vec<LogEntry>,
        /// Remembered requests of trimmed entries.
        dups: Vec<LogDup>,
        /// Objects that the copy lacks.
        missing: Missing,
    }
}
record! {
    /// See [`PgMsg::Activate`].
    Activate, "pg activate" {
        /// The primary's info: the authoritative one.
        info: PgInfo,
        /// The entries begin above this version; a receiver whose log does not know it starts over.
        since: EVersion,
        /// Authoritative entries above `since`.
        entries: Vec<LogEntry>,
        /// Remembered requests of trimmed entries.
        dups: Vec<LogDup>,
        /// Past intervals, so that a new copy knows its history.
        past_intervals: Vec<PastInterval>,
        /// The receiver must forget what it has and be filled from the start.
        reset: bool,
        /// Where the receiver's copy is complete up to, when `!reset`.
        last_backfill: HObject,
        /// Older primaries that the sender waits for.
        rests: Rests,
    }
}
record! {
    /// See [`PgMsg::ActivateAck`].
    ActivateAck, "pg activate ack" {
        /// Epoch of the `Activate` that is answered.
        activated: Epoch,
        /// The member's info after it.
        info: PgInfo,
        /// For so long it promises to wait for the sender.
        lease_ms: u32,
    }
}
record! {
    /// See [`PgMsg::Share`].
    Share, "pg share" {
        /// Newer history.
        history: PgHistory,
        /// Past intervals are of no more use.
        clean: bool,
        /// Snapshots trimmed.
        purged_snaps: BTreeSet<SnapId>,
    }
}
/// See [`PgMsg::RepOp`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RepOp {
    /// Primary's number of the change in this interval.
    pub seq: u64,
    /// Log entries of the change; the last one's version is the PG's new `last_update`.
    pub entries: Vec<LogEntry>,
    /// Object changes; empty for a target whose backfill has not reached the object.
    pub txn: Transaction,
    /// The log may be trimmed up to here.
    pub trim_to: EVersion,
    /// Object counters after the change.
    pub counters: PgCounters,
    /// `last_user_version` after the change.
    pub last_user_version: u64,
}
record! {
    /// See [`PgMsg::RepOpAck`].
    RepOpAck, "pg replicated op ack" {
        /// The change's number.
        seq: u64,
        /// The copy's `last_complete`.
        last_complete: EVersion,
    }
}
record! {
    /// See [`PgMsg::Pull`].
    Pull, "pg pull" {
        /// The object.
        oid: HObject,
        /// The version wanted.
        version: EVersion,
        /// First data byte wanted.
        data_off: u64,
        /// Omap keys wanted are above this.
        omap_after: Option<Bytes>,
        /// True when omap is complete already.
        omap_done: bool,
        /// At most this many bytes.
        max_bytes: u64,
    }
}
record! {
    /// See [`PgMsg::PullMiss`].
    PullMiss, "pg pull miss" {
        /// The object.
        oid: HObject,
        /// The version that was wanted.
        version: EVersion,
        /// The stored copy is damaged (and not merely absent).
        corrupt: bool,
    }
}
/// See [`PgMsg::Push`]. Pieces of an object arrive in order: data ranges ascend, then omap keys ascend.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Push {
    /// The object.
    pub oid: HObject,
    /// Its version.
    pub version: EVersion,
    /// First piece: receivers start over.
    pub first: bool,
    /// Last piece: the object is whole with it.
    pub last: bool,
    /// Pushed by backfill, not by the log.
    pub backfill: bool,
    /// Final size.
    pub size: u64,
    /// Data of this piece, at ascending offsets; what is between is a hole.
    pub data: Vec<(u64, Bytes)>,
    /// Snapshots that hold it, for a clone.
    pub snaps: Vec<SnapId>,
    /// All xattrs (first piece only).
    pub attrs: Vec<(Bytes, Bytes)>,
    /// Omap header (first piece only).
    pub omap_header: Bytes,
    /// Omap pairs of this piece.
    pub omap: Vec<(Bytes, Bytes)>,
    /// Data is complete up to here.
    pub data_done: u64,
    /// Omap is complete.
    pub omap_done: bool,
}
record! {
    /// See [`PgMsg::PushAck`].
    PushAck, "pg push ack" {
        /// The object.
        oid: HObject,
        /// Its version.
        version: EVersion,
        /// The last piece is durable.
        done: bool,
    }
}
record! {
    /// See [`PgMsg::Scan`].
    Scan, "pg scan" {
        /// Objects behind this one...
        after: HObject,
        /// ... at most so many families of head and clones.
        max: u32,
    }
}
record! {
    /// See [`PgMsg::ScanReply`].
    ScanReply, "pg scan reply" {
        /// The request's `after`.
        after: HObject,
        /// The list is complete up to here (a head, or MAX).
        end: HObject,
        /// Objects with their versions; zero for an unreadable one.
        objects: Vec<(HObject, EVersion)>,
    }
}
record! {
    /// See [`PgMsg::BackfillProgress`].
    BackfillProgress, "pg backfill progress" {
        /// The copy is complete up to here; MAX when backfill is done.
        last_backfill: HObject,
        /// Objects to remove first.
        remove: Vec<HObject>,
        /// Primary's number, echoed in a [`RepOpAck`].
        seq: u64,
        /// Object counters of the PG.
        counters: PgCounters,
    }
}
record! {
    /// See [`PgMsg::Remove`].
    Remove, "pg remove" {
        /// The primary's history: the copy goes only when it is not newer.
        history: PgHistory,
    }
}

impl RepOp {
    fn encode_split(&self, e: &mut Encoder, data: &mut Vec<Bytes>) {
        e.versioned(1, 1, |e| {
            e.u64(self.seq);
            e.put(&self.entries);
            let (meta, mut payloads) = self.txn.encode_split();
            e.put(&meta);
            data.append(&mut payloads);
            e.put(&self.trim_to);
            e.put(&self.counters);
            e.u64(self.last_user_version);
        });
    }
    fn decode_split(d: &mut Decoder<'_>, data: &Bytes) -> Result<Self, DencError> {
        let (_, mut d) = d.open("pg replicated op", 1)?;
        let (seq, entries, meta) = (d.u64()?, d.get()?, d.blob()?);
        let txn = Transaction::decode_split(&meta, data)?;
        Ok(RepOp { seq, entries, txn, trim_to: d.get()?, counters: d.get()?, last_user_version: d.u64()? })
    }
}
impl Push {
    /// Bytes in it, for throttles.
    pub fn cost_bytes(&self) -> u64 {
        let data: usize = self.data.iter().map(|(_, b)| b.len()).sum();
        let omap: usize = self.omap.iter().map(|(k, v)| k.len() + v.len()).sum();
        (data + omap) as u64
    }
    fn encode_split(&self, e: &mut Encoder, data: &mut Vec<Bytes>) {
        e.versioned(1, 1, |e| {
            e.put(&self.oid);
            e.put(&self.version);
            for flag in [self.first, self.last, self.backfill, self.omap_done] {
                e.bool(flag);
            }
            e.u64(self.size);
            e.count(self.data.len());
            for (off, bytes) in &self.data {
                e.u64(*off);
                e.count(bytes.len());
                data.push(bytes.clone());
            }
            e.put(&self.snaps);
            e.put(&self.attrs);
            e.put(&self.omap_header);
            e.put(&self.omap);
            e.u64(self.data_done);
        });
    }
    fn decode_split(d: &mut Decoder<'_>, data: &Bytes) -> Result<Self, DencError> {
        let (_, mut d) = d.open("pg push", 1)?;
        let mut p = Push { oid: d.get()?, version: d.get()?, ..Push::default() };
        p.first = d.bool()?;
        p.last = d.bool()?;
        p.backfill = d.bool()?;
        p.omap_done = d.bool()?;
        p.size = d.u64()?;
        let mut payload = Decoder::new(data);
        for _ in 0..d.count("push extents", 12)? {
            let off = d.u64()?;
            let len = d.u32()? as usize;
            if off.checked_add(len as u64).is_none_or(|end| end > p.size) {
                return Err(DencError::Invalid { what: "push extent", value: off });
            }
            p.data.push((off, payload.take(len)?));
        }
        payload.expect_end("push data")?;
        p.snaps = d.get()?;
        p.attrs = d.get()?;
        p.omap_header = d.get()?;
        p.omap = d.get()?;
        p.data_done = d.u64()?;
        Ok(p)
    }
}

macro_rules! tags {
    (plain { $($tag:literal $name:ident($ty:ty)),* $(,)? } split { $($stag:literal $sname:ident($sty:ty)),* $(,)? }) => {
        impl PgMsg {
            /// Its name, for logs.
            pub fn name(&self) -> &'static str {
                match self { $(PgMsg::$name(_) => stringify!($name),)* $(PgMsg::$sname(_) => stringify!($sname)),* }
            }
            fn encode_parts(&self, e: &mut Encoder, data: &mut Vec<Bytes>) {
                match self {
                    $(PgMsg::$name(m) => { e.u8($tag); e.put(m); })*
                    $(PgMsg::$sname(m) => { e.u8($stag); m.encode_split(e, data); })*
                }
            }
            fn decode_parts(d: &mut Decoder<'_>, data: &Bytes) -> Result<PgMsg, DencError> {
                let no_data = |m| if data.is_empty() { Ok(m) } else {
                    Err(DencError::Trailing { what: "pg message data", left: data.len() })
                };
                match d.u8()? {
                    $($tag => no_data(PgMsg::$name(d.get::<$ty>()?)),)*
                    $($stag => Ok(PgMsg::$sname(<$sty>::decode_split(d, data)?)),)*
                    other => Err(DencError::Invalid { what: "pg message tag", value: other.into() }),
                }
            }
        }
    };
}
tags! {
    plain {
        1 QueryInfo(QueryInfo), 2 QueryLog(QueryLog), 3 Notify(Notify), 4 Log(LogReply), 5 Activate(Activate),
        6 ActivateAck(ActivateAck), 7 Share(Share), 9 RepOpAck(RepOpAck), 10 Pull(Pull), 11 PullMiss(PullMiss),
        13 PushAck(PushAck), 14 Scan(Scan), 15 ScanReply(ScanReply), 16 BackfillProgress(BackfillProgress),
        17 Remove(Remove),
    }
    split { 8 RepOp(RepOp), 12 Push(Push) }
}

impl Payload for PgMessage {
    const KIND: u16 = MSG_LOLIGO_PG;
    const NAME: &'static str = "loligo_pg";
    const VERSION: u16 = 1;
    const COMPAT: u16 = 1;

    fn encode_parts(&self, _features: Features) -> (Bytes, Bytes, Bytes) {
        let mut e = Encoder::with_capacity(
            Features::ALL,
            if matches!(self.body, PgMsg::RepOp(_)) { 1536 } else { 256 },
        );
        let mut data = Vec::new();
        e.put(&self.pgid);
        e.put(&self.epoch);
        self.body.encode_parts(&mut e, &mut data);
        let data = match data.len() {
            0 => Bytes::new(),
            1 => data.swap_remove(0), // the usual case: one write, no copy
            _ => {
                let mut all = BytesMut::with_capacity(data.iter().map(Bytes::len).sum());
                data.iter().for_each(|b| all.extend_from_slice(b));
                all.freeze()
            }
        };
        (e.finish(), Bytes::new(), data)
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        let mut d = Decoder::new(&msg.front);
        let (pgid, epoch) = (d.get()?, d.get()?);
        let body = PgMsg::decode_parts(&mut d, &msg.data)?;
        d.expect_end("pg message")?;
        Ok(PgMessage { pgid, epoch, body })
    }
}
