//! Connection feature bits (`include/ceph_features.h`). Several names share a bit with a second "incarnation" bit.

/// Incarnation 1 bit (CEPH_FEATURE_INCARNATION_1).
pub const INCARNATION_1: u64 = 0;
/// Incarnation 2 (jewel and later).
pub const INCARNATION_2: u64 = 1 << 57;
/// Incarnation 3.
pub const INCARNATION_3: u64 = (1 << 57) | (1 << 28);

/// What every 16.2.15 peer advertises (seen on the wire), and what we advertise.
pub const SUPPORTED: u64 = 0x3f01_cfbd_fffd_ffff;

/// Requests and replies carry msgr2-style addresses.
pub const MSG_ADDR2: u64 = 1 << 59;
/// Server speaks luminous encodings.
pub const SERVER_LUMINOUS: u64 = (1 << 21) | INCARNATION_2;
/// Server speaks mimic encodings.
pub const SERVER_MIMIC: u64 = (1 << 28) | INCARNATION_2;
/// Server speaks nautilus encodings.
pub const SERVER_NAUTILUS: u64 = (1 << 2) | INCARNATION_3;
/// Server speaks octopus encodings.
pub const SERVER_OCTOPUS: u64 = (1 << 16) | INCARNATION_3;
/// Server speaks pacific encodings.
pub const SERVER_PACIFIC: u64 = (1 << 20) | INCARNATION_3;
/// `objectstore_perf_stat_t` carries nanoseconds. Not in [`SUPPORTED`]: stock 16.2 forgets to advertise it.
pub const OS_PERF_STAT_NS: u64 = (1 << 17) | INCARNATION_3;
/// Placement hashes the pool in (`FLAG_HASHPSPOOL`).
pub const OSDHASHPSPOOL: u64 = 1 << 30;
/// Cache tiers.
pub const OSD_CACHEPOOL: u64 = 1 << 35;
/// Primary affinity (shares its bit with CRUSH_TUNABLES3).
pub const OSD_PRIMARY_AFFINITY: u64 = 1 << 41;
