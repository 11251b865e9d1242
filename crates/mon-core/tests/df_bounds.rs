//! Numbers that daemons report are theirs: any can be shown.

use messages::MPgStats;
use mon_core::testing::{FSID, World};
use mon_core::{MonEvent, Role};
use types::PgId;
use types::pgstat::PgStat;

#[test]
fn reports_of_impossible_numbers_are_shown_and_break_nothing() {
    let mut w = World::new(1);
    let (ret, text, _) = w.command(Role::Mon, r#"{"prefix":"osd pool create","pool":"p","pg_num":1}"#);
    assert_eq!(ret, 0, "{text}");
    let pg = PgId { pool: *w.core.osdmap().pools.keys().next().unwrap(), seed: 0 };
    let id = w.open(Role::Mgr, "osd.0", 7100, "allow *");
    for (seq, n) in [(1, 0), (2, i64::MAX), (3, i64::MIN), (4, i64::MAX)] {
        let mut stat =
            PgStat { reported_seq: seq, reported_epoch: w.core.osdmap().epoch, ..PgStat::default() };
        let s = &mut stat.stats.sum;
        (s.num_rd_kb, s.num_wr_kb, s.num_bytes, s.num_objects) = (n, n, n, n);
        (s.num_rd, s.num_wr, s.num_bytes_recovered, s.num_objects_degraded) = (n, n, n, n);
        w.send(id, &MPgStats { fsid: FSID, pg_stat: [(pg, stat)].into(), ..MPgStats::default() });
        w.advance(3);
        w.event(MonEvent::Tick);
        for c in [
            r#"{"prefix":"df","detail":"detail","format":"json"}"#,
            r#"{"prefix":"df","detail":"detail"}"#,
            r#"{"prefix":"status"}"#,
            r#"{"prefix":"status","format":"json"}"#,
            r#"{"prefix":"health","detail":"detail"}"#,
        ] {
            assert_eq!(w.command(Role::Mon, c).0, 0, "{c}");
        }
        for c in [
            r#"{"prefix":"pg dump","format":"json"}"#,
            r#"{"prefix":"osd pool stats"}"#,
            r#"{"prefix":"pg stat"}"#,
        ] {
            assert_eq!(w.command(Role::Mgr, c).0, 0, "{c}");
        }
    }
}
