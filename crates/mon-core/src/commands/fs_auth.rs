//! `fs authorize`: a user for directories of one file system.

use super::auth_cmds::add_or_match;
use super::{Args, CmdResult, Ctx, fail, need, render};
use crate::auth::keyring_text;
use crate::core::MonCore;
use crate::mkfs::check_cap;
use serde_json::json;
use std::collections::BTreeMap;
use types::Errno;

/// One directory's permission letters: `r` or `rw`, then of `p`, `s`, `c`; their order is the grammar's business.
fn check_flags(cap: &str) -> Result<(), (Errno, String)> {
    if cap != "r" && !cap.starts_with("rw") {
        return Err((Errno::EINVAL, "Permission flags must start with 'r' or 'rw'.".into()));
    }
    match cap.chars().skip(2).find(|c| !matches!(c, 'c' | 'p' | 's')) {
        Some(c) => Err((Errno::EINVAL, format!("Unknown permission flag '{c}'."))),
        None => Ok(()),
    }
}

pub(super) fn authorize(core: &mut MonCore, a: &Args, _: &Ctx) -> CmdResult {
    let fs = need(a, "filesystem")?;
    let name = super::auth_cmds::entity(a)?;
    let caps = a.list("caps");
    let named = fs != "*" && fs != "all";
    let mut mds = Vec::new();
    let mut osd = "r";
    let mut at = 0;
    while at < caps.len() {
        let (path, cap) = (&caps[at], caps.get(at + 1));
        // A directory without letters gets nothing; stock says no more of it.
        let Some(cap) = cap else { break };
        at += 2;
        check_flags(cap)?;
        if cap.starts_with("rw") {
            osd = "rw";
        }
        let mut one = format!("allow {cap}");
        if named {
            one.push_str(&format!(" fsname={fs}"));
        }
        if path != "/" {
            one.push_str(&format!(" path={path}"));
        }
        if caps.get(at).is_some_and(|c| c == "root_squash") {
            one.push_str(" root_squash");
            at += 1;
        }
        mds.push(one);
    }
    if named && core.mds.peek().fs_by_name(&fs).is_none() {
        return fail(Errno::EINVAL, format!("filesystem {fs} does not exist."));
    }
    let of_fs = if named { format!(" fsname={fs}") } else { String::new() };
    let wanted = BTreeMap::from([
        ("mon".to_owned(), format!("allow r{of_fs}")),
        ("osd".to_owned(), format!("allow {osd} tag cephfs data={}", if named { &fs } else { "*" })),
        ("mds".to_owned(), mds.join(", ")),
    ]);
    for (service, cap) in &wanted {
        check_cap(service, cap).map_err(|t| (Errno::EINVAL, t))?;
    }
    let e = add_or_match(core, &name, &wanted).map_err(|(e, _)| {
        let text = format!(
            "{name} already has fs capabilities that differ from those supplied. To generate a new auth key for {name}, first remove {name} \
             from configuration files, execute 'ceph auth rm {name}', then execute this command again."
        );
        (e, text)
    })?;
    let v = json!([{"entity": name, "key": e.key.to_base64(), "caps": wanted}]);
    let mut o = render(a, &v, || keyring_text(&name, &e, false))?;
    o.wait = true;
    Ok(o)
}
