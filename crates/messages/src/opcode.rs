//! Op codes and flags of OSD requests: [`OpCode`], [`OsdFlags`] of a message, [`OpFlags`] of one operation
//! (`include/rados.h`).

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::fmt;

const MODE_RD: u16 = 0x1000;
const MODE_WR: u16 = 0x2000;
const MODE_SUB: u16 = 0x4000;
const MODE_CACHE: u16 = 0x8000;
const TYPE_MASK: u16 = 0x0f00;

/// An operation's code (`CEPH_OSD_OP_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OpCode(pub u16);

macro_rules! opcodes {
    ($($name:ident = $n:literal $text:literal),* $(,)?) => {
        impl OpCode {
            $(#[doc = concat!("`", $text, "`")]
            pub const $name: OpCode = OpCode($n);)*

            /// The name as stock's logs have it; `???` for an unknown code.
            pub fn name(self) -> &'static str {
                match self.0 { $($n => $text,)* _ => "???" }
            }
        }
    };
}
opcodes! {
    READ = 0x1201 "read", STAT = 0x1202 "stat", MAPEXT = 0x1203 "mapext", MASKTRUNC = 0x1204 "masktrunc",
    SPARSE_READ = 0x1205 "sparse-read", NOTIFY = 0x1206 "notify", NOTIFY_ACK = 0x1207 "notify-ack",
    ASSERT_VER = 0x1208 "assert-version", LIST_WATCHERS = 0x1209 "list-watchers", LIST_SNAPS = 0x120a "list-snaps",
    SYNC_READ = 0x120b "sync_read", TMAPGET = 0x120c "tmapget", OMAP_GET_KEYS = 0x1211 "omap-get-keys",
    OMAP_GET_VALS = 0x1212 "omap-get-vals", OMAP_GET_HEADER = 0x1213 "omap-get-header",
    OMAP_GET_VALS_BY_KEYS = 0x1214 "omap-get-vals-by-keys", OMAP_CMP = 0x1219 "omap-cmp", ISDIRTY = 0x121d "isdirty",
    COPY_GET = 0x121e "copy-get", CHECKSUM = 0x121f "checksum", CMPEXT = 0x1220 "cmpext",
    GETXATTR = 0x1301 "getxattr", GETXATTRS = 0x1302 "getxattrs", CMPXATTR = 0x1303 "cmpxattr",
    CALL = 0x1401 "call",
    PGLS = 0x1501 "pgls", PGLS_FILTER = 0x1502 "pgls-filter", PG_HITSET_LS = 0x1503 "pg-hitset-ls",
    PG_HITSET_GET = 0x1504 "pg-hitset-get", PGNLS = 0x1505 "pgnls", PGNLS_FILTER = 0x1506 "pgnls-filter",
    SCRUBLS = 0x1507 "scrubls",
    WRITE = 0x2201 "write", WRITEFULL = 0x2202 "writefull", TRUNCATE = 0x2203 "truncate", ZERO = 0x2204 "zero",
    DELETE = 0x2205 "delete", APPEND = 0x2206 "append", STARTSYNC = 0x2207 "startsync", SETTRUNC = 0x2208 "settrunc",
    TRIMTRUNC = 0x2209 "trimtrunc", TMAPUP = 0x320a "tmapup", TMAPPUT = 0x220b "tmapput", CREATE = 0x220d "create",
    ROLLBACK = 0x220e "rollback", WATCH = 0x220f "watch", OMAP_SET_VALS = 0x2215 "omap-set-vals",
    OMAP_SET_HEADER = 0x2216 "omap-set-header", OMAP_CLEAR = 0x2217 "omap-clear", OMAP_RM_KEYS = 0x2218 "omap-rm-keys",
    COPY_FROM = 0x221a "copy-from", UNDIRTY = 0x221c "undirty", TMAP2OMAP = 0x3222 "tmap2omap",
    SET_ALLOC_HINT = 0x2223 "set-alloc-hint", CACHE_PIN = 0x2224 "cache-pin", CACHE_UNPIN = 0x2225 "cache-unpin",
    WRITESAME = 0x2226 "write-same", SET_REDIRECT = 0x2227 "set-redirect", SET_CHUNK = 0x2228 "set-chunk",
    TIER_PROMOTE = 0x2229 "tier-promote", UNSET_MANIFEST = 0x222a "unset-manifest", TIER_FLUSH = 0x222b "tier-flush",
    OMAP_RM_RANGE = 0x222c "omap-rm-key-range", COPY_FROM2 = 0x222d "copy-from2", TIER_EVICT = 0x222e "tier-evict",
    SETXATTR = 0x2301 "setxattr", SETXATTRS = 0x2302 "setxattrs", RESETXATTRS = 0x2303 "resetxattrs",
    RMXATTR = 0x2304 "rmxattr",
    CACHE_FLUSH = 0x821f "cache-flush", CACHE_EVICT = 0x8220 "cache-evict", CACHE_TRY_FLUSH = 0x8221 "cache-try-flush",
}
impl OpCode {
    /// True when the code's class reads. A class call is not counted: only the class knows.
    pub fn is_read(self) -> bool {
        self.0 & MODE_RD != 0 && self != OpCode::CALL
    }
    /// True when the code's class modifies. A class call is not counted: only the class knows.
    pub fn is_write(self) -> bool {
        self.0 & MODE_WR != 0
    }
    /// True for cache tier operations.
    pub fn is_cache(self) -> bool {
        self.0 & MODE_CACHE != 0
    }
    /// True for operations that only OSDs sent each other, long ago.
    pub fn is_sub(self) -> bool {
        self.0 & 0xf000 == MODE_SUB
    }
    /// True for operations on a PG instead of an object (listings).
    pub fn is_pg(self) -> bool {
        self.0 & TYPE_MASK == 0x0500
    }
    /// True for operations on data (also omap, watch and notify).
    pub fn is_data(self) -> bool {
        self.0 & TYPE_MASK == 0x0200
    }
    /// True for operations on xattrs.
    pub fn is_attr(self) -> bool {
        self.0 & TYPE_MASK == 0x0300
    }
    /// True for class calls.
    pub fn is_exec(self) -> bool {
        self.0 & TYPE_MASK == 0x0400
    }
}
impl fmt::Display for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "???" => write!(f, "op-{:#06x}", self.0),
            name => f.write_str(name),
        }
    }
}
impl fmt::Debug for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! flags {
    ($(#[$doc:meta])* $ty:ident { $($(#[$fdoc:meta])* $name:ident = $n:literal $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $ty(pub u32);
        impl $ty {
            $(#[doc = concat!("`", $text, "`. ")] $(#[$fdoc])*
            pub const $name: $ty = $ty($n);)*
            /// True when every bit of `other` is set.
            pub const fn has(self, other: $ty) -> bool {
                self.0 & other.0 == other.0
            }
            /// True when any bit of `other` is set.
            pub const fn any(self, other: $ty) -> bool {
                self.0 & other.0 != 0
            }
            /// These bits without those of `other`.
            pub const fn without(self, other: $ty) -> $ty {
                $ty(self.0 & !other.0)
            }
        }
        impl std::ops::BitOr for $ty {
            type Output = $ty;
            fn bitor(self, o: $ty) -> $ty {
                $ty(self.0 | o.0)
            }
        }
        impl std::ops::BitOrAssign for $ty {
            fn bitor_assign(&mut self, o: $ty) {
                self.0 |= o.0;
            }
        }
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut left = self.0;
                let mut first = true;
                for (bit, name) in [$(($n, $text)),*] {
                    if self.0 & bit != 0 {
                        left &= !bit;
                        write!(f, "{}{name}", if first { "" } else { "+" })?;
                        first = false;
                    }
                }
                if left != 0 || first {
                    write!(f, "{}{left:#x}", if first { "" } else { "+" })?;
                }
                Ok(())
            }
        }
        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Encode for $ty {
            fn encode(&self, e: &mut Encoder) {
                e.u32(self.0);
            }
        }
        impl Decode for $ty {
            const MIN_SIZE: usize = 4;
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
                Ok($ty(d.u32()?))
            }
        }
    };
}

