//! CRUSH: the map of a cluster's hierarchy, its encoding, and the placement function, bit-exact with Ceph.
//!
//! Ring 1 (bytes): pure. [`CrushMap`] mirrors Ceph's `CrushWrapper`; [`CrushMap::do_rule`] mirrors `crush_do_rule`.
//!
//! Invariants: a decoded map is valid ([`CrushMap::validate`]): slots match ids, arrays match sizes, no cycles. The
//! mapper terminates within a fixed work budget and never panics on such a map.
//!
//! Deliberately absent: the text map format (use stock `crushtool`), and map encodings that predate tunables.

mod builder;
mod classes;
mod codec;
mod error;
pub mod feature;
pub mod fuzz;
pub mod hash;
mod ln;
mod ln_table;
mod map;
mod mapper;
mod weight_sets;

pub use builder::{DEFAULT_TYPES, Location, RuleMode, is_valid_name};
pub use error::CrushError;
pub use map::*;
