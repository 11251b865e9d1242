//! A monitor for tests and the fuzzer: a made store, OSDs that have booted, and a disk on which every proposal is durable at once.

use crate::authz::Way;
use crate::core::{MonConfig, MonCore};
use crate::event::{MemberNews, MonEffect, MonEvent, Peer, QuorumInfo, Role, SessionId, Unproposed};
use crate::mkfs::{MkfsConfig, mkfs};
use bytes::Bytes;
use cephx::crypto::{CryptoKey, KeyType};
use cephx::env::{Env, testing::TestEnv};
use cephx::keyserver::{AuthConfig, EntityAuth};
use cephx::proto::AuthName;
use core::net::{Ipv4Addr, SocketAddr};
use denc::Features;
use messages::mgr::{MMgrCommand, MMgrCommandReply};
use messages::mon::{MMonCommand, MMonCommandAck, MMonSubscribe, SubItem};
use messages::{MCommand, MCommandReply, MMdsBeacon, MOsdBoot, Message, PaxosHeader, Payload};
use std::collections::BTreeMap;
use std::rc::Rc;
use types::features::SUPPORTED;
use types::monmap::MonMap;
use types::superblock::OsdSuperblock;
use types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Epoch, Fsid, OsdId, Utime};

/// The cluster of these tests.
pub const FSID: Fsid =
    Fsid([0x6b, 0x1f, 0x2a, 0x70, 0x0a, 0xed, 0x46, 0xad, 0x8d, 0xbd, 0x87, 0xa0, 0x9e, 0x58, 0x45, 0x42]);

/// Keys of a store.
pub type Disk = BTreeMap<String, Bytes>;

/// See the module's documentation.
pub struct World {
    /// The machine.
    pub core: MonCore,
    /// Its clock and dice.
    pub env: Rc<TestEnv>,
    /// What is durable.
    pub disk: Disk,
    /// What was sent, until someone takes it.
    pub sent: Vec<(SessionId, Message)>,
    /// Lines for the log file.
    pub lines: Vec<String>,
    /// The quorum refuses larger proposals.
    pub entry_bytes_max: usize,
    next_session: SessionId,
    next_tid: u64,
}

fn address(port: u16) -> AddrVec {
    AddrVec(vec![EntityAddr::new(AddrType::Msgr2, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1)])
}

fn config() -> MonConfig {
    MonConfig {
        name: "a".to_owned(),
        options: BTreeMap::from([("osd_crush_chooseleaf_type".to_owned(), "0".to_owned())]),
        version: "loligo test".to_owned(),
        auth: AuthConfig::default(),
        ..Default::default()
    }
}

/// A new store with keys for `client.admin` and a few OSDs.
pub fn new_disk(env: &TestEnv) -> Disk {
    let monmap = MonMap::build(FSID, env.now(), [("a".to_owned(), address(6789))]);
    let entity = |kind, id: String| {
        let key = CryptoKey::generate(KeyType::Aes, env);
        (AuthName::new(kind, id), EntityAuth::new(key, &[("mon", "allow *"), ("mgr", "allow *")]))
    };
    let mut keyring =
        vec![entity(EntityType::MON, String::new()), entity(EntityType::CLIENT, "admin".into())];
    keyring.extend((0..8).map(|i| entity(EntityType::OSD, i.to_string())));
    mkfs(&MkfsConfig { monmap, fsid: FSID, keyring, options: config() }, env).expect("a new store")
}

impl World {
    /// A new cluster with OSDs `0..osds`, all up and in.
    pub fn new(osds: i32) -> World {
        let env = TestEnv::new(1);
        let disk = new_disk(&env);
        let mut w = World::open_disk(disk);
        for osd in 0..osds {
            let id = w.boot(osd);
            w.event(MonEvent::Closed(id));
        }
        w.sent.clear();
        w
    }

    /// The monitor's start on a store, as the daemon does it.
    pub fn open_disk(disk: Disk) -> World {
        let env = Rc::new(TestEnv::new(2));
        let core = MonCore::new(config(), disk.clone(), env.clone()).expect("the store opens");
        let mut w = World {
            core,
            env,
            disk,
            sent: Vec::new(),
            lines: Vec::new(),
            entry_bytes_max: usize::MAX,
            next_session: 1,
            next_tid: 1,
        };
        w.start_alone(3);
        w
    }

