//! One operation of an OSD request: [`OsdOp`] (`ceph_osd_op` with its data).
//!
//! Mirrors `include/rados.h`. The 28 bytes of the union stay raw, so that operations that we do not know survive a
//! round trip; typed accessors read and write each member.

pub use crate::opcode::{OpCode, OpFlags, OsdFlags};
use bytes::Bytes;
use denc::{Decoder, DencError, Encoder};
use std::fmt;
use types::{ObjectLocator, SnapId, Utime};

/// What a `watch` operation does (`CEPH_OSD_WATCH_OP_*`).
pub mod watch_op {
    /// Ends a watch.
    pub const UNWATCH: u8 = 0;
    /// Old form of [`WATCH`].
    pub const LEGACY_WATCH: u8 = 1;
    /// Starts a watch.
    pub const WATCH: u8 = 3;
    /// Takes up a watch after the connection was lost.
    pub const RECONNECT: u8 = 5;
    /// Keeps a watch alive.
    pub const PING: u8 = 7;
}

/// `extent`: read, write, zero, truncate (offset = new size) and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 in a read means the whole object.
    pub length: u64,
    /// Size that the object is to be truncated to first, if `truncate_seq` is newer than the object's.
    pub truncate_size: u64,
    /// Sequence of that truncation; CephFS only.
    pub truncate_seq: u32,
}
/// `xattr`: name and value are in the data, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Xattr {
    /// Bytes of name.
    pub name_len: u32,
    /// Bytes of value behind it.
    pub value_len: u32,
    /// Comparison: 1 eq, 2 ne, 3 gt, 4 ge, 5 lt, 6 le.
    pub cmp_op: u8,
    /// How to compare: 1 as strings, 2 as u64.
    pub cmp_mode: u8,
}
/// `watch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Watch {
    /// The client's name for the watch.
    pub cookie: u64,
    /// Not used.
    pub ver: u64,
    /// See [`watch_op`].
    pub op: u8,
    /// Registration generation: grows with every reconnect.
    pub generation: u32,
    /// Seconds; 0 means the server's default.
    pub timeout_secs: u32,
}
/// `copy_from`; source name and locator are in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CopyFrom {
    /// Snapshot of the source.
    pub snap: SnapId,
    /// Version that the source must have; 0 any.
    pub src_version: u64,
    /// `CEPH_OSD_COPY_FROM_FLAG_*`.
    pub flags: u8,
    /// Access hints for the source.
    pub src_fadvise_flags: u32,
}
/// `alloc_hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AllocHint {
    /// Expected object size.
    pub object_size: u64,
    /// Expected write size.
    pub write_size: u64,
    /// `CEPH_OSD_ALLOC_HINT_FLAG_*`.
    pub flags: u32,
}
/// `writesame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WriteSame {
    /// First byte.
    pub offset: u64,
    /// Bytes to fill.
    pub length: u64,
    /// Bytes of pattern in the data; must divide `length`.
    pub data_length: u64,
}
/// `checksum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Checksum {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Bytes per checksum.
    pub chunk_size: u32,
    /// 0 xxhash32, 1 xxhash64, 2 crc32c.
    pub kind: u8,
}
/// A class call, taken apart. Slices share the op's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCall {
    /// Class name.
    pub class: Bytes,
    /// Method name.
    pub method: Bytes,
    /// Input for the method.
    pub input: Bytes,
}

/// One operation with its input (in a request) or output (in a reply).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OsdOp {
    /// What to do.
    pub code: OpCode,
    /// Hints and conditions.
    pub flags: OpFlags,
    /// The union of arguments, raw.
    pub union: [u8; 28],
    /// Input in a request, output in a reply; a shared slice of the message's data.
    pub data: Bytes,
}

impl OsdOp {
    /// Bytes of one operation in a message's front.
    pub const WIRE_SIZE: usize = 38;

