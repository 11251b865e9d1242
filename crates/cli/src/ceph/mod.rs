//! `loligo ceph …`: the administration client, with the command line, output and exit codes of stock's `ceph` 16.2.
//!
//! What commands there are the services say themselves (`get_command_descriptions`), as to stock's client. One thread, no Python: the
//! answer to `ceph -s` is there in a few milliseconds. Not here: the interactive mode, `daemonperf`, `--block`.

mod asok;
mod errnos;
mod help;
mod matcher;
mod options;
mod session;
mod settings;
mod sigs;
mod values;
mod watch;

#[cfg(test)]
mod tests;

use crate::say::aside;
use bytes::Bytes;
use matcher::Target;
use monc::Answer;
use options::Globals;
use serde_json::{Map, Value, json};
use session::Session;
use settings::Settings;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

const EINVAL: i32 = 22;
const ETIMEDOUT: i32 = 110;
/// Seconds to reach the cluster for `-h` and `--completion`, whose reader does not want to wait.
const HELP_SECS: u64 = 5;
const COMPLETION_SECS: u64 = 3;

/// Writes to stdout.
fn put(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// The same. A reader that is gone is no error; a full disk is, and the exit code is 1.
fn write_out(bytes: &[u8]) -> i32 {
    match put(bytes) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            aside(&format!("stdout: {e}"));
            1
        }
        _ => 0,
    }
}

/// The program; answers its exit code.
pub fn run(mut args: Vec<String>) -> i32 {
    // Stock's way: what the environment adds stands behind, but before options that are to be injected.
    if let Ok(more) = std::env::var("CEPH_ARGS") {
        let more = more.split_whitespace().map(str::to_owned);
        match args.iter().position(|a| a == "injectargs") {
            Some(at) => drop(args.splice(at..at, more)),
            None => args.extend(more.filter(|a| !a.contains("--admin-socket"))),
        }
    }
    let (globals, words) = match options::parse(args) {
        Ok(parsed) => parsed,
        Err(e) => {
            aside(&format!("{}ceph: error: {e}", options::help()));
            return 2;
        }
    };
    if globals.version {
        return write_out(format!("{}\n", mon::VERSION).as_bytes());
    }
    if let Some(code) = asok::run(&globals, &words) {
        return code;
    }
    let rt = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(rt) => rt,
        Err(e) => {
            aside(&format!("ceph: {e}"));
            return 1;
        }
    };
    let result = tokio::task::LocalSet::new().block_on(&rt, cluster(&globals, words));
    result.unwrap_or_else(|e| {
        aside(&format!("{e:#}"));
        1
    })
}