    /// The monitor is alone in its quorum and leads.
    fn start_alone(&mut self, election_epoch: u64) {
        self.event(MonEvent::News(MemberNews {
            name: "a".to_owned(),
            metadata: BTreeMap::from([("hostname".to_owned(), "test".to_owned())]),
            mgr_addrs: address(6800),
            ..MemberNews::default()
        }));
        self.event(MonEvent::Members(vec!["a".to_owned()]));
        self.event(MonEvent::Quorum(QuorumInfo::alone("a", election_epoch, self.env.now())));
        self.event(MonEvent::Readable(true));
        self.event(MonEvent::Tick);
    }

    /// The same cluster after a restart of the monitor.
    pub fn restarted(self) -> World {
        // (Clients do not use a transaction's number twice: it would be taken for the same request, asked again.)
        World { next_tid: self.next_tid, ..World::open_disk(self.disk) }
    }

    /// Gives the core one event and carries out what it wants.
    pub fn event(&mut self, event: MonEvent) {
        let mut todo = self.core.handle(self.env.now(), event);
        while !todo.is_empty() {
            let mut next = Vec::new();
            for effect in todo {
                match effect {
                    MonEffect::Send(id, msg) => self.sent.push((id, msg)),
                    MonEffect::Propose(p) if p.to_bytes().len() > self.entry_bytes_max => {
                        let why = Unproposed::TooLarge { max: self.entry_bytes_max };
                        let event = MonEvent::Refused { version: p.version, why };
                        next.extend(self.core.handle(self.env.now(), event));
                    }
                    MonEffect::Propose(p) => {
                        for (k, v) in &p.batch.changes {
                            match v {
                                Some(v) => drop(self.disk.insert(k.clone(), v.clone())),
                                None => drop(self.disk.remove(k)),
                            }
                        }
                        next.extend(self.core.handle(self.env.now(), MonEvent::Committed(p)));
                    }
                    MonEffect::Close(id) => {
                        next.extend(self.core.handle(self.env.now(), MonEvent::Closed(id)))
                    }
                    MonEffect::Log(_, line) => self.lines.push(line),
                    _ => {}
                }
            }
            todo = next;
        }
    }

    /// Time passes.
    pub fn advance(&mut self, secs: u32) {
        self.env.advance(secs);
        self.event(MonEvent::Tick);
    }

    /// A session of an entity that may do everything, or only what `caps` say.
    pub fn open(&mut self, role: Role, entity: &str, port: u16, caps: &str) -> SessionId {
        let id = self.next_session;
        self.next_session += 1;
        let name = AuthName::parse(entity).expect("an entity's name");
        let peer = Peer {
            role,
            entity: entity.to_owned(),
            global_id: 4100 + id,
            name: EntityName::new(name.kind, name.id.parse().unwrap_or(-1)),
            addrs: address(port),
            features: SUPPORTED,
            caps: caps.to_owned(),
            allow_all: false,
            authenticated: true,
        };
        self.event(MonEvent::Opened(id, peer));
        id
    }

    /// A message on a session.
    pub fn send<T: Payload>(&mut self, id: SessionId, payload: &T) -> u64 {
        let tid = self.next_tid;
        self.next_tid += 1;
        self.event(MonEvent::Message(id, Message::new(payload, Features(SUPPORTED)).with_tid(tid)));
        tid
    }

