//! Which units of the data device are in use ([`Bitmap`]), who shares them, and which wait to be free ([`Space`]).
//!
//! Nothing of this is on the disk: mount rebuilds it from the index, so it can never disagree with it.
//!
//! Invariants:
//! - A unit that the last durable checkpoint or a journal record behind it can reach is never handed out. Freed units
//!   therefore wait in a list that is released when the next checkpoint has become durable.
//! - A unit has one reference, plus one for each entry count in `shared`.

use std::collections::BTreeMap;

/// Units of one bitmap group; a wholly free or wholly used group takes no memory for its bits.
const GROUP_UNITS: u64 = 32_768;
const WORDS: usize = (GROUP_UNITS / 64) as usize;

#[derive(Debug, Clone)]
enum Group {
    Free,
    Full,
    Mixed { bits: Box<[u64; WORDS]>, used: u32 },
}

/// Runs of this many units (1 MiB) are worth a search: a big write in fewer pieces, and on units that were used before. Those
/// the file system has allocated, and the system's cache has room for; fresh ones cost both.
const LONG_UNITS: u32 = 256;

/// A run of units: first unit, count.
pub type Run = (u64, u32);

/// One bit per unit, set = used.
#[derive(Debug, Clone)]
pub struct Bitmap {
    units: u64,
    groups: Vec<Group>,
    free: u64,
    cursor: u64,
    /// Below it there is no long run.
    long_cursor: u64,
}

impl Bitmap {
    /// All `units` free.
    pub fn new(units: u64) -> Self {
        let groups = vec![Group::Free; units.div_ceil(GROUP_UNITS) as usize];
        Bitmap { units, groups, free: units, cursor: 0, long_cursor: 0 }
    }
    /// Free units.
    pub fn free(&self) -> u64 {
        self.free
    }
    /// All units.
    pub fn units(&self) -> u64 {
        self.units
    }
    fn group_len(&self, g: usize) -> u64 {
        (self.units - g as u64 * GROUP_UNITS).min(GROUP_UNITS)
    }
    /// True when the unit is in use.
    pub fn is_used(&self, unit: u64) -> bool {
        match &self.groups[(unit / GROUP_UNITS) as usize] {
            Group::Free => false,
            Group::Full => true,
            Group::Mixed { bits, .. } => {
                let i = unit % GROUP_UNITS;
                bits[(i / 64) as usize] >> (i % 64) & 1 == 1
            }
        }
    }
    /// Changes one unit; answers whether it was used.
    fn set(&mut self, unit: u64, used: bool) -> bool {
        let g = (unit / GROUP_UNITS) as usize;
        let len = self.group_len(g);
        let i = unit % GROUP_UNITS;
        let group = &mut self.groups[g];
        match (&*group, used) {
            (Group::Free, false) => return false,
            (Group::Full, true) => return true,
            (Group::Free, true) => *group = Group::Mixed { bits: Box::new([0; WORDS]), used: 0 },
            (Group::Full, false) => {
                *group = Group::Mixed { bits: Box::new([u64::MAX; WORDS]), used: len as u32 };
            }
            (Group::Mixed { .. }, _) => {}
        }
        let Group::Mixed { bits, used: count } = group else { unreachable!() };
        let word = &mut bits[(i / 64) as usize];
        let was = *word >> (i % 64) & 1 == 1;
        if was != used {
            *word ^= 1 << (i % 64);
            if used {
                *count += 1;
                self.free -= 1;
            } else {
                *count -= 1;
                self.free += 1;
            }
            if *count == 0 {
                *group = Group::Free;
            } else if u64::from(*count) == len {
                *group = Group::Full;
            }
        }
        was
    }
    /// Marks one unit used; answers whether it was used before.
    pub fn mark(&mut self, unit: u64) -> bool {
        self.set(unit, true)
    }
    /// Frees a run.
    ///
    /// # Panics
    /// When a unit of it is free: that would be a double free.
    pub fn release(&mut self, run: Run) {
        for unit in run.0..run.0 + u64::from(run.1) {
            assert!(self.set(unit, false), "unit {unit} freed twice");
        }
    }
    /// First free unit at or behind `from`, or `None` up to the end.
    fn next_free(&self, from: u64) -> Option<u64> {
        let mut unit = from;
        while unit < self.units {
            let g = (unit / GROUP_UNITS) as usize;
            match &self.groups[g] {
                Group::Free => return Some(unit),
                Group::Full => unit = (g as u64 + 1) * GROUP_UNITS,
                Group::Mixed { bits, .. } => {
                    let i = unit % GROUP_UNITS;
                    let word = !bits[(i / 64) as usize] & (u64::MAX << (i % 64));
                    if word != 0 {
                        let found = unit - i % 64 + u64::from(word.trailing_zeros());
                        return (found < self.units).then_some(found);
                    }
                    unit = unit - i % 64 + 64;
                }
            }
        }
        None
    }
    /// First used unit at or behind `from`, but not behind `end`.
    fn next_used(&self, from: u64, end: u64) -> u64 {
        let mut unit = from;
        while unit < end {
            let g = (unit / GROUP_UNITS) as usize;
            match &self.groups[g] {
                Group::Full => return unit,
                Group::Free => unit = (g as u64 + 1) * GROUP_UNITS,
                Group::Mixed { bits, .. } => {
                    let i = unit % GROUP_UNITS;
                    let word = bits[(i / 64) as usize] & (u64::MAX << (i % 64));
                    if word != 0 {
                        return (unit - i % 64 + u64::from(word.trailing_zeros())).min(end);
                    }
                    unit = unit - i % 64 + 64;
                }
            }
        }
        end
    }
    /// First long run at or behind `from`, as far as `want` goes.
    fn next_long(&self, from: u64, want: u32) -> Option<Run> {
        let mut start = self.next_free(from)?;
        loop {
            let end = self.next_used(start, self.units.min(start + u64::from(want)));
            if end - start >= u64::from(LONG_UNITS) {
                return Some((start, (end - start) as u32));
            }
            start = self.next_free(end)?;
        }
    }
    /// Takes up to `want` neighbouring units: next-fit for a few, for many the lowest long run that is free, if there is one.
    /// `None` when all is used.
    pub fn take(&mut self, want: u32) -> Option<Run> {
        if want >= LONG_UNITS {
            if let Some(run) = self.next_long(self.long_cursor, want) {
                (run.0..run.0 + u64::from(run.1)).for_each(|unit| {
                    self.set(unit, true);
                });
                self.long_cursor = run.0 + u64::from(run.1);
                return Some(run);
            }
            self.long_cursor = self.units;
        }
        let start = self.next_free(self.cursor).or_else(|| self.next_free(0))?;
        let mut len = 0;
        while len < want && start + u64::from(len) < self.units && !self.is_used(start + u64::from(len)) {
            self.set(start + u64::from(len), true);
            len += 1;
        }
        self.cursor = start + u64::from(len);
        Some((start, len))
    }
    /// Many units were freed: there may be long runs anywhere again.
    pub fn search_again(&mut self) {
        self.long_cursor = 0;
    }
}

