//! The fuzz targets: every function over outside bytes that a crate offers, with the samples it starts from.
//!
//! Where a checksum would turn every changed input away, the target repairs it first, as an attacker would.

use crate::class_context::MemoryObject;
use crate::{rebuild, samples};
use bytes::Bytes;
use denc::{Decode, Encode, Features};
use messages::{Message, MsgHeader, Payload};

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Runs one input; a panic is a finding.
    pub run: Run,
    /// Inputs to start from.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// How an input is run, and how it is known which are new: those are changed further.
#[derive(Clone, Copy)]
pub enum Run {
    /// By what is allocated (a decoder's way through its input shows in that).
    Quiet(fn(&[u8])),
    /// By what the target says happened: numbers of its own, few for each input.
    Telling(fn(&[u8]) -> Vec<u64>),
}
impl Run {
    /// Runs one input.
    pub fn call(self, data: &[u8]) -> Vec<u64> {
        match self {
            Run::Quiet(f) => {
                f(data);
                Vec::new()
            }
            Run::Telling(f) => f(data),
        }
    }
}
use Run::{Quiet, Telling};

/// All targets, in the order of the layers.
pub const ALL: &[Target] = &[
    Target {
        name: "frames",
        run: Quiet(msgr::fuzz::fuzz_frames),
        samples: || samples::with_first(&[0, 1], samples::streams()),
    },
    Target { name: "v2_server", run: Quiet(msgr::fuzz::fuzz_v2_server), samples: samples::streams },
    Target { name: "v2_client", run: Quiet(msgr::fuzz::fuzz_v2_client), samples: samples::streams },
    Target {
        name: "v1_server",
        run: Quiet(msgr::fuzz::fuzz_v1_server),
        samples: || samples::with_first(&[0, 1], samples::streams()),
    },
    Target { name: "v1_client", run: Quiet(msgr::fuzz::fuzz_v1_client), samples: samples::streams },
    Target { name: "cephx_decoders", run: Quiet(cephx::fuzz::fuzz_decoders), samples: samples::cephx },
    Target { name: "cephx_text", run: Quiet(cephx::fuzz::fuzz_text), samples: samples::texts },
    Target { name: "cephx_server", run: Quiet(cephx::fuzz::fuzz_server_exchange), samples: samples::cephx },
    Target { name: "cephx_client", run: Quiet(cephx::fuzz::fuzz_client_exchange), samples: samples::cephx },
    Target { name: "messages", run: Quiet(messages::fuzz::fuzz_message), samples: samples::messages },
    Target { name: "pg_messages", run: Quiet(pg_message), samples: samples::pg_messages },
    Target { name: "maps", run: Quiet(maps), samples: samples::maps },
    Target { name: "osdmap", run: Quiet(types::osdmap::fuzz_osdmap), samples: || samples::osdmaps("full.") },
    Target {
        name: "incremental",
        run: Quiet(types::osdmap::fuzz_incremental),
        samples: || samples::osdmaps("inc."),
    },
    Target { name: "crush", run: Quiet(crush::fuzz::fuzz_crush_map), samples: samples::crush },
    Target {
        name: "mon_reports",
        run: Quiet(mon_core::fuzz::fuzz_reports),
        samples: mon_core::fuzz::report_samples,
    },
    Target {
        name: "mon_commands",
        run: Telling(mon_core::fuzz::fuzz_commands),
        samples: mon_core::fuzz::samples,
    },
    Target {
        name: "mon_manager",
        run: Quiet(mon_core::fuzz_manager::fuzz_manager),
        samples: mon_core::fuzz_manager::samples,
    },
    Target { name: "mon_peers", run: Quiet(mon_core::wire::fuzz), samples: mon_core::wire::samples },
    Target { name: "mon_records", run: Quiet(mon_records), samples: mon_core::wire::samples },
    Target { name: "rebuild", run: Telling(rebuild::run), samples: rebuild::samples },
    Target { name: "osd_ops", run: Quiet(osd_ops::fuzz::fuzz_ops), samples: samples::osd_ops },
    Target {
        name: "osd_metadata",
        run: Quiet(osd_ops::fuzz::fuzz_metadata),
        samples: || samples::golden("osd-ops", ""),
    },
    Target { name: "classes", run: Quiet(classes), samples: samples::class_calls },
    Target { name: "transactions", run: Quiet(transactions), samples: samples::transactions },
    Target { name: "journal", run: Quiet(journal_record), samples: samples::journal_bodies },
    Target {
        name: "journal_raw",
        run: Quiet(store_core::fuzz::fuzz_journal_record),
        samples: samples::store_writes,
    },
    Target { name: "superblock", run: Quiet(superblock), samples: samples::store_writes },
    Target { name: "index_page", run: Quiet(store_core::fuzz::fuzz_page), samples: samples::store_writes },
    Target {
        name: "index_values",
        run: Quiet(store_core::fuzz::fuzz_values),
        samples: samples::store_writes,
    },
];

/// What decodes must encode to something that decodes to the same.
fn round_trip<T: Decode + Encode>(data: &Bytes) {
    let Ok(once) = denc::from_bytes::<T>(data) else { return };
    let bytes = denc::to_bytes(&once, Features::ALL);
    let twice = denc::from_bytes::<T>(&bytes).unwrap_or_else(|e| panic!("our own bytes do not decode: {e}"));
    assert_eq!(denc::to_bytes(&twice, Features::ALL), bytes, "the second encoding differs");
}

/// Kinds of map that [`maps`] knows; the first byte of its input chooses.
pub const MAPS: usize = 19;

