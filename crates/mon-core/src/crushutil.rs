//! Reading a CRUSH hierarchy: ancestors, locations, trees. (Changing it is crate `crush`'s.)

use crush::CrushMap;
use std::collections::{BTreeMap, BTreeSet};

/// Type number of a name.
pub fn type_id(c: &CrushMap, name: &str) -> Option<i32> {
    c.type_map.iter().find(|(_, n)| *n == name).map(|(t, _)| *t)
}
/// Name of a type.
pub fn type_name(c: &CrushMap, kind: i32) -> String {
    c.type_map.get(&kind).cloned().unwrap_or_default()
}
/// Name of an item: a device without a name is `osd.N`.
pub fn item_name(c: &CrushMap, id: i32) -> String {
    match c.name_map.get(&id) {
        Some(n) => n.clone(),
        None if id >= 0 => format!("osd.{id}"),
        None => String::new(),
    }
}
/// Id of a named item.
pub fn item_id(c: &CrushMap, name: &str) -> Option<i32> {
    c.name_map.iter().find(|(_, n)| *n == name).map(|(i, _)| *i)
}
/// True for the copies of the tree that hold one device class (`default~hdd`).
pub fn is_shadow(c: &CrushMap, id: i32) -> bool {
    id < 0 && c.name_map.get(&id).is_some_and(|n| n.contains('~'))
}
/// The buckets that hold `id`, shadows left out, nearest first.
pub fn parent(c: &CrushMap, id: i32) -> Option<i32> {
    c.buckets.iter().flatten().filter(|b| !is_shadow(c, b.id)).find(|b| b.items.contains(&id)).map(|b| b.id)
}
/// Type name to bucket name of everything above `id`.
pub fn location(c: &CrushMap, id: i32) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut at = id;
    while let Some(p) = parent(c, at) {
        let kind = c.bucket(p).map_or(0, |b| i32::from(b.kind));
        out.insert(type_name(c, kind), item_name(c, p));
        at = p;
        if out.len() > 64 {
            break;
        }
    }
    out
}
/// Name of the bucket of this type above `id`.
pub fn ancestor_name(c: &CrushMap, id: i32, kind: &str) -> Option<String> {
    location(c, id).remove(kind)
}
/// Buckets that nothing holds, in the order of their ids from -1 down.
pub fn roots(c: &CrushMap, shadow: bool) -> Vec<i32> {
    let held: BTreeSet<i32> = c.buckets.iter().flatten().flat_map(|b| b.items.iter().copied()).collect();
    c.buckets
        .iter()
        .flatten()
        .map(|b| b.id)
        .filter(|id| !held.contains(id) && (shadow || !is_shadow(c, *id)))
        .collect()
}
/// Every device below `id`.
pub fn devices_below(c: &CrushMap, id: i32) -> BTreeSet<i32> {
    let mut out = BTreeSet::new();
    let mut stack = vec![id];
    let mut seen = BTreeSet::new();
    while let Some(i) = stack.pop() {
        if i >= 0 {
            out.insert(i);
        } else if seen.insert(i)
            && let Some(b) = c.bucket(i)
        {
            stack.extend(&b.items);
        }
    }
    out
}
/// Device class of an OSD.
pub fn class_of(c: &CrushMap, osd: i32) -> Option<&str> {
    c.class_name.get(c.class_map.get(&osd)?).map(String::as_str)
}
/// Weight of an item in its bucket (16.16), 0 when nothing holds it.
pub fn weight_of(c: &CrushMap, id: i32) -> u32 {
    parent(c, id)
        .and_then(|p| c.bucket(p))
        .and_then(|b| b.items.iter().position(|i| *i == id).map(|pos| b.item_weight(pos)))
        .unwrap_or(0)
}
/// Fixed point to float.
pub fn to_f32(w: u32) -> f32 {
    w as f32 / 65536.0
}
