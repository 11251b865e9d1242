//! What `ceph mon metadata` shows of this host.

use crate::VERSION;

fn first_line(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    let value = line.split_once(['=', ':'])?.1;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Keys and values, as stock names them.
pub fn metadata() -> Vec<(String, String)> {
    let uname = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    let host = text(uname.nodename());
    let kb = |k: &str| first_line("/proc/meminfo", k).unwrap_or_default().replace(" kB", "");
    [
        ("arch", text(uname.machine())),
        ("ceph_release", "pacific".to_owned()),
        ("ceph_version", VERSION.to_owned()),
        ("ceph_version_short", "16.2.15".to_owned()),
        ("compression_algorithms", "none".to_owned()),
        ("cpu", first_line("/proc/cpuinfo", "model name").unwrap_or_default()),
        ("device_ids", String::new()),
        ("device_paths", String::new()),
        ("devices", String::new()),
        ("distro", first_line("/etc/os-release", "ID=").unwrap_or_default()),
        ("distro_description", first_line("/etc/os-release", "PRETTY_NAME=").unwrap_or_default()),
        ("distro_version", first_line("/etc/os-release", "VERSION_ID=").unwrap_or_default()),
        ("hostname", host.split('.').next().unwrap_or_default().to_owned()),
        ("kernel_description", text(uname.version())),
        ("kernel_version", text(uname.release())),
        ("mem_swap_kb", kb("SwapTotal")),
        ("mem_total_kb", kb("MemTotal")),
        ("os", text(uname.sysname())),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect()
}
