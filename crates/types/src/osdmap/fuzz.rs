//! Entry points for fuzzing: plain functions over bytes that must not panic, hang or allocate without bound. The crc is
//! repaired first, or no changed byte would get past it.

use super::codec::ceph_crc;
use super::{OsdMap, OsdMapIncremental};
use crate::PgId;
use bytes::Bytes;

fn with_crc(data: &[u8], from_end: usize) -> Bytes {
    let mut v = data.to_vec();
    let len = v.len();
    if len >= 6 + from_end {
        let body = u32::from_le_bytes([v[2], v[3], v[4], v[5]]) as usize;
        let end = (6 + body).min(len);
        if end >= from_end + 6 {
            let at = end - from_end;
            let mut covered = v[..at].to_vec();
            covered.extend_from_slice(&v[at + 4..end]);
            v[at..at + 4].copy_from_slice(&ceph_crc(&covered).to_le_bytes());
        }
    }
    Bytes::from(v)
}

/// A full map with a right crc.
pub fn with_right_crc(data: &[u8]) -> Bytes {
    with_crc(data, 4)
}

/// An incremental with a right crc, that promises nothing of the map that it leads to.
pub fn without_promise(data: &[u8]) -> Bytes {
    let mut v = data.to_vec();
    if let Some(promise) = v.last_chunk_mut::<4>() {
        *promise = [0; 4];
    }
    with_crc(&v, 8)
}

/// Decodes a full map; a good one must place a PG without a panic.
pub fn fuzz_osdmap(data: &[u8]) {
    let Ok(map) = denc::from_bytes::<OsdMap>(&with_crc(data, 4)) else { return };
    for id in map.pools.keys().take(4) {
        let up = map.pg_to_up_acting_osds(PgId { pool: *id, seed: 1 });
        assert!(up.is_some(), "the pool exists");
    }
    let _ = map.required_features();
}

/// Decodes an incremental and applies it to an empty map.
pub fn fuzz_incremental(data: &[u8]) {
    let Ok(inc) = denc::from_bytes::<OsdMapIncremental>(&with_crc(data, 8)) else { return };
    let before =
        OsdMap { epoch: crate::Epoch(inc.epoch.0.saturating_sub(1)), fsid: inc.fsid, ..OsdMap::default() };
    if before.epoch.0 < u32::MAX {
        let _ = before.with_incremental(&inc);
    }
}