    /// An operation without arguments.
    pub fn new(code: OpCode) -> OsdOp {
        OsdOp { code, ..OsdOp::default() }
    }
    /// An operation on an extent.
    pub fn extent_op(code: OpCode, offset: u64, length: u64, data: Bytes) -> OsdOp {
        let mut op = OsdOp { code, data, ..OsdOp::default() };
        op.set_extent(Extent { offset, length, ..Extent::default() });
        op
    }
    /// `read`; length 0 reads to the end.
    pub fn read(offset: u64, length: u64) -> OsdOp {
        Self::extent_op(OpCode::READ, offset, length, Bytes::new())
    }
    /// `write`.
    pub fn write(offset: u64, data: Bytes) -> OsdOp {
        Self::extent_op(OpCode::WRITE, offset, data.len() as u64, data)
    }
    /// `writefull`.
    pub fn write_full(data: Bytes) -> OsdOp {
        Self::extent_op(OpCode::WRITEFULL, 0, data.len() as u64, data)
    }
    /// A class call.
    ///
    /// # Panics
    /// When a name is longer than 255 bytes: the format has no room for it.
    pub fn call(class: &str, method: &str, input: &[u8]) -> OsdOp {
        let len = |s: &str| u8::try_from(s.len()).expect("class and method names have at most 255 bytes");
        let mut op = OsdOp::new(OpCode::CALL);
        op.union[0] = len(class);
        op.union[1] = len(method);
        op.put(3, &(input.len() as u32).to_le_bytes());
        op.data = [class.as_bytes(), method.as_bytes(), input].concat().into();
        op
    }
    /// An xattr operation (`getxattr`, `setxattr`, `rmxattr`, `cmpxattr` with `cmp` = (op, mode)).
    pub fn xattr_op(code: OpCode, name: &[u8], value: &[u8], cmp: (u8, u8)) -> OsdOp {
        let mut op = OsdOp::new(code);
        op.put(0, &(name.len() as u32).to_le_bytes());
        op.put(4, &(value.len() as u32).to_le_bytes());
        op.union[8] = cmp.0;
        op.union[9] = cmp.1;
        op.data = [name, value].concat().into();
        op
    }
    /// Sets flags.
    pub fn with_flags(mut self, flags: OpFlags) -> OsdOp {
        self.flags = flags;
        self
    }
    /// Sets the input.
    pub fn with_data(mut self, data: Bytes) -> OsdOp {
        self.data = data;
        self
    }