fn maps(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let b = Bytes::copy_from_slice(rest);
    match usize::from(kind) % MAPS {
        0 => round_trip::<types::monmap::MonMap>(&b),
        1 => round_trip::<types::mgrmap::MgrMap>(&b),
        2 => round_trip::<types::fsmap::FsMap>(&b),
        3 => round_trip::<types::servicemap::ServiceMap>(&b),
        4 => round_trip::<types::logentry::LogEntry>(&b),
        5 => round_trip::<types::superblock::OsdSuperblock>(&b),
        6 => round_trip::<types::compatset::CompatSet>(&b),
        7 => round_trip::<types::servicemap::HealthCheckMap>(&b),
        8 => round_trip::<types::osdstat::OsdStat>(&b),
        9 => round_trip::<types::pgstat::PgStat>(&b),
        10 => round_trip::<types::PgPool>(&b),
        11 => round_trip::<types::HObject>(&b),
        12 => round_trip::<types::AddrVec>(&b),
        13 => round_trip::<types::mdsmap::MdsMap>(&b),
        14 => round_trip::<types::fsmap::Filesystem>(&b),
        15 => round_trip::<types::fsmap::FsMapUser>(&b),
        16 => round_trip::<types::pgdigest::PgMapDigest>(&b),
        17 => round_trip::<types::pgdigest::ProgressEvent>(&b),
        _ => round_trip::<types::IntervalSet>(&b),
    }
}

/// What monitors send to and store for each other: envelopes, log entries, meta records, proposals.
fn mon_records(data: &[u8]) {
    let b = Bytes::copy_from_slice(data);
    let _ = quorum::decode_envelope(&b);
    let _ = quorum::decode_entry(&b);
    let _ = quorum::meta_id(&b);
    let _ = mon_core::kv::Kv::keys_of(&b);
    if let Ok(p) = mon_core::Proposal::from_bytes(&b) {
        assert_eq!(mon_core::Proposal::from_bytes(&p.to_bytes()).as_ref(), Ok(&p));
    }
}

/// A replication message: the first two bytes say where its data begins.
fn pg_message(data: &[u8]) {
    let [a, b, rest @ ..] = data else { return };
    pg::fuzz::fuzz_pg_acks(rest);
    let cut = usize::from(u16::from_le_bytes([*a, *b])).min(rest.len());
    let msg = Message {
        header: MsgHeader { kind: pg::PgMessage::KIND, version: 1, compat: 1, ..MsgHeader::default() },
        front: Bytes::copy_from_slice(&rest[..cut]),
        data: Bytes::copy_from_slice(&rest[cut..]),
        ..Message::default()
    };
    let Ok(once) = pg::PgMessage::decode_parts(&msg) else { return };
    let (front, middle, data) = once.encode_parts(Features::ALL);
    let again = Message { front, middle, data, ..msg };
    pg::PgMessage::decode_parts(&again).unwrap_or_else(|e| panic!("our own bytes do not decode: {e}"));
}

/// Calls of class methods on one object: method number, length, input, again and again.
fn classes(data: &[u8]) {
    let methods: Vec<_> = cls::classes().iter().flat_map(|c| c.methods).collect();
    let mut object = MemoryObject::default();
    let mut rest = data;
    for _ in 0..64 {
        let [m, len, tail @ ..] = rest else { return };
        let (input, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        let method = methods[usize::from(*m) % methods.len()];
        // Stock allows an object map of 256 million objects (64 MB), which one small call asks for: not a finding, and slow.
        if method.name == "object_map_resize" && input.get(2..8).is_some_and(|high| high != [0; 6]) {
            rest = tail;
            continue;
        }
        // An error is an answer; the object may be half changed, as the op around it would roll it back.
        let _ = (method.func)(&mut object, &Bytes::copy_from_slice(input));
        rest = tail;
    }
}

/// A transaction as it comes from another OSD; the first two bytes say where its data begins.
fn transactions(data: &[u8]) {
    let [a, b, rest @ ..] = data else { return };
    let cut = usize::from(u16::from_le_bytes([*a, *b])).min(rest.len());
    let (meta, payload) = (Bytes::copy_from_slice(&rest[..cut]), Bytes::copy_from_slice(&rest[cut..]));
    let Ok(once) = objstore::Transaction::decode_split(&meta, &payload) else { return };
    let (meta, payload) = once.encode_split();
    let again = objstore::Transaction::decode_split(&meta, &payload.concat().into());
    assert_eq!(again.as_ref(), Ok(&once), "our own bytes decode to something else");
}

/// A journal record with right lengths and checksum round a body: transactions, where the payload begins, both.
fn journal_record(body: &[u8]) {
    let [txns, a, b, rest @ ..] = body else { return };
    let meta = usize::from(u16::from_le_bytes([*a, *b])).min(rest.len());
    let mut record = samples::record_header(rest.len(), *txns, meta);
    record.extend_from_slice(rest);
    let crc =
        crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&record[..12]), &[0; 4]), &record[16..]);
    record[12..16].copy_from_slice(&crc.to_le_bytes());
    record.resize(record.len().next_multiple_of(4096), 0);
    store_core::fuzz::fuzz_journal_record(&record);
}

/// A superblock's unit with a right checksum.
fn superblock(data: &[u8]) {
    let mut unit = data.to_vec();
    unit.resize(4092, 0);
    let crc = crc32c::crc32c(&unit);
    unit.extend_from_slice(&crc.to_le_bytes());
    store_core::fuzz::fuzz_superblock(&unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repair that went stale would make a target shallow without anyone noticing.
    #[test]
    fn every_target_has_samples_and_survives_them() {
        for t in ALL {
            let samples = (t.samples)();
            assert!(!samples.is_empty(), "{} starts from nothing", t.name);
            samples.iter().for_each(|s| drop(t.run.call(s)));
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|t| t.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
