//! The FSMap as stock prints it: JSON of `fs dump`, `fs get`, `mds stat`, and the plain form of `fs dump`.

use super::mon_cmds::{addrvec, legacy};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use types::compatset::{CompatSet, FeatureSet};
use types::fsmap::{Filesystem, FsMap};
use types::mdsmap::{FeatureBits, MdsInfo, MdsMap, state};

/// Names of client features (`CEPHFS_FEATURE_*`), by bit.
pub(super) const CLIENT_FEATURES: &[&str] = &[
    "reserved",
    "reserved",
    "reserved",
    "reserved",
    "reserved",
    "jewel",
    "kraken",
    "luminous",
    "mimic",
    "reply_encoding",
    "reclaim_client",
    "lazy_caps_wanted",
    "multi_reconnect",
    "deleg_ino",
    "metric_collect",
    "alternate_name",
    "notify_session_state",
    "op_getvxattr",
    "32bits_retry_fwd",
];

/// `feature_5`-like keys of a set of client features.
fn client_features(f: &FeatureBits) -> Value {
    let mut m = Map::new();
    for bit in f.iter() {
        m.insert(format!("feature_{bit}"), CLIENT_FEATURES.get(bit).copied().unwrap_or("unknown").into());
    }
    Value::Object(m)
}

pub(super) fn compat(c: &CompatSet) -> Value {
    let one = |f: &FeatureSet| {
        let names = f.names.iter().map(|(n, t)| (format!("feature_{n}"), Value::from(t.clone())));
        Value::Object(names.collect())
    };
    json!({"compat": one(&c.compat), "ro_compat": one(&c.ro_compat), "incompat": one(&c.incompat)})
}

pub(super) fn compat_text(c: &CompatSet) -> String {
    let one = |f: &FeatureSet| f.names.iter().map(|(n, t)| format!("{n}={t}")).collect::<Vec<_>>().join(",");
    format!(
        "compat={{{}}},rocompat={{{}}},incompat={{{}}}",
        one(&c.compat),
        one(&c.ro_compat),
        one(&c.incompat)
    )
}

/// `mds_info_t::dump`.
pub(super) fn info(i: &MdsInfo) -> Value {
    json!({
        "gid": i.global_id, "name": i.name, "rank": i.rank, "incarnation": i.inc, "state": state::name(i.state),
        "state_seq": i.state_seq, "addr": legacy(&i.addrs), "addrs": addrvec(&i.addrs),
        "join_fscid": i.join_fscid, "export_targets": i.export_targets, "features": i.mds_features, "flags": i.flags,
        "compat": compat(&i.compat),
    })
}

fn info_with_laggy(i: &MdsInfo) -> Value {
    let mut v = info(i);
    if i.is_laggy()
        && let Value::Object(m) = &mut v
    {
        let at = m.keys().position(|k| k == "export_targets").unwrap_or(m.len());
        let mut out = Map::new();
        for (n, (k, x)) in m.iter().enumerate() {
            if n == at {
                out.insert("laggy_since".into(), i.laggy_since.to_string().into());
            }
            out.insert(k.clone(), x.clone());
        }
        return Value::Object(out);
    }
    v
}

/// `MDSMap::dump`.
pub(super) fn mdsmap(m: &MdsMap) -> Value {
    let up: Map<String, Value> = m.up.iter().map(|(r, g)| (format!("mds_{r}"), (*g).into())).collect();
    let infos: Map<String, Value> =
        m.mds_info.iter().map(|(g, i)| (format!("gid_{g}"), info_with_laggy(i))).collect();
    json!({
        "epoch": m.epoch.0, "flags": m.flags, "ever_allowed_features": m.ever_allowed_features,
        "explicitly_allowed_features": m.explicitly_allowed_features, "created": m.created.to_string(),
        "modified": m.modified.to_string(), "tableserver": m.tableserver, "root": m.root,
        "session_timeout": m.session_timeout, "session_autoclose": m.session_autoclose,
        "required_client_features": client_features(&m.required_client_features),
        "max_file_size": m.max_file_size, "last_failure": m.last_failure.0,
        "last_failure_osd_epoch": m.last_failure_osd_epoch.0, "compat": compat(&m.compat), "max_mds": m.max_mds,
        "in": m.in_ranks, "up": up, "failed": m.failed, "damaged": m.damaged, "stopped": m.stopped, "info": infos,
        "data_pools": m.data_pools, "metadata_pool": m.metadata_pool, "enabled": m.enabled, "fs_name": m.fs_name,
        "balancer": m.balancer, "standby_count_wanted": m.standby_count_wanted.max(0),
    })
}

/// `Filesystem::dump`.
pub(super) fn filesystem(f: &Filesystem) -> Value {
    let mut v = json!({"mdsmap": mdsmap(&f.mds_map), "id": f.fscid});
    if f.mirrored
        && let Value::Object(m) = &mut v
    {
        let peers: Map<String, Value> = f
            .mirror_peers
            .iter()
            .map(|p| {
                let remote =
                    json!({"client_name": p.client_name, "cluster_name": p.cluster_name, "fs_name": p.fs_name});
                (p.uuid.clone(), json!({"remote": remote}))
            })
            .collect();
        m.insert("mirror_info".into(), json!({"peers": peers}));
    }
    v
}

