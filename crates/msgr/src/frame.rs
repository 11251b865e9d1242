//! Frames of messenger v2.1: preamble, up to four segments, checksums or AES-GCM tags (`frames_v2.cc`).
//!
//! crc mode:    preamble(32) seg0 crc(4) [seg1 seg2 seg3 epilogue(13)]
//! secure mode: {preamble(32) seg0[..48]} tag  [{rest of seg0} tag]  [{seg1 seg2 seg3 epilogue(16)} tag], each segment
//!              padded to 16 bytes.
//!
//! Invariants: no length is believed before the preamble's checksum and the limits of the phase; data handed out is a
//! slice of the receive buffer; nothing is read behind the frame.

use crate::MsgrError;
use crate::crc::{self, crc32c};
use crate::onwire::{Opener, Sealer, TAG_LEN};
use crate::outbuf::OutBuf;
use bytes::{Bytes, BytesMut};
use messages::known_crc;

/// Frame tags.
#[allow(missing_docs)]
pub mod tag {
    pub const HELLO: u8 = 1;
    pub const AUTH_REQUEST: u8 = 2;
    pub const AUTH_BAD_METHOD: u8 = 3;
    pub const AUTH_REPLY_MORE: u8 = 4;
    pub const AUTH_REQUEST_MORE: u8 = 5;
    pub const AUTH_DONE: u8 = 6;
    pub const AUTH_SIGNATURE: u8 = 7;
    pub const CLIENT_IDENT: u8 = 8;
    pub const SERVER_IDENT: u8 = 9;
    pub const IDENT_MISSING_FEATURES: u8 = 10;
    pub const SESSION_RECONNECT: u8 = 11;
    pub const SESSION_RESET: u8 = 12;
    pub const SESSION_RETRY: u8 = 13;
    pub const SESSION_RETRY_GLOBAL: u8 = 14;
    pub const SESSION_RECONNECT_OK: u8 = 15;
    pub const WAIT: u8 = 16;
    pub const MESSAGE: u8 = 17;
    pub const KEEPALIVE2: u8 = 18;
    pub const KEEPALIVE2_ACK: u8 = 19;
    pub const ACK: u8 = 20;
}

/// Size of a preamble.
pub const PREAMBLE_LEN: usize = 32;
const INLINE_LEN: usize = 48;
const FIRST_BLOCK_LEN: usize = PREAMBLE_LEN + INLINE_LEN + TAG_LEN;
const EPILOGUE_CRC_LEN: usize = 13;
const EPILOGUE_SECURE_LEN: usize = 16;
const LATE_COMPLETE: u8 = 0x0e;
const LATE_ABORTED: u8 = 0x01;
const LATE_MASK: u8 = 0x0f;
/// Largest control frame, and the largest frame of any kind before a session is ready.
pub const CONTROL_BYTES_MAX: u32 = 64 << 10;
/// All that a peer may send before it is authenticated.
const HANDSHAKE_BYTES_MAX: usize = 256 << 10;
/// Fronts up to this size are copied out of the receive buffer.
const FRONT_COPY_MAX: usize = 16 << 10;
/// Size of `ceph_msg_header2`.
pub const MSG_HEADER_LEN: u32 = 41;

fn pad16(n: usize) -> usize {
    n.div_ceil(16) * 16
}

/// What sizes the reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// False until the session is ready: then only small one-segment frames pass.
    pub ready: bool,
    /// Front and middle of a message.
    pub front_bytes_max: u32,
    /// Data of a message.
    pub data_bytes_max: u32,
}

/// One received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its tag.
    pub tag: u8,
    /// Segments; those it did not have are empty.
    pub segs: [Bytes; 4],
    /// Checksum of the last segment when it was verified (crc mode).
    pub data_crc: Option<u32>,
}

#[derive(Clone, Debug)]
struct Head {
    tag: u8,
    count: usize,
    lens: [usize; 4],
    inline: Bytes,
}

