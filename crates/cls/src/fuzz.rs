//! Entry point for fuzzing: any method, hostile input, hostile object. Nothing may panic or allocate without bound.

use crate::classes;
use crate::mem::{Content, MemObject};
use bytes::Bytes;

/// Keys that methods look at, so that a hostile object is not just an empty one.
const KEYS: &[&str] = &[
    "size",
    "order",
    "features",
    "object_prefix",
    "snap_seq",
    "snap_limit",
    "parent",
    "flags",
    "op_features",
    "stripe_unit",
    "stripe_count",
    "data_pool_id",
    "create_timestamp",
    "rbd_group_ref",
    "migration",
    "state",
    "mirror_mode",
    "mirror_uuid",
    "splay_width",
    "active_set",
    "minimum_set",
    "next_tag_tid",
    "next_tag_class",
    "snapshot_0000000000000001",
    "snapshot_x",
    "snap_children_0000000000000001",
    "metadata_a",
    "name_a",
    "id_a",
    "image_0000000000000001_a",
    "image_a",
    "global_a",
    "status_global_a",
    "remote_status_global_a_b",
    "mirror_peer_a",
    "instance_a",
    "image_map_a",
    "client_a",
    "tag_0000000000000000",
];

/// Takes a length byte and so many bytes off the front.
fn take<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let Some((n, rest)) = data.split_first() else { return &[] };
    let (piece, rest) = rest.split_at((*n as usize).min(rest.len()));
    *data = rest;
    piece
}

/// `data`: bytes of the object's data and xattr, key and value pairs, until a zero byte; then calls (class, method, input)
/// one after the other on that object.
pub fn fuzz_methods(data: &[u8]) {
    let mut data = data;
    let mut object = MemObject::default();
    if data.first().is_some_and(|b| b & 1 == 1) {
        data = &data[1..];
        let mut c = Content { data: take(&mut data).to_vec(), ..Content::default() };
        c.xattrs.insert(Bytes::from_static(b"lock.a"), Bytes::copy_from_slice(take(&mut data)));
        while let Some((k, rest)) = data.split_first() {
            data = rest;
            if *k == 0 {
                break;
            }
            let key = KEYS[*k as usize % KEYS.len()].as_bytes();
            c.omap.insert(Bytes::from_static(key), Bytes::copy_from_slice(take(&mut data)));
        }
        object.content = Some(c);
    }
    for _ in 0..16 {
        let [class, method, rest @ ..] = data else { return };
        data = rest;
        let class = &classes()[*class as usize % classes().len()];
        let method = &class.methods[*method as usize % class.methods.len()];
        let input = Bytes::copy_from_slice(take(&mut data));
        // An answer is all that is wanted.
        let _ = object.run(class.name, method.name, &input);
        if object.content.as_ref().is_some_and(|c| c.data.len() > 1 << 20) {
            object.content = None;
        }
    }
}
