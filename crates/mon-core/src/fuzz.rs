//! Fuzz target: commands with input data at a small cluster. They must be answered, never panic, and leave a store that opens again.
//!
//! Bytes choose a command of the table and, for each of its parameters, a value from a list of likely and unlikely ones, so that most
//! inputs get past the first checks; a command may also be raw text.

use crate::commands::{FLAG_MGR, signature, signatures};
use crate::event::Role;
use crate::testing::{Disk, World};
use bytes::Bytes;
use denc::{Encoder, Features};
use messages::mgr::PerfCounterType;
use messages::{MMgrReport, Message, MsgHeader, kinds};
use serde_json::{Map, Value};
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use types::Utime;

/// Commands of one input.
const COMMANDS_MAX: usize = 12;
/// First byte of a command that is raw text.
const RAW: u8 = 0xff;
/// Byte of a parameter that is raw text.
const TEXT: u8 = 0xfe;

/// Values as JSON. What existing things are called comes first.
const VALUES: &[&str] = &[
    "\"data\"",
    "\"osd.0\"",
    "0",
    "1",
    "\"0\"",
    "\"replicated_rule\"",
    "\"default\"",
    "\"h0\"",
    "\"host\"",
    "\"root\"",
    "\"1.0\"",
    "\"client.admin\"",
    "\"client.new\"",
    "\"new\"",
    "\"data2\"",
    "8",
    "\"osd\"",
    "\"mon\"",
    "\"global\"",
    "\"osd_max_backfills\"",
    "\"127.0.0.1:0/5\"",
    "\"root=default\"",
    "\"host=h1\"",
    "[\"root=default\",\"host=h1\"]",
    "[\"0\",\"1\",\"2\"]",
    "[\"mon\",\"allow r\"]",
    "[\"osd\",\"allow zz\"]",
    "[\"all\"]",
    "\"all\"",
    "\"--yes-i-really-really-mean-it\"",
    "true",
    "\"rbd\"",
    "\"hdd\"",
    "\"ssd\"",
    "\"h1\"",
    "\"6b1f2a70-0aed-46ad-8dbd-87a09e584500\"",
    "\"not-a-uuid\"",
    "\"size\"",
    "\"min_size\"",
    "\"pg_num\"",
    "\"snap1\"",
    "\"1h\"",
    "\"OSD_DOWN\"",
    "\"json\"",
    "\"json-pretty\"",
    "-1",
    "0.5",
    "1.5",
    "1e308",
    "-1e308",
    "\"nan\"",
    "\"inf\"",
    "\"-inf\"",
    "4294967295",
    "4294967296",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "\"18446744073709551615\"",
    "\"16T\"",
    "\"16E\"",
    "\"\"",
    "\" \"",
    "\".\"",
    "\"/\"",
    "\"=\"",
    "\"osd.\"",
    "\"osd.99\"",
    "\"osd.-1\"",
    "\"osd.4294967296\"",
    "\"1.ffffffffff\"",
    "\"ä\\u0000\\n\\\"\"",
    "[]",
    "{}",
    "null",
    "false",
    "[\"\"]",
    "[1,2,3]",
    "[-1,99999]",
    "\"*\"",
    "\"a/b:c/d\"",
    "\"host:x/osd_max_backfills\"",
    "10000",
    "100000",
    "\"f\"",
    "\"meta\"",
    "\"fdata\"",
    "\"1:0\"",
    "\"a\"",
];

/// First byte of a beacon, and the state in which daemons come.
const BEACON: u8 = 0x7e;
const BOOT: i32 = types::mdsmap::state::BOOT;

/// A parameter of a command.
struct Parameter {
    name: String,
    choices: Vec<String>,
    needed: bool,
}

/// The parameters of a signature.
fn parameters(sig: &str) -> Vec<Parameter> {
    let Ok(Value::Array(list)) = serde_json::from_str(sig) else { return Vec::new() };
    list.iter()
        .filter_map(|p| {
            let name = p.get("name")?.as_str()?.to_owned();
            let choices = p.get("strings").and_then(Value::as_str).unwrap_or_default();
            let choices = choices.split('|').filter(|c| !c.is_empty()).map(str::to_owned).collect();
            let needed = p.get("req").and_then(Value::as_str) != Some("false");
            Some(Parameter { name, choices, needed })
        })
        .collect()
}

/// A row of the table, read once.
struct Command {
    prefix: &'static str,
    parameters: Vec<Parameter>,
    role: Role,
}

