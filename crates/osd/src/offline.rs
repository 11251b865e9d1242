//! An OSD's folder while its daemon does not run: what is in it, for tools. Nothing is written.

use anyhow::{Context, ensure};
use cephx::CryptoKey;
use disk::{DiskError, DiskOptions, DiskStore, StoreConfig};
use objstore::ObjectStore;
use osd_core::Superblock;
use osd_core::history::Source;
use std::fs;
use std::path::{Path, PathBuf};
use types::{EntityType, OsdId, PgId};

/// Memory for reading a store: maps are read once.
const CACHE_BYTES: u64 = 32 << 20;

/// A stopped OSD. Its store stays locked as long as this lives: no daemon can start on it.
pub struct OfflineOsd {
    /// Its folder.
    pub dir: PathBuf,
    /// Who it is.
    pub superblock: Superblock,
    store: Box<dyn ObjectStore>,
}

impl OfflineOsd {
    /// Opens the OSD of a folder. One that runs is refused.
    pub fn open(dir: &Path) -> anyhow::Result<OfflineOsd> {
        ensure!(DiskStore::exists(dir), "{} holds no OSD of loligo (there is no block in it)", dir.display());
        let mut opts = DiskOptions::new(dir);
        opts.config = StoreConfig::with_memory(CACHE_BYTES);
        let store = DiskStore::open_to_read(&opts).map_err(|e| match e {
            DiskError::Busy(_) => anyhow::anyhow!("the OSD in {} runs: stop it first", dir.display()),
            e => e.into(),
        })?;
        let store: Box<dyn ObjectStore> = Box::new(store);
        let superblock = Superblock::load(&*store).with_context(|| dir.display().to_string())?;
        Ok(OfflineOsd { dir: dir.to_owned(), superblock, store })
    }
    /// Its number.
    pub fn id(&self) -> OsdId {
        self.superblock.whoami
    }
    /// Its maps.
    pub fn source(&self) -> Source<'_> {
        let name = format!("osd.{} ({})", self.id(), self.dir.display());
        Source { name, sb: self.superblock.clone(), store: &*self.store }
    }
    /// PGs that it has copies of.
    pub fn pgs(&self) -> Vec<PgId> {
        pg::stored_pgs(&*self.store).into_iter().map(|p| p.pg).collect()
    }
    /// Its key, from the keyring in its folder; `None` without one.
    pub fn key(&self) -> anyhow::Result<Option<CryptoKey>> {
        let path = self.dir.join("keyring");
        let text = match fs::read_to_string(&path) {
            Ok(t) => t,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        let ring =
            cephx::Keyring::parse(&text).with_context(|| format!("{} is no keyring", path.display()))?;
        let name = cephx::AuthName::new(EntityType::OSD, self.id().to_string());
        Ok(ring.get(&name).map(|e| e.key.clone()))
    }
}
