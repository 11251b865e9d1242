//! What goes wrong, drawn from the seed; and the end, when all must be well again.

use crate::world::{MS, SEC, World};
use quorum::Event;
use types::MonState;

/// Most monitors that a run may have.
const SLOTS_MAX: usize = 7;

impl World {
    pub fn inject(&mut self) {
        let n = self.nodes.len() as u64;
        let slot = self.rng.below(n) as usize;
        let lasts = self.rng.range(100 * MS, 4 * SEC);
        match self.rng.below(13) {
            0 | 1 => self.crash_for(slot, lasts),
            2 => {
                // The leader, as often as everybody else together.
                if let Some(l) = self.nodes.iter().position(|n| n.leads) {
                    self.crash_for(l, lasts);
                }
            }
            3 | 4 => {
                let side: Vec<bool> = (0..n).map(|_| self.rng.chance(50)).collect();
                for a in 0..n as usize {
                    for b in 0..n as usize {
                        if side[a] != side[b] {
                            self.net.cut.insert((a, b));
                        }
                    }
                }
                self.note(|| format!("partition {side:?}"));
                self.push_unfault(lasts, 1);
            }
            5 => {
                let from = self.rng.below(n) as usize;
                for to in 0..n as usize {
                    if self.rng.chance(70) {
                        self.net.cut.insert((from, to));
                    }
                }
                self.note(|| format!("{from} cannot send to some"));
                self.push_unfault(lasts, 1);
            }
            6 => {
                let leader = self.nodes.iter().position(|n| n.leads).filter(|_| self.rng.chance(50));
                let slot = leader.unwrap_or(slot);
                self.nodes[slot].paused_until = self.t + lasts;
                self.note(|| format!("{slot} is stopped for {} ms", lasts / MS));
            }
            7 => {
                self.nodes[slot].slow_disk = true;
                self.note(|| format!("{slot} has a slow disk"));
                self.push_unfault(lasts, 2);
            }
            8 | 9 => {
                self.net.loss_percent = self.rng.below(30);
                self.net.dup_percent = self.rng.below(30);
                self.net.delay_max = self.rng.range(5 * MS, 2 * SEC);
                self.note(|| "bad network".to_owned());
                self.push_unfault(lasts, 3);
            }
            10 => self.change_members(),
            11 => self.grow_an_island(),
            _ => self.lose_a_store(slot, lasts),
        }
        let after = self.rng.range(200 * MS, 3 * SEC);
        self.push_fault(after);
    }

    fn crash_for(&mut self, slot: usize, lasts: u64) {
        if self.nodes[slot].q.is_some() {
            self.crash(slot);
            self.start_later(slot, lasts);
        }
    }

    /// Everyone who belongs is up and follows one leader, and nobody is on the way in.
    fn whole(&self) -> bool {
        let Some(leader) = self.nodes.iter().find(|n| n.leads && n.up(self.t)) else { return false };
        let view = leader.q.as_ref().expect("it is up").view();
        self.net.cut.is_empty()
            && self.wiped.is_none()
            && view.quorum.len() == view.members.len()
            && view.members.iter().all(|m| self.nodes.iter().any(|n| n.id == m.id && n.up(self.t)))
    }

    /// The leader is cut off from some voters for long enough that they want another one, then from one whose promise to it is
    /// still in force; that one may restart in this moment.
    pub fn grow_an_island(&mut self) {
        let Some(leader) = self.nodes.iter().position(|n| n.leads) else { return };
        let mut others: Vec<usize> = (0..self.nodes.len()).filter(|s| *s != leader).collect();
        for i in (1..others.len()).rev() {
            others.swap(i, self.rng.below(i as u64 + 1) as usize);
        }
        let (far, near) = others.split_at(others.len() / 2);
        let Some(last) = near.first().copied() else { return };
        for a in far {
            for b in near.iter().skip(1).chain([&leader]) {
                self.net.cut.extend([(*a, *b), (*b, *a)]);
            }
        }
        self.note(|| format!("{far:?} lose the leader {leader}, {last} will follow"));
        self.island = Some((leader, last));
        // (Writes in between would give the near ones longer logs than any candidate has.)
        self.deaf = Some(leader);
        let after = self.rng.range(900 * MS, 2 * SEC);
        self.push_unfault(after, 4);
        self.push_unfault(after + 3 * SEC, 1);
    }

