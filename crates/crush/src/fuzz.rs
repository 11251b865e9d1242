//! Entry points for fuzzing: plain functions over bytes that must not panic, hang or allocate without bound.

use crate::CrushMap;
use bytes::Bytes;
use denc::Features;

/// Decodes a map; a good one must survive a round trip, and a rule (which one, the length of the data says) must map without a panic.
pub fn fuzz_crush_map(data: &[u8]) {
    let Ok(map) = CrushMap::from_bytes(&Bytes::copy_from_slice(data)) else { return };
    let again = denc::to_bytes(&map, Features::ALL);
    let back = CrushMap::from_bytes(&again).expect("what was encoded from a valid map decodes");
    assert_eq!(back.buckets, map.buckets);
    let weights = [0x10000, 0x8000, 0, 0x10000];
    // One: a placement by a hostile map may cost all the work that the mapper allows, and this may run without optimization.
    if let Some(rule) = data.len().checked_rem(map.rules.len()) {
        let args = map.choose_args_for(0);
        assert!(map.do_rule(rule as i32, 7, 3, &weights, args).len() <= 3);
    }
}
