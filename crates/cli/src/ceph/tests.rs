//! The matcher against stock's recorded signatures: what Python made of some two thousand command lines (`testdata/record.py`), and its rules one by one.

use super::{help, matcher, sigs};
use serde_json::{Value, json};

/// Commands with stock's signatures, in stock's order.
fn stock() -> Vec<sigs::Command> {
    let rows = include_str!("../../../mon-core/src/commands/signatures.tsv").lines().enumerate();
    let all: serde_json::Map<String, Value> = rows
        .map(|(i, row)| {
            let f: Vec<&str> = row.split('\t').collect();
            let sig: Value = serde_json::from_str(f[4]).unwrap();
            let flags: u64 = f[3].parse().unwrap();
            (format!("cmd{i:03}"), json!({ "sig": sig, "help": format!("help of {}", f[0]), "flags": flags }))
        })
        .collect();
    sigs::parse(Value::Object(all).to_string().as_bytes()).unwrap()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Integers of Python that are whole floats are equal to ours.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(v, w)| same(v, w)),
        (a, b) => a == b,
    }
}

#[test]
fn every_line_becomes_what_stock_makes_of_it() {
    let commands = stock();
    let lines: Vec<&str> = include_str!("testdata/matches.txt").lines().collect();
    let (mut tried, mut wrong) = (0, Vec::new());
    for case in lines.chunks(3) {
        let words: Vec<String> = serde_json::from_str(case[0]).unwrap();
        let want: Value = serde_json::from_str(case[1]).unwrap();
        let said: String = serde_json::from_str(case[2]).unwrap();
        let found = matcher::find(&commands, &words);
        let got = Value::Object(found.command.unwrap_or_default());
        let lines: String = found.said.iter().map(|l| l.clone() + "\n").collect();
        if !same(&got, &want) || lines != said {
            wrong.push(format!("{}\n  stock: {want} {said:?}\n  ours:  {got} {lines:?}", case[0]));
        }
        tried += 1;
    }
    assert!(tried > 1500, "{tried} lines only");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn a_command_of_the_manager_names_its_target() {
    let found = matcher::find(&stock(), &words("pg stat")).command.unwrap();
    assert_eq!(Value::Object(found), json!({ "prefix": "pg stat", "target": ["mon-mgr", ""] }));
}

#[test]
fn the_target_is_read_off_the_first_words() {
    let of = |line: &str| match matcher::target(&words(line)) {
        Ok(t) => format!("{} {}", t.kind, t.id),
        Err(e) => e.to_string(),
    };
    assert_eq!(of("osd tree"), "mon ");
    assert_eq!(of("tell osd.3 version"), "osd 3");
    assert_eq!(of("tell osd.* version"), "osd *");
    assert_eq!(of("tell mgr version"), "mgr ");
    assert_eq!(of("tell mon version"), "mon ");
    assert_eq!(of("tell mds.a.b version"), "mds a.b");
    assert_eq!(of("tell 1.2f query"), "pg 1.2f");
    assert_eq!(of("pg 1.2f query"), "pg 1.2f");
    assert_eq!(of("pg stat"), "mon ");
    assert_eq!(of("tell foo version"), "CephName: no . in foo");
    assert_eq!(of("tell osd.x version"), "osd id x not integer");
    assert_eq!(of("tell rgw.x version"), "unknown type rgw");
    assert_eq!(of(""), "mon ");
}

#[test]
fn descriptions_that_are_none_are_refused_and_unknown_types_are_words() {
    assert_eq!(sigs::parse(b"[]"), Err(sigs::SigError::NotAnObject));
    assert_eq!(sigs::parse(b"{\"cmd000\": {}}"), Err(sigs::SigError::NoSig("cmd000".into())));
    assert_eq!(
        sigs::parse(b"{\"cmd000\": {\"sig\": [{\"name\": \"x\"}]}}"),
        Err(sigs::SigError::NoType("cmd000".into()))
    );
    let all = br#"{"cmd1000": {"sig": ["b"], "help": "h"}, "cmd999": {"sig": ["a", {"name": "x", "type": "CephNew"}], "help": "h"},
        "cmd001": {"sig": ["rest"], "avail": "rest"}}"#;
    let all = sigs::parse(all).unwrap();
    assert_eq!(all.iter().map(sigs::Command::usage).collect::<Vec<_>>(), ["a <x>", "b"]);
    let found = matcher::find(&all, &words("a anything!")).command.unwrap();
    assert_eq!(Value::Object(found), json!({ "prefix": "a", "x": "anything!" }));
}

#[test]
fn words_are_completed() {
    let commands = stock();
    let of =
        |w: &[&str]| matcher::complete(&commands, &w.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(&["osd", "tr"]), ["tree", "tree-from"]);
    assert_eq!(of(&["osd", "crush", "tunables", "bob"]), ["bobtail"]);
    assert!(of(&["o"]).contains(&"osd".to_owned()));
}

#[test]
fn help_stands_in_two_columns() {
    let all = br#"{"cmd000": {"sig": ["osd", "tree", {"name": "epoch", "type": "CephInt", "req": "false"}], "help": "print OSD tree"},
        "cmd001": {"sig": ["osd", "gone"], "help": "gone", "flags": 4}, "cmd002": {"sig": ["auth", "ls"], "help": "list authentication state"}}"#;
    let text = help::commands(&sigs::parse(all).unwrap(), "", 41);
    let want = "auth ls              list authentication\n                      state\nosd tree [<epoch:    print OSD tree\n int>]               \n";
    assert_eq!(
        text.lines().map(str::trim_end).collect::<Vec<_>>(),
        want.lines().map(str::trim_end).collect::<Vec<_>>()
    );
}

#[test]
fn words_of_any_alphabet_are_refused_and_not_split() {
    for (kind, word) in
        [(sigs::Kind::Uuid, "\u{20ac}".repeat(32)), (sigs::Kind::Int(Vec::new()), "0\u{20ac}".into())]
    {
        let desc = sigs::Desc { name: "x".into(), kind, req: true, times: Some(1) };
        assert!(matches!(desc.values(&word, false, false), Err(sigs::ArgError::Value(_))));
    }
}
