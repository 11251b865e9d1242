//! The principals of a rebuilt cluster: keys of OSDs from their folders, all others from keyrings.

use anyhow::{Context, bail};
use cephx::{AuthName, CryptoKey, EntityAuth, KeyType, Keyring};
use osd::offline::OfflineOsd;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use types::{EntityType, OsdId};

/// Principals, and where each was found.
#[derive(Default)]
pub struct Keys {
    all: BTreeMap<AuthName, (EntityAuth, PathBuf)>,
    named: Vec<PathBuf>,
    /// OSDs without a key in their folder.
    pub osds_without: Vec<OsdId>,
}

impl Keys {
    /// The OSDs' own.
    pub fn of_osds<'a>(osds: impl Iterator<Item = &'a OfflineOsd>) -> anyhow::Result<Keys> {
        let mut keys = Keys::default();
        for o in osds {
            let name = AuthName::new(EntityType::OSD, o.id().to_string());
            match o.key()? {
                Some(key) => {
                    let auth = EntityAuth::new(key, mon_core::stock_caps(&name));
                    keys.all.insert(name, (auth, o.dir.join("keyring")));
                }
                None => keys.osds_without.push(o.id()),
            }
        }
        Ok(keys)
    }

    /// Those of keyrings: `named` must be there and count before all others, `found` may be there.
    pub fn add_files(&mut self, named: &[PathBuf], found: &[PathBuf]) -> anyhow::Result<()> {
        self.named = named.to_vec();
        for path in named {
            let ring = read(path)?.with_context(|| format!("there is no {}", path.display()))?;
            for (name, auth) in ring.entries {
                self.add(name, auth, path, true)?;
            }
        }
        for path in found.iter().filter(|p| !named.contains(p)) {
            let Some(ring) = read(path)? else { continue };
            for (name, auth) in ring.entries {
                self.add(name, auth, path, false)?;
            }
        }
        let all = &self.all;
        self.osds_without.retain(|o| !all.contains_key(&AuthName::new(EntityType::OSD, o.to_string())));
        Ok(())
    }

    fn add(&mut self, name: AuthName, mut auth: EntityAuth, path: &Path, named: bool) -> anyhow::Result<()> {
        if auth.key.is_empty() {
            return Ok(());
        }
        auth.pending_key = CryptoKey::default();
        if name.kind == EntityType::MON {
            // All monitors share one, whatever it is called.
            auth.caps = EntityAuth::new(CryptoKey::default(), mon_core::stock_caps(&name)).caps;
        }
        match self.all.get_mut(&name) {
            Some((have, _)) if have.key == auth.key => {
                if have.caps.is_empty() {
                    have.caps = auth.caps;
                }
            }
            // What the operator names counts before what lies about.
            Some((_, from)) if !named && self.named.contains(from) => {}
            Some((_, from)) => bail!(
                "{} and {} have different keys for {name}: name the right one as --keyring, or move the wrong one away",
                from.display(),
                path.display()
            ),
            None => drop(self.all.insert(name, (auth, path.to_owned()))),
        }
        Ok(())
    }

    /// Adds what cannot be missing; answers the principals whose keys are new.
    pub fn complete(&mut self) -> anyhow::Result<Vec<AuthName>> {
        for (name, (auth, _)) in &mut self.all {
            if auth.caps.is_empty() {
                auth.caps = EntityAuth::new(CryptoKey::default(), mon_core::stock_caps(name)).caps;
            }
        }
        let admin = AuthName::new(EntityType::CLIENT, "admin");
        if !self.all.contains_key(&admin) {
            bail!(
                "no keyring with client.admin: give it as --keyring. If it is lost: ceph-authtool --create-keyring FILE --gen-key \
                 -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' makes a new one"
            );
        }
        let mut made = Vec::new();
        let mon = AuthName::new(EntityType::MON, "");
        if !self.all.contains_key(&mon) {
            let key = CryptoKey::generate(KeyType::Aes, &runtime::System);
            let auth = EntityAuth::new(key, mon_core::stock_caps(&mon));
            self.all.insert(mon.clone(), (auth, PathBuf::new()));
            made.push(mon);
        }
        Ok(made)
    }

    /// The monitors'.
    pub fn mon(&self) -> Option<&EntityAuth> {
        self.all.get(&AuthName::new(EntityType::MON, "")).map(|(a, _)| a)
    }
    /// All of them.
    pub fn list(&self) -> Vec<(AuthName, EntityAuth)> {
        self.all.iter().map(|(n, (a, _))| (n.clone(), a.clone())).collect()
    }
    /// Names of those that may do nothing: their keyrings do not say what they may.
    pub fn without_caps(&self) -> Vec<&AuthName> {
        self.all.iter().filter(|(_, (a, _))| a.caps.is_empty()).map(|(n, _)| n).collect()
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Keyring>> {
    let text = match fs::read_to_string(path) {
        Ok(t) => t,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    let ring = Keyring::parse(&text).with_context(|| format!("{} is no keyring", path.display()))?;
    Ok(Some(ring))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(PathBuf);
    impl Files {
        fn new(name: &str) -> Files {
            let dir = std::env::temp_dir().join(format!("loligo-keys-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Files(dir)
        }
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }
    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
    fn key() -> String {
        CryptoKey::generate(KeyType::Aes, &runtime::System).to_base64()
    }
    fn caps(keys: &Keys, name: &str) -> BTreeMap<String, Option<String>> {
        let (auth, _) = &keys.all[&AuthName::parse(name).unwrap()];
        auth.caps.keys().map(|s| (s.clone(), auth.caps_text(s))).collect()
    }

    #[test]
    fn daemons_get_stocks_capabilities_and_others_only_those_that_are_written() {
        let f = Files::new("caps");
        let admin = key();
        let one = f.write("one", &format!("[client.admin]\nkey = {admin}\n[mds.x]\nkey = {}\n", key()));
        let two = f.write(
            "two",
            &format!(
                "[client.admin]\nkey = {admin}\ncaps mon = \"allow r\"\n[client.u]\nkey = {}\n[mon.]\nkey = {}\n",
                key(),
                key()
            ),
        );
        let mut keys = Keys::default();
        keys.add_files(&[one], &[two, f.0.join("not there")]).unwrap();
        assert!(keys.complete().unwrap().is_empty());
        assert_eq!(
            caps(&keys, "client.admin")["mon"].as_deref(),
            Some("allow r"),
            "as one of the files says"
        );
        assert_eq!(caps(&keys, "mds.x")["mon"].as_deref(), Some("allow profile mds"));
        assert_eq!(caps(&keys, "mon.")["mon"].as_deref(), Some("allow *"));
        let names: Vec<String> = keys.without_caps().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["client.u"]);
    }

    #[test]
    fn two_keys_of_one_name_are_refused_and_so_is_a_cluster_without_an_administrator() {
        let f = Files::new("refusals");
        let one = f.write("one", &format!("[client.u]\nkey = {}\n", key()));
        let two = f.write("two", &format!("[client.u]\nkey = {}\n", key()));
        let refused = |named: &[PathBuf], found: &[PathBuf]| {
            Keys::default().add_files(named, found).unwrap_err().to_string()
        };
        assert!(refused(&[one.clone(), two.clone()], &[]).contains("different keys for client.u"));
        assert!(refused(&[], &[one.clone(), two.clone()]).contains("different keys"));
        assert!(
            Keys::default().add_files(std::slice::from_ref(&one), &[two]).is_ok(),
            "the named one counts"
        );
        assert!(refused(&[f.0.join("none")], &[]).contains("there is no"));
        let mut keys = Keys::default();
        keys.add_files(&[one], &[]).unwrap();
        assert!(keys.complete().unwrap_err().to_string().contains("no keyring with client.admin"));
    }

    #[test]
    fn the_monitors_get_a_new_key_when_theirs_is_lost() {
        let f = Files::new("mon");
        let one = f.write("one", &format!("[client.admin]\nkey = {}\n", key()));
        let mut keys = Keys::default();
        keys.add_files(&[one], &[]).unwrap();
        let made: Vec<String> = keys.complete().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(made, ["mon."]);
        assert!(keys.mon().is_some());
    }
}
