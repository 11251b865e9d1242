//! Watch and notify of one PG as a pure machine: [`WatchRegistry`] (`Watch` and `Notify` of Ceph, `src/osd/Watch.cc`).
//!
//! The object's info in the store says which watches exist; this registry says which of them are connected, when they
//! die, and which notifies wait for which acknowledgements. It is rebuilt from infos when a PG becomes primary.
//!
//! Invariants:
//! - A watch has a deadline unless it is connected by a client that does not ping.
//! - A notify is open exactly as long as some watch has not answered it.

use crate::api::{SessionId, WatchEffect};
use crate::info::{ObjectInfo, WatchInfo, WatchKey};
use bytes::Bytes;
use denc::{Encoder, Features};
use messages::MWatchNotify;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{EntityAddr, EntityName, Errno, HObject, Utime};

/// `CEPH_WATCH_EVENT_*`.
pub mod event {
    #![allow(missing_docs)]
    pub const NOTIFY: u8 = 1;
    pub const NOTIFY_COMPLETE: u8 = 2;
    pub const DISCONNECT: u8 = 3;
}

/// Seconds after which the removal of an expired watch is asked for again, when the PG did not get to it.
const EXPIRE_RETRY_SECS: u64 = 5;

/// What the PG must do.
#[derive(Clone, PartialEq, Debug)]
pub enum WatchOut {
    /// Send a message to a session (drop it when the session is gone).
    Send {
        /// To whom.
        session: SessionId,
        /// What.
        msg: MWatchNotify,
    },
    /// A watch has expired: persist its removal ([`crate::remove_watches`]) and hand that write's effects to
    /// [`WatchRegistry::apply`]. Asked again every few seconds until done.
    Expire {
        /// The object.
        oid: HObject,
        /// The watch.
        key: WatchKey,
    },
}

/// Who caused effects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchOrigin {
    /// Session.
    pub session: SessionId,
    /// The client.
    pub who: EntityName,
    /// Its address.
    pub addr: EntityAddr,
}

#[derive(Debug)]
struct Watch {
    timeout_secs: u32,
    addr: EntityAddr,
    session: Option<SessionId>,
    will_ping: bool,
    deadline: Option<Utime>,
    /// Open notifies that this watch has not answered.
    notifies: BTreeSet<u64>,
}

#[derive(Debug)]
struct Notify {
    oid: HObject,
    version: u64,
    cookie: u64,
    session: SessionId,
    notifier_gid: u64,
    payload: Bytes,
    deadline: Utime,
    pending: BTreeSet<WatchKey>,
    replies: Vec<((u64, u64), Bytes)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Watch(HObject, WatchKey),
    Notify(u64),
}

/// All watches and notifies of one PG on its primary.
#[derive(Debug, Default)]
pub struct WatchRegistry {
    objects: BTreeMap<HObject, BTreeMap<WatchKey, Watch>>,
    notifies: BTreeMap<u64, Notify>,
    timers: BTreeSet<(Utime, Timer)>,
}

fn after(now: Utime, secs: u64) -> Utime {
    now + Duration::from_secs(secs)
}

impl WatchRegistry {
    /// Without watches.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when the watch is known and its client connected.
    pub fn is_connected(&self, oid: &HObject, key: WatchKey) -> bool {
        self.objects.get(oid).and_then(|o| o.get(&key)).is_some_and(|w| w.session.is_some())
    }

    /// Number of watches.
    pub fn len(&self) -> usize {
        self.objects.values().map(BTreeMap::len).sum()
    }

