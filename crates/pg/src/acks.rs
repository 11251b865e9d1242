//! [`PgAcks`]: acknowledgements of replicated changes, of all PGs of one OSD to another that one sync of its journal made due.
//!
//! Private to loligo, as [`crate::PgMessage`] is. Each of them means what a [`PgMsg::RepOpAck`] in a message of its own would.

use crate::info::record;
use crate::msg::{PgMessage, PgMsg, RepOpAck};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use messages::{Message, Payload};
use types::{Epoch, SpgId};

/// Message type of [`PgAcks`].
pub const MSG_LOLIGO_ACKS: u16 = 0x4011;

record! {
    /// One change of one PG is durable at the sender.
    PgAck, "pg ack" {
        /// The PG.
        pgid: SpgId,
        /// The sender's map epoch.
        epoch: Epoch,
        /// The acknowledgement.
        ack: RepOpAck,
    }
}
impl PgAck {
    /// The same as a message of its own.
    pub fn into_message(self) -> PgMessage {
        PgMessage { pgid: self.pgid, epoch: self.epoch, body: PgMsg::RepOpAck(self.ack) }
    }
}

/// See the module's documentation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PgAcks {
    /// In the order in which the changes became durable.
    pub acks: Vec<PgAck>,
}

impl Payload for PgAcks {
    const KIND: u16 = MSG_LOLIGO_ACKS;
    const NAME: &'static str = "loligo_pg_acks";
    const VERSION: u16 = 1;
    const COMPAT: u16 = 1;

    fn encode_parts(&self, _features: Features) -> (Bytes, Bytes, Bytes) {
        let mut e = Encoder::with_capacity(Features::ALL, 8 + self.acks.len() * 64);
        e.put(&self.acks);
        (e.finish(), Bytes::new(), Bytes::new())
    }
    fn decode_parts(msg: &Message) -> Result<Self, DencError> {
        let mut d = Decoder::new(&msg.front);
        let acks = d.get()?;
        d.expect_end("pg acks")?;
        Ok(PgAcks { acks })
    }
}
