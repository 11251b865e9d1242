//! Fuzz targets: plain functions over bytes that must not panic.

use crate::{Message, MsgHeader, registry};
use bytes::Bytes;
use denc::Features;

/// The first two bytes choose a message type, the third its version, the fourth where the data begins; the rest is
/// front and data. What decodes must encode, and the encoding must decode to the same encoding.
pub fn fuzz_message(bytes: &[u8]) {
    let [a, b, version, cut, rest @ ..] = bytes else { return };
    let kind = registry::KNOWN[usize::from(u16::from_le_bytes([*a, *b])) % registry::KNOWN.len()];
    let front_len = rest.len() * usize::from(*cut) / 255;
    let msg = Message {
        header: MsgHeader { kind, version: u16::from(*version), compat: 1, ..MsgHeader::default() },
        front: Bytes::copy_from_slice(&rest[..front_len]),
        data: Bytes::copy_from_slice(&rest[front_len..]),
        ..Message::default()
    };
    fuzz_decoded(&msg);
}

/// Recodes a message twice; a failure to decode is fine.
pub fn fuzz_decoded(msg: &Message) {
    let features = Features(types::features::SUPPORTED);
    let _ = registry::describe(msg);
    let Some(Ok(once)) = registry::recode(msg, features) else { return };
    let twice = registry::recode(&once, features).expect("the same type").expect("our own bytes decode");
    assert_eq!(once.front, twice.front, "{}", registry::describe(msg));
    assert_eq!(once.data, twice.data, "{}", registry::describe(msg));
}