    /// True without watches and notifies.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.notifies.is_empty()
    }

    /// Learns of an object's persisted watches when its context is loaded on a (new) primary: unknown ones start
    /// disconnected and die `timeout_secs` from now unless the client reconnects.
    pub fn load_object(&mut self, now: Utime, oid: &HObject, info: &ObjectInfo) {
        for (key, w) in &info.watchers {
            if self.objects.get(oid).is_none_or(|o| !o.contains_key(key)) {
                self.add(oid, *key, w);
                self.set_deadline(oid, *key, Some(after(now, w.timeout_secs.into())));
            }
        }
    }

    fn add(&mut self, oid: &HObject, key: WatchKey, info: &WatchInfo) {
        self.objects.entry(oid.clone()).or_default().insert(
            key,
            Watch {
                timeout_secs: info.timeout_secs,
                addr: info.addr,
                session: None,
                will_ping: false,
                deadline: None,
                notifies: BTreeSet::new(),
            },
        );
    }

    fn watch_mut(&mut self, oid: &HObject, key: WatchKey) -> Option<&mut Watch> {
        self.objects.get_mut(oid)?.get_mut(&key)
    }

    fn set_deadline(&mut self, oid: &HObject, key: WatchKey, deadline: Option<Utime>) {
        let Some(w) = self.watch_mut(oid, key) else { return };
        let old = std::mem::replace(&mut w.deadline, deadline);
        if old == deadline {
            return;
        }
        if let Some(t) = old {
            self.timers.remove(&(t, Timer::Watch(oid.clone(), key)));
        }
        if let Some(t) = deadline {
            self.timers.insert((t, Timer::Watch(oid.clone(), key)));
        }
    }

    /// Applies the effects of a vector on object `oid`, whose user version is `version`: of a write once it is durable, of
    /// a read at once. Disconnects come first, then connects, notifies, acknowledgements.
    pub fn apply(
        &mut self,
        now: Utime,
        oid: &HObject,
        version: u64,
        origin: &WatchOrigin,
        effects: Vec<WatchEffect>,
    ) -> Vec<WatchOut> {
        let mut out = Vec::new();
        let (disconnects, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|e| matches!(e, WatchEffect::Disconnect { .. }));
        let (connects, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|e| matches!(e, WatchEffect::Connect { .. }));
        for e in disconnects.into_iter().chain(connects).chain(rest) {
            match e {
                WatchEffect::Disconnect { key, tell_client } => {
                    self.remove(now, oid, key, tell_client, &mut out)
                }
                WatchEffect::Connect { info, will_ping } => {
                    self.connect(now, oid, origin, &info, will_ping, &mut out)
                }
                WatchEffect::Ping { cookie } => {
                    let key = (cookie, origin.who);
                    if let Some(w) = self.watch_mut(oid, key)
                        && w.session.is_some()
                    {
                        let t = after(now, w.timeout_secs.into());
                        self.set_deadline(oid, key, Some(t));
                    }
                }
                WatchEffect::Notify { notify_id, cookie, timeout_secs, payload } => {
                    let n = Notify {
                        oid: oid.clone(),
                        version,
                        cookie,
                        session: origin.session,
                        notifier_gid: origin.who.num as u64,
                        payload,
                        deadline: after(now, timeout_secs.into()),
                        pending: BTreeSet::new(),
                        replies: Vec::new(),
                    };
                    self.start_notify(notify_id, n, &mut out);
                }
                WatchEffect::Ack { notify_id, cookie, reply } => {
                    let keys: Vec<WatchKey> = self
                        .objects
                        .get(oid)
                        .into_iter()
                        .flat_map(BTreeMap::keys)
                        .filter(|(c, who)| *who == origin.who && cookie.is_none_or(|want| want == *c))
                        .copied()
                        .collect();
                    for key in keys {
                        self.answered(oid, key, notify_id, Some(reply.clone()), &mut out);
                    }
                }
            }
        }
        out
    }

    fn connect(
        &mut self,
        now: Utime,
        oid: &HObject,
        origin: &WatchOrigin,
        info: &WatchInfo,
        will_ping: bool,
        out: &mut Vec<WatchOut>,
    ) {
        let key = (info.cookie, origin.who);
        if self.watch_mut(oid, key).is_none() {
            self.add(oid, key, info);
        }
        let Some(w) = self.watch_mut(oid, key) else { return };
        let again = w.session == Some(origin.session);
        w.session = Some(origin.session);
        w.will_ping = will_ping;
        w.addr = origin.addr;
        let deadline = will_ping.then(|| after(now, w.timeout_secs.into()));
        if !again {
            // What was sent to the lost connection is sent once more.
            for id in w.notifies.clone() {
                if let Some(n) = self.notifies.get(&id) {
                    out.push(event_for(n, id, key.0, origin.session));
                }
            }
        }
        self.set_deadline(oid, key, deadline);
    }

    fn start_notify(&mut self, id: u64, mut n: Notify, out: &mut Vec<WatchOut>) {
        for (key, w) in self.objects.get_mut(&n.oid).into_iter().flatten() {
            n.pending.insert(*key);
            w.notifies.insert(id);
            if let Some(session) = w.session {
                out.push(event_for(&n, id, key.0, session));
            }
        }
        self.timers.insert((n.deadline, Timer::Notify(id)));
        let nobody = n.pending.is_empty();
        self.notifies.insert(id, n);
        if nobody {
            self.complete(id, 0, out);
        }
    }

    /// A watch has answered a notify, or (without `reply`) is gone and never will.
    fn answered(
        &mut self,
        oid: &HObject,
        key: WatchKey,
        id: u64,
        reply: Option<Bytes>,
        out: &mut Vec<WatchOut>,
    ) {
        if let Some(w) = self.watch_mut(oid, key) {
            w.notifies.remove(&id);
        }
        let Some(n) = self.notifies.get_mut(&id) else { return };
        if n.oid != *oid || !n.pending.remove(&key) {
            return;
        }
        if let Some(reply) = reply {
            n.replies.push(((key.1.num as u64, key.0), reply));
        }
        if n.pending.is_empty() {
            self.complete(id, 0, out);
        }
    }

    fn complete(&mut self, id: u64, return_code: i32, out: &mut Vec<WatchOut>) {
        let Some(mut n) = self.notifies.remove(&id) else { return };
        self.timers.remove(&(n.deadline, Timer::Notify(id)));
        for key in &n.pending {
            if let Some(w) = self.watch_mut(&n.oid, *key) {
                w.notifies.remove(&id);
            }
        }
        n.replies.sort_by_key(|(who, _)| *who);
        let mut e = Encoder::new(Features::ALL);
        e.put(&n.replies);
        e.count(n.pending.len());
        for (cookie, who) in &n.pending {
            e.u64(who.num as u64);
            e.u64(*cookie);
        }
        out.push(WatchOut::Send {
            session: n.session,
            msg: MWatchNotify {
                msg_ver: 1,
                opcode: event::NOTIFY_COMPLETE,
                cookie: n.cookie,
                ver: n.version,
                notify_id: id,
                payload: Bytes::new(),
                return_code,
                notifier_gid: n.notifier_gid,
                data: e.finish(),
            },
        });
    }

    fn remove(
        &mut self,
        _now: Utime,
        oid: &HObject,
        key: WatchKey,
        tell_client: bool,
        out: &mut Vec<WatchOut>,
    ) {
        self.set_deadline(oid, key, None);
        let Some(o) = self.objects.get_mut(oid) else { return };
        let Some(w) = o.remove(&key) else { return };
        if o.is_empty() {
            self.objects.remove(oid);
        }
        if let (true, Some(session)) = (tell_client, w.session) {
            out.push(WatchOut::Send {
                session,
                msg: MWatchNotify {
                    msg_ver: 1,
                    opcode: event::DISCONNECT,
                    cookie: key.0,
                    ..MWatchNotify::default()
                },
            });
        }
        for id in w.notifies {
            self.answered(oid, key, id, None, out);
        }
    }

    /// A session is gone: its watches are disconnected and begin to time out. Its own notifies go on; nobody will hear of
    /// their end.
    pub fn session_closed(&mut self, now: Utime, session: SessionId) {
        let mut hit = Vec::new();
        for (oid, o) in &mut self.objects {
            for (key, w) in o {
                if w.session == Some(session) {
                    w.session = None;
                    if w.deadline.is_none() {
                        hit.push((oid.clone(), *key, after(now, w.timeout_secs.into())));
                    }
                }
            }
        }
        for (oid, key, t) in hit {
            self.set_deadline(&oid, key, Some(t));
        }
    }

    /// Time passed: expired watches and timed-out notifies.
    pub fn tick(&mut self, now: Utime) -> Vec<WatchOut> {
        let mut out = Vec::new();
        while let Some((t, _)) = self.timers.first()
            && *t <= now
        {
            let Some((_, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Notify(id) => self.complete(id, Errno::ETIMEDOUT.negated(), &mut out),
                Timer::Watch(oid, key) => {
                    if let Some(w) = self.watch_mut(&oid, key) {
                        w.deadline = None;
                    }
                    self.set_deadline(&oid, key, Some(after(now, EXPIRE_RETRY_SECS)));
                    out.push(WatchOut::Expire { oid, key });
                }
            }
        }
        out
    }

    /// When [`WatchRegistry::tick`] has something to do at the earliest.
    pub fn next_deadline(&self) -> Option<Utime> {
        self.timers.first().map(|(t, _)| *t)
    }

    /// Expires all watches whose client is blocklisted.
    pub fn expire_blocklisted(
        &mut self,
        now: Utime,
        blocklisted: &dyn Fn(&EntityAddr) -> bool,
    ) -> Vec<WatchOut> {
        let mut out = Vec::new();
        let mut hit = Vec::new();
        for (oid, o) in &self.objects {
            for (key, _) in o.iter().filter(|(_, w)| blocklisted(&w.addr)) {
                hit.push((oid.clone(), *key));
            }
        }
        for (oid, key) in hit {
            self.set_deadline(&oid, key, Some(after(now, EXPIRE_RETRY_SECS)));
            out.push(WatchOut::Expire { oid, key });
        }
        out
    }

    /// The PG is no longer primary: forgets everything; clients reconnect to the new primary and send their notifies
    /// again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn event_for(n: &Notify, id: u64, cookie: u64, session: SessionId) -> WatchOut {
    WatchOut::Send {
        session,
        msg: MWatchNotify {
            msg_ver: 1,
            opcode: event::NOTIFY,
            cookie,
            ver: n.version,
            notify_id: id,
            payload: n.payload.clone(),
            return_code: 0,
            notifier_gid: n.notifier_gid,
            data: Bytes::new(),
        },
    }
}
