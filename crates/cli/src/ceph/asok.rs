//! `daemon NAME|SOCKET cmd…` and `--admin-daemon SOCKET cmd…`: one command over a daemon's admin socket, without the cluster.

use super::options::Globals;
use super::{matcher, settings, sigs};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use thiserror::Error;

/// Answers longer than this are none.
const ANSWER_MAX: u32 = 1 << 30;

/// Why there is no answer; shown behind `admin_socket: `.
#[derive(Debug, Error)]
enum AsokError {
    #[error("exception getting command descriptions: {0}")]
    NoDescriptions(String),
    #[error("invalid command")]
    Invalid,
    #[error("exception: {0}")]
    Broken(String),
    #[error(transparent)]
    Sig(#[from] sigs::SigError),
}

/// An I/O error as Python shows it.
pub fn io_text(e: &std::io::Error) -> String {
    let text = e.to_string();
    match e.raw_os_error() {
        Some(n) => format!("[Errno {n}] {}", text.split(" (os error").next().unwrap_or(&text)),
        None => text,
    }
}

/// The same with the file's name.
pub fn file_text(path: &str, e: &std::io::Error) -> String {
    format!("{}: {}", io_text(e), super::values::quoted(path))
}

fn exchange(path: &str, command: &str) -> Result<Vec<u8>, String> {
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut sock = UnixStream::connect(path)?;
        sock.write_all(command.as_bytes())?;
        sock.write_all(b"\0")?;
        let mut len = [0; 4];
        sock.read_exact(&mut len).map_err(|_| std::io::Error::other("no data returned from admin socket"))?;
        let len = u32::from_be_bytes(len);
        if len > ANSWER_MAX {
            return Err(std::io::Error::other(format!("{len} bytes announced")));
        }
        let mut out = Vec::new();
        sock.take(u64::from(len)).read_to_end(&mut out)?;
        if out.len() < len as usize {
            return Err(std::io::Error::other(format!("the answer ends after {} of {len} bytes", out.len())));
        }
        Ok(out)
    };
    talk().map_err(|e| io_text(&e))
}

fn ask(path: &str, words: &[String], format: Option<&str>) -> Result<Vec<u8>, AsokError> {
    let described =
        exchange(path, r#"{"prefix": "get_command_descriptions"}"#).map_err(AsokError::NoDescriptions)?;
    let found = matcher::find(&sigs::parse(&described)?, words);
    found.said.iter().for_each(|line| crate::say::aside(line));
    let mut command = found.command.ok_or(AsokError::Invalid)?;
    if let Some(f) = format {
        command.insert("format".into(), json!(f));
    }
    exchange(path, &serde_json::Value::Object(command).to_string()).map_err(AsokError::Broken)
}

/// Runs the command line if it is one for an admin socket; answers the exit code.
pub fn run(globals: &Globals, words: &[String]) -> Option<i32> {
    const EINVAL: i32 = 22;
    let first = words.first().map(String::as_str);
    let (path, words) = match (&globals.admin_daemon, first) {
        (Some(path), _) => (path.clone(), words),
        (None, Some("daemonperf")) => {
            crate::say::aside("daemonperf is not in loligo's ceph; stock's ceph has it");
            return Some(95);
        }
        (None, Some("daemon")) if words.len() < 3 => {
            crate::say::aside("daemon requires at least 3 arguments");
            return Some(EINVAL);
        }
        (None, Some("daemon")) if words[1].contains('/') => (words[1].clone(), &words[2..]),
        (None, Some("daemon")) => match settings::admin_socket_of(globals, &words[1]) {
            Ok(path) => (path, &words[2..]),
            Err(e) => {
                crate::say::aside(&format!("Can't get admin socket path: {e:#}"));
                return Some(EINVAL);
            }
        },
        _ => return None,
    };
    match ask(&path, words, globals.format.as_deref()) {
        Ok(out) => Some(super::write_out(&out)),
        Err(e) => {
            crate::say::aside(&format!("admin_socket: {e}"));
            Some(EINVAL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_early_is_an_error() {
        let path = std::env::temp_dir().join(format!("loligo-asok-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            for announced in [2u32, 9] {
                let (mut sock, _) = listener.accept().unwrap();
                sock.read_exact(&mut [0; 3]).unwrap();
                sock.write_all(&announced.to_be_bytes()).unwrap();
                sock.write_all(b"{}").unwrap();
            }
        });
        let path = path.to_str().unwrap();
        assert_eq!(exchange(path, "{}"), Ok(b"{}".to_vec()));
        assert_eq!(exchange(path, "{}"), Err("the answer ends after 2 of 9 bytes".into()));
        daemon.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
