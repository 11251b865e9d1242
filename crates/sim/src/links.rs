//! Sessions' life in the world: opening, sending, arriving, breaking, marking down.

use crate::net::{Chan, End, Node, Sid};
use crate::world::{Ev, MS, SEC, World};
use messages::Message;
use types::{EntityAddr, EntityName, OsdId};

impl World {
    /// Opens a session to whoever listens (or listened) at `target`.
    pub fn connect(&mut self, from: End, target: EntityAddr) -> Option<Sid> {
        let to = *self.net.book.get(&target)?;
        let sid = self.net.add(from, to, target);
        if let (Node::Osd(i), Chan::Osd(net)) = (from.node, to.chan)
            && let Some(s) = self.net.sessions.get_mut(&sid)
        {
            s.source = self.osds[i].addrs.get(&net).copied().unwrap_or_default();
        }
        let wait = 2 * self.draw_delay();
        self.after(wait, Ev::Handshake(sid));
        Some(sid)
    }

    fn draw_delay(&mut self) -> u64 {
        let (least, spread) = self.net.delay;
        let mut d = least + self.rng.below(spread);
        if self.rng.chance(self.net.spike_permille) {
            d += self.rng.below(40 * MS);
        }
        d
    }

    pub(crate) fn on_handshake(&mut self, sid: Sid) {
        let Some(s) = self.net.sessions.get(&sid) else { return };
        let [a, b] = s.ends;
        let (chan, target) = (s.chan, s.target);
        if s.ended[0] || !self.alive(a.node, a.inc) {
            self.net.sessions.remove(&sid);
            return;
        }
        self.trace.mix(self.now, 1, sid, chan.code());
        if !self.net.reaches(a.node, b.node) || self.dark(b.node) {
            let wait = self.rng.range(200 * MS, SEC);
            return self.after(wait, Ev::Handshake(sid));
        }
        if !self.alive(b.node, b.inc) {
            // Nobody listens there.
            match chan {
                Chan::Osd(osd_core::Net::Cluster | osd_core::Net::Public) | Chan::Mgr => {
                    let wait = self.rng.range(200 * MS, SEC);
                    if chan == Chan::Mgr {
                        return self.end_now(sid, 0);
                    }
                    self.after(wait, Ev::Handshake(sid));
                }
                _ => {
                    // As the daemon's shell does: what is refused at an earlier life's address says nothing.
                    if let (Node::Osd(i), Node::Osd(peer), Chan::Osd(net)) = (a.node, b.node, chan)
                        && let Some(run) = self.osds[i].run.as_ref()
                        && run.core.is_at(OsdId(peer as i32), net, &types::AddrVec(vec![target]))
                    {
                        let ev = osd_core::OsdEvent::Refused { osd: OsdId(peer as i32) };
                        self.osd_event(i, ev);
                    }
                    self.end_now(sid, 0);
                }
            }
            return;
        }
        if let Some(s) = self.net.sessions.get_mut(&sid) {
            s.open = true;
        }
        self.trace.line(self.now, || format!("session {sid} {chan:?}: {:?} -> {:?} opens", a.node, b.node));
        self.accepted(sid, b.node, a.node, chan);
        self.connected(sid, a.node, chan);
        for dir in 0..2 {
            self.schedule(sid, dir);
        }
    }

    /// Ends both sides at once, telling end `tell`.
    fn end_now(&mut self, sid: Sid, tell: usize) {
        if let Some(s) = self.net.sessions.get_mut(&sid) {
            s.ended[1 - tell] = true;
        }
        self.on_end(sid, tell);
    }

    fn schedule(&mut self, sid: Sid, dir: usize) {
        let now = self.now;
        let Some(s) = self.net.sessions.get_mut(&sid) else { return };
        let d = &mut s.dirs[dir];
        if !s.open || d.scheduled {
            return;
        }
        if let Some((at, _)) = d.queue.front() {
            d.scheduled = true;
            let wait = at.saturating_sub(now).max(1);
            self.after(wait, Ev::Arrive(sid, dir));
        }
    }