impl Head {
    fn parse(b: &[u8], limits: &FrameLimits) -> Result<Head, MsgrError> {
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        if crc32c(0, &b[..28]) != word(28) {
            return Err(MsgrError::PreambleCrc);
        }
        let (tag, count, flags) = (b[0], b[1], b[26]);
        if flags & 1 != 0 {
            return Err(MsgrError::FrameFlags(flags));
        }
        if !(1..=4).contains(&count) {
            return Err(MsgrError::SegmentCount(count));
        }
        let mut lens = [0usize; 4];
        for (i, len) in lens.iter_mut().enumerate().take(count as usize) {
            *len = word(2 + 6 * i) as usize;
        }
        if count > 1 && lens[count as usize - 1] == 0 {
            return Err(MsgrError::SegmentCount(count));
        }
        let over = |what, len: usize, max: u32| {
            if len as u64 > u64::from(max) {
                Err(MsgrError::TooLarge { what, len: len as u64, max: max.into() })
            } else {
                Ok(())
            }
        };
        if limits.ready && tag == tag::MESSAGE {
            if lens[0] != MSG_HEADER_LEN as usize {
                return Err(MsgrError::TooLarge {
                    what: "message header",
                    len: lens[0] as u64,
                    max: MSG_HEADER_LEN.into(),
                });
            }
            over("front", lens[1], limits.front_bytes_max)?;
            over("middle", lens[2], limits.front_bytes_max)?;
            over("data", lens[3], limits.data_bytes_max)?;
        } else {
            if count != 1 {
                return Err(MsgrError::SegmentCount(count));
            }
            over("control frame", lens[0], CONTROL_BYTES_MAX)?;
        }
        Ok(Head { tag, count: count.into(), lens, inline: Bytes::new() })
    }
    /// Bytes that follow the preamble (crc mode) or the first block (secure mode).
    fn rest_len(&self, secure: bool) -> usize {
        let tail: usize = self.lens[1..self.count].iter().sum();
        if secure {
            let first =
                if self.lens[0] > INLINE_LEN { pad16(self.lens[0]) - INLINE_LEN + TAG_LEN } else { 0 };
            let padded: usize = self.lens[1..self.count].iter().map(|&l| pad16(l)).sum();
            first + if self.count > 1 { padded + EPILOGUE_SECURE_LEN + TAG_LEN } else { 0 }
        } else {
            let first = if self.lens[0] > 0 { self.lens[0] + 4 } else { 0 };
            first + if self.count > 1 { tail + EPILOGUE_CRC_LEN } else { 0 }
        }
    }
}

/// Cuts frames out of received bytes.
pub struct FrameReader {
    opener: Option<Opener>,
    head: Option<Head>,
    limits: FrameLimits,
    capture: Option<Vec<u8>>,
}

impl FrameReader {
    /// A reader in crc mode, capturing what it consumes until [`FrameReader::take_capture`].
    pub fn new(limits: FrameLimits) -> FrameReader {
        FrameReader { opener: None, head: None, limits, capture: Some(Vec::new()) }
    }
    /// Switches to secure mode for the frames to come.
    pub fn set_secure(&mut self, opener: Opener) {
        assert!(self.head.is_none(), "mode changes between frames only");
        self.opener = Some(opener);
    }
    /// Ends the handshake's limits.
    pub fn set_ready(&mut self) {
        self.limits.ready = true;
    }
    /// Adds consumed bytes that were not a frame (the banner) to the capture.
    pub fn capture(&mut self, bytes: &[u8]) {
        if let Some(c) = &mut self.capture {
            c.extend_from_slice(bytes);
        }
    }
    /// Ends capturing and answers all consumed bytes.
    pub fn take_capture(&mut self) -> Vec<u8> {
        self.capture.take().unwrap_or_default()
    }
    /// How many bytes must be in the buffer for the next step.
    pub fn need(&self) -> usize {
        match (&self.head, &self.opener) {
            (Some(h), o) => h.rest_len(o.is_some()),
            (None, Some(_)) => FIRST_BLOCK_LEN,
            (None, None) => PREAMBLE_LEN,
        }
    }
    /// Where in the buffer the last segment of the frame under way begins, when it has four.
    pub fn data_at(&self) -> Option<usize> {
        let h = self.head.as_ref().filter(|h| h.count == 4 && self.opener.is_none())?;
        Some(h.lens[0] + 4 + h.lens[1] + h.lens[2])
    }
    /// Takes the next frame out of `buf`, if it is all there. Frames that their sender aborted are skipped.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, MsgrError> {
        loop {
            if self.head.is_none() && !self.read_head(buf)? {
                return Ok(None);
            }
            let need = self.need();
            if buf.len() < need {
                return Ok(None);
            }
            let Some(head) = self.head.take() else { return Ok(None) };
            let rest = buf.split_to(need);
            self.capture(&rest);
            let captured = self.capture.as_ref().map_or(0, Vec::len);
            if captured > HANDSHAKE_BYTES_MAX {
                let max = HANDSHAKE_BYTES_MAX as u64;
                return Err(MsgrError::TooLarge { what: "handshake", len: captured as u64, max });
            }
            let frame = match &mut self.opener {
                Some(o) => open_secure(o, &head, rest)?,
                None => open_crc(&head, rest.freeze())?,
            };
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }
    fn read_head(&mut self, buf: &mut BytesMut) -> Result<bool, MsgrError> {
        if buf.len() < self.need() {
            return Ok(false);
        }
        let mut first = buf.split_to(self.need());
        self.capture(&first);
        let mut head = match &mut self.opener {
            None => Head::parse(&first, &self.limits)?,
            Some(o) => {
                o.open(&mut first)?;
                Head::parse(&first, &self.limits)?
            }
        };
        if self.opener.is_some() {
            head.inline = first.freeze().slice(PREAMBLE_LEN..);
        }
        self.head = Some(head);
        Ok(true)
    }
}

