//! What an OSD tells of itself: metadata for `osd metadata`, and its place in the CRUSH map.

use runtime::Config;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a device is taken for.
const DEFAULT_CLASS: &str = "ssd";

fn first_line(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
}

/// Name of the host, up to the first dot.
pub fn short_host() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    host.split('.').next().unwrap_or_default().to_owned()
}

/// Stock's keys, as far as we know the values.
pub fn metadata(config: &Config, version: &str, size_bytes: u64) -> BTreeMap<String, String> {
    let uname = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    [
        ("arch", text(uname.machine())),
        ("ceph_release", "pacific".to_owned()),
        ("ceph_version", version.to_owned()),
        ("ceph_version_short", "16.2.15".to_owned()),
        ("cpu", first_line("/proc/cpuinfo", "model name").unwrap_or_default()),
        ("distro", first_line("/etc/os-release", "ID=").unwrap_or_default()),
        ("distro_description", first_line("/etc/os-release", "PRETTY_NAME=").unwrap_or_default()),
        ("distro_version", first_line("/etc/os-release", "VERSION_ID=").unwrap_or_default()),
        ("hostname", short_host()),
        ("kernel_description", text(uname.version())),
        ("kernel_version", text(uname.release())),
        ("mem_total_kb", first_line("/proc/meminfo", "MemTotal").unwrap_or_default().replace(" kB", "")),
        ("mem_swap_kb", first_line("/proc/meminfo", "SwapTotal").unwrap_or_default().replace(" kB", "")),
        ("os", text(uname.sysname())),
        ("osd_data", config.str("osd_data")),
        ("osd_journal", format!("{}/journal", config.str("osd_data"))),
        ("osd_objectstore", "loligo".to_owned()),
        ("rotational", "0".to_owned()),
        ("journal_rotational", "0".to_owned()),
        ("default_device_class", DEFAULT_CLASS.to_owned()),
        ("bluestore_bdev_size", size_bytes.to_string()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect()
}

/// The device class to claim, as stock's OSDs choose it: what a file `crush_device_class` in the data folder says, else by the
/// device; none (empty) where the operator wants to keep what the map says.
pub fn device_class(config: &Config) -> String {
    if !config.bool("osd_class_update_on_start") {
        return String::new();
    }
    let file = Path::new(&config.str("osd_data")).join("crush_device_class");
    let text = fs::read_to_string(file).unwrap_or_default();
    match text.trim() {
        "" => DEFAULT_CLASS.to_owned(),
        class => class.to_owned(),
    }
}

/// `crush_location` by the configuration (`root=default host=a`), else this host under the default root.
pub fn crush_location(config: &Config) -> BTreeMap<String, String> {
    if !config.bool("osd_crush_update_on_start") {
        return BTreeMap::new();
    }
    let text = config.str("crush_location");
    let given: BTreeMap<String, String> = text
        .split([' ', ',', ';', '\t'])
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
        .collect();
    if !given.is_empty() {
        return given;
    }
    [("root".to_owned(), "default".to_owned()), ("host".to_owned(), short_host())].into()
}
