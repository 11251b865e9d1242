//! [`PastIntervals`]: the intervals of a PG that may hold acknowledged writes (`PastIntervals` of stock, its compact form).
//!
//! Deliberately absent: the full representation that erasure-coded pools never got either; stock 16.2 writes only this one.

use crate::pgstat::PgShard;
use crate::{Epoch, OsdId};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeSet;

/// Tag of the compact representation, for replicated and for erasure-coded pools; 0 stands for none.
const REPLICATED: u8 = 2;
const ERASURE: u8 = 1;
const NONE: u8 = 0;

/// An interval in which writes may have been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RwInterval {
    /// Its first epoch.
    pub first: Epoch,
    /// Its last epoch.
    pub last: Epoch,
    /// Who acted.
    pub acting: BTreeSet<PgShard>,
}
impl RwInterval {
    /// True when who can answer for `self` can answer for `other`, an older one, as well.
    fn supersedes(&self, other: &RwInterval) -> bool {
        self.acting.is_subset(&other.acting)
    }
}

/// What a PG went through since it was last clean, or since it was created.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PastIntervals {
    /// The pool is erasure-coded.
    pub erasure: bool,
    /// First epoch that is covered; 0 when nothing is.
    pub first: Epoch,
    /// Last epoch that is covered.
    pub last: Epoch,
    /// Everyone who acted in any of the intervals.
    pub participants: BTreeSet<PgShard>,
    /// Those that may have seen writes, oldest first.
    pub intervals: Vec<RwInterval>,
}
impl PastIntervals {
    /// Adds the interval that came after those that are there. `went_rw`: writes may have been acknowledged in it.
    pub fn add(&mut self, first: Epoch, last: Epoch, acting: &[OsdId], went_rw: bool) {
        if self.first == Epoch(0) {
            self.first = first;
        }
        self.last = last;
        let acting: BTreeSet<PgShard> =
            acting.iter().filter(|o| **o != OsdId::NONE).map(|o| PgShard::replica(*o)).collect();
        self.participants.extend(acting.iter().copied());
        if went_rw {
            let new = RwInterval { first, last, acting };
            self.intervals.retain(|old| !new.supersedes(old));
            self.intervals.push(new);
        }
    }
}

impl Encode for RwInterval {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.first);
            e.put(&self.last);
            e.put(&self.acting);
        });
    }
}
impl Decode for RwInterval {
    const MIN_SIZE: usize = 18;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("compact_interval_t", 1)?;
        Ok(RwInterval { first: d.get()?, last: d.get()?, acting: d.get()? })
    }
}
impl Encode for PastIntervals {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u8(if self.erasure { ERASURE } else { REPLICATED });
            e.versioned(1, 1, |e| {
                e.put(&self.first);
                e.put(&self.last);
                e.put(&self.participants);
                e.put(&self.intervals);
            });
        });
    }
}
impl Decode for PastIntervals {
    const MIN_SIZE: usize = 7;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("PastIntervals", 1)?;
        let erasure = match d.u8()? {
            NONE => return Ok(PastIntervals::default()),
            REPLICATED => false,
            ERASURE => true,
            other => {
                return Err(DencError::Invalid { what: "PastIntervals representation", value: other.into() });
            }
        };
        let (_, mut d) = d.open("pi_compact_rep", 1)?;
        Ok(PastIntervals {
            erasure,
            first: d.get()?,
            last: d.get()?,
            participants: d.get()?,
            intervals: d.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> bytes::Bytes {
        let nibble = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
        hex.as_bytes().chunks(2).map(|p| nibble(p[0]) << 4 | nibble(p[1])).collect()
    }

    /// Of a stock 16.2.15 cluster: 43..44 with three acting, and one without anything.
    const STOCK: &[&str] = &[
        "01016b0000000201016400000043000000440000000300000001010500000000000000ff01010500000001000000ff01010500000002\
         000000ff0100000001012d00000043000000440000000300000001010500000000000000ff01010500000001000000ff010105000000\
         02000000ff",
        "0101170000000201011000000000000000000000000000000000000000",
    ];

    #[test]
    fn what_stock_wrote_is_read_and_written_the_same_and_its_pieces_are_refused() {
        for text in STOCK {
            let b = bytes(&text.replace(char::is_whitespace, ""));
            let p: PastIntervals = denc::from_bytes_exact(&b).unwrap();
            assert_eq!(denc::to_bytes(&p, denc::Features::ALL), b);
            for n in 0..b.len() {
                assert!(denc::from_bytes_exact::<PastIntervals>(&b.slice(..n)).is_err());
            }
        }
    }

    #[test]
    fn intervals_without_writes_leave_only_their_members_and_newer_ones_stand_for_older_ones() {
        let mut p = PastIntervals::default();
        let osds = |v: &[i32]| v.iter().map(|o| OsdId(*o)).collect::<Vec<_>>();
        p.add(Epoch(5), Epoch(6), &osds(&[0, 1, 2]), true);
        p.add(Epoch(7), Epoch(7), &osds(&[3]), false);
        assert_eq!((p.first, p.last, p.intervals.len(), p.participants.len()), (Epoch(5), Epoch(7), 1, 4));
        p.add(Epoch(8), Epoch(9), &osds(&[1, 2]), true);
        assert_eq!(p.intervals.iter().map(|i| i.first).collect::<Vec<_>>(), [Epoch(8)]);
    }
}