flags! {
    /// Flags of a whole request or reply (`CEPH_OSD_FLAG_*`).
    OsdFlags {
        ACK = 0x1 "ack", ONNVRAM = 0x2 "onnvram", ONDISK = 0x4 "ondisk", RETRY = 0x8 "retry", READ = 0x10 "read",
        /// May be absent although a class call writes.
        WRITE = 0x20 "write",
        /// EOLDSNAPC when the snap context is older than the object's.
        ORDERSNAP = 0x40 "ordersnap",
        PEERSTAT_OLD = 0x80 "peerstat_old", BALANCE_READS = 0x100 "balance_reads",
        PARALLELEXEC = 0x200 "parallelexec", PGOP = 0x400 "pgop", EXEC = 0x800 "exec",
        EXEC_PUBLIC = 0x1000 "exec_public", LOCALIZE_READS = 0x2000 "localize_reads",
        /// Order this read with writes.
        RWORDERED = 0x4000 "rwordered",
        IGNORE_CACHE = 0x8000 "ignore_cache", SKIPRWLOCKS = 0x10000 "skiprwlocks",
        IGNORE_OVERLAY = 0x20000 "ignore_overlay", FLUSH = 0x40000 "flush", MAP_SNAP_CLONE = 0x80000 "map_snap_clone",
        ENFORCE_SNAPC = 0x100000 "enforce_snapc", REDIRECTED = 0x200000 "redirected",
        KNOWN_REDIR = 0x400000 "known_if_redirected",
        /// Fail with ENOSPC instead of waiting when full.
        FULL_TRY = 0x800000 "full_try",
        /// Write although full.
        FULL_FORCE = 0x1000000 "full_force",
        IGNORE_REDIRECT = 0x2000000 "ignore_redirect",
        /// Answer with every op's own result.
        RETURNVEC = 0x4000000 "returnvec",
        SUPPORTSPOOLEIO = 0x8000000 "supports_pool_eio",
    }
}
flags! {
    /// Flags of one operation (`CEPH_OSD_OP_FLAG_*`).
    OpFlags {
        /// `create` fails when the object exists.
        EXCL = 0x1 "excl",
        /// Go on with the next operation when this one fails.
        FAILOK = 0x2 "failok",
        RANDOM = 0x4 "fadvise_random", SEQUENTIAL = 0x8 "fadvise_sequential", WILLNEED = 0x10 "fadvise_willneed",
        DONTNEED = 0x20 "fadvise_dontneed", NOCACHE = 0x40 "fadvise_nocache", WITH_REFERENCE = 0x80 "with_reference",
        BYPASS_CLEAN_CACHE = 0x100 "bypass_clean_cache",
    }
}
