//! Replays what a stock 16.2.15 cluster answered (golden/record.py) and compares return codes, outputs and stored bytes.

mod common;

use bytes::Bytes;
use cls::mem::{Content, MemObject};
use common::{Limits, crc32, plain_hex, unhex};
use std::collections::BTreeMap;
use types::{EntityAddr, EntityName, Utime};

const NO_UUID: &[u8] = b"00000000-0000-0000-0000-000000000000";

/// Output with the uuid that the test's random source makes blotted out.
fn masked(b: &[u8]) -> Vec<u8> {
    let ours = types::Fsid::from_random([7; 16]).to_string();
    let mut v = b.to_vec();
    while let Some(at) = v.windows(ours.len()).position(|w| w == ours.as_bytes()) {
        v[at..at + ours.len()].copy_from_slice(NO_UUID);
    }
    v
}

fn dump(c: &Content, with_omap: bool, limits: Limits) -> String {
    let hex = |b: &[u8]| limits.hex(b);
    let list = |m: &BTreeMap<Bytes, Bytes>| {
        let v: Vec<String> =
            m.iter().map(|(k, v)| format!("{}:{}", plain_hex(&masked(k)), hex(&masked(v)))).collect();
        if v.is_empty() { "-".to_owned() } else { v.join(",") }
    };
    let omap = if with_omap { list(&c.omap) } else { "?".to_owned() };
    let text = format!("{} {} {omap}", hex(&c.data), list(&c.xattrs));
    if text.len() <= limits.dump { text } else { format!("#{:08x}", crc32(text.as_bytes())) }
}

#[derive(Default)]
struct Replay {
    objects: BTreeMap<String, MemObject>,
    dumps: BTreeMap<String, String>,
    origin: (EntityName, EntityAddr),
    differences: Vec<String>,
    calls: usize,
    limits: Limits,
}

impl Replay {
    fn object(&mut self, name: &str) -> &mut MemObject {
        let origin = self.origin;
        self.objects.entry(name.to_owned()).or_insert_with(|| MemObject {
            now: Utime { sec: 1_700_000_000, nsec: 123_456_789 },
            origin,
            ..MemObject::default()
        })
    }
    fn line(&mut self, n: usize, line: &str) {
        let w: Vec<&str> = line.split(' ').collect();
        match w[..] {
            ["#", ..] => {}
            ["limits", value, dump] => {
                let n = |s: &str| s.parse().expect("a number");
                self.limits = Limits { value: n(value), dump: n(dump) };
            }
            ["origin", gid, addr] => {
                let addr = denc::from_bytes(&unhex(addr)).expect("an address");
                self.origin = (EntityName::client(gid.parse().expect("a number")), addr);
            }
            ["create", o] => self.object(o).content = Some(Content::default()),
            ["watch", o] => {
                let origin = self.origin;
                self.object(o).watchers = vec![origin];
            }
            ["unwatch", o] => self.object(o).watchers.clear(),
            ["remove", o] => self.object(o).content = None,
            ["write", o, data] => {
                self.object(o).content.get_or_insert_default().data = unhex(data).to_vec();
            }
            ["omap", o, k, v] => {
                self.object(o).content.get_or_insert_default().omap.insert(unhex(k), unhex(v));
            }
            ["call", o, class, method, input, "=", ret, out] => {
                self.calls += 1;
                let limits = self.limits;
                let got = match self.object(o).run(class, method, &unhex(input)) {
                    Ok(b) => format!("0 {}", limits.hex(&masked(&b))),
                    Err(e) => format!("{} -", e.errno.negated()),
                };
                let want = format!("{ret} {out}");
                if got != want {
                    self.differences.push(format!("line {n}: {line}\n   ours: {got}"));
                }
            }
            ["dump", o, "=", ..] => {
                let mut want = w[3..].join(" ");
                if want == "same" {
                    want = self.dumps[o].clone();
                }
                // The keys of `rbd_children` are binary: python's binding cannot say them.
                let with_omap = !want.ends_with('?');
                let limits = self.limits;
                let got = match &self.object(o).content {
                    None => "absent".to_owned(),
                    Some(c) => dump(c, with_omap, limits),
                };
                if got != want {
                    let cause = "(see the calls before)";
                    self.differences
                        .push(format!("line {n}: dump {o} {cause}\n  stock: {want}\n   ours: {got}"));
                }
                self.dumps.insert(o.to_owned(), want);
            }
            _ => panic!("line {n}: {line}"),
        }
    }
}

#[test]
fn stock_answers_and_stores_the_same() {
    let mut r = Replay::default();
    let path = std::env::var("CLS_GOLDEN").unwrap_or_default();
    let text = if path.is_empty() {
        include_str!("golden/calls.txt").to_owned()
    } else {
        std::fs::read_to_string(path).expect("CLS_GOLDEN")
    };
    for (i, line) in text.lines().enumerate() {
        r.line(i + 1, line);
    }
    let shown: Vec<String> =
        r.differences.iter().take(400).map(|d| d.chars().take(9000).collect::<String>()).collect();
    assert!(shown.is_empty(), "{} of {} calls differ:\n{}", r.differences.len(), r.calls, shown.join("\n"));
}