/// Allocation with sharing and delayed freeing.
#[derive(Debug, Clone)]
pub struct Space {
    map: Bitmap,
    shared: BTreeMap<u64, u32>,
    /// Freed since the running checkpoint was frozen (or since the last one when none runs).
    pending: Vec<Run>,
    pending_units: u64,
    /// Released when the running checkpoint is durable.
    on_install: Vec<Run>,
    on_install_units: u64,
    /// Waited for a checkpoint that is durable by now.
    releasable: Vec<Run>,
    releasable_units: u64,
}

fn push_run(runs: &mut Vec<Run>, unit: u64, n: u32) {
    if let Some(last) = runs.last_mut()
        && last.0 + u64::from(last.1) == unit
    {
        last.1 += n;
        return;
    }
    runs.push((unit, n));
}

impl Space {
    /// All free but the first `fixed` units.
    pub fn new(units: u64, fixed: u64) -> Self {
        let mut map = Bitmap::new(units);
        for unit in 0..fixed.min(units) {
            map.mark(unit);
        }
        map.cursor = fixed;
        Space {
            map,
            shared: BTreeMap::new(),
            pending: Vec::new(),
            pending_units: 0,
            on_install: Vec::new(),
            on_install_units: 0,
            releasable: Vec::new(),
            releasable_units: 0,
        }
    }
    /// Units of the device.
    pub fn units(&self) -> u64 {
        self.map.units()
    }
    /// Units that can be taken now.
    pub fn free_now(&self) -> u64 {
        self.map.free()
    }
    /// Units that are free once the checkpoints under way are durable.
    pub fn free_soon(&self) -> u64 {
        self.map.free() + self.pending_units + self.on_install_units + self.releasable_units
    }
    /// Mount found a reference to `unit`: the second and later ones are sharers. False when out of range.
    pub fn found(&mut self, unit: u64) -> bool {
        if unit >= self.map.units() {
            return false;
        }
        if self.map.mark(unit) {
            *self.shared.entry(unit).or_insert(0) += 1;
        }
        true
    }
    /// Mount found a journal record that owns `unit`, which must be free or known already.
    pub fn claim(&mut self, unit: u64) -> bool {
        unit < self.map.units() && !self.map.mark(unit)
    }
    /// Units that the next checkpoint frees.
    pub fn pending_units(&self) -> u64 {
        self.pending_units
    }
    /// Takes exactly `want` units in as few runs as there are; `None` (and nothing taken) when there are too few.
    pub fn take(&mut self, want: u32) -> Option<Vec<Run>> {
        if self.map.free() < u64::from(want) {
            return None;
        }
        let (mut runs, mut left) = (Vec::with_capacity(1), want);
        while left > 0 {
            let run = self.map.take(left).expect("free units were counted");
            left -= run.1;
            push_run(&mut runs, run.0, run.1);
        }
        Some(runs)
    }
    /// One more owner.
    pub fn share(&mut self, unit: u64) {
        debug_assert!(self.map.is_used(unit));
        *self.shared.entry(unit).or_insert(0) += 1;
    }
    /// One owner less; without owners the unit waits for the checkpoint behind the next freeze.
    pub fn drop_ref(&mut self, unit: u64) {
        if let Some(n) = self.shared.get_mut(&unit) {
            *n -= 1;
            if *n == 0 {
                self.shared.remove(&unit);
            }
            return;
        }
        assert!(self.map.is_used(unit), "unit {unit} dropped but free");
        push_run(&mut self.pending, unit, 1);
        self.pending_units += 1;
    }
    /// An index page that the running checkpoint replaces: free when that one is durable.
    pub fn drop_on_install(&mut self, run: Run) {
        push_run(&mut self.on_install, run.0, run.1);
        self.on_install_units += u64::from(run.1);
    }
    /// A checkpoint freezes: what was freed until now it will release.
    pub fn freeze(&mut self) {
        assert!(self.on_install.is_empty(), "one checkpoint at a time");
        self.on_install = std::mem::take(&mut self.pending);
        self.on_install_units = std::mem::take(&mut self.pending_units);
    }
    /// The checkpoint is durable: what waited for it is to be released, by and by.
    pub fn install(&mut self) {
        assert!(self.releasable.is_empty(), "released before the next checkpoint freezes");
        self.releasable = std::mem::take(&mut self.on_install);
        self.releasable_units = std::mem::take(&mut self.on_install_units);
    }
    /// Frees one of the runs that a durable checkpoint released.
    pub fn release_one(&mut self) -> Option<Run> {
        let run = self.releasable.pop()?;
        self.releasable_units -= u64::from(run.1);
        self.map.release(run);
        if self.releasable.is_empty() {
            self.map.search_again();
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_units_once_and_gives_them_back() {
        let mut s = Space::new(GROUP_UNITS + 100, 2);
        let mut seen = vec![false; (GROUP_UNITS + 100) as usize];
        let mut all = Vec::new();
        while let Some(runs) = s.take(37.min(s.free_now().max(1) as u32)) {
            for (start, n) in &runs {
                for u in *start..*start + u64::from(*n) {
                    assert!(u >= 2 && !seen[u as usize]);
                    seen[u as usize] = true;
                }
            }
            all.extend(runs);
        }
        assert_eq!(s.free_now(), 0);
        for (start, n) in all {
            for u in start..start + u64::from(n) {
                s.share(u);
                s.drop_ref(u);
                s.drop_ref(u);
            }
        }
        assert_eq!(s.free_now(), 0);
        assert_eq!(s.free_soon(), GROUP_UNITS + 98);
        s.freeze();
        s.install();
        while s.release_one().is_some() {}
        assert_eq!(s.free_now(), GROUP_UNITS + 98);
    }

    #[test]
    fn many_units_come_from_the_lowest_long_run_that_is_free() {
        let mut b = Bitmap::new(3 * GROUP_UNITS);
        let long = LONG_UNITS;
        assert_eq!(b.take(1024), Some((0, 1024)));
        assert_eq!(b.take(1024), Some((1024, 1024)));
        assert_eq!(b.take(1), Some((2048, 1)));
        // A hole that is too short, one that is just long enough, and one behind them.
        b.release((5, long - 1));
        b.release((700, long));
        b.release((1500, 300));
        assert_eq!(b.take(1024), Some((2049, 1024)), "what lies before was looked through");
        b.search_again();
        assert_eq!(b.take(1024), Some((700, long)));
        assert_eq!(b.take(280), Some((1500, 280)));
        assert_eq!(b.take(1024), Some((3073, 1024)));
        // Where nothing long is left, the short ones serve.
        let mut last = b.clone();
        while let Some((start, n)) = last.next_long(0, u32::MAX) {
            (start..start + u64::from(n)).for_each(|u| assert!(!last.mark(u)));
        }
        assert_eq!(last.free(), u64::from(long - 1) + 20);
        last.search_again();
        assert_eq!(last.take(1024), Some((5, long - 1)));
        assert_eq!(last.take(1024), Some((1780, 20)));
        assert_eq!(last.take(1024), None);
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_double_free_is_noticed() {
        let mut b = Bitmap::new(10);
        b.mark(3);
        b.release((3, 1));
        b.release((3, 1));
    }
}
