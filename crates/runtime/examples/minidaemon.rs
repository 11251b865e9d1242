//! A daemon that does nothing but what `runtime` gives it: `minidaemon -i 0 -c CONF [-f|-d] [any flag]`. For trying `ceph daemon`,
//! signals, the pid file, the log, and the start in the background by hand and in scripts.

use runtime::common::Way;
use runtime::daemon::{Ask, PidFile, Role, Signals, become_user, daemonize};
use runtime::{AdminSocket, DaemonArgs, Log, PerfCounters, register_common};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

fn main() {
    std::process::exit(match run() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("minidaemon: {e}");
            1
        }
    });
}

fn run() -> Result<i32, Box<dyn std::error::Error>> {
    let (config, bad) = DaemonArgs::parse(std::env::args().skip(1))?.config("osd")?;
    for e in bad {
        eprintln!("warning: {e}");
    }
    let ready = match daemonize(&config)? {
        Role::Parent(code) => return Ok(code),
        Role::Daemon(ready) => ready,
    };
    become_user(&config)?;
    let log = Log::start(&config);
    let pid = config.str("pid_file");
    let _pid = if pid.is_empty() { None } else { Some(PidFile::create(Path::new(&pid))?) };
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&rt, async move {
        let path = config.str("admin_socket");
        let perf = PerfCounters::new();
        perf.counter("mini", "ticks", "Nothing").inc();
        let config = Rc::new(RefCell::new(config));
        let socket = AdminSocket::new("16.2.15");
        let (l, c) = (log.clone(), config.clone());
        let on_change = Rc::new(move |_: &[String]| {
            l.configure(&c.borrow());
            Ok(())
        });
        let way = Way { on_change, ..Way::of_table() };
        register_common(&socket, &config, Rc::new(move || perf.clone()), Some(log.clone()), way);
        let _bound = socket.bind(Path::new(&path))?;
        let mut signals = Signals::new()?;
        tracing::info!("serving");
        ready.ready();
        while signals.next().await == Ask::Reopen {
            log.reopen();
            tracing::info!("log reopened");
        }
        tracing::info!("stopping");
        Ok(0)
    })
}