/// `FSMap::dump`.
pub(super) fn fsmap(m: &FsMap) -> Value {
    let standbys: Vec<Value> = m
        .standby_daemons
        .iter()
        .map(|(gid, i)| {
            let mut v = info_with_laggy(i);
            v["epoch"] = m.standby_epochs.get(gid).map_or(0, |e| e.0).into();
            v
        })
        .collect();
    json!({
        "epoch": m.epoch.0, "default_fscid": m.legacy_client_fscid, "compat": compat(&m.default_compat),
        "feature_flags": {"enable_multiple": m.enable_multiple, "ever_enabled_multiple": m.ever_enabled_multiple},
        "standbys": standbys, "filesystems": m.filesystems.values().map(filesystem).collect::<Vec<_>>(),
    })
}

fn list<T: std::fmt::Display>(l: impl IntoIterator<Item = T>) -> String {
    l.into_iter().map(|x| x.to_string()).collect::<Vec<_>>().join(",")
}

/// `[mds.a{0:4123} state up:active seq 3 addr ... compat {c=[1],r=[1],i=[7ff]}]`.
pub(super) fn info_line(i: &MdsInfo) -> String {
    let mut s = format!(
        "[mds.{}{{{}:{}}} state {} seq {}",
        i.name,
        i.rank,
        i.global_id,
        state::name(i.state),
        i.state_seq
    );
    if i.is_laggy() {
        let _ = write!(s, " laggy since {}", i.laggy_since);
    }
    if !i.export_targets.is_empty() {
        let _ = write!(s, " export targets {}", list(&i.export_targets));
    }
    if i.is_frozen() {
        s.push_str(" frozen");
    }
    let _ = write!(s, " addr {}", i.addrs);
    if i.join_fscid >= 0 {
        let _ = write!(s, " join_fscid={}", i.join_fscid);
    }
    let _ = write!(
        s,
        " compat {{c=[{:x}],r=[{:x}],i=[{:x}]}}]",
        i.compat.compat.mask, i.compat.ro_compat.mask, i.compat.incompat.mask
    );
    s
}

/// The lines of one file system.
pub(super) fn filesystem_text(f: &Filesystem) -> String {
    let m = &f.mds_map;
    let mut s = format!("Filesystem '{}' ({})\n", m.fs_name, f.fscid);
    let features: Vec<String> = m
        .required_client_features
        .iter()
        .map(|b| format!("{b}={}", CLIENT_FEATURES.get(b).copied().unwrap_or("unknown")))
        .collect();
    let up: Vec<String> = m.up.iter().map(|(r, g)| format!("{r}={g}")).collect();
    let pools: Vec<String> = m.data_pools.iter().map(i64::to_string).collect();
    let rows: [(&str, String); 25] = [
        ("fs_name", m.fs_name.clone()),
        ("epoch", m.epoch.to_string()),
        ("flags", format!("{:x}", m.flags)),
        ("created", m.created.to_string()),
        ("modified", m.modified.to_string()),
        ("tableserver", m.tableserver.to_string()),
        ("root", m.root.to_string()),
        ("session_timeout", m.session_timeout.to_string()),
        ("session_autoclose", m.session_autoclose.to_string()),
        ("max_file_size", m.max_file_size.to_string()),
        ("required_client_features", format!("{{{}}}", features.join(","))),
        ("last_failure", m.last_failure.to_string()),
        ("last_failure_osd_epoch", m.last_failure_osd_epoch.to_string()),
        ("compat", compat_text(&m.compat)),
        ("max_mds", m.max_mds.to_string()),
        ("in", list(&m.in_ranks)),
        ("up", format!("{{{}}}", up.join(","))),
        ("failed", list(&m.failed)),
        ("damaged", list(&m.damaged)),
        ("stopped", list(&m.stopped)),
        ("data_pools", format!("[{}]", pools.join(","))),
        ("metadata_pool", m.metadata_pool.to_string()),
        ("inline_data", if m.inline_data_enabled { "enabled" } else { "disabled" }.to_owned()),
        ("balancer", m.balancer.clone()),
        ("standby_count_wanted", m.standby_count_wanted.max(0).to_string()),
    ];
    for (k, v) in rows {
        let _ = writeln!(s, "{k}\t{v}");
    }
    let mut daemons: Vec<&MdsInfo> = m.mds_info.values().collect();
    daemons.sort_by_key(|i| (i.rank, i.global_id));
    for i in daemons {
        s.push_str(&info_line(i));
        s.push('\n');
    }
    if f.mirrored {
        s.push_str(&mirror_text(f));
    }
    s
}

fn mirror_text(f: &Filesystem) -> String {
    let peers: Vec<String> = f
        .mirror_peers
        .iter()
        .map(|p| {
            format!(
                "[uuid={}, remote=[client_name={}, cluster_name={}, fs_name={}]]",
                p.uuid, p.client_name, p.cluster_name, p.fs_name
            )
        })
        .collect();
    format!("[peers={}]\n", peers.join(","))
}

/// `fs dump` in plain text.
pub(super) fn fsmap_text(m: &FsMap) -> String {
    let mut s = format!(
        "e{}\nenable_multiple, ever_enabled_multiple: {},{}\ndefault {}\nlegacy client fscid: {}\n \n",
        m.epoch,
        u8::from(m.enable_multiple),
        u8::from(m.ever_enabled_multiple),
        format_args!("compat: {}", compat_text(&m.default_compat)),
        m.legacy_client_fscid
    );
    if m.filesystems.is_empty() {
        s.push_str("No filesystems configured\n");
    }
    for f in m.filesystems.values() {
        s.push_str(&filesystem_text(f));
        s.push_str(" \n \n");
    }
    if !m.standby_daemons.is_empty() {
        s.push_str("Standby daemons:\n \n");
        for i in m.standby_daemons.values() {
            s.push_str(&info_line(i));
            s.push('\n');
        }
    }
    s
}
