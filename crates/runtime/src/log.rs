//! Logging: `tracing` to the log file, to stderr, or both, with levels that follow `debug_*`.
//!
//! Level n of a subsystem: 0 warnings, 1 to 4 info, 5 to 14 debug, from 15 trace. Without a setting it is info. `LOLIGO_LOG`
//! (directives of `tracing-subscriber`) wins over all. The file is reopened on [`Log::reopen`] (SIGHUP, logrotate).

use crate::config::Config;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Stock subsystem to our crates.
const SUBSYSTEMS: &[(&str, &[&str])] = &[
    ("ms", &["net", "msgr"]),
    ("auth", &["cephx"]),
    ("mon", &["mon", "mon_core"]),
    ("paxos", &["quorum"]),
    ("osd", &["osd", "osd_core", "osd_ops", "pg"]),
    ("objclass", &["cls"]),
    ("journal", &["disk"]),
    ("filestore", &["store_core"]),
    ("bluestore", &["store_core", "disk"]),
    ("asok", &["runtime::asok"]),
];

/// True for an option that says what is logged, and where to ([`Log::configure`]).
pub fn is_of_log(name: &str) -> bool {
    matches!(name, "log_file" | "log_to_file" | "log_to_stderr")
        || name.strip_prefix("debug_").is_some_and(|n| SUBSYSTEMS.iter().any(|(s, _)| *s == n))
}

fn level(n: u8) -> &'static str {
    match n {
        0 => "warn",
        1..=4 => "info",
        5..=14 => "debug",
        _ => "trace",
    }
}

fn filter(config: &Config) -> EnvFilter {
    if let Ok(s) = std::env::var("LOLIGO_LOG") {
        return EnvFilter::new(s);
    }
    let mut directives = vec!["info".to_owned()];
    for (subsystem, crates) in SUBSYSTEMS {
        if config.get(&format!("debug_{subsystem}")).is_some() {
            let l = level(config.debug_level(subsystem, 1));
            directives.extend(crates.iter().map(|c| format!("{c}={l}")));
        }
    }
    EnvFilter::new(directives.join(","))
}

struct Stamp;
impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", crate::system::System::now())
    }
}

#[derive(Debug, Default)]
struct Sinks {
    path: Option<PathBuf>,
    file: Option<File>,
    stderr: bool,
}

/// Where lines go.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Sinks>>);

impl Output {
    fn sinks(&self) -> std::sync::MutexGuard<'_, Sinks> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut s = self.sinks();
        if s.stderr {
            // A log that cannot be written must not stop the daemon.
            let _ = io::stderr().write_all(buf);
        }
        if let Some(f) = &mut s.file {
            let _ = f.write_all(buf);
        }
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl<'a> MakeWriter<'a> for Output {
    type Writer = Output;
    fn make_writer(&'a self) -> Output {
        self.clone()
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// A handle on the process's log.
#[derive(Clone)]
pub struct Log {
    output: Output,
    filter: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

impl Log {
    /// Takes over what the monitors' configuration says, and what it says of the log.
    pub fn follow(&self, config: &RefCell<Config>, central: &BTreeMap<String, String>) {
        let changed = config.borrow_mut().set_mon_values(central);
        if changed.iter().any(|n| is_of_log(n)) {
            self.configure(&config.borrow());
        }
    }
    /// Installs the process's logger as configured. A file that cannot be opened is reported, and stderr used in its place.
    pub fn start(config: &Config) -> Log {
        let output = Output::default();
        let (layer, handle) = reload::Layer::new(filter(config));
        let fmt =
            tracing_subscriber::fmt::layer().with_writer(output.clone()).with_ansi(false).with_timer(Stamp);
        // A second start in one process (tests) keeps the first logger.
        let _ = tracing_subscriber::registry().with(layer).with(fmt).try_init();
        let log = Log { output, filter: handle };
        log.configure(config);
        log
    }

    /// Follows a changed configuration.
    pub fn configure(&self, config: &Config) {
        let _ = self.filter.reload(filter(config));
        let path = config.str("log_file");
        let path = (config.bool("log_to_file") && !path.is_empty()).then(|| PathBuf::from(path));
        let mut s = self.output.sinks();
        s.stderr = config.bool("log_to_stderr");
        if s.path != path || s.file.is_none() {
            s.path = path;
            drop(s);
            self.reopen();
        }
    }

    /// Opens the file anew, under its name.
    pub fn reopen(&self) {
        let mut s = self.output.sinks();
        s.file = None;
        if let Some(p) = s.path.clone() {
            match open(&p) {
                Ok(f) => s.file = Some(f),
                Err(e) => {
                    s.stderr = true;
                    let _ = writeln!(
                        io::stderr(),
                        "cannot open log file {}: {e}; logging to stderr",
                        p.display()
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Identity, Source};

    #[test]
    fn lines_go_to_the_file_and_follow_a_rename_after_reopen() {
        let dir = std::env::temp_dir().join(format!("loligo-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.log");
        let mut c = Config::new(Identity::new("osd", "1"));
        c.set(Source::CmdLine, "log_file", path.to_str().unwrap()).unwrap();
        c.set(Source::CmdLine, "debug_osd", "20").unwrap();
        let log = Log::start(&c);
        tracing::trace!(target: "osd_core", "first");
        std::fs::rename(&path, dir.join("a.log.1")).unwrap();
        log.reopen();
        tracing::info!("second");
        tracing::debug!("silent");
        let old = std::fs::read_to_string(dir.join("a.log.1")).unwrap();
        let new = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(old.contains("first") && old.contains("TRACE"), "{old}");
        assert!(new.contains("second") && !new.contains("silent"), "{new}");
    }
}
