//! Finds the command that the words on the command line mean, and turns them into the JSON that the service wants.
//!
//! Pure. The rules are stock's (`ceph_argparse`): the commands that match furthest are tried, those with the fewest required parameters
//! first; a wrong value in the right command ends the search; parameters may be named (`--pg-num 8`, `--pg_num=8`, `--yes-i-really-mean-it`).

use super::sigs::{ArgError, Command, Desc, Kind, flags, literal, parse_name};
use super::values;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Confirmations that old services describe as strings.
const CONFIRMATIONS: &[&str] = &[
    "--yes-i-really-mean-it",
    "--yes-i-really-really-mean-it",
    "--yes-i-really-really-mean-it-not-faking",
    "--force",
];
/// Usage lines shown when nothing matches.
const CLOSEST_MAX: usize = 10;

/// A search's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The command as JSON; `None` when the words are no command.
    pub command: Option<Map<String, Value>>,
    /// For stderr.
    pub said: Vec<String>,
}

/// How many of a signature's required parts the words fill. `partial`: of the last word, its beginning will do.
fn count_matches(words: &[String], sig: &[Desc], partial: bool) -> usize {
    let (mut at, mut count) = (0, 0);
    for desc in sig {
        let mut seen = 0;
        while desc.times.is_none_or(|n| seen < n) {
            let Some(word) = words.get(at) else { return count };
            let last = at + 1 == words.len();
            if desc.values(word, false, partial && last).is_ok() {
                at += 1;
                seen += 1;
            } else if desc.req {
                return count;
            } else {
                break;
            }
        }
        count += usize::from(desc.req);
    }
    count
}

fn store(desc: &Desc, mut found: Vec<Value>, into: &mut Map<String, Value>) {
    if desc.times.is_none() {
        match into.get_mut(&desc.name) {
            Some(Value::Array(all)) => all.append(&mut found),
            _ => {
                into.insert(desc.name.clone(), Value::Array(found));
            }
        }
        return;
    }
    let Some(value) = found.pop() else { return };
    let value = match (into.get(&desc.name), desc.is_prefix()) {
        (Some(Value::String(before)), true) => {
            json!(format!("{before} {}", value.as_str().unwrap_or_default()))
        }
        _ => value,
    };
    into.insert(desc.name.clone(), value);
}

/// A named parameter, if `word` names one of the signature: `--name=value`, `--name value`, `--switch`.
fn named<'s>(
    word: &str,
    rest: &mut VecDeque<String>,
    by_name: &BTreeMap<&str, &'s Desc>,
) -> Option<(&'s Desc, String)> {
    let body = word.strip_prefix("--").filter(|b| !b.is_empty() && !b.starts_with('='))?;
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value).filter(|v| !v.is_empty())),
        None => (body, None),
    };
    let desc = *by_name.get(name.replace('-', "_").as_str())?;
    match value {
        Some(v) => Some((desc, v.to_owned())),
        None if desc.kind == Kind::Bool => Some((desc, "true".into())),
        None => rest.pop_front().map(|v| (desc, v)),
    }
}

/// Too few words for a required parameter.
fn missing(desc: &Desc, seen: usize) -> Option<ArgError> {
    let saw = |want: String| ArgError::Value(format!("saw {seen} of {}, expected {want}", desc.described()));
    match desc.times {
        None if seen < 1 => Some(saw("at least 1".into())),
        None => None,
        Some(1) if seen == 0 => Some(ArgError::Missing(desc.described())),
        Some(n) => Some(saw(n.to_string())),
    }
}

/// The words against one signature. With `partial`, what fits is answered and what does not is no error.
fn check(
    words: &[String],
    sig: &[Desc],
    partial: bool,
    said: &mut Vec<String>,
) -> Result<Map<String, Value>, ArgError> {
    let mut rest: VecDeque<String> = words.iter().cloned().collect();
    let by_name = sig.iter().filter(|d| !d.is_prefix()).map(|d| (d.name.as_str(), d)).collect();
    // Options of daemons, in their old form.
    let injects = words.first().is_some_and(|w| w == "injectargs");
    let mut out = Map::new();
    let (mut count, mut put_back) = (0, None);
    for desc in sig {
        let mut seen = 0;
        while desc.times.is_none_or(|n| seen < n) {
            let Some(word) = rest.pop_front() else {
                if !desc.req || out.contains_key(&desc.name) {
                    break;
                }
                match missing(desc, seen) {
                    Some(_) if partial => return Ok(out),
                    Some(e) => return Err(e),
                    None => break,
                }
            };
            if let Some((named, value)) = named(&word, &mut rest, &by_name) {
                store(named, named.values(&value, true, false)?, &mut out);
                seen += usize::from(std::ptr::eq(named, desc));
                count += 1;
                continue;
            }
            if word.starts_with("--") {
                let is_value = matches!(desc.kind, Kind::Choices(_))
                    || CONFIRMATIONS.contains(&word.as_str())
                    || injects;
                if !is_value {
                    return Err(ArgError::Value(format!("Unexpected argument '{word}'")));
                }
            }
            match desc.values(&word, false, false) {
                Ok(found) => {
                    store(desc, found, &mut out);
                    (seen, count, put_back) = (seen + 1, count + 1, None);
                }
                Err(e) if !desc.req => {
                    put_back = Some((word.clone(), e));
                    rest.push_front(word);
                    break;
                }
                Err(_) if partial => return Ok(out),
                Err(e) => return Err(e),
            }
        }
    }
    if count < sig.iter().filter(|d| d.req).count() {
        return Err(ArgError::TooFew);
    }
    if !rest.is_empty() && !partial {
        if let Some((word, e)) = put_back {
            said.push(format!("{word} not valid:  {e}"));
        }
        return Err(ArgError::Value(format!("unused arguments: {}", values::list(rest.make_contiguous()))));
    }
    Ok(out)
}