/// What happens with the cluster. An error is shown, with exit code 1.
async fn cluster(globals: &Globals, mut words: Vec<String>) -> anyhow::Result<i32> {
    if globals.help {
        write_out(help::general().as_bytes());
    }
    // Options behind `injectargs` are the daemon's.
    let injected = words.iter().position(|w| w == "injectargs").map(|at| words.split_off(at));
    let (conf, mut words) = settings::take_options(words);
    let settings = match Settings::read(globals, &conf) {
        Ok(s) => s,
        Err(e) => anyhow::bail!("Error initializing cluster client: {e:#}"),
    };
    drop_dashes(&mut words);
    if globals.block && matches!(&words[..], [osd, what, ..] if osd == "osd" && what.ends_with("scrub")) {
        aside("--block is not in loligo's ceph; stock's ceph has it");
        return Ok(EINVAL);
    }
    if globals.status {
        words.insert(0, "status".into());
    }
    let injected = injected.map(|mut i| {
        drop_dashes(&mut i);
        i
    });
    let is_ping = words.first().is_some_and(|w| w == "ping") && !globals.help;
    if is_ping && words.len() < 2 {
        anyhow::bail!("\"ping\" requires a monitor name as argument: \"ping mon.<id>\"");
    }
    if words.is_empty() && injected.is_none() && !(globals.help || is_watch(globals) || globals.completion) {
        aside("the interactive mode is not in loligo's ceph: give it a command (ceph -h lists them)");
        return Ok(EINVAL);
    }
    let timeout = match (globals.timeout_secs, globals.help, globals.completion) {
        (_, _, true) => Some(COMPLETION_SECS),
        (None, true, _) => Some(HELP_SECS),
        (given, _, _) => given,
    };
    let kind = words.get(1).and_then(|w| w.split_once('.')).map_or("", |(kind, _)| kind);
    let session = match Session::open(&settings, timeout, kind).await {
        Ok(s) => s,
        Err(e) => {
            aside(&e.to_string());
            return Ok(e.exit_code());
        }
    };
    if is_ping {
        return ping(&session, &words[1]).await;
    }
    let is_tell = words.first().is_some_and(|w| w == "tell");
    if globals.help || is_tell && words.get(2).is_some_and(|w| w == "help") {
        return commands_help(&session, globals, words).await;
    }
    if is_watch(globals) {
        return watch::run(&session, globals).await;
    }
    let input = match read_input(globals) {
        Ok(data) => data,
        Err((path, e)) => anyhow::bail!("Can't open input file {path}: {}", asok::file_text(&path, &e)),
    };
    let mut out_file = open_output(globals)?;
    let target =
        matcher::target(&words).map_err(|e| anyhow::anyhow!("error handling command target: {e}"))?;
    if is_tell {
        words.drain(..words.len().min(2));
        words = injected.unwrap_or(words);
        if words.is_empty() {
            aside(
                "\"ceph tell\" requires additional arguments. Try \"ceph tell <name> <command> [options...]\" instead.",
            );
            return Ok(EINVAL);
        }
    } else {
        words.extend(injected.unwrap_or_default());
    }
    let targets: Vec<Target> = if target.id == "*" {
        let ids = session.all_of(&target.kind).await?;
        ids.into_iter().map(|id| Target { kind: target.kind.clone(), id }).collect()
    } else {
        vec![target]
    };
    let many = targets.len() > 1;
    let mut exit = 0;
    for target in &targets {
        let answer = match one(&session, globals, target, &words, &input).await? {
            Step::Answer(answer) => answer,
            Step::Done => return Ok(0),
        };
        let prefix = if many && globals.out_file.is_none() {
            format!("{}.{}: ", target.kind, target.id)
        } else {
            String::new()
        };
        exit = show(globals, &answer, &prefix, &mut out_file)?.unwrap_or(exit);
    }
    if let Some(mut f) = out_file {
        f.flush()?;
    }
    Ok(exit)
}

fn drop_dashes(words: &mut Vec<String>) {
    if let Some(at) = words.iter().position(|w| w == "--") {
        words.remove(at);
    }
}

fn is_watch(g: &Globals) -> bool {
    g.watch || g.level.is_some()
}

async fn ping(session: &Session, name: &str) -> anyhow::Result<i32> {
    let Some(id) = name.strip_prefix("mon.") else {
        anyhow::bail!("\"ping\" expects a monitor to ping; try \"ping mon.<id>\"");
    };
    let all = if id == "*" { session.all_of("mon").await? } else { vec![id.to_owned()] };
    for one in all {
        let text = match session.ping(&one).await {
            Ok(text) => text,
            Err(e) if id != "*" => anyhow::bail!("[errno {}] error calling ping_monitor", e.code()),
            Err(_) => "Error connecting to monitor.".into(),
        };
        let head = if id == "*" { format!("mon.{one}\n") } else { String::new() };
        write_out(format!("{head}{text}\n").as_bytes());
    }
    Ok(0)
}