    /// Sends on a session, from end `end`.
    pub fn send(&mut self, sid: Sid, end: usize, msg: Message) {
        let delay = self.draw_delay();
        let now = self.now;
        let Some(s) = self.net.sessions.get_mut(&sid) else { return };
        if s.ended[end] {
            return;
        }
        let d = &mut s.dirs[end];
        let at = (now + delay).max(d.last + 1);
        d.last = at;
        d.queue.push_back((at, msg));
        self.schedule(sid, end);
    }

    pub(crate) fn on_arrive(&mut self, sid: Sid, dir: usize) {
        let Some(s) = self.net.sessions.get_mut(&sid) else { return };
        s.dirs[dir].scheduled = false;
        let (from, to) = (s.ends[dir], s.ends[1 - dir]);
        let (chan, ended) = (s.chan, s.ended[1 - dir]);
        if !self.net.passes(from.node, to.node) {
            // Held until the partition heals.
            return;
        }
        let Some(s) = self.net.sessions.get_mut(&sid) else { return };
        let Some((_, mut msg)) = s.dirs[dir].queue.pop_front() else { return };
        if !ended && self.alive(to.node, to.inc) {
            msg.src = self.name_of(from.node);
            self.stats.messages += 1;
            let sample = msg.front.iter().take(64).fold(0u64, |h, b| h.rotate_left(5) ^ u64::from(*b));
            self.trace.mix(self.now, 2 + dir as u64, sid << 16 | u64::from(msg.header.kind), sample);
            self.trace.mix(msg.header.tid, msg.front.len() as u64, msg.data.len() as u64, 0);
            self.trace.line(self.now, || {
                format!("{:?} -> {:?} {chan:?} s{sid} {}", from.node, to.node, crate::show::message(&msg))
            });
            self.deliver(sid, to.node, chan, msg);
        }
        self.schedule(sid, dir);
    }

    fn name_of(&self, node: Node) -> EntityName {
        match node {
            Node::Mon => EntityName::mon(0),
            Node::Osd(i) => EntityName::osd(OsdId(i as i32)),
            Node::Client(c) => EntityName::client(self.clients[c].gid),
        }
    }

    fn deliver(&mut self, sid: Sid, to: Node, chan: Chan, msg: Message) {
        match to {
            Node::Mon => self.mon_event(mon_core::MonEvent::Message(sid, msg)),
            Node::Osd(i) => self.osd_message(i, sid, chan, msg),
            Node::Client(c) => self.client_message(c, sid, chan, msg),
        }
    }

    fn accepted(&mut self, sid: Sid, at: Node, from: Node, chan: Chan) {
        match at {
            Node::Mon => self.mon_accepted(sid, from, chan),
            Node::Osd(i) => self.osd_accepted(i, sid, from, chan),
            Node::Client(_) => {}
        }
    }

    fn connected(&mut self, sid: Sid, at: Node, chan: Chan) {
        match (at, chan) {
            (Node::Osd(i), Chan::Mon) => self.osd_event(i, osd_core::OsdEvent::MonOpened),
            (Node::Osd(i), Chan::Mgr) => self.osd_event(i, osd_core::OsdEvent::MgrOpened),
            (Node::Client(c), Chan::Mon) => self.client_mon_opened(c, sid),
            _ => {}
        }
    }

    /// A lossy session breaks: what is on its way is lost from some message on, both ends hear of it.
    pub fn break_session(&mut self, sid: Sid) {
        let Some(s) = self.net.sessions.get(&sid) else { return };
        if !s.chan.is_lossy() {
            return;
        }
        self.trace.line(self.now, || format!("session {sid} breaks"));
        for end in 0..2 {
            self.cut(sid, end);
            self.end_soon(sid, 1 - end, 30 * MS);
        }
    }

