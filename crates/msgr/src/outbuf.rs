//! [`OutBuf`]: what a transport has to write, as a chain of shared slices. Payloads are linked in, small parts are gathered.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Parts below this are copied: a short copy is cheaper than one more element of a vectored write.
const GATHER_MAX: usize = 1024;

/// Bytes waiting to be written, in order.
#[derive(Debug, Default)]
pub struct OutBuf {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl OutBuf {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.len
    }
    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Appends a copy.
    pub fn put(&mut self, bytes: &[u8]) {
        if self.tail.capacity() - self.tail.len() < bytes.len() {
            self.tail.reserve(bytes.len().max(4096));
        }
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }
    /// Appends shared bytes; short ones are copied.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() < GATHER_MAX {
            return self.put(&bytes);
        }
        self.seal();
        self.len += bytes.len();
        self.chunks.push_back(bytes);
    }
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
    /// The chunks to write, in order.
    pub fn chunks(&mut self) -> impl Iterator<Item = &[u8]> {
        self.seal();
        self.chunks.iter().map(|b| &b[..])
    }
    /// Forgets `n` bytes that were written.
    pub fn advance(&mut self, mut n: usize) {
        assert!(n <= self.len, "wrote more than there was");
        self.len -= n;
        while n > 0 {
            let Some(front) = self.chunks.front_mut() else {
                self.tail.advance(n);
                return;
            };
            if front.len() > n {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.chunks.pop_front();
        }
    }
    /// Takes all as one buffer (tests).
    pub fn take_all(&mut self) -> Vec<u8> {
        let all: Vec<u8> = self.chunks().flatten().copied().collect();
        self.advance(all.len());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_over_partial_writes_and_links_large_parts() {
        let mut o = OutBuf::default();
        let big = Bytes::from(vec![7u8; 5000]);
        let mut want = Vec::new();
        for i in 0..4u8 {
            o.put(&[i; 10]);
            want.extend_from_slice(&[i; 10]);
            o.push(big.clone());
            want.extend_from_slice(&big);
        }
        o.put(b"end");
        want.extend_from_slice(b"end");
        assert!(o.chunks().any(|c| c.as_ptr() == big.as_ptr()));
        let mut got = Vec::new();
        while !o.is_empty() {
            let first = o.chunks().next().unwrap();
            let n = first.len().min(777);
            got.extend_from_slice(&first[..n]);
            o.advance(n);
        }
        assert_eq!(got, want);
    }
}
