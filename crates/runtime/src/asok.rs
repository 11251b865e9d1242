//! The admin socket: a UNIX stream on which `ceph daemon` asks (`src/common/admin_socket.cc` of stock).
//!
//! A request is JSON up to a zero byte (or a newline); the answer is a big-endian length and that many bytes. `ceph daemon` first asks
//! for `get_command_descriptions`, checks what the user typed against it, then sends the command; so commands are registered with their
//! signatures. One request per connection, at most [`MAX_REQUEST`] bytes, within [`REQUEST_TIMEOUT`].

use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Longest request.
pub const MAX_REQUEST: usize = 1 << 20;
/// How long a client may take to ask.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What a handler answers: 0 or a positive errno, and the text (output, or what is wrong).
pub type Answer = (i32, String);
type Handler = Rc<dyn Fn(&Value) -> Answer>;

struct Command {
    signature: String,
    help: String,
    handler: Handler,
}

/// The commands of a process's admin socket.
#[derive(Clone, Default)]
pub struct AdminSocket {
    commands: Rc<RefCell<BTreeMap<String, Command>>>,
}

/// A bound socket; its file goes when this goes.
pub struct BoundSocket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}
impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl AdminSocket {
    /// With the commands that each process has: `help`, `get_command_descriptions`, `version`, `git_version`, `0`.
    pub fn new(version: &str) -> AdminSocket {
        let s = AdminSocket::default();
        let me = Rc::downgrade(&s.commands);
        s.register("help", "list available commands", move |_| {
            let Some(c) = me.upgrade() else { return (0, "{}".into()) };
            let rows: Map<String, Value> =
                c.borrow().iter().map(|(k, c)| (k.clone(), json!(c.help))).collect();
            (0, pretty(&Value::Object(rows)))
        });
        let me = Rc::downgrade(&s.commands);
        s.register("get_command_descriptions", "list available commands", move |_| {
            let Some(c) = me.upgrade() else { return (0, "{}".into()) };
            (0, descriptions(&c.borrow()).to_string())
        });
        let v = json!({"version": version, "release": "pacific", "release_type": "stable"}).to_string();
        s.register("version", "get ceph version", move |_| (0, v.clone()));
        let v = json!({"git_version": version}).to_string();
        s.register("git_version", "get git sha1", move |_| (0, v.clone()));
        // The version of the admin socket protocol itself.
        s.register("0", "", |_| (0, "2".into()));
        s
    }

    /// Registers a command by its signature: words, and parameters as `name=var,type=CephString[,req=false][,n=N]`. The words are the
    /// request's `prefix`. A command registered again replaces the first.
    pub fn register(&self, signature: &str, help: &str, handler: impl Fn(&Value) -> Answer + 'static) {
        let prefix =
            signature.split_whitespace().take_while(|w| !w.contains('=')).collect::<Vec<_>>().join(" ");
        let c = Command { signature: signature.into(), help: help.into(), handler: Rc::new(handler) };
        self.commands.borrow_mut().insert(prefix, c);
    }

    /// Runs one request.
    pub fn answer(&self, request: &str) -> Answer {
        let request: Value = match serde_json::from_str(request) {
            Ok(v @ Value::Object(_)) => v,
            // The oldest clients send the bare command.
            _ => json!({"prefix": request.trim()}),
        };
        let prefix = request.get("prefix").and_then(Value::as_str).unwrap_or("").to_owned();
        let handler = self.commands.borrow().get(&prefix).map(|c| c.handler.clone());
        match handler {
            Some(h) => h(&request),
            None => (22, format!("unknown command '{prefix}'")),
        }
    }

    /// Runs one request; the bytes to answer with.
    pub fn handle(&self, request: &str) -> Vec<u8> {
        let (errno, text) = self.answer(request);
        if errno == 0 {
            return text.into_bytes();
        }
        let name = io::Error::from_raw_os_error(errno).to_string();
        let name = name.split(" (os error").next().unwrap_or("").to_owned();
        format!("ERROR: ({errno}) {name}\n{text}").into_bytes()
    }

    /// Binds the socket and serves it on the current `LocalSet`.
    pub fn bind(&self, path: &Path) -> io::Result<BoundSocket> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        // A file left by a dead process is in the way; one that answers belongs to a living one.
        if path.exists() {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        let me = self.clone();
        let task = tokio::task::spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let me = me.clone();
                        tokio::task::spawn_local(async move {
                            if let Err(e) = serve(&me, stream).await {
                                tracing::debug!("admin socket: {e}");
                            }
                        });
                    }
                    Err(e) => {
                        tracing::warn!("admin socket: accept: {e}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Ok(BoundSocket { path: path.to_owned(), task })
    }
}

async fn serve(me: &AdminSocket, mut stream: UnixStream) -> io::Result<()> {
    let mut request = Vec::new();
    let read = async {
        let mut buf = [0u8; 4096];
        loop {
            let n = stream.read(&mut buf).await?;
            if n == 0 || request.len() + n > MAX_REQUEST {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            match buf[..n].iter().position(|b| *b == 0 || *b == b'\n') {
                Some(end) => {
                    request.extend_from_slice(&buf[..end]);
                    return Ok(());
                }
                None => request.extend_from_slice(&buf[..n]),
            }
        }
    };
    tokio::time::timeout(REQUEST_TIMEOUT, read).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let answer = me.handle(&String::from_utf8_lossy(&request));
    let len = u32::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

/// As stock prints JSON (4 spaces).
pub fn pretty(v: &Value) -> String {
    // Newlines inside strings are escaped, so each line's leading spaces are indentation: twice serde_json's two.
    let mut out = String::new();
    for line in format!("{v:#}").lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn descriptions(commands: &BTreeMap<String, Command>) -> Value {
    let mut out = Map::new();
    for (i, c) in commands.values().enumerate() {
        let sig: Vec<Value> = c
            .signature
            .split_whitespace()
            .map(|w| {
                if !w.contains('=') {
                    return json!(w);
                }
                let fields = w.split(',').filter_map(|f| f.split_once('='));
                Value::Object(fields.map(|(k, v)| (k.to_owned(), json!(v))).collect())
            })
            .collect();
        let row = json!({"sig": sig, "help": c.help, "module": "", "perm": "", "flags": 0});
        out.insert(format!("cmd{i:03}"), row);
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> AdminSocket {
        let s = AdminSocket::new("16.2.15");
        s.register("echo it name=what,type=CephString name=more,type=CephString,n=N,req=false", "say", |v| {
            match v["what"].as_str() {
                Some(w) => (0, w.to_owned()),
                None => (22, "say what?".into()),
            }
        });
        s
    }

    #[test]
    fn commands_are_described_run_and_refused() {
        let s = socket();
        assert_eq!(s.handle(r#"{"prefix":"echo it","what":"x"}"#), b"x");
        assert_eq!(s.handle(r#"{"prefix":"echo it"}"#), b"ERROR: (22) Invalid argument\nsay what?");
        assert!(s.handle(r#"{"prefix":"nope"}"#).starts_with(b"ERROR: (22)"));
        assert_eq!(s.handle("0"), b"2");
        let d: Value = serde_json::from_slice(&s.handle(r#"{"prefix":"get_command_descriptions"}"#)).unwrap();
        let sigs: Vec<&Value> = d.as_object().unwrap().values().map(|c| &c["sig"]).collect();
        assert!(sigs.contains(&&json!(["echo", "it", {"name": "what", "type": "CephString"},
                     {"name": "more", "type": "CephString", "n": "N", "req": "false"}])));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_socket_answers_and_a_second_owner_is_refused() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let path = std::env::temp_dir().join(format!("loligo-{}.asok", std::process::id()));
                let s = socket();
                let bound = s.bind(&path).unwrap();
                assert!(s.bind(&path).is_err());
                let mut c = UnixStream::connect(&path).await.unwrap();
                c.write_all(b"{\"prefix\":\"echo it\",\"what\":\"hello\"}\0").await.unwrap();
                let mut answer = Vec::new();
                c.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, b"\0\0\0\x05hello");
                drop(bound);
                assert!(!path.exists());
            })
            .await;
    }
}
