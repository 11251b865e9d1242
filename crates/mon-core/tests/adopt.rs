//! A store that goes on with the OSDMap of other monitors.

use cephx::env::testing::TestEnv;
use mon_core::testing::{FSID, World, new_disk};
use mon_core::{AdoptError, Role, adopt};
use types::{Fsid, OsdId, Utime};

const NOW: Utime = Utime { sec: 1_700_000_000, nsec: 0 };

fn run(w: &mut World, json: &str) {
    let (ret, text, _) = w.command(Role::Mon, json);
    assert_eq!(ret, 0, "{json}: {text}");
}

#[test]
fn a_cluster_goes_on_with_its_pools_and_osds_at_the_next_epoch() {
    let mut old = World::new(3);
    run(&mut old, r#"{"prefix":"osd pool create","pool":"p","pg_num":4}"#);
    run(&mut old, r#"{"prefix":"osd down","ids":["0","1","2"]}"#);
    let map = old.core.osdmap().clone();
    let epoch = map.epoch;
    let mut keys = new_disk(&TestEnv::new(7));
    adopt(&mut keys, map.clone(), FSID, NOW).expect("no OSD is up in it");
    let mut w = World::open_disk(keys);
    assert_eq!(w.core.osdmap().epoch, epoch);
    assert_eq!(w.core.osdmap().pools, map.pools);
    assert_eq!(w.core.osdmap().crush, map.crush);
    w.boot(1);
    assert!(w.core.osdmap().is_up(OsdId(1)));
    let booted = w.core.osdmap().epoch;
    assert!(booted > epoch);
    run(&mut w, r#"{"prefix":"osd pool set","pool":"p","var":"size","val":"2"}"#);
    let w = w.restarted();
    assert!(w.core.osdmap().epoch > booted);
}

#[test]
fn a_map_that_others_could_go_on_with_is_refused() {
    let mut old = World::new(2);
    run(&mut old, r#"{"prefix":"osd down","ids":["0"]}"#);
    let map = old.core.osdmap().clone();
    let before = new_disk(&TestEnv::new(7));
    let mut keys = before.clone();
    let epoch = map.epoch.0;
    assert_eq!(adopt(&mut keys, map.clone(), FSID, NOW), Err(AdoptError::OsdUp { osd: OsdId(1), epoch }));
    let other = Fsid([1; 16]);
    assert_eq!(
        adopt(&mut keys, map, other, NOW),
        Err(AdoptError::OtherCluster { osdmap: FSID, monmap: other })
    );
    assert_eq!(keys, before, "nothing was changed");
}
