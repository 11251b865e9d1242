//! Class `rbd`: the metadata of images, directories, clones, trash, namespaces and object maps.
//!
//! Mirrors `cls/rbd/cls_rbd.cc` of 16.2 in keys, values and errno: what is stored can be copied to and from a stock pool.
//! One file per kind of object; `state` has the stored types.

mod children;
mod data;
mod directory;
mod groups;
mod image;
mod migration;
mod mirror;
mod mirror_status;
mod object_map;
mod parent;
mod snapshot;
mod state;
mod trash;
pub(crate) mod util;

use crate::{Class, Method};

const fn r(name: &'static str, func: crate::MethodFn) -> Method {
    Method { name, reads: true, writes: false, func }
}
const fn w(name: &'static str, func: crate::MethodFn) -> Method {
    Method { name, reads: true, writes: true, func }
}
/// Writes without reading, as stock declares two methods.
const fn wo(name: &'static str, func: crate::MethodFn) -> Method {
    Method { name, reads: false, writes: true, func }
}

/// The class.
pub const CLASS: Class = Class {
    name: "rbd",
    methods: &[
        w("create", image::create),
        r("get_features", image::get_features),
        w("set_features", image::set_features),
        r("get_size", image::get_size),
        w("set_size", image::set_size),
        r("get_object_prefix", image::get_object_prefix),
        r("get_data_pool", image::get_data_pool),
        r("get_flags", image::get_flags),
        w("set_flags", image::set_flags),
        r("op_features_get", image::op_features_get),
        w("op_features_set", image::op_features_set),
        r("get_stripe_unit_count", image::get_stripe_unit_count),
        w("set_stripe_unit_count", image::set_stripe_unit_count),
        r("get_create_timestamp", image::get_create_timestamp),
        r("get_access_timestamp", image::get_access_timestamp),
        r("get_modify_timestamp", image::get_modify_timestamp),
        w("set_access_timestamp", image::set_access_timestamp),
        w("set_modify_timestamp", image::set_modify_timestamp),
        r("get_all_features", image::get_all_features),
        r("get_id", image::get_id),
        w("set_id", image::set_id),
        r("metadata_list", image::metadata_list),
        w("metadata_set", image::metadata_set),
        w("metadata_remove", image::metadata_remove),
        r("metadata_get", image::metadata_get),
        w("image_group_add", groups::image_group_add),
        w("image_group_remove", groups::image_group_remove),
        r("image_group_get", groups::image_group_get),
        r("parent_get", parent::parent_get),
        r("parent_overlap_get", parent::parent_overlap_get),
        w("parent_attach", parent::parent_attach),
        w("parent_detach", parent::parent_detach),
        r("get_parent", parent::get_parent),
        w("set_parent", parent::set_parent),
        w("remove_parent", parent::remove_parent),
        r("get_snapcontext", snapshot::get_snapcontext),
        r("snapshot_get", snapshot::snapshot_get),
        w("snapshot_add", snapshot::snapshot_add),
        w("snapshot_remove", snapshot::snapshot_remove),
        w("snapshot_rename", snapshot::snapshot_rename),
        w("snapshot_trash_add", snapshot::snapshot_trash_add),
        r("snapshot_get_limit", snapshot::snapshot_get_limit),
        w("snapshot_set_limit", snapshot::snapshot_set_limit),
        r("get_protection_status", snapshot::get_protection_status),
        w("set_protection_status", snapshot::set_protection_status),
        r("get_snapshot_name", snapshot::get_snapshot_name),
        r("get_snapshot_timestamp", snapshot::get_snapshot_timestamp),
        w("child_attach", children::child_attach),
        w("child_detach", children::child_detach),
        r("children_list", children::children_list),
        w("add_child", children::add_child),
        w("remove_child", children::remove_child),
        r("get_children", children::get_children),
        r("dir_get_id", directory::dir_get_id),
        r("dir_get_name", directory::dir_get_name),
        r("dir_list", directory::dir_list),
        w("dir_add_image", directory::dir_add_image),
        w("dir_remove_image", directory::dir_remove_image),
        w("dir_rename_image", directory::dir_rename_image),
        r("dir_state_assert", directory::dir_state_assert),
        w("dir_state_set", directory::dir_state_set),
        w("namespace_add", directory::namespace_add),
        w("namespace_remove", directory::namespace_remove),
        r("namespace_list", directory::namespace_list),
        w("trash_add", trash::trash_add),
        w("trash_remove", trash::trash_remove),
        r("trash_list", trash::trash_list),
        r("trash_get", trash::trash_get),
        w("trash_state_set", trash::trash_state_set),
        r("object_map_load", object_map::object_map_load),
        w("object_map_save", object_map::object_map_save),
        w("object_map_resize", object_map::object_map_resize),
        w("object_map_update", object_map::object_map_update),
        w("object_map_snap_add", object_map::object_map_snap_add),
        w("object_map_snap_remove", object_map::object_map_snap_remove),
        w("copyup", data::copyup),
        w("sparse_copyup", data::sparse_copyup),
        w("assert_snapc_seq", data::assert_snapc_seq),
        w("sparsify", data::sparsify),
        r("group_dir_list", groups::group_dir_list),
        w("group_dir_add", groups::group_dir_add),
        w("group_dir_remove", groups::group_dir_remove),
        w("group_dir_rename", groups::group_dir_rename),
        w("group_image_set", groups::group_image_set),
        w("group_image_remove", groups::group_image_remove),
        r("group_image_list", groups::group_image_list),
        w("group_snap_set", groups::group_snap_set),
        w("group_snap_remove", groups::group_snap_remove),
        r("group_snap_get_by_id", groups::group_snap_get_by_id),
        r("group_snap_list", groups::group_snap_list),
        w("migration_set", migration::migration_set),
        w("migration_set_state", migration::migration_set_state),
        r("migration_get", migration::migration_get),
        w("migration_remove", migration::migration_remove),
        r("mirror_mode_get", mirror::mirror_mode_get),
        w("mirror_mode_set", mirror::mirror_mode_set),
        r("mirror_uuid_get", mirror::mirror_uuid_get),
        w("mirror_uuid_set", mirror::mirror_uuid_set),
        r("mirror_peer_list", mirror::mirror_peer_list),
        w("mirror_peer_add", mirror::mirror_peer_add),
        w("mirror_peer_remove", mirror::mirror_peer_remove),
        w("mirror_peer_ping", mirror::mirror_peer_ping),
        w("mirror_peer_set_client", mirror::mirror_peer_set_client),
        w("mirror_peer_set_cluster", mirror::mirror_peer_set_cluster),
        w("mirror_peer_set_direction", mirror::mirror_peer_set_direction),
        r("mirror_image_list", mirror::mirror_image_list),
        r("mirror_image_get", mirror::mirror_image_get),
        r("mirror_image_get_image_id", mirror::mirror_image_get_image_id),
        w("mirror_image_set", mirror::mirror_image_set),
        w("mirror_image_remove", mirror::mirror_image_remove),
        w("mirror_image_snapshot_unlink_peer", mirror::mirror_image_snapshot_unlink_peer),
        w("mirror_image_snapshot_set_copy_progress", mirror::mirror_image_snapshot_set_copy_progress),
        w("mirror_image_status_set", mirror_status::mirror_image_status_set),
        w("mirror_image_status_remove", mirror_status::mirror_image_status_remove),
        r("mirror_image_status_get", mirror_status::mirror_image_status_get),
        r("mirror_image_status_list", mirror_status::mirror_image_status_list),
        r("mirror_image_status_get_summary", mirror_status::mirror_image_status_get_summary),
        w("mirror_image_status_remove_down", mirror_status::mirror_image_status_remove_down),
        r("mirror_image_instance_get", mirror_status::mirror_image_instance_get),
        r("mirror_image_instance_list", mirror_status::mirror_image_instance_list),
        r("mirror_instances_list", mirror_status::mirror_instances_list),
        w("mirror_instances_add", mirror_status::mirror_instances_add),
        w("mirror_instances_remove", mirror_status::mirror_instances_remove),
        r("mirror_image_map_list", mirror_status::mirror_image_map_list),
        wo("mirror_image_map_update", mirror_status::mirror_image_map_update),
        wo("mirror_image_map_remove", mirror_status::mirror_image_map_remove),
    ],
};