fn table() -> &'static [Command] {
    static TABLE: OnceLock<Vec<Command>> = OnceLock::new();
    TABLE.get_or_init(|| {
        signatures()
            .iter()
            .map(|s| Command {
                prefix: s.prefix,
                parameters: parameters(s.sig),
                role: if s.flags & FLAG_MGR != 0 { Role::Mgr } else { Role::Mon },
            })
            .collect()
    })
}

/// Reads the input.
struct Reader<'a>(&'a [u8]);
impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
    fn bytes(&mut self) -> Vec<u8> {
        let n = usize::from(self.byte().unwrap_or(0)) | usize::from(self.byte().unwrap_or(0)) << 8;
        let (piece, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        piece.to_vec()
    }
    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// A daemon's beacon, when one is next: who, what it wants, and how many epochs it lags.
    fn beacon(&mut self) -> Option<(usize, i32, u64)> {
        let [BEACON, who, state, rest @ ..] = self.0 else { return None };
        let (who, state) = (*who, *state);
        self.0 = rest;
        Some((usize::from(who & 1), i32::from(state as i8) % 17, u64::from(who >> 1) % 3))
    }

    /// The next command.
    fn command(&mut self) -> Option<(Role, String)> {
        let first = self.byte()?;
        if first == RAW {
            return Some((Role::Mon, self.text()));
        }
        let table = table();
        let n = usize::from(first & 0x7f) << 8 | usize::from(self.byte()?);
        let command = &table[n % table.len()];
        let mut map = Map::new();
        map.insert("prefix".into(), command.prefix.into());
        for Parameter { name, choices, .. } in &command.parameters {
            let value = match usize::from(self.byte().unwrap_or(0)) {
                0 => continue,
                b if b == usize::from(TEXT) => self.text().into(),
                b if b <= choices.len() => choices[b - 1].clone().into(),
                b => {
                    let text = VALUES[(b - 1 - choices.len()) % VALUES.len()];
                    serde_json::from_str(text).unwrap_or(Value::Null)
                }
            };
            map.insert(name.clone(), value);
        }
        if first & 0x80 != 0 {
            map.insert("format".into(), "json".into());
        }
        Some((command.role, Value::Object(map).to_string()))
    }
}

fn disk() -> Disk {
    static DISK: OnceLock<Disk> = OnceLock::new();
    let made = DISK.get_or_init(|| {
        let mut w = World::new(3);
        for c in [
            r#"{"prefix":"osd pool create","pool":"data","pg_num":8}"#,
            r#"{"prefix":"osd pool mksnap","pool":"data","snap":"snap1"}"#,
            r#"{"prefix":"osd pool create","pool":"meta","pg_num":8}"#,
            r#"{"prefix":"osd pool create","pool":"fdata","pg_num":8}"#,
            r#"{"prefix":"fs new","fs_name":"f","metadata":"meta","data":"fdata"}"#,
            r#"{"prefix":"auth get-or-create","entity":"mds.a","caps":["mon","profile mds"]}"#,
            r#"{"prefix":"auth get-or-create","entity":"mds.b","caps":["mon","profile mds"]}"#,
            r#"{"prefix":"config set","who":"osd","name":"osd_max_backfills","value":"2"}"#,
            r#"{"prefix":"config-key set","key":"data","val":"1"}"#,
            r#"{"prefix":"osd crush rule create-replicated","name":"data","root":"default","type":"host"}"#,
        ] {
            let (ret, text, _) = w.command(Role::Mon, c);
            assert_eq!(ret, 0, "{c}: {text}");
        }
        w.disk
    });
    made.clone()
}

/// What one step came to, as a number: the same for all steps of which nothing more would be learned.
fn look(what: &impl Hash) -> u64 {
    let mut h = Fnv(0xcbf2_9ce4_8422_2325);
    what.hash(&mut h);
    h.finish()
}

/// FNV-1a: the same in each run, as the standard's need not be.
struct Fnv(u64);
impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Kinds of status text that are told apart for each command and code.
const TEXTS: u64 = 16;

/// Of a command: which one, with which parameters, its code, and its text without names and numbers.
fn look_of_command(json: &str, ret: i32, text: &str) -> u64 {
    let given: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let prefix = given.get("prefix").and_then(Value::as_str).and_then(signature).map(|s| s.prefix);
    // (Raw text may name anything: only parameters of the command count.)
    let sig = prefix.and_then(|p| table().iter().find(|c| c.prefix == p));
    let names: Vec<&str> = sig
        .map_or(&[][..], |c| &c.parameters)
        .iter()
        .map(|p| p.name.as_str())
        .filter(|n| given.contains_key(*n))
        .collect();
    let words = text.split(|c: char| !c.is_ascii_lowercase()).filter(|w| w.len() > 3);
    look(&(prefix, names, ret, look(&words.take(4).collect::<Vec<_>>()) % TEXTS))
}

