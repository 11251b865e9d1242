//! What an op vector is, before it runs: [`classify`] (`OSD::init_op_flags` of Ceph) and the name limits.

use crate::api::{ClassUse, Limits, OpClass};
use messages::{OpCode, OsdOp, watch_op};
use types::{Errno, HObject};

/// The method that a call names; `EOPNOTSUPP` when there is none.
pub(crate) fn method_of(call: &messages::ClassCall) -> Result<&'static cls::Method, Errno> {
    let name = |b: &bytes::Bytes| std::str::from_utf8(b).map(str::to_owned).map_err(|_| Errno::EOPNOTSUPP);
    cls::class(&name(&call.class)?).and_then(|c| c.method(&name(&call.method).ok()?)).ok_or(Errno::EOPNOTSUPP)
}

/// Says what the ops read and write, from their codes and the class table.
///
/// Errors answer the whole message: `EINVAL` for a malformed call or too many ops, `EOPNOTSUPP` for an unknown class or method.
pub fn classify(ops: &[OsdOp], limits: &Limits) -> Result<OpClass, Errno> {
    if ops.len() > limits.ops_max {
        return Err(Errno::EINVAL);
    }
    let mut c = OpClass { only_deletes: !ops.is_empty(), ..OpClass::default() };
    for op in ops {
        let ping = op.code == OpCode::WATCH && op.watch().op == watch_op::PING;
        if ping {
            // Cannot change the object, but must not overtake the watch it pings.
            c.ordered = true;
        } else if op.code.is_write() {
            c.may_write = true;
        }
        if op.code.is_read() || op.code == OpCode::WATCH {
            c.may_read = true;
        }
        c.pg_op |= op.code.is_pg();
        c.only_deletes &= matches!(op.code, OpCode::DELETE | OpCode::TRUNCATE | OpCode::ZERO);
        if op.code == OpCode::CALL {
            let call = op.class_call().ok_or(Errno::EINVAL)?;
            let m = method_of(&call)?;
            c.class_read |= m.reads;
            c.class_write |= m.writes;
            c.class_calls.push(ClassUse {
                class: String::from_utf8_lossy(&call.class).into_owned(),
                method: m.name.to_owned(),
                reads: m.reads,
                writes: m.writes,
            });
        }
    }
    c.needs_snapc = c.writes();
    c.ordered |= c.writes();
    Ok(c)
}

/// `ENAMETOOLONG` when a name, key or namespace is too long, `EINVAL` for a name-less object.
pub fn check_names(oid: &HObject, limits: &Limits) -> Result<(), Errno> {
    if oid.name.len() > limits.object_name_len_max
        || oid.key.len() > limits.object_name_len_max
        || oid.nspace.len() > limits.object_namespace_len_max
    {
        return Err(Errno::ENAMETOOLONG);
    }
    if oid.name.is_empty() { Err(Errno::EINVAL) } else { Ok(()) }
}
