//! Entry points for fuzzing: bytes from other OSDs and from the store must never panic.

use crate::acks::PgAcks;
use crate::info::PgInfo;
use crate::log::LogEntry;
use crate::msg::PgMessage;
use bytes::Bytes;
use messages::{Message, Payload};

/// A peer message: the first two bytes say how much of the rest is the front.
pub fn fuzz_pg_message(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<2>() else { return };
    let cut = usize::from(u16::from_le_bytes(*head)).min(rest.len());
    let msg = Message {
        front: Bytes::copy_from_slice(&rest[..cut]),
        data: Bytes::copy_from_slice(&rest[cut..]),
        ..Message::default()
    };
    if let Ok(m) = PgMessage::decode_parts(&msg) {
        // What decodes, encodes to what decodes to the same.
        let again = Message::new(&m, denc::Features::ALL);
        assert_eq!(again.decode::<PgMessage>().as_ref(), Ok(&m));
    }
}
/// A message of acknowledgements.
pub fn fuzz_pg_acks(data: &[u8]) {
    let msg = Message { front: Bytes::copy_from_slice(data), ..Message::default() };
    if let Ok(m) = PgAcks::decode_parts(&msg) {
        let again = Message::new(&m, denc::Features::ALL);
        assert_eq!(again.decode::<PgAcks>().as_ref(), Ok(&m));
    }
}
/// Stored metadata.
pub fn fuzz_pg_meta(data: &[u8]) {
    let b = Bytes::copy_from_slice(data);
    let _ = denc::from_bytes_exact::<PgInfo>(&b);
    let _ = denc::from_bytes_exact::<LogEntry>(&b);
    let _ = denc::from_bytes_exact::<Vec<crate::info::PastInterval>>(&b);
}