/// Runs the commands of one input; answers what was seen.
pub fn fuzz_commands(data: &[u8]) -> Vec<u64> {
    let mut looks = Vec::new();
    let mut r = Reader(data);
    let mut w = World::open_disk(disk());
    let daemons = ["a", "b"].map(|n| w.open(Role::Mon, &format!("mds.{n}"), 7500, "profile mds"));
    for (n, id) in daemons.into_iter().enumerate() {
        w.mds_beacon(id, ["a", "b"][n], BOOT, 1, 0);
    }
    for seq in 2..COMMANDS_MAX as u64 + 2 {
        if let Some((who, state, behind)) = r.beacon() {
            let epoch = u64::from(w.core.fsmap().epoch.0).saturating_sub(behind);
            w.mds_beacon(daemons[who], ["a", "b"][who], state, seq, epoch);
            w.advance(3);
            let map = w.core.fsmap();
            let served = map.filesystems.values().flat_map(|f| f.mds_map.mds_info.values());
            let states: Vec<i32> = served.map(|i| i.state).collect();
            looks.push(look(&(who, state, states, map.standby_daemons.len())));
            continue;
        }
        let Some((role, json)) = r.command() else { break };
        let input = Bytes::from(r.bytes());
        // Any answer will do, but there must be one.
        let (ret, text, _) = w.command_with(role, &json, input);
        looks.push(look_of_command(&json, ret, &text));
        w.advance(3);
    }
    w.advance(700);
    // What is durable is a store that opens, with the same map.
    let epoch = w.core.osdmap().epoch;
    let again = w.restarted();
    assert!(again.core.osdmap().epoch >= epoch, "a restart loses epochs");
    looks
}

/// Reports of a daemon, one after another: each is read or refused as a whole, and what is kept stays within its bounds.
pub fn fuzz_reports(data: &[u8]) {
    let (mut known, mut counters) = (crate::counters::Known::default(), crate::counters::Counters::default());
    let mut rest = data;
    while let Some((len, more)) = rest.split_first_chunk::<2>() {
        let (front, more) = more.split_at(more.len().min(u16::from_le_bytes(*len).into()));
        rest = more;
        let header = MsgHeader { kind: kinds::MGR_REPORT, version: 9, compat: 1, ..MsgHeader::default() };
        let msg = Message { header, front: Bytes::copy_from_slice(front), ..Message::default() };
        let Ok(report) = msg.decode::<MMgrReport>() else { continue };
        if counters.take(&mut known, &report, Utime::from_secs(1)).is_err() {
            counters = Default::default();
        }
        assert!(counters.iter().count() <= 4096);
        for (kind, reading) in counters.iter() {
            assert_eq!(counters.reading(&kind.path), Some(reading));
        }
    }
}

/// Inputs for [`fuzz_reports`] to begin with.
pub fn report_samples() -> Vec<Vec<u8>> {
    let declared = |path: &str, kind| PerfCounterType { path: path.into(), kind, ..Default::default() };
    let packed = |values: &[u64]| {
        let mut e = Encoder::new(Features::ALL);
        e.versioned(1, 1, |e| values.iter().for_each(|v| e.u64(*v)));
        e.finish()
    };
    let first = MMgrReport {
        daemon_name: "0".into(),
        declare_types: vec![declared("osd.op", 10), declared("osd.op_latency", 5), declared("osd.numpg", 2)],
        packed: packed(&[3, 12, 900, 12, 12]),
        ..MMgrReport::default()
    };
    let next = MMgrReport {
        packed: packed(&[13, 1900, 22, 22]),
        undeclare_types: vec!["osd.numpg".into()],
        ..MMgrReport::default()
    };
    let bytes = |m: &MMgrReport| {
        let front = Message::new(m, Features::ALL).front;
        [&(front.len() as u16).to_le_bytes()[..], &front].concat()
    };
    vec![bytes(&first), [bytes(&first), bytes(&next)].concat(), bytes(&next)]
}