fn late_status(b: u8) -> Result<bool, MsgrError> {
    match b & LATE_MASK {
        LATE_COMPLETE => Ok(true),
        LATE_ABORTED => Ok(false),
        _ => Err(MsgrError::LateStatus(b)),
    }
}

const SEGMENT_NAMES: [&str; 4] = ["segment 0", "front", "middle", "data"];

/// Names and small values out of fronts live long (logs, caches): they shall not keep a whole batch's buffer.
fn own_if_front(i: usize, seg: Bytes) -> Bytes {
    if i < 3 && seg.len() <= FRONT_COPY_MAX { Bytes::copy_from_slice(&seg) } else { seg }
}

fn open_crc(head: &Head, rest: Bytes) -> Result<Option<Frame>, MsgrError> {
    let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
    let mut segs: [Bytes; 4] = Default::default();
    let mut at = 0;
    let mut data_crc = None;
    if head.lens[0] > 0 {
        segs[0] = rest.slice(..head.lens[0]);
        at = head.lens[0];
        if crc32c(u32::MAX, &segs[0]) != word(at) {
            return Err(MsgrError::Crc(SEGMENT_NAMES[0]));
        }
        at += 4;
    }
    if head.count > 1 {
        let epilogue = rest.len() - EPILOGUE_CRC_LEN;
        for i in 1..head.count {
            segs[i] = own_if_front(i, rest.slice(at..at + head.lens[i]));
            at += head.lens[i];
            let crc = crc32c(u32::MAX, &segs[i]);
            if crc != word(epilogue + 1 + 4 * (i - 1)) {
                return Err(MsgrError::Crc(SEGMENT_NAMES[i]));
            }
            known_crc::remember(&segs[i], crc);
            data_crc = (i == 3).then_some(crc);
        }
        if !late_status(rest[epilogue])? {
            return Ok(None);
        }
    }
    Ok(Some(Frame { tag: head.tag, segs, data_crc }))
}

fn open_secure(opener: &mut Opener, head: &Head, mut rest: BytesMut) -> Result<Option<Frame>, MsgrError> {
    let mut segs: [Bytes; 4] = Default::default();
    if head.lens[0] > INLINE_LEN {
        let mut more = rest.split_to(pad16(head.lens[0]) - INLINE_LEN + TAG_LEN);
        opener.open(&mut more)?;
        let mut all = BytesMut::with_capacity(INLINE_LEN + more.len());
        all.extend_from_slice(&head.inline);
        all.extend_from_slice(&more);
        all.truncate(head.lens[0]);
        segs[0] = all.freeze();
    } else {
        segs[0] = head.inline.slice(..head.lens[0]);
    }
    if head.count > 1 {
        opener.open(&mut rest)?;
        let rest = rest.freeze();
        let mut at = 0;
        for (i, (seg, &len)) in segs.iter_mut().zip(&head.lens).take(head.count).enumerate().skip(1) {
            *seg = own_if_front(i, rest.slice(at..at + len));
            at += pad16(len);
        }
        if !late_status(rest[at])? {
            return Ok(None);
        }
    }
    Ok(Some(Frame { tag: head.tag, segs, data_crc: None }))
}

/// Writes frames.
#[derive(Default)]
pub struct FrameWriter {
    sealer: Option<Sealer>,
}