    /// What a session was sent of one type, taken away.
    pub fn take<T: Payload>(&mut self, id: SessionId) -> Vec<T> {
        let (mine, rest) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(to, m)| *to == id && m.header.kind == T::KIND);
        self.sent = rest;
        let decode = |(_, m): (SessionId, Message)| m.decode().expect("what the monitor sends decodes");
        Vec::into_iter(mine).map(decode).collect()
    }

    /// Subscribes.
    pub fn subscribe(&mut self, id: SessionId, what: &str, start: u64) {
        let what = BTreeMap::from([(what.to_owned(), SubItem { start, flags: 0 })]);
        self.send(id, &MMonSubscribe { what, ..MMonSubscribe::default() });
    }

    /// An OSD boots and subscribes to what OSDs subscribe to.
    pub fn boot(&mut self, osd: i32) -> SessionId {
        self.boot_with(osd, &[])
    }

    /// The same, of an OSD that says this of itself.
    pub fn boot_with(&mut self, osd: i32, metadata: &[(&str, &str)]) -> SessionId {
        let id = self.open(Role::Mon, &format!("osd.{osd}"), 7000 + osd as u16, "allow *");
        let mut osd_fsid = FSID;
        osd_fsid.0[15] = osd as u8;
        let epoch = self.core.osdmap().epoch;
        let superblock = OsdSuperblock {
            cluster_fsid: FSID,
            whoami: OsdId(osd),
            osd_fsid,
            current_epoch: epoch,
            newest_map: epoch,
            compat_features: OsdSuperblock::pacific_features(),
            ..OsdSuperblock::default()
        };
        let port = 7100 + osd as u16;
        self.send(
            id,
            &MOsdBoot {
                superblock,
                cluster_addrs: address(port),
                hb_back_addrs: address(port + 100),
                hb_front_addrs: address(port + 200),
                boot_epoch: Epoch(0),
                metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                osd_features: SUPPORTED,
                ..MOsdBoot::default()
            },
        );
        let place = format!(
            r#"{{"prefix":"osd crush create-or-move","id":{osd},"weight":1.0,"args":["host=h{osd}","root=default"]}}"#
        );
        let (ret, text, _) = self.command(Role::Mon, &place);
        assert_eq!(ret, 0, "{place}: {text}");
        self.subscribe(id, "osd_pg_creates", 0);
        id
    }

    /// A beacon of an MDS daemon: who it is, what it wants, and the newest epoch that it says it has.
    pub fn mds_beacon(&mut self, id: SessionId, name: &str, state: i32, seq: u64, epoch: u64) {
        use types::compatset::{CompatSet, FeatureSet};
        let compat =
            CompatSet { incompat: FeatureSet::new(types::fsmap::MDS_FEATURES), ..CompatSet::default() };
        let b = MMdsBeacon {
            paxos: PaxosHeader::new(epoch),
            fsid: FSID,
            global_id: 4100 + id,
            state,
            seq,
            name: name.to_owned(),
            compat,
            ..MMdsBeacon::default()
        };
        self.send(id, &b);
    }

    /// A command of `client.admin`: code, status text, output.
    pub fn command(&mut self, role: Role, json: &str) -> (i32, String, Bytes) {
        self.command_with(role, json, Bytes::new())
    }

    /// The same with input data.
    pub fn command_with(&mut self, role: Role, json: &str, data: Bytes) -> (i32, String, Bytes) {
        let id = self.open(role, "client.admin", 9000, "allow *");
        let answer = match role {
            Role::Mgr => {
                self.send(id, &MMgrCommand { fsid: FSID, cmd: vec![json.to_owned()], data });
                self.take::<MMgrCommandReply>(id).pop().map(|r| (r.r, r.rs, r.data))
            }
            _ => {
                self.send(id, &MMonCommand::new(FSID, json, data));
                self.take::<MMonCommandAck>(id).pop().map(|r| (r.r, r.rs, r.data))
            }
        };
        self.event(MonEvent::Closed(id));
        answer.unwrap_or_else(|| panic!("no answer to {json}"))
    }

    /// A command (JSON, or its bare prefix) of someone with these caps, to a service or by tell.
    pub fn command_as(
        &mut self,
        role: Role,
        way: Way,
        entity: &str,
        caps: &str,
        command: &str,
    ) -> (i32, String, Bytes) {
        let json = match command.starts_with('{') {
            true => command.to_owned(),
            false => format!(r#"{{"prefix":"{command}"}}"#),
        };
        let id = self.open(role, entity, 9100, caps);
        let (fsid, cmd, data) = (FSID, vec![json.clone()], Bytes::new());
        let answer = match (role, way) {
            (_, Way::Tell) => {
                self.send(id, &MCommand { fsid, cmd, data });
                self.take::<MCommandReply>(id).pop().map(|r| (r.r, r.rs, r.data))
            }
            (Role::Mgr, _) => {
                self.send(id, &MMgrCommand { fsid, cmd, data });
                self.take::<MMgrCommandReply>(id).pop().map(|r| (r.r, r.rs, r.data))
            }
            _ => {
                self.send(id, &MMonCommand::new(fsid, &json, data));
                self.take::<MMonCommandAck>(id).pop().map(|r| (r.r, r.rs, r.data))
            }
        };
        self.event(MonEvent::Closed(id));
        answer.unwrap_or_else(|| panic!("no answer to {json}"))
    }

    /// Everything in the store that is secret, as text: keys, and the texts that begin with `sEcReT`.
    pub fn secrets(&self) -> Vec<String> {
        let mut out: Vec<String> = self.core.auth().sorted().iter().map(|(_, e)| e.key.to_base64()).collect();
        for (_, r) in self.core.auth().rotating.iter() {
            out.extend(r.secrets.values().map(|k| k.key.to_base64()));
        }
        for (k, v) in &self.disk {
            let text = String::from_utf8_lossy(v).into_owned();
            if (k.starts_with("config-key/") || k.starts_with("config/"))
                && let Some(at) = text.find("sEcReT")
            {
                out.push(text[at..].to_owned());
            }
        }
        out
    }

    /// Now, by the core's clock.
    pub fn now(&self) -> Utime {
        self.env.now()
    }
}