/// The byte for the value that a parameter of this name likely wants.
fn likely(name: &str, choices: &[String]) -> u8 {
    let value = match name {
        _ if !choices.is_empty() => return 1,
        "pgid" => "\"1.0\"",
        "id" | "ids" | "osd" | "osdid" | "epoch" | "oid" => "\"0\"",
        "entity" => "\"client.admin\"",
        "fs_name" | "filesystem" | "fs" => "\"f\"",
        "metadata" => "\"meta\"",
        "role" | "role_or_gid" => "\"0\"",
        "caps" => "[\"mon\",\"allow r\"]",
        "who" | "target" => "\"osd\"",
        "key" => "\"osd_max_backfills\"",
        "name" => "\"h0\"",
        "value" | "val" | "num" | "weight" | "max" => "1",
        "newmax" => "8",
        "args" | "loc" => "[\"root=default\",\"host=h1\"]",
        "addr" => "\"127.0.0.1:0/5\"",
        "uuid" => "\"6b1f2a70-0aed-46ad-8dbd-87a09e584500\"",
        "dest" => "\"h1\"",
        "source" => "\"h0\"",
        "app" => "\"rbd\"",
        "profile" | "root" | "bucket" => "\"default\"",
        _ if name.starts_with("yes_i") || name == "sure" => "true",
        _ => "\"data\"",
    };
    let at = VALUES.iter().position(|v| *v == value).unwrap_or(0);
    (choices.len() + at + 1) as u8
}

/// Inputs to begin with: each command with its first choices and with likely values, and some raw ones.
pub fn samples() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (i, command) in table().iter().enumerate() {
        for optional in [true, false] {
            let mut s = vec![(i >> 8) as u8, i as u8];
            s.extend(
                command
                    .parameters
                    .iter()
                    .map(|p| if p.needed || optional { likely(&p.name, &p.choices) } else { 0 }),
            );
            s.extend([0, 0]);
            out.push(s);
        }
        for value in [1u8, 2, 3] {
            let mut s = vec![(i >> 8) as u8, i as u8];
            let n = command.parameters.len();
            s.extend((0..n).map(|p| value + p as u8 % 3));
            s.extend([0, 0]);
            out.push(s);
        }
    }
    // Daemons that become active, fail, stop, and are damaged.
    for states in [[13, 8, 13], [13, 10, 11], [13, 14, -1], [13, 15, 0]] {
        let beacons = states.iter().enumerate();
        out.push(beacons.flat_map(|(n, s)| [BEACON, n as u8 % 2, *s as u8]).collect());
    }
    for (text, input) in [
        (r#"{"prefix":"osd pool create","pool":"x","pg_num":4,"size":2}"#, ""),
        (
            r#"{"prefix":"auth import"}"#,
            "[client.x]\n\tkey = AQDTo1NkAAAAABAAuLUGQ0NjXbXBVkPwXyFLYA==\n\tcaps mon = \"allow r\"\n",
        ),
        (r#"{"prefix":"config assimilate-conf"}"#, "[osd]\nosd max backfills = 3\n[x]\ny = z\n"),
        (
            r#"{"prefix":"osd new","uuid":"6b1f2a70-0aed-46ad-8dbd-87a09e584500"}"#,
            r#"{"cephx_secret":"AQDTo1NkAAAAABAAuLUGQ0NjXbXBVkPwXyFLYA=="}"#,
        ),
        (r#"{"prefix":"osd setcrushmap"}"#, "\u{1}\u{0}\u{1}\u{0}"),
        (r#"{"prefix":"osd crush add","id":1,"weight":2.5,"args":["host=h9","rack=r","root=default"]}"#, ""),
    ] {
        let mut s = vec![RAW];
        s.extend((text.len() as u16).to_le_bytes());
        s.extend(text.bytes());
        s.extend((input.len() as u16).to_le_bytes());
        s.extend(input.bytes());
        out.push(s);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn samples_of_reports_are_read() {
        for s in report_samples() {
            fuzz_reports(&s);
            (0..s.len()).for_each(|n| fuzz_reports(&s[..n]));
        }
    }

    /// Else the fuzzer only walks the first checks.
    #[test]
    fn samples_make_most_commands_succeed() {
        let (mut done, mut all) = (BTreeSet::new(), BTreeSet::new());
        for s in samples() {
            let mut r = Reader(&s);
            let mut w = World::open_disk(disk());
            while let Some((role, json)) = r.command() {
                let input = Bytes::from(r.bytes());
                let (ret, _, _) = w.command_with(role, &json, input);
                let v: Value = serde_json::from_str(&json).unwrap();
                let prefix = v["prefix"].as_str().unwrap().to_owned();
                all.insert(prefix.clone());
                if ret == 0 {
                    done.insert(prefix);
                }
            }
        }
        let never: Vec<_> = all.difference(&done).collect();
        assert!(done.len() * 4 > all.len() * 3, "{} of {} succeed; never: {never:?}", done.len(), all.len());
    }
}