impl FrameWriter {
    /// Switches to secure mode for the frames to come.
    pub fn set_secure(&mut self, sealer: Sealer) {
        self.sealer = Some(sealer);
    }
    /// Writes one frame. `data_crc` saves computing the checksum of the fourth segment.
    pub fn write(
        &mut self,
        out: &mut OutBuf,
        tag: u8,
        segs: [Bytes; 4],
        data_crc: Option<u32>,
    ) -> Result<(), MsgrError> {
        let count = segs.iter().rposition(|s| !s.is_empty()).map_or(1, |i| i + 1);
        let mut pre = [0u8; PREAMBLE_LEN];
        pre[0] = tag;
        pre[1] = count as u8;
        for (i, seg) in segs.iter().enumerate().take(count) {
            let len = u32::try_from(seg.len()).map_err(|_| MsgrError::TooLarge {
                what: SEGMENT_NAMES[i],
                len: seg.len() as u64,
                max: u32::MAX.into(),
            })?;
            let align: u16 = if i == 3 { 4096 } else { 8 };
            pre[2 + 6 * i..6 + 6 * i].copy_from_slice(&len.to_le_bytes());
            pre[6 + 6 * i..8 + 6 * i].copy_from_slice(&align.to_le_bytes());
        }
        let crc = crc32c(0, &pre[..28]);
        pre[28..].copy_from_slice(&crc.to_le_bytes());
        match &mut self.sealer {
            None => {
                write_crc(out, &pre, segs, count, data_crc);
                Ok(())
            }
            Some(s) => write_secure(s, out, &pre, segs, count),
        }
    }
}

fn write_crc(out: &mut OutBuf, pre: &[u8], segs: [Bytes; 4], count: usize, data_crc: Option<u32>) {
    out.put(pre);
    if !segs[0].is_empty() {
        out.put(&segs[0]);
        out.put(&crc32c(u32::MAX, &segs[0]).to_le_bytes());
    }
    if count == 1 {
        return;
    }
    let mut epilogue = [0u8; EPILOGUE_CRC_LEN];
    epilogue[0] = LATE_COMPLETE;
    for (i, seg) in segs.into_iter().enumerate().take(count).skip(1) {
        let crc = match data_crc {
            Some(c) if i == 3 => c,
            _ => crc::of_shared(&seg),
        };
        epilogue[1 + 4 * (i - 1)..5 + 4 * (i - 1)].copy_from_slice(&crc.to_le_bytes());
        out.push(seg);
    }
    out.put(&epilogue);
}

