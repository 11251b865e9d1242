//! Which client features a map needs (`CrushWrapper::has_nondefault_tunables*`, `is_v2_rule`, ...).

use crate::map::*;

/// CRUSH_TUNABLES: retry limits other than argonaut's.
pub const TUNABLES: u64 = 1 << 18;
/// CRUSH_TUNABLES2: `chooseleaf_descend_once`.
pub const TUNABLES2: u64 = 1 << 25;
/// CRUSH_V2: indep rules and SET_ steps.
pub const V2: u64 = 1 << 36;
/// CRUSH_TUNABLES3: `chooseleaf_vary_r`.
pub const TUNABLES3: u64 = 1 << 41;
/// CRUSH_V4: straw2 buckets.
pub const V4: u64 = 1 << 48;
/// CRUSH_TUNABLES5: `chooseleaf_stable`.
pub const TUNABLES5: u64 = 1 << 58;
/// CRUSH_CHOOSE_ARGS (a luminous bit).
pub const CHOOSE_ARGS: u64 = (1 << 21) | (1 << 57);

impl CrushMap {
    /// Features that tunables, buckets and choose_args need; rules count where a pool uses them
    /// ([`CrushMap::rule_features`]).
    pub fn required_features(&self) -> u64 {
        let t = &self.tunables;
        let l = Tunables::LEGACY;
        let mut f = 0;
        if t.choose_local_tries != l.choose_local_tries
            || t.choose_local_fallback_tries != l.choose_local_fallback_tries
            || t.choose_total_tries != l.choose_total_tries
        {
            f |= TUNABLES;
        }
        if t.chooseleaf_descend_once != 0 {
            f |= TUNABLES2;
        }
        if t.chooseleaf_vary_r != 0 {
            f |= TUNABLES3;
        }
        if t.chooseleaf_stable != 0 {
            f |= TUNABLES5;
        }
        if self.buckets.iter().flatten().any(|b| b.alg() == BucketAlg::Straw2) {
            f |= V4;
        }
        if self.has_incompat_choose_args() {
            f |= CHOOSE_ARGS;
        }
        f
    }

    /// True when the alternative weights cannot be given to old clients as plain bucket weights.
    fn has_incompat_choose_args(&self) -> bool {
        if self.choose_args.is_empty() {
            return false;
        }
        let Some(args) = self.choose_args.get(&DEFAULT_CHOOSE_ARGS).filter(|_| self.choose_args.len() == 1)
        else {
            return true;
        };
        args.values().any(|a| a.weight_set.len() > 1 || !a.ids.is_empty())
    }

    /// Features that a rule needs.
    pub fn rule_features(&self, rule: i32) -> u64 {
        let steps = self.rule(rule).map_or(&[][..], |r| &r.steps);
        steps.iter().fold(0, |f, s| {
            f | match s.op {
                op::CHOOSE_INDEP | op::CHOOSELEAF_INDEP | op::SET_CHOOSE_TRIES | op::SET_CHOOSELEAF_TRIES => {
                    V2
                }
                op::SET_CHOOSELEAF_VARY_R => TUNABLES3,
                op::SET_CHOOSELEAF_STABLE => TUNABLES5,
                _ => 0,
            }
        })
    }
}
