//! Fuzz target: what an external manager sends, at a small cluster that has one. Beacons and reports must never panic the monitor, nor must
//! what it then shows of them.
//!
//! An input is a row of pieces: a byte for the kind (a beacon, a report, a digest inside of a report that is else fine), two for the
//! length, and the front of the message or the digest.

use crate::event::Role;
use crate::testing::{Disk, FSID, World};
use bytes::Bytes;
use denc::Features;
use messages::mgr::{MMgrBeacon, MMonMgrReport};
use messages::{Message, MsgHeader, kinds};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use types::pgdigest::PgMapDigest;
use types::{OsdId, PoolId};

const BEACON: u8 = 0;
const REPORT: u8 = 1;
const DIGEST: u8 = 2;
const KINDS: u8 = 3;
/// Pieces of one input.
const PIECES_MAX: usize = 6;

/// Commands that show what a manager said.
const SHOWN: &[&str] = &[
    r#"{"prefix":"status"}"#,
    r#"{"prefix":"status","format":"json"}"#,
    r#"{"prefix":"df","detail":"detail"}"#,
    r#"{"prefix":"df","detail":"detail","format":"json"}"#,
    r#"{"prefix":"health","detail":"detail"}"#,
    r#"{"prefix":"mgr dump"}"#,
    r#"{"prefix":"mgr module ls"}"#,
    r#"{"prefix":"mgr metadata"}"#,
    r#"{"prefix":"service dump"}"#,
    r#"{"prefix":"osd last-stat-seq","id":1}"#,
    r#"{"prefix":"get_command_descriptions"}"#,
    r#"{"prefix":"mgr fail"}"#,
];

fn disk() -> Disk {
    static DISK: OnceLock<Disk> = OnceLock::new();
    let made = DISK.get_or_init(|| {
        let mut w = World::new(3);
        for c in [
            r#"{"prefix":"osd pool create","pool":"data","pg_num":8}"#,
            r#"{"prefix":"auth get-or-create","entity":"mgr.x","caps":["mon","allow profile mgr"]}"#,
            r#"{"prefix":"config set","who":"mon","name":"mon_mgr_builtin","value":"false"}"#,
        ] {
            let (ret, text, _) = w.command(Role::Mon, c);
            assert_eq!(ret, 0, "{c}: {text}");
        }
        w.advance(1);
        w.disk
    });
    made.clone()
}

fn beacon(gid: u64, available: bool) -> MMgrBeacon {
    MMgrBeacon { fsid: FSID, gid, name: "x".to_owned(), available, ..MMgrBeacon::default() }
}

/// Runs one input.
pub fn fuzz_manager(data: &[u8]) {
    let mut w = World::open_disk(disk());
    let id = w.open(Role::Mon, "mgr.x", 6900, "allow profile mgr");
    let gid = 4100 + id;
    w.send(id, &beacon(gid, false));
    w.send(id, &beacon(gid, true));
    let mut rest = data;
    for _ in 0..PIECES_MAX {
        let [kind, a, b, more @ ..] = rest else { break };
        let (piece, more) = more.split_at(more.len().min(u16::from_le_bytes([*a, *b]).into()));
        rest = more;
        let front = Bytes::copy_from_slice(piece);
        let header = |kind, version| MsgHeader { kind, version, compat: 1, ..MsgHeader::default() };
        let msg = match *kind % KINDS {
            BEACON => Message { header: header(kinds::MGR_BEACON, 11), front, ..Message::default() },
            REPORT => Message { header: header(kinds::MON_MGR_REPORT, 3), front, ..Message::default() },
            _ => {
                let m = MMonMgrReport { gid, digest: front, ..MMonMgrReport::default() };
                Message::new(&m, Features::ALL)
            }
        };
        w.event(crate::event::MonEvent::Message(id, msg));
        w.advance(3);
        for c in SHOWN {
            // Any answer will do, but there must be one.
            w.command(Role::Mon, c);
        }
    }
    w.restarted().advance(60);
}

/// Inputs to begin with.
pub fn samples() -> Vec<Vec<u8>> {
    let piece = |kind: u8, b: &[u8]| [&[kind][..], &(b.len() as u16).to_le_bytes(), b].concat();
    let digest = |n: i64| {
        let mut d = PgMapDigest { num_pg: n, num_pg_active: n, num_osd: n, ..PgMapDigest::default() };
        d.num_pg_by_state = BTreeMap::from([(6, n as i32), (0, 1)]);
        d.num_pg_by_pool = BTreeMap::from([(PoolId(1), n)]);
        d.num_pg_by_osd = BTreeMap::from([(OsdId(0), Default::default())]);
        d.osd_last_seq = vec![1, 2, 3];
        d.avail_space_by_rule = BTreeMap::from([(0, n)]);
        d.pg_sum.stats.sum.num_objects = n;
        d.pg_sum.stats.sum.num_bytes = n;
        d.pg_pool_sum = BTreeMap::from([(1, d.pg_sum.clone())]);
        d.osd_sum_by_class = BTreeMap::from([("hdd".to_owned(), d.osd_sum.clone())]);
        denc::to_bytes(&d, Features::ALL)
    };
    let front = |m: Message| m.front;
    let b = piece(BEACON, &front(Message::new(&beacon(4101, true), Features::ALL)));
    let r = piece(
        REPORT,
        &front(Message::new(&MMonMgrReport { gid: 4101, ..MMonMgrReport::default() }, Features::ALL)),
    );
    let (d, most) = (piece(DIGEST, &digest(8)), piece(DIGEST, &digest(i64::MAX)));
    vec![b.clone(), r.clone(), d.clone(), most.clone(), [d, b, r, most].concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_their_pieces_do_no_harm() {
        for s in samples() {
            fuzz_manager(&s);
            (0..s.len()).step_by(97).for_each(|n| fuzz_manager(&s[..n]));
        }
    }
}
