//! `--mkfs`: an empty store with the OSD's identity in it.

use anyhow::{Context, ensure};
use cephx::{AuthName, CryptoKey, KeyType};
use disk::{DiskOptions, DiskStore};
use objstore::{CommitToken, ObjectStore};
use osd_core::Superblock;
use runtime::{Config, DaemonArgs, System};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use types::{EntityType, Fsid, OsdId};

/// The store of an OSD by its configuration.
pub fn disk_options(config: &Config) -> DiskOptions {
    let mut opts = DiskOptions::new(config.str("osd_data"));
    let memory = config.uint("osd_memory_target").clamp(64 << 20, 64 << 30);
    // Caches are a part of the process: the rest is for sessions, PG logs, the allocator's slack.
    opts.config = store_config(memory);
    opts.inject_delay = config.secs("osd_journal_inject_delay");
    opts
}

fn store_config(memory_bytes: u64) -> disk::StoreConfig {
    disk::StoreConfig::with_memory((memory_bytes / 8).min(512 << 20))
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut f = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .with_context(|| path.display().to_string())?;
    f.write_all(text.as_bytes())?;
    f.sync_all()?;
    Ok(())
}

/// Makes the store. What is there already is refused, never overwritten.
pub fn mkfs(args: &DaemonArgs, config: &Config, number: i32) -> anyhow::Result<()> {
    let dir = PathBuf::from(config.str("osd_data"));
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let fsid: Fsid =
        config.str("fsid").parse().ok().context("--mkfs needs the cluster's fsid (in the conf)")?;
    let osd_fsid = match config.str("osd_uuid").as_str() {
        text if !text.is_empty() => {
            text.parse().ok().with_context(|| format!("osd_uuid {text:?} is no UUID"))?
        }
        _ => {
            let mut b = [0; 16];
            System::random(&mut b);
            Fsid::from_random(b)
        }
    };
    let mut opts = disk_options(config);
    opts.data_bytes = config.uint("bluestore_block_size");
    let journal = PathBuf::from(config.str("osd_journal"));
    if journal != dir.join("journal") && config.source("osd_journal") == Some(runtime::Source::CmdLine) {
        opts.journal = Some(journal);
    }
    opts.journal_bytes = journal_bytes(config);
    DiskStore::mkfs(&opts, osd_fsid)?;
    let mut store = DiskStore::open(&opts, Arc::new(|| {}))?;
    let txn = Superblock::mkfs(fsid, osd_fsid, OsdId(number));
    store.queue(txn, CommitToken(1)).context("the superblock")?;
    let done = store.close(Duration::from_secs(30));
    ensure!(done.contains(&CommitToken(1)), "the superblock did not become durable");
    for (name, text) in [
        ("ceph_fsid", format!("{fsid}\n")),
        ("fsid", format!("{osd_fsid}\n")),
        ("whoami", format!("{number}\n")),
        ("type", "loligo\n".to_owned()),
        ("magic", "ceph osd volume v026\n".to_owned()),
    ] {
        write_new(&dir.join(name), &text, 0o644)?;
    }
    make_key(args, config, number)?;
    // `ready` comes last, as in stock: it says that all the above is there.
    write_new(&dir.join("ready"), "ready\n", 0o644)?;
    disk::sync_dir(&dir)?;
    Ok(())
}

/// A journal holds a second or two of writes; stock's default of 5 GiB is for disks that seek.
fn journal_bytes(config: &Config) -> u64 {
    match config.source("osd_journal_size") {
        None | Some(runtime::Source::Default) => 256 << 20,
        Some(_) => config.uint("osd_journal_size").clamp(16, 65_536) << 20,
    }
}

/// `--mkkey`: a key of its own, when the keyring has none.
fn make_key(args: &DaemonArgs, config: &Config, number: i32) -> anyhow::Result<()> {
    if !args.has("mkkey") {
        return Ok(());
    }
    let name = AuthName::new(EntityType::OSD, number.to_string());
    if monc::conf::load_key(config, &name).is_ok() {
        return Ok(());
    }
    let list = config.str("keyring");
    let path = PathBuf::from(list.split([',', ';']).next().unwrap_or_default().trim());
    let key = CryptoKey::generate(KeyType::Aes, &System);
    write_new(&path, &format!("[{name}]\n\tkey = {}\n", key.to_base64()), 0o600)
}
