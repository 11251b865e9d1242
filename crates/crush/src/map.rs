//! The data of a CRUSH map: buckets, rules, names, tunables, device classes, alternative weights.
//!
//! Mirrors `struct crush_map` and the maps of `CrushWrapper`. Ids: devices are >= 0, buckets are < 0, and bucket `-1-i`
//! sits in `buckets[i]` (kept by every constructor here and checked by the decoder).

use std::collections::BTreeMap;

/// CRUSH_ITEM_NONE: a hole in a result.
pub const ITEM_NONE: i32 = 0x7fff_ffff;
/// CRUSH_ITEM_UNDEF: not decided yet; never in a result.
pub(crate) const ITEM_UNDEF: i32 = 0x7fff_fffe;
/// Weight 1.0 in the 16.16 fixed point that CRUSH and the OSDMap use.
pub const WEIGHT_ONE: u32 = 0x10000;
/// Choose-args key of the balancer's compat weight set (`CrushWrapper::DEFAULT_CHOOSE_ARGS`).
pub const DEFAULT_CHOOSE_ARGS: i64 = -1;

/// How a bucket picks one of its items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum BucketAlg {
    /// All items weigh the same.
    Uniform = 1,
    /// Linked list; good when items are only added.
    List = 2,
    /// Binary tree.
    Tree = 3,
    /// Straws with precomputed lengths (before hammer).
    Straw = 4,
    /// Straws drawn from an exponential distribution; the default.
    Straw2 = 5,
}
impl BucketAlg {
    /// From the number in a map.
    pub fn from_u8(n: u8) -> Option<BucketAlg> {
        Some(match n {
            1 => BucketAlg::Uniform,
            2 => BucketAlg::List,
            3 => BucketAlg::Tree,
            4 => BucketAlg::Straw,
            5 => BucketAlg::Straw2,
            _ => return None,
        })
    }
    /// The name in text maps and dumps.
    pub fn name(self) -> &'static str {
        match self {
            BucketAlg::Uniform => "uniform",
            BucketAlg::List => "list",
            BucketAlg::Tree => "tree",
            BucketAlg::Straw => "straw",
            BucketAlg::Straw2 => "straw2",
        }
    }
}

/// What a bucket's algorithm keeps per item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BucketData {
    /// One weight for every item.
    Uniform {
        /// Weight of each item.
        item_weight: u32,
    },
    /// Weights and their running sums from the front.
    List {
        /// Weight by position.
        item_weights: Vec<u32>,
        /// Sum of the weights up to and with this position.
        sum_weights: Vec<u32>,
    },
    /// Weights of the nodes of an implicit binary tree; item i is node 2i+1.
    Tree {
        /// Weight by node.
        node_weights: Vec<u32>,
    },
    /// Weights and precomputed straw lengths.
    Straw {
        /// Weight by position.
        item_weights: Vec<u32>,
        /// Straw length by position.
        straws: Vec<u32>,
    },
    /// Weights.
    Straw2 {
        /// Weight by position.
        item_weights: Vec<u32>,
    },
}

/// An inner node of the hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Id, negative.
    pub id: i32,
    /// Type (host, rack, ...); an index of [`CrushMap::type_map`].
    pub kind: u16,
    /// Hash function; 0 is rjenkins1, the only one.
    pub hash: u8,
    /// Sum of the item weights.
    pub weight: u32,
    /// Children: devices or buckets.
    pub items: Vec<i32>,
    /// Weights, by algorithm.
    pub data: BucketData,
}

impl Bucket {
    /// The algorithm.
    pub fn alg(&self) -> BucketAlg {
        match self.data {
            BucketData::Uniform { .. } => BucketAlg::Uniform,
            BucketData::List { .. } => BucketAlg::List,
            BucketData::Tree { .. } => BucketAlg::Tree,
            BucketData::Straw { .. } => BucketAlg::Straw,
            BucketData::Straw2 { .. } => BucketAlg::Straw2,
        }
    }

