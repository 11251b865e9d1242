//! [`Message`]: a message as the messenger carries it, and [`Payload`]: what turns a typed message into one.

use bytes::Bytes;
use denc::{DencError, Features};
use types::EntityName;

/// Default priority (CEPH_MSG_PRIO_DEFAULT).
pub const PRIO_DEFAULT: u16 = 127;
/// High priority (CEPH_MSG_PRIO_HIGH).
pub const PRIO_HIGH: u16 = 196;

/// The header fields that the layers above the messenger see or set (`ceph_msg_header2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MsgHeader {
    /// Sequence number in the session; set by the messenger when it sends.
    pub seq: u64,
    /// Transaction id; replies carry the request's.
    pub tid: u64,
    /// Message type (`MSG_*`, `CEPH_MSG_*`).
    pub kind: u16,
    /// Queue priority.
    pub priority: u16,
    /// Version of the payload's encoding.
    pub version: u16,
    /// Oldest version of decoder that can read the payload.
    pub compat: u16,
    /// Offset in the object that `data` starts at; a hint for alignment only.
    pub data_off: u16,
}

/// A message with its three parts. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message {
    /// Header.
    pub header: MsgHeader,
    /// Who sent it: filled in by the receiving messenger from the session, never from the bytes.
    pub src: EntityName,
    /// First part: the encoded fields.
    pub front: Bytes,
    /// Second part; few messages have one.
    pub middle: Bytes,
    /// Third part: bulk data.
    pub data: Bytes,
    /// CRC32C (seed -1, as frames carry it) of `data`, when it was verified on receipt or is known to the sender.
    pub data_crc: Option<u32>,
}

impl Message {
    /// Encodes `payload` for a peer with `features`.
    pub fn new<P: Payload>(payload: &P, features: Features) -> Message {
        let (front, middle, data) = payload.encode_parts(features);
        let header = MsgHeader {
            kind: P::KIND,
            priority: PRIO_DEFAULT,
            version: payload.version(features),
            compat: P::COMPAT,
            ..MsgHeader::default()
        };
        Message { header, front, middle, data, ..Message::default() }
    }
    /// Sets the transaction id.
    pub fn with_tid(mut self, tid: u64) -> Message {
        self.header.tid = tid;
        self
    }
    /// Sets the priority.
    pub fn with_priority(mut self, priority: u16) -> Message {
        self.header.priority = priority;
        self
    }
    /// Decodes as `P`; fails when the type differs or the bytes are bad.
    pub fn decode<P: Payload>(&self) -> Result<P, DencError> {
        if self.header.kind != P::KIND {
            return Err(DencError::Invalid { what: P::NAME, value: self.header.kind.into() });
        }
        if self.header.compat > P::VERSION {
            return Err(DencError::Incompatible {
                what: P::NAME,
                version: self.header.version.min(255) as u8,
                compat: self.header.compat.min(255) as u8,
                known: P::VERSION.min(255) as u8,
            });
        }
        P::decode_parts(self)
    }
    /// Bytes in all three parts; what throttles count.
    pub fn len(&self) -> usize {
        self.front.len() + self.middle.len() + self.data.len()
    }
    /// True when all three parts are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A typed message.
pub trait Payload: Sized {
    /// Its type number.
    const KIND: u16;
    /// Its name, for errors and logs (`osd_op`, as stock prints it).
    const NAME: &'static str;
    /// Newest version of its encoding that we write and read.
    const VERSION: u16;
    /// Oldest decoder that can read what we write.
    const COMPAT: u16;

    /// The version written for a peer with these features.
    fn version(&self, _features: Features) -> u16 {
        Self::VERSION
    }
    /// Encodes front, middle and data.
    fn encode_parts(&self, features: Features) -> (Bytes, Bytes, Bytes);
    /// Decodes from a message whose type was checked; must honour `msg.header.version`.
    fn decode_parts(msg: &Message) -> Result<Self, DencError>;
}
