//! Per-OSD history: [`OsdInfo`] (`osd_info_t`) and [`OsdXInfo`] (`osd_xinfo_t`).

use crate::features;
use crate::{Epoch, Utime};
use denc::{Decode, Decoder, DencError, Encode, Encoder};

/// Epochs of an OSD's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OsdInfo {
    /// First epoch of the last interval that ended with a clean shutdown.
    pub last_clean_begin: Epoch,
    /// Last epoch of that interval.
    pub last_clean_end: Epoch,
    /// Epoch in which it came up last.
    pub up_from: Epoch,
    /// Last epoch in which it is known to have been able to act as a primary.
    pub up_thru: Epoch,
    /// Epoch in which it went down last.
    pub down_at: Epoch,
    /// Last epoch in which it was declared lost.
    pub lost_at: Epoch,
}
impl Encode for OsdInfo {
    fn encode(&self, e: &mut Encoder) {
        e.u8(1);
        e.put(&self.last_clean_begin);
        e.put(&self.last_clean_end);
        e.put(&self.up_from);
        e.put(&self.up_thru);
        e.put(&self.down_at);
        e.put(&self.lost_at);
    }
}
impl Decode for OsdInfo {
    const MIN_SIZE: usize = 25;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let version = d.u8()?;
        if version != 1 {
            return Err(DencError::Invalid { what: "osd_info_t version", value: version.into() });
        }
        Ok(OsdInfo {
            last_clean_begin: d.get()?,
            last_clean_end: d.get()?,
            up_from: d.get()?,
            up_thru: d.get()?,
            down_at: d.get()?,
            lost_at: d.get()?,
        })
    }
}

/// More of an OSD's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OsdXInfo {
    /// When it was marked down last.
    pub down_stamp: Utime,
    /// Probability that it is laggy rather than dead, as a fraction of 2^32 (the encoded form, so that it stays exact).
    pub laggy_probability_raw: u32,
    /// Average seconds that it was laggy.
    pub laggy_interval: u32,
    /// Feature bits of its last boot.
    pub features: u64,
    /// Weight before it was marked out automatically.
    pub old_weight: u32,
    /// When purged snaps were last scrubbed.
    pub last_purged_snaps_scrub: Utime,
    /// Epoch by which it is known to be dead (fast shutdown).
    pub dead_epoch: Epoch,
}
impl OsdXInfo {
    /// The laggy probability, 0 to 1.
    pub fn laggy_probability(&self) -> f32 {
        self.laggy_probability_raw as f32 / u32::MAX as f32
    }
    /// Sets the laggy probability; values outside 0..1 are clamped to what the encoding can hold.
    pub fn set_laggy_probability(&mut self, p: f32) {
        // The cast saturates; stock would wrap at exactly 1.
        self.laggy_probability_raw = (p * u32::MAX as f32) as u32;
    }
}
impl Encode for OsdXInfo {
    fn encode(&self, e: &mut Encoder) {
        let v = if e.has(features::SERVER_OCTOPUS) { 4 } else { 3 };
        e.versioned(v, 1, |e| {
            e.put(&self.down_stamp);
            e.u32(self.laggy_probability_raw);
            e.u32(self.laggy_interval);
            e.u64(self.features);
            e.u32(self.old_weight);
            if v >= 4 {
                e.put(&self.last_purged_snaps_scrub);
                e.put(&self.dead_epoch);
            }
        });
    }
}
impl Decode for OsdXInfo {
    const MIN_SIZE: usize = 22;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (v, mut d) = d.open("osd_xinfo_t", 4)?;
        let mut x = OsdXInfo {
            down_stamp: d.get()?,
            laggy_probability_raw: d.u32()?,
            laggy_interval: d.u32()?,
            ..OsdXInfo::default()
        };
        if v >= 2 {
            x.features = d.u64()?;
        }
        if v >= 3 {
            x.old_weight = d.u32()?;
        }
        if v >= 4 {
            x.last_purged_snaps_scrub = d.get()?;
            x.dead_epoch = d.get()?;
        }
        Ok(x)
    }
}