    /// Loses what is on its way in a direction, from some message on.
    fn cut(&mut self, sid: Sid, dir: usize) {
        let n = self.net.sessions.get(&sid).map_or(0, |s| s.dirs[dir].queue.len());
        let keep = self.rng.below(n as u64 + 1) as usize;
        if let Some(s) = self.net.sessions.get_mut(&sid) {
            s.dirs[dir].queue.truncate(keep);
        }
    }

    /// An end will hear that the session is over, behind what still arrives there.
    fn end_soon(&mut self, sid: Sid, end: usize, within: u64) {
        let now = self.now;
        let Some(s) = self.net.sessions.get(&sid) else { return };
        let behind = s.dirs[1 - end].queue.back().map_or(0, |(at, _)| at.saturating_sub(now));
        let wait = behind + 1 + self.rng.below(within);
        self.after(wait, Ev::EndOf(sid, end));
    }

    pub(crate) fn on_end(&mut self, sid: Sid, end: usize) {
        let Some(s) = self.net.sessions.get_mut(&sid) else { return };
        if s.ended[end] {
            return;
        }
        s.ended[end] = true;
        let (me, chan) = (s.ends[end], s.chan);
        self.trace.mix(self.now, 5, sid, end as u64);
        self.net.reap(sid);
        if !self.alive(me.node, me.inc) {
            return;
        }
        match me.node {
            Node::Mon => self.mon_event(mon_core::MonEvent::Closed(sid)),
            Node::Osd(i) => self.osd_session_ended(i, sid, chan, end),
            Node::Client(c) => self.client_session_ended(c, sid, chan),
        }
    }

    /// A process ends a session of its own accord; the other side hears of it.
    pub fn leave(&mut self, sid: Sid, end: usize) {
        let Some(s) = self.net.sessions.get_mut(&sid) else { return };
        s.ended[end] = true;
        s.dirs[1 - end].queue.clear();
        self.cut(sid, end);
        self.end_soon(sid, 1 - end, 30 * MS);
    }

    /// `mark_down` of an address: every session of `node` with it on this network ends, both sides forget.
    pub fn mark_down(&mut self, node: Node, net: osd_core::Net, addr: EntityAddr) {
        for sid in self.net.of(node) {
            let Some(s) = self.net.sessions.get(&sid) else { continue };
            if s.chan != Chan::Osd(net) {
                continue;
            }
            let opened = s.ends[0].node == node;
            let hit = if opened { s.target == addr } else { s.source == addr };
            if hit {
                self.leave(sid, usize::from(!opened));
            }
        }
    }

    /// A process is gone. With `silent` nobody is told (power loss): peers find out by timeouts.
    pub fn process_gone(&mut self, node: Node, inc: u32, silent: bool) {
        for sid in self.net.of(node) {
            let Some(s) = self.net.sessions.get_mut(&sid) else { continue };
            let Some(end) = s.ends.iter().position(|e| *e == (End { node, inc })) else { continue };
            s.ended[end] = true;
            s.dirs[1 - end].queue.clear();
            let (other, lossy) = (s.ends[1 - end].node, s.chan.is_lossy());
            self.cut(sid, end);
            if !lossy {
                // The peer keeps trying until its map says that we are down.
                continue;
            }
            let quick = !silent && self.net.passes(node, other);
            let within = if quick { 50 * MS } else { 25 * SEC };
            self.end_soon(sid, 1 - end, within);
            self.net.reap(sid);
        }
    }

    /// Messages held by partitions flow again.
    pub fn kick_network(&mut self) {
        let all: Vec<Sid> = self.net.sessions.keys().copied().collect();
        for sid in all {
            for dir in 0..2 {
                self.schedule(sid, dir);
            }
        }
    }
}

impl Chan {
    fn code(self) -> u64 {
        match self {
            Chan::Mon => 0,
            Chan::Mgr => 1,
            Chan::Osd(n) => 2 + n as u64,
        }
    }
}