fn write_secure(
    sealer: &mut Sealer,
    out: &mut OutBuf,
    pre: &[u8],
    segs: [Bytes; 4],
    count: usize,
) -> Result<(), MsgrError> {
    let total: usize = segs.iter().map(|s| pad16(s.len())).sum();
    let mut b = BytesMut::with_capacity(FIRST_BLOCK_LEN + total + 3 * TAG_LEN + EPILOGUE_SECURE_LEN);
    let inline = segs[0].len().min(INLINE_LEN);
    b.extend_from_slice(pre);
    b.extend_from_slice(&segs[0][..inline]);
    b.resize(PREAMBLE_LEN + INLINE_LEN, 0);
    sealer.seal(&mut b, 0)?;
    if segs[0].len() > INLINE_LEN {
        let from = b.len();
        b.extend_from_slice(&segs[0][INLINE_LEN..]);
        b.resize(from + pad16(segs[0].len()) - INLINE_LEN, 0);
        sealer.seal(&mut b, from)?;
    }
    if count > 1 {
        let from = b.len();
        for seg in &segs[1..count] {
            b.extend_from_slice(seg);
            b.resize(b.len() + pad16(seg.len()) - seg.len(), 0);
        }
        b.extend_from_slice(&[LATE_COMPLETE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        sealer.seal(&mut b, from)?;
    }
    out.push(b.freeze());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onwire;

    const LIMITS: FrameLimits =
        FrameLimits { ready: true, front_bytes_max: 1 << 20, data_bytes_max: 1 << 20 };

    fn cases() -> Vec<(u8, [Bytes; 4])> {
        let b = |n: usize| Bytes::from((0..n).map(|i| i as u8).collect::<Vec<_>>());
        vec![
            (tag::WAIT, [b(0), b(0), b(0), b(0)]),
            (tag::ACK, [b(8), b(0), b(0), b(0)]),
            (tag::HELLO, [b(48), b(0), b(0), b(0)]),
            (tag::HELLO, [b(49), b(0), b(0), b(0)]),
            (tag::HELLO, [b(5000), b(0), b(0), b(0)]),
            (tag::MESSAGE, [b(41), b(100), b(0), b(0)]),
            (tag::MESSAGE, [b(41), b(0), b(7), b(0)]),
            (tag::MESSAGE, [b(41), b(0), b(0), b(4096)]),
            (tag::MESSAGE, [b(41), b(16), b(15), b(70000)]),
        ]
    }

    fn both_modes() -> Vec<(FrameWriter, FrameReader)> {
        let secret: Vec<u8> = (0..64).collect();
        let (sealer, _) = onwire::pair(&secret, true).unwrap();
        let (_, opener) = onwire::pair(&secret, false).unwrap();
        let mut w = FrameWriter::default();
        w.set_secure(sealer);
        let mut r = FrameReader::new(LIMITS);
        r.set_secure(opener);
        vec![(FrameWriter::default(), FrameReader::new(LIMITS)), (w, r)]
    }

    #[test]
    fn frames_survive_any_split_in_both_modes() {
        for (mut w, mut r) in both_modes() {
            let mut out = OutBuf::default();
            for (tag, segs) in cases() {
                w.write(&mut out, tag, segs, None).unwrap();
            }
            let all = out.take_all();
            let mut buf = BytesMut::new();
            let mut got = Vec::new();
            for (i, piece) in all.chunks(13).enumerate() {
                buf.extend_from_slice(piece);
                if i % 3 == 0 {
                    while let Some(f) = r.next(&mut buf).unwrap() {
                        got.push((f.tag, f.segs));
                    }
                }
            }
            while let Some(f) = r.next(&mut buf).unwrap() {
                got.push((f.tag, f.segs));
            }
            assert_eq!(got, cases());
            assert!(buf.is_empty());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for mode in 0..2 {
            let (mut w, _) = both_modes().remove(mode);
            let mut out = OutBuf::default();
            let segs = [
                Bytes::from_static(&[3; 41]),
                Bytes::from_static(&[4; 20]),
                Bytes::new(),
                Bytes::from_static(&[5; 33]),
            ];
            w.write(&mut out, tag::MESSAGE, segs.clone(), None).unwrap();
            let all = out.take_all();
            for bit in 0..all.len() * 8 {
                let mut bad = BytesMut::from(&all[..]);
                bad[bit / 8] ^= 1 << (bit % 8);
                let (_, mut r) = both_modes().remove(mode);
                match r.next(&mut bad) {
                    Err(_) | Ok(None) => {}
                    // The upper half of the late status is not covered by anything in crc mode, nor is the checksum of an
                    // empty segment.
                    Ok(Some(f)) => assert_eq!((mode, &f.segs), (0, &segs)),
                }
            }
        }
    }

    #[test]
    fn a_large_claim_before_ready_is_refused_from_the_preamble_alone() {
        let mut out = OutBuf::default();
        let seg = Bytes::from(vec![0; CONTROL_BYTES_MAX as usize + 1]);
        FrameWriter::default()
            .write(&mut out, tag::HELLO, [seg, Bytes::new(), Bytes::new(), Bytes::new()], None)
            .unwrap();
        let mut buf = BytesMut::from(&out.take_all()[..PREAMBLE_LEN]);
        let mut r = FrameReader::new(FrameLimits { ready: false, ..LIMITS });
        assert!(matches!(r.next(&mut buf), Err(MsgrError::TooLarge { .. })));
    }

    #[test]
    fn data_is_a_slice_of_the_receive_buffer_with_its_crc() {
        let data = Bytes::from(vec![9u8; 8192]);
        let mut out = OutBuf::default();
        let segs = [Bytes::from_static(&[3; 41]), Bytes::new(), Bytes::new(), data.clone()];
        FrameWriter::default().write(&mut out, tag::MESSAGE, segs, None).unwrap();
        let mut buf = BytesMut::from(&out.take_all()[..]);
        let range = buf.as_ptr() as usize..buf.as_ptr() as usize + buf.len();
        let f = FrameReader::new(LIMITS).next(&mut buf).unwrap().unwrap();
        assert!(range.contains(&(f.segs[3].as_ptr() as usize)));
        assert_eq!(f.data_crc, Some(crc32c(u32::MAX, &data)));
    }
}