/// `-h [words]`, `-h tell X [words]`, `tell X help`.
async fn commands_help(session: &Session, globals: &Globals, mut words: Vec<String>) -> anyhow::Result<i32> {
    let is_tell = words.len() >= 2 && words[0] == "tell";
    let (target, title, colon) = if is_tell {
        let target = matcher::target(&words).unwrap_or(Target { kind: String::new(), id: String::new() });
        let known = ["mon", "osd", "mds", "mgr"].contains(&target.kind.as_str());
        let ids = if known { session.all_of(&target.kind).await? } else { Vec::new() };
        if !known || !(target.id.is_empty() || target.id == "*" || ids.contains(&target.id)) {
            aside(&format!(
                "WARN: the service id you provided does not exist. service id should be one of {}.",
                ids.join("/")
            ));
            let name = &words[1];
            aside(&format!(
                "target {name} doesn't exist; please pass correct target to tell command (e.g., mon.a, osd.1, mds.a, mgr)"
            ));
            return Ok(1);
        }
        let id = if target.id == "*" { ids.into_iter().next().unwrap_or_default() } else { target.id };
        words.drain(..2);
        if !globals.help {
            words.clear();
        }
        (Target { kind: target.kind.clone(), id }, format!("Tell {} commands", target.kind), globals.help)
    } else {
        (Target { kind: "mon".into(), id: String::new() }, "Monitor commands".to_owned(), true)
    };
    write_out(help::headline(&format!("{title}{}", if colon { ":" } else { "" })).as_bytes());
    let answer = descriptions(session, &target).await?;
    if answer.code < 0 {
        aside(&format!(
            "couldn't get command descriptions for {}.{}: {} ({})",
            target.kind, target.id, answer.outs, answer.code
        ));
        return Ok(-answer.code);
    }
    let text = help::commands(&sigs::parse(&answer.outbl)?, &words.join(" "), help::terminal_size().0);
    Ok(write_out(text.as_bytes()))
}

fn read_input(globals: &Globals) -> Result<Bytes, (String, std::io::Error)> {
    let Some(path) = &globals.in_file else { return Ok(Bytes::new()) };
    let mut data = Vec::new();
    let result = match path.as_str() {
        "-" => std::io::stdin().lock().read_to_end(&mut data).map(drop),
        path => std::fs::read(path).map(|read| data = read),
    };
    result.map(|()| data.into()).map_err(|e| (path.clone(), e))
}

/// Opens the file of `-o`, before anything is sent.
fn open_output(globals: &Globals) -> anyhow::Result<Option<Box<dyn Write>>> {
    let Some(path) = &globals.out_file else { return Ok(None) };
    if path == "-" {
        return Ok(Some(Box::new(std::io::stdout())));
    }
    let can_not =
        |e: &std::io::Error| anyhow::anyhow!("Can't open output file {path}: {}", asok::file_text(path, e));
    let file = std::fs::File::create(path).map_err(|e| can_not(&e))?;
    for (what, db, name) in
        [("user", "/etc/passwd", &globals.setuser), ("group", "/etc/group", &globals.setgroup)]
    {
        let Some(name) = name else { continue };
        let id = runtime::daemon::id_in(std::path::Path::new(db), name).ok_or_else(|| {
            anyhow::anyhow!("Failed to change {what} ownership of {path}: there is no {what} {name}")
        })?;
        let (user, group) = if what == "user" { (Some(id), None) } else { (None, Some(id)) };
        std::os::unix::fs::fchown(&file, user, group).map_err(|e| {
            anyhow::anyhow!("Failed to change {what} ownership of {path} to {id}: {}", asok::io_text(&e))
        })?;
    }
    Ok(Some(Box::new(file)))
}

async fn descriptions(session: &Session, target: &Target) -> anyhow::Result<Answer> {
    let command = Map::from_iter([("prefix".to_owned(), json!("get_command_descriptions"))]);
    session.send(target, command, Bytes::new()).await
}

enum Step {
    Answer(Answer),
    Done,
}

fn local(code: i32, outs: impl Into<String>) -> Step {
    Step::Answer(Answer { code: -code, outs: outs.into(), outbl: Bytes::new() })
}

