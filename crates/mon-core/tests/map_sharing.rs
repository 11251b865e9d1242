//! New maps reach OSDs that are not subscribed, as stock's are most of the time.

use messages::MOsdMap;
use mon_core::testing::World;
use mon_core::{Role, SessionId};

#[test]
fn each_new_epoch_goes_to_one_of_the_osds_that_wait_for_nothing() {
    let mut w = World::new(0);
    let sessions: Vec<SessionId> = (0..3).map(|o| w.boot(o)).collect();
    for id in &sessions {
        w.take::<MOsdMap>(*id);
    }
    let (ret, text, _) = w.command(Role::Mon, r#"{"prefix":"osd down","ids":["2"]}"#);
    assert_eq!(ret, 0, "{text}");
    let newest = w.core.osdmap().epoch;
    let told: Vec<MOsdMap> = sessions.iter().flat_map(|id| w.take::<MOsdMap>(*id)).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].incremental_maps.contains_key(&newest));
}
