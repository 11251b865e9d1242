//! `fs mirror *`: marks of a file system that the mirror daemon reads; nothing is mirrored here.

use super::fs_cmds::fs_arg;
use super::{Args, CmdResult, Ctx, done, fail, need, text_outs};
use crate::core::MonCore;
use types::Errno;
use types::fsmap::MirrorPeer;

/// Peers of one file system, and bytes of one of their texts.
const PEERS_MAX: usize = 64;
const TEXT_MAX: usize = 1024;

fn mirrored(core: &MonCore, fscid: i32) -> bool {
    core.mds.peek().filesystems.get(&fscid).is_some_and(|f| f.mirrored)
}

pub(super) fn enable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    if mirrored(core, fscid) {
        return text_outs("", "");
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mirrored = true;
    }
    done("")
}

pub(super) fn disable(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    if !mirrored(core, fscid) {
        return text_outs("", "");
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mirrored = false;
        f.mirror_peers.clear();
    }
    done("")
}

pub(super) fn peer_add(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    if !mirrored(core, fscid) {
        return fail(Errno::EINVAL, format!("Mirroring not enabled for filesystem '{}'", a.text("fs_name")));
    }
    let (uuid, spec, fs) = (need(a, "uuid")?, need(a, "remote_cluster_spec")?, need(a, "remote_fs_name")?);
    let Some((client, cluster)) = spec.split_once('@').filter(|(c, s)| !c.is_empty() && !s.is_empty()) else {
        return fail(Errno::EINVAL, "invalid remote cluster spec -- should be <client>@<cluster>");
    };
    if [&uuid, &spec, &fs].iter().any(|t| t.len() > TEXT_MAX) {
        return fail(Errno::EINVAL, "the peer's description is too long");
    }
    let peer =
        MirrorPeer { uuid, client_name: client.to_owned(), cluster_name: cluster.to_owned(), fs_name: fs };
    let peers = core.mds.peek().filesystems.get(&fscid).map_or(&[][..], |f| &f.mirror_peers);
    let same = |p: &MirrorPeer| {
        p.uuid == peer.uuid
            || (&p.client_name, &p.cluster_name, &p.fs_name)
                == (&peer.client_name, &peer.cluster_name, &peer.fs_name)
    };
    if peers.iter().any(same) {
        return text_outs("", "peer already exists");
    }
    if peers.len() >= PEERS_MAX {
        return fail(Errno::EINVAL, format!("there are {PEERS_MAX} peers already"));
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mirror_peers.push(peer);
        f.mirror_peers.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    }
    done("")
}

pub(super) fn peer_remove(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fscid = fs_arg(core, a)?;
    if !mirrored(core, fscid) {
        return fail(Errno::EINVAL, format!("Mirroring not enabled for filesystem '{}'", a.text("fs_name")));
    }
    let uuid = need(a, "uuid")?;
    let has = core
        .mds
        .peek()
        .filesystems
        .get(&fscid)
        .is_some_and(|f| f.mirror_peers.iter().any(|p| p.uuid == uuid));
    if !has {
        return text_outs("", format!("cannot find peer with uuid: {uuid}"));
    }
    if let Some(f) = core.mds.next().filesystems.get_mut(&fscid) {
        f.mirror_peers.retain(|p| p.uuid != uuid);
    }
    done("")
}