    /// Weight of the item at `pos`; 0 outside.
    pub fn item_weight(&self, pos: usize) -> u32 {
        match &self.data {
            BucketData::Uniform { item_weight } if pos < self.items.len() => *item_weight,
            BucketData::Uniform { .. } => 0,
            BucketData::List { item_weights, .. }
            | BucketData::Straw { item_weights, .. }
            | BucketData::Straw2 { item_weights } => item_weights.get(pos).copied().unwrap_or(0),
            BucketData::Tree { node_weights } => node_weights.get(2 * pos + 1).copied().unwrap_or(0),
        }
    }

    /// Items with their weights.
    pub fn items_with_weights(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        self.items.iter().enumerate().map(|(pos, item)| (*item, self.item_weight(pos)))
    }
}

/// One step of a rule: opcode and two arguments, kept raw so that unknown opcodes survive a round trip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Opcode, see [`op`].
    pub op: u32,
    /// First argument.
    pub arg1: i32,
    /// Second argument.
    pub arg2: i32,
}

/// Opcodes of rule steps (`crush_opcodes`).
#[allow(missing_docs)]
pub mod op {
    pub const NOOP: u32 = 0;
    pub const TAKE: u32 = 1;
    pub const CHOOSE_FIRSTN: u32 = 2;
    pub const CHOOSE_INDEP: u32 = 3;
    pub const EMIT: u32 = 4;
    pub const CHOOSELEAF_FIRSTN: u32 = 6;
    pub const CHOOSELEAF_INDEP: u32 = 7;
    pub const SET_CHOOSE_TRIES: u32 = 8;
    pub const SET_CHOOSELEAF_TRIES: u32 = 9;
    pub const SET_CHOOSE_LOCAL_TRIES: u32 = 10;
    pub const SET_CHOOSE_LOCAL_FALLBACK_TRIES: u32 = 11;
    pub const SET_CHOOSELEAF_VARY_R: u32 = 12;
    pub const SET_CHOOSELEAF_STABLE: u32 = 13;
}

/// A placement rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Legacy ruleset number; equals the rule's id in maps since luminous.
    pub ruleset: u8,
    /// Pool type it is for: 1 replicated, 3 erasure.
    pub kind: u8,
    /// Smallest pool size it is for.
    pub min_size: u8,
    /// Largest pool size it is for.
    pub max_size: u8,
    /// The program.
    pub steps: Vec<Step>,
}

/// Retry limits and algorithm versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunables {
    /// Retries in the same bucket after a collision.
    pub choose_local_tries: u32,
    /// Retries with a permutation of the same bucket.
    pub choose_local_fallback_tries: u32,
    /// Descents before a replica is given up.
    pub choose_total_tries: u32,
    /// Leaf search does not retry by itself.
    pub chooseleaf_descend_once: u32,
    /// Leaf search starts from the parent's attempt number.
    pub chooseleaf_vary_r: u8,
    /// How straw lengths are computed.
    pub straw_calc_version: u8,
    /// Bit mask of algorithms that new buckets may use.
    pub allowed_bucket_algs: u32,
    /// Leaf choice does not depend on the replica's position.
    pub chooseleaf_stable: u8,
}
impl Tunables {
    /// Argonaut's values, what a map without tunables means.
    pub const LEGACY: Tunables = Tunables {
        choose_local_tries: 2,
        choose_local_fallback_tries: 5,
        choose_total_tries: 19,
        chooseleaf_descend_once: 0,
        chooseleaf_vary_r: 0,
        straw_calc_version: 0,
        allowed_bucket_algs: (1 << 1) | (1 << 2) | (1 << 4),
        chooseleaf_stable: 0,
    };
    /// Profile `bobtail`.
    pub const BOBTAIL: Tunables = Tunables {
        choose_local_tries: 0,
        choose_local_fallback_tries: 0,
        choose_total_tries: 50,
        chooseleaf_descend_once: 1,
        ..Tunables::LEGACY
    };
    /// Profile `firefly`.
    pub const FIREFLY: Tunables = Tunables { chooseleaf_vary_r: 1, ..Tunables::BOBTAIL };
    /// Profile `hammer`.
    pub const HAMMER: Tunables =
        Tunables { allowed_bucket_algs: (1 << 1) | (1 << 2) | (1 << 4) | (1 << 5), ..Tunables::FIREFLY };
    /// Profile `jewel`.
    pub const JEWEL: Tunables = Tunables { chooseleaf_stable: 1, ..Tunables::HAMMER };
    /// What a new cluster has (profile `default`: jewel's values and straw_calc_version 1).
    pub const DEFAULT: Tunables = Tunables { straw_calc_version: 1, ..Tunables::JEWEL };

