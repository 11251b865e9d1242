//! The election epoch of a monitor that is alone: odd while an election runs, even when a leader is there, in stock's books; what a
//! lone monitor shows is odd all the same, 3 at first and 2 more after each start, and so does this one.

use crate::kv::{Batch, Kv};
use crate::table::encoded;
use denc::Decoder;

const KEY: &str = "mon/election_epoch";
/// Before the first start.
const NEVER: u64 = 1;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Election {
    epoch: u64,
    pending: Option<u64>,
}

impl Election {
    /// A start: the epoch in the store is over, the next one counts once it is durable.
    pub fn at_start(kv: &Kv) -> Election {
        let epoch = kv.get(KEY).and_then(|b| Decoder::new(b).u64().ok()).unwrap_or(NEVER);
        Election { epoch, pending: Some((epoch | 1).saturating_add(2)) }
    }
    /// The committed epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// True when something is staged.
    pub fn is_dirty(&self) -> bool {
        self.pending.is_some()
    }
    /// Moves what is staged into `batch`.
    pub fn stage(&mut self, batch: &mut Batch) {
        if let Some(epoch) = self.pending.take() {
            batch.put(KEY, encoded(&epoch));
        }
    }
    /// Takes over a committed batch.
    pub fn commit(&mut self, batch: &Batch) {
        if let Some(Some(v)) = batch.changes.get(KEY)
            && let Ok(epoch) = Decoder::new(v).u64()
        {
            self.epoch = epoch;
        }
    }
}
