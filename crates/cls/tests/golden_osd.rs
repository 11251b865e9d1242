//! The calls of golden.rs once more, through the op interpreter (`osd-ops`) and its object context: return codes, and
//! outputs where they have neither the caller's address nor random bytes in them.

mod common;

use common::{Limits, unhex};
use messages::{OpCode, OsdOp};
use osd_ops::testing::Harness;
use types::{EntityName, Utime};

#[test]
fn the_op_interpreter_answers_class_calls_as_stock() {
    let mut h = Harness::new();
    h.now = Utime { sec: 1_700_000_000, nsec: 123_456_789 };
    let mut differences = Vec::new();
    let mut calls = 0;
    let mut limits = Limits::default();
    let mut unlike = std::collections::BTreeSet::new();
    for (n, line) in include_str!("golden/calls.txt").lines().enumerate() {
        let w: Vec<&str> = line.split(' ').collect();
        let prepared = |h: &mut Harness, o: &str, op: OsdOp| {
            let result = h.run(o, &[op]).result;
            assert_eq!(result, 0, "line {}: {line}", n + 1);
        };
        match w[..] {
            ["limits", value, _] => limits.value = value.parse().expect("a number"),
            ["origin", gid, _] => h.client = EntityName::client(gid.parse().expect("a number")),
            ["create", o] => prepared(&mut h, o, OsdOp::new(OpCode::CREATE)),
            ["remove", o] => prepared(&mut h, o, OsdOp::new(OpCode::DELETE)),
            ["write", o, data] => prepared(&mut h, o, OsdOp::write_full(unhex(data))),
            ["omap", o, k, v] => {
                let mut op = OsdOp::new(OpCode::OMAP_SET_VALS);
                op.data = denc::to_bytes(&vec![(unhex(k), unhex(v))], denc::Features::ALL);
                prepared(&mut h, o, op);
            }
            // Nobody watches here: what is said of who is up would differ from here on.
            ["watch", o] => {
                unlike.insert(o);
            }
            ["call", o, ..] if unlike.contains(o) => {}
            ["call", o, class, method, input, "=", ret, out] => {
                calls += 1;
                let r = h.run(o, &[OsdOp::call(class, method, &unhex(input))]);
                let plain = class != "lock" && !method.starts_with("mirror") && method != "get_snapshot_name";
                let got = limits.hex(&r.ops.first().map(|o| o.out.clone()).unwrap_or_default());
                let same_out = !plain || r.result != 0 || got == out || out.contains("302d303030302d");
                if r.result.to_string() != *ret || !same_out {
                    differences.push(format!("line {}: {line}\n   ours: {} {got}", n + 1, r.result));
                }
            }
            _ => {}
        }
    }
    assert!(calls > 2000, "{calls} calls");
    let shown: Vec<String> = differences.iter().take(100).map(|d| d.chars().take(600).collect()).collect();
    assert!(shown.is_empty(), "{} of {calls} calls differ:\n{}", differences.len(), shown.join("\n"));
}