    fn complete_island(&mut self) {
        let Some((leader, last)) = self.island.take() else { return };
        for s in 0..self.nodes.len() {
            if s != last && !self.net.cut.contains(&(leader, s)) {
                self.net.cut.extend([(s, last), (last, s)]);
            }
        }
        if self.rng.chance(50) {
            let off = self.rng.range(MS, 20 * MS);
            self.crash_for(last, off);
        }
    }

    fn change_members(&mut self) {
        if !self.whole() {
            return;
        }
        let leader = self.nodes.iter().position(|n| n.leads).expect("it is whole");
        let members = self.nodes[leader].q.as_ref().expect("it is up").members();
        let outside = self.nodes.len() - members.len();
        if members.len() > 3 && self.rng.chance(50) {
            let name = members[self.rng.below(members.len() as u64) as usize].name.clone();
            self.note(|| format!("remove {name}"));
            self.handle(leader, Event::Remove { name });
        } else if self.nodes.len() < SLOTS_MAX && outside == 0 {
            self.note(|| "a new monitor".to_owned());
            self.add_joiner();
        }
    }

    fn lose_a_store(&mut self, slot: usize, lasts: u64) {
        // (With two members, one of them lost is half of the data: no quorum, by anybody's rules.)
        let members = self.nodes[slot].q.as_ref().map_or(0, |q| q.members().len());
        let belongs =
            self.nodes[slot].q.as_ref().is_some_and(|q| !matches!(q.view().state, MonState::Probing));
        if self.whole() && members >= 3 && belongs {
            self.wipe(slot);
            self.start_later(slot, lasts);
        }
    }

    pub fn undo(&mut self, what: u64) {
        match what {
            1 => {
                self.net.cut.clear();
                self.deaf = None;
            }
            2 => self.nodes.iter_mut().for_each(|n| n.slow_disk = false),
            4 => self.complete_island(),
            _ => {
                (self.net.loss_percent, self.net.dup_percent) = (0, 0);
                self.net.delay_max = 5 * MS;
            }
        }
        self.note_return();
    }

    /// Is the monitor that lost its store a voter again?
    pub fn note_return(&mut self) {
        let Some(slot) = self.wiped else { return };
        let id = self.nodes[slot].id;
        let back = self.nodes.iter().any(|n| {
            n.leads && n.q.as_ref().is_some_and(|q| q.members().iter().any(|m| m.id == id && m.voter))
        });
        if back {
            self.wiped = None;
        }
    }

    pub fn heal(&mut self) {
        self.healed = true;
        self.note(|| "all heals".to_owned());
        for what in 1..4 {
            self.undo(what);
        }
        for slot in 0..self.nodes.len() {
            self.nodes[slot].paused_until = self.nodes[slot].paused_until.min(self.t);
            if self.nodes[slot].q.is_none() {
                self.start_later(slot, 0);
            }
        }
    }

    /// Why the healed cluster is not well yet, if it is not.
    pub fn unwell(&self, acked_before: u64) -> Option<String> {
        let leaders: Vec<_> = self.nodes.iter().filter(|n| n.leads).collect();
        let [leader] = leaders[..] else { return Some(format!("{} leaders", leaders.len())) };
        if self.checks.writes < acked_before + 5 {
            return Some("no writes are acknowledged".into());
        }
        let view = leader.q.as_ref()?.view();
        if view.quorum.len() != view.members.len() {
            return Some(format!("quorum {:?} of {:?}", view.quorum, view.members));
        }
        for m in &view.members {
            let Some(n) = self.nodes.iter().find(|n| n.id == m.id) else {
                return Some(format!("{m:?} is a member and nobody"));
            };
            let q = n.q.as_ref()?;
            if n.state.applied + 100 < self.checks.shown_index() {
                return Some(format!("{m:?} is at {} of {}", n.state.applied, self.checks.shown_index()));
            }
            if q.view().leader != view.leader {
                return Some(format!("{m:?} follows {:?}", q.view().leader));
            }
        }
        let joiners = self.nodes.iter().filter(|n| n.state.applied == 0).count();
        (joiners > 0).then(|| format!("{joiners} monitors were not let in"))
    }
}