/// Finds the command that the words mean.
pub fn find(commands: &[Command], words: &[String]) -> Found {
    let mut best_score = 0;
    let mut best: Vec<&Command> = Vec::new();
    for c in commands.iter().filter(|c| !c.has(flags::OBSOLETE)) {
        // In halves: a match of whole words counts for more than one of a beginning.
        let partly = count_matches(words, &c.sig, true);
        let mut score = 2 * partly;
        if partly >= best_score / 2 && partly == count_matches(words, &c.sig, false) {
            score += 1;
        }
        if score > best_score {
            best_score = score;
            best.clear();
        }
        if score >= best_score {
            best.push(c);
        }
    }
    let mut by_length = best.clone();
    by_length.sort_by_key(|c| c.sig.iter().filter(|d| d.req).count());
    let mut said = Vec::new();
    let mut bad = None;
    for c in by_length {
        match check(words, &c.sig, false, &mut said) {
            Ok(mut command) => {
                if c.has(flags::MGR) {
                    command.insert("target".into(), json!(["mon-mgr", ""]));
                }
                if c.has(flags::POLL) {
                    command.insert("poll".into(), json!(true));
                }
                return Found { command: Some(command), said };
            }
            Err(ArgError::Prefix(_) | ArgError::TooFew) => {}
            Err(e @ ArgError::Missing(_)) => {
                if best.len() == 1 {
                    bad = Some((c, e));
                }
                break;
            }
            Err(e) => {
                bad = Some((c, e));
                break;
            }
        }
    }
    if let Some((c, e)) = bad {
        said.push(format!("Invalid command: {e}"));
        said.push(format!("{} :  {}", c.usage(), c.help));
    } else {
        best.retain(|c| !c.has(flags::DEPRECATED | flags::HIDDEN));
        best.truncate(CLOSEST_MAX);
        said.push(format!("no valid command found; {} closest matches:", best.len()));
        said.extend(best.iter().map(|c| c.usage()));
    }
    Found { command: None, said }
}

/// Whom a command line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `mon`, `mgr`, `osd`, `mds`, `pg`; or what no command can be sent to.
    pub kind: String,
    /// Its id, `*` for all of the kind, empty for any.
    pub id: String,
}

fn parameter(name: &str, kind: Kind) -> Desc {
    Desc { name: name.into(), kind, req: true, times: Some(1) }
}

/// Reads the target off the first words.
pub fn target(words: &[String]) -> Result<Target, ArgError> {
    let of_name = |name: &str| {
        let (kind, id) = parse_name(name)?;
        Ok(Target { kind: kind.unwrap_or("None").into(), id: id.unwrap_or_default().into() })
    };
    let second = |first: &str, kind: Kind| {
        let sig = [literal(first), parameter("it", kind)];
        let found = check(words, &sig, true, &mut Vec::new()).unwrap_or_default();
        found.get("it").and_then(Value::as_str).filter(|_| found.len() == 2).map(str::to_owned)
    };
    let pg = |id| Ok(Target { kind: "pg".into(), id });
    if let Some(name) = second("tell", Kind::Name) {
        return of_name(&name);
    }
    if let Some(id) = second("tell", Kind::Pgid) {
        return pg(id);
    }
    if let [tell, name, ..] = words
        && tell == "tell"
    {
        return of_name(name);
    }
    if let Some(id) = second("pg", Kind::Pgid) {
        return pg(id);
    }
    Ok(Target { kind: "mon".into(), id: String::new() })
}

/// Words that may follow, one a line, for `--completion`.
pub fn complete(commands: &[Command], words: &[String]) -> Vec<String> {
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let mut out = std::collections::BTreeSet::new();
    let mut matched = Vec::new();
    'commands: for c in commands.iter().filter(|c| !c.has(flags::OBSOLETE | flags::HIDDEN)) {
        let mut at = 0;
        for word in before {
            let Some(desc) = c.sig.get(at) else { continue 'commands };
            if !suggestions(desc, word).contains(word) && desc.req {
                continue 'commands;
            }
            at += usize::from(desc.times.is_some());
        }
        if let Some(desc) = c.sig.get(at) {
            out.extend(suggestions(desc, last));
        }
        matched.push(c);
    }
    if let ([only], true) = (&matched[..], out.is_empty()) {
        out.extend([" ".into(), format!("#{}", only.help)]);
    }
    out.into_iter().collect()
}

fn suggestions(desc: &Desc, word: &str) -> Vec<String> {
    let all: &[String] = match &desc.kind {
        Kind::Prefix(p) => std::slice::from_ref(p),
        Kind::Choices(c) => c,
        Kind::Str(_) if !word.is_empty() => return vec![word.to_owned()],
        _ => return Vec::new(),
    };
    all.iter().filter(|c| c.starts_with(word)).cloned().collect()
}
