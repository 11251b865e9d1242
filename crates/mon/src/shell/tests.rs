//! A follower whose global ids are used up: what it does while the messenger holds a login in its hands.

use super::*;
use crate::store::{self, Folder};
use cephx::env::testing::TestEnv;
use mon_core::{MemberNews, MonConfig, Proposal, QuorumInfo};
use std::collections::BTreeMap;
use types::MonState;

/// A monitor `a` that follows `b`, with which it has no session yet: what it tells `b` waits.
fn follower(dir: &Folder) -> Rc<Shell> {
    let env = Rc::new(TestEnv::new(1));
    let keys = mon_core::testing::new_disk(&env);
    store::create(&dir.0, &keys, quorum::NodeId(5), false).unwrap();
    let db = store::open(&dir.0, "a", quorum::NodeId(5)).unwrap();
    let opened = store::read_all(&db).unwrap();
    let cfg = MonConfig {
        name: "a".into(),
        options: BTreeMap::new(),
        version: String::new(),
        auth: AuthConfig::default(),
        ..Default::default()
    };
    let core = MonCore::new(cfg, opened.keys, env.clone()).unwrap();
    let mut ensemble = Ensemble::new(&core, &opened.loaded, false, 1).unwrap();
    let info = QuorumInfo {
        state: MonState::Peon,
        leader: Some("b".into()),
        quorum: vec!["a".into(), "b".into()],
        election_epoch: 8,
        ..QuorumInfo::default()
    };
    ensemble.set_info(info.clone());
    let (writer, _) = Writer::start(db).unwrap();
    let shell = Shell::new(core, ensemble, env, AuthConfig::default(), writer);
    shell.peers.set_map([("b".to_owned(), AddrVec::default())], |_| true);
    shell.event(MonEvent::Quorum(info));
    shell.event(MonEvent::Readable(true));
    shell.peers.forget_waiting();
    shell
}

/// The questions for ids that the leader was asked: for which life of this monitor.
fn questions(shell: &Shell) -> Vec<u64> {
    let life = |m: Message| m.decode::<MemberNews>().ok()?.wants_global_ids;
    shell.peers.waiting_for("b").into_iter().filter_map(life).collect()
}

/// How often it was asked.
fn asked(shell: &Shell) -> usize {
    questions(shell).len()
}

/// What spawned itself has its turn.
async fn turn() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_follower_without_global_ids_asks_once_and_after_the_login() {
    let dir = Folder::new("ids");
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tokio::task::LocalSet::new().block_on(&rt, async {
        let shell = follower(&dir);
        let db = Db(Rc::downgrade(&shell));
        for _ in 0..10_000 {
            assert_eq!(db.new_global_id(), None);
        }
        // Here the messenger, which asked, is in the middle of a login: nothing may be sent, so nothing may be handled.
        assert_eq!((asked(&shell), shell.work.borrow().len()), (0, 0));
        turn().await;
        assert_eq!(asked(&shell), 1, "ten thousand logins, one question");

        // The answer may be lost: the next login asks again.
        assert_eq!(db.new_global_id(), None);
        turn().await;
        assert_eq!((asked(&shell), shell.work.borrow().len(), shell.busy.get()), (2, 0, false));

        let range = |first: u64, life: u64| {
            let mut p = Proposal { version: shell.core.borrow().version() + 1, batch: Default::default() };
            p.batch.put("auth/gid_range/a", denc::to_bytes(&((first, first + 2), life), denc::Features::ALL));
            p.batch.put("paxos/version", denc::to_bytes(&p.version, denc::Features::ALL));
            shell.event(MonEvent::Committed(p));
        };
        let life = questions(&shell)[0];
        // What a monitor of this name was given in another life, it may have used; it comes again after a crash before it was applied on disk.
        range(5000, life ^ 1);
        assert_eq!(db.new_global_id(), None);
        range(9000, life);
        assert_eq!([(); 3].map(|()| db.new_global_id()), [Some(9001), Some(9002), None]);
        shell.close();
    });
}
