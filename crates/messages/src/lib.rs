//! Ceph's messages as Rust types, each with the front, middle and data it travels with.
//!
//! Ring 1 (bytes). One module per family of messages; types are named as Ceph's classes (`MMonCommand`, `MOsdOp`).
//! Deliberately absent: sessions, frames, authentication (`msgr`), our own OSD-to-OSD messages (`pg`).

pub mod envelope;
pub mod fs;
pub mod fuzz;
pub mod kinds;
pub mod known_crc;
mod macros;
pub mod mgr;
pub mod mon;
pub mod opcode;
pub mod ops;
pub mod osd;
pub mod osd_mon;
pub mod osd_op;
pub mod registry;

pub use envelope::{Message, MsgHeader, PRIO_DEFAULT, PRIO_HIGH, Payload};
pub use fs::*;
pub use macros::PaxosHeader;
pub use mgr::*;
pub use mon::*;
pub use ops::{
    AllocHint, Checksum, ClassCall, CopyFrom, Extent, OpCode, OpFlags, OsdFlags, OsdOp, Watch, WriteSame,
    Xattr, watch_op,
};
pub use osd::*;
pub use osd_mon::*;
pub use osd_op::{MOsdOp, MOsdOpReply, OpReply, Redirect};
pub use registry::{describe, recode};