/// One command for one target.
async fn one(
    session: &Session,
    globals: &Globals,
    target: &Target,
    words: &[String],
    input: &Bytes,
) -> anyhow::Result<Step> {
    if target.kind == "mon" && target.id.is_empty() && matches!(words, [w] if w == "mon_status") {
        // Gone from the services of release 16; it is told to one monitor, and was always answered in JSON.
        let format = globals.format.as_deref().unwrap_or("json");
        let mut answer = session.this_monitor(json!({ "prefix": "mon_status", "format": format })).await;
        if !answer.outbl.is_empty() && !answer.outbl.ends_with(b"\n") {
            answer.outbl = [&answer.outbl[..], b"\n"].concat().into();
        }
        return Ok(Step::Answer(answer));
    }
    let described = descriptions(session, target).await?;
    if described.code != 0 {
        let id = if target.kind == "mgr" && target.id.is_empty() { "None" } else { &target.id };
        let outs = format!("problem getting command descriptions from {}.{id}", target.kind);
        return Ok(Step::Answer(Answer { outs, outbl: Bytes::new(), ..described }));
    }
    let commands = sigs::parse(&described.outbl)?;
    if globals.completion {
        let lines: Vec<String> = matcher::complete(&commands, words);
        write_out(format!("{}\n", lines.join("\n")).as_bytes());
        return Ok(Step::Done);
    }
    if globals.verbose {
        write_out(commands.iter().map(|c| c.usage() + "\n").collect::<String>().as_bytes());
    }
    let found = matcher::find(&commands, words);
    found.said.iter().for_each(|line| aside(line));
    let Some(mut command) = found.command else { return Ok(local(EINVAL, "invalid command")) };
    if let Some(f) = &globals.format {
        command.insert("format".into(), json!(f));
    }
    if globals.verbose {
        aside(&format!("Submitting command:  {}", Value::Object(command.clone())));
    }
    if command.contains_key("poll") {
        return poll(session, globals, target, command, input).await;
    }
    let mut answer = session.send(target, command, input.clone()).await?;
    if answer.code == -ETIMEDOUT && answer.outs.is_empty() {
        answer.outs = "Connection timed out. Please check the client's permission and connection.".into();
    }
    Ok(Step::Answer(answer))
}

/// A command that is repeated until interrupted (`iostat`).
async fn poll(
    session: &Session,
    globals: &Globals,
    target: &Target,
    mut command: Map<String, Value>,
    input: &Bytes,
) -> anyhow::Result<Step> {
    let (columns, rows) = help::terminal_size();
    command.insert("width".into(), json!(columns));
    let period = globals.period_secs.unwrap_or(1.0);
    for round in 0usize.. {
        let wants_header = round % rows.saturating_sub(3).max(1) == 0;
        command.insert("print_header".into(), json!(wants_header));
        let answer = session.send(target, command.clone(), input.clone()).await?;
        if answer.code < 0 {
            aside(&format!("Error: {} {}", -answer.code, errnos::name(-answer.code)));
            return Ok(Step::Answer(answer));
        }
        if !answer.outbl.is_empty() {
            write_out(&[&answer.outbl[..], b"\n"].concat());
        }
        if !answer.outs.is_empty() {
            aside(&answer.outs);
        }
        if period <= 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_secs_f64(period.min(1e6))).await;
    }
    Ok(Step::Done)
}

/// Prints an answer as stock does; the exit code, if it is an error's.
fn show(
    globals: &Globals,
    answer: &Answer,
    prefix: &str,
    file: &mut Option<Box<dyn Write>>,
) -> anyhow::Result<Option<i32>> {
    match file {
        Some(f) => f.write_all(&answer.outbl)?,
        None => {
            let mut out = Vec::with_capacity(answer.outbl.len() + prefix.len() + 2);
            // Programs expect a line of status in front of JSON, as old releases had, and skip it.
            if globals.format.as_ref().is_some_and(|f| f.starts_with("json")) {
                out.push(b'\n');
            }
            let body = if prefix.is_empty() { &answer.outbl[..] } else { answer.outbl.trim_ascii_end() };
            if !body.is_empty() {
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(body);
                out.extend((!prefix.is_empty()).then_some(b'\n'));
            }
            let code = write_out(&out);
            if code != 0 {
                return Ok(Some(code));
            }
        }
    }
    if answer.code < 0 {
        aside(&format!("Error {}: {}", errnos::name(-answer.code), answer.outs));
        return Ok(Some(-answer.code));
    }
    if !answer.outs.is_empty() {
        aside(&format!("{prefix}{}", answer.outs));
    }
    Ok(None)
}
