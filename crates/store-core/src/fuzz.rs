//! Decoders of bytes from the disk as plain functions, for fuzzing: none may panic or take memory beyond its input.

use crate::journal::{Header, decode_record};
use crate::node::{Chunk, Rec};
use crate::page::Page;
use crate::superblock::Superblock;
use bytes::Bytes;

/// A journal record.
pub fn fuzz_journal_record(data: &[u8]) {
    let b = Bytes::copy_from_slice(data);
    if let Some(h) = Header::parse(&b) {
        let _ = decode_record(&h, &b);
    }
}
/// A superblock.
pub fn fuzz_superblock(data: &[u8]) {
    let _ = Superblock::parse(&Bytes::copy_from_slice(data));
}
/// A page of the index; what parses must come back as it was.
pub fn fuzz_page(data: &[u8]) {
    if let Ok(page) = Page::parse(&Bytes::copy_from_slice(data)) {
        assert_eq!(Page::parse(&page.to_bytes()).as_ref(), Ok(&page));
    }
}
/// An object record and an extent chunk.
pub fn fuzz_values(data: &[u8]) {
    let b = Bytes::copy_from_slice(data);
    let _ = denc::from_bytes_exact::<Rec>(&b);
    if let Ok(chunk) = denc::from_bytes_exact::<Chunk>(&b) {
        let again = denc::to_bytes(&chunk, denc::Features::ALL);
        assert_eq!(denc::from_bytes_exact::<Chunk>(&again).as_ref(), Ok(&chunk));
    }
}
