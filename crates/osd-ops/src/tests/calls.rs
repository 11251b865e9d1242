//! Class calls inside vectors.

use crate::testing::Harness;
use crate::{Limits, classify, load_object_context};
use denc::{Encoder, Features};
use messages::{OpCode, OpFlags, OsdOp};

fn lock_input(kind: u8) -> bytes::Bytes {
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| {
        e.put("l");
        e.u8(kind);
        e.put("cookie");
        e.put("tag");
        e.put("description");
        e.u64(0); // duration
        e.u8(0);
    });
    e.finish()
}
fn assert_input() -> bytes::Bytes {
    let mut e = Encoder::new(Features::ALL);
    e.versioned(1, 1, |e| {
        e.put("l");
        e.u8(1);
        e.put("cookie");
        e.put("tag");
    });
    e.finish()
}

#[test]
fn what_a_call_does_comes_from_the_class_table() {
    let l = Limits::default();
    let c = classify(&[OsdOp::call("lock", "lock", b"")], &l).unwrap();
    assert!(c.class_write && c.writes() && c.needs_snapc && c.ordered && !c.may_write && !c.may_read);
    assert_eq!((c.class_calls[0].class.as_str(), c.class_calls[0].method.as_str()), ("lock", "lock"));
    let c = classify(&[OsdOp::call("lock", "get_info", b"")], &l).unwrap();
    assert!(c.class_read && !c.writes() && c.reads());
    assert_eq!(classify(&[OsdOp::call("lock", "nope", b"")], &l), Err(types::Errno::EOPNOTSUPP));
    let mut short = OsdOp::call("lock", "lock", b"");
    short.data.truncate(3);
    assert_eq!(classify(&[short], &l), Err(types::Errno::EINVAL));
    let mut ping = OsdOp::new(OpCode::WATCH);
    ping.set_watch(messages::Watch { op: messages::watch_op::PING, ..Default::default() });
    let c = classify(&[ping], &l).unwrap();
    assert!(c.ordered && c.may_read && !c.writes());
}

#[test]
fn a_call_sees_the_vectors_writes_and_later_ops_see_the_calls() {
    let mut h = Harness::new();
    let create = OsdOp::new(OpCode::CREATE).with_flags(OpFlags::EXCL);
    let o = h.run(
        "o",
        &[
            create,
            OsdOp::call("lock", "lock", &lock_input(1)),
            OsdOp::call("lock", "assert_locked", &assert_input()),
            OsdOp::write(0, "guarded".into()),
        ],
    );
    assert_eq!(o.result, 0, "{:?}", o.ops);
    let o = h.run("o", &[OsdOp::xattr_op(OpCode::GETXATTR, b"lock.l", b"", (0, 0))]);
    assert!(o.result == 0 && !o.ops[0].out.is_empty());
    assert_eq!(load_object_context(&h.store, h.coll, &Harness::oid("o")).unwrap().info.size, 7);
}

#[test]
fn a_failed_call_undoes_the_vector() {
    let mut h = Harness::new();
    h.run("o", &[OsdOp::call("lock", "lock", &lock_input(1))]);
    h.client = types::EntityName::client(9);
    let before = h.store.clone();
    let o = h.run("o", &[OsdOp::write(0, "x".into()), OsdOp::call("lock", "assert_locked", &assert_input())]);
    assert!(o.result == -16 && !o.write && o.log_error_only, "{}", o.result);
    assert_eq!(o.ops[1].rval, -16);
    let o = h.run("o", &[OsdOp::call("lock", "lock", &lock_input(1)), OsdOp::write(0, "x".into())]);
    assert_eq!(o.result, -16);
    assert!(h.store == before);
}
