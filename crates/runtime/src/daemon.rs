//! Being a daemon: going to the background, pid file, user, signals.
//!
//! Stock forks before it starts and its parent waits until the child is ready. Here the program starts itself again in a new session
//! (no `fork` in a process that may have threads); the parent waits for one line on a pipe, and exits as the child says.

use crate::config::Config;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Tells the second start that it is the child, and of whom: what that one starts later inherits the variable too.
const CHILD_ENV: &str = "LOLIGO_DAEMON_CHILD";

/// Why a daemon could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another process holds the pid file.
    #[error("already running as pid {0}")]
    Running(u32),
    /// No such user or group.
    #[error("unknown {what} '{name}'")]
    NoUser {
        /// `user` or `group`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

fn io_err(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { what, source }
}

/// What this process is after [`daemonize`].
#[must_use]
pub enum Role {
    /// Goes on as the daemon; call [`Ready::ready`] once it serves.
    Daemon(Ready),
    /// The waiting parent: exit with this code.
    Parent(i32),
}

/// The daemon's line to its waiting parent, if there is one.
#[derive(Debug)]
pub struct Ready {
    child: bool,
}
impl Ready {
    /// Lets the parent exit with success and leaves the terminal.
    pub fn ready(self) {
        if !self.child {
            return;
        }
        let _ = io::stdout().write_all(b"ready\n").and_then(|()| io::stdout().flush());
        if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
            let _ = rustix::stdio::dup2_stderr(&null);
        }
    }
}

/// Goes to the background when the configuration says so. To be called before any thread is started or runtime is built.
pub fn daemonize(config: &Config) -> Result<Role, StartError> {
    let parent = rustix::process::getppid().map(|p| p.as_raw_nonzero().to_string());
    if parent.is_some() && std::env::var(CHILD_ENV).ok() == parent {
        let _ = rustix::process::setsid();
        return Ok(Role::Daemon(Ready { child: true }));
    }
    if !config.bool("daemonize") {
        return Ok(Role::Daemon(Ready { child: false }));
    }
    let exe = std::env::current_exe().map_err(io_err("cannot find the own program"))?;
    let mut args = std::env::args_os();
    let mut command = Command::new(exe);
    if let Some(name) = args.next() {
        // The program looks at the name it was called by.
        command.arg0(name);
    }
    let mut child = command
        .args(args)
        .env(CHILD_ENV, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io_err("cannot start in the background"))?;
    let out = child.stdout.take().expect("stdout was piped");
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if line == "ready" {
            return Ok(Role::Parent(0));
        }
        println!("{line}");
    }
    let status = child.wait().map_err(io_err("cannot wait for the daemon"))?;
    Ok(Role::Parent(status.code().unwrap_or(1)))
}

/// Lets this process open as many files as it may: a monitor holds two sockets for each OSD, and shells start programs with 1024.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What is refused leaves the limit that there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The pid file; removed when this goes, if it is still ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}
impl PidFile {
    /// Writes the process id, unless a living process holds the file.
    pub fn create(path: &Path) -> Result<PidFile, StartError> {
        if let Some(pid) = read_pid(path)
            && pid != std::process::id()
            && Path::new(&format!("/proc/{pid}")).exists()
            && same_program(pid)
        {
            return Err(StartError::Running(pid));
        }
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(io_err("cannot make the pid file's folder"))?;
        }
        // (Whoever started us may have written it already, and look at it: it is never empty in between.)
        if read_pid(path) != Some(std::process::id()) {
            std::fs::write(path, format!("{}\n", std::process::id()))
                .map_err(io_err("cannot write the pid file"))?;
        }
        Ok(PidFile { path: path.to_owned() })
    }
}
impl Drop for PidFile {
    fn drop(&mut self) {
        if read_pid(&self.path) == Some(std::process::id()) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// After a crash the number may be another program's by now.
fn same_program(pid: u32) -> bool {
    let exe = |p: &str| std::fs::read_link(format!("/proc/{p}/exe")).ok();
    exe(&pid.to_string()) == exe("self")
}

/// Third and fourth field of an entry of passwd or group.
fn lookup(text: &str, name: &str) -> Option<(u32, Option<u32>)> {
    text.lines().find_map(|l| {
        let f: Vec<&str> = l.split(':').collect();
        let id = f.get(2)?.parse().ok()?;
        (f[0] == name || f[2] == name).then(|| (id, f.get(3).and_then(|g| g.parse().ok())))
    })
}

/// Number of a user or group, by name or number, in `/etc/passwd` or `/etc/group`.
pub fn id_in(database: &Path, name: &str) -> Option<u32> {
    lookup(&std::fs::read_to_string(database).ok()?, name).map(|(id, _)| id)
}

/// Becomes `setuser` and `setgroup`. To be called before any thread is started; a no-op when the process is that already.
pub fn become_user(config: &Config) -> Result<(), StartError> {
    let (user, group) = (config.str("setuser"), config.str("setgroup"));
    let read = |p: &str| std::fs::read_to_string(p).unwrap_or_default();
    let mut uid = None;
    let mut gid = None;
    if !user.is_empty() {
        let (u, g) =
            lookup(&read("/etc/passwd"), &user).ok_or(StartError::NoUser { what: "user", name: user })?;
        (uid, gid) = (Some(u), g);
    }
    if !group.is_empty() {
        let (g, _) =
            lookup(&read("/etc/group"), &group).ok_or(StartError::NoUser { what: "group", name: group })?;
        gid = Some(g);
    }
    let refused = |e: rustix::io::Errno| StartError::Io { what: "cannot change the user", source: e.into() };
    if let Some(g) = gid
        && rustix::process::getgid().as_raw() != g
    {
        let g = rustix::process::Gid::from_raw(g);
        rustix::thread::set_thread_groups(&[g]).map_err(refused)?;
        rustix::thread::set_thread_gid(g).map_err(refused)?;
    }
    if let Some(u) = uid
        && rustix::process::getuid().as_raw() != u
    {
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(u)).map_err(refused)?;
    }
    Ok(())
}

/// What the outside asks of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: reopen logs.
    Reopen,
}

/// The signals of a daemon.
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}
impl Signals {
    /// Takes the signals over; inside a tokio runtime.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
    /// Waits for the next one.
    pub async fn next(&mut self) -> Ask {
        tokio::select! {
            _ = self.term.recv() => Ask::Stop,
            _ = self.int.recv() => Ask::Stop,
            _ = self.hup.recv() => Ask::Reopen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_ours_until_we_go_and_a_dead_ones_is_taken_over() {
        let path = std::env::temp_dir().join(format!("loligo-pid-{}", std::process::id()));
        std::fs::write(&path, "4194399\n").unwrap();
        let p = PidFile::create(&path).unwrap();
        assert_eq!(read_pid(&path), Some(std::process::id()));
        drop(p);
        assert!(!path.exists());
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let t = "root:x:0:0:r:/root:/bin/sh\nceph:x:64045:64046::/:/bin/false\n";
        assert_eq!(lookup(t, "ceph"), Some((64045, Some(64046))));
        assert_eq!(lookup(t, "0"), Some((0, Some(0))));
        assert_eq!(lookup(t, "nobody"), None);
    }
}
