//! Messages between OSDs and clients besides `osd_op`, and heartbeats: `watch_notify`, `osd_backoff`, `osd_ping`.
//!
//! Mirrors `messages/MWatchNotify.h`, `MOSDBackoff.h`, `MOSDPing.h`.

use crate::macros::message;
use crate::{Message, Payload};
use bytes::Bytes;
use denc::{Decoder, DencError, Encoder, Features};
use types::{Epoch, Fsid, HObject, SpgId, Utime};

/// Why a `watch_notify` is sent (`CEPH_WATCH_EVENT_*`).
pub mod watch_event {
    #![allow(missing_docs)]
    pub const NOTIFY: u8 = 1;
    pub const NOTIFY_COMPLETE: u8 = 2;
    pub const DISCONNECT: u8 = 3;
}
/// What an `osd_backoff` says (`CEPH_OSD_BACKOFF_OP_*`).
pub mod backoff_op {
    #![allow(missing_docs)]
    pub const BLOCK: u8 = 1;
    pub const ACK_BLOCK: u8 = 2;
    pub const UNBLOCK: u8 = 3;
}
/// What an `osd_ping` says.
pub mod ping_op {
    #![allow(missing_docs)]
    pub const HEARTBEAT: u8 = 0;
    pub const START_HEARTBEAT: u8 = 1;
    pub const YOU_DIED: u8 = 2;
    pub const STOP_HEARTBEAT: u8 = 3;
    pub const PING: u8 = 4;
    pub const PING_REPLY: u8 = 5;
}

message! {
    /// To a watcher: an event. To a notifier: its notify is complete.
    MWatchNotify = WATCH_NOTIFY, "watch-notify", 3/1 {
        /// Version of this struct; 1.
        msg_ver: u8,
        /// See [`watch_event`].
        opcode: u8,
        /// The watcher's (or notifier's) cookie.
        cookie: u64,
        /// Object version.
        ver: u64,
        /// The notify.
        notify_id: u64,
        /// What the notifier sent.
        payload: Bytes,
        /// 0 or a negative errno, when complete.
        return_code: i32 = since 2,
        /// Global id of the notifier.
        notifier_gid: u64 = since 3,
    } + /// When complete: the watchers' replies and the list of those that did not answer.
        data
    /// Tells a client to hold back requests to a range of objects, its answer, and the end of it.
    MOsdBackoff = OSD_BACKOFF, "osd_backoff", 1/1 {
        /// The PG.
        pgid: SpgId,
        /// The sender's map epoch.
        map_epoch: Epoch,
        /// See [`backoff_op`].
        op: u8,
        /// Names the backoff in this session.
        id: u64,
        /// First object.
        begin: HObject,
        /// Object behind the last.
        end: HObject,
    }
}

/// `osd_ping` (70): heartbeats. Pings are padded, so that a network that drops large packets is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MOsdPing {
    /// Cluster.
    pub fsid: Fsid,
    /// The sender's map epoch.
    pub map_epoch: Epoch,
    /// See [`ping_op`].
    pub op: u8,
    /// Sender's wall clock at the ping; comes back in the reply.
    pub ping_stamp: Utime,
    /// Epoch from which the sender is up.
    pub up_from: Epoch,
    /// Sender's monotonic clock at the ping, in nanoseconds; comes back in the reply.
    pub mono_ping_stamp_ns: i64,
    /// Sender's monotonic clock when it sent this, in nanoseconds.
    pub mono_send_stamp_ns: i64,
    /// Upper bound of the difference of the two monotonic clocks, in nanoseconds.
    pub delta_ub_ns: Option<i64>,
    /// Padding: bytes that the front has at least, before the fields of version 5 (as stock counts it). Replies echo it.
    pub min_message_size: u32,
}

/// Bytes in front of the padding's length.
const PING_FIXED: u32 = 16 + 4 + 1 + 8;
/// Most padding that we write; stock's default message is 2000 bytes, jumbo frames are 9000.
const PING_PADDING_MAX: u32 = 1 << 20;

impl Payload for MOsdPing {
    const KIND: u16 = crate::kinds::OSD_PING;
    const NAME: &'static str = "osd_ping";
    const VERSION: u16 = 5;
    const COMPAT: u16 = 4;

    fn encode_parts(&self, features: Features) -> (Bytes, Bytes, Bytes) {
        let padding = self.min_message_size.saturating_sub(PING_FIXED).min(PING_PADDING_MAX);
        let mut e = Encoder::with_capacity(features, padding as usize + 64);
        e.put(&self.fsid);
        e.put(&self.map_epoch);
        e.u8(self.op);
        e.put(&self.ping_stamp);
        e.u32(padding);
        e.put(&self.up_from);
        e.i64(self.mono_ping_stamp_ns);
        e.i64(self.mono_send_stamp_ns);
        e.put(&self.delta_ub_ns);
        e.raw(&vec![0; padding as usize]);
        (e.finish(), Bytes::new(), Bytes::new())
    }

    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        let mut d = Decoder::new(&msg.front);
        let mut p = MOsdPing {
            fsid: d.get()?,
            map_epoch: d.get()?,
            op: d.u8()?,
            ping_stamp: d.get()?,
            ..MOsdPing::default()
        };
        let padding = d.u32()?;
        if msg.header.version >= 5 {
            p.up_from = d.get()?;
            p.mono_ping_stamp_ns = d.i64()?;
            p.mono_send_stamp_ns = d.i64()?;
            p.delta_ub_ns = d.get()?;
        }
        d.skip(padding as usize)?;
        // Without padding any smaller minimum would have given the same bytes.
        p.min_message_size = if padding == 0 { 0 } else { padding + PING_FIXED };
        Ok(p)
    }
}