    /// The profile's values with this map's `straw_calc_version`, which profiles leave alone (except `legacy`).
    pub fn profile(name: &str) -> Option<Tunables> {
        Some(match name {
            "legacy" | "argonaut" => Tunables::LEGACY,
            "bobtail" => Tunables::BOBTAIL,
            "firefly" => Tunables::FIREFLY,
            "hammer" => Tunables::HAMMER,
            "jewel" | "optimal" => Tunables::JEWEL,
            "default" => Tunables::DEFAULT,
            _ => return None,
        })
    }
}
impl Default for Tunables {
    fn default() -> Self {
        Tunables::DEFAULT
    }
}

/// Alternative weights and ids of one bucket (`crush_choose_arg`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChooseArg {
    /// Weights by result position, then by item; empty means the bucket's own.
    pub weight_set: Vec<Vec<u32>>,
    /// Ids to hash instead of the items; empty means the items.
    pub ids: Vec<i32>,
}

/// Alternative weights of many buckets, by bucket index (`-1 - id`).
pub type ChooseArgs = BTreeMap<u32, ChooseArg>;

/// A whole CRUSH map with names (`CrushWrapper`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CrushMap {
    /// One more than the highest device id.
    pub max_devices: i32,
    /// Buckets by `-1 - id`.
    pub buckets: Vec<Option<Bucket>>,
    /// Rules by id.
    pub rules: Vec<Option<Rule>>,
    /// Type names by number; 0 is the device type.
    pub type_map: BTreeMap<i32, String>,
    /// Names of devices and buckets.
    pub name_map: BTreeMap<i32, String>,
    /// Names of rules.
    pub rule_name_map: BTreeMap<i32, String>,
    /// Retry limits and versions.
    pub tunables: Tunables,
    /// Device class of devices.
    pub class_map: BTreeMap<i32, i32>,
    /// Class names.
    pub class_name: BTreeMap<i32, String>,
    /// Shadow bucket by bucket and class.
    pub class_bucket: BTreeMap<i32, BTreeMap<i32, i32>>,
    /// Alternative weights by pool id, or [`DEFAULT_CHOOSE_ARGS`].
    pub choose_args: BTreeMap<i64, ChooseArgs>,
}

impl CrushMap {
    /// The bucket with this id.
    #[inline]
    pub fn bucket(&self, id: i32) -> Option<&Bucket> {
        if id >= 0 {
            return None;
        }
        self.buckets.get((-1 - id) as usize)?.as_ref()
    }
    pub(crate) fn bucket_mut(&mut self, id: i32) -> Option<&mut Bucket> {
        if id >= 0 {
            return None;
        }
        self.buckets.get_mut((-1 - id) as usize)?.as_mut()
    }
    /// The rule with this id.
    pub fn rule(&self, id: i32) -> Option<&Rule> {
        self.rules.get(usize::try_from(id).ok()?)?.as_ref()
    }
    /// Alternative weights for a pool: its own, else the default set (`choose_args_get_with_fallback`).
    pub fn choose_args_for(&self, pool: i64) -> Option<&ChooseArgs> {
        self.choose_args.get(&pool).or_else(|| self.choose_args.get(&DEFAULT_CHOOSE_ARGS))
    }
}