    fn u8_at(&self, at: usize) -> u8 {
        self.union[at]
    }
    fn u32_at(&self, at: usize) -> u32 {
        let mut a = [0; 4];
        a.copy_from_slice(&self.union[at..at + 4]);
        u32::from_le_bytes(a)
    }
    fn u64_at(&self, at: usize) -> u64 {
        let mut a = [0; 8];
        a.copy_from_slice(&self.union[at..at + 8]);
        u64::from_le_bytes(a)
    }
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.union[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The `extent` member.
    pub fn extent(&self) -> Extent {
        Extent {
            offset: self.u64_at(0),
            length: self.u64_at(8),
            truncate_size: self.u64_at(16),
            truncate_seq: self.u32_at(24),
        }
    }
    /// Writes the `extent` member.
    pub fn set_extent(&mut self, x: Extent) {
        self.put(0, &x.offset.to_le_bytes());
        self.put(8, &x.length.to_le_bytes());
        self.put(16, &x.truncate_size.to_le_bytes());
        self.put(24, &x.truncate_seq.to_le_bytes());
    }
    /// The `xattr` member.
    pub fn xattr(&self) -> Xattr {
        Xattr {
            name_len: self.u32_at(0),
            value_len: self.u32_at(4),
            cmp_op: self.u8_at(8),
            cmp_mode: self.u8_at(9),
        }
    }
    /// Name and value of an xattr operation, when the data is long enough for them.
    pub fn xattr_parts(&self) -> Option<(Bytes, Bytes)> {
        let x = self.xattr();
        let name_end = x.name_len as usize;
        let end = name_end.checked_add(x.value_len as usize)?;
        if end > self.data.len() {
            return None;
        }
        Some((self.data.slice(..name_end), self.data.slice(name_end..end)))
    }
    /// A class call's parts, when the data is long enough for them.
    pub fn class_call(&self) -> Option<ClassCall> {
        let class_end = usize::from(self.u8_at(0));
        let method_end = class_end + usize::from(self.u8_at(1));
        let end = method_end.checked_add(self.u32_at(3) as usize)?;
        if end > self.data.len() {
            return None;
        }
        Some(ClassCall {
            class: self.data.slice(..class_end),
            method: self.data.slice(class_end..method_end),
            input: self.data.slice(method_end..end),
        })
    }
    /// `pgls`: how many entries, and the epoch that the listing began in.
    pub fn pgls(&self) -> (u64, u32) {
        (self.u64_at(0), self.u32_at(8))
    }
    /// Writes the `pgls` member.
    pub fn set_pgls(&mut self, count: u64, start_epoch: u32) {
        self.put(0, &count.to_le_bytes());
        self.put(8, &start_epoch.to_le_bytes());
    }
    /// `snap`: the snapshot of a rollback.
    pub fn snap(&self) -> SnapId {
        SnapId(self.u64_at(0))
    }
    /// Writes the `snap` member.
    pub fn set_snap(&mut self, snap: SnapId) {
        self.put(0, &snap.0.to_le_bytes());
    }
    /// The `watch` member.
    pub fn watch(&self) -> Watch {
        Watch {
            cookie: self.u64_at(0),
            ver: self.u64_at(8),
            op: self.u8_at(16),
            generation: self.u32_at(17),
            timeout_secs: self.u32_at(21),
        }
    }
    /// Writes the `watch` member.
    pub fn set_watch(&mut self, w: Watch) {
        self.put(0, &w.cookie.to_le_bytes());
        self.put(8, &w.ver.to_le_bytes());
        self.union[16] = w.op;
        self.put(17, &w.generation.to_le_bytes());
        self.put(21, &w.timeout_secs.to_le_bytes());
    }
    /// `notify`: the notifier's cookie.
    pub fn notify_cookie(&self) -> u64 {
        self.u64_at(0)
    }
    /// Writes the `notify` member.
    pub fn set_notify_cookie(&mut self, cookie: u64) {
        self.put(0, &cookie.to_le_bytes());
    }
    /// `assert_ver`: the user version that the object must have.
    pub fn assert_ver(&self) -> u64 {
        self.u64_at(8)
    }
    /// Writes the `assert_ver` member.
    pub fn set_assert_ver(&mut self, ver: u64) {
        self.put(8, &ver.to_le_bytes());
    }
    /// `copy_get`: most bytes that the reply may have.
    pub fn copy_get_max(&self) -> u64 {
        self.u64_at(0)
    }
    /// The `copy_from` member.
    pub fn copy_from(&self) -> CopyFrom {
        CopyFrom {
            snap: SnapId(self.u64_at(0)),
            src_version: self.u64_at(8),
            flags: self.u8_at(16),
            src_fadvise_flags: self.u32_at(17),
        }
    }
    /// Source name and locator of a `copy-from`.
    pub fn copy_from_source(&self) -> Result<(Bytes, ObjectLocator), DencError> {
        let mut d = Decoder::new(&self.data);
        Ok((d.blob()?, d.get()?))
    }
    /// The `alloc_hint` member.
    pub fn alloc_hint(&self) -> AllocHint {
        AllocHint { object_size: self.u64_at(0), write_size: self.u64_at(8), flags: self.u32_at(16) }
    }
    /// Writes the `alloc_hint` member.
    pub fn set_alloc_hint(&mut self, h: AllocHint) {
        self.put(0, &h.object_size.to_le_bytes());
        self.put(8, &h.write_size.to_le_bytes());
        self.put(16, &h.flags.to_le_bytes());
    }
    /// The `writesame` member.
    pub fn writesame(&self) -> WriteSame {
        WriteSame { offset: self.u64_at(0), length: self.u64_at(8), data_length: self.u64_at(16) }
    }
    /// The `checksum` member.
    pub fn checksum(&self) -> Checksum {
        Checksum {
            offset: self.u64_at(0),
            length: self.u64_at(8),
            chunk_size: self.u32_at(16),
            kind: self.u8_at(20),
        }
    }
    /// `hit_set_get`: the time that is asked for.
    pub fn hit_set_stamp(&self) -> Utime {
        Utime { sec: self.u32_at(0), nsec: self.u32_at(4) }
    }

    /// Writes the 38 bytes that stand in the front; the data goes elsewhere.
    pub fn encode_head(&self, e: &mut Encoder) {
        e.u16(self.code.0);
        e.u32(self.flags.0);
        e.raw(&self.union);
        e.u32(u32::try_from(self.data.len()).expect("a message's data is shorter than 4 GiB"));
    }
    /// Reads the 38 bytes; the data stays empty, its length is returned.
    pub fn decode_head(d: &mut Decoder<'_>) -> Result<(OsdOp, u32), DencError> {
        let code = OpCode(d.u16()?);
        let flags = OpFlags(d.u32()?);
        let mut union = [0u8; 28];
        union.copy_from_slice(d.raw(28)?);
        Ok((OsdOp { code, flags, union, data: Bytes::new() }, d.u32()?))
    }
}

impl fmt::Display for OsdOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.extent();
        match self.code {
            OpCode::READ
            | OpCode::SPARSE_READ
            | OpCode::SYNC_READ
            | OpCode::MAPEXT
            | OpCode::WRITE
            | OpCode::WRITEFULL
            | OpCode::ZERO
            | OpCode::APPEND
            | OpCode::CMPEXT => write!(f, "{} {}~{}", self.code, x.offset, x.length),
            OpCode::TRUNCATE => write!(f, "truncate {}", x.offset),
            OpCode::CALL => match self.class_call() {
                Some(c) => write!(
                    f,
                    "call {}.{} in={}b",
                    String::from_utf8_lossy(&c.class),
                    String::from_utf8_lossy(&c.method),
                    c.input.len()
                ),
                None => f.write_str("call"),
            },
            OpCode::WATCH => {
                let w = self.watch();
                write!(f, "watch op {} cookie {} gen {}", w.op, w.cookie, w.generation)
            }
            OpCode::GETXATTR | OpCode::SETXATTR | OpCode::RMXATTR | OpCode::CMPXATTR => {
                match self.xattr_parts() {
                    Some((name, value)) => {
                        write!(f, "{} {} ({})", self.code, String::from_utf8_lossy(&name), value.len())
                    }
                    None => write!(f, "{}", self.code),
                }
            }
            _ => {
                write!(f, "{}", self.code)?;
                if self.data.is_empty() { Ok(()) } else { write!(f, " [{}b]", self.data.len()) }
            }
        }
    }
}
impl fmt::Debug for OsdOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_call_comes_apart_as_it_was_put_together() {
        let op = OsdOp::call("rbd", "get_size", &[1, 2, 3]);
        let call = op.class_call().unwrap();
        assert_eq!(
            (&call.class[..], &call.method[..], &call.input[..]),
            (&b"rbd"[..], &b"get_size"[..], &[1, 2, 3][..])
        );
        assert_eq!(op.clone().with_data(op.data.slice(..13)).class_call(), None);
    }

    #[test]
    fn lengths_beyond_the_data_are_refused() {
        let mut op = OsdOp::xattr_op(OpCode::SETXATTR, b"name", b"value", (0, 0));
        assert_eq!(op.xattr_parts().unwrap(), (Bytes::from_static(b"name"), Bytes::from_static(b"value")));
        op.union[..8].fill(0xff);
        assert_eq!(op.xattr_parts(), None);
    }

    #[test]
    fn members_of_the_union_do_not_share_bytes_by_accident() {
        let mut op = OsdOp::new(OpCode::WATCH);
        let w = Watch { cookie: 1 << 40, ver: 7, op: watch_op::RECONNECT, generation: 9, timeout_secs: 30 };
        op.set_watch(w);
        assert_eq!(op.watch(), w);
        let h = AllocHint { object_size: 4 << 20, write_size: 4096, flags: 0x101 };
        op.set_alloc_hint(h);
        assert_eq!(op.alloc_hint(), h);
        let x = Extent { offset: 1, length: 2, truncate_size: 3, truncate_seq: 4 };
        op.set_extent(x);
        assert_eq!(op.extent(), x);
    }

    #[test]
    fn codes_know_their_class_and_name() {
        assert!(OpCode::WRITE.is_write() && !OpCode::WRITE.is_read());
        assert!(OpCode::TMAPUP.is_write() && OpCode::TMAPUP.is_read());
        assert!(!OpCode::CALL.is_write() && !OpCode::CALL.is_read() && OpCode::CALL.is_exec());
        assert!(OpCode::PGNLS.is_pg());
        assert_eq!(OpCode::OMAP_RM_RANGE.to_string(), "omap-rm-key-range");
        assert_eq!(OpCode(0x2fff).to_string(), "op-0x2fff");
        assert_eq!((OsdFlags::READ | OsdFlags::ONDISK).to_string(), "ondisk+read");
    }
}
