//! What two histories mean for a copy, as tables: one row per object change, drawn as text.
//!
//! A history is written `tail | version:kind:object<prior ...`; kinds are `m`odify, `d`elete, `c`lone. `1.5` is epoch 1,
//! version 5. A missing set is written `object need/have`.

use bytes::Bytes;
use pg::merge::*;
use pg::missing::{Missing, MissingItem};
use pg::{EntryKind, LogEntry, PgLog};
use types::{EVersion, HObject, SnapId};

fn v(s: &str) -> EVersion {
    let (e, n) = s.split_once('.').unwrap();
    EVersion::new(e.parse().unwrap(), n.parse().unwrap())
}
fn oid(s: &str) -> HObject {
    HObject { name: Bytes::copy_from_slice(s.as_bytes()), snap: SnapId::HEAD, ..HObject::MIN }
}
fn entries(s: &str) -> Vec<LogEntry> {
    s.split_whitespace()
        .map(|w| {
            let (version, rest) = w.split_once(':').unwrap();
            let (kind, rest) = rest.split_once(':').unwrap();
            let (name, prior) = rest.split_once('<').unwrap_or((rest, "0.0"));
            LogEntry {
                kind: match kind {
                    "m" => EntryKind::Modify,
                    "d" => EntryKind::Delete,
                    _ => EntryKind::Clone,
                },
                oid: oid(name),
                version: v(version),
                prior_version: v(prior),
                ..LogEntry::default()
            }
        })
        .collect()
}
fn log(s: &str) -> PgLog {
    let (tail, rest) = s.split_once('|').unwrap();
    PgLog::from_parts(v(tail.trim()), entries(rest), Vec::new())
}
fn missing(s: &str) -> Missing {
    let mut m = Missing::default();
    for w in s.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        let (name, rest) = w.split_once(' ').unwrap();
        let (need, have) = rest.split_once('/').unwrap();
        m.set(oid(name), MissingItem { need: v(need), have: v(have) });
    }
    m
}
fn text(m: &Missing) -> String {
    m.iter()
        .map(|(o, i)| {
            format!(
                "{} {}.{}/{}.{}",
                String::from_utf8_lossy(&o.name),
                i.need.epoch,
                i.need.version,
                i.have.epoch,
                i.have.version
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

struct Row {
    what: &'static str,
    ours: &'static str,
    lacks: &'static str,
    since: &'static str,
    theirs: &'static str,
    /// Missing afterwards, and removed objects.
    then: &'static str,
    removed: &'static str,
}
const ROWS: &[Row] = &[
    Row {
        what: "a copy that is behind lacks what came after",
        ours: "0.0 | 1.1:m:a 1.2:m:b",
        lacks: "",
        since: "1.2",
        theirs: "1.3:m:a<1.1 1.4:m:c",
        then: "a 1.3/1.1, c 1.4/0.0",
        removed: "",
    },
    Row {
        what: "deletes are done at once",
        ours: "0.0 | 1.1:m:a 1.2:m:b",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a 1.2:m:b 1.3:d:a<1.1",
        then: "",
        removed: "a",
    },
    Row {
        what: "created again after a delete",
        ours: "0.0 | 1.1:m:a",
        lacks: "",
        since: "1.1",
        theirs: "1.2:d:a<1.1 1.3:m:a",
        then: "a 1.3/1.1",
        removed: "",
    },
    Row {
        what: "a divergent change is undone by fetching the version before",
        ours: "0.0 | 1.1:m:a 1.2:m:a<1.1",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a 2.2:m:b",
        then: "a 1.1/0.0, b 2.2/0.0",
        removed: "a",
    },
    Row {
        what: "a divergent creation is removed",
        ours: "0.0 | 1.1:m:a 1.2:m:b",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a",
        then: "",
        removed: "b",
    },
    Row {
        what: "a divergent delete brings the object back",
        ours: "0.0 | 1.1:m:a 1.2:d:a<1.1",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a",
        then: "a 1.1/0.0",
        removed: "a",
    },
    Row {
        what: "a divergent change that never reached the bytes needs nothing",
        ours: "0.0 | 1.1:m:a 1.2:m:a<1.1",
        lacks: "a 1.2/1.1",
        since: "0.0",
        theirs: "1.1:m:a",
        then: "",
        removed: "",
    },
    Row {
        what: "missing before the divergence stays missing at the older version",
        ours: "0.0 | 1.1:m:a 1.2:m:a<1.1 1.3:m:a<1.2",
        lacks: "a 1.3/1.1",
        since: "0.0",
        theirs: "1.1:m:a 1.2:m:a<1.1",
        then: "a 1.2/1.1",
        removed: "",
    },
    Row {
        what: "both histories changed it: ours is worthless",
        ours: "0.0 | 1.1:m:a 1.2:m:a<1.1",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a 2.2:m:a<1.1",
        then: "a 2.2/0.0",
        removed: "a",
    },
    Row {
        what: "both histories changed it, theirs ends in a delete",
        ours: "0.0 | 1.1:m:a 1.2:m:a<1.1",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a 2.2:d:a<1.1",
        then: "",
        removed: "a",
    },
    Row {
        what: "several divergent changes of one object count from the first",
        ours: "0.0 | 1.1:m:a 1.2:m:a<1.1 1.3:d:a<1.2 1.4:m:a",
        lacks: "",
        since: "0.0",
        theirs: "1.1:m:a",
        then: "a 1.1/0.0",
        removed: "a",
    },
];

#[test]
fn merging_follows_the_table() {
    for r in ROWS {
        let (mut l, mut m) = (log(r.ours), missing(r.lacks));
        let theirs = entries(r.theirs);
        let got = merge_log(&mut l, &mut m, &HObject::MAX, v(r.since), &theirs).expect(r.what);
        l.check_invariants();
        assert_eq!(text(&m), r.then, "{}", r.what);
        let removed: Vec<_> =
            got.remove.iter().map(|o| String::from_utf8_lossy(&o.name).into_owned()).collect();
        assert_eq!(removed.join(" "), r.removed, "{}", r.what);
        assert_eq!(l.head(), theirs.last().map_or(v(r.since), |e| e.version), "{}", r.what);
    }
}

/// The primary works out for a member what the member works out for itself.
#[test]
fn the_primary_and_the_member_agree_on_what_is_missing() {
    for r in ROWS {
        let auth = PgLog::from_parts(v(r.since), entries(r.theirs), Vec::new());
        let ours = log(r.ours);
        let theirs: Vec<LogEntry> = ours.entries().cloned().collect();
        let mut computed = missing(r.lacks);
        let common =
            proc_replica_log(&auth, ours.tail(), &theirs, &HObject::MAX, &mut computed).expect(r.what);
        add_new(auth.entries_after(common), &HObject::MAX, &mut computed);
        assert_eq!(text(&computed), r.then, "{}", r.what);
    }
}

#[test]
fn histories_that_do_not_meet_are_told() {
    let mut l = log("1.5 | 1.6:m:a");
    let later = entries("1.11:m:b");
    assert_eq!(merge_log(&mut l, &mut Missing::default(), &HObject::MAX, v("1.10"), &later), None);
}

#[test]
fn what_backfill_has_not_reached_is_not_missing() {
    let mut l = log("0.0 | 1.1:m:a");
    let mut m = Missing::default();
    merge_log(&mut l, &mut m, &HObject::MIN, v("1.1"), &entries("1.2:m:a<1.1 1.3:m:b")).unwrap();
    assert!(m.is_empty());
    assert_eq!(l.head(), v("1.3"));
}

#[test]
fn trimmed_entries_leave_their_answers() {
    let mut l = log("0.0 |");
    for n in 1..=20u64 {
        let mut e = entries(&format!("1.{n}:m:a")).remove(0);
        e.reqid.tid = n;
        e.user_version = n;
        l.push(e);
    }
    let (gone, dropped) = l.trim(v("1.15"), 10);
    assert_eq!((gone.len(), dropped.len(), l.len()), (15, 10, 5), "entries remember requests, too");
    l.check_invariants();
    let tid = |n| types::ReqId { tid: n, ..Default::default() };
    assert_eq!(l.answer_of(&tid(3)), None);
    assert_eq!(l.answer_of(&tid(10)), None);
    assert_eq!(l.answer_of(&tid(11)).map(|a| a.user_version), Some(11));
    assert_eq!(l.answer_of(&tid(18)).map(|a| a.user_version), Some(18));
}
